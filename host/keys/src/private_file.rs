//! Small private files, mode 0600: written whole or not at all, and on disk when that is said.
//! Not for: what is in them, nor destroying them (see `keystore`).

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Creates `path` with `contents`.
///
/// # Errors
/// `AlreadyExists` where there is such a file; what else the file system says.
pub fn create(path: &Path, contents: &[u8]) -> io::Result<()> {
    // A link, not a rename: it does not replace what another process just made.
    put(path, contents, |temporary| {
        let linked = std::fs::hard_link(temporary, path);
        let removed = std::fs::remove_file(temporary);
        linked.and(removed)
    })
}

/// Puts `contents` in place of what `path` holds, if anything.
///
/// # Errors
/// What the file system says; `path` is as it was then.
pub fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    put(path, contents, |temporary| std::fs::rename(temporary, path))
}

/// What is in `path`, `None` where there is no such file.
///
/// # Errors
/// What the file system says.
pub fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(contents) => Ok(Some(contents)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes the folders that `path` is to lie in, mode 0700. Those that are there stay as they are.
pub(crate) fn create_folders(path: &Path) -> io::Result<()> {
    let folder = directory_of(path);
    if folder == Path::new(".") || folder.is_dir() {
        return Ok(());
    }
    // The one above first, so that each is synced where it was made.
    create_folders(folder)?;
    match DirBuilder::new().mode(0o700).create(folder) {
        // Another process may have been first.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        made => made.and_then(|()| sync_directory(folder)),
    }
}

/// A file to be locked, made where there is none.
pub(crate) fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

/// Whether `path` is what an interrupted write left.
pub(crate) fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.windows(5).any(|window| window == b".tmp-")
}

/// What the names of temporary files of `path` begin with.
pub(crate) fn temporary_prefix(path: &Path) -> OsString {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp-");
    name
}

/// Makes what happened to `path` in its directory last.
///
/// # Errors
/// What the file system says.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Writes a file beside `path` and has it moved there.
fn put(
    path: &Path,
    contents: &[u8],
    settle: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let temporary = temporary(path)?;
    if let Err(error) = write(&temporary, contents).and_then(|()| settle(&temporary)) {
        // It may not be there any more, or never have been.
        let _ = std::fs::remove_file(&temporary);
        return Err(error);
    }
    sync_directory(path)
}

/// A new name for a temporary file of `path`.
pub(crate) fn temporary(path: &Path) -> io::Result<PathBuf> {
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random).map_err(io::Error::other)?;
    let mut name = temporary_prefix(path);
    name.push(hex::encode(random));
    Ok(path.with_file_name(name))
}

fn write(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(contents)?;
    file.sync_all()
}
