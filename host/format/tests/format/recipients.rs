//! Two recipients: the KEK and an offline recovery key. Each opens the object alone, in whatever
//! slot the two need.

use bytes::BytesMut;
use keyreel_format::wrap::{self, PrivateKey, RsaModulus};
use keyreel_format::{
    ContentType, Dek, Header, Identity, KekId, KeyBlock, ProviderId, Recipient, Sealer,
    WrapAlgorithm,
};

use crate::support::{identity, open};

const RSA: WrapAlgorithm = WrapAlgorithm::RsaOaepSha256;
const HPKE: WrapAlgorithm = WrapAlgorithm::HpkeMlkem1024P384;

fn to(provider: &str, kek: &str, key: &PrivateKey, of: &Identity, dek: &Dek) -> Recipient {
    let context = wrap::context(&of.tenant, &of.recording);
    let public_key = key.public_key().unwrap();
    Recipient {
        algorithm: key.algorithm(),
        provider: ProviderId::parse(provider).unwrap(),
        kek: KekId::parse(kek).unwrap(),
        wrapped_dek: wrap::wrap(key.algorithm(), &public_key, &context, dek).unwrap(),
        info: Vec::new(),
    }
}

fn unwrap(recipient: &Recipient, key: &PrivateKey, of: &Identity) -> Dek {
    let context = wrap::context(&of.tenant, &of.recording);
    let opened = key.unwrap(recipient.algorithm, &recipient.wrapped_dek, &context);
    opened.unwrap_or_else(|error| panic!("{error}"))
}

/// Every name as long as it may be: what the longest wraps need does not fit 4096 bytes then.
fn long_identity() -> Identity {
    Identity {
        content_type: ContentType::parse(&"c".repeat(ContentType::MAX_LEN)).unwrap(),
        ..identity(&"t".repeat(128), &"r".repeat(128), "transcript")
    }
}

fn sealed(of: &Identity, recipients: Vec<Recipient>, dek: &Dek, plaintext: &[u8]) -> Vec<u8> {
    let key_block = KeyBlock {
        generation: 0,
        recipients,
    };
    let (slot, prefix, mut sealer) = Sealer::new(of, &key_block, dek).unwrap();
    let mut object = BytesMut::from(slot.as_slice());
    object.extend_from_slice(&prefix);
    sealer.push(plaintext, &mut object).unwrap();
    sealer.finish(&mut object).unwrap();
    object.into()
}

#[test]
fn either_of_two_keys_opens_an_object_in_a_slot_of_either_length() {
    let rsa = PrivateKey::generate(RSA).unwrap();
    let rsa_4096 = PrivateKey::generate_rsa(RsaModulus::Bits4096).unwrap();
    let (hpke, hpke_offline) = (
        PrivateKey::generate(HPKE).unwrap(),
        PrivateKey::generate(HPKE).unwrap(),
    );
    assert_eq!(rsa_4096.public_key().unwrap().len(), 550);
    let short = identity("acme", "0198c2d4-77aa-7c11-9a51-0e5ac7d3b1f2", "media");
    let long = long_identity();
    // 32 hexadecimal digits, as recovery keys are named.
    let fingerprint = "a1".repeat(16);
    for (of, kek, offline, slot_len) in [
        (&short, &rsa, &rsa_4096, 4096),
        (&short, &rsa, &hpke_offline, 4096),
        (&short, &hpke, &hpke_offline, 4096),
        (&long, &rsa, &hpke_offline, 4096),
        // Two wraps of 1,713 bytes and names as long as they may be: a slot more.
        (&long, &hpke, &hpke_offline, 8192),
    ] {
        let dek = Dek::generate();
        let recipients = vec![
            to("managed", &"k".repeat(128), kek, of, &dek),
            to("recovery", &fingerprint, offline, of, &dek),
        ];
        let object = sealed(of, recipients, &dek, b"said in confidence");
        let header = Header::parse(&object).unwrap();
        assert_eq!(header.slot_len(), slot_len);
        let recipients = &header.key_block().recipients;
        for (recipient, key) in recipients.iter().zip([kek, offline]) {
            let dek = unwrap(recipient, key, of);
            let opened = open::<keyreel_format::AwsLc>(&object, &dek).unwrap();
            assert_eq!(opened, b"said in confidence");
        }
    }
}

#[test]
fn a_recovery_key_that_does_not_fit_the_slot_any_more_goes_into_a_key_record() {
    let of = long_identity();
    let (kek, offline) = (
        PrivateKey::generate(HPKE).unwrap(),
        PrivateKey::generate(HPKE).unwrap(),
    );
    let dek = Dek::generate();
    let before = vec![to("managed", &"k".repeat(128), &kek, &of, &dek)];
    let object = sealed(&of, before.clone(), &dek, b"said in confidence");
    let header = Header::parse(&object).unwrap().verify(&dek).unwrap();
    assert_eq!(header.slot_len(), 4096);
    let mut recipients = before;
    recipients.push(to("recovery", &"a1".repeat(16), &offline, &of, &dek));
    let key_block = KeyBlock {
        generation: 1,
        recipients,
    };
    header.rewrap(&dek, &key_block).unwrap_err();
    let record = header.key_record(&dek, &key_block).unwrap();
    let record = Header::parse_key_record(&record).unwrap();
    let recovered = unwrap(&record.key_block().recipients[1], &offline, &of);
    record.verify(&recovered).unwrap();
    assert_eq!(recovered.expose(), dek.expose());
}
