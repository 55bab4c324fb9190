//! The key providers as they are shipped, in a server, against key services that work, fail, lie
//! and hang; and against services that others wrote.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod faults;
mod front;
mod moto;
mod neighbours;
mod rig;
