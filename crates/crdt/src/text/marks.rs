//! Marks: what is said about stretches of a text, as that they are bold or a link.
//!
//! A mark is a key and a value for the characters between two anchors, and an anchor is a side of a
//! character, be that shown or deleted, so that marks stay with their characters whatever is edited
//! around them (Litt, Lim, Kleppmann and van Hardenberg, "Peritext: A CRDT for Collaborative
//! Rich Text Editing", CSCW 2022). Nothing is kept at the characters: which mark holds
//! where follows from the log, is worked out when it is asked for, and goes with the text from then
//! on, until something is merged whose author had not seen all that is here ([`super::places`]).
//!
//! Merge rule in one sentence: of all marks of a key that cover a character the one with the
//! greatest `(stamp, peer)` holds, and null is the value of a character without marks.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::cell_log::CellLog;
use crate::cells::{CellOp, RowRef};
use crate::codec::{Input, Writer};
use crate::container::ContainerId;
use crate::graph::{Graph, Lv};
use crate::id::OpId;
use crate::names::NameIx;
use crate::patch::Patch;
use crate::search::Search;
use crate::sorting::sort_set;
use crate::text::edge::{Edges, without};
use crate::text::holding::{Hold, Holding, paint};
use crate::text::{Rebirths, Runs, TextState, Tracker};
use crate::value::Value;

/// The longest key that a mark can have, in bytes of UTF-8.
pub const MARK_KEY_BYTES_MAX: usize = 256;

/// Where a mark starts or ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Anchor {
    /// At the start of the text if it starts there, at the end if it ends.
    #[default]
    Edge,
    /// Between a character and what is before it.
    Before(RowRef),
    /// Between a character and what is after it.
    After(RowRef),
}

/// From where to where a mark goes.
pub(crate) type MarkRange = [Anchor; 2];

impl Anchor {
    pub(crate) fn row(self) -> Option<RowRef> {
        match self {
            Self::Edge => None,
            Self::Before(row) | Self::After(row) => Some(row),
        }
    }

    pub(crate) fn map_row(self, row_of: &mut dyn FnMut(RowRef) -> RowRef) -> Self {
        match self {
            Self::Edge => Self::Edge,
            Self::Before(row) => Self::Before(row_of(row)),
            Self::After(row) => Self::After(row_of(row)),
        }
    }

    pub(super) fn code(self) -> u8 {
        match self {
            Self::Edge => 0,
            Self::Before(_) => 1,
            Self::After(_) => 2,
        }
    }

    fn decode(code: u8, input: &mut Input<'_>) -> Self {
        match code {
            0 => Self::Edge,
            1 => Self::Before(RowRef::decode(input)),
            2 => Self::After(RowRef::decode(input)),
            _ => input.refuse("anchor"),
        }
    }
}

/// Appends a range: the kinds of both anchors, then their characters.
pub(crate) fn encode_range(range: &MarkRange, out: &mut Writer) {
    out.u8(range[0].code() | range[1].code() << 2);
    for row in range.iter().filter_map(|anchor| anchor.row()) {
        row.encode(out);
    }
}

pub(crate) fn decode_range(input: &mut Input<'_>) -> MarkRange {
    let code = input.u8();
    [Anchor::decode(code & 3, input), Anchor::decode(code >> 2, input)]
}

/// Whether a mark can have this key.
pub(crate) fn is_key(key: &str) -> bool {
    (1..=MARK_KEY_BYTES_MAX).contains(&key.len())
}

/// What a key's value is from one position to another; nowhere null, ascending.
pub(crate) type Values = Vec<(u32, u32, Value)>;

/// What a mark says; null if there is none.
pub(crate) fn value_of(log: &CellLog, lv: Option<Lv>) -> Value {
    lv.and_then(|lv| log.value(lv, None)).unwrap_or_default()
}

/// The values of marks that hold.
pub(crate) fn values_of(log: &CellLog, holds: &[Hold]) -> Values {
    values_in(log, holds, (0, u32::MAX))
}

/// The values of marks that hold between two positions, cut off there.
pub(crate) fn values_in(log: &CellLog, holds: &[Hold], (from, to): (u32, u32)) -> Values {
    let mut values = Values::new();
    for (start, end, lv) in &holds[holds.count_while(|(_, end, _)| *end <= from)..] {
        if *start >= to {
            break;
        }
        let value = value_of(log, Some(*lv));
        if value != Value::Null {
            values.push(((*start).max(from), (*end).min(to), value));
        }
    }
    values
}

/// Where values differ, and what they are there afterwards.
pub(crate) fn changes(before: &Values, after: &Values) -> Values {
    let mut cuts = Vec::new();
    for values in [before, after] {
        for (start, end, _) in values {
            cuts.push(*start);
            cuts.push(*end);
        }
    }
    sort_set(&mut cuts);
    let mut changes = Values::new();
    for cut in cuts.windows(2) {
        let (start, end) = (cut[0], cut[1]);
        let [old, new] = [before, after].map(|values| {
            let at = values.get(values.count_while(|(_, end, _)| *end <= start));
            at.filter(|(from, _, _)| *from <= start).map(|(_, _, value)| value)
        });
        if old == new {
            continue;
        }
        let new = new.cloned().unwrap_or_default();
        match changes.last_mut() {
            Some(last) if last.1 == start && last.2 == new => last.1 = end,
            _ => changes.push((start, end, new)),
        }
    }
    changes
}

/// Characters that are shown next to each other, under ids that follow each other, and were so in
/// each of their lives: see [`crate::text::Reborn`].
#[derive(Clone, Debug)]
pub(crate) struct Lives {
    pub(crate) pos: u32,
    pub(crate) len: u32,
    /// The id of the first.
    pub(crate) id: Lv,
    /// The ids that the first had before, the latest first, and what deleted it then.
    pub(crate) earlier: Vec<(Lv, Lv)>,
}

impl Lives {
    /// Whether a character goes on from these.
    fn goes_on(&self, next: &Self) -> bool {
        let by = self.len;
        let follows =
            |((a, deleted), (b, then)): (&(Lv, Lv), &(Lv, Lv))| a + by == *b && deleted == then;
        self.pos + by == next.pos
            && self.id + by == next.id
            && self.earlier.len() == next.earlier.len()
            && self.earlier.iter().zip(&next.earlier).all(follows)
    }

    /// The lives of characters that are shown, each given as position and id. What was trimmed
    /// away is left out.
    pub(crate) fn of(whole: &Tracker, reborn: &Rebirths, chars: &[(u32, Lv)]) -> Vec<Self> {
        let mut all = Vec::<Self>::new();
        for (pos, id) in chars {
            let mut new = Self { pos: *pos, len: 1, id: *id, earlier: Vec::new() };
            let mut first = *id;
            while let Some(life) = reborn.earlier_life(first).filter(|(id, _)| whole.tracks(*id)) {
                first = life.0;
                new.earlier.push(life);
            }
            match all.last_mut() {
                Some(last) if last.goes_on(&new) => last.len += 1,
                _ => all.push(new),
            }
        }
        all
    }
}

impl TextState {
    /// The character that an author saw under this id before its operation `lv`.
    pub(crate) fn char_ref(graph: &Graph, runs: &Runs, char: OpId, lv: Lv) -> RowRef {
        match graph.lv_of(char).filter(|known| *known < lv && runs.is_insertion(*known)) {
            Some(known) if graph.is_before(known, lv) => RowRef::Known(known),
            _ => RowRef::Stray(char),
        }
    }
}

/// The marks of a log from `start` on.
pub(super) fn marks_from(log: &CellLog, start: Lv) -> Vec<(Lv, NameIx, MarkRange)> {
    let mut marks = Vec::new();
    for (lv, op) in log.ops(start, Lv::MAX) {
        if let CellOp::Mark { key, range, .. } = op {
            marks.push((lv, key, range));
        }
    }
    marks
}

/// Changes of a key's values as patches.
pub(crate) fn patches_of(id: &ContainerId, key: &Arc<str>, changes: Values) -> Vec<Patch> {
    let mut patches = Vec::new();
    for (start, end, value) in changes {
        patches.push(Patch::Marks { id: id.clone(), start, end, key: key.clone(), value });
    }
    patches
}

/// A mark from the log.
pub(crate) struct Logged {
    pub(crate) lv: Lv,
    pub(crate) key: NameIx,
    pub(crate) range: MarkRange,
    /// It reaches no further than between these positions.
    pub(crate) bounds: (u32, u32),
}

impl Tracker {
    /// The character of an anchor; none at the text's edge.
    fn char_of(&self, anchor: Anchor) -> Option<Option<Lv>> {
        match anchor.row() {
            None => Some(None),
            Some(RowRef::Known(char)) if self.tracks(char) => Some(Some(char)),
            // Nobody can have seen it: what it is about does nothing.
            Some(_) => None,
        }
    }

    /// The position of an anchor in what is shown.
    fn position_of_anchor(&self, anchor: Anchor, edge: u32) -> Option<u32> {
        let Some(char) = self.char_of(anchor)? else { return Some(edge) };
        let (pos, is_shown) = self.position_of(char);
        Some(pos + u32::from(is_shown && matches!(anchor, Anchor::After(_))))
    }

    /// How many of a run of characters are before an anchor.
    fn offset_of_anchor(&self, anchor: Anchor, (start, end): (Lv, Lv), edge: u32) -> Option<u32> {
        let Some(char) = self.char_of(anchor)? else { return Some(edge) };
        let is_before = |other: Lv| match self.order(other, char) {
            Ordering::Less => true,
            Ordering::Equal => matches!(anchor, Anchor::After(_)),
            Ordering::Greater => false,
        };
        let (mut low, mut high) = (start, end);
        while low < high {
            let middle = low + (high - low) / 2;
            if is_before(middle) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Some(low - start)
    }

    /// The characters of a range, shown or not, as ranges of ids in their order.
    pub(crate) fn between(&self, range: MarkRange) -> Vec<(Lv, Lv)> {
        let [Some(start), Some(end)] = range.map(|anchor| self.char_of(anchor)) else {
            return Vec::new();
        };
        if let (Some(start), Some(end)) = (start, end)
            && self.order(start, end).is_gt()
        {
            return Vec::new();
        }
        let mut chars = Vec::new();
        for (mut low, mut high) in self.items_from(start) {
            let has = |char: &Lv| (low..high).contains(char);
            let (first, last) = (start.filter(has), end.filter(has));
            if let Some(first) = first {
                low = first + u32::from(matches!(range[0], Anchor::After(_)));
            }
            if let Some(last) = last {
                high = last + u32::from(matches!(range[1], Anchor::After(_)));
            }
            if low < high {
                chars.push((low, high));
            }
            if last.is_some() {
                break;
            }
        }
        chars
    }
}

impl Edges<'_> {
    /// The marks of a text that is `len` long, but for those that are void.
    pub(crate) fn logged(&self, log: &CellLog, len: u32) -> Vec<Logged> {
        let at = |anchor, edge| self.whole.position_of_anchor(anchor, edge);
        let mut logged = Vec::new();
        for (lv, key, range) in marks_from(log, 0) {
            if self.is_void(lv, range) {
                continue;
            }
            if let (Some(mut start), Some(end)) = (at(range[0], 0), at(range[1], len)) {
                // What was typed in front of its start may have joined it.
                if matches!(range[0], Anchor::After(_)) {
                    start = 0;
                }
                logged.push(Logged { lv, key, range, bounds: (start, end) });
            }
        }
        logged
    }

    /// Which marks hold over characters that have had several lives, if there were no marks but
    /// those that count. A mark is about the first life of whose end its author did not know.
    pub(crate) fn held_over(
        &self,
        marks: &[Logged],
        chars: &Lives,
        counts: &dyn Fn(Lv) -> bool,
    ) -> Holding {
        let mut places = Vec::new();
        let mut note = |id| {
            let at = |id| self.whole.position_of(id).0;
            places.push((at(id), at(id + chars.len - 1) + 1));
        };
        note(chars.id);
        chars.earlier.iter().for_each(|(id, _)| note(*id));
        let mut near = Vec::new();
        for Logged { lv, key, range, bounds: (start, end) } in marks {
            let is_near = places.iter().any(|(low, high)| start <= high && low <= end);
            if !is_near || !counts(*lv) {
                continue;
            }
            let was_told = |deleted: Lv| deleted < *lv && self.graph.is_before(deleted, *lv);
            let life = chars.earlier.iter().rev().find(|(_, deleted)| !was_told(*deleted));
            let first = life.map_or(chars.id, |(id, _)| *id);
            for (start, end) in self.offsets_of(*range, (first, first + chars.len)) {
                near.push((*key, (start, end, *lv)));
            }
        }
        paint(self.graph, &near)
    }

    /// What is shown of a mark of a text that is `len` long, as positions.
    pub(crate) fn positions_of(&self, lv: Lv, range: MarkRange, len: u32) -> Vec<(u32, u32)> {
        self.between(range, self.ends_of(lv, range, len))
    }

    /// Where a mark of a text that is `len` long starts and ends; nowhere if it is void.
    pub(super) fn ends_of(&self, lv: Lv, range: MarkRange, len: u32) -> [Option<u32>; 2] {
        if self.is_void(lv, range) {
            return [None; 2];
        }
        let at = |anchor, edge| self.whole.position_of_anchor(anchor, edge);
        [at(range[0], 0), at(range[1], len)]
    }

    /// What is shown of a range with these ends, as positions.
    pub(super) fn between(&self, range: MarkRange, ends: [Option<u32>; 2]) -> Vec<(u32, u32)> {
        self.places_of(range, ends, &|(start, end)| {
            let mut shown = self.whole.shown(start, end);
            shown.iter_mut().for_each(|(pos, len)| *len += *pos);
            shown
        })
    }

    /// Which of a run of characters are in a range, by how many are before them.
    fn offsets_of(&self, range: MarkRange, (first, upto): (Lv, Lv)) -> Vec<(u32, u32)> {
        let at = |anchor, edge| self.whole.offset_of_anchor(anchor, (first, upto), edge);
        let ends = [at(range[0], 0), at(range[1], upto - first)];
        self.places_of(range, ends, &|(start, end)| {
            let (start, end) = (start.max(first).min(upto), end.max(first).min(upto));
            vec![(start - first, end - first)]
        })
    }

    /// What is in a range, given where its ends are and what places characters have; nothing if
    /// it has an end that its author cannot have seen.
    fn places_of(
        &self,
        range: MarkRange,
        ends: [Option<u32>; 2],
        places: &dyn Fn((Lv, Lv)) -> Vec<(u32, u32)>,
    ) -> Vec<(u32, u32)> {
        let [Some(start), Some(end)] = ends else { return Vec::new() };
        let past = |anchor| {
            let mut past = Vec::new();
            if let Anchor::After(RowRef::Known(char)) = anchor {
                for chars in self.typed_past(char) {
                    past.append(&mut places(chars));
                }
            }
            past
        };
        let mut all = past(range[0]);
        all.iter_mut().for_each(|(_, high)| *high = end.min(*high));
        all.push((start, end));
        for leaving in past(range[1]) {
            all = without(&all, leaving);
        }
        all
    }
}
