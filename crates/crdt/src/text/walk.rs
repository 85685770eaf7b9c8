//! Walking the causal graph: taking operations into the tracker in local order, each at the version
//! that its author saw.

use crate::graph::{Graph, Lv, PeerIx, Stretch, follow};
use crate::text::runs::{Kind, Piece, Runs};
use crate::text::tracker::{Effect, PRESENT, Tracker};

/// What operations do to the present text.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) effects: Vec<Effect>,
    /// Those that were out of the range of their text, as ranges: they do nothing.
    pub(crate) void: Vec<(Lv, Lv)>,
}

impl Tracker {
    /// Takes in what the text already shows, up to `end`; `len` is the text's length then.
    pub(crate) fn catch_up(&mut self, graph: &Graph, runs: &Runs, end: Lv, len: u32) {
        let mut effects = Vec::new();
        self.walk(graph, runs, end, &mut |tracker, mut piece, measure| {
            effects.clear();
            // What is not in range although nothing says so is of a history that is not sound.
            piece.clip(tracker.reach(measure));
            if piece.len > 0 {
                tracker.apply(graph, piece, measure, &mut effects);
            }
        });
        self.set_len(len);
    }

    /// Takes in operations up to `end`, new to the text.
    pub(crate) fn advance(&mut self, graph: &Graph, runs: &Runs, end: Lv, out: &mut Outcome) {
        self.walk(graph, runs, end, &mut |tracker, mut piece, measure| {
            out.void.extend(piece.clip(tracker.reach(measure)));
            if piece.len > 0 {
                tracker.apply(graph, piece, measure, &mut out.effects);
            }
        });
    }

    /// Calls `take` with each operation and the version, ready in a measure, that it applies to.
    fn walk(
        &mut self,
        graph: &Graph,
        runs: &Runs,
        end: Lv,
        take: &mut dyn FnMut(&mut Self, Piece, usize),
    ) {
        while self.done < end {
            let mut stretch = graph.stretch_at(self.done);
            stretch.end = stretch.end.min(end);
            let parents = graph.parents_of(stretch.start);
            let is_present = *parents == *self.heads;
            if runs.pieces(stretch.start, stretch.end).next().is_some() {
                let measure = if is_present {
                    PRESENT
                } else {
                    self.view_at(graph, runs, &parents, stretch.peer)
                };
                for piece in runs.pieces(stretch.start, stretch.end) {
                    if !piece.is_void {
                        take(self, piece, measure);
                    }
                }
                if measure != PRESENT {
                    self.views[measure].heads = vec![stretch.end - 1];
                }
            }
            self.pass(&stretch, &parents);
        }
    }

    fn pass(&mut self, stretch: &Stretch, parents: &[Lv]) {
        follow(&mut self.heads, parents, stretch.end - 1);
        self.done = stretch.end;
    }

    /// The view that stands at a version, moved there if need be.
    fn view_at(&mut self, graph: &Graph, runs: &Runs, heads: &[Lv], peer: PeerIx) -> usize {
        self.clock += 1;
        let stands = |view: usize| self.views[view].heads == heads;
        // Of the others, an author's last version is on the way to its next.
        let is_of = |view: usize| self.views[view].peer == Some(peer);
        let by_use = usize::from(self.views[1].used < self.views[0].used);
        let view = (0..2).find(|v| stands(*v)).or((0..2).find(|v| is_of(*v))).unwrap_or(by_use);
        self.move_view(graph, runs, view, heads);
        self.views[view].peer = Some(peer);
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
            self.move_view(graph, runs, view, heads);
        }
        self.items()
            .map(|item| (item.id, item.len, [0, 1].map(|view| item.seen[view] == 1)))
            .filter(|(_, _, seen)| seen[0] || seen[1])
            .collect()
    }

    fn move_view(&mut self, graph: &Graph, runs: &Runs, view: usize, heads: &[Lv]) {
        let [gone, new] = graph.diff(&self.views[view].heads, heads);
        for range in gone {
            self.toggle(runs, view, range, false);
        }
        for range in new.into_iter().rev() {
            self.toggle(runs, view, range, true);
        }
        self.views[view].heads = heads.to_vec();
    }

    fn apply(&mut self, graph: &Graph, piece: Piece, measure: usize, effects: &mut Vec<Effect>) {
        let (start, len) = (piece.start, piece.len);
        match piece.kind {
            Kind::Insert => {
                let pos = self.insert(graph, measure, start, len, piece.pos);
                effects.push(Effect::Insert { pos, start, content: piece.content, len });
            }
            Kind::Delete => self.delete(measure, (start, len, false), piece.pos, effects),
            Kind::Backspace => self.delete(measure, (start, len, true), piece.lowest(), effects),
            Kind::Aside => {}
        }
    }
}
