//! Whole destructions: real KEKs, a real folder and keystore, killed at every named point.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;

use keyreel_keys::{Asker, KekStore as _, KeystoreError, SystemClock, crash};

use super::*;
use crate::audit_chain::{AuditKey, verify};
use crate::catalogue::{DestructionStore as _, RewrapStore as _};
use crate::rewrap::tests::House;

const FOLDER: &str = "KEYREEL_TEST_FOLDER";
const DESTRUCTION: &str = "KEYREEL_TEST_DESTRUCTION";
const SIGKILL: i32 = 9;
const KEY: [u8; 32] = [9; 32];

fn destroyer(house: &House, two_people: bool) -> Destroyer {
    Destroyer::new(DestroyerParts {
        catalogue: house.catalogue.clone(),
        objects: house.objects.clone(),
        keyring: house.keyring.clone(),
        rewrapper: house.rewrapper.clone(),
        clock: Arc::new(SystemClock),
        key: CertificateKey::new(AuditKey::from_seed(&KEY).unwrap()),
        two_people,
    })
}

fn by(subject: &str) -> By {
    By {
        asker: Asker {
            subject: subject.to_owned(),
            ..Asker::default()
        },
        credential: None,
    }
}

async fn request(
    destroyer: &Destroyer,
    house: &House,
    scope: DestructionScope,
) -> Result<Destruction, DestructionError> {
    let confirm = destroyer.phrase(&house.tenant, &scope).await?;
    let said = (confirm.as_str(), "a test");
    destroyer
        .request(&house.tenant, scope, said, &by("ada"))
        .await
}

fn certificate(destruction: &Destruction) -> Certificate {
    let key = AuditKey::from_seed(&KEY).unwrap();
    let envelope = destruction.certificate.as_deref().unwrap();
    let other = AuditKey::from_seed(&[1; 32]).unwrap();
    assert!(verify_certificate(envelope, other.public()).is_err());
    let flipped = envelope.replacen("eyJ", "eyK", 1);
    assert!(verify_certificate(&flipped, key.public()).is_err());
    verify_certificate(envelope, key.public()).unwrap()
}

/// A house with recordings under an older key and under the current one.
async fn house() -> (House, keyreel_format::KekId) {
    let house = House::new().await;
    let older = house.rotate_for_all().await;
    for n in 0..4 {
        house.add(&format!("old-{n}")).await;
    }
    house.rotate_for_all().await;
    for n in 0..3 {
        house.add(&format!("new-{n}")).await;
    }
    (house, older)
}

async fn left(house: &House) -> u64 {
    let counts = house.catalogue.recordings_by_kek(&house.tenant).await;
    counts.unwrap().iter().map(|count| count.recordings).sum()
}

fn objects(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() { objects(&path) } else { 1 }
        })
        .sum()
}

#[tokio::test]
async fn a_tenant_goes_with_all_that_it_has() {
    let (house, _) = house().await;
    let destroyer = destroyer(&house, false);
    let scope = DestructionScope::Tenant;
    let unmeant = destroyer
        .request(
            &house.tenant,
            scope.clone(),
            ("destroy", "a test"),
            &by("ada"),
        )
        .await;
    assert!(matches!(
        unmeant,
        Err(DestructionError::NotConfirmed { .. })
    ));
    let unsaid = destroyer
        .request(
            &house.tenant,
            scope.clone(),
            ("destroy meridian-health", " "),
            &by("ada"),
        )
        .await;
    assert!(matches!(unsaid, Err(DestructionError::Invalid(_))));
    assert_eq!(left(&house).await, 7);

    let asked = request(&destroyer, &house, scope.clone()).await.unwrap();
    let again = request(&destroyer, &house, scope).await;
    assert!(
        matches!(again, Err(DestructionError::Busy { .. })),
        "one at a time"
    );
    let done = destroyer.run(&asked.id).await.unwrap().unwrap();

    assert_eq!(done.state, DestructionState::Done, "{:?}", done.last_error);
    assert_eq!(
        (left(&house).await, objects(&house.folder.join("objects"))),
        (0, 0)
    );
    assert!(matches!(
        house.keystore.root(&house.tenant),
        Err(KeystoreError::NoRoot { .. })
    ));
    assert_eq!(house.keystore.epoch().unwrap(), 2);
    let keks = house.catalogue.keks(&house.tenant).await.unwrap();
    assert!(keks.iter().all(|record| record.state == KekState::Retired));
    let says = certificate(&done);
    assert_eq!(
        (says.recordings, says.keystore_epoch, says.keys.len()),
        (7, 2, keks.len())
    );
    // Nothing new, and no second time.
    assert!(house.try_add("after").await.is_err());
    assert!(destroyer.run(&asked.id).await.unwrap().is_none());
    let key = AuditKey::from_seed(&house.audit_seed).unwrap();
    verify(&*house.catalogue, key.public(), &[], None)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_key_takes_its_recordings_with_it_and_no_others() {
    let (house, older) = house().await;
    let destroyer = destroyer(&house, false);
    let provider = house.managed.clone();
    let current = house.keyring.current_kek(&house.tenant).await.unwrap().1;
    let scope = |id| DestructionScope::Key {
        provider: provider.clone(),
        id,
    };
    let refused = request(&destroyer, &house, scope(current)).await;
    assert!(matches!(refused, Err(DestructionError::Current { .. })));
    let phrase = destroyer.phrase(&house.tenant, &scope(older.clone())).await;
    assert_eq!(phrase.unwrap(), format!("destroy {older} and 4 recordings"));
    let asked = request(&destroyer, &house, scope(older)).await.unwrap();
    let done = destroyer.run(&asked.id).await.unwrap().unwrap();
    assert_eq!(done.state, DestructionState::Done, "{:?}", done.last_error);
    assert_eq!(left(&house).await, 3);
    for n in 0..3 {
        house.check(&format!("new-{n}").parse().unwrap()).await;
    }
    assert_eq!(certificate(&done).recordings, 4);
}

#[tokio::test]
async fn recordings_go_and_all_others_are_moved_first() {
    let (house, older) = house().await;
    let destroyer = destroyer(&house, false);
    let ids = |names: &[&str]| DestructionScope::Recordings {
        ids: names.iter().map(|name| name.parse().unwrap()).collect(),
    };
    let unknown = request(&destroyer, &house, ids(&["old-1", "nobody"])).await;
    assert!(matches!(unknown, Err(DestructionError::Unknown { .. })));
    let none = request(&destroyer, &house, ids(&[])).await;
    assert!(matches!(none, Err(DestructionError::Invalid(_))));
    // One of the current key's, so that there has to be a new one.
    let asked = request(&destroyer, &house, ids(&["old-1", "new-1"]))
        .await
        .unwrap();
    let before = house.keyring.current_kek(&house.tenant).await.unwrap().1;
    let done = destroyer.run(&asked.id).await.unwrap().unwrap();
    assert_eq!(done.state, DestructionState::Done, "{:?}", done.last_error);
    let now = house.keyring.current_kek(&house.tenant).await.unwrap().1;
    assert_ne!(now, before);
    for name in ["old-0", "old-2", "old-3", "new-0", "new-2"] {
        let recording = house.check(&name.parse().unwrap()).await;
        assert_eq!(recording.kek, now, "{name}");
    }
    assert_eq!(left(&house).await, 5);
    let keks = house.catalogue.keks(&house.tenant).await.unwrap();
    for record in keks.iter().filter(|record| record.kek.id != now) {
        assert_eq!(record.state, KekState::Retired, "{}", record.kek.id);
    }
    assert!(certificate(&done).keys.iter().any(|key| key.id == older));
}

#[tokio::test]
async fn what_cannot_be_moved_halts_it_and_it_goes_on_when_that_is_mended() {
    let (house, older) = house().await;
    let destroyer = destroyer(&house, false);
    let (tenant, managed) = (&house.tenant, &house.managed);
    let disabled = house.keyring.disable_kek(tenant, managed, &older).await;
    disabled.unwrap();
    let scope = DestructionScope::Recordings {
        ids: vec!["new-1".parse().unwrap()],
    };
    let asked = request(&destroyer, &house, scope).await.unwrap();
    let halted = destroyer.run(&asked.id).await.unwrap().unwrap();
    assert_eq!(halted.state, DestructionState::Halted);
    assert!(halted.last_error.unwrap().contains("4 recordings"));
    assert!(halted.certificate.is_none());
    let enabled = house.keyring.enable_kek(tenant, managed, &older).await;
    enabled.unwrap();
    let ada = by("ada");
    let resumed = destroyer.decide(tenant, &asked.id, DestructionStep::Resume, &ada);
    resumed.await.unwrap();
    let done = destroyer.run(&asked.id).await.unwrap().unwrap();
    assert_eq!(done.state, DestructionState::Done, "{:?}", done.last_error);
    assert_eq!(left(&house).await, 6);
}

#[tokio::test]
async fn more_than_was_confirmed_is_not_lost_and_the_request_can_be_called_off() {
    let (house, older) = house().await;
    let destroyer = destroyer(&house, false);
    let scope = DestructionScope::Key {
        provider: house.managed.clone(),
        id: older.clone(),
    };
    let mut asked = request(&destroyer, &house, scope.clone()).await.unwrap();
    // As if three had been confirmed, and a fourth had come since.
    let ada = by("ada");
    let cancel = async |id: &str| {
        let step = DestructionStep::Cancel;
        destroyer.decide(&house.tenant, id, step, &ada).await
    };
    assert!(
        matches!(cancel(&asked.id).await, Err(DestructionError::State { .. })),
        "it runs"
    );
    asked.lost = 3;
    asked.seal = destroyer.inner.key.seal(&asked);
    house
        .sql(&format!(
            "UPDATE destruction SET lost = 3, seal = x'{}'",
            hex::encode(&asked.seal)
        ))
        .await;
    let halted = destroyer.run(&asked.id).await.unwrap().unwrap();
    assert_eq!(halted.state, DestructionState::Halted);
    assert!(halted.last_error.unwrap().contains("4 recordings"));
    assert_eq!(left(&house).await, 7);
    cancel(&asked.id).await.unwrap();
    // And asked for anew.
    let asked = request(&destroyer, &house, scope).await.unwrap();
    let done = destroyer.run(&asked.id).await.unwrap().unwrap();
    assert_eq!(done.state, DestructionState::Done, "{:?}", done.last_error);
    assert_eq!((left(&house).await, certificate(&done).recordings), (3, 4));
}

#[tokio::test]
async fn a_row_in_the_database_has_nothing_destroyed() {
    let (house, _) = house().await;
    let destroyer = destroyer(&house, true);
    let asked = request(&destroyer, &house, DestructionScope::Tenant)
        .await
        .unwrap();
    let (ada, ben) = (by("ada"), by("ben"));
    let forged = [
        // Confirmed by nobody, by a name, by the seal of another decision.
        "UPDATE destruction SET state = 'running'",
        "UPDATE destruction SET state = 'running', decided_by = 'ben', decided_ms = 1",
        "UPDATE destruction SET state = 'running', ended_ms = NULL",
    ];
    for (n, statement) in forged.iter().enumerate() {
        if n == 2 {
            let step = DestructionStep::Cancel;
            let cancelled = destroyer.decide(&house.tenant, &asked.id, step, &ben);
            house.sql("UPDATE destruction SET state = 'requested', decided_by = NULL, decided_ms = NULL").await;
            cancelled.await.unwrap();
        }
        house.sql(statement).await;
        let halted = destroyer.run(&asked.id).await.unwrap().unwrap();
        assert_eq!(halted.state, DestructionState::Halted, "{statement}");
        assert_eq!(left(&house).await, 7, "{statement}");
    }
    let resumed = destroyer.decide(&house.tenant, &asked.id, DestructionStep::Resume, &ada);
    resumed.await.unwrap();
    let again = destroyer.run(&asked.id).await.unwrap().unwrap();
    assert_eq!(again.state, DestructionState::Halted);
    assert_eq!(left(&house).await, 7);
}

#[tokio::test]
async fn a_certificate_says_nothing_untrue_of_keys_that_were_retired_before() {
    let (house, older) = house().await;
    house.start().await;
    house.rewrapper.run(&house.tenant).await.unwrap().unwrap();
    let (name, ada) = ((&house.managed, &older), by("ada"));
    let retired = house.rewrapper.retire(&house.tenant, name, 0, &ada).await;
    retired.unwrap();
    let destroyer = destroyer(&house, false);
    for scope in [
        DestructionScope::Recordings {
            ids: vec!["new-1".parse().unwrap()],
        },
        DestructionScope::Tenant,
    ] {
        let asked = request(&destroyer, &house, scope.clone()).await.unwrap();
        let done = destroyer.run(&asked.id).await.unwrap().unwrap();
        assert_eq!(done.state, DestructionState::Done, "{:?}", done.last_error);
        let says = certificate(&done);
        let key = says.keys.iter().find(|key| key.id == older).unwrap();
        assert!(key.held_here, "{scope:?}");
    }
}

#[tokio::test]
async fn where_two_people_are_needed_one_is_not_enough() {
    let (house, _) = house().await;
    let destroyer = destroyer(&house, true);
    let asked = request(&destroyer, &house, DestructionScope::Tenant)
        .await
        .unwrap();
    assert_eq!(asked.state, DestructionState::Requested);
    assert!(destroyer.run(&asked.id).await.unwrap().is_none());
    let tenant = &house.tenant;
    let same = destroyer
        .decide(tenant, &asked.id, DestructionStep::Confirm, &by("ada"))
        .await;
    assert!(matches!(same, Err(DestructionError::SamePerson)));
    destroyer
        .decide(tenant, &asked.id, DestructionStep::Cancel, &by("ada"))
        .await
        .unwrap();
    let late = destroyer
        .decide(tenant, &asked.id, DestructionStep::Confirm, &by("ben"))
        .await;
    assert!(matches!(
        late,
        Err(DestructionError::State { state: "cancelled" })
    ));
    assert_eq!(left(&house).await, 7);

    let asked = request(&destroyer, &house, DestructionScope::Tenant)
        .await
        .unwrap();
    let confirmed = destroyer
        .decide(tenant, &asked.id, DestructionStep::Confirm, &by("ben"))
        .await;
    assert_eq!(confirmed.unwrap().state, DestructionState::Running);
    let done = destroyer.run(&asked.id).await.unwrap().unwrap();
    let says = certificate(&done);
    assert_eq!(
        (says.requested_by.as_str(), says.confirmed_by.as_deref()),
        ("ada", Some("ben"))
    );
}

#[tokio::test]
#[ignore = "the other process of the test below"]
async fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    crash::arm(crash::die_as_told);
    let house = House::at(Path::new(&folder)).await.with_keys();
    let id = std::env::var_os(DESTRUCTION).unwrap();
    let id = id.into_string().unwrap();
    destroyer(&house, false).run(&id).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_point_it_is_gone_on_with() {
    let of_all = [
        "destroy.claimed",
        "destroy.planned",
        "epoch.begun",
        "epoch.sealed",
        "epoch.ended",
        "destroy.keys-gone",
        "destroy.objects-gone",
        "destroy.rows-gone",
    ];
    let scopes: [(&str, &[&str]); 3] = [
        ("tenant", &["destroy.retired"]),
        ("key", &["retire.done", "destroy.retired"]),
        (
            "recordings",
            &[
                "destroy.recordings-gone",
                "rewrap.committed:2",
                "retire.done",
                "destroy.retired",
            ],
        ),
    ];
    for (kind, of_this) in scopes {
        let (house, older) = house().await;
        let scope = match kind {
            "tenant" => DestructionScope::Tenant,
            "key" => DestructionScope::Key {
                provider: house.managed.clone(),
                id: older,
            },
            _ => DestructionScope::Recordings {
                ids: vec!["old-1".parse().unwrap(), "old-2".parse().unwrap()],
            },
        };
        let destroyer = destroyer(&house, false);
        let asked = request(&destroyer, &house, scope).await.unwrap();
        let mut killed = 0;
        for point in of_all.iter().chain(of_this) {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command
                .args(["destruction::tests::child", "--exact", "--ignored"])
                .env(FOLDER, &house.folder)
                .env(DESTRUCTION, &asked.id)
                .env("KEYREEL_CRASH_AT", point);
            let run = tokio::task::spawn_blocking(move || command.output());
            let status = run.await.unwrap().unwrap().status;
            killed += u32::from(status.signal() == Some(SIGKILL));
            // Nobody waits for a dead process's time to be over.
            let over = Lease {
                owner: "test".to_owned(),
                now_ms: u64::MAX >> 1,
                until_ms: 0,
            };
            house
                .catalogue
                .claim_destruction(None, &over)
                .await
                .unwrap();
            house
                .catalogue
                .claim_rewrap(&house.tenant, &over)
                .await
                .unwrap();
        }
        assert!(killed >= 6, "{kind}: {killed} kills");
        let now = destroyer.one(&house.tenant, &asked.id).await.unwrap();
        let done = match now.state {
            DestructionState::Done => now,
            _ => destroyer.run(&asked.id).await.unwrap().unwrap(),
        };
        assert_eq!(
            done.state,
            DestructionState::Done,
            "{kind}: {:?}",
            done.last_error
        );
        let (expected, gone) = match kind {
            "tenant" => (0, 7),
            "key" => (3, 4),
            _ => (5, 2),
        };
        assert_eq!(
            (left(&house).await, certificate(&done).recordings),
            (expected, gone),
            "{kind}"
        );
        if kind == "recordings" {
            for name in ["old-0", "old-3", "new-0", "new-1", "new-2"] {
                house.check(&name.parse().unwrap()).await;
            }
        }
    }
}
