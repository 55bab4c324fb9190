//! AWS Signature Version 4, verified by computing it again. Shares no code with what signs.
//! Not for: signing.

use std::collections::BTreeMap;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac};
use http::{HeaderMap, Method, Uri};

use crate::key::REGION;
use crate::{Refusal, StandInCredentials};

/// How far a request's clock may be off, as with AWS.
const WINDOW_MS: u64 = 5 * 60 * 1000;
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// A request, as it came.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
}

/// Refuses whatever is not signed with `credentials`, now, for this service, over all that counts.
pub(crate) fn verify(
    request: &Request<'_>,
    credentials: &StandInCredentials,
    now_ms: u64,
) -> Result<(), Refusal> {
    let missing = || {
        Refusal::new(
            "MissingAuthenticationTokenException",
            "The request is not signed",
        )
    };
    let authorization = one(request.headers, "authorization").ok_or_else(missing)?;
    let date = one(request.headers, "x-amz-date").ok_or_else(missing)?;
    let claim = Claim::parse(authorization).ok_or_else(|| {
        Refusal::new("IncompleteSignatureException", "Authorization is malformed")
    })?;
    if claim.access_key_id != credentials.access_key_id {
        return Err(Refusal::new(
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        ));
    }
    let signed_at = unix_ms(date).ok_or_else(|| wrong("x-amz-date is malformed"))?;
    if signed_at.abs_diff(now_ms) > WINDOW_MS {
        return Err(wrong("Signature expired or not yet current"));
    }
    let day = date.get(..8).unwrap_or_default();
    let scope = format!("{day}/{REGION}/kms/aws4_request");
    if claim.scope != scope {
        return Err(wrong(
            "Credential should be scoped to the day, region and service",
        ));
    }
    check_coverage(request.headers, &claim.signed_headers)?;
    let body_digest = hex::encode(digest::digest(&digest::SHA256, request.body));
    if one(request.headers, "x-amz-content-sha256").is_some_and(|said| said != body_digest) {
        return Err(wrong("x-amz-content-sha256 is not the body's"));
    }
    let canonical = canonical(request, &claim.signed_headers, &body_digest)
        .ok_or_else(|| wrong("A signed header is missing"))?;
    let canonical_digest = hex::encode(digest::digest(&digest::SHA256, canonical.as_bytes()));
    let to_sign = format!("{ALGORITHM}\n{date}\n{scope}\n{canonical_digest}");
    let expected = hex::encode(signature(&credentials.secret_access_key, day, &to_sign));
    verify_slices_are_equal(expected.as_bytes(), claim.signature.as_bytes()).map_err(|_| {
        wrong("The request signature we calculated does not match the signature you provided.")
    })
}

/// What `Authorization` claims.
struct Claim<'a> {
    access_key_id: &'a str,
    scope: &'a str,
    signed_headers: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> Claim<'a> {
    fn parse(authorization: &'a str) -> Option<Self> {
        let fields = authorization.strip_prefix(ALGORITHM)?.strip_prefix(' ')?;
        let fields: BTreeMap<&str, &str> = fields
            .split(',')
            .filter_map(|field| field.trim().split_once('='))
            .collect();
        let (access_key_id, scope) = fields.get("Credential")?.split_once('/')?;
        Some(Self {
            access_key_id,
            scope,
            signed_headers: fields.get("SignedHeaders")?.split(';').collect(),
            signature: fields.get("Signature")?,
        })
    }
}

/// The host, the date, and all that says what is asked must be signed; each name once, in order.
fn check_coverage(headers: &HeaderMap, signed: &[&str]) -> Result<(), Refusal> {
    if !signed.is_sorted_by(|a, b| a < b) {
        return Err(wrong("SignedHeaders are not sorted"));
    }
    let must = |name: &str| name == "host" || name == "content-type" || name.starts_with("x-amz-");
    for name in headers.keys() {
        if must(name.as_str()) && !signed.contains(&name.as_str()) {
            return Err(wrong(&format!("{name} must be signed")));
        }
    }
    if signed.contains(&"host") && signed.contains(&"x-amz-date") {
        return Ok(());
    }
    Err(wrong("host and x-amz-date must be signed"))
}

fn canonical(request: &Request<'_>, signed: &[&str], body_digest: &str) -> Option<String> {
    let mut query: Vec<&str> = request
        .uri
        .query()
        .map_or(Vec::new(), |query| query.split('&').collect());
    query.sort_unstable();
    let mut canonical = format!(
        "{}\n{}\n{}\n",
        request.method,
        request.uri.path(),
        query.join("&")
    );
    for name in signed {
        let mut values = Vec::new();
        for value in request.headers.get_all(*name) {
            let words: Vec<&str> = value.to_str().ok()?.split_whitespace().collect();
            values.push(words.join(" "));
        }
        if values.is_empty() {
            return None;
        }
        canonical.push_str(&format!("{name}:{}\n", values.join(",")));
    }
    canonical.push_str(&format!("\n{}\n{body_digest}", signed.join(";")));
    Some(canonical)
}

fn signature(secret: &str, day: &str, to_sign: &str) -> hmac::Tag {
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in [day, REGION, "kms", "aws4_request"] {
        key = mac(&key, part).as_ref().to_vec();
    }
    mac(&key, to_sign)
}

fn mac(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

/// "20261122T062014Z" as ms since 1970.
fn unix_ms(date: &str) -> Option<u64> {
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", date).ok()?;
    let zoned = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    u64::try_from(zoned.timestamp().as_millisecond()).ok()
}

/// A header that is there once.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

fn wrong(message: &str) -> Refusal {
    Refusal::new("InvalidSignatureException", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"KeyId":"alias/keyreel-demo"}"#;
    const DATE: &str = "20261122T062014Z";
    const BOTOCORE: &str = "56c4cced3942e1d7871d3d1ab958fe8ce7fa33ec40cd5fd003f07c71dea9a2c8";

    fn credentials() -> StandInCredentials {
        StandInCredentials {
            access_key_id: "AKIATEST".to_owned(),
            secret_access_key: "secret".to_owned(),
        }
    }

    /// A request whose signature botocore 1.44.5 computed.
    fn headers() -> HeaderMap {
        let mut headers = HeaderMap::new();
        let authorization = format!(
            "{ALGORITHM} Credential=AKIATEST/20261122/us-east-1/kms/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature={BOTOCORE}"
        );
        for (name, value) in [
            ("host", "127.0.0.1:4566"),
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", "TrentService.DescribeKey"),
            ("x-amz-date", DATE),
            ("authorization", authorization.as_str()),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        headers
    }

    fn check(headers: &HeaderMap, body: &[u8], now_ms: u64) -> Result<(), &'static str> {
        let request = Request {
            method: &Method::POST,
            uri: &Uri::from_static("/"),
            headers,
            body,
        };
        verify(&request, &credentials(), now_ms).map_err(|refusal| refusal.kind)
    }

    #[test]
    fn accepts_what_botocore_signed() {
        let now = unix_ms(DATE).unwrap();
        assert_eq!(now, 1_795_328_414_000);
        assert_eq!(check(&headers(), BODY, now), Ok(()));
        assert_eq!(check(&headers(), BODY, now + WINDOW_MS), Ok(()));
    }

    #[test]
    fn refuses_whatever_was_changed() {
        let now = unix_ms(DATE).unwrap();
        let invalid = Err("InvalidSignatureException");
        assert_eq!(check(&headers(), b"{}", now), invalid);
        assert_eq!(check(&headers(), BODY, now + WINDOW_MS + 1), invalid);
        assert_eq!(check(&headers(), BODY, now - WINDOW_MS - 1), invalid);
        for (name, value, kind) in [
            ("host", "127.0.0.1:4567", "InvalidSignatureException"),
            (
                "x-amz-target",
                "TrentService.Decrypt",
                "InvalidSignatureException",
            ),
            (
                "x-amz-date",
                "20261122T062015Z",
                "InvalidSignatureException",
            ),
            ("x-amz-date", "yesterday", "InvalidSignatureException"),
            (
                "x-amz-security-token",
                "unsigned",
                "InvalidSignatureException",
            ),
            ("x-amz-content-sha256", "00", "InvalidSignatureException"),
            ("authorization", "Bearer x", "IncompleteSignatureException"),
        ] {
            let mut changed = headers();
            changed.insert(name, value.parse().unwrap());
            assert_eq!(check(&changed, BODY, now), Err(kind), "{name}: {value}");
        }
        for (from, to, kind) in [
            ("AKIATEST", "AKIAOTHER", "UnrecognizedClientException"),
            ("us-east-1", "eu-west-1", "InvalidSignatureException"),
            ("/kms/", "/s3/", "InvalidSignatureException"),
            ("20261122/", "20261123/", "InvalidSignatureException"),
            (";x-amz-target", "", "InvalidSignatureException"),
            ("host;", "", "InvalidSignatureException"),
            (
                "content-type;host",
                "host;content-type",
                "InvalidSignatureException",
            ),
            ("Signature=", "Signature=0", "InvalidSignatureException"),
        ] {
            let mut changed = headers();
            let authorization = changed["authorization"].to_str().unwrap().replace(from, to);
            changed.insert("authorization", authorization.parse().unwrap());
            assert_eq!(check(&changed, BODY, now), Err(kind), "{from} -> {to}");
        }
        for name in ["authorization", "x-amz-date"] {
            let mut changed = headers();
            changed.remove(name);
            let kind = "MissingAuthenticationTokenException";
            assert_eq!(check(&changed, BODY, now), Err(kind), "{name}");
            let mut twice = headers();
            twice.append(name, "x".parse().unwrap());
            assert_eq!(check(&twice, BODY, now), Err(kind), "{name}");
        }
    }
}
