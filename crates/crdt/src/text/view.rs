//! The tracker's views: versions that are kept ready, and moved from where they stand to where they
//! are needed.

use crate::graph::{Diff, Graph, Lv};
use crate::search::Search;
use crate::text::runs::{Kind, Runs, Stroke};
use crate::text::tracker::{Place, Tracker};

/// A version that is kept ready, and when it was last asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub(super) heads: Vec<Lv>,
    pub(super) used: u64,
}

impl View {
    pub(super) fn stand_at(&mut self, heads: &[Lv]) {
        self.heads.clear();
        self.heads.extend_from_slice(heads);
    }
}

/// How characters come to be seen otherwise: inserted or not yet, deleted once more or once less.
#[derive(Clone, Copy)]
enum Seen {
    Inserted(bool),
    Deleted(bool),
}

impl Seen {
    fn apply(self, seen: &mut u32) {
        *seen = match self {
            Self::Inserted(add) => u32::from(add),
            Self::Deleted(true) => seen.wrapping_add(1),
            Self::Deleted(false) => seen.wrapping_sub(1),
        };
    }
}

/// How many characters a view shows more in a leaf, which the sums do not have yet: what is moved
/// at once is mostly in few leaves.
#[derive(Default)]
struct Moved {
    leaf: u32,
    by: i32,
    /// The same of those it has seen, shown or not.
    seen: i32,
}

impl Tracker {
    /// The view that stands at a version: the one that is less far from it is moved there.
    pub(super) fn view_at(&mut self, graph: &Graph, runs: &Runs, heads: &[Lv]) -> usize {
        self.clock += 1;
        let stands = |view: &View| view.heads == heads;
        let view = self.views.iter().position(stands).unwrap_or_else(|| {
            let mut diffs = std::mem::take(&mut self.diffs);
            let floor = self.floor();
            let mut cost = |view: usize, len_max: u32| {
                let (diff, from) = (&mut diffs[view], &self.views[view]);
                graph.diff_above(floor, len_max, diff, &from.heads, heads);
                (diff.len(), from.used)
            };
            // One that stands at a parent is on the way.
            let is_on_way = |view: &View| matches!(view.heads[..], [head] if heads.contains(&head));
            let view = match self.views.iter().position(is_on_way) {
                Some(view) => {
                    cost(view, u32::MAX);
                    view
                }
                None => {
                    // The one that was used last is mostly the nearer one: of the other it is
                    // enough to know that it is further away.
                    let last = usize::from(self.views[1].used > self.views[0].used);
                    let near = cost(last, u32::MAX);
                    if near > cost(1 - last, near.0) { 1 - last } else { last }
                }
            };
            self.move_view(runs, view, &diffs[view]);
            self.views[view].stand_at(heads);
            self.diffs = diffs;
            view
        });
        self.views[view].used = self.clock;
        view
    }

    /// Moves the two views to two versions and tells, in the order of the sequence, which runs of
    /// ids each of them shows: `(first id, length, shown in each)`.
    pub(crate) fn compare_versions(
        &mut self,
        graph: &Graph,
        runs: &Runs,
        versions: [&[Lv]; 2],
    ) -> Vec<(Lv, u32, [bool; 2])> {
        for (view, heads) in versions.into_iter().enumerate() {
            let mut diff = Diff::default();
            let from = &self.views[view].heads;
            graph.diff_above(self.floor(), u32::MAX, &mut diff, from, heads);
            self.move_view(runs, view, &diff);
            self.views[view].stand_at(heads);
        }
        self.items()
            .map(|item| (item.id, item.len, [0, 1].map(|view| item.seen[view] == 1)))
            .filter(|(_, _, seen)| seen[0] || seen[1])
            .collect()
    }

    /// Moves a view to the other version of a difference.
    fn move_view(&mut self, runs: &Runs, view: usize, diff: &Diff) {
        let [gone, new] = &diff.only;
        let mut moved = Moved::default();
        for range in gone {
            self.toggle(runs, view, *range, false, &mut moved);
        }
        for range in new.iter().rev() {
            self.toggle(runs, view, *range, true, &mut moved);
        }
        self.settle(view, moved);
    }

    /// Adds operations that the present has to a view, or takes them out.
    fn toggle(&mut self, runs: &Runs, view: usize, range: (Lv, Lv), add: bool, moved: &mut Moved) {
        runs.strokes(range, !add, &mut |Stroke { kind, start, end }| match kind {
            Kind::Aside => {}
            Kind::Insert => self.see(view, (start, end), Seen::Inserted(add), moved),
            Kind::Delete | Kind::Backspace => {
                let mut at = self.deletions.count_while(|d| d.start + d.len <= start);
                while let Some(deletion) = self.deletions.get(at).copied()
                    && deletion.start < end
                {
                    let from = start.max(deletion.start);
                    let to = end.min(deletion.start + deletion.len);
                    self.see(view, deletion.targets(from, to), Seen::Deleted(add), moved);
                    at += 1;
                }
            }
        });
    }

    /// Changes how a view sees the characters from `low` to `high` (exclusive).
    fn see(&mut self, view: usize, (low, high): (Lv, Lv), change: Seen, moved: &mut Moved) {
        let mut id = low;
        while id < high {
            // What the history of a text that does not belong to it inserted may be nowhere.
            let Some((place, offset)) = self.look_up(id) else {
                id += 1;
                continue;
            };
            if moved.leaf != place.leaf {
                self.settle(
                    view,
                    std::mem::replace(moved, Moved { leaf: place.leaf, ..Moved::default() }),
                );
            }
            id = self.see_in_leaf(view, place, offset, high, change, moved);
            self.split_leaf(place.leaf);
        }
    }

    /// Takes what was shown and hidden into the sums.
    fn settle(&mut self, view: usize, moved: Moved) {
        if moved.by != 0 {
            self.tree.change_in(moved.leaf, view, moved.by);
        }
        if moved.seen != 0
            && let Some(seen) = &mut self.seen
        {
            seen.change_in(moved.leaf, view, moved.seen);
        }
    }

    /// The same for as many of them as follow one another in a leaf, from an item's character on;
    /// returns the first that is left.
    fn see_in_leaf(
        &mut self,
        view: usize,
        mut place: Place,
        offset: u32,
        high: Lv,
        change: Seen,
        moved: &mut Moved,
    ) -> Lv {
        if offset > 0 {
            self.split(place, offset);
            place.item += 1;
        }
        let mut id = self.item(place).id;
        while id < high && self.leaves[place.leaf].get(place.item).is_some_and(|i| i.id == id) {
            self.split(place, high - id);
            let item = &mut self.leaves[place.leaf][place.item];
            let before = [item.width(view), item.seen_width(view)];
            change.apply(&mut item.seen[view]);
            moved.by += item.width(view).wrapping_sub(before[0]).cast_signed();
            moved.seen += item.seen_width(view).wrapping_sub(before[1]).cast_signed();
            id = item.end();
            place.item += 1;
        }
        id
    }
}
