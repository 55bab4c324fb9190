//! What an answer to a media request will be, decided from headers and length alone. All but
//! `Full`, `Single` and `Multi` of a GET end without a key being touched.

use std::ops::Range;

use http::Method;
use http::header::{HeaderMap, RANGE};

use super::conditions::{self, Validators, Verdict};
use super::range::{self, Wanted};

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Plan {
    /// 200, the whole.
    Full,
    /// 206, one stretch. Never multipart.
    Single(Range<u64>),
    /// 206, `multipart/byteranges`, in the order asked for.
    Multi(Vec<Range<u64>>),
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
    /// 416.
    Unsatisfiable,
}

impl Plan {
    /// Decides.
    pub(crate) fn new(
        method: &Method,
        headers: &HeaderMap,
        validators: &Validators,
        len: u64,
    ) -> Self {
        match conditions::judge(headers, validators) {
            Verdict::NotModified => return Self::NotModified,
            Verdict::Failed => return Self::PreconditionFailed,
            Verdict::Proceed => {}
        }
        // RFC 9110 §14.2: Range is defined for GET alone.
        if *method != Method::GET {
            return Self::Full;
        }
        let mut ranges = headers.get_all(RANGE).iter();
        let (Some(header), None) = (ranges.next(), ranges.next()) else {
            return Self::Full;
        };
        if !conditions::range_counts(headers, validators) {
            return Self::Full;
        }
        match range::wanted(header.as_bytes(), len) {
            Wanted::Whole => Self::Full,
            Wanted::Unsatisfiable => Self::Unsatisfiable,
            Wanted::Ranges(ranges) => match <[Range<u64>; 1]>::try_from(ranges) {
                Ok([range]) => Self::Single(range),
                Err(ranges) => Self::Multi(ranges),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Method};

    use super::{Plan, Validators};

    fn plan(method: &Method, pairs: &[(&'static str, &str)]) -> Plan {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        Plan::new(
            method,
            &headers,
            &Validators::new("\"v\"".to_owned(), 0),
            1000,
        )
    }

    #[test]
    fn preconditions_come_first_and_head_has_no_ranges() {
        let get = Method::GET;
        let range = ("range", "bytes=0-5");
        assert_eq!(plan(&get, &[]), Plan::Full);
        assert_eq!(plan(&get, &[range]), Plan::Single(0..6));
        assert_eq!(plan(&Method::HEAD, &[range]), Plan::Full);
        assert_eq!(plan(&Method::HEAD, &[("range", "bytes=5000-")]), Plan::Full);
        assert_eq!(
            plan(&get, &[range, ("if-none-match", "\"v\"")]),
            Plan::NotModified
        );
        assert_eq!(
            plan(&get, &[range, ("if-match", "\"w\"")]),
            Plan::PreconditionFailed
        );
        assert_eq!(
            plan(
                &get,
                &[("range", "bytes=5000-"), ("if-none-match", "\"v\"")]
            ),
            Plan::NotModified
        );
        assert_eq!(
            plan(&get, &[range, ("if-range", "\"v\"")]),
            Plan::Single(0..6)
        );
        assert_eq!(plan(&get, &[range, ("if-range", "\"w\"")]), Plan::Full);
        // An `If-Range` that fails also saves a range that could not be satisfied.
        assert_eq!(
            plan(&get, &[("range", "bytes=5000-"), ("if-range", "\"w\"")]),
            Plan::Full
        );
        assert_eq!(plan(&get, &[("range", "bytes=5000-")]), Plan::Unsatisfiable);
        assert_eq!(plan(&get, &[range, range]), Plan::Full);
        assert_eq!(
            plan(&get, &[("range", "bytes=0-5,500-505")]),
            Plan::Multi(vec![0..6, 500..506])
        );
    }
}
