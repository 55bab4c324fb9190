//! What a folder holds, paired by name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::Error;

/// Files with these names are media; their content decides what they really are.
const MEDIA: [&str; 9] = [
    "wav", "mp3", "ogg", "oga", "opus", "flac", "m4a", "mp4", "webm",
];
const TRANSCRIPT: &str = ".transcript.json";
const METADATA: &str = ".json";

/// One recording to import.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its media's path in the folder, with `/` between.
    pub name: String,
    /// The media.
    pub media: Input,
    /// What is known of it.
    pub metadata: Option<Input>,
    /// What was said.
    pub transcript: Option<Input>,
    /// When the media file was last written, ms since 1970: its start, where nothing better is
    /// known.
    pub modified_ms: Option<u64>,
}

/// Where bytes come from.
#[derive(Debug, Clone)]
pub enum Input {
    /// A file.
    File {
        /// Where.
        path: PathBuf,
        /// Its bytes, when it was found.
        len: u64,
    },
    /// Bytes in memory, such as an example inside the program.
    Memory {
        /// What to call it.
        name: String,
        /// The bytes.
        bytes: Bytes,
    },
}

/// A folder's contents.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    /// The recordings, by name.
    pub sources: Vec<Source>,
    /// What belongs to no recording, and why.
    pub left_out: Vec<(String, String)>,
}

impl Scan {
    /// Bytes of media.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.sources.iter().map(|source| source.media.len()).sum()
    }
}

/// Looks through `folder` and the folders in it. Hidden files and linked folders are passed over.
///
/// # Errors
/// [`Error::Input`].
pub fn scan(folder: &Path) -> Result<Scan, Error> {
    let failed = |path: &Path, source| Error::Input {
        what: path.display().to_string(),
        source,
    };
    let mut files = Vec::new();
    let mut left_out = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(current) = folders.pop() {
        for entry in std::fs::read_dir(&current).map_err(|error| failed(&current, error))? {
            let entry = entry.map_err(|error| failed(&current, error))?;
            let path = entry.path();
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let kind = entry.file_type().map_err(|error| failed(&path, error))?;
            if kind.is_dir() {
                folders.push(path);
                continue;
            }
            let Some(name) = relative_name(folder, &path) else {
                let name = path.display().to_string();
                left_out.push((name, "its name is not UTF-8".to_owned()));
                continue;
            };
            // A link in a drop folder may point at anything that the importer can read: the master
            // key, another tenant's files.
            if kind.is_symlink() {
                left_out.push((name, "it is a symbolic link".to_owned()));
                continue;
            }
            match std::fs::metadata(&path) {
                Ok(metadata) if metadata.is_file() => {
                    let modified = metadata.modified().ok();
                    let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
                    let modified_ms = since.and_then(|time| u64::try_from(time.as_millis()).ok());
                    files.push((
                        name,
                        Input::File {
                            path,
                            len: metadata.len(),
                        },
                        modified_ms,
                    ));
                }
                Ok(_) => {}
                Err(error) => left_out.push((name, error.to_string())),
            }
        }
    }
    let mut found = pair(files);
    found.left_out.extend(left_out);
    found.left_out.sort();
    Ok(found)
}

fn relative_name(folder: &Path, path: &Path) -> Option<String> {
    let relative = path.strip_prefix(folder).ok()?;
    let names: Option<Vec<&str>> = relative
        .components()
        .map(|name| name.as_os_str().to_str())
        .collect();
    Some(names?.join("/"))
}

/// Pairs files, given by their path in the folder, their bytes and when they were written, into
/// recordings.
#[must_use]
pub fn pair(files: impl IntoIterator<Item = (String, Input, Option<u64>)>) -> Scan {
    let mut media = Vec::new();
    let mut metadata = BTreeMap::new();
    let mut transcripts = BTreeMap::new();
    for (name, input, modified_ms) in files {
        if let Some(stem) = name.strip_suffix(TRANSCRIPT) {
            transcripts.insert(stem.to_owned(), input);
        } else if let Some(stem) = name.strip_suffix(METADATA) {
            metadata.insert(stem.to_owned(), input);
        } else if let Some((stem, extension)) = name.rsplit_once('.')
            && MEDIA
                .iter()
                .any(|known| extension.eq_ignore_ascii_case(known))
        {
            media.push((stem.to_owned(), name, input, modified_ms));
        }
    }
    media.sort_by(|(_, a, ..), (_, b, ..)| a.cmp(b));
    let mut found = Scan::default();
    let mut last_stem = None;
    for (stem, name, input, modified_ms) in media {
        if last_stem.as_ref() == Some(&stem) {
            let reason = format!("{stem} has more than one media file");
            found.left_out.push((name, reason));
            continue;
        }
        found.sources.push(Source {
            name,
            media: input,
            metadata: metadata.remove(&stem),
            transcript: transcripts.remove(&stem),
            modified_ms,
        });
        last_stem = Some(stem);
    }
    let alone = |(stem, suffix): (&String, &str)| {
        (
            format!("{stem}{suffix}"),
            "there is no media of this name".to_owned(),
        )
    };
    found
        .left_out
        .extend(metadata.keys().map(|stem| alone((stem, METADATA))));
    found
        .left_out
        .extend(transcripts.keys().map(|stem| alone((stem, TRANSCRIPT))));
    found
}

impl Input {
    /// Its bytes.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "an empty input is an error, not a question"
    )]
    pub fn len(&self) -> u64 {
        match self {
            Self::File { len, .. } => *len,
            Self::Memory { bytes, .. } => bytes.len() as u64,
        }
    }

    /// What to call it in a message: its name without its folders.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::File { path, .. } => path
                .file_name()
                .unwrap_or(path.as_os_str())
                .to_string_lossy()
                .into_owned(),
            Self::Memory { name, .. } => name.clone(),
        }
    }

    pub(super) fn failed(&self, source: std::io::Error) -> Error {
        Error::Input {
            what: self.describe(),
            source,
        }
    }

    pub(super) async fn open(&self) -> Result<Box<dyn AsyncRead + Send + Unpin>, Error> {
        match self {
            Self::File { path, .. } => {
                let mut options = tokio::fs::OpenOptions::new();
                options.read(true);
                // A link put in the file's place since the scan is not followed.
                #[cfg(unix)]
                options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
                let file = options.open(path).await;
                Ok(Box::new(file.map_err(|error| self.failed(error))?))
            }
            Self::Memory { bytes, .. } => Ok(Box::new(std::io::Cursor::new(bytes.clone()))),
        }
    }

    /// All of it, if it is at most `limit` bytes.
    pub(super) async fn read_all(&self, limit: u64) -> Result<Bytes, Error> {
        let mut bytes = Vec::new();
        let read = self
            .open()
            .await?
            .take(limit + 1)
            .read_to_end(&mut bytes)
            .await;
        read.map_err(|error| self.failed(error))?;
        if bytes.len() as u64 > limit {
            let reason = format!("{}: more than {limit} bytes", self.describe());
            return Err(Error::BadMedia { reason });
        }
        Ok(bytes.into())
    }
}
