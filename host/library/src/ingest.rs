//! One recording in: its bytes sealed as they arrive, in constant memory, never in clear on a
//! disk; its waveform drawn on the way; its row added to the catalogue last, when every object is
//! durable and has been read back.
//! Not for: folders (see `import`), HTTP.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use keyreel_format::{
    BODY_PREFIX_LEN, ContentType, Dek, Header, Identity, KeyBlock, PartName, Reader, RecordingId,
    Sealer, TenantId, UnverifiedHeader,
};
use keyreel_keys::{Clock, Keyring, Wrapped};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::catalogue::{Catalogue, Details, Media, Part, Recording};
use crate::content::{self, Sniffed};
use crate::peaks::Tap;
use crate::{Error, ObjectVersion, Objects};

/// Bytes read, decoded and sealed at a time.
const PIECE_LEN: usize = 256 << 10;

/// Wraps a recording's DEK for its header.
#[async_trait]
pub trait Wrap: Send + Sync {
    /// Wraps `dek` to the tenant's current KEK.
    ///
    /// # Errors
    /// [`Error::Wrap`].
    async fn wrap(
        &self,
        tenant: &TenantId,
        recording: &RecordingId,
        dek: &Dek,
    ) -> Result<Wrapped, Error>;
}

#[async_trait]
impl Wrap for Keyring {
    async fn wrap(
        &self,
        tenant: &TenantId,
        recording: &RecordingId,
        dek: &Dek,
    ) -> Result<Wrapped, Error> {
        let wrapped = Self::wrap(self, tenant, recording, dek).await;
        wrapped.map_err(|error| Error::Wrap {
            source: Box::new(error),
        })
    }
}

/// What is known of a recording besides its bytes.
#[derive(Debug, Clone)]
pub struct NewRecording {
    /// Its id.
    pub id: RecordingId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The conversation it belongs to.
    pub conversation_id: String,
    /// What kind.
    pub media: Media,
    /// What the sender says it is. The bytes have the last word.
    pub content_type: Option<ContentType>,
    /// When the conversation started, ms since 1970.
    pub start_ms: u64,
    /// How long it is, where the bytes cannot tell.
    pub duration_ms: Option<u64>,
    /// Who spoke, where it was routed.
    pub details: Details,
    /// The transcript, JSON.
    pub transcript: Option<Bytes>,
}

/// What was made of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Ingested {
    /// The catalogue's row.
    pub recording: Recording,
    /// What somebody may want to look into; the recording is whole all the same.
    pub warnings: Vec<String>,
}

/// Takes recordings in. Cheap to clone.
#[derive(Clone)]
pub struct Ingest {
    catalogue: Arc<dyn Catalogue>,
    objects: Objects,
    wrap: Arc<dyn Wrap>,
    clock: Arc<dyn Clock>,
}

impl Ingest {
    /// With the parts that it works on.
    #[must_use]
    pub fn new(
        catalogue: Arc<dyn Catalogue>,
        objects: Objects,
        wrap: Arc<dyn Wrap>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            catalogue,
            objects,
            wrap,
            clock,
        }
    }

    /// The catalogue that recordings go into.
    #[must_use]
    pub fn catalogue(&self) -> &Arc<dyn Catalogue> {
        &self.catalogue
    }

    /// Now, ms since 1970.
    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Seals all of `body` as the recording's media. `progress` is told how many bytes were taken,
    /// again and again.
    ///
    /// # Errors
    /// [`Error::Exists`] where the tenant has a recording of this id; [`Error::BadMedia`] for
    /// bytes that are not what they should be; [`Error::Input`] where `body` fails; [`Error::Wrap`],
    /// [`Error::Seal`], [`Error::Object`], [`Error::Unverified`], [`Error::Backend`]. Nothing is
    /// left in the catalogue then; what was written is removed, at the latest when the recording
    /// comes in again.
    pub async fn seal(
        &self,
        new: NewRecording,
        body: impl AsyncRead + Send + Unpin,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Ingested, Error> {
        let tenants = std::slice::from_ref(&new.tenant);
        if self.catalogue.recording(tenants, &new.id).await?.is_some() {
            return Err(exists(&new.id));
        }
        let dek = Dek::generate();
        let wrapped = self.wrap.wrap(&new.tenant, &new.id, &dek).await?;
        let mut sealing = Sealing {
            objects: &self.objects,
            tenant: &new.tenant,
            recording: &new.id,
            key_block: KeyBlock {
                generation: 0,
                recipients: wrapped.recipients.clone(),
            },
            dek,
            created_ms: self.clock.now_ms(),
            written: Vec::new(),
        };
        let result = self
            .seal_parts(&new, &wrapped, &mut sealing, body, progress)
            .await;
        match &result {
            Ok(ingested) => {
                let kept: Vec<&str> = ingested
                    .recording
                    .parts
                    .iter()
                    .map(|part| part.object.as_str())
                    .collect();
                // What earlier attempts left. It opens for nobody, so it can wait.
                if let Err(error) = self.objects.sweep(&sealing.folder(), &kept).await {
                    tracing::warn!(recording = %new.id, %error, "leftovers could not be removed");
                }
            }
            Err(_) => {
                sealing.discard().await;
                // Another import of the same recording was quicker, and swept what was ours.
                if self.catalogue.recording(tenants, &new.id).await?.is_some() {
                    return Err(exists(&new.id));
                }
            }
        }
        result
    }

    async fn seal_parts(
        &self,
        new: &NewRecording,
        wrapped: &Wrapped,
        sealing: &mut Sealing<'_>,
        mut body: impl AsyncRead + Send + Unpin,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Ingested, Error> {
        let mut warnings = Vec::new();
        let mut start = BytesMut::with_capacity(PIECE_LEN);
        while start.len() < content::SNIFF_LEN && read_some(&mut body, &mut start).await? > 0 {}
        if start.is_empty() {
            return Err(Error::BadMedia {
                reason: "it is empty".to_owned(),
            });
        }
        let sniffed = content::sniff(&start);
        let content_type = content_type(new, sniffed, &start, &mut warnings)?;
        let tap = match (new.media, sniffed) {
            (Media::Call, Some(kind)) if kind.is_decoded() => Some(Tap::open()),
            (Media::Call, _) => {
                warnings.push(format!("no waveform: {content_type} is not decoded"));
                None
            }
            _ => None,
        };
        let media = Plaintext {
            start,
            rest: &mut body,
            tap,
            progress,
        };
        let (part, tap) = sealing.part("media", content_type, media).await?;
        let mut parts = vec![part];
        let mut duration_ms = new.duration_ms.unwrap_or(0);
        let analysis = match tap {
            Some(tap) => Some(tap.finish().await),
            None => None,
        };
        match analysis {
            Some(Ok(analysis)) => {
                duration_ms = analysis.duration_ms;
                warnings.extend(analysis.warning);
                let json = content::content_type("application/json")?;
                let waveform = analysis.waveform.to_json();
                parts.push(sealing.memory_part("waveform", json, &waveform).await?);
            }
            Some(Err(error)) => warnings.push(format!("no waveform: {error}")),
            None => {}
        }
        if let Some(transcript) = &new.transcript {
            let json = content::content_type("application/json")?;
            parts.push(sealing.memory_part("transcript", json, transcript).await?);
        }
        let recording = Recording {
            id: new.id.clone(),
            tenant: new.tenant.clone(),
            conversation_id: new.conversation_id.clone(),
            media: new.media,
            start_ms: new.start_ms,
            duration_ms,
            provider: wrapped.provider.clone(),
            kek: wrapped.kek.clone(),
            wrap_algorithm: wrapped.algorithm.name().to_owned(),
            recovery: wrapped.recovery.clone(),
            generation: 0,
            parts,
            details: new.details.clone(),
        };
        self.catalogue.add_recording(&recording).await?;
        Ok(Ingested {
            recording,
            warnings,
        })
    }
}

/// What the bytes are, and whether that may be stored as this kind of recording.
fn content_type(
    new: &NewRecording,
    sniffed: Option<Sniffed>,
    start: &[u8],
    warnings: &mut Vec<String>,
) -> Result<ContentType, Error> {
    let found = match (new.media, sniffed) {
        (Media::Call, Some(kind)) => Some(kind.audio_type()),
        (Media::Call, None) => {
            let reason = format!("it is {}", content::mistaken_for(start));
            return Err(Error::BadMedia { reason });
        }
        (Media::Screen, Some(kind @ (Sniffed::Mp4 | Sniffed::WebM))) => Some(kind.video_type()),
        (Media::Screen, _) => {
            return Err(Error::BadMedia {
                reason: "it is no MP4 and no WebM".to_owned(),
            });
        }
        (Media::Email, _) if new.content_type.is_none() => Some("message/rfc822"),
        (Media::Chat | Media::Message, _) if new.content_type.is_none() => {
            Some(if start.starts_with(b"{") {
                "application/json"
            } else {
                "text/plain"
            })
        }
        (Media::Email | Media::Chat | Media::Message, _) => None,
    };
    match (found, &new.content_type) {
        (Some(found), claimed) => {
            let essence = |text: &str| text.split(';').next().map(str::trim).map(str::to_owned);
            if let Some(claimed) = claimed
                && essence(claimed.as_str()) != essence(found)
            {
                warnings.push(format!("it was said to be {claimed}, but it is {found}"));
            }
            content::content_type(found)
        }
        (None, Some(claimed)) => Ok(claimed.clone()),
        (None, None) => content::content_type("application/octet-stream"),
    }
}

/// One recording under way.
struct Sealing<'a> {
    objects: &'a Objects,
    tenant: &'a TenantId,
    recording: &'a RecordingId,
    key_block: KeyBlock,
    dek: Dek,
    created_ms: u64,
    /// Paths, to be removed if it fails.
    written: Vec<String>,
}

/// A part's bytes: those read already, and those to come.
struct Plaintext<'a, R> {
    start: BytesMut,
    rest: &'a mut R,
    tap: Option<Tap>,
    progress: &'a (dyn Fn(u64) + Send + Sync),
}

impl Sealing<'_> {
    fn folder(&self) -> String {
        format!("{}/{}", self.tenant, self.recording)
    }

    async fn discard(&self) {
        for path in &self.written {
            if let Err(error) = self.objects.delete(path).await {
                tracing::warn!(%path, %error, "a part of a failed recording could not be removed");
            }
        }
    }

    async fn memory_part(
        &mut self,
        name: &str,
        content_type: ContentType,
        bytes: &[u8],
    ) -> Result<Part, Error> {
        let plaintext = Plaintext {
            start: BytesMut::new(),
            rest: &mut &*bytes,
            tap: None,
            progress: &|_| {},
        };
        Ok(self.part(name, content_type, plaintext).await?.0)
    }

    async fn part<R: AsyncRead + Send + Unpin>(
        &mut self,
        name: &str,
        content_type: ContentType,
        plaintext: Plaintext<'_, R>,
    ) -> Result<(Part, Option<Tap>), Error> {
        let object_id = Identity::new_object_id().map_err(seal_error)?;
        let identity = Identity {
            object_id,
            tenant: self.tenant.clone(),
            recording: self.recording.clone(),
            part: PartName::parse(name).map_err(|error| Error::invalid(name, error.to_string()))?,
            content_type,
            created_ms: self.created_ms,
        };
        // Two imports of one recording at the same time never write the same object.
        let unique = hex::encode(object_id.first_chunk::<8>().unwrap_or(&[0; 8]));
        let path = format!("{}/{name}.{unique}.krc", self.folder());
        self.written.push(path.clone());

        let Plaintext {
            start: mut piece,
            rest,
            mut tap,
            progress,
        } = plaintext;
        let (slot, prefix, mut sealer) =
            Sealer::new(&identity, &self.key_block, &self.dek).map_err(seal_error)?;
        let mut writer = self.objects.create(&path).await?;
        writer
            .write([slot.as_slice(), prefix.as_slice()].concat().into())
            .await?;
        let mut sealed = BytesMut::new();
        loop {
            while piece.len() < PIECE_LEN && read_some(rest, &mut piece).await? > 0 {}
            if piece.is_empty() {
                break;
            }
            let full = piece.split().freeze();
            progress(full.len() as u64);
            sealer.push(&full, &mut sealed).map_err(seal_error)?;
            if let Some(tap) = &mut tap {
                tap.feed(full).await;
            }
            writer.write(sealed.split().freeze()).await?;
        }
        let plaintext_len = sealer.finish(&mut sealed).map_err(seal_error)?.bytes();
        writer.write(sealed.freeze()).await?;
        let version = writer.finish().await?;
        self.verify(&identity, &version, plaintext_len).await?;
        let part = Part {
            name: identity.part,
            content_type: identity.content_type,
            object: version.path,
            etag: version.etag,
            body_prefix: Some(prefix),
            sealed_len: version.len,
            plaintext_len,
        };
        Ok((part, tap))
    }

    /// Reads back what says most for least: the header under its MAC, the key commitment, the last
    /// chunk.
    async fn verify(
        &self,
        identity: &Identity,
        version: &ObjectVersion,
        plaintext_len: u64,
    ) -> Result<(), Error> {
        let differs = |reason: &str| Error::Unverified {
            path: version.path.clone(),
            reason: reason.to_owned(),
        };
        let unread = |error: keyreel_format::Error| differs(&error.to_string());
        let handle = self.objects.get(&version.path, Some(&version.etag)).await?;
        let slot_len = {
            let start = handle
                .read(0..keyreel_format::SLOT_LEN, BytesMut::new())
                .await?;
            UnverifiedHeader::slot_len_of(&start).map_err(unread)?
        };
        let prefix_len = u64::try_from(BODY_PREFIX_LEN).unwrap_or_default();
        let start = handle
            .read(0..slot_len + prefix_len, BytesMut::new())
            .await?;
        let header = Header::parse(&start)
            .and_then(|header| header.verify(&self.dek))
            .map_err(unread)?;
        if header.identity() != identity {
            return Err(differs("the header is another object's"));
        }
        let prefix = start.last_chunk().ok_or_else(|| differs("too short"))?;
        let reader = Reader::new(&header, &self.dek, prefix, version.len).map_err(unread)?;
        let mut last = handle
            .read(reader.last_chunk().object_range, BytesMut::new())
            .await?;
        let found = reader.verify_last_chunk(&mut last).map_err(unread)?;
        if found.bytes() != plaintext_len {
            return Err(differs("the length"));
        }
        Ok(())
    }
}

async fn read_some<R: AsyncRead + Send + Unpin>(
    source: &mut R,
    buf: &mut BytesMut,
) -> Result<usize, Error> {
    // Growing to what is missing keeps a piece in one allocation.
    buf.reserve(PIECE_LEN.saturating_sub(buf.len()).max(1));
    let read = source.read_buf(buf).await;
    read.map_err(|source| Error::Input {
        what: "the recording".to_owned(),
        source,
    })
}

fn exists(id: &RecordingId) -> Error {
    Error::Exists {
        what: format!("recording {id}"),
    }
}

fn seal_error(source: keyreel_format::Error) -> Error {
    Error::Seal { source }
}
