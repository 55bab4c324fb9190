//! The cache and its flights.

use std::sync::Arc;

use futures::FutureExt;
use keyreel_format::Dek;
use tokio::time::advance;

use super::{Fixture, of, opened, refused, seconds, settle};
use crate::error::KeyError;
use crate::provider::{ErrorClass, ProviderError};
use crate::testing::{Behaviour, Failing, Seen};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_first_plays_are_one_unwrap() {
    let f = Fixture::new().await;
    let (dek, request) = f.recording("r1").await;
    let request = Arc::new(request);
    f.provider.behave(
        &f.acme,
        Behaviour {
            delay: seconds(0),
            ..Behaviour::default()
        },
    );
    let before = f.provider.unwraps();
    let plays: Vec<_> = (0..1000)
        .map(|_| {
            let (keyring, request) = (f.keyring.clone(), request.clone());
            tokio::spawn(async move { opened(&keyring, &request).await })
        })
        .collect();
    for play in plays {
        assert_eq!(play.await.unwrap().expose(), dek.expose());
    }
    assert_eq!(f.provider.unwraps() - before, 1);
    let stats = f.keyring.stats();
    assert_eq!(stats.hits + stats.misses, 1000);
    assert_eq!(stats.misses - stats.joined, 1);
    assert_eq!((stats.in_flight, stats.cached), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn followers_finish_when_the_leader_goes() {
    let f = Fixture::new().await;
    let (dek, request) = f.recording("r1").await;
    f.provider.behave(
        &f.acme,
        Behaviour {
            delay: seconds(1),
            ..Behaviour::default()
        },
    );
    let before = f.provider.unwraps();
    let spawn = || {
        let (keyring, request) = (f.keyring.clone(), request.clone());
        tokio::spawn(async move { opened(&keyring, &request).await })
    };
    let leader = spawn();
    settle().await;
    assert_eq!(f.keyring.stats().in_flight, 1);
    let followers = [spawn(), spawn(), spawn()];
    settle().await;
    leader.abort();
    assert!(leader.await.err().is_some_and(|error| error.is_cancelled()));
    for follower in followers {
        assert_eq!(follower.await.unwrap().expose(), dek.expose());
    }
    assert_eq!(f.provider.unwraps() - before, 1);
}

#[tokio::test(start_paused = true)]
async fn a_flight_that_everybody_left_still_lands() {
    let f = Fixture::new().await;
    let (_, request) = f.recording("r1").await;
    f.provider.behave(
        &f.acme,
        Behaviour {
            delay: seconds(1),
            ..Behaviour::default()
        },
    );
    let asked = tokio::time::timeout(seconds(1) / 2, f.keyring.dek(&request)).await;
    assert!(asked.is_err());
    tokio::time::sleep(seconds(1)).await;
    let stats = f.keyring.stats();
    assert_eq!((stats.in_flight, stats.cached), (0, 1));
    assert_eq!(f.unwraps(opened(&f.keyring, &request)).await.0, 0);
}

#[tokio::test(start_paused = true)]
async fn a_flight_that_dies_takes_nobody_with_it() {
    let f = Fixture::new().await;
    let (_, request) = f.recording("r1").await;
    f.observer.fail(Failing::Panics);
    let (one, two) = tokio::join!(refused(&f.keyring, &request), refused(&f.keyring, &request));
    assert!(matches!((one, two), (KeyError::Died, KeyError::Died)));
    assert_eq!(f.keyring.stats().in_flight, 0);
    f.observer.fail(Failing::Nothing);
    opened(&f.keyring, &request).await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_error_for_all_and_the_next_call_works() {
    let f = Fixture::new().await;
    let (_, request) = f.recording("r1").await;
    f.provider.behave(
        &f.acme,
        Behaviour {
            panics: true,
            delay: seconds(1),
            ..Behaviour::default()
        },
    );
    let (one, two) = tokio::join!(refused(&f.keyring, &request), refused(&f.keyring, &request));
    assert_eq!(
        (one.class(), two.class()),
        (ErrorClass::Internal, ErrorClass::Internal)
    );
    f.provider.behave(&f.acme, Behaviour::default());
    opened(&f.keyring, &request).await;
    assert_eq!(f.keyring.stats().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_dek_is_kept_for_its_time_to_live() {
    let f = Fixture::new().await;
    let (_, request) = f.recording("r1").await;
    let dek = opened(&f.keyring, &request).await;
    advance(seconds(59)).await;
    assert_eq!(f.unwraps(opened(&f.keyring, &request)).await.0, 0);
    tokio::time::sleep(seconds(10)).await;
    assert_eq!(Arc::strong_count(&dek), 1, "swept although nobody asked");
    assert_eq!(f.unwraps(opened(&f.keyring, &request)).await.0, 1);
}

#[tokio::test(start_paused = true)]
async fn a_provider_may_ask_for_less_but_not_for_more() {
    let f = Fixture::new().await;
    for (max_cache, kept) in [(0, 0), (10, 10), (3600, 60)] {
        let (_, request) = f.recording(&format!("r{max_cache}")).await;
        let max_cache = Some(seconds(max_cache));
        f.provider.behave(
            &f.acme,
            Behaviour {
                max_cache,
                ..Behaviour::default()
            },
        );
        opened(&f.keyring, &request).await;
        if kept > 0 {
            advance(seconds(kept - 1)).await;
            assert_eq!(f.unwraps(opened(&f.keyring, &request)).await.0, 0);
            advance(seconds(1)).await;
        }
        assert_eq!(f.unwraps(opened(&f.keyring, &request)).await.0, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_are_kept_for_five_seconds() {
    let f = Fixture::new().await;
    let refusals = [
        ErrorClass::NotFound,
        ErrorClass::Denied,
        ErrorClass::KeyDisabled,
        ErrorClass::Integrity,
    ];
    for class in refusals {
        let (_, request) = f.recording(class.as_str()).await;
        f.provider.fail(&f.acme, class);
        assert_eq!(refused(&f.keyring, &request).await.class(), class);
        f.provider.behave(&f.acme, Behaviour::default());
        advance(seconds(4)).await;
        let (unwraps, error) = f.unwraps(refused(&f.keyring, &request)).await;
        assert_eq!((unwraps, error.class()), (0, class));
        advance(seconds(1)).await;
        assert_eq!(f.unwraps(opened(&f.keyring, &request)).await.0, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_denial_is_kept_for_the_one_who_asked_and_other_refusals_for_all() {
    let f = Fixture::new().await;
    for class in [ErrorClass::Denied, ErrorClass::KeyDisabled] {
        let (_, ours) = f.recording(class.as_str()).await;
        let theirs = of(&ours, "user-8");
        f.provider.fail(&f.acme, class);
        refused(&f.keyring, &ours).await;
        let (unwraps, error) = f.unwraps(refused(&f.keyring, &theirs)).await;
        let asked_again = usize::from(class == ErrorClass::Denied);
        assert_eq!((unwraps, error.class()), (asked_again, class));
        f.provider.behave(&f.acme, Behaviour::default());
        for request in [&ours, &theirs] {
            assert_eq!(f.unwraps(refused(&f.keyring, request)).await.0, 0);
        }
        // A third subject's DEK is everybody's.
        if class == ErrorClass::Denied {
            opened(&f.keyring, &of(&ours, "user-9")).await;
            assert_eq!(f.unwraps(opened(&f.keyring, &ours)).await.0, 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_joins_a_flight_that_is_denied_to_another_flies_once_more() {
    let f = Fixture::new().await;
    let (dek, ours) = f.recording("r1").await;
    let theirs = of(&ours, "user-8");
    let denied = Behaviour {
        delay: seconds(1),
        error: Some(ProviderError::new(ErrorClass::Denied, "local.told", "")),
        ..Behaviour::default()
    };
    f.provider.behave(&f.acme, denied);
    let all = async {
        tokio::join!(
            refused(&f.keyring, &ours),
            refused(&f.keyring, &ours),
            refused(&f.keyring, &theirs),
            refused(&f.keyring, &theirs),
        )
    };
    let (unwraps, _) = f.unwraps(all).await;
    assert_eq!(unwraps, 2, "one for each subject");
    let seen = f.observer.seen();
    let subjects = seen.iter().filter_map(|seen| match seen {
        Seen::After(attempt, Err(_)) => Some(attempt.subject.as_str()),
        _ => None,
    });
    assert_eq!(subjects.collect::<Vec<_>>(), ["user-7", "user-8"]);
    let stats = f.keyring.stats();
    assert_eq!((stats.misses - stats.joined, stats.in_flight), (2, 0));

    // The first is denied; by the second's own flight the owner has changed its mind.
    advance(seconds(5)).await;
    let (error, found, ()) = tokio::join!(
        refused(&f.keyring, &ours),
        opened(&f.keyring, &theirs),
        async {
            settle().await;
            f.provider.behave(&f.acme, Behaviour::default());
        }
    );
    assert_eq!(error.class(), ErrorClass::Denied);
    assert_eq!(found.expose(), dek.expose());
}

#[test]
fn a_runtime_that_shuts_down_holds_nobody_up() {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let (f, request) = runtime.block_on(async {
            let f = Fixture::new().await;
            let (_, request) = f.recording("r1").await;
            (f, request)
        });
        let handle = runtime.handle().clone();
        drop(runtime);
        let _entered = handle.enter();
        let asked = f.keyring.dek(&request).now_or_never();
        let died = matches!(asked, Some(Err(KeyError::Died)));
        tell.send((died, f.keyring.stats().in_flight)).unwrap();
    });
    let found = told.recv_timeout(seconds(30)).expect("it waits for itself");
    assert_eq!(found, (true, 0));
}

#[tokio::test(start_paused = true)]
async fn all_other_failures_are_never_kept() {
    let f = Fixture::new().await;
    let (_, request) = f.recording("r1").await;
    let failures = [
        ErrorClass::Unavailable,
        ErrorClass::Timeout,
        ErrorClass::Throttled,
        ErrorClass::Internal,
        ErrorClass::Config,
        ErrorClass::Request,
    ];
    for class in failures {
        f.provider.fail(&f.acme, class);
        // What is unavailable is asked once more, the first time.
        let first = if class == ErrorClass::Unavailable {
            2
        } else {
            1
        };
        for expected in [first, 1] {
            let (unwraps, error) = f.unwraps(refused(&f.keyring, &request)).await;
            assert_eq!((unwraps, error.class()), (expected, class));
        }
        // An answer in between, so that the breaker stays closed.
        f.provider.fail(&f.acme, ErrorClass::Throttled);
        refused(&f.keyring, &request).await;
    }
}

#[tokio::test]
async fn generations_and_recordings_do_not_share() {
    let f = Fixture::new().await;
    let (_, first) = f.recording("r1").await;
    opened(&f.keyring, &first).await;
    let mut next = first.clone();
    next.generation = 1;
    assert_eq!(f.unwraps(opened(&f.keyring, &next)).await.0, 1);
    let (dek, second) = f.recording("r2").await;
    assert_eq!(opened(&f.keyring, &second).await.expose(), dek.expose());
}

#[tokio::test]
async fn a_planted_key_block_does_not_poison_the_cache() {
    let f = Fixture::new().await;
    let (dek, request) = f.recording("r1").await;
    // RSA-OAEP does not bind the recording: the planted wrap opens, to another DEK.
    let kek = f.mint(crate::Policy::Compatible).await.unwrap();
    let (_, mut planted) = f.recording("r2").await;
    assert_eq!(planted.recipients[0].kek, kek.id);
    planted.recording = request.recording.clone();
    opened(&f.keyring, &planted).await;
    assert_eq!(opened(&f.keyring, &request).await.expose(), dek.expose());
}

#[tokio::test]
async fn nobody_is_asked_about_a_kek_that_is_not_the_tenants() {
    let f = Fixture::new().await;
    let (_, theirs) = f.recording_of(&f.other, "r1").await;
    let kek = f.mint(crate::Policy::Aes256).await.unwrap();
    let (_, ours) = f.recording("r1").await;
    assert_eq!(ours.recipients[0].kek, kek.id);

    let mut stranger = theirs.clone();
    stranger.recipients = ours.recipients.clone();
    let mut mislabelled = ours.clone();
    mislabelled.recipients[0].algorithm = keyreel_format::WrapAlgorithm::RsaOaepSha256;
    let mut elsewhere = ours.clone();
    elsewhere.recipients[0].provider = keyreel_format::ProviderId::parse("lkm").unwrap();
    let mut nobody = ours.clone();
    nobody.recipients.clear();
    for request in [stranger, mislabelled, elsewhere, nobody] {
        let (unwraps, error) = f.unwraps(refused(&f.keyring, &request)).await;
        assert!(matches!(error, KeyError::UnknownKek { .. }), "{error}");
        assert_eq!((unwraps, error.class()), (0, ErrorClass::NotFound));
    }

    // A recipient of somebody else's beside ours does no harm: a recovery recipient, say.
    let mut both = ours.clone();
    both.recipients.insert(0, theirs.recipients[0].clone());
    both.recipients[0].kek = keyreel_format::KekId::parse("recovery").unwrap();
    assert_eq!(f.unwraps(opened(&f.keyring, &both)).await.0, 1);

    f.store
        .set_state(&f.acme, &kek.id, crate::KekState::Retired);
    let (unwraps, error) = f.unwraps(refused(&f.keyring, &ours)).await;
    assert!(matches!(error, KeyError::KekRetired { .. }));
    assert_eq!((unwraps, error.class()), (0, ErrorClass::KeyDisabled));
}

#[tokio::test]
async fn no_output_for_people_shows_key_bytes() {
    let f = Fixture::new().await;
    let (_, mut request) = f.recording("r1").await;
    let canary = *b"CANARY-a-dek-of-exactly-32-bytes";
    let dek = Dek::from_slice(&canary).unwrap();
    let wrapped = f
        .keyring
        .wrap(&f.acme, &request.recording, &dek)
        .await
        .unwrap();
    let mut shown = format!("{wrapped:?}");
    request.recipients = wrapped.recipients;
    assert_eq!(opened(&f.keyring, &request).await.expose(), &canary);
    shown += &format!(
        "{request:?} {:?} {:?}",
        f.keyring.stats(),
        f.observer.seen()
    );
    shown += &format!("{:?}", f.keyring.purges(&f.acme));
    f.provider.fail(&f.other, ErrorClass::Denied);
    f.provider.fail(&f.acme, ErrorClass::Unavailable);
    f.keyring.purge(&f.acme);
    let (_, others) = f.recording_of(&f.other, "r2").await;
    for request in [&others, &request, &request, &request, &request] {
        let error = refused(&f.keyring, request).await;
        shown += &format!("{error} {error:?}");
    }
    let decimal = format!("{canary:?}");
    for needle in [
        "CANARY",
        &hex::encode(canary),
        decimal.trim_matches(['[', ']']),
    ] {
        assert!(!shown.contains(needle), "{needle}");
    }
    assert!(shown.contains("user-7"), "the search covers something");
}

#[tokio::test]
async fn what_a_header_keeps_for_its_provider_is_given_back() {
    let f = Fixture::new().await;
    let (_, mut request) = f.recording("r1").await;
    let asked = f.provider.contexts().len();
    opened(&f.keyring, &request).await;
    request.recipients[0].info = vec![1, 0xAB];
    opened(&f.keyring, &request).await;
    let info = (crate::PROVIDER_INFO.to_owned(), "01ab".to_owned());
    assert_eq!(f.provider.contexts().split_off(asked), [vec![], vec![info]]);
}
