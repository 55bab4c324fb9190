//! HPKE (RFC 9180, draft-ietf-hpke-pq) in base mode with MLKEM1024-P384, HKDF-SHA-512 and
//! AES-256-GCM. A wrapped DEK is `enc` (1,665 bytes) ‖ ciphertext and tag (48 bytes).

use ::hpke::aead::AesGcm256;
use ::hpke::kdf::HkdfSha512;
use ::hpke::kem::{Kem, MlKem1024P384};
use ::hpke::{Deserializable, OpModeR, OpModeS, Serializable, single_shot_open, single_shot_seal};
use zeroize::{Zeroize as _, Zeroizing};

use crate::layout::{LABEL_WRAP, TAG_LEN};
use crate::suite::{AwsLc, Suite as _};
use crate::{Dek, Error};

type Encapped = <MlKem1024P384 as Kem>::EncappedKey;

pub(super) struct PrivateKey(<MlKem1024P384 as Kem>::PrivateKey);

impl PrivateKey {
    pub(super) fn generate() -> Result<Self, Error> {
        // `Kem::gen_keypair` would panic where there is no randomness.
        let mut seed = Zeroizing::new([0; 32]);
        AwsLc::random(&mut *seed)?;
        Self::from_seed(&*seed)
    }

    pub(super) fn from_seed(seed: &[u8]) -> Result<Self, Error> {
        Deserializable::from_bytes(seed)
            .map(Self)
            .map_err(|_| Error::Key {
                what: "the KEM's seed is 32 bytes",
            })
    }

    pub(super) fn seed(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = self.0.to_bytes();
        let seed = Zeroizing::new(bytes.to_vec());
        bytes.zeroize();
        seed
    }

    pub(super) fn public_key(&self) -> Vec<u8> {
        MlKem1024P384::sk_to_pk(&self.0).to_bytes().to_vec()
    }

    pub(super) fn unwrap(&self, wrapped: &[u8], context: &[u8]) -> Result<Dek, Error> {
        let plaintext = self.open(wrapped, LABEL_WRAP, context)?;
        Dek::from_slice(&plaintext).ok_or(Error::Integrity)
    }

    pub(super) fn open(
        &self,
        wrapped: &[u8],
        info: &[u8],
        aad: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let (encapped, sealed) = wrapped
            .split_at_checked(Encapped::size())
            .ok_or(Error::Integrity)?;
        if sealed.len() < TAG_LEN {
            return Err(Error::Integrity);
        }
        let encapped = Encapped::from_bytes(encapped).map_err(|_| Error::Integrity)?;
        single_shot_open::<AesGcm256, HkdfSha512, MlKem1024P384>(
            &OpModeR::Base,
            &self.0,
            &encapped,
            info,
            sealed,
            aad,
        )
        .map(Zeroizing::new)
        .map_err(|_| Error::Integrity)
    }
}

pub(super) struct PublicKey(<MlKem1024P384 as Kem>::PublicKey);

impl PublicKey {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        Deserializable::from_bytes(bytes)
            .map(Self)
            .map_err(|_| Error::Key {
                what: "not an MLKEM1024-P384 public key",
            })
    }

    pub(super) fn wrap(&self, context: &[u8], dek: &Dek) -> Result<Vec<u8>, Error> {
        let (encapped, sealed) = single_shot_seal::<AesGcm256, HkdfSha512, MlKem1024P384>(
            &OpModeS::Base,
            &self.0,
            LABEL_WRAP,
            dek.expose(),
            context,
        )
        .map_err(|_| Error::Library { what: "HPKE" })?;
        let mut wrapped = encapped.to_bytes().to_vec();
        wrapped.extend_from_slice(&sealed);
        Ok(wrapped)
    }
}
