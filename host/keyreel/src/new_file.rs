//! New files, written whole: a name that is taken is never written over.
//! Not for: the keystore's files (see `keyreel_keys::private_file`). These may lie on a stick, whose
//! file system knows no links.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::output::Usage;

/// Who may read a new file.
#[derive(Clone, Copy)]
pub(crate) enum For {
    /// Its owner alone.
    Owner,
    /// Whoever the process lets read what it makes.
    Anybody,
}

/// Writes a new file, and is done when it is on disk.
///
/// # Errors
/// There is one of this name, or it cannot be written.
pub(crate) fn write(path: &Path, contents: &[u8], readers: For) -> Result<(), Usage> {
    let mode = match readers {
        For::Owner => 0o600,
        For::Anybody => 0o644,
    };
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(mode);
    options
        .open(path)
        .and_then(|mut file| -> io::Result<()> {
            file.write_all(contents)?;
            file.sync_all()
        })
        .map_err(|source| Usage::new(format!("{}: {source}", path.display())))
}
