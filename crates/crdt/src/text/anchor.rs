//! Where characters stand: looking up ids and positions in a tracker of the whole text.

use std::cmp::Ordering;

use crate::graph::Lv;
use crate::search::Search;
use crate::text::tracker::{Item, NONE, PRESENT, Place, Tracker};

impl Tracker {
    /// The character shown at a position.
    pub(crate) fn id_at(&self, pos: u32) -> Option<Lv> {
        let (leaf, before) = self.tree.find_in(PRESENT, pos, false);
        let mut start = before;
        for item in &self.leaves[leaf] {
            let width = item.width(PRESENT);
            if pos < start + width {
                return Some(item.id + (pos - start)).filter(|id| *id < NONE / 2);
            }
            start += width;
        }
        None
    }

    /// Where a character stands, or would if it were not deleted; and whether it is shown.
    pub(crate) fn position_of(&self, id: Lv) -> (u32, bool) {
        let (place, offset) = self.find(id);
        let is_shown = !self.item(place).is_deleted;
        let start = self.widths_before(place, PRESENT);
        (start + if is_shown { offset } else { 0 }, is_shown)
    }

    pub(super) fn is_shown(&self, id: Lv) -> bool {
        !self.item(self.find(id).0).is_deleted
    }

    /// The stretches of a run of ids that are shown, as `(position, length)` in order of ids. What
    /// is not tracked is not shown.
    pub(crate) fn shown(&self, start: Lv, end: Lv) -> Vec<(u32, u32)> {
        let (mut shown, mut id) = (Vec::new(), start);
        while id < end {
            if !self.tracks(id) {
                id += 1;
                continue;
            }
            let (place, offset) = self.find(id);
            let item = self.item(place);
            let upto = end.min(item.end());
            if !item.is_deleted {
                shown.push((self.widths_before(place, PRESENT) + offset, upto - id));
            }
            id = upto;
        }
        shown
    }

    /// The items left of a character, nearest first: `(first id, length, whether shown)`. The first
    /// is what its own item has left of it.
    pub(crate) fn left_of(&self, id: Lv) -> impl Iterator<Item = (Lv, u32, bool)> {
        let (place, offset) = self.find(id);
        let own = *self.item(place);
        let own = (offset > 0).then_some((own.id, offset, !own.is_deleted));
        let mut next = Some(place);
        let left = std::iter::from_fn(move || {
            let mut at = next?;
            while at.item == 0 {
                let leaf = self.tree.previous(at.leaf)?;
                at = Place { leaf, item: self.leaves[leaf].len() };
            }
            at.item -= 1;
            next = Some(at);
            let item = self.item(at);
            Some((item.id, item.len, !item.is_deleted))
        });
        own.into_iter().chain(left)
    }

    /// What the deletions from `start` to `end` hid, in their order, as `(first deletion, first
    /// target, length, whether the targets go down)`.
    pub(crate) fn hidden_by(&self, start: Lv, end: Lv) -> Vec<(Lv, Lv, u32, bool)> {
        let first = self.deletions.count_while(|d| d.start + d.len <= start);
        let mut hidden = Vec::new();
        for deletion in &self.deletions[first..] {
            if deletion.start >= end {
                break;
            }
            let from = start.max(deletion.start) - deletion.start;
            let to = end.min(deletion.start + deletion.len) - deletion.start;
            let target =
                if deletion.is_down { deletion.target - from } else { deletion.target + from };
            hidden.push((deletion.start + from, target, to - from, deletion.is_down));
        }
        hidden
    }

    /// All deletions: the first of each run, and how many they are.
    pub(crate) fn all_deletions(&self) -> impl Iterator<Item = (Lv, u32)> {
        self.deletions.iter().map(|deletion| (deletion.start, deletion.len))
    }

    /// Which of two characters, shown or not, is before the other.
    pub(super) fn order(&self, a: Lv, b: Lv) -> Ordering {
        self.compare(a, b, Ordering::Less)
    }

    /// All items from the one that has a character on, or from the first: as ranges of ids.
    pub(super) fn items_from(&self, char: Option<Lv>) -> impl Iterator<Item = (Lv, Lv)> {
        let first = Place { leaf: self.tree.first(), item: 0 };
        let from = char.map_or(first, |char| self.find(char).0);
        let leaves = std::iter::successors(Some(from.leaf), |leaf| self.tree.next(*leaf));
        let mut skip = from.item;
        let items = leaves.flat_map(move |leaf| &self.leaves[leaf][std::mem::take(&mut skip)..]);
        items.filter(|item| item.id < NONE / 2).map(|item| (item.id, item.end()))
    }

    /// All items in order, but for the anonymous text.
    pub(super) fn items(&self) -> impl Iterator<Item = &Item> {
        let leaves = std::iter::successors(Some(self.tree.first()), |leaf| self.tree.next(*leaf));
        leaves.flat_map(|leaf| &self.leaves[leaf]).filter(|item| item.id < NONE / 2)
    }

    /// All items in order, deleted ones too: `(first id, length, whether shown)`.
    pub(crate) fn all_items(&self) -> impl Iterator<Item = (Lv, u32, bool)> {
        self.items().map(|item| (item.id, item.len, !item.is_deleted))
    }

    /// All items in order that are shown: `(first id, length)`.
    pub(crate) fn shown_items(&self) -> impl Iterator<Item = (Lv, u32)> {
        let shown = self.all_items().filter(|(_, _, is_shown)| *is_shown);
        shown.map(|(id, len, _)| (id, len))
    }
}
