//! `keyreel tenant`, `user` and `token`: who there is and what they may do.

use std::io::{IsTerminal, Read};
use std::time::Duration;

use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use keyreel_keys::{
    Asker, Clock, Configured, KeystoreError, Policy, ProviderId, SystemClock, TenantId,
};
use keyreel_library::{AuditEvent, Catalogue, Role, Tenant};
use keyreel_server::accounts;
use zeroize::Zeroizing;

use crate::ConfigFile;
use crate::assemble::{self, Parts};
use crate::config::Config;
use crate::keys::by;
use crate::output::{self, Usage};
use crate::providers::MANAGED;

#[derive(Subcommand)]
pub(crate) enum TenantCommand {
    /// Adds a tenant: its root key, its first KEK.
    Add(AddTenant),
    /// Lists tenants, one JSON object a line.
    List(ConfigFile),
}

#[derive(clap::Args)]
pub(crate) struct AddTenant {
    /// Its id: A-Z a-z 0-9 - _ . Shown in file headers; never changed.
    id: TenantId,
    /// What people call it; default its id.
    #[arg(long)]
    name: Option<String>,
    /// Which algorithms its keys use.
    #[arg(long, value_enum, default_value = "compatible")]
    policy: PolicyName,
    #[command(flatten)]
    file: ConfigFile,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum PolicyName {
    /// RSA-3072, OAEP with SHA-256: 128-bit strength.
    Compatible,
    /// HPKE, MLKEM1024-P384, AES-256-GCM: AES-256 strength.
    Aes256,
}

#[derive(Subcommand)]
pub(crate) enum UserCommand {
    /// Adds an account. Asks for its password on the terminal, or reads it from stdin.
    Add(AddUser),
}

#[derive(clap::Args)]
pub(crate) struct AddUser {
    /// What it signs in with.
    name: String,
    #[command(flatten)]
    role: TenantRole,
    #[command(flatten)]
    file: ConfigFile,
}

#[derive(Subcommand)]
pub(crate) enum TokenCommand {
    /// Adds a bearer token and prints it, this once.
    Add(AddToken),
}

#[derive(clap::Args)]
pub(crate) struct AddToken {
    /// What the audit log calls it.
    label: String,
    #[command(flatten)]
    role: TenantRole,
    /// Days until it expires; default never.
    #[arg(long, value_name = "DAYS")]
    expires: Option<u32>,
    #[command(flatten)]
    file: ConfigFile,
}

#[derive(clap::Args)]
pub(crate) struct TenantRole {
    /// In which tenants; repeat for more.
    #[arg(long = "tenant", required = true, value_name = "ID")]
    tenants: Vec<TenantId>,
    /// What it may do there.
    #[arg(long, value_enum)]
    role: RoleName,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum RoleName {
    /// Finds and plays recordings.
    Agent,
    /// Reads the audit log as well.
    Supervisor,
    /// Everything within the tenant.
    Admin,
}

pub(crate) async fn tenant(command: TenantCommand) -> anyhow::Result<()> {
    match command {
        TenantCommand::Add(args) => {
            let parts = Parts::assemble(&Config::read(&args.file)?).await?;
            let policy = match args.policy {
                PolicyName::Compatible => Policy::Compatible,
                PolicyName::Aes256 => Policy::Aes256,
            };
            let name = args.name.unwrap_or_else(|| args.id.to_string());
            add_tenant(&parts, &args.id, &name, policy, &by().asker).await?;
            parts.catalogue.close().await;
            output::note(&format!(
                "added {} with a KEK of policy {}",
                args.id,
                policy.as_str()
            ));
            Ok(())
        }
        TenantCommand::List(file) => {
            let catalogue = assemble::catalogue(&Config::read(&file)?).await?;
            for tenant in catalogue.tenants().await? {
                let destroyed = catalogue.destroyed_ms(&tenant.id).await?.is_some();
                let line = serde_json::json!({
                    "id": tenant.id,
                    "name": tenant.name,
                    "policy": tenant.policy,
                    "provider": tenant.provider,
                    "destroyed": destroyed,
                });
                output::data(&line.to_string())?;
            }
            Ok(())
        }
    }
}

/// Root key, row, first KEK. What a broken-off call left behind is used, so that calling again
/// mends it.
pub(crate) async fn add_tenant(
    parts: &Parts,
    id: &TenantId,
    name: &str,
    policy: Policy,
    asker: &Asker,
) -> anyhow::Result<()> {
    make_tenant(parts, id, name, policy, asker).await?;
    if parts.catalogue.current_kek(id).await?.is_some() {
        return Err(Usage::new(format!("the tenant {id} exists already")).into());
    }
    let provider = ProviderId::parse(MANAGED)?;
    let keyring = &parts.keyring;
    let minted = async {
        let tried = keyring
            .try_minting(id, &provider, policy, Configured::Plain, asker)
            .await?;
        keyring.adopt(tried, None).await
    };
    minted.await.context("minting the tenant's KEK")?;
    Ok(())
}

/// Root key and row, where they are not there yet; the audit log has the tenant before the
/// catalogue. No KEK.
pub(crate) async fn make_tenant(
    parts: &Parts,
    id: &TenantId,
    name: &str,
    policy: Policy,
    asker: &Asker,
) -> anyhow::Result<()> {
    if parts.catalogue.destroyed_ms(id).await?.is_some() {
        let message = format!("the tenant {id} was destroyed: its id is never used again");
        return Err(Usage::new(message).into());
    }
    match parts.keystore.root(id) {
        Err(KeystoreError::NoRoot { .. }) => parts.keystore.create_root(id)?,
        root => drop(root?),
    }
    if parts.catalogue.tenant(id).await?.is_none() {
        let created_ms = SystemClock.now_ms();
        let tenant = Tenant {
            id: id.clone(),
            name: name.to_owned(),
            policy,
            provider: ProviderId::parse(MANAGED)?,
            created_ms,
        };
        let mut event = AuditEvent::new("tenant.added", created_ms, &asker.subject);
        event.tenant = Some(id.clone());
        event.fields = serde_json::Map::from_iter([
            ("policy".to_owned(), policy.as_str().into()),
            ("requestId".to_owned(), asker.request_id.as_str().into()),
        ]);
        parts.catalogue.append_audit(&[event]).await?;
        parts.catalogue.add_tenant(&tenant).await?;
    }
    Ok(())
}

pub(crate) async fn user(command: UserCommand) -> anyhow::Result<()> {
    let UserCommand::Add(args) = command;
    let catalogue = assemble::catalogue(&Config::read(&args.file)?).await?;
    let roles = roles(&*catalogue, &args.role).await?;
    let password = password()?;
    accounts::create_user(&*catalogue, &args.name, Some(&password), roles).await?;
    output::note(&format!("added the account {}", args.name));
    Ok(())
}

pub(crate) async fn token(command: TokenCommand) -> anyhow::Result<()> {
    let TokenCommand::Add(args) = command;
    let catalogue = assemble::catalogue(&Config::read(&args.file)?).await?;
    let roles = roles(&*catalogue, &args.role).await?;
    let ttl = args
        .expires
        .map(|days| Duration::from_secs(u64::from(days) * 86_400));
    let token = accounts::create_token(&*catalogue, &SystemClock, &args.label, roles, ttl).await?;
    output::data(&token.secret)?;
    output::note("this is the only time that the token is shown");
    Ok(())
}

async fn roles(
    catalogue: &dyn Catalogue,
    args: &TenantRole,
) -> anyhow::Result<Vec<(TenantId, Role)>> {
    let role = match args.role {
        RoleName::Agent => Role::Agent,
        RoleName::Supervisor => Role::Supervisor,
        RoleName::Admin => Role::Admin,
    };
    for tenant in &args.tenants {
        if catalogue.tenant(tenant).await?.is_none() {
            return Err(Usage::with_hint(
                format!("there is no tenant {tenant}"),
                "`keyreel tenant list` shows them",
            )
            .into());
        }
    }
    Ok(args
        .tenants
        .iter()
        .map(|tenant| (tenant.clone(), role))
        .collect())
}

/// From the terminal, unseen, or from stdin to its end; never from the command line, which other
/// users of the machine can read.
fn password() -> anyhow::Result<Zeroizing<String>> {
    let mut stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Ok(Zeroizing::new(rpassword::prompt_password("Password: ")?));
    }
    let mut text = Zeroizing::new(String::new());
    stdin.read_to_string(&mut text)?;
    Ok(Zeroizing::new(
        text.trim_end_matches(['\r', '\n']).to_owned(),
    ))
}
