//! KEKs, their sealed private keys, providers' configurations.

use async_trait::async_trait;
use keyreel_format::{KekId, ProviderId, TenantId};
use keyreel_keys::{Kek, KekState, KekStore, SealedKey, StoreError};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::{SqliteCatalogue, backend, exists, parsed, to_i64};
use crate::Error;

const KEK: &str = "SELECT provider, id, algorithm, public_key, sealed, attributes, state FROM kek \
    WHERE tenant = (SELECT key FROM tenant WHERE id = ";

#[async_trait]
impl KekStore for SqliteCatalogue {
    async fn current_kek(
        &self,
        tenant: &TenantId,
    ) -> Result<Option<(ProviderId, Kek)>, StoreError> {
        let mut select = QueryBuilder::<Sqlite>::new(KEK);
        select
            .push_bind(tenant.as_str())
            .push(") AND state = 'current'");
        let row = select
            .build()
            .fetch_optional(&self.read)
            .await
            .map_err(store)?;
        Ok(row
            .map(|row| kek_from(&row))
            .transpose()?
            .map(|(provider, kek, _)| (provider, kek)))
    }

    async fn kek(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        id: &KekId,
    ) -> Result<Option<(Kek, KekState)>, StoreError> {
        let mut select = QueryBuilder::<Sqlite>::new(KEK);
        select
            .push_bind(tenant.as_str())
            .push(") AND provider = ")
            .push_bind(provider.as_str());
        select.push(" AND id = ").push_bind(id.as_str());
        let row = select
            .build()
            .fetch_optional(&self.read)
            .await
            .map_err(store)?;
        Ok(row
            .map(|row| kek_from(&row))
            .transpose()?
            .map(|(_, kek, state)| (kek, state)))
    }

    async fn keks(
        &self,
        tenant: &TenantId,
    ) -> Result<Vec<(ProviderId, Kek, KekState)>, StoreError> {
        let mut select = QueryBuilder::<Sqlite>::new(KEK);
        select
            .push_bind(tenant.as_str())
            .push(") ORDER BY seq DESC");
        let rows = select.build().fetch_all(&self.read).await.map_err(store)?;
        Ok(rows.iter().map(kek_from).collect::<Result<_, _>>()?)
    }

    async fn put_current_kek(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        kek: &Kek,
        created_ms: u64,
    ) -> Result<(), StoreError> {
        let key = self.known_tenant_key(tenant).await?;
        let sealed: Vec<_> = kek
            .sealed
            .iter()
            .map(|(name, bytes)| (name, hex::encode(bytes)))
            .collect();
        let sealed = serde_json::to_string(&sealed).map_err(store)?;
        let attributes = serde_json::to_string(&kek.attributes).map_err(store)?;
        let mut tx = self
            .write
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(store)?;
        sqlx::query("UPDATE kek SET state = 'previous' WHERE tenant = ? AND state = 'current'")
            .bind(key)
            .execute(&mut *tx)
            .await
            .map_err(store)?;
        sqlx::query(
            "INSERT INTO kek (tenant, provider, id, algorithm, public_key, sealed, attributes, \
             state, created_ms) VALUES (?, ?, ?, ?, ?, ?, ?, 'current', ?)",
        )
        .bind(key)
        .bind(provider.as_str())
        .bind(kek.id.as_str())
        .bind(&kek.algorithm)
        .bind(&kek.public_key)
        .bind(sealed)
        .bind(attributes)
        .bind(to_i64("created", created_ms)?)
        .execute(&mut *tx)
        .await
        .map_err(|error| exists(error, || format!("KEK {} of {tenant}", kek.id)))?;
        tx.commit().await.map_err(store)
    }

    async fn sealed_key(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        name: &str,
    ) -> Result<Option<SealedKey>, StoreError> {
        let row = sqlx::query(
            "SELECT algorithm, sealed FROM sealed_key \
             WHERE tenant = (SELECT key FROM tenant WHERE id = ?) AND provider = ? AND name = ?",
        )
        .bind(tenant.as_str())
        .bind(provider.as_str())
        .bind(name)
        .fetch_optional(&self.read)
        .await
        .map_err(store)?;
        row.map(|row| {
            Ok(SealedKey {
                algorithm: row.try_get("algorithm").map_err(store)?,
                sealed: row.try_get("sealed").map_err(store)?,
            })
        })
        .transpose()
    }

    async fn put_sealed_key(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        name: &str,
        key: &SealedKey,
    ) -> Result<(), StoreError> {
        let tenant_key = self.known_tenant_key(tenant).await?;
        sqlx::query("INSERT INTO sealed_key VALUES (?, ?, ?, ?, ?)")
            .bind(tenant_key)
            .bind(provider.as_str())
            .bind(name)
            .bind(&key.algorithm)
            .bind(&key.sealed)
            .execute(&self.write)
            .await
            .map_err(|error| exists(error, || format!("sealed key {name} of {tenant}")))?;
        Ok(())
    }

    async fn replace_sealed_key(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        name: &str,
        key: &SealedKey,
    ) -> Result<(), StoreError> {
        let tenant_key = self.known_tenant_key(tenant).await?;
        sqlx::query(
            "INSERT INTO sealed_key VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE \
             SET algorithm = excluded.algorithm, sealed = excluded.sealed",
        )
        .bind(tenant_key)
        .bind(provider.as_str())
        .bind(name)
        .bind(&key.algorithm)
        .bind(&key.sealed)
        .execute(&self.write)
        .await
        .map_err(store)?;
        Ok(())
    }

    async fn provider_config(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
    ) -> Result<String, StoreError> {
        let config: Option<String> = sqlx::query_scalar(
            "SELECT config FROM provider_config \
             WHERE tenant = (SELECT key FROM tenant WHERE id = ?) AND provider = ?",
        )
        .bind(tenant.as_str())
        .bind(provider.as_str())
        .fetch_optional(&self.read)
        .await
        .map_err(store)?;
        Ok(config.unwrap_or_else(|| "{}".to_owned()))
    }
}

fn kek_from(row: &SqliteRow) -> Result<(ProviderId, Kek, KekState), Error> {
    let id: KekId = parsed(row, "id")?;
    let damaged = |what: &str| Error::damaged(format!("{what} of KEK {id}"));
    let sealed: &str = row.try_get("sealed").map_err(backend)?;
    let sealed: Vec<(String, String)> =
        serde_json::from_str(sealed).map_err(|_| damaged("sealed values"))?;
    let attributes: &str = row.try_get("attributes").map_err(backend)?;
    let state: &str = row.try_get("state").map_err(backend)?;
    let state = match state {
        "current" => KekState::Current,
        "previous" => KekState::Previous,
        "retired" => KekState::Retired,
        _ => return Err(damaged("state")),
    };
    let kek = Kek {
        algorithm: row.try_get("algorithm").map_err(backend)?,
        public_key: row.try_get("public_key").map_err(backend)?,
        sealed: sealed
            .into_iter()
            .map(|(name, value)| Ok((name, hex::decode(value).map_err(|_| damaged("value"))?)))
            .collect::<Result<_, Error>>()?,
        attributes: serde_json::from_str(attributes).map_err(|_| damaged("attributes"))?,
        id: parsed(row, "id")?,
    };
    Ok((parsed(row, "provider")?, kek, state))
}

fn store(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Backend {
        source: source.into(),
    }
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        match error {
            Error::Exists { what } => Self::Exists { what },
            other => Self::Backend {
                source: Box::new(other),
            },
        }
    }
}
