//! `keyreel keystore …`

use clap::Subcommand;
use keyreel_keys::{Keystore, ensure_master_key};

use crate::ConfigFile;
use crate::config::Config;
use crate::output::{self, Usage};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Makes the master key file and an empty keystore. Never overwrites one.
    Init(ConfigFile),
}

pub(crate) fn run(command: &Command) -> anyhow::Result<()> {
    let Command::Init(file) = command;
    let keystore = Config::read(file)?.keystore;
    if keystore.master_key_file.exists() {
        let message = format!("{} exists already", keystore.master_key_file.display());
        return Err(Usage::with_hint(
            message,
            "a keystore without its master key opens nothing: this command never replaces one",
        )
        .into());
    }
    ensure_master_key(&keystore.directory, &keystore.master_key_file)?;
    if !keystore.master_key_file.exists() {
        let message = format!(
            "{} holds a keystore already, and its master key {} is not there",
            keystore.directory.display(),
            keystore.master_key_file.display()
        );
        return Err(
            Usage::with_hint(message, "put back the master key that it was made with").into(),
        );
    }
    Keystore::open_or_create(&keystore.directory, &keystore.master_key_file)?;
    output::note(&format!(
        "made the keystore {} and its master key {}; back up both, apart from each other",
        keystore.directory.display(),
        keystore.master_key_file.display(),
    ));
    Ok(())
}
