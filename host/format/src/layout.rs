//! The numbers of KRC1. A change to anything in this file makes stored recordings unreadable.
//! Not for: limits that a deployment may choose.

/// First bytes of every sealed object. The line ends in it show text-mode damage at once.
pub const MAGIC: [u8; 8] = [0x89, b'K', b'R', b'C', 0x0D, 0x0A, 0x1A, 0x0A];
/// Version of the format.
pub const VERSION: u16 = 1;
/// Cobblestone-256.
pub(crate) const BODY_SUITE: u8 = 1;
/// HKDF-Expand-SHA-512 and HMAC-SHA-512.
pub(crate) const HEADER_SUITE: u8 = 1;

/// Bytes of a header slot, unless its recipients need more; then a multiple of this.
pub const SLOT_LEN: u64 = 4096;
/// The longest slot: bounds what a reader fetches before it knows any key.
pub const MAX_SLOT_LEN: u64 = 16 * SLOT_LEN;
/// Bytes from the magic to the first TLV.
pub(crate) const FIXED_LEN: usize = 32;
/// The header's MAC, at the end of the slot.
pub const MAC_LEN: usize = 64;
/// Most recipients of one recording.
pub const MAX_RECIPIENTS: usize = 4;

/// TLV: tenant id.
pub(crate) const TLV_TENANT: u16 = 0x0001;
/// TLV: recording id.
pub(crate) const TLV_RECORDING: u16 = 0x0002;
/// TLV: part name.
pub(crate) const TLV_PART: u16 = 0x0003;
/// TLV: content type.
pub(crate) const TLV_CONTENT_TYPE: u16 = 0x0004;
/// TLV: time of creation.
pub(crate) const TLV_CREATED: u16 = 0x0005;
/// TLV: end of the identity block.
pub(crate) const TLV_END: u16 = 0x00FF;

/// HKDF label of the header's MAC key.
pub(crate) const LABEL_HEADER: &[u8] = b"keyreel/v1 header";
/// HKDF label of the body's input key.
pub(crate) const LABEL_BODY: &[u8] = b"keyreel/v1 body";
/// HPKE `info` of wrap algorithm 0002.
#[cfg(feature = "host")]
pub(crate) const LABEL_WRAP: &[u8] = b"keyreel/v1 wrap";

/// Plaintext bytes of a full chunk.
pub const CHUNK_LEN: usize = 16384;
/// Bytes of an AES-GCM tag.
pub const TAG_LEN: usize = 16;
/// Sealed bytes of a full chunk.
pub const SEALED_CHUNK_LEN: usize = CHUNK_LEN + TAG_LEN;
/// Bytes of a message's salt.
pub const SALT_LEN: usize = 24;
/// Bytes of a message's key commitment.
pub const COMMITMENT_LEN: usize = 32;
/// Salt and commitment, ahead of the first chunk.
pub const BODY_PREFIX_LEN: usize = SALT_LEN + COMMITMENT_LEN;
/// A message has fewer chunks than this.
pub(crate) const MAX_CHUNKS: u64 = 1 << 38;
/// Fixed part of the key schedule's `info`, with the AEAD's name in IANA's registry.
pub(crate) const COBBLESTONE_INFO: &[u8] = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0";

/// [`CHUNK_LEN`], where offsets are counted.
pub(crate) const CHUNK: u64 = 16384;
/// [`SEALED_CHUNK_LEN`], where offsets are counted.
pub(crate) const SEALED_CHUNK: u64 = 16400;
/// [`TAG_LEN`], where offsets are counted.
pub(crate) const TAG: u64 = 16;
/// [`BODY_PREFIX_LEN`], where offsets are counted.
pub(crate) const BODY_PREFIX: u64 = 56;
