//! Typed access: records in a document's tables.

use std::sync::Arc;

use leptos_sync_crdt::{ContainerId, Doc, RowId, Transaction, Value};

use crate::record::{Record, RecordError, RowSink, RowSource};

/// Reads a row as a record, also a removed one.
///
/// # Errors
/// [`RecordError`] if a field is missing or of another type; an unknown row has no fields.
pub fn read_record<T: Record>(doc: &Doc, table: &str, row: RowId) -> Result<T, RecordError> {
    T::read(&DocRow { doc, table, row })
}

/// Adds a record to a table and returns its row.
pub fn insert_record<T: Record>(tx: &mut Transaction<'_>, table: &str, record: &T) -> RowId {
    let mut fields = NewRow::default();
    record.write(&mut fields);
    let row = tx.table(table).insert(fields.values);
    let table: Arc<str> = table.into();
    let cell = |field: &str| ContainerId::Cell { table: table.clone(), row, field: field.into() };
    for (field, amount) in fields.counters {
        tx.counter(cell(field)).add(amount);
    }
    for (field, text) in fields.texts {
        // A text longer than one edit may insert goes in as several.
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let piece = &rest[..rest.floor_char_boundary(leptos_sync_crdt::INSERT_BYTES_MAX)];
            let end = tx.doc().text(cell(field)).len();
            tx.text(cell(field)).insert(end, piece).expect("the end is in range, the piece short");
            rest = &rest[piece.len()..];
        }
    }
    row
}

struct DocRow<'a> {
    doc: &'a Doc,
    table: &'a str,
    row: RowId,
}

impl DocRow<'_> {
    fn cell(&self, field: &str) -> ContainerId {
        ContainerId::cell(self.table, self.row, field)
    }
}

impl RowSource for DocRow<'_> {
    fn value(&self, field: &'static str) -> Option<Value> {
        self.doc.table(self.table).get(self.row, field)
    }

    fn counter(&self, field: &'static str) -> i64 {
        self.doc.counter(self.cell(field))
    }

    fn text(&self, field: &'static str) -> String {
        self.doc.text(self.cell(field)).to_string()
    }
}

#[derive(Default)]
struct NewRow {
    values: Vec<(&'static str, Value)>,
    counters: Vec<(&'static str, i64)>,
    texts: Vec<(&'static str, String)>,
}

impl RowSink for NewRow {
    fn value(&mut self, field: &'static str, value: Value) {
        self.values.push((field, value));
    }

    fn counter(&mut self, field: &'static str, amount: i64) {
        self.counters.push((field, amount));
    }

    fn text(&mut self, field: &'static str, text: &str) {
        self.texts.push((field, text.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use leptos_sync_crdt::PeerId;

    use super::*;
    use crate::record::{FieldKind, FieldSpec, FieldValue, read_field};

    #[derive(Clone, Debug, PartialEq)]
    struct Task {
        title: String,
        votes: i64,
        notes: String,
    }

    impl Record for Task {
        const FIELDS: &'static [FieldSpec] = &[
            FieldSpec { name: "title", kind: FieldKind::Plain },
            FieldSpec { name: "votes", kind: FieldKind::Counter },
            FieldSpec { name: "notes", kind: FieldKind::Text },
        ];

        fn read(row: &dyn RowSource) -> Result<Self, RecordError> {
            let title = read_field(row, "title", None)?;
            Ok(Self { title, votes: row.counter("votes"), notes: row.text("notes") })
        }

        fn write(&self, row: &mut dyn RowSink) {
            row.value("title", self.title.to_value());
            row.counter("votes", self.votes);
            row.text("notes", &self.notes);
        }
    }

    #[test]
    fn a_record_reads_back_from_its_row_in_one_change() {
        let mut doc = Doc::new(PeerId(1));
        let task = Task { title: "Milk".into(), votes: -2, notes: "oat 🥛".into() };
        let (row, commit) = doc.transact(0, |tx| insert_record(tx, "tasks", &task));
        assert!(commit.is_some());
        assert_eq!(read_record::<Task>(&doc, "tasks", row), Ok(task));
    }

    #[test]
    fn a_row_of_another_layout_is_an_error() {
        let mut doc = Doc::new(PeerId(1));
        let row = doc.transact(0, |tx| tx.table("tasks").insert([("title", 1)])).0;
        let read = read_record::<Task>(&doc, "tasks", row);
        assert_eq!(read, Err(RecordError::WrongType("title")));
        let unknown = RowId::fallback();
        let read = read_record::<Task>(&doc, "tasks", unknown);
        assert_eq!(read, Err(RecordError::MissingField("title")));
    }
}
