//! Where the sealed bytes lie: a folder (`file:///…`) or a bucket (`s3://bucket/prefix`).
//!
//! An object appears all at once, durable, under its name, or not at all. What is read through one
//! [`ObjectHandle`] is one version of it, whatever happens to the name meanwhile.
//! Not for: what is in them; every byte here is ciphertext.

mod local;
mod remote;

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use url::Url;

use crate::Error;

/// A store of objects. Cheap to clone.
#[derive(Clone)]
pub struct Objects {
    backend: Backend,
}

#[derive(Clone)]
enum Backend {
    Local(local::Store),
    Remote(remote::Store),
}

/// One version of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectVersion {
    /// Where it lies, relative to the store: `tenant/recording/media.0123456789abcdef.krc`.
    pub path: String,
    /// Changes whenever the object does. It belongs to this copy of the store: a store restored
    /// from a backup has others.
    pub etag: String,
    /// Its bytes.
    pub len: u64,
}

impl Objects {
    /// Opens the store at `url`: `file:///var/lib/keyreel/objects`, made where it is missing, or,
    /// with the feature `s3`, `s3://bucket/prefix`, whose credentials come from the environment as
    /// AWS' tools have it. `memory:///` is for tests.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a URL that is none of these; [`Error::Object`] where the folder
    /// cannot be made.
    pub fn open(url: &str) -> Result<Self, Error> {
        Self::open_with(url, [])
    }

    /// As [`Objects::open`], with settings of the store by object_store's names:
    /// `("aws_endpoint", "http://127.0.0.1:9000")`.
    ///
    /// # Errors
    /// As [`Objects::open`]; [`Error::Invalid`] for a setting that the store does not have.
    pub fn open_with(
        url: &str,
        options: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Error> {
        let parsed =
            Url::parse(url).map_err(|error| Error::invalid("object URL", error.to_string()))?;
        let backend = if parsed.scheme() == "file" {
            // What `file:objects` means depends on who reads it.
            if !url.starts_with("file:///") {
                return Err(Error::invalid(
                    "object URL",
                    "expected file:///absolute/path",
                ));
            }
            let root = parsed
                .to_file_path()
                .map_err(|()| Error::invalid("object URL", "not an absolute path"))?;
            Backend::Local(local::Store::open(root)?)
        } else {
            Backend::Remote(remote::Store::open(&parsed, options)?)
        };
        Ok(Self { backend })
    }

    /// Starts a new object. Dropped unfinished, it leaves nothing behind.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a path that leaves the store; [`Error::Object`].
    pub async fn create(&self, path: &str) -> Result<ObjectWriter, Error> {
        check_path(path)?;
        let inner = match &self.backend {
            Backend::Local(store) => Writer::Local(store.create(path).await?),
            Backend::Remote(store) => Writer::Remote(store.create(path)?),
        };
        Ok(ObjectWriter { inner })
    }

    /// Writes a whole object that is in memory.
    ///
    /// # Errors
    /// As [`Objects::create`].
    pub async fn put(&self, path: &str, bytes: Bytes) -> Result<ObjectVersion, Error> {
        let mut writer = self.create(path).await?;
        writer.write(bytes).await?;
        writer.finish().await
    }

    /// Writes a whole object that is in memory where there is none yet: of several who try at the
    /// same time, one succeeds.
    ///
    /// # Errors
    /// [`Error::Exists`] where there is one, which stays as it is; else as [`Objects::create`].
    pub async fn put_new(&self, path: &str, bytes: Bytes) -> Result<ObjectVersion, Error> {
        check_path(path)?;
        match &self.backend {
            Backend::Local(store) => {
                let mut writer = store.create(path).await?;
                writer.write(bytes).await?;
                writer.finish_new().await
            }
            Backend::Remote(store) => store.put_new(path, bytes).await,
        }
    }

    /// The version that lies at `path` now.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`]; [`Error::Object`].
    pub async fn head(&self, path: &str) -> Result<ObjectVersion, Error> {
        check_path(path)?;
        match &self.backend {
            Backend::Local(store) => Ok(store.get(path).await?.version().clone()),
            Backend::Remote(store) => store.head(path).await,
        }
    }

    /// Opens the version that lies at `path` now, or, where `etag` names one, that version only.
    /// Leave `etag` out unless it came from this store a moment ago: a restored backup has others
    /// than the catalogue remembers. A foreign object shows by [`crate::Part::body_prefix`].
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Changed`] where it is another version; [`Error::Invalid`];
    /// [`Error::Object`].
    pub async fn get(&self, path: &str, etag: Option<&str>) -> Result<ObjectHandle, Error> {
        check_path(path)?;
        let inner = match &self.backend {
            Backend::Local(store) => Handle::Local(store.get(path).await?),
            Backend::Remote(store) => Handle::Remote(store.get(path).await?),
        };
        let handle = ObjectHandle {
            inner: Arc::new(inner),
        };
        let version = handle.version();
        match etag {
            Some(expected) if expected != version.etag => Err(Error::Changed {
                path: path.to_owned(),
                expected: expected.to_owned(),
                found: version.etag.clone(),
            }),
            _ => Ok(handle),
        }
    }

    /// Whether the store answers: a cheap question for health checks.
    ///
    /// # Errors
    /// [`Error::Object`].
    pub async fn ready(&self) -> Result<(), Error> {
        match &self.backend {
            Backend::Local(store) => store.ready().await,
            Backend::Remote(store) => match store.head("ready").await {
                Err(Error::NotFound { .. }) => Ok(()),
                answer => answer.map(drop),
            },
        }
    }

    /// Removes an object. No error where there is none.
    ///
    /// # Errors
    /// [`Error::Invalid`]; [`Error::Object`].
    pub async fn delete(&self, path: &str) -> Result<(), Error> {
        check_path(path)?;
        match &self.backend {
            Backend::Local(store) => store.delete(path).await,
            Backend::Remote(store) => store.delete(path).await,
        }
    }

    /// The paths of everything in a folder and below, leftovers of broken-off writes included.
    ///
    /// # Errors
    /// [`Error::Invalid`]; [`Error::Object`].
    pub async fn list(&self, folder: &str) -> Result<Vec<String>, Error> {
        check_path(folder)?;
        match &self.backend {
            Backend::Local(store) => store.list(folder).await,
            Backend::Remote(store) => store.list(folder).await,
        }
    }

    /// Removes everything in `folder` that is not in `keep` and no key record of what is.
    pub(crate) async fn sweep(&self, folder: &str, keep: &[&str]) -> Result<(), Error> {
        for path in self.list(folder).await? {
            let object = crate::head::object_of(&path).unwrap_or(&path);
            if !keep.contains(&object) {
                match &self.backend {
                    Backend::Local(store) => store.delete(&path).await?,
                    Backend::Remote(store) => store.delete(&path).await?,
                }
            }
        }
        Ok(())
    }
}

/// An object that is being written.
pub struct ObjectWriter {
    inner: Writer,
}

enum Writer {
    Local(local::Writer),
    Remote(remote::Writer),
}

impl ObjectWriter {
    /// Appends bytes. Writing goes on in the background, in bounded memory.
    ///
    /// # Errors
    /// [`Error::Object`], of this write or of the one before.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        match &mut self.inner {
            Writer::Local(writer) => writer.write(bytes).await,
            Writer::Remote(writer) => writer.write(bytes).await,
        }
    }

    /// Makes the object durable and gives it its name.
    ///
    /// # Errors
    /// [`Error::Object`].
    pub async fn finish(self) -> Result<ObjectVersion, Error> {
        match self.inner {
            Writer::Local(writer) => writer.finish().await,
            Writer::Remote(writer) => writer.finish().await,
        }
    }
}

/// One version of an object, open for reading. Cheap to clone; may be kept as long as it is useful.
#[derive(Clone)]
pub struct ObjectHandle {
    inner: Arc<Handle>,
}

enum Handle {
    Local(local::Handle),
    Remote(remote::Handle),
}

impl ObjectHandle {
    /// Which version.
    #[must_use]
    pub fn version(&self) -> &ObjectVersion {
        match &*self.inner {
            Handle::Local(handle) => handle.version(),
            Handle::Remote(handle) => handle.version(),
        }
    }

    /// Reads `range` of the object into `buf`, whose contents are replaced and whose memory is
    /// used again. It is cheapest not to clear `buf` before.
    ///
    /// # Errors
    /// [`Error::Changed`] where the version has gone; [`Error::Object`], also for a range that
    /// ends after the object.
    pub async fn read(&self, range: Range<u64>, buf: BytesMut) -> Result<BytesMut, Error> {
        match &*self.inner {
            Handle::Local(handle) => handle.read(range, buf).await,
            Handle::Remote(handle) => handle.read(range, buf).await,
        }
    }
}

/// Names only: no way up, nothing hidden, nothing absolute.
fn check_path(path: &str) -> Result<(), Error> {
    let invalid = |reason| Err(Error::invalid(format!("object path {path:?}"), reason));
    for name in path.split('/') {
        if name.is_empty() || name.starts_with('.') {
            return invalid("an empty or hidden name");
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.len() > 255 || !name.chars().all(allowed) {
            return invalid("a name of other than 1 to 255 of A-Z a-z 0-9 - _ .");
        }
    }
    Ok(())
}

/// How long `range` is, if it lies within the object.
fn checked_len(version: &ObjectVersion, range: &Range<u64>) -> Result<usize, Error> {
    let len = range
        .end
        .checked_sub(range.start)
        .and_then(|len| usize::try_from(len).ok());
    match len {
        Some(len) if range.end <= version.len => Ok(len),
        _ => Err(Error::object(
            &version.path,
            format!("no range {range:?} in {}", version.len),
        )),
    }
}

#[cfg(test)]
mod tests;
