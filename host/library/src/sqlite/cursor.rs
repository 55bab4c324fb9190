//! Where a page ended, as an opaque text. It carries a version, so that a later Keyreel can tell
//! an old cursor from its own.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::Error;

/// What a cursor points into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Recordings,
    Rewrap,
    Audit,
}

const VERSION: u8 = 1;
/// Version, kind, two numbers.
const LEN: usize = 18;

pub(super) fn encode(kind: Kind, numbers: [i64; 2]) -> String {
    let mut bytes = Vec::with_capacity(LEN);
    bytes.extend([VERSION, tag(kind)]);
    for number in numbers {
        bytes.extend(number.to_be_bytes());
    }
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(super) fn decode(kind: Kind, text: &str) -> Result<[i64; 2], Error> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Error::BadCursor)?;
    let Some((&[VERSION, found], numbers)) = bytes.split_first_chunk::<2>() else {
        return Err(Error::BadCursor);
    };
    let Some((first, second)) = numbers.split_first_chunk::<8>() else {
        return Err(Error::BadCursor);
    };
    let second: [u8; 8] = second.try_into().map_err(|_| Error::BadCursor)?;
    if found != tag(kind) {
        return Err(Error::BadCursor);
    }
    Ok([i64::from_be_bytes(*first), i64::from_be_bytes(second)])
}

fn tag(kind: Kind) -> u8 {
    match kind {
        Kind::Recordings => b'r',
        Kind::Rewrap => b'w',
        Kind::Audit => b'a',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_cursors_of_the_same_kind_and_version_decode() {
        let text = encode(Kind::Recordings, [i64::MAX, -1]);
        assert_eq!(decode(Kind::Recordings, &text).unwrap(), [i64::MAX, -1]);
        let newer = URL_SAFE_NO_PAD.encode([2u8; LEN]);
        let longer = URL_SAFE_NO_PAD.encode([&[VERSION, b'r'][..], &[0; 17]].concat());
        for wrong in ["", "!", &text[1..], &text[..20], &newer, &longer] {
            assert!(
                matches!(decode(Kind::Recordings, wrong), Err(Error::BadCursor)),
                "{wrong}"
            );
        }
        assert!(matches!(decode(Kind::Audit, &text), Err(Error::BadCursor)));
    }
}
