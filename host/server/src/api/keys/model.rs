//! The shapes of Genesys Cloud's API for keys, and what of them is ours besides.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyreel_format::ProviderId;
use keyreel_keys::{KekRecord, KeyConfiguration, NewConfiguration};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::api::model::time;
use crate::problem::{Code, Problem};

/// A key service, as its administrator describes it.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EncryptionConfigurationInput {
    /// "LocalKeyManager", "KmsSymmetric", "Native" (Keyreel keeps the keys), or "Vendor".
    key_configuration_type: String,
    /// LocalKeyManager: its decrypt URL. KmsSymmetric: the ARN of the key or, better, of an alias.
    url: Option<String>,
    /// LocalKeyManager: the id of the Hawk credential.
    api_id: Option<String>,
    /// LocalKeyManager: the credential's key. Never sent back. Where a configuration is changed and
    /// this is missing, the former one stays, unless `url` names another origin: then it has to be
    /// sent again.
    api_key: Option<String>,
    /// Vendor: the id of the plugin.
    provider: Option<String>,
    /// More of the provider's settings, as its schema has them: `padding`, `payloadHash` and
    /// `bindRecording` (LocalKeyManager), `contextKey`, `endpoint`, `minting` (KmsSymmetric).
    #[schema(value_type = Option<Object>)]
    configuration: Option<Map<String, Value>>,
    /// Vendor: secrets, by the names that the plugin knows them by. Never sent back.
    secrets: Option<BTreeMap<String, String>>,
}

impl EncryptionConfigurationInput {
    /// As it is registered.
    pub(crate) fn into_new(self) -> Result<NewConfiguration, Problem> {
        let mut json = self.configuration.unwrap_or_default();
        let mut secrets: BTreeMap<String, Zeroizing<Vec<u8>>> = self
            .secrets
            .unwrap_or_default()
            .into_iter()
            .map(|(name, secret)| (name, Zeroizing::new(secret.into_bytes())))
            .collect();
        let mut put = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                json.insert(name.to_owned(), Value::from(value));
            }
        };
        let provider = match self.key_configuration_type.as_str() {
            LOCAL_KEY_MANAGER => {
                put("url", self.url);
                put("apiId", self.api_id);
                if let Some(key) = self.api_key {
                    secrets.insert(API_KEY.to_owned(), Zeroizing::new(key.into_bytes()));
                }
                LKM
            }
            KMS_SYMMETRIC => {
                put("keyArn", self.url);
                AWS_KMS
            }
            NATIVE => MANAGED,
            VENDOR => self
                .provider
                .as_deref()
                .ok_or_else(|| bad("provider: expected the id of a plugin for this type."))?,
            "None" => {
                return Err(bad(
                    "keyConfigurationType: Keyreel seals every recording. With \"Native\" it keeps \
                     the keys itself.",
                ));
            }
            _ => {
                return Err(bad(
                    "keyConfigurationType: expected \"LocalKeyManager\", \"KmsSymmetric\", \
                     \"Native\" or \"Vendor\".",
                ));
            }
        };
        let provider =
            ProviderId::parse(provider).map_err(|invalid| bad(&format!("provider: {invalid}.")))?;
        Ok(NewConfiguration {
            provider,
            json: Value::Object(json).to_string(),
            secrets,
        })
    }
}

/// A key service, as it is registered.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RecordingEncryptionConfiguration {
    /// Its id. Empty where nothing was saved.
    pub(crate) id: String,
    /// LocalKeyManager: its decrypt URL. KmsSymmetric: the ARN of the key or alias.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    /// LocalKeyManager: the id of the Hawk credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api_id: Option<String>,
    /// "LocalKeyManager", "KmsSymmetric", "Native" or "Vendor".
    pub(crate) key_configuration_type: String,
    /// What is wrong with the key service, where something is and it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_error: Option<String>,
    /// Which plugin it configures.
    pub(crate) provider: String,
    /// All of the provider's settings. No secrets.
    #[schema(value_type = Object)]
    pub(crate) configuration: Value,
    /// When it was made.
    pub(crate) date_created: String,
    /// What an administrator should know. Said when it is registered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
    /// Where it is.
    pub(crate) self_uri: String,
}

impl From<&KeyConfiguration> for RecordingEncryptionConfiguration {
    fn from(of: &KeyConfiguration) -> Self {
        let configuration: Value = serde_json::from_str(&of.config_json).unwrap_or_default();
        let text = |name: &str| Some(configuration.get(name)?.as_str()?.to_owned());
        Self {
            id: of.id.clone(),
            url: text("url").or_else(|| text("keyArn")),
            api_id: text("apiId"),
            key_configuration_type: type_of(&of.provider).to_owned(),
            last_error: None,
            provider: of.provider.to_string(),
            date_created: time(of.created_ms),
            warnings: Vec::new(),
            self_uri: format!("/api/v2/recording/keyconfigurations/{}", of.id),
            configuration,
        }
    }
}

/// A key pair whose private half its owner keeps.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LocalKeyInput {
    /// The id of the Local Key Manager's configuration.
    pub(crate) config_id: String,
    /// The public key: base64 of PKCS#1 RSAPublicKey or SubjectPublicKeyInfo, DER; RSA of 3072 bits
    /// or more.
    pub(crate) public_key: String,
    /// What the Local Key Manager calls it: a UUID.
    pub(crate) keypair_id: String,
}

/// Which KEK.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct KeyName {
    /// Which plugin holds it.
    pub(crate) provider: String,
    /// Its id.
    pub(crate) id: String,
}

/// A KEK.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EncryptionKey {
    /// Its id: "kek/3", or the owner's UUID.
    pub(crate) id: String,
    /// The same.
    pub(crate) name: String,
    /// When it became the current one.
    pub(crate) create_date: String,
    /// Its public key, base64.
    pub(crate) keydata_summary: String,
    /// The key service, where the private key lies at its owner's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) local_encryption_configuration: Option<RecordingEncryptionConfiguration>,
    /// "LocalKeyManager", "KmsSymmetric", "Native" or "Vendor".
    pub(crate) key_configuration_type: String,
    /// The KMS key that seals the private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kms_key_arn: Option<String>,
    /// Which plugin holds it.
    pub(crate) provider: String,
    /// How DEKs are wrapped with it.
    pub(crate) wrap_algorithm: String,
    /// "current", "previous", "disabled" or "retired".
    pub(crate) state: String,
    /// How many recordings can be opened with it alone, where keys are listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) recordings: Option<u64>,
    /// Where it is listed.
    pub(crate) self_uri: String,
}

impl EncryptionKey {
    /// A KEK, with the configuration that it was registered with.
    pub(crate) fn new(record: &KekRecord, configuration: Option<&KeyConfiguration>) -> Self {
        let kek = &record.kek;
        let kms_key = kek
            .attributes
            .iter()
            .find(|(name, _)| name == "kms-key-arn");
        Self {
            id: kek.id.to_string(),
            name: kek.id.to_string(),
            create_date: time(record.created_ms),
            keydata_summary: STANDARD.encode(&kek.public_key),
            local_encryption_configuration: configuration
                .filter(|configuration| configuration.provider.as_str() == LKM)
                .map(RecordingEncryptionConfiguration::from),
            key_configuration_type: type_of(&record.provider).to_owned(),
            kms_key_arn: kms_key.map(|(_, arn)| arn.clone()),
            provider: record.provider.to_string(),
            wrap_algorithm: kek.algorithm.clone(),
            state: record.state.as_str().to_owned(),
            recordings: None,
            self_uri: "/api/v2/recording/recordingkeys".to_owned(),
        }
    }
}

fn type_of(provider: &ProviderId) -> &'static str {
    match provider.as_str() {
        LKM => LOCAL_KEY_MANAGER,
        AWS_KMS => KMS_SYMMETRIC,
        MANAGED => NATIVE,
        _ => VENDOR,
    }
}

fn bad(detail: &str) -> Problem {
    Problem::new(Code::BadRequest, detail)
}

const LOCAL_KEY_MANAGER: &str = "LocalKeyManager";
const KMS_SYMMETRIC: &str = "KmsSymmetric";
const NATIVE: &str = "Native";
const VENDOR: &str = "Vendor";
const LKM: &str = "lkm";
const AWS_KMS: &str = "aws-kms";
const MANAGED: &str = "managed";
/// What the plugin `lkm` calls the Hawk credential's key.
const API_KEY: &str = "api-key";

#[cfg(test)]
mod tests {
    use super::*;

    fn new(json: &str) -> Result<NewConfiguration, Problem> {
        serde_json::from_str::<EncryptionConfigurationInput>(json)
            .unwrap()
            .into_new()
    }

    #[test]
    fn what_the_official_clients_send_becomes_a_configuration() {
        let lkm = new(
            r#"{"keyConfigurationType":"LocalKeyManager","url":"https://keys.example/decrypt",
                "apiId":"acme","apiKey":"1234","lastError":null,"selfUri":"/x",
                "configuration":{"padding":"oaep-sha256","url":"https://elsewhere.example"}}"#,
        )
        .unwrap_or_else(|problem| panic!("{problem:?}"));
        assert_eq!(lkm.provider.as_str(), "lkm");
        let json: Value = serde_json::from_str(&lkm.json).unwrap();
        let expected = serde_json::json!({
            "url": "https://keys.example/decrypt", "apiId": "acme", "padding": "oaep-sha256",
        });
        assert_eq!(json, expected, "no secret, and the API's own fields count");
        assert_eq!(lkm.secrets["api-key"].as_slice(), b"1234");

        let kms = new(r#"{"keyConfigurationType":"KmsSymmetric","url":"arn:x"}"#);
        let kms = kms.unwrap_or_else(|problem| panic!("{problem:?}"));
        assert_eq!(kms.provider.as_str(), "aws-kms");
        assert_eq!(kms.json, r#"{"keyArn":"arn:x"}"#);
        let native = new(r#"{"keyConfigurationType":"Native"}"#);
        let native = native.unwrap_or_else(|problem| panic!("{problem:?}"));
        assert_eq!(
            (native.provider.as_str(), native.json.as_str()),
            ("managed", "{}")
        );
    }

    #[test]
    fn other_types_are_refused_in_words() {
        for json in [
            r#"{"keyConfigurationType":"None"}"#,
            r#"{"keyConfigurationType":"localkeymanager"}"#,
            r#"{"keyConfigurationType":"Vendor"}"#,
            r#"{"keyConfigurationType":"Vendor","provider":"a b"}"#,
        ] {
            let problem = new(json).err().unwrap_or_else(|| panic!("{json}"));
            assert_eq!(problem.code(), Code::BadRequest, "{json}");
        }
    }
}
