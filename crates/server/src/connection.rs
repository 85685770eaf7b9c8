//! One client's socket: the session fed from it, its documents' news pulled into it.
//!
//! Guarantees: nothing is queued per connection but the session's own answers, which are as many
//! as the client's requests; changes are read from the document's log when the socket has room. A
//! client that does not read for [`WRITE_TIMEOUT`] is let go, and one that asks for more than its
//! [`Budget`] is read later. One whose grant is over is sent nothing more, whether or not it reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message};
use bytes::Bytes;
use futures::SinkExt;
use futures::stream::{SplitSink, SplitStream, StreamExt};
use leptos_sync_crdt::{Block, BlockWriter, DocId, VersionVector};
use leptos_sync_protocol::{
    Admission, CloseCode, DocErrCode, FRAME_BYTES_MAX, Instant, Limits, LogMark, Message as Said,
    Pack, PeerMark, Permission, ServerEvent, ServerInput, ServerOutput, ServerSession,
    changes_frames, encode_frame,
};
use leptos_sync_storage::planted;
use tokio::sync::mpsc;
use tokio::time;

use crate::budget::{self, Budget};
use crate::env::Socket;
use crate::grants::{Granted, Over};
use crate::hub::{Hub, Store};
use crate::log::News;
use crate::presence;
use crate::room::{Job, Reply, Room, Submission, Waker};

/// How long a client may leave its socket full.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the farewell may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How many bytes are written before the socket is flushed and read again.
const ROUND_BYTES: usize = 256 << 10;

const HEARTBEAT_MS: u32 = 20_000;

/// How often a client is told how far it has read. Less than a heartbeat: that is when it is heard.
const MARK_INTERVAL: Duration = Duration::from_secs(15);

/// When a client that is sent away should come back.
const GO_AWAY_RETRY_MS: u32 = 500;

/// Why a connection is over.
enum End {
    /// The client is gone, or cannot be reached.
    Gone,
    /// The client said goodbye and waits for the same.
    Left,
    /// What came is no WebSocket; there is a code for what is wrong with it.
    Broken { code: u16 },
    /// The session ended it.
    Closed { code: CloseCode, reason: String },
}

/// One document of this connection.
struct Feed {
    room: Arc<Room>,
    session: u64,
    ch: u32,
    permission: Permission,
    /// What the client had, and what it sent since.
    have: VersionVector,
    me: Option<PeerMark>,
    sent: BlockWriter,
    progress: Option<Progress>,
}

/// How far an open document was read.
struct Progress {
    cursor: usize,
    /// The log's length when the document was opened; `None` once the client has all that.
    target: Option<usize>,
    /// Up to where the client was told that it has everything, and whether that is to be said anew.
    told: usize,
    is_mark_due: bool,
    presence_seen: Option<u64>,
}

impl Drop for Feed {
    fn drop(&mut self) {
        // The room lives as long as anybody has joined it.
        let _ = self.room.jobs.send(Job::Leave { session: self.session, ch: self.ch });
    }
}

/// One client.
pub(crate) struct Connection<S: Store, K> {
    hub: Arc<Hub<S>>,
    granted: Arc<Granted>,
    session_id: u64,
    session: ServerSession,
    started: time::Instant,
    budget: Budget,
    marked_at: time::Instant,
    feeds: BTreeMap<u32, Feed>,
    waker: Arc<Waker>,
    dirty: BTreeSet<u32>,
    replies: mpsc::UnboundedSender<Reply>,
    #[cfg(feature = "testkit")]
    waiting: crate::queues::Waiting,
    sink: SplitSink<K, Message>,
    unflushed: usize,
}

/// Serves a socket until it ends.
pub(crate) async fn serve<S: Store, K: Socket>(hub: Arc<Hub<S>>, limits: Limits, socket: K) {
    let _counted = hub.count();
    let (sink, mut stream) = socket.split();
    let (replies, mut inbox) = mpsc::unbounded_channel();
    let session_id = hub.next_session();
    let granted = Arc::<Granted>::default();
    let mut connection = Connection {
        hub,
        granted: granted.clone(),
        session_id,
        session: ServerSession::new(Instant::from_ms(0), limits, HEARTBEAT_MS),
        started: time::Instant::now(),
        budget: Budget::new(time::Instant::now()),
        marked_at: time::Instant::now(),
        feeds: BTreeMap::new(),
        waker: Arc::default(),
        dirty: BTreeSet::new(),
        replies,
        #[cfg(feature = "testkit")]
        waiting: crate::queues::Waiting::default(),
        sink,
        unflushed: 0,
    };
    let end = tokio::select! {
        biased;
        over = granted.over() => connection.dismiss(over).await,
        end = connection.run(&mut stream, &mut inbox) => end,
    };
    connection.close(end, stream).await;
    // Its place is taken until the documents are done with what it asked for: who connects again
    // and again has no more wait there than who stays.
    while inbox.recv().await.is_some() {}
}

impl<S: Store, K: Socket> Connection<S, K> {
    fn now(&self) -> Instant {
        let ms = self.started.elapsed().as_millis();
        Instant::from_ms(u64::try_from(ms).unwrap_or(u64::MAX))
    }

    async fn run(
        &mut self,
        stream: &mut SplitStream<K>,
        inbox: &mut mpsc::UnboundedReceiver<Reply>,
    ) -> End {
        let waker = self.waker.clone();
        let mut stopping = self.hub.stopping();
        let mut told_to_stop = false;
        loop {
            if let Err(end) = self.settle().await {
                return end;
            }
            let wake_at = self.wake_at();
            let wait = self.budget.wait(time::Instant::now());
            let more = !self.dirty.is_empty();
            tokio::select! {
                biased;
                _ = stopping.wait_for(|stop| *stop), if !told_to_stop => {
                    told_to_stop = true;
                    self.send_away("the server is stopping");
                }
                Some(reply) = inbox.recv() => {
                    self.reply(reply);
                    while let Ok(reply) = inbox.try_recv() {
                        self.reply(reply);
                    }
                }
                frame = stream.next(), if wait.is_zero() => {
                    if let Err(end) = self.frame(frame) {
                        return end;
                    }
                }
                () = waker.woken() => {}
                () = time::sleep_until(wake_at) => self.input(ServerInput::Tick),
                () = time::sleep(wait), if !wait.is_zero() => {}
                // More was left to send than one round takes.
                () = std::future::ready(()), if more => {}
            }
        }
    }

    fn wake_at(&self) -> time::Instant {
        let session = self.session.next_deadline().map_or(u64::MAX, Instant::as_ms);
        // A day at most: a timer far in the future would overflow.
        let ms = session.min(self.now().as_ms() + 86_400_000);
        self.started + Duration::from_millis(ms)
    }

    fn send_away(&mut self, detail: &str) {
        let (retry_after_ms, detail) = (GO_AWAY_RETRY_MS, detail.to_owned());
        self.input(ServerInput::GoAway { retry_after_ms, detail });
    }

    /// Says what became of the grant. A client that has left no room for that is gone without it.
    async fn dismiss(&mut self, over: &Over) -> End {
        match over {
            Over::Ended(error) => {
                let reason = error.to_string();
                self.input(ServerInput::Refuse { code: CloseCode::Unauthorized, reason });
            }
            Over::Changed => self.send_away("the permission has changed"),
        }
        let said = time::timeout(CLOSE_TIMEOUT, self.drain()).await;
        said.ok().and_then(Result::err).unwrap_or(End::Gone)
    }

    fn input(&mut self, input: ServerInput) {
        self.session.handle(self.now(), input);
    }

    fn spend(&mut self, cost: u32) {
        self.budget.spend(time::Instant::now(), cost);
    }

    fn frame(&mut self, frame: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        match frame {
            Some(Ok(Message::Binary(bytes))) => {
                self.spend(budget::FRAME);
                self.ask_for_marks();
                self.input(ServerInput::Frame(bytes));
            }
            Some(Ok(Message::Text(_))) => {
                let reason = "text frames are not spoken here".to_owned();
                self.input(ServerInput::Refuse { code: CloseCode::Malformed, reason });
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => self.spend(budget::FRAME),
            Some(Ok(Message::Close(_))) => return Err(End::Left),
            None => return Err(End::Gone),
            Some(Err(error)) => {
                let text = error.to_string();
                tracing::debug!(error = text, "socket failed");
                if !text.contains("too long") {
                    return Err(broken(&text));
                }
                let reason = format!("frames have at most {FRAME_BYTES_MAX} bytes");
                return Err(End::Closed { code: CloseCode::TooLarge, reason });
            }
        }
        Ok(())
    }

    /// Has the client told how far it has read, from time to time.
    fn ask_for_marks(&mut self) {
        let now = time::Instant::now();
        if now - self.marked_at < MARK_INTERVAL {
            return;
        }
        self.marked_at = now;
        for (ch, feed) in &mut self.feeds {
            if let Some(progress) = &mut feed.progress {
                progress.is_mark_due = true;
                self.dirty.insert(*ch);
            }
        }
    }

    /// Does all that can be done now: the session's effects, then the documents' news.
    async fn settle(&mut self) -> Result<(), End> {
        self.drain().await?;
        self.dirty.append(&mut self.waker.take_dirty());
        for ch in std::mem::take(&mut self.dirty) {
            if self.unflushed >= ROUND_BYTES {
                self.dirty.insert(ch);
            } else {
                self.pull(ch).await?;
            }
        }
        self.flush().await
    }

    /// Carries out what the session wants.
    async fn drain(&mut self) -> Result<(), End> {
        while let Some(output) = self.session.poll_output() {
            match output {
                ServerOutput::Send(frame) => self.write(frame).await?,
                ServerOutput::Event(event) => self.event(event),
                ServerOutput::CloseSocket { code, reason } => {
                    return Err(End::Closed { code, reason });
                }
            }
        }
        Ok(())
    }

    /// Sends the next of a document's news.
    async fn pull(&mut self, ch: u32) -> Result<(), End> {
        let Some(feed) = self.feeds.get_mut(&ch) else { return Ok(()) };
        if feed.room.has_failed() {
            let reason = "the document failed".to_owned();
            return Err(End::Closed { code: CloseCode::Internal, reason });
        }
        let Some(progress) = &mut feed.progress else { return Ok(()) };
        let (cursor, news) = feed.room.read(progress.cursor, &feed.have);
        let more = std::mem::replace(&mut progress.cursor, cursor) != cursor;
        let caught_up = progress.target.is_some_and(|target| cursor >= target);
        let is_due = progress.target.is_none() && progress.is_mark_due && !more;
        let mark = if caught_up || (is_due && cursor != progress.told) {
            (progress.target, progress.told, progress.is_mark_due) = (None, cursor, false);
            Some(feed.room.mark_at(cursor))
        } else {
            None
        };
        // Presence may wait: the newest is read once the changes are out.
        let presence = if more && !caught_up {
            None
        } else {
            let (seen, frame) = feed.room.read_presence(progress.presence_seen, feed.session);
            progress.presence_seen = Some(seen);
            frame
        };
        if more {
            self.dirty.insert(ch);
            self.tell(ch, news).await?;
        }
        if let Some(at) = mark {
            self.input(ServerInput::CaughtUp { ch, at });
            self.drain().await?;
        }
        if let Some(frame) = presence {
            self.write(frame).await?;
        }
        Ok(())
    }

    /// Sends a document's news.
    async fn tell(&mut self, ch: u32, news: News) -> Result<(), End> {
        let blocks = match news {
            News::Blocks(blocks) => blocks,
            News::Packs(updates) => {
                let mut frame = Vec::new();
                for update in updates {
                    frame.extend_from_slice(&encode_frame(&Said::Pack(Pack { ch, update })));
                }
                return self.write(frame.into()).await;
            }
        };
        let Some(feed) = self.feeds.get_mut(&ch) else { return Ok(()) };
        let mut sent = std::mem::take(&mut feed.sent);
        for frame in changes_frames(&mut sent, ch, &blocks) {
            self.write(frame).await?;
        }
        // Only events remove a feed, and none is handled meanwhile.
        if let Some(feed) = self.feeds.get_mut(&ch) {
            feed.sent = sent;
        }
        Ok(())
    }

    async fn write(&mut self, frame: Bytes) -> Result<(), End> {
        self.unflushed += frame.len();
        let sent = time::timeout(WRITE_TIMEOUT, self.sink.feed(Message::Binary(frame))).await;
        match sent {
            Ok(Ok(())) if self.unflushed >= 2 * ROUND_BYTES => self.flush().await,
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(too_slow()),
        }
    }

    async fn flush(&mut self) -> Result<(), End> {
        if self.unflushed == 0 {
            return Ok(());
        }
        self.unflushed = 0;
        match time::timeout(WRITE_TIMEOUT, self.sink.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(too_slow()),
        }
    }

    fn event(&mut self, event: ServerEvent) {
        match event {
            ServerEvent::Hello { client_id, token, wall_ms } => {
                self.hello(client_id, token.as_deref(), wall_ms);
            }
            ServerEvent::Open { ch, doc, have, me, since } => {
                self.spend(budget::OPEN);
                self.open(ch, &doc, have, me, since);
            }
            ServerEvent::Close { ch } => drop(self.feeds.remove(&ch)),
            ServerEvent::Changes { ch, blocks } => self.submit(ch, blocks),
            ServerEvent::Presence { ch, payload } => {
                self.spend(budget::PRESENCE);
                if let Some(feed) = self.feeds.get(&ch) {
                    feed.room.set_presence(self.session_id, self.granted.principal(), payload);
                }
            }
            other => tracing::warn!(?other, "unknown event"),
        }
    }

    fn submit(&mut self, ch: u32, blocks: Vec<Block>) {
        let Some(feed) = self.feeds.get_mut(&ch) else { return };
        for block in &blocks {
            feed.have.extend(block.peer(), block.end());
        }
        let (granted, reply) = (self.granted.clone(), self.replies.clone());
        let submission = Submission { ch, granted, blocks, reply };
        #[cfg(feature = "testkit")]
        self.waiting.asked(submission.bytes(), &self.hub.high_water);
        let early = planted!(GivesCreditBeforeStoring)
            .then(|| (submission.blocks.len(), submission.bytes()));
        // The room lives as long as this feed, or has failed and ends this connection.
        let _ = feed.room.jobs.send(Job::Submit(submission));
        if let Some((blocks, bytes)) = early {
            let (durable, rejected) = (VersionVector::new(), Vec::new());
            self.input(ServerInput::Settled { ch, durable, rejected, blocks, bytes });
        }
    }

    fn hello(&mut self, client_id: u64, token: Option<&str>, client_ms: u64) {
        match self.hub.grants.admit(&self.granted, token) {
            Ok(grant) => {
                let admission = Admission {
                    server_id: self.hub.server_id,
                    epoch: self.hub.epoch,
                    session: self.session_id,
                    server_ms: self.hub.env.wall_ms(),
                    principal: grant.principal().map(str::to_owned),
                    auth_expires_ms: grant.expires_ms(),
                    presence_ttl_ms: presence::TTL.as_millis() as u32,
                };
                let skew_ms = client_ms.cast_signed() - admission.server_ms.cast_signed();
                tracing::debug!(client_id, skew_ms, principal = ?grant.principal(), "welcome");
                self.input(ServerInput::Admit(admission));
            }
            Err(error) => {
                let reason = error.to_string();
                self.input(ServerInput::Refuse { code: CloseCode::Unauthorized, reason });
            }
        }
    }

    fn open(
        &mut self,
        ch: u32,
        doc: &DocId,
        have: VersionVector,
        me: Option<PeerMark>,
        since: Option<LogMark>,
    ) {
        let Some(permission) = self.granted.permission(doc) else {
            let (code, detail) = (DocErrCode::Forbidden, String::new());
            return self.input(ServerInput::DocError { ch, code, detail });
        };
        let session = self.session_id;
        let room = self.hub.join(doc);
        room.add_subscriber(session, ch, self.waker.clone());
        let sent = BlockWriter::default();
        let feed = Feed { room, session, ch, permission, have, me, sent, progress: None };
        // The room lives as long as this feed, or has failed, which is noticed when it is read.
        let (me, reply) = (me.map(|mark| mark.peer), self.replies.clone());
        let _ = feed.room.jobs.send(Job::Subscribe { ch, me, since, reply });
        #[cfg(feature = "testkit")]
        self.waiting.asked(0, &self.hub.high_water);
        self.feeds.insert(ch, feed);
        self.dirty.insert(ch);
    }

    fn reply(&mut self, reply: Reply) {
        #[cfg(feature = "testkit")]
        self.waiting.answered(if let Reply::Settled { bytes, .. } = &reply { *bytes } else { 0 });
        match reply {
            Reply::Opened { ch, version, mark, from, len } => {
                self.budget.spend_load(time::Instant::now(), len);
                let Some(feed) = self.feeds.get_mut(&ch) else {
                    return self.input(ServerInput::NotOpened { ch });
                };
                if let (Some(me), Some(mark)) = (feed.me, mark)
                    && me.seq == mark.seq
                    && me.hash != mark.hash
                {
                    tracing::info!(doc = %feed.room.doc, peer = %me.peer, "peer id used twice");
                }
                feed.progress = Some(Progress {
                    cursor: from,
                    target: Some(len),
                    told: 0,
                    is_mark_due: false,
                    presence_seen: None,
                });
                self.dirty.insert(ch);
                let (number, permission) = (feed.room.feed, feed.permission);
                self.input(ServerInput::Opened { ch, feed: number, permission, version, mark });
            }
            Reply::Failed { ch, code } => {
                self.feeds.remove(&ch);
                let detail = match code {
                    DocErrCode::UnknownMark => "the log has no such mark",
                    _ => "the document cannot be read now",
                };
                self.input(ServerInput::DocError { ch, code, detail: detail.to_owned() });
            }
            Reply::Settled { ch, durable, rejected, blocks, bytes } => {
                self.input(ServerInput::Settled { ch, durable, rejected, blocks, bytes });
            }
        }
    }

    async fn close(mut self, end: End, mut stream: SplitStream<K>) {
        // Others see at once that this client is gone.
        self.feeds.clear();
        let (code, mut reason) = match end {
            End::Gone => return,
            End::Left => {
                // The answer to its goodbye is queued already. It may be gone all the same.
                let _ = time::timeout(CLOSE_TIMEOUT, self.sink.close()).await;
                return;
            }
            End::Broken { code } => (code, String::new()),
            End::Closed { code, reason } => (code.as_u16(), reason),
        };
        tracing::debug!(code, reason, "closing a connection");
        reason.truncate(reason.floor_char_boundary(120));
        let frame = CloseFrame { code, reason: reason.into() };
        let farewell = async {
            // A client that is gone already needs no farewell.
            let _ = self.sink.send(Message::Close(Some(frame))).await;
            // Read on until the client closes: a socket that is dropped with unread data is reset,
            // and the client would never see the code.
            while let Some(Ok(_)) = stream.next().await {}
        };
        let _ = time::timeout(CLOSE_TIMEOUT, farewell).await;
    }
}

/// The end of a connection whose bytes break the rules of RFC 6455, section 7.4.1; tells text that
/// is not UTF-8 from all else.
fn broken(error: &str) -> End {
    match error.to_lowercase() {
        text if text.contains("utf-8") || text.contains("utf8") => End::Broken { code: 1007 },
        text if text.contains("protocol error") => End::Broken { code: 1002 },
        _ => End::Gone,
    }
}

fn too_slow() -> End {
    let reason = "the client does not read what it is sent".to_owned();
    End::Closed { code: CloseCode::TooSlow, reason }
}
