//! What is written to storage, when, and what becomes of failures.

use leptos_sync_crdt::{DecodeError, Doc, DocId, PeerId, VersionVector};
use leptos_sync_storage::{AppendError, BackendError, CompactError, ReadError, StoredDoc};

use super::link_tests::Wire;
use super::records::{Acked, ServerLife, acked_key};
use super::tabs::TabMessage;
use super::tests::{at, board, changes, damaged, loaded, outputs, posted, write};
use super::{Core, Job, JobResult, Loaded, OpenDoc, Output};
use crate::config::EngineConfig;
use crate::status::{StorageFault, StorageHealth};

fn other_board() -> DocId {
    DocId::new("board/43").expect("a valid id")
}

fn nothing() -> Loaded {
    Loaded { stored: StoredDoc::default(), acked: None }
}

fn append(core: &mut Core, ms: u64, result: Result<(), AppendError>) {
    let job = core.next_job(at(ms));
    assert!(matches!(job, Some(Job::Append(_))), "{job:?}");
    core.job_finished(at(ms), JobResult::Append(result));
}

#[test]
fn each_failure_has_its_name() {
    use StorageFault::{Blocked, Closed, Corrupt, Failed, QuotaExceeded, Unavailable};
    let damaged = || DecodeError::UnexpectedEnd;
    let (doc, gone) = (board(), || BackendError::new("gone"));
    for (error, fault) in [
        (AppendError::QuotaExceeded, QuotaExceeded),
        (AppendError::Closed, Closed),
        (AppendError::Blocked, Blocked),
        (AppendError::Unavailable, Unavailable),
        (AppendError::Corrupt { doc: doc.clone(), source: damaged() }, Corrupt),
        (AppendError::Broken { detail: String::new() }, Failed),
        (AppendError::Backend(gone()), Failed),
    ] {
        assert_eq!(StorageFault::from(&error), fault, "{error:?}");
    }
    for (error, fault) in [
        (CompactError::QuotaExceeded, QuotaExceeded),
        (CompactError::Closed, Closed),
        (CompactError::Blocked, Blocked),
        (CompactError::Unavailable, Unavailable),
        (CompactError::Corrupt { doc: doc.clone(), source: damaged() }, Corrupt),
        (CompactError::Backend(gone()), Failed),
    ] {
        assert_eq!(StorageFault::from(&error), fault, "{error:?}");
    }
    for (error, fault) in [
        (ReadError::Closed, Closed),
        (ReadError::Blocked, Blocked),
        (ReadError::Unavailable, Unavailable),
        (ReadError::Corrupt { doc, source: damaged() }, Corrupt),
        (ReadError::Backend(gone()), Failed),
    ] {
        assert_eq!(StorageFault::from(&error), fault, "{error:?}");
    }
}

#[test]
fn a_store_that_fails_is_tried_less_and_less_often() {
    let mut core = loaded(false);
    write(&mut core, at(1));
    let mut now = 1;
    let mut delays = Vec::new();
    for _ in 0..9 {
        append(&mut core, now, Err(AppendError::QuotaExceeded));
        let due = core.deadline().expect("it is tried again");
        assert!(core.next_job(at(due - 1)).is_none());
        delays.push(due - now);
        now = due;
    }
    assert_eq!(delays, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
    append(&mut core, now, Ok(()));
    write(&mut core, at(now));
    append(&mut core, now, Err(AppendError::QuotaExceeded));
    assert_eq!(core.deadline(), Some(now + 500), "that it worked is remembered");
}

#[test]
fn a_document_that_cannot_be_read_is_read_again() {
    let mut core = Core::new(EngineConfig::default(), 1, false);
    core.open(&board());
    core.peer = PeerId(7);
    core.load_finished(at(1), &board(), Err(ReadError::Blocked));
    assert_eq!(core.status().storage, StorageHealth::Failing(StorageFault::Blocked));
    assert!(!core.is_loaded(&board()));
    outputs(&mut core);
    let reads = |core: &mut Core, ms: u64| {
        core.tick(at(ms));
        outputs(core).iter().any(|output| matches!(output, Output::Load(_)))
    };
    assert_eq!(core.deadline(), Some(5_001));
    assert!(!reads(&mut core, 5_000));
    assert!(reads(&mut core, 5_001));
    assert!(!reads(&mut core, 5_002), "it is being read");
    assert_eq!(core.deadline(), Some(35_001), "but maybe for ever");
    core.load_finished(at(6_000), &board(), Ok(nothing()));
    assert_eq!(core.status().storage, StorageHealth::Healthy);
    assert!(core.is_loaded(&board()));
    assert_eq!(core.deadline(), None);
}

#[test]
fn reading_that_works_again_does_not_say_that_writing_does() {
    let mut core = Core::new(EngineConfig::default(), 1, false);
    core.open(&board());
    core.peer = PeerId(7);
    core.load_finished(at(1), &board(), Err(ReadError::Unavailable));
    write(&mut core, at(2));
    assert!(!core.status().saved_here);
    core.load_finished(at(3), &board(), Ok(nothing()));
    assert_ne!(core.status().storage, StorageHealth::Healthy);
    let due = core.deadline().expect("it is tried again");
    append(&mut core, due, Ok(()));
    assert_eq!(core.status().storage, StorageHealth::Healthy);
    assert!(core.status().saved_here);
}

/// An engine that compacts after three blocks or that many bytes.
fn compacting(compact_bytes: usize) -> Core {
    let config = EngineConfig { compact_blocks: 3, compact_bytes, ..EngineConfig::default() };
    let mut core = Core::new(config, 1, false);
    core.open(&board());
    core.peer = PeerId(7);
    core.load_finished(at(0), &board(), Ok(nothing()));
    outputs(&mut core);
    core
}

#[test]
fn a_long_log_becomes_a_snapshot_of_what_is_stored() {
    let mut core = compacting(usize::MAX);
    for ms in [1, 2] {
        write(&mut core, at(ms));
        append(&mut core, ms, Ok(()));
        assert!(core.next_job(at(ms)).is_none(), "it is short");
    }
    write(&mut core, at(3));
    append(&mut core, 3, Ok(()));
    let Some(Job::Compact { doc, snapshot }) = core.next_job(at(4)) else { panic!("it is long") };
    assert_eq!((doc, snapshot.version.get(PeerId(7))), (board(), 3));
    let restored = Doc::from_snapshot(PeerId(1), &snapshot.bytes).expect("our own snapshot");
    assert_eq!(restored.counter("n"), 3);
    core.job_finished(at(5), JobResult::Compact(board(), Ok(())));
    assert!(core.next_job(at(6)).is_none(), "it is short again");
    write(&mut core, at(7));
    append(&mut core, 7, Ok(()));
    assert!(core.next_job(at(8)).is_none(), "it is counted anew");
}

#[test]
fn a_log_of_many_bytes_becomes_a_snapshot_too() {
    let mut core = compacting(1);
    write(&mut core, at(1));
    append(&mut core, 1, Ok(()));
    assert!(matches!(core.next_job(at(2)), Some(Job::Compact { .. })));
    let mut probe = compacting(usize::MAX);
    let bytes = write(&mut probe, at(1)).bytes().len();
    let mut core = compacting(2 * bytes - 4);
    write(&mut core, at(1));
    append(&mut core, 1, Ok(()));
    assert!(core.next_job(at(2)).is_none());
    write(&mut core, at(2));
    append(&mut core, 2, Ok(()));
    assert!(matches!(core.next_job(at(3)), Some(Job::Compact { .. })));
}

#[test]
fn a_log_that_was_long_when_it_was_read_is_compacted() {
    let mut author = Doc::new(PeerId(7));
    for _ in 0..3 {
        author.transact(0, |tx| tx.counter("n").add(1));
    }
    let blocks = author.blocks_since(&VersionVector::new());
    let mut core = compacting(usize::MAX);
    core.open(&other_board());
    let stored = StoredDoc { snapshot: None, blocks };
    core.load_finished(at(1), &other_board(), Ok(Loaded { stored, acked: None }));
    let job = core.next_job(at(2));
    assert!(matches!(&job, Some(Job::Compact { doc, .. }) if *doc == other_board()), "{job:?}");
}

#[test]
fn a_compaction_that_failed_is_tried_again_after_a_pause() {
    let mut core = compacting(1);
    write(&mut core, at(1));
    append(&mut core, 1, Ok(()));
    assert!(matches!(core.next_job(at(2)), Some(Job::Compact { .. })));
    let full = Err(CompactError::QuotaExceeded);
    core.job_finished(at(1_000), JobResult::Compact(board(), full));
    assert_eq!(core.status().storage, StorageHealth::Failing(StorageFault::QuotaExceeded));
    assert_eq!(core.deadline(), Some(31_000));
    assert!(core.next_job(at(30_999)).is_none());
    assert!(matches!(core.next_job(at(31_000)), Some(Job::Compact { .. })));
    outputs(&mut core);
    let stale = Err(CompactError::Stale { doc: board() });
    core.job_finished(at(31_001), JobResult::Compact(board(), stale));
    let rereads =
        |output: &Output| matches!(output, Output::Reread(ids, _) if ids[..] == [board()]);
    assert!(outputs(&mut core).iter().any(rereads), "another tab has stored more");
}

#[test]
fn changes_are_not_kept_waiting_by_a_damaged_document() {
    let mut core = loaded(false);
    core.open(&other_board());
    core.load_finished(at(0), &other_board(), Ok(nothing()));
    let content = core.open(&other_board());
    let commit = content.borrow_mut().transact(0, |tx| tx.counter("n").add(1)).1;
    let commit = commit.expect("something was written");
    core.committed(at(1), vec![(other_board(), commit)]);
    write(&mut core, at(1));
    outputs(&mut core);
    let corrupt = AppendError::Corrupt { doc: board(), source: DecodeError::UnexpectedEnd };
    append(&mut core, 1, Err(corrupt));
    assert_eq!(core.status().storage, StorageHealth::Failing(StorageFault::Corrupt));
    let due = core.deadline().expect("the other one is tried again");
    let Some(Job::Append(batch)) = core.next_job(at(due)) else { panic!("nothing to store") };
    assert_eq!(batch.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>(), [other_board()]);
    core.job_finished(at(due), JobResult::Append(Ok(())));
    assert!(core.doc_status(&other_board()).expect("it is open").saved_here);
    assert!(!core.doc_status(&board()).expect("it is open").saved_here);
    outputs(&mut core);
    write(&mut core, at(due + 1));
    let told = posted(&outputs(&mut core));
    assert!(matches!(&told[..], [TabMessage::Changes { stored: false, .. }]), "{told:?}");
    assert!(core.next_job(at(due + 1)).is_none());
}

#[test]
fn a_damaged_snapshot_is_named_and_left_alone() {
    let core = damaged();
    assert_eq!(core.status().storage, StorageHealth::Failing(StorageFault::Corrupt));
}

#[test]
fn a_change_that_was_told_while_storage_failed_is_not_told_again() {
    let mut core = loaded(false);
    write(&mut core, at(1));
    append(&mut core, 1, Err(AppendError::QuotaExceeded));
    assert_eq!(posted(&outputs(&mut core)).len(), 1);
    let due = core.deadline().expect("it is tried again");
    append(&mut core, due, Ok(()));
    assert_eq!(posted(&outputs(&mut core)), []);
    write(&mut core, at(due + 1));
    assert_eq!(posted(&outputs(&mut core)), [], "storage works again");
}

fn known(core: &mut Core) -> &mut OpenDoc {
    core.docs.get_mut(&board()).expect("it is open")
}

#[test]
fn what_the_server_acknowledged_is_noted_a_moment_later() {
    let life = ServerLife { server: 9, epoch: 1 };
    let acked: VersionVector = [(PeerId(7), 1)].into_iter().collect();
    let mut core = loaded(true);
    write(&mut core, at(1));
    append(&mut core, 1, Ok(()));
    known(&mut core).forget_acknowledgements(at(2), life);
    known(&mut core).acknowledge(at(100), &acked);
    known(&mut core).acknowledge(at(200), &acked);
    assert_eq!(core.deadline(), Some(302), "the first news counts");
    assert!(core.next_job(at(301)).is_none());
    let Some(Job::Meta { key, value: Some(value) }) = core.next_job(at(302)) else {
        panic!("nothing to note")
    };
    assert_eq!(key, acked_key(&board()));
    let noted = Acked { life, acked: acked.clone(), ever: acked, read: None };
    assert_eq!(Acked::decode(&value), Ok(noted));
    core.job_finished(at(303), JobResult::Meta(Err(AppendError::Blocked)));
    assert_eq!(core.status().storage, StorageHealth::Failing(StorageFault::Blocked));
    assert!(core.next_job(at(802)).is_none());
    let again = core.next_job(at(803));
    assert!(matches!(&again, Some(Job::Meta { value: Some(v), .. }) if *v == value), "{again:?}");
    core.job_finished(at(804), JobResult::Meta(Ok(())));
    assert_eq!(core.status().storage, StorageHealth::Healthy);
    known(&mut core).acknowledge(at(900), &noted_version(1));
    assert_eq!(core.deadline(), None, "no news");
}

fn noted_version(count: u32) -> VersionVector {
    [(PeerId(7), count)].into_iter().collect()
}

/// A document of which another tab's change cannot be stored, because another one has its name.
#[test]
fn what_another_tab_cannot_store_under_its_name_keeps_nothing_else_from_being_stored() {
    let (mut wire, _) = Wire::opened(at(0), loaded(true), VersionVector::new());
    let counted = |peer: u64, count: usize| {
        let mut author = Doc::new(PeerId(peer));
        for _ in 0..count {
            author.transact(0, |tx| tx.counter("n").add(1));
        }
        author.blocks_since(&VersionVector::new())
    };
    let (theirs, others) = (counted(8, 3), counted(9, 1));
    let blocks = [&theirs[..], &others[..]].concat();
    wire.core.tab_message(at(1), &changes(false, blocks.clone()).encode());
    wire.ack(at(1), [(PeerId(8), 3)].into_iter().collect());
    let core = &mut wire.core;
    let first = |core: &mut Core, ms: u64| match core.next_job(at(ms)) {
        Some(Job::Append(mut batch)) => batch.remove(0).1,
        other => panic!("nothing to store: {other:?}"),
    };
    assert_eq!(first(core, 2), blocks);
    let taken = AppendError::DuplicatePeer { doc: board(), peer: PeerId(8), seq: 1 };
    core.job_finished(at(2), JobResult::Append(Err(taken)));
    assert_eq!(first(core, 3), [&theirs[..1], &others[..]].concat());
}
