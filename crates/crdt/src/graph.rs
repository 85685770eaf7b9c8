//! What happened after what: the causal graph, run-length encoded.
//!
//! Operations are numbered in the order in which this replica took them in: their *local version*
//! ([`Lv`]), which is dense, topological and never leaves the replica. A run is a stretch of one
//! peer's operations that each follow the one before and nothing else; an hour of typing is one
//! run. Many questions become comparisons of small integers that way: Gentle and Kleppmann,
//! "Collaborative Text Editing with Eg-walker" (EuroSys 2025), section 3.
//!
//! Below the *base* of a trimmed document nobody asks any more what happened after what: its
//! operations are in a line, and everything above it has seen all of them.

use std::ops::Range;

use crate::id::{OpId, PeerId};
use crate::search::Search;
use crate::sorting::sort;
use crate::stamp::Stamp;
use crate::version::VersionVector;

mod diff;
mod ranks;
mod steps;

pub(crate) use self::diff::Diff;

mod after;

/// A local version: the place of an operation in this replica's order.
pub(crate) type Lv = u32;

/// A peer's place in the graph's list of peers.
pub(crate) type PeerIx = u32;

#[derive(Clone, Copy, Debug)]
struct Run {
    start: Lv,
    peer: PeerIx,
    seq: u32,
    /// Where the first operation's parents start in the pool; they end where the next run's do.
    parents: u32,
    stamp: Stamp,
}

/// A stretch of operations by one peer, each following the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) start: Lv,
    pub(crate) end: Lv,
    pub(crate) peer: PeerIx,
    pub(crate) seq: u32,
    pub(crate) stamp: Stamp,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Graph {
    runs: Vec<Run>,
    /// Of each run, whether its operations have seen all that is before them in this order.
    sees_all: Vec<bool>,
    parents: Vec<Lv>,
    /// The run of each of them.
    parent_runs: Vec<u32>,
    end: Lv,
    peers: Vec<PeerId>,
    /// Peers by id.
    sorted_peers: Vec<(PeerId, PeerIx)>,
    /// The runs of each peer, by seq.
    runs_by_peer: Vec<Vec<u32>>,
    heads: Vec<Lv>,
    /// The operations that are before or after every other, as ascending ranges.
    critical: Vec<(Lv, Lv)>,
    version: VersionVector,
    stamp_end: u64,
    /// What is below was trimmed; 0 if nothing was.
    base: Lv,
}

/// Replaces the heads, which are ascending, that an operation follows by the operation. Its parents
/// are ascending too; a merge may have very many.
pub(crate) fn follow(heads: &mut Vec<Lv>, parents: &[Lv], lv: Lv) {
    match parents {
        [] => {}
        [parent] => {
            if let Ok(at) = heads.binary_search(parent) {
                heads.remove(at);
            }
        }
        many => heads.retain(|head| many.binary_search(head).is_err()),
    }
    heads.push(lv);
}

impl Graph {
    /// Makes room for so many stretches and parents.
    pub(crate) fn reserve(&mut self, stretches: usize, parents: usize) {
        self.runs.reserve_exact(stretches);
        self.sees_all.reserve_exact(stretches);
        self.parents.reserve_exact(parents);
        self.parent_runs.reserve_exact(parents);
    }

    /// The local version that the next operation will get.
    pub(crate) fn end(&self) -> Lv {
        self.end
    }

    /// The first local version whose past is known.
    pub(crate) fn base(&self) -> Lv {
        self.base
    }

    /// The operations below `end`, which is right after a critical one, in a line: the base of a
    /// trimmed document.
    pub(crate) fn line(&self, end: Lv) -> Self {
        let (mut line, mut at) = (Self::default(), 0);
        while at < end {
            let stretch = self.stretch_at(at);
            let upto = stretch.end.min(end);
            line.push_on_heads(self.peer(stretch.peer), upto - at, stretch.stamp);
            at = upto;
        }
        line.close_base();
        line
    }

    /// Makes everything here the base of what comes.
    pub(crate) fn close_base(&mut self) {
        self.base = self.end;
    }

    /// Whether an operation with these parents has seen all of the base.
    pub(crate) fn sees_base(&self, parents: &[Lv]) -> bool {
        self.base == 0 || parents.iter().any(|parent| parent + 1 >= self.base)
    }

    /// The operations that nothing follows, ascending.
    pub(crate) fn heads(&self) -> &[Lv] {
        &self.heads
    }

    pub(crate) fn version(&self) -> &VersionVector {
        &self.version
    }

    /// The lowest stamp above all known ones.
    pub(crate) fn stamp_end(&self) -> u64 {
        self.stamp_end
    }

    pub(crate) fn peer(&self, peer: PeerIx) -> PeerId {
        self.peers[peer as usize]
    }

    pub(crate) fn peers(&self) -> &[PeerId] {
        &self.peers
    }

    /// The index of a peer, which is added if it is new.
    pub(crate) fn intern(&mut self, peer: PeerId) -> PeerIx {
        match self.sorted_peers.binary_search_by_key(&peer, |(peer, _)| *peer) {
            Ok(at) => self.sorted_peers[at].1,
            Err(at) => {
                let index = self.peers.len() as PeerIx;
                self.peers.push(peer);
                self.runs_by_peer.push(Vec::new());
                self.sorted_peers.insert(at, (peer, index));
                index
            }
        }
    }

    fn index_of(&self, peer: PeerId) -> Option<PeerIx> {
        let at = self.sorted_peers.binary_search_by_key(&peer, |(peer, _)| *peer).ok()?;
        Some(self.sorted_peers[at].1)
    }

    /// Adds operations of one peer that follow one another; the first has these parents.
    /// `parents` is ascending and has nothing that another of them follows.
    pub(crate) fn push(&mut self, id: OpId, len: u32, stamp: Stamp, parents: &[Lv]) -> Lv {
        let start = self.end;
        let peer = self.intern(id.peer);
        self.note_critical(len, parents);
        let follows = self.runs.last().is_some_and(|last| {
            let before = start - last.start;
            parents.len() == 1
                && parents[0] + 1 == start
                && last.peer == peer
                && last.seq + before == id.seq
                && last.stamp.plus(before) == stamp
        });
        if !follows {
            let at = self.parents.len() as u32;
            self.parents.extend_from_slice(parents);
            for parent in parents {
                let last = self.runs.len().saturating_sub(1);
                self.parent_runs.push(self.run_near(last, *parent) as u32);
            }
            self.runs_by_peer[peer as usize].push(self.runs.len() as u32);
            self.runs.push(Run { start, peer, seq: id.seq, parents: at, stamp });
            self.sees_all.push(*parents == *self.heads);
        }
        self.end += len;
        if let [head] = self.heads[..]
            && parents.len() == 1
            && parents[0] == head
        {
            self.heads[0] = self.end - 1;
        } else {
            follow(&mut self.heads, parents, self.end - 1);
        }
        self.version.extend(id.peer, id.seq + len);
        self.stamp_end = self.stamp_end.max(stamp.plus(len).0);
        start
    }

    /// Adds the next operations of a peer, which has seen everything here.
    #[inline]
    pub(crate) fn push_on_heads(&mut self, peer: PeerId, len: u32, stamp: Stamp) -> Lv {
        let start = self.end;
        // Mostly, a peer goes on where it stopped, and nothing has to be looked up.
        if let (Some(run), [head]) = (self.runs.last(), &mut self.heads[..])
            && let Some((_, critical_end)) = self.critical.last_mut()
            && *critical_end == start
            && self.peers[run.peer as usize] == peer
            && run.stamp.plus(start - run.start) == stamp
        {
            self.end += len;
            (*head, *critical_end) = (self.end - 1, self.end);
            self.version.extend(peer, run.seq + (self.end - run.start));
            self.stamp_end = self.stamp_end.max(stamp.plus(len).0);
            return start;
        }
        self.push_on_all(peer, len, stamp)
    }

    #[inline(never)]
    fn push_on_all(&mut self, peer: PeerId, len: u32, stamp: Stamp) -> Lv {
        let id = OpId::new(peer, self.version.get(peer));
        let heads = self.heads.clone();
        self.push(id, len, stamp, &heads)
    }

    fn note_critical(&mut self, len: u32, parents: &[Lv]) {
        // What comes after the parents in our order is not among their ancestors.
        let keep = parents.last().map_or(0, |last| last + 1);
        while let Some(last) = self.critical.last_mut() {
            if last.1 <= keep {
                break;
            }
            last.1 = last.1.min(keep);
            if last.0 < last.1 {
                break;
            }
            self.critical.pop();
        }
        if parents != self.heads {
            return;
        }
        match self.critical.last_mut() {
            Some(last) if last.1 == self.end => last.1 += len,
            _ => self.critical.push((self.end, self.end + len)),
        }
    }

    /// The latest operation below `lv` that all others are either before or after.
    pub(crate) fn critical_before(&self, lv: Lv) -> Option<Lv> {
        let at = self.critical.count_while(|(start, _)| *start < lv);
        let (_, end) = self.critical.get(at.checked_sub(1)?)?;
        Some((*end).min(lv) - 1)
    }

    /// Whether an operation is before or after every other, and up to where that holds of those
    /// that come next.
    pub(crate) fn critical_at(&self, lv: Lv) -> (bool, Lv) {
        let at = self.critical.count_while(|(_, end)| *end <= lv);
        match self.critical.get(at) {
            Some((start, end)) if *start <= lv => (true, *end),
            Some((start, _)) => (false, *start),
            None => (false, self.end),
        }
    }

    fn run_at(&self, lv: Lv) -> usize {
        match self.runs.last() {
            Some(last) if last.start <= lv => self.runs.len() - 1,
            _ => self.runs.count_while(|run| run.start <= lv) - 1,
        }
    }

    /// The same where it is probably near this run.
    fn run_near(&self, hint: usize, lv: Lv) -> usize {
        let (mut low, mut high, mut step) = (hint, hint, 1);
        while self.runs[low].start > lv {
            (high, low) = (low, low.saturating_sub(step));
            step *= 2;
        }
        while self.runs.get(high).is_some_and(|run| run.start <= lv) {
            (low, high) = (high, high + step);
            step *= 2;
        }
        let rest = &self.runs[low..high.min(self.runs.len())];
        low + rest.count_while(|run| run.start <= lv).max(1) - 1
    }

    fn run_end(&self, index: usize) -> Lv {
        self.runs.get(index + 1).map_or(self.end, |run| run.start)
    }

    /// Where the parents of a run's first operation are in the pool.
    fn parents_range(&self, index: usize) -> Range<usize> {
        let start = self.runs[index].parents as usize;
        let end = self.runs.get(index + 1).map_or(self.parents.len(), |run| run.parents as usize);
        start..end
    }

    fn run_parents(&self, index: usize) -> &[Lv] {
        &self.parents[self.parents_range(index)]
    }

    #[cfg(test)]
    pub(crate) fn stretch_count(&self) -> usize {
        self.runs.len()
    }

    /// The stretch from `lv` to the end of its run.
    pub(crate) fn stretch_at(&self, lv: Lv) -> Stretch {
        let index = self.run_at(lv);
        let (run, end) = (self.runs[index], self.run_end(index));
        let offset = lv - run.start;
        let (seq, stamp) = (run.seq + offset, run.stamp.plus(offset));
        Stretch { start: lv, end, peer: run.peer, seq, stamp }
    }

    /// The run that an operation is part of, as a range.
    pub(crate) fn stretch_of(&self, lv: Lv) -> (Lv, Lv) {
        let index = self.run_at(lv);
        (self.runs[index].start, self.run_end(index))
    }

    /// The parents of an operation.
    pub(crate) fn parents_of(&self, lv: Lv) -> Parents<'_> {
        self.parents_in(self.run_at(lv), lv)
    }

    fn parents_in(&self, run: usize, lv: Lv) -> Parents<'_> {
        if lv > self.runs[run].start {
            Parents { one: [lv - 1], many: None }
        } else {
            Parents { one: [0], many: Some(self.run_parents(run)) }
        }
    }

    pub(crate) fn id_of(&self, lv: Lv) -> OpId {
        let run = self.runs[self.run_at(lv)];
        OpId::new(self.peer(run.peer), run.seq + (lv - run.start))
    }

    pub(crate) fn peer_of(&self, lv: Lv) -> PeerId {
        self.peer(self.runs[self.run_at(lv)].peer)
    }

    /// What decides between two writes: the greater one wins.
    pub(crate) fn rank_of(&self, lv: Lv) -> (Stamp, PeerId) {
        let run = self.runs[self.run_at(lv)];
        (run.stamp.plus(lv - run.start), self.peer(run.peer))
    }

    pub(crate) fn stamp_of(&self, lv: Lv) -> Stamp {
        self.rank_of(lv).0
    }

    pub(crate) fn lv_of(&self, id: OpId) -> Option<Lv> {
        let peer = self.index_of(id.peer)?;
        let runs = &self.runs_by_peer[peer as usize];
        let at = match runs.last() {
            Some(last) if self.runs[*last as usize].seq <= id.seq => runs.len() - 1,
            _ => runs.count_while(|run| self.runs[*run as usize].seq <= id.seq).checked_sub(1)?,
        };
        let index = runs[at] as usize;
        let lv = self.runs[index].start + (id.seq - self.runs[index].seq);
        (lv < self.run_end(index)).then_some(lv)
    }

    /// The latest of these operations that is here, or the first of all.
    pub(crate) fn latest_of(&self, ids: impl Iterator<Item = OpId>) -> Lv {
        ids.filter_map(|id| self.lv_of(id)).fold(0, Lv::max)
    }

    /// The stretches that a version lacks, in local order.
    pub(crate) fn missing_from(&self, version: &VersionVector) -> Vec<(Lv, Lv)> {
        let mut missing: Vec<(Lv, Lv)> = Vec::new();
        for (index, runs) in self.runs_by_peer.iter().enumerate() {
            let known = version.get(self.peers[index]);
            let first = runs.count_while(|run| {
                let run = *run as usize;
                self.runs[run].seq + (self.run_end(run) - self.runs[run].start) <= known
            });
            for run in &runs[first..] {
                let (run, end) = (self.runs[*run as usize], self.run_end(*run as usize));
                missing.push((run.start + known.saturating_sub(run.seq), end));
            }
        }
        sort(&mut missing);
        let mut joined: Vec<(Lv, Lv)> = Vec::new();
        for (start, end) in missing {
            match joined.last_mut() {
                Some(last) if last.1 == start => last.1 = end,
                _ => joined.push((start, end)),
            }
        }
        joined
    }
}

/// The parents of an operation, ascending.
pub(crate) struct Parents<'a> {
    one: [Lv; 1],
    many: Option<&'a [Lv]>,
}

impl std::ops::Deref for Parents<'_> {
    type Target = [Lv];

    fn deref(&self) -> &[Lv] {
        self.many.unwrap_or(&self.one)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same questions, answered with sets.
    #[derive(Default)]
    struct Sets {
        pasts: Vec<Vec<bool>>,
    }

    impl Sets {
        fn push(&mut self, parents: &[Lv]) {
            let lv = self.pasts.len();
            let mut past = vec![false; lv + 1];
            past[lv] = true;
            for parent in parents {
                for (seen, known) in past.iter_mut().zip(&self.pasts[*parent as usize]) {
                    *seen |= known;
                }
            }
            self.pasts.push(past);
        }

        fn sees(&self, heads: &[Lv], lv: Lv) -> bool {
            let sees = |head: &Lv| self.pasts[*head as usize].get(lv as usize) == Some(&true);
            heads.iter().any(sees)
        }
    }

    fn members(ranges: &[(Lv, Lv)]) -> Vec<Lv> {
        let mut all: Vec<Lv> = ranges.iter().flat_map(|(start, end)| *start..*end).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn a_branch_from_within_a_run_is_told_from_the_rest_of_it() {
        let (ada, ben) = (OpId::new(PeerId(1), 0), OpId::new(PeerId(2), 0));
        let mut graph = Graph::default();
        graph.push(ada, 10, Stamp(0), &[]);
        let branch = graph.push(ben, 1, Stamp(50), &[4]);
        assert_eq!(graph.diff(&[9, branch], &[branch]), [vec![(5, 10)], vec![]]);
        assert_eq!(graph.diff(&[branch], &[9, branch]), [vec![], vec![(5, 10)]]);
        assert_eq!(graph.diff(&[9], &[branch]), [vec![(5, 10)], vec![(branch, branch + 1)]]);
        assert_eq!(graph.diff(&[3], &[7]), [vec![], vec![(4, 8)]]);
    }

    proptest! {
        /// Three peers work and pull from one another; the graph answers as plain sets do.
        #[test]
        fn it_answers_as_sets_do(
            steps in prop::collection::vec((0usize..3, 1u32..4, 0usize..4), 1..40),
        ) {
            let (mut graph, mut sets) = (Graph::default(), Sets::default());
            let (mut fronts, mut runs) = (vec![Vec::<Lv>::new(); 3], 0);
            let mut last = None;
            for (peer, len, from) in steps {
                if let Some(other) = fronts.get(from).cloned() {
                    let union = [fronts[peer].clone(), other].concat();
                    let mut front: Vec<Lv> = union.iter().copied().filter(|lv| {
                        !union.iter().any(|other| other != lv && sets.sees(&[*other], *lv))
                    }).collect();
                    front.sort_unstable();
                    front.dedup();
                    fronts[peer] = front;
                }
                let parents = fronts[peer].clone();
                let id = OpId::new(PeerId(peer as u64), graph.version().get(PeerId(peer as u64)));
                let start = graph.push(id, len, Stamp(u64::from(graph.end()) + 1), &parents);
                for i in 0..len {
                    sets.push(&if i == 0 { parents.clone() } else { vec![start + i - 1] });
                    prop_assert_eq!(graph.id_of(start + i), OpId::new(id.peer, id.seq + i));
                    prop_assert_eq!(graph.lv_of(graph.id_of(start + i)), Some(start + i));
                }
                for peer in (0..3).map(PeerId) {
                    prop_assert_eq!(graph.lv_of(OpId::new(peer, graph.version().get(peer))), None);
                }
                let follows = last == Some(peer) && start.checked_sub(1).as_slice() == parents;
                runs += usize::from(!follows);
                prop_assert_eq!(graph.runs.len(), runs);
                last = Some(peer);
                fronts[peer] = vec![graph.end() - 1];
            }
            let all = 0..graph.end();
            let is_critical = |lv: &Lv| all.clone().all(|other| {
                if other <= *lv { sets.sees(&[*lv], other) } else { sets.sees(&[other], *lv) }
            });
            for lv in all.clone() {
                let expected = (0..lv).rev().find(is_critical);
                prop_assert_eq!(graph.critical_before(lv), expected);
            }
            for a in &fronts {
                for lv in all.clone() {
                    prop_assert_eq!(graph.sees(a, lv), sets.sees(a, lv));
                }
                for b in &fronts {
                    let [only_a, only_b] = graph.diff(a, b);
                    let lacks = |x: &[Lv], y: &[Lv]| -> Vec<Lv> {
                        all.clone().filter(|lv| sets.sees(x, *lv) && !sets.sees(y, *lv)).collect()
                    };
                    prop_assert_eq!(members(&only_a), lacks(a, b));
                    prop_assert_eq!(members(&only_b), lacks(b, a));
                    for only in [only_a, only_b] {
                        prop_assert!(only.windows(2).all(|pair| pair[1].1 < pair[0].0));
                    }
                }
            }
            for late in all.clone().rev().take(12) {
                for early in 0..late {
                    prop_assert_eq!(graph.is_before(early, late), sets.sees(&[late], early));
                }
            }
        }

        /// What is pushed by someone who has seen everything is pushed as anything else is.
        #[test]
        fn the_short_way_makes_the_same_graph(
            steps in prop::collection::vec((0usize..3, 1u32..4, 0u64..2, 0usize..6), 1..30),
        ) {
            let (mut short, mut long) = (Graph::default(), Graph::default());
            let (mut stamp, mut runs) = (Stamp(0), 0);
            let mut before: Option<(usize, Lv)> = None;
            for (peer, len, gap, kind) in steps {
                let id = PeerId(peer as u64);
                let id = OpId::new(id, long.version().get(id));
                stamp = stamp.plus(gap as u32);
                // Some have seen nothing.
                let heads = if kind == 0 { Vec::new() } else { long.heads().to_vec() };
                let follows = heads.len() == 1 && before == Some((peer, heads[0])) && gap == 0;
                runs += usize::from(!follows);
                long.push(id, len, stamp, &heads);
                match kind {
                    0 => _ = short.push(id, len, stamp, &heads),
                    _ => _ = short.push_on_heads(id.peer, len, stamp),
                }
                stamp = stamp.plus(len);
                before = Some((peer, long.end() - 1));
                prop_assert_eq!(long.runs.len(), runs);
                prop_assert_eq!(format!("{short:?}"), format!("{long:?}"));
                for critical in long.critical.windows(2) {
                    prop_assert!(critical[0].1 < critical[1].0);
                }
            }
        }
    }
}
