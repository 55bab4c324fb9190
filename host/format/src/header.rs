//! The header of a sealed object: whose it is, and under which KEKs its DEK is wrapped.
//! Not for: unwrapping the DEK. A header is parsed first and believed only after `verify`.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

use zeroize::Zeroizing;

use crate::layout::{LABEL_HEADER, MAC_LEN};
use crate::suite::{DefaultSuite, Suite};
use crate::wrap::WrapAlgorithm;
use crate::{ContentType, Dek, Error, KekId, PartName, ProviderId, RecordingId, TenantId};

/// What a sealed object is. Fixed at sealing: the whole block is the body's Cobblestone context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Random, never reused: tells two sealings of the same part apart.
    pub object_id: [u8; 16],
    /// The tenant.
    pub tenant: TenantId,
    /// The recording.
    pub recording: RecordingId,
    /// Which part of it.
    pub part: PartName,
    /// The plaintext's media type.
    pub content_type: ContentType,
    /// When it was sealed, milliseconds since 1970.
    pub created_ms: u64,
}

impl Identity {
    /// A new random object id.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn new_object_id() -> Result<[u8; 16], Error> {
        let mut id = [0; 16];
        DefaultSuite::random(&mut id)?;
        Ok(id)
    }
}

/// The DEK, wrapped to one to four KEKs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyBlock {
    /// Counts re-wraps. The highest generation that verifies is the one that counts.
    pub generation: u32,
    /// One to four.
    pub recipients: Vec<Recipient>,
}

/// The DEK under one KEK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// How it is wrapped.
    pub algorithm: WrapAlgorithm,
    /// Who can unwrap it.
    pub provider: ProviderId,
    /// With which KEK.
    pub kek: KekId,
    /// The wrapped DEK, 1 to 65,535 bytes.
    pub wrapped_dek: Vec<u8>,
    /// What the provider wants returned to it with the wrapped DEK; may be empty.
    pub info: Vec<u8>,
}

/// A header as it was found. Nothing in it is authenticated: take provider and KEK from it only if
/// the catalogue binds this tenant to them already, else a planted file steers one tenant's
/// ciphertext to another's key service.
#[derive(Debug, Clone)]
pub struct UnverifiedHeader {
    content: Content,
    /// Everything that the MAC covers.
    authenticated: Box<[u8]>,
    mac: [u8; MAC_LEN],
}

/// A header whose MAC was checked under the DEK.
#[derive(Debug, Clone)]
pub struct Header {
    content: Content,
    form: Form,
    mac: [u8; MAC_LEN],
}

/// What both kinds of header hold.
#[derive(Debug, Clone)]
struct Content {
    identity: Identity,
    /// As it stands in the object, byte for byte: the body's context.
    identity_block: Box<[u8]>,
    slot_len: u64,
    key_block: KeyBlock,
}

/// Where a header was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// The slot at the start of an object: padded to its length.
    Slot,
    /// A key record beside the object: no padding.
    Record,
}

impl Header {
    /// Parses the header slot of an object from the object's first bytes. More bytes than the slot
    /// may be given; the rest is left alone.
    ///
    /// # Errors
    /// [`Error::Incomplete`] says how many bytes are needed; all else means that this is no header.
    pub fn parse(object: &[u8]) -> Result<UnverifiedHeader, Error> {
        decode::slot(object)
    }

    /// Parses a key record, which is what a re-wrap writes beside an object: identity block, key
    /// block and MAC. It stands for the object's own header.
    ///
    /// # Errors
    /// This is no key record.
    pub fn parse_key_record(record: &[u8]) -> Result<UnverifiedHeader, Error> {
        decode::record(record)
    }

    /// What the object is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.content.identity
    }

    /// The identity block's bytes: the body's context.
    #[must_use]
    pub fn identity_block(&self) -> &[u8] {
        &self.content.identity_block
    }

    /// Under which KEKs the DEK is wrapped.
    #[must_use]
    pub fn key_block(&self) -> &KeyBlock {
        &self.content.key_block
    }

    /// Length of the object's header slot: where its body begins.
    #[must_use]
    pub fn slot_len(&self) -> u64 {
        self.content.slot_len
    }

    /// A new slot for the object, with another key block. The object's body stays as it is.
    ///
    /// # Errors
    /// `dek` is not this object's, the generation is not higher, or the key block does not fit the
    /// slot, whose length is fixed at sealing: write a key record then.
    pub fn rewrap(&self, dek: &Dek, key_block: &KeyBlock) -> Result<Vec<u8>, Error> {
        self.check_rewrap(dek, key_block)?;
        let mac_key = mac_key::<DefaultSuite>(dek)?;
        encode::slot::<DefaultSuite>(self.identity_block(), self.slot_len(), key_block, &mac_key)
    }

    /// A key record for the object, with another key block.
    ///
    /// # Errors
    /// `dek` is not this object's, or the generation is not higher.
    pub fn key_record(&self, dek: &Dek, key_block: &KeyBlock) -> Result<Vec<u8>, Error> {
        self.check_rewrap(dek, key_block)?;
        let mac_key = mac_key::<DefaultSuite>(dek)?;
        encode::record::<DefaultSuite>(self.identity_block(), key_block, &mac_key)
    }

    /// A header that nobody could open again must not be written: the DEK has to be the one that
    /// this header verified under.
    fn check_rewrap(&self, dek: &Dek, key_block: &KeyBlock) -> Result<(), Error> {
        if key_block.generation <= self.content.key_block.generation {
            return Err(Error::KeyBlock {
                what: "its generation must be higher than the last",
            });
        }
        let key = mac_key::<DefaultSuite>(dek)?;
        let Content {
            identity_block,
            slot_len,
            key_block,
            ..
        } = &self.content;
        let current = match self.form {
            Form::Slot => encode::slot::<DefaultSuite>(identity_block, *slot_len, key_block, &key)?,
            Form::Record => encode::record::<DefaultSuite>(identity_block, key_block, &key)?,
        };
        match current.last_chunk::<MAC_LEN>() {
            Some(mac) if DefaultSuite::same_mac(mac, &self.mac) => Ok(()),
            _ => Err(Error::Integrity),
        }
    }
}

impl UnverifiedHeader {
    /// How many bytes [`Header::parse`] needs, told from an object's first 16.
    ///
    /// # Errors
    /// As [`Header::parse`].
    pub fn slot_len_of(object: &[u8]) -> Result<u64, Error> {
        decode::slot_len(object)
    }

    /// What the object claims to be.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.content.identity
    }

    /// Under which KEKs the DEK claims to be wrapped.
    #[must_use]
    pub fn key_block(&self) -> &KeyBlock {
        &self.content.key_block
    }

    /// Length of the object's header slot: where its body begins.
    #[must_use]
    pub fn slot_len(&self) -> u64 {
        self.content.slot_len
    }

    /// The bytes that a key record was parsed from.
    #[must_use]
    pub fn to_key_record(&self) -> Vec<u8> {
        [&self.authenticated[..], &self.mac].concat()
    }

    /// The slot that says the same as this key record, given the MAC that it had as a slot (the end
    /// of what [`Header::rewrap`] made): it can be told without the DEK. Whoever opens it checks
    /// that MAC.
    ///
    /// # Errors
    /// The key block does not fit the object's slot.
    pub fn slot_with(&self, mac: &[u8; MAC_LEN]) -> Result<Vec<u8>, Error> {
        let mut slot = self.authenticated.to_vec();
        let padded = usize::try_from(self.content.slot_len)
            .ok()
            .and_then(|len| len.checked_sub(MAC_LEN))
            .filter(|len| *len >= slot.len())
            .ok_or(encode::DOES_NOT_FIT)?;
        slot.resize(padded, 0);
        slot.extend_from_slice(mac);
        Ok(slot)
    }

    /// Checks the MAC, in constant time.
    ///
    /// # Errors
    /// [`Error::Integrity`]: the DEK is not this object's, or the header was changed.
    pub fn verify(self, dek: &Dek) -> Result<Header, Error> {
        self.verify_with::<DefaultSuite>(dek)
    }

    /// [`UnverifiedHeader::verify`] with a suite of the caller's choice.
    ///
    /// # Errors
    /// As [`UnverifiedHeader::verify`].
    pub fn verify_with<S: Suite>(self, dek: &Dek) -> Result<Header, Error> {
        let expected = S::mac(&*mac_key::<S>(dek)?, &[&self.authenticated]);
        if !S::same_mac(&expected, &self.mac) {
            return Err(Error::Integrity);
        }
        // A record ends with the key block; a slot that needs no padding is the same bytes.
        let form = match u64::try_from(self.authenticated.len() + MAC_LEN) {
            Ok(len) if len == self.content.slot_len => Form::Slot,
            _ => Form::Record,
        };
        Ok(Header {
            content: self.content,
            form,
            mac: self.mac,
        })
    }
}

/// Makes the header slot of a new object. Returns it with the identity block inside it.
pub(crate) fn seal_slot<S: Suite>(
    identity: &Identity,
    key_block: &KeyBlock,
    dek: &Dek,
) -> Result<(Vec<u8>, Box<[u8]>), Error> {
    let (identity_block, slot_len) = encode::identity_block(identity, key_block)?;
    let slot = encode::slot::<S>(&identity_block, slot_len, key_block, &*mac_key::<S>(dek)?)?;
    Ok((slot, identity_block.into()))
}

fn mac_key<S: Suite>(dek: &Dek) -> Result<Zeroizing<[u8; MAC_LEN]>, Error> {
    let mut key = Zeroizing::new([0; MAC_LEN]);
    S::expand(dek.expose(), &[LABEL_HEADER], &mut *key)?;
    Ok(key)
}
