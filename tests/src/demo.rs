//! Starts the program that users get, `target/release/keyreel`, and stops it again.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::Client;

/// The one line that `keyreel demo` prints when it is ready.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Ready {
    /// Where the pages and the API are.
    pub url: String,
    /// A link that signs in.
    pub sign_in: String,
    /// Where `/livez`, `/readyz` and `/metrics` are.
    pub admin: String,
    /// The tenants.
    pub tenants: Vec<TenantAccess>,
    /// Its key services.
    pub services: Services,
}

/// The key services that the demo starts.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Services {
    /// The Local Key Manager.
    pub lkm: LkmService,
    /// The stand-in for AWS KMS.
    pub kms: KmsService,
}

/// The demo's Local Key Manager.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct LkmService {
    /// Where it listens.
    pub url: String,
    /// What is registered.
    pub decrypt_url: String,
    /// Its data, for `keyreel lkm`.
    pub data: PathBuf,
}

/// The demo's stand-in for AWS KMS.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct KmsService {
    /// Its endpoint.
    pub url: String,
    /// Its one key.
    pub key_arn: String,
    /// The alias of that.
    pub alias_arn: String,
    /// The region that requests are signed for.
    pub region: String,
    /// What requests are signed with.
    pub access_key_id: String,
    /// What requests are signed with.
    pub secret_access_key: String,
}

/// A tenant of the demo, and tokens for it.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct TenantAccess {
    /// Its id.
    pub id: String,
    /// Who holds its KEKs.
    pub provider: String,
    /// "compatible" or "aes256".
    pub policy: String,
    /// A bearer token with the role admin.
    pub admin_token: String,
    /// A bearer token with the role agent.
    pub agent_token: String,
}

/// A running `keyreel demo` on ports of its own. Ends with the value.
pub struct Demo {
    child: Child,
    log: PathBuf,
    /// What it printed.
    pub ready: Ready,
    /// Its data directory.
    pub data: PathBuf,
}

impl Demo {
    /// Starts it on `data`, which may hold an earlier demo's.
    ///
    /// # Errors
    /// It does not become ready within three minutes.
    pub fn start(data: &Path) -> anyhow::Result<Self> {
        Self::start_with(data, &[])
    }

    /// As [`Demo::start`], with more arguments.
    ///
    /// # Errors
    /// It does not become ready within three minutes.
    pub fn start_with(data: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        Self::run(keyreel(), data, arguments)
    }

    /// As [`Demo::start`], by a program that stands for the one under test.
    ///
    /// # Errors
    /// It does not become ready within three minutes.
    pub fn start_program(program: &Path, data: &Path) -> anyhow::Result<Self> {
        Self::run(Command::new(program), data, &[])
    }

    fn run(mut program: Command, data: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        // The log lies beside the data, not in it: tests search the data for plaintext.
        let log = data.with_extension("log");
        let mut child = program
            .args([
                "demo",
                "--listen",
                "127.0.0.1:0",
                "--admin-listen",
                "127.0.0.1:0",
                "--data",
            ])
            .arg(data)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(
                std::fs::OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(&log)?,
            )
            .spawn()
            .context("the program does not start; run `make build`")?;
        let stdout = child.stdout.take().context("stdout was piped")?;
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stdout).lines();
            let _ = sender.send(lines.next());
            // Whatever else it prints is read, so that it never blocks on a full pipe.
            lines.for_each(drop);
        });
        let mut demo = |line: Option<std::io::Result<String>>| -> anyhow::Result<Ready> {
            match line {
                Some(line) => Ok(serde_json::from_str(&line?)?),
                None => {
                    // It may be running yet, and late.
                    let _ = child.kill();
                    bail!("not ready: it ended with {}", child.wait()?)
                }
            }
        };
        let line = receiver.recv_timeout(READY_WITHIN).unwrap_or(None);
        let ready = demo(line).with_context(|| {
            format!(
                "keyreel demo: {}",
                std::fs::read_to_string(&log).unwrap_or_default()
            )
        })?;
        Ok(Self {
            child,
            log,
            ready,
            data: data.to_owned(),
        })
    }

    /// A tenant by its policy.
    ///
    /// # Panics
    /// The demo has none.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "a demo without this tenant is a failed test"
    )]
    pub fn tenant(&self, policy: &str) -> &TenantAccess {
        self.ready
            .tenants
            .iter()
            .find(|tenant| tenant.policy == policy)
            .expect("tenant of policy")
    }

    /// The tenant whose keys `provider` holds; of several the first.
    ///
    /// # Panics
    /// The demo has none.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "a demo without this tenant is a failed test"
    )]
    pub fn tenant_of(&self, provider: &str) -> &TenantAccess {
        self.ready
            .tenants
            .iter()
            .find(|tenant| tenant.provider == provider)
            .expect("tenant of provider")
    }

    /// A client with the agent token of the tenant of `policy`.
    #[must_use]
    pub fn agent(&self, policy: &str) -> Client {
        Client::new(&self.ready.url, &self.tenant(policy).agent_token)
    }

    /// A client with its admin token.
    #[must_use]
    pub fn admin(&self, policy: &str) -> Client {
        Client::new(&self.ready.url, &self.tenant(policy).admin_token)
    }

    /// The configuration that it wrote, for other commands on the same data.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.data.join("keyreel.toml")
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to stderr so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The sum of all samples of a counter on `/metrics` whose line contains `having`.
    ///
    /// # Errors
    /// The admin listener does not answer.
    pub async fn metric(&self, name: &str, having: &str) -> anyhow::Result<f64> {
        let url = format!("{}/metrics", self.ready.admin.trim_end_matches('/'));
        let text = reqwest::get(url).await?.error_for_status()?.text().await?;
        Ok(text
            .lines()
            .filter(|line| line.starts_with(name) && line.contains(having))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum())
    }

    /// Asks it to stop (SIGTERM) and waits.
    ///
    /// # Errors
    /// It does not stop within 20 seconds.
    pub fn stop(mut self) -> anyhow::Result<()> {
        Command::new("kill")
            .arg(self.child.id().to_string())
            .status()?;
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                anyhow::ensure!(status.success(), "keyreel demo ended with {status}");
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("keyreel demo does not stop")
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// On a busy machine, with a program that is not optimised.
const READY_WITHIN: Duration = Duration::from_mins(3);

/// The repository's root.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The program under test: what `make build` made, or what `KEYREEL_PROGRAM` names.
#[must_use]
pub fn program() -> PathBuf {
    std::env::var_os("KEYREEL_PROGRAM")
        .map_or_else(|| root().join("target/release/keyreel"), PathBuf::from)
}

/// One command of the program under test.
#[must_use]
pub fn keyreel() -> Command {
    Command::new(program())
}
