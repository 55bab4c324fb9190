//! `[tls]`: certificates, versions, cipher suites. What is not said is rustls' own choice, which
//! is TLS 1.2 and 1.3 with forward secrecy and authenticated ciphers only.

use std::path::PathBuf;

/// How connections are protected.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// The certificate chain, PEM, the server's own first. Read again when it changes.
    pub certificate_file: PathBuf,
    /// Its private key, PEM (PKCS #8, PKCS #1 or SEC1). Read again when it changes.
    pub key_file: PathBuf,
    /// Protocol versions; default both.
    #[serde(default)]
    pub versions: Option<Vec<TlsVersion>>,
    /// Cipher suites, most preferred first; default all that rustls has.
    #[serde(default)]
    pub cipher_suites: Option<Vec<CipherSuite>>,
    /// Key exchange groups, most preferred first; default all that rustls prefers.
    #[serde(default)]
    pub key_exchange: Option<Vec<KeyExchange>>,
    /// `Strict-Transport-Security`: seconds for which browsers insist on TLS; 0 sends none. Sent with
    /// `includeSubDomains`: every host below this name has to speak TLS.
    #[serde(default = "year")]
    pub hsts_seconds: u64,
}

/// A protocol version.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
pub enum TlsVersion {
    /// TLS 1.2, RFC 5246.
    #[serde(rename = "1.2")]
    V12,
    /// TLS 1.3, RFC 8446.
    #[serde(rename = "1.3")]
    V13,
}

/// A cipher suite, by its IANA name.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
pub enum CipherSuite {
    /// TLS 1.3.
    #[serde(rename = "TLS_AES_256_GCM_SHA384")]
    Aes256GcmSha384,
    /// TLS 1.3.
    #[serde(rename = "TLS_AES_128_GCM_SHA256")]
    Aes128GcmSha256,
    /// TLS 1.3.
    #[serde(rename = "TLS_CHACHA20_POLY1305_SHA256")]
    Chacha20Poly1305Sha256,
    /// TLS 1.2.
    #[serde(rename = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384")]
    EcdheEcdsaAes256GcmSha384,
    /// TLS 1.2.
    #[serde(rename = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")]
    EcdheEcdsaAes128GcmSha256,
    /// TLS 1.2.
    #[serde(rename = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256")]
    EcdheEcdsaChacha20Poly1305Sha256,
    /// TLS 1.2.
    #[serde(rename = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384")]
    EcdheRsaAes256GcmSha384,
    /// TLS 1.2.
    #[serde(rename = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")]
    EcdheRsaAes128GcmSha256,
    /// TLS 1.2.
    #[serde(rename = "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256")]
    EcdheRsaChacha20Poly1305Sha256,
}

/// A key exchange group, by its IANA name.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
pub enum KeyExchange {
    /// Post-quantum hybrid.
    #[serde(rename = "X25519MLKEM768")]
    X25519MlKem768,
    /// Curve25519.
    #[serde(rename = "x25519")]
    X25519,
    /// P-256.
    #[serde(rename = "secp256r1")]
    Secp256r1,
    /// P-384.
    #[serde(rename = "secp384r1")]
    Secp384r1,
}

fn year() -> u64 {
    31_536_000
}
