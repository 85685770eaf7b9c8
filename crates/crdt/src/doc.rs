//! A document: containers that several authors change at once and that end up equal everywhere.

use crate::block::{Block, BlockHeader};
use crate::graph::View;
use crate::history::{ChainMark, History};
use crate::id::{OpId, PeerId};
use crate::lww::LwwMap;
use crate::op::{ContainerId, Op};
use crate::patch::Patch;
use crate::stamp::Stamp;
use crate::state::{Moment, State};
use crate::table::Table;
use crate::text::{Hidden, Text};
use crate::transaction::Transaction;
use crate::undo::Undo;
use crate::value::Value;
use crate::version::VersionVector;

/// A document that merges: edit it here, import what others did, and all replicas agree.
///
/// It knows no clock and no randomness: the wall time comes in with each call and the peer id is
/// the caller's to choose.
///
/// ```
/// use leptos_sync_crdt::{Doc, PeerId, VersionVector};
///
/// let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
/// ada.transact(1_000, |tx| tx.text("note").insert(0, "milk")).0?;
/// ben.transact(1_000, |tx| tx.counter("votes").add(2));
///
/// ada.import(1_000, ben.blocks_since(ada.version()))?;
/// ben.import(1_000, ada.blocks_since(ben.version()))?;
/// assert_eq!(ben.text("note").to_string(), "milk");
/// assert_eq!(ada.counter("votes"), 2);
/// assert_eq!(ada.version(), ben.version());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Doc {
    peer: PeerId,
    pub(crate) history: History,
    pub(crate) state: State,
    pub(crate) pending: Vec<Block>,
    pub(crate) undo: Undo,
}

/// What a transaction did: the block to keep and send, and what changed for views.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The change, encoded. Store it, then send it.
    pub block: Block,
    /// What changed, in order.
    pub patches: Vec<Patch>,
}

impl std::fmt::Debug for Doc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Doc")
            .field("peer", &self.peer)
            .field("version", self.version())
            .field("pending", &self.pending.len())
            .finish_non_exhaustive()
    }
}

static EMPTY_TEXT: Text = Text::new();
static EMPTY_TABLE: Table = Table::new();
static EMPTY_MAP: LwwMap = LwwMap::new();

impl Doc {
    /// An empty document whose local changes will be written as `peer`.
    #[must_use]
    pub fn new(peer: PeerId) -> Self {
        Self {
            peer,
            history: History::default(),
            state: State::default(),
            pending: Vec::new(),
            undo: Undo::default(),
        }
    }

    /// Who the local changes are written as.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// Writes local changes as another peer from now on. Two replicas that are edited must never
    /// share one.
    pub fn set_peer(&mut self, peer: PeerId) {
        self.peer = peer;
    }

    /// Which operations are in the document.
    #[must_use]
    pub fn version(&self) -> &VersionVector {
        self.history.version()
    }

    /// How many blocks the document was built from.
    #[must_use]
    pub fn block_count(&self) -> usize {
        self.history.block_count()
    }

    /// How many bytes those blocks take, encoded.
    #[must_use]
    pub fn block_bytes(&self) -> usize {
        self.history.bytes()
    }

    /// The value of a register, if it was ever set.
    #[must_use]
    pub fn register(&self, name: &str) -> Option<&Value> {
        self.state.registers.get(name).map(crate::LwwRegister::get)
    }

    /// The map of this name; empty if nobody wrote to it.
    #[must_use]
    pub fn map(&self, name: &str) -> &LwwMap {
        self.state.maps.get(name).unwrap_or(&EMPTY_MAP)
    }

    /// The table of this name; empty if nobody wrote to it.
    #[must_use]
    pub fn table(&self, name: &str) -> &Table {
        self.state.tables.get(name).unwrap_or(&EMPTY_TABLE)
    }

    /// The counter's value: the wrapping sum of all that was added, 0 at first.
    #[must_use]
    pub fn counter(&self, id: impl Into<ContainerId>) -> i64 {
        self.state.counters.get(&id.into()).copied().unwrap_or_default().value()
    }

    /// The text; empty if nobody wrote to it.
    #[must_use]
    pub fn text(&self, id: impl Into<ContainerId>) -> &Text {
        self.state.texts.get(&id.into()).unwrap_or(&EMPTY_TEXT)
    }

    /// The names of the maps, tables, texts and registers at the top of the document, by kind.
    pub fn roots(&self) -> impl Iterator<Item = (RootKind, &str)> {
        let registers = self.state.registers.keys().map(|name| (RootKind::Register, &**name));
        let maps = self.state.maps.keys().map(|name| (RootKind::Map, &**name));
        let tables = self.state.tables.keys().map(|name| (RootKind::Table, &**name));
        let counters = self.state.counters.keys().filter_map(root_name);
        let texts = self.state.texts.keys().filter_map(root_name);
        registers
            .chain(maps)
            .chain(tables)
            .chain(counters.map(|name| (RootKind::Counter, name)))
            .chain(texts.map(|name| (RootKind::Text, name)))
    }

    /// Every counter, those in rows too, and its value.
    pub fn counters(&self) -> impl Iterator<Item = (&ContainerId, i64)> {
        self.state.counters.iter().map(|(id, counter)| (id, counter.value()))
    }

    /// Every text, those in rows too.
    pub fn texts(&self) -> impl Iterator<Item = (&ContainerId, &Text)> {
        self.state.texts.iter()
    }

    /// Runs `edit` as one change: atomic everywhere, and one step of undo. Returns what `edit`
    /// returned and the change, or no change if nothing was written.
    ///
    /// `wall_ms` is the current time in milliseconds since the Unix epoch.
    pub fn transact<R>(
        &mut self,
        wall_ms: u64,
        edit: impl FnOnce(&mut Transaction<'_>) -> R,
    ) -> (R, Option<Commit>) {
        let mut tx = Transaction::new(self, wall_ms);
        let result = edit(&mut tx);
        let (commit, inverses) = tx.finish();
        self.undo.record(self.peer, wall_ms, inverses);
        (result, commit)
    }

    /// The next change's id, stamp, and dependencies.
    pub(crate) fn next_header(&self, wall_ms: u64) -> BlockHeader {
        let heads = self.history.graph().heads().iter();
        BlockHeader {
            peer: self.peer,
            seq: self.version().get(self.peer),
            len: 0,
            stamp: Stamp::next(self.history.stamp_next(), wall_ms),
            deps: heads.copied().filter(|head| head.peer != self.peer).collect(),
        }
    }

    pub(crate) fn apply_op(
        &mut self,
        op: &Op,
        id: OpId,
        stamp: Stamp,
        view: &View,
        patches: &mut Vec<Patch>,
    ) -> Vec<Hidden> {
        self.state.apply(op, &Moment { id, stamp, view }, patches)
    }

    /// The blocks with operations that `version` lacks, each after all it depends on.
    #[must_use]
    pub fn blocks_since(&self, version: &VersionVector) -> Vec<Block> {
        self.history.since(version)
    }

    /// How many blocks have operations that `version` lacks.
    #[must_use]
    pub fn count_blocks_since(&self, version: &VersionVector) -> usize {
        self.history.count_since(version)
    }

    /// How far a peer's chain of blocks is known; `None` if it wrote nothing known here.
    #[must_use]
    pub fn chain_mark(&self, peer: PeerId) -> Option<ChainMark> {
        self.history.mark(peer)
    }

    /// The hash over a peer's blocks up to `seq`, if a known block ends there.
    #[must_use]
    pub fn chain_hash_at(&self, peer: PeerId, seq: u32) -> Option<u64> {
        self.history.hash_at(peer, seq)
    }

    /// How many imported blocks wait for a block they depend on, or for the time they claim.
    #[must_use]
    pub fn pending_count(&self) -> usize {
        self.pending.len()
    }
}

/// What kind of container a name at the top of a document stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RootKind {
    /// A single value.
    Register,
    /// A map of values.
    Map,
    /// A table of rows.
    Table,
    /// A counter.
    Counter,
    /// A collaborative text.
    Text,
}

fn root_name(id: &ContainerId) -> Option<&str> {
    match id {
        ContainerId::Root(name) => Some(name),
        ContainerId::Cell { .. } => None,
    }
}
