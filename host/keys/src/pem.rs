//! PEM (RFC 7468): a label, and bytes in lines of base64. Secrets too: nothing is left behind of
//! them.
//! Not for: what the bytes are.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// `bytes` under `label`.
#[must_use]
pub fn encode(label: &str, bytes: &[u8]) -> Zeroizing<String> {
    let text = Zeroizing::new(STANDARD.encode(bytes));
    // Reserved in full: growing would leave copies behind.
    let room = text.len() + text.len() / LINE + 2 * label.len() + 64;
    let mut pem = Zeroizing::new(String::with_capacity(room));
    for piece in ["-----BEGIN ", label, "-----\n"] {
        pem.push_str(piece);
    }
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    for piece in ["-----END ", label, "-----\n"] {
        pem.push_str(piece);
    }
    pem
}

/// The bytes of the first block of `label`, `None` where there is none or it is cut off or no
/// base64. What stands around it is left alone.
#[must_use]
pub fn decode(label: &str, text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let (begin, end) = (
        format!("-----BEGIN {label}-----"),
        format!("-----END {label}-----"),
    );
    let (_, inside) = text.split_once(&begin)?;
    let (inside, _) = inside.split_once(&end)?;
    let mut digits = Zeroizing::new(String::with_capacity(inside.len()));
    inside
        .chars()
        .filter(|digit| !digit.is_ascii_whitespace())
        .for_each(|digit| digits.push(digit));
    let mut bytes = Zeroizing::new(vec![0; digits.len() / 4 * 3 + 3]);
    let length = STANDARD
        .decode_slice(digits.as_bytes(), bytes.as_mut_slice())
        .ok()?;
    bytes.truncate(length);
    Some(bytes)
}

/// As `openssl` breaks its lines.
const LINE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else_is() {
        for length in [0, 1, 2, 3, 47, 48, 49, 1665] {
            let bytes: Vec<u8> = (0..length).map(|n: usize| n.to_le_bytes()[0]).collect();
            let pem = encode("A KEY", &bytes);
            assert!(pem.lines().all(|line| line.len() <= 64), "{}", *pem);
            assert!(pem.capacity() < 4096, "reserved once");
            for text in [
                pem.to_string(),
                pem.replace('\n', "\r\n"),
                format!("Bag\n{}", *pem),
            ] {
                assert_eq!(
                    decode("A KEY", &text).as_deref().map(Vec::as_slice),
                    Some(&bytes[..])
                );
            }
            assert!(decode("KEY", &pem).is_none(), "another label");
        }
        for text in [
            "",
            "-----BEGIN A KEY-----\n",
            "-----BEGIN A KEY-----\n%\n-----END A KEY-----\n",
            "-----BEGIN A KEY-----\nAA\n-----END A KEY-----\n",
            "-----BEGIN A KEY-----\nAA==\n-----END KEY-----\n",
        ] {
            assert!(decode("A KEY", text).is_none(), "{text}");
        }
    }
}
