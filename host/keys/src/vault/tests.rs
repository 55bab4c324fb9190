//! The vault: what it seals opens for its tenant, under its name, and for nobody else.

use std::sync::Arc;
use std::time::Duration;

use keyreel_format::wrap::{PrivateKey, WrapAlgorithm};
use keyreel_format::{KekId, ProviderId, TenantId};

use super::{TenantVault, Vault, VaultError};
use crate::kek::{KekStore, SealedKey, StoreError};
use crate::keystore::{Keystore, generate_master_key};
use crate::metadata::{MetadataKeys as _, MetadataVault};
use crate::settings::DekTtl;
use crate::testing::MemoryKekStore;

struct Fixture {
    _folder: tempfile::TempDir,
    keystore: Arc<Keystore>,
    store: Arc<MemoryKekStore>,
    vault: Vault,
    acme: TenantId,
    other: TenantId,
    managed: ProviderId,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let master = folder.path().join("master");
        generate_master_key(&master).unwrap();
        let keystore = Keystore::open_or_create(&folder.path().join("keystore"), &master).unwrap();
        let keystore = Arc::new(keystore);
        let (acme, other) = (
            TenantId::parse("acme").unwrap(),
            TenantId::parse("other").unwrap(),
        );
        for tenant in [&acme, &other] {
            keystore.create_root(tenant).unwrap();
        }
        let store = Arc::new(MemoryKekStore::default());
        let vault = Vault::new(keystore.clone(), store.clone(), DekTtl::default());
        let managed = ProviderId::parse("managed").unwrap();
        Self {
            _folder: folder,
            keystore,
            store,
            vault,
            acme,
            other,
            managed,
        }
    }

    /// A vault with an empty cache, as after a restart.
    fn restarted(&self) -> Vault {
        Vault::new(self.keystore.clone(), self.store.clone(), DekTtl::default())
    }

    async fn keep(&self, name: &str, algorithm: WrapAlgorithm) -> Arc<PrivateKey> {
        let key = Arc::new(PrivateKey::generate(algorithm).unwrap());
        self.vault
            .keep_private_key(&self.acme, &self.managed, name, key.clone())
            .await
            .unwrap();
        key
    }

    /// As a registration does.
    async fn put_secret(&self, name: &str, secret: &str) {
        let (name, sealed) = self
            .vault
            .seal_secret(&self.acme, &self.managed, None, name, secret.as_bytes())
            .await
            .unwrap();
        self.store
            .plant_sealed_key(&self.acme, &self.managed, &name, sealed);
        self.vault.purge(&self.acme);
    }

    async fn sealed(&self, name: &str) -> SealedKey {
        self.store
            .sealed_key(&self.acme, &self.managed, name)
            .await
            .unwrap()
            .unwrap()
    }
}

fn public(key: &PrivateKey) -> Vec<u8> {
    key.public_key().unwrap()
}

const HPKE: WrapAlgorithm = WrapAlgorithm::HpkeMlkem1024P384;

#[tokio::test]
async fn private_keys_come_back_after_a_restart() {
    let f = Fixture::new();
    for (name, algorithm) in [("kek/1", WrapAlgorithm::RsaOaepSha256), ("kek/2", HPKE)] {
        let key = f.keep(name, algorithm).await;
        for vault in [&f.vault, &f.restarted()] {
            let found = vault
                .private_key(&f.acme, &f.managed, name)
                .await
                .unwrap()
                .unwrap();
            assert_eq!(public(&found), public(&key));
        }
        let sealed = f.sealed(name).await;
        let secret = key.secret_bytes().unwrap();
        assert!(
            !sealed
                .sealed
                .windows(16)
                .any(|window| *window == secret[secret.len() - 16..])
        );
    }
    assert!(
        f.vault
            .private_key(&f.acme, &f.managed, "kek/3")
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn a_sealed_key_opens_nowhere_else() {
    let f = Fixture::new();
    f.keep("kek/1", HPKE).await;
    let sealed = f.sealed("kek/1").await;
    let lkm = ProviderId::parse("lkm").unwrap();
    let relabelled = SealedKey {
        algorithm: "rsa-oaep-sha256".to_owned(),
        ..sealed.clone()
    };
    let mut flipped = sealed.clone();
    *flipped.sealed.last_mut().unwrap() ^= 1;
    let planted = [
        (&f.other, &f.managed, "kek/1", &sealed),
        (&f.acme, &lkm, "kek/1", &sealed),
        (&f.acme, &f.managed, "kek/2", &sealed),
        (&f.acme, &f.managed, "kek/3", &relabelled),
        (&f.acme, &f.managed, "kek/4", &flipped),
    ];
    for (tenant, provider, name, key) in planted {
        f.store
            .plant_sealed_key(tenant, provider, name, key.clone());
        let opened = f.vault.private_key(tenant, provider, name).await;
        assert!(opened.is_err(), "{tenant} {provider} {name}");
        // Nor where there is such a key.
        f.keystore.make_kek_key(tenant, provider, name).unwrap();
        let opened = f.vault.private_key(tenant, provider, name).await;
        assert!(
            matches!(opened, Err(VaultError::Damaged { .. })),
            "{tenant} {provider} {name}"
        );
    }
    assert!(
        f.vault
            .private_key(&f.acme, &f.managed, "kek/1")
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn a_destroyed_key_opens_nothing_and_leaves_the_others() {
    let f = Fixture::new();
    f.keep("kek/1", HPKE).await;
    f.keep("kek/2", HPKE).await;
    let name = KekId::parse("kek/1").unwrap();
    let keks = [(f.managed.clone(), name)];
    // Once more is no error.
    for _ in 0..2 {
        f.vault.destroy_private_keys(&f.acme, &keks).await.unwrap();
        f.vault.begin_epoch().await.unwrap();
    }
    for vault in [&f.vault, &f.restarted()] {
        let gone = vault.private_key(&f.acme, &f.managed, "kek/1").await;
        assert!(matches!(gone, Err(VaultError::Destroyed { .. })));
        let kept = vault.private_key(&f.acme, &f.managed, "kek/2").await;
        assert!(kept.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_name_is_never_used_twice() {
    let f = Fixture::new();
    let first = f.keep("kek/1", HPKE).await;
    let second = Arc::new(PrivateKey::generate(HPKE).unwrap());
    let kept = f
        .vault
        .keep_private_key(&f.acme, &f.managed, "kek/1", second.clone())
        .await;
    assert!(matches!(
        kept,
        Err(VaultError::Store(StoreError::Exists { .. }))
    ));
    let reserved = f
        .vault
        .keep_private_key(&f.acme, &f.managed, "secret/x", second)
        .await;
    assert!(matches!(reserved, Err(VaultError::ReservedName { .. })));
    let found = f
        .vault
        .private_key(&f.acme, &f.managed, "kek/1")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(public(&found), public(&first));
}

#[tokio::test]
async fn secrets_are_replaced_at_once_and_never_touch_keys() {
    let f = Fixture::new();
    f.keep("kek/1", HPKE).await;
    for value in ["first", "second"] {
        f.put_secret("api-key", value).await;
        for _ in 0..2 {
            let found = f
                .vault
                .secret(&f.acme, &f.managed, None, "api-key")
                .await
                .unwrap()
                .unwrap();
            assert_eq!(found.as_slice(), value.as_bytes());
        }
    }
    f.put_secret("kek/1", "no key").await;
    assert!(
        f.vault
            .private_key(&f.acme, &f.managed, "kek/1")
            .await
            .unwrap()
            .is_some()
    );
    assert!(
        f.vault
            .private_key(&f.acme, &f.managed, "api-key")
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        f.vault
            .private_key(&f.acme, &f.managed, "secret/api-key")
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        f.vault
            .secret(&f.acme, &f.managed, None, "kek/2")
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        f.vault
            .secret(&f.other, &f.managed, None, "api-key")
            .await
            .unwrap()
            .is_none()
    );
    let sealed = f.sealed("secret/api-key").await;
    assert!(!String::from_utf8_lossy(&sealed.sealed).contains("second"));
}

#[tokio::test]
async fn a_purge_forgets_one_tenants_keys() {
    let f = Fixture::new();
    f.keep("kek/1", HPKE).await;
    let key = f
        .vault
        .private_key(&f.acme, &f.managed, "kek/1")
        .await
        .unwrap()
        .unwrap();
    f.keystore.destroy_root(&f.acme).unwrap();
    assert!(
        f.vault
            .private_key(&f.acme, &f.managed, "kek/1")
            .await
            .unwrap()
            .is_some()
    );
    f.vault.purge(&f.other);
    assert!(
        f.vault
            .private_key(&f.acme, &f.managed, "kek/1")
            .await
            .unwrap()
            .is_some()
    );
    f.vault.purge(&f.acme);
    assert_eq!(Arc::strong_count(&key), 1, "the cache still holds the key");
    let gone = f.vault.private_key(&f.acme, &f.managed, "kek/1").await;
    assert!(matches!(gone, Err(VaultError::NoRoot { .. })));
}

#[tokio::test]
async fn a_key_that_is_being_opened_during_a_purge_is_not_kept() {
    let f = Fixture::new();
    f.keep("kek/1", HPKE).await;
    // The one waits for the thread that opens keys while the other runs.
    let (key, ()) = tokio::join!(f.vault.private_key(&f.acme, &f.managed, "kek/1"), async {
        f.vault.purge(&f.acme)
    });
    let key = key.unwrap().unwrap();
    assert_eq!(Arc::strong_count(&key), 1, "the cache still holds the key");
}

#[tokio::test(start_paused = true)]
async fn a_key_outlives_its_root_by_its_time_to_live_at_most() {
    let f = Fixture::new();
    f.keep("kek/1", HPKE).await;
    f.vault
        .private_key(&f.acme, &f.managed, "kek/1")
        .await
        .unwrap();
    f.keystore.destroy_root(&f.acme).unwrap();
    tokio::time::advance(Duration::from_secs(59)).await;
    assert!(
        f.vault
            .private_key(&f.acme, &f.managed, "kek/1")
            .await
            .is_ok()
    );
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(
        f.vault
            .private_key(&f.acme, &f.managed, "kek/1")
            .await
            .is_err()
    );
}

#[tokio::test]
async fn without_a_root_nothing_is_sealed() {
    let f = Fixture::new();
    let nobody = TenantId::parse("nobody").unwrap();
    let key = Arc::new(PrivateKey::generate(HPKE).unwrap());
    let kept = f
        .vault
        .keep_private_key(&nobody, &f.managed, "kek/1", key)
        .await;
    assert!(matches!(kept, Err(VaultError::NoRoot { .. })));
    assert!(
        f.store
            .sealed_key(&nobody, &f.managed, "kek/1")
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn a_purge_forgets_metadata_keys_too() {
    let fixture = Fixture::new();
    let metadata = Arc::new(MetadataVault::new(
        fixture.keystore.clone(),
        DekTtl::default(),
    ));
    let vault = fixture.restarted().with_metadata(metadata.clone());
    metadata.keys(&fixture.acme).await.unwrap();
    fixture.keystore.destroy_root(&fixture.acme).unwrap();
    assert!(metadata.keys(&fixture.acme).await.is_ok(), "cached");
    vault.purge(&fixture.acme);
    assert!(metadata.keys(&fixture.acme).await.is_err());
}
