//! Between the contract's types and `keyreel-keys`' types. Whatever comes out of a plugin is
//! checked here before it goes anywhere.
//! Not for: errors of the sandbox itself (see `error`).

use std::time::Duration;

use keyreel_format::{KekId, TenantId};
use keyreel_keys::{
    Attributes, CallInfo, Envelope, ErrorClass, Health, Kek, ProviderError, VaultError,
};

use crate::bindings::exports::keyreel::key_provider::provider;
use crate::bindings::keyreel::key_provider::types;
use crate::error::Fault;
use crate::text::{is_code, sanitised};

/// Characters of an error's message.
const MESSAGE_CHARS: usize = 500;
/// Bytes of a public key: MLKEM1024-P384 has 1,665.
const MAX_PUBLIC_KEY: usize = 16 << 10;
/// Bytes of all that a provider keeps with a KEK.
const MAX_SEALED: usize = 64 << 10;
/// Entries of sealed values, attributes.
const MAX_ENTRIES: usize = 64;

pub(crate) fn call_to_guest(call: &CallInfo) -> types::CallInfo {
    types::CallInfo {
        request_id: call.request_id.clone(),
        tenant: call.tenant.as_str().to_owned(),
        subject: call.subject.clone(),
        deadline_ms: u32::try_from(call.deadline.as_millis()).unwrap_or(u32::MAX),
        attributes: call.attributes.clone(),
    }
}

pub(crate) fn kek_to_guest(kek: &Kek) -> types::Kek {
    types::Kek {
        id: kek.id.as_str().to_owned(),
        algorithm: kek.algorithm.clone(),
        public_key: kek.public_key.clone(),
        sealed: kek.sealed.clone(),
        attributes: kek.attributes.clone(),
    }
}

/// The host, and nobody else, says which tenant and which recording.
pub(crate) fn envelope_to_guest(tenant: &TenantId, envelope: &Envelope) -> types::Envelope {
    let mut context: Attributes = vec![
        ("tenant".to_owned(), tenant.as_str().to_owned()),
        (
            "recording".to_owned(),
            envelope.recording.as_str().to_owned(),
        ),
    ];
    let more = envelope.context.iter();
    context.extend(
        more.filter(|(name, _)| name != "tenant" && name != "recording")
            .cloned(),
    );
    types::Envelope {
        algorithm: envelope.algorithm.clone(),
        wrapped_dek: envelope.wrapped_dek.clone(),
        context,
    }
}

/// A KEK as `generate-kek` returned it, if it is the one that was asked for.
pub(crate) fn kek_from_guest(
    kek: types::Kek,
    id: &KekId,
    algorithm: &str,
    generated_public_key: Option<&[u8]>,
) -> Result<Kek, Fault> {
    let malformed = |what: String| Err(Fault::Malformed(what));
    if kek.id != id.as_str() {
        return malformed(format!(
            "expected the KEK {id}, found {:?}",
            sanitised(&kek.id, 64)
        ));
    }
    if kek.algorithm != algorithm {
        let found = sanitised(&kek.algorithm, 64);
        return malformed(format!(
            "expected a KEK for {algorithm}, found one for {found:?}"
        ));
    }
    let found = kek.public_key.len();
    if !(1..=MAX_PUBLIC_KEY).contains(&found) {
        return malformed(format!("expected a public key, found {found} bytes"));
    }
    // A KEK whose public key is not that of the private key kept would seal recordings for ever.
    if generated_public_key.is_some_and(|generated| generated != kek.public_key) {
        return malformed("its public key is not that of the key it generated".to_owned());
    }
    let sealed: usize = kek
        .sealed
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if sealed > MAX_SEALED || kek.sealed.len() > MAX_ENTRIES {
        return malformed(format!(
            "expected at most {MAX_SEALED} sealed bytes, found {sealed}"
        ));
    }
    let attributes: usize = kek.attributes.iter().map(|(k, v)| k.len() + v.len()).sum();
    if attributes > MAX_SEALED || kek.attributes.len() > MAX_ENTRIES {
        return malformed(format!(
            "expected small attributes, found {attributes} bytes"
        ));
    }
    Ok(Kek {
        id: id.clone(),
        algorithm: kek.algorithm,
        public_key: kek.public_key,
        sealed: kek.sealed,
        attributes: kek.attributes,
    })
}

pub(crate) fn health_from_guest(report: &provider::HealthReport) -> Result<Health, Fault> {
    if !matches!(report.status.as_str(), "ok" | "degraded" | "down") {
        let found = sanitised(&report.status, 32);
        return Err(Fault::Malformed(format!(
            "expected the health \"ok\", \"degraded\" or \"down\", found {found:?}"
        )));
    }
    Ok(Health {
        status: report.status.clone(),
        detail: sanitised(&report.detail, MESSAGE_CHARS),
    })
}

pub(crate) fn error_from_guest(error: &types::Error) -> ProviderError {
    let class = class_from_guest(error.class);
    if class == ErrorClass::Integrity {
        return ProviderError::new(class, "integrity", "the wrapped DEK does not open");
    }
    let code = if is_code(&error.code) {
        error.code.as_str()
    } else {
        "unnamed"
    };
    ProviderError {
        class,
        code: code.to_owned(),
        message: sanitised(&error.message, MESSAGE_CHARS),
        retry_after: error
            .retry_after_ms
            .map(|ms| Duration::from_millis(ms.into())),
    }
}

pub(crate) fn error_to_guest(error: &ProviderError) -> types::Error {
    types::Error {
        class: class_to_guest(error.class),
        code: error.code.clone(),
        message: error.message.clone(),
        retry_after_ms: error
            .retry_after
            .map(|after| u32::try_from(after.as_millis()).unwrap_or(u32::MAX)),
    }
}

/// The vault's failures as a provider's: a shredded tenant's keys are gone, all else is a fault
/// of this side.
pub(crate) fn vault_error(error: &VaultError) -> ProviderError {
    let (class, code) = match error {
        VaultError::NoRoot { .. } => (ErrorClass::NotFound, "vault.no-root"),
        VaultError::Destroyed { .. } => (ErrorClass::NotFound, "vault.destroyed"),
        VaultError::NoConfiguration { .. } => (ErrorClass::Config, "vault.no-configuration"),
        VaultError::Damaged { .. } => (ErrorClass::Internal, "vault.damaged"),
        VaultError::Store(_) => (ErrorClass::Unavailable, "vault.store"),
        _ => (ErrorClass::Unavailable, "vault.keystore"),
    };
    // The guest reads this: paths and the database's words are for the host's log alone.
    tracing::warn!(code, %error, "a plugin's secret cannot be had");
    ProviderError::new(class, code, "the host cannot give this secret")
}

fn class_from_guest(class: types::ErrorClass) -> ErrorClass {
    match class {
        types::ErrorClass::Config => ErrorClass::Config,
        types::ErrorClass::Request => ErrorClass::Request,
        types::ErrorClass::NotFound => ErrorClass::NotFound,
        types::ErrorClass::Denied => ErrorClass::Denied,
        types::ErrorClass::KeyDisabled => ErrorClass::KeyDisabled,
        types::ErrorClass::Integrity => ErrorClass::Integrity,
        types::ErrorClass::Throttled => ErrorClass::Throttled,
        types::ErrorClass::Unavailable => ErrorClass::Unavailable,
        types::ErrorClass::Timeout => ErrorClass::Timeout,
        types::ErrorClass::Internal => ErrorClass::Internal,
    }
}

fn class_to_guest(class: ErrorClass) -> types::ErrorClass {
    match class {
        ErrorClass::Config => types::ErrorClass::Config,
        ErrorClass::Request => types::ErrorClass::Request,
        ErrorClass::NotFound => types::ErrorClass::NotFound,
        ErrorClass::Denied => types::ErrorClass::Denied,
        ErrorClass::KeyDisabled => types::ErrorClass::KeyDisabled,
        ErrorClass::Integrity => types::ErrorClass::Integrity,
        ErrorClass::Throttled => types::ErrorClass::Throttled,
        ErrorClass::Unavailable => types::ErrorClass::Unavailable,
        ErrorClass::Timeout => types::ErrorClass::Timeout,
        ErrorClass::Internal => types::ErrorClass::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest_error(class: types::ErrorClass) -> types::Error {
        types::Error {
            class,
            code: "acme.bad padding!".to_owned(),
            message: "line\nforged".to_owned(),
            retry_after_ms: Some(1500),
        }
    }

    #[test]
    fn integrity_carries_no_detail() {
        let error = error_from_guest(&guest_error(types::ErrorClass::Integrity));
        assert_eq!(error.code, "integrity");
        assert_eq!(error.message, "the wrapped DEK does not open");
        assert_eq!(error.retry_after, None);
    }

    #[test]
    fn other_errors_keep_what_is_fit() {
        let error = error_from_guest(&guest_error(types::ErrorClass::Throttled));
        assert_eq!(error.code, "unnamed");
        assert_eq!(error.message, "line\u{fffd}forged");
        assert_eq!(error.retry_after, Some(Duration::from_millis(1500)));
    }

    #[test]
    fn a_kek_must_be_the_one_asked_for() {
        let id = KekId::parse("kek/1").unwrap();
        let kek = types::Kek {
            id: "kek/1".to_owned(),
            algorithm: "rsa-oaep-sha256".to_owned(),
            public_key: vec![1, 2, 3],
            sealed: Vec::new(),
            attributes: Vec::new(),
        };
        let check = |kek: &types::Kek, generated| {
            kek_from_guest(kek.clone(), &id, "rsa-oaep-sha256", generated).map(|_| ())
        };
        assert_eq!(check(&kek, Some(&[1, 2, 3][..])), Ok(()));
        assert!(check(&kek, Some(&[1, 2, 4][..])).is_err());
        assert!(
            check(
                &types::Kek {
                    id: "kek/2".to_owned(),
                    ..kek.clone()
                },
                None
            )
            .is_err()
        );
        assert!(
            check(
                &types::Kek {
                    algorithm: "x".to_owned(),
                    ..kek.clone()
                },
                None
            )
            .is_err()
        );
        assert!(
            check(
                &types::Kek {
                    public_key: Vec::new(),
                    ..kek.clone()
                },
                None
            )
            .is_err()
        );
        let sealed = vec![("k".to_owned(), vec![0; MAX_SEALED])];
        assert!(check(&types::Kek { sealed, ..kek }, None).is_err());
    }
}
