//! The recovery recipient: added to what is sealed, never asked for what is played.

use keyreel_format::{KekId, ProviderId, RecordingId};

use super::{Fixture, opened, refused};
use crate::error::KeyError;
use crate::kek::{Kek, KekState, KekStore as _, Policy};
use crate::keyring::{Asker, Occasion};
use crate::provider::ErrorClass;
use crate::recovery::{RECOVERY, RecoveryKey, RecoveryPair, RecoveryPairKind};
use keyreel_format::wrap::RsaModulus;

async fn set(f: &Fixture, kind: RecoveryPairKind, policy: Policy) -> RecoveryPair {
    let pair = RecoveryPair::generate(kind).unwrap();
    let key = RecoveryKey::parse(&pair.public_pem(), policy, 0).unwrap();
    assert!(
        f.store
            .put_recovery_key(&f.acme, &key, policy)
            .await
            .unwrap()
    );
    pair
}

#[tokio::test]
async fn what_is_sealed_is_wrapped_to_the_recovery_key_too_and_plays_by_the_other() {
    let f = Fixture::new().await;
    let (_, before) = f.recording("before").await;
    assert_eq!(before.recipients.len(), 1);
    let pair = set(&f, RecoveryPairKind::Mlkem1024P384, Policy::Aes256).await;
    let (dek, request) = f.recording("after").await;
    let named: Vec<_> = request
        .recipients
        .iter()
        .map(|recipient| (recipient.provider.as_str(), recipient.kek.as_str()))
        .collect();
    assert_eq!(named, [("local", "kek/1"), (RECOVERY, pair.id().as_str())]);
    let (asked, _) = f.unwraps(opened(&f.keyring, &request)).await;
    assert_eq!(asked, 1);
    assert_eq!(opened(&f.keyring, &request).await.expose(), dek.expose());
    // Another tenant's recordings have nothing to do with it.
    let (_, other) = f.recording_of(&f.other, "other").await;
    assert_eq!(other.recipients.len(), 1);
    let recording = RecordingId::parse("wrapped").unwrap();
    let wrapped = f.keyring.wrap(&f.acme, &recording, &dek).await.unwrap();
    assert_eq!(wrapped.recovery.as_ref(), Some(pair.id()));
    assert!(f.store.remove_recovery_key(&f.acme).await.unwrap());
    let (_, removed) = f.recording("removed").await;
    assert_eq!(removed.recipients.len(), 1);
}

#[tokio::test]
async fn a_recovery_recipient_does_not_undo_what_was_taken_away() {
    let f = Fixture::new().await;
    let pair = set(&f, RecoveryPairKind::Mlkem1024P384, Policy::Aes256).await;
    let (_, request) = f.recording("r").await;
    // A KEK of that very name in the catalogue, as only somebody who writes to it could make.
    let recovery = ProviderId::parse(RECOVERY).unwrap();
    let planted = Kek {
        id: pair.id().clone(),
        algorithm: pair.algorithm().name().to_owned(),
        public_key: Vec::new(),
        sealed: Vec::new(),
        attributes: Vec::new(),
    };
    let put = f
        .store
        .put_current_kek(&f.acme, &recovery, (&planted, Policy::Compatible), 0);
    put.await.unwrap();
    let kek = KekId::parse("kek/1").unwrap();
    f.store.set_state(&f.acme, &kek, KekState::Retired);
    let mut alone = request.clone();
    alone.recipients.remove(0);
    let (asked, ()) = f
        .unwraps(async {
            let error = refused(&f.keyring, &request).await;
            assert!(matches!(error, KeyError::KekRetired { .. }), "{error}");
            let error = refused(&f.keyring, &alone).await;
            assert!(matches!(error, KeyError::UnknownKek { .. }), "{error}");
        })
        .await;
    assert_eq!(asked, 0);
}

#[tokio::test]
async fn an_rsa_recovery_key_stands_in_the_way_of_256_bits() {
    let f = Fixture::without_keks(crate::testing::LocalProvider::new());
    f.mint(Policy::Compatible).await.unwrap();
    let rsa = RecoveryPairKind::Rsa(RsaModulus::Bits3072);
    set(&f, rsa, Policy::Compatible).await;
    let to_256 = (Policy::Compatible, Policy::Aes256);
    let rotate = || async {
        let asker = Asker::default();
        f.keyring
            .rotate(&f.acme, to_256, Occasion::Asked, &asker)
            .await
    };
    let error = rotate().await.unwrap_err();
    assert!(matches!(error, KeyError::RecoveryTooWeak { .. }), "{error}");
    assert_eq!(error.class(), ErrorClass::Config);
    assert_eq!(
        f.store.keks(&f.acme).await.unwrap().len(),
        1,
        "none was made"
    );
    let mlkem = set(&f, RecoveryPairKind::Mlkem1024P384, Policy::Compatible).await;
    rotate().await.unwrap();
    let key = f.keyring.recovery_key(&f.acme).await.unwrap().unwrap();
    assert_eq!(key.id, *mlkem.id());
    // The other way round: held against a policy that has changed meanwhile.
    let pair = RecoveryPair::generate(rsa).unwrap();
    let late = RecoveryKey::parse(&pair.public_pem(), Policy::Compatible, 0).unwrap();
    let put = f.store.put_recovery_key(&f.acme, &late, Policy::Compatible);
    assert!(!put.await.unwrap());
}
