//! Reading a tree.

use std::fmt;

use crate::doc::Doc;
use crate::gather::Gather;
use crate::id::OpId;
use crate::tree::{NodeIx, Parent, TreeState};

/// A node of a tree, named by the operation that created it. It stays the same wherever the node
/// is moved. Its own data goes into containers at `tree.element(node.0)`, such as a map:
///
/// ```
/// use leptos_sync_crdt::{ContainerId, Doc, PeerId};
/// let mut doc = Doc::new(PeerId(1));
/// let (node, _) = doc.transact(0, |tx| tx.tree("outline").create(None, 0));
/// let fields = ContainerId::root("outline").element(node?.0);
/// doc.transact(0, |tx| tx.map(&fields).set("title", "Introduction"));
/// assert_eq!(doc.map(&fields).get("title"), Some("Introduction".into()));
/// # Ok::<(), leptos_sync_crdt::TreeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub OpId);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A tree of a document as it is now.
///
/// Merge rule in one sentence: moves take effect in the order of time, so of several moves of a
/// node the last holds, and one that would put a node below itself, given those before it, has no
/// effect.
///
/// ```
/// use leptos_sync_crdt::{Doc, PeerId};
/// let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
/// let one = ada.transact(0, |tx| tx.tree("outline").create(None, 0)).0?;
/// let two = ada.transact(0, |tx| tx.tree("outline").create(None, 1)).0?;
/// ben.import(0, ada.blocks_since(ben.version()))?;
///
/// // Apart from each other, each puts one of the nodes below the other: a cycle.
/// ada.transact(0, |tx| tx.tree("outline").move_to(one, Some(two), 0)).0?;
/// ben.transact(60_000, |tx| tx.tree("outline").move_to(two, Some(one), 0)).0?;
/// ada.import(60_000, ben.blocks_since(ada.version()))?;
/// ben.import(60_000, ada.blocks_since(ben.version()))?;
/// for doc in [&ada, &ben] {
///     // The earlier move holds, and the later one has no effect.
///     assert_eq!(doc.tree("outline").walk().collect::<Vec<_>>(), [(0, two), (1, one)]);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct Tree<'a> {
    pub(crate) doc: &'a Doc,
    /// Nobody wrote to it if there is none.
    pub(crate) state: Option<&'a TreeState>,
}

impl fmt::Debug for Tree<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.walk()).finish()
    }
}

impl<'a> Tree<'a> {
    fn id(&self, state: &TreeState, node: NodeIx) -> NodeId {
        NodeId(self.doc.history().graph.id_of(state.lv_of(node)))
    }

    /// The node's number, if it is in the tree.
    fn find(&self, node: NodeId) -> Option<(&'a TreeState, NodeIx)> {
        let state = self.state?;
        let index = state.find(self.doc.history().graph.lv_of(node.0)?)?;
        state.is_shown(Parent::Node(index)).then_some((state, index))
    }

    /// Whether the node is in the tree, and neither it nor a node above it was removed.
    #[must_use]
    pub fn contains(&self, node: NodeId) -> bool {
        self.find(node).is_some()
    }

    /// What the node is right below; `None` if it is at the top, or not in the tree.
    #[must_use]
    pub fn parent(&self, node: NodeId) -> Option<NodeId> {
        let (state, index) = self.find(node)?;
        match state.place(index).parent {
            Parent::Node(parent) => Some(self.id(state, parent)),
            Parent::Root | Parent::Trash => None,
        }
    }

    /// Where the node is among its siblings, if it is in the tree.
    #[must_use]
    pub fn index_of(&self, node: NodeId) -> Option<usize> {
        let (state, index) = self.find(node)?;
        state.index_of(&self.doc.history().graph, index)
    }

    /// What is right below a node in order, or at the top for `None`; nothing if the node is not in
    /// the tree.
    #[must_use]
    pub fn children(&self, parent: Option<NodeId>) -> Vec<NodeId> {
        let found = match parent {
            None => self.state.map(|state| (state, Parent::Root)),
            Some(node) => self.find(node).map(|(state, index)| (state, Parent::Node(index))),
        };
        let Some((state, parent)) = found else { return Vec::new() };
        state.children(parent).iter().map(|node| self.id(state, *node)).gather()
    }

    /// The nodes at the top, in order.
    #[must_use]
    pub fn roots(&self) -> Vec<NodeId> {
        self.children(None)
    }

    /// All nodes, each before what is below it, with how many nodes are above it.
    pub fn walk(&self) -> impl Iterator<Item = (usize, NodeId)> + use<'a> {
        let tree = *self;
        let mut open: Vec<std::slice::Iter<'a, NodeIx>> =
            self.state.iter().map(|state| state.children(Parent::Root).iter()).gather();
        std::iter::from_fn(move || {
            let state = tree.state?;
            loop {
                let depth = open.len().checked_sub(1)?;
                if let Some(node) = open[depth].next() {
                    open.push(state.children(Parent::Node(*node)).iter());
                    return Some((depth, tree.id(state, *node)));
                }
                open.pop();
            }
        })
    }

    /// All that have nodes right below them, each before those, and the nodes; the top is first.
    pub(super) fn families(&self) -> Vec<(Option<NodeId>, Vec<NodeId>)> {
        let (mut families, mut open) = (Vec::new(), vec![(None, Parent::Root)]);
        while let (Some(state), Some((parent, at))) = (self.state, open.pop()) {
            let nodes = state.children(at);
            if !nodes.is_empty() {
                families.push((parent, nodes.iter().map(|node| self.id(state, *node)).gather()));
            }
            for node in nodes.iter().rev() {
                open.push((Some(self.id(state, *node)), Parent::Node(*node)));
            }
        }
        families
    }

    /// The number of nodes. They are counted one by one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.walk().count()
    }

    /// Whether there is no node.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.walk().next().is_none()
    }
}
