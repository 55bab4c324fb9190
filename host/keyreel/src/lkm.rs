//! `keyreel lkm …`: a Local Key Manager for customers who want one, run on their own machine.
//! Not for: what it does (see the crate `keyreel-lkm`), and nothing of the rest of Keyreel.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use keyreel_keys::SystemClock;
use keyreel_lkm::{Credential, KeyPairs, Padding, Pair, PairState, Server, Settings, TlsFiles};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use url::Url;
use uuid::Uuid;

use crate::config::Log;
use crate::new_file::{self, For};
use crate::output::{self, Usage};
use crate::serve;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Makes the data, a first key pair and a Hawk credential; prints what to register, this once.
    Init(Init),
    /// The service.
    Serve(Serve),
    /// Lists the key pairs, one JSON object a line.
    Pairs(Data),
    /// Makes another key pair, of the newest one's padding. Register it; the old pairs go on opening
    /// old recordings.
    Rotate(Rotate),
    /// Makes another key pair of the padding named.
    AddPair(AddPair),
    /// Takes over a private key from the sample service or a backup, PEM, under its id.
    ImportPair(ImportPair),
    /// Writes a private key to a new file of mode 0600, PEM: keep it as you would the key itself.
    ExportPair(ExportPair),
    /// Lets a key pair decrypt nothing, until it is enabled again.
    DisablePair(OnePair),
    /// Lets a disabled key pair decrypt again.
    EnablePair(OnePair),
    /// Hawk credentials: add, list, remove.
    #[command(subcommand)]
    Credential(CredentialCommand),
    /// Checks that no line of the log of decrypts was changed or removed, and prints its head.
    VerifyLog(Data),
}

/// Where a Local Key Manager's data lies.
#[derive(clap::Args, Clone)]
pub(crate) struct Data {
    /// Its directory.
    #[arg(long, value_name = "DIR", env = "KEYREEL_LKM_DATA")]
    data: PathBuf,
    /// What the data is sealed with; default DIR/master.key. Better kept elsewhere, where it survives
    /// a reboot; the file KEY-FILE.epoch beside it belongs to it.
    #[arg(long, value_name = "FILE", env = "KEYREEL_LKM_KEY_FILE")]
    key_file: Option<PathBuf>,
}

#[derive(clap::Args)]
pub(crate) struct Init {
    #[command(flatten)]
    data: Data,
    /// How the first key pair decrypts.
    #[arg(long, value_enum, default_value = "oaep-sha256")]
    padding: PaddingName,
    /// The credential's id; default a random one.
    #[arg(long, value_name = "ID")]
    api_id: Option<String>,
}

#[derive(clap::Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    data: Data,
    /// Where it listens. Without a certificate and a public URL loopback addresses only.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// The certificate chain, PEM; read again when it changes.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// What clients call it, as they sign it: https://keys.example.com. Needed where it listens on
    /// other than loopback addresses, or behind a proxy.
    #[arg(long, value_name = "URL")]
    public_url: Option<Url>,
    /// What may be decrypted, and how often; see docs/operations.md.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// How far a client's clock may be off.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    window: u64,
    #[arg(long, value_enum, default_value = "text")]
    log_format: LogFormatName,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum LogFormatName {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(clap::Args)]
pub(crate) struct Rotate {
    #[command(flatten)]
    data: Data,
}

#[derive(clap::Args)]
pub(crate) struct AddPair {
    #[command(flatten)]
    data: Data,
    /// How it decrypts.
    #[arg(long, value_enum, default_value = "oaep-sha256")]
    padding: PaddingName,
}

#[derive(clap::Args)]
pub(crate) struct ImportPair {
    /// The id that it is registered under.
    id: Uuid,
    /// The private key, PEM.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// How it decrypts. The sample service's pairs: oaep-sha1.
    #[arg(long, value_enum)]
    padding: PaddingName,
    #[command(flatten)]
    data: Data,
}

#[derive(clap::Args)]
pub(crate) struct ExportPair {
    /// Its id.
    id: Uuid,
    /// A new file.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    data: Data,
}

#[derive(clap::Args)]
pub(crate) struct OnePair {
    /// Its id.
    id: Uuid,
    #[command(flatten)]
    data: Data,
}

#[derive(Subcommand)]
pub(crate) enum CredentialCommand {
    /// Makes another one and prints it, this once.
    Add {
        /// Its id; default a random one.
        #[arg(long, value_name = "ID")]
        api_id: Option<String>,
        #[command(flatten)]
        data: Data,
    },
    /// Lists the ids.
    List(Data),
    /// Removes one: it is refused from the next request on.
    Remove {
        /// Its id.
        api_id: String,
        #[command(flatten)]
        data: Data,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum PaddingName {
    /// RSA-OAEP with SHA-256.
    OaepSha256,
    /// RSA-OAEP with SHA-1, as the sample service has it.
    OaepSha1,
}

impl PaddingName {
    fn padding(self) -> Padding {
        match self {
            Self::OaepSha256 => Padding::OaepSha256,
            Self::OaepSha1 => Padding::OaepSha1,
        }
    }
}

impl Data {
    fn settings(&self) -> Settings {
        let mut settings = Settings::new(&self.data);
        if let Some(key_file) = &self.key_file {
            settings.key_file.clone_from(key_file);
        }
        settings
    }

    fn open(&self) -> anyhow::Result<KeyPairs> {
        let settings = self.settings();
        KeyPairs::open(&settings.data, &settings.key_file).map_err(|error| {
            let message = error.to_string();
            if settings.data.exists() {
                return Usage::new(message).into();
            }
            Usage::with_hint(message, "`keyreel lkm init` makes the data").into()
        })
    }
}

pub(crate) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(args) => crate::block_on(serve(args)),
        Command::Init(args) => init(&args),
        Command::Pairs(data) => {
            for pair in data.open()?.pairs()? {
                output::data(&described(&pair).to_string())?;
            }
            Ok(())
        }
        Command::Rotate(args) => {
            let pairs = args.data.open()?;
            let newest = pairs.pairs()?.pop();
            let padding = newest.map_or(Padding::OaepSha256, |pair| pair.padding);
            added(&pairs.add_pair(padding, &SystemClock)?)
        }
        Command::AddPair(args) => {
            let padding = args.padding.padding();
            added(&args.data.open()?.add_pair(padding, &SystemClock)?)
        }
        Command::ImportPair(args) => {
            let pem = zeroize::Zeroizing::new(
                std::fs::read(&args.file)
                    .with_context(|| format!("reading {}", args.file.display()))?,
            );
            let (pairs, padding) = (args.data.open()?, args.padding.padding());
            added(&pairs.import_pair(args.id, &pem, padding, &SystemClock)?)
        }
        Command::ExportPair(args) => export(&args),
        Command::DisablePair(args) => args.set(PairState::Disabled),
        Command::EnablePair(args) => args.set(PairState::Active),
        Command::Credential(command) => credential(command),
        Command::VerifyLog(data) => {
            let report = keyreel_lkm::verify_log(&data.data)?;
            if report.torn > 0 {
                output::note(&format!(
                    "{} lines were cut off by a crash; nothing follows from them",
                    report.torn
                ));
            }
            let report = json!({ "lines": report.lines, "torn": report.torn, "head": report.head });
            output::data(&report.to_string())
        }
    }
}

fn init(args: &Init) -> anyhow::Result<()> {
    let settings = args.data.settings();
    let pairs = KeyPairs::create(&settings.data, &settings.key_file)?;
    if !pairs.pairs()?.is_empty() {
        return Err(Usage::with_hint(
            format!("{} holds key pairs already", settings.data.display()),
            "`keyreel lkm rotate` makes another one",
        )
        .into());
    }
    let credential = pairs.add_credential(args.api_id.as_deref(), &SystemClock)?;
    let pair = pairs.add_pair(args.padding.padding(), &SystemClock)?;
    let made = json!({
        "keypairId": pair.id,
        "publicKey": pair.public_key,
        "padding": pair.padding,
        "apiId": credential.id,
        "apiKey": *credential.key,
    });
    output::data(&made.to_string())?;
    output::note("this is the only time that the API key is shown");
    output::note(&format!(
        "back up {}, and apart from it {} and {}: without any of the three the recordings are lost",
        settings.data.display(),
        settings.key_file.display(),
        pairs.epoch_key_file().display()
    ));
    Ok(())
}

async fn serve(args: Serve) -> anyhow::Result<()> {
    serve::log(&Log {
        format: match args.log_format {
            LogFormatName::Text => crate::config::LogFormat::Text,
            LogFormatName::Json => crate::config::LogFormat::Json,
        },
        ..Log::default()
    })?;
    let mut settings = args.data.settings();
    settings.listen = args.listen;
    settings.public_url = args.public_url;
    settings.policy = args.policy;
    settings.window = Duration::from_secs(args.window);
    settings.tls = match (args.tls_certificate, args.tls_key) {
        (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
        _ => None,
    };
    let server = Server::bind(settings, Arc::new(SystemClock))
        .await
        .map_err(|error| Usage::new(error.to_string()))?;
    let ready = json!({ "url": server.url(), "decrypt_url": server.decrypt_url() });
    // Before anybody is told that it runs, and may stop it.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    output::data(&ready.to_string())?;
    let stopped = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    server.serve(stopped).await;
    Ok(())
}

fn export(args: &ExportPair) -> anyhow::Result<()> {
    let pem = args.data.open()?.export_pair(args.id)?;
    let file = &args.output;
    new_file::write(file, pem.as_bytes(), For::Owner)?;
    output::note(&format!("wrote the private key to {}", file.display()));
    Ok(())
}

fn credential(command: CredentialCommand) -> anyhow::Result<()> {
    match command {
        CredentialCommand::Add { api_id, data } => {
            let Credential { id, key } = data
                .open()?
                .add_credential(api_id.as_deref(), &SystemClock)?;
            output::data(&json!({ "apiId": id, "apiKey": *key }).to_string())?;
            output::note("this is the only time that the API key is shown");
        }
        CredentialCommand::List(data) => {
            for id in data.open()?.credentials()? {
                output::data(&id)?;
            }
        }
        CredentialCommand::Remove { api_id, data } => data.open()?.remove_credential(&api_id)?,
    }
    Ok(())
}

impl OnePair {
    fn set(&self, state: PairState) -> anyhow::Result<()> {
        self.data.open()?.set_state(self.id, state)?;
        Ok(())
    }
}

fn added(pair: &Pair) -> anyhow::Result<()> {
    output::data(&described(pair).to_string())?;
    output::note("register it with POST /api/v2/recording/localkeys; keep the old pairs");
    Ok(())
}

fn described(pair: &Pair) -> serde_json::Value {
    json!({
        "keypairId": pair.id,
        "publicKey": pair.public_key,
        "padding": pair.padding,
        "state": pair.state,
        "createdMs": pair.created_ms,
    })
}
