//! What is written to storage, in which order, and how failures are outlived.
//!
//! One job runs at a time, so blocks become durable in the order in which they were made. A failed
//! write puts its blocks back at the head of the queue and is tried again with growing delays.
//! Meanwhile changes are announced from memory. Should they be lost here, they come back from
//! whoever heard of them: no later start uses their names for anything else.

use std::collections::BTreeSet;

use leptos_sync_crdt::{Block, DocId, OpId, PeerId, VersionVector};
use leptos_sync_storage::{AppendError, CompactError, ReadError, Snapshot, planted};

use super::doc::{Load, OpenDoc, Unsaved, name};
use super::local::ADOPT_AFTER_MS;
use super::records::acked_key;
use super::{Core, Now, Output, Parts, Told};
use crate::config::EngineConfig;
use crate::status::{StorageFault, StorageHealth};

const RETRY_MS_MIN: u64 = 500;
const RETRY_MS_MAX: u64 = 30_000;
const COMPACT_RETRY_MS: u64 = 30_000;

/// After so many replacements in a row that lacked what is stored, packs are stored as blocks.
const STALE_MAX: u32 = 3;

/// One call to storage.
#[derive(Debug)]
pub(crate) enum Job {
    /// Append blocks of several documents.
    Append(Vec<(DocId, Vec<Block>)>),
    /// Write a small value, or remove it.
    Meta { key: String, value: Option<Vec<u8>> },
    /// Replace a document's log by a snapshot.
    Compact { doc: DocId, snapshot: Snapshot },
    /// Replace a document's log by a snapshot that has what packs brought, and the changes from
    /// `moved` on under other ids.
    Replace { doc: DocId, snapshot: Snapshot, moved: Vec<OpId> },
}

/// How a [`Job`] ended.
#[derive(Debug)]
pub(crate) enum JobResult {
    Append(Result<(), AppendError>),
    Meta(Result<(), AppendError>),
    Compact(DocId, Result<(), CompactError>),
    Replace(DocId, Result<(), CompactError>),
}

/// The storage work in progress.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    pub(super) health: StorageHealth,
    busy: bool,
    retry_at: Option<u64>,
    failures: u32,
    /// What was stored may be gone: until that is known, nothing is stored, or counts as saved.
    pub(super) in_doubt: bool,
    /// What is stored now bears this mark, as far as that is known.
    pub(super) kept: Option<u64>,
    /// How often all that was stored was found to be gone.
    pub(super) losses: u32,
}

impl Jobs {
    /// Whether storage is known not to work: while what was stored may be gone, nothing is.
    pub(super) fn is_failing(&self) -> bool {
        !self.in_doubt && self.health != StorageHealth::Healthy
    }

    pub(super) fn fail(&mut self, now: Now, fault: StorageFault) {
        self.health = StorageHealth::Failing(fault);
        let delay = (RETRY_MS_MIN << self.failures.min(10)).min(RETRY_MS_MAX);
        self.failures += 1;
        self.retry_at = Some(now.ms + delay);
    }

    pub(super) fn succeed(&mut self) {
        self.health = StorageHealth::Healthy;
        self.retry_at = None;
        self.failures = 0;
    }

    /// Waits a moment for what is being read, though nothing failed.
    pub(super) fn pause(&mut self, now: Now) {
        self.retry_at = Some(now.ms + RETRY_MS_MIN);
    }
}

impl Core {
    /// The next call to make, if none is running. Answer it with [`Core::job_finished`].
    pub(crate) fn next_job(&mut self, now: Now) -> Option<Job> {
        if self.jobs.busy || self.jobs.in_doubt || self.jobs.retry_at.is_some_and(|at| now.ms < at)
        {
            return None;
        }
        let job = self
            .replace_job()
            .or_else(|| self.append_job())
            .or_else(|| self.compact_job(now))
            .or_else(|| self.acked_job(now))
            .or_else(|| self.clock_job())?;
        self.jobs.busy = true;
        Some(job)
    }

    /// Puts the document as it is now in the place of what is stored, but for what is to be stored
    /// with changes of other documents.
    fn replace_job(&mut self) -> Option<Job> {
        let is_due = |doc: &OpenDoc| doc.store.is_outdated() && doc.load != Load::Reading;
        let (id, doc) = self.docs.iter_mut().find(|(_, doc)| is_due(doc))?;
        let part = if doc.store.ties.is_empty() { None } else { Some(doc.untied()?) };
        let content = doc.content.borrow();
        let content = part.as_ref().unwrap_or(&content);
        let (version, bytes) = (content.version().clone(), content.encode_snapshot());
        let is_in = |unsaved: &Unsaved| version.get(unsaved.block.peer()) >= unsaved.block.end();
        let queue = std::mem::take(&mut doc.store.queue);
        (doc.store.in_flight, doc.store.queue) = queue.into_iter().partition(is_in);
        doc.store.replacing = doc.store.moved.len();
        doc.store.is_packing = std::mem::take(&mut doc.store.packed);
        let snapshot = Snapshot { version, bytes };
        Some(Job::Replace { doc: id.clone(), snapshot, moved: doc.store.moved.clone() })
    }

    fn append_job(&mut self) -> Option<Job> {
        let mut batch = Vec::new();
        for (id, count) in self.storable() {
            let Some(doc) = self.docs.get_mut(&id) else { continue };
            let later = doc.store.queue.split_off(count);
            doc.store.in_flight = std::mem::replace(&mut doc.store.queue, later);
            let blocks = doc.store.in_flight.iter().map(|unsaved| unsaved.block.clone()).collect();
            batch.push((id, blocks));
        }
        (!batch.is_empty()).then_some(Job::Append(batch))
    }

    fn compact_job(&mut self, now: Now) -> Option<Job> {
        let config = &self.config;
        let (id, doc) = self.docs.iter_mut().find(|(_, doc)| {
            doc.load == Load::Done && doc.is_long(config) && doc.store.compact_after <= now.ms
        })?;
        doc.store.log_blocks = 0;
        doc.store.log_bytes = 0;
        let content = doc.content.borrow();
        let snapshot =
            Snapshot { version: content.version().clone(), bytes: content.encode_snapshot() };
        Some(Job::Compact { doc: id.clone(), snapshot })
    }

    fn acked_job(&mut self, now: Now) -> Option<Job> {
        let mut due = self.docs.iter_mut().filter(|(_, doc)| doc.load == Load::Done);
        let (id, doc) = due.find(|(_, doc)| doc.store.acked_at.is_some_and(|at| at <= now.ms))?;
        doc.store.acked_at = None;
        let value = doc.remote.known().map(|known| known.encode());
        Some(Job::Meta { key: acked_key(id), value })
    }

    /// Storage answered.
    pub(crate) fn job_finished(&mut self, now: Now, result: JobResult) {
        self.jobs.busy = false;
        match result {
            JobResult::Append(Ok(())) => self.appended(now),
            JobResult::Append(Err(error)) => self.append_failed(now, &error),
            JobResult::Meta(Ok(())) | JobResult::Compact(_, Ok(())) => self.jobs.succeed(),
            JobResult::Meta(Err(error)) => self.meta_failed(now, &error),
            JobResult::Replace(id, result) => self.replaced(now, &id, result),
            JobResult::Compact(id, Err(error)) => self.compact_failed(now, &id, &error),
        }
        self.announce_all_unstored(now);
        self.outputs.push_back(Output::Work);
        self.drop_done(now);
    }

    fn appended(&mut self, now: Now) {
        self.jobs.succeed();
        let mut parts = Parts::new();
        for (id, doc) in &mut self.docs {
            let stored = doc.store.take_written();
            if stored.is_empty() {
                continue;
            }
            doc.store.log_blocks += stored.len();
            doc.store.log_bytes +=
                stored.iter().map(|unsaved| unsaved.block.bytes().len()).sum::<usize>();
            if !doc.remote.pending.is_empty() && stored.iter().any(|unsaved| !unsaved.announce) {
                // Another tab's change waited for storage, and that tab may be gone.
                doc.remote.adopt_at.get_or_insert(now.ms + ADOPT_AFTER_MS);
            }
            let new = stored.into_iter().filter(|unsaved| unsaved.announce);
            parts.push((id.clone(), new.map(|unsaved| unsaved.block).collect()));
        }
        self.announce(now, parts, true);
    }

    fn replaced(&mut self, now: Now, id: &DocId, result: Result<(), CompactError>) {
        let Some(doc) = self.docs.get_mut(id) else { return };
        let replaced = std::mem::take(&mut doc.store.replacing);
        let was_packing = std::mem::take(&mut doc.store.is_packing);
        if result.is_err() {
            doc.store.put_back();
            doc.store.packed |= was_packing;
            if !doc.store.ties.is_empty() {
                doc.unpack();
            }
        }
        match result {
            Ok(()) => {
                doc.store.moved.drain(..replaced);
                doc.store.stale = 0;
                self.appended(now);
                let Some(doc) = self.docs.get_mut(id) else { return };
                doc.store.log_blocks = 0;
                doc.store.log_bytes = 0;
            }
            // Another tab compacted what this one has not seen: merge it first.
            Err(CompactError::Stale { .. }) => {
                doc.store.stale += 1;
                if doc.store.stale > STALE_MAX {
                    // What is stored is damaged, or changes all the time.
                    doc.unpack();
                }
                self.outputs.push_back(Output::Reread(vec![id.clone()], Told::default()));
                self.jobs.pause(now);
            }
            Err(error) => {
                if matches!(error, CompactError::Corrupt { .. }) {
                    doc.store.refuse();
                }
                self.jobs.fail(now, StorageFault::from(&error));
            }
        }
    }

    /// Has all small values written again: which one it was does not matter.
    fn meta_failed(&mut self, now: Now, error: &AppendError) {
        tracing::warn!(%error, "a small value was not stored");
        self.jobs.fail(now, StorageFault::from(error));
        for (_, doc) in self.docs.iter_mut().filter(|(_, doc)| doc.load == Load::Done) {
            doc.store.acked_at = doc.remote.life.map(|_| now.ms);
        }
        self.clock.is_due |= std::mem::take(&mut self.clock.is_writing);
    }

    /// Puts the blocks back, and tells the others what cannot be stored for now.
    fn append_failed(&mut self, now: Now, error: &AppendError) {
        tracing::warn!(%error, "changes were not stored");
        if planted!(ForgetsAFailedWrite) {
            self.docs.iter_mut().for_each(|(_, doc)| doc.store.in_flight.clear());
        }
        self.docs.iter_mut().for_each(|(_, doc)| doc.store.put_back());
        match error {
            AppendError::DuplicatePeer { doc, peer, seq } => {
                self.store_conflict(now, doc, *peer, *seq);
            }
            AppendError::Corrupt { doc: id, .. } => {
                if let Some(doc) = self.docs.get_mut(id) {
                    doc.store.refuse();
                }
                self.jobs.fail(now, StorageFault::Corrupt);
            }
            error => self.jobs.fail(now, StorageFault::from(error)),
        }
    }

    /// Sends on what waits for storage that does not work.
    pub(super) fn announce_all_unstored(&mut self, now: Now) {
        let ids: Vec<DocId> = self.docs.keys().cloned().collect();
        ids.iter().for_each(|id| self.announce_unstored(now, id));
    }

    /// Sends on what waits in a document for storage that does not work, and what is tied to it,
    /// unless storage may still take it.
    pub(super) fn announce_unstored(&mut self, now: Now, id: &DocId) {
        if !self.jobs.is_failing() && self.docs.get(id).is_none_or(|doc| !doc.store.refused) {
            return;
        }
        let tied = self.tied_with(id);
        let is_held = |id| self.docs.get(id).is_some_and(|doc| !doc.store.in_flight.is_empty());
        if tied.iter().any(is_held) {
            return;
        }
        let tell = |id: DocId| Some((self.docs.get_mut(&id)?.store.tell(), id));
        let told = tied.into_iter().filter_map(tell).map(|(told, id)| (id, told)).collect();
        self.announce(now, told, false);
    }

    /// Another block of the same name is stored: whoever else wrote under our id was first.
    fn store_conflict(&mut self, now: Now, id: &DocId, peer: PeerId, seq: u32) {
        self.conflict(now, id, peer, seq);
        let Some(doc) = self.docs.get_mut(id) else { return };
        let differs = |held: &Unsaved| held.block.peer() == peer && held.block.seq() >= seq;
        // Not ours to rename: the rest of the batch must not wait for it.
        doc.store.queue.retain(|unsaved| !differs(unsaved) || unsaved.announce);
        if doc.store.queue.iter().any(differs) {
            doc.store.refuse();
        }
    }

    fn compact_failed(&mut self, now: Now, id: &DocId, error: &CompactError) {
        tracing::warn!(doc = %id, %error, "document was not compacted");
        if let Some(doc) = self.docs.get_mut(id) {
            doc.store.compact_after = now.ms + COMPACT_RETRY_MS;
            // Still too long: look again after the pause.
            doc.store.log_blocks = self.config.compact_blocks;
        }
        match error {
            // Another tab compacted what this one has not seen: merge it first.
            CompactError::Stale { doc } => {
                self.outputs.push_back(Output::Reread(vec![doc.clone()], Told::default()));
            }
            error => self.jobs.fail(now, StorageFault::from(error)),
        }
    }

    /// The mark of what is stored was found or made, and nothing is known to be gone since.
    pub(crate) fn storage_marked(&mut self, mark: Option<u64>) {
        self.jobs.kept = mark;
    }

    /// The mark of what is stored, as far as it is known.
    pub(crate) fn storage_mark(&self) -> Option<u64> {
        self.jobs.kept
    }

    /// How often all that was stored was found to be gone; for [`Core::reread_finished`].
    pub(crate) fn losses(&self) -> u32 {
        self.jobs.losses
    }

    /// The platform took storage away, and what was stored may be gone. A change that is stored
    /// now could be all that there is, without what it builds on.
    pub(crate) fn doubt_storage(&mut self) {
        self.jobs.in_doubt = true;
    }

    /// Storage was looked at: it bears this mark. With another one than before, or none, what was
    /// stored counts as gone: what is stored twice is skipped.
    pub(crate) fn storage_looked_at(&mut self, now: Now, mark: Option<u64>) {
        self.jobs.in_doubt = false;
        if mark.is_none() || mark != self.jobs.kept {
            self.jobs.losses += 1;
            self.erased(now);
            if mark.is_some() {
                // What failed was in what is gone. There is a new store, which works.
                self.jobs.succeed();
            }
        }
        self.jobs.kept = mark;
        self.announce_all_unstored(now);
        self.drop_done(now);
        self.outputs.push_back(Output::Work);
    }

    /// All that was stored is gone: what is in memory is stored anew.
    pub(super) fn erased(&mut self, now: Now) {
        tracing::warn!("what was stored on this device is gone and is stored anew");
        for (_, doc) in self.docs.iter_mut() {
            if doc.load == Load::Reading {
                doc.store.is_read_late = true;
                continue;
            }
            doc.keep_all();
            doc.store.acked_at = doc.remote.life.is_some().then_some(now.ms);
        }
        self.outputs.push_back(Output::Work);
    }

    /// When storage next wants to be asked for a job.
    pub(super) fn store_deadline(&self) -> Option<u64> {
        let loads = self.docs.values().filter_map(|doc| match doc.load {
            Load::Failed { retry_at } => Some(retry_at),
            _ => None,
        });
        loads.chain(self.job_deadline()).min()
    }

    /// When `next_job` will have something that it does not have now. The end of a running job, and
    /// whatever makes new work, asks for the next one without an alarm.
    fn job_deadline(&self) -> Option<u64> {
        if self.jobs.busy || self.jobs.in_doubt {
            return None;
        }
        let replaces = self.docs.values().any(|doc| doc.store.is_outdated());
        if replaces || self.can_append() {
            return self.jobs.retry_at;
        }
        let done = self.docs.values().filter(|doc| doc.load == Load::Done);
        let due = done.flat_map(|doc| {
            let compaction = doc.is_long(&self.config).then_some(doc.store.compact_after);
            doc.store.acked_at.into_iter().chain(compaction)
        });
        let due = due.chain(self.clock.is_due.then_some(0));
        due.min().map(|due| due.max(self.jobs.retry_at.unwrap_or(0)))
    }

    /// Starts what has become due.
    pub(super) fn store_tick(&mut self, now: Now) {
        for (id, doc) in &mut self.docs {
            if matches!(doc.load, Load::Failed { retry_at } if retry_at <= now.ms) {
                doc.load = Load::Failed { retry_at: now.ms + RETRY_MS_MAX };
                self.outputs.push_back(Output::Load(id.clone()));
            }
        }
        self.outputs.push_back(Output::Work);
    }
}

impl OpenDoc {
    /// Whether blocks wait that can be stored. Before the stored part is known, one could be a
    /// second one of its name.
    pub(super) fn can_append(&self) -> bool {
        let store = &self.store;
        let is_free = !store.refused && !store.packed;
        !store.queue.is_empty() && is_free && self.load != Load::Reading
    }

    /// Has what packs brought stored as blocks: a snapshot would have what is stored only together
    /// with changes of other documents.
    pub(super) fn unpack(&mut self) {
        if std::mem::take(&mut self.store.packed) {
            self.keep_all();
        }
    }

    /// Queues all that is in the document. What is being written may have gone where the rest went;
    /// a store skips what it has.
    pub(super) fn keep_all(&mut self) {
        let queue = std::mem::take(&mut self.store.queue);
        let waiting: BTreeSet<OpId> = queue.iter().map(|unsaved| name(&unsaved.block)).collect();
        let all = self.content.borrow().blocks_since(&VersionVector::new());
        for block in all.into_iter().filter(|block| !waiting.contains(&name(block))) {
            self.keep(block, false);
        }
        self.store.queue.extend(queue);
    }

    /// Whether the stored log should become a snapshot.
    fn is_long(&self, config: &EngineConfig) -> bool {
        let store = &self.store;
        let long =
            store.log_blocks >= config.compact_blocks || store.log_bytes >= config.compact_bytes;
        long && store.is_idle()
    }
}

impl From<&AppendError> for StorageFault {
    fn from(error: &AppendError) -> Self {
        match error {
            AppendError::QuotaExceeded => Self::QuotaExceeded,
            AppendError::Closed => Self::Closed,
            AppendError::Blocked => Self::Blocked,
            AppendError::Unavailable => Self::Unavailable,
            AppendError::Corrupt { .. } => Self::Corrupt,
            _ => Self::Failed,
        }
    }
}

impl From<&CompactError> for StorageFault {
    fn from(error: &CompactError) -> Self {
        match error {
            CompactError::QuotaExceeded => Self::QuotaExceeded,
            CompactError::Closed => Self::Closed,
            CompactError::Blocked => Self::Blocked,
            CompactError::Unavailable => Self::Unavailable,
            CompactError::Corrupt { .. } => Self::Corrupt,
            _ => Self::Failed,
        }
    }
}

impl From<&ReadError> for StorageFault {
    fn from(error: &ReadError) -> Self {
        match error {
            ReadError::Closed => Self::Closed,
            ReadError::Blocked => Self::Blocked,
            ReadError::Unavailable => Self::Unavailable,
            ReadError::Corrupt { .. } => Self::Corrupt,
            _ => Self::Failed,
        }
    }
}
