//! Sealed metadata: what opens, what does not, and that its keys go with the tenant's root.

use std::sync::Arc;

use keyreel_format::{RecordingId, TenantId};

use super::{MetadataError, MetadataKey, MetadataKeys, MetadataVault};
use crate::keystore::{Keystore, generate_master_key};
use crate::settings::DekTtl;

const DETAILS: &[u8] = b"{\"subject\":\"Disputed invoice\"}";

struct Fixture {
    _folder: tempfile::TempDir,
    keystore: Arc<Keystore>,
    vault: MetadataVault,
    acme: TenantId,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let master = folder.path().join("master");
        generate_master_key(&master).unwrap();
        let keystore = Keystore::open_or_create(&folder.path().join("keystore"), &master).unwrap();
        let keystore = Arc::new(keystore);
        let acme = TenantId::parse("acme").unwrap();
        keystore.create_root(&acme).unwrap();
        Self {
            vault: MetadataVault::new(keystore.clone(), DekTtl::default()),
            _folder: folder,
            keystore,
            acme,
        }
    }

    async fn keys(&self) -> Arc<MetadataKey> {
        self.vault.keys(&self.acme).await.unwrap()
    }
}

fn recording(id: &str) -> RecordingId {
    RecordingId::parse(id).unwrap()
}

#[tokio::test]
async fn it_opens_for_its_recording_and_tenant_after_a_restart_too() {
    let fixture = Fixture::new();
    let sealed = fixture
        .keys()
        .await
        .seal(&recording("r1"), DETAILS)
        .unwrap();
    let again = fixture
        .keys()
        .await
        .seal(&recording("r1"), DETAILS)
        .unwrap();
    assert_ne!(sealed, again, "a nonce of its own");
    let restarted = MetadataVault::new(fixture.keystore.clone(), DekTtl::default());
    let keys = restarted.keys(&fixture.acme).await.unwrap();
    assert_eq!(*keys.open(&recording("r1"), &sealed).unwrap(), DETAILS);

    let damaged = |result: Result<_, MetadataError>| {
        assert!(
            matches!(&result, Err(MetadataError::Damaged { tenant, .. }) if *tenant == fixture.acme),
            "{:?}",
            result.map(|_: zeroize::Zeroizing<Vec<u8>>| "opened")
        );
    };
    damaged(keys.open(&recording("r2"), &sealed));
    for index in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[index] ^= 1;
        damaged(keys.open(&recording("r1"), &changed));
    }
    damaged(keys.open(&recording("r1"), &sealed[..sealed.len() - 1]));
    damaged(keys.open(&recording("r1"), b""));

    let other = TenantId::parse("other").unwrap();
    fixture.keystore.create_root(&other).unwrap();
    let others = fixture.vault.keys(&other).await.unwrap();
    assert!(others.open(&recording("r1"), &sealed).is_err());
}

#[tokio::test]
async fn terms_are_equal_for_equal_texts_of_one_kind_and_tenant_alone() {
    let fixture = Fixture::new();
    let other = TenantId::parse("other").unwrap();
    fixture.keystore.create_root(&other).unwrap();
    let terms = fixture.keys().await.terms();
    let others = fixture.vault.keys(&other).await.unwrap().terms();
    let term = terms.term(b'w', "chen");
    assert_eq!(term, fixture.keys().await.terms().term(b'w', "chen"));
    for different in [
        terms.term(b'a', "chen"),
        terms.term(b'w', "chem"),
        others.term(b'w', "chen"),
    ] {
        assert_ne!(term, different);
    }
}

/// RFC 2104 by another way, so that an index that was made once is found for ever.
#[test]
fn a_term_is_the_beginning_of_an_hmac() {
    let tenant = TenantId::parse("acme").unwrap();
    let key = |byte| Box::new(zeroize::Zeroizing::new([byte; 32]));
    let keys = MetadataKey::new(&tenant, key(1), key(2));
    let (inner, outer) = ([2 ^ 0x36, 0x36], [2 ^ 0x5c, 0x5c]);
    let padded = |pad: [u8; 2], text: &[u8]| {
        let block = [vec![pad[0]; 32], vec![pad[1]; 32], text.to_vec()].concat();
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &block)
    };
    let hash = padded(outer, padded(inner, b"wchen").as_ref());
    assert_eq!(keys.terms().term(b'w', "chen"), hash.as_ref()[..8]);
}

#[tokio::test]
async fn a_purge_forgets_the_keys_and_without_the_root_there_are_none() {
    let fixture = Fixture::new();
    fixture.keys().await;
    fixture.keystore.destroy_root(&fixture.acme).unwrap();
    // Cached still.
    fixture.keys().await;
    fixture.vault.purge(&fixture.acme);
    assert_eq!(fixture.vault.opened.len(), 0, "wiped");
    let Err(error) = fixture.vault.keys(&fixture.acme).await else {
        panic!("keys without a root");
    };
    assert!(error.is_lost_root());
    assert!(matches!(error, MetadataError::NoRoot { tenant } if tenant == fixture.acme));
}

#[tokio::test(start_paused = true)]
async fn keys_are_forgotten_when_their_time_is_over() {
    let fixture = Fixture::new();
    fixture.keys().await;
    tokio::time::advance(DekTtl::default().duration()).await;
    fixture.vault.sweep();
    assert_eq!(fixture.vault.opened.len(), 0, "wiped");
}
