//! Collaborative text: a sequence whose concurrent insertions never interleave.
//!
//! The state is plain text in a [`Rope`]; the truth is the log of what was typed where
//! ([`runs`]), which [`merger`] merges, for lists as well.
//!
//! For the merge rule see [`Text`], and [`marks`] for what is said about stretches of it.

mod among;
mod anchor;
mod counted;
mod cursor;
mod edge;
mod following;
mod ground;
#[cfg(test)]
mod histories;
mod holding;
mod lasting;
mod leaf_map;
mod marking;
mod marks;
mod merger;
#[cfg(test)]
pub(crate) mod model;
mod places;
mod reborn;
mod returning;
mod runs;
mod spans;
#[cfg(test)]
pub(crate) mod tests;
mod tracker;
mod view;
mod walk;

use std::cell::RefMut;

use crate::cell_log::CellLog;
use crate::container::ContainerIx;
use crate::graph::{Graph, Lv};
use crate::patch::TextDelta;
use crate::rope::{Rope, measure};
use crate::sum_tree::Widths;
use crate::text::places::{Edit, Marks};

pub use cursor::{Authorship, Cursor, Side};
pub(crate) use following::FollowMarks;
pub(crate) use ground::Ground;
pub(crate) use holding::Holding;
pub use marking::Expand;
pub use marks::MARK_KEY_BYTES_MAX;
pub(crate) use marks::{
    Anchor, MarkRange, Values, changes, decode_range, encode_range, is_key, patches_of,
};
pub(crate) use merger::{Merger, Present};
pub(crate) use reborn::{Rebirths, Reborn};
pub(crate) use returning::{Hidden, HiddenByOthers};
pub(crate) use runs::{Kind as RunKind, Piece, Runs, goes_on};
pub use spans::Span;
pub(crate) use tracker::{Effect, Tracker};

/// More edits than this at once are reported as one patch of the range they lie in.
const PATCHES_MAX: usize = 256;

/// That patch inserts at most so many characters in one step. Few in tests, so that there are
/// several steps.
const INSERTED_MAX: usize = if cfg!(test) { 100 } else { 1 << 14 };

/// Why a text edit was refused. The text is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// The edit reaches past the end of the text.
    #[error("position {end} is past the end of a text of {len} characters")]
    OutOfRange {
        /// The position that the edit reaches, in Unicode scalars.
        end: usize,
        /// The text's length, in Unicode scalars.
        len: usize,
    },
    /// The edit inserts more than [`crate::INSERT_BYTES_MAX`] at once.
    #[error("one edit may insert at most 4 MiB")]
    TooLarge,
    /// The mark is of no character.
    #[error("a mark needs at least one character")]
    NothingToMark,
    /// The mark's key is empty or longer than [`crate::MARK_KEY_BYTES_MAX`].
    #[error("a mark's key has 1 to 256 bytes")]
    MarkKey,
}

/// What a text shows.
#[derive(Debug, Default)]
pub(crate) struct TextState {
    pub(crate) rope: Rope,
    merger: Merger,
    pub(crate) marks: Marks,
}

/// Edits of a text, in order, and what a view needs to follow them.
#[derive(Debug, Default)]
struct Edits {
    effects: Vec<Effect>,
    /// If there are too many: characters untouched at the start and at the end, and the old length.
    kept: Option<(u32, u32, u32)>,
}

impl TextState {
    pub(crate) fn from_text(text: &str) -> Self {
        Self { rope: Rope::from_text(text), ..Self::default() }
    }

    /// Takes in the operations from `start` to `end`, which are new to the text. `heads` are those
    /// of all that is below `start`. Reports the edits of the present text, in order.
    pub(crate) fn merge(
        &mut self,
        graph: &Graph,
        runs: &mut Runs,
        range: (Lv, Lv),
        report: &mut dyn FnMut(Vec<TextDelta>),
    ) {
        if self.marks.is_known() {
            let (is_critical, upto) = graph.critical_at(range.0);
            let is_linear = is_critical && range.1 <= upto;
            // Marks alone leave those that hold where they are.
            let mut pieces = runs.pieces(range.0, range.1);
            if !is_linear && pieces.any(|piece| piece.kind != RunKind::Aside) {
                self.marks.forget();
            }
        }
        let (rope, marks) = (&mut self.rope, &mut self.marks);
        let mut present = Editing { rope, marks, edits: Edits::default() };
        self.merger.merge(graph, runs, range, &mut present);
        let edits = present.edits;
        if edits.kept.is_some() {
            self.rope.shrink_to_fit();
        }
        edits.report(runs, &self.rope, report);
    }

    /// Takes in the edit that the log ends with, whose author had seen all that is here: as
    /// [`TextState::merge`] does. Returns the edit of the present text.
    pub(crate) fn take(&mut self, runs: &mut Runs, start: Lv, end: Lv) -> Option<Vec<TextDelta>> {
        let mut piece = runs.pieces(start, end).next()?;
        if let Some((start, end)) = piece.clip(self.rope.len() as u32) {
            runs.void(start, end);
        }
        let effect = merger::effect_of(&piece)?;
        perform(&mut self.rope, &mut self.marks, effect, runs);
        Some(delta_of_effect(effect, runs))
    }

    /// Makes this what it shows, before anything was merged.
    pub(crate) fn start_from(&mut self, text: &str) {
        self.rope = Rope::from_text(text);
    }

    /// Takes in a local insertion of a text that measures so much.
    pub(crate) fn insert(&mut self, pos: usize, content: &str, widths: Widths) {
        self.marks.follow(Edit { pos: pos as u32, deleted: 0, inserted: widths[0] });
        self.rope.insert(pos, content, widths);
    }

    /// Takes in a local deletion; what it deletes is appended to `gone`.
    pub(crate) fn delete(&mut self, pos: usize, len: usize, gone: &mut String) {
        self.marks.follow(Edit { pos: pos as u32, deleted: len as u32, inserted: 0 });
        self.rope.delete(pos, len, Some(gone));
    }

    /// The tracker of all characters that there ever were.
    pub(crate) fn whole(&self, graph: &Graph, runs: &Runs) -> RefMut<'_, Tracker> {
        self.merger.whole(graph, runs, self.rope.len() as u32)
    }
}

/// A text while operations are merged into it.
struct Editing<'a> {
    rope: &'a mut Rope,
    marks: &'a mut Marks,
    edits: Edits,
}

impl Present for Editing<'_> {
    fn len(&self) -> u32 {
        self.rope.len() as u32
    }

    fn perform(&mut self, effect: Effect, runs: &Runs) {
        self.edits.note(effect, self.rope.len() as u32);
        perform(self.rope, self.marks, effect, runs);
    }
}

fn perform(rope: &mut Rope, marks: &mut Marks, effect: Effect, runs: &Runs) {
    match effect {
        Effect::Insert { pos, content, len, .. } => {
            marks.follow(Edit { pos, deleted: 0, inserted: len });
            let text = runs.content(content);
            let is_ascii = text.len() == len as usize;
            rope.insert(pos as usize, text, if is_ascii { [len; 3] } else { measure(text) });
        }
        Effect::Delete { pos, len } => {
            marks.follow(Edit { pos, deleted: len, inserted: 0 });
            rope.delete(pos as usize, len as usize, None);
        }
    }
}

/// The edit as a delta.
pub(crate) fn delta_of(piece: &Piece, runs: &Runs) -> Vec<TextDelta> {
    merger::effect_of(piece).map(|effect| delta_of_effect(effect, runs)).unwrap_or_default()
}

fn delta_of_effect(effect: Effect, runs: &Runs) -> Vec<TextDelta> {
    let (pos, edit) = match effect {
        Effect::Insert { pos, content, .. } => {
            (pos, TextDelta::Insert(runs.content(content).into()))
        }
        Effect::Delete { pos, len } => (pos, TextDelta::Delete(len)),
    };
    if pos == 0 { vec![edit] } else { vec![TextDelta::Retain(pos), edit] }
}

impl Edits {
    /// Notes an edit of a text that is `len` long before it.
    fn note(&mut self, effect: Effect, len: u32) {
        if self.kept.is_none() && self.effects.len() == PATCHES_MAX {
            let effects = std::mem::take(&mut self.effects);
            let grown = |effect: &Effect| match *effect {
                Effect::Insert { len, .. } => i64::from(len),
                Effect::Delete { len, .. } => -i64::from(len),
            };
            let mut before = (i64::from(len) - effects.iter().map(grown).sum::<i64>()) as u32;
            self.kept = Some((before, before, before));
            for effect in effects {
                self.narrow(effect, before);
                before = (i64::from(before) + grown(&effect)) as u32;
            }
        }
        if self.kept.is_some() {
            self.narrow(effect, len);
        } else {
            self.effects.push(effect);
        }
    }

    fn narrow(&mut self, effect: Effect, len: u32) {
        let Some((head, tail, _)) = &mut self.kept else { return };
        let (pos, end) = match effect {
            Effect::Insert { pos, .. } => (pos, pos),
            Effect::Delete { pos, len } => (pos, pos + len),
        };
        *head = (*head).min(pos);
        *tail = (*tail).min(len - end);
    }

    fn report(self, runs: &Runs, rope: &Rope, report: &mut dyn FnMut(Vec<TextDelta>)) {
        // The two ends never overlap: the first edit parted them.
        let Some((head, tail, old_len)) = self.kept else {
            return self.effects.iter().for_each(|effect| report(delta_of_effect(*effect, runs)));
        };
        let deleted = old_len - head - tail;
        let mut delta = Vec::new();
        if head > 0 {
            delta.push(TextDelta::Retain(head));
        }
        if deleted > 0 {
            delta.push(TextDelta::Delete(deleted));
        }
        // Piece by piece, so that no second copy of a long text is there on the way.
        let inserted = head as usize..rope.len() - tail as usize;
        let mut content = String::with_capacity(inserted.len().min(INSERTED_MAX));
        for at in inserted.clone().step_by(INSERTED_MAX) {
            content.clear();
            rope.slice(at, inserted.end.min(at + INSERTED_MAX), &mut content);
            delta.push(TextDelta::Insert(content.as_str().into()));
        }
        if !delta.is_empty() {
            report(delta);
        }
    }
}

/// A text of a document, as it is now. Positions count Unicode scalars unless a name says UTF-16.
///
/// Merge rule in one sentence: an insertion stays next to the characters it was typed between, a
/// character that anyone deleted is gone, and whole runs of concurrent typing stand side by side.
/// For how marks merge, see [`crate::TextMut::mark`].
///
/// ```
/// use leptos_sync_crdt::{Doc, PeerId};
/// let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
/// ada.transact(0, |tx| tx.text("note").insert(0, "buy tea")).0?;
/// ben.import(0, ada.blocks_since(ben.version()))?;
/// ada.transact(0, |tx| tx.text("note").insert(7, " today")).0?;
/// ada.transact(0, |tx| tx.text("note").splice(4, 3, "milk")).0?; // in the place of tea
/// ben.transact(0, |tx| tx.text("note").insert(7, " and eggs")).0?;
/// ada.import(0, ben.blocks_since(ada.version()))?;
/// ben.import(0, ada.blocks_since(ben.version()))?;
/// for doc in [&ada, &ben] {
///     assert_eq!(doc.text("note").to_string(), "buy milk today and eggs");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct Text<'a> {
    pub(crate) doc: &'a crate::doc::Doc,
    /// Nobody wrote to it if there is none.
    pub(crate) content: Option<(ContainerIx, &'a CellLog, &'a TextState)>,
}

impl std::fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Text({:?})", self.to_string())
    }
}

impl std::fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.content.map_or(Ok(()), |(_, _, state)| state.rope.fmt(f))
    }
}

impl Text<'_> {
    /// The number of Unicode scalars.
    #[must_use]
    pub fn len(&self) -> usize {
        self.content.map_or(0, |(_, _, state)| state.rope.len())
    }

    /// Whether no character is shown.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of UTF-16 code units: the length as JavaScript counts it.
    #[must_use]
    pub fn len_utf16(&self) -> usize {
        self.content.map_or(0, |(_, _, state)| state.rope.widths()[1] as usize)
    }

    /// The characters from `start` to `end` (exclusive); positions past the end are cut off.
    #[must_use]
    pub fn slice(&self, start: usize, end: usize) -> String {
        let mut out = String::new();
        if let Some((_, _, state)) = self.content {
            state.rope.slice(start, end, &mut out);
        }
        out
    }

    /// The position of a UTF-16 offset. An offset inside a surrogate pair counts as before it, one
    /// past the end as the end.
    #[must_use]
    pub fn utf16_to_scalar(&self, utf16: usize) -> usize {
        self.content.map_or(0, |(_, _, state)| state.rope.utf16_to_scalar(utf16))
    }

    /// The UTF-16 offset of a position; a position past the end counts as the end.
    #[must_use]
    pub fn scalar_to_utf16(&self, scalar: usize) -> usize {
        self.content.map_or(0, |(_, _, state)| state.rope.scalar_to_utf16(scalar))
    }
}
