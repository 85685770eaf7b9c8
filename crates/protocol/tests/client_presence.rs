//! Presence at the client: when it shows itself, and whom it sees.

mod ends;
mod wire;

use bytes::Bytes;
use ends::Did::{self, Said, Told};
use ends::{Client, opened, welcome};
use leptos_sync_protocol::{
    ClientEvent, ClientInput, Limits, Message, PresenceEntry, PresencePeer, PresenceSet,
    PresenceState, Welcome,
};
use wire::doc;

/// A client that has the document `d` open; presence lasts for 12 s, so it repeats its own at 4 s.
fn client() -> Client {
    let mut client = Client::greeting();
    let presence_ttl_ms = 12_000;
    client.hears(Message::Welcome(Welcome { presence_ttl_ms, ..welcome(Limits::default()) }));
    client.opens("d");
    client.hears(opened(0));
    client
}

fn shown(ch: u32, payload: Option<&'static [u8]>) -> Vec<Did<ClientEvent>> {
    let payload = payload.map(Bytes::from_static);
    vec![Said(Message::PresenceSet(PresenceSet { ch, payload }))]
}

fn state(feed: u32, full: bool, entries: &[(u64, Option<&'static [u8]>)]) -> Message {
    let entry = |&(session, payload): &(u64, Option<&'static [u8]>)| PresenceEntry {
        session,
        principal: Some(format!("user {session}")),
        payload: payload.map(Bytes::from_static),
    };
    Message::PresenceState(PresenceState {
        feed,
        full,
        entries: entries.iter().map(entry).collect(),
    })
}

fn present(peers: &[(u64, &[u8])]) -> Vec<Did<ClientEvent>> {
    let peer = |&(session, payload): &(u64, &[u8])| PresencePeer {
        session,
        principal: Some(format!("user {session}")),
        payload: payload.to_vec(),
    };
    let peers = peers.iter().map(peer).collect();
    vec![Told(ClientEvent::Presence { doc: doc("d"), peers })]
}

#[test]
fn who_shows_nothing_says_nothing() {
    let mut client = client();
    assert_eq!(client.deadline(), Some(20_000), "the next ping");
    assert_eq!(client.at(19_999), []);
    assert_eq!(client.shows(None), []);
}

#[test]
fn presence_is_repeated_every_third_of_its_life() {
    let mut client = client();
    client.at(1_000);
    assert_eq!(client.shows(Some(b"a")), shown(0, Some(b"a")));
    assert_eq!((client.deadline(), client.at(4_999)), (Some(5_000), Vec::new()));
    assert_eq!(client.at(5_000), shown(0, Some(b"a")));
}

#[test]
fn presence_is_repeated_at_most_once_a_second() {
    let mut client = Client::greeting();
    let presence_ttl_ms = 1;
    client.hears(Message::Welcome(Welcome { presence_ttl_ms, ..welcome(Limits::default()) }));
    client.opens("d");
    client.hears(opened(0));
    client.shows(Some(b"a"));
    assert_eq!(client.deadline(), Some(1_000));
}

#[test]
fn changes_of_presence_keep_forty_milliseconds_apart() {
    let mut client = client();
    client.at(1_000);
    client.shows(Some(b"a"));
    assert_eq!(client.shows(Some(b"b")), []);
    assert_eq!((client.deadline(), client.at(1_039)), (Some(1_040), Vec::new()));
    assert_eq!(client.at(1_040), shown(0, Some(b"b")));
}

#[test]
fn the_same_presence_again_is_no_news() {
    let mut client = client();
    client.shows(Some(b"a"));
    client.at(1_000);
    assert_eq!(client.shows(Some(b"a")), []);
    assert_eq!(client.shows(Some(b"b")), shown(0, Some(b"b")));
}

#[test]
fn leaving_is_said_once() {
    let mut client = client();
    client.shows(Some(b"a"));
    client.at(1_000);
    assert_eq!(client.shows(None), shown(0, None));
    assert_eq!((client.at(1_040), client.at(5_000)), (Vec::new(), Vec::new()));
}

#[test]
fn presence_waits_until_the_document_is_open() {
    let mut client = Client::welcomed(Limits::default());
    client.opens("d");
    assert_eq!((client.shows(Some(b"a")), client.deadline()), (Vec::new(), Some(20_000)));
    let did = client.hears(opened(0));
    assert_eq!(did[1..], shown(0, Some(b"a")));
}

#[test]
fn a_document_that_opens_again_shows_the_same_presence() {
    let mut client = client();
    client.shows(Some(b"a"));
    client.opens("d");
    let did = client.hears(opened(1));
    assert_eq!(did[1..], shown(1, Some(b"a")), "at once");
    client.shows(None);
    client.opens("d");
    assert_eq!(client.hears(opened(2)).len(), 1, "and nothing when it had left");
}

#[test]
fn others_are_listed_by_session() {
    let mut client = client();
    let both = [(7, Some(&b"g"[..])), (4, Some(b"d"))];
    assert_eq!(client.hears(state(100, false, &both)), present(&[(4, b"d"), (7, b"g")]));
    let changes = [(4, None), (9, Some(&b"i"[..])), (7, Some(b"G")), (1, None)];
    assert_eq!(client.hears(state(100, false, &changes)), present(&[(7, b"G"), (9, b"i")]));
    let whole = [(2, Some(&b"b"[..]))];
    assert_eq!(client.hears(state(100, true, &whole)), present(&[(2, b"b")]));
    assert_eq!(client.hears(state(100, true, &[])), present(&[]));
}

#[test]
fn others_in_a_document_that_is_not_open_are_nobody() {
    let mut client = client();
    assert_eq!(client.hears(state(101, true, &[(1, Some(b"a"))])), []);
    client.input(ClientInput::Close { doc: doc("d") });
    assert_eq!(client.hears(state(100, true, &[(1, Some(b"a"))])), []);
}
