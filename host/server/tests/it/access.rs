//! Who may do what: every route, signing in, cross-site requests.

use std::time::Duration;

use keyreel_keys::{KekStore as _, KeyConfiguration, ProviderId};
use keyreel_library::{
    Catalogue as _, Destruction, DestructionScope, DestructionState, DestructionStore as _, Role,
};
use keyreel_server::accounts::create_token;
use serde_json::json;

use crate::fixture::{Fixture, PASSWORD, tenant};

/// The least that a route asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Needs {
    Nothing,
    SignedIn,
    Agent,
    Supervisor,
    Admin,
}

/// Every documented route is here, and every route here is documented.
const ROUTES: &[(&str, &str, Needs)] = &[
    ("post", "/api/v1/session", Needs::Nothing),
    ("get", "/api/v1/session", Needs::SignedIn),
    ("delete", "/api/v1/session", Needs::SignedIn),
    ("get", "/api/v1/tenants", Needs::SignedIn),
    ("get", "/api/v1/recordings", Needs::Agent),
    ("get", "/api/v1/recordings/{id}", Needs::Agent),
    ("post", "/api/v1/recordings/{id}/playback", Needs::Agent),
    ("get", "/api/v1/audit", Needs::Supervisor),
    ("get", "/api/v1/audit/export", Needs::Supervisor),
    ("get", "/api/v1/recordings/{id}/sealed", Needs::Admin),
    (
        "post",
        "/api/v1/conversations/{cid}/recordings",
        Needs::Admin,
    ),
    ("get", "/api/v1/tenants/{id}/keys", Needs::Admin),
    ("get", "/api/v1/tenants/{id}/keys/providers", Needs::Admin),
    ("post", "/api/v1/tenants/{id}/keys/policy", Needs::Admin),
    ("post", "/api/v1/tenants/{id}/keys/purge", Needs::Admin),
    ("post", "/api/v1/tenants/{id}/keys/disable", Needs::Admin),
    ("post", "/api/v1/tenants/{id}/keys/enable", Needs::Admin),
    ("post", "/api/v1/tenants/{id}/keys/rewrap", Needs::Admin),
    ("get", "/api/v1/tenants/{id}/keys/rewrap", Needs::Admin),
    ("delete", "/api/v1/tenants/{id}/keys/rewrap", Needs::Admin),
    ("post", "/api/v1/tenants/{id}/keys/retire", Needs::Admin),
    ("get", "/api/v1/tenants/{id}/keys/recovery", Needs::Admin),
    ("put", "/api/v1/tenants/{id}/keys/recovery", Needs::Admin),
    ("delete", "/api/v1/tenants/{id}/keys/recovery", Needs::Admin),
    ("get", "/api/v2/recording/keyconfigurations", Needs::Admin),
    ("post", "/api/v2/recording/keyconfigurations", Needs::Admin),
    (
        "post",
        "/api/v2/recording/keyconfigurations/validate",
        Needs::Admin,
    ),
    (
        "get",
        "/api/v2/recording/keyconfigurations/{id}",
        Needs::Admin,
    ),
    (
        "put",
        "/api/v2/recording/keyconfigurations/{id}",
        Needs::Admin,
    ),
    ("get", "/api/v2/recording/recordingkeys", Needs::Admin),
    ("post", "/api/v2/recording/recordingkeys", Needs::Admin),
    (
        "get",
        "/api/v2/recording/recordingkeys/rotationschedule",
        Needs::Admin,
    ),
    (
        "put",
        "/api/v2/recording/recordingkeys/rotationschedule",
        Needs::Admin,
    ),
    ("post", "/api/v2/recording/localkeys", Needs::Admin),
    ("get", "/api/v1/tenants/{id}/destructions", Needs::Admin),
    ("post", "/api/v1/tenants/{id}/destructions", Needs::Admin),
    (
        "post",
        "/api/v1/tenants/{id}/destructions/preview",
        Needs::Admin,
    ),
    (
        "get",
        "/api/v1/tenants/{id}/destructions/{destruction}/certificate",
        Needs::Admin,
    ),
    (
        "post",
        "/api/v1/tenants/{id}/destructions/{destruction}/{step}",
        Needs::Admin,
    ),
];

#[test]
fn the_table_of_routes_is_complete() {
    let document = serde_json::to_value(keyreel_server::openapi()).unwrap();
    let mut documented = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            documented.push((method.clone(), path.clone()));
        }
    }
    documented.sort();
    let mut listed: Vec<(String, String)> = ROUTES
        .iter()
        .map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned()))
        .collect();
    listed.sort();
    assert_eq!(documented, listed);
}

#[tokio::test]
async fn every_route_asks_for_its_role() {
    let fixture = Fixture::new().await;
    fixture.add_call("r", 1000).await;
    let nobody_in_particular = create_token(
        &*fixture.catalogue,
        &*fixture.clock,
        "token:none",
        Vec::new(),
        None,
    )
    .await
    .unwrap();
    let holders = [
        (None, Needs::Nothing),
        (
            Some(nobody_in_particular.secret.to_string()),
            Needs::SignedIn,
        ),
        (Some(fixture.agent.clone()), Needs::Agent),
        (Some(fixture.supervisor.clone()), Needs::Supervisor),
        (Some(fixture.admin_token.clone()), Needs::Admin),
    ];
    let configuration = KeyConfiguration {
        id: "configured".to_owned(),
        tenant: tenant("alpha"),
        provider: ProviderId::parse("lkm").unwrap(),
        config_json: "{}".to_owned(),
        created_ms: 0,
    };
    let put = fixture.catalogue.put_key_configuration(&configuration);
    put.await.unwrap();
    let asked = Destruction {
        id: "asked".to_owned(),
        tenant: tenant("alpha"),
        scope: DestructionScope::Tenant,
        reason: "a test".to_owned(),
        lost: 1,
        state: DestructionState::Requested,
        requested_by: "somebody".to_owned(),
        requested_ms: 0,
        decided_by: None,
        decided_ms: None,
        seal: Vec::new(),
        plan: None,
        epoch: None,
        last_error: None,
        ended_ms: None,
        certificate: None,
    };
    fixture.catalogue.add_destruction(&asked).await.unwrap();
    for (method, path, needs) in ROUTES {
        let id = match () {
            () if path.contains("/tenants/") => "alpha",
            () if path.contains("/keyconfigurations/") => "configured",
            () => "r",
        };
        let path = path.replace("{id}", id).replace("{cid}", "c");
        let path = path
            .replace("{destruction}", "asked")
            .replace("{step}", "cancel");
        for (token, has) in &holders {
            let authorization = token.as_ref().map(|token| format!("Bearer {token}"));
            let headers: Vec<(&str, &str)> = authorization
                .iter()
                .map(|value| ("Authorization", value.as_str()))
                .collect();
            let answer = fixture
                .send(&method.to_uppercase(), &path, &headers, None)
                .await;
            let rank = |needs: Needs| needs as u8;
            let what = format!("{method} {path} as {has:?}");
            if rank(*has) >= rank(*needs) {
                assert!(
                    !matches!(answer.status, 401 | 403 | 404 | 405),
                    "{what}: {answer:?}"
                );
            } else if *has == Needs::Nothing {
                assert_eq!(
                    (answer.status, answer.problem().as_str()),
                    (401, "unauthenticated"),
                    "{what}"
                );
            } else {
                assert_eq!(
                    (answer.status, answer.problem().as_str()),
                    (403, "denied"),
                    "{what}"
                );
            }
        }
    }
}

#[tokio::test]
async fn another_tenants_recording_does_not_exist() {
    let fixture = Fixture::new().await;
    fixture.add_call("r", 1000).await;
    for (method, after) in [("GET", ""), ("POST", "/playback")] {
        let ask = async |id: &str| {
            let path = format!("/api/v1/recordings/{id}{after}");
            fixture.as_holder(&fixture.stranger, method, &path).await
        };
        let (foreign, absent) = (ask("r").await, ask("no-such").await);
        assert_eq!(
            (foreign.status, foreign.problem().as_str()),
            (404, "not-found")
        );
        assert_eq!(
            foreign.json()["detail"],
            absent.json()["detail"],
            "told apart by nothing"
        );
    }
    let list = fixture
        .as_holder(&fixture.stranger, "GET", "/api/v1/recordings")
        .await
        .json();
    assert_eq!(list["entities"], json!([]));
    let named = fixture
        .as_holder(&fixture.stranger, "GET", "/api/v1/recordings?tenant=alpha")
        .await
        .json();
    assert_eq!(named["entities"], json!([]));
}

#[tokio::test]
async fn a_role_in_two_tenants_shows_both() {
    let fixture = Fixture::new().await;
    fixture.add_call("r", 1000).await;
    fixture
        .add("beta", "s", &[("media", "audio/wav", b"x")])
        .await;
    let roles = vec![
        (tenant("alpha"), Role::Agent),
        (tenant("beta"), Role::Supervisor),
    ];
    let both = create_token(
        &*fixture.catalogue,
        &*fixture.clock,
        "token:both",
        roles,
        None,
    )
    .await
    .unwrap();
    let list = fixture
        .as_holder(&both.secret, "GET", "/api/v1/recordings")
        .await
        .json();
    assert_eq!(list["entities"].as_array().unwrap().len(), 2);
    let beta = fixture
        .as_holder(&both.secret, "GET", "/api/v1/recordings?tenant=beta")
        .await
        .json();
    assert_eq!(beta["entities"][0]["id"], "s");
    // Supervisor of beta alone: alpha's log stays closed.
    fixture.media_uri(&fixture.agent, "r").await;
    let log = fixture
        .as_holder(&both.secret, "GET", "/api/v1/audit")
        .await
        .json();
    let log = log["entities"].as_array().unwrap();
    assert!(
        !log.is_empty() && log.iter().all(|event| event["tenant"] == "beta"),
        "{log:?}"
    );
}

#[tokio::test]
async fn an_id_of_two_tenants_is_told_apart_by_name() {
    let fixture = Fixture::new().await;
    fixture
        .add("alpha", "r", &[("media", "audio/wav", b"alpha's")])
        .await;
    fixture
        .add("beta", "r", &[("media", "audio/wav", b"beta's")])
        .await;
    let roles = vec![
        (tenant("alpha"), Role::Agent),
        (tenant("beta"), Role::Agent),
    ];
    let both = create_token(
        &*fixture.catalogue,
        &*fixture.clock,
        "token:both",
        roles,
        None,
    )
    .await
    .unwrap();
    let ask = async |token: &str, method: &str, path: &str| {
        let path = format!("/api/v1/recordings/r{path}");
        fixture.as_holder(token, method, &path).await
    };
    for (method, after) in [("GET", ""), ("POST", "/playback")] {
        let answer = ask(&both.secret, method, after).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (409, "ambiguous")
        );
        assert!(answer.json()["detail"].as_str().unwrap().contains("tenant"));
        // Another tenant's stays as if it were not there, also for whoever names it.
        let foreign = ask(&fixture.agent, method, &format!("{after}?tenant=beta")).await;
        assert_eq!(foreign.problem(), "not-found");
        let misspelt = ask(&both.secret, method, &format!("{after}?tenants=beta")).await;
        assert_eq!(misspelt.problem(), "bad-request");
        // One tenant, no question.
        assert!(ask(&fixture.agent, method, after).await.status < 300);
    }
    for of in ["alpha", "beta"] {
        let shown = ask(&both.secret, "GET", &format!("?tenant={of}")).await;
        assert_eq!(shown.json()["tenant"], of);
        let grant = ask(&both.secret, "POST", &format!("/playback?tenant={of}")).await;
        let uri = grant.json()["mediaUri"].as_str().unwrap().to_owned();
        let media = fixture.as_holder(&both.secret, "GET", &uri).await;
        assert_eq!(media.body, format!("{of}'s").as_bytes());
    }
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_caller_is_slowed_down_alone() {
    let fixture = Fixture::with(|settings| {
        settings.server.public_url = Some("https://keyreel.example".parse().unwrap());
        settings.server.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        settings.sessions.failures_before_wait = 1;
    })
    .await;
    let sign_in = async |number: usize, from: &str| {
        let body = json!({"name": format!("nobody-{number}"), "password": "wrong password"});
        let headers = [("X-Forwarded-For", from)];
        let path = "/api/v1/session";
        fixture.send("POST", path, &headers, Some(&body)).await
    };
    // What the client wrote itself stands first, and is not looked at.
    for number in 0..10 {
        let from = format!("198.51.100.{number}, 192.0.2.1");
        assert_eq!(sign_in(number, &from).await.status, 401);
    }
    let next = sign_in(10, "198.51.100.200, 192.0.2.1").await;
    assert_eq!(next.problem(), "too-many-attempts");
    assert_eq!(sign_in(11, "192.0.2.2").await.status, 401, "another caller");
    let body = json!({"link": fixture.link});
    let headers = [("X-Forwarded-For", "192.0.2.3")];
    let path = "/api/v1/session";
    let answer = fixture.send("POST", path, &headers, Some(&body)).await;
    assert_eq!(answer.status, 200);
    let created = fixture.audit().await.pop().unwrap();
    assert_eq!(created.action, "session.created");
    assert_eq!(created.fields["address"], "192.0.2.3");
}

#[tokio::test]
async fn signing_in_by_password_and_by_link() {
    let fixture = Fixture::new().await;
    for body in [
        json!({"name": "MAYA", "password": PASSWORD}),
        json!({"link": fixture.link}),
    ] {
        let answer = fixture
            .send("POST", "/api/v1/session", &[], Some(&body))
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let cookie = answer.header("set-cookie").unwrap();
        assert!(cookie.starts_with("__Host-keyreel="), "{cookie}");
        for attribute in ["Path=/", "HttpOnly", "Secure", "SameSite=Strict"] {
            assert!(cookie.split("; ").any(|part| part == attribute), "{cookie}");
        }
        let session = answer.json();
        assert_eq!(session["name"], "maya");
        assert_eq!(session["subject"], fixture.user.id);
        assert_eq!(session["tenants"][0]["id"], "alpha");
        assert_eq!(session["tenants"][0]["role"], "agent");
        assert_eq!(session["tenants"][0]["policy"], "aes256");
        let pair = cookie.split(';').next().unwrap();
        let shown = fixture.get("/api/v1/session", &[("Cookie", pair)]).await;
        assert_eq!(shown.json(), session);
        assert_eq!(shown.header("cache-control"), Some("private, no-store"));
    }
    // A session ends by itself.
    let cookie = fixture.session().await;
    fixture.clock.advance(Duration::from_secs(13 * 3600));
    let late = fixture.get("/api/v1/session", &[("Cookie", &cookie)]).await;
    assert_eq!(late.problem(), "unauthenticated");
    // And so does the link.
    let body = json!({"link": fixture.link});
    assert_eq!(
        fixture
            .send("POST", "/api/v1/session", &[], Some(&body))
            .await
            .problem(),
        "unauthenticated"
    );
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_name_answer_alike_and_are_slowed_down() {
    let fixture = Fixture::new().await;
    let mut details = Vec::new();
    for name in ["maya", "nobody"] {
        let body = json!({"name": name, "password": "wrong password"});
        for _ in 0..5 {
            let answer = fixture
                .send("POST", "/api/v1/session", &[], Some(&body))
                .await;
            assert_eq!(
                (answer.status, answer.problem().as_str()),
                (401, "unauthenticated")
            );
            details.push(answer.json()["detail"].clone());
        }
        let answer = fixture
            .send("POST", "/api/v1/session", &[], Some(&body))
            .await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (429, "too-many-attempts")
        );
        assert!(answer.header("retry-after").is_some());
    }
    details.dedup();
    assert_eq!(details.len(), 1);
    // Even the right password waits.
    let right = json!({"name": "maya", "password": PASSWORD});
    assert_eq!(
        fixture
            .send("POST", "/api/v1/session", &[], Some(&right))
            .await
            .status,
        429
    );
    fixture.clock.advance(Duration::from_secs(61));
    assert_eq!(
        fixture
            .send("POST", "/api/v1/session", &[], Some(&right))
            .await
            .status,
        200
    );
    let refused = fixture.audit().await;
    let refused: Vec<_> = refused
        .iter()
        .filter(|e| e.action == "session.refused")
        .collect();
    assert!(refused.len() >= 5 && refused.iter().all(|e| e.subject == fixture.user.id));
    // What the throttle refuses is not recorded, for any tenant or none.
    assert_eq!(fixture.audited("unauthenticated").await, 10);
    assert_eq!(fixture.audited("too-many-attempts").await, 0);
}

#[tokio::test]
async fn another_site_can_do_nothing_with_the_cookie() {
    let fixture = Fixture::new().await;
    fixture.add_call("r", 1000).await;
    let cookie = fixture.session().await;
    let cookie = ("Cookie", cookie.as_str());
    let path = "/api/v1/recordings/r/playback";
    for headers in [
        vec![cookie],
        vec![cookie, ("X-Keyreel", "1")],
        vec![cookie, ("X-Keyreel", "1"), ("Sec-Fetch-Site", "cross-site")],
        vec![
            cookie,
            ("X-Keyreel", "1"),
            ("Origin", "https://evil.example"),
        ],
        vec![cookie, ("Sec-Fetch-Site", "same-origin")],
    ] {
        let answer = fixture.send("POST", path, &headers, None).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (403, "denied"),
            "{headers:?}"
        );
    }
    let origin = format!("http://{}", fixture.address);
    let own = [cookie, ("X-Keyreel", "1"), ("Origin", &origin)];
    assert_eq!(fixture.send("POST", path, &own, None).await.status, 201);
    // Nor sign somebody in.
    let body = json!({"link": fixture.link});
    let elsewhere = [("Sec-Fetch-Site", "cross-site")];
    let answer = fixture
        .send("POST", "/api/v1/session", &elsewhere, Some(&body))
        .await;
    assert_eq!(answer.problem(), "denied");
    let form = [("Content-Type", "text/plain")];
    let answer = fixture
        .send("POST", "/api/v1/session", &form, Some(&body))
        .await;
    assert_eq!(answer.problem(), "bad-request");
}

#[tokio::test]
async fn a_link_or_a_session_is_no_token_and_a_token_no_session() {
    let fixture = Fixture::new().await;
    let link = format!("Bearer krt_{}", fixture.link);
    let session = fixture.session().await;
    let session = format!(
        "Bearer krt_{}",
        session.trim_start_matches("__Host-keyreel=")
    );
    for authorization in [link, session] {
        let answer = fixture
            .get("/api/v1/session", &[("Authorization", &authorization)])
            .await;
        assert_eq!(answer.problem(), "unauthenticated");
    }
    let cookie = format!(
        "__Host-keyreel={}",
        fixture.agent.trim_start_matches("krt_")
    );
    assert_eq!(
        fixture
            .get("/api/v1/session", &[("Cookie", &cookie)])
            .await
            .problem(),
        "unauthenticated"
    );
    let cookie = format!("__Host-keyreel={}", fixture.link);
    assert_eq!(
        fixture
            .get("/api/v1/session", &[("Cookie", &cookie)])
            .await
            .problem(),
        "unauthenticated"
    );
    let body = json!({"link": fixture.agent.trim_start_matches("krt_")});
    let answer = fixture
        .send("POST", "/api/v1/session", &[], Some(&body))
        .await;
    assert_eq!(answer.problem(), "unauthenticated");
    assert!(fixture.catalogue.ready().await.is_ok());
}
