//! A disk under fault control, and the store that clients and server keep on it.
//!
//! What is written is a journal of records, each with its length and a checksum. A write appends
//! its record, then waits for the fsync, and only then answers and becomes visible. A power loss
//! keeps what was synced and any part of the rest; recovery drops a torn tail by its checksum.
//! What the records mean is decided by the production [`MemoryStorage`].

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use leptos_sync_crdt::{Block, DocId, OpId, VersionVector};
use leptos_sync_server::Store;
use leptos_sync_storage::{
    AppendError, CompactError, Fault, MemoryStorage, ReadError, Snapshot, Storage, StoredDoc,
};

use crate::evictions::{Evictions, Witness};
use crate::journal::{Record, encode_record, read_record};
use crate::ledger::SKETCH;
use crate::planted::{Bug, is_planted, planted};
use crate::rng::Rng;
use crate::strikes::{Owner, Strike, Strikes};
use crate::tasks::lock;

/// What a panic says that is part of the plan.
pub(crate) const PLANNED: &str = "the document's task panics as planned";

/// How long a page may go on before it is told that what was stored is gone.
const EVICTION_TOLD_MS_MAX: u64 = 2_000;

/// What kind of thing is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writing {
    Blocks,
    Snapshot,
    Note,
}

impl Record {
    fn kind(&self) -> Writing {
        match self {
            Self::Append(_) | Self::Remove(_) => Writing::Blocks,
            Self::Replace(..) => Writing::Snapshot,
            Self::PutMeta(..) | Self::RemoveMeta(_) => Writing::Note,
        }
    }
}

/// Why a write did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Fault(Fault),
    /// The records that are there do not allow it; the error is asked for again.
    Conflict,
}

/// The platters of one machine, and what its operating system still holds in memory.
#[derive(Clone)]
pub(crate) struct Disk {
    state: Arc<Mutex<DiskState>>,
    /// One write at a time, in the order in which they came.
    turn: Arc<tokio::sync::Mutex<()>>,
    stall: Arc<tokio::sync::watch::Sender<bool>>,
    evictions: Evictions,
}

struct DiskState {
    journal: Vec<u8>,
    /// How much of the journal is on the platters.
    synced: usize,
    /// What the journal means.
    content: MemoryStorage,
    /// Counts power losses and restores: what was under way before belongs to another life.
    boot: u64,
    write_fault: Option<Fault>,
    read_fault: Option<Fault>,
    /// The next fsync fails, which leaves its write in doubt.
    fsync_fails: bool,
    /// Whoever next reads or appends to a document panics.
    panics: bool,
    syncs: u64,
    strikes: Strikes,
    rng: Rng,
}

/// One process's handle to a [`Disk`].
#[derive(Clone)]
pub(crate) struct DiskStorage {
    disk: Disk,
    boot: u64,
    broken: Arc<AtomicBool>,
    closed: Arc<AtomicBool>,
    witness: Witness,
}

impl Disk {
    pub(crate) fn new(owner: Owner, rng: Rng) -> Self {
        let state = DiskState {
            journal: Vec::new(),
            synced: 0,
            content: MemoryStorage::new(),
            boot: 0,
            write_fault: None,
            read_fault: None,
            fsync_fails: false,
            panics: false,
            syncs: 0,
            strikes: Strikes::new(owner),
            rng,
        };
        let stall = Arc::new(tokio::sync::watch::Sender::new(false));
        let state = Arc::new(Mutex::new(state));
        Self { state, turn: Arc::default(), stall, evictions: Evictions::default() }
    }

    /// A handle for a process that starts now.
    pub(crate) fn open(&self) -> DiskStorage {
        let state = lock(&self.state);
        DiskStorage {
            disk: self.clone(),
            boot: state.boot,
            broken: Arc::default(),
            closed: Arc::default(),
            witness: self.evictions.witness(),
        }
    }

    /// The power goes: what was not synced is there in part or not at all. Returns whether
    /// something was torn.
    pub(crate) fn lose_power(&self) -> bool {
        let mut state = lock(&self.state);
        let unsynced = (state.journal.len() - state.synced) as u64;
        let kept = state.synced + state.rng.below(unsynced + 1) as usize;
        let torn = kept < state.journal.len();
        state.journal.truncate(kept);
        state.recover();
        torn
    }

    /// The process that wrote is gone, the machine is not: the system may still write all of it.
    pub(crate) fn lose_process(&self) {
        let mut state = lock(&self.state);
        if state.rng.one_in(2) {
            state.synced = state.journal.len();
        }
        let synced = state.synced;
        state.journal.truncate(synced);
        state.recover();
    }

    /// A copy of what is on the platters.
    pub(crate) fn copy(&self) -> Vec<u8> {
        let state = lock(&self.state);
        state.journal[..state.synced].to_vec()
    }

    /// All that is stored is gone, under processes that go on.
    pub(crate) fn evict(&self) {
        let mut state = lock(&self.state);
        state.journal.clear();
        state.synced = 0;
        state.content = MemoryStorage::new();
        self.evictions.happen();
    }

    /// Puts a copy in the place of everything.
    pub(crate) fn restore(&self, journal: Vec<u8>) {
        let mut state = lock(&self.state);
        state.journal = journal;
        state.recover();
    }

    /// What is in the journal and not on the platters yet.
    pub(crate) fn writing(&self) -> Option<Writing> {
        let state = lock(&self.state);
        read_record(&state.journal, state.synced).map(|(record, _)| record.kind())
    }

    pub(crate) fn fail_writes(&self, fault: Option<Fault>) {
        let mut state = lock(&self.state);
        state.write_fault = fault;
        state.strikes.set(Strike::Full);
    }

    pub(crate) fn fail_reads(&self, fault: Option<Fault>) {
        let mut state = lock(&self.state);
        state.read_fault = fault;
        state.strikes.set(Strike::Unreadable);
    }

    pub(crate) fn fail_next_fsync(&self) {
        let mut state = lock(&self.state);
        state.fsync_fails = true;
        state.strikes.set(Strike::FsyncFailed);
    }

    pub(crate) fn panic_next(&self, panics: bool) {
        let mut state = lock(&self.state);
        state.panics = panics;
        state.strikes.set(Strike::Panicked);
    }

    /// How often each of its faults has met somebody.
    pub(crate) fn strikes(&self) -> Vec<(&'static str, u64)> {
        lock(&self.state).strikes.named()
    }

    pub(crate) fn stall(&self, stalled: bool) {
        lock(&self.state).strikes.set(Strike::Stalled);
        self.stall.send_replace(stalled);
    }

    /// Whether what is asked of it is refused for now.
    pub(crate) fn is_failing(&self) -> bool {
        let state = lock(&self.state);
        state.write_fault.is_some() || state.read_fault.is_some()
    }

    /// How much is stored of each document, without delay or fault.
    pub(crate) fn versions(&self) -> BTreeMap<DocId, VersionVector> {
        let content = lock(&self.state).content.clone();
        let versions = content.versions().now_or_never();
        let versions = versions.expect("memory answers at once").expect("it has no faults");
        versions.into_iter().collect()
    }

    /// What is stored of `doc`, without delay or fault.
    pub(crate) fn peek(&self, doc: &DocId) -> StoredDoc {
        let content = lock(&self.state).content.clone();
        let load = content.load(doc).now_or_never();
        load.expect("memory answers at once").expect("it has no faults")
    }
}

impl DiskState {
    /// Reads the journal anew, up to the first record that is not whole.
    fn recover(&mut self) {
        self.boot += 1;
        self.fsync_fails = false;
        self.content = MemoryStorage::new();
        let mut at = 0;
        while let Some((record, end)) = read_record(&self.journal, at) {
            // A record that was refused when it was written is refused again.
            let _ = apply(&self.content, &record);
            at = end;
        }
        if at < self.journal.len() && is_planted(Bug::TornTailLosesAll) {
            self.content = MemoryStorage::new();
            at = 0;
        }
        self.journal.truncate(at);
        self.synced = at;
        self.forget_as_planted();
    }
}

impl DiskState {
    /// What recovery with a bug would not find again.
    fn forget_as_planted(&mut self) {
        let mut ends = vec![0];
        while let Some((_, end)) = read_record(&self.journal, ends[ends.len() - 1]) {
            ends.push(end);
        }
        let whole = ends.len() - 1;
        let kept = match planted() {
            Some(Bug::RecoveryDropsTheLastRecord) => whole.saturating_sub(1),
            Some(Bug::RecoveryStopsHalfway) if whole > 12 => whole / 2,
            _ => return,
        };
        self.journal.truncate(ends[kept]);
        self.synced = ends[kept];
        self.content = MemoryStorage::new();
        let mut at = 0;
        while let Some((record, end)) = read_record(&self.journal, at) {
            let _ = apply(&self.content, &record);
            at = end;
        }
    }
}

fn apply(content: &MemoryStorage, record: &Record) -> Result<(), Refusal> {
    let done = match record.clone() {
        Record::Append(batch) => content.append(batch).now_or_never().map(|r| r.is_ok()),
        Record::Replace(doc, snapshot, moved) => {
            content.replace(&doc, snapshot, moved).now_or_never().map(|r| r.is_ok())
        }
        Record::Remove(doc) => content.remove(&doc).now_or_never().map(|r| r.is_ok()),
        Record::PutMeta(key, value) => {
            content.put_meta(&key, &value).now_or_never().map(|r| r.is_ok())
        }
        Record::RemoveMeta(key) => content.remove_meta(&key).now_or_never().map(|r| r.is_ok()),
    };
    if done == Some(true) { Ok(()) } else { Err(Refusal::Conflict) }
}

impl DiskStorage {
    fn check(&self) -> Result<(), Fault> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(Fault::Broken);
        }
        if self.is_closed() || lock(&self.disk.state).boot != self.boot {
            return Err(Fault::Closed);
        }
        Ok(())
    }

    /// The browser takes the database away from a page. What is being written is written still.
    /// Returns whether that is new.
    pub(crate) fn close(&self) -> bool {
        !self.closed.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Whether the process was told of every eviction.
    pub(crate) fn knows_of_evictions(&self) -> bool {
        self.witness.is_told_of_all()
    }

    fn panic_as_told(&self) {
        let panics = {
            let mut state = lock(&self.disk.state);
            if state.panics {
                state.strikes.note(Strike::Panicked);
            }
            std::mem::take(&mut state.panics)
        };
        assert!(!panics, "{PLANNED}");
    }

    async fn pause(&self, ms_max: u64) {
        let ms = lock(&self.disk.state).rng.below(ms_max + 1);
        if ms > 0 {
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
    }

    async fn write(&self, record: Record) -> Result<(), Refusal> {
        let _turn = self.disk.turn.clone().lock_owned().await;
        let mut stall = self.disk.stall.subscribe();
        if *stall.borrow() {
            lock(&self.disk.state).strikes.note(Strike::Stalled);
        }
        // The sender lives as long as the disk.
        let _ = stall.wait_for(|stalled| !stalled).await;
        self.check().map_err(Refusal::Fault)?;
        self.witness.notice();
        let (fsync_fails, start, evictions) = {
            let mut state = lock(&self.disk.state);
            if state.write_fault.is_some() && is_planted(Bug::QuotaIsNotReported) {
                return Ok(());
            }
            if let Some(fault) = state.write_fault {
                state.strikes.note(Strike::Full);
                return Err(Refusal::Fault(fault));
            }
            let start = state.journal.len();
            let bytes = encode_record(&record);
            state.journal.extend(bytes);
            (std::mem::take(&mut state.fsync_fails), start, self.disk.evictions.count())
        };
        let mut under_way = UnderWay { storage: self, record: Some(record), start, evictions };
        if is_planted(Bug::DiskAnswersBeforeItWrites) {
            let record = under_way.record.take().expect("not finished yet");
            return apply(&lock(&self.disk.state).content, &record);
        }
        self.pause(6).await;
        if fsync_fails {
            lock(&self.disk.state).strikes.note(Strike::FsyncFailed);
        }
        if fsync_fails && is_planted(Bug::ServerFailedFsyncIsRetried) {
            under_way.record = None;
            let mut state = lock(&self.disk.state);
            state.journal.truncate(start);
            return Ok(());
        }
        if fsync_fails {
            self.broken.store(true, Ordering::Relaxed);
            under_way.record = None;
            return Err(Refusal::Fault(Fault::Broken));
        }
        under_way.finish()
    }

    /// What can be read now, after as long as reading takes.
    async fn content(&self) -> Result<MemoryStorage, ReadError> {
        self.pause(2).await;
        self.witness.notice();
        let mut state = lock(&self.disk.state);
        if state.read_fault.is_some() {
            state.strikes.note(Strike::Unreadable);
        }
        match state.read_fault {
            Some(Fault::Blocked) => Err(ReadError::Blocked),
            Some(_) => Err(ReadError::Unavailable),
            None if self.is_closed() || state.boot != self.boot => Err(ReadError::Closed),
            None => Ok(state.content.clone()),
        }
    }
}

/// A write between its first byte and its fsync. If its process is gone before, the system may
/// still complete it or not.
struct UnderWay<'a> {
    storage: &'a DiskStorage,
    record: Option<Record>,
    start: usize,
    /// How often everything had been taken away when it began.
    evictions: u64,
}

impl UnderWay<'_> {
    fn finish(&mut self) -> Result<(), Refusal> {
        let Some(record) = self.record.take() else { return Ok(()) };
        let mut state = lock(&self.storage.disk.state);
        if state.boot != self.storage.boot {
            return Err(Refusal::Fault(Fault::Closed));
        }
        if self.storage.disk.evictions.count() != self.evictions {
            return Err(Refusal::Fault(Fault::Unavailable));
        }
        let done = apply(&state.content, &record);
        if done.is_err() {
            let start = self.start;
            state.journal.truncate(start);
        }
        let skipped = is_planted(Bug::FsyncIsSkipped) && state.syncs.is_multiple_of(2);
        if !skipped {
            state.synced = state.journal.len();
        }
        state.syncs += 1;
        done
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if self.record.is_none() {
            return;
        }
        let completes = {
            let mut state = lock(&self.storage.disk.state);
            if state.boot != self.storage.boot
                || self.storage.disk.evictions.count() != self.evictions
            {
                return;
            }
            let completes = state.rng.one_in(2);
            if !completes {
                let start = self.start;
                state.journal.truncate(start);
            }
            completes
        };
        if completes {
            // Nobody is left to be told.
            let _ = self.finish();
        }
    }
}

impl Storage for DiskStorage {
    async fn docs(&self) -> Result<Vec<DocId>, ReadError> {
        self.content().await?.docs().await
    }

    async fn versions(&self) -> Result<Vec<(DocId, VersionVector)>, ReadError> {
        let mut versions = self.content().await?.versions().await?;
        if is_planted(Bug::UnsentIsNotFound) {
            versions.clear();
        }
        if is_planted(Bug::UnsentSketchIsNotFound) {
            versions.retain(|(doc, _)| doc.as_str() != SKETCH);
        }
        Ok(versions)
    }

    async fn load(&self, doc: &DocId) -> Result<StoredDoc, ReadError> {
        self.panic_as_told();
        let mut stored = self.content().await?.load(doc).await?;
        if is_planted(Bug::LoadForgetsTheLastBlock) {
            stored.blocks.pop();
        }
        Ok(stored)
    }

    async fn append(&self, mut batch: Vec<(DocId, Vec<Block>)>) -> Result<(), AppendError> {
        self.panic_as_told();
        if is_planted(Bug::BatchIsSplit) {
            let several = batch.iter_mut().filter(|(_, blocks)| blocks.len() > 1);
            several.for_each(|(_, blocks)| drop(blocks.pop()));
        }
        if is_planted(Bug::DocumentsAreWrittenApart) && batch.len() > 1 {
            let first = Record::Append(vec![batch.remove(0)]);
            if let Err(Refusal::Fault(fault)) = self.write(first).await {
                return Err(append_error(fault));
            }
        }
        let wanted = batch.clone();
        match self.write(Record::Append(batch)).await {
            Ok(()) => Ok(()),
            Err(Refusal::Fault(fault)) => Err(append_error(fault)),
            Err(Refusal::Conflict) => {
                let content = lock(&self.disk.state).content.clone();
                content.append(wanted).await
            }
        }
    }

    async fn compact(&self, doc: &DocId, snapshot: Snapshot) -> Result<(), CompactError> {
        self.replace(doc, snapshot, Vec::new()).await
    }

    async fn replace(
        &self,
        doc: &DocId,
        snapshot: Snapshot,
        moved: Vec<OpId>,
    ) -> Result<(), CompactError> {
        if is_planted(Bug::CompactionForgetsTheSnapshot) {
            let removed = self.write(Record::Remove(doc.clone())).await;
            return removed.map_err(|_| CompactError::Unavailable);
        }
        match self.write(Record::Replace(doc.clone(), snapshot, moved)).await {
            Ok(()) => Ok(()),
            Err(Refusal::Fault(fault)) => Err(compact_error(fault)),
            Err(Refusal::Conflict) => Err(CompactError::Stale { doc: doc.clone() }),
        }
    }

    async fn remove(&self, doc: &DocId) -> Result<(), AppendError> {
        self.simple(Record::Remove(doc.clone())).await
    }

    async fn get_meta(&self, key: &str) -> Result<Option<Vec<u8>>, ReadError> {
        self.content().await?.get_meta(key).await
    }

    async fn put_meta(&self, key: &str, value: &[u8]) -> Result<(), AppendError> {
        self.simple(Record::PutMeta(key.to_owned(), value.to_vec())).await
    }

    async fn remove_meta(&self, key: &str) -> Result<(), AppendError> {
        self.simple(Record::RemoveMeta(key.to_owned())).await
    }

    async fn list_meta(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, ReadError> {
        self.content().await?.list_meta(prefix).await
    }

    async fn lost(&self) {
        if is_planted(Bug::EvictionIsNotTold) {
            return pending().await;
        }
        let delay = || {
            let rng = &mut lock(&self.disk.state).rng;
            if rng.one_in(2) { 0 } else { rng.below(EVICTION_TOLD_MS_MAX) }
        };
        self.witness.next(|| Duration::from_millis(delay())).await;
    }
}

impl DiskStorage {
    async fn simple(&self, record: Record) -> Result<(), AppendError> {
        match self.write(record).await {
            Ok(()) | Err(Refusal::Conflict) => Ok(()),
            Err(Refusal::Fault(fault)) => Err(append_error(fault)),
        }
    }
}

impl Store for DiskStorage {}

fn append_error(fault: Fault) -> AppendError {
    match fault {
        Fault::QuotaExceeded => AppendError::QuotaExceeded,
        Fault::Closed => AppendError::Closed,
        Fault::Blocked => AppendError::Blocked,
        Fault::Broken => AppendError::Broken { detail: "the fsync failed".to_owned() },
        Fault::Unavailable => AppendError::Unavailable,
    }
}

fn compact_error(fault: Fault) -> CompactError {
    match fault {
        Fault::QuotaExceeded => CompactError::QuotaExceeded,
        Fault::Closed => CompactError::Closed,
        Fault::Blocked => CompactError::Blocked,
        Fault::Broken => CompactError::Broken { detail: "the fsync failed".to_owned() },
        Fault::Unavailable => CompactError::Unavailable,
    }
}
