//! Changing keys over HTTP, and by a schedule beside a running server.

use std::time::Duration;

use keyreel_keys::{ErrorClass, KekStore as _};
use keyreel_library::Role;
use keyreel_server::accounts::create_token;
use serde_json::{Value, json};

use crate::client::{Answer, End};
use crate::fixture::{Fixture, tenant};

const KEYS: &str = "/api/v2/recording/recordingkeys";
const SCHEDULE: &str = "/api/v2/recording/recordingkeys/rotationschedule";
const POLICY: &str = "/api/v1/tenants/alpha/keys/policy";
const OVERVIEW: &str = "/api/v1/tenants/alpha/keys";
const PROVIDERS: &str = "/api/v1/tenants/alpha/keys/providers";

async fn admin(f: &Fixture, method: &str, path: &str, body: Option<Value>) -> Answer {
    let token = format!("Bearer {}", f.admin_token);
    let headers = [("Authorization", token.as_str())];
    f.send(method, path, &headers, body.as_ref()).await
}

async fn metrics(f: &Fixture) -> String {
    let metrics = crate::client::request(f.admin, "GET", "/metrics", &[], None).await;
    String::from_utf8(metrics.body).unwrap()
}

#[tokio::test]
async fn rotations_are_for_the_tenants_administrators() {
    let f = Fixture::new().await;
    let others = {
        let roles = vec![(tenant("beta"), Role::Admin)];
        let issued = create_token(&*f.catalogue, &*f.clock, "other", roles, None).await;
        issued.unwrap().secret.to_string()
    };
    let routes = [
        ("POST", KEYS, None),
        ("GET", SCHEDULE, None),
        ("PUT", SCHEDULE, Some(json!({"period": "DAILY"}))),
        ("POST", POLICY, Some(json!({"policy": "compatible"}))),
        ("GET", OVERVIEW, None),
        ("GET", PROVIDERS, None),
    ];
    for (method, path, body) in &routes {
        let as_token = async |token: Option<&str>, path: &str| {
            let bearer = token.map(|token| format!("Bearer {token}"));
            let headers: Vec<_> = bearer
                .iter()
                .map(|b| ("Authorization", b.as_str()))
                .collect();
            let answer = f.send(method, path, &headers, body.as_ref()).await;
            (answer.status, answer.problem())
        };
        let denied = (403, "denied".to_owned());
        assert_eq!(
            as_token(None, path).await,
            (401, "unauthenticated".to_owned())
        );
        assert_eq!(as_token(Some(&f.agent), path).await, denied, "{path}");
        assert_eq!(as_token(Some(&f.supervisor), path).await, denied, "{path}");
        let named = format!("{path}?tenant=alpha");
        let missing = (404, "not-found".to_owned());
        assert_eq!(as_token(Some(&others), &named).await, missing, "{path}");
    }
    assert_eq!(f.catalogue.keks(&tenant("alpha")).await.unwrap().len(), 1);
    let schedule = admin(&f, "GET", SCHEDULE, None).await.json();
    assert_eq!(schedule["period"], "DISABLED");
}

#[tokio::test]
async fn a_rotation_gives_new_recordings_a_new_key_and_interrupts_nothing() {
    let f = Fixture::new().await;
    let old = f.add_call("old", 8 << 20).await;
    let uri = f.media_uri(&f.agent, "old").await;
    assert_eq!(f.get(&uri, &[("Range", "bytes=0-0")]).await.body, old[..1]);
    let unwraps = f.provider.unwraps();
    // A listener who does not read: the stream stands open.
    let mut stream = crate::client::open(f.address, "GET", &uri, &[], None).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let rotated = admin(&f, "POST", KEYS, None).await;
    assert_eq!(rotated.status, 200, "{rotated:?}");
    let rotated = rotated.json();
    assert_eq!(
        (&rotated["id"], &rotated["state"]),
        (&json!("kek/2"), &json!("current"))
    );
    let mut listed = admin(&f, "GET", KEYS, None).await.json();
    let newest = listed["entities"][0].as_object_mut().unwrap();
    assert_eq!(newest.remove("recordings"), Some(json!(0)));
    assert_eq!(listed["entities"][0], rotated);
    assert_eq!(listed["entities"][1]["recordings"], 1);
    assert_eq!(listed["entities"][1]["state"], "previous");
    let new = f.add_call("new", 50_000).await;
    assert_eq!(
        f.provider.unwraps(),
        unwraps + 1,
        "the new key's trial alone"
    );
    let whole = crate::client::read(&mut stream, false).await;
    assert_eq!(
        (whole.end, whole.body == old),
        (End::Whole, true),
        "it was not cut"
    );
    assert_eq!(f.get(&uri, &[]).await.body, old);
    assert_eq!(
        f.provider.unwraps(),
        unwraps + 1,
        "its DEK is still in the cache"
    );
    let uri = f.media_uri(&f.agent, "new").await;
    assert_eq!(f.get(&uri, &[]).await.body, new);

    f.provider.fail(&tenant("alpha"), ErrorClass::KeyDisabled);
    let refused = admin(&f, "POST", KEYS, Some(json!({}))).await;
    assert_eq!(
        (refused.status, refused.problem()),
        (403, "key-disabled".to_owned())
    );
    assert!(
        refused.json()["detail"]
            .as_str()
            .unwrap()
            .contains("Nothing was changed")
    );
    let events = f.audit().await;
    let last = |action: &str| {
        let event = events.iter().rfind(|event| event.action == action);
        event.unwrap_or_else(|| panic!("{action}"))
    };
    let rotated = last("key.rotated");
    assert_eq!(
        (&rotated.fields["former"], &rotated.fields["kek"]),
        (&json!("kek/1"), &json!("kek/2"))
    );
    assert!(rotated.fields.contains_key("credential"));
    assert_eq!(last("key.rotation.failed").outcome, "key-disabled");
    let text = metrics(&f).await;
    for line in [
        "keyreel_key_rotations_total{trigger=\"request\",outcome=\"ok\"} 1",
        "keyreel_key_rotations_total{trigger=\"request\",outcome=\"key-disabled\"} 1",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn a_schedule_changes_the_key_when_it_is_due() {
    let f = Fixture::new().await;
    let first = admin(&f, "GET", SCHEDULE, None).await;
    assert_eq!(first.status, 200, "{first:?}");
    let nothing = json!({
        "period": "DISABLED", "nextRotation": null, "lastRotation": null, "lastError": null,
        "selfUri": SCHEDULE,
    });
    assert_eq!(first.json(), nothing);
    for wrong in [
        json!({"period": "HOURLY"}),
        json!({"period": "daily"}),
        json!({}),
    ] {
        let refused = admin(&f, "PUT", SCHEDULE, Some(wrong)).await;
        assert_eq!(
            (refused.status, refused.problem()),
            (400, "bad-request".to_owned())
        );
    }
    // What the official clients send has more in it.
    let set = json!({"period": "WEEKLY", "id": null, "selfUri": SCHEDULE});
    let set = admin(&f, "PUT", SCHEDULE, Some(set)).await;
    assert_eq!(set.status, 200, "{set:?}");
    let next = set.json()["nextRotation"].as_str().unwrap().to_owned();
    assert_eq!(set.json()["period"], "WEEKLY");

    f.provider.fail(&tenant("alpha"), ErrorClass::Unavailable);
    f.clock.advance(Duration::from_hours(7 * 24));
    let failing = until(&f, |schedule| schedule["lastError"].is_string()).await;
    assert!(failing["nextRotation"].as_str() > Some(&next), "{failing}");
    assert_eq!(failing["lastRotation"], Value::Null);
    f.provider
        .behave(&tenant("alpha"), keyreel_keys_testing::Behaviour::default());
    f.clock.advance(Duration::from_mins(1));
    let done = until(&f, |schedule| schedule["lastRotation"].is_string()).await;
    assert_eq!(done["lastError"], Value::Null);
    let shown = admin(&f, "GET", OVERVIEW, None).await.json();
    assert_eq!(shown["keys"][0]["id"], "kek/2");
    assert_eq!(shown["keys"].as_array().unwrap().len(), 2);
    let text = metrics(&f).await;
    for outcome in ["ok", "unavailable"] {
        let line =
            format!("keyreel_key_rotations_total{{trigger=\"schedule\",outcome=\"{outcome}\"}} 1");
        assert!(text.contains(&line), "{line}\n{text}");
    }
    let by: Vec<_> = f
        .audit()
        .await
        .into_iter()
        .filter(|event| event.action == "key.rotated" || event.action == "key.rotation.failed")
        .map(|event| event.subject)
        .collect();
    assert_eq!(by, ["keyreel:scheduler", "keyreel:scheduler"]);
}

/// The schedule, once it is as it should be.
async fn until(f: &Fixture, is_so: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..100 {
        let schedule = admin(f, "GET", SCHEDULE, None).await.json();
        if is_so(&schedule) {
            return schedule;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the scheduler does nothing");
}

#[tokio::test]
async fn a_policy_is_changed_and_keys_are_shown_for_what_they_are_worth() {
    let f = Fixture::new().await;
    let bad = admin(&f, "POST", POLICY, Some(json!({"policy": "none"}))).await;
    assert_eq!((bad.status, bad.problem()), (400, "bad-request".to_owned()));
    let changed = admin(&f, "POST", POLICY, Some(json!({"policy": "compatible"}))).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!(changed.json()["wrapAlgorithm"], "rsa-oaep-sha256");
    let again = admin(&f, "POST", POLICY, Some(json!({"policy": "compatible"}))).await;
    assert_eq!(
        again.json()["id"],
        changed.json()["id"],
        "nothing to change"
    );
    let shown = admin(&f, "GET", OVERVIEW, None).await.json();
    let key = |id: &str, algorithm: &str, bits: u16, state: &str| {
        json!({
            "provider": "local", "id": id, "wrapAlgorithm": algorithm, "strengthBits": bits,
            "legacy": false, "state": state, "configuration": null, "recordings": 0,
            "dateCreated": shown["keys"][0]["dateCreated"],
        })
    };
    let expected = json!({
        "tenant": "alpha", "policy": "compatible", "provider": "local", "mintsKeks": true,
        "keys": [
            key("kek/2", "rsa-oaep-sha256", 128, "current"),
            key("kek/1", "hpke-mlkem1024-p384", 256, "previous"),
        ],
    });
    assert_eq!(shown, expected);
    assert!(shown["keys"][0]["dateCreated"].is_string());
    let providers = admin(&f, "GET", PROVIDERS, None).await.json();
    let ids: Vec<_> = providers["entities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|plugin| {
            (
                plugin["id"].as_str().unwrap(),
                plugin["mintsKeks"].as_bool().unwrap(),
            )
        })
        .collect();
    assert_eq!(ids, [("aws-kms", true), ("lkm", false), ("local", true)]);
    assert!(providers["entities"][0]["configSchema"].is_object());
    assert!(
        f.actions()
            .await
            .contains(&"tenant.policy.changed".to_owned())
    );
}

#[tokio::test]
async fn without_an_audit_log_no_key_is_changed() {
    let f = Fixture::new().await;
    f.break_audit().await;
    for (method, path, body) in [
        ("POST", KEYS, None),
        ("PUT", SCHEDULE, Some(json!({"period": "DAILY"}))),
        ("POST", POLICY, Some(json!({"policy": "compatible"}))),
    ] {
        let refused = admin(&f, method, path, body).await;
        let found = (refused.status, refused.problem());
        assert_eq!(found, (503, "audit-unavailable".to_owned()), "{path}");
    }
    assert_eq!(f.catalogue.keks(&tenant("alpha")).await.unwrap().len(), 1);
    let schedule = admin(&f, "GET", SCHEDULE, None).await.json();
    assert_eq!(schedule["period"], "DISABLED");
}
