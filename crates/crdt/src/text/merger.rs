//! Merging the operations of one sequence, a text or a list, into what it shows.
//!
//! A change whose author had seen all that is here is applied as it stands. Only what was written
//! at the same time goes through the [`Tracker`], which is built from the latest version that
//! everything concerned has seen and kept while it may be needed again.

use std::cell::{RefCell, RefMut};

use crate::graph::{Graph, Lv};
use crate::text::runs::{Kind, Piece, Runs};
use crate::text::tracker::{Effect, PRESENT, Tracker};

/// A tracker with more items is rebuilt from a later version when there is one.
const TRACKER_ITEMS_MAX: usize = 4_096;

/// The present state of a sequence, as far as merging is concerned.
pub(crate) trait Present {
    /// How many positions it has.
    fn len(&self) -> u32;

    /// Takes in an edit of the present.
    fn perform(&mut self, effect: Effect, runs: &Runs);
}

/// The trackers that merging and looking up characters left behind.
#[derive(Debug, Default)]
pub(crate) struct Merger {
    merging: Option<Box<Tracker>>,
    /// Tracks every character there ever was; made when one is first asked for.
    whole: RefCell<Option<Box<Tracker>>>,
}

impl Merger {
    /// Takes in the operations from `start` to `end`, which are new to the sequence.
    pub(crate) fn merge(
        &mut self,
        graph: &Graph,
        runs: &mut Runs,
        (start, end): (Lv, Lv),
        present: &mut dyn Present,
    ) {
        let mut at = start;
        let mut void = Vec::new();
        while at < end {
            let (is_critical, upto) = graph.critical_at(at);
            let upto = upto.min(end);
            if is_critical {
                let mut pieces = runs.pieces_from(at);
                while let Some(mut piece) = pieces.next_below(upto) {
                    if piece.is_void {
                        continue;
                    }
                    void.extend(piece.clip(present.len()));
                    if let Some(effect) = effect_of(&piece) {
                        present.perform(effect, runs);
                    }
                }
            } else if runs.pieces(at, upto).next().is_some() {
                // A tracker that starts anew walks over what came before: it has to be marked.
                void.drain(..).for_each(|(start, end)| runs.void(start, end));
                let mut tracker = self.tracker_at(graph, runs, at, present.len());
                void = tracker.advance(graph, runs, upto, present);
                self.merging = Some(tracker);
            }
            at = upto;
        }
        for (start, end) in void {
            runs.void(start, end);
        }
    }

    /// A tracker that has taken in all that is below `end`, from a version that what comes next
    /// has seen. `len` is the length of the sequence then.
    fn tracker_at(&mut self, graph: &Graph, runs: &Runs, end: Lv, len: u32) -> Box<Tracker> {
        let base = graph.critical_before(end);
        let kept = self.merging.take().filter(|tracker| {
            let is_below = tracker.base() <= base;
            let is_large = tracker.base() < base && tracker.item_count() > TRACKER_ITEMS_MAX;
            // Starting anew is cheaper if everything since then would have to be taken in anyway.
            let is_behind = base.is_some_and(|base| tracker.done() <= base);
            is_below && !is_large && !is_behind
        });
        let mut tracker = kept.unwrap_or_else(|| Box::new(Tracker::new(base)));
        tracker.catch_up(graph, runs, end, len);
        tracker
    }

    /// The tracker of all characters that there ever were, or since the base; `len` of them are
    /// shown.
    pub(crate) fn whole(&self, graph: &Graph, runs: &Runs, len: u32) -> RefMut<'_, Tracker> {
        let whole = self.whole.borrow_mut();
        RefMut::map(whole, |whole| {
            let new = || Box::new(Tracker::on(runs.ground(), graph.base()));
            let tracker = whole.get_or_insert_with(new);
            tracker.catch_up(graph, runs, graph.end(), len);
            if tracker.len(PRESENT) != len {
                // The history tells of something else than there is: it is not this sequence's.
                **tracker = Tracker::unknown(graph, len);
            }
            &mut **tracker
        })
    }
}

impl Effect {
    /// The part of an edit that is within a sequence of this length: all of it, unless the history
    /// is not that of the sequence.
    pub(super) fn within(self, end: u32) -> Option<Self> {
        match self {
            Self::Insert { pos, start, content, len } => {
                Some(Self::Insert { pos: pos.min(end), start, content, len })
            }
            Self::Delete { pos, len } => {
                let len = len.min(end.saturating_sub(pos));
                (len > 0).then_some(Self::Delete { pos, len })
            }
        }
    }
}

/// What a piece does to a sequence as its author saw it, if anything.
pub(crate) fn effect_of(piece: &Piece) -> Option<Effect> {
    let Piece { start, len, pos, content, .. } = *piece;
    if len == 0 {
        return None;
    }
    Some(match piece.kind {
        Kind::Insert => Effect::Insert { pos, start, content, len },
        Kind::Delete | Kind::Backspace => Effect::Delete { pos: piece.lowest(), len },
        Kind::Aside => return None,
    })
}

#[cfg(test)]
mod tests {
    use crate::block::{Block, BlockHeader};
    use crate::op::{Action, Body, Op};
    use crate::text::RunKind;
    use crate::{ContainerId, ContainerKind, Doc, PeerId, Stamp};

    /// A block of a peer that has seen its own blocks only. An edit is a position and what is
    /// inserted there, or nothing if one character is deleted.
    fn block(peer: u64, seq: u32, edits: &[(u32, &str)]) -> Block {
        let op = |(pos, text): &(u32, &str)| {
            let (kind, len) = match text.len() as u32 {
                0 => (RunKind::Delete, 1),
                len => (RunKind::Insert, len),
            };
            Op {
                container: 0,
                action: Action::Text { kind, pos: *pos, len, content: (*text).into() },
            }
        };
        let ops: Vec<Op> = edits.iter().map(op).collect();
        let len = ops.iter().map(Op::len).sum();
        let containers = vec![(ContainerKind::Text, ContainerId::root("t"))];
        let body = Body { containers, names: Vec::new(), ops };
        let (peer, stamp) = (PeerId(peer), Stamp(seq.into()));
        Block::encode(BlockHeader { peer, seq, len, stamp, deps: Vec::new() }, &body)
    }

    #[test]
    fn edits_out_of_range_do_nothing_together_as_one_by_one() {
        let blocks = [
            block(1, 0, &[(0, "a")]),
            block(1, 1, &[(1, ""), (1, "bcd")]),
            block(2, 0, &[(1, "no")]),
        ];
        let mut one_by_one = Doc::new(PeerId(8));
        for block in &blocks {
            one_by_one.import(0, [block.clone()]).unwrap();
        }
        let mut together = Doc::new(PeerId(9));
        together.import(0, blocks).unwrap();
        for doc in [one_by_one, together] {
            assert_eq!(doc.text("t").to_string(), "abcd");
            assert_eq!(doc.text("t").authors().len(), 2);
        }
    }
}
