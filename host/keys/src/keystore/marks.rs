//! Marks: a few bytes by name that nobody may put back or make up who can write the database alone.
//! Not for: keys.
//!
//! A mark lies in `marks/<sha-256 of the name>.mark`, sealed as the keys are, under a kind of its
//! own. It is no secret; what counts is that it opens with the epoch's sealing key only, which is made of
//! this keystore's master key and epoch key.

use super::{Keystore, KeystoreError, Sealed, files};
use crate::private_file;

impl Keystore {
    /// What the mark `name` says; `None` where it was never set.
    ///
    /// # Errors
    /// The file cannot be read, or does not open.
    pub fn mark(&self, name: &str) -> Result<Option<Vec<u8>>, KeystoreError> {
        Ok(self.read(Sealed::Mark, name)?.map(|text| text.to_vec()))
    }

    /// Has the mark `name` say `text` from now on.
    ///
    /// # Errors
    /// The file cannot be written; the mark is as it was then.
    pub fn set_mark(&self, name: &str, text: &[u8]) -> Result<(), KeystoreError> {
        let _lock = self.lock()?;
        files::create_directory(&self.kind(Sealed::Mark))?;
        let sealed = self.seal(&self.newest()?, Sealed::Mark, name, text)?;
        let path = self.path(Sealed::Mark, name);
        private_file::replace(&path, &sealed).map_err(|source| KeystoreError::io(&path, source))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Keystore, KeystoreError, Sealed, generate_master_key};

    #[test]
    fn a_mark_is_what_was_set_last_and_opens_in_its_own_place_only() {
        let folder = tempfile::tempdir().unwrap();
        let master = folder.path().join("master");
        generate_master_key(&master).unwrap();
        let directory = folder.path().join("keystore");
        let keystore = Keystore::open_or_create(&directory, &master).unwrap();
        assert_eq!(keystore.mark("one").unwrap(), None);
        keystore.set_mark("one", b"first").unwrap();
        keystore.set_mark("one", b"").unwrap();
        keystore.set_mark("one", b"last").unwrap();
        keystore.set_mark("two", b"another").unwrap();
        let opened = Keystore::open(&directory, &master).unwrap();
        assert_eq!(opened.mark("one").unwrap().unwrap(), b"last");
        opened.begin_epoch().unwrap();
        assert_eq!(keystore.mark("one").unwrap().unwrap(), b"last");

        // One in the place of another, and one that somebody made.
        let (one, two) = (
            keystore.path(Sealed::Mark, "one"),
            keystore.path(Sealed::Mark, "two"),
        );
        for planted in [std::fs::read(&two).unwrap(), b"last".to_vec()] {
            std::fs::write(&one, planted).unwrap();
            let read = keystore.mark("one");
            assert!(
                matches!(read, Err(KeystoreError::Damaged { .. })),
                "{read:?}"
            );
        }
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(&two).unwrap().permissions(),
        );
        assert_eq!(mode & 0o777, 0o600);
    }
}
