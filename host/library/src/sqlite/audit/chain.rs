//! The chain in SQLite: each append is linked to the row before it and signed as the log's end, in
//! one transaction.
//! Not for: what one such transaction writes (see `entry`).

use std::sync::{Arc, OnceLock};

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection, SqlitePool};

use super::super::{backend, optional_unsigned, to_i64, unsigned};
use super::entry::{Checkpoint, End, Entry, Onto, START};
use super::{After, Origin};
use crate::Error;
use crate::audit_chain::{AuditHeads, AuditKey, AuditLink, SignedHead};
use crate::audit_mark::{AuditMark, Marker};
use crate::catalogue::AuditEvent;

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
    /// What this process wrote last.
    known: Option<Known>,
}

/// The end of the log as it was left: what is still there needs no verifying again.
struct Known {
    head: SignedHead,
    checkpoint: Option<Checkpoint>,
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
        let entry = match self.go_on(events, after).await? {
            Some(entry) => entry,
            None => self.look_and_go_on(events, after).await?,
        };
        let Some(head) = entry.head else {
            self.known = None;
            return Ok(());
        };
        self.marker.reached((&head).into());
        match after {
            After::Anything => self.marker.mark_anew().await?,
            After::Head if entry.kept.is_some() || !self.marked => self.marker.mark_soon(),
            After::Head => {}
        }
        self.marked = true;
        self.known = Some(Known {
            head,
            checkpoint: entry.checkpoint,
        });
        Ok(())
    }

    /// Appends one event where the log still ends as this process left it: all in one request to
    /// the connection's thread, because somebody waits to listen. `None`, and nothing is written,
    /// where the log ends otherwise. Groups share what the longer way takes.
    ///
    /// sqlx knows nothing of this transaction: it is ended here, whatever happens. The appender's
    /// task, which calls this, is never cancelled.
    async fn go_on(&self, events: &[&AuditEvent], after: After) -> Result<Option<Entry>, Error> {
        let (Some(known), After::Head, [_]) = (&self.known, after, events) else {
            return Ok(None);
        };
        let entry = Entry::new(
            self.key.get(),
            events,
            (&known.head).into(),
            known.checkpoint,
            after,
        )?;
        let mut connection = self.write.acquire().await.map_err(backend)?;
        let written = entry.write(&mut connection, Onto::Known(&known.head)).await;
        if written.is_err() {
            // Where SQLite has rolled back by itself there is nothing to do.
            let _ = sqlx::query("ROLLBACK").execute(&mut *connection).await;
        }
        Ok(written?.then_some(entry))
    }

    /// Appends once it is clear where the log ends, and that it is whole there.
    async fn look_and_go_on(
        &mut self,
        events: &[&AuditEvent],
        after: After,
    ) -> Result<Entry, Error> {
        let mut tx = self
            .write
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(backend)?;
        let tail = tail(&mut tx).await?;
        let end = self.end(&mut tx, &tail, after).await?;
        let entry = Entry::new(self.key.get(), events, end, tail.checkpoint, after)?;
        entry.write(&mut tx, Onto::Anything).await?;
        tx.commit().await.map_err(backend)?;
        Ok(entry)
    }

    /// Where the log ends, if that is where it was signed as ending.
    async fn end(
        &mut self,
        tx: &mut SqliteConnection,
        tail: &Tail,
        after: After,
    ) -> Result<End, Error> {
        let Tail { last, head, .. } = tail;
        let last = *last;
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
        let known = self.known.as_ref().map(|known| &known.head);
        match (head, known, last) {
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
                if known.is_some_and(|known| known.seq > head.seq) {
                    return broken(format!(
                        "an older copy, that ends with event {}, was put in its place",
                        head.seq
                    ));
                }
                if known != Some(head) && !key.public().signed(head) {
                    return broken(format!(
                        "the signature of its head, at event {}, is not the audit key's",
                        head.seq
                    ));
                }
                let found = last.unwrap_or(START);
                let signed = End::from(head);
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
        Some(row) if hash_from(&row, "hash")? == Some(mark.hash) => return Ok(()),
        Some(_) => format!("event {seq} is not the one that the keystore has marked: {REPLACED}"),
        None => {
            let end = tail(tx).await?.last.unwrap_or(START).seq;
            format!("it ends with event {end}, and the keystore has event {seq} marked: {REPLACED}")
        }
    };
    Err(Error::AuditBroken { reason })
}

const REPLACED: &str = "it was emptied, or another log was put in its place. Where a backup of the \
    database was restored on purpose, that is it: `keyreel audit resume` goes on from there";

/// The log's end, as it stands in the database.
struct Tail {
    last: Option<End>,
    head: Option<SignedHead>,
    checkpoint: Option<Checkpoint>,
}

/// In one statement: each goes to the connection's thread and back.
async fn tail(tx: &mut SqliteConnection) -> Result<Tail, Error> {
    let row = sqlx::query(
        "SELECT last.seq AS last_seq, last.hash AS last_hash, \
         head.seq, head.at_ms, head.hash, head.key, head.signature, \
         kept.seq AS kept_seq, kept.at_ms AS kept_at_ms \
         FROM (SELECT 1) \
         LEFT JOIN (SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1) AS last ON true \
         LEFT JOIN audit_head AS head ON true \
         LEFT JOIN (SELECT seq, at_ms FROM audit_checkpoint ORDER BY seq DESC LIMIT 1) AS kept \
         ON true",
    )
    .fetch_one(tx)
    .await
    .map_err(backend)?;
    let number = |column: &str| optional_unsigned(&row, column);
    let last = match number("last_seq")? {
        Some(seq) => Some(End {
            seq,
            // Taken out: it is not what was signed.
            hash: hash_from(&row, "last_hash")?.unwrap_or_default(),
        }),
        None => None,
    };
    let head = match number("seq")? {
        Some(_) => Some(head_from(&row)?),
        None => None,
    };
    Ok(Tail {
        last,
        head,
        checkpoint: number("kept_seq")?
            .zip(number("kept_at_ms")?)
            .map(|(seq, at_ms)| Checkpoint { seq, at_ms }),
    })
}

/// Whether the log has the event that is marked.
pub(in super::super) async fn has_marked(read: &SqlitePool, mark: AuditMark) -> Result<(), Error> {
    let mut tx = read.begin().await.map_err(backend)?;
    holds(&mut tx, mark).await
}

/// The head and the checkpoints.
pub(in super::super) async fn heads(read: &SqlitePool) -> Result<AuditHeads, Error> {
    let mut tx = read.begin().await.map_err(backend)?;
    let head = tail(&mut tx).await?.head;
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
        hash: hash_from(row, "hash")?,
    })
}

fn head_from(row: &SqliteRow) -> Result<SignedHead, Error> {
    Ok(SignedHead {
        seq: unsigned(row, "seq")?,
        at_ms: unsigned(row, "at_ms")?,
        hash: hash_from(row, "hash")?.ok_or_else(|| Error::damaged("head of the audit log"))?,
        key: row.try_get("key").map_err(backend)?,
        signature: row.try_get("signature").map_err(backend)?,
    })
}

pub(super) fn hash_from(row: &SqliteRow, column: &str) -> Result<Option<[u8; 32]>, Error> {
    let hash: Option<&[u8]> = row.try_get(column).map_err(backend)?;
    hash.map(|hash| {
        hash.try_into()
            .map_err(|_| Error::damaged("hash of an audit event"))
    })
    .transpose()
}
