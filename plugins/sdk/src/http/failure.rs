//! Why there is no answer, in the contract's classes.
//! Not for: answers that say no: those are the provider's to read.

use std::fmt;

use crate::bindings::provider_world::wasi::http::types::ErrorCode;
use crate::{Error, ErrorClass};

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The host does not let this plugin talk to that origin, or to the address behind its name.
    Denied,
    /// The name is unknown, or nobody says what it means.
    Dns,
    /// Nobody takes the connection.
    Connect,
    /// The connection is not safe: certificate, version, cipher.
    Tls,
    /// Not in time.
    Timeout,
    /// The connection ended before the answer did.
    Interrupted,
    /// The answer is longer than the caller or the host takes.
    TooLarge,
    /// What came is not HTTP.
    Protocol,
    /// The request cannot be sent as it is: a header or method that is none.
    Request,
    /// The call has sent as many requests as one may.
    Busy,
    /// The host has no valid AWS credentials to sign the request with.
    Credentials,
    /// The operator's grant and the request do not agree on whether, or how, the host signs it.
    Signing,
}

/// How the host says what wasi:http has no word for.
const NO_CREDENTIALS: &str = "keyreel:aws.credentials";
const SIGNING: &str = "keyreel:aws.sign-";

impl Failure {
    /// A short name, for codes: "dns", "too-large".
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Denied => "egress-denied",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Interrupted => "interrupted",
            Self::TooLarge => "too-large",
            Self::Protocol => "protocol",
            Self::Request => "request",
            Self::Busy => "busy",
            Self::Credentials => "credentials",
            Self::Signing => "signing",
        }
    }

    /// The contract's class.
    #[must_use]
    pub fn class(self) -> ErrorClass {
        match self {
            Self::Denied | Self::Credentials | Self::Signing => ErrorClass::Config,
            Self::Dns | Self::Connect | Self::Tls | Self::Interrupted | Self::Busy => {
                ErrorClass::Unavailable
            }
            Self::Timeout => ErrorClass::Timeout,
            Self::TooLarge | Self::Protocol | Self::Request => ErrorClass::Internal,
        }
    }

    /// The contract's error: code "`prefix`.dns"; `service` begins the message: "the key service".
    #[must_use]
    pub fn into_error(self, prefix: &str, service: &str) -> Error {
        Error::new(
            self.class(),
            format!("{prefix}.{}", self.name()),
            format!("{service} {self}"),
        )
    }

    pub(super) fn of(code: &ErrorCode) -> Self {
        match code {
            ErrorCode::InternalError(Some(text)) if text == NO_CREDENTIALS => Self::Credentials,
            ErrorCode::InternalError(Some(text)) if text.starts_with(SIGNING) => Self::Signing,
            ErrorCode::HttpRequestDenied
            | ErrorCode::DestinationIpProhibited
            | ErrorCode::DestinationIpUnroutable
            | ErrorCode::ConfigurationError
            | ErrorCode::LoopDetected => Self::Denied,
            ErrorCode::DnsError(_) | ErrorCode::DestinationNotFound => Self::Dns,
            ErrorCode::DestinationUnavailable | ErrorCode::ConnectionRefused => Self::Connect,
            ErrorCode::TlsProtocolError
            | ErrorCode::TlsCertificateError
            | ErrorCode::TlsAlertReceived(_) => Self::Tls,
            ErrorCode::DnsTimeout
            | ErrorCode::ConnectionTimeout
            | ErrorCode::ConnectionReadTimeout
            | ErrorCode::ConnectionWriteTimeout
            | ErrorCode::HttpResponseTimeout => Self::Timeout,
            ErrorCode::ConnectionTerminated | ErrorCode::HttpResponseIncomplete => {
                Self::Interrupted
            }
            ErrorCode::ConnectionLimitReached => Self::Busy,
            ErrorCode::HttpResponseBodySize(_)
            | ErrorCode::HttpResponseHeaderSectionSize(_)
            | ErrorCode::HttpResponseHeaderSize(_)
            | ErrorCode::HttpResponseTrailerSectionSize(_)
            | ErrorCode::HttpResponseTrailerSize(_) => Self::TooLarge,
            ErrorCode::HttpProtocolError
            | ErrorCode::HttpUpgradeFailed
            | ErrorCode::HttpResponseTransferCoding(_)
            | ErrorCode::HttpResponseContentCoding(_)
            | ErrorCode::InternalError(_) => Self::Protocol,
            ErrorCode::HttpRequestLengthRequired
            | ErrorCode::HttpRequestBodySize(_)
            | ErrorCode::HttpRequestMethodInvalid
            | ErrorCode::HttpRequestUriInvalid
            | ErrorCode::HttpRequestUriTooLong
            | ErrorCode::HttpRequestHeaderSectionSize(_)
            | ErrorCode::HttpRequestHeaderSize(_)
            | ErrorCode::HttpRequestTrailerSectionSize(_)
            | ErrorCode::HttpRequestTrailerSize(_) => Self::Request,
        }
    }
}

/// Reads on after the name of the service.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Denied => {
                "may not be reached: its origin or address is not among those that the operator \
                 grants this plugin"
            }
            Self::Dns => "cannot be found: its host name does not resolve",
            Self::Connect => "does not take connections",
            Self::Tls => "cannot be trusted: the TLS handshake failed",
            Self::Timeout => "did not answer in time",
            Self::Interrupted => "broke off before its answer was whole",
            Self::TooLarge => "answers with more than is taken",
            Self::Protocol => "does not speak HTTP as expected",
            Self::Request => "cannot be asked: the request is malformed",
            Self::Busy => "was asked too often in one call",
            Self::Credentials => {
                "cannot be asked: Keyreel has no valid AWS credentials. Give its process an access \
                 key, a profile, or a role of its machine or container; its log says what it tried"
            }
            Self::Signing => {
                "cannot be asked: the operator's grant and the plugin do not agree on whether the \
                 host signs requests to this origin"
            }
        })
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_follow_the_contract() {
        let table = [
            (ErrorCode::HttpRequestDenied, ErrorClass::Config),
            (ErrorCode::DestinationIpProhibited, ErrorClass::Config),
            (ErrorCode::ConnectionRefused, ErrorClass::Unavailable),
            (ErrorCode::TlsCertificateError, ErrorClass::Unavailable),
            (ErrorCode::DestinationNotFound, ErrorClass::Unavailable),
            (ErrorCode::ConnectionTerminated, ErrorClass::Unavailable),
            (ErrorCode::HttpResponseTimeout, ErrorClass::Timeout),
            (ErrorCode::ConnectionTimeout, ErrorClass::Timeout),
            (ErrorCode::HttpResponseBodySize(None), ErrorClass::Internal),
            (
                ErrorCode::InternalError(Some("keyreel:aws.credentials".to_owned())),
                ErrorClass::Config,
            ),
            (
                ErrorCode::InternalError(Some("keyreel:aws.sign-required".to_owned())),
                ErrorClass::Config,
            ),
            (
                ErrorCode::InternalError(Some("else".to_owned())),
                ErrorClass::Internal,
            ),
        ];
        for (code, class) in table {
            assert_eq!(Failure::of(&code).class(), class, "{code:?}");
        }
    }

    #[test]
    fn codes_carry_the_provider() {
        let error = Failure::Credentials.into_error("aws", "AWS KMS");
        assert_eq!(error.code, "aws.credentials");
        let error = Failure::TooLarge.into_error("lkm", "the Local Key Manager");
        assert_eq!(error.code, "lkm.too-large");
        assert!(error.message.starts_with("the Local Key Manager answers"));
    }
}
