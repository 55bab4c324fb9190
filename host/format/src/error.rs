//! What can be wrong with a sealed object, a key, or a request for a range of one.

use crate::ids::InvalidName;

/// Why something could not be sealed, opened, wrapped or unwrapped.
///
/// Everything that fails to authenticate is [`Error::Integrity`], which says no more than that: a
/// caller that could tell a bad padding from a bad tag would be an oracle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes do not begin with the magic of KRC1.
    #[error("not a sealed recording: the magic is missing")]
    NotSealed,
    /// A newer version of the format, or an unknown suite.
    #[error("{what} {found} is not known to this version")]
    Unsupported {
        /// "format version", "body suite", "header suite", "TLV type", "wrap algorithm".
        what: &'static str,
        /// The number found.
        found: u16,
    },
    /// The header ends too early.
    #[error("the header is incomplete: {needed} bytes are needed")]
    Incomplete {
        /// Bytes of the object, from its start, with which to try again.
        needed: u64,
    },
    /// The header breaks a rule of the format.
    #[error("malformed header at byte {offset}: {what}")]
    Malformed {
        /// The rule.
        what: &'static str,
        /// Where.
        offset: usize,
    },
    /// A name in the header is not a valid one.
    #[error("malformed header: {source}")]
    Name {
        /// Which, and why.
        #[from]
        source: InvalidName,
    },
    /// No sealed object has this length.
    #[error("{length} bytes: no sealed body has this length")]
    ImpossibleLength {
        /// The length of the body, without the header slot.
        length: u64,
    },
    /// Something did not authenticate: wrong key, or changed bytes.
    #[error("integrity failure: the key is wrong or the bytes were changed")]
    Integrity,
    /// The key block cannot be written as asked.
    #[error("key block: {what}")]
    KeyBlock {
        /// Why.
        what: &'static str,
    },
    /// The range lies outside the plaintext.
    #[error("range {start}..{end} is outside the plaintext of {length} bytes")]
    Range {
        /// First byte asked for.
        start: u64,
        /// End of the range, exclusive.
        end: u64,
        /// Length of the plaintext.
        length: u64,
    },
    /// The message has grown beyond 2^38 chunks.
    #[error("the plaintext is longer than the format allows (4 PiB)")]
    TooLong,
    /// A key that cannot be used. The text names no key material.
    #[error("unusable key: {what}")]
    Key {
        /// Why.
        what: &'static str,
    },
    /// The wrap algorithm's name is unknown, or this build does not have the algorithm.
    #[error("wrap algorithm {name:?} is not available")]
    WrapAlgorithm {
        /// The name.
        name: String,
    },
    /// The cryptographic library failed where it should not: out of memory, or no randomness.
    #[error("the cryptographic library failed: {what}")]
    Library {
        /// At what.
        what: &'static str,
    },
}

impl Error {
    /// Whether the stored bytes are to blame, so that outward there is one answer for all of them:
    /// the recording is damaged.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::NotSealed
                | Self::Unsupported { .. }
                | Self::Incomplete { .. }
                | Self::Malformed { .. }
                | Self::Name { .. }
                | Self::ImpossibleLength { .. }
                | Self::Integrity
        )
    }
}
