//! What of the history is before one version and not before another.

use crate::graph::{Graph, Lv};

/// What is before only one of two versions, each as descending ranges, and what it takes to find
/// out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Diff {
    pub(crate) only: [Vec<(Lv, Lv)>; 2],
    /// The first run that is looked at, and the last.
    base: usize,
    top: usize,
    /// By run, from the base on: when it was last looked at, and up to where each version has its
    /// operations, or 0 if it has none.
    reach: Vec<(u32, [Lv; 2])>,
    now: u32,
    /// In how many runs that are still to be looked at the versions reach unequally far.
    unequal: u32,
}

/// For so many runs it keeps what it needed to find out.
const REACH_KEPT_MAX: usize = 1_024;

impl Diff {
    /// Gives back memory that only a long distance needs: each text of a document keeps one.
    pub(crate) fn shrink(&mut self) {
        if self.reach.len() > REACH_KEPT_MAX {
            *self = Self::default();
        }
    }

    /// How many operations it is.
    pub(crate) fn len(&self) -> u32 {
        self.only.iter().flatten().map(|(start, end)| end - start).sum()
    }

    fn start(&mut self, base: usize) {
        self.base = base;
        self.unequal = 0;
        self.now = self.now.checked_add(1).unwrap_or_else(|| {
            self.reach.clear();
            1
        });
    }

    fn reach_in(&self, run: usize) -> [Lv; 2] {
        match self.reach.get(run - self.base) {
            Some((at, reach)) if *at == self.now => *reach,
            _ => [0; 2],
        }
    }

    /// Notes that the versions have the operations of a run up to there, or further.
    fn touch(&mut self, run: usize, ends: [Lv; 2]) {
        let Some(run) = run.checked_sub(self.base) else { return };
        if self.reach.len() <= run {
            self.reach.resize(run + 1, (0, [0; 2]));
        }
        let (at, reach) = &mut self.reach[run];
        if *at != self.now {
            (*at, *reach) = (self.now, [0; 2]);
        }
        self.unequal -= u32::from(reach[0] != reach[1]);
        *reach = [reach[0].max(ends[0]), reach[1].max(ends[1])];
        self.unequal += u32::from(reach[0] != reach[1]);
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
    /// What is before only one of two versions, each as descending ranges.
    pub(crate) fn diff(&self, a: &[Lv], b: &[Lv]) -> [Vec<(Lv, Lv)>; 2] {
        let mut diff = Diff::default();
        self.diff_above(0, &mut diff, a, b);
        diff.only
    }

    /// The same, in vectors that are used again. All in the run of `base` and in those before it is
    /// before both.
    pub(crate) fn diff_above(&self, base: Lv, diff: &mut Diff, a: &[Lv], b: &[Lv]) {
        diff.only.iter_mut().for_each(Vec::clear);
        if a == b {
            return;
        }
        diff.start(self.run_near(diff.base, base));
        let (mut top, mut near) = (diff.base, diff.top);
        for (heads, ends) in [(a, [1, 0]), (b, [0, 1])] {
            for head in heads {
                near = self.run_near(near, *head);
                diff.touch(near, ends.map(|end| end * (head + 1)));
                top = top.max(near);
            }
        }
        diff.top = top;
        // Parents are in earlier runs. Where both sides reach equally far there is nothing to tell.
        for index in (diff.base..=top).rev() {
            if diff.unequal == 0 {
                break;
            }
            let ends = diff.reach_in(index);
            let (less, more) = (ends[0].min(ends[1]), ends[0].max(ends[1]));
            if more == 0 {
                continue;
            }
            if less != more {
                diff.unequal -= 1;
                let start = self.runs[index].start.max(less);
                diff.note(usize::from(ends[1] > ends[0]), start, more);
            }
            for at in self.parents_range(index) {
                let end = self.parents[at] + 1;
                let ends = ends.map(|reach| if reach > 0 { end } else { 0 });
                diff.touch(self.parent_runs[at] as usize, ends);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn ranges_that_meet_are_one_and_empty_ones_none() {
        let mut diff = Diff::default();
        for (start, end) in [(7, 9), (4, 7), (4, 4), (1, 3), (5, 2)] {
            diff.note(0, start, end);
        }
        assert_eq!(diff.only, [vec![(4, 9), (1, 3)], vec![]]);
        assert_eq!(diff.len(), 7);
    }
}
