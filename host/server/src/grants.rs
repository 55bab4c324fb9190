//! Playback grants: what a media URL carries. Stateless and signed, so that every node can check
//! them, and bound to everything that they open.
//! Not for: the check that the credential behind a grant still stands (see `access`).
//!
//! A grant is a secret while it lives: no `Debug`, and never in a log.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyreel_format::{RecordingId, TenantId};
use keyreel_library::CredentialKind;
use uuid::Uuid;

/// Signs and checks grants, under a key of the keystore.
pub struct GrantKey(hmac::Key);

/// What a grant says.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    /// Names it in the audit log.
    pub(crate) id: Uuid,
    /// Whose recording.
    pub(crate) tenant: TenantId,
    /// Which.
    pub(crate) recording: RecordingId,
    /// Which of its parts.
    pub(crate) parts: Parts,
    /// SHA-256 of the secret that it was made with: the session or token, and through it the
    /// subject. The hash of 32 random bytes gives nothing away.
    pub(crate) credential: [u8; 32],
    /// What kind of secret that was.
    pub(crate) kind: CredentialKind,
    /// When it ends, ms since 1970.
    pub(crate) expires_ms: u64,
}

/// The parts that a grant opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Parts(u8);

impl Parts {
    pub(crate) const MEDIA: Self = Self(1);
    pub(crate) const WAVEFORM: Self = Self(2);
    pub(crate) const TRANSCRIPT: Self = Self(4);

    pub(crate) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Why a grant opens nothing. To the caller all of it is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidGrant {
    #[error("not a grant of this server")]
    Forged,
    #[error("the grant has expired")]
    Expired,
}

impl GrantKey {
    /// From the keystore's service key "grants".
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The text that stands in a URL.
    pub(crate) fn sign(&self, grant: &Grant) -> String {
        let mut bytes = grant.encode();
        let tag = hmac::sign(&self.0, &bytes);
        bytes.extend_from_slice(tag.as_ref());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads what [`GrantKey::sign`] wrote, unless it was changed or has expired.
    pub(crate) fn verify(&self, text: &str, now_ms: u64) -> Result<Grant, InvalidGrant> {
        if text.len() > MAX_TEXT_LEN {
            return Err(InvalidGrant::Forged);
        }
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| InvalidGrant::Forged)?;
        let at = bytes
            .len()
            .checked_sub(TAG_LEN)
            .ok_or(InvalidGrant::Forged)?;
        let (body, tag) = bytes.split_at_checked(at).ok_or(InvalidGrant::Forged)?;
        hmac::verify(&self.0, body, tag).map_err(|_| InvalidGrant::Forged)?;
        let grant = Grant::decode(body).ok_or(InvalidGrant::Forged)?;
        if grant.expires_ms <= now_ms {
            return Err(InvalidGrant::Expired);
        }
        Ok(grant)
    }
}

impl Grant {
    /// Whether even what was begun under it has to end.
    pub(crate) fn is_over(&self, now_ms: u64) -> bool {
        let grace_ms = u64::try_from(GRACE.as_millis()).unwrap_or(0);
        self.expires_ms.saturating_add(grace_ms) <= now_ms
    }

    /// version, kind, parts, expiry, id, credential, then tenant and recording with their lengths.
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(160);
        out.push(VERSION);
        out.push(match self.kind {
            CredentialKind::Bearer => BEARER,
            CredentialKind::Session => SESSION,
            CredentialKind::Link => LINK,
        });
        out.push(self.parts.0);
        out.extend_from_slice(&self.expires_ms.to_be_bytes());
        out.extend_from_slice(self.id.as_bytes());
        out.extend_from_slice(&self.credential);
        for name in [self.tenant.as_str(), self.recording.as_str()] {
            // Names are at most 128 bytes long.
            out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            out.extend_from_slice(name.as_bytes());
        }
        out
    }

    fn decode(body: &[u8]) -> Option<Self> {
        let mut rest = body;
        let [version, kind, parts] = *take::<3>(&mut rest)?;
        if version != VERSION {
            return None;
        }
        let kind = match kind {
            BEARER => CredentialKind::Bearer,
            SESSION => CredentialKind::Session,
            _ => return None,
        };
        let expires_ms = u64::from_be_bytes(*take(&mut rest)?);
        let id = Uuid::from_bytes(*take(&mut rest)?);
        let credential = *take::<32>(&mut rest)?;
        let tenant = TenantId::parse(name(&mut rest)?).ok()?;
        let recording = RecordingId::parse(name(&mut rest)?).ok()?;
        let grant = Self {
            id,
            tenant,
            recording,
            parts: Parts(parts),
            credential,
            kind,
            expires_ms,
        };
        rest.is_empty().then_some(grant)
    }
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(head)
}

fn name<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let [len] = *take::<1>(rest)?;
    let (head, tail) = rest.split_at_checked(usize::from(len))?;
    *rest = tail;
    std::str::from_utf8(head).ok()
}

/// A stream that was begun in time is not cut off in the middle of a word: the page asks for a new
/// grant before the old one ends, and needs a moment to change over.
const GRACE: Duration = Duration::from_secs(60);
const VERSION: u8 = 1;
const BEARER: u8 = 1;
const SESSION: u8 = 2;
const LINK: u8 = 3;
const TAG_LEN: usize = 32;
/// Two names of 128 bytes, the rest, and base64.
const MAX_TEXT_LEN: usize = 512;

#[cfg(test)]
mod tests {
    use keyreel_format::{RecordingId, TenantId};
    use keyreel_library::CredentialKind;
    use uuid::Uuid;

    use super::{Grant, GrantKey, InvalidGrant, Parts};

    fn grant() -> Grant {
        Grant {
            id: Uuid::from_u128(7),
            tenant: TenantId::parse("meridian-health").unwrap(),
            recording: RecordingId::parse("2a0c0f3e-9d0b-4a55-8f4e-5b1f6c1f0a11").unwrap(),
            parts: Parts::MEDIA.with(Parts::WAVEFORM),
            credential: [9; 32],
            kind: CredentialKind::Session,
            expires_ms: 1_000,
        }
    }

    fn error(result: Result<Grant, InvalidGrant>) -> Option<InvalidGrant> {
        result.err()
    }

    #[test]
    fn a_grant_says_what_was_signed_until_it_expires() {
        let key = GrantKey::new(&[1; 32]);
        let text = key.sign(&grant());
        assert!(key.verify(&text, 999).is_ok_and(|read| read == grant()));
        assert_eq!(error(key.verify(&text, 1_000)), Some(InvalidGrant::Expired));
        assert!(text.len() < 250, "{}", text.len());
    }

    #[test]
    fn no_changed_character_another_key_or_cut_passes() {
        let key = GrantKey::new(&[1; 32]);
        let text = key.sign(&grant());
        for index in 0..text.len() {
            for other in ['A', 'Q', 'z', '9', '_'] {
                let mut changed: Vec<char> = text.chars().collect();
                if changed[index] == other {
                    continue;
                }
                changed[index] = other;
                let changed: String = changed.into_iter().collect();
                assert_eq!(
                    error(key.verify(&changed, 0)),
                    Some(InvalidGrant::Forged),
                    "{index}"
                );
            }
            assert_eq!(
                error(key.verify(&text[..index], 0)),
                Some(InvalidGrant::Forged)
            );
        }
        assert_eq!(
            error(key.verify(&format!("{text}A"), 0)),
            Some(InvalidGrant::Forged)
        );
        assert_eq!(
            error(GrantKey::new(&[2; 32]).verify(&text, 0)),
            Some(InvalidGrant::Forged)
        );
        assert_eq!(
            error(key.verify(&"A".repeat(10_000), 0)),
            Some(InvalidGrant::Forged)
        );
    }

    #[test]
    fn a_link_makes_no_grant() {
        let key = GrantKey::new(&[1; 32]);
        let text = key.sign(&Grant {
            kind: CredentialKind::Link,
            ..grant()
        });
        assert_eq!(error(key.verify(&text, 0)), Some(InvalidGrant::Forged));
    }
}
