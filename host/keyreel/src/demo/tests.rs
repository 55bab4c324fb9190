//! What a second start on the same folder keeps.

use keyreel_keys::{Policy, ProviderId, TenantId};
use keyreel_library::{Catalogue, Role, SqliteCatalogue, Tenant};

use super::{KMS_KEY, chosen_kms_key, demo_user, known_tokens};

#[test]
fn the_first_start_chooses_the_kms_key() {
    let folder = tempfile::tempdir().unwrap();
    let chosen = |asked| chosen_kms_key(folder.path(), asked);
    let (arn, other) = (
        "arn:aws:kms:eu-central-1:1:key/a",
        "arn:aws:kms:eu-central-1:1:key/b",
    );
    // Nothing was made yet.
    assert_eq!(chosen(Some(other)).unwrap().as_deref(), Some(other));
    assert_eq!(chosen(None).unwrap(), None);
    let keep = |kept: &str| std::fs::write(folder.path().join(KMS_KEY), kept).unwrap();
    keep(&format!("\"{arn}\""));
    for asked in [Some(arn), None] {
        assert_eq!(chosen(asked).unwrap().as_deref(), Some(arn), "{asked:?}");
    }
    assert!(chosen(Some(other)).is_err());
    keep("null");
    assert_eq!(chosen(None).unwrap(), None);
    assert!(chosen(Some(arn)).is_err());
}

#[test]
fn tokens_that_cannot_be_read_are_not_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.json");
    assert!(known_tokens(&path).unwrap().is_empty());
    std::fs::create_dir(&path).unwrap();
    assert!(known_tokens(&path).is_err());
}

#[tokio::test]
async fn the_demos_user_administers_tenants_that_come_later() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("catalogue.db").display());
    let catalogue = SqliteCatalogue::open(&url).await.unwrap();
    let mut expected = Vec::new();
    for id in ["first", "later"] {
        let tenant = Tenant {
            id: TenantId::parse(id).unwrap(),
            name: id.to_owned(),
            policy: Policy::Compatible,
            provider: ProviderId::parse("managed").unwrap(),
            created_ms: 0,
        };
        catalogue.add_tenant(&tenant).await.unwrap();
        expected.push((tenant.id, Role::Admin));
        assert_eq!(demo_user(&catalogue).await.unwrap().roles, expected);
    }
}
