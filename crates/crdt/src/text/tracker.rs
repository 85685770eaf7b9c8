//! The merge tracker: which characters stand where, in several versions of a text at once.
//!
//! This is the internal state of Gentle and Kleppmann, "Collaborative Text Editing with Eg-walker"
//! (EuroSys 2025), section 3: a sequence of items, built from the latest version that everything
//! concerned has seen, in which a version can be moved back and forth. Text from before that
//! version is one anonymous item. The order among concurrent insertions is FugueMax of Weidner and
//! Kleppmann, "The Art of the Fugue" (IEEE TPDS 2025), the lower peer id first.
//!
//! Where the paper's walker has one version to move, this has two *views* besides the present: the
//! present takes in what has seen everything, at no cost, and each of two diverged branches keeps a
//! view of its own, so that changes which arrive one by one from either are applied where they are
//! and nothing is moved at all.

use std::cell::OnceCell;
use std::cmp::Ordering;

use crate::graph::{Diff, Graph, Lv};
use crate::pool::Pool;
use crate::range_map::RangeMap;
use crate::sum_tree::{SumTree, Widths};
use crate::text::among::{Depth, seen_widths};
use crate::text::leaf_map::LeafMap;
use crate::text::view::View;

/// Items per leaf. Small in tests, so that short histories fill several.
const LEAF_ITEMS_MAX: usize = if cfg!(test) { 4 } else { 32 };

/// The anonymous text is longer than any real one; what lies past its real end is never reached.
const GROUND_LEN: u32 = 1 << 30;

/// The first id of an anonymous character; others follow by position.
const GROUND: Lv = 1 << 31;

pub(super) const NONE: Lv = Lv::MAX;

/// The measures of the tree: characters shown in a view, or in the present.
pub(super) const PRESENT: usize = 2;

/// A run of characters with consecutive ids, each inserted right after the one before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Item {
    pub(super) id: Lv,
    pub(super) len: u32,
    /// What the first was inserted in front of; it holds for all.
    pub(super) right: Lv,
    /// Where the first stands in the order of what was inserted at once; see
    /// [`crate::text::among`].
    pub(super) depth: Depth,
    /// In each view: 0 before it was inserted, 1 while shown, then 1 more for each deletion.
    pub(super) seen: [u32; 2],
    pub(super) is_deleted: bool,
}

impl Item {
    pub(super) fn width(&self, measure: usize) -> u32 {
        let is_shown = if measure == PRESENT { !self.is_deleted } else { self.seen[measure] == 1 };
        if is_shown { self.len } else { 0 }
    }

    /// How many characters a view has seen, shown or not.
    pub(super) fn seen_width(&self, view: usize) -> u32 {
        if self.seen[view] > 0 { self.len } else { 0 }
    }

    fn widths(&self) -> Widths {
        [self.width(0), self.width(1), self.width(PRESENT)]
    }

    pub(super) fn end(&self) -> Lv {
        self.id + self.len
    }

    /// Cuts the item after `len` characters and returns the rest.
    fn split_off(&mut self, len: u32) -> Self {
        let depth = Depth { left: self.depth.left + len, right: 0 };
        let rest = Self { id: self.id + len, len: self.len - len, depth, ..*self };
        self.len = len;
        rest
    }
}

/// Which characters a run of deletions hid: the first `target`, and so on up or down.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deletion {
    pub(super) start: Lv,
    pub(super) len: u32,
    pub(super) target: Lv,
    pub(super) is_down: bool,
}

impl Deletion {
    /// What some of them hid, as a range.
    pub(super) fn targets(&self, start: Lv, end: Lv) -> (Lv, Lv) {
        let (from, to) = (start - self.start, end - self.start);
        if self.is_down {
            (self.target + 1 - to, self.target + 1 - from)
        } else {
            (self.target + from, self.target + to)
        }
    }
}

/// A place between items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) leaf: u32,
    pub(super) item: usize,
}

/// An edit of the present text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Insert { pos: u32, start: Lv, content: (u32, u32), len: u32 },
    Delete { pos: u32, len: u32 },
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(crate) struct Tracker {
    pub(super) tree: SumTree,
    pub(super) leaves: Pool<Vec<Item>>,
    /// The leaf of each operation's character, and of each anonymous one.
    leaf_of: LeafMap,
    leaf_of_ground: RangeMap,
    pub(super) deletions: Vec<Deletion>,
    /// The same by their lowest target, each with the highest target of it and those before; made
    /// when it is first asked for.
    pub(super) by_target: OnceCell<Vec<(Lv, Lv, Deletion)>>,
    pub(super) views: [View; 2],
    pub(super) clock: u64,
    /// The version below all that is tracked; none is the empty document.
    base: Option<Lv>,
    /// Everything below is tracked.
    pub(super) done: Lv,
    /// How far the views are from where one was last needed; kept for the memory it has.
    pub(super) diffs: [Diff; 2],
    /// Empty; kept for the memory it has.
    pub(super) effects: Vec<Effect>,
    /// How much anonymous text there is, once that is known.
    base_len: Option<u32>,
    items: usize,
    /// How many characters of each leaf each view has seen, shown or not, and that it is one leaf:
    /// made when something is first inserted where much was inserted at once.
    pub(super) seen: Option<Box<SumTree>>,
}

/// Where an insertion goes: right of a character, at this place so far.
#[derive(Clone, Copy)]
pub(super) struct Gap {
    pub(super) place: Place,
    left: Lv,
    /// How deep that character is.
    pub(super) depth: u32,
}

impl Tracker {
    /// A tracker at a version that all operations above it have seen.
    pub(crate) fn new(base: Option<Lv>) -> Self {
        let ground = Item {
            id: GROUND,
            len: GROUND_LEN,
            right: NONE,
            depth: Depth { left: GROUND_LEN, right: 0 },
            seen: [1; 2],
            is_deleted: false,
        };
        let mut tree = SumTree::default();
        tree.set_key(0, ground.depth.key());
        tree.change(0, ground.widths());
        let view = View { heads: base.into_iter().collect(), used: 0 };
        let mut tracker = Self {
            tree,
            leaves: Pool(vec![vec![ground]]),
            leaf_of: LeafMap::default(),
            leaf_of_ground: RangeMap::default(),
            deletions: Vec::new(),
            by_target: OnceCell::new(),
            views: [view.clone(), view],
            clock: 0,
            base,
            done: base.map_or(0, |base| base + 1),
            diffs: Default::default(),
            effects: Vec::new(),
            base_len: None,
            items: 1,
            seen: None,
        };
        tracker.leaf_of_ground.set(GROUND, GROUND + GROUND_LEN, 0);
        tracker
    }

    /// How long the text is in a measure.
    pub(super) fn len(&self, measure: usize) -> u32 {
        let base_len = self.base_len.unwrap_or_default();
        self.tree.total()[measure].saturating_add(base_len).saturating_sub(GROUND_LEN)
    }

    /// Says how long the text is in the present, which tells how long it was at the base.
    pub(super) fn set_len(&mut self, len: u32) {
        let known = self.tree.total()[PRESENT];
        self.base_len.get_or_insert((len + GROUND_LEN).saturating_sub(known));
    }

    /// Up to where operations can apply in a measure: to the end, or anywhere in the anonymous text
    /// while it is not known where that is.
    pub(super) fn reach(&self, measure: usize) -> u32 {
        let total = self.tree.total()[measure];
        if self.base_len.is_some() { self.len(measure).min(total) } else { total }
    }

    /// Puts characters of the base that have ids first.
    pub(super) fn put_first(&mut self, id: Lv, len: u32, is_shown: bool) {
        let place = Place { leaf: self.tree.first(), item: 0 };
        let seen = [if is_shown { 1 } else { 2 }; 2];
        // Each is right of the one before.
        let first = self.item(place).depth.left;
        let depth = Depth { left: first.saturating_sub(len).max(1), right: 0 };
        let item = Item { id, len, right: NONE, depth, seen, is_deleted: !is_shown };
        self.put(Gap { place, left: NONE, depth: 0 }, item);
    }

    pub(crate) fn base(&self) -> Option<Lv> {
        self.base
    }

    /// Both views have all that is below.
    pub(super) fn floor(&self) -> Lv {
        self.base.map_or(0, |base| base + 1)
    }

    pub(crate) fn done(&self) -> Lv {
        self.done
    }

    /// How many items it holds: what it costs to keep.
    pub(crate) fn item_count(&self) -> usize {
        self.items
    }

    pub(super) fn widths_before(&self, place: Place, measure: usize) -> u32 {
        let items = &self.leaves[place.leaf][..place.item];
        let here: u32 = items.iter().map(|item| item.width(measure)).sum();
        self.tree.before_in(place.leaf, measure) + here
    }

    pub(super) fn item(&self, place: Place) -> &Item {
        &self.leaves[place.leaf][place.item]
    }

    /// The place itself, or the next leaf's start if it is at its leaf's end.
    pub(super) fn normal(&self, mut place: Place) -> Option<Place> {
        while place.item == self.leaves[place.leaf].len() {
            place = Place { leaf: self.tree.next(place.leaf)?, item: 0 };
        }
        Some(place)
    }

    fn note_leaf(&mut self, item: Item, leaf: u32) {
        if item.id >= GROUND {
            self.leaf_of_ground.set(item.id, item.end(), leaf);
        } else {
            self.leaf_of.set(item.id, item.end(), leaf);
        }
    }

    /// Whether it has this character: what was deleted below the base is not there.
    pub(crate) fn tracks(&self, id: Lv) -> bool {
        id < GROUND && self.look_up(id).is_some()
    }

    /// The item that has a character, and the character's offset in it, if it is tracked.
    pub(super) fn look_up(&self, id: Lv) -> Option<(Place, u32)> {
        let leaf = if id >= GROUND { self.leaf_of_ground.get(id) } else { self.leaf_of.get(id) }?;
        let items = self.leaves.get(leaf as usize)?;
        let item = items.iter().position(|item| id.wrapping_sub(item.id) < item.len)?;
        Some((Place { leaf, item }, id - items[item].id))
    }

    /// The item that has a character, and the character's offset in it.
    pub(super) fn find(&self, id: Lv) -> (Place, u32) {
        self.look_up(id).expect("the character is tracked")
    }

    /// Cuts the item at a place after `len` characters, which are some, if that is inside it.
    pub(super) fn split(&mut self, place: Place, len: u32) {
        let items = &mut self.leaves[place.leaf];
        if len < items[place.item].len {
            let rest = items[place.item].split_off(len);
            items.insert(place.item + 1, rest);
            self.items += 1;
        }
    }

    /// Moves the upper half of a leaf that has grown too large to a new one.
    pub(super) fn split_leaf(&mut self, leaf: u32) {
        let items = &mut self.leaves[leaf];
        if items.len() <= LEAF_ITEMS_MAX {
            return;
        }
        let tail = items.split_off(items.len() / 2);
        let lowest = |items: &[Item]| items.iter().map(|item| item.depth.key()).min();
        let keys = [lowest(items), lowest(&tail)].map(Option::unwrap_or_default);
        let mut moved: Widths = [0; 3];
        for item in &tail {
            for (sum, width) in moved.iter_mut().zip(item.widths()) {
                *sum += width;
            }
        }
        self.tree.change(leaf, moved.map(u32::wrapping_neg));
        let new = self.tree.insert_after(leaf, moved);
        self.tree.set_key(leaf, keys[0]);
        self.tree.set_key(new, keys[1]);
        if let Some(seen) = &mut self.seen {
            let moved = seen_widths(&tail);
            seen.change(leaf, moved.map(u32::wrapping_neg));
            let [first, second, _] = moved;
            seen.insert_after(leaf, [first, second, 1]);
        }
        for item in &tail {
            self.note_leaf(*item, new);
        }
        debug_assert_eq!(new as usize, self.leaves.len(), "leaves are never removed");
        self.leaves.push(tail);
    }

    /// Changes an item and the sums over it.
    fn change(&mut self, place: Place, change: impl FnOnce(&mut Item)) {
        let item = &mut self.leaves[place.leaf][place.item];
        let before = item.widths();
        change(item);
        let after = item.widths();
        if before != after {
            let by = [0, 1, 2].map(|m| after[m].wrapping_sub(before[m]));
            self.tree.change(place.leaf, by);
        }
    }

    /// The place right of the character before `pos`; cuts items as needed.
    fn gap_at(&mut self, measure: usize, pos: u32) -> Gap {
        if pos == 0 {
            let place = Place { leaf: self.tree.first(), item: 0 };
            return Gap { place, left: NONE, depth: 0 };
        }
        let (leaf, before) = self.tree.find_in(measure, pos, true);
        let mut end = before;
        for (index, item) in self.leaves[leaf].iter().enumerate() {
            let width = item.width(measure);
            if end + width >= pos {
                let last = pos - end - 1;
                let (left, depth) = (item.id + last, item.depth.left + last);
                self.split(Place { leaf, item: index }, pos - end);
                return Gap { place: Place { leaf, item: index + 1 }, left, depth };
            }
            end += width;
        }
        unreachable!("positions are checked against the length")
    }

    /// Inserts characters at a position of a view or of the present; returns the present position.
    pub(super) fn insert(
        &mut self,
        graph: &Graph,
        measure: usize,
        id: Lv,
        len: u32,
        pos: u32,
    ) -> u32 {
        let mut gap = self.gap_at(measure, pos);
        let first = self.normal(gap.place);
        let seen = [0, 1].map(|view| u32::from(view == measure));
        // Items that the view has not seen were inserted at the same time as these.
        let next = if measure == PRESENT { first } else { self.seen_from(measure, first) };
        let (right, depth) = self.right_of(gap.depth, next);
        let new = Item { id, len, right, depth, seen, is_deleted: false };
        if next != first {
            gap.place = self.place_among(graph, gap.place, &new, next);
        }
        let shown = if measure == PRESENT { pos } else { self.widths_before(gap.place, PRESENT) };
        self.put(gap, new);
        shown
    }

    /// Puts a new item into its place.
    fn put(&mut self, gap: Gap, new: Item) {
        let Gap { place, left, .. } = gap;
        self.note_leaf(new, place.leaf);
        let items = &mut self.leaves[place.leaf];
        let joins = |last: &Item| {
            last.end() == new.id
                && left == last.end() - 1
                && last.right == new.right
                && last.seen == new.seen
                && !last.is_deleted
        };
        match place.item.checked_sub(1).map(|left| &mut items[left]) {
            Some(last) if joins(last) => last.len += new.len,
            _ => {
                items.insert(place.item, new);
                self.items += 1;
            }
        }
        // The lowest key is not above the first one.
        if new.depth.key() < items[0].depth.key() || place.item == 0 {
            self.tree.lower_key(place.leaf, new.depth.key());
        }
        self.tree.change(place.leaf, new.widths());
        if let Some(seen) = &mut self.seen {
            seen.change(place.leaf, seen_widths(&[new]));
        }
        self.split_leaf(place.leaf);
    }

    /// Where a character stands; comparable to that of another. `NONE` is before or after all.
    pub(super) fn compare(&self, a: Lv, b: Lv, none: Ordering) -> Ordering {
        match (a, b) {
            _ if a == b => Ordering::Equal,
            (NONE, _) => none,
            (_, NONE) => none.reverse(),
            _ => {
                let ((a, a_offset), (b, b_offset)) = (self.find(a), self.find(b));
                let leaves = self.tree.compare(a.leaf, b.leaf);
                leaves.then(a.item.cmp(&b.item)).then(a_offset.cmp(&b_offset))
            }
        }
    }

    /// Deletes characters from the position `pos` of a view or of the present on. `start` is the
    /// first deletion, which is that of the last character if they go `down`.
    pub(super) fn delete(
        &mut self,
        measure: usize,
        (start, len, is_down): (Lv, u32, bool),
        pos: u32,
        effects: &mut Vec<Effect>,
    ) {
        let mut hidden: Vec<Deletion> = Vec::new();
        let mut done = 0;
        while done < len {
            let (leaf, before) = self.tree.find_in(measure, pos, false);
            let mut end = before;
            let items = &self.leaves[leaf];
            let index = items.iter().position(|item| {
                end += item.width(measure);
                end > pos
            });
            let index = index.expect("positions are checked against the length");
            let mut place = Place { leaf, item: index };
            let offset = pos - (end - items[index].width(measure));
            if offset > 0 {
                self.split(place, offset);
                place.item += 1;
            }
            self.split(place, len - done);
            let item = *self.item(place);
            if !item.is_deleted {
                let pos = if measure == PRESENT { pos } else { self.widths_before(place, PRESENT) };
                push_deletion(effects, pos, item.len);
            }
            self.change(place, |item| {
                item.is_deleted = true;
                if measure != PRESENT {
                    item.seen[measure] += 1;
                }
            });
            self.split_leaf(leaf);
            hidden.push(if is_down {
                let target = item.end() - 1;
                Deletion { start: start + len - done - item.len, len: item.len, target, is_down }
            } else {
                Deletion { start: start + done, len: item.len, target: item.id, is_down }
            });
            done += item.len;
        }
        for index in 0..hidden.len() {
            let index = if is_down { hidden.len() - 1 - index } else { index };
            self.note_deletion(hidden[index]);
        }
    }

    fn note_deletion(&mut self, new: Deletion) {
        self.by_target.take();
        if let Some(last) = self.deletions.last_mut()
            && last.start + last.len == new.start
        {
            let may = |down: bool| {
                (last.len == 1 || last.is_down == down) && (new.len == 1 || new.is_down == down)
            };
            let up = may(false) && last.target + last.len == new.target;
            let down = may(true) && last.target.wrapping_sub(last.len) == new.target;
            if up || down {
                last.len += new.len;
                last.is_down = down;
                return;
            }
        }
        self.deletions.push(new);
    }
}

/// Adds a deletion to the effects, to the last one if it goes on there.
fn push_deletion(effects: &mut Vec<Effect>, pos: u32, len: u32) {
    match effects.last_mut() {
        Some(Effect::Delete { pos: last, len: total }) if *last == pos => *total += len,
        _ => effects.push(Effect::Delete { pos, len }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What deletions, given as first deletion, length, target and direction, are noted as.
    fn noted(deletions: &[(Lv, u32, Lv, bool)]) -> Vec<(Lv, u32, Lv, bool)> {
        let mut tracker = Tracker::new(None);
        for (start, len, target, is_down) in deletions.iter().copied() {
            tracker.note_deletion(Deletion { start, len, target, is_down });
        }
        let noted = tracker.deletions.iter();
        noted.map(|it| (it.start, it.len, it.target, it.is_down)).collect()
    }

    #[test]
    fn deletions_that_go_on_in_one_direction_are_one() {
        let (up, down) = (false, true);
        assert_eq!(noted(&[(20, 2, 5, up), (22, 3, 7, up)]), [(20, 5, 5, up)]);
        assert_eq!(noted(&[(20, 2, 5, down), (22, 3, 3, down)]), [(20, 5, 5, down)]);
        // One character has no direction.
        assert_eq!(noted(&[(20, 1, 5, down), (21, 3, 6, up)]), [(20, 4, 5, up)]);
        assert_eq!(noted(&[(20, 1, 5, up), (21, 3, 4, down)]), [(20, 4, 5, down)]);
        assert_eq!(noted(&[(20, 2, 5, up), (22, 1, 7, down)]), [(20, 3, 5, up)]);
        assert_eq!(noted(&[(20, 2, 5, down), (22, 1, 3, up)]), [(20, 3, 5, down)]);
        assert_eq!(noted(&[(20, 1, 5, up), (21, 1, 4, up)]), [(20, 2, 5, down)]);
    }

    #[test]
    fn deletions_that_turn_or_leave_something_out_are_several() {
        let (up, down) = (false, true);
        for two in [
            [(20, 2, 5, up), (22, 2, 7, down)],
            [(20, 2, 5, down), (22, 2, 7, up)],
            [(20, 2, 5, down), (22, 2, 3, up)],
            [(20, 2, 5, up), (22, 2, 3, down)],
            [(20, 2, 5, up), (22, 2, 8, up)],
            [(20, 2, 5, down), (22, 2, 2, down)],
            [(20, 2, 5, up), (23, 2, 7, up)],
            [(2, 3, 5, up), (6, 2, 8, up)],
            [(20, 1, 5, up), (22, 1, 6, up)],
        ] {
            assert_eq!(noted(&two), two);
        }
    }

    #[test]
    fn a_part_of_a_run_of_deletions_hid_a_part_of_its_targets() {
        let up = Deletion { start: 20, len: 4, target: 5, is_down: false };
        assert_eq!([up.targets(20, 24), up.targets(21, 23)], [(5, 9), (6, 8)]);
        let down = Deletion { is_down: true, ..up };
        assert_eq!([down.targets(20, 24), down.targets(21, 23)], [(2, 6), (3, 5)]);
    }
}
