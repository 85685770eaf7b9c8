//! All open documents of a server, what they share, and what runs in the background.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use leptos_sync_crdt::{DecodeError, DocId, PeerId};
use leptos_sync_storage::{AppendError, MemoryStorage, ReadError, SqliteStorage, Storage};
use tokio::sync::{Semaphore, watch};

use crate::auth::Authenticator;
use crate::env::Env;
use crate::grants::{self, Grants};
use crate::log::DocLog;
use crate::room::{self, Job, Room, lock};

/// How often the store is asked whether another process wrote, and stale presence is dropped.
const POLL: Duration = Duration::from_millis(500);

/// How many blocks make a pack, unless the server was told otherwise.
pub(crate) const PACK_BLOCKS: usize = 1_024;

/// What is larger on disk is read away from the threads that serve sockets.
const READ_INLINE_BYTES: usize = 8 << 10;
const READ_INLINE_BLOCKS: usize = 2_048;

/// Of how many author ids it is remembered whose they are; the store knows it of all.
const OWNERS_MAX: usize = 1 << 16;

/// A store that a server can run on.
pub trait Store: Storage {
    /// The documents to which somebody else may have written since the last call.
    ///
    /// # Errors
    /// [`ReadError`]; the next call lists them.
    fn external_changes(&self) -> impl Future<Output = Result<Vec<DocId>, ReadError>> + Send {
        async { Ok(Vec::new()) }
    }

    /// Finishes what is queued and lets go of the store.
    fn close(&self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

impl Store for MemoryStorage {}

impl Store for SqliteStorage {
    fn external_changes(&self) -> impl Future<Output = Result<Vec<DocId>, ReadError>> + Send {
        Self::external_changes(self)
    }

    fn close(&self) -> impl Future<Output = ()> + Send {
        Self::close(self)
    }
}

/// Why a document could not be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("failed to read the store")]
    Read(#[from] ReadError),
    #[error("the stored snapshot is corrupt")]
    Snapshot(#[from] DecodeError),
    #[error("reading what is stored panicked")]
    Panicked,
}

/// Why the identity of a server could not be established.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The store could not be read.
    #[error("failed to read the server's identity")]
    Read(#[from] ReadError),
    /// The store could not be written.
    #[error("failed to write the server's identity")]
    Write(#[from] AppendError),
    /// The system has no randomness to give.
    #[error("the system gives no random numbers")]
    Random,
}

/// A room and how many subscribers were let in and have not left.
struct Joined {
    room: Arc<Room>,
    users: usize,
}

/// All open documents.
pub(crate) struct Hub<S> {
    pub(crate) storage: S,
    pub(crate) env: Arc<dyn Env>,
    pub(crate) server_id: u64,
    pub(crate) epoch: u64,
    pub(crate) grants: Grants,
    rooms: Mutex<BTreeMap<DocId, Joined>>,
    /// To whom an author id belongs, as far as it was looked up.
    owners: tokio::sync::Mutex<HashMap<PeerId, String>>,
    /// Whether clients bring back what was lost, whoever wrote it.
    recovering: bool,
    /// How many blocks make a pack.
    pub(crate) pack_blocks: usize,
    next_feed: AtomicU32,
    next_session: AtomicU64,
    connections: AtomicUsize,
    #[cfg(feature = "testkit")]
    pub(crate) high_water: crate::queues::HighWater,
    /// Who may do what takes long now.
    validators: Semaphore,
    stopping: watch::Sender<bool>,
    failed: watch::Sender<Option<String>>,
}

impl<S: Store> Hub<S> {
    /// Reads or makes the server's identity and starts the background work.
    pub(crate) async fn start(
        storage: S,
        env: Arc<dyn Env>,
        auth: Arc<dyn Authenticator>,
        recovering: bool,
        pack_blocks: usize,
    ) -> Result<Arc<Self>, IdentityError> {
        let server_id = identity(&storage, &*env, "server/id").await?;
        if recovering {
            storage.remove_meta("server/epoch").await?;
        }
        let epoch = identity(&storage, &*env, "server/epoch").await?;
        let first_session = env.random_u64().ok_or(IdentityError::Random)? >> 1;
        let hub = Arc::new(Self {
            storage,
            env,
            server_id,
            epoch,
            grants: Grants::new(auth),
            rooms: Mutex::default(),
            owners: tokio::sync::Mutex::default(),
            recovering,
            pack_blocks,
            next_feed: AtomicU32::new(0),
            next_session: AtomicU64::new(first_session),
            connections: AtomicUsize::new(0),
            #[cfg(feature = "testkit")]
            high_water: crate::queues::HighWater::default(),
            validators: Semaphore::new(validators_max()),
            stopping: watch::Sender::new(false),
            failed: watch::Sender::new(None),
        });
        hub.env.spawn(poll(Arc::downgrade(&hub)).boxed());
        hub.env.spawn(grants::watch(Arc::downgrade(&hub)).boxed());
        Ok(hub)
    }

    /// Lets a subscriber into a document's room. It must send [`Job::Leave`] in the end.
    pub(crate) fn join(self: &Arc<Self>, doc: &DocId) -> Arc<Room> {
        let mut rooms = lock(&self.rooms);
        let joined = rooms.entry(doc.clone()).or_insert_with(|| {
            let feed = self.next_feed.fetch_add(1, Ordering::Relaxed);
            let (room, queue) = Room::new(doc.clone(), feed);
            self.env.spawn(room::run(self.clone(), room.clone(), queue).boxed());
            Joined { room, users: 0 }
        });
        joined.users += 1;
        joined.room.clone()
    }

    /// A subscriber has left. Returns whether it was the last; the room is closed then.
    pub(crate) fn left(&self, room: &Room) -> bool {
        let mut rooms = lock(&self.rooms);
        let Some(joined) = rooms.get_mut(&room.doc) else { return true };
        joined.users -= 1;
        let empty = joined.users == 0;
        if empty {
            rooms.remove(&room.doc);
        }
        empty
    }

    /// Has the next subscriber get another room, which reads the store.
    pub(crate) fn forget(&self, room: &Room) {
        lock(&self.rooms).remove(&room.doc);
    }

    fn room(&self, doc: &DocId) -> Option<Arc<Room>> {
        lock(&self.rooms).get(doc).map(|joined| joined.room.clone())
    }

    fn all_rooms(&self) -> Vec<Arc<Room>> {
        lock(&self.rooms).values().map(|joined| joined.room.clone()).collect()
    }

    /// What is stored of a document.
    pub(crate) async fn load(&self, doc: &DocId) -> Result<DocLog, LoadError> {
        let stored = self.storage.load(doc).await?;
        let batch = self.pack_blocks;
        let snapshot = stored.snapshot.as_ref().map_or(0, |snapshot| snapshot.bytes.len());
        if snapshot <= READ_INLINE_BYTES && stored.blocks.len() <= READ_INLINE_BLOCKS {
            return Ok(DocLog::from_stored(stored, batch)?);
        }
        let read = move || DocLog::from_stored(stored, batch);
        Ok(self.aside(read).await.ok_or(LoadError::Panicked)??)
    }

    /// Does what takes long away from the threads that serve sockets; `None` if it panics.
    pub(crate) async fn aside<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Option<R> {
        // One processor is left to the others. The semaphore is never closed.
        let _turn = self.validators.acquire().await;
        let (done, result) = tokio::sync::oneshot::channel();
        // Whoever does not wait for it any more does not need it.
        self.env.aside(Box::new(move || drop(done.send(work()))));
        result.await.ok()
    }

    /// Whether `peer` belongs to `principal`. The first to use a peer id owns it, unless everybody
    /// brings back what others wrote.
    pub(crate) async fn bind(&self, peer: PeerId, principal: &str) -> Result<bool, IdentityError> {
        if self.recovering {
            return Ok(true);
        }
        let mut owners = self.owners.lock().await;
        if let Some(owner) = owners.get(&peer) {
            return Ok(owner == principal);
        }
        let key = format!("peer/{peer}");
        let owner = match self.storage.get_meta(&key).await? {
            Some(owner) => String::from_utf8_lossy(&owner).into_owned(),
            None => {
                self.storage.put_meta(&key, principal.as_bytes()).await?;
                principal.to_owned()
            }
        };
        let same = owner == principal;
        if owners.len() >= OWNERS_MAX {
            owners.clear();
        }
        owners.insert(peer, owner);
        Ok(same)
    }

    /// A number for a new connection.
    pub(crate) fn next_session(&self) -> u64 {
        self.next_session.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts a connection until the guard is dropped.
    pub(crate) fn count(self: &Arc<Self>) -> Counted<S> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Counted(self.clone())
    }

    /// How many connections there are.
    pub(crate) fn connection_count(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Resolves when the server is to stop.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// Stops for good, without another word to anybody about what is in doubt.
    pub(crate) fn fail(&self, reason: String) {
        tracing::error!(reason, "the server stops");
        self.failed.send_replace(Some(reason));
        self.stopping.send_replace(true);
    }

    /// Resolves with the reason when the server had to stop by itself.
    pub(crate) async fn failure(&self) -> String {
        let mut failed = self.failed.subscribe();
        match failed.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            // The sender lives as long as the hub.
            Err(_) => String::new(),
        }
    }

    /// Asks every connection to end, and waits for them and their writes.
    pub(crate) async fn stop(&self, patience: Duration) {
        self.stopping.send_replace(true);
        let idle = async {
            while self.connection_count() > 0 || !lock(&self.rooms).is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(patience, idle).await.is_err() {
            tracing::warn!("some connections did not end in time");
        }
        self.storage.close().await;
    }
}

/// How many threads may validate large blocks at once: one processor is left to the others.
fn validators_max() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    processors.saturating_sub(1).max(1)
}

/// One connection, counted.
pub(crate) struct Counted<S: Store>(Arc<Hub<S>>);

impl<S: Store> Drop for Counted<S> {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A number that is drawn if the store has none.
async fn identity<S: Storage>(storage: &S, env: &dyn Env, key: &str) -> Result<u64, IdentityError> {
    if let Some(bytes) = storage.get_meta(key).await?
        && let Ok(bytes) = <[u8; 8]>::try_from(bytes.as_slice())
    {
        return Ok(u64::from_le_bytes(bytes));
    }
    let value = env.random_u64().ok_or(IdentityError::Random)?;
    storage.put_meta(key, &value.to_le_bytes()).await?;
    Ok(value)
}

async fn poll<S: Store>(hub: std::sync::Weak<Hub<S>>) {
    let mut ticks = tokio::time::interval(POLL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(hub) = hub.upgrade() else { return };
        if *hub.stopping.borrow() {
            return;
        }
        for room in hub.all_rooms() {
            room.expire_presence();
        }
        match hub.storage.external_changes().await {
            Ok(docs) => {
                for room in docs.iter().filter_map(|doc| hub.room(doc)) {
                    // A room that has just closed reads the store when it opens again.
                    let _ = room.jobs.send(Job::Reload);
                }
            }
            Err(error) => tracing::warn!(%error, "cannot look for others' changes"),
        }
    }
}
