//! `keyreel.toml`: one section per part, each defined by the crate that uses it. Read once, at the
//! start; relative paths count from the file's own folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Subcommand;
use keyreel_keys::{DekTtl, KeyringSettings, Keystore, KeystoreError};
use keyreel_server::settings;

use crate::ConfigFile;
use crate::output::{self, Usage};
use crate::providers::{self, ProviderSettings};
use crate::serve;
use crate::settings::SandboxLimits;

/// All settings of `keyreel serve`.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Where the server listens.
    #[serde(default)]
    pub(crate) server: settings::ListenSettings,
    /// Certificates; without this section the server speaks plain HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<settings::TlsSettings>,
    /// Catalogue and objects.
    pub(crate) storage: Storage,
    /// Tenants' root keys, apart from the data.
    pub(crate) keystore: KeystoreFiles,
    /// Unwrapping: cache, limits, circuit breaker.
    #[serde(default)]
    pub(crate) keys: Keys,
    /// Plugins for key services, and what each may reach; by id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) providers: BTreeMap<String, ProviderSettings>,
    /// What one call of a plugin may use.
    #[serde(default)]
    pub(crate) sandbox: SandboxLimits,
    /// Grants and media.
    #[serde(default)]
    pub(crate) playback: settings::PlaybackSettings,
    /// Signing in.
    #[serde(default)]
    pub(crate) sessions: settings::SessionSettings,
    /// How much anybody may ask for.
    #[serde(default)]
    pub(crate) limits: settings::LimitSettings,
    /// How the server ends.
    #[serde(default)]
    pub(crate) shutdown: settings::ShutdownSettings,
    /// Crypto-shredding.
    #[serde(default)]
    pub(crate) destruction: settings::DestructionSettings,
    /// What it writes to stderr.
    #[serde(default)]
    pub(crate) log: Log,
}

/// Where recordings lie.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Storage {
    /// The catalogue: the path of an SQLite database.
    pub(crate) catalogue: PathBuf,
    /// Sealed objects: the path of a folder, or `s3://bucket/prefix` with the settings of the
    /// standard AWS environment.
    pub(crate) objects: String,
    /// Compiled plugins, private to this installation.
    pub(crate) cache: PathBuf,
}

/// Where key material lies. Keep it apart from the data, and the master key apart from both.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeystoreFiles {
    /// The keystore's folder, mode 0700.
    pub(crate) directory: PathBuf,
    /// The master key: 32 bytes, or 64 hexadecimal digits, mode 0600.
    pub(crate) master_key_file: PathBuf,
    /// The keystore's epoch key, mode 0600, which the program writes; beside the master key unless
    /// it is said here. Keep its copies where the old ones can be destroyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) epoch_key_file: Option<PathBuf>,
}

/// Unwrapping: how long a DEK is kept, how long a key provider may take, how many calls at once.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Keys {
    /// How long an unwrapped DEK is kept, in seconds: the time within which taking a key away ends
    /// playback by itself.
    #[schemars(range(min = 1, max = 300))]
    pub(crate) dek_ttl_seconds: u64,
    /// How long a provider's refusal is kept, in seconds.
    #[schemars(range(min = 1, max = 60))]
    pub(crate) refusal_ttl_seconds: u64,
    /// How long one unwrap may take, in milliseconds.
    #[schemars(range(min = 50, max = 30_000))]
    pub(crate) unwrap_limit_ms: u64,
    /// How many calls to one provider run at once for one tenant.
    #[schemars(range(min = 1, max = 10_000))]
    pub(crate) concurrent_calls: usize,
    /// How many failures in a row open the circuit breaker of one provider for one tenant.
    #[schemars(range(min = 1, max = 1000))]
    pub(crate) breaker_failures: u32,
    /// How long the breaker then stays open at first, in seconds.
    #[schemars(range(min = 1, max = 60))]
    pub(crate) breaker_seconds: u64,
}

impl Default for Keys {
    fn default() -> Self {
        let settings = KeyringSettings::default();
        Self {
            dek_ttl_seconds: settings.dek_ttl.duration().as_secs(),
            refusal_ttl_seconds: settings.refusal_ttl.as_secs(),
            unwrap_limit_ms: u64::try_from(settings.unwrap_limit.as_millis()).unwrap_or(2000),
            concurrent_calls: settings.gate.concurrency,
            breaker_failures: settings.gate.failures,
            breaker_seconds: settings.gate.pause.as_secs(),
        }
    }
}

impl Keys {
    /// As the keyring takes it.
    ///
    /// # Errors
    /// A value is out of its range.
    pub(crate) fn keyring(&self) -> Result<KeyringSettings, Usage> {
        let ranges = [
            ("refusal_ttl_seconds", self.refusal_ttl_seconds, 1..=60),
            ("unwrap_limit_ms", self.unwrap_limit_ms, 50..=30_000),
            ("breaker_failures", self.breaker_failures.into(), 1..=1000),
            ("breaker_seconds", self.breaker_seconds, 1..=60),
        ];
        for (name, value, range) in ranges {
            if !range.contains(&value) {
                let (least, most) = range.into_inner();
                return Err(Usage::new(format!(
                    "[keys] {name} is {value}: expected {least} to {most}"
                )));
            }
        }
        if !(1..=10_000).contains(&self.concurrent_calls) {
            return Err(Usage::new("[keys] concurrent_calls: expected 1 to 10000"));
        }
        let mut settings = KeyringSettings::default();
        settings.dek_ttl = DekTtl::new(Duration::from_secs(self.dek_ttl_seconds))
            .map_err(|source| Usage::new(format!("[keys] dek_ttl_seconds: {source}")))?;
        settings.refusal_ttl = Duration::from_secs(self.refusal_ttl_seconds);
        settings.unwrap_limit = Duration::from_millis(self.unwrap_limit_ms);
        settings.gate.concurrency = self.concurrent_calls;
        settings.gate.failures = self.breaker_failures;
        settings.gate.pause = Duration::from_secs(self.breaker_seconds);
        Ok(settings)
    }
}

/// Logging, to stderr.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    /// What is written: "off", "error", "warn", "info", "debug" or "trace", and such a level for
    /// single targets: "info,keyreel::plugin=debug".
    pub(crate) filter: String,
    /// Lines for people or for machines.
    pub(crate) format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            filter: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

/// How a log line looks.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl KeystoreFiles {
    /// Opens it.
    pub(crate) fn open(&self) -> Result<Keystore, KeystoreError> {
        let (directory, master) = (&self.directory, &self.master_key_file);
        match &self.epoch_key_file {
            Some(epoch) => Keystore::open_with(directory, master, epoch),
            None => Keystore::open(directory, master),
        }
    }

    /// Makes an empty one, its keys and the folders that these lie in.
    pub(crate) fn create(&self) -> Result<Keystore, KeystoreError> {
        let epoch = self.epoch_key_file.as_deref();
        Keystore::open_or_create_with_keys(&self.directory, &self.master_key_file, epoch)
    }

    /// Opens it, or makes an empty one where there is nothing.
    pub(crate) fn open_or_create(&self) -> Result<Keystore, KeystoreError> {
        let (directory, master) = (&self.directory, &self.master_key_file);
        match &self.epoch_key_file {
            Some(epoch) => Keystore::open_or_create_with(directory, master, epoch),
            None => Keystore::open_or_create(directory, master),
        }
    }
}

impl Config {
    /// Reads `file`.
    ///
    /// # Errors
    /// The file cannot be read, or a setting is unknown, missing or of the wrong kind. The message
    /// names file, line and setting.
    pub(crate) fn read(file: &ConfigFile) -> anyhow::Result<Self> {
        let path = &file.config;
        let text = std::fs::read_to_string(path).map_err(|source| {
            Usage::with_hint(
                format!("cannot read the configuration {}: {source}", path.display()),
                "name it with --config; `keyreel config schema` lists the settings",
            )
        })?;
        let mut config: Self = toml::from_str(&text)
            .map_err(|source| Usage::new(format!("{}: {source}", path.display())))?;
        // The whole path first: "keyreel.toml" alone has an empty parent.
        let whole = std::path::absolute(path).context("the configuration's folder")?;
        config.resolve(whole.parent().unwrap_or(Path::new("/")));
        Ok(config)
    }

    fn resolve(&mut self, folder: &Path) {
        let paths = [
            &mut self.storage.catalogue,
            &mut self.storage.cache,
            &mut self.keystore.directory,
            &mut self.keystore.master_key_file,
        ];
        for path in paths {
            *path = folder.join(&*path);
        }
        if let Some(path) = &mut self.keystore.epoch_key_file {
            *path = folder.join(&*path);
        }
        if let Some(tls) = &mut self.tls {
            tls.certificate_file = folder.join(&tls.certificate_file);
            tls.key_file = folder.join(&tls.key_file);
        }
        for provider in self.providers.values_mut() {
            provider.resolve(folder);
        }
        if !self.storage.objects.contains("://") {
            self.storage.objects = folder.join(&self.storage.objects).display().to_string();
        }
    }

    /// Whether the settings make sense, as far as that shows without reading the files that they
    /// name, binding an address or asking anybody.
    ///
    /// # Errors
    /// The first one that does not.
    fn check(&self) -> anyhow::Result<()> {
        let keyring = self.keys.keyring()?;
        self.sandbox.limits()?;
        providers::check(&self.providers, &keyring)?;
        let server = self.server().check();
        server.map_err(|error| Usage::new(error.to_string()))?;
        serve::filter(&self.log)?;
        Ok(())
    }

    /// The server's part.
    pub(crate) fn server(&self) -> settings::Settings {
        settings::Settings {
            server: self.server.clone(),
            tls: self.tls.clone(),
            playback: self.playback.clone(),
            sessions: self.sessions.clone(),
            limits: self.limits.clone(),
            destruction: self.destruction.clone(),
            shutdown: self.shutdown.clone(),
        }
    }
}

/// `keyreel config …`
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Reads the configuration and says what is wrong with it.
    Check(ConfigFile),
    /// Prints the JSON Schema of the configuration.
    Schema,
}

pub(crate) fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Check(file) => {
            Config::read(file)?.check()?;
            output::note(&format!("{}: good", file.config.display()));
            Ok(())
        }
        Command::Schema => {
            let schema = schemars::schema_for!(Config);
            output::data(&serde_json::to_string_pretty(&schema)?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(more: &str) -> Config {
        let least = "[storage]\ncatalogue = 'c'\nobjects = 'o'\ncache = 'p'\n\
                     [keystore]\ndirectory = 'k'\nmaster_key_file = 'm'\n";
        toml::from_str(&format!("{least}{more}")).unwrap()
    }

    #[test]
    fn what_the_server_would_refuse_at_its_start_is_found() {
        config("").check().unwrap();
        config("[log]\nfilter = 'info, keyreel::plugin=debug'")
            .check()
            .unwrap();
        let table = [
            ("[keys]\nunwrap_limit_ms = 1", "[keys] unwrap_limit_ms"),
            ("[sandbox]\ncpu_ms = 0", "cpu_ms"),
            ("[providers.lkm]\norigins = ['http://*']", "[providers.lkm]"),
            (
                "[limits]\nuploads = 0",
                "limits.uploads: expected 1 to 1024",
            ),
            ("[playback]\nspan_kib = 1", "playback.span_kib"),
            ("[sessions]\nttl_minutes = 1", "sessions.ttl_minutes"),
            ("[log]\nfilter = 'keyreel=loud'", "[log] filter"),
            ("[log]\nfilter = 'inof'", "[log] filter: \"inof\""),
            ("[log]\nfilter = ''", "[log] filter: \"\""),
            ("[log]\nfilter = 'info,'", "[log] filter: \"\""),
            ("[log]\nfilter = 'keyreel='", "[log] filter: \"keyreel=\""),
            ("[log]\nfilter = '=debug'", "[log] filter: \"=debug\""),
            (
                "[log]\nfilter = 'info,a[b]=warn'",
                "[log] filter: \"a[b]=warn\"",
            ),
        ];
        for (text, expected) in table {
            let error = config(text).check().unwrap_err();
            let usage = error.downcast_ref::<Usage>().map(ToString::to_string);
            assert!(
                usage.is_some_and(|usage| usage.contains(expected)),
                "{text}: {error}"
            );
        }
    }
}
