//! One recording from one KEK to another.
//!
//! Whatever moment it ends at, the recording opens: its old header counts until the catalogue says
//! otherwise, and when it does, everything that the new one needs is durable and was read back.

use std::time::Duration;

use bytes::BytesMut;
use keyreel_format::{Dek, Header, KekId, KeyBlock, MAC_LEN, PartName, Reader};
use keyreel_keys::{DekRequest, ErrorClass, KeyError, Wrapped, crash};
use serde_json::Value;

use super::{By, Inner};
use crate::Error;
use crate::catalogue::{FormerGeneration, NextGeneration, Recording};
use crate::head::{Head, key_record_of, key_record_path};

/// Generations that were passed over in vain before a recording is given up.
const TRIES: u32 = 32;
/// Former generations of a recording whose key records are kept. Each is a few kilobytes at most
/// for each part.
pub(super) const FORMER_KEPT: usize = 16;

/// What became of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It is under the current KEK and recovery key.
    Moved,
    /// Somebody else changed it meanwhile.
    Overtaken,
}

/// Why a recording was not moved.
#[derive(Debug)]
pub(super) struct Trouble {
    /// What is to be done about it.
    pub(super) kind: Kind,
    /// For anybody to read: the server's code for it.
    pub(super) class: &'static str,
    /// For operators alone.
    pub(super) detail: String,
}

/// What is to be done about a trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What all of them need does not answer; when to ask again, where that is known.
    Away(Option<Duration>),
    /// Its key is refused.
    Refused,
    /// It cannot be read or written now.
    Unread,
    /// It is damaged, or not what the catalogue means.
    Damaged,
    /// Nothing can be wrapped with the current KEK.
    Nothing,
}

impl Trouble {
    fn new(kind: Kind, class: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind,
            class,
            detail: detail.into(),
        }
    }
}

/// A part with its header, believed.
struct Believed {
    object: String,
    part: PartName,
    header: Header,
}

impl Inner {
    /// Moves one recording.
    pub(super) async fn rewrap(
        &self,
        recording: &Recording,
        subject: &str,
    ) -> Result<Step, Trouble> {
        let by = By::job(subject);
        let mut heads = Vec::with_capacity(recording.parts.len());
        for part in &recording.parts {
            let head = Head::read(&self.objects, &part.object, recording.generation).await?;
            head.check(recording, part)?;
            heads.push(head);
        }
        let Some(first) = heads.first() else {
            return Err(Trouble::new(Kind::Damaged, INTEGRITY, "it has no parts"));
        };
        let request = DekRequest {
            tenant: recording.tenant.clone(),
            recording: recording.id.clone(),
            generation: recording.generation,
            recipients: first.header.key_block().recipients.clone(),
            subject: by.asker.subject.clone(),
            request_id: by.asker.request_id.clone(),
        };
        let dek = self.keyring.unwrap_to_rewrap(request).await?;
        crash::point("rewrap.unwrapped");
        let mut parts = Vec::with_capacity(heads.len());
        for (head, part) in heads.into_iter().zip(&recording.parts) {
            parts.push(Believed {
                object: part.object.clone(),
                part: part.name.clone(),
                header: believe(head, &dek)?,
            });
        }
        let wrapped = self
            .keyring
            .wrap(&recording.tenant, &recording.id, &dek)
            .await
            .map_err(|error| match Trouble::from(error) {
                trouble if trouble.kind == Kind::Refused => Trouble {
                    kind: Kind::Nothing,
                    ..trouble
                },
                other => other,
            })?;
        let is_there = (&wrapped.provider, &wrapped.kek, &wrapped.recovery)
            == (&recording.provider, &recording.kek, &recording.recovery);
        if is_there {
            return Ok(Step::Overtaken);
        }
        let (generation, slots) = self.write(recording, &parts, &wrapped, &dek).await?;
        drop(dek);
        crash::point("rewrap.records-written");
        let next = NextGeneration {
            tenant: recording.tenant.clone(),
            recording: recording.id.clone(),
            from: recording.generation,
            to: generation,
            provider: wrapped.provider.clone(),
            kek: wrapped.kek.clone(),
            wrap_algorithm: wrapped.algorithm.name().to_owned(),
            recovery: wrapped.recovery.clone(),
            slots,
            now_ms: self.clock.now_ms(),
        };
        // Where this fails, whether it was done is not known: the records stay.
        if !self.catalogue.put_generation(&next).await? {
            self.remove(&parts, generation).await;
            return Ok(Step::Overtaken);
        }
        crash::point("rewrap.committed");
        self.note_rewrapped(recording, &next, &by).await;
        self.tidy(recording, generation).await;
        crash::point("rewrap.cleaned");
        Ok(Step::Moved)
    }

    /// Writes the key records of the first generation that is free for all parts. None of them
    /// counts before the catalogue says so.
    async fn write(
        &self,
        recording: &Recording,
        parts: &[Believed],
        wrapped: &Wrapped,
        dek: &Dek,
    ) -> Result<(u32, Vec<(PartName, [u8; MAC_LEN])>), Trouble> {
        let known = parts
            .iter()
            .map(|part| part.header.key_block().generation)
            .fold(recording.generation, u32::max);
        for generation in (1..=TRIES).filter_map(|step| known.checked_add(step)) {
            let key_block = KeyBlock {
                generation,
                recipients: wrapped.recipients.clone(),
            };
            let mut slots = Vec::with_capacity(parts.len());
            let mut written = 0;
            for part in parts {
                let record = part.header.key_record(dek, &key_block).map_err(damaged)?;
                let path = key_record_path(&part.object, generation);
                match self.objects.put_new(&path, record.clone().into()).await {
                    Ok(_) => {}
                    // Of a run that was broken off, or of another node: it may be about to count.
                    Err(Error::Exists { .. }) => break,
                    Err(error) => return Err(error.into()),
                }
                written += 1;
                crash::point("rewrap.record-written");
                self.read_back(&path, &record).await?;
                if let Some(mac) = part.header.rewrap(dek, &key_block).ok().as_deref()
                    && let Some(mac) = mac.last_chunk()
                {
                    slots.push((part.part.clone(), *mac));
                }
            }
            if written == parts.len() {
                return Ok((generation, slots));
            }
            // Those that were written were nobody else's and will never count.
            self.remove(parts.get(..written).unwrap_or_default(), generation)
                .await;
        }
        Err(Trouble::new(
            Kind::Unread,
            UNAVAILABLE,
            "key records of many generations lie beside it already",
        ))
    }

    /// What the old KEK's end will depend on is read once more.
    async fn read_back(&self, path: &str, record: &[u8]) -> Result<(), Trouble> {
        let handle = self.objects.get(path, None).await?;
        let len = handle.version().len;
        let found = handle.read(0..len, BytesMut::new()).await?;
        if found != record {
            let reason = format!("the object {path} does not read back as it was written");
            return Err(Trouble::new(Kind::Unread, UNAVAILABLE, reason));
        }
        Ok(())
    }

    async fn remove(&self, parts: &[Believed], generation: u32) {
        for part in parts {
            let path = key_record_path(&part.object, generation);
            if let Err(error) = self.objects.delete(&path).await {
                tracing::warn!(%path, %error, "a key record that does not count was left");
            }
        }
    }

    /// Removes key records that no longer count: what runs that were broken off left, and former
    /// ones beyond [`FORMER_KEPT`]. The others stay until their KEK is retired: a catalogue that is
    /// restored from a backup points to one of them.
    async fn tidy(&self, recording: &Recording, generation: u32) {
        if generation == 1 {
            return;
        }
        if let Err(error) = self.tidied(recording, generation).await {
            tracing::warn!(recording = %recording.id, %error, "old key records were left");
        }
    }

    async fn tidied(&self, recording: &Recording, generation: u32) -> Result<(), Error> {
        let (tenant, id) = (&recording.tenant, &recording.id);
        let mut kept = self.catalogue.former_generations(tenant, id).await?;
        let beyond = kept.split_off(kept.len().min(FORMER_KEPT));
        let folder = recording
            .parts
            .first()
            .and_then(|part| part.object.rsplit_once('/'))
            .map(|(folder, _)| folder);
        let Some(folder) = folder else { return Ok(()) };
        for path in &self.objects.list(folder).await? {
            let is_spent = key_record_of(path).is_some_and(|(object, of)| {
                recording.parts.iter().any(|part| part.object == object)
                    && of < generation
                    && of != recording.generation
                    && !kept.contains(&of)
            });
            if is_spent {
                self.objects.delete(path).await?;
            }
        }
        let beyond: Vec<_> = beyond
            .into_iter()
            .map(|generation| FormerGeneration {
                tenant: tenant.clone(),
                recording: id.clone(),
                generation,
            })
            .collect();
        self.catalogue.forget_generations(&beyond).await
    }

    /// Removes the key records of a former generation.
    pub(super) async fn remove_former(&self, of: &FormerGeneration) -> Result<(), Error> {
        let tenants = std::slice::from_ref(&of.tenant);
        let recording = self.catalogue.recording(tenants, &of.recording).await?;
        let recording = recording.filter(|now| now.generation > of.generation);
        for part in recording.iter().flat_map(|recording| &recording.parts) {
            let path = key_record_path(&part.object, of.generation);
            self.objects.delete(&path).await?;
        }
        Ok(())
    }

    /// The unwrap was recorded before it was done; this is its outcome. A log that cannot be
    /// written stops the next unwrap.
    async fn note_rewrapped(&self, from: &Recording, to: &NextGeneration, by: &By) {
        let mut event = by.event("key.rewrapped", &from.tenant, self.clock.now_ms());
        event.recording = Some(from.id.clone());
        let fields = [
            ("fromProvider", Value::from(from.provider.as_str())),
            ("fromKek", Value::from(from.kek.as_str())),
            ("provider", Value::from(to.provider.as_str())),
            ("kek", Value::from(to.kek.as_str())),
            ("algorithm", Value::from(to.wrap_algorithm.clone())),
            (
                "recoveryKey",
                Value::from(to.recovery.as_ref().map(KekId::as_str)),
            ),
            ("generation", Value::from(to.to)),
        ];
        for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_null()) {
            event.fields.insert(name.to_owned(), value);
        }
        if let Err(error) = self.catalogue.append_audit(&[event]).await {
            tracing::error!(recording = %from.id, %error, "a re-wrap could not be recorded");
        }
    }
}

/// Checks what only the DEK can tell: that the header is the sealer's, and that the body is
/// committed to this very DEK. An object that somebody else put there must not be blessed.
fn believe(head: Head, dek: &Dek) -> Result<Header, Trouble> {
    let Head {
        handle,
        header,
        prefix,
    } = head;
    let header = header.verify(dek).map_err(damaged)?;
    Reader::new(&header, dek, &prefix, handle.version().len).map_err(damaged)?;
    Ok(header)
}

fn damaged(error: keyreel_format::Error) -> Trouble {
    Trouble::new(Kind::Damaged, INTEGRITY, error.to_string())
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Wrap { source } => match source.downcast::<KeyError>() {
                Ok(error) => Self::from(*error),
                Err(error) => Self::new(Kind::Nothing, "internal", error.to_string()),
            },
            Error::Backend { .. } => Self::new(Kind::Away(None), UNAVAILABLE, text),
            Error::Object { .. } | Error::Changed { .. } => {
                Self::new(Kind::Unread, UNAVAILABLE, text)
            }
            Error::NotFound { .. } => Self::new(Kind::Damaged, "not-found", text),
            _ => Self::new(Kind::Damaged, INTEGRITY, text),
        }
    }
}

impl From<KeyError> for Trouble {
    fn from(error: KeyError) -> Self {
        let class = match (&error, error.class()) {
            (KeyError::CircuitOpen { .. }, _) => "circuit-open",
            (KeyError::Audit(_), _) => "audit-unavailable",
            (_, ErrorClass::Denied) => "key-denied",
            (_, ErrorClass::NotFound) => "key-not-found",
            (_, ErrorClass::KeyDisabled) => "key-disabled",
            (_, ErrorClass::Request | ErrorClass::Internal) => "provider-malformed",
            (_, class) => class.as_str(),
        };
        let kind = match error.class() {
            ErrorClass::Unavailable | ErrorClass::Timeout | ErrorClass::Throttled => {
                Kind::Away(error.retry_after())
            }
            ErrorClass::Integrity => Kind::Damaged,
            _ => Kind::Refused,
        };
        Self::new(kind, class, error.to_string())
    }
}

const INTEGRITY: &str = "integrity";
const UNAVAILABLE: &str = "unavailable";
