//! Outbound HTTP of a plugin that tries everything: what goes out, what does not, and what an
//! answer may be.

mod server;

mod answers;
mod origins;
mod reuse;
mod signing;
mod tls;

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use keyreel_keys::{ErrorClass, Kek, KeyProvider, ProviderError, ProviderId, SystemClock};
use keyreel_sandbox::{
    ArtefactCache, Egress, Grants, Limits, Network, OriginGrant, PluginProvider, Sandbox,
    SandboxSettings,
};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use crate::support::{HPKE, MemoryVault, guests, kek, seal};

/// The hostile plugin with these grants, and less CPU time than the waiting here takes.
struct Bench {
    vault: Arc<MemoryVault>,
    provider: PluginProvider,
    kek: Kek,
}

impl Bench {
    async fn new(egress: Egress) -> Self {
        let vault = Arc::new(MemoryVault::default());
        let limits = Limits {
            cpu: Duration::from_millis(300),
            ..Limits::default()
        };
        // One compilation for all of these tests.
        let settings = SandboxSettings {
            limits,
            cache: Some(ArtefactCache {
                directory: Path::new(env!("CARGO_TARGET_TMPDIR")).join("egress-plugins"),
                key: Zeroizing::new([7; 32]),
            }),
        };
        let sandbox = Sandbox::new(settings, vault.clone(), Arc::new(SystemClock)).unwrap();
        let grants = Grants {
            egress,
            ..Grants::default()
        };
        let id = ProviderId::parse("hostile").unwrap();
        let provider = sandbox
            .admit_with(id, &guests().hostile, None, grants)
            .await
            .unwrap();
        let kek = kek(&vault, "acme", "kek/1", HPKE);
        Self {
            vault,
            provider,
            kek,
        }
    }

    /// What comes of the requests that `configuration` describes, in the guest's words.
    async fn ask(&self, configuration: &str) -> String {
        self.configure("acme", configuration);
        self.again("acme").await
    }

    /// Forgets the tenant's connections too.
    fn configure(&self, tenant: &str, configuration: &str) {
        self.vault.configure(tenant, configuration);
        self.provider.purge(&seal(tenant, &self.kek).call.tenant);
    }

    async fn again(&self, tenant: &str) -> String {
        let error = self.within(tenant, Duration::from_secs(20)).await;
        assert_eq!(error.code, "hostile.report", "{error}");
        error.message
    }

    async fn within(&self, tenant: &str, deadline: Duration) -> ProviderError {
        let mut sealed = seal(tenant, &self.kek);
        sealed.call.deadline = deadline;
        let answer = self
            .provider
            .unwrap_dek(&sealed.call, &sealed.kek, &sealed.envelope)
            .await;
        answer.err().unwrap()
    }
}

/// The configuration of requests: what they are, and which origins it names.
fn requests(outbound: &str, more: &[(&str, &str)]) -> String {
    let mut json = format!(r#"{{"behaviour":"http","outbound":"{outbound}""#);
    for (name, value) in more {
        json.push_str(&format!(r#","{name}":"{value}""#));
    }
    json + "}"
}

/// A GET of "/".
fn get(origin: &str) -> String {
    let (scheme, authority) = origin.split_once("://").unwrap();
    requests(
        origin,
        &[("scheme", scheme), ("authority", authority), ("path", "/")],
    )
}

/// Exactly this origin, private addresses too.
fn local(origin: &str) -> Egress {
    Egress {
        origins: vec![OriginGrant::parse(origin).unwrap().with_private_addresses()],
        ..Egress::default()
    }
}

/// A name server that changes its mind, and a network in which every address is one server.
struct Rebinding {
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
    server: SocketAddr,
    connected: Mutex<Vec<SocketAddr>>,
}

impl Rebinding {
    /// Each answer is addresses with blanks between them; the last is given for ever.
    fn new(server: SocketAddr, answers: &[&str]) -> Arc<Self> {
        let addresses = |text: &&str| text.split(' ').map(|ip| ip.parse().unwrap()).collect();
        Arc::new(Self {
            answers: Mutex::new(answers.iter().map(addresses).collect()),
            server,
            connected: Mutex::default(),
        })
    }

    fn connected(&self) -> Vec<String> {
        let connected = self.connected.lock().unwrap();
        connected.iter().map(ToString::to_string).collect()
    }
}

#[async_trait]
impl Network for Rebinding {
    async fn resolve(&self, _name: &str) -> io::Result<Vec<IpAddr>> {
        let mut answers = self.answers.lock().unwrap();
        let answer = if answers.len() > 1 {
            answers.pop_front()
        } else {
            answers.front().cloned()
        };
        Ok(answer.unwrap())
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        self.connected.lock().unwrap().push(address);
        TcpStream::connect(self.server).await
    }
}

fn assert_class(error: &ProviderError, class: ErrorClass) {
    assert_eq!(error.class, class, "{error}");
}
