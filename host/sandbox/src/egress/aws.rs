//! Signing for AWS (Signature Version 4) with the host's credentials, which no plugin ever holds.
//! Not for: which requests are signed: the operator's grant says that.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::Region;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::environment::region::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::region::ProfileFileRegionProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use http::{HeaderName, HeaderValue};
use tokio::sync::Mutex;
use wasmtime_wasi_http::Error;

use super::request::Outgoing;

/// The header by which a guest asks for a signature: `aws-sigv4; region=<region>; service=<name>`.
pub(super) const SIGN: HeaderName = HeaderName::from_static("keyreel-sign");

/// The host has no valid credentials.
pub(super) const CREDENTIALS: &str = "keyreel:aws.credentials";
/// The grant says that requests are signed, and this one does not ask for it.
pub(super) const REQUIRED: &str = "keyreel:aws.sign-required";
/// The grant does not say that requests are signed.
pub(super) const NOT_GRANTED: &str = "keyreel:aws.sign-not-granted";
/// The instruction, or the request around it, cannot be signed.
pub(super) const MALFORMED: &str = "keyreel:aws.sign-malformed";

/// Credentials are renewed so long before they end.
const RENEW: Duration = Duration::from_secs(5 * 60);
/// Credentials without an end are asked for again after this, so that a changed file is seen.
const ENDLESS: Duration = Duration::from_secs(15 * 60);
/// After a failure nobody is asked for this long.
const PAUSE: Duration = Duration::from_secs(5);
/// What asking may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// An error that the guest's SDK knows by its text.
pub(super) fn refusal(code: &str) -> Error {
    Error::InternalError(Some(code.to_owned()))
}

/// Region and service of a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SignAs {
    region: String,
    service: String,
}

impl SignAs {
    pub(super) fn parse(value: &HeaderValue) -> Result<Self, Error> {
        let parse = || {
            let mut parts = value.to_str().ok()?.split(';').map(str::trim);
            let scheme = parts.next()?;
            let region = parts.next()?.strip_prefix("region=")?;
            let service = parts.next()?.strip_prefix("service=")?;
            let plain = |text: &str| {
                (1..=32).contains(&text.len())
                    && text
                        .bytes()
                        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            };
            let whole = scheme == "aws-sigv4" && parts.next().is_none();
            (whole && plain(region) && plain(service)).then(|| Self {
                region: region.to_owned(),
                service: service.to_owned(),
            })
        };
        parse().ok_or_else(|| refusal(MALFORMED))
    }
}

/// Signs requests with one set of credentials, renewed before they end. Clones share them.
#[derive(Clone)]
pub struct AwsSigner(Arc<Signer>);

struct Signer {
    source: Source,
    known: Mutex<Known>,
}

enum Source {
    StandardChain,
    Given(SharedCredentialsProvider),
}

#[derive(Default)]
struct Known {
    credentials: Option<Credentials>,
    /// When somebody is asked again, ms since 1970.
    ask_at_ms: u64,
}

impl AwsSigner {
    /// With the credentials that this provider gives.
    #[must_use]
    pub fn new(provider: SharedCredentialsProvider) -> Self {
        Self::of(Source::Given(provider))
    }

    /// With AWS' standard chain: environment, profile, web identity, container, instance. Nobody is
    /// asked before the first signature.
    #[must_use]
    pub fn standard_chain() -> Self {
        Self::of(Source::StandardChain)
    }

    fn of(source: Source) -> Self {
        let known = Mutex::default();
        Self(Arc::new(Signer { source, known }))
    }

    /// Adds a signature over all of `outgoing` and `body`.
    pub(super) async fn sign(
        &self,
        sign_as: &SignAs,
        now_ms: u64,
        outgoing: &mut Outgoing,
        body: &[u8],
    ) -> Result<(), Error> {
        let identity = Signer::credentials(&self.0, &sign_as.region, now_ms)
            .await?
            .into();
        let malformed = || refusal(MALFORMED);
        let params = SigningParams::builder()
            .identity(&identity)
            .region(&sign_as.region)
            .name(&sign_as.service)
            .time(time(now_ms))
            .settings(SigningSettings::default())
            .build()
            .map_err(|_| malformed())?
            .into();
        let uri = format!("{}{}", outgoing.origin, outgoing.path);
        let headers: Option<Vec<(&str, &str)>> = outgoing
            .headers
            .iter()
            .map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
            .collect();
        let headers = headers.ok_or_else(malformed)?.into_iter();
        let body = SignableBody::Bytes(body);
        let request = SignableRequest::new(outgoing.method.as_str(), uri, headers, body)
            .map_err(|_| malformed())?;
        let (instructions, _) = sign(request, &params)
            .map_err(|_| malformed())?
            .into_parts();
        let (added, _) = instructions.into_parts();
        for header in added {
            let mut value = HeaderValue::from_str(header.value()).map_err(|_| malformed())?;
            value.set_sensitive(true);
            outgoing.headers.insert(header.name(), value);
        }
        Ok(())
    }
}

impl Signer {
    /// Credentials that are valid now. One request asks; the others wait for it. Asking goes on
    /// where the call that began it has ended.
    async fn credentials(
        signer: &Arc<Self>,
        region: &str,
        now_ms: u64,
    ) -> Result<Credentials, Error> {
        let known = signer.known.lock().await;
        if now_ms < known.ask_at_ms {
            return known.valid(now_ms);
        }
        drop(known);
        let (signer, region) = (Arc::clone(signer), region.to_owned());
        let renewing = tokio::spawn(async move {
            let mut known = signer.known.lock().await;
            if now_ms >= known.ask_at_ms {
                match tokio::time::timeout(TIMEOUT, signer.ask(region)).await {
                    Ok(Ok(credentials)) => known.keep(credentials, now_ms),
                    Ok(Err(error)) => known.failed(&error.to_string(), now_ms),
                    Err(_) => known.failed("nobody answered in time", now_ms),
                }
            }
            known.valid(now_ms)
        });
        renewing.await.unwrap_or_else(|_| Err(refusal(CREDENTIALS)))
    }

    async fn ask(&self, region: String) -> Result<Credentials, CredentialsError> {
        match &self.source {
            Source::Given(provider) => provider.provide_credentials().await,
            // Built anew each time, because a chain reads its files once. The region is for roles
            // that are asked for; the key's own will do, and asking the machine for it takes long
            // where the machine is not one of AWS'.
            Source::StandardChain => {
                let region =
                    RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
                        .or_else(ProfileFileRegionProvider::new())
                        .or_else(Region::new(region));
                let chain = DefaultCredentialsChain::builder().region(region);
                chain.build().await.provide_credentials().await
            }
        }
    }
}

impl Known {
    fn valid(&self, now_ms: u64) -> Result<Credentials, Error> {
        let valid = self.credentials.as_ref().filter(|credentials| {
            credentials
                .expiry()
                .is_none_or(|expiry| expiry > time(now_ms))
        });
        valid.cloned().ok_or_else(|| refusal(CREDENTIALS))
    }

    fn keep(&mut self, credentials: Credentials, now_ms: u64) {
        let lasts = match credentials.expiry() {
            None => ENDLESS,
            Some(expiry) => expiry
                .duration_since(time(now_ms))
                .unwrap_or_default()
                .saturating_sub(RENEW)
                .max(PAUSE),
        };
        self.ask_at_ms = now_ms.saturating_add(millis(lasts));
        self.credentials = Some(credentials);
    }

    /// What is known stays, and is used while it is valid. The text names no secret: only the kind
    /// of the failure is in it.
    fn failed(&mut self, error: &str, now_ms: u64) {
        tracing::warn!(
            error,
            "no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a \
             role of this machine or container, for the process that runs Keyreel"
        );
        self.ask_at_ms = now_ms.saturating_add(millis(PAUSE));
    }
}

fn time(ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(ms)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
