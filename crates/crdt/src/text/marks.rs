//! Marks: what is said about stretches of a text, as that they are bold or a link.
//!
//! A mark is a key and a value for the characters between two anchors, and an anchor is a side of a
//! character, be that shown or deleted, so that marks stay with their characters whatever is edited
//! around them (Litt, Lim, Kleppmann and van Hardenberg, "Peritext: A CRDT for Collaborative
//! Rich Text Editing", CSCW 2022). Nothing is kept at the characters: which mark holds
//! where follows from the log, is worked out when it is asked for and kept until the text changes.
//!
//! Merge rule in one sentence: of all marks of a key that cover a character the one with the
//! greatest `(stamp, peer)` holds, and null is the value of a character without marks.

use std::cell::OnceCell;
use std::cmp::Ordering;
use std::sync::Arc;

use crate::cell_log::CellLog;
use crate::cells::{CellOp, RowRef};
use crate::codec::{Input, Writer};
use crate::container::ContainerId;
use crate::gather::Gather;
use crate::graph::{Graph, Lv};
use crate::id::{OpId, PeerId};
use crate::names::{NameIx, Names};
use crate::patch::Patch;
use crate::sorting::sort;
use crate::stamp::Stamp;
use crate::text::edge::{Edges, without};
use crate::text::{Reborn, Runs, TextState, Tracker, earlier_life};
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

/// A mark that holds from one position to another (exclusive).
pub(crate) type Hold = (u32, u32, Lv);

/// Which marks hold where, by the key's number and by position. Those whose value is null do too.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Holding(Vec<Vec<Hold>>);

impl Holding {
    pub(crate) fn of(&self, key: NameIx) -> &[Hold] {
        self.0.get(key as usize).map_or(&[], |holds| holds)
    }

    fn of_mut(&mut self, key: NameIx) -> &mut Vec<Hold> {
        let key = key as usize;
        self.0.resize_with(self.0.len().max(key + 1), Vec::new);
        &mut self.0[key]
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = NameIx> {
        (0..).zip(&self.0).filter(|(_, holds)| !holds.is_empty()).map(|(key, _)| key)
    }

    /// The keys of marks between two positions.
    pub(crate) fn keys_in(&self, from: u32, to: u32) -> impl Iterator<Item = NameIx> {
        let is_in = move |holds: &[Hold]| {
            let first = holds.get(holds.partition_point(|(_, end, _)| *end <= from));
            first.is_some_and(|(start, _, _)| *start < to)
        };
        (0..).zip(&self.0).filter(move |(_, holds)| is_in(holds)).map(|(key, _)| key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (NameIx, Hold)> {
        (0..).zip(&self.0).flat_map(|(key, holds)| holds.iter().map(move |hold| (key, *hold)))
    }

    /// Appends the holds of each key: how far from the one before, length, mark.
    pub(crate) fn encode(&self, out: &mut Writer) {
        out.len(self.keys().count());
        for key in self.keys() {
            let holds = self.of(key);
            out.varint(u64::from(key));
            out.len(holds.len());
            let mut last = 0;
            for (start, end, lv) in holds {
                out.varint(u64::from(start - last));
                out.varint(u64::from(end - start));
                out.varint(u64::from(*lv));
                last = *end;
            }
        }
    }

    /// Reads what [`Holding::encode`] wrote for a text of `len` characters with so many keys; all
    /// local versions are below `below`.
    pub(crate) fn decode(input: &mut Input<'_>, keys: usize, len: u32, below: Lv) -> Self {
        let mut held = Self::default();
        for _ in 0..input.count(2) {
            let (key, mut last) = (input.varint_u32(), 0u32);
            if key as usize >= keys {
                input.refuse::<()>("mark key");
                break;
            }
            let mut holds = Vec::new();
            for _ in 0..input.count(3) {
                let start = last.checked_add(input.varint_u32());
                let (size, lv) = (input.varint_u32(), input.varint_u32());
                let end = start.and_then(|start| start.checked_add(size));
                let end = end.filter(|end| size > 0 && *end <= len && lv < below);
                last = input.some(end, "mark");
                holds.push((last.saturating_sub(size), last, lv));
            }
            *held.of_mut(key) = holds;
        }
        held
    }

    /// Lets a mark hold where it is, whatever held there.
    pub(crate) fn put(&mut self, key: NameIx, (start, end, lv): Hold) {
        if start >= end {
            return;
        }
        let holds = self.of_mut(key);
        let first = holds.partition_point(|(_, end, _)| *end <= start);
        let last = holds.partition_point(|(start, _, _)| *start < end);
        let (mut left, mut right) = (None, None);
        if first < last {
            let (cut, other) = (holds[first], holds[last - 1]);
            left = (cut.0 < start).then_some((cut.0, start, cut.2));
            right = (other.1 > end).then_some((end, other.1, other.2));
        }
        let later = holds.split_off(last.max(first));
        holds.truncate(first);
        holds.extend(left);
        holds.push((start, end, lv));
        holds.extend(right);
        holds.extend(later);
    }
}

/// The mark of a list that holds at a position.
pub(crate) fn hold_at(holds: &[Hold], pos: u32) -> Option<Lv> {
    let (start, _, lv) = holds.get(holds.partition_point(|(_, end, _)| *end <= pos))?;
    (*start <= pos).then_some(*lv)
}

/// What a key's value is from one position to another; nowhere null, ascending.
pub(crate) type Values = Vec<(u32, u32, Value)>;

/// The values of marks that hold.
pub(crate) fn values_of(log: &CellLog, holds: &[Hold]) -> Values {
    values_in(log, holds, (0, u32::MAX))
}

/// The values of marks that hold between two positions, cut off there.
pub(crate) fn values_in(log: &CellLog, holds: &[Hold], (from, to): (u32, u32)) -> Values {
    let first = holds.partition_point(|(_, end, _)| *end <= from);
    let holds = holds[first..].iter().take_while(|(start, _, _)| *start < to);
    let value = |(start, end, lv): &Hold| {
        let value = log.value(*lv, None).filter(|value| *value != Value::Null)?;
        Some(((*start).max(from), (*end).min(to), value))
    };
    holds.filter_map(value).gather()
}

/// Where values differ, and what they are there afterwards.
pub(crate) fn changes(before: &Values, after: &Values) -> Values {
    let edges = |values: &Values| -> Vec<u32> {
        values.iter().flat_map(|(start, end, _)| [*start, *end]).gather()
    };
    let mut cuts = [edges(before), edges(after)].concat();
    sort(&mut cuts);
    cuts.dedup();
    let mut changes = Values::new();
    for cut in cuts.windows(2) {
        let (start, end) = (cut[0], cut[1]);
        let [old, new] = [before, after].map(|values| {
            let at = values.get(values.partition_point(|(_, end, _)| *end <= start));
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
    pub(crate) fn of(
        whole: &Tracker,
        reborn: &[Reborn],
        chars: impl IntoIterator<Item = (u32, Lv)>,
    ) -> Vec<Self> {
        let mut all = Vec::<Self>::new();
        for (pos, id) in chars {
            let earlier = |(id, _): &(Lv, Lv)| earlier_life(reborn, *id);
            let earlier = std::iter::successors(earlier(&(id, 0)), earlier);
            let earlier = earlier.take_while(|(id, _)| whole.tracks(*id)).gather();
            let new = Self { pos, len: 1, id, earlier };
            match all.last_mut() {
                Some(last) if last.goes_on(&new) => last.len += 1,
                _ => all.push(new),
            }
        }
        all
    }
}

/// The marks of a text: their keys, and which of them hold where.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    pub(crate) keys: Names,
    pub(crate) held: OnceCell<Holding>,
}

impl TextState {
    /// The character that an author saw under this id before its operation `lv`.
    pub(crate) fn char_ref(graph: &Graph, runs: &Runs, char: OpId, lv: Lv) -> RowRef {
        match graph.lv_of(char).filter(|known| *known < lv && runs.is_insertion(*known)) {
            Some(known) if graph.is_before(known, lv) => RowRef::Known(known),
            _ => RowRef::Stray(char),
        }
    }

    /// Which marks hold where in what is shown.
    pub(crate) fn held(&self, log: &CellLog, graph: &Graph, runs: &Runs) -> &Holding {
        self.marks.held.get_or_init(|| self.held_by(log, graph, runs, &|_| true))
    }

    /// The same if there were no marks but those that count.
    pub(crate) fn held_by(
        &self,
        log: &CellLog,
        graph: &Graph,
        runs: &Runs,
        counts: &dyn Fn(Lv) -> bool,
    ) -> Holding {
        if log.is_empty() {
            return Holding::default();
        }
        let whole = self.whole(graph, runs);
        let (len, edges) = (self.rope.len() as u32, Edges::new(&whole, graph, runs.ground()));
        let mut marks = Vec::new();
        for (lv, op) in log.ops(0, Lv::MAX).filter(|(lv, _)| counts(*lv)) {
            if let CellOp::Mark { key, range, .. } = op {
                for (start, end) in edges.positions_of(lv, range, len) {
                    marks.push((graph.rank_of(lv), key, (start, end, lv)));
                }
            }
        }
        paint(marks)
    }

    /// What marks from `start` on, which are new, changed about the text as it is now.
    pub(crate) fn mark_changes(
        &self,
        log: &CellLog,
        graph: &Graph,
        runs: &Runs,
        start: Lv,
    ) -> Vec<(Arc<str>, Values)> {
        let key = |(_, op)| match op {
            CellOp::Mark { key, .. } => Some(key),
            _ => None,
        };
        let mut keys: Vec<NameIx> = log.ops(start, Lv::MAX).filter_map(key).gather();
        sort(&mut keys);
        keys.dedup();
        if keys.is_empty() {
            return Vec::new();
        }
        let before = self.held_by(log, graph, runs, &|lv| lv < start);
        let after = self.held(log, graph, runs);
        let values = |held: &Holding, key| values_of(log, held.of(key));
        let changes = |key| changes(&values(&before, key), &values(after, key));
        let told = keys.into_iter().map(|key| (self.marks.keys.get(key).clone(), changes(key)));
        told.gather()
    }
}

/// What tells which marks came in: see [`crate::container::Followed`].
pub(crate) trait FollowMarks: Sync {
    /// What marks from `start` on changed.
    fn changes(
        &self,
        id: &ContainerId,
        state: &TextState,
        log: &CellLog,
        graph: &Graph,
        runs: &Runs,
        start: Lv,
    ) -> Vec<Patch>;
}

pub(crate) struct AllMarks;

impl FollowMarks for AllMarks {
    fn changes(
        &self,
        id: &ContainerId,
        state: &TextState,
        log: &CellLog,
        graph: &Graph,
        runs: &Runs,
        start: Lv,
    ) -> Vec<Patch> {
        let told = state.mark_changes(log, graph, runs, start).into_iter();
        told.flat_map(|(key, changes)| patches_of(id, &key, changes).gather()).gather()
    }
}

/// Changes of a key's values as patches.
pub(crate) fn patches_of(
    id: &ContainerId,
    key: &Arc<str>,
    changes: Values,
) -> impl Iterator<Item = Patch> {
    changes.into_iter().map(|(start, end, value)| {
        let (id, key) = (id.clone(), key.clone());
        Patch::Marks { id, start, end, key, value }
    })
}

/// Lets marks hold in the order of their ranks, each where it is.
fn paint(mut marks: Vec<((Stamp, PeerId), NameIx, Hold)>) -> Holding {
    sort(&mut marks);
    let mut held = Holding::default();
    for (_, key, hold) in marks {
        held.put(key, hold);
    }
    held
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
        let logged = log.ops(0, Lv::MAX).filter_map(|(lv, op)| match op {
            CellOp::Mark { key, range, .. } if !self.is_void(lv, range) => {
                // What was typed in front of its start may have joined it.
                let start = at(range[0], 0).map(|start| match range[0] {
                    Anchor::After(_) => 0,
                    _ => start,
                });
                Some(Logged { lv, key, range, bounds: (start?, at(range[1], len)?) })
            }
            _ => None,
        });
        logged.gather()
    }

    /// Which marks hold over characters that have had several lives, if there were no marks but
    /// those that count. A mark is about the first life of whose end its author did not know.
    pub(crate) fn held_over(
        &self,
        marks: &[Logged],
        chars: &Lives,
        counts: &dyn Fn(Lv) -> bool,
    ) -> Holding {
        let place = |id| {
            let at = |id| self.whole.position_of(id).0;
            (at(id), at(id + chars.len - 1) + 1)
        };
        let ids = chars.earlier.iter().map(|(id, _)| *id).chain([chars.id]);
        let places: Vec<(u32, u32)> = ids.map(place).gather();
        let is_near = |mark: &&Logged| {
            let (start, end) = mark.bounds;
            places.iter().any(|(low, high)| start <= *high && *low <= end)
        };
        let mut near = Vec::new();
        for mark in marks.iter().filter(is_near).filter(|mark| counts(mark.lv)) {
            let was_told =
                |deleted: Lv| deleted < mark.lv && self.graph.is_before(deleted, mark.lv);
            let life = chars.earlier.iter().rev().find(|(_, deleted)| !was_told(*deleted));
            let first = life.map_or(chars.id, |(id, _)| *id);
            for (start, end) in self.offsets_of(mark.range, (first, first + chars.len)) {
                near.push((self.graph.rank_of(mark.lv), mark.key, (start, end, mark.lv)));
            }
        }
        paint(near)
    }

    /// What is shown of a mark of a text that is `len` long, as positions.
    pub(crate) fn positions_of(&self, lv: Lv, range: MarkRange, len: u32) -> Vec<(u32, u32)> {
        if self.is_void(lv, range) {
            return Vec::new();
        }
        let at = |anchor, edge| self.whole.position_of_anchor(anchor, edge);
        self.places_of(range, [at(range[0], 0), at(range[1], len)], &|(start, end)| {
            let shown = self.whole.shown(start, end).into_iter();
            shown.map(|(pos, len)| (pos, pos + len)).gather()
        })
    }

    /// Which of a run of characters are in a range, by how many are before them.
    fn offsets_of(&self, range: MarkRange, (first, upto): (Lv, Lv)) -> Vec<(u32, u32)> {
        let at = |anchor, edge| self.whole.offset_of_anchor(anchor, (first, upto), edge);
        let ends = [at(range[0], 0), at(range[1], upto - first)];
        self.places_of(range, ends, &|(start, end)| {
            let (start, end) = (start.clamp(first, upto), end.clamp(first, upto));
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
        let past = |anchor| match anchor {
            Anchor::After(RowRef::Known(char)) => self.typed_past(char),
            _ => Vec::new(),
        };
        let joining = past(range[0]).into_iter().flat_map(places);
        let joining = joining.map(|(low, high)| (low, high.min(end)));
        let all: Vec<(u32, u32)> = joining.chain([(start, end)]).gather();
        let leaving = past(range[1]).into_iter().flat_map(places);
        leaving.fold(all, |all, range| without(&all, range))
    }
}
