//! What the server has of a document when it is opened, and what follows for what is here.

use leptos_sync_crdt::{Block, Doc, PeerId, VersionVector};
use leptos_sync_protocol::{Message, NackCode, Opened, PeerMark, Permission, VERSION_PEERS_MAX};
use leptos_sync_storage::{AppendError, ReadError, Snapshot, StoredDoc};
use leptos_sync_transport::Closed;

use super::link_tests::{FEED, Sent, Wire, store, theirs, version, written, written_and_sent};
use super::records::{Acked, ServerLife};
use super::tests::{at, board, changes, loaded, unread, write};
use super::{Core, JobResult, Loaded, Output};
use crate::status::Reason;

#[test]
fn what_the_server_has_of_ours_without_having_said_so_is_looked_at_first() {
    let mut core = loaded(true);
    let first = written(&mut core, at(1));
    let second = written(&mut core, at(2));
    let (mut wire, _) = Wire::new(at(3), core);
    let sent = wire.open(at(3), version(&[(7, 1)]), None);
    assert_eq!((sent.blocks, wire.pending()), (vec![], 2));
    wire.feed(at(4), &[first]);
    assert_eq!(wire.pending(), 1, "the server has ours");
    wire.sent();
    assert_eq!(wire.caught_up(at(5)).blocks, [second]);
}

#[test]
fn a_server_that_lost_what_it_had_acknowledged_gets_all_of_it_again() {
    let (mut wire, _) = Wire::opened(at(0), loaded(true), version(&[]));
    let block = written_and_sent(&mut wire, at(1));
    wire.ack(at(2), version(&[(7, 1)]));
    assert_eq!(wire.pending(), 0);
    let reconnect = |wire: Wire, have: VersionVector| {
        let Wire { mut core, generation, .. } = wire;
        core.disconnected(at(3), generation, &Closed::lost("cut"));
        let (mut wire, _) = Wire::welcomed_again(at(5), core);
        let (ch, permission) = (wire.ch, Permission::Write);
        let opened = Opened { ch, feed: FEED, permission, have, mark: None };
        let told = wire.hear(at(6), &Message::Opened(opened));
        (wire, told)
    };
    let looks = |output: &Output| matches!(output, Output::FindUnsent(None));
    let (wire, told) = reconnect(wire, version(&[(7, 1)]));
    assert!(!told.iter().any(looks), "nothing is lost");
    let (mut wire, told) = reconnect(wire, version(&[]));
    assert!(told.iter().any(looks), "other documents may be lost, too");
    assert_eq!((wire.read(&told).blocks, wire.pending()), (vec![block], 1));
}

#[test]
fn a_server_that_cannot_name_all_authors_has_lost_nothing() {
    let (mut wire, _) = Wire::opened(at(0), loaded(true), version(&[]));
    let block = written_and_sent(&mut wire, at(1));
    wire.ack(at(2), version(&[(7, 1)]));
    let Wire { mut core, generation, .. } = wire;
    core.disconnected(at(3), generation, &Closed::lost("cut"));
    let (mut wire, _) = Wire::welcomed_again(at(5), core);
    let (ch, permission) = (wire.ch, Permission::Write);
    let have = (0..VERSION_PEERS_MAX as u64).map(|other| (PeerId(100 + other), 1)).collect();
    let opened = Opened { ch, feed: FEED, permission, have, mark: None };
    let told = wire.hear(at(6), &Message::Opened(opened));
    assert!(!told.iter().any(|output| matches!(output, Output::FindUnsent(_))));
    assert_eq!((wire.read(&told).blocks, wire.pending()), (vec![block], 0), "to be sure");
}

#[test]
fn the_server_is_told_what_it_need_not_send() {
    let mut core = loaded(true);
    written(&mut core, at(1));
    let (mut wire, asked) = Wire::new(at(2), core);
    let [open] = &asked.opens[..] else { panic!("{asked:?}") };
    assert_eq!(open.have, version(&[]), "it may not have what it did not acknowledge");
    assert_eq!(open.me.map(|mark| (mark.peer, mark.seq)), Some((PeerId(7), 1)));
    wire.open(at(3), version(&[]), None);
    wire.ack(at(4), version(&[(7, 1)]));
    write(&mut wire.core, at(5));
    let other = theirs(at(5).wall_ms);
    wire.feed(at(5), &[other]);
    store(&mut wire.core, at(6));
    let Wire { mut core, generation, .. } = wire;
    core.disconnected(at(7), generation, &Closed::lost("cut"));
    let (_, asked) = Wire::welcomed_again(at(9), core);
    let [open] = &asked.opens[..] else { panic!("{asked:?}") };
    assert_eq!(open.have, version(&[(7, 1), (8, 1)]));
}

/// The server's mark of our chain: what it would be of a document that has these blocks.
fn mark(blocks: &[Block]) -> Option<PeerMark> {
    let mut content = Doc::new(PeerId(0));
    content.import(u64::MAX, blocks.to_vec()).expect("valid blocks");
    let mark = content.chain_mark(PeerId(7)).expect("it wrote something");
    Some(PeerMark { peer: PeerId(7), seq: mark.seq, hash: mark.hash })
}

#[test]
fn a_server_that_has_a_part_of_our_chain_gets_the_rest() {
    let mut core = loaded(true);
    let first = written(&mut core, at(1));
    let (mut wire, _) = Wire::new(at(2), core);
    wire.open(at(2), version(&[]), None);
    wire.ack(at(2), version(&[(7, 1)]));
    let second = written_and_sent(&mut wire, at(3));
    assert_eq!(second.peer(), PeerId(7));
    let Wire { mut core, generation, .. } = wire;
    core.disconnected(at(4), generation, &Closed::lost("cut"));
    let (mut wire, _) = Wire::welcomed_again(at(5), core);
    let sent = wire.open(at(5), version(&[(7, 1)]), mark(&[first]));
    assert_eq!(sent.blocks, [second]);
    assert_eq!(wire.reason(), None);
}

/// Our first change, which the server acknowledged before the connection was cut.
fn cut_off_after_an_acknowledgement() -> (Core, Block) {
    let mut core = loaded(true);
    let first = written(&mut core, at(1));
    let (mut wire, _) = Wire::new(at(2), core);
    wire.open(at(2), version(&[]), None);
    wire.ack(at(2), version(&[(7, 1)]));
    let Wire { mut core, generation, .. } = wire;
    core.disconnected(at(3), generation, &Closed::lost("cut"));
    (core, first)
}

#[test]
fn where_the_server_has_more_of_ours_than_we_the_id_is_left() {
    let (core, first) = cut_off_after_an_acknowledgement();
    let (mut wire, _) = Wire::welcomed_again(at(4), core);
    let longer = PeerMark { seq: 2, ..mark(&[first]).expect("there is one") };
    wire.open(at(4), version(&[(7, 2)]), Some(longer));
    assert_ne!(write(&mut wire.core, at(5)).peer(), PeerId(7));
    assert_eq!(wire.reason(), None);
}

#[test]
fn under_a_name_that_the_server_has_for_others_nothing_is_sent_until_it_has_sent_those() {
    let mut core = loaded(true);
    let ours = written(&mut core, at(1));
    let (mut wire, _) = Wire::new(at(2), core);
    let mut copy = Doc::new(PeerId(7));
    copy.transact(at(1).wall_ms, |tx| tx.counter("n").add(100));
    let others = copy.blocks_since(&VersionVector::new());
    let again = wire.open(at(2), version(&[(7, 1)]), mark(&others));
    let [open] = &again.opens[..] else { panic!("{again:?}") };
    assert_eq!(open.have, version(&[]), "it is to send all that it has");
    assert_eq!(wire.reason(), Some(Reason::Rejected(NackCode::DuplicatePeer)));
    wire.open(at(3), version(&[(7, 1)]), mark(&others));
    assert_eq!((wire.pending(), wire.sent().blocks), (1, vec![]));
    wire.feed(at(4), &others);
    let reopened = wire.sent();
    assert_eq!(wire.reason(), None);
    assert_eq!(reopened.opens.len(), 1, "{reopened:?}");
    wire.open(at(5), version(&[(7, 1)]), None);
    wire.feed(at(5), &others);
    let Wire { mut core, generation, .. } = wire;
    core.disconnected(at(6), generation, &Closed::lost("cut"));
    let (mut wire, asked) = Wire::welcomed_again(at(7), core);
    let [open] = &asked.opens[..] else { panic!("{asked:?}") };
    assert_eq!(open.have, version(&[(7, 1)]), "there is no doubt any more");
    wire.open(at(7), version(&[(7, 1)]), None);
    wire.caught_up(at(7));
    assert_eq!(wire.pending(), 1);
    let content = wire.core.open(&board());
    let content = content.borrow();
    assert_eq!(content.version().get(ours.successor()), 1, "ours has another name");
}

#[test]
fn what_another_tab_does_not_get_acknowledged_is_sent_from_here() {
    let (mut wire, _) = Wire::opened(at(0), loaded(true), version(&[]));
    store(&mut wire.core, at(400));
    let block = theirs(at(0).wall_ms);
    let told = changes(true, vec![block.clone()]);
    wire.core.tab_message(at(500), &told.encode());
    assert_eq!((wire.sent().blocks, wire.pending()), (vec![], 1));
    assert_eq!(wire.core.deadline(), Some(3_500));
    assert_eq!(wire.tick(at(3_499)).blocks, []);
    assert_eq!(wire.tick(at(3_500)).blocks, [block]);
    wire.ack(at(3_600), version(&[(8, 1)]));
    assert_eq!(wire.pending(), 0);
    wire.core.tab_message(at(3_700), &told.encode());
    assert_eq!(wire.tick(at(7_000)).blocks, [], "the server has it");
}

#[test]
fn what_another_tab_sends_itself_does_not_go_with_ours() {
    let (mut wire, _) = Wire::opened(at(0), loaded(true), version(&[]));
    let ours = write(&mut wire.core, at(1));
    let block = theirs(at(0).wall_ms);
    let told = changes(true, vec![block.clone()]);
    wire.core.tab_message(at(2), &told.encode());
    store(&mut wire.core, at(3));
    assert_eq!(wire.sent().blocks, [ours]);
    let upon_both = write(&mut wire.core, at(4));
    store(&mut wire.core, at(4));
    assert_eq!(wire.sent().blocks, [block, upon_both], "unless ours builds on it");
}

#[test]
fn what_cannot_be_stored_is_sent_when_the_server_is_there() {
    let mut core = loaded(true);
    let block = write(&mut core, at(1));
    assert!(core.next_job(at(1)).is_some());
    core.job_finished(at(2), JobResult::Append(Err(AppendError::QuotaExceeded)));
    let (mut wire, _) = Wire::new(at(3), core);
    let sent = wire.open(at(3), version(&[]), None).blocks;
    assert_eq!((sent, wire.pending()), (vec![block], 1));
}

#[test]
fn a_change_of_this_device_comes_with_what_it_waited_for_whatever_its_stamp_says() {
    for is_read in [false, true] {
        let theirs = theirs(at(0).wall_ms);
        let mut tab = Doc::new(PeerId(9));
        tab.import(u64::MAX, [theirs.clone()]).expect("a valid block");
        let (an_hour, had) = (3_600_000, tab.version().clone());
        tab.transact(at(an_hour).wall_ms, |tx| tx.counter("n").add(5));
        let blocks = tab.blocks_since(&had);
        let mut core = if is_read { unread(true) } else { loaded(true) };
        if is_read {
            let stored = StoredDoc { snapshot: None, blocks };
            core.load_finished(at(0), &board(), Ok(Loaded { stored, acked: None }));
        } else {
            let told = changes(true, blocks);
            core.tab_message(at(0), &told.encode());
        }
        let (mut wire, _) = Wire::opened(at(1), core, version(&[(8, 1)]));
        assert_eq!(wire.core.open(&board()).borrow().counter("n"), 0);
        wire.feed(at(2), &[theirs]);
        assert_eq!(wire.core.open(&board()).borrow().counter("n"), 15);
        assert_eq!(wire.pending(), 1, "and is not shown as saved at the server");
    }
}

#[test]
fn what_the_server_said_it_has_does_not_wait_for_it_when_another_tab_brings_it() {
    let (mut wire, _) = Wire::new(at(0), loaded(true));
    wire.open(at(1), version(&[(8, 1)]), None);
    let told = changes(true, vec![theirs(at(0).wall_ms)]);
    wire.core.tab_message(at(2), &told.encode());
    assert_eq!(wire.pending(), 0);
}

/// Our first change, which the server acknowledged, and our second, of which it does not know;
/// then what it is asked.
fn ahead_of_the_server() -> (Wire, Sent, [Block; 2]) {
    let (mut core, first) = cut_off_after_an_acknowledgement();
    let second = written(&mut core, at(4));
    let (wire, asked) = Wire::welcomed_again(at(5), core);
    (wire, asked, [first, second])
}

#[test]
fn what_follows_a_change_that_the_server_has_otherwise_is_not_sent() {
    let (mut wire, _, [_, second]) = ahead_of_the_server();
    let mut copy = Doc::new(PeerId(7));
    copy.transact(at(1).wall_ms, |tx| tx.counter("n").add(100));
    let others = mark(&copy.blocks_since(&VersionVector::new()));
    let again = wire.open(at(5), version(&[(7, 1)]), others);
    let [open] = &again.opens[..] else { panic!("{again:?}") };
    assert_eq!(open.have, version(&[]), "it is to send all that it has");
    assert_eq!(wire.open(at(6), version(&[(7, 1)]), others).blocks, []);
    assert_eq!((second.peer(), wire.pending()), (PeerId(7), 1));
}

#[test]
fn where_the_server_has_just_what_we_have_the_id_stays() {
    let (mut wire, _, ours) = ahead_of_the_server();
    wire.open(at(5), version(&[(7, 1)]), mark(&ours[..1]));
    wire.ack(at(6), version(&[(7, 2)]));
    let Wire { mut core, generation, .. } = wire;
    core.disconnected(at(7), generation, &Closed::lost("cut"));
    let (mut wire, _) = Wire::welcomed_again(at(8), core);
    wire.open(at(8), version(&[(7, 2)]), mark(&ours));
    assert_eq!(write(&mut wire.core, at(9)).peer(), PeerId(7));
}

#[test]
fn what_another_tab_left_to_be_stored_here_is_sent_when_it_is() {
    let (mut wire, _) = Wire::opened(at(0), loaded(true), version(&[]));
    let block = theirs(at(0).wall_ms);
    let told = changes(false, vec![block.clone()]);
    wire.core.tab_message(at(1), &told.encode());
    assert!(wire.core.next_job(at(2)).is_some());
    assert_eq!(wire.tick(at(3_001)).blocks, [], "it is being stored");
    wire.core.job_finished(at(4_000), JobResult::Append(Ok(())));
    assert_eq!(wire.tick(at(6_999)).blocks, []);
    assert_eq!(wire.tick(at(7_000)).blocks, [block]);
}

#[test]
fn what_cannot_be_stored_is_sent_with_what_it_builds_on() {
    let (mut wire, _) = Wire::opened(at(0), loaded(true), version(&[]));
    let block = theirs(at(0).wall_ms);
    wire.core.tab_message(at(1), &changes(false, vec![block.clone()]).encode());
    let upon = write(&mut wire.core, at(2));
    assert!(wire.core.next_job(at(2)).is_some());
    wire.core.job_finished(at(3), JobResult::Append(Err(AppendError::QuotaExceeded)));
    assert_eq!(wire.sent().blocks, [block, upon]);
}

#[test]
fn what_was_noted_of_another_life_of_the_server_does_not_count_though_it_is_read_late() {
    for (epoch, pending) in [(1, 0), (2, 1)] {
        let mut core = unread(true);
        core.load_finished(at(0), &board(), Err(ReadError::Blocked));
        let (mut wire, _) = Wire::opened(at(1), core, version(&[]));
        let (acked, life) = (version(&[(8, 1)]), ServerLife { server: 9, epoch });
        let acked = Some(Acked { life, acked: acked.clone(), ever: acked, read: None }.encode());
        let stored = StoredDoc { snapshot: None, blocks: vec![theirs(at(0).wall_ms)] };
        wire.core.load_finished(at(2), &board(), Ok(Loaded { stored, acked }));
        assert_eq!(wire.pending(), pending);
    }
}

#[test]
fn what_waited_for_others_is_asked_for_again_when_a_snapshot_is_read_late() {
    for waits in [false, true] {
        let mut core = unread(true);
        core.load_finished(at(0), &board(), Err(ReadError::Blocked));
        let (mut wire, _) = Wire::opened(at(1), core, version(&[]));
        let mut other = Doc::new(PeerId(8));
        for _ in 0..2 {
            other.transact(0, |tx| tx.counter("n").add(1));
        }
        let blocks = other.blocks_since(&VersionVector::new());
        wire.feed(at(2), &blocks[usize::from(waits)..]);
        wire.sent();
        let mut another = Doc::new(PeerId(9));
        another.transact(0, |tx| tx.counter("n").add(1));
        let (version, bytes) = (another.version().clone(), another.encode_snapshot());
        let snapshot = Some(Snapshot { version, bytes });
        let stored = StoredDoc { snapshot, blocks: Vec::new() };
        wire.core.load_finished(at(3), &board(), Ok(Loaded { stored, acked: None }));
        assert_eq!(wire.sent().opens.len(), usize::from(waits));
    }
}

#[test]
fn a_document_is_asked_for_when_it_is_known_what_is_here() {
    let (mut wire, asked) = Wire::new(at(0), unread(true));
    assert_eq!(asked.opens, []);
    let stored = StoredDoc { snapshot: None, blocks: vec![theirs(at(0).wall_ms)] };
    let loaded = Loaded { stored, acked: None };
    wire.core.load_finished(at(1), &board(), Ok(loaded));
    assert_eq!(wire.sent().opens.len(), 1);
}
