//! One open document: its content, what of it is stored, and what of it the server has.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use leptos_sync_crdt::{Block, Doc, OpId, PeerId, VersionVector};
use leptos_sync_protocol::PresencePeer;
use leptos_sync_storage::planted;
use litemap::LiteMap;

use super::pending::Pending;
use super::records::{Acked, Read, ServerLife};
use super::ties::Tie;
use crate::status::{DocStatus, Reason, SyncState};

/// How far reading the stored document has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// Being read.
    Reading,
    /// What is stored is in the content.
    Done,
    /// It could not be read; the content is what was written and received since.
    Failed { retry_at: u64 },
}

/// A block that is not stored yet.
#[derive(Clone, Debug)]
pub(crate) struct Unsaved {
    pub(crate) block: Block,
    /// Made here, and to be told to tabs and server once it is stored.
    pub(crate) announce: bool,
}

/// What a block is called: by its first operation.
pub(crate) fn name(block: &Block) -> OpId {
    OpId::new(block.peer(), block.seq())
}

/// The document's dealings with the device's storage.
#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) queue: Vec<Unsaved>,
    pub(crate) in_flight: Vec<Unsaved>,
    /// What changes are called now that were written again while they were being written.
    pub(crate) in_flight_again: BTreeSet<OpId>,
    /// Which unsaved blocks are stored with what, by name.
    pub(crate) ties: LiteMap<OpId, Tie>,
    /// Blocks stored since the snapshot, and their bytes.
    pub(crate) log_blocks: usize,
    pub(crate) log_bytes: usize,
    pub(crate) compact_after: u64,
    /// Blocks of this document cannot be stored, while those of others can.
    pub(crate) refused: bool,
    /// When the acknowledged version, which has changed, should be written.
    pub(crate) acked_at: Option<u64>,
    /// From here on changes that are stored were written again under other ids; the stored
    /// document has to be replaced before anything is appended to it.
    pub(crate) moved: Vec<OpId>,
    /// How many of these the replacement in progress takes care of.
    pub(crate) replacing: usize,
    /// A pack brought changes that are not queued: the stored document has to be replaced before
    /// anything is appended to it.
    pub(crate) packed: bool,
    /// The replacement in progress takes care of that.
    pub(crate) is_packing: bool,
    /// How many replacements in a row lacked what is stored.
    pub(crate) stale: u32,
    /// All that was stored was erased while the document was being read: what comes may be from
    /// before that.
    pub(crate) is_read_late: bool,
}

impl Store {
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.in_flight.is_empty() && !self.packed && !self.is_packing
    }

    /// Puts back what could not be written.
    pub(crate) fn put_back(&mut self) {
        self.in_flight_again.clear();
        let later = std::mem::take(&mut self.queue);
        self.queue = std::mem::take(&mut self.in_flight);
        self.queue.extend(later);
    }

    /// Whether the stored document is to be replaced, and can be.
    pub(crate) fn is_outdated(&self) -> bool {
        !self.refused && (self.packed || !self.moved.is_empty())
    }

    /// The operations with which unsaved blocks start that nobody may hear of: all of them, or
    /// those of which nobody has heard yet.
    pub(crate) fn held_back(&self, also_announced: bool) -> BTreeSet<OpId> {
        let unsaved = self.in_flight.iter().chain(&self.queue);
        let held = unsaved.filter(|unsaved| also_announced || unsaved.announce);
        held.map(|unsaved| name(&unsaved.block)).collect()
    }

    /// Forgets with what these were to be stored.
    pub(crate) fn untie<'b>(&mut self, stored: impl IntoIterator<Item = &'b Block>) {
        if !self.ties.is_empty() {
            let stored: BTreeSet<OpId> = stored.into_iter().map(name).collect();
            self.ties.retain(|name, _| !stored.contains(name));
        }
    }

    /// Counts what was being written as stored, and returns it: by its new name what was written
    /// again meanwhile, though it is stored under its old one until the document is replaced.
    pub(crate) fn take_written(&mut self) -> Vec<Unsaved> {
        let again = std::mem::take(&mut self.in_flight_again);
        let mut written = std::mem::take(&mut self.in_flight);
        for unsaved in self.queue.iter_mut().filter(|unsaved| again.contains(&name(&unsaved.block)))
        {
            let block = unsaved.block.clone();
            written.push(Unsaved { block, announce: std::mem::take(&mut unsaved.announce) });
        }
        self.untie(written.iter().map(|unsaved| &unsaved.block));
        written
    }

    /// Notes that blocks of this document cannot be stored. What is tied to them, in other
    /// documents, is not to wait for them.
    pub(crate) fn refuse(&mut self) {
        self.refused = true;
        self.ties.clear();
    }

    /// The blocks that are not stored though others have heard of them.
    pub(crate) fn told(&self) -> Vec<Block> {
        let unsaved = self.in_flight.iter().chain(&self.queue);
        unsaved.filter(|unsaved| !unsaved.announce).map(|unsaved| unsaved.block.clone()).collect()
    }

    /// Counts the blocks of which nobody has heard as told, and returns them.
    pub(crate) fn tell(&mut self) -> Vec<Block> {
        let untold = self.queue.iter_mut().filter(|unsaved| unsaved.announce);
        let told = untold.map(|unsaved| {
            unsaved.announce = false;
            unsaved.block.clone()
        });
        told.collect()
    }
}

/// Where the document stands on the present connection.
#[derive(Debug, Default)]
pub(crate) enum Phase {
    #[default]
    Closed,
    Opening {
        /// The server was told how far its log was read, and says only what is above that.
        read_on: bool,
    },
    Open {
        /// What the server has, or was sent on this connection.
        sent: VersionVector,
        caught_up: bool,
        /// The server has something that we count as unacknowledged. Until it has sent that, and it
        /// proved to be ours, nothing is sent: it could be somebody else's under the same name.
        contested: bool,
    },
    Refused {
        reason: Reason,
        retry_at: Option<u64>,
    },
}

/// A peer's changes from `seq` on, which the server did not take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rejection {
    pub(crate) seq: u32,
    pub(crate) reason: Reason,
    pub(crate) retry_at: Option<u64>,
}

/// The document's dealings with the server.
#[derive(Debug, Default)]
pub(crate) struct Remote {
    pub(crate) phase: Phase,
    /// What the server has durably, as far as it told us.
    pub(crate) acked: VersionVector,
    /// What any server ever had: others may know it by its names.
    pub(crate) ever: VersionVector,
    /// Up to where its log was read.
    pub(crate) read: Option<Read>,
    pub(crate) life: Option<ServerLife>,
    pub(crate) pending: Pending,
    pub(crate) rejected: LiteMap<PeerId, Rejection>,
    /// When other tabs' unacknowledged changes are sent from here too.
    pub(crate) adopt_at: Option<u64>,
    /// When what waits inside the document, for its time or for another change, is looked at again.
    pub(crate) recheck_at: Option<u64>,
    /// A peer id of ours under which the server has other changes than we; it is sending them, so
    /// that the first one that differs can be found.
    pub(crate) doubted: Option<PeerId>,
}

impl Remote {
    /// What is to be written down of the server's part, if there was a server.
    pub(crate) fn known(&self) -> Option<Acked> {
        let Self { acked, ever, read, .. } = self;
        let known =
            |life| Acked { life, acked: acked.clone(), ever: ever.clone(), read: read.clone() };
        self.life.map(known)
    }

    /// Takes in what was written down. What this connection said meanwhile is newer.
    pub(crate) fn take_known(&mut self, known: Acked) {
        self.ever.merge(&known.ever);
        if self.life.is_none_or(|present| present == known.life) {
            self.life = Some(known.life);
            if known.acked.covers(&self.acked) {
                self.read = known.read;
            }
            self.acked.merge(&known.acked);
        }
    }

    /// Takes in that the server has all of `version` durably; whether that was news.
    pub(crate) fn acknowledge(&mut self, version: &VersionVector) -> bool {
        if self.acked.covers(version) {
            return false;
        }
        if let Some(Read { later, .. }) = &mut self.read {
            let news = version.iter().filter(|(peer, count)| *count > self.acked.get(*peer));
            news.for_each(|(peer, count)| later.extend(peer, count));
        }
        self.acked.merge(version);
        self.ever.merge(version);
        for (peer, through) in version.iter() {
            self.pending.acked(peer, through);
        }
        true
    }
}

/// Who else is in the document.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    pub(crate) own: Option<Vec<u8>>,
    /// What `own` was when the page was left, for when it comes back.
    pub(crate) left: Option<Vec<u8>>,
    pub(crate) from_server: Vec<PresencePeer>,
    /// Per session of another tab, its payload and when it is considered gone.
    pub(crate) from_tabs: LiteMap<u64, (Vec<u8>, u64)>,
    /// When the other tabs are told again.
    pub(crate) repeat_at: Option<u64>,
}

/// An open document.
pub(crate) struct OpenDoc {
    pub(crate) content: Rc<RefCell<Doc>>,
    /// How many users have it open; without any it stays until its changes are safe.
    pub(crate) handles: usize,
    pub(crate) load: Load,
    pub(crate) store: Store,
    pub(crate) remote: Remote,
    pub(crate) presence: Presence,
    /// Changes of this device that wait for others. Those are here whatever their stamps say, also
    /// where it is the server that brings what they wait for.
    pub(crate) waiting: LiteMap<OpId, Block>,
    /// Where changes were written again: from which seq of whom on, and as whom.
    pub(crate) renamed: LiteMap<PeerId, (u32, PeerId)>,
    /// The status that subscribers know.
    pub(crate) shown: Option<DocStatus>,
}

impl OpenDoc {
    pub(crate) fn new(provisional: PeerId) -> Self {
        Self {
            content: Rc::new(RefCell::new(Doc::new(provisional))),
            handles: 0,
            load: Load::Reading,
            store: Store::default(),
            remote: Remote::default(),
            presence: Presence::default(),
            waiting: LiteMap::new(),
            renamed: LiteMap::new(),
            shown: None,
        }
    }

    /// Keeps those of this device's changes in mind that wait for others.
    pub(crate) fn note_waiting(&mut self, blocks: Vec<Block>) {
        let content = self.content.borrow();
        let waits = |block: &Block| block.builds_on().any(|dep| !content.version().contains(dep));
        for block in blocks.into_iter().filter(waits) {
            self.waiting.entry(name(&block)).or_insert(block);
        }
    }

    /// Whether nobody needs it any more: it is closed and, where there is one, the server has it.
    pub(crate) fn is_done(&self, has_server: bool) -> bool {
        self.handles == 0
            && self.load == Load::Done
            && self.store.is_idle()
            && self.store.moved.is_empty()
            && self.store.acked_at.is_none()
            && (!has_server || self.remote.pending.is_empty())
    }

    /// Queues a block to be stored.
    pub(crate) fn keep(&mut self, block: Block, announce: bool) {
        self.store.queue.push(Unsaved { block, announce });
    }

    /// The blocks that the server lacks and may be sent now; counts them as sent.
    pub(crate) fn take_unsent(&mut self, also_unsaved: bool) -> Vec<Block> {
        let Phase::Open { sent, contested: false, .. } = &mut self.remote.phase else {
            return Vec::new();
        };
        let held = self.store.held_back(!also_unsaved);
        let mut blocks = self.content.borrow().blocks_since(sent);
        // Chains are stored and refused from some block on, so what is left has no gaps.
        blocks.retain(|block| {
            let start = OpId::new(block.peer(), block.seq());
            let refused = self.remote.rejected.get(&block.peer());
            !held.contains(&start) && refused.is_none_or(|refused| block.seq() < refused.seq)
        });
        for block in &blocks {
            sent.extend(block.peer(), block.end());
        }
        blocks
    }

    /// Of new blocks made here, those to send; falls back to everything unsent when one depends on
    /// something that the server may not have.
    pub(crate) fn take_new(&mut self, blocks: &[Block], also_unsaved: bool) -> Vec<Block> {
        let Phase::Open { sent, contested: false, .. } = &mut self.remote.phase else {
            return Vec::new();
        };
        let mut new = Vec::new();
        for block in blocks {
            if block.end() <= sent.get(block.peer()) {
                continue;
            }
            let known = block.seq() == sent.get(block.peer())
                && block.header().deps.iter().all(|dep| sent.contains(*dep));
            let refused = self.remote.rejected.contains_key(&block.peer());
            if !known || refused {
                new.extend(self.take_unsent(also_unsaved));
                return new;
            }
            sent.extend(block.peer(), block.end());
            new.push(block.clone());
        }
        new
    }

    /// Lets the refused changes of `peer` be sent once more.
    pub(crate) fn forget_rejection(&mut self, peer: PeerId) {
        let Some(rejection) = self.remote.rejected.remove(&peer) else { return };
        if let Phase::Open { sent, .. } = &mut self.remote.phase {
            let taken = |(known, count): (PeerId, u32)| {
                (known, if known == peer { count.min(rejection.seq) } else { count })
            };
            *sent = sent.iter().map(taken).collect();
        }
    }

    /// The status, given where the connection stands when this document is not considered, and
    /// whether what is stored may be gone.
    pub(crate) fn status(
        &self,
        link: SyncState,
        reason: Option<Reason>,
        in_doubt: bool,
    ) -> DocStatus {
        let pending = self.remote.pending.len();
        let (state, reason) = match (&self.remote.phase, link) {
            (_, SyncState::Offline | SyncState::Connecting) => (link, reason),
            (Phase::Refused { reason, .. }, _) => (SyncState::Offline, Some(*reason)),
            (Phase::Open { caught_up: true, .. }, _) if pending == 0 => (SyncState::Saved, None),
            _ => (SyncState::Syncing, None),
        };
        let rejection = self.remote.rejected.values().next().map(|rejection| rejection.reason);
        DocStatus {
            loaded: self.load == Load::Done,
            state,
            pending,
            saved_here: (self.store.is_idle() || planted!(ShowsSavedBeforeItIs))
                && self.load == Load::Done
                && !in_doubt,
            reason: rejection.or(reason),
        }
    }

    /// Others in the document: by the server's word while it has us, else by the other tabs'.
    pub(crate) fn peers(&self) -> Vec<PresencePeer> {
        if matches!(self.remote.phase, Phase::Open { .. }) {
            return self.presence.from_server.clone();
        }
        let tabs = self.presence.from_tabs.iter();
        tabs.map(|(session, (payload, _))| PresencePeer {
            session: *session,
            principal: None,
            payload: payload.clone(),
        })
        .collect()
    }
}
