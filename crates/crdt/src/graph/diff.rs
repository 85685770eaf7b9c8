//! What of the history is before one version and not before another.

use crate::graph::{Graph, Lv};
use crate::search::Search;

/// What is before only one of two versions, each as descending ranges, and what it takes to find
/// out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Diff {
    pub(crate) only: [Vec<(Lv, Lv)>; 2],
    /// The runs that are still to be looked at, ascending, and up to where each version has their
    /// operations, or 0 if it has none.
    reach: Vec<(u32, [Lv; 2])>,
    /// In how many of them the versions reach unequally far.
    unequal: u32,
    /// The last run that was looked at.
    top: usize,
}

/// It keeps room for so many of them.
const REACH_KEPT_MAX: usize = 1_024;

impl Diff {
    /// Gives back memory that only many branches need: each text of a document keeps one.
    pub(crate) fn shrink(&mut self) {
        if self.reach.capacity() > REACH_KEPT_MAX {
            *self = Self::default();
        }
    }

    /// How many operations it is.
    pub(crate) fn len(&self) -> u32 {
        self.only.iter().flatten().map(|(start, end)| end - start).sum()
    }

    /// Notes that the versions have the operations of a run up to there, or further.
    fn touch(&mut self, run: u32, ends: [Lv; 2]) {
        let at = self.reach.count_while(|(other, _)| *other < run);
        let known = self.reach.get_mut(at).filter(|(other, _)| *other == run);
        let ends = match known {
            Some((_, reach)) => {
                self.unequal -= u32::from(reach[0] != reach[1]);
                *reach = [reach[0].max(ends[0]), reach[1].max(ends[1])];
                *reach
            }
            None => {
                self.reach.insert(at, (run, ends));
                ends
            }
        };
        self.unequal += u32::from(ends[0] != ends[1]);
    }

    fn note(&mut self, side: usize, start: Lv, end: Lv) {
        match self.only[side].last_mut() {
            _ if start >= end => {}
            Some(last) if last.0 == end => last.0 = start,
            _ => self.only[side].push((start, end)),
        }
    }
}

impl Graph {
    /// Whether the author of `late` had seen `early`.
    pub(crate) fn is_before(&self, early: Lv, late: Lv) -> bool {
        self.critical_before(late).is_some_and(|critical| early <= critical)
            || self.sees(&self.parents_of(late), early)
    }

    /// Whether `lv` is one of `heads` or before one of them.
    pub(crate) fn sees(&self, heads: &[Lv], lv: Lv) -> bool {
        if lv < self.base {
            return heads.iter().any(|head| *head >= lv);
        }
        // The runs that are still to be looked at, ascending; parents are in earlier ones.
        let (last, mut queue) = (self.run_at(lv), Vec::<u32>::new());
        let reaches = |head: Lv, run: u32, queue: &mut Vec<u32>| {
            if head < lv || run == last as u32 {
                return head >= lv;
            }
            if let Err(at) = queue.binary_search(&run) {
                queue.insert(at, run);
            }
            false
        };
        for head in heads {
            if reaches(*head, self.run_at(*head) as u32, &mut queue) {
                return true;
            }
        }
        while let Some(run) = queue.pop() {
            for at in self.parents_range(run as usize) {
                if reaches(self.parents[at], self.parent_runs[at], &mut queue) {
                    return true;
                }
            }
        }
        false
    }

    /// What is before only one of two versions, each as descending ranges.
    pub(crate) fn diff(&self, a: &[Lv], b: &[Lv]) -> [Vec<(Lv, Lv)>; 2] {
        let mut diff = Diff::default();
        self.diff_above(0, u32::MAX, &mut diff, a, b);
        diff.only
    }

    /// The same, in vectors that are used again, and given up once it is more than `len_max`
    /// operations. All below `floor` is before both.
    pub(crate) fn diff_above(&self, floor: Lv, len_max: u32, diff: &mut Diff, a: &[Lv], b: &[Lv]) {
        diff.only.iter_mut().for_each(Vec::clear);
        diff.reach.clear();
        diff.unequal = 0;
        let Some(last) = a.iter().chain(b).max().filter(|_| a != b) else { return };
        diff.top = self.run_near(diff.top, *last);
        for (heads, ends) in [(a, [1, 0]), (b, [0, 1])] {
            for head in heads.iter().filter(|head| **head >= floor) {
                let run = self.run_near(diff.top, *head);
                diff.touch(run as u32, ends.map(|end| end * (head + 1)));
            }
        }
        let mut len = 0;
        // Parents are in earlier runs. Where both sides reach equally far there is nothing to tell.
        while diff.unequal > 0
            && len <= len_max
            && let Some((run, ends)) = diff.reach.pop()
        {
            let (less, more) = (ends[0].min(ends[1]), ends[0].max(ends[1]));
            if less != more {
                diff.unequal -= 1;
                let start = self.runs[run as usize].start.max(less).max(floor);
                diff.note(usize::from(ends[1] > ends[0]), start, more);
                len += more.saturating_sub(start);
            }
            for at in self.parents_range(run as usize) {
                let end = self.parents[at] + 1;
                if end > floor {
                    let ends = ends.map(|reach| if reach > 0 { end } else { 0 });
                    diff.touch(self.parent_runs[at], ends);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{OpId, PeerId};
    use crate::stamp::Stamp;

    #[test]
    fn only_what_a_long_distance_needed_is_given_back() {
        let mut diff = Diff { reach: vec![(0, [0; 2]); REACH_KEPT_MAX], ..Diff::default() };
        diff.shrink();
        assert_eq!(diff.reach.len(), REACH_KEPT_MAX);
        diff.reach.push((0, [0; 2]));
        diff.shrink();
        assert_eq!(diff.reach.capacity(), 0);
    }

    #[test]
    fn of_what_stands_right_above_the_base_neither_sees_the_other() {
        let mut graph = Graph::default();
        graph.push(OpId::new(PeerId(1), 0), 3, Stamp(0), &[]);
        graph.close_base();
        let [first, second] =
            [2, 3].map(|peer| graph.push(OpId::new(PeerId(peer), 0), 1, Stamp(9), &[2]));
        assert!(graph.sees(&[second], 2) && graph.sees(&[second], second));
        assert!(!graph.sees(&[second], first) && !graph.sees(&[first], second));
    }

    #[test]
    fn a_distance_that_is_too_long_is_given_up() {
        let mut graph = Graph::default();
        let mut last = None;
        // Two go on from one another, so that each operation is a run.
        for at in 0..100 {
            let id = OpId::new(PeerId(u64::from(at % 2)), at / 2);
            last = Some(graph.push(id, 1, Stamp(u64::from(at)), last.as_slice()));
        }
        let mut diff = Diff::default();
        for (len_max, len) in [(10, 11), (u32::MAX, 100)] {
            graph.diff_above(0, len_max, &mut diff, last.as_slice(), &[]);
            assert_eq!(diff.len(), len);
        }
    }

    #[test]
    fn ranges_that_meet_are_one_and_empty_ones_none() {
        let mut diff = Diff::default();
        for (start, end) in [(7, 9), (4, 7), (4, 4), (1, 3), (5, 2)] {
            diff.note(0, start, end);
        }
        assert_eq!(diff.only, [vec![(4, 9), (1, 3)], vec![]]);
        assert_eq!(diff.len(), 7);
    }
}
