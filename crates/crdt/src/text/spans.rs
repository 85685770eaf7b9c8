//! Reading marks: stretches of a text that are marked alike.

use std::ops::Range;
use std::sync::Arc;

use crate::cell_log::CellLog;
use crate::container::FOLLOWED;
use crate::names::NameIx;
use crate::sorting::sort_by;
use crate::text::following::AllMarks;
use crate::text::holding::{Holding, hold_at};
use crate::text::marks::{Values, value_of, values_in, values_of};
use crate::text::{Text, TextState};
use crate::value::Value;

/// A stretch of text whose characters are marked alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Where it starts, in Unicode scalars.
    pub start: usize,
    /// Where it ends (exclusive).
    pub end: usize,
    /// Its characters.
    pub text: String,
    /// Its marks, by key.
    pub marks: Vec<(Arc<str>, Value)>,
}

impl<'a> Text<'a> {
    fn held(&self) -> Option<(&'a CellLog, &'a TextState, &'a Holding)> {
        let doc = self.doc;
        FOLLOWED.marks.get_or_init(|| &AllMarks);
        let (index, log, state) = self.content?;
        // The history is left alone if what it says is known.
        if let Some(known) = state.marks.known(log) {
            return Some((log, state, &known.held));
        }
        let history = doc.history();
        Some((log, state, state.held(log, &history.graph, history.runs(index))))
    }

    /// The text in stretches of equal marks, as long as can be.
    ///
    /// ```
    /// use leptos_sync_crdt::{Doc, Expand, PeerId};
    /// let mut doc = Doc::new(PeerId(1));
    /// doc.transact(0, |tx| {
    ///     tx.text("note").insert(0, "fresh milk")?;
    ///     tx.text("note").mark(0..5, "bold", true, Expand::After)
    /// }).0?;
    /// let spans = doc.text("note").spans();
    /// assert_eq!(spans.len(), 2);
    /// assert_eq!((&*spans[0].text, &*spans[1].text), ("fresh", " milk"));
    /// assert_eq!(spans[0].marks, [("bold".into(), true.into())]);
    /// # Ok::<(), leptos_sync_crdt::TextError>(())
    /// ```
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.spans_in(0..self.len())
    }

    /// The stretches of equal marks between two positions; positions past the end are cut off. A
    /// view that follows patches asks this for what a [`crate::Patch::Text`] inserted.
    #[must_use]
    pub fn spans_in(&self, range: Range<usize>) -> Vec<Span> {
        let (from, to) = (range.start, range.end.min(self.len()));
        let Some((log, state, held)) = self.held().filter(|_| from < to) else {
            return Vec::new();
        };
        // Where marks start, and where they end; at one place, those that end come first.
        let mut edges: Vec<(usize, Option<Value>, NameIx)> = Vec::new();
        for (key, holds) in held.by_key() {
            for (start, end, value) in values_in(log, holds, (from as u32, to as u32)) {
                edges.push((start as usize, Some(value), key));
                edges.push((end as usize, None, key));
            }
        }
        sort_by(&mut edges, |(a, at, _), (b, other, _)| (a, at.is_some()) < (b, other.is_some()));
        edges.push((to, None, NameIx::MAX));
        let mut spans = Vec::<Span>::new();
        let (mut marks, mut at) = (Vec::<(Arc<str>, Value)>::new(), from);
        for (pos, value, key) in edges {
            if at < pos {
                match spans.last_mut() {
                    Some(last) if last.marks == marks => last.end = pos,
                    _ => {
                        let (marks, text) = (marks.clone(), String::new());
                        spans.push(Span { start: at, end: pos, text, marks });
                    }
                }
                at = pos;
            }
            if key != NameIx::MAX {
                let name = state.marks.keys.get(key);
                match (marks.binary_search_by(|(key, _)| key.cmp(name)), value) {
                    (Ok(at), Some(value)) => marks[at].1 = value,
                    (Err(at), Some(value)) => marks.insert(at, (name.clone(), value)),
                    (Ok(at), None) => drop(marks.remove(at)),
                    (Err(_), None) => {}
                }
            }
        }
        for span in &mut spans {
            state.rope.slice(span.start, span.end, &mut span.text);
        }
        spans
    }

    /// Where a key is marked, and with what.
    pub(crate) fn values_of(&self, key: &str) -> Values {
        let Some((log, state, held)) = self.held() else { return Values::new() };
        let key = state.marks.keys.find(key);
        key.map(|key| values_of(log, held.of(key))).unwrap_or_default()
    }

    /// The marks of the character at a position, by key; none past the end.
    #[must_use]
    pub fn marks_at(&self, pos: usize) -> Vec<(Arc<str>, Value)> {
        let (Some((log, state, held)), Ok(pos)) = (self.held(), u32::try_from(pos)) else {
            return Vec::new();
        };
        let mut marks = Vec::new();
        for key in state.marks.keys.sorted() {
            let value = value_of(log, hold_at(held.of(*key), pos));
            if value != Value::Null {
                marks.push((state.marks.keys.get(*key).clone(), value));
            }
        }
        marks
    }
}
