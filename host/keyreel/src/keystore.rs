//! `keyreel keystore …`

use std::sync::Arc;

use anyhow::Context;
use clap::Subcommand;
use keyreel_keys::{Clock as _, Keystore, KeystoreError, SystemClock};
use keyreel_library::AuditEvent;
use serde_json::json;

use crate::config::{Config, KeystoreFiles};
use crate::keys::by;
use crate::output::{self, Usage};
use crate::{ConfigFile, assemble, audit};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Makes an empty keystore, its master key and its epoch key, and the folders that these two lie
    /// in. Never overwrites one. Copy the master key at once to where secrets live.
    Init(ConfigFile),
    /// Begins a new epoch: seals all that is in the keystore anew, and destroys the key that copies
    /// of it from before would need. Back it up anew afterwards.
    Rekey(ConfigFile),
}

pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Init(file) => init(&Config::read(&file)?.keystore),
        Command::Rekey(file) => rekey(&Config::read(&file)?).await,
    }
}

/// On record before it begins. A catalogue that does not open is no reason to keep an epoch whose key
/// got into wrong hands.
async fn rekey(config: &Config) -> anyhow::Result<()> {
    let keystore = Arc::new(assemble::keystore(config)?);
    let catalogue = match assemble::recorded_catalogue(config, &keystore).await {
        Ok(catalogue) => Some(catalogue),
        Err(error) => {
            output::note(&format!("this goes into no audit log: {error:#}"));
            None
        }
    };
    let event = rekeyed(&keystore)?;
    if let Some(catalogue) = &catalogue {
        let recorded = catalogue.append_audit(std::slice::from_ref(&event)).await;
        recorded.context("the keystore is unchanged: this cannot be recorded")?;
    }
    let begun = begin_epoch(keystore).await;
    if let Some(catalogue) = catalogue {
        if begun.is_err() {
            audit::failed(&*catalogue, std::slice::from_ref(&event)).await;
        }
        catalogue.close().await;
    }
    let epoch = begun?;
    output::note(&format!(
        "the keystore is in epoch {epoch}; back it up anew: copies from before open nothing"
    ));
    output::data(&json!({ "epoch": epoch }).to_string())
}

fn rekeyed(keystore: &Keystore) -> anyhow::Result<AuditEvent> {
    let by = by();
    let mut event = AuditEvent::new("keystore.rekeyed", SystemClock.now_ms(), &by.asker.subject);
    event.fields = by.fields();
    let next = keystore.epoch()? + 1;
    event.fields.insert("epoch".to_owned(), next.into());
    Ok(event)
}

async fn begin_epoch(keystore: Arc<Keystore>) -> anyhow::Result<u64> {
    let begun = tokio::task::spawn_blocking(move || keystore.begin_epoch());
    Ok(begun.await??)
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
    let made = match keystore.create() {
        Err(error @ KeystoreError::NoMaster { .. }) => {
            let hint = "put back the master key that it was made with";
            return Err(Usage::with_hint(error.to_string(), hint).into());
        }
        made => made?,
    };
    output::note(&format!(
        "made the keystore {}, its master key {} and its epoch key {}; copy the master key now to \
         where secrets live; back the keystore and the master key up apart from each other; replicate \
         the epoch key, keep no former copy of it",
        keystore.directory.display(),
        keystore.master_key_file.display(),
        made.epoch_key_file().display(),
    ));
    Ok(())
}
