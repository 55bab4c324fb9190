//! Limits, the breaker, and the audit log's veto.

use tokio::time::{Instant, advance};

use super::{Fixture, opened, refused, seconds};
use crate::configuration::Configured;
use crate::error::KeyError;
use crate::gate::BreakerState;
use crate::keyring::Asker;
use crate::observer::UnwrapPurpose;
use crate::provider::ErrorClass;
use crate::testing::{Behaviour, Failing, Seen};

fn hanging() -> Behaviour {
    Behaviour {
        hangs: true,
        ..Behaviour::default()
    }
}

#[tokio::test(start_paused = true)]
async fn an_unwrap_ends_after_two_seconds() {
    let f = Fixture::new().await;
    let (_, request) = f.recording("r1").await;
    f.provider.behave(&f.acme, hanging());
    let started = Instant::now();
    let error = refused(&f.keyring, &request).await;
    assert_eq!(
        (error.class(), started.elapsed().as_millis()),
        (ErrorClass::Timeout, 2000)
    );
}

#[tokio::test(start_paused = true)]
async fn the_breaker_opens_and_closes_again() {
    let f = Fixture::new().await;
    let (_, request) = f.recording("r1").await;
    f.provider.fail(&f.acme, ErrorClass::Unavailable);
    for _ in 0..3 {
        refused(&f.keyring, &request).await;
    }
    f.provider.behave(&f.acme, Behaviour::default());
    let (unwraps, error) = f.unwraps(refused(&f.keyring, &request)).await;
    assert!(matches!(error, KeyError::CircuitOpen { .. }));
    assert_eq!((unwraps, error.retry_after()), (0, Some(seconds(5))));
    let stats = f.keyring.stats();
    assert_eq!(
        stats.breakers,
        [(f.acme.clone(), f.local.clone(), BreakerState::Open)]
    );
    assert_eq!(stats.circuit_open, 1);
    assert_eq!(stats.unwraps[&(f.local.clone(), "unavailable")].count, 3);

    advance(seconds(5)).await;
    opened(&f.keyring, &request).await;
    assert!(f.keyring.stats().breakers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_hanging_service_slows_no_other_tenant() {
    let f = Fixture::new().await;
    f.provider.behave(&f.acme, hanging());
    let mut stuck = Vec::new();
    for n in 0..24 {
        let (_, request) = f.recording(&format!("r{n}")).await;
        let keyring = f.keyring.clone();
        stuck.push(tokio::spawn(
            async move { refused(&keyring, &request).await },
        ));
    }
    super::settle().await;
    let started = Instant::now();
    for n in 0..24 {
        let (_, request) = f.recording_of(&f.other, &format!("o{n}")).await;
        opened(&f.keyring, &request).await;
    }
    // Paused time moves only when all tasks wait: other's unwraps never waited.
    assert_eq!(started.elapsed().as_millis(), 0);
    assert!(f.provider.most_running() <= 9, "8 of acme, 1 of other");
    let mut classes = std::collections::HashMap::new();
    for stuck in stuck {
        *classes.entry(stuck.await.unwrap().class()).or_insert(0) += 1;
    }
    assert!(started.elapsed() <= seconds(3), "{:?}", started.elapsed());
    assert_eq!(classes[&ErrorClass::Timeout], 8);
    assert_eq!(classes[&ErrorClass::Throttled], 16);
}

#[tokio::test]
async fn an_unwrap_is_recorded_before_and_after() {
    let f = Fixture::new().await;
    let (_, request) = f.recording("r1").await;
    let before = f.observer.seen().len();
    opened(&f.keyring, &request).await;
    opened(&f.keyring, &request).await;
    f.keyring.purge(&f.acme);
    f.provider.fail(&f.acme, ErrorClass::Denied);
    refused(&f.keyring, &request).await;

    let seen = &f.observer.seen()[before..];
    let [
        Seen::Before(a),
        Seen::After(b, Ok(())),
        Seen::Before(c),
        Seen::After(d, Err(class)),
    ] = seen
    else {
        panic!("{seen:?}");
    };
    assert!(a == b && a == c && a == d);
    assert_eq!(*class, ErrorClass::Denied);
    assert_eq!(a.purpose, UnwrapPurpose::Open);
    assert_eq!(
        (a.subject.as_str(), a.request_id.as_str()),
        ("user-7", "request-r1")
    );
    assert_eq!((&a.tenant, &a.recording), (&f.acme, &request.recording));
    assert_eq!(a.kek, request.recipients[0].kek);
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_done() {
    let f = Fixture::new().await;
    let (_, request) = f.recording("r1").await;
    f.observer.fail(Failing::Before);
    let (unwraps, error) = f.unwraps(refused(&f.keyring, &request)).await;
    assert!(matches!(error, KeyError::Audit(_)));
    assert_eq!((unwraps, error.class()), (0, ErrorClass::Unavailable));
    f.observer.fail(Failing::Nothing);
    opened(&f.keyring, &request).await;
}

#[tokio::test]
async fn a_dek_whose_unwrap_cannot_be_recorded_is_dropped() {
    let f = Fixture::new().await;
    let (_, request) = f.recording("r1").await;
    f.observer.fail(Failing::After);
    for _ in 0..2 {
        let (unwraps, error) = f.unwraps(refused(&f.keyring, &request)).await;
        assert!(matches!(error, KeyError::Audit(_)));
        assert_eq!((unwraps, f.keyring.stats().cached), (1, 0));
    }
}

#[tokio::test]
async fn health_is_the_providers_word() {
    let f = Fixture::new().await;
    let asker = Asker::default();
    let health = f
        .keyring
        .health(&f.acme, &f.local, Configured::Plain, &asker)
        .await
        .unwrap();
    assert_eq!(health.status, "ok");
    let missing = keyreel_format::ProviderId::parse("lkm").unwrap();
    let error = f
        .keyring
        .health(&f.acme, &missing, Configured::Plain, &asker)
        .await
        .unwrap_err();
    assert!(matches!(error, KeyError::ProviderMissing { .. }));
}
