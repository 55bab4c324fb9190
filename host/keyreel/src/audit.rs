//! `keyreel audit …`: the whole audit log, for those who run the server. What belongs to no tenant
//! (an unknown name at the sign-in) is in no tenant's log, so it is read here.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Subcommand;
use keyreel_keys::{Clock as _, SystemClock, TenantId};
use keyreel_library::audit_chain::{Broken, SignedHead, verify};
use keyreel_library::{
    AuditEvent, AuditMarks as _, AuditQuery, AuditRecord, AuditScope, Catalogue, KeystoreMarks,
    Page,
};
use serde_json::json;

use crate::ConfigFile;
use crate::assemble;
use crate::config::Config;
use crate::output::{self, Usage};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// The newest events, one JSON object a line, oldest first.
    Tail(Tail),
    /// Reads the whole log and checks that it is what was written: finds edits, removals,
    /// reordering, a log cut short, emptied or exchanged. Ends with 1 where it is not.
    Verify(Verify),
    /// The whole log, oldest first, one JSON object a line, with what the chain's hashes cover.
    Export(ConfigFile),
    /// The log's end, signed: one JSON object. Keep it elsewhere; `verify --checkpoint` shows
    /// whether the log still goes on from there.
    Checkpoint(ConfigFile),
    /// The public key that the log's end is signed with (Ed25519): one JSON object.
    Key(ConfigFile),
    /// Goes on with a log that `verify` found broken, from wherever it ends now. Look into it
    /// first: this is recorded.
    Resume(Resume),
}

#[derive(clap::Args)]
pub(crate) struct Verify {
    /// A checkpoint that was kept elsewhere; repeat for more.
    #[arg(long = "checkpoint", value_name = "FILE")]
    checkpoints: Vec<PathBuf>,
    #[command(flatten)]
    file: ConfigFile,
}

#[derive(clap::Args)]
pub(crate) struct Resume {
    /// Why, for the log: what was found, and who decided.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    file: ConfigFile,
}

#[derive(clap::Args)]
pub(crate) struct Tail {
    /// How many events.
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 50)]
    lines: usize,
    /// Goes on with what is written from then on, until it is stopped.
    #[arg(long, short)]
    follow: bool,
    /// Only of this tenant; repeat for more. Default everybody's and nobody's.
    #[arg(long = "tenant", value_name = "ID")]
    tenants: Vec<TenantId>,
    /// Only this action: "session.refused".
    #[arg(long)]
    action: Option<String>,
    #[command(flatten)]
    file: ConfigFile,
}

pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Tail(args) => tail(args).await,
        Command::Verify(args) => check(&args).await,
        Command::Export(file) => export(&file).await,
        Command::Checkpoint(file) => checkpoint(&file).await,
        Command::Key(file) => key(&file),
        Command::Resume(args) => resume(&args).await,
    }
}

async fn check(args: &Verify) -> anyhow::Result<()> {
    let mut kept = Vec::new();
    for path in &args.checkpoints {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Usage::new(format!("{}: {error}", path.display())))?;
        let head: SignedHead = serde_json::from_str(&text).map_err(|error| {
            let message = format!("{}: {error}", path.display());
            Usage::with_hint(message, "`keyreel audit checkpoint` writes one")
        })?;
        kept.push(head);
    }
    let config = Config::read(&args.file)?;
    let keystore = Arc::new(assemble::keystore(&config)?);
    let key = assemble::audit_key(&keystore)?;
    let catalogue = assemble::catalogue(&config).await?;
    let mark = KeystoreMarks(keystore).read()?;
    match verify(&*catalogue, key.public(), &kept, mark).await {
        Ok(verified) => {
            output::note(&format!(
                "the audit log is what was written: {} events, {} checkpoints",
                verified.events, verified.checkpoints
            ));
            output::data(&serde_json::to_string(&verified)?)
        }
        Err(Broken::Library(error)) => Err(error.into()),
        Err(broken) => Err(broken).context("the audit log is not what was written"),
    }
}

async fn export(file: &ConfigFile) -> anyhow::Result<()> {
    let catalogue = assemble::catalogue(&Config::read(file)?).await?;
    let mut after = 0;
    loop {
        let links = catalogue.audit_links(after, 1000).await?;
        let Some(last) = links.last() else {
            return Ok(());
        };
        after = last.seq;
        for link in &links {
            let line = json!({
                "seq": link.seq, "atMs": link.at_ms, "id": link.id, "action": link.action,
                "tenant": link.tenant, "subject": link.subject, "recording": link.recording,
                "outcome": link.outcome, "fields": link.fields, "hash": link.hash.map(hex::encode),
            });
            output::data(&line.to_string())?;
        }
    }
}

async fn checkpoint(file: &ConfigFile) -> anyhow::Result<()> {
    let catalogue = assemble::catalogue(&Config::read(file)?).await?;
    let head = catalogue.audit_heads().await?.head;
    let head = head.context("nothing was written to the audit log yet")?;
    output::data(&serde_json::to_string(&head)?)
}

fn key(file: &ConfigFile) -> anyhow::Result<()> {
    let key = assemble::audit_key(&assemble::keystore(&Config::read(file)?)?)?;
    let public = key.public();
    let line = json!({
        "key": public.id(), "algorithm": "Ed25519", "publicKey": STANDARD.encode(public.bytes()),
    });
    output::data(&line.to_string())
}

async fn resume(args: &Resume) -> anyhow::Result<()> {
    let config = Config::read(&args.file)?;
    let keystore = Arc::new(assemble::keystore(&config)?);
    let key = assemble::audit_key(&keystore)?;
    let marks = KeystoreMarks(keystore);
    let catalogue = assemble::sqlite(&config).await?;
    let mark = marks.read()?;
    let broken = match verify(&catalogue, key.public(), &[], mark).await {
        Ok(_) => {
            return Err(
                Usage::new("the audit log is sound: there is nothing to go on from").into(),
            );
        }
        // That it could not be read says nothing of what was done to it.
        Err(Broken::Library(error)) => return Err(error.into()),
        Err(broken) => broken,
    };
    catalogue.sign_audit_with(key);
    catalogue.mark_audit_in(Arc::new(marks));
    let mut event = AuditEvent::new("audit.resumed", SystemClock.now_ms(), "operator");
    event.fields = serde_json::Map::from_iter([
        ("found".to_owned(), broken.to_string().into()),
        ("reason".to_owned(), args.reason.as_str().into()),
    ]);
    catalogue.resume_audit(&event).await?;
    output::note(
        "the log goes on; what is broken within it stays so, and `verify` keeps saying it",
    );
    Ok(())
}

async fn tail(args: Tail) -> anyhow::Result<()> {
    let catalogue = assemble::catalogue(&Config::read(&args.file)?).await?;
    let query = args.query();
    // To follow, one has to know what is not new, also where fewer lines are wanted.
    let enough = |found: &[AuditRecord]| {
        let since = found.first().map_or(0, overlapping);
        let oldest = found.last().map_or(0, |record| record.event.at_ms);
        found.len() >= args.lines && (!args.follow || oldest < since)
    };
    let found = newest(&*catalogue, &query, enough).await?;
    for record in found.iter().take(args.lines).rev() {
        print(record)?;
    }
    if args.follow {
        follow(&*catalogue, &query, found).await?;
    }
    Ok(())
}

/// Events, newest first, until there are enough or no more.
async fn newest(
    catalogue: &dyn Catalogue,
    query: &AuditQuery,
    enough: impl Fn(&[AuditRecord]) -> bool,
) -> anyhow::Result<Vec<AuditRecord>> {
    let mut found = Vec::new();
    let mut cursor = None;
    while !enough(&found) {
        let query = AuditQuery {
            cursor,
            limit: PAGE,
            ..query.clone()
        };
        let Page { items, next } = catalogue.audit(&query).await?;
        found.extend(items);
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    Ok(found)
}

/// From when on something may have been added to what stands before `record`.
fn overlapping(record: &AuditRecord) -> u64 {
    record.event.at_ms.saturating_sub(OVERLAP_MS)
}

/// Prints what is new, again and again. An event of another process may be a little older than one
/// that was there before it, so the last seconds are looked at every time.
async fn follow(
    catalogue: &dyn Catalogue,
    query: &AuditQuery,
    mut found: Vec<AuditRecord>,
) -> anyhow::Result<()> {
    loop {
        let from_ms = Some(found.first().map_or(0, overlapping));
        let known: HashSet<String> = found.into_iter().map(|record| record.event.id).collect();
        tokio::time::sleep(EVERY).await;
        let recent = AuditQuery {
            from_ms,
            ..query.clone()
        };
        found = newest(catalogue, &recent, |_| false).await?;
        for record in found.iter().rev() {
            if !known.contains(&record.event.id) {
                print(record)?;
            }
        }
    }
}

impl Tail {
    fn query(&self) -> AuditQuery {
        AuditQuery {
            scope: if self.tenants.is_empty() {
                AuditScope::Everything
            } else {
                AuditScope::Tenants
            },
            tenants: self.tenants.clone(),
            action: self.action.clone(),
            ..AuditQuery::default()
        }
    }
}

/// That it was begun is on record; this is that it did not end.
pub(crate) async fn failed(catalogue: &dyn Catalogue, begun: &[AuditEvent]) {
    let failed = begun.iter().map(|event| AuditEvent {
        tenant: event.tenant.clone(),
        outcome: "unavailable".to_owned(),
        fields: event.fields.clone(),
        ..AuditEvent::new(&event.action, SystemClock.now_ms(), &event.subject)
    });
    let failed: Vec<_> = failed.collect();
    if let Err(error) = catalogue.append_audit(&failed).await {
        output::note(&format!("that it failed could not be recorded: {error}"));
    }
}

fn print(record: &AuditRecord) -> anyhow::Result<()> {
    let mut line = serde_json::to_value(&record.event)?;
    if let Some(fields) = line.as_object_mut()
        && let Some(at) = output::instant(record.event.at_ms)
    {
        fields.remove("atMs");
        fields.insert("at".to_owned(), at.into());
        fields.insert("seq".to_owned(), record.seq.into());
    }
    output::data(&line.to_string())
}

const PAGE: u32 = 200;
const EVERY: Duration = Duration::from_secs(1);
/// What a slow transaction may be late by.
const OVERLAP_MS: u64 = 10_000;
