//! The client's side alone: what it says, what it tells its caller, and when it gives up.

mod ends;
mod wire;

use bytes::Bytes;
use ends::Did::{Closed, Said, Told};
use ends::{
    Client, Did, NEWER_BLOCK, ONE_READ, block_of, changes, closed, hello, opened, piece, version,
    welcome,
};
use leptos_sync_crdt::{PeerId, VersionVector};
use leptos_sync_protocol::{
    Ack, AckLevel, CaughtUp, Changes, ClientEvent, ClientInput, Close, DocErr, DocErrCode, GoAway,
    Limits, Message, Nack, NackCode, Open, Pack, Permission, Piece, Ping, Pong, Welcome,
    encode_frame,
};
use wire::doc;

const PING: Message = Message::Ping(Ping { id: 6 });
const PONG: Message = Message::Pong(Pong { id: 6 });

fn ping(id: u64) -> Did<ClientEvent> {
    Said(Message::Ping(Ping { id }))
}

fn close(ch: u32) -> Did<ClientEvent> {
    Said(Message::Close(Close { ch }))
}

fn asks(ch: u32, name: &str) -> Did<ClientEvent> {
    Said(Message::Open(Open {
        ch,
        doc: doc(name),
        have: VersionVector::new(),
        me: None,
        since: None,
    }))
}

fn caught_up(ch: u32) -> Message {
    Message::CaughtUp(CaughtUp { ch, at: ONE_READ })
}

fn ack(ch: u32, level: AckLevel) -> Message {
    Message::Ack(Ack { ch, level, through: version(&[(1, 2)]) })
}

fn doc_err(ch: u32) -> Message {
    Message::DocErr(DocErr { ch, code: DocErrCode::Unavailable, detail: String::new() })
}

fn unusable(code: DocErrCode) -> Did<ClientEvent> {
    Told(ClientEvent::DocError { doc: doc("d"), code })
}

#[test]
fn hello_is_said_once_and_nothing_else_before_welcome() {
    let mut client = Client::idle();
    assert_eq!((client.opens("d"), client.deadline()), (Vec::new(), None));
    assert_eq!(client.input(ClientInput::Nudge), []);
    let start = || ClientInput::Started { wall_ms: 5 };
    assert_eq!(client.input(start()), [Said(hello(1, 1))]);
    assert_eq!(client.input(start()), []);
    assert_eq!((client.input(ClientInput::Nudge), client.opens("e")), (Vec::new(), Vec::new()));
    let did = client.hears(Message::Welcome(welcome(Limits::default())));
    assert_eq!(did[1..], [asks(0, "d"), asks(1, "e")]);
}

#[test]
fn a_welcome_is_passed_on() {
    let mut client = Client::greeting();
    let limits = Limits { block_bytes_max: 77, ..Limits::default() };
    let event = ClientEvent::Welcome {
        server_id: 8,
        epoch: 9,
        server_ms: 11,
        principal: Some("ada".to_owned()),
        session: 10,
        block_bytes_max: 77,
    };
    assert_eq!(client.hears(Message::Welcome(welcome(limits))), [Told(event)]);
    assert_eq!(closed(&client.hears(Message::Welcome(welcome(limits)))), Some(4400));
}

#[test]
fn a_server_of_another_version_is_left() {
    let mut client = Client::greeting();
    let newer = Welcome { version: 2, ..welcome(Limits::default()) };
    assert_eq!(closed(&client.hears(Message::Welcome(newer))), Some(4406));
    assert_eq!(client.opens("d"), [], "nothing follows the end");
    assert_eq!(client.deadline(), None);
}

#[test]
fn nothing_but_a_farewell_may_come_before_welcome() {
    let farewell = || {
        let detail = String::new();
        Message::GoAway(GoAway { code: 1001, retry_after_ms: 300, detail })
    };
    let mut client = Client::greeting();
    let event = ClientEvent::GoAway { retry_after_ms: 300 };
    assert_eq!(client.hears(farewell()), [Told(event.clone())]);
    assert_eq!(closed(&client.hears(PING)), Some(4400));
    let mut client = Client::welcomed(Limits::default());
    assert_eq!(client.hears(farewell()), [Told(event)]);
}

#[test]
fn the_end_is_told_before_the_socket_is_closed() {
    let mut client = Client::open(Limits::default());
    client.sends("d", &[block_of(1, 80)]);
    let did = client.input(ClientInput::Frame(Bytes::from_static(&[9])));
    assert!(matches!(did[..], [Told(ClientEvent::Fatal { .. }), Closed(4400)]), "{did:?}");
    assert_eq!((client.input(ClientInput::Nudge), client.queued_bytes()), (Vec::new(), 0));
}

#[test]
fn what_only_a_client_says_ends_the_connection() {
    let mut client = Client::open(Limits::default());
    assert_eq!(closed(&client.hears(Message::Close(Close { ch: 0 }))), Some(4400));
}

#[test]
fn a_welcome_may_take_ten_seconds() {
    let mut client = Client::greeting();
    assert_eq!(client.deadline(), Some(10_000));
    assert_eq!(client.at(9_999), []);
    assert_eq!(closed(&client.at(10_000)), Some(4408));
}

#[test]
fn pings_are_numbered_and_come_at_every_heartbeat() {
    let mut client = Client::welcomed(Limits::default());
    assert_eq!((client.deadline(), client.at(19_999)), (Some(20_000), Vec::new()));
    assert_eq!(client.at(20_000), [ping(0)]);
    client.hears(Message::Pong(Pong { id: 0 }));
    assert_eq!(client.at(40_000), [ping(1)]);
    client.hears(Message::Pong(Pong { id: 1 }));
    assert_eq!(client.input(ClientInput::Nudge), [ping(2)]);
}

#[test]
fn a_heartbeat_is_between_a_second_and_a_minute_long() {
    for (heartbeat_ms, pinged_at) in [(0, 1_000), (999, 1_000), (60_001, 60_000)] {
        let mut client = Client::greeting();
        client.hears(Message::Welcome(Welcome { heartbeat_ms, ..welcome(Limits::default()) }));
        assert_eq!(client.deadline(), Some(pinged_at));
    }
}

#[test]
fn a_ping_is_answered_with_its_number() {
    let mut client = Client::welcomed(Limits::default());
    assert_eq!(client.hears(PING), [Said(PONG)]);
    assert_eq!(client.hears(PONG), []);
}

#[test]
fn every_open_gets_a_number_of_its_own() {
    let mut client = Client::welcomed(Limits::default());
    assert_eq!(client.opens("d"), [asks(0, "d")]);
    assert_eq!(client.opens("e"), [asks(1, "e")]);
    assert_eq!(client.opens("d"), [close(0), asks(2, "d")]);
    client.hears(opened(2));
    assert_eq!(client.opens("d"), [close(2), asks(3, "d")]);
    assert_eq!(client.input(ClientInput::Close { doc: doc("d") }), [close(3)]);
    assert_eq!(client.input(ClientInput::Close { doc: doc("d") }), []);
}

#[test]
fn a_document_that_is_closed_before_it_was_asked_for_is_never_asked_for() {
    let mut client = Client::greeting();
    client.opens("d");
    assert_eq!(client.input(ClientInput::Close { doc: doc("d") }), []);
    assert_eq!(client.hears(Message::Welcome(welcome(Limits::default()))).len(), 1);
}

#[test]
fn what_the_server_has_is_told_when_it_opened_a_document() {
    let mut client = Client::welcomed(Limits::default());
    client.opens("d");
    let event = ClientEvent::Opened {
        doc: doc("d"),
        permission: Permission::Write,
        server_version: version(&[(3, 4)]),
        my_mark: None,
    };
    assert_eq!(client.hears(opened(1)), [], "nobody asked for it");
    assert_eq!(client.hears(opened(0)), [Told(event)]);
    assert_eq!(closed(&client.hears(opened(0))), Some(4400));
}

#[test]
fn a_document_that_is_open_catches_up_again_and_again() {
    let mut client = Client::welcomed(Limits::default());
    client.opens("d");
    assert_eq!(client.hears(caught_up(0)), [], "it is not open");
    client.hears(opened(0));
    assert_eq!(client.hears(caught_up(1)), []);
    let event = ClientEvent::CaughtUp { doc: doc("d"), at: ONE_READ };
    assert_eq!(client.hears(caught_up(0)), [Told(event.clone())]);
    assert_eq!(client.hears(caught_up(0)), [Told(event)]);
}

#[test]
fn only_what_is_durable_counts_as_acknowledged() {
    let mut client = Client::open(Limits::default());
    let event = Told(ClientEvent::Acked { doc: doc("d"), through: version(&[(1, 2)]) });
    assert_eq!(client.hears(ack(0, AckLevel::Received)), []);
    assert_eq!(client.hears(ack(0, AckLevel::Durable)), std::slice::from_ref(&event));
    assert_eq!(client.hears(ack(0, AckLevel::Replicated)), [event]);
    assert_eq!(client.hears(ack(1, AckLevel::Durable)), [], "it is not open");
}

#[test]
fn a_refusal_names_the_block() {
    let mut client = Client::open(Limits::default());
    let (peer, code, retry_after_ms) = (PeerId(1), NackCode::Quota, 30);
    let nack = |ch| Message::Nack(Nack { ch, peer, seq: 2, code, retry_after_ms });
    let event = ClientEvent::Rejected { doc: doc("d"), peer, seq: 2, code, retry_after_ms };
    assert_eq!(client.hears(nack(0)), [Told(event)]);
    assert_eq!(client.hears(nack(1)), [], "it is not open");
}

#[test]
fn an_error_instead_of_opened_ends_the_channel_and_a_later_one_is_answered_with_close() {
    let mut client = Client::welcomed(Limits::default());
    client.opens("d");
    client.sends("d", &[block_of(1, 80)]);
    assert_eq!(client.hears(doc_err(0)), [unusable(DocErrCode::Unavailable)]);
    assert_eq!((client.hears(doc_err(0)), client.queued_bytes()), (Vec::new(), 0));
    assert_eq!(client.hears(opened(0)), []);
    assert_eq!(client.input(ClientInput::Close { doc: doc("d") }), []);
    client.opens("d");
    client.hears(opened(1));
    assert_eq!(client.hears(doc_err(1)), [close(1), unusable(DocErrCode::Unavailable)]);
    assert_eq!(client.hears(doc_err(1)), []);
}

#[test]
fn blocks_of_an_open_document_are_passed_on() {
    let mut client = Client::welcomed(Limits::default());
    client.opens("d");
    let blocks = vec![block_of(1, 80), block_of(2, 90)];
    assert_eq!(client.hears(changes(&blocks)), [], "it is not open yet");
    client.hears(opened(0));
    let event = ClientEvent::Blocks { doc: doc("d"), blocks: blocks.clone() };
    assert_eq!(client.hears(changes(&blocks)), [Told(event)]);
    client.input(ClientInput::Close { doc: doc("d") });
    assert_eq!(client.hears(changes(&blocks)), [], "it is closed");
}

#[test]
fn a_block_in_pieces_is_passed_on_when_it_is_whole() {
    let mut client = Client::open(Limits::default());
    let block = block_of(1, 80);
    assert_eq!(client.hears(Message::Piece(piece(&block, 0..50))), []);
    let event = ClientEvent::Blocks { doc: doc("d"), blocks: vec![block.clone()] };
    assert_eq!(client.hears(Message::Piece(piece(&block, 50..80))), [Told(event)]);
    let elsewhere = Piece { ch: 1, ..piece(&block, 50..80) };
    assert_eq!(client.hears(Message::Piece(elsewhere)), [], "it is not open");
    assert_eq!(closed(&client.hears(Message::Piece(piece(&block, 50..80)))), Some(4400));
}

#[test]
fn a_document_that_opens_again_does_not_go_on_with_an_old_piece() {
    let mut client = Client::open(Limits::default());
    let block = block_of(1, 80);
    client.hears(Message::Piece(piece(&block, 0..50)));
    client.opens("d");
    client.hears(opened(1));
    let rest = Piece { ch: 1, ..piece(&block, 50..80) };
    assert_eq!(closed(&client.hears(Message::Piece(rest))), Some(4400));
}

#[test]
fn a_damaged_block_ends_the_connection() {
    let damaged = Message::Changes(Changes { ch: 0, entries: Bytes::from_static(&[0, 1, 0xff]) });
    let mut client = Client::open(Limits::default());
    assert_eq!(closed(&client.hears(damaged)), Some(4400));
    let data = Bytes::from_static(b"damaged");
    let damaged = Piece { ch: 0, peer: PeerId(1), seq: 0, total: 7, offset: 0, data };
    let mut client = Client::open(Limits::default());
    assert_eq!(closed(&client.hears(Message::Piece(damaged))), Some(4400));
}

#[test]
fn packs_are_handed_on_for_a_document_that_is_open() {
    let pack = |ch| Message::Pack(Pack { ch, update: Bytes::from_static(b"an update") });
    let packs = |count| {
        let updates = vec![Bytes::from_static(b"an update"); count];
        Told(ClientEvent::Packs { doc: doc("d"), updates })
    };
    let mut client = Client::open(Limits::default());
    assert_eq!(client.hears(pack(0)), [packs(1)]);
    let frame = [pack(0), pack(0)].map(|message| encode_frame(&message).to_vec()).concat();
    assert_eq!(client.input(ClientInput::Frame(frame.into())), [packs(2)], "of one frame");
    client.opens("e");
    client.hears(opened(1));
    let frame = [pack(0), pack(1)].map(|message| encode_frame(&message).to_vec()).concat();
    let of_other =
        ClientEvent::Packs { doc: doc("e"), updates: vec![Bytes::from_static(b"an update")] };
    assert_eq!(client.input(ClientInput::Frame(frame.into())), [packs(1), Told(of_other)]);
    client.opens("d");
    assert_eq!(client.hears(pack(0)), [], "of a channel that was closed");
    assert_eq!(client.hears(pack(2)), [], "before it is open");
}

#[test]
fn a_block_in_a_newer_format_closes_its_document_only() {
    let entries = [&[0, NEWER_BLOCK.len() as u8], &NEWER_BLOCK[..]].concat().into();
    let data = Bytes::from_static(&NEWER_BLOCK);
    let piece = Piece { ch: 0, peer: PeerId(1), seq: 0, total: 5, offset: 0, data };
    for message in [Message::Changes(Changes { ch: 0, entries }), Message::Piece(piece)] {
        let mut client = Client::open(Limits::default());
        assert_eq!(client.hears(message), [close(0), unusable(DocErrCode::Unsupported)]);
        assert_eq!(client.opens("e"), [asks(1, "e")]);
    }
}
