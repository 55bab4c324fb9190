//! Sealing and opening whole objects the way a server does: slot, prefix, last chunk, spans.

use bytes::{Bytes, BytesMut};
use keyreel_format::{
    BODY_PREFIX_LEN, ContentType, Dek, Error, Header, Identity, KekId, KeyBlock, PartName,
    ProviderId, Reader, Recipient, RecordingId, Sealer, StreamOpener, Suite, TenantId,
    WrapAlgorithm,
};

/// A small generator (splitmix64), so that every run tests the same cases.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next().to_be_bytes()[0]).collect()
    }
}

pub(crate) fn identity(tenant: &str, recording: &str, part: &str) -> Identity {
    Identity {
        object_id: Identity::new_object_id().unwrap(),
        tenant: TenantId::parse(tenant).unwrap(),
        recording: RecordingId::parse(recording).unwrap(),
        part: PartName::parse(part).unwrap(),
        content_type: ContentType::parse("audio/wav").unwrap(),
        created_ms: 1_793_696_400_000,
    }
}

pub(crate) fn recipient(kek: &str, wrapped: usize) -> Recipient {
    Recipient {
        algorithm: WrapAlgorithm::RsaOaepSha256,
        provider: ProviderId::parse("managed").unwrap(),
        kek: KekId::parse(kek).unwrap(),
        wrapped_dek: vec![0xA5; wrapped],
        info: b"region".to_vec(),
    }
}

pub(crate) fn key_block(generation: u32) -> KeyBlock {
    KeyBlock {
        generation,
        recipients: vec![recipient("kek/1", 384)],
    }
}

/// A whole object, its plaintext pushed in pieces of `piece` bytes.
pub(crate) fn seal<S: Suite>(
    identity: &Identity,
    dek: &Dek,
    plaintext: &[u8],
    piece: usize,
) -> Vec<u8> {
    let (slot, prefix, mut sealer) = Sealer::<S>::with_suite(identity, &key_block(1), dek).unwrap();
    let mut out = BytesMut::from(slot.as_slice());
    out.extend_from_slice(&prefix);
    for piece in plaintext.chunks(piece) {
        sealer.push(piece, &mut out).unwrap();
    }
    let length = sealer.finish(&mut out).unwrap();
    assert_eq!(length.bytes(), plaintext.len() as u64);
    assert_eq!(length.object_len(slot.len() as u64), out.len() as u64);
    out.into()
}

/// Header and reader of an object, its length verified.
pub(crate) fn reader<S: Suite>(object: &[u8], dek: &Dek) -> Result<Reader<S>, Error> {
    let header = Header::parse(object)?.verify_with::<S>(dek)?;
    let body = &object[usize::try_from(header.slot_len()).unwrap()..];
    let prefix: &[u8; BODY_PREFIX_LEN] = body.first_chunk().ok_or(Error::ImpossibleLength {
        length: body.len() as u64,
    })?;
    let reader = Reader::<S>::with_suite(&header, dek, prefix, object.len() as u64)?;
    let mut last = fetch(object, &reader.last_chunk().object_range);
    reader.verify_last_chunk(&mut last)?;
    Ok(reader)
}

/// What an object store answers to a range request.
pub(crate) fn fetch(object: &[u8], range: &std::ops::Range<u64>) -> BytesMut {
    let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
    BytesMut::from(&object[range])
}

/// A range of the plaintext, read in spans.
pub(crate) fn read_range<S: Suite>(
    reader: &Reader<S>,
    object: &[u8],
    range: std::ops::Range<u64>,
    span_len: usize,
) -> Result<Vec<u8>, Error> {
    let mut plaintext = Vec::new();
    for span in reader.spans(range, span_len)? {
        let opened = reader.open(&span, fetch(object, &span.object_range))?;
        let (promised, remaining) = (opened.len(), opened.remaining());
        let chunks: Vec<Bytes> = opened.collect();
        assert_eq!(chunks.len(), promised);
        assert!(chunks.iter().all(|chunk| !chunk.is_empty()));
        assert_eq!(chunks.iter().map(Bytes::len).sum::<usize>(), remaining);
        chunks
            .iter()
            .for_each(|chunk| plaintext.extend_from_slice(chunk));
    }
    Ok(plaintext)
}

/// The whole plaintext, through a reader.
pub(crate) fn open<S: Suite>(object: &[u8], dek: &Dek) -> Result<Vec<u8>, Error> {
    let reader = reader::<S>(object, dek)?;
    read_range(&reader, object, 0..reader.plaintext_len().bytes(), 1 << 20)
}

/// The whole plaintext, as a stream. Also gives what came out before a failure.
pub(crate) fn open_stream<S: Suite>(
    object: &[u8],
    dek: &Dek,
    piece: usize,
) -> (Vec<u8>, Result<(), Error>) {
    let mut plaintext = Vec::new();
    let result = (|| {
        let header = Header::parse(object)?.verify_with::<S>(dek)?;
        let body = &object[usize::try_from(header.slot_len()).unwrap()..];
        let (prefix, chunks) = body.split_first_chunk().ok_or(Error::ImpossibleLength {
            length: body.len() as u64,
        })?;
        let mut opener = StreamOpener::<S>::with_suite(&header, dek, prefix)?;
        for piece in chunks.chunks(piece) {
            opener.push(piece, |chunk| plaintext.extend_from_slice(&chunk))?;
        }
        plaintext.extend_from_slice(&opener.finish()?);
        Ok(())
    })();
    (plaintext, result)
}
