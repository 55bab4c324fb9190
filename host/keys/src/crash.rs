//! Named points at which the process can be told to die as if by `kill -9`: how tests show that
//! nothing is lost whenever that happens. Only builds with debug assertions have them; the program
//! that users get does nothing here.

/// Dies here if `KEYREEL_CRASH_AT` names this point: "rewrap.committed", or, for the third time
/// that it is passed, "rewrap.committed:3".
pub fn point(name: &str) {
    #[cfg(debug_assertions)]
    die_if_told(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

#[cfg(debug_assertions)]
fn die_if_told(name: &str) {
    use std::sync::atomic::{AtomicU32, Ordering};
    static PASSED: AtomicU32 = AtomicU32::new(0);
    #[expect(
        clippy::disallowed_methods,
        reason = "a test's hook, in no build that users get"
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
