//! Live queries: the rows that pass a filter, in an order, kept up to date row by row.
//!
//! A changed row is read, filtered and put in its place in O(log n); the list of rows notifies
//! its readers only if a row came, went or moved.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::ops::Bound;
use std::rc::{Rc, Weak};

use leptos::reactive::graph::Observer;
use leptos::reactive::signal::ArcTrigger;
use leptos::reactive::traits::Track;
use leptos_sync_engine::{Doc, RowId, Stamp};

use crate::collection::{LocalFirstCollection, Row, TableState};
use crate::field::{RecordFields, RowRef};
use crate::local::Local;
use crate::pulse::Triggers;
use crate::state::RowWatcher;

type Filter<T> = Box<dyn Fn(&T) -> bool>;

/// A query in the making; [`Query::watch`] starts it.
///
/// Filters and keys are functions of the record alone. They run when a row changes, not when a
/// signal does: build the query anew, for example in a `Memo`, when what they look for changes.
pub struct Query<T: RecordFields, K = ()> {
    collection: LocalFirstCollection<T>,
    filters: Vec<Filter<T>>,
    key: Box<dyn Fn(&T) -> K>,
}

impl<T: RecordFields, K> std::fmt::Debug for Query<T, K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Query").field("collection", &self.collection).finish_non_exhaustive()
    }
}

impl<T: RecordFields> Query<T> {
    pub(crate) fn new(collection: LocalFirstCollection<T>) -> Self {
        Self { collection, filters: Vec::new(), key: Box::new(|_| ()) }
    }
}

impl<T: RecordFields, K: Ord + Clone + 'static> Query<T, K> {
    /// Keeps the rows for which `filter` holds, beside all filters before.
    #[must_use]
    pub fn filter(mut self, filter: impl Fn(&T) -> bool + 'static) -> Self {
        self.filters.push(Box::new(filter));
        self
    }

    /// Sorts by a key; rows with equal keys, and all rows without this, are oldest first. For a
    /// descending order wrap the key in [`std::cmp::Reverse`].
    #[must_use]
    pub fn sort_by_key<L: Ord + Clone + 'static>(
        self,
        key: impl Fn(&T) -> L + 'static,
    ) -> Query<T, L> {
        Query { collection: self.collection, filters: self.filters, key: Box::new(key) }
    }

    /// Runs the query once and keeps its answer up to date until the current owner goes.
    ///
    /// Rows that are no `T`, because another version of the application wrote them, are left out.
    #[must_use]
    pub fn watch(self) -> LiveQuery<T> {
        let handle = self.collection.table;
        let Some(table) = handle.get() else { return LiveQuery::new(handle, Local::none()) };
        let (doc, name) = (table.doc.clone(), table.name.clone());
        let live = Rc::new(Live {
            table,
            filters: self.filters,
            key: self.key,
            answer: RefCell::new(Answer { order: BTreeSet::new(), places: BTreeMap::new() }),
            trigger: ArcTrigger::new(),
        });
        doc.read(|doc| live.fill(doc));
        let watcher: Weak<Live<T, K>> = Rc::downgrade(&live);
        doc.watch(&name, watcher);
        LiveQuery::new(handle, Local::new(live as Rc<dyn LiveRows>))
    }
}

/// The rows that answer a query, now and from now on. `Copy`.
pub struct LiveQuery<T: RecordFields> {
    table: Local<TableState>,
    rows: Local<dyn LiveRows>,
    marker: PhantomData<fn() -> T>,
}

impl<T: RecordFields> Clone for LiveQuery<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: RecordFields> Copy for LiveQuery<T> {}

impl<T: RecordFields> PartialEq for LiveQuery<T> {
    fn eq(&self, other: &Self) -> bool {
        self.rows == other.rows
    }
}

impl<T: RecordFields> std::fmt::Debug for LiveQuery<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveQuery").finish_non_exhaustive()
    }
}

impl<T: RecordFields> LiveQuery<T> {
    fn new(table: Local<TableState>, rows: Local<dyn LiveRows>) -> Self {
        Self { table, rows, marker: PhantomData }
    }

    /// The rows, in order. Reactive: runs again when a row comes, goes or moves.
    #[must_use]
    pub fn rows(&self) -> Vec<Row<T>> {
        let Some(rows) = self.rows.get() else { return Vec::new() };
        rows.track();
        let row = |row| Row::new(RowRef { table: self.table, row });
        rows.rows().into_iter().map(row).collect()
    }

    /// How many rows there are. Reactive.
    #[must_use]
    pub fn len(&self) -> usize {
        let Some(rows) = self.rows.get() else { return 0 };
        rows.track();
        rows.len()
    }

    /// Whether no row answers the query. Reactive.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a [`LiveQuery`] needs, without the types of its closures.
trait LiveRows {
    fn track(&self);
    fn rows(&self) -> Vec<RowId>;
    fn len(&self) -> usize;
}

struct Live<T, K: Ord> {
    table: Rc<TableState>,
    filters: Vec<Filter<T>>,
    key: Box<dyn Fn(&T) -> K>,
    answer: RefCell<Answer<K>>,
    trigger: ArcTrigger,
}

/// A row's place: by key, then by age.
type Place<K> = (K, Stamp, RowId);

#[derive(PartialEq)]
struct Answer<K: Ord> {
    order: BTreeSet<Place<K>>,
    places: BTreeMap<RowId, (K, Stamp)>,
}

impl<K: Ord + Clone> Answer<K> {
    /// Gives a row a place, or none; whether a row came, went or moved.
    fn put(&mut self, row: RowId, place: Option<(K, Stamp)>) -> bool {
        let old = match place.clone() {
            Some(place) => self.places.insert(row, place),
            None => self.places.remove(&row),
        };
        match (old, place) {
            (None, None) => false,
            (Some(old), Some(new)) if old == new => false,
            (None, Some((key, stamp))) => self.order.insert((key, stamp, row)),
            (Some((key, stamp)), None) => self.order.remove(&(key, stamp, row)),
            (Some((old_key, old_stamp)), Some((key, stamp))) => {
                let (old, new) = ((old_key, old_stamp, row), (key, stamp, row));
                let before = self.neighbours(&old);
                self.order.remove(&old);
                let after = self.neighbours(&new);
                self.order.insert(new);
                before != after
            }
        }
    }

    /// The rows right before and after a place, whether that is taken or not.
    fn neighbours(&self, place: &Place<K>) -> (Option<RowId>, Option<RowId>) {
        let before = self.order.range(..place).next_back();
        let after = self.order.range((Bound::Excluded(place), Bound::Unbounded)).next();
        (before.map(|place| place.2), after.map(|place| place.2))
    }
}

impl<T: RecordFields, K: Ord + Clone + 'static> Live<T, K> {
    fn place(&self, doc: &Doc, row: RowId) -> Option<(K, Stamp)> {
        let record: T = self.table.record(doc, row)?;
        if !self.filters.iter().all(|filter| filter(&record)) {
            return None;
        }
        Some(((self.key)(&record), doc.table(&self.table.name).created(row)?))
    }

    fn fill(&self, doc: &Doc) -> bool {
        let mut answer = Answer { order: BTreeSet::new(), places: BTreeMap::new() };
        for row in doc.table(&self.table.name).rows() {
            let place = self.place(doc, row);
            answer.put(row, place);
        }
        let changed = *self.answer.borrow() != answer;
        let old = self.answer.replace(answer);
        drop(old);
        changed
    }
}

impl<T: RecordFields, K: Ord + Clone + 'static> RowWatcher for Live<T, K> {
    fn rows_changed(&self, doc: &Doc, rows: &BTreeSet<RowId>, triggers: &mut Triggers) {
        let mut changed = false;
        for row in rows {
            // Filters are the application's code: run them while nothing is borrowed.
            let place = self.place(doc, *row);
            changed |= self.answer.borrow_mut().put(*row, place);
        }
        if changed {
            triggers.push(self.trigger.clone());
        }
    }

    fn reload(&self, doc: &Doc, triggers: &mut Triggers) {
        if self.fill(doc) {
            triggers.push(self.trigger.clone());
        }
    }
}

impl<T: RecordFields, K: Ord + Clone + 'static> LiveRows for Live<T, K> {
    fn track(&self) {
        if Observer::get().is_some() {
            self.trigger.track();
        }
    }

    fn rows(&self) -> Vec<RowId> {
        self.answer.borrow().order.iter().map(|place| place.2).collect()
    }

    fn len(&self) -> usize {
        self.answer.borrow().places.len()
    }
}

#[cfg(test)]
mod tests {
    use leptos_sync_engine::{OpId, PeerId};

    use super::*;

    fn row(seq: u32) -> RowId {
        RowId(OpId::new(PeerId(1), seq))
    }

    #[test]
    fn only_a_row_that_comes_goes_or_moves_changes_the_answer() {
        let mut answer = Answer { order: BTreeSet::new(), places: BTreeMap::new() };
        for seq in 0..3u32 {
            assert!(answer.put(row(seq), Some((seq * 10, Stamp(u64::from(seq))))));
        }
        assert!(!answer.put(row(1), Some((10, Stamp(1)))), "the same place");
        assert!(!answer.put(row(1), Some((15, Stamp(1)))), "another key, the same neighbours");
        assert!(answer.put(row(1), Some((25, Stamp(1)))), "moved to the end");
        assert!(answer.put(row(0), None), "gone");
        assert!(!answer.put(row(0), None), "gone already");
        let order: Vec<_> = answer.order.iter().map(|place| place.2).collect();
        assert_eq!(order, [row(2), row(1)]);
    }
}
