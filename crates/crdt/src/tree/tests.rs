//! Random trees of several peers: they equal the naive model, and patches tell what changed.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::container::ContainerKey;
use crate::model::Model;
use crate::{
    Block, ContainerId, Doc, NodeId, OpId, Patch, PeerId, TreeChange, TreeError, VersionVector,
};

type Index = prop::sample::Index;

/// The name of a tree at the top, or its id.
pub(crate) trait Key<'k>: Into<ContainerKey<'k>> + Copy {}

impl<'k, T: Into<ContainerKey<'k>> + Copy> Key<'k> for T {}

/// An edit of a tree; what it is about is chosen among all nodes there ever were.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    Create { parent: Index, at: Index },
    Move { node: Index, parent: Index, at: Index },
    Remove { node: Index },
}

pub(crate) fn edit() -> impl Strategy<Value = Edit> {
    let index = any::<Index>;
    prop_oneof![
        4 => (index(), index()).prop_map(|(parent, at)| Edit::Create { parent, at }),
        6 => (index(), index(), index())
            .prop_map(|(node, parent, at)| Edit::Move { node, parent, at }),
        1 => index().prop_map(|node| Edit::Remove { node }),
    ]
}

/// Makes an edit, and checks that it does what it says, or is refused for the reason it gives.
pub(crate) fn perform<'k>(doc: &mut Doc, tree: impl Key<'k>, edit: &Edit, wall_ms: u64) {
    let there: Vec<NodeId> = doc.tree(tree).walk().map(|(_, node)| node).collect();
    let known: Vec<NodeId> = all_nodes(doc, tree);
    // One choice more than there are nodes: the top.
    let below = |parent: &Index| there.get(parent.index(there.len() + 1)).copied();
    match edit {
        Edit::Create { parent, at } => {
            let parent = below(parent);
            let at = at.index(doc.tree(tree).children(parent).len() + 1);
            let node = doc.transact(wall_ms, |tx| tx.tree(tree).create(parent, at)).0.unwrap();
            assert_is_at(doc, tree, node, parent, at);
        }
        Edit::Move { node, parent, at } if !known.is_empty() => {
            let (node, parent) = (*node.get(&known), below(parent));
            let (before, siblings) = (shown(doc, tree), doc.tree(tree).children(parent));
            let others = siblings.iter().filter(|sibling| **sibling != node).count();
            let at = at.index(others + 1);
            match doc.transact(wall_ms, |tx| tx.tree(tree).move_to(node, parent, at)) {
                (Ok(()), _) => assert_is_at(doc, tree, node, parent, at),
                (Err(error), commit) => {
                    assert_eq!((error, commit), (TreeError::Cycle, None));
                    assert_eq!(shown(doc, tree), before);
                }
            }
        }
        Edit::Remove { node } if !known.is_empty() => {
            let node = *node.get(&known);
            doc.transact(wall_ms, |tx| tx.tree(tree).remove(node)).0.unwrap();
            assert!(!doc.tree(tree).contains(node));
        }
        _ => {}
    }
}

fn assert_is_at<'k>(
    doc: &Doc,
    tree: impl Key<'k>,
    node: NodeId,
    parent: Option<NodeId>,
    at: usize,
) {
    let tree = doc.tree(tree);
    assert_eq!((tree.parent(node), tree.index_of(node)), (parent, Some(at)));
    assert_eq!(tree.children(parent)[at], node);
}

/// Every node that was ever created, removed ones too.
fn all_nodes<'k>(doc: &Doc, tree: impl Key<'k>) -> Vec<NodeId> {
    let index = doc.containers.find(crate::ContainerKind::Tree, &tree.into());
    let state = doc.tree_state(index);
    let lvs = state.iter().flat_map(|state| state.nodes.iter().map(|node| node.lv));
    lvs.map(|lv| NodeId(doc.history().graph.id_of(lv))).collect()
}

pub(crate) fn shown<'k>(doc: &Doc, tree: impl Key<'k>) -> Vec<(usize, OpId)> {
    doc.tree(tree).walk().map(|(depth, node)| (depth, node.0)).collect()
}

/// A view that knows a tree from its patches alone.
#[derive(Debug, Default)]
pub(crate) struct Follower {
    children: BTreeMap<Option<NodeId>, Vec<NodeId>>,
    parents: BTreeMap<NodeId, Option<NodeId>>,
}

impl Follower {
    /// One that shows all of a tree.
    pub(crate) fn of(doc: &Doc, id: ContainerId) -> Self {
        let (mut view, tree) = (Self::default(), doc.tree(id));
        let nodes = tree.walk().map(|(_, node)| (node, tree.parent(node)));
        for (node, parent) in nodes {
            view.children.entry(parent).or_default().push(node);
            view.parents.insert(node, parent);
        }
        view
    }

    pub(crate) fn follow(&mut self, patch: &Patch, tree: impl Into<ContainerId>) {
        match patch {
            Patch::Tree { id, changes } if *id == tree.into() => {
                changes.iter().for_each(|change| self.step(change));
            }
            _ => {}
        }
    }

    fn take(&mut self, node: NodeId) -> bool {
        let parent = self.parents.remove(&node);
        if let Some(parent) = &parent {
            self.children.get_mut(parent).unwrap().retain(|other| *other != node);
        }
        parent.is_some()
    }

    fn step(&mut self, change: &TreeChange) {
        match change {
            TreeChange::Placed { node, parent, index } => {
                assert!(parent.is_none_or(|parent| self.parents.contains_key(&parent)));
                self.take(*node);
                self.children.entry(*parent).or_default().insert(*index, *node);
                self.parents.insert(*node, *parent);
            }
            TreeChange::Removed { node } => {
                assert!(self.take(*node), "only what is there is removed");
                let mut gone = vec![*node];
                while let Some(node) = gone.pop() {
                    self.parents.remove(&node);
                    gone.extend(self.children.remove(&Some(node)).unwrap_or_default());
                }
            }
        }
    }

    pub(crate) fn shown(&self) -> Vec<(usize, OpId)> {
        let (mut out, mut open) = (Vec::new(), Vec::new());
        let children = |node| self.children.get(&node).into_iter().flatten().rev().copied();
        open.extend(children(None).map(|node| (0, node)));
        while let Some((depth, node)) = open.pop() {
            out.push((depth, node.0));
            open.extend(children(Some(node)).map(|child| (depth + 1, child)));
        }
        out
    }
}

#[derive(Clone, Debug)]
enum Step {
    Edit(Edit),
    Several(Vec<Edit>),
    Undo,
    Redo,
    Pull { from: Index, as_file: bool },
    Reload,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => edit().prop_map(Step::Edit),
        2 => prop::collection::vec(edit(), 2..6).prop_map(Step::Several),
        2 => Just(Step::Undo),
        1 => Just(Step::Redo),
        3 => (any::<Index>(), any::<bool>())
            .prop_map(|(from, as_file)| Step::Pull { from, as_file }),
        1 => Just(Step::Reload),
    ]
}

const TREE: &str = "outline";
const LATE: u64 = u64::MAX >> 16;

/// Takes a step; returns what a view is told of it.
fn run(docs: &mut [Doc], who: usize, step: &Step, wall_ms: u64) -> Vec<Patch> {
    let doc = &mut docs[who];
    let before = doc.history().graph.end();
    match step {
        Step::Edit(edit) => perform(doc, TREE, edit, wall_ms),
        Step::Several(edits) => edits.iter().for_each(|edit| {
            perform(doc, TREE, edit, wall_ms);
        }),
        Step::Undo => return doc.undo(wall_ms).map(|made| doc.patches(&made)).unwrap_or_default(),
        Step::Redo => return doc.redo(wall_ms).map(|made| doc.patches(&made)).unwrap_or_default(),
        Step::Pull { from, as_file } => {
            let version = doc.version().clone();
            let other = &docs[from.index(docs.len())];
            let (file, blocks) = (other.encode_update(&version), other.blocks_since(&version));
            let doc = &mut docs[who];
            let import =
                if *as_file { doc.import_update(LATE, &file) } else { doc.import(LATE, blocks) };
            return import.unwrap().patches;
        }
        Step::Reload => {
            let peer = doc.peer();
            *doc = Doc::from_snapshot(peer, &doc.encode_snapshot()).unwrap();
        }
    }
    // One transaction at most was made if this is asked for; several were followed one by one.
    let end = doc.history().graph.end();
    if matches!(step, Step::Edit(_)) && before < end {
        return doc.patches(&crate::Commit { start: before, len: end - before });
    }
    Vec::new()
}

fn assert_is_model(doc: &Doc, model: &Model) {
    let (now, id) = (shown(doc, TREE), ContainerId::root(TREE));
    assert_eq!(now, model.tree(&id));
    assert_eq!(doc.tree(TREE).len(), now.len());
    for (_, node) in now {
        let node = NodeId(node);
        let (parent, index) = (doc.tree(TREE).parent(node), doc.tree(TREE).index_of(node).unwrap());
        assert_is_at(doc, TREE, node, parent, index);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(300)
    ))]

    /// Whatever several peers do, apart and together, all trees equal the model of their blocks.
    #[test]
    fn trees_equal_the_model_of_their_blocks(
        peers in 2usize..9,
        steps in prop::collection::vec((any::<Index>(), step(), 0u64..9_000), 1..80),
    ) {
        let mut docs: Vec<Doc> =
            (0..peers).map(|i| Doc::new(PeerId((i as u64 * 7 + 3) % 11))).collect();
        for (who, step, wall_ms) in &steps {
            run(&mut docs, who.index(peers), step, *wall_ms);
        }
        for doc in &docs {
            assert_is_model(doc, &Model::of(&doc.blocks_since(&VersionVector::new())));
        }
        let mut whole = Doc::new(PeerId(20));
        for doc in &docs {
            whole.import(LATE, doc.blocks_since(&VersionVector::new())).unwrap();
        }
        let model = Model::of(&whole.blocks_since(&VersionVector::new()));
        assert_is_model(&whole, &model);
        for doc in &mut docs {
            doc.import_update(LATE, &whole.encode_update(doc.version())).unwrap();
            assert_is_model(doc, &model);
        }
    }

    /// Blocks may arrive in any order, more than once, and in batches of any size.
    #[test]
    fn trees_do_not_depend_on_the_order_of_delivery(
        steps in prop::collection::vec((any::<Index>(), step(), 0u64..9_000), 1..60),
        cuts in prop::collection::vec((any::<Index>(), 1usize..9), 1..30),
    ) {
        let mut docs: Vec<Doc> = (1..5).map(|i| Doc::new(PeerId(i))).collect();
        for (who, step, wall_ms) in &steps {
            run(&mut docs, who.index(4), step, *wall_ms);
        }
        let mut whole = Doc::new(PeerId(20));
        for doc in &docs {
            whole.import(LATE, doc.blocks_since(&VersionVector::new())).unwrap();
        }
        let blocks: Vec<Block> = whole.blocks_since(&VersionVector::new());
        let mut shuffled = blocks.clone();
        let mut other = Doc::new(PeerId(21));
        for (from, len) in cuts.iter().filter(|_| !blocks.is_empty()) {
            let from = from.index(blocks.len());
            shuffled.rotate_left(from);
            let batch = shuffled.iter().take(*len).cloned();
            other.import(LATE, batch.collect::<Vec<_>>()).unwrap();
        }
        other.import(LATE, blocks).unwrap();
        prop_assert_eq!(shown(&other, TREE), shown(&whole, TREE));
    }

    /// Views that follow a tree by its patches alone show it, one's own edits and those of others.
    #[test]
    fn patches_of_trees_tell_exactly_what_changed(
        steps in prop::collection::vec((any::<Index>(), step(), 0u64..9_000), 1..60),
    ) {
        let mut docs: Vec<Doc> = (1..5).map(|i| Doc::new(PeerId(i))).collect();
        let mut views: Vec<Follower> = (1..5).map(|_| Follower::default()).collect();
        for (who, step, wall_ms) in &steps {
            let who = who.index(4);
            let single = match step {
                Step::Several(edits) => edits.iter().cloned().map(Step::Edit).collect(),
                other => vec![other.clone()],
            };
            for step in &single {
                for patch in run(&mut docs, who, step, *wall_ms) {
                    views[who].follow(&patch, TREE);
                }
                prop_assert_eq!(views[who].shown(), shown(&docs[who], TREE));
            }
        }
    }

    /// The difference between two versions turns the one tree into the other.
    #[test]
    fn differences_of_trees_turn_one_into_the_other(
        steps in prop::collection::vec((any::<Index>(), step(), 0u64..9_000), 1..40),
        picks in any::<[Index; 2]>(),
    ) {
        let mut docs: Vec<Doc> = (1..4).map(|i| Doc::new(PeerId(i))).collect();
        let mut versions = vec![VersionVector::new()];
        for (who, step, wall_ms) in &steps {
            run(&mut docs, who.index(3), step, *wall_ms);
            versions.push(docs[who.index(3)].version().clone());
        }
        let mut whole = Doc::new(PeerId(9));
        for doc in &docs {
            whole.import(LATE, doc.blocks_since(&VersionVector::new())).unwrap();
        }
        let [from, to] = picks.map(|pick| &versions[pick.index(versions.len())]);
        let mut view = Follower::default();
        for (before, after) in [(&versions[0], from), (from, to)] {
            let patches = whole.diff(before, after).unwrap();
            patches.iter().for_each(|patch| view.follow(patch, TREE));
            let doc = whole.checkout(PeerId(8), after).unwrap();
            prop_assert_eq!(view.shown(), shown(&doc, TREE));
        }
    }

    /// Undoing everything that one peer did, alone, brings the start back; redoing, the end.
    #[test]
    fn undo_of_a_whole_tree_comes_back_to_the_ends(edits in prop::collection::vec(edit(), 1..40)) {
        let mut doc = Doc::new(PeerId(1));
        edits.iter().for_each(|edit| perform(&mut doc, TREE, edit, 0));
        let end = shown(&doc, TREE);
        while doc.undo(0).is_some() {}
        prop_assert_eq!(shown(&doc, TREE), []);
        while doc.redo(0).is_some() {}
        prop_assert_eq!(shown(&doc, TREE), end);
    }
}
