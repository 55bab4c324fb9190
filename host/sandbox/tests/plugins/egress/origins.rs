//! Where requests go, and where they do not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use keyreel_sandbox::{Egress, OriginGrant};

use super::server::{Reply, Server, ok};
use super::{Bench, Rebinding, get, local, requests};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_granted_and_named_goes_out() {
    let server = Server::start(|_| Reply::Say(ok("hello"))).await;
    let bench = Bench::new(local(&server.origin())).await;
    let authority = server.authority();
    let post = requests(
        &server.origin(),
        &[
            ("method", "post"),
            ("authority", &authority),
            ("path", "/a?b=c"),
            ("headers", "content-length: 3|x-y: z"),
            ("body", "abc"),
        ],
    );
    assert_eq!(bench.ask(&post).await, "200 hello");
    let seen = server.requests();
    assert_eq!(seen.len(), 1);
    assert!(
        seen[0].head.starts_with("POST /a?b=c HTTP/1.1\r\n"),
        "{}",
        seen[0].head
    );
    assert_eq!(seen[0].header("host"), Some(authority.as_str()));
    assert_eq!(seen[0].header("x-y"), Some("z"));
    assert_eq!(seen[0].body, b"abc");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_needs_both_a_grant_and_the_configuration() {
    let server = Server::start(|_| Reply::Say(ok("hello"))).await;
    let other = Server::start(|_| Reply::Say(ok("hello"))).await;
    // Neither grant nor default: nothing is granted.
    let bench = Bench::new(Egress::default()).await;
    let said = bench.ask(&get(&server.origin())).await;
    assert!(said.contains("HttpRequestDenied"), "{said}");

    let bench = Bench::new(local(&server.origin())).await;
    let authority = other.authority();
    for (why, configuration) in [
        ("not granted", get(&other.origin())),
        (
            "granted, not named",
            requests(
                "https://elsewhere.example",
                &[("authority", &server.authority()), ("path", "/")],
            ),
        ),
        (
            "nothing named",
            requests("", &[("authority", &server.authority()), ("path", "/")]),
        ),
        (
            "another port than the one granted and named",
            requests(
                &server.origin(),
                &[("authority", &authority), ("path", "/")],
            ),
        ),
        (
            "https where http is granted",
            requests(
                &server.origin(),
                &[
                    ("scheme", "https"),
                    ("authority", &server.authority()),
                    ("path", "/"),
                ],
            ),
        ),
        (
            "another name of the same address",
            get(&format!("http://localhost:{}", server.address.port())),
        ),
    ] {
        let said = bench.ask(&configuration).await;
        assert!(said.contains("HttpRequestDenied"), "{why}: {said}");
    }
    assert!(server.requests().is_empty() && other.requests().is_empty());
    assert_eq!(bench.ask(&get(&server.origin())).await, "200 hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_spelling_of_an_origin_and_no_other() {
    let server = Server::start(|_| Reply::Say(ok("reached"))).await;
    let bench = Bench::new(local(&server.origin())).await;
    let port = server.address.port();
    for authority in [
        format!("[::ffff:127.0.0.1]:{port}"),
        format!("[::ffff:7f00:1]:{port}"),
        format!("2130706433:{port}"),
        format!("0x7f000001:{port}"),
        format!("0x7f.0.0.1:{port}"),
        format!("0177.0.0.1:{port}"),
        format!("017700000001:{port}"),
        format!("127.1:{port}"),
        format!("127.0.0.1.:{port}"),
        format!("user@127.0.0.1:{port}"),
        format!("user:password@127.0.0.1:{port}"),
        format!("127.0.0.1@elsewhere.example:{port}"),
        format!("127.0.0.1:0{port}"),
        format!("127.0.0.1:+{port}"),
        format!("127.0.0.1:{}", u32::from(port) + 65536),
        "127.0.0.1:".to_owned(),
        String::new(),
    ] {
        // Named by the configuration as well, to no avail.
        let named = format!("{} http://{authority}", server.origin());
        let said = bench
            .ask(&requests(
                &named,
                &[("authority", &authority), ("path", "/")],
            ))
            .await;
        assert!(!said.starts_with("200"), "{authority}: {said}");
    }
    assert!(server.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_are_not_authorities() {
    let server = Server::start(|_| Reply::Say(ok("reached"))).await;
    let other = Server::start(|_| Reply::Say(ok("reached"))).await;
    let bench = Bench::new(local(&server.origin())).await;
    let elsewhere = other.authority();
    for path in [
        format!("//{elsewhere}/"),
        format!("http://{elsewhere}/"),
        format!("{elsewhere}/"),
        format!("@{elsewhere}/"),
        format!(":80@{elsewhere}/"),
        "/a b".to_owned(),
        "/a HTTP/1.1".to_owned(),
        "*".to_owned(),
        "/ü".to_owned(),
    ] {
        let said = bench
            .ask(&requests(
                &server.origin(),
                &[("authority", &server.authority()), ("path", &path)],
            ))
            .await;
        assert!(!said.starts_with("200"), "{path}: {said}");
    }
    // A fragment is the client's own and goes nowhere.
    let said = bench
        .ask(&requests(
            &server.origin(),
            &[("authority", &server.authority()), ("path", "/a#b")],
        ))
        .await;
    assert_eq!(said, "200 reached");
    let heads: Vec<String> = server
        .requests()
        .into_iter()
        .map(|seen| seen.head)
        .collect();
    assert!(
        heads.len() == 1 && heads[0].starts_with("GET /a HTTP/1.1\r\n"),
        "{heads:?}"
    );
    assert!(other.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_and_headers_that_are_not_a_plugins_are_refused() {
    let server = Server::start(|_| Reply::Say(ok("reached"))).await;
    let bench = Bench::new(local(&server.origin())).await;
    let authority = server.authority();
    let ask = async |name: &str, value: &str, body: Option<&str>| {
        let mut more = vec![
            ("authority", authority.as_str()),
            ("path", "/"),
            (name, value),
        ];
        more.extend(body.map(|body| ("body", body)));
        bench.ask(&requests(&server.origin(), &more)).await
    };
    for headers in [
        // The host that the server reads is the origin that was checked.
        "host: elsewhere.example",
        "Host: 127.0.0.1:1",
        "connection: upgrade",
        "transfer-encoding: chunked",
        "te: trailers",
        "upgrade: websocket",
        "proxy-authorization: Basic eA==",
        "expect: 100-continue",
        "keyreel-anything: x",
        "content-length: 5",
        "content-length: x",
        "content-length: 3|content-length: 4",
    ] {
        let said = ask("headers", headers, None).await;
        assert!(!said.starts_with("200"), "{headers}: {said}");
    }
    for (headers, body) in [("content-length: 5", "abc"), ("content-length: 1", "abc")] {
        let said = ask("headers", headers, Some(body)).await;
        assert!(!said.starts_with("200"), "{headers}: {said}");
    }
    for method in ["connect", "trace", "PROPFIND"] {
        let said = ask("method", method, None).await;
        assert!(
            said.contains("HttpRequestMethodInvalid"),
            "{method}: {said}"
        );
    }
    assert!(server.requests().is_empty(), "{:?}", server.requests());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_has_a_bound() {
    let server = Server::start(|_| Reply::Say(ok("reached"))).await;
    let mut egress = local(&server.origin());
    egress.limits.request_bytes = 100_000;
    let bench = Bench::new(egress).await;
    for (length, goes_out) in [(100_000, true), (100_001, false)] {
        let said = bench
            .ask(&requests(
                &server.origin(),
                &[
                    ("method", "post"),
                    ("authority", &server.authority()),
                    ("path", "/"),
                    ("body", &"x".repeat(length)),
                ],
            ))
            .await;
        assert_eq!(said == "200 reached", goes_out, "{length}: {said}");
    }
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn private_addresses_need_a_grant_that_says_so() {
    let server = Server::start(|_| Reply::Say(ok("reached"))).await;
    let grant = || OriginGrant::parse("http://keys.example").unwrap();
    for addresses in [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "198.51.100.1",
        "::1",
        "::ffff:93.184.215.14",
        "fd00::1",
        "fe80::1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::1",
        // One bad address among good ones.
        "93.184.215.14 127.0.0.1",
        "2600::1 fd00::1",
    ] {
        let network = Rebinding::new(server.address, &[addresses]);
        let egress = Egress {
            origins: vec![grant()],
            network: Arc::clone(&network) as _,
            ..Egress::default()
        };
        let said = Bench::new(egress)
            .await
            .ask(&get("http://keys.example"))
            .await;
        assert!(
            said.contains("DestinationIpProhibited"),
            "{addresses}: {said}"
        );
        assert_eq!(network.connected(), [""; 0], "{addresses}");

        let network = Rebinding::new(server.address, &[addresses]);
        let egress = Egress {
            origins: vec![grant().with_private_addresses()],
            network: Arc::clone(&network) as _,
            ..Egress::default()
        };
        let said = Bench::new(egress)
            .await
            .ask(&get("http://keys.example"))
            .await;
        assert_eq!(said, "200 reached", "{addresses}");
    }
    for addresses in ["0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "ff02::1"] {
        let network = Rebinding::new(server.address, &[addresses]);
        let egress = Egress {
            origins: vec![grant().with_private_addresses()],
            network: Arc::clone(&network) as _,
            ..Egress::default()
        };
        let said = Bench::new(egress)
            .await
            .ask(&get("http://keys.example"))
            .await;
        assert!(
            said.contains("DestinationIpProhibited"),
            "{addresses}: {said}"
        );
        assert_eq!(network.connected(), [""; 0], "{addresses}");
    }
    // An address written as one is no exception.
    let egress = Egress {
        origins: vec![OriginGrant::parse(&server.origin()).unwrap()],
        ..Egress::default()
    };
    let before = server.requests().len();
    let said = Bench::new(egress).await.ask(&get(&server.origin())).await;
    assert!(said.contains("DestinationIpProhibited"), "{said}");
    assert_eq!(server.requests().len(), before);
}

/// The name is public when it is checked, and this machine when it is asked again: it never is
/// asked again for the same connection, and the next connection checks anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_not_rebound() {
    let closing = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx";
    let server = Server::start(|_| Reply::SayAndClose(closing.to_vec())).await;
    let network = Rebinding::new(server.address, &["93.184.215.14", "127.0.0.1"]);
    let egress = Egress {
        origins: vec![OriginGrant::parse("http://keys.example:8080").unwrap()],
        network: Arc::clone(&network) as _,
        ..Egress::default()
    };
    let bench = Bench::new(egress).await;
    assert_eq!(bench.ask(&get("http://keys.example:8080")).await, "200 x");
    assert_eq!(network.connected(), ["93.184.215.14:8080"]);
    let said = bench.again("acme").await;
    assert!(said.contains("DestinationIpProhibited"), "{said}");
    assert_eq!(network.connected().len(), 1);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_address_is_tried() {
    let server = Server::start(|_| Reply::Say(ok("reached"))).await;
    // Nobody listens on a port that was just given back.
    let closed = std::net::TcpListener::bind("127.0.0.2:0").unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    struct Two(std::net::SocketAddr, std::net::SocketAddr);
    #[async_trait::async_trait]
    impl keyreel_sandbox::Network for Two {
        async fn resolve(&self, _: &str) -> std::io::Result<Vec<std::net::IpAddr>> {
            Ok(vec![
                "93.184.215.14".parse().unwrap(),
                "93.184.215.15".parse().unwrap(),
            ])
        }
        async fn connect(
            &self,
            to: std::net::SocketAddr,
        ) -> std::io::Result<tokio::net::TcpStream> {
            let first = to.ip().to_string().ends_with(".14");
            tokio::net::TcpStream::connect(if first { self.0 } else { self.1 }).await
        }
    }
    let grant = || vec![OriginGrant::parse("http://keys.example").unwrap()];
    let egress = |network| Egress {
        origins: grant(),
        network: Arc::new(network),
        ..Egress::default()
    };
    let bench = Bench::new(egress(Two(address, server.address))).await;
    assert_eq!(bench.ask(&get("http://keys.example")).await, "200 reached");
    let bench = Bench::new(egress(Two(address, address))).await;
    let said = bench.ask(&get("http://keys.example")).await;
    assert!(said.contains("ConnectionRefused"), "{said}");
}

/// A lookup has its thread until it is answered, whatever became of the call.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_dead_name_servers_hold_four_lookups() {
    #[derive(Default)]
    struct Dead(AtomicUsize);
    #[async_trait::async_trait]
    impl keyreel_sandbox::Network for Dead {
        async fn resolve(&self, _: &str) -> std::io::Result<Vec<std::net::IpAddr>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            std::future::pending().await
        }
        async fn connect(&self, _: std::net::SocketAddr) -> std::io::Result<tokio::net::TcpStream> {
            unreachable!("nothing resolves")
        }
    }
    let dead = Arc::new(Dead::default());
    let mut egress = Egress {
        origins: vec![OriginGrant::parse("http://keys.example").unwrap()],
        network: dead.clone(),
        ..Egress::default()
    };
    egress.limits.connect = Duration::from_millis(50);
    let bench = Bench::new(egress).await;
    for (tenant, lookups) in [("acme", 4), ("other", 8)] {
        bench.configure(tenant, &get("http://keys.example"));
        for _ in 0..6 {
            let said = bench.again(tenant).await;
            assert!(said.contains("DnsTimeout"), "{said}");
        }
        assert_eq!(dead.0.load(Ordering::Relaxed), lookups);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pure_functions_send_nothing() {
    let server = Server::start(|_| Reply::Say(ok("reached"))).await;
    let bench = Bench::new(local(&server.origin())).await;
    let configuration = get(&server.origin()).replacen(r#""http""#, r#""http-in-validate""#, 1);
    let error = keyreel_keys::KeyProvider::validate(&bench.provider, &configuration).await;
    let error = error.err().unwrap();
    assert!(error.message.contains("HttpRequestDenied"), "{error}");
    assert!(server.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_sends_a_bounded_number_of_requests() {
    let server = Server::start(|_| Reply::Say(ok("x"))).await;
    let mut egress = local(&server.origin());
    egress.limits.requests = 3;
    let bench = Bench::new(egress).await;
    let authority = server.authority();
    let five = requests(
        &server.origin(),
        &[("authority", &authority), ("path", "/"), ("times", "5")],
    );
    let said = bench.ask(&five).await;
    let said: Vec<&str> = said.split(" | ").collect();
    assert_eq!(said[..3], ["200 x"; 3]);
    assert!(
        said[3..]
            .iter()
            .all(|s| s.contains("ConnectionLimitReached")),
        "{said:?}"
    );
    assert_eq!(server.requests().len(), 3);
    // The next call may again.
    assert!(
        bench
            .again("acme")
            .await
            .starts_with("200 x | 200 x | 200 x | ")
    );
}
