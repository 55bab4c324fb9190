//! Registration: nothing is saved that was not tried, and nothing is lost when that fails.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyreel_format::wrap::{PrivateKey, WrapAlgorithm};
use keyreel_format::{KekId, ProviderId, TenantId};
use zeroize::Zeroizing;

use super::{NewConfiguration, OwnersKey, Registrar, RegistrationError};
use crate::configuration::Configured;
use crate::error::KeyError;
use crate::kek::{KekState, KekStore as _, Policy};
use crate::keyring::{Asker, Keyring, KeyringParts};
use crate::keystore::{Keystore, generate_master_key};
use crate::provider::{ErrorClass, KeyProvider};
use crate::settings::{DekTtl, KeyringSettings};
use crate::testing::{
    Behaviour, Failing, LocalProvider, ManualClock, MemoryKekStore, MemoryObserver, Seen, Writing,
};
use crate::vault::{TenantVault as _, Vault};

struct Fixture {
    _folder: tempfile::TempDir,
    acme: TenantId,
    store: Arc<MemoryKekStore>,
    vault: Arc<Vault>,
    observer: Arc<MemoryObserver>,
    /// Mints.
    kms: Arc<LocalProvider>,
    /// Does not.
    lkm: Arc<LocalProvider>,
    /// A vendor's, that does not either and knows one algorithm.
    hsm: Arc<LocalProvider>,
    keyring: Keyring,
    registrar: Registrar,
}

const PAIR: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

fn provider(name: &str) -> ProviderId {
    ProviderId::parse(name).unwrap()
}

fn asker() -> Asker {
    Asker {
        subject: "admin-1".to_owned(),
        request_id: "request-1".to_owned(),
    }
}

fn configuration(of: &str, json: &str, secret: Option<&str>) -> NewConfiguration {
    let secrets = secret.map(|secret| {
        let secret = Zeroizing::new(secret.as_bytes().to_vec());
        ("api-key".to_owned(), secret)
    });
    NewConfiguration {
        provider: provider(of),
        json: json.to_owned(),
        secrets: BTreeMap::from_iter(secrets),
    }
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let master = folder.path().join("master");
        generate_master_key(&master).unwrap();
        let keystore = Keystore::open_or_create(&folder.path().join("keystore"), &master).unwrap();
        let keystore = Arc::new(keystore);
        let acme = TenantId::parse("acme").unwrap();
        keystore.create_root(&acme).unwrap();
        let store = Arc::new(MemoryKekStore::default());
        let vault = Arc::new(Vault::new(keystore, store.clone(), DekTtl::default()));
        let observer = Arc::new(MemoryObserver::default());
        let kms = Arc::new(LocalProvider::new());
        let lkm = Arc::new(
            LocalProvider::new()
                .without_minting()
                .with_secrets(&["api-key"]),
        );
        let hsm = LocalProvider::new()
            .without_minting()
            .with_algorithms(&["hpke-mlkem1024-p384", "rsa-oaep-sha256"]);
        let hsm = Arc::new(hsm);
        let providers: [(ProviderId, Arc<dyn KeyProvider>); 4] = [
            (provider("aws-kms"), kms.clone()),
            (provider("lkm"), lkm.clone()),
            (provider("acme-hsm"), hsm.clone()),
            (
                provider("acme-pq"),
                Arc::new(
                    LocalProvider::new()
                        .without_minting()
                        .with_algorithms(&["hpke-mlkem1024-p384"]),
                ),
            ),
        ];
        let keyring = Keyring::new(KeyringParts {
            store: store.clone(),
            providers: HashMap::from(providers),
            observer: observer.clone(),
            clock: Arc::new(ManualClock::at(1_700_000_000_000)),
            settings: KeyringSettings::default(),
            vault: Some(vault.clone()),
        });
        Self {
            _folder: folder,
            registrar: Registrar::new(&keyring, vault.clone()),
            acme,
            store,
            vault,
            observer,
            kms,
            lkm,
            hsm,
            keyring,
        }
    }

    async fn create(&self, new: NewConfiguration) -> Result<super::Registered, RegistrationError> {
        self.registrar
            .create(&self.acme, Policy::Compatible, new, &asker())
            .await
    }

    /// Makes a key pair that "its owner" keeps, and gives its public key.
    fn pair(&self, id: &str, algorithm: WrapAlgorithm) -> String {
        let key = PrivateKey::generate(WrapAlgorithm::RsaOaepSha256).unwrap();
        let public_key = STANDARD.encode(key.public_key().unwrap());
        let id = KekId::parse(id).unwrap();
        self.lkm.add_key(&self.acme, &id, algorithm, key).unwrap();
        public_key
    }

    async fn register(
        &self,
        configuration: &str,
        id: &str,
        public_key: &str,
    ) -> Result<crate::kek::Kek, RegistrationError> {
        let key = OwnersKey {
            configuration: configuration.to_owned(),
            id: id.to_owned(),
            public_key: public_key.to_owned(),
        };
        self.registrar
            .register(&self.acme, Policy::Compatible, &key, &asker())
            .await
    }

    async fn replace(
        &self,
        id: &str,
        new: NewConfiguration,
    ) -> Result<super::Registered, RegistrationError> {
        self.registrar
            .replace(&self.acme, Policy::Compatible, id, new, &asker())
            .await
    }

    async fn secret(&self, id: &str) -> Vec<u8> {
        let secret = self
            .vault
            .secret(&self.acme, &provider("lkm"), Some(id), "api-key")
            .await;
        secret.unwrap().unwrap().to_vec()
    }

    async fn is_untouched(&self) -> bool {
        self.store
            .key_configurations(&self.acme)
            .await
            .unwrap()
            .is_empty()
            && self.store.keks(&self.acme).await.unwrap().is_empty()
    }
}

#[tokio::test]
async fn a_key_service_that_mints_is_registered_by_one_call() {
    let f = Fixture::new();
    let made = f
        .create(configuration("aws-kms", "{}", None))
        .await
        .unwrap();
    let asked = f.kms.asked();
    assert!(asked.len() == 3, "health, mint, unwrap: {asked:?}");
    assert!(
        asked.iter().all(|configured| configured.trial().is_some()),
        "nothing is saved before it was tried: {asked:?}"
    );
    let (holder, current) = f.store.current_kek(&f.acme).await.unwrap().unwrap();
    assert_eq!(holder, provider("aws-kms"));
    assert_eq!(made.kek.map(|kek| kek.id), Some(current.id.clone()));
    assert_eq!(
        current.configuration(),
        Some(made.configuration.id.as_str())
    );
    // From now on it is asked under what is saved.
    let recording = keyreel_format::RecordingId::parse("r1").unwrap();
    let dek = crate::Dek::generate();
    let wrapped = f.keyring.wrap(&f.acme, &recording, &dek).await.unwrap();
    let request = crate::DekRequest {
        tenant: f.acme.clone(),
        recording,
        generation: 0,
        recipients: wrapped.recipients,
        subject: String::new(),
        request_id: String::new(),
    };
    assert!(f.keyring.dek(&request).await.is_ok());
    let asked = f.kms.asked();
    assert!(matches!(&asked[3..], [Configured::Saved(id)] if **id == *made.configuration.id));
    // The trial was recorded, with who registered it.
    let seen = f.observer.seen();
    assert!(matches!(&seen[0], Seen::Before(attempt) if attempt.subject == "admin-1"));
}

#[tokio::test]
async fn what_does_not_work_is_not_saved() {
    let f = Fixture::new();
    let bad = f.create(configuration("aws-kms", "nonsense", None)).await;
    assert!(
        matches!(bad, Err(RegistrationError::Key(error)) if error.class() == ErrorClass::Config)
    );
    let missing = f.create(configuration("nobodys", "{}", None)).await;
    assert!(matches!(
        missing,
        Err(RegistrationError::Key(KeyError::ProviderMissing { .. }))
    ));
    for class in [
        ErrorClass::Unavailable,
        ErrorClass::Denied,
        ErrorClass::KeyDisabled,
    ] {
        for (name, local) in [("aws-kms", &f.kms), ("lkm", &f.lkm)] {
            local.fail(&f.acme, class);
            let refused = f.create(configuration(name, "{}", Some("k"))).await;
            assert!(
                matches!(refused, Err(RegistrationError::Key(error)) if error.class() == class),
                "{name} {class:?}"
            );
        }
    }
    // It answers, and opens samples as something else.
    let wrong = Behaviour {
        wrong_dek: true,
        ..Behaviour::default()
    };
    f.kms.behave(&f.acme, wrong);
    let wrong = f.create(configuration("aws-kms", "{}", None)).await;
    assert!(matches!(
        wrong,
        Err(RegistrationError::Key(KeyError::TrialFailed { .. }))
    ));
    assert!(f.is_untouched().await);
}

#[tokio::test]
async fn an_owners_key_becomes_current_when_its_sample_came_back() {
    let f = Fixture::new();
    let json = r#"{"padding":"oaep-sha256"}"#;
    let new = configuration("lkm", json, Some("1234"));
    let made = f.create(new).await.unwrap();
    assert!(made.kek.is_none(), "its keys are registered");
    let id = made.configuration.id;
    let secret = f
        .vault
        .secret(&f.acme, &provider("lkm"), Some(&id), "api-key")
        .await;
    assert_eq!(secret.unwrap().unwrap().as_slice(), b"1234");
    let other = f
        .vault
        .secret(&f.acme, &provider("lkm"), None, "api-key")
        .await;
    assert!(
        other.unwrap().is_none(),
        "a configuration's secrets are its own"
    );

    let public_key = f.pair(PAIR, WrapAlgorithm::RsaOaepSha256);
    let kek = f.register(&id, PAIR, &public_key).await.unwrap();
    assert_eq!(
        (kek.id.as_str(), kek.algorithm.as_str()),
        (PAIR, "rsa-oaep-sha256")
    );
    let (holder, current) = f.store.current_kek(&f.acme).await.unwrap().unwrap();
    assert_eq!((holder, current.id), (provider("lkm"), kek.id));

    // The same again is no rotation.
    let again = f.register(&id, PAIR, &public_key).await;
    assert!(matches!(again, Err(RegistrationError::KeyPairKnown { .. })));
    // A new pair is; the old one opens old recordings.
    let next = "7c9e6679-7425-40de-944b-e07fc1f90ae7";
    let public_key = f.pair(next, WrapAlgorithm::RsaOaepSha256);
    f.register(&id, next, &public_key).await.unwrap();
    let keks = f.store.keks(&f.acme).await.unwrap();
    let states: Vec<_> = keks.iter().map(|k| (k.kek.id.as_str(), k.state)).collect();
    assert_eq!(
        states,
        [(next, KekState::Current), (PAIR, KekState::Previous)]
    );
}

#[tokio::test]
async fn an_owners_key_that_cannot_be_used_changes_nothing() {
    let f = Fixture::new();
    let made = f
        .create(configuration("lkm", "{}", Some("1234")))
        .await
        .unwrap();
    let id = made.configuration.id.as_str();
    let good = f.pair(PAIR, WrapAlgorithm::RsaOaepSha1);
    let stranger = PrivateKey::generate(WrapAlgorithm::RsaOaepSha256).unwrap();
    let stranger = STANDARD.encode(stranger.public_key().unwrap());

    let result = f.register("nothing", PAIR, &good).await;
    assert!(matches!(
        result,
        Err(RegistrationError::NoConfiguration { .. })
    ));
    for bad in ["kek/1", "", &format!("{{{PAIR}}}")] {
        let result = f.register(id, bad, &good).await;
        assert!(matches!(result, Err(RegistrationError::KeyPairId)), "{bad}");
    }
    let result = f.register(id, PAIR, "nonsense").await;
    assert!(matches!(result, Err(RegistrationError::PublicKey(_))));
    // Another pair's public key: the sample does not open.
    let result = f.register(id, PAIR, &stranger).await;
    assert!(
        matches!(result, Err(RegistrationError::Key(error)) if error.class() == ErrorClass::Integrity)
    );
    let unknown = "7c9e6679-7425-40de-944b-e07fc1f90ae7";
    let result = f.register(id, unknown, &good).await;
    assert!(
        matches!(result, Err(RegistrationError::Key(error)) if error.class() == ErrorClass::NotFound)
    );
    let key = OwnersKey {
        configuration: id.to_owned(),
        id: PAIR.to_owned(),
        public_key: good.clone(),
    };
    let result = f
        .registrar
        .register(&f.acme, Policy::Aes256, &key, &asker())
        .await;
    assert!(
        matches!(result, Err(RegistrationError::Policy { .. })),
        "RSA is not AES-256"
    );
    let other = TenantId::parse("other").unwrap();
    let result = f
        .registrar
        .register(&other, Policy::Compatible, &key, &asker())
        .await;
    assert!(
        matches!(result, Err(RegistrationError::NoConfiguration { .. })),
        "another's"
    );
    assert!(f.store.keks(&f.acme).await.unwrap().is_empty());

    let kms = f
        .create(configuration("aws-kms", "{}", None))
        .await
        .unwrap();
    let result = f.register(&kms.configuration.id, PAIR, &good).await;
    assert!(matches!(result, Err(RegistrationError::MintsItself { .. })));
}

#[tokio::test]
async fn a_configuration_is_changed_only_if_its_keys_still_open() {
    let f = Fixture::new();
    let made = f
        .create(configuration("lkm", "{}", Some("1234")))
        .await
        .unwrap();
    let id = made.configuration.id.as_str();
    let public_key = f.pair(PAIR, WrapAlgorithm::RsaOaepSha1);
    f.register(id, PAIR, &public_key).await.unwrap();
    let replace = async |new| f.replace(id, new).await;
    let wrong = Behaviour {
        wrong_dek: true,
        ..Behaviour::default()
    };
    f.lkm.behave(&f.acme, wrong);
    let refused = replace(configuration("lkm", r#"{"a":1}"#, Some("5678"))).await;
    assert!(matches!(
        refused,
        Err(RegistrationError::Key(KeyError::TrialFailed { .. }))
    ));
    let kept = f
        .store
        .key_configuration(&f.acme, id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(kept.config_json, "{}");
    f.lkm.behave(&f.acme, Behaviour::default());
    let other = replace(configuration("aws-kms", "{}", None)).await;
    assert!(matches!(
        other,
        Err(RegistrationError::OtherProvider { .. })
    ));

    let purges = f.lkm.purges();
    let watch = f.keyring.purges(&f.acme);
    replace(configuration("lkm", r#"{"a":2}"#, None))
        .await
        .unwrap();
    let kept = f
        .store
        .key_configuration(&f.acme, id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(kept.config_json, r#"{"a":2}"#);
    assert_eq!(f.secret(id).await, b"1234", "the former one stays");
    assert!(
        f.lkm.purges() > purges && watch.is_purged(),
        "nothing of the former is kept"
    );
}

#[tokio::test]
async fn a_trial_neither_waits_for_the_breaker_nor_opens_it() {
    let f = Fixture::new();
    f.create(configuration("aws-kms", "{}", None))
        .await
        .unwrap();
    // Five failed trials in a row, each of which would count.
    let json = "{}";
    let broken = Behaviour {
        wrong_dek: true,
        ..Behaviour::default()
    };
    f.kms.behave(&f.acme, broken);
    for _ in 0..6 {
        assert!(
            f.create(configuration("aws-kms", json, None))
                .await
                .is_err()
        );
    }
    f.kms.fail(&f.acme, ErrorClass::Unavailable);
    for _ in 0..6 {
        assert!(
            f.create(configuration("aws-kms", json, None))
                .await
                .is_err()
        );
    }
    assert!(f.keyring.stats().breakers.is_empty());
}

/// Whoever may change a configuration need not know its API key: another host would be sent
/// requests signed with it.
#[tokio::test]
async fn a_secret_does_not_go_along_to_another_origin() {
    let f = Fixture::new();
    let at = |url: &str, secret| configuration("lkm", &format!(r#"{{"url":"{url}"}}"#), secret);
    let made = f.create(at("https://keys.example/a", Some("1234"))).await;
    let id = made.unwrap().configuration.id;
    let asked = f.lkm.asked().len();
    for url in [
        "https://evil.example/a",
        "https://keys.example:444/a",
        "http://keys.example/a",
        "https://keys.example.evil.example/a",
    ] {
        let refused = f.replace(&id, at(url, None)).await;
        assert!(
            matches!(&refused, Err(RegistrationError::OriginChanged { origins, secrets })
                if url.starts_with(&origins[0]) && secrets == &["api-key"]),
            "{url}"
        );
    }
    assert_eq!(f.lkm.asked().len(), asked, "no key service was asked");
    let kept = f.store.key_configuration(&f.acme, &id).await;
    assert_eq!(
        kept.unwrap().unwrap().config_json,
        r#"{"url":"https://keys.example/a"}"#
    );
    f.replace(&id, at("https://keys.example/b", None))
        .await
        .unwrap();
    f.replace(&id, at("https://new.example/b", Some("5678")))
        .await
        .unwrap();
    assert_eq!(f.secret(&id).await, b"5678");
}

/// The credential leaked, and the old pair with it: both can be replaced.
#[tokio::test]
async fn keys_that_are_out_of_use_do_not_keep_a_configuration_from_being_changed() {
    let f = Fixture::new();
    let made = f.create(configuration("lkm", "{}", Some("1234"))).await;
    let id = made.unwrap().configuration.id;
    let next = "7c9e6679-7425-40de-944b-e07fc1f90ae7";
    for pair in [PAIR, next] {
        let public_key = f.pair(pair, WrapAlgorithm::RsaOaepSha1);
        f.register(&id, pair, &public_key).await.unwrap();
    }
    // Its owner has taken the old one away.
    let old = KekId::parse(PAIR).unwrap();
    f.lkm.remove_key(&f.acme, &old);
    let new = || configuration("lkm", "{}", Some("5678"));
    let refused = f.replace(&id, new()).await;
    assert!(
        matches!(refused, Err(RegistrationError::Key(error)) if error.class() == ErrorClass::NotFound)
    );
    for state in [KekState::Disabled, KekState::Retired] {
        f.store.set_state(&f.acme, &old, state);
        f.replace(&id, new()).await.unwrap();
    }
    assert_eq!(f.secret(&id).await, b"5678");
}

#[tokio::test]
async fn a_registration_is_saved_whole_or_not_at_all() {
    let f = Fixture::new();
    let made = f.create(configuration("aws-kms", "{}", None)).await;
    let id = made.unwrap().configuration.id;
    let current = async || f.store.current_kek(&f.acme).await.unwrap().unwrap().1.id;
    let before = current().await;
    let secrets = |value: &str| configuration("aws-kms", r#"{"a":1}"#, Some(value));
    let stored = async || {
        let name = format!("secret/{id}/api-key");
        let kms = provider("aws-kms");
        f.store.sealed_key(&f.acme, &kms, &name).await.unwrap()
    };
    let untouched = async || {
        let kept = f.store.key_configuration(&f.acme, &id).await;
        kept.unwrap().unwrap().config_json == "{}"
            && stored().await.is_none()
            && current().await == before
    };
    // The KEK cannot be recorded: neither it nor what comes before it is saved.
    f.observer.fail(Failing::Minted);
    let unrecorded = f.replace(&id, secrets("1")).await;
    assert!(matches!(
        unrecorded,
        Err(RegistrationError::Key(KeyError::Audit(_)))
    ));
    assert!(untouched().await);
    f.observer.fail(Failing::Nothing);
    f.store.write_like(Writing {
        fails: true,
        ..Writing::default()
    });
    let watch = f.keyring.purges(&f.acme);
    let failed = f.replace(&id, secrets("2")).await;
    assert!(matches!(
        failed,
        Err(RegistrationError::Key(KeyError::Store(_)))
    ));
    assert!(untouched().await);
    assert!(
        watch.is_purged(),
        "whatever came of the write: nothing that is known is believed"
    );
    f.store.write_like(Writing::default());
    f.replace(&id, secrets("3")).await.unwrap();
    assert!(stored().await.is_some() && current().await != before);
}

#[tokio::test]
async fn a_policy_that_was_changed_meanwhile_keeps_keys_of_the_former_one_out() {
    let f = Fixture::new();
    let lkm = f.create(configuration("lkm", "{}", Some("k"))).await;
    let lkm = lkm.unwrap().configuration.id;
    let first = f.create(configuration("aws-kms", "{}", None)).await;
    let first = first.unwrap();
    let public_key = f.pair(PAIR, WrapAlgorithm::RsaOaepSha1);
    for provider in [&f.kms, &f.lkm] {
        let slow = Behaviour {
            delay: std::time::Duration::from_millis(100),
            ..Behaviour::default()
        };
        provider.behave(&f.acme, slow);
    }
    let changed = async |policy| {
        // While the key service is asked.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        f.store.set_policy(&f.acme, policy);
    };
    let overtaken = |error: RegistrationError| {
        assert!(
            matches!(error, RegistrationError::Key(KeyError::Overtaken { .. })),
            "{error:?}"
        );
    };
    let new = configuration("aws-kms", r#"{"a":1}"#, None);
    let (made, ()) = tokio::join!(f.create(new.clone()), changed(Policy::Aes256));
    overtaken(made.unwrap_err());
    f.store.set_policy(&f.acme, Policy::Compatible);
    let id = &first.configuration.id;
    let (made, ()) = tokio::join!(f.replace(id, new), changed(Policy::Aes256));
    overtaken(made.unwrap_err());
    f.store.set_policy(&f.acme, Policy::Compatible);
    let registering = f.register(&lkm, PAIR, &public_key);
    let (made, ()) = tokio::join!(registering, changed(Policy::Aes256));
    overtaken(made.unwrap_err());

    // Nothing is lost: what was there is there, and the pair can still be registered.
    let (_, current) = f.store.current_kek(&f.acme).await.unwrap().unwrap();
    assert_eq!(Some(current.id), first.kek.map(|kek| kek.id));
    let known = f.store.key_configurations(&f.acme).await.unwrap();
    let said: Vec<_> = known.iter().map(|known| &*known.config_json).collect();
    assert_eq!(said, ["{}", "{}"]);
    f.store.set_policy(&f.acme, Policy::Compatible);
    f.register(&lkm, PAIR, &public_key).await.unwrap();
}

#[tokio::test]
async fn whether_a_secret_is_another_is_known_without_its_being_written() {
    let f = Fixture::new();
    let made = f.create(configuration("lkm", "{}", Some("s3cret"))).await;
    let made = made.unwrap().configuration;
    for (secret, changed) in [
        ("s3cret", vec![]),
        ("s3cres", vec!["api-key"]),
        ("", vec!["api-key"]),
    ] {
        let secrets = configuration("lkm", "{}", Some(secret)).secrets;
        let found = f.registrar.changed_secrets(&made, &secrets).await.unwrap();
        assert_eq!(found, changed, "{secret:?}");
    }
    // Of another configuration nothing is kept.
    let another = crate::configuration::KeyConfiguration {
        id: "another".to_owned(),
        ..made.clone()
    };
    let secrets = configuration("lkm", "{}", Some("s3cret")).secrets;
    let found = f
        .registrar
        .changed_secrets(&another, &secrets)
        .await
        .unwrap();
    assert_eq!(found, ["api-key"]);
    assert_eq!(f.secret(&made.id).await, b"s3cret", "as it was");
}

#[tokio::test]
async fn an_owners_key_gets_an_algorithm_that_its_plugin_knows() {
    let f = Fixture::new();
    for json in ["{}", r#"{"padding":"oaep-sha1"}"#, r#"{"padding":7}"#] {
        let made = f.create(configuration("acme-hsm", json, None)).await;
        let id = made.unwrap().configuration.id;
        let pair = uuid::Uuid::new_v4().to_string();
        let key = PrivateKey::generate(WrapAlgorithm::RsaOaepSha256).unwrap();
        let public_key = STANDARD.encode(key.public_key().unwrap());
        let kek = KekId::parse(&pair).unwrap();
        f.hsm
            .add_key(&f.acme, &kek, WrapAlgorithm::RsaOaepSha256, key)
            .unwrap();
        let kek = f.register(&id, &pair, &public_key).await.unwrap();
        assert_eq!(kek.algorithm, "rsa-oaep-sha256", "{json}");
    }
    let made = f.create(configuration("acme-pq", "{}", None)).await;
    let id = made.unwrap().configuration.id;
    let public_key = f.pair(PAIR, WrapAlgorithm::RsaOaepSha256);
    let none = f.register(&id, PAIR, &public_key).await;
    assert!(matches!(none, Err(RegistrationError::NoRsa { .. })));
}

#[test]
fn padding_chooses_among_what_is_listed() {
    let both = ["rsa-oaep-sha1", "rsa-oaep-sha256"].map(str::to_owned);
    let sha1 = ["rsa-oaep-sha1".to_owned()];
    let table: [(&str, &[String], &str, Option<&str>); 8] = [
        ("lkm", &both, "{}", Some("rsa-oaep-sha1")),
        (
            "lkm",
            &both,
            r#"{"padding":"oaep-sha256"}"#,
            Some("rsa-oaep-sha256"),
        ),
        ("hsm", &both, "{}", Some("rsa-oaep-sha256")),
        (
            "hsm",
            &both,
            r#"{"padding":"oaep-sha1"}"#,
            Some("rsa-oaep-sha1"),
        ),
        (
            "hsm",
            &both,
            r#"{"padding":"pkcs7"}"#,
            Some("rsa-oaep-sha256"),
        ),
        ("hsm", &sha1, "{}", Some("rsa-oaep-sha1")),
        (
            "hsm",
            &sha1,
            r#"{"padding":"oaep-sha256"}"#,
            Some("rsa-oaep-sha1"),
        ),
        ("hsm", &[], "{}", None),
    ];
    for (of, listed, json, expected) in table {
        let chosen = super::owners_key::rsa_algorithm(&provider(of), listed, json);
        assert_eq!(chosen, expected, "{of} {listed:?} {json}");
    }
}
