//! Tenants, KEKs, sealed keys.

use std::sync::Arc;

use keyreel_format::KekId;
use keyreel_keys::{
    Kek, KekState, KeyConfiguration, Policy, Registration, Retirement, SealedKey, StoreError,
};

use super::{POLICY, new_tenant, provider, recording, tenant};
use crate::Error;
use crate::catalogue::Catalogue;

/// Tenants are kept whole, listed by id, unique; a provider's configuration is a tenant's own.
pub async fn tenants(catalogue: Arc<dyn Catalogue>) {
    let mut second = tenant("tenants-b");
    second.policy = Policy::Aes256;
    for tenant in [&second, &tenant("tenants-a")] {
        catalogue.add_tenant(tenant).await.expect("add_tenant");
    }
    let again = catalogue.add_tenant(&second).await;
    assert!(
        matches!(again, Err(Error::Exists { .. })),
        "a tenant's id is unique: {again:?}"
    );
    assert_eq!(
        catalogue.tenant(&second.id).await.expect("tenant"),
        Some(second.clone())
    );
    let unknown = tenant("tenants-unknown").id;
    assert_eq!(catalogue.tenant(&unknown).await.expect("tenant"), None);
    let mut all = catalogue.tenants().await.expect("tenants");
    assert!(
        all.is_sorted_by(|a, b| a.id < b.id),
        "tenants are listed by id"
    );
    all.retain(|tenant| tenant.id.as_str().starts_with("tenants-"));
    assert_eq!(all, [tenant("tenants-a"), second.clone()]);

    let managed = provider("managed");
    let config = catalogue.provider_config(&second.id, &managed).await;
    assert_eq!(config.expect("provider_config"), "{}", "where none was set");
    for json in [r#"{"a":1}"#, r#"{"a":2}"#] {
        catalogue
            .set_provider_config(&second.id, &managed, json)
            .await
            .expect("set");
        let config = catalogue.provider_config(&second.id, &managed).await;
        assert_eq!(config.expect("provider_config"), json);
    }
    let other = catalogue
        .provider_config(&tenant("tenants-a").id, &managed)
        .await;
    assert_eq!(
        other.expect("provider_config"),
        "{}",
        "another tenant has its own"
    );
    let result = catalogue
        .set_provider_config(&unknown, &managed, "{}")
        .await;
    assert!(
        matches!(result, Err(Error::NotFound { .. })),
        "no such tenant: {result:?}"
    );
    catalogue.ready().await.expect("ready");
}

/// A new KEK is the current one, the former becomes previous, none is ever replaced.
pub async fn keks(catalogue: Arc<dyn Catalogue>) {
    let tenant = new_tenant(&*catalogue, "keks").await;
    let other = new_tenant(&*catalogue, "keks-other").await;
    let managed = provider("managed");
    assert!(
        catalogue
            .current_kek(&tenant)
            .await
            .expect("current_kek")
            .is_none()
    );
    let kek = |id: &str| Kek {
        id: KekId::parse(id).expect("a valid name"),
        algorithm: "rsa-oaep-sha256".to_owned(),
        public_key: vec![0, 1, 254, 255],
        sealed: vec![
            ("blob".to_owned(), vec![0, 255, 7]),
            ("empty".to_owned(), Vec::new()),
        ],
        attributes: vec![("region".to_owned(), "eu \"west\"".to_owned())],
    };
    for (index, id) in ["kek/1", "kek/2", "kek/3"].into_iter().enumerate() {
        let put = catalogue
            .put_current_kek(&tenant, &managed, (&kek(id), POLICY), index as u64)
            .await;
        put.expect("put_current_kek");
        let (provider, current) = catalogue
            .current_kek(&tenant)
            .await
            .expect("current_kek")
            .expect("one is current");
        assert_eq!((provider, current.id.as_str()), (managed.clone(), id));
    }
    let late = catalogue
        .put_current_kek(&tenant, &managed, (&kek("kek/4"), Policy::Aes256), 9)
        .await;
    assert!(
        matches!(late, Err(StoreError::PolicyChanged { .. })),
        "a KEK of another policy is never made current: {late:?}"
    );
    let again = catalogue
        .put_current_kek(&tenant, &managed, (&kek("kek/1"), POLICY), 9)
        .await;
    assert!(
        matches!(again, Err(StoreError::Exists { .. })),
        "a KEK is never replaced: {again:?}"
    );
    let current = catalogue
        .current_kek(&tenant)
        .await
        .expect("current_kek")
        .expect("one");
    assert_eq!(
        current.1.id.as_str(),
        "kek/3",
        "the transaction that failed changed nothing"
    );

    let (found, state) = catalogue
        .kek(&tenant, &managed, &kek("kek/1").id)
        .await
        .expect("kek")
        .expect("it was added");
    let expected = kek("kek/1");
    assert_eq!(state, KekState::Previous);
    assert_eq!(found.algorithm, expected.algorithm);
    assert_eq!(found.public_key, expected.public_key);
    assert_eq!(found.sealed, expected.sealed);
    assert_eq!(found.attributes, expected.attributes);

    let all = catalogue.keks(&tenant).await.expect("keks");
    let all: Vec<_> = all
        .iter()
        .map(|record| (record.kek.id.as_str(), record.state, record.created_ms))
        .collect();
    let previous = KekState::Previous;
    let expected = [
        ("kek/3", KekState::Current, 2),
        ("kek/2", previous, 1),
        ("kek/1", previous, 0),
    ];
    assert_eq!(all, expected, "newest first");

    let set = async |id: &str, state| {
        let id = kek(id).id;
        catalogue.set_kek_state(&tenant, &managed, &id, state).await
    };
    let second = set("kek/2", KekState::Current).await;
    assert!(
        matches!(second, Err(StoreError::Exists { .. })),
        "one is current: {second:?}"
    );
    assert!(set("kek/3", KekState::Disabled).await.expect("set"));
    assert!(
        !set("kek/9", KekState::Disabled).await.expect("set"),
        "none"
    );
    let current = catalogue.current_kek(&tenant).await.expect("current_kek");
    assert!(current.is_none(), "the current one was disabled");
    assert!(set("kek/3", KekState::Current).await.expect("set"));

    for (tenant, provider) in [(&other, &managed), (&tenant, &provider("lkm"))] {
        let found = catalogue
            .kek(tenant, provider, &kek("kek/1").id)
            .await
            .expect("kek");
        assert!(
            found.is_none(),
            "a KEK is its tenant's and its provider's own"
        );
    }
    assert!(catalogue.keks(&other).await.expect("keks").is_empty());
    // The next one may be another provider's.
    let lkm = provider("lkm");
    catalogue
        .put_current_kek(&tenant, &lkm, (&kek("kek/1"), POLICY), 10)
        .await
        .expect("put_current_kek");
    let current = catalogue
        .current_kek(&tenant)
        .await
        .expect("current_kek")
        .expect("one");
    assert_eq!((current.0, current.1.id.as_str()), (lkm.clone(), "kek/1"));
    let row = catalogue.tenant(&tenant).await.expect("tenant");
    assert_eq!(
        row.map(|row| row.provider),
        Some(lkm),
        "a tenant's provider is its current KEK's"
    );
}

/// A KEK is retired when exactly as many recordings need it as was said, and never the current one;
/// what opens its private key goes, and nothing is added under it any more.
pub async fn retired_keks(catalogue: Arc<dyn Catalogue>) {
    let tenant = new_tenant(&*catalogue, "retired").await;
    let other = new_tenant(&*catalogue, "retired-other").await;
    let managed = provider("managed");
    let kek = |id: &str| Kek {
        id: KekId::parse(id).expect("a valid name"),
        algorithm: "rsa-oaep-sha256".to_owned(),
        public_key: vec![1, 2, 3],
        sealed: vec![("blob".to_owned(), vec![7; 40])],
        attributes: Vec::new(),
    };
    let private = SealedKey {
        algorithm: "rsa-oaep-sha256".to_owned(),
        sealed: vec![9; 100],
    };
    for of in [&tenant, &other] {
        for id in ["kek/1", "kek/2"] {
            let kek = kek(id);
            let put = catalogue.put_current_kek(of, &managed, (&kek, POLICY), 0);
            put.await.expect("put_current_kek");
            let put = catalogue.put_sealed_key(of, &managed, id, &private).await;
            put.expect("put_sealed_key");
        }
    }
    for id in ["a", "b"] {
        let row = recording(&tenant, id, 0);
        catalogue.add_recording(&row).await.expect("add_recording");
    }
    let retire = async |id: &str, recordings| {
        let id = kek(id).id;
        let retired = catalogue.retire_kek(&tenant, &managed, &id, recordings);
        retired.await.expect("retire_kek")
    };
    assert_eq!(retire("kek/9", 0).await, Retirement::Unknown);
    assert_eq!(retire("kek/2", 0).await, Retirement::Current);
    let two = Retirement::InUse { recordings: 2 };
    for wrong in [0, 1, 3] {
        assert_eq!(retire("kek/1", wrong).await, two);
    }
    let found = catalogue.sealed_key(&tenant, &managed, "kek/1").await;
    assert!(found.expect("sealed_key").is_some(), "nothing was changed");

    assert_eq!(retire("kek/1", 2).await, Retirement::Retired);
    assert_eq!(retire("kek/1", 0).await, Retirement::Retired, "as before");
    let found = catalogue.sealed_key(&tenant, &managed, "kek/1").await;
    assert_eq!(found.expect("sealed_key"), None);
    let (retired, state) = catalogue
        .kek(&tenant, &managed, &kek("kek/1").id)
        .await
        .expect("kek")
        .expect("it is still known");
    assert_eq!((state, retired.sealed), (KekState::Retired, Vec::new()));
    assert_eq!(retired.public_key, kek("kek/1").public_key);
    let id = kek("kek/1").id;
    let back = catalogue.set_kek_state(&tenant, &managed, &id, KekState::Previous);
    assert!(!back.await.expect("set_kek_state"), "for good");
    let late = catalogue
        .add_recording(&recording(&tenant, "late", 0))
        .await;
    assert!(matches!(late, Err(Error::Retired { .. })), "{late:?}");
    let used = kek("kek/1");
    let again = catalogue.put_current_kek(&tenant, &managed, (&used, POLICY), 0);
    let again = again.await;
    assert!(matches!(again, Err(StoreError::Exists { .. })), "{again:?}");
    // Another tenant's KEK of the same name is untouched.
    let found = catalogue.sealed_key(&other, &managed, "kek/1").await;
    assert!(found.expect("sealed_key").is_some());
    let others = recording(&other, "late", 0);
    catalogue
        .add_recording(&others)
        .await
        .expect("add_recording");
}

/// A key configuration is its tenant's own; putting it again replaces what it says, no more.
pub async fn key_configurations(catalogue: Arc<dyn Catalogue>) {
    let tenant = new_tenant(&*catalogue, "configurations").await;
    let other = new_tenant(&*catalogue, "configurations-other").await;
    let configuration = |id: &str, config: &str| KeyConfiguration {
        id: id.to_owned(),
        tenant: tenant.clone(),
        provider: provider("lkm"),
        config_json: config.to_owned(),
        created_ms: 1_700_000_000_000,
    };
    let none = catalogue.key_configurations(&tenant).await;
    assert_eq!(none.expect("key_configurations"), []);
    for id in ["conf-1", "conf-2"] {
        catalogue
            .put_key_configuration(&configuration(id, "{}"))
            .await
            .expect("put");
    }
    let changed = KeyConfiguration {
        created_ms: 9,
        ..configuration("conf-1", r#"{"url":"https://b"}"#)
    };
    catalogue
        .put_key_configuration(&changed)
        .await
        .expect("put again");
    let expected = configuration("conf-1", r#"{"url":"https://b"}"#);
    let found = catalogue.key_configuration(&tenant, "conf-1").await;
    assert_eq!(
        found.expect("key_configuration"),
        Some(expected.clone()),
        "its date stays"
    );
    let all = catalogue.key_configurations(&tenant).await;
    assert_eq!(
        all.expect("key_configurations"),
        [configuration("conf-2", "{}"), expected.clone()],
        "newest first"
    );
    let found = catalogue.key_configuration(&other, "conf-1").await;
    assert_eq!(found.expect("key_configuration"), None, "it is another's");
    let all = catalogue.key_configurations(&other).await;
    assert_eq!(all.expect("key_configurations"), []);
    let others = [
        KeyConfiguration {
            tenant: other.clone(),
            ..expected.clone()
        },
        KeyConfiguration {
            provider: provider("aws-kms"),
            ..expected.clone()
        },
    ];
    for taken in others {
        let result = catalogue.put_key_configuration(&taken).await;
        assert!(
            matches!(result, Err(StoreError::Exists { .. })),
            "never another's: {result:?}"
        );
    }
    let found = catalogue.key_configuration(&tenant, "conf-1").await;
    assert_eq!(found.expect("key_configuration"), Some(expected));
}

/// A registration is saved whole or not at all: configuration, secrets and KEK.
pub async fn registrations(catalogue: Arc<dyn Catalogue>) {
    let tenant = new_tenant(&*catalogue, "registrations").await;
    let kms = provider("aws-kms");
    let key = |byte| SealedKey {
        algorithm: "secret".to_owned(),
        sealed: vec![byte; 60],
    };
    let registration = |config: &str, secret: u8, kek: Option<&str>| Registration {
        configuration: KeyConfiguration {
            id: "registered-1".to_owned(),
            tenant: tenant.clone(),
            provider: kms.clone(),
            config_json: config.to_owned(),
            created_ms: 1_700_000_000_000,
        },
        secrets: vec![
            ("secret/registered-1/a".to_owned(), key(secret)),
            ("secret/registered-1/b".to_owned(), key(secret)),
        ],
        kek: kek.map(|id| {
            let kek = Kek {
                id: KekId::parse(id).expect("a valid name"),
                algorithm: "rsa-oaep-sha256".to_owned(),
                public_key: vec![7; 20],
                sealed: Vec::new(),
                attributes: Vec::new(),
            };
            (kek, POLICY)
        }),
        now_ms: 1_700_000_000_001,
    };
    let saved = async || {
        let configuration = catalogue.key_configuration(&tenant, "registered-1").await;
        let configuration = configuration.expect("key_configuration");
        let mut secrets = Vec::new();
        for name in ["a", "b"] {
            let name = format!("secret/registered-1/{name}");
            let secret = catalogue.sealed_key(&tenant, &kms, &name).await;
            let secret = secret.expect("sealed_key");
            secrets.push(secret.and_then(|key| key.sealed.first().copied()));
        }
        let current = catalogue.current_kek(&tenant).await.expect("current_kek");
        (
            configuration.map(|found| found.config_json),
            secrets,
            current.map(|(_, kek)| kek.id.to_string()),
        )
    };
    let state = |config: &str, secret, kek: &str| {
        let kek = Some(kek.to_owned());
        (
            Some(config.to_owned()),
            vec![Some(secret), Some(secret)],
            kek,
        )
    };
    let put = async |registration: Registration| catalogue.put_registration(&registration).await;

    put(registration("{}", 1, Some("kek/1")))
        .await
        .expect("put_registration");
    assert_eq!(saved().await, state("{}", 1, "kek/1"));
    let row = catalogue.tenant(&tenant).await.expect("tenant");
    assert_eq!(row.map(|row| row.provider), Some(kms.clone()));
    put(registration(r#"{"a":2}"#, 2, Some("kek/2")))
        .await
        .expect("put again");
    assert_eq!(saved().await, state(r#"{"a":2}"#, 2, "kek/2"));
    put(registration(r#"{"a":3}"#, 3, None))
        .await
        .expect("put without a KEK");
    let third = state(r#"{"a":3}"#, 3, "kek/2");
    assert_eq!(saved().await, third);

    let taken = put(registration(r#"{"a":4}"#, 4, Some("kek/1"))).await;
    assert!(
        matches!(taken, Err(StoreError::Exists { .. })),
        "a KEK is never replaced: {taken:?}"
    );
    assert_eq!(saved().await, third, "nothing of it was saved");
    let mut others = registration(r#"{"a":5}"#, 5, Some("kek/5"));
    others.configuration.provider = provider("lkm");
    let result = put(others).await;
    assert!(
        matches!(result, Err(StoreError::Exists { .. })),
        "never another's: {result:?}"
    );
    assert_eq!(saved().await, third, "nothing of it was saved");
    let mut late = registration(r#"{"a":5}"#, 5, Some("kek/5"));
    late.kek = late.kek.map(|(kek, _)| (kek, Policy::Aes256));
    let result = put(late).await;
    assert!(
        matches!(result, Err(StoreError::PolicyChanged { .. })),
        "its KEK is of another policy: {result:?}"
    );
    assert_eq!(saved().await, third, "nothing of it was saved");
    let mut partial = registration(r#"{"a":6}"#, 6, None);
    partial.secrets.truncate(1);
    put(partial).await.expect("put one secret");
    assert_eq!(
        saved().await.1,
        [Some(6), Some(3)],
        "what is not named stays"
    );
}

/// Sealed keys are kept under tenant, provider and name, and never replaced.
pub async fn sealed_keys(catalogue: Arc<dyn Catalogue>) {
    let tenant = new_tenant(&*catalogue, "sealed-keys").await;
    let (managed, lkm) = (provider("managed"), provider("lkm"));
    let key = |byte| SealedKey {
        algorithm: "secret".to_owned(),
        sealed: vec![byte; 100],
    };
    catalogue
        .put_sealed_key(&tenant, &managed, "kek/1", &key(1))
        .await
        .expect("put");
    catalogue
        .put_sealed_key(&tenant, &lkm, "kek/1", &key(2))
        .await
        .expect("put");
    let again = catalogue
        .put_sealed_key(&tenant, &managed, "kek/1", &key(3))
        .await;
    assert!(
        matches!(again, Err(StoreError::Exists { .. })),
        "never replaced: {again:?}"
    );
    for (provider, expected) in [(&managed, 1), (&lkm, 2)] {
        let found = catalogue
            .sealed_key(&tenant, provider, "kek/1")
            .await
            .expect("sealed_key");
        assert_eq!(found, Some(key(expected)));
    }
    let none = catalogue
        .sealed_key(&tenant, &managed, "kek/2")
        .await
        .expect("sealed_key");
    assert_eq!(none, None);
}
