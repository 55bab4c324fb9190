//! What the sandbox costs: one unwrap through the managed plugin against the same unwrap called
//! directly, side by side in one run. Target: at most 60 µs of difference at the median.
//! Not for: CI: it prints, and fails nothing.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a bench"
)]

#[path = "../tests/plugins/support.rs"]
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use keyreel_format::{KekId, WrapAlgorithm, wrap};
use keyreel_keys::{KeyProvider, ProviderId, SystemClock, TenantVault};
use keyreel_sandbox::{ArtefactCache, Sandbox, SandboxSettings};
use zeroize::Zeroizing;

use support::{HPKE, MemoryVault, RSA, Sealed, call, guests, seal};

const ROUNDS: usize = 2000;
const TARGET: Duration = Duration::from_micros(60);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let component = &guests().managed;
    println!("managed plugin: {} kB", component.len() / 1000);
    let cache = tempfile::tempdir().unwrap();
    let vault = Arc::new(MemoryVault::default());
    let id = ProviderId::parse("managed").unwrap();
    let admit = || {
        let settings = SandboxSettings {
            cache: Some(ArtefactCache {
                directory: cache.path().to_owned(),
                key: Zeroizing::new([1; 32]),
            }),
            ..SandboxSettings::default()
        };
        let started = Instant::now();
        let shared: Arc<dyn TenantVault> = Arc::clone(&vault) as _;
        let sandbox = Sandbox::new(settings, shared, Arc::new(SystemClock)).unwrap();
        let provider = runtime
            .block_on(sandbox.admit(id.clone(), component, None))
            .unwrap();
        (started.elapsed(), provider)
    };
    let (cold, _) = admit();
    let (warm, provider) = admit();
    println!("admission: {cold:.1?} compiling, {warm:.1?} from the cache");

    // The same way through the sandbox, without the cryptography: on a busy machine, where whole
    // milliseconds go astray in a private-key operation, this is the figure to look at.
    let mut alone = Vec::new();
    let probe = call("acme");
    runtime.block_on(async {
        for _ in 0..ROUNDS {
            let started = Instant::now();
            provider.health(&probe).await.unwrap();
            alone.push(started.elapsed());
        }
    });
    println!(
        "instance, configure, health: {:.1?} p50",
        median(&mut alone)
    );

    for (name, algorithm) in [("kek/1", RSA), ("kek/2", HPKE)] {
        let kek_id = KekId::parse(name).unwrap();
        let minting = call("acme");
        let minted = provider.generate_kek(&minting, &kek_id, algorithm);
        let kek = runtime.block_on(minted).unwrap();
        let sealed = seal("acme", &kek);
        let (mut direct, mut plugin) = (Vec::new(), Vec::new());
        runtime.block_on(async {
            for _ in 0..ROUNDS {
                let started = Instant::now();
                unwrap_directly(&vault, &id, &sealed).await;
                direct.push(started.elapsed());
                let started = Instant::now();
                provider
                    .unwrap_dek(&sealed.call, &kek, &sealed.envelope)
                    .await
                    .unwrap();
                plugin.push(started.elapsed());
            }
        });
        let (direct, plugin) = (median(&mut direct), median(&mut plugin));
        let cost = plugin.saturating_sub(direct);
        println!(
            "{algorithm}: direct {direct:.1?}, through the plugin {plugin:.1?} \
             ({:.2} x), the sandbox costs {cost:.1?} p50 (target {TARGET:?}: {})",
            plugin.as_secs_f64() / direct.as_secs_f64(),
            if cost <= TARGET { "met" } else { "missed" },
        );
    }
}

/// What the plugin asks the host for, without the plugin.
async fn unwrap_directly(vault: &MemoryVault, id: &ProviderId, sealed: &Sealed) {
    let tenant = &sealed.call.tenant;
    let key = vault
        .private_key(tenant, id, sealed.kek.id.as_str())
        .await
        .unwrap()
        .unwrap();
    let algorithm = WrapAlgorithm::parse(&sealed.envelope.algorithm).unwrap();
    let context = wrap::context(tenant, &sealed.envelope.recording);
    key.unwrap(algorithm, &sealed.envelope.wrapped_dek, &context)
        .unwrap();
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
