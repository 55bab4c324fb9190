//! Wrapping with the current KEK, and making KEKs.

use keyreel_format::wrap::{PrivateKey, WrapAlgorithm};
use keyreel_format::{Dek, KekId, RecordingId};

use super::{Fixture, opened};
use crate::error::KeyError;
use crate::kek::{KekState, KekStore, Policy, SealedKey};
use crate::observer::UnwrapPurpose;
use crate::provider::ErrorClass;
use crate::testing::{Behaviour, Failing, LocalProvider, Seen};

async fn wrap(keyring: &crate::Keyring, f: &Fixture) -> Result<(), KeyError> {
    let recording = RecordingId::parse("r1").unwrap();
    keyring
        .wrap(&f.acme, &recording, &Dek::generate())
        .await
        .map(drop)
}

#[tokio::test]
async fn old_recordings_open_after_a_rotation() {
    let f = Fixture::without_keks(LocalProvider::new());
    assert!(matches!(
        wrap(&f.keyring, &f).await,
        Err(KeyError::NoCurrentKek { .. })
    ));
    let mut recordings = Vec::new();
    let policies = [Policy::Compatible, Policy::Aes256, Policy::Compatible];
    for (n, policy) in policies.into_iter().enumerate() {
        let kek = f.mint(policy).await.unwrap();
        assert_eq!(kek.id.as_str(), format!("kek/{}", n + 1));
        let (dek, request) = f.recording(&format!("r{n}")).await;
        assert_eq!(request.recipients[0].kek, kek.id);
        assert_eq!(request.recipients[0].algorithm.name(), policy.algorithm());
        recordings.push((dek, request));
    }
    for (dek, request) in recordings {
        assert_eq!(opened(&f.keyring, &request).await.expose(), dek.expose());
    }
    let states: Vec<_> = f
        .store
        .keks(&f.acme)
        .await
        .unwrap()
        .into_iter()
        .map(|record| record.state)
        .collect();
    assert_eq!(
        states,
        [KekState::Current, KekState::Previous, KekState::Previous]
    );
}

#[tokio::test]
async fn a_kek_is_tried_once_and_the_trial_is_recorded() {
    let f = Fixture::without_keks(LocalProvider::new());
    let (unwraps, kek) = f.unwraps(f.mint(Policy::Aes256)).await;
    assert_eq!(unwraps, 1);
    let seen = f.observer.seen();
    let [
        Seen::Before(trial),
        Seen::After(_, Ok(())),
        Seen::Minted(minted),
    ] = seen.as_slice()
    else {
        panic!("{seen:?}");
    };
    assert_eq!(
        (trial.purpose, &trial.kek),
        (UnwrapPurpose::Trial, &kek.as_ref().unwrap().id)
    );
    let kek = kek.unwrap();
    assert_eq!((&minted.tenant, &minted.kek), (&f.acme, &kek.id));
    assert_eq!(
        (&minted.algorithm, &minted.configuration),
        (&kek.algorithm, &None)
    );
    assert_eq!(minted.request_id, trial.request_id);
    for _ in 0..3 {
        assert_eq!(f.unwraps(wrap(&f.keyring, &f)).await.0, 0);
    }
    let restarted = f.restarted();
    for unwraps in [1, 0, 0] {
        assert_eq!(f.unwraps(wrap(&restarted, &f)).await.0, unwraps);
    }
}

#[tokio::test]
async fn many_at_once_try_a_kek_once() {
    let f = Fixture::new().await;
    let keyring = f.restarted();
    let wraps = futures::future::join_all((0..50).map(|_| wrap(&keyring, &f)));
    let (unwraps, done) = f.unwraps(wraps).await;
    assert!(done.into_iter().all(|done| done.is_ok()));
    assert_eq!(unwraps, 1);
}

#[tokio::test]
async fn nothing_is_sealed_that_nobody_can_open() {
    let f = Fixture::without_keks(LocalProvider::new());
    let id = KekId::parse("pair-1").unwrap();
    let algorithm = WrapAlgorithm::HpkeMlkem1024P384;
    let key = PrivateKey::generate(algorithm).unwrap();
    let mut kek = f.provider.add_key(&f.acme, &id, algorithm, key).unwrap();
    let another = PrivateKey::generate(algorithm).unwrap();
    kek.public_key = another.public_key().unwrap();
    f.store
        .put_current_kek(&f.acme, &f.local, (&kek, Policy::Aes256), 0)
        .await
        .unwrap();
    let error = wrap(&f.keyring, &f).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Integrity);
    // Nor with one that "opens" to another DEK.
    let key = PrivateKey::generate(algorithm).unwrap();
    let id = KekId::parse("pair-2").unwrap();
    let kek = f.provider.add_key(&f.acme, &id, algorithm, key).unwrap();
    f.store
        .put_current_kek(&f.acme, &f.local, (&kek, Policy::Aes256), 0)
        .await
        .unwrap();
    f.provider.behave(
        &f.acme,
        Behaviour {
            wrong_dek: true,
            ..Behaviour::default()
        },
    );
    assert!(matches!(
        wrap(&f.keyring, &f).await,
        Err(KeyError::TrialFailed { .. })
    ));
    f.provider.behave(&f.acme, Behaviour::default());
    wrap(&f.keyring, &f).await.unwrap();
}

#[tokio::test]
async fn an_absent_key_service_stops_sealing_only_with_a_kek_never_tried() {
    let f = Fixture::new().await;
    f.provider.fail(&f.acme, ErrorClass::Unavailable);
    wrap(&f.restarted(), &f).await.unwrap();
    f.provider.fail(&f.acme, ErrorClass::Denied);
    assert_eq!(
        wrap(&f.restarted(), &f).await.unwrap_err().class(),
        ErrorClass::Denied
    );

    let algorithm = WrapAlgorithm::HpkeMlkem1024P384;
    let id = KekId::parse("pair-1").unwrap();
    let key = PrivateKey::generate(algorithm).unwrap();
    let kek = f.provider.add_key(&f.acme, &id, algorithm, key).unwrap();
    f.store
        .put_current_kek(&f.acme, &f.local, (&kek, Policy::Aes256), 0)
        .await
        .unwrap();
    f.provider.fail(&f.acme, ErrorClass::Unavailable);
    assert_eq!(
        wrap(&f.keyring, &f).await.unwrap_err().class(),
        ErrorClass::Unavailable
    );
}

#[tokio::test]
async fn a_kek_that_fails_its_trial_does_not_become_current() {
    let f = Fixture::without_keks(LocalProvider::new());
    let first = f.mint(Policy::Aes256).await.unwrap();
    f.provider.behave(
        &f.acme,
        Behaviour {
            wrong_dek: true,
            ..Behaviour::default()
        },
    );
    assert!(matches!(
        f.mint(Policy::Aes256).await,
        Err(KeyError::TrialFailed { .. })
    ));
    f.provider.behave(&f.acme, Behaviour::default());
    for failing in [Failing::Before, Failing::Minted] {
        f.observer.fail(failing);
        assert!(matches!(
            f.mint(Policy::Aes256).await,
            Err(KeyError::Audit(_))
        ));
    }
    let (_, current) = f.store.current_kek(&f.acme).await.unwrap().unwrap();
    assert_eq!(current.id, first.id);
}

#[tokio::test]
async fn minting_passes_over_names_that_are_taken() {
    let f = Fixture::without_keks(LocalProvider::new());
    let left = SealedKey {
        algorithm: "rsa-oaep-sha256".to_owned(),
        sealed: vec![0; 60],
    };
    f.store.plant_sealed_key(&f.acme, &f.local, "kek/1", left);
    let (one, two) = tokio::join!(f.mint(Policy::Aes256), f.mint(Policy::Aes256));
    assert_eq!(one.unwrap().id.as_str(), "kek/2");
    assert_eq!(two.unwrap().id.as_str(), "kek/3");
}

#[tokio::test]
async fn a_provider_whose_keys_are_registered_mints_none() {
    let f = Fixture::without_keks(LocalProvider::new().without_minting());
    assert!(matches!(
        f.mint(Policy::Compatible).await,
        Err(KeyError::CannotMint { .. })
    ));
    let lkm = keyreel_format::ProviderId::parse("lkm").unwrap();
    let minted = f.keyring.mint_kek(&f.acme, &lkm, Policy::Compatible).await;
    assert!(matches!(minted, Err(KeyError::ProviderMissing { .. })));
}
