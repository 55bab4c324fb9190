//! A tenant's configuration: which KMS key, reached where, bound to which encryption context.
//! Not for: credentials: the host signs requests, and no plugin ever sees a credential.

use keyreel_plugin_sdk::Error;
use keyreel_plugin_sdk::http::{Scheme, Url};
use serde::Deserialize;

/// What the admin page draws its form from.
pub(crate) const SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "AWS KMS",
  "description": "A symmetric key in AWS KMS seals the private key. Whoever may not use the KMS key cannot play.",
  "type": "object",
  "required": ["keyArn"],
  "properties": {
    "keyArn": {
      "title": "Key or alias ARN",
      "description": "arn:aws:kms:<region>:<account>:alias/<name> or …:key/<id>, a symmetric encryption key",
      "type": "string",
      "pattern": "^arn:aws(-cn|-us-gov)?:kms:[a-z0-9-]+:[0-9]{12}:(key|alias)/[A-Za-z0-9/_-]+$",
      "maxLength": 512
    },
    "contextKey": {
      "title": "Name in the encryption context",
      "description": "Under this name every request carries the organisation's id. The key's policy can ask for it.",
      "type": "string",
      "default": "genesys-cloud-organization-id",
      "minLength": 1,
      "maxLength": 128
    },
    "endpoint": {
      "title": "Endpoint",
      "description": "Another address of KMS: a FIPS or VPC endpoint, or a stand-in. By default that of the key's region.",
      "type": "string",
      "format": "uri"
    },
    "minting": {
      "title": "How key pairs are made",
      "description": "data-key-pair: KMS makes them. encrypt: Keyreel makes them and KMS encrypts them, as keys in custom key stores need it.",
      "type": "string",
      "enum": ["data-key-pair", "encrypt"],
      "default": "data-key-pair"
    }
  },
  "additionalProperties": false
}"#;

const DEFAULT_CONTEXT_KEY: &str = "genesys-cloud-organization-id";

/// How a KEK pair comes into being.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Minting {
    /// KMS makes it: `GenerateDataKeyPairWithoutPlaintext`.
    #[default]
    DataKeyPair,
    /// The host makes it and KMS seals it: `Encrypt`.
    Encrypt,
}

/// A configuration that makes sense.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) key: KeyArn,
    pub(crate) context_key: String,
    /// An origin: nothing behind its authority.
    pub(crate) endpoint: Url,
    pub(crate) minting: Minting,
}

/// The ARN of a key or of an alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyArn {
    text: String,
    region: String,
    pub(crate) is_alias: bool,
    suffix: &'static str,
}

impl Config {
    /// Reads a configuration.
    pub(crate) fn parse(json: &str) -> Result<Self, Error> {
        let given: Given = serde_json::from_str(json)
            .map_err(|error| config("aws-kms.bad-configuration", error.to_string()))?;
        let key = KeyArn::parse(&given.key_arn)?;
        let context_key = given
            .context_key
            .unwrap_or_else(|| DEFAULT_CONTEXT_KEY.to_owned());
        // AWS's own names in a context would be refused by KMS, with less of an explanation.
        let reserved = context_key.to_ascii_lowercase().starts_with("aws:");
        let printable = context_key.bytes().all(|byte| byte.is_ascii_graphic());
        if !(1..=128).contains(&context_key.len()) || !printable || reserved {
            return Err(config(
                "aws-kms.bad-context-key",
                "contextKey: expected 1 to 128 printable characters, not beginning with \"aws:\"",
            ));
        }
        let endpoint = match given.endpoint.as_deref() {
            Some(endpoint) => origin(endpoint)?,
            None => origin(&key.endpoint())?,
        };
        Ok(Self {
            key,
            context_key,
            endpoint,
            minting: given.minting,
        })
    }

    /// What an administrator should know before saving it.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.endpoint.scheme() == Scheme::Http {
            warnings.push(
                "The endpoint is not encrypted (http): for a stand-in on this machine only."
                    .to_owned(),
            );
        }
        warnings
    }
}

impl KeyArn {
    /// Reads an ARN.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |what: &str| {
            config(
                "aws-kms.bad-key-arn",
                format!(
                    "keyArn: {what}; expected arn:aws:kms:<region>:<account>:key/<id> or \
                     …:alias/<name>"
                ),
            )
        };
        let mut parts = text.splitn(6, ':');
        let mut part = || parts.next().unwrap_or_default();
        let (arn, partition, service) = (part(), part(), part());
        let (region, account, resource) = (part(), part(), part());
        if arn != "arn" || service != "kms" {
            return Err(wrong("not the ARN of a KMS key"));
        }
        let suffix = match partition {
            "aws" | "aws-us-gov" => "amazonaws.com",
            "aws-cn" => "amazonaws.com.cn",
            _ => return Err(wrong("the partition is not aws, aws-cn or aws-us-gov")),
        };
        // It becomes a part of a host name and of a header: nothing else may be in it.
        let is_region =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=32).contains(&region.len())
            || !region.bytes().all(is_region)
            || region.starts_with('-')
            || region.ends_with('-')
        {
            return Err(wrong("the region is not one"));
        }
        if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong("the account is not 12 digits"));
        }
        let (kind, name) = resource.split_once('/').unwrap_or((resource, ""));
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-".contains(&byte);
        if !matches!(kind, "key" | "alias")
            || !(1..=256).contains(&name.len())
            || !name.bytes().all(is_name)
        {
            return Err(wrong("it names neither a key nor an alias"));
        }
        Ok(Self {
            text: text.to_owned(),
            region: region.to_owned(),
            is_alias: kind == "alias",
            suffix,
        })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn region(&self) -> &str {
        &self.region
    }

    fn endpoint(&self) -> String {
        format!("https://kms.{}.{}", self.region, self.suffix)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Given {
    key_arn: String,
    context_key: Option<String>,
    endpoint: Option<String>,
    #[serde(default)]
    minting: Minting,
}

/// An endpoint is an origin: requests go to its root.
fn origin(endpoint: &str) -> Result<Url, Error> {
    let wrong = |why: &str| {
        let message =
            format!("endpoint: the URL {why}; expected https://host or https://host:port");
        config("aws-kms.bad-endpoint", message)
    };
    let url = Url::parse(endpoint).map_err(|why| wrong(&why.to_string()))?;
    if url.path_and_query() != "/" {
        return Err(wrong("has a path or a query"));
    }
    Ok(url)
}

fn config(code: &str, message: impl Into<String>) -> Error {
    Error::config(code, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

    fn parse(json: &str) -> Result<Config, Error> {
        Config::parse(json)
    }

    fn with(name: &str, value: &str) -> Result<Config, Error> {
        parse(&format!(r#"{{"keyArn":"{KEY}","{name}":"{value}"}}"#))
    }

    #[test]
    fn a_key_arn_is_enough() {
        let config = parse(&format!(r#"{{"keyArn":"{KEY}"}}"#)).unwrap();
        assert_eq!(
            config.endpoint.origin(),
            "https://kms.eu-central-1.amazonaws.com"
        );
        assert_eq!(config.context_key, "genesys-cloud-organization-id");
        assert_eq!(config.minting, Minting::DataKeyPair);
        assert_eq!(config.key.region(), "eu-central-1");
        assert!(!config.key.is_alias && config.warnings().is_empty());
    }

    #[test]
    fn each_partition_has_its_endpoint() {
        for (arn, endpoint) in [
            (
                "arn:aws-cn:kms:cn-north-1:111122223333:alias/keyreel",
                "https://kms.cn-north-1.amazonaws.com.cn",
            ),
            (
                "arn:aws-us-gov:kms:us-gov-west-1:111122223333:alias/a/b_c-d",
                "https://kms.us-gov-west-1.amazonaws.com",
            ),
        ] {
            let config = parse(&format!(r#"{{"keyArn":"{arn}"}}"#)).unwrap();
            assert_eq!(config.endpoint.origin(), endpoint);
            assert!(config.key.is_alias);
        }
    }

    #[test]
    fn an_endpoint_is_an_origin() {
        let config = with("endpoint", "https://KMS-fips.us-east-1.amazonaws.com/").unwrap();
        assert_eq!(
            config.endpoint.origin(),
            "https://kms-fips.us-east-1.amazonaws.com"
        );
        let config = with("endpoint", "http://127.0.0.1:4566").unwrap();
        assert_eq!(config.warnings().len(), 1);
        for bad in [
            "",
            "kms.example",
            "ftp://kms.example",
            "https://",
            "https://kms.example/path",
            "https://kms.example?x",
            "https://kms.example#x",
            "https://user@kms.example",
            "https://kms.example\\\\evil",
            "https://kms.exämple",
        ] {
            let error = with("endpoint", bad).unwrap_err();
            assert_eq!(error.code, "aws-kms.bad-endpoint", "{bad}");
        }
    }

    #[test]
    fn arns_that_are_none() {
        for bad in [
            "",
            "alias/keyreel",
            "1234abcd-12ab-34cd-56ef-1234567890ab",
            "arn:aws:s3:eu-central-1:111122223333:key/x",
            "arn:aws-iso:kms:us-iso-east-1:111122223333:key/x",
            "arn:aws:kms::111122223333:key/x",
            "arn:aws:kms:eu.evil.example/:111122223333:key/x",
            "arn:aws:kms:-eu:111122223333:key/x",
            "arn:aws:kms:eu-central-1:1111:key/x",
            "arn:aws:kms:eu-central-1:111122223333:grant/x",
            "arn:aws:kms:eu-central-1:111122223333:key/",
            "arn:aws:kms:eu-central-1:111122223333:key/x:y",
        ] {
            let error = KeyArn::parse(bad).unwrap_err();
            assert_eq!(error.code, "aws-kms.bad-key-arn", "{bad}");
        }
    }

    #[test]
    fn what_is_unknown_or_reserved_is_told() {
        for (name, value, said) in [
            ("keyarn", "x", "keyarn"),
            ("contextKey", "", "contextKey"),
            ("contextKey", "aws:x", "aws:"),
            ("minting", "import", "import"),
        ] {
            let error = with(name, value).unwrap_err();
            assert!(error.message.contains(said), "{}", error.message);
        }
        assert!(parse("{}").unwrap_err().message.contains("keyArn"));
        assert!(parse("").is_err());
    }

    #[test]
    fn the_schema_is_json() {
        let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
        assert_eq!(
            schema["properties"]["contextKey"]["default"],
            DEFAULT_CONTEXT_KEY
        );
    }
}
