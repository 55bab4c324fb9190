//! `keyreel keys shred`, `destructions`, `certificate`: crypto-shredding from the command line.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Subcommand;
use keyreel_keys::{KekId, ProviderId, RecordingId, TenantId};
use keyreel_library::audit_chain::AuditPublicKey;
use keyreel_library::destruction::{
    CertificateKey, Destroyer, DestroyerParts, DestructionError, DestructionStep,
    verify_certificate,
};
use keyreel_library::{Destruction, DestructionScope, DestructionState};
use keyreel_server::DestructionStatus;

use super::{by, print, with_rewrapper};
use crate::ConfigFile;
use crate::assemble::{self, Parts};
use crate::config::Config;
use crate::output::{self, Usage};

const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(clap::Args)]
pub(crate) struct Shred {
    /// Whose keys.
    #[arg(long, value_name = "ID")]
    tenant: TenantId,
    /// One key, and the recordings that need it: "kek/1". Without it and without `--recording`, all
    /// that the tenant has.
    #[arg(long, value_name = "ID", conflicts_with = "recordings")]
    key: Option<KekId>,
    /// Which plugin holds that key.
    #[arg(long, value_name = "ID", default_value = "managed")]
    provider: ProviderId,
    /// One recording; repeat for more. All others are moved to the current key first.
    #[arg(long = "recording", value_name = "ID")]
    recordings: Vec<RecordingId>,
    /// Why: it is in the certificate.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// What confirms it: without it, the text that would is shown and nothing is done.
    #[arg(long, value_name = "TEXT")]
    confirm: Option<String>,
    #[command(flatten)]
    file: ConfigFile,
}

#[derive(clap::Args)]
pub(crate) struct Destructions {
    /// Whose.
    #[arg(long, value_name = "ID")]
    tenant: TenantId,
    /// Lets one that is halted go on, and waits for its end.
    #[arg(long, value_name = "ID", conflicts_with = "cancel")]
    resume: Option<String>,
    /// Calls one off that waits to be confirmed or is halted. What is gone by then stays gone.
    #[arg(long, value_name = "ID")]
    cancel: Option<String>,
    #[command(flatten)]
    file: ConfigFile,
}

#[derive(Subcommand)]
pub(crate) enum CertificateCommand {
    /// Prints the certificate of a destruction: a DSSE envelope, JSON.
    Show {
        /// The destruction's id.
        id: String,
        /// Whose.
        #[arg(long, value_name = "ID")]
        tenant: TenantId,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Checks the signature of a certificate, and prints what it says. Needs no server.
    Verify {
        /// The file.
        certificate: PathBuf,
        /// The `publicKey` that `keyreel audit key` prints, base64.
        #[arg(long, value_name = "BASE64")]
        key: String,
    },
}

pub(crate) async fn shred(args: Shred) -> anyhow::Result<()> {
    let (parts, destroyer) = open(&args.file, &args.tenant).await?;
    let scope = match (&args.key, args.recordings.is_empty()) {
        (Some(id), _) => DestructionScope::Key {
            provider: args.provider.clone(),
            id: id.clone(),
        },
        (None, false) => DestructionScope::Recordings {
            ids: args.recordings.clone(),
        },
        (None, true) => DestructionScope::Tenant,
    };
    let said = (args.confirm.as_deref().unwrap_or(""), args.reason.as_str());
    let asked = destroyer.request(&args.tenant, scope, said, &by()).await;
    let asked = match asked {
        Err(DestructionError::NotConfirmed { expected }) => {
            let hint = format!("nothing was destroyed; to do it: --confirm {expected:?}");
            return Err(Usage::with_hint("it is not confirmed", &hint).into());
        }
        Err(DestructionError::Catalogue(error)) => return Err(error.into()),
        Err(error) => return Err(Usage::new(error.to_string()).into()),
        Ok(asked) => asked,
    };
    if asked.state == DestructionState::Requested {
        output::note("an administrator has to confirm it, on the Encryption keys page");
        return print(&DestructionStatus::from(asked));
    }
    finish(parts, &destroyer, asked).await
}

pub(crate) async fn destructions(args: Destructions) -> anyhow::Result<()> {
    let (parts, destroyer) = open(&args.file, &args.tenant).await?;
    let decide = async |id: &str, step| {
        let decided = destroyer.decide(&args.tenant, id, step, &by()).await;
        decided.map_err(|error| Usage::new(error.to_string()))
    };
    match (&args.resume, &args.cancel) {
        (Some(id), _) => {
            let resumed = decide(id, DestructionStep::Resume).await?;
            finish(parts, &destroyer, resumed).await
        }
        (None, Some(id)) => print(&DestructionStatus::from(
            decide(id, DestructionStep::Cancel).await?,
        )),
        (None, None) => {
            for destruction in destroyer.all(&args.tenant).await? {
                print(&DestructionStatus::from(destruction))?;
            }
            Ok(())
        }
    }
}

pub(crate) async fn certificate(command: CertificateCommand) -> anyhow::Result<()> {
    match command {
        CertificateCommand::Show { id, tenant, file } => {
            let catalogue = assemble::catalogue(&Config::read(&file)?).await?;
            let found = catalogue.destruction(&tenant, &id).await?;
            let certificate = found.and_then(|destruction| destruction.certificate);
            let certificate = certificate.ok_or_else(|| {
                let hint = "`keyreel keys destructions` lists them";
                Usage::with_hint(format!("there is no certificate of {id}"), hint)
            })?;
            output::data(&certificate)
        }
        CertificateCommand::Verify { certificate, key } => {
            let malformed = || Usage::new("--key: expected 32 bytes in base64");
            let bytes = STANDARD.decode(key.trim()).map_err(|_| malformed())?;
            let bytes: [u8; 32] = bytes.try_into().map_err(|_| malformed())?;
            let envelope = std::fs::read_to_string(&certificate)
                .with_context(|| format!("{}", certificate.display()))?;
            let says = verify_certificate(envelope.trim(), &AuditPublicKey::from_bytes(bytes))?;
            output::data(&serde_json::to_string_pretty(&says)?)
        }
    }
}

/// Runs it here, or waits while a server does.
async fn finish(parts: Parts, destroyer: &Destroyer, asked: Destruction) -> anyhow::Result<()> {
    let ended = loop {
        if let Some(ended) = destroyer.run(&asked.id).await? {
            break ended;
        }
        let now = destroyer.one(&asked.tenant, &asked.id).await;
        let now = now.map_err(|error| anyhow::anyhow!("{error}"))?;
        if now.state != DestructionState::Running {
            break now;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    parts.catalogue.close().await;
    print(&DestructionStatus::from(ended.clone()))?;
    if ended.state != DestructionState::Done {
        let reason = ended.last_error.as_deref();
        let reason = reason.unwrap_or("see the server's log");
        let message = format!("it is {}: {reason}", ended.state.as_str());
        let hint = format!(
            "to go on: keyreel keys destructions --tenant {} --resume {}",
            ended.tenant, ended.id
        );
        return Err(Usage::with_hint(message, &hint).into());
    }
    output::note(
        "back everything up anew: copies of the keystore from before open nothing any more, of any \
         tenant. The certificate names what is left to do",
    );
    Ok(())
}

async fn open(file: &ConfigFile, tenant: &TenantId) -> anyhow::Result<(Parts, Destroyer)> {
    let (config, parts, rewrapper) = with_rewrapper(file, tenant).await?;
    let destroyer = Destroyer::new(DestroyerParts {
        catalogue: parts.catalogue.clone(),
        objects: parts.objects.clone(),
        keyring: parts.keyring.clone(),
        rewrapper,
        clock: parts.clock.clone(),
        key: CertificateKey::new(assemble::audit_key(&parts.keystore)?),
        two_people: config.destruction.two_people,
    });
    Ok((parts, destroyer))
}
