//! Certificates of destruction: what was destroyed, when, by whose word, how; and what is not done,
//! because it is not Keyreel's to do. A DSSE envelope (github.com/secure-systems-lab/dsse, version 1)
//! around JSON, signed with Ed25519 (RFC 8032) by the key that signs the audit log:
//!
//! ```text
//! signed text = "DSSEv1" SP len(type) SP type SP len(payload) SP payload        lengths in decimal
//! envelope    = {"payloadType": type, "payload": base64, "signatures": [{"keyid": …, "sig": base64}]}
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyreel_format::TenantId;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::audit_chain::{AuditKey, AuditPublicKey};
use crate::catalogue::{Destruction, DestructionScope, DestructionState, DoomedKey};

const TYPE: &str = "application/vnd.keyreel.destruction+json";

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// The destruction's id.
    pub id: String,
    /// Whose data it was.
    pub tenant: TenantId,
    /// What was destroyed.
    pub scope: DestructionScope,
    /// Why.
    pub reason: String,
    /// Who asked for it.
    pub requested_by: String,
    /// When, RFC 3339.
    pub requested_at: String,
    /// Who else confirmed it, where two people are needed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub confirmed_by: Option<String>,
    /// When it was done, RFC 3339.
    pub completed_at: String,
    /// How: NIST SP 800-88.
    pub method: String,
    /// The keystore's epoch that began with it: copies of the keystore of earlier ones open nothing.
    pub keystore_epoch: u64,
    /// The keys that were destroyed or given up.
    pub keys: Vec<DoomedKey>,
    /// How many recordings can never be opened again.
    pub recordings: u64,
    /// What this certificate does not claim, and who has to do it.
    pub remaining: Vec<String>,
}

/// Signs certificates.
pub struct CertificateKey(AuditKey);

impl CertificateKey {
    /// With the key that signs the audit log.
    #[must_use]
    pub fn new(key: AuditKey) -> Self {
        Self(key)
    }

    /// A certificate's envelope.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn sign(&self, certificate: &Certificate) -> Result<String, Error> {
        let failed = |error: serde_json::Error| Error::Backend {
            source: error.into(),
        };
        let payload = serde_json::to_vec(certificate).map_err(failed)?;
        let envelope = Envelope {
            payload_type: TYPE.to_owned(),
            signatures: vec![Signature {
                keyid: self.0.public().id().to_owned(),
                sig: STANDARD.encode(self.0.sign_message(&signed_text(&payload))),
            }],
            payload: STANDARD.encode(payload),
        };
        serde_json::to_string(&envelope).map_err(failed)
    }
}

impl CertificateKey {
    /// What vouches for a request, and for who confirmed it.
    pub(super) fn seal(&self, destruction: &Destruction) -> Vec<u8> {
        self.0.sign_message(&sealed_text(destruction))
    }

    /// Whether this key sealed it.
    pub(super) fn sealed(&self, destruction: &Destruction) -> bool {
        let text = sealed_text(destruction);
        self.0.public().signed_message(&text, &destruction.seal)
    }
}

/// Length before each field, so that none runs into the next.
fn sealed_text(destruction: &Destruction) -> Vec<u8> {
    let scope = serde_json::to_string(&destruction.scope).unwrap_or_default();
    let fields = [
        destruction.id.as_str(),
        destruction.tenant.as_str(),
        &scope,
        &destruction.reason,
        &destruction.lost.to_string(),
        &destruction.requested_by,
        &destruction.requested_ms.to_string(),
        destruction.decided_by.as_deref().unwrap_or(""),
        &destruction.decided_ms.unwrap_or(0).to_string(),
        // That it was called off does not pass for a confirmation.
        match destruction.state {
            DestructionState::Cancelled => "cancelled",
            _ => "",
        },
    ];
    let mut text = b"keyreel/v1 destruction request\0".to_vec();
    for field in fields {
        text.extend_from_slice(&(field.len() as u64).to_be_bytes());
        text.extend_from_slice(field.as_bytes());
    }
    text
}

/// What an envelope says, if `key` signed it.
///
/// # Errors
/// It is no certificate, or another key's.
pub fn verify_certificate(envelope: &str, key: &AuditPublicKey) -> Result<Certificate, Error> {
    let invalid = |message: &str| Error::invalid("certificate", message);
    let envelope: Envelope = serde_json::from_str(envelope)
        .map_err(|error| Error::invalid("certificate", error.to_string()))?;
    if envelope.payload_type != TYPE {
        return Err(invalid("it is of another type"));
    }
    let decode = |text: &str| STANDARD.decode(text);
    let payload = decode(&envelope.payload).map_err(|_| invalid("its payload is no base64"))?;
    let text = signed_text(&payload);
    let signed = envelope.signatures.iter().any(|signature| {
        decode(&signature.sig).is_ok_and(|signature| key.signed_message(&text, &signature))
    });
    if !signed {
        return Err(invalid("this key did not sign it"));
    }
    serde_json::from_slice(&payload)
        .map_err(|error| Error::invalid("certificate", error.to_string()))
}

/// DSSE's pre-authentication encoding.
fn signed_text(payload: &[u8]) -> Vec<u8> {
    let mut text = format!("DSSEv1 {} {TYPE} {} ", TYPE.len(), payload.len()).into_bytes();
    text.extend_from_slice(payload);
    text
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload_type: String,
    payload: String,
    signatures: Vec<Signature>,
}

#[derive(Serialize, Deserialize)]
struct Signature {
    keyid: String,
    sig: String,
}
