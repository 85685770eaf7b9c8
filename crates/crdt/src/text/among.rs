//! Where an insertion goes among those that its author had not seen: FugueMax of Weidner and
//! Kleppmann, "The Art of the Fugue" (IEEE TPDS 2025), the lower peer id first.
//!
//! Mostly there are a few of them, which are gone through. There may be very many, and then the
//! place is found by search, which needs to know of each insertion how *deep* it is. Of two things
//! that is enough to tell:
//!
//! - What was inserted right of something, directly or right of what was, follows it as far as it
//!   is deeper: in a sequence that is in order, this is a tree in preorder.
//! - Of what was inserted right of the same, that in front of something else of these comes right
//!   before it, again as far as it is deeper.
//!
//! So both kinds of depth, the first kind first, are one number, and the next one that is not above
//! a number is found in the sums' tree by the lowest one in each leaf.

use std::cmp::Ordering;

use crate::graph::Graph;
use crate::id::PeerId;
use crate::sum_tree::{SumTree, Widths};
#[cfg(test)]
use crate::text::counted;
use crate::text::counted::count_step;
use crate::text::tracker::{Item, NONE, Place, Tracker};

/// The measure of [`Tracker::seen`] that counts leaves.
const LEAVES: usize = 2;

/// So many items are gone through before the place is searched for. Few in tests, so that short
/// histories do both.
const SCAN_MAX: usize = if cfg!(test) { 2 } else { 32 };

/// How deep a character is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Depth {
    /// Of what it was inserted right of, and one more.
    pub(super) left: u32,
    /// If what it was inserted in front of stands right of the same: of that, and one more.
    pub(super) right: u32,
}

impl Depth {
    /// Both as one number.
    pub(super) fn key(self) -> u64 {
        u64::from(self.left) << 32 | u64::from(self.right)
    }
}

/// How many characters of some items each view has seen, shown or not.
pub(super) fn seen_widths(items: &[Item]) -> Widths {
    let seen = |view| items.iter().map(|item| item.seen_width(view)).sum();
    [seen(0), seen(1), 0]
}

/// The greatest number from `low` to `high` of which something holds that holds of `low`, and of
/// all below one of which it holds.
fn last_where(low: u32, high: u32, holds: impl Fn(u32) -> bool) -> u32 {
    let (mut low, mut high) = (low, high);
    while low < high {
        let middle = high - (high - low) / 2;
        if holds(middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

impl Tracker {
    /// What comes next when something is inserted right of a character of this depth, and how deep
    /// the new is.
    pub(super) fn right_of(&self, depth: u32, next: Option<Place>) -> (u32, Depth) {
        let left = depth + 1;
        let Some(next) = next.map(|next| self.item(next)) else {
            return (NONE, Depth { left, right: 0 });
        };
        let is_within = next.depth.left == left;
        (next.id, Depth { left, right: if is_within { next.depth.right + 1 } else { 0 } })
    }

    /// The first item from a place on that a view has seen.
    pub(super) fn seen_from(&mut self, view: usize, from: Option<Place>) -> Option<Place> {
        let mut at = from?;
        for _ in 0..SCAN_MAX {
            if self.item(at).seen[view] > 0 {
                return Some(at);
            }
            count_step();
            at = self.normal(Place { item: at.item + 1, ..at })?;
        }
        if let Some(seen) = self.seen_in(view, at) {
            return Some(seen);
        }
        let next = self.tree.next(at.leaf)?;
        let seen = self.seen_tree();
        let (leaf, _) = seen.find_in(view, seen.before_in(next, view), false);
        self.seen_in(view, Place { leaf, item: 0 })
    }

    /// The same in one leaf.
    fn seen_in(&self, view: usize, from: Place) -> Option<Place> {
        let items = &self.leaves[from.leaf][from.item..];
        let item = items.iter().position(|item| item.seen[view] > 0)?;
        Some(Place { item: from.item + item, ..from })
    }

    fn seen_tree(&mut self) -> &SumTree {
        let (tree, leaves) = (&self.tree, &self.leaves);
        self.seen.get_or_insert_with(|| {
            let mut seen = tree.of_same_leaves();
            for (leaf, items) in (0..).zip(leaves.iter()) {
                let [first, second, _] = seen_widths(items);
                seen.change(leaf, [first, second, 1]);
            }
            Box::new(seen)
        })
    }

    /// Where a new item goes whose author had seen nothing between `from`, where it was inserted,
    /// and `end`.
    pub(super) fn place_among(
        &mut self,
        graph: &Graph,
        from: Place,
        new: &Item,
        end: Option<Place>,
    ) -> Place {
        if let Some(place) = self.place_near(graph, from, new, end, SCAN_MAX) {
            return place;
        }
        let place = self.place_far(graph, from, new, end);
        #[cfg(test)]
        {
            let steps = counted::steps();
            let other = self.place_near(graph, from, new, end, usize::MAX);
            assert_eq!(self.normal(place), other.and_then(|other| self.normal(other)));
            counted::set(steps);
        }
        place
    }

    /// The same if it turns out within so many items.
    fn place_near(
        &self,
        graph: &Graph,
        from: Place,
        new: &Item,
        end: Option<Place>,
        items_max: usize,
    ) -> Option<Place> {
        let peer = graph.peer_of(new.id);
        let (mut dest, mut scanning) = (from, false);
        let mut next = self.normal(from);
        for _ in 0..items_max {
            let Some(at) = next.filter(|_| next != end) else { return Some(dest) };
            count_step();
            let other = self.item(at);
            match other.depth.left.cmp(&new.depth.left) {
                Ordering::Less => return Some(dest),
                Ordering::Greater => {}
                Ordering::Equal => {
                    let rights = self.compare(other.right, new.right, Ordering::Greater);
                    if rights == Ordering::Equal && peer < graph.peer_of(other.id) {
                        return Some(dest);
                    }
                    scanning = rights == Ordering::Less;
                }
            }
            let after = Place { item: at.item + 1, ..at };
            if !scanning {
                dest = after;
            }
            next = self.normal(after);
        }
        None
    }

    /// The same by search: of what was inserted right of the same, the last that stays before the
    /// new item is found by halving, and what was inserted right of that one is deeper.
    fn place_far(&mut self, graph: &Graph, from: Place, new: &Item, end: Option<Place>) -> Place {
        self.seen_tree();
        let upto = |left| Depth { left, right: u32::MAX }.key();
        // What is less deep was inserted right of something further left.
        let end = self.first_of(self.next_of_key(from, upto(new.depth.left - 1)), end);
        let siblings = Siblings { tracker: self, graph, new, peer: graph.peer_of(new.id) };
        let Some(last) = siblings.last_before(from, end) else { return from };
        let next = self.next_of_key(Place { item: last.item + 1, ..last }, upto(new.depth.left));
        let leaf = self.tree.last();
        let behind = Place { leaf, item: self.leaves[leaf].len() };
        self.first_of(next, end).unwrap_or(behind)
    }

    /// The first item from a place on that is not deeper.
    fn next_of_key(&self, from: Place, upto: u64) -> Option<Place> {
        if let Some(found) = self.of_key_in(from, upto) {
            return Some(found);
        }
        let leaf = self.tree.next_of_key(from.leaf, upto)?;
        self.of_key_in(Place { leaf, item: 0 }, upto)
    }

    /// The same in one leaf.
    fn of_key_in(&self, from: Place, upto: u64) -> Option<Place> {
        let items = &self.leaves[from.leaf][from.item..];
        let item = items.iter().position(|item| item.depth.key() <= upto)?;
        Some(Place { item: from.item + item, ..from })
    }

    fn is_before(&self, a: Place, b: Place) -> bool {
        self.tree.compare(a.leaf, b.leaf).then(a.item.cmp(&b.item)).is_lt()
    }

    fn first_of(&self, a: Option<Place>, b: Option<Place>) -> Option<Place> {
        match (a, b) {
            (Some(a), Some(b)) => Some(if self.is_before(b, a) { b } else { a }),
            _ => a.or(b),
        }
    }
}

/// What was inserted right of the same as a new item, or in front of the same.
struct Siblings<'a> {
    tracker: &'a Tracker,
    graph: &'a Graph,
    new: &'a Item,
    peer: PeerId,
}

impl Siblings<'_> {
    /// Whether one of them stays before the new item.
    fn is_first(&self, other: &Item) -> bool {
        count_step();
        if other.right == self.new.right {
            return self.graph.peer_of(other.id) <= self.peer;
        }
        // If the new item stands in front of one of those, so do all that are no deeper.
        self.new.depth.right > 0
            || self.tracker.compare(other.right, self.new.right, Ordering::Greater).is_gt()
    }

    /// The last that stays before the new item.
    fn last_before(&self, from: Place, end: Option<Place>) -> Option<Place> {
        let (tracker, key) = (self.tracker, self.new.depth.key());
        let seen = tracker.seen.as_deref()?;
        let number_of = |leaf| seen.before_in(leaf, LEAVES);
        let leaf_of = |number| seen.find_in(LEAVES, number, false).0;
        let last = end.map_or(tracker.tree.last(), |end| end.leaf);
        let number = last_where(number_of(from.leaf), number_of(last), |number| {
            let first = tracker.next_of_key(Place { leaf: leaf_of(number), item: 0 }, key);
            let first = first.filter(|first| end.is_none_or(|end| tracker.is_before(*first, end)));
            first.is_some_and(|first| self.is_first(tracker.item(first)))
        });
        let leaf = leaf_of(number);
        let start = if leaf == from.leaf { from.item } else { 0 };
        let items = &tracker.leaves[leaf];
        let stop = end.filter(|end| end.leaf == leaf).map_or(items.len(), |end| end.item);
        let count = last_where(0, (stop - start) as u32, |count| {
            let mut rest = items[start + count as usize - 1..stop].iter();
            let first = rest.find(|item| item.depth.key() <= key);
            first.is_some_and(|first| self.is_first(first))
        });
        let last = count.checked_sub(1)?;
        Some(Place { leaf, item: start + last as usize })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Block;
    use crate::model::Model;
    use crate::{ContainerId, ContainerKind, Doc, OpId, PeerId, Stamp, VersionVector};

    /// What each of many authors does at once.
    #[derive(Clone, Copy, Debug)]
    enum Kind {
        Letter,
        Word,
        TwoPlaces,
        DeletesToo,
        /// Each sees other characters deleted behind the place.
        Rights,
        /// Each has seen more of what somebody appends.
        Appended,
        /// The same of what somebody puts in front.
        Prepended,
        List,
    }

    const KINDS: [Kind; 8] = [
        Kind::Letter,
        Kind::Word,
        Kind::TwoPlaces,
        Kind::DeletesToo,
        Kind::Rights,
        Kind::Appended,
        Kind::Prepended,
        Kind::List,
    ];

    /// Numbers below `count` in some order.
    fn shuffled(count: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..count).collect();
        all.sort_by_key(|at| (*at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20);
        all
    }

    /// The blocks of so many authors, each of which sees none of the others.
    fn blocks_of(kind: Kind, authors: usize) -> Vec<Block> {
        let mut seen = Doc::new(PeerId(1));
        seen.transact(0, |tx| tx.text("x").insert(0, "a text that is there")).0.unwrap();
        let mut blocks = seen.blocks_since(&VersionVector::new());
        let (mut others, peers) = (Vec::new(), shuffled(authors));
        for (at, peer) in peers.into_iter().enumerate() {
            let mut doc = seen.fork(PeerId(10 + peer as u64));
            let place = 5 + if matches!(kind, Kind::Appended) { at } else { 0 };
            let edited = doc.transact(0, |tx| {
                let mut text = tx.text("x");
                match kind {
                    Kind::Word => text.insert(place, "abc"),
                    Kind::TwoPlaces => text.insert(place + at % 2 * 3, "x"),
                    Kind::Rights => {
                        text.delete(place, at % 9)?;
                        text.insert(place, "x")
                    }
                    Kind::DeletesToo => {
                        text.insert(place, "x")?;
                        text.delete(place + 1 - at % 3, 1)
                    }
                    Kind::List => {
                        tx.list("l").insert(0, at as i64).unwrap();
                        Ok(())
                    }
                    Kind::Letter | Kind::Appended | Kind::Prepended => text.insert(place, "x"),
                }
            });
            edited.0.unwrap();
            others.extend(doc.blocks_since(seen.version()));
            if matches!(kind, Kind::Appended | Kind::Prepended) {
                let before = seen.version().clone();
                seen.transact(0, |tx| tx.text("x").insert(place, "s")).0.unwrap();
                blocks.extend(seen.blocks_since(&before));
            }
        }
        for at in shuffled(others.len()) {
            blocks.push(others[at].clone());
        }
        blocks
    }

    fn received(blocks: &[Block], at_once: bool) -> Doc {
        let mut doc = Doc::new(PeerId(5));
        if at_once {
            doc.import(0, blocks.to_vec()).unwrap();
        } else {
            blocks.iter().for_each(|block| drop(doc.import(0, [block.clone()]).unwrap()));
        }
        doc
    }

    #[test]
    fn what_many_insert_at_once_is_in_the_models_order() {
        let id = ContainerId::root("x");
        for (kind, authors) in KINDS.into_iter().flat_map(|kind| [3, 9, 40].map(|n| (kind, n))) {
            let blocks = blocks_of(kind, authors);
            let model = Model::of(&blocks);
            for at_once in [true, false] {
                let doc = received(&blocks, at_once);
                assert_eq!(doc.text("x").to_string(), model.text(&id), "{kind:?} {authors}");
                if let Kind::List = kind {
                    let list: Vec<_> = doc.list("l").iter().collect();
                    assert_eq!(
                        list,
                        model.list(ContainerKind::List, &ContainerId::root("l")),
                        "{authors}"
                    );
                }
            }
        }
    }

    /// A file may claim that there is as much text as can be.
    #[test]
    fn what_is_inserted_at_once_behind_all_text_that_can_be_is_in_order() {
        let placed = |views: [usize; 3]| {
            let (mut graph, mut tracker) = (Graph::default(), Tracker::new(None));
            let (mut heads, end) = ([None; 2], tracker.reach(0));
            for (lv, view) in (0..).zip(views) {
                let peer = PeerId(2 - view as u64);
                let id = OpId::new(peer, graph.version().get(peer));
                graph.push(id, 1, Stamp(u64::from(lv)), heads[view].as_slice());
                tracker.insert(&graph, view, lv, 1, end);
                heads[view] = Some(lv);
            }
            tracker.items_from(None).map(|(id, _)| id).collect::<Vec<_>>()
        };
        assert_eq!(placed([0, 1, 0]), [1, 2, 0]);
        assert_eq!(placed([0, 0, 1]), [2, 1, 0]);
    }

    #[test]
    fn placing_what_many_insert_at_once_is_not_quadratic() {
        for (kind, at_once) in KINDS.into_iter().flat_map(|kind| [(kind, true), (kind, false)]) {
            let steps = [100, 400].map(|authors| {
                let blocks = blocks_of(kind, authors);
                let before = counted::steps();
                received(&blocks, at_once);
                counted::steps() - before
            });
            assert!(steps[1] < steps[0] * 7, "{kind:?}, at once {at_once}: {steps:?}");
        }
    }
}
