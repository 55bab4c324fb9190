//! `/api/v2/recording/…`: a tenant's key service and keys, in the shapes of the Genesys Cloud API.
//! For administrators of the tenant. An API key goes in and never comes out.
//! Not for: trying what is registered (see `keyreel_keys::Registrar`).

pub(crate) mod configurations;
mod model;
mod pages;
pub(crate) mod purge;
pub(crate) mod recording_keys;
pub(crate) mod retire;
pub(crate) mod rewrap;

use std::time::Duration;

use keyreel_keys::{Asker, Registrar, RegistrationError};
use keyreel_library::Tenant;
use moka::future::Cache;

use crate::access::Administered;
use crate::audit::Event;
use crate::problem::{Code, Problem};
use crate::request::RequestInfo;
use crate::state::Shared;

/// Registration, and what was lately heard of key services.
pub(crate) struct Keys {
    registrar: Option<Registrar>,
    /// What is wrong with the key service of a configuration, by the configuration's id.
    last_errors: Cache<String, Option<String>>,
}

impl Keys {
    pub(crate) fn new(registrar: Option<Registrar>) -> Self {
        Self {
            registrar,
            last_errors: Cache::builder()
                .max_capacity(10_000)
                .time_to_live(ASKED_AGAIN)
                .build(),
        }
    }

    /// Registers key services and keys.
    pub(super) fn registrar(&self) -> Result<&Registrar, Problem> {
        self.registrar.as_ref().ok_or_else(|| {
            Problem::new(
                Code::Internal,
                "This server was put together without a vault: nothing can be registered.",
            )
        })
    }
}

impl Shared {
    /// Writes down what an administrator did with keys, or tried to.
    async fn note_registration(
        &self,
        event: Event,
        administered: &Administered,
        info: &RequestInfo,
        failure: Option<&RegistrationError>,
    ) -> Result<(), Problem> {
        let credential = &administered.access().identity().credential;
        let mut event = event
            .tenant(&administered.tenant().id)
            .field("credential", credential.id.clone())
            .field("requestId", info.id());
        if let Some(error) = failure {
            let problem = Problem::from(error);
            event = event.outcome(problem.code().as_str());
        }
        Ok(self.audit().record(event).await?)
    }
}

/// Who asks, for the key service's log and ours.
fn asker(administered: &Administered, info: &RequestInfo) -> Asker {
    Asker {
        subject: administered.access().subject().to_owned(),
        request_id: info.id().to_owned(),
    }
}

/// The tenant's row, for short.
fn row(administered: &Administered) -> &Tenant {
    administered.tenant()
}

/// How often a key service is asked how it fares because somebody looks at its configuration.
const ASKED_AGAIN: Duration = Duration::from_secs(10);
