//! `PureCloud-User-Id`: who asked, as the UUID that a Local Key Manager logs.
//! Not for: deciding anything: the signature does not cover this header.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// Nobody asked, as in an export job.
const NIL: &str = "00000000-0000-0000-0000-000000000000";

/// The subject itself, if it is a UUID; nil for no subject; else a version 8 UUID (RFC 9562) out of
/// the SHA-256 of its name: the same for the same subject, and none that could be somebody else's.
pub(crate) fn user_id(subject: &str) -> String {
    if subject.is_empty() {
        return NIL.to_owned();
    }
    if is_uuid(subject) {
        return subject.to_ascii_lowercase();
    }
    let digest = Sha256::new()
        .chain_update(b"keyreel user\0")
        .chain_update(subject.as_bytes())
        .finalize();
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(digest) {
        *to = from;
    }
    bytes[6] = 0x80 | (bytes[6] & 0x0f);
    bytes[8] = 0x80 | (bytes[8] & 0x3f);
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_stay_and_names_become_uuids() {
        let id = "6F9619FF-8B86-D011-B42D-00C04FC964FF";
        assert_eq!(user_id(id), id.to_lowercase());
        assert_eq!(user_id(""), NIL);
        let derived = user_id("maya@example.com");
        assert!(is_uuid(&derived), "{derived}");
        assert_eq!(derived.as_bytes()[14], b'8');
        assert_eq!(derived, user_id("maya@example.com"));
        assert_ne!(derived, user_id("tom@example.com"));
    }
}
