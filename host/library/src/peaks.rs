//! What a player needs to draw a call before it has a byte of its audio: the peaks of its
//! waveform, computed once, while the recording is sealed.
//!
//! Decoders are symphonia (WAV with PCM, A-law, µ-law and floats; MP3; Ogg Vorbis) and
//! ropus (Ogg Opus): Rust throughout, no C, since whoever may upload a recording chooses these
//! bytes. (symphonia forbids unsafe code; ropus indexes a few inner loops unchecked.) They run on a
//! thread of their own, so that a decoder's panic is no more than a recording without a waveform.
//! What they may take of memory and time is bounded (`bounds`); what takes more has no waveform.
//! Not for: playing; the browser decodes for itself.

mod bounds;
mod decode;
mod opus;
mod vorbis;
mod waveform;

use std::io::Read;

use bytes::{Buf, Bytes};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub use waveform::Waveform;

/// What decoding found out.
#[derive(Debug, Clone, PartialEq)]
pub struct Analysis {
    /// The peaks.
    pub waveform: Waveform,
    /// How long the audio is.
    pub duration_ms: u64,
    /// What was wrong, where it could still be decoded: cut off in the middle, damaged packets.
    pub warning: Option<String>,
}

/// Why there is no waveform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the audio cannot be decoded: {reason}")]
pub struct Undecodable {
    /// Why.
    pub reason: String,
}

impl Undecodable {
    fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}

/// Decodes all of `source`, in bounded memory and time.
///
/// # Errors
/// [`Undecodable`]: not audio that we know, or not one whole packet of it, or more than a day of it,
/// or it asks for more than audio takes.
pub fn analyse<R: Read + Send + Sync + 'static>(source: R) -> Result<Analysis, Undecodable> {
    decode::analyse(source, bounds::Bounds::default())
}

/// A decoder on a thread of its own, fed with the bytes that pass by.
pub(crate) struct Tap {
    feed: Option<mpsc::Sender<Bytes>>,
    thread: JoinHandle<Result<Analysis, Undecodable>>,
}

/// Pieces under way to the decoder; the feeder waits where it falls behind.
const PIECES: usize = 4;

impl Tap {
    pub(crate) fn open() -> Self {
        let (feed, pieces) = mpsc::channel(PIECES);
        let source = Pieces {
            pieces,
            current: Bytes::new(),
        };
        let thread = tokio::task::spawn_blocking(move || analyse(source));
        Self {
            feed: Some(feed),
            thread,
        }
    }

    /// Feeds the next piece. A decoder that has given up takes no more, and that is no error.
    pub(crate) async fn feed(&mut self, piece: Bytes) {
        if let Some(feed) = &self.feed
            && feed.send(piece).await.is_err()
        {
            self.feed = None;
        }
    }

    /// What it found out, once it has seen everything.
    pub(crate) async fn finish(self) -> Result<Analysis, Undecodable> {
        drop(self.feed);
        match self.thread.await {
            Ok(result) => result,
            Err(error) if error.is_panic() => {
                Err(Undecodable::new("the decoder failed on malformed audio"))
            }
            Err(_) => Err(Undecodable::new("the decoder was stopped")),
        }
    }
}

/// The decoder's end of the channel.
struct Pieces {
    pieces: mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.current = piece,
                None => return Ok(0),
            }
        }
        let taken = self.current.len().min(buf.len());
        let (target, _) = buf.split_at_mut(taken);
        self.current.copy_to_slice(target);
        Ok(taken)
    }
}

#[cfg(test)]
pub(crate) mod tests;
