//! The layout in hex, the rules of the codec one by one, and random bytes.

use proptest::prelude::*;

use super::*;
use crate::Sealer;
use crate::layout::{FIXED_LEN, MAX_SLOT_LEN, SLOT_LEN};

fn identity() -> Identity {
    Identity {
        object_id: *b"0123456789abcdef",
        tenant: TenantId::parse("acme").unwrap(),
        recording: RecordingId::parse("r-1").unwrap(),
        part: PartName::parse("media").unwrap(),
        content_type: ContentType::parse("audio/wav").unwrap(),
        created_ms: 0x0102_0304_0506_0708,
    }
}

fn recipient(wrapped: usize) -> Recipient {
    Recipient {
        algorithm: WrapAlgorithm::RsaOaepSha1,
        provider: ProviderId::parse("lkm").unwrap(),
        kek: KekId::parse("kek/9").unwrap(),
        wrapped_dek: vec![0xDD; wrapped],
        info: vec![0xEE],
    }
}

fn key_block() -> KeyBlock {
    KeyBlock {
        generation: 7,
        recipients: vec![recipient(4)],
    }
}

fn dek() -> Dek {
    Dek::from_slice(&[0x11; 32]).unwrap()
}

fn slot() -> Vec<u8> {
    seal_slot::<DefaultSuite>(&identity(), &key_block(), &dek())
        .unwrap()
        .0
}

/// Byte for byte what docs/format.md shows.
#[test]
fn layout_in_hex() {
    let expected = [
        "894b52430d0a1a0a", // magic
        "0001",             // version
        "01",               // body suite
        "01",               // header suite
        "00001000",         // slot length
        "30313233343536373839616263646566",
        "0001000461636d65",           // tenant
        "00020003722d31",             // recording
        "000300056d65646961",         // part
        "00040009617564696f2f776176", // content type
        "000500080102030405060708",   // created
        "00ff0000",                   // end
        "001a",                       // key block: 26 bytes
        "00000007",                   // generation
        "01",                         // one recipient
        "0010",                       // wrap algorithm
        "036c6b6d",                   // provider
        "056b656b2f39",               // KEK
        "0004dddddddd",               // wrapped DEK
        "0001ee",                     // info
    ];
    let expected = hex::decode(expected.concat()).unwrap();
    let slot = slot();
    assert_eq!(slot.len(), 4096);
    assert_eq!(hex::encode(&slot[..expected.len()]), hex::encode(&expected));
    assert!(
        slot[expected.len()..4096 - 64]
            .iter()
            .all(|byte| *byte == 0)
    );
    // The MAC, computed once with Python's `cryptography` over the same bytes.
    assert_eq!(hex::encode(&slot[4096 - 64..]), MAC_IN_HEX);
    let header = Header::parse(&slot).unwrap().verify(&dek()).unwrap();
    assert_eq!(
        header.identity_block(),
        &expected[..FIXED_LEN + 8 + 7 + 9 + 13 + 12 + 4]
    );
}

const MAC_IN_HEX: &str = "b67f05dc540096b89cb9a323cdf275cd47ef6622041b94e080f8bdf353a35901\
    e39862f1c08eef414cbb034de5a88dc5c5829e6400c868b36099297db2d4b8b0";

#[test]
fn what_is_written_is_read() {
    let sizes = [
        (1, 1),
        (384, 1),
        (1713, 1),
        (384, 4),
        (1713, 2),
        (1713, 4),
        (16_000, 3),
    ];
    for (wrapped, count) in sizes {
        let key_block = KeyBlock {
            generation: 1,
            recipients: vec![recipient(wrapped); count],
        };
        let (slot, _) = seal_slot::<DefaultSuite>(&identity(), &key_block, &dek()).unwrap();
        assert!(slot.len().is_multiple_of(4096));
        let found = Header::parse(&slot).unwrap();
        assert_eq!(
            UnverifiedHeader::slot_len_of(&slot[..16]).unwrap(),
            slot.len() as u64
        );
        assert_eq!(
            (found.identity(), found.key_block()),
            (&identity(), &key_block)
        );
        let header = found.verify(&dek()).unwrap();
        assert_eq!(
            (header.identity(), header.key_block()),
            (&identity(), &key_block)
        );
        // A reader may hold more of the object than the slot, and is told when it holds less.
        let mut object = slot.clone();
        object.extend_from_slice(&[9; 100]);
        assert!(Header::parse(&object).unwrap().verify(&dek()).is_ok());
        let needed = slot.len() as u64;
        let cut = Header::parse(&slot[..slot.len() - 1]).err();
        assert_eq!(cut, Some(Error::Incomplete { needed }));
    }
}

#[test]
fn what_breaks_a_rule_is_not_written() {
    let with = |recipients| KeyBlock {
        generation: 1,
        recipients,
    };
    let cases = [
        with(vec![]),
        with(vec![recipient(10); 5]),
        with(vec![recipient(0)]),
        with(vec![recipient(65_536)]),
        with(vec![recipient(65_500)]),
        with(vec![recipient(30_000); 3]),
    ];
    for key_block in cases {
        let refused = Sealer::new(&identity(), &key_block, &dek());
        assert!(matches!(refused, Err(Error::KeyBlock { .. })));
    }
}

/// Changes the slot, makes its MAC right again, and gives what the parser says of it.
fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Result<Header, Error> {
    let mut slot = slot();
    slot.truncate(4096 - 64);
    change(&mut slot);
    let mac = DefaultSuite::mac(&*mac_key::<DefaultSuite>(&dek()).unwrap(), &[&slot]);
    slot.extend_from_slice(&mac);
    Header::parse(&slot)?.verify(&dek())
}

/// Even the holder of the DEK cannot make a reader accept what the format does not allow.
#[test]
fn rules_hold_under_a_right_mac() {
    assert!(changed(|_| ()).is_ok());
    assert_eq!(changed(|slot| slot[0] = b'K').err(), Some(Error::NotSealed));
    let unsupported = |found| {
        Some(Error::Unsupported {
            what: found,
            found: 2,
        })
    };
    assert_eq!(
        changed(|slot| slot[9] = 2).err(),
        unsupported("format version")
    );
    assert_eq!(
        changed(|slot| slot[10] = 2).err(),
        unsupported("body suite")
    );
    assert_eq!(
        changed(|slot| slot[11] = 2).err(),
        unsupported("header suite")
    );
    for slot_len in [0_u32, 1, 4095, 4097, 1 << 17, u32::MAX] {
        let refused = changed(|slot| slot[12..16].copy_from_slice(&slot_len.to_be_bytes()));
        assert!(
            matches!(refused, Err(Error::Malformed { .. })),
            "{slot_len}"
        );
    }
    let long = changed(|slot| slot[14] = 0x20).err();
    assert_eq!(long, Some(Error::Incomplete { needed: 8192 }));

    // TLVs: unknown, missing, out of order, doubled; bad UTF-8, bad lengths, bad names.
    let unknown = changed(|slot| slot[33] = 6).err();
    assert_eq!(
        unknown,
        Some(Error::Unsupported {
            what: "TLV type",
            found: 6
        })
    );
    let malformed = |change: fn(&mut Vec<u8>)| {
        let refused = changed(change);
        assert!(
            matches!(refused, Err(Error::Malformed { .. })),
            "{refused:?}"
        );
    };
    malformed(|slot| slot[33] = 2);
    malformed(|slot| {
        let tenant: Vec<u8> = slot[32..40].to_vec();
        slot.splice(40..40, tenant);
    });
    malformed(|slot| {
        slot.drain(32..40);
        slot.extend_from_slice(&[0; 8]);
    });
    malformed(|slot| slot[36] = 0xFF);
    malformed(|slot| slot[34..36].copy_from_slice(&[0xFF; 2]));
    malformed(|slot| slot[72] = 7);
    let names = changed(|slot| slot[36] = b'/').err();
    assert!(matches!(names, Some(Error::Name { .. })));

    // The key block: its length, count and recipients.
    let start = 32 + 8 + 7 + 9 + 13 + 12 + 4;
    for len in [0_u16, 4, 25, 27, u16::MAX] {
        assert!(
            changed(|slot| slot[start..start + 2].copy_from_slice(&len.to_be_bytes())).is_err()
        );
    }
    for count in [0, 2, 5, 255] {
        assert!(changed(|slot| slot[start + 6] = count).is_err(), "{count}");
    }
    let algorithm = changed(|slot| slot[start + 8] = 3).err();
    assert_eq!(
        algorithm,
        Some(Error::Unsupported {
            what: "wrap algorithm",
            found: 3
        })
    );

    // Padding, first byte and last.
    for at in [start + 28, 4096 - 65] {
        let padded = changed(|slot| slot[at] = 1).err();
        assert!(matches!(
            padded,
            Some(Error::Malformed {
                what: "padding must be zero",
                ..
            })
        ));
    }
}

#[test]
fn too_little_asks_for_a_slot() {
    let slot = slot();
    for len in 0..16 {
        let found = Header::parse(&slot[..len]).err();
        assert_eq!(found, Some(Error::Incomplete { needed: SLOT_LEN }), "{len}");
    }
    assert_eq!(Header::parse(&[0x52; 16]).err(), Some(Error::NotSealed));
    assert_eq!(MAX_SLOT_LEN, 65_536);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// As they come, and behind a right start, which is where the parser begins to work.
    #[test]
    fn random_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..4200)) {
        let _ = Header::parse(&bytes);
        let _ = Header::parse_key_record(&bytes);
        let start = slot();
        let right = bytes.len().min(16);
        bytes[..right].copy_from_slice(&start[..right]);
        prop_assert!(Header::parse(&bytes).is_err());
        prop_assert!(Header::parse_key_record(&bytes).is_err());
    }

    /// Random edits of a right slot reach further into the parser. Whatever it accepts, it would
    /// write in the same way.
    #[test]
    fn edits_never_panic_and_there_is_one_encoding(
        edits in proptest::collection::vec((0_usize..130, any::<u8>()), 0..4),
    ) {
        let mut slot = slot();
        for (at, byte) in edits {
            slot[at] = byte;
        }
        if let Ok(found) = Header::parse(&slot) {
            let (again, _) =
                seal_slot::<DefaultSuite>(found.identity(), found.key_block(), &dek()).unwrap();
            prop_assert_eq!(&again[..4096 - 64], &slot[..4096 - 64]);
        }
    }

    #[test]
    fn any_header_round_trips(
        tenant in "[A-Za-z0-9._-]{1,128}",
        recording in "[A-Za-z0-9._-]{1,128}",
        part in "[A-Za-z0-9._/-]{1,64}",
        content_type in "[ -~]{1,128}",
        object_id in any::<[u8; 16]>(),
        created_ms in any::<u64>(),
        generation in any::<u32>(),
        wrapped in proptest::collection::vec(1_usize..1800, 1..5),
    ) {
        let identity = Identity {
            object_id,
            tenant: TenantId::parse(&tenant).unwrap(),
            recording: RecordingId::parse(&recording).unwrap(),
            part: PartName::parse(&part).unwrap(),
            content_type: ContentType::parse(&content_type).unwrap(),
            created_ms,
        };
        let recipients = wrapped.into_iter().map(recipient).collect();
        let key_block = KeyBlock { generation, recipients };
        let (slot, block) =
            seal_slot::<DefaultSuite>(&identity, &key_block, &dek()).unwrap();
        let header = Header::parse(&slot).unwrap().verify(&dek()).unwrap();
        prop_assert_eq!(header.identity(), &identity);
        prop_assert_eq!(header.key_block(), &key_block);
        prop_assert_eq!(header.identity_block(), &*block);
    }
}
