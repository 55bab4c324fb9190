//! Any range of any object is the same slice of its plaintext, whichever backend sealed it and
//! whichever opens it.

use keyreel_format::{AwsLc, CHUNK_LEN, Dek, Error, RustCrypto, SEALED_CHUNK_LEN, Suite};

use crate::support::{Random, identity, open, open_stream, read_range, reader, seal};

/// Around every boundary of the format.
const HOSTILE: [usize; 21] = [
    0, 1, 2, 15, 16, 17, 55, 56, 57, 16_367, 16_368, 16_383, 16_384, 16_385, 16_399, 16_400,
    16_401, 32_767, 32_768, 32_769, 65_536,
];

#[test]
fn hostile_sizes_open_across_backends() {
    let mut random = Random(1);
    for size in HOSTILE {
        let dek = Dek::generate();
        let plaintext = random.bytes(size);
        let piece = 1 + usize::try_from(random.below(20_000)).unwrap();
        let identity = identity("meridian-health", "r-1", "media");
        round_trip::<AwsLc, RustCrypto>(&identity, &dek, &plaintext, piece);
        round_trip::<RustCrypto, AwsLc>(&identity, &dek, &plaintext, piece);
    }
}

fn round_trip<Seals: Suite, Opens: Suite>(
    identity: &keyreel_format::Identity,
    dek: &Dek,
    plaintext: &[u8],
    piece: usize,
) {
    let object = seal::<Seals>(identity, dek, plaintext, piece);
    let name = format!("{} bytes in pieces of {piece}", plaintext.len());
    assert!(open::<Opens>(&object, dek).unwrap() == plaintext, "{name}");
    let (streamed, result) = open_stream::<Opens>(&object, dek, piece);
    assert_eq!(result, Ok(()), "{name}");
    assert!(streamed == plaintext, "{name}");
}

#[test]
fn pieces_make_no_difference() {
    let mut random = Random(2);
    let plaintext = random.bytes(3 * CHUNK_LEN + 7);
    let dek = Dek::generate();
    for piece in [
        1,
        7,
        CHUNK_LEN - 1,
        CHUNK_LEN,
        CHUNK_LEN + 1,
        2 * CHUNK_LEN,
        1 << 20,
    ] {
        let object = seal::<AwsLc>(&identity("t", "r", "media"), &dek, &plaintext, piece);
        assert!(
            open::<AwsLc>(&object, &dek).unwrap() == plaintext,
            "{piece}"
        );
    }
}

#[test]
fn ten_thousand_random_ranges() {
    let mut random = Random(3);
    let lengths = [
        0,
        1,
        CHUNK_LEN,
        5 * CHUNK_LEN,
        40 * CHUNK_LEN + 11,
        17 * CHUNK_LEN - 1,
    ];
    for (number, length) in lengths.into_iter().enumerate() {
        let dek = Dek::generate();
        let plaintext = random.bytes(length);
        let object = seal::<AwsLc>(&identity("t", "r", "media"), &dek, &plaintext, 1 << 20);
        let host = reader::<AwsLc>(&object, &dek).unwrap();
        let portable = reader::<RustCrypto>(&object, &dek).unwrap();
        for round in 0..10_000 / lengths.len() + 1 {
            let start = random.below(length as u64 + 1);
            let most = length as u64 - start + 1;
            // Half of them short, as players ask.
            let most = if round % 2 == 0 { most } else { most.min(3000) };
            let end = start + random.below(most);
            let span_len = 1 + usize::try_from(random.below(8)).unwrap() * SEALED_CHUNK_LEN;
            let slice = usize::try_from(start).unwrap()..usize::try_from(end).unwrap();
            let read = read_range(&host, &object, start..end, span_len).unwrap();
            assert!(read == plaintext[slice.clone()], "{number}: {start}..{end}");
            if round % 16 == 0 {
                let read = read_range(&portable, &object, start..end, span_len).unwrap();
                assert!(read == plaintext[slice], "{number}: {start}..{end}");
            }
        }
    }
}

#[test]
fn spans_cover_the_range_once_and_stay_within_the_object() {
    let mut random = Random(4);
    let dek = Dek::generate();
    let plaintext = random.bytes(9 * CHUNK_LEN + 100);
    let object = seal::<AwsLc>(&identity("t", "r", "media"), &dek, &plaintext, 1 << 20);
    let reader = reader::<AwsLc>(&object, &dek).unwrap();
    for _ in 0..1000 {
        let start = random.below(plaintext.len() as u64);
        let end = start + random.below(plaintext.len() as u64 - start + 1);
        let span_len = usize::try_from(random.below(4 * SEALED_CHUNK_LEN as u64)).unwrap();
        let mut at = start;
        for span in reader.spans(start..end, span_len).unwrap() {
            assert_eq!(span.plaintext_range.start, at);
            at = span.plaintext_range.end;
            let sealed = span.object_range.end - span.object_range.start;
            assert!(sealed <= (span_len.max(SEALED_CHUNK_LEN)) as u64);
            assert!(span.object_range.end <= object.len() as u64);
        }
        assert_eq!(at, end);
    }
}

#[test]
#[expect(clippy::reversed_empty_ranges, reason = "that is what is tried")]
fn ranges_outside_are_refused() {
    let dek = Dek::generate();
    let object = seal::<AwsLc>(&identity("t", "r", "media"), &dek, &[7; 100], 100);
    let reader = reader::<AwsLc>(&object, &dek).unwrap();
    for range in [0..101, 101..101, 5..4, 0..u64::MAX, u64::MAX..u64::MAX] {
        assert!(matches!(
            reader.spans(range, 1 << 20),
            Err(Error::Range { .. })
        ));
    }
    assert_eq!(reader.spans(100..100, 1 << 20).unwrap().count(), 0);
}

#[test]
fn a_span_that_was_tampered_with_gives_nothing() {
    let dek = Dek::generate();
    let plaintext = Random(5).bytes(3 * CHUNK_LEN);
    let object = seal::<AwsLc>(&identity("t", "r", "media"), &dek, &plaintext, 1 << 20);
    let reader = reader::<AwsLc>(&object, &dek).unwrap();
    let span = reader
        .spans(CHUNK_LEN as u64 + 5..2 * CHUNK_LEN as u64, 1 << 20)
        .unwrap()
        .next();
    let span = span.unwrap();
    let sealed = || crate::support::fetch(&object, &span.object_range);
    let tampered = [
        (span.object_range.clone(), 0..10),
        (span.object_range.clone(), backwards(10..20_000)),
        (span.object_range.clone(), 20_000..u64::MAX),
        (backwards(span.object_range.clone()), 20_000..20_001),
    ];
    for (object_range, plaintext_range) in tampered {
        let mut span = span.clone();
        span.object_range = object_range;
        span.plaintext_range = plaintext_range;
        assert_eq!(reader.open(&span, sealed()).err(), Some(Error::Integrity));
    }
    let mut short = sealed();
    short.truncate(short.len() - 1);
    assert_eq!(reader.open(&span, short).err(), Some(Error::Integrity));
    assert_eq!(reader.open(&span, sealed()).unwrap().count(), 1);
}

fn backwards(range: std::ops::Range<u64>) -> std::ops::Range<u64> {
    range.end..range.start
}
