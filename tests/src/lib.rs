//! What the end-to-end tests share: a running `keyreel demo`, a client for its API, samples.
//! Not for: unit tests; those lie beside the code they test.
#![forbid(unsafe_code)]

mod client;
mod demo;
mod json;
pub mod mock_lkm;
mod wave;

pub use client::{Client, Playback, Recording};
pub use demo::{
    Demo, KmsService, LkmService, Ready, Services, TenantAccess, keyreel, program, root,
};
pub use json::{JsonRequest, JsonResponse};
pub use wave::{noise_wave, write_recording};
