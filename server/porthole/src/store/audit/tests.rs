//! What somebody with the database's file, or the server's account, can do and how it shows.

use std::path::Path;

use super::search::Wanted;
use super::*;
use crate::store::tests::new_store;

async fn filled() -> (tempfile::TempDir, Store) {
    let (directory, store) = new_store();
    for object in ["one", "two", "three"] {
        note(&store, object).await;
    }
    (directory, store)
}

async fn note(store: &Store, object: &str) -> Record {
    let by = Actor {
        account: "ann".into(),
        via: "login",
        address: "192.0.2.1".into(),
    };
    let note = Note::asked(&by, Act::SessionOpen, object).with(json!({"container": "web"}));
    store.record(note).await.expect("written")
}

fn tamper(directory: &tempfile::TempDir, sql: &str) -> rusqlite::Result<()> {
    let db = Connection::open(directory.path().join("porthole.db"))?;
    db.execute_batch(sql)
}

const UNLOCK: &str = "DROP TRIGGER audit_is_not_changed; DROP TRIGGER audit_is_not_shortened; ";

async fn verified(store: &Store) -> Result<Verified, Broken> {
    store.audit_verify().await.expect("read")
}

fn newest(store: &Store, wanted: &Wanted) -> Vec<String> {
    let found = store.audit_entries_now(wanted, 100);
    found.into_iter().map(|f| f.record.object).collect()
}

#[tokio::test]
async fn an_untouched_trail_holds() {
    let (_directory, store) = filled().await;
    let verified = verified(&store).await.expect("whole");
    assert_eq!(verified.read, 3);
    assert_eq!(verified.head, store.audit_head().expect("read"));
    assert_eq!(newest(&store, &Wanted::default()), ["three", "two", "one"]);
}

#[tokio::test]
async fn the_database_itself_refuses_changes() {
    let (directory, store) = filled().await;
    for sql in ["UPDATE audit SET account = 'bob'", "DELETE FROM audit"] {
        let error = tamper(&directory, sql).expect_err("refused");
        assert!(error.to_string().contains("only added to"), "{error}");
    }
    assert!(verified(&store).await.is_ok());
}

#[tokio::test]
async fn a_changed_database_shows() {
    for (sql, broken) in [
        ("UPDATE audit SET account = 'bob' WHERE number = 2", 2),
        ("UPDATE audit SET at = at + 1 WHERE number = 1", 1),
        ("UPDATE audit SET detail = 'x' WHERE number = 3", 3),
        // The same to a reader of JSON, and not what was written.
        ("UPDATE audit SET result = 'done' WHERE number = 3", 3),
        ("DELETE FROM audit WHERE number = 1", 1),
        ("DELETE FROM audit WHERE number = 2", 2),
        // Two that change places.
        (
            "UPDATE audit SET number = 9 WHERE number = 1; UPDATE audit SET number = 1 WHERE number = 2;
             UPDATE audit SET number = 2 WHERE number = 9",
            1,
        ),
        (
            "INSERT INTO audit SELECT number + 1, at, account, act, object, detail, hash, hash, format, via, address, result, of
             FROM audit WHERE number = 3",
            4,
        ),
    ] {
        let (directory, store) = filled().await;
        tamper(&directory, &format!("{UNLOCK}{sql}")).expect("the triggers are gone");
        let found = verified(&store).await.expect_err(sql);
        assert_eq!(found.number, broken, "{sql}: {found}");
        assert!(found.to_string().contains(&format!("Entry {broken} ")));
    }
}

#[tokio::test]
async fn a_tail_cut_off_shows_to_who_knows_a_head() {
    let (directory, store) = filled().await;
    let path = directory.path().join("porthole.db");
    let head = store.audit_head().expect("read").expect("there");
    assert!(
        keep::verify(&path, vec![head.clone()])
            .expect("read")
            .is_ok()
    );
    tamper(
        &directory,
        &format!("{UNLOCK}DELETE FROM audit WHERE number = 3"),
    )
    .expect("cut");
    assert!(verified(&store).await.is_ok(), "by itself nobody can tell");
    let found = keep::verify(&path, vec![head.clone()]).expect("read");
    assert_eq!(found.expect_err("found").number, 3);
    // And what is written in its place is another.
    note(&store, "four").await;
    let found = keep::verify(&path, vec![head]).expect("read");
    assert_eq!(found.expect_err("found").number, 3);
}

#[tokio::test]
async fn what_was_done_is_found_with_how_it_ended() {
    let (_directory, store) = new_store();
    let asked = note(&store, "50%").await;
    note(&store, "500").await;
    let outcome = Note {
        outcome: Outcome::Refused,
        of: asked.number,
        ..Note::asked(&Actor::server(), Act::SessionOpen, "50%").with(json!({"why": "no shell"}))
    };
    store.record(outcome).await.expect("written");
    let wanted = |object: &str| Wanted {
        object: object.into(),
        ..Wanted::default()
    };
    let found = store.audit_entries_now(&wanted("50%"), 9);
    assert_eq!(found.len(), 1, "its letters, and the outcome with it");
    let ended = found[0].ended.clone().expect("told");
    assert_eq!((&*ended.result, &*ended.why), ("refused", "no shell"));
    assert_eq!(ended.made, None);
    assert_eq!(newest(&store, &wanted("WEB")).len(), 2, "in the detail too");
    let asked_for = note(&store, "").await;
    let made = Note {
        outcome: Outcome::Done,
        of: asked_for.number,
        ..Note::asked(&Actor::server(), Act::ContainerCreate, "c0ffee")
    };
    store.record(made).await.expect("written");
    let found = store.audit_entries_now(&wanted("c0ffee"), 9);
    assert_eq!(found.len(), 1, "by what was made");
    assert_eq!(found[0].record.number, asked_for.number);
    let made = found[0].ended.clone().and_then(|ended| ended.made);
    assert_eq!(made.as_deref(), Some("c0ffee"));
    let at = i64::try_from(asked.at.0).expect("now");
    for (wanted, count) in [
        (
            Wanted {
                account: "ann".into(),
                ..Wanted::default()
            },
            3,
        ),
        (
            Wanted {
                account: "an".into(),
                ..Wanted::default()
            },
            0,
        ),
        (
            Wanted {
                act: "session_open".into(),
                ..Wanted::default()
            },
            3,
        ),
        (
            Wanted {
                act: "sign_in".into(),
                ..Wanted::default()
            },
            0,
        ),
        (
            Wanted {
                since: Some(at),
                ..Wanted::default()
            },
            3,
        ),
        (
            Wanted {
                until: Some(at),
                ..Wanted::default()
            },
            0,
        ),
        (
            Wanted {
                before: Some(2),
                ..Wanted::default()
            },
            1,
        ),
        (
            Wanted {
                outcomes: true,
                ..Wanted::default()
            },
            5,
        ),
        (
            Wanted {
                after: Some(1),
                outcomes: true,
                ..Wanted::default()
            },
            4,
        ),
    ] {
        let found = store.audit_entries_now(&wanted, 100);
        assert_eq!(found.len(), count, "{wanted:?}");
    }
}

fn archives(directory: &Path) -> Vec<std::path::PathBuf> {
    let found = std::fs::read_dir(directory.join("audit")).expect("archives");
    let mut paths: Vec<_> = found.map(|e| e.expect("an entry").path()).collect();
    paths.sort();
    paths
}

#[tokio::test]
async fn what_does_not_fit_goes_into_files_and_stays_in_the_chain() {
    let (directory, store) = new_store();
    for number in 0..30 {
        note(&store, &format!("n{number}")).await;
    }
    assert!(!store.archive_audit(30).await.expect("looked"), "not yet");
    assert!(store.archive_audit(20).await.expect("done"));
    for number in 30..50 {
        note(&store, &format!("n{number}")).await;
    }
    assert!(store.archive_audit(20).await.expect("done"));
    let all = archives(directory.path());
    let names: Vec<_> = all.iter().map(|p| p.file_name().expect("a name")).collect();
    assert_eq!(
        names,
        [
            "000000000001-000000000010.jsonl",
            "000000000011-000000000031.jsonl"
        ]
    );
    let whole = verified(&store).await.expect("whole");
    assert_eq!((whole.read, whole.elsewhere.len()), (52, 0));
    let error = tamper(&directory, "DELETE FROM audit WHERE number > 32").expect_err("refused");
    assert!(error.to_string().contains("only added to"), "{error}");

    // A file that is changed is found, one that was taken away is told.
    let second = std::fs::read_to_string(&all[1]).expect("read");
    std::fs::write(&all[1], second.replacen("\"n15\"", "\"n99\"", 1)).expect("written");
    assert_eq!(verified(&store).await.expect_err("found").number, 16);
    std::fs::write(&all[1], second.lines().next().expect("a line")).expect("written");
    assert_eq!(verified(&store).await.expect_err("cut off").number, 12);
    std::fs::write(&all[1], "{}\n").expect("written");
    assert_eq!(verified(&store).await.expect_err("no entry").number, 11);
    std::fs::write(&all[1], &second).expect("written");
    assert!(verified(&store).await.is_ok(), "the control");
    let alone = keep::verify_file(&all[0], Vec::new()).expect("read");
    assert_eq!(alone.expect("whole").read, 10);
    std::fs::remove_file(&all[0]).expect("taken away");
    let less = verified(&store).await.expect("closed by a checkpoint");
    assert_eq!(less.elsewhere, [(1, 10)]);

    // A run that was killed when its file was written: the next one begins again.
    let path = directory.path().join("porthole.db");
    keep::write_archive(&path, 32, 40).expect("written");
    assert!(verified(&store).await.is_ok(), "they are in both");
    for number in 50..60 {
        note(&store, &format!("n{number}")).await;
    }
    assert!(store.archive_audit(20).await.expect("done"));
    assert!(verified(&store).await.is_ok());
    assert_eq!(archives(directory.path()).len(), 2, "one was taken away");
}
