//! Which keys are taken, what they are called, and that their private halves open what was sealed.

use keyreel_format::wrap::RsaModulus;
use keyreel_format::{ContentType, Header, Identity, KeyBlock, PartName, Sealer, UnverifiedHeader};

use super::*;

const MLKEM: RecoveryPairKind = RecoveryPairKind::Mlkem1024P384;
const RSA: RecoveryPairKind = RecoveryPairKind::Rsa(RsaModulus::Bits3072);

fn sealed(recipients: Vec<Recipient>, dek: &Dek, generation: u32) -> UnverifiedHeader {
    let identity = Identity {
        object_id: [7; 16],
        tenant: TenantId::parse("acme").unwrap(),
        recording: RecordingId::parse("r1").unwrap(),
        part: PartName::parse("media").unwrap(),
        content_type: ContentType::parse("audio/wav").unwrap(),
        created_ms: 1,
    };
    let key_block = KeyBlock {
        generation,
        recipients,
    };
    let (slot, _, _) = Sealer::new(&identity, &key_block, dek).unwrap();
    Header::parse(&slot).unwrap()
}

fn recipient(key: &RecoveryKey, dek: &Dek) -> Recipient {
    let (tenant, recording) = ("acme".parse().unwrap(), "r1".parse().unwrap());
    key.recipient(&tenant, &recording, dek).unwrap()
}

fn refused(pair: &RecoveryPair, header: &UnverifiedHeader) -> InvalidRecoveryPair {
    match pair.unwrap(header) {
        Ok(_) => panic!("it opened"),
        Err(error) => error,
    }
}

#[test]
fn what_is_wrapped_to_the_public_half_the_private_half_opens() {
    for kind in [RSA, MLKEM] {
        let pair = RecoveryPair::generate(kind).unwrap();
        let key = RecoveryKey::parse(&pair.public_pem(), Policy::Compatible, 5).unwrap();
        assert_eq!((&key.id, key.algorithm), (pair.id(), pair.algorithm()));
        assert_eq!(key.id.as_str().len(), 32);
        let dek = Dek::generate();
        let header = sealed(vec![recipient(&key, &dek)], &dek, 0);
        let read = RecoveryPair::from_pem(&pair.private_pem().unwrap()).unwrap();
        assert_eq!(read.id(), pair.id());
        let opened = read
            .unwrap(&header)
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(opened.expose(), dek.expose());

        let other = RecoveryPair::generate(kind).unwrap();
        assert!(matches!(
            refused(&other, &header),
            InvalidRecoveryPair::NotARecipient { .. }
        ));
        // Named as the pair's, and another's; or of another provider's name.
        let other_key = RecoveryKey::parse(&other.public_pem(), Policy::Compatible, 5).unwrap();
        let mut planted = recipient(&other_key, &dek);
        planted.kek = key.id.clone();
        let header = sealed(vec![planted], &dek, 0);
        assert_eq!(refused(&pair, &header), InvalidRecoveryPair::Integrity);
        let mut managed = recipient(&key, &dek);
        managed.provider = "managed".parse().unwrap();
        let header = sealed(vec![managed], &dek, 0);
        let error = refused(&pair, &header).to_string();
        assert!(error.contains("of managed"), "{error}");
        // A wrapped DEK that is not the header's.
        let header = sealed(vec![recipient(&key, &Dek::generate())], &dek, 0);
        assert_eq!(refused(&pair, &header), InvalidRecoveryPair::Integrity);
    }
}

#[test]
fn a_policy_of_256_bits_takes_no_rsa_key() {
    let rsa = RecoveryPair::generate(RSA).unwrap().public_pem();
    let mlkem = RecoveryPair::generate(MLKEM).unwrap().public_pem();
    let parse = |text: &str, policy| RecoveryKey::parse(text, policy, 0).map(drop);
    assert_eq!(parse(&rsa, Policy::Compatible), Ok(()));
    assert_eq!(parse(&mlkem, Policy::Compatible), Ok(()));
    assert_eq!(parse(&mlkem, Policy::Aes256), Ok(()));
    let refused = parse(&rsa, Policy::Aes256).unwrap_err();
    assert_eq!(refused, InvalidRecoveryKey::TooWeak);
    let text = refused.to_string();
    assert!(
        text.contains("aes256") && text.contains("mlkem1024-p384"),
        "{text}"
    );
}

#[test]
fn what_is_no_public_key_is_refused_and_never_quoted() {
    let parse = |text: &str| RecoveryKey::parse(text, Policy::Compatible, 0).unwrap_err();
    for kind in [RSA, MLKEM] {
        let pair = RecoveryPair::generate(kind).unwrap();
        let private = pair.private_pem().unwrap();
        let error = parse(&private);
        assert_eq!(error, InvalidRecoveryKey::PrivateKey);
        let inside = private.lines().nth(1).unwrap();
        assert!(!format!("{error} {error:?}").contains(inside));
        let public = pair.public_pem();
        assert!(RecoveryPair::from_pem(&public).is_err());
        // Cut short, and one digit of it another.
        let mut lines: Vec<&str> = public.lines().collect();
        lines.remove(2);
        parse(&lines.join("\n"));
        for text in [
            private.replace("PRIVATE", "ENCRYPTED PRIVATE"),
            String::new(),
        ] {
            assert!(RecoveryPair::from_pem(&text).is_err());
        }
    }
    for text in [
        "",
        "hello",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    ] {
        assert!(matches!(parse(text), InvalidRecoveryKey::Rsa(_)));
    }
}
