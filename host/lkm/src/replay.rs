//! Nonces that were used: a request that was taken once is not taken again.
//! Not for: old requests: their timestamp is outside of the window, or before the process began.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};

/// Of one credential, within twice the window: more than any Keyreel sends. Beyond it requests are
/// turned away, not taken unchecked. Nobody is who has no credential, and nobody takes another's
/// places.
const CAPACITY: usize = 50_000;

/// What a nonce is remembered by: a digest, so that its length costs nothing.
type Key = [u8; 16];

/// The nonces of one server.
pub(crate) struct Nonces {
    window_ms: u64,
    capacity: usize,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    keys: HashSet<Key>,
    /// How many each credential has.
    places: HashMap<Key, usize>,
    /// When each may be forgotten, soonest first, and whose it is.
    order: VecDeque<(u64, Key, Key)>,
}

/// What is to be said of a nonce.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Nonce {
    Fresh,
    Used,
    /// This credential had too many within the window.
    NoRoom,
}

impl Nonces {
    pub(crate) fn new(window: Duration) -> Self {
        Self::with_capacity(window, CAPACITY)
    }

    fn with_capacity(window: Duration, capacity: usize) -> Self {
        Self {
            window_ms: u64::try_from(window.as_millis()).unwrap_or(u64::MAX),
            capacity,
            seen: Mutex::default(),
        }
    }

    /// Takes the nonce of an authenticated request whose timestamp is within the window at `now_ms`.
    pub(crate) fn take(&self, id: &str, seconds: i64, nonce: &str, now_ms: u64) -> Nonce {
        let key = key(&format!("{id}\n{seconds}\n{nonce}"));
        let owner = self::key(id);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.forget(now_ms);
        if seen.keys.contains(&key) {
            return Nonce::Used;
        }
        let places = seen.places.entry(owner).or_default();
        if *places >= self.capacity {
            return Nonce::NoRoom;
        }
        *places += 1;
        // A timestamp of the far end of the window is good for twice as long; a second for rounding.
        let until = now_ms.saturating_add(2 * self.window_ms + 1000);
        seen.keys.insert(key);
        seen.order.push_back((until, key, owner));
        Nonce::Fresh
    }
}

impl Seen {
    fn forget(&mut self, now_ms: u64) {
        while let Some((_, old, owner)) = self.order.pop_front_if(|(until, ..)| *until <= now_ms) {
            self.keys.remove(&old);
            if let Some(places) = self.places.get_mut(&owner) {
                *places -= 1;
                if *places == 0 {
                    self.places.remove(&owner);
                }
            }
        }
    }
}

fn key(text: &str) -> Key {
    let digest = digest(&SHA256, text.as_bytes());
    let mut key = Key::default();
    for (to, from) in key.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_for_as_long_as_a_timestamp_is_good() {
        let nonces = Nonces::new(Duration::from_mins(1));
        assert_eq!(nonces.take("a", 100, "n", 0), Nonce::Fresh);
        assert_eq!(nonces.take("a", 100, "n", 1), Nonce::Used);
        assert_eq!(nonces.take("b", 100, "n", 1), Nonce::Fresh);
        assert_eq!(nonces.take("a", 101, "n", 1), Nonce::Fresh);
        assert_eq!(nonces.take("a", 100, "n", 120_000), Nonce::Used);
        assert_eq!(nonces.take("a", 100, "n", 122_001), Nonce::Fresh);
    }

    #[test]
    fn is_bounded_for_each_credential_and_closed_when_full() {
        let nonces = Nonces::with_capacity(Duration::from_mins(1), 2);
        assert_eq!(nonces.take("a", 1, "1", 0), Nonce::Fresh);
        assert_eq!(nonces.take("a", 1, "2", 0), Nonce::Fresh);
        assert_eq!(nonces.take("a", 1, "3", 0), Nonce::NoRoom);
        assert_eq!(nonces.take("a", 1, "1", 0), Nonce::Used);
        // Its places, not the others'.
        assert_eq!(nonces.take("b", 1, "1", 0), Nonce::Fresh);
        assert_eq!(nonces.take("a", 1, "3", 200_000), Nonce::Fresh);
        let seen = nonces.seen.lock().unwrap();
        assert_eq!((seen.keys.len(), seen.places.len()), (1, 1));
    }
}
