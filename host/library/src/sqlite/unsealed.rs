//! Catalogues from before what is known of recordings was sealed: it is sealed when they are opened
//! with keys, in batches, so that a start that is interrupted goes on where it stopped; then nothing
//! of it stays in the file, its free space and its log included.
//! Not for: recordings that are added now (see `recordings`).

use std::collections::HashMap;
use std::sync::Arc;

use keyreel_format::{RecordingId, TenantId};
use keyreel_keys::{MetadataKey, MetadataKeys};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection, SqlitePool};

use super::{backend, parsed, recordings, search};
use crate::Error;

/// Rows sealed in one transaction: another process waits no longer than that.
const AT_ONCE: u32 = 1000;

/// The keys of tenants that were met; `None`: there are none.
type Keys = HashMap<TenantId, Option<Arc<MetadataKey>>>;

/// Seals what is in the clear. What is of a tenant without a root key stays, is read by nobody, and
/// is tried again at the next opening.
pub(super) async fn seal(write: &SqlitePool, metadata: &dyn MetadataKeys) -> Result<(), Error> {
    let mut connection = write.acquire().await.map_err(backend)?;
    let mut keys = Keys::new();
    let (mut after, mut sealed) = (-1, 0);
    while let Some(batch) = batch(&mut connection, metadata, &mut keys, after).await? {
        after = batch.last;
        sealed += batch.sealed;
    }
    for (tenant, _) in keys.iter().filter(|(_, keys)| keys.is_none()) {
        tracing::error!(
            %tenant,
            "the tenant has no root key, so what an earlier version knew of its recordings is still \
             in the clear. Put the key back and start again"
        );
    }
    if sealed > 0 {
        tracing::info!(
            recordings = sealed,
            "what is known of recordings was sealed"
        );
    }
    let remains = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM clear_remains)");
    if remains.fetch_one(&mut *connection).await.map_err(backend)? {
        match overwrite(&mut connection).await {
            Ok(true) => {}
            Ok(false) => tracing::warn!(
                "another process keeps the catalogue's log from being emptied: what was in the \
                 clear is in there until the next start"
            ),
            Err(error) => tracing::error!(
                %error,
                "what was in the clear is in the catalogue's free space until the next start"
            ),
        }
    }
    Ok(())
}

struct Batch {
    last: i64,
    sealed: usize,
}

/// The next rows after a position; `None`: there are no more.
async fn batch(
    connection: &mut SqliteConnection,
    metadata: &dyn MetadataKeys,
    keys: &mut Keys,
    after: i64,
) -> Result<Option<Batch>, Error> {
    // Looked for outside of the transaction: mostly there is nothing.
    let waiting = "SELECT c.recording, c.details, r.id, t.id AS tenant FROM clear_details c \
        JOIN recording r ON r.position = c.recording JOIN tenant t ON t.key = r.tenant \
        WHERE c.recording > ? ORDER BY c.recording LIMIT ?";
    let rows = sqlx::query(waiting)
        .bind(after)
        .bind(AT_ONCE)
        .fetch_all(&mut *connection)
        .await
        .map_err(backend)?;
    let Some(last) = rows.last() else {
        return Ok(None);
    };
    let last = last.try_get("recording").map_err(backend)?;
    let mut sealed = Vec::with_capacity(rows.len());
    for row in &rows {
        let tenant: TenantId = parsed(row, "tenant")?;
        if !keys.contains_key(&tenant) {
            let found = match metadata.keys(&tenant).await {
                Ok(found) => Some(found),
                Err(error) if error.is_lost_root() => None,
                Err(error) => return Err(error.into()),
            };
            keys.insert(tenant.clone(), found);
        }
        if let Some(Some(keys)) = keys.get(&tenant) {
            sealed.push(Sealed::of(row, keys)?);
        }
    }
    let mut tx = sqlx::Connection::begin_with(connection, "BEGIN IMMEDIATE")
        .await
        .map_err(backend)?;
    if !sealed.is_empty() {
        sqlx::query("INSERT OR IGNORE INTO clear_remains VALUES (1)")
            .execute(&mut *tx)
            .await
            .map_err(backend)?;
    }
    for row in &sealed {
        row.put(&mut tx).await.map_err(backend)?;
    }
    tx.commit().await.map_err(backend)?;
    Ok(Some(Batch {
        last,
        sealed: sealed.len(),
    }))
}

/// One recording's row, as it is from now on.
struct Sealed {
    position: i64,
    details: Vec<u8>,
    terms: String,
}

impl Sealed {
    fn of(row: &SqliteRow, keys: &MetadataKey) -> Result<Self, Error> {
        let id: RecordingId = parsed(row, "id")?;
        let json: &str = row.try_get("details").map_err(backend)?;
        // What does not parse is damaged afterwards as it was before, and in the clear no more.
        let (details, terms) = match serde_json::from_str(json) {
            Ok(details) => (
                recordings::seal(keys, &id, &details)?,
                search::terms(&keys.terms(), &details),
            ),
            Err(_) => (keys.seal(&id, json.as_bytes())?, String::new()),
        };
        Ok(Self {
            position: row.try_get("recording").map_err(backend)?,
            details,
            terms,
        })
    }

    async fn put(&self, tx: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let taken = sqlx::query("DELETE FROM clear_details WHERE recording = ?")
            .bind(self.position)
            .execute(&mut *tx)
            .await?;
        if taken.rows_affected() == 0 {
            // Another process was quicker.
            return Ok(());
        }
        sqlx::query("UPDATE recording SET details = ? WHERE position = ?")
            .bind(&self.details)
            .bind(self.position)
            .execute(&mut *tx)
            .await?;
        sqlx::query("INSERT INTO recording_text (rowid, terms) VALUES (?, ?)")
            .bind(self.position)
            .bind(&self.terms)
            .execute(&mut *tx)
            .await?;
        Ok(())
    }
}

/// Writes the file anew, without what is free in it, and empties its log. `false` where another
/// process is in the way.
async fn overwrite(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    // The copy is as large as the catalogue, and sealed like it: not in memory.
    sqlx::query("PRAGMA temp_store = file")
        .execute(&mut *connection)
        .await?;
    let vacuumed = sqlx::query("VACUUM").execute(&mut *connection).await;
    sqlx::query("PRAGMA temp_store = memory")
        .execute(&mut *connection)
        .await?;
    vacuumed?;
    let busy: i64 = sqlx::query_scalar("PRAGMA wal_checkpoint(TRUNCATE)")
        .fetch_one(&mut *connection)
        .await?;
    if busy != 0 {
        return Ok(false);
    }
    sqlx::query("DELETE FROM clear_remains")
        .execute(&mut *connection)
        .await?;
    Ok(true)
}
