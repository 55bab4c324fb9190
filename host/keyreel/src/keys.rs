//! `keyreel keys …`: a tenant's keys over their life, from the command line; beside a running server
//! too.
//! Not for: registering a key service by hand: that is the API's, and the pages'.

mod apply;
mod recovery;
mod rewrap;
mod shred;

use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use keyreel_keys::{Asker, Clock as _, SystemClock, TenantId};
use keyreel_library::{By, Catalogue, Rewrapper, RotationPeriod, Tenant};
use keyreel_server::{KeyRotationSchedule, KeyVersion, Rotations, key_versions};
use serde::Serialize;
use uuid::Uuid;

use crate::ConfigFile;
use crate::assemble::{self, Parts};
use crate::config::Config;
use crate::output::{self, Usage};
use crate::providers::Extra;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Lists a tenant's keys, newest first, one JSON object a line.
    List(OfTenant),
    /// Changes a tenant's key now. New recordings use the new one, old ones keep theirs.
    Rotate(Change),
    /// Shows how often a tenant's key is changed by itself, or sets it. A running server does it.
    Schedule(Schedule),
    /// Moves a tenant's recordings from older keys to the current one. Recordings play meanwhile.
    Rewrap(rewrap::RewrapArgs),
    /// Retires a key that no recording needs any more: it opens nothing, and its private half is
    /// deleted.
    Retire(rewrap::RetireArgs),
    /// Destroys a tenant, a key or recordings in every copy there is, backups included, and
    /// certifies it.
    Shred(shred::Shred),
    /// Lists what was destroyed or is to be, newest first, one JSON object a line.
    Destructions(shred::Destructions),
    /// Certificates of destruction.
    #[command(subcommand)]
    Certificate(shred::CertificateCommand),
    /// Makes tenants' policies, key services, key pairs and rotation schedules what a file says.
    Apply(apply::ApplyArgs),
    /// A tenant's recovery key: set, show, remove.
    #[command(subcommand)]
    Recovery(recovery::Command),
}

#[derive(clap::Args)]
pub(crate) struct OfTenant {
    /// Whose.
    #[arg(long, value_name = "ID")]
    tenant: TenantId,
    #[command(flatten)]
    file: ConfigFile,
}

#[derive(clap::Args)]
pub(crate) struct Change {
    #[command(flatten)]
    of: OfTenant,
    /// Lets plugins reach this origin, private and loopback addresses included; repeat for more.
    #[arg(long = "allow-origin", value_name = "URL")]
    allow_origins: Vec<String>,
}

#[derive(clap::Args)]
pub(crate) struct Schedule {
    /// How often; without it, what is set is shown.
    #[arg(value_enum)]
    period: Option<Period>,
    #[command(flatten)]
    of: OfTenant,
}

#[derive(Clone, Copy, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Period {
    /// By hand alone.
    Disabled,
    /// Every 24 hours.
    Daily,
    /// Every 7 days.
    Weekly,
    /// Every month, UTC.
    Monthly,
    /// Every year, UTC.
    Yearly,
}

impl Period {
    fn period(self) -> Option<RotationPeriod> {
        match self {
            Self::Disabled => None,
            Self::Daily => Some(RotationPeriod::Daily),
            Self::Weekly => Some(RotationPeriod::Weekly),
            Self::Monthly => Some(RotationPeriod::Monthly),
            Self::Yearly => Some(RotationPeriod::Yearly),
        }
    }
}

pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::List(of) => {
            let catalogue = assemble::catalogue(&Config::read(&of.file)?).await?;
            let tenant = known(&*catalogue, &of.tenant).await?;
            let needed = catalogue.recordings_by_kek(&tenant.id).await?;
            for key in key_versions(&catalogue.keks(&tenant.id).await?, &needed) {
                print(&key)?;
            }
            Ok(())
        }
        Command::Rotate(Change { of, allow_origins }) => {
            let extra = Extra {
                allow_origins,
                aws: None,
            };
            let config = Config::read(&of.file)?;
            let parts = Parts::assemble_with(&config, &extra).await?;
            let tenant = known(&*parts.catalogue, &of.tenant).await?;
            let made = rotations(&parts).rotate(&tenant, &by()).await;
            let made = made.with_context(|| format!("the key of {} is unchanged", tenant.id))?;
            parts.catalogue.close().await;
            // Nothing was sealed with it yet.
            print(&KeyVersion::new(&made, 0))?;
            output::note(&format!(
                "{} seals with {} from now on",
                tenant.id, made.kek.id
            ));
            Ok(())
        }
        Command::Schedule(Schedule { period: None, of }) => {
            let catalogue = assemble::catalogue(&Config::read(&of.file)?).await?;
            let tenant = known(&*catalogue, &of.tenant).await?.id;
            let schedule = catalogue.rotation_schedule(&tenant).await?;
            let keks = catalogue.keks(&tenant).await?;
            let now_ms = SystemClock.now_ms();
            print(&KeyRotationSchedule::new(schedule.as_ref(), &keks, now_ms))
        }
        Command::Schedule(Schedule {
            period: Some(period),
            of,
        }) => {
            let parts = Parts::assemble(&Config::read(&of.file)?).await?;
            let tenant = known(&*parts.catalogue, &of.tenant).await?;
            let rotations = rotations(&parts);
            rotations
                .set_schedule(&tenant, period.period(), &by())
                .await?;
            let schedule = rotations.schedule(&tenant.id).await?;
            parts.catalogue.close().await;
            print(&schedule)
        }
        Command::Rewrap(args) => rewrap::rewrap(args).await,
        Command::Retire(args) => rewrap::retire(args).await,
        Command::Shred(args) => shred::shred(args).await,
        Command::Destructions(args) => shred::destructions(args).await,
        Command::Certificate(command) => shred::certificate(command).await,
        Command::Apply(args) => apply::apply(args).await,
        Command::Recovery(command) => recovery::run(command).await,
    }
}

/// What moves and destroys recordings of a tenant that there is, logging as a server does.
async fn with_rewrapper(
    file: &ConfigFile,
    tenant: &TenantId,
) -> anyhow::Result<(Config, Parts, Rewrapper)> {
    let config = Config::read(file)?;
    crate::serve::log(&config.log)?;
    let parts = Parts::assemble(&config).await?;
    known(&*parts.catalogue, tenant).await?;
    let rewrapper = Rewrapper::new(
        parts.catalogue.clone(),
        parts.objects.clone(),
        parts.keyring.clone(),
        parts.clock.clone(),
    );
    Ok((config, parts, rewrapper))
}

async fn known(catalogue: &dyn Catalogue, id: &TenantId) -> anyhow::Result<Tenant> {
    let tenant = catalogue.tenant(id).await?;
    tenant.ok_or_else(|| {
        let hint = "`keyreel tenant list` shows them";
        Usage::with_hint(format!("there is no tenant {id}"), hint).into()
    })
}

fn rotations(parts: &Parts) -> Rotations {
    Rotations::new(
        parts.catalogue.clone(),
        parts.keyring.clone(),
        parts.clock.clone(),
    )
}

/// Whoever may run this command is who runs the server.
pub(crate) fn by() -> By {
    By {
        asker: Asker {
            subject: "keyreel:command".to_owned(),
            request_id: format!("command-{}", Uuid::new_v4()),
        },
        credential: None,
    }
}

fn print(what: &impl Serialize) -> anyhow::Result<()> {
    output::data(&serde_json::to_string(what)?)
}
