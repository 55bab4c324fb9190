//! The keyring over a provider in this process, with the time in hand.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use keyreel_format::{Dek, ProviderId, RecordingId, TenantId};

use super::{DekRequest, Keyring, KeyringParts};
use crate::error::KeyError;
use crate::kek::{Kek, Policy};
use crate::provider::KeyProvider;
use crate::settings::{GateSettings, KeyringSettings};
use crate::testing::{LocalProvider, ManualClock, MemoryKekStore, MemoryObserver};

mod flights;
mod limits;
mod purges;
mod recovery;
mod retire;
mod retries;
mod rotations;
mod sealing;

/// Two tenants, each with a KEK of the provider "local".
struct Fixture {
    keyring: Keyring,
    provider: Arc<LocalProvider>,
    store: Arc<MemoryKekStore>,
    observer: Arc<MemoryObserver>,
    acme: TenantId,
    other: TenantId,
    local: ProviderId,
}

impl Fixture {
    async fn new() -> Self {
        let f = Self::without_keks(LocalProvider::new());
        for tenant in [&f.acme, &f.other] {
            f.keyring
                .mint_kek(tenant, &f.local, Policy::Aes256)
                .await
                .unwrap();
        }
        f
    }

    fn without_keks(provider: LocalProvider) -> Self {
        let provider = Arc::new(provider);
        let store = Arc::new(MemoryKekStore::default());
        let observer = Arc::new(MemoryObserver::default());
        let keyring = assemble(&provider, &store, &observer);
        let (acme, other) = (
            TenantId::parse("acme").unwrap(),
            TenantId::parse("other").unwrap(),
        );
        let local = ProviderId::parse("local").unwrap();
        Self {
            keyring,
            provider,
            store,
            observer,
            acme,
            other,
            local,
        }
    }

    /// As after a restart of the process.
    fn restarted(&self) -> Keyring {
        assemble(&self.provider, &self.store, &self.observer)
    }

    async fn mint(&self, policy: Policy) -> Result<Kek, KeyError> {
        self.keyring.mint_kek(&self.acme, &self.local, policy).await
    }

    /// A recording of acme: its DEK, and the request for it.
    async fn recording(&self, id: &str) -> (Dek, DekRequest) {
        self.recording_of(&self.acme, id).await
    }

    async fn recording_of(&self, tenant: &TenantId, id: &str) -> (Dek, DekRequest) {
        let dek = Dek::generate();
        let recording = RecordingId::parse(id).unwrap();
        let wrapped = self.keyring.wrap(tenant, &recording, &dek).await.unwrap();
        let request = DekRequest {
            tenant: tenant.clone(),
            recording,
            generation: 0,
            recipients: wrapped.recipients,
            subject: "user-7".to_owned(),
            request_id: format!("request-{id}"),
        };
        (dek, request)
    }

    /// How many unwraps `work` causes.
    async fn unwraps<T>(&self, work: impl Future<Output = T>) -> (usize, T) {
        let before = self.provider.unwraps();
        let done = work.await;
        (self.provider.unwraps() - before, done)
    }
}

fn assemble(
    provider: &Arc<LocalProvider>,
    store: &Arc<MemoryKekStore>,
    observer: &Arc<MemoryObserver>,
) -> Keyring {
    let provider: Arc<dyn KeyProvider> = provider.clone();
    Keyring::new(KeyringParts {
        store: store.clone(),
        providers: HashMap::from([(ProviderId::parse("local").unwrap(), provider)]),
        observer: observer.clone(),
        clock: Arc::new(ManualClock::at(1_700_000_000_000)),
        settings: KeyringSettings {
            gate: GateSettings {
                concurrency: 8,
                failures: 3,
                ..GateSettings::default()
            },
            ..KeyringSettings::default()
        },
        vault: None,
    })
}

/// The same request of another subject.
fn of(request: &DekRequest, subject: &str) -> DekRequest {
    DekRequest {
        subject: subject.to_owned(),
        ..request.clone()
    }
}

/// The error, where a DEK is not expected. (`unwrap_err` would want to print the DEK.)
async fn refused(keyring: &Keyring, request: &DekRequest) -> KeyError {
    match keyring.dek(request).await {
        Ok(_) => panic!("the DEK was handed out"),
        Err(error) => error,
    }
}

async fn opened(keyring: &Keyring, request: &DekRequest) -> Arc<Dek> {
    match keyring.dek(request).await {
        Ok(dek) => dek,
        Err(error) => panic!("{error}"),
    }
}

/// Lets other tasks run, without letting time pass.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}
