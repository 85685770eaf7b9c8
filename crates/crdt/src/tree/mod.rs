//! Trees whose nodes can be moved: no cycles, and nothing twice, whatever is moved at once.
//!
//! Every creation, move and removal is a move: from nowhere, to a place, to the trash. Moves take
//! effect in `(stamp, peer)` order, and one that would put a node below itself has none (Kleppmann,
//! Mulligan, Gomes and Beresford, "A highly-available move operation for replicated trees", IEEE
//! TPDS 2022). Moves that arrive late are put in their place in that order: what follows is taken
//! back and done again, once for all that arrive together.
//!
//! All of it follows from the log, so a stored document holds no more than the log of a tree.

mod changes;
mod diff;
#[cfg(test)]
pub(crate) mod model;
pub(crate) mod order;
mod sums;
#[cfg(test)]
mod tests;
mod view;
mod writing;

use std::cell::OnceCell;

use crate::cell_log::CellLog;
use crate::cells::{CellOp, RowRef};
use crate::gather::Gather;
use crate::graph::{Graph, Lv};
use crate::id::OpId;
use crate::numbers::{self, Numbers};
use crate::patch::TreeChange;
use crate::search::Search;
use crate::undo::undoes;

pub(crate) use changes::changes;
pub(crate) use diff::diff_tree;
#[cfg(test)]
pub(crate) use tests::{Edit, Follower, edit, perform, shown};
pub use view::{NodeId, Tree};
pub use writing::{TreeError, TreeMut};

/// A node's number in its tree, in local order of creation.
pub(crate) type NodeIx = u32;

/// What a node is right below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Parent {
    /// Nothing: it was removed, or is not there yet.
    Trash,
    /// Nothing: it is at the top.
    Root,
    Node(NodeIx),
}

/// Where a node is: below what, and the bytes of its key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) parent: Parent,
    key: (u32, u32),
}

const NOWHERE: Place = Place { parent: Parent::Trash, key: (0, 0) };

#[derive(Clone, Debug)]
struct Node {
    /// The operation that created it.
    lv: Lv,
    place: Place,
    /// The move that put it there, but for its creation before that takes effect.
    decided: Option<Lv>,
    children: Vec<NodeIx>,
}

#[derive(Clone, Debug)]
struct Move {
    lv: Lv,
    node: NodeIx,
    to: Place,
    /// Where the node was before, and by which move; none if this move has no effect.
    before: Option<(Place, Option<Lv>)>,
}

/// Where nodes were before something happened.
#[derive(Debug, Default)]
pub(crate) struct Before {
    /// Places in the list, by node.
    numbers: Numbers,
    places: Vec<Place>,
}

impl Before {
    /// Notes where a node is, if it was not noted before.
    fn note(&mut self, node: NodeIx, place: Place) {
        if numbers::number(&mut self.numbers, node.into()).1 {
            self.places.push(place);
        }
    }

    fn get(&self, node: NodeIx) -> Option<Place> {
        let at = numbers::get(&self.numbers, node.into())?;
        Some(self.places[at as usize])
    }

    fn nodes(&self) -> impl Iterator<Item = NodeIx> {
        self.numbers.iter().map(|(node, _)| node as NodeIx)
    }
}

/// Puts moves in the order in which they take effect.
fn sort_by_rank(graph: &Graph, moves: &mut Vec<Move>) {
    let order = graph.by_rank(&mut moves.iter().map(|of| of.lv)).into_iter();
    *moves = order.map(|at| moves[at].clone()).gather();
}

/// What a tree shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct TreeState {
    /// By number, and so by creation too.
    nodes: Vec<Node>,
    roots: Vec<NodeIx>,
    /// In the order in which they take effect.
    moves: Vec<Move>,
    /// Moves that were noted and have yet to take effect.
    incoming: Vec<Move>,
    keys: Vec<u8>,
}

/// A tree's state, worked out from its log when it is first needed.
#[derive(Debug, Default)]
pub(crate) struct LazyTree(OnceCell<TreeState>);

impl LazyTree {
    pub(crate) fn get(&self, log: &CellLog, graph: &Graph) -> &TreeState {
        self.0.get_or_init(|| TreeState::replay(log, graph))
    }

    /// The state as it is before what is next pushed to the log.
    pub(crate) fn get_mut(&mut self, log: &CellLog, graph: &Graph) -> &mut TreeState {
        self.get(log, graph);
        self.0.get_mut().expect("it was just worked out")
    }
}

/// What keeps trees up to date while operations come in: see [`crate::container::Followed`].
pub(crate) trait FollowTree: Sync {
    /// Takes an operation into the log, and into the state without effect yet.
    fn note(&self, tree: &mut LazyTree, log: &mut CellLog, graph: &Graph, lv: Lv, op: &CellOp);

    /// Lets what was noted take effect and tells what changed.
    fn settle(&self, tree: &mut LazyTree, log: &CellLog, graph: &Graph) -> Vec<TreeChange>;

    /// Puts a node back to where the move `previous` had put it, if it is there by ours.
    fn put_back(&self, tree: TreeMut<'_, '_>, node: Lv, previous: Option<Lv>);
}

pub(crate) struct Trees;

impl FollowTree for Trees {
    fn note(&self, tree: &mut LazyTree, log: &mut CellLog, graph: &Graph, lv: Lv, op: &CellOp) {
        let state = tree.get_mut(log, graph);
        log.push(lv, op);
        state.note(lv, op);
    }

    fn settle(&self, tree: &mut LazyTree, log: &CellLog, graph: &Graph) -> Vec<TreeChange> {
        let state = tree.get_mut(log, graph);
        let before = state.settle(graph);
        changes(state, graph, &before)
    }

    fn put_back(&self, mut tree: TreeMut<'_, '_>, node: Lv, previous: Option<Lv>) {
        if undoes() {
            tree.put_back(node, previous);
        }
    }
}

impl TreeState {
    fn replay(log: &CellLog, graph: &Graph) -> Self {
        let mut tree = Self::default();
        for (lv, op) in log.ops(0, graph.base()) {
            tree.note(lv, &op);
        }
        tree.keep_last(graph);
        tree.settle(graph);
        for (lv, op) in log.ops(graph.base(), Lv::MAX) {
            tree.note(lv, &op);
        }
        tree.settle(graph);
        tree
    }

    /// Of what was noted, keeps each node's last move. Below the base there are no others that
    /// had an effect, but for creations; and as all that stay agree, their order does not matter.
    fn keep_last(&mut self, graph: &Graph) {
        // By node: the place of its last move so far.
        let mut last = vec![usize::MAX; self.nodes.len()];
        let all = std::mem::take(&mut self.incoming);
        for (at, new) in all.iter().enumerate() {
            let last = &mut last[new.node as usize];
            let is_later = |old: &Move| graph.rank_of(old.lv) < graph.rank_of(new.lv);
            if all.get(*last).is_none_or(is_later) {
                *last = at;
            }
        }
        for at in last {
            self.incoming.extend(all.get(at).cloned());
        }
    }

    /// Whether the node's place follows from this operation, or its being there at all.
    pub(crate) fn holds(&self, lv: Lv, op: &CellOp) -> bool {
        let is_decided = |node: &Node| node.decided == Some(lv);
        match (op, op.row()) {
            (CellOp::Create { .. }, _) => true,
            (_, Some(RowRef::Known(node))) => {
                self.find(node).is_some_and(|node| is_decided(&self.nodes[node as usize]))
            }
            _ => false,
        }
    }

    /// The node that an author saw under this id before its operation `lv`.
    pub(crate) fn node_ref(log: &CellLog, graph: &Graph, node: OpId, lv: Lv) -> RowRef {
        let is_node = |lv: &Lv| matches!(log.get(*lv), Some(CellOp::Create { .. }));
        match graph.lv_of(node).filter(|known| *known < lv).filter(is_node) {
            Some(known) if graph.is_before(known, lv) => RowRef::Known(known),
            _ => RowRef::Stray(node),
        }
    }

    /// The node that an operation created.
    pub(crate) fn find(&self, lv: Lv) -> Option<NodeIx> {
        let index = self.nodes.binary_search_by_key(&lv, |node| node.lv).ok()?;
        Some(index as NodeIx)
    }

    pub(crate) fn lv_of(&self, node: NodeIx) -> Lv {
        self.nodes[node as usize].lv
    }

    pub(crate) fn place(&self, node: NodeIx) -> Place {
        self.nodes[node as usize].place
    }

    /// The move that put a node where it is.
    pub(crate) fn decided(&self, node: NodeIx) -> Option<Lv> {
        self.nodes[node as usize].decided
    }

    pub(crate) fn key(&self, place: Place) -> &[u8] {
        &self.keys[place.key.0 as usize..place.key.1 as usize]
    }

    fn is_same(&self, a: Place, b: Place) -> bool {
        a.parent == b.parent && (a.parent == Parent::Trash || self.key(a) == self.key(b))
    }

    /// What is right below a node or at the top, in order; nothing of the trash.
    pub(crate) fn children(&self, parent: Parent) -> &[NodeIx] {
        match parent {
            Parent::Trash => &[],
            Parent::Root => &self.roots,
            Parent::Node(node) => &self.nodes[node as usize].children,
        }
    }

    /// The node, what it is below, and so on up to the top or the trash.
    pub(crate) fn chain(&self, from: Parent) -> impl Iterator<Item = Parent> {
        std::iter::successors(Some(from), |at| match at {
            Parent::Node(node) => Some(self.place(*node).parent),
            Parent::Root | Parent::Trash => None,
        })
    }

    /// Whether something is in the tree, and not in the trash.
    pub(crate) fn is_shown(&self, parent: Parent) -> bool {
        self.chain(parent).last() == Some(Parent::Root)
    }

    /// Whether a node put below `parent` would be below itself.
    pub(crate) fn would_cycle(&self, node: NodeIx, parent: Parent) -> bool {
        let node_itself = Parent::Node(node);
        let is_leaf = self.nodes[node as usize].children.is_empty();
        parent == node_itself || !is_leaf && self.chain(parent).any(|at| at == node_itself)
    }

    fn keep(&mut self, parent: Parent, key: &[u8]) -> Place {
        let start = self.keys.len() as u32;
        self.keys.extend_from_slice(key);
        Place { parent, key: (start, self.keys.len() as u32) }
    }

    /// What an operation puts a node below, if its author knew that.
    fn parent_of(&self, parent: Option<RowRef>) -> Option<Parent> {
        match parent {
            None => Some(Parent::Root),
            Some(RowRef::Known(lv)) => self.find(lv).map(Parent::Node),
            Some(RowRef::Stray(_)) => None,
        }
    }

    /// Takes in an operation, in local order. It takes effect with [`TreeState::settle`].
    pub(crate) fn note(&mut self, lv: Lv, op: &CellOp) {
        let known = |node: &RowRef| match node {
            RowRef::Known(node) => self.find(*node),
            RowRef::Stray(_) => None,
        };
        let (node, to) = match op {
            CellOp::Create { parent, key } => {
                let parent = self.parent_of(*parent).unwrap_or(Parent::Trash);
                let node = Node { lv, place: NOWHERE, decided: None, children: Vec::new() };
                self.nodes.push(node);
                (self.nodes.len() as NodeIx - 1, self.keep(parent, key))
            }
            CellOp::Place { node, parent, key } => {
                let (Some(node), Some(parent)) = (known(node), self.parent_of(*parent)) else {
                    return;
                };
                (node, self.keep(parent, key))
            }
            CellOp::Remove { row } => match known(row) {
                Some(node) => (node, NOWHERE),
                None => return,
            },
            _ => return,
        };
        self.incoming.push(Move { lv, node, to, before: None });
    }

    /// Lets everything that was noted take effect; returns where the nodes that this moved, for
    /// good or for a moment, were before.
    pub(crate) fn settle(&mut self, graph: &Graph) -> Before {
        let mut before = Before::default();
        let mut incoming = std::mem::take(&mut self.incoming);
        sort_by_rank(graph, &mut incoming);
        let Some(first) = incoming.first().map(|new| graph.rank_of(new.lv)) else { return before };
        let is_last = self.moves.last().is_none_or(|last| graph.rank_of(last.lv) < first);
        let from = if is_last {
            self.moves.len()
        } else {
            self.moves.count_while(|old| graph.rank_of(old.lv) < first)
        };
        let later = self.moves.split_off(from);
        for old in later.iter().rev() {
            before.note(old.node, self.place(old.node));
            self.take_back(graph, old);
        }
        if !later.is_empty() {
            incoming.extend(later);
            sort_by_rank(graph, &mut incoming);
        }
        for new in incoming {
            before.note(new.node, self.place(new.node));
            self.perform(graph, new);
        }
        before
    }

    fn perform(&mut self, graph: &Graph, new: Move) {
        let Move { lv, node, to, .. } = new;
        let mut before = None;
        if !self.would_cycle(node, to.parent) {
            before = Some((self.place(node), self.decided(node)));
            self.put(graph, node, to, Some(lv));
        }
        self.moves.push(Move { before, ..new });
    }

    fn take_back(&mut self, graph: &Graph, old: &Move) {
        if let Some((place, decided)) = old.before {
            self.put(graph, old.node, place, decided);
        }
    }

    fn put(&mut self, graph: &Graph, node: NodeIx, to: Place, decided: Option<Lv>) {
        let from = self.place(node).parent;
        if let Some(at) = self.index_of(graph, node) {
            self.siblings_mut(from).remove(at);
        }
        self.nodes[node as usize].place = to;
        self.nodes[node as usize].decided = decided;
        if to.parent != Parent::Trash {
            let at = self.count_before(graph, to.parent, (to, node));
            self.siblings_mut(to.parent).insert(at, node);
        }
    }

    fn siblings_mut(&mut self, parent: Parent) -> &mut Vec<NodeIx> {
        match parent {
            Parent::Node(node) => &mut self.nodes[node as usize].children,
            Parent::Root | Parent::Trash => &mut self.roots,
        }
    }

    /// Which of two nodes comes first if they are in these places of one parent.
    fn compare(&self, graph: &Graph, a: (Place, NodeIx), b: (Place, NodeIx)) -> std::cmp::Ordering {
        let id = |node: NodeIx| graph.id_of(self.lv_of(node));
        order::compare(self.key(a.0), self.key(b.0), || id(a.1), || id(b.1))
    }

    /// How many of what is right below a parent come before a node in this place.
    pub(crate) fn count_before(
        &self,
        graph: &Graph,
        parent: Parent,
        node: (Place, NodeIx),
    ) -> usize {
        let is_before =
            |other: &NodeIx| self.compare(graph, (self.place(*other), *other), node).is_lt();
        let siblings = self.children(parent);
        match siblings.last() {
            Some(last) if !is_before(last) => siblings.count_while(is_before),
            _ => siblings.len(),
        }
    }

    /// Where a node is among its siblings; none in the trash.
    pub(crate) fn index_of(&self, graph: &Graph, node: NodeIx) -> Option<usize> {
        let place = self.place(node);
        let is_there = place.parent != Parent::Trash;
        is_there.then(|| self.count_before(graph, place.parent, (place, node)))
    }
}
