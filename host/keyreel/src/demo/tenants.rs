//! The demo's tenants: each with the keys of its kind, registered as an administrator registers
//! them.

use std::collections::BTreeMap;

use keyreel_keys::{Asker, KeyConfiguration, NewConfiguration, OwnersKey, ProviderId};
use serde_json::json;
use zeroize::Zeroizing;

use super::services::Services;
use crate::accounts::{add_tenant, make_tenant};
use crate::assemble::Parts;
use crate::import::SampleTenant;
use crate::output;
use crate::providers::{AWS_KMS, LKM, MANAGED};

/// Makes a tenant and its keys, if they are not there; where its key service has moved, says so.
///
/// # Errors
/// A provider that the demo does not know, or a key service that does not do its part.
pub(super) async fn prepare(
    parts: &Parts,
    tenant: &SampleTenant,
    services: &Services,
    kms_key: Option<&str>,
) -> anyhow::Result<()> {
    let provider = tenant.provider.as_deref().unwrap_or(MANAGED);
    if parts.catalogue.current_kek(&tenant.id).await?.is_some() {
        return follow(parts, tenant, services).await;
    }
    output::note(&format!(
        "making the keys of {} ({}, {provider})",
        tenant.name,
        tenant.policy.as_str()
    ));
    if provider == MANAGED {
        return add_tenant(parts, &tenant.id, &tenant.name, tenant.policy, &asker()).await;
    }
    make_tenant(parts, &tenant.id, &tenant.name, tenant.policy, &asker()).await?;
    match provider {
        LKM => {
            let pair = services.lkm.new_pair().await?;
            let new = configuration(
                LKM,
                &json!({
                    "url": services.lkm.decrypt_url,
                    "apiId": pair.api_id,
                    "padding": "oaep-sha256",
                    "payloadHash": true,
                }),
                Some(&pair.api_key),
            )?;
            let made = parts
                .registrar
                .create(&tenant.id, tenant.policy, new, &asker())
                .await?;
            let key = OwnersKey {
                configuration: made.configuration.id,
                id: pair.id,
                public_key: pair.public_key,
            };
            parts
                .registrar
                .register(&tenant.id, tenant.policy, &key, &asker())
                .await?;
        }
        AWS_KMS => {
            let settings = match kms_key {
                Some(arn) => json!({"keyArn": arn}),
                None => json!({
                    "keyArn": services.kms.alias_arn,
                    "endpoint": services.kms.url,
                }),
            };
            let new = configuration(AWS_KMS, &settings, None)?;
            parts
                .registrar
                .create(&tenant.id, tenant.policy, new, &asker())
                .await?;
        }
        other => {
            anyhow::bail!("library.json names the provider {other}, which is none of the demo's")
        }
    }
    Ok(())
}

/// Where a key service of the demo had to take another port, its configurations follow it.
async fn follow(parts: &Parts, tenant: &SampleTenant, services: &Services) -> anyhow::Result<()> {
    for known in parts.catalogue.key_configurations(&tenant.id).await? {
        let Some(mut moved) = moved(&known, services) else {
            continue;
        };
        output::note(&format!("the key service of {} has moved", tenant.name));
        // An API key does not go along to another origin.
        let credential = match known.provider.as_str() {
            LKM => Some(services.lkm.new_credential().await?),
            _ => None,
        };
        if let (Some(credential), Some(id)) = (&credential, moved.get_mut("apiId")) {
            *id = json!(credential.id);
        }
        let api_key = credential
            .as_ref()
            .map(|credential| credential.key.as_str());
        let new = configuration(known.provider.as_str(), &moved, api_key)?;
        let (registrar, id) = (&parts.registrar, &known.id);
        registrar
            .replace(&tenant.id, tenant.policy, id, new, &asker())
            .await?;
    }
    Ok(())
}

/// What a configuration of a service of the demo says now, if that is something else.
fn moved(known: &KeyConfiguration, services: &Services) -> Option<serde_json::Value> {
    let mut settings: serde_json::Value = serde_json::from_str(&known.config_json).ok()?;
    let (field, before, now) = match known.provider.as_str() {
        LKM => ("url", services.lkm_before(), &services.lkm.decrypt_url),
        AWS_KMS => ("endpoint", services.kms_before(), &services.kms.url),
        _ => return None,
    };
    // One that a visitor registered stays where it is.
    if before == *now || settings.get(field)?.as_str() != Some(&before) {
        return None;
    }
    *settings.get_mut(field)? = json!(now);
    Some(settings)
}

fn configuration(
    provider: &str,
    settings: &serde_json::Value,
    api_key: Option<&str>,
) -> anyhow::Result<NewConfiguration> {
    let secrets = api_key.map(|key| {
        let key = Zeroizing::new(key.as_bytes().to_vec());
        ("api-key".to_owned(), key)
    });
    Ok(NewConfiguration {
        provider: ProviderId::parse(provider)?,
        json: settings.to_string(),
        secrets: BTreeMap::from_iter(secrets),
    })
}

fn asker() -> Asker {
    Asker {
        subject: "demo".to_owned(),
        request_id: "demo".to_owned(),
    }
}
