//! The causal graph: which changes each change had seen.
//!
//! Run-length encoded: consecutive changes of one peer that depend on nothing new share one run. A
//! run's parents always lie in earlier runs, so descending run order visits children first.

use std::collections::BTreeMap;

use crate::id::{OpId, PeerId};

struct Run {
    peer: PeerId,
    start: u32,
    end: u32,
    /// The last operations seen before `start`, the peer's own previous one included.
    parents: Vec<OpId>,
}

/// The changes applied so far and what each depends on.
#[derive(Default)]
pub(crate) struct Graph {
    runs: Vec<Run>,
    runs_by_peer: BTreeMap<PeerId, Vec<usize>>,
    /// The operations that nothing known depends on, by peer.
    heads: Vec<OpId>,
}

/// A past version, given as what it lacks of the present one: for each peer in `cuts`, operations
/// from that seq on are absent; of every other peer all known operations are present.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    cuts: Vec<(PeerId, u32)>,
}

impl View {
    /// Whether the version has everything.
    pub(crate) fn is_present(&self) -> bool {
        self.cuts.is_empty()
    }

    /// Whether the version has the operation.
    pub(crate) fn sees(&self, op: OpId) -> bool {
        self.cut_of(op.peer).is_none_or(|cut| op.seq < cut)
    }

    /// The first seq of `peer` that is absent, if any is.
    pub(crate) fn cut_of(&self, peer: PeerId) -> Option<u32> {
        self.cuts.iter().find(|(cut_peer, _)| *cut_peer == peer).map(|(_, cut)| *cut)
    }

    /// Where in a run of `len` operations from `first` the version ends, if inside the run.
    pub(crate) fn cut_inside(&self, first: OpId, len: u32) -> Option<u32> {
        let cut = self.cut_of(first.peer)?;
        (cut > first.seq && cut < first.seq + len).then(|| cut - first.seq)
    }
}

/// How far a walk has seen into one run: all operations before these seqs.
#[derive(Clone, Copy, Default)]
struct Reach {
    present: u32,
    past: u32,
}

impl Graph {
    /// The operations that nothing known depends on, by peer.
    pub(crate) fn heads(&self) -> &[OpId] {
        &self.heads
    }

    /// Adds a change of `len` operations that had seen `deps` and its author's previous change.
    pub(crate) fn add(&mut self, first: OpId, len: u32, deps: &[OpId]) {
        let end = first.seq + len;
        let previous = first.seq.checked_sub(1).map(|seq| OpId::new(first.peer, seq));
        self.heads.retain(|head| !deps.contains(head) && Some(*head) != previous);
        let at = self.heads.partition_point(|head| head.peer < first.peer);
        self.heads.insert(at, OpId::new(first.peer, end - 1));

        let runs = self.runs_by_peer.entry(first.peer).or_default();
        if let Some(&last) = runs.last()
            && deps.is_empty()
        {
            self.runs[last].end = end;
            return;
        }
        runs.push(self.runs.len());
        let parents = deps.iter().copied().chain(previous).collect();
        self.runs.push(Run { peer: first.peer, start: first.seq, end, parents });
    }

    fn run_of(&self, op: OpId) -> Option<usize> {
        let runs = self.runs_by_peer.get(&op.peer)?;
        let after = runs.partition_point(|&run| self.runs[run].start <= op.seq);
        runs.get(after.checked_sub(1)?).copied()
    }

    /// The version whose last operations are `deps` (and, of `author`, everything known).
    ///
    /// Costs in proportion to what the version lacks, not to the whole history: the walk stops
    /// where both versions agree.
    pub(crate) fn view_at(&self, author: PeerId, deps: &[OpId]) -> View {
        let own = self.runs_by_peer.get(&author).and_then(|runs| runs.last());
        let own = own.map(|&run| OpId::new(author, self.runs[run].end - 1));
        if self.heads.iter().all(|head| deps.contains(head) || Some(*head) == own) {
            return View::default();
        }
        let mut queue = BTreeMap::<usize, Reach>::new();
        for &head in &self.heads {
            self.reach(&mut queue, head, true, false);
        }
        for op in deps.iter().copied().chain(own) {
            self.reach(&mut queue, op, false, true);
        }
        let mut cuts = BTreeMap::<PeerId, u32>::new();
        while queue.values().any(|reach| reach.past < reach.present) {
            let Some((index, reach)) = queue.pop_last() else { break };
            let run = &self.runs[index];
            if reach.past < reach.present {
                let cut = cuts.entry(run.peer).or_insert(u32::MAX);
                *cut = (*cut).min(reach.past.max(run.start));
            }
            for &parent in &run.parents {
                self.reach(&mut queue, parent, true, reach.past > run.start);
            }
        }
        View { cuts: cuts.into_iter().collect() }
    }

    fn reach(&self, queue: &mut BTreeMap<usize, Reach>, op: OpId, present: bool, past: bool) {
        let Some(index) = self.run_of(op) else { return };
        let reach = queue.entry(index).or_default();
        if present {
            reach.present = reach.present.max(op.seq + 1);
        }
        if past {
            // What the past has seen, the present has too.
            reach.past = reach.past.max(op.seq + 1);
            reach.present = reach.present.max(op.seq + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(peer: u64, seq: u32) -> OpId {
        OpId::new(PeerId(peer), seq)
    }

    fn graph() -> Graph {
        let mut graph = Graph::default();
        graph.add(op(1, 0), 3, &[]);
        graph.add(op(2, 0), 2, &[op(1, 2)]);
        graph.add(op(1, 3), 4, &[]);
        graph.add(op(3, 0), 1, &[op(1, 6), op(2, 1)]);
        graph
    }

    #[test]
    fn heads_are_what_nothing_depends_on() {
        let mut graph = graph();
        assert_eq!(graph.heads(), [op(3, 0)]);
        graph.add(op(2, 2), 1, &[]);
        assert_eq!(graph.heads(), [op(2, 2), op(3, 0)]);
    }

    #[test]
    fn a_view_lacks_exactly_what_its_heads_had_not_seen() {
        let graph = graph();
        let view = graph.view_at(PeerId(9), &[op(2, 1)]);
        assert!(view.sees(op(1, 2)) && view.sees(op(2, 1)));
        assert!(!view.sees(op(1, 3)) && !view.sees(op(3, 0)));
        let all = graph.view_at(PeerId(9), &[op(3, 0)]);
        assert!(all.is_present());
        let none = graph.view_at(PeerId(9), &[]);
        assert!(!none.sees(op(1, 0)) && !none.sees(op(2, 0)) && !none.sees(op(3, 0)));
    }

    #[test]
    fn an_author_always_sees_its_own_past() {
        let mut graph = graph();
        graph.add(op(2, 2), 5, &[]);
        let view = graph.view_at(PeerId(2), &[]);
        assert!(view.sees(op(2, 6)) && view.sees(op(1, 2)));
        assert!(!view.sees(op(1, 3)) && !view.sees(op(3, 0)));
    }
}
