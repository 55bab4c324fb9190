//! Re-wrapping: a new key block in the slot, or in a key record beside the object.

use keyreel_format::{AwsLc, Dek, Error, Header, KeyBlock, Reader, RustCrypto};

use crate::support::{Random, fetch, identity, key_block, open, read_range, recipient, seal};

#[test]
fn a_new_slot_opens_the_old_body() {
    let dek = Dek::generate();
    let plaintext = Random(21).bytes(40_000);
    let mut object = seal::<AwsLc>(&identity("t", "r", "media"), &dek, &plaintext, 1 << 20);
    for generation in 2..6 {
        let header = Header::parse(&object).unwrap().verify(&dek).unwrap();
        let slot = header.rewrap(&dek, &key_block(generation)).unwrap();
        object[..slot.len()].copy_from_slice(&slot);
        assert!(open::<AwsLc>(&object, &dek).unwrap() == plaintext);
        assert!(open::<RustCrypto>(&object, &dek).unwrap() == plaintext);
    }
}

#[test]
fn a_key_record_stands_for_the_slot() {
    let dek = Dek::generate();
    let plaintext = Random(22).bytes(40_000);
    let object = seal::<AwsLc>(&identity("t", "r", "media"), &dek, &plaintext, 1 << 20);
    let header = Header::parse(&object).unwrap().verify(&dek).unwrap();
    let record = header.key_record(&dek, &key_block(2)).unwrap();

    let from_record = Header::parse_key_record(&record)
        .unwrap()
        .verify(&dek)
        .unwrap();
    assert_eq!(from_record.identity(), header.identity());
    assert_eq!(from_record.identity_block(), header.identity_block());
    assert_eq!(from_record.key_block(), &key_block(2));
    let slot = usize::try_from(from_record.slot_len()).unwrap();
    let prefix = object[slot..].first_chunk().unwrap();
    let reader = Reader::new(&from_record, &dek, prefix, object.len() as u64).unwrap();
    let mut last = fetch(&object, &reader.last_chunk().object_range);
    assert_eq!(reader.verify_last_chunk(&mut last).unwrap().bytes(), 40_000);
    assert!(read_range(&reader, &object, 0..40_000, 1 << 20).unwrap() == plaintext);

    // The slot that says the same is put together without the DEK.
    let slot_bytes = header.rewrap(&dek, &key_block(2)).unwrap();
    let mac = slot_bytes.last_chunk().unwrap();
    let unverified = Header::parse_key_record(&record).unwrap();
    assert!(unverified.slot_with(mac).unwrap() == slot_bytes);
    assert_eq!(unverified.to_key_record(), record);

    // A record can be re-wrapped again.
    let next = from_record.key_record(&dek, &key_block(3)).unwrap();
    let next = Header::parse_key_record(&next)
        .unwrap()
        .verify(&dek)
        .unwrap();
    assert_eq!(next.key_block().generation, 3);

    // Every bit of it counts, and so does its length.
    for at in 0..record.len() {
        for bit in 0..8 {
            let mut flipped = record.clone();
            flipped[at] ^= 1 << bit;
            let opened = Header::parse_key_record(&flipped).and_then(|found| found.verify(&dek));
            assert!(
                opened.is_err_and(|error| error.is_damage()),
                "byte {at} bit {bit}"
            );
        }
        assert!(Header::parse_key_record(&record[..at]).is_err());
    }
    let mut longer = record.clone();
    longer.push(0);
    assert!(Header::parse_key_record(&longer).is_err());
    assert!(Header::parse_key_record(&object[..slot]).is_err());
    assert!(Header::parse(&record).is_err());
}

#[test]
fn what_cannot_be_undone_is_refused() {
    let dek = Dek::generate();
    let object = seal::<AwsLc>(&identity("t", "r", "media"), &dek, b"x", 1);
    let header = Header::parse(&object).unwrap().verify(&dek).unwrap();
    // Another DEK would lock the recording for good.
    assert_eq!(
        header.rewrap(&Dek::generate(), &key_block(2)),
        Err(Error::Integrity)
    );
    assert_eq!(
        header.key_record(&Dek::generate(), &key_block(2)),
        Err(Error::Integrity)
    );
    // Generations only rise.
    for generation in [0, 1] {
        let refused = header.rewrap(&dek, &key_block(generation));
        assert!(matches!(refused, Err(Error::KeyBlock { .. })));
    }
    // The slot's length is part of the identity: what does not fit goes into a record.
    let large = KeyBlock {
        generation: 2,
        recipients: vec![recipient("kek/2", 2000); 4],
    };
    assert!(matches!(
        header.rewrap(&dek, &large),
        Err(Error::KeyBlock { .. })
    ));
    let record = header.key_record(&dek, &large).unwrap();
    let from_record = Header::parse_key_record(&record)
        .unwrap()
        .verify(&dek)
        .unwrap();
    assert_eq!(from_record.key_block(), &large);
    assert!(matches!(
        from_record.rewrap(
            &dek,
            &KeyBlock {
                generation: 3,
                ..large
            }
        ),
        Err(Error::KeyBlock { .. })
    ));
}
