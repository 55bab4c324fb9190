//! What a Local Key Manager answers, and the many ways in which it fails, each with a code.
//! Nothing that the service sent goes into a message: it may hold keys.
//! Not for: why there is no answer at all (see the SDK's `http::Failure`).

#[cfg(test)]
mod properties;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use keyreel_plugin_sdk::http::Response;
use keyreel_plugin_sdk::{Error, Health};

const DEK_LEN: usize = 32;

/// The DEK out of the answer to a decrypt.
pub(crate) fn dek(answer: &Response) -> Result<Vec<u8>, Error> {
    if answer.status() != 200 {
        return Err(refusal(&Refused::of(answer)));
    }
    decrypted(answer.header("content-type"), answer.body())
}

/// What the answer to the probe tells.
pub(crate) fn health(answer: &Response) -> Result<Health, Error> {
    let (status, detail) = match answer.status() {
        200 if is_json_object(answer.body()) => ("ok", "it answers, and takes the API key"),
        200..=299 => (
            "degraded",
            "it answers OPTIONS, but not with a description in JSON: is this its decrypt URL?",
        ),
        404 | 405 | 501 => {
            return Err(Error::config(
                format!("lkm.{}", answer.status()),
                "the Local Key Manager does not answer OPTIONS at this URL: is it its decrypt URL?",
            ));
        }
        _ => return Err(refusal(&Refused::of(answer))),
    };
    Ok(Health {
        status: status.to_owned(),
        detail: detail.to_owned(),
    })
}

fn decrypted(content_type: Option<&str>, body: &[u8]) -> Result<Vec<u8>, Error> {
    let Ok(answer) = serde_json::from_slice::<serde_json::Value>(body) else {
        return Err(if is_html(content_type, body) {
            malformed("lkm.html", "with a page: is there a proxy in between?")
        } else {
            malformed("lkm.not-json", "with something that is not JSON")
        });
    };
    let text = match answer.get("body") {
        Some(serde_json::Value::String(text)) => text,
        // The sample service's answer where RSA fails: this wrapped DEK does not open. The next one
        // may, so the service has not failed.
        Some(serde_json::Value::Null) => return Err(Error::integrity()),
        Some(_) => return Err(malformed("lkm.no-body", "with a body that is not text")),
        None => return Err(malformed("lkm.no-body", "without a body")),
    };
    let dek = BASE64
        .decode(text)
        .map_err(|_| malformed("lkm.not-base64", "with a body that is not base64"))?;
    if dek.len() != DEK_LEN {
        return Err(malformed(
            "lkm.dek-length",
            &format!("with {} bytes where a key has {DEK_LEN}", dek.len()),
        ));
    }
    Ok(dek)
}

fn malformed(code: &str, how: &str) -> Error {
    Error::internal(code, format!("the Local Key Manager answered {how}"))
}

/// What of an answer that says no decides its class.
struct Refused {
    status: u16,
    in_json: bool,
    retry_after_ms: Option<u32>,
}

impl Refused {
    fn of(answer: &Response) -> Self {
        Self {
            status: answer.status(),
            in_json: is_json_object(answer.body()),
            retry_after_ms: answer.retry_after_ms(),
        }
    }
}

fn refusal(refused: &Refused) -> Error {
    let status = refused.status;
    let code = format!("lkm.{status}");
    let says = |what: &str| format!("the Local Key Manager answered {status}: {what}");
    let error = match status {
        // The service's own word, as the sample has it for an unknown pair; a proxy has no JSON.
        400 if refused.in_json => Error::not_found(code, says("it does not know this key pair")),
        // What `keyreel lkm serve` says where the sample service answers with an empty body.
        422 if refused.in_json => Error::integrity(),
        421 => Error::config(code, says("it does not go by the URL's host and port")),
        400 | 405 | 411 | 413..=415 | 422 => {
            Error::request(code, says("it does not take the request"))
        }
        401 => Error::denied(code, says("it does not accept the API key")),
        403 => Error::denied(code, says("it refuses to decrypt")),
        404 | 410 => Error::not_found(
            code,
            says("it does not know this key pair, or the URL is wrong"),
        ),
        409 | 423 => Error::key_disabled(code, says("this key pair is not in use")),
        407 => Error::config(code, says("a proxy wants credentials")),
        408 | 504 => Error::timeout(code, says("it took too long")),
        429 => Error::throttled(code, says("too many requests")),
        300..=399 => Error::config(
            code,
            says("it redirects, which is not followed: configure the URL that it redirects to"),
        ),
        500..=599 => Error::unavailable(code, says("it is down")),
        _ => Error::internal(code, says("expected 200")),
    };
    match refused.retry_after_ms {
        Some(after) if matches!(status, 429 | 503) => error.retry_after_ms(after),
        _ => error,
    }
}

fn is_json_object(body: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(body).is_ok()
}

fn is_html(content_type: Option<&str>, body: &[u8]) -> bool {
    content_type.is_some_and(|kind| kind.trim().to_ascii_lowercase().starts_with("text/html"))
        || body.trim_ascii_start().first() == Some(&b'<')
}

#[cfg(test)]
mod tests {
    use keyreel_plugin_sdk::ErrorClass;

    use super::*;

    const DEK: &str = r#"{"body":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}"#;

    #[test]
    fn reads_a_key() {
        let dek = decrypted(Some("application/json"), DEK.as_bytes())
            .unwrap_or_else(|error| panic!("{}", error.message));
        assert_eq!(dek, (0..32).collect::<Vec<u8>>());
    }

    #[test]
    fn every_malformed_answer_has_a_code_and_nothing_of_the_answer() {
        for (content_type, body, code) in [
            ("application/json", "{}", "lkm.no-body"),
            ("application/json", r#"{"body":["AAEC"]}"#, "lkm.no-body"),
            ("application/json", "[]", "lkm.no-body"),
            ("application/json", "", "lkm.not-json"),
            ("application/json", r#"{"body":"AAEC"#, "lkm.not-json"),
            ("text/html", "Bad gateway AAEC", "lkm.html"),
            ("application/json", "<html>AAEC</html>", "lkm.html"),
            ("application/json", r#"{"body":"AAEC*"}"#, "lkm.not-base64"),
            ("application/json", r#"{"body":""}"#, "lkm.dek-length"),
            (
                "application/json",
                r#"{"body":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg=="}"#,
                "lkm.dek-length",
            ),
            (
                "application/json",
                r#"{"body":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g"}"#,
                "lkm.dek-length",
            ),
        ] {
            let error = decrypted(Some(content_type), body.as_bytes())
                .err()
                .unwrap_or_else(|| panic!("{body}"));
            assert_eq!(error.code, code, "{body}");
            assert_eq!(error.class, ErrorClass::Internal, "{body}");
            assert!(!error.message.contains("AAEC"), "{}", error.message);
        }
    }

    #[test]
    fn what_does_not_open_is_no_fault_of_the_service() {
        for error in [
            decrypted(Some("application/json"), br#"{"body":null}"#).err(),
            Some(refusal(&Refused {
                status: 422,
                in_json: true,
                retry_after_ms: None,
            })),
        ] {
            let error = error.unwrap_or_else(|| panic!("a key"));
            assert_eq!(error.class, ErrorClass::Integrity);
            assert_eq!(
                (error.code.as_str(), error.message.as_str()),
                ("integrity", "")
            );
        }
    }

    #[test]
    fn every_refusal_has_its_class() {
        use ErrorClass as C;
        for (status, in_json, class) in [
            (301, false, C::Config),
            (400, true, C::NotFound),
            (400, false, C::Request),
            (401, true, C::Denied),
            (403, true, C::Denied),
            (404, true, C::NotFound),
            (407, false, C::Config),
            (408, false, C::Timeout),
            (409, true, C::KeyDisabled),
            (410, true, C::NotFound),
            (418, false, C::Internal),
            (421, true, C::Config),
            (422, false, C::Request),
            (429, false, C::Throttled),
            (500, true, C::Unavailable),
            (503, false, C::Unavailable),
            (504, false, C::Timeout),
            (204, false, C::Internal),
        ] {
            let refused = Refused {
                status,
                in_json,
                retry_after_ms: Some(7000),
            };
            let error = refusal(&refused);
            assert_eq!(error.class, class, "{status}");
            assert_eq!(error.code, format!("lkm.{status}"));
            let expected = matches!(status, 429 | 503).then_some(7000);
            assert_eq!(error.retry_after_ms, expected, "{status}");
        }
    }
}
