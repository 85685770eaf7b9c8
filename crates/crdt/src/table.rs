//! Tables: rows of field-level registers, the ground under typed collections.
//!
//! A row is the operation that inserted it. Most rows are never touched again, so the state is the
//! stretches of insertions, plus the fields that were overwritten since and the rows that were
//! removed or restored.

use crate::cell_log::CellLog;
use crate::cells::{Fields, RowRef};
use crate::gather::Gather;
use crate::graph::{Graph, Lv};
use crate::id::{OpId, RowId};
use crate::lww::overrules;
use crate::names::{NameIx, Names};
use crate::numbers::{self, Numbers, pair, parts};
use crate::search::Search;
use crate::sorting::{sort, sort_by, sort_set};
use crate::stamp::Stamp;
use crate::value::Value;

#[derive(Clone, Debug, Default)]
pub(crate) struct TableState {
    pub(crate) names: Names,
    /// The insertions, as ascending ranges.
    pub(crate) rows: Vec<(Lv, Lv)>,
    /// The writes that overruled a row's first values, by row and field.
    pub(crate) written: Numbers,
    /// What removed or restored a row ≪ 1 | whether it is alive, by row.
    pub(crate) fates: Numbers,
}

impl TableState {
    /// Whether this operation inserted a row.
    pub(crate) fn has_row(&self, lv: Lv) -> bool {
        let at = self.rows.count_while(|(start, _)| *start <= lv);
        at > 0 && lv < self.rows[at - 1].1
    }

    pub(crate) fn is_alive(&self, row: Lv) -> bool {
        self.fates.get(row.into()).is_none_or(|fate| fate & 1 == 1)
    }

    /// The operation that removed or restored a row last, or inserted it.
    pub(crate) fn decided(&self, row: Lv) -> Lv {
        self.fates.get(row.into()).map_or(row, |fate| (fate >> 1) as Lv)
    }

    pub(crate) fn insert(&mut self, lv: Lv) {
        match self.rows.last_mut() {
            Some(last) if last.1 == lv => last.1 += 1,
            _ => self.rows.push((lv, lv + 1)),
        }
    }

    /// The write that holds for a field.
    pub(crate) fn holder(&self, row: Lv, field: NameIx) -> Lv {
        numbers::get(&self.written, pair(row, field)).unwrap_or(row)
    }

    /// Takes in a write of a known row's field and says whether it won.
    pub(crate) fn write(&mut self, graph: &Graph, row: Lv, field: NameIx, lv: Lv) -> bool {
        let wins = overrules(graph, lv, Some(self.holder(row, field)));
        if wins {
            self.written.insert(pair(row, field), lv.into());
        }
        wins
    }

    /// Takes in a removal or a return of a known row and says whether the row changed.
    pub(crate) fn decide(&mut self, graph: &Graph, row: Lv, lv: Lv, alive: bool) -> bool {
        let was_alive = self.is_alive(row);
        let wins = overrules(graph, lv, Some(self.decided(row)));
        if wins {
            self.fates.insert(row.into(), u64::from(lv) << 1 | u64::from(alive));
        }
        wins && alive != was_alive
    }

    /// Takes in what a returned row brings; lists the fields that it won.
    pub(crate) fn write_all(
        &mut self,
        graph: &Graph,
        row: Lv,
        fields: &Fields,
        lv: Lv,
    ) -> Vec<NameIx> {
        let mut won = Vec::new();
        for (field, _) in fields {
            if self.write(graph, row, *field, lv) {
                won.push(*field);
            }
        }
        won
    }

    /// The row that an author saw under this id before its operation `lv`.
    pub(crate) fn row_ref(&self, graph: &Graph, row: OpId, lv: Lv) -> RowRef {
        let known = graph.lv_of(row).filter(|row| self.has_row(*row));
        match known {
            Some(row) if graph.is_before(row, lv) => RowRef::Known(row),
            _ => RowRef::Stray(row),
        }
    }

    /// The fields of a known row that hold a value, in the order of their names. Each operation
    /// that wrote one of them is decoded once.
    pub(crate) fn fields(&self, log: &CellLog, row: Lv) -> Fields {
        let written = self.written.from(pair(row, 0)).take_while(|(key, _)| parts(*key).0 == row);
        let mut writes = written.map(|(_, lv)| lv as Lv).gather();
        sort_set(&mut writes);
        let mut found = Fields::new();
        for lv in [row].iter().chain(&writes) {
            log.each_field(*lv, &mut |field, input| match writes.is_empty()
                || self.holder(row, field) == *lv
            {
                true => found.push((field, Value::decode(input))),
                false => Value::skip(input),
            });
        }
        self.by_name(found)
    }

    /// Fields in the order of their names, each with the last of its values.
    fn by_name(&self, fields: Fields) -> Fields {
        let mut numbered = (0u32..).zip(fields).gather();
        sort_by(&mut numbered, |(at, (a, _)), (other, (b, _))| {
            (if a == b { at.cmp(other) } else { self.names.get(*a).cmp(self.names.get(*b)) })
                .is_lt()
        });
        let mut fields = Fields::with_capacity(numbered.len());
        for (_, (field, value)) in numbered {
            match fields.last_mut() {
                Some((last, held)) if *last == field => *held = value,
                _ => fields.push((field, value)),
            }
        }
        fields
    }

    /// How many rows are not removed.
    fn len(&self) -> usize {
        let all: Lv = self.rows.iter().map(|(start, end)| end - start).sum();
        all as usize - self.fates.iter().filter(|(_, fate)| fate & 1 == 0).count()
    }
}

/// A table of a document, as it is now: rows in the order in which they were inserted.
///
/// Merge rule in one sentence: each field of a row keeps its write with the greatest
/// `(stamp, peer)`, and so does whether the row is there, which editing its fields does not change.
/// For rows that come back see [`crate::TableMut`].
///
/// ```
/// use leptos_sync_crdt::{Doc, ImportError, PeerId};
/// fn sync(one: &mut Doc, other: &mut Doc) -> Result<(), ImportError> {
///     one.import(0, other.blocks_since(one.version()))?;
///     other.import(0, one.blocks_since(other.version())).map(drop)
/// }
/// let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
/// let (task, _) = ada.transact(0, |tx| tx.table("tasks").insert([("title", "milk")]));
/// sync(&mut ada, &mut ben)?;
///
/// // Different fields of a row merge; of one field, the later write holds.
/// ada.transact(0, |tx| tx.table("tasks").set(task, "done", true)).0?;
/// ada.transact(0, |tx| tx.table("tasks").set(task, "title", "oat milk")).0?;
/// ben.transact(60_000, |tx| tx.table("tasks").set(task, "title", "rice milk")).0?;
/// sync(&mut ada, &mut ben)?;
/// assert_eq!(ada.table("tasks").get(task, "done"), Some(true.into()));
/// assert_eq!(ada.table("tasks").get(task, "title"), Some("rice milk".into()));
///
/// // A row that was removed while somebody edited it is removed.
/// ada.transact(60_000, |tx| tx.table("tasks").remove(task)).0?;
/// ben.transact(120_000, |tx| tx.table("tasks").set(task, "title", "soy milk")).0?;
/// sync(&mut ada, &mut ben)?;
/// assert!(!ada.table("tasks").contains(task) && !ben.table("tasks").contains(task));
/// assert_eq!(ben.table("tasks").get(task, "title"), Some("soy milk".into()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) content: Option<(&'a CellLog, &'a TableState)>,
}

impl<'a> Table<'a> {
    /// The rows that are not removed, oldest first.
    pub fn rows(&self) -> impl DoubleEndedIterator<Item = RowId> + use<'a> {
        let content = self.content;
        let is_alive = move |lv: Lv| content.is_some_and(|(_, state)| state.is_alive(lv));
        let rows = |(_, id, start, len): (Stamp, OpId, Lv, u32)| {
            (0..len).map(move |offset| (start + offset, RowId(id.plus(offset))))
        };
        let rows = self.stretches().into_iter().flat_map(rows);
        rows.filter(move |(lv, _)| is_alive(*lv)).map(|(_, row)| row)
    }

    /// Every insertion, oldest first: stretches of one author's, by stamp, id, place and length.
    fn stretches(&self) -> Vec<(Stamp, OpId, Lv, u32)> {
        let mut stretches = Vec::new();
        for (start, end) in self.content.iter().flat_map(|(_, state)| &state.rows) {
            let mut at = *start;
            while at < *end {
                let stretch = self.graph.stretch_at(at);
                let id = OpId::new(self.graph.peer(stretch.peer), stretch.seq);
                stretches.push((stretch.stamp, id, at, stretch.end.min(*end) - at));
                at = stretch.end;
            }
        }
        sort(&mut stretches);
        // Where authors inserted at once, their rows lie between each other's.
        let is_mixed = stretches.windows(2).any(|pair| pair[0].0.plus(pair[0].3) > pair[1].0);
        if is_mixed {
            let single = |(stamp, id, start, len): (Stamp, OpId, Lv, u32)| {
                (0..len).map(move |i| (stamp.plus(i), id.plus(i), start + i, 1))
            };
            stretches = stretches.into_iter().flat_map(single).gather();
            sort(&mut stretches);
        }
        stretches
    }

    /// How many rows are not removed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.content.map_or(0, |(_, state)| state.len())
    }

    /// Whether no row is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The row's insertion, if there was one, removed since or not.
    pub(crate) fn find(&self, row: RowId) -> Option<Lv> {
        let (_, state) = self.content?;
        self.graph.lv_of(row.0).filter(|lv| state.has_row(*lv))
    }

    /// Whether the row exists and is not removed.
    #[must_use]
    pub fn contains(&self, row: RowId) -> bool {
        let alive = |lv| self.content.is_some_and(|(_, state)| state.is_alive(lv));
        self.find(row).is_some_and(alive)
    }

    /// The value in a field, also of a removed row; `None` where it was never written.
    #[must_use]
    pub fn get(&self, row: RowId, field: &str) -> Option<Value> {
        let (log, state) = self.content?;
        let field = state.names.find(field)?;
        log.value(state.holder(self.find(row)?, field), Some(field))
    }

    /// The fields of a row that hold a value, by name; also of a removed row.
    pub fn fields(&self, row: RowId) -> impl Iterator<Item = (&'a str, Value)> + use<'a> {
        let found = self.content.and_then(|content| Some((content, self.find(row)?)));
        found.into_iter().flat_map(|((log, state), row)| {
            let named = |(field, value)| (&**state.names.get(field), value);
            state.fields(log, row).into_iter().map(named)
        })
    }

    /// When the row was inserted; `None` for an unknown row.
    #[must_use]
    pub fn created(&self, row: RowId) -> Option<Stamp> {
        self.find(row).map(|lv| self.graph.stamp_of(lv))
    }

    /// Whether the row was ever inserted, removed since or not.
    #[must_use]
    pub fn knows(&self, row: RowId) -> bool {
        self.find(row).is_some()
    }

    /// The rows that were ever inserted, oldest first.
    pub(crate) fn known(&self) -> impl Iterator<Item = RowId> + use<'a> {
        let rows =
            |(_, id, _, len): (Stamp, OpId, Lv, u32)| (0..len).map(move |i| RowId(id.plus(i)));
        self.stretches().into_iter().flat_map(rows)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::cells::counted;
    use crate::{Doc, PeerId, RowId};

    const NAMES: [&str; 4] = ["b", "d", "a", "c"];

    /// How many fields are gone through to read all of a row, some of them overwritten or brought
    /// back.
    fn fields_read(count: u64) -> u64 {
        let mut doc = Doc::new(PeerId(1));
        let names: Vec<String> = (0..count).map(|name| name.to_string()).collect();
        let row = doc.transact(0, |tx| tx.table("t").insert(names.iter().map(|n| (n, 1)))).0;
        doc.transact(0, |tx| tx.table("t").remove(row)).0.unwrap();
        doc.transact(0, |tx| tx.table("t").restore(row)).0.unwrap();
        for name in names.iter().step_by(3) {
            doc.transact(0, |tx| tx.table("t").set(row, name, 2)).0.unwrap();
        }
        let before = counted::fields();
        assert_eq!(doc.table("t").fields(row).count() as u64, count);
        counted::fields() - before
    }

    #[test]
    fn reading_all_fields_of_a_row_is_not_quadratic() {
        let read = [50, 200].map(fields_read);
        assert!(read[1] < read[0] * 5, "{read:?}");
    }

    #[test]
    fn a_field_that_is_written_twice_at_once_has_the_later_value() {
        let mut doc = Doc::new(PeerId(1));
        let row = doc.transact(0, |tx| tx.table("t").insert([("a", 1), ("b", 2), ("a", 3)])).0;
        let told: Vec<_> = doc.table("t").fields(row).collect();
        assert_eq!(told, [("a", 3.into()), ("b", 2.into())]);
        assert_eq!(doc.table("t").get(row, "a"), Some(3.into()));
    }

    proptest! {
        #[test]
        fn the_fields_of_a_row_are_those_that_are_read_one_by_one(
            rows in prop::collection::vec(prop::collection::vec(0usize..4, 0..5), 1..4),
            steps in prop::collection::vec((0usize..2, 0usize..4, 0usize..4, 0u8..4), 0..30),
        ) {
            let mut docs = [1, 2].map(|peer| Doc::new(PeerId(peer)));
            let rows: Vec<RowId> = docs[0].transact(0, |tx| {
                let fields = |row: &Vec<usize>| row.iter().map(|n| NAMES[*n]).zip(0i64..).collect();
                let all: Vec<Vec<_>> = rows.iter().map(fields).collect();
                all.into_iter().map(|fields| tx.table("t").insert(fields)).collect()
            }).0;
            let blocks = docs[0].blocks_since(docs[1].version());
            docs[1].import(0, blocks).unwrap();
            for (at, (who, row, name, kind)) in steps.into_iter().enumerate() {
                let row = rows[row % rows.len()];
                docs[who].transact(0, |tx| match kind {
                    0 => tx.table("t").remove(row),
                    1 => tx.table("t").restore(row),
                    _ => tx.table("t").set(row, NAMES[name], at as i64 + 10),
                }).0.unwrap();
                if kind == 3 {
                    let blocks = docs[who].blocks_since(docs[1 - who].version());
                    docs[1 - who].import(0, blocks).unwrap();
                }
                for (doc, row) in docs.iter().flat_map(|doc| rows.iter().map(move |r| (doc, *r))) {
                    let table = doc.table("t");
                    let one_by_one = ["a", "b", "c", "d"]
                        .into_iter()
                        .filter_map(|name| Some((name, table.get(row, name)?)));
                    prop_assert!(table.fields(row).eq(one_by_one));
                }
            }
        }
    }
}
