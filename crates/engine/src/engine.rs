//! [`SyncEngine`]: carries out what `core` decides, with a platform's storage, sockets and timers.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::rc::{Rc, Weak};

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::{AbortHandle, Either, LocalBoxFuture, abortable, select};
use leptos_sync_crdt::DocId;
use leptos_sync_storage::{AppendError, ReadError, Storage};
use leptos_sync_transport::{FrameSender, TabLink, Transport};
use litemap::LiteMap;

use crate::config::EngineConfig;
use crate::core::records::{ACKED, Acked, CLOCK, KEPT, ServerLife, acked_key};
use crate::core::{Core, Loaded, Now, Output, Told};
use crate::env::Env;
use crate::erased::{AnyReceiver, AnyStorage, AnyTabs, AnyTransport};
use crate::event::{DocEvent, Subscribers, Subscription};
use crate::handle::DocHandle;
use crate::status::SyncStatus;

/// How long a store that cannot be read has to come back before it is looked at again.
const LOOK_AGAIN_MS: u64 = 5_000;

/// Keeps documents in memory, on this device and on the server in step. One per tab; clones are
/// the same engine. Documents that are open keep it running.
#[derive(Clone)]
pub struct SyncEngine {
    pub(crate) inner: Rc<Inner>,
}

/// Why a document was not removed from this device. It is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveError {
    /// The document is in use in this tab, or waits to be uploaded. Close it, wait, and retry.
    #[error("document is open")]
    Open,
    /// Storage failed.
    #[error("document cannot be removed from storage")]
    Storage(#[from] AppendError),
}

pub(crate) struct Inner {
    pub(crate) core: RefCell<Core>,
    pub(crate) env: Rc<dyn Env>,
    storage: Rc<dyn AnyStorage>,
    transport: Option<Rc<dyn AnyTransport>>,
    tabs: Box<dyn AnyTabs>,
    socket: RefCell<Option<Socket>>,
    subscribers: Rc<Subscribers<SyncStatus>>,
    doc_subscribers: RefCell<HashMap<DocId, Rc<Subscribers<DocEvent>>>>,
    /// Outputs are being carried out further up the stack.
    pumping: Cell<bool>,
    /// A task is running storage jobs.
    working: Cell<bool>,
    /// The earliest moment for which a timer is set.
    alarm: Cell<Option<u64>>,
    closed: Cell<bool>,
    /// Held while losses of the store are of interest.
    watching: RefCell<Option<oneshot::Sender<()>>>,
}

/// The attempt or connection of the moment; dropping it ends its task.
struct Socket {
    sender: Option<Rc<dyn FrameSender>>,
    task: AbortHandle,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for SyncEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncEngine").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl SyncEngine {
    /// Starts an engine: dials the server, listens to other tabs, and looks for what an earlier
    /// one left unsent.
    ///
    /// Returns at once; documents can be opened and written to before any of that is done.
    pub fn start(
        config: EngineConfig,
        storage: impl Storage,
        transport: Option<impl Transport>,
        tabs: impl TabLink,
        env: impl Env,
    ) -> Self {
        let transport = transport.map(|transport| Rc::new(transport) as Rc<dyn AnyTransport>);
        let core = Core::new(config, env.random_u64(), transport.is_some());
        let (watching, ended) = oneshot::channel();
        let inner = Rc::new(Inner {
            core: RefCell::new(core),
            env: Rc::new(env),
            storage: Rc::new(storage),
            transport,
            tabs: Box::new(tabs),
            socket: RefCell::default(),
            subscribers: Subscribers::new(),
            doc_subscribers: RefCell::default(),
            pumping: Cell::new(false),
            working: Cell::new(false),
            alarm: Cell::new(None),
            closed: Cell::new(false),
            watching: RefCell::new(Some(watching)),
        });
        let listener = Rc::downgrade(&inner);
        inner.tabs.on_message(Box::new(move |message| {
            if let Some(inner) = listener.upgrade().filter(|inner| !inner.closed.get()) {
                inner.with(|core, now| core.tab_message(now, &message));
            }
        }));
        inner.with(Core::dial);
        let unsent = find_unsent(Rc::downgrade(&inner), inner.storage.clone(), Wanted::AnyLife);
        inner.env.spawn_local(unsent.boxed_local());
        let clock = find_clock(Rc::downgrade(&inner), inner.storage.clone());
        inner.env.spawn_local(clock.boxed_local());
        let watch = watch_storage(Rc::downgrade(&inner), inner.storage.clone());
        let watch = futures::future::select(watch.boxed_local(), ended).map(drop);
        inner.env.spawn_local(watch.boxed_local());
        Self { inner }
    }

    /// Opens a document. It can be read and written at once; what is stored here is merged in a
    /// moment later, which [`DocEvent::Loaded`] tells.
    #[must_use]
    pub fn open(&self, doc: &DocId) -> DocHandle {
        let content = self.inner.with(|core, _| core.open(doc));
        DocHandle::new(self.inner.clone(), doc.clone(), content)
    }

    /// The documents stored on this device, by id.
    ///
    /// # Errors
    /// A [`ReadError`] of the store.
    pub async fn docs(&self) -> Result<Vec<DocId>, ReadError> {
        self.inner.storage.clone().docs().await
    }

    /// Removes a document from this device. The server keeps its copy.
    ///
    /// # Errors
    /// A [`RemoveError`]; the document is still there then.
    pub async fn remove(&self, doc: &DocId) -> Result<(), RemoveError> {
        if self.inner.core.borrow().is_open(doc) {
            return Err(RemoveError::Open);
        }
        let storage = &self.inner.storage;
        storage.clone().remove_meta(acked_key(doc)).await?;
        Ok(storage.clone().remove(doc.clone()).await?)
    }

    /// Where this device stands with server and storage.
    #[must_use]
    pub fn status(&self) -> SyncStatus {
        self.inner.core.borrow().status()
    }

    /// Calls back whenever [`SyncEngine::status`] has a new answer.
    pub fn subscribe(&self, callback: impl FnMut(&SyncStatus) + 'static) -> Subscription {
        self.inner.subscribers.add(callback)
    }

    /// Looks again now: at the server, and at what other tabs have stored. For a page that was
    /// hidden or frozen.
    pub fn nudge(&self) {
        self.inner.with(Core::nudge);
    }

    /// Says whether there is a network. Without one no connection is tried.
    pub fn set_online(&self, online: bool) {
        self.inner.with(|core, now| core.set_online(now, online));
    }

    /// The page is being left, maybe to come back: takes leave of the others, and ends the
    /// connection until [`SyncEngine::nudge`]. Changes that wait for storage are still written.
    pub fn leave(&self) {
        self.inner.with(Core::leave);
    }

    /// Ends the connection for good. Changes that wait for storage are still written.
    pub fn shutdown(&self) {
        self.inner.with(Core::shut_down);
        self.inner.closed.set(true);
        self.inner.watching.borrow_mut().take();
    }
}

/// Reads how wrong an earlier start found the clock. Where that cannot be read, the device's counts
/// until the server says what the time is.
async fn find_clock(engine: Weak<Inner>, storage: Rc<dyn AnyStorage>) {
    let noted = storage.get_meta(CLOCK.to_owned()).await.unwrap_or_else(|error| {
        tracing::debug!(%error, "how wrong the clock was is not known");
        None
    });
    if let (Some(noted), Some(inner)) = (noted, engine.upgrade()) {
        inner.with(|core, _| core.clock_found(&noted));
    }
}

/// Looks, each time that the platform took the store away, whether what was in it is still there.
async fn watch_storage(engine: Weak<Inner>, storage: Rc<dyn AnyStorage>) {
    let mark = Box::pin(mark_kept(&engine, &storage));
    // A mark that is made after a loss says nothing of what was there before.
    let mut is_lost = match select(storage.clone().lost(), mark).await {
        Either::Left(_) => true,
        Either::Right((mark, _)) => {
            let Some(inner) = engine.upgrade() else { return };
            inner.with(|core, _| core.storage_marked(mark));
            false
        }
    };
    loop {
        while !std::mem::take(&mut is_lost) {
            let lost = storage.clone().lost();
            let Some(inner) = engine.upgrade() else { return };
            if inner.core.borrow().storage_mark().is_some() {
                drop(inner);
                lost.await;
                break;
            }
            if inner.closed.get() {
                return;
            }
            // What is being cleared may not answer: the next loss is to be told by a mark again.
            let sleep = inner.env.sleep(LOOK_AGAIN_MS);
            drop(inner);
            match select(lost, sleep).await {
                Either::Left(_) => break,
                Either::Right(_) => {
                    let mark = mark_kept(&engine, &storage).await;
                    let Some(inner) = engine.upgrade() else { return };
                    inner.with(|core, _| core.storage_marked(mark));
                }
            }
        }
        let Some(inner) = engine.upgrade() else { return };
        inner.with(|core, _| core.doubt_storage());
        drop(inner);
        let mark = mark_kept(&engine, &storage).await;
        let Some(inner) = engine.upgrade() else { return };
        inner.with(|core, now| core.storage_looked_at(now, mark));
    }
}

/// Reads the mark of what is stored, and makes one where there is none. `None` if that cannot be
/// done now, or the engine ended.
async fn mark_kept(engine: &Weak<Inner>, storage: &Rc<dyn AnyStorage>) -> Option<u64> {
    if let Some(mark) = read_mark(storage).await? {
        return Some(mark);
    }
    let fresh = engine.upgrade()?.env.random_u64().to_le_bytes().to_vec();
    if let Err(error) = storage.clone().put_meta(KEPT.to_owned(), fresh).await {
        tracing::warn!(%error, "the mark of what is stored was not stored");
        return None;
    }
    // Another tab may have made one at the same moment.
    read_mark(storage).await?
}

async fn read_mark(storage: &Rc<dyn AnyStorage>) -> Option<Option<u64>> {
    match storage.clone().get_meta(KEPT.to_owned()).await {
        Ok(found) => Some(found.and_then(|mark| mark.try_into().ok()).map(u64::from_le_bytes)),
        Err(error) => {
            tracing::warn!(%error, "what is left in storage is not known");
            None
        }
    }
}

/// What storage answers as soon as it works, or `None` if the engine ended before that.
async fn read_at_last<T>(
    engine: &Weak<Inner>,
    read: impl Fn() -> LocalBoxFuture<'static, Result<T, ReadError>>,
) -> Option<T> {
    loop {
        match read().await {
            Ok(found) => return Some(found),
            Err(error) => tracing::warn!(%error, "storage cannot be read yet"),
        }
        let inner = engine.upgrade().filter(|inner| !inner.closed.get())?;
        let sleep = inner.env.sleep(LOOK_AGAIN_MS);
        drop(inner);
        sleep.await;
    }
}

impl Inner {
    pub(crate) fn now(&self) -> Now {
        Now { ms: self.env.now_ms(), wall_ms: self.env.wall_ms() }
    }

    /// Tells the core a fact, then carries out what follows from it.
    pub(crate) fn with<R>(self: &Rc<Self>, tell: impl FnOnce(&mut Core, Now) -> R) -> R {
        #[cfg(target_family = "wasm")]
        crate::web::refuse_if_poisoned();
        let now = self.now();
        let answer = tell(&mut self.core.borrow_mut(), now);
        self.pump();
        answer
    }

    /// Carries out outputs until there are none. A subscriber that edits a document adds to the
    /// queue, so that everyone sees all changes in one order.
    fn pump(self: &Rc<Self>) {
        if self.pumping.replace(true) {
            return;
        }
        loop {
            let output = self.core.borrow_mut().poll_output();
            let Some(output) = output else { break };
            self.carry_out(output);
        }
        self.pumping.set(false);
        self.set_alarm();
    }

    fn carry_out(self: &Rc<Self>, output: Output) {
        match output {
            Output::Load(doc) => self.env.spawn_local(load(self.clone(), doc).boxed_local()),
            Output::Reread(docs, told) => {
                self.env.spawn_local(reread(self.clone(), docs, told).boxed_local());
            }
            Output::Dial { generation } => self.dial(generation),
            Output::Send(frame) => {
                let socket = self.socket.borrow();
                let sender = socket.as_ref().and_then(|socket| socket.sender.as_ref());
                // A closed socket is reported by its receiver, which ends the session.
                if let Some(Err(error)) = sender.map(|sender| sender.send(frame)) {
                    tracing::debug!(%error, "frame was not sent");
                }
            }
            Output::Hangup { code, reason } => {
                let socket = self.socket.borrow_mut().take();
                if let Some(sender) = socket.as_ref().and_then(|socket| socket.sender.as_ref()) {
                    sender.close(code, &reason);
                }
            }
            Output::Post(message) => {
                // Other tabs find the change in storage when they look again.
                if let Err(error) = self.tabs.post(&message) {
                    tracing::debug!(%error, "other tabs were not told");
                }
            }
            Output::Work => self.work(),
            Output::Event(doc, event) => {
                let subscribers = self.doc_subscribers.borrow().get(&doc).cloned();
                if let Some(subscribers) = subscribers {
                    subscribers.emit(&event);
                }
            }
            Output::Status(status) => self.subscribers.emit(&status),
            Output::KeepStorage => self.env.keep_storage(),
            Output::FindUnsent(life) => {
                let wanted = life.map_or(Wanted::NoLife, Wanted::Life);
                let task = find_unsent(Rc::downgrade(self), self.storage.clone(), wanted);
                self.env.spawn_local(task.boxed_local());
            }
        }
    }

    pub(crate) fn subscribe_doc(
        &self,
        doc: &DocId,
        callback: impl FnMut(&DocEvent) + 'static,
    ) -> Subscription {
        let mut all = self.doc_subscribers.borrow_mut();
        all.entry(doc.clone()).or_insert_with(Subscribers::new).add(callback)
    }

    /// Runs storage jobs until none is due. The first one starts in a task of its own, so that
    /// everything written in one turn of the event loop is stored together.
    fn work(self: &Rc<Self>) {
        if self.working.replace(true) {
            return;
        }
        let inner = self.clone();
        let task = async move {
            loop {
                let now = inner.now();
                let job = inner.core.borrow_mut().next_job(now);
                let Some(job) = job else { break };
                let result = inner.storage.clone().run(job).await;
                inner.with(|core, now| core.job_finished(now, result));
            }
            inner.working.set(false);
            inner.set_alarm();
        };
        self.env.spawn_local(task.boxed_local());
    }

    fn dial(self: &Rc<Self>, generation: u64) {
        let Some(transport) = self.transport.clone() else { return };
        let (task, abort) = abortable(connect(Rc::downgrade(self), transport, generation));
        *self.socket.borrow_mut() = Some(Socket { sender: None, task: abort });
        self.env.spawn_local(task.map(drop).boxed_local());
    }

    /// Sees to it that `tick` is called when it is due.
    fn set_alarm(self: &Rc<Self>) {
        let Some(due) = self.core.borrow().deadline() else { return };
        if self.alarm.get().is_some_and(|set| set <= due) {
            return;
        }
        self.alarm.set(Some(due));
        let sleep = self.env.sleep(due.saturating_sub(self.env.now_ms()));
        let inner = Rc::downgrade(self);
        let task = async move {
            sleep.await;
            let Some(inner) = inner.upgrade() else { return };
            // An alarm for an earlier moment was set since, and has taken over.
            if inner.alarm.get() == Some(due) {
                inner.alarm.set(None);
                inner.with(Core::tick);
            }
        };
        self.env.spawn_local(task.boxed_local());
    }
}

async fn load(inner: Rc<Inner>, doc: DocId) {
    let storage = &inner.storage;
    let found = async {
        let stored = storage.clone().load(doc.clone()).await?;
        let acked = storage.clone().get_meta(acked_key(&doc)).await?;
        Ok(Loaded { stored, acked })
    };
    let found = found.await;
    inner.with(|core, now| core.load_finished(now, &doc, found));
}

/// Whose acknowledgements count when unsent documents are looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    AnyLife,
    Life(ServerLife),
    NoLife,
}

/// Documents of which more is stored than was acknowledged are uploaded, whether or not anybody
/// opens them: what a tab stored that is gone since, and what a restored or other server lacks.
async fn find_unsent(engine: Weak<Inner>, storage: Rc<dyn AnyStorage>, wanted: Wanted) {
    let acked = read_at_last(&engine, || storage.clone().list_meta(ACKED)).await;
    let Some(acked) = acked else { return };
    let acked: LiteMap<String, Vec<u8>> = acked.into_iter().collect();
    // After the acknowledgements: what is stored since they were read counts as unsent.
    let stored = read_at_last(&engine, || storage.clone().versions()).await;
    let Some(stored) = stored else { return };
    let mut unsent = Vec::new();
    for (id, version) in stored {
        let key = acked_key(&id);
        let known = acked.get(&key).and_then(|bytes| Acked::decode(bytes).ok());
        let counts = known.as_ref().filter(|known| match wanted {
            Wanted::AnyLife => true,
            Wanted::Life(wanted) => known.life == wanted,
            Wanted::NoLife => false,
        });
        if counts.is_some_and(|known| known.acked.covers(&version)) {
            continue;
        }
        if let Some(known) = known.filter(|_| wanted == Wanted::NoLife) {
            // What was acknowledged is forgotten here too, or the document would count as saved.
            let forgotten = known.forgotten().encode();
            let Ok(()) = storage.clone().put_meta(key, forgotten).await else { continue };
        }
        unsent.push(id);
    }
    let Some(inner) = engine.upgrade() else { return };
    inner.with(|core, _| core.unsent_found(unsent));
}

/// Reads documents again, and merges what was found all at once.
async fn reread(inner: Rc<Inner>, docs: Vec<DocId>, told: Told) {
    let (mut found, losses) = (Vec::new(), inner.core.borrow().losses());
    for doc in docs {
        match inner.storage.clone().load(doc.clone()).await {
            Ok(stored) => found.push((doc, stored)),
            Err(error) => tracing::debug!(%doc, %error, "stored document was not read again"),
        }
    }
    inner.with(|core, now| core.reread_finished(now, found, told, losses));
}

async fn connect(inner: Weak<Inner>, transport: Rc<dyn AnyTransport>, generation: u64) {
    let connection = transport.connect().await;
    let Some(engine) = inner.upgrade() else { return };
    let mut receiver: Box<dyn AnyReceiver> = match connection {
        Ok((sender, receiver)) => {
            // In place before the core speaks: its first frame goes out from within `connected`.
            if let Some(socket) = &mut *engine.socket.borrow_mut() {
                socket.sender = Some(sender);
            }
            if !engine.with(|core, now| core.connected(now, generation)) {
                return;
            }
            receiver
        }
        Err(error) => {
            return engine.with(|core, now| core.connect_failed(now, generation, &error));
        }
    };
    drop(engine);
    loop {
        let received = receiver.recv().await;
        let Some(engine) = inner.upgrade() else { return };
        match received {
            Ok(frame) => {
                if !engine.with(|core, now| core.frame(now, generation, frame)) {
                    return;
                }
            }
            Err(closed) => {
                return engine.with(|core, now| core.disconnected(now, generation, &closed));
            }
        }
    }
}
