//! `LocalFirstCollection<T>`: a table of records, and its rows.

use std::marker::PhantomData;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use leptos_sync_engine::{Doc, RowId, insert_record, read_record};

use crate::field::{RecordFields, RowRef};
use crate::local::Local;
use crate::pulse::Topic;
use crate::query::Query;
use crate::state::DocState;

/// What all handles to one table of one document handle share.
pub(crate) struct TableState {
    pub(crate) doc: Rc<DocState>,
    pub(crate) name: Arc<str>,
}

impl TableState {
    pub(crate) fn new(doc: Rc<DocState>, name: &str) -> Self {
        Self { doc, name: name.into() }
    }

    /// A row that is there and is a `T`.
    pub(crate) fn record<T: RecordFields>(&self, doc: &Doc, row: RowId) -> Option<T> {
        doc.table(&self.name).contains(row).then(|| read_record(doc, &self.name, row).ok())?
    }
}

/// The rows of a table of a document, as records. `Copy`; get it with
/// [`SyncDoc::collection`](crate::SyncDoc::collection).
///
/// Writes take effect at once, are kept on this device, and reach the server when it can be
/// reached. On the server, and after the document's handle is disposed, it is empty and takes no
/// writes.
pub struct LocalFirstCollection<T: 'static> {
    pub(crate) table: Local<TableState>,
    marker: PhantomData<fn() -> T>,
}

impl<T> Clone for LocalFirstCollection<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for LocalFirstCollection<T> {}

impl<T> std::fmt::Debug for LocalFirstCollection<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.table.get().map(|table| table.name.clone());
        f.debug_tuple("LocalFirstCollection").field(&name).finish()
    }
}

impl<T: RecordFields> LocalFirstCollection<T> {
    pub(crate) fn new(table: Local<TableState>) -> Self {
        Self { table, marker: PhantomData }
    }

    /// Adds a record and returns its row; `None` if there is no document behind the handle.
    ///
    /// Inside [`SyncDoc::transact`](crate::SyncDoc::transact) the record is added too, but its row
    /// is not known yet: use [`Tx::insert_into`](crate::Tx::insert_into) there.
    pub fn insert(&self, record: T) -> Option<Row<T>> {
        let table = self.table.get()?;
        if table.doc.is_in_transaction() {
            let name = table.name.clone();
            table.doc.edit(move |tx| {
                insert_record(tx, &name, &record);
            });
            return None;
        }
        let row = table.doc.transact(|tx| insert_record(tx, &table.name, &record))?;
        Some(self.row(row))
    }

    /// Removes a row; one that is not there stays so. [`LocalFirstCollection::restore`] or an undo
    /// bring it back.
    pub fn remove(&self, row: impl Into<RowId>) {
        let Some(table) = self.table.get() else { return };
        let (name, row) = (table.name.clone(), row.into());
        table.doc.edit(move |tx| {
            // An unknown row is not there, which is what was asked for.
            let _ = tx.table(&name).remove(row);
        });
    }

    /// Brings a removed row back, with every field as it stands.
    pub fn restore(&self, row: impl Into<RowId>) {
        let Some(table) = self.table.get() else { return };
        let (name, row) = (table.name.clone(), row.into());
        table.doc.edit(move |tx| {
            // A row that this device does not know yet cannot be brought back by it.
            let _ = tx.table(&name).restore(row);
        });
    }

    /// The row with this id, if it is there. Reactive: runs again when the row comes or goes.
    #[must_use]
    pub fn get(&self, row: RowId) -> Option<Row<T>> {
        let found = self.row(row);
        found.exists().then_some(found)
    }

    /// The handle of a row, whether it is there or not.
    #[must_use]
    pub fn row(&self, row: RowId) -> Row<T> {
        Row::new(RowRef { table: self.table, row })
    }

    /// All rows, oldest first. Reactive: runs again when a row comes or goes, not when a field
    /// changes.
    #[must_use]
    pub fn rows(&self) -> Vec<Row<T>> {
        let read = |table: &TableState, doc: &Doc| -> Vec<RowId> {
            doc.table(&table.name).rows().collect()
        };
        self.tracked(read).into_iter().map(|row| self.row(row)).collect()
    }

    /// How many rows there are. Reactive.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tracked(|table, doc| doc.table(&table.name).len())
    }

    /// Whether there is no row. Reactive.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Starts a query; it ends with [`Query::watch`].
    #[must_use]
    pub fn query(&self) -> Query<T> {
        Query::new(*self)
    }

    fn tracked<R: Default>(&self, read: impl FnOnce(&TableState, &Doc) -> R) -> R {
        let Some(table) = self.table.get() else { return R::default() };
        table.doc.pulses.track(|| Topic::Table(table.name.clone()));
        table.doc.read(|doc| read(&table, doc))
    }
}

/// A row of a [`LocalFirstCollection`]. `Copy`; its fields are methods, which the record's derive
/// adds: `row.title()`, `row.votes()`.
pub struct Row<T: RecordFields> {
    pub(crate) raw: RowRef,
    fields: T::Fields,
}

impl<T: RecordFields> Clone for Row<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: RecordFields> Copy for Row<T> {}

impl<T: RecordFields> PartialEq for Row<T> {
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw
    }
}

impl<T: RecordFields> Eq for Row<T> {}

impl<T: RecordFields> std::fmt::Debug for Row<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Row").field(&self.raw.row).finish()
    }
}

impl<T: RecordFields> Deref for Row<T> {
    type Target = T::Fields;

    fn deref(&self) -> &T::Fields {
        &self.fields
    }
}

impl<T: RecordFields> Row<T> {
    pub(crate) fn new(raw: RowRef) -> Self {
        Self { raw, fields: raw.into() }
    }

    /// The row's id: the same on every device, forever.
    #[must_use]
    pub fn id(&self) -> RowId {
        self.raw.row
    }

    /// The collection it belongs to.
    #[must_use]
    pub fn collection(&self) -> LocalFirstCollection<T> {
        LocalFirstCollection::new(self.raw.table)
    }

    /// Whether the row is there. Reactive.
    #[must_use]
    pub fn exists(&self) -> bool {
        let Some(table) = self.raw.table.get() else { return false };
        table.doc.pulses.track(|| Topic::Alive(table.name.clone(), self.raw.row));
        table.doc.read(|doc| doc.table(&table.name).contains(self.raw.row))
    }

    /// The whole record; `None` if the row is removed, or was written by another version of the
    /// application in a form that this one cannot read. Reactive over all its fields.
    #[must_use]
    pub fn get(&self) -> Option<T> {
        let table = self.raw.table.get()?;
        table.doc.pulses.track(|| Topic::Row(table.name.clone(), self.raw.row));
        self.get_untracked()
    }

    /// As [`Row::get`], without following changes.
    #[must_use]
    pub fn get_untracked(&self) -> Option<T> {
        let table = self.raw.table.get()?;
        table.doc.read(|doc| table.record(doc, self.raw.row))
    }

    /// Removes the row.
    pub fn remove(&self) {
        self.collection().remove(self.raw.row);
    }

    /// Brings the row back if it was removed.
    pub fn restore(&self) {
        self.collection().restore(self.raw.row);
    }
}
