//! Text search: which terms stand for a recording, and which full-text query finds a text.
//!
//! A text is cut into overlapping groups of three characters, so that any part of a word finds it,
//! in any language. Every term carries its tenant: one tenant's texts are no work for another's
//! search, however common they are. The index holds terms under the recording's position, so the
//! newest matches come first and a page stops as soon as it is full.
//! Not for: transcripts, which are never indexed in clear.

use crate::catalogue::Details;

/// Longer fields are found by their beginning.
const MAX_FIELD_CHARS: usize = 512;
/// More words than anybody types; each costs one lookup.
const MAX_WORDS: usize = 8;
/// Stands between fields, so that no match runs from one into the next.
const GAP: &str = "gap";

/// All terms of a recording, as the index takes them.
pub(super) fn terms(tenant_key: i64, details: &Details) -> String {
    let names = details
        .channels
        .iter()
        .filter_map(|channel| channel.name.as_deref());
    let fields = details
        .queue
        .as_deref()
        .into_iter()
        .chain(details.subject.as_deref());
    let labels = details.labels.iter().map(String::as_str);
    let mut out = String::new();
    for field in names.chain(fields).chain(labels) {
        let chars = fold(field);
        for trigram in chars.windows(3) {
            push_term(&mut out, tenant_key, 'g', trigram);
        }
        for word in chars
            .split(|c| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
        {
            for len in 1..=word.len().min(2) {
                let start = word.get(..len).unwrap_or_default();
                push_term(&mut out, tenant_key, 'w', start);
            }
        }
        out.push_str(GAP);
        out.push(' ');
    }
    out
}

/// The query that finds every recording of the tenant that contains each word of `text`; a word of
/// one or two characters is looked for at the start of words. `None`: `text` has no words.
pub(super) fn query(tenant_key: i64, text: &str) -> Option<String> {
    let mut out = String::new();
    for word in text.split_whitespace().take(MAX_WORDS) {
        let chars = fold(word);
        if !out.is_empty() {
            out.push_str(" AND ");
        }
        out.push('"');
        if chars.len() < 3 {
            push_term(&mut out, tenant_key, 'w', &chars);
        } else {
            for trigram in chars.windows(3) {
                push_term(&mut out, tenant_key, 'g', trigram);
            }
        }
        out.push('"');
    }
    (!out.is_empty()).then_some(out)
}

fn fold(text: &str) -> Vec<char> {
    text.chars()
        .flat_map(char::to_lowercase)
        .take(MAX_FIELD_CHARS)
        .collect()
}

/// Terms are letters and digits only, whatever the text holds: nothing in them can be taken for
/// the syntax of a query.
fn push_term(out: &mut String, tenant_key: i64, kind: char, chars: &[char]) {
    use std::fmt::Write as _;
    // Writing to a String cannot fail.
    let _ = write!(out, "t{tenant_key}{kind}");
    let mut utf8 = [0; 4];
    for c in chars {
        out.push_str(&hex::encode(c.encode_utf8(&mut utf8)));
    }
    out.push(' ');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_cannot_be_taken_for_query_syntax() {
        let query = query(7, "a\"b OR * NEAR(x) ünï").unwrap();
        assert!(
            query
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || " \"".contains(c)),
            "{query}"
        );
        assert!(query.contains("t7w4f52") || query.contains("t7w6f72"));
    }

    #[test]
    fn nothing_to_look_for_is_no_query() {
        assert_eq!(query(1, " \t "), None);
    }
}
