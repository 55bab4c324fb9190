//! A configuration as calls use it: its JSON, and the origins that it needs, asked for when the
//! first request goes out.
//! Not for: what it says: that is between the administrator and the plugin.

use std::sync::Arc;

use keyreel_keys::ProviderError;
use tokio::sync::OnceCell;

use crate::egress::Origin;
use crate::provider::{Plugin, validated};

/// What calls are configured with.
pub(crate) struct Configuration {
    json: Arc<str>,
    origins: OnceCell<Arc<[Origin]>>,
}

impl Configuration {
    pub(crate) fn new(json: &str) -> Self {
        Self {
            json: json.into(),
            origins: OnceCell::new(),
        }
    }

    /// What the plugin is configured with.
    pub(crate) fn json(&self) -> &str {
        &self.json
    }

    /// The origins that `validate` says it needs. Asked once; failures are not remembered.
    pub(crate) async fn origins(
        &self,
        plugin: &Arc<Plugin>,
    ) -> Result<Arc<[Origin]>, ProviderError> {
        let ask = || async {
            let validated = validated(plugin, &self.json).await?;
            let origins = validated.outbound.iter().filter_map(|text| {
                let origin = Origin::parse(text);
                if let Err(reason) = origin {
                    tracing::warn!(plugin = %plugin.id, text, reason, "`validate` names no origin");
                }
                origin.ok()
            });
            Ok(origins.collect())
        };
        self.origins.get_or_try_init(ask).await.cloned()
    }
}
