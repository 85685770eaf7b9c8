//! One end of a connection alone: the test plays the other end and sees what each message does.

#![allow(dead_code, reason = "each test file uses a part of it")]

use bytes::Bytes;
use leptos_sync_crdt::{Block, BlockWriter, PeerId, VersionVector};
use leptos_sync_protocol::{
    Admission, Changes, ClientConfig, ClientEvent, ClientInput, ClientOutput, ClientSession, Hello,
    Instant, Limits, LogMark, Message, Open, Opened, Permission, Piece, ServerEvent, ServerInput,
    ServerOutput, ServerSession, Welcome, decode_frame, encode_frame,
};

use crate::wire::{author, doc};

/// What a session did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Did<E> {
    /// It sent a message to the other end.
    Said(Message),
    /// It told its caller.
    Told(E),
    /// It closed the socket with this code.
    Closed(u16),
}

use Did::{Closed, Said, Told};

fn said<E>(frame: &Bytes) -> Did<E> {
    let mut messages = decode_frame(frame).expect("sessions send valid frames");
    assert_eq!(messages.len(), 1, "sessions send a frame for each message");
    Said(messages.remove(0))
}

/// The code that the session closed with, if that is the last thing it did.
pub(crate) fn closed<E>(did: &[Did<E>]) -> Option<u16> {
    match did.last() {
        Some(Closed(code)) => Some(*code),
        _ => None,
    }
}

/// A block of exactly `bytes` bytes, the first of `peer`.
pub(crate) fn block_of(peer: u64, bytes: usize) -> Block {
    let envelope = author(peer, &["x"]).0[0].bytes().len() - 1;
    let mut texts = (bytes - envelope - 8..=bytes - envelope).map(|len| "x".repeat(len));
    let of_size = |text: String| {
        let (mut blocks, _) = author(peer, &[&text]);
        (blocks[0].bytes().len() == bytes).then(|| blocks.remove(0))
    };
    texts.find_map(of_size).expect("some text makes a block of this size")
}

/// The blocks in one message on channel 0, each of them whole.
pub(crate) fn changes(blocks: &[Block]) -> Message {
    Message::Changes(Changes::write(&mut BlockWriter::default(), 0, blocks))
}

/// A piece of `block` on channel 0.
pub(crate) fn piece(block: &Block, range: std::ops::Range<usize>) -> Piece {
    Piece {
        ch: 0,
        peer: block.peer(),
        seq: block.seq(),
        total: block.bytes().len() as u32,
        offset: range.start as u32,
        data: Bytes::copy_from_slice(&block.bytes()[range]),
    }
}

/// How many operations each peer has.
pub(crate) fn version(counts: &[(u64, u32)]) -> VersionVector {
    counts.iter().map(|&(peer, count)| (PeerId(peer), count)).collect()
}

/// A block in a format that this version does not know: its version, and the checksum of that.
pub(crate) const NEWER_BLOCK: [u8; 5] = [2, 0x78, 0x32, 0x40, 0xd5];

/// What a client says that speaks the versions from `min` to `max`.
pub(crate) fn hello(min: u32, max: u32) -> Message {
    Message::Hello(Hello {
        version_min: min,
        version_max: max,
        features: 0,
        client_id: 7,
        token: Some("key".to_owned()),
        wall_ms: 5,
    })
}

/// What a server says that lets in.
pub(crate) fn welcome(limits: Limits) -> Welcome {
    Welcome {
        version: 1,
        features: 0,
        server_id: 8,
        epoch: 9,
        session: 10,
        server_ms: 11,
        principal: Some("ada".to_owned()),
        auth_expires_ms: Some(12),
        heartbeat_ms: 20_000,
        presence_ttl_ms: 30_000,
        limits,
    }
}

/// What a server says when it opened a document as channel `ch`, with feed `100 + ch`.
pub(crate) fn opened(ch: u32) -> Message {
    let (permission, have) = (Permission::Write, version(&[(3, 4)]));
    Message::Opened(Opened { ch, feed: 100 + ch, permission, have, mark: None })
}

/// A client session whose server is the test.
pub(crate) struct Client {
    session: ClientSession,
    now: Instant,
}

impl Client {
    /// One whose socket is not open yet.
    pub(crate) fn idle() -> Self {
        let token = Some("key".to_owned());
        let session = ClientSession::new(ClientConfig { client_id: 7, token });
        Self { session, now: Instant::from_ms(0) }
    }

    /// One that has said hello.
    pub(crate) fn greeting() -> Self {
        let mut client = Self::idle();
        client.input(ClientInput::Started { wall_ms: 5 });
        client
    }

    /// One that was let in.
    pub(crate) fn welcomed(limits: Limits) -> Self {
        let mut client = Self::greeting();
        client.hears(Message::Welcome(welcome(limits)));
        client
    }

    /// One that has the document `d` open as channel 0.
    pub(crate) fn open(limits: Limits) -> Self {
        let mut client = Self::welcomed(limits);
        client.opens("d");
        client.hears(opened(0));
        client
    }

    /// Asks to open a document of which nothing is there.
    pub(crate) fn opens(&mut self, name: &str) -> Vec<Did<ClientEvent>> {
        self.input(ClientInput::Open {
            doc: doc(name),
            have: VersionVector::new(),
            me: None,
            since: None,
        })
    }

    /// Queues blocks for a document.
    pub(crate) fn sends(&mut self, name: &str, blocks: &[Block]) -> Vec<Did<ClientEvent>> {
        self.input(ClientInput::Changes { doc: doc(name), blocks: blocks.to_vec() })
    }

    /// Shows something in the document `d`.
    pub(crate) fn shows(&mut self, payload: Option<&[u8]>) -> Vec<Did<ClientEvent>> {
        self.input(ClientInput::Presence { doc: doc("d"), payload: payload.map(<[u8]>::to_vec) })
    }

    /// What an input does.
    pub(crate) fn input(&mut self, input: ClientInput) -> Vec<Did<ClientEvent>> {
        self.session.handle(self.now, input);
        let done = std::iter::from_fn(|| self.session.poll_output());
        done.map(|output| match output {
            ClientOutput::Send(frame) => said(&frame),
            ClientOutput::Event(event) => Told(event),
            ClientOutput::CloseSocket { code, .. } => Closed(code),
        })
        .collect()
    }

    /// What a message from the server does.
    pub(crate) fn hears(&mut self, message: Message) -> Vec<Did<ClientEvent>> {
        self.input(ClientInput::Frame(encode_frame(&message)))
    }

    /// What the passing of time to `ms` does.
    pub(crate) fn at(&mut self, ms: u64) -> Vec<Did<ClientEvent>> {
        self.now = Instant::from_ms(ms);
        self.input(ClientInput::Tick)
    }

    /// When it wants to be woken, in milliseconds.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.session.next_deadline().map(Instant::as_ms)
    }

    /// Bytes that it keeps back.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.session.queued_bytes()
    }
}

/// A server session whose client, and whose caller, are the test.
pub(crate) struct Server {
    session: ServerSession,
    now: Instant,
}

impl Server {
    /// One whose socket has just opened.
    pub(crate) fn new(limits: Limits) -> Self {
        let now = Instant::from_ms(0);
        Self { session: ServerSession::new(now, limits, 1_000), now }
    }

    /// One that let its client in.
    pub(crate) fn admitted(limits: Limits) -> Self {
        let mut server = Self::new(limits);
        server.hears(hello(1, 1));
        server.input(ServerInput::Admit(admission()));
        server
    }

    /// One whose client has a document open as channel 0.
    pub(crate) fn open(limits: Limits, permission: Permission) -> Self {
        let mut server = Self::admitted(limits);
        server.hears(open(0));
        server.opens(0, permission);
        server
    }

    /// The caller opens the document that the client asked for.
    pub(crate) fn opens(&mut self, ch: u32, permission: Permission) -> Vec<Did<ServerEvent>> {
        let version = version(&[(3, 4)]);
        self.input(ServerInput::Opened { ch, feed: 100 + ch, permission, version, mark: None })
    }

    /// The caller stored all of a batch on channel 0 and names nothing.
    pub(crate) fn settles(&mut self, bytes: usize) -> Vec<Did<ServerEvent>> {
        let durable = VersionVector::new();
        self.input(ServerInput::Settled { ch: 0, durable, rejected: Vec::new(), blocks: 0, bytes })
    }

    /// What an input does.
    pub(crate) fn input(&mut self, input: ServerInput) -> Vec<Did<ServerEvent>> {
        self.session.handle(self.now, input);
        let done = std::iter::from_fn(|| self.session.poll_output());
        done.map(|output| match output {
            ServerOutput::Send(frame) => said(&frame),
            ServerOutput::Event(event) => Told(event),
            ServerOutput::CloseSocket { code, .. } => Closed(code.as_u16()),
        })
        .collect()
    }

    /// What a message from the client does.
    pub(crate) fn hears(&mut self, message: Message) -> Vec<Did<ServerEvent>> {
        self.input(ServerInput::Frame(encode_frame(&message)))
    }

    /// What the passing of time to `ms` does.
    pub(crate) fn at(&mut self, ms: u64) -> Vec<Did<ServerEvent>> {
        self.now = Instant::from_ms(ms);
        self.input(ServerInput::Tick)
    }

    /// When it wants to be woken, in milliseconds.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.session.next_deadline().map(Instant::as_ms)
    }
}

/// A mark of a log with one block.
pub(crate) const ONE_READ: LogMark = LogMark { position: 1, digest: 2 };

/// What a client says to open the document `d` as channel `ch`.
pub(crate) fn open(ch: u32) -> Message {
    Message::Open(Open { ch, doc: doc("d"), have: version(&[(1, 2)]), me: None, since: None })
}

/// What the caller of a server lets a client in with.
pub(crate) fn admission() -> Admission {
    Admission {
        server_id: 8,
        epoch: 9,
        session: 10,
        server_ms: 11,
        principal: Some("ada".to_owned()),
        auth_expires_ms: Some(12),
        presence_ttl_ms: 30_000,
    }
}
