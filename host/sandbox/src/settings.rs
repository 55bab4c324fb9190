//! What an operator may set: limits, and where compiled artefacts are kept.
//! Not for: reading a configuration file (see `keyreel-server`).

use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

/// How the sandbox is set up.
#[derive(Default)]
pub struct SandboxSettings {
    /// What one call of a plugin may use.
    pub limits: Limits,
    /// Where compiled artefacts are kept. `None`: nowhere, each start compiles anew.
    pub cache: Option<ArtefactCache>,
}

/// A private directory of compiled plugins.
pub struct ArtefactCache {
    /// Made with mode 0700 where it does not exist.
    pub directory: PathBuf,
    /// A key of this installation. Artefacts are machine code: only those are loaded that carry a
    /// MAC under this key, so none from outside ever is.
    pub key: Zeroizing<[u8; 32]>,
}

/// What one call of a plugin may use. `docs/plugins.md` lists the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of linear memory, summed over all memories of the instance.
    pub memory_bytes: usize,
    /// Elements of tables, summed over all tables.
    pub table_elements: usize,
    /// Core instances, tables and memories, each.
    pub instances: usize,
    /// Bytes of the guest's call stack.
    pub stack_bytes: usize,
    /// CPU time of the guest, counted in ticks that pass while it runs. Waiting in a host call is
    /// not counted.
    pub cpu: Duration,
    /// Length of a tick, which is also how long a guest may run before it lets others run.
    pub tick: Duration,
    /// Calls of host functions, WASI's included.
    pub host_calls: u64,
    /// Bytes that the host copies out of the guest for one host call or one answer.
    pub host_call_bytes: usize,
    /// Handles (secrets, streams, pollables) that live at once.
    pub handles: usize,
    /// Lines that go to the log.
    pub log_lines: u32,
    /// Bytes that go to the log.
    pub log_bytes: usize,
    /// Size of a component.
    pub component_bytes: usize,
    /// Time to compile a component.
    pub compile_time: Duration,
    /// Time for `describe` and `validate`.
    pub describe_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            table_elements: 200_000,
            instances: 100,
            stack_bytes: 512 << 10,
            cpu: Duration::from_secs(1),
            tick: Duration::from_millis(1),
            host_calls: 10_000,
            host_call_bytes: 2 << 20,
            handles: 256,
            log_lines: 100,
            log_bytes: 16 << 10,
            component_bytes: 64 << 20,
            compile_time: Duration::from_secs(120),
            describe_time: Duration::from_secs(5),
        }
    }
}
