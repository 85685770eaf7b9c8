//! A server that keeps documents in memory and speaks the real protocol over the in-memory network.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use bytes::Bytes;
use leptos_sync_crdt::{Block, BlockWriter, Doc, DocId, ImportError, PeerId, VersionVector};
use leptos_sync_protocol::{
    Admission, DocErrCode, Instant, Limits, LogMark, Message, NackCode, PeerMark, Permission,
    PresenceEntry, PresenceState, Rejection, ServerEvent, ServerInput, ServerOutput, ServerSession,
    changes_frames, encode_frame,
};
use leptos_sync_transport::{
    FrameReceiver, FrameSender, MemoryAcceptor, MemorySender, MemoryTransport, pair,
};
use tokio::task::spawn_local;

/// The server and the network in front of it.
#[derive(Clone)]
pub(crate) struct TestServer {
    transport: MemoryTransport,
    network: Rc<RefCell<Network>>,
    state: Rc<RefCell<State>>,
}

type Network = Box<dyn FnMut(NetworkChange)>;

enum NetworkChange {
    Reachable(bool),
    Muted(bool),
}

struct State {
    start: tokio::time::Instant,
    epoch: u64,
    docs: BTreeMap<DocId, Doc>,
    connections: BTreeMap<u64, Connection>,
    next_session: u64,
    /// Changes are stored, and their acknowledgements lost with the connection.
    cuts_before_ack: bool,
    refuses: Option<NackCode>,
}

struct Connection {
    session: ServerSession,
    sender: MemorySender,
    docs: BTreeMap<u32, (DocId, BlockWriter)>,
    presence: BTreeMap<DocId, Bytes>,
}

impl TestServer {
    pub(crate) fn start() -> Self {
        let (transport, mut acceptor) = pair();
        let (changes, mut changed) = futures::channel::mpsc::unbounded::<NetworkChange>();
        let state = Rc::new(RefCell::new(State {
            start: tokio::time::Instant::now(),
            epoch: 1,
            docs: BTreeMap::new(),
            connections: BTreeMap::new(),
            next_session: 0,
            cuts_before_ack: false,
            refuses: None,
        }));
        let serving = state.clone();
        spawn_local(async move {
            loop {
                futures::select! {
                    change = futures::StreamExt::next(&mut changed) => match change {
                        Some(change) => apply(&acceptor, &change),
                        None => return,
                    },
                    connection = Box::pin(futures::FutureExt::fuse(acceptor.accept())) => {
                        let Some((sender, receiver)) = connection else { return };
                        let id = serving.borrow_mut().connect(sender);
                        spawn_local(serve(serving.clone(), id, receiver));
                    }
                }
            }
        });
        let network: Network = Box::new(move |change| {
            changes.unbounded_send(change).expect("the server runs as long as the test");
        });
        Self { transport, network: Rc::new(RefCell::new(network)), state }
    }

    pub(crate) fn transport(&self) -> MemoryTransport {
        self.transport.clone()
    }

    /// Unplugs the server, or plugs it in again.
    pub(crate) async fn set_reachable(&self, reachable: bool) {
        (self.network.borrow_mut())(NetworkChange::Reachable(reachable));
        super::pass(1).await;
    }

    /// Frames vanish, and nobody is told.
    pub(crate) async fn set_muted(&self, muted: bool) {
        (self.network.borrow_mut())(NetworkChange::Muted(muted));
        super::pass(1).await;
    }

    /// Stores changes from now on without being able to say so.
    pub(crate) fn cut_before_ack(&self, cut: bool) {
        self.state.borrow_mut().cuts_before_ack = cut;
    }

    /// Refuses all changes from now on.
    pub(crate) fn refuse(&self, code: Option<NackCode>) {
        self.state.borrow_mut().refuses = code;
    }

    /// Comes back from a backup that was taken when it was empty.
    pub(crate) fn restore_empty(&self) {
        let mut state = self.state.borrow_mut();
        state.epoch += 1;
        state.docs.clear();
    }

    /// Loses all documents, and does not know that it did.
    pub(crate) fn forget(&self) {
        self.state.borrow_mut().docs.clear();
    }

    pub(crate) fn text(&self, doc: &DocId) -> String {
        let state = self.state.borrow();
        state.docs.get(doc).map(|doc| doc.text("note").to_string()).unwrap_or_default()
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.borrow().connections.len()
    }
}

fn apply(network: &MemoryAcceptor, change: &NetworkChange) {
    match change {
        NetworkChange::Reachable(reachable) => network.set_reachable(*reachable),
        NetworkChange::Muted(muted) => network.set_muted(*muted),
    }
}

async fn serve(state: Rc<RefCell<State>>, id: u64, mut receiver: impl FrameReceiver) {
    while let Ok(frame) = receiver.recv().await {
        state.borrow_mut().receive(id, frame);
    }
    state.borrow_mut().disconnect(id);
}

impl State {
    fn connect(&mut self, sender: MemorySender) -> u64 {
        self.next_session += 1;
        let session = ServerSession::new(Instant::from_ms(0), Limits::default(), 20_000);
        let connection =
            Connection { session, sender, docs: BTreeMap::new(), presence: BTreeMap::new() };
        self.connections.insert(self.next_session, connection);
        self.next_session
    }

    fn disconnect(&mut self, id: u64) {
        let Some(connection) = self.connections.remove(&id) else { return };
        for doc in connection.presence.into_keys() {
            self.show(id, &doc, None);
        }
    }

    fn receive(&mut self, id: u64, frame: Bytes) {
        let mut inputs = VecDeque::from([ServerInput::Frame(frame)]);
        while let Some(input) = inputs.pop_front() {
            let Some(connection) = self.connections.get_mut(&id) else { return };
            connection.session.handle(Instant::from_ms(0), input);
            while let Some(output) =
                self.connections.get_mut(&id).and_then(|found| found.session.poll_output())
            {
                match output {
                    ServerOutput::Send(frame) => self.send(id, frame),
                    ServerOutput::CloseSocket { code, reason } => {
                        self.connections[&id].sender.close(code.as_u16(), &reason);
                    }
                    ServerOutput::Event(event) => inputs.extend(self.event(id, event)),
                }
            }
        }
    }

    fn send(&self, id: u64, frame: Bytes) {
        if let Some(connection) = self.connections.get(&id) {
            // A connection that is gone is noticed by its receiver.
            let _ = connection.sender.send(frame);
        }
    }

    fn event(&mut self, id: u64, event: ServerEvent) -> Vec<ServerInput> {
        match event {
            ServerEvent::Hello { .. } => vec![ServerInput::Admit(Admission {
                server_id: 9,
                epoch: self.epoch,
                session: id,
                server_ms: super::wall_ms(self.start),
                principal: None,
                auth_expires_ms: None,
                presence_ttl_ms: 30_000,
            })],
            // It keeps no log, and so knows none of the marks it gave.
            ServerEvent::Open { ch, since: Some(_), .. } => {
                let (code, detail) = (DocErrCode::UnknownMark, String::new());
                vec![ServerInput::DocError { ch, code, detail }]
            }
            ServerEvent::Open { ch, doc, have, me, since: None } => {
                self.open(id, ch, doc, &have, me)
            }
            ServerEvent::Close { ch } => {
                self.connections.get_mut(&id).and_then(|found| found.docs.remove(&ch));
                Vec::new()
            }
            ServerEvent::Changes { ch, blocks } => self.store(id, ch, blocks),
            ServerEvent::Presence { ch, payload } => {
                let Some((doc, _)) = self.connections[&id].docs.get(&ch).cloned() else {
                    return Vec::new();
                };
                let presence =
                    &mut self.connections.get_mut(&id).expect("it is the sender").presence;
                match &payload {
                    Some(payload) => presence.insert(doc.clone(), payload.clone()),
                    None => presence.remove(&doc),
                };
                self.show(id, &doc, payload);
                Vec::new()
            }
            other => panic!("unexpected {other:?}"),
        }
    }

    fn feed(&self, doc: &DocId) -> u32 {
        let place = self.docs.keys().position(|known| known == doc).expect("the document is open");
        u32::try_from(place).expect("few documents")
    }

    fn open(
        &mut self,
        id: u64,
        ch: u32,
        doc: DocId,
        have: &VersionVector,
        me: Option<PeerMark>,
    ) -> Vec<ServerInput> {
        self.docs.entry(doc.clone()).or_insert_with(|| Doc::new(PeerId(0)));
        let feed = self.feed(&doc);
        let content = &self.docs[&doc];
        let at = LogMark { position: 0, digest: content.version().digest() };
        let (version, missing) = (content.version().clone(), content.blocks_since(have));
        let mark = me.and_then(|me| {
            let mark = content.chain_mark(me.peer)?;
            Some(PeerMark { peer: me.peer, seq: mark.seq, hash: mark.hash })
        });
        let connection = self.connections.get_mut(&id).expect("it is the sender");
        let mut sent = BlockWriter::default();
        let permission = Permission::Write;
        connection.session.handle(
            Instant::from_ms(0),
            ServerInput::Opened { ch, feed, permission, version, mark },
        );
        while let Some(ServerOutput::Send(frame)) = connection.session.poll_output() {
            let _ = connection.sender.send(frame);
        }
        for frame in changes_frames(&mut sent, ch, &missing) {
            let _ = connection.sender.send(frame);
        }
        connection.docs.insert(ch, (doc.clone(), sent));
        let entries = self.connections.iter().filter(|(session, _)| **session != id);
        let entries = entries.filter_map(|(session, connection)| {
            let payload = Some(connection.presence.get(&doc)?.clone());
            Some(PresenceEntry { session: *session, principal: None, payload })
        });
        let state = PresenceState { feed, full: true, entries: entries.collect() };
        self.send(id, encode_frame(&Message::PresenceState(state)));
        vec![ServerInput::CaughtUp { ch, at }]
    }

    fn store(&mut self, id: u64, ch: u32, blocks: Vec<Block>) -> Vec<ServerInput> {
        let (doc, _) = self.connections[&id].docs[&ch].clone();
        let bytes = blocks.iter().map(|block| block.bytes().len()).sum();
        let count = blocks.len();
        let content = self.docs.get_mut(&doc).expect("the channel is open");
        let (mut durable, mut rejected) = (VersionVector::new(), Vec::new());
        let mut new = Vec::new();
        for block in blocks {
            let (peer, seq) = (block.peer(), block.seq());
            let refusal = match self.refuses {
                Some(code) => Some(code),
                None => match content.import(u64::MAX, [block]) {
                    Ok(import) if import.pending == 0 => {
                        new.extend(import.applied);
                        None
                    }
                    Ok(_) => Some(NackCode::MissingDeps),
                    Err(ImportError::DuplicatePeer { .. }) => Some(NackCode::DuplicatePeer),
                    Err(_) => Some(NackCode::Invalid),
                },
            };
            match refusal {
                Some(code) => {
                    rejected.push(Rejection { peer, seq, code, retry_after_ms: 1_000 });
                }
                None => durable.extend(peer, content.version().get(peer)),
            }
        }
        for connection in self.connections.iter_mut().filter(|(other, _)| **other != id) {
            let Connection { docs, sender, .. } = connection.1;
            for (ch, (_, sent)) in docs.iter_mut().filter(|(_, (open, _))| *open == doc) {
                for frame in changes_frames(sent, *ch, &new) {
                    // A connection that is gone is noticed by its receiver.
                    let _ = sender.send(frame);
                }
            }
        }
        if self.cuts_before_ack {
            self.connections[&id].sender.close(1011, "the cable broke");
            return Vec::new();
        }
        vec![ServerInput::Settled { ch, durable, rejected, blocks: count, bytes }]
    }

    fn show(&self, session: u64, doc: &DocId, payload: Option<Bytes>) {
        let feed = self.feed(doc);
        let entries = vec![PresenceEntry { session, principal: None, payload }];
        let state = PresenceState { feed, full: false, entries };
        let frame = encode_frame(&Message::PresenceState(state));
        for (other, connection) in &self.connections {
            if *other != session && connection.docs.values().any(|(open, _)| open == doc) {
                self.send(*other, frame.clone());
            }
        }
    }
}
