//! End to end: the program that users get, over HTTP, with real tools beside it.
#![forbid(unsafe_code)]

mod commands;
mod flights;
mod ranges;
mod start;
mod tampering;
