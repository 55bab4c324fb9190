//! What a plugin says, into the operator's log: named by the host, sanitised, capped per call.
//! Not for: the sandbox's own events.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use keyreel_keys::{ProviderId, TenantId};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use crate::bindings::keyreel::key_provider::log::{Host, Level};
use crate::settings::Limits;
use crate::state::CallState;
use crate::text::sanitised;

/// Characters of one message or field.
const MESSAGE_CHARS: usize = 1000;
/// Fields of one message.
const FIELDS: usize = 16;
/// What a guest may write to its standard output at once.
const WRITE_LEN: usize = 4096;

/// The log of one call. Cheap to clone; clones share what is left.
#[derive(Clone)]
pub(crate) struct CallLog(Arc<Inner>);

struct Inner {
    plugin: ProviderId,
    tenant: Option<TenantId>,
    request_id: String,
    left: Mutex<Left>,
}

struct Left {
    lines: u32,
    bytes: usize,
    told: bool,
}

impl CallLog {
    pub(crate) fn new(
        plugin: &ProviderId,
        tenant: Option<&TenantId>,
        request_id: &str,
        limits: &Limits,
    ) -> Self {
        Self(Arc::new(Inner {
            plugin: plugin.clone(),
            tenant: tenant.cloned(),
            request_id: request_id.to_owned(),
            left: Mutex::new(Left {
                lines: limits.log_lines,
                bytes: limits.log_bytes,
                told: false,
            }),
        }))
    }

    fn write(&self, level: Level, message: &str, fields: &[(String, String)]) {
        let mut text = sanitised(message.trim_end(), MESSAGE_CHARS);
        for (name, value) in fields.iter().take(FIELDS) {
            text.push(' ');
            text.push_str(&sanitised(name, 64));
            text.push('=');
            text.push_str(&sanitised(value, MESSAGE_CHARS));
        }
        match self.take(text.len()) {
            Take::Line => self.emit(level, &text),
            Take::LastWord => self.emit(
                Level::Warn,
                "sandbox.log: the plugin has used up its log lines for this call; the rest is dropped",
            ),
            Take::Nothing => {}
        }
    }

    fn take(&self, len: usize) -> Take {
        let mut left = self.0.left.lock().unwrap_or_else(PoisonError::into_inner);
        match (left.lines.checked_sub(1), left.bytes.checked_sub(len)) {
            (Some(lines), Some(bytes)) => {
                *left = Left {
                    lines,
                    bytes,
                    told: left.told,
                };
                Take::Line
            }
            _ if left.told => Take::Nothing,
            _ => {
                *left = Left {
                    lines: 0,
                    bytes: 0,
                    told: true,
                };
                Take::LastWord
            }
        }
    }

    fn emit(&self, level: Level, text: &str) {
        let Inner {
            plugin,
            tenant,
            request_id,
            ..
        } = &*self.0;
        let tenant = tenant.as_ref().map_or("", TenantId::as_str);
        macro_rules! event {
            ($event:ident) => {
                tracing::$event!(target: "keyreel::plugin", %plugin, tenant, request_id, "{text}")
            };
        }
        match level {
            Level::Trace => event!(trace),
            Level::Debug => event!(debug),
            Level::Info => event!(info),
            Level::Warn => event!(warn),
            Level::Error => event!(error),
        }
    }
}

enum Take {
    Line,
    LastWord,
    Nothing,
}

impl Host for CallState {
    fn log(
        &mut self,
        level: Level,
        message: String,
        fields: Vec<(String, String)>,
    ) -> wasmtime::Result<()> {
        self.count_host_call();
        self.log.write(level, &message, &fields);
        Ok(())
    }
}

/// Standard output or standard error, each line of which goes to the log: where a language's
/// runtime says why it gives up.
#[derive(Clone)]
pub(crate) struct Stdio {
    log: CallLog,
    level: Level,
}

impl Stdio {
    pub(crate) fn output(log: &CallLog) -> Self {
        Self {
            log: log.clone(),
            level: Level::Debug,
        }
    }

    pub(crate) fn errors(log: &CallLog) -> Self {
        Self {
            log: log.clone(),
            level: Level::Warn,
        }
    }
}

impl IsTerminal for Stdio {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stdio {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Stdio {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > WRITE_LEN {
            return Err(StreamError::trap(
                "wrote more than the stream said it takes",
            ));
        }
        for line in bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            self.log
                .write(self.level, &String::from_utf8_lossy(line), &[]);
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_LEN)
    }
}

#[async_trait::async_trait]
impl Pollable for Stdio {
    async fn ready(&mut self) {}
}
