//! End to end: the program that users get, over HTTP, with real tools beside it.
#![forbid(unsafe_code)]

mod accounts;
mod apply;
mod audit;
mod commands;
mod flights;
mod keys;
mod ranges;
mod recovery;
mod revocation;
mod rewrap;
mod rotation;
mod shred;
mod start;
mod tampering;
