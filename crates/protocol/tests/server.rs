//! The server's side alone: what it answers, what it tells its caller, and when it gives up.

mod ends;
mod wire;

use bytes::Bytes;
use ends::Did::{Closed, Said, Told};
use ends::{ONE_READ, Server, admission, closed, hello, open, version, welcome};
use leptos_sync_protocol::{
    CaughtUp, Close, CloseCode, Credit, DocErr, DocErrCode, FRAME_BYTES_MAX, GoAway, Limits,
    Message, Opened, Permission, Ping, Pong, PresenceSet, ServerEvent, ServerInput,
};
use wire::doc;

const PING: Message = Message::Ping(Ping { id: 6 });
const PONG: Message = Message::Pong(Pong { id: 6 });

fn close(ch: u32) -> Message {
    Message::Close(Close { ch })
}

fn presence(ch: u32, bytes: usize) -> Message {
    let payload = Some(Bytes::from(vec![b'x'; bytes]));
    Message::PresenceSet(PresenceSet { ch, payload })
}

fn doc_error(ch: u32) -> ServerInput {
    ServerInput::DocError { ch, code: DocErrCode::Unavailable, detail: "later".to_owned() }
}

#[test]
fn the_caller_hears_of_a_client_and_decides() {
    let mut server = Server::new(Limits::default());
    let asks = ServerEvent::Hello { client_id: 7, token: Some("key".to_owned()), wall_ms: 5 };
    assert_eq!(server.hears(hello(1, 1)), [Told(asks)]);
    let said = leptos_sync_protocol::Welcome { heartbeat_ms: 1_000, ..welcome(Limits::default()) };
    assert_eq!(server.input(ServerInput::Admit(admission())), [Said(Message::Welcome(said))]);
    assert_eq!(server.input(ServerInput::Admit(admission())), []);
}

#[test]
fn nobody_is_welcomed_before_hello() {
    let mut server = Server::new(Limits::default());
    assert_eq!(server.input(ServerInput::Admit(admission())), []);
    assert_eq!(closed(&server.hears(PING)), Some(4400));
}

#[test]
fn nothing_may_be_said_between_hello_and_welcome() {
    let mut server = Server::new(Limits::default());
    server.hears(hello(1, 1));
    assert_eq!(server.hears(open(0)), [Closed(4400)]);
    assert_eq!(server.input(ServerInput::Admit(admission())), [], "nothing follows the end");
    let mut server = Server::admitted(Limits::default());
    assert_eq!(server.hears(hello(1, 1)), [Closed(4400)], "and hello is said once");
}

#[test]
fn a_client_must_speak_version_1_among_others() {
    for (min, max, code) in [(0, 0, Some(4406)), (2, 3, Some(4406)), (0, 1, None), (1, 9, None)] {
        let mut server = Server::new(Limits::default());
        assert_eq!(closed(&server.hears(hello(min, max))), code, "{min} to {max}");
    }
}

#[test]
fn a_refused_client_is_told_the_code() {
    let mut server = Server::new(Limits::default());
    server.hears(hello(1, 1));
    let code = CloseCode::Unauthorized;
    let refuse = ServerInput::Refuse { code, reason: "who are you".to_owned() };
    assert_eq!(server.input(refuse), [Closed(4401)]);
    assert_eq!((server.deadline(), server.hears(PING)), (None, Vec::new()));
}

#[test]
fn a_server_that_stops_says_when_to_return_and_closes() {
    let mut server = Server::admitted(Limits::default());
    let detail = "restarting".to_owned();
    let away = GoAway { code: 1001, retry_after_ms: 300, detail: detail.clone() };
    let stop = ServerInput::GoAway { retry_after_ms: 300, detail };
    assert_eq!(server.input(stop), [Said(Message::GoAway(away)), Closed(1001)]);
}

#[test]
fn hello_may_take_ten_seconds() {
    let mut server = Server::new(Limits::default());
    assert_eq!(server.at(9_999), []);
    assert_eq!(server.at(10_000), [Closed(4408)]);
    assert_eq!(server.deadline(), None);
}

#[test]
fn five_heartbeats_of_silence_are_the_end_and_any_frame_is_a_sign_of_life() {
    let mut server = Server::new(Limits::default());
    server.at(2_000);
    server.hears(hello(1, 1));
    assert_eq!((server.deadline(), server.at(6_999)), (Some(7_000), Vec::new()));
    server.input(ServerInput::Admit(admission()));
    assert_eq!(server.hears(PONG), []);
    assert_eq!((server.deadline(), server.at(11_998)), (Some(11_999), Vec::new()));
    assert_eq!(server.at(11_999), [Closed(4408)]);
}

#[test]
fn a_client_that_is_silent_while_the_caller_decides_is_let_go() {
    let mut server = Server::new(Limits::default());
    server.hears(hello(1, 1));
    assert_eq!((server.at(4_999), server.at(5_000)), (Vec::new(), vec![Closed(4408)]));
}

#[test]
fn a_ping_is_answered_with_its_number() {
    let mut server = Server::admitted(Limits::default());
    assert_eq!(server.hears(PING), [Said(PONG)]);
    assert_eq!(server.hears(PONG), []);
}

#[test]
fn what_only_a_server_says_ends_the_connection() {
    for message in
        [Message::Credit(Credit { bytes: 1 }), Message::CaughtUp(CaughtUp { ch: 0, at: ONE_READ })]
    {
        let mut server = Server::open(Limits::default(), Permission::Write);
        assert_eq!(server.hears(message), [Closed(4400)]);
    }
}

#[test]
fn what_is_no_frame_ends_the_connection() {
    let mut server = Server::admitted(Limits::default());
    assert_eq!(server.input(ServerInput::Frame(Bytes::from_static(&[9]))), [Closed(4400)]);
}

#[test]
fn a_frame_may_have_the_limit_and_not_a_byte_more() {
    let limits = Limits { frame_bytes_max: 100, ..Limits::default() };
    // The envelope of presence in an unknown channel takes five bytes.
    let mut server = Server::admitted(limits);
    assert_eq!(server.hears(presence(9, 95)), []);
    assert_eq!(server.hears(presence(9, 96)), [Closed(4413)]);
    let mut server = Server::admitted(Limits { frame_bytes_max: u32::MAX, ..limits });
    let frame = Bytes::from(vec![0; FRAME_BYTES_MAX + 1]);
    assert_eq!(server.input(ServerInput::Frame(frame)), [Closed(4413)], "above what any takes");
}

#[test]
fn the_caller_opens_what_the_client_asks_for() {
    let mut server = Server::admitted(Limits::default());
    let have = version(&[(1, 2)]);
    let asks = ServerEvent::Open { ch: 5, doc: doc("d"), have, me: None, since: None };
    assert_eq!(server.hears(open(5)), [Told(asks)]);
    let (permission, have) = (Permission::Read, version(&[(3, 4)]));
    let answer = Opened { ch: 5, feed: 105, permission, have, mark: None };
    assert_eq!(server.opens(5, Permission::Read), [Said(Message::Opened(answer))]);
    assert_eq!(server.opens(5, Permission::Write), [], "it is open already");
    assert_eq!(server.opens(6, Permission::Write), [], "nobody asked for it");
    let caught_up = Said(Message::CaughtUp(CaughtUp { ch: 5, at: ONE_READ }));
    assert_eq!(server.input(ServerInput::CaughtUp { ch: 5, at: ONE_READ }), [caught_up]);
}

#[test]
fn a_channel_number_is_larger_than_all_before() {
    for (next, is_taken) in [(5, true), (6, true), (7, false), (u32::MAX, false)] {
        let mut server = Server::admitted(Limits { docs_max: 2, ..Limits::default() });
        server.hears(open(5));
        server.hears(close(5));
        server.hears(open(6));
        let told = server.hears(open(next));
        assert_eq!(closed(&told), is_taken.then_some(4400), "{next}");
    }
}

#[test]
fn a_document_that_was_closed_while_it_opens_counts_until_that_is_done() {
    let failed =
        |ch| ServerInput::DocError { ch, code: DocErrCode::Unavailable, detail: "".into() };
    let opened = |ch| {
        let (permission, have) = (Permission::Write, version(&[]));
        ServerInput::Opened { ch, feed: 0, permission, version: have, mark: None }
    };
    for done in [|ch| ServerInput::NotOpened { ch }, failed, opened] {
        let mut server = Server::admitted(Limits { docs_max: 1, ..Limits::default() });
        server.hears(open(0));
        assert_eq!(server.hears(close(0)), [Told(ServerEvent::Close { ch: 0 })]);
        assert_eq!(server.hears(close(0)), []);
        let refused = server.hears(open(1));
        let [Said(Message::DocErr(refused))] = &refused[..] else { panic!("{refused:?}") };
        assert_eq!((refused.ch, refused.code), (1, DocErrCode::TooMany));
        assert_eq!(server.input(done(0)), []);
        assert!(matches!(server.hears(open(2))[..], [Told(ServerEvent::Open { ch: 2, .. })]));
        assert_eq!(server.input(ServerInput::NotOpened { ch: 2 }), [], "it is not closed");
        assert!(matches!(server.opens(2, Permission::Write)[..], [Said(Message::Opened(_))]));
    }
}

#[test]
fn as_many_documents_as_the_limit_may_be_open() {
    let mut server = Server::admitted(Limits { docs_max: 2, ..Limits::default() });
    assert!(matches!(server.hears(open(0))[..], [Told(ServerEvent::Open { ch: 0, .. })]));
    assert!(matches!(server.hears(open(1))[..], [Told(ServerEvent::Open { ch: 1, .. })]));
    let detail = "at most 2 documents at once".to_owned();
    let refusal = DocErr { ch: 2, code: DocErrCode::TooMany, detail };
    assert_eq!(server.hears(open(2)), [Said(Message::DocErr(refusal))]);
    server.opens(0, Permission::Read);
    server.hears(close(0));
    assert!(matches!(server.hears(open(3))[..], [Told(ServerEvent::Open { ch: 3, .. })]));
}

#[test]
fn a_closed_document_is_of_no_more_use() {
    let mut server = Server::open(Limits::default(), Permission::Write);
    assert_eq!(server.hears(close(0)), [Told(ServerEvent::Close { ch: 0 })]);
    assert_eq!(server.hears(close(0)), []);
    assert_eq!(server.input(ServerInput::CaughtUp { ch: 0, at: ONE_READ }), []);
    assert_eq!(server.input(doc_error(0)), []);
    assert_eq!(server.hears(presence(0, 1)), []);
}

#[test]
fn a_document_that_was_closed_while_it_opened_stays_closed() {
    let mut server = Server::admitted(Limits::default());
    server.hears(open(0));
    assert_eq!(server.hears(close(0)), [Told(ServerEvent::Close { ch: 0 })]);
    assert_eq!(server.opens(0, Permission::Write), []);
}

#[test]
fn a_document_fails_once_and_its_close_is_no_news() {
    let mut server = Server::open(Limits::default(), Permission::Write);
    let detail = "later".to_owned();
    let failed = DocErr { ch: 0, code: DocErrCode::Unavailable, detail };
    assert_eq!(server.input(doc_error(0)), [Said(Message::DocErr(failed.clone()))]);
    assert_eq!(server.input(doc_error(0)), []);
    assert_eq!(server.input(ServerInput::CaughtUp { ch: 0, at: ONE_READ }), []);
    assert_eq!(server.hears(presence(0, 1)), []);
    assert_eq!(server.hears(close(0)), []);

    server.hears(open(1));
    let failed = DocErr { ch: 1, ..failed };
    assert_eq!(server.input(doc_error(1)), [Said(Message::DocErr(failed))]);
    assert_eq!(server.opens(1, Permission::Write), [], "instead of opened it ends the channel");
}

#[test]
fn presence_may_have_the_limit_and_not_a_byte_more() {
    let limits = Limits { presence_bytes_max: 3, ..Limits::default() };
    let mut server = Server::open(limits, Permission::Read);
    let shown = ServerEvent::Presence { ch: 0, payload: Some(Bytes::from_static(b"xxx")) };
    assert_eq!(server.hears(presence(0, 3)), [Told(shown)]);
    let left = Message::PresenceSet(PresenceSet { ch: 0, payload: None });
    assert_eq!(server.hears(left), [Told(ServerEvent::Presence { ch: 0, payload: None })]);
    assert_eq!(server.hears(presence(0, 4)), [Closed(4413)]);
}

#[test]
fn presence_before_opened_is_not_shown() {
    let mut server = Server::admitted(Limits::default());
    server.hears(open(0));
    assert_eq!(server.hears(presence(0, 1)), []);
}
