//! Re-wraps: generations that only rise, counts that add up, jobs that one node holds at a time.

use std::sync::Arc;

use keyreel_format::{KekId, MAC_LEN, PartName, TenantId};
use keyreel_keys::{Kek, Retirement};

use super::{POLICY, new_tenant, provider, recording, recording_id};
use crate::Error;
use crate::catalogue::{
    Catalogue, FormerGeneration, KekCount, Lease, NextGeneration, RewrapNote, RewrapState, SlotMac,
};

fn next(tenant: &TenantId, id: &str, from: u32, to: u32, kek: &str) -> NextGeneration {
    let part = |name: &str, byte| {
        let name = PartName::parse(name).expect("a valid name");
        (name, [byte; MAC_LEN])
    };
    NextGeneration {
        tenant: tenant.clone(),
        recording: recording_id(id),
        from,
        to,
        provider: provider("lkm"),
        kek: KekId::parse(kek).expect("a valid name"),
        wrap_algorithm: "rsa-oaep-sha1".to_owned(),
        recovery: Some(KekId::parse("offline").expect("a valid name")),
        slots: vec![part("media", 1), part("waveform", 2)],
        now_ms: 5,
    }
}

/// Of several who move a recording from the same generation, one does; all of it or nothing.
pub async fn generations(catalogue: Arc<dyn Catalogue>) {
    let tenant = new_tenant(&*catalogue, "generations").await;
    let other = new_tenant(&*catalogue, "generations-other").await;
    for of in [&tenant, &other] {
        let row = recording(of, "r", 0);
        catalogue.add_recording(&row).await.expect("add_recording");
    }
    let tries = (4..12).map(|to| {
        let (catalogue, next) = (catalogue.clone(), next(&tenant, "r", 3, to, "pair"));
        async move { catalogue.put_generation(&next).await.expect("put") }
    });
    let moved = futures::future::join_all(tries).await;
    assert_eq!(moved.iter().filter(|moved| **moved).count(), 1, "{moved:?}");
    let of = std::slice::from_ref(&tenant);
    let found = catalogue.recording(of, &recording_id("r")).await;
    let found = found.expect("recording").expect("it is there");
    assert!((4..12).contains(&found.generation), "{}", found.generation);
    let was = recording(&tenant, "r", 0);
    let expected = crate::Recording {
        provider: provider("lkm"),
        kek: KekId::parse("pair").expect("a valid name"),
        wrap_algorithm: "rsa-oaep-sha1".to_owned(),
        recovery: next(&tenant, "r", 0, 1, "x").recovery,
        generation: found.generation,
        ..was
    };
    assert_eq!(found, expected, "the rest stays");
    let slots = async |of: &TenantId| {
        let found = catalogue.slot_macs(of, &recording_id("r")).await;
        let mut found = found.expect("slot_macs");
        found.sort_by_key(|slot| slot.mac);
        found
    };
    let expected: Vec<_> = next(&tenant, "r", 0, 1, "x")
        .slots
        .into_iter()
        .map(|(part, mac)| SlotMac {
            part,
            generation: found.generation,
            mac,
        })
        .collect();
    assert_eq!(slots(&tenant).await, expected);
    assert_eq!(slots(&other).await, [], "another tenant's is untouched");

    // The next one replaces them, also by none.
    let mut fifth = next(&tenant, "r", found.generation, 20, "pair/2");
    fifth.slots.clear();
    assert!(catalogue.put_generation(&fifth).await.expect("put"));
    assert_eq!(slots(&tenant).await, []);
    for (from, to) in [(20, 20), (20, 19)] {
        let lower = next(&tenant, "r", from, to, "x");
        let lower = catalogue.put_generation(&lower).await;
        assert!(matches!(lower, Err(Error::Invalid { .. })), "{lower:?}");
    }
    let none = next(&tenant, "none", 0, 1, "x");
    assert!(!catalogue.put_generation(&none).await.expect("put"));

    // Never to a KEK that was retired meanwhile.
    let lkm = provider("lkm");
    for id in ["old", "new"] {
        let kek = Kek {
            id: KekId::parse(id).expect("a valid name"),
            algorithm: "rsa-oaep-sha1".to_owned(),
            public_key: Vec::new(),
            sealed: Vec::new(),
            attributes: Vec::new(),
        };
        let put = catalogue.put_current_kek(&tenant, &lkm, (&kek, POLICY), 0);
        put.await.expect("put_current_kek");
    }
    let old = KekId::parse("old").expect("a valid name");
    let retired = catalogue.retire_kek(&tenant, &lkm, &old, 0).await;
    assert_eq!(retired.expect("retire_kek"), Retirement::Retired);
    let to_old = next(&tenant, "r", 20, 21, "old");
    assert!(!catalogue.put_generation(&to_old).await.expect("put"));
    let to_new = next(&tenant, "r", 20, 21, "new");
    assert!(catalogue.put_generation(&to_new).await.expect("put"));

    // What it was before is known until it is forgotten, and spent once its KEK is retired.
    let former = async |of: &TenantId| {
        let former = catalogue.former_generations(of, &recording_id("r")).await;
        former.expect("former_generations")
    };
    assert_eq!(former(&tenant).await, [20, found.generation, 3]);
    assert_eq!(
        former(&other).await,
        [0; 0],
        "generation 0 has no key record"
    );
    let spent = async || {
        let mut spent = catalogue.spent_generations(200).await.expect("spent");
        spent.retain(|of| of.tenant == tenant);
        spent
    };
    assert_eq!(spent().await, []);
    let pair = Kek {
        id: KekId::parse("pair/2").expect("a valid name"),
        algorithm: "rsa-oaep-sha1".to_owned(),
        public_key: Vec::new(),
        sealed: Vec::new(),
        attributes: Vec::new(),
    };
    let next_pair = Kek {
        id: KekId::parse("pair/3").expect("a valid name"),
        ..pair.clone()
    };
    for kek in [&pair, &next_pair] {
        let put = catalogue
            .put_current_kek(&tenant, &lkm, (kek, POLICY), 0)
            .await;
        put.expect("put_current_kek");
    }
    assert_eq!(spent().await, []);
    let retired = catalogue.retire_kek(&tenant, &lkm, &pair.id, 0).await;
    assert_eq!(retired.expect("retire_kek"), Retirement::Retired);
    let expected = FormerGeneration {
        tenant: tenant.clone(),
        recording: recording_id("r"),
        generation: 20,
    };
    assert_eq!(spent().await, std::slice::from_ref(&expected));
    let forgotten = catalogue.forget_generations(&[expected]).await;
    forgotten.expect("forget_generations");
    assert_eq!(spent().await, []);
    assert_eq!(former(&tenant).await, [found.generation, 3]);
}

/// Which recordings need which KEK, without a gap or a repeat.
pub async fn recordings_of_keks(catalogue: Arc<dyn Catalogue>) {
    let tenant = new_tenant(&*catalogue, "under").await;
    let other = new_tenant(&*catalogue, "under-other").await;
    let (managed, kek) = (provider("managed"), KekId::parse("kek/1").expect("valid"));
    let none = catalogue.recordings_by_kek(&tenant).await;
    assert_eq!(none.expect("recordings_by_kek"), []);
    for n in 0..25u64 {
        let row = recording(&tenant, &format!("r{n}"), n / 4);
        catalogue.add_recording(&row).await.expect("add_recording");
    }
    let others = recording(&other, "r0", 0);
    catalogue
        .add_recording(&others)
        .await
        .expect("add_recording");
    for n in [3, 17] {
        let moved = next(&tenant, &format!("r{n}"), 3, 4, "pair");
        assert!(catalogue.put_generation(&moved).await.expect("put"));
    }
    let mut counts = catalogue.recordings_by_kek(&tenant).await.expect("counts");
    counts.sort_by_key(|count| count.recordings);
    let offline = KekId::parse("offline").expect("a valid name");
    let count = |provider, kek, recovery: Option<&KekId>, recordings| KekCount {
        provider,
        kek,
        recovery: recovery.cloned(),
        recordings,
    };
    let pair = KekId::parse("pair").expect("a valid name");
    let old = count(managed.clone(), kek.clone(), None, 23);
    let expected = [
        count(provider("lkm"), pair.clone(), Some(&offline), 2),
        old.clone(),
    ];
    assert_eq!(counts, expected);
    // Under the KEK that others are under already, for its recovery key alone.
    let same = NextGeneration {
        provider: managed.clone(),
        kek: kek.clone(),
        ..next(&tenant, "r24", 3, 4, "x")
    };
    assert!(catalogue.put_generation(&same).await.expect("put"));
    let with = count(managed.clone(), kek.clone(), Some(&offline), 1);
    let page = catalogue.recordings_under(&tenant, &with, None, 7);
    let ids = page.await.expect("page").items.into_iter();
    assert_eq!(
        ids.map(|row| row.id).collect::<Vec<_>>(),
        [recording_id("r24")]
    );

    let mut found = Vec::new();
    let mut cursor = None;
    loop {
        let page = catalogue.recordings_under(&tenant, &old, cursor.as_deref(), 7);
        let page = page.await.expect("recordings_under");
        assert!(page.items.len() <= 7);
        // What is moved on the way shifts nothing.
        if let Some(first) = page.items.first() {
            let moved = next(&tenant, first.id.as_str(), 3, 4, "pair");
            assert!(catalogue.put_generation(&moved).await.expect("put"));
        }
        found.extend(page.items);
        match page.next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    let ids: Vec<_> = found.iter().map(|row| row.id.as_str().to_owned()).collect();
    let expected: Vec<_> = (0..25)
        .filter(|n| ![3, 17, 24].contains(n))
        .map(|n| format!("r{n}"))
        .collect();
    assert_eq!(ids, expected, "oldest first");
    let none = count(managed, pair, None, 0);
    let page = catalogue.recordings_under(&tenant, &none, None, 200);
    assert_eq!(page.await.expect("page").items, [], "of another provider");
    let wrong = catalogue.recordings_under(&tenant, &old, Some("x"), 7);
    let wrong = wrong.await;
    assert!(matches!(wrong, Err(Error::BadCursor)), "{wrong:?}");
}

/// A job is held by one node at a time, counts what was moved, and ends once.
pub async fn rewrap_jobs(catalogue: Arc<dyn Catalogue>) {
    let tenant = new_tenant(&*catalogue, "jobs").await;
    let lease = |owner: &str, now_ms| Lease {
        owner: owner.to_owned(),
        now_ms,
        until_ms: now_ms + 10,
    };
    let to_claim = async |now_ms| {
        let mut all = catalogue.rewraps_to_claim(now_ms).await.expect("to claim");
        all.retain(|of| *of == tenant);
        all.len()
    };
    let note = RewrapNote {
        ended: None,
        failed: 1,
        failures: vec![(recording_id("bad"), "it is \"damaged\"".to_owned())],
        last_error: Some("why".to_owned()),
    };
    assert_eq!(catalogue.rewrap_job(&tenant).await.expect("job"), None);
    assert_eq!(catalogue.stop_rewrap(&tenant, 1).await.expect("stop"), None);
    let none = catalogue.claim_rewrap(&tenant, &lease("a", 1)).await;
    assert_eq!(none.expect("claim"), None);
    assert_eq!(to_claim(1).await, 0);

    let started = catalogue.start_rewrap(&tenant, "maya", 7, 3, 100).await;
    let started = started.expect("start");
    assert_eq!(started.state, RewrapState::Running);
    assert_eq!((started.total, started.done, started.failed), (3, 0, 0));
    assert_eq!((started.per_second, started.started_ms), (7, 100));
    assert_eq!(started.subject, "maya");
    assert_eq!(to_claim(100).await, 1);
    let claims = ["a", "b", "c"].map(|owner| {
        let (catalogue, tenant, lease) = (catalogue.clone(), tenant.clone(), lease(owner, 100));
        async move {
            catalogue
                .claim_rewrap(&tenant, &lease)
                .await
                .expect("claim")
        }
    });
    let claims = futures::future::join_all(claims).await;
    let held: Vec<_> = claims.into_iter().flatten().collect();
    assert_eq!(held.len(), 1, "one holds it");
    let owner = held.first().and_then(|job| job.owner.clone());
    let owner = owner.expect("an owner");
    assert_eq!(to_claim(109).await, 0, "held");
    assert_eq!(to_claim(110).await, 1, "until then");

    // Recordings are counted as they move.
    let row = recording(&tenant, "r", 0);
    catalogue.add_recording(&row).await.expect("add_recording");
    let moved = next(&tenant, "r", 3, 4, "pair");
    assert!(catalogue.put_generation(&moved).await.expect("put"));
    assert!(!catalogue.put_generation(&moved).await.expect("put"));
    let noted = catalogue
        .note_rewrap(&tenant, &lease(&owner, 105), &note)
        .await;
    let noted = noted.expect("note").expect("it is the owner's");
    assert_eq!((noted.total, noted.done, noted.failed), (3, 1, 1));
    assert_eq!(noted.failures, note.failures);
    assert_eq!(noted.last_error, note.last_error);
    assert_eq!((noted.lease_ms, noted.updated_ms), (115, 105));
    let strangers = catalogue
        .note_rewrap(&tenant, &lease("z", 105), &note)
        .await;
    assert_eq!(strangers.expect("note"), None);

    // It runs: another start changes the pace, no more.
    let again = catalogue.start_rewrap(&tenant, "zoe", 9, 2, 106).await;
    let again = again.expect("start");
    assert_eq!((again.per_second, again.done, again.total), (9, 1, 3));
    assert_eq!((again.subject.as_str(), again.started_ms), ("maya", 100));
    assert_eq!(again.owner.as_deref(), Some(owner.as_str()));

    // Stopped, it is let go of and nobody's; started, it goes on.
    let stopped = catalogue.stop_rewrap(&tenant, 107).await.expect("stop");
    let stopped = stopped.expect("a job");
    assert_eq!(
        (stopped.state, stopped.ended_ms),
        (RewrapState::Stopped, Some(107))
    );
    assert_eq!(to_claim(1000).await, 0);
    let late = catalogue
        .note_rewrap(&tenant, &lease(&owner, 108), &note)
        .await;
    assert_eq!(late.expect("note"), None);
    let on = catalogue.start_rewrap(&tenant, "zoe", 9, 2, 109).await;
    let on = on.expect("start");
    assert_eq!((on.state, on.done, on.total), (RewrapState::Running, 1, 3));
    assert_eq!((on.owner, on.ended_ms, on.failed), (None, None, 0));

    // When a node dies, another takes over once its time is up.
    let claim = async |owner: &str, now_ms| {
        let lease = lease(owner, now_ms);
        let claimed = catalogue.claim_rewrap(&tenant, &lease).await;
        claimed.expect("claim").is_some()
    };
    assert!(claim("dead", 200).await);
    assert!(!claim("heir", 209).await);
    assert!(claim("heir", 210).await);
    let ended = RewrapNote {
        ended: Some(RewrapState::Failed),
        ..note
    };
    let dead = catalogue
        .note_rewrap(&tenant, &lease("dead", 211), &ended)
        .await;
    assert_eq!(dead.expect("note"), None);
    let end = catalogue
        .note_rewrap(&tenant, &lease("heir", 212), &ended)
        .await;
    let end = end.expect("note").expect("it is the heir's");
    assert_eq!((end.state, end.ended_ms), (RewrapState::Failed, Some(212)));
    assert_eq!(
        (end.total, end.done, end.failed, end.owner),
        (2, 1, 1, None)
    );
    assert_eq!(to_claim(1000).await, 0);

    let anew = catalogue.start_rewrap(&tenant, "zoe", 9, 1, 300).await;
    let anew = anew.expect("start");
    assert_eq!((anew.total, anew.done, anew.failed), (1, 0, 0));
    assert_eq!((anew.started_ms, anew.ended_ms), (300, None));
    assert_eq!((anew.failures, anew.last_error), (Vec::new(), None));
    catalogue.stop_rewrap(&tenant, 301).await.expect("stop");
}
