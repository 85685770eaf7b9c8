//! Which characters and slots an undo brought back, and under which ids.
//!
//! What was deleted never comes back under its own id; undo inserts it anew. [`Reborn`] remembers
//! that both are the same to the person who undoes, so that a later undo or redo finds it.

use crate::graph::Lv;
use crate::range_map::RangeMap;
use crate::search::Search;

/// A run that an undo brought back under new ids.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reborn {
    pub(crate) old: Lv,
    pub(crate) len: u32,
    pub(crate) new: Lv,
    /// The first of the operations that deleted it.
    pub(crate) deleted: Lv,
}

/// All that was brought back.
#[derive(Debug, Default)]
pub(crate) struct Rebirths {
    /// By their new ids, ascending.
    runs: Vec<Reborn>,
    /// How far the next life of an id is from it; [`NONE`] where there is none.
    next: RangeMap,
}

const NONE: u32 = u32::MAX;

impl Rebirths {
    /// Notes that characters came back, under ids above all that did before. Ids above those are
    /// of a history that is not sound; they have no other lives.
    pub(crate) fn push(&mut self, reborn: Reborn) {
        let Reborn { old, len, new, deleted } = reborn;
        if old.checked_add(len).is_none_or(|end| end > new) {
            return;
        }
        self.link(old, old + len, new - old);
        match self.runs.last_mut() {
            Some(last)
                if last.old + last.len == old
                    && last.new + last.len == new
                    && last.deleted == deleted =>
            {
                last.len += len;
            }
            _ => self.runs.push(reborn),
        }
    }

    /// Makes the lives that are `by` on the last ones of a range. What two deletions of ours hid
    /// can come back twice: then the second life follows the first.
    fn link(&mut self, start: Lv, end: Lv, by: u32) {
        if self.runs.is_empty() {
            // So that every id has an answer.
            self.next.set(0, NONE, NONE);
        }
        let mut at = start;
        while at < end {
            let (_, upto, next) = self.next_of(at, end);
            if next == NONE {
                self.next.set(at, upto, by);
            } else {
                self.link(at + next, upto + next, by - next);
            }
            at = upto;
        }
    }

    /// The range around an id, below `end`, that was brought back at once, and how far on.
    fn next_of(&self, id: Lv, end: Lv) -> (Lv, Lv, u32) {
        let (start, upto, by) = self.next.range_of(id).unwrap_or((0, NONE, NONE));
        (start, upto.min(end), by)
    }

    /// The id that something brought back had before, and what deleted it then.
    pub(crate) fn earlier_life(&self, id: Lv) -> Option<(Lv, Lv)> {
        let after = self.runs.count_while(|reborn| reborn.new <= id);
        let reborn = &self.runs[after.checked_sub(1)?];
        let offset = id - reborn.new;
        (offset < reborn.len).then(|| (reborn.old + offset, reborn.deleted))
    }

    /// The later lives of a run, nearest to its end first, as ranges: those of its last characters
    /// that have any, and so on.
    pub(crate) fn later_from_end(&self, start: Lv, mut end: Lv) -> impl Iterator<Item = (Lv, Lv)> {
        std::iter::from_fn(move || {
            while start < end {
                let (first, upto, by) = self.next_of(end - 1, end);
                let first = first.max(start);
                end = first;
                if by != NONE {
                    return Some((first + by, upto + by));
                }
            }
            None
        })
    }

    /// A run, as a range, under every id it has had since, its own first.
    pub(crate) fn lives_of(&self, start: Lv, end: Lv) -> Vec<(Lv, Lv)> {
        let (mut lives, mut known) = (vec![(start, end)], 0);
        if self.runs.is_empty() {
            return lives;
        }
        while let Some((start, end)) = lives.get(known).copied() {
            let mut at = start;
            while at < end {
                let (_, upto, by) = self.next_of(at, end);
                if by != NONE {
                    match lives[known + 1..].last_mut() {
                        Some(last) if last.1 == at + by => last.1 = upto + by,
                        _ => lives.push((at + by, upto + by)),
                    }
                }
                at = upto;
            }
            known += 1;
        }
        lives
    }

    /// Forgets what came back below `base`.
    pub(crate) fn trim(&mut self, base: Lv) {
        for reborn in std::mem::take(self).runs {
            if reborn.new >= base {
                self.push(reborn);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    proptest! {
        #[test]
        fn lives_are_those_that_a_list_of_all_has(
            births in prop::collection::vec((any::<Index>(), 1u32..12, 0u32..3), 0..20),
            base in 0u32..200,
            asked in (any::<Index>(), 1u32..20),
        ) {
            let (mut reborn, mut list, mut end) = (Rebirths::default(), Vec::new(), 40);
            for (old, len, deleted) in births {
                let old = old.index((end - len) as usize) as u32;
                reborn.push(Reborn { old, len, new: end, deleted });
                list.extend((0..len).map(|at| (old + at, end + at, deleted)));
                end += len;
            }
            reborn.trim(base);
            let is_known = |id| reborn.runs.iter().any(|r| (r.new..r.new + r.len).contains(&id));
            list.retain(|(_, id, _)| is_known(*id));
            let earlier = |id| list.iter().find(|(_, new, _)| *new == id);
            let first = |id| {
                std::iter::successors(Some(id), |id| Some(earlier(*id)?.0)).last().unwrap()
            };
            for id in 0..end {
                let life = earlier(id).map(|(old, _, deleted)| (*old, *deleted));
                prop_assert_eq!(reborn.earlier_life(id), life);
            }
            let start = asked.0.index(end as usize) as u32;
            let range = start..end.min(start + asked.1);
            let of = |from: u32| (from..end).filter(move |id| first(*id) == first(from));
            let mut lives: Vec<Lv> = range.clone().flat_map(of).collect();
            let told = reborn.lives_of(range.start, range.end);
            let mut told: Vec<Lv> = told.into_iter().flat_map(|(from, to)| from..to).collect();
            for ids in [&mut lives, &mut told] {
                ids.sort_unstable();
                ids.dedup();
            }
            prop_assert_eq!(told, lives);
            let later = range.clone().rev().filter_map(|id| of(id).nth(1));
            let told = reborn.later_from_end(range.start, range.end);
            prop_assert!(told.flat_map(|(from, to)| (from..to).rev()).eq(later));
        }
    }
}
