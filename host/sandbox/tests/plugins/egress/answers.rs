//! What may come back, and how long it may take.

use std::time::{Duration, Instant};

use keyreel_keys::ErrorClass;

use super::server::{Reply, Server, ok};
use super::{Bench, assert_class, get, local, requests};

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_an_answer() {
    let other = Server::start(|_| Reply::Say(ok("followed"))).await;
    let location = other.origin();
    for status in [301, 302, 303, 307, 308] {
        let location = location.clone();
        let server = Server::start(move |_| {
            Reply::Say(
                format!(
                    "HTTP/1.1 {status} Moved\r\nlocation: {location}/\r\ncontent-length: 4\r\n\r\ngone"
                )
                .into_bytes(),
            )
        })
        .await;
        // Even to an origin that is granted and named.
        let mut egress = local(&server.origin());
        egress.origins.extend(local(&other.origin()).origins);
        let bench = Bench::new(egress).await;
        let both = format!("{} {}", server.origin(), other.origin());
        let configuration = requests(&both, &[("authority", &server.authority()), ("path", "/")]);
        assert_eq!(bench.ask(&configuration).await, format!("{status} gone"));
        assert_eq!(server.requests().len(), 1);
    }
    assert!(other.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_two_readers_could_read_differently_are_refused() {
    for (what, head) in [
        ("two lengths", "content-length: 2\r\ncontent-length: 3"),
        ("a list of lengths", "content-length: 2, 3"),
        ("a length that is none", "content-length: -2"),
        ("a signed length", "content-length: +2"),
        (
            "length and coding",
            "content-length: 2\r\ntransfer-encoding: chunked",
        ),
        (
            "coding and length",
            "transfer-encoding: chunked\r\ncontent-length: 2",
        ),
        ("an unknown coding", "transfer-encoding: gzip"),
        ("two codings", "transfer-encoding: gzip, chunked"),
        (
            "the same coding twice",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        ),
        ("a folded line", "x: y\r\n z\r\ncontent-length: 2"),
        ("a blank before the colon", "content-length : 2"),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n2\r\nok\r\n0\r\n\r\n");
        let server = Server::start(move |_| Reply::SayAndClose(answer.clone().into_bytes())).await;
        let said = Bench::new(local(&server.origin()))
            .await
            .ask(&get(&server.origin()))
            .await;
        assert!(
            said.contains("HttpProtocolError") || said.contains("HttpResponseTransferCoding"),
            "{what}: {said}"
        );
    }
    for (what, answer, expected) in [
        ("no HTTP", "SSH-2.0-x\r\n\r\n", "HttpProtocolError"),
        ("HTTP/0.9", "<html>hello</html>", "HttpProtocolError"),
        (
            "an upgrade",
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            "HttpUpgradeFailed",
        ),
        (
            "cut short",
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc",
            "HttpResponseIncomplete",
        ),
        (
            "a chunk cut short",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nabc",
            "HttpResponseIncomplete",
        ),
        ("nothing", "", "HttpResponseIncomplete"),
        (
            "a chunk of no length",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\nabc\r\n0\r\n\r\n",
            "HttpProtocolError",
        ),
    ] {
        let server = Server::start(move |_| Reply::SayAndClose(answer.into())).await;
        let said = Bench::new(local(&server.origin()))
            .await
            .ask(&get(&server.origin()))
            .await;
        assert!(said.contains(expected), "{what}: {said}");
    }
    // Chunks are well, and so is an answer that ends with its connection.
    for answer in [
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx: y\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nok",
    ] {
        let server = Server::start(move |_| Reply::SayAndClose(answer.into())).await;
        let said = Bench::new(local(&server.origin()))
            .await
            .ask(&get(&server.origin()))
            .await;
        assert_eq!(said, "200 ok", "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_headers_is_cut() {
    let many = "a: b\r\n".repeat(65);
    let few = "a: b\r\n".repeat(60);
    let long = format!("a: {}\r\n", "b".repeat(17 << 10));
    for (what, head, fits) in [
        ("many", many, false),
        ("long", long, false),
        ("few", few, true),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{head}content-length: 2\r\n\r\nok");
        let server = Server::start(move |_| Reply::SayAndClose(answer.clone().into_bytes())).await;
        let said = Bench::new(local(&server.origin()))
            .await
            .ask(&get(&server.origin()))
            .await;
        if fits {
            assert_eq!(said, "200 ok", "{what}");
        } else {
            assert!(
                said.contains("HttpResponseHeaderSectionSize"),
                "{what}: {said}"
            );
        }
    }
    for (what, first, rest) in [
        ("endless headers", "HTTP/1.1 200 OK\r\n", "a: b\r\n"),
        ("an endless header", "HTTP/1.1 200 OK\r\na: ", "bbbbbbbb"),
        ("an endless status line", "HTTP/1.1 200 ", "OKOKOKOK"),
    ] {
        let server = Server::start(move |_| Reply::Flood(first.into(), rest.into())).await;
        let bench = Bench::new(local(&server.origin())).await;
        let started = Instant::now();
        let said = bench.ask(&get(&server.origin())).await;
        assert!(
            said.contains("HttpResponseHeaderSectionSize"),
            "{what}: {said}"
        );
        assert!(started.elapsed() < Duration::from_secs(5), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_body_is_cut() {
    let chunk = format!("400\r\n{}\r\n", "x".repeat(0x400));
    for (what, head, rest) in [
        ("chunks", "transfer-encoding: chunked\r\n", chunk),
        ("until the end", "", "x".repeat(1024)),
        ("announced", "content-length: 1048577\r\n", "x".repeat(1024)),
        (
            "announced as huge",
            "content-length: 9223372036854775807\r\n",
            "x".repeat(1024),
        ),
    ] {
        let first = format!("HTTP/1.1 200 OK\r\n{head}\r\n");
        let server = Server::start(move |_| {
            Reply::Flood(first.clone().into_bytes(), rest.clone().into_bytes())
        })
        .await;
        let bench = Bench::new(local(&server.origin())).await;
        let started = Instant::now();
        let said = bench.ask(&get(&server.origin())).await;
        assert!(
            said.contains("HttpResponseBodySize(Some(1048576))"),
            "{what}: {said}"
        );
        assert!(started.elapsed() < Duration::from_secs(5), "{what}");
    }
    let whole = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: 1048576\r\n\r\n{}",
        "x".repeat(1 << 20)
    );
    let server = Server::start(move |_| Reply::Say(whole.clone().into_bytes())).await;
    let said = Bench::new(local(&server.origin()))
        .await
        .ask(&get(&server.origin()))
        .await;
    assert!(said.starts_with("200 xxx"), "{said}");
}

/// The guest is told in time to say so itself; a server that never answers costs no more than the
/// call's deadline, and its waiting no CPU time.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_server_costs_no_more_than_the_deadline() {
    let drip = |bytes: Vec<u8>| Reply::Drip(Duration::from_millis(40), bytes);
    type Make = Box<dyn Fn() -> Reply + Send + Sync>;
    let slow: [(&str, Make); 4] = [
        ("hangs", Box::new(|| Reply::SayAndHang(Vec::new()))),
        ("drips its head", Box::new(move || drip(ok("x")))),
        (
            "stops in its body",
            Box::new(|| {
                Reply::SayAndHang(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\nx".to_vec())
            }),
        ),
        (
            "continues for ever",
            Box::new(|| Reply::Flood(Vec::new(), b"HTTP/1.1 100 Continue\r\n\r\n".to_vec())),
        ),
    ];
    for (what, make) in slow {
        let server = Server::start(move |_| make()).await;
        let bench = Bench::new(local(&server.origin())).await;
        bench.configure("acme", &get(&server.origin()));
        let mut tries = 0;
        let error = loop {
            let started = Instant::now();
            let error = bench.within("acme", Duration::from_millis(500)).await;
            let took = started.elapsed();
            assert!(took < Duration::from_secs(4), "{what}: {took:?}");
            tries += 1;
            // It has 25 ms to say so, which a busy machine may not have for it.
            if error.code != "sandbox.deadline" || tries == 5 {
                break error;
            }
        };
        assert_eq!(error.code, "hostile.report", "{what}: {error}");
        assert!(
            error.message.contains("HttpResponseTimeout"),
            "{what}: {error}"
        );
    }
}

/// What a call needs before its guest begins is not the guest's to wait for: it is told in time all
/// the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_beginning_leaves_less_time_for_requests() {
    let server = Server::start(|_| Reply::SayAndHang(Vec::new())).await;
    let bench = Bench::new(local(&server.origin())).await;
    *bench.vault.slow.lock().unwrap() = Duration::from_millis(300);
    let mut codes = Vec::new();
    // Its last 40 ms may not be enough on a busy machine.
    while codes.len() < 5 {
        bench.configure("acme", &get(&server.origin()));
        let error = bench.within("acme", Duration::from_millis(800)).await;
        if error.code == "hostile.report" {
            return;
        }
        codes.push(error.code);
    }
    panic!("{codes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_part_of_an_exchange_has_its_own_time() {
    let server = Server::start(|_| Reply::SayAndHang(Vec::new())).await;
    let mut egress = local(&server.origin());
    egress.limits.first_byte = Duration::from_millis(100);
    let bench = Bench::new(egress).await;
    let started = Instant::now();
    let said = bench.ask(&get(&server.origin())).await;
    assert!(said.contains("HttpResponseTimeout"), "{said}");
    assert!(started.elapsed() < Duration::from_secs(2));

    let dripping =
        Server::start(|_| Reply::Drip(Duration::from_millis(10), ok(&"x".repeat(999)))).await;
    let mut egress = local(&dripping.origin());
    egress.limits.total = Duration::from_millis(700);
    let bench = Bench::new(egress).await;
    let started = Instant::now();
    let said = bench.ask(&get(&dripping.origin())).await;
    assert!(said.contains("HttpResponseTimeout"), "{said}");
    assert!(started.elapsed() < Duration::from_secs(3));

    // A network that never answers: neither a name nor a connection.
    struct Silence(bool);
    #[async_trait::async_trait]
    impl keyreel_sandbox::Network for Silence {
        async fn resolve(&self, _: &str) -> std::io::Result<Vec<std::net::IpAddr>> {
            if self.0 {
                std::future::pending::<()>().await;
            }
            Ok(vec!["93.184.215.14".parse().unwrap()])
        }
        async fn connect(&self, _: std::net::SocketAddr) -> std::io::Result<tokio::net::TcpStream> {
            std::future::pending().await
        }
    }
    for (names, expected) in [(true, "DnsTimeout"), (false, "ConnectionTimeout")] {
        let mut egress = local("http://keys.example");
        egress.network = std::sync::Arc::new(Silence(names));
        egress.limits.connect = Duration::from_millis(100);
        let said = Bench::new(egress)
            .await
            .ask(&get("http://keys.example"))
            .await;
        assert!(said.contains(expected), "{said}");
    }
}

/// 900 ms of waiting, on a CPU budget of 300 ms.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_an_answer_is_not_cpu_time() {
    let server = Server::start(|_| Reply::Later(Duration::from_millis(300), ok("late"))).await;
    let bench = Bench::new(local(&server.origin())).await;
    let thrice = requests(
        &server.origin(),
        &[
            ("authority", &server.authority()),
            ("path", "/"),
            ("times", "3"),
        ],
    );
    let started = Instant::now();
    assert_eq!(bench.ask(&thrice).await, "200 late | 200 late | 200 late");
    assert!(started.elapsed() >= Duration::from_millis(900));
}

/// A guest that does not wait for its answer is ended with its request at the deadline.
#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_of_the_call_comes_first() {
    let server = Server::start(|_| Reply::SayAndHang(Vec::new())).await;
    let bench = Bench::new(local(&server.origin())).await;
    let many = requests(
        &server.origin(),
        &[
            ("authority", &server.authority()),
            ("path", "/"),
            ("times", "16"),
        ],
    );
    bench.configure("acme", &many);
    let started = Instant::now();
    let error = bench.within("acme", Duration::from_millis(300)).await;
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
    // After the first, no request has any time left.
    if error.code != "hostile.report" {
        assert_eq!(error.code, "sandbox.deadline", "{error}");
        assert_class(&error, ErrorClass::Timeout);
    }
}
