//! A key service that hangs is its own tenants' trouble: whoever waits for it takes nothing that
//! another tenant's play needs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keyreel_keys::{KeyringSettings, RecordingId};

use crate::front::{Fault, Then};
use crate::rig::{LKM, MANAGED_AES256, Rig, tenant};

/// Plays per sample, each of which unwraps.
const PLAYS: usize = 300;
/// Each compares plays beside hanging ones with those right before and right after, so that a
/// machine that grows slower or faster meanwhile counts for neither.
const ROUNDS: usize = 5;
/// Single p99s differ by half on a busy machine. When the median of the first rounds is over the
/// limit, more of them tell whether it is noise: a neighbour who is really slowed is slow in all.
const MOST_ROUNDS: usize = 20;
/// What a hanging key service may cost another tenant's p99.
const AT_MOST: f64 = 1.10;

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_key_service_slows_no_other_tenant() {
    let rig = Arc::new(Rig::alone().await);
    let (mine, plaintext) = rig.recording(MANAGED_AES256).await;
    // As many as may wait for one key service at once.
    let waiting = KeyringSettings::default().gate.concurrency;
    let mut before = p99(&rig, &mine, &plaintext).await;
    let mut ratios = Vec::new();
    while ratios.len() < MOST_ROUNDS {
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
        let beside = p99(&rig, &mine, &plaintext).await;
        let waited = plays.iter().filter(|play| !play.is_finished()).count();
        assert_eq!(waited, waiting, "all of them waited all the time");

        // The service is back, having dropped whom it kept waiting: who asks again is answered.
        rig.lkm.front.fail(Fault::None);
        for play in plays {
            assert!(matches!(play.await.unwrap().status, 200 | 503));
        }
        rig.keyring.purge(&tenant(LKM));

        let after = p99(&rig, &mine, &plaintext).await;
        ratios.push(2.0 * beside.as_secs_f64() / (before + after).as_secs_f64());
        before = after;
        let median = median(&ratios);
        eprintln!(
            "p99 of a cold play beside {waiting} hanging plays {beside:?}, then {after:?}; \
             median of the ratios {median:.3}"
        );
        if ratios.len() >= ROUNDS && median <= AT_MOST {
            return;
        }
    }
    panic!("{AT_MOST} times exceeded: {ratios:.3?}");
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

fn median(ratios: &[f64]) -> f64 {
    let mut sorted = ratios.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
