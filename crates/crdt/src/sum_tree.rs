//! A B-tree that sums: finds the leaf at a position in O(log n), for every sequence in this crate.
//!
//! It knows nothing of what the leaves hold. A leaf is a number, handed out in order, and has three
//! widths; the owner keeps the content in a vector of its own and says how widths change. It may
//! also have a *key*, by which the next leaf of a low key is found. Being non-generic, one copy
//! serves the rope and the merge tracker.

use crate::pool::Pool;

/// A leaf's widths, in three measures that the owner chooses.
pub(crate) type Widths = [u32; 3];

/// Children per node. Small in tests, so that short sequences make deep trees.
const FANOUT: usize = if cfg!(test) { 4 } else { 16 };

const NONE: u32 = u32::MAX;

/// The key of a leaf that has none.
const NO_KEY: u64 = u64::MAX;

#[derive(Clone, Debug)]
struct Node {
    parent: u32,
    len: usize,
    children: [u32; FANOUT],
    /// One array a measure, each parallel to `children`.
    widths: [[u32; FANOUT]; 3],
    /// The lowest key in each child.
    keys: [u64; FANOUT],
}

impl Node {
    fn new(parent: u32) -> Self {
        Self {
            parent,
            len: 0,
            children: [NONE; FANOUT],
            widths: [[0; FANOUT]; 3],
            keys: [NO_KEY; FANOUT],
        }
    }

    fn slot_of(&self, child: u32) -> usize {
        let slot = self.children[..self.len].iter().position(|other| *other == child);
        slot.expect("a child is listed by its parent")
    }

    fn width(&self, slot: usize) -> Widths {
        [self.widths[0][slot], self.widths[1][slot], self.widths[2][slot]]
    }

    fn set_width(&mut self, slot: usize, widths: Widths) {
        for (measure, width) in self.widths.iter_mut().zip(widths) {
            measure[slot] = width;
        }
    }

    fn sum_before(&self, slot: usize) -> Widths {
        self.widths.map(|measure| measure[..slot].iter().sum())
    }

    /// The first child that ends after `pos`, or at it if `touching`, and the sum before it, where
    /// `before` is that before the node. The last child takes what no other ends after.
    fn slot_at(&self, measure: usize, before: u32, pos: u32, touching: bool) -> (usize, u32) {
        let (mut slot, mut start, mut end) = (0, before, before);
        // Without a way out of the loop: where it would be taken cannot be predicted.
        for width in &self.widths[measure][..self.len - 1] {
            end = end.wrapping_add(*width);
            let is_passed = end < pos || (!touching && end == pos);
            slot += usize::from(is_passed);
            start = if is_passed { end } else { start };
        }
        (slot, start)
    }

    fn lowest_key(&self) -> u64 {
        self.keys[..self.len].iter().fold(NO_KEY, |lowest, key| lowest.min(*key))
    }

    fn insert(&mut self, slot: usize, child: u32, widths: Widths, key: u64) {
        self.children.copy_within(slot..self.len, slot + 1);
        self.children[slot] = child;
        self.keys.copy_within(slot..self.len, slot + 1);
        self.keys[slot] = key;
        for (measure, width) in self.widths.iter_mut().zip(widths) {
            measure.copy_within(slot..self.len, slot + 1);
            measure[slot] = width;
        }
        self.len += 1;
    }

    /// Of a tree without keys: those stay where they are.
    fn remove(&mut self, slot: usize) {
        self.children.copy_within(slot + 1..self.len, slot);
        for measure in &mut self.widths {
            measure.copy_within(slot + 1..self.len, slot);
        }
        self.len -= 1;
    }
}

#[derive(Clone, Copy, Debug)]
struct Leaf {
    parent: u32,
    previous: u32,
    next: u32,
}

/// The tree: see the module's documentation. It always has at least one leaf.
#[derive(Clone, Debug)]
pub(crate) struct SumTree {
    nodes: Pool<Node>,
    leaves: Pool<Leaf>,
    free_nodes: Vec<u32>,
    free_leaves: Vec<u32>,
    root: u32,
    /// Levels of nodes above the leaves.
    height: usize,
    first: u32,
    last: u32,
    total: Widths,
}

impl Default for SumTree {
    fn default() -> Self {
        let mut root = Node::new(NONE);
        root.insert(0, 0, [0; 3], NO_KEY);
        Self {
            nodes: Pool(vec![root]),
            leaves: Pool(vec![Leaf { parent: 0, previous: NONE, next: NONE }]),
            free_nodes: Vec::new(),
            free_leaves: Vec::new(),
            root: 0,
            height: 1,
            first: 0,
            last: 0,
            total: [0; 3],
        }
    }
}

fn add(to: &mut Widths, other: Widths) {
    for (sum, width) in to.iter_mut().zip(other) {
        *sum = sum.wrapping_add(width);
    }
}

impl SumTree {
    /// The sums over all leaves.
    pub(crate) fn total(&self) -> Widths {
        self.total
    }

    pub(crate) fn first(&self) -> u32 {
        self.first
    }

    pub(crate) fn last(&self) -> u32 {
        self.last
    }

    pub(crate) fn next(&self, leaf: u32) -> Option<u32> {
        let next = self.leaves[leaf].next;
        (next != NONE).then_some(next)
    }

    pub(crate) fn previous(&self, leaf: u32) -> Option<u32> {
        let previous = self.leaves[leaf].previous;
        (previous != NONE).then_some(previous)
    }

    /// The first leaf that ends after `pos` in this measure, or at it if `touching`; the last leaf
    /// if none does. With it, the sums before that leaf.
    pub(crate) fn find(&self, measure: usize, pos: u32, touching: bool) -> (u32, Widths) {
        let mut before: Widths = [0; 3];
        let mut at = self.root;
        for _ in 0..self.height {
            let node = &self.nodes[at];
            let (slot, _) = node.slot_at(measure, before[measure], pos, touching);
            if slot > 0 {
                add(&mut before, node.sum_before(slot));
            }
            at = node.children[slot];
        }
        (at, before)
    }

    /// As [`SumTree::find`], with the sum in this measure only.
    pub(crate) fn find_in(&self, measure: usize, pos: u32, touching: bool) -> (u32, u32) {
        let (mut before, mut at) = (0, self.root);
        for _ in 0..self.height {
            let node = &self.nodes[at];
            let (slot, sum) = node.slot_at(measure, before, pos, touching);
            before = sum;
            at = node.children[slot];
        }
        (at, before)
    }

    /// The sums over all leaves before this one.
    pub(crate) fn before(&self, leaf: u32) -> Widths {
        let (mut child, mut at) = (leaf, self.leaves[leaf].parent);
        let mut sum: Widths = [0; 3];
        while at != NONE {
            let node = &self.nodes[at];
            add(&mut sum, node.sum_before(node.slot_of(child)));
            (child, at) = (at, node.parent);
        }
        sum
    }

    /// The sum in one measure over all leaves before this one.
    pub(crate) fn before_in(&self, leaf: u32, measure: usize) -> u32 {
        let (mut child, mut at) = (leaf, self.leaves[leaf].parent);
        let mut sum = 0u32;
        while at != NONE {
            let node = &self.nodes[at];
            let before = &node.widths[measure][..node.slot_of(child)];
            sum = before.iter().fold(sum, |sum, width| sum.wrapping_add(*width));
            (child, at) = (at, node.parent);
        }
        sum
    }

    /// Which of two leaves comes first.
    pub(crate) fn compare(&self, a: u32, b: u32) -> std::cmp::Ordering {
        let (mut a, mut b) = (a, b);
        if a == b {
            return std::cmp::Ordering::Equal;
        }
        let parent = |child: u32, level: usize| {
            if level == 0 { self.leaves[child].parent } else { self.nodes[child].parent }
        };
        // All leaves are equally deep, so the two paths meet at one level.
        for level in 0..self.height {
            let (up_a, up_b) = (parent(a, level), parent(b, level));
            if up_a == up_b {
                let node = &self.nodes[up_a];
                return node.slot_of(a).cmp(&node.slot_of(b));
            }
            (a, b) = (up_a, up_b);
        }
        unreachable!("all paths meet at the root")
    }

    /// Adds to a leaf's widths; what is to be taken off is added as its negation, which wraps.
    pub(crate) fn change(&mut self, leaf: u32, by: Widths) {
        let (mut child, mut at) = (leaf, self.leaves[leaf].parent);
        while at != NONE {
            let node = &mut self.nodes[at];
            let slot = node.slot_of(child);
            for (measure, by) in node.widths.iter_mut().zip(by) {
                measure[slot] = measure[slot].wrapping_add(by);
            }
            (child, at) = (at, node.parent);
        }
        for (total, by) in self.total.iter_mut().zip(by) {
            *total = total.wrapping_add(by);
        }
    }

    /// Changes a leaf's width in one measure.
    pub(crate) fn change_in(&mut self, leaf: u32, measure: usize, by: i32) {
        let (mut child, mut at) = (leaf, self.leaves[leaf].parent);
        while at != NONE {
            let node = &mut self.nodes[at];
            let slot = node.slot_of(child);
            let width = &mut node.widths[measure][slot];
            *width = width.wrapping_add_signed(by);
            (child, at) = (at, node.parent);
        }
        self.total[measure] = self.total[measure].wrapping_add_signed(by);
    }

    /// Says what a leaf's key is. A tree whose leaves have keys removes none.
    pub(crate) fn set_key(&mut self, leaf: u32, key: u64) {
        let (mut child, mut at, mut key) = (leaf, self.leaves[leaf].parent, key);
        while let Some(node) = self.nodes.get_mut(at as usize) {
            let slot = node.slot_of(child);
            if std::mem::replace(&mut node.keys[slot], key) == key {
                break;
            }
            key = node.lowest_key();
            (child, at) = (at, node.parent);
        }
    }

    /// Makes a leaf's key this one, unless it is lower already.
    pub(crate) fn lower_key(&mut self, leaf: u32, key: u64) {
        let (mut child, mut at) = (leaf, self.leaves[leaf].parent);
        while let Some(node) = self.nodes.get_mut(at as usize) {
            let slot = node.slot_of(child);
            if node.keys[slot] <= key {
                break;
            }
            node.keys[slot] = key;
            (child, at) = (at, node.parent);
        }
    }

    /// The first leaf after another whose key is not above this one.
    pub(crate) fn next_of_key(&self, leaf: u32, upto: u64) -> Option<u32> {
        let (mut child, mut at) = (leaf, self.leaves[leaf].parent);
        let mut height = 0;
        let has = |key: &u64| *key <= upto;
        let mut found = loop {
            let node = self.nodes.get(at as usize)?;
            let after = node.slot_of(child) + 1;
            if let Some(slot) = node.keys[after..node.len].iter().position(has) {
                break node.children[after + slot];
            }
            (child, at) = (at, node.parent);
            height += 1;
        };
        for _ in 0..height {
            let node = &self.nodes[found];
            let slot = node.keys[..node.len].iter().position(has);
            found = node.children[slot.expect("a node's key is that of a child")];
        }
        Some(found)
    }

    /// A tree of the same leaves, which have neither widths nor keys.
    pub(crate) fn of_same_leaves(&self) -> Self {
        let mut same = self.clone();
        for node in same.nodes.iter_mut() {
            (node.widths, node.keys) = ([[0; FANOUT]; 3], [NO_KEY; FANOUT]);
        }
        same.total = [0; 3];
        same
    }

    /// Adds a leaf after another; returns its number, which may be that of a removed one.
    pub(crate) fn insert_after(&mut self, leaf: u32, widths: Widths) -> u32 {
        let new = self.free_leaves.pop().unwrap_or_else(|| {
            self.leaves.push(Leaf { parent: NONE, previous: NONE, next: NONE });
            (self.leaves.len() - 1) as u32
        });
        let next = self.leaves[leaf].next;
        self.leaves[new] = Leaf { parent: NONE, previous: leaf, next };
        self.leaves[leaf].next = new;
        if next == NONE {
            self.last = new;
        } else {
            self.leaves[next].previous = new;
        }
        let parent = self.leaves[leaf].parent;
        let parent = self.with_room(parent, leaf);
        let node = &mut self.nodes[parent];
        let slot = node.slot_of(leaf) + 1;
        node.insert(slot, new, [0; 3], NO_KEY);
        self.leaves[new].parent = parent;
        self.change(new, widths);
        new
    }

    /// Removes a leaf that is not the only one.
    pub(crate) fn remove(&mut self, leaf: u32) {
        let Leaf { parent, previous, next } = self.leaves[leaf];
        let slot = self.nodes[parent].slot_of(leaf);
        let widths = self.nodes[parent].width(slot);
        self.change(leaf, widths.map(u32::wrapping_neg));
        if previous == NONE {
            self.first = next;
        } else {
            self.leaves[previous].next = next;
        }
        if next == NONE {
            self.last = previous;
        } else {
            self.leaves[next].previous = previous;
        }
        self.free_leaves.push(leaf);
        let (mut at, mut slot) = (parent, slot);
        loop {
            let node = &mut self.nodes[at];
            node.remove(slot);
            let up = node.parent;
            if node.len > 0 || up == NONE {
                break;
            }
            self.free_nodes.push(at);
            slot = self.nodes[up].slot_of(at);
            at = up;
        }
        while self.height > 1 && self.nodes[self.root].len == 1 {
            self.free_nodes.push(self.root);
            self.root = self.nodes[self.root].children[0];
            self.nodes[self.root].parent = NONE;
            self.height -= 1;
        }
    }

    fn new_node(&mut self, parent: u32) -> u32 {
        if let Some(at) = self.free_nodes.pop() {
            self.nodes[at] = Node::new(parent);
            return at;
        }
        self.nodes.push(Node::new(parent));
        (self.nodes.len() - 1) as u32
    }

    /// Splits `at` if it is full; returns the node that then has `child`, with room for one more.
    fn with_room(&mut self, at: u32, child: u32) -> u32 {
        if self.nodes[at].len < FANOUT {
            return at;
        }
        let mut parent = self.nodes[at].parent;
        if parent == NONE {
            parent = self.new_node(NONE);
            self.nodes[at].parent = parent;
            let key = self.nodes[at].lowest_key();
            self.nodes[parent].insert(0, at, self.total, key);
            self.root = parent;
            self.height += 1;
        }
        parent = self.with_room(parent, at);
        let right = self.new_node(parent);
        let is_bottom = self.is_bottom(at);
        // Appending is common: then the left node stays nearly full.
        let slot = self.nodes[at].slot_of(child);
        let keep = if slot + 1 == FANOUT { FANOUT - 1 } else { FANOUT / 2 };
        let mut moved: Widths = [0; 3];
        for from in keep..FANOUT {
            let (child, widths, key) = {
                let node = &self.nodes[at];
                (node.children[from], node.width(from), node.keys[from])
            };
            add(&mut moved, widths);
            self.nodes[right].insert(from - keep, child, widths, key);
            if is_bottom {
                self.leaves[child].parent = right;
            } else {
                self.nodes[child].parent = right;
            }
        }
        self.nodes[at].len = keep;
        let keys = [at, right].map(|node| self.nodes[node].lowest_key());
        let node = &mut self.nodes[parent];
        let slot_of_left = node.slot_of(at);
        let mut left = node.width(slot_of_left);
        for (left, moved) in left.iter_mut().zip(moved) {
            *left = left.wrapping_sub(moved);
        }
        node.set_width(slot_of_left, left);
        node.keys[slot_of_left] = keys[0];
        node.insert(slot_of_left + 1, right, moved, keys[1]);
        if slot < keep { at } else { right }
    }

    fn is_bottom(&self, at: u32) -> bool {
        let mut depth = 1;
        let mut up = self.nodes[at].parent;
        while up != NONE {
            depth += 1;
            up = self.nodes[up].parent;
        }
        depth == self.height
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The tree answers as a plain list of leaves does.
        #[test]
        fn it_finds_what_a_list_finds(
            steps in prop::collection::vec((0u8..4, any::<prop::sample::Index>(), 0u32..9), 1..200),
        ) {
            let mut tree = SumTree::default();
            let mut list: Vec<(u32, Widths)> = vec![(0, [0; 3])];
            for (kind, index, width) in steps {
                let at = index.index(list.len());
                let leaf = list[at].0;
                match kind {
                    0 | 1 => {
                        let widths = [width, width * 2, 1];
                        let new = tree.insert_after(leaf, widths);
                        list.insert(at + 1, (new, widths));
                    }
                    2 => {
                        tree.change(leaf, [width, 0, 1]);
                        list[at].1[0] += width;
                        list[at].1[2] += 1;
                    }
                    _ if list.len() > 1 => {
                        tree.remove(leaf);
                        list.remove(at);
                    }
                    _ => {}
                }
                let mut sum = [0; 3];
                for (i, (leaf, widths)) in list.iter().enumerate() {
                    prop_assert_eq!(tree.before(*leaf), sum);
                    prop_assert_eq!([0, 1, 2].map(|m| tree.before_in(*leaf, m)), sum);
                    prop_assert_eq!(tree.next(*leaf), list.get(i + 1).map(|(next, _)| *next));
                    prop_assert_eq!(
                        tree.previous(*leaf), i.checked_sub(1).map(|left| list[left].0));
                    prop_assert_eq!(tree.compare(list[at.min(list.len() - 1)].0, *leaf),
                        at.min(list.len() - 1).cmp(&i));
                    add(&mut sum, *widths);
                }
                prop_assert_eq!(tree.total(), sum);
                prop_assert_eq!((tree.first(), tree.last()),
                    (list[0].0, list[list.len() - 1].0));
                for measure in 0..3 {
                    for touching in [false, true] {
                        let pos = width;
                        let mut end = 0;
                        let expected = list.iter().position(|(_, widths)| {
                            end += widths[measure];
                            end > pos || (touching && end == pos)
                        });
                        let expected = list[expected.unwrap_or(list.len() - 1)].0;
                        prop_assert_eq!(
                            tree.find(measure, pos, touching), (expected, tree.before(expected)));
                    }
                }
            }
        }

        /// The next leaf of a low key is the one that a list has.
        #[test]
        fn it_finds_keys_as_a_list_does(
            steps in prop::collection::vec((0u8..3, any::<prop::sample::Index>(), 0u64..9), 1..200),
        ) {
            let mut tree = SumTree::default();
            let mut list: Vec<(u32, u64)> = vec![(0, NO_KEY)];
            for (kind, index, key) in steps {
                let at = index.index(list.len());
                let leaf = list[at].0;
                match kind {
                    0 => list.insert(at + 1, (tree.insert_after(leaf, [1; 3]), NO_KEY)),
                    1 => {
                        tree.set_key(leaf, key);
                        list[at].1 = key;
                    }
                    _ => {
                        tree.lower_key(leaf, key);
                        list[at].1 = list[at].1.min(key);
                    }
                }
                for (i, (leaf, _)) in list.iter().enumerate() {
                    let expected = list[i + 1..].iter().find(|(_, other)| *other <= key);
                    prop_assert_eq!(tree.next_of_key(*leaf, key), expected.map(|(leaf, _)| *leaf));
                }
                let same = tree.of_same_leaves();
                prop_assert_eq!((same.total(), same.next_of_key(list[0].0, 9)), ([0; 3], None));
                prop_assert_eq!(same.next(leaf), tree.next(leaf));
            }
        }
    }
}
