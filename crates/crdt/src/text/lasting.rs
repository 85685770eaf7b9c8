//! What stays of a text's marks when its history is trimmed, and of what they name.

use crate::cell_log::CellLog;
use crate::cells::RowRef;
use crate::graph::{Graph, Lv};
use crate::sorting::{sort, sort_by};
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
            .collect();
        sort(&mut named);
        named.dedup();
        let mut ground = Ground::of(&whole, self.rope.text(), &named);
        let past = |char: &Lv| {
            let (char, past) = (*char, edges.typed_past(*char));
            past.into_iter().map(move |past| (char, past))
        };
        ground.note_past(named.iter().flat_map(past));
        let mut marks: Vec<Lv> = kept.iter().map(|mark| mark.lv).collect();
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
