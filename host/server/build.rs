//! Lists the built pages, so that they are embedded in the binary. Builds nothing itself.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let dist = PathBuf::from(env("CARGO_MANIFEST_DIR")?).join("../web/dist");
    println!("cargo::rerun-if-changed={}", dist.display());
    if !dist.join("index.html").is_file() {
        println!("cargo::error=the pages are not built: run \"make web\" first");
        return Ok(());
    }
    let out = PathBuf::from(env("OUT_DIR")?);
    let mut files = Vec::new();
    collect(&dist, "", &mut files)?;
    files.sort();
    let mut list = String::from("&[\n");
    for (index, (name, path)) in files.iter().enumerate() {
        // Copied, so that pages built again meanwhile do not change under the compiler.
        let copy = out.join(format!("page-{index}"));
        fs::copy(path, &copy)?;
        let _ = writeln!(list, "({name:?}, include_bytes!({copy:?})),");
    }
    list.push_str("]\n");
    fs::write(out.join("pages.rs"), list)
}

#[expect(
    clippy::disallowed_methods,
    reason = "cargo tells build scripts by the environment"
)]
fn env(name: &str) -> io::Result<String> {
    env::var(name).map_err(io::Error::other)
}

fn collect(folder: &Path, prefix: &str, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{name}/"), files)?;
        } else {
            files.push((name, entry.path()));
        }
    }
    Ok(())
}
