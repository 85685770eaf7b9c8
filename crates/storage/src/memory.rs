//! A store in memory, for tests, for servers without a disk and for browsers without storage.
//!
//! It can be told to fail or to stall, so that what stands on it can be tested against that.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use leptos_sync_crdt::{Block, DocId, OpId, PeerId, VersionVector};

use crate::error::{AppendError, CompactError, Failure, Fault, ReadError};
use crate::merge::{Log, assemble, covers, is_moved};
use crate::storage::{Snapshot, Storage, StoredDoc};

/// Keeps everything in memory. Clones share one store, and so does [`MemoryStorage::reopen`].
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage {
    state: Arc<Mutex<State>>,
    closed: Arc<AtomicBool>,
    /// Of how many losses somebody was told.
    told: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct State {
    docs: BTreeMap<DocId, Entry>,
    meta: BTreeMap<String, Vec<u8>>,
    read_fault: Option<Fault>,
    write_fault: Option<Fault>,
    stalled: bool,
    waiting: Vec<Waker>,
    /// How often it was taken away.
    losses: u64,
    watching: Vec<Waker>,
}

#[derive(Debug, Default)]
struct Entry {
    snapshot: Option<Snapshot>,
    log: Log,
}

impl Entry {
    fn covers(&self, block: &Block) -> bool {
        self.snapshot.as_ref().is_some_and(|s| block.end() <= s.version.get(block.peer()))
    }

    fn version(&self) -> VersionVector {
        let snapshot = self.snapshot.as_ref().map(|snapshot| snapshot.version.clone());
        let mut version = snapshot.unwrap_or_default();
        self.log.iter().for_each(|block| version.extend(block.peer(), block.end()));
        version
    }
}

impl MemoryStorage {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Closes this handle and its clones: every later call fails with `Closed`.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// A fresh, open handle to the same data, as after a restart.
    #[must_use]
    pub fn reopen(&self) -> Self {
        let told = Arc::new(AtomicU64::new(self.lock().losses));
        Self { state: self.state.clone(), closed: Arc::default(), told }
    }

    /// Makes every write fail from now on, or work again with `None`.
    pub fn fail_writes(&self, fault: Option<Fault>) {
        self.lock().write_fault = fault;
    }

    /// Makes every read fail from now on, or work again with `None`.
    pub fn fail_reads(&self, fault: Option<Fault>) {
        self.lock().read_fault = fault;
    }

    /// While stalled, writes wait before they take effect, as on a busy disk.
    pub fn stall_writes(&self, stalled: bool) {
        let mut state = self.lock();
        state.stalled = stalled;
        if !stalled {
            state.waiting.drain(..).for_each(Waker::wake);
        }
    }

    /// Whether a write waits that came while they are stalled.
    #[must_use]
    pub fn is_write_waiting(&self) -> bool {
        !self.lock().waiting.is_empty()
    }

    /// Takes the store away for a moment, as a platform may, with all that is in it or without:
    /// [`Storage::lost`] resolves once in each handle.
    pub fn take_away(&self, erases: bool) {
        let mut state = self.lock();
        if erases {
            state.docs.clear();
            state.meta.clear();
        }
        state.losses += 1;
        state.watching.drain(..).for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change of the state is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_open(&self) -> Result<(), Failure> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Fault::Closed.into());
        }
        Ok(())
    }

    fn read<R>(&self, read: impl FnOnce(&State) -> R) -> Result<R, ReadError> {
        self.check_open()?;
        let state = self.lock();
        match state.read_fault {
            Some(fault) => Err(Failure::from(fault).into()),
            None => Ok(read(&state)),
        }
    }

    /// Waits until writes are not stalled, then changes the state.
    async fn write<R, E: From<Failure>>(
        &self,
        write: impl FnOnce(&mut State) -> Result<R, E>,
    ) -> Result<R, E> {
        poll_fn(|context| {
            let mut state = self.lock();
            if !state.stalled {
                return Poll::Ready(());
            }
            state.waiting.push(context.waker().clone());
            Poll::Pending
        })
        .await;
        self.check_open()?;
        let mut state = self.lock();
        match state.write_fault {
            Some(fault) => Err(Failure::from(fault).into()),
            None => write(&mut state),
        }
    }
}

impl State {
    fn append(&mut self, batch: Vec<(DocId, Vec<Block>)>) -> Result<(), AppendError> {
        let mut added: Vec<(DocId, PeerId, u32)> = Vec::new();
        for (doc, blocks) in batch {
            for block in blocks {
                let entry = self.docs.entry(doc.clone()).or_default();
                if entry.covers(&block) {
                    continue;
                }
                match entry.log.is_new(&block) {
                    Ok(false) => {}
                    Ok(true) => {
                        added.push((doc.clone(), block.peer(), block.seq()));
                        entry.log.add(block);
                    }
                    Err(conflict) => {
                        self.undo(&added);
                        let (peer, seq) = (conflict.peer, conflict.seq);
                        return Err(AppendError::DuplicatePeer { doc, peer, seq });
                    }
                }
            }
        }
        self.drop_empty();
        Ok(())
    }

    fn undo(&mut self, added: &[(DocId, PeerId, u32)]) {
        for (doc, peer, seq) in added {
            if let Some(entry) = self.docs.get_mut(doc) {
                entry.log.remove(*peer, *seq);
            }
        }
        self.drop_empty();
    }

    fn drop_empty(&mut self) {
        self.docs.retain(|_, entry| entry.snapshot.is_some() || !entry.log.is_empty());
    }

    fn replace(
        &mut self,
        doc: &DocId,
        snapshot: Snapshot,
        moved: &[OpId],
    ) -> Result<(), CompactError> {
        let entry = self.docs.entry(doc.clone()).or_default();
        let stored = entry.snapshot.as_ref().map(|old| &old.version);
        if stored.is_some_and(|old| !covers(&snapshot.version, old, moved)) {
            return Err(CompactError::Stale { doc: doc.clone() });
        }
        entry.log.retain(|block| {
            let is_moved = is_moved(moved, block.peer(), block.seq());
            let is_later = block.end() > snapshot.version.get(block.peer());
            !is_moved && is_later && !crate::planted!(CompactsAwayWhatCameSince)
        });
        entry.snapshot = Some(snapshot);
        Ok(())
    }
}

impl Storage for MemoryStorage {
    async fn docs(&self) -> Result<Vec<DocId>, ReadError> {
        self.read(|state| state.docs.keys().cloned().collect())
    }

    async fn versions(&self) -> Result<Vec<(DocId, VersionVector)>, ReadError> {
        self.read(|state| {
            state.docs.iter().map(|(doc, entry)| (doc.clone(), entry.version())).collect()
        })
    }

    async fn load(&self, doc: &DocId) -> Result<StoredDoc, ReadError> {
        self.read(|state| match state.docs.get(doc) {
            Some(entry) => assemble(entry.snapshot.clone(), entry.log.iter().cloned().collect()),
            None => StoredDoc::default(),
        })
    }

    async fn append(&self, batch: Vec<(DocId, Vec<Block>)>) -> Result<(), AppendError> {
        self.write(|state| state.append(batch)).await
    }

    async fn compact(&self, doc: &DocId, snapshot: Snapshot) -> Result<(), CompactError> {
        self.write(|state| state.replace(doc, snapshot, &[])).await
    }

    async fn replace(
        &self,
        doc: &DocId,
        snapshot: Snapshot,
        moved: Vec<OpId>,
    ) -> Result<(), CompactError> {
        self.write(|state| state.replace(doc, snapshot, &moved)).await
    }

    async fn remove(&self, doc: &DocId) -> Result<(), AppendError> {
        self.write(|state| {
            state.docs.remove(doc);
            Ok(())
        })
        .await
    }

    async fn get_meta(&self, key: &str) -> Result<Option<Vec<u8>>, ReadError> {
        self.read(|state| state.meta.get(key).cloned())
    }

    async fn put_meta(&self, key: &str, value: &[u8]) -> Result<(), AppendError> {
        self.write(|state| {
            state.meta.insert(key.to_owned(), value.to_vec());
            Ok(())
        })
        .await
    }

    async fn remove_meta(&self, key: &str) -> Result<(), AppendError> {
        self.write(|state| {
            state.meta.remove(key);
            Ok(())
        })
        .await
    }

    async fn list_meta(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, ReadError> {
        self.read(|state| {
            state
                .meta
                .range(prefix.to_owned()..)
                .take_while(|(key, _)| key.starts_with(prefix))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect()
        })
    }

    async fn lost(&self) {
        poll_fn(|context| {
            let mut state = self.lock();
            if self.told.load(Ordering::Acquire) < state.losses {
                self.told.fetch_add(1, Ordering::AcqRel);
                return Poll::Ready(());
            }
            state.watching.push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
