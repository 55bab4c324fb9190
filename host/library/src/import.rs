//! Folders of recordings in: what they hold, and sealing it, several at a time. What was imported
//! before is left alone, so an import that was broken off is simply run again.
//!
//! A recording is `<name>.wav` (or `.mp3`, `.ogg`, `.opus`…), with `<name>.json` for what is known
//! of it and `<name>.transcript.json` for what was said; both may be missing.

mod metadata;
mod source;

use std::sync::Arc;

use aws_lc_rs::digest;
use futures::StreamExt as _;
use keyreel_format::{RecordingId, TenantId};
use tokio::io::AsyncReadExt as _;

pub use metadata::Metadata;
pub use source::{Input, Scan, Source, pair, scan};

use crate::{Error, Ingest, NewRecording};

/// What a person writes is smaller.
const MAX_METADATA: u64 = 1 << 20;
/// Ten hours of talk, word by word, is less.
const MAX_TRANSCRIPT: u64 = 64 << 20;

/// Imports recordings for one tenant.
#[derive(Clone)]
pub struct Importer {
    ingest: Ingest,
    at_once: usize,
}

/// Is told how an import goes, from several tasks.
pub trait Progress: Send + Sync {
    /// So many more bytes of media were read.
    fn bytes(&self, count: u64);
    /// A recording is done with.
    fn done(&self, name: &str, outcome: &Outcome);
}

/// Where nobody watches.
impl Progress for () {
    fn bytes(&self, _count: u64) {}
    fn done(&self, _name: &str, _outcome: &Outcome) {}
}

/// What became of one recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is sealed, durable and in the catalogue.
    Imported {
        /// Its id.
        id: RecordingId,
        /// What somebody may want to look into.
        warnings: Vec<String>,
    },
    /// The catalogue has it from before.
    AlreadyThere {
        /// Its id.
        id: RecordingId,
    },
    /// It was left out.
    Failed {
        /// Why.
        reason: String,
    },
}

/// What became of all of them, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// In the order in which they were given.
    pub outcomes: Vec<(String, Outcome)>,
}

impl Summary {
    /// How many were imported, how many were there, how many failed.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        let mut counts = (0, 0, 0);
        for (_, outcome) in &self.outcomes {
            match outcome {
                Outcome::Imported { .. } => counts.0 += 1,
                Outcome::AlreadyThere { .. } => counts.1 += 1,
                Outcome::Failed { .. } => counts.2 += 1,
            }
        }
        counts
    }
}

impl Importer {
    /// As many recordings at once as there are processors: decoding takes one each.
    #[must_use]
    pub fn new(ingest: Ingest) -> Self {
        let at_once = std::thread::available_parallelism().map_or(2, |n| n.get());
        Self { ingest, at_once }
    }

    /// Imports `sources`. One that is bad is reported, and the others go on.
    pub async fn run(
        &self,
        tenant: &TenantId,
        sources: Vec<Source>,
        progress: Arc<dyn Progress>,
    ) -> Summary {
        let outcomes = futures::stream::iter(sources)
            .map(|source| {
                let (importer, tenant) = (self.clone(), tenant.clone());
                let progress = progress.clone();
                async move {
                    let outcome = match importer.one(&tenant, &source, &*progress).await {
                        Ok(outcome) => outcome,
                        Err(error) => Outcome::Failed {
                            reason: with_causes(&error),
                        },
                    };
                    progress.done(&source.name, &outcome);
                    (source.name, outcome)
                }
            })
            .buffered(self.at_once)
            .collect()
            .await;
        Summary { outcomes }
    }

    async fn one(
        &self,
        tenant: &TenantId,
        source: &Source,
        progress: &dyn Progress,
    ) -> Result<Outcome, Error> {
        let metadata = match &source.metadata {
            Some(input) => {
                let json = input.read_all(MAX_METADATA).await?;
                Metadata::parse(&json).map_err(|reason| Error::BadMedia {
                    reason: format!("{}: {reason}", input.describe()),
                })?
            }
            None => Metadata::default(),
        };
        let transcript = match &source.transcript {
            Some(input) => {
                let json = input.read_all(MAX_TRANSCRIPT).await?;
                metadata::check_transcript(&json).map_err(|reason| Error::BadMedia {
                    reason: format!("{}: {reason}", input.describe()),
                })?;
                Some(json)
            }
            None => None,
        };
        let id = match metadata.recording_id.clone() {
            Some(id) => id,
            None => derived_id(tenant, source).await?,
        };
        let tenants = std::slice::from_ref(tenant);
        if self
            .ingest
            .catalogue()
            .recording(tenants, &id)
            .await?
            .is_some()
        {
            progress.bytes(source.media.len());
            return Ok(Outcome::AlreadyThere { id });
        }
        let start_ms = metadata
            .start_ms()
            .or(source.modified_ms)
            .unwrap_or_else(|| self.ingest.now_ms());
        let new = NewRecording {
            id: id.clone(),
            tenant: tenant.clone(),
            conversation_id: metadata
                .conversation_id
                .clone()
                .unwrap_or_else(|| id.as_str().to_owned()),
            media: metadata.media,
            content_type: metadata.content_type.clone(),
            start_ms,
            duration_ms: metadata.duration_ms,
            details: metadata.into_details(),
            transcript,
        };
        let body = source.media.open().await?;
        match self
            .ingest
            .seal(new, body, &|count| progress.bytes(count))
            .await
        {
            Ok(ingested) => Ok(Outcome::Imported {
                id,
                warnings: ingested.warnings,
            }),
            // Another import of the same folder was quicker.
            Err(Error::Exists { .. }) => Ok(Outcome::AlreadyThere { id }),
            Err(error) => Err(error),
        }
    }
}

/// The same file under the same name is the same recording, however often it is imported; a file
/// that was replaced is another one. A UUID of version 8 (RFC 9562, section 5.8).
async fn derived_id(tenant: &TenantId, source: &Source) -> Result<RecordingId, Error> {
    let mut context = digest::Context::new(&digest::SHA256);
    for text in ["keyreel/v1 import", tenant.as_str(), &source.name] {
        context.update(text.as_bytes());
        context.update(&[0]);
    }
    let mut body = source.media.open().await?;
    let mut piece = vec![0; 256 << 10];
    loop {
        let read = body
            .read(&mut piece)
            .await
            .map_err(|error| source.media.failed(error))?;
        if read == 0 {
            break;
        }
        context.update(piece.get(..read).unwrap_or_default());
    }
    let digest = context.finish();
    let bytes = digest
        .as_ref()
        .first_chunk::<16>()
        .copied()
        .unwrap_or_default();
    let id = uuid::Builder::from_custom_bytes(bytes)
        .into_uuid()
        .to_string();
    RecordingId::parse(&id).map_err(|error| Error::invalid("recording id", error.to_string()))
}

fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        // Most of our messages end with their cause already.
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests;
