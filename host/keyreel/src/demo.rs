//! `keyreel demo`: a server with a sample library, SQLite and local files, and tenants of all three
//! kinds: keys that Keyreel keeps, a Local Key Manager's, a KMS key's. A second start on the same
//! folder keeps what is there. Not for production: it hands out tokens and lets a grant alone open
//! media, so that players without credentials can be tried.

mod services;
mod tenants;
#[cfg(test)]
mod tests;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use keyreel_keys::{KeystoreError, Policy, SystemClock, TenantId, ensure_master_key, private_file};
use keyreel_library::{Catalogue, Role, User};
use keyreel_server::Shutdown;
use keyreel_server::accounts as issue;

use self::services::Services;
use crate::ConfigFile;
use crate::assemble::Parts;
use crate::config::Config;
use crate::import::Samples;
use crate::output::Usage;
use crate::providers::Extra;
use crate::{output, serve};

/// How long the printed sign-in link works. Every start prints a new one.
const LINK_TTL: Duration = Duration::from_secs(7 * 24 * 3600);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where everything is kept. Made if it is not there.
    #[arg(long, value_name = "DIR", default_value = "demo-data")]
    data: PathBuf,
    /// Pages, API and media. Port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Health and metrics.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8081")]
    admin_listen: SocketAddr,
    /// The ARN of a real AWS KMS key or alias for the tenant on AWS KMS, in place of the stand-in; the
    /// credentials come from AWS' standard chain. Said at the first start, it holds for the folder.
    #[arg(long, value_name = "ARN")]
    kms_key: Option<String>,
    #[command(flatten)]
    keys: serve::KeyArgs,
}

/// What the line on stdout says of a tenant. Kept in the demo's folder, mode 0600.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct TenantAccess {
    id: TenantId,
    provider: String,
    policy: Policy,
    admin_token: String,
    agent_token: String,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let file =
        prepare(&args).with_context(|| format!("the demo's folder {}", args.data.display()))?;
    let mut config = Config::read(&file)?;
    config.server.listen = args.listen;
    config.server.admin_listen = Some(args.admin_listen);
    serve::log(&config.log)?;
    ensure_master_key(&config.keystore.directory, &config.keystore.master_key_file)?;
    args.keys.apply(&mut config);
    let kms_key = chosen_kms_key(&args.data, args.kms_key.as_deref())?;
    let services = Services::start(&args.data).await?;
    let mut extra = Extra {
        allow_origins: args.keys.allow_origins.clone(),
        aws: kms_key.is_none().then(|| services.signer()),
    };
    extra.allow_origins.extend(services.origins());
    let parts = Parts::assemble_new(&config, &extra).await?;

    let samples = Samples::embedded()?;
    for tenant in samples.tenants() {
        if is_destroyed(&parts, &tenant.id).await? {
            continue;
        }
        tenants::prepare(&parts, tenant, &services, kms_key.as_deref())
            .await
            .with_context(|| format!("the demo's tenant {}", tenant.id))?;
        samples.import(&parts, &tenant.id).await?;
    }
    // Not before: one that did not do may be put right.
    let kept = serde_json::to_vec(&kms_key)?;
    private_file::replace(&args.data.join(KMS_KEY), &kept)?;
    let tenants = tenant_access(&parts, &args.data).await?;
    let user = demo_user(&*parts.catalogue).await?;
    let link = issue::create_link(&*parts.catalogue, &SystemClock, &user, LINK_TTL).await?;

    let server = serve::bind(&config, parts).await?;
    let url = format!("http://{}", server.addresses().public);
    let sign_in = format!("{url}/sign-in#link={}", *link.secret);
    let admin = server
        .addresses()
        .admin
        .map(|address| format!("http://{address}"));
    let ready = serde_json::json!({
        "url": url, "sign_in": sign_in, "admin": admin, "tenants": tenants,
        "services": services.describe(),
    });
    // Before anybody is told that it runs, and may stop it.
    let shutdown = Shutdown::on_signals()?;
    output::data(&ready.to_string())?;
    output::note(&format!(
        "\n  Keyreel is ready: {url}\n  Sign in: {sign_in}\n"
    ));
    server.serve(shutdown).await;
    Ok(())
}

/// Whether a tenant was destroyed; or was before an older catalogue was put back, which does not
/// know of it.
async fn is_destroyed(parts: &Parts, tenant: &TenantId) -> anyhow::Result<bool> {
    let root = parts.keystore.root(tenant);
    let gone = matches!(root, Err(KeystoreError::NoRoot { .. }));
    let known = parts.catalogue.tenant(tenant).await?.is_some();
    Ok((gone && known) || parts.catalogue.destroyed_ms(tenant).await?.is_some())
}

/// Makes the folder and its configuration, if they are not there.
fn prepare(args: &Args) -> anyhow::Result<ConfigFile> {
    for folder in [args.data.clone(), args.data.join("secrets")] {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    let config = args.data.join("keyreel.toml");
    if !config.exists() {
        fs::write(&config, CONFIG)?;
    }
    Ok(ConfigFile { config })
}

/// The KMS key that the first start was given; `None` is the stand-in's. What it was lies in the
/// folder: a tenant's KEKs open under the key that they were made with and no other.
fn chosen_kms_key(data: &Path, asked: Option<&str>) -> anyhow::Result<Option<String>> {
    let path = data.join(KMS_KEY);
    let Some(kept) = private_file::read(&path)? else {
        return Ok(asked.map(str::to_owned));
    };
    let chosen: Option<String> =
        serde_json::from_slice(&kept).with_context(|| format!("{} is damaged", path.display()))?;
    if asked.is_some() && asked != chosen.as_deref() {
        let chosen = chosen.as_deref().unwrap_or("the stand-in's");
        return Err(Usage::with_hint(
            format!("this demo's KMS key was chosen at its first start: {chosen}"),
            "for another key start a demo on another folder with --data",
        )
        .into());
    }
    Ok(chosen)
}

/// Tokens of an earlier start, or new ones for tenants that have none.
async fn tenant_access(parts: &Parts, data: &Path) -> anyhow::Result<Vec<TenantAccess>> {
    let path = data.join("secrets/tokens.json");
    let mut known = known_tokens(&path)?;
    let catalogue = &*parts.catalogue;
    for tenant in catalogue.tenants().await? {
        if let Some(access) = known.iter_mut().find(|access| access.id == tenant.id) {
            access.provider = tenant.provider.to_string();
            continue;
        }
        let token = async |label: &str, role| {
            let roles = vec![(tenant.id.clone(), role)];
            issue::create_token(catalogue, &SystemClock, label, roles, None).await
        };
        let admin = token("demo admin", Role::Admin).await?;
        let agent = token("demo agent", Role::Agent).await?;
        known.push(TenantAccess {
            id: tenant.id.clone(),
            provider: tenant.provider.to_string(),
            policy: tenant.policy,
            admin_token: admin.secret.to_string(),
            agent_token: agent.secret.to_string(),
        });
    }
    private_file::replace(&path, &serde_json::to_vec_pretty(&known)?)?;
    Ok(known)
}

/// What is not there is new; what cannot be read is not: its tokens would go on for ever, unseen.
fn known_tokens(path: &Path) -> anyhow::Result<Vec<TenantAccess>> {
    let kept = private_file::read(path).with_context(|| format!("reading {}", path.display()))?;
    kept.map_or_else(
        || Ok(Vec::new()),
        |bytes| {
            serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is damaged; remove it for new tokens", path.display()))
        },
    )
}

/// The account that the sign-in link opens: an administrator of every tenant, also of those that
/// came later.
async fn demo_user(catalogue: &dyn Catalogue) -> anyhow::Result<User> {
    let tenants = catalogue.tenants().await?;
    if let Some(user) = catalogue.user_by_name("demo").await? {
        for tenant in &tenants {
            let granted = catalogue.grant_role(&user.id, &tenant.id, Role::Admin);
            granted.await?;
        }
        return Ok(catalogue.user(&user.id).await?.unwrap_or(user));
    }
    let roles = tenants
        .into_iter()
        .map(|tenant| (tenant.id, Role::Admin))
        .collect();
    Ok(issue::create_user(catalogue, "demo", None, roles).await?)
}

/// Which KMS key the demo's tenant has, JSON.
const KMS_KEY: &str = "kms-key.json";

const CONFIG: &str = r#"# Written by `keyreel demo`. `keyreel config schema` lists all settings.
[server]
listen = "127.0.0.1:8080"
admin_listen = "127.0.0.1:8081"

[storage]
catalogue = "./catalogue.sqlite"
objects = "./objects"
cache = "./cache"

# A real installation keeps the keystore apart from the data, and the master key apart from both.
[keystore]
directory = "./keystore"
master_key_file = "./secrets/master.key"

# For trying ffmpeg, VLC and curl: whoever has a media URL of a token's grant can listen.
[playback]
bare_grants = true
"#;
