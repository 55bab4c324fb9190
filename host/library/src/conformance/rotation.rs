//! Rotation schedules and who runs them; KEKs that follow one another.

use std::collections::BTreeSet;
use std::sync::Arc;

use keyreel_format::KekId;
use keyreel_keys::{Kek, KekRecord, KekState, Policy, StoreError, Succession};

use super::{POLICY, new_tenant, provider, tenant};
use crate::Error;
use crate::catalogue::Catalogue;
use crate::rotation::{RotationPeriod, RotationSchedule};

fn kek(id: &str) -> Kek {
    Kek {
        id: KekId::parse(id).expect("a valid name"),
        algorithm: "rsa-oaep-sha256".to_owned(),
        public_key: vec![1, 2, 3],
        sealed: Vec::new(),
        attributes: Vec::new(),
    }
}

/// A KEK follows the one that it was made to follow, or it does not at all.
pub async fn kek_successions(catalogue: Arc<dyn Catalogue>) {
    let tenant = new_tenant(&*catalogue, "successions").await;
    let managed = provider("managed");
    catalogue
        .put_current_kek(&tenant, &managed, (&kek("kek/1"), POLICY), 1)
        .await
        .expect("put_current_kek");
    let newest = async || {
        let all = catalogue.keks(&tenant).await.expect("keks");
        let all: Vec<_> = all
            .into_iter()
            .map(|r| (r.kek.id.to_string(), r.state, r.created_ms))
            .collect();
        let row = catalogue.tenant(&tenant).await.expect("tenant");
        (all, row.expect("it is there").policy)
    };
    let following = |id: &str, state, policy, new_policy| Succession {
        former: KekRecord {
            provider: managed.clone(),
            kek: kek(id),
            state,
            created_ms: 1,
        },
        policy,
        new_policy,
        at_ms: 2,
    };
    let succeed =
        async |of: &Succession, id: &str| catalogue.succeed_kek(&tenant, of, &kek(id)).await;
    let (current, previous) = (KekState::Current, KekState::Previous);
    let (compatible, aes256) = (Policy::Compatible, Policy::Aes256);
    for overtaken in [
        following("kek/9", current, compatible, compatible),
        following("kek/1", KekState::Disabled, compatible, compatible),
        following("kek/1", current, aes256, compatible),
        Succession {
            former: KekRecord {
                provider: provider("lkm"),
                ..following("kek/1", current, compatible, compatible).former
            },
            ..following("kek/1", current, compatible, compatible)
        },
    ] {
        let done = succeed(&overtaken, "kek/2").await.expect("succeed_kek");
        assert!(!done, "it is not what it follows: {overtaken:?}");
    }
    let expected = vec![("kek/1".to_owned(), current, 1)];
    assert_eq!(
        newest().await,
        (expected, compatible),
        "nothing has changed"
    );

    let same = following("kek/1", current, compatible, compatible);
    assert!(succeed(&same, "kek/2").await.expect("succeed_kek"));
    assert!(!succeed(&same, "kek/3").await.expect("once only"));
    let change = following("kek/2", current, compatible, aes256);
    assert!(succeed(&change, "kek/3").await.expect("succeed_kek"));
    let expected = vec![
        ("kek/3".to_owned(), current, 2),
        ("kek/2".to_owned(), previous, 2),
        ("kek/1".to_owned(), previous, 1),
    ];
    assert_eq!(newest().await, (expected, aes256));
    // A disabled one is followed, and stays disabled.
    let id = kek("kek/3").id;
    let disabled = catalogue.set_kek_state(&tenant, &managed, &id, KekState::Disabled);
    assert!(disabled.await.expect("set_kek_state"));
    let taken = following("kek/3", KekState::Disabled, aes256, aes256);
    let again = succeed(&taken, "kek/1").await;
    assert!(matches!(again, Err(StoreError::Exists { .. })), "{again:?}");
    assert!(succeed(&taken, "kek/4").await.expect("succeed_kek"));
    let (all, _) = newest().await;
    let states: Vec<_> = all.into_iter().map(|(_, state, _)| state).collect();
    assert_eq!(states, [current, KekState::Disabled, previous, previous]);
}

/// A schedule is kept whole; what is due is claimed by one, until it says how it went or its time
/// is over.
pub async fn rotation_schedules(catalogue: Arc<dyn Catalogue>) {
    let one = new_tenant(&*catalogue, "rotation-a").await;
    let two = new_tenant(&*catalogue, "rotation-b").await;
    let of = async |tenant| {
        let found = catalogue.rotation_schedule(tenant).await;
        found.expect("rotation_schedule")
    };
    assert_eq!(of(&one).await, None);
    let schedule = |period, due_ms| RotationSchedule {
        period,
        since_ms: 5,
        due_ms,
        try_ms: due_ms,
        failures: 0,
        last_error: None,
    };
    for period in RotationPeriod::ALL {
        let new = RotationSchedule {
            failures: 3,
            last_error: Some("it did \"not\" work".to_owned()),
            try_ms: u64::MAX >> 1,
            ..schedule(period, 100)
        };
        catalogue
            .set_rotation_schedule(&one, Some(&new))
            .await
            .expect("set");
        assert_eq!(of(&one).await, Some(new));
    }
    assert_eq!(of(&two).await, None, "another's is its own");
    let unknown = tenant("rotation-unknown").id;
    let result = catalogue.set_rotation_schedule(&unknown, None).await;
    assert!(matches!(result, Err(Error::NotFound { .. })), "{result:?}");

    let claim = async |claim: &str, now_ms| {
        let claimed = catalogue.claim_rotation(claim, now_ms, now_ms + 10).await;
        claimed.expect("claim_rotation")
    };
    let set = async |tenant, new: &RotationSchedule| {
        let set = catalogue.set_rotation_schedule(tenant, Some(new)).await;
        set.expect("set_rotation_schedule");
    };
    let (daily, weekly) = (RotationPeriod::Daily, RotationPeriod::Weekly);
    set(&one, &schedule(daily, 100)).await;
    set(&two, &schedule(weekly, 90)).await;
    assert_eq!(claim("x", 89).await, None, "none is due");
    let first = claim("x", 100).await.expect("two are due");
    assert_eq!(
        (&first.tenant, &first.schedule),
        (&two, &schedule(weekly, 90))
    );
    let second = claim("y", 100).await.expect("one is left");
    assert_eq!(
        (&second.tenant, &second.schedule),
        (&one, &schedule(daily, 100))
    );
    assert_eq!(claim("z", 109).await, None, "both are claimed");

    let failed = first.schedule.failed(120, "later".to_owned());
    let settled = catalogue.settle_rotation(&first, &failed).await;
    assert!(settled.expect("settle_rotation"));
    assert_eq!(of(&two).await, Some(failed.clone()));
    let again = catalogue.settle_rotation(&first, &failed).await;
    assert!(!again.expect("settle_rotation"), "once only");
    // The other's time is over: somebody else takes it, and its word does not count any more.
    let third = claim("z", 110).await.expect("its time is over");
    assert_eq!(third.tenant, one);
    let next = schedule(daily, 200);
    let late = catalogue.settle_rotation(&second, &next).await;
    assert!(!late.expect("settle_rotation"), "the claim is another's");
    let settled = catalogue.settle_rotation(&third, &next).await;
    assert!(settled.expect("settle_rotation"));
    assert_eq!(of(&one).await, Some(next));
    // Nor does it where the schedule was changed or ended meanwhile.
    let due = claim("x", 120).await.expect("tried again");
    assert_eq!(
        (due.tenant.clone(), due.schedule.clone()),
        (two.clone(), failed)
    );
    set(&two, &schedule(weekly, 500)).await;
    let void = catalogue
        .settle_rotation(&due, &schedule(weekly, 1000))
        .await;
    assert!(!void.expect("settle_rotation"), "another schedule");
    assert_eq!(of(&two).await, Some(schedule(weekly, 500)));
    for tenant in [&one, &two] {
        let end = catalogue.set_rotation_schedule(tenant, None).await;
        end.expect("set_rotation_schedule");
        assert_eq!(of(tenant).await, None);
    }
    assert_eq!(claim("x", 10_000).await, None);
}

/// However many ask at once, each rotation is claimed once.
pub async fn concurrent_claims(catalogue: Arc<dyn Catalogue>) {
    let mut tenants = BTreeSet::new();
    for n in 0..5 {
        let tenant = new_tenant(&*catalogue, &format!("claims-{n}")).await;
        let schedule = RotationSchedule::starting(RotationPeriod::Daily, 1000);
        let set = catalogue.set_rotation_schedule(&tenant, Some(&schedule));
        set.await.expect("set_rotation_schedule");
        tenants.insert(tenant);
    }
    let claims = (0..20).map(|n| {
        let catalogue = catalogue.clone();
        tokio::spawn(async move {
            let (claim, now) = (format!("c{n}"), 1000 + 86_400_000);
            let claimed = catalogue.claim_rotation(&claim, now, now + 1000);
            claimed.await.expect("claim_rotation")
        })
    });
    let mut claimed = Vec::new();
    for claim in futures::future::join_all(claims).await {
        claimed.extend(claim.expect("no panic").map(|due| due.tenant));
    }
    assert_eq!(claimed.len(), tenants.len(), "each once: {claimed:?}");
    assert_eq!(claimed.into_iter().collect::<BTreeSet<_>>(), tenants);
    for tenant in &tenants {
        let end = catalogue.set_rotation_schedule(tenant, None).await;
        end.expect("set_rotation_schedule");
    }
}
