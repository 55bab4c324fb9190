//! `keyreel keys rewrap` and `keyreel keys retire`: from older keys to the current one, and the end
//! of those.

use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use keyreel_keys::{KekId, ProviderId, TenantId};
use keyreel_library::{Error as LibraryError, RewrapJob, RewrapState, Rewrapper, lost_recordings};
use serde_json::json;

use super::{by, with_rewrapper};
use crate::ConfigFile;
use crate::output::{self, Usage};

const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(clap::Args)]
pub(crate) struct RewrapArgs {
    /// Whose recordings.
    #[arg(long, value_name = "ID")]
    tenant: TenantId,
    /// How many recordings are taken on in a second at most; as before, or 50, without it.
    #[arg(long, value_name = "COUNT")]
    per_second: Option<u32>,
    /// Waits for its end, and does it here where no server does. Without it, a server that runs
    /// takes it up within seconds.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    file: ConfigFile,
}

#[derive(clap::Args)]
pub(crate) struct RetireArgs {
    /// The key's id: "kek/1".
    id: KekId,
    /// Whose key.
    #[arg(long, value_name = "ID")]
    tenant: TenantId,
    /// Which plugin holds it.
    #[arg(long, value_name = "ID", default_value = "managed")]
    provider: ProviderId,
    /// Where recordings still need it: "lose N recordings", with their number. They can never be
    /// opened again.
    #[arg(long, value_name = "TEXT")]
    confirm: Option<String>,
    #[command(flatten)]
    file: ConfigFile,
}

pub(crate) async fn rewrap(args: RewrapArgs) -> anyhow::Result<()> {
    let (_, parts, rewrapper) = with_rewrapper(&args.file, &args.tenant).await?;
    let tenant = &args.tenant;
    let job = rewrapper.start(tenant, &by(), args.per_second).await?;
    output::note(&format!(
        "{} recordings of {tenant} are to be moved to the current key",
        job.total.saturating_sub(job.done)
    ));
    if !args.wait {
        parts.catalogue.close().await;
        output::note("a server that runs takes it up; `--wait` does it here");
        return print(&job);
    }
    let job = tokio::select! {
        ended = finish(&rewrapper, tenant) => ended?,
        error = show(&rewrapper, tenant, job) => return Err(error),
    };
    for (id, reason) in &job.failures {
        output::note(&format!("{id}: {reason}"));
    }
    parts.catalogue.close().await;
    print(&job)?;
    anyhow::ensure!(
        job.state == RewrapState::Done,
        "it is {}: {} recordings are not under the current key",
        job.state.as_str(),
        job.total.saturating_sub(job.done)
    );
    Ok(())
}

pub(crate) async fn retire(args: RetireArgs) -> anyhow::Result<()> {
    let lost = match &args.confirm {
        None => 0,
        Some(text) => lost_recordings(text)
            .ok_or_else(|| Usage::new("--confirm: expected \"lose N recordings\""))?,
    };
    let (_, parts, rewrapper) = with_rewrapper(&args.file, &args.tenant).await?;
    let name = (&args.provider, &args.id);
    let retired = rewrapper.retire(&args.tenant, name, lost, &by()).await;
    let record = match retired {
        Ok(record) => record,
        Err(error @ LibraryError::Wrap { .. }) => {
            let message = std::error::Error::source(&error)
                .map_or_else(|| error.to_string(), ToString::to_string);
            let hint = "`keyreel keys rewrap --wait` moves recordings to the current key; to lose \
                        them for good, confirm with --confirm \"lose N recordings\"";
            return Err(Usage::with_hint(message, hint).into());
        }
        Err(error) => return Err(error.into()),
    };
    // A server that runs would do it too. It can wait; the key is gone.
    if let Err(error) = rewrapper.sweep().await {
        output::note(&format!("old key records were left for later: {error}"));
    }
    parts.catalogue.close().await;
    output::data(
        &json!({
            "tenant": args.tenant,
            "provider": record.provider,
            "id": record.kek.id,
            "state": record.state.as_str(),
            "lost": lost,
        })
        .to_string(),
    )
}

/// Runs the job here, or waits while somebody else does.
async fn finish(rewrapper: &Rewrapper, tenant: &TenantId) -> anyhow::Result<RewrapJob> {
    loop {
        if let Some(ended) = rewrapper.run(tenant).await? {
            return Ok(ended);
        }
        let job = rewrapper
            .job(tenant)
            .await?
            .context("there is no re-wrap")?;
        if job.state != RewrapState::Running {
            return Ok(job);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Shows how it fares, on stderr, for as long as it is polled: a bar on a terminal, else a line now
/// and then.
async fn show(rewrapper: &Rewrapper, tenant: &TenantId, mut job: RewrapJob) -> anyhow::Error {
    let bar = ProgressBar::with_draw_target(Some(job.total), ProgressDrawTarget::stderr());
    let style = "{bar:30} {pos}/{len} recordings {eta} {msg}";
    bar.set_style(ProgressStyle::with_template(style).unwrap_or(ProgressStyle::default_bar()));
    let mut told = String::new();
    for look in 1u32.. {
        bar.set_length(job.total);
        bar.set_position(job.done);
        bar.set_message(job.last_error.clone().unwrap_or_default());
        let line = format!("{} of {}, {} failed", job.done, job.total, job.failed);
        if bar.is_hidden() && look.is_multiple_of(10) && line != told {
            output::note(&line);
            told = line;
        }
        tokio::time::sleep(LOOK_EVERY).await;
        match rewrapper.job(tenant).await {
            Ok(Some(now)) => job = now,
            Ok(None) => {}
            Err(error) => return error.into(),
        }
    }
    anyhow::anyhow!("it never ended")
}

fn print(job: &RewrapJob) -> anyhow::Result<()> {
    output::data(
        &json!({
            "state": job.state.as_str(),
            "total": job.total,
            "done": job.done,
            "failed": job.failed,
            "lastError": job.last_error,
        })
        .to_string(),
    )
}
