//! The audit log: durable, in order, all or none.

use std::sync::Arc;

use keyreel_format::TenantId;

use super::{new_tenant, recording_id};
use crate::Error;
use crate::audit_chain::AuditLink;
use crate::catalogue::{AuditEvent, AuditQuery, AuditScope, Catalogue};

/// Events come back whole, newest first, to those who ask for their tenant; a batch goes in whole
/// or not at all.
pub async fn audit_log(catalogue: Arc<dyn Catalogue>) {
    let tenant = new_tenant(&*catalogue, "audit").await;
    let mut full = event("audit-1", Some(&tenant), "key.unwrapped", 1000);
    full.recording = Some(recording_id("r1"));
    full.fields.insert("latencyMs".to_owned(), 12.into());
    full.fields.insert("kek".to_owned(), "kek/1 \"x\"".into());
    let second = event("audit-2", Some(&tenant), "play.started", 1000);
    let without_tenant = event("audit-3", None, "session.refused", 1000);
    let batch = [full.clone(), second.clone(), without_tenant];
    catalogue.append_audit(&batch).await.expect("append_audit");
    catalogue
        .append_audit(&[])
        .await
        .expect("append_audit, nothing");
    let query = AuditQuery {
        tenants: vec![tenant.clone()],
        limit: 10,
        ..Default::default()
    };
    let page = catalogue.audit(&query).await.expect("audit");
    let events: Vec<_> = page.items.iter().map(|record| &record.event).collect();
    assert_eq!(events, [&second, &full], "of one time, the later one first");
    let seqs: Vec<_> = page.items.iter().map(|record| record.seq).collect();
    assert!(
        seqs.is_sorted_by(|later, earlier| *later == earlier + 1),
        "numbered without gaps: {seqs:?}"
    );
    assert!(
        page.items.iter().all(|record| record.hash.is_some()),
        "linked"
    );
    assert_eq!(page.next, None);

    let third = event("audit-4", Some(&tenant), "play.ended", 2000);
    let result = catalogue.append_audit(&[third.clone(), full.clone()]).await;
    assert!(
        matches!(result, Err(Error::Exists { .. })),
        "an event is written once: {result:?}"
    );
    let page = catalogue.audit(&query).await.expect("audit");
    assert_eq!(page.items.len(), 2, "all or none");
    catalogue
        .append_audit(&[third])
        .await
        .expect("append_audit");
    let nobody = AuditQuery {
        limit: 10,
        ..Default::default()
    };
    let everything = AuditQuery {
        scope: AuditScope::Everything,
        limit: 200,
        ..Default::default()
    };
    let page = catalogue.audit(&everything).await.expect("audit");
    for id in ["audit-1", "audit-2", "audit-3", "audit-4"] {
        let found = page
            .items
            .iter()
            .filter(|record| record.event.id == id)
            .count();
        assert_eq!(found, 1, "everybody's and nobody's: {id}");
    }
    assert!(
        catalogue
            .audit(&nobody)
            .await
            .expect("audit")
            .items
            .is_empty(),
        "no tenants"
    );
}

/// Pages and filters of the log.
pub async fn audit_pages(catalogue: Arc<dyn Catalogue>) {
    let tenants = [
        new_tenant(&*catalogue, "audit-pages-a").await,
        new_tenant(&*catalogue, "audit-pages-b").await,
    ];
    let mut all = Vec::new();
    for index in 0..90usize {
        let tenant = tenants.get(index % 2);
        let action = if index % 3 == 0 {
            "play.started"
        } else {
            "play.ended"
        };
        let mut event = event(
            &format!("pages-{index}"),
            tenant,
            action,
            5000 + index as u64 / 20,
        );
        event.recording = Some(recording_id(if index % 5 == 0 { "r5" } else { "r1" }));
        event.subject = format!("user:{}", 1 + index % 2);
        if index % 7 == 0 {
            event.outcome = "denied".to_owned();
        }
        all.push(event);
    }
    catalogue.append_audit(&all).await.expect("append_audit");
    let base = AuditQuery {
        tenants: tenants.to_vec(),
        limit: 7,
        ..Default::default()
    };
    let queries = [
        base.clone(),
        AuditQuery {
            tenants: tenants.get(..1).expect("one").to_vec(),
            ..base.clone()
        },
        AuditQuery {
            action: Some("play.started".to_owned()),
            ..base.clone()
        },
        AuditQuery {
            recording: Some(recording_id("r5")),
            ..base.clone()
        },
        AuditQuery {
            recording: Some(recording_id("r5")),
            action: Some("play.ended".to_owned()),
            ..base.clone()
        },
        AuditQuery {
            from_ms: Some(5001),
            to_ms: Some(5003),
            ..base.clone()
        },
        // Everybody's: here, only these.
        AuditQuery {
            scope: AuditScope::Everything,
            tenants: Vec::new(),
            from_ms: Some(5000),
            to_ms: Some(5010),
            ..base.clone()
        },
        AuditQuery {
            scope: AuditScope::Everything,
            action: Some("play.started".to_owned()),
            recording: Some(recording_id("r5")),
            from_ms: Some(5000),
            to_ms: Some(5010),
            ..base.clone()
        },
        AuditQuery {
            subject: Some("user:2".to_owned()),
            ..base.clone()
        },
        AuditQuery {
            subject: Some("user:1".to_owned()),
            outcome: Some("denied".to_owned()),
            action: Some("play.ended".to_owned()),
            ..base.clone()
        },
        // A tenant named twice is one tenant.
        AuditQuery {
            tenants: [&tenants[..], &tenants[..]].concat(),
            ..base
        },
    ];
    for mut query in queries {
        let mut expected: Vec<_> = all
            .iter()
            .filter(|event| {
                let of_tenant = |tenant| query.tenants.contains(tenant);
                (query.scope == AuditScope::Everything
                    || event.tenant.as_ref().is_some_and(of_tenant))
                    && query
                        .action
                        .as_ref()
                        .is_none_or(|action| *action == event.action)
                    && query
                        .recording
                        .as_ref()
                        .is_none_or(|id| Some(id) == event.recording.as_ref())
                    && query
                        .subject
                        .as_ref()
                        .is_none_or(|subject| *subject == event.subject)
                    && query
                        .outcome
                        .as_ref()
                        .is_none_or(|outcome| *outcome == event.outcome)
                    && query.from_ms.is_none_or(|from| event.at_ms >= from)
                    && query.to_ms.is_none_or(|to| event.at_ms < to)
            })
            .map(|event| event.id.as_str())
            .collect();
        expected.reverse();
        let mut found = Vec::new();
        loop {
            let page = catalogue.audit(&query).await.expect("audit");
            found.extend(page.items.into_iter().map(|record| record.event.id));
            match page.next {
                Some(next) => query.cursor = Some(next),
                None => break,
            }
        }
        assert_eq!(found, expected, "{query:?}");
    }
    let bad = AuditQuery {
        tenants: tenants.to_vec(),
        cursor: Some("x".to_owned()),
        limit: 1,
        ..Default::default()
    };
    assert!(matches!(catalogue.audit(&bad).await, Err(Error::BadCursor)));
}

/// The whole log, oldest first, each row following from the one before.
pub async fn audit_chain(catalogue: Arc<dyn Catalogue>) {
    let tenant = new_tenant(&*catalogue, "audit-chain").await;
    let events: Vec<_> = (0..5)
        .map(|index| event(&format!("chain-{index}"), Some(&tenant), "play.started", 1))
        .collect();
    catalogue.append_audit(&events).await.expect("append_audit");
    let mut all = Vec::new();
    loop {
        let after = all.last().map_or(0, |link: &AuditLink| link.seq);
        let some = catalogue.audit_links(after, 3).await.expect("audit_links");
        assert!(some.len() <= 3, "at most so many");
        if some.is_empty() {
            break;
        }
        all.extend(some);
    }
    let mut before = [0; 32];
    for (link, seq) in all.iter().zip(1..) {
        assert_eq!(link.seq, seq, "without gaps");
        assert_eq!(link.hash, Some(link.hash_after(&before)), "event {seq}");
        before = link.hash.unwrap_or_default();
    }
    let last: Vec<_> = all.iter().rev().take(5).map(|link| &link.id).collect();
    assert_eq!(
        last,
        ["chain-4", "chain-3", "chain-2", "chain-1", "chain-0"]
    );
}

/// Many appends at once all arrive; one that is bad fails alone.
pub async fn concurrent_appends(catalogue: Arc<dyn Catalogue>) {
    let tenant = new_tenant(&*catalogue, "audit-concurrent").await;
    let first = event("same", Some(&tenant), "play.started", 1);
    catalogue
        .append_audit(std::slice::from_ref(&first))
        .await
        .expect("append_audit");
    let appends: Vec<_> = (0..200)
        .map(|index| {
            // Every tenth repeats an event that is there.
            let id = if index % 10 == 9 {
                "same".to_owned()
            } else {
                format!("many-{index}")
            };
            let event = event(&id, Some(&tenant), "play.ended", 1);
            let catalogue = catalogue.clone();
            tokio::spawn(async move { catalogue.append_audit(&[event]).await.is_ok() })
        })
        .collect();
    let mut written = 0;
    for append in appends {
        written += usize::from(append.await.expect("no panic"));
    }
    assert_eq!(written, 180, "the good ones go in, the bad ones fail");
    let query = AuditQuery {
        tenants: vec![tenant],
        limit: 200,
        ..Default::default()
    };
    let page = catalogue.audit(&query).await.expect("audit");
    assert_eq!(page.items.len(), 181);
}

fn event(id: &str, tenant: Option<&TenantId>, action: &str, at_ms: u64) -> AuditEvent {
    AuditEvent {
        id: id.to_owned(),
        at_ms,
        action: action.to_owned(),
        tenant: tenant.cloned(),
        subject: "user:1".to_owned(),
        recording: None,
        outcome: "ok".to_owned(),
        fields: serde_json::Map::new(),
    }
}
