//! Fields as signals: read, write, bind, render. An effect that reads one runs again when that
//! one changes, and for no other reason.

use std::ops::Deref;
use std::panic::Location;

use leptos::prelude::{DefinedAt, IsDisposed, Notify, ReadUntracked, Set, Track, Update};
use leptos::tachys::reactive_graph::bind::IntoSplitSignal;
use leptos_sync_engine::{ContainerId, Doc, FieldValue, Record, RowId, Transaction, Value};

use crate::collection::TableState;
use crate::local::Local;
use crate::pulse::Topic;
use crate::text::SyncText;

/// A record with accessors for its fields. Implement it with `#[derive(Record)]`.
pub trait RecordFields: Record {
    /// The struct whose methods are the fields of a row.
    type Fields: Copy + From<RowRef> + Send + Sync + 'static;
}

/// Names a row of a table of an open document.
#[derive(Clone, Copy, PartialEq)]
pub struct RowRef {
    pub(crate) table: Local<TableState>,
    pub(crate) row: RowId,
}

impl std::fmt::Debug for RowRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RowRef").field(&self.row).finish()
    }
}

impl RowRef {
    pub(crate) fn container(self, field: &str) -> Option<ContainerId> {
        let table = self.table.get()?;
        Some(ContainerId::Cell { table: table.name.clone(), row: self.row, field: field.into() })
    }
}

/// For the derive macro: the signal of a plain field.
#[doc(hidden)]
#[must_use]
pub fn field<T: FieldValue>(row: RowRef, name: &'static str, default: fn() -> T) -> Field<T> {
    Field { row, name, default }
}

/// For the derive macro: the signal of a counter field.
#[doc(hidden)]
#[must_use]
pub fn counter_field(row: RowRef, name: &'static str) -> CounterField {
    CounterField { row, name }
}

/// For the derive macro: the handle of a text field.
#[doc(hidden)]
#[must_use]
pub fn text_field(row: RowRef, name: &'static str) -> SyncText {
    SyncText::cell(row, name)
}

/// A plain field of a row: a signal that is kept and synced. `Copy`.
///
/// Reads with `get`, `with` and `read`, writes with `set` and `update`, binds with `bind:value`
/// and `bind:checked`, and renders in a view. While the row does not exist it reads as the
/// field's default and takes no writes. Setting the value that it has already changes nothing.
pub struct Field<T: 'static> {
    row: RowRef,
    name: &'static str,
    default: fn() -> T,
}

impl<T> Clone for Field<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Field<T> {}

impl<T> std::fmt::Debug for Field<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Field").field("row", &self.row.row).field("name", &self.name).finish()
    }
}

impl<T: FieldValue> Field<T> {
    /// Whether the document's handle that it came from is gone.
    #[must_use]
    pub fn is_disposed(&self) -> bool {
        self.row.table.is_disposed()
    }

    pub(crate) fn read_in(&self, doc: &Doc) -> T {
        let value = self.row.table.get();
        let value = value.and_then(|table| {
            doc.table(&table.name)
                .get(self.row.row, self.name)
                .and_then(|value| T::from_value(&value))
        });
        value.unwrap_or_else(self.default)
    }

    pub(crate) fn write_in(&self, tx: &mut Transaction<'_>, value: Value) {
        if let Some(table) = self.row.table.get() {
            write_cell(tx, &table.name, self.row.row, self.name, value);
        }
    }
}

fn write_cell(tx: &mut Transaction<'_>, table: &str, row: RowId, name: &str, value: Value) {
    if tx.doc().table(table).get(row, name).as_ref() != Some(&value) {
        // A row that this device does not know cannot be written; it reads as default too.
        let _ = tx.table(table).set(row, name, value);
    }
}

/// A value read from a [`Field`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldGuard<T>(T);

impl<T> FieldGuard<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(value)
    }
}

impl<T> Deref for FieldGuard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DefinedAt for Field<T> {
    fn defined_at(&self) -> Option<&'static Location<'static>> {
        None
    }
}

impl<T> Track for Field<T> {
    fn track(&self) {
        let Some(table) = self.row.table.get() else { return };
        let topic = || Topic::Field(table.name.clone(), self.row.row, self.name.into());
        table.doc.pulses.track(topic);
    }
}

impl<T> Notify for Field<T> {
    fn notify(&self) {
        let Some(table) = self.row.table.get() else { return };
        let topic = Topic::Field(table.name.clone(), self.row.row, self.name.into());
        table.doc.pulses.notify(&topic);
    }
}

impl<T: FieldValue> ReadUntracked for Field<T> {
    type Value = FieldGuard<T>;

    fn try_read_untracked(&self) -> Option<FieldGuard<T>> {
        match self.row.table.get() {
            Some(table) => Some(FieldGuard(table.doc.read(|doc| self.read_in(doc)))),
            None if self.is_disposed() => None,
            None => Some(FieldGuard((self.default)())),
        }
    }
}

// Not through `Update`, which reads the old value first: a field can be set inside `transact`.
impl<T: FieldValue> Set for Field<T> {
    type Value = T;

    fn set(&self, value: T) {
        self.try_set(value);
    }

    fn try_set(&self, value: T) -> Option<T> {
        let Some(table) = self.row.table.get() else { return Some(value) };
        let (row, name, value) = (self.row.row, self.name, value.to_value());
        let doc = table.doc.clone();
        doc.edit(move |tx| write_cell(tx, &table.name, row, name, value));
        None
    }
}

impl<T: FieldValue> Update for Field<T> {
    type Value = T;

    fn try_maybe_update<U>(&self, change: impl FnOnce(&mut T) -> (bool, U)) -> Option<U> {
        let table = self.row.table.get()?;
        let mut value = table.doc.read(|doc| self.read_in(doc));
        let (changed, result) = change(&mut value);
        if changed {
            self.set(value);
        }
        Some(result)
    }
}

impl<T: FieldValue + Clone> IntoSplitSignal for Field<T> {
    type Value = T;
    type Read = Self;
    type Write = Self;

    fn into_split_signal(self) -> (Self, Self) {
        (self, self)
    }
}

/// A counter field of a row: a signal to which concurrent additions all count. `Copy`.
#[derive(Clone, Copy, Debug)]
pub struct CounterField {
    row: RowRef,
    name: &'static str,
}

impl CounterField {
    pub(crate) fn container(&self) -> Option<ContainerId> {
        self.row.container(self.name)
    }

    /// Adds `amount`, which may be negative; the sum wraps around at the ends of `i64`.
    pub fn add(&self, amount: i64) {
        if let (Some(table), Some(id)) = (self.row.table.get(), self.container()) {
            table.doc.edit(move |tx| tx.counter(id).add(amount));
        }
    }
}

impl DefinedAt for CounterField {
    fn defined_at(&self) -> Option<&'static Location<'static>> {
        None
    }
}

impl IsDisposed for CounterField {
    fn is_disposed(&self) -> bool {
        self.row.table.is_disposed()
    }
}

impl Track for CounterField {
    fn track(&self) {
        if let (Some(table), Some(id)) = (self.row.table.get(), self.container()) {
            table.doc.pulses.track(|| Topic::Container(id));
        }
    }
}

impl ReadUntracked for CounterField {
    type Value = FieldGuard<i64>;

    fn try_read_untracked(&self) -> Option<FieldGuard<i64>> {
        match (self.row.table.get(), self.container()) {
            (Some(table), Some(id)) => Some(FieldGuard(table.doc.read(|doc| doc.counter(id)))),
            _ if self.is_disposed() => None,
            _ => Some(FieldGuard(0)),
        }
    }
}
