//! Destroying for good over HTTP: for whom, with whose word, and what becomes of plays meanwhile.

use std::time::Duration;

use keyreel_library::Role;
use keyreel_server::accounts::{create_token, create_user};
use serde_json::{Value, json};

use crate::client::{Answer, End};
use crate::fixture::{Fixture, tenant};

const ALL: &str = "/api/v1/tenants/alpha/destructions";

/// As a token, or as somebody who is signed in.
async fn send(f: &Fixture, who: &str, method: &str, path: &str, body: Option<&Value>) -> Answer {
    let bearer = format!("Bearer {who}");
    let origin = format!("http://{}", f.address);
    let headers: &[(&str, &str)] = if who.starts_with("__Host") {
        &[("Cookie", who), ("X-Keyreel", "1"), ("Origin", &origin)]
    } else {
        &[("Authorization", &bearer)]
    };
    f.send(method, path, headers, body).await
}

/// An administrator with an account, signed in.
async fn person(f: &Fixture, name: &str) -> String {
    let roles = vec![(tenant("alpha"), Role::Admin)];
    let password = "a password that is long enough";
    create_user(&*f.catalogue, name, Some(password), roles)
        .await
        .unwrap();
    let body = json!({"name": name, "password": password});
    let answer = f.send("POST", "/api/v1/session", &[], Some(&body)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let cookie = answer.header("set-cookie").unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

fn everything() -> Value {
    json!({"scope": {"kind": "tenant"}, "confirm": "destroy alpha", "reason": "a test"})
}

async fn until(f: &Fixture, who: &str, state: &str) -> Value {
    for _ in 0..100 {
        let all = send(f, who, "GET", ALL, None).await.json();
        if all["entities"][0]["state"] == state {
            return all["entities"][0].clone();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it is never {state}")
}

#[tokio::test]
async fn destructions_are_for_the_tenants_administrators() {
    let f = Fixture::new().await;
    let others = {
        let roles = vec![(tenant("beta"), Role::Admin)];
        let issued = create_token(&*f.catalogue, &*f.clock, "other", roles, None).await;
        issued.unwrap().secret.to_string()
    };
    let one = format!("{ALL}/0");
    let routes = [
        ("GET", ALL.to_owned(), None),
        ("POST", ALL.to_owned(), Some(everything())),
        (
            "POST",
            format!("{ALL}/preview"),
            Some(json!({"scope": {"kind": "tenant"}})),
        ),
        ("POST", format!("{one}/confirm"), None),
        ("POST", format!("{one}/cancel"), None),
        ("POST", format!("{one}/resume"), None),
        ("GET", format!("{one}/certificate"), None),
    ];
    for (method, path, body) in &routes {
        let nobody = f.send(method, path, &[], body.as_ref()).await;
        assert_eq!(nobody.status, 401, "{path}");
        for (token, status) in [(&f.agent, 403), (&f.supervisor, 403), (&others, 404)] {
            let answer = send(&f, token, method, path, body.as_ref()).await;
            assert_eq!(answer.status, status, "{path}");
        }
    }
    let all = send(&f, &f.admin_token, "GET", ALL, None).await.json();
    assert_eq!(all["entities"], json!([]));
    let unknown = send(&f, &f.admin_token, "POST", &format!("{one}/confirm"), None).await;
    assert_eq!(unknown.status, 404);
}

#[tokio::test]
async fn what_is_destroyed_is_cut_while_it_plays_and_plays_no_more() {
    let f = Fixture::new().await;
    let bytes = f.add_call("call", 8 << 20).await;
    let uri = f.media_uri(&f.agent, "call").await;
    let mut stream = crate::client::open(f.address, "GET", &uri, &[], None).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut input = everything();
    input["confirm"] = json!("destroy beta");
    let mistyped = send(&f, &f.admin_token, "POST", ALL, Some(&input)).await;
    assert_eq!(
        (mistyped.status, mistyped.problem()),
        (400, "bad-request".to_owned())
    );
    let asked = send(&f, &f.admin_token, "POST", ALL, Some(&everything())).await;
    assert_eq!(asked.status, 202, "{asked:?}");
    let busy = send(&f, &f.admin_token, "POST", ALL, Some(&everything())).await;
    assert_eq!((busy.status, busy.problem()), (409, "conflict".to_owned()));
    let done = until(&f, &f.admin_token, "done").await;
    assert_eq!(
        (&done["recordings"], &done["certified"]),
        (&json!(1), &json!(true))
    );
    let cut = crate::client::read(&mut stream, false).await;
    assert!(
        cut.end != End::Whole && cut.body.len() < bytes.len(),
        "{:?}",
        cut.end
    );
    assert_eq!(f.get(&uri, &[("Range", "bytes=0-0")]).await.status / 100, 4);
    let id = done["id"].as_str().unwrap();
    let path = format!("{ALL}/{id}/certificate");
    let certificate = send(&f, &f.admin_token, "GET", &path, None).await;
    assert_eq!(
        certificate.json()["payloadType"],
        "application/vnd.keyreel.destruction+json"
    );
    let actions: Vec<_> = f
        .audit()
        .await
        .into_iter()
        .map(|event| event.action)
        .collect();
    let position = |action: &str| actions.iter().position(|each| each == action);
    assert!(position("destruction.requested").unwrap() < position("destruction.done").unwrap());
}

#[tokio::test]
async fn where_two_people_are_needed_tokens_count_for_none_and_one_for_one() {
    let f = Fixture::with(|settings| settings.destruction.two_people = true).await;
    let (ada, ben) = (person(&f, "ada").await, person(&f, "ben").await);
    let by_token = send(&f, &f.admin_token, "POST", ALL, Some(&everything())).await;
    assert_eq!(
        (by_token.status, by_token.problem()),
        (403, "denied".to_owned())
    );
    let preview = json!({"scope": {"kind": "tenant"}});
    let preview = send(&f, &ada, "POST", &format!("{ALL}/preview"), Some(&preview)).await;
    assert_eq!(preview.json()["needsTwoPeople"], json!(true));
    let asked = send(&f, &ada, "POST", ALL, Some(&everything())).await;
    assert_eq!(asked.status, 202, "{asked:?}");
    let asked = asked.json();
    assert_eq!(asked["state"], "requested");
    let id = asked["id"].as_str().unwrap();
    let confirm = format!("{ALL}/{id}/confirm");
    for who in [&ada, &f.admin_token] {
        let refused = send(&f, who, "POST", &confirm, None).await;
        assert_eq!(refused.status, 403, "{refused:?}");
    }
    let confirmed = send(&f, &ben, "POST", &confirm, None).await;
    assert_eq!(confirmed.status, 200, "{confirmed:?}");
    let done = until(&f, &ben, "done").await;
    assert_ne!(done["decidedBy"], done["requestedBy"]);
}
