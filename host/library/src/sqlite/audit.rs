//! The audit log. Every append waits for the disk, so appends that arrive while one is being
//! written share the next transaction: one wait for all of them.
//! Not for: what links the events and signs the end (see `audit_chain`, `chain`).

mod chain;
mod entry;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use keyreel_format::TenantId;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, SqlitePool};
use tokio::sync::{mpsc, oneshot};

use super::{SqliteCatalogue, backend, cursor, parsed, to_i64, unsigned};
use crate::Error;
use crate::audit_chain::AuditKey;
use crate::audit_mark::Marker;
use crate::catalogue::{AuditEvent, AuditQuery, AuditRecord, AuditScope, Page};
use chain::Log;
pub(super) use chain::{has_marked, heads, link_what_was_there, links, was_there};

/// Appends that wait; more make the callers wait.
const QUEUE: usize = 4096;
/// Events in one transaction; ten values each must stay under SQLite's 32,766.
const MAX_EVENTS: usize = 2000;
/// As in `recordings`.
const MAX_BRANCHES: usize = 400;

/// The one task that writes the log.
#[derive(Clone)]
pub(super) struct Appender {
    queue: mpsc::Sender<Append>,
    key: Arc<OnceLock<AuditKey>>,
    marker: Arc<Marker>,
}

struct Append {
    events: Vec<AuditEvent>,
    after: After,
    done: oneshot::Sender<Result<(), Error>>,
}

/// What an append goes on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// The signed head: what does not end there is not gone on with.
    Head,
    /// Whatever the log ends with: somebody has looked into it.
    Anything,
}

/// Whether a log that has events and no head may be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// It was linked just now, by this process: it is from before there were heads.
    LinkedNow,
    /// Its head was taken away.
    Known,
}

impl Appender {
    /// Starts it; it ends with the last clone of the catalogue.
    pub(super) fn start(write: SqlitePool, origin: Origin) -> Self {
        let (queue, receiver) = mpsc::channel(QUEUE);
        let key = Arc::<OnceLock<AuditKey>>::default();
        let marker = Arc::<Marker>::default();
        let log = Log::new(write, key.clone(), marker.clone(), origin);
        tokio::spawn(run(log, receiver));
        Self { queue, key, marker }
    }

    /// Where the log's end is marked.
    pub(super) fn marker(&self) -> &Marker {
        &self.marker
    }

    /// Has the log's head signed from now on. The first key stays.
    pub(super) fn sign_with(&self, key: AuditKey) {
        // Set already: by a clone of the catalogue.
        let _ = self.key.set(key);
    }

    pub(super) async fn append(&self, events: &[AuditEvent], after: After) -> Result<(), Error> {
        if events.len() > MAX_EVENTS {
            return Err(Error::invalid(
                "audit events",
                format!("more than {MAX_EVENTS} at once"),
            ));
        }
        if events.is_empty() {
            return Ok(());
        }
        let (done, answer) = oneshot::channel();
        let ended = || backend("the audit log's writer has ended");
        let append = Append {
            events: events.to_vec(),
            after,
            done,
        };
        self.queue.send(append).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

async fn run(mut log: Log, mut queue: mpsc::Receiver<Append>) {
    let mut next = None;
    loop {
        let Some(first) = (match next.take() {
            Some(append) => Some(append),
            None => queue.recv().await,
        }) else {
            return;
        };
        let mut events = first.events.len();
        let after = first.after;
        let mut group = vec![first];
        while let Ok(append) = queue.try_recv() {
            events += append.events.len();
            if events > MAX_EVENTS || append.after != after {
                next = Some(append);
                break;
            }
            group.push(append);
        }
        commit(&mut log, group).await;
    }
}

/// Writes a group in one transaction. Where that fails, each append is tried alone, so that one
/// caller's mistake is not another's.
async fn commit(log: &mut Log, group: Vec<Append>) {
    if let [first, _, ..] = group.as_slice() {
        let all: Vec<&AuditEvent> = group.iter().flat_map(|append| &append.events).collect();
        if log.append(&all, first.after).await.is_ok() {
            for append in group {
                // A caller that has gone away does not mind.
                let _ = append.done.send(Ok(()));
            }
            return;
        }
    }
    for append in group {
        let events: Vec<&AuditEvent> = append.events.iter().collect();
        let result = log.append(&events, append.after).await;
        let _ = append.done.send(result);
    }
}

pub(super) async fn page(
    catalogue: &SqliteCatalogue,
    query: &AuditQuery,
) -> Result<Page<AuditRecord>, Error> {
    let limit = usize::try_from(query.limit.clamp(1, 200)).unwrap_or(200);
    let after = query
        .cursor
        .as_deref()
        .map(|text| cursor::decode(cursor::Kind::Audit, text))
        .transpose()?;
    let mut named = HashSet::new();
    let tenants: Vec<_> = query
        .tenants
        .iter()
        .filter(|tenant| named.insert(*tenant))
        .collect();
    let branches = match query.scope {
        AuditScope::Tenants => tenants.into_iter().map(Some).collect(),
        AuditScope::Everything => vec![None],
    };
    let mut found = Vec::new();
    for some in branches.chunks(MAX_BRANCHES) {
        let mut sql = QueryBuilder::new("SELECT * FROM (");
        for (index, tenant) in some.iter().enumerate() {
            if index > 0 {
                sql.push(" UNION ALL ");
            }
            push_branch(&mut sql, query, *tenant, after)?;
            sql.push(" LIMIT ")
                .push_bind(to_i64("limit", limit as u64 + 1)?)
                .push(")");
        }
        sql.push(") ORDER BY at_ms DESC, seq DESC");
        for row in sql
            .build()
            .fetch_all(&catalogue.read)
            .await
            .map_err(backend)?
        {
            found.push(event_from(&row)?);
        }
    }
    found.sort_by_key(|(key, _)| std::cmp::Reverse(*key));
    let more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().map(|(key, _)| *key).filter(|_| more);
    Ok(Page {
        next: last.map(|key| cursor::encode(cursor::Kind::Audit, key)),
        items: found.into_iter().map(|(_, event)| event).collect(),
    })
}

fn push_branch(
    sql: &mut QueryBuilder<Sqlite>,
    query: &AuditQuery,
    tenant: Option<&TenantId>,
    after: Option<[i64; 2]>,
) -> Result<(), Error> {
    let index = match (tenant, &query.recording, &query.subject, &query.action) {
        (None, ..) => "audit_time",
        (_, Some(_), ..) => "audit_recording",
        (_, None, Some(_), _) => "audit_subject",
        (_, None, None, Some(_)) => "audit_action",
        (_, None, None, None) => "audit_tenant",
    };
    sql.push(format_args!(
        "SELECT * FROM (SELECT * FROM audit INDEXED BY {index} WHERE "
    ));
    match tenant {
        Some(tenant) => sql.push("tenant = ").push_bind(tenant.as_str().to_owned()),
        // Any time.
        None => sql.push("at_ms >= 0"),
    };
    if let Some(recording) = &query.recording {
        sql.push(" AND recording = ")
            .push_bind(recording.as_str().to_owned());
    }
    if let Some(action) = &query.action {
        sql.push(" AND action = ").push_bind(action.clone());
    }
    if let Some(subject) = &query.subject {
        sql.push(" AND subject = ").push_bind(subject.clone());
    }
    if let Some(outcome) = &query.outcome {
        sql.push(" AND outcome = ").push_bind(outcome.clone());
    }
    if let Some(from) = query.from_ms {
        sql.push(" AND at_ms >= ").push_bind(to_i64("from", from)?);
    }
    if let Some(to) = query.to_ms {
        sql.push(" AND at_ms < ").push_bind(to_i64("to", to)?);
    }
    if let Some([at_ms, seq]) = after {
        sql.push(" AND (at_ms, seq) < (")
            .push_bind(at_ms)
            .push(", ")
            .push_bind(seq)
            .push(")");
    }
    sql.push(" ORDER BY at_ms DESC, seq DESC");
    Ok(())
}

fn event_from(row: &SqliteRow) -> Result<([i64; 2], AuditRecord), Error> {
    let key = [
        row.try_get("at_ms").map_err(backend)?,
        row.try_get("seq").map_err(backend)?,
    ];
    let id: String = row.try_get("id").map_err(backend)?;
    let fields: &str = row.try_get("fields").map_err(backend)?;
    let optional = |column: &str| {
        row.try_get::<Option<&str>, _>(column)
            .map(|text| text.is_some())
            .map_err(backend)
    };
    let event = AuditEvent {
        at_ms: unsigned(row, "at_ms")?,
        action: row.try_get("action").map_err(backend)?,
        tenant: if optional("tenant")? {
            Some(parsed(row, "tenant")?)
        } else {
            None
        },
        subject: row.try_get("subject").map_err(backend)?,
        recording: if optional("recording")? {
            Some(parsed(row, "recording")?)
        } else {
            None
        },
        outcome: row.try_get("outcome").map_err(backend)?,
        fields: serde_json::from_str(fields)
            .map_err(|_| Error::damaged(format!("fields of audit event {id}")))?,
        id,
    };
    let record = AuditRecord {
        seq: unsigned(row, "seq")?,
        hash: chain::hash_from(row, "hash")?,
        event,
    };
    Ok((key, record))
}
