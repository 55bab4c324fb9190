//! `/api/v2/recording/keyconfigurations`: where a tenant's key service is.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use keyreel_keys::{Configured, KeyConfiguration, NewConfiguration, Registered, RegistrationError};
use uuid::Uuid;

use super::model::{EncryptionConfigurationInput, RecordingEncryptionConfiguration, address};
use super::pages::{Listing, PageQuery};
use super::{asker, event, row, to_its_end};
use crate::access::Administered;
use crate::api::session::private;
use crate::api::{JsonBody, Query};
use crate::audit::Event;
use crate::problem::{Problem, ProblemDetails};
use crate::request::RequestInfo;
use crate::state::App;

const PATH: &str = "/api/v2/recording/keyconfigurations";

/// The tenant's key services, newest first.
#[utoipa::path(get, path = "/api/v2/recording/keyconfigurations", tag = "keys", params(PageQuery), responses(
    (status = 200, description = "A page", body = Listing<RecordingEncryptionConfiguration>),
    (status = 400, description = "`bad-request`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn list(
    State(app): State<App>,
    administered: Administered,
    Query(query): Query<PageQuery>,
) -> Result<Response, Problem> {
    let all = app.catalogue().key_configurations(&row(&administered).id);
    let all = all.await.map_err(RegistrationError::from)?;
    let all = all.iter().map(RecordingEncryptionConfiguration::from);
    Ok(private(Json(query.page(PATH, all.collect())?)))
}

/// Registers a key service, after it was asked.
///
/// LocalKeyManager: it is probed (`OPTIONS`) and saved; register a key pair with
/// `POST /api/v2/recording/localkeys` next. KmsSymmetric: a key pair is minted under the KMS key, a
/// sample is wrapped and opened, and new recordings use it from then on. Native: Keyreel makes and
/// keeps a new key pair, and new recordings use it from then on.
#[utoipa::path(post, path = "/api/v2/recording/keyconfigurations", tag = "keys",
    request_body = EncryptionConfigurationInput,
    params(("tenant" = Option<String>, Query, description = "The tenant, where the token administers several")),
    responses(
    (status = 200, description = "It works, and is saved", body = RecordingEncryptionConfiguration),
    (status = 400, description = "`bad-request`: it cannot work; nothing was saved", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`; `key-denied`, `key-disabled`: the key service says no; nothing was saved", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "`key-not-found`: the key service does not know the key", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 410, description = "`destroyed`: the organisation's keys were", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 502, description = "`provider-malformed`: the key service's answer makes no sense; nothing was saved", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "`unavailable`, `throttled`, `audit-unavailable`; nothing was saved, unless it says that it may be", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 504, description = "`timeout`; nothing was saved", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn create(
    State(app): State<App>,
    info: RequestInfo,
    administered: Administered,
    JsonBody(input): JsonBody<EncryptionConfigurationInput>,
) -> Result<Response, Problem> {
    let new = input.into_new()?;
    to_its_end(async move {
        let attempt = Attempt {
            app: &app,
            info: &info,
            administered: &administered,
        };
        let event = attempt.announced("create", None, &new).await?;
        let tenant = row(&administered);
        let registrar = app.keys().registrar()?;
        let made = registrar
            .create(&tenant.id, tenant.policy, new, &attempt.asker())
            .await;
        let event = event.renamed("key.configuration.created");
        attempt.answer(event, made).await
    })
    .await
}

/// Asks a key service as `create` does. Nothing is saved.
#[utoipa::path(post, path = "/api/v2/recording/keyconfigurations/validate", tag = "keys",
    request_body = EncryptionConfigurationInput,
    params(("tenant" = Option<String>, Query, description = "The tenant, where the token administers several")),
    responses(
    (status = 200, description = "The key service answers", body = RecordingEncryptionConfiguration),
    (status = 400, description = "`bad-request`: it cannot work", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`; `key-denied`, `key-disabled`: the key service says no", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "`key-not-found`: the key service does not know the key", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 502, description = "`provider-malformed`: the key service's answer makes no sense", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "`unavailable`, `throttled`, `audit-unavailable`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 504, description = "`timeout`", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn validate(
    State(app): State<App>,
    info: RequestInfo,
    administered: Administered,
    JsonBody(input): JsonBody<EncryptionConfigurationInput>,
) -> Result<Response, Problem> {
    let new = input.into_new()?;
    let attempt = Attempt {
        app: &app,
        info: &info,
        administered: &administered,
    };
    let event = attempt.announced("try", None, &new).await?;
    let tenant = row(&administered).id.clone();
    let registrar = app.keys().registrar()?;
    let checked = registrar.check(&tenant, &new, &attempt.asker()).await;
    let unsaved = KeyConfiguration {
        id: String::new(),
        tenant,
        provider: new.provider,
        config_json: new.json,
        created_ms: app.clock().now_ms(),
    };
    let checked = checked.map(|warnings| Registered {
        configuration: unsaved,
        kek: None,
        warnings,
    });
    let event = event.renamed("key.configuration.tried");
    attempt.answer(event, checked).await
}

/// One key service, with what is wrong with it just now.
#[utoipa::path(get, path = "/api/v2/recording/keyconfigurations/{id}", tag = "keys",
    params(("id" = String, Path, description = "The configuration's id"),
        ("tenant" = Option<String>, Query, description = "The tenant, where the token administers several")),
    responses(
    (status = 200, description = "The configuration", body = RecordingEncryptionConfiguration),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "`not-found`, also where it is another tenant's", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn show(
    State(app): State<App>,
    info: RequestInfo,
    administered: Administered,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let tenant = &row(&administered).id;
    let found = app.catalogue().key_configuration(tenant, &id).await;
    let found = found.map_err(RegistrationError::from)?;
    let found = found.ok_or(RegistrationError::NoConfiguration { id })?;
    let configured = Configured::Saved(found.id.as_str().into());
    let asker = asker(administered.access(), &info);
    let last_error = app.keys().last_errors.get_with_by_ref(&found.id, async {
        let health = app
            .keyring()
            .health(tenant, &found.provider, configured, &asker);
        match health.await {
            Ok(health) if health.status == "ok" => None,
            Ok(health) => Some(health.detail),
            Err(error) => Some(Problem::of_key_service(error).detail().to_owned()),
        }
    });
    Ok(private(Json(RecordingEncryptionConfiguration {
        last_error: last_error.await,
        ..RecordingEncryptionConfiguration::from(&found)
    })))
}

/// Changes where a key service is found, or its API key, after it was asked there. Where it is found
/// at another origin, its secrets have to be sent again. The keys that were registered with it and
/// are in use must open samples; with KmsSymmetric and Native a new key pair is minted,
/// and new recordings use it from then on. Caches are emptied and open streams begin again.
#[utoipa::path(put, path = "/api/v2/recording/keyconfigurations/{id}", tag = "keys",
    request_body = EncryptionConfigurationInput,
    params(("id" = String, Path, description = "The configuration's id"),
        ("tenant" = Option<String>, Query, description = "The tenant, where the token administers several")),
    responses(
    (status = 200, description = "It works, and is saved", body = RecordingEncryptionConfiguration),
    (status = 400, description = "`bad-request`: it cannot work, or its origin is another and its secrets were not sent with it; nothing was saved", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`; `key-denied`, `key-disabled`: the key service says no; nothing was saved", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "`not-found`, also where it is another tenant's; `key-not-found`: the key service does not know the key, nothing was saved", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 410, description = "`destroyed`: the organisation's keys were", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 502, description = "`provider-malformed`: the key service's answer makes no sense; nothing was saved", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "`unavailable`, `throttled`, `audit-unavailable`; nothing was saved, unless it says that it may be", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 504, description = "`timeout`; nothing was saved", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn replace(
    State(app): State<App>,
    info: RequestInfo,
    administered: Administered,
    Path(id): Path<String>,
    JsonBody(input): JsonBody<EncryptionConfigurationInput>,
) -> Result<Response, Problem> {
    let new = input.into_new()?;
    to_its_end(async move {
        let attempt = Attempt {
            app: &app,
            info: &info,
            administered: &administered,
        };
        let event = attempt.announced("change", Some(&id), &new).await?;
        let tenant = row(&administered);
        let registrar = app.keys().registrar()?;
        let made = registrar
            .replace(&tenant.id, tenant.policy, &id, new, &attempt.asker())
            .await;
        app.keys().last_errors.invalidate(&id).await;
        let event = event.renamed("key.configuration.changed");
        attempt.answer(event, made).await
    })
    .await
}

/// An administrator who tries, adds or changes a configuration.
struct Attempt<'a> {
    app: &'a App,
    info: &'a RequestInfo,
    administered: &'a Administered,
}

impl Attempt<'_> {
    fn asker(&self) -> keyreel_keys::Asker {
        asker(self.administered.access(), self.info)
    }

    /// Writes down what is wanted, and where the key service would be, before it is asked. Gives
    /// the event that says how it ended, but for that.
    async fn announced(
        &self,
        change: &'static str,
        id: Option<&str>,
        new: &NewConfiguration,
    ) -> Result<Event, Problem> {
        let tenant = &row(self.administered).id;
        let mut event = event(
            "key.configuration.requested",
            tenant,
            self.administered.access(),
            self.info,
        )
        .field("provider", new.provider.as_str());
        // What is no id of ours may be anything, of any length.
        if let Some(id) = id.filter(|id| Uuid::parse_str(id).is_ok()) {
            event = event.field("configuration", id);
        }
        // What its provider does not accept is not asked anything.
        if let Ok(origins) = self.app.keys().registrar()?.origins(new).await {
            event = event.field("origins", origins);
            if let Some(address) = address(new) {
                event = event.field("url", address);
            }
        }
        let announced = event.clone().field("change", change);
        self.app.announce(announced).await?;
        Ok(event)
    }

    async fn answer(
        &self,
        mut event: Event,
        made: Result<Registered, RegistrationError>,
    ) -> Result<Response, Problem> {
        let made = match made {
            Ok(made) => made,
            Err(error) => {
                let problem = Problem::from(error);
                self.app.conclude(event, Some(&problem)).await;
                return Err(problem);
            }
        };
        if !made.configuration.id.is_empty() {
            event = event.field("configuration", made.configuration.id.clone());
        }
        if let Some(kek) = &made.kek {
            event = event.field("kek", kek.id.as_str());
        }
        self.app.conclude(event, None).await;
        Ok(private(Json(RecordingEncryptionConfiguration {
            warnings: made.warnings,
            ..RecordingEncryptionConfiguration::from(&made.configuration)
        })))
    }
}
