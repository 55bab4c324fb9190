//! The store's files: found, removed, and read again when they changed.
//! Not for: how they are written (see `keyreel_keys::private_file`), what is in them.

use std::collections::HashMap;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use keyreel_keys::private_file;

use crate::Error;

/// More files than this are not remembered.
const REMEMBERED: usize = 1024;

/// A directory of mode 0700, unless it is there.
pub(super) fn directory(path: &Path) -> Result<(), Error> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| Error::file(path, source))
}

/// A new file; fails with [`Error::Exists`] where there is one.
pub(super) fn create(path: &Path, contents: &[u8], id: &str) -> Result<(), Error> {
    private_file::create(path, contents).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists { id: id.to_owned() },
        _ => Error::file(path, source),
    })
}

/// In place of the file that there is.
pub(super) fn replace(path: &Path, contents: &[u8]) -> Result<(), Error> {
    private_file::replace(path, contents).map_err(|source| Error::file(path, source))
}

/// `None` where there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    private_file::read(path).map_err(|source| Error::file(path, source))
}

/// Whether it was there.
pub(super) fn remove(path: &Path) -> Result<bool, Error> {
    let removed = absent(std::fs::remove_file(path), path)?;
    if removed.is_some() {
        private_file::sync_directory(path).map_err(|source| Error::file(path, source))?;
    }
    Ok(removed.is_some())
}

/// The `.json` files of a directory.
pub(super) fn list(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let file = |source| Error::file(directory, source);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(file)? {
        let path = entry.map_err(file)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            found.push(path);
        }
    }
    Ok(found)
}

/// What files hold, parsed, for as long as they do not change.
pub(super) struct Watched<T>(Mutex<HashMap<PathBuf, (Stamp, Arc<T>)>>);

/// What tells that a file is another one: ours are replaced, never written over, but others' are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: u64,
    length: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    /// Of the inode: nobody sets it back.
    changed: (i64, i64),
}

impl Stamp {
    /// `None` where there is no such file.
    pub(crate) fn of(path: &Path) -> Result<Option<Self>, Error> {
        let metadata = absent(std::fs::metadata(path), path)?;
        Ok(metadata.map(|metadata| Self {
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }))
    }
}

impl<T> Default for Watched<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Watched<T> {
    /// `None` where there is no such file.
    pub(super) fn get(
        &self,
        path: &Path,
        parse: impl FnOnce(&[u8]) -> Result<T, Error>,
    ) -> Result<Option<Arc<T>>, Error> {
        let Some(stamp) = Stamp::of(path)? else {
            self.lock().remove(path);
            return Ok(None);
        };
        if let Some((_, known)) = self.lock().get(path).filter(|(then, _)| *then == stamp) {
            return Ok(Some(Arc::clone(known)));
        }
        let Some(file) = read(path)? else {
            return Ok(None);
        };
        let parsed = Arc::new(parse(&file)?);
        let mut known = self.lock();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(path.to_owned(), (stamp, Arc::clone(&parsed)));
        Ok(Some(parsed))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, (Stamp, Arc<T>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn absent<T>(result: io::Result<T>, path: &Path) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::file(path, source)),
    }
}
