//! Accounts and credentials.

use keyreel_format::TenantId;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{QueryBuilder, Row};

use super::{SqliteCatalogue, backend, exists, optional_unsigned, to_i64, unsigned};
use crate::Error;
use crate::catalogue::{Credential, CredentialKind, Role, User};

const USER: &str = "SELECT u.id, u.name, u.password_hash, \
    (SELECT json_group_array(json_array(t.id, r.role) ORDER BY r.ordinal) \
     FROM account_role r JOIN tenant t ON t.key = r.tenant WHERE r.account = u.id) AS roles \
    FROM account u ";
const CREDENTIAL: &str = "SELECT c.id, c.kind, c.secret_sha256, c.account, c.label, c.created_ms, \
    c.expires_ms, \
    (SELECT json_group_array(json_array(t.id, r.role) ORDER BY r.ordinal) \
     FROM credential_role r JOIN tenant t ON t.key = r.tenant WHERE r.credential = c.id) AS roles \
    FROM credential c WHERE c.revoked = 0 AND ";

pub(super) async fn add_user(catalogue: &SqliteCatalogue, user: &User) -> Result<(), Error> {
    let keys = role_keys(catalogue, &user.roles).await?;
    let mut tx = catalogue
        .write
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(backend)?;
    sqlx::query("INSERT INTO account (id, name, password_hash) VALUES (?, ?, ?)")
        .bind(&user.id)
        .bind(&user.name)
        .bind(&user.password_hash)
        .execute(&mut *tx)
        .await
        .map_err(|error| exists(error, || format!("account {}", user.name)))?;
    insert_roles(&mut tx, "account", &user.id, keys).await?;
    tx.commit().await.map_err(backend)
}

pub(super) async fn grant_role(
    catalogue: &SqliteCatalogue,
    user: &str,
    tenant: &TenantId,
    role: Role,
) -> Result<(), Error> {
    let tenant = catalogue.known_tenant_key(tenant).await?;
    let granted = sqlx::query(
        "INSERT INTO account_role (account, ordinal, tenant, role) \
         SELECT a.id, 1 + coalesce(max(r.ordinal), -1), ?, ? \
         FROM account a LEFT JOIN account_role r ON r.account = a.id \
         WHERE a.id = ? GROUP BY a.id \
         ON CONFLICT (account, tenant) DO UPDATE SET role = account_role.role",
    )
    .bind(tenant)
    .bind(role_name(role))
    .bind(user)
    .execute(&catalogue.write)
    .await
    .map_err(backend)?;
    some(granted.rows_affected(), user)
}

pub(super) async fn user_by_name(
    catalogue: &SqliteCatalogue,
    name: &str,
) -> Result<Option<User>, Error> {
    one_user(catalogue, "WHERE u.name = ", name).await
}

pub(super) async fn user(catalogue: &SqliteCatalogue, id: &str) -> Result<Option<User>, Error> {
    one_user(catalogue, "WHERE u.id = ", id).await
}

async fn one_user(
    catalogue: &SqliteCatalogue,
    condition: &'static str,
    value: &str,
) -> Result<Option<User>, Error> {
    let mut select = QueryBuilder::new(USER);
    select.push(condition).push_bind(value);
    let row = select
        .build()
        .fetch_optional(&catalogue.read)
        .await
        .map_err(backend)?;
    row.map(|row| user_from(&row)).transpose()
}

pub(super) async fn users(catalogue: &SqliteCatalogue) -> Result<Vec<User>, Error> {
    let mut select = QueryBuilder::new(USER);
    select.push("ORDER BY u.name, u.id");
    let rows = select
        .build()
        .fetch_all(&catalogue.read)
        .await
        .map_err(backend)?;
    rows.iter().map(user_from).collect()
}

fn user_from(row: &SqliteRow) -> Result<User, Error> {
    Ok(User {
        id: row.try_get("id").map_err(backend)?,
        name: row.try_get("name").map_err(backend)?,
        password_hash: row.try_get("password_hash").map_err(backend)?,
        roles: roles_from(row)?,
    })
}

pub(super) async fn set_password(
    catalogue: &SqliteCatalogue,
    user: &str,
    password_hash: &str,
) -> Result<(), Error> {
    let mut tx = catalogue
        .write
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(backend)?;
    let set = sqlx::query("UPDATE account SET password_hash = ? WHERE id = ?")
        .bind(password_hash)
        .bind(user)
        .execute(&mut *tx)
        .await
        .map_err(backend)?;
    some(set.rows_affected(), user)?;
    sqlx::query("UPDATE credential SET revoked = 1 WHERE account = ?")
        .bind(user)
        .execute(&mut *tx)
        .await
        .map_err(backend)?;
    tx.commit().await.map_err(backend)
}

/// Roles and credentials go with it.
pub(super) async fn remove_user(catalogue: &SqliteCatalogue, id: &str) -> Result<(), Error> {
    let removed = sqlx::query("DELETE FROM account WHERE id = ?")
        .bind(id)
        .execute(&catalogue.write)
        .await
        .map_err(backend)?;
    some(removed.rows_affected(), id)
}

fn some(accounts: u64, id: &str) -> Result<(), Error> {
    if accounts == 0 {
        return Err(Error::NotFound {
            what: format!("account {id}"),
        });
    }
    Ok(())
}

pub(super) async fn add_credential(
    catalogue: &SqliteCatalogue,
    credential: &Credential,
) -> Result<(), Error> {
    let keys = role_keys(catalogue, &credential.roles).await?;
    let expires = credential
        .expires_ms
        .map(|ms| to_i64("expiry", ms))
        .transpose()?;
    let mut tx = catalogue
        .write
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(backend)?;
    sqlx::query(
        "INSERT INTO credential (id, kind, secret_sha256, account, label, created_ms, expires_ms) \
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&credential.id)
    .bind(kind_name(credential.kind))
    .bind(credential.secret_sha256.as_slice())
    .bind(&credential.user)
    .bind(&credential.label)
    .bind(to_i64("created", credential.created_ms)?)
    .bind(expires)
    .execute(&mut *tx)
    .await
    .map_err(|error| exists(error, || format!("credential {}", credential.id)))?;
    insert_roles(&mut tx, "credential", &credential.id, keys).await?;
    tx.commit().await.map_err(backend)
}

pub(super) async fn credential(
    catalogue: &SqliteCatalogue,
    secret_sha256: &[u8; 32],
    now_ms: u64,
) -> Result<Option<Credential>, Error> {
    let mut select = QueryBuilder::new(CREDENTIAL);
    select
        .push("c.secret_sha256 = ")
        .push_bind(secret_sha256.as_slice())
        .push(" AND (c.expires_ms IS NULL OR c.expires_ms > ")
        .push_bind(to_i64("now", now_ms)?)
        .push(")");
    let row = select
        .build()
        .fetch_optional(&catalogue.read)
        .await
        .map_err(backend)?;
    row.map(|row| credential_from(&row)).transpose()
}

pub(super) async fn tokens(catalogue: &SqliteCatalogue) -> Result<Vec<Credential>, Error> {
    let mut select = QueryBuilder::new(CREDENTIAL);
    select
        .push("c.kind = ")
        .push_bind(kind_name(CredentialKind::Bearer))
        .push(" ORDER BY c.created_ms, c.id");
    let rows = select
        .build()
        .fetch_all(&catalogue.read)
        .await
        .map_err(backend)?;
    rows.iter().map(credential_from).collect()
}

fn credential_from(row: &SqliteRow) -> Result<Credential, Error> {
    let kind: &str = row.try_get("kind").map_err(backend)?;
    let secret: &[u8] = row.try_get("secret_sha256").map_err(backend)?;
    Ok(Credential {
        id: row.try_get("id").map_err(backend)?,
        kind: [
            CredentialKind::Bearer,
            CredentialKind::Session,
            CredentialKind::Link,
        ]
        .into_iter()
        .find(|known| kind_name(*known) == kind)
        .ok_or_else(|| Error::damaged("kind of a credential"))?,
        secret_sha256: secret
            .try_into()
            .map_err(|_| Error::damaged("hash of a credential"))?,
        user: row.try_get("account").map_err(backend)?,
        label: row.try_get("label").map_err(backend)?,
        roles: roles_from(row)?,
        created_ms: unsigned(row, "created_ms")?,
        expires_ms: optional_unsigned(row, "expires_ms")?,
    })
}

pub(super) async fn revoke_credential(catalogue: &SqliteCatalogue, id: &str) -> Result<(), Error> {
    sqlx::query("UPDATE credential SET revoked = 1 WHERE id = ?")
        .bind(id)
        .execute(&catalogue.write)
        .await
        .map_err(backend)?;
    Ok(())
}

async fn role_keys(
    catalogue: &SqliteCatalogue,
    roles: &[(TenantId, Role)],
) -> Result<Vec<(i64, Role)>, Error> {
    let mut keys = Vec::with_capacity(roles.len());
    for (tenant, role) in roles {
        keys.push((catalogue.known_tenant_key(tenant).await?, *role));
    }
    Ok(keys)
}

/// `owner` names the table: "account" or "credential".
async fn insert_roles(
    tx: &mut SqliteConnection,
    owner: &'static str,
    id: &str,
    roles: Vec<(i64, Role)>,
) -> Result<(), Error> {
    for ((tenant, role), ordinal) in roles.into_iter().zip(0i64..) {
        let mut insert = QueryBuilder::new(format!(
            "INSERT INTO {owner}_role ({owner}, ordinal, tenant, role) VALUES ("
        ));
        let mut values = insert.separated(", ");
        values
            .push_bind(id)
            .push_bind(ordinal)
            .push_bind(tenant)
            .push_bind(role_name(role));
        insert.push(")");
        insert
            .build()
            .execute(&mut *tx)
            .await
            .map_err(|error| exists(error, || "a role in the same tenant".to_owned()))?;
    }
    Ok(())
}

fn roles_from(row: &SqliteRow) -> Result<Vec<(TenantId, Role)>, Error> {
    let roles: &str = row.try_get("roles").map_err(backend)?;
    serde_json::from_str(roles).map_err(|_| Error::damaged("roles"))
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Agent => "agent",
        Role::Supervisor => "supervisor",
        Role::Admin => "admin",
    }
}

fn kind_name(kind: CredentialKind) -> &'static str {
    match kind {
        CredentialKind::Bearer => "bearer",
        CredentialKind::Session => "session",
        CredentialKind::Link => "link",
    }
}
