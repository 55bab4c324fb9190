//! A TCP stream that knows whether its writes are stuck, and that ends with a reset when the
//! connection was aborted: what still lies in the kernel's buffers is then not delivered.

use std::io;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::{Abort, Progress};

/// See the module.
#[derive(Debug)]
pub struct Tcp {
    stream: TcpStream,
    abort: Abort,
    progress: Progress,
}

impl Tcp {
    /// `stream`, which `abort` ends and `progress` watches.
    #[must_use]
    pub fn new(stream: TcpStream, abort: Abort, progress: Progress) -> Self {
        Self {
            stream,
            abort,
            progress,
        }
    }

    fn note<T>(&self, polled: &Poll<io::Result<T>>) {
        if polled.is_pending() {
            self.progress.waits();
        } else {
            self.progress.moves();
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
        self.note(&polled);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, buffers);
        self.note(&polled);
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
