//! Sealing: plaintext in, any amount at a time; sealed chunks out.
//! Not for: holding a recording in memory. A sealer holds one chunk.

use bytes::BytesMut;
use zeroize::Zeroizing;

use crate::header;
use crate::layout::{BODY_PREFIX_LEN, CHUNK_LEN, SEALED_CHUNK_LEN};
use crate::message::{MessageKey, body_key};
use crate::suite::{DefaultSuite, Suite};
use crate::{Dek, Error, Identity, KeyBlock, PlaintextLen};

/// Seals one plaintext. An object is the header slot, then the prefix, then all that
/// [`Sealer::push`] and [`Sealer::finish`] give out; an object without its finish does not open.
pub struct Sealer<S: Suite = DefaultSuite> {
    key: MessageKey<S>,
    /// Plaintext that does not fill a chunk yet: fewer than [`CHUNK_LEN`] bytes.
    pending: Zeroizing<Vec<u8>>,
    next_chunk: u64,
}

impl Sealer {
    /// Begins an object. Gives its header slot and the first bytes of its body.
    ///
    /// # Errors
    /// The key block breaks a rule, or there is no randomness.
    pub fn new(
        identity: &Identity,
        key_block: &KeyBlock,
        dek: &Dek,
    ) -> Result<(Vec<u8>, [u8; BODY_PREFIX_LEN], Self), Error> {
        Self::with_suite(identity, key_block, dek)
    }
}

impl<S: Suite> Sealer<S> {
    /// [`Sealer::new`] with a suite of the caller's choice.
    ///
    /// # Errors
    /// As [`Sealer::new`].
    pub fn with_suite(
        identity: &Identity,
        key_block: &KeyBlock,
        dek: &Dek,
    ) -> Result<(Vec<u8>, [u8; BODY_PREFIX_LEN], Self), Error> {
        let (slot, context) = header::seal_slot::<S>(identity, key_block, dek)?;
        let (prefix, sealer) = Self::message(&*body_key::<S>(dek)?, &context)?;
        Ok((slot, prefix, sealer))
    }

    /// Begins a bare Cobblestone-256 message under any input key of 32 bytes and any context.
    ///
    /// # Errors
    /// The key has another length, or there is no randomness.
    pub fn message(
        input_key: &[u8],
        context: &[u8],
    ) -> Result<([u8; BODY_PREFIX_LEN], Self), Error> {
        let (key, prefix) = MessageKey::create(input_key, context)?;
        let pending = Zeroizing::new(Vec::with_capacity(CHUNK_LEN));
        Ok((
            prefix,
            Self {
                key,
                pending,
                next_chunk: 0,
            },
        ))
    }

    /// Takes plaintext; appends the chunks that it fills, sealed, to `out`. Reserves once.
    ///
    /// # Errors
    /// The plaintext is longer than the format allows.
    pub fn push(&mut self, mut plaintext: &[u8], out: &mut BytesMut) -> Result<(), Error> {
        let chunks = (self.pending.len() + plaintext.len()) / CHUNK_LEN;
        out.reserve(chunks * SEALED_CHUNK_LEN);
        if !self.pending.is_empty() {
            let missing = CHUNK_LEN - self.pending.len();
            let (head, tail) = plaintext.split_at(missing.min(plaintext.len()));
            self.pending.extend_from_slice(head);
            plaintext = tail;
            if self.pending.len() < CHUNK_LEN {
                return Ok(());
            }
            seal_chunk(&self.key, &mut self.next_chunk, &self.pending, out)?;
            self.pending.clear();
        }
        let full = plaintext.chunks_exact(CHUNK_LEN);
        self.pending.extend_from_slice(full.remainder());
        for chunk in full {
            seal_chunk(&self.key, &mut self.next_chunk, chunk, out)?;
        }
        Ok(())
    }

    /// How much plaintext was taken so far.
    ///
    /// # Errors
    /// The plaintext is longer than the format allows.
    pub fn plaintext_len(&self) -> Result<PlaintextLen, Error> {
        let pending = u64::try_from(self.pending.len()).map_err(|_| Error::TooLong)?;
        PlaintextLen::new(self.next_chunk * crate::layout::CHUNK + pending)
    }

    /// Appends the last chunk, which is always short and may be empty.
    ///
    /// # Errors
    /// The plaintext is longer than the format allows.
    pub fn finish(mut self, out: &mut BytesMut) -> Result<PlaintextLen, Error> {
        let length = self.plaintext_len()?;
        seal_chunk(&self.key, &mut self.next_chunk, &self.pending, out)?;
        Ok(length)
    }
}

/// Copies the plaintext to where its ciphertext will stand, and encrypts it there.
fn seal_chunk<S: Suite>(
    key: &MessageKey<S>,
    next_chunk: &mut u64,
    plaintext: &[u8],
    out: &mut BytesMut,
) -> Result<(), Error> {
    let start = out.len();
    out.extend_from_slice(plaintext);
    let sealed = out.get_mut(start..).unwrap_or_default();
    match key.seal(*next_chunk, sealed) {
        Ok(tag) => out.extend_from_slice(&tag),
        Err(error) => {
            // Nothing unsealed may be left where ciphertext is expected.
            out.truncate(start);
            return Err(error);
        }
    }
    *next_chunk += 1;
    Ok(())
}
