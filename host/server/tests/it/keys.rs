//! Registering key services and keys, and taking keys away.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyreel_format::wrap::{PrivateKey, WrapAlgorithm};
use keyreel_keys::{ErrorClass, KekId, KekStore as _, ProviderError};
use keyreel_keys_testing::Behaviour;
use keyreel_library::Role;
use keyreel_server::accounts::create_token;
use serde_json::{Value, json};

use crate::client::{Answer, End};
use crate::fixture::{Fixture, tenant};

pub(crate) const CONFIGURATIONS: &str = "/api/v2/recording/keyconfigurations";
const VALIDATE: &str = "/api/v2/recording/keyconfigurations/validate";
pub(crate) const LOCAL_KEYS: &str = "/api/v2/recording/localkeys";
const KEYS: &str = "/api/v2/recording/recordingkeys";
pub(crate) const PAIR: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

impl Fixture {
    pub(crate) async fn as_admin(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let token = format!("Bearer {}", self.admin_token);
        let headers = [("Authorization", token.as_str())];
        self.send(method, path, &headers, body).await
    }

    /// A key pair that the owner keeps.
    pub(crate) fn pair(&self, id: &str) -> String {
        let key = PrivateKey::generate(WrapAlgorithm::RsaOaepSha256).unwrap();
        let public_key = STANDARD.encode(key.public_key().unwrap());
        let id = KekId::parse(id).unwrap();
        self.lkm
            .add_key(&tenant("alpha"), &id, WrapAlgorithm::RsaOaepSha1, key)
            .unwrap();
        public_key
    }

    /// "alpha" is made a tenant whose policy lets an owner's RSA keys in.
    pub(crate) async fn compatible(&self) {
        self.sql("UPDATE tenant SET policy = 'compatible'").await;
    }
}

pub(crate) fn lkm() -> Value {
    json!({
        "keyConfigurationType": "LocalKeyManager", "url": "https://keys.example/decrypt",
        "apiId": "acme", "apiKey": "a-hawk-key-that-nobody-sees",
    })
}

pub(crate) fn kms() -> Value {
    json!({"keyConfigurationType": "KmsSymmetric", "url": "arn:aws:kms:eu-central-1:1:alias/x"})
}

#[tokio::test]
async fn keys_are_for_the_tenants_administrators() {
    let f = Fixture::new().await;
    f.add_call("r1", 1000).await;
    let local_key = json!({"configId": "x", "publicKey": "x", "keypairId": PAIR});
    let routes: [(&str, &str, Option<Value>); 10] = [
        ("GET", CONFIGURATIONS, None),
        ("POST", CONFIGURATIONS, Some(lkm())),
        ("POST", VALIDATE, Some(lkm())),
        ("GET", "/api/v2/recording/keyconfigurations/x", None),
        ("PUT", "/api/v2/recording/keyconfigurations/x", Some(lkm())),
        ("GET", KEYS, None),
        ("POST", LOCAL_KEYS, Some(local_key)),
        ("POST", "/api/v1/tenants/alpha/keys/purge", None),
        (
            "POST",
            "/api/v1/conversations/c/recordings?media=call",
            None,
        ),
        ("GET", "/api/v1/recordings/r1/sealed", None),
    ];
    let others = {
        let roles = vec![(tenant("beta"), Role::Admin)];
        let issued = create_token(&*f.catalogue, &*f.clock, "other", roles, None).await;
        issued.unwrap().secret.to_string()
    };
    for (method, path, body) in &routes {
        let nobody = f.send(method, path, &[], body.as_ref()).await;
        assert_eq!(
            (nobody.status, nobody.problem()),
            (401, "unauthenticated".to_owned())
        );
        for token in [&f.agent, &f.supervisor] {
            let bearer = format!("Bearer {token}");
            let headers = [("Authorization", bearer.as_str())];
            let answer = f.send(method, path, &headers, body.as_ref()).await;
            assert_eq!(
                (answer.status, answer.problem()),
                (403, "denied".to_owned()),
                "{path}"
            );
        }
        // Another tenant's administrator, naming this one.
        let bearer = format!("Bearer {others}");
        let headers = [("Authorization", bearer.as_str())];
        let with = if path.contains('?') { '&' } else { '?' };
        let named = format!("{path}{with}tenant=alpha");
        let answer = f.send(method, &named, &headers, body.as_ref()).await;
        assert_eq!(
            (answer.status, answer.problem()),
            (404, "not-found".to_owned()),
            "{path}"
        );
    }
    assert_eq!(
        f.catalogue
            .key_configurations(&tenant("alpha"))
            .await
            .unwrap(),
        []
    );
}

#[tokio::test]
async fn an_administrator_of_several_says_which() {
    let f = Fixture::new().await;
    let roles = vec![
        (tenant("alpha"), Role::Admin),
        (tenant("beta"), Role::Admin),
    ];
    let issued = create_token(&*f.catalogue, &*f.clock, "both", roles, None).await;
    let both = issued.unwrap().secret.to_string();
    let answer = f.as_holder(&both, "GET", KEYS).await;
    assert_eq!(
        (answer.status, answer.problem()),
        (400, "bad-request".to_owned())
    );
    let answer = f
        .as_holder(&both, "GET", &format!("{KEYS}?tenant=beta"))
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["total"], 1);
    let own = answer.json()["selfUri"].as_str().unwrap().to_owned();
    assert!(own.ends_with("tenant=beta"), "{own}");
}

#[tokio::test]
async fn a_local_key_manager_and_its_key_are_registered() {
    let f = Fixture::new().await;
    f.compatible().await;
    let tried = f.as_admin("POST", VALIDATE, Some(&lkm())).await;
    assert_eq!(tried.status, 200, "{tried:?}");
    assert_eq!(
        f.as_admin("GET", CONFIGURATIONS, None).await.json()["total"],
        0,
        "nothing saved"
    );

    let made = f.as_admin("POST", CONFIGURATIONS, Some(&lkm())).await;
    assert_eq!(made.status, 200, "{made:?}");
    let configuration = made.json();
    let id = configuration["id"].as_str().unwrap();
    assert_eq!(configuration["url"], "https://keys.example/decrypt");
    assert_eq!(configuration["apiId"], "acme");
    assert_eq!(configuration["keyConfigurationType"], "LocalKeyManager");

    let public_key = f.pair(PAIR);
    let key = json!({"configId": id, "publicKey": public_key, "keypairId": PAIR});
    let registered = f.as_admin("POST", LOCAL_KEYS, Some(&key)).await;
    assert_eq!(registered.status, 200, "{registered:?}");
    assert_eq!(registered.json()["id"], PAIR);
    assert_eq!(registered.json()["wrapAlgorithm"], "rsa-oaep-sha1");
    assert_eq!(registered.json()["localEncryptionConfiguration"]["id"], id);
    assert_eq!(registered.json()["keydataSummary"], public_key);
    let again = f.as_admin("POST", LOCAL_KEYS, Some(&key)).await;
    assert_eq!(
        (again.status, again.problem()),
        (409, "conflict".to_owned())
    );

    let keys = f.as_admin("GET", KEYS, None).await.json();
    assert_eq!(keys["entities"][0]["id"], PAIR);
    assert_eq!(keys["entities"][0]["state"], "current");
    assert_eq!(keys["entities"][1]["state"], "previous");
    // Recordings sealed from now on play by it.
    let bytes = f.add_call("r1", 50_000).await;
    let uri = f.media_uri(&f.agent, "r1").await;
    assert_eq!(f.get(&uri, &[]).await.body, bytes);
    let shown = f
        .as_holder(&f.agent, "GET", "/api/v1/recordings/r1")
        .await
        .json();
    assert_eq!(shown["protection"]["provider"], "lkm");
    let session = f.as_holder(&f.agent, "GET", "/api/v1/session").await.json();
    assert_eq!(session["tenants"][0]["provider"], "lkm");

    // The API key is nowhere: not in an answer, not in the audit log, not in the database in clear.
    let listed = f.as_admin("GET", CONFIGURATIONS, None).await;
    let one = f
        .as_admin("GET", &format!("{CONFIGURATIONS}/{id}"), None)
        .await;
    let audit = serde_json::to_vec(&f.audit().await).unwrap();
    let database = std::fs::read(f.folder.path().join("catalogue.db")).unwrap();
    let texts = [
        &made.body,
        &listed.body,
        &one.body,
        &tried.body,
        &audit,
        &database,
    ];
    for text in texts {
        let secret = b"a-hawk-key-that-nobody-sees";
        assert!(!text.windows(secret.len()).any(|window| window == secret));
    }
    let actions = f.actions().await;
    for action in [
        "key.configuration.tried",
        "key.configuration.created",
        "key.registered",
    ] {
        assert!(
            actions.iter().any(|found| found == action),
            "{action}: {actions:?}"
        );
    }
}

#[tokio::test]
async fn a_kms_key_is_registered_by_one_call_and_native_switches_back() {
    let f = Fixture::new().await;
    let made = f.as_admin("POST", CONFIGURATIONS, Some(&kms())).await;
    assert_eq!(made.status, 200, "{made:?}");
    let keys = f.as_admin("GET", KEYS, None).await.json();
    assert_eq!(keys["entities"][0]["provider"], "aws-kms");
    assert_eq!(keys["entities"][0]["keyConfigurationType"], "KmsSymmetric");
    let bytes = f.add_call("r1", 10_000).await;
    let uri = f.media_uri(&f.agent, "r1").await;
    assert_eq!(f.get(&uri, &[]).await.body, bytes);
    // The plugin `managed` is not one of this server's: nothing changes.
    let native = json!({"keyConfigurationType": "Native"});
    let refused = f.as_admin("POST", CONFIGURATIONS, Some(&native)).await;
    assert_eq!(
        (refused.status, refused.problem()),
        (400, "bad-request".to_owned())
    );
    let keys = f.as_admin("GET", KEYS, None).await.json();
    assert_eq!(keys["entities"][0]["provider"], "aws-kms");
}

#[tokio::test]
async fn a_key_service_that_says_no_is_not_registered_and_the_answer_says_why() {
    let f = Fixture::new().await;
    let table = [
        (ErrorClass::Config, 400, "bad-request"),
        (ErrorClass::NotFound, 404, "key-not-found"),
        (ErrorClass::Denied, 403, "key-denied"),
        (ErrorClass::KeyDisabled, 403, "key-disabled"),
        (ErrorClass::Throttled, 503, "throttled"),
        (ErrorClass::Unavailable, 503, "unavailable"),
        (ErrorClass::Timeout, 504, "timeout"),
        (ErrorClass::Internal, 502, "provider-malformed"),
    ];
    let document = f.get("/api/v1/openapi.json", &[]).await.json();
    let documented = |path: &str, method: &str, status: u16, code: &str| {
        let responses = &document["paths"][path][method]["responses"];
        let said = responses[status.to_string()]["description"].as_str();
        assert!(
            said.is_some_and(|said| said.contains(code)),
            "{method} {path} {status} {code}: {said:?}"
        );
    };
    for (class, status, code) in table {
        let error = ProviderError::new(class, "lkm.test", "it answered this and that");
        let behaviour = Behaviour {
            error: Some(error),
            ..Behaviour::default()
        };
        f.lkm.behave(&tenant("alpha"), behaviour);
        for path in [CONFIGURATIONS, VALIDATE] {
            let answer = f.as_admin("POST", path, Some(&lkm())).await;
            assert_eq!(
                (answer.status, answer.problem().as_str()),
                (status, code),
                "{class:?}"
            );
            documented(path, "post", status, code);
            documented(
                "/api/v2/recording/keyconfigurations/{id}",
                "put",
                status,
                code,
            );
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(
                detail.contains("It answered this and that (lkm.test)"),
                "{detail}"
            );
            assert!(detail.contains("Nothing was changed"), "{detail}");
        }
    }
    assert_eq!(
        f.catalogue
            .key_configurations(&tenant("alpha"))
            .await
            .unwrap(),
        []
    );
    let refused = f
        .audit()
        .await
        .into_iter()
        .filter(|event| event.action == "key.configuration.created" && event.outcome != "ok");
    assert_eq!(refused.count(), table.len());
}

#[tokio::test]
async fn bad_registrations_are_refused_in_words() {
    let f = Fixture::new().await;
    let id = f
        .as_admin("POST", CONFIGURATIONS, Some(&lkm()))
        .await
        .json()["id"]
        .clone();
    let good = f.pair(PAIR);
    let local = |config: &Value, key: &str, pair: &str| json!({"configId": config, "publicKey": key, "keypairId": pair});
    // The tenant's policy is AES-256 strength, which no RSA key keeps.
    let policy = f
        .as_admin("POST", LOCAL_KEYS, Some(&local(&id, &good, PAIR)))
        .await;
    assert_eq!(policy.status, 400);
    assert!(
        policy.json()["detail"]
            .as_str()
            .unwrap()
            .contains("policy is aes256")
    );
    f.compatible().await;
    let other = PrivateKey::generate(WrapAlgorithm::RsaOaepSha256).unwrap();
    let other = STANDARD.encode(other.public_key().unwrap());
    let table = [
        (
            local(&json!("none"), &good, PAIR),
            404,
            "no such key configuration",
        ),
        (
            local(&id, "nonsense", PAIR),
            400,
            "publicKey: expected base64",
        ),
        (
            local(&id, &good, "kek/1"),
            400,
            "keypairId: expected a UUID",
        ),
        (
            local(&id, &other, PAIR),
            400,
            "does not open what is sealed",
        ),
        (json!({"configId": id}), 400, "not the JSON"),
    ];
    for (body, status, words) in table {
        let answer = f.as_admin("POST", LOCAL_KEYS, Some(&body)).await;
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(words), "{detail}");
    }
    let keks = f.catalogue.keks(&tenant("alpha")).await.unwrap();
    assert_eq!(keks.len(), 1, "the first one is still the only one");
}

#[tokio::test]
async fn a_configuration_says_what_is_wrong_now_and_can_be_changed() {
    let f = Fixture::new().await;
    let made = f
        .as_admin("POST", CONFIGURATIONS, Some(&lkm()))
        .await
        .json();
    let path = format!("{CONFIGURATIONS}/{}", made["id"].as_str().unwrap());
    f.lkm.fail(&tenant("alpha"), ErrorClass::Unavailable);
    let shown = f.as_admin("GET", &path, None).await.json();
    assert_eq!(shown["lastError"], "It was told to fail (local.told).");
    f.lkm.behave(&tenant("alpha"), Behaviour::default());
    let mut changed = lkm();
    changed["url"] = json!("https://keys.example/elsewhere");
    changed.as_object_mut().unwrap().remove("apiKey");
    let answer = f.as_admin("PUT", &path, Some(&changed)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let shown = f.as_admin("GET", &path, None).await.json();
    assert_eq!(shown["url"], "https://keys.example/elsewhere");
    assert_eq!(shown["lastError"], Value::Null);
    let other = f.as_admin("PUT", &path, Some(&kms())).await;
    assert_eq!(
        (other.status, other.problem()),
        (400, "bad-request".to_owned())
    );
    let none = f
        .as_admin("GET", &format!("{CONFIGURATIONS}/none"), None)
        .await;
    assert_eq!((none.status, none.problem()), (404, "not-found".to_owned()));
}

#[tokio::test]
async fn a_purge_cuts_open_streams_and_empties_the_cache() {
    let f = Fixture::new().await;
    let bytes = f.add_call("r1", 8 << 20).await;
    let uri = f.media_uri(&f.agent, "r1").await;
    assert_eq!(
        f.get(&uri, &[("Range", "bytes=0-0")]).await.body,
        bytes[..1]
    );
    let unwraps = f.provider.unwraps();
    // A listener who does not read: the stream stands open.
    let mut stream = crate::client::open(f.address, "GET", &uri, &[], None).await;
    while f.as_admin("GET", KEYS, None).await.status == 200 {
        let plays = f
            .audit()
            .await
            .into_iter()
            .filter(|event| event.action == "play.started");
        if plays.count() >= 1 {
            break;
        }
    }
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(f.provider.unwraps(), unwraps, "the DEK was in the cache");
    let purged = f
        .as_admin("POST", "/api/v1/tenants/alpha/keys/purge", None)
        .await;
    assert_eq!(purged.status, 200, "{purged:?}");
    assert_eq!(purged.json(), json!({"tenant": "alpha", "cutPlays": 1}));
    let cut = crate::client::read(&mut stream, false).await;
    assert!(
        cut.end != End::Whole && cut.body.len() < bytes.len(),
        "{}",
        cut.body.len()
    );
    assert!(bytes.starts_with(&cut.body));
    assert_eq!(f.get(&uri, &[("Range", "bytes=0-0")]).await.status, 206);
    assert_eq!(f.provider.unwraps(), unwraps + 1, "asked for again");
    assert!(
        f.actions()
            .await
            .iter()
            .any(|action| action == "keys.purged")
    );
}

#[tokio::test]
async fn a_disabled_key_opens_nothing_until_it_is_enabled() {
    let f = Fixture::new().await;
    let bytes = f.add_call("r1", 50_000).await;
    let uri = f.media_uri(&f.agent, "r1").await;
    assert_eq!(f.get(&uri, &[]).await.body, bytes);
    let unwraps = f.provider.unwraps();
    let name = json!({"provider": "local", "id": "kek/1"});
    let path = |verb: &str| format!("/api/v1/tenants/alpha/keys/{verb}");
    let disabled = f.as_admin("POST", &path("disable"), Some(&name)).await;
    assert_eq!(disabled.status, 200, "{disabled:?}");
    assert_eq!(disabled.json()["state"], "disabled");
    let refused = f.get(&uri, &[("Range", "bytes=0-9")]).await;
    assert_eq!(
        (refused.status, refused.problem()),
        (403, "key-disabled".to_owned())
    );
    assert_eq!(refused.json()["turn"], "administrator");
    assert_eq!(f.provider.unwraps(), unwraps, "nobody was asked");
    let keys = f.as_admin("GET", KEYS, None).await.json();
    assert_eq!(keys["entities"][0]["state"], "disabled");
    // The provider is fine, and it makes no difference: there is nothing to seal with either.
    let sealed = f
        .as_admin(
            "POST",
            "/api/v1/conversations/c/recordings?media=chat",
            Some(&json!({"a": 1})),
        )
        .await;
    assert_eq!(
        (sealed.status, sealed.problem()),
        (500, "config".to_owned())
    );
    for _ in 0..2 {
        let enabled = f.as_admin("POST", &path("enable"), Some(&name)).await;
        assert_eq!(
            (enabled.status, &enabled.json()["state"]),
            (200, &json!("current"))
        );
    }
    assert_eq!(f.get(&uri, &[]).await.body, bytes);
    let name = json!({"provider": "local", "id": "kek/9"});
    for verb in ["disable", "enable"] {
        let unknown = f.as_admin("POST", &path(verb), Some(&name)).await;
        assert_eq!(
            (unknown.status, unknown.problem()),
            (404, "key-not-found".to_owned())
        );
        assert_eq!(
            unknown.json()["detail"],
            "Your organisation has no key of this provider and id."
        );
        let last = f.audit().await.pop().unwrap();
        assert_eq!(
            (last.action, last.outcome),
            (format!("key.{verb}d"), "key-not-found".to_owned())
        );
    }
    let actions = f.actions().await;
    for action in ["key.disabled", "key.enabled"] {
        assert!(
            actions.iter().any(|found| found == action),
            "{action}: {actions:?}"
        );
    }
}
