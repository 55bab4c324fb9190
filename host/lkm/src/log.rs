//! What was decrypted for whom: a file that only ever grows. Each line names the digest of the line
//! before it, so that a changed or missing line shows; cutting off the end does not show by itself:
//! send the lines, or now and then the last digest, somewhere else.
//! Not for: refusals of those who could not sign: they go to the program's own log.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};

use crate::Error;

/// What the first line follows.
const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// No line is longer.
const MAX_LINE: u64 = 8192;

/// One decrypt, allowed or refused.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry<'a> {
    /// RFC 3339.
    pub(crate) time: String,
    pub(crate) credential: &'a str,
    pub(crate) keypair_id: Option<String>,
    /// `PureCloud-User-Id`, as sent: no signature covers it.
    pub(crate) user: Option<&'a str>,
    /// Signed along, where the client does that.
    pub(crate) recording: Option<&'a str>,
    pub(crate) peer: String,
    /// "ok", or why not.
    pub(crate) outcome: &'a str,
}

#[derive(serde::Serialize)]
struct Line<'a> {
    previous: &'a str,
    #[serde(flatten)]
    entry: &'a Entry<'a>,
}

/// The log of a running server.
pub(crate) struct Log(Mutex<Open>);

struct Open {
    path: PathBuf,
    file: File,
    previous: String,
}

impl Log {
    /// Goes on where the file ends. A line that a crash tore is ended and stays.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let io = |source| Error::file(path, source);
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .map_err(io)?;
        // Two writers would fork the chain.
        file.try_lock().map_err(|_| {
            io(std::io::Error::other(
                "another Local Key Manager is writing this log",
            ))
        })?;
        let length = file.metadata().map_err(io)?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(2 * MAX_LINE)))
            .map_err(io)?;
        let mut end = Vec::new();
        file.read_to_end(&mut end).map_err(io)?;
        if end.last().is_some_and(|last| *last != b'\n') {
            file.write_all(b"\n").map_err(io)?;
            end.push(b'\n');
        }
        let previous = end
            .strip_suffix(b"\n")
            .and_then(|lines| lines.rsplit(|byte| *byte == b'\n').next())
            .map_or_else(|| BEGINNING.to_owned(), digest_of);
        Ok(Self(Mutex::new(Open {
            path: path.to_owned(),
            file,
            previous,
        })))
    }

    /// Appends and waits until it is on disk.
    pub(crate) fn append(&self, entry: &Entry<'_>) -> Result<(), Error> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = Line {
            previous: &open.previous,
            entry,
        };
        let mut line = serde_json::to_vec(&line).map_err(|_| Error::Library {
            what: "writing the log",
        })?;
        let digest = digest_of(&line);
        line.push(b'\n');
        let length = open.file.metadata().map(|data| data.len());
        let written = open
            .file
            .write_all(&line)
            .and_then(|()| open.file.sync_data());
        match (written, length) {
            (Ok(()), _) => {
                open.previous = digest;
                Ok(())
            }
            (Err(source), length) => {
                // A disk that is full took a part of the line: the next one would hang on to it.
                if let Ok(length) = length {
                    let _ = open.file.set_len(length);
                }
                Err(Error::file(&open.path, source))
            }
        }
    }
}

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogReport {
    /// Lines that hang together.
    pub lines: u64,
    /// Lines that a crash tore: in the chain, but not readable.
    pub torn: u64,
    /// The digest of the last line, to be kept elsewhere.
    pub head: String,
}

/// Reads the log in `data` from its beginning and checks that every line follows the one before it.
///
/// # Errors
/// [`Error::Log`] names the first line that does not.
pub fn verify(data: &Path) -> Result<LogReport, Error> {
    let path = crate::store::KeyPairs::log_file(data);
    let file = File::open(&path).map_err(|source| Error::file(&path, source))?;
    let mut report = LogReport {
        lines: 0,
        torn: 0,
        head: BEGINNING.to_owned(),
    };
    for line in BufReader::new(file).split(b'\n') {
        let line = line.map_err(|source| Error::file(&path, source))?;
        report.lines += 1;
        match serde_json::from_slice::<serde_json::Value>(&line) {
            Ok(entry) => {
                let previous = entry.get("previous").and_then(serde_json::Value::as_str);
                if previous != Some(report.head.as_str()) {
                    return Err(Error::Log {
                        path,
                        line: report.lines,
                        message: "it does not follow the line before it: a line was changed, \
                                  added or removed",
                    });
                }
            }
            Err(_) => report.torn += 1,
        }
        report.head = digest_of(&line);
    }
    Ok(report)
}

fn digest_of(line: &[u8]) -> String {
    hex::encode(digest(&SHA256, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(outcome: &str) -> Entry<'_> {
        Entry {
            time: "2026-01-02T03:04:05Z".to_owned(),
            credential: "acme",
            keypair_id: None,
            user: Some("u"),
            recording: None,
            peer: "127.0.0.1".to_owned(),
            outcome,
        }
    }

    fn written() -> (tempfile::TempDir, PathBuf) {
        let data = tempfile::tempdir().unwrap();
        let path = crate::store::KeyPairs::log_file(data.path());
        for round in ["one", "two"] {
            let log = Log::open(&path).unwrap();
            log.append(&entry(round)).unwrap();
            log.append(&entry("ok")).unwrap();
        }
        (data, path)
    }

    #[test]
    fn goes_on_after_a_restart_and_hangs_together() {
        let (data, _) = written();
        let report = verify(data.path()).unwrap();
        assert_eq!((report.lines, report.torn), (4, 0));
    }

    #[test]
    fn changed_added_and_removed_lines_show() {
        let (data, path) = written();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let changed = text.replacen("\"two\"", "\"too\"", 1);
        let removed = [lines[0], lines[2], lines[3]].join("\n");
        let added = [lines[0], lines[0], lines[1]].join("\n");
        let swapped = [lines[1], lines[0]].join("\n");
        for (forged, line) in [(changed, 4), (removed, 2), (added, 2), (swapped, 1)] {
            std::fs::write(&path, forged).unwrap();
            match verify(data.path()) {
                Err(Error::Log { line: found, .. }) => assert_eq!(found, line),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_torn_line_stays_and_is_told() {
        let (data, path) = written();
        let mut text = std::fs::read(&path).unwrap();
        text.extend_from_slice(br#"{"previous":"ab"#);
        std::fs::write(&path, text).unwrap();
        Log::open(&path).unwrap().append(&entry("ok")).unwrap();
        let report = verify(data.path()).unwrap();
        assert_eq!((report.lines, report.torn), (6, 1));
    }

    #[test]
    fn has_one_writer() {
        let (_data, path) = written();
        let _first = Log::open(&path).unwrap();
        assert!(Log::open(&path).is_err());
    }
}
