//! Key configurations: where a provider finds a tenant's key service, and as whom. A tenant may
//! have several of one provider; a KEK keeps the one that it was registered with, so that old
//! recordings still open after the tenant moved to another key service.
//! Not for: what a configuration says: its JSON is between the administrator and the plugin.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use keyreel_format::{ProviderId, TenantId};
use zeroize::Zeroizing;

use crate::kek::Kek;

/// Attribute of a KEK that names its configuration. A KEK without it is the tenant's provider's
/// without a configuration ("{}"), as a managed one is.
pub const CONFIGURATION: &str = "configuration";

/// A configuration, saved. Its secrets lie in the vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyConfiguration {
    /// Its id, a UUID.
    pub id: String,
    /// Whose.
    pub tenant: TenantId,
    /// Whom it configures.
    pub provider: ProviderId,
    /// What it says. No secrets.
    pub config_json: String,
    /// When it was made, ms since 1970.
    pub created_ms: u64,
}

/// A configuration that is not saved: it counts instead of anything that is, for one call. So that
/// a key service is asked before its configuration is kept.
pub struct TrialConfiguration {
    /// What it says.
    pub json: String,
    /// Its secrets, by the names that the provider knows them by.
    pub secrets: BTreeMap<String, Zeroizing<Vec<u8>>>,
}

impl fmt::Debug for TrialConfiguration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrialConfiguration")
            .field("json", &self.json)
            .field("secrets", &self.secrets.keys())
            .finish()
    }
}

/// Which configuration a call is made under.
#[derive(Debug, Clone, Default)]
pub enum Configured {
    /// The provider's for this tenant, without a configuration of its own.
    #[default]
    Plain,
    /// The saved one of this id.
    Saved(Arc<str>),
    /// One that is tried.
    Trial(Arc<TrialConfiguration>),
}

impl Configured {
    /// The one that `kek` was registered with.
    #[must_use]
    pub fn of(kek: &Kek) -> Self {
        kek.configuration()
            .map_or(Self::Plain, |id| Self::Saved(Arc::from(id)))
    }

    /// The id of a saved one.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Saved(id) => Some(id),
            Self::Plain | Self::Trial(_) => None,
        }
    }

    /// The one that is tried.
    #[must_use]
    pub fn trial(&self) -> Option<&Arc<TrialConfiguration>> {
        match self {
            Self::Trial(trial) => Some(trial),
            Self::Plain | Self::Saved(_) => None,
        }
    }
}

impl Kek {
    /// The id of the configuration that it was registered with.
    #[must_use]
    pub fn configuration(&self) -> Option<&str> {
        let mut attributes = self.attributes.iter();
        attributes
            .find(|(name, _)| name == CONFIGURATION)
            .map(|(_, value)| value.as_str())
    }

    /// Binds it to a saved configuration, or to none.
    #[must_use]
    pub fn under(mut self, configuration: Option<&str>) -> Self {
        self.attributes.retain(|(name, _)| name != CONFIGURATION);
        if let Some(id) = configuration {
            self.attributes
                .push((CONFIGURATION.to_owned(), id.to_owned()));
        }
        self
    }
}

/// What a provider says of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validated {
    /// Origins that it needs.
    pub outbound: Vec<String>,
    /// For the administrator.
    pub warnings: Vec<String>,
}
