//! Changes at the server: limits, what may be undecided, credit, and what becomes of each block.

mod ends;
mod wire;

use bytes::Bytes;
use ends::Did::{Closed, Said, Told};
use ends::{Did, NEWER_BLOCK, Server, block_of, changes, open, piece, version};
use leptos_sync_crdt::{Block, BlockWriter, PeerId, VersionVector, Writer};
use leptos_sync_protocol::{
    Ack, AckLevel, Changes, Close, Credit, DocErrCode, Limits, Message, Nack, NackCode, Permission,
    Piece, Rejection, ServerEvent, ServerInput,
};

/// What the server may have undecided at these is 500 bytes.
const LIMITS: Limits = Limits {
    frame_bytes_max: 1 << 18,
    window_bytes: 100,
    block_bytes_max: 300,
    presence_bytes_max: 100,
    docs_max: 10,
};

fn writable() -> Server {
    Server::open(LIMITS, Permission::Write)
}

fn told(blocks: &[Block]) -> Vec<Did<ServerEvent>> {
    vec![Told(ServerEvent::Changes { ch: 0, blocks: blocks.to_vec() })]
}

fn credit(bytes: u32) -> Did<ServerEvent> {
    Said(Message::Credit(Credit { bytes }))
}

fn nack(ch: u32, block: &Block, code: NackCode, retry_after_ms: u32) -> Did<ServerEvent> {
    Said(Message::Nack(Nack { ch, peer: block.peer(), seq: block.seq(), code, retry_after_ms }))
}

#[test]
fn a_block_may_have_the_limit_and_not_a_byte_more() {
    let mut server = writable();
    let blocks = [block_of(1, 100), block_of(2, 300)];
    assert_eq!(server.hears(changes(&blocks)), told(&blocks));
    let mut server = writable();
    assert_eq!(server.hears(changes(&[block_of(1, 100), block_of(2, 301)])), [Closed(4413)]);
}

#[test]
fn a_block_in_pieces_has_the_same_limit() {
    let mut server = writable();
    let block = block_of(1, 300);
    assert_eq!(server.hears(Message::Piece(piece(&block, 0..200))), [credit(200)]);
    assert_eq!(server.hears(Message::Piece(piece(&block, 200..300))), told(&[block]));
    let block = block_of(1, 301);
    assert_eq!(server.hears(Message::Piece(piece(&block, 0..1))), [Closed(4413)]);
}

#[test]
fn twice_the_window_and_a_block_may_be_undecided() {
    let first = [block_of(1, 250), block_of(2, 150)];
    let mut server = writable();
    assert_eq!(server.hears(changes(&first)), told(&first));
    let exactly = [block_of(3, 100)];
    assert_eq!(server.hears(changes(&exactly)), told(&exactly));
    assert_eq!(server.hears(changes(&[block_of(4, 70)])), [Closed(4429)]);

    let mut server = writable();
    server.hears(changes(&first));
    assert_eq!(server.hears(changes(&[block_of(3, 101)])), [Closed(4429)]);
}

/// Each small block takes several times its size while it is stored, so they are counted, too.
#[test]
fn as_many_blocks_may_be_undecided_as_may_be_under_way() {
    const MOST: usize = ((1 << 18) + 100) / 24;
    let limits = Limits { block_bytes_max: 16 << 20, ..LIMITS };
    let block = block_of(1, 60);
    let fill = |server: &mut Server| {
        for count in [MOST / 4, MOST / 4, MOST / 4, MOST - 3 * (MOST / 4)] {
            let batch = vec![block.clone(); count];
            assert_eq!(server.hears(changes(&batch)), told(&batch));
        }
    };
    let one = changes(std::slice::from_ref(&block));
    let mut server = Server::open(limits, Permission::Write);
    fill(&mut server);
    assert_eq!(server.hears(one.clone()), [Closed(4429)]);

    let mut server = Server::open(limits, Permission::Write);
    fill(&mut server);
    let (durable, rejected, blocks) = (VersionVector::new(), Vec::new(), 2);
    server.input(ServerInput::Settled { ch: 0, durable, rejected, blocks, bytes: 120 });
    let two = vec![block; 2];
    assert_eq!(server.hears(changes(&two)), told(&two));
    assert_eq!(server.hears(one), [Closed(4429)]);
}

#[test]
fn what_is_decided_makes_room() {
    let mut server = writable();
    let batch = [block_of(1, 250), block_of(2, 250)];
    for _ in 0..3 {
        assert_eq!(server.hears(changes(&batch)), told(&batch));
        assert_eq!(server.settles(500), [credit(500)]);
    }
    server.hears(changes(&batch));
    assert_eq!(server.settles(100), [credit(100)]);
    let again = [block_of(3, 100)];
    assert_eq!(server.hears(changes(&again)), told(&again));
    assert_eq!(server.hears(changes(&[block_of(3, 70)])), [Closed(4429)]);
}

#[test]
fn what_is_above_the_room_is_not_even_read() {
    let mut entries = Writer::new();
    let mut writer = BlockWriter::default();
    for peer in 1..=2 {
        writer.write(&block_of(peer, 300), &mut entries);
    }
    let entries = Bytes::from([entries.as_slice(), &[0, 1, 0xff]].concat());
    let mut server = writable();
    assert_eq!(server.hears(Message::Changes(Changes { ch: 0, entries })), [Closed(4429)]);
}

#[test]
fn what_is_no_block_ends_the_connection() {
    let mut server = writable();
    let entries = Bytes::from_static(&[0, 1, 0xff]);
    assert_eq!(server.hears(Message::Changes(Changes { ch: 0, entries })), [Closed(4400)]);
    let newer = [&[0, NEWER_BLOCK.len() as u8], &NEWER_BLOCK[..]].concat();
    let mut server = writable();
    let message = Message::Changes(Changes { ch: 0, entries: newer.into() });
    assert_eq!(server.hears(message), [Closed(4400)]);
}

#[test]
fn a_piece_is_credited_at_once_and_not_again_with_its_block() {
    let mut server = writable();
    let (large, small) = (block_of(1, 150), block_of(2, 90));
    assert_eq!(server.hears(Message::Piece(piece(&large, 0..100))), [credit(100)]);
    assert_eq!(server.hears(Message::Piece(piece(&large, 100..150))), told(&[large]));
    assert_eq!(server.settles(150), [credit(50)]);
    server.hears(changes(std::slice::from_ref(&small)));
    assert_eq!(server.settles(90), [credit(90)], "nothing of that was credited before");
}

#[test]
fn what_was_credited_early_is_taken_from_whatever_is_decided_next() {
    let mut server = writable();
    let (small, large) = (block_of(1, 70), block_of(2, 150));
    server.hears(changes(std::slice::from_ref(&small)));
    server.hears(Message::Piece(piece(&large, 0..100)));
    server.hears(Message::Piece(piece(&large, 100..150)));
    assert_eq!(server.settles(70), [], "100 were credited early");
    assert_eq!(server.settles(150), [credit(120)]);
}

#[test]
fn a_piece_out_of_order_ends_the_connection() {
    let mut server = writable();
    assert_eq!(server.hears(Message::Piece(piece(&block_of(1, 150), 100..150))), [Closed(4400)]);
}

#[test]
fn a_closed_document_drops_its_unfinished_block_and_no_other() {
    let block = block_of(1, 150);
    let mut server = writable();
    server.hears(open(1));
    server.hears(Message::Piece(piece(&block, 0..100)));
    server.hears(Message::Close(Close { ch: 1 }));
    assert_eq!(
        server.hears(Message::Piece(piece(&block, 100..150))),
        told(std::slice::from_ref(&block))
    );
    server.hears(Message::Piece(piece(&block, 0..100)));
    server.hears(Message::Close(Close { ch: 0 }));
    assert_eq!(server.hears(Message::Piece(piece(&block, 100..150))), [Closed(4400)]);
}

#[test]
fn every_block_is_acknowledged_or_refused_by_name_and_credited() {
    let mut server = writable();
    let blocks = [block_of(1, 80), block_of(2, 90)];
    server.hears(changes(&blocks));
    let through = version(&[(1, blocks[0].end())]);
    let (peer, seq, code) = (PeerId(2), 0, NackCode::Quota);
    let rejected = vec![Rejection { peer, seq, code, retry_after_ms: 30 }];
    let durable = through.clone();
    let settled = ServerInput::Settled { ch: 0, durable, rejected, blocks: 2, bytes: 170 };
    let ack = Said(Message::Ack(Ack { ch: 0, level: AckLevel::Durable, through }));
    assert_eq!(server.input(settled), [ack, nack(0, &blocks[1], code, 30), credit(170)]);
    assert_eq!(server.settles(0), [], "nothing is said of nothing");
}

#[test]
fn a_decision_about_a_closed_document_is_only_credited() {
    let mut server = writable();
    let block = block_of(1, 80);
    server.hears(changes(std::slice::from_ref(&block)));
    server.hears(Message::Close(Close { ch: 0 }));
    let durable = version(&[(1, block.end())]);
    let (rejected, blocks) = (Vec::new(), 1);
    let settled = ServerInput::Settled { ch: 0, durable, rejected, blocks, bytes: 80 };
    assert_eq!(server.input(settled), [credit(80)]);
}

#[test]
fn who_may_only_read_gets_every_block_back() {
    let mut server = Server::open(LIMITS, Permission::Read);
    let blocks = [block_of(1, 80), block_of(2, 90)];
    let refused = |block| nack(0, block, NackCode::Forbidden, 0);
    for _ in 0..5 {
        let answer = server.hears(changes(&blocks));
        assert_eq!(answer, [refused(&blocks[0]), refused(&blocks[1]), credit(170)]);
    }
}

#[test]
fn changes_before_opened_or_after_close_end_the_connection() {
    let block = block_of(1, 80);
    let opening = || {
        let mut server = Server::admitted(LIMITS);
        server.hears(open(0));
        server
    };
    let one = changes(std::slice::from_ref(&block));
    assert_eq!(opening().hears(one.clone()), [Closed(4400)]);
    assert_eq!(opening().hears(Message::Piece(piece(&block, 0..80))), [Closed(4400)]);
    let mut server = writable();
    server.hears(Message::Close(Close { ch: 0 }));
    assert_eq!(server.hears(one), [Closed(4400)]);
}

#[test]
fn changes_that_crossed_a_document_error_are_credited_and_not_stored() {
    let mut server = writable();
    let block = block_of(1, 250);
    let code = DocErrCode::Unavailable;
    server.input(ServerInput::DocError { ch: 0, code, detail: String::new() });
    for _ in 0..5 {
        assert_eq!(server.hears(changes(std::slice::from_ref(&block))), [credit(250)]);
        assert_eq!(server.hears(Message::Piece(piece(&block, 0..250))), [credit(250)]);
    }
    let durable = VersionVector::new();
    let rejected = Vec::new();
    let settled = ServerInput::Settled { ch: 0, durable, rejected, blocks: 0, bytes: 0 };
    assert_eq!(server.input(settled), []);
}

#[test]
fn a_piece_announces_the_block_that_it_is_of() {
    let block = block_of(1, 80);
    let mut server = writable();
    let other = Piece { peer: PeerId(2), ..piece(&block, 0..80) };
    assert_eq!(server.hears(Message::Piece(other)), [Closed(4400)]);
}
