//! `keyreel serve`, and what `keyreel demo` shares with it: logging, binding, signals.

use std::io::IsTerminal as _;
use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use keyreel_keys::Keystore;
use keyreel_library::destruction::CertificateKey;
use keyreel_server::{BoundServer, BuildInfo, GrantKey, ReadyCheck, Server, ServerParts, Shutdown};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::ConfigFile;
use crate::assemble::{self, Parts};
use crate::config::{Config, Log, LogFormat};
use crate::output::{self, Usage};
use crate::providers::Extra;

/// The name of the key that signs playback grants.
const GRANTS: &str = "grants";

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    file: ConfigFile,
    #[command(flatten)]
    keys: KeyArgs,
}

/// What may be said of key services on the command line.
#[derive(clap::Args)]
pub(crate) struct KeyArgs {
    /// Lets plugins reach this origin, private and loopback addresses included; repeat for more.
    #[arg(long = "allow-origin", value_name = "URL")]
    pub(crate) allow_origins: Vec<String>,
    /// How long an unwrapped key is kept, 1 to 300: the time within which taking a key away ends
    /// playback by itself. In place of [keys] dek_ttl_seconds.
    #[arg(long, value_name = "SECONDS")]
    dek_ttl: Option<u64>,
}

impl KeyArgs {
    /// Puts what was said in the place of the settings.
    pub(crate) fn apply(&self, config: &mut Config) {
        if let Some(seconds) = self.dek_ttl {
            config.keys.dek_ttl_seconds = seconds;
        }
    }
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let mut config = Config::read(&args.file)?;
    args.keys.apply(&mut config);
    log(&config.log)?;
    let extra = Extra {
        allow_origins: args.keys.allow_origins,
        aws: None,
    };
    let parts = Parts::assemble_with(&config, &extra).await?;
    let server = bind(&config, parts).await?;
    // Before anybody is told that it runs, and may stop it.
    let shutdown = Shutdown::on_signals()?;
    output::note(&format!(
        "listening on {}, {}",
        server.addresses().public,
        server.addresses().url
    ));
    if let Some(admin) = server.addresses().admin {
        output::note(&format!("health and metrics on http://{admin}"));
    }
    server.serve(shutdown).await;
    Ok(())
}

/// Starts logging to stderr.
pub(crate) fn log(settings: &Log) -> anyhow::Result<()> {
    let log = tracing_subscriber::registry().with(filter(settings)?);
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let started = match settings.format {
        LogFormat::Text => log.with(lines).try_init(),
        LogFormat::Json => log.with(lines.json()).try_init(),
    };
    started.map_err(|source| anyhow::anyhow!("logging: {source}"))
}

/// Which lines are written.
///
/// # Errors
/// The setting is no filter.
pub(crate) fn filter(settings: &Log) -> Result<Targets, Usage> {
    let mut filter = Targets::new();
    for directive in settings.filter.split(',').map(str::trim) {
        let (target, level) = match directive.split_once('=') {
            None => (None, directive),
            Some((target, level)) => (Some(target.trim()), level.trim()),
        };
        filter = match (target, level_of(level)) {
            (None, Some(level)) => filter.with_default(level),
            (Some(target), Some(level)) if is_target(target) => filter.with_target(target, level),
            _ => {
                return Err(Usage::new(format!(
                    "[log] filter: {directive:?} is none; expected off, error, warn, info, debug or \
                     trace, alone or for a target, as in \"info,keyreel::plugin=debug\""
                )));
            }
        };
    }
    Ok(filter)
}

/// A level. Nothing at all would be one to its own parser.
fn level_of(text: &str) -> Option<LevelFilter> {
    text.parse().ok().filter(|_| !text.is_empty())
}

/// Whether `text` may be the beginning of a module's path.
fn is_target(text: &str) -> bool {
    let of_a_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':');
    !text.is_empty() && text.chars().all(of_a_path)
}

/// Binds the server's addresses.
pub(crate) async fn bind(config: &Config, parts: Parts) -> anyhow::Result<BoundServer> {
    let grant_key = parts.keystore.service_key(GRANTS).context("the keystore")?;
    let providers = parts
        .keyring
        .providers()
        .map(|(id, description)| (id.clone(), description.clone()))
        .collect();
    let certificate_key = CertificateKey::new(assemble::audit_key(&parts.keystore)?);
    let server = ServerParts {
        catalogue: parts.catalogue,
        objects: parts.objects,
        keyring: parts.keyring,
        registrar: Some(parts.registrar),
        clock: parts.clock,
        grant_key: GrantKey::new(&grant_key),
        certificate_key,
        settings: config.server(),
        build: BuildInfo {
            version: env!("CARGO_PKG_VERSION"),
            commit: option_env!("KEYREEL_COMMIT"),
        },
        providers,
        checks: vec![Arc::new(KeystoreCheck(parts.keystore))],
    };
    Server::bind(server)
        .await
        .map_err(|source| Usage::new(source.to_string()).into())
}

/// Whether the keystore still answers: a volume that went away is told before a listener finds out.
struct KeystoreCheck(Arc<Keystore>);

#[async_trait]
impl ReadyCheck for KeystoreCheck {
    fn name(&self) -> &str {
        "keystore"
    }

    async fn check(&self) -> Result<(), String> {
        let keystore = self.0.clone();
        let checked = tokio::task::spawn_blocking(move || keystore.service_key(GRANTS).map(drop));
        match checked.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }
}
