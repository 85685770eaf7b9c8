//! Packs of changes that the server sends, and how they are stored.

use bytes::Bytes;
use leptos_sync_crdt::{Block, DecodeError, Doc, PeerId, VersionVector, pack_blocks};
use leptos_sync_protocol::{Close, Message, Pack, encode_frame};
use leptos_sync_storage::{CompactError, Snapshot, StoredDoc};

use super::link_tests::{Wire, store, version};
use super::tests::{at, board, loaded, outputs, write};
use super::ties_tests::{both_loaded, other, write_both};
use super::{Core, Job, JobResult, Loaded, Output};
use crate::event::{DocEvent, Origin};
use crate::status::{Reason, SyncState};

// The last document that was opened is the one that the server's messages are about.

/// Enough to be stored as a snapshot.
const MANY: usize = 128;

/// Letters that somebody else typed.
fn letters(peer: u64, count: usize) -> Vec<Block> {
    let mut doc = Doc::new(PeerId(peer));
    for at in 0..count {
        doc.transact(0, |tx| tx.text("t").insert(at, "x")).0.expect("it is in the text");
    }
    doc.blocks_since(&VersionVector::new())
}

fn pack(wire: &Wire, blocks: &[Block]) -> Message {
    let update = pack_blocks(blocks).expect("blocks that follow one another").into();
    Message::Pack(Pack { ch: wire.ch, update })
}

/// Connected to a server that has so many letters, which it sends in one pack.
fn packed(count: usize) -> Wire {
    let blocks = letters(8, count);
    let (mut wire, _) = Wire::new(at(0), loaded(true));
    wire.open(at(0), version(&[(8, count as u32)]), None);
    let message = pack(&wire, &blocks);
    wire.say(at(1), &message);
    wire.caught_up(at(1));
    wire
}

fn text(core: &mut Core) -> String {
    core.open(&board()).borrow().text("t").to_string()
}

fn snapshot(core: &mut Core, ms: u64) -> Snapshot {
    match core.next_job(at(ms)) {
        Some(Job::Replace { snapshot, moved, .. }) if moved.is_empty() => snapshot,
        other => panic!("no snapshot, but {other:?}"),
    }
}

#[test]
fn a_large_pack_is_shown_at_once_and_stored_as_one_snapshot() {
    let mut wire = packed(MANY);
    assert_eq!(text(&mut wire.core), "x".repeat(MANY));
    assert_eq!((wire.pending(), wire.state()), (0, SyncState::Saved));
    assert!(!wire.core.status().saved_here);
    let stored = snapshot(&mut wire.core, 2);
    assert_eq!(stored.version, version(&[(8, MANY as u32)]));
    wire.core.job_finished(at(3), JobResult::Replace(board(), Ok(())));
    assert!(wire.core.status().saved_here);
    let doc = Doc::from_snapshot(PeerId(1), &stored.bytes).expect("a snapshot");
    assert_eq!(doc.text("t").to_string(), "x".repeat(MANY));
}

#[test]
fn a_small_pack_is_stored_as_blocks() {
    let mut wire = packed(MANY - 1);
    let Some(Job::Append(batch)) = wire.core.next_job(at(2)) else { panic!("nothing to store") };
    assert_eq!(batch, [(board(), letters(8, MANY - 1))]);
    wire.core.job_finished(at(3), JobResult::Append(Ok(())));
    assert!(wire.core.status().saved_here);
}

#[test]
fn what_is_written_after_a_pack_is_stored_and_told_with_it() {
    let mut wire = packed(MANY);
    let block = write(&mut wire.core, at(2));
    assert!(wire.sent().blocks.is_empty(), "it is not stored yet");
    assert_eq!(snapshot(&mut wire.core, 2).version.get(PeerId(7)), 1);
    let later = write(&mut wire.core, at(3));
    wire.core.job_finished(at(4), JobResult::Replace(board(), Ok(())));
    assert_eq!(wire.sent().blocks, [block]);
    store(&mut wire.core, at(5));
    assert_eq!(wire.sent().blocks, [later]);
    assert!(wire.core.status().saved_here);
}

#[test]
fn what_was_written_before_a_pack_is_not_counted_as_the_servers() {
    let mut core = loaded(true);
    let block = write(&mut core, at(0));
    store(&mut core, at(0));
    let (mut wire, _) = Wire::new(at(0), core);
    assert_eq!(wire.open(at(0), version(&[(8, MANY as u32)]), None).blocks, [block]);
    let message = pack(&wire, &letters(8, MANY));
    wire.say(at(1), &message);
    assert_eq!(wire.pending(), 1);
    wire.ack(at(2), version(&[(7, 1)]));
    assert_eq!(wire.pending(), 0);
}

#[test]
fn what_came_in_a_pack_is_not_sent_back() {
    let (mut wire, _) = Wire::opened(at(0), loaded(true), VersionVector::new());
    let message = pack(&wire, &letters(8, MANY));
    wire.say(at(1), &message);
    let block = write(&mut wire.core, at(2));
    store(&mut wire.core, at(2));
    assert_eq!(wire.sent().blocks, [block]);
}

#[test]
fn a_pack_that_cannot_be_stored_is_stored_later_and_what_follows_waits() {
    let mut wire = packed(MANY);
    snapshot(&mut wire.core, 2);
    let block = write(&mut wire.core, at(3));
    wire.core.job_finished(at(4), JobResult::Replace(board(), Err(CompactError::QuotaExceeded)));
    assert!(!wire.core.status().saved_here);
    assert_eq!(wire.sent().blocks, [block], "from memory");
    assert_eq!(snapshot(&mut wire.core, 60_000).version.get(PeerId(7)), 1);
    wire.core.job_finished(at(60_001), JobResult::Replace(board(), Ok(())));
    assert!(wire.core.status().saved_here);
}

#[test]
fn a_pack_beside_a_stored_part_that_cannot_be_merged_is_stored_as_blocks() {
    let mut wire = packed(MANY);
    let stale = || JobResult::Replace(board(), Err(CompactError::Stale { doc: board() }));
    for ms in [1_000, 2_000, 3_000, 4_000] {
        snapshot(&mut wire.core, ms);
        wire.core.job_finished(at(ms), stale());
        assert!(wire.core.next_job(at(ms)).is_none(), "what is stored is read first");
    }
    let Some(Job::Append(batch)) = wire.core.next_job(at(5_000)) else {
        panic!("nothing to store")
    };
    assert_eq!(batch, [(board(), letters(8, MANY))]);
}

#[test]
fn a_pack_beside_a_stored_part_that_is_damaged_keeps_nothing_else_from_being_stored() {
    let mut wire = packed(MANY);
    snapshot(&mut wire.core, 2);
    let source = DecodeError::Checksum;
    let corrupt = CompactError::Corrupt { doc: board(), source };
    wire.core.job_finished(at(3), JobResult::Replace(board(), Err(corrupt)));
    wire.core.open(&other());
    let nothing = Loaded { stored: StoredDoc::default(), acked: None };
    wire.core.load_finished(at(4), &other(), Ok(nothing));
    let content = wire.core.open(&other());
    let (_, commit) = content.borrow_mut().transact(0, |tx| tx.counter("n").add(1));
    wire.core.committed(at(5), vec![(other(), commit.expect("something was written"))]);
    let Some(Job::Append(batch)) = wire.core.next_job(at(60_000)) else { panic!("it waits") };
    assert!(batch.iter().all(|(id, _)| *id == other()));
    assert!(!wire.core.status().saved_here);
}

#[test]
fn a_pack_with_something_that_is_known_is_compared_block_by_block() {
    let blocks = letters(8, MANY);
    let (mut wire, _) = Wire::new(at(0), loaded(true));
    wire.open(at(0), version(&[(8, MANY as u32)]), None);
    wire.feed(at(1), &blocks[..3]);
    let message = pack(&wire, &blocks);
    let heard = wire.hear(at(1), &message);
    assert_eq!(text(&mut wire.core), "x".repeat(MANY));
    let is_remote = |output: &Output| {
        matches!(output, Output::Event(_, DocEvent::Changed { origin: Origin::Remote, .. }))
    };
    assert!(heard.iter().any(is_remote));
    let Some(Job::Append(batch)) = wire.core.next_job(at(2)) else { panic!("nothing to store") };
    assert_eq!(batch, [(board(), blocks)]);
}

#[test]
fn packs_of_one_frame_are_told_as_one_change() {
    let blocks = letters(8, MANY);
    let (mut wire, _) = Wire::new(at(0), loaded(true));
    wire.open(at(0), version(&[(8, MANY as u32)]), None);
    let packs = blocks.chunks(16).map(|part| encode_frame(&pack(&wire, part)));
    let frame: Vec<u8> = packs.flatten().collect();
    assert!(wire.core.frame(at(1), wire.generation, frame.into()));
    let is_change = |output: &Output| {
        matches!(output, Output::Event(_, DocEvent::Changed { origin: Origin::Remote, .. }))
    };
    assert_eq!(outputs(&mut wire.core).iter().filter(|output| is_change(output)).count(), 1);
    assert_eq!(text(&mut wire.core), "x".repeat(MANY));
    assert_eq!(snapshot(&mut wire.core, 2).version, version(&[(8, MANY as u32)]));
}

#[test]
fn somebody_elses_changes_under_an_id_of_ours_are_found_in_a_pack() {
    let mut core = loaded(true);
    let ours = write(&mut core, at(0));
    store(&mut core, at(0));
    let (mut wire, _) = Wire::new(at(0), core);
    let theirs = letters(7, MANY);
    wire.open(at(0), version(&[(7, MANY as u32)]), None);
    let message = pack(&wire, &theirs);
    wire.say(at(1), &message);
    let doc = wire.core.open(&board());
    let successor = ours.successor();
    assert_eq!(doc.borrow().version().get(successor), 1, "ours is written again as another");
    wire.open(at(2), version(&[(7, MANY as u32)]), None);
    let message = pack(&wire, &theirs);
    wire.say(at(2), &message);
    assert_eq!(text(&mut wire.core), "x".repeat(MANY));
}

#[test]
fn what_waited_for_a_pack_comes_with_it_and_is_not_counted_as_the_servers() {
    let blocks = letters(8, MANY);
    let mut own = Doc::new(PeerId(9));
    own.import(0, blocks.iter().cloned()).expect("valid blocks");
    own.transact(0, |tx| tx.counter("n").add(1));
    let waiting = own.blocks_since(&version(&[(8, MANY as u32)]));
    let (mut wire, _) = Wire::new(at(0), loaded(true));
    wire.open(at(0), version(&[(8, MANY as u32)]), None);
    let told = super::tests::changes(true, waiting.clone());
    wire.core.tab_message(at(0), &told.encode());
    assert_eq!(wire.pending(), 0);
    let message = pack(&wire, &blocks);
    wire.say(at(1), &message);
    assert_eq!(wire.core.open(&board()).borrow().counter("n"), 1);
    assert_eq!(wire.pending(), 1);
    assert_eq!(snapshot(&mut wire.core, 2).version, version(&[(8, MANY as u32), (9, 1)]));
}

#[test]
fn changes_of_several_documents_are_not_stored_with_a_pack_of_one() {
    let (mut wire, _) = Wire::new(at(0), both_loaded(true));
    wire.open(at(0), version(&[(8, MANY as u32)]), None);
    let blocks = letters(8, MANY);
    let message = pack(&wire, &blocks);
    wire.say(at(1), &message);
    let parts = write_both(&mut wire.core, at(2));
    let Some(Job::Append(mut batch)) = wire.core.next_job(at(2)) else {
        panic!("nothing to store")
    };
    batch.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(batch[0], parts[0]);
    assert_eq!((&batch[1].0, &batch[1].1[..MANY]), (&other(), &blocks[..]));
    assert_eq!(batch[1].1[MANY..], parts[1].1);
}

#[test]
fn while_changes_of_several_documents_wait_a_pack_is_stored_as_blocks() {
    let (mut wire, _) = Wire::new(at(0), both_loaded(true));
    wire.open(at(0), version(&[(8, MANY as u32)]), None);
    write_both(&mut wire.core, at(1));
    let blocks = letters(8, MANY);
    let message = pack(&wire, &blocks);
    wire.say(at(1), &message);
    let Some(Job::Append(batch)) = wire.core.next_job(at(2)) else { panic!("nothing to store") };
    let counts: usize = batch.iter().map(|(_, blocks)| blocks.len()).sum();
    assert_eq!(counts, MANY + 2);
}

#[test]
fn changes_of_several_documents_that_come_while_a_pack_is_stored_are_not_in_a_later_try() {
    let (mut wire, _) = Wire::new(at(0), both_loaded(true));
    wire.open(at(0), version(&[(8, MANY as u32)]), None);
    let message = pack(&wire, &letters(8, MANY));
    wire.say(at(1), &message);
    assert_eq!(snapshot(&mut wire.core, 2).version.get(PeerId(7)), 0);
    write_both(&mut wire.core, at(2));
    let failed = JobResult::Replace(other(), Err(CompactError::QuotaExceeded));
    wire.core.job_finished(at(3), failed);
    let Some(Job::Append(batch)) = wire.core.next_job(at(60_000)) else {
        panic!("nothing to store")
    };
    let counts: usize = batch.iter().map(|(_, blocks)| blocks.len()).sum();
    assert_eq!(counts, MANY + 2);
}

#[test]
fn a_pack_that_does_not_decode_closes_its_document_and_says_so() {
    let (mut wire, _) = Wire::new(at(0), loaded(true));
    wire.open(at(0), VersionVector::new(), None);
    let (ch, update) = (wire.ch, Bytes::from_static(b"LSU3"));
    let heard = wire.hear(at(1), &Message::Pack(Pack { ch, update }));
    let closes = encode_frame(&Message::Close(Close { ch }));
    let is_closing = |output: &Output| matches!(output, Output::Send(frame) if *frame == closes);
    assert!(heard.iter().any(is_closing), "it is closed there");
    assert_eq!(wire.reason(), Some(Reason::NewerVersion));
}
