//! The scheduler, on two nodes that share one SQLite file and a clock.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use keyreel_format::{ProviderId, TenantId};
use keyreel_keys::{
    Asker, Clock as _, Configured, ErrorClass, KekStore as _, KeyError, Keyring, KeyringParts,
    KeyringSettings, Occasion, Policy,
};
use keyreel_keys_testing::{Behaviour, LocalProvider, ManualClock};
use keyreel_library::{
    AuditEvent, AuditQuery, AuditScope, By, Catalogue as _, RotationPeriod, SqliteCatalogue, Tenant,
};

use super::{RotationError, Rotations};
use crate::AuditObserver;
use crate::problem::{Code, Problem};

const DAY: Duration = Duration::from_hours(24);
const NOW_MS: u64 = 1_793_697_164_000;

struct Nodes {
    _folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    provider: Arc<LocalProvider>,
    catalogue: Arc<SqliteCatalogue>,
    keyrings: [Arc<Keyring>; 2],
    nodes: [Rotations; 2],
}

impl Nodes {
    /// Two nodes, and tenants of these names with a KEK each.
    async fn with(tenants: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("c.db").display());
        let clock = Arc::new(ManualClock::at(NOW_MS));
        let provider = Arc::new(LocalProvider::new());
        let owners = Arc::new(LocalProvider::new().without_minting());
        let mut nodes = Vec::new();
        for _ in 0..2 {
            let catalogue = Arc::new(SqliteCatalogue::open(&url).await.unwrap());
            let keyring = Arc::new(Keyring::new(KeyringParts {
                store: catalogue.clone(),
                providers: HashMap::from([
                    (id("local"), provider.clone() as _),
                    (id("lkm"), owners.clone() as _),
                ]),
                observer: Arc::new(AuditObserver::new(catalogue.clone(), clock.clone())),
                clock: clock.clone(),
                settings: KeyringSettings::default(),
                vault: None,
            }));
            nodes.push((catalogue, keyring));
        }
        let (other, other_keyring) = nodes.pop().unwrap();
        let (catalogue, keyring) = nodes.pop().unwrap();
        for name in tenants {
            let row = Tenant {
                id: tenant(name),
                name: (*name).to_owned(),
                policy: Policy::Aes256,
                provider: id("local"),
                created_ms: NOW_MS,
            };
            catalogue.add_tenant(&row).await.unwrap();
            let minted = keyring.mint_kek(&row.id, &row.provider, row.policy);
            minted.await.unwrap();
        }
        let node = |catalogue: Arc<SqliteCatalogue>, keyring: &Arc<Keyring>| {
            Rotations::new(catalogue, keyring.clone(), clock.clone())
        };
        Self {
            nodes: [
                node(catalogue.clone(), &keyring),
                node(other, &other_keyring),
            ],
            keyrings: [keyring, other_keyring],
            _folder: folder,
            clock,
            provider,
            catalogue,
        }
    }

    async fn row(&self, of: &str) -> Tenant {
        let row = self.catalogue.tenant(&tenant(of)).await.unwrap();
        row.unwrap()
    }

    async fn set(&self, of: &str, period: Option<RotationPeriod>) -> Result<(), RotationError> {
        let row = self.row(of).await;
        self.nodes[0].set_schedule(&row, period, &by()).await
    }

    async fn keks(&self, of: &str) -> usize {
        self.catalogue.keks(&tenant(of)).await.unwrap().len()
    }

    /// What both nodes do at the same time until nothing is due.
    async fn both(&self) -> Vec<&'static str> {
        let node = async |node: &Rotations| {
            let mut done = Vec::new();
            while let Some(outcome) = node.run_due().await.unwrap() {
                done.push(outcome);
            }
            done
        };
        let (mut one, two) = tokio::join!(node(&self.nodes[0]), node(&self.nodes[1]));
        one.extend(two);
        one
    }

    /// What the audit log says of an action, oldest first.
    async fn audited(&self, action: &str) -> Vec<AuditEvent> {
        let query = AuditQuery {
            scope: AuditScope::Everything,
            action: Some(action.to_owned()),
            limit: 200,
            ..AuditQuery::default()
        };
        let page = self.catalogue.audit(&query).await.unwrap();
        let records = page.items.into_iter().rev();
        records.map(|record| record.event).collect()
    }
}

fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

fn id(name: &str) -> ProviderId {
    ProviderId::parse(name).unwrap()
}

fn by() -> By {
    By {
        asker: Asker {
            subject: "user-7".to_owned(),
            request_id: "request-7".to_owned(),
        },
        credential: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_due_date_is_met_once_however_many_nodes_there_are() {
    let names = ["t0", "t1", "t2", "t3", "t4", "t5"];
    let f = Nodes::with(&names).await;
    for name in names {
        f.set(name, Some(RotationPeriod::Daily)).await.unwrap();
    }
    f.clock.advance(DAY - Duration::from_millis(1));
    assert_eq!(f.both().await, [""; 0], "not yet");
    f.clock.advance(Duration::from_millis(1));
    assert_eq!(f.both().await, ["ok"; 6]);
    assert_eq!(f.both().await, [""; 0], "met");
    // No server ran for more than a week: one rotation, not eight.
    f.clock.advance(DAY * 8 + Duration::from_hours(3));
    assert_eq!(f.both().await, ["ok"; 6]);
    assert_eq!(f.both().await, [""; 0]);
    for name in names {
        assert_eq!(f.keks(name).await, 3, "{name}");
        let shown = f.nodes[1].schedule(&tenant(name)).await.unwrap();
        let next = crate::api::time(NOW_MS + 10 * 24 * 3_600_000);
        assert_eq!(shown.next_rotation, Some(next), "still at the same hour");
        assert_eq!(
            shown.last_rotation,
            Some(crate::api::time(f.clock.now_ms()))
        );
    }
    let rotated = f.audited("key.rotated").await;
    assert_eq!(rotated.len(), 12);
    for event in rotated {
        assert_eq!(
            (event.subject.as_str(), event.outcome.as_str()),
            ("keyreel:scheduler", "ok")
        );
        assert!(event.fields.contains_key("due"), "{event:?}");
    }
    assert_eq!(
        f.audited("key.minted").await.len(),
        18,
        "and nothing was made in vain"
    );
}

#[tokio::test]
async fn a_node_that_ends_in_the_middle_loses_nothing_and_doubles_nothing() {
    let f = Nodes::with(&["made", "not-made"]).await;
    for name in ["made", "not-made"] {
        f.set(name, Some(RotationPeriod::Weekly)).await.unwrap();
    }
    f.clock.advance(DAY * 7);
    // It claims both, changes one key, and is gone before it can say so.
    for claim in ["dead-1", "dead-2"] {
        let until_ms = f.clock.now_ms() + 300_000;
        let due = f
            .catalogue
            .claim_rotation(claim, f.clock.now_ms(), until_ms);
        let due = due.await.unwrap().unwrap();
        if due.tenant.as_str() == "made" {
            let occasion = Occasion::Due(due.schedule.due_ms);
            let same = (Policy::Aes256, Policy::Aes256);
            let (keyring, asker) = (&f.keyrings[0], Asker::default());
            keyring
                .rotate(&due.tenant, same, occasion, &asker)
                .await
                .unwrap();
        }
    }
    assert_eq!(f.both().await, [""; 0], "they are claimed");
    f.clock.advance(Duration::from_mins(5));
    let mut done = f.both().await;
    done.sort_unstable();
    assert_eq!(done, ["met", "ok"]);
    assert_eq!((f.keks("made").await, f.keks("not-made").await), (2, 2));
    assert_eq!(f.audited("key.rotated").await.len(), 1);
    let met = f.audited("key.rotation.met").await;
    assert_eq!(met.len(), 1);
    assert_eq!(
        (&met[0].tenant, &met[0].fields["kek"]),
        (&Some(tenant("made")), &"kek/2".into())
    );
}

#[tokio::test]
async fn a_failure_is_kept_recorded_and_tried_again_later_and_later() {
    let f = Nodes::with(&["acme", "well"]).await;
    for name in ["acme", "well"] {
        f.set(name, Some(RotationPeriod::Daily)).await.unwrap();
    }
    f.provider.fail(&tenant("acme"), ErrorClass::Denied);
    f.clock.advance(DAY);
    let mut done = f.both().await;
    done.sort_unstable();
    assert_eq!(done, ["key-denied", "ok"], "the other tenant's goes on");
    for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
        let shown = f.nodes[1].schedule(&tenant("acme")).await.unwrap();
        let said = shown.last_error.unwrap();
        assert!(said.contains("It was told to fail"), "{said}");
        let next = f.clock.now_ms() + minutes * 60_000;
        assert_eq!(shown.next_rotation, Some(crate::api::time(next)));
        assert_eq!(shown.last_rotation, None);
        f.clock
            .advance(Duration::from_mins(minutes) - Duration::from_millis(1));
        assert_eq!(f.both().await, [""; 0]);
        f.clock.advance(Duration::from_millis(1));
        assert_eq!(f.both().await, ["key-denied"]);
    }
    let failed = f.audited("key.rotation.failed").await;
    assert_eq!(failed.len(), 9);
    assert_eq!(failed[8].outcome, "key-denied");
    assert_eq!(failed[8].fields["failures"], 9);
    assert_eq!(f.keks("acme").await, 1);

    f.provider.behave(&tenant("acme"), Behaviour::default());
    f.clock.advance(Duration::from_hours(1));
    assert_eq!(f.both().await, ["ok"]);
    let shown = f.nodes[0].schedule(&tenant("acme")).await.unwrap();
    assert_eq!(shown.last_error, None);
    assert_eq!(
        shown.next_rotation,
        Some(crate::api::time(NOW_MS + 2 * 24 * 3_600_000))
    );
}

#[tokio::test]
async fn what_somebody_does_by_hand_meets_a_date_that_is_overdue() {
    let f = Nodes::with(&["acme"]).await;
    f.set("acme", Some(RotationPeriod::Monthly)).await.unwrap();
    let row = f.row("acme").await;
    // Before the date it is a rotation more.
    f.nodes[1].rotate(&row, &by()).await.unwrap();
    f.clock.advance(DAY * 31);
    f.provider.fail(&row.id, ErrorClass::Unavailable);
    assert_eq!(f.both().await, ["unavailable"]);
    f.provider.behave(&row.id, Behaviour::default());
    f.nodes[1].rotate(&row, &by()).await.unwrap();
    let shown = f.nodes[0].schedule(&row.id).await.unwrap();
    assert_eq!(
        shown.last_error, None,
        "there is nothing to be done any more"
    );
    assert_eq!(
        shown.last_rotation,
        Some(crate::api::time(f.clock.now_ms()))
    );
    f.clock.advance(Duration::from_hours(4));
    assert_eq!(f.both().await, ["met"]);
    assert_eq!(f.nodes[0].schedule(&row.id).await.unwrap(), shown);
    assert_eq!(f.keks("acme").await, 3);
}

#[tokio::test]
async fn a_schedule_ends_goes_on_or_begins_anew_as_it_is_set() {
    let f = Nodes::with(&["acme"]).await;
    f.set("acme", Some(RotationPeriod::Daily)).await.unwrap();
    f.clock.advance(DAY / 2);
    f.set("acme", Some(RotationPeriod::Daily)).await.unwrap();
    f.clock.advance(DAY / 2);
    assert_eq!(f.both().await, ["ok"], "saying it again puts nothing off");
    f.set("acme", None).await.unwrap();
    f.clock.advance(DAY * 400);
    assert_eq!(f.both().await, [""; 0]);
    let shown = f.nodes[0].schedule(&tenant("acme")).await.unwrap();
    assert_eq!(
        (shown.period.as_str(), shown.next_rotation),
        ("DISABLED", None)
    );
    f.set("acme", Some(RotationPeriod::Yearly)).await.unwrap();
    f.clock.advance(DAY * 366);
    assert_eq!(f.both().await, ["ok"]);
    let changed = f.audited("key.schedule.changed").await;
    let said: Vec<_> = changed
        .iter()
        .map(|event| {
            (
                event.fields["former"].as_str(),
                event.fields["period"].as_str(),
            )
        })
        .collect();
    let expected = [
        ("DISABLED", "DAILY"),
        ("DAILY", "DISABLED"),
        ("DISABLED", "YEARLY"),
    ];
    assert_eq!(
        said,
        expected.map(|(former, period)| (Some(former), Some(period)))
    );
    assert_eq!(changed[0].subject, "user-7");
}

#[tokio::test]
async fn a_key_of_a_former_policy_never_becomes_current() {
    let f = Nodes::with(&["acme"]).await;
    let row = f.row("acme").await;
    let by = by();
    let tried = f.keyrings[0]
        .try_minting(
            &row.id,
            &row.provider,
            row.policy,
            Configured::Plain,
            &by.asker,
        )
        .await
        .unwrap();
    // Before it is saved, another node changes the policy.
    let changed = f.nodes[1].change_policy(&row, Policy::Compatible, &by);
    let changed = changed.await.unwrap();
    let late = f.keyrings[0].adopt(tried, None).await;
    assert!(matches!(late, Err(KeyError::Overtaken { .. })), "{late:?}");
    let code = Problem::from(late.unwrap_err()).code();
    assert_eq!(code, Code::Conflict);
    let (_, current) = f.catalogue.current_kek(&row.id).await.unwrap().unwrap();
    assert_eq!(current.id, changed.kek.id);
    assert_eq!(current.algorithm, Policy::Compatible.algorithm());
    assert_eq!(f.row("acme").await.policy, Policy::Compatible);
}

#[tokio::test]
async fn keys_that_their_owner_makes_are_not_rotated_here() {
    let f = Nodes::with(&["acme"]).await;
    f.set("acme", Some(RotationPeriod::Daily)).await.unwrap();
    let (_, mut kek) = f
        .catalogue
        .current_kek(&tenant("acme"))
        .await
        .unwrap()
        .unwrap();
    kek.id = "0f8fad5b-d9cb-469f-a165-70867728950e".parse().unwrap();
    f.catalogue
        .put_current_kek(&tenant("acme"), &id("lkm"), (&kek, Policy::Aes256), NOW_MS)
        .await
        .unwrap();
    // The schedule was set before; nobody is to think that it goes on.
    f.clock.advance(DAY);
    assert_eq!(f.both().await, ["bad-request"]);
    let shown = f.nodes[0].schedule(&tenant("acme")).await.unwrap();
    assert!(
        shown
            .last_error
            .unwrap()
            .contains("POST /api/v2/recording/localkeys")
    );
    let row = f.row("acme").await;
    let same = f.nodes[0].change_policy(&row, row.policy, &by()).await;
    assert_eq!(same.unwrap().kek.id, kek.id, "nothing to change");
    let refused = f.set("acme", Some(RotationPeriod::Weekly)).await;
    let cannot = |refused: &RotationError| {
        matches!(refused, RotationError::Key(KeyError::CannotMint { .. }))
    };
    assert!(cannot(&refused.unwrap_err()));
    let refused = f.nodes[0].rotate(&f.row("acme").await, &by()).await;
    assert!(cannot(&refused.unwrap_err()));
    f.set("acme", None).await.unwrap();
    f.clock.advance(DAY * 2);
    assert_eq!(f.both().await, [""; 0]);
}

#[tokio::test]
async fn a_policy_is_changed_once_and_later_rotations_keep_to_it() {
    let f = Nodes::with(&["acme"]).await;
    f.set("acme", Some(RotationPeriod::Daily)).await.unwrap();
    let stale = f.row("acme").await;
    let to = async |policy| {
        let row = f.row("acme").await;
        f.nodes[0].change_policy(&row, policy, &by()).await.unwrap()
    };
    assert_eq!(
        to(Policy::Aes256).await.kek.id.as_str(),
        "kek/1",
        "it is so already"
    );
    let made = to(Policy::Compatible).await;
    assert_eq!(
        (made.kek.id.as_str(), made.kek.algorithm.as_str()),
        ("kek/2", "rsa-oaep-sha256")
    );
    assert_eq!(f.row("acme").await.policy, Policy::Compatible);
    f.clock.advance(DAY);
    assert_eq!(f.both().await, ["ok"]);
    let (_, kek) = f
        .catalogue
        .current_kek(&tenant("acme"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(kek.algorithm, "rsa-oaep-sha256");
    // A node that still believes in the former policy changes nothing.
    let late = f.nodes[1].rotate(&stale, &by()).await;
    assert!(matches!(
        late,
        Err(RotationError::Key(KeyError::Overtaken { .. }))
    ));
    let late = f.audited("key.rotation.failed").await;
    assert_eq!(late.len(), 1);
    assert_eq!(late[0].outcome, "conflict");
    let changed = f.audited("tenant.policy.changed").await;
    assert_eq!(changed.len(), 1);
    assert_eq!(
        (&changed[0].fields["former"], &changed[0].fields["policy"]),
        (&"aes256".into(), &"compatible".into())
    );
}
