//! Which problem each error of the other crates is.

use axum::extract::rejection::{JsonRejection, QueryRejection};
use keyreel_keys::{ErrorClass, KeyError};
use keyreel_library::Error as LibraryError;

use super::{Code, Problem};
use crate::accounts::AccountError;
use crate::audit::AuditError;
use crate::grants::InvalidGrant;

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        let (code, detail) = match &error {
            KeyError::CircuitOpen { .. } => (
                Code::CircuitOpen,
                "The key service failed several times in a row. It is asked again shortly.",
            ),
            KeyError::Busy { .. } => (
                Code::Throttled,
                "Too many recordings are being opened with this key service.",
            ),
            KeyError::Audit(_) => (
                Code::AuditUnavailable,
                "The audit log cannot be written, so no key is unwrapped. Try again shortly.",
            ),
            KeyError::Purged { .. } => (
                Code::Unavailable,
                "This organisation's keys were just purged. Try again.",
            ),
            KeyError::Store(_) | KeyError::StoreTimeout => (
                Code::Unavailable,
                "The catalogue does not answer. Try again shortly.",
            ),
            // The catalogue binds tenants to KEKs. A header that names another one was planted, or
            // the binding is gone: either way there is no key to ask for.
            KeyError::UnknownKek { .. } => (
                Code::KeyNotFound,
                "The key that this recording was sealed with is not one of this organisation's.",
            ),
            KeyError::KekRetired { .. } => {
                (Code::KeyDisabled, "The key of this recording was retired.")
            }
            other => of_class(other.class()),
        };
        let problem = Self::new(code, detail).inward(&error);
        match error.retry_after() {
            Some(after) if code.status() == http::StatusCode::SERVICE_UNAVAILABLE => {
                problem.retry_after(after)
            }
            _ => problem,
        }
    }
}

fn of_class(class: ErrorClass) -> (Code, &'static str) {
    match class {
        ErrorClass::Config => (
            Code::Config,
            "The key provider is not configured correctly. Ask your administrator.",
        ),
        // A malformed request to a provider is this server's doing or the plugin's, not the
        // listener's.
        ErrorClass::Request => (
            Code::ProviderMalformed,
            "The key provider did not accept this recording's key.",
        ),
        ErrorClass::NotFound => (
            Code::KeyNotFound,
            "The key service does not know this recording's key.",
        ),
        ErrorClass::Denied => (
            Code::KeyDenied,
            "The owner of this recording's key refuses to open it.",
        ),
        ErrorClass::KeyDisabled => (
            Code::KeyDisabled,
            "The owner of this recording's key has disabled it.",
        ),
        ErrorClass::Integrity => (Code::Integrity, DAMAGED),
        ErrorClass::Throttled => (
            Code::Throttled,
            "The key service has too many requests. Try again shortly.",
        ),
        ErrorClass::Unavailable => (
            Code::Unavailable,
            "The key service did not answer. Try again shortly.",
        ),
        ErrorClass::Timeout => (
            Code::Timeout,
            "The key service did not answer in time. Try again.",
        ),
        ErrorClass::Internal => (
            Code::ProviderMalformed,
            "The key provider failed. Ask your administrator.",
        ),
    }
}

/// One text for every way in which bytes fail to authenticate.
pub(super) const DAMAGED: &str =
    "What is stored is not what was sealed. Nothing of it was played past the damage.";

impl From<keyreel_format::Error> for Problem {
    fn from(error: keyreel_format::Error) -> Self {
        if error.is_damage() {
            Self::new(Code::Integrity, DAMAGED).inward(error)
        } else {
            Self::new(Code::Internal, INTERNAL).inward(error)
        }
    }
}

impl From<LibraryError> for Problem {
    fn from(error: LibraryError) -> Self {
        match &error {
            LibraryError::BadCursor => Self::new(
                Code::BadRequest,
                "This cursor is not one of ours. Start again without it.",
            ),
            LibraryError::Exists { .. } => {
                Self::new(Code::BadRequest, "It exists already.").inward(error)
            }
            LibraryError::Damaged { .. } => Self::new(Code::Internal, INTERNAL).inward(error),
            _ => Self::new(
                Code::Unavailable,
                "The catalogue does not answer. Try again shortly.",
            )
            .inward(error),
        }
    }
}

impl From<AuditError> for Problem {
    fn from(error: AuditError) -> Self {
        Self::new(
            Code::AuditUnavailable,
            "The audit log cannot be written, so this is not done. Try again shortly.",
        )
        .inward(error)
    }
}

impl From<AccountError> for Problem {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Catalogue(error) => error.into(),
            AccountError::PasswordLength | AccountError::Name => {
                Self::new(Code::BadRequest, error.to_string())
            }
            AccountError::Password | AccountError::Random => {
                Self::new(Code::Internal, INTERNAL).inward(error)
            }
        }
    }
}

impl From<InvalidGrant> for Problem {
    fn from(error: InvalidGrant) -> Self {
        Self::new(
            Code::Denied,
            "This playback grant is not valid (any more). Ask for a new one.",
        )
        .inward(error)
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        if rejection.status() == http::StatusCode::PAYLOAD_TOO_LARGE {
            return Self::new(Code::TooLarge, "The body is larger than this server takes.");
        }
        // The rejection's text may quote the body, and a body may hold a password.
        Self::new(
            Code::BadRequest,
            "The body is not the JSON that is expected here.",
        )
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(Code::BadRequest, rejection.body_text())
    }
}

pub(super) const INTERNAL: &str =
    "The server failed. Its log has the reason under this request's id.";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use keyreel_keys::{ErrorClass, KeyError, ProviderError, ProviderId};

    use super::{Code, Problem};

    #[test]
    fn every_class_of_a_provider_has_its_code() {
        let table = [
            (ErrorClass::Config, Code::Config, 500),
            (ErrorClass::Request, Code::ProviderMalformed, 502),
            (ErrorClass::NotFound, Code::KeyNotFound, 404),
            (ErrorClass::Denied, Code::KeyDenied, 403),
            (ErrorClass::KeyDisabled, Code::KeyDisabled, 403),
            (ErrorClass::Integrity, Code::Integrity, 422),
            (ErrorClass::Throttled, Code::Throttled, 503),
            (ErrorClass::Unavailable, Code::Unavailable, 503),
            (ErrorClass::Timeout, Code::Timeout, 504),
            (ErrorClass::Internal, Code::ProviderMalformed, 502),
        ];
        for (class, code, status) in table {
            let mut error = ProviderError::new(class, "some.code", "said upstream");
            error.retry_after = Some(Duration::from_secs(7));
            let provider = ProviderId::parse("lkm").unwrap();
            let problem = Problem::from(KeyError::Provider { provider, error });
            assert_eq!(problem.code(), code, "{class:?}");
            let details = problem.details("r");
            assert_eq!(details.status, status);
            assert!(!details.detail.contains("upstream"));
            assert!(problem.inward_text().unwrap().contains("said upstream"));
            assert_eq!(details.retry_after_seconds, (status == 503).then_some(7));
        }
    }
}
