//! The AWS KMS provider: KEK pairs whose private half a customer's KMS key seals. Each unwrap asks
//! KMS to open it; without access to the KMS key nothing plays.
//!
//! AWS credentials never come here: the host signs. A private key on its way to KMS never comes
//! here either (the host puts it into the request). One out of KMS's answer does, for the moment
//! between answer and import; the instance is gone right after.
//! Not for: keys in AWS that unwrap by themselves (asymmetric KMS keys).

mod config;
mod kms;
mod protocol;
mod refusal;

use keyreel_plugin_sdk::{
    self as sdk, Algorithms, CallInfo, Description, Envelope, Error, ErrorClass, Health, Kek,
    KeyAdmin, Provider, UnwrappedDek, Validated, canonical_context, sealed_keys,
};

use crate::config::{Config, KeyArn, Minting};
use crate::kms::Kms;
use crate::protocol::{Context, KeyPair, SealedKey};

const RSA: &str = "rsa-oaep-sha256";
/// The policies `compatible` and `aes256`, in this order.
const ALGORITHMS: Algorithms = Algorithms {
    prefix: "aws-kms",
    who: "keys under AWS KMS unwrap",
    names: &[RSA, "hpke-mlkem1024-p384"],
};

/// What the host keeps with each KEK: the private key as KMS sealed it; which key did, because an
/// alias may point to another one tomorrow; and the name in the context that it was sealed with,
/// because the configuration may change.
const PRIVATE_KEY: &str = "private-key";
const KEY_ARN: &str = "key-arn";
const CONTEXT_KEY: &str = "context-key";

struct AwsKms {
    config: Config,
}

impl Provider for AwsKms {
    fn describe() -> Description {
        Description {
            name: "AWS KMS".to_owned(),
            vendor: "Keyreel".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            algorithms: ALGORITHMS.names(),
            config_schema: config::SCHEMA.to_owned(),
            secrets: Vec::new(),
        }
    }

    fn validate(config: &str) -> Result<Validated, Error> {
        let config = Config::parse(config)?;
        Ok(Validated {
            outbound: vec![config.endpoint.origin()],
            warnings: config.warnings(),
        })
    }

    fn configure(config: &str) -> Result<Self, Error> {
        Config::parse(config).map(|config| Self { config })
    }

    /// Asks KMS for the key's state. A key that cannot be used is an error, with its class: whoever
    /// registers it should hear why.
    fn health(&self, info: &CallInfo) -> Result<Health, Error> {
        let key = &self.config.key;
        let kms = Kms::new(&self.config.endpoint, key.region(), info);
        let answer = kms.ask_again(&protocol::DescribeKey {
            key_id: key.as_str(),
        })?;
        let metadata = protocol::described(&answer)?;
        usable(&metadata)?;
        Ok(Health {
            status: "ok".to_owned(),
            detail: format!("{} is enabled", metadata.arn),
        })
    }

    fn unwrap_dek(
        &self,
        info: &CallInfo,
        kek: &Kek,
        envelope: &Envelope,
    ) -> Result<UnwrappedDek, Error> {
        ALGORITHMS.check(kek, envelope)?;
        let context = canonical_context(envelope)?;
        let private_key = self.private_key(info, kek)?;
        let material = private_key.unwrap(&envelope.algorithm, &envelope.wrapped_dek, &context)?;
        Ok(UnwrappedDek {
            material,
            max_cache_ms: None,
        })
    }
}

impl KeyAdmin for AwsKms {
    fn generate_kek(&self, info: &CallInfo, id: &str, algorithm: &str) -> Result<Kek, Error> {
        ALGORITHMS.check_known(algorithm)?;
        let kms = Kms::new(&self.config.endpoint, self.config.key.region(), info);
        let context = self.context(info, &self.config.context_key);
        // KMS makes no ML-KEM keys: those come from the host, whatever is configured.
        let pair = if algorithm == RSA && self.config.minting == Minting::DataKeyPair {
            self.pair_of_kms(&kms, &context)?
        } else {
            self.pair_of_the_host(&kms, &context, algorithm)?
        };
        let SealedKey { key_arn, blob } = pair.private_key;
        self.check_key_arn(&key_arn)?;
        Ok(Kek {
            id: id.to_owned(),
            algorithm: algorithm.to_owned(),
            public_key: pair.public_key,
            sealed: vec![
                (PRIVATE_KEY.to_owned(), blob),
                (KEY_ARN.to_owned(), key_arn.clone().into_bytes()),
                (
                    CONTEXT_KEY.to_owned(),
                    self.config.context_key.clone().into_bytes(),
                ),
            ],
            attributes: vec![("kms-key-arn".to_owned(), key_arn)],
        })
    }
}

impl AwsKms {
    fn pair_of_kms(&self, kms: &Kms<'_>, context: &Context<'_>) -> Result<KeyPair, Error> {
        let answer = kms.ask(&protocol::GenerateDataKeyPairWithoutPlaintext {
            key_id: self.config.key.as_str(),
            key_pair_spec: "RSA_3072",
            encryption_context: context,
        })?;
        protocol::key_pair(&answer)
    }

    fn pair_of_the_host(
        &self,
        kms: &Kms<'_>,
        context: &Context<'_>,
        algorithm: &str,
    ) -> Result<KeyPair, Error> {
        let key = sealed_keys::generate(algorithm)?;
        let public_key = key.public_key()?;
        let placeholder = sealed_keys::placeholder(&key)?;
        let answer = kms.ask(&protocol::Encrypt {
            key_id: self.config.key.as_str(),
            plaintext: &placeholder,
            encryption_context: context,
        })?;
        Ok(KeyPair {
            public_key,
            private_key: protocol::encrypted(&answer)?,
        })
    }

    /// The KEK's private key, opened by KMS. It goes to the host at once, and what held it here is
    /// wiped.
    fn private_key(&self, info: &CallInfo, kek: &Kek) -> Result<sdk::Secret, Error> {
        let key = KeyArn::parse(text(kek, KEY_ARN)?)?;
        let context = self.context(info, text(kek, CONTEXT_KEY)?);
        let kms = Kms::new(&self.config.endpoint, key.region(), info);
        let answer = kms
            .ask_again(&protocol::Decrypt {
                key_id: key.as_str(),
                ciphertext_blob: &protocol::blob(sealed(kek, PRIVATE_KEY)?),
                encryption_context: &context,
            })
            .inspect_err(|error| explain(error, kek))?;
        let bytes = protocol::decrypted(&answer, key.as_str())?;
        drop(answer);
        // KMS opened it, so it is what was sealed: not a private key only if something else was.
        sealed_keys::import_key(&kek.algorithm, &bytes).map_err(|_| Error::integrity())
    }

    fn context<'a>(&self, info: &'a CallInfo, name: &'a str) -> Context<'a> {
        Context::from([(name, info.tenant.as_str())])
    }

    /// Of an alias nothing can be said, but a key that was asked for by its ARN must answer.
    fn check_key_arn(&self, answered: &str) -> Result<(), Error> {
        let asked = &self.config.key;
        let right = KeyArn::parse(answered)
            .is_ok_and(|arn| !arn.is_alias && arn.region() == asked.region())
            && (asked.is_alias || asked.as_str() == answered);
        if right {
            return Ok(());
        }
        Err(Error::internal(
            "aws.malformed-answer",
            "AWS KMS's answer makes no sense: it names another key than was asked for",
        ))
    }
}

/// `integrity` reaches nobody with a reason. The sealed private key is no recording's doing, so the
/// operator's log may have one.
fn explain(error: &Error, kek: &Kek) {
    if error.class == ErrorClass::Integrity {
        sdk::warn(
            "AWS KMS does not open the sealed private key: damaged, of another KMS key, or sealed \
             under another encryption context",
            &[("kek", &kek.id)],
        );
    }
}

fn usable(metadata: &protocol::Metadata) -> Result<(), Error> {
    match metadata.key_state.as_str() {
        "Enabled" => {}
        "Disabled" | "PendingDeletion" | "PendingReplicaDeletion" | "PendingImport" => {
            return Err(Error::key_disabled(
                "aws.key-state",
                "the KMS key is disabled, pending deletion or pending import",
            ));
        }
        _ => {
            return Err(Error::unavailable(
                "aws.key-state",
                "the KMS key is being made, updated or cut off from its key store",
            ));
        }
    }
    // Not every KMS says what is the default.
    let is = |found: &Option<String>, expected: &str| {
        found.as_deref().is_none_or(|found| found == expected)
    };
    if !is(&metadata.key_usage, "ENCRYPT_DECRYPT") || !is(&metadata.key_spec, "SYMMETRIC_DEFAULT") {
        return Err(Error::config(
            "aws-kms.not-symmetric",
            "the KMS key is not a symmetric encryption key (SYMMETRIC_DEFAULT, ENCRYPT_DECRYPT)",
        ));
    }
    Ok(())
}

fn sealed<'a>(kek: &'a Kek, name: &str) -> Result<&'a [u8], Error> {
    let found = kek.sealed.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_slice()).ok_or_else(|| {
        Error::request(
            "aws-kms.not-its-kek",
            format!(
                "{} was not minted by this provider: {name:?} is missing",
                kek.id
            ),
        )
    })
}

fn text<'a>(kek: &'a Kek, name: &str) -> Result<&'a str, Error> {
    std::str::from_utf8(sealed(kek, name)?).map_err(|_| {
        Error::request(
            "aws-kms.not-its-kek",
            format!("{name:?} of {} is not text", kek.id),
        )
    })
}

sdk::export!(AwsKms, key - admin);
