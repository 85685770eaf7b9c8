//! What stays of a text's marks when its history is trimmed, and of what they name.

use crate::cell_log::CellLog;
use crate::cells::RowRef;
use crate::gather::Gather;
use crate::graph::{Graph, Lv};
use crate::sorting::{sort, sort_by, sort_set};
use crate::text::edge::Edges;
use crate::text::marks::{Anchor, Logged};
use crate::text::{Ground, Runs, TextState};

/// When a text is trimmed, each mark is compared to this many others of its key.
const COVERING_MAX: usize = 1_000;

/// What stays of a text when its history is trimmed.
pub(crate) struct Lasting {
    /// Ascending.
    pub(crate) marks: Vec<Lv>,
    pub(crate) ground: Ground,
}

impl TextState {
    /// What stays of the text and its marks when its history is trimmed.
    pub(crate) fn lasting(&self, log: &CellLog, graph: &Graph, runs: &Runs) -> Lasting {
        let whole = self.whole(graph, runs);
        let edges = Edges::new(&whole, graph, runs.ground());
        let kept = edges.lasting(log, self.rope.len() as u32);
        let rows = kept.iter().flat_map(|mark| mark.range).filter_map(Anchor::row);
        let mut named: Vec<Lv> = rows
            .filter_map(|row| match row {
                RowRef::Known(char) => Some(char),
                RowRef::Stray(_) => None,
            })
            .gather();
        sort_set(&mut named);
        let mut ground = Ground::of(&whole, self.rope.text(), &named);
        let past = |char: &Lv| {
            let (char, past) = (*char, edges.typed_past(*char));
            past.into_iter().map(move |past| (char, past))
        };
        ground.note_past(named.iter().flat_map(past));
        let mut marks: Vec<Lv> = kept.iter().map(|mark| mark.lv).gather();
        sort(&mut marks);
        Lasting { marks, ground }
    }
}

impl Edges<'_> {
    /// The marks that a trimmed text keeps: all but those that are void, or that another one covers
    /// which holds against them and whose edges nothing can get past.
    pub(crate) fn lasting(&self, log: &CellLog, len: u32) -> Vec<Logged> {
        let mut marks = self.logged(log, len);
        sort_by(&mut marks, |a, b| self.graph.rank_of(a.lv) > self.graph.rank_of(b.lv));
        let mut kept = Vec::<Logged>::new();
        let mut covering = Vec::<Vec<usize>>::new();
        for mark in marks {
            let key = mark.key as usize;
            covering.resize_with(covering.len().max(key + 1), Vec::new);
            let others = &mut covering[key];
            if others.iter().any(|other| self.covers(&kept[*other], &mark)) {
                continue;
            }
            if !matches!(mark.range[1], Anchor::After(_)) && others.len() < COVERING_MAX {
                others.push(kept.len());
            }
            kept.push(mark);
        }
        kept
    }

    /// Whether wherever the one mark is or will be, the other is too.
    fn covers(&self, outer: &Logged, inner: &Logged) -> bool {
        let ([from, to], [start, end]) = (outer.range, inner.range);
        let is_within = outer.bounds.0 <= inner.bounds.0 && inner.bounds.1 <= outer.bounds.1;
        let starts = from == Anchor::Edge
            || from == start
            || !matches!(start, Anchor::Edge | Anchor::After(_)) && self.is_ordered(from, start);
        let ends = to == Anchor::Edge || end != Anchor::Edge && self.is_ordered(end, to);
        is_within && starts && ends
    }

    /// Whether an anchor is no later than another; neither is at the text's edge.
    fn is_ordered(&self, early: Anchor, late: Anchor) -> bool {
        let (Some(RowRef::Known(a)), Some(RowRef::Known(b))) = (early.row(), late.row()) else {
            return false;
        };
        let order = self.whole.order(a, b);
        order.then(early.code().cmp(&late.code())).is_le()
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use crate::{ContainerKey, ContainerKind, Doc, Expand, PeerId};

    /// How many of some marks of eight letters, made one after the other, stay when what made them
    /// is trimmed away.
    fn kept(marks: &[(&str, Range<usize>, Expand)]) -> usize {
        kept_without(marks, 0..0)
    }

    /// The same if some of the letters are deleted then.
    fn kept_without(marks: &[(&str, Range<usize>, Expand)], deleted: Range<usize>) -> usize {
        let mut doc = Doc::new(PeerId(1));
        doc.transact(0, |tx| tx.text("x").insert(0, "abcdefgh")).0.unwrap();
        for (i, (key, range, expand)) in marks.iter().enumerate() {
            let edit =
                doc.transact(0, |tx| tx.text("x").mark(range.clone(), key, i as i64, *expand));
            edit.0.unwrap();
        }
        doc.transact(0, |tx| tx.text("x").delete(deleted.start, deleted.len())).0.unwrap();
        let before = doc.text("x").spans();
        let version = doc.version().clone();
        doc.trim_history(&version).unwrap();
        assert_eq!(doc.text("x").spans(), before);
        let name = "x".into();
        let index = doc.containers.find(ContainerKind::Text, &name as &ContainerKey<'_>);
        let content = &doc.containers.get(index.expect("a text")).content;
        content.cells().ops(0, u32::MAX).count()
    }

    #[test]
    fn a_mark_that_a_later_one_covers_for_good_does_not_stay() {
        let of = |ranges: &[Range<usize>], expand| {
            let marks: Vec<_> =
                ranges.iter().map(|range| ("bold", range.clone(), expand)).collect();
            kept(&marks)
        };
        let after = |ranges: &[Range<usize>]| of(ranges, Expand::After);
        for covered in
            [[2..4, 1..6], [2..4, 2..4], [2..8, 0..8], [0..3, 0..5], [2..4, 1..4], [2..4, 2..5]]
        {
            assert_eq!(after(&covered), 1, "{covered:?}");
        }
        for both in [[1..6, 2..4], [2..4, 3..6], [3..6, 2..4], [2..8, 0..6], [0..4, 1..5]] {
            assert_eq!(after(&both), 2, "{both:?}");
        }
        assert_eq!(after(&[2..3, 4..5, 6..7, 1..8]), 1);
        // What does not grow at its end may be got past.
        assert_eq!(of(&[2..4, 1..6], Expand::None), 2);
        let after = Expand::After;
        assert_eq!(kept(&[("bold", 2..4, after), ("link", 1..6, after)]), 2);
        assert_eq!(kept(&[("a", 2..4, after), ("b", 2..4, after), ("a", 1..6, after)]), 2);
    }

    #[test]
    fn a_mark_stays_if_text_could_be_typed_into_it_alone() {
        let of = |inner: Range<usize>, outer: Range<usize>, deleted, expand| {
            kept_without(&[("bold", inner, expand), ("bold", outer, expand)], deleted)
        };
        let (after, both) = (Expand::After, Expand::Both);
        // At the letter that is deleted now, the one goes on where the other does not.
        assert_eq!(of(2..5, 1..4, 4..5, after), 2);
        assert_eq!(of(2..4, 1..5, 4..5, after), 1);
        assert_eq!(of(1..5, 2..6, 1..2, after), 2);
        assert_eq!(of(2..5, 1..6, 1..2, after), 1);
        // What was typed in front of it may have joined the one that grows at its start.
        assert_eq!(kept(&[("bold", 2..4, both), ("bold", 1..6, after)]), 2);
        assert_eq!(of(2..4, 2..6, 0..0, both), 1);
        assert_eq!(of(2..4, 0..6, 0..0, both), 1);
        assert_eq!(of(0..4, 1..6, 0..0, both), 2);
        assert_eq!(of(4..8, 2..8, 0..0, after), 1);
        assert_eq!(of(4..8, 2..7, 0..0, after), 2);
    }
}
