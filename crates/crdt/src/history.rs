//! The log of a document: what happened, in local order, as run-length columns.
//!
//! Who, when and after what is in the [`Graph`]; which container each stretch is about, in `spans`;
//! where transactions begin, in `bounds`; what was typed, in each text's [`Runs`]. What was written
//! to registers, maps, tables and counters, and marked in texts, is in their own logs
//! ([`crate::cells`]).
//!
//! Of a trimmed document all but the graph begins at the base ([`crate::shallow`]).

use crate::container::ContainerIx;
use crate::graph::{Graph, Lv};
use crate::id::{OpId, PeerId};
use crate::numbers::{self, Numbers};
use crate::search::Search;
use crate::shallow::Base;
use crate::stamp::Stamp;
use crate::text::Runs;
use crate::version::VersionVector;

/// How far an author's chain of blocks is known, and a hash of all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainMark {
    /// The seq after the last known operation.
    pub seq: u32,
    /// The hash over the author's blocks up to there; see [`crate::Block::chain_hash`].
    pub hash: u64,
}

static NO_RUNS: Runs = Runs::new();

#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) graph: Graph,
    /// From which operation on a container is meant, until the next entry.
    spans: Vec<(Lv, ContainerIx)>,
    /// From which operation on transactions have this length, until the next entry.
    bounds: Vec<(Lv, u32)>,
    block_count: usize,
    texts: Vec<Runs>,
    pub(crate) base: Base,
}

impl History {
    /// A history without anything.
    #[inline(never)]
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The history of a document that was trimmed, from its base on.
    pub(crate) fn on(graph: Graph, base: Base) -> Self {
        Self { graph, base, ..Self::new() }
    }

    /// What is to come after all that another history has, of which only the heads are known.
    pub(crate) fn after(graph: Graph) -> Self {
        Self { graph, ..Self::new() }
    }

    /// Adds what was written after all that is here: `since` goes on from where this ends.
    pub(crate) fn go_on(&mut self, since: &Self) {
        let (mut at, end) = (self.graph.end(), since.graph.end());
        while at < end {
            let stretch = since.graph.stretch_at(at);
            let peer = since.graph.peer(stretch.peer);
            self.graph.push_on_heads(peer, stretch.end - at, stretch.stamp);
            at = stretch.end;
        }
        since.bounds.iter().for_each(|(from, len)| self.note_bounds(*from, *len, 0));
        self.block_count += since.block_count;
        since.spans.iter().for_each(|(lv, container)| self.note_span(*lv, *container));
        for (text, runs) in (0..).zip(&since.texts) {
            self.runs_mut(text).go_on(runs, 0);
        }
    }

    /// The history of a document of which only the base and the version are left: that each peer
    /// made so many operations.
    pub(crate) fn unknown(base: &Self, version: &VersionVector) -> Self {
        let mut history = base.clone();
        for (peer, count) in version.iter() {
            let known = history.graph.version().get(peer);
            let Some(len) = count.checked_sub(known).filter(|len| *len > 0) else { continue };
            let heads = history.graph.heads().to_vec();
            let stamp = Stamp(history.graph.stamp_end()).for_some(len);
            let start = history.graph.push(OpId::new(peer, known), len, stamp, &heads);
            history.note_bounds(start, len, 1);
        }
        history
    }

    /// The containers that were written to, in order of first use.
    pub(crate) fn used(&self) -> Vec<ContainerIx> {
        let mut used = self.base.containers.clone();
        let mut seen = Numbers::new();
        used.extend(self.spans.iter().map(|(_, index)| *index));
        used.retain(|index| numbers::number(&mut seen, (*index).into()).1);
        used
    }

    pub(crate) fn block_count(&self) -> usize {
        self.block_count
    }

    /// A text's log.
    pub(crate) fn runs(&self, text: ContainerIx) -> &Runs {
        self.texts.get(text as usize).unwrap_or(&NO_RUNS)
    }

    pub(crate) fn runs_mut(&mut self, text: ContainerIx) -> &mut Runs {
        self.parts_mut(text).1
    }

    /// The graph, and a text's log to be changed beside it.
    pub(crate) fn parts_mut(&mut self, text: ContainerIx) -> (&Graph, &mut Runs) {
        while self.texts.len() <= text as usize {
            self.texts.push(Runs::default());
        }
        (&self.graph, &mut self.texts[text as usize])
    }

    /// Adds the next operations of a peer, which has seen everything here.
    pub(crate) fn push_local(
        &mut self,
        peer: PeerId,
        len: u32,
        stamp: Stamp,
        container: ContainerIx,
    ) -> Lv {
        let lv = self.graph.push_on_heads(peer, len, stamp);
        self.note_span(lv, container);
        lv
    }

    /// Notes which container the operations from `lv` on are about.
    pub(crate) fn note_span(&mut self, lv: Lv, container: ContainerIx) {
        if self.spans.last().is_none_or(|(_, last)| *last != container) {
            self.spans.push((lv, container));
        }
    }

    /// Takes over where transactions begin, of all operations up to `end`, if none was noted yet.
    pub(crate) fn take_bounds(&mut self, bounds: &[(Lv, u32)], end: Lv) {
        for (at, (from, len)) in bounds.iter().enumerate() {
            let end = bounds.get(at + 1).map_or(end, |(next, _)| *next);
            self.note_bounds(*from, *len, (end - from) / len);
        }
        self.bounds.shrink_to_fit();
    }

    /// Makes room for so many stretches, parents of theirs, and entries of transactions.
    pub(crate) fn reserve(&mut self, stretches: usize, parents: usize, bounds: usize) {
        self.graph.reserve(stretches, parents);
        self.bounds.reserve_exact(bounds);
    }

    /// Notes `count` transactions of `len` operations each, from `lv` on.
    pub(crate) fn note_bounds(&mut self, lv: Lv, len: u32, count: u32) {
        self.block_count += count as usize;
        let goes_on = self.bounds.last().is_some_and(|(from, last)| {
            *last == len && (len == 1 || (lv - from).is_multiple_of(len))
        });
        if !goes_on {
            self.bounds.push((lv, len));
        }
    }

    /// The transaction that holds an operation above the base: its first operation and its length.
    pub(crate) fn transaction_at(&self, lv: Lv) -> (Lv, u32) {
        let at = self.bounds.count_while(|(from, _)| *from <= lv) - 1;
        let (from, len) = self.bounds[at];
        (lv - (lv - from) % len, len)
    }

    /// The stretches of equally long transactions between two operations, as `(first, length of
    /// each, count)`; both ends must be bounds.
    pub(crate) fn transactions(&self, start: Lv, end: Lv) -> Vec<(Lv, u32, u32)> {
        let mut out = Vec::new();
        let mut at = start;
        let mut index = self.bounds.count_while(|(from, _)| *from <= start);
        while at < end {
            let len = self.bounds[index - 1].1;
            let upto = self.bounds.get(index).map_or(end, |(from, _)| *from).min(end);
            out.push((at, len, (upto - at) / len));
            at = upto;
            index += 1;
        }
        out
    }

    /// The stretches about one container each, between two operations, as `(start, end, which)`.
    pub(crate) fn spans(&self, start: Lv, end: Lv) -> impl Iterator<Item = (Lv, Lv, ContainerIx)> {
        let first = self.spans.count_while(|(from, _)| *from <= start).saturating_sub(1);
        let ends = self.spans[first..].iter().skip(1).map(|(from, _)| *from).chain([Lv::MAX]);
        self.spans[first..]
            .iter()
            .zip(ends)
            .map(move |((from, which), upto)| (start.max(*from), end.min(upto), *which))
            .take_while(|(from, upto, _)| from < upto)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_of_one_length_are_noted_once() {
        let mut history = History::default();
        for (lv, len, count) in [(0, 1, 1), (1, 1, 3), (4, 2, 1), (6, 2, 2), (10, 3, 1), (13, 1, 2)]
        {
            history.note_bounds(lv, len, count);
        }
        assert_eq!(history.bounds, [(0, 1), (4, 2), (10, 3), (13, 1)]);
        assert_eq!(history.block_count(), 10);
        let all = [(0, 1, 4), (4, 2, 3), (10, 3, 1), (13, 1, 2)];
        assert_eq!(history.transactions(0, 15), all);
        assert_eq!(history.transactions(6, 13), [(6, 2, 2), (10, 3, 1)]);
        let at = |lv| history.transaction_at(lv);
        assert_eq!(
            [3, 4, 5, 9, 12, 14].map(at),
            [(3, 1), (4, 2), (4, 2), (8, 2), (10, 3), (14, 1)]
        );
    }

    #[test]
    fn transactions_that_do_not_begin_where_those_before_would_are_noted_apart() {
        let mut history = History::default();
        [(0, 2), (3, 2)].into_iter().for_each(|(lv, len)| history.note_bounds(lv, len, 1));
        assert_eq!(history.bounds, [(0, 2), (3, 2)]);
        let mut history = History::default();
        for (lv, len) in [(0, 1), (1, 3), (4, 3), (8, 3)] {
            history.note_bounds(lv, len, 1);
        }
        assert_eq!(history.bounds, [(0, 1), (1, 3), (8, 3)]);
    }
}
