//! The audit log as a hash chain with signed heads: what makes an edit, a removal or a reordering
//! of what was written show. One implementation for every catalogue.
//! Not for: writing and finding events (see `catalogue`, `sqlite`).
//!
//! ```text
//! hash(0) = 32 zero bytes
//! hash(n) = SHA-256("keyreel/v1 audit" ‖ 00 ‖ hash(n-1) ‖ u64 seq ‖ u64 at_ms ‖ field*)
//!           field: 00, or 01 ‖ u32 length ‖ bytes   (id, action, tenant, subject, recording,
//!           outcome, fields: UTF-8, the last as the JSON text that is stored)
//! head    = Ed25519("keyreel/v1 audit head" ‖ 00 ‖ u64 seq ‖ u64 at_ms ‖ hash)
//! a checkpoint in the database: the same with "keyreel/v1 audit checkpoint", so that none can be
//! put in the place of a head, and the log cut down to it
//! ```
//!
//! Integers are big-endian; SHA-256 is FIPS 180-4, Ed25519 is RFC 8032 and FIPS 186-5. The head is
//! signed in the transaction that appends; one in a thousand stays as a checkpoint, and is marked in
//! the keystore (see `audit_mark`). Whoever can write the database but has no access to the keystore
//! can neither change, nor take away, nor add an event without its showing. That somebody put back an
//! older copy of the whole database shows against the mark or a checkpoint that was kept elsewhere,
//! where it lacks what those have.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::audit_mark::AuditMark;
use crate::catalogue::Catalogue;

/// What a row's hash covers, as the database has it, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditLink {
    /// Its number, from 1, without gaps.
    pub seq: u64,
    /// When, ms since 1970.
    pub at_ms: u64,
    /// Its id.
    pub id: String,
    /// What.
    pub action: String,
    /// Whose.
    pub tenant: Option<String>,
    /// Who.
    pub subject: String,
    /// Which recording.
    pub recording: Option<String>,
    /// How it went.
    pub outcome: String,
    /// More: the JSON text.
    pub fields: String,
    /// What the database says its hash is.
    pub hash: Option<[u8; 32]>,
}

impl AuditLink {
    /// The hash that it must have after a row of hash `before`.
    #[must_use]
    pub fn hash_after(&self, before: &[u8; 32]) -> [u8; 32] {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(LABEL_ROW);
        hash.update(before);
        hash.update(&self.seq.to_be_bytes());
        hash.update(&self.at_ms.to_be_bytes());
        let fields = [
            Some(&self.id),
            Some(&self.action),
            self.tenant.as_ref(),
            Some(&self.subject),
            self.recording.as_ref(),
            Some(&self.outcome),
            Some(&self.fields),
        ];
        for field in fields {
            match field {
                Some(text) => {
                    hash.update(&[1]);
                    // A text of 4 GiB cannot be a value of any database.
                    let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
                    hash.update(&len.to_be_bytes());
                    hash.update(text.as_bytes());
                }
                None => hash.update(&[0]),
            }
        }
        let mut out = [0; 32];
        out.copy_from_slice(hash.finish().as_ref());
        out
    }
}

/// Where the chain ended at some moment, signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignedHead {
    /// Number of the last event.
    pub seq: u64,
    /// When that was, ms since 1970.
    pub at_ms: u64,
    /// Its hash.
    #[serde(with = "hex_bytes")]
    pub hash: [u8; 32],
    /// Which key signed: the first 16 hex digits of the SHA-256 of the public key.
    pub key: String,
    /// Ed25519, 64 bytes, base64.
    #[serde(with = "base64_bytes")]
    pub signature: Vec<u8>,
}

/// Signs heads. Made of a service key of the keystore, so that it lies apart from what it signs.
pub struct AuditKey {
    pair: Ed25519KeyPair,
    public: AuditPublicKey,
}

/// Verifies heads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPublicKey {
    bytes: [u8; 32],
    id: String,
}

impl AuditKey {
    /// The key of this seed.
    ///
    /// # Errors
    /// The cryptographic library failed.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, Error> {
        let failed = || Error::invalid("audit key", "the cryptographic library failed");
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| failed())?;
        let bytes: [u8; 32] = pair
            .public_key()
            .as_ref()
            .try_into()
            .map_err(|_| failed())?;
        let public = AuditPublicKey::from_bytes(bytes);
        Ok(Self { pair, public })
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> &AuditPublicKey {
        &self.public
    }

    /// Signs a text that begins with what it is, and as none of the chain's does.
    pub(crate) fn sign_message(&self, text: &[u8]) -> Vec<u8> {
        self.pair.sign(text).as_ref().to_vec()
    }

    /// Signs that the chain ends here.
    #[must_use]
    pub fn sign(&self, seq: u64, at_ms: u64, hash: [u8; 32]) -> SignedHead {
        let signature = self.pair.sign(&message(LABEL_HEAD, seq, at_ms, &hash));
        SignedHead {
            seq,
            at_ms,
            hash,
            key: self.public.id.clone(),
            signature: signature.as_ref().to_vec(),
        }
    }

    /// Signs that the chain went through `head`, wherever it ends now.
    #[must_use]
    pub fn sign_checkpoint(&self, head: &SignedHead) -> SignedHead {
        let text = message(LABEL_CHECKPOINT, head.seq, head.at_ms, &head.hash);
        SignedHead {
            signature: self.pair.sign(&text).as_ref().to_vec(),
            ..head.clone()
        }
    }
}

impl AuditPublicKey {
    /// The key of these bytes (RFC 8032).
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let digest = digest::digest(&digest::SHA256, &bytes);
        let id = hex::encode(digest.as_ref().get(..8).unwrap_or_default());
        Self { bytes, id }
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// What heads call it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether this key signed `head`.
    #[must_use]
    pub fn signed(&self, head: &SignedHead) -> bool {
        self.verifies(LABEL_HEAD, head)
    }

    /// Whether this key signed `checkpoint` as one that the database keeps.
    #[must_use]
    pub fn signed_checkpoint(&self, checkpoint: &SignedHead) -> bool {
        self.verifies(LABEL_CHECKPOINT, checkpoint)
    }

    /// Whether this key signed `text`.
    pub(crate) fn signed_message(&self, text: &[u8], signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, self.bytes);
        key.verify(text, signature).is_ok()
    }

    fn verifies(&self, label: &[u8], head: &SignedHead) -> bool {
        let message = message(label, head.seq, head.at_ms, &head.hash);
        head.key == self.id
            && UnparsedPublicKey::new(&ED25519, self.bytes)
                .verify(&message, &head.signature)
                .is_ok()
    }
}

/// What a sound log shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verified {
    /// How many events there are.
    pub events: u64,
    /// How many checkpoints, those that were kept elsewhere included.
    pub checkpoints: u64,
    /// Where it ends; `None`: nothing was ever written.
    pub head: Option<SignedHead>,
}

/// The log is not what was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// A row does not follow from the one before.
    #[error(
        "event {seq} is not what was written, or one before it was taken away or moved: its hash \
         does not follow"
    )]
    Hash {
        /// Which.
        seq: u64,
    },
    /// Numbers are missing.
    #[error("the events {first} to {last} were taken away")]
    Missing {
        /// The first that is missing.
        first: u64,
        /// The last.
        last: u64,
    },
    /// The log ends before or after its head.
    #[error("the log ends with event {found}, but was signed as ending with {expected}")]
    Length {
        /// Where it ends.
        found: u64,
        /// Where it should.
        expected: u64,
    },
    /// There are events, and nothing that says where they end.
    #[error("the log has {events} events, but its signed head is missing")]
    NoHead {
        /// How many.
        events: u64,
    },
    /// A head or a checkpoint that nobody with the key signed.
    #[error("the signature of the head at event {seq} is not the audit key's")]
    Signature {
        /// Which.
        seq: u64,
    },
    /// The log is another than the one that was signed.
    #[error("event {seq} is not the one that was signed at the time: the log was written anew")]
    Checkpoint {
        /// Which.
        seq: u64,
    },
    /// A checkpoint lies beyond the log's end.
    #[error(
        "the log ends with event {found}, but a checkpoint was signed at event {seq}: an older copy \
         was put back"
    )]
    RolledBack {
        /// Where it ends.
        found: u64,
        /// The checkpoint.
        seq: u64,
    },
    /// The mark lies beyond the log's end.
    #[error(
        "the log ends with event {found}, but this installation's keystore has event {seq} marked: \
         it was emptied, or an older copy was put back. Where a backup of the database was restored \
         on purpose, that is it: `keyreel audit resume` goes on from there"
    )]
    BehindMark {
        /// Where it ends.
        found: u64,
        /// The mark.
        seq: u64,
    },
    /// The log has another event where the mark is.
    #[error(
        "event {seq} is not the one that this installation's keystore has marked: another log was \
         put in its place"
    )]
    OtherThanMarked {
        /// Which.
        seq: u64,
    },
    /// It could not be read.
    #[error(transparent)]
    Library(#[from] Error),
}

/// Reads the whole log and checks every row, the head, the checkpoints, `kept`, which are
/// checkpoints that were kept elsewhere, and the mark, which was read before. Events may be appended
/// meanwhile.
///
/// # Errors
/// The first thing that is wrong.
pub async fn verify(
    catalogue: &dyn Catalogue,
    key: &AuditPublicKey,
    kept: &[SignedHead],
    mark: Option<AuditMark>,
) -> Result<Verified, Broken> {
    let AuditHeads {
        mut head,
        checkpoints,
    } = catalogue.audit_heads().await?;
    let mut signed: Vec<&SignedHead> = checkpoints.iter().chain(kept).collect();
    signed.sort_by_key(|head| head.seq);
    let mut heads = kept.iter().chain(&head);
    let false_head = heads.find(|head| !key.signed(head));
    let mut known = checkpoints.iter();
    let false_checkpoint = known.find(|known| !key.signed_checkpoint(known));
    if let Some(forged) = false_head.or(false_checkpoint) {
        return Err(Broken::Signature { seq: forged.seq });
    }
    let end = head.as_ref().map_or(0, |head| head.seq);
    if let Some(beyond) = signed.last().filter(|head| head.seq > end) {
        return Err(Broken::RolledBack {
            found: end,
            seq: beyond.seq,
        });
    }
    let mut signed = signed.into_iter().peekable();
    let mut walk = Walk::default();
    loop {
        let links = catalogue.audit_links(walk.seq, PAGE).await?;
        for link in &links {
            walk.step(link)?;
            while let Some(known) = signed.next_if(|known| known.seq == walk.seq) {
                walk.stands_at(known)?;
            }
            if let Some(head) = head.as_ref().filter(|head| head.seq == walk.seq) {
                walk.stands_at(head)?;
            }
            if mark.is_some_and(|mark| mark.seq == walk.seq && mark.hash != walk.hash) {
                return Err(Broken::OtherThanMarked { seq: walk.seq });
            }
        }
        if !links.is_empty() {
            continue;
        }
        let end = head.as_ref().map_or(0, |head| head.seq);
        if walk.seq == end {
            break;
        }
        if walk.seq < end {
            return Err(Broken::Length {
                found: walk.seq,
                expected: end,
            });
        }
        // Appended since the head was read: then there is a later head.
        let later = catalogue.audit_heads().await?.head;
        match later {
            None => return Err(Broken::NoHead { events: walk.seq }),
            Some(later) if !key.signed(&later) => {
                return Err(Broken::Signature { seq: later.seq });
            }
            Some(later) if later.seq <= end => {
                return Err(Broken::Length {
                    found: walk.seq,
                    expected: end,
                });
            }
            Some(later) => {
                if later.seq == walk.seq {
                    walk.stands_at(&later)?;
                }
                head = Some(later);
            }
        }
    }
    if let Some(mark) = mark.filter(|mark| mark.seq > walk.seq) {
        return Err(Broken::BehindMark {
            found: walk.seq,
            seq: mark.seq,
        });
    }
    Ok(Verified {
        events: walk.seq,
        checkpoints: (checkpoints.len() + kept.len()) as u64,
        head,
    })
}

/// Where a reader of the chain stands.
#[derive(Default)]
struct Walk {
    seq: u64,
    hash: [u8; 32],
}

impl Walk {
    /// A head or a checkpoint that was signed here.
    fn stands_at(&self, signed: &SignedHead) -> Result<(), Broken> {
        if signed.hash == self.hash {
            Ok(())
        } else {
            Err(Broken::Checkpoint { seq: signed.seq })
        }
    }

    fn step(&mut self, link: &AuditLink) -> Result<(), Broken> {
        if link.seq != self.seq + 1 {
            return Err(Broken::Missing {
                first: self.seq + 1,
                last: link.seq.saturating_sub(1),
            });
        }
        let expected = link.hash_after(&self.hash);
        if link.hash != Some(expected) {
            return Err(Broken::Hash { seq: link.seq });
        }
        self.seq = link.seq;
        self.hash = expected;
        Ok(())
    }
}

/// The head and the checkpoints that a catalogue holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditHeads {
    /// The end of the log; `None` where it was never signed.
    pub head: Option<SignedHead>,
    /// Former ends, oldest first.
    pub checkpoints: Vec<SignedHead>,
}

fn message(label: &[u8], seq: u64, at_ms: u64, hash: &[u8; 32]) -> Vec<u8> {
    [
        label,
        &seq.to_be_bytes(),
        &at_ms.to_be_bytes(),
        hash.as_slice(),
    ]
    .concat()
}

const LABEL_ROW: &[u8] = b"keyreel/v1 audit\0";
const LABEL_HEAD: &[u8] = b"keyreel/v1 audit head\0";
const LABEL_CHECKPOINT: &[u8] = b"keyreel/v1 audit checkpoint\0";
/// Rows read at once.
const PAGE: u32 = 2000;

mod hex_bytes {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(from)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(D::Error::custom)?;
        Ok(bytes)
    }
}

mod base64_bytes {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        STANDARD.decode(text).map_err(D::Error::custom)
    }
}
