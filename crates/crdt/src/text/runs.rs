//! The log of one text or list: what was put in and deleted where, run-length encoded.
//!
//! Typing a word, holding down backspace and holding down delete are one run each, whatever number
//! of transactions they were. Positions count Unicode scalars in the text as its author saw it.

use crate::graph::Lv;
use crate::rope::byte_of_scalar;
use crate::search::Search;
use crate::text::Ground;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Each character goes after the one before.
    #[default]
    Insert,
    /// Each deletion is at the same position.
    Delete,
    /// Each deletion is one position before the last.
    Backspace,
    /// They change nothing about what stands where.
    Aside,
}

impl Kind {
    /// How far so many operations of a kind reach beyond the position of the first, together: as
    /// long as the text has to be before them, at least.
    pub(crate) fn reach(self, len: u32) -> u32 {
        if self == Self::Delete { len } else { u32::from(self == Self::Backspace) }
    }
}

#[derive(Clone, Copy, Debug)]
struct Run {
    start: Lv,
    len: u32,
    pos: u32,
    /// Where the inserted text starts, or would start, in `content`.
    content: u32,
    kind: Kind,
    /// Its position was past the end: it does nothing, on every replica alike.
    is_void: bool,
}

/// Some consecutive operations, cut from a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) start: Lv,
    pub(crate) len: u32,
    pub(crate) kind: Kind,
    /// The position of the first.
    pub(crate) pos: u32,
    /// What they insert: bytes of [`Runs::content`].
    pub(crate) content: (u32, u32),
    pub(crate) is_void: bool,
}

impl Piece {
    pub(crate) fn end(&self) -> Lv {
        self.start + self.len
    }

    /// The position of the operation `offset` after the first.
    pub(crate) fn pos_at(&self, offset: u32) -> u32 {
        // Without branches, as what comes next cannot be predicted.
        let step = [1i32, 0, -1, 0][self.kind as usize];
        self.pos.wrapping_add_signed(step.wrapping_mul(offset.cast_signed()))
    }

    /// Where the caret is after the last.
    pub(crate) fn next_pos(&self) -> u32 {
        self.pos_at(self.len).wrapping_add(u32::from(self.kind == Kind::Backspace))
    }

    /// Cuts off the operations whose position is past the end of a text of `len` characters, each
    /// taken by itself and after the others; says which those are.
    pub(crate) fn clip(&mut self, len: u32) -> Option<(Lv, Lv)> {
        let is_in_range = self.pos.saturating_add(self.kind.reach(self.len)) <= len;
        if is_in_range || self.kind == Kind::Aside {
            return None;
        }
        let (start, end) = (self.start, self.end());
        match self.kind {
            Kind::Insert | Kind::Aside => {
                self.len = 0;
                Some((start, end))
            }
            Kind::Delete => {
                self.len = self.len.min(len.saturating_sub(self.pos));
                (self.end() < end).then(|| (self.end(), end))
            }
            Kind::Backspace => {
                let skip = (self.pos + 1).saturating_sub(len).min(self.len);
                self.start += skip;
                self.len -= skip;
                self.pos -= if self.len > 0 { skip } else { 0 };
                (skip > 0).then_some((start, start + skip))
            }
        }
    }

    /// The lowest position that a deletion touches.
    pub(crate) fn lowest(&self) -> u32 {
        if self.kind == Kind::Backspace { self.pos + 1 - self.len } else { self.pos }
    }
}

/// Some consecutive operations that are in range, without what they insert and where.
pub(crate) struct Stroke {
    pub(crate) kind: Kind,
    pub(crate) start: Lv,
    pub(crate) end: Lv,
}

/// Goes through a log in local order.
pub(crate) struct Pieces<'a> {
    runs: &'a Runs,
    index: usize,
    at: Lv,
}

impl Pieces<'_> {
    /// The operation that comes next.
    pub(crate) fn start(&self) -> Option<Lv> {
        self.runs.runs.get(self.index).map(|run| run.start.max(self.at))
    }

    /// What comes next, as far as it is below `end`.
    pub(crate) fn next_below(&mut self, end: Lv) -> Option<Piece> {
        let run = self.runs.runs.get(self.index)?;
        let piece = self.runs.piece(self.index, self.at, end)?;
        self.at = piece.end();
        self.index += usize::from(self.at == run.start + run.len);
        Some(piece)
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Runs {
    /// What is there before the first run.
    ground: Ground,
    runs: Vec<Run>,
    content: String,
}

impl Runs {
    pub(crate) const fn new() -> Self {
        Self { ground: Ground::new(), runs: Vec::new(), content: String::new() }
    }

    /// The log of what comes after a ground.
    pub(crate) fn on(ground: Ground) -> Self {
        Self { ground, ..Self::new() }
    }

    /// A log of some `count` runs which will insert all of this text, one after the other.
    pub(crate) fn of_content(content: String, count: usize) -> Self {
        Self { content, runs: Vec::with_capacity(count), ..Self::new() }
    }

    /// Makes room for what another log has, most of whose runs are cut `cuts` times in all.
    pub(crate) fn reserve(&mut self, other: &Self, cuts: usize) {
        self.runs.reserve_exact(other.runs.len() + cuts.min(other.runs.len()));
        self.content.reserve_exact(other.content.len());
    }

    /// All that was inserted, from a byte on.
    pub(crate) fn content_from(&self, start: u32) -> &str {
        self.content((start, self.content.len() as u32))
    }

    pub(crate) fn ground(&self) -> &Ground {
        &self.ground
    }

    pub(crate) fn content(&self, (start, end): (u32, u32)) -> &str {
        let content = self.content.get(start as usize..end as usize);
        content.expect("runs are cut at scalars")
    }

    /// Adds one edit: an insertion of `text`, or a deletion of `len` if `text` is empty.
    pub(crate) fn push(&mut self, start: Lv, pos: u32, len: u32, text: &str) {
        let kind = if text.is_empty() { Kind::Delete } else { Kind::Insert };
        self.push_run(start, pos, len, kind, text, false);
    }

    /// Adds operations that form a run.
    #[inline]
    pub(crate) fn push_run(
        &mut self,
        start: Lv,
        pos: u32,
        len: u32,
        kind: Kind,
        text: &str,
        is_void: bool,
    ) {
        let content = self.content.len() as u32;
        self.content.push_str(text);
        self.push_at(start, pos, len, kind, content, is_void);
    }

    /// The same, where what they insert stands in the content already, from a byte on, and what
    /// later ones insert behind it.
    #[inline]
    pub(crate) fn push_at(
        &mut self,
        start: Lv,
        pos: u32,
        len: u32,
        kind: Kind,
        content: u32,
        is_void: bool,
    ) {
        if let Some(last) = self.runs.last_mut()
            && last.start + last.len == start
            && last.is_void == is_void
            && let Some(joined) = join(last, pos, len, kind)
        {
            last.kind = joined;
            last.len += len;
            return;
        }
        self.runs.push(Run { start, len, pos, content, kind, is_void });
    }

    /// Adds operations as if they had been made one character at a time, so that the runs depend
    /// on nothing but what was done: the form in which transactions are encoded.
    pub(crate) fn push_canonical(&mut self, piece: &Piece, text: &str) {
        let Piece { start, len, kind, pos, .. } = *piece;
        if matches!(kind, Kind::Insert | Kind::Aside) {
            return self.push_run(start, pos, len, kind, text, false);
        }
        // After three, the direction is settled.
        let single = len.min(3);
        let at = |i: u32| if kind == Kind::Backspace { pos - i } else { pos };
        for i in 0..single {
            self.push_run(start + i, at(i), 1, Kind::Delete, "", false);
        }
        if len > single {
            self.push_run(start + single, at(single), len - single, kind, "", false);
        }
    }

    /// Adds another log, whose operations are numbered from `base` on.
    pub(crate) fn go_on(&mut self, later: &Self, base: Lv) {
        for piece in later.pieces(0, Lv::MAX) {
            let Piece { start, pos, len, kind, content, is_void } = piece;
            self.push_run(base + start, pos, len, kind, later.content(content), is_void);
        }
    }

    /// The same, taking the other log over as it is where there was none.
    pub(crate) fn take_over(&mut self, later: Self, base: Lv) {
        if base > 0 || !self.runs.is_empty() {
            return self.go_on(&later, base);
        }
        (self.runs, self.content) = (later.runs, later.content);
    }

    /// What the insertions from `start` on inserted.
    pub(crate) fn inserted(&self, start: Lv, len: u32) -> String {
        let above = self.pieces(start, start + len).map(|piece| self.content(piece.content));
        above.fold(self.ground.inserted(start, len), |text, more| text + more)
    }

    fn run_of(&self, lv: Lv) -> Option<&Run> {
        let run = self.runs.get(self.index_of(lv))?;
        (run.start <= lv && lv < run.start + run.len).then_some(run)
    }

    /// Whether this operation was to insert a character; its position may have been past the end.
    pub(crate) fn is_insertion(&self, lv: Lv) -> bool {
        let is_insertion = |run: &Run| run.kind == Kind::Insert;
        self.run_of(lv).is_some_and(is_insertion) || self.ground.has(lv)
    }

    /// Whether some of the operations change nothing about what stands where.
    pub(crate) fn has_asides(&self) -> bool {
        self.runs.iter().any(|run| run.kind == Kind::Aside)
    }

    fn index_of(&self, lv: Lv) -> usize {
        match self.runs.last() {
            Some(last) if last.start <= lv => self.runs.len() - 1,
            _ => self.runs.count_while(|run| run.start + run.len <= lv),
        }
    }

    /// The operations from `start` to `end` (exclusive), in local order.
    pub(crate) fn pieces(&self, start: Lv, end: Lv) -> impl Iterator<Item = Piece> {
        let mut pieces = self.pieces_from(start);
        std::iter::from_fn(move || pieces.next_below(end))
    }

    /// The operations from `start` on, in local order.
    pub(crate) fn pieces_from(&self, start: Lv) -> Pieces<'_> {
        let index = self.index_of(start);
        let is_over = self.runs.get(index).is_some_and(|run| run.start + run.len <= start);
        Pieces { runs: self, index: index + usize::from(is_over), at: start }
    }

    /// The operations from `start` to `end` (exclusive), without what they insert: the earliest
    /// first, or the latest.
    pub(crate) fn strokes(
        &self,
        (start, end): (Lv, Lv),
        is_back: bool,
        take: &mut dyn FnMut(Stroke),
    ) {
        let first = self.index_of(start);
        let rest = &self.runs[first..];
        let count = match rest.get(1) {
            Some(second) if second.start < end => rest.count_while(|run| run.start < end),
            _ => rest.len().min(1),
        };
        for at in 0..count {
            let run = &rest[if is_back { count - 1 - at } else { at }];
            let (from, to) = (start.max(run.start), end.min(run.start + run.len));
            if from < to && !run.is_void {
                take(Stroke { kind: run.kind, start: from, end: to });
            }
        }
    }

    fn piece(&self, index: usize, start: Lv, end: Lv) -> Option<Piece> {
        let run = &self.runs[index];
        let from = start.max(run.start) - run.start;
        let to = end.min(run.start + run.len).checked_sub(run.start)?;
        if from >= to {
            return None;
        }
        let whole = (
            run.content,
            self.runs.get(index + 1).map_or(self.content.len() as u32, |next| next.content),
        );
        if to - from == run.len {
            let Run { start, len, kind, pos, is_void, .. } = *run;
            return Some(Piece { start, len, kind, pos, content: whole, is_void });
        }
        let (pos, content) = match run.kind {
            Kind::Insert => {
                let text = self.content(whole);
                // As many bytes as scalars: all are ASCII, and nothing has to be counted.
                let byte = |scalar: u32| {
                    if text.len() == run.len as usize {
                        scalar
                    } else {
                        byte_of_scalar(text, scalar as usize) as u32
                    }
                };
                (run.pos + from, (whole.0 + byte(from), whole.0 + byte(to)))
            }
            Kind::Delete | Kind::Aside => (run.pos, (whole.0, whole.0)),
            Kind::Backspace => (run.pos - from, (whole.0, whole.0)),
        };
        let (start, len) = (run.start + from, to - from);
        Some(Piece { start, len, kind: run.kind, pos, content, is_void: run.is_void })
    }

    /// Notes that the operations from `start` to `end` do nothing.
    pub(crate) fn void(&mut self, start: Lv, end: Lv) {
        self.cut_at(end);
        let first = self.cut_at(start);
        for run in self.runs[first..].iter_mut().take_while(|run| run.start < end) {
            run.is_void = true;
        }
    }

    /// Makes a run start at `lv`, if one holds it; returns the first run from there on.
    fn cut_at(&mut self, lv: Lv) -> usize {
        let index = self.index_of(lv);
        let Some(run) = self.runs.get(index).copied() else { return index };
        if lv <= run.start || lv >= run.start + run.len {
            return index + usize::from(lv >= run.start + run.len);
        }
        let Some(tail) = self.piece(index, lv, Lv::MAX) else { return index };
        self.runs[index].len = lv - run.start;
        let (pos, content, len) = (tail.pos, tail.content.0, tail.len);
        self.runs.insert(index + 1, Run { start: lv, len, pos, content, ..run });
        index + 1
    }
}

/// Whether what a piece starts with would be told with the piece before, in the one form that
/// [`Runs::push_canonical`] gives.
pub(crate) fn goes_on(Piece { pos, len, kind, .. }: Piece, next: Piece) -> bool {
    let last = Run { start: 0, len, pos, content: 0, kind, is_void: false };
    let is_deletion = matches!(next.kind, Kind::Delete | Kind::Backspace);
    let (len, kind) = if is_deletion { (1, Kind::Delete) } else { (next.len, next.kind) };
    join(&last, next.pos, len, kind).is_some()
}

/// How operations go on from a run, if they do.
#[inline]
fn join(last: &Run, pos: u32, len: u32, kind: Kind) -> Option<Kind> {
    let is_next = |expected: Option<u32>| expected == Some(pos);
    match (last.kind, kind) {
        (Kind::Insert, Kind::Insert) => is_next(Some(last.pos + last.len)).then_some(kind),
        (Kind::Aside, Kind::Aside) => Some(kind),
        (Kind::Insert | Kind::Aside, _) | (_, Kind::Insert | Kind::Aside) => None,
        _ => {
            let (may_stay, may_go_back) = (
                last.kind == Kind::Delete || last.len == 1,
                last.kind == Kind::Backspace || last.len == 1,
            );
            if may_stay && (kind == Kind::Delete || len == 1) && is_next(Some(last.pos)) {
                Some(Kind::Delete)
            } else if may_go_back
                && (kind == Kind::Backspace || len == 1)
                && is_next(last.pos.checked_sub(last.len))
            {
                Some(Kind::Backspace)
            } else {
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(runs: &Runs, start: Lv, end: Lv) -> Vec<(Kind, u32, u32, &str)> {
        let pieces = runs.pieces(start, end);
        pieces
            .map(|piece| (piece.kind, piece.pos, piece.len, runs.content(piece.content)))
            .collect()
    }

    fn typed() -> Runs {
        let mut runs = Runs::default();
        for (i, c) in "wörd".chars().enumerate() {
            runs.push(i as u32, 5 + i as u32, 1, &c.to_string());
        }
        runs.push(4, 8, 1, "");
        runs.push(5, 7, 1, "");
        runs.push(6, 2, 1, "");
        runs.push(7, 2, 3, "");
        runs
    }

    #[test]
    fn typing_and_deleting_on_are_one_run_each() {
        let runs = typed();
        assert_eq!(
            shown(&runs, 0, 99),
            [(Kind::Insert, 5, 4, "wörd"), (Kind::Backspace, 8, 2, ""), (Kind::Delete, 2, 4, "")]
        );
    }

    #[test]
    fn a_run_reaches_as_far_as_the_text_has_to_and_leaves_the_caret_where_it_ends() {
        let of = |kind: Kind| {
            let piece = Piece { kind, pos: 7, len: 3, ..Piece::default() };
            (kind.reach(3), piece.next_pos(), piece.lowest(), [0, 1, 2].map(|at| piece.pos_at(at)))
        };
        assert_eq!(of(Kind::Insert), (0, 10, 7, [7, 8, 9]));
        assert_eq!(of(Kind::Delete), (3, 7, 7, [7; 3]));
        assert_eq!(of(Kind::Backspace), (1, 5, 5, [7, 6, 5]));
        assert_eq!(of(Kind::Aside), (0, 7, 7, [7; 3]));
        let whole = Piece { kind: Kind::Backspace, pos: 2, len: 3, ..Piece::default() };
        assert_eq!(whole.next_pos(), 0);
    }

    #[test]
    fn a_run_can_be_cut_anywhere() {
        let runs = typed();
        assert_eq!(shown(&runs, 1, 3), [(Kind::Insert, 6, 2, "ör")]);
        assert_eq!(shown(&runs, 5, 8), [(Kind::Backspace, 7, 1, ""), (Kind::Delete, 2, 2, "")]);
        let strokes = |is_back| {
            let mut strokes = Vec::new();
            runs.strokes((1, 7), is_back, &mut |stroke| strokes.push((stroke.start, stroke.end)));
            strokes
        };
        assert_eq!(strokes(false), [(1, 4), (4, 6), (6, 7)]);
        assert_eq!(strokes(true), [(6, 7), (4, 6), (1, 4)]);
    }

    #[test]
    fn voided_operations_stay_in_the_log() {
        let mut runs = typed();
        runs.void(1, 3);
        let voids: Vec<(u32, u32, bool)> =
            runs.pieces(0, 5).map(|piece| (piece.start, piece.len, piece.is_void)).collect();
        assert_eq!(voids, [(0, 1, false), (1, 2, true), (3, 1, false), (4, 1, false)]);
        assert_eq!(shown(&runs, 0, 4)[1], (Kind::Insert, 6, 2, "ör"));
        let mut told = Vec::new();
        runs.strokes((0, 4), false, &mut |stroke| told.push((stroke.start, stroke.end)));
        assert_eq!(told, [(0, 1), (3, 4)]);
    }

    #[test]
    fn voided_deletions_are_cut_from_their_run() {
        let mut runs = typed();
        runs.void(7, 8);
        let pieces = runs.pieces(4, 99).map(|piece| (piece.start, piece.len, piece.is_void));
        assert_eq!(
            pieces.collect::<Vec<_>>(),
            [(4, 2, false), (6, 1, false), (7, 1, true), (8, 2, false)]
        );
    }

    #[test]
    fn between_and_behind_the_runs_of_a_text_nothing_is_found() {
        let mut runs = Runs::default();
        runs.push(3, 0, 2, "ab");
        runs.push(8, 0, 2, "cd");
        let insertions: Vec<Lv> = (0..14).filter(|lv| runs.is_insertion(*lv)).collect();
        assert_eq!(insertions, [3, 4, 8, 9]);
        for range in [(0, 3), (5, 8), (10, 12)] {
            runs.strokes(range, false, &mut |_| panic!("there is nothing in {range:?}"));
            assert_eq!(shown(&runs, range.0, range.1), []);
        }
    }

    #[test]
    fn what_is_past_the_end_is_cut_off_as_each_would_be_by_itself() {
        let kinds = [Kind::Insert, Kind::Delete, Kind::Backspace, Kind::Aside];
        for (kind, pos, len, text) in kinds.into_iter().flat_map(|kind| {
            let cases = (0..7).flat_map(move |pos| (1..5).map(move |len| (kind, pos, len)));
            cases.flat_map(|(kind, pos, len)| (0..8).map(move |text| (kind, pos, len, text)))
        }) {
            if kind == Kind::Backspace && pos + 1 < len {
                continue;
            }
            // Each by itself, as far as it finds its place.
            let (mut left, mut done) = (text, Vec::new());
            let whole = Piece { start: 10, len, kind, pos, ..Piece::default() };
            for offset in 0..len {
                let at = whole.pos_at(offset);
                let is_there = match kind {
                    Kind::Insert => at <= left,
                    Kind::Delete | Kind::Backspace => at < left,
                    Kind::Aside => true,
                };
                if is_there {
                    done.push((10 + offset, at));
                }
                left = match kind {
                    Kind::Insert if is_there => left + 1,
                    Kind::Delete | Kind::Backspace if is_there => left - 1,
                    _ => left,
                };
            }
            let mut piece = whole;
            let gone = piece.clip(text);
            let kept: Vec<_> =
                (0..piece.len).map(|offset| (piece.start + offset, piece.pos_at(offset))).collect();
            assert_eq!(kept, done, "{whole:?} in {text}");
            let (from, upto) = gone.unwrap_or((0, 0));
            let all: Vec<Lv> = (10..10 + len).filter(|lv| !(from..upto).contains(lv)).collect();
            assert_eq!(all, done.iter().map(|(lv, _)| *lv).collect::<Vec<_>>(), "{whole:?}");
            assert_eq!(gone.is_some(), done.len() < len as usize, "{whole:?} in {text}");
        }
    }

    #[test]
    fn operations_are_found_by_what_they_are() {
        let mut runs = typed();
        runs.push_run(8, 0, 1, Kind::Aside, "", false);
        runs.push_run(9, 4, 2, Kind::Aside, "", false);
        assert!(runs.has_asides() && !typed().has_asides());
        assert_eq!(shown(&runs, 8, 11).len(), 1, "asides that follow one another are one run");
        let insertions: Vec<Lv> = (0..14).filter(|lv| runs.is_insertion(*lv)).collect();
        assert_eq!(insertions, [0, 1, 2, 3]);
        assert_eq!(runs.inserted(0, 3), "wör");
        let mut later = Vec::new();
        runs.strokes((4, 8), true, &mut |stroke| later.push((stroke.start, stroke.end)));
        assert_eq!(later, [(6, 8), (4, 6)]);
    }

    #[test]
    fn deletions_join_where_the_last_one_left_off() {
        let joined = |steps: &[(u32, u32, Kind)]| {
            let (mut runs, mut lv) = (Runs::default(), 0);
            for (pos, len, kind) in steps {
                runs.push_run(lv, *pos, *len, *kind, "", false);
                lv += len;
            }
            runs.pieces(0, lv).map(|piece| (piece.kind, piece.pos, piece.len)).collect::<Vec<_>>()
        };
        let (delete, back) = (Kind::Delete, Kind::Backspace);
        assert_eq!(joined(&[(5, 1, delete), (5, 3, delete)]), [(delete, 5, 4)]);
        assert_eq!(joined(&[(5, 1, delete), (4, 1, delete)]), [(back, 5, 2)]);
        assert_eq!(joined(&[(5, 1, delete), (4, 2, back)]), [(back, 5, 3)]);
        assert_eq!(joined(&[(5, 2, delete), (4, 1, delete)]).len(), 2);
        assert_eq!(joined(&[(5, 1, delete), (4, 2, delete)]).len(), 2);
        assert_eq!(joined(&[(5, 2, back), (3, 2, back)]), [(back, 5, 4)]);
        assert_eq!(joined(&[(5, 2, back), (3, 2, delete)]).len(), 2);
        assert_eq!(joined(&[(5, 2, back), (5, 1, delete)]).len(), 2);
        assert_eq!(joined(&[(5, 2, delete), (5, 2, back)]).len(), 2);
        assert_eq!(joined(&[(5, 1, delete), (6, 1, delete)]).len(), 2);
    }
}
