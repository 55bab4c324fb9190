//! The primitives by aws-lc-rs: constant time, AES-NI and VAES, FIPS-validated builds exist.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{constant_time, hkdf, hmac, rand};

use super::{Suite, sealed::Sealed};
use crate::Error;
use crate::layout::{COMMITMENT_LEN, MAC_LEN, TAG_LEN};

/// The host's suite.
#[derive(Debug, Clone, Copy)]
pub enum AwsLc {}

impl Sealed for AwsLc {}

impl Suite for AwsLc {
    type Aead = LessSafeKey;

    fn random(out: &mut [u8]) -> Result<(), Error> {
        rand::fill(out).map_err(|_| Error::Library { what: "randomness" })
    }

    fn expand(key: &[u8], info: &[&[u8]], out: &mut [u8]) -> Result<(), Error> {
        // Longer ones would panic in `new_less_safe`. A PRK is one hash long at most.
        if key.len() > MAC_LEN {
            return Err(Error::Library { what: "HKDF" });
        }
        hkdf::Prk::new_less_safe(hkdf::HKDF_SHA512, key)
            .expand(info, OutputLen(out.len()))
            .and_then(|okm| okm.fill(out))
            .map_err(|_| Error::Library { what: "HKDF" })
    }

    fn mac(key: &[u8], message: &[&[u8]]) -> [u8; MAC_LEN] {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA512, key));
        for piece in message {
            context.update(piece);
        }
        let mut mac = [0; MAC_LEN];
        // HMAC-SHA-512 has 64 bytes, so this copies them all.
        for (to, from) in mac.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        mac
    }

    fn same_mac(a: &[u8; MAC_LEN], b: &[u8; MAC_LEN]) -> bool {
        constant_time::verify_slices_are_equal(a, b).is_ok()
    }

    fn same_commitment(a: &[u8; COMMITMENT_LEN], b: &[u8; COMMITMENT_LEN]) -> bool {
        constant_time::verify_slices_are_equal(a, b).is_ok()
    }

    fn aead(key: &[u8; 32]) -> Result<LessSafeKey, Error> {
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| Error::Library { what: "AES" })?;
        // The nonces are the format's own: base nonce XOR chunk number.
        Ok(LessSafeKey::new(key))
    }

    fn seal(aead: &LessSafeKey, nonce: [u8; 12], chunk: &mut [u8]) -> Result<[u8; TAG_LEN], Error> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        aead.seal_in_place_separate_tag(nonce, Aad::empty(), chunk)
            .ok()
            .and_then(|tag| tag.as_ref().try_into().ok())
            .ok_or(Error::Library { what: "AES-GCM" })
    }

    fn open(
        aead: &LessSafeKey,
        nonce: [u8; 12],
        chunk: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), Error> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        aead.open_in_place_separate_tag(nonce, Aad::empty(), tag, chunk)
            .map(|_| ())
            .map_err(|_| Error::Integrity)
    }
}

struct OutputLen(usize);

impl hkdf::KeyType for OutputLen {
    fn len(&self) -> usize {
        self.0
    }
}
