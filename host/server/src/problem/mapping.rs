//! Which problem each error of the other crates is.

use std::time::Duration;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use keyreel_keys::{
    ErrorClass, KeyError, MetadataError, RegistrationError, StoreError, VaultError,
};
use keyreel_library::Error as LibraryError;

use super::words::{Happened, Turn, words};
use super::{Code, Problem};
use crate::accounts::AccountError;
use crate::audit::AuditError;
use crate::audit::plays::NotListening;
use crate::grants::InvalidGrant;
use crate::registration::RegisteringError;
use crate::rotation::RotationError;

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        let (provider, happened) = match &error {
            KeyError::Provider { provider, error } => (provider, Happened::Failed(error.class)),
            KeyError::CircuitOpen { provider, .. } => (provider, Happened::LeftAlone),
            KeyError::Busy { provider, .. } => (provider, Happened::Crowded),
            _ => return of_this_side(error),
        };
        let said = words(Some(provider), happened);
        let problem = Self::new(said.code, said.detail).turn(said.turn, Some(provider));
        with_retry(problem.inward(&error), &error)
    }
}

/// What no key service was asked about, or could not help.
fn of_this_side(error: KeyError) -> Problem {
    let (code, detail, turn) = match &error {
        KeyError::Audit(_) => (
            Code::AuditUnavailable,
            "The audit log cannot be written, so no key is unwrapped. Try again shortly.",
            Turn::Operator,
        ),
        KeyError::Purged { .. } => (
            Code::Unavailable,
            "This organisation's keys were just purged. Try again.",
            Turn::Administrator,
        ),
        KeyError::Store(source) if matches!(**source, StoreError::Exists { .. }) => (
            Code::Conflict,
            "There is a key of this id already.",
            Turn::Administrator,
        ),
        KeyError::Store(_) | KeyError::StoreTimeout => (
            Code::Unavailable,
            "The catalogue does not answer. Try again shortly.",
            Turn::Operator,
        ),
        KeyError::Overtaken { .. } => (
            Code::Conflict,
            "This organisation's key was changed by somebody else just now. Look at it, and try \
             again if it is still to be changed.",
            Turn::Administrator,
        ),
        KeyError::UnderWay { .. } => (
            Code::Conflict,
            "A key of this organisation is being made or registered just now. Look at it when that \
             is done, and try again if it is still to be changed.",
            Turn::Administrator,
        ),
        // The catalogue binds tenants to KEKs. A header that names another one was planted, or
        // the binding is gone: either way there is no key to ask for.
        KeyError::UnknownKek { .. } => (
            Code::KeyNotFound,
            "The key that this recording was sealed with is not one of this organisation's.",
            Turn::Administrator,
        ),
        KeyError::KekRetired { .. } => (
            Code::KeyDisabled,
            "The key of this recording was retired. Your administrator can say why.",
            Turn::Administrator,
        ),
        KeyError::KekDisabled { .. } => (
            Code::KeyDisabled,
            "The key of this recording was disabled in Keyreel. It plays again as soon as your \
             administrator enables it.",
            Turn::Administrator,
        ),
        KeyError::KekInUse { recordings, .. } => {
            let detail = format!(
                "{recordings} recordings can be opened with this key alone. Re-wrap them first. To \
                 lose them for good instead, confirm with \"lose {recordings} recordings\"."
            );
            return Problem::new(Code::KeyInUse, detail).inward(&error);
        }
        KeyError::KekCurrent { .. } => {
            let detail = "New recordings are sealed with this key. Make or register another first.";
            return Problem::new(Code::Conflict, detail).inward(&error);
        }
        KeyError::RecoveryTooWeak { policy, .. } => {
            let detail = format!(
                "This organisation's recovery key is an RSA key, of 128-bit strength, which policy \
                 {policy} does not take. Set an MLKEM1024-P384 one first, or remove it."
            );
            return Problem::new(Code::BadRequest, detail).inward(&error);
        }
        KeyError::NoCurrentKek { .. } => (
            Code::Config,
            "This organisation has no key to seal with. Its administrator has to register or \
             enable one.",
            Turn::Administrator,
        ),
        KeyError::ProviderMissing { .. } => (
            Code::Config,
            "The plugin for this organisation's key service is not installed on this server. \
             Tell whoever runs it.",
            Turn::Operator,
        ),
        other => {
            let said = words(None, Happened::Failed(other.class()));
            let problem = Problem::new(said.code, said.detail).turn(said.turn, None);
            return with_retry(problem.inward(&error), &error);
        }
    };
    with_retry(
        Problem::new(code, detail).turn(turn, None).inward(&error),
        &error,
    )
}

fn with_retry(problem: Problem, error: &KeyError) -> Problem {
    match error.retry_after() {
        Some(after) if problem.code().status() == http::StatusCode::SERVICE_UNAVAILABLE => {
            problem.retry_after(after)
        }
        _ => problem,
    }
}

impl From<&RegistrationError> for Problem {
    fn from(error: &RegistrationError) -> Self {
        of_registration(error, " Nothing was changed.")
    }
}

impl From<RegistrationError> for Problem {
    fn from(error: RegistrationError) -> Self {
        Self::from(&error)
    }
}

impl From<RegisteringError> for Problem {
    fn from(error: RegisteringError) -> Self {
        match error {
            RegisteringError::Registration(error) => error.into(),
            RegisteringError::Audit(source) => unrecorded(source),
        }
    }
}

impl From<&RotationError> for Problem {
    fn from(error: &RotationError) -> Self {
        match error {
            RotationError::Key(KeyError::CannotMint { provider }) => Self::new(
                Code::BadRequest,
                format!(
                    "The provider {provider} makes no key pairs: their owner does. To change the \
                     key, register a new key pair with POST /api/v2/recording/localkeys."
                ),
            ),
            RotationError::Key(error) => RegistrationError::Key(error.clone()).into(),
            RotationError::Catalogue(source) => Self::new(
                Code::Unavailable,
                "The catalogue does not answer. Try again shortly.",
            )
            .inward(source),
            RotationError::Audit(source) => unrecorded(source),
            RotationError::Died => Self::new(Code::Internal, INTERNAL).inward(error),
        }
    }
}

impl From<RotationError> for Problem {
    fn from(error: RotationError) -> Self {
        Self::from(&error)
    }
}

impl Problem {
    /// What is wrong with a key service that was asked how it fares.
    pub(crate) fn of_key_service(error: KeyError) -> Self {
        of_registration(&error.into(), "")
    }

    /// To an administrator who switches a key on or off, and has named it: of "this recording's" a
    /// listener is told.
    pub(crate) fn of_switching(error: KeyError) -> Self {
        let (code, detail) = match &error {
            KeyError::UnknownKek { .. } => (
                Code::KeyNotFound,
                "Your organisation has no key of this provider and id.",
            ),
            KeyError::KekRetired { .. } => (
                Code::KeyDisabled,
                "This key was retired: it opens nothing any more, and is neither enabled nor \
                 disabled.",
            ),
            KeyError::StoreTimeout => return late(),
            _ => return error.into(),
        };
        Self::new(code, detail).inward(error)
    }

    /// Of what takes keys away: it is not left undone because it cannot be recorded.
    pub(crate) fn done_unrecorded(error: AuditError) -> Self {
        Self::new(
            Code::AuditUnavailable,
            "It was done, but the audit log cannot be written, so it is not recorded. Do it again \
             when the log can be written.",
        )
        .inward(error)
    }
}

/// To an administrator, who reads what a listener does not: what the provider says. `then` is what
/// is said after it.
fn of_registration(error: &RegistrationError, then: &str) -> Problem {
    let refused = |code, detail: String| Problem::new(code, format!("{detail}{then}"));
    let bad = |error: &RegistrationError| refused(Code::BadRequest, format!("{error}."));
    match error {
        RegistrationError::Key(KeyError::Provider {
            provider,
            error: said,
        }) => {
            let words = words(Some(provider), Happened::Failed(said.class));
            let code = match said.class {
                // What was just sent is wrong, and whoever sent it can mend it.
                ErrorClass::Config | ErrorClass::Request | ErrorClass::Integrity => {
                    Code::BadRequest
                }
                _ => words.code,
            };
            let detail = match said.class {
                ErrorClass::Integrity => "The key service does not open what is sealed with \
                        this public key: it is not that of the key pair, or the padding is another."
                    .to_owned(),
                _ => format!("{} ({}).", capital(&said.message), said.code),
            };
            let problem = refused(code, detail).turn(words.turn, Some(provider));
            match said.retry_after {
                Some(after) if code.status() == http::StatusCode::SERVICE_UNAVAILABLE => {
                    problem.retry_after(after)
                }
                _ => problem,
            }
        }
        RegistrationError::Key(KeyError::TrialFailed { .. }) => refused(
            Code::BadRequest,
            "The key service opened the sample as another key: it does not hold the private \
                 half of this public key."
                .to_owned(),
        ),
        RegistrationError::Key(KeyError::Wrap { reason, .. }) => {
            refused(Code::BadRequest, format!("The public key: {reason}."))
        }
        RegistrationError::Key(error @ KeyError::ProviderMissing { provider }) => refused(
            Code::BadRequest,
            format!("The plugin {provider} is not installed on this server."),
        )
        .inward(error),
        RegistrationError::Key(error @ KeyError::CannotMint { .. }) => {
            refused(Code::BadRequest, format!("{error}."))
        }
        RegistrationError::Key(KeyError::StoreTimeout) => late(),
        RegistrationError::Key(error) => Problem::from(error.clone()),
        RegistrationError::Down { detail, .. } => refused(
            Code::Unavailable,
            format!("The key service says that it is down: {detail}."),
        ),
        RegistrationError::NoConfiguration { .. } => Problem::new(
            Code::NotFound,
            "There is no such key configuration, or it is not yours.",
        ),
        RegistrationError::OriginChanged { origins, secrets } => refused(
            Code::BadRequest,
            format!(
                "The key service's origin changed ({}): send {} again.",
                origins.join(", "),
                secrets
                    .iter()
                    .map(|name| sent_as(name))
                    .collect::<Vec<_>>()
                    .join(", "),
            ),
        ),
        RegistrationError::KeyPairKnown { .. } => {
            refused(Code::Conflict, format!("{}.", capital(&error.to_string())))
        }
        RegistrationError::OtherProvider { .. }
        | RegistrationError::MintsItself { .. }
        | RegistrationError::NoRsa { .. }
        | RegistrationError::Policy { .. }
        | RegistrationError::PublicKey(_)
        | RegistrationError::KeyPairId => bad(error),
        RegistrationError::Store(source) => Problem::new(
            Code::Unavailable,
            "The catalogue does not answer. Try again shortly.",
        )
        .inward(source),
        RegistrationError::Vault(source @ VaultError::NoRoot { .. }) => Problem::new(
            Code::Destroyed,
            "This organisation's keys were destroyed: nothing can be registered for it any more.",
        )
        .inward(source),
        RegistrationError::Vault(source @ VaultError::Damaged { .. }) => {
            Problem::new(Code::Internal, INTERNAL).inward(source)
        }
        RegistrationError::Vault(source) => Problem::new(
            Code::Unavailable,
            "The keystore does not answer. Try again shortly.",
        )
        .inward(source),
        other => Problem::new(Code::Internal, INTERNAL).inward(other),
    }
}

/// Of a change: the catalogue may come to its end yet.
fn late() -> Problem {
    let problem = Problem::new(
        Code::Unavailable,
        "The catalogue does not answer in time. What was to be changed may be changed all the same; \
         look, and try again.",
    );
    problem.inward(KeyError::StoreTimeout)
}

/// As the API calls a secret.
fn sent_as(name: &str) -> String {
    match name {
        "api-key" => "apiKey".to_owned(),
        _ => format!("secrets.{name}"),
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
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
            LibraryError::Damaged { .. } | LibraryError::WithoutKeys => {
                Self::new(Code::Internal, INTERNAL).inward(error)
            }
            LibraryError::Altered { .. } => Self::new(
                Code::Integrity,
                "What the catalogue has of this recording was changed, or is another recording's.",
            )
            .inward(error),
            LibraryError::Sealing { source } => {
                let (code, detail) = match source {
                    MetadataError::NoRoot { .. } => (
                        Code::Destroyed,
                        "Your organisation's root key is gone, and with it what was known of its \
                         recordings.",
                    ),
                    MetadataError::BadRoot { .. } | MetadataError::Cryptography => {
                        (Code::Internal, INTERNAL)
                    }
                    _ => (
                        Code::Unavailable,
                        "The keystore does not answer. Try again shortly.",
                    ),
                };
                Self::new(code, detail).inward(error)
            }
            LibraryError::Retired { .. } => Self::new(
                Code::Unavailable,
                "The key was changed while the recording came in. Nothing was kept; send it again.",
            )
            .inward(error),
            LibraryError::RecoveryKey { source } => {
                Self::new(Code::BadRequest, format!("publicKey: {source}."))
            }
            LibraryError::Wrap { source } => match source.downcast_ref::<KeyError>() {
                Some(error) => error.clone().into(),
                None => Self::new(Code::Internal, INTERNAL).inward(error),
            },
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
        unrecorded(error)
    }
}

fn unrecorded(source: impl std::fmt::Display) -> Problem {
    Problem::new(
        Code::AuditUnavailable,
        "The audit log cannot be written, so this is not done. Try again shortly.",
    )
    .inward(source)
}

impl From<NotListening> for Problem {
    fn from(error: NotListening) -> Self {
        match error {
            NotListening::TooMany => Self::new(
                Code::TooManyStreams,
                "This playback grant is streamed too many times at once. Close other players, or \
                 ask for another grant.",
            )
            .inward(error)
            .retry_after(Duration::from_secs(2)),
            NotListening::Audit(error) => error.into(),
        }
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

    use keyreel_keys::{
        ErrorClass, KeyError, ProviderError, ProviderId, RegistrationError, TenantId, VaultError,
    };

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

    #[test]
    fn what_was_too_slow_is_not_said_to_be_undone() {
        let registering = Problem::from(RegistrationError::from(KeyError::StoreTimeout));
        for problem in [registering, Problem::of_switching(KeyError::StoreTimeout)] {
            assert_eq!(problem.code(), Code::Unavailable);
            assert!(problem.detail().contains("may be changed all the same"));
        }
    }

    #[test]
    fn a_vault_that_is_empty_is_not_one_that_does_not_answer() {
        let tenant = TenantId::parse("acme").unwrap();
        let table = [
            (
                VaultError::NoRoot {
                    tenant: tenant.clone(),
                },
                Code::Destroyed,
            ),
            (
                VaultError::Damaged {
                    tenant,
                    name: "secret/x".to_owned(),
                },
                Code::Internal,
            ),
            (
                VaultError::Keystore {
                    message: "the disk is away".to_owned(),
                },
                Code::Unavailable,
            ),
        ];
        for (error, code) in table {
            let problem = Problem::from(RegistrationError::from(error));
            assert_eq!(problem.code(), code);
        }
    }
}
