//! Re-wraps and retired keys, as an administrator asks for them and a listener does not notice.

use std::time::Duration;

use keyreel_format::{Header, Reader};
use keyreel_keys::{DekRequest, KekStore as _, Policy, ProviderId};
use keyreel_keys_testing::Behaviour;
use serde_json::{Value, json};

use crate::client::{Answer, End};
use crate::fixture::{Fixture, recording_id, tenant};

const KEYS: &str = "/api/v2/recording/recordingkeys";
const REWRAP: &str = "/api/v1/tenants/alpha/keys/rewrap";
const RETIRE: &str = "/api/v1/tenants/alpha/keys/retire";

impl Fixture {
    async fn admin(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let token = format!("Bearer {}", self.admin_token);
        self.send(method, path, &[("Authorization", &token)], body)
            .await
    }

    async fn rotate(&self) {
        let local = ProviderId::parse("local").unwrap();
        let alpha = tenant("alpha");
        let minted = self.keyring.mint_kek(&alpha, &local, Policy::Aes256);
        minted.await.unwrap();
    }

    /// Starts a re-wrap and waits for its end.
    async fn rewrap(&self) -> Value {
        let fast = json!({"perSecond": 5000});
        let started = self.admin("POST", REWRAP, Some(&fast)).await;
        assert_eq!(started.status, 200, "{started:?}");
        assert_eq!(started.json()["state"], "running");
        loop {
            let status = self.admin("GET", REWRAP, None).await.json();
            if status["state"] != "running" {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn retire(&self, id: &str, confirm: Option<&str>) -> Answer {
        let mut body = json!({"provider": "local", "id": id});
        if let Some(confirm) = confirm {
            body["confirm"] = json!(confirm);
        }
        self.admin("POST", RETIRE, Some(&body)).await
    }

    async fn counts(&self) -> Vec<(String, u64)> {
        let keys = self.admin("GET", KEYS, None).await.json();
        let keys = keys["entities"].as_array().unwrap().iter();
        keys.map(|key| {
            let id = key["id"].as_str().unwrap().to_owned();
            (id, key["recordings"].as_u64().unwrap())
        })
        .collect()
    }
}

#[tokio::test]
async fn recordings_move_and_the_old_key_is_retired() {
    let f = Fixture::new().await;
    let idle = f.admin("GET", REWRAP, None).await.json();
    assert_eq!(
        (&idle["state"], &idle["perSecond"]),
        (&json!("idle"), &json!(50))
    );
    let mut all = Vec::new();
    for n in 0..5 {
        let id = format!("r{n}");
        let bytes = f.add_call(&id, 50_000 + n).await;
        let uri = f.media_uri(&f.agent, &id).await;
        assert_eq!(f.get(&uri, &[]).await.body, bytes);
        all.push((uri, bytes));
    }
    let etag = f
        .get(&all[0].0, &[])
        .await
        .header("etag")
        .unwrap()
        .to_owned();
    f.rotate().await;
    let kek = |n: u32, count: u64| (format!("kek/{n}"), count);
    assert_eq!(f.counts().await, [kek(2, 0), kek(1, 5)]);

    let used = f.retire("kek/1", None).await;
    assert_eq!(
        (used.status, used.problem()),
        (409, "key-in-use".to_owned())
    );
    let detail = used.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("lose 5 recordings"), "{detail}");
    let used = f.retire("kek/1", Some("lose 4 recordings")).await;
    assert_eq!(used.status, 409);
    let current = f.retire("kek/2", Some("lose 0 recordings")).await;
    assert_eq!(
        (current.status, current.problem()),
        (409, "conflict".to_owned())
    );
    let unknown = f.retire("kek/9", None).await;
    assert_eq!(
        (unknown.status, unknown.problem()),
        (404, "key-not-found".to_owned())
    );

    let status = f.rewrap().await;
    assert_eq!(status["state"], "done", "{status}");
    let numbers = [&status["total"], &status["done"], &status["failed"]];
    assert_eq!(numbers, [&json!(5), &json!(5), &json!(0)]);
    assert_eq!(status["failures"], json!([]));
    assert!(status["endedAt"].is_string() && status["lastError"].is_null());
    assert_eq!(f.counts().await, [kek(2, 5), kek(1, 0)]);
    let metrics = crate::client::request(f.admin, "GET", "/metrics", &[], None).await;
    let metrics = String::from_utf8(metrics.body).unwrap();
    for line in [
        "keyreel_rewrapped_recordings_total{outcome=\"ok\"} 5",
        "keyreel_rewrapped_recordings_total{outcome=\"failed\"} 0",
        "keyreel_rewrap_remaining 0",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    let retired = f.retire("kek/1", None).await;
    assert_eq!(
        (retired.status, &retired.json()["state"]),
        (200, &json!("retired"))
    );
    // At once, though what was known of the recordings named the old key; and by the same ETag.
    for (uri, bytes) in &all {
        let answer = f.get(uri, &[]).await;
        assert_eq!((answer.status, &answer.body), (200, bytes));
    }
    let same = f.get(&all[0].0, &[("If-None-Match", &etag)]).await;
    assert_eq!(same.status, 304);
    let actions = f.actions().await;
    for action in [
        "keys.rewrap.started",
        "key.rewrapped",
        "keys.rewrap.ended",
        "key.retire.requested",
        "key.retired",
    ] {
        assert!(
            actions.iter().any(|found| found == action),
            "{action}: {actions:?}"
        );
    }
}

/// Bytes that are asked for now, by name of an old key that is gone: the newer header is taken.
#[tokio::test]
async fn an_open_stream_outlives_its_old_key() {
    let f = Fixture::new().await;
    let bytes = f.add_call("r", 12 << 20).await;
    // Nobody keeps its key: it is asked for again every second.
    let unkept = Behaviour {
        max_cache: Some(Duration::from_millis(100)),
        ..Behaviour::default()
    };
    f.provider.behave(&tenant("alpha"), unkept);
    let uri = f.media_uri(&f.agent, "r").await;
    let mut stream = crate::client::open(f.address, "GET", &uri, &[], None).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    for n in 1..4u32 {
        f.rotate().await;
        assert_eq!(f.rewrap().await["done"], 1);
        assert_eq!(f.retire(&format!("kek/{n}"), None).await.status, 200);
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    let answer = crate::client::read(&mut stream, false).await;
    assert_eq!(answer.end, End::Whole);
    assert!(answer.body == bytes);
}

#[tokio::test]
async fn the_sealed_file_opens_with_the_new_key_alone() {
    let f = Fixture::new().await;
    let bytes = f.add_call("r", 70_000).await;
    let path = "/api/v1/recordings/r/sealed";
    let before = f.admin("GET", path, None).await;
    assert_eq!(before.status, 200);
    let none = f
        .admin("GET", &format!("{path}?form=key-record"), None)
        .await;
    assert_eq!((none.status, none.problem()), (404, "not-found".to_owned()));
    for n in 1..3u32 {
        f.rotate().await;
        f.rewrap().await;
        f.retire(&format!("kek/{n}"), None).await;
        let unwraps = f.provider.unwraps();
        let sealed = f.admin("GET", path, None).await;
        let stored = f.admin("GET", &format!("{path}?form=stored"), None).await;
        let record = f
            .admin("GET", &format!("{path}?form=key-record"), None)
            .await;
        assert_eq!([sealed.status, stored.status, record.status], [200; 3]);
        assert_eq!(f.provider.unwraps(), unwraps, "no key was asked for");
        assert_eq!(stored.body, before.body, "it was not touched");
        assert_eq!(sealed.body.len(), before.body.len());
        assert_eq!(sealed.body[4096..], before.body[4096..]);
        for header in [
            Header::parse(&sealed.body).unwrap(),
            Header::parse_key_record(&record.body).unwrap(),
        ] {
            let block = header.key_block().clone();
            assert_eq!(block.generation, n);
            assert_eq!(block.recipients[0].kek.as_str(), format!("kek/{}", n + 1));
            let request = DekRequest {
                tenant: tenant("alpha"),
                recording: recording_id("r"),
                generation: n,
                recipients: block.recipients,
                subject: String::new(),
                request_id: String::new(),
            };
            let dek = f.keyring.dek(&request).await.unwrap();
            let header = header.verify(&dek).unwrap();
            let prefix = sealed.body[4096..].first_chunk().unwrap();
            let len = sealed.body.len() as u64;
            let reader = Reader::new(&header, &dek, prefix, len).unwrap();
            assert_eq!(reader.plaintext_len().bytes(), bytes.len() as u64);
        }
    }
}

#[tokio::test]
async fn a_loss_is_confirmed_by_its_number_and_what_is_lost_is_gone() {
    let f = Fixture::new().await;
    f.add_call("r1", 10_000).await;
    f.add_call("r2", 10_000).await;
    let uri = f.media_uri(&f.agent, "r1").await;
    assert_eq!(f.get(&uri, &[]).await.status, 200);
    f.rotate().await;
    let retired = f.retire("kek/1", Some("lose 2 recordings")).await;
    assert_eq!(retired.status, 200, "{retired:?}");
    let gone = f.get(&uri, &[]).await;
    assert_eq!(
        (gone.status, gone.problem()),
        (403, "key-disabled".to_owned())
    );
    let (alpha, local) = (tenant("alpha"), ProviderId::parse("local").unwrap());
    let sealed = f.catalogue.sealed_key(&alpha, &local, "kek/1");
    assert_eq!(sealed.await.unwrap(), None);
    // They are nobody's to move any more, and their number is still told.
    let status = f.rewrap().await;
    let said = (&status["state"], &status["total"]);
    assert_eq!(said, (&json!("done"), &json!(0)));
    let counts = [("kek/2".to_owned(), 0), ("kek/1".to_owned(), 2)];
    assert_eq!(f.counts().await, counts);
}

#[tokio::test]
async fn only_administrators_of_the_tenant_re_wrap_and_retire() {
    let f = Fixture::new().await;
    let body = json!({"provider": "local", "id": "kek/1"});
    for (method, path) in [
        ("POST", REWRAP),
        ("GET", REWRAP),
        ("DELETE", REWRAP),
        ("POST", RETIRE),
    ] {
        for (token, status) in [(&f.supervisor, 403), (&f.agent, 403)] {
            let bearer = format!("Bearer {token}");
            let headers = [("Authorization", bearer.as_str())];
            let answer = f.send(method, path, &headers, Some(&body)).await;
            assert_eq!(answer.status, status, "{method} {path}");
        }
        let other = path.replace("alpha", "beta");
        let answer = f.admin(method, &other, Some(&body)).await;
        let expected = if path == REWRAP && method == "POST" {
            400
        } else {
            404
        };
        let expected = [expected, 404];
        assert!(
            expected.contains(&answer.status),
            "{method} {other}: {answer:?}"
        );
    }
    for wrong in [
        json!({"perSecond": 0}),
        json!({"perSecond": 1e9}),
        json!([]),
    ] {
        let answer = f.admin("POST", REWRAP, Some(&wrong)).await;
        assert_eq!(
            (answer.status, answer.problem()),
            (400, "bad-request".to_owned())
        );
    }
    let stopped = f.admin("DELETE", REWRAP, None).await;
    assert_eq!(
        (stopped.status, &stopped.json()["state"]),
        (200, &json!("idle"))
    );
}
