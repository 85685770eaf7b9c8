//! Transactions over several documents: stored in one write, told in one message.

use leptos_sync_crdt::{Block, DecodeError, Doc, DocId, OpId, PeerId, VersionVector};
use leptos_sync_storage::{AppendError, ReadError, StoredDoc};

use super::doc::name;
use super::link_tests::store;
use super::tabs::TabMessage;
use super::tests::{MARK, at, board, loaded, move_away, outputs, posted, replacement, write};
use super::{Core, Job, JobResult, Loaded, Now, Output, Told};
use crate::event::DocEvent;

pub(super) fn other() -> DocId {
    DocId::new("board/43").expect("a valid id")
}

fn read(core: &mut Core, id: &DocId, now: Now) {
    let stored = StoredDoc::default();
    core.load_finished(now, id, Ok(Loaded { stored, acked: None }));
}

/// An engine with two documents that are open and loaded.
pub(super) fn both_loaded(has_server: bool) -> Core {
    let mut core = loaded(has_server);
    core.open(&other());
    read(&mut core, &other(), at(0));
    outputs(&mut core);
    core
}

/// Changes both documents at once.
pub(super) fn write_both(core: &mut Core, now: Now) -> Vec<(DocId, Vec<Block>)> {
    write_at_once(core, now, [board(), other()])
}

fn write_at_once(core: &mut Core, now: Now, ids: [DocId; 2]) -> Vec<(DocId, Vec<Block>)> {
    let mut commits = Vec::new();
    let mut parts = Vec::new();
    for id in ids {
        let content = core.open(&id);
        let (_, commit) = content.borrow_mut().transact(now.wall_ms, |tx| tx.counter("n").add(1));
        let commit = commit.expect("something was written");
        parts.push((id.clone(), vec![content.borrow().block(&commit)]));
        commits.push((id, commit));
    }
    core.committed(now, commits);
    parts
}

fn batch(core: &mut Core, now: Now) -> Vec<(DocId, Vec<Block>)> {
    match core.next_job(now) {
        Some(Job::Append(batch)) => batch,
        other => panic!("nothing to store: {other:?}"),
    }
}

/// Changes of two documents by another tab that could not store them.
fn unstored() -> Vec<(DocId, Vec<Block>)> {
    let part = |id| {
        let mut doc = Doc::new(PeerId(8));
        doc.transact(0, |tx| tx.counter("n").add(1));
        (id, doc.blocks_since(&VersionVector::new()))
    };
    vec![part(board()), part(other())]
}

fn told(stored: bool, parts: &[(DocId, Vec<Block>)]) -> TabMessage {
    TabMessage::Changes { stored, mark: Some(MARK), parts: parts.to_vec() }
}

#[test]
fn changes_of_several_documents_are_stored_in_one_write_and_told_in_one_message() {
    let mut core = both_loaded(false);
    let parts = write_both(&mut core, at(1));
    let events = outputs(&mut core);
    let changed = |output: &&Output| matches!(output, Output::Event(_, DocEvent::Changed { .. }));
    assert_eq!(events.iter().filter(changed).count(), 2);
    assert_eq!(posted(&events), []);
    assert_eq!(batch(&mut core, at(1)), parts);
    core.job_finished(at(2), JobResult::Append(Ok(())));
    assert_eq!(posted(&outputs(&mut core)), [told(true, &parts)]);
    assert!(core.status().saved_here);
}

#[test]
fn neither_is_stored_before_the_stored_part_of_both_is_known() {
    let mut core = loaded(false);
    core.open(&other());
    let before = write(&mut core, at(1));
    let parts = write_both(&mut core, at(1));
    let after = write(&mut core, at(1));
    assert_eq!(batch(&mut core, at(1)), [(board(), vec![before])]);
    core.job_finished(at(2), JobResult::Append(Ok(())));
    assert!(core.next_job(at(2)).is_none(), "and what follows waits, too");
    assert_eq!(core.deadline(), None, "no alarm goes off for ever meanwhile");
    read(&mut core, &other(), at(3));
    let mut all = parts;
    all[0].1.push(after);
    assert_eq!(batch(&mut core, at(3)), all);
}

#[test]
fn what_waits_for_what_waits_waits_too() {
    let third = DocId::new("board/44").expect("a valid id");
    let mut core = both_loaded(false);
    let content = core.open(&third);
    let mut commits = Vec::new();
    for (id, content) in [(other(), core.open(&other())), (third.clone(), content)] {
        let (_, commit) = content.borrow_mut().transact(0, |tx| tx.counter("n").add(1));
        commits.push((id, commit.expect("something was written")));
    }
    core.committed(at(1), commits);
    write_both(&mut core, at(1));
    assert!(core.next_job(at(1)).is_none(), "the third is not read");
    read(&mut core, &third, at(2));
    assert_eq!(batch(&mut core, at(2)).len(), 3);
}

#[test]
fn a_failed_write_is_told_in_one_message_and_tried_again_in_one_write() {
    let mut core = both_loaded(false);
    let parts = write_both(&mut core, at(1));
    assert_eq!(batch(&mut core, at(1)), parts);
    core.job_finished(at(2), JobResult::Append(Err(AppendError::QuotaExceeded)));
    assert_eq!(posted(&outputs(&mut core)), [told(false, &parts)]);
    let more = write_both(&mut core, at(3));
    let retry = core.deadline().expect("it is tried again");
    let both: Vec<Vec<Block>> =
        parts.iter().zip(&more).map(|(a, b)| [&a.1[..], &b.1[..]].concat()).collect();
    let again = batch(&mut core, at(retry));
    assert_eq!(again.into_iter().map(|(_, blocks)| blocks).collect::<Vec<_>>(), both);
}

#[test]
fn who_stores_half_of_another_tabs_changes_stores_all_of_them() {
    let mut core = loaded(false);
    let parts = unstored();
    core.tab_message(at(1), &told(false, &parts).encode());
    let loads = outputs(&mut core);
    let reads = |output: &Output| matches!(output, Output::Load(id) if *id == other());
    assert!(loads.iter().any(reads), "nobody has it open here");
    assert!(core.next_job(at(1)).is_none(), "the other is not read");
    read(&mut core, &other(), at(2));
    assert_eq!(batch(&mut core, at(2)), parts);
    core.job_finished(at(3), JobResult::Append(Ok(())));
    assert!(!core.is_open(&other()), "it is stored, and nobody has it open");

    let mut elsewhere = loaded(false);
    let strangers: Vec<_> = parts.into_iter().skip(1).chain([(docs(3), Vec::new())]).collect();
    elsewhere.tab_message(at(1), &told(false, &strangers).encode());
    assert!(!elsewhere.is_open(&other()), "who stores none of it need not");
}

fn docs(number: u64) -> DocId {
    DocId::new(format!("doc/{number}")).expect("a valid id")
}

#[test]
fn what_came_alone_and_is_not_stored_waits_for_what_belongs_to_it() {
    let mut core = loaded(false);
    let parts = unstored();
    core.tab_message(at(1), &told(false, &parts[..1]).encode());
    core.tab_message(at(2), &told(false, &parts).encode());
    assert!(core.next_job(at(2)).is_none(), "the other is not read");
    // The tab that made them could store them after all.
    core.tab_message(at(3), &told(true, &parts).encode());
    assert_eq!(batch(&mut core, at(3)), parts[..1]);
}

#[test]
fn what_builds_on_something_that_is_not_here_is_read_before_any_of_it_is_shown() {
    let mut core = both_loaded(false);
    let mut theirs = Doc::new(PeerId(8));
    theirs.transact(0, |tx| tx.counter("n").add(1));
    let first = theirs.version().clone();
    theirs.transact(0, |tx| tx.counter("n").add(1));
    let mut parts = unstored();
    parts[1].1 = theirs.blocks_since(&first);
    core.tab_message(at(1), &told(true, &parts).encode());
    let again = outputs(&mut core);
    let [Output::Reread(ids, then)] = &again[..] else { panic!("{again:?}") };
    assert_eq!((&ids[..], &then.parts), (&[board(), other()][..], &parts));
    // Though one cannot be read, what was told is not lost.
    let blocks = theirs.blocks_since(&VersionVector::new());
    let stored = StoredDoc { snapshot: None, blocks };
    core.reread_finished(
        at(2),
        vec![(other(), stored)],
        Told { parts: parts.clone(), is_here: true },
        0,
    );
    let counts = [board(), other()].map(|id| core.open(&id).borrow().counter("n"));
    assert_eq!(counts, [1, 2]);
    assert!(core.next_job(at(2)).is_none(), "all of it is stored");
}

#[test]
fn a_tab_that_asks_for_one_document_is_told_what_is_tied_to_it() {
    let mut core = both_loaded(false);
    let parts = unstored();
    core.tab_message(at(1), &told(false, &parts).encode());
    outputs(&mut core);
    let want = TabMessage::Want { doc: board(), have: VersionVector::new() };
    core.tab_message(at(2), &want.encode());
    let mut answer = parts;
    answer.reverse();
    assert_eq!(posted(&outputs(&mut core)), [told(false, &answer)]);
}

#[test]
fn a_document_that_cannot_be_stored_does_not_keep_the_others_from_it() {
    let mut core = both_loaded(false);
    let parts = write_both(&mut core, at(1));
    batch(&mut core, at(1));
    let source = DecodeError::UnexpectedEnd;
    core.job_finished(at(2), JobResult::Append(Err(AppendError::Corrupt { doc: other(), source })));
    assert!(core.can_store(&board()) && !core.can_store(&other()));
    let retry = core.deadline().expect("it is tried again");
    assert_eq!(batch(&mut core, at(retry)), parts[..1]);
}

#[test]
fn a_document_that_cannot_be_read_does_not_keep_the_others_waiting() {
    let mut core = loaded(false);
    core.open(&other());
    let parts = write_both(&mut core, at(1));
    core.load_finished(at(2), &other(), Err(ReadError::Unavailable));
    let retry = core.deadline().expect("it is tried again");
    assert_eq!(batch(&mut core, at(retry)), parts);
}

#[test]
fn transactions_over_other_documents_do_not_wait() {
    let mut core = both_loaded(false);
    write_at_once(&mut core, at(1), [docs(3), docs(4)]);
    let parts = write_both(&mut core, at(1));
    assert_eq!(batch(&mut core, at(1)), parts, "the other two are not read");
}

#[test]
fn a_document_that_cannot_be_stored_unties_nothing_of_others() {
    let mut core = both_loaded(false);
    core.open(&docs(3));
    read(&mut core, &docs(3), at(0));
    write_at_once(&mut core, at(1), [docs(3), docs(4)]);
    let parts = write_both(&mut core, at(1));
    assert_eq!(batch(&mut core, at(1)), parts);
    let source = DecodeError::UnexpectedEnd;
    core.job_finished(at(2), JobResult::Append(Err(AppendError::Corrupt { doc: other(), source })));
    let retry = core.deadline().expect("it is tried again");
    assert_eq!(batch(&mut core, at(retry)), parts[..1], "one of the other two is not read");
}

#[test]
fn nothing_is_tied_to_a_document_that_cannot_be_stored() {
    let mut core = both_loaded(false);
    write_both(&mut core, at(1));
    batch(&mut core, at(1));
    let source = DecodeError::UnexpectedEnd;
    core.job_finished(at(2), JobResult::Append(Err(AppendError::Corrupt { doc: other(), source })));
    let retry = core.deadline().expect("it is tried again");
    batch(&mut core, at(retry));
    core.job_finished(at(retry), JobResult::Append(Ok(())));
    let parts = unstored();
    core.tab_message(at(retry), &told(false, &parts).encode());
    assert_eq!(batch(&mut core, at(retry)), parts[..1]);
}

#[test]
fn what_waits_for_the_stored_part_of_its_document_holds_back_what_is_tied_to_it() {
    let mut core = loaded(false);
    let mut parts = unstored();
    let mut theirs = Doc::new(PeerId(8));
    theirs.transact(0, |tx| tx.counter("n").add(1));
    let first = theirs.blocks_since(&VersionVector::new());
    let had = theirs.version().clone();
    theirs.transact(0, |tx| tx.counter("n").add(1));
    parts[1].1 = theirs.blocks_since(&had);
    core.tab_message(at(1), &told(false, &parts).encode());
    assert!(core.next_job(at(1)).is_none(), "what it builds on is not read");
    let stored = StoredDoc { snapshot: None, blocks: first };
    core.load_finished(at(2), &other(), Ok(Loaded { stored, acked: None }));
    assert_eq!(batch(&mut core, at(2)), parts);
}

#[test]
fn what_lacks_nothing_is_shown_at_once() {
    let mut core = both_loaded(false);
    let mut theirs = Doc::new(PeerId(8));
    let mut parts = unstored();
    for _ in 0..2 {
        theirs.transact(0, |tx| tx.counter("n").add(1));
    }
    parts[1].1 = theirs.blocks_since(&VersionVector::new());
    core.tab_message(at(1), &told(true, &parts).encode());
    let counts = [board(), other()].map(|id| core.open(&id).borrow().counter("n"));
    assert_eq!(counts, [1, 2]);
    assert!(!outputs(&mut core).iter().any(|output| matches!(output, Output::Reread(..))));
}

#[test]
fn what_builds_on_the_next_change_of_one_that_comes_with_it_lacks_that() {
    let mut core = both_loaded(false);
    let mut theirs = Doc::new(PeerId(8));
    for _ in 0..2 {
        theirs.transact(0, |tx| tx.counter("n").add(1));
    }
    let both = theirs.blocks_since(&VersionVector::new());
    let mut reader = Doc::new(PeerId(9));
    reader.import(u64::MAX, both.clone()).expect("valid blocks");
    reader.transact(0, |tx| tx.counter("n").add(1));
    let mut parts = unstored();
    parts[1].1 = reader.blocks_since(theirs.version());
    parts[1].1.insert(0, both[0].clone());
    core.tab_message(at(1), &told(true, &parts).encode());
    assert!(outputs(&mut core).iter().any(|output| matches!(output, Output::Reread(..))));
    assert_eq!(core.open(&board()).borrow().counter("n"), 0, "none of it is shown yet");
}

#[test]
fn what_a_replacement_has_of_tied_changes_is_replaced_when_they_are_written_again() {
    let mut core = both_loaded(false);
    let first = write(&mut core, at(1));
    assert!(core.next_job(at(1)).is_some());
    core.job_finished(at(1), JobResult::Append(Ok(())));
    move_away(&mut core, &first);
    let parts = write_both(&mut core, at(2));
    assert_eq!(replacement(&mut core), [name(&first)]);
    let from = move_away(&mut core, &parts[0].1[0]);
    core.job_finished(at(3), JobResult::Replace(board(), Ok(())));
    assert_eq!(replacement(&mut core), [from]);
}

#[test]
fn a_replacement_leaves_out_what_is_stored_with_changes_of_other_documents_only() {
    let mut core = both_loaded(false);
    let first = write(&mut core, at(1));
    store(&mut core, at(1));
    move_away(&mut core, &first);
    let parts = write_both(&mut core, at(2));
    let after = write(&mut core, at(3));
    let Some(Job::Replace { snapshot, .. }) = core.next_job(at(4)) else {
        panic!("no replacement")
    };
    let tied = &parts[0].1[0];
    assert_eq!(snapshot.version.get(tied.peer()), 0);
    assert_eq!(snapshot.version.get(first.successor()), first.end());
    core.job_finished(at(5), JobResult::Replace(board(), Ok(())));
    let Some(Job::Append(mut batch)) = core.next_job(at(5)) else { panic!("nothing to append") };
    assert_eq!(batch[0].1.pop(), Some(after));
    assert_eq!(batch, parts);
}

#[test]
fn what_is_written_again_while_it_is_being_stored_is_told_with_what_it_is_tied_to() {
    let mut core = both_loaded(false);
    let parts = write_both(&mut core, at(1));
    assert!(matches!(core.next_job(at(1)), Some(Job::Append(_))));
    let from = move_away(&mut core, &parts[0].1[0]);
    outputs(&mut core);
    core.job_finished(at(2), JobResult::Append(Ok(())));
    let told = posted(&outputs(&mut core));
    let [TabMessage::Changes { stored: true, parts: now, .. }] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(now[0].1[0].peer(), parts[0].1[0].successor());
    assert_eq!(now[1], parts[1]);
    // It is on the disk, under its old name.
    let Some(Job::Replace { snapshot, moved, .. }) = core.next_job(at(3)) else {
        panic!("no replacement")
    };
    assert_eq!((snapshot.version.get(now[0].1[0].peer()), moved), (now[0].1[0].end(), vec![from]));
    core.job_finished(at(4), JobResult::Replace(board(), Ok(())));
    assert_eq!(posted(&outputs(&mut core)), [], "all of it was told");
    assert!(core.status().saved_here);
}

#[test]
fn what_is_written_again_while_storing_it_fails_is_stored_with_what_it_is_tied_to() {
    let mut core = both_loaded(false);
    let parts = write_both(&mut core, at(1));
    assert!(matches!(core.next_job(at(1)), Some(Job::Append(_))));
    move_away(&mut core, &parts[0].1[0]);
    core.job_finished(at(2), JobResult::Append(Err(AppendError::Unavailable)));
    let Some(Job::Replace { snapshot, .. }) = core.next_job(at(9_000)) else {
        panic!("no replacement")
    };
    assert_eq!(snapshot.version, VersionVector::new());
    core.job_finished(at(9_000), JobResult::Replace(board(), Ok(())));
    let Some(Job::Append(batch)) = core.next_job(at(9_001)) else { panic!("nothing to append") };
    assert_eq!(batch.len(), 2);
}

#[test]
fn what_is_found_to_be_stored_is_tied_to_nothing_any_more() {
    let mut core = both_loaded(false);
    let parts = unstored();
    core.tab_message(at(1), &told(false, &parts).encode());
    assert_eq!(core.docs[&board()].store.ties.len(), 1);
    let block = &parts[0].1[0];
    let found = StoredDoc { snapshot: None, blocks: vec![block.clone()] };
    core.reread_finished(at(2), vec![(board(), found.clone())], Told::default(), 0);
    assert!(core.docs[&board()].store.ties.is_empty());
    // Be it under the name that it had before.
    let mut core = both_loaded(false);
    core.tab_message(at(1), &told(false, &parts).encode());
    move_away(&mut core, block);
    assert!(core.docs[&board()].store.ties.contains_key(&OpId::new(block.successor(), 0)));
    core.reread_finished(at(2), vec![(board(), found)], Told::default(), 0);
    assert!(core.docs[&board()].store.ties.is_empty());
}
