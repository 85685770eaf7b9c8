//! Every decision of the engine, without I/O, clock, entropy or futures.
//!
//! Facts come in as method calls with the time they happened at; effects come out of
//! [`Core::poll_output`], storage work out of `next_job`, one job at a time. `deadline` says when
//! `tick` is next due. Equal facts make equal effects.
//!
//! | module | what it decides |
//! |---|---|
//! | `doc` | the state of one open document |
//! | `store` | what is written to storage, and when after a failure |
//! | `clock` | what time it is |
//! | `ties` | what of several documents is written at once or not at all |
//! | `link` | when to connect, and what the connection means for documents |
//! | `received` | what becomes of what the server sends |
//! | `opened` | what the server's part of a document says about ours |
//! | `rename` | what to do when two authors share a peer id |
//! | `local` | tabs of this device, presence, time |
//! | `tabs`, `records` | bytes for other tabs, bytes for storage |

mod clock;
mod doc;
mod link;
#[cfg(test)]
mod link_tests;
mod local;
#[cfg(test)]
mod local_tests;
mod opened;
#[cfg(test)]
mod opened_tests;
mod pending;
#[cfg(test)]
mod read_tests;
mod received;
#[cfg(test)]
mod received_tests;
pub(crate) mod records;
mod rename;
#[cfg(test)]
mod rename_tests;
mod store;
#[cfg(test)]
mod store_tests;
mod tabs;
#[cfg(test)]
mod tests;
mod ties;
#[cfg(test)]
mod ties_tests;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use bytes::Bytes;
use leptos_sync_crdt::{Block, Commit, Doc, DocId, ImportError, OpId, PeerId, VersionVector};
use leptos_sync_protocol::PresencePeer;
use leptos_sync_storage::{ReadError, StoredDoc};
use litemap::LiteMap;

use self::clock::Clock;
use self::doc::{Load, OpenDoc, Phase, Unsaved, name};
use self::link::Link;
use self::records::{Acked, ServerLife};
use self::store::Jobs;
pub(crate) use self::store::{Job, JobResult};
use self::tabs::TabMessage;
use crate::config::EngineConfig;
use crate::event::{DocEvent, Origin};
use crate::status::{DocStatus, StorageFault, StorageHealth, SyncStatus};

/// When something happened, on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// Monotonic milliseconds.
    pub(crate) ms: u64,
    /// Milliseconds since the Unix epoch, by the device.
    pub(crate) wall_ms: u64,
}

/// Stored blocks were made on this device: their stamps are not measured against its clock, which
/// may have been set back since.
const ANY_TIME: u64 = u64::MAX;

const LOAD_RETRY_MS: u64 = 5_000;

/// What another tab told of changes that belong together.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) parts: Parts,
    /// They are in what this tab's store is now.
    pub(crate) is_here: bool,
}

/// One effect that the driver has to carry out.
#[derive(Debug)]
pub(crate) enum Output {
    /// Read the document from storage, then call `load_finished`.
    Load(DocId),
    /// Read them again and call `reread_finished`, with what another tab told of them: other tabs
    /// may have written.
    Reread(Vec<DocId>, Told),
    /// Open a connection, then call `connected` or `connect_failed` with the generation.
    Dial { generation: u64 },
    /// Send a frame on the present connection.
    Send(Bytes),
    /// Close the present connection; nothing more of it will be heard.
    Hangup { code: u16, reason: String },
    /// Post to the other tabs.
    Post(Vec<u8>),
    /// `next_job` may have something.
    Work,
    /// Tell a document's subscribers.
    Event(DocId, DocEvent),
    /// Tell the engine's subscribers.
    Status(SyncStatus),
    /// Ask the platform not to evict what is stored.
    KeepStorage,
    /// Look for documents of which this life of the server did not acknowledge all that is stored,
    /// and call `unsent_found`. Without a life, no acknowledgement counts any more.
    FindUnsent(Option<ServerLife>),
}

/// Blocks of several documents.
pub(crate) type Parts = Vec<(DocId, Vec<Block>)>;

/// What was found of a document in storage.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) stored: StoredDoc,
    pub(crate) acked: Option<Vec<u8>>,
}

/// The engine's state.
pub(crate) struct Core {
    config: EngineConfig,
    /// Names this engine to the server and to other tabs.
    client_id: u64,
    seed: u64,
    /// Who this tab writes as. No other start ever does: whatever becomes of what is stored, and
    /// however often it is copied, no id names two changes.
    peer: PeerId,
    /// The most that was ever written under that id into documents that were closed since.
    written: LiteMap<DocId, u32>,
    docs: LiteMap<DocId, OpenDoc>,
    jobs: Jobs,
    /// How many ties there have been.
    ties: u64,
    link: Link,
    clock: Clock,
    keep_storage_asked: bool,
    outputs: VecDeque<Output>,
    shown: SyncStatus,
}

impl Core {
    pub(crate) fn new(config: EngineConfig, seed: u64, has_server: bool) -> Self {
        let mut core = Self {
            config,
            client_id: 0,
            seed,
            peer: PeerId(0),
            written: LiteMap::new(),
            docs: LiteMap::new(),
            jobs: Jobs::default(),
            ties: 0,
            link: Link::new(has_server),
            clock: Clock::default(),
            keep_storage_asked: false,
            outputs: VecDeque::new(),
            shown: SyncStatus::default(),
        };
        core.client_id = core.random();
        core.peer = core.fresh_peer();
        core.shown = core.status();
        core
    }

    /// The next number of a sequence that only the seed determines (SplitMix64).
    fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn fresh_peer(&mut self) -> PeerId {
        PeerId(self.random())
    }

    /// The next effect. Call until `None` after every other call.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        if self.outputs.is_empty() {
            self.refresh_status();
        }
        self.outputs.pop_front()
    }

    fn emit(&mut self, doc: &DocId, event: DocEvent) {
        self.outputs.push_back(Output::Event(doc.clone(), event));
    }

    /// Opens a document for one more user. Its content can be written to at once.
    pub(crate) fn open(&mut self, id: &DocId) -> Rc<RefCell<Doc>> {
        self.ensure(id);
        let doc = self.docs.get_mut(id).expect("ensured above");
        doc.handles += 1;
        doc.content.clone()
    }

    /// Opens documents without a user, to upload what waits in them. One that is open may have been
    /// read before a tab that is gone since stored what waits.
    pub(crate) fn unsent_found(&mut self, ids: Vec<DocId>) {
        if !self.link.has_server() {
            return;
        }
        let (open, closed): (Vec<DocId>, Vec<DocId>) =
            ids.into_iter().partition(|id| self.docs.contains_key(id));
        closed.iter().for_each(|id| self.ensure(id));
        if !open.is_empty() {
            self.outputs.push_back(Output::Reread(open, Told::default()));
        }
    }

    fn ensure(&mut self, id: &DocId) {
        if self.docs.contains_key(id) {
            return;
        }
        let provisional = self.fresh_peer();
        self.docs.insert(id.clone(), OpenDoc::new(provisional));
        self.outputs.push_back(Output::Load(id.clone()));
    }

    /// One user closed a document.
    pub(crate) fn close(&mut self, now: Now, id: &DocId) {
        let Some(doc) = self.docs.get_mut(id) else { return };
        doc.handles = doc.handles.saturating_sub(1);
        if doc.handles == 0 {
            self.set_presence(now, id, None);
            self.drop_done(now);
        }
    }

    /// Forgets documents that nobody uses and that are safe at the server, or stored where there is
    /// none; while what was stored may be gone, nothing is.
    fn drop_done(&mut self, now: Now) {
        if self.jobs.in_doubt {
            return;
        }
        let has_server = self.link.has_server();
        let done = self.docs.iter().filter(|(_, doc)| doc.is_done(has_server));
        let done: Vec<DocId> = done.map(|(id, _)| id.clone()).collect();
        for id in done {
            let closed = self.docs.remove(&id);
            let count = closed.map_or(0, |doc| doc.content.borrow().version().get(self.peer));
            // Where what we wrote is not stored any more, it stays written all the same.
            if count > self.written.get(&id).copied().unwrap_or(0) {
                self.written.insert(id.clone(), count);
            }
            self.close_on_server(now, &id);
        }
    }

    /// Whether anything of the document is held in memory.
    pub(crate) fn is_open(&self, id: &DocId) -> bool {
        self.docs.contains_key(id)
    }

    /// Whether changes of the document can be stored, as far as that is known.
    pub(crate) fn can_store(&self, id: &DocId) -> bool {
        self.docs.get(id).is_some_and(|doc| !doc.store.refused)
    }

    /// A change was made here, of one document or of several at once.
    pub(crate) fn committed(&mut self, now: Now, commits: Vec<(DocId, Commit)>) {
        let mut parts = Parts::new();
        for (id, commit) in commits {
            let Some(doc) = self.docs.get_mut(&id) else { continue };
            let (block, patches) = {
                let content = doc.content.borrow();
                (content.block(&commit), content.patches(&commit))
            };
            doc.remote.pending.add(&block, &doc.remote.acked);
            doc.keep(block.clone(), true);
            let changed = DocEvent::Changed { origin: Origin::Local, patches: patches.into() };
            self.emit(&id, changed);
            parts.push((id, vec![block]));
        }
        if parts.len() > 1 {
            self.tie(&parts);
        }
        if let Some((id, _)) = parts.first() {
            self.announce_unstored(now, id);
        }
        if !self.keep_storage_asked {
            self.keep_storage_asked = true;
            self.outputs.push_back(Output::KeepStorage);
        }
        self.outputs.push_back(Output::Work);
    }

    /// Tells tabs and server about changes made here, which were stored in one write, or wait for
    /// being that.
    fn announce(&mut self, now: Now, mut parts: Parts, stored: bool) {
        parts.retain(|(_, blocks)| !blocks.is_empty());
        if parts.is_empty() {
            return;
        }
        let mut sends = Vec::new();
        for (id, blocks) in &parts {
            let Some(doc) = self.docs.get_mut(id) else { continue };
            sends.push((id.clone(), doc.take_new(blocks, !stored)));
        }
        let message = TabMessage::Changes { stored, mark: self.jobs.kept, parts };
        self.outputs.push_back(Output::Post(message.encode()));
        for (id, blocks) in sends {
            self.send_changes(now, &id, blocks);
        }
    }

    /// Storage answered.
    pub(crate) fn load_finished(
        &mut self,
        now: Now,
        id: &DocId,
        result: Result<Loaded, ReadError>,
    ) {
        let Some(doc) = self.docs.get_mut(id) else { return };
        match result {
            Ok(loaded) => {
                match doc.take_stored(loaded) {
                    Err(fault) => self.jobs.fail(now, fault),
                    // It was reading that did not work, and it does again.
                    Ok(()) if doc.store.is_idle() => self.jobs.succeed(),
                    Ok(()) => {}
                }
                doc.load = Load::Done;
                if std::mem::take(&mut doc.store.is_read_late) {
                    doc.keep_all();
                }
                let count = doc.content.borrow().version().get(self.peer);
                // What we wrote before we closed it has to be there, or names were used twice.
                if count == self.written.get(id).copied().unwrap_or(0) {
                    doc.content.borrow_mut().set_peer(self.peer);
                }
                let have = doc.content.borrow().version().clone();
                let want = TabMessage::Want { doc: id.clone(), have };
                self.outputs.push_back(Output::Post(want.encode()));
            }
            Err(error) => {
                tracing::warn!(doc = %id, %error, "stored document cannot be read");
                doc.load = Load::Failed { retry_at: now.ms + LOAD_RETRY_MS };
                self.jobs.fail(now, StorageFault::from(&error));
            }
        }
        self.emit(id, DocEvent::Loaded);
        self.outputs.push_back(Output::Work);
        self.settle(now, id, &BTreeSet::new());
        self.announce_all_unstored(now);
        self.open_on_server(now, id);
        // If reading worked at a later try only, the document may have been open for long.
        self.upload(now, id);
        self.drop_done(now);
    }

    /// Storage answered a second look, which began after so many [`Core::losses`].
    pub(crate) fn reread_finished(
        &mut self,
        now: Now,
        found: Vec<(DocId, StoredDoc)>,
        told: Told,
        losses: u32,
    ) {
        let is_there = losses == self.jobs.losses;
        for (id, stored) in found {
            self.merge_stored(now, &id, stored, is_there);
        }
        self.take_told(now, Told { is_here: told.is_here && is_there, ..told });
    }

    fn merge_stored(&mut self, now: Now, id: &DocId, stored: StoredDoc, is_there: bool) {
        let Some(doc) = self.docs.get_mut(id) else { return };
        if is_there {
            doc.untie_found(&stored);
        }
        let mut blocks = stored.blocks;
        if let Some(snapshot) = stored.snapshot
            && !doc.content.borrow().version().covers(&snapshot.version)
        {
            match Doc::from_snapshot(PeerId(0), &snapshot.bytes) {
                Ok(snapshot) => {
                    let have = doc.content.borrow().version().clone();
                    blocks.splice(0..0, snapshot.blocks_since(&have));
                }
                Err(error) => tracing::warn!(doc = %id, %error, "stored snapshot is damaged"),
            }
        }
        self.import_from_tab(now, id, blocks, is_there, Origin::Storage);
    }

    /// Merges blocks that were not made here; returns those that are new in the document.
    fn import(
        &mut self,
        now: Now,
        wall_ms: u64,
        id: &DocId,
        mut blocks: Vec<Block>,
        origin: Origin,
    ) -> Imported {
        let begun: BTreeSet<PeerId> =
            blocks.iter().filter(|block| block.seq() == 0).map(Block::peer).collect();
        // Most changes go on; then nothing has to be looked through.
        if !begun.is_empty() {
            self.settle(now, id, &begun);
        }
        let Some(doc) = self.docs.get_mut(id) else { return Imported::default() };
        // Where the server has such names, they are somebody else's.
        if origin != Origin::Remote {
            doc.drop_renamed(&mut blocks);
        }
        let mut imported = Imported::default();
        let mut patches = Vec::new();
        let mut content = doc.content.borrow_mut();
        let mut take = |blocks: Vec<Block>, imported: &mut Imported| {
            content.import(wall_ms, blocks).map(|import| {
                imported.applied.extend(import.applied);
                patches.extend(import.patches);
            })
        };
        if take(blocks.clone(), &mut imported).is_err() {
            // One bad block must not keep the others out.
            for block in blocks {
                // What builds on it means another change than ours of that name.
                if imported.is_split(&block) {
                    imported.split.entry(block.peer()).or_insert(block.seq());
                    continue;
                }
                match take(vec![block], &mut imported) {
                    Ok(()) => {}
                    Err(ImportError::DuplicatePeer { peer, seq }) => {
                        imported.conflicts.push((peer, seq));
                        imported.split.entry(peer).or_insert(seq);
                    }
                    Err(error) => tracing::warn!(doc = %id, %error, "change was not merged"),
                }
            }
        }
        drop(content);
        for block in &imported.applied {
            doc.remote.pending.add(block, &doc.remote.acked);
        }
        if !imported.applied.is_empty() {
            self.emit(id, DocEvent::Changed { origin, patches: patches.into() });
        }
        imported
    }

    pub(crate) fn peers(&self, id: &DocId) -> Vec<PresencePeer> {
        self.docs.get(id).map(OpenDoc::peers).unwrap_or_default()
    }

    pub(crate) fn doc_status(&self, id: &DocId) -> Option<DocStatus> {
        let (link, reason) = self.link.shown();
        self.docs.get(id).map(|doc| doc.status(link, reason, self.jobs.in_doubt))
    }

    pub(crate) fn is_loaded(&self, id: &DocId) -> bool {
        self.docs.get(id).is_some_and(|doc| doc.load == Load::Done)
    }

    pub(crate) fn status(&self) -> SyncStatus {
        let (link, link_reason) = self.link.shown();
        let (storage, reason) = (self.jobs.health, link_reason);
        let mut status = SyncStatus { state: link, storage, reason, ..SyncStatus::default() };
        let in_doubt = self.jobs.in_doubt;
        for doc in self.docs.values().map(|doc| doc.status(link, link_reason, in_doubt)) {
            status.pending += doc.pending;
            status.state = status.state.min(doc.state);
            status.reason = status.reason.or(doc.reason);
        }
        status.saved_here = !in_doubt && self.docs.values().all(|doc| doc.store.is_idle());
        if let StorageHealth::Failing(fault) = status.storage {
            status.reason = Some(crate::status::Reason::Storage(fault));
        }
        status
    }

    /// Tells subscribers what they do not know yet.
    fn refresh_status(&mut self) {
        let (link, reason) = self.link.shown();
        for (id, doc) in &mut self.docs {
            let status = doc.status(link, reason, self.jobs.in_doubt);
            if doc.shown.as_ref() != Some(&status) {
                doc.shown = Some(status);
                self.outputs.push_back(Output::Event(id.clone(), DocEvent::Status));
            }
        }
        let status = self.status();
        if status != self.shown {
            self.shown = status.clone();
            self.outputs.push_back(Output::Status(status));
        }
    }
}

/// What became of blocks from elsewhere.
#[derive(Debug, Default)]
struct Imported {
    applied: Vec<Block>,
    /// Different blocks of these names are in the document already.
    conflicts: Vec<(PeerId, u32)>,
    /// From where on an author's blocks were left out, because they conflict or build on such.
    split: BTreeMap<PeerId, u32>,
}

impl Imported {
    fn is_split(&self, block: &Block) -> bool {
        let split = |id: OpId| self.split.get(&id.peer).is_some_and(|seq| *seq <= id.seq);
        let deps = block.header().deps.iter().copied();
        deps.chain([OpId::new(block.peer(), block.seq())]).any(split)
    }
}

impl OpenDoc {
    /// Merges what storage had with what was written and received meanwhile.
    fn take_stored(&mut self, loaded: Loaded) -> Result<(), StorageFault> {
        let Loaded { stored, acked } = loaded;
        self.store.log_blocks = stored.blocks.len();
        self.store.log_bytes = stored.blocks.iter().map(|block| block.bytes().len()).sum();
        let mut content = self.content.borrow_mut();
        let mut outcome = Ok(());
        if let Some(snapshot) = stored.snapshot {
            match Doc::from_snapshot(content.peer(), &snapshot.bytes) {
                Ok(mut restored) => {
                    let since = content.blocks_since(&VersionVector::new());
                    let merged = restored.import(ANY_TIME, since);
                    outcome = merged.map(drop).map_err(|_| StorageFault::Corrupt);
                    if outcome.is_ok() {
                        if content.pending_count() > 0 {
                            // What waited inside it is asked for again.
                            self.remote.phase = Phase::Closed;
                        }
                        *content = restored;
                    }
                }
                Err(_) => outcome = Err(StorageFault::Corrupt),
            }
        }
        let waiting = stored.blocks.clone();
        let unsaved = self.store.in_flight.iter().chain(&self.store.queue);
        let unsaved: Vec<Block> = unsaved.map(|unsaved| unsaved.block.clone()).collect();
        for blocks in [stored.blocks, unsaved] {
            let stored: BTreeSet<OpId> = blocks.iter().map(name).collect();
            let Ok(import) = content.import(ANY_TIME, blocks) else {
                outcome = Err(StorageFault::Corrupt);
                continue;
            };
            // What waited inside the document came from elsewhere and is not stored.
            let waited = import.applied.into_iter().filter(|block| !stored.contains(&name(block)));
            self.store.queue.extend(waited.map(|block| Unsaved { block, announce: false }));
        }
        if let Some(known) = acked.and_then(|bytes| Acked::decode(&bytes).ok()) {
            self.remote.take_known(known);
        }
        let unacked = content.blocks_since(&self.remote.acked);
        self.remote.pending.reset(&unacked, &self.remote.acked);
        let waits = content.pending_count() > 0;
        drop(content);
        if waits {
            self.note_waiting(waiting);
        }
        outcome
    }
}
