//! Memory for spans, used again and again: a fresh megabyte for each would be mapped, cleared and
//! faulted in page by page, which takes about as long as decrypting it.

use std::sync::{Mutex, PoisonError};

use bytes::{Bytes, BytesMut};

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

    /// A buffer that `len` bytes fit into. It has the length and the contents of its last use, so
    /// that nobody need clear what is overwritten. What is much smaller than any shelf is made to
    /// measure: a slow listener holds on to it.
    pub(super) fn take(&self, len: usize) -> BytesMut {
        match self.shelf(len) {
            Some(shelf) => shelf.take(),
            None => BytesMut::with_capacity(len),
        }
    }

    /// Keeps a handle on memory that was taken here, all of what was read into it.
    pub(super) fn keep(&self, memory: Bytes) {
        if let Some(shelf) = self.shelf(memory.len()) {
            shelf.keep(memory);
        }
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
    /// By their last use.
    used: Mutex<Vec<Bytes>>,
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
        // The newest first: they are in the processor's caches still.
        let free = used.iter().rposition(Bytes::is_unique);
        let found = free.map(|at| used.remove(at));
        drop(used);
        found
            .and_then(|memory| memory.try_into_mut().ok())
            .unwrap_or_else(|| BytesMut::with_capacity(self.size))
    }

    fn keep(&self, memory: Bytes) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() == KEPT {
            // Whoever listens to the oldest keeps it; it is freed after that.
            used.remove(0);
        }
        used.push(memory);
    }
}

/// At 256 KiB each, 16 MiB.
const KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Buffers, KEPT};

    #[test]
    fn memory_is_used_again_once_it_is_free() {
        let buffers = Buffers::new(1024, 4096);
        for len in [1000, 4000] {
            let mut first = buffers.take(len);
            assert!(first.is_empty());
            first.resize(len, 1);
            let span = first.freeze();
            buffers.keep(span.clone());
            let address = span.as_ptr();
            assert_ne!(buffers.take(len).as_ptr(), address, "still in use");
            let rest = span.slice(len - 1..);
            drop(span);
            assert_ne!(buffers.take(len).as_ptr(), address, "a slice is in use");
            drop(rest);
            let again = buffers.take(len);
            assert_eq!(again.as_ptr(), address);
            assert_eq!(again.len(), len, "nothing to clear");
            assert!(again.capacity() >= if len == 1000 { 1024 } else { 4096 });
            assert_ne!(buffers.take(len).as_ptr(), address, "taken once");
        }
        assert!(buffers.take(100).capacity() < 1024, "made to measure");
    }

    #[test]
    fn memory_that_fills_its_shelf_is_used_again() {
        let buffers = Buffers::new(1024, 4096);
        let mut first = buffers.take(4096);
        first.resize(4096, 1);
        let address = first.as_ptr();
        buffers.keep(first.freeze());
        assert_eq!(buffers.take(4096).as_ptr(), address);
    }

    #[test]
    fn what_stays_in_use_hides_nothing_that_is_free() {
        let buffers = Buffers::new(1024, 4096);
        let used = || {
            let mut buffer = buffers.take(1000);
            buffer.resize(1000, 1);
            let span = buffer.freeze();
            buffers.keep(span.clone());
            span
        };
        // Slow listeners before and after one that is done.
        let mut slow: Vec<Bytes> = (0..40).map(|_| used()).collect();
        let done = used();
        let address = done.as_ptr();
        slow.extend((0..KEPT - 41).map(|_| used()));
        drop(done);
        assert_eq!(used().as_ptr(), address);
        // The shelf is full of what is in use: what is newly freed is kept all the same.
        slow.extend((0..9).map(|_| used()));
        let last = slow.pop().unwrap();
        let address = last.as_ptr();
        drop(last);
        assert_eq!(used().as_ptr(), address);
    }
}
