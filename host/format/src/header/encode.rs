//! Writing headers.

use super::{Identity, KeyBlock, Recipient};
use crate::Error;
use crate::layout::{
    BODY_SUITE, HEADER_SUITE, MAC_LEN, MAGIC, MAX_RECIPIENTS, MAX_SLOT_LEN, SLOT_LEN,
    TLV_CONTENT_TYPE, TLV_CREATED, TLV_END, TLV_PART, TLV_RECORDING, TLV_TENANT, VERSION,
};
use crate::suite::Suite;

/// The identity block, in the smallest slot that holds it and `key_block`.
pub(super) fn identity_block(
    identity: &Identity,
    key_block: &KeyBlock,
) -> Result<(Vec<u8>, u64), Error> {
    let tlvs: [(u16, &[u8]); 6] = [
        (TLV_TENANT, identity.tenant.as_str().as_bytes()),
        (TLV_RECORDING, identity.recording.as_str().as_bytes()),
        (TLV_PART, identity.part.as_str().as_bytes()),
        (TLV_CONTENT_TYPE, identity.content_type.as_str().as_bytes()),
        (TLV_CREATED, &identity.created_ms.to_be_bytes()),
        (TLV_END, &[]),
    ];
    let mut fields = Vec::with_capacity(512);
    fields.extend_from_slice(&identity.object_id);
    for (kind, value) in tlvs {
        fields.extend_from_slice(&kind.to_be_bytes());
        fields.extend_from_slice(&len16(value)?);
        fields.extend_from_slice(value);
    }

    let prefix_len = MAGIC.len() + 8;
    let used = prefix_len + fields.len() + key_block_bytes(key_block)?.len() + MAC_LEN;
    let slot_len = u32::try_from(used)
        .map(|used| u64::from(used).next_multiple_of(SLOT_LEN))
        .ok()
        .filter(|len| *len <= MAX_SLOT_LEN)
        .ok_or(TOO_LARGE)?;

    let mut block = Vec::with_capacity(prefix_len + fields.len());
    block.extend_from_slice(&MAGIC);
    block.extend_from_slice(&VERSION.to_be_bytes());
    block.extend_from_slice(&[BODY_SUITE, HEADER_SUITE]);
    block.extend_from_slice(
        &u32::try_from(slot_len)
            .map_err(|_| TOO_LARGE)?
            .to_be_bytes(),
    );
    block.extend_from_slice(&fields);
    Ok((block, slot_len))
}

/// A whole slot: identity block, key block, zeros, MAC.
pub(super) fn slot<S: Suite>(
    identity_block: &[u8],
    slot_len: u64,
    key_block: &KeyBlock,
    mac_key: &[u8; MAC_LEN],
) -> Result<Vec<u8>, Error> {
    let mut slot = identity_block.to_vec();
    slot.extend_from_slice(&key_block_bytes(key_block)?);
    let padded = usize::try_from(slot_len)
        .ok()
        .and_then(|len| len.checked_sub(MAC_LEN))
        .filter(|len| *len >= slot.len())
        .ok_or(DOES_NOT_FIT)?;
    slot.resize(padded, 0);
    append_mac::<S>(&mut slot, mac_key);
    Ok(slot)
}

/// A key record: identity block, key block, MAC.
pub(super) fn record<S: Suite>(
    identity_block: &[u8],
    key_block: &KeyBlock,
    mac_key: &[u8; MAC_LEN],
) -> Result<Vec<u8>, Error> {
    let mut record = identity_block.to_vec();
    record.extend_from_slice(&key_block_bytes(key_block)?);
    append_mac::<S>(&mut record, mac_key);
    Ok(record)
}

fn append_mac<S: Suite>(bytes: &mut Vec<u8>, mac_key: &[u8; MAC_LEN]) {
    let mac = S::mac(mac_key, &[bytes]);
    bytes.extend_from_slice(&mac);
}

fn key_block_bytes(key_block: &KeyBlock) -> Result<Vec<u8>, Error> {
    let count = key_block.recipients.len();
    if count == 0 || count > MAX_RECIPIENTS {
        return Err(Error::KeyBlock {
            what: "it needs one to four recipients",
        });
    }
    let mut content = Vec::with_capacity(1024);
    content.extend_from_slice(&key_block.generation.to_be_bytes());
    content.push(u8::try_from(count).map_err(|_| TOO_LARGE)?);
    for recipient in &key_block.recipients {
        push_recipient(&mut content, recipient)?;
    }
    let mut block = len16(&content)?.to_vec();
    block.append(&mut content);
    Ok(block)
}

fn push_recipient(content: &mut Vec<u8>, recipient: &Recipient) -> Result<(), Error> {
    if recipient.wrapped_dek.is_empty() {
        return Err(Error::KeyBlock {
            what: "a wrapped DEK is empty",
        });
    }
    content.extend_from_slice(&recipient.algorithm.code().to_be_bytes());
    for name in [recipient.provider.as_str(), recipient.kek.as_str()] {
        content.push(u8::try_from(name.len()).map_err(|_| TOO_LARGE)?);
        content.extend_from_slice(name.as_bytes());
    }
    for bytes in [&recipient.wrapped_dek, &recipient.info] {
        content.extend_from_slice(&len16(bytes)?);
        content.extend_from_slice(bytes);
    }
    Ok(())
}

fn len16(bytes: &[u8]) -> Result<[u8; 2], Error> {
    u16::try_from(bytes.len())
        .map(u16::to_be_bytes)
        .map_err(|_| TOO_LARGE)
}

pub(super) const DOES_NOT_FIT: Error = Error::KeyBlock {
    what: "it does not fit the object's header slot",
};
const TOO_LARGE: Error = Error::KeyBlock {
    what: "it is larger than the format allows",
};
