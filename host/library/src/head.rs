//! The head of a sealed object: its header, wherever the generation that counts lies, and the first
//! bytes of its body. And where that is: generation 0 stands in the object itself, each later one
//! in a key record beside it.
//! Not for: keys. Nothing here is authenticated; [`Head::check`] holds it against the catalogue.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use bytes::BytesMut;
use keyreel_format::{
    BODY_PREFIX_LEN, CiphertextLen, Header, MAX_SLOT_LEN, SLOT_LEN, UnverifiedHeader,
};

use crate::catalogue::{Part, Recording};
use crate::{Error, ObjectHandle, Objects};

/// A key record's name is the object's, this, and its generation.
const KEY_RECORD: &str = ".key.";
/// A key block may be as long as its two-byte length allows, an identity block as a slot.
const MAX_KEY_RECORD: u64 = MAX_SLOT_LEN + (1 << 16) + 64;

/// Where the key record of a generation lies.
#[must_use]
pub fn key_record_path(object: &str, generation: u32) -> String {
    format!("{object}{KEY_RECORD}{generation}")
}

/// The object that a key record belongs to, and the record's generation; `None` where the path is
/// no key record's.
pub(crate) fn key_record_of(path: &str) -> Option<(&str, u32)> {
    let (object, generation) = path.rsplit_once(KEY_RECORD)?;
    Some((object, generation.parse().ok()?))
}

/// The object that a key record belongs to.
pub(crate) fn object_of(path: &str) -> Option<&str> {
    key_record_of(path).map(|(object, _)| object)
}

/// See the module.
pub struct Head {
    /// The object, one version of it.
    pub handle: ObjectHandle,
    /// The header that counts.
    pub header: UnverifiedHeader,
    /// The body's salt and commitment.
    pub prefix: [u8; BODY_PREFIX_LEN],
}

impl Head {
    /// Reads the head of the part of a recording.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Object`], [`Error::Changed`]; [`Error::Sealed`] and
    /// [`Error::Unverified`] where what lies there is no sealed object.
    pub async fn read(objects: &Objects, object: &str, generation: u32) -> Result<Self, Error> {
        let handle = objects.get(object, None).await?;
        let (header, prefix) = if generation == 0 {
            slot_and_prefix(&handle).await?
        } else {
            let header = read_key_record(objects, object, generation).await?;
            let prefix = read_prefix(&handle, header.slot_len()).await?;
            (header, prefix)
        };
        Ok(Self {
            handle,
            header,
            prefix,
        })
    }

    /// How long the plaintext is, by the object's length.
    ///
    /// # Errors
    /// [`Error::Sealed`]: no object has this length.
    pub fn plaintext_len(&self) -> Result<u64, Error> {
        let version = self.handle.version();
        let len = CiphertextLen::of_object(version.len, self.header.slot_len());
        Ok(len.map_err(sealed(&version.path))?.plaintext().bytes())
    }

    /// Whether the object is the one that the catalogue means; what is wrong, if not. The header
    /// is not authenticated yet: this keeps a planted file from steering one tenant's key to
    /// another's provider. Nor would its authenticity be enough, since anybody can wrap a DEK of
    /// their own to a KEK's public key: the body's salt and commitment tell which DEK the recording
    /// was sealed under.
    ///
    /// # Errors
    /// [`Error::Unverified`].
    pub fn check(&self, recording: &Recording, part: &Part) -> Result<(), Error> {
        let identity = self.header.identity();
        let wrong = if identity.tenant != recording.tenant {
            "its tenant is another"
        } else if identity.recording != recording.id {
            "its recording is another"
        } else if identity.part != part.name {
            "its part is another"
        } else if identity.content_type != part.content_type {
            "its content type is another"
        } else if self.plaintext_len()? != part.plaintext_len {
            "its length is another"
        } else if !self.names_kek_of(recording) {
            "it names none of the recording's KEK"
        } else if !self.begins_as(part) {
            "its body is another"
        } else {
            return Ok(());
        };
        Err(unverified(&part.object, wrong))
    }

    fn names_kek_of(&self, recording: &Recording) -> bool {
        let recipients = &self.header.key_block().recipients;
        recipients.iter().any(|recipient| {
            recipient.provider == recording.provider && recipient.kek == recording.kek
        })
    }

    /// Recordings from before the catalogue kept this are taken at their header's word.
    fn begins_as(&self, part: &Part) -> bool {
        part.body_prefix
            .is_none_or(|known| verify_slices_are_equal(&known, &self.prefix).is_ok())
    }
}

/// The key record of a generation, as it claims to be.
///
/// # Errors
/// As [`Head::read`].
pub async fn read_key_record(
    objects: &Objects,
    object: &str,
    generation: u32,
) -> Result<UnverifiedHeader, Error> {
    let path = key_record_path(object, generation);
    let handle = objects.get(&path, None).await?;
    let len = handle.version().len;
    if len > MAX_KEY_RECORD {
        return Err(unverified(&path, "it is too long for a key record"));
    }
    let record = handle.read(0..len, BytesMut::new()).await?;
    let header = Header::parse_key_record(&record).map_err(sealed(&path))?;
    if header.key_block().generation != generation {
        return Err(unverified(&path, "its generation is another"));
    }
    Ok(header)
}

async fn read_prefix(handle: &ObjectHandle, slot_len: u64) -> Result<[u8; BODY_PREFIX_LEN], Error> {
    let version = handle.version();
    let end = slot_len + BODY_PREFIX_LEN as u64;
    if version.len < end {
        return Err(unverified(&version.path, ENDS_EARLY));
    }
    let read = handle.read(slot_len..end, BytesMut::new()).await?;
    let prefix = read.first_chunk();
    prefix
        .copied()
        .ok_or_else(|| unverified(&version.path, ENDS_EARLY))
}

/// The header slot and the body's first bytes, with one read unless the slot is a long one.
async fn slot_and_prefix(
    handle: &ObjectHandle,
) -> Result<(UnverifiedHeader, [u8; BODY_PREFIX_LEN]), Error> {
    let path = &handle.version().path;
    let mut wanted = SLOT_LEN + BODY_PREFIX_LEN as u64;
    for _ in 0..2 {
        let end = wanted.min(handle.version().len);
        let head = handle.read(0..end, BytesMut::new()).await?;
        match Header::parse(&head) {
            Ok(header) => {
                let slot_len = usize::try_from(header.slot_len()).unwrap_or(usize::MAX);
                let prefix = head
                    .get(slot_len..)
                    .and_then(<[u8]>::first_chunk::<BODY_PREFIX_LEN>);
                if let Some(prefix) = prefix {
                    return Ok((header, *prefix));
                }
                wanted = header.slot_len() + BODY_PREFIX_LEN as u64;
            }
            Err(keyreel_format::Error::Incomplete { needed }) => {
                wanted = needed.saturating_add(BODY_PREFIX_LEN as u64);
            }
            Err(error) => return Err(sealed(path)(error)),
        }
        if wanted <= end || end == handle.version().len {
            break;
        }
    }
    Err(unverified(path, ENDS_EARLY))
}

fn sealed(path: &str) -> impl FnOnce(keyreel_format::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Sealed { path, source }
}

fn unverified(path: &str, reason: &str) -> Error {
    Error::Unverified {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

const ENDS_EARLY: &str = "it ends within its header";
