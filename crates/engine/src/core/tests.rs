//! Decisions one at a time, with the time and every answer in the test's hands.

use bytes::Bytes;
use leptos_sync_crdt::{Block, Doc, DocId, OpId, PeerId, VersionVector};
use leptos_sync_storage::{AppendError, CompactError, ReadError, Snapshot, StoredDoc};
use leptos_sync_transport::{Closed, ConnectError};

use super::tabs::TabMessage;
use super::{Core, Job, JobResult, Loaded, Now, Output, Told};
use crate::config::EngineConfig;
use crate::status::{Reason, StorageFault, StorageHealth, SyncState};

pub(super) fn at(ms: u64) -> Now {
    Now { ms, wall_ms: 1_700_000_000_000 + ms }
}

pub(super) fn board() -> DocId {
    DocId::new("board/42").expect("a valid id")
}

pub(super) fn unreachable() -> ConnectError {
    ConnectError::Unreachable { detail: String::from("refused") }
}

pub(super) fn outputs(core: &mut Core) -> Vec<Output> {
    std::iter::from_fn(|| core.poll_output()).collect()
}

pub(super) fn posted(outputs: &[Output]) -> Vec<TabMessage> {
    let posts = outputs.iter().filter_map(|output| match output {
        Output::Post(bytes) => Some(TabMessage::decode(bytes).expect("our own message")),
        _ => None,
    });
    posts.collect()
}

/// The mark of what is stored.
pub(super) const MARK: u64 = 77;

/// What other tabs are told of changes of the board.
pub(super) fn changes(stored: bool, blocks: Vec<Block>) -> TabMessage {
    TabMessage::Changes { stored, mark: Some(MARK), parts: vec![(board(), blocks)] }
}

pub(super) fn dialed(outputs: &[Output]) -> Option<u64> {
    outputs.iter().find_map(|output| match output {
        Output::Dial { generation } => Some(*generation),
        _ => None,
    })
}

/// An engine whose only document is open and being read, writing as peer 7.
pub(super) fn unread(has_server: bool) -> Core {
    let mut core = Core::new(EngineConfig::default(), 1, has_server);
    core.peer = PeerId(7);
    core.storage_marked(Some(MARK));
    core.open(&board());
    core
}

/// An engine whose only document is open and loaded, writing as peer 7.
pub(super) fn loaded(has_server: bool) -> Core {
    let mut core = unread(has_server);
    let nothing = Loaded { stored: StoredDoc::default(), acked: None };
    core.load_finished(at(0), &board(), Ok(nothing));
    outputs(&mut core);
    core
}

/// An engine whose only document has a stored part that does not decode, writing as peer 7.
pub(super) fn damaged() -> Core {
    let mut core = unread(false);
    let stored = damaged_snapshot();
    core.load_finished(at(0), &board(), Ok(Loaded { stored, acked: None }));
    core
}

fn damaged_snapshot() -> StoredDoc {
    let version = [(PeerId(7), 3)].into_iter().collect();
    let snapshot = Some(Snapshot { version, bytes: b"damaged".to_vec() });
    StoredDoc { snapshot, blocks: Vec::new() }
}

pub(super) fn write(core: &mut Core, now: Now) -> Block {
    let content = core.open(&board());
    let (_, commit) = content.borrow_mut().transact(now.wall_ms, |tx| tx.counter("n").add(1));
    let commit = commit.expect("something was written");
    let block = content.borrow().block(&commit);
    core.committed(now, vec![(board(), commit)]);
    block
}

#[test]
fn nothing_is_told_before_it_is_stored() {
    let mut core = loaded(false);
    let block = write(&mut core, at(1));
    assert_eq!(posted(&outputs(&mut core)), []);
    let Some(Job::Append(batch)) = core.next_job(at(2)) else { panic!("nothing to store") };
    assert_eq!(batch, [(board(), vec![block.clone()])]);
    assert!(core.next_job(at(2)).is_none(), "one job at a time");
    core.job_finished(at(3), JobResult::Append(Ok(())));
    let told = changes(true, vec![block]);
    assert_eq!(posted(&outputs(&mut core)), [told]);
}

#[test]
fn a_failed_write_is_told_unstored_and_tried_again_in_order() {
    let mut core = loaded(false);
    let first = write(&mut core, at(1));
    assert!(core.next_job(at(1)).is_some());
    core.job_finished(at(2), JobResult::Append(Err(AppendError::QuotaExceeded)));
    let blocks = vec![first.clone()];
    let told = changes(false, blocks);
    assert_eq!(posted(&outputs(&mut core)), [told]);
    let full = StorageHealth::Failing(StorageFault::QuotaExceeded);
    assert_eq!(core.status().storage, full);

    let second = write(&mut core, at(3));
    assert!(core.next_job(at(3)).is_none(), "a full disk is not hammered");
    let retry = core.deadline().expect("it is tried again");
    let Some(Job::Append(batch)) = core.next_job(at(retry)) else { panic!("nothing to store") };
    assert_eq!(batch, [(board(), vec![first, second])]);
    core.job_finished(at(retry), JobResult::Append(Ok(())));
    assert_eq!(core.status().storage, StorageHealth::Healthy);
    assert!(core.doc_status(&board()).expect("it is open").saved_here);
}

#[test]
fn a_write_in_doubt_keeps_its_name_because_it_may_be_stored() {
    let mut core = loaded(false);
    let written = write(&mut core, at(1));
    assert!(core.next_job(at(1)).is_some());
    let detail = String::from("the fsync failed");
    core.job_finished(at(2), JobResult::Append(Err(AppendError::Broken { detail })));
    let told = changes(false, vec![written]);
    assert_eq!(posted(&outputs(&mut core)), [told]);
}

/// Writes a change, stores it, and opens the document anew, of which `read` is stored then.
fn opened_again(read: impl FnOnce(&Block) -> StoredDoc) -> Core {
    let mut core = loaded(false);
    let block = write(&mut core, at(1));
    assert_eq!(block.peer(), PeerId(7));
    assert!(core.next_job(at(1)).is_some());
    core.job_finished(at(1), JobResult::Append(Ok(())));
    // It was opened twice, once to write.
    core.close(at(2), &board());
    core.close(at(2), &board());
    assert!(!core.is_open(&board()));
    core.open(&board());
    let stored = read(&block);
    core.load_finished(at(3), &board(), Ok(Loaded { stored, acked: None }));
    core
}

#[test]
fn a_document_that_is_opened_again_is_written_to_under_the_same_name() {
    let stored = |block: &Block| StoredDoc { snapshot: None, blocks: vec![block.clone()] };
    let mut core = opened_again(stored);
    let next = write(&mut core, at(4));
    assert_eq!((next.peer(), next.seq()), (PeerId(7), 1));
}

#[test]
fn where_what_we_wrote_is_not_stored_any_more_nothing_is_made_under_our_name() {
    let mut core = opened_again(|_| StoredDoc::default());
    assert_ne!(write(&mut core, at(4)).peer(), PeerId(7));
    let mut core = opened_again(|_| damaged_snapshot());
    assert_ne!(write(&mut core, at(4)).peer(), PeerId(7));
}

#[test]
fn what_is_not_stored_any_more_keeps_its_name_however_often_the_document_is_closed() {
    let mut core = opened_again(|_| StoredDoc::default());
    core.close(at(4), &board());
    assert!(!core.is_open(&board()));
    core.open(&board());
    let stored = StoredDoc::default();
    core.load_finished(at(5), &board(), Ok(Loaded { stored, acked: None }));
    assert_ne!(write(&mut core, at(6)).peer(), PeerId(7));
}

#[test]
fn while_storage_works_on_changes_nobody_hears_of_them_though_reading_fails() {
    let mut core = loaded(false);
    let first = write(&mut core, at(1));
    assert!(core.next_job(at(1)).is_some());
    let other = DocId::new("board/43").expect("a valid id");
    core.open(&other);
    core.load_finished(at(2), &other, Err(ReadError::Unavailable));
    let second = write(&mut core, at(3));
    assert_eq!(posted(&outputs(&mut core)), []);
    core.job_finished(at(4), JobResult::Append(Ok(())));
    let told: Vec<Block> = posted(&outputs(&mut core))
        .into_iter()
        .flat_map(|message| match message {
            TabMessage::Changes { parts, .. } => {
                parts.into_iter().flat_map(|(_, blocks)| blocks).collect()
            }
            _ => Vec::new(),
        })
        .collect();
    assert_eq!(told[0], first);
    assert!(told.len() == 1 || told[1] == second);
}

#[test]
fn no_alarm_is_due_while_a_job_runs() {
    let mut core = loaded(false);
    write(&mut core, at(1));
    assert!(core.next_job(at(1)).is_some());
    let late = at(10_000);
    core.tick(late);
    assert!(core.deadline().is_none_or(|due| due > late.ms), "it would go off for ever");
}

#[test]
fn only_the_present_connection_is_heard() {
    let mut core = loaded(true);
    core.dial(at(0));
    let first = dialed(&outputs(&mut core)).expect("it dials");
    assert!(core.connected(at(1), first));
    core.disconnected(at(2), first, &Closed::lost("cut"));
    let retry = core.deadline().expect("it dials again");
    core.tick(at(retry));
    let second = dialed(&outputs(&mut core)).expect("it dials again");
    assert_ne!(first, second);
    assert!(!core.connected(at(retry), first), "an attempt that was given up");
    assert!(core.connected(at(retry), second));
    outputs(&mut core);
    assert!(!core.frame(at(retry), first, Bytes::from_static(b"late")));
    core.disconnected(at(retry), first, &Closed::lost("late"));
    assert!(outputs(&mut core).is_empty());
}

#[test]
fn failed_attempts_are_not_shown_unless_they_last() {
    let mut core = loaded(true);
    core.dial(at(0));
    assert_eq!(core.status().state, SyncState::Connecting);
    let mut generation = dialed(&outputs(&mut core)).expect("it dials");
    for _ in 0..5 {
        core.connect_failed(at(1), generation, &unreachable());
        assert_eq!(core.status().state, SyncState::Offline);
        assert_eq!(core.status().reason, Some(Reason::ServerUnreachable));
        let retry = core.deadline().expect("it dials again");
        core.tick(at(retry));
        generation = dialed(&outputs(&mut core)).expect("it dials again");
        assert_eq!(core.status().state, SyncState::Offline);
    }
    let lasting = core.deadline().expect("it looks at the attempt again");
    core.tick(at(lasting));
    assert_eq!(core.status().state, SyncState::Connecting);
    let endless = core.deadline().expect("it gives up the attempt");
    core.tick(at(endless));
    assert!(outputs(&mut core).iter().any(|output| matches!(output, Output::Hangup { .. })));
    assert_eq!(core.status().state, SyncState::Offline);
}

#[test]
fn without_network_nothing_is_dialed_until_it_is_back() {
    let mut core = loaded(true);
    core.set_online(at(0), false);
    core.dial(at(1));
    core.nudge(at(2));
    assert_eq!(dialed(&outputs(&mut core)), None);
    assert_eq!(core.status().reason, Some(Reason::NoNetwork));
    core.set_online(at(3), true);
    assert!(dialed(&outputs(&mut core)).is_some());
}

#[test]
fn a_tab_that_asks_is_told_what_is_not_stored_yet_unless_it_is_about_to_be() {
    let mut core = loaded(false);
    let theirs = other_tabs_change(&mut core);
    let ours = write(&mut core, at(1));
    core.set_presence(at(1), &board(), Some(b"Ada".to_vec()));
    outputs(&mut core);
    let want = TabMessage::Want { doc: board(), have: VersionVector::new() };
    core.tab_message(at(2), &want.encode());
    let answer = posted(&outputs(&mut core));
    let told = changes(false, theirs);
    assert_eq!(answer[0], told);
    assert!(matches!(&answer[1], TabMessage::Presence { payload: Some(name), .. }
        if name == b"Ada"));

    // It may have to be written again under another id, until it is stored; then all hear of it.
    assert!(core.next_job(at(3)).is_some());
    core.job_finished(at(3), JobResult::Append(Ok(())));
    let told = changes(true, vec![ours]);
    assert_eq!(posted(&outputs(&mut core)), [told]);
}

/// A change of another tab's that this one has heard of and not stored.
fn other_tabs_change(core: &mut Core) -> Vec<Block> {
    let mut other = Doc::new(PeerId(8));
    other.transact(0, |tx| tx.counter("n").add(1));
    let blocks = other.blocks_since(&VersionVector::new());
    let told = changes(false, blocks.clone());
    core.tab_message(at(1), &told.encode());
    blocks
}

#[test]
fn an_unstored_change_of_another_tab_is_stored_here() {
    let mut core = loaded(false);
    let blocks = other_tabs_change(&mut core);
    assert_eq!(posted(&outputs(&mut core)), [], "the tab that made it has told everybody");
    let Some(Job::Append(batch)) = core.next_job(at(1)) else { panic!("nothing to store") };
    assert_eq!(batch, [(board(), blocks)]);
}

/// Site data that was cleared under an open tab is no longer claimed to be there, and comes back.
#[test]
fn an_erased_store_gets_all_that_is_in_memory() {
    let mut core = loaded(false);
    let first = write(&mut core, at(1));
    let Some(Job::Append(_)) = core.next_job(at(1)) else { panic!("nothing to store") };
    core.job_finished(at(2), JobResult::Append(Ok(())));
    assert!(core.status().saved_here);

    core.erased(at(3));
    assert!(!core.status().saved_here);
    let second = write(&mut core, at(4));
    let Some(Job::Append(batch)) = core.next_job(at(4)) else { panic!("nothing to store") };
    assert_eq!(batch, [(board(), vec![first, second])]);
    core.job_finished(at(5), JobResult::Append(Ok(())));
    assert!(core.status().saved_here);
}

/// While nobody knows what is left, a change could be stored without what it builds on.
#[test]
fn nothing_is_stored_or_counts_as_saved_while_what_was_stored_may_be_gone() {
    let (mut core, first) = stored();
    core.doubt_storage();
    let second = write(&mut core, at(2));
    assert!(core.next_job(at(2)).is_none());
    assert_eq!(core.deadline(), None);
    assert!(!core.status().saved_here);
    core.storage_looked_at(at(3), Some(MARK + 1));
    let Some(Job::Append(batch)) = core.next_job(at(3)) else { panic!("nothing to store") };
    assert_eq!(batch, [(board(), vec![first, second])]);
    core.job_finished(at(4), JobResult::Append(Ok(())));
    assert!(core.status().saved_here);

    core.doubt_storage();
    assert!(!core.doc_status(&board()).expect("it is open").saved_here);
    core.storage_looked_at(at(5), Some(MARK + 1));
    assert!(core.doc_status(&board()).expect("it is open").saved_here, "it is there");
    assert!(core.next_job(at(5)).is_none());
}

/// It may have failed because all is gone, and then there is a new store that takes it.
#[test]
fn nobody_hears_of_a_change_that_was_not_stored_while_what_was_stored_may_be_gone() {
    let look = |mark: u64| {
        let (mut core, _) = stored();
        let block = write(&mut core, at(2));
        assert!(matches!(core.next_job(at(2)), Some(Job::Append(_))));
        outputs(&mut core);
        core.doubt_storage();
        core.job_finished(at(3), JobResult::Append(Err(AppendError::Unavailable)));
        assert!(posted(&outputs(&mut core)).is_empty());
        core.storage_looked_at(at(4), Some(mark));
        (posted(&outputs(&mut core)), block, core)
    };
    let (told, block, _) = look(MARK);
    assert_eq!(told, [changes(false, vec![block])], "storage is there, and does not work");
    let (told, block, mut core) = look(MARK + 1);
    assert_eq!((told, core.status().storage), (vec![], StorageHealth::Healthy));
    let Some(Job::Append(batch)) = core.next_job(at(4)) else { panic!("nothing to store") };
    assert_eq!(batch[0].1.last(), Some(&block), "at once");
}

#[test]
fn what_was_read_before_all_was_erased_is_stored_anew_though_it_comes_after() {
    let (content, _) = stored();
    let blocks = content.docs[&board()].content.borrow().blocks_since(&VersionVector::new());
    let mut core = unread(false);
    core.doubt_storage();
    core.storage_looked_at(at(1), None);
    let stored = StoredDoc { blocks: blocks.clone(), ..StoredDoc::default() };
    core.load_finished(at(2), &board(), Ok(Loaded { stored, acked: None }));
    assert!(!core.doc_status(&board()).expect("it is open").saved_here);
    let Some(Job::Append(batch)) = core.next_job(at(2)) else { panic!("nothing to store") };
    assert_eq!(batch, [(board(), blocks)]);
}

/// It counts as stored where what is stored bears the same mark, and there only.
#[test]
fn what_another_tab_called_stored_before_all_was_erased_is_stored_when_it_comes_after() {
    let (_, block) = stored();
    let told = changes(true, vec![block.clone()]).encode();
    for (mark, is_stored) in [(Some(MARK), true), (Some(MARK + 1), false), (None, false)] {
        let mut core = loaded(false);
        core.storage_marked(mark);
        core.tab_message(at(2), &told);
        let job = core.next_job(at(2));
        assert_eq!(job.is_none(), is_stored, "{mark:?}");
        assert_eq!(core.doc_status(&board()).expect("it is open").saved_here, is_stored);
        if let Some(Job::Append(batch)) = job {
            assert_eq!(batch, [(board(), vec![block.clone()])]);
        }
    }
    // Nor does a word without a mark count.
    let mut core = loaded(false);
    core.storage_marked(None);
    let parts = vec![(board(), vec![block.clone()])];
    core.tab_message(at(2), &TabMessage::Changes { stored: true, mark: None, parts }.encode());
    assert!(core.next_job(at(2)).is_some());
}

#[test]
fn a_second_look_that_began_before_all_was_erased_tells_nothing_of_what_is_stored() {
    let (_, block) = stored();
    let found = StoredDoc { blocks: vec![block.clone()], ..StoredDoc::default() };
    let mut core = loaded(false);
    let losses = core.losses();
    core.doubt_storage();
    core.storage_looked_at(at(1), Some(MARK + 1));
    core.reread_finished(at(2), vec![(board(), found)], Told::default(), losses);
    let Some(Job::Append(batch)) = core.next_job(at(2)) else { panic!("nothing to store") };
    assert_eq!(batch, [(board(), vec![block])]);
}

#[test]
fn what_is_closed_while_what_was_stored_may_be_gone_is_stored_anew() {
    let (mut core, block) = stored();
    core.doubt_storage();
    // It was opened to be written to, too.
    core.close(at(2), &board());
    core.close(at(2), &board());
    core.storage_looked_at(at(3), Some(MARK + 1));
    let Some(Job::Append(batch)) = core.next_job(at(3)) else { panic!("nothing to store") };
    assert_eq!(batch, [(board(), vec![block])]);
    core.job_finished(at(4), JobResult::Append(Ok(())));
    assert!(!core.is_open(&board()), "it is safe again");
}

/// A loaded document with a change that is stored.
fn stored() -> (Core, Block) {
    let mut core = loaded(false);
    let block = write(&mut core, at(1));
    assert!(core.next_job(at(1)).is_some());
    core.job_finished(at(1), JobResult::Append(Ok(())));
    (core, block)
}

/// Has a change written again, as if another tab had done that.
pub(super) fn move_away(core: &mut Core, block: &Block) -> OpId {
    let from = OpId::new(block.peer(), block.seq());
    let moved = TabMessage::Moved { doc: board(), from, to: block.successor() };
    core.tab_message(at(2), &moved.encode());
    from
}

pub(super) fn replacement(core: &mut Core) -> Vec<OpId> {
    match core.next_job(at(60_000)) {
        Some(Job::Replace { moved, .. }) => moved,
        other => panic!("no replacement, but {other:?}"),
    }
}

#[test]
fn what_is_written_again_during_a_replacement_is_replaced_too() {
    let (mut core, first) = stored();
    let second = write(&mut core, at(2));
    assert!(core.next_job(at(2)).is_some());
    core.job_finished(at(2), JobResult::Append(Ok(())));
    let from = move_away(&mut core, &second);
    assert_eq!(replacement(&mut core), [from]);
    let from = move_away(&mut core, &first);
    core.job_finished(at(3), JobResult::Replace(board(), Ok(())));
    assert!(replacement(&mut core).contains(&from));
    core.job_finished(at(4), JobResult::Replace(board(), Ok(())));
    assert!(core.status().saved_here && core.next_job(at(4)).is_none());
}

#[test]
fn what_a_replacement_stored_under_an_old_name_is_replaced() {
    let (mut core, first) = stored();
    move_away(&mut core, &first);
    let unsaved = write(&mut core, at(2));
    replacement(&mut core);
    let from = move_away(&mut core, &unsaved);
    core.job_finished(at(3), JobResult::Replace(board(), Ok(())));
    assert_eq!(replacement(&mut core), [from]);
}

#[test]
fn what_was_written_again_is_not_stored_under_its_old_name_at_a_later_try() {
    let mut core = loaded(false);
    let first = write(&mut core, at(1));
    assert!(core.next_job(at(1)).is_some());
    move_away(&mut core, &first);
    core.job_finished(at(3), JobResult::Append(Err(AppendError::QuotaExceeded)));
    let Some(Job::Replace { snapshot, .. }) = core.next_job(at(60_000)) else {
        panic!("nothing is replaced")
    };
    let again = core.open(&board()).borrow().version().clone();
    assert_eq!((snapshot.version, again.get(first.peer())), (again, 0));
    core.job_finished(at(60_000), JobResult::Replace(board(), Ok(())));
    assert!(core.status().saved_here && core.next_job(at(60_000)).is_none());
}

#[test]
fn what_a_failed_replacement_would_have_stored_is_stored_later() {
    let (mut core, first) = stored();
    move_away(&mut core, &first);
    let unsaved = write(&mut core, at(2));
    replacement(&mut core);
    outputs(&mut core);
    core.job_finished(at(3), JobResult::Replace(board(), Err(CompactError::QuotaExceeded)));
    assert!(!core.status().saved_here);
    let all = core.open(&board()).borrow().blocks_since(&VersionVector::new());
    assert!(all.len() == 2 && all.contains(&unsaved));
    assert_eq!(posted(&outputs(&mut core)), [changes(false, all)]);
    replacement(&mut core);
    core.job_finished(at(60_000), JobResult::Replace(board(), Ok(())));
    assert!(core.status().saved_here && core.next_job(at(60_000)).is_none());
}

#[test]
fn what_is_written_again_while_a_replacement_fails_is_not_stored_under_its_old_name() {
    let (mut core, first) = stored();
    move_away(&mut core, &first);
    let unsaved = write(&mut core, at(2));
    replacement(&mut core);
    outputs(&mut core);
    move_away(&mut core, &unsaved);
    core.job_finished(at(3), JobResult::Replace(board(), Err(CompactError::QuotaExceeded)));
    let all = core.open(&board()).borrow().blocks_since(&VersionVector::new());
    assert!(all.len() == 2 && !all.contains(&unsaved));
    let told = posted(&outputs(&mut core)).into_iter().filter_map(|message| match message {
        TabMessage::Changes { parts, .. } => Some(parts[0].1.clone()),
        _ => None,
    });
    let told: Vec<Block> = told.flatten().collect();
    assert!(!told.is_empty() && told.iter().all(|block| all.contains(block)), "under old names");
}

#[test]
fn an_attempt_is_given_up_after_fifteen_seconds() {
    let mut core = loaded(true);
    core.dial(at(5));
    outputs(&mut core);
    assert_eq!(core.deadline(), Some(15_005));
    let gives_up = |core: &mut Core, ms: u64| {
        core.tick(at(ms));
        outputs(core).iter().any(|output| matches!(output, Output::Hangup { .. }))
    };
    assert!(!gives_up(&mut core, 15_004));
    assert!(gives_up(&mut core, 15_005));
}

/// It may be there: a store skips what it has.
#[test]
fn what_is_stored_anew_is_replaced_when_it_is_written_again() {
    let (mut core, block) = stored();
    core.erased(at(2));
    let from = move_away(&mut core, &block);
    assert_eq!(replacement(&mut core), [from]);
}
