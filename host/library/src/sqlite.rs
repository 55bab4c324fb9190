//! The catalogue on SQLite: the embedded default, one machine, nothing else installed.
//! Not for: several nodes (PostgreSQL), the objects' bytes.

mod accounts;
mod address;
mod audit;
mod cursor;
mod destruction;
mod keks;
mod recordings;
mod recovery;
mod rewrap;
mod rotation;
mod search;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use keyreel_format::{ProviderId, RecordingId, TenantId};
use keyreel_keys::{MetadataKey, MetadataKeys, Policy};
use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{Connection as _, Row, SqlitePool};

use crate::Error;
use crate::audit_chain::{AuditHeads, AuditKey, AuditLink};
use crate::audit_mark::AuditMarks;
use crate::catalogue::{
    AuditEvent, AuditQuery, AuditRecord, Catalogue, Credential, Page, Recording, RecordingQuery,
    Role, Tenant, User,
};
use crate::rotation::{DueRotation, RotationSchedule};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// The catalogue in one SQLite file. Cheap to clone.
///
/// Writes go through one connection, so they never wait for each other's locks; reads have a pool
/// of their own, and the write-ahead log lets them run beside a write.
#[derive(Clone)]
pub struct SqliteCatalogue {
    write: SqlitePool,
    read: SqlitePool,
    audit: audit::Appender,
    metadata: Option<Arc<dyn MetadataKeys>>,
    tenant_keys: Arc<RwLock<HashMap<TenantId, i64>>>,
}

impl SqliteCatalogue {
    /// Opens the catalogue at `url`, making and migrating it where needed:
    /// `sqlite:///var/lib/keyreel/catalogue.db`, or `sqlite::memory:` for tests. What is known of
    /// recordings is sealed with `metadata`.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the URL is not one of SQLite's; [`Error::Backend`] where the file
    /// cannot be opened, was written by a newer version, or has tenants of a version from before
    /// recordings were sealed.
    pub async fn open_with(url: &str, metadata: Arc<dyn MetadataKeys>) -> Result<Self, Error> {
        Self::at(url, Some(metadata)).await
    }

    /// The same for who needs no recordings: they can be counted, but neither read nor added.
    ///
    /// # Errors
    /// As [`SqliteCatalogue::open_with`].
    pub async fn open(url: &str) -> Result<Self, Error> {
        Self::at(url, None).await
    }

    async fn at(url: &str, metadata: Option<Arc<dyn MetadataKeys>>) -> Result<Self, Error> {
        let options: SqliteConnectOptions = url
            .parse()
            .map_err(|error: sqlx::Error| Error::invalid("catalogue URL", error.to_string()))?;
        let in_memory = is_in_memory(url);
        if !in_memory {
            make_private_file(options.get_filename())?;
        }
        let options = options
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            // NORMAL would lose acknowledged audit lines in a power cut.
            .synchronous(SqliteSynchronous::Full)
            // Another process may write too: an import beside a server.
            .busy_timeout(Duration::from_secs(10))
            // What was deleted or moved within the file is overwritten: it may have been a key.
            .pragma("secure_delete", "on")
            .pragma("temp_store", "memory")
            // A bulk import's log is not kept for ever.
            .pragma("journal_size_limit", "67108864")
            .pragma("cache_size", "-32768")
            .statement_cache_capacity(256);
        let pool = |connections| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .min_connections(1)
                .test_before_acquire(false)
                .idle_timeout(None)
                .max_lifetime(None)
        };
        let write = pool(1)
            // A full disk has SQLite roll back by itself; then sqlx still believes itself within
            // a transaction, and none would begin on this connection again.
            .after_release(|connection, _| {
                Box::pin(async move {
                    // What was rolled back on the way here is done after this.
                    connection.ping().await?;
                    Ok(!connection.is_in_transaction())
                })
            })
            .connect_with(options.clone())
            .await
            .map_err(backend)?;
        let chained = audit::was_there(&write).await?;
        MIGRATIONS.run(&write).await.map_err(backend)?;
        let origin = if chained {
            audit::Origin::Known
        } else {
            audit::link_what_was_there(&write).await?;
            audit::Origin::LinkedNow
        };
        let read = if in_memory {
            // Each connection would have a database of its own.
            write.clone()
        } else {
            let readers = options
                .pragma("query_only", "on")
                .pragma("mmap_size", "1073741824");
            pool(read_connections())
                .connect_with(readers)
                .await
                .map_err(backend)?
        };
        Ok(Self {
            audit: audit::Appender::start(write.clone(), origin),
            write,
            read,
            metadata,
            tenant_keys: Arc::default(),
        })
    }

    /// Adds many recordings in one transaction, all or none: for restoring and migrating.
    ///
    /// # Errors
    /// As [`Catalogue::add_recording`].
    pub async fn add_recordings(&self, recordings: &[Recording]) -> Result<(), Error> {
        recordings::add(self, recordings).await
    }

    /// Has the end of the audit log signed with `key`, here and in every clone. A log that was
    /// signed once is appended to with its key only.
    pub fn sign_audit_with(&self, key: AuditKey) {
        self.audit.sign_with(key);
    }

    /// Has the end of the audit log marked in `marks` now and then, here and in every clone. A log
    /// that has not what is marked there is not appended to.
    pub fn mark_audit_in(&self, marks: Arc<dyn AuditMarks>) {
        self.audit.marker().keep_in(marks);
    }

    /// Whether the audit log is still the one that was marked.
    ///
    /// # Errors
    /// [`Error::AuditBroken`] where it is not; or the mark or the log cannot be read.
    pub async fn check_audit_mark(&self) -> Result<(), Error> {
        match self.audit.marker().read().await? {
            Some(mark) => audit::has_marked(&self.read, mark).await,
            None => Ok(()),
        }
    }

    /// Marks the end of the audit log as this process wrote it; but not where it was looked into and
    /// goes on from somewhere else since.
    async fn mark_end(&self) {
        if let Some(latest) = self.audit.marker().latest()
            && audit::has_marked(&self.read, latest).await.is_ok()
        {
            self.audit.marker().mark_latest().await;
        }
    }

    /// Appends `event` to an audit log that was found broken, whatever it ends with, and signs
    /// that: it goes on from there, and its mark is there. What is broken stays so, and stays to be
    /// seen.
    ///
    /// # Errors
    /// As [`Catalogue::append_audit`].
    pub async fn resume_audit(&self, event: &AuditEvent) -> Result<(), Error> {
        let events = std::slice::from_ref(event);
        self.audit.append(events, audit::After::Anything).await
    }

    /// The number that stands for a tenant in this database. It never changes, so it is kept.
    async fn tenant_key(&self, tenant: &TenantId) -> Result<Option<i64>, Error> {
        let known = {
            let keys = self
                .tenant_keys
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            keys.get(tenant).copied()
        };
        if known.is_some() {
            return Ok(known);
        }
        let found: Option<i64> = sqlx::query_scalar("SELECT key FROM tenant WHERE id = ?")
            .bind(tenant.as_str())
            .fetch_optional(&self.read)
            .await
            .map_err(backend)?;
        if let Some(key) = found {
            let mut keys = self
                .tenant_keys
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            keys.insert(tenant.clone(), key);
        }
        Ok(found)
    }

    /// What seals and opens what is known of a tenant's recordings.
    async fn metadata(&self, tenant: &TenantId) -> Result<Arc<MetadataKey>, Error> {
        let keys = self.metadata.as_ref().ok_or(Error::WithoutKeys)?;
        Ok(keys.keys(tenant).await?)
    }

    async fn known_tenant_key(&self, tenant: &TenantId) -> Result<i64, Error> {
        self.tenant_key(tenant)
            .await?
            .ok_or_else(|| Error::NotFound {
                what: format!("tenant {tenant}"),
            })
    }
}

#[async_trait]
impl Catalogue for SqliteCatalogue {
    async fn close(&self) {
        self.mark_end().await;
        self.read.close().await;
        self.write.close().await;
    }

    async fn add_tenant(&self, tenant: &Tenant) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO tenant (id, name, policy, provider, created_ms) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(tenant.id.as_str())
        .bind(&tenant.name)
        .bind(tenant.policy.as_str())
        .bind(tenant.provider.as_str())
        .bind(to_i64("created_ms", tenant.created_ms)?)
        .execute(&self.write)
        .await
        .map_err(|error| exists(error, || format!("tenant {}", tenant.id)))?;
        Ok(())
    }

    async fn tenant(&self, id: &TenantId) -> Result<Option<Tenant>, Error> {
        sqlx::query("SELECT id, name, policy, provider, created_ms FROM tenant WHERE id = ?")
            .bind(id.as_str())
            .fetch_optional(&self.read)
            .await
            .map_err(backend)?
            .map(|row| tenant_from(&row))
            .transpose()
    }

    async fn tenants(&self) -> Result<Vec<Tenant>, Error> {
        sqlx::query("SELECT id, name, policy, provider, created_ms FROM tenant ORDER BY id")
            .fetch_all(&self.read)
            .await
            .map_err(backend)?
            .iter()
            .map(tenant_from)
            .collect()
    }

    async fn set_provider_config(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        config: &str,
    ) -> Result<(), Error> {
        let key = self.known_tenant_key(tenant).await?;
        sqlx::query("INSERT OR REPLACE INTO provider_config VALUES (?, ?, ?)")
            .bind(key)
            .bind(provider.as_str())
            .bind(config)
            .execute(&self.write)
            .await
            .map_err(backend)?;
        Ok(())
    }

    async fn rotation_schedule(
        &self,
        tenant: &TenantId,
    ) -> Result<Option<RotationSchedule>, Error> {
        rotation::schedule(self, tenant).await
    }

    async fn set_rotation_schedule(
        &self,
        tenant: &TenantId,
        schedule: Option<&RotationSchedule>,
    ) -> Result<(), Error> {
        rotation::set(self, tenant, schedule).await
    }

    async fn claim_rotation(
        &self,
        claim: &str,
        now_ms: u64,
        until_ms: u64,
    ) -> Result<Option<DueRotation>, Error> {
        rotation::claim(self, claim, now_ms, until_ms).await
    }

    async fn settle_rotation(
        &self,
        due: &DueRotation,
        next: &RotationSchedule,
    ) -> Result<bool, Error> {
        rotation::settle(self, due, next).await
    }

    async fn add_recording(&self, recording: &Recording) -> Result<(), Error> {
        recordings::add(self, std::slice::from_ref(recording)).await
    }

    async fn recording(
        &self,
        tenants: &[TenantId],
        id: &RecordingId,
    ) -> Result<Option<Recording>, Error> {
        recordings::one(self, tenants, id).await
    }

    async fn recordings(&self, query: &RecordingQuery) -> Result<Page<Recording>, Error> {
        recordings::page(self, query).await
    }

    async fn add_user(&self, user: &User) -> Result<(), Error> {
        accounts::add_user(self, user).await
    }

    async fn grant_role(&self, user: &str, tenant: &TenantId, role: Role) -> Result<(), Error> {
        accounts::grant_role(self, user, tenant, role).await
    }

    async fn user_by_name(&self, name: &str) -> Result<Option<User>, Error> {
        accounts::user_by_name(self, name).await
    }

    async fn user(&self, id: &str) -> Result<Option<User>, Error> {
        accounts::user(self, id).await
    }

    async fn users(&self) -> Result<Vec<User>, Error> {
        accounts::users(self).await
    }

    async fn set_password(&self, user: &str, password_hash: &str) -> Result<(), Error> {
        accounts::set_password(self, user, password_hash).await
    }

    async fn remove_user(&self, id: &str) -> Result<(), Error> {
        accounts::remove_user(self, id).await
    }

    async fn add_credential(&self, credential: &Credential) -> Result<(), Error> {
        accounts::add_credential(self, credential).await
    }

    async fn credential(
        &self,
        secret_sha256: &[u8; 32],
        now_ms: u64,
    ) -> Result<Option<Credential>, Error> {
        accounts::credential(self, secret_sha256, now_ms).await
    }

    async fn tokens(&self) -> Result<Vec<Credential>, Error> {
        accounts::tokens(self).await
    }

    async fn revoke_credential(&self, id: &str) -> Result<(), Error> {
        accounts::revoke_credential(self, id).await
    }

    async fn append_audit(&self, events: &[AuditEvent]) -> Result<(), Error> {
        self.audit.append(events, audit::After::Head).await
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Page<AuditRecord>, Error> {
        audit::page(self, query).await
    }

    async fn audit_links(&self, after: u64, limit: u32) -> Result<Vec<AuditLink>, Error> {
        audit::links(&self.read, after, limit).await
    }

    async fn audit_heads(&self) -> Result<AuditHeads, Error> {
        audit::heads(&self.read).await
    }

    async fn ready(&self) -> Result<(), Error> {
        sqlx::query("UPDATE heartbeat SET beat = beat + 1")
            .execute(&self.write)
            .await
            .map_err(backend)?;
        Ok(())
    }
}

fn tenant_from(row: &SqliteRow) -> Result<Tenant, Error> {
    let id: String = row.try_get("id").map_err(backend)?;
    let policy: String = row.try_get("policy").map_err(backend)?;
    Ok(Tenant {
        name: row.try_get("name").map_err(backend)?,
        policy: policy_from(&policy)
            .ok_or_else(|| Error::damaged(format!("policy of tenant {id}")))?,
        provider: parsed(row, "provider")?,
        created_ms: unsigned(row, "created_ms")?,
        id: parsed(row, "id")?,
    })
}

fn policy_from(name: &str) -> Option<Policy> {
    [Policy::Compatible, Policy::Aes256]
        .into_iter()
        .find(|known| known.as_str() == name)
}

/// A column that holds one of the types that parse.
fn parsed<T: std::str::FromStr>(row: &SqliteRow, column: &str) -> Result<T, Error> {
    let text: &str = row.try_get(column).map_err(backend)?;
    text.parse().map_err(|_| Error::damaged(column))
}

/// As [`parsed`], of a column that may be NULL.
fn optional<T: std::str::FromStr>(row: &SqliteRow, column: &str) -> Result<Option<T>, Error> {
    let text: Option<&str> = row.try_get(column).map_err(backend)?;
    let parsed = text.map(|text| text.parse().map_err(|_| Error::damaged(column)));
    parsed.transpose()
}

fn unsigned(row: &SqliteRow, column: &str) -> Result<u64, Error> {
    let value: i64 = row.try_get(column).map_err(backend)?;
    u64::try_from(value).map_err(|_| Error::damaged(column))
}

fn optional_unsigned(row: &SqliteRow, column: &str) -> Result<Option<u64>, Error> {
    let value: Option<i64> = row.try_get(column).map_err(backend)?;
    let value = value.map(|value| u64::try_from(value).map_err(|_| Error::damaged(column)));
    value.transpose()
}

fn to_i64(what: &str, value: u64) -> Result<i64, Error> {
    i64::try_from(value).map_err(|_| Error::invalid(what, "more than 2^63"))
}

fn backend(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Backend {
        source: source.into(),
    }
}

/// A unique constraint that is broken means that the name is taken.
fn exists(error: sqlx::Error, what: impl FnOnce() -> String) -> Error {
    match &error {
        sqlx::Error::Database(inner) if inner.is_unique_violation() => {
            Error::Exists { what: what() }
        }
        _ => backend(error),
    }
}

fn is_in_memory(url: &str) -> bool {
    url.contains(":memory:") || url.contains("mode=memory")
}

fn read_connections() -> u32 {
    let cores = std::thread::available_parallelism().map_or(2, |n| n.get());
    u32::try_from(cores)
        .unwrap_or(8)
        .saturating_mul(2)
        .clamp(4, 16)
}

/// Sealed keys and people's conversations are in it: the file is its owner's alone. SQLite gives the log
/// beside it the same mode.
fn make_private_file(path: &Path) -> Result<(), Error> {
    let failed = |error: std::io::Error| backend(format!("{}: {error}", path.display()));
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests;
