//! The data encryption key of one recording.
//! Not for: wrapping it (see `wrap`), or keeping it (see the crate `keyreel-keys`).

use zeroize::Zeroizing;

use crate::suite::{DefaultSuite, Suite};

/// 32 bytes that open every part of one recording. No `Clone`, no `Debug`, no `Serialize`; wiped
/// when dropped. In a box from the first: moving the value must not leave copies behind.
pub struct Dek(Box<Zeroizing<[u8; Dek::LEN]>>);

impl Dek {
    /// Bytes in a DEK.
    pub const LEN: usize = 32;

    /// A new random DEK.
    ///
    /// # Panics
    /// The system has no randomness to give: nothing can be sealed then.
    #[must_use]
    pub fn generate() -> Self {
        let mut dek = Self::empty();
        DefaultSuite::random(&mut **dek).expect("the system gives randomness");
        Self(dek)
    }

    /// Takes over bytes that are secret already.
    #[must_use]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the caller's copy is wiped here"
    )]
    pub fn new(bytes: Zeroizing<[u8; Self::LEN]>) -> Self {
        let mut dek = Self::empty();
        dek.copy_from_slice(&*bytes);
        Self(dek)
    }

    /// A copy of `bytes`, if they are 32.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut dek = Self::empty();
        if bytes.len() != Self::LEN {
            return None;
        }
        dek.copy_from_slice(bytes);
        Some(Self(dek))
    }

    /// The bytes themselves, for the key schedule and for wrapping.
    #[must_use]
    pub fn expose(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    fn empty() -> Box<Zeroizing<[u8; Self::LEN]>> {
        Box::new(Zeroizing::new([0; Self::LEN]))
    }
}
