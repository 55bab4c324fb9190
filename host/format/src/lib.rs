//! The sealed recording format, KRC1: header, body, ranges, wrap algorithms.
//! Not for: HTTP, storage, finding keys. No async, no I/O of its own.
//!
//! A sealed object is a header slot and one Cobblestone-256 message; `docs/format.md` has every
//! byte of it. To seal, make a [`Dek`], wrap it ([`wrap::wrap`]), and give [`Sealer`] the plaintext.
//! To open, [`Header::parse`] the slot, unwrap the DEK elsewhere, [`UnverifiedHeader::verify`], and
//! read through a [`Reader`].
#![forbid(unsafe_code)]

#[cfg(not(any(feature = "host", feature = "portable")))]
compile_error!("keyreel-format needs one of the features `host` and `portable`");

mod dek;
mod error;
mod header;
mod ids;
mod layout;
mod length;
mod message;
mod read;
mod seal;
mod stream;
mod suite;
pub mod wrap;

pub use dek::Dek;
pub use error::Error;
pub use header::{Header, Identity, KeyBlock, Recipient, UnverifiedHeader};
pub use ids::{ContentType, InvalidName, KekId, PartName, ProviderId, RecordingId, TenantId};
pub use layout::{
    BODY_PREFIX_LEN, CHUNK_LEN, COMMITMENT_LEN, MAC_LEN, MAGIC, MAX_RECIPIENTS, MAX_SLOT_LEN,
    SALT_LEN, SEALED_CHUNK_LEN, SLOT_LEN, TAG_LEN, VERSION,
};
pub use length::{CiphertextLen, PlaintextLen};
pub use read::{Opened, Reader, SealedSpan, Spans};
pub use seal::Sealer;
pub use stream::{StreamOpener, open_message, seal_message};
#[cfg(feature = "host")]
pub use suite::AwsLc;
#[cfg(feature = "portable")]
pub use suite::RustCrypto;
pub use suite::{DefaultSuite, Suite};
pub use wrap::WrapAlgorithm;
