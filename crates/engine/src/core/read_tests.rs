//! Log marks: whoever has read a server's log says up to where, and not all that it has.

use leptos_sync_crdt::{Block, Doc, PeerId, VersionVector};
use leptos_sync_protocol::{
    DocErr, DocErrCode, LogMark, Message, Open, Opened, Permission, VERSION_PEERS_MAX,
};
use leptos_sync_storage::StoredDoc;
use leptos_sync_transport::Closed;

use super::link_tests::{FEED, Sent, Wire, store, version, written, written_and_sent};
use super::records::{Acked, Read};
use super::tests::{at, board, loaded, outputs, unread};
use super::{Core, Job, JobResult, Loaded, Now, Output};

/// A change of `peer`.
fn change_of(peer: u64) -> Block {
    let mut doc = Doc::new(PeerId(peer));
    doc.transact(at(0).wall_ms, |tx| tx.counter("n").add(1));
    doc.blocks_since(&VersionVector::new()).remove(0)
}

fn mark(position: u64, version: &VersionVector) -> LogMark {
    LogMark { position, digest: version.digest() }
}

/// The mark below which are first changes of the authors 8 and 9.
fn two() -> LogMark {
    mark(2, &version(&[(8, 1), (9, 1)]))
}

/// Those two changes were read and stored.
fn read_two() -> Wire {
    let server = version(&[(8, 1), (9, 1)]);
    let (mut wire, _) = Wire::new(at(0), loaded(true));
    wire.open(at(0), server, None);
    wire.feed(at(1), &[change_of(8), change_of(9)]);
    wire.read_up_to(at(2), two());
    store(&mut wire.core, at(3));
    wire
}

fn cut(wire: Wire, now: Now) -> (Wire, Open) {
    let Wire { mut core, generation, .. } = wire;
    core.disconnected(now, generation, &Closed::lost("cut"));
    let (wire, asked) = Wire::welcomed_again(now, core);
    (wire, opened_once(asked))
}

fn opened_once(mut asked: Sent) -> Open {
    assert_eq!(asked.opens.len(), 1, "{asked:?}");
    asked.opens.remove(0)
}

fn say_opened(wire: &mut Wire, now: Now, have: VersionVector) -> Vec<Output> {
    let (ch, permission) = (wire.ch, Permission::Write);
    let opened = Opened { ch, feed: FEED, permission, have, mark: None };
    wire.hear(now, &Message::Opened(opened))
}

fn unknown_mark(wire: &mut Wire, now: Now) -> Sent {
    let (ch, code) = (wire.ch, DocErrCode::UnknownMark);
    wire.say(now, &Message::DocErr(DocErr { ch, code, detail: String::new() }))
}

fn was_lost(told: &[Output]) -> bool {
    told.iter().any(|output| matches!(output, Output::FindUnsent(None)))
}

/// What is written down of the server's part, once it is due.
fn noted(core: &mut Core, now: Now) -> Acked {
    while let Some(job) = core.next_job(now) {
        if let Job::Meta { value: Some(value), .. } = job {
            return Acked::decode(&value).expect("our own record");
        }
        core.job_finished(now, JobResult::Append(Ok(())));
    }
    panic!("nothing is written down")
}

#[test]
fn who_has_read_the_log_names_a_mark_and_what_came_later() {
    let mut wire = read_two();
    let ours = written_and_sent(&mut wire, at(4));
    // What is below the mark anyway is not later.
    wire.ack(at(5), version(&[(7, 1), (8, 1)]));
    let (mut wire, open) = cut(wire, at(6));
    assert_eq!((open.since, open.have), (Some(two()), version(&[(7, ours.end())])));
    let told = say_opened(&mut wire, at(7), version(&[(7, 1), (10, 1)]));
    assert!(!was_lost(&told));
    assert_eq!(wire.read(&told).blocks, []);
    wire.feed(at(8), &[change_of(10)]);
    let all = version(&[(7, 1), (8, 1), (9, 1), (10, 1)]);
    wire.read_up_to(at(9), mark(4, &all));
    let (_, open) = cut(wire, at(10));
    assert_eq!((open.since, open.have), (Some(mark(4, &all)), version(&[])));
}

#[test]
fn what_the_server_lacks_is_sent_after_a_mark_too() {
    let (mut wire, _) = cut(read_two(), at(4));
    let ours = written(&mut wire.core, at(5));
    let told = say_opened(&mut wire, at(6), version(&[]));
    assert_eq!((wire.read(&told).blocks, wire.pending()), (vec![ours], 1));
}

#[test]
fn a_mark_of_more_or_less_than_the_server_is_known_to_have_is_not_kept() {
    for digest in
        [version(&[(8, 1)]), version(&[(7, 1), (8, 1), (9, 1)]), version(&[(8, 1), (9, 2)])]
    {
        let (mut wire, _) = Wire::new(at(0), loaded(true));
        wire.open(at(0), version(&[(8, 1), (9, 1)]), None);
        wire.feed(at(1), &[change_of(8), change_of(9)]);
        wire.read_up_to(at(2), mark(2, &digest));
        assert_eq!(cut(wire, at(4)).1.since, None);
    }
}

#[test]
fn a_mark_below_which_something_has_not_arrived_is_not_kept() {
    let (mut wire, _) = Wire::new(at(0), loaded(true));
    wire.open(at(0), version(&[(8, 1), (9, 1)]), None);
    wire.feed(at(1), &[change_of(8)]);
    wire.read_up_to(at(2), two());
    let (_, open) = cut(wire, at(4));
    assert_eq!((open.since, open.have), (None, version(&[(8, 1)])));
}

#[test]
fn where_the_log_is_another_all_that_is_here_is_named() {
    let (mut wire, _) = cut(read_two(), at(4));
    let open = opened_once(unknown_mark(&mut wire, at(5)));
    assert_eq!((open.since, open.have), (None, version(&[(8, 1), (9, 1)])));
    // A server that refuses that, too, is asked later.
    assert_eq!(unknown_mark(&mut wire, at(6)).opens, []);
    assert_eq!(wire.tick(at(5_006)).opens.len(), 1);
}

#[test]
fn what_a_server_lost_above_the_mark_is_noticed() {
    let mut wire = read_two();
    let ours = written_and_sent(&mut wire, at(4));
    wire.ack(at(5), version(&[(7, 1)]));
    let (mut wire, _) = cut(wire, at(6));
    let told = say_opened(&mut wire, at(7), version(&[(10, 1)]));
    assert!(was_lost(&told), "its log goes on in another way from the mark");
    let sent = wire.read(&told).blocks;
    assert!(sent.contains(&ours), "{sent:?}");
    assert_eq!(cut(wire, at(8)).1.since, None, "nothing that it had counts any more");
}

#[test]
fn who_is_not_named_for_want_of_room_lost_nothing_above_the_mark_either() {
    let mut wire = read_two();
    let ours = written_and_sent(&mut wire, at(4));
    wire.ack(at(5), version(&[(7, 1)]));
    let (mut wire, _) = cut(wire, at(6));
    let have = (0..VERSION_PEERS_MAX as u64).map(|other| (PeerId(100 + other), 1)).collect();
    let told = say_opened(&mut wire, at(7), have);
    assert!(!was_lost(&told));
    assert_eq!(wire.read(&told).blocks, [ours], "to be sure");
}

#[test]
fn the_next_start_reads_on_if_all_is_stored_that_was_read() {
    let mut wire = read_two();
    let record = noted(&mut wire.core, at(1_000));
    let read = Read { mark: two(), later: VersionVector::new() };
    assert_eq!(record.read, Some(read));
    wire.core.job_finished(at(1_000), JobResult::Meta(Ok(())));
    wire.read_up_to(at(1_001), two());
    assert!(wire.core.next_job(at(9_000)).is_none(), "it is written down");
    for (blocks, since) in [(vec![8, 9], Some(two())), (vec![8], None)] {
        let mut core = unread(true);
        let blocks = blocks.into_iter().map(change_of).collect();
        let stored = StoredDoc { snapshot: None, blocks };
        let acked = Some(record.encode());
        core.load_finished(at(0), &board(), Ok(Loaded { stored, acked }));
        outputs(&mut core);
        let (_, asked) = Wire::new(at(1), core);
        assert_eq!(opened_once(asked).since, since);
    }
}

#[test]
fn a_mark_that_was_written_down_before_the_server_said_more_is_not_read_on_from() {
    let record = noted(&mut read_two().core, at(1_000));
    for (heard, since) in [(vec![8, 9], Some(two())), (vec![8, 9, 10], None)] {
        let mut core = unread(true);
        core.load_finished(at(0), &board(), Err(leptos_sync_storage::ReadError::Blocked));
        let blocks: Vec<_> = heard.iter().map(|peer| change_of(*peer)).collect();
        let (mut wire, _) = Wire::new(at(0), core);
        wire.open(at(1), heard.iter().map(|peer| (PeerId(*peer), 1)).collect(), None);
        wire.feed(at(2), &blocks);
        let loaded = Loaded { stored: StoredDoc::default(), acked: Some(record.encode()) };
        wire.core.load_finished(at(3), &board(), Ok(loaded));
        wire.sent();
        assert_eq!(cut(wire, at(4)).1.since, since);
    }
}

#[test]
fn another_life_of_the_server_has_another_log() {
    let Wire { mut core, generation, .. } = read_two();
    core.disconnected(at(4), generation, &Closed::lost("cut"));
    core.nudge(at(4));
    let generation = super::tests::dialed(&outputs(&mut core)).expect("it dials");
    let welcome = super::link_tests::welcome(2, at(5).wall_ms);
    let (_, asked) = Wire::connected(at(5), core, generation, welcome);
    assert_eq!(opened_once(asked).since, None);
}

#[test]
fn what_many_authors_were_acknowledged_is_written_less_often() {
    for (authors, due) in [(700, 1_000), (16_000, 15_000)] {
        let (mut wire, _) = Wire::new(at(0), loaded(true));
        store(&mut wire.core, at(9_000));
        let now = at(10_000);
        wire.open(now, (0..authors).map(|other| (PeerId(100 + other), 1)).collect(), None);
        assert!(wire.core.next_job(at(10_000 + due - 1)).is_none());
        assert!(matches!(wire.core.next_job(at(10_000 + due)), Some(Job::Meta { .. })));
    }
}
