//! Changes of keys: whole or not at all, finished once begun, recorded before and after.

use std::time::Duration;

use keyreel_keys::{KekId, KekState, KekStore as _, ProviderId};
use keyreel_keys_testing::Behaviour;
use serde_json::{Value, json};

use crate::client;
use crate::fixture::{Fixture, tenant};
use crate::keys::{CONFIGURATIONS, LOCAL_KEYS, PAIR, kms, lkm};

impl Fixture {
    /// A Local Key Manager is registered. Its configuration's id.
    async fn with_lkm(&self) -> String {
        let made = self.as_admin("POST", CONFIGURATIONS, Some(&lkm())).await;
        assert_eq!(made.status, 200, "{made:?}");
        made.json()["id"].as_str().unwrap().to_owned()
    }

    /// Sends it and leaves as soon as `begun`.
    async fn send_and_leave(&self, path: &str, body: &Value, begun: impl Fn() -> bool) {
        let token = format!("Bearer {}", self.admin_token);
        let headers = [("Authorization", token.as_str())];
        let stream = client::open(self.address, "POST", path, &headers, Some(body)).await;
        until(async || begun()).await;
        drop(stream);
    }

    async fn current_kek(&self) -> String {
        let current = self.catalogue.current_kek(&tenant("alpha")).await;
        let (provider, kek) = current.unwrap().unwrap();
        format!("{provider} {}", kek.id)
    }

    async fn recorded(&self, action: &str) -> Vec<keyreel_library::AuditEvent> {
        let mut events = self.audit().await;
        events.retain(|event| event.action == action);
        events
    }
}

async fn until(is_so: impl AsyncFn() -> bool) {
    for _ in 0..500 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never was");
}

fn slow() -> Behaviour {
    Behaviour {
        delay: Duration::from_millis(400),
        ..Behaviour::default()
    }
}

#[tokio::test]
async fn an_api_key_does_not_go_along_to_another_origin() {
    let f = Fixture::new().await;
    let id = f.with_lkm().await;
    let path = format!("{CONFIGURATIONS}/{id}");
    let mut moved = lkm();
    moved["url"] = json!("https://evil.example/decrypt");
    moved.as_object_mut().unwrap().remove("apiKey");
    let refused = f.as_admin("PUT", &path, Some(&moved)).await;
    assert_eq!(
        (refused.status, refused.problem()),
        (400, "bad-request".to_owned())
    );
    assert_eq!(
        refused.json()["detail"],
        "The key service's origin changed (https://evil.example): send apiKey again. \
         Nothing was changed."
    );
    let shown = f.as_admin("GET", &path, None).await.json();
    assert_eq!(shown["url"], "https://keys.example/decrypt");
    moved["apiKey"] = json!("another-key");
    let changed = f.as_admin("PUT", &path, Some(&moved)).await;
    assert_eq!(changed.status, 200, "{changed:?}");

    // What was wanted, and where: also of what was refused.
    let created = f.recorded("key.configuration.created").await;
    let asked = f.recorded("key.configuration.requested").await;
    for event in [&created[0], &asked[0]] {
        assert_eq!(event.fields["origins"], json!(["https://keys.example"]));
        assert_eq!(event.fields["url"], "https://keys.example/decrypt");
    }
    let changed = f.recorded("key.configuration.changed").await;
    assert_eq!((changed.len(), asked.len()), (2, 3));
    for (event, outcome) in changed.iter().zip(["bad-request", "ok"]) {
        assert_eq!(event.outcome, outcome);
        assert_eq!(event.fields["configuration"], id.as_str());
        assert_eq!(event.fields["origins"], json!(["https://evil.example"]));
    }
}

#[tokio::test]
async fn what_is_begun_is_finished_although_its_client_left() {
    let f = Fixture::new().await;
    f.compatible().await;
    let id = f.with_lkm().await;
    let key = json!({"configId": id, "publicKey": f.pair(PAIR), "keypairId": PAIR});
    f.lkm.behave(&tenant("alpha"), slow());
    f.send_and_leave(LOCAL_KEYS, &key, || f.lkm.unwraps() > 0)
        .await;
    until(async || f.current_kek().await == format!("lkm {PAIR}")).await;
    until(async || f.recorded("key.registered").await.len() == 1).await;

    f.kms.behave(&tenant("alpha"), slow());
    f.send_and_leave(CONFIGURATIONS, &kms(), || f.kms.unwraps() > 0)
        .await;
    until(async || f.current_kek().await == "aws-kms kek/2").await;
    until(async || f.recorded("key.configuration.created").await.len() == 2).await;
    let recorded = f.recorded("key.configuration.created").await;
    assert_eq!(recorded[1].fields["kek"], "kek/2");
}

#[tokio::test]
async fn a_configuration_is_changed_whole_or_not_at_all() {
    let f = Fixture::new().await;
    let made = f.as_admin("POST", CONFIGURATIONS, Some(&kms())).await;
    let path = made.json()["selfUri"].as_str().unwrap().to_owned();
    let before = f.as_admin("GET", &path, None).await.json();
    // The last of what is saved cannot be.
    f.sql("CREATE TRIGGER no_kek BEFORE INSERT ON kek BEGIN SELECT RAISE(ABORT, 'no'); END")
        .await;
    let mut changed = kms();
    changed["url"] = json!("arn:aws:kms:eu-central-1:1:alias/y");
    let failed = f.as_admin("PUT", &path, Some(&changed)).await;
    assert_eq!(
        (failed.status, failed.problem()),
        (503, "unavailable".to_owned())
    );
    assert_eq!(f.as_admin("GET", &path, None).await.json(), before);
    assert_eq!(f.current_kek().await, "aws-kms kek/2");
}

/// That it was begun is in the log; so what was done is answered as done.
#[tokio::test]
async fn an_outcome_that_cannot_be_recorded_does_not_make_it_undone() {
    let f = Fixture::new().await;
    for action in ["key.configuration.created", "key.enabled"] {
        f.break_audit_of(action).await;
    }
    f.with_lkm().await;
    let asked = f.recorded("key.configuration.requested").await;
    assert_eq!(asked[0].fields["change"], "create");
    let name = json!({"provider": "local", "id": "kek/1"});
    for verb in ["disable", "enable"] {
        let path = format!("/api/v1/tenants/alpha/keys/{verb}");
        let answer = f.as_admin("POST", &path, Some(&name)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(f.recorded("key.enable.requested").await.len(), 1);
}

#[tokio::test]
async fn changes_of_keys_that_cannot_be_recorded_do_not_happen_but_to_take_keys_away() {
    let f = Fixture::new().await;
    f.compatible().await;
    let id = f.with_lkm().await;
    let path = format!("{CONFIGURATIONS}/{id}");
    let key = json!({"configId": id, "publicKey": f.pair(PAIR), "keypairId": PAIR});
    let mut changed = lkm();
    changed["url"] = json!("https://keys.example/elsewhere");
    let asked = f.lkm.asked().len();
    f.break_audit().await;
    let unrecorded = async |method: &str, path: &str, body: Option<&Value>| {
        let answer = f.as_admin(method, path, body).await;
        assert_eq!(answer.problem(), "audit-unavailable", "{path}");
        answer.json()["detail"].as_str().unwrap().to_owned()
    };
    let undone = "The audit log cannot be written, so this is not done. Try again shortly.";
    for (method, path, body) in [
        ("POST", CONFIGURATIONS, &lkm()),
        ("POST", CONFIGURATIONS, &kms()),
        ("PUT", &path, &changed),
        ("POST", LOCAL_KEYS, &key),
    ] {
        assert_eq!(unrecorded(method, path, Some(body)).await, undone, "{path}");
    }
    let alpha = tenant("alpha");
    let known = f.catalogue.key_configurations(&alpha).await.unwrap();
    assert_eq!(known.len(), 1);
    assert!(
        known[0]
            .config_json
            .contains("https://keys.example/decrypt")
    );
    assert_eq!(f.current_kek().await, "local kek/1");
    assert_eq!(f.lkm.asked().len(), asked, "no key service was asked");

    let name = json!({"provider": "local", "id": "kek/1"});
    let to = |verb: &str| format!("/api/v1/tenants/alpha/keys/{verb}");
    let watch = f.keyring.purges(&alpha);
    let said = unrecorded("POST", &to("purge"), None).await;
    assert!(said.starts_with("It was done, but"), "{said}");
    assert!(watch.is_purged());
    let state = async || {
        let (local, id) = ("local", "kek/1");
        let (local, id) = (ProviderId::parse(local).unwrap(), KekId::parse(id).unwrap());
        f.catalogue
            .kek(&alpha, &local, &id)
            .await
            .unwrap()
            .unwrap()
            .1
    };
    let said = unrecorded("POST", &to("disable"), Some(&name)).await;
    assert!(said.starts_with("It was done, but"), "{said}");
    assert_eq!(state().await, KekState::Disabled);
    assert_eq!(unrecorded("POST", &to("enable"), Some(&name)).await, undone);
    assert_eq!(state().await, KekState::Disabled);
}
