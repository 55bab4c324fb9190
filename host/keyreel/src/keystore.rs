//! `keyreel keystore …`

use clap::Subcommand;
use keyreel_keys::ensure_master_key;
use serde_json::json;

use crate::config::{Config, KeystoreFiles};
use crate::output::{self, Usage};
use crate::{ConfigFile, assemble};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Makes the master key file and an empty keystore. Never overwrites one.
    Init(ConfigFile),
    /// Begins a new epoch: seals all that is in the keystore anew, and destroys the key that copies
    /// of it from before would need. Back it up anew afterwards.
    Rekey(ConfigFile),
}

pub(crate) fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Init(file) => init(&Config::read(file)?.keystore),
        Command::Rekey(file) => {
            let epoch = assemble::keystore(&Config::read(file)?)?.begin_epoch()?;
            output::note(&format!(
                "the keystore is in epoch {epoch}; back it up anew: copies from before open nothing"
            ));
            output::data(&json!({ "epoch": epoch }).to_string())
        }
    }
}

fn init(keystore: &KeystoreFiles) -> anyhow::Result<()> {
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
    keystore.open_or_create()?;
    output::note(&format!(
        "made the keystore {} and its master key {}, with the epoch key beside that; back them up \
         apart from each other",
        keystore.directory.display(),
        keystore.master_key_file.display(),
    ));
    Ok(())
}
