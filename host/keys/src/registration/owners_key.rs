//! Key pairs that their owner makes: the public half is registered, the private one stays there.
//! Not for: where their key service is (see `registration`).

use keyreel_format::{KekId, ProviderId, TenantId};
use uuid::Uuid;

use super::{Registrar, RegistrationError};
use crate::kek::{Kek, Policy};
use crate::keyring::Asker;
use crate::public_key::rsa_public_key;

/// A key pair whose private half stays with its owner.
#[derive(Debug, Clone)]
pub struct OwnersKey {
    /// The configuration under which its key service is reached.
    pub configuration: String,
    /// What the owner's key service calls it: a UUID.
    pub id: String,
    /// The public key: base64 of PKCS#1 or SubjectPublicKeyInfo, DER.
    pub public_key: String,
}

impl Registrar {
    /// Makes a key pair whose private half its owner keeps the tenant's current KEK, after a
    /// sample DEK came back from its key service.
    ///
    /// # Errors
    /// It did not, and why. The former KEK stays current then.
    pub async fn register(
        &self,
        tenant: &TenantId,
        policy: Policy,
        key: &OwnersKey,
        asker: &Asker,
    ) -> Result<Kek, RegistrationError> {
        let configuration = self.configuration(tenant, &key.configuration).await?;
        let provider = configuration.provider;
        if self.keyring.mints(&provider)? {
            return Err(RegistrationError::MintsItself { provider });
        }
        if policy != Policy::Compatible {
            return Err(RegistrationError::Policy {
                policy: policy.as_str(),
            });
        }
        let kek = Kek {
            id: key_pair_id(&key.id).ok_or(RegistrationError::KeyPairId)?,
            algorithm: self.algorithm(&provider, &configuration.config_json)?,
            public_key: rsa_public_key(&key.public_key)?,
            sealed: Vec::new(),
            attributes: Vec::new(),
        };
        let _turn = self.turn(tenant).await;
        let known = self.keyring.store().kek(tenant, &provider, &kek.id).await?;
        if known.is_some() {
            return Err(RegistrationError::KeyPairKnown { id: key.id.clone() });
        }
        let kek = kek.under(Some(&configuration.id));
        Ok(self
            .keyring
            .register_kek(tenant, &provider, (kek, policy), asker)
            .await?)
    }

    /// The wrap algorithm for an owner's key pair.
    fn algorithm(&self, provider: &ProviderId, json: &str) -> Result<String, RegistrationError> {
        let listed = &self.keyring.describe(provider)?.algorithms;
        rsa_algorithm(provider, listed, json)
            .map(str::to_owned)
            .ok_or_else(|| RegistrationError::NoRsa {
                provider: provider.clone(),
            })
    }
}

/// A UUID as it is written, because its key service may compare texts.
fn key_pair_id(text: &str) -> Option<KekId> {
    let id = Uuid::parse_str(text).ok()?;
    let plain = id.hyphenated().to_string().eq_ignore_ascii_case(text);
    plain.then(|| KekId::parse(text).ok()).flatten()
}

/// The wrap algorithm for an owner's key pair: of those of RSA that the provider lists, the one that
/// the configuration's `padding` means, else the better one; of a Local Key Manager, that of the
/// sample, as its plugin has it too.
pub(super) fn rsa_algorithm(
    provider: &ProviderId,
    listed: &[String],
    json: &str,
) -> Option<&'static str> {
    let json: Option<serde_json::Value> = serde_json::from_str(json).ok();
    let padding = json.as_ref().and_then(|json| json.get("padding")?.as_str());
    let preferred = match padding {
        Some("oaep-sha256") => SHA256,
        Some("oaep-sha1") => SHA1,
        _ if provider.as_str() == LKM => SHA1,
        _ => SHA256,
    };
    [preferred, SHA256, SHA1]
        .into_iter()
        .find(|name| listed.iter().any(|listed| listed == name))
}

const SHA256: &str = "rsa-oaep-sha256";
const SHA1: &str = "rsa-oaep-sha1";
/// The provider of Local Key Managers.
const LKM: &str = "lkm";
