//! Recovery keys: at most one of a tenant is current; former ones stay.

use keyreel_format::TenantId;
use keyreel_keys::{Policy, RecoveryKey, StoreError};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{SqliteCatalogue, backend, parsed, to_i64, unsigned};
use crate::Error;

pub(super) async fn current(
    catalogue: &SqliteCatalogue,
    tenant: &TenantId,
) -> Result<Option<RecoveryKey>, StoreError> {
    let row = sqlx::query(
        "SELECT id, algorithm, public_key, created_ms FROM recovery_key \
         WHERE tenant = (SELECT key FROM tenant WHERE id = ?) AND state = 'current'",
    )
    .bind(tenant.as_str())
    .fetch_optional(&catalogue.read)
    .await
    .map_err(backend)?;
    Ok(row.as_ref().map(key_from).transpose()?)
}

/// The policy is read and the key written in one transaction that nobody else writes beside.
pub(super) async fn put(
    catalogue: &SqliteCatalogue,
    tenant: &TenantId,
    key: &RecoveryKey,
    policy: Policy,
) -> Result<bool, StoreError> {
    let tenant = catalogue.known_tenant_key(tenant).await?;
    let tx = catalogue.write.begin_with("BEGIN IMMEDIATE").await;
    let mut tx = tx.map_err(backend)?;
    let as_read: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM tenant WHERE key = ? AND policy = ?)")
            .bind(tenant)
            .bind(policy.as_str())
            .fetch_one(&mut *tx)
            .await
            .map_err(backend)?;
    if !as_read {
        return Ok(false);
    }
    sqlx::query("UPDATE recovery_key SET state = 'former' WHERE tenant = ? AND state = 'current'")
        .bind(tenant)
        .execute(&mut *tx)
        .await
        .map_err(backend)?;
    sqlx::query(
        "INSERT INTO recovery_key (tenant, id, algorithm, public_key, state, created_ms) \
         VALUES (?, ?, ?, ?, 'current', ?) ON CONFLICT (tenant, id) DO UPDATE SET \
         algorithm = excluded.algorithm, public_key = excluded.public_key, state = 'current', \
         created_ms = excluded.created_ms",
    )
    .bind(tenant)
    .bind(key.id.as_str())
    .bind(key.algorithm.name())
    .bind(&key.public_key)
    .bind(to_i64("created", key.created_ms)?)
    .execute(&mut *tx)
    .await
    .map_err(backend)?;
    tx.commit().await.map_err(backend)?;
    Ok(true)
}

pub(super) async fn remove(
    catalogue: &SqliteCatalogue,
    tenant: &TenantId,
) -> Result<bool, StoreError> {
    let removed = sqlx::query(
        "UPDATE recovery_key SET state = 'former' \
         WHERE tenant = (SELECT key FROM tenant WHERE id = ?) AND state = 'current'",
    )
    .bind(tenant.as_str())
    .execute(&catalogue.write)
    .await
    .map_err(backend)?;
    Ok(removed.rows_affected() > 0)
}

fn key_from(row: &SqliteRow) -> Result<RecoveryKey, Error> {
    Ok(RecoveryKey {
        id: parsed(row, "id")?,
        algorithm: parsed(row, "algorithm")?,
        public_key: row.try_get("public_key").map_err(backend)?,
        created_ms: unsigned(row, "created_ms")?,
    })
}
