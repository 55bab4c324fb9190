//! What is refused, and that nothing else is.

use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use keyreel_lkm::PairState;
use reqwest::Method;

use crate::client::Sending;
use crate::{Fixture, NOW_MS};

#[tokio::test]
async fn decrypts_for_whoever_signs() {
    let fixture = Fixture::new().await;
    let (body, dek) = fixture.wrapped();
    let plain = Sending::new(fixture.now(), &body);
    let hashed = Sending {
        hash: true,
        ..Sending::new(fixture.now(), &body)
    };
    // The sample service signs the path alone, Hawk says path and query: both are taken.
    let query = Sending {
        query: Some("a=b"),
        ..Sending::new(fixture.now(), &body)
    };
    let signed_query = Sending {
        sign_query: true,
        nonce: "another".to_owned(),
        ..query.clone()
    };
    for sending in [plain, hashed, query, signed_query] {
        let answer = fixture.client.send(&sending).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let signature = answer.headers()["server-authorization"].clone();
        let text = answer.text().await.unwrap();
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(answer["body"], BASE64.encode(dek.expose()));
        assert!(signature.to_str().unwrap().starts_with("Hawk mac=\""));
    }
    assert_eq!(fixture.log().matches(r#""outcome":"ok""#).count(), 4);
    let folder = fixture.stop().await;
    let report = keyreel_lkm::verify_log(&folder.path().join("data")).unwrap();
    assert_eq!((report.lines, report.torn), (4, 0));
}

#[tokio::test]
async fn a_request_is_taken_once_and_only_now() {
    let fixture = Fixture::new().await;
    let (body, _) = fixture.wrapped();
    let sending = Sending::new(fixture.now(), &body);
    assert_eq!(fixture.client.ask(&sending).await.0, 200);
    let (status, answer) = fixture.client.ask(&sending).await;
    assert_eq!((status, &answer["code"]), (401, &"replayed".into()));
    // At the far end of the window it is still remembered.
    fixture.clock.0.store(NOW_MS + 60_000, Ordering::Relaxed);
    let (status, answer) = fixture.client.ask(&sending).await;
    assert_eq!((status, &answer["code"]), (401, &"replayed".into()));

    for seconds in [NOW_MS / 1000 - 1, NOW_MS / 1000 + 121] {
        let stale = Sending::new(seconds, &body);
        let answer = fixture.client.send(&stale).await;
        assert_eq!(answer.status(), 401);
        let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
        let now = NOW_MS / 1000 + 60;
        let tsm = fixture
            .client
            .mac(&fixture.client.key, &format!("hawk.1.ts\n{now}\n"));
        assert_eq!(
            challenge,
            format!(r#"Hawk ts="{now}", tsm="{tsm}", error="Stale timestamp""#)
        );
    }
    for seconds in [NOW_MS / 1000, NOW_MS / 1000 + 120] {
        let fresh = Sending::new(seconds, &body);
        assert_eq!(fixture.client.ask(&fresh).await.0, 200);
    }
}

/// The body may arrive when its nonce is forgotten already.
#[tokio::test]
async fn a_body_that_comes_late_is_no_way_around() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let fixture = Fixture::new().await;
    let (body, _) = fixture.wrapped();
    let sending = Sending::new(fixture.now() + 60, &body);
    assert_eq!(fixture.client.ask(&sending).await.0, 200);
    // The last moment at which its timestamp is good.
    fixture.clock.0.store(NOW_MS + 120_000, Ordering::Relaxed);
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\nauthorization: {}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        keyreel_lkm::DECRYPT_PATH,
        fixture.client.address,
        fixture.client.authorization(&sending),
        sending.body.len(),
    );
    let mut stream = tokio::net::TcpStream::connect(fixture.client.address)
        .await
        .unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    fixture.clock.0.store(NOW_MS + 122_000, Ordering::Relaxed);
    stream.write_all(&sending.body).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert!(answer.contains("stale-timestamp"), "{answer}");
}

/// What was used before is not remembered afterwards.
#[tokio::test]
async fn nothing_from_before_a_restart_is_taken() {
    let mut fixture = Fixture::new().await;
    let (body, _) = fixture.wrapped();
    let sending = Sending::new(fixture.now(), &body);
    assert_eq!(fixture.client.ask(&sending).await.0, 200);
    // In the midst of a second, of which some was before.
    fixture.clock.0.store(NOW_MS + 5_300, Ordering::Relaxed);
    fixture.restart().await;
    for seconds in [sending.seconds, NOW_MS / 1000 + 5] {
        let earlier = Sending {
            seconds,
            ..sending.clone()
        };
        let answer = fixture.client.send(&earlier).await;
        assert_eq!(answer.status(), 401, "{seconds}");
        // The time that it names is good, though it is not reached yet.
        let first = NOW_MS / 1000 + 6;
        let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
        assert!(
            challenge.starts_with(&format!("Hawk ts=\"{first}\"")),
            "{challenge}"
        );
        let again = Sending {
            seconds: first,
            ..Sending::new(fixture.now(), &body)
        };
        assert_eq!(fixture.client.ask(&again).await.0, 200);
    }
}

/// What a client signed for another host is no request to this one, whoever hands it on.
#[tokio::test]
async fn requests_for_others_are_not_taken() {
    let fixture = Fixture::new().await;
    let (body, _) = fixture.wrapped();
    let port = fixture.client.address.port();
    let to = |host, port| Sending {
        host: Some((host, port)),
        ..Sending::new(fixture.now(), &body)
    };
    for (host, port) in [
        ("evil.example", port),
        ("127.0.0.1", port - 1),
        ("127.0.0.2", port),
    ] {
        let (status, answer) = fixture.client.ask(&to(host, port)).await;
        assert_eq!((status, &answer["code"]), (421, &"misdirected".into()));
    }
    let (status, _) = fixture.client.ask(&to("localhost", port)).await;
    assert_eq!(status, 200);

    let mut named = Fixture::with(|settings| {
        settings.public_url = Some("https://keys.example".parse().unwrap());
    })
    .await;
    let address = named.client.address;
    named.client.url = format!("http://{address}{}", keyreel_lkm::DECRYPT_PATH);
    let (body, _) = named.wrapped();
    let mut sending = Sending {
        host: Some(("keys.example", 443)),
        ..Sending::new(named.now(), &body)
    };
    assert_eq!(named.client.ask(&sending).await.0, 200);
    sending.host = Some(("evil.example", 443));
    assert_eq!(named.client.ask(&sending).await.0, 401);
}

#[tokio::test]
async fn strangers_learn_nothing() {
    let fixture = Fixture::new().await;
    let (body, _) = fixture.wrapped();
    let good = Sending::new(fixture.now(), &body);
    let changed = Sending {
        hash: true,
        other_body: Some(b"{}".to_vec()),
        ..good.clone()
    };
    let wrong_key = Sending {
        key: Some("guess".to_owned()),
        ..good.clone()
    };
    let stale_and_wrong = Sending {
        seconds: 1,
        ..wrong_key.clone()
    };
    let unknown = Sending {
        id: Some("nobody".to_owned()),
        ..good.clone()
    };
    let huge = Sending {
        other_body: Some(vec![b' '; 1 << 20]),
        ..wrong_key.clone()
    };
    for sending in [&changed, &wrong_key, &stale_and_wrong, &unknown, &huge] {
        let answer = fixture.client.send(sending).await;
        assert_eq!(answer.status(), 401);
        assert_eq!(answer.headers()["www-authenticate"], "Hawk");
        let answer: serde_json::Value =
            serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!(answer["code"], "unauthorized");
    }
    // None of them spent the nonce, and the log is not theirs to fill.
    assert_eq!(fixture.log(), "");
    assert_eq!(fixture.client.ask(&good).await.0, 200);
}

#[tokio::test]
async fn what_is_signed_and_still_not_done() {
    let fixture = Fixture::new().await;
    let (body, _) = fixture.wrapped();
    let with = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut body = body.clone();
        change(&mut body);
        Sending::new(fixture.now(), &body)
    };
    let other = "00000000-0000-4000-8000-000000000000";
    let damaged = BASE64.encode([7; 384]);
    let table = [
        (
            with(&|body| body["keypairId"] = other.into()),
            404,
            "unknown-key-pair",
        ),
        (
            with(&|body| body["keypairId"] = "../x".into()),
            404,
            "unknown-key-pair",
        ),
        (with(&|body| body["body"] = "?".into()), 400, "base64"),
        (
            with(&|body| body["body"] = "AAAA".into()),
            422,
            "does-not-open",
        ),
        (
            with(&|body| body["body"] = damaged.clone().into()),
            422,
            "does-not-open",
        ),
        (with(&|body| *body = "no".into()), 400, "body"),
        (
            Sending {
                query: Some("decryptType=pkcs1"),
                ..with(&|_| {})
            },
            400,
            "decrypt-type",
        ),
        (
            Sending {
                headers: vec![("keyreel-recording", "r-2".to_owned())],
                ext: Some("keyreel-recording=r-1".to_owned()),
                ..with(&|_| {})
            },
            400,
            "recording",
        ),
        (
            Sending {
                body: vec![b' '; 20_000],
                ..with(&|_| {})
            },
            413,
            "too-large",
        ),
    ];
    for (sending, status, code) in &table {
        let (found, answer) = fixture.client.ask(sending).await;
        assert_eq!((found, &answer["code"]), (*status, &(*code).into()));
    }
    let log = fixture.log();
    for (_, _, code) in table.iter().filter(|(_, _, code)| *code != "too-large") {
        assert!(log.contains(&format!(r#""outcome":"{code}""#)), "{code}");
    }
    assert!(log.contains(r#""user":"a-user""#), "{log}");

    fixture
        .pairs
        .set_state(fixture.pair.id, PairState::Disabled)
        .unwrap();
    let (status, answer) = fixture.client.ask(&with(&|_| {})).await;
    assert_eq!(
        (status, &answer["code"]),
        (409, &"key-pair-disabled".into())
    );
    fixture
        .pairs
        .set_state(fixture.pair.id, PairState::Active)
        .unwrap();
    assert_eq!(fixture.client.ask(&with(&|_| {})).await.0, 200);
    fixture.pairs.remove_credential("acme").unwrap();
    assert_eq!(fixture.client.ask(&with(&|_| {})).await.0, 401);
}

#[tokio::test]
async fn there_are_no_other_doors() {
    let fixture = Fixture::new().await;
    let client = &fixture.client;
    let null = serde_json::Value::Null;
    // What the sample service has: credentials and key pairs for the asking.
    for path in ["/key-management/v1/auth", "/key-management/v1/keypair", "/"] {
        let sending = Sending {
            path,
            ..Sending::new(fixture.now(), &null)
        };
        assert_eq!(client.ask(&sending).await.0, 404, "{path}");
    }
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let sending = Sending {
            method,
            ..Sending::new(fixture.now(), &null)
        };
        assert_eq!(client.ask(&sending).await.0, 405);
    }
    let options = Sending {
        method: Method::OPTIONS,
        ..Sending::new(fixture.now(), &null)
    };
    let answer = client.send(&options).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["allow"], "OPTIONS, POST");
    let unsigned = Sending {
        key: Some("guess".to_owned()),
        ..options
    };
    assert_eq!(client.ask(&unsigned).await.0, 401);
    for path in ["/health", keyreel_lkm::HEALTH_PATH] {
        let url = client.url.replace(keyreel_lkm::DECRYPT_PATH, path);
        let answer = reqwest::get(url).await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "OK");
    }
}
