//! Memory for spans, used again and again: a fresh megabyte for each would be mapped, cleared and
//! faulted in page by page, which takes about as long as decrypting it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bytes::BytesMut;

/// Buffers that were used, in two sizes. One can be used again when the last slice of it has been
/// written out.
pub(super) struct Buffers {
    small: Shelf,
    large: Shelf,
}

impl Buffers {
    /// For spans of up to `small` bytes, and of up to `large`.
    pub(super) fn new(small: usize, large: usize) -> Self {
        Self {
            small: Shelf::new(small),
            large: Shelf::new(large),
        }
    }

    /// A buffer that `len` bytes fit into, its contents undefined. What is much smaller than any
    /// shelf is made to measure: a slow listener holds on to it.
    pub(super) fn take(&self, len: usize) -> BytesMut {
        match self.shelf(len) {
            Some(shelf) => shelf.take(),
            None => BytesMut::with_capacity(len),
        }
    }

    /// Splits the filled part of a buffer off and keeps a handle on its memory.
    pub(super) fn keep(&self, mut filled: BytesMut) -> BytesMut {
        let Some(shelf) = self.shelf(filled.len()) else {
            return filled;
        };
        let span = filled.split();
        shelf.keep(filled);
        span
    }

    fn shelf(&self, len: usize) -> Option<&Shelf> {
        if len > self.large.size || len * 3 < self.small.size {
            None
        } else if len > self.small.size {
            Some(&self.large)
        } else {
            Some(&self.small)
        }
    }
}

struct Shelf {
    used: Mutex<VecDeque<BytesMut>>,
    size: usize,
}

impl Shelf {
    fn new(size: usize) -> Self {
        Self {
            used: Mutex::default(),
            size,
        }
    }

    fn take(&self) -> BytesMut {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        // The oldest are the likeliest to be free.
        for _ in 0..used.len().min(LOOKED_AT) {
            let Some(mut buffer) = used.pop_front() else {
                break;
            };
            if buffer.try_reclaim(self.size) {
                return buffer;
            }
            used.push_back(buffer);
        }
        drop(used);
        BytesMut::with_capacity(self.size)
    }

    fn keep(&self, buffer: BytesMut) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() < KEPT {
            used.push_back(buffer);
        }
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
        let buffers = Buffers::new(1024, 4096);
        for len in [1000, 4000] {
            let mut first = buffers.take(len);
            first.resize(len, 1);
            let span = buffers.keep(first).freeze();
            let address = span.as_ptr();
            assert_ne!(buffers.take(len).as_ptr(), address, "still in use");
            drop(span);
            let again = buffers.take(len);
            assert_eq!(again.as_ptr(), address);
            assert!(again.is_empty());
        }
        assert!(buffers.take(100).capacity() < 1024, "made to measure");
    }
}
