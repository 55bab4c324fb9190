//! Between wasi:http's host functions and our own egress: one value per call of a plugin.
//! Not for: sending (see `send`).

use std::sync::Arc;

use http::{HeaderName, Request, Response};
use http_body_util::{BodyExt, Full};
use keyreel_keys::TenantId;
use tokio::time::Instant;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpHooks};

use super::request::FORBIDDEN;
use super::send::send;
use crate::configuration::Configuration;
use crate::provider::Plugin;
use crate::sealed_keys::Placeholders;

/// Bytes of the fields that a guest sets, per set of fields.
const FIELD_BYTES: usize = 16 << 10;
/// Bytes of a request's body that wait for the host to take them, per request.
const BODY_CHUNK: usize = 64 << 10;

/// The egress of one call. Closed until the call has a tenant and a configuration.
pub(crate) struct Outbound {
    pub(crate) context: WasiHttpCtx,
    pub(crate) hooks: Hooks,
}

/// What sends, and for whom.
#[derive(Default)]
pub(crate) struct Hooks {
    caller: Option<Caller>,
    requests: u32,
}

/// For whom a request is sent.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) tenant: TenantId,
    pub(crate) configuration: Arc<Configuration>,
    pub(crate) placeholders: Placeholders,
    /// When the guest is to know at the latest.
    pub(crate) deadline: Instant,
}

impl Outbound {
    pub(crate) fn closed() -> Self {
        let mut context = WasiHttpCtx::new();
        context.set_field_size_limit(FIELD_BYTES);
        let hooks = Hooks::default();
        Self { context, hooks }
    }

    pub(crate) fn open(&mut self, caller: Caller) {
        self.hooks.caller = Some(caller);
    }
}

impl Hooks {
    /// Who asks, if another request may go out.
    fn caller(&mut self) -> Result<Caller, Error> {
        // `describe` and `validate` are pure.
        let caller = self.caller.clone().ok_or(Error::HttpRequestDenied)?;
        if self.requests >= caller.plugin.grants.egress.limits.requests {
            return Err(Error::ConnectionLimitReached);
        }
        self.requests += 1;
        Ok(caller)
    }
}

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sending = Box<dyn Future<Output = Result<(Response<WasiBody>, Io), Error>> + Send>;

impl WasiHttpHooks for Hooks {
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        FORBIDDEN.contains(name)
    }

    /// Set from the origin that was checked, not from what the guest wrote.
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _body_sent: Io,
    ) -> Sending {
        let caller = self.caller();
        Box::new(async move {
            let answer = send(caller?, request, options.unwrap_or_default()).await?;
            let body = |bytes| {
                Full::new(bytes)
                    .map_err(|never| match never {})
                    .boxed_unsync()
            };
            // The answer is here: nothing is left to be driven.
            let io: Io = Box::new(async { Ok(()) });
            Ok((answer.map(body), io))
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK
    }
}
