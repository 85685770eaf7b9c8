//! The SQLite store: the conformance suite, and what happens when the process or the disk fails.
#![cfg(not(target_family = "wasm"))]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use leptos_sync_storage::conformance::{Subject, blocks, doc};
use leptos_sync_storage::{
    AppendError, BackupError, OpenError, ReadError, Snapshot, SqliteOptions, SqliteStorage,
    Storage, conformance_suite,
};
use tempfile::TempDir;

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("sync.db")
    }
}

impl Subject for Place {
    type Store = SqliteStorage;

    async fn open(&self) -> SqliteStorage {
        SqliteStorage::open(self.path()).expect("the store opens")
    }
}

conformance_suite!(tokio::test, Place::new());

/// Runs one test of this binary in a process of its own, with `shell` set up before it.
fn child(test: &str, path: &Path, shell: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!("{shell} exec \"$0\" --exact {test} --nocapture --include-ignored"))
        .arg(std::env::current_exe().expect("the test's own path"))
        .env("STORE", path)
        .stdout(Stdio::piped());
    command
}

fn childs_store() -> SqliteStorage {
    SqliteStorage::open(std::env::var_os("STORE").expect("set by the parent")).expect("opens")
}

#[tokio::test]
#[ignore = "run by sigkill_loses_no_answered_append"]
async fn appends_until_killed() {
    let store = childs_store();
    for block in blocks(7, 100_000, 1, "typed before the kill") {
        let seq = block.seq();
        store.append(vec![(doc("a"), vec![block])]).await.unwrap();
        eprintln!("answered {seq}");
    }
}

#[tokio::test]
async fn sigkill_loses_no_answered_append() {
    let place = Place::new();
    let mut child = child("appends_until_killed", &place.path(), "exec 2>&1;").spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut answered = lines.filter_map(|line| line.strip_prefix("answered ")?.parse::<u32>().ok());
    let seen = answered.find(|&seq| seq == 50).expect("the child writes");
    child.kill().unwrap();
    let last = answered.last().unwrap_or(seen);
    child.wait().unwrap();
    let stored = place.open().await.load(&doc("a")).await.unwrap().blocks;
    assert!(stored.len() as u32 > last, "{} stored, {last} answered", stored.len());
    let seqs: Vec<u32> = stored.iter().map(leptos_sync_crdt::Block::seq).collect();
    assert_eq!(seqs, (0..stored.len() as u32).collect::<Vec<_>>(), "no gap");
}

#[tokio::test]
#[ignore = "run by a_disk_that_fails_stops_all_writes_by_name"]
async fn writes_to_a_failing_disk() {
    let store = childs_store();
    let mut blocks = blocks(7, 500, 1, &"x".repeat(4_000)).into_iter();
    let mut answered = 0;
    let failed = loop {
        let block = blocks.next().expect("the limit is below all of them");
        match store.append(vec![(doc("a"), vec![block])]).await {
            Ok(()) => answered += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(failed, AppendError::Broken { .. }), "{failed:?}");
    let small = store.put_meta("k", b"v").await;
    assert!(matches!(small, Err(AppendError::Broken { .. })), "{small:?}");
    assert_eq!(store.load(&doc("a")).await.unwrap().blocks.len(), answered, "reading goes on");
    eprintln!("answered {answered}");
}

/// Past the file size limit the kernel fails each write, as a dying disk does.
#[tokio::test]
async fn a_disk_that_fails_stops_all_writes_by_name() {
    let place = Place::new();
    drop(place.open().await);
    let limits = "exec 2>&1; trap '' XFSZ; ulimit -f 600;";
    let output = child("writes_to_a_failing_disk", &place.path(), limits).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    let answered = text.lines().find_map(|line| line.strip_prefix("answered ")).expect("counted");
    let stored = place.open().await.load(&doc("a")).await.unwrap().blocks.len();
    assert!(stored >= answered.parse().unwrap(), "{stored} stored, {answered} answered");
}

#[tokio::test]
async fn a_full_store_says_so_and_goes_on_when_there_is_room() {
    let place = Place::new();
    let mut options = SqliteOptions::default();
    options.bytes_max = Some(256 * 1024);
    let store = SqliteStorage::open_with(place.path(), options).unwrap();
    let written = blocks(7, 100, 1, &"x".repeat(10_000));
    let mut stored = 0;
    let full = loop {
        match store.append(vec![(doc("a"), vec![written[stored].clone()])]).await {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, AppendError::QuotaExceeded), "{full:?}");
    assert_eq!(store.load(&doc("a")).await.unwrap().blocks, written[..stored]);
    store.remove(&doc("a")).await.unwrap();
    store.append(vec![(doc("a"), vec![written[0].clone()])]).await.unwrap();
}

#[tokio::test]
async fn concurrent_appends_share_commits_and_are_each_answered() {
    let place = Place::new();
    let store = place.open().await;
    let tasks: Vec<_> = (0..200)
        .map(|peer| {
            let store = store.clone();
            tokio::spawn(async move {
                let text = if peer % 10 == 0 { "bad" } else { "good" };
                store.append(vec![(doc("a"), blocks(1 + peer / 2, 1, 1, text))]).await
            })
        })
        .collect();
    let mut refused = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(()) => {}
            Err(AppendError::DuplicatePeer { .. }) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(refused, 20, "of each contradicting pair the second, and nobody else");
    assert_eq!(store.load(&doc("a")).await.unwrap().blocks.len(), 100);
}

#[tokio::test]
async fn a_lock_held_by_another_process_is_blocked_by_name() {
    let place = Place::new();
    let mut options = SqliteOptions::default();
    options.busy_timeout = Duration::from_millis(20);
    let store = SqliteStorage::open_with(place.path(), options).unwrap();
    let other = rusqlite::Connection::open(place.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let write = || store.append(vec![(doc("a"), blocks(1, 1, 1, "x"))]);
    let blocked = write().await;
    assert!(matches!(blocked, Err(AppendError::Blocked)), "{blocked:?}");
    assert!(store.load(&doc("a")).await.unwrap().is_empty(), "readers are not blocked");
    other.execute_batch("COMMIT").unwrap();
    write().await.unwrap();
}

/// Each wait for the lock takes the whole timeout, so forty waits would be noticed.
#[tokio::test]
async fn calls_that_queue_up_behind_a_lock_are_refused_together() {
    let place = Place::new();
    let mut options = SqliteOptions::default();
    options.busy_timeout = Duration::from_millis(100);
    let store = SqliteStorage::open_with(place.path(), options).unwrap();
    let other = rusqlite::Connection::open(place.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let start = Instant::now();
    let calls: Vec<_> = (0..40)
        .map(|call| {
            let store = store.clone();
            tokio::spawn(async move { store.put_meta(&format!("k/{call}"), b"v").await })
        })
        .collect();
    for call in calls {
        let refused = call.await.unwrap();
        assert!(matches!(refused, Err(AppendError::Blocked)), "{refused:?}");
    }
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_store_that_another_process_locks_is_not_opened() {
    let place = Place::new();
    drop(place.open().await);
    let other = rusqlite::Connection::open(place.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut options = SqliteOptions::default();
    options.busy_timeout = Duration::from_millis(20);
    let refused = SqliteStorage::open_with(place.path(), options).map(drop);
    assert!(matches!(refused, Err(OpenError::Blocked)), "{refused:?}");
    other.execute_batch("COMMIT").unwrap();
    SqliteStorage::open_with(place.path(), options).unwrap();
}

#[tokio::test]
async fn a_limit_beyond_all_disks_is_none() {
    let place = Place::new();
    let mut options = SqliteOptions::default();
    options.bytes_max = Some(u64::MAX);
    let store = SqliteStorage::open_with(place.path(), options).unwrap();
    store.append(vec![(doc("a"), blocks(7, 1, 1, &"x".repeat(1_000_000)))]).await.unwrap();
}

#[tokio::test]
async fn writes_of_another_process_are_noticed() {
    let place = Place::new();
    let (ours, theirs) = (place.open().await, place.open().await);
    assert_eq!(ours.external_changes().await.unwrap(), []);
    ours.append(vec![(doc("mine"), blocks(1, 1, 1, "x"))]).await.unwrap();
    assert_eq!(ours.external_changes().await.unwrap(), [], "our own writes are no news");
    theirs.append(vec![(doc("b"), blocks(2, 2, 1, "x"))]).await.unwrap();
    theirs.append(vec![(doc("a"), blocks(2, 2, 1, "x"))]).await.unwrap();
    assert_eq!(ours.external_changes().await.unwrap(), [doc("a"), doc("b")]);
    assert_eq!(ours.external_changes().await.unwrap(), [], "once");
    let seen_there = theirs.external_changes().await.unwrap();
    assert!(seen_there.contains(&doc("mine")), "it had opened before: {seen_there:?}");
}

#[tokio::test]
async fn what_another_process_compacted_before_it_was_noticed_is_noticed() {
    let place = Place::new();
    let (ours, theirs) = (place.open().await, place.open().await);
    let news = blocks(2, 2, 2, "x");
    theirs.append(vec![(doc("a"), news.clone())]).await.unwrap();
    let version = [(news[0].peer(), news[1].end())].into_iter().collect();
    let snapshot = Snapshot { version, bytes: b"both".to_vec() };
    theirs.compact(&doc("a"), snapshot.clone()).await.unwrap();
    assert_eq!(ours.external_changes().await.unwrap(), [doc("a")]);
    theirs.append(vec![(doc("b"), blocks(2, 2, 1, "x"))]).await.unwrap();
    assert_eq!(ours.external_changes().await.unwrap(), [doc("b")], "once");
    theirs.compact(&doc("a"), Snapshot { bytes: b"longer".to_vec(), ..snapshot }).await.unwrap();
    assert_eq!(ours.external_changes().await.unwrap(), [doc("a")]);
}

#[tokio::test]
async fn a_closed_store_refuses_by_name_and_leaves_one_file() {
    let place = Place::new();
    let store = place.open().await;
    store.append(vec![(doc("a"), blocks(1, 1, 1, "x"))]).await.unwrap();
    let clone = store.clone();
    store.close().await;
    store.close().await;
    assert!(matches!(clone.append(vec![]).await, Err(AppendError::Closed)));
    assert!(matches!(clone.docs().await, Err(ReadError::Closed)));
    assert!(matches!(clone.external_changes().await, Err(ReadError::Closed)));
    let log = place.path().with_extension("db-wal");
    let log_bytes = log.metadata().map_or(0, |meta| meta.len());
    assert_eq!(log_bytes, 0, "the log was moved into the file");
    assert_eq!(place.open().await.load(&doc("a")).await.unwrap().blocks.len(), 1);
}

#[tokio::test]
async fn a_damaged_block_is_corrupt_by_name() {
    let place = Place::new();
    let store = place.open().await;
    for id in ["damaged", "whole"] {
        store.append(vec![(doc(id), blocks(1, 2, 1, "x"))]).await.unwrap();
    }
    let snapshot = Snapshot { version: Default::default(), bytes: vec![] };
    store.compact(&doc("whole"), snapshot).await.unwrap();
    rusqlite::Connection::open(place.path())
        .unwrap()
        .execute_batch(
            "UPDATE blocks SET bytes = zeroblob(40)
             WHERE seq = 1 AND doc = (SELECT id FROM docs WHERE name = 'damaged');
             UPDATE snapshots SET version = x'ff';",
        )
        .unwrap();
    for id in ["damaged", "whole"] {
        let corrupt = store.load(&doc(id)).await;
        assert!(
            matches!(&corrupt, Err(ReadError::Corrupt { doc: at, .. }) if *at == doc(id)),
            "{corrupt:?}"
        );
    }
    let compared = store.append(vec![(doc("damaged"), blocks(1, 2, 1, "x"))]).await;
    assert!(matches!(compared, Err(AppendError::Corrupt { .. })), "{compared:?}");
}

#[tokio::test]
async fn a_backup_has_what_was_stored_at_one_moment_while_writing_goes_on() {
    let place = Place::new();
    let store = place.open().await;
    store.put_meta("epoch", &[7]).await.unwrap();
    let (all, batch) = (blocks(1, 400, 1, "typed meanwhile"), 20);
    store.append(vec![(doc("a"), all[..batch].to_vec())]).await.unwrap();
    let copies: Vec<_> = (0..8).map(|number| place.0.path().join(format!("{number}.db"))).collect();
    let (from, to) = (place.path(), copies.clone());
    let copying = tokio::task::spawn_blocking(move || {
        to.iter().try_for_each(|to| SqliteStorage::back_up(&from, to))
    });
    for block in &all[batch..] {
        // A transaction of two documents is in a copy as a whole or not at all.
        let both = vec![(doc("a"), vec![block.clone()]), (doc("b"), vec![block.clone()])];
        store.append(both).await.unwrap_or_else(|error| panic!("{error:?}"));
    }
    copying.await.unwrap().unwrap();
    let mut least = batch;
    for copy in copies {
        let copy = SqliteStorage::open(copy).unwrap();
        let [a, b] = [copy.load(&doc("a")).await.unwrap(), copy.load(&doc("b")).await.unwrap()];
        assert!(a.blocks.len() >= least && a.blocks == all[..a.blocks.len()]);
        assert_eq!(a.blocks.len(), batch + b.blocks.len());
        assert_eq!(copy.get_meta("epoch").await.unwrap(), Some(vec![7]));
        least = a.blocks.len();
    }
}

#[tokio::test]
async fn a_backup_overwrites_nothing_and_leaves_nothing_behind() {
    let place = Place::new();
    let store = place.open().await;
    store.append(vec![(doc("a"), blocks(1, 3, 1, "kept"))]).await.unwrap();
    let there = place.0.path().join("there.db");
    std::fs::write(&there, "mine").unwrap();
    let refused = SqliteStorage::back_up(place.path(), &there);
    assert!(matches!(&refused, Err(BackupError::Exists(name)) if *name == there), "{refused:?}");
    assert_eq!(std::fs::read(&there).unwrap(), b"mine");
    let nowhere = place.0.path().join("no/such.db");
    let refused = SqliteStorage::back_up(place.path(), &nowhere);
    assert!(matches!(refused, Err(BackupError::Copy(_))), "{refused:?}");
    let refused = SqliteStorage::back_up(&there, nowhere);
    assert!(matches!(refused, Err(BackupError::Open(OpenError::Corrupt(_)))), "{refused:?}");
    // Of a try that was killed.
    let copy = place.0.path().join("copy.db");
    std::fs::write(place.0.path().join("copy.db.part"), "half").unwrap();
    SqliteStorage::back_up(place.path(), &copy).unwrap();
    let names = std::fs::read_dir(place.0.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| !name.starts_with("sync.db"));
    names.sort();
    assert_eq!(names, ["copy.db", "there.db"]);
}
