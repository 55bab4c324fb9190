//! The Local Key Manager provider: the customer's own HTTPS service keeps the private KEK. It is
//! sent the wrapped DEK and gives the DEK back, each call signed with Hawk. The Hawk key never
//! enters this memory; the DEK does, because the service's answer holds it, and leaves as a handle
//! before the instance is thrown away.
//! Not for: making key pairs: the customer makes and registers them.

mod answer;
mod config;
mod hawk;
mod subject;

use keyreel_plugin_sdk::http::{Request, Response};
use keyreel_plugin_sdk::{
    self as sdk, Algorithms, CallInfo, Description, Envelope, Error, Health, Kek, Provider,
    UnwrappedDek, Validated, secrets, session_cache,
};

use config::{API_KEY, Config};
use hawk::{Call, Signer};

/// The service chooses its padding by the key pair, so one pair has one algorithm.
const ALGORITHMS: Algorithms = Algorithms {
    prefix: "lkm",
    who: "a Local Key Manager unwraps",
    names: &["rsa-oaep-sha1", "rsa-oaep-sha256"],
};
/// A Local Key Manager answers in less than a hundred bytes.
const MAX_ANSWER: usize = 16 << 10;
/// How long a clock's difference is remembered.
const OFFSET_TTL_MS: u32 = 600_000;
/// How it is called in messages.
const SERVICE: &str = "the Local Key Manager";

struct Lkm {
    config: Config,
}

impl Provider for Lkm {
    fn describe() -> Description {
        Description {
            name: "Local Key Manager".to_owned(),
            vendor: "Keyreel".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            algorithms: ALGORITHMS.names(),
            config_schema: config::SCHEMA.to_owned(),
            secrets: vec![API_KEY.to_owned()],
        }
    }

    fn validate(config: &str) -> Result<Validated, Error> {
        let config = Config::parse(config)?;
        Ok(Validated {
            outbound: vec![config.url.origin()],
            warnings: config.warnings(),
        })
    }

    fn configure(config: &str) -> Result<Self, Error> {
        Config::parse(config).map(|config| Self { config })
    }

    /// `OPTIONS`, signed: whether the endpoint is there and takes the API key.
    fn health(&self, info: &CallInfo) -> Result<Health, Error> {
        let ask = Ask {
            method: "OPTIONS",
            body: None,
            recording: None,
        };
        let answer = self.ask(info, &ask)?;
        answer::health(&answer)
    }

    fn unwrap_dek(
        &self,
        info: &CallInfo,
        kek: &Kek,
        envelope: &Envelope,
    ) -> Result<UnwrappedDek, Error> {
        ALGORITHMS.check(kek, envelope)?;
        let recording = if self.config.bind_recording {
            Some(
                sdk::attribute(&envelope.context, "recording").ok_or_else(|| {
                    Error::request("lkm.no-recording", "the envelope names no recording")
                })?,
            )
        } else {
            None
        };
        let ask = Ask {
            method: "POST",
            body: Some(request_body(kek, envelope)),
            recording,
        };
        let answer = self.ask(info, &ask)?;
        let dek = answer::dek(&answer)?;
        Ok(UnwrappedDek {
            material: secrets::import_bytes(&dek),
            max_cache_ms: None,
        })
    }
}

/// What is asked.
struct Ask<'a> {
    method: &'static str,
    body: Option<Vec<u8>>,
    /// Signed along, where the configuration says so.
    recording: Option<&'a str>,
}

impl Lkm {
    /// Asks; once more only where the service says, under its signature, that its clock differs.
    fn ask(&self, info: &CallInfo, ask: &Ask<'_>) -> Result<Response, Error> {
        let signer = Signer::new(&self.config.api_id)?;
        let name = format!("clock/{}", self.config.url.origin());
        let offset = session_cache::get(&name)
            .and_then(|bytes| String::from_utf8(bytes).ok()?.parse().ok())
            .unwrap_or(0);
        let answer = self.send(info, ask, &signer, offset)?;
        if answer.status() != 401 {
            return Ok(answer);
        }
        let Some(offset) = signer.clock_offset(&answer)? else {
            return Ok(answer);
        };
        sdk::warn(
            "the clocks of this host and the Local Key Manager differ",
            &[("seconds", &offset.to_string())],
        );
        session_cache::put(&name, offset.to_string().as_bytes(), OFFSET_TTL_MS);
        self.send(info, ask, &signer, offset)
    }

    fn send(
        &self,
        info: &CallInfo,
        ask: &Ask<'_>,
        signer: &Signer<'_>,
        offset: i64,
    ) -> Result<Response, Error> {
        const JSON: &str = "application/json";
        let ext = ask
            .recording
            .map(|recording| format!("keyreel-recording={recording}"));
        let payload = match &ask.body {
            Some(body) if self.config.payload_hash => Some((JSON, body.as_slice())),
            _ => None,
        };
        let authorization = signer.authorization(&Call {
            method: ask.method,
            url: &self.config.url,
            // Whoever checks payload hashes follows Hawk to the letter, which signs the query.
            with_query: self.config.payload_hash,
            payload,
            ext: ext.as_deref(),
            seconds: hawk::now().saturating_add(offset),
        })?;
        let mut request = Request::new(ask.method, &self.config.url)
            .header("authorization", &authorization)
            .header("accept", JSON)
            .header("purecloud-user-id", &subject::user_id(&info.subject))
            .max_body(MAX_ANSWER)
            .deadline(info);
        if let Some(body) = &ask.body {
            request = request.header("content-type", JSON).body(body.clone());
        }
        request
            .send()
            .map_err(|failure| failure.into_error("lkm", SERVICE))
    }
}

fn request_body(kek: &Kek, envelope: &Envelope) -> Vec<u8> {
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(&envelope.wrapped_dek);
    serde_json::json!({ "keypairId": kek.id, "body": body })
        .to_string()
        .into_bytes()
}

sdk::export!(Lkm);
