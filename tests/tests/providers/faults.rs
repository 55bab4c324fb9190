//! Each fault of a table makes one play fail, with the right class in the audit log and the right
//! status for the listener; without the fault the same recording plays; and no log holds a secret.
//! Not for: what a provider does when all is well.

mod kms;
mod lkm;
mod managed;

use std::time::Duration;

use keyreel_keys::{ErrorClass, RecordingId};

use crate::front::{Fault, Then};
use crate::rig::{Rig, Service, UNWRAP_LIMIT};

/// What a play that fails takes beyond the unwrap, on a busy machine.
const MARGIN: Duration = Duration::from_secs(5);

/// One row.
pub(crate) struct Row {
    name: &'static str,
    fault: How,
    class: ErrorClass,
    status: u16,
}

/// How a fault comes about.
enum How {
    /// The key service's front does it.
    Front(Fault),
    /// The configuration names an address where nobody listens.
    Refused,
    /// … where connections hang.
    Hung,
    /// … by https, which nobody speaks there.
    NoTls,
}

/// A row of a table.
fn row(name: &'static str, fault: Fault, class: ErrorClass, status: u16) -> Row {
    Row {
        name,
        fault: How::Front(fault),
        class,
        status,
    }
}

/// What goes wrong between any two HTTP servers. What is behind it cannot be told from these, so
/// the classes are the same for every key service.
fn of_any_service() -> Vec<Row> {
    use ErrorClass as C;
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n".to_vec();
    let with = |more: &str| [head.clone(), more.as_bytes().to_vec()].concat();
    let at = |name, fault, class, status| Row {
        name,
        fault,
        class,
        status,
    };
    vec![
        at("connection refused", How::Refused, C::Unavailable, 503),
        at("connection hangs", How::Hung, C::Timeout, 504),
        at("TLS fails", How::NoTls, C::Unavailable, 503),
        row(
            "closed before the answer",
            Fault::Raw(Vec::new(), Then::Close),
            C::Unavailable,
            503,
        ),
        row(
            "reset before the answer",
            Fault::Raw(Vec::new(), Then::Reset),
            C::Unavailable,
            503,
        ),
        row(
            "reset within the head",
            Fault::Raw(b"HTTP/1.1 200 OK\r\ncont".to_vec(), Then::Reset),
            C::Unavailable,
            503,
        ),
        row(
            "closed within the body",
            Fault::Raw(with("content-length: 900\r\n\r\n{\"bo"), Then::Close),
            C::Unavailable,
            503,
        ),
        row(
            "reset within the body",
            Fault::Raw(with("content-length: 900\r\n\r\n{\"bo"), Then::Reset),
            C::Unavailable,
            503,
        ),
        row(
            "hangs before the answer",
            Fault::Raw(Vec::new(), Then::Hang),
            C::Timeout,
            504,
        ),
        row(
            "hangs within the body",
            Fault::Raw(with("content-length: 900\r\n\r\n{\"bo"), Then::Hang),
            C::Timeout,
            504,
        ),
        row(
            "drips",
            Fault::Drip(with("content-length: 900\r\n\r\n")),
            C::Timeout,
            504,
        ),
        row(
            "endless body",
            Fault::Endless(with("\r\n"), vec![b' '; 4096]),
            C::Internal,
            502,
        ),
        row(
            "endless head",
            Fault::Endless(head.clone(), b"x-more: and more\r\n".repeat(100)),
            C::Internal,
            502,
        ),
        row(
            "not HTTP",
            Fault::Raw(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), Then::Hang),
            C::Internal,
            502,
        ),
        row(
            "two lengths",
            Fault::Raw(
                with("content-length: 2\r\ncontent-length: 3\r\n\r\n{}x"),
                Then::Close,
            ),
            C::Internal,
            502,
        ),
        row(
            "length cuts the body",
            Fault::Raw(with("content-length: 1\r\n\r\n{}"), Then::Close),
            C::Internal,
            502,
        ),
        row("a page and 200", Fault::page(200), C::Internal, 502),
        row(
            "empty and 200",
            Fault::answer(200, &[], ""),
            C::Internal,
            502,
        ),
        row("204", Fault::answer(204, &[], ""), C::Internal, 502),
        row(
            "truncated JSON",
            Fault::answer(200, &[], "{\"body\":\"AAEC"),
            C::Internal,
            502,
        ),
        row(
            "JSON of another type",
            Fault::answer(200, &[], "[1, 2]"),
            C::Internal,
            502,
        ),
        row(
            "JSON without what matters",
            Fault::answer(200, &[], "{}"),
            C::Internal,
            502,
        ),
        row(
            "compressed",
            Fault::answer(
                200,
                &[("content-encoding", "gzip")],
                b"\x1f\x8b\x08\0\0\0\0\0\0\x03",
            ),
            C::Internal,
            502,
        ),
        row(
            "301",
            Fault::answer(301, &[("location", "http://127.0.0.1/")], ""),
            C::Config,
            500,
        ),
        row("429", Fault::page(429), C::Throttled, 503),
        row("500", Fault::page(500), C::Unavailable, 503),
        row("502", Fault::page(502), C::Unavailable, 503),
        row("503", Fault::page(503), C::Unavailable, 503),
        row("504", Fault::page(504), C::Timeout, 504),
    ]
}

/// Goes through a table. Gives how many faults there were.
async fn run(rig: &Rig, tenant: &str, service: &Service, table: Vec<Row>) -> usize {
    let count = table.len();
    let working = format!("http://{}", service.front.address);
    for row in table {
        let (recording, plaintext) = rig.recording(tenant).await;
        let elsewhere = match &row.fault {
            How::Front(fault) => {
                service.front.fail(fault.clone());
                None
            }
            How::Refused => Some(format!("http://{}", service.closed)),
            How::Hung => Some(format!("http://{}", service.hung)),
            How::NoTls => Some(format!("https://{}", service.front.address)),
        };
        if let Some(elsewhere) = &elsewhere {
            rig.reconfigure(service, &working, elsewhere).await;
        }
        let started = std::time::Instant::now();
        check(rig, tenant, &recording, &row).await;
        let took = started.elapsed();
        assert!(took < UNWRAP_LIMIT + MARGIN, "{}: {took:?}", row.name);

        service.front.fail(Fault::None);
        if elsewhere.is_some() {
            rig.reconfigure(service, &working, &working).await;
        }
        // Refusals are remembered for a while; a purge forgets them.
        rig.keyring.purge(&crate::rig::tenant(tenant));
        let played = rig.play(tenant, &recording).await;
        assert_eq!(played.status, 200, "after {}: {:?}", row.name, played.code);
        assert!(played.body == plaintext, "after {}", row.name);
    }
    count
}

/// One play that fails as it should, and what the record says of it.
async fn check(rig: &Rig, tenant: &str, recording: &RecordingId, row: &Row) {
    let played = rig.play(tenant, recording).await;
    let (name, class) = (row.name, row.class);
    let audit = rig.audit(tenant, recording).await;
    let lines: Vec<_> = audit
        .iter()
        .map(|event| (event.action.as_str(), event.outcome.as_str()))
        .collect();
    let mut expected = vec![
        ("key.unwrap.requested", "ok"),
        ("key.unwrap.refused", class.as_str()),
    ];
    if class == ErrorClass::Integrity {
        expected.push(("integrity.failed", "integrity"));
    }
    assert_eq!(lines, expected, "{name}: {:?} {audit:?}", played.code);
    assert_eq!(played.status, row.status, "{name}: {:?}", played.code);
    let refused = &audit[1].fields;
    for field in [
        "provider",
        "kek",
        "algorithm",
        "code",
        "latencyMs",
        "requestId",
    ] {
        assert!(
            refused.contains_key(field),
            "{name}: {field} in {refused:?}"
        );
    }
    assert_eq!(played.retry_after.is_some(), played.status == 503, "{name}");
    // What the key service said reaches nobody.
    let problem = String::from_utf8_lossy(&played.body);
    for said in ["proxy's own", "said by the key service", "127.0.0.1"] {
        assert!(!problem.contains(said), "{name}: {problem}");
    }
}
