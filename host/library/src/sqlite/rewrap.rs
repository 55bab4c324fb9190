//! Re-wraps: which recordings need which KEK, the step to another, the jobs.

use async_trait::async_trait;
use keyreel_format::{KekId, MAC_LEN, RecordingId, TenantId};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::{
    SqliteCatalogue, backend, optional, optional_unsigned, parsed, recordings, to_i64, unsigned,
};
use crate::Error;
use crate::catalogue::{
    FormerGeneration, KekCount, Lease, NextGeneration, Page, Recording, RewrapJob, RewrapNote,
    RewrapState, RewrapStore, SlotMac,
};

const JOB: &str = "SELECT state, subject, total, done, failed, failures, per_second, started_ms, \
    updated_ms, ended_ms, last_error, owner, lease_ms FROM rewrap_job WHERE tenant = ";

#[async_trait]
impl RewrapStore for SqliteCatalogue {
    async fn recordings_by_kek(&self, tenant: &TenantId) -> Result<Vec<KekCount>, Error> {
        let rows = sqlx::query(
            "SELECT provider, kek, recovery, count(*) AS recordings \
             FROM recording INDEXED BY recording_kek \
             WHERE tenant = (SELECT key FROM tenant WHERE id = ?) GROUP BY provider, kek, recovery",
        )
        .bind(tenant.as_str())
        .fetch_all(&self.read)
        .await
        .map_err(backend)?;
        let count = |row| {
            Ok(KekCount {
                provider: parsed(row, "provider")?,
                kek: parsed(row, "kek")?,
                recovery: optional(row, "recovery")?,
                recordings: unsigned(row, "recordings")?,
            })
        };
        rows.iter().map(count).collect()
    }

    async fn recordings_under(
        &self,
        tenant: &TenantId,
        of: &KekCount,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<Recording>, Error> {
        recordings::under(self, tenant, of, cursor, limit).await
    }

    async fn put_generation(&self, next: &NextGeneration) -> Result<bool, Error> {
        if next.to <= next.from {
            return Err(Error::invalid("generation", "it only rises"));
        }
        let tenant = self.known_tenant_key(&next.tenant).await?;
        let tx = self.write.begin_with("BEGIN IMMEDIATE").await;
        let mut tx = tx.map_err(backend)?;
        // Where the recording is not moved, this is not kept either.
        sqlx::query(
            "INSERT OR REPLACE INTO former_generation (recording, generation, tenant, provider, kek) \
             SELECT position, generation, tenant, provider, kek FROM recording \
             WHERE tenant = ? AND id = ? AND generation = ? AND generation > 0",
        )
        .bind(tenant)
        .bind(next.recording.as_str())
        .bind(next.from)
        .execute(&mut *tx)
        .await
        .map_err(backend)?;
        let moved: Option<i64> = sqlx::query_scalar(
            "UPDATE recording SET provider = ?1, kek = ?2, wrap_algorithm = ?3, generation = ?4, \
             recovery = ?8 WHERE tenant = ?5 AND id = ?6 AND generation = ?7 AND NOT EXISTS (SELECT 1 FROM kek k \
             WHERE k.tenant = ?5 AND k.provider = ?1 AND k.id = ?2 AND k.state = 'retired') \
             RETURNING position",
        )
        .bind(next.provider.as_str())
        .bind(next.kek.as_str())
        .bind(&next.wrap_algorithm)
        .bind(next.to)
        .bind(tenant)
        .bind(next.recording.as_str())
        .bind(next.from)
        .bind(next.recovery.as_ref().map(KekId::as_str))
        .fetch_optional(&mut *tx)
        .await
        .map_err(backend)?;
        let Some(position) = moved else {
            return Ok(false);
        };
        sqlx::query("DELETE FROM slot_mac WHERE recording = ?")
            .bind(position)
            .execute(&mut *tx)
            .await
            .map_err(backend)?;
        if !next.slots.is_empty() {
            let mut insert = QueryBuilder::<Sqlite>::new("INSERT INTO slot_mac ");
            insert.push_values(&next.slots, |mut row, (part, mac)| {
                row.push_bind(position)
                    .push_bind(part.as_str())
                    .push_bind(next.to)
                    .push_bind(mac.to_vec());
            });
            insert.build().execute(&mut *tx).await.map_err(backend)?;
        }
        sqlx::query(
            "UPDATE rewrap_job SET done = done + 1, total = max(total, done + failed + 1), \
             updated_ms = ? WHERE tenant = ? AND state IN ('running', 'stopped')",
        )
        .bind(to_i64("now", next.now_ms)?)
        .bind(tenant)
        .execute(&mut *tx)
        .await
        .map_err(backend)?;
        tx.commit().await.map_err(backend)?;
        Ok(true)
    }

    async fn former_generations(
        &self,
        tenant: &TenantId,
        recording: &RecordingId,
    ) -> Result<Vec<u32>, Error> {
        sqlx::query_scalar(
            "SELECT f.generation FROM recording r JOIN former_generation f \
             ON f.recording = r.position WHERE r.tenant = (SELECT key FROM tenant WHERE id = ?) \
             AND r.id = ? ORDER BY f.generation DESC",
        )
        .bind(tenant.as_str())
        .bind(recording.as_str())
        .fetch_all(&self.read)
        .await
        .map_err(backend)
    }

    async fn spent_generations(&self, limit: u32) -> Result<Vec<FormerGeneration>, Error> {
        let rows = sqlx::query(
            "SELECT t.id AS tenant, r.id AS recording, f.generation FROM kek k \
             CROSS JOIN former_generation f INDEXED BY former_generation_kek \
             ON f.tenant = k.tenant AND f.provider = k.provider AND f.kek = k.id \
             JOIN recording r ON r.position = f.recording JOIN tenant t ON t.key = f.tenant \
             WHERE k.state = 'retired' LIMIT ?",
        )
        .bind(limit)
        .fetch_all(&self.read)
        .await
        .map_err(backend)?;
        let former = |row| {
            Ok(FormerGeneration {
                tenant: parsed(row, "tenant")?,
                recording: parsed(row, "recording")?,
                generation: row.try_get("generation").map_err(backend)?,
            })
        };
        rows.iter().map(former).collect()
    }

    async fn forget_generations(&self, spent: &[FormerGeneration]) -> Result<(), Error> {
        if spent.is_empty() {
            return Ok(());
        }
        let tx = self.write.begin_with("BEGIN IMMEDIATE").await;
        let mut tx = tx.map_err(backend)?;
        for of in spent {
            sqlx::query(
                "DELETE FROM former_generation WHERE generation = ? AND recording = \
                 (SELECT position FROM recording WHERE id = ? \
                 AND tenant = (SELECT key FROM tenant WHERE id = ?))",
            )
            .bind(of.generation)
            .bind(of.recording.as_str())
            .bind(of.tenant.as_str())
            .execute(&mut *tx)
            .await
            .map_err(backend)?;
        }
        tx.commit().await.map_err(backend)
    }

    async fn slot_macs(
        &self,
        tenant: &TenantId,
        recording: &RecordingId,
    ) -> Result<Vec<SlotMac>, Error> {
        let rows = sqlx::query(
            "SELECT m.part, m.generation, m.mac FROM recording r \
             JOIN slot_mac m ON m.recording = r.position \
             WHERE r.tenant = (SELECT key FROM tenant WHERE id = ?) AND r.id = ?",
        )
        .bind(tenant.as_str())
        .bind(recording.as_str())
        .fetch_all(&self.read)
        .await
        .map_err(backend)?;
        rows.iter().map(slot_mac_from).collect()
    }

    async fn rewrap_job(&self, tenant: &TenantId) -> Result<Option<RewrapJob>, Error> {
        let Some(key) = self.tenant_key(tenant).await? else {
            return Ok(None);
        };
        let row = job(key).build().fetch_optional(&self.read).await;
        row.map_err(backend)?.as_ref().map(job_from).transpose()
    }

    async fn rewraps_to_claim(&self, now_ms: u64) -> Result<Vec<TenantId>, Error> {
        let rows = sqlx::query(
            "SELECT t.id FROM rewrap_job j JOIN tenant t ON t.key = j.tenant \
             WHERE j.state = 'running' AND (j.owner IS NULL OR j.lease_ms <= ?) ORDER BY t.id",
        )
        .bind(to_i64("now", now_ms)?)
        .fetch_all(&self.read)
        .await
        .map_err(backend)?;
        rows.iter().map(|row| parsed(row, "id")).collect()
    }

    async fn start_rewrap(
        &self,
        tenant: &TenantId,
        subject: &str,
        per_second: u32,
        left: u64,
        now_ms: u64,
    ) -> Result<RewrapJob, Error> {
        let key = self.known_tenant_key(tenant).await?;
        // Who holds a job that was stopped a moment ago may not have heard of it yet: it keeps it.
        let row = sqlx::query(
            "INSERT INTO rewrap_job VALUES (?1, 'running', ?2, ?5, 0, 0, '[]', ?3, ?4, ?4, NULL, \
             NULL, NULL, 0) ON CONFLICT (tenant) DO UPDATE SET \
             subject = CASE WHEN state = 'running' THEN subject ELSE ?2 END, per_second = ?3, \
             total = CASE state WHEN 'running' THEN total WHEN 'stopped' THEN done + ?5 ELSE ?5 END, \
             done = CASE WHEN state IN ('running', 'stopped') THEN done ELSE 0 END, \
             failed = CASE WHEN state = 'running' THEN failed ELSE 0 END, \
             failures = CASE WHEN state = 'running' THEN failures ELSE '[]' END, \
             started_ms = CASE WHEN state IN ('running', 'stopped') THEN started_ms ELSE ?4 END, \
             last_error = CASE WHEN state = 'running' THEN last_error ELSE NULL END, \
             updated_ms = ?4, ended_ms = NULL, state = 'running' \
             RETURNING state, subject, total, done, failed, failures, per_second, started_ms, \
             updated_ms, ended_ms, last_error, owner, lease_ms",
        )
        .bind(key)
        .bind(subject)
        .bind(per_second)
        .bind(to_i64("now", now_ms)?)
        .bind(to_i64("recordings", left)?)
        .fetch_one(&self.write)
        .await
        .map_err(backend)?;
        job_from(&row)
    }

    async fn stop_rewrap(
        &self,
        tenant: &TenantId,
        now_ms: u64,
    ) -> Result<Option<RewrapJob>, Error> {
        let key = self.known_tenant_key(tenant).await?;
        let now = to_i64("now", now_ms)?;
        sqlx::query(
            "UPDATE rewrap_job SET state = 'stopped', updated_ms = ?1, ended_ms = ?1 \
             WHERE tenant = ?2 AND state = 'running'",
        )
        .bind(now)
        .bind(key)
        .execute(&self.write)
        .await
        .map_err(backend)?;
        let row = job(key).build().fetch_optional(&self.write).await;
        row.map_err(backend)?.as_ref().map(job_from).transpose()
    }

    async fn claim_rewrap(
        &self,
        tenant: &TenantId,
        lease: &Lease,
    ) -> Result<Option<RewrapJob>, Error> {
        let key = self.known_tenant_key(tenant).await?;
        let claimed = sqlx::query(
            "UPDATE rewrap_job SET owner = ?1, lease_ms = ?2, updated_ms = ?3 WHERE tenant = ?4 \
             AND state = 'running' AND (owner IS NULL OR owner = ?1 OR lease_ms <= ?3)",
        )
        .bind(&lease.owner)
        .bind(to_i64("lease", lease.until_ms)?)
        .bind(to_i64("now", lease.now_ms)?)
        .bind(key)
        .execute(&self.write)
        .await
        .map_err(backend)?;
        if claimed.rows_affected() == 0 {
            return Ok(None);
        }
        let row = job(key).build().fetch_optional(&self.write).await;
        row.map_err(backend)?.as_ref().map(job_from).transpose()
    }

    async fn note_rewrap(
        &self,
        tenant: &TenantId,
        lease: &Lease,
        note: &RewrapNote,
    ) -> Result<Option<RewrapJob>, Error> {
        let key = self.known_tenant_key(tenant).await?;
        let now = to_i64("now", lease.now_ms)?;
        let ended = note.ended.map(RewrapState::as_str);
        let failures: Vec<_> = note
            .failures
            .iter()
            .map(|(id, reason)| (id.as_str(), reason))
            .collect();
        let noted = sqlx::query(
            "UPDATE rewrap_job SET state = coalesce(?1, state), \
             total = CASE WHEN ?1 IS NULL THEN max(total, done + ?2) ELSE done + ?2 END, \
             failed = ?2, failures = ?3, last_error = ?4, updated_ms = ?5, \
             ended_ms = CASE WHEN ?1 IS NULL THEN NULL ELSE ?5 END, \
             owner = CASE WHEN ?1 IS NULL THEN owner END, lease_ms = ?6 \
             WHERE tenant = ?7 AND owner = ?8 AND state = 'running'",
        )
        .bind(ended)
        .bind(to_i64("failed", note.failed)?)
        .bind(serde_json::to_string(&failures).map_err(backend)?)
        .bind(&note.last_error)
        .bind(now)
        .bind(to_i64("lease", lease.until_ms)?)
        .bind(key)
        .bind(&lease.owner)
        .execute(&self.write)
        .await
        .map_err(backend)?;
        if noted.rows_affected() == 0 {
            // Stopped: whoever held it lets go of it.
            sqlx::query("UPDATE rewrap_job SET owner = NULL WHERE tenant = ? AND owner = ?")
                .bind(key)
                .bind(&lease.owner)
                .execute(&self.write)
                .await
                .map_err(backend)?;
            return Ok(None);
        }
        let row = job(key).build().fetch_optional(&self.write).await;
        row.map_err(backend)?.as_ref().map(job_from).transpose()
    }
}

fn job(tenant: i64) -> QueryBuilder<Sqlite> {
    let mut select = QueryBuilder::new(JOB);
    select.push_bind(tenant);
    select
}

fn job_from(row: &SqliteRow) -> Result<RewrapJob, Error> {
    let state: String = row.try_get("state").map_err(backend)?;
    let failures: &str = row.try_get("failures").map_err(backend)?;
    let failures: Vec<(String, String)> =
        serde_json::from_str(failures).map_err(|_| Error::damaged("failures of a re-wrap"))?;
    Ok(RewrapJob {
        state: RewrapState::ALL
            .into_iter()
            .find(|known| known.as_str() == state)
            .ok_or_else(|| Error::damaged("state of a re-wrap"))?,
        subject: row.try_get("subject").map_err(backend)?,
        total: unsigned(row, "total")?,
        done: unsigned(row, "done")?,
        failed: unsigned(row, "failed")?,
        failures: failures
            .into_iter()
            .map(|(id, reason)| {
                let id = id
                    .parse()
                    .map_err(|_| Error::damaged("failure of a re-wrap"))?;
                Ok((id, reason))
            })
            .collect::<Result<_, Error>>()?,
        per_second: row.try_get("per_second").map_err(backend)?,
        started_ms: unsigned(row, "started_ms")?,
        updated_ms: unsigned(row, "updated_ms")?,
        ended_ms: optional_unsigned(row, "ended_ms")?,
        last_error: row.try_get("last_error").map_err(backend)?,
        owner: row.try_get("owner").map_err(backend)?,
        lease_ms: unsigned(row, "lease_ms")?,
    })
}

fn slot_mac_from(row: &SqliteRow) -> Result<SlotMac, Error> {
    let mac: Vec<u8> = row.try_get("mac").map_err(backend)?;
    let mac: [u8; MAC_LEN] = mac
        .try_into()
        .map_err(|_| Error::damaged("MAC of a slot"))?;
    Ok(SlotMac {
        part: parsed(row, "part")?,
        generation: row.try_get("generation").map_err(backend)?,
        mac,
    })
}
