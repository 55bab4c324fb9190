//! Rotation schedules, and KEKs that follow one another.

use keyreel_format::TenantId;
use keyreel_keys::{Kek, StoreError, Succession};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{SqliteCatalogue, backend, keks, parsed, to_i64, unsigned};
use crate::Error;
use crate::rotation::{DueRotation, RotationPeriod, RotationSchedule};

pub(super) async fn schedule(
    catalogue: &SqliteCatalogue,
    tenant: &TenantId,
) -> Result<Option<RotationSchedule>, Error> {
    let row = sqlx::query(
        "SELECT period, since_ms, due_ms, try_ms, failures, last_error FROM rotation \
         WHERE tenant = (SELECT key FROM tenant WHERE id = ?)",
    )
    .bind(tenant.as_str())
    .fetch_optional(&catalogue.read)
    .await
    .map_err(backend)?;
    row.map(|row| schedule_from(&row)).transpose()
}

pub(super) async fn set(
    catalogue: &SqliteCatalogue,
    tenant: &TenantId,
    schedule: Option<&RotationSchedule>,
) -> Result<(), Error> {
    let key = catalogue.known_tenant_key(tenant).await?;
    let set = match schedule {
        None => sqlx::query("DELETE FROM rotation WHERE tenant = ?").bind(key),
        Some(schedule) => sqlx::query(
            "INSERT OR REPLACE INTO rotation \
             (tenant, period, since_ms, due_ms, try_ms, failures, last_error) \
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(key)
        .bind(schedule.period.as_str())
        .bind(date("since", schedule.since_ms)?)
        .bind(date("due", schedule.due_ms)?)
        .bind(date("try", schedule.try_ms)?)
        .bind(schedule.failures)
        .bind(schedule.last_error.as_deref()),
    };
    set.execute(&catalogue.write).await.map_err(backend)?;
    Ok(())
}

/// Looks first, and writes only where something is due: nodes ask often.
pub(super) async fn claim(
    catalogue: &SqliteCatalogue,
    claim: &str,
    now_ms: u64,
    until_ms: u64,
) -> Result<Option<DueRotation>, Error> {
    let now = to_i64("now", now_ms)?;
    let until = to_i64("until", until_ms)?;
    loop {
        let due: Option<i64> = sqlx::query_scalar(
            "SELECT tenant FROM rotation WHERE try_ms <= ? AND claim_until_ms <= ? \
             ORDER BY try_ms LIMIT 1",
        )
        .bind(now)
        .bind(now)
        .fetch_optional(&catalogue.read)
        .await
        .map_err(backend)?;
        let Some(tenant) = due else { return Ok(None) };
        let claimed = sqlx::query(
            "UPDATE rotation SET claim = ?, claim_until_ms = ? \
             WHERE tenant = ? AND try_ms <= ? AND claim_until_ms <= ? \
             RETURNING period, since_ms, due_ms, try_ms, failures, last_error, \
             (SELECT id FROM tenant WHERE key = rotation.tenant) AS tenant",
        )
        .bind(claim)
        .bind(until)
        .bind(tenant)
        .bind(now)
        .bind(now)
        .fetch_optional(&catalogue.write)
        .await
        .map_err(backend)?;
        // Somebody else was faster: there may be another.
        let Some(row) = claimed else { continue };
        return Ok(Some(DueRotation {
            tenant: parsed(&row, "tenant")?,
            claim: claim.to_owned(),
            schedule: schedule_from(&row)?,
        }));
    }
}

pub(super) async fn settle(
    catalogue: &SqliteCatalogue,
    due: &DueRotation,
    next: &RotationSchedule,
) -> Result<bool, Error> {
    let settled = sqlx::query(
        "UPDATE rotation SET due_ms = ?, try_ms = ?, failures = ?, last_error = ?, \
         claim = NULL, claim_until_ms = 0 \
         WHERE tenant = (SELECT key FROM tenant WHERE id = ?) AND claim = ?",
    )
    .bind(date("due", next.due_ms)?)
    .bind(date("try", next.try_ms)?)
    .bind(next.failures)
    .bind(next.last_error.as_deref())
    .bind(due.tenant.as_str())
    .bind(&due.claim)
    .execute(&catalogue.write)
    .await
    .map_err(backend)?;
    Ok(settled.rows_affected() > 0)
}

/// Reads and writes in one transaction that nobody else writes beside.
pub(super) async fn succeed(
    catalogue: &SqliteCatalogue,
    tenant: &TenantId,
    succession: &Succession,
    kek: &Kek,
) -> Result<bool, StoreError> {
    let key = catalogue.known_tenant_key(tenant).await?;
    let mut tx = catalogue
        .write
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(backend)?;
    let former = &succession.former;
    let as_read: Option<i64> = sqlx::query_scalar(
        "SELECT 1 FROM kek k JOIN tenant t ON t.key = k.tenant \
         WHERE k.seq = (SELECT max(seq) FROM kek WHERE tenant = ?) \
         AND k.provider = ? AND k.id = ? AND k.state = ? AND t.policy = ? \
         AND NOT EXISTS (SELECT 1 FROM recovery_key r WHERE r.tenant = t.key \
         AND r.state = 'current' AND ? = 'aes256' AND r.algorithm <> ?)",
    )
    .bind(key)
    .bind(former.provider.as_str())
    .bind(former.kek.id.as_str())
    .bind(former.state.as_str())
    .bind(succession.policy.as_str())
    .bind(succession.new_policy.as_str())
    .bind(succession.new_policy.algorithm())
    .fetch_optional(&mut *tx)
    .await
    .map_err(backend)?;
    if as_read.is_none() {
        return Ok(false);
    }
    let provider = &former.provider;
    keks::make_current(&mut tx, key, provider, kek, succession.at_ms).await?;
    sqlx::query("UPDATE tenant SET policy = ? WHERE key = ?")
        .bind(succession.new_policy.as_str())
        .bind(key)
        .execute(&mut *tx)
        .await
        .map_err(backend)?;
    tx.commit().await.map_err(backend)?;
    Ok(true)
}

fn schedule_from(row: &SqliteRow) -> Result<RotationSchedule, Error> {
    let period: &str = row.try_get("period").map_err(backend)?;
    Ok(RotationSchedule {
        period: RotationPeriod::of(period)
            .ok_or_else(|| Error::damaged("period of a rotation schedule"))?,
        since_ms: unsigned(row, "since_ms")?,
        due_ms: unsigned(row, "due_ms")?,
        try_ms: unsigned(row, "try_ms")?,
        failures: row.try_get("failures").map_err(backend)?,
        last_error: row.try_get("last_error").map_err(backend)?,
    })
}

/// The end of the calendar is as far as numbers go.
fn date(what: &str, ms: u64) -> Result<i64, Error> {
    to_i64(what, ms.min(i64::MAX.unsigned_abs()))
}
