//! Small private files: written whole or not at all, never over another, destroyed for good.
//! Not for: what is in them.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::KeystoreError;

/// Creates `path` with `contents`, mode 0600, atomically and durably. Fails with `AlreadyExists`
/// where there is such a file.
pub(super) fn create(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random).map_err(io::Error::other)?;
    let mut temporary = temporary_prefix(path);
    temporary.push(hex::encode(random));
    let temporary = path.with_file_name(temporary);
    let written = write(&temporary, contents)
        // Not a rename, which would silently replace a root that another process just made.
        .and_then(|()| std::fs::hard_link(&temporary, path));
    let removed = std::fs::remove_file(&temporary);
    written?;
    removed?;
    sync_directory(path)
}

/// What is in `path`, `None` where there is no such file.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(contents) => Ok(Some(contents)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Overwrites and unlinks `path` and whatever an interrupted creation left of it. Says whether
/// `path` was there.
pub(super) fn destroy(path: &Path) -> io::Result<bool> {
    for leftover in leftovers(path)? {
        destroy_one(&leftover)?;
    }
    let existed = destroy_one(path)?;
    sync_directory(path)?;
    Ok(existed)
}

/// Creates a directory with mode 0700, parents included, unless it exists.
pub(super) fn create_directory(path: &Path) -> Result<(), KeystoreError> {
    let io = |source| KeystoreError::io(path, source);
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(io)?;
    // The umask may have taken bits that the owner needs.
    std::fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(io)?;
    sync_directory(path).map_err(io)
}

/// Whether a directory has anything in it; no where there is no such directory.
pub(super) fn has_files(path: &Path) -> Result<bool, KeystoreError> {
    match std::fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(KeystoreError::io(path, error)),
    }
}

/// What `require_private` looks at.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    File,
    Directory,
}

/// Refuses what group or world may reach.
pub(super) fn require_private(path: &Path, kind: Kind) -> Result<(), KeystoreError> {
    let metadata = std::fs::metadata(path).map_err(|source| KeystoreError::io(path, source))?;
    judge(path, &metadata, kind)
}

/// The same for a file that is open already: nobody can swap it in between.
pub(super) fn require_private_file(path: &Path, file: &File) -> Result<(), KeystoreError> {
    let metadata = file
        .metadata()
        .map_err(|source| KeystoreError::io(path, source))?;
    judge(path, &metadata, Kind::File)
}

fn judge(path: &Path, metadata: &std::fs::Metadata, kind: Kind) -> Result<(), KeystoreError> {
    let mode = metadata.permissions().mode() & 0o7777;
    let (wanted, right_kind) = match kind {
        Kind::File => (0o600, metadata.is_file()),
        Kind::Directory => (0o700, metadata.is_dir()),
    };
    if !right_kind {
        let found = io::Error::other(match kind {
            Kind::File => "not a regular file",
            Kind::Directory => "not a directory",
        });
        return Err(KeystoreError::io(path, found));
    }
    if mode & 0o077 != 0 {
        return Err(KeystoreError::Exposed {
            path: path.to_owned(),
            mode,
            wanted,
        });
    }
    Ok(())
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

fn destroy_one(path: &Path) -> io::Result<bool> {
    let mut file = match OpenOptions::new().write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let len = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&vec![0; len])?;
    file.sync_all()?;
    std::fs::remove_file(path)?;
    Ok(true)
}

/// Temporary files of `path` that a crash left behind.
fn leftovers(path: &Path) -> io::Result<Vec<PathBuf>> {
    let prefix = temporary_prefix(path);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory_of(path))? {
        let entry = entry?;
        if entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(prefix.as_encoded_bytes())
        {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn temporary_prefix(path: &Path) -> OsString {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp-");
    name
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
