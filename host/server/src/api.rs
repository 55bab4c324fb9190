//! `/api/v1` and `/api/v2`: what the pages and other programs ask for. Routes and their documentation are
//! collected together; `docs/openapi.json` is what comes out.
//! Not for: the media themselves (see `media`).

pub(crate) mod audit;
mod extract;
mod ingest;
mod keys;
mod model;
mod paging;
mod playback;
mod recordings;
mod session;

use axum::Json;
use axum::extract::{DefaultBodyLimit, State};
use axum::middleware;
use axum::routing::get;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::request::within;
use crate::settings::LimitSettings;
use crate::state::App;

pub(crate) use extract::{Id, JsonBody, Query, Whose};
pub(crate) use ingest::Places;
pub(crate) use keys::Keys;
pub use keys::destruction::DestructionStatus;
pub use keys::recovery::RecoveryKeyStatus;
pub(crate) use model::time;
pub(crate) use playback::{media_file_name, part_kind};

/// The API's routes.
pub(crate) fn routes(limits: &LimitSettings) -> axum::Router<App> {
    let (router, _) = documented().split_for_parts();
    // What takes as long as a recording is long is bound by its own limits.
    let (long, _) = long().split_for_parts();
    let document = openapi();
    router
        .route(
            "/api/v1/openapi.json",
            get(async move |State(_): State<App>| Json(document)),
        )
        .layer(DefaultBodyLimit::max(limits.body_bytes as usize))
        .layer(middleware::from_fn_with_state(
            limits.request_timeout(),
            within,
        ))
        .merge(long.layer(DefaultBodyLimit::disable()))
}

/// The API's description, as `docs/openapi.json` has it.
#[must_use]
pub fn openapi() -> OpenApi {
    documented().merge(long()).split_for_parts().1
}

/// Routes whose requests take as long as it takes to send a recording.
fn long() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(ingest::create))
}

fn documented() -> OpenApiRouter<App> {
    let mut document = Document::openapi();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("A token: \"krt_…\"."))
        .build();
    let cookie = ApiKeyValue::with_description(
        crate::access::COOKIE_NAME,
        "The pages' session. Unsafe methods also need `X-Keyreel: 1` and this origin.",
    );
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    components.add_security_scheme("cookie", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    OpenApiRouter::with_openapi(document)
        .routes(routes!(session::create, session::show, session::end))
        .routes(routes!(session::tenants))
        .routes(routes!(recordings::list))
        .routes(routes!(recordings::show))
        .routes(routes!(playback::grant))
        .routes(routes!(audit::list))
        .routes(routes!(audit::export))
        .routes(routes!(ingest::sealed))
        .routes(routes!(
            keys::configurations::list,
            keys::configurations::create
        ))
        .routes(routes!(keys::configurations::validate))
        .routes(routes!(
            keys::configurations::show,
            keys::configurations::replace
        ))
        .routes(routes!(keys::recording_keys::list, keys::rotation::rotate))
        .routes(routes!(
            keys::rotation::schedule,
            keys::rotation::set_schedule
        ))
        .routes(routes!(keys::recording_keys::register))
        .routes(routes!(keys::overview::keys))
        .routes(routes!(keys::overview::providers))
        .routes(routes!(keys::rotation::change_policy))
        .routes(routes!(keys::purge::purge))
        .routes(routes!(keys::purge::disable))
        .routes(routes!(keys::purge::enable))
        .routes(routes!(
            keys::rewrap::start,
            keys::rewrap::show,
            keys::rewrap::stop
        ))
        .routes(routes!(keys::retire::retire))
        .routes(routes!(keys::destruction::list, keys::destruction::create))
        .routes(routes!(keys::destruction::preview))
        .routes(routes!(keys::destruction::decide))
        .routes(routes!(keys::destruction::certificate))
        .routes(routes!(
            keys::recovery::show,
            keys::recovery::set,
            keys::recovery::remove
        ))
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Keyreel",
        description = "Plays recordings that are encrypted under keys their owner controls. \
            Errors are RFC 9457 problem details with a stable `code`; times are RFC 3339 in UTC.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(crate::problem::ProblemDetails)),
    tags(
        (name = "session", description = "Signing in and out"),
        (name = "recordings", description = "Finding and playing recordings"),
        (name = "keys", description = "Key services and keys, for administrators"),
        (name = "audit", description = "What was done")
    )
)]
struct Document;

#[cfg(test)]
mod tests {
    /// `KEYREEL_WRITE_DOCS=1 cargo test -p keyreel-server openapi` writes it.
    #[test]
    fn openapi_json_has_not_drifted() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
        let mut now = serde_json::to_string_pretty(&super::openapi()).unwrap();
        now.push('\n');
        if option_env!("KEYREEL_WRITE_DOCS").is_some() {
            std::fs::write(path, &now).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == now,
            "docs/openapi.json has drifted: KEYREEL_WRITE_DOCS=1 cargo test -p keyreel-server openapi"
        );
    }
}
