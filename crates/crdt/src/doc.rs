//! A document: containers that several authors change at once and that end up equal everywhere.

use std::cell::OnceCell;

use crate::apply::patch_of;
use crate::block::{Block, BlockHeader};
use crate::cells::{CellOp, Fields};
use crate::container::{
    Container, ContainerId, ContainerIx, ContainerKey, ContainerKind, Containers, Content, FOLLOWED,
};
use crate::gather::Gather;
use crate::graph::Lv;
use crate::history::{ChainMark, History};
use crate::id::{OpId, PeerId};
use crate::list::List;
use crate::lww::LwwMap;
use crate::names::Names;
use crate::numbers::{self, Numbers};
use crate::op::Body;
use crate::past::PastError;
use crate::patch::Patch;
use crate::search::Search;
use crate::shallow::TRUNCATED;
use crate::snapshot::ColdHistory;
use crate::sorting::sort;
use crate::table::Table;
use crate::text::{RunKind, Text, delta_of};
use crate::transaction::Transaction;
use crate::tree::{Tree, TreeState, Trees};
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
    /// Read from `cold` when it is first needed.
    history: OnceCell<History>,
    cold: Option<ColdHistory>,
    pub(crate) containers: Containers,
    pub(crate) pending: Vec<Block>,
    pub(crate) undo: Undo,
    /// What the last transaction changed in lists, trees and marks, by operation.
    pub(crate) local_edits: Vec<(Lv, Patch)>,
    /// The fields of a new row while it is made; empty, but for its room, between rows.
    pub(crate) row: Fields,
    /// What a later version of this library put into the snapshot that the document came from.
    pub(crate) unknown_chunks: Vec<(u8, Box<[u8]>)>,
}

/// A transaction that was made: ask [`Doc::block`] for the change to keep and send, and
/// [`Doc::patches`] for what views must redraw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    pub(crate) start: Lv,
    pub(crate) len: u32,
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

impl Doc {
    /// An empty document whose local changes will be written as `peer`.
    #[must_use]
    pub fn new(peer: PeerId) -> Self {
        Self {
            peer,
            history: OnceCell::from(History::new()),
            cold: None,
            containers: Containers::default(),
            pending: Vec::new(),
            undo: Undo::default(),
            local_edits: Vec::new(),
            row: Fields::new(),
            unknown_chunks: Vec::new(),
        }
    }

    pub(crate) fn from_parts(peer: PeerId, containers: Containers, cold: ColdHistory) -> Self {
        let mut doc = Self::new(peer);
        (doc.history, doc.cold, doc.containers) = (OnceCell::new(), Some(cold), containers);
        doc
    }

    /// The log; it is read in now if the document was loaded without it.
    pub(crate) fn history(&self) -> &History {
        self.history.get_or_init(|| {
            let cold = self.cold.as_ref().expect("a document has its history or can read it");
            cold.thaw(&self.containers)
        })
    }

    /// Where edits of texts are logged, and how they are undone: what the document was loaded from
    /// need not be read for them.
    pub(crate) fn log_mut(&mut self) -> (&mut History, &mut Containers, &mut Undo) {
        let history = match self.history.get_mut() {
            // What was read in goes on by itself.
            Some(history) => {
                self.cold = None;
                history
            }
            None => &mut self.cold.as_mut().expect("there is no history otherwise").since,
        };
        (history, &mut self.containers, &mut self.undo)
    }

    /// Whether the history that the document was loaded with is still to be read.
    pub(crate) fn is_cold(&self) -> bool {
        self.history.get().is_none()
    }

    /// The log that has an operation of a transaction that was made here.
    fn log_of(&self, commit: &Commit) -> &History {
        match &self.cold {
            Some(cold) if self.is_cold() && cold.end <= commit.start => &cold.since,
            _ => self.history(),
        }
    }

    pub(crate) fn history_mut(&mut self) -> &mut History {
        self.parts_mut().0
    }

    /// The log and the containers, to be changed side by side.
    pub(crate) fn parts_mut(&mut self) -> (&mut History, &mut Containers) {
        if self.cold.is_some() {
            self.warm_up();
        }
        let history = self.history.get_mut().expect("what is not cold has its history");
        (history, &mut self.containers)
    }

    /// Reads the history in for good.
    #[cold]
    fn warm_up(&mut self) {
        self.history();
        self.cold = None;
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
        match &self.cold {
            Some(cold) => cold.version(),
            None => self.history().graph.version(),
        }
    }

    /// The version from which on what happened is known: empty unless the document was trimmed.
    #[must_use]
    pub fn history_start(&self) -> &VersionVector {
        match &self.cold {
            Some(cold) => cold.start(),
            None => &self.history().base.version,
        }
    }

    /// How many blocks the document was built from, since [`Doc::history_start`].
    #[must_use]
    pub fn block_count(&self) -> usize {
        self.history().block_count()
    }

    fn content(
        &self,
        kind: ContainerKind,
        key: &ContainerKey<'_>,
    ) -> Option<(ContainerIx, &Content)> {
        let index = self.containers.find(kind, key)?;
        Some((index, &self.containers.get(index).content))
    }

    /// The value of a register, if it was ever set. Written by [`crate::RegisterMut`].
    ///
    /// Merge rule in one sentence: the write with the greatest `(stamp, peer)` holds.
    ///
    /// ```
    /// use leptos_sync_crdt::{Doc, PeerId};
    /// let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
    /// ada.transact(60_000, |tx| tx.register("title").set("Later"));
    /// ben.transact(0, |tx| tx.register("title").set("Earlier"));
    /// ada.import(60_000, ben.blocks_since(ada.version()))?;
    /// ben.import(60_000, ada.blocks_since(ben.version()))?;
    /// assert_eq!(ada.register("title"), Some("Later".into()));
    /// assert_eq!(ben.register("title"), Some("Later".into()));
    /// # Ok::<(), leptos_sync_crdt::ImportError>(())
    /// ```
    #[must_use]
    pub fn register<'k>(&self, id: impl Into<ContainerKey<'k>>) -> Option<Value> {
        match self.content(ContainerKind::Register, &id.into())? {
            (_, Content::Register(log, state)) => log.value(state.winner?, None),
            _ => None,
        }
    }

    /// The map; empty if nobody wrote to it.
    #[must_use]
    pub fn map<'k>(&self, id: impl Into<ContainerKey<'k>>) -> LwwMap<'_> {
        let content = match self.content(ContainerKind::Map, &id.into()) {
            Some((index, Content::Map(log, state))) => {
                Some((&self.containers.get(index).id, log, state))
            }
            _ => None,
        };
        LwwMap { content }
    }

    /// The table of this name; empty if nobody wrote to it.
    #[must_use]
    pub fn table(&self, name: &str) -> Table<'_> {
        let content = match self.content(ContainerKind::Table, &name.into()) {
            Some((_, Content::Table(log, state))) => Some((log, state)),
            _ => None,
        };
        Table { graph: &self.history().graph, content }
    }

    /// The counter's value, 0 at first. Written by [`crate::CounterMut`].
    ///
    /// Merge rule in one sentence: the value is the sum of all that anyone added, each addition
    /// counted once, and wraps around at the ends of `i64`.
    ///
    /// ```
    /// use leptos_sync_crdt::{Doc, PeerId};
    /// let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
    /// ada.transact(0, |tx| tx.counter("votes").add(2));
    /// ben.transact(0, |tx| tx.counter("votes").add(-1));
    /// ada.import(0, ben.blocks_since(ada.version()))?;
    /// ada.import(0, ben.blocks_since(&Default::default()))?; // again: nothing is added twice
    /// assert_eq!(ada.counter("votes"), 1);
    /// # Ok::<(), leptos_sync_crdt::ImportError>(())
    /// ```
    #[must_use]
    pub fn counter<'k>(&self, id: impl Into<ContainerKey<'k>>) -> i64 {
        match self.content(ContainerKind::Counter, &id.into()) {
            Some((_, Content::Counter(_, state))) => state.value(),
            _ => 0,
        }
    }

    /// The text; empty if nobody wrote to it.
    #[must_use]
    pub fn text<'k>(&self, id: impl Into<ContainerKey<'k>>) -> Text<'_> {
        self.text_of(self.containers.find(ContainerKind::Text, &id.into()))
    }

    pub(crate) fn text_of(&self, index: Option<ContainerIx>) -> Text<'_> {
        let content = index.and_then(|index| match &self.containers.get(index).content {
            Content::Text(log, state) => Some((index, log, state)),
            _ => None,
        });
        Text { doc: self, content }
    }

    /// The list; empty if nobody wrote to it.
    #[must_use]
    pub fn list<'k>(&self, id: impl Into<ContainerKey<'k>>) -> List<'_> {
        self.list_of(self.containers.find(ContainerKind::List, &id.into()))
    }

    /// The movable list; empty if nobody wrote to it. For how moves merge, see
    /// [`crate::MovableListMut`].
    #[must_use]
    pub fn movable_list<'k>(&self, id: impl Into<ContainerKey<'k>>) -> List<'_> {
        self.list_of(self.containers.find(ContainerKind::MovableList, &id.into()))
    }

    pub(crate) fn list_of(&self, index: Option<ContainerIx>) -> List<'_> {
        let content = index.and_then(|index| match &self.containers.get(index).content {
            Content::List(log, state) => Some((index, log, state)),
            _ => None,
        });
        List { doc: self, content }
    }

    /// The tree; empty if nobody wrote to it.
    #[must_use]
    pub fn tree<'k>(&self, id: impl Into<ContainerKey<'k>>) -> Tree<'_> {
        FOLLOWED.trees.get_or_init(|| &Trees);
        let index = self.containers.find(ContainerKind::Tree, &id.into());
        Tree { doc: self, state: self.tree_state(index) }
    }

    pub(crate) fn tree_state(&self, index: Option<ContainerIx>) -> Option<&TreeState> {
        match &self.containers.get(index?).content {
            Content::Tree(log, state) => {
                FOLLOWED.trees.get_or_init(|| &Trees);
                Some(state.get(log, &self.history().graph))
            }
            _ => None,
        }
    }

    /// The names of the containers at the top of the document, by kind.
    pub fn roots(&self) -> impl Iterator<Item = (ContainerKind, &str)> {
        self.containers
            .iter()
            .filter_map(|(_, container)| Some((container.kind, &**container.id.root_name()?)))
    }

    /// Every counter, those in rows too, and its value.
    pub fn counters(&self) -> impl Iterator<Item = (&ContainerId, i64)> {
        self.containers.iter().filter_map(|(_, container)| match &container.content {
            Content::Counter(_, state) => Some((&container.id, state.value())),
            _ => None,
        })
    }

    /// Every text, those in rows too.
    pub fn texts(&self) -> impl Iterator<Item = (&ContainerId, Text<'_>)> {
        self.containers.iter().filter_map(|(index, container)| match &container.content {
            Content::Text(..) => Some((&container.id, self.text_of(Some(index)))),
            _ => None,
        })
    }

    /// Runs `edit` as one change: atomic everywhere, and one step of undo. Returns what `edit`
    /// returned and the change, or no change if nothing was written.
    ///
    /// `wall_ms` is the current time in milliseconds since the Unix epoch. If `edit` panics, the
    /// document is as it was before.
    pub fn transact<R>(
        &mut self,
        wall_ms: u64,
        edit: impl FnOnce(&mut Transaction<'_>) -> R,
    ) -> (R, Option<Commit>) {
        let mut tx = Transaction::new(self, wall_ms);
        let result = edit(&mut tx);
        (result, tx.commit())
    }

    /// Begins a change that may still be given up: see [`Transaction`]. Giving up what was written
    /// reads the document anew from its history. `wall_ms` is the current time in milliseconds
    /// since the Unix epoch.
    ///
    /// ```
    /// use leptos_sync_crdt::{Doc, PeerId};
    /// fn take(doc: &mut Doc, count: i64) -> bool {
    ///     let mut tx = doc.begin(0);
    ///     tx.counter("stock").add(-count);
    ///     tx.doc().counter("stock") >= 0 && tx.commit().is_some()
    /// }
    /// let mut doc = Doc::new(PeerId(1));
    /// assert!(!take(&mut doc, 3));
    /// assert_eq!((doc.counter("stock"), doc.block_count()), (0, 0));
    /// ```
    pub fn begin(&mut self, wall_ms: u64) -> Transaction<'_> {
        Transaction::revocable(self, wall_ms)
    }

    /// A transaction of this document as a block, to be stored and sent.
    #[must_use]
    pub fn block(&self, commit: &Commit) -> Block {
        let history = self.log_of(commit);
        let (start, len) = history.transaction_at(commit.start);
        self.block_in(history, start, len)
    }

    /// What a transaction of this replica changed, in order. Ask right after making it: positions
    /// are those of that moment.
    #[must_use]
    pub fn patches(&self, commit: &Commit) -> Vec<Patch> {
        let history = self.log_of(commit);
        let mut patches = Vec::new();
        for (start, end, index) in history.spans(commit.start, commit.start + commit.len) {
            let container = self.containers.get(index);
            if container.kind.notes_edits() {
                patches.extend(self.noted_edits(start, end));
                continue;
            }
            if container.kind == ContainerKind::Text {
                let runs = history.runs(index);
                for piece in runs.pieces(start, end) {
                    if piece.kind == RunKind::Aside {
                        patches.extend(self.noted_edits(piece.start, piece.end()));
                        continue;
                    }
                    let (id, delta) = (container.id.clone(), delta_of(&piece, runs));
                    patches.push(Patch::Text { id, delta });
                }
                continue;
            }
            let patch =
                |(lv, op): (Lv, CellOp)| patch_of(&self.containers, &history.graph, index, lv, &op);
            patches.extend(container.content.cells().ops(start, end).filter_map(patch));
        }
        patches
    }

    fn noted_edits(&self, start: Lv, end: Lv) -> impl Iterator<Item = Patch> {
        let first = self.local_edits.count_while(|(lv, _)| *lv < start);
        let edits = self.local_edits[first..].iter().take_while(move |(lv, _)| *lv < end);
        edits.map(|(_, patch)| patch.clone())
    }

    /// The block that holds an operation.
    pub(crate) fn block_of(&self, op: OpId) -> Option<Block> {
        let history = self.history();
        let lv = history.graph.lv_of(op).filter(|lv| *lv >= history.graph.base())?;
        let (start, len) = history.transaction_at(lv);
        Some(self.block_from(start, len))
    }

    /// The transaction from `start` on as a block.
    pub(crate) fn block_from(&self, start: Lv, len: u32) -> Block {
        self.block_in(self.history(), start, len)
    }

    fn block_in(&self, history: &History, start: Lv, len: u32) -> Block {
        let graph = &history.graph;
        let id = graph.id_of(start);
        let parents = graph.parents_of(start);
        let parents = parents.iter().map(|parent| graph.id_of(*parent));
        let mut deps = parents.filter(|parent| parent.peer != id.peer).gather();
        sort(&mut deps);
        let stamp = graph.stamp_of(start);
        let header = BlockHeader { peer: id.peer, seq: id.seq, len, stamp, deps };
        let (mut body, mut names) = (Body::default(), Names::default());
        let mut places = Numbers::new();
        for (start, end, index) in history.spans(start, start + len) {
            let Container { kind, id, content } = self.containers.get(index);
            let (place, _) = numbers::number(&mut places, index.into());
            let (log, all) = (content.cells(), content.names());
            let range = (start, end);
            body.take(place, (*kind, id), history.runs(index), range, &mut |lv| {
                let op = log.get(lv)?.map_names(&mut |name| names.intern(all.get(name)));
                Some(op.map_rows(&mut |row| row.by_id(graph)))
            });
        }
        for name in names.iter() {
            body.names.push(name.clone());
        }
        Block::encode(header, &body)
    }

    pub(crate) fn blocks_in(&self, (start, end): (Lv, Lv)) -> impl Iterator<Item = Block> {
        let history = self.history();
        let first = history.transaction_at(start).0;
        let stretches = history.transactions(first, end).into_iter();
        stretches.flat_map(move |(from, len, count)| {
            (0..count).map(move |i| self.block_from(from + i * len, len))
        })
    }

    /// The blocks with operations that `version` lacks, each after all it depends on.
    ///
    /// # Panics
    /// If the document was trimmed and `version` lacks something from before
    /// [`Doc::history_start`]: see [`Doc::try_blocks_since`].
    #[must_use]
    pub fn blocks_since(&self, version: &VersionVector) -> Vec<Block> {
        self.try_blocks_since(version).unwrap_or_else(|_| panic!("{TRUNCATED}"))
    }

    /// As [`Doc::blocks_since`], of a document that may have been trimmed.
    ///
    /// # Errors
    /// [`PastError::Truncated`] if `version` lacks something that was trimmed away.
    pub fn try_blocks_since(&self, version: &VersionVector) -> Result<Vec<Block>, PastError> {
        if version.covers(self.version()) {
            return Ok(Vec::new());
        }
        self.check_start(version)?;
        let missing = self.history().graph.missing_from(version);
        Ok(missing.into_iter().flat_map(|range| self.blocks_in(range)).collect())
    }

    /// How many blocks have operations that `version` lacks.
    ///
    /// # Panics
    /// As [`Doc::blocks_since`].
    #[must_use]
    pub fn count_blocks_since(&self, version: &VersionVector) -> usize {
        self.check_start(version).unwrap_or_else(|_| panic!("{TRUNCATED}"));
        if version.covers(self.version()) {
            return 0;
        }
        let history = self.history();
        let count = |(start, end): (Lv, Lv)| {
            let first = history.transaction_at(start).0;
            history
                .transactions(first, end)
                .iter()
                .map(|(_, _, count)| *count as usize)
                .sum::<usize>()
        };
        history.graph.missing_from(version).into_iter().map(count).sum()
    }

    /// How far a peer's chain of blocks is known; `None` if it wrote nothing known here.
    #[must_use]
    pub fn chain_mark(&self, peer: PeerId) -> Option<ChainMark> {
        let seq = self.version().get(peer);
        let hash = self.chain_hash_at(peer, seq)?;
        (seq > 0).then_some(ChainMark { seq, hash })
    }

    /// The hash over a peer's blocks up to `seq`, if a known block ends there. In a trimmed
    /// document it is known from [`Doc::history_start`] on.
    #[must_use]
    pub fn chain_hash_at(&self, peer: PeerId, seq: u32) -> Option<u64> {
        if seq > self.version().get(peer) {
            return None;
        }
        let history = self.history();
        let (mut at, mut hash) = if seq > 0 { history.base.mark(peer) } else { (0, 0) };
        while at < seq {
            let start = history.graph.lv_of(OpId::new(peer, at))?;
            let (start, len) = history.transaction_at(start);
            hash = self.block_from(start, len).chain_hash(hash);
            at += len;
        }
        (at == seq).then_some(hash)
    }

    /// How many imported blocks wait for a block they depend on, or for the time they claim.
    #[must_use]
    pub fn pending_count(&self) -> usize {
        self.pending.len()
    }
}
