//! What goes to KMS and what comes back: the JSON 1.1 protocol, `X-Amz-Target:
//! TrentService.<action>`, bytes in base64.
//! Not for: sending (see `kms`), errors (see `refusal`).

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyreel_plugin_sdk::Error;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The encryption context: KMS authenticates it and its log shows it.
pub(crate) type Context<'a> = BTreeMap<&'a str, &'a str>;

/// A request.
pub(crate) trait Action: Serialize {
    const NAME: &'static str;
}

macro_rules! actions {
    ($($type:ident)*) => {
        $(impl Action for $type<'_> { const NAME: &'static str = stringify!($type); })*
    };
}
actions! { DescribeKey GenerateDataKeyPairWithoutPlaintext Encrypt Decrypt }

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeKey<'a> {
    pub(crate) key_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GenerateDataKeyPairWithoutPlaintext<'a> {
    pub(crate) key_id: &'a str,
    pub(crate) key_pair_spec: &'a str,
    pub(crate) encryption_context: &'a Context<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Encrypt<'a> {
    pub(crate) key_id: &'a str,
    /// A placeholder: the host puts the key in its place.
    pub(crate) plaintext: &'a str,
    pub(crate) encryption_context: &'a Context<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Decrypt<'a> {
    pub(crate) key_id: &'a str,
    pub(crate) ciphertext_blob: &'a str,
    pub(crate) encryption_context: &'a Context<'a>,
}

/// A private key, sealed, and by which key. After an alias: the key it stood for then.
pub(crate) struct SealedKey {
    pub(crate) key_arn: String,
    pub(crate) blob: Vec<u8>,
}

/// A key pair of KMS's making.
pub(crate) struct KeyPair {
    /// SubjectPublicKeyInfo DER.
    pub(crate) public_key: Vec<u8>,
    pub(crate) private_key: SealedKey,
}

pub(crate) fn key_pair(body: &[u8]) -> Result<KeyPair, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        key_id: String,
        public_key: String,
        private_key_ciphertext_blob: String,
    }
    let answer: Answer = json(body)?;
    Ok(KeyPair {
        public_key: bytes(&answer.public_key)?,
        private_key: SealedKey {
            key_arn: answer.key_id,
            blob: bytes(&answer.private_key_ciphertext_blob)?,
        },
    })
}

pub(crate) fn encrypted(body: &[u8]) -> Result<SealedKey, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        key_id: String,
        ciphertext_blob: String,
    }
    let answer: Answer = json(body)?;
    Ok(SealedKey {
        key_arn: answer.key_id,
        blob: bytes(&answer.ciphertext_blob)?,
    })
}

/// The private key in KMS's answer, if it was `key_arn` that opened it.
pub(crate) fn decrypted(body: &[u8], key_arn: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    /// Borrowed, so that the key is not copied on the way to its decoding.
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer<'a> {
        #[serde(borrow)]
        key_id: Cow<'a, str>,
        #[serde(borrow)]
        plaintext: Cow<'a, str>,
    }
    let answer: Answer<'_> = json(body)?;
    if answer.key_id != key_arn {
        return Err(malformed("it names another key than was asked for"));
    }
    bytes(&answer.plaintext).map(Zeroizing::new)
}

/// What `DescribeKey` says of a key.
pub(crate) struct Metadata {
    pub(crate) arn: String,
    pub(crate) key_state: String,
    pub(crate) key_usage: Option<String>,
    pub(crate) key_spec: Option<String>,
}

pub(crate) fn described(body: &[u8]) -> Result<Metadata, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        key_metadata: serde_json::Map<String, serde_json::Value>,
    }
    let answer: Answer = json(body)?;
    let text = |name: &str| {
        let value = answer
            .key_metadata
            .get(name)
            .and_then(|value| value.as_str());
        value.map(str::to_owned)
    };
    let required = |name: &str| text(name).ok_or_else(|| malformed("fields are missing"));
    Ok(Metadata {
        arn: required("Arn")?,
        key_state: required("KeyState")?,
        key_usage: text("KeyUsage"),
        key_spec: text("KeySpec").or_else(|| text("CustomerMasterKeySpec")),
    })
}

pub(crate) fn blob(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

fn json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Error> {
    // serde's text may quote the body.
    serde_json::from_slice(body).map_err(|_| malformed("it is not the JSON that is expected"))
}

fn bytes(base64: &str) -> Result<Vec<u8>, Error> {
    match STANDARD.decode(base64) {
        Ok(bytes) if !bytes.is_empty() => Ok(bytes),
        _ => Err(malformed("a field is not base64, or is empty")),
    }
}

fn malformed(what: &str) -> Error {
    Error::internal(
        "aws.malformed-answer",
        format!("AWS KMS's answer makes no sense: {what}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_as_kms_documents_them() {
        let context = Context::from([("genesys-cloud-organization-id", "acme")]);
        let request = Decrypt {
            key_id: "arn",
            ciphertext_blob: "AQI=",
            encryption_context: &context,
        };
        assert_eq!(
            serde_json::to_value(&request).unwrap(),
            serde_json::json!({
                "KeyId": "arn", "CiphertextBlob": "AQI=",
                "EncryptionContext": {"genesys-cloud-organization-id": "acme"},
            })
        );
        assert_eq!(<Decrypt<'_> as Action>::NAME, "Decrypt");
        let request = GenerateDataKeyPairWithoutPlaintext {
            key_id: "arn",
            key_pair_spec: "RSA_3072",
            encryption_context: &context,
        };
        assert_eq!(
            serde_json::to_value(&request).unwrap()["KeyPairSpec"],
            "RSA_3072"
        );
    }

    #[test]
    fn answers_are_read() {
        let body =
            br#"{"KeyId":"arn","Plaintext":"AQID","EncryptionAlgorithm":"SYMMETRIC_DEFAULT"}"#;
        assert_eq!(*decrypted(body, "arn").unwrap(), [1, 2, 3]);
        let body = br#"{"KeyId":"arn","CiphertextBlob":"AQ\/D"}"#;
        assert_eq!(encrypted(body).unwrap().blob, [1, 15, 195]);
        let body = br#"{"KeyId":"arn","PublicKey":"AQ==","PrivateKeyCiphertextBlob":"Ag=="}"#;
        let pair = key_pair(body).unwrap();
        assert_eq!((pair.public_key, pair.private_key.blob), (vec![1], vec![2]));
        let body =
            br#"{"KeyMetadata":{"Arn":"arn","KeyState":"Enabled","KeyUsage":"ENCRYPT_DECRYPT",
            "CustomerMasterKeySpec":"SYMMETRIC_DEFAULT","CreationDate":1.5,"Enabled":true}}"#;
        let metadata = described(body).unwrap();
        assert_eq!(metadata.key_spec.as_deref(), Some("SYMMETRIC_DEFAULT"));
    }

    #[test]
    fn answers_that_are_none() {
        for body in [
            "",
            "null",
            "[]",
            "{}",
            "<html>",
            r#"{"KeyId":"arn"}"#,
            r#"{"KeyId":"arn","Plaintext":null}"#,
            r#"{"KeyId":"arn","Plaintext":""}"#,
            r#"{"KeyId":"arn","Plaintext":7}"#,
            r#"{"KeyId":"arn","Plaintext":"AQI"}"#,
            r#"{"KeyId":"another","Plaintext":"AQID"}"#,
            r#"{"KeyId":"arn","Plaintext":"AQID""#,
        ] {
            let error = decrypted(body.as_bytes(), "arn").unwrap_err();
            assert_eq!(error.code, "aws.malformed-answer", "{body}");
            assert!(!error.message.contains("AQI"), "{}", error.message);
        }
    }
}
