//! Requests that another site makes with somebody's cookie. `SameSite=Strict` keeps the cookie from
//! most of them; this keeps the rest from doing anything.

use http::request::Parts;
use http::{HeaderMap, Method, header};
use url::Url;

use crate::problem::{Code, Problem};
use crate::settings::ListenSettings;

/// For requests that came with the cookie: an unsafe method needs `X-Keyreel: 1`, which no form can
/// send and no other origin may, and must come from this origin.
pub(super) fn check(parts: &Parts, settings: &ListenSettings) -> Result<(), Problem> {
    if is_safe(&parts.method) {
        return Ok(());
    }
    let marked = parts
        .headers
        .get("x-keyreel")
        .is_some_and(|value| value == "1");
    if marked && from_here(&parts.headers, parts, settings) == Some(true) {
        Ok(())
    } else {
        Err(refusal())
    }
}

/// For signing in, which needs no cookie: what says that it comes from elsewhere is refused, so
/// that nobody is signed in as somebody else without knowing.
pub(crate) fn refuse_cross_site(parts: &Parts, settings: &ListenSettings) -> Result<(), Problem> {
    match from_here(&parts.headers, parts, settings) {
        Some(false) => Err(refusal()),
        Some(true) | None => Ok(()),
    }
}

/// Whether the request comes from this origin, as far as it says.
fn from_here(headers: &HeaderMap, parts: &Parts, settings: &ListenSettings) -> Option<bool> {
    if let Some(site) = headers.get("sec-fetch-site") {
        return Some(site == "same-origin" || site == "none");
    }
    let origin = headers.get(header::ORIGIN)?;
    let origin = origin.to_str().ok().and_then(|text| Url::parse(text).ok());
    let Some(origin) = origin else {
        return Some(false);
    };
    if let Some(public) = &settings.public_url {
        return Some(origin.origin() == public.origin());
    }
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let host = host.or_else(|| parts.uri.authority().map(http::uri::Authority::as_str));
    let Some(host) = host else { return Some(false) };
    // The scheme is the origin's own: without `public_url` it is not known which one a proxy spoke.
    let here = Url::parse(&format!("{}://{host}", origin.scheme()));
    Some(here.is_ok_and(|here| here.origin() == origin.origin()))
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn refusal() -> Problem {
    Problem::new(
        Code::Denied,
        "This request does not come from this server's own pages.",
    )
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Method, Request};
    use url::Url;

    use super::{check, refuse_cross_site};
    use crate::settings::ListenSettings;

    fn parts(method: &Method, pairs: &[(&'static str, &'static str)]) -> http::request::Parts {
        let mut request = Request::builder().method(method).uri("/api/v1/session");
        for (name, value) in pairs {
            request = request.header(*name, HeaderValue::from_static(value));
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn only_this_origin_with_the_mark_may_change_anything() {
        let mark = ("x-keyreel", "1");
        let host = ("host", "keyreel.example:8443");
        let here = ("origin", "https://keyreel.example:8443");
        let table: &[(&[(&str, &str)], bool)] = &[
            (&[], false),
            (&[mark], false),
            (&[mark, ("sec-fetch-site", "same-origin")], true),
            (&[mark, ("sec-fetch-site", "none")], true),
            (&[mark, ("sec-fetch-site", "same-site")], false),
            (&[mark, ("sec-fetch-site", "cross-site")], false),
            (&[mark, ("sec-fetch-site", "cross-site"), host, here], false),
            (&[("sec-fetch-site", "same-origin")], false),
            (
                &[("x-keyreel", "0"), ("sec-fetch-site", "same-origin")],
                false,
            ),
            (&[mark, host, here], true),
            (&[mark, host, ("origin", "https://keyreel.example")], false),
            (&[mark, host, ("origin", "https://evil.example")], false),
            (&[mark, host, ("origin", "null")], false),
            (&[mark, here], false),
        ];
        let settings = ListenSettings::default();
        for (pairs, allowed) in table {
            for method in [Method::POST, Method::DELETE, Method::PUT, Method::PATCH] {
                let parts = parts(&method, pairs);
                assert_eq!(
                    check(&parts, &settings).is_ok(),
                    *allowed,
                    "{method} {pairs:?}"
                );
            }
            assert!(check(&parts(&Method::GET, pairs), &settings).is_ok());
        }
    }

    #[test]
    fn behind_a_proxy_the_public_origin_counts() {
        let settings = ListenSettings {
            public_url: Some(Url::parse("https://recordings.example/").unwrap()),
            ..ListenSettings::default()
        };
        let from = |origin| {
            let pairs = [
                ("x-keyreel", "1"),
                ("host", "10.0.0.7:8080"),
                ("origin", origin),
            ];
            check(&parts(&Method::POST, &pairs), &settings).is_ok()
        };
        assert!(from("https://recordings.example"));
        assert!(!from("http://recordings.example"));
        assert!(!from("http://10.0.0.7:8080"));
    }

    #[test]
    fn signing_in_is_refused_only_to_what_says_it_comes_from_elsewhere() {
        let settings = ListenSettings::default();
        let allowed = |pairs: &[(&'static str, &'static str)]| {
            refuse_cross_site(&parts(&Method::POST, pairs), &settings).is_ok()
        };
        assert!(allowed(&[]));
        assert!(allowed(&[("sec-fetch-site", "same-origin")]));
        assert!(!allowed(&[("sec-fetch-site", "cross-site")]));
        assert!(!allowed(&[
            ("host", "a.example"),
            ("origin", "https://b.example")
        ]));
    }
}
