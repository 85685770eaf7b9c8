//! The slots of a list in order: which operations put something where, as far as it is still there.

use crate::graph::Lv;
use crate::pool::Pool;
use crate::range_map::RangeMap;
use crate::sum_tree::SumTree;

/// Slots per leaf. Small in tests, so that short lists fill several.
const LEAF_SLOTS_MAX: usize = if cfg!(test) { 4 } else { 256 };

/// Marks a slot that takes a place but shows nothing. Local versions are below it.
const HIDDEN: u32 = 1 << 31;

/// The measures of the tree.
const ALL: usize = 0;
const SHOWN: usize = 1;

/// A sequence of slots, each named by the operation that made it.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    tree: SumTree,
    leaves: Pool<Vec<u32>>,
    /// The leaf of each slot that was ever put in.
    leaf_of: RangeMap,
}

impl Default for Slots {
    fn default() -> Self {
        let mut tree = SumTree::default();
        tree.change(0, [0; 3]);
        Self { tree, leaves: Pool(vec![Vec::new()]), leaf_of: RangeMap::default() }
    }
}

fn shown_in(slots: &[u32]) -> u32 {
    slots.iter().filter(|slot| **slot & HIDDEN == 0).count() as u32
}

impl Slots {
    /// How many slots there are, hidden ones included.
    pub(crate) fn len(&self) -> u32 {
        self.tree.total()[ALL]
    }

    /// How many slots show something.
    pub(crate) fn shown(&self) -> u32 {
        self.tree.total()[SHOWN]
    }

    /// The leaf and the place in it where a slot put at `pos` goes.
    fn place(&self, pos: u32) -> (u32, usize) {
        let (leaf, before) = self.tree.find_in(ALL, pos, true);
        (leaf, (pos - before) as usize)
    }

    /// How many slots before `pos` show something.
    pub(crate) fn shown_before(&self, pos: u32) -> u32 {
        let (leaf, at) = self.place(pos);
        self.tree.before(leaf)[SHOWN] + shown_in(&self.leaves[leaf][..at])
    }

    /// The position of the slot that shows the element at `index`, and the slot.
    pub(crate) fn find_shown(&self, index: u32) -> Option<(u32, Lv)> {
        if index >= self.shown() {
            return None;
        }
        let (leaf, before) = self.tree.find(SHOWN, index, false);
        let mut rest = index - before[SHOWN];
        for (at, slot) in self.leaves[leaf].iter().enumerate() {
            if slot & HIDDEN == 0 {
                if rest == 0 {
                    return Some((before[ALL] + at as u32, *slot));
                }
                rest -= 1;
            }
        }
        None
    }

    /// Where a slot is: its leaf and its place there.
    fn locate(&self, slot: Lv) -> Option<(u32, usize)> {
        let leaf = self.leaf_of.get(slot).filter(|leaf| (*leaf as usize) < self.leaves.len())?;
        let slots = &self.leaves[leaf];
        let at = slots.iter().position(|other| other & !HIDDEN == slot)?;
        Some((leaf, at))
    }

    /// The index of what a slot shows, if it is there and shows something.
    pub(crate) fn index_of(&self, slot: Lv) -> Option<u32> {
        let (leaf, at) = self.locate(slot)?;
        let slots = &self.leaves[leaf];
        (slots[at] & HIDDEN == 0).then(|| self.tree.before(leaf)[SHOWN] + shown_in(&slots[..at]))
    }

    /// Puts slots with consecutive names in at `pos`.
    pub(crate) fn insert(&mut self, pos: u32, start: Lv, end: Lv, is_hidden: impl Fn(Lv) -> bool) {
        let (mut leaf, mut at) = self.place(pos);
        for slot in start..end {
            if self.leaves[leaf].len() == LEAF_SLOTS_MAX {
                (leaf, at) = self.split(leaf, at);
            }
            let hidden = is_hidden(slot);
            self.leaves[leaf].insert(at, slot | if hidden { HIDDEN } else { 0 });
            self.tree.change(leaf, [1, u32::from(!hidden), 0]);
            self.leaf_of.set(slot, slot + 1, leaf);
            at += 1;
        }
    }

    /// Makes room in a full leaf; returns where the place in it has gone.
    fn split(&mut self, leaf: u32, at: usize) -> (u32, usize) {
        let slots = &mut self.leaves[leaf];
        // What is appended goes on in a leaf of its own, so that full ones stay full.
        let keep = if at == slots.len() { at } else { slots.len() / 2 };
        let tail = slots.split_off(keep);
        let (all, shown) = (tail.len() as u32, shown_in(&tail));
        self.tree.change(leaf, [all.wrapping_neg(), shown.wrapping_neg(), 0]);
        let new = self.tree.insert_after(leaf, [all, shown, 0]);
        for slot in &tail {
            let slot = slot & !HIDDEN;
            self.leaf_of.set(slot, slot + 1, new);
        }
        debug_assert_eq!(new as usize, self.leaves.len(), "leaves are never removed");
        self.leaves.push(tail);
        if at >= keep { (new, at - keep) } else { (leaf, at) }
    }

    /// Takes `len` slots out from `pos` on; says how many of them showed something.
    pub(crate) fn delete(&mut self, pos: u32, len: u32) -> u32 {
        let (mut rest, mut gone) = (len, 0);
        while rest > 0 {
            let (leaf, before) = self.tree.find_in(ALL, pos, false);
            let slots = &mut self.leaves[leaf];
            let from = (pos - before) as usize;
            let upto = slots.len().min(from + rest as usize);
            let (all, shown) = ((upto - from) as u32, shown_in(&slots[from..upto]));
            slots.drain(from..upto);
            self.tree.change(leaf, [all.wrapping_neg(), shown.wrapping_neg(), 0]);
            rest -= all;
            gone += shown;
        }
        gone
    }

    /// Hides a slot; returns the index of what it showed, if it did.
    pub(crate) fn hide(&mut self, slot: Lv) -> Option<u32> {
        let index = self.index_of(slot)?;
        let (leaf, at) = self.locate(slot)?;
        self.leaves[leaf][at] |= HIDDEN;
        self.tree.change(leaf, [0, 1u32.wrapping_neg(), 0]);
        Some(index)
    }

    /// All slots in order, and whether each shows something.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Lv, bool)> {
        let leaves = std::iter::successors(Some(self.tree.first()), |leaf| self.tree.next(*leaf));
        leaves.flat_map(|leaf| &self.leaves[leaf]).map(|slot| (slot & !HIDDEN, slot & HIDDEN == 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn slots_behave_like_a_vector(
            edits in prop::collection::vec((any::<prop::sample::Index>(), 0u8..4, 1u32..7), 1..60),
        ) {
            let (mut slots, mut model) = (Slots::default(), Vec::<(Lv, bool)>::new());
            let mut next = 0;
            for (at, what, len) in edits {
                let pos = at.index(model.len() + 1);
                match what {
                    0 => {
                        let len = (len as usize).min(model.len() - pos);
                        let gone = model.drain(pos..pos + len).filter(|(_, shown)| *shown).count();
                        prop_assert_eq!(slots.delete(pos as u32, len as u32), gone as u32);
                    }
                    1 if pos < model.len() => {
                        let index = model[..pos].iter().filter(|(_, shown)| *shown).count() as u32;
                        let expected = model[pos].1.then_some(index);
                        prop_assert_eq!(slots.hide(model[pos].0), expected);
                        model[pos].1 = false;
                    }
                    _ => {
                        slots.insert(pos as u32, next, next + len, |slot| slot % 5 == 0);
                        let new = (next..next + len).map(|slot| (slot, slot % 5 != 0));
                        model.splice(pos..pos, new);
                        next += len;
                    }
                }
                prop_assert_eq!(slots.iter().collect::<Vec<_>>(), model.clone());
                prop_assert_eq!(slots.len() as usize, model.len());
                let shown = model.iter().enumerate().filter(|(_, (_, shown))| *shown);
                let shown: Vec<(usize, Lv)> = shown.map(|(pos, (slot, _))| (pos, *slot)).collect();
                prop_assert_eq!(slots.shown() as usize, shown.len());
                for (index, (pos, slot)) in shown.into_iter().enumerate() {
                    let index = index as u32;
                    prop_assert_eq!(slots.find_shown(index), Some((pos as u32, slot)));
                    prop_assert_eq!(slots.index_of(slot), Some(index));
                    prop_assert_eq!(slots.shown_before(pos as u32), index);
                }
            }
        }
    }
}
