//! What KMS says when it says no, in the contract's classes. Codes are AWS's own names:
//! "aws.DisabledException".
//! Not for: connections that fail (see the SDK's `http::Failure`). KMS's own text is never passed
//! on: it may quote what was sent.

use keyreel_plugin_sdk::http::Response;
use keyreel_plugin_sdk::{Error, ErrorClass};
use serde::Deserialize;

/// The error of an answer whose status is not 200.
pub(crate) fn of(answer: &Response) -> Error {
    let header = answer.header("x-amzn-errortype");
    error(
        answer.status(),
        header,
        answer.body(),
        answer.retry_after_ms(),
    )
}

fn error(status: u16, header: Option<&str>, body: &[u8], retry_after_ms: Option<u32>) -> Error {
    #[derive(Deserialize)]
    struct Body {
        #[serde(rename = "__type", alias = "code")]
        kind: Option<String>,
    }
    let from_body = || serde_json::from_slice::<Body>(body).ok()?.kind;
    let named = header.map(str::to_owned).or_else(from_body);
    let mut error = match named.as_deref().and_then(exception) {
        Some(name) => of_exception(name, status),
        None => of_status(status),
    };
    if matches!(error.class, ErrorClass::Throttled | ErrorClass::Unavailable) {
        error.retry_after_ms = retry_after_ms;
    }
    error
}

/// The bare name in "com.amazonaws.kms#DisabledException" or "DisabledException:http://…".
fn exception(named: &str) -> Option<&str> {
    let name = named.rsplit_once('#').map_or(named, |(_, name)| name);
    let name = name.split(':').next().unwrap_or_default();
    let is_name = |byte: u8| byte.is_ascii_alphanumeric();
    ((1..=60).contains(&name.len()) && name.bytes().all(is_name)).then_some(name)
}

fn of_exception(name: &str, status: u16) -> Error {
    use ErrorClass as C;
    let (class, message) = match name {
        "AccessDeniedException" | "AccessDenied" | "NotAuthorized" => (
            C::Denied,
            "AWS KMS denies the use of the key: its policy, an IAM policy or a grant",
        ),
        "DisabledException" => (C::KeyDisabled, "the KMS key is disabled"),
        "KMSInvalidStateException" => (
            C::KeyDisabled,
            "the KMS key cannot be used as it is: pending deletion, pending import or cut off \
             from its key store",
        ),
        "NotFoundException" => (C::NotFound, "AWS KMS does not know the key or the alias"),
        "InvalidCiphertextException" | "IncorrectKeyException" => {
            return Error::integrity();
        }
        "KeyUnavailableException" => (C::Unavailable, "the KMS key is not available just now"),
        "DependencyTimeoutException" => (C::Timeout, "AWS KMS itself had to wait for too long"),
        "KMSInternalException" | "InternalFailure" | "InternalError" => {
            (C::Unavailable, "AWS KMS failed")
        }
        "ServiceUnavailable" | "ServiceUnavailableException" => {
            (C::Unavailable, "AWS KMS is not available")
        }
        "CustomKeyStoreInvalidStateException"
        | "CloudHsmClusterInvalidConfigurationException"
        | "CloudHsmClusterNotActiveException" => (
            C::Unavailable,
            "the KMS key's custom key store is not connected",
        ),
        "ThrottlingException"
        | "Throttling"
        | "RequestLimitExceeded"
        | "TooManyRequestsException"
        | "LimitExceededException" => (C::Throttled, "AWS KMS has too many requests"),
        "UnsupportedOperationException" => (
            C::Config,
            "the KMS key does not support this: in a custom key store, set minting to \"encrypt\"",
        ),
        "InvalidKeyUsageException" => (
            C::Config,
            "the KMS key is not a symmetric encryption key (ENCRYPT_DECRYPT)",
        ),
        "InvalidArnException" | "ValidationException" => {
            (C::Config, "AWS KMS does not accept the key's ARN")
        }
        "ExpiredTokenException" | "ExpiredToken" | "RequestExpired" => (
            C::Config,
            "the AWS credentials have expired, or this machine's clock is wrong",
        ),
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidAccessKeyId"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "OptInRequired" => (
            C::Config,
            "AWS does not accept the credentials that this installation signs with",
        ),
        _ => {
            let class = match status {
                429 => C::Throttled,
                500 | 502 | 503 => C::Unavailable,
                504 => C::Timeout,
                _ => C::Internal,
            };
            (class, "AWS KMS refused for a reason that is not known here")
        }
    };
    Error::new(class, format!("aws.{name}"), message)
}

/// Of an answer that is not AWS's: a proxy's, or of something else at that address.
fn of_status(status: u16) -> Error {
    use ErrorClass as C;
    let (class, message) = match status {
        401 | 403 => (
            C::Denied,
            "something before AWS KMS refuses the request without AWS's own words",
        ),
        429 => (C::Throttled, "AWS KMS has too many requests"),
        500 | 502 | 503 => (C::Unavailable, "AWS KMS is not available"),
        504 => (C::Timeout, "AWS KMS did not answer whoever asked it for us"),
        300..=399 => (
            C::Config,
            "the endpoint redirects, which is not followed: is it AWS KMS?",
        ),
        404 | 405 => (C::Config, "the endpoint is not AWS KMS"),
        _ => (C::Internal, "the endpoint answers as AWS KMS does not"),
    };
    Error::new(class, format!("aws.http-{status}"), message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kms(name: &str, status: u16) -> Error {
        let body = format!(r#"{{"__type":"{name}","message":"key 1234 said a secret"}}"#);
        error(status, None, body.as_bytes(), None)
    }

    #[test]
    fn every_exception_has_its_class() {
        use ErrorClass as C;
        for (name, status, class) in [
            ("AccessDeniedException", 400, C::Denied),
            ("DisabledException", 400, C::KeyDisabled),
            ("KMSInvalidStateException", 400, C::KeyDisabled),
            ("NotFoundException", 400, C::NotFound),
            ("KeyUnavailableException", 500, C::Unavailable),
            ("DependencyTimeoutException", 503, C::Timeout),
            ("KMSInternalException", 500, C::Unavailable),
            ("ThrottlingException", 400, C::Throttled),
            ("LimitExceededException", 400, C::Throttled),
            ("UnsupportedOperationException", 400, C::Config),
            ("InvalidKeyUsageException", 400, C::Config),
            ("ExpiredTokenException", 400, C::Config),
            ("UnrecognizedClientException", 400, C::Config),
            ("BrandNewException", 400, C::Internal),
            ("BrandNewException", 503, C::Unavailable),
        ] {
            let error = kms(name, status);
            assert_eq!(error.class, class, "{name}");
            assert_eq!(error.code, format!("aws.{name}"));
            assert!(!error.message.contains("1234"), "{}", error.message);
        }
    }

    #[test]
    fn what_does_not_open_has_no_detail() {
        for name in ["InvalidCiphertextException", "IncorrectKeyException"] {
            let error = kms(name, 400);
            assert_eq!(
                (error.class, error.message.as_str()),
                (ErrorClass::Integrity, "")
            );
        }
    }

    #[test]
    fn names_come_in_several_forms() {
        for named in [
            "com.amazonaws.kms#DisabledException",
            "DisabledException:http://internal.amazon.com/",
        ] {
            assert_eq!(kms(named, 400).code, "aws.DisabledException");
            assert_eq!(
                error(400, Some(named), b"", None).code,
                "aws.DisabledException"
            );
        }
        for named in ["", "#", "a b", "<html>", "kms#../x"] {
            assert_eq!(kms(named, 403).code, "aws.http-403", "{named}");
        }
    }

    #[test]
    fn answers_of_others_are_told_by_their_status() {
        use ErrorClass as C;
        for (status, class) in [
            (301, C::Config),
            (400, C::Internal),
            (401, C::Denied),
            (403, C::Denied),
            (404, C::Config),
            (409, C::Internal),
            (429, C::Throttled),
            (500, C::Unavailable),
            (502, C::Unavailable),
            (503, C::Unavailable),
            (504, C::Timeout),
        ] {
            let error = error(status, None, b"<html>", Some(2000));
            assert_eq!(error.class, class, "{status}");
            let retries = matches!(class, C::Throttled | C::Unavailable);
            assert_eq!(error.retry_after_ms, retries.then_some(2000), "{status}");
        }
    }
}
