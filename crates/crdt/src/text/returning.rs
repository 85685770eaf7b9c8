//! Bringing deleted characters back, for undo: what our deletions hid, and where it returns to.

use crate::graph::{Graph, Lv};
use crate::id::PeerId;
use crate::ranges::without;
use crate::rope::cut_at_scalar;
use crate::search::Search;
use crate::sorting::{sort, sort_by};
use crate::text::counted::count_step;
use crate::text::{Rebirths, Tracker};

/// A run of characters that a deletion hid, with what it takes to bring them back.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hidden {
    pub(crate) id: Lv,
    pub(crate) content: String,
}

/// What somebody else deleted: ranges of ids, ascending, none next to another.
#[derive(Debug, Default)]
pub(crate) struct HiddenByOthers(Vec<(Lv, Lv)>);

impl HiddenByOthers {
    /// The parts of a range that nobody else deleted.
    fn left_of(&self, range: (Lv, Lv)) -> Vec<(Lv, Lv)> {
        count_step();
        let first = self.0.count_while(|(_, end)| *end <= range.0);
        without(&[range], &self.0[first..])
    }
}

impl Tracker {
    /// What others than `ours` deleted.
    pub(crate) fn hidden_by_others(
        &self,
        graph: &Graph,
        ours: &dyn Fn(PeerId) -> bool,
    ) -> HiddenByOthers {
        let mut all = Vec::new();
        for (deletion, len) in self.all_deletions() {
            // A run of deletions can be of several authors.
            let (mut at, end) = (deletion, deletion + len);
            while at < end {
                count_step();
                let stretch = graph.stretch_at(at);
                let upto = stretch.end.min(end);
                if !ours(graph.peer(stretch.peer)) {
                    for (_, target, len, is_down) in self.hidden_by(at, upto) {
                        let low = if is_down { target + 1 - len } else { target };
                        all.push((low, low + len));
                    }
                }
                at = upto;
            }
        }
        sort(&mut all);
        let mut joined: Vec<(Lv, Lv)> = Vec::new();
        for (low, high) in all {
            match joined.last_mut() {
                Some(last) if last.1 >= low => last.1 = last.1.max(high),
                _ => joined.push((low, high)),
            }
        }
        HiddenByOthers(joined)
    }

    /// What the deletions from `start` on hid and nobody else did, in the order of the text, so
    /// that each comes back beside what came back before. `content` is what they hid, in the order
    /// of the deletions.
    pub(crate) fn hidden_by_us(
        &self,
        start: Lv,
        content: &str,
        others: &HiddenByOthers,
    ) -> Vec<Hidden> {
        let end = start + content.chars().count() as u32;
        let (mut hidden, mut at, mut rest) = (Vec::new(), start, content);
        for (deletion, target, len, is_down) in self.hidden_by(start, end) {
            let (_, from) = cut_at_scalar(rest, (deletion - at) as usize);
            let (text, after) = cut_at_scalar(from, len as usize);
            (at, rest) = (deletion + len, after);
            let (mut low, mut text) = (target, text.to_owned());
            if is_down {
                low = target + 1 - len;
                let upwards = std::mem::take(&mut text);
                upwards.chars().rev().for_each(|char| text.push(char));
            }
            let (mut at, mut rest) = (low, &*text);
            for (start, end) in others.left_of((low, low + len)) {
                for (start, end) in self.stretches((start, end)) {
                    let (_, from) = cut_at_scalar(rest, (start - at) as usize);
                    let (text, after) = cut_at_scalar(from, (end - start) as usize);
                    (at, rest) = (end, after);
                    hidden.push(Hidden { id: start, content: text.to_owned() });
                }
            }
        }
        sort_by(&mut hidden, |a, b| self.order(a.id, b.id).is_lt());
        hidden
    }

    /// The slots that the deletions from `start` to `end` hid and nobody else did, likewise. What
    /// has no id, since its history is unknown, is not among them.
    pub(crate) fn slots_hidden_by_us(
        &self,
        start: Lv,
        end: Lv,
        others: &HiddenByOthers,
    ) -> Vec<Lv> {
        let mut hidden = Vec::new();
        for (_, target, len, is_down) in self.hidden_by(start, end) {
            let low = if is_down { target + 1 - len } else { target };
            if self.tracks(low) {
                for (first, upto) in others.left_of((low, low + len)) {
                    hidden.extend(first..upto);
                }
            }
        }
        sort_by(&mut hidden, |a, b| self.order(*a, *b).is_lt());
        hidden
    }

    /// The parts of a range of characters that stand next to each other: ids that follow each other
    /// may be those of characters far apart.
    fn stretches(&self, (low, high): (Lv, Lv)) -> Vec<(Lv, Lv)> {
        let mut stretches: Vec<(Lv, Lv)> = Vec::new();
        let mut at = low;
        while at < high {
            let (place, _) = self.find(at);
            let end = self.item(place).end().min(high);
            let left = self.left_of(at).next().map(|(first, len, _)| first + len);
            match stretches.last_mut() {
                Some(last) if left == Some(at) => last.1 = end,
                _ => stretches.push((at, end)),
            }
            at = end;
        }
        stretches
    }

    /// Where a deleted character comes back: right of its nearest left neighbour that is shown, be
    /// it under its own id or under a later one. Characters that are themselves such later lives
    /// stand where they were put, which says nothing about their neighbours; they are passed over.
    pub(crate) fn return_position(&self, id: Lv, reborn: &Rebirths) -> u32 {
        let (mut end, is_shown) = self.position_of(id);
        if is_shown {
            return end;
        }
        for (first, len, is_shown) in self.left_of(id) {
            count_step();
            if reborn.earlier_life(first).is_none() {
                if is_shown {
                    return end;
                }
                for (start, upto) in reborn.later_from_end(first, first + len) {
                    count_step();
                    let lives = reborn.lives_of(start, upto).into_iter();
                    let shown = lives.flat_map(|(start, upto)| self.shown(start, upto));
                    if let Some(after) = shown.map(|(pos, len)| pos + len).max() {
                        return after;
                    }
                }
            }
            end -= if is_shown { len } else { 0 };
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use crate::text::counted;
    use crate::{Doc, PeerId, Transaction};

    /// The steps of undoing, redoing and undoing again what is done to so many characters or
    /// elements at once.
    fn steps_of(count: usize, change: fn(&mut Transaction<'_>, usize)) -> u64 {
        let mut doc = Doc::new(PeerId(1));
        let ((), _) = doc.transact(0, |tx| {
            tx.text("t").insert(0, &"ab".repeat(count)).unwrap();
            tx.list("l").extend(0..2 * count as i64);
        });
        let shown =
            |doc: &Doc| (doc.text("t").to_string(), doc.list("l").iter().collect::<Vec<_>>());
        let before = shown(&doc);
        doc.transact(9_000, |tx| change(tx, count));
        let after = shown(&doc);
        let start = counted::steps();
        doc.undo(0).unwrap();
        assert_eq!(shown(&doc), before);
        doc.redo(0).unwrap();
        assert_eq!(shown(&doc), after);
        doc.undo(0).unwrap();
        assert_eq!(shown(&doc), before);
        counted::steps() - start
    }

    #[test]
    fn undoing_a_step_of_many_parts_is_not_quadratic() {
        let changes: [fn(&mut Transaction<'_>, usize); 6] = [
            |tx, count| (0..count).for_each(|at| tx.text("t").delete(at, 1).unwrap()),
            |tx, count| (0..count).for_each(|at| tx.text("t").splice(2 * at, 1, "x").unwrap()),
            |tx, count| {
                (0..count).rev().for_each(|at| tx.text("t").delete(2 * at, 1).unwrap());
                (0..count).rev().for_each(|at| tx.text("t").delete(at, 1).unwrap());
            },
            |tx, count| tx.list("l").remove_range(0, 2 * count).unwrap(),
            |tx, count| (0..count).for_each(|_| tx.list("l").remove(0).unwrap()),
            |tx, count| (0..count).for_each(|at| tx.list("l").remove(at).unwrap()),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let steps = [100, 400].map(|count| steps_of(count, change));
            assert!(steps[1] < steps[0] * 6, "{number}: {steps:?}");
        }
    }
}
