//! The protocol: frames, and both sessions with whatever may come at whatever time.

use std::collections::BTreeMap;

use bytes::Bytes;
use leptos_sync_crdt::{
    Block, BlockReader, BlockWriter, Doc, DocId, PeerId, VersionVector, Writer,
};
use leptos_sync_protocol::{
    Ack, AckLevel, Admission, Assembler, CaughtUp, Changes, ClientConfig, ClientEvent, ClientInput,
    ClientOutput, ClientSession, Close, CloseCode, Credit, DocErr, DocErrCode, FRAME_BYTES_MAX,
    GoAway, Hello, Instant, Limits, LogMark, Message, Nack, NackCode, Open, Opened, Pack, PeerMark,
    Permission, Piece, Ping, Pong, PresenceEntry, PresenceSet, PresenceState, Rejection,
    ServerEvent, ServerInput, ServerOutput, ServerSession, VERSION, Welcome, changes_frames,
    decode_frame, encode_frame,
};

use super::{Target, choice_examples};
use crate::budget::within;
use crate::choices::Choices;

/// So many facts at most for one session.
const INPUTS_MAX: usize = 200;

fn decoded(frame: &Bytes) -> Option<Vec<Message>> {
    within(frame.len(), || decode_frame(frame)).ok()
}

pub(super) const FRAME: Target = Target {
    name: "frame",
    about: "frames: what decodes reads back when it is encoded again",
    run: |bytes| {
        let frame = Bytes::copy_from_slice(bytes);
        for message in decoded(&frame).into_iter().flatten() {
            let again = decode_frame(&encode_frame(&message));
            assert_eq!(again, Ok(vec![message]));
        }
    },
    examples: || {
        let examples = choice_examples();
        let frames = examples.iter().flat_map(|bytes| {
            let mut choices = Choices::new(bytes);
            (0..8).map(|_| encode_frame(&message(&mut choices)).to_vec()).collect::<Vec<_>>()
        });
        frames.filter(|frame| frame.len() < 1_000).collect()
    },
};

/// Blocks of one author, small ones and one that travels in pieces.
fn some_blocks() -> Vec<Block> {
    let mut doc = Doc::new(PeerId(1));
    for len in [1, 20, 3, 70_000, 1] {
        doc.transact(0, |tx| tx.register("r").set("x".repeat(len)));
    }
    doc.blocks_since(&VersionVector::new())
}

thread_local! {
    static BLOCKS: Vec<Block> = some_blocks();
}

fn block(choices: &mut Choices<'_>) -> Block {
    BLOCKS.with(|blocks| blocks[choices.below(blocks.len())].clone())
}

/// A block whole, or by what it adds to another one, or something else.
fn entry(choices: &mut Choices<'_>, out: &mut Writer) {
    let mut writer = BlockWriter::default();
    match choices.below(8) {
        0 => out.raw(choices.some(40)),
        1 | 2 => {
            let last = block(choices);
            writer.write(&last, &mut Writer::new());
            let next = BLOCKS.with(|blocks| {
                blocks.iter().find(|block| block.seq() == last.end()).unwrap_or(&last).clone()
            });
            writer.write(&next, out);
        }
        _ => writer.write(&block(choices), out),
    }
    // No message is without entries.
    if out.as_slice().is_empty() {
        out.u8(0);
    }
}

fn doc_id(choices: &mut Choices<'_>) -> DocId {
    DocId::new(["a", "b", "c/d"][choices.below(3)]).expect("it is one")
}

fn version(choices: &mut Choices<'_>) -> VersionVector {
    let count = choices.below(4);
    (0..count).map(|_| (PeerId(choices.number()), choices.number() as u32)).collect()
}

fn log_mark(choices: &mut Choices<'_>) -> LogMark {
    LogMark { position: choices.number(), digest: choices.number() }
}

fn mark(choices: &mut Choices<'_>) -> Option<PeerMark> {
    let mark = PeerMark { peer: PeerId(choices.number()), seq: 1, hash: choices.number() };
    (choices.below(2) == 0).then_some(mark)
}

fn limits(choices: &mut Choices<'_>) -> Limits {
    let usual = Limits::default();
    match choices.below(4) {
        0 => Limits {
            frame_bytes_max: choices.number().max(1) as u32 | 1,
            window_bytes: choices.number() as u32 | 1,
            block_bytes_max: choices.number() as u32,
            presence_bytes_max: choices.number() as u32,
            docs_max: choices.number() as u32,
        },
        1 => Limits { window_bytes: 100, block_bytes_max: 1_000, docs_max: 2, ..usual },
        _ => usual,
    }
}

fn piece(ch: u32, choices: &mut Choices<'_>) -> Piece {
    let block = block(choices);
    let bytes = block.bytes();
    let offset = choices.below(bytes.len().min(4)) * 20_000 % bytes.len();
    let end = bytes.len().min(offset + 20_000);
    let data = Bytes::copy_from_slice(&bytes[offset..end]);
    let (peer, seq) = (block.peer(), block.seq());
    let (mut total, mut offset) = (bytes.len() as u32, offset as u32);
    match choices.below(16) {
        0 => total = choices.number() as u32,
        1 => offset = choices.number() as u32,
        _ => {}
    }
    Piece { ch, peer, seq, total, offset, data }
}

fn text(choices: &mut Choices<'_>) -> Option<String> {
    (choices.below(2) == 0).then(|| String::from_utf8_lossy(choices.some(9)).into_owned())
}

fn message(choices: &mut Choices<'_>) -> Message {
    let kind = choices.below(17);
    let ch = choices.below(4) as u32;
    match kind {
        0 => Message::Open(Open {
            ch,
            doc: doc_id(choices),
            have: version(choices),
            me: mark(choices),
            since: (choices.below(2) == 0).then(|| log_mark(choices)),
        }),
        1 => {
            let mut entries = Writer::new();
            (0..1 + choices.below(3)).for_each(|_| entry(choices, &mut entries));
            Message::Changes(Changes { ch, entries: entries.into_vec().into() })
        }
        2 if choices.below(8) == 0 => {
            Message::Pack(Pack { ch, update: Bytes::copy_from_slice(choices.some(20)) })
        }
        2 => Message::Piece(piece(ch, choices)),
        3 => Message::Close(Close { ch }),
        4 => Message::Ping(Ping { id: choices.number() }),
        5 => Message::Pong(Pong { id: choices.number() }),
        6 => {
            let payload = Some(Bytes::copy_from_slice(choices.some(20)));
            Message::PresenceSet(PresenceSet { ch, payload })
        }
        7 => Message::Hello(Hello {
            version_min: choices.below(3) as u32,
            version_max: choices.number() as u32,
            features: 0,
            client_id: choices.number(),
            token: text(choices),
            wall_ms: choices.number(),
        }),
        _ => server_message(kind, ch, choices),
    }
}

fn server_message(kind: usize, ch: u32, choices: &mut Choices<'_>) -> Message {
    match kind {
        8 => Message::Welcome(Welcome {
            version: VERSION,
            features: 0,
            server_id: 1,
            epoch: choices.number(),
            session: choices.number(),
            server_ms: choices.number(),
            principal: text(choices),
            auth_expires_ms: None,
            heartbeat_ms: choices.number() as u32,
            presence_ttl_ms: choices.number() as u32,
            limits: limits(choices),
        }),
        9 => {
            let feed = choices.below(4) as u32;
            let permission = [Permission::Read, Permission::Write][choices.below(2)];
            let (have, mark) = (version(choices), mark(choices));
            Message::Opened(Opened { ch, feed, permission, have, mark })
        }
        10 => Message::CaughtUp(CaughtUp { ch, at: log_mark(choices) }),
        11 => {
            let level = [AckLevel::Received, AckLevel::Durable][choices.below(2)];
            Message::Ack(Ack { ch, level, through: version(choices) })
        }
        12 => {
            let (peer, code) = (PeerId(1), NackCode::from_u8(choices.byte()));
            Message::Nack(Nack { ch, peer, seq: 0, code, retry_after_ms: 0 })
        }
        13 => Message::Credit(Credit { bytes: choices.number() as u32 }),
        14 => {
            let (code, detail) = (DocErrCode::from_u8(choices.byte()), String::new());
            Message::DocErr(DocErr { ch, code, detail })
        }
        15 => {
            let detail = text(choices).unwrap_or_default();
            Message::GoAway(GoAway { code: 1001, retry_after_ms: 5, detail })
        }
        _ => {
            let mut entries = Vec::new();
            for session in 0..choices.below(4) as u64 {
                let payload = text(choices).map(Bytes::from);
                entries.push(PresenceEntry { session, principal: text(choices), payload });
            }
            Message::PresenceState(PresenceState { feed: ch, full: choices.below(2) == 0, entries })
        }
    }
}

/// A frame of messages, or of anything.
fn frame(choices: &mut Choices<'_>) -> Bytes {
    if choices.below(16) == 0 {
        return Bytes::copy_from_slice(choices.some(64));
    }
    let count = 1 + choices.below(2);
    let frames = (0..count).flat_map(|_| encode_frame(&message(choices)));
    frames.collect::<Vec<u8>>().into()
}

/// Lets time pass: mostly little, sometimes hours.
fn pass(now: &mut Instant, choices: &mut Choices<'_>) {
    *now = now.plus_ms(match choices.below(8) {
        0 => choices.number(),
        1 => 10_000,
        _ => 10,
    });
}

pub(super) const SERVER: Target = Target {
    name: "server",
    about: "a server's session, with any frames and answers at any time",
    run: run_server,
    examples: choice_examples,
};

fn run_server(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let (mut now, limits) = (Instant::from_ms(0), limits(&mut choices));
    let mut session = ServerSession::new(now, limits, choices.number() as u32);
    let (mut is_closed, mut held) = (false, Vec::new());
    // What it is to open, and whether the client has closed it again.
    let mut opening = BTreeMap::new();
    if choices.below(4) > 0 {
        let token = None;
        let (version_min, version_max) = (VERSION, VERSION);
        let hello =
            Hello { version_min, version_max, features: 0, client_id: 1, token, wall_ms: 0 };
        session.handle(now, ServerInput::Frame(encode_frame(&Message::Hello(hello))));
        session.handle(now, ServerInput::Admit(admission()));
    }
    for _ in 0..INPUTS_MAX {
        if choices.is_empty() {
            break;
        }
        pass(&mut now, &mut choices);
        let input = server_input(&mut choices, &mut held);
        match &input {
            ServerInput::Opened { ch, .. } | ServerInput::DocError { ch, .. } => {
                opening.remove(ch);
            }
            ServerInput::NotOpened { ch } if opening.get(ch) == Some(&true) => {
                opening.remove(ch);
            }
            _ => {}
        }
        session.handle(now, input);
        while let Some(output) = session.poll_output() {
            assert!(!is_closed, "something follows the end: {output:?}");
            match output {
                ServerOutput::Send(frame) => drop(decode_frame(&frame).expect("it is a frame")),
                ServerOutput::CloseSocket { .. } => is_closed = true,
                ServerOutput::Event(ServerEvent::Changes { ch, blocks }) => {
                    let bytes: usize = blocks.iter().map(|block| block.bytes().len()).sum();
                    held.push((ch, blocks.len(), bytes));
                    let bytes: usize = held.iter().map(|(.., bytes)| bytes).sum();
                    let window = limits.window_bytes as usize;
                    assert!(bytes <= 2 * window + limits.block_bytes_max as usize);
                    let count: usize = held.iter().map(|(_, count, _)| count).sum();
                    assert!(count <= (window + FRAME_BYTES_MAX) / 24);
                }
                ServerOutput::Event(ServerEvent::Open { ch, .. }) => {
                    assert_eq!(opening.insert(ch, false), None, "a number is used twice");
                    assert!(opening.len() <= limits.docs_max as usize);
                }
                ServerOutput::Event(ServerEvent::Close { ch }) => {
                    opening.entry(ch).and_modify(|is_closed| *is_closed = true);
                }
                ServerOutput::Event(_) => {}
            }
        }
        assert_eq!(session.next_deadline().is_none(), is_closed);
    }
}

fn admission() -> Admission {
    Admission {
        server_id: 1,
        epoch: 1,
        session: 1,
        server_ms: 0,
        principal: None,
        auth_expires_ms: None,
        presence_ttl_ms: 30_000,
    }
}

fn server_input(choices: &mut Choices<'_>, held: &mut Vec<(u32, usize, usize)>) -> ServerInput {
    let kind = choices.below(16);
    let ch = choices.below(4) as u32;
    match kind {
        0 => ServerInput::Admit(admission()),
        1 if choices.below(8) == 0 => {
            ServerInput::Refuse { code: CloseCode::Forbidden, reason: String::new() }
        }
        1..=3 => {
            let permission = [Permission::Read, Permission::Write][choices.below(2)];
            let (version, mark) = (version(choices), mark(choices));
            ServerInput::Opened { ch, feed: ch + 7, permission, version, mark }
        }
        4 => {
            let (code, detail) = (DocErrCode::Unavailable, "no".to_owned());
            ServerInput::DocError { ch, code, detail }
        }
        5 if choices.below(2) == 0 => ServerInput::NotOpened { ch },
        5 => ServerInput::CaughtUp { ch, at: log_mark(choices) },
        6 | 7 if !held.is_empty() => {
            let (ch, blocks, bytes) = held.remove(0);
            let code = NackCode::Invalid;
            let refused = Rejection { peer: PeerId(1), seq: 0, code, retry_after_ms: 0 };
            let rejected = vec![refused; choices.below(2)];
            ServerInput::Settled { ch, durable: version(choices), rejected, blocks, bytes }
        }
        8 if choices.below(8) == 0 => {
            ServerInput::GoAway { retry_after_ms: 1, detail: "bye".to_owned() }
        }
        8 => ServerInput::Tick,
        _ => ServerInput::Frame(frame(choices)),
    }
}

pub(super) const CLIENT: Target = Target {
    name: "client",
    about: "a client's session, with any frames and wishes at any time",
    run: run_client,
    examples: choice_examples,
};

fn run_client(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let mut now = Instant::from_ms(0);
    let mut session = ClientSession::new(ClientConfig::new(1));
    let mut is_closed = false;
    if choices.below(4) > 0 {
        session.handle(now, ClientInput::Started { wall_ms: 0 });
    }
    for _ in 0..INPUTS_MAX {
        if choices.is_empty() {
            break;
        }
        pass(&mut now, &mut choices);
        let input = client_input(&mut choices);
        session.handle(now, input);
        let _ = session.queued_bytes();
        while let Some(output) = session.poll_output() {
            assert!(!is_closed, "something follows the end: {output:?}");
            match output {
                ClientOutput::Send(frame) => drop(decode_frame(&frame).expect("it is a frame")),
                ClientOutput::CloseSocket { .. } => is_closed = true,
                ClientOutput::Event(ClientEvent::Blocks { blocks, .. }) => {
                    assert!(!blocks.is_empty());
                }
                ClientOutput::Event(_) => {}
            }
        }
        let _ = session.next_deadline();
    }
}

fn client_input(choices: &mut Choices<'_>) -> ClientInput {
    match choices.below(16) {
        0 => ClientInput::Started { wall_ms: choices.number() },
        1 | 2 => {
            let (doc, have, me) = (doc_id(choices), version(choices), mark(choices));
            let since = (choices.below(2) == 0).then(|| log_mark(choices));
            ClientInput::Open { doc, have, me, since }
        }
        3 => ClientInput::Close { doc: doc_id(choices) },
        4 | 5 => {
            let (doc, count) = (doc_id(choices), choices.below(4));
            ClientInput::Changes { doc, blocks: (0..count).map(|_| block(choices)).collect() }
        }
        6 => {
            let (doc, is_there) = (doc_id(choices), choices.below(2) == 0);
            ClientInput::Presence { doc, payload: is_there.then(|| choices.some(9).to_vec()) }
        }
        7 => ClientInput::Tick,
        8 => ClientInput::Nudge,
        _ => ClientInput::Frame(frame(choices)),
    }
}

pub(super) const PIECES: Target = Target {
    name: "pieces",
    about: "pieces of blocks in any order: what comes out is one of the blocks",
    run: |bytes| {
        let mut choices = Choices::new(bytes);
        let max = 1 << 20;
        let mut assembler = Assembler::new(max);
        for _ in 0..INPUTS_MAX {
            if choices.is_empty() {
                break;
            }
            if choices.below(16) == 0 {
                assembler.forget(choices.below(2) as u32);
            }
            let ch = choices.below(8) as u32 / 7;
            if let Ok(Some(whole)) = assembler.take(&piece(ch, &mut choices)) {
                BLOCKS.with(|blocks| assert!(blocks.contains(&whole)));
            }
        }
        let mut blocks = Vec::new();
        for _ in 0..choices.below(4) {
            blocks.push(block(&mut choices));
        }
        let mut came = Vec::new();
        let mut assembler = Assembler::new(max);
        let (mut writer, mut reader) = (BlockWriter::default(), BlockReader::default());
        for frame in changes_frames(&mut writer, 1, &blocks) {
            for message in decode_frame(&frame).expect("it is a frame") {
                match message {
                    Message::Changes(changes) => {
                        came.extend(changes.read(&mut reader).expect("the two ends agree"));
                    }
                    Message::Piece(piece) => {
                        came.extend(assembler.take(&piece).expect("they come in order"));
                    }
                    other => panic!("{other:?} is neither"),
                }
            }
        }
        assert_eq!(came, blocks);
    },
    examples: choice_examples,
};
