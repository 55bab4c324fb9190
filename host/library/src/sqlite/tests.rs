//! The conformance functions on SQLite, and what is SQLite's own: the file, the query plans, speed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keyreel_keys::{KekStore as _, Policy};
use keyreel_keys_testing::MemoryMetadataKeys;

use super::*;
use crate::catalogue::{Details, Media};
use crate::conformance;

mod sealed;

#[tokio::test]
async fn conforms_in_memory() {
    let catalogue = open("sqlite::memory:").await;
    conformance::all(Arc::new(catalogue)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms_in_a_file_and_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data/catalogue.db");
    let url = format!("sqlite://{}", path.display());
    let catalogue = open(&url).await;
    conformance::all(Arc::new(catalogue.clone())).await;
    let before = everything(&catalogue).await;
    catalogue.close().await;
    let again = open(&url).await;
    assert_eq!(everything(&again).await, before);
    #[cfg(unix)]
    for suffix in ["", "-wal", "-shm"] {
        use std::os::unix::fs::PermissionsExt as _;
        let file = format!("{}{suffix}", path.display());
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

async fn open(url: &str) -> SqliteCatalogue {
    let metadata = Arc::new(MemoryMetadataKeys::default());
    SqliteCatalogue::open_with(url, metadata).await.unwrap()
}

async fn everything(catalogue: &SqliteCatalogue) -> (Vec<Tenant>, Vec<Recording>) {
    let tenants = catalogue.tenants().await.unwrap();
    let query = RecordingQuery {
        tenants: tenants.iter().map(|tenant| tenant.id.clone()).collect(),
        limit: 200,
        ..Default::default()
    };
    let page = catalogue.recordings(&query).await.unwrap();
    assert!(!page.items.is_empty());
    (tenants, page.items)
}

#[tokio::test]
async fn a_url_that_is_not_ours_and_a_file_that_is_not_a_catalogue_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("text");
    std::fs::write(
        &file,
        "this is no database, it is a text that somebody wrote",
    )
    .unwrap();
    let result = SqliteCatalogue::open(&format!("sqlite://{}", file.display())).await;
    assert!(matches!(result, Err(Error::Backend { .. })));
    let result = SqliteCatalogue::open("sqlite:///x.db?mode=nonsense").await;
    assert!(matches!(result, Err(Error::Invalid { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_big_library_reads_one_index_and_sorts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = big(folder.path()).await;
    for query in queries() {
        let plan = recordings::plan(&catalogue, &query).await.unwrap();
        assert!(
            !plan.iter().any(|step| step.contains("SCAN r")),
            "{query:?}: {plan:#?}"
        );
        // What an index lists is taken as it comes. Two lists of 51 are merged after that.
        let sorts_a_list = plan
            .windows(2)
            .any(|steps| steps[0].starts_with("SEARCH r") && steps[1].contains("ORDER BY"));
        assert!(!sorts_a_list, "{query:?}: {plan:#?}");

        let mut times = Vec::new();
        for _ in 0..9 {
            let start = Instant::now();
            let page = catalogue.recordings(&query).await.unwrap();
            times.push(start.elapsed());
            assert!(page.items.len() <= 50);
        }
        times.sort();
        // The target is 20 ms for a million, optimised (see the bench); this catches a scan.
        assert!(times[4] < Duration::from_millis(50), "{query:?}: {times:?}");
    }
}

/// 120,000 recordings of two tenants, made by SQLite itself.
async fn big(folder: &Path) -> SqliteCatalogue {
    let url = format!("sqlite://{}", folder.join("big.db").display());
    let catalogue = open(&url).await;
    for (id, name) in [("a", "A"), ("b", "B")] {
        let tenant = Tenant {
            id: id.parse().unwrap(),
            name: name.to_owned(),
            policy: Policy::Compatible,
            provider: "managed".parse().unwrap(),
            created_ms: 0,
        };
        catalogue.add_tenant(&tenant).await.unwrap();
    }
    sqlx::query(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 119999) \
         INSERT INTO recording (position, tenant, id, conversation_id, media, start_ms, duration_ms, \
         provider, kek, wrap_algorithm, generation, details) SELECT (1700000000000 + i * 977) * 1048576, 1 + i % 2, 'r' || i, \
         'c' || (i / 4), i % 10 / 9, 1700000000000 + i * 977, 60000, \
         CASE WHEN i < 100 THEN 'lkm' ELSE 'managed' END, 'kek/1', 'rsa-oaep-sha256', 0, x'' \
         FROM n",
    )
    .execute(&catalogue.write)
    .await
    .unwrap();
    let mut keys = Vec::new();
    for tenant in ["a", "b"] {
        keys.push(catalogue.metadata(&tenant.parse().unwrap()).await.unwrap());
    }
    let details = Details::default();
    let sealed: Vec<String> = (0..120_000)
        .map(|i| {
            let id: RecordingId = format!("r{i}").parse().unwrap();
            hex::encode(recordings::seal(&keys[i % 2], &id, &details).unwrap())
        })
        .collect();
    sqlx::query(
        "UPDATE recording SET details = unhex(sealed.value) FROM json_each(?) sealed \
         WHERE recording.id = 'r' || sealed.key AND recording.tenant = 1 + sealed.key % 2",
    )
    .bind(serde_json::to_string(&sealed).unwrap())
    .execute(&catalogue.write)
    .await
    .unwrap();
    catalogue
}

fn queries() -> Vec<RecordingQuery> {
    let both: Vec<TenantId> = vec!["a".parse().unwrap(), "b".parse().unwrap()];
    let base = RecordingQuery {
        tenants: both,
        limit: 50,
        ..Default::default()
    };
    let rare: ProviderId = "lkm".parse().unwrap();
    vec![
        base.clone(),
        RecordingQuery {
            media: Some(Media::Chat),
            ..base.clone()
        },
        RecordingQuery {
            media: Some(Media::Screen),
            ..base.clone()
        },
        // Only among the oldest.
        RecordingQuery {
            provider: Some(rare.clone()),
            ..base.clone()
        },
        RecordingQuery {
            provider: Some(rare),
            media: Some(Media::Screen),
            ..base.clone()
        },
        RecordingQuery {
            conversation_id: Some("c777".to_owned()),
            ..base.clone()
        },
        RecordingQuery {
            from_ms: Some(1_700_000_100_000),
            to_ms: Some(1_700_000_200_000),
            ..base.clone()
        },
        RecordingQuery {
            text: Some("nothing".to_owned()),
            ..base
        },
    ]
}

/// Deleted means gone: from the file and from the log beside it.
#[tokio::test(flavor = "multi_thread")]
async fn what_opened_a_retired_kek_is_on_the_disk_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.db");
    let catalogue = SqliteCatalogue::open(&format!("sqlite://{}", path.display()))
        .await
        .unwrap();
    let managed: ProviderId = "managed".parse().unwrap();
    let tenant = Tenant {
        id: "a".parse().unwrap(),
        name: "A".to_owned(),
        policy: Policy::Compatible,
        provider: managed.clone(),
        created_ms: 0,
    };
    catalogue.add_tenant(&tenant).await.unwrap();
    // Longer than a page, and within one.
    let (long, short) = ("long-canary-".repeat(700), "short-canary".to_owned());
    let third = "third-canary".to_owned();
    for (id, canary) in [("kek/1", &long), ("kek/2", &short), ("kek/3", &third)] {
        let kek = keyreel_keys::Kek {
            id: id.parse().unwrap(),
            algorithm: "rsa-oaep-sha256".to_owned(),
            public_key: vec![1],
            sealed: vec![("blob".to_owned(), canary.clone().into_bytes())],
            attributes: Vec::new(),
        };
        let key = keyreel_keys::SealedKey {
            algorithm: "rsa-oaep-sha256".to_owned(),
            sealed: canary.clone().into_bytes(),
        };
        let put = catalogue.put_sealed_key(&tenant.id, &managed, id, &key);
        put.await.unwrap();
        let put = catalogue.put_current_kek(&tenant.id, &managed, (&kek, tenant.policy), 0);
        put.await.unwrap();
    }
    let found = |canary: &str| {
        ["", "-wal"].iter().any(|suffix| {
            let file = format!("{}{suffix}", path.display());
            let bytes = std::fs::read(file).unwrap();
            let holds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
            holds(canary.as_bytes()) || holds(hex::encode(canary).as_bytes())
        })
    };
    assert!(found("canary-long-canary") && found(&short));
    for id in ["kek/1", "kek/2"] {
        let id = id.parse().unwrap();
        let retired = catalogue.retire_kek(&tenant.id, &managed, &id, 0).await;
        assert_eq!(retired.unwrap(), keyreel_keys::Retirement::Retired);
    }
    assert!(!found("canary-long-canary") && !found(&short));
    assert!(found(&third));
}
