//! Plugins in the sandbox: the managed provider, hostile ones, and files that are refused.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod admission;
mod aws_kms;
mod egress;
mod hostile;
mod lkm;
mod managed;
mod support;
