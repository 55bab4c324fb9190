//! What every catalogue does. A backend, ours or a third party's, passes these functions:
//!
//! ```no_run
//! # async fn open() -> keyreel_library::SqliteCatalogue { unimplemented!() }
//! # async fn example() {
//! use std::sync::Arc;
//! keyreel_library::conformance::all(Arc::new(open().await)).await;
//! # }
//! ```
//!
//! Each makes tenants of its own, so they share a catalogue that was empty; none may run twice on
//! the same one. A failure is a panic that names what was expected.
//! Not for: speed (see the bench `catalogue`).

mod accounts;
mod audit;
mod keys;
mod recordings;
mod recovery;
mod rewrap;
mod rotation;

use std::sync::Arc;

use keyreel_format::{
    BODY_PREFIX_LEN, ContentType, KekId, PartName, ProviderId, RecordingId, TenantId,
};
use keyreel_keys::Policy;

pub use accounts::{accounts, accounts_end, credentials, roles_are_added};
pub use audit::{audit_chain, audit_log, audit_pages, concurrent_appends};
pub use keys::{keks, key_configurations, registrations, retired_keks, sealed_keys, tenants};
pub use recordings::{filters, one_recording, pages, text_search};
pub use recovery::recovery_keys;
pub use rewrap::{generations, recordings_of_keks, rewrap_jobs};
pub use rotation::{concurrent_claims, kek_successions, rotation_schedules};

use crate::catalogue::{Catalogue, Channel, Details, Media, Part, Recording, Span, Tenant};

/// All of them.
pub async fn all(catalogue: Arc<dyn Catalogue>) {
    tenants(catalogue.clone()).await;
    keks(catalogue.clone()).await;
    sealed_keys(catalogue.clone()).await;
    key_configurations(catalogue.clone()).await;
    registrations(catalogue.clone()).await;
    kek_successions(catalogue.clone()).await;
    rotation_schedules(catalogue.clone()).await;
    concurrent_claims(catalogue.clone()).await;
    retired_keks(catalogue.clone()).await;
    recovery_keys(catalogue.clone()).await;
    generations(catalogue.clone()).await;
    recordings_of_keks(catalogue.clone()).await;
    rewrap_jobs(catalogue.clone()).await;
    one_recording(catalogue.clone()).await;
    pages(catalogue.clone()).await;
    filters(catalogue.clone()).await;
    text_search(catalogue.clone()).await;
    accounts(catalogue.clone()).await;
    roles_are_added(catalogue.clone()).await;
    credentials(catalogue.clone()).await;
    accounts_end(catalogue.clone()).await;
    audit_log(catalogue.clone()).await;
    audit_pages(catalogue.clone()).await;
    concurrent_appends(catalogue.clone()).await;
    audit_chain(catalogue).await;
}

/// A tenant of this name, added.
async fn new_tenant(catalogue: &dyn Catalogue, name: &str) -> TenantId {
    let tenant = tenant(name);
    catalogue.add_tenant(&tenant).await.expect("add_tenant");
    tenant.id
}

fn tenant(name: &str) -> Tenant {
    Tenant {
        id: TenantId::parse(name).expect("a valid name"),
        name: format!("The {name} company"),
        policy: POLICY,
        provider: provider("managed"),
        created_ms: 1_700_000_000_000,
    }
}

/// That of every tenant, unless said.
const POLICY: Policy = Policy::Compatible;

fn provider(name: &str) -> ProviderId {
    ProviderId::parse(name).expect("a valid name")
}

fn recording_id(name: &str) -> RecordingId {
    RecordingId::parse(name).expect("a valid name")
}

/// A recording with something in every field.
fn recording(tenant: &TenantId, id: &str, start_ms: u64) -> Recording {
    let part = |name: &str, content_type: &str| Part {
        name: PartName::parse(name).expect("a valid name"),
        content_type: ContentType::parse(content_type).expect("a valid type"),
        object: format!("{tenant}/{id}/{name}.krc"),
        etag: "\"1-2\"".to_owned(),
        // One from before it was kept.
        body_prefix: (name != "media/1").then_some([0xA5; BODY_PREFIX_LEN]),
        sealed_len: 1 << 40,
        plaintext_len: (1 << 40) - 5000,
    };
    Recording {
        id: recording_id(id),
        tenant: tenant.clone(),
        conversation_id: format!("conversation-of-{id}"),
        media: Media::Call,
        start_ms,
        duration_ms: 61_234,
        provider: provider("managed"),
        kek: KekId::parse("kek/1").expect("a valid name"),
        wrap_algorithm: "rsa-oaep-sha256".to_owned(),
        recovery: None,
        generation: 3,
        parts: vec![
            part("media", "audio/ogg; codecs=opus"),
            part("waveform", "application/json"),
            part("media/1", "audio/wav"),
        ],
        details: Details {
            direction: Some("inbound".to_owned()),
            queue: Some("Billing".to_owned()),
            subject: Some("Disputed invoice \"№ 7\"".to_owned()),
            channels: vec![
                channel(0, "agent", Some("Maya Chen"), None),
                channel(1, "customer", Some("Zoë Ångström"), Some("+14155550134")),
            ],
            spans: vec![Span {
                reason: "Hold".to_owned(),
                start_ms: 61,
                end_ms: 80,
                description: None,
            }],
            labels: vec!["refund".to_owned(), "50%_off".to_owned()],
        },
    }
}

fn channel(channel: u16, role: &str, name: Option<&str>, address: Option<&str>) -> Channel {
    Channel {
        channel,
        role: role.to_owned(),
        name: name.map(str::to_owned),
        address: address.map(str::to_owned),
    }
}
