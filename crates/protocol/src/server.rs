//! The server's side of one connection.
//!
//! Guarantees: nothing is acted upon before the caller admits the client; the client never has
//! more under way than two windows and one block, nor more blocks than fit into what it may send;
//! changes on a channel that may only be read are refused here; once
//! [`ServerOutput::CloseSocket`] was queued, nothing follows.
//!
//! Not here: who may do what (the caller admits and opens), documents, and the sending of changes
//! and presence to subscribers. The caller sends those frames past the session. Those of presence
//! bear the server's own number for the document (the feed), so that one encoding serves all.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use leptos_sync_crdt::{Block, BlockReader, DocId, PeerId, Reader, VersionVector};

use crate::code::{AckLevel, CloseCode, DocErrCode, NackCode, Permission};
use crate::frame::{FrameError, decode_frame, encode_frame};
use crate::limits::{BLOCK_BYTES_LEAST, FRAME_BYTES_MAX, Limits, VERSION};
use crate::message::{
    Ack, CaughtUp, Changes, Credit, DocErr, GoAway, Hello, LogMark, Message, Nack, Open, Opened,
    PeerMark, Piece, Pong, PresenceSet, Welcome,
};
use crate::pieces::{Assembler, PieceError};
use crate::time::Instant;

/// How long the client's hello may take.
const HELLO_MS_MAX: u64 = 10_000;

/// After how many heartbeats of silence the client is taken for dead. A browser may hold back a
/// hidden page's timers for a minute.
const SILENT_HEARTBEATS_MAX: u64 = 5;

/// One fact for a [`ServerSession`].
#[derive(Clone, Debug)]
pub enum ServerInput {
    /// A binary message arrived.
    Frame(Bytes),
    /// The client that said [`ServerEvent::Hello`] is let in.
    Admit(Admission),
    /// The connection must end.
    Refuse {
        /// Why.
        code: CloseCode,
        /// A few words for the client's log.
        reason: String,
    },
    /// The document that [`ServerEvent::Open`] asked for is open.
    Opened {
        /// The client's channel.
        ch: u32,
        /// The server's number for the document.
        feed: u32,
        /// What the user may do.
        permission: Permission,
        /// What is durable here; if the client named a mark, of the peers of which there is more
        /// above it.
        version: VersionVector,
        /// How far the chain of the client's peer goes here.
        mark: Option<PeerMark>,
    },
    /// The document that [`ServerEvent::Open`] asked for was closed before it was open.
    NotOpened {
        /// The client's channel.
        ch: u32,
    },
    /// The document cannot be opened, or not be kept open.
    DocError {
        /// The client's channel.
        ch: u32,
        /// Why.
        code: DocErrCode,
        /// For a log.
        detail: String,
    },
    /// All that the document had when it was opened, or has by now, has been sent.
    CaughtUp {
        /// The client's channel.
        ch: u32,
        /// Up to where in the log that is.
        at: LogMark,
    },
    /// The fate of one [`ServerEvent::Changes`] is decided. Exactly one answer for each.
    Settled {
        /// The client's channel.
        ch: u32,
        /// What is durable, per author of the batch.
        durable: VersionVector,
        /// The blocks that were refused.
        rejected: Vec<Rejection>,
        /// How many blocks the batch had.
        blocks: usize,
        /// The sum of their sizes.
        bytes: usize,
    },
    /// The server stops: tell the client, then close.
    GoAway {
        /// When the client should come back.
        retry_after_ms: u32,
        /// For a log.
        detail: String,
    },
    /// [`ServerSession::next_deadline`] has passed.
    Tick,
}

/// One refused block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The author.
    pub peer: PeerId,
    /// The first seq.
    pub seq: u32,
    /// Why.
    pub code: NackCode,
    /// When the same bytes may be tried again; 0 if never.
    pub retry_after_ms: u32,
}

/// What a welcome says, beyond the version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Names the store.
    pub server_id: u64,
    /// Changes whenever the store may have lost what was acknowledged.
    pub epoch: u64,
    /// Names this connection in presence.
    pub session: u64,
    /// The wall clock, in milliseconds since the Unix epoch.
    pub server_ms: u64,
    /// Who the user is.
    pub principal: Option<String>,
    /// When the token ends, in milliseconds since the Unix epoch.
    pub auth_expires_ms: Option<u64>,
    /// How long presence lasts.
    pub presence_ttl_ms: u32,
}

/// One effect of a [`ServerSession`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerOutput {
    /// Send this as one binary message.
    Send(Bytes),
    /// Something the server must act upon.
    Event(ServerEvent),
    /// Close the socket; the session is over.
    CloseSocket {
        /// Why.
        code: CloseCode,
        /// A few words for the client's log.
        reason: String,
    },
}

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerEvent {
    /// To come in. Answer with [`ServerInput::Admit`] or [`ServerInput::Refuse`].
    Hello {
        /// The client's own number, for logs.
        client_id: u64,
        /// What proves who the user is.
        token: Option<String>,
        /// The client's wall clock.
        wall_ms: u64,
    },
    /// To subscribe. Answer with [`ServerInput::Opened`] or [`ServerInput::DocError`], or with
    /// [`ServerInput::NotOpened`] if it was closed again meanwhile; exactly once.
    Open {
        /// The client's channel.
        ch: u32,
        /// The document.
        doc: DocId,
        /// What the client has of it.
        have: VersionVector,
        /// The client's own chain.
        me: Option<PeerMark>,
        /// Up to where in the log the client has everything besides.
        since: Option<LogMark>,
    },
    /// To unsubscribe. If the document is not open yet, an answer is still due.
    Close {
        /// The client's channel.
        ch: u32,
    },
    /// To have changes stored. Answer with [`ServerInput::Settled`].
    Changes {
        /// The client's channel; it is open and may be written.
        ch: u32,
        /// The blocks, parsed but not validated.
        blocks: Vec<Block>,
    },
    /// To be shown to others, or no longer.
    Presence {
        /// The client's channel; it is open.
        ch: u32,
        /// What to show.
        payload: Option<Bytes>,
    },
}

#[derive(Debug)]
enum Phase {
    AwaitingHello {
        deadline: Instant,
    },
    /// The caller decides.
    Admitting {
        version: u32,
    },
    Ready,
    Closed,
}

#[derive(Debug)]
enum Channel {
    Opening,
    /// The client closed it before it was open. The caller still works on it.
    Abandoned,
    Open {
        permission: Permission,
        received: BlockReader,
    },
    /// The client was told that it cannot be used on, and may have sent more before it knew.
    Failed {
        received: BlockReader,
    },
}

/// The server's side of one connection, from the opening of its socket to the end.
#[derive(Debug)]
pub struct ServerSession {
    phase: Phase,
    limits: Limits,
    heartbeat_ms: u32,
    heard_at: Instant,
    channels: BTreeMap<u32, Channel>,
    /// Larger than the number of every channel there has been.
    next_ch: u64,
    /// Block bytes handed to the caller and not settled, and how many blocks they are.
    unsettled: usize,
    unsettled_blocks: usize,
    /// Bytes of pieces credited before the fate of their block was decided.
    credited_early: usize,
    assembler: Assembler,
    outputs: VecDeque<ServerOutput>,
}

impl ServerSession {
    /// A session for a socket that has just opened.
    #[must_use]
    pub fn new(now: Instant, limits: Limits, heartbeat_ms: u32) -> Self {
        Self {
            phase: Phase::AwaitingHello { deadline: now.plus_ms(HELLO_MS_MAX) },
            limits,
            heartbeat_ms,
            heard_at: now,
            channels: BTreeMap::new(),
            next_ch: 0,
            unsettled: 0,
            unsettled_blocks: 0,
            credited_early: 0,
            assembler: Assembler::new(limits.block_bytes_max),
            outputs: VecDeque::new(),
        }
    }

    /// Takes in one fact. `now` never goes back.
    pub fn handle(&mut self, now: Instant, input: ServerInput) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        match input {
            ServerInput::Frame(frame) => self.receive(now, &frame),
            ServerInput::Admit(admission) => self.admit(admission),
            ServerInput::Refuse { code, reason } => self.fail(code, reason),
            ServerInput::Opened { ch, feed, permission, version, mark } => {
                self.not_opened(ch);
                let Some(channel @ Channel::Opening) = self.channels.get_mut(&ch) else { return };
                *channel = Channel::Open { permission, received: BlockReader::default() };
                let opened = Opened { ch, feed, permission, have: version, mark };
                self.send(&Message::Opened(opened));
            }
            ServerInput::NotOpened { ch } => self.not_opened(ch),
            ServerInput::DocError { ch, code, detail } => self.fail_doc(ch, code, detail),
            ServerInput::CaughtUp { ch, at } => {
                if self.is_in_use(ch) {
                    self.send(&Message::CaughtUp(CaughtUp { ch, at }));
                }
            }
            ServerInput::Settled { ch, durable, rejected, blocks, bytes } => {
                self.unsettled_blocks = self.unsettled_blocks.saturating_sub(blocks);
                self.unsettled = self.unsettled.saturating_sub(bytes);
                self.settled(ch, durable, rejected, bytes);
            }
            ServerInput::GoAway { retry_after_ms, detail } => {
                let code = CloseCode::GoingAway;
                let away = GoAway { code: code.as_u16(), retry_after_ms, detail: detail.clone() };
                self.send(&Message::GoAway(away));
                self.fail(code, detail);
            }
            ServerInput::Tick => self.tick(now),
        }
    }

    /// The next effect. Call until `None`, at any time.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<ServerOutput> {
        self.outputs.pop_front()
    }

    /// When `handle(now, ServerInput::Tick)` is next due. Changes after any `handle`.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::AwaitingHello { deadline } => Some(deadline),
            Phase::Admitting { .. } | Phase::Ready => Some(self.silent_at()),
            Phase::Closed => None,
        }
    }

    fn silent_at(&self) -> Instant {
        self.heard_at.plus_ms(u64::from(self.heartbeat_ms) * SILENT_HEARTBEATS_MAX)
    }

    fn tick(&mut self, now: Instant) {
        match self.phase {
            Phase::AwaitingHello { deadline } if now >= deadline => {
                self.fail(CloseCode::TimedOut, "no hello from the client");
            }
            Phase::Admitting { .. } | Phase::Ready if now >= self.silent_at() => {
                self.fail(CloseCode::TimedOut, "the client is silent");
            }
            _ => {}
        }
    }

    fn send(&mut self, message: &Message) {
        self.outputs.push_back(ServerOutput::Send(encode_frame(message)));
    }

    /// Whether the client still counts on the channel.
    fn is_in_use(&self, ch: u32) -> bool {
        matches!(self.channels.get(&ch), Some(Channel::Opening | Channel::Open { .. }))
    }

    /// Forgets a channel that was closed before it was open.
    fn not_opened(&mut self, ch: u32) {
        if matches!(self.channels.get(&ch), Some(Channel::Abandoned)) {
            self.channels.remove(&ch);
        }
    }

    fn fail_doc(&mut self, ch: u32, code: DocErrCode, detail: String) {
        match self.channels.remove(&ch) {
            Some(Channel::Open { received, .. }) => {
                self.channels.insert(ch, Channel::Failed { received });
            }
            Some(Channel::Opening) => {}
            Some(Channel::Abandoned) => return,
            Some(failed @ Channel::Failed { .. }) => {
                self.channels.insert(ch, failed);
                return;
            }
            None => return,
        }
        self.send(&Message::DocErr(DocErr { ch, code, detail }));
    }

    fn event(&mut self, event: ServerEvent) {
        self.outputs.push_back(ServerOutput::Event(event));
    }

    fn fail(&mut self, code: CloseCode, reason: impl Into<String>) {
        self.phase = Phase::Closed;
        self.outputs.push_back(ServerOutput::CloseSocket { code, reason: reason.into() });
    }

    fn receive(&mut self, now: Instant, frame: &Bytes) {
        if frame.len() > self.limits.frame_bytes_max as usize {
            return self.fail(CloseCode::TooLarge, FrameError::TooLarge(frame.len()).to_string());
        }
        let messages = match decode_frame(frame) {
            Ok(messages) => messages,
            Err(error @ FrameError::TooLarge(_)) => {
                return self.fail(CloseCode::TooLarge, error.to_string());
            }
            Err(error) => return self.fail(CloseCode::Malformed, error.to_string()),
        };
        self.heard_at = now;
        for message in messages {
            match (&self.phase, message) {
                (Phase::AwaitingHello { .. }, Message::Hello(hello)) => self.hello(hello),
                (Phase::Ready, message) => self.dispatch(message),
                _ => self.fail(CloseCode::Malformed, "message out of order"),
            }
            if matches!(self.phase, Phase::Closed) {
                return;
            }
        }
    }

    fn hello(&mut self, hello: Hello) {
        if !(hello.version_min..=hello.version_max).contains(&VERSION) {
            let reason = format!("this server speaks version {VERSION}");
            return self.fail(CloseCode::UnsupportedVersion, reason);
        }
        self.phase = Phase::Admitting { version: VERSION };
        let Hello { client_id, token, wall_ms, .. } = hello;
        self.event(ServerEvent::Hello { client_id, token, wall_ms });
    }

    fn admit(&mut self, admission: Admission) {
        let Phase::Admitting { version } = self.phase else { return };
        self.phase = Phase::Ready;
        self.send(&Message::Welcome(Welcome {
            version,
            features: 0,
            server_id: admission.server_id,
            epoch: admission.epoch,
            session: admission.session,
            server_ms: admission.server_ms,
            principal: admission.principal,
            auth_expires_ms: admission.auth_expires_ms,
            heartbeat_ms: self.heartbeat_ms,
            presence_ttl_ms: admission.presence_ttl_ms,
            limits: self.limits,
        }));
    }

    fn dispatch(&mut self, message: Message) {
        match message {
            Message::Open(open) => self.open(open),
            Message::Changes(changes) => self.changes(&changes),
            Message::Piece(piece) => self.piece(&piece),
            Message::Close(close) => self.close(close.ch),
            Message::PresenceSet(set) => self.presence(set),
            Message::Ping(ping) => self.send(&Message::Pong(Pong { id: ping.id })),
            Message::Pong(_) => {}
            _ => self.fail(CloseCode::Malformed, "a server's message from the client"),
        }
    }

    fn open(&mut self, open: Open) {
        let Open { ch, doc, have, me, since } = open;
        if u64::from(ch) < self.next_ch {
            return self.fail(CloseCode::Malformed, "channel numbers must ascend");
        }
        self.next_ch = u64::from(ch) + 1;
        // Those that were closed while they were opened count until that is done.
        if self.channels.len() >= self.limits.docs_max as usize {
            let code = DocErrCode::TooMany;
            let detail = format!("at most {} documents at once", self.limits.docs_max);
            return self.send(&Message::DocErr(DocErr { ch, code, detail }));
        }
        self.channels.insert(ch, Channel::Opening);
        self.event(ServerEvent::Open { ch, doc, have, me, since });
    }

    fn close(&mut self, ch: u32) {
        self.assembler.forget(ch);
        if self.is_in_use(ch) {
            self.event(ServerEvent::Close { ch });
        }
        match self.channels.get_mut(&ch) {
            Some(channel @ Channel::Opening) => *channel = Channel::Abandoned,
            Some(Channel::Abandoned) => {}
            _ => drop(self.channels.remove(&ch)),
        }
    }

    fn presence(&mut self, set: PresenceSet) {
        let PresenceSet { ch, payload } = set;
        let bytes = payload.as_ref().map_or(0, Bytes::len);
        if bytes > self.limits.presence_bytes_max as usize {
            return self.fail(CloseCode::TooLarge, "presence above the limit");
        }
        if matches!(self.channels.get(&ch), Some(Channel::Open { .. })) {
            self.event(ServerEvent::Presence { ch, payload });
        }
    }

    fn changes(&mut self, changes: &Changes) {
        let (room, count_room) = (self.room(), self.count_room());
        let received = match self.channels.get_mut(&changes.ch) {
            Some(Channel::Open { received, .. } | Channel::Failed { received }) => received,
            Some(Channel::Opening) => {
                return self.fail(CloseCode::Malformed, "changes before opened");
            }
            Some(Channel::Abandoned) | None => {
                return self.fail(CloseCode::Malformed, "changes after close");
            }
        };
        let (mut blocks, mut bytes, mut input) = (Vec::new(), 0, Reader::new(&changes.entries));
        while !input.is_empty() && bytes <= room && blocks.len() <= count_room {
            match received.read(&mut input) {
                Ok(block) if block.bytes().len() > self.limits.block_bytes_max as usize => {
                    return self.fail(CloseCode::TooLarge, "block above the limit");
                }
                Ok(block) => {
                    bytes += block.bytes().len();
                    blocks.push(block);
                }
                Err(error) => return self.fail(CloseCode::Malformed, format!("block: {error}")),
            }
        }
        self.blocks(changes.ch, blocks);
    }

    /// How many more bytes of blocks the client may have undecided.
    fn room(&self) -> usize {
        let max = 2 * u64::from(self.limits.window_bytes) + u64::from(self.limits.block_bytes_max);
        usize::try_from(max).unwrap_or(usize::MAX).saturating_sub(self.unsettled)
    }

    /// How many more blocks the client may have undecided: as many as fit into what may be under
    /// way. A small block takes several times its size while it is stored.
    fn count_room(&self) -> usize {
        let bytes = self.limits.window_bytes as usize + FRAME_BYTES_MAX;
        (bytes / BLOCK_BYTES_LEAST).saturating_sub(self.unsettled_blocks)
    }

    fn piece(&mut self, piece: &Piece) {
        match self.assembler.take(piece) {
            // The unfinished block is the one thing held beyond the window.
            Ok(None) => self.credit(piece.data.len()),
            Ok(Some(block)) => {
                self.credited_early += block.bytes().len() - piece.data.len();
                self.blocks(piece.ch, vec![block]);
            }
            Err(error @ PieceError::TooLarge(_)) => {
                self.fail(CloseCode::TooLarge, error.to_string());
            }
            Err(error) => self.fail(CloseCode::Malformed, error.to_string()),
        }
    }

    fn blocks(&mut self, ch: u32, blocks: Vec<Block>) {
        let bytes: usize = blocks.iter().map(|block| block.bytes().len()).sum();
        if bytes > self.room() || blocks.len() > self.count_room() {
            return self.fail(CloseCode::FlowControl, "more changes than credit");
        }
        match self.channels.get(&ch) {
            Some(Channel::Open { permission: Permission::Write, .. }) => {
                self.unsettled += bytes;
                self.unsettled_blocks += blocks.len();
                self.event(ServerEvent::Changes { ch, blocks });
            }
            Some(Channel::Open { permission: Permission::Read, .. }) => {
                let rejected = blocks.iter().map(|block| Rejection {
                    peer: block.peer(),
                    seq: block.seq(),
                    code: NackCode::Forbidden,
                    retry_after_ms: 0,
                });
                self.settled(ch, VersionVector::new(), rejected.collect(), bytes);
            }
            Some(Channel::Opening | Channel::Abandoned) => {
                self.fail(CloseCode::Malformed, "changes before opened");
            }
            // They crossed a document error on the way.
            Some(Channel::Failed { .. }) | None => {
                self.settled(ch, VersionVector::new(), Vec::new(), bytes);
            }
        }
    }

    fn settled(&mut self, ch: u32, durable: VersionVector, rejected: Vec<Rejection>, bytes: usize) {
        if self.is_in_use(ch) {
            if !durable.is_empty() {
                let level = AckLevel::Durable;
                self.send(&Message::Ack(Ack { ch, level, through: durable }));
            }
            for Rejection { peer, seq, code, retry_after_ms } in rejected {
                self.send(&Message::Nack(Nack { ch, peer, seq, code, retry_after_ms }));
            }
        }
        let early = bytes.min(self.credited_early);
        self.credited_early -= early;
        self.credit(bytes - early);
    }

    fn credit(&mut self, bytes: usize) {
        if bytes > 0 {
            self.send(&Message::Credit(Credit { bytes: bytes as u32 }));
        }
    }
}
