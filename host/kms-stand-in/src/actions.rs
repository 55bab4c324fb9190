//! The actions of KMS that Keyreel needs, and those by which its key is taken away and given back.
//! Not for: signatures (see `signature`): whoever comes here is known.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Method};
use keyreel_format::WrapAlgorithm;
use keyreel_format::wrap::PrivateKey;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::Refusal;
use crate::key::{Context, KeyState, StoredKey};

/// What `Encrypt` takes.
const MAX_PLAINTEXT: usize = 4096;
/// What `Decrypt` takes.
const MAX_CIPHERTEXT: usize = 6144;

pub(crate) fn perform(
    key: &mut StoredKey,
    method: &Method,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Value, Refusal> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_json = header("content-type") == Some("application/x-amz-json-1.1");
    let action = header("x-amz-target").and_then(|target| target.strip_prefix("TrentService."));
    let (true, true, Some(action)) = (method == Method::POST, is_json, action) else {
        return Err(unknown());
    };
    match action {
        "DescribeKey" => describe(key, &parse(body)?),
        "GenerateDataKeyPairWithoutPlaintext" => generate(key, &parse(body)?),
        "Encrypt" => encrypt(key, &parse(body)?),
        "Decrypt" => decrypt(key, &parse(body)?),
        "DisableKey" => set_state(key, &parse(body)?, KeyState::Disabled),
        "EnableKey" => set_state(key, &parse(body)?, KeyState::Enabled),
        "ScheduleKeyDeletion" => set_state(key, &parse(body)?, KeyState::PendingDeletion),
        "CancelKeyDeletion" => set_state(key, &parse(body)?, KeyState::Disabled),
        _ => Err(unknown()),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct KeyRequest {
    key_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GenerateRequest {
    key_id: String,
    key_pair_spec: String,
    #[serde(default)]
    encryption_context: Context,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EncryptRequest {
    key_id: String,
    plaintext: String,
    #[serde(default)]
    encryption_context: Context,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DecryptRequest {
    key_id: Option<String>,
    ciphertext_blob: String,
    #[serde(default)]
    encryption_context: Context,
}

fn describe(key: &StoredKey, request: &KeyRequest) -> Result<Value, Refusal> {
    known(key, &request.key_id)?;
    let state = key.state();
    Ok(json!({"KeyMetadata": {
        "AWSAccountId": "000000000000",
        "KeyId": key.id(),
        "Arn": key.arn(),
        "CreationDate": key.created_ms() / 1000,
        "Description": "The key of a stand-in for AWS KMS",
        "Enabled": state == KeyState::Enabled,
        "KeyState": state,
        "KeyUsage": "ENCRYPT_DECRYPT",
        "KeySpec": "SYMMETRIC_DEFAULT",
        "KeyManager": "CUSTOMER",
        "Origin": "AWS_KMS",
        "MultiRegion": false,
        "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
    }}))
}

fn generate(key: &StoredKey, request: &GenerateRequest) -> Result<Value, Refusal> {
    usable(key, &request.key_id)?;
    if request.key_pair_spec != "RSA_3072" {
        return Err(Refusal::new(
            "ValidationException",
            "This stand-in makes pairs of KeyPairSpec RSA_3072 only",
        ));
    }
    let pair = PrivateKey::generate(WrapAlgorithm::RsaOaepSha256);
    let pair = pair.map_err(|_| Refusal::internal())?;
    let public_key = pair.public_key().map_err(|_| Refusal::internal())?;
    let private_key = pair.secret_bytes().map_err(|_| Refusal::internal())?;
    let sealed = key.seal(&private_key, &request.encryption_context);
    let sealed = sealed.ok_or_else(Refusal::internal)?;
    Ok(json!({
        "KeyId": key.arn(),
        "KeyPairSpec": "RSA_3072",
        "PublicKey": STANDARD.encode(public_key),
        "PrivateKeyCiphertextBlob": STANDARD.encode(sealed),
    }))
}

fn encrypt(key: &StoredKey, request: &EncryptRequest) -> Result<Value, Refusal> {
    usable(key, &request.key_id)?;
    let plaintext = zeroize::Zeroizing::new(blob(&request.plaintext, MAX_PLAINTEXT)?);
    let sealed = key.seal(&plaintext, &request.encryption_context);
    Ok(json!({
        "KeyId": key.arn(),
        "CiphertextBlob": STANDARD.encode(sealed.ok_or_else(Refusal::internal)?),
        "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
    }))
}

fn decrypt(key: &StoredKey, request: &DecryptRequest) -> Result<Value, Refusal> {
    // A symmetric ciphertext names its key.
    let arn = key.arn();
    usable(key, request.key_id.as_deref().unwrap_or(&arn))?;
    let blob = blob(&request.ciphertext_blob, MAX_CIPHERTEXT)?;
    let opened = key.open_blob(&blob, &request.encryption_context);
    let opened = opened.ok_or_else(|| Refusal::new("InvalidCiphertextException", ""))?;
    Ok(json!({
        "KeyId": arn,
        "Plaintext": STANDARD.encode(&*opened),
        "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
    }))
}

fn set_state(key: &mut StoredKey, request: &KeyRequest, state: KeyState) -> Result<Value, Refusal> {
    // KMS changes keys under their own names only, not under an alias.
    if request.key_id.contains("alias/") {
        return Err(Refusal::new(
            "InvalidArnException",
            "Expected a key id or a key ARN",
        ));
    }
    known(key, &request.key_id)?;
    key.set_state(state).map_err(|error| {
        tracing::warn!(%error, "the KMS stand-in cannot keep its key's state");
        Refusal::internal()
    })?;
    tracing::info!(?state, "the KMS stand-in's key");
    Ok(match state {
        KeyState::PendingDeletion => json!({"KeyId": key.arn(), "KeyState": state}),
        _ => json!({}),
    })
}

fn known(key: &StoredKey, name: &str) -> Result<(), Refusal> {
    if key.is_called(name) {
        return Ok(());
    }
    let message = format!("Key or alias {name:?} is not found");
    Err(Refusal::new("NotFoundException", message))
}

fn usable(key: &StoredKey, name: &str) -> Result<(), Refusal> {
    known(key, name)?;
    let arn = key.arn();
    match key.state() {
        KeyState::Enabled => Ok(()),
        KeyState::Disabled => Err(Refusal::new(
            "DisabledException",
            format!("{arn} is disabled."),
        )),
        KeyState::PendingDeletion => Err(Refusal::new(
            "KMSInvalidStateException",
            format!("{arn} is pending deletion."),
        )),
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|_| {
        Refusal::new(
            "SerializationException",
            "The body is not the JSON of this action",
        )
    })
}

fn blob(base64: &str, max: usize) -> Result<Vec<u8>, Refusal> {
    match STANDARD.decode(base64) {
        Ok(bytes) if (1..=max).contains(&bytes.len()) => Ok(bytes),
        _ => Err(Refusal::new(
            "ValidationException",
            format!("Expected base64 of 1 to {max} bytes"),
        )),
    }
}

fn unknown() -> Refusal {
    Refusal::new(
        "UnknownOperationException",
        "This stand-in does not know the action",
    )
}
