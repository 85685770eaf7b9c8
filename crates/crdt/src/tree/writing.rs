//! Writing a tree.

use crate::cells::{CellOp, RowRef};
use crate::container::{ContainerIx, Content};
use crate::graph::Lv;
use crate::patch::Patch;
use crate::transaction::Transaction;
use crate::tree::{FollowTree, NodeId, NodeIx, Parent, TreeState, Trees, order};
use crate::undo::Inverse;

/// Why an edit of a tree was refused. The tree is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// The tree never had the node, or something was to go below a node that was removed.
    #[error("no such node")]
    Unknown(NodeId),
    /// The node would be below itself.
    #[error("the node would be its own ancestor")]
    Cycle,
    /// The index is past the end of the siblings.
    #[error("index {index} is past the end of {len} siblings")]
    OutOfRange {
        /// The index asked for.
        index: usize,
        /// How many siblings the node would have.
        len: usize,
    },
}

/// Writes one tree. For how moves made at once merge, see [`crate::Tree`].
pub struct TreeMut<'t, 'a> {
    pub(crate) tx: &'t mut Transaction<'a>,
    pub(crate) index: ContainerIx,
}

impl TreeMut<'_, '_> {
    fn state(&self) -> &TreeState {
        self.tx.doc().tree_state(Some(self.index)).expect("a tree's number is that of a tree")
    }

    fn find(&self, node: NodeId) -> Result<NodeIx, TreeError> {
        let lv = self.tx.doc().history().graph.lv_of(node.0);
        lv.and_then(|lv| self.state().find(lv)).ok_or(TreeError::Unknown(node))
    }

    fn find_parent(&self, parent: Option<NodeId>) -> Result<Parent, TreeError> {
        let Some(node) = parent else { return Ok(Parent::Root) };
        let found = Parent::Node(self.find(node)?);
        if self.state().is_shown(found) { Ok(found) } else { Err(TreeError::Unknown(node)) }
    }

    fn reference(&self, parent: Parent) -> Option<RowRef> {
        match parent {
            Parent::Node(node) => Some(RowRef::Known(self.state().lv_of(node))),
            Parent::Root | Parent::Trash => None,
        }
    }

    /// The key that puts a node at `index` of what is right below a parent, `but` not counted.
    fn key(&self, parent: Parent, index: usize, but: Option<usize>) -> Result<Vec<u8>, TreeError> {
        let state = self.state();
        let siblings = state.children(parent);
        let len = siblings.len() - usize::from(but.is_some());
        if index > len {
            return Err(TreeError::OutOfRange { index, len });
        }
        let side = |at: usize| {
            let node = siblings[at + usize::from(but.is_some_and(|but| but <= at))];
            let id = self.tx.doc().history().graph.id_of(state.lv_of(node));
            (state.key(state.place(node)), id)
        };
        Ok(order::between(index.checked_sub(1).map(side), (index < len).then(|| side(index))))
    }

    /// Creates a node below `parent`, or at the top, before the sibling at `index`, or last if
    /// `index` is how many there are.
    ///
    /// # Errors
    /// [`TreeError::Unknown`] if the parent is not in the tree, [`TreeError::OutOfRange`] past the
    /// last sibling.
    pub fn create(&mut self, parent: Option<NodeId>, index: usize) -> Result<NodeId, TreeError> {
        let parent = self.find_parent(parent)?;
        let key = self.key(parent, index, None)?;
        let lv = self.write(None, &CellOp::Create { parent: self.reference(parent), key });
        Ok(NodeId(self.tx.doc().history().graph.id_of(lv)))
    }

    /// Moves a node and all that is below it so that it is at `index` below `parent`, or at the
    /// top, afterwards. A removed node comes back that way.
    ///
    /// # Errors
    /// [`TreeError::Unknown`] if the tree never had the node or the parent is not in the tree,
    /// [`TreeError::Cycle`] if the parent is the node itself or below it, and
    /// [`TreeError::OutOfRange`] past the last sibling.
    pub fn move_to(
        &mut self,
        node: NodeId,
        parent: Option<NodeId>,
        index: usize,
    ) -> Result<(), TreeError> {
        let (node, parent) = (self.find(node)?, self.find_parent(parent)?);
        let state = self.state();
        if state.would_cycle(node, parent) {
            return Err(TreeError::Cycle);
        }
        let graph = &self.tx.doc().history().graph;
        let is_sibling = state.place(node).parent == parent;
        let from = state.index_of(graph, node).filter(|_| is_sibling);
        if from == Some(index) {
            return Ok(());
        }
        let key = self.key(parent, index, from)?;
        self.place(node, parent, key);
        Ok(())
    }

    fn place(&mut self, node: NodeIx, parent: Parent, key: Vec<u8>) {
        let reference = RowRef::Known(self.state().lv_of(node));
        let parent = self.reference(parent);
        self.write(Some(node), &CellOp::Place { node: reference, parent, key });
    }

    /// Removes a node and all that is below it; one that is not in the tree any more stays so. Of
    /// a removal and a move at once, the later one holds.
    ///
    /// # Errors
    /// [`TreeError::Unknown`] if the tree never had the node.
    pub fn remove(&mut self, node: NodeId) -> Result<(), TreeError> {
        let node = self.find(node)?;
        self.remove_at(node);
        Ok(())
    }

    fn remove_at(&mut self, node: NodeIx) {
        if self.state().is_shown(Parent::Node(node)) {
            let row = RowRef::Known(self.state().lv_of(node));
            self.write(Some(node), &CellOp::Remove { row });
        }
    }

    /// Whether something is not in the tree, and not because this replica removed it.
    fn was_removed_by_others(&self, parent: Parent) -> bool {
        let (doc, state) = (self.tx.doc(), self.state());
        let gone = state.chain(parent).find_map(|at| match at {
            Parent::Node(node) if state.place(node).parent == Parent::Trash => Some(node),
            _ => None,
        });
        gone.is_some_and(|node| !doc.is_ours(state.decided(node)))
    }

    /// Puts a node that is where it is by a move of ours back to where the move `previous` had put
    /// it: to the trash if there is none. What others removed takes nothing back, and nothing goes
    /// below itself.
    pub(super) fn put_back(&mut self, node: Lv, previous: Option<Lv>) {
        let doc = self.tx.doc();
        let (state, log) = (self.state(), doc.containers.get(self.index).content.cells());
        let Some(node) = state.find(node).filter(|node| doc.is_ours(state.decided(*node))) else {
            return;
        };
        match previous.and_then(|lv| log.get(lv)) {
            Some(CellOp::Create { parent, key } | CellOp::Place { parent, key, .. }) => {
                let Some(parent) = state.parent_of(parent) else { return };
                let place = state.place(node);
                let is_there = place.parent == parent && *state.key(place) == *key;
                let is_gone = self.was_removed_by_others(parent);
                if !is_there && !is_gone && !state.would_cycle(node, parent) {
                    self.place(node, parent, key);
                }
            }
            _ => self.remove_at(node),
        }
    }

    /// Writes what another replica did, its nodes called as they are here. A move that would put a
    /// node below itself has no effect there either.
    pub(crate) fn write_again(&mut self, op: &CellOp) {
        let state = self.state();
        let node = match op.row() {
            Some(RowRef::Known(node)) => state.find(node),
            _ => None,
        };
        let to = match op {
            CellOp::Place { parent, .. } => state.parent_of(*parent),
            _ => Some(Parent::Trash),
        };
        let may_go = match (node, to) {
            (Some(node), Some(to)) => !state.would_cycle(node, to),
            (node, to) => node.is_none() && to.is_some(),
        };
        if may_go {
            self.write(node, op);
        }
    }

    /// Takes an operation into the log and the state: local ones come last, and take effect.
    fn write(&mut self, node: Option<NodeIx>, op: &CellOp) -> Lv {
        let previous = node.and_then(|node| self.state().decided(node));
        let lv = self.tx.begin(1, self.index);
        let about = node.map_or(lv, |node| self.state().lv_of(node));
        let (history, containers) = self.tx.doc_mut().parts_mut();
        let container = containers.get_mut(self.index);
        if let Content::Tree(log, state) = &mut container.content {
            Trees.note(state, log, &history.graph, lv, op);
            let changes = Trees.settle(state, log, &history.graph);
            let patch = Patch::Tree { id: container.id.clone(), changes };
            self.tx.doc_mut().local_edits.push((lv, patch));
        }
        self.tx.note(Inverse::Node { index: self.index, node: about, previous });
        lv
    }
}
