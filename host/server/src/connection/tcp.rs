//! A TCP stream that knows whether its writes are stuck, and that ends with a reset when the
//! connection was aborted: what still lies in the kernel's buffers is then not delivered.

use std::io;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::abort::Abort;

pub(super) struct Tcp {
    stream: TcpStream,
    abort: Abort,
    progress: Progress,
}

/// Whether a write waits for the other end, and how many have not.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress(Arc<Written>);

#[derive(Debug, Default)]
struct Written {
    writes: AtomicU64,
    waiting: AtomicBool,
}

impl Progress {
    /// Returns when a write has waited for at least `limit`; at most a quarter more.
    pub(super) async fn stalled(&self, limit: Duration) {
        let mut waited = 0;
        let mut seen = self.0.writes.load(Ordering::Relaxed);
        loop {
            tokio::time::sleep(limit / 4).await;
            let writes = self.0.writes.load(Ordering::Relaxed);
            let stuck = self.0.waiting.load(Ordering::Relaxed) && writes == seen;
            seen = writes;
            waited = if stuck { waited + 1 } else { 0 };
            if waited > 4 {
                return;
            }
        }
    }

    fn note<T>(&self, polled: &Poll<io::Result<T>>) {
        if polled.is_pending() {
            self.0.waiting.store(true, Ordering::Relaxed);
        } else {
            self.0.waiting.store(false, Ordering::Relaxed);
            self.0.writes.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Tcp {
    pub(super) fn new(stream: TcpStream, abort: Abort, progress: Progress) -> Self {
        Self {
            stream,
            abort,
            progress,
        }
    }
}

impl AsyncRead for Tcp {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buffer);
        self.progress.note(&polled);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, buffers);
        self.progress.note(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        if self.abort.is_aborted() {
            // If it fails the connection still ends short of its length.
            let _ = self.stream.set_zero_linger();
        }
    }
}
