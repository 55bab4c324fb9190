//! The gate, with the time in hand.

use std::time::Duration;

use keyreel_format::{ProviderId, TenantId};
use tokio::time::advance;

use super::{BreakerState, Gates, Pass};
use crate::error::KeyError;
use crate::provider::{ErrorClass, ProviderError};
use crate::settings::GateSettings;

fn gates() -> Gates {
    Gates::new(GateSettings {
        concurrency: 2,
        failures: 3,
        ..GateSettings::default()
    })
}

async fn enter(gates: &Gates, tenant: &str) -> Result<Pass, KeyError> {
    let provider = ProviderId::parse("lkm").unwrap();
    gates
        .gate(&TenantId::parse(tenant).unwrap(), &provider, None)
        .enter()
        .await
}

async fn call(gates: &Gates, outcome: Option<ErrorClass>) -> Result<(), KeyError> {
    let pass = enter(gates, "acme").await?;
    match outcome {
        None => pass.settle(Ok(())),
        Some(class) => pass.settle(Err(&ProviderError::new(class, "test", ""))),
    }
    Ok(())
}

/// The breaker's state, and for how long it is open.
async fn wait(gates: &Gates) -> Option<Duration> {
    match enter(gates, "acme").await {
        Ok(_) => None,
        Err(KeyError::CircuitOpen { retry_after, .. }) => Some(retry_after),
        Err(error) => panic!("{error}"),
    }
}

const DOWN: Option<ErrorClass> = Some(ErrorClass::Unavailable);

async fn open(gates: &Gates) {
    for _ in 0..3 {
        call(gates, DOWN).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn opens_after_failures_in_a_row_and_closes_after_a_trial() {
    let gates = gates();
    call(&gates, DOWN).await.unwrap();
    call(&gates, Some(ErrorClass::Timeout)).await.unwrap();
    call(&gates, None).await.unwrap();
    call(&gates, DOWN).await.unwrap();
    call(&gates, DOWN).await.unwrap();
    assert!(gates.breakers().is_empty());
    call(&gates, DOWN).await.unwrap();
    assert_eq!(gates.breakers()[0].2, BreakerState::Open);
    assert_eq!(wait(&gates).await, Some(Duration::from_secs(5)));
    advance(Duration::from_secs(3)).await;
    assert_eq!(wait(&gates).await, Some(Duration::from_secs(2)));
    advance(Duration::from_secs(2)).await;
    assert_eq!(gates.breakers()[0].2, BreakerState::HalfOpen);

    let trial = enter(&gates, "acme").await.unwrap();
    assert!(wait(&gates).await.is_some(), "one trial at a time");
    trial.settle(Ok(()));
    assert!(gates.breakers().is_empty());
    call(&gates, None).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_failed_trial_doubles_the_pause_up_to_a_bound() {
    let gates = gates();
    open(&gates).await;
    for expected in [5, 10, 20, 40, 60, 60] {
        assert_eq!(wait(&gates).await, Some(Duration::from_secs(expected)));
        advance(Duration::from_secs(expected)).await;
        call(&gates, DOWN).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_trial_that_was_given_up_makes_way_for_the_next_after_the_same_pause() {
    let gates = gates();
    open(&gates).await;
    for _ in 0..2 {
        advance(Duration::from_secs(5)).await;
        drop(enter(&gates, "acme").await.unwrap());
        assert_eq!(wait(&gates).await, Some(Duration::from_secs(5)));
    }
    advance(Duration::from_secs(5)).await;
    let next = enter(&gates, "acme").await.unwrap();
    next.settle(Ok(()));
    assert!(gates.breakers().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_breaks_down_opens_it_too() {
    let gates = gates();
    for _ in 0..3 {
        let mut error = ProviderError::new(ErrorClass::Internal, "sandbox.cpu", "");
        error.retry_after = Some(Duration::from_secs(60));
        enter(&gates, "acme").await.unwrap().settle(Err(&error));
    }
    assert_eq!(wait(&gates).await, Some(Duration::from_secs(5)));
    advance(Duration::from_secs(5)).await;
    call(&gates, Some(ErrorClass::Internal)).await.unwrap();
    assert_eq!(wait(&gates).await, Some(Duration::from_secs(10)));
}

#[tokio::test(start_paused = true)]
async fn a_pass_without_a_call_counts_for_nothing() {
    let gates = gates();
    for _ in 0..10 {
        drop(enter(&gates, "acme").await.unwrap());
    }
    call(&gates, DOWN).await.unwrap();
    call(&gates, DOWN).await.unwrap();
    drop(enter(&gates, "acme").await.unwrap());
    assert!(gates.breakers().is_empty());
    call(&gates, DOWN).await.unwrap();
    assert_eq!(gates.breakers()[0].2, BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_no_failure_whatever_it_says() {
    let gates = gates();
    let others = [
        ErrorClass::Config,
        ErrorClass::Request,
        ErrorClass::NotFound,
        ErrorClass::Denied,
        ErrorClass::KeyDisabled,
        ErrorClass::Integrity,
        ErrorClass::Throttled,
    ];
    for class in others {
        for _ in 0..10 {
            call(&gates, Some(class)).await.unwrap();
        }
    }
    assert!(gates.breakers().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_from_before_does_not_close_the_breaker() {
    let gates = gates();
    let early = enter(&gates, "acme").await.unwrap();
    open(&gates).await;
    early.settle(Ok(()));
    assert!(wait(&gates).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn the_services_own_wish_is_honoured_within_bounds() {
    for (wish, expected) in [(1, 5), (20, 20), (86_400, 60)] {
        let gates = gates();
        for _ in 0..3 {
            let mut error = ProviderError::new(ErrorClass::Unavailable, "test", "");
            error.retry_after = Some(Duration::from_secs(wish));
            enter(&gates, "acme").await.unwrap().settle(Err(&error));
        }
        assert_eq!(wait(&gates).await, Some(Duration::from_secs(expected)));
    }
}

#[tokio::test(start_paused = true)]
async fn waits_for_a_turn_within_bounds() {
    let gates = gates();
    let first = enter(&gates, "acme").await.unwrap();
    let _second = enter(&gates, "acme").await.unwrap();
    let before = tokio::time::Instant::now();
    assert!(matches!(
        enter(&gates, "acme").await,
        Err(KeyError::Busy { .. })
    ));
    assert_eq!(before.elapsed().as_millis(), 1000);
    enter(&gates, "other").await.unwrap();
    let (third, ()) = tokio::join!(enter(&gates, "acme"), async {
        advance(Duration::from_millis(500)).await;
        drop(first);
    });
    third.unwrap();
}
