//! Recordings: adding them, finding one, paging through them.
//!
//! Every page is read off an index that already lists its matches newest first, per tenant; the
//! tenants' lists are merged. So a page costs the same in a library of a hundred as of a million.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use keyreel_format::{BODY_PREFIX_LEN, KekId, RecordingId, TenantId};
use keyreel_keys::MetadataKey;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::{SqliteCatalogue, backend, cursor, exists, optional, parsed, search, to_i64, unsigned};
use crate::Error;
use crate::catalogue::{Details, KekCount, Media, Page, Part, Recording, RecordingQuery};

/// Positions within one millisecond.
const TIES: i64 = 1 << 20;
/// The first millisecond whose positions would overflow: in the year 2248.
const END_MS: i64 = i64::MAX / TIES;
/// SQLite takes 500 branches in one statement.
const MAX_BRANCHES: usize = 400;

const ALL_MEDIA: [Media; 5] = [
    Media::Call,
    Media::Chat,
    Media::Email,
    Media::Message,
    Media::Screen,
];

const COLUMNS: &str = "r.position, t.id AS tenant, r.id, r.conversation_id, r.media, r.start_ms, \
    r.duration_ms, r.provider, r.kek, r.wrap_algorithm, r.recovery, r.generation, r.details, \
    (SELECT json_group_array(json_array(p.name, p.content_type, p.object, p.etag, \
     hex(p.body_prefix), p.sealed_len, p.plaintext_len) ORDER BY p.ordinal) \
     FROM part p WHERE p.recording = r.position) AS parts";

pub(super) async fn add(
    catalogue: &SqliteCatalogue,
    recordings: &[Recording],
) -> Result<(), Error> {
    let mut rows = Vec::with_capacity(recordings.len());
    for recording in recordings {
        let tenant = catalogue.known_tenant_key(&recording.tenant).await?;
        let keys = catalogue.metadata(&recording.tenant).await?;
        let details = seal(&keys, &recording.id, &recording.details)?;
        let terms = search::terms(&keys.terms(), &recording.details);
        rows.push((tenant, details, terms));
    }
    let mut tx = catalogue
        .write
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(backend)?;
    for (recording, (tenant, details, terms)) in recordings.iter().zip(rows) {
        let retired: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM kek WHERE tenant = ? AND provider = ? AND id = ? \
             AND state = 'retired')",
        )
        .bind(tenant)
        .bind(recording.provider.as_str())
        .bind(recording.kek.as_str())
        .fetch_one(&mut *tx)
        .await
        .map_err(backend)?;
        if retired {
            let kek = recording.kek.to_string();
            return Err(Error::Retired { kek });
        }
        let start_ms = to_i64("start", recording.start_ms)?;
        if start_ms >= END_MS {
            return Err(Error::invalid("start", "after the year 2248"));
        }
        let first = start_ms * TIES;
        let last: Option<i64> = sqlx::query_scalar(
            "SELECT max(position) FROM recording WHERE position BETWEEN ? AND ?",
        )
        .bind(first)
        .bind(first + (TIES - 1))
        .fetch_one(&mut *tx)
        .await
        .map_err(backend)?;
        let position = last.map_or(first, |last| last + 1);
        if position - first >= TIES {
            return Err(Error::invalid(
                "start",
                "a million recordings start in this millisecond",
            ));
        }
        sqlx::query(
            "INSERT INTO recording (position, tenant, id, conversation_id, media, start_ms, \
             duration_ms, provider, kek, wrap_algorithm, recovery, generation, details) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(position)
        .bind(tenant)
        .bind(recording.id.as_str())
        .bind(&recording.conversation_id)
        .bind(media_code(recording.media))
        .bind(start_ms)
        .bind(to_i64("duration", recording.duration_ms)?)
        .bind(recording.provider.as_str())
        .bind(recording.kek.as_str())
        .bind(&recording.wrap_algorithm)
        .bind(recording.recovery.as_ref().map(KekId::as_str))
        .bind(recording.generation)
        .bind(details)
        .execute(&mut *tx)
        .await
        .map_err(|error| exists(error, || format!("recording {}", recording.id)))?;
        if !recording.parts.is_empty() {
            insert_parts(position, &recording.parts)?
                .build()
                .execute(&mut *tx)
                .await
                .map_err(backend)?;
        }
        sqlx::query("INSERT INTO recording_text (rowid, terms) VALUES (?, ?)")
            .bind(position)
            .bind(terms)
            .execute(&mut *tx)
            .await
            .map_err(backend)?;
    }
    tx.commit().await.map_err(backend)
}

fn insert_parts(position: i64, parts: &[Part]) -> Result<QueryBuilder<Sqlite>, Error> {
    let mut rows = Vec::with_capacity(parts.len());
    for (part, ordinal) in parts.iter().zip(0i64..) {
        let sealed = to_i64("sealed length", part.sealed_len)?;
        let plaintext = to_i64("plaintext length", part.plaintext_len)?;
        rows.push((ordinal, part, sealed, plaintext));
    }
    let mut insert = QueryBuilder::new(
        "INSERT INTO part (recording, ordinal, name, content_type, object, etag, body_prefix, \
         sealed_len, plaintext_len) ",
    );
    insert.push_values(rows, |mut row, (ordinal, part, sealed, plaintext)| {
        row.push_bind(position)
            .push_bind(ordinal)
            .push_bind(part.name.as_str().to_owned())
            .push_bind(part.content_type.as_str().to_owned())
            .push_bind(part.object.clone())
            .push_bind(part.etag.clone())
            .push_bind(part.body_prefix.map(Vec::from))
            .push_bind(sealed)
            .push_bind(plaintext);
    });
    Ok(insert)
}

pub(super) async fn one(
    catalogue: &SqliteCatalogue,
    tenants: &[TenantId],
    id: &RecordingId,
) -> Result<Option<Recording>, Error> {
    for tenant in tenants {
        let Some(key) = catalogue.tenant_key(tenant).await? else {
            continue;
        };
        let mut select = QueryBuilder::<Sqlite>::new("SELECT ");
        select
            .push(COLUMNS)
            .push(" FROM recording r JOIN tenant t ON t.key = r.tenant WHERE r.tenant = ")
            .push_bind(key)
            .push(" AND r.id = ")
            .push_bind(id.as_str());
        let row = select
            .build()
            .fetch_optional(&catalogue.read)
            .await
            .map_err(backend)?;
        if let Some(row) = row {
            let keys = catalogue.metadata(tenant).await?;
            return recording_from(&row, &keys).map(|(_, recording)| Some(recording));
        }
    }
    Ok(None)
}

/// Those that are wrapped to a KEK and a recovery key, oldest first.
pub(super) async fn under(
    catalogue: &SqliteCatalogue,
    tenant: &TenantId,
    of: &KekCount,
    cursor: Option<&str>,
    limit: u32,
) -> Result<Page<Recording>, Error> {
    let Some(key) = catalogue.tenant_key(tenant).await? else {
        return Ok(Page {
            items: Vec::new(),
            next: None,
        });
    };
    let keys = catalogue.metadata(tenant).await?;
    let limit = usize::try_from(limit.clamp(1, 200)).unwrap_or(200);
    let after = match cursor {
        Some(text) => cursor::decode(cursor::Kind::Rewrap, text)?[0],
        None => -1,
    };
    let mut select = QueryBuilder::<Sqlite>::new("SELECT ");
    select
        .push(COLUMNS)
        .push(
            " FROM recording r INDEXED BY recording_kek JOIN tenant t ON t.key = r.tenant \
             WHERE r.tenant = ",
        )
        .push_bind(key)
        .push(" AND r.provider = ")
        .push_bind(of.provider.as_str())
        .push(" AND r.kek = ")
        .push_bind(of.kek.as_str())
        .push(" AND r.recovery IS ")
        .push_bind(of.recovery.as_ref().map(KekId::as_str))
        .push(" AND r.position > ")
        .push_bind(after)
        .push(" ORDER BY r.position LIMIT ")
        .push_bind(i64::try_from(limit + 1).unwrap_or(i64::MAX));
    let rows = select.build().fetch_all(&catalogue.read).await;
    let mut found = rows
        .map_err(backend)?
        .iter()
        .map(|row| recording_from(row, &keys))
        .collect::<Result<Vec<_>, _>>()?;
    let more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().map(|(position, _)| *position).filter(|_| more);
    Ok(Page {
        next: last.map(|position| cursor::encode(cursor::Kind::Rewrap, [position, 0])),
        items: found.into_iter().map(|(_, recording)| recording).collect(),
    })
}

pub(super) async fn page(
    catalogue: &SqliteCatalogue,
    query: &RecordingQuery,
) -> Result<Page<Recording>, Error> {
    let limit = usize::try_from(query.limit.clamp(1, 200)).unwrap_or(200);
    let keys = keys(catalogue, query).await?;
    let branches = branches(catalogue, query, &keys).await?;
    let bounds = Bounds::of(query)?;
    let mut found = Vec::new();
    for some in branches.chunks(MAX_BRANCHES) {
        // One more than asked for shows whether there is a next page.
        let mut select = select_page(some, query, bounds, limit + 1);
        for row in select
            .build()
            .fetch_all(&catalogue.read)
            .await
            .map_err(backend)?
        {
            let tenant: TenantId = parsed(&row, "tenant")?;
            let keys = keys.get(&tenant).ok_or_else(|| Error::damaged("tenant"))?;
            found.push(recording_from(&row, keys)?);
        }
    }
    found.sort_by_key(|(position, _)| std::cmp::Reverse(*position));
    let more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().map(|(position, _)| *position).filter(|_| more);
    Ok(Page {
        next: last.map(|position| cursor::encode(cursor::Kind::Recordings, [position, 0])),
        items: found.into_iter().map(|(_, recording)| recording).collect(),
    })
}

type Keys = HashMap<TenantId, Arc<MetadataKey>>;

/// The keys of a query's tenants. One whose root is gone is no tenant of a list any more: it must
/// not take the others' recordings with it.
async fn keys(catalogue: &SqliteCatalogue, query: &RecordingQuery) -> Result<Keys, Error> {
    let mut keys = Keys::new();
    let mut lost = None;
    for tenant in &query.tenants {
        // Names of nobody have no keys either.
        if keys.contains_key(tenant) || catalogue.tenant_key(tenant).await?.is_none() {
            continue;
        }
        match catalogue.metadata(tenant).await {
            Ok(of) => {
                keys.insert(tenant.clone(), of);
            }
            Err(Error::Sealing { source }) if source.is_lost_root() => lost = Some(source),
            Err(error) => return Err(error),
        }
    }
    match lost {
        Some(source) if keys.is_empty() => Err(Error::Sealing { source }),
        _ => Ok(keys),
    }
}

async fn branches(
    catalogue: &SqliteCatalogue,
    query: &RecordingQuery,
    keys: &Keys,
) -> Result<Vec<Branch>, Error> {
    let mut named = HashSet::new();
    let mut branches = Vec::new();
    for tenant in query.tenants.iter().filter(|tenant| named.insert(*tenant)) {
        let number = catalogue.tenant_key(tenant).await?;
        if let (Some(number), Some(keys)) = (number, keys.get(tenant)) {
            branches.extend(Branch::of(number, query, keys));
        }
    }
    Ok(branches)
}

/// How SQLite goes about a page: one line a step.
#[cfg(test)]
pub(super) async fn plan(
    catalogue: &SqliteCatalogue,
    query: &RecordingQuery,
) -> Result<Vec<String>, Error> {
    let keys = keys(catalogue, query).await?;
    let branches = branches(catalogue, query, &keys).await?;
    let page = select_page(&branches, query, Bounds::of(query)?, 51);
    let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", page.sql().as_str()));
    let steps = sqlx::query(explain)
        .fetch_all(&catalogue.read)
        .await
        .map_err(backend)?;
    steps
        .iter()
        .map(|step| step.try_get("detail").map_err(backend))
        .collect()
}

/// Which positions: from `low` to below `high`.
#[derive(Clone, Copy)]
struct Bounds {
    low: i64,
    high: i64,
}

impl Bounds {
    fn of(query: &RecordingQuery) -> Result<Self, Error> {
        let position = |ms: u64| i64::try_from(ms).unwrap_or(END_MS).min(END_MS) * TIES;
        let mut high = query.to_ms.map_or(i64::MAX, position);
        if let Some(text) = &query.cursor {
            let [last, _] = cursor::decode(cursor::Kind::Recordings, text)?;
            high = high.min(last);
        }
        Ok(Self {
            low: query.from_ms.map_or(0, position),
            high,
        })
    }
}

/// One stretch of one index, which lists what it holds newest first.
struct Branch {
    tenant: i64,
    media: Option<Media>,
    /// The full-text query, where a text is looked for.
    text: Option<String>,
}

impl Branch {
    fn of(tenant: i64, query: &RecordingQuery, keys: &MetadataKey) -> Vec<Self> {
        let text = query
            .text
            .as_deref()
            .and_then(|text| search::query(&keys.terms(), text));
        let by_provider = text.is_none()
            && query.conversation_id.is_none()
            && query.provider.is_some()
            && query.media.is_none();
        if by_provider {
            // That index goes by media first: five lists instead of another index.
            let branch = |media| Self {
                tenant,
                media: Some(media),
                text: None,
            };
            return ALL_MEDIA.into_iter().map(branch).collect();
        }
        vec![Self {
            tenant,
            media: query.media,
            text,
        }]
    }

    /// SELECT position …, newest first. The index is named: a planner's guess that is right on
    /// one library is a full scan on the next.
    fn push(&self, sql: &mut QueryBuilder<Sqlite>, query: &RecordingQuery, bounds: Bounds) {
        let by_text_alone = self.text.is_some() && query.conversation_id.is_none();
        let position = if by_text_alone {
            "f.rowid"
        } else {
            "r.position"
        };
        sql.push(format_args!("SELECT {position} AS position FROM "));
        if by_text_alone {
            // CROSS JOIN keeps the order: the text's matches first.
            sql.push("recording_text f CROSS JOIN recording r ON r.position = f.rowid");
        } else {
            sql.push("recording r INDEXED BY ")
                .push(match (&query.conversation_id, query) {
                    (Some(_), _) => "recording_conversation",
                    (
                        _,
                        RecordingQuery {
                            provider: Some(_), ..
                        },
                    ) => "recording_provider",
                    (_, RecordingQuery { media: Some(_), .. }) => "recording_media",
                    _ => "recording_tenant",
                });
            if self.text.is_some() {
                sql.push(" CROSS JOIN recording_text f ON f.rowid = r.position");
            }
        }
        sql.push(" WHERE r.tenant = ").push_bind(self.tenant);
        if let Some(text) = &self.text {
            sql.push(" AND f.recording_text MATCH ")
                .push_bind(text.clone());
        }
        if let Some(id) = &query.conversation_id {
            sql.push(" AND r.conversation_id = ").push_bind(id.clone());
        }
        if let Some(provider) = &query.provider {
            sql.push(" AND r.provider = ")
                .push_bind(provider.as_str().to_owned());
        }
        if let Some(media) = self.media {
            sql.push(" AND r.media = ").push_bind(media_code(media));
        }
        sql.push(format_args!(" AND {position} >= "))
            .push_bind(bounds.low);
        sql.push(format_args!(" AND {position} < "))
            .push_bind(bounds.high);
        sql.push(format_args!(" ORDER BY {position} DESC"));
    }
}

fn select_page(
    branches: &[Branch],
    query: &RecordingQuery,
    bounds: Bounds,
    limit: usize,
) -> QueryBuilder<Sqlite> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut sql = QueryBuilder::new("SELECT ");
    sql.push(COLUMNS).push(" FROM (SELECT position FROM (");
    for (index, branch) in branches.iter().enumerate() {
        if index > 0 {
            sql.push(" UNION ALL ");
        }
        sql.push("SELECT * FROM (");
        branch.push(&mut sql, query, bounds);
        sql.push(" LIMIT ").push_bind(limit).push(")");
    }
    sql.push(") ORDER BY position DESC LIMIT ").push_bind(limit);
    sql.push(
        ") m CROSS JOIN recording r ON r.position = m.position \
         CROSS JOIN tenant t ON t.key = r.tenant ORDER BY m.position DESC",
    );
    sql
}

/// What is known of a recording, sealed for its row alone.
pub(super) fn seal(
    keys: &MetadataKey,
    id: &RecordingId,
    details: &Details,
) -> Result<Vec<u8>, Error> {
    let json = serde_json::to_vec(details).map_err(backend)?;
    Ok(keys.seal(id, &json)?)
}

fn recording_from(row: &SqliteRow, keys: &MetadataKey) -> Result<(i64, Recording), Error> {
    let position: i64 = row.try_get("position").map_err(backend)?;
    let id: RecordingId = parsed(row, "id")?;
    let damaged = |what: &str| Error::damaged(format!("{what} of recording {id}"));
    let details: &[u8] = row.try_get("details").map_err(backend)?;
    let details = keys.open(&id, details)?;
    let parts: &str = row.try_get("parts").map_err(backend)?;
    let parts: Vec<(String, String, String, String, String, u64, u64)> =
        serde_json::from_str(parts).map_err(|_| damaged("parts"))?;
    let media: i64 = row.try_get("media").map_err(backend)?;
    let recording = Recording {
        tenant: parsed(row, "tenant")?,
        conversation_id: row.try_get("conversation_id").map_err(backend)?,
        media: ALL_MEDIA
            .into_iter()
            .find(|known| media_code(*known) == media)
            .ok_or_else(|| damaged("media"))?,
        start_ms: unsigned(row, "start_ms")?,
        duration_ms: unsigned(row, "duration_ms")?,
        provider: parsed(row, "provider")?,
        kek: parsed(row, "kek")?,
        wrap_algorithm: row.try_get("wrap_algorithm").map_err(backend)?,
        recovery: optional(row, "recovery")?,
        generation: row.try_get("generation").map_err(backend)?,
        parts: parts
            .into_iter()
            .map(
                |(name, content_type, object, etag, body_prefix, sealed_len, plaintext_len)| {
                    Ok(Part {
                        name: name.parse().map_err(|_| damaged("part name"))?,
                        content_type: content_type.parse().map_err(|_| damaged("content type"))?,
                        object,
                        etag,
                        body_prefix: body_prefix_from(&body_prefix)
                            .map_err(|_| damaged("body prefix"))?,
                        sealed_len,
                        plaintext_len,
                    })
                },
            )
            .collect::<Result<_, Error>>()?,
        details: serde_json::from_slice(&details).map_err(|_| damaged("details"))?,
        id,
    };
    Ok((position, recording))
}

/// SQLite's `hex` of NULL is empty.
fn body_prefix_from(text: &str) -> Result<Option<[u8; BODY_PREFIX_LEN]>, hex::FromHexError> {
    if text.is_empty() {
        return Ok(None);
    }
    let mut prefix = [0; BODY_PREFIX_LEN];
    hex::decode_to_slice(text, &mut prefix)?;
    Ok(Some(prefix))
}

/// Never renumbered: rows hold it.
fn media_code(media: Media) -> i64 {
    match media {
        Media::Call => 0,
        Media::Chat => 1,
        Media::Email => 2,
        Media::Message => 3,
        Media::Screen => 4,
    }
}
