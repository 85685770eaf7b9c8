//! The bytes of every message, as `docs/protocol.md` prints them.

mod wire;

use std::fmt::Write as _;

use bytes::Bytes;
use expect_test::expect_file;
use leptos_sync_crdt::{BlockWriter, Doc, PeerId, VersionVector, Writer, pack_blocks};
use leptos_sync_protocol::{
    Ack, AckLevel, CaughtUp, Changes, Close, Credit, DocErr, DocErrCode, GoAway, Hello, Limits,
    LogMark, Message, Nack, NackCode, Open, Opened, Pack, PeerMark, Permission, Piece, Ping, Pong,
    PresenceEntry, PresenceSet, PresenceState, Welcome, decode_frame, encode_frame,
};
use wire::{author, doc};

const DOCUMENTATION: &str = include_str!("../../../docs/protocol.md");

fn greeting() -> [Message; 2] {
    let hello = Hello {
        version_min: 1,
        version_max: 1,
        features: 0,
        client_id: 7,
        token: Some("t".into()),
        wall_ms: 1_700_000_000_000,
    };
    let welcome = Welcome {
        version: 1,
        features: 0,
        server_id: 8,
        epoch: 9,
        session: 10,
        server_ms: 1_700_000_000_001,
        principal: Some("ada".into()),
        auth_expires_ms: None,
        heartbeat_ms: 20_000,
        presence_ttl_ms: 30_000,
        limits: Limits::default(),
    };
    [Message::Hello(hello), Message::Welcome(welcome)]
}

fn messages() -> Vec<Message> {
    let (blocks, me) = author(1, &["hi"]);
    let peer = PeerId(1);
    let have: VersionVector = [(peer, 2)].into_iter().collect();
    let mut messages = Vec::from(greeting());
    messages.extend([
        Message::Open(Open {
            ch: 3,
            doc: doc("board/42"),
            have: have.clone(),
            me: Some(me),
            since: Some(LogMark { position: 300, digest: VersionVector::new().digest() }),
        }),
        Message::Opened(Opened {
            ch: 3,
            feed: 4,
            permission: Permission::Write,
            have: VersionVector::new(),
            mark: Some(PeerMark { peer, seq: 0, hash: 0 }),
        }),
        Message::Changes(Changes::write(&mut BlockWriter::default(), 3, &blocks)),
        Message::Piece(Piece {
            ch: 3,
            peer,
            seq: 2,
            total: 100_000,
            offset: 61_440,
            data: Bytes::from_static(&[0xaa, 0xbb]),
        }),
        Message::CaughtUp(CaughtUp { ch: 3, at: LogMark { position: 301, digest: have.digest() } }),
        Message::Ack(Ack { ch: 3, level: AckLevel::Durable, through: have }),
        Message::Nack(Nack { ch: 3, peer, seq: 2, code: NackCode::Quota, retry_after_ms: 30_000 }),
        Message::Credit(Credit { bytes: 1_000 }),
        Message::Close(Close { ch: 3 }),
        Message::DocErr(DocErr { ch: 3, code: DocErrCode::Forbidden, detail: String::new() }),
        Message::Ping(Ping { id: 5 }),
        Message::Pong(Pong { id: 5 }),
        Message::GoAway(GoAway { code: 1001, retry_after_ms: 500, detail: "bye".into() }),
        Message::Pack(Pack { ch: 3, update: pack_blocks(&blocks).expect("valid blocks").into() }),
        Message::PresenceSet(PresenceSet { ch: 3, payload: Some(Bytes::from_static(b"me")) }),
        Message::PresenceState(PresenceState {
            feed: 4,
            full: true,
            entries: vec![PresenceEntry {
                session: 11,
                principal: Some("bob".into()),
                payload: Some(Bytes::from_static(b"hi")),
            }],
        }),
    ]);
    messages
}

fn name(message: &Message) -> String {
    let text = format!("{message:?}");
    text.split(['(', ' ']).next().unwrap_or_default().to_owned()
}

/// Every message in the order of its type, with its frame in hexadecimal.
fn listing() -> String {
    let mut lines = String::new();
    for message in messages() {
        let frame = encode_frame(&message);
        assert_eq!(decode_frame(&frame).as_deref(), Ok(&[message.clone()][..]));
        let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        let _ = writeln!(lines, "{:<13} {hex}", name(&message));
    }
    lines
}

/// Two authors who see each other write, a line for each block: what it does, and its entry.
fn entry_listing() -> String {
    let mut docs = [1, 2].map(|peer| Doc::new(PeerId(peer)));
    let mut writer = BlockWriter::default();
    let edits: [(&str, usize, u64, usize, usize, &str); 8] = [
        ("1 inserts h", 0, 1_000, 0, 0, "h"),
        ("1 goes on with i", 0, 1_100, 1, 0, "i"),
        ("1 goes on after 3 s", 0, 4_100, 2, 0, "!"),
        ("2 inserts ?", 1, 4_200, 0, 0, "?"),
        ("2 goes on with é", 1, 4_300, 1, 0, "é"),
        ("1 goes on, moved", 0, 4_400, 5, 0, "."),
        ("1 deletes it", 0, 4_500, 5, 1, ""),
        ("1 goes on deleting", 0, 4_600, 4, 1, ""),
    ];
    let mut lines = String::new();
    for (what, who, wall_ms, pos, deleted, text) in edits {
        let before = docs[who].version().clone();
        let edit = docs[who].transact(wall_ms, |tx| tx.text("t").splice(pos, deleted, text));
        edit.0.expect("it fits");
        let block = docs[who].blocks_since(&before).remove(0);
        docs[1 - who].import(wall_ms, [block.clone()]).expect("it is valid");
        let mut entry = Writer::new();
        writer.write(&block, &mut entry);
        let hex: String = entry.as_slice().iter().map(|byte| format!("{byte:02x}")).collect();
        let _ = writeln!(lines, "{what:<20} {hex}");
    }
    lines
}

#[test]
fn the_bytes_of_entries_are_fixed() {
    expect_file!["./entries.txt"].assert_eq(&entry_listing());
}

#[test]
fn the_documentation_prints_the_entries() {
    assert!(
        DOCUMENTATION.contains(&entry_listing()),
        "docs/protocol.md must contain, under \"Test vectors\":\n{}",
        entry_listing()
    );
}

#[test]
fn the_bytes_of_every_message_are_fixed() {
    expect_file!["./vectors.txt"].assert_eq(&listing());
}

#[test]
fn the_documentation_prints_these_bytes() {
    assert!(
        DOCUMENTATION.contains(&listing()),
        "docs/protocol.md must contain, under \"Test vectors\":\n{}",
        listing()
    );
}
