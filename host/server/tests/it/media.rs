//! Playing: ranges, conditionals, headers, grants.

use std::time::Duration;

use keyreel_server::Settings;

use crate::client::{Answer, End};
use crate::fixture::{Fixture, plaintext};

/// A `Range` header, the status, and for 206 the first and last positions.
type Ranged = (&'static str, u16, Option<(usize, usize)>);
/// Headers, the status, and how many bytes from the start come.
type Conditional<'a> = (&'a [(&'a str, &'a str)], u16, usize);

const KEPT: &[(&str, &str)] = &[
    ("cache-control", "private, no-store"),
    ("x-content-type-options", "nosniff"),
    ("cross-origin-resource-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
    ("content-security-policy", "sandbox; default-src 'none'"),
];

fn assert_kept(answer: &Answer) {
    for (name, value) in KEPT {
        assert_eq!(answer.header(name), Some(*value), "{name}");
    }
    assert_eq!(answer.header("content-encoding"), None);
}

/// Lengths around every border that there is.
const LENGTHS: &[usize] = &[0, 1, 15, 16_383, 16_384, 16_385, 32_768, 100_000, 700_001];

#[tokio::test]
async fn the_whole_and_its_headers() {
    let fixture = Fixture::new().await;
    for len in LENGTHS {
        let id = format!("r{len}");
        let bytes = fixture.add_call(&id, *len).await;
        let uri = fixture.media_uri(&fixture.agent, &id).await;
        assert!(uri.ends_with("/audio.wav"), "{uri}");
        let answer = fixture.get(&uri, &[]).await;
        assert_eq!((answer.status, answer.end), (200, End::Whole), "{len}");
        assert!(answer.body == bytes, "{len}");
        assert_kept(&answer);
        assert_eq!(answer.header("content-type"), Some("audio/wav"));
        assert_eq!(
            answer.header("content-length"),
            Some(len.to_string().as_str())
        );
        assert_eq!(answer.header("accept-ranges"), Some("bytes"));
        assert_eq!(answer.header("content-range"), None);
        let etag = answer.header("etag").unwrap();
        assert!(etag.starts_with('"') && etag.len() == 34, "{etag}");
        let last = fixture.get(&uri, &[("Range", "bytes=-1")]).await;
        assert_eq!(last.status, if *len == 0 { 200 } else { 206 });
        assert_eq!(
            last.body,
            bytes.last().map(|b| vec![*b]).unwrap_or_default()
        );
    }
}

#[tokio::test]
async fn the_table_of_ranges() {
    let fixture = Fixture::new().await;
    let bytes = fixture.add_call("r", 1000).await;
    let uri = fixture.media_uri(&fixture.agent, "r").await;
    let table: &[Ranged] = &[
        ("bytes=-2000", 206, Some((0, 999))),
        ("bytes=5000-,0-5", 206, Some((0, 5))),
        ("bytes=5-4", 416, None),
        ("bytes=1000-", 416, None),
        ("items=0-5", 200, None),
        ("Bytes=0-5", 206, Some((0, 5))),
        ("bytes=0-5 , 10-20", 206, Some((0, 20))),
        ("bytes=0-5,,10-20", 206, Some((0, 20))),
        ("bytes=,0-5", 206, Some((0, 5))),
        ("bytes=00-05", 206, Some((0, 5))),
        ("bytes=0-99999999999999999999999", 206, Some((0, 999))),
        ("bytes=0-5,3-10", 206, Some((0, 10))),
        ("bytes=0-", 206, Some((0, 999))),
        ("bytes=0-1", 206, Some((0, 1))),
        ("bytes=999-", 206, Some((999, 999))),
        ("bytes=-0", 416, None),
        ("bytes=abc", 416, None),
    ];
    for (range, status, expected) in table {
        let answer = fixture.get(&uri, &[("Range", range)]).await;
        assert_eq!(
            (answer.status, answer.end),
            (*status, End::Whole),
            "{range}"
        );
        assert_kept(&answer);
        assert_eq!(answer.header("accept-ranges"), Some("bytes"), "{range}");
        match (status, expected) {
            (206, Some((first, last))) => {
                assert_eq!(
                    answer.header("content-range"),
                    Some(format!("bytes {first}-{last}/1000").as_str())
                );
                assert_eq!(answer.body, bytes[*first..=*last], "{range}");
            }
            (416, _) => {
                assert_eq!(
                    answer.header("content-range"),
                    Some("bytes */1000"),
                    "{range}"
                );
                assert_eq!(answer.problem(), "range-not-satisfiable");
            }
            _ => assert_eq!(answer.body, bytes, "{range}"),
        }
    }
}

#[tokio::test]
async fn a_thousand_random_ranges_are_slices_of_the_plaintext() {
    let fixture = Fixture::new().await;
    let len = 1_300_007_usize;
    let bytes = fixture.add_call("r", len).await;
    let uri = fixture.media_uri(&fixture.agent, "r").await;
    let before = fixture.provider.unwraps();
    let mut seed = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    for round in 0..1000 {
        let first = random(len);
        // Mostly small, some over many spans.
        let most = if round % 20 == 0 {
            len - first
        } else {
            (len - first).min(40_000)
        };
        let last = first + random(most);
        let range = format!("bytes={first}-{last}");
        let answer = fixture.get(&uri, &[("Range", &range)]).await;
        assert_eq!((answer.status, answer.end), (206, End::Whole), "{range}");
        assert!(answer.body == bytes[first..=last], "{range}");
    }
    assert_eq!(
        fixture.provider.unwraps(),
        before + 1,
        "one unwrap for all of it"
    );
}

#[tokio::test]
async fn several_ranges_are_multipart_byte_for_byte() {
    let fixture = Fixture::new().await;
    let bytes = fixture.add_call("r", 200_000).await;
    let uri = fixture.media_uri(&fixture.agent, "r").await;
    let ranges = [(150_000, 199_999), (0, 9), (16_000, 50_000)];
    let header = "bytes=150000-,0-9, 16000-50000";
    let answer = fixture.get(&uri, &[("Range", header)]).await;
    assert_eq!((answer.status, answer.end), (206, End::Whole));
    assert_eq!(answer.header("content-range"), None);
    let content_type = answer.header("content-type").unwrap();
    let boundary = content_type
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    let mut expected = Vec::new();
    for (index, (first, last)) in ranges.iter().enumerate() {
        let before = if index == 0 { "" } else { "\r\n" };
        expected.extend_from_slice(
            format!(
                "{before}--{boundary}\r\nContent-Type: audio/wav\r\n\
                 Content-Range: bytes {first}-{last}/200000\r\n\r\n"
            )
            .as_bytes(),
        );
        expected.extend_from_slice(&bytes[*first..=*last]);
    }
    expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    assert!(answer.body == expected);
}

#[tokio::test]
async fn conditionals_come_before_ranges() {
    let fixture = Fixture::new().await;
    let bytes = fixture.add_call("r", 1000).await;
    let uri = fixture.media_uri(&fixture.agent, "r").await;
    let first = fixture.get(&uri, &[]).await;
    let etag = first.header("etag").unwrap();
    let modified = first.header("last-modified").unwrap();
    let weak = format!("W/{etag}");
    let range = ("Range", "bytes=0-5");
    let table: &[Conditional<'_>] = &[
        (&[("If-None-Match", etag)], 304, 0),
        (&[("If-None-Match", &weak)], 304, 0),
        (&[("If-None-Match", "*")], 304, 0),
        (&[range, ("If-None-Match", etag)], 304, 0),
        (&[("If-None-Match", "\"other\"")], 200, 1000),
        (&[("If-Match", etag)], 200, 1000),
        (&[("If-Match", &weak)], 412, usize::MAX),
        (&[range, ("If-Match", "\"other\"")], 412, usize::MAX),
        (&[("If-Modified-Since", modified)], 304, 0),
        (&[("If-Unmodified-Since", modified)], 200, 1000),
        (
            &[("If-Unmodified-Since", "Sun, 06 Nov 1994 08:49:37 GMT")],
            412,
            usize::MAX,
        ),
        (&[range, ("If-Range", etag)], 206, 6),
        (&[range, ("If-Range", &weak)], 200, 1000),
        (&[range, ("If-Range", "\"other\"")], 200, 1000),
        (&[range, ("If-Range", modified)], 206, 6),
        (
            &[range, ("If-Range", "Sun, 06 Nov 1994 08:49:37 GMT")],
            200,
            1000,
        ),
    ];
    for (headers, status, len) in table {
        let answer = fixture.get(&uri, headers).await;
        assert_eq!(
            (answer.status, answer.end),
            (*status, End::Whole),
            "{headers:?}"
        );
        assert_kept(&answer);
        assert_eq!(answer.header("etag"), Some(etag), "{headers:?}");
        if *status == 412 {
            assert_eq!(answer.problem(), "precondition-failed");
        } else {
            assert_eq!(answer.body, bytes[..*len], "{headers:?}");
        }
    }
}

/// HEAD, 304, 412 and 416 end before any key is touched.
#[tokio::test]
async fn what_needs_no_plaintext_calls_no_provider() {
    let fixture = Fixture::new().await;
    let bytes = fixture.add_call("r", 1000).await;
    let uri = fixture.media_uri(&fixture.agent, "r").await;
    let before = fixture.provider.unwraps();
    let head = fixture
        .send("HEAD", &uri, &[("Range", "bytes=0-5")], None)
        .await;
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-length"), Some("1000"));
    assert_eq!(head.header("accept-ranges"), Some("bytes"));
    assert_eq!(head.header("content-type"), Some("audio/wav"));
    assert!(head.body.is_empty());
    assert_kept(&head);
    let etag = head.header("etag").unwrap();
    assert_eq!(
        fixture
            .send("HEAD", &uri, &[("If-None-Match", etag)], None)
            .await
            .status,
        304
    );
    let unchanged = fixture.get(&uri, &[("If-None-Match", etag)]).await;
    assert_eq!(unchanged.status, 304);
    // It would be the length of what the client has.
    assert_eq!(unchanged.header("content-length"), None);
    let elsewhere = uri.replace("/media/", "/nowhere/");
    let refused = fixture.send("HEAD", &elsewhere, &[], None).await;
    assert_eq!((refused.status, refused.body.len()), (404, 0));
    let length = refused.header("content-length").unwrap();
    assert!(length.parse::<usize>().unwrap() > 0);
    assert_eq!(
        fixture.get(&uri, &[("If-Match", "\"x\"")]).await.status,
        412
    );
    assert_eq!(
        fixture.get(&uri, &[("Range", "bytes=1000-")]).await.status,
        416
    );
    assert_eq!(fixture.provider.unwraps(), before);
    assert!(
        !fixture
            .actions()
            .await
            .iter()
            .any(|action| action == "play.started")
    );
    let answer = fixture.get(&uri, &[]).await;
    assert_eq!(answer.body, bytes);
    assert_eq!(fixture.provider.unwraps(), before + 1);
}

#[tokio::test]
async fn all_parts_open_with_one_unwrap() {
    let fixture = Fixture::new().await;
    let (media, waveform, transcript) = (plaintext(50_000), plaintext(300), plaintext(20_000));
    fixture
        .add(
            "alpha",
            "r",
            &[
                ("media", "audio/ogg", &media),
                ("waveform", "application/json", &waveform),
                ("transcript", "application/json", &transcript),
            ],
        )
        .await;
    let before = fixture.provider.unwraps();
    let answer = fixture
        .as_holder(&fixture.agent, "POST", "/api/v1/recordings/r/playback")
        .await
        .json();
    for (name, bytes, file) in [
        ("mediaUri", &media, "audio.ogg"),
        ("waveformUri", &waveform, "waveform.json"),
        ("transcriptUri", &transcript, "transcript.json"),
    ] {
        let uri = answer[name].as_str().unwrap();
        assert!(uri.ends_with(file), "{uri}");
        assert!(fixture.get(uri, &[]).await.body == *bytes, "{name}");
    }
    assert_eq!(fixture.provider.unwraps(), before + 1);
    let uri = answer["mediaUri"].as_str().unwrap();
    let other = uri.replace("audio.ogg", "audio.wav");
    assert_eq!(fixture.get(&other, &[]).await.problem(), "not-found");
    let events = fixture.actions().await;
    assert_eq!(
        events
            .iter()
            .filter(|action| *action == "play.started")
            .count(),
        1,
        "{events:?}"
    );
}

#[tokio::test]
async fn a_grant_opens_what_it_was_made_for_and_nothing_else() {
    let fixture = Fixture::new().await;
    fixture.add_call("one", 1000).await;
    fixture.add_call("two", 1000).await;
    let one = fixture.media_uri(&fixture.agent, "one").await;
    assert_eq!(fixture.get(&one, &[]).await.status, 200);

    // Changed anywhere, it is none.
    let grant = one.split('/').nth(2).unwrap();
    for at in (0..grant.len()).step_by(7) {
        let mut changed = grant.as_bytes().to_vec();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        let answer = fixture
            .get(&format!("/media/{changed}/audio.wav"), &[])
            .await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (403, "denied"),
            "{at}"
        );
        assert_kept(&answer);
    }
    // With somebody else's token.
    let stranger = format!("Bearer {}", fixture.stranger);
    let answer = fixture.get(&one, &[("Authorization", &stranger)]).await;
    assert_eq!((answer.status, answer.problem().as_str()), (403, "denied"));
    // With its own it is as good as alone.
    let own = format!("Bearer {}", fixture.agent);
    assert_eq!(
        fixture.get(&one, &[("Authorization", &own)]).await.status,
        200
    );
    // After its time.
    fixture.clock.advance(Duration::from_secs(59 * 60));
    assert_eq!(fixture.get(&one, &[]).await.status, 200);
    fixture.clock.advance(Duration::from_secs(61));
    assert_eq!(fixture.get(&one, &[]).await.problem(), "denied");
}

#[tokio::test]
async fn a_grant_of_a_session_needs_its_cookie() {
    let fixture = Fixture::new().await;
    let bytes = fixture.add_call("r", 1000).await;
    let cookie = fixture.session().await;
    let other = fixture.session().await;
    let own = ("Sec-Fetch-Site", "same-origin");
    let mark = ("X-Keyreel", "1");
    let path = "/api/v1/recordings/r/playback";
    let answer = fixture
        .send("POST", path, &[("Cookie", &cookie), own, mark], None)
        .await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let body = answer.json();
    let uri = body["mediaUri"].as_str().unwrap();
    assert_eq!(fixture.get(uri, &[("Cookie", &cookie)]).await.body, bytes);
    assert_eq!(fixture.get(uri, &[]).await.problem(), "unauthenticated");
    assert_eq!(
        fixture.get(uri, &[("Cookie", &other)]).await.problem(),
        "denied"
    );
    let bearer = format!("Bearer {}", fixture.agent);
    assert_eq!(
        fixture
            .get(uri, &[("Authorization", &bearer)])
            .await
            .problem(),
        "unauthenticated"
    );
    // Signed out, the grant is worth nothing.
    let headers = [("Cookie", cookie.as_str()), own, mark];
    let out = fixture
        .send("DELETE", "/api/v1/session", &headers, None)
        .await;
    assert_eq!(out.status, 204);
    assert_eq!(
        fixture.get(uri, &[("Cookie", &cookie)]).await.problem(),
        "unauthenticated"
    );
}

#[tokio::test]
async fn without_bare_grants_the_token_has_to_come_along() {
    let fixture =
        Fixture::with(|settings: &mut Settings| settings.playback.bare_grants = false).await;
    fixture.add_call("r", 1000).await;
    let uri = fixture.media_uri(&fixture.agent, "r").await;
    assert_eq!(fixture.get(&uri, &[]).await.problem(), "unauthenticated");
    let own = format!("Bearer {}", fixture.agent);
    assert_eq!(
        fixture.get(&uri, &[("Authorization", &own)]).await.status,
        200
    );
}

#[tokio::test]
async fn many_streams_at_once_get_their_own_bytes() {
    let fixture = std::sync::Arc::new(Fixture::new().await);
    let bytes = std::sync::Arc::new(fixture.add_call("r", 3_000_000).await);
    let uri = fixture.media_uri(&fixture.agent, "r").await;
    let before = fixture.provider.unwraps();
    let mut streams = tokio::task::JoinSet::new();
    for stream in 0..24_usize {
        let (fixture, bytes, uri) = (fixture.clone(), bytes.clone(), uri.clone());
        streams.spawn(async move {
            let first = stream * 100_001;
            let range = format!("bytes={first}-");
            let answer = fixture.get(&uri, &[("Range", &range)]).await;
            assert_eq!((answer.status, answer.end), (206, End::Whole));
            assert!(answer.body == bytes[first..], "{first}");
        });
    }
    streams.join_all().await;
    assert_eq!(fixture.provider.unwraps(), before + 1);
}

/// The player's first request finds its file open. No key is asked for until it comes.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_grant_opens_the_file_ahead() {
    let fixture = Fixture::new().await;
    let bytes = fixture.add_call("r", 40_000).await;
    let before = fixture.provider.unwraps();
    let uri = fixture.media_uri(&fixture.agent, "r").await;
    let object = fixture.object("r", "media");
    let is_open = || {
        let open = std::fs::read_dir("/proc/self/fd").unwrap();
        let mut open = open.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
        open.any(|path| path == object)
    };
    for _ in 0..500 {
        if is_open() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(is_open());
    assert_eq!(fixture.provider.unwraps(), before);
    // What was opened is what is played, whatever becomes of the name.
    std::fs::remove_file(&object).unwrap();
    assert_eq!(fixture.get(&uri, &[]).await.body, bytes);
}
