//! `keyreel import`, and the sample library that `keyreel demo` imports.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use include_dir::{Dir, include_dir};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use keyreel_keys::{Policy, TenantId};
use keyreel_library::Ingest;
use keyreel_library::import::{Importer, Input, Outcome, Progress, Scan, Summary, pair, scan};

use crate::ConfigFile;
use crate::assemble::Parts;
use crate::config::Config;
use crate::output::{self, Usage};

static SAMPLES: Dir<'_> = include_dir!("$OUT_DIR/quickstart");

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder: media files, beside each an optional NAME.json and NAME.transcript.json.
    folder: PathBuf,
    /// Whose recordings they are.
    #[arg(long, value_name = "ID")]
    tenant: TenantId,
    #[command(flatten)]
    file: ConfigFile,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let config = Config::read(&args.file)?;
    crate::serve::log(&config.log)?;
    let found = scan(&args.folder)?;
    for (name, reason) in &found.left_out {
        output::note(&format!("left out: {name}: {reason}"));
    }
    if found.sources.is_empty() {
        let message = format!("{} holds no recording", args.folder.display());
        return Err(Usage::with_hint(message, "expected .wav, .mp3, .ogg or .opus files").into());
    }
    let parts = Parts::assemble(&config).await?;
    if parts.catalogue.tenant(&args.tenant).await?.is_none() {
        let message = format!("there is no tenant {}", args.tenant);
        return Err(Usage::with_hint(message, "`keyreel tenant list` shows them").into());
    }
    let summary = import(&parts, &args.tenant, found).await;
    for (name, outcome) in &summary.outcomes {
        let line = match outcome {
            Outcome::Imported { id, warnings } => {
                for warning in warnings {
                    output::note(&format!("{name}: {warning}"));
                }
                serde_json::json!({"name": name, "outcome": "imported", "id": id})
            }
            Outcome::AlreadyThere { id } => {
                serde_json::json!({"name": name, "outcome": "already there", "id": id})
            }
            Outcome::Failed { reason } => {
                output::note(&format!("{name}: {reason}"));
                serde_json::json!({"name": name, "outcome": "failed", "reason": reason})
            }
        };
        output::data(&line.to_string())?;
    }
    let (imported, already, failed) = summary.counts();
    output::note(&format!(
        "{imported} imported, {already} already there, {failed} failed"
    ));
    anyhow::ensure!(
        failed == 0,
        "{failed} of {} recordings failed",
        summary.outcomes.len()
    );
    Ok(())
}

/// Imports what was found, with a bar on a terminal.
async fn import(parts: &Parts, tenant: &TenantId, found: Scan) -> Summary {
    let ingest = Ingest::new(
        parts.catalogue.clone(),
        parts.objects.clone(),
        parts.keyring.clone(),
        parts.clock.clone(),
    );
    let bar = Arc::new(Bar::new(found.bytes()));
    let summary = Importer::new(ingest)
        .run(tenant, found.sources, bar.clone())
        .await;
    bar.0.finish_and_clear();
    summary
}

/// A progress bar; hidden where stderr is no terminal.
struct Bar(ProgressBar);

impl Bar {
    fn new(bytes: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
        let style = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} {msg}";
        bar.set_style(ProgressStyle::with_template(style).unwrap_or(ProgressStyle::default_bar()));
        Self(bar)
    }
}

impl Progress for Bar {
    fn bytes(&self, count: u64) {
        self.0.inc(count);
    }

    fn done(&self, name: &str, _outcome: &Outcome) {
        self.0.set_message(name.to_owned());
    }
}

/// The sample library inside this program.
pub(crate) struct Samples {
    tenants: Vec<SampleTenant>,
}

/// A tenant of `library.json`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SampleTenant {
    pub(crate) id: TenantId,
    pub(crate) name: String,
    pub(crate) policy: Policy,
    /// Who keeps its keys; "managed" without it.
    #[serde(default)]
    pub(crate) provider: Option<String>,
}

impl Samples {
    pub(crate) fn embedded() -> anyhow::Result<Self> {
        #[derive(serde::Deserialize)]
        struct Library {
            tenants: Vec<SampleTenant>,
        }
        let library = SAMPLES
            .get_file("library.json")
            .context("no library.json inside")?;
        let library: Library = serde_json::from_slice(library.contents())?;
        Ok(Self {
            tenants: library.tenants,
        })
    }

    pub(crate) fn tenants(&self) -> &[SampleTenant] {
        &self.tenants
    }

    /// Imports the samples of `tenant`, straight from memory: no plaintext touches the disk.
    pub(crate) async fn import(&self, parts: &Parts, tenant: &TenantId) -> anyhow::Result<()> {
        let folder = SAMPLES
            .get_dir(tenant.as_str())
            .context("a tenant without samples")?;
        let files = folder.files().filter_map(|file| {
            let name = file.path().file_name()?.to_str()?.to_owned();
            let bytes = Bytes::from_static(file.contents());
            Some((name.clone(), Input::Memory { name, bytes }, None))
        });
        let summary = import(parts, tenant, pair(files)).await;
        for (name, outcome) in summary.outcomes {
            if let Outcome::Failed { reason } = outcome {
                anyhow::bail!("the sample {name}: {reason}");
            }
        }
        Ok(())
    }
}
