//! The `Range` header, RFC 9110 §14.2: from its text to stretches of a representation whose length
//! is known. `http-range-header` judges the syntax of one element; the rest is decided here.
//! Not for: preconditions and `If-Range` (see `conditions`).

use std::ops::Range;

use http_range_header::{EndPosition, StartPosition, parse_range_header};

/// What a `Range` header asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The header says nothing that this server follows: answer the whole.
    Whole,
    /// These stretches: none empty, none overlapping or nearly touching, in the order asked for.
    Ranges(Vec<Range<u64>>),
    /// Nothing of what it asks for exists.
    Unsatisfiable,
}

/// Reads `header` for a representation of `len` bytes.
pub(crate) fn wanted(header: &[u8], len: u64) -> Wanted {
    if header.len() > MAX_HEADER_LEN {
        return Wanted::Whole;
    }
    let Ok(header) = std::str::from_utf8(header) else {
        return Wanted::Whole;
    };
    let Some((unit, set)) = header.split_once('=') else {
        return Wanted::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wanted::Whole;
    }
    let elements: Vec<&str> = set
        .split(',')
        .map(|e| e.trim_matches([' ', '\t']))
        .filter(|e| !e.is_empty())
        .collect();
    if elements.len() > MAX_ELEMENTS {
        return Wanted::Whole;
    }
    let mut asked = Vec::with_capacity(elements.len());
    for element in elements {
        match resolve(element, len) {
            Resolved::Malformed => return Wanted::Unsatisfiable,
            Resolved::Nothing => {}
            // An empty representation has no byte to send a range of: a 206 cannot say so.
            Resolved::AllOfNothing => return Wanted::Whole,
            Resolved::Bytes(range) => asked.push(range),
        }
    }
    if asked.is_empty() {
        return Wanted::Unsatisfiable;
    }
    let total = asked
        .iter()
        .fold(0_u64, |sum, r| sum.saturating_add(r.end - r.start));
    if total > len {
        return Wanted::Whole;
    }
    Wanted::Ranges(coalesce(asked))
}

/// More elements than this are nobody's player.
const MAX_ELEMENTS: usize = 8;
const MAX_HEADER_LEN: usize = 512;
/// A part's own headers take about as many bytes as such a gap, RFC 9110 §15.3.7.2.
const MIN_GAP: u64 = 80;

enum Resolved {
    Malformed,
    Nothing,
    AllOfNothing,
    Bytes(Range<u64>),
}

fn resolve(element: &str, len: u64) -> Resolved {
    let Some((first, last)) = element.split_once('-') else {
        return Resolved::Malformed;
    };
    let (Some(first), Some(last)) = (number(first), number(last)) else {
        return Resolved::Malformed;
    };
    if first.is_empty() && last == "0" {
        // The last no bytes: well formed, and never satisfiable.
        return if len == 0 {
            Resolved::AllOfNothing
        } else {
            Resolved::Nothing
        };
    }
    let Ok(parsed) = parse_range_header(&format!("bytes={first}-{last}")) else {
        return Resolved::Malformed;
    };
    let [range] = parsed.ranges.as_slice() else {
        return Resolved::Malformed;
    };
    let (start, end) = match (range.start, range.end) {
        (StartPosition::FromLast(count), _) => (len.saturating_sub(count), len),
        (StartPosition::Index(start), EndPosition::LastByte) => (start, len),
        (StartPosition::Index(start), EndPosition::Index(last)) => {
            (start, last.saturating_add(1).min(len))
        }
    };
    if start < end {
        Resolved::Bytes(start..end)
    } else if len == 0 && start == 0 {
        Resolved::AllOfNothing
    } else {
        Resolved::Nothing
    }
}

/// A decimal as the crate takes it: no leading zeros, and within 64 bits, since every length is.
/// `None` where it is not a decimal at all.
fn number(text: &str) -> Option<&str> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    if text.is_empty() {
        return Some(text);
    }
    let digits = text.trim_start_matches('0');
    Some(match digits {
        "" => "0",
        long if long.parse::<u64>().is_err() => MAX_NUMBER,
        digits => digits,
    })
}

const MAX_NUMBER: &str = "18446744073709551615";

/// Joins what overlaps or lies closer than a part's headers are long. A joined range stands where
/// the first of its members stood.
fn coalesce(asked: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let mut kept: Vec<Range<u64>> = Vec::with_capacity(asked.len());
    for range in asked {
        let mut place = kept.len();
        let mut joined = range;
        // What has grown may reach what it did not reach before: begin again after each join.
        while let Some(index) = kept.iter().position(|other| near(other, &joined)) {
            let other = kept.remove(index);
            joined = other.start.min(joined.start)..other.end.max(joined.end);
            place = place.min(index).min(kept.len());
        }
        kept.insert(place, joined);
    }
    kept
}

fn near(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end.saturating_add(MIN_GAP) && b.start < a.end.saturating_add(MIN_GAP)
}

#[cfg(test)]
mod tests;
