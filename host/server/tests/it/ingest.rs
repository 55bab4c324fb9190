//! Recordings in by HTTP, and the sealed file out.

use keyreel_format::{Header, SLOT_LEN};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::client::{self, Answer};
use crate::fixture::{Fixture, tenant};

/// A WAV file of so many samples.
fn wav(samples: u32) -> Vec<u8> {
    let len = samples * 2;
    let mut out = b"RIFF".to_vec();
    out.extend((36 + len).to_le_bytes());
    out.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    out.extend(8000_u32.to_le_bytes());
    out.extend(16000_u32.to_le_bytes());
    out.extend(b"\x02\0\x10\0data");
    out.extend(len.to_le_bytes());
    out.extend((0..samples).flat_map(|n| (((n * 37) % 8000) as i16).to_le_bytes()));
    out
}

async fn post(f: &Fixture, path: &str, body: &[u8]) -> Answer {
    let mut stream = head(f, path, body.len()).await;
    // The server may answer before it has read all of it.
    let _ = stream.write_all(body).await;
    client::read(&mut stream, false).await
}

async fn head(f: &Fixture, path: &str, len: usize) -> TcpStream {
    let mut stream = TcpStream::connect(f.address).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
         Content-Length: {len}\r\n\r\n",
        f.address, f.admin_token
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_recording_that_is_sent_plays() {
    let f = Fixture::new().await;
    let audio = wav(400_000);
    let path = "/api/v1/conversations/c-7/recordings?media=call&contentType=audio/wav\
                &startTime=2026-11-03T09:12:44Z&queue=Billing";
    let made = post(&f, path, &audio).await;
    assert_eq!(made.status, 201, "{made:?}");
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let shown = f
        .as_holder(&f.agent, "GET", &format!("/api/v1/recordings/{id}"))
        .await
        .json();
    assert_eq!(shown["conversationId"], "c-7");
    assert_eq!(shown["durationMs"], 50_000);
    assert_eq!(shown["queue"], "Billing");
    assert_eq!(shown["startTime"], "2026-11-03T09:12:44.000Z");
    let uri = f.media_uri(&f.agent, &id).await;
    assert_eq!(f.get(&uri, &[]).await.body, audio);

    // The sealed file: as it lies in the store, for an administrator.
    let sealed = f
        .as_holder(
            &f.admin_token,
            "GET",
            &format!("/api/v1/recordings/{id}/sealed"),
        )
        .await;
    assert_eq!(sealed.status, 200);
    assert_eq!(
        sealed.header("content-type"),
        Some("application/octet-stream")
    );
    let header = Header::parse(&sealed.body[..SLOT_LEN as usize]).unwrap();
    assert_eq!(header.identity().recording.as_str(), id);
    assert!(
        !sealed
            .body
            .windows(64)
            .any(|window| window == &audio[44..108])
    );
    let waveform = format!("/api/v1/recordings/{id}/sealed?part=waveform");
    assert_eq!(
        f.as_holder(&f.admin_token, "GET", &waveform).await.status,
        200
    );
    let none = format!("/api/v1/recordings/{id}/sealed?part=none");
    assert_eq!(f.as_holder(&f.admin_token, "GET", &none).await.status, 404);
    let actions = f.actions().await;
    for action in ["recording.sealed", "recording.sealed.read"] {
        assert!(
            actions.iter().any(|found| found == action),
            "{action}: {actions:?}"
        );
    }
    // No plaintext on the disk, nor anything left half done.
    let mut folders = vec![f.folder.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                let found = bytes.windows(64).any(|window| window == &audio[1000..1064]);
                assert!(!found, "plaintext in {}", path.display());
            }
        }
    }
}

#[tokio::test]
async fn the_same_request_again_is_no_second_recording() {
    let f = Fixture::new().await;
    let path = "/api/v1/conversations/c-7/recordings?media=call&recordingId=fixed-1";
    let audio = wav(8000);
    assert_eq!(post(&f, path, &audio).await.status, 201);
    for _ in 0..2 {
        let again = post(&f, path, &audio).await;
        assert_eq!(
            (again.status, again.json()),
            (200, json!({"id": "fixed-1"}))
        );
    }
    let other = "/api/v1/conversations/c-8/recordings?media=call&recordingId=fixed-1";
    let conflict = post(&f, other, &audio).await;
    assert_eq!(
        (conflict.status, conflict.problem()),
        (409, "conflict".to_owned())
    );
    // Two at the same time: one is made, both are told of it.
    let path = "/api/v1/conversations/c-7/recordings?media=call&recordingId=fixed-2";
    let (one, two) = tokio::join!(post(&f, path, &audio), post(&f, path, &audio));
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert!(matches!(statuses, [200, 201]), "{statuses:?}");
}

#[tokio::test]
async fn what_is_no_recording_leaves_nothing_behind() {
    let f = Fixture::with(|settings| settings.limits.recording_mib = 1).await;
    let base = "/api/v1/conversations/c-7/recordings";
    let call = format!("{base}?media=call");
    let table: [(&str, &[u8], u16, &str); 8] = [
        (&call, b"", 400, "bad-request"),
        (&call, b"this is a text, and no call", 400, "bad-request"),
        (&call, &wav(1 << 20), 413, "too-large"),
        (base, b"x", 400, "bad-request"),
        (&format!("{base}?media=fax"), b"x", 400, "bad-request"),
        (
            &format!("{base}?media=call&recordingId=a%20b"),
            b"x",
            400,
            "bad-request",
        ),
        (
            &format!("{base}?media=call&startTime=yesterday"),
            b"x",
            400,
            "bad-request",
        ),
        (
            &format!("{base}?media=call&unknown=1"),
            b"x",
            400,
            "bad-request",
        ),
    ];
    for (path, body, status, code) in table {
        let answer = post(&f, path, body).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (status, code),
            "{path}"
        );
    }
    // One that breaks off.
    let mut stream = head(&f, &format!("{call}&recordingId=cut"), 100_000).await;
    stream.write_all(&wav(8000)).await.unwrap();
    drop(stream);
    let folder = f.folder.path().join("objects/alpha/cut");
    for _ in 0..100 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let left = f.objects.list("alpha").await.unwrap();
    assert!(left.is_empty(), "{left:?} {}", folder.display());
    let listed = f
        .as_holder(&f.agent, "GET", "/api/v1/recordings")
        .await
        .json();
    assert_eq!(listed["entities"], json!([]));
}

#[tokio::test]
async fn a_tenant_has_its_share_of_the_places_and_does_not_hold_them_by_trickling() {
    let f = Fixture::with(|settings| {
        settings.limits.uploads = 8;
        settings.limits.uploads_per_tenant = 1;
        settings.limits.request_seconds = 2;
        settings.limits.upload_kib_per_second = 64;
    })
    .await;
    let path = "/api/v1/conversations/c-7/recordings?media=call";
    let mut stream = head(&f, path, 1 << 20).await;
    let trickling = tokio::spawn(async move {
        for piece in wav(100_000).chunks(1000) {
            if stream.write_all(piece).await.is_err() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        client::read(&mut stream, false).await
    });
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let none = post(&f, path, &wav(800)).await;
    assert_eq!(
        (none.status, none.problem()),
        (503, "unavailable".to_owned())
    );
    let said = none.json()["detail"].as_str().unwrap().to_owned();
    assert!(said.contains("limits.uploads_per_tenant"), "{said}");
    let slow = trickling.await.unwrap();
    assert_eq!(
        (slow.status, slow.problem()),
        (400, "bad-request".to_owned())
    );
    let said = slow.json()["detail"].as_str().unwrap().to_owned();
    assert!(said.contains("too slowly"), "{said}");
    let free = post(&f, path, &wav(800)).await;
    assert_eq!(free.status, 201, "{free:?}");
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_acknowledged() {
    let f = Fixture::new().await;
    f.keyring.purge(&tenant("alpha"));
    f.break_audit().await;
    let answer = post(
        &f,
        "/api/v1/conversations/c/recordings?media=call",
        &wav(800),
    )
    .await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.problem(), "audit-unavailable");
}
