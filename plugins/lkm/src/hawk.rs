//! Hawk (github.com/mozilla/hawk, API.md), the client's side, with the MAC made by the host.
//! Not for: verifying answers (`Server-Authorization`): services of the sample's kind send none.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use keyreel_plugin_sdk::http::{Response, Url};
use keyreel_plugin_sdk::{self as sdk, Error, Secret, secrets};
use sha2::{Digest as _, Sha256};

use crate::config::API_KEY;

const MAC: &str = "hmac-sha256";
const NONCE_LEN: usize = 9;

/// Signs as one API id.
pub(crate) struct Signer<'a> {
    id: &'a str,
    key: Secret,
}

/// What a signature covers.
pub(crate) struct Call<'a> {
    pub(crate) method: &'a str,
    pub(crate) url: &'a Url,
    pub(crate) with_query: bool,
    /// Content type and body, where the hash of the body is signed.
    pub(crate) payload: Option<(&'a str, &'a [u8])>,
    pub(crate) ext: Option<&'a str>,
    /// The time, in seconds since 1970, by the service's clock.
    pub(crate) seconds: i64,
}

/// Seconds since 1970, by this host's clock.
pub(crate) fn now() -> i64 {
    i64::try_from(sdk::unix_ms() / 1000).unwrap_or(i64::MAX)
}

impl<'a> Signer<'a> {
    pub(crate) fn new(id: &'a str) -> Result<Self, Error> {
        let key = secrets::get(API_KEY)?;
        Ok(Self { id, key })
    }

    /// The value of `Authorization`.
    pub(crate) fn authorization(&self, call: &Call<'_>) -> Result<String, Error> {
        let nonce = BASE64.encode(sdk::random_bytes(NONCE_LEN));
        let hash = call
            .payload
            .map(|(content_type, body)| payload_hash(content_type, body));
        let base = base_string(call, &nonce, hash.as_deref());
        let mac = BASE64.encode(self.key.mac(MAC, base.as_bytes())?);
        let mut header = format!(
            r#"Hawk id="{}", ts="{}", nonce="{nonce}""#,
            self.id, call.seconds
        );
        if let Some(hash) = &hash {
            write!(header, r#", hash="{hash}""#)?;
        }
        if let Some(ext) = call.ext {
            write!(header, r#", ext="{ext}""#)?;
        }
        write!(header, r#", mac="{mac}""#)?;
        Ok(header)
    }

    /// How many seconds the service's clock is ahead, if its refusal says so and is signed with the
    /// key that both have (`ts` and `tsm` of `WWW-Authenticate`).
    pub(crate) fn clock_offset(&self, answer: &Response) -> Result<Option<i64>, Error> {
        let Some((seconds, mac)) = answer.header("www-authenticate").and_then(stale) else {
            return Ok(None);
        };
        let expected = self
            .key
            .mac(MAC, format!("hawk.1.ts\n{seconds}\n").as_bytes())?;
        if BASE64.decode(mac).ok().as_deref() != Some(expected.as_slice()) {
            return Ok(None);
        }
        Ok(Some(seconds.saturating_sub(now())))
    }
}

/// The normalized request string.
fn base_string(call: &Call<'_>, nonce: &str, hash: Option<&str>) -> String {
    let resource = if call.with_query {
        call.url.path_and_query()
    } else {
        call.url.path().to_owned()
    };
    format!(
        "hawk.1.header\n{}\n{nonce}\n{}\n{resource}\n{}\n{}\n{}\n{}\n",
        call.seconds,
        call.method,
        call.url.host(),
        call.url.port(),
        hash.unwrap_or(""),
        call.ext.unwrap_or(""),
    )
}

fn payload_hash(content_type: &str, body: &[u8]) -> String {
    let digest = Sha256::new()
        .chain_update(b"hawk.1.payload\n")
        .chain_update(content_type.as_bytes())
        .chain_update(b"\n")
        .chain_update(body)
        .chain_update(b"\n")
        .finalize();
    BASE64.encode(digest)
}

/// `ts` and `tsm` of a challenge.
pub(crate) fn stale(challenge: &str) -> Option<(i64, &str)> {
    let attributes = challenge.strip_prefix("Hawk ")?;
    let value = |name: &str| {
        attributes.split(',').find_map(|attribute| {
            let (key, value) = attribute.trim().split_once('=')?;
            (key == name).then(|| value.trim_matches('"'))
        })
    };
    let seconds = value("ts")?.parse().ok()?;
    Some((seconds, value("tsm")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Hawk's README: <https://github.com/mozilla/hawk/blob/main/API.md>.
    #[test]
    fn base_string_is_the_specifications() {
        let url = Url::parse("http://example.com:8000/resource/1?b=1&a=2").unwrap();
        let call = Call {
            method: "GET",
            url: &url,
            with_query: true,
            payload: None,
            ext: Some("some-app-ext-data"),
            seconds: 1_353_832_234,
        };
        assert_eq!(
            base_string(&call, "j4h3g2", None),
            "hawk.1.header\n1353832234\nj4h3g2\nGET\n/resource/1?b=1&a=2\nexample.com\n8000\n\n\
             some-app-ext-data\n"
        );
        let plain = Call {
            with_query: false,
            ext: None,
            ..call
        };
        assert!(base_string(&plain, "n", None).contains("\n/resource/1\n"));
    }

    #[test]
    fn payload_hash_is_the_specifications() {
        assert_eq!(
            payload_hash("text/plain", b"Thank you for flying Hawk"),
            "Yi9LfIIFRtBEPt74PVmbTF/xVAwPn7ub15ePICfgnuY="
        );
    }

    #[test]
    fn reads_a_challenge() {
        let challenge = r#"Hawk ts="1365741469", tsm="h/Ff6XI1euObD78ZNflapvLKXGuaw1RiLI4Q6Q5sAbM=", error="Stale timestamp""#;
        assert_eq!(
            stale(challenge),
            Some((
                1_365_741_469,
                "h/Ff6XI1euObD78ZNflapvLKXGuaw1RiLI4Q6Q5sAbM="
            ))
        );
        assert_eq!(stale("Hawk"), None);
        assert_eq!(stale(r#"Basic realm="x""#), None);
        assert_eq!(stale(r#"Hawk ts="soon", tsm="x""#), None);
    }
}
