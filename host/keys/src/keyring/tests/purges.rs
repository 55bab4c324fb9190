//! Purges: at rest, in flight, and for those who listen.

use std::sync::Arc;

use tokio::time::{Instant, advance};

use super::{Fixture, opened, refused, seconds, settle};
use crate::error::KeyError;
use crate::kek::{KekState, KekStore as _};
use crate::provider::ErrorClass;
use crate::testing::{Behaviour, Writing};

fn slow() -> Behaviour {
    Behaviour {
        delay: seconds(1),
        ..Behaviour::default()
    }
}

#[tokio::test]
async fn a_purge_empties_one_tenants_cache_at_once() {
    let f = Fixture::new().await;
    let (_, ours) = f.recording("r1").await;
    let (_, theirs) = f.recording_of(&f.other, "r1").await;
    let lease = f.keyring.lease(&ours).await.ok().unwrap();
    let their_lease = f.keyring.lease(&theirs).await.ok().unwrap();
    assert_eq!(Arc::strong_count(lease.dek()), 2);
    assert!(!lease.is_revoked());

    f.keyring.purge(&f.acme);

    assert!(lease.is_revoked() && !their_lease.is_revoked());
    assert_eq!(
        Arc::strong_count(lease.dek()),
        1,
        "the cache still holds the DEK"
    );
    assert_eq!(f.unwraps(opened(&f.keyring, &ours)).await.0, 1);
    assert_eq!(f.unwraps(opened(&f.keyring, &theirs)).await.0, 0);
    assert_eq!(f.provider.purges(), 1);
    assert!(!f.keyring.lease(&ours).await.ok().unwrap().is_revoked());
}

#[tokio::test(start_paused = true)]
async fn a_purge_forgets_refusals_too() {
    let f = Fixture::new().await;
    let (_, request) = f.recording("r1").await;
    f.provider.fail(&f.acme, ErrorClass::Denied);
    refused(&f.keyring, &request).await;
    f.provider.behave(&f.acme, Behaviour::default());
    f.keyring.purge(&f.acme);
    opened(&f.keyring, &request).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_unwrapped_before_a_purge_is_not_used_after_it() {
    let f = Fixture::new().await;
    let (_, request) = f.recording("r1").await;
    f.provider.behave(&f.acme, slow());
    let before = f.provider.unwraps();
    let waiters: Vec<_> = (0..3)
        .map(|_| {
            let (keyring, request) = (f.keyring.clone(), request.clone());
            tokio::spawn(async move { refused(&keyring, &request).await })
        })
        .collect();
    settle().await;
    assert_eq!(f.provider.unwraps() - before, 1);
    // The owner takes the key away while the provider, still with the old word, is at work. (It
    // took its orders when the call began.)
    tokio::time::sleep(seconds(1) / 2).await;
    f.provider.fail(&f.acme, ErrorClass::KeyDisabled);
    f.keyring.purge(&f.acme);
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap().class(), ErrorClass::KeyDisabled);
    }
    assert_eq!(
        f.provider.unwraps() - before,
        2,
        "one flight of old, one anew"
    );
    assert_eq!(f.keyring.stats().cached, 0);
}

#[tokio::test(start_paused = true)]
async fn a_purge_costs_those_who_wait_nothing_but_time() {
    let f = Fixture::new().await;
    let (dek, request) = f.recording("r1").await;
    f.provider.behave(&f.acme, slow());
    let keyring = f.keyring.clone();
    let waiter = tokio::spawn(async move { keyring.lease(&request).await });
    tokio::time::sleep(seconds(1) / 2).await;
    f.keyring.purge(&f.acme);
    let lease = waiter.await.unwrap().ok().unwrap();
    assert_eq!(lease.dek().expose(), dek.expose());
    assert!(!lease.is_revoked(), "it is of the time after the purge");
}

#[tokio::test(start_paused = true)]
async fn nobody_joins_a_flight_from_before_a_purge() {
    let f = Fixture::new().await;
    let (_, request) = f.recording("r1").await;
    f.provider.behave(&f.acme, slow());
    let keyring = f.keyring.clone();
    let early = request.clone();
    let early = tokio::spawn(async move { opened(&keyring, &early).await });
    tokio::time::sleep(seconds(1) / 2).await;
    f.keyring.purge(&f.acme);
    let started = Instant::now();
    opened(&f.keyring, &request).await;
    assert_eq!(started.elapsed(), seconds(1), "it asked anew");
    early.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn purges_without_end_are_an_error() {
    let f = Fixture::new().await;
    let (_, request) = f.recording("r1").await;
    f.provider.behave(&f.acme, slow());
    let keyring = f.keyring.clone();
    let waiter = tokio::spawn(async move { refused(&keyring, &request).await });
    for _ in 0..3 {
        tokio::time::sleep(seconds(1) * 3 / 4).await;
        f.keyring.purge(&f.acme);
        tokio::time::sleep(seconds(1) / 4).await;
    }
    let error = waiter.await.unwrap();
    assert!(matches!(error, KeyError::Purged { .. }), "{error}");
    assert_eq!(error.retry_after(), Some(seconds(1)));
}

#[tokio::test(start_paused = true)]
async fn a_watch_wakes_for_its_tenant_only() {
    let f = Fixture::new().await;
    let mut watch = f.keyring.purges(&f.acme);
    let woken = tokio::spawn(async move {
        watch.purged().await;
        assert!(watch.is_purged());
    });
    settle().await;
    f.keyring.purge(&f.other);
    settle().await;
    assert!(!woken.is_finished());
    f.keyring.purge(&f.acme);
    woken.await.unwrap();
    assert!(!f.keyring.purges(&f.acme).is_purged());
}

#[tokio::test(start_paused = true)]
async fn a_lease_ends_with_the_keys_time_in_the_cache() {
    let f = Fixture::new().await;
    let (_, request) = f.recording("r1").await;
    let lease = async || match f.keyring.lease(&request).await {
        Ok(lease) => lease.until(),
        Err(error) => panic!("{error}"),
    };
    let started = Instant::now();
    assert_eq!(lease().await, started + seconds(60));
    advance(seconds(59)).await;
    assert_eq!(
        lease().await,
        started + seconds(60),
        "not from the last time it was asked for"
    );
    advance(seconds(1)).await;
    assert_eq!(lease().await, started + seconds(120), "unwrapped anew");
    // What a provider lets nobody keep is good for a second.
    let kept_by_nobody = Behaviour {
        max_cache: Some(seconds(0)),
        ..Behaviour::default()
    };
    f.provider.behave(&f.acme, kept_by_nobody);
    f.keyring.purge(&f.acme);
    let now = Instant::now();
    assert_eq!(lease().await, now + seconds(1));
}

#[tokio::test(start_paused = true)]
async fn a_catalogue_that_is_slow_to_disable_a_key_leaves_nothing_of_it_in_a_cache() {
    let f = Fixture::new().await;
    let (_, request) = f.recording("r1").await;
    let lease = f.keyring.lease(&request).await.ok().unwrap();
    let kek = &f.store.keks(&f.acme).await.unwrap()[0].kek.id;
    f.store.write_like(Writing {
        delay: seconds(5),
        ..Writing::default()
    });

    let late = f.keyring.disable_kek(&f.acme, &f.local, kek).await;

    assert!(matches!(late, Err(KeyError::StoreTimeout)));
    assert!(lease.is_revoked(), "it may be disabled by now");
    // Not yet: it opens, and is in the cache again.
    let meanwhile = f.keyring.lease(&request).await.ok().unwrap();
    tokio::time::sleep(seconds(4)).await;
    let (_, state) = f.store.kek(&f.acme, &f.local, kek).await.unwrap().unwrap();
    assert_eq!(state, KekState::Disabled, "the write came to its end");
    assert!(meanwhile.is_revoked(), "and took what was cached with it");
    let refusal = refused(&f.keyring, &request).await;
    assert!(matches!(refusal, KeyError::KekDisabled { .. }));
}

#[tokio::test]
async fn a_key_that_could_not_be_disabled_is_asked_for_anew() {
    let f = Fixture::new().await;
    let (_, request) = f.recording("r1").await;
    let lease = f.keyring.lease(&request).await.ok().unwrap();
    let kek = &f.store.keks(&f.acme).await.unwrap()[0].kek.id;
    f.store.write_like(Writing {
        fails: true,
        ..Writing::default()
    });
    let failed = f.keyring.disable_kek(&f.acme, &f.local, kek).await;
    assert!(matches!(failed, Err(KeyError::Store(_))));
    assert!(lease.is_revoked());
}
