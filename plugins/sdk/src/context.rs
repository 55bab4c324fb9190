//! The envelope's context: reading it, and its canonical bytes, which HPKE binds into a wrap.
//! Not for: encryption contexts of a key service, which have forms of their own.

use crate::{Envelope, Error};

/// The value of `name` in open name/value pairs.
#[must_use]
pub fn attribute<'a>(attributes: &'a [(String, String)], name: &str) -> Option<&'a str> {
    attributes
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

/// The context that [`Secret::unwrap`](crate::Secret::unwrap) asks for: u16 length, tenant, u16
/// length, recording, big-endian.
///
/// # Errors
/// Class `request`: the envelope names no tenant or no recording, or one too long.
pub fn canonical_context(envelope: &Envelope) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    for name in ["tenant", "recording"] {
        let value = attribute(&envelope.context, name).ok_or_else(|| {
            Error::request(
                "context-missing",
                format!("the envelope's context has no {name:?}"),
            )
        })?;
        let len = u16::try_from(value.len()).map_err(|_| {
            Error::request(
                "context-too-long",
                format!("the envelope's {name:?} is too long"),
            )
        })?;
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(value.as_bytes());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(context: &[(&str, &str)]) -> Envelope {
        Envelope {
            algorithm: "rsa-oaep-sha256".to_owned(),
            wrapped_dek: Vec::new(),
            context: context
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn is_tenant_then_recording_whatever_the_order() {
        let envelope = envelope(&[("recording", "r1"), ("x", "y"), ("tenant", "acme")]);
        assert_eq!(
            canonical_context(&envelope).unwrap(),
            b"\x00\x04acme\x00\x02r1"
        );
    }

    #[test]
    fn says_what_is_missing() {
        let error = canonical_context(&envelope(&[("tenant", "acme")])).unwrap_err();
        assert!(error.message.contains("recording"), "{}", error.message);
    }
}
