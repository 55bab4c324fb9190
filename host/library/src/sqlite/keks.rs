//! KEKs, their sealed private keys, providers' configurations.

use async_trait::async_trait;
use keyreel_format::{KekId, ProviderId, TenantId};
use keyreel_keys::{
    Kek, KekRecord, KekState, KekStore, KeyConfiguration, Policy, RecoveryKey, Registration,
    Retirement, SealedKey, StoreError, Succession,
};
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection as _, QueryBuilder, Row, Sqlite, SqliteConnection};

use super::{SqliteCatalogue, backend, exists, parsed, policy_from, recovery, rotation, to_i64};
use crate::Error;

const CONFIGURATION: &str = "SELECT c.id, t.id AS tenant, c.provider, c.config, c.created_ms \
    FROM key_configuration c JOIN tenant t ON t.key = c.tenant WHERE t.id = ";

const KEK: &str = "SELECT provider, id, algorithm, public_key, sealed, attributes, state, created_ms FROM kek \
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
            .map(|record| (record.provider, record.kek)))
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
            .map(|record| (record.kek, record.state)))
    }

    async fn keks(&self, tenant: &TenantId) -> Result<Vec<KekRecord>, StoreError> {
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
        (kek, policy): (&Kek, Policy),
        created_ms: u64,
    ) -> Result<(), StoreError> {
        let key = self.known_tenant_key(tenant).await?;
        let mut tx = self
            .write
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(store)?;
        require_policy(&mut tx, key, tenant, policy).await?;
        make_current(&mut tx, key, provider, kek, created_ms).await?;
        tx.commit().await.map_err(store)
    }

    async fn succeed_kek(
        &self,
        tenant: &TenantId,
        succession: &Succession,
        kek: &Kek,
    ) -> Result<bool, StoreError> {
        rotation::succeed(self, tenant, succession, kek).await
    }

    async fn set_kek_state(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        id: &KekId,
        state: KekState,
    ) -> Result<bool, StoreError> {
        let set = sqlx::query(
            "UPDATE kek SET state = ? WHERE tenant = (SELECT key FROM tenant WHERE id = ?) \
             AND provider = ? AND id = ? AND state <> 'retired'",
        )
        .bind(state.as_str())
        .bind(tenant.as_str())
        .bind(provider.as_str())
        .bind(id.as_str())
        .execute(&self.write)
        .await
        .map_err(|error| exists(error, || format!("a current KEK of {tenant}")))?;
        Ok(set.rows_affected() > 0)
    }

    async fn retire_kek(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        id: &KekId,
        recordings: u64,
    ) -> Result<Retirement, StoreError> {
        let Some(tenant) = self.tenant_key(tenant).await? else {
            return Ok(Retirement::Unknown);
        };
        let mut write = self.write.acquire().await.map_err(store)?;
        let retired = retire(&mut write, tenant, (provider, id), recordings).await;
        if matches!(retired, Ok(Retirement::Retired)) {
            empty_log(&mut write).await;
        }
        retired
    }

    async fn key_configuration(
        &self,
        tenant: &TenantId,
        id: &str,
    ) -> Result<Option<KeyConfiguration>, StoreError> {
        let mut select = QueryBuilder::<Sqlite>::new(CONFIGURATION);
        select
            .push_bind(tenant.as_str())
            .push(" AND c.id = ")
            .push_bind(id);
        let row = select.build().fetch_optional(&self.read).await;
        let row = row.map_err(store)?;
        Ok(row.map(|row| configuration_from(&row)).transpose()?)
    }

    async fn key_configurations(
        &self,
        tenant: &TenantId,
    ) -> Result<Vec<KeyConfiguration>, StoreError> {
        let mut select = QueryBuilder::<Sqlite>::new(CONFIGURATION);
        select
            .push_bind(tenant.as_str())
            .push(" ORDER BY c.seq DESC");
        let rows = select.build().fetch_all(&self.read).await.map_err(store)?;
        Ok(rows
            .iter()
            .map(configuration_from)
            .collect::<Result<_, _>>()?)
    }

    async fn put_registration(&self, registration: &Registration) -> Result<(), StoreError> {
        let Registration {
            configuration,
            secrets,
            kek,
            now_ms,
        } = registration;
        let provider = &configuration.provider;
        let tenant = self.known_tenant_key(&configuration.tenant).await?;
        let mut tx = self
            .write
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(store)?;
        let put = sqlx::query(
            "INSERT INTO key_configuration (id, tenant, provider, config, created_ms) \
             VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET config = excluded.config \
             WHERE tenant = excluded.tenant AND provider = excluded.provider",
        )
        .bind(&configuration.id)
        .bind(tenant)
        .bind(provider.as_str())
        .bind(&configuration.config_json)
        .bind(to_i64("created", configuration.created_ms)?)
        .execute(&mut *tx)
        .await
        .map_err(store)?;
        if put.rows_affected() == 0 {
            return Err(StoreError::Exists {
                what: format!("key configuration {}", configuration.id),
            });
        }
        for (name, key) in secrets {
            sqlx::query(
                "INSERT INTO sealed_key VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE \
                 SET algorithm = excluded.algorithm, sealed = excluded.sealed",
            )
            .bind(tenant)
            .bind(provider.as_str())
            .bind(name)
            .bind(&key.algorithm)
            .bind(&key.sealed)
            .execute(&mut *tx)
            .await
            .map_err(store)?;
        }
        if let Some((kek, policy)) = kek {
            require_policy(&mut tx, tenant, &configuration.tenant, *policy).await?;
            make_current(&mut tx, tenant, provider, kek, *now_ms).await?;
        }
        tx.commit().await.map_err(store)
    }

    async fn recovery_key(&self, tenant: &TenantId) -> Result<Option<RecoveryKey>, StoreError> {
        recovery::current(self, tenant).await
    }

    async fn put_recovery_key(
        &self,
        tenant: &TenantId,
        key: &RecoveryKey,
        policy: Policy,
    ) -> Result<bool, StoreError> {
        recovery::put(self, tenant, key, policy).await
    }

    async fn remove_recovery_key(&self, tenant: &TenantId) -> Result<bool, StoreError> {
        recovery::remove(self, tenant).await
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

/// Whether a tenant's policy is what it was when a KEK was made for it.
async fn require_policy(
    tx: &mut SqliteConnection,
    key: i64,
    tenant: &TenantId,
    policy: Policy,
) -> Result<(), StoreError> {
    let found: String = sqlx::query_scalar("SELECT policy FROM tenant WHERE key = ?")
        .bind(key)
        .fetch_one(tx)
        .await
        .map_err(store)?;
    let found = policy_from(&found).ok_or_else(|| Error::damaged("policy of a tenant"))?;
    if found == policy {
        return Ok(());
    }
    Err(StoreError::PolicyChanged {
        tenant: tenant.clone(),
        policy: found.as_str(),
    })
}

/// Adds a KEK and makes it the tenant's current one, within a transaction.
pub(super) async fn make_current(
    tx: &mut SqliteConnection,
    tenant: i64,
    provider: &ProviderId,
    kek: &Kek,
    created_ms: u64,
) -> Result<(), StoreError> {
    let sealed: Vec<_> = kek
        .sealed
        .iter()
        .map(|(name, bytes)| (name, hex::encode(bytes)))
        .collect();
    let sealed = serde_json::to_string(&sealed).map_err(store)?;
    let attributes = serde_json::to_string(&kek.attributes).map_err(store)?;
    sqlx::query("UPDATE kek SET state = 'previous' WHERE tenant = ? AND state = 'current'")
        .bind(tenant)
        .execute(&mut *tx)
        .await
        .map_err(store)?;
    sqlx::query(
        "INSERT INTO kek (tenant, provider, id, algorithm, public_key, sealed, attributes, \
         state, created_ms) VALUES (?, ?, ?, ?, ?, ?, ?, 'current', ?)",
    )
    .bind(tenant)
    .bind(provider.as_str())
    .bind(kek.id.as_str())
    .bind(&kek.algorithm)
    .bind(&kek.public_key)
    .bind(sealed)
    .bind(attributes)
    .bind(to_i64("created", created_ms)?)
    .execute(&mut *tx)
    .await
    .map_err(|error| exists(error, || format!("KEK {}", kek.id)))?;
    sqlx::query("UPDATE tenant SET provider = ? WHERE key = ?")
        .bind(provider.as_str())
        .bind(tenant)
        .execute(&mut *tx)
        .await
        .map_err(store)?;
    Ok(())
}

/// The log holds what the pages held before: it goes too. Whether it did: a reader that is in its way
/// is not waited for, since everybody who writes waits as well.
pub(super) async fn empty_log(write: &mut SqliteConnection) -> bool {
    let emptied = async {
        sqlx::query("PRAGMA busy_timeout = 200")
            .execute(&mut *write)
            .await?;
        let busy: Result<i64, _> = sqlx::query_scalar("PRAGMA wal_checkpoint(TRUNCATE)")
            .fetch_one(&mut *write)
            .await;
        sqlx::query("PRAGMA busy_timeout = 10000")
            .execute(&mut *write)
            .await?;
        busy
    };
    match emptied.await {
        Ok(0) => return true,
        Ok(_) => tracing::warn!("a reader keeps the write-ahead log from being emptied now"),
        Err(error) => tracing::warn!(%error, "the write-ahead log could not be emptied"),
    }
    false
}

async fn retire(
    write: &mut SqliteConnection,
    tenant: i64,
    (provider, id): (&ProviderId, &KekId),
    recordings: u64,
) -> Result<Retirement, StoreError> {
    let mut tx = write.begin_with("BEGIN IMMEDIATE").await.map_err(store)?;
    let found: Option<(String, i64)> = sqlx::query_as(
        "SELECT state, (SELECT count(*) FROM recording r INDEXED BY recording_kek \
         WHERE r.tenant = k.tenant AND r.provider = k.provider AND r.kek = k.id) \
         FROM kek k WHERE tenant = ? AND provider = ? AND id = ?",
    )
    .bind(tenant)
    .bind(provider.as_str())
    .bind(id.as_str())
    .fetch_optional(&mut *tx)
    .await
    .map_err(store)?;
    let Some((state, needed)) = found else {
        return Ok(Retirement::Unknown);
    };
    let needed = u64::try_from(needed).unwrap_or(u64::MAX);
    match state.as_str() {
        "current" => return Ok(Retirement::Current),
        "retired" => {}
        _ if needed != recordings => return Ok(Retirement::InUse { recordings: needed }),
        _ => {}
    }
    sqlx::query("DELETE FROM sealed_key WHERE tenant = ? AND provider = ? AND name = ?")
        .bind(tenant)
        .bind(provider.as_str())
        .bind(id.as_str())
        .execute(&mut *tx)
        .await
        .map_err(store)?;
    sqlx::query(
        "UPDATE kek SET state = 'retired', sealed = '[]' \
         WHERE tenant = ? AND provider = ? AND id = ?",
    )
    .bind(tenant)
    .bind(provider.as_str())
    .bind(id.as_str())
    .execute(&mut *tx)
    .await
    .map_err(store)?;
    tx.commit().await.map_err(store)?;
    Ok(Retirement::Retired)
}

fn configuration_from(row: &SqliteRow) -> Result<KeyConfiguration, Error> {
    Ok(KeyConfiguration {
        id: row.try_get("id").map_err(backend)?,
        tenant: parsed(row, "tenant")?,
        provider: parsed(row, "provider")?,
        config_json: row.try_get("config").map_err(backend)?,
        created_ms: created_ms(row)?,
    })
}

fn created_ms(row: &SqliteRow) -> Result<u64, Error> {
    let ms: i64 = row.try_get("created_ms").map_err(backend)?;
    u64::try_from(ms).map_err(|_| Error::damaged("date of a KEK or a key configuration"))
}

fn kek_from(row: &SqliteRow) -> Result<KekRecord, Error> {
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
        "disabled" => KekState::Disabled,
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
    Ok(KekRecord {
        provider: parsed(row, "provider")?,
        kek,
        state,
        created_ms: created_ms(row)?,
    })
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
