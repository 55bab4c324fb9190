//! What is known of a recording (names, numbers, subjects): found over the API, in no byte of the
//! catalogue's files, gone with the tenant's root.

use keyreel_keys::Keystore;
use keyreel_library::{Channel, Details};
use serde_json::Value;

use crate::fixture::{Fixture, plaintext, tenant};

const NAME: &str = "Annegret Kanarienvogel";
const NUMBER: &str = "+41446681800";
const EMAIL: &str = "a.canary@example.org";
const SUBJECT: &str = "Zitronenzeisig";

async fn fixture() -> Fixture {
    let fixture = Fixture::new().await;
    let channel = |channel, name: Option<&str>, address: &str| Channel {
        channel,
        role: "customer".to_owned(),
        name: name.map(str::to_owned),
        address: Some(address.to_owned()),
    };
    let details = Details {
        subject: Some(SUBJECT.to_owned()),
        channels: vec![channel(0, Some(NAME), NUMBER), channel(1, None, EMAIL)],
        ..Details::default()
    };
    let bytes = plaintext(500);
    let parts: [(&str, &str, &[u8]); 1] = [("media", "audio/wav", &bytes)];
    fixture.add_with("alpha", "wanted", &parts, details).await;
    fixture.add("alpha", "other", &parts).await;
    fixture.add("beta", "strange", &parts).await;
    fixture
}

async fn found(fixture: &Fixture, token: &str, q: &str) -> Vec<String> {
    let q: String = url::form_urlencoded::byte_serialize(q.as_bytes()).collect();
    let uri = format!("/api/v1/recordings?q={q}");
    let page = fixture.as_holder(token, "GET", &uri).await.json();
    let ids = page["entities"].as_array().unwrap().iter();
    ids.map(|e| e["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_is_found_by_name_and_number_is_in_no_byte_of_the_catalogue() {
    let fixture = fixture().await;
    for q in [
        NUMBER,
        "+41 44 668 18 00",
        "0041 (0)44 668-18-00",
        "kanarienvogel",
        "ANNEGRET Kanarienvogel",
        "A.Canary@example.org",
        "zitronenzeisig",
    ] {
        assert_eq!(found(&fixture, &fixture.agent, q).await, ["wanted"], "{q}");
        assert!(
            found(&fixture, &fixture.stranger, q).await.is_empty(),
            "{q}"
        );
    }
    for q in ["kanarien", "+4144668180", "example.org"] {
        assert!(found(&fixture, &fixture.agent, q).await.is_empty(), "{q}");
    }
    let shown = fixture
        .as_holder(&fixture.agent, "GET", "/api/v1/recordings/wanted")
        .await
        .json();
    assert_eq!(shown["channels"][0]["name"], NAME);
    assert_eq!(shown["channels"][0]["address"], NUMBER);
    let uri = fixture.media_uri(&fixture.agent, "wanted").await;
    assert_eq!(fixture.get(&uri, &[]).await.status, 200);
    // What the server wrote about all of this is in the same file.
    let key_purge = "/api/v1/tenants/alpha/keys/purge";
    let purged = fixture.as_holder(&fixture.admin_token, "POST", key_purge);
    assert!(purged.await.status < 300);
    assert_eq!(found(&fixture, &fixture.agent, NUMBER).await, ["wanted"]);

    let mut files = 0;
    for suffix in ["", "-wal", "-shm"] {
        let path = fixture.folder.path().join(format!("catalogue.db{suffix}"));
        let bytes = std::fs::read(path).unwrap();
        // Searching needs text; what is looked for is ASCII.
        let text = String::from_utf8_lossy(&bytes);
        files += usize::from(text.contains("wanted"));
        for canary in [NAME, "Kanarienvogel", NUMBER, &NUMBER[1..], EMAIL, SUBJECT] {
            let lower = canary.to_lowercase();
            let hex = [hex::encode(canary), hex::encode(&lower)];
            let upper = hex.clone().map(|hex| hex.to_uppercase());
            for reading in [canary, &lower].into_iter().map(str::to_owned) {
                assert!(!text.contains(&reading), "{reading} in {suffix:?}");
            }
            for reading in hex.iter().chain(&upper) {
                assert!(
                    !text.contains(reading),
                    "{canary} in {suffix:?}, hexadecimal"
                );
            }
        }
    }
    assert!(files > 0, "the test reads what was written");
}

#[tokio::test]
async fn without_its_root_a_tenant_has_no_recordings_and_others_keep_theirs() {
    let fixture = fixture().await;
    let folder = fixture.folder.path();
    let keystore = Keystore::open(&folder.join("keystore"), &folder.join("master")).unwrap();
    assert!(keystore.destroy_root(&tenant("alpha")).unwrap());
    fixture.keyring.purge(&tenant("alpha"));
    for uri in ["/api/v1/recordings", "/api/v1/recordings/wanted"] {
        let answer = fixture.as_holder(&fixture.agent, "GET", uri).await;
        assert_eq!(
            (answer.status, &*answer.problem()),
            (410, "destroyed"),
            "{uri}"
        );
    }
    let others = fixture
        .as_holder(&fixture.stranger, "GET", "/api/v1/recordings")
        .await
        .json();
    assert_eq!(others["entities"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn details_of_another_recording_are_damage() {
    let fixture = fixture().await;
    fixture
        .sql(
            "UPDATE recording SET details = (SELECT details FROM recording WHERE id = 'wanted') \
             WHERE id = 'other'",
        )
        .await;
    for (id, status) in [("wanted", 200), ("other", 422)] {
        let uri = format!("/api/v1/recordings/{id}");
        let answer = fixture.as_holder(&fixture.agent, "GET", &uri).await;
        assert_eq!(answer.status, status, "{id}");
        assert_eq!(answer.status != 200, !holds_name(&answer.json()));
    }
}

fn holds_name(body: &Value) -> bool {
    body.to_string().contains(NAME)
}
