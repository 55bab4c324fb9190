//! Hot ranges of a local object: ours against object_store's own file backend.
//!
//! `cargo bench -p keyreel-library --bench objects`

use std::error::Error;
use std::io::Write as _;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use keyreel_library::Objects;
use object_store::ObjectStoreExt as _;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use url::Url;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const OBJECT: u64 = 64 << 20;

#[tokio::main]
async fn main() -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let url = Url::from_directory_path(folder.path()).map_err(|()| "a folder")?;
    let objects = Objects::open(url.as_str())?;
    let bytes: Bytes = (0..OBJECT / 8).flat_map(u64::to_le_bytes).collect();
    let start = Instant::now();
    objects.put("t/r/media.krc", bytes).await?;
    print(&format!("write, durable: {:.0} MB/s", rate(OBJECT, start)))?;
    let theirs = LocalFileSystem::new_with_prefix(folder.path())?;
    let location = Path::from("t/r/media.krc");
    for len in [1 << 20, 256 << 10, 64 << 10, 16 << 10] {
        for tasks in [1, 16] {
            let reads = ((2u64 << 30) / len / tasks).min(20_000);
            let start = Instant::now();
            let mut running = Vec::new();
            for task in 0..tasks {
                let (theirs, location) = (theirs.clone(), location.clone());
                running.push(tokio::spawn(async move {
                    for read in 0..reads {
                        let at = offset(task, read, len);
                        theirs.get_range(&location, at..at + len).await?;
                    }
                    Ok::<_, object_store::Error>(())
                }));
            }
            for task in running {
                task.await??;
            }
            let reference = rate(reads * tasks * len, start);
            let start = Instant::now();
            let mut running = Vec::new();
            for task in 0..tasks {
                let objects = objects.clone();
                running.push(tokio::spawn(async move {
                    let handle = objects.get("t/r/media.krc", None).await?;
                    let mut buf = BytesMut::new();
                    for read in 0..reads {
                        let at = offset(task, read, len);
                        buf = handle.read(at..at + len, buf).await?;
                    }
                    Ok::<_, keyreel_library::Error>(())
                }));
            }
            for task in running {
                task.await??;
            }
            let ours = rate(reads * tasks * len, start);
            print(&format!(
                "{:4} KiB × {tasks:2}: object_store {reference:6.0} MB/s, ours {ours:6.0} MB/s, \
                 {:.1} ×, {:.1} µs a read",
                len >> 10,
                ours / reference,
                len as f64 / ours * tasks.min(2) as f64,
            ))?;
        }
    }
    theirs.delete(&location).await?;
    Ok(())
}

/// Jumps about, as listeners do.
fn offset(task: u64, read: u64, len: u64) -> u64 {
    (task * 7 + read * 31) * len % (OBJECT - len)
}

fn rate(bytes: u64, since: Instant) -> f64 {
    bytes as f64 / 1e6 / since.elapsed().as_secs_f64()
}

fn print(line: &str) -> Outcome<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
