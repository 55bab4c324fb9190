//! A key service that hangs is its own tenants' trouble: whoever waits for it takes nothing that
//! another tenant's play needs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keyreel_keys::{KeyringSettings, RecordingId};

use crate::front::{Fault, Then};
use crate::rig::{LKM, MANAGED_AES256, Rig, tenant};

/// Plays per sample, each of which unwraps.
const PLAYS: usize = 300;
/// Samples of either kind, taken by turns, so that what else this machine does hits both.
const ROUNDS: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_key_service_slows_no_other_tenant() {
    let rig = Arc::new(Rig::alone().await);
    let (mine, plaintext) = rig.recording(MANAGED_AES256).await;
    // As many as may wait for one key service at once.
    let waiting = KeyringSettings::default().gate.concurrency;
    let (mut quiet, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        quiet.push(p99(&rig, &mine, &plaintext).await);

        let mut theirs = Vec::new();
        for _ in 0..waiting {
            theirs.push(rig.recording(LKM).await.0);
        }
        rig.lkm.front.requests();
        rig.lkm.front.fail(Fault::Raw(Vec::new(), Then::Hang));
        let started = Instant::now();
        let plays: Vec<_> = theirs
            .into_iter()
            .map(|id| {
                let rig = rig.clone();
                tokio::spawn(async move { rig.play(LKM, &id).await })
            })
            .collect();
        let mut arrived = 0;
        while arrived < waiting {
            tokio::time::sleep(Duration::from_millis(20)).await;
            arrived += rig.lkm.front.requests() as usize;
            assert!(
                started.elapsed() < Rig::ALONE_LIMIT,
                "{arrived} of {waiting}"
            );
        }
        beside.push(p99(&rig, &mine, &plaintext).await);
        let waited = plays.iter().filter(|play| !play.is_finished()).count();
        assert_eq!(waited, waiting, "all of them waited all the time");

        // The service is back, having dropped whom it kept waiting: who asks again is answered.
        rig.lkm.front.fail(Fault::None);
        for play in plays {
            assert!(matches!(play.await.unwrap().status, 200 | 503));
        }
        rig.keyring.purge(&tenant(LKM));
    }
    // The best of each: noise only ever adds.
    let (quiet, beside) = (best(&quiet), best(&beside));
    let ratio = beside.as_secs_f64() / quiet.as_secs_f64();
    eprintln!(
        "p99 of a cold play: {quiet:?}; beside {waiting} hanging plays {beside:?}, {ratio:.3}"
    );
    assert!(
        ratio <= 1.10,
        "{quiet:?} alone, {beside:?} beside hanging plays"
    );
}

async fn p99(rig: &Rig, id: &RecordingId, plaintext: &[u8]) -> Duration {
    let mut times = Vec::with_capacity(PLAYS);
    for _ in 0..PLAYS {
        rig.keyring.purge(&tenant(MANAGED_AES256));
        let started = Instant::now();
        let played = rig.play(MANAGED_AES256, id).await;
        times.push(started.elapsed());
        assert!(played.status == 200 && played.body == plaintext);
    }
    times.sort();
    times[PLAYS * 99 / 100]
}

fn best(times: &[Duration]) -> Duration {
    times.iter().copied().min().unwrap()
}
