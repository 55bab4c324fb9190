//! Once more, where that is safe and may help.

use std::time::Duration;

use tokio::time::{Instant, advance};

use super::{Fixture, refused, seconds, settle};
use crate::provider::{ErrorClass, ProviderError};
use crate::testing::{Behaviour, Seen};

fn unavailable() -> ProviderError {
    ProviderError::new(ErrorClass::Unavailable, "test.reset", "")
}

fn failing(error: ProviderError) -> Behaviour {
    Behaviour {
        error: Some(error),
        ..Behaviour::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_service_that_was_gone_for_a_moment_is_asked_once_more() {
    let f = Fixture::new().await;
    let (dek, request) = f.recording("r1").await;
    let seen = f.observer.seen().len();
    let before = f.provider.unwraps();
    f.provider.behave(&f.acme, failing(unavailable()));
    let keyring = f.keyring.clone();
    let asked = tokio::spawn(async move { keyring.dek(&request).await });
    settle().await;
    assert_eq!(f.provider.unwraps(), before + 1);
    f.provider.behave(&f.acme, Behaviour::default());
    advance(Duration::from_millis(200)).await;
    let opened = asked.await.unwrap();
    assert!(opened.is_ok_and(|opened| opened.expose() == dek.expose()));
    assert_eq!(f.provider.unwraps(), before + 2);
    let seen = f.observer.seen().split_off(seen);
    assert!(
        matches!(seen.as_slice(), [Seen::Before(_), Seen::After(_, Ok(()))]),
        "one line before, one after: {seen:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_else_is_tried_twice() {
    let mut told_when = unavailable();
    told_when.retry_after = Some(seconds(1));
    let slow = Behaviour {
        delay: Duration::from_millis(600),
        ..failing(unavailable())
    };
    let others = [
        ErrorClass::Config,
        ErrorClass::Request,
        ErrorClass::NotFound,
        ErrorClass::Denied,
        ErrorClass::KeyDisabled,
        ErrorClass::Integrity,
        ErrorClass::Throttled,
        ErrorClass::Timeout,
        ErrorClass::Internal,
    ];
    let others = others.map(|class| failing(ProviderError::new(class, "test", "")));
    for behaviour in [failing(told_when), slow].into_iter().chain(others) {
        let f = Fixture::new().await;
        let (_, request) = f.recording("r1").await;
        f.provider.behave(&f.acme, behaviour.clone());
        let (unwraps, _) = f.unwraps(refused(&f.keyring, &request)).await;
        assert_eq!(unwraps, 1, "{behaviour:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_service_that_stays_away_is_not_asked_twice_as_often() {
    let f = Fixture::new().await;
    let (_, request) = f.recording("r1").await;
    f.provider.behave(&f.acme, failing(unavailable()));
    let started = Instant::now();
    let before = f.provider.unwraps();
    for _ in 0..10 {
        refused(&f.keyring, &request).await;
    }
    // Two for the first, one for each of the others until the breaker opens at three.
    assert_eq!(f.provider.unwraps() - before, 4);
    assert!(started.elapsed() < seconds(1));
}
