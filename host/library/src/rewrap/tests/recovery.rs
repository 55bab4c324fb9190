//! Recovery keys: what is taken in is wrapped to them, older recordings follow, former ones are
//! dropped, and what they open needs no provider.

use keyreel_keys::{RecoveryPair, RecoveryPairKind};

use super::*;
use crate::{RecoveryKeys, RecoveryStatus};

impl House {
    fn recovery(&self) -> RecoveryKeys {
        RecoveryKeys::new(self.catalogue.clone(), Arc::new(SystemClock))
    }

    async fn row_of_tenant(&self) -> Tenant {
        let row = Catalogue::tenant(&*self.catalogue, &self.tenant).await;
        row.unwrap().unwrap()
    }

    async fn set_recovery(&self) -> RecoveryPair {
        let pair = RecoveryPair::generate(RecoveryPairKind::Mlkem1024P384).unwrap();
        let tenant = self.row_of_tenant().await;
        let by = By::default();
        let set = self.recovery().set(&tenant, &pair.public_pem(), &by).await;
        assert_eq!(set.unwrap().key.unwrap().id, *pair.id());
        pair
    }

    async fn status(&self) -> RecoveryStatus {
        self.recovery().status(&self.tenant).await.unwrap()
    }

    /// Whether a pair opens all of a recording, as it lies in the store; nobody else is asked.
    async fn recovers(&self, pair: &RecoveryPair, id: &RecordingId) -> bool {
        let recording = self.row(id).await;
        let asked = self.provider.unwraps();
        let mut opened = 0;
        for part in &recording.parts {
            let head = Head::read(&self.objects, &part.object, recording.generation).await;
            let head = head.unwrap();
            let Ok(dek) = pair.unwrap(&head.header) else {
                continue;
            };
            let header = head.header.verify(&dek).unwrap();
            let len = head.handle.version().len;
            let reader = Reader::new(&header, &dek, &head.prefix, len).unwrap();
            let range = reader.last_chunk().object_range;
            let mut last = head.handle.read(range, BytesMut::new()).await.unwrap();
            reader.verify_last_chunk(&mut last).unwrap();
            opened += 1;
        }
        assert_eq!(self.provider.unwraps(), asked);
        assert!(opened == 0 || opened == recording.parts.len());
        opened > 0
    }
}

fn counts(status: &RecoveryStatus) -> (u64, u64, u64) {
    (status.recordings, status.lacking, status.former)
}

#[tokio::test]
async fn recordings_from_before_follow_to_the_recovery_key_under_the_same_kek() {
    let house = House::new().await;
    let before = house.add("before").await.id;
    assert_eq!(counts(&house.status().await), (1, 1, 0));
    let pair = house.set_recovery().await;
    let after = house.add("after").await;
    assert_eq!(after.recovery.as_ref(), Some(pair.id()));
    assert!(house.recovers(&pair, &after.id).await);
    assert!(!house.recovers(&pair, &before).await);
    assert_eq!(counts(&house.status().await), (2, 1, 0));

    let job = house.run().await;
    assert_eq!(
        (job.state, job.total, job.done),
        (RewrapState::Done, 1, 1),
        "{job:?}"
    );
    assert_eq!(counts(&house.status().await), (2, 0, 0));
    for id in [&before, &after.id] {
        let recording = house.check(id).await;
        assert_eq!(recording.kek, kek(1), "the KEK is as it was");
        assert!(house.recovers(&pair, id).await);
    }
    assert_eq!(house.run().await.total, 0, "nothing is left");

    // Another KEK: the recovery key comes along.
    house.rotate().await;
    assert_eq!(house.run().await.done, 2);
    assert!(house.recovers(&pair, &before).await);
    assert_eq!(counts(&house.status().await), (2, 0, 0));
}

#[tokio::test]
async fn a_former_recovery_key_is_dropped_and_counts_until_it_is() {
    let house = House::new().await;
    let first = house.set_recovery().await;
    let id = house.add("r").await.id;
    let second = house.set_recovery().await;
    assert_eq!(counts(&house.status().await), (1, 1, 1));
    assert_eq!(house.run().await.done, 1);
    assert!(house.recovers(&second, &id).await);
    assert!(!house.recovers(&first, &id).await);
    assert_eq!(counts(&house.status().await), (1, 0, 0));

    let removed = house.recovery().remove(&house.tenant, &By::default()).await;
    assert_eq!(counts(&removed.unwrap()), (1, 1, 1));
    let none = house.recovery().remove(&house.tenant, &By::default()).await;
    assert_eq!(none.unwrap().key, None);
    assert_eq!(house.run().await.done, 1);
    assert!(!house.recovers(&second, &id).await);
    assert_eq!(counts(&house.status().await), (1, 1, 0));
    house.check(&id).await;

    let log = crate::AuditQuery {
        tenants: vec![house.tenant.clone()],
        limit: 200,
        ..crate::AuditQuery::default()
    };
    let log = Catalogue::audit(&*house.catalogue, &log).await.unwrap();
    let mut actions: Vec<_> = log
        .items
        .iter()
        .map(|of| of.event.action.as_str())
        .collect();
    actions.reverse();
    actions.retain(|action| action.starts_with("recovery."));
    let set = ["recovery.set.requested", "recovery.set"];
    let removed = ["recovery.remove.requested", "recovery.removed"];
    assert_eq!(actions, [set, set, removed].concat());
    let moved = log.items.iter().find(|of| {
        let named = of.event.fields.get("recoveryKey").and_then(Value::as_str);
        of.event.action == "key.rewrapped" && named == Some(second.id().as_str())
    });
    assert!(moved.is_some());
}

#[tokio::test]
async fn what_a_retired_kek_took_along_the_recovery_key_still_opens() {
    let house = House::new().await;
    let pair = house.set_recovery().await;
    let id = house.add("r").await.id;
    house.rotate().await;
    house.retire(&kek(1), 1).await.unwrap();
    let lost = house.row(&id).await;
    let opened = house.open(&lost, &lost.parts[0]).await;
    assert!(
        matches!(opened, Err(KeyError::KekRetired { .. })),
        "{opened:?}"
    );
    assert!(house.recovers(&pair, &id).await);
    assert_eq!(
        counts(&house.status().await),
        (0, 0, 0),
        "nobody can wrap it anew"
    );
    assert_eq!(house.run().await.total, 0);
}

#[tokio::test]
async fn a_recovery_key_below_the_policy_is_not_set() {
    let house = House::new().await;
    let rsa = RecoveryPairKind::Rsa(keyreel_format::wrap::RsaModulus::Bits3072);
    let pair = RecoveryPair::generate(rsa).unwrap();
    let tenant = house.row_of_tenant().await;
    let by = By::default();
    let refused = house.recovery().set(&tenant, &pair.public_pem(), &by).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("policy aes256"), "{refused}");
    // The policy that it was held against has changed meanwhile.
    let stale = Tenant {
        policy: Policy::Compatible,
        ..tenant
    };
    let refused = house.recovery().set(&stale, &pair.public_pem(), &by).await;
    assert!(matches!(refused, Err(Error::Wrap { .. })), "{refused:?}");
    assert_eq!(house.status().await.key, None);
}
