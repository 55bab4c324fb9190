//! What a decoder may cost. Whoever may upload a recording chooses the bytes, and a few of them can
//! ask for gigabytes of tables or for days of silence.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Undecodable;

/// Bounds on one recording.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Seconds of audio. More is no call.
    pub(super) seconds: u64,
    /// Bytes without a packet of audio: headers, tags, pictures, junk. Tags take some thirty times
    /// as much memory as they do in the file.
    pub(super) barren: u64,
    /// Time spent on it, without waiting for its bytes. A day of audio takes less.
    pub(super) work: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            seconds: 24 * 60 * 60,
            barren: 2 << 20,
            work: Duration::from_secs(20 * 60),
        }
    }
}

/// No audio has more frames in a second; what claims them makes a day's bound meaningless.
const MAX_SAMPLE_RATE: u32 = 384_000;

/// Watches over one decoding.
pub(super) struct Watch {
    bounds: Bounds,
    started: Instant,
    taken: Arc<Taken>,
}

#[derive(Default)]
struct Taken {
    /// Bytes since the last packet.
    barren: AtomicU64,
    waited_us: AtomicU64,
}

impl Watch {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            started: Instant::now(),
            taken: Arc::default(),
        }
    }

    /// `source`, such that its reads are counted.
    pub(super) fn over<R: Read>(&self, source: R) -> Watched<R> {
        Watched {
            source,
            barren: self.bounds.barren,
            taken: self.taken.clone(),
        }
    }

    /// A packet came. Decoding ends where it has taken too long.
    pub(super) fn packet(&self) -> Result<(), Undecodable> {
        self.taken.barren.store(0, Ordering::Relaxed);
        let waited = Duration::from_micros(self.taken.waited_us.load(Ordering::Relaxed));
        if self.started.elapsed().saturating_sub(waited) > self.bounds.work {
            return Err(Undecodable::new("it takes too long to decode"));
        }
        Ok(())
    }

    /// So many frames were decoded altogether.
    pub(super) fn frames(&self, frames: u64, sample_rate: u32) -> Result<(), Undecodable> {
        if sample_rate > MAX_SAMPLE_RATE {
            let reason = format!("its sample rate is {sample_rate} Hz");
            return Err(Undecodable::new(reason));
        }
        if frames / u64::from(sample_rate.max(1)) >= self.bounds.seconds {
            let hours = self.bounds.seconds / 3600;
            let reason = format!("it is longer than {hours} hours");
            return Err(Undecodable::new(reason));
        }
        Ok(())
    }
}

/// A source under watch.
pub(super) struct Watched<R> {
    source: R,
    barren: u64,
    taken: Arc<Taken>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.taken.barren.load(Ordering::Relaxed) >= self.barren {
            let reason = format!("{} bytes without audio in them", self.barren);
            return Err(io::Error::other(reason));
        }
        let started = Instant::now();
        let read = self.source.read(buf);
        let waited = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.taken.waited_us.fetch_add(waited, Ordering::Relaxed);
        let count = *read.as_ref().unwrap_or(&0);
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.taken.barren.fetch_add(count, Ordering::Relaxed);
        read
    }
}
