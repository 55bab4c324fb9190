//! A tenant's key service and keys: `/api/v2/recording/…`, in the shapes of the Genesys Cloud API, and
//! `/api/v1/tenants/{id}/keys…` and `…/destructions` for what those have no shape for.
//! For administrators of the tenant. An API key goes in and never comes out.
//! Not for: trying and recording what is registered (see `registration`).

pub(crate) mod configurations;
pub(crate) mod destruction;
mod model;
pub(crate) mod overview;
mod pages;
pub(crate) mod purge;
pub(crate) mod recording_keys;
pub(crate) mod recovery;
pub(crate) mod retire;
pub(crate) mod rewrap;
pub(crate) mod rotation;

use std::time::Duration;

use axum::response::Response;
use keyreel_format::TenantId;
use keyreel_keys::Asker;
use keyreel_library::{By, Tenant};
use moka::future::Cache;

use crate::access::{Access, Administered};
use crate::audit::Event;
use crate::problem::{Code, Problem};
use crate::registration::Registrations;
use crate::request::RequestInfo;
use crate::state::Shared;

/// Registration, and what was lately heard of key services.
pub(crate) struct Keys {
    registrations: Option<Registrations>,
    /// What is wrong with the key service of a configuration, by the configuration's id.
    last_errors: Cache<String, Option<String>>,
}

impl Keys {
    pub(crate) fn new(registrations: Option<Registrations>) -> Self {
        Self {
            registrations,
            last_errors: Cache::builder()
                .max_capacity(10_000)
                .time_to_live(ASKED_AGAIN)
                .build(),
        }
    }

    /// Registers key services and keys.
    pub(super) fn registrations(&self) -> Result<&Registrations, Problem> {
        self.registrations.as_ref().ok_or_else(|| {
            Problem::new(
                Code::Internal,
                "This server was put together without a vault: nothing can be registered.",
            )
        })
    }
}

impl Shared {
    /// Writes down what an administrator is about to do with keys.
    ///
    /// # Errors
    /// It cannot be written, so it must not be done.
    async fn announce(&self, event: Event) -> Result<(), Problem> {
        Ok(self.audit().record(event).await?)
    }

    /// Writes down how it ended.
    async fn conclude(&self, event: Event, problem: Option<&Problem>) {
        let outcome = problem.map_or("ok", |problem| problem.code().as_str());
        self.audit().conclude(event.outcome(outcome)).await;
    }
}

/// Does what changes keys to its end, also where whoever asked for it leaves meanwhile: of half a
/// change nobody knows what it was, and the log has its outcome.
async fn to_its_end(
    work: impl Future<Output = Result<Response, Problem>> + Send + 'static,
) -> Result<Response, Problem> {
    tokio::spawn(work).await.unwrap_or_else(|_| {
        let problem = Problem::new(Code::Internal, "The server failed. Its log has the reason.");
        Err(problem.inward("a change of keys panicked"))
    })
}

/// An event of what somebody does with a tenant's keys.
fn event(action: &'static str, tenant: &TenantId, access: &Access, info: &RequestInfo) -> Event {
    Event::of_keys(action, tenant, &by(access, info))
}

/// Who asks, for the key service's log and ours.
fn asker(access: &Access, info: &RequestInfo) -> Asker {
    Asker {
        subject: access.subject().to_owned(),
        request_id: info.id().to_owned(),
    }
}

/// On whose behalf.
fn by(access: &Access, info: &RequestInfo) -> By {
    By {
        asker: asker(access, info),
        credential: Some(access.identity().credential.id.clone()),
    }
}

/// The tenant's row, for short.
fn row(administered: &Administered) -> &Tenant {
    administered.tenant()
}

/// How often a key service is asked how it fares because somebody looks at its configuration.
const ASKED_AGAIN: Duration = Duration::from_secs(10);
