//! The client's side of one connection.
//!
//! Guarantees: nothing but `Hello` is sent before the server's welcome; blocks are sent in the
//! order given, documents taking turns; never more than the server's window is under way; once
//! [`ClientOutput::CloseSocket`] was queued, nothing follows.
//!
//! Not here: what is saved where, what to send again (`leptos-sync-engine` computes that from
//! [`ClientEvent::Opened`]), reconnecting (`leptos-sync-transport`).

use std::collections::VecDeque;

use bytes::Bytes;
use leptos_sync_crdt::{Block, BlockReader, BlockWriter, DecodeError, DocId, VersionVector};
use litemap::LiteMap;

use crate::code::{AckLevel, CloseCode, DocErrCode, NackCode};
use crate::frame::{decode_frame, encode_frame};
use crate::heartbeat::{Beat, Heartbeat};
use crate::limits::{Limits, VERSION};
use crate::message::{
    Changes, Close, Hello, LogMark, Message, Open, Opened, Pack, PeerMark, Piece, Ping, Pong,
    PresenceSet, PresenceState, Welcome,
};
use crate::pieces::{Assembler, PieceError};
use crate::time::Instant;

mod input;
mod presence;
mod upload;

pub use input::{ClientConfig, ClientEvent, ClientInput, ClientOutput};
use presence::OwnPresence;
pub use presence::PresencePeer;
use upload::{Upload, Uploads};

/// How long the server's welcome may take.
const WELCOME_MS_MAX: u64 = 10_000;

#[derive(Debug)]
enum Phase {
    /// The socket is not open yet.
    Idle,
    /// Hello was sent.
    Greeting { deadline: Instant },
    /// The server said welcome.
    Ready { heartbeat: Heartbeat },
    /// Over.
    Closed,
}

#[derive(Debug)]
enum ChannelPhase {
    /// Open was not sent yet.
    Queued,
    /// Open was sent.
    Opening { ch: u32 },
    /// The server answered.
    Open { ch: u32, feed: u32 },
}

#[derive(Debug)]
struct Channel {
    phase: ChannelPhase,
    have: VersionVector,
    me: Option<PeerMark>,
    since: Option<LogMark>,
    sent: BlockWriter,
    received: BlockReader,
    presence: OwnPresence,
    peers: LiteMap<u64, PresencePeer>,
}

/// The client's side of one connection, from the opening of its socket to the end.
#[derive(Debug)]
pub struct ClientSession {
    config: ClientConfig,
    phase: Phase,
    limits: Limits,
    presence_refresh_ms: u64,
    channels: LiteMap<DocId, Channel>,
    doc_by_ch: LiteMap<u32, DocId>,
    doc_by_feed: LiteMap<u32, DocId>,
    next_ch: u32,
    next_ping: u64,
    uploads: Uploads,
    assembler: Assembler,
    outputs: VecDeque<ClientOutput>,
}

impl ClientSession {
    /// A session whose socket is not open yet.
    #[must_use]
    pub fn new(config: ClientConfig) -> Self {
        let limits = Limits::default();
        Self {
            config,
            phase: Phase::Idle,
            limits,
            presence_refresh_ms: 10_000,
            channels: LiteMap::new(),
            doc_by_ch: LiteMap::new(),
            doc_by_feed: LiteMap::new(),
            next_ch: 0,
            next_ping: 0,
            uploads: Uploads::new(),
            assembler: Assembler::new(limits.block_bytes_max),
            outputs: VecDeque::new(),
        }
    }

    /// Takes in one fact. `now` never goes back.
    pub fn handle(&mut self, now: Instant, input: ClientInput) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        match input {
            ClientInput::Started { wall_ms } => self.start(now, wall_ms),
            ClientInput::Frame(frame) => self.receive(now, &frame),
            ClientInput::Open { doc, have, me, since } => self.open(doc, have, me, since),
            ClientInput::Close { doc } => self.close_doc(&doc),
            ClientInput::Changes { doc, blocks } => self.queue_changes(doc, blocks),
            ClientInput::Presence { doc, payload } => {
                if let Some(channel) = self.channels.get_mut(&doc) {
                    channel.presence.set(payload.map(Bytes::from));
                }
            }
            ClientInput::Tick => self.tick(now),
            ClientInput::Nudge => self.ping(now),
        }
        self.send_due(now);
    }

    /// The next effect. Call until `None`, at any time.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<ClientOutput> {
        self.outputs.pop_front()
    }

    /// When `handle(now, ClientInput::Tick)` is next due. Changes after any `handle`.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Idle | Phase::Closed => None,
            Phase::Greeting { deadline } => Some(*deadline),
            Phase::Ready { heartbeat } => self
                .channels
                .values()
                .filter(|channel| matches!(channel.phase, ChannelPhase::Open { .. }))
                .filter_map(|channel| channel.presence.due(self.presence_refresh_ms))
                .chain([heartbeat.next_deadline()])
                .min(),
        }
    }

    /// Bytes of blocks that wait here for the server's credit or for a document to open.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.uploads.queued_bytes()
    }

    fn start(&mut self, now: Instant, wall_ms: u64) {
        if !matches!(self.phase, Phase::Idle) {
            return;
        }
        self.phase = Phase::Greeting { deadline: now.plus_ms(WELCOME_MS_MAX) };
        self.send(&Message::Hello(Hello {
            version_min: VERSION,
            version_max: VERSION,
            features: 0,
            client_id: self.config.client_id,
            token: self.config.token.clone(),
            wall_ms,
        }));
    }

    fn send(&mut self, message: &Message) {
        self.outputs.push_back(ClientOutput::Send(encode_frame(message)));
    }

    fn event(&mut self, event: ClientEvent) {
        self.outputs.push_back(ClientOutput::Event(event));
    }

    fn fail(&mut self, code: CloseCode, detail: impl Into<String>) {
        let detail = detail.into();
        self.phase = Phase::Closed;
        self.channels.clear();
        self.uploads = Uploads::new();
        self.event(ClientEvent::Fatal { code, detail: detail.clone() });
        self.outputs.push_back(ClientOutput::CloseSocket { code: code.as_u16(), reason: detail });
    }

    fn tick(&mut self, now: Instant) {
        match &self.phase {
            Phase::Greeting { deadline } if now >= *deadline => {
                self.fail(CloseCode::TimedOut, "no welcome from the server");
            }
            Phase::Ready { heartbeat } => match heartbeat.check(now) {
                Beat::Dead => self.fail(CloseCode::TimedOut, "the server is silent"),
                Beat::Ping => self.ping(now),
                Beat::Nothing => {}
            },
            _ => {}
        }
    }

    fn ping(&mut self, now: Instant) {
        if let Phase::Ready { heartbeat } = &mut self.phase {
            heartbeat.pinged(now);
            let id = self.next_ping;
            self.next_ping += 1;
            self.send(&Message::Ping(Ping { id }));
        }
    }

    fn open(
        &mut self,
        doc: DocId,
        have: VersionVector,
        me: Option<PeerMark>,
        since: Option<LogMark>,
    ) {
        let presence = self.channels.get(&doc).map(|channel| channel.presence.again());
        self.close_doc(&doc);
        let channel = Channel {
            phase: ChannelPhase::Queued,
            have,
            me,
            since,
            sent: BlockWriter::default(),
            received: BlockReader::default(),
            presence: presence.unwrap_or_default(),
            peers: LiteMap::new(),
        };
        self.channels.insert(doc, channel);
    }

    fn close_doc(&mut self, doc: &DocId) {
        let Some(channel) = self.channels.remove(doc) else { return };
        self.uploads.forget(doc);
        match channel.phase {
            ChannelPhase::Queued => {}
            ChannelPhase::Opening { ch } => {
                self.doc_by_ch.remove(&ch);
                self.send(&Message::Close(Close { ch }));
            }
            ChannelPhase::Open { ch, feed } => {
                self.doc_by_ch.remove(&ch);
                self.doc_by_feed.remove(&feed);
                self.assembler.forget(ch);
                self.send(&Message::Close(Close { ch }));
            }
        }
    }

    fn queue_changes(&mut self, doc: DocId, blocks: Vec<Block>) {
        if !self.channels.contains_key(&doc) {
            return;
        }
        for block in blocks {
            if block.bytes().len() > self.limits.block_bytes_max as usize {
                self.reject_large(doc.clone(), &block);
            } else {
                self.uploads.push(&doc, block);
            }
        }
    }

    fn reject_large(&mut self, doc: DocId, block: &Block) {
        let (peer, seq) = (block.peer(), block.seq());
        let code = NackCode::TooLarge;
        self.event(ClientEvent::Rejected { doc, peer, seq, code, retry_after_ms: 0 });
    }

    /// Sends whatever may be sent now.
    fn send_due(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::Ready { .. }) {
            return;
        }
        for (doc, channel) in &mut self.channels {
            match channel.phase {
                ChannelPhase::Queued => {
                    let ch = self.next_ch;
                    self.next_ch += 1;
                    channel.phase = ChannelPhase::Opening { ch };
                    self.doc_by_ch.insert(ch, doc.clone());
                    let have = std::mem::take(&mut channel.have);
                    let Channel { me, since, .. } = *channel;
                    let open = Open { ch, doc: doc.clone(), have, me, since };
                    self.outputs.push_back(ClientOutput::Send(encode_frame(&Message::Open(open))));
                }
                ChannelPhase::Open { ch, .. } => {
                    if let Some(payload) = channel.presence.take_due(now, self.presence_refresh_ms)
                    {
                        let set = Message::PresenceSet(PresenceSet { ch, payload });
                        self.outputs.push_back(ClientOutput::Send(encode_frame(&set)));
                    }
                }
                ChannelPhase::Opening { .. } => {}
            }
        }
        self.send_uploads();
    }

    fn send_uploads(&mut self) {
        let window = self.limits.window_bytes as usize;
        let open_ch = |channel: &Channel| match channel.phase {
            ChannelPhase::Open { ch, .. } => Some(ch),
            _ => None,
        };
        let channels = &mut self.channels;
        while let Some(upload) =
            self.uploads.next(window, |doc| channels.get(doc).and_then(open_ch))
        {
            let message = match upload {
                Upload::Piece(piece) => Message::Piece(piece),
                Upload::Blocks(doc, blocks) => {
                    let channel = channels.get_mut(&doc).expect("only open documents are served");
                    let ch = open_ch(channel).expect("only open documents are served");
                    Message::Changes(Changes::write(&mut channel.sent, ch, &blocks))
                }
            };
            self.outputs.push_back(ClientOutput::Send(encode_frame(&message)));
        }
    }

    fn receive(&mut self, now: Instant, frame: &Bytes) {
        let messages = match decode_frame(frame) {
            Ok(messages) => messages,
            Err(error) => return self.fail(CloseCode::Malformed, error.to_string()),
        };
        if let Phase::Ready { heartbeat } = &mut self.phase {
            heartbeat.heard(now);
        }
        for message in messages {
            match (&self.phase, message) {
                (Phase::Greeting { .. }, Message::Welcome(welcome)) => self.welcome(now, welcome),
                (_, Message::GoAway(away)) => {
                    self.event(ClientEvent::GoAway { retry_after_ms: away.retry_after_ms });
                }
                (Phase::Ready { .. }, message) => self.dispatch(message),
                _ => return self.fail(CloseCode::Malformed, "message before welcome"),
            }
            if matches!(self.phase, Phase::Closed) {
                return;
            }
        }
    }

    fn welcome(&mut self, now: Instant, welcome: Welcome) {
        if welcome.version != VERSION {
            let detail = format!("the server speaks version {}", welcome.version);
            return self.fail(CloseCode::UnsupportedVersion, detail);
        }
        let interval_ms = u64::from(welcome.heartbeat_ms.clamp(1_000, 60_000));
        self.phase = Phase::Ready { heartbeat: Heartbeat::new(now, interval_ms) };
        self.presence_refresh_ms = u64::from(welcome.presence_ttl_ms.max(3_000)) / 3;
        self.limits = welcome.limits;
        self.event(ClientEvent::Welcome {
            server_id: welcome.server_id,
            epoch: welcome.epoch,
            server_ms: welcome.server_ms,
            principal: welcome.principal,
            session: welcome.session,
            block_bytes_max: welcome.limits.block_bytes_max,
        });
        for (doc, block) in self.uploads.take_above(welcome.limits.block_bytes_max as usize) {
            self.reject_large(doc, &block);
        }
    }

    /// Acts on one message of a connection that is ready. What concerns a channel that was closed
    /// meanwhile is dropped.
    fn dispatch(&mut self, message: Message) {
        match message {
            Message::Opened(opened) => self.opened(opened),
            Message::Changes(changes) => self.changes(&changes),
            Message::Piece(piece) => self.piece(&piece),
            Message::Pack(pack) => self.pack(pack),
            Message::PresenceState(state) => self.presence(state),
            Message::Credit(credit) => self.uploads.credit(credit.bytes as usize),
            Message::Ping(ping) => self.send(&Message::Pong(Pong { id: ping.id })),
            Message::Pong(_) => {}
            Message::CaughtUp(done) => {
                if let Some((doc, _)) = self.open_doc(done.ch) {
                    self.event(ClientEvent::CaughtUp { doc, at: done.at });
                }
            }
            Message::Ack(ack) => {
                if ack.level < AckLevel::Durable {
                    return;
                }
                if let Some(doc) = self.doc_by_ch.get(&ack.ch).cloned() {
                    self.event(ClientEvent::Acked { doc, through: ack.through });
                }
            }
            Message::Nack(nack) => {
                let Some(doc) = self.doc_by_ch.get(&nack.ch).cloned() else { return };
                self.event(ClientEvent::Rejected {
                    doc,
                    peer: nack.peer,
                    seq: nack.seq,
                    code: nack.code,
                    retry_after_ms: nack.retry_after_ms,
                });
            }
            Message::DocErr(error) => {
                if let Some(doc) = self.doc_by_ch.get(&error.ch).cloned() {
                    self.drop_doc(doc, error.code);
                }
            }
            _ => self.fail(CloseCode::Malformed, "a client's message from the server"),
        }
    }

    /// The channel is of no more use. If it was open, the server waits for its close.
    fn drop_doc(&mut self, doc: DocId, code: DocErrCode) {
        if let Some(Channel { phase: ChannelPhase::Opening { ch }, .. }) = self.channels.get(&doc) {
            self.doc_by_ch.remove(ch);
            self.channels.remove(&doc);
            self.uploads.forget(&doc);
        } else {
            self.close_doc(&doc);
        }
        self.event(ClientEvent::DocError { doc, code });
    }

    fn opened(&mut self, opened: Opened) {
        let Opened { ch, feed, permission, have, mark } = opened;
        let Some(doc) = self.doc_by_ch.get(&ch).cloned() else { return };
        let channel = self.channels.get_mut(&doc).expect("every channel number has its document");
        if !matches!(channel.phase, ChannelPhase::Opening { .. }) {
            return self.fail(CloseCode::Malformed, "a document was opened twice");
        }
        channel.phase = ChannelPhase::Open { ch, feed };
        self.doc_by_feed.insert(feed, doc.clone());
        let event = ClientEvent::Opened { doc, permission, server_version: have, my_mark: mark };
        self.event(event);
    }

    /// The document that is open as `ch`.
    fn open_doc(&mut self, ch: u32) -> Option<(DocId, &mut Channel)> {
        let doc = self.doc_by_ch.get(&ch)?;
        let channel = self.channels.get_mut(doc)?;
        let is_open = matches!(channel.phase, ChannelPhase::Open { .. });
        is_open.then(|| (doc.clone(), channel))
    }

    fn changes(&mut self, changes: &Changes) {
        let Some((doc, channel)) = self.open_doc(changes.ch) else { return };
        let blocks = changes.read(&mut channel.received);
        self.blocks(doc, blocks);
    }

    fn piece(&mut self, piece: &Piece) {
        let Some((doc, _)) = self.open_doc(piece.ch) else { return };
        match self.assembler.take(piece) {
            Ok(None) => {}
            Ok(Some(block)) => self.blocks(doc, Ok(vec![block])),
            Err(PieceError::Block(error)) => self.blocks(doc, Err(error)),
            Err(error) => self.fail(CloseCode::Malformed, error.to_string()),
        }
    }

    fn pack(&mut self, Pack { ch, update }: Pack) {
        let Some((open, _)) = self.open_doc(ch) else { return };
        match self.outputs.back_mut() {
            Some(ClientOutput::Event(ClientEvent::Packs { doc, updates })) if *doc == open => {
                updates.push(update);
            }
            _ => self.event(ClientEvent::Packs { doc: open, updates: vec![update] }),
        }
    }

    fn blocks(&mut self, doc: DocId, blocks: Result<Vec<Block>, DecodeError>) {
        match blocks {
            Ok(blocks) => self.event(ClientEvent::Blocks { doc, blocks }),
            Err(DecodeError::UnsupportedVersion(_)) => {
                // Reading on would leave a gap, so the document stays closed until an update.
                self.close_doc(&doc);
                self.event(ClientEvent::DocError { doc, code: DocErrCode::Unsupported });
            }
            Err(error) => self.fail(CloseCode::Malformed, format!("block from server: {error}")),
        }
    }

    fn presence(&mut self, state: PresenceState) {
        let Some(doc) = self.doc_by_feed.get(&state.feed).cloned() else { return };
        let channel = self.channels.get_mut(&doc).expect("every feed number has its document");
        presence::merge(&mut channel.peers, state);
        let peers = channel.peers.values().cloned().collect();
        self.event(ClientEvent::Presence { doc, peers });
    }
}
