//! The two things besides its input that a guest may look at: the time of day and randomness.
//! Not for: keys: those come from the host, by handle.

use crate::bindings::provider_world::wasi;

/// Milliseconds since 1970.
#[must_use]
pub fn unix_ms() -> u64 {
    let now = wasi::clocks::wall_clock::now();
    now.seconds
        .saturating_mul(1000)
        .saturating_add(u64::from(now.nanoseconds / 1_000_000))
}

/// `count` bytes from the host's random number generator, for nonces.
#[must_use]
pub fn random_bytes(count: usize) -> Vec<u8> {
    wasi::random::random::get_random_bytes(count as u64)
}
