//! What belongs to one call: the store's data. A store is made for a call and dropped after it.
//! Not for: what a host function does (see `secrets`, `sessions`, `log`).

use std::sync::Arc;
use std::time::Duration;

use keyreel_format::wrap::{PrivateKey, WrapAlgorithm};
use keyreel_keys::{CallInfo, Configured, KekId, TenantId};
use tokio::time::Instant;
use wasmtime::component::ResourceTable;
use wasmtime::{CallHook, Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

use crate::configuration::Configuration;
use crate::egress::{Caller, Outbound};
use crate::engine::Ticker;
use crate::epoch::Epoch;
use crate::error::Fault;
use crate::limiter::Limiter;
use crate::log::{CallLog, Stdio};
use crate::provider::Plugin;
use crate::sealed_keys::Placeholders;

/// The most that `wasi:random` gives at once.
const MAX_RANDOM_BYTES: u64 = 64 << 10;

/// What a call is for: decides what its host functions allow.
pub(crate) enum Purpose {
    /// `describe`, `validate`: no tenant, no secrets.
    Pure,
    /// `health`, `unwrap-dek`.
    Use(Tenancy),
    /// `generate-kek`: one key may be generated, under this name.
    Mint(Tenancy, KekId),
}

/// For which tenant a call is made, and under which of its configurations.
pub(crate) struct Tenancy {
    pub(crate) tenant: TenantId,
    pub(crate) configured: Configured,
    /// Of the plugin's sessions, when the call began.
    pub(crate) epoch: Epoch,
}

impl Tenancy {
    /// To be asked before anything of the tenant's is read.
    pub(crate) fn of(call: &CallInfo, plugin: &Plugin) -> Self {
        Self {
            tenant: call.tenant.clone(),
            configured: call.configured.clone(),
            epoch: plugin.sessions.epoch(),
        }
    }
}

impl Purpose {
    pub(crate) fn tenant(&self) -> Option<&TenantId> {
        self.tenancy().map(|tenancy| &tenancy.tenant)
    }

    pub(crate) fn tenancy(&self) -> Option<&Tenancy> {
        match self {
            Self::Pure => None,
            Self::Use(tenancy) | Self::Mint(tenancy, _) => Some(tenancy),
        }
    }
}

/// A key that `secrets.generate` or `sealed-keys.generate` made, until `generate-kek` has returned
/// well.
pub(crate) struct Minted {
    pub(crate) algorithm: WrapAlgorithm,
    pub(crate) keeper: Keeper,
    pub(crate) key: Arc<PrivateKey>,
}

/// Who keeps a minted key once the call is over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeper {
    /// The vault.
    Host,
    /// A key service, sealed, in `kek.sealed`: here it is forgotten.
    KeyService,
}

/// The store's data.
pub(crate) struct CallState {
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) purpose: Purpose,
    pub(crate) minted: Option<Minted>,
    /// What stands in the guest's requests for keys that are not its to see.
    pub(crate) placeholders: Placeholders,
    pub(crate) table: ResourceTable,
    pub(crate) limiter: Limiter,
    pub(crate) log: CallLog,
    wasi: WasiCtx,
    outbound: Outbound,
    meter: Meter,
    work_left: u64,
}

/// Cryptography that one call may ask of the host, in units of about a microsecond: sixteen
/// private-key operations. The host's functions run on a thread that serves others too.
pub(crate) const WORK: u64 = 16 * 4096;

impl CallState {
    /// A store with all its limits in place.
    pub(crate) fn store(plugin: Arc<Plugin>, purpose: Purpose, request_id: &str) -> Store<Self> {
        let host = Arc::clone(&plugin.host);
        let limits = &host.limits;
        let log = CallLog::new(&plugin.id, purpose.tenant(), request_id, limits);
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles);
        let state = Self {
            wasi: WasiCtxBuilder::new()
                .max_random_size(MAX_RANDOM_BYTES)
                .allow_tcp(false)
                .allow_udp(false)
                .stdout(Stdio::output(&log))
                .stderr(Stdio::errors(&log))
                .build(),
            table,
            purpose,
            minted: None,
            placeholders: Placeholders::default(),
            outbound: Outbound::closed(),
            limiter: Limiter::new(limits),
            log,
            meter: Meter::new(Arc::clone(&host.ticker), limits),
            work_left: WORK,
            plugin,
        };
        let mut store = Store::new(&host.engine, state);
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(limits.host_call_bytes);
        store.set_max_component_handles(limits.handles);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut store| store.data_mut().meter.tick());
        store.call_hook(|mut store, hook| {
            if store.data_mut().meter.cross(hook)? == Waited::Yes {
                store.set_epoch_deadline(1);
            }
            Ok(())
        });
        store
    }

    /// From now on requests go out, to where `configuration` needs them to. What the call has used
    /// of its time since it `began` is theirs no more.
    pub(crate) fn open_egress(
        &mut self,
        configuration: &Arc<Configuration>,
        call: &CallInfo,
        began: Instant,
    ) {
        if !self.plugin.speaks_http {
            return;
        }
        self.outbound.open(Caller {
            plugin: Arc::clone(&self.plugin),
            tenant: call.tenant.clone(),
            configuration: Arc::clone(configuration),
            placeholders: self.placeholders.clone(),
            deadline: began + call.deadline - margin(call.deadline),
        });
    }

    /// Counts a call of a host function of the contract. WASI's are counted by `ctx` and `http`.
    pub(crate) fn count_host_call(&mut self) {
        self.meter.host_calls += 1;
    }
}

impl CallState {
    /// Charges `units` of cryptography to the call.
    pub(crate) fn work(&mut self, units: u64) -> Result<(), Fault> {
        self.work_left = self.work_left.checked_sub(units).ok_or(Fault::Cpu)?;
        Ok(())
    }
}

impl WasiView for CallState {
    /// Every host function of WASI passes through here, so here they are counted.
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.count_host_call();
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for CallState {
    /// As `ctx`, for outbound HTTP.
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.count_host_call();
        WasiHttpCtxView {
            hooks: &mut self.outbound.hooks,
            table: &mut self.table,
            ctx: &mut self.outbound.context,
        }
    }
}

/// What a guest is left of its time once a request has used up the rest, to say what happened.
fn margin(deadline: Duration) -> Duration {
    (deadline / 20).min(Duration::from_millis(50))
}

/// CPU time and host calls.
///
/// The epoch deadline is always one tick ahead. A tick that passes while the guest runs is charged
/// to it, and lets others run. One that passes while the guest waits in a host function is not:
/// the deadline is moved when the guest comes back. A machine that stands still for a second
/// charges one tick, not a second.
struct Meter {
    ticker: Arc<Ticker>,
    ticks_left: u128,
    host_calls: u64,
    max_host_calls: u64,
    left_at: u64,
    host_calls_before: u64,
}

#[derive(PartialEq, Eq)]
enum Waited {
    Yes,
    No,
}

impl Meter {
    fn new(ticker: Arc<Ticker>, limits: &crate::settings::Limits) -> Self {
        Self {
            ticker,
            ticks_left: limits.cpu.as_nanos() / limits.tick.as_nanos().max(1),
            host_calls: 0,
            max_host_calls: limits.host_calls,
            left_at: 0,
            host_calls_before: 0,
        }
    }

    fn tick(&mut self) -> wasmtime::Result<UpdateDeadline> {
        self.ticks_left = self.ticks_left.checked_sub(1).ok_or(Fault::Cpu)?;
        // tokio's own yield lets the runtime look at its timers and sockets first; wasmtime's would
        // be polled again and again before that.
        Ok(UpdateDeadline::YieldCustom(
            1,
            Box::pin(tokio::task::yield_now()),
        ))
    }

    /// wasmtime's own helpers (growing memory, copying it) cross here too; they count no host
    /// call, and their time is the guest's.
    fn cross(&mut self, hook: CallHook) -> Result<Waited, Fault> {
        match hook {
            CallHook::CallingHost => {
                self.left_at = self.ticker.now();
                self.host_calls_before = self.host_calls;
            }
            // Asked whatever was counted since: a guest's allocator runs within a host call, and
            // crosses here on its own.
            CallHook::ReturningFromHost if self.host_calls > self.max_host_calls => {
                return Err(Fault::HostCalls);
            }
            CallHook::ReturningFromHost
                if self.host_calls != self.host_calls_before
                    && self.ticker.now() != self.left_at =>
            {
                return Ok(Waited::Yes);
            }
            _ => {}
        }
        Ok(Waited::No)
    }
}
