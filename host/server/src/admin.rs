//! The listener for operators: is it alive, is it ready, what does it count. It asks for no
//! credentials and is for a private network; nothing that it says is about a tenant.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::shutdown::Phase;
use crate::state::App;

/// Something that has to work before the server is of use: the keystore, a plugin.
#[async_trait]
pub trait ReadyCheck: Send + Sync {
    /// What it is called in `/readyz`.
    fn name(&self) -> &str;

    /// Whether it works.
    ///
    /// # Errors
    /// What is wrong, for operators.
    async fn check(&self) -> Result<(), String>;
}

#[derive(Clone)]
struct Admin {
    app: App,
    checks: Arc<[Arc<dyn ReadyCheck>]>,
    phase: watch::Receiver<Phase>,
}

/// The routes.
pub(crate) fn router(
    app: App,
    checks: Vec<Arc<dyn ReadyCheck>>,
    phase: watch::Receiver<Phase>,
) -> Router {
    Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Admin {
            app,
            checks: checks.into(),
            phase,
        })
}

async fn live(State(admin): State<Admin>) -> Response {
    let build = admin.app.build();
    Json(json!({"status": "ok", "version": build.version, "commit": build.commit})).into_response()
}

async fn ready(State(admin): State<Admin>) -> Response {
    let mut found = Map::new();
    let mut well = true;
    let mut note = |name: &str, outcome: Result<(), String>| {
        well &= outcome.is_ok();
        let text = outcome.err().unwrap_or_else(|| "ok".to_owned());
        found.insert(name.to_owned(), Value::from(text));
    };
    if *admin.phase.borrow() > Phase::Serving {
        note("server", Err("shutting down".to_owned()));
    } else {
        note("server", Ok(()));
    }
    let catalogue = admin.app.catalogue().ready();
    note(
        "catalogue",
        in_time(async { catalogue.await.map_err(|e| e.to_string()) }).await,
    );
    let objects = admin.app.objects().ready();
    note(
        "objects",
        in_time(async { objects.await.map_err(|e| e.to_string()) }).await,
    );
    for check in admin.checks.iter() {
        note(check.name(), in_time(check.check()).await);
    }
    let status = if well {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let word = if well { "ok" } else { "not ready" };
    (status, Json(json!({"status": word, "checks": found}))).into_response()
}

async fn in_time(check: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let limited = tokio::time::timeout(CHECK_LIMIT, check).await;
    limited.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

async fn metrics(State(admin): State<Admin>) -> Response {
    let app = &admin.app;
    let text = app.metrics().text(app.keyring(), app.rewrapper().stats());
    let mut response = text.into_response();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8"),
    );
    response
}

const CHECK_LIMIT: Duration = Duration::from_secs(2);
