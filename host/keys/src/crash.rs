//! Named points at which tests have the process die as if by `kill -9`: how they show that nothing
//! is lost whenever that happens. Nothing happens at them unless a process was armed, and the
//! program that users get never is.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

static HOOK: OnceLock<fn(&str)> = OnceLock::new();

/// Passes a point.
pub fn point(name: &str) {
    if let Some(hook) = HOOK.get() {
        hook(name);
    }
}

/// Says what is to happen at points from now on, once for a process.
pub fn arm(hook: fn(&str)) {
    // A second time changes nothing.
    let _ = HOOK.set(hook);
}

/// Dies where `KEYREEL_CRASH_AT` says: "rewrap.committed", or, when that is passed for the third
/// time, "rewrap.committed:3".
pub fn die_as_told(name: &str) {
    static PASSED: AtomicU32 = AtomicU32::new(0);
    #[expect(
        clippy::disallowed_methods,
        reason = "a test's hook: nothing that users run is armed with it"
    )]
    let Ok(told) = std::env::var("KEYREEL_CRASH_AT") else {
        return;
    };
    let (wanted, times) = told.split_once(':').unwrap_or((&told, "1"));
    if wanted != name {
        return;
    }
    let passed = PASSED.fetch_add(1, Ordering::SeqCst) + 1;
    if passed < times.parse().unwrap_or(1) {
        return;
    }
    // By the system, so that nothing of this process gets to tidy up.
    let id = std::process::id().to_string();
    let _ = std::process::Command::new("kill")
        .args(["-9", &id])
        .status();
    std::process::abort();
}
