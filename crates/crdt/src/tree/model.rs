//! The oracle of a tree: all its operations, sorted and carried out one by one.

use std::collections::BTreeMap;

use crate::cells::{CellOp, RowRef};
use crate::id::{OpId, PeerId};
use crate::stamp::Stamp;

/// Below what a node is, if anything, and its key; nothing in the trash.
type Place = Option<(Option<OpId>, Vec<u8>)>;

/// The operations on one tree that name what their authors knew.
#[derive(Default)]
pub(crate) struct TreeModel {
    moves: BTreeMap<(Stamp, PeerId), (OpId, Place)>,
}

impl TreeModel {
    /// Takes in an operation of an author who had seen those nodes that `seen` says.
    pub(crate) fn apply(
        &mut self,
        id: OpId,
        stamp: Stamp,
        op: &CellOp,
        seen: &dyn Fn(OpId) -> bool,
    ) {
        let node = |row: RowRef| match row {
            RowRef::Stray(node) => node,
            RowRef::Known(_) => unreachable!("blocks name nodes by id"),
        };
        let knows = |parent: &Option<OpId>| parent.is_none_or(seen);
        let (node, place) = match op {
            CellOp::Create { parent, key } => {
                let parent = parent.map(node);
                (id, knows(&parent).then(|| (parent, key.clone())))
            }
            CellOp::Place { node: moved, parent, key } => {
                let parent = parent.map(node);
                if !knows(&parent) {
                    return;
                }
                (node(*moved), Some((parent, key.clone())))
            }
            CellOp::Remove { row } => (node(*row), None),
            _ => return,
        };
        if node == id || seen(node) {
            self.moves.insert((stamp, id.peer), (node, place));
        }
    }

    /// The tree as `(depth, node)`, each before what is below it.
    pub(crate) fn walk(&self) -> Vec<(usize, OpId)> {
        let mut places = BTreeMap::<OpId, Place>::new();
        for (node, place) in self.moves.values() {
            let mut above = place.as_ref().and_then(|(parent, _)| *parent);
            while let Some(at) = above.filter(|at| at != node) {
                above = places[&at].as_ref().and_then(|(parent, _)| *parent);
            }
            if above.is_none() {
                places.insert(*node, place.clone());
            }
        }
        let mut out = Vec::new();
        walk(&places, None, 0, &mut out);
        out
    }
}

fn walk(
    places: &BTreeMap<OpId, Place>,
    parent: Option<OpId>,
    depth: usize,
    out: &mut Vec<(usize, OpId)>,
) {
    let mut children: Vec<(Vec<u8>, OpId)> = Vec::new();
    for (node, place) in places {
        if let Some((below, key)) = place
            && *below == parent
        {
            let id = [&node.peer.0.to_be_bytes()[..], &node.seq.to_be_bytes()].concat();
            children.push(([&**key, &[0], &id].concat(), *node));
        }
    }
    children.sort();
    for (_, node) in children {
        out.push((depth, node));
        walk(places, Some(node), depth + 1, out);
    }
}
