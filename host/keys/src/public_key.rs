//! A public key as its owner sends it: base64 of a PKCS#1 RSAPublicKey (RFC 8017, A.1.1), as Local
//! Key Managers make them, or of a SubjectPublicKeyInfo (RFC 5280, 4.1.2.7), with or without PEM's
//! lines. What comes out is SubjectPublicKeyInfo in DER, made anew.
//! Not for: private keys, nor any that are not RSA.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use keyreel_format::wrap::MIN_RSA_BITS;

/// A text that is no public key to seal recordings with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPublicKey {
    /// Not base64 of an RSA public key.
    #[error(
        "expected base64 of an RSA public key in DER, PKCS#1 RSAPublicKey or SubjectPublicKeyInfo"
    )]
    NotAKey,
    /// Too small, or absurdly large.
    #[error("expected RSA of {MIN_RSA_BITS} to {MAX_RSA_BITS} bits, found {found}")]
    Size {
        /// Its bits.
        found: usize,
    },
    /// Not odd, under 65537, or over 33 bits.
    #[error("expected an odd public exponent of 65537 or more, of at most 33 bits")]
    Exponent,
}

/// The SubjectPublicKeyInfo, DER, of the RSA public key that `text` holds.
///
/// # Errors
/// It holds none, or one that is not to be used.
pub fn rsa_public_key(text: &str) -> Result<Vec<u8>, InvalidPublicKey> {
    if text.len() > MAX_TEXT {
        return Err(InvalidPublicKey::NotAKey);
    }
    let der = decode(text).ok_or(InvalidPublicKey::NotAKey)?;
    let (modulus, exponent) = parse(&der).ok_or(InvalidPublicKey::NotAKey)?;
    let found = bits(modulus);
    if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&found) {
        return Err(InvalidPublicKey::Size { found });
    }
    if modulus.last().is_none_or(|byte| byte % 2 == 0) {
        return Err(InvalidPublicKey::NotAKey);
    }
    let value = exponent
        .iter()
        .try_fold(0_u64, |value, byte| {
            value.checked_mul(256)?.checked_add(u64::from(*byte))
        })
        .ok_or(InvalidPublicKey::Exponent)?;
    if value % 2 == 0 || value < 65537 || value >> 33 != 0 {
        return Err(InvalidPublicKey::Exponent);
    }
    Ok(spki(modulus, exponent))
}

/// Either alphabet, padded or not, in lines or not, between PEM's lines or not.
fn decode(text: &str) -> Option<Vec<u8>> {
    let lines = text.lines().map(str::trim);
    let digits: String = lines
        .filter(|line| !line.starts_with("-----"))
        .flat_map(str::chars)
        .filter(|digit| !digit.is_ascii_whitespace())
        .map(|digit| match digit {
            '-' => '+',
            '_' => '/',
            other => other,
        })
        .collect();
    STANDARD_NO_PAD.decode(digits.trim_end_matches('=')).ok()
}

/// Modulus and exponent, without leading zeros.
fn parse(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut outer, rest) = read(SEQUENCE, der)?;
    if !rest.is_empty() {
        return None;
    }
    if let Some((algorithm, key)) = read(SEQUENCE, outer) {
        if algorithm != RSA_ENCRYPTION {
            return None;
        }
        let (bits, rest) = read(BIT_STRING, key)?;
        let (inner, after) = read(SEQUENCE, bits.strip_prefix(&[0])?)?;
        if !rest.is_empty() || !after.is_empty() {
            return None;
        }
        outer = inner;
    }
    let (modulus, rest) = read(INTEGER, outer)?;
    let (exponent, rest) = read(INTEGER, rest)?;
    if !rest.is_empty() {
        return None;
    }
    Some((positive(modulus)?, positive(exponent)?))
}

/// The contents of the element of this tag at the start of `der`, and what follows it.
fn read(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    if found != tag {
        return None;
    }
    let (&first, mut rest) = rest.split_first()?;
    let len = if first < 0x80 {
        usize::from(first)
    } else {
        let (digits, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
        // The shortest form only, as DER has it: one key has one text.
        if digits.len() > 2 || digits.first().is_none_or(|digit| *digit == 0) {
            return None;
        }
        rest = after;
        let len = digits
            .iter()
            .fold(0, |len, digit| len * 256 + usize::from(*digit));
        if len < 0x80 {
            return None;
        }
        len
    };
    rest.split_at_checked(len)
}

/// The digits of a positive INTEGER, which DER writes without needless zeros.
fn positive(contents: &[u8]) -> Option<&[u8]> {
    match contents {
        [0, rest @ ..] if rest.first().is_some_and(|first| *first >= 0x80) => Some(rest),
        [first, ..] if (1..0x80).contains(first) => Some(contents),
        _ => None,
    }
}

fn bits(modulus: &[u8]) -> usize {
    let first = modulus.first().copied().unwrap_or_default();
    (modulus.len() * 8).saturating_sub(first.leading_zeros() as usize)
}

fn spki(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let integer = |digits: &[u8]| {
        let zero = digits.first().is_some_and(|first| *first >= 0x80);
        let contents = [if zero { &[0][..] } else { &[] }, digits].concat();
        write(INTEGER, &contents)
    };
    let key = write(SEQUENCE, &[integer(modulus), integer(exponent)].concat());
    let bits = write(BIT_STRING, &[&[0], key.as_slice()].concat());
    let algorithm = write(SEQUENCE, RSA_ENCRYPTION);
    write(SEQUENCE, &[algorithm, bits].concat())
}

fn write(tag: u8, contents: &[u8]) -> Vec<u8> {
    let len = (contents.len() as u64).to_be_bytes();
    let digits = len
        .iter()
        .position(|digit| *digit != 0)
        .and_then(|at| len.get(at..))
        .unwrap_or(&[0]);
    let mut out = vec![tag];
    if contents.len() >= 0x80 {
        // At most eight digits.
        out.push(0x80 | u8::try_from(digits.len()).unwrap_or_default());
    }
    out.extend_from_slice(digits);
    out.extend_from_slice(contents);
    out
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;
/// rsaEncryption (1.2.840.113549.1.1.1) with its NULL parameters.
const RSA_ENCRYPTION: &[u8] = &[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];
/// A wrapped DEK of this size still fits a header well; nobody has larger keys.
const MAX_RSA_BITS: usize = 8192;
const MAX_TEXT: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
    use keyreel_format::wrap::{PrivateKey, WrapAlgorithm};

    use super::*;

    fn key() -> Vec<u8> {
        let key = PrivateKey::generate(WrapAlgorithm::RsaOaepSha256).unwrap();
        key.public_key().unwrap()
    }

    fn pkcs1(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
        let spki = spki(modulus, exponent);
        let (outer, _) = read(SEQUENCE, &spki).unwrap();
        let (_, bits) = read(SEQUENCE, outer).unwrap();
        read(BIT_STRING, bits).unwrap().0[1..].to_vec()
    }

    #[test]
    fn every_form_of_one_key_is_that_key() {
        let expected = key();
        let (modulus, exponent) = parse(&expected).unwrap();
        assert_eq!(spki(modulus, exponent), expected, "made anew");
        let pkcs1 = pkcs1(modulus, exponent);
        assert_eq!(pkcs1.len(), 398, "of 3072 bits");
        for der in [&expected, &pkcs1] {
            let padded = STANDARD.encode(der);
            let lines = padded.as_bytes().chunks(64);
            let lines: Vec<_> = lines
                .map(|line| std::str::from_utf8(line).unwrap())
                .collect();
            let pem = format!(
                "-----BEGIN PUBLIC KEY-----\r\n{}\r\n-----END PUBLIC KEY-----\r\n",
                lines.join("\r\n")
            );
            let forms = [
                padded,
                URL_SAFE.encode(der),
                URL_SAFE_NO_PAD.encode(der),
                pem,
            ];
            for form in forms {
                assert_eq!(rsa_public_key(&form).as_ref(), Ok(&expected), "{form}");
            }
        }
    }

    #[test]
    fn bad_keys_are_told_apart() {
        let expected = key();
        let (modulus, _) = parse(&expected).unwrap();
        let with = |modulus: &[u8], exponent: &[u8]| {
            rsa_public_key(&STANDARD.encode(pkcs1(modulus, exponent)))
        };
        let good: &[u8] = &[1, 0, 1];
        assert!(with(modulus, good).is_ok());
        assert_eq!(
            with(&modulus[..256], good),
            Err(InvalidPublicKey::Size { found: 2048 })
        );
        let huge = [modulus, modulus, modulus].concat();
        assert_eq!(
            with(&huge, good),
            Err(InvalidPublicKey::Size { found: 9216 })
        );
        let mut even = modulus.to_vec();
        *even.last_mut().unwrap() &= 0xfe;
        assert_eq!(with(&even, good), Err(InvalidPublicKey::NotAKey));
        for exponent in [&[3][..], &[1], &[1, 0, 0], &[1; 5], &[1; 20]] {
            let found = with(modulus, exponent);
            let fits = exponent == [1; 5];
            assert_eq!(found.is_ok(), fits, "{exponent:?}");
        }
    }

    #[test]
    fn nonsense_is_no_key() {
        let good = key();
        let mut tail = good.clone();
        tail.push(0);
        let mut other = good.clone();
        // Another algorithm: rsaEncryption is …1.1.1, this is …1.1.10 (PSS).
        let at = other.windows(3).position(|w| w == [1, 1, 1]).unwrap();
        other[at + 2] = 10;
        let texts = [
            String::new(),
            "not base64!".to_owned(),
            STANDARD.encode([]),
            STANDARD.encode([0x30]),
            STANDARD.encode([0x30, 0x80, 0, 0]),
            STANDARD.encode(&good[..good.len() - 1]),
            STANDARD.encode(tail),
            STANDARD.encode(other),
            "A".repeat(MAX_TEXT + 1),
        ];
        for text in texts {
            assert_eq!(
                rsa_public_key(&text),
                Err(InvalidPublicKey::NotAKey),
                "{text}"
            );
        }
        // Cut anywhere, it is none, and nothing panics.
        for len in 0..good.len() {
            assert!(rsa_public_key(&STANDARD.encode(&good[..len])).is_err());
        }
    }
}
