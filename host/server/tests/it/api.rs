//! The API's shapes and limits.

use serde_json::{Value, json};

use crate::client;
use crate::fixture::Fixture;

#[tokio::test]
async fn a_listing_pages_through_everything_once() {
    let fixture = Fixture::new().await;
    for index in 0..5 {
        fixture.add_call(&format!("r{index}"), 100).await;
    }
    let mut uri = Some("/api/v1/recordings?limit=2&media=call&q=bill".to_owned());
    let mut seen = Vec::new();
    let mut pages = 0;
    while let Some(next) = uri {
        let page = fixture.as_holder(&fixture.agent, "GET", &next).await.json();
        seen.extend(
            page["entities"]
                .as_array()
                .unwrap()
                .iter()
                .map(|e| e["id"].to_string()),
        );
        uri = page["nextUri"].as_str().map(str::to_owned);
        if let Some(uri) = &uri {
            assert!(uri.starts_with("/api/v1/recordings?"), "{uri}");
            assert!(
                uri.contains("media=call") && uri.contains("q=bill"),
                "{uri}"
            );
        }
        pages += 1;
    }
    seen.sort();
    seen.dedup();
    assert_eq!((seen.len(), pages), (5, 3));
}

#[tokio::test]
async fn a_recording_says_what_protects_it() {
    let fixture = Fixture::new().await;
    fixture
        .add(
            "alpha",
            "r",
            &[
                ("media", "audio/wav", &[0; 500]),
                ("transcript", "application/json", b"{}"),
            ],
        )
        .await;
    let summary = json!({
        "id": "r", "tenant": "alpha", "conversationId": "c-1", "media": "call",
        "contentType": "audio/wav", "startTime": "2026-11-03T08:12:44.000Z", "durationMs": 61_000,
        "provider": "local", "kekId": "kek/1", "wrapAlgorithm": "hpke-mlkem1024-p384",
        "direction": "inbound", "queue": "Billing", "subject": null,
        "channels": [{"channel": 0, "role": "agent", "name": "Maya Chen", "address": null}],
        "labels": [], "hasTranscript": true,
    });
    let list = fixture
        .as_holder(&fixture.agent, "GET", "/api/v1/recordings")
        .await
        .json();
    assert_eq!(list, json!({"entities": [summary], "nextUri": null}));
    let detail = fixture
        .as_holder(&fixture.agent, "GET", "/api/v1/recordings/r")
        .await
        .json();
    for (name, value) in summary.as_object().unwrap() {
        assert_eq!(&detail[name], value, "{name}");
    }
    assert_eq!(
        detail["protection"],
        json!({
            "provider": "local", "providerName": "local", "kekId": "kek/1",
            "wrapAlgorithm": "hpke-mlkem1024-p384", "strength": "AES-256, post-quantum",
            "legacy": false, "policy": "aes256",
            "bodyCipher": "AES-256-GCM (Cobblestone-256)", "generation": 0,
        })
    );
    assert_eq!(
        detail["parts"][0],
        json!({"name": "media", "contentType": "audio/wav", "bytes": 500})
    );
    assert_eq!(detail["spans"], json!([]));
}

#[tokio::test]
async fn bad_requests_are_problems() {
    let fixture = Fixture::new().await;
    let long = "x".repeat(201);
    let table = [
        (
            "GET",
            "/api/v1/recordings?limit=0".to_owned(),
            400,
            "bad-request",
        ),
        (
            "GET",
            "/api/v1/recordings?limit=201".to_owned(),
            400,
            "bad-request",
        ),
        (
            "GET",
            "/api/v1/recordings?limit=many".to_owned(),
            400,
            "bad-request",
        ),
        (
            "GET",
            "/api/v1/recordings?cursor=nonsense".to_owned(),
            400,
            "bad-request",
        ),
        (
            "GET",
            "/api/v1/recordings?from=yesterday".to_owned(),
            400,
            "bad-request",
        ),
        (
            "GET",
            "/api/v1/recordings?media=opera".to_owned(),
            400,
            "bad-request",
        ),
        (
            "GET",
            "/api/v1/recordings?provider=a%20b".to_owned(),
            400,
            "bad-request",
        ),
        (
            "GET",
            "/api/v1/recordings?sort=asc".to_owned(),
            400,
            "bad-request",
        ),
        (
            "GET",
            format!("/api/v1/recordings?q={long}"),
            400,
            "bad-request",
        ),
        (
            "GET",
            "/api/v1/recordings/a%2Fb".to_owned(),
            404,
            "not-found",
        ),
        ("GET", "/api/v1/nothing".to_owned(), 404, "not-found"),
        ("GET", "/nothing".to_owned(), 404, "not-found"),
        (
            "GET",
            "/assets/../../etc/passwd".to_owned(),
            404,
            "not-found",
        ),
        (
            "PUT",
            "/api/v1/recordings".to_owned(),
            405,
            "method-not-allowed",
        ),
        (
            "DELETE",
            "/media/x/audio.wav".to_owned(),
            405,
            "method-not-allowed",
        ),
        ("GET", "/media/x/audio.wav".to_owned(), 403, "denied"),
    ];
    for (method, path, status, code) in table {
        let answer = fixture.as_holder(&fixture.agent, method, &path).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (status, code),
            "{method} {path}"
        );
    }
    let answer = fixture
        .as_holder(&fixture.supervisor, "GET", "/api/v1/audit?recording=a%20b")
        .await;
    assert_eq!(answer.problem(), "bad-request");
}

#[tokio::test]
async fn bodies_have_a_limit_and_a_form() {
    let fixture = Fixture::new().await;
    let secret = "x".repeat(70_000);
    let table = [
        (json!({"link": secret}), 413, "too-large"),
        (json!({"password": "hunter22222"}), 400, "bad-request"),
        (json!([]), 400, "bad-request"),
        (json!({"link": 7}), 400, "bad-request"),
    ];
    for (body, status, code) in table {
        let answer = fixture
            .send("POST", "/api/v1/session", &[], Some(&body))
            .await;
        assert_eq!((answer.status, answer.problem().as_str()), (status, code));
        assert!(
            !String::from_utf8_lossy(&answer.body).contains("hunter"),
            "echoes no password"
        );
    }
}

#[tokio::test]
async fn the_audit_log_is_read_by_supervisors() {
    let fixture = Fixture::new().await;
    fixture.add_call("r", 1000).await;
    fixture.add_call("s", 1000).await;
    let uri = fixture.media_uri(&fixture.agent, "r").await;
    fixture.media_uri(&fixture.agent, "s").await;
    fixture.get(&uri, &[]).await;
    let log = async |query: &str| -> Vec<Value> {
        let path = format!("/api/v1/audit?{query}");
        let answer = fixture
            .as_holder(&fixture.supervisor, "GET", &path)
            .await
            .json();
        answer["entities"].as_array().unwrap().clone()
    };
    let of_r = log("recording=r").await;
    let actions: Vec<&str> = of_r
        .iter()
        .rev()
        .filter_map(|e| e["action"].as_str())
        .collect();
    assert_eq!(
        actions,
        [
            "grant.created",
            "key.unwrap.requested",
            "key.unwrapped",
            "play.started"
        ],
        "in the order in which it has to be"
    );
    let unwrapped = &of_r[1];
    assert_eq!(unwrapped["fields"]["provider"], "local");
    assert_eq!(unwrapped["fields"]["kek"], "kek/1");
    assert_eq!(unwrapped["subject"], "token:alpha");
    assert_eq!(unwrapped["at"], "2026-11-03T09:12:44.000Z");
    assert_eq!(log("action=grant.created").await.len(), 2);
    assert_eq!(log("action=grant.created&limit=1").await.len(), 1);
    assert_eq!(log("to=2026-11-03T09:12:44Z").await.len(), 0);
    assert_eq!(log("subject=token:alpha&limit=1").await.len(), 1);
    assert_eq!(log("subject=nobody").await.len(), 0);
    assert_eq!(log("outcome=denied").await.len(), 0);
    let all = log("limit=200").await;
    for pair in all.windows(2) {
        assert!(pair[0]["seq"].as_u64() > pair[1]["seq"].as_u64());
        assert_eq!(pair[0]["hash"].as_str().map(str::len), Some(64));
    }
    // The same, all at once, a line each.
    let path = "/api/v1/audit/export";
    let answer = fixture.as_holder(&fixture.supervisor, "GET", path).await;
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    let lines: Vec<Value> = String::from_utf8_lossy(&answer.body)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines, all);
    let path = "/api/v1/audit/export?action=grant.created&limit=1";
    let answer = fixture.as_holder(&fixture.supervisor, "GET", path).await;
    assert_eq!(String::from_utf8_lossy(&answer.body).lines().count(), 2);
    let path = "/api/v1/audit/export?from=yesterday";
    let answer = fixture.as_holder(&fixture.supervisor, "GET", path).await;
    assert_eq!(answer.problem(), "bad-request");
    // No secret is in it.
    let grant = uri.split('/').nth(2).unwrap();
    let text = serde_json::to_string(&log("limit=200").await).unwrap();
    for secret in [grant, fixture.agent.as_str(), fixture.link.as_str()] {
        assert!(!text.contains(secret));
    }
}

#[tokio::test]
async fn every_answer_names_its_request_and_pages_have_their_policy() {
    let fixture = Fixture::new().await;
    for path in [
        "/",
        "/sign-in",
        "/recordings/r?t=83.5",
        "/admin/encryption-keys",
        "/admin/audit",
    ] {
        let page = fixture.get(path, &[]).await;
        assert_eq!(page.status, 200, "{path}");
        assert_eq!(
            page.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.contains("script-src 'self';"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(page.header("x-request-id").map(str::len), Some(36));
        let etag = page.header("etag").unwrap().to_owned();
        assert_eq!(
            fixture.get(path, &[("If-None-Match", &etag)]).await.status,
            304
        );
    }
    let page = String::from_utf8(fixture.get("/", &[]).await.body).unwrap();
    let asset = page
        .split('"')
        .find(|part| part.starts_with("/assets/"))
        .unwrap()
        .to_owned();
    let asset = fixture.get(&asset, &[]).await;
    assert_eq!(
        asset.header("cache-control"),
        Some("public, max-age=31536000, immutable")
    );
    let document = fixture.get("/api/v1/openapi.json", &[]).await.json();
    assert_eq!(
        document,
        serde_json::to_value(keyreel_server::openapi()).unwrap()
    );
    assert!(
        client::request(fixture.admin, "GET", "/", &[], None)
            .await
            .status
            == 404
    );
}

#[tokio::test]
async fn an_export_longer_than_a_page_is_whole() {
    let fixture = Fixture::new().await;
    fixture.add_call("r", 1000).await;
    for _ in 0..230 {
        fixture.media_uri(&fixture.agent, "r").await;
    }
    let path = "/api/v1/audit/export?action=grant.created";
    let answer = fixture.as_holder(&fixture.supervisor, "GET", path).await;
    assert_eq!(String::from_utf8_lossy(&answer.body).lines().count(), 230);
}
