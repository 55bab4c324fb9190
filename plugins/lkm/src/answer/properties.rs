//! Thousands of answers that no service gave: none is taken for a key that it does not hold, and
//! nothing of them is told.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// What a key is, read in another way: the text between the quotes, and 43 digits and a "=".
fn is_key(body: &[u8], dek: &[u8]) -> bool {
    let answer: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let text = answer["body"].as_str().unwrap_or_default();
    text.len() == 44 && text.ends_with('=') && BASE64.encode(dek) == text
}

/// Reads an answer, and looks at what is told of it.
fn read(content_type: Option<&str>, body: &[u8]) -> Result<(), TestCaseError> {
    match decrypted(content_type, body) {
        Ok(dek) => prop_assert!(is_key(body, &dek)),
        Err(error) => {
            prop_assert!(error.code.len() <= 64 && error.message.len() <= 500);
            let text = String::from_utf8_lossy(body);
            let pieces: Vec<char> = text.chars().collect();
            for piece in pieces.windows(24) {
                let piece = String::from_iter(piece);
                prop_assert!(!error.message.contains(&piece), "{}", error.message);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn anything_is_read_without_a_panic(
        body in vec(any::<u8>(), 0..400),
        content_type in prop::option::of(vec(any::<char>(), 0..30)),
        status in any::<u16>(),
        retry_after_ms in any::<Option<u32>>(),
    ) {
        let content_type = content_type.map(String::from_iter);
        read(content_type.as_deref(), &body)?;
        let in_json = is_json_object(&body);
        let error = refusal(&Refused { status, in_json, retry_after_ms });
        prop_assert!(error.code.len() <= 64 && error.message.len() <= 500);
    }

    /// JSON of the right kind with a text of any kind.
    #[test]
    fn a_text_is_a_key_or_an_error(
        text in vec(prop_oneof![
            9 => prop::sample::select(b"ABCxyz0189+/".to_vec()),
            1 => prop::sample::select(b"=-_ \n*".to_vec()),
        ], 38..50),
        padding in prop::sample::select(vec!["", "=", "=="]),
    ) {
        let text = String::from_utf8(text).unwrap_or_default() + padding;
        let body = serde_json::json!({ "body": text }).to_string();
        read(Some("application/json"), body.as_bytes())?;
    }

    #[test]
    fn a_changed_answer_is_a_key_or_an_error(
        dek in vec(any::<u8>(), 32),
        edits in vec((any::<Index>(), any::<u8>(), 0..4_u8), 1..6),
    ) {
        let mut body = serde_json::json!({ "body": BASE64.encode(&dek) }).to_string().into_bytes();
        read(Some("application/json"), &body)?;
        prop_assert!(decrypted(None, &body).is_ok_and(|found| found == dek));
        for (at, byte, kind) in edits {
            let length = body.len();
            match kind {
                0 if length > 0 => body[at.index(length)] = byte,
                1 if length > 0 => drop(body.remove(at.index(length))),
                2 => body.truncate(at.index(length + 1)),
                _ => body.insert(at.index(length + 1), byte),
            }
        }
        read(Some("application/json"), &body)?;
    }

    /// The signed challenge that sets the clock: read, whatever it is.
    #[test]
    fn any_challenge_is_read_without_a_panic(text in vec(any::<char>(), 0..200)) {
        let text = String::from_iter(text);
        for text in [format!("Hawk {text}"), format!("Hawk ts=\"{text}\", tsm=\"{text}\""), text] {
            if let Some((seconds, mac)) = crate::hawk::stale(&text) {
                prop_assert!(text.contains(mac) && text.contains(&seconds.to_string()[1..]));
            }
        }
    }
}
