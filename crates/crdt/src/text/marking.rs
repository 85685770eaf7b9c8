//! Marking text, and taking marks back.

use std::ops::Range;

use crate::cell_log::CellLog;
use crate::cells::{CellOp, RowRef};
use crate::container::{ContainerIx, Content, FOLLOWED};
use crate::doc::Doc;
use crate::graph::{Graph, Lv};
use crate::names::NameIx;
use crate::sorting::{sort, sort_by};
use crate::text::edge::Edges;
use crate::text::following::AllMarks;
use crate::text::holding::{Hold, hold_at};
use crate::text::marks::{Anchor, Lives, Logged, MarkRange, value_of, values_in, values_of};
use crate::text::{RunKind, Runs, TextError, TextState, changes, is_key, patches_of};
use crate::transaction::{TextMut, Transaction};
use crate::undo::Inverse;
use crate::value::Value;

/// Whether text that anyone types at a mark's edge gets the mark. Text typed inside it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Expand {
    /// At neither edge: as of links and comments.
    None,
    /// At its start.
    Before,
    /// At its end: as of bold.
    #[default]
    After,
    /// At both.
    Both,
}

impl Expand {
    fn grows(self) -> [Option<bool>; 2] {
        let grows_before = matches!(self, Self::Before | Self::Both);
        [Some(grows_before), Some(matches!(self, Self::After | Self::Both))]
    }
}

/// Whether a mark expands at its start and at its end.
fn growth_of(range: MarkRange) -> [bool; 2] {
    [!matches!(range[0], Anchor::Before(_)), !matches!(range[1], Anchor::After(_))]
}

/// A stretch to be marked, with what; and whether that expands at its start and at its end, where
/// that does not follow from what it takes back.
type Put = (Range<usize>, Value, [Option<bool>; 2]);

impl TextMut<'_, '_> {
    fn state(&self) -> (&CellLog, &TextState, &Graph, &Runs) {
        self.tx.doc().marked_text(self.index)
    }

    fn check_mark(&self, range: &Range<usize>, key: &str) -> Result<(), TextError> {
        self.check(range.end)?;
        if range.is_empty() {
            return Err(TextError::NothingToMark);
        }
        if is_key(key) { Ok(()) } else { Err(TextError::MarkKey) }
    }

    /// Marks the characters from `range.start` to `range.end` (exclusive): says that of this `key`
    /// they have this `value`, whatever it was. Null is the value of what is not marked. Levels of
    /// the value nested deeper than [`crate::MAX_NESTING`] are stored as null.
    ///
    /// Merge rule in one sentence: of the marks of a key that reach a character, the one with the
    /// greatest `(stamp, peer)` holds, character by character, and marks of different keys do not
    /// touch one another: those that may overlap, as comments, have a key each.
    ///
    /// ```
    /// use leptos_sync_crdt::{Doc, Expand, PeerId};
    /// let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
    /// ada.transact(0, |tx| tx.text("note").insert(0, "one two three")).0?;
    /// ben.import(0, ada.blocks_since(ben.version()))?;
    ///
    /// // One makes the first two words bold, the other the last two plain, a minute later; and
    /// // both comment on what they changed.
    /// ada.transact(0, |tx| {
    ///     tx.text("note").mark(0..7, "bold", true, Expand::After)?;
    ///     tx.text("note").mark(0..7, "comment/1", "bold?", Expand::None)
    /// }).0?;
    /// ben.transact(60_000, |tx| {
    ///     tx.text("note").mark(4..13, "bold", false, Expand::After)?;
    ///     tx.text("note").mark(4..13, "comment/2", "plain?", Expand::None)
    /// }).0?;
    /// ada.import(0, ben.blocks_since(ada.version()))?;
    /// ben.import(0, ada.blocks_since(ben.version()))?;
    /// for doc in [&ada, &ben] {
    ///     let spans = doc.text("note").spans();
    ///     let told: Vec<_> = spans.iter().map(|span| (&*span.text, &*span.marks)).collect();
    ///     let [one, two] = [("comment/1", "bold?"), ("comment/2", "plain?")]
    ///         .map(|(key, value)| (key.into(), value.into()));
    ///     let bold = |is_bold: bool| ("bold".into(), is_bold.into());
    ///     assert_eq!(told, [
    ///         ("one ", &[bold(true), one.clone()][..]),
    ///         ("two", &[bold(false), one, two.clone()]), // plain, with both comments
    ///         (" three", &[bold(false), two]),
    ///     ]);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Whether text that is typed at its edges gets the mark is for `expand` to say:
    ///
    /// ```
    /// use leptos_sync_crdt::{Doc, Expand, PeerId};
    /// let mut doc = Doc::new(PeerId(1));
    /// doc.transact(0, |tx| {
    ///     tx.text("note").insert(0, "see the docs")?;
    ///     tx.text("note").mark(8..12, "link", "https://example.org", Expand::None)?;
    ///     tx.text("note").insert(12, "!") // not part of the link
    /// }).0?;
    /// assert_eq!(doc.text("note").marks_at(11), [("link".into(), "https://example.org".into())]);
    /// assert_eq!(doc.text("note").marks_at(12), []);
    /// # Ok::<(), leptos_sync_crdt::TextError>(())
    /// ```
    ///
    /// # Errors
    /// [`TextError::OutOfRange`] past the end, [`TextError::NothingToMark`] if the range is empty,
    /// [`TextError::MarkKey`] if the key is empty or longer than [`crate::MARK_KEY_BYTES_MAX`].
    pub fn mark(
        &mut self,
        range: Range<usize>,
        key: &str,
        value: impl Into<Value>,
        expand: Expand,
    ) -> Result<(), TextError> {
        self.check_mark(&range, key)?;
        let Content::Text(_, state) = &mut self.tx.doc_mut().containers.get_mut(self.index).content
        else {
            return Ok(());
        };
        let key = state.marks.keys.intern(key);
        let lv = self.put_mark(key, (range, value.into().shallow(), expand.grows()));
        self.tx.note(Inverse::Marked { index: self.index, lv });
        Ok(())
    }

    /// Takes the marks of a key from the characters from `range.start` to `range.end` (exclusive).
    /// What is left of them on either side expands as before. Where nothing is marked, nothing is
    /// written.
    ///
    /// # Errors
    /// As [`TextMut::mark`].
    pub fn unmark(&mut self, range: Range<usize>, key: &str) -> Result<(), TextError> {
        self.check_mark(&range, key)?;
        let (log, state, graph, runs) = self.state();
        let Some(key) = state.marks.keys.find(key) else { return Ok(()) };
        let holds = state.held(log, graph, runs).of(key);
        let there = values_in(log, holds, (range.start as u32, range.end as u32));
        if !there.is_empty() {
            let lv = self.put_mark(key, (range, Value::Null, [None; 2]));
            self.tx.note(Inverse::Marked { index: self.index, lv });
        }
        Ok(())
    }

    /// Writes a mark, which nothing here overrules.
    fn put_mark(&mut self, key: NameIx, (range, value, grows): Put) -> Lv {
        let (log, state, graph, runs) = self.state();
        let (start, end) = (range.start as u32, range.end as u32);
        let holds = state.held(log, graph, runs).of(key);
        let before = values_in(log, holds, (start, end));
        let after =
            if value == Value::Null { Vec::new() } else { vec![(start, end, value.clone())] };
        let told = changes(&before, &after);
        let removal = self.growth_of_removal(key, &range);
        let grows = [0, 1].map(|side| grows[side].unwrap_or(removal[side]));
        let op = CellOp::Mark { key, range: self.anchors(&range, grows), value };
        let lv = self.write_mark(&op);
        let (history, containers) = self.tx.doc_mut().parts_mut();
        let container = containers.get_mut(self.index);
        if let Content::Text(_, state) = &mut container.content {
            if let Some(known) = state.marks.known_mut() {
                known.lay(&history.graph, (key, (start, end, lv)));
            }
            let patches = patches_of(&container.id, state.marks.keys.get(key), told);
            let edits = &mut self.tx.doc_mut().local_edits;
            for patch in patches {
                edits.push((lv, patch));
            }
        }
        lv
    }

    /// Takes a mark into the log; what holds where is for the caller to say.
    fn write_mark(&mut self, op: &CellOp) -> Lv {
        let lv = self.tx.begin(1, self.index);
        FOLLOWED.marks.get_or_init(|| &AllMarks);
        let (history, containers) = self.tx.doc_mut().parts_mut();
        history.runs_mut(self.index).push_run(lv, 0, 1, RunKind::Aside, "", false);
        if let Content::Text(log, _) = &mut containers.get_mut(self.index).content {
            log.push(lv, op);
        }
        lv
    }

    /// Writes a mark of another document again, which names characters here.
    pub(crate) fn mark_again(&mut self, op: &CellOp) {
        self.write_mark(op);
        let container = self.tx.doc_mut().containers.get_mut(self.index);
        if let Content::Text(_, state) = &mut container.content {
            state.marks.forget();
        }
    }

    /// How what takes marks back expands: as far as it can, unless what is left beside it does.
    fn growth_of_removal(&self, key: NameIx, range: &Range<usize>) -> [bool; 2] {
        let (log, state, graph, runs) = self.state();
        let holds = state.held(log, graph, runs).of(key);
        let beside = |pos: usize| match log.get(hold_at(holds, pos as u32)?)? {
            CellOp::Mark { range, value, .. } if value != Value::Null => Some(growth_of(range)),
            _ => None,
        };
        let left = range.start.checked_sub(1).and_then(beside);
        let right = beside(range.end);
        [!left.is_some_and(|grows| grows[1]), !right.is_some_and(|grows| grows[0])]
    }

    fn anchors(&self, range: &Range<usize>, grows: [bool; 2]) -> MarkRange {
        let (_, state, graph, runs) = self.state();
        let whole = state.whole(graph, runs);
        // Beyond the ends there is none; nor is there anywhere if the history was not sound.
        let char = |pos: Option<usize>, side: fn(RowRef) -> Anchor| {
            let char = pos.and_then(|pos| whole.id_at(pos as u32)).filter(|id| whole.tracks(*id));
            char.map_or(Anchor::Edge, |id| side(RowRef::Known(id)))
        };
        let start = match grows[0] {
            true => char(range.start.checked_sub(1), Anchor::After),
            false => char(Some(range.start), Anchor::Before),
        };
        let end = match grows[1] {
            true => char(Some(range.end).filter(|end| *end < state.rope.len()), Anchor::Before),
            false => char(range.end.checked_sub(1), Anchor::After),
        };
        [start, end]
    }
}

impl Doc {
    fn marked_text(&self, index: ContainerIx) -> (&CellLog, &TextState, &Graph, &Runs) {
        let history = self.history();
        match &self.containers.get(index).content {
            Content::Text(log, state) => (log, state, &history.graph, history.runs(index)),
            _ => unreachable!("a text's number is that of a text"),
        }
    }

    /// What takes back marks of ours: for each stretch where a mark of ours holds, what would hold
    /// without these and those that we made later.
    fn plan_to_take_back(&self, index: ContainerIx, taken: &[Lv]) -> Plan {
        let mut plan = Plan::default();
        let (log, state, graph, runs) = self.marked_text(index);
        let Some(first) = taken.iter().min() else { return plan };
        let stays = |other: Lv| other < *first || !self.is_ours(Some(other));
        let (now, then) =
            (state.held(log, graph, runs), state.known_by(log, graph, runs, &stays).held);
        let whole = state.whole(graph, runs);
        let edges = Edges::new(&whole, graph, runs.ground());
        let len = state.rope.len() as u32;
        let marks = edges.logged(log, len);
        let mut ranges = Vec::<(NameIx, Lv, MarkRange)>::new();
        for lv in taken {
            if let Some(CellOp::Mark { key, range, .. }) = log.get(*lv) {
                ranges.push((key, *lv, range));
            }
        }
        sort_by(&mut ranges, |(a, x, _), (b, y, _)| (a, x) < (b, y));
        for of_key in ranges.chunk_by(|(a, ..), (b, ..)| a == b) {
            let key = of_key[0].0;
            let taking = TakingBack {
                log,
                key,
                marks: &marks,
                holds: [now.of(key), then.of(key)],
                is_taken: &|lv| of_key.binary_search_by_key(&lv, |(_, lv, _)| *lv).is_ok(),
                stays: &stays,
            };
            let chars = self.shown_between(&edges, of_key, len);
            self.plan_for_key(&edges, &taking, chars, &mut plan);
        }
        plan
    }

    /// The same for one key.
    fn plan_for_key(
        &self,
        edges: &Edges<'_>,
        taking: &TakingBack<'_>,
        chars: Vec<Lives>,
        plan: &mut Plan,
    ) {
        let (log, key, [now, then]) = (taking.log, taking.key, taking.holds);
        let mut puts = Vec::<Put>::new();
        for chars in chars {
            let over = |counts: &dyn Fn(Lv) -> bool| {
                edges.held_over(taking.marks, &chars, counts).of(key).to_vec()
            };
            let is_new = chars.earlier.is_empty();
            let lives =
                (!is_new).then(|| [over(taking.is_taken), over(&|_| true), over(taking.stays)]);
            for offset in 0..chars.len {
                let pos = chars.pos + offset;
                let (is_about, held, left) = match &lives {
                    Some(lives) => {
                        let [about, held, left] = lives.each_ref().map(|h| hold_at(h, offset));
                        (about.is_some(), held, left)
                    }
                    None => (true, hold_at(now, pos), hold_at(then, pos)),
                };
                let value = value_of(log, left);
                let there = hold_at(now, pos);
                let grows_so = left.is_none() || growth(log, there) == growth(log, left);
                let is_there = grows_so && value_of(log, there) == value;
                if !is_about || is_there || !self.is_ours(held) {
                    continue;
                }
                // Whoever types inside the mark that comes back types into it.
                let beside = [pos.checked_sub(1), Some(pos + 1)];
                let is_inside = |pos| left.is_some() && hold_at(then, pos) == left;
                let grows = growth(log, left);
                let grows = [0, 1].map(|side| match beside[side] {
                    Some(pos) if is_inside(pos) => Some(true),
                    _ => grows[side],
                });
                let pos = pos as usize;
                push_put(&mut puts, (pos..pos + 1, value, grows));
            }
        }
        // What is marked expands over what is not, and not over what only was taken back.
        for (range, value, grows) in &puts {
            let ends = [range.start, range.end - 1].map(|pos| hold_at(now, pos as u32));
            let outgrew = (0..2).any(|side| {
                growth(log, ends[side])[side] == Some(true) && grows[side] == Some(false)
            });
            if outgrew && *value != Value::Null {
                plan.first.push((key, (range.clone(), Value::Null, [None; 2])));
            }
        }
        plan.add(key, puts);
    }

    /// The characters of ranges that are shown, under whatever id.
    fn shown_between(
        &self,
        edges: &Edges<'_>,
        ranges: &[(NameIx, Lv, MarkRange)],
        len: u32,
    ) -> Vec<Lives> {
        let whole = edges.whole;
        let mut chars: Vec<(u32, Lv)> = Vec::new();
        let mut note = |start: u32, end: u32| {
            for pos in start..end {
                if let Some(id) = whole.id_at(pos) {
                    chars.push((pos, id));
                }
            }
        };
        for (_, lv, range) in ranges {
            for (start, end) in edges.positions_of(*lv, *range, len) {
                note(start, end);
            }
            for (start, end) in whole.between(*range) {
                for (start, end) in self.undo.reborn.lives_of(start, end).into_iter().skip(1) {
                    for (pos, len) in whole.shown(start, end) {
                        note(pos, pos + len);
                    }
                }
            }
        }
        sort(&mut chars);
        chars.dedup();
        Lives::of(whole, &self.undo.reborn, &chars)
    }

    /// What gives characters that are back, as runs of ids, the marks that they had.
    fn plan_to_bring_back(&self, index: ContainerIx, back: &[(Lv, u32)]) -> Plan {
        let (log, state, graph, runs) = self.marked_text(index);
        let here = state.held(log, graph, runs);
        let whole = state.whole(graph, runs);
        let edges = Edges::new(&whole, graph, runs.ground());
        let marks = edges.logged(log, state.rope.len() as u32);
        let mut chars: Vec<(u32, Lv)> = Vec::new();
        for (id, len) in back {
            let mut next = *id;
            for (pos, len) in whole.shown(*id, id + len) {
                for pos in pos..pos + len {
                    chars.push((pos, next));
                    next += 1;
                }
            }
        }
        sort(&mut chars);
        let mut lives = Vec::new();
        for chars in Lives::of(&whole, &self.undo.reborn, &chars) {
            // What we did since they were deleted was undone before.
            let was_undone = |lv: Lv| {
                let deleted = chars.earlier.first().map(|(_, deleted)| *deleted);
                deleted.is_some_and(|deleted| deleted < lv) && self.is_ours(Some(lv))
            };
            let had = edges.held_over(&marks, &chars, &|lv| !was_undone(lv));
            lives.push((chars.pos, chars.pos + chars.len, had));
        }
        let mut plan = Plan::default();
        for key in 0..state.marks.keys.len() as NameIx {
            let mut puts = Vec::new();
            for (start, end, had) in &lives {
                let mut moved = had.of(key).to_vec();
                for (from, to, _) in &mut moved {
                    *from += start;
                    *to += start;
                }
                let before = values_in(log, here.of(key), (*start, *end));
                for (from, to, value) in changes(&before, &values_of(log, &moved)) {
                    let [first, last] = [from, to - 1].map(|pos| growth(log, hold_at(&moved, pos)));
                    let put = (from as usize..to as usize, value, [first[0], last[1]]);
                    push_put(&mut puts, put);
                }
            }
            plan.add(key, puts);
        }
        plan
    }
}

/// What taking back marks of one key asks.
struct TakingBack<'a> {
    log: &'a CellLog,
    key: NameIx,
    /// All that there are.
    marks: &'a [Logged],
    /// Which hold where now, and which would without those that are taken back.
    holds: [&'a [Hold]; 2],
    is_taken: &'a dyn Fn(Lv) -> bool,
    stays: &'a dyn Fn(Lv) -> bool,
}

/// What is to be marked, by key: what is not marked from then on comes first.
#[derive(Default)]
struct Plan {
    first: Vec<(NameIx, Put)>,
    last: Vec<(NameIx, Put)>,
}

impl Plan {
    fn add(&mut self, key: NameIx, puts: Vec<Put>) {
        for put in puts {
            let side = if put.1 == Value::Null { &mut self.first } else { &mut self.last };
            side.push((key, put));
        }
    }

    /// Marks, and tells what was written.
    fn perform(mut self, mut text: TextMut<'_, '_>) -> Vec<Lv> {
        let mut written = Vec::new();
        self.first.append(&mut self.last);
        for (key, put) in self.first {
            written.push(text.put_mark(key, put));
        }
        written
    }
}

/// Adds a stretch to others, to the last one if it goes on there.
fn push_put(puts: &mut Vec<Put>, (range, value, grows): Put) {
    match puts.last_mut() {
        Some((last, same, growth)) if last.end == range.start && *same == value => {
            last.end = range.end;
            growth[1] = grows[1];
        }
        _ => puts.push((range, value, grows)),
    }
}

fn growth(log: &CellLog, lv: Option<Lv>) -> [Option<bool>; 2] {
    match lv.and_then(|lv| log.get(lv)) {
        Some(CellOp::Mark { range, .. }) => growth_of(range).map(Some),
        _ => [None; 2],
    }
}

/// Takes back marks that we made one after the other.
pub(super) fn take_back(tx: &mut Transaction<'_>, index: ContainerIx, marks: &[Lv]) {
    let plan = tx.doc().plan_to_take_back(index, marks);
    for lv in plan.perform(tx.text_at(index)) {
        tx.note(Inverse::Marked { index, lv });
    }
}

/// Gives characters that are back, as runs of ids, the marks that they had. It is part of bringing
/// them back, so nothing is noted to undo it.
pub(super) fn bring_back(tx: &mut Transaction<'_>, index: ContainerIx, back: &[(Lv, u32)]) {
    if tx.doc().marked_text(index).0.is_empty() {
        return;
    }
    tx.doc().plan_to_bring_back(index, back).perform(tx.text_at(index));
}
