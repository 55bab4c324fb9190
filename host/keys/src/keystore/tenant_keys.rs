//! What a tenant's file in the keystore holds: its root, and one key for each private KEK that Keyreel
//! keeps, so that a KEK can be destroyed without the others.
//!
//! `root(32) ‖ entries`, each `u8 length ‖ name ‖ key(32)`, names ascending.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use crate::aead::{KEY_LEN, Key};

pub(super) struct TenantKeys {
    pub(super) root: Key,
    pub(super) keys: BTreeMap<String, Key>,
}

impl TenantKeys {
    pub(super) fn new(root: Key) -> Self {
        Self {
            root,
            keys: BTreeMap::new(),
        }
    }

    /// `None`: it has not the form.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (root, mut rest) = bytes.split_first_chunk::<KEY_LEN>()?;
        let mut keys = BTreeMap::new();
        while let Some((&len, after)) = rest.split_first() {
            let (name, after) = after.split_at_checked(len.into())?;
            let (key, after) = after.split_first_chunk::<KEY_LEN>()?;
            let name = std::str::from_utf8(name).ok()?.to_owned();
            keys.insert(name, boxed(key));
            rest = after;
        }
        Some(Self {
            root: boxed(root),
            keys,
        })
    }

    /// `None`: a name is too long.
    pub(super) fn to_bytes(&self) -> Option<Zeroizing<Vec<u8>>> {
        let names: usize = self.keys.keys().map(String::len).sum();
        let len = KEY_LEN + names + self.keys.len() * (1 + KEY_LEN);
        // Reserved in full: growing would leave a copy on the heap.
        let mut bytes = Zeroizing::new(Vec::with_capacity(len));
        bytes.extend_from_slice(self.root.as_slice());
        for (name, key) in &self.keys {
            bytes.push(u8::try_from(name.len()).ok()?);
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(key.as_slice());
        }
        Some(bytes)
    }
}

fn boxed(bytes: &[u8; KEY_LEN]) -> Key {
    let mut key = Key::default();
    key.copy_from_slice(bytes);
    key
}
