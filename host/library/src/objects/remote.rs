//! Objects in a bucket, through object_store. An upload becomes visible when it is complete.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{
    GetOptions, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, WriteMultipart,
};
use url::Url;

use super::ObjectVersion;
use crate::Error;

/// Bytes of one part of an upload: S3 takes 10,000 of them, so up to 80 GiB.
const PART_LEN: usize = 8 << 20;
/// Parts under way at once.
const PARTS: usize = 4;

#[derive(Clone)]
pub(super) struct Store {
    inner: Arc<dyn ObjectStore>,
    prefix: Path,
}

impl Store {
    pub(super) fn open(
        url: &Url,
        options: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Error> {
        let (inner, prefix) = match url.scheme() {
            "memory" => (
                Arc::new(object_store::memory::InMemory::new()) as _,
                Path::default(),
            ),
            "s3" => open_s3(url, options)?,
            other => {
                let reason = format!("{other}: is not file:, s3: or memory:");
                return Err(Error::invalid("object URL", reason));
            }
        };
        Ok(Self { inner, prefix })
    }

    fn location(&self, path: &str) -> Path {
        self.prefix
            .parts()
            .chain(Path::from(path).parts())
            .collect()
    }

    pub(super) fn create(&self, path: &str) -> Result<Writer, Error> {
        Ok(Writer {
            store: self.clone(),
            path: path.to_owned(),
            gathered: BytesMut::new(),
            upload: None,
            len: 0,
        })
    }

    pub(super) async fn put_new(&self, path: &str, bytes: Bytes) -> Result<ObjectVersion, Error> {
        let len = bytes.len() as u64;
        let options = PutOptions::from(PutMode::Create);
        let location = self.location(path);
        match self.inner.put_opts(&location, bytes.into(), options).await {
            Ok(result) => Ok(ObjectVersion {
                path: path.to_owned(),
                etag: result.e_tag.unwrap_or_default(),
                len,
            }),
            Err(object_store::Error::AlreadyExists { .. }) => Err(Error::Exists {
                what: format!("object {path}"),
            }),
            Err(error) => Err(failed(path, error)),
        }
    }

    pub(super) async fn head(&self, path: &str) -> Result<ObjectVersion, Error> {
        let meta = self
            .inner
            .head(&self.location(path))
            .await
            .map_err(|error| failed(path, error))?;
        // Without an ETag a version cannot be pinned, only its length checked.
        let etag = meta.e_tag.unwrap_or_default();
        Ok(ObjectVersion {
            path: path.to_owned(),
            etag,
            len: meta.size,
        })
    }

    pub(super) async fn get(&self, path: &str) -> Result<Handle, Error> {
        let version = self.head(path).await?;
        Ok(Handle {
            store: self.clone(),
            version,
        })
    }

    pub(super) async fn delete(&self, path: &str) -> Result<(), Error> {
        match self.inner.delete(&self.location(path)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed(path, error)),
        }
    }

    pub(super) async fn list(&self, folder: &str) -> Result<Vec<String>, Error> {
        let found: Vec<_> = self
            .inner
            .list(Some(&self.location(folder)))
            .try_collect()
            .await
            .map_err(|error| failed(folder, error))?;
        let relative = |location: &Path| {
            location
                .prefix_match(&self.prefix)
                .map(|parts| parts.collect::<Path>().to_string())
        };
        Ok(found
            .iter()
            .filter_map(|meta| relative(&meta.location))
            .collect())
    }
}

#[cfg(feature = "s3")]
fn open_s3(
    url: &Url,
    options: impl IntoIterator<Item = (String, String)>,
) -> Result<(Arc<dyn ObjectStore>, Path), Error> {
    use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
    let invalid = |error: object_store::Error| Error::invalid("object URL", error.to_string());
    let mut builder = AmazonS3Builder::from_env().with_url(url.as_str());
    for (name, value) in options {
        let key: AmazonS3ConfigKey = name.parse().map_err(invalid)?;
        builder = builder.with_config(key, value);
    }
    let store = builder.build().map_err(invalid)?;
    let prefix = Path::from_url_path(url.path())
        .map_err(|error| Error::invalid("object URL", error.to_string()))?;
    Ok((Arc::new(store), prefix))
}

#[cfg(not(feature = "s3"))]
fn open_s3(
    _url: &Url,
    _options: impl IntoIterator<Item = (String, String)>,
) -> Result<(Arc<dyn ObjectStore>, Path), Error> {
    Err(Error::invalid(
        "object URL",
        "this build has no S3 (feature s3)",
    ))
}

pub(super) struct Writer {
    store: Store,
    path: String,
    gathered: BytesMut,
    upload: Option<WriteMultipart>,
    len: u64,
}

impl Writer {
    pub(super) async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.len += bytes.len() as u64;
        if let Some(upload) = &mut self.upload {
            upload
                .wait_for_capacity(PARTS)
                .await
                .map_err(|error| failed(&self.path, error))?;
            upload.put(bytes);
            return Ok(());
        }
        self.gathered.extend_from_slice(&bytes);
        if self.gathered.len() > PART_LEN {
            let location = self.store.location(&self.path);
            let upload = self.store.inner.put_multipart(&location).await;
            let upload = upload.map_err(|error| failed(&self.path, error))?;
            let mut upload = WriteMultipart::new_with_chunk_size(upload, PART_LEN);
            upload.put(self.gathered.split().freeze());
            self.upload = Some(upload);
        }
        Ok(())
    }

    pub(super) async fn finish(mut self) -> Result<ObjectVersion, Error> {
        let result = match self.upload.take() {
            Some(upload) => upload.finish().await,
            None => {
                let location = self.store.location(&self.path);
                let bytes = std::mem::take(&mut self.gathered).freeze();
                self.store.inner.put(&location, bytes.into()).await
            }
        };
        let result = result.map_err(|error| failed(&self.path, error))?;
        let path = std::mem::take(&mut self.path);
        Ok(ObjectVersion {
            path,
            etag: result.e_tag.unwrap_or_default(),
            len: self.len,
        })
    }
}

impl Drop for Writer {
    /// Parts of an upload that is not completed cost money until somebody removes them.
    fn drop(&mut self) {
        if let (Some(upload), Ok(runtime)) =
            (self.upload.take(), tokio::runtime::Handle::try_current())
        {
            let path = std::mem::take(&mut self.path);
            runtime.spawn(async move {
                if let Err(error) = upload.abort().await {
                    tracing::warn!(%path, %error, "an unfinished upload could not be aborted");
                }
            });
        }
    }
}

pub(super) struct Handle {
    store: Store,
    version: ObjectVersion,
}

impl Handle {
    pub(super) fn version(&self) -> &ObjectVersion {
        &self.version
    }

    pub(super) async fn read(
        &self,
        range: Range<u64>,
        mut buf: BytesMut,
    ) -> Result<BytesMut, Error> {
        let version = &self.version;
        let len = super::checked_len(version, &range)?;
        buf.clear();
        if len == 0 {
            return Ok(buf);
        }
        let options = GetOptions {
            if_match: (!version.etag.is_empty()).then(|| version.etag.clone()),
            range: Some(range.into()),
            ..GetOptions::default()
        };
        let location = self.store.location(&version.path);
        let result = self.store.inner.get_opts(&location, options).await;
        let result = result.map_err(|error| changed(version, error))?;
        if result.meta.size != version.len {
            return Err(changed_to(version, format!("{} bytes", result.meta.size)));
        }
        let mut pieces = result.into_stream();
        while let Some(piece) = pieces
            .try_next()
            .await
            .map_err(|error| changed(version, error))?
        {
            buf.extend_from_slice(&piece);
        }
        if buf.len() != len {
            return Err(Error::object(&version.path, "the answer was cut short"));
        }
        Ok(buf)
    }
}

fn failed(path: &str, error: object_store::Error) -> Error {
    match error {
        object_store::Error::NotFound { .. } => Error::NotFound {
            what: format!("object {path}"),
        },
        other => Error::object(path, other),
    }
}

fn changed(version: &ObjectVersion, error: object_store::Error) -> Error {
    match error {
        object_store::Error::Precondition { .. } => changed_to(version, "another".to_owned()),
        other => failed(&version.path, other),
    }
}

fn changed_to(version: &ObjectVersion, found: String) -> Error {
    Error::Changed {
        path: version.path.clone(),
        expected: version.etag.clone(),
        found,
    }
}
