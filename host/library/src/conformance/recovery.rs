//! Recovery keys: one at a time, of its own tenant, and never weaker than the tenant's policy.

use std::sync::Arc;

use keyreel_format::{KekId, TenantId, WrapAlgorithm};
use keyreel_keys::{Kek, Policy, RecoveryKey, Succession};

use super::{new_tenant, provider};
use crate::catalogue::Catalogue;

fn key(id: &str, algorithm: WrapAlgorithm, created_ms: u64) -> RecoveryKey {
    RecoveryKey {
        id: KekId::parse(id).expect("a valid name"),
        algorithm,
        public_key: id.as_bytes().to_vec(),
        created_ms,
    }
}

/// A recovery key is set, replaced, removed and set again; what the policy does not take is not
/// kept.
pub async fn recovery_keys(catalogue: Arc<dyn Catalogue>) {
    let tenant = new_tenant(&*catalogue, "recovery").await;
    let other = new_tenant(&*catalogue, "recovery-other").await;
    let current = async |of: &TenantId| catalogue.recovery_key(of).await.expect("recovery_key");
    let put = async |key: &RecoveryKey, policy| {
        let put = catalogue.put_recovery_key(&tenant, key, policy).await;
        put.expect("put_recovery_key")
    };
    let remove = async || {
        let removed = catalogue.remove_recovery_key(&tenant).await;
        removed.expect("remove_recovery_key")
    };
    let (rsa, mlkem) = (
        key("a1", WrapAlgorithm::RsaOaepSha256, 1),
        key("b2", WrapAlgorithm::HpkeMlkem1024P384, 2),
    );
    assert_eq!(current(&tenant).await, None);
    assert!(!remove().await);
    assert!(!put(&rsa, Policy::Aes256).await, "another policy");
    assert_eq!(current(&tenant).await, None);
    assert!(put(&mlkem, Policy::Compatible).await);
    assert_eq!(current(&tenant).await, Some(mlkem.clone()));
    assert_eq!(current(&other).await, None);
    assert!(put(&rsa, Policy::Compatible).await);
    assert_eq!(current(&tenant).await, Some(rsa.clone()));

    // A KEK of 256 bits does not follow while it is there.
    let kek = |id: &str| Kek {
        id: KekId::parse(id).expect("a valid name"),
        algorithm: "rsa-oaep-sha256".to_owned(),
        public_key: Vec::new(),
        sealed: Vec::new(),
        attributes: Vec::new(),
    };
    let managed = provider("managed");
    let first = kek("kek/1");
    let put_kek = catalogue.put_current_kek(&tenant, &managed, (&first, Policy::Compatible), 0);
    put_kek.await.expect("put_current_kek");
    let succeed = async || {
        let keks = catalogue.keks(&tenant).await.expect("keks");
        let succession = Succession {
            former: keks.into_iter().next().expect("a KEK"),
            policy: Policy::Compatible,
            new_policy: Policy::Aes256,
            at_ms: 3,
        };
        let next = kek("kek/2");
        let done = catalogue.succeed_kek(&tenant, &succession, &next).await;
        done.expect("succeed_kek")
    };
    assert!(!succeed().await, "an RSA recovery key");
    assert!(remove().await);
    assert!(!remove().await);
    assert_eq!(current(&tenant).await, None);
    // Set again, it counts from then.
    let again = RecoveryKey {
        created_ms: 9,
        ..mlkem
    };
    assert!(put(&again, Policy::Compatible).await);
    assert_eq!(current(&tenant).await, Some(again));
    assert!(succeed().await);
    assert!(!put(&rsa, Policy::Compatible).await, "the policy of before");
}
