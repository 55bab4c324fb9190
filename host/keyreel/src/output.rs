//! What people and scripts see of a command: data on stdout, all else on stderr, exit codes.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

/// Bad usage or configuration (sysexits.h).
pub(crate) const EX_USAGE: u8 = 64;

/// An error of the person who called: a wrong argument, a wrong setting. Ends with [`EX_USAGE`].
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Usage {
    message: String,
    hint: Option<String>,
}

impl Usage {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn with_hint(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: Some(hint.into()),
        }
    }
}

/// Tells stderr what went wrong and what to do, and picks the exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    let usage = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Usage>());
    note(&format!("{} {error:#}", paint("error:", "1;31")));
    if let Some(hint) = usage.and_then(|usage| usage.hint.as_deref()) {
        note(&format!("{} {hint}", paint("hint:", "1;36")));
    }
    if usage.is_some() {
        ExitCode::from(EX_USAGE)
    } else {
        ExitCode::FAILURE
    }
}

/// One line of data on stdout.
///
/// # Errors
/// Nobody reads stdout any more.
pub(crate) fn data(line: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()?;
    Ok(())
}

/// One line for a person, on stderr. A closed stderr is no reason to fail.
pub(crate) fn note(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

fn paint(text: &str, code: &str) -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "NO_COLOR is read here and nowhere else"
    )]
    let plain = std::env::var("NO_COLOR").is_ok_and(|value| !value.is_empty());
    if plain || !std::io::stderr().is_terminal() {
        text.to_owned()
    } else {
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// A time, ms since 1970, as the API says it (RFC 3339); `None` where no calendar has it.
pub(crate) fn instant(ms: u64) -> Option<String> {
    let at = jiff::Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()?;
    Some(format!("{at:.3}"))
}
