//! Preconditions, RFC 9110 §13, in the order of §13.2.2. They come before `Range`: Chromium sends
//! `Range` together with `If-None-Match`.

use std::time::{Duration, SystemTime};

use http::header::{
    HeaderMap, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE,
};

/// What a representation is known by. Both validators are strong: an object's bytes never change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Validators {
    /// With its quotation marks.
    pub(crate) etag: String,
    /// In whole seconds, as `Last-Modified` says it.
    pub(crate) modified: SystemTime,
}

impl Validators {
    /// `created_ms` in ms since 1970.
    pub(crate) fn new(etag: String, created_ms: u64) -> Self {
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(created_ms / 1000);
        Self { etag, modified }
    }
}

/// From here on (year 10000, ms since 1970) HTTP has no dates.
pub(super) const END_OF_DATES_MS: u64 = 253_402_300_800_000;

/// What the preconditions come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// They hold: go on.
    Proceed,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

/// Judges the preconditions of a GET or HEAD.
pub(crate) fn judge(headers: &HeaderMap, validators: &Validators) -> Verdict {
    if headers.contains_key(IF_MATCH) {
        if !list_matches(headers, &IF_MATCH, &validators.etag, strong) {
            return Verdict::Failed;
        }
    } else if let Some(date) = date(headers, &IF_UNMODIFIED_SINCE)
        && validators.modified > date
    {
        return Verdict::Failed;
    }
    if headers.contains_key(IF_NONE_MATCH) {
        if list_matches(headers, &IF_NONE_MATCH, &validators.etag, weak) {
            return Verdict::NotModified;
        }
    } else if let Some(date) = date(headers, &IF_MODIFIED_SINCE)
        && validators.modified <= date
    {
        return Verdict::NotModified;
    }
    Verdict::Proceed
}

/// Whether `Range` counts: there is no `If-Range`, or it names this very representation, compared
/// strongly (§13.1.5). A date is strong here, since an object never changes.
pub(crate) fn range_counts(headers: &HeaderMap, validators: &Validators) -> bool {
    let mut values = headers.get_all(IF_RANGE).iter();
    let Some(value) = values.next() else {
        return true;
    };
    let (Ok(value), None) = (value.to_str(), values.next()) else {
        return false;
    };
    let value = value.trim();
    if value.starts_with('"') || value.starts_with("W/") {
        return strong(value, &validators.etag);
    }
    httpdate::parse_http_date(value).is_ok_and(|date| date == validators.modified)
}

/// A second field of the same name makes neither of them valid.
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    httpdate::parse_http_date(value.trim()).ok()
}

fn list_matches(
    headers: &HeaderMap,
    name: &HeaderName,
    etag: &str,
    same: fn(&str, &str) -> bool,
) -> bool {
    headers.get_all(name).iter().any(|value| {
        value
            .to_str()
            .is_ok_and(|list| list.trim() == "*" || tags(list).any(|tag| same(tag, etag)))
    })
}

/// The entity tags of a list. A comma may stand within a tag, so it is no separator by itself.
fn tags(list: &str) -> impl Iterator<Item = &str> {
    let mut rest = list;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let opening = if rest.starts_with("W/\"") { 2 } else { 0 };
        let body = rest.get(opening..)?.strip_prefix('"')?;
        let closing = opening + 1 + body.find('"')?;
        let tag = rest.get(..=closing)?;
        rest = rest.get(closing + 1..)?;
        Some(tag)
    })
}

fn strong(tag: &str, etag: &str) -> bool {
    !tag.starts_with("W/") && tag == etag
}

fn weak(tag: &str, etag: &str) -> bool {
    tag.strip_prefix("W/").unwrap_or(tag) == etag.strip_prefix("W/").unwrap_or(etag)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{Validators, Verdict, judge, range_counts};

    const ETAG: &str = "\"abc\"";
    // Sun, 06 Nov 1994 08:49:37 GMT
    const CREATED_MS: u64 = 784_111_777_123;
    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect()
    }

    #[test]
    fn preconditions() {
        use Verdict::{Failed, NotModified, Proceed};
        let table: &[(&[(&str, &str)], Verdict)] = &[
            (&[], Proceed),
            (&[("if-match", ETAG)], Proceed),
            (&[("if-match", "*")], Proceed),
            (&[("if-match", "\"x\", \"abc\"")], Proceed),
            (&[("if-match", "\"x\",\"a,b\",\"abc\"")], Proceed),
            (&[("if-match", "\"x\"")], Failed),
            (&[("if-match", "W/\"abc\"")], Failed),
            (&[("if-match", "abc")], Failed),
            (&[("if-match", "\"x\""), ("if-none-match", ETAG)], Failed),
            (&[("if-match", ETAG), ("if-none-match", ETAG)], NotModified),
            (
                &[("if-match", ETAG), ("if-unmodified-since", BEFORE)],
                Proceed,
            ),
            (&[("if-unmodified-since", SAME)], Proceed),
            (&[("if-unmodified-since", AFTER)], Proceed),
            (&[("if-unmodified-since", BEFORE)], Failed),
            (&[("if-unmodified-since", "yesterday")], Proceed),
            (&[("if-none-match", ETAG)], NotModified),
            (&[("if-none-match", "W/\"abc\"")], NotModified),
            (&[("if-none-match", "*")], NotModified),
            (&[("if-none-match", "\"x\",W/\"abc\"")], NotModified),
            (
                &[("if-none-match", "\"x\""), ("if-none-match", ETAG)],
                NotModified,
            ),
            (&[("if-none-match", "\"x\"")], Proceed),
            (
                &[("if-none-match", "\"x\""), ("if-modified-since", AFTER)],
                Proceed,
            ),
            (&[("if-modified-since", SAME)], NotModified),
            (&[("if-modified-since", AFTER)], NotModified),
            (&[("if-modified-since", BEFORE)], Proceed),
            (&[("if-modified-since", "yesterday")], Proceed),
            (
                &[("if-modified-since", SAME), ("if-modified-since", SAME)],
                Proceed,
            ),
        ];
        let validators = Validators::new(ETAG.to_owned(), CREATED_MS);
        for (pairs, expected) in table {
            let mut map = HeaderMap::new();
            for (name, value) in *pairs {
                map.append(*name, HeaderValue::from_str(value).unwrap());
            }
            assert_eq!(judge(&map, &validators), *expected, "{pairs:?}");
        }
    }

    #[test]
    fn if_range_compares_strongly() {
        let validators = Validators::new(ETAG.to_owned(), CREATED_MS);
        assert!(range_counts(&HeaderMap::new(), &validators));
        let table = [
            (ETAG, true),
            (" \"abc\" ", true),
            ("W/\"abc\"", false),
            ("\"x\"", false),
            ("*", false),
            ("\"x\", \"abc\"", false),
            ("abc", false),
            ("", false),
            (SAME, true),
            ("Sunday, 06-Nov-94 08:49:37 GMT", true),
            ("Sun Nov  6 08:49:37 1994", true),
            (BEFORE, false),
            (AFTER, false),
        ];
        for (value, expected) in table {
            let map = headers(&[("if-range", value)]);
            assert_eq!(range_counts(&map, &validators), expected, "{value:?}");
        }
    }
}
