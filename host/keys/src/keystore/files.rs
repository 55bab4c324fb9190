//! The keystore's files and directories: kept private, destroyed for good.
//! Not for: writing them (see `private_file`), what is in them.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::KeystoreError;
use crate::private_file::{directory_of, sync_directory, temporary_prefix};

/// Overwrites and unlinks `path` and whatever an interrupted creation left of it. Says whether
/// `path` was there.
pub(super) fn destroy(path: &Path) -> io::Result<bool> {
    destroy_leftovers(path)?;
    let existed = destroy_one(path)?;
    sync_directory(path)?;
    Ok(existed)
}

/// Overwrites and unlinks what interrupted writes of `path` left.
pub(super) fn destroy_leftovers(path: &Path) -> io::Result<()> {
    for leftover in leftovers(path)? {
        destroy_one(&leftover)?;
    }
    Ok(())
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

/// Overwrites and unlinks `path` alone; says whether it was there.
pub(super) fn destroy_one(path: &Path) -> io::Result<bool> {
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
