//! The server over real sockets: SQLite and objects in a temporary folder, a key provider in this
//! process.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what is not as expected ends a test, helpers included"
)]

mod access;
mod api;
mod client;
mod damage;
mod destruction;
mod drain;
mod fixture;
mod http2;
mod ingest;
mod key_changes;
mod keys;
mod media;
mod operate;
mod recovery;
mod rewrap;
mod rotation;
mod sealed;
mod tls;
