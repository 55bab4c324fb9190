//! The one line that turns bytes into machine code without compiling them.
//! Not for: deciding which bytes: that is what [`Verified`] stands for.

use wasmtime::Engine;
use wasmtime::component::Component;

use super::Verified;

/// Loads a compiled component.
#[expect(
    unsafe_code,
    reason = "wasmtime cannot tell a sound artefact from a forged one; we can"
)]
pub(super) fn component(engine: &Engine, artefact: &Verified<'_>) -> wasmtime::Result<Component> {
    // SAFETY: a `Verified` carries a MAC under this installation's key, so `Component::serialize` of
    // this program made these bytes and nobody changed them; wasmtime checks its own version.
    unsafe { Component::deserialize(engine, artefact.0) }
}
