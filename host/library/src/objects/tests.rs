//! What every store of objects does, run against a folder and against object_store.

use super::*;

fn stores() -> (tempfile::TempDir, [Objects; 2]) {
    let folder = tempfile::tempdir().unwrap();
    let url = Url::from_directory_path(folder.path().join("objects")).unwrap();
    let stores = [
        Objects::open(url.as_str()).unwrap(),
        Objects::open("memory:///").unwrap(),
    ];
    (folder, stores)
}

#[tokio::test]
async fn an_object_is_written_whole_read_in_ranges_and_deleted() {
    let (_folder, stores) = stores();
    for store in stores {
        whole_objects(&store).await;
    }
}

#[tokio::test]
async fn a_handle_never_mixes_two_versions() {
    let (_folder, stores) = stores();
    for store in stores {
        pinned_versions(&store).await;
    }
}

#[tokio::test]
async fn a_new_object_replaces_nothing() {
    let (_folder, stores) = stores();
    for store in stores {
        new_objects(&store).await;
    }
}

/// `tests/third-party/s3.py cargo test -p keyreel-library --features s3 s3_does -- --ignored`
#[cfg(feature = "s3")]
#[tokio::test]
#[ignore = "needs an S3 server with a bucket `keyreel`: see tests/third-party/s3.py"]
async fn s3_does_the_same() {
    #[expect(
        clippy::disallowed_methods,
        reason = "only whoever starts the server knows its port"
    )]
    let endpoint = std::env::var("KEYREEL_TEST_S3").unwrap();
    let options = [
        ("aws_endpoint", endpoint.as_str()),
        ("aws_allow_http", "true"),
        ("aws_access_key_id", "test"),
        ("aws_secret_access_key", "test"),
        ("aws_region", "us-east-1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let store = Objects::open_with("s3://keyreel/some/prefix", options).unwrap();
    whole_objects(&store).await;
    pinned_versions(&store).await;
    new_objects(&store).await;
}

async fn whole_objects(store: &Objects) {
    let bytes: Bytes = (0u32..5_000_000).flat_map(u32::to_le_bytes).collect();
    let path = "tenant/recording/media.krc";
    let mut writer = store.create(path).await.unwrap();
    for piece in [
        0..10usize,
        10..3_000_000,
        3_000_000..3_000_001,
        3_000_001..bytes.len(),
    ] {
        writer.write(bytes.slice(piece)).await.unwrap();
    }
    assert!(
        matches!(store.head(path).await, Err(Error::NotFound { .. })),
        "not before finish"
    );
    let version = writer.finish().await.unwrap();
    assert_eq!(version.len, bytes.len() as u64);
    assert_eq!(store.head(path).await.unwrap(), version);
    assert_eq!(store.list("tenant/recording").await.unwrap(), [path]);

    let handle = store.get(path, Some(&version.etag)).await.unwrap();
    let at = |offset: u64| usize::try_from(offset).unwrap();
    let mut buf = BytesMut::new();
    for (start, end) in [
        (0, 0),
        (0, 1),
        (7, 1_048_583),
        (19_999_999, 20_000_000),
        (3, 3),
    ] {
        buf = handle.read(start..end, buf).await.unwrap();
        assert!(buf[..] == bytes[at(start)..at(end)], "{start}..{end}");
    }
    for (start, end) in [(0, 20_000_001), (20_000_001, 20_000_001), (u64::MAX, 0)] {
        assert!(
            handle.read(start..end, BytesMut::new()).await.is_err(),
            "{start}..{end}"
        );
    }
    store.delete(path).await.unwrap();
    store.delete(path).await.unwrap();
    assert!(matches!(
        store.get(path, None).await,
        Err(Error::NotFound { .. })
    ));
}

/// Of many who write the same new object at once, one does.
async fn new_objects(store: &Objects) {
    let path = "tenant/recording/media.krc.key.1";
    let tries = (0..8u8).map(|n| store.put_new(path, Bytes::from(vec![n; 700])));
    let results = futures::future::join_all(tries).await;
    let won: Vec<u8> = (0..8u8)
        .zip(&results)
        .filter(|(_, result)| result.is_ok())
        .map(|(n, _)| n)
        .collect();
    assert_eq!(won.len(), 1, "{results:?}");
    for lost in results.iter().filter_map(|result| result.as_ref().err()) {
        assert!(matches!(lost, Error::Exists { .. }), "{lost}");
    }
    let handle = store.get(path, None).await.unwrap();
    let found = handle.read(0..700, BytesMut::new()).await.unwrap();
    assert_eq!(found[..], [won[0]; 700], "the first one's");
    let listed = store.list("tenant/recording").await.unwrap();
    assert_eq!(listed, [path], "nothing unfinished is left");
    store.delete(path).await.unwrap();
    store.put_new(path, Bytes::from_static(b"x")).await.unwrap();
    store.delete(path).await.unwrap();
}

async fn pinned_versions(store: &Objects) {
    let first = store
        .put("t/object", Bytes::from(vec![1; 100]))
        .await
        .unwrap();
    let handle = store.get("t/object", None).await.unwrap();
    let second = store
        .put("t/object", Bytes::from(vec![2; 100]))
        .await
        .unwrap();
    assert_ne!(first.etag, second.etag);
    assert!(matches!(
        store.get("t/object", Some(&first.etag)).await,
        Err(Error::Changed { .. })
    ));
    match handle.read(0..100, BytesMut::new()).await {
        Ok(bytes) => assert!(bytes.iter().all(|&byte| byte == 1)),
        Err(error) => assert!(matches!(error, Error::Changed { .. }), "{error}"),
    }
}

#[tokio::test]
async fn a_write_that_is_broken_off_leaves_nothing() {
    let (folder, [local, memory]) = stores();
    for store in [&local, &memory] {
        let mut writer = store.create("t/r/object").await.unwrap();
        writer.write(Bytes::from(vec![7; 3 << 20])).await.unwrap();
        drop(writer);
        assert!(matches!(
            store.head("t/r/object").await,
            Err(Error::NotFound { .. })
        ));
    }
    // The write under way ends on its own thread.
    for _ in 0..100 {
        if local.list("t").await.unwrap().is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(local.list("t").await.unwrap(), [""; 0]);
    assert!(folder.path().join("objects/t/r").is_dir());
}

#[tokio::test]
async fn no_path_leads_out_of_the_store() {
    let (folder, stores) = stores();
    std::fs::write(folder.path().join("secret"), "secret").unwrap();
    for store in stores {
        for path in [
            "../secret",
            "t/../../secret",
            "/etc/passwd",
            "",
            "t//o",
            ".hidden",
            "t/./o",
            "t/o\0",
            "t\\..\\..\\secret",
            "t/.unfinished-1",
        ] {
            assert!(
                matches!(store.get(path, None).await, Err(Error::Invalid { .. })),
                "{path:?}"
            );
            assert!(
                matches!(store.create(path).await, Err(Error::Invalid { .. })),
                "{path:?}"
            );
            assert!(
                matches!(store.delete(path).await, Err(Error::Invalid { .. })),
                "{path:?}"
            );
        }
    }
}

#[test]
fn a_url_that_is_no_store_is_refused() {
    for url in [
        "",
        "objects",
        "file:objects",
        "http://host/bucket",
        "ftp://host",
    ] {
        assert!(
            matches!(Objects::open(url), Err(Error::Invalid { .. })),
            "{url}"
        );
    }
}

#[cfg(unix)]
#[tokio::test]
async fn files_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let (folder, [local, _]) = stores();
    local
        .put("t/r/object", Bytes::from_static(b"x"))
        .await
        .unwrap();
    let mode = |path: &str| {
        let metadata = std::fs::metadata(folder.path().join("objects").join(path)).unwrap();
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(
        (mode("t"), mode("t/r"), mode("t/r/object")),
        (0o700, 0o700, 0o600)
    );
}
