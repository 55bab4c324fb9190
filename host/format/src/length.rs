//! Lengths of plaintexts and of sealed bodies, and the way from one to the other.
//! Not for: positions within them (see `read`).

use crate::Error;
use crate::layout::{BODY_PREFIX, CHUNK, MAX_CHUNKS, SEALED_CHUNK, TAG};

/// How many bytes were sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlaintextLen(u64);

/// How many bytes a sealed body has: salt, commitment and chunks, without the header slot. Only
/// lengths that a body can have are of this type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CiphertextLen(u64);

impl PlaintextLen {
    /// Checks `bytes` against the format's limit, 4 PiB.
    ///
    /// # Errors
    /// [`Error::TooLong`].
    pub fn new(bytes: u64) -> Result<Self, Error> {
        if bytes / CHUNK >= MAX_CHUNKS {
            return Err(Error::TooLong);
        }
        Ok(Self(bytes))
    }

    /// The length in bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.0
    }

    /// The length of the body that it seals to.
    #[must_use]
    pub fn sealed(self) -> CiphertextLen {
        let full = self.0 / CHUNK;
        CiphertextLen(BODY_PREFIX + full * SEALED_CHUNK + self.0 % CHUNK + TAG)
    }

    /// The length of the whole sealed object, with a header slot of `slot_len` bytes.
    #[must_use]
    pub fn object_len(self, slot_len: u64) -> u64 {
        slot_len + self.sealed().0
    }

    /// How many chunks it fills, the last one included, which is always short.
    #[must_use]
    pub fn chunks(self) -> u64 {
        self.0 / CHUNK + 1
    }
}

impl CiphertextLen {
    /// Checks that a body can have `bytes` bytes.
    ///
    /// # Errors
    /// [`Error::ImpossibleLength`]: shorter than salt and commitment, without a last chunk, or with
    /// a last chunk that has no room for its tag. [`Error::TooLong`].
    pub fn new(bytes: u64) -> Result<Self, Error> {
        let impossible = Error::ImpossibleLength { length: bytes };
        let chunks = bytes
            .checked_sub(BODY_PREFIX)
            .ok_or_else(|| impossible.clone())?;
        if chunks % SEALED_CHUNK < TAG {
            return Err(impossible);
        }
        if chunks / SEALED_CHUNK >= MAX_CHUNKS {
            return Err(Error::TooLong);
        }
        Ok(Self(bytes))
    }

    /// The body's length in an object of `object_len` bytes with a header slot of `slot_len`.
    ///
    /// # Errors
    /// As [`CiphertextLen::new`].
    pub fn of_object(object_len: u64, slot_len: u64) -> Result<Self, Error> {
        match object_len.checked_sub(slot_len) {
            Some(body) => Self::new(body),
            None => Err(Error::ImpossibleLength { length: 0 }),
        }
    }

    /// The length in bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.0
    }

    /// How many bytes were sealed, if the last chunk authenticates. Until then it is what the store
    /// says, and no more: see `Reader::verify_last_chunk`.
    #[must_use]
    pub fn plaintext(self) -> PlaintextLen {
        let chunks = self.0 - BODY_PREFIX;
        PlaintextLen(chunks / SEALED_CHUNK * CHUNK + chunks % SEALED_CHUNK - TAG)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plaintext_length_round_trips() {
        let around = |n: u64| n.saturating_sub(20)..n + 20;
        let lengths = around(0).chain(around(CHUNK)).chain(around(7 * CHUNK));
        for length in lengths.chain([MAX_CHUNKS * CHUNK - 1]) {
            let plaintext = PlaintextLen::new(length).unwrap();
            let sealed = plaintext.sealed();
            assert_eq!(CiphertextLen::new(sealed.bytes()).unwrap(), sealed);
            assert_eq!(sealed.plaintext(), plaintext);
            assert_eq!(
                CiphertextLen::of_object(plaintext.object_len(4096), 4096).unwrap(),
                sealed
            );
        }
        assert_eq!(PlaintextLen::new(MAX_CHUNKS * CHUNK), Err(Error::TooLong));
    }

    #[test]
    fn impossible_lengths_are_rejected() {
        for k in [0, 1, 2, 255, 256, 1 << 20] {
            let end = BODY_PREFIX + k * SEALED_CHUNK;
            for tail in 0..TAG {
                assert_eq!(
                    CiphertextLen::new(end + tail),
                    Err(Error::ImpossibleLength { length: end + tail })
                );
            }
            assert_eq!(
                CiphertextLen::new(end + TAG).unwrap().plaintext().bytes(),
                k * CHUNK
            );
            let longest = CiphertextLen::new(end + SEALED_CHUNK - 1).unwrap();
            assert_eq!(longest.plaintext().bytes(), k * CHUNK + CHUNK - 1);
        }
        for length in 0..BODY_PREFIX {
            assert!(CiphertextLen::new(length).is_err());
        }
        assert_eq!(CiphertextLen::new(u64::MAX), Err(Error::TooLong));
        assert!(CiphertextLen::of_object(4095, 4096).is_err());
    }
}
