//! A [`KekStore`] in memory.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use keyreel_keys::{
    Kek, KekId, KekRecord, KekState, KekStore, KeyConfiguration, Policy, ProviderId, RecoveryKey,
    Registration, Retirement, SealedKey, StoreError, Succession, TenantId,
};

use super::lock;

/// A [`KekStore`] in memory.
#[derive(Default)]
pub struct MemoryKekStore {
    keks: Mutex<Vec<Row>>,
    sealed: Mutex<HashMap<(TenantId, ProviderId, String), SealedKey>>,
    configurations: Mutex<Vec<KeyConfiguration>>,
    configs: Mutex<HashMap<(TenantId, ProviderId), String>>,
    needed: Mutex<HashMap<(TenantId, KekId), u64>>,
    policies: Mutex<HashMap<TenantId, Policy>>,
    recovery: Mutex<HashMap<TenantId, RecoveryKey>>,
    writing: Mutex<Writing>,
}

/// How a store writes registrations and KEKs' states.
#[derive(Debug, Clone, Copy, Default)]
pub struct Writing {
    /// It takes so long.
    pub delay: Duration,
    /// Then it fails.
    pub fails: bool,
}

#[derive(Clone)]
struct Row {
    tenant: TenantId,
    provider: ProviderId,
    kek: Kek,
    state: KekState,
    created_ms: u64,
}

impl MemoryKekStore {
    /// Sets the state of a KEK.
    pub fn set_state(&self, tenant: &TenantId, id: &KekId, state: KekState) {
        for row in lock(&self.keks).iter_mut() {
            if row.tenant == *tenant && row.kek.id == *id {
                row.state = state;
            }
        }
    }

    /// Says how many recordings need a KEK; none unless said.
    pub fn set_needed(&self, tenant: &TenantId, id: &KekId, recordings: u64) {
        lock(&self.needed).insert((tenant.clone(), id.clone()), recordings);
    }

    /// How it writes from now on.
    pub fn write_like(&self, writing: Writing) {
        *lock(&self.writing) = writing;
    }

    /// The policy that a tenant was given last, if any.
    pub fn policy(&self, tenant: &TenantId) -> Option<Policy> {
        lock(&self.policies).get(tenant).copied()
    }

    /// Gives a tenant a policy; until then any will do.
    pub fn set_policy(&self, tenant: &TenantId, policy: Policy) {
        lock(&self.policies).insert(tenant.clone(), policy);
    }

    fn require_policy(&self, tenant: &TenantId, policy: Policy) -> Result<(), StoreError> {
        match self.policy(tenant) {
            Some(found) if found != policy => Err(StoreError::PolicyChanged {
                tenant: tenant.clone(),
                policy: found.as_str(),
            }),
            _ => Ok(()),
        }
    }

    async fn written(&self) -> Result<(), StoreError> {
        let Writing { delay, fails } = *lock(&self.writing);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if fails {
            return Err(StoreError::Backend {
                source: "it was told to fail".into(),
            });
        }
        Ok(())
    }

    /// Sets a provider's configuration.
    pub fn set_config(&self, tenant: &TenantId, provider: &ProviderId, config: &str) {
        lock(&self.configs).insert((tenant.clone(), provider.clone()), config.to_owned());
    }

    /// Puts a sealed key in any name's place: a damaged or a planted one.
    pub fn plant_sealed_key(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        name: &str,
        key: SealedKey,
    ) {
        lock(&self.sealed).insert((tenant.clone(), provider.clone(), name.to_owned()), key);
    }
}

#[async_trait]
impl KekStore for MemoryKekStore {
    async fn current_kek(
        &self,
        tenant: &TenantId,
    ) -> Result<Option<(ProviderId, Kek)>, StoreError> {
        let keks = lock(&self.keks);
        let current = keks
            .iter()
            .find(|r| r.tenant == *tenant && r.state == KekState::Current);
        Ok(current.map(|row| (row.provider.clone(), row.kek.clone())))
    }

    async fn kek(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        id: &KekId,
    ) -> Result<Option<(Kek, KekState)>, StoreError> {
        let keks = lock(&self.keks);
        let row = keks
            .iter()
            .find(|r| r.tenant == *tenant && r.provider == *provider && r.kek.id == *id);
        Ok(row.map(|row| (row.kek.clone(), row.state)))
    }

    async fn keks(&self, tenant: &TenantId) -> Result<Vec<KekRecord>, StoreError> {
        let keks = lock(&self.keks);
        let rows = keks.iter().rev().filter(|row| row.tenant == *tenant);
        Ok(rows
            .map(|row| KekRecord {
                provider: row.provider.clone(),
                kek: row.kek.clone(),
                state: row.state,
                created_ms: row.created_ms,
            })
            .collect())
    }

    async fn put_current_kek(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        (kek, policy): (&Kek, Policy),
        created_ms: u64,
    ) -> Result<(), StoreError> {
        self.require_policy(tenant, policy)?;
        make_current(&mut lock(&self.keks), tenant, provider, kek, created_ms)
    }

    async fn succeed_kek(
        &self,
        tenant: &TenantId,
        succession: &Succession,
        kek: &Kek,
    ) -> Result<bool, StoreError> {
        let KekRecord {
            provider,
            kek: former,
            state,
            ..
        } = &succession.former;
        let newest = self.keks(tenant).await?.into_iter().next();
        let as_read = newest.is_some_and(|newest| {
            newest.provider == *provider && newest.kek.id == former.id && newest.state == *state
        });
        let policy = self.policy(tenant).unwrap_or(succession.policy);
        let recovery = self.recovery_key(tenant).await?;
        let suits = recovery.is_none_or(|key| key.suits(succession.new_policy));
        if !as_read || policy != succession.policy || !suits {
            return Ok(false);
        }
        let at_ms = succession.at_ms;
        make_current(&mut lock(&self.keks), tenant, provider, kek, at_ms)?;
        self.set_policy(tenant, succession.new_policy);
        Ok(true)
    }

    async fn set_kek_state(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        id: &KekId,
        state: KekState,
    ) -> Result<bool, StoreError> {
        self.written().await?;
        let mut keks = lock(&self.keks);
        let is_it = |r: &Row| r.provider == *provider && r.kek.id == *id;
        let mine = || keks.iter().filter(|r| r.tenant == *tenant);
        let another = mine().any(|r| r.state == KekState::Current && !is_it(r));
        if state == KekState::Current && another {
            return Err(StoreError::Exists {
                what: "a current KEK".to_owned(),
            });
        }
        let found = keks
            .iter_mut()
            .find(|r| r.tenant == *tenant && is_it(r) && r.state != KekState::Retired);
        Ok(found.map(|row| row.state = state).is_some())
    }

    async fn retire_kek(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        id: &KekId,
        recordings: u64,
    ) -> Result<Retirement, StoreError> {
        let mut keks = lock(&self.keks);
        let found = keks
            .iter_mut()
            .find(|r| r.tenant == *tenant && r.provider == *provider && r.kek.id == *id);
        let Some(row) = found else {
            return Ok(Retirement::Unknown);
        };
        if row.state == KekState::Current {
            return Ok(Retirement::Current);
        }
        let needed = (tenant.clone(), id.clone());
        let needed = lock(&self.needed).get(&needed).copied().unwrap_or(0);
        if row.state != KekState::Retired && needed != recordings {
            return Ok(Retirement::InUse { recordings: needed });
        }
        row.state = KekState::Retired;
        row.kek.sealed.clear();
        let place = (tenant.clone(), provider.clone(), id.as_str().to_owned());
        lock(&self.sealed).remove(&place);
        Ok(Retirement::Retired)
    }

    async fn recovery_key(&self, tenant: &TenantId) -> Result<Option<RecoveryKey>, StoreError> {
        Ok(lock(&self.recovery).get(tenant).cloned())
    }

    async fn put_recovery_key(
        &self,
        tenant: &TenantId,
        key: &RecoveryKey,
        policy: Policy,
    ) -> Result<bool, StoreError> {
        let as_read = self.policy(tenant).is_none_or(|now| now == policy);
        if as_read {
            lock(&self.recovery).insert(tenant.clone(), key.clone());
        }
        Ok(as_read)
    }

    async fn remove_recovery_key(&self, tenant: &TenantId) -> Result<bool, StoreError> {
        Ok(lock(&self.recovery).remove(tenant).is_some())
    }

    async fn sealed_key(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        name: &str,
    ) -> Result<Option<SealedKey>, StoreError> {
        let name = (tenant.clone(), provider.clone(), name.to_owned());
        Ok(lock(&self.sealed).get(&name).cloned())
    }

    async fn put_sealed_key(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        name: &str,
        key: &SealedKey,
    ) -> Result<(), StoreError> {
        let place = (tenant.clone(), provider.clone(), name.to_owned());
        let mut sealed = lock(&self.sealed);
        if sealed.contains_key(&place) {
            return Err(StoreError::Exists {
                what: format!("sealed key {name:?}"),
            });
        }
        sealed.insert(place, key.clone());
        Ok(())
    }

    async fn key_configuration(
        &self,
        tenant: &TenantId,
        id: &str,
    ) -> Result<Option<KeyConfiguration>, StoreError> {
        let all = lock(&self.configurations);
        let found = all.iter().find(|c| c.tenant == *tenant && c.id == id);
        Ok(found.cloned())
    }

    async fn key_configurations(
        &self,
        tenant: &TenantId,
    ) -> Result<Vec<KeyConfiguration>, StoreError> {
        let all = lock(&self.configurations);
        let found = all.iter().rev().filter(|c| c.tenant == *tenant);
        Ok(found.cloned().collect())
    }

    async fn put_registration(&self, registration: &Registration) -> Result<(), StoreError> {
        let Registration {
            configuration,
            secrets,
            kek,
            now_ms,
        } = registration;
        let KeyConfiguration {
            id,
            tenant,
            provider,
            ..
        } = configuration;
        self.written().await?;
        let mut keks = lock(&self.keks);
        let mut sealed = lock(&self.sealed);
        let mut all = lock(&self.configurations);
        let known = all.iter_mut().find(|c| c.id == *id);
        let is_anothers = |c: &KeyConfiguration| c.tenant != *tenant || c.provider != *provider;
        if known.as_deref().is_some_and(is_anothers) {
            return Err(StoreError::Exists {
                what: format!("key configuration {id}"),
            });
        }
        if let Some((kek, policy)) = kek {
            self.require_policy(tenant, *policy)?;
            make_current(&mut keks, tenant, provider, kek, *now_ms)?;
        }
        match known {
            None => all.push(configuration.clone()),
            Some(known) => known.config_json.clone_from(&configuration.config_json),
        }
        for (name, key) in secrets {
            let place = (tenant.clone(), provider.clone(), name.clone());
            sealed.insert(place, key.clone());
        }
        Ok(())
    }

    async fn provider_config(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
    ) -> Result<String, StoreError> {
        let configs = lock(&self.configs);
        let config = configs.get(&(tenant.clone(), provider.clone()));
        Ok(config.cloned().unwrap_or_else(|| "{}".to_owned()))
    }
}

fn make_current(
    keks: &mut Vec<Row>,
    tenant: &TenantId,
    provider: &ProviderId,
    kek: &Kek,
    created_ms: u64,
) -> Result<(), StoreError> {
    let taken = keks
        .iter()
        .any(|r| r.tenant == *tenant && r.provider == *provider && r.kek.id == kek.id);
    if taken {
        return Err(StoreError::Exists {
            what: format!("KEK {}", kek.id),
        });
    }
    for row in keks.iter_mut() {
        if row.tenant == *tenant && row.state == KekState::Current {
            row.state = KekState::Previous;
        }
    }
    keks.push(Row {
        tenant: tenant.clone(),
        provider: provider.clone(),
        kek: kek.clone(),
        state: KekState::Current,
        created_ms,
    });
    Ok(())
}
