//! Where a mark ends whose last character was deleted.
//!
//! Text goes right behind the character that its author saw before it, in front of all that is
//! deleted there. If an anchor is at the far side of what is deleted, that text would get into a
//! link whose last word was taken out. So text that was typed in front of an anchor's character,
//! by somebody who knew that it and all in between was deleted, counts as behind it. Litt et al.,
//! "Peritext" (CSCW 2022), where insertions choose their place among what is deleted, has such text
//! inserted there to begin with. Who knew what never changes, so neither does what counts as where.

use std::cell::RefCell;

use crate::cells::RowRef;
use crate::gather::Gather;
use crate::graph::{Graph, Lv};
use crate::numbers::{self, Numbers};
use crate::search::Search;
use crate::sorting::sort_by;
use crate::text::Ground;
use crate::text::marks::{Anchor, MarkRange};
use crate::text::tracker::{Deletion, Tracker};

/// The tracker of a whole text, asked about edges.
pub(crate) struct Edges<'a> {
    pub(crate) whole: &'a Tracker,
    pub(crate) graph: &'a Graph,
    ground: &'a Ground,
    found: RefCell<Found>,
}

/// What [`Edges::typed_past`] found: places in the list, by character.
type Found = (Numbers, Vec<Vec<(Lv, Lv)>>);

/// Characters between an anchor's and one that may have been typed later.
struct Passed {
    chars: (Lv, Lv),
    is_shown: bool,
}

/// Takes a range out of others.
pub(super) fn without(ranges: &[(u32, u32)], (start, end): (u32, u32)) -> Vec<(u32, u32)> {
    let mut left = Vec::new();
    for (low, high) in ranges {
        for (low, high) in [(*low, start.min(*high)), (end.max(*low), *high)] {
            if low < high {
                left.push((low, high));
            }
        }
    }
    left
}

impl<'a> Edges<'a> {
    pub(crate) fn new(whole: &'a Tracker, graph: &'a Graph, ground: &'a Ground) -> Self {
        Self { whole, graph, ground, found: RefCell::default() }
    }

    /// Whether the author of `lv` knew of an operation.
    fn knew(&self, lv: Lv, op: Lv) -> bool {
        op < lv && self.graph.is_before(op, lv)
    }

    /// Cuts a range where the graph does: of what others did, the authors of all between two cuts
    /// knew the same.
    fn stretches(&self, (start, end): (Lv, Lv)) -> Vec<(Lv, Lv)> {
        let (mut stretches, mut at) = (Vec::new(), start);
        // Beyond the graph there is only what a history that is not sound does not account for.
        let end = end.min(self.graph.end());
        while at < end {
            let upto = self.graph.stretch_at(at).end.min(end);
            stretches.push((at, upto));
            at = upto;
        }
        stretches
    }

    fn deletions_of(&self, (low, high): (Lv, Lv)) -> Vec<Deletion> {
        let sorted = self.whole.by_target.get_or_init(|| {
            let range = |deletion: &Deletion| {
                let (low, high) = deletion.targets(deletion.start, deletion.start + deletion.len);
                (low, high, *deletion)
            };
            let mut sorted: Vec<_> = self.whole.deletions.iter().map(range).gather();
            sort_by(&mut sorted, |(a, _, _), (b, _, _)| a < b);
            let mut highest = 0;
            for (_, high, _) in &mut sorted {
                highest = highest.max(*high);
                *high = highest;
            }
            sorted
        });
        let upto = sorted.count_while(|(first, _, _)| *first < high);
        let mut found = Vec::new();
        for (_, highest, deletion) in sorted[..upto].iter().rev() {
            if low >= *highest {
                break;
            }
            if low < deletion.targets(deletion.start, deletion.start + deletion.len).1 {
                found.push(*deletion);
            }
        }
        found
    }

    /// Whether a deleted character was so below the base already.
    fn was_deleted_below(&self, char: Lv) -> bool {
        char < self.graph.base() && self.deletions_of((char, char + 1)).is_empty()
    }

    /// The operations that deleted a character.
    fn deleters(&self, char: Lv) -> Vec<Lv> {
        let deletions = self.deletions_of((char, char + 1)).into_iter();
        deletions.map(|deletion| deletion.start + deletion.target.abs_diff(char)).gather()
    }

    /// Whether the author of a mark cannot have seen what it starts or ends at, or knew that it was
    /// deleted: it is of nothing then, for everyone alike.
    pub(super) fn is_void(&self, lv: Lv, range: MarkRange) -> bool {
        let is_void = |char: Lv| {
            if !self.whole.tracks(char) {
                return true;
            }
            let is_above = lv >= self.graph.base();
            !self.whole.is_shown(char)
                && (self.deleters(char).iter().any(|deletion| self.knew(lv, *deletion))
                    || is_above && self.was_deleted_below(char))
        };
        range.into_iter().filter_map(Anchor::row).any(|row| match row {
            RowRef::Known(char) => is_void(char),
            RowRef::Stray(_) => true,
        })
    }

    /// Whether the author of `lv` saw any of these characters.
    fn saw(&self, lv: Lv, passed: &Passed) -> bool {
        if !passed.is_shown && self.was_deleted_below(passed.chars.0) {
            return false;
        }
        let mut open = vec![passed.chars];
        let deletions = if passed.is_shown { Vec::new() } else { self.deletions_of(passed.chars) };
        for deletion in deletions {
            for (start, end) in self.stretches((deletion.start, deletion.start + deletion.len)) {
                // What is known of a stretch is its start.
                let (mut low, mut high) = (start, end);
                while low < high {
                    let middle = low + (high - low) / 2;
                    if self.knew(lv, middle) {
                        low = middle + 1;
                    } else {
                        high = middle;
                    }
                }
                open = without(&open, deletion.targets(start, low));
            }
        }
        let knew = |range| self.stretches(range).iter().any(|(first, _)| self.knew(lv, *first));
        open.into_iter().any(knew)
    }

    /// The characters in front of one that count as behind it, as ranges of ids.
    pub(super) fn typed_past(&self, char: Lv) -> Vec<(Lv, Lv)> {
        if self.whole.is_shown(char) {
            return Vec::new();
        }
        let (numbers, found) = &mut *self.found.borrow_mut();
        let (at, is_new) = numbers::number(numbers, char.into());
        if is_new {
            found.push(self.find_typed_past(char));
        }
        found[at].clone()
    }

    /// From where to where new text may get a mark with these ends though what is beside it does
    /// not have it, or the other way round, as text was typed past an end before.
    pub(super) fn unsure_in(
        &self,
        range: MarkRange,
        [start, end]: [Option<u32>; 2],
    ) -> Option<(u32, u32)> {
        let (start, end) = (start?, end?);
        let [joining, leaving] = range.map(|anchor| match anchor {
            Anchor::After(RowRef::Known(char)) => self.typed_past(char),
            _ => Vec::new(),
        });
        if joining.is_empty() && leaving.is_empty() {
            return None;
        }
        let mut unsure = (start.min(end), start.max(end));
        for (first, upto) in joining {
            for (pos, len) in self.whole.shown(first, upto) {
                unsure = (unsure.0.min(pos), unsure.1.max(pos + len));
            }
        }
        Some(unsure)
    }

    fn find_typed_past(&self, char: Lv) -> Vec<(Lv, Lv)> {
        let mut past: Vec<(Lv, Lv)> = self.ground.typed_past(char).gather();
        let mut deletions = self.deleters(char);
        if self.was_deleted_below(char) {
            // Everyone above the base knew of it, and what it was is known of all below.
            deletions.push(self.graph.base() - 1);
        }
        let mut passed = Vec::<Passed>::new();
        // Whoever knew of all up to here saw none of those passed; none if some are shown.
        let mut settled = deletions.iter().max().copied();
        let below = past.clone();
        for (first, len, is_shown) in self.whole.left_of(char) {
            let mut parts = self.stretches((first, first + len));
            // Of what was typed below the base, it is known already.
            for range in &below {
                parts = without(&parts, *range);
            }
            for chars in parts.into_iter().rev() {
                let knew_of = |deletion: &Lv| self.knew(chars.0, *deletion);
                let saw = |passed: &Passed| self.saw(chars.0, passed);
                let knew_all = settled.is_some() && self.graph.critical_before(chars.0) >= settled;
                if knew_all || deletions.iter().any(knew_of) && !passed.iter().rev().any(saw) {
                    past.push(chars);
                    continue;
                }
                // Whoever knows of a deletion has seen these, then.
                if is_shown && deletions.iter().all(|deletion| self.knew(*deletion, chars.0)) {
                    return past;
                }
                settled = settled.filter(|_| !is_shown).map(|last| {
                    let deletions = self.deletions_of(chars).into_iter();
                    deletions.fold(last, |last, by| last.max(by.start + by.len - 1))
                });
                passed.push(Passed { chars, is_shown });
            }
        }
        past
    }
}
