//! One open document: a task that validates, stores and publishes, and what its subscribers read.
//!
//! Guarantees: blocks are published and acknowledged only after the store said that they are
//! durable; every submission gets exactly one answer, unless the store is broken: the server stops
//! then; or what its sender was granted is over: nothing of it is stored then, and the connection
//! ends. What waits while a write is under way goes into the next one together. A task that panics
//! ends its subscribers' connections; for whoever comes back the document is loaded anew.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::FutureExt as _;
use leptos_sync_crdt::{Block, DocId, PeerId, VersionVector};
use leptos_sync_protocol::{DocErrCode, LogMark, NackCode, PeerMark, Rejection};
use leptos_sync_storage::{AppendError, CompactError, planted};
use tokio::sync::{Notify, mpsc};

use crate::grants::Granted;
use crate::hub::{Hub, IdentityError, Store};
use crate::log::{Check, DocLog, News};
use crate::packs::Pack;
use crate::presence::Presence;

/// Bodies of more bytes than this are validated away from the threads that serve sockets.
const VALIDATE_INLINE_BYTES: usize = 64 << 10;

/// How many bytes of blocks go into one write.
const WRITE_BYTES: usize = 8 << 20;

/// Why a server stops by itself.
const DISK_FAILED: &str = "the disk failed while writing";

const QUOTA_RETRY_MS: u32 = 30_000;
const UNAVAILABLE_RETRY_MS: u32 = 5_000;
const RELOADED_RETRY_MS: u32 = 250;

/// Wakes a connection and says which of its channels have news.
#[derive(Debug, Default)]
pub(crate) struct Waker {
    notify: Notify,
    dirty: Mutex<BTreeSet<u32>>,
}

impl Waker {
    pub(crate) fn wake(&self, ch: u32) {
        lock(&self.dirty).insert(ch);
        self.notify.notify_one();
    }

    /// Resolves once some channel has news.
    pub(crate) async fn woken(&self) {
        self.notify.notified().await;
    }

    /// The channels with news.
    pub(crate) fn take_dirty(&self) -> BTreeSet<u32> {
        std::mem::take(&mut *lock(&self.dirty))
    }
}

/// What a room tells a connection.
#[derive(Debug)]
pub(crate) enum Reply {
    /// The subscription stands.
    Opened {
        ch: u32,
        version: VersionVector,
        mark: Option<PeerMark>,
        /// Where to read on in the log.
        from: usize,
        /// How many blocks the log has.
        len: usize,
    },
    /// The document could not be loaded, or not be read on from the mark.
    Failed { ch: u32, code: DocErrCode },
    /// The fate of a submission.
    Settled {
        ch: u32,
        durable: VersionVector,
        rejected: Vec<Rejection>,
        blocks: usize,
        bytes: usize,
    },
}

/// Blocks that a connection wants stored.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) ch: u32,
    pub(crate) granted: Arc<Granted>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) reply: mpsc::UnboundedSender<Reply>,
}

impl Submission {
    /// The size of its blocks.
    pub(crate) fn bytes(&self) -> usize {
        self.blocks.iter().map(|block| block.bytes().len()).sum()
    }
}

/// One thing for a room to do.
#[derive(Debug)]
pub(crate) enum Job {
    Subscribe {
        ch: u32,
        me: Option<PeerId>,
        since: Option<LogMark>,
        reply: mpsc::UnboundedSender<Reply>,
    },
    Submit(Submission),
    /// Another process may have written.
    Reload,
    /// The last job of a subscriber.
    Leave {
        session: u64,
        ch: u32,
    },
}

/// The part of a room that its subscribers read.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) doc: DocId,
    /// The server's number for the document.
    pub(crate) feed: u32,
    pub(crate) jobs: mpsc::UnboundedSender<Job>,
    log: Mutex<DocLog>,
    presence: Mutex<Presence>,
    subscribers: Mutex<BTreeMap<(u64, u32), Arc<Waker>>>,
    failed: AtomicBool,
}

/// Locks, whatever became of an earlier holder: the data is changed only in whole steps.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Room {
    pub(crate) fn new(doc: DocId, feed: u32) -> (Arc<Self>, mpsc::UnboundedReceiver<Job>) {
        let (jobs, queue) = mpsc::unbounded_channel();
        let room = Self {
            doc,
            feed,
            jobs,
            log: Mutex::default(),
            presence: Mutex::default(),
            subscribers: Mutex::default(),
            failed: AtomicBool::new(false),
        };
        (Arc::new(room), queue)
    }

    /// What comes next for a subscriber; see [`DocLog::read`].
    pub(crate) fn read(&self, cursor: usize, have: &VersionVector) -> (usize, News) {
        lock(&self.log).read(cursor, have)
    }

    /// The mark of a position that a subscriber has read up to.
    pub(crate) fn mark_at(&self, position: usize) -> LogMark {
        lock(&self.log).mark_at(position)
    }

    /// The next presence frame for a subscriber; see [`Presence::read`].
    pub(crate) fn read_presence(&self, seen: Option<u64>, session: u64) -> (u64, Option<Bytes>) {
        lock(&self.presence).read(seen, session, self.feed)
    }

    /// Shows what a connection says of itself.
    pub(crate) fn set_presence(
        &self,
        session: u64,
        principal: Option<&str>,
        payload: Option<Bytes>,
    ) {
        let now = tokio::time::Instant::now();
        if lock(&self.presence).set(session, principal, payload, now) {
            self.wake_all();
        }
    }

    /// Drops presence that was not refreshed in time.
    pub(crate) fn expire_presence(&self) {
        if lock(&self.presence).expire(tokio::time::Instant::now()) {
            self.wake_all();
        }
    }

    fn wake_all(&self) {
        for ((_, ch), waker) in &*lock(&self.subscribers) {
            waker.wake(*ch);
        }
    }

    /// Has `waker` woken by news from now on, also by that the room has failed.
    pub(crate) fn add_subscriber(&self, session: u64, ch: u32, waker: Arc<Waker>) {
        lock(&self.subscribers).insert((session, ch), waker);
    }

    /// Whether its task is gone: nothing that is asked of it is answered.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    fn fail(&self) {
        self.failed.store(true, Ordering::SeqCst);
        self.wake_all();
    }

    fn remove_subscriber(&self, session: u64, ch: u32) {
        let mut subscribers = lock(&self.subscribers);
        subscribers.remove(&(session, ch));
        let elsewhere = subscribers.range((session, 0)..=(session, u32::MAX)).next().is_some();
        drop(subscribers);
        if !elsewhere && lock(&self.presence).remove(session) {
            self.wake_all();
        }
    }
}

/// One submission whose blocks were looked at.
struct Looked {
    submission: Submission,
    rejected: Vec<Rejection>,
    /// The blocks that were in the log, though perhaps only staged for an earlier submission.
    known: Vec<Block>,
    /// The blocks that were staged for it.
    staged: Vec<Block>,
}

/// Serves a room until its last subscriber has left, or it panics.
pub(crate) async fn run<S: Store>(
    hub: Arc<Hub<S>>,
    room: Arc<Room>,
    queue: mpsc::UnboundedReceiver<Job>,
) {
    // What it leaves behind is looked at by nobody: the room is forgotten.
    let served = AssertUnwindSafe(serve(&hub, &room, queue)).catch_unwind().await;
    if let Err(panic) = served {
        let panic = what_it_said(&*panic);
        tracing::error!(doc = %room.doc, panic, "a document's task panicked: it is loaded anew");
        hub.forget(&room);
        room.fail();
    }
}

fn what_it_said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default()
}

async fn serve<S: Store>(hub: &Hub<S>, room: &Room, mut queue: mpsc::UnboundedReceiver<Job>) {
    let mut loaded = false;
    let mut next = None;
    loop {
        let job = match next.take() {
            Some(job) => job,
            None => match queue.recv().await {
                Some(job) => job,
                None => return,
            },
        };
        match job {
            Job::Subscribe { ch, me, since, reply } => {
                // A store that did not answer the one before may answer this one.
                let is_first = !loaded;
                loaded = loaded || load(hub, room).await;
                let unread = Reply::Failed { ch, code: DocErrCode::Unavailable };
                let answer = if loaded { subscribe(room, ch, me, since) } else { unread };
                // A connection that is gone says so with its own leave.
                let _ = reply.send(answer);
                if is_first && loaded {
                    pack(hub, room).await;
                }
            }
            Job::Submit(first) => {
                let (batch, after) = gather(first, &mut queue);
                next = after;
                store(hub, room, batch).await;
            }
            // What was never read is read for the next subscriber.
            Job::Reload if loaded => {
                load(hub, room).await;
            }
            Job::Reload => {}
            Job::Leave { session, ch } => {
                room.remove_subscriber(session, ch);
                if hub.left(room) {
                    return;
                }
            }
        }
    }
}

fn subscribe(room: &Room, ch: u32, me: Option<PeerId>, since: Option<LogMark>) -> Reply {
    let log = lock(&room.log);
    let mark = me.and_then(|peer| log.mark(peer));
    let read_on = since.map_or_else(|| Some((0, log.version())), |since| log.since(since));
    match read_on {
        Some((from, version)) => Reply::Opened { ch, version, mark, from, len: log.committed() },
        None => Reply::Failed { ch, code: DocErrCode::UnknownMark },
    }
}

/// Takes from the queue what can be stored together with `first`.
fn gather(
    first: Submission,
    queue: &mut mpsc::UnboundedReceiver<Job>,
) -> (Vec<Submission>, Option<Job>) {
    let mut bytes = first.bytes();
    let mut batch = vec![first];
    while bytes < WRITE_BYTES {
        match queue.try_recv() {
            Ok(Job::Submit(submission)) => {
                bytes += submission.bytes();
                batch.push(submission);
            }
            Ok(other) => return (batch, Some(other)),
            Err(_) => break,
        }
    }
    (batch, None)
}

/// Adds to the room what is stored and not in it yet. Returns whether the store could be read.
async fn load<S: Store>(hub: &Hub<S>, room: &Room) -> bool {
    match hub.load(&room.doc).await {
        Ok(stored) => {
            if lock(&room.log).absorb(stored) > 0 {
                room.wake_all();
            }
            true
        }
        Err(error) => {
            tracing::error!(doc = %room.doc, %error, "cannot load a document");
            false
        }
    }
}

async fn store<S: Store>(hub: &Hub<S>, room: &Room, batch: Vec<Submission>) {
    let mut validated = Vec::with_capacity(batch.len());
    for submission in batch {
        let sound = validate(hub, &submission.blocks).await;
        validated.push((submission, sound));
    }
    let mut looked = Vec::with_capacity(validated.len());
    for (submission, sound) in validated {
        // All that takes long is done.
        if hub.grants.holds(&submission.granted, hub.env.wall_ms()) {
            looked.push(look_at(hub, room, submission, sound).await);
        }
    }
    let staged = lock(&room.log).staged();
    if planted!(AcknowledgesBeforeStoring) {
        looked.drain(..).for_each(|looked| answer(room, looked, None));
    }
    if planted!(ForwardsBeforeStoring) {
        lock(&room.log).commit();
        room.wake_all();
    }
    let outcome = if staged.is_empty() {
        Ok(())
    } else {
        hub.storage.append(vec![(room.doc.clone(), staged)]).await
    };
    let refusal = match outcome {
        Ok(()) => {
            lock(&room.log).commit();
            None
        }
        Err(AppendError::QuotaExceeded) if planted!(TakesAFullDiskForWritten) => {
            lock(&room.log).commit();
            None
        }
        Err(AppendError::Broken { .. }) => {
            // Nobody may be told anything about these blocks: they are in doubt.
            lock(&room.log).unstage();
            return hub.fail(DISK_FAILED.to_owned());
        }
        Err(error) => {
            lock(&room.log).unstage();
            Some(refusal_for(hub, room, &error).await)
        }
    };
    for looked in looked {
        answer(room, looked, refusal);
    }
    room.wake_all();
    pack(hub, room).await;
}

/// Packs what is no longer news, from time to time on disk too.
async fn pack<S: Store>(hub: &Hub<S>, room: &Room) {
    let next = || lock(&room.log).next_batch(hub.pack_blocks);
    while let Some(blocks) = next() {
        let pack = Pack::of(blocks);
        lock(&room.log).put(pack);
    }
    let due = lock(&room.log).due_snapshot(hub.pack_blocks);
    let Some(snapshot) = due else { return };
    match hub.storage.compact(&room.doc, snapshot).await {
        Ok(()) => {}
        Err(CompactError::Broken { .. }) => hub.fail(DISK_FAILED.to_owned()),
        // Another process packed what this one has not read.
        Err(CompactError::Stale { .. }) => drop(load(hub, room).await),
        // The blocks are there as they came. The next snapshot has them, too.
        Err(error) => tracing::warn!(doc = %room.doc, %error, "cannot pack a document"),
    }
}

async fn refusal_for<S: Store>(hub: &Hub<S>, room: &Room, error: &AppendError) -> (NackCode, u32) {
    match error {
        AppendError::QuotaExceeded => {
            tracing::warn!(doc = %room.doc, "no space left for changes");
            (NackCode::Quota, QUOTA_RETRY_MS)
        }
        AppendError::DuplicatePeer { .. } => {
            // Another process wrote as this peer. Once that is read, the next try is told so.
            load(hub, room).await;
            (NackCode::Unavailable, RELOADED_RETRY_MS)
        }
        other => {
            tracing::error!(doc = %room.doc, error = %other, "cannot store changes");
            (NackCode::Unavailable, UNAVAILABLE_RETRY_MS)
        }
    }
}

/// Tells a connection what became of its blocks.
fn answer(room: &Room, looked: Looked, refusal: Option<(NackCode, u32)>) {
    let Looked { submission, mut rejected, known, staged } = looked;
    let mut durable = VersionVector::new();
    let stayed = |block: &Block| lock(&room.log).check(block, 0) == Check::Known;
    let known = known.into_iter().map(|block| (refusal.is_none() || stayed(&block), block));
    let staged = staged.into_iter().map(|block| (refusal.is_none(), block));
    for (is_stored, block) in known.chain(staged).collect::<Vec<_>>() {
        let (peer, seq) = (block.peer(), block.seq());
        match refusal {
            Some((code, retry_after_ms)) if !is_stored => {
                rejected.push(Rejection { peer, seq, code, retry_after_ms });
            }
            _ => durable.extend(peer, block.end()),
        }
    }
    let bytes = submission.bytes();
    let (ch, blocks) = (submission.ch, submission.blocks.len());
    let settled = Reply::Settled { ch, durable, rejected, blocks, bytes };
    // A connection that is gone asks again when it returns.
    let _ = submission.reply.send(settled);
}

/// Decides about each block of a submission and stages the good ones. `sound` says of which the
/// body decodes.
async fn look_at<S: Store>(
    hub: &Hub<S>,
    room: &Room,
    submission: Submission,
    sound: Vec<bool>,
) -> Looked {
    let mut looked =
        Looked { rejected: Vec::new(), known: Vec::new(), staged: Vec::new(), submission };
    for (block, sound) in looked.submission.blocks.iter().zip(sound) {
        let now_ms = hub.env.wall_ms();
        let mut check = lock(&room.log).check(block, now_ms);
        if check == Check::New && !sound {
            check = Check::Refused(NackCode::Invalid, 0);
        }
        if check == Check::New
            && let Some(principal) = looked.submission.granted.principal()
        {
            check = match hub.bind(block.peer(), principal).await {
                Ok(true) => Check::New,
                Ok(false) => Check::Refused(NackCode::DuplicatePeer, 0),
                Err(error) => {
                    tracing::error!(%error, "cannot look up who a peer belongs to");
                    if matches!(error, IdentityError::Write(AppendError::Broken { .. })) {
                        hub.fail(DISK_FAILED.to_owned());
                    }
                    Check::Refused(NackCode::Unavailable, UNAVAILABLE_RETRY_MS)
                }
            };
        }
        match check {
            Check::Known => looked.known.push(block.clone()),
            Check::New => {
                lock(&room.log).stage(block.clone());
                looked.staged.push(block.clone());
            }
            Check::Refused(code, retry_after_ms) => {
                let (peer, seq) = (block.peer(), block.seq());
                looked.rejected.push(Rejection { peer, seq, code, retry_after_ms });
            }
        }
    }
    looked
}

/// Whether each body decodes.
async fn validate<S: Store>(hub: &Hub<S>, blocks: &[Block]) -> Vec<bool> {
    let check = |blocks: &[Block]| blocks.iter().map(|block| block.validate().is_ok()).collect();
    let bytes: usize = blocks.iter().map(|block| block.bytes().len()).sum();
    if bytes <= VALIDATE_INLINE_BYTES {
        return check(blocks);
    }
    let count = blocks.len();
    let blocks = blocks.to_vec();
    // Others' blocks, and other documents, go on meanwhile.
    let checked = hub.aside(move || check(&blocks)).await;
    // A panic in the decoder is a bug of ours; the blocks that cause it are refused.
    checked.unwrap_or_else(|| vec![false; count])
}
