//! The connection: when to dial, what the server's messages mean for documents, what to send.

use bytes::Bytes;
use leptos_sync_crdt::{Block, DocId, PeerId, VersionVector};
use leptos_sync_protocol::{
    ClientConfig, ClientEvent, ClientInput, ClientOutput, ClientSession, CloseCode, DocErrCode,
    Instant, LogMark, NackCode, PeerMark,
};
use leptos_sync_storage::planted;
use leptos_sync_transport::{Backoff, Closed, ConnectError};

use super::doc::{Load, Phase, Rejection};
use super::records::ServerLife;
use super::{Core, Now, Output};
use crate::event::DocEvent;
use crate::status::{Reason, SyncState};

/// An attempt that takes longer is given up.
const DIAL_MS_MAX: u64 = 15_000;
/// After a failure, a further attempt is shown only when it lasts: no flicker while a server is
/// down and answers so at once.
const DIAL_SHOWN_AFTER_MS: u64 = 1_000;
const REFUSED_RETRY_MS: u64 = 5_000;
const SKEW_RETRY_MS: u64 = 60_000;

/// The connection and the policy around it.
pub(super) struct Link {
    has_server: bool,
    online: bool,
    /// The engine was shut down: nothing is dialed any more, while storage work goes on.
    ended: bool,
    state: State,
    /// Names the present attempt or connection; facts about earlier ones are ignored.
    generation: u64,
    backoff: Backoff,
    reason: Option<Reason>,
    /// The server said when to come back.
    retry_after_ms: Option<u64>,
    /// What only a person can help with; the socket is about to be closed for it.
    fatal: Option<Reason>,
    draining: bool,
    /// The server's life that closed documents were compared with.
    last_life: Option<ServerLife>,
}

enum State {
    /// Not connected and not about to: no server, no network, or a person has to act.
    Idle,
    Waiting {
        retry_at: u64,
    },
    Dialing {
        since: u64,
        shown: bool,
    },
    Up {
        session: Box<ClientSession>,
        /// Known once the server has welcomed us.
        life: Option<ServerLife>,
    },
}

impl Link {
    pub(super) fn new(has_server: bool) -> Self {
        Self {
            has_server,
            online: true,
            ended: false,
            state: State::Idle,
            generation: 0,
            backoff: Backoff::new(),
            reason: (!has_server).then_some(Reason::NoServer),
            retry_after_ms: None,
            fatal: None,
            draining: false,
            last_life: None,
        }
    }

    pub(super) fn has_server(&self) -> bool {
        self.has_server
    }

    /// Where the connection stands, and why; [`SyncState::Saved`] if nothing is wrong with it.
    pub(super) fn shown(&self) -> (SyncState, Option<Reason>) {
        match &self.state {
            State::Up { life: Some(_), .. } => (SyncState::Saved, None),
            State::Dialing { shown: true, .. } => (SyncState::Connecting, None),
            State::Up { .. } if self.reason.is_none() => (SyncState::Connecting, None),
            _ => (SyncState::Offline, self.reason),
        }
    }

    fn session(&mut self) -> Option<&mut ClientSession> {
        match &mut self.state {
            State::Up { session, .. } => Some(session),
            _ => None,
        }
    }

    pub(super) fn life(&self) -> Option<ServerLife> {
        match &self.state {
            State::Up { life, .. } => *life,
            _ => None,
        }
    }
}

impl Core {
    /// Dials, unless there is a connection, an attempt, no server or no network.
    pub(crate) fn dial(&mut self, now: Now) {
        let link = &mut self.link;
        let resting = matches!(link.state, State::Idle | State::Waiting { .. });
        if !link.has_server || !link.online || link.ended || !resting {
            return;
        }
        link.generation += 1;
        link.state = State::Dialing { since: now.ms, shown: link.reason.is_none() };
        self.outputs.push_back(Output::Dial { generation: link.generation });
    }

    /// The attempt succeeded; `false` if it is not wanted any more.
    pub(crate) fn connected(&mut self, now: Now, generation: u64) -> bool {
        if generation != self.link.generation || !matches!(self.link.state, State::Dialing { .. }) {
            return false;
        }
        let mut config = ClientConfig::new(self.client_id);
        config.token.clone_from(&self.config.token);
        let session = Box::new(ClientSession::new(config));
        self.link.state = State::Up { session, life: None };
        self.session_input(now, ClientInput::Started { wall_ms: now.wall_ms });
        true
    }

    /// The attempt failed.
    pub(crate) fn connect_failed(&mut self, now: Now, generation: u64, error: &ConnectError) {
        if generation == self.link.generation {
            tracing::debug!(%error, "server not reached");
            self.lose(now, Reason::ServerUnreachable);
        }
    }

    /// A frame arrived; `false` if its connection is not the present one.
    pub(crate) fn frame(&mut self, now: Now, generation: u64, frame: Bytes) -> bool {
        if generation == self.link.generation {
            self.session_input(now, ClientInput::Frame(frame));
        }
        generation == self.link.generation
    }

    /// The connection ended.
    pub(crate) fn disconnected(&mut self, now: Now, generation: u64, closed: &Closed) {
        if generation != self.link.generation {
            return;
        }
        tracing::debug!(%closed, "connection lost");
        self.link.fatal = needs_person(CloseCode::from_u16(closed.code));
        self.lose(now, self.link.reason.unwrap_or(Reason::ServerUnreachable));
    }

    /// Back to no connection, with another attempt later.
    fn lose(&mut self, now: Now, reason: Reason) {
        let random = self.random();
        let link = &mut self.link;
        link.generation += 1;
        link.reason = Some(reason);
        link.backoff.disconnected(now.ms);
        let delay = link.retry_after_ms.take().unwrap_or(0) + link.backoff.next_delay_ms(random);
        link.state = State::Waiting { retry_at: now.ms + delay };
        if let Some(fatal) = link.fatal.take() {
            link.reason = Some(fatal);
            link.state = State::Idle;
        }
        for (id, doc) in &mut self.docs {
            doc.remote.phase = Phase::Closed;
            doc.remote.rejected.clear();
            if !std::mem::take(&mut doc.presence.from_server).is_empty() {
                self.outputs.push_back(Output::Event(id.clone(), DocEvent::Presence));
            }
        }
    }

    /// Ends the present connection or attempt from this side.
    fn hang_up(&mut self, now: Now, reason: Reason) {
        if matches!(self.link.state, State::Up { .. } | State::Dialing { .. }) {
            let text = String::from("going away");
            self.outputs.push_back(Output::Hangup { code: 1000, reason: text });
        }
        self.lose(now, reason);
    }

    /// The browser says whether there is a network.
    pub(crate) fn set_online(&mut self, now: Now, online: bool) {
        if !self.link.has_server || self.link.online == online {
            return;
        }
        self.link.online = online;
        if online {
            self.link.reason = None;
            self.link.backoff.reset();
            self.dial(now);
        } else {
            self.hang_up(now, Reason::NoNetwork);
            self.link.state = State::Idle;
        }
    }

    /// The page is being left: others see at once that its user is gone. Should it come back, it
    /// is nudged. A page with a connection is not kept in memory by every browser.
    pub(crate) fn leave(&mut self, now: Now) {
        self.leave_presence(now);
        if self.link.has_server && self.link.online {
            self.hang_up(now, Reason::NoServer);
            self.link.state = State::Idle;
            self.link.reason = None;
        }
    }

    /// Closes the connection for good.
    pub(crate) fn shut_down(&mut self, now: Now) {
        self.leave(now);
        self.link.state = State::Idle;
        self.link.reason = Some(Reason::NoServer);
        self.link.ended = true;
    }

    /// Hands a fact to the session, then does what it says.
    pub(super) fn session_input(&mut self, now: Now, input: ClientInput) {
        let Some(session) = self.link.session() else { return };
        session.handle(Instant::from_ms(now.ms), input);
        // An event's handler may come back here; the outermost call goes on with the queue.
        if self.link.draining {
            return;
        }
        self.link.draining = true;
        while let Some(output) = self.link.session().and_then(ClientSession::poll_output) {
            match output {
                ClientOutput::Send(frame) => self.outputs.push_back(Output::Send(frame)),
                ClientOutput::Event(event) => self.session_event(now, event),
                ClientOutput::CloseSocket { code, reason } => {
                    tracing::debug!(code, reason, "closing the connection");
                    self.outputs.push_back(Output::Hangup { code, reason });
                    let reason = self.link.reason.unwrap_or(Reason::ServerUnreachable);
                    self.lose(now, reason);
                }
            }
        }
        self.link.draining = false;
    }

    fn session_event(&mut self, now: Now, event: ClientEvent) {
        match event {
            ClientEvent::Welcome { server_id, epoch, server_ms, .. } => {
                let epoch = if planted!(IgnoresAnEpochChange) { 0 } else { epoch };
                self.welcomed(now, ServerLife { server: server_id, epoch }, server_ms);
            }
            ClientEvent::Opened { doc, server_version, my_mark, .. } => {
                self.opened(now, &doc, server_version, my_mark);
            }
            ClientEvent::Blocks { doc, blocks } => self.received(now, &doc, blocks),
            ClientEvent::Packs { doc, updates } => self.received_packs(now, &doc, &updates),
            ClientEvent::CaughtUp { doc, at } => self.caught_up(now, &doc, at),
            ClientEvent::Acked { doc, through } => self.acked(now, &doc, &through),
            ClientEvent::Rejected { doc, peer, seq, code, retry_after_ms } => {
                self.rejected(now, &doc, peer, seq, code, u64::from(retry_after_ms));
            }
            ClientEvent::Presence { doc, peers } => {
                if let Some(open) = self.docs.get_mut(&doc) {
                    open.presence.from_server = peers;
                    self.emit(&doc, DocEvent::Presence);
                }
            }
            ClientEvent::DocError { doc, code } => self.refused(now, &doc, code),
            ClientEvent::GoAway { retry_after_ms, .. } => {
                self.link.retry_after_ms = Some(u64::from(retry_after_ms));
                self.link.reason = Some(Reason::ServerBusy);
            }
            ClientEvent::Fatal { code, detail } => {
                tracing::warn!(?code, detail, "server refused the connection");
                self.link.fatal = needs_person(code);
            }
            _ => {}
        }
    }

    fn welcomed(&mut self, now: Now, present: ServerLife, server_ms: u64) {
        if let State::Up { life, .. } = &mut self.link.state {
            *life = Some(present);
        }
        self.link.reason = None;
        self.link.backoff.connected(now.ms);
        if self.link.last_life.replace(present) != Some(present) {
            self.outputs.push_back(Output::FindUnsent(Some(present)));
        }
        self.tell_time(now, server_ms);
        for (_, doc) in self.docs.iter_mut() {
            if doc.remote.life != Some(present) {
                doc.forget_acknowledgements(now, present);
            }
        }
        let ids: Vec<DocId> = self.docs.keys().cloned().collect();
        for id in ids {
            self.open_on_server(now, &id);
        }
    }

    /// Asks the server for a document, as soon as it is known what is here.
    pub(super) fn open_on_server(&mut self, now: Now, id: &DocId) {
        let Some(life) = self.link.life() else { return };
        let Some(doc) = self.docs.get_mut(id) else { return };
        if doc.load == Load::Reading || !matches!(doc.remote.phase, Phase::Closed) {
            return;
        }
        if doc.remote.life != Some(life) {
            doc.forget_acknowledgements(now, life);
        }
        let (since, later) = doc.read_up_to().map(|read| (read.mark, read.later.clone())).unzip();
        doc.remote.phase = Phase::Opening { read_on: since.is_some() };
        let content = doc.content.borrow();
        let (version, peer) = (content.version(), content.peer());
        let claims = version.iter().map(|(peer, count)| (peer, doc.claim(peer, count)));
        let have = later.unwrap_or_else(|| claims.collect());
        let (seq, hash) = content.chain_mark(peer).map_or((0, 0), |mark| (mark.seq, mark.hash));
        let me = Some(PeerMark { peer, seq, hash });
        drop(content);
        let presence = doc.presence.own.clone();
        self.session_input(now, ClientInput::Open { doc: id.clone(), have, me, since });
        if presence.is_some() {
            self.session_input(now, ClientInput::Presence { doc: id.clone(), payload: presence });
        }
    }

    pub(super) fn close_on_server(&mut self, now: Now, id: &DocId) {
        self.session_input(now, ClientInput::Close { doc: id.clone() });
    }

    fn caught_up(&mut self, now: Now, id: &DocId, at: LogMark) {
        let Some(doc) = self.docs.get_mut(id) else { return };
        let Phase::Open { caught_up, contested, .. } = &mut doc.remote.phase else { return };
        *caught_up = true;
        let settled = std::mem::take(contested);
        let doubted = doc.remote.doubted.take();
        if let Some(peer) = doubted {
            // All that the server has under this id is merged: somebody else goes on with it.
            doc.forget_rejection(peer);
            self.leave_peer(peer);
        } else {
            doc.note_read(now, at);
        }
        if settled || doubted.is_some() {
            self.upload(now, id);
        }
    }

    fn acked(&mut self, now: Now, id: &DocId, through: &VersionVector) {
        let Some(doc) = self.docs.get_mut(id) else { return };
        if planted!(TakesAnyAcknowledgementForAll) {
            let all = doc.content.borrow().version().clone();
            doc.acknowledge(now, &all);
        }
        doc.acknowledge(now, through);
        if doc.remote.pending.is_empty() {
            self.drop_done(now);
        }
    }

    pub(super) fn reject(&mut self, id: &DocId, peer: PeerId, rejection: Rejection) {
        let Some(doc) = self.docs.get_mut(id) else { return };
        let known = doc.remote.rejected.entry(peer).or_insert(rejection);
        if rejection.seq <= known.seq {
            *known = rejection;
        }
    }

    fn rejected(
        &mut self,
        now: Now,
        id: &DocId,
        peer: PeerId,
        seq: u32,
        code: NackCode,
        retry_after_ms: u64,
    ) {
        tracing::warn!(doc = %id, %peer, seq, ?code, "server refused a change");
        let later = |ms: u64| Some(now.ms + if retry_after_ms > 0 { retry_after_ms } else { ms });
        let (reason, retry_at) = match code {
            NackCode::DuplicatePeer => return self.conflict(now, id, peer, seq),
            NackCode::Forbidden => (Reason::Forbidden, None),
            NackCode::ClockSkew => {
                self.mind_the_time(now);
                (Reason::ClockSkew, later(SKEW_RETRY_MS))
            }
            code if code.is_temporary() => (Reason::Rejected(code), later(REFUSED_RETRY_MS)),
            code => (Reason::Rejected(code), None),
        };
        self.reject(id, peer, Rejection { seq, reason, retry_at });
    }

    pub(super) fn refused(&mut self, now: Now, id: &DocId, code: DocErrCode) {
        let Some(doc) = self.docs.get_mut(id) else { return };
        if code == DocErrCode::UnknownMark && doc.remote.read.take().is_some() {
            // The server's log is not the one that was read.
            doc.remote.phase = Phase::Closed;
            return self.open_on_server(now, id);
        }
        let (reason, retry) = match code {
            DocErrCode::Forbidden => (Reason::Forbidden, false),
            DocErrCode::Unsupported => (Reason::NewerVersion, false),
            _ => (Reason::ServerBusy, true),
        };
        let retry_at = retry.then_some(now.ms + REFUSED_RETRY_MS);
        doc.remote.phase = Phase::Refused { reason, retry_at };
        doc.presence.from_server.clear();
        self.emit(id, DocEvent::Presence);
    }

    /// Sends everything that the server lacks and that may be sent.
    pub(super) fn upload(&mut self, now: Now, id: &DocId) {
        let unsaved_too = self.jobs.is_failing();
        let Some(doc) = self.docs.get_mut(id) else { return };
        let blocks = doc.take_unsent(unsaved_too || doc.store.refused);
        self.send_changes(now, id, blocks);
    }

    pub(super) fn send_changes(&mut self, now: Now, id: &DocId, blocks: Vec<Block>) {
        if !blocks.is_empty() {
            self.session_input(now, ClientInput::Changes { doc: id.clone(), blocks });
        }
    }

    pub(super) fn link_deadline(&self) -> Option<u64> {
        let docs = self.docs.values().flat_map(|doc| {
            let refused = match doc.remote.phase {
                Phase::Refused { retry_at, .. } => retry_at,
                _ => None,
            };
            let waiting = [doc.remote.adopt_at, doc.remote.recheck_at];
            let rejected = doc.remote.rejected.values().filter_map(|rejection| rejection.retry_at);
            rejected.chain(refused).chain(waiting.into_iter().flatten())
        });
        let own = match &self.link.state {
            State::Idle => None,
            State::Waiting { retry_at } => Some(*retry_at),
            State::Dialing { since, shown: true } => Some(since + DIAL_MS_MAX),
            State::Dialing { since, shown: false } => Some(since + DIAL_SHOWN_AFTER_MS),
            State::Up { session, .. } => session.next_deadline().map(Instant::as_ms),
        };
        docs.chain(own).min()
    }

    pub(super) fn link_tick(&mut self, now: Now) {
        match &mut self.link.state {
            State::Waiting { retry_at } if *retry_at <= now.ms => self.dial(now),
            State::Dialing { since, .. } if *since + DIAL_MS_MAX <= now.ms => {
                self.hang_up(now, Reason::ServerUnreachable);
            }
            State::Dialing { since, shown } => *shown |= *since + DIAL_SHOWN_AFTER_MS <= now.ms,
            State::Up { .. } => self.session_input(now, ClientInput::Tick),
            _ => {}
        }
        let ids: Vec<DocId> = self.docs.keys().cloned().collect();
        for id in ids {
            self.doc_tick(now, &id);
        }
    }

    /// Tries again what a document's earlier refusals put off.
    fn doc_tick(&mut self, now: Now, id: &DocId) {
        let Some(doc) = self.docs.get_mut(id) else { return };
        let due = |at: Option<u64>| at.is_some_and(|at| at <= now.ms);
        let again: Vec<PeerId> = doc
            .remote
            .rejected
            .iter()
            .filter(|(_, r)| due(r.retry_at))
            .map(|(peer, _)| *peer)
            .collect();
        for peer in &again {
            doc.forget_rejection(*peer);
        }
        let recheck = due(doc.remote.recheck_at);
        if recheck {
            doc.remote.recheck_at = None;
        }
        let adopt = due(doc.remote.adopt_at);
        if adopt {
            doc.remote.adopt_at = None;
        }
        if let Phase::Refused { retry_at, .. } = doc.remote.phase
            && due(retry_at)
        {
            doc.remote.phase = Phase::Closed;
            self.open_on_server(now, id);
        }
        if recheck {
            self.received(now, id, Vec::new());
        }
        if adopt || !again.is_empty() {
            self.upload(now, id);
        }
    }
}

/// What a connection's end means that dialing again cannot help.
fn needs_person(code: CloseCode) -> Option<Reason> {
    match code {
        CloseCode::Unauthorized => Some(Reason::Unauthorized),
        CloseCode::Forbidden => Some(Reason::Forbidden),
        CloseCode::UnsupportedVersion => Some(Reason::NewerVersion),
        _ => None,
    }
}
