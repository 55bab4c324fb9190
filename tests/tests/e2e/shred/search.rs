//! Where bytes lie: in a process's memory, and in the files of a folder.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use anyhow::Context;
use memchr::memmem::Finder;

/// How many of `needles` are anywhere in the writable memory of a process.
pub(super) fn in_memory(process: u32, needles: &[Vec<u8>]) -> anyhow::Result<usize> {
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps"))?;
    let mut memory = File::open(format!("/proc/{process}/mem"))?;
    let mut found = vec![false; needles.len()];
    let mut searched = 0;
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (range, mode) = (fields.next(), fields.next());
        if !mode.is_some_and(|mode| mode.starts_with("rw")) {
            continue;
        }
        let (start, end) = range
            .and_then(|range| range.split_once('-'))
            .context("a range")?;
        let (mut at, end) = (
            u64::from_str_radix(start, 16)?,
            u64::from_str_radix(end, 16)?,
        );
        while at < end {
            let len = (end - at).min(PIECE);
            let mut bytes = vec![0; usize::try_from(len)?];
            memory.seek(SeekFrom::Start(at))?;
            // What is mapped and not there holds nothing.
            if memory.read_exact(&mut bytes).is_ok() {
                look(&bytes, needles, &mut found);
                searched += len;
            }
            // A needle may lie across the end of a piece.
            at += if len == PIECE { PIECE - OVERLAP } else { len };
        }
    }
    anyhow::ensure!(
        searched > 10 << 20,
        "only {searched} bytes could be searched"
    );
    Ok(found.into_iter().filter(|found| *found).count())
}

/// How many of `needles` are in any file below a folder.
pub(super) fn on_disk(folder: &Path, needles: &[Vec<u8>]) -> anyhow::Result<usize> {
    let mut found = vec![false; needles.len()];
    below(folder, needles, &mut found)?;
    Ok(found.into_iter().filter(|found| *found).count())
}

fn below(folder: &Path, needles: &[Vec<u8>], found: &mut [bool]) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            below(&path, needles, found)?;
        } else if path.is_file() {
            look(&std::fs::read(&path)?, needles, found);
        }
    }
    Ok(())
}

fn look(bytes: &[u8], needles: &[Vec<u8>], found: &mut [bool]) {
    for (needle, found) in needles.iter().zip(found) {
        *found |= Finder::new(needle).find(bytes).is_some();
    }
}

const PIECE: u64 = 64 << 20;
const OVERLAP: u64 = 4096;
