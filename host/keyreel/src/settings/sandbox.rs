//! `[sandbox]`: what one call of a plugin may use.

use std::time::Duration;

use keyreel_sandbox::Limits;

use super::in_range;
use crate::output::Usage;

/// Bounds on what a plugin may use, for each call, the same for all plugins.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SandboxLimits {
    /// MiB of linear memory, summed over all memories of the instance.
    #[schemars(range(min = 1, max = 4096))]
    pub(crate) memory_mib: u32,
    /// Elements of tables, summed over all tables.
    #[schemars(range(min = 1000, max = 10_000_000))]
    pub(crate) table_elements: u32,
    /// Core instances, tables and memories, each.
    #[schemars(range(min = 1, max = 1000))]
    pub(crate) instances: u32,
    /// KiB of the guest's call stack.
    #[schemars(range(min = 64, max = 8192))]
    pub(crate) stack_kib: u32,
    /// Milliseconds of CPU time. Waiting in a host call is not counted.
    #[schemars(range(min = 1, max = 30_000))]
    pub(crate) cpu_ms: u32,
    /// Milliseconds in which CPU time is counted, and after which a guest lets others run.
    #[schemars(range(min = 1, max = 100))]
    pub(crate) tick_ms: u32,
    /// Calls of host functions, WASI's included.
    #[schemars(range(min = 100, max = 10_000_000))]
    pub(crate) host_calls: u32,
    /// KiB that are passed to the host in one call, or in the answer.
    #[schemars(range(min = 64, max = 65_536))]
    pub(crate) host_call_kib: u32,
    /// Handles (secrets, streams, pollables) that live at once.
    #[schemars(range(min = 16, max = 65_536))]
    pub(crate) handles: u32,
    /// Lines that go to the log.
    #[schemars(range(min = 0, max = 100_000))]
    pub(crate) log_lines: u32,
    /// KiB that go to the log.
    #[schemars(range(min = 0, max = 4096))]
    pub(crate) log_kib: u32,
    /// MiB of a component.
    #[schemars(range(min = 1, max = 512))]
    pub(crate) component_mib: u32,
    /// Seconds to compile a component.
    #[schemars(range(min = 1, max = 3600))]
    pub(crate) compile_seconds: u32,
    /// Seconds for `describe` and `validate`.
    #[schemars(range(min = 1, max = 60))]
    pub(crate) describe_seconds: u32,
}

impl SandboxLimits {
    /// As the sandbox takes them.
    ///
    /// # Errors
    /// One is out of its range.
    pub(crate) fn limits(&self) -> Result<Limits, Usage> {
        self.check()
            .map_err(|error| Usage::new(format!("[sandbox] {error}")))?;
        let kib = |kib: u32| (kib as usize) << 10;
        let mib = |mib: u32| (mib as usize) << 20;
        Ok(Limits {
            memory_bytes: mib(self.memory_mib),
            table_elements: self.table_elements as usize,
            instances: self.instances as usize,
            stack_bytes: kib(self.stack_kib),
            cpu: Duration::from_millis(self.cpu_ms.into()),
            tick: Duration::from_millis(self.tick_ms.into()),
            host_calls: self.host_calls.into(),
            host_call_bytes: kib(self.host_call_kib),
            handles: self.handles as usize,
            log_lines: self.log_lines,
            log_bytes: kib(self.log_kib),
            component_bytes: mib(self.component_mib),
            compile_time: Duration::from_secs(self.compile_seconds.into()),
            describe_time: Duration::from_secs(self.describe_seconds.into()),
        })
    }

    pub(super) fn check(&self) -> Result<(), Usage> {
        in_range(&[
            ("memory_mib", self.memory_mib, 1..=4096),
            ("table_elements", self.table_elements, 1000..=10_000_000),
            ("instances", self.instances, 1..=1000),
            ("stack_kib", self.stack_kib, 64..=8192),
            ("cpu_ms", self.cpu_ms, 1..=30_000),
            ("tick_ms", self.tick_ms, 1..=100),
            ("host_calls", self.host_calls, 100..=10_000_000),
            ("host_call_kib", self.host_call_kib, 64..=65_536),
            ("handles", self.handles, 16..=65_536),
            ("log_lines", self.log_lines, 0..=100_000),
            ("log_kib", self.log_kib, 0..=4096),
            ("component_mib", self.component_mib, 1..=512),
            ("compile_seconds", self.compile_seconds, 1..=3600),
            ("describe_seconds", self.describe_seconds, 1..=60),
        ])
    }
}

impl Default for SandboxLimits {
    fn default() -> Self {
        Self {
            memory_mib: 64,
            table_elements: 200_000,
            instances: 100,
            stack_kib: 512,
            cpu_ms: 1000,
            tick_ms: 1,
            host_calls: 10_000,
            host_call_kib: 2048,
            handles: 256,
            log_lines: 100,
            log_kib: 16,
            component_mib: 64,
            compile_seconds: 120,
            describe_seconds: 5,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_the_sandboxs_own() {
        let limits = SandboxLimits::default().limits();
        assert_eq!(limits.ok(), Some(Limits::default()));
    }
}
