//! Memory for spans, used again and again: a fresh megabyte for each would be mapped, cleared and
//! faulted in page by page, which takes about as long as decrypting it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bytes::BytesMut;

/// Buffers that were used. One can be used again when the last slice of it has been written out.
pub(super) struct Buffers {
    used: Mutex<VecDeque<BytesMut>>,
    len: usize,
}

impl Buffers {
    /// For spans of up to `len` bytes.
    pub(super) fn new(len: usize) -> Self {
        Self {
            used: Mutex::default(),
            len,
        }
    }

    /// A buffer that `len` bytes fit into, its contents undefined. A long one only where it is
    /// needed: a slow listener holds on to it.
    pub(super) fn take(&self, len: usize) -> BytesMut {
        if len * 2 < self.len {
            return BytesMut::with_capacity(len);
        }
        {
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            // The oldest are the likeliest to be free.
            for _ in 0..used.len().min(LOOKED_AT) {
                let Some(mut buffer) = used.pop_front() else {
                    break;
                };
                if buffer.try_reclaim(self.len) {
                    return buffer;
                }
                used.push_back(buffer);
            }
        }
        BytesMut::with_capacity(self.len.max(len))
    }

    /// Splits the filled part of a buffer off and keeps a handle on its memory.
    pub(super) fn keep(&self, mut filled: BytesMut) -> BytesMut {
        if filled.capacity() < self.len {
            return filled;
        }
        let span = filled.split();
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() < KEPT {
            used.push_back(filled);
        }
        span
    }
}

const LOOKED_AT: usize = 4;
/// At 256 KiB each, 16 MiB.
const KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use super::Buffers;

    #[test]
    fn memory_is_used_again_once_it_is_free() {
        let buffers = Buffers::new(4096);
        let mut first = buffers.take(4096);
        first.resize(4000, 1);
        let span = buffers.keep(first).freeze();
        let address = span.as_ptr();
        assert_ne!(buffers.take(4096).as_ptr(), address, "still in use");
        drop(span);
        let again = buffers.take(4096);
        assert_eq!(again.as_ptr(), address);
        assert!(again.is_empty());
    }
}
