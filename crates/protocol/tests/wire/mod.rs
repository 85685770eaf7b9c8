//! A client session and a server session joined without a network, on a clock that stands still.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::VecDeque;
use std::fmt::Write as _;

use bytes::Bytes;
use leptos_sync_crdt::{Block, BlockWriter, Doc, DocId, PeerId, VersionVector};
use leptos_sync_protocol::{
    Admission, ClientConfig, ClientEvent, ClientInput, ClientOutput, ClientSession, DocErrCode,
    Instant, Limits, LogMark, Message, NackCode, PeerMark, Permission, Rejection, ServerEvent,
    ServerInput, ServerOutput, ServerSession, changes_frames, decode_frame,
};

/// A document id.
pub(crate) fn doc(name: &str) -> DocId {
    DocId::new(name).expect("test ids are valid")
}

/// One block per text, each appended to a root text by `peer`; and the mark of that chain.
pub(crate) fn author(peer: u64, texts: &[&str]) -> (Vec<Block>, PeerMark) {
    let mut author = Doc::new(PeerId(peer));
    let mut hash = 0;
    let mut blocks = Vec::new();
    for text in texts {
        let len = author.text("t").len();
        let (done, commit) = author.transact(1_000, |tx| tx.text("t").insert(len, text));
        done.expect("the end is a valid position");
        let block = author.block(&commit.expect("something was written"));
        hash = block.chain_hash(hash);
        blocks.push(block);
    }
    let seq = blocks.last().map_or(0, Block::end);
    (blocks, PeerMark { peer: PeerId(peer), seq, hash })
}

struct Batch {
    ch: u32,
    blocks: Vec<Block>,
}

/// The two sessions, a store for the server, and what the client was told.
pub(crate) struct Wire {
    /// What the client may do with documents it opens.
    pub(crate) permission: Permission,
    /// Refuse every block so.
    pub(crate) reject_with: Option<(NackCode, u32)>,
    client: ClientSession,
    server: ServerSession,
    now: Instant,
    stored: Vec<(DocId, Block)>,
    docs: Vec<(u32, DocId)>,
    hold: bool,
    held: VecDeque<Batch>,
    events: Vec<ClientEvent>,
    closings: Vec<String>,
    frame_bytes_max: usize,
    /// Frames no longer cross, and neither side is told.
    is_cut: bool,
    changes_bytes: Vec<usize>,
    sent: BlockWriter,
    /// When which message crossed, and what ended.
    timeline: Vec<String>,
}

impl Wire {
    /// Both ends of a socket that has just opened.
    pub(crate) fn new() -> Self {
        let now = Instant::from_ms(0);
        Self {
            permission: Permission::Write,
            reject_with: None,
            client: ClientSession::new(ClientConfig::new(1)),
            server: ServerSession::new(now, Limits::default(), 20_000),
            now,
            stored: Vec::new(),
            docs: Vec::new(),
            hold: false,
            held: VecDeque::new(),
            events: Vec::new(),
            closings: Vec::new(),
            frame_bytes_max: 0,
            is_cut: false,
            changes_bytes: Vec::new(),
            sent: BlockWriter::default(),
            timeline: Vec::new(),
        }
    }

    /// The store of every document begins with these.
    pub(crate) fn store(&mut self, blocks: &[Block]) {
        self.stored.extend(blocks.iter().map(|block| (doc("d"), block.clone())));
    }

    /// Gives the client an input and lets everything settle.
    pub(crate) fn client(&mut self, input: ClientInput) {
        self.client.handle(self.now, input);
        self.run();
    }

    /// Nothing crosses from now on.
    pub(crate) fn cut(&mut self) {
        self.is_cut = true;
    }

    /// Moves the clock without waking the client.
    pub(crate) fn jump(&mut self, ms: u64) {
        self.now = Instant::from_ms(ms);
    }

    /// Moves the clock to `until_ms`, waking the client whenever it asked for it. Returns what
    /// crossed meanwhile, and when.
    pub(crate) fn run_clock(&mut self, until_ms: u64) -> String {
        let until = Instant::from_ms(until_ms);
        self.client(ClientInput::Tick);
        let mut wakes = 0;
        while let Some(deadline) = self.client.next_deadline().filter(|&at| at <= until) {
            self.now = self.now.max(deadline);
            self.client(ClientInput::Tick);
            wakes += 1;
            assert!(wakes < 1_000, "it wants to be woken again and again");
        }
        self.now = until;
        std::mem::take(&mut self.timeline).join("\n")
    }

    fn note(&mut self, frame: &Bytes) {
        for message in decode_frame(frame).expect("sessions send valid frames") {
            let text = match message {
                Message::Ping(_) => "Ping".to_owned(),
                Message::Pong(_) => "Pong".to_owned(),
                Message::PresenceSet(set) => {
                    let payload = set.payload.unwrap_or_default();
                    format!("PresenceSet {}", String::from_utf8_lossy(&payload))
                }
                Message::Changes(_) => {
                    self.changes_bytes.push(frame.len());
                    continue;
                }
                _ => continue,
            };
            self.timeline.push(format!("{} {text}", self.now.as_ms()));
        }
    }

    /// Stops deciding the fate of changes.
    pub(crate) fn hold_settling(&mut self) {
        self.hold = true;
    }

    /// Decides the fate of all changes again.
    pub(crate) fn settle(&mut self) {
        self.hold = false;
        while let Some(batch) = self.held.pop_front() {
            self.settle_batch(batch);
            self.run();
        }
    }

    /// Bytes that the server has been given and has not settled.
    pub(crate) fn unsettled_bytes(&self) -> usize {
        let sizes = self.held.iter().flat_map(|batch| &batch.blocks).map(|b| b.bytes().len());
        sizes.sum()
    }

    /// Bytes that the client keeps back.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.client.queued_bytes()
    }

    /// Every stored block, in order.
    pub(crate) fn stored(&self) -> Vec<Block> {
        self.stored.iter().map(|(_, block)| block.clone()).collect()
    }

    /// The document of every stored block, in order.
    pub(crate) fn stored_docs(&self) -> Vec<DocId> {
        self.stored.iter().map(|(doc, _)| doc.clone()).collect()
    }

    /// The largest frame that crossed.
    pub(crate) fn frame_bytes_max(&self) -> usize {
        self.frame_bytes_max
    }

    /// What the client was told.
    pub(crate) fn events(&self) -> &[ClientEvent] {
        &self.events
    }

    /// The server gives up the document that is open as `ch`. The client sends `blocks` meanwhile.
    pub(crate) fn fail_doc(&mut self, ch: u32, blocks: Vec<Block>) {
        let detail = String::new();
        let code = DocErrCode::Unavailable;
        self.server.handle(self.now, ServerInput::DocError { ch, code, detail });
        self.client(ClientInput::Changes { doc: doc("d"), blocks });
    }

    /// The sizes of the frames with changes that crossed, up and down.
    pub(crate) fn changes_bytes(&self) -> &[usize] {
        &self.changes_bytes
    }

    /// Somebody else's block is stored, and goes to the client that has the document open as `ch`.
    pub(crate) fn publish(&mut self, ch: u32, block: &Block) {
        let mut sent = std::mem::take(&mut self.sent);
        for frame in changes_frames(&mut sent, ch, std::slice::from_ref(block)) {
            self.carry_down(frame);
        }
        self.sent = sent;
        self.run();
    }

    /// The server says farewell.
    pub(crate) fn go_away(&mut self, retry_after_ms: u32) {
        let detail = "restarting".to_owned();
        self.server.handle(self.now, ServerInput::GoAway { retry_after_ms, detail });
        self.run();
    }

    /// What the client was told, a line each.
    pub(crate) fn log(&self) -> String {
        let mut lines: Vec<String> = self.events.iter().map(describe).collect();
        lines.extend(self.closings.iter().cloned());
        lines.join("\n")
    }

    fn run(&mut self) {
        loop {
            if let Some(output) = self.client.poll_output() {
                match output {
                    ClientOutput::Send(frame) => self.carry_up(frame),
                    ClientOutput::Event(event) => self.events.push(event),
                    ClientOutput::CloseSocket { code, reason } => {
                        self.closings.push(format!("closed by client {code} {reason}"));
                        self.timeline.push(format!("{} closed by client {code}", self.now.as_ms()));
                    }
                }
            } else if let Some(output) = self.server.poll_output() {
                match output {
                    ServerOutput::Send(frame) => self.carry_down(frame),
                    ServerOutput::Event(event) => self.serve(event),
                    ServerOutput::CloseSocket { code, reason } => {
                        let code = code.as_u16();
                        self.closings.push(format!("closed by server {code} {reason}"));
                    }
                }
            } else {
                return;
            }
        }
    }

    fn carry_up(&mut self, frame: Bytes) {
        self.frame_bytes_max = self.frame_bytes_max.max(frame.len());
        self.note(&frame);
        if self.is_cut {
            return;
        }
        self.server.handle(self.now, ServerInput::Frame(frame));
    }

    fn carry_down(&mut self, frame: Bytes) {
        self.frame_bytes_max = self.frame_bytes_max.max(frame.len());
        self.note(&frame);
        self.client.handle(self.now, ClientInput::Frame(frame));
    }

    fn serve(&mut self, event: ServerEvent) {
        match event {
            ServerEvent::Hello { .. } => {
                let admission = Admission {
                    server_id: 8,
                    epoch: 9,
                    session: 10,
                    server_ms: 11,
                    principal: None,
                    auth_expires_ms: None,
                    presence_ttl_ms: 30_000,
                };
                self.server.handle(self.now, ServerInput::Admit(admission));
            }
            ServerEvent::Open { ch, doc, have, .. } => self.open(ch, doc, &have),
            ServerEvent::Changes { ch, blocks } => {
                let batch = Batch { ch, blocks };
                if self.hold || !self.held.is_empty() {
                    self.held.push_back(batch);
                } else {
                    self.settle_batch(batch);
                }
            }
            _ => {}
        }
    }

    fn open(&mut self, ch: u32, doc: DocId, have: &VersionVector) {
        let stored = self.stored.iter().filter(|(of, _)| *of == doc).map(|(_, block)| block);
        let version: VersionVector =
            stored.clone().map(|block| (block.peer(), block.end())).collect();
        let at = LogMark { position: stored.clone().count() as u64, digest: version.digest() };
        let lacking: Vec<Block> =
            stored.filter(|block| block.end() > have.get(block.peer())).cloned().collect();
        self.docs.push((ch, doc));
        let feed = 100 + ch;
        let permission = self.permission;
        let opened = ServerInput::Opened { ch, feed, permission, version, mark: None };
        self.server.handle(self.now, opened);
        // What the session queued goes out before the frames that pass it by.
        let mut later = Vec::new();
        while let Some(output) = self.server.poll_output() {
            match output {
                ServerOutput::Send(frame) => self.carry_down(frame),
                ServerOutput::Event(event) => later.push(event),
                ServerOutput::CloseSocket { .. } => {}
            }
        }
        let mut sent = BlockWriter::default();
        for frame in changes_frames(&mut sent, ch, &lacking) {
            self.carry_down(frame);
        }
        self.sent = sent;
        self.server.handle(self.now, ServerInput::CaughtUp { ch, at });
        for event in later {
            self.serve(event);
        }
    }

    fn settle_batch(&mut self, Batch { ch, blocks }: Batch) {
        let bytes = blocks.iter().map(|block| block.bytes().len()).sum();
        let count = blocks.len();
        let (mut durable, mut rejected) = (VersionVector::new(), Vec::new());
        let doc = self.docs.iter().find(|(of, _)| *of == ch).map(|(_, doc)| doc.clone());
        for block in blocks {
            let (peer, seq) = (block.peer(), block.seq());
            match self.reject_with {
                Some((code, retry_after_ms)) => {
                    rejected.push(Rejection { peer, seq, code, retry_after_ms });
                }
                None => {
                    durable.extend(peer, block.end());
                    self.stored.push((doc.clone().expect("changes come after open"), block));
                }
            }
        }
        let settled = ServerInput::Settled { ch, durable, rejected, blocks: count, bytes };
        self.server.handle(self.now, settled);
    }
}

fn describe(event: &ClientEvent) -> String {
    match event {
        ClientEvent::Welcome { epoch, .. } => format!("Welcome epoch {epoch}"),
        ClientEvent::Opened { doc, permission, server_version, my_mark } => {
            let version = version(server_version);
            format!("Opened {doc} {permission:?} {version} mark {my_mark:?}")
        }
        ClientEvent::Blocks { doc, blocks } => {
            let mut line = format!("Blocks {doc}");
            for block in blocks {
                let _ = write!(line, " {}.{}..{}", block.peer().0, block.seq(), block.end());
            }
            line
        }
        ClientEvent::CaughtUp { doc, at } => format!("CaughtUp {doc} at {}", at.position),
        ClientEvent::Acked { doc, through } => format!("Acked {doc} {}", version(through)),
        ClientEvent::Rejected { doc, peer, seq, code, retry_after_ms } => {
            let retry = match retry_after_ms {
                0 => String::new(),
                ms => format!(" retry {ms}"),
            };
            format!("Rejected {doc} {}.{seq} {code:?}{retry}", peer.0)
        }
        ClientEvent::GoAway { retry_after_ms } => format!("GoAway retry {retry_after_ms}"),
        other => format!("{other:?}"),
    }
}

fn version(version: &VersionVector) -> String {
    let counts: Vec<String> =
        version.iter().map(|(peer, count)| format!("{}: {count}", peer.0)).collect();
    format!("{{{}}}", counts.join(", "))
}
