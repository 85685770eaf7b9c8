//! Taking in what others wrote: validate everything, then commit.

use std::sync::Arc;

use crate::apply::apply_cell;
use crate::block::Block;
use crate::cells::{CellOp, RowRef};
use crate::codec::DecodeError;
use crate::container::{
    Container, ContainerIx, ContainerKey, ContainerKind, Containers, Content, FOLLOWED,
};
use crate::doc::Doc;
use crate::edit::Edit;
use crate::gather::Gather;
use crate::graph::{Graph, Lv};
use crate::history::History;
use crate::id::{OpId, PeerId};
use crate::list::ListState;
use crate::names::NameIx;
use crate::op::{Action, Body, TextRun};
use crate::patch::Patch;
use crate::queue::{Queue, missing_dep};
use crate::sorting::sort;
use crate::text::{RunKind, TextState};
use crate::tree::TreeState;
use crate::version::VersionVector;

#[cfg(test)]
mod tests;

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
    /// the text as it is then. So are the patches of everything else. Of trees and of marks there
    /// are patches once this program has asked any document for some.
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
    /// A pack has what is here already: see [`Doc::import_pack`].
    #[error("{0} is here already")]
    Known(OpId),
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

/// [`Doc::import`], of which an app that merges updates only has no need.
pub(crate) type ImportBlocks = fn(&mut Doc, u64, Vec<Block>) -> Result<Import, ImportError>;

impl Doc {
    /// Merges blocks in any order. Blocks that are already known are skipped; ones that depend on
    /// unknown blocks, or claim to be from more than [`crate::FUTURE_MS_MAX`] after `wall_ms`,
    /// wait inside the document for a later import. `wall_ms` is the current time in milliseconds
    /// since the Unix epoch.
    ///
    /// # Errors
    /// [`ImportError`]; nothing of this import was applied then.
    pub fn import(
        &mut self,
        wall_ms: u64,
        blocks: impl IntoIterator<Item = Block>,
    ) -> Result<Import, ImportError> {
        let import = FOLLOWED.blocks.get_or_init(|| Self::import_all);
        import(self, wall_ms, blocks.into_iter().collect())
    }

    fn import_all(&mut self, wall_ms: u64, blocks: Vec<Block>) -> Result<Import, ImportError> {
        let mut import = Import::default();
        // In a live session blocks come one by one, each right after what it depends on.
        if let [block] = &blocks[..]
            && self.is_next(wall_ms, block)
        {
            if let Some(edit) = Edit::read(block.body_bytes(), block.header().len) {
                self.check_order(block, self.version(), None)?;
                import.patches = self.commit_edit(block, &edit);
                import.applied = blocks;
                return Ok(import);
            }
            let body = self.check(block, self.version(), None)?;
            self.commit(vec![(block.clone(), body)], &mut import);
            return Ok(import);
        }
        let mut all = Vec::new();
        for block in blocks {
            if self.is_new(&block)? {
                all.push((block, true));
            }
        }
        for block in &self.pending {
            all.push((block.clone(), false));
        }
        let queue = self.plan(wall_ms, all)?;
        self.pending = queue.waiting().map(|(block, _)| block.clone()).gather();
        import.pending = self.pending.len();
        import.rejected = queue.rejected;
        if !queue.ready.is_empty() {
            self.commit(queue.ready, &mut import);
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

    /// Checks a block against what is known and says whether it is new.
    fn is_new(&self, block: &Block) -> Result<bool, ImportError> {
        let (peer, seq) = (block.peer(), block.seq());
        if seq >= self.version().get(peer) {
            return Ok(true);
        }
        let base = self.history_start().get(peer);
        let is_known = if seq < base {
            block.end() <= base
        } else {
            self.block_of(OpId::new(peer, seq)).as_ref() == Some(block)
        };
        if is_known { Ok(false) } else { Err(ImportError::DuplicatePeer { peer, seq }) }
    }

    /// Finds out which blocks can be taken in, and checks those that have to wait.
    fn plan(&self, wall_ms: u64, blocks: Vec<(Block, bool)>) -> Result<Queue, ImportError> {
        let mut queue = Queue::new(blocks)?;
        queue.run(self, wall_ms, &mut self.version().clone())?;
        let mut waiting = 0;
        for (block, is_new) in queue.waiting() {
            waiting += 1;
            // What has to wait must at least be sound.
            if *is_new {
                let (peer, seq) = (block.peer(), block.seq());
                block.validate().map_err(|source| ImportError::Decode { peer, seq, source })?;
            }
        }
        let new: u64 = queue.ready.iter().map(|(block, _)| u64::from(block.header().len)).sum();
        if u64::from(self.history().graph.end()) + new >= u64::from(OPS_MAX) {
            return Err(ImportError::Full);
        }
        if waiting > PENDING_BLOCKS_MAX {
            return Err(ImportError::TooManyPending);
        }
        Ok(queue)
    }

    /// The last check of a block whose dependencies are all in `version`; those that are not in
    /// the document yet are ready in `queue`.
    pub(crate) fn check(
        &self,
        block: &Block,
        version: &VersionVector,
        queue: Option<&Queue>,
    ) -> Result<Body, ImportError> {
        self.check_order(block, version, queue)?;
        let (peer, seq) = (block.peer(), block.seq());
        block.body().map_err(|source| ImportError::Decode { peer, seq, source })
    }

    /// The same without the body.
    fn check_order(
        &self,
        block: &Block,
        version: &VersionVector,
        queue: Option<&Queue>,
    ) -> Result<(), ImportError> {
        let (peer, seq) = (block.peer(), block.seq());
        if seq != version.get(peer) {
            return Err(ImportError::DuplicatePeer { peer, seq });
        }
        let graph = &self.history().graph;
        let mut sees_base = graph.base() == 0;
        for dep in block.builds_on() {
            let known = graph.lv_of(dep);
            // What is not here yet is part of this import and was checked before.
            sees_base |= known.is_none_or(|lv| graph.sees_base(&[lv]));
            let ready = queue.and_then(|queue| queue.stamp_of(dep));
            let stamp = ready.or_else(|| known.map(|lv| graph.stamp_of(lv)));
            if stamp.is_none_or(|stamp| block.header().stamp <= stamp) {
                return Err(ImportError::Stamp { peer, seq });
            }
        }
        if sees_base { Ok(()) } else { Err(ImportError::Truncated { peer, seq }) }
    }

    /// Takes in a block of one edit, as [`Doc::commit`] does; returns what changed.
    fn commit_edit(&mut self, block: &Block, edit: &Edit<'_>) -> Vec<Patch> {
        let (history, containers) = self.parts_mut();
        let header = block.header();
        let id = OpId::new(header.peer, header.seq);
        let before = header.seq.checked_sub(1).filter(|_| header.deps.is_empty());
        let before = before.and_then(|seq| history.graph.lv_of(OpId::new(header.peer, seq)));
        let (own, all);
        let parents: &[Lv] = if let Some(before) = before {
            own = [before];
            &own
        } else {
            all = parents_of(&history.graph, id, &header.deps);
            &all
        };
        let is_latest = parents == history.graph.heads();
        let start = if is_latest {
            history.graph.push_on_heads(id.peer, header.len, header.stamp)
        } else {
            history.graph.push(id, header.len, header.stamp, parents)
        };
        history.note_bounds(start, header.len, 1);
        let index = containers.intern(ContainerKind::Text, &ContainerKey::Root(edit.text));
        history.note_span(start, index);
        let TextRun { kind, pos, len, content } = edit.run;
        let runs = history.runs_mut(index);
        runs.push_run(start, pos, len, kind, content, false);
        if !is_latest {
            let mut patches = Vec::new();
            merge(index, (start, start + len), history, containers, &mut patches);
            return patches;
        }
        let Container { id, content, .. } = containers.get_mut(index);
        let delta = match content {
            Content::Text(_, state) => state.take(runs, start, start + len),
            _ => None,
        };
        delta.map_or_else(Vec::new, |delta| vec![Patch::Text { id: id.clone(), delta }])
    }

    /// Takes in blocks that were checked, in this order.
    pub(crate) fn commit(&mut self, ready: Vec<(Block, Body)>, import: &mut Import) {
        let (history, containers) = self.parts_mut();
        let mut texts = ToMerge::new(&history.graph);
        for (block, body) in ready {
            let header = block.header();
            let id = OpId::new(header.peer, header.seq);
            let parents = parents_of(&history.graph, id, &header.deps);
            let start = history.graph.push(id, header.len, header.stamp, &parents);
            history.note_bounds(start, header.len, 1);
            note_ops(history, containers, start, body, &mut texts, Some(&mut import.patches));
            import.applied.push(block);
        }
        texts.merge(history, containers, &mut import.patches);
    }
}

/// Adds a transaction's operations, from `start` on, to the logs of what they are about.
pub(crate) fn note_ops(
    history: &mut History,
    containers: &mut Containers,
    start: Lv,
    body: Body,
    texts: &mut ToMerge,
    mut patches: Option<&mut Vec<Patch>>,
) {
    let all = body.containers.iter();
    let places = all.map(|(kind, id)| containers.intern(*kind, &ContainerKey::Id(id))).gather();
    let mut lv = start;
    for op in body.ops {
        let index = places[op.container];
        history.note_span(lv, index);
        let len = op.len();
        let mut cell = |history: &History, lv: Lv, op: CellOp| {
            note_cell(history, containers, index, (lv, op), &body.names, patches.as_deref_mut());
        };
        match op.action {
            Action::Text { kind, pos, len, content } => {
                history.runs_mut(index).push_run(lv, pos, len, kind, &content, false);
                texts.touch(index);
            }
            Action::List { kind, pos, len, values } => {
                history.runs_mut(index).push_run(lv, pos, len, kind, "", false);
                texts.touch(index);
                for (lv, value) in (lv..).zip(values) {
                    cell(history, lv, CellOp::Set(value));
                }
            }
            Action::Move { pos, element } => {
                history.runs_mut(index).push_run(lv, pos, 1, RunKind::Insert, "", false);
                texts.touch(index);
                cell(history, lv, CellOp::Move { element });
            }
            Action::Cell(written) => {
                let kind = body.containers[op.container].0;
                if kind.is_sequence() {
                    history.runs_mut(index).push_run(lv, 0, 1, RunKind::Aside, "", false);
                }
                if matches!(kind, ContainerKind::Text | ContainerKind::Tree) {
                    texts.touch(index);
                }
                cell(history, lv, written);
            }
        }
        lv += len;
    }
}

/// Takes in a write, in which rows are named by id and names by their place in the list.
fn note_cell(
    history: &History,
    containers: &mut Containers,
    index: ContainerIx,
    (lv, op): (Lv, CellOp),
    names: &[Arc<str>],
    patches: Option<&mut Vec<Patch>>,
) {
    let content = &mut containers.get_mut(index).content;
    let op = op.map_rows(&mut row_resolver(history, index, content, lv));
    let op = op.map_names(&mut |name| intern_name(content, &names[name as usize]));
    apply_cell(containers, &history.graph, index, lv, &op, patches);
}

/// The texts, lists and trees that an import wrote to, and where it starts.
pub(crate) struct ToMerge {
    start: Lv,
    /// By container: whether it was written to.
    touched: Vec<bool>,
    order: Vec<ContainerIx>,
}

impl ToMerge {
    pub(crate) fn new(graph: &Graph) -> Self {
        Self { start: graph.end(), touched: Vec::new(), order: Vec::new() }
    }

    pub(crate) fn touch(&mut self, index: ContainerIx) {
        while self.touched.len() <= index as usize {
            self.touched.push(false);
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
            merge(index, range, history, containers, patches);
        }
    }
}

/// Merges what was written to a text, list or tree from an operation on, up to the end.
fn merge(
    index: ContainerIx,
    range: (Lv, Lv),
    history: &mut History,
    containers: &mut Containers,
    patches: &mut Vec<Patch>,
) {
    let Container { id, kind, content, .. } = containers.get_mut(index);
    let (graph, runs) = history.parts_mut(index);
    match content {
        Content::Text(log, state) => {
            state.merge(graph, runs, range, &mut |delta| {
                patches.push(Patch::Text { id: id.clone(), delta });
            });
            if let Some(marks) = FOLLOWED.marks.get() {
                patches.extend(marks.changes(id, state, log, graph, runs, range.0));
            } else {
                // What holds may be known from a snapshot, and what came is not in it.
                state.marks.forget();
            }
        }
        Content::List(log, state) => {
            for delta in state.merge(log, graph, runs, range) {
                patches.push(Patch::List { id: id.clone(), kind: *kind, delta });
            }
        }
        Content::Tree(log, state) => {
            let Some(trees) = FOLLOWED.trees.get() else { return };
            let changes = trees.settle(state, log, graph);
            let has_changed = !changes.is_empty();
            patches.extend(has_changed.then(|| Patch::Tree { id: id.clone(), changes }));
        }
        _ => {}
    }
}

/// The parents of a peer's operation that depends on these: its own last one too, unless those
/// follow it.
pub(crate) fn parents_of(graph: &Graph, id: OpId, deps: &[OpId]) -> Vec<Lv> {
    let known = |id: OpId| graph.lv_of(id).expect("dependencies are checked before");
    let mut parents = deps.iter().map(|dep| known(*dep)).gather();
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
