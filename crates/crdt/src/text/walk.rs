//! Walking the causal graph: taking operations into the tracker in local order, each at the version
//! that its author saw.

use crate::graph::{Diff, Graph, Lv};
use crate::text::merger::Present;
use crate::text::runs::{Kind, Piece, Runs};
use crate::text::tracker::{Effect, PRESENT, Tracker};

impl Tracker {
    /// Takes in what the text already shows, up to `end`; `len` is the text's length then.
    pub(crate) fn catch_up(&mut self, graph: &Graph, runs: &Runs, end: Lv, len: u32) {
        if self.done < end {
            let mut effects = Vec::new();
            self.walk(graph, runs, end, &mut |tracker, mut piece, measure| {
                effects.clear();
                // What is not in range although nothing says so is of a history that is not sound.
                piece.clip(tracker.reach(measure));
                if piece.len > 0 {
                    tracker.apply(graph, piece, measure, &mut effects);
                }
            });
        }
        self.set_len(len);
    }

    /// Takes in operations up to `end`, new to the text, and performs what they do to the present.
    /// Returns those that were out of the range of their text, as ranges: they do nothing.
    pub(crate) fn advance(
        &mut self,
        graph: &Graph,
        runs: &Runs,
        end: Lv,
        present: &mut dyn Present,
    ) -> Vec<(Lv, Lv)> {
        let (mut effects, mut void) = (std::mem::take(&mut self.effects), Vec::new());
        self.walk(graph, runs, end, &mut |tracker, mut piece, measure| {
            void.extend(piece.clip(tracker.reach(measure)));
            if piece.len > 0 {
                tracker.apply(graph, piece, measure, &mut effects);
            }
            for effect in effects.drain(..) {
                if let Some(effect) = effect.within(present.len()) {
                    present.perform(effect, runs);
                }
            }
        });
        self.effects = effects;
        void
    }

    /// Calls `take` with each operation and the version, ready in a measure, that it applies to.
    fn walk(
        &mut self,
        graph: &Graph,
        runs: &Runs,
        end: Lv,
        take: &mut dyn FnMut(&mut Self, Piece, usize),
    ) {
        let (mut steps, mut pieces) = (graph.steps(), runs.pieces_from(self.done));
        while let Some(first) = pieces.start().filter(|first| *first < end) {
            let step = steps.to(first);
            let upto = step.end.min(end);
            let measure =
                if step.sees_all { PRESENT } else { self.view_at(graph, runs, &step.parents) };
            while let Some(piece) = pieces.next_below(upto) {
                if !piece.is_void {
                    take(self, piece, measure);
                }
            }
            if measure != PRESENT {
                self.views[measure].stand_at(&[upto - 1]);
            }
        }
        self.diffs.iter_mut().for_each(Diff::shrink);
        self.done = end;
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
