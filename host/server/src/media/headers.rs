//! The headers of media answers.

use http::HeaderValue;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_RANGE, CONTENT_SECURITY_POLICY, ETAG, HeaderMap,
    HeaderName, LAST_MODIFIED, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};

use super::conditions::Validators;
use super::plan::Plan;

/// What the answer is of.
pub(super) fn describe(headers: &mut HeaderMap, plan: &Plan, validators: &Validators, len: u64) {
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Ok(etag) = HeaderValue::from_str(&validators.etag) {
        headers.insert(ETAG, etag);
    }
    if let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(validators.modified)) {
        headers.insert(LAST_MODIFIED, date);
    }
    if *plan == Plan::Unsatisfiable
        && let Ok(range) = HeaderValue::from_str(&format!("bytes */{len}"))
    {
        headers.insert(CONTENT_RANGE, range);
    }
}

/// What keeps other sites and caches away. On every answer, refusals too.
pub(super) fn protect(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("sandbox; default-src 'none'"),
    );
    headers.insert(VARY, HeaderValue::from_static("cookie, authorization"));
}

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
