//! The power fails under the store that the server uses: SQLite on real files. What is written and
//! synced is recorded by `failing_disk.c`; from that record, disks are made as they may be found
//! afterwards, and the store is opened on each. SIGKILL, as in `chaos.rs`, loses nothing that was
//! written; this loses whatever was not synced.
#![cfg(target_os = "linux")]

mod common;
#[path = "power/disk.rs"]
mod disk;
#[path = "power/work.rs"]
mod work;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use common::{BINARY, Client, Server, command_with_log, failing_disk};
use disk::{Change, Disk, Entry, Kept, Rng, lay_out, mark, read_log};
use futures::future::join_all;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use leptos_sync_crdt::{Doc, PeerId};
use leptos_sync_protocol::ClientEvent;
use leptos_sync_storage::SqliteStorage;
use rusqlite::Connection;
use work::{Call, Contents, Step, calls, doc_id, steps};

const STORE: &str = "leptos-sync.sqlite";

/// How many power losses a store that syncs has to survive; a third of it, where less is done.
const LOSSES: u64 = 300;

/// After how many of them there are others, as many altogether.
const LOSSES_WITH_ANOTHER: u64 = 12;

/// How many are looked at at once.
const WORKERS: usize = 8;

fn of_parent(name: &str) -> PathBuf {
    std::env::var_os(name).expect("the parent sets it").into()
}

/// Marks in a log what a call of that number came to.
fn note(log: &Path, kind: u8, number: usize) {
    let log = File::options().append(true).create(true).open(log);
    let marked = log.and_then(|mut log| log.write_all(&mark(kind, number)));
    marked.expect("the log can be written");
}

/// Does all that is to be done, on the recorded disk, and marks in the record what was stored when.
#[tokio::test]
#[ignore = "run by the other tests"]
async fn works_on_a_recorded_disk() {
    let path = of_parent("FAILING_DISK_DIR").join(STORE);
    let log = of_parent("FAILING_DISK_LOG");
    let open = || SqliteStorage::open(&path).expect("the store opens");
    let (mut store, mut next) = (open(), 0);
    for step in steps() {
        match step {
            Step::Calls(calls) => {
                let numbered = (next..).zip(calls);
                let made = numbered.map(async |(number, call): (usize, Call)| {
                    note(&log, b'B', number);
                    call.make(&store).await.expect("the disk works");
                    note(&log, b'S', number);
                });
                next += join_all(made).await.len();
            }
            Step::Checkpoint => {
                let other = Connection::open(&path).expect("it opens");
                let moved = other.query_row("PRAGMA wal_checkpoint(RESTART)", [], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
                });
                assert!(matches!(moved, Ok((0, 1..))), "{moved:?}");
            }
            Step::Reopen => {
                store.close().await;
                store = open();
            }
        }
    }
    // Here, so that the disk stays as it was recorded.
    std::process::exit(0);
}

/// Starts on a recorded disk that lost its power, and makes one call.
#[tokio::test]
#[ignore = "run by the other tests"]
async fn starts_again_on_a_recorded_disk() {
    let log = of_parent("FAILING_DISK_LOG");
    let store = SqliteStorage::open(of_parent("FAILING_DISK_DIR").join(STORE));
    let store = store.expect("the store opens");
    let found = Contents::of(&store).await.expect("the store can be read");
    note(&log, b'B', 0);
    further(&found).make(&store).await.expect("the disk works");
    note(&log, b'S', 0);
    std::process::exit(0);
}

/// A disk that is recorded.
struct Recorder(tempfile::TempDir);

impl Recorder {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("disk")).expect("the folder can be made");
        Self(folder)
    }

    fn disk(&self) -> PathBuf {
        self.0.path().join("disk")
    }

    fn log(&self) -> PathBuf {
        self.0.path().join("log")
    }

    /// Marks what a call of that number came to.
    fn note(&self, kind: u8, number: usize) {
        note(&self.log(), kind, number);
    }

    /// Lets a program run on it.
    fn record<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("LD_PRELOAD", failing_disk())
            .env("FAILING_DISK_DIR", self.disk())
            .env("FAILING_DISK_LOG", self.log())
    }

    /// Lets a test of this file run on it.
    fn run(&self, test: &str) {
        let mut command = Command::new(std::env::current_exe().expect("the test's own path"));
        command.args([test, "--exact", "--include-ignored", "--nocapture"]);
        let ran = self.record(&mut command).output().expect("it runs");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }

    /// What was there before, and what was recorded, which is all that was done: it gives what is
    /// there now.
    fn entries(&self, mut entries: Vec<Entry>) -> Vec<Entry> {
        entries.extend(read_log(&fs::read(self.log()).expect("the log can be read")));
        let all = Disk::after(&entries).lose_power(Kept(100), &mut Rng(0));
        let mut folders = vec![self.disk()];
        let mut count = 0;
        while let Some(folder) = folders.pop() {
            for found in fs::read_dir(folder).expect("the folder can be read") {
                let path = found.expect("the folder can be read").path();
                let name = path.strip_prefix(self.disk()).ok().and_then(Path::to_str);
                let name = name.expect("names are text");
                if path.is_dir() {
                    folders.push(path);
                } else if !name.ends_with("-shm") {
                    let is_same = all.get(name).is_some_and(|it| fs::read(&path).unwrap() == *it);
                    assert!(is_same, "{name} was changed in a way that is not recorded");
                    count += 1;
                }
            }
        }
        assert_eq!(count, all.len(), "what was removed in a way that is not recorded");
        entries
    }
}

/// What was recorded, and what the store holds after each call.
struct Recorded {
    entries: Vec<Entry>,
    /// How many of them the disk had before anything was done.
    before: usize,
    contents: Vec<Contents>,
    /// Where it is.
    store: &'static str,
}

impl Recorded {
    /// All kinds of calls to a store.
    async fn calls() -> Self {
        let recorder = Recorder::new();
        recorder.run("works_on_a_recorded_disk");
        let entries = recorder.entries(Vec::new());
        let calls = calls();
        let count = entries.iter().filter(|entry| matches!(entry, Entry::Stored(_))).count();
        assert_eq!(count, calls.len(), "all was stored");
        let last = |wanted: fn(usize) -> bool| {
            entries.iter().rposition(|entry| match entry {
                Entry::Changed(name, Change::Written(at, _)) => {
                    name.ends_with("-wal") && wanted(*at)
                }
                _ => false,
            })
        };
        let (long, anew) = (last(|at| at > 1_000 * 4_096), last(|at| at == 0));
        assert!(long.is_some() && long < anew, "SQLite moved its log by itself, and wrote it anew");
        let contents = Contents::after_each(&calls).await;
        Self { entries, before: 0, contents, store: STORE }
    }

    /// The real server, which makes its folder, and then acknowledges changes.
    async fn server() -> Self {
        let recorder = Recorder::new();
        let mut command = command_with_log(
            &recorder.disk().join("new/data"),
            &recorder.0.path().join("server.log"),
        );
        let launched = Server::launch(recorder.record(&mut command));
        let server = launched.unwrap_or_else(|_| panic!("the server starts"));
        let mut calls = Vec::new();
        for (peer, id) in [(1, "a"), (2, "b"), (3, "a")] {
            let mut client = Client::open(&server, peer, id).await;
            for _ in 0..10 {
                let (number, block) = (calls.len(), client.write("some words "));
                calls.push(Call::Append(vec![(doc_id(id), vec![block.clone()])]));
                recorder.note(b'B', number);
                client.send(vec![block]).await;
                client.until(|event| matches!(event, ClientEvent::Acked { .. })).await;
                recorder.note(b'S', number);
            }
        }
        assert!(server.terminate());
        let mut contents = Contents::after_each(&calls).await;
        // The server's own.
        contents.iter_mut().for_each(|contents| contents.meta = None);
        let entries = recorder.entries(Vec::new());
        Self { entries, before: 0, contents, store: "new/data/leptos-sync.sqlite" }
    }

    /// A store is copied to a disk that is recorded.
    async fn backup() -> Self {
        let calls = calls();
        let data = tempfile::tempdir().expect("a folder");
        let store = SqliteStorage::open(data.path().join(STORE)).expect("the store opens");
        for call in calls.clone() {
            call.make(&store).await.expect("the disk works");
        }
        store.close().await;
        let recorder = Recorder::new();
        let mut command = Command::new(BINARY);
        command.arg("backup").arg(recorder.disk().join("copy")).arg("--data").arg(data.path());
        recorder.note(b'B', 0);
        let copied = recorder.record(&mut command).output().expect("it runs");
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        recorder.note(b'S', 0);
        let all = Contents::after_each(&calls).await;
        let contents = vec![all[0].clone(), all[calls.len()].clone()];
        Self { entries: recorder.entries(Vec::new()), before: 0, contents, store: "copy" }
    }

    /// The same, of a disk that says it synced files of these names, and did not.
    fn without_syncs_of(&self, lost: &[&str]) -> Self {
        let is_kept = |entry: &Entry| match entry {
            Entry::Changed(name, Change::Synced) => !lost.contains(&name.as_str()),
            _ => true,
        };
        let mut entries = self.entries.clone();
        let done = entries.split_off(self.before);
        entries.extend(done.into_iter().filter(is_kept));
        Self { entries, contents: self.contents.clone(), ..*self }
    }

    /// When the power fails: as likely between any two syncs or marks, whatever was written there.
    fn cut(&self, rng: &mut Rng) -> usize {
        let is_written = |entry: &Entry| {
            matches!(entry, Entry::Changed(_, Change::Written(..) | Change::Resized(_)))
        };
        let all = self.before..self.entries.len();
        let points: Vec<usize> = all.filter(|&at| !is_written(&self.entries[at])).collect();
        let at = rng.below(points.len());
        let from = at.checked_sub(1).map_or(self.before, |before| points[before] + 1);
        from + rng.below(points[at] + 2 - from)
    }

    /// Loses power once, as `seed` says.
    fn lose_power(&self, seed: u64) -> Lost<'_> {
        let mut rng = Rng(seed);
        let cut = self.cut(&mut rng);
        let kept = Kept([0, 10, 50, 90, 100][rng.below(5)]);
        let before = &self.entries[..cut];
        let files = Disk::after(before).lose_power(kept, &mut rng);
        let marks = |wanted: fn(&Entry) -> Option<usize>| {
            before.iter().filter_map(wanted).max().map_or(0, |last| last + 1)
        };
        let stored = marks(|entry| match entry {
            Entry::Stored(number) => Some(*number),
            _ => None,
        });
        let begun = marks(|entry| match entry {
            Entry::Began(number) => Some(*number),
            _ => None,
        });
        let sizes: BTreeMap<_, _> = files.iter().map(|(name, file)| (name, file.len())).collect();
        let when = format!("seed {seed}, {cut} of {} entries, {kept:?}", self.entries.len());
        let what = format!("{when}, {sizes:?}");
        Lost { files, allowed: &self.contents[stored..=begun], store: self.store, what, rng }
    }
}

/// A disk that lost its power.
struct Lost<'a> {
    files: BTreeMap<&'a str, Vec<u8>>,
    /// What the store may hold.
    allowed: &'a [Contents],
    store: &'a str,
    /// When it was, and what is left.
    what: String,
    rng: Rng,
}

impl Lost<'_> {
    /// Looks at what is left; what the store held at first, and then.
    ///
    /// # Errors
    /// What is wrong with it.
    async fn look(mut self) -> Result<[Contents; 2], String> {
        let folder = tempfile::tempdir().expect("a folder");
        lay_out(&self.files, folder.path(), &mut self.rng);
        let looked = look(&folder.path().join(self.store), self.allowed).await;
        looked.map_err(|wrong| format!("{}: {wrong}", self.what))
    }

    /// Starts the store again, recorded, on what is left. It has to be as it should.
    async fn start(mut self) -> Recorded {
        let recorder = Recorder::new();
        lay_out(&self.files, &recorder.disk(), &mut self.rng);
        let mut before = Vec::new();
        for (path, content) in &self.files {
            let change = |change| Entry::Changed((*path).to_owned(), change);
            let written = Change::Written(0, content.clone());
            before.extend([Change::Created, written, Change::Synced].map(change));
        }
        before.push(Entry::Changed(String::new(), Change::Synced));
        recorder.run("starts_again_on_a_recorded_disk");
        let count = before.len();
        let entries = recorder.entries(before);
        let contents = self.look().await.unwrap_or_else(|wrong| panic!("{wrong}"));
        Recorded { entries, before: count, contents: contents.to_vec(), store: STORE }
    }
}

/// A change that nothing has made yet to what was found.
fn further(found: &Contents) -> Call {
    let mut author = Doc::new(PeerId(u64::MAX));
    let commit = author.transact(1_000, |tx| tx.register("r").set("afterwards")).1;
    let block = author.block(&commit.expect("something was written"));
    Call::Append(vec![(doc_id(&format!("further {}", found.docs.len())), vec![block])])
}

/// Whether a store opens, holds one of these, takes another change, and is whole; what it held at
/// first, and then.
async fn look(path: &Path, allowed: &[Contents]) -> Result<[Contents; 2], String> {
    // As the server does.
    fs::create_dir_all(path.parent().expect("it is in a folder")).expect("the folder can be made");
    let store = SqliteStorage::open(path).map_err(|error| format!("{error:?}"))?;
    let found = Contents::of(&store).await.map_err(|error| format!("{error:?}"))?;
    if !allowed.iter().any(|contents| contents.allows(&found)) {
        let (least, most) = (&allowed[0], &allowed[allowed.len() - 1]);
        let (found, least, most) = (found.summary(), least.summary(), most.summary());
        return Err(format!("{found} was found; {least} was stored, {most} at most"));
    }
    further(&found).make(&store).await?;
    let then = Contents::of(&store).await.map_err(|error| format!("{error:?}"))?;
    if then == found {
        return Err("a further change is not there".to_owned());
    }
    store.close().await;
    let check = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
    let whole = Connection::open(path)
        .and_then(|store| store.query_row("PRAGMA integrity_check(1)", [], check))
        .map_err(|error| error.to_string())?;
    if whole == "ok" { Ok([found, then]) } else { Err(whole) }
}

/// Loses power once for each seed, several at a time, as each waits for the disk; until one is bad.
async fn lose_power(recorded: Recorded, seeds: Range<u64>) -> Result<(), String> {
    let recorded = Arc::new(recorded);
    stream::iter(seeds)
        .map(|seed| {
            let recorded = recorded.clone();
            tokio::spawn(async move { recorded.lose_power(seed).look().await.map(drop) })
        })
        .buffer_unordered(WORKERS)
        .map(|looked| looked.expect("looking does not panic"))
        .try_collect()
        .await
}

/// All that was stored is there, nothing else, transactions are there as a whole, and the store can
/// be written to.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn what_was_stored_survives_a_power_loss_at_any_moment() {
    let lost = lose_power(Recorded::calls().await, 0..LOSSES).await;
    assert_eq!(lost, Ok(()));
}

/// A start after a power loss writes, too: to lose power again then, or soon after, loses nothing
/// that was found, and nothing that was stored since.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn what_survived_a_power_loss_survives_another_one() {
    let recorded = Recorded::calls().await;
    for seed in 0..LOSSES_WITH_ANOTHER {
        let again = recorded.lose_power(seed).start().await;
        let lost = lose_power(again, 0..LOSSES / LOSSES_WITH_ANOTHER).await;
        assert_eq!(lost, Ok(()), "after seed {seed}");
    }
}

/// Nor does the server acknowledge anything that is lost, though it has just made its folder.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn what_a_new_server_acknowledged_survives_a_power_loss() {
    let lost = lose_power(Recorded::server().await, 0..LOSSES / 3).await;
    assert_eq!(lost, Ok(()));
}

/// A backup that was made is whole, and one that was not is not there.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_backup_that_was_made_survives_a_power_loss() {
    let lost = lose_power(Recorded::backup().await, 0..LOSSES / 3).await;
    assert_eq!(lost, Ok(()));
}

/// The tests above bite: each of the syncs is needed.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_store_that_does_not_sync_loses_what_it_acknowledged() {
    let recorded = Recorded::calls().await;
    let log = format!("{STORE}-wal");
    for lost in [&["", STORE, &log][..], &[&log], &[STORE], &[""]] {
        let found = lose_power(recorded.without_syncs_of(lost), 0..LOSSES).await;
        assert!(found.is_err(), "without syncing {lost:?} nothing was lost");
    }
    let recorded = recorded.lose_power(0).start().await;
    let found = lose_power(recorded.without_syncs_of(&[&log]), 0..LOSSES).await;
    assert!(found.is_err(), "without syncing {log} after a power loss nothing was lost");
    let recorded = Recorded::server().await;
    for lost in ["", "new", "new/data"] {
        let found = lose_power(recorded.without_syncs_of(&[lost]), 0..LOSSES).await;
        assert!(found.is_err(), "without syncing {lost:?} nothing was lost");
    }
    let recorded = Recorded::backup().await;
    for lost in ["", "copy.part"] {
        let found = lose_power(recorded.without_syncs_of(&[lost]), 0..LOSSES).await;
        assert!(found.is_err(), "without syncing {lost:?} no backup was lost");
    }
}
