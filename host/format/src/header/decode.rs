//! Reading headers. Every length is bounded before it is used, and there is one encoding of
//! everything: what parses, encodes back to the same bytes.

use super::{Content, Identity, KeyBlock, Recipient, UnverifiedHeader};
use crate::layout::{
    BODY_SUITE, FIXED_LEN, HEADER_SUITE, MAC_LEN, MAGIC, MAX_RECIPIENTS, MAX_SLOT_LEN, SLOT_LEN,
    TLV_CONTENT_TYPE, TLV_CREATED, TLV_END, TLV_PART, TLV_RECORDING, TLV_TENANT, VERSION,
};
use crate::wrap::WrapAlgorithm;
use crate::{ContentType, Error, KekId, PartName, ProviderId, RecordingId, TenantId};

pub(super) fn slot(object: &[u8]) -> Result<UnverifiedHeader, Error> {
    let slot_len = slot_len(object)?;
    let slot = usize::try_from(slot_len)
        .ok()
        .and_then(|len| object.get(..len))
        .ok_or(Error::Incomplete { needed: slot_len })?;
    let (authenticated, mac) = split_mac(slot)?;
    let mut cursor = Cursor {
        rest: authenticated,
        offset: 0,
    };
    let content = content(&mut cursor, authenticated)?;
    if cursor.rest.iter().any(|byte| *byte != 0) {
        return Err(cursor.malformed("padding must be zero"));
    }
    Ok(UnverifiedHeader {
        content,
        authenticated: authenticated.into(),
        mac: *mac,
    })
}

pub(super) fn record(record: &[u8]) -> Result<UnverifiedHeader, Error> {
    slot_len(record)?;
    let (authenticated, mac) = split_mac(record)?;
    let mut cursor = Cursor {
        rest: authenticated,
        offset: 0,
    };
    let content = content(&mut cursor, authenticated)?;
    if !cursor.rest.is_empty() {
        return Err(cursor.malformed("a key record has no padding"));
    }
    Ok(UnverifiedHeader {
        content,
        authenticated: authenticated.into(),
        mac: *mac,
    })
}

pub(super) fn slot_len(object: &[u8]) -> Result<u64, Error> {
    let mut cursor = Cursor {
        rest: object,
        offset: 0,
    };
    let incomplete = |_| Error::Incomplete { needed: SLOT_LEN };
    let magic = cursor.array::<8>().map_err(incomplete)?;
    if *magic != MAGIC {
        return Err(Error::NotSealed);
    }
    let version = cursor.u16().map_err(incomplete)?;
    if version != VERSION {
        return Err(Error::Unsupported {
            what: "format version",
            found: version,
        });
    }
    let [body_suite, header_suite] = *cursor.array::<2>().map_err(incomplete)?;
    if body_suite != BODY_SUITE {
        return Err(Error::Unsupported {
            what: "body suite",
            found: body_suite.into(),
        });
    }
    if header_suite != HEADER_SUITE {
        return Err(Error::Unsupported {
            what: "header suite",
            found: header_suite.into(),
        });
    }
    let slot_len = u64::from(cursor.u32().map_err(incomplete)?);
    if slot_len == 0 || slot_len > MAX_SLOT_LEN || !slot_len.is_multiple_of(SLOT_LEN) {
        return Err(Error::Malformed {
            what: "slot length",
            offset: 12,
        });
    }
    Ok(slot_len)
}

fn split_mac(bytes: &[u8]) -> Result<(&[u8], &[u8; MAC_LEN]), Error> {
    bytes.split_last_chunk().ok_or(Error::Malformed {
        what: "no MAC",
        offset: 0,
    })
}

fn content(cursor: &mut Cursor<'_>, all: &[u8]) -> Result<Content, Error> {
    let slot_len = slot_len(all)?;
    cursor.take(FIXED_LEN - 16)?;
    let object_id = *cursor.array()?;
    let tenant = TenantId::parse(cursor.text_tlv(TLV_TENANT)?)?;
    let recording = RecordingId::parse(cursor.text_tlv(TLV_RECORDING)?)?;
    let part = PartName::parse(cursor.text_tlv(TLV_PART)?)?;
    let content_type = ContentType::parse(cursor.text_tlv(TLV_CONTENT_TYPE)?)?;
    let created = cursor.tlv(TLV_CREATED)?;
    let created_ms = <[u8; 8]>::try_from(created)
        .map(u64::from_be_bytes)
        .map_err(|_| cursor.malformed("time of creation must be 8 bytes"))?;
    if !cursor.tlv(TLV_END)?.is_empty() {
        return Err(cursor.malformed("the end has no value"));
    }
    let identity = Identity {
        object_id,
        tenant,
        recording,
        part,
        content_type,
        created_ms,
    };
    let identity_block = all
        .get(..cursor.offset)
        .ok_or(cursor.malformed("ends early"))?
        .into();
    let key_block = key_block(cursor)?;
    Ok(Content {
        identity,
        identity_block,
        slot_len,
        key_block,
    })
}

fn key_block(cursor: &mut Cursor<'_>) -> Result<KeyBlock, Error> {
    let offset = cursor.offset + 2;
    let mut block = Cursor {
        rest: cursor.bytes16()?,
        offset,
    };
    let generation = block.u32()?;
    let count = usize::from(block.u8()?);
    if count == 0 || count > MAX_RECIPIENTS {
        return Err(block.malformed("one to four recipients"));
    }
    let recipients = (0..count)
        .map(|_| recipient(&mut block))
        .collect::<Result<_, _>>()?;
    if !block.rest.is_empty() {
        return Err(block.malformed("the key block is longer than its recipients"));
    }
    Ok(KeyBlock {
        generation,
        recipients,
    })
}

fn recipient(block: &mut Cursor<'_>) -> Result<Recipient, Error> {
    let code = block.u16()?;
    let algorithm = WrapAlgorithm::from_code(code).ok_or(Error::Unsupported {
        what: "wrap algorithm",
        found: code,
    })?;
    let provider = ProviderId::parse(block.text8()?)?;
    let kek = KekId::parse(block.text8()?)?;
    let wrapped_dek = block.bytes16()?.to_vec();
    if wrapped_dek.is_empty() {
        return Err(block.malformed("a wrapped DEK is empty"));
    }
    let info = block.bytes16()?.to_vec();
    Ok(Recipient {
        algorithm,
        provider,
        kek,
        wrapped_dek,
        info,
    })
}

/// What is left to read, and how far into the header it lies.
struct Cursor<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Cursor<'a> {
    fn malformed(&self, what: &'static str) -> Error {
        Error::Malformed {
            what,
            offset: self.offset,
        }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or_else(|| self.malformed("ends early"))?;
        self.rest = rest;
        self.offset += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Error> {
        let (taken, rest) = self
            .rest
            .split_first_chunk()
            .ok_or_else(|| self.malformed("ends early"))?;
        self.rest = rest;
        self.offset += N;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, Error> {
        self.array().map(|[byte]| *byte)
    }

    fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(|bytes| u16::from_be_bytes(*bytes))
    }

    fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(|bytes| u32::from_be_bytes(*bytes))
    }

    fn bytes16(&mut self) -> Result<&'a [u8], Error> {
        let len = self.u16()?.into();
        self.take(len)
    }

    fn text8(&mut self) -> Result<&'a str, Error> {
        let len = self.u8()?.into();
        let bytes = self.take(len)?;
        self.text(bytes)
    }

    fn text(&self, bytes: &'a [u8]) -> Result<&'a str, Error> {
        str::from_utf8(bytes).map_err(|_| self.malformed("a name is not UTF-8"))
    }

    /// The value of the next TLV, which must be of this type: every type of version 1 is required,
    /// and they ascend.
    fn tlv(&mut self, expected: u16) -> Result<&'a [u8], Error> {
        let kind = self.u16()?;
        if kind == expected {
            return self.bytes16();
        }
        if matches!(kind, TLV_TENANT..=TLV_CREATED | TLV_END) {
            return Err(self.malformed("a TLV is missing or out of order"));
        }
        Err(Error::Unsupported {
            what: "TLV type",
            found: kind,
        })
    }

    fn text_tlv(&mut self, expected: u16) -> Result<&'a str, Error> {
        let value = self.tlv(expected)?;
        self.text(value)
    }
}
