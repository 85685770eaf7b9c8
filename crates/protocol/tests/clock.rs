//! Deadlines of both sessions on a clock that the test moves.

mod wire;

use expect_test::expect;
use leptos_sync_crdt::VersionVector;
use leptos_sync_protocol::{
    ClientConfig, ClientInput, ClientOutput, ClientSession, Instant, Limits, Message, ServerInput,
    ServerOutput, ServerSession, decode_frame,
};
use wire::{Wire, doc};

fn at(ms: u64) -> Instant {
    Instant::from_ms(ms)
}

/// A client that was welcomed at time 0 and whose server says nothing more by itself.
fn welcomed() -> Wire {
    let mut wire = Wire::new();
    wire.client(ClientInput::Started { wall_ms: 1 });
    wire
}

#[test]
fn a_server_that_does_not_answer_is_given_up_after_ten_seconds() {
    let mut client = ClientSession::new(ClientConfig::new(1));
    client.handle(at(5), ClientInput::Started { wall_ms: 0 });
    assert_eq!(client.next_deadline(), Some(at(10_005)));
    client.handle(at(10_004), ClientInput::Tick);
    client.handle(at(10_005), ClientInput::Tick);
    let closed = std::iter::from_fn(|| client.poll_output())
        .any(|output| matches!(output, ClientOutput::CloseSocket { code: 4408, .. }));
    assert!(closed && client.next_deadline().is_none());
}

#[test]
fn a_silent_server_is_pinged_at_twenty_seconds_and_dead_at_twenty_five() {
    let mut wire = welcomed();
    wire.cut();
    assert_eq!(wire.run_clock(30_000), "20000 Ping\n25000 closed by client 4408");
}

#[test]
fn an_answering_server_stays_alive() {
    let mut wire = welcomed();
    assert_eq!(
        wire.run_clock(65_000),
        "20000 Ping\n20000 Pong\n40000 Ping\n40000 Pong\n60000 Ping\n60000 Pong"
    );
}

#[test]
fn timers_that_a_browser_holds_back_do_not_kill_the_socket() {
    let mut wire = welcomed();
    // A minute passes without a tick; the late ping is still answered.
    wire.jump(60_000);
    assert_eq!(wire.run_clock(66_000), "60000 Ping\n60000 Pong");
}

#[test]
fn a_nudge_finds_a_dead_socket_within_five_seconds() {
    let mut wire = welcomed();
    wire.cut();
    wire.jump(40_000);
    wire.client(ClientInput::Nudge);
    assert_eq!(wire.run_clock(50_000), "40000 Ping\n45000 closed by client 4408");
}

#[test]
fn a_nudge_soon_after_a_sign_of_life_does_not_shorten_the_patience() {
    let mut wire = welcomed();
    wire.cut();
    wire.jump(1_000);
    wire.client(ClientInput::Nudge);
    assert_eq!(wire.run_clock(50_000), "1000 Ping\n21000 Ping\n25000 closed by client 4408");
}

#[test]
fn presence_is_repeated_and_rapid_changes_are_thinned() {
    let mut wire = welcomed();
    wire.client(ClientInput::Open {
        doc: doc("d"),
        have: VersionVector::new(),
        me: None,
        since: None,
    });
    wire.run_clock(100);
    for payload in [&b"a"[..], b"b", b"c"] {
        wire.client(ClientInput::Presence { doc: doc("d"), payload: Some(payload.to_vec()) });
    }
    let log = wire.run_clock(25_000);
    expect![[r#"
        100 PresenceSet a
        140 PresenceSet c
        10140 PresenceSet c
        20000 Ping
        20000 Pong
        20140 PresenceSet c"#]]
    .assert_eq(&log);
}

#[test]
fn a_client_that_says_nothing_is_let_go() {
    let mut server = ServerSession::new(at(0), Limits::default(), 20_000);
    assert_eq!(server.next_deadline(), Some(at(10_000)));
    server.handle(at(10_000), ServerInput::Tick);
    let output = server.poll_output();
    assert!(
        matches!(output, Some(ServerOutput::CloseSocket { code, .. }) if code.as_u16() == 4408)
    );

    let mut client = ClientSession::new(ClientConfig::new(1));
    client.handle(at(0), ClientInput::Started { wall_ms: 0 });
    let Some(ClientOutput::Send(hello)) = client.poll_output() else { panic!("no hello") };
    assert!(matches!(decode_frame(&hello).unwrap()[..], [Message::Hello(_)]));
    let mut server = ServerSession::new(at(0), Limits::default(), 20_000);
    server.handle(at(1_000), ServerInput::Frame(hello));
    assert_eq!(server.next_deadline(), Some(at(101_000)));
}
