//! Connections outlive calls, and serve one tenant each.

use std::time::Duration;

use super::server::{Reply, Seen, Server, ok};
use super::{Bench, get, local, requests};

fn connections(server: &Server) -> Vec<usize> {
    server
        .requests()
        .iter()
        .map(|seen| seen.connection)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_call_of_a_tenant_takes_the_same_connection() {
    let server = Server::start(|_| Reply::Say(ok("x"))).await;
    let bench = Bench::new(local(&server.origin())).await;
    for tenant in ["acme", "globex"] {
        bench.configure(tenant, &get(&server.origin()));
    }
    for tenant in ["acme", "acme", "globex", "acme", "globex"] {
        assert_eq!(bench.again(tenant).await, "200 x");
    }
    assert_eq!(connections(&server), [0, 0, 1, 0, 1]);
    // A purge closes the tenant's, and no other's.
    bench.configure("acme", &get(&server.origin()));
    for tenant in ["acme", "globex"] {
        assert_eq!(bench.again(tenant).await, "200 x");
    }
    assert_eq!(connections(&server)[5..], [2, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn within_a_call_too() {
    let server = Server::start(|_| Reply::Say(ok("x"))).await;
    let bench = Bench::new(local(&server.origin())).await;
    let three = requests(
        &server.origin(),
        &[
            ("authority", &server.authority()),
            ("path", "/"),
            ("times", "3"),
        ],
    );
    assert_eq!(bench.ask(&three).await, "200 x | 200 x | 200 x");
    assert_eq!(connections(&server), [0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_reused_is_not() {
    let say = |seen: &Seen| {
        let header = match seen.connection {
            0 => "connection: close\r\n",
            1 => "keep-alive: timeout=1\r\n",
            _ => "",
        };
        Reply::Say(format!("HTTP/1.1 200 OK\r\n{header}content-length: 1\r\n\r\nx").into_bytes())
    };
    let server = Server::start(say).await;
    let bench = Bench::new(local(&server.origin())).await;
    bench.configure("acme", &get(&server.origin()));
    for _ in 0..4 {
        assert_eq!(bench.again("acme").await, "200 x");
    }
    // Closed, then kept by the server for no longer than we could use it, then kept.
    assert_eq!(connections(&server), [0, 1, 2, 2]);
}

/// The server closes what waits: nobody notices.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_closed_while_it_waits_is_replaced() {
    let server = Server::start(|_| Reply::SayAndClose(ok("x"))).await;
    let bench = Bench::new(local(&server.origin())).await;
    bench.configure("acme", &get(&server.origin()));
    for _ in 0..5 {
        assert_eq!(bench.again("acme").await, "200 x");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(connections(&server), [0, 1, 2, 3, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_waits_no_longer_than_its_limit() {
    let server = Server::start(|_| Reply::Say(ok("x"))).await;
    for (idle, age) in [(50, 60_000), (60_000, 50)] {
        let before = server.requests().len();
        let mut egress = local(&server.origin());
        egress.limits.idle = Duration::from_millis(idle);
        egress.limits.age = Duration::from_millis(age);
        let bench = Bench::new(egress).await;
        bench.configure("acme", &get(&server.origin()));
        assert_eq!(bench.again("acme").await, "200 x");
        tokio::time::sleep(Duration::from_millis(80)).await;
        assert_eq!(bench.again("acme").await, "200 x");
        let used = connections(&server)[before..].to_vec();
        assert_ne!(used[0], used[1]);
    }
}

/// An answer that was not read to its end leaves nothing to be reused.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_cut_off_is_closed() {
    let server = Server::start(|seen| match seen.connection {
        0 => Reply::Flood(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec(),
            format!("400\r\n{}\r\n", "x".repeat(0x400)).into_bytes(),
        ),
        _ => Reply::Say(ok("x")),
    })
    .await;
    let bench = Bench::new(local(&server.origin())).await;
    bench.configure("acme", &get(&server.origin()));
    assert!(bench.again("acme").await.contains("HttpResponseBodySize"));
    assert_eq!(bench.again("acme").await, "200 x");
    assert_eq!(connections(&server), [0, 1]);
}
