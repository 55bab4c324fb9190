//! The primitives by RustCrypto: they run inside wasm guests, and they are the second opinion.

use aes_gcm::aead::KeyInit as _;
use aes_gcm::{AeadInOut, Aes256Gcm};
use hmac::{Hmac, Mac};
use sha2::Sha512;
use subtle::ConstantTimeEq as _;

use super::{Suite, sealed::Sealed};
use crate::Error;
use crate::layout::{COMMITMENT_LEN, MAC_LEN, TAG_LEN};

/// The guests' suite.
#[derive(Debug, Clone, Copy)]
pub enum RustCrypto {}

impl Sealed for RustCrypto {}

impl Suite for RustCrypto {
    type Aead = Aes256Gcm;

    fn random(out: &mut [u8]) -> Result<(), Error> {
        getrandom::fill(out).map_err(|_| Error::Library { what: "randomness" })
    }

    fn expand(key: &[u8], info: &[&[u8]], out: &mut [u8]) -> Result<(), Error> {
        if key.len() > MAC_LEN || out.len() > usize::from(u8::MAX) * MAC_LEN {
            return Err(Error::Library { what: "HKDF" });
        }
        // `Hkdf::from_prk` wants a PRK of the hash's length; RFC 5869 and C2SP allow this shorter
        // one, so the expansion is written out over HMAC.
        let mut block = zeroize::Zeroizing::new([0; MAC_LEN]);
        for (counter, piece) in (1..=u8::MAX).zip(out.chunks_mut(MAC_LEN)) {
            let mut mac = hmac(key);
            if counter > 1 {
                mac.update(&*block);
            }
            for part in info {
                mac.update(part);
            }
            mac.update(&[counter]);
            block.copy_from_slice(&mac.finalize().into_bytes());
            for (to, from) in piece.iter_mut().zip(block.iter()) {
                *to = *from;
            }
        }
        Ok(())
    }

    fn mac(key: &[u8], message: &[&[u8]]) -> [u8; MAC_LEN] {
        let mut mac = hmac(key);
        for piece in message {
            mac.update(piece);
        }
        mac.finalize().into_bytes().into()
    }

    fn same_mac(a: &[u8; MAC_LEN], b: &[u8; MAC_LEN]) -> bool {
        a.ct_eq(b).into()
    }

    fn same_commitment(a: &[u8; COMMITMENT_LEN], b: &[u8; COMMITMENT_LEN]) -> bool {
        a.ct_eq(b).into()
    }

    fn aead(key: &[u8; 32]) -> Result<Aes256Gcm, Error> {
        Ok(Aes256Gcm::new(key.into()))
    }

    fn seal(aead: &Aes256Gcm, nonce: [u8; 12], chunk: &mut [u8]) -> Result<[u8; TAG_LEN], Error> {
        aead.encrypt_inout_detached(&nonce.into(), &[], chunk.into())
            .map(Into::into)
            .map_err(|_| Error::Library { what: "AES-GCM" })
    }

    fn open(
        aead: &Aes256Gcm,
        nonce: [u8; 12],
        chunk: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), Error> {
        aead.decrypt_inout_detached(&nonce.into(), &[], chunk.into(), tag.into())
            .map_err(|_| Error::Integrity)
    }
}

fn hmac(key: &[u8]) -> Hmac<Sha512> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}
