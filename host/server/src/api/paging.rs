//! Limits, times and the address of the next page.

use jiff::Timestamp;
use url::form_urlencoded::Serializer;

use crate::problem::{Code, Problem};

/// How many entities a page has: 50 unless said, at most 200.
pub(super) fn limit(asked: Option<u32>) -> Result<u32, Problem> {
    match asked {
        None => Ok(DEFAULT_LIMIT),
        Some(limit @ 1..=MAX_LIMIT) => Ok(limit),
        Some(_) => Err(Problem::new(Code::BadRequest, "limit: expected 1 to 200.")),
    }
}

/// A moment in a query, as ms since 1970.
pub(super) fn moment(name: &str, text: Option<&str>) -> Result<Option<u64>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let parsed: Result<Timestamp, _> = text.parse();
    match parsed.map(|at| u64::try_from(at.as_millisecond())) {
        Ok(Ok(ms)) => Ok(Some(ms)),
        _ => Err(Problem::new(
            Code::BadRequest,
            format!("{name}: expected a time such as 2026-11-03T09:12:44Z."),
        )),
    }
}

/// The address of the next page: the same question, from `cursor` on.
pub(super) fn next_uri(
    path: &str,
    cursor: Option<&str>,
    limit: u32,
    filters: &[(&str, Option<&str>)],
) -> Option<String> {
    let cursor = cursor?;
    let mut query = Serializer::new(String::new());
    query.append_pair("limit", &limit.to_string());
    for (name, value) in filters {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    query.append_pair("cursor", cursor);
    Some(format!("{path}?{}", query.finish()))
}

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 200;
