//! The web app, embedded in the binary.
//! Not for: what it shows; that comes from the API, to whoever is signed in.

use std::collections::HashMap;
use std::sync::LazyLock;

use aws_lc_rs::digest;
use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::problem::{Code, Problem};
use crate::state::App;

/// The app's own paths, and its files.
pub(crate) fn routes() -> Router<App> {
    let mut router = Router::new()
        .route("/", get(index))
        .route("/sign-in", get(index))
        .route("/recordings/{id}", get(index))
        .route("/admin/encryption-keys", get(index))
        .route("/admin/audit", get(index))
        .route("/assets/{*path}", get(asset));
    // Icons and the like, which lie beside index.html.
    for name in PAGES
        .keys()
        .filter(|name| !name.contains('/') && **name != INDEX)
    {
        if is_variant(name) {
            continue;
        }
        router = router.route(
            &format!("/{name}"),
            get(async |headers: HeaderMap| file(name, &headers, SHORT)),
        );
    }
    router
}

async fn index(headers: HeaderMap) -> Response {
    let mut response = file(INDEX, &headers, "no-cache");
    let own = response.headers_mut();
    own.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(POLICY),
    );
    own.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
    own.insert(
        PERMISSIONS,
        HeaderValue::from_static("camera=(), microphone=(), geolocation=()"),
    );
    own.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    response
}

/// Assets have a hash of their content in their names: what was fetched once is good for ever.
async fn asset(Path(path): Path<String>, headers: HeaderMap) -> Response {
    file(
        &format!("assets/{path}"),
        &headers,
        "public, max-age=31536000, immutable",
    )
}

fn file(name: &str, asked: &HeaderMap, caching: &'static str) -> Response {
    let Some(page) = PAGES.get(name).filter(|_| !is_variant(name)) else {
        return Problem::new(Code::NotFound, "There is no such page.").into_response();
    };
    let (page, encoding) = encoded(name, page, asked);
    let matches = asked
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == page.etag));
    let mut response = Response::new(Body::empty());
    if matches {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        *response.body_mut() = Body::from(Bytes::from_static(page.bytes));
    }
    let headers = response.headers_mut();
    if let Ok(etag) = HeaderValue::from_str(&page.etag) {
        headers.insert(header::ETAG, etag);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(content_type(name)),
    );
    if let Some(encoding) = encoding {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    response
}

/// The compressed variant that the build laid beside the file, where the client takes it.
fn encoded(
    name: &str,
    plain: &'static Page,
    asked: &HeaderMap,
) -> (&'static Page, Option<&'static str>) {
    let accepted = asked
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    for (suffix, coding) in [(".br", "br"), (".gz", "gzip")] {
        let taken = accepted.split(',').any(|item| {
            let mut parts = item.split(';');
            let named = parts
                .next()
                .is_some_and(|n| n.trim().eq_ignore_ascii_case(coding));
            named && !parts.any(|parameter| parameter.trim() == "q=0")
        });
        if taken && let Some(page) = PAGES.get(format!("{name}{suffix}").as_str()) {
            return (page, Some(coding));
        }
    }
    (plain, None)
}

struct Page {
    bytes: &'static [u8],
    etag: String,
}

static PAGES: LazyLock<HashMap<&'static str, Page>> = LazyLock::new(|| {
    EMBEDDED
        .iter()
        .map(|(name, bytes)| {
            let hash = digest::digest(&digest::SHA256, bytes);
            let short = hash.as_ref().get(..12).unwrap_or_default();
            (
                *name,
                Page {
                    bytes,
                    etag: format!("\"{}\"", URL_SAFE_NO_PAD.encode(short)),
                },
            )
        })
        .collect()
});

const EMBEDDED: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/pages.rs"));

fn is_variant(name: &str) -> bool {
    name.ends_with(".br") || name.ends_with(".gz")
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

const INDEX: &str = "index.html";
const SHORT: &str = "public, max-age=3600";
/// Everything from here, and nothing inline, styles neither: the build takes wavesurfer.js' style
/// element out (host/web/vite.config.ts), and the pages set styles one property at a time, which no
/// policy forbids. Forms are sent by script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; \
    img-src 'self'; connect-src 'self'; media-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const PERMISSIONS: HeaderName = HeaderName::from_static("permissions-policy");
