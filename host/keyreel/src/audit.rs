//! `keyreel audit tail`: the whole audit log, for those who run the server. What belongs to no
//! tenant (an unknown name at the sign-in) is in no tenant's log, so it is read here.

use std::collections::HashSet;
use std::time::Duration;

use clap::Subcommand;
use keyreel_keys::TenantId;
use keyreel_library::{AuditEvent, AuditQuery, AuditScope, Catalogue, Page};

use crate::ConfigFile;
use crate::assemble;
use crate::config::Config;
use crate::output;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// The newest events, one JSON object a line, oldest first.
    Tail(Tail),
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
    let Command::Tail(args) = command;
    let catalogue = assemble::catalogue(&Config::read(&args.file)?).await?;
    let query = args.query();
    // To follow, one has to know what is not new, also where fewer lines are wanted.
    let enough = |found: &[AuditEvent]| {
        let since = found.first().map_or(0, overlapping);
        let oldest = found.last().map_or(0, |event| event.at_ms);
        found.len() >= args.lines && (!args.follow || oldest < since)
    };
    let found = newest(&*catalogue, &query, enough).await?;
    for event in found.iter().take(args.lines).rev() {
        print(event)?;
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
    enough: impl Fn(&[AuditEvent]) -> bool,
) -> anyhow::Result<Vec<AuditEvent>> {
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

/// From when on something may have been added to what stands before `event`.
fn overlapping(event: &AuditEvent) -> u64 {
    event.at_ms.saturating_sub(OVERLAP_MS)
}

/// Prints what is new, again and again. An event of another process may be a little older than one
/// that was there before it, so the last seconds are looked at every time.
async fn follow(
    catalogue: &dyn Catalogue,
    query: &AuditQuery,
    mut found: Vec<AuditEvent>,
) -> anyhow::Result<()> {
    loop {
        let from_ms = Some(found.first().map_or(0, overlapping));
        let known: HashSet<String> = found.into_iter().map(|event| event.id).collect();
        tokio::time::sleep(EVERY).await;
        let recent = AuditQuery {
            from_ms,
            ..query.clone()
        };
        found = newest(catalogue, &recent, |_| false).await?;
        for event in found.iter().rev() {
            if !known.contains(&event.id) {
                print(event)?;
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

fn print(event: &AuditEvent) -> anyhow::Result<()> {
    let mut line = serde_json::to_value(event)?;
    if let Some(fields) = line.as_object_mut()
        && let Some(at) = i64::try_from(event.at_ms)
            .ok()
            .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
    {
        // As the API says it.
        fields.remove("atMs");
        fields.insert("at".to_owned(), format!("{at:.3}").into());
    }
    output::data(&line.to_string())
}

const PAGE: u32 = 200;
const EVERY: Duration = Duration::from_secs(1);
/// What a slow transaction may be late by.
const OVERLAP_MS: u64 = 10_000;
