//! Making accounts, tokens and sign-in links: for the binary's commands and for `keyreel demo`.
//! Not for: checking them (see `access`).

use std::time::Duration;

use keyreel_format::TenantId;
use keyreel_keys::Clock;
use keyreel_library::{Catalogue, Credential, CredentialKind, Role, User};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::access::{NewSecret, TOKEN_PREFIX, password};

/// A credential, with the secret that is shown this once.
pub struct Issued {
    /// Names it in the audit log, and revokes it.
    pub id: String,
    /// The secret: "krt_…" for a token; what follows `#link=` for a link.
    pub secret: Zeroizing<String>,
    /// When it ends, ms since 1970.
    pub expires_ms: Option<u64>,
}

/// Making an account or a credential failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// A password that is too short or too long.
    #[error("a password has {MIN_PASSWORD} to {MAX_PASSWORD} characters")]
    PasswordLength,
    /// A name that nobody could type.
    #[error("a name has 1 to {MAX_NAME} characters, none of them a control character")]
    Name,
    /// Hashing failed.
    #[error("the password could not be hashed")]
    Password,
    /// The system has no randomness.
    #[error("the system's random generator failed")]
    Random,
    /// The catalogue failed.
    #[error(transparent)]
    Catalogue(#[from] keyreel_library::Error),
}

/// Adds an account. Without a password it signs in by link only.
///
/// # Errors
/// The name is taken, the catalogue fails, or as [`new_user`].
pub async fn create_user(
    catalogue: &dyn Catalogue,
    name: &str,
    password: Option<&str>,
    roles: Vec<(TenantId, Role)>,
) -> Result<User, AccountError> {
    let user = new_user(name, password, roles).await?;
    catalogue.add_user(&user).await?;
    Ok(user)
}

/// An account that is in no catalogue yet.
///
/// # Errors
/// The name is not a name, the password too short.
pub async fn new_user(
    name: &str,
    password: Option<&str>,
    roles: Vec<(TenantId, Role)>,
) -> Result<User, AccountError> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(AccountError::Name);
    }
    let password_hash = match password {
        Some(password) => Some(hash_password(password).await?),
        None => None,
    };
    let id = Uuid::new_v4().to_string();
    Ok(User {
        id,
        name: name.to_owned(),
        password_hash,
        roles,
    })
}

/// What the catalogue keeps of a password.
///
/// # Errors
/// It is too short or too long, or hashing fails.
pub async fn hash_password(password: &str) -> Result<String, AccountError> {
    if !(MIN_PASSWORD..=MAX_PASSWORD).contains(&password.chars().count()) {
        return Err(AccountError::PasswordLength);
    }
    let password = Zeroizing::new(password.to_owned());
    let hashed = tokio::task::spawn_blocking(move || password::hash(&password));
    hashed.await.map_err(|_| AccountError::Password)?
}

/// Adds a bearer token that is called `label` in the audit log.
///
/// # Errors
/// The catalogue fails.
pub async fn create_token(
    catalogue: &dyn Catalogue,
    clock: &dyn Clock,
    label: &str,
    roles: Vec<(TenantId, Role)>,
    ttl: Option<Duration>,
) -> Result<Issued, AccountError> {
    let new = New {
        kind: CredentialKind::Bearer,
        user: None,
        label,
        roles,
        ttl,
    };
    issue(catalogue, clock, new).await
}

/// Adds a link that signs `user` in, any number of times until it expires.
///
/// # Errors
/// The catalogue fails.
pub async fn create_link(
    catalogue: &dyn Catalogue,
    clock: &dyn Clock,
    user: &User,
    ttl: Duration,
) -> Result<Issued, AccountError> {
    let new = New {
        kind: CredentialKind::Link,
        user: Some(user.id.clone()),
        label: "",
        roles: Vec::new(),
        ttl: Some(ttl),
    };
    issue(catalogue, clock, new).await
}

/// Adds a session for `user`.
pub(crate) async fn create_session(
    catalogue: &dyn Catalogue,
    clock: &dyn Clock,
    user: &User,
    ttl: Duration,
) -> Result<Issued, AccountError> {
    let new = New {
        kind: CredentialKind::Session,
        user: Some(user.id.clone()),
        label: "",
        roles: Vec::new(),
        ttl: Some(ttl),
    };
    issue(catalogue, clock, new).await
}

struct New<'a> {
    kind: CredentialKind,
    user: Option<String>,
    label: &'a str,
    roles: Vec<(TenantId, Role)>,
    ttl: Option<Duration>,
}

async fn issue(
    catalogue: &dyn Catalogue,
    clock: &dyn Clock,
    new: New<'_>,
) -> Result<Issued, AccountError> {
    let prefix = if new.kind == CredentialKind::Bearer {
        TOKEN_PREFIX
    } else {
        ""
    };
    let secret = NewSecret::generate(prefix)?;
    let created_ms = clock.now_ms();
    let expires_ms = new
        .ttl
        .map(|ttl| created_ms.saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)));
    let credential = Credential {
        id: Uuid::new_v4().to_string(),
        kind: new.kind,
        secret_sha256: secret.sha256,
        user: new.user,
        label: new.label.to_owned(),
        roles: new.roles,
        created_ms,
        expires_ms,
    };
    catalogue.add_credential(&credential).await?;
    Ok(Issued {
        id: credential.id,
        secret: secret.text,
        expires_ms,
    })
}

const MIN_PASSWORD: usize = 10;
const MAX_PASSWORD: usize = 256;
const MAX_NAME: usize = 128;
