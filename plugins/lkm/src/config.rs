//! A tenant's configuration of its Local Key Manager.
//! Not for: its API key: that is a secret, which the host keeps.

use keyreel_plugin_sdk::Error;
use keyreel_plugin_sdk::http::{Scheme, Url};

/// The secret's name.
pub(crate) const API_KEY: &str = "api-key";

pub(crate) const SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "Local Key Manager",
  "description": "An HTTPS service of yours keeps the private keys. Keyreel sends it a recording's encrypted key and gets the key back.",
  "type": "object",
  "required": ["url", "apiId"],
  "properties": {
    "url": {
      "type": "string", "format": "uri", "maxLength": 2048,
      "title": "Decrypt URL",
      "description": "https://…/key-management/v1/decrypt"
    },
    "apiId": {
      "type": "string", "minLength": 1, "maxLength": 256,
      "title": "API id",
      "description": "The id of the Hawk credential that the service issued. Its key is the API key."
    },
    "padding": {
      "type": "string", "enum": ["oaep-sha1", "oaep-sha256"], "default": "oaep-sha1",
      "title": "RSA padding",
      "description": "What the service decrypts with. The sample service knows oaep-sha1 only."
    },
    "payloadHash": {
      "type": "boolean", "default": false,
      "title": "Sign the request's body",
      "description": "Hawk's payload hash, and the URL's query in the signature. The sample service refuses it."
    },
    "bindRecording": {
      "type": "boolean", "default": false,
      "title": "Name the recording",
      "description": "Sends the recording's id, signed, so that the service can decide by it. The sample service refuses it."
    }
  },
  "additionalProperties": false
}"#;

/// As the administrator writes it.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    url: String,
    api_id: String,
    #[serde(default)]
    payload_hash: bool,
    #[serde(default)]
    padding: Padding,
    #[serde(default)]
    bind_recording: bool,
}

/// What new DEKs are wrapped with; the host reads it when the key pair is registered.
#[derive(Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
pub(crate) enum Padding {
    #[default]
    #[serde(rename = "oaep-sha1")]
    OaepSha1,
    #[serde(rename = "oaep-sha256")]
    OaepSha256,
}

/// As it is used.
pub(crate) struct Config {
    pub(crate) url: Url,
    pub(crate) api_id: String,
    pub(crate) payload_hash: bool,
    pub(crate) padding: Padding,
    pub(crate) bind_recording: bool,
}

impl Config {
    pub(crate) fn parse(config: &str) -> Result<Self, Error> {
        let written: Written = serde_json::from_str(config)
            .map_err(|error| Error::config("lkm.config", format!("the configuration: {error}")))?;
        let url = Url::parse(&written.url).map_err(|why| {
            Error::config("lkm.url", format!("the Local Key Manager's URL {why}"))
        })?;
        if url.scheme() == Scheme::Http && !url.is_loopback() {
            return Err(Error::config(
                "lkm.url-without-tls",
                "the Local Key Manager's URL must begin with https://: its answers are keys",
            ));
        }
        if !is_hawk_text(&written.api_id) {
            return Err(Error::config(
                "lkm.api-id",
                "apiId must be 1 to 256 printable ASCII characters without quote and backslash",
            ));
        }
        Ok(Self {
            url,
            api_id: written.api_id,
            payload_hash: written.payload_hash,
            padding: written.padding,
            bind_recording: written.bind_recording,
        })
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.padding == Padding::OaepSha1 {
            warnings.push(
                "RSA-OAEP with SHA-1 is legacy: it is what the sample service speaks. Prefer \
                 oaep-sha256 where the Local Key Manager knows it."
                    .to_owned(),
            );
        }
        if self.url.scheme() == Scheme::Http {
            warnings.push("Keys travel without TLS: for tests on one machine only.".to_owned());
        }
        if self.url.query().is_some() && !self.payload_hash {
            warnings.push(
                "The URL's query is sent but not signed, as the sample service wants it."
                    .to_owned(),
            );
        }
        warnings
    }
}

/// What fits between the quotes of a Hawk header.
fn is_hawk_text(text: &str) -> bool {
    (1..=256).contains(&text.len())
        && text
            .bytes()
            .all(|byte| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(config: &str) -> Result<Config, Error> {
        Config::parse(config)
    }

    #[test]
    fn defaults_are_the_sample_services_ways() {
        let config =
            parse(r#"{"url":"https://keys.example/key-management/v1/decrypt","apiId":"acme-01"}"#)
                .unwrap_or_else(|error| panic!("{}", error.message));
        assert!(!config.payload_hash && !config.bind_recording);
        assert!(config.padding == Padding::OaepSha1);
        assert_eq!(config.url.origin(), "https://keys.example");
        assert_eq!(config.warnings().len(), 1);
    }

    #[test]
    fn says_what_to_change() {
        for (config, code) in [
            ("{}", "lkm.config"),
            ("[]", "lkm.config"),
            (
                r#"{"url":"https://a.example","apiId":"x","apiKey":"secret"}"#,
                "lkm.config",
            ),
            (
                r#"{"url":"https://a.example","apiId":"x","padding":"pkcs1"}"#,
                "lkm.config",
            ),
            (
                r#"{"url":"http://a.example","apiId":"x"}"#,
                "lkm.url-without-tls",
            ),
            (r#"{"url":"https://u:p@a.example","apiId":"x"}"#, "lkm.url"),
            (r#"{"url":"https://a.example/#f","apiId":"x"}"#, "lkm.url"),
            (r#"{"url":"https://a.example","apiId":""}"#, "lkm.api-id"),
            (
                r#"{"url":"https://a.example","apiId":"a\"b"}"#,
                "lkm.api-id",
            ),
            (
                r#"{"url":"https://a.example","apiId":"a\nb"}"#,
                "lkm.api-id",
            ),
        ] {
            let error = parse(config).err().unwrap_or_else(|| panic!("{config}"));
            assert_eq!(error.code, code, "{config}");
            assert!(!error.message.contains("secret"), "{}", error.message);
        }
        assert!(parse(r#"{"url":"http://127.0.0.1:9000/x","apiId":"x"}"#).is_ok());
    }

    #[test]
    fn the_schema_is_json_and_names_every_setting() {
        let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
        let properties = schema["properties"].as_object().unwrap();
        for name in ["url", "apiId", "payloadHash", "padding", "bindRecording"] {
            assert!(properties.contains_key(name), "{name}");
        }
        assert_eq!(properties.len(), 5);
    }
}
