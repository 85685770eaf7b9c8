//! The oracle for marks: sets of characters, and a maximum over all marks of each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::cells::RowRef;
use crate::id::{OpId, PeerId};
use crate::stamp::Stamp;
use crate::text::MarkRange;
use crate::text::marks::Anchor;
use crate::value::Value;

/// The marks of a character, by key.
pub(crate) type CharMarks = BTreeMap<Arc<str>, Value>;

type Mark = ((Stamp, PeerId), Arc<str>, MarkRange, Value);

/// All marks of a text that mean something.
#[derive(Default)]
pub(crate) struct MarkModel {
    marks: Vec<Mark>,
}

fn char_of(anchor: Anchor) -> Option<OpId> {
    match anchor.row() {
        Some(RowRef::Stray(char)) => Some(char),
        Some(RowRef::Known(_)) => unreachable!("blocks name characters by id"),
        None => None,
    }
}

impl MarkModel {
    /// Takes in a mark; `saw` tells which characters of the text its author had seen.
    pub(crate) fn apply(
        &mut self,
        rank: (Stamp, PeerId),
        key: Arc<str>,
        range: MarkRange,
        value: Value,
        saw: &dyn Fn(OpId) -> bool,
    ) {
        if range.iter().all(|anchor| char_of(*anchor).is_none_or(saw)) {
            self.marks.push((rank, key, range, value));
        }
    }

    /// The marks of some characters of a text; `all` are those that ever were, in order. `past`
    /// tells which in front of one count as behind it.
    pub(crate) fn of(
        &self,
        chars: &[OpId],
        all: &[OpId],
        past: &dyn Fn(OpId) -> BTreeSet<OpId>,
    ) -> Vec<CharMarks> {
        let places: BTreeMap<OpId, usize> = all.iter().copied().zip(0..).collect();
        let ends = self.marks.iter().flat_map(|(_, _, range, _)| range);
        let ends = ends.filter_map(|anchor| char_of(*anchor));
        let past: BTreeMap<OpId, BTreeSet<OpId>> = ends.map(|char| (char, past(char))).collect();
        let is_after = |end: Anchor, char: &OpId| {
            let end = char_of(end).unwrap();
            places[&end] < places[char] || past[&end].contains(char)
        };
        let mut out = Vec::new();
        for char in chars {
            let at = places[char];
            let mut held = BTreeMap::new();
            for (rank, key, [start, end], value) in &self.marks {
                let starts = match *start {
                    Anchor::Edge => true,
                    Anchor::Before(_) => places[&char_of(*start).unwrap()] <= at,
                    Anchor::After(_) => is_after(*start, char),
                };
                let goes_on = match *end {
                    Anchor::Edge => true,
                    Anchor::Before(_) => at < places[&char_of(*end).unwrap()],
                    Anchor::After(_) => !is_after(*end, char),
                };
                if starts && goes_on {
                    let held = held.entry(key.clone()).or_insert((*rank, value));
                    if *rank > held.0 {
                        *held = (*rank, value);
                    }
                }
            }
            let held = held.into_iter().filter(|(_, (_, value))| **value != Value::Null);
            out.push(held.map(|(key, (_, value))| (key, value.clone())).collect());
        }
        out
    }
}
