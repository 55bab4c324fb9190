//! Private keys that a key service keeps, sealed: made here and forgotten here. On the way to the
//! key service the guest holds a placeholder; egress puts the key in its place.
//! Not for: keys that the host keeps (see `secrets`), sending requests.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use keyreel_format::wrap::PrivateKey;
use keyreel_keys::ErrorClass;
use wasmtime::component::Resource;
use zeroize::Zeroizing;

use crate::bindings::keyreel::key_provider::sealed_keys::Host;
use crate::bindings::keyreel::key_provider::types::Error;
use crate::secrets::{Answer, KEY_OPERATION, Secret, parse, refusal, unusable};
use crate::state::{CallState, Keeper, Purpose};

/// How a placeholder begins. With 32 random digits behind it, it is as long as the shortest key in
/// base64 allows (a KEM's seed: 44 characters).
const BEGIN: &str = "keyreel:";

impl Host for CallState {
    async fn generate(&mut self, algorithm: String) -> Answer<Resource<Secret>> {
        self.count_host_call();
        let name = match &self.purpose {
            Purpose::Mint(_, id) => id.as_str().to_owned(),
            _ => String::new(),
        };
        match self.mint(&name, &algorithm, Keeper::KeyService).await {
            Ok(key) => self.handle(Secret::PrivateKey(key)).map(Ok),
            Err(error) => Ok(Err(error)),
        }
    }

    fn placeholder(&mut self, key: Resource<Secret>) -> Answer<String> {
        self.count_host_call();
        self.work(KEY_OPERATION)?;
        let Some(key) = self.on_its_way(&key)? else {
            return Ok(Err(refusal(
                ErrorClass::Denied,
                "sealed-keys.placeholder-refused",
                "only a key that `sealed-keys.generate` made in this call leaves the host",
            )));
        };
        Ok(self.placeholders.add(&key))
    }

    fn import_key(&mut self, algorithm: String, bytes: Vec<u8>) -> Answer<Resource<Secret>> {
        self.count_host_call();
        let bytes = Zeroizing::new(bytes);
        self.work(KEY_OPERATION)?;
        let algorithm = match parse(&algorithm) {
            Ok(algorithm) => algorithm,
            Err(error) => return Ok(Err(error)),
        };
        match PrivateKey::from_secret_bytes(algorithm, &bytes) {
            Ok(key) => self.handle(Secret::PrivateKey(Arc::new(key))).map(Ok),
            Err(_) => Ok(Err(refusal(
                ErrorClass::Request,
                "sealed-keys.not-a-private-key",
                format!("expected a private key for {algorithm}"),
            ))),
        }
    }
}

impl CallState {
    /// The key behind the handle, if it is the one that this call made for a key service.
    fn on_its_way(&self, handle: &Resource<Secret>) -> wasmtime::Result<Option<Arc<PrivateKey>>> {
        let Secret::PrivateKey(key) = self.table.get(handle)? else {
            return Ok(None);
        };
        Ok(self
            .minted
            .as_ref()
            .filter(|minted| minted.keeper == Keeper::KeyService && Arc::ptr_eq(&minted.key, key))
            .map(|minted| Arc::clone(&minted.key)))
    }
}

/// The placeholders of one call. Clones share them: one lies with the call's state, one with its
/// egress. Gone with the call.
#[derive(Clone, Default)]
pub(crate) struct Placeholders(Arc<Mutex<Vec<Placeholder>>>);

struct Placeholder {
    text: String,
    base64: Zeroizing<String>,
}

impl Placeholders {
    /// A placeholder for `key`.
    fn add(&self, key: &PrivateKey) -> Result<String, Error> {
        let bytes = key.secret_bytes().map_err(|error| unusable(&error))?;
        let base64 = Zeroizing::new(STANDARD.encode(&*bytes));
        let mut random = [0; 16];
        rand::fill(&mut random).map_err(|_| {
            let message = "the host has no randomness";
            refusal(ErrorClass::Internal, "sealed-keys.random", message)
        })?;
        let mut text = BEGIN.to_owned();
        for byte in random {
            // Writing to a string never fails.
            let _ = write!(text, "{byte:02x}");
        }
        // As long as the key, so that lengths which the guest computed stay right.
        while text.len() < base64.len() {
            text.push('.');
        }
        let added = Placeholder {
            text: text.clone(),
            base64,
        };
        self.lock().push(added);
        Ok(text)
    }

    /// Puts the keys in their placeholders' places. Only for a request that the host signs: the
    /// operator's grant says that its origin is the key service.
    pub(crate) fn fill(&self, body: Bytes) -> Bytes {
        let placeholders = self.lock();
        if placeholders.is_empty() {
            return body;
        }
        // Wiped when the request is done with.
        let mut filled = Zeroizing::new(body.to_vec());
        for placeholder in placeholders.iter() {
            let (text, key) = (placeholder.text.as_bytes(), placeholder.base64.as_bytes());
            let mut from = 0;
            while let Some(found) = find(filled.get(from..).unwrap_or_default(), text) {
                let start = from + found;
                if let Some(place) = filled.get_mut(start..start + key.len()) {
                    place.copy_from_slice(key);
                }
                from = start + key.len();
            }
        }
        Bytes::from_owner(filled)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Placeholder>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len().max(1))
        .position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use keyreel_format::WrapAlgorithm;

    use super::*;

    #[test]
    fn a_placeholder_is_as_long_as_its_key() {
        for algorithm in [
            WrapAlgorithm::RsaOaepSha256,
            WrapAlgorithm::HpkeMlkem1024P384,
        ] {
            let key = PrivateKey::generate(algorithm).unwrap();
            let placeholders = Placeholders::default();
            let text = placeholders.add(&key).unwrap();
            let base64 = STANDARD.encode(&*key.secret_bytes().unwrap());
            assert_eq!(text.len(), base64.len(), "{algorithm}");
            assert_ne!(text, placeholders.add(&key).unwrap());

            let body = format!(r#"{{"Plaintext":"{text}","again":"{text}"}}"#);
            let filled = placeholders.clone().fill(Bytes::from(body));
            let expected = format!(r#"{{"Plaintext":"{base64}","again":"{base64}"}}"#);
            assert!(filled == expected.as_bytes(), "{algorithm}");
        }
    }

    #[test]
    fn other_bodies_stay_as_they_are() {
        let key = PrivateKey::generate(WrapAlgorithm::HpkeMlkem1024P384).unwrap();
        let placeholders = Placeholders::default();
        let text = placeholders.add(&key).unwrap();
        for body in [String::new(), "keyreel:".to_owned(), text[1..].to_owned()] {
            assert!(placeholders.fill(Bytes::from(body.clone())) == body.as_bytes());
        }
        // Another call's placeholders mean nothing.
        let filled = Placeholders::default().fill(Bytes::from(text.clone()));
        assert!(filled == text.as_bytes());
    }
}
