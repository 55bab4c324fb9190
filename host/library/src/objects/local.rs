//! Objects as files. Reads are positional, on one open file per handle, so a response needs one
//! `open` however many spans it reads, and a file replaced meanwhile is still the one that was
//! opened.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::task::{JoinHandle, spawn_blocking};

use super::ObjectVersion;
use crate::Error;

/// Bytes gathered before a write goes to the disk.
const WRITE_LEN: usize = 1 << 20;
/// The name of a file that is not finished begins with it; no object's does.
const UNFINISHED: &str = ".unfinished-";

#[derive(Clone)]
pub(super) struct Store {
    root: Arc<Path>,
}

impl Store {
    pub(super) fn open(root: PathBuf) -> Result<Self, Error> {
        make_folder(&root).map_err(|error| Error::object(root.display().to_string(), error))?;
        Ok(Self { root: root.into() })
    }

    pub(super) async fn create(&self, path: &str) -> Result<Writer, Error> {
        let target = self.root.join(path);
        let path = path.to_owned();
        blocking(&path.clone(), move || {
            let folder = target.parent().map(Path::to_owned).unwrap_or_default();
            make_folder(&folder)?;
            let unfinished = folder.join(format!("{UNFINISHED}{}", uuid::Uuid::new_v4()));
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let file = options.open(&unfinished)?;
            Ok(Writer {
                path,
                target,
                gathered: BytesMut::new(),
                under_way: None,
                file: Some(Unfinished {
                    file,
                    path: unfinished,
                    named: false,
                }),
            })
        })
        .await
    }

    pub(super) async fn get(&self, path: &str) -> Result<Handle, Error> {
        let target = self.root.join(path);
        let path = path.to_owned();
        blocking(&path.clone(), move || {
            // Without waiting: opening a pipe would wait for its writer, and hold a thread.
            let mut options = OpenOptions::new();
            options.read(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::custom_flags(
                &mut options,
                rustix::fs::OFlags::NONBLOCK.bits().cast_signed(),
            );
            let file = options.open(target)?;
            let metadata = file.metadata()?;
            if !metadata.is_file() {
                return Err(io::Error::new(io::ErrorKind::NotFound, "not a file"));
            }
            let version = ObjectVersion {
                path,
                etag: etag(&metadata),
                len: metadata.len(),
            };
            Ok(Handle {
                file: Arc::new(file),
                version,
            })
        })
        .await
    }

    pub(super) async fn ready(&self) -> Result<(), Error> {
        let root = self.root.clone();
        blocking("", move || fs::read_dir(root).map(drop)).await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<(), Error> {
        let target = self.root.join(path);
        blocking(path, move || match fs::remove_file(target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        })
        .await
    }

    pub(super) async fn list(&self, folder: &str) -> Result<Vec<String>, Error> {
        let top = self.root.join(folder);
        let root = self.root.clone();
        blocking(folder, move || {
            let mut found = Vec::new();
            let mut folders = vec![top];
            while let Some(folder) = folders.pop() {
                let entries = match fs::read_dir(&folder) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    entries => entries?,
                };
                for entry in entries {
                    let entry = entry?;
                    // Of a symbolic link this is the link's own: it is not followed.
                    if entry.file_type()?.is_dir() {
                        folders.push(entry.path());
                    } else if let Some(path) =
                        entry.path().strip_prefix(&root).ok().and_then(Path::to_str)
                    {
                        found.push(path.replace(std::path::MAIN_SEPARATOR, "/"));
                    }
                }
            }
            Ok(found)
        })
        .await
    }
}

pub(super) struct Writer {
    path: String,
    target: PathBuf,
    gathered: BytesMut,
    under_way: Option<JoinHandle<io::Result<Unfinished>>>,
    /// With the write under way while there is one.
    file: Option<Unfinished>,
}

impl Writer {
    pub(super) async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        if self.gathered.is_empty() && bytes.len() >= WRITE_LEN {
            return self.start(bytes).await;
        }
        self.gathered.extend_from_slice(&bytes);
        if self.gathered.len() >= WRITE_LEN {
            let bytes = self.gathered.split().freeze();
            self.start(bytes).await?;
        }
        Ok(())
    }

    pub(super) async fn finish(self) -> Result<ObjectVersion, Error> {
        self.finish_by(|from, to| fs::rename(from, to)).await
    }

    /// As [`Writer::finish`], where nothing has the name yet.
    pub(super) async fn finish_new(self) -> Result<ObjectVersion, Error> {
        let path = self.path.clone();
        let finished = self.finish_by(rename_new).await;
        finished.map_err(|error| match &error {
            Error::Object { source, .. }
                if source
                    .downcast_ref::<io::Error>()
                    .is_some_and(|error| error.kind() == io::ErrorKind::AlreadyExists) =>
            {
                Error::Exists {
                    what: format!("object {path}"),
                }
            }
            _ => error,
        })
    }

    async fn finish_by(
        mut self,
        name: impl FnOnce(&Path, &Path) -> io::Result<()> + Send + 'static,
    ) -> Result<ObjectVersion, Error> {
        let rest = std::mem::take(&mut self.gathered);
        let mut file = self.settle().await?;
        let Self { path, target, .. } = self;
        blocking(&path.clone(), move || {
            file.file.write_all(&rest)?;
            file.file.sync_all()?;
            name(&file.path, &target)?;
            file.named = true;
            if let Some(folder) = target.parent() {
                sync_folder(folder)?;
            }
            let metadata = file.file.metadata()?;
            Ok(ObjectVersion {
                path,
                etag: etag(&metadata),
                len: metadata.len(),
            })
        })
        .await
    }

    /// Writes `bytes` while the caller makes the next ones.
    async fn start(&mut self, bytes: Bytes) -> Result<(), Error> {
        let mut file = self.settle().await?;
        self.under_way = Some(spawn_blocking(move || {
            file.file.write_all(&bytes)?;
            Ok(file)
        }));
        Ok(())
    }

    async fn settle(&mut self) -> Result<Unfinished, Error> {
        if let Some(under_way) = self.under_way.take() {
            let result = under_way
                .await
                .map_err(|error| Error::object(&self.path, error))?;
            return result.map_err(|error| Error::object(&self.path, error));
        }
        self.file
            .take()
            .ok_or_else(|| Error::object(&self.path, "an earlier write failed"))
    }
}

/// A file without its final name, removed when dropped.
struct Unfinished {
    file: File,
    path: PathBuf,
    named: bool,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.named {
            // What is left is swept by the next import of the recording.
            let _ = fs::remove_file(&self.path);
        }
    }
}

pub(super) struct Handle {
    file: Arc<File>,
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
        let len = super::checked_len(&self.version, &range)?;
        // Bytes that are there already need no zeroes first.
        buf.resize(len, 0);
        let cached = read_cached(&self.file, &mut buf, range.start);
        if cached == len {
            return Ok(buf);
        }
        let file = self.file.clone();
        blocking(&self.version.path, move || {
            let rest = buf.get_mut(cached..).unwrap_or_default();
            read_exact_at(&file, rest, range.start + cached as u64)?;
            Ok(buf)
        })
        .await
    }
}

/// Reads as much as the page cache holds, and how much that was. It does not wait for the disk, so
/// it needs no thread of its own: for a recording that is being listened to, that is most reads.
#[cfg(target_os = "linux")]
fn read_cached(file: &File, buf: &mut [u8], offset: u64) -> usize {
    use rustix::io::{ReadWriteFlags, preadv2};
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let mut into = [io::IoSliceMut::new(rest)];
        match preadv2(
            file,
            &mut into,
            offset + done as u64,
            ReadWriteFlags::NOWAIT,
        ) {
            // Not in memory, or a file system that cannot tell: the other way then.
            Ok(0) | Err(_) => break,
            Ok(read) => done += read,
        }
    }
    done
}

#[cfg(not(target_os = "linux"))]
fn read_cached(_file: &File, _buf: &mut [u8], _offset: u64) -> usize {
    0
}

/// Runs file I/O where it may block.
async fn blocking<T: Send + 'static>(
    path: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    let result = spawn_blocking(work)
        .await
        .map_err(|error| Error::object(path, error))?;
    result.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::NotFound {
            what: format!("object {path}"),
        },
        _ => Error::object(path, error),
    })
}

/// Gives a file its name if nothing has it.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::EXIST) => return Err(io::ErrorKind::AlreadyExists.into()),
            // A file system that cannot; all the others can link.
            Err(_) => {}
        }
    }
    fs::hard_link(from, to)?;
    fs::remove_file(from)
}

#[cfg(unix)]
fn read_exact_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buf, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buf.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, buf, offset)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buf = buf.split_at_mut(read).1;
        offset += read as u64;
    }
    Ok(())
}

/// A file that is written again under its name is a new one, or has a new time.
#[cfg(unix)]
fn etag(metadata: &Metadata) -> String {
    use std::os::unix::fs::MetadataExt as _;
    let (seconds, nanos) = (metadata.mtime(), metadata.mtime_nsec());
    format!(
        "\"{:x}-{seconds:x}.{nanos:x}-{:x}\"",
        metadata.ino(),
        metadata.len()
    )
}

#[cfg(not(unix))]
fn etag(metadata: &Metadata) -> String {
    let modified = metadata.modified().ok();
    let since = modified.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let nanos = since.map_or(0, |since| since.as_nanos());
    format!("\"{nanos:x}-{:x}\"", metadata.len())
}

/// Makes a folder and those above it, durable: a file is no safer than the names on its path.
fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let Some(above) = folder.parent() else {
                return Err(error);
            };
            make_folder(above)?;
            match builder.create(folder) {
                // Another recording of the tenant was quicker.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                result => result?,
            }
        }
        Err(error) => return Err(error),
    }
    folder.parent().map_or(Ok(()), sync_folder)
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Windows has no such thing; its file system journals names.
#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}
