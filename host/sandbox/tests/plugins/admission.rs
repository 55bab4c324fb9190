//! Files that are refused, and what their vendors are told.

use std::sync::Arc;

use keyreel_keys::{ProviderId, SystemClock};
use keyreel_sandbox::{AdmissionError, ArtefactCache, Limits, Sandbox, SandboxSettings};
use zeroize::Zeroizing;

use crate::support::{MemoryVault, guests};

fn sandbox(settings: SandboxSettings) -> Sandbox {
    Sandbox::new(
        settings,
        Arc::new(MemoryVault::default()),
        Arc::new(SystemClock),
    )
    .unwrap()
}

async fn refusal(component: &[u8]) -> AdmissionError {
    let sandbox = sandbox(SandboxSettings::default());
    let id = ProviderId::parse("acme").unwrap();
    let admitted = sandbox.admit(id, component, None).await;
    admitted.err().unwrap_or_else(|| panic!("it was admitted"))
}

async fn refusal_of_text(text: &str) -> String {
    refusal(&wat::parse_str(text).unwrap()).await.to_string()
}

#[tokio::test]
async fn the_pinned_digest_must_match() {
    let sandbox = sandbox(SandboxSettings::default());
    let id = ProviderId::parse("managed").unwrap();
    let admitted = sandbox
        .admit(id.clone(), &guests().managed, Some([0; 32]))
        .await;
    let error = admitted.err().unwrap().to_string();
    assert!(error.contains(&"00".repeat(32)), "{error}");
    let digest = sandbox
        .admit(id.clone(), &guests().managed, None)
        .await
        .unwrap()
        .digest();
    assert!(error.contains(&hex::encode(digest)), "{error}");
    sandbox
        .admit(id, &guests().managed, Some(digest))
        .await
        .unwrap();
}

#[tokio::test]
async fn only_components_are_plugins() {
    for (bytes, says) in [
        (wat::parse_str("(module)").unwrap(), "a core module"),
        (b"(component)".to_vec(), "text"),
        (b"#!/bin/sh".to_vec(), "does not begin as WebAssembly"),
        (b"\x7fELF".to_vec(), "native code"),
        (Vec::new(), "does not begin as WebAssembly"),
    ] {
        let error = refusal(&bytes).await.to_string();
        assert!(
            error.contains("expected a WebAssembly component"),
            "{error}"
        );
        assert!(error.contains(says), "{error}");
    }
}

#[tokio::test]
async fn a_precompiled_artefact_is_never_accepted() {
    let engine = wasmtime::Engine::default();
    let compiled = engine.precompile_component(&guests().managed).unwrap();
    let error = refusal(&compiled).await.to_string();
    assert!(error.contains("precompiled artefact"), "{error}");
}

#[tokio::test]
async fn damaged_components_are_refused() {
    let component = &guests().managed;
    for cut in [9, component.len() / 3, component.len() - 1] {
        let error = refusal(&component[..cut]).await;
        assert!(
            matches!(
                error,
                AdmissionError::Invalid { .. } | AdmissionError::NoProvider { .. }
            ),
            "{cut}: {error}"
        );
    }
}

#[tokio::test]
async fn each_unknown_import_is_named() {
    let error = refusal_of_text(
        r#"(component
            (import "wasi:http/incoming-handler@0.2.3" (instance))
            (import "keyreel:key-provider/secrets@0.2.0" (instance))
            (import "keyreel:key-provider/vault@0.1.0" (instance))
            (import "wasi:cli/environment@0.3.0" (instance))
            (import "wasi:clocks/monotonic-clock@0.2.1" (instance))
            (import "acme:widgets/blink@1.0.0" (instance))
            (import "helper" (func))
        )"#,
    )
    .await;
    for says in [
        "wasi:http/incoming-handler@0.2.3: expected one of outgoing-handler, types, found \"incoming-handler\"",
        "keyreel:key-provider/secrets@0.2.0: expected version 0.1.x, found 0.2.0",
        "keyreel:key-provider/vault@0.1.0: expected one of types, secrets, sealed-keys, session-cache, log",
        "wasi:cli/environment@0.3.0: expected version 0.2.x (WASI 0.2), found 0.3.0",
        "acme:widgets/blink@1.0.0: expected an interface of keyreel:key-provider@0.1.1",
        "\"helper\": expected interfaces only, found a function",
    ] {
        assert!(error.contains(says), "{says} is not in: {error}");
    }
    assert_eq!(error.lines().count(), 7, "{error}");
}

#[tokio::test]
async fn a_provider_must_be_exported() {
    let error = refusal_of_text("(component)").await;
    assert!(
        error.contains("keyreel:key-provider/provider@0.1.1, found no exports"),
        "{error}"
    );
    let export = |name: &str| {
        format!(r#"(component (instance $empty) (export "{name}" (instance $empty)))"#)
    };
    let error = refusal_of_text(&export("keyreel:key-provider/provider@0.2.0")).await;
    assert!(error.contains("another version of the contract"), "{error}");
    let error = refusal_of_text(&export("wasi:cli/run@0.2.3")).await;
    assert!(error.contains("a command"), "{error}");
    let error = refusal_of_text(&export("keyreel:key-provider/provider@0.1.0")).await;
    assert!(
        error.contains("the types of export provider differ"),
        "{error}"
    );
}

#[tokio::test]
async fn imports_must_have_the_contracts_types() {
    let error = refusal_of_text(
        r#"(component
            (import "keyreel:key-provider/session-cache@0.1.0" (instance
                (export "get" (func (param "name" u32)))
            ))
            (instance $empty) (export "keyreel:key-provider/provider@0.1.0" (instance $empty))
        )"#,
    )
    .await;
    assert!(error.contains("the types of the imports differ"), "{error}");
    assert!(error.contains("session-cache"), "{error}");
}

#[tokio::test]
async fn size_is_limited() {
    let limits = Limits {
        component_bytes: 10_000,
        ..Limits::default()
    };
    let sandbox = sandbox(SandboxSettings {
        limits,
        cache: None,
    });
    let id = ProviderId::parse("managed").unwrap();
    let error = sandbox
        .admit(id, &guests().managed, None)
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("at most 10000 bytes"), "{error}");
}

#[tokio::test]
async fn a_warm_cache_admits_without_compiling() {
    let home = tempfile::tempdir().unwrap();
    let settings = || SandboxSettings {
        limits: Limits::default(),
        cache: Some(ArtefactCache {
            directory: home.path().join("plugins"),
            key: Zeroizing::new([3; 32]),
        }),
    };
    let id = ProviderId::parse("managed").unwrap();
    let cold = std::time::Instant::now();
    sandbox(settings())
        .admit(id.clone(), &guests().managed, None)
        .await
        .unwrap();
    let cold = cold.elapsed();
    let warm = std::time::Instant::now();
    sandbox(settings())
        .admit(id, &guests().managed, None)
        .await
        .unwrap();
    let warm = warm.elapsed();
    println!("admission: {cold:?} cold, {warm:?} with a warm cache");
    assert!(warm < cold, "{warm:?} with a warm cache, {cold:?} without");
}
