//! A tenant's recovery key over the API: its public half goes in, its private half is turned away.

use keyreel_format::wrap::RsaModulus;
use keyreel_keys::{KekStore as _, Policy, RecoveryPair, RecoveryPairKind};
use serde_json::json;

use crate::fixture::{Fixture, tenant};

const RECOVERY: &str = "/api/v1/tenants/alpha/keys/recovery";
const REWRAP: &str = "/api/v1/tenants/alpha/keys/rewrap";

fn pair(kind: RecoveryPairKind) -> RecoveryPair {
    RecoveryPair::generate(kind).unwrap()
}

const MLKEM: RecoveryPairKind = RecoveryPairKind::Mlkem1024P384;
const RSA: RecoveryPairKind = RecoveryPairKind::Rsa(RsaModulus::Bits3072);

#[tokio::test]
async fn a_recovery_key_is_set_followed_replaced_and_removed() {
    let f = Fixture::new().await;
    let bytes = f.add_call("before", 20_000).await;
    let none = f.as_admin("GET", RECOVERY, None).await;
    assert_eq!(none.status, 200);
    let expected = json!({"key": null, "recordings": 1, "lacking": 1, "former": 0});
    assert_eq!(none.json(), expected);

    let first = pair(MLKEM);
    let body = json!({"publicKey": first.public_pem()});
    let set = f.as_admin("PUT", RECOVERY, Some(&body)).await;
    assert_eq!(set.status, 200, "{set:?}");
    let shown = set.json();
    assert_eq!(shown["key"]["id"], json!(first.id()));
    assert_eq!(shown["key"]["wrapAlgorithm"], "hpke-mlkem1024-p384");
    assert_eq!(shown["key"]["strengthBits"], 256);
    assert!(shown["key"]["dateCreated"].is_string());
    assert_eq!(shown["lacking"], 1);
    // The same once more changes nothing, and nothing is recorded.
    let events = f.actions().await.len();
    let again = f.as_admin("PUT", RECOVERY, Some(&body)).await;
    assert_eq!(again.json(), shown);
    assert_eq!(f.actions().await.len(), events);

    f.add_call("after", 1000).await;
    let shown = f.as_admin("GET", RECOVERY, None).await.json();
    let counts = [&shown["recordings"], &shown["lacking"], &shown["former"]];
    assert_eq!(counts, [&json!(2), &json!(1), &json!(0)]);
    let rewrap = async || {
        let fast = json!({"perSecond": 5000});
        f.as_admin("POST", REWRAP, Some(&fast)).await;
        loop {
            let status = f.as_admin("GET", REWRAP, None).await.json();
            if status["state"] != "running" {
                return status;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let status = rewrap().await;
    assert_eq!(
        (&status["state"], &status["done"]),
        (&json!("done"), &json!(1)),
        "{status}"
    );
    let shown = f.as_admin("GET", RECOVERY, None).await.json();
    assert_eq!(shown["lacking"], 0);
    // It plays as before, by the KEK.
    let uri = f.media_uri(&f.agent, "before").await;
    assert_eq!(f.get(&uri, &[]).await.body, bytes);

    let second = json!({"publicKey": pair(MLKEM).public_pem()});
    let replaced = f.as_admin("PUT", RECOVERY, Some(&second)).await.json();
    let counts = [&replaced["lacking"], &replaced["former"]];
    assert_eq!(counts, [&json!(2), &json!(2)]);
    let removed = f.as_admin("DELETE", RECOVERY, None).await;
    assert_eq!(
        (removed.status, &removed.json()["key"]),
        (200, &json!(null))
    );
    let again = f.as_admin("DELETE", RECOVERY, None).await;
    assert_eq!(again.status, 200);
    assert_eq!(rewrap().await["done"], 2);
    let shown = f.as_admin("GET", RECOVERY, None).await.json();
    assert_eq!(
        (&shown["lacking"], &shown["former"]),
        (&json!(2), &json!(0))
    );

    let mut actions = f.actions().await;
    actions.retain(|action| action.starts_with("recovery."));
    let count = |action: &str| actions.iter().filter(|found| *found == action).count();
    let counts = [
        "recovery.set.requested",
        "recovery.set",
        "recovery.remove.requested",
        "recovery.removed",
    ]
    .map(count);
    assert_eq!(counts, [2, 2, 1, 1]);
}

#[tokio::test]
async fn what_may_not_be_a_recovery_key_is_refused_in_words() {
    let f = Fixture::new().await;
    let mlkem = pair(MLKEM);
    let private = mlkem.private_pem().unwrap();
    let table = [
        (pair(RSA).public_pem(), "policy aes256"),
        (private.to_string(), "keep it offline"),
        ("hello".to_owned(), "expected base64 of an RSA public key"),
        (String::new(), "expected base64 of an RSA public key"),
    ];
    for (text, expected) in table {
        let body = json!({"publicKey": text});
        let refused = f.as_admin("PUT", RECOVERY, Some(&body)).await;
        assert_eq!(
            (refused.status, refused.problem()),
            (400, "bad-request".to_owned())
        );
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(expected), "{detail}");
        let inside = private.lines().nth(1).unwrap();
        assert!(!detail.contains(inside));
    }
    let other = "/api/v1/tenants/beta/keys/recovery";
    let body = json!({"publicKey": mlkem.public_pem()});
    assert_eq!(f.as_admin("PUT", other, Some(&body)).await.status, 404);
    let found = f.catalogue.recovery_key(&tenant("alpha")).await.unwrap();
    assert_eq!(found, None);
    // What cannot be recorded is not done.
    f.break_audit_of("recovery.set.requested").await;
    let refused = f.as_admin("PUT", RECOVERY, Some(&body)).await;
    assert_eq!(refused.status, 503);
    let found = f.catalogue.recovery_key(&tenant("alpha")).await.unwrap();
    assert_eq!(found, None);
}

#[tokio::test]
async fn an_rsa_recovery_key_keeps_a_tenant_from_256_bits_until_it_is_another() {
    let f = Fixture::new().await;
    let policy = "/api/v1/tenants/alpha/keys/policy";
    let to = async |name: &str| {
        let body = json!({ "policy": name });
        f.as_admin("POST", policy, Some(&body)).await
    };
    assert_eq!(to("compatible").await.status, 200);
    let set = async |kind| {
        let body = json!({"publicKey": pair(kind).public_pem()});
        f.as_admin("PUT", RECOVERY, Some(&body)).await.status
    };
    assert_eq!(set(RSA).await, 200);
    let refused = to("aes256").await;
    assert_eq!(
        (refused.status, refused.problem()),
        (400, "bad-request".to_owned())
    );
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("recovery key is an RSA key"), "{detail}");
    assert_eq!(set(MLKEM).await, 200);
    assert_eq!(to("aes256").await.status, 200);
    let row = keyreel_library::Catalogue::tenant(&*f.catalogue, &tenant("alpha")).await;
    assert_eq!(row.unwrap().unwrap().policy, Policy::Aes256);
}
