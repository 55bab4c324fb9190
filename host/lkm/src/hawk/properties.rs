//! Thousands of headers that nobody wrote: the parser takes none amiss, and what was changed is not
//! authentic.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

const ID: &str = "keyreel-5f0c";
const BODY: &[u8] = br#"{"keypairId":"6f9619ff-8b86-4011-b42d-00c04fc964ff","body":"AAECAw=="}"#;

fn key() -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, b"a key that nobody guesses")
}

fn target() -> Target {
    Target {
        method: "POST".to_owned(),
        path: "/key-management/v1/decrypt".to_owned(),
        query: None,
        host: "keys.example".to_owned(),
        port: 443,
    }
}

/// As a client signs it.
fn signed(nonce: &str, hash: Option<&[u8]>, ext: Option<&str>) -> String {
    let hash = hash.map(|hash| BASE64.encode(hash)).unwrap_or_default();
    let ext = ext.unwrap_or_default();
    let base = format!(
        "hawk.1.header\n1767323045\n{nonce}\nPOST\n/key-management/v1/decrypt\nkeys.example\n443\n\
         {hash}\n{ext}\n"
    );
    let mac = BASE64.encode(hmac::sign(&key(), base.as_bytes()));
    let mut header = format!(r#"Hawk id="{ID}", ts="1767323045", nonce="{nonce}", mac="{mac}""#);
    for (name, value) in [("hash", hash.as_str()), ("ext", ext)] {
        if !value.is_empty() {
            header.push_str(&format!(r#", {name}="{value}""#));
        }
    }
    header
}

/// What the service goes by.
fn authentic(header: &str, target: &Target) -> Option<Authorization> {
    // The key is looked up by the id.
    Authorization::parse(header).filter(|found| found.id == ID && found.is_signed(&key(), target))
}

/// What a client said; an empty text is none.
fn said(header: &Authorization) -> (&str, &str, &str, &str) {
    let Authorization { ts, nonce, ext, .. } = header;
    (ts, nonce, &header.hash_text, ext.as_deref().unwrap_or(""))
}

#[derive(Debug, Clone)]
enum Edit {
    Replace(Index, char),
    Insert(Index, char),
    Remove(Index),
    /// A piece is said twice.
    Repeat(Index, Index),
    /// The rest is gone.
    Cut(Index),
    /// Two pieces change places.
    Swap(Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    // Mostly what means something in a header.
    let character = prop_oneof![
        3 => prop::sample::select(r#"",= \/+AB0z"#.chars().collect::<Vec<_>>()),
        1 => any::<char>(),
    ];
    let at = any::<Index>;
    prop_oneof![
        (at(), character.clone()).prop_map(|(at, with)| Edit::Replace(at, with)),
        (at(), character).prop_map(|(at, with)| Edit::Insert(at, with)),
        at().prop_map(Edit::Remove),
        (at(), at()).prop_map(|(from, to)| Edit::Repeat(from, to)),
        at().prop_map(Edit::Cut),
        at().prop_map(Edit::Swap),
    ]
}

fn apply(text: &mut Vec<char>, edit: &Edit) {
    if text.is_empty() {
        return;
    }
    let length = text.len();
    match edit {
        Edit::Replace(at, with) => text[at.index(length)] = *with,
        Edit::Insert(at, with) => text.insert(at.index(length + 1), *with),
        Edit::Remove(at) => drop(text.remove(at.index(length))),
        Edit::Repeat(from, to) => {
            let (one, other) = (from.index(length), to.index(length));
            let piece = text[one.min(other)..one.max(other)].to_vec();
            text.extend(piece);
        }
        Edit::Cut(at) => text.truncate(at.index(length)),
        Edit::Swap(at) => text.rotate_left(at.index(length)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn anything_is_read_without_a_panic_and_nothing_is_authentic(
        text in vec(any::<char>(), 0..600),
        bytes in vec(any::<u8>(), 0..600),
    ) {
        for text in [String::from_iter(text), String::from_utf8_lossy(&bytes).into_owned()] {
            for header in [format!("Hawk {text}"), text] {
                prop_assert!(authentic(&header, &target()).is_none());
            }
        }
    }

    /// Well-formed, most of them.
    #[test]
    fn attributes_of_any_kind_are_not_authentic(
        attributes in vec((0..NAMES.len() + 1, vec(b' '..=b'~', 0..60)), 0..9),
        blank in prop::sample::select(vec!["", " ", "\t", "  "]),
    ) {
        let attributes: Vec<_> = attributes
            .into_iter()
            .map(|(name, value)| {
                let name = NAMES.get(name).unwrap_or(&"app");
                let value = match *name {
                    "ts" => value.len().to_string(),
                    "id" => ID.to_owned(),
                    "mac" | "hash" => BASE64.encode(&value),
                    _ => String::from_utf8_lossy(&value).into_owned(),
                };
                format!(r#"{name}="{value}""#)
            })
            .collect();
        let header = format!("Hawk {}", attributes.join(&format!(",{blank}")));
        prop_assert!(authentic(&header, &target()).is_none(), "{header}");
        if let Some(read) = Authorization::parse(&header) {
            read.covers("application/json", BODY);
            read.answer(&key(), &target(), "application/json", BODY);
        }
    }

    /// What passes says, word for word, what was signed.
    #[test]
    fn a_changed_header_says_the_same_or_is_refused(
        nonce in vec(prop::sample::select(b"abcXYZ019+/=".to_vec()), 1..20),
        hashed in any::<bool>(),
        named in any::<bool>(),
        edits in vec(edit(), 1..5),
    ) {
        let nonce = String::from_utf8(nonce).unwrap();
        let hash = payload_hash("application/json", BODY);
        let original = signed(
            &nonce,
            hashed.then(|| hash.as_ref()),
            named.then_some("keyreel-recording=r-1"),
        );
        let expected = authentic(&original, &target()).unwrap();
        prop_assert!(expected.covers("application/json", BODY));
        let mut changed: Vec<char> = original.chars().collect();
        for edit in &edits {
            apply(&mut changed, edit);
        }
        let changed = String::from_iter(changed);
        if let Some(found) = authentic(&changed, &target()) {
            prop_assert_eq!(said(&found), said(&expected), "{}", changed);
            // A hash that was signed is still asked for.
            let covers_another = found.covers("application/json", b"{}");
            prop_assert!(!hashed || !covers_another);
        }
    }

    #[test]
    fn another_request_is_refused(
        text in vec(prop::sample::select(b"/?&=.:abcPOST0\n".to_vec()), 0..30),
        port in any::<u16>(),
        body in vec(any::<u8>(), 0..100),
    ) {
        let text = String::from_utf8(text).unwrap();
        prop_assume!(text != "POST");
        let hash = payload_hash("application/json", BODY);
        let header = signed("n", Some(hash.as_ref()), None);
        let good = target();
        for other in [
            Target { method: text.clone(), ..good.clone() },
            Target { path: text.clone(), ..good.clone() },
            Target { host: text.clone(), ..good.clone() },
            Target { path: format!("{}{text}/", good.path), ..good.clone() },
            Target { port: port.wrapping_mul(2), ..good.clone() },
        ] {
            prop_assert!(authentic(&header, &other).is_none(), "{:?}", other);
        }
        let read = authentic(&header, &good).unwrap();
        prop_assert!(!read.covers("application/json", &body));
        prop_assert!(!read.covers(&text, BODY));
    }
}
