//! What is written to the log in one go: events, linked to its end, and its new end, signed.
//! Not for: finding out where the log ends (see `chain`).

use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::super::{backend, exists, to_i64};
use super::After;
use crate::Error;
use crate::audit_chain::{AuditKey, AuditLink, SignedHead};
use crate::catalogue::AuditEvent;

/// Every so many events a head is kept.
const CHECKPOINT_EVENTS: u64 = 1000;
/// And where the last one is older than this.
const CHECKPOINT_MS: u64 = 24 * 3600 * 1000;

/// Where the log ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) seq: u64,
    pub(super) hash: [u8; 32],
}

pub(super) const START: End = End {
    seq: 0,
    hash: [0; 32],
};

impl From<&SignedHead> for End {
    fn from(head: &SignedHead) -> Self {
        Self {
            seq: head.seq,
            hash: head.hash,
        }
    }
}

/// Which head was kept last.
#[derive(Clone, Copy)]
pub(super) struct Checkpoint {
    pub(super) seq: u64,
    pub(super) at_ms: u64,
}

/// Events on their way in, with what has to be written with them.
pub(super) struct Entry {
    links: Vec<AuditLink>,
    pub(super) head: Option<SignedHead>,
    /// The same head, signed as one that is kept.
    pub(super) kept: Option<SignedHead>,
    pub(super) checkpoint: Option<Checkpoint>,
}

/// What an entry is written after.
#[derive(Clone, Copy)]
pub(super) enum Onto<'a> {
    /// Whatever is there: within a transaction that has looked.
    Anything,
    /// This very end, and in a transaction of its own.
    Known(&'a SignedHead),
}

impl Entry {
    /// `events`, linked to `end` and, with a key, signed.
    pub(super) fn new(
        key: Option<&AuditKey>,
        events: &[&AuditEvent],
        mut end: End,
        checkpoint: Option<Checkpoint>,
        after: After,
    ) -> Result<Self, Error> {
        let mut links = Vec::with_capacity(events.len());
        for event in events {
            let link = link_after(end, event)?;
            end = End {
                seq: link.seq,
                hash: link.hash.unwrap_or_default(),
            };
            links.push(link);
        }
        let at_ms = events.last().map_or(0, |event| event.at_ms);
        let Some(key) = key else {
            return Ok(Self {
                links,
                head: None,
                kept: None,
                checkpoint,
            });
        };
        let head = key.sign(end.seq, at_ms, end.hash);
        // After a break the end is always kept: the rest of the log can be verified from there.
        let due = after == After::Anything || is_checkpoint_due(checkpoint, &head);
        Ok(Self {
            links,
            kept: due.then(|| key.sign_checkpoint(&head)),
            checkpoint: if due {
                Some(Checkpoint {
                    seq: head.seq,
                    at_ms: head.at_ms,
                })
            } else {
                checkpoint
            },
            head: Some(head),
        })
    }

    /// Writes the events, the new head, and the one to be kept. `false`, and nothing is written,
    /// where the log does not end as expected.
    ///
    /// # Errors
    /// [`Error::AuditBroken`] where not all of it was taken in: a trigger or a view in the
    /// database keeps events out.
    pub(super) async fn write(
        &self,
        connection: &mut SqliteConnection,
        onto: Onto<'_>,
    ) -> Result<bool, Error> {
        let mut sql = self.statement(onto)?;
        // Groups differ in size: only those of one are worth keeping prepared.
        let rows = sql
            .build()
            .persistent(self.links.len() == 1)
            .fetch_all(connection)
            .await
            .map_err(|error| exists(error, || "an audit event of this id".to_owned()))?;
        let heads = [&self.head, &self.kept].into_iter().flatten().count();
        match (rows.len(), onto) {
            (0, Onto::Known(_)) => Ok(false),
            (taken, _) if taken == self.links.len() + heads => Ok(true),
            _ => Err(Error::AuditBroken {
                reason:
                    "the database does not take in what is written: it has a trigger or a view \
                         in the log's place"
                        .to_owned(),
            }),
        }
    }

    fn statement(&self, onto: Onto<'_>) -> Result<QueryBuilder<Sqlite>, Error> {
        let mut rows = Vec::with_capacity(self.links.len());
        for link in &self.links {
            rows.push((
                link,
                to_i64("number", link.seq)?,
                to_i64("time", link.at_ms)?,
            ));
        }
        let mut sql = QueryBuilder::new("");
        if let Onto::Known(_) = onto {
            sql.push("BEGIN IMMEDIATE; ");
        }
        sql.push(
            "INSERT INTO audit (seq, id, at_ms, action, tenant, subject, recording, outcome, \
             fields, hash) SELECT * FROM (",
        );
        sql.push_values(&rows, |mut row, (link, seq, at_ms)| {
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
        sql.push(")");
        if let Onto::Known(head) = onto {
            sql.push(
                " WHERE EXISTS (SELECT 1 FROM audit_head WHERE (seq, at_ms, hash, key, signature) \
                 = (",
            );
            push_head(&mut sql, head)?;
            sql.push(")) AND (SELECT (seq, hash) = (");
            sql.push_bind(to_i64("number", head.seq)?).push(", ");
            sql.push_bind(head.hash.as_slice());
            sql.push(") FROM audit ORDER BY seq DESC LIMIT 1)");
        }
        sql.push(" RETURNING seq");
        let tables = [
            ("audit_head (only, ", "1, ", &self.head),
            ("audit_checkpoint (", "", &self.kept),
        ];
        for (table, only, head) in tables {
            let Some(head) = head else { continue };
            sql.push("; INSERT OR REPLACE INTO ").push(table);
            sql.push("seq, at_ms, hash, key, signature) SELECT ")
                .push(only);
            push_head(&mut sql, head)?;
            // Where nothing was inserted, this is not either.
            sql.push(" WHERE changes() > 0 RETURNING seq");
        }
        if let Onto::Known(_) = onto {
            sql.push("; COMMIT");
        }
        Ok(sql)
    }
}

fn push_head(sql: &mut QueryBuilder<Sqlite>, head: &SignedHead) -> Result<(), Error> {
    sql.separated(", ")
        .push_bind(to_i64("number", head.seq)?)
        .push_bind(to_i64("time", head.at_ms)?)
        .push_bind(head.hash.as_slice())
        .push_bind(&head.key)
        .push_bind(&head.signature);
    Ok(())
}

fn is_checkpoint_due(last: Option<Checkpoint>, head: &SignedHead) -> bool {
    last.is_none_or(|last| {
        head.seq / CHECKPOINT_EVENTS > last.seq / CHECKPOINT_EVENTS
            || head.at_ms >= last.at_ms.saturating_add(CHECKPOINT_MS)
    })
}

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
