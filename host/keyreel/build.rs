//! Gathers what the one file carries: the plugins, built for wasm32-wasip2 beforehand, and the
//! sample library. Fails with the command to run where a plugin is missing.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);

    println!("cargo::rerun-if-env-changed=CARGO_TARGET_DIR");
    for plugin in ["managed", "lkm", "aws-kms"] {
        let file = plugin.replace('-', "_");
        let wasm = target.join(format!("wasm32-wasip2/plugin/keyreel_plugin_{file}.wasm"));
        println!("cargo::rerun-if-changed={}", wasm.display());
        if !wasm.exists() {
            println!("cargo::error=the plugin {plugin} is not built: run `make plugins` first");
            continue;
        }
        fs::copy(wasm, out.join(format!("{plugin}.wasm")))?;
    }

    let samples = root.join("examples/quickstart");
    let copy = out.join("quickstart");
    if copy.exists() {
        fs::remove_dir_all(&copy)?;
    }
    fs::create_dir(&copy)?;
    println!("cargo::rerun-if-changed={}", samples.display());
    fs::copy(samples.join("library.json"), copy.join("library.json"))?;
    // Each tenant's recordings lie in a folder of the tenant's name; scripts do not travel along.
    for tenant in tenants(&samples.join("library.json"))? {
        copy_folder(&samples.join(&tenant), &copy.join(&tenant))?;
    }
    Ok(())
}

/// The tenant ids in the library's list, which is ours and known to be well formed.
fn tenants(library: &Path) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let library: serde_json::Value = serde_json::from_str(&fs::read_to_string(library)?)?;
    let tenants = library
        .get("tenants")
        .and_then(serde_json::Value::as_array)
        .ok_or("library.json has no tenants")?;
    tenants
        .iter()
        .map(|tenant| {
            let id = tenant.get("id").and_then(serde_json::Value::as_str);
            Ok(id.ok_or("a tenant without id")?.to_owned())
        })
        .collect()
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        if let (true, Some(name)) = (path.is_file(), path.file_name()) {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}
