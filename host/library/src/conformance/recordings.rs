//! Recordings: kept whole, found by their tenants only, paged without a gap or a repeat.

use std::collections::HashSet;
use std::sync::Arc;

use keyreel_format::TenantId;

use super::{channel, new_tenant, provider, recording, recording_id};
use crate::Error;
use crate::catalogue::{Catalogue, Media, Recording, RecordingQuery};

/// A recording comes back as it went in, to its tenant and to nobody else.
pub async fn one_recording(catalogue: Arc<dyn Catalogue>) {
    let tenant = new_tenant(&*catalogue, "one").await;
    let other = new_tenant(&*catalogue, "one-other").await;
    let full = recording(&tenant, "r1", 1_800_000_000_123);
    catalogue.add_recording(&full).await.expect("add_recording");
    let again = catalogue.add_recording(&full).await;
    assert!(
        matches!(again, Err(Error::Exists { .. })),
        "unique within its tenant: {again:?}"
    );
    // The same id is free in another tenant.
    let others = recording(&other, "r1", 5);
    catalogue
        .add_recording(&others)
        .await
        .expect("add_recording");
    let mut bare = recording(&tenant, "r2", 0);
    bare.parts.truncate(1);
    bare.details = Default::default();
    catalogue.add_recording(&bare).await.expect("add_recording");
    let mut nobodys = recording(&tenant, "r3", 0);
    nobodys.tenant = TenantId::parse("one-unknown").expect("a valid name");
    let result = catalogue.add_recording(&nobodys).await;
    assert!(
        matches!(result, Err(Error::NotFound { .. })),
        "no such tenant: {result:?}"
    );

    let both = [other.clone(), tenant.clone()];
    let found = |tenants: Vec<TenantId>, id: &'static str| {
        let catalogue = catalogue.clone();
        async move {
            catalogue
                .recording(&tenants, &recording_id(id))
                .await
                .expect("recording")
        }
    };
    assert_eq!(found(vec![tenant.clone()], "r1").await, Some(full));
    assert_eq!(found(vec![other.clone()], "r1").await, Some(others));
    assert_eq!(found(both.to_vec(), "r2").await, Some(bare));
    assert_eq!(
        found(vec![other], "r2").await,
        None,
        "another tenant's does not exist"
    );
    assert_eq!(found(Vec::new(), "r1").await, None, "of no tenant");
    assert_eq!(
        found(both.to_vec(), "r3").await,
        None,
        "what failed left nothing"
    );
}

/// Pages of any size, over several tenants, with many of one millisecond: newest first, each once.
pub async fn pages(catalogue: Arc<dyn Catalogue>) {
    let mut tenants = Vec::new();
    for name in ["pages-a", "pages-b", "pages-c"] {
        tenants.push(new_tenant(&*catalogue, name).await);
    }
    let hidden = new_tenant(&*catalogue, "pages-hidden").await;
    let mut expected = HashSet::new();
    for index in 0..60u64 {
        // Runs of equal times, longer than a page, in no order.
        let start_ms = 1_000_000 + (index * 7 % 60) / 12;
        for tenant in tenants
            .iter()
            .chain([&hidden])
            .skip(usize::from(index % 3 == 0))
        {
            let id = format!("r{index}");
            catalogue
                .add_recording(&recording(tenant, &id, start_ms))
                .await
                .expect("add");
            if *tenant != hidden {
                expected.insert((tenant.clone(), id));
            }
        }
    }
    for limit in [1, 7, 12, 200] {
        let query = RecordingQuery {
            tenants: tenants.clone(),
            limit,
            ..Default::default()
        };
        let all = walk(&*catalogue, query).await;
        assert!(
            all.is_sorted_by(|a, b| a.start_ms >= b.start_ms),
            "newest first"
        );
        let found: HashSet<_> = all
            .iter()
            .map(|r| (r.tenant.clone(), r.id.as_str().to_owned()))
            .collect();
        assert_eq!(found.len(), all.len(), "none twice, limit {limit}");
        assert_eq!(found, expected, "none missing, limit {limit}");
    }

    // What comes in while somebody pages does not disturb the pages after.
    let query = RecordingQuery {
        tenants: tenants.clone(),
        limit: 10,
        ..Default::default()
    };
    let first = catalogue.recordings(&query).await.expect("recordings");
    let newer = recording(&hidden, "newer", 9_999_999);
    for tenant in &tenants {
        let newer = Recording {
            tenant: tenant.clone(),
            ..newer.clone()
        };
        catalogue.add_recording(&newer).await.expect("add");
    }
    let rest = walk(
        &*catalogue,
        RecordingQuery {
            cursor: first.next,
            ..query
        },
    )
    .await;
    assert_eq!(first.items.len() + rest.len(), expected.len());
    assert!(rest.iter().all(|r| r.id.as_str() != "newer"));

    let none = RecordingQuery {
        tenants: Vec::new(),
        limit: 10,
        ..Default::default()
    };
    let page = catalogue.recordings(&none).await.expect("recordings");
    assert!(
        page.items.is_empty() && page.next.is_none(),
        "no tenants, no recordings"
    );
    for cursor in ["", "nonsense", "AAAA", "****"] {
        let query = RecordingQuery {
            tenants: tenants.clone(),
            cursor: Some(cursor.to_owned()),
            limit: 10,
            ..Default::default()
        };
        let result = catalogue.recordings(&query).await;
        assert!(
            matches!(result, Err(Error::BadCursor)),
            "{cursor:?}: {result:?}"
        );
    }
}

/// Every filter, alone and with others, gives what a look at every recording gives.
pub async fn filters(catalogue: Arc<dyn Catalogue>) {
    let tenants = vec![
        new_tenant(&*catalogue, "filters-a").await,
        new_tenant(&*catalogue, "filters-b").await,
    ];
    let media = [
        Media::Call,
        Media::Chat,
        Media::Email,
        Media::Message,
        Media::Screen,
    ];
    let mut all = Vec::new();
    for index in 0..120usize {
        let tenant = tenants.get(index % 2).expect("two");
        let mut recording = recording(tenant, &format!("r{index}"), 10_000 + index as u64 / 4 * 10);
        recording.media = *media.get(index % 5).expect("five");
        recording.provider = provider(if index % 3 == 0 { "lkm" } else { "managed" });
        recording.conversation_id = format!("c{}", index / 10);
        catalogue.add_recording(&recording).await.expect("add");
        all.push(recording);
    }
    let everything = RecordingQuery {
        tenants: tenants.clone(),
        limit: 9,
        ..Default::default()
    };
    let mut queries = Vec::new();
    for tenants in [tenants.clone(), tenants.get(..1).expect("one").to_vec()] {
        for media in [None, Some(Media::Chat), Some(Media::Call)] {
            for provider in [None, Some(provider("lkm")), Some(provider("nobody"))] {
                for conversation_id in [None, Some("c3".to_owned()), Some("c99".to_owned())] {
                    for (from_ms, to_ms) in [
                        (None, None),
                        (Some(10_100), Some(10_200)),
                        (Some(10_200), Some(10_100)),
                    ] {
                        queries.push(RecordingQuery {
                            tenants: tenants.clone(),
                            media,
                            provider: provider.clone(),
                            conversation_id: conversation_id.clone(),
                            from_ms,
                            to_ms,
                            ..everything.clone()
                        });
                    }
                }
            }
        }
    }
    let mut with_text = queries.clone();
    with_text
        .iter_mut()
        .for_each(|query| query.text = Some("billing".to_owned()));
    for query in queries.into_iter().chain(with_text) {
        let matches = |r: &&Recording| {
            query.tenants.contains(&r.tenant)
                && query.media.is_none_or(|media| media == r.media)
                && query
                    .provider
                    .as_ref()
                    .is_none_or(|provider| *provider == r.provider)
                && query
                    .conversation_id
                    .as_ref()
                    .is_none_or(|id| *id == r.conversation_id)
                && query.from_ms.is_none_or(|from| r.start_ms >= from)
                && query.to_ms.is_none_or(|to| r.start_ms < to)
        };
        let expected: HashSet<&str> = all.iter().filter(matches).map(|r| r.id.as_str()).collect();
        let found = walk(&*catalogue, query.clone()).await;
        assert!(
            found.is_sorted_by(|a, b| a.start_ms >= b.start_ms),
            "newest first: {query:?}"
        );
        let ids: HashSet<&str> = found.iter().map(|r| r.id.as_str()).collect();
        assert_eq!(ids, expected, "{query:?}");
        assert_eq!(ids.len(), found.len(), "none twice: {query:?}");
    }
}

/// Words find names and subjects that have them whole, and queues and labels that contain them, in
/// any case; a word of one or two characters finds those of the latter with a word that begins so.
/// Addresses are found whole, telephone numbers in any spelling. Nothing in a text is taken for
/// syntax, and nothing of another tenant is found.
pub async fn text_search(catalogue: Arc<dyn Catalogue>) {
    let tenant = new_tenant(&*catalogue, "text").await;
    let other = new_tenant(&*catalogue, "text-other").await;
    catalogue
        .add_recording(&recording(&other, "other", 1))
        .await
        .expect("add");
    catalogue
        .add_recording(&recording(&tenant, "full", 1))
        .await
        .expect("add");
    let mut second = recording(&tenant, "second", 2);
    second.details.queue = Some("Claims 東京都".to_owned());
    second.details.subject = Some("Rückfrage zum Beitrag 東京都庁舎".to_owned());
    second.details.channels = vec![
        channel(
            0,
            "agent",
            Some("Jo O'Neill-Bähr"),
            Some("Jo.B@Example.org"),
        ),
        channel(1, "customer", None, Some("tel:+41-44-668-18-00")),
    ];
    second.details.labels = Vec::new();
    catalogue.add_recording(&second).await.expect("add");

    let table: [(&str, &[&str]); 47] = [
        ("billing", &["full"]),
        ("BILL", &["full"]),
        ("llin", &["full"]),
        ("invoice disputed", &["full"]),
        ("  maya   refund ", &["full"]),
        ("maya claims", &[]),
        ("Maya Chen", &["full"]),
        ("chen", &["full"]),
        ("zoë", &["full"]),
        ("ZOË", &["full"]),
        ("ångström", &["full"]),
        // No part of a name or a subject.
        ("che", &[]),
        ("hen", &[]),
        ("invoic", &[]),
        ("50%_off", &["full"]),
        ("50_", &[]),
        ("№", &[]),
        ("\"№", &[]),
        ("o'neill-bähr", &["second"]),
        ("neill bähr", &["second"]),
        ("o'neill-b", &[]),
        // Not in this order.
        ("neill-o", &[]),
        ("RÜCKFRAGE", &["second"]),
        ("東京都", &["second"]),
        ("京都庁舎", &[]),
        ("東京都庁舎", &["second"]),
        ("京 都", &[]),
        ("jo", &["second"]),
        ("m", &[]),
        ("b", &["full"]),
        ("東", &["second"]),
        ("+14155550134", &["full"]),
        ("+1 (415) 555-0134", &["full"]),
        ("refund 001 415 555 01 34 maya", &["full"]),
        ("claims +1 415 555 0134", &[]),
        ("+41 44 668 18 00", &["second"]),
        ("+41446681800", &["second"]),
        ("+41 44 668 18 00 +14155550134", &[]),
        // No part of a number, and no number of another country.
        ("44 668 18 00", &[]),
        ("+1415555013", &[]),
        ("+4915555013", &[]),
        ("JO.B@example.ORG", &["second"]),
        ("example.org", &[]),
        // From the end of one field into the next.
        ("ngrefund", &[]),
        ("* OR NEAR(\"billing\" NOT", &[]),
        ("'; DROP TABLE recording; --", &[]),
        (" ", &["full", "second"]),
    ];
    for (text, expected) in table {
        let query = RecordingQuery {
            tenants: vec![tenant.clone()],
            text: Some(text.to_owned()),
            limit: 10,
            ..Default::default()
        };
        let found = walk(&*catalogue, query).await;
        let mut ids: Vec<_> = found.iter().map(|r| r.id.as_str()).collect();
        ids.sort_unstable();
        assert_eq!(ids, expected, "{text:?}");
    }
}

/// All pages, one after the other.
async fn walk(catalogue: &dyn Catalogue, mut query: RecordingQuery) -> Vec<Recording> {
    let mut all = Vec::new();
    loop {
        let page = catalogue.recordings(&query).await.expect("recordings");
        let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
        assert!(
            page.items.len() <= limit,
            "a page is no longer than asked for"
        );
        assert!(
            page.next.is_none() || page.items.len() == limit,
            "only the last page is short"
        );
        all.extend(page.items);
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => return all,
        }
    }
}
