//! The wire format holds for any message, and no bytes break a decoder.

use bytes::Bytes;
use leptos_sync_crdt::{DecodeError, DocId, PeerId, VersionVector};
use leptos_sync_protocol::{
    Ack, AckLevel, Admission, CaughtUp, Changes, ClientConfig, ClientInput, ClientSession, Close,
    Credit, DocErr, DocErrCode, FRAME_BYTES_MAX, FrameError, GoAway, Hello, Instant, Limits,
    LogMark, Message, Nack, NackCode, Open, Opened, PACK_BYTES_MAX, Pack, PeerMark, Permission,
    Piece, Ping, Pong, PresenceEntry, PresenceSet, PresenceState, ServerInput, ServerSession,
    Welcome, decode_frame, encode_frame,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn version() -> impl Strategy<Value = VersionVector> {
    vec((any::<u64>(), 1..u32::MAX), 0..6)
        .prop_map(|counts| counts.into_iter().map(|(peer, n)| (PeerId(peer), n)).collect())
}

fn mark() -> impl Strategy<Value = PeerMark> {
    (any::<u64>(), any::<u32>(), any::<u64>()).prop_map(|(peer, seq, hash)| PeerMark {
        peer: PeerId(peer),
        seq,
        hash,
    })
}

fn log_mark() -> impl Strategy<Value = LogMark> {
    any::<(u64, u64)>().prop_map(|(position, digest)| LogMark { position, digest })
}

fn doc() -> impl Strategy<Value = DocId> {
    "[a-zäöü/]{1,20}".prop_map(|id| DocId::new(id).expect("a valid id"))
}

fn permission() -> impl Strategy<Value = Permission> {
    prop_oneof![Just(Permission::Read), Just(Permission::Write)]
}

fn level() -> impl Strategy<Value = AckLevel> {
    prop_oneof![Just(AckLevel::Received), Just(AckLevel::Durable), Just(AckLevel::Replicated)]
}

fn limits() -> impl Strategy<Value = Limits> {
    (1..u32::MAX, 1..u32::MAX, any::<u32>(), any::<u32>(), any::<u32>()).prop_map(
        |(frame_bytes_max, window_bytes, block_bytes_max, presence_bytes_max, docs_max)| Limits {
            frame_bytes_max,
            window_bytes,
            block_bytes_max,
            presence_bytes_max,
            docs_max,
        },
    )
}

fn greetings() -> impl Strategy<Value = Message> {
    let hello = (any::<(u32, u32, u64, u64, u64)>(), option::of(".{0,20}")).prop_map(
        |((version_min, version_max, features, client_id, wall_ms), token)| {
            Message::Hello(Hello { version_min, version_max, features, client_id, token, wall_ms })
        },
    );
    let numbers = any::<(u32, u64, u64, u64, u64, u64, u32, u32)>();
    let names = (option::of(".{0,20}"), option::of(any::<u64>()), limits());
    let welcome = (numbers, names).prop_map(|(numbers, (principal, auth_expires_ms, limits))| {
        let (version, features, server_id, epoch, session, server_ms, heartbeat_ms, ttl) = numbers;
        Message::Welcome(Welcome {
            version,
            features,
            server_id,
            epoch,
            session,
            server_ms,
            principal,
            auth_expires_ms,
            heartbeat_ms,
            presence_ttl_ms: ttl,
            limits,
        })
    });
    prop_oneof![hello, welcome]
}

fn documents() -> impl Strategy<Value = Message> {
    let open = (any::<u32>(), doc(), version(), option::of(mark()), option::of(log_mark()))
        .prop_map(|(ch, doc, have, me, since)| Message::Open(Open { ch, doc, have, me, since }));
    let opened = (any::<(u32, u32)>(), permission(), version(), option::of(mark())).prop_map(
        |((ch, feed), permission, have, mark)| {
            Message::Opened(Opened { ch, feed, permission, have, mark })
        },
    );
    let changes = (any::<u32>(), vec(any::<u8>(), 1..80))
        .prop_map(|(ch, entries)| Message::Changes(Changes { ch, entries: entries.into() }));
    let piece = (any::<(u32, u64, u32, u32, u32)>(), bytes()).prop_map(
        |((ch, peer, seq, total, offset), data)| {
            Message::Piece(Piece { ch, peer: PeerId(peer), seq, total, offset, data })
        },
    );
    let pack = (any::<u32>(), bytes()).prop_map(|(ch, update)| Message::Pack(Pack { ch, update }));
    let ack = (any::<u32>(), level(), version())
        .prop_map(|(ch, level, through)| Message::Ack(Ack { ch, level, through }));
    let nack = any::<(u32, u64, u32, u8, u32)>().prop_map(|(ch, peer, seq, code, retry)| {
        let (peer, code) = (PeerId(peer), NackCode::from_u8(code));
        Message::Nack(Nack { ch, peer, seq, code, retry_after_ms: retry })
    });
    let error = (any::<(u32, u8)>(), ".{0,20}").prop_map(|((ch, code), detail)| {
        Message::DocErr(DocErr { ch, code: DocErrCode::from_u8(code), detail })
    });
    let short = prop_oneof![
        (any::<u32>(), log_mark()).prop_map(|(ch, at)| Message::CaughtUp(CaughtUp { ch, at })),
        any::<u32>().prop_map(|ch| Message::Close(Close { ch })),
    ];
    prop_oneof![open, opened, changes, piece, pack, ack, nack, error, short]
}

fn others() -> impl Strategy<Value = Message> {
    let entry = (any::<u64>(), option::of(".{0,9}"), option::of(bytes()))
        .prop_map(|(session, principal, payload)| PresenceEntry { session, principal, payload });
    let state =
        (any::<u32>(), any::<bool>(), vec(entry, 0..5)).prop_map(|(feed, full, entries)| {
            Message::PresenceState(PresenceState { feed, full, entries })
        });
    let away = (any::<(u16, u32)>(), ".{0,20}").prop_map(|((code, retry_after_ms), detail)| {
        Message::GoAway(GoAway { code, retry_after_ms, detail })
    });
    prop_oneof![
        any::<u32>().prop_map(|bytes| Message::Credit(Credit { bytes })),
        any::<u64>().prop_map(|id| Message::Ping(Ping { id })),
        any::<u64>().prop_map(|id| Message::Pong(Pong { id })),
        (any::<u32>(), option::of(bytes()))
            .prop_map(|(ch, payload)| Message::PresenceSet(PresenceSet { ch, payload })),
        state,
        away,
    ]
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![greetings(), documents(), others()]
}

fn ready_client() -> ClientSession {
    let mut client = ClientSession::new(ClientConfig::new(1));
    let now = Instant::from_ms(0);
    client.handle(now, ClientInput::Started { wall_ms: 0 });
    let doc = DocId::new("d").expect("a valid id");
    client
        .handle(now, ClientInput::Open { doc, have: VersionVector::new(), me: None, since: None });
    let welcome = Message::Welcome(Welcome {
        version: 1,
        features: 0,
        server_id: 1,
        epoch: 1,
        session: 1,
        server_ms: 0,
        principal: None,
        auth_expires_ms: None,
        heartbeat_ms: 20_000,
        presence_ttl_ms: 30_000,
        limits: Limits::default(),
    });
    client.handle(now, ClientInput::Frame(encode_frame(&welcome)));
    let opened = Opened {
        ch: 0,
        feed: 0,
        permission: Permission::Write,
        have: VersionVector::new(),
        mark: None,
    };
    client.handle(now, ClientInput::Frame(encode_frame(&Message::Opened(opened))));
    client
}

fn ready_server() -> ServerSession {
    let now = Instant::from_ms(0);
    let mut server = ServerSession::new(now, Limits::default(), 20_000);
    let hello = Message::Hello(Hello {
        version_min: 1,
        version_max: 1,
        features: 0,
        client_id: 1,
        token: None,
        wall_ms: 0,
    });
    server.handle(now, ServerInput::Frame(encode_frame(&hello)));
    server.handle(
        now,
        ServerInput::Admit(Admission {
            server_id: 1,
            epoch: 1,
            session: 1,
            server_ms: 0,
            principal: None,
            auth_expires_ms: None,
            presence_ttl_ms: 30_000,
        }),
    );
    server
}

/// Gives a frame to a client and a server that are both in the middle of things.
fn feed_both(frames: &[Bytes]) {
    let (mut client, mut server) = (ready_client(), ready_server());
    for frame in frames {
        client.handle(Instant::from_ms(1), ClientInput::Frame(frame.clone()));
        server.handle(Instant::from_ms(1), ServerInput::Frame(frame.clone()));
    }
    while client.poll_output().is_some() {}
    while server.poll_output().is_some() {}
}

proptest! {
    #[test]
    fn every_message_reads_as_it_was_written(message in message()) {
        let frame = encode_frame(&message);
        prop_assert_eq!(decode_frame(&frame), Ok(vec![message]));
    }

    #[test]
    fn messages_may_share_a_frame(messages in vec(message(), 1..5)) {
        let frame: Vec<u8> = messages.iter().flat_map(encode_frame).collect();
        prop_assert_eq!(decode_frame(&frame.into()), Ok(messages));
    }

    #[test]
    fn a_frame_that_is_cut_short_is_refused(
        message in message(),
        cut in any::<prop::sample::Index>(),
    ) {
        let frame = encode_frame(&message);
        let cut = cut.index(frame.len());
        prop_assert!(decode_frame(&frame.slice(..cut)).is_err());
    }

    #[test]
    fn no_bytes_break_a_session(bytes in vec(any::<u8>(), 0..300)) {
        feed_both(&[bytes.into()]);
    }

    #[test]
    fn no_damage_breaks_a_session(
        messages in vec(message(), 1..6),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let frames: Vec<Bytes> = messages.iter().map(|message| {
            let mut frame = encode_frame(message).to_vec();
            for (at, byte) in &damage {
                let at = at.index(frame.len());
                frame[at] = *byte;
            }
            frame.into()
        }).collect();
        feed_both(&frames);
    }

    #[test]
    fn no_order_of_messages_breaks_a_session(messages in vec(message(), 1..12)) {
        let frames: Vec<Bytes> = messages.iter().map(encode_frame).collect();
        feed_both(&frames);
    }
}

#[test]
fn what_may_be_ignored_is_skipped_and_what_may_not_is_refused() {
    let ping = encode_frame(&Message::Ping(Ping { id: 5 }));
    let with = |kind: u8| -> Bytes { [&[3, kind, 1, 2], &ping[..]].concat().into() };
    assert_eq!(decode_frame(&with(0xff)), Ok(vec![Message::Ping(Ping { id: 5 })]));
    assert_eq!(decode_frame(&with(0x7f)), Err(FrameError::UnknownType(0x7f)));
}

#[test]
fn unknown_extensions_are_skipped() {
    let plain = Bytes::from_static(&[2, 0x0d, 5]);
    let extended = Bytes::from_static(&[6, 0x0d, 5, 99, 2, 1, 1]);
    let broken = Bytes::from_static(&[6, 0x0d, 5, 99, 3, 1, 1]);
    assert_eq!(decode_frame(&extended), decode_frame(&plain));
    assert!(matches!(decode_frame(&broken), Err(FrameError::Body { kind: 0x0d, .. })));
}

#[test]
fn frames_have_a_hard_cap() {
    let frame = Bytes::from(vec![0; FRAME_BYTES_MAX + 1]);
    assert_eq!(decode_frame(&frame), Err(FrameError::TooLarge(FRAME_BYTES_MAX + 1)));
    assert_eq!(decode_frame(&Bytes::new()), Err(FrameError::MessageCount));
    let many: Vec<u8> = [2, 0x0d, 5].repeat(1_025);
    assert_eq!(decode_frame(&many.into()), Err(FrameError::MessageCount));
}

#[test]
fn a_count_cannot_claim_more_than_the_frame_holds() {
    // Changes on channel 0 with 2^62 bytes of entries.
    let frame = [11, 0x05, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40];
    assert!(matches!(
        decode_frame(&Bytes::from(frame.to_vec())),
        Err(FrameError::Body { kind: 0x05, .. })
    ));
}

#[test]
fn changes_without_entries_are_refused() {
    let message = Message::Changes(Changes { ch: 0, entries: Bytes::new() });
    let source = DecodeError::Invalid("entries");
    assert_eq!(decode_frame(&encode_frame(&message)), Err(FrameError::Body { kind: 0x05, source }));
}

#[test]
fn packs_have_a_largest_size() {
    let pack = |len| Message::Pack(Pack { ch: 0, update: vec![0; len].into() });
    let source = DecodeError::Invalid("pack");
    let refused = Err(FrameError::Body { kind: 0x10, source });
    assert_eq!(decode_frame(&encode_frame(&pack(PACK_BYTES_MAX + 1))), refused);
    assert_eq!(decode_frame(&encode_frame(&pack(PACK_BYTES_MAX))), Ok(vec![pack(PACK_BYTES_MAX)]));
}

#[test]
fn secrets_do_not_show_in_logs() {
    let token = Some("secret".to_owned());
    let config = ClientConfig { client_id: 1, token: token.clone() };
    let hello =
        Hello { version_min: 1, version_max: 1, features: 0, client_id: 1, token, wall_ms: 0 };
    assert!(!format!("{config:?} {hello:?}").contains("secret"));
    assert!(!format!("{:?}", ClientSession::new(config)).contains("secret"));
}
