//! A new epoch of the keystore: all that is left is sealed anew, then the former epoch's key is
//! destroyed, and with it every copy of the keystore from before.

use std::path::Path;

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
        let epochs = self.epochs()?;
        // Unless somebody else has, meanwhile.
        if epochs.len() > 1 {
            self.seal_anew(&epochs)?;
        }
        Ok(())
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
        for kind in [Sealed::Root, Sealed::Service, Sealed::Mark] {
            let folder = self.kind(kind);
            let io = |source| KeystoreError::io(&folder, source);
            if matches!(kind, Sealed::Mark) && !folder.exists() {
                continue;
            }
            for entry in std::fs::read_dir(&folder).map_err(io)? {
                self.seal_file_anew(kind, &entry.map_err(io)?.path(), key)?;
            }
        }
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
        let damaged = || KeystoreError::Damaged {
            path: path.to_owned(),
        };
        let Some(file) = private_file::read(path).map_err(io)? else {
            return Ok(());
        };
        // What an interrupted destruction or creation left.
        let is_left = file.iter().all(|&byte| byte == 0) || private_file::is_temporary(path);
        if is_left {
            files::destroy_one(path).map_err(io)?;
            return Ok(());
        }
        let body = Body::parse(&file).ok_or_else(damaged)?;
        if body.epoch == key.number {
            return Ok(());
        }
        let former = self.sealing(body.epoch)?;
        let former = former.ok_or_else(|| self.former(path, body.epoch))?;
        let aad = kind.aad(body.name, body.epoch);
        let secret = aead::open(former.expose(), &aad, body.sealed).map_err(|_| damaged())?;
        let sealed = self.seal(key, kind, body.name, &secret)?;
        private_file::replace(path, &sealed).map_err(io)
    }
}
