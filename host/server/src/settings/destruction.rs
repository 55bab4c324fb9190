//! `[destruction]`: who it takes to destroy.

/// Crypto-shredding.
#[derive(
    Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(deny_unknown_fields, default)]
pub struct DestructionSettings {
    /// Whether a second administrator has to confirm what one asked to have destroyed.
    pub two_people: bool,
}
