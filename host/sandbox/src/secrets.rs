//! Secrets and keys by handle. Their bytes stay on this side of the sandbox.
//! Not for: keeping them: that is the vault's.

use std::sync::Arc;

use aws_lc_rs::hmac;
use keyreel_format::Dek;
use keyreel_format::wrap::{PrivateKey, WrapAlgorithm};
use keyreel_keys::{ErrorClass, ProviderError, VaultError};
use wasmtime::component::Resource;
use zeroize::Zeroizing;

use crate::bindings::keyreel::key_provider::secrets::{Host, HostSecret};
use crate::bindings::keyreel::key_provider::types::{self, Error};
use crate::convert;
use crate::error::Fault;
use crate::provider::Plugin;
use crate::state::{CallState, Keeper, Minted, Purpose, Tenancy};

/// Names of private KEKs begin so; all others are secrets of the configuration.
const KEK_PREFIX: &str = "kek/";

/// What a handle of the guest stands for.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub enum Secret {
    /// A secret of the configuration, a derived one, or bytes the guest brought.
    Bytes {
        bytes: Zeroizing<Vec<u8>>,
        /// Granted by the operator, or the guest's own to begin with.
        reveal: Reveal,
    },
    /// A private KEK.
    PrivateKey(Arc<PrivateKey>),
    /// An unwrapped DEK. Nothing can be done with it but to return it.
    Dek(Dek),
}

/// Whether the guest may read the bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
#[expect(unreachable_pub, reason = "a part of `Secret`")]
pub enum Reveal {
    Granted,
    Refused,
}

/// Bytes of one imported secret: many times what any key or token takes.
const MAX_IMPORT: usize = 64 << 10;
/// What one operation with a private key costs of [`WORK`](crate::state::WORK).
pub(crate) const KEY_OPERATION: u64 = 4096;

/// What authenticating `data` costs: a unit is about a microsecond.
fn mac_work(data: &[u8]) -> u64 {
    1 + data.len() as u64 / 1024
}

pub(crate) type Answer<T> = wasmtime::Result<Result<T, Error>>;

impl Host for CallState {
    async fn get(&mut self, name: String) -> Answer<Resource<Secret>> {
        self.count_host_call();
        // The tenant is the call's, whatever the guest names: no name reaches another tenant.
        let Some(tenancy) = self.purpose.tenancy() else {
            return Ok(Err(pure()));
        };
        let secret = match self.being_minted(&name) {
            Some(key) => Ok(Secret::PrivateKey(key)),
            None => lookup(&self.plugin, tenancy, &name).await,
        };
        match secret {
            Ok(secret) => self.handle(secret).map(Ok),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn generate(&mut self, name: String, algorithm: String) -> Answer<Resource<Secret>> {
        self.count_host_call();
        let key = match self.mint(&name, &algorithm, Keeper::Host).await {
            Ok(key) => key,
            Err(error) => return Ok(Err(error)),
        };
        self.handle(Secret::PrivateKey(key)).map(Ok)
    }

    fn import_bytes(&mut self, bytes: Vec<u8>) -> wasmtime::Result<Resource<Secret>> {
        self.count_host_call();
        // They lie in the host's memory, which the guest's limit does not count.
        if bytes.len() > MAX_IMPORT {
            return Err(Fault::HostCallBytes.into());
        }
        self.handle(Secret::Bytes {
            bytes: Zeroizing::new(bytes),
            reveal: Reveal::Granted,
        })
    }

    fn import_private_key(&mut self, pkcs8: Vec<u8>) -> Answer<Resource<Secret>> {
        self.count_host_call();
        let pkcs8 = Zeroizing::new(pkcs8);
        self.work(KEY_OPERATION)?;
        match PrivateKey::from_pkcs8(&pkcs8) {
            Ok(key) => self.handle(Secret::PrivateKey(Arc::new(key))).map(Ok),
            Err(_) => Ok(Err(refusal(
                ErrorClass::Request,
                "secrets.not-a-private-key",
                "expected an RSA private key of 3072 bits or more, PKCS#8 DER",
            ))),
        }
    }
}

impl HostSecret for CallState {
    fn mac(
        &mut self,
        secret: Resource<Secret>,
        algorithm: String,
        data: Vec<u8>,
    ) -> Answer<Vec<u8>> {
        self.count_host_call();
        self.work(mac_work(&data))?;
        Ok(self
            .secret(&secret)?
            .mac(&algorithm, &data)
            .map(|tag| tag.as_ref().to_vec()))
    }

    fn derive(
        &mut self,
        secret: Resource<Secret>,
        algorithm: String,
        data: Vec<u8>,
    ) -> Answer<Resource<Secret>> {
        self.count_host_call();
        self.work(mac_work(&data))?;
        let bytes = match self.secret(&secret)?.mac(&algorithm, &data) {
            Ok(tag) => Zeroizing::new(tag.as_ref().to_vec()),
            Err(error) => return Ok(Err(error)),
        };
        self.handle(Secret::Bytes {
            bytes,
            reveal: Reveal::Refused,
        })
        .map(Ok)
    }

    fn unwrap(
        &mut self,
        secret: Resource<Secret>,
        algorithm: String,
        wrapped: Vec<u8>,
        context: Vec<u8>,
    ) -> Answer<Resource<Secret>> {
        self.count_host_call();
        self.work(KEY_OPERATION)?;
        match self.secret(&secret)?.unwrap(&algorithm, &wrapped, &context) {
            Ok(dek) => self.handle(Secret::Dek(dek)).map(Ok),
            Err(error) => Ok(Err(error)),
        }
    }

    fn public_key(&mut self, secret: Resource<Secret>) -> Answer<Vec<u8>> {
        self.count_host_call();
        let Secret::PrivateKey(key) = self.secret(&secret)? else {
            return Ok(Err(wrong_kind("a private key")));
        };
        Ok(key.public_key().map_err(|error| unusable(&error)))
    }

    fn reveal(&mut self, secret: Resource<Secret>) -> Answer<Vec<u8>> {
        self.count_host_call();
        Ok(match self.secret(&secret)? {
            Secret::Bytes {
                bytes,
                reveal: Reveal::Granted,
            } => Ok(bytes.to_vec()),
            _ => Err(refusal(
                ErrorClass::Denied,
                "secrets.reveal-not-granted",
                "the operator has not granted `reveal` for this secret",
            )),
        })
    }

    fn drop(&mut self, secret: Resource<Secret>) -> wasmtime::Result<()> {
        self.table.delete(secret)?;
        Ok(())
    }
}

impl types::Host for CallState {}

impl CallState {
    pub(crate) fn handle(&mut self, secret: Secret) -> wasmtime::Result<Resource<Secret>> {
        self.table.push(secret).map_err(|_| Fault::Handles.into())
    }

    fn secret(&self, handle: &Resource<Secret>) -> wasmtime::Result<&Secret> {
        Ok(self.table.get(handle)?)
    }

    /// The key that this very call generated lies in no vault yet.
    fn being_minted(&self, name: &str) -> Option<Arc<PrivateKey>> {
        match (&self.purpose, &self.minted) {
            (Purpose::Mint(_, id), Some(minted)) if id.as_str() == name => {
                Some(Arc::clone(&minted.key))
            }
            _ => None,
        }
    }

    pub(crate) async fn mint(
        &mut self,
        name: &str,
        algorithm: &str,
        keeper: Keeper,
    ) -> Result<Arc<PrivateKey>, Error> {
        match &self.purpose {
            Purpose::Mint(_, id) if id.as_str() == name && self.minted.is_none() => {}
            _ => {
                return Err(refusal(
                    ErrorClass::Denied,
                    "secrets.generate-refused",
                    "a key is generated within `generate-kek` only, once, under the id asked for",
                ));
            }
        }
        let algorithm = parse(algorithm)?;
        // An RSA key takes a good part of a second to find: not on a thread that serves others.
        let key = tokio::task::spawn_blocking(move || PrivateKey::generate(algorithm))
            .await
            .map_err(|_| {
                refusal(
                    ErrorClass::Internal,
                    "secrets.generate",
                    "key generation died",
                )
            })?
            .map_err(|error| unusable(&error))?;
        let key = Arc::new(key);
        self.minted = Some(Minted {
            algorithm,
            keeper,
            key: Arc::clone(&key),
        });
        Ok(key)
    }
}

async fn lookup(plugin: &Plugin, tenancy: &Tenancy, name: &str) -> Result<Secret, Error> {
    let Tenancy {
        tenant, configured, ..
    } = tenancy;
    let vault = &plugin.host.vault;
    if !is_name(name) {
        return Err(refusal(
            ErrorClass::Request,
            "secrets.bad-name",
            "expected a name of 1 to 128 of A-Z a-z 0-9 - _ . / without empty or dot segments",
        ));
    }
    if name.starts_with(KEK_PREFIX) {
        let key = vault
            .private_key(tenant, &plugin.id, name)
            .await
            .map_err(vault_failed)?;
        return key.map(Secret::PrivateKey).ok_or_else(|| {
            let message = format!("the tenant has no private key {name:?}");
            refusal(ErrorClass::NotFound, "secrets.no-such-key", message)
        });
    }
    if !plugin
        .secrets
        .get()
        .is_some_and(|declared| declared.iter().any(|d| d == name))
    {
        let message = format!("`describe` does not name the secret {name:?}");
        return Err(refusal(ErrorClass::Config, "secrets.undeclared", message));
    }
    let bytes = match configured.trial() {
        Some(trial) => trial.secrets.get(name).cloned(),
        None => vault
            .secret(tenant, &plugin.id, configured.id(), name)
            .await
            .map_err(vault_failed)?,
    };
    let granted = plugin.grants.reveal.contains(name);
    let reveal = if granted {
        Reveal::Granted
    } else {
        Reveal::Refused
    };
    bytes
        .map(|bytes| Secret::Bytes { bytes, reveal })
        .ok_or_else(|| {
            let message = format!("the secret {name:?} is not set for this tenant");
            refusal(ErrorClass::Config, "secrets.missing", message)
        })
}

impl Secret {
    fn mac(&self, algorithm: &str, data: &[u8]) -> Result<hmac::Tag, Error> {
        let algorithm = match algorithm {
            "hmac-sha256" => hmac::HMAC_SHA256,
            "hmac-sha512" => hmac::HMAC_SHA512,
            other => {
                return Err(refusal(
                    ErrorClass::Request,
                    "secrets.unknown-algorithm",
                    format!("expected \"hmac-sha256\" or \"hmac-sha512\", found {other:?}"),
                ));
            }
        };
        let Self::Bytes { bytes, .. } = self else {
            return Err(wrong_kind("a secret, not a key"));
        };
        Ok(hmac::sign(&hmac::Key::new(algorithm, bytes), data))
    }

    fn unwrap(&self, algorithm: &str, wrapped: &[u8], context: &[u8]) -> Result<Dek, Error> {
        let Self::PrivateKey(key) = self else {
            return Err(wrong_kind("a private key"));
        };
        key.unwrap(parse(algorithm)?, wrapped, context)
            .map_err(|error| match error {
                keyreel_format::Error::Integrity => refusal(ErrorClass::Integrity, "integrity", ""),
                other => unusable(&other),
            })
    }
}

/// Names that mean one thing only, also to a vault that keeps files.
fn is_name(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b))
        && name
            .split('/')
            .all(|segment| !matches!(segment, "" | "." | ".."))
}

pub(crate) fn parse(algorithm: &str) -> Result<WrapAlgorithm, Error> {
    WrapAlgorithm::parse(algorithm).map_err(|error| unusable(&error))
}

pub(crate) fn unusable(error: &keyreel_format::Error) -> Error {
    refusal(ErrorClass::Request, "secrets.unusable", error.to_string())
}

fn pure() -> Error {
    refusal(
        ErrorClass::Denied,
        "secrets.pure",
        "`describe` and `validate` are pure: they reach no secrets",
    )
}

fn wrong_kind(expected: &str) -> Error {
    refusal(
        ErrorClass::Request,
        "secrets.wrong-kind",
        format!("expected {expected}"),
    )
}

fn vault_failed(error: VaultError) -> Error {
    convert::error_to_guest(&convert::vault_error(&error))
}

pub(crate) fn refusal(class: ErrorClass, code: &str, message: impl Into<String>) -> Error {
    convert::error_to_guest(&ProviderError::new(class, code, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_way_out() {
        for good in ["kek/1", "api-key", "a.b/c_d"] {
            assert!(is_name(good), "{good}");
        }
        for bad in [
            "", "/kek/1", "kek/", "kek/../1", "kek/./1", "kek//1", "kek\\1", "kek/1\0", "..",
        ] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn a_dek_yields_nothing() {
        let dek = Secret::Dek(Dek::from_slice(&[7; 32]).unwrap());
        assert!(dek.mac("hmac-sha256", b"x").is_err());
        assert!(dek.unwrap("rsa-oaep-sha256", b"x", b"").is_err());
    }

    #[test]
    fn macs_are_hmac() {
        // RFC 4231, test case 2.
        let secret = Secret::Bytes {
            bytes: Zeroizing::new(b"Jefe".to_vec()),
            reveal: Reveal::Refused,
        };
        let tag = secret
            .mac("hmac-sha256", b"what do ya want for nothing?")
            .unwrap();
        assert_eq!(
            hex::encode(tag.as_ref()),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        let error = secret.mac("hmac-md5", b"").map(|_| ()).unwrap_err();
        assert!(error.message.contains("hmac-sha512"), "{}", error.message);
    }
}
