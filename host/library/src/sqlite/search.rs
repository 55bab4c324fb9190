//! Text search: which terms stand for a recording, and which full-text query finds a text.
//!
//! The index holds no text. Each term is made with a key of the tenant (`keyreel_keys::IndexTerms`),
//! so who reads the file can neither read nor guess one, and equal texts of two tenants have
//! nothing in common. It holds terms under the recording's position, so the newest matches come
//! first and a page stops as soon as it is full.
//!
//! - Names and subjects: a term for each word; a word is found whole, in any case.
//! - Addresses: one term for the whole. A telephone number is found however it is spelled with its
//!   country, an e-mail address in any case.
//! - Queue and labels, a tenant's own vocabulary: a term for each group of three characters, so
//!   that any part of them finds them, and for the beginnings of words.
//!
//! What the terms tell whoever has the file: which recordings of one tenant share a word, an address
//! or a part of a queue's name, how often each occurs, how many there are and in which order they
//! stand. With the frequencies of a language, parts of queues and labels may be guessed from that.
//! Not for: transcripts, which are not indexed.

use keyreel_keys::IndexTerms;

use super::address;
use crate::catalogue::Details;

/// Longer fields are found by their beginning.
const MAX_FIELD_CHARS: usize = 512;
/// More words than anybody types; each costs some lookups.
const MAX_WORDS: usize = 16;
/// Stands between fields, so that no match runs from one into the next. No term is spelled so.
const GAP: &str = "gap ";

/// What a term stands for. Never renumbered: the index holds terms made with it.
#[derive(Clone, Copy)]
enum Kind {
    /// A word of a name or a subject.
    Word = 1,
    /// A whole address.
    Address = 2,
    /// Three characters of a queue or a label.
    Part = 3,
    /// The first one or two characters of a word of a queue or a label.
    Start = 4,
}

/// All terms of a recording, as the index takes them.
pub(super) fn terms(keys: &IndexTerms, details: &Details) -> String {
    let mut out = Terms {
        keys,
        text: String::new(),
    };
    let names = details.channels.iter().filter_map(|c| c.name.as_deref());
    for field in names.chain(details.subject.as_deref()) {
        let folded = fold(field);
        for word in words(&folded) {
            out.push(Kind::Word, word);
        }
        out.text.push_str(GAP);
    }
    let addresses = details.channels.iter().filter_map(|c| c.address.as_deref());
    for spelling in addresses.flat_map(address::spellings) {
        out.push(Kind::Address, &spelling);
        out.text.push_str(GAP);
    }
    let labels = details.labels.iter().map(String::as_str);
    for field in details.queue.as_deref().into_iter().chain(labels) {
        let folded = fold(field);
        out.push_parts(&folded);
        for word in words(&folded) {
            for (index, c) in word.char_indices().take(2) {
                let end = index + c.len_utf8();
                out.push(Kind::Start, word.get(..end).unwrap_or_default());
            }
        }
        out.text.push_str(GAP);
    }
    out.text
}

/// The query that finds every recording that has each word of `text`: whole in a name, a subject
/// or as an address, or as part of the queue or a label. A telephone number may stand in several
/// words. `None`: `text` has no words.
pub(super) fn query(keys: &IndexTerms, text: &str) -> Option<String> {
    let words: Vec<&str> = text.split_whitespace().take(MAX_WORDS).collect();
    let mut rest = words.as_slice();
    let mut all = Vec::new();
    while !rest.is_empty() {
        let (found, after) = rest.split_at(address::number_of_words(rest).max(1));
        let each: Vec<String> = found.iter().map(|word| of_word(keys, word)).collect();
        let each = each.join(" AND ");
        all.push(if found.len() > 1 {
            let number = address::canonical(&found.concat());
            let number = phrase(keys, |out| out.push(Kind::Address, &number));
            format!("({number} OR ({each}))")
        } else {
            each
        });
        rest = after;
    }
    (!all.is_empty()).then(|| all.join(" AND "))
}

/// What finds one word, wherever it stands.
fn of_word(keys: &IndexTerms, word: &str) -> String {
    let folded = fold(word);
    let mut ways = vec![phrase(keys, |out| {
        out.push(Kind::Address, &address::canonical(word));
    })];
    if words(&folded).next().is_some() {
        // "o'neill": several words that follow each other.
        ways.push(phrase(keys, |out| {
            words(&folded).for_each(|word| out.push(Kind::Word, word));
        }));
    }
    ways.push(phrase(keys, |out| {
        if folded.chars().nth(2).is_some() {
            out.push_parts(&folded);
        } else {
            out.push(Kind::Start, &folded);
        }
    }));
    format!("({})", ways.join(" OR "))
}

fn phrase(keys: &IndexTerms, push: impl FnOnce(&mut Terms<'_>)) -> String {
    let mut out = Terms {
        keys,
        text: "\"".to_owned(),
    };
    push(&mut out);
    out.text.push('"');
    out.text
}

/// Terms one after the other. Each is letters and digits only, whatever the text holds: nothing in
/// them can be taken for the syntax of a query.
struct Terms<'a> {
    keys: &'a IndexTerms,
    text: String,
}

impl Terms<'_> {
    fn push(&mut self, kind: Kind, text: &str) {
        let term = self.keys.term(kind as u8, text);
        self.text.push_str(&hex::encode(term));
        self.text.push(' ');
    }

    /// Every three characters in a row.
    fn push_parts(&mut self, folded: &str) {
        let ends = folded.char_indices().map(|(at, c)| at + c.len_utf8());
        for ((start, _), end) in folded.char_indices().zip(ends.skip(2)) {
            self.push(Kind::Part, folded.get(start..end).unwrap_or_default());
        }
    }
}

fn words(folded: &str) -> impl Iterator<Item = &str> {
    folded
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
}

fn fold(text: &str) -> String {
    text.chars()
        .flat_map(char::to_lowercase)
        .take(MAX_FIELD_CHARS)
        .collect()
}

#[cfg(test)]
mod tests {
    use keyreel_keys::MetadataKeys as _;
    use keyreel_keys_testing::MemoryMetadataKeys;

    use super::*;
    use crate::catalogue::Channel;

    async fn keys(tenant: &str) -> IndexTerms {
        let keys = MemoryMetadataKeys::default();
        keys.keys(&tenant.parse().unwrap()).await.unwrap().terms()
    }

    #[tokio::test]
    async fn terms_cannot_be_taken_for_query_syntax() {
        let query = query(&keys("a").await, "a\"b OR * NEAR(x) ünï +41 (0)44 \"").unwrap();
        let outside: String = query.split('"').step_by(2).collect();
        let syntax = outside.replace("AND", "").replace("OR", "");
        assert!(syntax.chars().all(|c| " ()".contains(c)), "{query}");
        let mut terms = query.split('"').skip(1).step_by(2);
        assert!(
            terms.all(|term| term.chars().all(|c| c.is_ascii_hexdigit() || c == ' ')),
            "{query}"
        );
    }

    #[tokio::test]
    async fn nothing_to_look_for_is_no_query() {
        assert_eq!(query(&keys("a").await, " \t "), None);
    }

    /// What is said above of what the index tells.
    #[tokio::test]
    async fn names_and_addresses_have_no_terms_for_their_parts() {
        let details = |name: &str, address: &str| Details {
            channels: vec![Channel {
                channel: 0,
                role: "customer".to_owned(),
                name: Some(name.to_owned()),
                address: Some(address.to_owned()),
            }],
            ..Details::default()
        };
        let a = keys("a").await;
        let of = |details: &Details| -> Vec<String> {
            let terms = terms(&a, details);
            let terms = terms.split_whitespace().filter(|term| *term != "gap");
            terms.map(str::to_owned).collect()
        };
        let one = of(&details("Maya Chen", "+41446681800"));
        assert_eq!(one.len(), 3, "two words and a number");
        let near = of(&details("May Chens", "+4144668180"));
        assert!(near.iter().all(|term| !one.contains(term)));
        let same = of(&details("CHEN maya", "tel:0041 (0)44 668 18 00"));
        assert!(same.iter().all(|term| one.contains(term)), "{same:?}");
        let others = terms(&keys("b").await, &details("Maya Chen", "+41446681800"));
        assert!(one.iter().all(|term| !others.contains(term.as_str())));
    }
}
