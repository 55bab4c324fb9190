//! Rotations: what the next KEK is made of, what it follows, and what goes on beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Fixture, opened};
use crate::configuration::Configured;
use crate::error::KeyError;
use crate::kek::{KekState, KekStore as _, Policy};
use crate::keyring::rotate::{Occasion, Rotated};
use crate::keyring::{Asker, Keyring};
use crate::provider::ErrorClass;
use crate::testing::{Behaviour, Failing, Seen};

const SAME: (Policy, Policy) = (Policy::Aes256, Policy::Aes256);

fn asker() -> Asker {
    Asker {
        subject: "user-7".to_owned(),
        request_id: "request-7".to_owned(),
    }
}

async fn rotate(keyring: &Keyring, f: &Fixture, occasion: Occasion) -> Result<Rotated, KeyError> {
    keyring.rotate(&f.acme, SAME, occasion, &asker()).await
}

async fn current(f: &Fixture) -> String {
    let current = f.store.current_kek(&f.acme).await.unwrap();
    current.unwrap().1.id.to_string()
}

#[tokio::test]
async fn the_next_kek_is_made_as_the_present_one_was() {
    let f = Fixture::new().await;
    let configured = Configured::Saved(Arc::from("conf-1"));
    let tried = f
        .keyring
        .try_minting(&f.acme, &f.local, Policy::Aes256, configured, &asker())
        .await
        .unwrap();
    f.keyring.adopt(tried, Some("conf-1")).await.unwrap();
    let asked = f.provider.asked().len();

    let done = rotate(&f.keyring, &f, Occasion::Asked).await.unwrap();
    let Rotated::New { former, current } = done else {
        panic!("{done:?}");
    };
    assert_eq!(
        (former.kek.id.as_str(), current.kek.id.as_str()),
        ("kek/2", "kek/3")
    );
    assert_eq!(current.kek.configuration(), Some("conf-1"));
    assert_eq!(current.kek.algorithm, Policy::Aes256.algorithm());
    // Made and tried under that configuration, and under no other.
    let asked = f.provider.asked().split_off(asked);
    assert_eq!(
        asked.iter().map(Configured::id).collect::<Vec<_>>(),
        [Some("conf-1"); 2]
    );
    let seen = f.observer.seen();
    let [.., Seen::After(trial, Ok(())), Seen::Minted(minted)] = seen.as_slice() else {
        panic!("{seen:?}");
    };
    assert_eq!(
        (&trial.kek, &minted.kek),
        (&current.kek.id, &current.kek.id)
    );
    assert_eq!(minted.subject, "user-7");
    assert_eq!(minted.configuration.as_deref(), Some("conf-1"));
    let newest = f.store.keks(&f.acme).await.unwrap().remove(0);
    assert_eq!(
        (newest.state, newest.created_ms),
        (KekState::Current, current.created_ms)
    );
}

#[tokio::test]
async fn cached_deks_and_leases_outlive_a_rotation() {
    let f = Fixture::new().await;
    let (dek, request) = f.recording("r1").await;
    let lease = f.keyring.lease(&request).await.unwrap();
    rotate(&f.keyring, &f, Occasion::Asked).await.unwrap();
    assert!(!lease.is_revoked(), "its stream goes on");
    let (unwraps, again) = f.unwraps(opened(&f.keyring, &request)).await;
    assert_eq!((unwraps, again.expose()), (0, dek.expose()));
    assert_eq!(f.keyring.stats().purges, 0);
}

#[tokio::test]
async fn a_rotation_that_fails_changes_nothing() {
    let f = Fixture::new().await;
    f.provider.behave(
        &f.acme,
        Behaviour {
            wrong_dek: true,
            ..Behaviour::default()
        },
    );
    let failed = rotate(&f.keyring, &f, Occasion::Asked).await;
    assert!(matches!(failed, Err(KeyError::TrialFailed { .. })));
    f.provider.fail(&f.acme, ErrorClass::Unavailable);
    let failed = rotate(&f.keyring, &f, Occasion::Asked).await.unwrap_err();
    assert_eq!(failed.class(), ErrorClass::Unavailable);
    f.provider.behave(&f.acme, Behaviour::default());
    for failing in [Failing::Before, Failing::After, Failing::Minted] {
        f.observer.fail(failing);
        let failed = rotate(&f.keyring, &f, Occasion::Asked).await;
        assert!(matches!(failed, Err(KeyError::Audit(_))), "{failing:?}");
    }
    assert_eq!(current(&f).await, "kek/1");
    assert_eq!(f.store.keks(&f.acme).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_policy_changes_with_the_kek_and_only_from_what_it_was() {
    let f = Fixture::new().await;
    let to_compatible = (Policy::Aes256, Policy::Compatible);
    let done = f
        .keyring
        .rotate(&f.acme, to_compatible, Occasion::Asked, &asker())
        .await
        .unwrap();
    let Rotated::New { current: made, .. } = done else {
        panic!("{done:?}");
    };
    assert_eq!(made.kek.algorithm, Policy::Compatible.algorithm());
    assert_eq!(f.store.policy(&f.acme), Some(Policy::Compatible));
    // Somebody who read the policy before it was changed does not bring the old one back.
    let late = rotate(&f.keyring, &f, Occasion::Asked).await;
    assert!(matches!(late, Err(KeyError::Overtaken { .. })), "{late:?}");
    assert_eq!(current(&f).await, made.kek.id.as_str());
}

#[tokio::test]
async fn whoever_is_overtaken_by_another_process_puts_nothing_in_its_place() {
    let f = Fixture::new().await;
    f.provider.behave(
        &f.acme,
        Behaviour {
            delay: std::time::Duration::from_millis(50),
            ..Behaviour::default()
        },
    );
    let slow = rotate(&f.keyring, &f, Occasion::Asked);
    let moved = async {
        // While the first one's KEK is on trial, the tenant moves to a key of another kind.
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        let (_, mut kek) = f.store.current_kek(&f.acme).await.unwrap().unwrap();
        kek.id = "0f8fad5b-d9cb-469f-a165-70867728950e".parse().unwrap();
        let lkm = keyreel_format::ProviderId::parse("lkm").unwrap();
        f.store
            .put_current_kek(&f.acme, &lkm, (&kek, Policy::Aes256), 1)
            .await
            .unwrap();
    };
    let (slow, ()) = tokio::join!(slow, moved);
    assert!(matches!(slow, Err(KeyError::Overtaken { .. })), "{slow:?}");
    let (provider, _) = f.store.current_kek(&f.acme).await.unwrap().unwrap();
    assert_eq!(provider.as_str(), "lkm");
}

/// A key service that takes its time, and one rotation with it under way.
async fn slow_rotation(f: &Arc<Fixture>) -> tokio::task::JoinHandle<Result<Rotated, KeyError>> {
    f.provider.behave(
        &f.acme,
        Behaviour {
            delay: std::time::Duration::from_millis(400),
            ..Behaviour::default()
        },
    );
    let slow = tokio::spawn({
        let f = f.clone();
        async move { rotate(&f.keyring, &f, Occasion::Asked).await }
    });
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    slow
}

#[tokio::test]
async fn a_key_is_disabled_at_once_also_during_a_rotation_which_then_follows_nothing() {
    let f = Arc::new(Fixture::new().await);
    let slow = slow_rotation(&f).await;
    let id = "kek/1".parse().unwrap();
    let disabled = f.keyring.disable_kek(&f.acme, &f.local, &id).await.unwrap();
    assert_eq!(disabled.state, KekState::Disabled);
    assert!(!slow.is_finished(), "nobody waited for it");
    let slow = slow.await.unwrap();
    assert!(matches!(slow, Err(KeyError::Overtaken { .. })), "{slow:?}");
    let keks = f.store.keks(&f.acme).await.unwrap();
    assert_eq!((keks.len(), keks[0].state), (1, KekState::Disabled));
}

#[tokio::test]
async fn nobody_queues_for_a_rotation_but_what_is_due_waits() {
    let f = Arc::new(Fixture::new().await);
    let made = f.store.keks(&f.acme).await.unwrap()[0].created_ms;
    let slow = slow_rotation(&f).await;
    for _ in 0..3 {
        let again = rotate(&f.keyring, &f, Occasion::Asked).await;
        assert!(matches!(again, Err(KeyError::UnderWay { .. })), "{again:?}");
    }
    assert!(!slow.is_finished(), "they were answered at once");
    // What the slow one made meets the date.
    let due = rotate(&f.keyring, &f, Occasion::Due(made)).await.unwrap();
    assert!(matches!(due, Rotated::Met(_)), "{due:?}");
    slow.await.unwrap().unwrap();
    assert_eq!(current(&f).await, "kek/2");
    rotate(&f.keyring, &f, Occasion::Asked).await.unwrap();
}

#[tokio::test]
async fn a_due_date_is_met_once_and_a_disabled_kek_is_left_alone() {
    let f = Fixture::new().await;
    let made = f.store.keks(&f.acme).await.unwrap()[0].created_ms;
    let met = rotate(&f.keyring, &f, Occasion::Due(made)).await.unwrap();
    assert!(matches!(met, Rotated::Met(_)), "{met:?}");
    assert_eq!(current(&f).await, "kek/1");
    let id = "kek/1".parse().unwrap();
    f.keyring.disable_kek(&f.acme, &f.local, &id).await.unwrap();
    let due = rotate(&f.keyring, &f, Occasion::Due(made + 1)).await;
    assert!(matches!(due, Err(KeyError::NoCurrentKek { .. })), "{due:?}");
    rotate(&f.keyring, &f, Occasion::Asked).await.unwrap();
    assert_eq!(current(&f).await, "kek/2");
    let old = f.store.keks(&f.acme).await.unwrap().remove(1);
    assert_eq!(old.state, KekState::Disabled, "it stays so");
}

/// Sealing goes on beside rotations: whatever is sealed opens, under the one KEK or the other.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_sealed_during_rotations_opens() {
    let f = Arc::new(Fixture::new().await);
    let over = Arc::new(AtomicBool::new(false));
    let sealing = (0..4).map(|n| {
        let (f, over) = (f.clone(), over.clone());
        tokio::spawn(async move {
            let mut sealed = Vec::new();
            while !over.load(Ordering::SeqCst) {
                sealed.push(f.recording(&format!("r-{n}-{}", sealed.len())).await);
                tokio::task::yield_now().await;
            }
            sealed
        })
    });
    let sealing: Vec<_> = sealing.collect();
    for _ in 0..5 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        rotate(&f.keyring, &f, Occasion::Asked).await.unwrap();
    }
    over.store(true, Ordering::SeqCst);
    let mut keks = std::collections::BTreeSet::new();
    for sealed in sealing {
        for (dek, request) in sealed.await.unwrap() {
            keks.insert(request.recipients[0].kek.to_string());
            assert_eq!(opened(&f.keyring, &request).await.expose(), dek.expose());
        }
    }
    assert!(keks.len() >= 3, "{keks:?}");
}
