//! wasmtime's engine, set up once, and the ticker that makes guests' time pass.
//! Not for: anything about one call (see `state`).

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::{Config, Engine, OptLevel, WasmBacktraceDetails};

use crate::error::SandboxError;
use crate::settings::Limits;

/// What host functions may use of a fiber's stack: HPKE's key encapsulation is the hungriest.
const HOST_STACK: usize = 1536 << 10;
/// Ticks without a call after which the ticker goes to sleep.
const IDLE_TICKS: u32 = 200;

/// The engine's configuration. On-demand allocation, because the pooling allocator has leaked
/// between instances twice.
pub(crate) fn config(limits: &Limits) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .wasm_wide_arithmetic(true)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .epoch_interruption(true)
        .cranelift_opt_level(OptLevel::Speed)
        .max_wasm_stack(limits.stack_bytes)
        .async_stack_size(limits.stack_bytes + HOST_STACK)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .wasm_backtrace_max_frames(NonZeroUsize::new(8));
    config
}

/// Advances the engine's epoch while calls are under way, and sleeps while there are none.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

struct Shared {
    engine: Engine,
    tick: Duration,
    now: AtomicU64,
    calls: AtomicUsize,
    asleep: AtomicBool,
    stop: AtomicBool,
}

impl Ticker {
    pub(crate) fn start(engine: Engine, tick: Duration) -> Result<Self, SandboxError> {
        let shared = Arc::new(Shared {
            engine,
            tick,
            now: AtomicU64::new(0),
            calls: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let ticking = Arc::clone(&shared);
        let handle = thread::Builder::new()
            .name("plugin-ticker".to_owned())
            .spawn(move || ticking.run())
            .map_err(|source| SandboxError::Ticker { source })?;
        Ok(Self {
            shared,
            thread: handle.thread().clone(),
        })
    }

    /// Ticks so far.
    pub(crate) fn now(&self) -> u64 {
        self.shared.now.load(Ordering::Relaxed)
    }

    /// A call is under way until the guard is dropped.
    pub(crate) fn call(self: &Arc<Self>) -> Ticking {
        self.shared.calls.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Ticking(Arc::clone(self))
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

impl Shared {
    fn run(&self) {
        let mut idle = 0;
        while !self.stop.load(Ordering::SeqCst) {
            if idle < IDLE_TICKS {
                thread::sleep(self.tick);
            } else {
                self.sleep_until_called();
            }
            self.now.fetch_add(1, Ordering::Relaxed);
            self.engine.increment_epoch();
            idle = if self.calls.load(Ordering::SeqCst) == 0 {
                idle.saturating_add(1)
            } else {
                0
            };
        }
    }

    /// A call counts itself, then looks whether this thread is asleep; this thread says that it
    /// is, then looks for calls: one of the two always sees the other.
    fn sleep_until_called(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        while self.calls.load(Ordering::SeqCst) == 0 && !self.stop.load(Ordering::SeqCst) {
            thread::park();
        }
        self.asleep.store(false, Ordering::SeqCst);
    }
}

/// While it lives, a call is under way.
pub(crate) struct Ticking(Arc<Ticker>);

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.shared.calls.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_during_calls_and_sleeps_between() {
        let engine = Engine::new(&config(&Limits::default())).unwrap();
        let ticker = Arc::new(Ticker::start(engine, Duration::from_micros(100)).unwrap());
        let wait = |what: &dyn Fn() -> bool| {
            for _ in 0..5000 {
                if what() {
                    return true;
                }
                thread::sleep(Duration::from_millis(1));
            }
            false
        };
        assert!(
            wait(&|| ticker.shared.asleep.load(Ordering::SeqCst)),
            "never fell asleep"
        );
        let before = ticker.now();
        thread::sleep(Duration::from_millis(20));
        assert!(ticker.now() <= before + 1, "ticked in its sleep");
        let call = ticker.call();
        assert!(
            wait(&|| ticker.now() > before + 10),
            "a call did not wake it"
        );
        drop(call);
        assert!(
            wait(&|| ticker.shared.asleep.load(Ordering::SeqCst)),
            "did not fall asleep again"
        );
    }
}
