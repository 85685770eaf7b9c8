//! Taking in what others wrote: validate everything, then commit.

use std::collections::{BTreeMap, BTreeSet};

use crate::apply::apply_cell;
use crate::block::Block;
use crate::cells::{CellOp, RowRef};
use crate::codec::DecodeError;
use crate::container::{ContainerIx, ContainerKey, ContainerKind, Containers, Content};
use crate::doc::Doc;
use crate::graph::{Graph, Lv};
use crate::history::History;
use crate::id::{OpId, PeerId};
use crate::list::ListState;
use crate::names::NameIx;
use crate::op::{Action, Body};
use crate::patch::Patch;
use crate::sorting::sort;
use crate::stamp::Stamp;
use crate::text::{RunKind, TextState, patches_of};
use crate::tree::{TreeState, changes};
use crate::version::VersionVector;

/// How many blocks may wait for what they depend on.
pub const PENDING_BLOCKS_MAX: usize = 100_000;

/// A document holds fewer operations than this.
pub(crate) const OPS_MAX: Lv = 1 << 31;

/// What an import did.
#[derive(Clone, Debug, Default)]
pub struct Import {
    /// The blocks that are now in the document and were not before, in the order of application.
    pub applied: Vec<Block>,
    /// What changed. The patches of one text are in order, those of its marks last: they are about
    /// the text as it is then. So are the patches of everything else.
    pub patches: Vec<Patch>,
    /// How many blocks now wait inside the document for what they depend on.
    pub pending: usize,
    /// Blocks from earlier imports that waited and turned out invalid; they were dropped.
    pub rejected: Vec<OpId>,
}

/// Why an import was refused. The document is as it was: no block of the import was applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// A block's body does not decode.
    #[error("block {peer}.{seq} is malformed")]
    Decode {
        /// The block's author.
        peer: PeerId,
        /// The block's first seq.
        seq: u32,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// An update file does not decode.
    #[error("the update is malformed")]
    Update(#[source] DecodeError),
    /// A different block with this name is already known: two authors share a peer id.
    #[error("two different blocks are called {peer}.{seq}")]
    DuplicatePeer {
        /// The shared peer id.
        peer: PeerId,
        /// The block's first seq.
        seq: u32,
    },
    /// A block's stamp is not above the stamps of what it depends on.
    #[error("block {peer}.{seq} is stamped before what it depends on")]
    Stamp {
        /// The block's author.
        peer: PeerId,
        /// The block's first seq.
        seq: u32,
    },
    /// An update depends on a change that is not here: ask for an update since this version.
    #[error("the update depends on {0}, which is not here")]
    Missing(OpId),
    /// A block, or a part of an update, was written without having seen all of what this document
    /// was trimmed to: see [`Doc::history_start`]. Its author has to [`Doc::rebase`].
    #[error("change {peer}.{seq} is older than the document's history")]
    Truncated {
        /// The author.
        peer: PeerId,
        /// The first seq.
        seq: u32,
    },
    /// An update claims to be from more than [`crate::FUTURE_MS_MAX`] ahead of the clock.
    #[error("the update is from the future")]
    FromTheFuture,
    /// More than [`PENDING_BLOCKS_MAX`] blocks would wait for what they depend on.
    #[error("too many blocks wait for missing dependencies")]
    TooManyPending,
    /// The document would have more than 2^31 operations.
    #[error("the document is full")]
    Full,
}

/// Blocks by author and first seq.
type Waiting = BTreeMap<(PeerId, u32), Block>;

/// End and stamp of blocks that are ready, by author and first seq.
type Stamps = BTreeMap<(PeerId, u32), (u32, Stamp)>;

/// What an import will do, worked out before anything is changed.
#[derive(Default)]
struct Plan {
    ready: Vec<(Block, Body)>,
    waiting: Waiting,
    rejected: Vec<OpId>,
    /// What will be in the document.
    version: VersionVector,
    stamps: Stamps,
}

impl Doc {
    /// Merges blocks in any order. Blocks that are already known are skipped; ones that depend on
    /// unknown blocks, or claim to be from more than [`crate::FUTURE_MS_MAX`] after `wall_ms`,
    /// wait inside the document for a later import.
    ///
    /// # Errors
    /// [`ImportError`]; nothing of this import was applied then.
    pub fn import(
        &mut self,
        wall_ms: u64,
        blocks: impl IntoIterator<Item = Block>,
    ) -> Result<Import, ImportError> {
        self.import_all(wall_ms, blocks.into_iter().collect())
    }

    fn import_all(&mut self, wall_ms: u64, blocks: Vec<Block>) -> Result<Import, ImportError> {
        // In a live session blocks come one by one, each right after what it depends on.
        if let [block] = &blocks[..]
            && self.is_next(wall_ms, block)
        {
            let body = self.check(block, self.version(), &Stamps::new())?;
            let mut import = Import::default();
            self.commit(blocks.into_iter().zip([body]).collect(), &mut import);
            return Ok(import);
        }
        let mut incoming = Waiting::new();
        for block in blocks {
            self.admit(&mut incoming, block)?;
        }
        let plan = self.plan(wall_ms, incoming)?;
        let mut import = Import { rejected: plan.rejected, ..Import::default() };
        self.pending = plan.waiting.into_values().collect();
        import.pending = self.pending.len();
        if !plan.ready.is_empty() {
            self.commit(plan.ready, &mut import);
        }
        Ok(import)
    }

    /// Whether a block can be taken in as it is, and nothing waits that it could set free.
    fn is_next(&self, wall_ms: u64, block: &Block) -> bool {
        let header = block.header();
        let end = u64::from(self.history().graph.end()) + u64::from(header.len);
        self.pending.is_empty()
            && header.seq == self.version().get(header.peer)
            && missing_dep(block, PeerId(0), self.version()).is_none()
            && !header.stamp.is_future(wall_ms)
            && end < u64::from(OPS_MAX)
    }

    /// Checks one block against what is known and adds it to the incoming ones if it is new.
    fn admit(&self, incoming: &mut Waiting, block: Block) -> Result<(), ImportError> {
        let (peer, seq) = (block.peer(), block.seq());
        let duplicate = ImportError::DuplicatePeer { peer, seq };
        if seq < self.version().get(peer) {
            let base = self.history_start().get(peer);
            if seq < base {
                return if block.end() <= base { Ok(()) } else { Err(duplicate) };
            }
            let known = self.block_of(OpId::new(peer, seq));
            return if known.as_ref() == Some(&block) { Ok(()) } else { Err(duplicate) };
        }
        match incoming.insert((peer, seq), block.clone()) {
            Some(other) if other != block => Err(duplicate),
            _ => Ok(()),
        }
    }

    /// Orders blocks so that each comes after what it depends on, an author's one after the other
    /// as far as that goes: versions then seldom have to be switched when they are merged.
    fn plan(&self, wall_ms: u64, incoming: Waiting) -> Result<Plan, ImportError> {
        let mut plan = Plan { version: self.version().clone(), ..Plan::default() };
        plan.waiting = incoming.clone();
        for block in &self.pending {
            plan.waiting.entry((block.peer(), block.seq())).or_insert_with(|| block.clone());
        }
        // Who waits for which operation of whom.
        let mut blocked = BTreeSet::<(PeerId, u32, PeerId)>::new();
        // Whose turn it is, and from which peer on its next block's dependencies are to be looked
        // at: a merge of very many peers waits for one after the other.
        let all = plan.waiting.keys().map(|(peer, _)| (*peer, PeerId(0)));
        let mut peers: Vec<(PeerId, PeerId)> = all.collect();
        peers.dedup();
        peers.reverse();
        while let Some((peer, mut from)) = peers.pop() {
            while let Some((key, block)) = next_of(&plan.waiting, peer) {
                if block.header().stamp.is_future(wall_ms) {
                    break;
                }
                if let Some(missing) = missing_dep(&block, from, &plan.version) {
                    blocked.insert((missing.peer, missing.seq, peer));
                    break;
                }
                from = PeerId(0);
                plan.waiting.remove(&key);
                match self.check(&block, &plan.version, &plan.stamps) {
                    Ok(body) => {
                        plan.version.extend(peer, block.end());
                        plan.stamps.insert(key, (block.end(), block.header().stamp));
                        plan.ready.push((block, body));
                    }
                    Err(error) if incoming.contains_key(&key) => return Err(error),
                    Err(_) => plan.rejected.push(OpId::new(key.0, key.1)),
                }
            }
            let upto = plan.version.get(peer);
            let free: Vec<_> =
                blocked.range((peer, 0, PeerId(0))..(peer, upto, PeerId(0))).copied().collect();
            for entry in free {
                blocked.remove(&entry);
                peers.push((entry.2, entry.0));
            }
        }
        // What has to wait must at least be sound.
        for ((peer, seq), block) in &plan.waiting {
            if incoming.contains_key(&(*peer, *seq)) {
                let malformed = |source| ImportError::Decode { peer: *peer, seq: *seq, source };
                block.validate().map_err(malformed)?;
            }
        }
        let new: u64 = plan.ready.iter().map(|(block, _)| u64::from(block.header().len)).sum();
        if u64::from(self.history().graph.end()) + new >= u64::from(OPS_MAX) {
            return Err(ImportError::Full);
        }
        if plan.waiting.len() > PENDING_BLOCKS_MAX {
            return Err(ImportError::TooManyPending);
        }
        Ok(plan)
    }

    /// The last check of a block whose dependencies are all in `version`; `stamps` has those that
    /// are not in the document yet.
    fn check(
        &self,
        block: &Block,
        version: &VersionVector,
        stamps: &Stamps,
    ) -> Result<Body, ImportError> {
        let (peer, seq) = (block.peer(), block.seq());
        if seq != version.get(peer) {
            return Err(ImportError::DuplicatePeer { peer, seq });
        }
        let previous = seq.checked_sub(1).map(|seq| OpId::new(peer, seq));
        let graph = &self.history().graph;
        let mut sees_base = graph.base() == 0;
        for dep in block.header().deps.iter().copied().chain(previous) {
            // What is not here yet is part of this import and was checked before.
            sees_base |= graph.lv_of(dep).is_none_or(|lv| graph.sees_base(&[lv]));
            let planned = stamps.range(..=(dep.peer, dep.seq)).next_back();
            let planned = planned.filter(|((of, _), (end, _))| *of == dep.peer && dep.seq < *end);
            let stamp = planned.map_or_else(
                || graph.lv_of(dep).map(|lv| graph.stamp_of(lv)),
                |((_, first), (_, stamp))| Some(stamp.plus(dep.seq - first)),
            );
            if stamp.is_none_or(|stamp| block.header().stamp <= stamp) {
                return Err(ImportError::Stamp { peer, seq });
            }
        }
        if !sees_base {
            return Err(ImportError::Truncated { peer, seq });
        }
        block.body().map_err(|source| ImportError::Decode { peer, seq, source })
    }

    fn commit(&mut self, ready: Vec<(Block, Body)>, import: &mut Import) {
        let (history, containers) = self.parts_mut();
        let mut texts = ToMerge::new(&history.graph);
        let mut ops = Vec::new();
        for (block, body) in ready {
            let header = block.header();
            let id = OpId::new(header.peer, header.seq);
            let parents = parents_of(&history.graph, id, &header.deps);
            let start = history.graph.push(id, header.len, header.stamp, &parents);
            history.note_bounds(start, header.len, 1);
            let places: Vec<ContainerIx> = body
                .containers
                .iter()
                .map(|(kind, id)| containers.intern(*kind, &ContainerKey::Id(id)))
                .collect();
            let mut lv = start;
            for op in body.ops {
                let op_place = op.container;
                let index = places[op_place];
                history.note_span(lv, index);
                let len = op.len();
                match op.action {
                    Action::Text { kind, pos, len, content } => {
                        history.runs_mut(index).push_run(lv, pos, len, kind, &content, false);
                        texts.touch(index);
                    }
                    Action::List { kind, pos, len, values } => {
                        history.runs_mut(index).push_run(lv, pos, len, kind, "", false);
                        texts.touch(index);
                        ops.extend((lv..).zip(values.into_iter().map(CellOp::Set)));
                    }
                    Action::Move { pos, element } => {
                        history.runs_mut(index).push_run(lv, pos, 1, RunKind::Insert, "", false);
                        texts.touch(index);
                        ops.push((lv, CellOp::Move { element }));
                    }
                    Action::Cell(op) => {
                        let kind = body.containers[op_place].0;
                        if kind.is_sequence() {
                            history.runs_mut(index).push_run(lv, 0, 1, RunKind::Aside, "", false);
                        }
                        if matches!(kind, ContainerKind::Text | ContainerKind::Tree) {
                            texts.touch(index);
                        }
                        ops.push((lv, op));
                    }
                }
                for (lv, op) in ops.drain(..) {
                    let content = &mut containers.get_mut(index).content;
                    let op = op.map_rows(row_resolver(history, index, content, lv));
                    let op = op.map_names(|name| intern_name(content, &body.names[name as usize]));
                    apply_cell(containers, &history.graph, index, lv, &op, &mut import.patches);
                }
                lv += len;
            }
            import.applied.push(block);
        }
        texts.merge(history, containers, &mut import.patches);
    }
}

/// The texts, lists and trees that an import wrote to, and where it starts.
pub(crate) struct ToMerge {
    start: Lv,
    heads: Vec<Lv>,
    /// By container: whether it was written to.
    touched: Vec<bool>,
    order: Vec<ContainerIx>,
}

impl ToMerge {
    pub(crate) fn new(graph: &Graph) -> Self {
        let (start, heads) = (graph.end(), graph.heads().to_vec());
        Self { start, heads, touched: Vec::new(), order: Vec::new() }
    }

    pub(crate) fn touch(&mut self, index: ContainerIx) {
        if self.touched.len() <= index as usize {
            self.touched.resize(index as usize + 1, false);
        }
        if !std::mem::replace(&mut self.touched[index as usize], true) {
            self.order.push(index);
        }
    }

    pub(crate) fn merge(
        self,
        history: &mut History,
        containers: &mut Containers,
        patches: &mut Vec<Patch>,
    ) {
        let range = (self.start, history.graph.end());
        for index in self.order {
            let container = containers.get_mut(index);
            let id = || container.id.clone();
            let (graph, runs) = history.parts_mut(index);
            match &mut container.content {
                Content::Text(log, state) => {
                    let deltas = state.merge(graph, runs, &self.heads, range).into_iter();
                    patches.extend(deltas.map(|delta| Patch::Text { id: id(), delta }));
                    for (key, changes) in state.mark_changes(log, graph, runs, range.0) {
                        patches.extend(patches_of(&container.id, &key, changes));
                    }
                }
                Content::List(log, state) => {
                    let deltas = state.merge(log, graph, runs, &self.heads, range).into_iter();
                    patches.extend(deltas.map(|delta| Patch::List { id: id(), delta }));
                }
                Content::Tree(log, state) => {
                    let state = state.get_mut(log, graph);
                    let before = state.settle(graph);
                    let changes = changes(state, graph, &before);
                    let has_changed = !changes.is_empty();
                    patches.extend(has_changed.then(|| Patch::Tree { id: id(), changes }));
                }
                _ => {}
            }
        }
    }
}

/// An author's next waiting block.
fn next_of(waiting: &Waiting, peer: PeerId) -> Option<((PeerId, u32), Block)> {
    let (key, block) = waiting.range((peer, 0)..=(peer, u32::MAX)).next()?;
    Some((*key, block.clone()))
}

/// An operation that a block depends on and a version lacks; it has those of peers below `from`.
fn missing_dep(block: &Block, from: PeerId, version: &VersionVector) -> Option<OpId> {
    let header = block.header();
    let first = header.deps.partition_point(|dep| dep.peer < from);
    let previous = header.seq.checked_sub(1).map(|seq| OpId::new(header.peer, seq));
    let mut all = header.deps[first..].iter().copied().chain(previous);
    all.find(|dep| !version.contains(*dep))
}

/// The parents of a peer's operation that depends on these: its own last one too, unless those
/// follow it.
pub(crate) fn parents_of(graph: &Graph, id: OpId, deps: &[OpId]) -> Vec<Lv> {
    let known = |id: OpId| graph.lv_of(id).expect("dependencies are checked before");
    let mut parents: Vec<Lv> = deps.iter().map(|dep| known(*dep)).collect();
    if let Some(seq) = id.seq.checked_sub(1) {
        let previous = known(OpId::new(id.peer, seq));
        if !graph.sees(&parents, previous) {
            parents.push(previous);
        }
    }
    sort(&mut parents);
    parents
}

pub(crate) fn intern_name(content: &mut Content, name: &str) -> NameIx {
    match content {
        Content::Map(_, state) => state.intern(name),
        Content::Table(_, state) => state.names.intern(name),
        Content::Text(_, state) => state.marks.keys.intern(name),
        _ => 0,
    }
}

/// What the rows, elements, nodes or characters that an operation names are here.
pub(crate) fn row_resolver<'a>(
    history: &'a History,
    index: ContainerIx,
    content: &'a Content,
    lv: Lv,
) -> impl Fn(RowRef) -> RowRef + 'a {
    let graph = &history.graph;
    move |row| match (row, content) {
        (RowRef::Stray(id), Content::Table(_, state)) => state.row_ref(graph, id, lv),
        (RowRef::Stray(id), Content::Text(..)) => {
            TextState::char_ref(graph, history.runs(index), id, lv)
        }
        (RowRef::Stray(id), Content::Tree(log, _)) => TreeState::node_ref(log, graph, id, lv),
        (RowRef::Stray(id), Content::List(log, _)) => ListState::element_ref(log, graph, id, lv),
        _ => row,
    }
}
