//! Hawk, checked as strictly as the specification allows: order of nothing is taken for granted,
//! every attribute must be known, the MAC must be over exactly what the strictness says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use super::wire::Seen;
use super::{Shared, State};

/// What a signature must be like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Strictness {
    /// The sample service: the path without the query, no payload hash, no ext, no time, no nonce.
    #[default]
    Sample,
    /// The sample service's form, with time and nonce checked.
    Fresh,
    /// Hawk to the letter: path and query, a payload hash where there is a payload, ext allowed,
    /// time and nonce checked.
    Full,
}

/// Why a signature is refused, and the challenge that goes with it.
pub(super) struct Refused {
    pub(super) why: &'static str,
    pub(super) challenge: String,
}

pub(super) fn check(shared: &Shared, state: &mut State, seen: &Seen) -> Result<(), Refused> {
    let refused = |why| Refused {
        why,
        challenge: "Hawk".to_owned(),
    };
    let strictness = state.strictness;
    let header = seen
        .header("authorization")
        .ok_or(refused("no signature"))?;
    let get = |name: &str| attribute(header, name);
    for name in ["id", "ts", "nonce", "mac"] {
        if get(name).is_none() {
            return Err(refused("an attribute is missing"));
        }
    }
    let (ts, nonce) = (
        get("ts").unwrap_or_default(),
        get("nonce").unwrap_or_default(),
    );
    if get("id") != Some(shared.api_id.as_str()) {
        return Err(refused("unknown id"));
    }
    if strictness != Strictness::Full && (get("hash").is_some() || get("ext").is_some()) {
        return Err(refused("hash and ext are not known here"));
    }
    let hash = match (strictness, &seen.body) {
        (Strictness::Full, body) if !body.is_empty() => {
            let kind = seen.header("content-type").unwrap_or_default();
            Some(payload_hash(kind, body))
        }
        _ => None,
    };
    if hash.as_deref() != get("hash") {
        return Err(refused("the payload's hash is wrong or missing"));
    }
    let resource = match strictness {
        Strictness::Full => seen.target.as_str(),
        _ => seen.target.split('?').next().unwrap_or_default(),
    };
    let base = format!(
        "hawk.1.header\n{ts}\n{nonce}\n{}\n{resource}\n{}\n{}\n{}\n{}\n",
        seen.method,
        shared.address.ip(),
        shared.address.port(),
        hash.as_deref().unwrap_or(""),
        get("ext").unwrap_or(""),
    );
    if get("mac") != Some(mac(&shared.api_key, &base).as_str()) {
        return Err(refused("the MAC is wrong"));
    }
    if strictness == Strictness::Sample {
        return Ok(());
    }
    let now = state.now();
    if ts.parse::<i64>().map_or(true, |ts| (ts - now).abs() > 60) {
        let tsm = mac(&shared.api_key, &format!("hawk.1.ts\n{now}\n"));
        return Err(Refused {
            why: "stale",
            challenge: format!(r#"Hawk ts="{now}", tsm="{tsm}", error="Stale timestamp""#),
        });
    }
    if !state.nonces.insert(format!("{ts} {nonce}")) {
        return Err(refused("a replay"));
    }
    Ok(())
}

/// The value of an attribute, if the header has it exactly once.
fn attribute<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let attributes = header.strip_prefix("Hawk ")?;
    let mut values = attributes.split(", ").filter_map(|attribute| {
        let (key, value) = attribute.split_once('=')?;
        (key == name).then_some(value)
    });
    let value = values.next()?.strip_prefix('"')?.strip_suffix('"')?;
    values.next().is_none().then_some(value)
}

fn payload_hash(content_type: &str, body: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("hawk.1.payload\n{content_type}\n"));
    hash.update(body);
    hash.update("\n");
    BASE64.encode(hash.finalize())
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn mac(key: &str, base: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("any length");
    mac.update(base.as_bytes());
    BASE64.encode(mac.finalize().into_bytes())
}
