//! Asking KMS: one request, or for `Decrypt` two where the first was throttled.
//! Not for: what to ask (see the crate's root), what answers mean (see `protocol`, `refusal`).

use std::thread::sleep;
use std::time::{Duration, Instant};

use keyreel_plugin_sdk::http::{Request, Url};
use keyreel_plugin_sdk::{CallInfo, Error, ErrorClass, random_bytes};
use zeroize::Zeroizing;

use crate::protocol::Action;
use crate::refusal;

/// What of the call's budget stays for all that is not waiting for KMS.
const MARGIN: Duration = Duration::from_millis(30);
/// A second try with less than this left would only make the failure later.
const WORTH_A_TRY: Duration = Duration::from_millis(200);
/// Before a second try: so long, and up to as long again at random, so that many callers do not
/// come back together.
const PAUSE_MS: u64 = 50;
/// KMS's longest answer here, a data key pair, has about 6 kB.
const MAX_ANSWER: usize = 64 << 10;

/// KMS, for the length of one call.
pub(crate) struct Kms<'a> {
    endpoint: &'a Url,
    sign: String,
    deadline: Instant,
}

impl<'a> Kms<'a> {
    pub(crate) fn new(endpoint: &'a Url, region: &str, info: &CallInfo) -> Self {
        let budget = Duration::from_millis(info.deadline_ms.into());
        Self {
            endpoint,
            sign: format!("aws-sigv4; region={region}; service=kms"),
            deadline: Instant::now() + budget.saturating_sub(MARGIN),
        }
    }

    /// Asks once.
    pub(crate) fn ask<A: Action>(&self, action: &A) -> Result<Zeroizing<Vec<u8>>, Error> {
        let body = serde_json::to_vec(action)
            .map_err(|_| Error::internal("aws.request", "the request cannot be written"))?;
        self.send(A::NAME, &body)
    }

    /// As [`Kms::ask`], for what changes nothing at KMS: once more where it was throttled.
    pub(crate) fn ask_again<A: Action>(&self, action: &A) -> Result<Zeroizing<Vec<u8>>, Error> {
        let error = match self.ask(action) {
            Err(error) if passes(&error) => error,
            answer => return answer,
        };
        let told = Duration::from_millis(error.retry_after_ms.unwrap_or_default().into());
        let pause = told.max(jittered());
        if self.left() < pause + WORTH_A_TRY {
            return Err(error);
        }
        sleep(pause);
        self.ask(action)
    }

    fn send(&self, action: &str, body: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let answer = Request::post(self.endpoint)
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", &format!("TrentService.{action}"))
            .header("keyreel-sign", &self.sign)
            .body(body)
            .timeout(self.left())
            .max_body(MAX_ANSWER)
            .send()
            .map_err(|failure| failure.into_error("aws", "AWS KMS"))?;
        if answer.status() == 200 {
            return Ok(Zeroizing::new(answer.into_body()));
        }
        Err(refusal::of(&answer))
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// Whether the same question may well get another answer in a moment. Where KMS was not to be had
/// at all, the host asks once more by itself.
fn passes(error: &Error) -> bool {
    error.class == ErrorClass::Throttled
}

fn jittered() -> Duration {
    let random = random_bytes(1).first().copied().map_or(0, u64::from);
    Duration::from_millis(PAUSE_MS + PAUSE_MS * random / 255)
}
