//! The mark against whoever can write the database as a whole: a log that was emptied or exchanged is
//! neither gone on with nor found sound.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::audit_mark::{AuditMark, AuditMarks};

/// A place beside the database.
#[derive(Default)]
struct Marks {
    mark: Mutex<Option<AuditMark>>,
    writes: AtomicUsize,
    fails: AtomicBool,
}

impl AuditMarks for Marks {
    fn read(&self) -> Result<Option<AuditMark>, Error> {
        Ok(*self.mark.lock().unwrap())
    }

    fn write(&self, mark: AuditMark) -> Result<(), Error> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        if self.fails.load(Ordering::SeqCst) {
            return Err(Error::damaged("the place of marks"));
        }
        *self.mark.lock().unwrap() = Some(mark);
        Ok(())
    }
}

impl Marks {
    /// Where the mark is, once it is there.
    async fn at(&self, seq: u64) {
        let found = || self.mark.lock().unwrap().map(|mark| mark.seq);
        for _ in 0..500 {
            if found() == Some(seq) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the mark is at {:?}, not at {seq}", found());
    }
}

/// As one process opens it.
async fn open(path: &Path, marks: &Arc<Marks>) -> SqliteCatalogue {
    let url = format!("sqlite://{}", path.display());
    let catalogue = SqliteCatalogue::open(&url).await.unwrap();
    catalogue.sign_audit_with(key());
    catalogue.mark_audit_in(marks.clone());
    catalogue
}

async fn append(catalogue: &SqliteCatalogue, numbers: std::ops::Range<u64>) {
    let events: Vec<_> = numbers.map(event).collect();
    catalogue.append_audit(&events).await.unwrap();
}

async fn found(catalogue: &SqliteCatalogue, marks: &Marks) -> Result<u64, Broken> {
    let mark = marks.read()?;
    let verified = verify(catalogue, key().public(), &[], mark).await?;
    Ok(verified.events)
}

async fn is_refused(catalogue: &SqliteCatalogue, number: u64) {
    let checked = catalogue.check_audit_mark().await;
    let refused = catalogue.append_audit(&[event(number)]).await;
    for refused in [checked, refused] {
        assert!(
            matches!(&refused, Err(Error::AuditBroken { reason }) if reason.contains("resume")),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn the_end_is_marked_rarely_and_at_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let (path, marks) = (folder.path().join("c.db"), Arc::<Marks>::default());
    let one = open(&path, &marks).await;
    append(&one, 0..1).await;
    marks.at(1).await;
    for number in 1..20 {
        append(&one, number..number + 1).await;
    }
    append(&one, 20..1010).await;
    marks.at(1010).await;
    append(&one, 1010..1020).await;
    assert_eq!(
        marks.writes.load(Ordering::SeqCst),
        2,
        "not with every event"
    );
    one.close().await;
    marks.at(1020).await;
    let two = open(&path, &marks).await;
    two.check_audit_mark().await.unwrap();
    append(&two, 1020..1021).await;
    assert_eq!(found(&two, &marks).await.unwrap(), 1021);
}

#[tokio::test]
async fn a_place_that_cannot_be_written_stops_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (path, marks) = (folder.path().join("c.db"), Arc::<Marks>::default());
    marks.fails.store(true, Ordering::SeqCst);
    let one = open(&path, &marks).await;
    append(&one, 0..5).await;
    append(&one, 5..6).await;
    one.close().await;
    marks.fails.store(false, Ordering::SeqCst);
    // As where a log was signed before there were marks.
    let two = open(&path, &marks).await;
    append(&two, 6..7).await;
    marks.at(7).await;
}

#[tokio::test]
async fn an_emptied_log_is_not_a_new_one() {
    for left in [0, 5] {
        let folder = tempfile::tempdir().unwrap();
        let (path, marks) = (folder.path().join("c.db"), Arc::<Marks>::default());
        let one = open(&path, &marks).await;
        append(&one, 0..20).await;
        one.close().await;
        let two = open(&path, &marks).await;
        let mut statements: Vec<_> = TABLES
            .iter()
            .map(|table| format!("DELETE FROM {table}"))
            .collect();
        if left > 0 {
            // As if from before there were heads; nothing else gives that away.
            statements[0] = format!("DELETE FROM audit WHERE seq > {left}");
        }
        for statement in statements {
            let statement = AssertSqlSafe(statement);
            sqlx::query(statement).execute(&two.write).await.unwrap();
        }
        let broken = found(&two, &marks).await;
        match left {
            0 => assert!(
                matches!(broken, Err(Broken::BehindMark { found: 0, seq: 20 })),
                "{broken:?}"
            ),
            _ => assert!(
                matches!(broken, Err(Broken::NoHead { events: 5 })),
                "{broken:?}"
            ),
        }
        is_refused(&two, 20).await;

        // Somebody has looked into it.
        two.resume_audit(&event(100)).await.unwrap();
        assert_eq!(found(&two, &marks).await.unwrap(), left + 1);
        append(&two, 101..103).await;
        two.close().await;
        let three = open(&path, &marks).await;
        append(&three, 103..104).await;
        assert_eq!(found(&three, &marks).await.unwrap(), left + 4);
    }
}

#[tokio::test]
async fn an_older_copy_or_another_log_is_not_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let (path, marks) = (folder.path().join("c.db"), Arc::<Marks>::default());
    let older = folder.path().join("older.db");
    let one = open(&path, &marks).await;
    append(&one, 0..10).await;
    one.close().await;
    std::fs::copy(&path, &older).unwrap();
    let one = open(&path, &marks).await;
    append(&one, 10..20).await;
    one.close().await;
    marks.at(20).await;

    std::fs::copy(&older, &path).unwrap();
    let two = open(&path, &marks).await;
    let broken = found(&two, &marks).await;
    assert!(
        matches!(broken, Err(Broken::BehindMark { found: 10, seq: 20 })),
        "{broken:?}"
    );
    is_refused(&two, 20).await;
    two.close().await;
    marks.at(20).await;

    // One that is long enough, and signed with the same key, but for the mark's event.
    let another = open(&older, &Arc::default()).await;
    append(&another, 50..80).await;
    another.close().await;
    let three = open(&older, &marks).await;
    let broken = found(&three, &marks).await;
    assert!(
        matches!(broken, Err(Broken::OtherThanMarked { seq: 20 })),
        "{broken:?}"
    );
    is_refused(&three, 20).await;
}

#[tokio::test]
async fn a_process_that_knew_another_end_does_not_mark_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let (path, marks) = (folder.path().join("c.db"), Arc::<Marks>::default());
    let server = open(&path, &marks).await;
    append(&server, 0..20).await;
    let command = open(&path, &marks).await;
    for table in TABLES {
        let statement = AssertSqlSafe(format!("DELETE FROM {table}"));
        sqlx::query(statement)
            .execute(&command.write)
            .await
            .unwrap();
    }
    command.resume_audit(&event(100)).await.unwrap();
    marks.at(1).await;
    server.close().await;
    marks.at(1).await;
    append(&command, 101..102).await;
    assert_eq!(found(&command, &marks).await.unwrap(), 2);
}
