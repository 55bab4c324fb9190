//! A big library on SQLite: how long a page takes, and an audit line.
//!
//! `cargo bench -p keyreel-library --bench catalogue -- 1000000`; the database is filled anew, in a
//! folder under the target directory that is removed at the end.

use std::error::Error;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyreel_format::{ContentType, KekId, PartName, ProviderId, TenantId};
use keyreel_keys::Policy;
use keyreel_keys_testing::MemoryMetadataKeys;
use keyreel_library::{
    AuditEvent, Catalogue, Channel, Credential, CredentialKind, Details, Media, Part, Recording,
    RecordingQuery, SqliteCatalogue, Tenant,
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const ROUNDS: u64 = 300;
const START_MS: u64 = 1_700_000_000_000;
const APART_MS: u64 = 31_000;
const QUEUES: [&str; 8] = [
    "Billing",
    "Claims",
    "Sales",
    "Support",
    "Retention",
    "Cards",
    "Mortgages",
    "Fraud",
];
const FIRST: [&str; 10] = [
    "Maya", "Tom", "Ines", "Jonas", "Priya", "Wei", "Zoë", "Karim", "Lena", "Otto",
];
const LAST: [&str; 10] = [
    "Chen",
    "Reyes",
    "Okafor",
    "Lindqvist",
    "Nakamura",
    "Haddad",
    "Novak",
    "Silva",
    "Brandt",
    "Moreau",
];

#[tokio::main]
async fn main() -> Outcome<()> {
    let count = std::env::args()
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(1_000_000u64);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let path = folder.path().join("catalogue.db");
    let keys = Arc::new(MemoryMetadataKeys::default());
    let url = format!("sqlite://{}", path.display());
    let catalogue = SqliteCatalogue::open_with(&url, keys).await?;
    let tenants = fill(&catalogue, count).await?;
    let bytes = std::fs::metadata(&path)?.len();
    print(&format!("{count} recordings, {} MiB", bytes >> 20))?;
    pages(&catalogue, &tenants, count).await?;
    credentials(&catalogue).await?;
    audit(&catalogue, &tenants).await
}

async fn fill(catalogue: &SqliteCatalogue, count: u64) -> Outcome<Vec<TenantId>> {
    let managed: ProviderId = "managed".parse()?;
    let mut ids = Vec::new();
    // One has most of it, one some, one little.
    for name in ["big", "middle", "small"] {
        let id: TenantId = name.parse()?;
        let tenant = Tenant {
            id: id.clone(),
            name: name.to_owned(),
            policy: Policy::Compatible,
            provider: managed.clone(),
            created_ms: START_MS,
        };
        catalogue.add_tenant(&tenant).await?;
        ids.push(id);
    }
    let start = Instant::now();
    for batch in (0..count).step_by(5000) {
        let recordings = (batch..count.min(batch + 5000))
            .map(|index| recording(&ids, index))
            .collect::<Outcome<Vec<_>>>()?;
        catalogue.add_recordings(&recordings).await?;
    }
    let rate = count as f64 / start.elapsed().as_secs_f64();
    print(&format!("filled at {rate:.0} recordings/s"))?;
    Ok(ids)
}

fn recording(tenants: &[TenantId], index: u64) -> Outcome<Recording> {
    let mix = mix(index);
    let tenant = match mix % 100 {
        0..80 => tenants.first(),
        80..99 => tenants.get(1),
        _ => tenants.get(2),
    };
    let tenant = tenant.ok_or("a tenant")?.clone();
    let id = format!("{:08x}-0000-4000-8000-{index:012x}", mix >> 32);
    let part = |name: &str| -> Outcome<Part> {
        Ok(Part {
            name: PartName::parse(name)?,
            content_type: ContentType::parse("audio/ogg; codecs=opus")?,
            object: format!("{tenant}/{id}/{name}.0123456789abcdef.krc"),
            etag: "\"5a3f-6912ab34.1f2e3d4c-18c2f0\"".to_owned(),
            body_prefix: Some([0xA5; 56]),
            sealed_len: 1_622_256,
            plaintext_len: 1_616_000,
        })
    };
    let person = |role: &str, by: u64, number| Channel {
        channel: number,
        role: role.to_owned(),
        name: Some(format!("{} {}", pick(&FIRST, by), pick(&LAST, by / 10))),
        address: Some(format!("+1415{:07}", by % 10_000_000)),
    };
    Ok(Recording {
        conversation_id: format!("{:08x}-1111-4000-8000-{:012x}", mix >> 40, index / 3),
        media: match mix % 10 {
            0..7 => Media::Call,
            7 => Media::Chat,
            8 => Media::Email,
            _ => Media::Message,
        },
        start_ms: START_MS + index * APART_MS,
        duration_ms: 60_000 + mix % 600_000,
        // A tenant that changed its provider long ago has the old one far down.
        provider: if index.is_multiple_of(7) && index < 100_000 {
            "lkm"
        } else {
            "managed"
        }
        .parse()?,
        kek: KekId::parse("kek/1")?,
        wrap_algorithm: "rsa-oaep-sha256".to_owned(),
        recovery: None,
        generation: 0,
        parts: vec![part("media")?, part("waveform")?, part("transcript")?],
        details: Details {
            direction: Some("inbound".to_owned()),
            queue: Some(pick(&QUEUES, mix / 7).to_owned()),
            subject: Some(format!("Case {:07} about an invoice", mix % 10_000_000)),
            channels: vec![
                person("agent", mix / 3, 0),
                person("customer", mix / 1000, 1),
            ],
            spans: Vec::new(),
            labels: if mix.is_multiple_of(1000) {
                vec!["escalation".to_owned()]
            } else {
                Vec::new()
            },
        },
        id: id.parse()?,
        tenant: tenant.clone(),
    })
}

async fn pages(catalogue: &SqliteCatalogue, tenants: &[TenantId], count: u64) -> Outcome<()> {
    let base = RecordingQuery {
        tenants: tenants.to_vec(),
        limit: 50,
        ..Default::default()
    };
    let big = RecordingQuery {
        tenants: tenants.iter().take(1).cloned().collect(),
        ..base.clone()
    };
    let text = |text: &str| Some(text.to_owned());
    let at = |round: u64| START_MS + mix(round) % count * APART_MS;
    let managed: ProviderId = "managed".parse()?;
    let lkm: ProviderId = "lkm".parse()?;
    let nobody: ProviderId = "nobody".parse()?;
    type Make<'a> = Box<dyn Fn(u64) -> RecordingQuery + 'a>;
    let shapes: Vec<(&str, Make<'_>)> = vec![
        ("first page", Box::new(|_| base.clone())),
        ("first page, one tenant", Box::new(|_| big.clone())),
        (
            "first page of 200",
            Box::new(|_| RecordingQuery {
                limit: 200,
                ..base.clone()
            }),
        ),
        (
            "media",
            Box::new(|_| RecordingQuery {
                media: Some(Media::Email),
                ..base.clone()
            }),
        ),
        (
            "media of none",
            Box::new(|_| RecordingQuery {
                media: Some(Media::Screen),
                ..base.clone()
            }),
        ),
        (
            "provider",
            Box::new(|_| RecordingQuery {
                provider: Some(managed.clone()),
                ..base.clone()
            }),
        ),
        (
            "provider, old only",
            Box::new(|_| RecordingQuery {
                provider: Some(lkm.clone()),
                ..base.clone()
            }),
        ),
        (
            "provider of none",
            Box::new(|_| RecordingQuery {
                provider: Some(nobody.clone()),
                ..base.clone()
            }),
        ),
        (
            "provider and media",
            Box::new(|_| RecordingQuery {
                provider: Some(lkm.clone()),
                media: Some(Media::Chat),
                ..base.clone()
            }),
        ),
        (
            "a day, anywhere",
            Box::new(|round| RecordingQuery {
                from_ms: Some(at(round)),
                to_ms: Some(at(round) + 86_400_000),
                ..base.clone()
            }),
        ),
        (
            "a day and media",
            Box::new(|round| RecordingQuery {
                from_ms: Some(at(round)),
                to_ms: Some(at(round) + 86_400_000),
                media: Some(Media::Chat),
                ..base.clone()
            }),
        ),
        (
            "conversation",
            Box::new(|round| {
                let index = mix(round) % count;
                let id = format!("{:08x}-1111-4000-8000-{:012x}", mix(index) >> 40, index / 3);
                RecordingQuery {
                    conversation_id: Some(id),
                    ..base.clone()
                }
            }),
        ),
        (
            "text, common (queue)",
            Box::new(|round| {
                let queue = QUEUES.get(usize::try_from(round % 8).unwrap_or(0));
                RecordingQuery {
                    text: queue.map(|q| q.to_lowercase()),
                    ..base.clone()
                }
            }),
        ),
        (
            "text, one case",
            Box::new(|round| {
                let case = format!("{:07}", mix(mix(round) % count) % 10_000_000);
                RecordingQuery {
                    text: Some(case),
                    ..base.clone()
                }
            }),
        ),
        (
            "text, name",
            Box::new(|_| RecordingQuery {
                text: text("maya chen"),
                ..base.clone()
            }),
        ),
        (
            "text, number",
            Box::new(|round| {
                let by = mix(mix(round) % count) / 1000;
                RecordingQuery {
                    text: Some(format!("+1 415 {:07}", by % 10_000_000)),
                    ..base.clone()
                }
            }),
        ),
        (
            "text, label",
            Box::new(|_| RecordingQuery {
                text: text("escal"),
                ..base.clone()
            }),
        ),
        (
            "text, none",
            Box::new(|_| RecordingQuery {
                text: text("xylophone"),
                ..base.clone()
            }),
        ),
        (
            "text, one letter",
            Box::new(|_| RecordingQuery {
                text: text("s"),
                ..base.clone()
            }),
        ),
        (
            "text and media",
            Box::new(|_| RecordingQuery {
                text: text("fraud"),
                media: Some(Media::Email),
                ..base.clone()
            }),
        ),
        (
            "text and a day",
            Box::new(|round| RecordingQuery {
                text: text("claims"),
                from_ms: Some(at(round)),
                to_ms: Some(at(round) + 86_400_000),
                ..base.clone()
            }),
        ),
    ];
    for (name, make) in shapes {
        let mut times = Vec::new();
        let mut rows = 0;
        for round in 0..ROUNDS {
            let query = make(round);
            let start = Instant::now();
            rows += catalogue.recordings(&query).await?.items.len();
            times.push(start.elapsed());
        }
        report(
            name,
            times,
            &format!("{:.1} rows", rows as f64 / ROUNDS as f64),
        )?;
    }
    let mut query = base;
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let page = catalogue.recordings(&query).await?;
        times.push(start.elapsed());
        query.cursor = page.next;
    }
    report("300 pages, one after the other", times, "")
}

async fn credentials(catalogue: &SqliteCatalogue) -> Outcome<()> {
    let credential = Credential {
        id: "bench".to_owned(),
        kind: CredentialKind::Bearer,
        secret_sha256: [7; 32],
        user: None,
        label: "token:bench".to_owned(),
        roles: Vec::new(),
        created_ms: 0,
        expires_ms: None,
    };
    // It is there from the run before.
    let _ = catalogue.add_credential(&credential).await;
    let mut times = Vec::new();
    for _ in 0..2000 {
        let start = Instant::now();
        catalogue.credential(&[7; 32], 1).await?;
        times.push(start.elapsed());
    }
    report("credential by secret", times, "")
}

async fn audit(catalogue: &SqliteCatalogue, tenants: &[TenantId]) -> Outcome<()> {
    let run = Instant::now();
    let salt = std::process::id();
    let event = move |index: u64, tenant: Option<TenantId>| AuditEvent {
        id: format!("{salt:08x}-{:x}-{index}", run.elapsed().as_nanos()),
        at_ms: START_MS + index,
        action: "key.unwrap.requested".to_owned(),
        tenant,
        subject: "user:00000000-0000-4000-8000-000000000000".to_owned(),
        recording: "4b0a2b6e-5e04-4a84-9e54-7a2c1f3d9b10".parse().ok(),
        outcome: "ok".to_owned(),
        fields: serde_json::Map::new(),
    };
    let tenant = tenants.first().cloned();
    let mut times = Vec::new();
    for index in 0..ROUNDS {
        let start = Instant::now();
        catalogue
            .append_audit(&[event(index, tenant.clone())])
            .await?;
        times.push(start.elapsed());
    }
    report("append_audit, alone", times, "")?;
    let catalogue = Arc::new(catalogue.clone());
    let start = Instant::now();
    let tasks: Vec<_> = (0..64u64)
        .map(|task| {
            let (catalogue, tenant) = (catalogue.clone(), tenant.clone());
            tokio::spawn(async move {
                let mut times = Vec::new();
                for index in 0..100 {
                    let event = event(1_000_000 + task * 1000 + index, tenant.clone());
                    let start = Instant::now();
                    catalogue
                        .append_audit(&[event])
                        .await
                        .map(|()| times.push(start.elapsed()))?;
                }
                Ok::<_, keyreel_library::Error>(times)
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    let rate = times.len() as f64 / start.elapsed().as_secs_f64();
    report(
        "append_audit, 64 at once",
        times,
        &format!("{rate:.0} events/s"),
    )
}

fn report(name: &str, mut times: Vec<Duration>, more: &str) -> Outcome<()> {
    times.sort();
    let at = |per_mille: usize| {
        let index = (times.len() * per_mille / 1000).min(times.len().saturating_sub(1));
        times
            .get(index)
            .map_or(0.0, |time| time.as_secs_f64() * 1000.0)
    };
    let (p50, p99, max) = (at(500), at(990), at(1000));
    print(&format!(
        "{name:<32} p50 {p50:8.3} ms   p99 {p99:8.3} ms   max {max:8.3} ms   {more}"
    ))
}

fn pick<'a>(from: &[&'a str], by: u64) -> &'a str {
    let index = usize::try_from(by % from.len() as u64).unwrap_or(0);
    from.get(index).copied().unwrap_or("")
}

/// splitmix64: the same library on every machine.
fn mix(index: u64) -> u64 {
    let mut z = index.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn print(line: &str) -> Outcome<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
