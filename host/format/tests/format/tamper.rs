//! A three-chunk object, changed in every way that a store or an attacker can change it: never a
//! wrong byte, never a panic.

use keyreel_format::{
    AwsLc, CHUNK_LEN, Dek, Error, Identity, RustCrypto, SEALED_CHUNK_LEN, SLOT_LEN, Suite,
};

use crate::support::{Random, fetch, identity, open, open_stream, reader, seal};

const SLOT: usize = SLOT_LEN as usize;
const FIRST: usize = SLOT + 56;

struct Sample {
    identity: Identity,
    dek: Dek,
    plaintext: Vec<u8>,
    object: Vec<u8>,
}

/// Two full chunks and a short one.
fn sample() -> Sample {
    let identity = identity("meridian-health", "r-1", "media");
    let dek = Dek::generate();
    let plaintext = Random(11).bytes(2 * CHUNK_LEN + 1234);
    let object = seal::<AwsLc>(&identity, &dek, &plaintext, 1 << 20);
    Sample {
        identity,
        dek,
        plaintext,
        object,
    }
}

/// Fails to open as a whole, and as a stream gives nothing but a true beginning.
fn is_refused<S: Suite>(sample: &Sample, object: &[u8], what: &str) {
    let error = open::<S>(object, &sample.dek).expect_err(what);
    assert!(error.is_damage(), "{what}: {error}");
    let (streamed, result) = open_stream::<S>(object, &sample.dek, SEALED_CHUNK_LEN);
    assert!(result.is_err(), "{what}");
    assert!(
        sample.plaintext.starts_with(&streamed),
        "{what}: a wrong byte"
    );
}

#[test]
fn every_bit_of_the_slot_and_the_prefix() {
    let sample = sample();
    let mut object = sample.object.clone();
    for at in 0..FIRST {
        for bit in 0..8 {
            object[at] ^= 1 << bit;
            let error = open::<AwsLc>(&object, &sample.dek).expect_err("must not open");
            assert!(error.is_damage(), "byte {at} bit {bit}: {error}");
            // Structure is public; where only the MAC or the commitment can tell, nothing is said.
            if at >= SLOT - 64 {
                assert_eq!(error, Error::Integrity, "byte {at} bit {bit}");
            }
            object[at] ^= 1 << bit;
        }
    }
    assert_eq!(object, sample.object);
    assert!(open::<AwsLc>(&object, &sample.dek).unwrap() == sample.plaintext);
}

#[test]
fn every_bit_of_the_body() {
    let sample = sample();
    let reader = reader::<AwsLc>(&sample.object, &sample.dek).unwrap();
    let length = sample.plaintext.len() as u64;
    let spans: Vec<_> = reader.spans(0..length, 1).unwrap().collect();
    assert_eq!(spans.len(), 3);
    let mut flips = 0;
    for span in spans {
        let sealed = fetch(&sample.object, &span.object_range);
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut flipped = sealed.clone();
                flipped[at] ^= 1 << bit;
                assert_eq!(reader.open(&span, flipped).err(), Some(Error::Integrity));
                flips += 1;
            }
        }
        assert!(reader.open(&span, sealed).is_ok());
    }
    assert_eq!(flips, (sample.object.len() - FIRST) * 8);
}

#[test]
fn a_bit_of_every_byte_through_the_whole_path() {
    let sample = sample();
    let mut object = sample.object.clone();
    for at in 0..object.len() {
        let bit = 1 << (at % 8);
        object[at] ^= bit;
        is_refused::<AwsLc>(&sample, &object, "flipped");
        if at % 512 == 0 {
            is_refused::<RustCrypto>(&sample, &object, "flipped");
        }
        object[at] ^= bit;
    }
}

#[test]
fn every_length_cut() {
    let sample = sample();
    for length in 0..sample.object.len() {
        is_refused::<AwsLc>(&sample, &sample.object[..length], "cut");
        if length % 1024 < 2 {
            is_refused::<RustCrypto>(&sample, &sample.object[..length], "cut");
        }
    }
}

#[test]
fn bytes_appended() {
    let sample = sample();
    let mut random = Random(12);
    for count in (1..=17).chain([
        SEALED_CHUNK_LEN - 1,
        SEALED_CHUNK_LEN,
        SEALED_CHUNK_LEN + 16,
    ]) {
        let last_bytes = sample.object[sample.object.len() - count.min(1250)..].to_vec();
        for tail in [vec![0; count], random.bytes(count), last_bytes] {
            let mut object = sample.object.clone();
            object.extend_from_slice(&tail);
            is_refused::<AwsLc>(&sample, &object, "appended");
            is_refused::<RustCrypto>(&sample, &object, "appended");
        }
    }
}

#[test]
fn chunks_swapped_repeated_and_dropped() {
    let sample = sample();
    let chunks: Vec<&[u8]> = sample.object[FIRST..].chunks(SEALED_CHUNK_LEN).collect();
    let orders: [&[usize]; 10] = [
        &[1, 0, 2],
        &[0, 2, 1],
        &[2, 1, 0],
        &[1, 2, 0],
        &[0, 0, 2],
        &[1, 1, 2],
        &[0, 2],
        &[1, 2],
        &[0, 1, 1, 2],
        &[0, 1],
    ];
    for order in orders {
        let mut object = sample.object[..FIRST].to_vec();
        order
            .iter()
            .for_each(|chunk| object.extend_from_slice(chunks[*chunk]));
        is_refused::<AwsLc>(&sample, &object, "reordered");
        is_refused::<RustCrypto>(&sample, &object, "reordered");
    }
}

/// Whatever is taken from another object of the same length, even under the same DEK, does not
/// fit: other tenant, recording, part, sealing; or other key.
#[test]
fn splices() {
    let sample = sample();
    let mut resealed = sample.identity.clone();
    resealed.object_id = Identity::new_object_id().unwrap();
    let mut retyped = sample.identity.clone();
    retyped.content_type = keyreel_format::ContentType::parse("audio/ogg").unwrap();
    let others = [
        ("tenant", identity("meridian-healtH", "r-1", "media")),
        ("recording", identity("meridian-health", "r-2", "media")),
        ("part", identity("meridian-health", "r-1", "mediA")),
        ("version", resealed),
        ("content type", retyped),
        ("same identity, other salt", sample.identity.clone()),
    ];
    let other_dek = Dek::generate();
    for (what, identity) in &others {
        for (dek, same_dek) in [(&sample.dek, true), (&other_dek, false)] {
            let other = seal::<AwsLc>(identity, dek, &sample.plaintext, 1 << 20);
            assert_eq!(other.len(), sample.object.len());
            let same_identity = *identity == sample.identity && same_dek;
            splice(&sample, &other, 0..SLOT, same_identity, what);
            splice(&sample, &other, SLOT..FIRST, false, what);
            splice(&sample, &other, FIRST..other.len(), false, what);
            for chunk in 0..3 {
                let start = FIRST + chunk * SEALED_CHUNK_LEN;
                let end = (start + SEALED_CHUNK_LEN).min(other.len());
                splice(&sample, &other, start..end, false, what);
            }
            // Tag, MAC and commitment alone.
            splice(&sample, &other, SLOT - 64..SLOT, same_identity, what);
            splice(&sample, &other, SLOT + 24..FIRST, false, what);
            splice(&sample, &other, other.len() - 16..other.len(), false, what);
        }
    }
}

fn splice(
    sample: &Sample,
    other: &[u8],
    range: std::ops::Range<usize>,
    is_equal: bool,
    what: &str,
) {
    let mut object = sample.object.clone();
    object[range.clone()].copy_from_slice(&other[range]);
    if is_equal {
        // The slot holds no randomness of its own: an equal one is no splice.
        assert_eq!(object, sample.object, "{what}");
    } else {
        is_refused::<AwsLc>(sample, &object, what);
        is_refused::<RustCrypto>(sample, &object, what);
    }
}

#[test]
fn a_wrong_dek_is_refused_at_the_header() {
    let sample = sample();
    for bit in 0..256 {
        let mut wrong = *sample.dek.expose();
        wrong[bit / 8] ^= 1 << (bit % 8);
        let wrong = Dek::from_slice(&wrong).unwrap();
        let header = keyreel_format::Header::parse(&sample.object).unwrap();
        assert_eq!(header.verify(&wrong).err(), Some(Error::Integrity));
    }
}
