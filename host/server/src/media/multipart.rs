//! What a body consists of: plaintext, and for several ranges the text between them
//! (`multipart/byteranges`, RFC 9110 §14.6).

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap};
use http::{HeaderValue, StatusCode};
use uuid::Uuid;

use super::plan::Plan;

/// A piece of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    /// Text between parts.
    Text(Bytes),
    /// Plaintext of the recording.
    Plain(Range<u64>),
}

/// The form of an answer that has a body.
pub(super) struct Layout {
    pub(super) status: StatusCode,
    pub(super) segments: VecDeque<Segment>,
    content_type: String,
    content_range: Option<String>,
    len: u64,
}

impl Layout {
    /// For a plan with a body, of a representation of `len` bytes.
    pub(super) fn new(plan: &Plan, content_type: &str, len: u64) -> Self {
        match plan {
            Plan::Single(range) => Self {
                status: StatusCode::PARTIAL_CONTENT,
                len: range.end - range.start,
                content_range: Some(content_range(range, len)),
                content_type: content_type.to_owned(),
                segments: VecDeque::from([Segment::Plain(range.clone())]),
            },
            Plan::Multi(ranges) => multi(ranges, content_type, len),
            _ => Self {
                status: StatusCode::OK,
                len,
                content_range: None,
                content_type: content_type.to_owned(),
                segments: VecDeque::from([Segment::Plain(0..len)]),
            },
        }
    }

    /// Writes type, length and range.
    pub(super) fn describe(&self, headers: &mut HeaderMap) {
        if let Ok(content_type) = HeaderValue::from_str(&self.content_type) {
            headers.insert(CONTENT_TYPE, content_type);
        }
        headers.insert(CONTENT_LENGTH, HeaderValue::from(self.len));
        if let Some(range) = self.content_range.as_deref().and_then(|r| r.parse().ok()) {
            headers.insert(CONTENT_RANGE, range);
        }
    }
}

fn multi(ranges: &[Range<u64>], content_type: &str, len: u64) -> Layout {
    let boundary = Uuid::new_v4().simple().to_string();
    let mut segments = VecDeque::with_capacity(ranges.len() * 2 + 1);
    let mut total = 0_u64;
    for (index, range) in ranges.iter().enumerate() {
        let before = if index == 0 { "" } else { "\r\n" };
        let text = format!(
            "{before}--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: {}\r\n\r\n",
            content_range(range, len)
        );
        total += text.len() as u64 + (range.end - range.start);
        segments.push_back(Segment::Text(text.into()));
        segments.push_back(Segment::Plain(range.clone()));
    }
    let end = format!("\r\n--{boundary}--\r\n");
    total += end.len() as u64;
    segments.push_back(Segment::Text(end.into()));
    Layout {
        status: StatusCode::PARTIAL_CONTENT,
        segments,
        content_type: format!("multipart/byteranges; boundary={boundary}"),
        content_range: None,
        len: total,
    }
}

fn content_range(range: &Range<u64>, len: u64) -> String {
    format!(
        "bytes {}-{}/{len}",
        range.start,
        range.end.saturating_sub(1)
    )
}
