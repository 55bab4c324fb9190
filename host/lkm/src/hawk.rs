//! Hawk (github.com/mozilla/hawk, API.md), the server's side: reading `Authorization`, checking
//! what it covers, signing answers.
//! Not for: `app` and `dlg` (Oz), bewits: refused as malformed.

#[cfg(test)]
mod properties;

use aws_lc_rs::digest::{self, SHA256};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Longer than any header that makes sense.
const MAX_HEADER: usize = 2048;
/// Of one attribute.
const MAX_VALUE: usize = 512;

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Authorization {
    pub(crate) id: String,
    /// As sent: the MAC covers the text.
    pub(crate) ts: String,
    pub(crate) seconds: i64,
    pub(crate) nonce: String,
    pub(crate) hash: Option<Vec<u8>>,
    /// The hash as sent.
    hash_text: String,
    pub(crate) ext: Option<String>,
    mac: Vec<u8>,
}

/// What a request was sent to.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    /// In lower case.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Authorization {
    /// `None` where it is not a well-formed Hawk header.
    pub(crate) fn parse(header: &str) -> Option<Self> {
        if header.len() > MAX_HEADER {
            return None;
        }
        let rest = strip_scheme(header)?;
        let mut found: [Option<&str>; 6] = [None; 6];
        for (name, value) in attributes(rest)? {
            let place = NAMES.iter().position(|known| *known == name)?;
            let slot = found.get_mut(place)?;
            if slot.replace(value).is_some() {
                return None;
            }
        }
        let [id, ts, nonce, hash, ext, mac] = found;
        let (id, ts, nonce, mac) = (id?, ts?, nonce?, mac?);
        let hash_bytes = match hash {
            Some(text) => Some(BASE64.decode(text).ok()?),
            None => None,
        };
        let digits = ts.len() <= 12 && ts.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || id.is_empty() || nonce.is_empty() {
            return None;
        }
        Some(Self {
            id: id.to_owned(),
            ts: ts.to_owned(),
            seconds: ts.parse().ok()?,
            nonce: nonce.to_owned(),
            hash: hash_bytes,
            hash_text: hash.unwrap_or_default().to_owned(),
            ext: ext.map(str::to_owned),
            mac: BASE64.decode(mac).ok()?,
        })
    }

    /// Whether the MAC is right. The path alone is what the sample service checks, path and query
    /// what Hawk says: either is taken. Constant time in what is secret.
    pub(crate) fn is_signed(&self, key: &hmac::Key, target: &Target) -> bool {
        let hash = &self.hash_text;
        let ext = self.ext.as_deref().unwrap_or("");
        let is = |resource: &str| {
            let base = self.base("header", target, resource, hash, ext);
            hmac::verify(key, base.as_bytes(), &self.mac).is_ok()
        };
        is(&target.path) || target.query.is_some() && is(&target.resource())
    }

    /// Whether the body is the one that was signed; also where no hash was sent.
    pub(crate) fn covers(&self, content_type: &str, body: &[u8]) -> bool {
        match &self.hash {
            Some(hash) => aws_lc_rs::constant_time::verify_slices_are_equal(
                hash,
                payload_hash(content_type, body).as_ref(),
            )
            .is_ok(),
            None => true,
        }
    }

    /// `Server-Authorization` for an answer: whoever has the key can tell that it is ours.
    pub(crate) fn answer(
        &self,
        key: &hmac::Key,
        target: &Target,
        content_type: &str,
        body: &[u8],
    ) -> String {
        let hash = BASE64.encode(payload_hash(content_type, body));
        let base = self.base("response", target, &target.resource(), &hash, "");
        let mac = BASE64.encode(hmac::sign(key, base.as_bytes()));
        format!(r#"Hawk mac="{mac}", hash="{hash}""#)
    }

    fn base(&self, kind: &str, target: &Target, resource: &str, hash: &str, ext: &str) -> String {
        format!(
            "hawk.1.{kind}\n{}\n{}\n{}\n{resource}\n{}\n{}\n{hash}\n{ext}\n",
            self.ts, self.nonce, target.method, target.host, target.port
        )
    }
}

impl Target {
    /// Path and query.
    fn resource(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }
}

/// The challenge for a client whose clock is off: our time, signed.
pub(crate) fn stale(key: &hmac::Key, now_seconds: i64) -> String {
    let base = format!("hawk.1.ts\n{now_seconds}\n");
    let tsm = BASE64.encode(hmac::sign(key, base.as_bytes()));
    format!(r#"Hawk ts="{now_seconds}", tsm="{tsm}", error="Stale timestamp""#)
}

fn payload_hash(content_type: &str, body: &[u8]) -> digest::Digest {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    let mut context = digest::Context::new(&SHA256);
    context.update(b"hawk.1.payload\n");
    context.update(kind.to_ascii_lowercase().as_bytes());
    context.update(b"\n");
    context.update(body);
    context.update(b"\n");
    context.finish()
}

const NAMES: [&str; 6] = ["id", "ts", "nonce", "hash", "ext", "mac"];

fn strip_scheme(header: &str) -> Option<&str> {
    let (scheme, rest) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("hawk").then_some(rest)
}

/// `name="value"`, separated by commas. Values have neither quote nor backslash.
fn attributes(text: &str) -> Option<Vec<(&str, &str)>> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    loop {
        let (name, after) = rest.split_once("=\"")?;
        let (value, after) = after.split_once('"')?;
        let good = value.len() <= MAX_VALUE
            && value
                .bytes()
                .all(|byte| (b' '..=b'~').contains(&byte) && byte != b'\\');
        if !good {
            return None;
        }
        found.push((name, value));
        let after = after.trim_start();
        if after.is_empty() {
            return Some(found);
        }
        rest = after.strip_prefix(',')?.trim_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target {
            method: "POST".to_owned(),
            path: "/resource/1".to_owned(),
            query: Some("b=1&a=2".to_owned()),
            host: "example.com".to_owned(),
            port: 8000,
        }
    }

    /// API.md of Hawk, "Protocol Example" and "Payload Validation".
    #[test]
    fn takes_the_specifications_own_examples() {
        let key = hmac::Key::new(
            hmac::HMAC_SHA256,
            b"werxhqb98rpaxn39848xrunpaw3489ruxnpa98w4rxn",
        );
        let plain = r#"Hawk id="dh37fgj492je", ts="1353832234", nonce="j4h3g2", ext="some-app-ext-data", mac="6R4rV5iE+NPoym+WwjeHzjAGXUtLNIxmo1vpMofpLAE=""#;
        let plain = Authorization::parse(plain).unwrap();
        let get = Target {
            method: "GET".to_owned(),
            ..target()
        };
        assert!(plain.is_signed(&key, &get));
        assert!(!plain.is_signed(&key, &target()));

        let hashed = r#"Hawk id="dh37fgj492je", ts="1353832234", nonce="j4h3g2", hash="Yi9LfIIFRtBEPt74PVmbTF/xVAwPn7ub15ePICfgnuY=", ext="some-app-ext-data", mac="aSe1DERmZuRl3pI36/9BdZmnErTw3sNzOOAUlfeKjVw=""#;
        let hashed = Authorization::parse(hashed).unwrap();
        assert!(hashed.is_signed(&key, &target()));
        assert!(hashed.covers("text/plain; charset=utf-8", b"Thank you for flying Hawk"));
        assert!(!hashed.covers("text/plain", b"Thank you for flying hawk"));
    }

    #[test]
    fn refuses_what_is_not_well_formed() {
        let good = r#"Hawk id="a", ts="1", nonce="n", mac="AAAA""#;
        assert!(Authorization::parse(good).is_some());
        let long = format!(
            r#"Hawk id="{}", ts="1", nonce="n", mac="AAAA""#,
            "a".repeat(513)
        );
        for bad in [
            "",
            "Hawk",
            "Hawk ",
            "Bearer abc",
            r#"Hawk id="a", ts="1", nonce="n""#,
            r#"Hawk id="a", ts="1", ts="2", nonce="n", mac="AAAA""#,
            r#"Hawk id="a", ts="one", nonce="n", mac="AAAA""#,
            r#"Hawk id="a", ts="-1", nonce="n", mac="AAAA""#,
            r#"Hawk id="a", ts="9999999999999", nonce="n", mac="AAAA""#,
            r#"Hawk id="", ts="1", nonce="n", mac="AAAA""#,
            r#"Hawk id="a", ts="1", nonce="", mac="AAAA""#,
            r#"Hawk id="a", ts="1", nonce="n", mac="not base64""#,
            r#"Hawk id="a", ts="1", nonce="n", mac="AAAA", hash="*""#,
            r#"Hawk id="a", ts="1", nonce="n", mac="AAAA", app="x""#,
            r#"Hawk id="a\", ts="1", nonce="n", mac="AAAA""#,
            r#"Hawk id="a" ts="1", nonce="n", mac="AAAA""#,
            r#"Hawk id="a", ts="1", nonce="n", mac="AAAA","#,
            r#"Hawk id=a, ts="1", nonce="n", mac="AAAA""#,
            &long,
        ] {
            assert_eq!(Authorization::parse(bad), None, "{bad}");
        }
    }
}
