//! Changes that two authors made under one name, as storage and other tabs tell of them.

use leptos_sync_crdt::{Block, Doc, DocId, OpId, PeerId, VersionVector};
use leptos_sync_storage::{AppendError, CompactError, StoredDoc};

use super::records::{Acked, ServerLife};
use super::tabs::TabMessage;
use super::tests::{at, board, changes, loaded, outputs, posted, unread, write};
use super::{Core, Job, JobResult, Loaded, Output};
use crate::status::StorageHealth;

const OURS: OpId = OpId { peer: PeerId(7), seq: 0 };

fn append(core: &mut Core, ms: u64, result: Result<(), AppendError>) -> Vec<Block> {
    let job = core.next_job(at(ms));
    let Some(Job::Append(mut batch)) = job else { panic!("nothing to append: {job:?}") };
    core.job_finished(at(ms), JobResult::Append(result));
    batch.remove(0).1
}

fn tell(core: &mut Core, ms: u64, blocks: Vec<Block>) {
    let told = changes(true, blocks);
    core.tab_message(at(ms), &told.encode());
}

fn count(core: &mut Core) -> i64 {
    core.open(&board()).borrow().counter("n")
}

fn version(core: &mut Core, peer: PeerId) -> u32 {
    core.open(&board()).borrow().version().get(peer)
}

/// What a tab that writes as 8 did first, and then.
fn counted(amounts: &[i64]) -> Vec<Block> {
    let mut author = Doc::new(PeerId(8));
    for amount in amounts {
        author.transact(0, |tx| tx.counter("n").add(*amount));
    }
    author.blocks_since(&VersionVector::new())
}

#[test]
fn what_storage_has_otherwise_is_written_again_and_all_tabs_are_told() {
    let mut core = loaded(false);
    let ours = write(&mut core, at(1));
    outputs(&mut core);
    let taken = AppendError::DuplicatePeer { doc: board(), peer: OURS.peer, seq: OURS.seq };
    append(&mut core, 1, Err(taken));
    let told = outputs(&mut core);
    let rereads =
        |output: &Output| matches!(output, Output::Reread(ids, _) if ids[..] == [board()]);
    assert!(told.iter().any(rereads), "the other author's is there, and not here");
    let moved = TabMessage::Moved { doc: board(), from: OURS, to: ours.successor() };
    assert_eq!(posted(&told), [moved]);
    let again = append(&mut core, 2, Ok(()));
    assert_eq!((again.len(), again[0].peer()), (1, ours.successor()));
    assert_eq!((count(&mut core), version(&mut core, OURS.peer)), (1, 0));
    assert_eq!(core.status().storage, StorageHealth::Healthy, "nothing failed");
    let next = write(&mut core, at(4));
    assert!(next.peer() != OURS.peer && next.peer() != ours.successor());
}

#[test]
fn what_another_tab_wrote_again_is_there_once_and_stored_under_its_new_name() {
    let mut core = loaded(false);
    let ours = write(&mut core, at(1));
    append(&mut core, 1, Ok(()));
    let mut tab = Doc::new(PeerId(9));
    tab.import(u64::MAX, [ours.clone()]).expect("a valid block");
    let again = tab.reauthor_all(OURS, &VersionVector::new()).expect("nobody else has it");
    outputs(&mut core);
    tell(&mut core, 2, again.blocks);
    assert_eq!(count(&mut core), 1);
    assert_eq!(version(&mut core, OURS.peer), 0);
    assert_eq!(version(&mut core, ours.successor()), 1);

    let replaces = |job: Option<Job>| match job {
        Some(Job::Replace { snapshot, moved, .. }) => {
            assert_eq!(moved, [OURS]);
            assert_eq!(snapshot.version.get(ours.successor()), 1);
        }
        other => panic!("not replaced: {other:?}"),
    };
    replaces(core.next_job(at(3)));
    let stale = CompactError::Stale { doc: board() };
    outputs(&mut core);
    core.job_finished(at(10), JobResult::Replace(board(), Err(stale)));
    let rereads = |output: &Output| matches!(output, Output::Reread(..));
    assert!(outputs(&mut core).iter().any(rereads), "another tab has stored more");
    assert_eq!(core.status().storage, StorageHealth::Healthy);
    assert_eq!(core.deadline(), Some(510));
    assert!(core.next_job(at(509)).is_none());
    replaces(core.next_job(at(510)));
    core.job_finished(at(511), JobResult::Replace(board(), Err(CompactError::QuotaExceeded)));
    assert_ne!(core.status().storage, StorageHealth::Healthy);
    let due = core.deadline().expect("it is tried again");
    replaces(core.next_job(at(due)));
    core.job_finished(at(due), JobResult::Replace(board(), Ok(())));
    assert_eq!(core.status().storage, StorageHealth::Healthy);
    assert!(!matches!(core.next_job(at(due)), Some(Job::Replace { .. })));
}

#[test]
fn what_comes_under_its_old_name_after_the_new_one_is_there_once() {
    let mut core = loaded(false);
    let old = counted(&[5]);
    let mut tab = Doc::new(PeerId(9));
    tab.import(u64::MAX, old.clone()).expect("a valid block");
    let from = OpId::new(PeerId(8), 0);
    let again = tab.reauthor_all(from, &VersionVector::new()).expect("nobody else has it");
    tell(&mut core, 1, again.blocks);
    tell(&mut core, 2, old.clone());
    assert_eq!(count(&mut core), 5);
    assert_eq!((version(&mut core, PeerId(8)), version(&mut core, old[0].successor())), (0, 1));
}

#[test]
fn old_names_of_what_another_tab_wrote_again_are_not_taken_in() {
    let mut core = loaded(false);
    let old = counted(&[1, 2]);
    let from = OpId::new(PeerId(8), 0);
    let moved = TabMessage::Moved { doc: board(), from, to: old[0].successor() };
    core.tab_message(at(1), &moved.encode());
    tell(&mut core, 2, vec![old[1].clone()]);
    assert_eq!(core.open(&board()).borrow().pending_count(), 0, "it waits for nothing");
    tell(&mut core, 3, old);
    assert_eq!(count(&mut core), 0);
    tell(&mut core, 4, counted(&[7]));
    assert_eq!(count(&mut core), 7, "another author's under the same name");
}

#[test]
fn what_is_here_under_its_old_name_goes_on_when_another_tab_moved_what_follows() {
    let mut core = loaded(false);
    let old = counted(&[1, 2, 4]);
    tell(&mut core, 1, vec![old[0].clone()]);
    let from = OpId::new(PeerId(8), 1);
    let moved = TabMessage::Moved { doc: board(), from, to: old[1].successor() };
    core.tab_message(at(2), &moved.encode());
    tell(&mut core, 3, old);
    assert_eq!((count(&mut core), version(&mut core, PeerId(8))), (1, 1));
}

/// The same changes under other names, as another tab writes them again.
fn written_again(old: &[Block]) -> Vec<Block> {
    let mut tab = Doc::new(PeerId(9));
    tab.import(u64::MAX, old.to_vec()).expect("valid blocks");
    let from = OpId::new(old[0].peer(), old[0].seq());
    tab.reauthor_all(from, &VersionVector::new()).expect("nobody else has it").blocks
}

#[test]
fn old_names_keep_out_nothing_of_other_authors() {
    let mut core = loaded(false);
    let old = counted(&[1]);
    let from = OpId::new(PeerId(8), 0);
    let moved = TabMessage::Moved { doc: board(), from, to: old[0].successor() };
    core.tab_message(at(1), &moved.encode());
    let mut other = Doc::new(PeerId(9));
    other.transact(0, |tx| tx.counter("n").add(10));
    let others = other.blocks_since(&VersionVector::new());
    tell(&mut core, 2, [old, others].concat());
    assert_eq!(count(&mut core), 10);
}

#[test]
fn however_many_authors_changes_come_again_all_are_there_once() {
    let mut core = loaded(false);
    let author = |peer: u64| {
        let mut author = Doc::new(PeerId(peer));
        author.transact(0, |tx| tx.counter("n").add(1));
        author.blocks_since(&VersionVector::new())
    };
    let old = [11, 12, 13].map(author);
    let again = old.each_ref().map(|old| written_again(old));
    tell(&mut core, 1, old.concat());
    tell(&mut core, 2, again.concat());
    assert_eq!(count(&mut core), 3);
}

#[test]
fn what_a_server_had_keeps_its_name_though_that_is_read_later() {
    let mut core = unread(false);
    let old = counted(&[1]);
    tell(&mut core, 1, old.clone());
    tell(&mut core, 2, written_again(&old));
    let ever: VersionVector = [(PeerId(8), 1)].into_iter().collect();
    let life = ServerLife { server: 9, epoch: 1 };
    let acked = Some(Acked { life, acked: VersionVector::new(), ever, read: None }.encode());
    core.load_finished(at(3), &board(), Ok(Loaded { stored: StoredDoc::default(), acked }));
    assert_eq!(version(&mut core, PeerId(8)), 1, "others know it by that");
}

#[test]
fn what_is_not_written_again_is_stored_all_the_same() {
    let mut core = loaded(false);
    let others = counted(&[5]);
    core.tab_message(at(1), &changes(false, others.clone()).encode());
    let ours = write(&mut core, at(2));
    let moved = TabMessage::Moved { doc: board(), from: OURS, to: ours.successor() };
    core.tab_message(at(3), &moved.encode());
    let stored = append(&mut core, 4, Ok(()));
    let authors: Vec<PeerId> = stored.iter().map(Block::peer).collect();
    assert_eq!(authors, [PeerId(8), ours.successor()]);
    assert_eq!(stored[..1], others);
}

#[test]
fn an_id_that_is_left_names_nothing_in_documents_that_are_opened_later() {
    let mut core = loaded(false);
    let peer_of_another = |core: &mut Core, number: u64| {
        let id = DocId::new(format!("doc/{number}")).expect("a valid id");
        let content = core.open(&id);
        core.load_finished(at(2), &id, Ok(Loaded { stored: StoredDoc::default(), acked: None }));
        content.borrow().peer()
    };
    tell(&mut core, 1, counted(&[5]));
    tell(&mut core, 1, written_again(&counted(&[5])));
    assert_eq!(peer_of_another(&mut core, 1), OURS.peer, "it was another tab's that was left");
    let mut core = loaded(false);
    write(&mut core, at(2));
    let taken = AppendError::DuplicatePeer { doc: board(), peer: OURS.peer, seq: OURS.seq };
    append(&mut core, 2, Err(taken));
    assert_ne!(peer_of_another(&mut core, 2), OURS.peer);
}
