//! A new epoch of the keystore: all that is left is sealed anew, then the former epoch's key is
//! destroyed, and with it every copy of the keystore from before.

use std::path::Path;

use zeroize::Zeroizing;

use super::epochs::{self, Epoch, SealingKey};
use super::{Body, Keystore, KeystoreError, Sealed, files};
use crate::{aead, crash, private_file};

#[cfg(test)]
mod tests;

impl Keystore {
    /// Begins a new epoch, and answers its number. What was destroyed before is gone from every copy
    /// of the keystore then; so is everything else in those copies, so the keystore is backed up anew
    /// after it.
    ///
    /// # Errors
    /// A file does not open or cannot be written: the former epoch's key is still there then, and
    /// calling it again, or opening the keystore, goes on where it failed.
    pub fn begin_epoch(&self) -> Result<u64, KeystoreError> {
        let _lock = self.lock()?;
        let mut epochs = self.epochs()?;
        self.forget_leftovers()?;
        // Before anything changes: a file that does not open stops it here.
        self.each_file(&mut |kind, path| self.opened(kind, path).map(drop))?;
        // One that was cut off is no new one: copies were made since.
        if epochs.len() > 1 {
            self.seal_anew(&epochs)?;
            epochs.drain(..epochs.len() - 1);
        }
        let Some(former) = epochs.last() else {
            return Err(KeystoreError::MalformedEpoch {
                path: self.epoch_file.clone(),
            });
        };
        let next = former.next()?;
        epochs::replace(&self.epoch_file, &[former, &next])?;
        crash::point("epoch.begun");
        epochs.push(next);
        self.seal_anew(&epochs)
    }

    /// Ends what [`Keystore::begin_epoch`] began, where that was cut off.
    pub(super) fn finish_epoch(&self) -> Result<(), KeystoreError> {
        if self.epochs()?.len() < 2 {
            return Ok(());
        }
        let _lock = self.lock()?;
        self.forget_leftovers()?;
        let epochs = self.epochs()?;
        // Unless somebody else has, meanwhile.
        if epochs.len() > 1 {
            self.seal_anew(&epochs)?;
        }
        Ok(())
    }

    /// What a write of the epoch key that was cut off left beside it: a key of a former epoch.
    fn forget_leftovers(&self) -> Result<(), KeystoreError> {
        let io = |source| KeystoreError::io(&self.epoch_file, source);
        files::destroy_leftovers(&self.epoch_file).map_err(io)
    }

    /// All files but the check file.
    fn each_file(
        &self,
        each: &mut dyn FnMut(Sealed, &Path) -> Result<(), KeystoreError>,
    ) -> Result<(), KeystoreError> {
        for kind in [Sealed::Root, Sealed::Service, Sealed::Mark] {
            let folder = self.kind(kind);
            let io = |source| KeystoreError::io(&folder, source);
            if matches!(kind, Sealed::Mark) && !folder.exists() {
                continue;
            }
            for entry in std::fs::read_dir(&folder).map_err(io)? {
                each(kind, &entry.map_err(io)?.path())?;
            }
        }
        Ok(())
    }

    /// What is in a file of the keystore, by its name; `None` where it has no business here: what an
    /// interrupted write or destruction left, and a copy under another name, which would outlive what
    /// is destroyed under the right one.
    fn opened(&self, kind: Sealed, path: &Path) -> Result<Option<Opened>, KeystoreError> {
        let damaged = || KeystoreError::Damaged {
            path: path.to_owned(),
        };
        let file = private_file::read(path).map_err(|source| KeystoreError::io(path, source))?;
        let Some(file) = file else { return Ok(None) };
        if file.iter().all(|&byte| byte == 0) || private_file::is_temporary(path) {
            return Ok(None);
        }
        let body = Body::parse(&file).ok_or_else(damaged)?;
        if path != self.path(kind, body.name) {
            return Ok(None);
        }
        let former = self.sealing(body.epoch)?;
        let former = former.ok_or_else(|| self.former(path, body.epoch))?;
        let aad = kind.aad(body.name, body.epoch);
        let secret = aead::open(former.expose(), &aad, body.sealed).map_err(|_| damaged())?;
        Ok(Some(Opened {
            epoch: body.epoch,
            name: body.name.to_owned(),
            secret,
        }))
    }

    fn epochs(&self) -> Result<Vec<Epoch>, KeystoreError> {
        epochs::read(&self.epoch_file)?.ok_or_else(|| KeystoreError::NoEpoch {
            path: self.epoch_file.clone(),
        })
    }

    /// With the lock held.
    fn seal_anew(&self, epochs: &[Epoch]) -> Result<u64, KeystoreError> {
        let keys = self.load_epochs()?;
        let (Some(newest), Some(key)) = (epochs.last(), keys.last()) else {
            return Err(KeystoreError::NoEpoch {
                path: self.epoch_file.clone(),
            });
        };
        self.each_file(&mut |kind, path| self.seal_file_anew(kind, path, key))?;
        crash::point("epoch.sealed");
        // Last: whoever finds it sealed anew finds all of it so.
        self.seal_file_anew(Sealed::Check, &self.check_file(), key)?;
        crash::point("epoch.checked");
        epochs::replace(&self.epoch_file, &[newest])?;
        crash::point("epoch.ended");
        self.load_epochs()?;
        Ok(newest.number)
    }

    fn seal_file_anew(
        &self,
        kind: Sealed,
        path: &Path,
        key: &SealingKey,
    ) -> Result<(), KeystoreError> {
        let io = |source| KeystoreError::io(path, source);
        let Some(opened) = self.opened(kind, path)? else {
            files::destroy_one(path).map_err(io)?;
            return Ok(());
        };
        if opened.epoch == key.number {
            return Ok(());
        }
        let sealed = self.seal(key, kind, &opened.name, &opened.secret)?;
        private_file::replace(path, &sealed).map_err(io)
    }
}

/// A file's contents.
struct Opened {
    epoch: u64,
    name: String,
    secret: Zeroizing<Vec<u8>>,
}
