//! What a batch of moves changed, told so that a view that follows step by step ends up right.

use crate::gather::Gather;
use crate::graph::Graph;
use crate::numbers::{self, Numbers};
use crate::patch::TreeChange;
use crate::search::Search;
use crate::sorting::{sort, sort_by};
use crate::tree::sums::Sums;
use crate::tree::{Before, NodeId, NodeIx, Parent, Place, TreeState};

/// Nodes that a view shows among the children of a parent, and that go from there later on, and how
/// many are left before each.
#[derive(Default)]
struct Leaving {
    nodes: Vec<(Place, NodeIx)>,
    left: Sums,
}

fn code(parent: Parent) -> u64 {
    match parent {
        Parent::Trash => 0,
        Parent::Root => 1,
        Parent::Node(node) => u64::from(node) + 2,
    }
}

struct Telling<'a> {
    tree: &'a TreeState,
    graph: &'a Graph,
    before: &'a Before,
    /// How deep nodes are plus 1, as far as that was asked; 0 in the trash.
    depths: Numbers,
    /// Likewise before the batch: whether they were in the tree.
    were_shown: Numbers,
    /// Places in the list, by parent.
    parents: Numbers,
    leaving: Vec<Leaving>,
}

/// What changed if it is a single node, as mostly: it came without others below it, or was moved.
fn change_of_one(tree: &TreeState, graph: &Graph, before: &Before) -> Option<TreeChange> {
    let [old] = before.places[..] else { return None };
    let node = before.nodes().next()?;
    let (new, is_leaf) = (tree.place(node), tree.children(Parent::Node(node)).is_empty());
    // What is above the node now, or was before, is where it was.
    let is_told = tree.is_shown(new.parent) && (is_leaf || tree.is_shown(old.parent));
    (is_told && !tree.is_same(old, new)).then(|| placed(tree, graph, node, 0))
}

/// Tells where a node is now, among its siblings and some more before it.
fn placed(tree: &TreeState, graph: &Graph, node: NodeIx, more: usize) -> TreeChange {
    let id = |node: NodeIx| NodeId(graph.id_of(tree.lv_of(node)));
    let parent = match tree.place(node).parent {
        Parent::Node(parent) => Some(id(parent)),
        Parent::Root | Parent::Trash => None,
    };
    let index = tree.index_of(graph, node).expect("what is shown has siblings");
    TreeChange::Placed { node: id(node), parent, index: index + more }
}

/// What changed since nodes were where `before` has them, as steps in order.
pub(crate) fn changes(tree: &TreeState, graph: &Graph, before: &Before) -> Vec<TreeChange> {
    if let Some(told) = change_of_one(tree, graph, before) {
        return vec![told];
    }
    let [depths, were_shown, parents] = [const { Numbers::new() }; 3];
    Telling { tree, graph, before, depths, were_shown, parents, leaving: Vec::new() }.tell()
}

impl Telling<'_> {
    fn place_before(&self, node: NodeIx) -> Place {
        self.before.get(node).unwrap_or_else(|| self.tree.place(node))
    }

    fn has_changed(&self, node: NodeIx) -> bool {
        let before = self.before.get(node);
        before.is_some_and(|before| !self.tree.is_same(before, self.tree.place(node)))
    }

    /// How many nodes are above one, if it is in the tree.
    fn depth(&mut self, node: NodeIx) -> Option<u32> {
        let (mut path, mut at) = (Vec::new(), Parent::Node(node));
        let mut depth = loop {
            match at {
                Parent::Trash => break None,
                Parent::Root => break Some(0),
                Parent::Node(node) => match numbers::get(&self.depths, node.into()) {
                    Some(depth) => break (depth > 0).then_some(depth),
                    None => path.push(node),
                },
            }
            at = self.tree.place(*path.last().expect("just pushed")).parent;
        };
        for node in path.into_iter().rev() {
            self.depths.insert(node.into(), depth.map_or(0, |depth| u64::from(depth) + 1));
            depth = depth.map(|depth| depth + 1);
        }
        numbers::get(&self.depths, node.into()).and_then(|depth| depth.checked_sub(1))
    }

    fn was_shown(&mut self, parent: Parent) -> bool {
        let (mut path, mut at) = (Vec::new(), parent);
        let was_shown = loop {
            match at {
                Parent::Trash => break false,
                Parent::Root => break true,
                Parent::Node(node) => match self.were_shown.get(node.into()) {
                    Some(was_shown) => break was_shown == 1,
                    None => {
                        path.push(node);
                        at = self.place_before(node).parent;
                    }
                },
            }
        };
        for node in path {
            self.were_shown.insert(node.into(), was_shown.into());
        }
        was_shown
    }

    fn tell(mut self) -> Vec<TreeChange> {
        let changed = self.before.nodes().filter(|node| self.has_changed(*node));
        let changed: Vec<NodeIx> = changed.gather();
        let (mut placed, mut removed) = (Numbers::new(), Vec::new());
        for node in &changed {
            let was_shown = self.was_shown(Parent::Node(*node));
            if was_shown {
                let place = self.place_before(*node);
                let (at, is_new) = numbers::number(&mut self.parents, code(place.parent));
                if is_new {
                    self.leaving.push(Leaving::default());
                }
                self.leaving[at].nodes.push((place, *node));
            }
            match (self.depth(*node), was_shown) {
                (Some(_), true) => drop(placed.insert((*node).into(), 0)),
                (Some(_), false) => self.add_subtree(*node, &mut placed),
                (None, true) => removed.push(*node),
                (None, false) => {}
            }
        }
        let (tree, graph) = (self.tree, self.graph);
        for leaving in &mut self.leaving {
            sort_by(&mut leaving.nodes, |a, b| tree.compare(graph, *a, *b).is_lt());
            leaving.left = Sums::of_ones(leaving.nodes.len());
        }
        // From the top down and from left to right: what a node goes below is there already.
        let mut steps: Vec<(u64, NodeIx)> = Vec::new();
        for node in placed.iter().map(|(node, _)| node as NodeIx) {
            if let (Some(depth), Some(index)) = (self.depth(node), tree.index_of(graph, node)) {
                steps.push((numbers::pair(depth, index as u32), node));
            }
        }
        sort(&mut steps);
        let mut told: Vec<TreeChange> =
            steps.into_iter().map(|(_, node)| self.place(node)).gather();
        for node in removed {
            // Whatever is below something that goes, goes with it.
            let parent = self.place_before(node).parent;
            if !matches!(parent, Parent::Node(above) if self.depth(above).is_none()) {
                told.push(TreeChange::Removed { node: NodeId(graph.id_of(tree.lv_of(node))) });
            }
        }
        told
    }

    /// Adds a node that is new to a view, and what is below it and is new for that reason alone.
    fn add_subtree(&self, node: NodeIx, placed: &mut Numbers) {
        let mut queue = vec![node];
        while let Some(node) = queue.pop() {
            if placed.insert(node.into(), 0) {
                let children = self.tree.children(Parent::Node(node)).iter();
                queue.extend(children.filter(|child| !self.has_changed(**child)));
            }
        }
    }

    /// Where in the list it is noted what leaves a parent.
    fn leaving_from(&self, parent: Parent) -> Option<usize> {
        numbers::get(&self.parents, code(parent)).map(|at| at as usize)
    }

    fn place(&mut self, node: NodeIx) -> TreeChange {
        let (tree, graph) = (self.tree, self.graph);
        let (old, new) = (self.place_before(node), tree.place(node));
        let find = |leaving: &Leaving, place: Place| {
            leaving.nodes.count_while(|other| tree.compare(graph, *other, (place, node)).is_lt())
        };
        if let Some(there) = self.leaving_from(old.parent) {
            let leaving = &mut self.leaving[there];
            let at = find(leaving, old);
            if leaving.nodes.get(at).is_some_and(|(_, other)| *other == node) {
                leaving.left.add(at, -1);
            }
        }
        let there = self.leaving_from(new.parent).map(|there| &self.leaving[there]);
        let still = there.map_or(0, |there| there.left.before(find(there, new)));
        placed(tree, graph, node, still)
    }
}
