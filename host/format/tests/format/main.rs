//! The format from outside: published vectors, tampering, ranges, and one backend against the
//! other. What needs the crate's inside lies next to the code.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking; clippy.toml allows these in test functions only, not in \
              their helpers"
)]

mod primitives;
mod ranges;
mod recipients;
mod rewrap;
mod support;
mod tamper;
mod vectors;
