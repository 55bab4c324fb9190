//! The key schedule of one body: C2SP chunked-encryption, instance Cobblestone-256.
//! Not for: cutting a plaintext into chunks (see `seal`, `read`, `stream`).

use zeroize::Zeroizing;

use crate::layout::{
    BODY_PREFIX_LEN, COBBLESTONE_INFO, COMMITMENT_LEN, LABEL_BODY, MAX_CHUNKS, SALT_LEN, TAG_LEN,
};
use crate::suite::Suite;
use crate::{Dek, Error};

/// The AEAD key and base nonce of one message.
pub(crate) struct MessageKey<S: Suite> {
    aead: S::Aead,
    base_nonce: [u8; 12],
}

impl<S: Suite> MessageKey<S> {
    /// Derives key and commitment of the message with this salt.
    pub(crate) fn derive(
        input_key: &[u8; 32],
        context: &[u8],
        salt: &[u8; SALT_LEN],
    ) -> Result<(Self, [u8; COMMITMENT_LEN]), Error> {
        let mut output = Zeroizing::new([0; 32 + 12 + COMMITMENT_LEN]);
        S::expand(input_key, &[COBBLESTONE_INFO, salt, context], &mut *output)?;
        let library = Error::Library { what: "HKDF" };
        let (key, rest) = output.split_first_chunk::<32>().ok_or(library.clone())?;
        let (base_nonce, rest) = rest.split_first_chunk::<12>().ok_or(library.clone())?;
        let commitment = rest.first_chunk::<COMMITMENT_LEN>().ok_or(library)?;
        Ok((
            Self {
                aead: S::aead(key)?,
                base_nonce: *base_nonce,
            },
            *commitment,
        ))
    }

    /// Derives the key of the message with this salt and commitment, if the commitment is right.
    pub(crate) fn open(
        input_key: &[u8],
        context: &[u8],
        prefix: &[u8; BODY_PREFIX_LEN],
    ) -> Result<Self, Error> {
        let input_key = check_input_key(input_key)?;
        let (salt, rest) = prefix
            .split_first_chunk::<SALT_LEN>()
            .ok_or(Error::Integrity)?;
        let commitment = rest
            .first_chunk::<COMMITMENT_LEN>()
            .ok_or(Error::Integrity)?;
        let (key, expected) = Self::derive(input_key, context, salt)?;
        if !S::same_commitment(&expected, commitment) {
            return Err(Error::Integrity);
        }
        Ok(key)
    }

    /// A new message: a random salt, and the prefix that begins the body.
    pub(crate) fn create(
        input_key: &[u8],
        context: &[u8],
    ) -> Result<(Self, [u8; BODY_PREFIX_LEN]), Error> {
        let mut salt = [0; SALT_LEN];
        S::random(&mut salt)?;
        let (key, commitment) = Self::derive(check_input_key(input_key)?, context, &salt)?;
        let mut prefix = [0; BODY_PREFIX_LEN];
        for (to, from) in prefix.iter_mut().zip(salt.iter().chain(&commitment)) {
            *to = *from;
        }
        Ok((key, prefix))
    }

    /// Encrypts chunk number `chunk` in place.
    pub(crate) fn seal(&self, chunk: u64, bytes: &mut [u8]) -> Result<[u8; TAG_LEN], Error> {
        S::seal(&self.aead, self.nonce(chunk)?, bytes)
    }

    /// Decrypts chunk number `chunk`, which ends with its tag, in place.
    pub(crate) fn open_chunk(&self, chunk: u64, sealed: &mut [u8]) -> Result<(), Error> {
        let (bytes, tag) = sealed.split_last_chunk_mut().ok_or(Error::Integrity)?;
        S::open(&self.aead, self.nonce(chunk)?, bytes, tag)
    }

    /// Base nonce XOR the chunk's number, big-endian.
    fn nonce(&self, chunk: u64) -> Result<[u8; 12], Error> {
        if chunk >= MAX_CHUNKS {
            return Err(Error::TooLong);
        }
        let mut nonce = self.base_nonce;
        for (byte, counter) in nonce.iter_mut().skip(4).zip(chunk.to_be_bytes()) {
            *byte ^= counter;
        }
        Ok(nonce)
    }
}

/// The input key of every body that is sealed under `dek`.
pub(crate) fn body_key<S: Suite>(dek: &Dek) -> Result<Zeroizing<[u8; 32]>, Error> {
    let mut key = Zeroizing::new([0; 32]);
    S::expand(dek.expose(), &[LABEL_BODY], &mut *key)?;
    Ok(key)
}

fn check_input_key(key: &[u8]) -> Result<&[u8; 32], Error> {
    key.try_into().map_err(|_| Error::Key {
        what: "an input key is 32 bytes",
    })
}
