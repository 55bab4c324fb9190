//! `keyreel keys apply`: a tenant's key management as a file says it. What has to be done is shown,
//! then done in that order by the code that the API uses; what is so already is left alone, so that
//! applying a file twice changes nothing the second time.
//! Not for: taking away what the file does not name.

mod file;
mod plan;

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::Context;
use keyreel_keys::{OwnersKey, TenantId};
use keyreel_library::{By, Tenant};
use keyreel_server::Registrations;

use super::{by, known, rotations};
use crate::ConfigFile;
use crate::accounts::{add_tenant, make_tenant};
use crate::assemble::Parts;
use crate::config::Config;
use crate::output;
use crate::providers::Extra;
use file::File;
use plan::{Change, Step};

#[derive(clap::Args)]
pub(crate) struct ApplyArgs {
    /// What is wanted, TOML.
    #[arg(value_name = "FILE")]
    wanted: PathBuf,
    /// Shows what would be done, and does nothing: no key service is asked.
    #[arg(long)]
    dry_run: bool,
    /// Lets plugins reach this origin, private and loopback addresses included; repeat for more.
    #[arg(long = "allow-origin", value_name = "URL")]
    allow_origins: Vec<String>,
    #[command(flatten)]
    file: ConfigFile,
}

pub(crate) async fn apply(args: ApplyArgs) -> anyhow::Result<()> {
    let file = File::read(&args.wanted)?;
    let extra = Extra {
        allow_origins: args.allow_origins,
        aws: None,
    };
    let parts = Parts::assemble_with(&Config::read(&args.file)?, &extra).await?;
    let wanted = file.wanted(&parts.keyring)?;
    let mut steps = Vec::new();
    let mut left = Vec::new();
    for tenant in &wanted {
        steps.extend(plan::steps(&file, tenant, &parts).await?);
        left.extend(plan::left_alone(tenant, &parts).await?);
    }
    for tenant in parts.catalogue.tenants().await? {
        if !wanted.iter().any(|wanted| wanted.tenant == tenant.id) {
            left.push(format!("the tenant {}", tenant.id));
        }
    }
    for step in &steps {
        output::data(&step.to_string())?;
    }
    for what in left {
        output::note(&format!("not in the file, left alone: {what}"));
    }
    if steps.is_empty() {
        output::note("nothing to change");
    } else if args.dry_run {
        output::note("nothing was changed: this was a dry run");
    } else {
        let applied = Applying::new(&parts).all(&steps).await;
        parts.catalogue.close().await;
        applied?;
    }
    Ok(())
}

/// A plan on its way.
struct Applying<'a> {
    parts: &'a Parts,
    registrations: Registrations,
    by: By,
    /// The key services that were registered on the way, by their tenants.
    registered: HashMap<TenantId, String>,
}

impl<'a> Applying<'a> {
    fn new(parts: &'a Parts) -> Self {
        let registrations = Registrations::new(
            parts.registrar.clone(),
            parts.catalogue.clone(),
            parts.clock.clone(),
        );
        Self {
            parts,
            registrations,
            by: by(),
            registered: HashMap::new(),
        }
    }

    /// One after the other, as far as it goes.
    async fn all(&mut self, steps: &[Step]) -> anyhow::Result<()> {
        for (index, step) in steps.iter().enumerate() {
            if let Err(error) = self.one(step).await {
                for missed in steps.iter().skip(index + 1) {
                    output::note(&format!("not done: {missed}"));
                }
                return Err(error).with_context(|| format!("failed: {step}"));
            }
            output::note(&format!("done: {step}"));
        }
        Ok(())
    }

    async fn one(&mut self, step: &Step) -> anyhow::Result<()> {
        let id = &step.tenant;
        if let Change::Tenant {
            name,
            policy,
            first_key,
        } = &step.change
        {
            let asker = &self.by.asker;
            return if *first_key {
                add_tenant(self.parts, id, name, *policy, asker).await
            } else {
                make_tenant(self.parts, id, name, *policy, asker).await
            };
        }
        // As it is by now: a step before may have changed it.
        let tenant = &known(&*self.parts.catalogue, id).await?;
        match &step.change {
            Change::Tenant { .. } => {}
            Change::Policy(policy) => {
                let rotations = rotations(self.parts);
                rotations.change_policy(tenant, *policy, &self.by).await?;
            }
            Change::NewService(new) => {
                let made = self.registrations.create(tenant, new.clone(), &self.by);
                let made = made.await?;
                warn(tenant, &made.warnings);
                self.registered.insert(id.clone(), made.configuration.id);
            }
            Change::ChangedService(configuration, new) => {
                let registrations = &self.registrations;
                let made = registrations.replace(tenant, configuration, new.clone(), &self.by);
                warn(tenant, &made.await?.warnings);
            }
            Change::KeyPair(configuration, pair) => {
                let configuration = configuration.as_ref().or(self.registered.get(id));
                let key = OwnersKey {
                    configuration: configuration.context("its key service")?.clone(),
                    id: pair.id.clone(),
                    public_key: pair.public_key.clone(),
                };
                self.registrations.register(tenant, &key, &self.by).await?;
            }
            Change::Rotation(period) => {
                let rotations = rotations(self.parts);
                rotations.set_schedule(tenant, *period, &self.by).await?;
            }
        }
        Ok(())
    }
}

fn warn(tenant: &Tenant, warnings: &[String]) {
    for warning in warnings {
        output::note(&format!("{}: {warning}", tenant.id));
    }
}
