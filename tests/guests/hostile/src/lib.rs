//! A key provider that misbehaves as its configuration says: `{"behaviour":"loop"}`. One component
//! for every way in which a plugin can attack its host.
//! Not for: anything but tests.
#![expect(
    clippy::panic,
    clippy::disallowed_methods,
    reason = "misbehaving is its purpose"
)]

mod http;

use std::hint::black_box;
use std::io::Read;
use std::thread::sleep;
use std::time::{Duration, Instant};

use keyreel_plugin_sdk::{
    self as sdk, CallInfo, Description, Envelope, Error, Kek, KeyAdmin, Provider, Secret,
    UnwrappedDek, Validated, canonical_context, secrets, session_cache,
};

struct Hostile {
    behaviour: String,
    config: String,
}

impl Provider for Hostile {
    fn describe() -> Description {
        Description {
            name: "Hostile".to_owned(),
            vendor: "Keyreel's tests".to_owned(),
            version: "1".to_owned(),
            algorithms: vec![
                "rsa-oaep-sha256".to_owned(),
                "hpke-mlkem1024-p384".to_owned(),
            ],
            config_schema: r#"{"type":"object"}"#.to_owned(),
            secrets: vec!["api-key".to_owned()],
        }
    }

    fn validate(config: &str) -> Result<Validated, Error> {
        let behaviour = behaviour(config)?;
        match behaviour.as_str() {
            "loop" => spin(),
            "secrets" => {
                secrets::get("api-key")?;
            }
            "http-in-validate" => return Err(http::report(config)),
            _ => {}
        }
        Ok(Validated {
            outbound: http::outbound(config)
                .unwrap_or_else(|| vec!["https://kms.example:443".to_owned()]),
            warnings: vec![format!("will\nmisbehave: {behaviour}")],
        })
    }

    fn configure(config: &str) -> Result<Self, Error> {
        let behaviour = behaviour(config)?;
        if behaviour == "configure-trap" {
            panic!("as told");
        }
        Ok(Self {
            behaviour,
            config: config.to_owned(),
        })
    }

    fn unwrap_dek(
        &self,
        info: &CallInfo,
        kek: &Kek,
        envelope: &Envelope,
    ) -> Result<UnwrappedDek, Error> {
        let material = match self.behaviour.as_str() {
            "good" => secrets::get(&kek.id)?.unwrap(
                &envelope.algorithm,
                &envelope.wrapped_dek,
                &canonical_context(envelope)?,
            )?,
            "loop" => spin(),
            "memory" => swallow_memory(),
            "recursion" => return Err(Error::internal("depth", dive(1).to_string())),
            "trap" => std::process::abort(),
            "panic" => panic!("as told,\nwith a forged line"),
            "exit" => std::process::exit(3),
            "handles" => hoard(),
            "host-calls" => call_for_ever(),
            "host-call-bytes" => talk_at_length(),
            "log" => return Err(flood_log()),
            "sleep" => doze(Duration::from_secs(3600)),
            "naps" => naps(),
            "short-dek" => secrets::import_bytes(&[7; 31]),
            "long-dek" => secrets::import_bytes(&[7; 33]),
            "imported-dek" => secrets::import_bytes(&[7; 32]),
            "private-key-as-dek" => secrets::get(&kek.id)?,
            "environment" => return Err(look_around()),
            "secrets" => return Err(try_secrets(kek)),
            "session" => return Err(remember(info)),
            "canary" => return hold_canary(kek, envelope),
            "http" => return Err(http::report(&self.config)),
            "generate" => secrets::generate("kek/99", "rsa-oaep-sha256")?,
            other => return Err(Error::config("hostile.unknown", other)),
        };
        Ok(UnwrappedDek {
            material,
            max_cache_ms: Some(1234),
        })
    }
}

impl KeyAdmin for Hostile {
    fn generate_kek(&self, _info: &CallInfo, id: &str, algorithm: &str) -> Result<Kek, Error> {
        let key = secrets::generate(id, algorithm)?;
        let mut kek = Kek {
            id: id.to_owned(),
            algorithm: algorithm.to_owned(),
            public_key: key.public_key()?,
            sealed: vec![("note".to_owned(), b"kept".to_vec())],
            attributes: Vec::new(),
        };
        match self.behaviour.as_str() {
            "other-id" => kek.id = "kek/77".to_owned(),
            "other-public-key" => kek.public_key.reverse(),
            "fail-after-generate" => return Err(Error::unavailable("hostile.failed", "as told")),
            "generate-twice" => {
                secrets::generate(id, algorithm)?;
            }
            "generate-other-name" => {
                secrets::generate("kek/99", algorithm)?;
            }
            _ => {}
        }
        Ok(kek)
    }
}

fn behaviour(config: &str) -> Result<String, Error> {
    let value = config.split('"').nth(3);
    value
        .map(str::to_owned)
        .ok_or_else(|| Error::config("hostile.config", "no behaviour"))
}

fn spin() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

fn swallow_memory() -> Secret {
    let mut held = Vec::new();
    loop {
        held.push(black_box(vec![1_u8; 1 << 20]));
    }
}

/// Uses the call stack only: the stack that Rust keeps in linear memory would end in a plain trap.
#[expect(unconditional_recursion, reason = "misbehaving is its purpose")]
fn dive(depth: u64) -> u64 {
    black_box(dive(black_box(depth + 1))) + 1
}

fn hoard() -> Secret {
    let mut held = Vec::new();
    loop {
        held.push(secrets::import_bytes(&[1]));
    }
}

fn call_for_ever() -> Secret {
    loop {
        black_box(session_cache::get("nothing"));
    }
}

fn talk_at_length() -> Secret {
    secrets::import_bytes(&vec![1; 8 << 20])
}

fn flood_log() -> Error {
    for turn in 0..2000 {
        sdk::warn(
            "flood \u{1b}[2J\nforged line",
            &[("turn", &turn.to_string())],
        );
    }
    eprintln!("and on the standard error");
    Error::denied("hostile.flooded", "said enough")
}

fn doze(time: Duration) -> Secret {
    sleep(time);
    secrets::import_bytes(&[7; 32])
}

/// Waits far longer than its CPU budget is, in many host calls.
fn naps() -> Secret {
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(600) {
        sleep(Duration::from_millis(3));
    }
    secrets::import_bytes(&[7; 32])
}

/// Reports whatever it can reach; the test expects nothing.
fn look_around() -> Error {
    let mut found = Vec::new();
    found.extend(std::env::vars().map(|(name, _)| format!("env {name}")));
    found.extend(std::env::args().map(|argument| format!("arg {argument}")));
    for path in ["/", ".", "/etc", "/proc/self"] {
        if std::fs::read_dir(path).is_ok() {
            found.push(format!("dir {path}"));
        }
    }
    for path in ["/etc/passwd", "/etc/hostname", "Cargo.toml"] {
        if std::fs::read(path).is_ok() || std::fs::write(path, b"x").is_ok() {
            found.push(format!("file {path}"));
        }
    }
    let mut input = [0];
    if std::io::stdin().read(&mut input).is_ok_and(|read| read > 0) {
        found.push("stdin".to_owned());
    }
    if std::net::TcpStream::connect("127.0.0.1:80").is_ok() {
        found.push("tcp".to_owned());
    }
    if std::net::UdpSocket::bind("127.0.0.1:0").is_ok() {
        found.push("udp".to_owned());
    }
    if std::net::TcpListener::bind("127.0.0.1:0").is_ok() {
        found.push("listener".to_owned());
    }
    if let Err(error) = std::net::TcpStream::connect("127.0.0.1:1") {
        found.extend(
            error
                .to_string()
                .contains("refused")
                .then(|| "reached tcp".to_owned()),
        );
    }
    Error::denied("hostile.report", found.join(", "))
}

/// Tries what no plugin may; reports each that worked, and the codes of those that did not.
fn try_secrets(kek: &Kek) -> Error {
    let mut report = Vec::new();
    let mut attempt = |what: &str, result: Result<(), Error>| {
        report.push(match result {
            Ok(()) => format!("{what}=ok"),
            Err(error) => format!("{what}={}", error.code),
        });
    };
    for name in [
        "kek/2",
        "../globex/kek/1",
        "globex/kek/1",
        "kek/../kek/1",
        "",
        "kek/1\0",
    ] {
        attempt(name, secrets::get(name).map(|_| ()));
    }
    attempt("undeclared", secrets::get("other-secret").map(|_| ()));
    attempt("own", secrets::get(&kek.id).map(|_| ()));
    attempt(
        "reveal-kek",
        secrets::get(&kek.id)
            .and_then(|key| key.reveal())
            .map(|_| ()),
    );
    attempt(
        "mac-kek",
        secrets::get(&kek.id)
            .and_then(|k| k.mac("hmac-sha256", b""))
            .map(|_| ()),
    );
    attempt("api-key", secrets::get("api-key").map(|_| ()));
    attempt(
        "reveal",
        secrets::get("api-key")
            .and_then(|key| key.reveal())
            .map(|_| ()),
    );
    attempt(
        "mac",
        secrets::get("api-key")
            .and_then(|k| k.mac("hmac-sha256", b"x"))
            .map(|_| ()),
    );
    let derived = secrets::get("api-key").and_then(|key| key.derive("hmac-sha512", b"x"));
    attempt(
        "reveal-derived",
        derived.and_then(|key| key.reveal()).map(|_| ()),
    );
    attempt(
        "reveal-own-bytes",
        secrets::import_bytes(b"mine").reveal().map(|_| ()),
    );
    attempt(
        "generate",
        secrets::generate("kek/99", "rsa-oaep-sha256").map(|_| ()),
    );
    Error::denied("hostile.report", report.join(" "))
}

/// What it remembered of an earlier call, and remembers this one.
fn remember(info: &CallInfo) -> Error {
    let earlier = session_cache::get("earlier").map(|value| String::from_utf8_lossy(&value).into());
    session_cache::put("earlier", info.request_id.as_bytes(), 60_000);
    Error::denied(
        "hostile.report",
        earlier.unwrap_or_else(|| "nothing".to_owned()),
    )
}

/// Holds bytes that a scan of its memory must find, then unwraps by handle as it should.
fn hold_canary(kek: &Kek, envelope: &Envelope) -> Result<UnwrappedDek, Error> {
    let canary: Vec<u8> = (0..32_u8)
        .map(|i| black_box(i).wrapping_mul(37) ^ 0xa5)
        .collect();
    std::mem::forget(black_box(canary));
    let context = canonical_context(envelope)?;
    let material =
        secrets::get(&kek.id)?.unwrap(&envelope.algorithm, &envelope.wrapped_dek, &context)?;
    Ok(UnwrappedDek {
        material,
        max_cache_ms: None,
    })
}

sdk::export!(Hostile, key - admin);
