//! The steps from one tree to another.

use std::collections::{BTreeMap, BTreeSet};

use crate::gather::Gather;
use crate::patch::TreeChange;
use crate::search::Search;
use crate::tree::sums::Sums;
use crate::tree::{NodeId, Tree};

/// The steps from one tree to another, as few as there can be. What is above a node is at its place
/// before the node is, so no step puts a node below itself; and what is removed is so last, when
/// nothing that stays is below it any more.
pub(crate) fn diff_tree(before: &Tree<'_>, after: &Tree<'_>) -> Vec<TreeChange> {
    let (mut changes, mut kept) = (Vec::new(), BTreeSet::new());
    let mut parents = BTreeMap::<NodeId, Option<NodeId>>::new();
    let mut old = BTreeMap::<Option<NodeId>, Vec<NodeId>>::new();
    for (parent, nodes) in before.families() {
        parents.extend(nodes.iter().map(|node| (*node, parent)));
        old.insert(parent, nodes);
    }
    for (parent, nodes) in after.families() {
        let mut there = old.remove(&parent).unwrap_or_default();
        there.retain(|node| parents[node] == parent);
        for (node, index) in placed(&there, &nodes) {
            parents.insert(node, parent);
            changes.push(TreeChange::Placed { node, parent, index });
        }
        kept.extend(nodes);
    }
    let is_kept = |parent: &Option<NodeId>| parent.is_none_or(|parent| kept.contains(&parent));
    let gone = parents.iter().filter(|(node, parent)| !kept.contains(node) && is_kept(parent));
    changes.extend(gone.map(|(node, _)| TreeChange::Removed { node: *node }));
    changes
}

/// Which nodes to put where, one after the other, so that `nodes` stand in this order among those
/// that are `there`. As many as can stay.
fn placed(there: &[NodeId], nodes: &[NodeId]) -> Vec<(NodeId, usize)> {
    let known: BTreeMap<NodeId, usize> = there.iter().copied().zip(0..).collect();
    let places: Vec<Option<usize>> = nodes.iter().map(|node| known.get(node).copied()).gather();
    let stay = longest_ascending(&places);
    let (mut left, mut placed, mut after) = (Sums::of_ones(there.len()), Vec::new(), 0);
    for ((node, place), stays) in nodes.iter().zip(places).zip(stay) {
        if let Some(place) = place {
            if stays {
                after = place + 1;
                continue;
            }
            left.add(place, -1);
        }
        placed.push((*node, left.before(after) + placed.len()));
    }
    placed
}

/// Which numbers of a list are of a longest part of it that ascends (Fredman, "On computing the
/// length of longest increasing subsequences", Discrete Mathematics 11(1), 1975).
fn longest_ascending(numbers: &[Option<usize>]) -> Vec<bool> {
    // Where the part of each length ends that ends lowest, and what is before each number in its.
    let (mut ends, mut before) = (Vec::<usize>::new(), vec![None; numbers.len()]);
    for (at, number) in numbers.iter().enumerate().filter(|(_, number)| number.is_some()) {
        let len = ends.count_while(|end| numbers[*end] < *number);
        before[at] = len.checked_sub(1).map(|last| ends[last]);
        match ends.get_mut(len) {
            Some(end) => *end = at,
            None => ends.push(at),
        }
    }
    let (mut is_part, mut next) = (vec![false; numbers.len()], ends.last().copied());
    while let Some(at) = next {
        is_part[at] = true;
        next = before[at];
    }
    is_part
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::longest_ascending;

    proptest! {
        #[test]
        fn a_longest_ascending_part_is_as_long_as_any(
            numbers in prop::collection::vec(prop::option::weighted(0.8, 0usize..12), 0..12),
        ) {
            let part = longest_ascending(&numbers);
            let of = |is_in: &dyn Fn(usize) -> bool| -> Option<Vec<usize>> {
                let chosen = (0..numbers.len()).filter(|at| is_in(*at)).map(|at| numbers[at]);
                let chosen: Vec<usize> = chosen.collect::<Option<_>>()?;
                chosen.is_sorted_by(|a, b| a < b).then_some(chosen)
            };
            let found = of(&|at| part[at]).unwrap().len();
            let sets = 0..1usize << numbers.len();
            let parts = sets.filter_map(|set| of(&|at| set >> at & 1 == 1));
            prop_assert_eq!(Some(found), parts.map(|part| part.len()).max());
        }
    }
}
