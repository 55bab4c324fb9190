//! How a plugin can fail the sandbox, and how it can be refused.
//! Not for: errors that a plugin returns as its answer (see `convert`).

use std::fmt;

use keyreel_keys::{ErrorClass, ProviderError, ProviderId};
use wasmtime::Trap;
use wasmtime::component::ResourceTableError;
use wasmtime_wasi::I32Exit;

use crate::settings::Limits;
use crate::text::sanitised;

/// The sandbox cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The engine or its linker.
    #[error("the WebAssembly engine cannot be set up: {message}")]
    Engine {
        /// Why.
        message: String,
    },
    /// The thread that counts CPU time.
    #[error("the sandbox's ticker cannot be started: {source}")]
    Ticker {
        /// Why.
        source: std::io::Error,
    },
    /// The directory of compiled plugins.
    #[error("the plugin cache {directory:?} cannot be used: {source}")]
    Cache {
        /// Which directory.
        directory: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A grant of egress.
    #[error("the grant {grant:?} {reason}")]
    Grant {
        /// Which.
        grant: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file of certificate authorities.
    #[error("the certificate authorities in {file:?} cannot be used: {reason}")]
    Roots {
        /// Which file.
        file: std::path::PathBuf,
        /// Why.
        reason: String,
    },
}

/// A plugin is refused. The text tells its vendor what was expected and what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdmissionError {
    /// Another file than the one that was pinned.
    #[error("SHA-256 of the plugin: expected {expected} (pinned), found {found}")]
    Digest {
        /// Pinned, hexadecimal.
        expected: String,
        /// Found, hexadecimal.
        found: String,
    },
    /// Larger than the limit.
    #[error("expected a component of at most {limit} bytes, found {found} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
        /// Found.
        found: usize,
    },
    /// Not a component.
    #[error("expected a WebAssembly component, found {found}")]
    NotAComponent {
        /// What it is, and what to do.
        found: String,
    },
    /// The binary breaks a rule of WebAssembly, or needs a proposal that the host does not have.
    #[error("expected a valid component, found: {message}")]
    Invalid {
        /// Which.
        message: String,
    },
    /// It imports what the host does not offer. One line per import.
    #[error("it imports what this host does not offer:{}", lines(.imports))]
    UnknownImports {
        /// Expected and found, per import.
        imports: Vec<String>,
    },
    /// It does not export the provider interface.
    #[error("expected the export {expected}, found {found}")]
    NoProvider {
        /// The interface.
        expected: String,
        /// What it exports instead.
        found: String,
    },
    /// An import or export has the right name and the wrong type.
    #[error("the types of {what} differ from the contract: {message}")]
    Types {
        /// Which.
        what: &'static str,
        /// How.
        message: String,
    },
    /// It does not compile in the time allowed.
    #[error("expected to compile within {limit:?}; it takes longer")]
    CompileTime {
        /// The limit.
        limit: std::time::Duration,
    },
    /// It could not be started, or `describe` failed.
    #[error("`describe` failed: {source}")]
    Describe {
        /// How.
        source: ProviderError,
    },
    /// What `describe` says makes no sense.
    #[error("`describe`: {field}: expected {expected}, found {found}")]
    Description {
        /// Which field.
        field: &'static str,
        /// What is allowed.
        expected: String,
        /// What it says.
        found: String,
    },
}

fn lines(imports: &[String]) -> String {
    imports
        .iter()
        .fold(String::new(), |text, import| text + "\n  - " + import)
}

/// What stopped a call. Thrown through the guest as an error of wasmtime, or made out of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    Cpu,
    Memory,
    Stack,
    HostCalls,
    HostCallBytes,
    Handles,
    Deadline,
    Exit(i32),
    Trap(String),
    Malformed(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl std::error::Error for Fault {}

impl Fault {
    /// What `error`, which ended a call, was. `memory_refused`: the guest asked for more memory
    /// than it may have; allocators then give up with an ordinary trap.
    pub(crate) fn of(error: &wasmtime::Error, memory_refused: bool) -> Self {
        if let Some(fault) = error.downcast_ref::<Self>() {
            return fault.clone();
        }
        if let Some(exit) = error.downcast_ref::<I32Exit>() {
            return if memory_refused {
                Self::Memory
            } else {
                Self::Exit(exit.0)
            };
        }
        if let Some(ResourceTableError::Full) = error.downcast_ref::<ResourceTableError>() {
            return Self::Handles;
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::StackOverflow) => return Self::Stack,
            Some(_) if memory_refused => return Self::Memory,
            Some(trap) => return Self::Trap(trap.to_string()),
            None => {}
        }
        // These two limits of wasmtime have no type of their own.
        let text = error.root_cause().to_string();
        if text.contains("handle limit exceeded") {
            Self::Handles
        } else if text.contains("fuel allocated for hostcalls") {
            Self::HostCallBytes
        } else {
            Self::Malformed(sanitised(&text, 200))
        }
    }

    /// Its stable code.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Cpu => "sandbox.cpu",
            Self::Memory => "sandbox.memory",
            Self::Stack => "sandbox.stack",
            Self::HostCalls => "sandbox.host-calls",
            Self::HostCallBytes => "sandbox.host-call-bytes",
            Self::Handles => "sandbox.handles",
            Self::Deadline => "sandbox.deadline",
            Self::Exit(_) => "sandbox.exit",
            Self::Trap(_) => "sandbox.trap",
            Self::Malformed(_) => "sandbox.malformed",
        }
    }

    /// The error that the caller of the plugin gets: names the plugin and the limit.
    pub(crate) fn into_error(self, plugin: &ProviderId, limits: &Limits) -> ProviderError {
        let class = match self {
            Self::Deadline => ErrorClass::Timeout,
            _ => ErrorClass::Internal,
        };
        let code = self.code();
        let what = match self {
            Self::Cpu => format!("used more than {:?} of CPU time in one call", limits.cpu),
            Self::Memory => format!("needed more than {} bytes of memory", limits.memory_bytes),
            Self::Stack => format!("needed more than {} bytes of stack", limits.stack_bytes),
            Self::HostCalls => format!("made more than {} host calls", limits.host_calls),
            Self::HostCallBytes => {
                format!(
                    "passed more than {} bytes to the host at once",
                    limits.host_call_bytes
                )
            }
            Self::Handles => format!("held more than {} handles", limits.handles),
            Self::Deadline => "did not answer before the call's deadline".to_owned(),
            Self::Exit(status) => format!("exited (status {status}) instead of answering"),
            Self::Trap(trap) => format!("trapped: {trap}"),
            Self::Malformed(how) => format!("broke the contract: {how}"),
        };
        ProviderError::new(class, code, format!("plugin {plugin} {what}"))
    }
}
