//! Builds every part from the configuration, in order, for all commands alike.
//! Not for: anything that a command does with them.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use keyreel_keys::{
    Clock, Keyring, KeyringParts, Keystore, KeystoreError, MetadataVault, Registrar, SystemClock,
    Vault,
};
use keyreel_library::audit_chain::AuditKey;
use keyreel_library::{Catalogue, KeystoreMarks, Objects, SqliteCatalogue};
use keyreel_sandbox::{ArtefactCache, Sandbox, SandboxSettings};
use keyreel_server::AuditObserver;
use url::Url;

use crate::config::Config;
use crate::output::{self, Usage};
use crate::providers::{self, Extra};

/// What commands work with.
pub(crate) struct Parts {
    pub(crate) catalogue: Arc<dyn Catalogue>,
    pub(crate) objects: Objects,
    pub(crate) keystore: Arc<Keystore>,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) registrar: Registrar,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Parts {
    /// All parts, with a keystore that is there already.
    ///
    /// # Errors
    /// A part cannot be opened; the message says which and what to do.
    pub(crate) async fn assemble(config: &Config) -> anyhow::Result<Self> {
        Self::assemble_with(config, &Extra::default()).await
    }

    /// All parts, with what a command adds to the settings.
    ///
    /// # Errors
    /// As [`Parts::assemble`].
    pub(crate) async fn assemble_with(config: &Config, extra: &Extra) -> anyhow::Result<Self> {
        let keystore = keystore(config)?;
        Self::with_keystore(config, keystore, extra).await
    }

    /// All parts, with a new keystore where there is none.
    ///
    /// # Errors
    /// As [`Parts::assemble`].
    pub(crate) async fn assemble_new(config: &Config, extra: &Extra) -> anyhow::Result<Self> {
        let keystore = config.keystore.open_or_create().context("the keystore")?;
        Self::with_keystore(config, keystore, extra).await
    }

    async fn with_keystore(
        config: &Config,
        keystore: Keystore,
        extra: &Extra,
    ) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let settings = config.keys.keyring()?;
        let keystore = Arc::new(keystore);
        let metadata = Arc::new(MetadataVault::new(keystore.clone(), settings.dek_ttl));
        let opened = SqliteCatalogue::open_with(&sqlite_url(config)?, metadata.clone()).await;
        let opened = opened.with_context(|| naming(config))?;
        let catalogue = on_record(opened, &keystore).await?;
        let objects = objects(&config.storage.objects)?;
        let vault = Vault::new(keystore.clone(), catalogue.clone(), settings.dek_ttl);
        let vault = Arc::new(vault.with_metadata(metadata));

        let key = keystore
            .service_key("plugin cache")
            .context("the keystore")?;
        let directory = config.storage.cache.clone();
        let cache = Some(ArtefactCache { directory, key });
        let limits = config.sandbox.limits()?;
        let sandbox_settings = SandboxSettings { limits, cache };
        let sandbox = Sandbox::new(sandbox_settings, vault.clone(), clock.clone())
            .context("the plugin sandbox")?;
        let providers = providers::admit(&sandbox, &config.providers, &settings, extra).await?;

        let observer = Arc::new(AuditObserver::new(catalogue.clone(), clock.clone()));
        let keyring = Keyring::new(KeyringParts {
            store: catalogue.clone(),
            providers,
            observer,
            clock: clock.clone(),
            settings,
            vault: Some(vault.clone()),
        });
        let registrar = Registrar::new(&keyring, vault);
        let keyring = Arc::new(keyring);
        Ok(Self {
            catalogue,
            objects,
            keystore,
            keyring,
            registrar,
            clock,
        })
    }
}

/// The catalogue alone, for commands that need no keys: it reads no recordings.
///
/// # Errors
/// It cannot be opened.
pub(crate) async fn catalogue(config: &Config) -> anyhow::Result<Arc<dyn Catalogue>> {
    Ok(Arc::new(sqlite(config).await?))
}

/// The catalogue alone, for commands that change something on record and need no keys but those of
/// the record.
///
/// # Errors
/// It cannot be opened, or the keystore fails.
pub(crate) async fn recorded_catalogue(
    config: &Config,
    keystore: &Arc<Keystore>,
) -> anyhow::Result<Arc<dyn Catalogue>> {
    on_record(sqlite(config).await?, keystore).await
}

/// Has the end of the catalogue's audit log signed, and marked in the keystore. Whatever appends to
/// the log goes this way; a log that has not what is marked there is not appended to. The catalogue
/// is closed at the end, so that all that was appended is marked.
async fn on_record(
    catalogue: SqliteCatalogue,
    keystore: &Arc<Keystore>,
) -> anyhow::Result<Arc<dyn Catalogue>> {
    catalogue.sign_audit_with(audit_key(keystore)?);
    catalogue.mark_audit_in(Arc::new(KeystoreMarks(keystore.clone())));
    // Nothing is recorded then, so nothing is unwrapped; what needs no record goes on.
    if let Err(error) = catalogue.check_audit_mark().await {
        output::note(&error.to_string());
    }
    Ok(Arc::new(catalogue))
}

/// The catalogue, with what only this backend has.
///
/// # Errors
/// It cannot be opened.
pub(crate) async fn sqlite(config: &Config) -> anyhow::Result<SqliteCatalogue> {
    let opened = SqliteCatalogue::open(&sqlite_url(config)?).await;
    opened.with_context(|| naming(config))
}

fn sqlite_url(config: &Config) -> anyhow::Result<String> {
    let path = &config.storage.catalogue;
    make_parent(path)?;
    Ok(file_url(path)?.replacen("file", "sqlite", 1))
}

fn naming(config: &Config) -> String {
    format!("the catalogue {}", config.storage.catalogue.display())
}

/// The keystore, which is there already.
///
/// # Errors
/// It cannot be opened; the message says what to do.
pub(crate) fn keystore(config: &Config) -> anyhow::Result<Keystore> {
    Ok(config.keystore.open().map_err(|source| {
        let message = format!("the keystore: {source}");
        let is_missing = match source {
            KeystoreError::Missing { .. } => true,
            // The master key is looked for first.
            KeystoreError::Io { .. } => !config.keystore.directory.exists(),
            // The others say themselves what to do.
            _ => false,
        };
        if is_missing {
            let hint = "`keyreel keystore init` makes a new one, for a new installation";
            Usage::with_hint(message, hint)
        } else {
            Usage::new(message)
        }
    })?)
}

/// What signs the audit log: a key of the keystore, so that it lies apart from the log.
///
/// # Errors
/// The keystore fails.
pub(crate) fn audit_key(keystore: &Keystore) -> anyhow::Result<AuditKey> {
    let seed = keystore.service_key("audit log").context("the keystore")?;
    Ok(AuditKey::from_seed(&seed)?)
}

fn objects(location: &str) -> anyhow::Result<Objects> {
    let url = if location.contains("://") {
        location.to_owned()
    } else {
        std::fs::create_dir_all(location)
            .with_context(|| format!("the objects' folder {location}"))?;
        file_url(Path::new(location))?
    };
    Objects::open(&url).with_context(|| format!("the objects at {location}"))
}

/// A path as a URL: what a URL means by `#`, `?` and `%` is escaped.
fn file_url(path: &Path) -> anyhow::Result<String> {
    let url = Url::from_file_path(path)
        .map_err(|()| Usage::new(format!("{} is not an absolute path", path.display())))?;
    Ok(url.into())
}

fn make_parent(path: &Path) -> anyhow::Result<()> {
    let Some(folder) = path.parent() else {
        return Ok(());
    };
    std::fs::create_dir_all(folder).with_context(|| format!("the folder {}", folder.display()))
}
