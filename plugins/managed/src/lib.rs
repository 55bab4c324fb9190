//! The managed provider: KEK pairs that Keyreel itself makes and keeps, sealed for one tenant. It
//! works by handle throughout: neither a private KEK nor a DEK ever enters its memory.
//! Not for: keeping keys: that is the host's keystore.

use keyreel_plugin_sdk::{
    self as sdk, Algorithms, CallInfo, Description, Envelope, Error, Kek, KeyAdmin, Provider,
    UnwrappedDek, canonical_context, secrets,
};

/// The policies `compatible` and `aes256`, in this order.
const ALGORITHMS: Algorithms = Algorithms {
    prefix: "managed",
    who: "managed keys unwrap",
    names: &["rsa-oaep-sha256", "hpke-mlkem1024-p384"],
};

/// Nothing can be configured: the algorithm comes with each KEK.
const CONFIG_SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "Managed keys",
  "description": "Keyreel makes and keeps the keys. There is nothing to configure.",
  "type": "object",
  "properties": {},
  "additionalProperties": false
}"#;

struct Managed;

impl Provider for Managed {
    fn describe() -> Description {
        Description {
            name: "Managed by Keyreel".to_owned(),
            vendor: "Keyreel".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            algorithms: ALGORITHMS.names(),
            config_schema: CONFIG_SCHEMA.to_owned(),
            secrets: Vec::new(),
        }
    }

    fn configure(config: &str) -> Result<Self, Error> {
        let body = config
            .trim()
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'));
        match body.map(str::trim) {
            Some("") => Ok(Self),
            _ => Err(Error::config(
                "managed.unknown-setting",
                "managed keys have no settings: the configuration must be {}",
            )),
        }
    }

    fn unwrap_dek(
        &self,
        _info: &CallInfo,
        kek: &Kek,
        envelope: &Envelope,
    ) -> Result<UnwrappedDek, Error> {
        ALGORITHMS.check(kek, envelope)?;
        let context = canonical_context(envelope)?;
        let private_key = secrets::get(&kek.id)?;
        let material = private_key.unwrap(&envelope.algorithm, &envelope.wrapped_dek, &context)?;
        Ok(UnwrappedDek {
            material,
            max_cache_ms: None,
        })
    }
}

impl KeyAdmin for Managed {
    fn generate_kek(&self, _info: &CallInfo, id: &str, algorithm: &str) -> Result<Kek, Error> {
        ALGORITHMS.check_known(algorithm)?;
        let public_key = secrets::generate(id, algorithm)?.public_key()?;
        Ok(Kek {
            id: id.to_owned(),
            algorithm: algorithm.to_owned(),
            public_key,
            sealed: Vec::new(),
            attributes: Vec::new(),
        })
    }
}

sdk::export!(Managed, key - admin);
