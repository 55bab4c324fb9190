//! The managed provider mints and unwraps, for both policies.

use std::sync::Arc;

use keyreel_format::KekId;
use keyreel_keys::{ErrorClass, KeyProvider, ProviderId, SystemClock};
use keyreel_sandbox::{PluginProvider, Sandbox, SandboxSettings};

use crate::support::{HPKE, MemoryVault, RSA, call, guests, seal};

async fn managed(vault: &Arc<MemoryVault>) -> PluginProvider {
    let vault = Arc::clone(vault);
    let sandbox = Sandbox::new(SandboxSettings::default(), vault, Arc::new(SystemClock)).unwrap();
    let id = ProviderId::parse("managed").unwrap();
    sandbox.admit(id, &guests().managed, None).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn mints_and_unwraps_for_both_policies() {
    let vault = Arc::new(MemoryVault::default());
    let provider = managed(&vault).await;
    assert!(provider.describe().mints_keks);
    assert_eq!(provider.describe().algorithms, [RSA, HPKE]);

    for (name, algorithm) in [("kek/1", RSA), ("kek/2", HPKE)] {
        let id = KekId::parse(name).unwrap();
        let kek = provider
            .generate_kek(&call("acme"), &id, algorithm)
            .await
            .unwrap();
        assert_eq!((kek.id.as_str(), kek.algorithm.as_str()), (name, algorithm));
        let kept = vault
            .key("acme", name)
            .expect("the vault has the private key");
        assert_eq!(kept.public_key().unwrap(), kek.public_key);

        let sealed = seal("acme", &kek);
        let unwrapped = provider
            .unwrap_dek(&sealed.call, &kek, &sealed.envelope)
            .await
            .unwrap();
        assert_eq!(unwrapped.dek.expose(), sealed.dek.expose());
        assert_eq!(unwrapped.max_cache, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_does_not_open_and_says_no_more() {
    let vault = Arc::new(MemoryVault::default());
    let provider = managed(&vault).await;
    for (name, algorithm) in [("kek/1", RSA), ("kek/2", HPKE)] {
        let id = KekId::parse(name).unwrap();
        let kek = provider
            .generate_kek(&call("acme"), &id, algorithm)
            .await
            .unwrap();
        let mut sealed = seal("acme", &kek);
        let last = sealed.envelope.wrapped_dek.len() - 1;
        sealed.envelope.wrapped_dek[last] ^= 1;
        let error = provider
            .unwrap_dek(&sealed.call, &kek, &sealed.envelope)
            .await
            .err()
            .unwrap();
        assert_eq!(error.class, ErrorClass::Integrity, "{algorithm}");
        assert_eq!(error.message, "the wrapped DEK does not open");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_key_is_out_of_reach() {
    let vault = Arc::new(MemoryVault::default());
    let provider = managed(&vault).await;
    let id = KekId::parse("kek/1").unwrap();
    let kek = provider
        .generate_kek(&call("acme"), &id, HPKE)
        .await
        .unwrap();
    let sealed = seal("acme", &kek);
    let error = provider
        .unwrap_dek(&call("globex"), &kek, &sealed.envelope)
        .await
        .err()
        .unwrap();
    assert_eq!(error.class, ErrorClass::NotFound);
    assert_eq!(error.code, "secrets.no-such-key");
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_what_it_cannot_do() {
    let vault = Arc::new(MemoryVault::default());
    let provider = managed(&vault).await;
    let id = KekId::parse("kek/1").unwrap();
    let error = provider
        .generate_kek(&call("acme"), &id, "x-acme-rot13")
        .await
        .unwrap_err();
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Request, "managed.unknown-algorithm")
    );
    assert!(vault.key("acme", "kek/1").is_none());

    assert!(
        provider
            .validate(" { } ")
            .await
            .unwrap()
            .outbound
            .is_empty()
    );
    let error = provider.validate(r#"{"region":"eu"}"#).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Config);

    vault.configure("acme", r#"{"region":"eu"}"#);
    provider.purge(&call("acme").tenant);
    let error = provider.health(&call("acme")).await.unwrap_err();
    assert_eq!(error.code, "managed.unknown-setting");
    assert_eq!(provider.health(&call("globex")).await.unwrap().status, "ok");
}

/// As one is that was compiled against the contract's first version: it knows other names only.
#[tokio::test(flavor = "multi_thread")]
async fn a_component_built_for_the_first_version_works() {
    let mut component = guests().managed.clone();
    let (now, first) = (b"@0.1.1", b"@0.1.0");
    let mut renamed = 0;
    for at in 0..component.len() - now.len() {
        let is_contract = component[..at]
            .rsplit(|byte| !byte.is_ascii_graphic())
            .next();
        if component[at..].starts_with(now)
            && is_contract.is_some_and(|name| {
                name.windows(21)
                    .any(|window| window == b"keyreel:key-provider/")
            })
        {
            component[at..at + first.len()].copy_from_slice(first);
            renamed += 1;
        }
    }
    assert!(renamed > 4, "{renamed}");
    let vault = Arc::new(MemoryVault::default());
    let settings = SandboxSettings::default();
    let sandbox = Sandbox::new(settings, vault.clone(), Arc::new(SystemClock)).unwrap();
    let provider = ProviderId::parse("managed").unwrap();
    let provider = sandbox.admit(provider, &component, None).await.unwrap();
    let id = KekId::parse("kek/1").unwrap();
    let kek = provider
        .generate_kek(&call("acme"), &id, HPKE)
        .await
        .unwrap();
    let sealed = seal("acme", &kek);
    let unwrapped = provider
        .unwrap_dek(&sealed.call, &kek, &sealed.envelope)
        .await
        .unwrap();
    assert_eq!(unwrapped.dek.expose(), sealed.dek.expose());
}
