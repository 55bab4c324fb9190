//! Memory, tables and instances of one call, counted together.
//! Not for: CPU time and host calls (see `state`).

use wasmtime::ResourceLimiter;

use crate::error::Fault;
use crate::settings::Limits;

/// Counts what an instance allocates. wasmtime's own `StoreLimits` holds for each memory on its
/// own; a component may have many.
pub(crate) struct Limiter {
    memory_left: usize,
    elements_left: usize,
    instances: usize,
    refused: bool,
    instantiated: bool,
}

impl Limiter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory_left: limits.memory_bytes,
            elements_left: limits.table_elements,
            instances: limits.instances,
            refused: false,
            instantiated: false,
        }
    }

    /// From now on a refused growth is the guest's to handle, as WebAssembly has it.
    pub(crate) fn instantiated(&mut self) {
        self.instantiated = true;
    }

    /// Whether the guest was refused memory.
    pub(crate) fn refused(&self) -> bool {
        self.refused
    }

    fn refuse(&mut self) -> wasmtime::Result<bool> {
        self.refused = true;
        if self.instantiated {
            Ok(false)
        } else {
            Err(Fault::Memory.into())
        }
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current);
        let Some(left) = self.memory_left.checked_sub(growth) else {
            return self.refuse();
        };
        self.memory_left = left;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        // Nothing is given back: a failure may be told without a growth before it, and counting
        // too much is the safe side.
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current);
        let Some(left) = self.elements_left.checked_sub(growth) else {
            return self.refuse();
        };
        self.elements_left = left;
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn tables(&self) -> usize {
        self.instances
    }

    fn memories(&self) -> usize {
        self.instances
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_over_all_memories() {
        let limits = Limits {
            memory_bytes: 300,
            ..Limits::default()
        };
        let mut limiter = Limiter::new(&limits);
        assert!(limiter.memory_growing(0, 100, None).unwrap());
        assert!(limiter.memory_growing(0, 100, None).unwrap());
        limiter.instantiated();
        assert!(!limiter.memory_growing(100, 201, None).unwrap());
        assert!(limiter.refused());
        assert!(limiter.memory_growing(100, 200, None).unwrap());
        // What failed all the same stays counted.
        limiter
            .memory_grow_failed(wasmtime::Error::msg("no memory"))
            .unwrap();
        assert!(!limiter.memory_growing(0, 1, None).unwrap());
    }

    #[test]
    fn an_instance_too_large_to_begin_with_is_an_error() {
        let limits = Limits {
            memory_bytes: 300,
            ..Limits::default()
        };
        let error = Limiter::new(&limits)
            .memory_growing(0, 301, None)
            .unwrap_err();
        assert_eq!(Fault::of(&error, false), Fault::Memory);
    }
}
