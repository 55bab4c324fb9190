//! Leaving a KEK behind.

use super::{Fixture, opened, refused};
use crate::error::KeyError;
use crate::kek::{KekState, Policy};
use crate::observer::UnwrapPurpose;
use crate::provider::ErrorClass;
use crate::testing::{Behaviour, Failing, Seen};

#[tokio::test]
async fn a_rewrap_asks_for_itself() {
    let f = Fixture::new().await;
    let (dek, request) = f.recording("r1").await;
    f.provider.fail(&f.acme, ErrorClass::Denied);
    refused(&f.keyring, &request).await;
    f.provider.behave(&f.acme, Behaviour::default());
    // The listener's refusal still stands, and is nobody else's.
    refused(&f.keyring, &request).await;
    let again = f.keyring.unwrap_to_rewrap(request.clone()).await;
    assert_eq!(again.ok().unwrap().expose(), dek.expose());
    let seen = f.observer.seen();
    assert!(matches!(
        seen.last(),
        Some(Seen::After(attempt, Ok(()))) if attempt.purpose == UnwrapPurpose::Rewrap
    ));
    refused(&f.keyring, &request).await;
    // What cannot be recorded does not happen.
    f.observer.fail(Failing::Before);
    let before = f.provider.unwraps();
    let refused = f.keyring.unwrap_to_rewrap(request).await.err().unwrap();
    assert!(matches!(refused, KeyError::Audit(_)));
    assert_eq!(f.provider.unwraps(), before);
}

#[tokio::test]
async fn a_key_is_retired_at_its_number_and_streams_end_only_where_recordings_are_lost() {
    let f = Fixture::new().await;
    let (_, old) = f.recording("r1").await;
    let first = old.recipients[0].kek.clone();
    let retire = async |lost| f.keyring.retire_kek(&f.acme, &f.local, &first, lost).await;
    assert!(matches!(retire(0).await, Err(KeyError::KekCurrent { .. })));
    f.mint(Policy::Aes256).await.unwrap();
    let (_, new) = f.recording("r2").await;
    let lease = f.keyring.lease(&new).await.ok().unwrap();
    opened(&f.keyring, &old).await;

    f.store.set_needed(&f.acme, &first, 1);
    let needed = retire(0).await.err().unwrap();
    assert!(matches!(needed, KeyError::KekInUse { recordings: 1, .. }));
    assert!(matches!(retire(2).await, Err(KeyError::KekInUse { .. })));
    assert!(!lease.is_revoked());
    opened(&f.keyring, &old).await;

    f.store.set_needed(&f.acme, &first, 0);
    let retired = retire(0).await.ok().unwrap();
    assert_eq!(
        (retired.state, &retired.kek.id),
        (KekState::Retired, &first)
    );
    assert!(!lease.is_revoked(), "nothing of it is lost");
    assert_eq!(f.provider.purges(), 1, "what it kept is gone");
    let unknown = "kek/9".parse().unwrap();
    let unknown = f.keyring.retire_kek(&f.acme, &f.local, &unknown, 0).await;
    assert!(matches!(unknown, Err(KeyError::UnknownKek { .. })));

    // With recordings lost, all that was opened ends.
    let second = new.recipients[0].kek.clone();
    f.mint(Policy::Aes256).await.unwrap();
    f.store.set_needed(&f.acme, &second, 1);
    let lost = f.keyring.retire_kek(&f.acme, &f.local, &second, 1).await;
    assert_eq!(lost.ok().unwrap().state, KekState::Retired);
    assert!(lease.is_revoked());
    let gone = refused(&f.keyring, &new).await;
    assert!(matches!(gone, KeyError::KekRetired { .. }));
}
