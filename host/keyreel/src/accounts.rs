//! `keyreel tenant`, `user` and `token`: who there is and what they may do.

use std::io::{IsTerminal, Read};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use keyreel_keys::{
    Asker, Clock, Configured, KeystoreError, Policy, ProviderId, SystemClock, TenantId,
};
use keyreel_library::{AuditEvent, Catalogue, Role, Tenant, User};
use keyreel_server::accounts;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::ConfigFile;
use crate::assemble::{self, Parts};
use crate::audit;
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
    /// Lists accounts, one JSON object a line.
    List(ConfigFile),
    /// Gives an account another password, asked for as by `add`, and ends its sessions.
    Password(NamedUser),
    /// Removes an account; its sessions end.
    Remove(NamedUser),
}

#[derive(clap::Args)]
pub(crate) struct NamedUser {
    /// What it signs in with.
    name: String,
    #[command(flatten)]
    file: ConfigFile,
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
    /// Lists the tokens that were not revoked, one JSON object a line. Their secrets are kept nowhere.
    List(ConfigFile),
    /// Revokes a token: running servers refuse it within two seconds, and end what it plays.
    Revoke(RevokeToken),
}

#[derive(clap::Args)]
pub(crate) struct RevokeToken {
    /// Its id, as `keyreel token list` prints it.
    id: String,
    #[command(flatten)]
    file: ConfigFile,
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
    match command {
        UserCommand::Add(args) => {
            let catalogue = on_record(&Config::read(&args.file)?).await?;
            let roles = roles(&*catalogue, &args.role).await?;
            let user = accounts::new_user(&args.name, Some(&password()?), roles).await;
            let user = user.map_err(|error| Usage::new(error.to_string()))?;
            if catalogue.user_by_name(&user.name).await?.is_some() {
                let message = format!("the account {} exists already", user.name);
                return Err(Usage::new(message).into());
            }
            let added = change("account.added", &user.roles, |fields, role| {
                fields.extend([
                    ("account".to_owned(), user.id.as_str().into()),
                    ("role".to_owned(), serde_json::json!(role)),
                ]);
            });
            added.record(&*catalogue).await?;
            let done = catalogue.add_user(&user).await;
            added.conclude(&*catalogue, done).await?;
            catalogue.close().await;
            output::note(&format!("added the account {}", user.name));
        }
        UserCommand::List(file) => {
            let catalogue = assemble::catalogue(&Config::read(&file)?).await?;
            for user in catalogue.users().await? {
                let line = serde_json::json!({
                    "id": user.id,
                    "name": user.name,
                    "roles": roles_json(&user.roles),
                });
                output::data(&line.to_string())?;
            }
        }
        UserCommand::Password(args) => {
            let (door, user) = named(&args).await?;
            let hash = accounts::hash_password(&password()?).await;
            let hash = hash.map_err(|error| Usage::new(error.to_string()))?;
            let changed = about("account.password.changed", &user);
            door.close_on(&changed, door.catalogue.set_password(&user.id, &hash))
                .await?;
            output::note(&format!(
                "{} has another password; its sessions end within seconds",
                user.name
            ));
        }
        UserCommand::Remove(args) => {
            let (door, user) = named(&args).await?;
            let removed = about("account.removed", &user);
            door.close_on(&removed, door.catalogue.remove_user(&user.id))
                .await?;
            output::note(&format!(
                "removed the account {}; its sessions end within seconds",
                user.name
            ));
        }
    }
    Ok(())
}

pub(crate) async fn token(command: TokenCommand) -> anyhow::Result<()> {
    match command {
        TokenCommand::Add(args) => {
            let catalogue = on_record(&Config::read(&args.file)?).await?;
            let roles = roles(&*catalogue, &args.role).await?;
            let ttl = args
                .expires
                .map(|days| Duration::from_secs(u64::from(days) * 86_400));
            let granted = roles.clone();
            let token =
                accounts::create_token(&*catalogue, &SystemClock, &args.label, roles, ttl).await?;
            let added = change("token.added", &granted, |fields, role| {
                fields.extend([
                    ("token".to_owned(), token.id.as_str().into()),
                    ("label".to_owned(), args.label.as_str().into()),
                    ("role".to_owned(), serde_json::json!(role)),
                ]);
                if let Some(expires) = token.expires_ms.and_then(output::instant) {
                    fields.insert("expires".to_owned(), expires.into());
                }
            });
            if let Err(error) = added.record(&*catalogue).await {
                // Nobody has seen it yet: what is not on record is not there.
                catalogue.revoke_credential(&token.id).await?;
                return Err(error);
            }
            catalogue.close().await;
            output::data(&token.secret)?;
            output::note("this is the only time that the token is shown");
        }
        TokenCommand::List(file) => {
            let catalogue = assemble::catalogue(&Config::read(&file)?).await?;
            for token in catalogue.tokens().await? {
                let line = serde_json::json!({
                    "id": token.id,
                    "label": token.label,
                    "roles": roles_json(&token.roles),
                    "created": output::instant(token.created_ms),
                    "expires": token.expires_ms.and_then(output::instant),
                });
                output::data(&line.to_string())?;
            }
        }
        TokenCommand::Revoke(args) => {
            let door = Door::open(&args.file).await?;
            let tokens = door.catalogue.tokens().await?;
            let Some(token) = tokens.into_iter().find(|token| token.id == args.id) else {
                return Err(Usage::with_hint(
                    format!("there is no token {}, or it was revoked already", args.id),
                    "`keyreel token list` shows them",
                )
                .into());
            };
            let revoked = change("token.revoked", &token.roles, |fields, _| {
                fields.extend([
                    ("token".to_owned(), token.id.as_str().into()),
                    ("label".to_owned(), token.label.as_str().into()),
                ]);
            });
            door.close_on(&revoked, door.catalogue.revoke_credential(&token.id))
                .await?;
            output::note(&format!(
                "revoked the token {}; servers refuse it within seconds",
                token.label
            ));
        }
    }
    Ok(())
}

async fn on_record(config: &Config) -> anyhow::Result<Arc<dyn Catalogue>> {
    let keystore = Arc::new(assemble::keystore(config)?);
    assemble::recorded_catalogue(config, &keystore).await
}

/// For taking access away, which must not wait until a broken audit log, or a keystore that does not
/// open, was looked into.
struct Door {
    catalogue: Arc<dyn Catalogue>,
    /// Why nothing can be recorded.
    unrecorded: Option<anyhow::Error>,
}

impl Door {
    async fn open(file: &ConfigFile) -> anyhow::Result<Self> {
        let config = Config::read(file)?;
        let (catalogue, unrecorded) = match on_record(&config).await {
            Ok(catalogue) => (catalogue, None),
            Err(error) => (assemble::catalogue(&config).await?, Some(error)),
        };
        Ok(Self {
            catalogue,
            unrecorded,
        })
    }

    /// Records what takes access away, and does it in any case.
    ///
    /// # Errors
    /// It could not be done; or it was done, and is not on record.
    async fn close_on(
        &self,
        change: &Change,
        done: impl Future<Output = Result<(), keyreel_library::Error>>,
    ) -> anyhow::Result<()> {
        let unrecorded = match &self.unrecorded {
            None => change.record(&*self.catalogue).await.err(),
            Some(error) => Some(anyhow::anyhow!("{error:#}")),
        };
        let done = done.await;
        let outcome = match unrecorded {
            None => change.conclude(&*self.catalogue, done).await,
            Some(error) => {
                done?;
                Err(error.context("it is done, but not in the audit log"))
            }
        };
        self.catalogue.close().await;
        outcome
    }
}

/// The account that is meant, which is to lose something.
async fn named(args: &NamedUser) -> anyhow::Result<(Door, User)> {
    let door = Door::open(&args.file).await?;
    let name = args.name.trim();
    match door.catalogue.user_by_name(name).await? {
        Some(user) => Ok((door, user)),
        None => Err(Usage::with_hint(
            format!("there is no account {name}"),
            "`keyreel user list` shows them",
        )
        .into()),
    }
}

/// Something that is done with an account.
fn about(action: &'static str, user: &User) -> Change {
    change(action, &user.roles, |fields, _| {
        fields.insert("account".to_owned(), user.id.as_str().into());
    })
}

/// A change of who may do what: every concerned tenant's business, so an event for each.
struct Change(Vec<AuditEvent>);

fn change(
    action: &'static str,
    roles: &[(TenantId, Role)],
    fill: impl Fn(&mut serde_json::Map<String, Value>, Option<Role>),
) -> Change {
    let now_ms = SystemClock.now_ms();
    let by = by();
    let event = |concerned: Option<&(TenantId, Role)>| {
        let mut event = AuditEvent::new(action, now_ms, &by.asker.subject);
        event.tenant = concerned.map(|(tenant, _)| tenant.clone());
        event.fields = by.fields();
        fill(&mut event.fields, concerned.map(|(_, role)| *role));
        event
    };
    let mut events: Vec<_> = roles.iter().map(|role| event(Some(role))).collect();
    if events.is_empty() {
        events.push(event(None));
    }
    Change(events)
}

impl Change {
    /// Before it is done.
    async fn record(&self, catalogue: &dyn Catalogue) -> anyhow::Result<()> {
        Ok(catalogue.append_audit(&self.0).await?)
    }

    /// Where it could not be done after all, the log says that too.
    async fn conclude(
        &self,
        catalogue: &dyn Catalogue,
        done: Result<(), keyreel_library::Error>,
    ) -> anyhow::Result<()> {
        if done.is_err() {
            audit::failed(catalogue, &self.0).await;
        }
        Ok(done?)
    }
}

fn roles_json(roles: &[(TenantId, Role)]) -> Value {
    roles
        .iter()
        .map(|(tenant, role)| serde_json::json!({ "tenant": tenant, "role": role }))
        .collect()
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
    for (index, tenant) in args.tenants.iter().enumerate() {
        if args.tenants.iter().take(index).any(|other| other == tenant) {
            return Err(Usage::new(format!("--tenant {tenant} is there twice")).into());
        }
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
