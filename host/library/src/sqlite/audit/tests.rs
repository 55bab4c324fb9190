//! The chain against whoever can write the database: every edit shows, and is not gone on with.

mod marks;

use std::sync::Arc;

use sqlx::AssertSqlSafe;

use super::super::SqliteCatalogue;
use crate::Error;
use crate::audit_chain::{AuditKey, Broken, SignedHead, verify};
use crate::catalogue::{AuditEvent, Catalogue};

const EVENTS: u64 = 240;

#[tokio::test]
async fn a_thousand_edits_are_all_found_and_a_clean_log_verifies() {
    let log = Log::new(EVENTS).await;
    let clean = log.verify().await.unwrap();
    assert_eq!((clean.events, clean.head.unwrap().seq), (EVENTS, EVENTS));
    let mut random = Random(7);
    let mut kinds = std::collections::BTreeMap::new();
    for round in 0..1000 {
        let kind = random.below(KINDS);
        log.edit(kind, &mut random).await;
        let found = log.verify().await;
        assert!(found.is_err(), "round {round}, kind {kind}: not found");
        *kinds.entry(kind).or_insert(0) += 1;
        log.restore().await;
    }
    assert!(
        (0..KINDS).all(|kind| kinds.get(&kind) > Some(&20)),
        "{kinds:?}"
    );
    log.verify().await.unwrap();
}

#[tokio::test]
async fn what_was_cut_short_is_not_gone_on_with_until_somebody_says_so() {
    let log = Log::new(20).await;
    log.sql("DELETE FROM audit WHERE seq > 17").await;
    let refused = log.catalogue.append_audit(&[event(21)]).await;
    assert!(
        matches!(refused, Err(Error::AuditBroken { .. })),
        "{refused:?}"
    );
    let found = log.verify().await;
    assert!(
        matches!(
            found,
            Err(Broken::Length {
                found: 17,
                expected: 20
            })
        ),
        "{found:?}"
    );
    log.catalogue.resume_audit(&event(22)).await.unwrap();
    log.catalogue.append_audit(&[event(23)]).await.unwrap();
    log.verify().await.unwrap();
    let heads = log.catalogue.audit_heads().await.unwrap();
    assert_eq!(heads.checkpoints.last().unwrap().seq, 18, "kept for good");
    // What was signed before it was cut is proof.
    let found = verify(
        &*log.catalogue,
        log.key.public(),
        std::slice::from_ref(&log.head),
        None,
    )
    .await;
    assert!(
        matches!(found, Err(Broken::RolledBack { found: 19, seq: 20 })),
        "{found:?}"
    );
}

#[tokio::test]
async fn a_head_that_was_taken_away_or_made_by_another_key_stops_the_log() {
    let others = AuditKey::from_seed(&[8; 32]).unwrap();
    for statement in [
        "DELETE FROM audit_head".to_owned(),
        "UPDATE audit_head SET signature = zeroblob(64)".to_owned(),
        format!(
            "UPDATE audit_head SET key = '{}', signature = x'{}'",
            others.public().id(),
            hex::encode(others.sign(5, 1005, [0; 32]).signature)
        ),
        "UPDATE audit SET hash = zeroblob(32) WHERE seq = 5".to_owned(),
    ] {
        let log = Log::new(5).await;
        log.sql(&statement).await;
        let refused = log.catalogue.append_audit(&[event(6)]).await;
        assert!(
            matches!(refused, Err(Error::AuditBroken { .. })),
            "{statement}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn a_checkpoint_is_no_head_to_cut_the_log_down_to() {
    let log = Log::new(1005).await;
    let checkpoints = log.catalogue.audit_heads().await.unwrap().checkpoints;
    assert_eq!(checkpoints.last().unwrap().seq, 1000);
    for statement in [
        "INSERT OR REPLACE INTO audit_head SELECT 1, seq, at_ms, hash, key, signature \
         FROM audit_checkpoint WHERE seq = 1000",
        "DELETE FROM audit WHERE seq > 1000",
    ] {
        log.sql(statement).await;
    }
    let found = log.verify().await;
    assert!(
        matches!(found, Err(Broken::Signature { seq: 1000 })),
        "{found:?}"
    );
    let refused = log.catalogue.append_audit(&[event(1006)]).await;
    assert!(
        matches!(refused, Err(Error::AuditBroken { .. })),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_write_one_chain_and_none_without_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("c.db").display());
    let open = async || {
        let catalogue = SqliteCatalogue::open(&url).await.unwrap();
        catalogue.sign_audit_with(key());
        catalogue
    };
    let (one, two) = (open().await, open().await);
    for number in 0..40 {
        let catalogue = if number % 2 == 0 { &one } else { &two };
        catalogue.append_audit(&[event(number)]).await.unwrap();
    }
    let verified = verify(&one, key().public(), &[], None).await.unwrap();
    assert_eq!(verified.events, 40);
    let without = SqliteCatalogue::open(&url).await.unwrap();
    let refused = without.append_audit(&[event(41)]).await;
    assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_log_from_before_the_chain_is_linked_when_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.db");
    let url = format!("sqlite://{}", path.display());
    let old = SqliteCatalogue::open(&url).await.unwrap();
    for number in 0..30 {
        old.append_audit(&[event(number)]).await.unwrap();
    }
    // As version 3 of the catalogue left it, a failed insert's number missing.
    for statement in [
        "UPDATE audit SET seq = seq + 1 WHERE seq > 20 AND seq = 30",
        "DROP INDEX audit_subject",
        "DROP TABLE audit_head",
        "DROP TABLE audit_checkpoint",
        "ALTER TABLE audit DROP COLUMN hash",
        "DELETE FROM _sqlx_migrations WHERE version = 6",
    ] {
        sqlx::query(statement).execute(&old.write).await.unwrap();
    }
    old.close().await;
    let new = SqliteCatalogue::open(&url).await.unwrap();
    new.sign_audit_with(key());
    new.append_audit(&[event(31)]).await.unwrap();
    let verified = verify(&new, key().public(), &[], None).await.unwrap();
    assert_eq!(verified.events, 31);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_an_error_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("full.db").display());
    let catalogue = SqliteCatalogue::open(&url).await.unwrap();
    catalogue.sign_audit_with(key());
    let limit = async |pages: i64| {
        let limit = AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
        sqlx::query(limit).execute(&catalogue.write).await.unwrap();
    };
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count")
        .fetch_one(&catalogue.write)
        .await
        .unwrap();
    limit(pages).await;
    let mut written = 0;
    let refused = loop {
        match catalogue.append_audit(&[event(written)]).await {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 2000, "the disk never fills");
    };
    assert!(refused.to_string().contains("full"), "{refused}");
    let verified = async || verify(&catalogue, key().public(), &[], None).await.unwrap();
    assert_eq!(verified().await.events, written);
    // Somebody has made room: the next event goes in, without a restart.
    limit(1_000_000).await;
    catalogue.append_audit(&[event(written)]).await.unwrap();
    assert_eq!(verified().await.events, written + 1);
}

#[tokio::test]
async fn a_database_that_takes_no_events_in_is_found_out_at_once() {
    let ignoring = "BEFORE INSERT ON audit BEGIN SELECT RAISE(IGNORE); END";
    let some = "BEFORE INSERT ON audit WHEN NEW.id = 'event-6' BEGIN SELECT RAISE(IGNORE); END";
    let no_head = "BEFORE INSERT ON audit_head BEGIN SELECT RAISE(IGNORE); END";
    for trigger in [ignoring, some, no_head] {
        for together in [1, 2] {
            let log = Log::new(6).await;
            log.sql(&format!("CREATE TRIGGER keeps_out {trigger}"))
                .await;
            let events: Vec<_> = (6..6 + together).map(event).collect();
            let refused = log.catalogue.append_audit(&events).await;
            assert!(
                matches!(refused, Err(Error::AuditBroken { .. })),
                "{trigger}, {together}: {refused:?}"
            );
        }
    }
    // A view that looks like the log, and is written to nowhere.
    let log = Log::new(6).await;
    for statement in [
        "ALTER TABLE audit RENAME TO hidden",
        "CREATE VIEW audit AS SELECT * FROM hidden",
        "CREATE TRIGGER swallows INSTEAD OF INSERT ON audit BEGIN SELECT 1; END",
    ] {
        log.sql(statement).await;
    }
    let refused = log.catalogue.append_audit(&[event(6)]).await;
    assert!(
        matches!(refused, Err(Error::AuditBroken { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn as_many_events_as_fit_are_one_link_of_the_chain_after_the_other() {
    let log = Log::new(1).await;
    let mut number = 1;
    for together in [2000, 1, 1999, 2] {
        let events: Vec<_> = (number..number + together).map(event).collect();
        number += together;
        log.catalogue.append_audit(&events).await.unwrap();
        assert_eq!(log.verify().await.unwrap().events, number);
    }
    let heads = log.catalogue.audit_heads().await.unwrap();
    let kept: Vec<_> = heads.checkpoints.iter().map(|head| head.seq).collect();
    assert_eq!(kept, [1, 2001, 4001], "one where a thousand is passed");
    // One that is there already takes all with it.
    let again = [event(number), event(7)];
    let refused = log.catalogue.append_audit(&again).await;
    assert!(matches!(refused, Err(Error::Exists { .. })), "{refused:?}");
    log.catalogue.append_audit(&[event(number)]).await.unwrap();
    assert_eq!(log.verify().await.unwrap().events, number + 1);
}

/// A log of its own, and a copy to put back.
struct Log {
    catalogue: Arc<SqliteCatalogue>,
    key: AuditKey,
    head: SignedHead,
}

impl Log {
    async fn new(events: u64) -> Self {
        let catalogue = Arc::new(SqliteCatalogue::open("sqlite::memory:").await.unwrap());
        catalogue.sign_audit_with(key());
        for number in 0..events {
            catalogue.append_audit(&[event(number)]).await.unwrap();
        }
        let head = catalogue.audit_heads().await.unwrap().head.unwrap();
        let log = Self {
            catalogue,
            key: key(),
            head,
        };
        for table in TABLES {
            log.sql(&format!(
                "CREATE TABLE {table}_copy AS SELECT * FROM {table}"
            ))
            .await;
        }
        log
    }

    async fn verify(&self) -> Result<crate::audit_chain::Verified, Broken> {
        verify(&*self.catalogue, self.key.public(), &[], None).await
    }

    async fn restore(&self) {
        for table in TABLES {
            self.sql(&format!("DELETE FROM {table}")).await;
            self.sql(&format!("INSERT INTO {table} SELECT * FROM {table}_copy"))
                .await;
        }
    }

    async fn edit(&self, kind: u64, random: &mut Random) {
        let seq = 1 + random.below(EVENTS);
        let other = 1 + (seq + random.below(EVENTS - 2)) % EVENTS;
        let texts = [
            "id",
            "action",
            "tenant",
            "subject",
            "recording",
            "outcome",
            "fields",
        ];
        let text = texts[usize::try_from(random.below(texts.len() as u64)).unwrap()];
        let statements = match kind {
            0 => vec![format!(
                "UPDATE audit SET {text} = coalesce({text}, '') || 'x' WHERE seq = {seq}"
            )],
            // As JSON it says the same; it is not what was written.
            1 => vec![format!(
                "UPDATE audit SET fields = fields || ' ' WHERE seq = {seq}"
            )],
            2 => vec![format!(
                "UPDATE audit SET at_ms = at_ms + 1 WHERE seq = {seq}"
            )],
            3 => vec![format!("DELETE FROM audit WHERE seq = {seq}")],
            4 => vec![format!("DELETE FROM audit WHERE seq >= {seq}")],
            5 => vec![
                format!("UPDATE audit SET seq = 0 WHERE seq = {seq}"),
                format!("UPDATE audit SET seq = {seq} WHERE seq = {other}"),
                format!("UPDATE audit SET seq = {other} WHERE seq = 0"),
            ],
            6 => vec![format!(
                "UPDATE audit SET hash = randomblob(32) WHERE seq = {seq}"
            )],
            7 => vec![format!("UPDATE audit SET hash = NULL WHERE seq = {seq}")],
            8 => vec![format!(
                "INSERT INTO audit SELECT {}, id || 'b', at_ms, action, tenant, subject, recording, \
                 outcome, fields, hash FROM audit WHERE seq = {seq}",
                EVENTS + 1
            )],
            9 => vec![
                format!(
                    "UPDATE audit_head SET seq = {}, hash = (SELECT hash FROM audit WHERE seq = {0})",
                    seq.min(EVENTS - 1)
                ),
                format!("DELETE FROM audit WHERE seq > {}", seq.min(EVENTS - 1)),
            ],
            10 => vec!["DELETE FROM audit_head".to_owned()],
            11 => vec!["DELETE FROM audit".to_owned()],
            // A null is another thing than nothing.
            12 => vec![format!(
                "UPDATE audit SET tenant = NULL, recording = '' WHERE seq = {seq}"
            )],
            _ => {
                self.rewrite_from(seq).await;
                Vec::new()
            }
        };
        for statement in statements {
            self.sql(&statement).await;
        }
    }

    /// What somebody does who knows how the chain is made, and has no key.
    async fn rewrite_from(&self, seq: u64) {
        self.sql(&format!(
            "UPDATE audit SET subject = 'nobody' WHERE seq = {seq}"
        ))
        .await;
        let mut before = [0; 32];
        for mut link in self.catalogue.audit_links(0, 2000).await.unwrap() {
            before = link.hash_after(&before);
            link.hash = Some(before);
            self.sql(&format!(
                "UPDATE audit SET hash = x'{}' WHERE seq = {}",
                hex::encode(before),
                link.seq
            ))
            .await;
        }
        self.sql(&format!(
            "UPDATE audit_head SET hash = x'{}'",
            hex::encode(before)
        ))
        .await;
    }

    async fn sql(&self, statement: &str) {
        sqlx::query(AssertSqlSafe(statement.to_owned()))
            .execute(&self.catalogue.write)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
}

const TABLES: [&str; 3] = ["audit", "audit_head", "audit_checkpoint"];
const KINDS: u64 = 14;

fn key() -> AuditKey {
    AuditKey::from_seed(&[7; 32]).unwrap()
}

fn event(number: u64) -> AuditEvent {
    let mut fields = serde_json::Map::new();
    fields.insert("kek".to_owned(), format!("kek/{number}").into());
    fields.insert("latencyMs".to_owned(), number.into());
    AuditEvent {
        id: format!("event-{number}"),
        at_ms: 1000 + number,
        action: "key.unwrapped".to_owned(),
        tenant: Some("acme".parse().unwrap()),
        subject: "user:1".to_owned(),
        recording: (!number.is_multiple_of(3)).then(|| format!("r{number}").parse().unwrap()),
        outcome: "ok".to_owned(),
        fields,
    }
}

/// The same edits every time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}
