//! The chain in SQLite: each append is linked to the row before it and signed as the log's end, in
//! one transaction.

use std::sync::{Arc, OnceLock};

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection, SqlitePool};

use super::super::{backend, exists, to_i64, unsigned};
use super::{After, Origin};
use crate::Error;
use crate::audit_chain::{AuditHeads, AuditKey, AuditLink, SignedHead};
use crate::audit_mark::{AuditMark, Marker};
use crate::catalogue::AuditEvent;

/// Every so many events a head is kept.
const CHECKPOINT_EVENTS: u64 = 1000;
/// And where the last one is older than this.
const CHECKPOINT_MS: u64 = 24 * 3600 * 1000;
/// Rows linked in one go when a log from before the chain is opened.
const LINKED_AT_ONCE: u32 = 2000;

const LINK: &str = "SELECT seq, at_ms, id, action, tenant, subject, recording, outcome, fields, \
    hash FROM audit ";

/// The log's end, as its only writer in this process knows it.
pub(super) struct Log {
    write: SqlitePool,
    key: Arc<OnceLock<AuditKey>>,
    origin: Origin,
    marker: Arc<Marker>,
    /// Whether the log's end was ever marked.
    marked: bool,
    /// The head that this process wrote or verified last.
    known: Option<SignedHead>,
}

/// Where the log ends.
#[derive(Clone, Copy, PartialEq, Eq)]
struct End {
    seq: u64,
    hash: [u8; 32],
}

impl Log {
    pub(super) fn new(
        write: SqlitePool,
        key: Arc<OnceLock<AuditKey>>,
        marker: Arc<Marker>,
        origin: Origin,
    ) -> Self {
        Self {
            write,
            key,
            origin,
            marker,
            marked: false,
            known: None,
        }
    }

    /// Appends events: all or none.
    pub(super) async fn append(
        &mut self,
        events: &[&AuditEvent],
        after: After,
    ) -> Result<(), Error> {
        let mut tx = self
            .write
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(backend)?;
        let mut end = self.end(&mut tx, after).await?;
        let mut links = Vec::with_capacity(events.len());
        for event in events {
            let link = link_after(end, event)?;
            end = End {
                seq: link.seq,
                hash: link.hash.unwrap_or_default(),
            };
            links.push(link);
        }
        insert(&mut tx, &links).await?;
        let at_ms = events.last().map_or(0, |event| event.at_ms);
        let key = self.key.get();
        let head = key.map(|key| (key, key.sign(end.seq, at_ms, end.hash)));
        let mut kept = false;
        if let Some((key, head)) = &head {
            kept = put_head(&mut tx, key, head, after).await?;
        }
        let head = head.map(|(_, head)| head);
        tx.commit().await.map_err(backend)?;
        if let Some(head) = &head {
            self.marker.reached(head.into());
            match after {
                After::Anything => self.marker.mark_anew().await?,
                After::Head if kept || !self.marked => self.marker.mark_soon(),
                After::Head => {}
            }
            self.marked = true;
        }
        self.known = head;
        Ok(())
    }

    /// Where the log ends, if that is where it was signed as ending.
    async fn end(&mut self, tx: &mut SqliteConnection, after: After) -> Result<End, Error> {
        let last = last(tx).await?;
        let head = head(tx).await?;
        let broken = |reason: String| Err(Error::AuditBroken { reason });
        if after == After::Anything {
            return Ok(last.unwrap_or(START));
        }
        let Some(key) = self.key.get() else {
            return match head {
                None => Ok(last.unwrap_or(START)),
                Some(_) => Err(Error::invalid(
                    "audit log",
                    "it is signed, and was opened without its key",
                )),
            };
        };
        // Once: what this process has seen since stands in `known`.
        if self.known.is_none() {
            let mark = self.marker.read().await?;
            if let Some(mark) = mark {
                holds(tx, mark).await?;
            }
            self.marked = mark.is_some();
        }
        match (head, &self.known, last) {
            (None, Some(known), _) => broken(format!(
                "its signed head, at event {}, was taken away",
                known.seq
            )),
            (None, None, None) => Ok(START),
            (None, None, Some(last)) if self.origin == Origin::LinkedNow => Ok(last),
            (None, None, Some(last)) => {
                broken(format!("it has {} events and no signed head", last.seq))
            }
            (Some(head), known, last) => {
                if known.as_ref().is_some_and(|known| known.seq > head.seq) {
                    return broken(format!(
                        "an older copy, that ends with event {}, was put in its place",
                        head.seq
                    ));
                }
                if known.as_ref() != Some(&head) && !key.public().signed(&head) {
                    return broken(format!(
                        "the signature of its head, at event {}, is not the audit key's",
                        head.seq
                    ));
                }
                let found = last.unwrap_or(START);
                let signed = End {
                    seq: head.seq,
                    hash: head.hash,
                };
                if found != signed {
                    return broken(format!(
                        "it ends with event {}, but was signed as ending with {}, or that event \
                         is another",
                        found.seq, signed.seq
                    ));
                }
                Ok(signed)
            }
        }
    }
}

/// Whether the log has the event that was marked as its end once.
async fn holds(tx: &mut SqliteConnection, mark: AuditMark) -> Result<(), Error> {
    let row = sqlx::query("SELECT hash FROM audit WHERE seq = ?")
        .bind(to_i64("number", mark.seq)?)
        .fetch_optional(&mut *tx)
        .await
        .map_err(backend)?;
    let seq = mark.seq;
    let reason = match row {
        Some(row) if hash_from(&row)? == Some(mark.hash) => return Ok(()),
        Some(_) => format!("event {seq} is not the one that the keystore has marked: {REPLACED}"),
        None => {
            let end = last(tx).await?.unwrap_or(START).seq;
            format!("it ends with event {end}, and the keystore has event {seq} marked: {REPLACED}")
        }
    };
    Err(Error::AuditBroken { reason })
}

const REPLACED: &str = "it was emptied, or another log was put in its place. Where a backup of the \
    database was restored on purpose, that is it: `keyreel audit resume` goes on from there";

const START: End = End {
    seq: 0,
    hash: [0; 32],
};

fn link_after(end: End, event: &AuditEvent) -> Result<AuditLink, Error> {
    let mut link = AuditLink {
        seq: end.seq + 1,
        at_ms: event.at_ms,
        id: event.id.clone(),
        action: event.action.clone(),
        tenant: event.tenant.as_ref().map(|id| id.as_str().to_owned()),
        subject: event.subject.clone(),
        recording: event.recording.as_ref().map(|id| id.as_str().to_owned()),
        outcome: event.outcome.clone(),
        fields: serde_json::to_string(&event.fields).map_err(backend)?,
        hash: None,
    };
    link.hash = Some(link.hash_after(&end.hash));
    Ok(link)
}

async fn insert(tx: &mut SqliteConnection, links: &[AuditLink]) -> Result<(), Error> {
    let mut rows = Vec::with_capacity(links.len());
    for link in links {
        rows.push((
            link,
            to_i64("number", link.seq)?,
            to_i64("time", link.at_ms)?,
        ));
    }
    let mut insert = QueryBuilder::<Sqlite>::new(
        "INSERT INTO audit (seq, id, at_ms, action, tenant, subject, recording, outcome, fields, \
         hash) ",
    );
    insert.push_values(&rows, |mut row, (link, seq, at_ms)| {
        row.push_bind(seq)
            .push_bind(&link.id)
            .push_bind(at_ms)
            .push_bind(&link.action)
            .push_bind(&link.tenant)
            .push_bind(&link.subject)
            .push_bind(&link.recording)
            .push_bind(&link.outcome)
            .push_bind(&link.fields)
            .push_bind(link.hash.map(Vec::from));
    });
    // Groups differ in size: only those of one are worth keeping prepared.
    insert
        .build()
        .persistent(rows.len() == 1)
        .execute(tx)
        .await
        .map_err(|error| exists(error, || "an audit event of this id".to_owned()))?;
    Ok(())
}

/// The new end, and a checkpoint where one is due; whether one was. After a break the end is always
/// kept: the rest of the log can be verified from there.
async fn put_head(
    tx: &mut SqliteConnection,
    key: &AuditKey,
    head: &SignedHead,
    after: After,
) -> Result<bool, Error> {
    let last = sqlx::query("SELECT seq, at_ms FROM audit_checkpoint ORDER BY seq DESC LIMIT 1")
        .fetch_optional(&mut *tx)
        .await
        .map_err(backend)?;
    let due = match last {
        None => true,
        Some(row) => {
            head.seq / CHECKPOINT_EVENTS > unsigned(&row, "seq")? / CHECKPOINT_EVENTS
                || head.at_ms >= unsigned(&row, "at_ms")?.saturating_add(CHECKPOINT_MS)
        }
    };
    put(tx, PUT_HEAD, head).await?;
    let kept = due || after == After::Anything;
    if kept {
        put(tx, PUT_CHECKPOINT, &key.sign_checkpoint(head)).await?;
    }
    Ok(kept)
}

async fn put(
    tx: &mut SqliteConnection,
    statement: &'static str,
    head: &SignedHead,
) -> Result<(), Error> {
    sqlx::query(statement)
        .bind(to_i64("number", head.seq)?)
        .bind(to_i64("time", head.at_ms)?)
        .bind(head.hash.as_slice())
        .bind(&head.key)
        .bind(&head.signature)
        .execute(tx)
        .await
        .map_err(backend)?;
    Ok(())
}

const PUT_HEAD: &str = "INSERT OR REPLACE INTO audit_head (only, seq, at_ms, hash, key, signature) \
    VALUES (1, ?, ?, ?, ?, ?)";
const PUT_CHECKPOINT: &str = "INSERT OR REPLACE INTO audit_checkpoint (seq, at_ms, hash, key, \
    signature) VALUES (?, ?, ?, ?, ?)";

async fn last(tx: &mut SqliteConnection) -> Result<Option<End>, Error> {
    let row = sqlx::query("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")
        .fetch_optional(tx)
        .await
        .map_err(backend)?;
    row.map(|row| {
        Ok(End {
            seq: unsigned(&row, "seq")?,
            // Taken out: it is not what was signed.
            hash: hash_from(&row)?.unwrap_or_default(),
        })
    })
    .transpose()
}

async fn head(tx: &mut SqliteConnection) -> Result<Option<SignedHead>, Error> {
    let row = sqlx::query("SELECT seq, at_ms, hash, key, signature FROM audit_head")
        .fetch_optional(tx)
        .await
        .map_err(backend)?;
    row.map(|row| head_from(&row)).transpose()
}

/// Whether the log has the event that is marked.
pub(in super::super) async fn has_marked(read: &SqlitePool, mark: AuditMark) -> Result<(), Error> {
    let mut tx = read.begin().await.map_err(backend)?;
    holds(&mut tx, mark).await
}

/// The head and the checkpoints.
pub(in super::super) async fn heads(read: &SqlitePool) -> Result<AuditHeads, Error> {
    let mut tx = read.begin().await.map_err(backend)?;
    let head = head(&mut tx).await?;
    let rows =
        sqlx::query("SELECT seq, at_ms, hash, key, signature FROM audit_checkpoint ORDER BY seq")
            .fetch_all(&mut *tx)
            .await
            .map_err(backend)?;
    Ok(AuditHeads {
        head,
        checkpoints: rows.iter().map(head_from).collect::<Result<_, _>>()?,
    })
}

/// Rows in the order of their numbers, as they are stored.
pub(in super::super) async fn links(
    read: &SqlitePool,
    after: u64,
    limit: u32,
) -> Result<Vec<AuditLink>, Error> {
    let mut select = QueryBuilder::<Sqlite>::new(LINK);
    select
        .push("WHERE seq > ")
        .push_bind(to_i64("number", after)?);
    select.push(" ORDER BY seq LIMIT ").push_bind(limit);
    let rows = select.build().fetch_all(read).await.map_err(backend)?;
    rows.iter().map(link_from).collect()
}

/// Whether this database had a chain before the migrations ran.
pub(in super::super) async fn was_there(write: &SqlitePool) -> Result<bool, Error> {
    let found: i64 =
        sqlx::query_scalar("SELECT count(*) FROM pragma_table_info('audit') WHERE name = 'hash'")
            .fetch_one(write)
            .await
            .map_err(backend)?;
    Ok(found > 0)
}

/// Links the rows of a log from before there was a chain. Their numbers may have gaps, which were
/// never written: they are closed.
pub(in super::super) async fn link_what_was_there(write: &SqlitePool) -> Result<(), Error> {
    let mut tx = write.begin_with("BEGIN IMMEDIATE").await.map_err(backend)?;
    let mut end = START;
    // Numbers only sink, so a row that was passed is not met again.
    let mut passed = 0;
    loop {
        let mut select = QueryBuilder::<Sqlite>::new(LINK);
        select
            .push("WHERE seq > ")
            .push_bind(to_i64("number", passed)?);
        select
            .push(" ORDER BY seq LIMIT ")
            .push_bind(LINKED_AT_ONCE);
        let rows = select.build().fetch_all(&mut *tx).await.map_err(backend)?;
        if rows.is_empty() {
            break;
        }
        for row in &rows {
            let mut link = link_from(row)?;
            passed = link.seq;
            link.seq = end.seq + 1;
            end = End {
                seq: link.seq,
                hash: link.hash_after(&end.hash),
            };
            sqlx::query("UPDATE audit SET seq = ?, hash = ? WHERE seq = ?")
                .bind(to_i64("number", end.seq)?)
                .bind(end.hash.as_slice())
                .bind(to_i64("number", passed)?)
                .execute(&mut *tx)
                .await
                .map_err(backend)?;
        }
    }
    tx.commit().await.map_err(backend)
}

fn link_from(row: &SqliteRow) -> Result<AuditLink, Error> {
    let text = |column: &str| row.try_get::<String, _>(column).map_err(backend);
    let optional = |column: &str| row.try_get::<Option<String>, _>(column).map_err(backend);
    Ok(AuditLink {
        seq: unsigned(row, "seq")?,
        at_ms: unsigned(row, "at_ms")?,
        id: text("id")?,
        action: text("action")?,
        tenant: optional("tenant")?,
        subject: text("subject")?,
        recording: optional("recording")?,
        outcome: text("outcome")?,
        fields: text("fields")?,
        hash: hash_from(row)?,
    })
}

fn head_from(row: &SqliteRow) -> Result<SignedHead, Error> {
    Ok(SignedHead {
        seq: unsigned(row, "seq")?,
        at_ms: unsigned(row, "at_ms")?,
        hash: hash_from(row)?.ok_or_else(|| Error::damaged("head of the audit log"))?,
        key: row.try_get("key").map_err(backend)?,
        signature: row.try_get("signature").map_err(backend)?,
    })
}

pub(super) fn hash_from(row: &SqliteRow) -> Result<Option<[u8; 32]>, Error> {
    let hash: Option<&[u8]> = row.try_get("hash").map_err(backend)?;
    hash.map(|hash| {
        hash.try_into()
            .map_err(|_| Error::damaged("hash of an audit event"))
    })
    .transpose()
}
