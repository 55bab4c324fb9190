//! What only the inside can show: that no key ever lies in a guest's memory, and that limits hold
//! over all memories of an instance.

#[path = "../tests/plugins/support.rs"]
mod support;

mod remote;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use keyreel_format::wrap::PrivateKey;
use keyreel_keys::{
    KekId, KeyProvider, ProviderId, SystemClock, TenantId, TenantVault, VaultError,
};
use wasmtime::component::Component;
use wasmtime::{Config, LinearMemory, MemoryCreator, MemoryType};
use zeroize::Zeroizing;

use self::support::{HPKE, MemoryVault, RSA, call, guests, kek, seal};
use crate::error::Fault;
use crate::provider::{Grants, PluginProvider};
use crate::sandbox::Sandbox;
use crate::settings::{Limits, SandboxSettings};
use crate::state::{CallState, Purpose};

/// Secrets are looked for in pieces of so many bytes: whoever keeps a part of a key, keeps it.
const PIECE: usize = 8;
/// The most that a guest's memory grows to here.
const CAPACITY: usize = 4 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn no_key_is_ever_in_guest_memory() {
    let memories = Arc::new(Memories::default());
    let vault = Arc::new(MemoryVault::default());
    let managed = admit(&memories, &vault, "managed", &guests().managed).await;
    for (name, algorithm) in [("kek/1", RSA), ("kek/2", HPKE)] {
        let id = KekId::parse(name).unwrap();
        let kek = managed
            .generate_kek(&call("acme"), &id, algorithm)
            .await
            .unwrap();
        let sealed = seal("acme", &kek);
        let answer = managed
            .unwrap_dek(&sealed.call, &kek, &sealed.envelope)
            .await
            .unwrap();
        assert_eq!(answer.dek.expose(), sealed.dek.expose());

        // The scanner finds what the guest was given, byte for byte.
        assert!(
            memories.hold_any(&[&sealed.envelope.wrapped_dek]),
            "{algorithm}: wrapped"
        );
        assert!(
            memories.hold_any(&[&kek.public_key]),
            "{algorithm}: public key"
        );
        // And none of what it was not.
        assert!(
            !memories.hold_any(&[sealed.dek.expose()]),
            "{algorithm}: DEK"
        );
        let secrets = secrets_of(algorithm, &vault.key("acme", name).unwrap());
        assert!(
            !memories.hold_any(&secrets.iter().map(Vec::as_slice).collect::<Vec<_>>()),
            "{algorithm}: private key"
        );
    }
    assert!(
        memories.bytes() > 4 << 16,
        "too little memory was scanned: {}",
        memories.bytes()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scanner_finds_what_a_guest_holds() {
    let memories = Arc::new(Memories::default());
    let vault = Arc::new(MemoryVault::default());
    let hostile = admit(&memories, &vault, "hostile", &guests().hostile).await;
    let kek = kek(&vault, "acme", "kek/1", HPKE);
    let sealed = seal("acme", &kek);
    let canary: Vec<u8> = (0..32_u8).map(|i| i.wrapping_mul(37) ^ 0xa5).collect();

    vault.configure("acme", r#"{"behaviour":"good"}"#);
    hostile
        .unwrap_dek(&sealed.call, &kek, &sealed.envelope)
        .await
        .unwrap();
    assert!(!memories.hold_any(&[&canary]));

    vault.configure("acme", r#"{"behaviour":"canary"}"#);
    hostile.purge(&sealed.call.tenant);
    hostile
        .unwrap_dek(&sealed.call, &kek, &sealed.envelope)
        .await
        .unwrap();
    assert!(memories.hold_any(&[&canary]), "the canary was not found");
    assert!(!memories.hold_any(&[sealed.dek.expose()]));

    // A DEK that a guest does hold is found as one.
    vault.configure("acme", r#"{"behaviour":"imported-dek"}"#);
    hostile.purge(&sealed.call.tenant);
    let answer = hostile
        .unwrap_dek(&sealed.call, &kek, &sealed.envelope)
        .await
        .unwrap();
    assert!(memories.hold_any(&[answer.dek.expose()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_summed_over_all_memories() {
    let vault = Arc::new(MemoryVault::default());
    let settings = SandboxSettings::default();
    let sandbox = Sandbox::new(settings, vault, Arc::new(SystemClock)).unwrap();
    let id = ProviderId::parse("managed").unwrap();
    let provider = sandbox.admit(id, &guests().managed, None).await.unwrap();
    let modules = |start: &str| {
        format!(
            r#"(component (core module $m
                (memory 300) (memory $grows 300) (memory 300)
                (func $start {start})
                (start $start)
            ) (core instance (instantiate $m)))"#
        )
    };
    let grow = "(loop $again
        (br_if $again (i32.ne (memory.grow $grows (i32.const 1)) (i32.const -1))))
        unreachable";
    let four = "(component (core module $m (memory 300) (memory 300) (memory 300) (memory 300))
        (core instance (instantiate $m)))";
    for (text, expected) in [
        (modules(""), None),
        (modules(grow), Some(Fault::Memory)),
        (four.to_owned(), Some(Fault::Memory)),
    ] {
        let component = Component::new(&sandbox.host.engine, wat::parse_str(&text).unwrap());
        let instance = sandbox.linker.instantiate_pre(&component.unwrap()).unwrap();
        let _ticking = sandbox.host.ticker.call();
        let mut store = CallState::store(Arc::clone(&provider.plugin), Purpose::Pure, "test");
        let result = instance.instantiate_async(&mut store).await;
        let refused = store.data().limiter.refused();
        assert_eq!(
            result.err().map(|error| Fault::of(&error, refused)),
            expected,
            "{text}"
        );
    }
}

/// A vault that gives configurations out when it is told to, and counts how often it is asked.
#[derive(Default)]
struct SlowVault {
    asked: AtomicUsize,
    go: tokio::sync::Notify,
}

#[async_trait::async_trait]
impl TenantVault for SlowVault {
    async fn configuration(
        &self,
        _: &TenantId,
        _: &ProviderId,
        _: Option<&str>,
    ) -> Result<String, VaultError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.go.notified().await;
        Ok("{}".to_owned())
    }

    async fn secret(
        &self,
        _: &TenantId,
        _: &ProviderId,
        _: Option<&str>,
        _: &str,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        Ok(None)
    }

    async fn private_key(
        &self,
        _: &TenantId,
        _: &ProviderId,
        _: &str,
    ) -> Result<Option<Arc<PrivateKey>>, VaultError> {
        Ok(None)
    }

    async fn keep_private_key(
        &self,
        _: &TenantId,
        _: &ProviderId,
        _: &str,
        _: Arc<PrivateKey>,
    ) -> Result<(), VaultError> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_is_read_during_a_purge_is_not_remembered() {
    let vault = Arc::new(SlowVault::default());
    let settings = SandboxSettings::default();
    let sandbox = Sandbox::new(settings, vault.clone(), Arc::new(SystemClock)).unwrap();
    let id = ProviderId::parse("managed").unwrap();
    let admitted = sandbox.admit(id, &guests().managed, None).await.unwrap();
    let plugin = Arc::new(admitted);
    let health = async |purged: usize| {
        let asked = vault.asked.load(Ordering::SeqCst);
        let call = tokio::spawn({
            let plugin = plugin.clone();
            async move { plugin.health(&call("acme")).await }
        });
        while vault.asked.load(Ordering::SeqCst) == asked && !call.is_finished() {
            tokio::task::yield_now().await;
        }
        for _ in 0..purged {
            plugin.purge(&TenantId::parse("acme").unwrap());
        }
        vault.go.notify_one();
        call.await.unwrap().unwrap();
    };
    health(1).await;
    health(0).await;
    assert_eq!(vault.asked.load(Ordering::SeqCst), 2, "it was asked again");
    health(0).await;
    assert_eq!(
        vault.asked.load(Ordering::SeqCst),
        2,
        "now it is remembered"
    );
}

async fn admit(
    memories: &Arc<Memories>,
    vault: &Arc<MemoryVault>,
    id: &str,
    component: &[u8],
) -> PluginProvider {
    admit_with(memories, vault, id, component, Grants::default()).await
}

async fn admit_with(
    memories: &Arc<Memories>,
    vault: &Arc<MemoryVault>,
    id: &str,
    component: &[u8],
    grants: Grants,
) -> PluginProvider {
    let limits = Limits::default();
    let mut config: Config = crate::engine::config(&limits);
    // Every access is checked, so that plain memory of ours will do.
    config
        .memory_reservation(0)
        .memory_guard_size(0)
        .memory_reservation_for_growth(0);
    config.memory_init_cow(false);
    config.with_host_memory(Arc::new(Creator(Arc::clone(memories))));
    let settings = SandboxSettings {
        limits,
        cache: None,
    };
    let shared = Arc::clone(vault);
    let sandbox = Sandbox::with_config(&config, settings, shared, Arc::new(SystemClock)).unwrap();
    sandbox
        .admit_with(ProviderId::parse(id).unwrap(), component, None, grants)
        .await
        .unwrap()
}

/// What of a private key is secret. RSA's modulus and exponent are not: the guest sees them.
fn secrets_of(algorithm: &str, key: &PrivateKey) -> Vec<Vec<u8>> {
    let bytes = key.secret_bytes().unwrap();
    if algorithm == HPKE {
        assert_eq!(bytes.len(), 32);
        return vec![bytes.to_vec()];
    }
    // PKCS#8: version, algorithm, OCTET STRING of RSAPrivateKey: version, n, e, d, p, q, dp, dq, qi.
    let outer = elements(contents(&bytes));
    let inner = elements(contents(outer[2]));
    assert_eq!(inner.len(), 9);
    inner[3..].iter().map(|integer| integer.to_vec()).collect()
}

/// The contents of the one DER element that `der` is.
fn contents(der: &[u8]) -> &[u8] {
    elements(der)[0]
}

/// The contents of the DER elements in a row.
fn elements(mut der: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while !der.is_empty() {
        let (header, len) = match der[1] {
            long @ 0x81..=0x84 => {
                let digits = usize::from(long - 0x80);
                let len = der[2..2 + digits]
                    .iter()
                    .fold(0, |n, b| n << 8 | usize::from(*b));
                (2 + digits, len)
            }
            short => (2, usize::from(short)),
        };
        found.push(&der[header..header + len]);
        der = &der[header + len..];
    }
    found
}

/// All memories that guests ever had; they outlive their instances.
#[derive(Default)]
struct Memories(Mutex<Vec<Arc<Region>>>);

struct Region {
    bytes: Box<[AtomicU8]>,
    size: AtomicUsize,
    /// Whether the instance that it belonged to is gone.
    released: AtomicBool,
}

impl Memories {
    /// Whether a piece of one of the secrets lies anywhere, in either byte order.
    fn hold_any(&self, secrets: &[&[u8]]) -> bool {
        let mut pieces = HashSet::new();
        for secret in secrets {
            let reversed: Vec<u8> = secret.iter().rev().copied().collect();
            for bytes in [*secret, &reversed] {
                pieces.extend(bytes.chunks_exact(PIECE).map(<[u8]>::to_vec));
            }
        }
        assert!(!pieces.is_empty());
        // Most windows are ruled out by their first two bytes.
        let mut begins = vec![false; 1 << 16];
        let begin = |piece: &[u8]| usize::from(piece[0]) << 8 | usize::from(piece[1]);
        pieces.iter().for_each(|piece| begins[begin(piece)] = true);
        self.0.lock().unwrap().iter().any(|region| {
            let size = region.size.load(Ordering::Relaxed);
            let bytes: Vec<u8> = region.bytes[..size]
                .iter()
                .map(|byte| byte.load(Ordering::Relaxed))
                .collect();
            bytes
                .windows(PIECE)
                .any(|window| begins[begin(window)] && pieces.contains(window))
        })
    }

    /// How many there are, and how many of them an instance still has.
    fn count(&self) -> (usize, usize) {
        let all = self.0.lock().unwrap();
        let held = all
            .iter()
            .filter(|region| !region.released.load(Ordering::SeqCst));
        (all.len(), held.count())
    }

    /// Forgets those that are gone.
    fn forget(&self) {
        let held = |region: &Arc<Region>| !region.released.load(Ordering::SeqCst);
        self.0.lock().unwrap().retain(held);
    }

    fn bytes(&self) -> usize {
        self.0
            .lock()
            .unwrap()
            .iter()
            .map(|region| region.size.load(Ordering::Relaxed))
            .sum()
    }
}

struct Creator(Arc<Memories>);

struct Memory(Arc<Region>);

impl Drop for Memory {
    fn drop(&mut self) {
        self.0.released.store(true, Ordering::SeqCst);
    }
}

#[expect(
    unsafe_code,
    reason = "the only way to see what lies in a component's memories"
)]
// SAFETY: the memory is zeroed, of the size asked for, never moves, and lives as long as `Memory`;
// the configuration asks for no reservation and no guard, so that every access is checked.
unsafe impl MemoryCreator for Creator {
    fn new_memory(
        &self,
        _ty: MemoryType,
        minimum: usize,
        _maximum: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        assert_eq!((reserved.unwrap_or(0), guard), (0, 0));
        assert!(minimum <= CAPACITY);
        let bytes = (0..CAPACITY).map(|_| AtomicU8::new(0)).collect();
        let region = Arc::new(Region {
            bytes,
            size: AtomicUsize::new(minimum),
            released: AtomicBool::new(false),
        });
        self.0.0.lock().unwrap().push(Arc::clone(&region));
        Ok(Box::new(Memory(region)))
    }
}

#[expect(unsafe_code, reason = "see `Creator`")]
// SAFETY: see `Creator`; growth stays within the capacity.
unsafe impl LinearMemory for Memory {
    fn byte_size(&self) -> usize {
        self.0.size.load(Ordering::Relaxed)
    }

    fn byte_capacity(&self) -> usize {
        self.0.bytes.len()
    }

    fn grow_to(&mut self, size: usize) -> wasmtime::Result<()> {
        if size > self.0.bytes.len() {
            return Err(wasmtime::Error::msg("beyond the capacity"));
        }
        self.0.size.store(size, Ordering::Relaxed);
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.0.bytes.as_ptr().cast_mut().cast()
    }
}
