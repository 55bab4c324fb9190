//! `keyreel keys recovery …`: which recovery key a tenant has, public half only.
//! Not for: making one (see `crate::recovery`).

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::Subcommand;
use keyreel_keys::SystemClock;
use keyreel_library::{Catalogue, Error as LibraryError, RecoveryKeys, RecoveryStatus, Tenant};
use keyreel_server::RecoveryKeyStatus;

use super::{OfTenant, by, known, print};
use crate::assemble;
use crate::config::Config;
use crate::output::{self, Usage};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Sets or replaces it. What is taken in from now on is wrapped to it too.
    Set(SetArgs),
    /// Shows it, and how many recordings lack it.
    Show(OfTenant),
    /// Leaves the tenant without one.
    Remove(OfTenant),
}

#[derive(clap::Args)]
pub(crate) struct SetArgs {
    #[command(flatten)]
    of: OfTenant,
    /// The public half, PEM: RSA of 3072 bits or more, or from `keyreel recovery new`.
    #[arg(long, value_name = "FILE")]
    public_key: PathBuf,
}

pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Show(of) => {
            let config = Config::read(&of.file)?;
            let catalogue = assemble::catalogue(&config).await?;
            let tenant = known(&*catalogue, &of.tenant).await?;
            let status = recovery_keys(catalogue).status(&tenant.id).await?;
            print(&RecoveryKeyStatus::from(status))
        }
        Command::Set(SetArgs { of, public_key }) => {
            let text = std::fs::read_to_string(&public_key)
                .with_context(|| format!("the public key {}", public_key.display()))?;
            let (tenant, catalogue) = recorded(&of).await?;
            let keys = recovery_keys(catalogue.clone());
            let set = keys.set(&tenant, &text, &by()).await;
            // With what it recorded marked.
            catalogue.close().await;
            let status = set.map_err(|error| match error {
                LibraryError::RecoveryKey { source } => {
                    let message = format!("{}: {source}", public_key.display());
                    Usage::new(message).into()
                }
                other => anyhow::Error::from(other),
            })?;
            left(&tenant, &status);
            print(&RecoveryKeyStatus::from(status))
        }
        Command::Remove(of) => {
            let (tenant, catalogue) = recorded(&of).await?;
            let keys = recovery_keys(catalogue.clone());
            let removed = keys.remove(&tenant.id, &by()).await;
            catalogue.close().await;
            let status = removed?;
            left(&tenant, &status);
            print(&RecoveryKeyStatus::from(status))
        }
    }
}

async fn recorded(of: &OfTenant) -> anyhow::Result<(Tenant, Arc<dyn Catalogue>)> {
    let config = Config::read(&of.file)?;
    let keystore = Arc::new(assemble::keystore(&config)?);
    let catalogue = assemble::recorded_catalogue(&config, &keystore).await?;
    let tenant = known(&*catalogue, &of.tenant).await?;
    Ok((tenant, catalogue))
}

fn recovery_keys(catalogue: Arc<dyn Catalogue>) -> RecoveryKeys {
    RecoveryKeys::new(catalogue, Arc::new(SystemClock))
}

/// What a re-wrap would do now.
fn left(tenant: &Tenant, status: &RecoveryStatus) {
    let rewrap = format!("`keyreel keys rewrap --tenant {}`", tenant.id);
    let RecoveryStatus {
        key,
        lacking,
        former,
        ..
    } = status;
    if key.is_some() && *lacking > 0 {
        output::note(&format!(
            "{lacking} recordings from before lack it: {rewrap} takes them along"
        ));
    }
    if *former > 0 {
        output::note(&format!(
            "{former} recordings are wrapped to a former one: {rewrap} drops it"
        ));
    }
}
