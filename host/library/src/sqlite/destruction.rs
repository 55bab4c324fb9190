//! Destructions: their rows, and what is taken out of the catalogue for them.

use async_trait::async_trait;
use keyreel_format::{KekId, ProviderId, RecordingId, TenantId};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::{SqliteCatalogue, backend, exists, keks, optional_unsigned, parsed, to_i64, unsigned};
use crate::Error;
use crate::catalogue::{
    Destruction, DestructionNote, DestructionState, DestructionStore, Doomed, Lease,
};

const ALL: &str = "SELECT id, tenant, scope, reason, lost, state, requested_by, requested_ms, \
    decided_by, decided_ms, seal, plan, epoch, last_error, ended_ms, certificate FROM destruction ";

#[async_trait]
impl DestructionStore for SqliteCatalogue {
    async fn add_destruction(&self, destruction: &Destruction) -> Result<(), Error> {
        let scope = serde_json::to_string(&destruction.scope).map_err(backend)?;
        sqlx::query(
            "INSERT INTO destruction (id, tenant, scope, reason, state, requested_by, requested_ms, \
             lost, seal) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&destruction.id)
        .bind(destruction.tenant.as_str())
        .bind(scope)
        .bind(&destruction.reason)
        .bind(destruction.state.as_str())
        .bind(&destruction.requested_by)
        .bind(to_i64("requested", destruction.requested_ms)?)
        .bind(to_i64("lost", destruction.lost)?)
        .bind(&destruction.seal)
        .execute(&self.write)
        .await
        .map_err(|error| exists(error, || format!("a destruction for {}", destruction.tenant)))?;
        Ok(())
    }

    async fn destruction(&self, tenant: &TenantId, id: &str) -> Result<Option<Destruction>, Error> {
        let mut query = QueryBuilder::<Sqlite>::new(ALL);
        query.push("WHERE tenant = ").push_bind(tenant.as_str());
        query.push(" AND id = ").push_bind(id);
        let row = query.build().fetch_optional(&self.read).await;
        row.map_err(backend)?.as_ref().map(from_row).transpose()
    }

    async fn destructions(&self, tenant: &TenantId) -> Result<Vec<Destruction>, Error> {
        let mut query = QueryBuilder::<Sqlite>::new(ALL);
        query.push("WHERE tenant = ").push_bind(tenant.as_str());
        query.push(" ORDER BY seq DESC");
        let rows = query.build().fetch_all(&self.read).await;
        rows.map_err(backend)?.iter().map(from_row).collect()
    }

    async fn decide_destruction(
        &self,
        from: DestructionState,
        decided: &Destruction,
    ) -> Result<bool, Error> {
        let ms = |value: Option<u64>| value.map(|ms| to_i64("time", ms)).transpose();
        let done = sqlx::query(
            "UPDATE destruction SET state = ?, decided_by = ?, decided_ms = ?, seal = ?, \
             ended_ms = ?, last_error = NULL, owner = NULL, lease_ms = 0 \
             WHERE id = ? AND state = ?",
        )
        .bind(decided.state.as_str())
        .bind(&decided.decided_by)
        .bind(ms(decided.decided_ms)?)
        .bind(&decided.seal)
        .bind(ms(decided.ended_ms)?)
        .bind(&decided.id)
        .bind(from.as_str())
        .execute(&self.write)
        .await
        .map_err(backend)?;
        Ok(done.rows_affected() == 1)
    }

    async fn claim_destruction(
        &self,
        id: Option<&str>,
        lease: &Lease,
    ) -> Result<Option<Destruction>, Error> {
        let claimed: Option<String> = sqlx::query_scalar(
            "UPDATE destruction SET owner = ?1, lease_ms = ?2 WHERE seq = (SELECT seq \
             FROM destruction WHERE state = 'running' AND (?3 IS NULL OR id = ?3) \
             AND (owner IS NULL OR (owner = ?1 AND ?3 IS NOT NULL) OR lease_ms <= ?4) \
             ORDER BY seq LIMIT 1) RETURNING id",
        )
        .bind(&lease.owner)
        .bind(to_i64("lease", lease.until_ms)?)
        .bind(id)
        .bind(to_i64("now", lease.now_ms)?)
        .fetch_optional(&self.write)
        .await
        .map_err(backend)?;
        let Some(claimed) = claimed else {
            return Ok(None);
        };
        let mut query = QueryBuilder::<Sqlite>::new(ALL);
        query.push("WHERE id = ").push_bind(claimed);
        let row = query.build().fetch_optional(&self.write).await;
        row.map_err(backend)?.as_ref().map(from_row).transpose()
    }

    async fn note_destruction(
        &self,
        id: &str,
        lease: &Lease,
        note: &DestructionNote,
    ) -> Result<bool, Error> {
        let plan = note.plan.as_ref().map(serde_json::to_string);
        let plan = plan.transpose().map_err(backend)?;
        let epoch = note.epoch.map(|epoch| to_i64("epoch", epoch)).transpose()?;
        let ended = match note.state {
            Some(DestructionState::Done) => Some(to_i64("now", lease.now_ms)?),
            _ => None,
        };
        let done = sqlx::query(
            "UPDATE destruction SET state = coalesce(?1, state), plan = coalesce(?2, plan), \
             epoch = coalesce(?3, epoch), last_error = ?4, certificate = coalesce(?5, certificate), \
             ended_ms = ?6, lease_ms = ?7 WHERE id = ?8 AND owner = ?9 AND state = 'running'",
        )
        .bind(note.state.map(DestructionState::as_str))
        .bind(plan)
        .bind(epoch)
        .bind(&note.last_error)
        .bind(&note.certificate)
        .bind(ended)
        .bind(to_i64("lease", lease.until_ms)?)
        .bind(id)
        .bind(&lease.owner)
        .execute(&self.write)
        .await
        .map_err(backend)?;
        Ok(done.rows_affected() == 1)
    }

    async fn destroy_tenant(&self, tenant: &TenantId, now_ms: u64) -> Result<(), Error> {
        let key = self.known_tenant_key(tenant).await?;
        let tx = self.write.begin_with("BEGIN IMMEDIATE").await;
        let mut tx = tx.map_err(backend)?;
        sqlx::query("UPDATE tenant SET destroyed_ms = coalesce(destroyed_ms, ?) WHERE key = ?")
            .bind(to_i64("now", now_ms)?)
            .bind(key)
            .execute(&mut *tx)
            .await
            .map_err(backend)?;
        let statements = [
            "UPDATE kek SET state = 'retired', sealed = '[]' WHERE tenant = ?",
            "DELETE FROM sealed_key WHERE tenant = ?",
            "DELETE FROM provider_config WHERE tenant = ?",
            "DELETE FROM key_configuration WHERE tenant = ?",
            "DELETE FROM rotation WHERE tenant = ?",
            "DELETE FROM rewrap_job WHERE tenant = ?",
            "DELETE FROM recovery_key WHERE tenant = ?",
        ];
        for statement in statements {
            let done = sqlx::query(statement).bind(key).execute(&mut *tx).await;
            done.map_err(backend)?;
        }
        tx.commit().await.map_err(backend)
    }

    async fn every_recovery_key(&self, tenant: &TenantId) -> Result<Vec<KekId>, Error> {
        let rows = sqlx::query(
            "SELECT id FROM recovery_key WHERE tenant = (SELECT key FROM tenant WHERE id = ?) \
             ORDER BY created_ms",
        )
        .bind(tenant.as_str())
        .fetch_all(&self.read)
        .await
        .map_err(backend)?;
        rows.iter().map(|row| parsed(row, "id")).collect()
    }

    async fn destroyed_ms(&self, tenant: &TenantId) -> Result<Option<u64>, Error> {
        let found: Option<Option<i64>> =
            sqlx::query_scalar("SELECT destroyed_ms FROM tenant WHERE id = ?")
                .bind(tenant.as_str())
                .fetch_optional(&self.read)
                .await
                .map_err(backend)?;
        Ok(found.flatten().and_then(|ms| u64::try_from(ms).ok()))
    }

    async fn doomed_recordings(
        &self,
        tenant: &TenantId,
        kek: Option<(&ProviderId, &KekId)>,
        limit: u32,
    ) -> Result<Vec<Doomed>, Error> {
        let Some(key) = self.tenant_key(tenant).await? else {
            return Ok(Vec::new());
        };
        let mut query = doomed(key);
        if let Some((provider, kek)) = kek {
            query
                .push(" AND r.provider = ")
                .push_bind(provider.as_str());
            query.push(" AND r.kek = ").push_bind(kek.as_str());
        }
        query.push(" LIMIT ").push_bind(limit);
        let rows = query.build().fetch_all(&self.read).await;
        rows.map_err(backend)?.iter().map(doomed_from).collect()
    }

    async fn doomed(
        &self,
        tenant: &TenantId,
        recordings: &[RecordingId],
    ) -> Result<Vec<Doomed>, Error> {
        let Some(key) = self.tenant_key(tenant).await? else {
            return Ok(Vec::new());
        };
        let mut query = doomed(key);
        query.push(" AND r.id IN (SELECT value FROM json_each(");
        query.push_bind(ids(recordings)?).push("))");
        let rows = query.build().fetch_all(&self.read).await;
        rows.map_err(backend)?.iter().map(doomed_from).collect()
    }

    async fn delete_recordings(
        &self,
        tenant: &TenantId,
        recordings: &[RecordingId],
    ) -> Result<(), Error> {
        let Some(key) = self.tenant_key(tenant).await? else {
            return Ok(());
        };
        let ids = ids(recordings)?;
        let tx = self.write.begin_with("BEGIN IMMEDIATE").await;
        let mut tx = tx.map_err(backend)?;
        let statements = [
            "DELETE FROM recording_text WHERE rowid IN (SELECT position FROM recording \
             WHERE tenant = ?1 AND id IN (SELECT value FROM json_each(?2)))",
            // Parts and MACs go with it.
            "DELETE FROM recording WHERE tenant = ?1 AND id IN (SELECT value FROM json_each(?2))",
        ];
        for statement in statements {
            sqlx::query(statement)
                .bind(key)
                .bind(&ids)
                .execute(&mut *tx)
                .await
                .map_err(backend)?;
        }
        tx.commit().await.map_err(backend)
    }

    async fn scrub(&self) -> Result<(), Error> {
        // Deleted terms of the search index go when its segments are merged: a bit at a time, since
        // everybody who writes waits meanwhile. Negative: all of them, as far as it comes.
        for pages in std::iter::once(-MERGED).chain(std::iter::repeat_n(MERGED, MERGES)) {
            let mut write = self.write.acquire().await.map_err(backend)?;
            let before = changes(&mut write).await?;
            sqlx::query("INSERT INTO recording_text (recording_text, rank) VALUES ('merge', ?)")
                .bind(pages)
                .execute(&mut *write)
                .await
                .map_err(backend)?;
            // One change is the command itself.
            if changes(&mut write).await? - before < 2 {
                break;
            }
        }
        for _ in 0..EMPTYING {
            let mut write = self.write.acquire().await.map_err(backend)?;
            if keks::empty_log(&mut write).await {
                return Ok(());
            }
            drop(write);
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        }
        Err(backend(
            "readers keep the write-ahead log from being emptied",
        ))
    }

    async fn announce_purge(&self, tenant: &TenantId, now_ms: u64) -> Result<(), Error> {
        let now_ms = to_i64("now", now_ms)?;
        sqlx::query("INSERT INTO purge (tenant, at_ms) VALUES (?, ?)")
            .bind(tenant.as_str())
            .bind(now_ms)
            .execute(&self.write)
            .await
            .map_err(backend)?;
        // Every node has heard of those, or has begun since.
        sqlx::query("DELETE FROM purge WHERE at_ms < ?")
            .bind(now_ms - DAY_MS)
            .execute(&self.write)
            .await
            .map_err(backend)?;
        Ok(())
    }

    async fn purges_after(&self, after: Option<u64>) -> Result<(u64, Vec<TenantId>), Error> {
        let Some(after) = after else {
            let last: i64 = sqlx::query_scalar("SELECT coalesce(max(seq), 0) FROM purge")
                .fetch_one(&self.read)
                .await
                .map_err(backend)?;
            return Ok((u64::try_from(last).unwrap_or(0), Vec::new()));
        };
        let rows = sqlx::query("SELECT seq, tenant FROM purge WHERE seq > ? ORDER BY seq")
            .bind(to_i64("purge", after)?)
            .fetch_all(&self.read)
            .await
            .map_err(backend)?;
        let mut last = after;
        let mut tenants = Vec::new();
        for row in &rows {
            last = unsigned(row, "seq")?;
            let tenant = parsed(row, "tenant")?;
            if !tenants.contains(&tenant) {
                tenants.push(tenant);
            }
        }
        Ok((last, tenants))
    }
}

async fn changes(write: &mut sqlx::SqliteConnection) -> Result<i64, Error> {
    let changes = sqlx::query_scalar("SELECT total_changes()").fetch_one(write);
    changes.await.map_err(backend)
}

/// Pages of the search index that are merged at once, and how often at most.
const MERGED: i64 = 500;
const MERGES: usize = 10_000;
/// How often the log is tried.
const EMPTYING: u32 = 20;
const DAY_MS: i64 = 24 * 3_600_000;

fn ids(recordings: &[RecordingId]) -> Result<String, Error> {
    serde_json::to_string(recordings).map_err(backend)
}

fn doomed(tenant: i64) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(
        "SELECT r.id, r.provider, r.kek, (SELECT json_group_array(p.object) FROM part p \
         WHERE p.recording = r.position) AS objects FROM recording r WHERE r.tenant = ",
    );
    query.push_bind(tenant);
    query
}

fn doomed_from(row: &SqliteRow) -> Result<Doomed, Error> {
    let objects: &str = row.try_get("objects").map_err(backend)?;
    Ok(Doomed {
        recording: parsed(row, "id")?,
        provider: parsed(row, "provider")?,
        kek: parsed(row, "kek")?,
        objects: serde_json::from_str(objects).map_err(|_| Error::damaged("list of parts"))?,
    })
}

fn from_row(row: &SqliteRow) -> Result<Destruction, Error> {
    let text = |name: &str| row.try_get::<String, _>(name).map_err(backend);
    let maybe = |name: &str| row.try_get::<Option<String>, _>(name).map_err(backend);
    let number = |name: &str| optional_unsigned(row, name);
    let state = text("state")?;
    let state = DestructionState::ALL
        .into_iter()
        .find(|known| known.as_str() == state)
        .ok_or_else(|| Error::damaged("state of a destruction"))?;
    let scope = serde_json::from_str(&text("scope")?);
    let plan = maybe("plan")?.map(|plan| serde_json::from_str(&plan));
    Ok(Destruction {
        id: text("id")?,
        tenant: parsed(row, "tenant")?,
        scope: scope.map_err(|_| Error::damaged("scope of a destruction"))?,
        reason: text("reason")?,
        lost: unsigned(row, "lost")?,
        state,
        requested_by: text("requested_by")?,
        requested_ms: unsigned(row, "requested_ms")?,
        decided_by: maybe("decided_by")?,
        decided_ms: number("decided_ms")?,
        seal: row.try_get("seal").map_err(backend)?,
        plan: plan
            .transpose()
            .map_err(|_| Error::damaged("plan of a destruction"))?,
        epoch: number("epoch")?,
        last_error: maybe("last_error")?,
        ended_ms: number("ended_ms")?,
        certificate: maybe("certificate")?,
    })
}
