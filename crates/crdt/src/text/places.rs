//! Where the marks of a text are, carried along while it is edited.
//!
//! Working out which mark holds where asks for each mark where its ends are. But an edit whose
//! author had seen all that is here moves what comes after it, and changes nothing of what marks
//! are over which of the characters that were there: an end that is deleted by somebody who knew
//! all is in front of nothing that was typed past it. New characters get the marks that are over
//! the ones on both sides of them. What is left are marks that have an end just there, or are of
//! nothing there, and those around there that others typed past: these are worked out anew.

use std::cell::{OnceCell, RefCell};

use crate::cell_log::CellLog;
use crate::cells::CellOp;
use crate::container::FOLLOWED;
use crate::graph::{Graph, Lv};
use crate::names::{NameIx, Names};
use crate::sorting::sort_set;
use crate::text::counted::count_step;
use crate::text::edge::Edges;
use crate::text::holding::{Hold, Holding, paint};
use crate::text::marks::{MarkRange, marks_from};
use crate::text::{Runs, TextState};

/// After more edits than this, all is worked out anew. Typing on is one edit.
const EDITS_MAX: usize = 32;

/// The marks of a text: their keys, and which of them hold where.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    pub(crate) keys: Names,
    /// What is known of the text as it is.
    known: OnceCell<Box<Known>>,
    /// What was known of it before the last edits.
    before: RefCell<Option<Box<Before>>>,
}

/// Which marks hold where.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) held: Holding,
    /// `None` if they were not worked out.
    places: Option<Places>,
}

/// Where marks would hold if each were alone, by the key's number; also each end of a mark that
/// does not hold just beside it, as an empty place. With [`UNSURE`] for a key, of a mark with an
/// end that text was typed past, from where to where the neighbours of what is new do not tell
/// whether it has the mark.
pub(super) type Places = Vec<(NameIx, Hold)>;

const UNSURE: NameIx = NameIx::MAX;

/// What was known before some edits.
#[derive(Debug)]
struct Before {
    known: Box<Known>,
    edits: Vec<Edit>,
}

/// An edit whose author had seen all that is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edit {
    pub(crate) pos: u32,
    /// How many characters were deleted there, before others were inserted.
    pub(crate) deleted: u32,
    pub(crate) inserted: u32,
}

impl Marks {
    /// Sets what holds where, as far as it was stored.
    pub(crate) fn set_held(&mut self, held: Holding) {
        self.known = Box::new(Known { held, places: None }).into();
    }

    /// Takes in an edit.
    pub(crate) fn follow(&mut self, edit: Edit) {
        match FOLLOWED.marks.get() {
            Some(marks) => marks.follow(self, edit),
            None => self.forget(),
        }
    }

    /// The same. What holds where stays known, if it was.
    pub(super) fn go_with(&mut self, edit: Edit) {
        let before = self.before.get_mut();
        if let Some(known) = self.known.take() {
            *before = Some(Box::new(Before { known, edits: Vec::new() }));
        }
        let Some(Before { known, edits }) = before.as_deref_mut() else { return };
        let goes_on = |last: &Edit| edit.deleted == 0 && last.pos + last.inserted == edit.pos;
        if let Some(last) = edits.last_mut().filter(|last| goes_on(last)) {
            last.inserted += edit.inserted;
        } else if known.places.is_some() && edits.len() < EDITS_MAX {
            edits.push(edit);
        } else {
            *before = None;
        }
    }

    /// Whether anything is known of what holds where, be it before the last edits.
    pub(crate) fn is_known(&mut self) -> bool {
        self.known.get().is_some() || self.before.get_mut().is_some()
    }

    /// Forgets what holds where.
    pub(crate) fn forget(&mut self) {
        self.known.take();
        self.before.take();
    }

    /// What holds where, as far as no history is needed to tell.
    pub(crate) fn known(&self, log: &CellLog) -> Option<&Known> {
        if log.is_empty() {
            Some(self.known.get_or_init(Known::of_none))
        } else {
            self.known.get().map(|known| &**known)
        }
    }

    pub(crate) fn known_mut(&mut self) -> Option<&mut Known> {
        self.known.get_mut().map(|known| &mut **known)
    }

    /// What is known of marks below `start`, for who takes in those from there on.
    pub(super) fn take(&mut self) -> Option<Box<Known>> {
        self.known.take()
    }

    pub(super) fn put_back(&mut self, known: Box<Known>) {
        self.known = known.into();
    }
}

impl TextState {
    /// Which marks hold where in what is shown.
    pub(crate) fn held(&self, log: &CellLog, graph: &Graph, runs: &Runs) -> &Holding {
        &self.marks.known.get_or_init(|| self.known_of(log, graph, runs, Lv::MAX)).held
    }

    /// The same of the marks below `end`, if anything that is known is of no others.
    pub(super) fn known_of(
        &self,
        log: &CellLog,
        graph: &Graph,
        runs: &Runs,
        end: Lv,
    ) -> Box<Known> {
        match self.marks.before.take() {
            Some(before) if !log.is_empty() => before.carried(self, log, graph, runs),
            _ => self.known_by(log, graph, runs, &|lv| lv < end),
        }
    }

    /// The same if there were no marks but those that count.
    pub(super) fn known_by(
        &self,
        log: &CellLog,
        graph: &Graph,
        runs: &Runs,
        counts: &dyn Fn(Lv) -> bool,
    ) -> Box<Known> {
        if log.is_empty() {
            return Known::of_none();
        }
        let mut marks = Vec::new();
        for mark in marks_from(log, 0) {
            if counts(mark.0) {
                marks.push(mark);
            }
        }
        let places = self.places_of(&marks, graph, runs);
        Box::new(Known { held: paint(graph, &places), places: Some(places) })
    }

    /// The places of marks.
    pub(super) fn places_of(
        &self,
        marks: &[(Lv, NameIx, MarkRange)],
        graph: &Graph,
        runs: &Runs,
    ) -> Places {
        let whole = self.whole(graph, runs);
        let (len, edges) = (self.rope.len() as u32, Edges::new(&whole, graph, runs.ground()));
        let mut all = Places::new();
        for (lv, key, range) in marks {
            count_step();
            let ends = edges.ends_of(*lv, *range, len);
            let first = all.len();
            for (start, end) in edges.between(*range, ends) {
                if start < end {
                    all.push((*key, (start, end, *lv)));
                }
            }
            for end in ends.into_iter().flatten() {
                if all[first..].iter().all(|(_, (from, to, _))| *from != end && *to != end) {
                    all.push((*key, (end, end, *lv)));
                }
            }
            let unsure = edges.unsure_in(*range, ends);
            all.extend(unsure.map(|(start, end)| (UNSURE, (start, end, *lv))));
        }
        all
    }
}

impl Known {
    fn of_none() -> Box<Self> {
        Box::new(Self { held: Holding::default(), places: Some(Vec::new()) })
    }

    /// Lets a mark hold at a place and where none of a greater rank does.
    pub(super) fn lay(&mut self, graph: &Graph, place: (NameIx, Hold)) {
        lay(&mut self.held, graph, place);
        self.places.iter_mut().for_each(|places| places.push(place));
    }
}

fn lay(held: &mut Holding, graph: &Graph, place: (NameIx, Hold)) {
    if is_held(&place) {
        held.lay(graph, place.0, place.1);
    }
}

/// Whether a mark would hold there, and not merely has an end or may be passed.
pub(super) fn is_held((key, (start, end, _)): &(NameIx, Hold)) -> bool {
    start < end && *key != UNSURE
}

impl Edit {
    /// Where what was in a place is after the edit; an empty place stays in front of what is
    /// inserted there.
    pub(super) fn moved(self, (start, end): (u32, u32)) -> (u32, u32) {
        let gone = |at: u32| {
            if at <= self.pos { at } else { self.pos.max(at.saturating_sub(self.deleted)) }
        };
        let (start, end) = (gone(start), gone(end));
        let is_behind = start > self.pos || start == self.pos && start < end;
        let by = |moves: bool| if moves { self.inserted } else { 0 };
        (start + by(is_behind), end + by(end > self.pos))
    }
}

impl Before {
    /// What is known after the edits.
    fn carried(self, state: &TextState, log: &CellLog, graph: &Graph, runs: &Runs) -> Box<Known> {
        let Self { mut known, edits } = self;
        let Some(mut places) = known.places.take() else { return known };
        let mut open = Vec::new();
        for edit in edits {
            follow(edit, &mut places, &mut open);
            known.held.keep(&|stretch| [edit.moved(stretch), (0, 0)]);
        }
        let meets = |start, end| open.iter().any(|(from, to)| start <= *to && *from <= end);
        let mut anew: Vec<Lv> = Vec::new();
        for (key, (start, end, lv)) in &places {
            let is_edge = meets(*start, *start) || meets(*end, *end);
            if is_edge || *key == UNSURE && meets(*start, *end) {
                anew.push(*lv);
            }
        }
        sort_set(&mut anew);
        let mut marks = Vec::new();
        for lv in &anew {
            if let Some(CellOp::Mark { key, range, .. }) = log.get(*lv) {
                marks.push((*lv, key, range));
            }
        }
        places.retain(|(_, (_, _, lv))| anew.binary_search(lv).is_err());
        places.append(&mut state.places_of(&marks, graph, runs));
        for (from, to) in open {
            known.held.keep(&|(start, end)| [(start, end.min(from)), (start.max(to), end)]);
            for (key, (start, end, lv)) in &places {
                let within = ((*start).max(from), (*end).min(to), *lv);
                lay(&mut known.held, graph, (*key, within));
            }
        }
        known.places = Some(places);
        known
    }
}

/// Goes with the characters that an edit leaves. Of those that it inserts their neighbours tell
/// what marks they have, or they are added to those in `open`, of which they do not.
fn follow(edit: Edit, places: &mut Places, open: &mut Vec<(u32, u32)>) {
    let Edit { pos, inserted, .. } = edit;
    let (deletion, insertion) = (Edit { inserted: 0, ..edit }, Edit { deleted: 0, ..edit });
    let (mut is_edge, mut is_open) = (false, false);
    for (key, (start, end, _)) in places {
        let (from, to) = deletion.moved((*start, *end));
        is_edge |= from == pos || to == pos || *key == UNSURE && from <= pos && pos <= to;
        (*start, *end) = insertion.moved((from, to));
    }
    for within in &mut *open {
        let (from, to) = deletion.moved(*within);
        if !is_open && from < to && from <= pos && pos <= to {
            (is_open, *within) = (true, (from, to + inserted));
        } else {
            *within = insertion.moved((from, to));
        }
    }
    if is_edge && !is_open {
        open.push((pos, pos + inserted));
    }
    open.retain(|(start, end)| start < end);
}
