//! Accounts and credentials.

use std::sync::Arc;

use super::new_tenant;
use crate::Error;
use crate::catalogue::{Catalogue, Credential, CredentialKind, Role, User};

/// Accounts are kept whole; their names are unique without regard to ASCII case.
pub async fn accounts(catalogue: Arc<dyn Catalogue>) {
    let tenant = new_tenant(&*catalogue, "accounts").await;
    let second = new_tenant(&*catalogue, "accounts-2").await;
    let user = User {
        id: "u-1".to_owned(),
        name: "Maya@Example.com".to_owned(),
        password_hash: Some("$argon2id$v=19$m=1,t=1,p=1$c2FsdA$aGFzaA".to_owned()),
        roles: vec![(second, Role::Supervisor), (tenant, Role::Admin)],
    };
    catalogue.add_user(&user).await.expect("add_user");
    let bare = User {
        id: "u-2".to_owned(),
        name: "link-only".to_owned(),
        password_hash: None,
        roles: Vec::new(),
    };
    catalogue.add_user(&bare).await.expect("add_user");
    let same_name = User {
        id: "u-3".to_owned(),
        name: "maya@example.COM".to_owned(),
        ..bare.clone()
    };
    let again = catalogue.add_user(&same_name).await;
    assert!(
        matches!(again, Err(Error::Exists { .. })),
        "names are unique: {again:?}"
    );
    for name in ["Maya@Example.com", "MAYA@example.com"] {
        let found = catalogue.user_by_name(name).await.expect("user_by_name");
        assert_eq!(found.as_ref(), Some(&user), "{name}");
    }
    assert_eq!(catalogue.user("u-1").await.expect("user"), Some(user));
    assert_eq!(catalogue.user("u-2").await.expect("user"), Some(bare));
    assert_eq!(catalogue.user("u-3").await.expect("user"), None);
    assert_eq!(
        catalogue.user_by_name("maya").await.expect("user_by_name"),
        None
    );
}

/// A role in a tenant is given once, and stays what it is.
pub async fn roles_are_added(catalogue: Arc<dyn Catalogue>) {
    let first = new_tenant(&*catalogue, "roles").await;
    let later = new_tenant(&*catalogue, "roles-later").await;
    let mut user = User {
        id: "u-roles".to_owned(),
        name: "roles".to_owned(),
        password_hash: None,
        roles: vec![(first.clone(), Role::Agent)],
    };
    catalogue.add_user(&user).await.expect("add_user");
    for tenant in [&later, &first, &later] {
        let granted = catalogue.grant_role(&user.id, tenant, Role::Admin).await;
        granted.expect("grant_role");
    }
    user.roles.push((later.clone(), Role::Admin));
    let found = catalogue.user(&user.id).await.expect("user");
    assert_eq!(found, Some(user));
    let nobody = catalogue.grant_role("u-nobody", &later, Role::Admin).await;
    assert!(matches!(nobody, Err(Error::NotFound { .. })), "{nobody:?}");
}

/// A credential is found by its secret's hash until it expires or is revoked.
pub async fn credentials(catalogue: Arc<dyn Catalogue>) {
    let tenant = new_tenant(&*catalogue, "credentials").await;
    let user = User {
        id: "u-credentials".to_owned(),
        name: "credentials".to_owned(),
        password_hash: None,
        roles: vec![(tenant.clone(), Role::Agent)],
    };
    catalogue.add_user(&user).await.expect("add_user");
    let credential = |id: &str, byte: u8, kind, expires_ms| Credential {
        id: id.to_owned(),
        kind,
        secret_sha256: [byte; 32],
        user: (kind != CredentialKind::Bearer).then(|| user.id.clone()),
        label: format!("token:{id}"),
        roles: if kind == CredentialKind::Bearer {
            vec![(tenant.clone(), Role::Admin)]
        } else {
            Vec::new()
        },
        created_ms: 1000,
        expires_ms,
    };
    let bearer = credential("c-1", 1, CredentialKind::Bearer, None);
    let session = credential("c-2", 2, CredentialKind::Session, Some(5000));
    let link = credential("c-3", 3, CredentialKind::Link, Some(6000));
    for credential in [&bearer, &session, &link] {
        catalogue
            .add_credential(credential)
            .await
            .expect("add_credential");
    }
    let again = catalogue
        .add_credential(&credential("c-4", 1, CredentialKind::Link, None))
        .await;
    assert!(
        matches!(again, Err(Error::Exists { .. })),
        "secrets are unique: {again:?}"
    );
    let found = |byte: u8, now_ms: u64| {
        let catalogue = catalogue.clone();
        async move {
            catalogue
                .credential(&[byte; 32], now_ms)
                .await
                .expect("credential")
        }
    };
    assert_eq!(
        found(1, u64::MAX >> 1).await,
        Some(bearer),
        "without an end"
    );
    assert_eq!(found(2, 4999).await, Some(session));
    assert_eq!(found(2, 5000).await, None, "it ends at its end");
    assert_eq!(found(3, 5000).await, Some(link));
    assert_eq!(found(4, 0).await, None);
    catalogue.revoke_credential("c-1").await.expect("revoke");
    catalogue
        .revoke_credential("c-1")
        .await
        .expect("revoke, again");
    catalogue
        .revoke_credential("c-unknown")
        .await
        .expect("revoke, nothing");
    assert_eq!(found(1, 0).await, None, "revoked");
    assert!(found(3, 0).await.is_some(), "the others go on");
}

/// A password that is changed ends what was signed in with the old one; an account that is removed
/// takes its credentials along. What others have stays.
pub async fn accounts_end(catalogue: Arc<dyn Catalogue>) {
    let tenant = new_tenant(&*catalogue, "accounts-end").await;
    let user = |id: &str| User {
        id: id.to_owned(),
        name: id.to_owned(),
        password_hash: Some("$argon2id$old".to_owned()),
        roles: vec![(tenant.clone(), Role::Admin)],
    };
    let (leaves, stays) = (user("u-leaves"), user("u-stays"));
    let credential = |id: &str, byte: u8, kind, user: Option<&User>| Credential {
        id: id.to_owned(),
        kind,
        secret_sha256: [byte; 32],
        user: user.map(|user| user.id.clone()),
        label: id.to_owned(),
        roles: match user {
            Some(_) => Vec::new(),
            None => vec![(tenant.clone(), Role::Agent)],
        },
        created_ms: u64::from(byte),
        expires_ms: Some(9000),
    };
    let (session, link) = (CredentialKind::Session, CredentialKind::Link);
    let later = credential("c-later", 101, CredentialKind::Bearer, None);
    let token = credential("c-token", 100, CredentialKind::Bearer, None);
    for user in [&leaves, &stays] {
        catalogue.add_user(user).await.expect("add_user");
    }
    for credential in [
        &later,
        &token,
        &credential("c-session", 102, session, Some(&leaves)),
        &credential("c-link", 103, link, Some(&leaves)),
        &credential("c-other", 104, session, Some(&stays)),
    ] {
        let added = catalogue.add_credential(credential).await;
        added.expect("add_credential");
    }
    let users = catalogue.users().await.expect("users");
    assert!(users.is_sorted_by_key(|user| user.name.to_ascii_lowercase()));
    for user in [&leaves, &stays] {
        assert!(users.contains(user), "{}", user.id);
    }
    let tokens = || async {
        let all = catalogue.tokens().await.expect("tokens");
        assert!(all.iter().all(|it| it.kind == CredentialKind::Bearer));
        let mine = all.into_iter().filter(|it| it.created_ms >= 100);
        mine.filter(|it| it.created_ms < 102).collect::<Vec<_>>()
    };
    assert_eq!(tokens().await, [token.clone(), later.clone()]);
    catalogue
        .revoke_credential(&later.id)
        .await
        .expect("revoke");
    assert_eq!(tokens().await, [token]);

    let open = |byte: u8| {
        let catalogue = catalogue.clone();
        async move {
            let found = catalogue.credential(&[byte; 32], 0).await;
            found.expect("credential").is_some()
        }
    };
    let set = catalogue.set_password(&leaves.id, "$argon2id$new").await;
    set.expect("set_password");
    let found = catalogue.user(&leaves.id).await.expect("user");
    let hash = found.and_then(|user| user.password_hash);
    assert_eq!(hash.as_deref(), Some("$argon2id$new"));
    assert!(!open(102).await && !open(103).await, "signed in before");
    assert!(open(104).await && open(100).await, "the others' stay");

    let again = credential("c-again", 105, session, Some(&leaves));
    catalogue.add_credential(&again).await.expect("signed in");
    let removed = catalogue.remove_user(&leaves.id).await;
    removed.expect("remove_user");
    assert_eq!(catalogue.user(&leaves.id).await.expect("user"), None);
    assert!(!open(105).await, "gone with its account");
    assert_eq!(catalogue.user(&stays.id).await.expect("user"), Some(stays));
    for gone in [
        catalogue.remove_user(&leaves.id).await,
        catalogue.set_password(&leaves.id, "$argon2id$").await,
    ] {
        assert!(matches!(gone, Err(Error::NotFound { .. })), "{gone:?}");
    }
}
