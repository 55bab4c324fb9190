//! One decrypt, once it is known who asks.

use axum::extract::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::StatusCode;
use keyreel_format::Dek;
use uuid::Uuid;

use super::answer::Refusal;
use super::authenticate::Authenticated;
use super::{Peer, Service};
use crate::log::Entry;
use crate::policy::Forbidden;
use crate::store::PairState;

/// What the signed `ext` says, where it names a recording.
const RECORDING: &str = "keyreel-recording=";
/// The longest name of a user or recording that is logged.
const MAX_NAME: usize = 128;

/// What the head of a request asks, beside what its signature says.
pub(super) struct Asked {
    user: Option<String>,
    recording: Option<String>,
    padding_asked: bool,
}

impl Asked {
    pub(super) fn of(request: &Request) -> Result<Self, Refusal> {
        let name = |header: &str| {
            let value = request.headers().get(header)?.to_str().ok()?;
            (value.len() <= MAX_NAME).then(|| value.to_owned())
        };
        let query = request.uri().query().unwrap_or_default();
        Ok(Self {
            user: name("purecloud-user-id"),
            recording: name("keyreel-recording"),
            padding_asked: query
                .split('&')
                .any(|pair| pair == "decryptType" || pair.starts_with("decryptType=")),
        })
    }
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    keypair_id: String,
    body: String,
}

/// Decrypts, or says why not; either is in the log before this returns.
pub(super) fn run(
    service: &Service,
    authenticated: &Authenticated,
    asked: &Asked,
    body: &[u8],
    peer: Option<Peer>,
) -> Result<serde_json::Value, Refusal> {
    let recording = authenticated
        .ext()
        .and_then(|ext| ext.strip_prefix(RECORDING));
    let mut pair = None;
    let outcome = decrypt(service, authenticated, asked, recording, body, &mut pair);
    let entry = Entry {
        time: time(service.clock.now_ms()),
        credential: authenticated.credential(),
        keypair_id: pair.map(|pair| pair.to_string()),
        user: asked.user.as_deref(),
        recording: recording.filter(|recording| recording.len() <= MAX_NAME),
        peer: peer.map_or_else(String::new, |peer| peer.0.ip().to_canonical().to_string()),
        outcome: outcome
            .as_ref()
            .map_or_else(|refusal| refusal.code, |_| "ok"),
    };
    if let Err(error) = service.log.append(&entry) {
        tracing::error!(%error, "the log cannot be written, so nothing is decrypted");
        return Err(Refusal::internal());
    }
    let dek = outcome?;
    Ok(serde_json::json!({ "body": BASE64.encode(dek.expose()) }))
}

fn decrypt(
    service: &Service,
    authenticated: &Authenticated,
    asked: &Asked,
    recording: Option<&str>,
    body: &[u8],
    found: &mut Option<Uuid>,
) -> Result<Dek, Refusal> {
    let bad = |code, message| Refusal::new(StatusCode::BAD_REQUEST, code, message);
    if asked.padding_asked {
        return Err(bad(
            "decrypt-type",
            "decryptType is not served: PKCS#1 v1.5 is unsafe, and OAEP needs none.",
        ));
    }
    // A header that nobody signed may repeat what was signed, and not contradict it.
    if asked.recording.is_some() && asked.recording.as_deref() != recording {
        return Err(bad(
            "recording",
            "Keyreel-Recording is not the recording that the signature names.",
        ));
    }
    let body: Body = serde_json::from_slice(body).map_err(|_| {
        bad(
            "body",
            "The body must be {\"keypairId\": \"…\", \"body\": \"…\"}.",
        )
    })?;
    let unknown = || {
        Refusal::new(
            StatusCode::NOT_FOUND,
            "unknown-key-pair",
            "There is no such key pair here.",
        )
    };
    let id: Uuid = body.keypair_id.parse().map_err(|_| unknown())?;
    *found = Some(id);
    let wrapped = BASE64
        .decode(&body.body)
        .map_err(|_| bad("base64", "\"body\" is not base64."))?;

    let failed = |error: crate::Error| {
        tracing::error!(%error, "a decrypt failed");
        Refusal::internal()
    };
    let policy = service.policy.policy().map_err(failed)?;
    policy
        .check(authenticated.credential(), id, recording)
        .map_err(forbidden)?;
    let pair = service
        .pairs
        .pair(id)
        .map_err(failed)?
        .ok_or_else(unknown)?;
    service
        .policy
        .spend(&policy, id, service.clock.now_ms())
        .map_err(Refusal::too_many)?;
    if pair.state == PairState::Disabled {
        return Err(Refusal::new(
            StatusCode::CONFLICT,
            "key-pair-disabled",
            "This key pair is disabled.",
        ));
    }
    pair.decrypt(&wrapped).ok_or_else(|| {
        Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "does-not-open",
            "This key pair does not open it.",
        )
    })
}

fn forbidden(why: Forbidden) -> Refusal {
    let (code, message) = match why {
        Forbidden::NoRecording => (
            "recording-needed",
            "The policy goes by recording: sign its id in Hawk's ext.",
        ),
        Forbidden::NoRule => ("forbidden", "The policy does not allow this."),
    };
    Refusal::new(StatusCode::FORBIDDEN, code, message)
}

fn time(now_ms: u64) -> String {
    let now = i64::try_from(now_ms).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(now).map_or_else(|_| String::new(), |time| time.to_string())
}
