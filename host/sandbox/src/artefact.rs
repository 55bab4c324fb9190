//! Compiled plugins on disk, so that a start need not compile. An artefact is machine code: only
//! what this installation wrote is ever loaded, which its MAC shows.
//! Not for: components: those come from outside and are compiled (see `admission`).

mod load;

use std::collections::hash_map::DefaultHasher;
use std::fs::{self, DirBuilder, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::error::SandboxError;
use crate::settings::ArtefactCache;

const DOMAIN: &[u8] = b"keyreel/v1 compiled plugin";
const TAG_LEN: usize = 32;

/// The directory, and the key of the MACs.
pub(crate) struct Artefacts {
    directory: PathBuf,
    key: hmac::Key,
    written: AtomicU64,
}

/// Bytes whose MAC was checked. Nothing else makes one.
pub(crate) struct Verified<'a>(&'a [u8]);

impl Artefacts {
    /// Makes the directory where there is none, and sees to it that it is private.
    pub(crate) fn open(settings: ArtefactCache) -> Result<Self, SandboxError> {
        let directory = settings.directory;
        let private = || {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&directory)?;
            let metadata = fs::metadata(&directory)?;
            if metadata.mode() & 0o077 != 0 {
                fs::set_permissions(&directory, fs::Permissions::from_mode(0o700))?;
            }
            Ok(())
        };
        private().map_err(|source| SandboxError::Cache {
            directory: directory.clone(),
            source,
        })?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &*settings.key);
        Ok(Self {
            directory,
            key,
            written: AtomicU64::new(0),
        })
    }

    /// The compiled form of the component with this digest, if this installation and this very
    /// engine made it.
    pub(crate) fn find(&self, engine: &Engine, digest: &[u8; 32]) -> Option<Component> {
        let compatibility = compatibility(engine);
        let stored = fs::read(self.path(digest, compatibility)).ok()?;
        let Some(verified) = self.verify(digest, compatibility, &stored) else {
            tracing::warn!(
                digest = hex::encode(digest),
                "a compiled plugin in the cache was not made by this installation; compiling anew"
            );
            return None;
        };
        load::component(engine, &verified)
            .inspect_err(|error| tracing::debug!(%error, "a compiled plugin does not load"))
            .ok()
    }

    /// Keeps a compiled component. A cache that cannot be written costs time, nothing else.
    pub(crate) fn keep(&self, engine: &Engine, digest: &[u8; 32], component: &Component) {
        let kept = component
            .serialize()
            .map_err(|error| error.to_string())
            .and_then(|compiled| {
                self.write(digest, compatibility(engine), &compiled)
                    .map_err(|error| error.to_string())
            });
        if let Err(error) = kept {
            tracing::warn!(directory = %self.directory.display(), error, "cannot cache a plugin");
        }
    }

    fn verify<'a>(
        &self,
        digest: &[u8; 32],
        compatibility: u64,
        stored: &'a [u8],
    ) -> Option<Verified<'a>> {
        let (tag, compiled) = stored.split_at_checked(TAG_LEN)?;
        let expected = self.tag(digest, compatibility, compiled);
        verify_slices_are_equal(expected.as_ref(), tag).ok()?;
        Some(Verified(compiled))
    }

    fn write(&self, digest: &[u8; 32], compatibility: u64, compiled: &[u8]) -> std::io::Result<()> {
        let tag = self.tag(digest, compatibility, compiled);
        let path = self.path(digest, compatibility);
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let draft = path.with_extension(format!("{}.{number}.draft", std::process::id()));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(tag.as_ref())?;
        file.write_all(compiled)?;
        fs::rename(&draft, &path)
    }

    /// Covers the component's digest and the engine too, so that no artefact stands in for another.
    fn tag(&self, digest: &[u8; 32], compatibility: u64, compiled: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(DOMAIN);
        context.update(digest);
        context.update(&compatibility.to_be_bytes());
        context.update(compiled);
        context.sign()
    }

    fn path(&self, digest: &[u8; 32], compatibility: u64) -> PathBuf {
        self.directory.join(format!(
            "{}-{compatibility:016x}.plugin",
            hex::encode(digest)
        ))
    }
}

/// Changes with wasmtime's version, its settings and the machine's features.
fn compatibility(engine: &Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::engine::config;
    use crate::settings::Limits;

    fn artefacts(directory: PathBuf, key: u8) -> Artefacts {
        let key = Zeroizing::new([key; 32]);
        Artefacts::open(ArtefactCache { directory, key }).unwrap()
    }

    #[test]
    fn only_what_this_installation_made_is_loaded() {
        let engine = Engine::new(&config(&Limits::default())).unwrap();
        let component = Component::new(&engine, wat::parse_str("(component)").unwrap()).unwrap();
        let home = tempfile::tempdir().unwrap();
        let ours = artefacts(home.path().join("cache"), 1);
        let digest = [9; 32];
        assert!(ours.find(&engine, &digest).is_none());
        ours.keep(&engine, &digest, &component);
        assert!(ours.find(&engine, &digest).is_some());

        let directory = fs::metadata(home.path().join("cache")).unwrap();
        assert_eq!(directory.mode() & 0o777, 0o700);
        let path = ours.path(&digest, compatibility(&engine));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);

        let another_installation = artefacts(home.path().join("cache"), 2);
        assert!(another_installation.find(&engine, &digest).is_none());

        let other_digest = [8; 32];
        fs::copy(&path, ours.path(&other_digest, compatibility(&engine))).unwrap();
        assert!(
            ours.find(&engine, &other_digest).is_none(),
            "one artefact stood in for another"
        );

        fs::write(&path, component.serialize().unwrap()).unwrap();
        assert!(
            ours.find(&engine, &digest).is_none(),
            "a bare artefact was accepted"
        );

        ours.keep(&engine, &digest, &component);
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(
            ours.find(&engine, &digest).is_none(),
            "a changed artefact was accepted"
        );
    }
}
