//! What is known of recordings is in no byte of the file, is found all the same, and opens for
//! nobody else. A catalogue that has it in the clear is left as it is.

use std::path::PathBuf;

use keyreel_keys_testing::MemoryMetadataKeys;
use sqlx::AssertSqlSafe;
use sqlx::migrate::Migrator;

use super::*;
use crate::catalogue::{Channel, Part, RewrapStore as _};

/// Each is in a field of its own; none is anywhere else.
const CANARIES: [&str; 7] = [
    "Annegret Kanarienvogel",
    "+41 44 668 18 00",
    "+14155550134",
    "A.Canary@Example.org",
    "Beschwerde Zitronenzeisig",
    "Girlitzwarteschlange",
    "Stieglitzetikett",
];

struct Place {
    _folder: tempfile::TempDir,
    path: PathBuf,
    url: String,
    keys: Arc<MemoryMetadataKeys>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalogue.sqlite");
        Self {
            url: format!("sqlite://{}", path.display()),
            path,
            _folder: folder,
            keys: Arc::default(),
        }
    }

    async fn open(&self) -> SqliteCatalogue {
        SqliteCatalogue::open_with(&self.url, self.keys.clone())
            .await
            .unwrap()
    }

    /// With two tenants.
    async fn made(&self) -> SqliteCatalogue {
        let catalogue = self.open().await;
        for id in ["a", "b"] {
            catalogue.add_tenant(&a_tenant(id)).await.unwrap();
        }
        catalogue
    }

    /// Every byte of the database's files, as ASCII where it is that, and which of them there are.
    fn bytes(&self) -> (String, Vec<&'static str>) {
        let mut all = String::new();
        let mut there = Vec::new();
        for suffix in ["", "-wal", "-shm", "-journal"] {
            if let Ok(bytes) = std::fs::read(format!("{}{suffix}", self.path.display())) {
                all.push_str(&String::from_utf8_lossy(&bytes));
                there.push(suffix);
            }
        }
        (all, there)
    }

    /// Which canaries can be read: as they are, in lower case, as digits, in hexadecimal.
    fn found(&self) -> Vec<String> {
        let (bytes, _) = self.bytes();
        let texts = CANARIES.iter().flat_map(|canary| readings(canary));
        texts.filter(|text| bytes.contains(text)).collect()
    }
}

fn readings(canary: &str) -> Vec<String> {
    let lower = canary.to_lowercase();
    let digits: String = canary.chars().filter(char::is_ascii_digit).collect();
    let mut texts = vec![canary.to_owned(), lower.clone()];
    // Long words, and numbers: shorter ones are in a random file now and then.
    texts.extend(lower.split([' ', '@']).map(str::to_owned));
    texts.push(digits);
    texts.retain(|text| text.len() >= 8);
    let hex: Vec<String> = texts.iter().map(hex::encode).collect();
    let upper = hex.iter().map(|text| text.to_uppercase());
    texts.extend(upper.collect::<Vec<_>>());
    texts.extend(hex);
    texts
}

fn id(name: &str) -> TenantId {
    name.parse().unwrap()
}

fn a_tenant(name: &str) -> Tenant {
    Tenant {
        id: id(name),
        name: name.to_owned(),
        policy: Policy::Compatible,
        provider: "managed".parse().unwrap(),
        created_ms: 0,
    }
}

fn details() -> Details {
    let [name, swiss, american, email, subject, queue, label] = CANARIES.map(str::to_owned);
    let channel = |channel, name: Option<String>, address| Channel {
        channel,
        role: "customer".to_owned(),
        name,
        address: Some(address),
    };
    Details {
        subject: Some(subject),
        queue: Some(queue),
        channels: vec![
            channel(0, Some(name), swiss),
            channel(1, None, american),
            channel(2, None, email),
        ],
        labels: vec![label],
        ..Details::default()
    }
}

fn a_recording(tenant: &str, name: &str, start_ms: u64, details: Details) -> Recording {
    Recording {
        id: name.parse().unwrap(),
        tenant: id(tenant),
        conversation_id: format!("conversation-of-{name}"),
        media: Media::Call,
        start_ms,
        duration_ms: 1,
        provider: "managed".parse().unwrap(),
        kek: "kek/1".parse().unwrap(),
        wrap_algorithm: "rsa-oaep-sha256".to_owned(),
        generation: 0,
        recovery: None,
        parts: Vec::<Part>::new(),
        details,
    }
}

async fn search(catalogue: &SqliteCatalogue, tenant: &str, text: &str) -> Vec<String> {
    let query = RecordingQuery {
        tenants: vec![id(tenant)],
        text: Some(text.to_owned()),
        limit: 200,
        ..Default::default()
    };
    let page = catalogue.recordings(&query).await.unwrap();
    let ids = page.items.iter().map(|found| found.id.to_string());
    ids.collect()
}

/// All that finds the recording with the canaries, and it alone.
const FINDS_IT: [&str; 9] = [
    "+41446681800",
    "0041 44 668 18 00",
    "+1 (415) 555-0134",
    "a.canary@example.ORG",
    "kanarienvogel",
    "ANNEGRET kanarienvogel",
    "zitronenzeisig",
    "rlitzwarte",
    "glitzeti",
];

#[tokio::test(flavor = "multi_thread")]
async fn names_and_numbers_are_in_no_byte_of_the_file_and_are_found() {
    let place = Place::new();
    let catalogue = place.made().await;
    let full = a_recording("a", "with-canaries", 5, details());
    catalogue.add_recording(&full).await.unwrap();
    for (tenant, name) in [("a", "other-1"), ("b", "other-2")] {
        let other = a_recording(tenant, name, 5, Details::default());
        catalogue.add_recording(&other).await.unwrap();
    }
    for text in FINDS_IT {
        assert_eq!(
            search(&catalogue, "a", text).await,
            ["with-canaries"],
            "{text}"
        );
        assert!(search(&catalogue, "b", text).await.is_empty(), "{text}");
    }
    let kept = catalogue.recording(&[id("a")], &full.id).await.unwrap();
    assert_eq!(kept, Some(full));

    let (bytes, there) = place.bytes();
    assert_eq!(there, ["", "-wal", "-shm"], "while it is open");
    assert!(bytes.contains("with-canaries"), "this is the file");
    assert_eq!(place.found(), [""; 0]);
    catalogue.close().await;
    assert!(place.bytes().0.contains("with-canaries"));
    assert_eq!(place.found(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_or_moved_is_an_error_that_says_so() {
    let place = Place::new();
    let catalogue = place.made().await;
    for (tenant, name) in [("a", "one"), ("a", "two"), ("b", "one")] {
        let recording = a_recording(tenant, name, 5, details());
        catalogue.add_recording(&recording).await.unwrap();
    }
    let altered = async || {
        let (tenant, one) = ([id("a")], "one".parse().unwrap());
        let query = RecordingQuery {
            tenants: vec![id("a")],
            limit: 10,
            ..Default::default()
        };
        for error in [
            catalogue.recording(&tenant, &one).await.unwrap_err(),
            catalogue.recordings(&query).await.unwrap_err(),
        ] {
            assert!(matches!(error, Error::Altered { .. }), "{error}");
            let text = error.to_string();
            assert!(text.contains("tenant a"), "{text}");
            assert!(!text.contains("Kanarienvogel"), "{text}");
        }
    };
    let kept = "CREATE TABLE kept AS SELECT position, details FROM recording";
    sqlx::query(kept).execute(&catalogue.write).await.unwrap();
    let first = "tenant = 1 AND id = 'one'";
    for change in [
        format!("UPDATE recording SET details = x'' WHERE {first}"),
        format!("UPDATE recording SET details = x'7b7d' WHERE {first}"),
        format!(
            "UPDATE recording SET details = CAST(substr(details, 1, length(details) - 1) || \
             CASE substr(details, -1) WHEN x'00' THEN x'01' ELSE x'00' END AS BLOB) WHERE {first}"
        ),
        // Another recording's, and another tenant's of the same id.
        format!(
            "UPDATE recording SET details = (SELECT details FROM recording WHERE tenant = 1 \
             AND id = 'two') WHERE {first}"
        ),
        format!(
            "UPDATE recording SET details = (SELECT details FROM recording WHERE tenant = 2 \
             AND id = 'one') WHERE {first}"
        ),
    ] {
        let change = sqlx::query(AssertSqlSafe(change));
        assert_eq!(
            change
                .execute(&catalogue.write)
                .await
                .unwrap()
                .rows_affected(),
            1
        );
        altered().await;
        let back = "UPDATE recording SET details = kept.details FROM kept \
            WHERE kept.position = recording.position";
        sqlx::query(back).execute(&catalogue.write).await.unwrap();
    }
    let one = catalogue
        .recording(&[id("a")], &"one".parse().unwrap())
        .await;
    assert_eq!(one.unwrap().unwrap().details, details());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_whose_root_is_gone_takes_nobody_with_it() {
    let place = Place::new();
    let catalogue = place.made().await;
    for (tenant, name) in [("a", "of-a"), ("b", "of-b")] {
        let recording = a_recording(tenant, name, 5, details());
        catalogue.add_recording(&recording).await.unwrap();
    }
    place.keys.destroy(&id("a"));
    let list = async |tenants: &[&str], text: Option<&str>| {
        let query = RecordingQuery {
            tenants: tenants.iter().map(|name| id(name)).collect(),
            text: text.map(str::to_owned),
            limit: 10,
            ..Default::default()
        };
        let page = catalogue.recordings(&query).await?;
        let ids = page.items.iter().map(|found| found.id.to_string());
        Ok::<Vec<_>, Error>(ids.collect())
    };
    for text in [None, Some("kanarienvogel")] {
        assert_eq!(list(&["a", "b"], text).await.unwrap(), ["of-b"]);
        let alone = list(&["a", "nobody"], text).await;
        assert!(matches!(alone, Err(Error::Sealing { .. })), "{alone:?}");
    }
    let sealing = |error: Error| assert!(matches!(error, Error::Sealing { .. }), "{error}");
    let of_a = "of-a".parse().unwrap();
    sealing(catalogue.recording(&[id("a")], &of_a).await.unwrap_err());
    let more = a_recording("a", "more", 6, Details::default());
    sealing(catalogue.add_recording(&more).await.unwrap_err());
    // Who is asked for everybody's still finds one.
    let of_b = "of-b".parse().unwrap();
    let found = catalogue.recording(&[id("a"), id("b")], &of_b).await;
    assert!(found.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_keys_recordings_are_counted_and_nothing_else() {
    let place = Place::new();
    let catalogue = place.made().await;
    let recording = a_recording("a", "one", 5, details());
    catalogue.add_recording(&recording).await.unwrap();
    catalogue.close().await;
    let catalogue = SqliteCatalogue::open(&place.url).await.unwrap();
    let counted = catalogue.recordings_by_kek(&id("a")).await.unwrap();
    assert_eq!(counted[0].recordings, 1);
    let query = RecordingQuery {
        tenants: vec![id("a")],
        limit: 10,
        ..Default::default()
    };
    for error in [
        catalogue.recordings(&query).await.unwrap_err(),
        catalogue.add_recording(&recording).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::WithoutKeys), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalogue_from_before_is_refused_and_left_as_it_is() {
    let place = Place::new();
    let options: SqliteConnectOptions = place.url.parse().unwrap();
    let pool = SqlitePool::connect_with(options.create_if_missing(true))
        .await
        .unwrap();
    let until = MIGRATIONS.iter().filter(|one| one.version <= 6).cloned();
    let migrations = Migrator::with_migrations(until.collect());
    migrations.run(&pool).await.unwrap();
    let tenant = "INSERT INTO tenant VALUES (1, 'a', 'A', 'compatible', 'managed', 0)";
    sqlx::query(tenant).execute(&pool).await.unwrap();
    let recording = "INSERT INTO recording VALUES (1, 1, 'r', 'c', 0, 0, 1, 'managed', 'kek/1', \
        'rsa-oaep-sha256', 0, 'in the clear')";
    sqlx::query(recording).execute(&pool).await.unwrap();

    let Err(refused) = SqliteCatalogue::open(&place.url).await else {
        panic!("it was taken");
    };
    let text = refused.to_string();
    assert!(text.contains("keep it, and go on with that"), "{text}");
    let details: String = sqlx::query_scalar("SELECT details FROM recording")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(details, "in the clear");
    let version: i64 = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(version, 6);

    // One that nothing was made in is like a new one.
    for emptied in ["recording", "tenant"] {
        let delete = AssertSqlSafe(format!("DELETE FROM {emptied}"));
        sqlx::query(delete).execute(&pool).await.unwrap();
    }
    pool.close().await;
    SqliteCatalogue::open(&place.url).await.unwrap();
}
