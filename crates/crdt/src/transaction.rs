//! Writing: several edits that become one change.

use std::sync::Arc;

use crate::block::{Block, BlockHeader};
use crate::doc::{Commit, Doc};
use crate::graph::View;
use crate::id::{OpId, RowId};
use crate::op::{ContainerId, Op};
use crate::patch::Patch;
use crate::text::{Hidden, TextError};
use crate::undo::Inverse;
use crate::value::Value;

/// The largest text that one edit may insert, in bytes of UTF-8; insert more in several changes.
pub const INSERT_BYTES_MAX: usize = 4 << 20;

/// Edits in progress. Each is visible at once to reads through [`Transaction::doc`].
pub struct Transaction<'a> {
    doc: &'a mut Doc,
    header: BlockHeader,
    ops: Vec<Op>,
    patches: Vec<Patch>,
    inverses: Vec<Inverse>,
}

impl<'a> Transaction<'a> {
    pub(crate) fn new(doc: &'a mut Doc, wall_ms: u64) -> Self {
        let header = doc.next_header(wall_ms);
        Self { doc, header, ops: Vec::new(), patches: Vec::new(), inverses: Vec::new() }
    }

    pub(crate) fn finish(self) -> (Option<Commit>, Vec<Inverse>) {
        if self.ops.is_empty() {
            return (None, self.inverses);
        }
        let block = Block::encode(self.header, &self.ops);
        self.doc.history.push(block.clone());
        (Some(Commit { block, patches: self.patches }), self.inverses)
    }

    fn push(&mut self, op: Op) -> (OpId, Vec<Hidden>) {
        let id = self.next_id();
        let stamp = self.header.stamp.plus(self.header.len);
        let hidden = self.doc.apply_op(&op, id, stamp, &View::default(), &mut self.patches);
        self.header.len += op.len();
        self.ops.push(op);
        (id, hidden)
    }

    pub(crate) fn next_id(&self) -> OpId {
        OpId::new(self.header.peer, self.header.seq + self.header.len)
    }

    /// The document with the edits made so far.
    #[must_use]
    pub fn doc(&self) -> &Doc {
        self.doc
    }

    /// The register of this name.
    pub fn register(&mut self, name: &str) -> RegisterMut<'_, 'a> {
        RegisterMut { tx: self, name: name.into() }
    }

    /// The map of this name.
    pub fn map(&mut self, name: &str) -> MapMut<'_, 'a> {
        MapMut { tx: self, name: name.into() }
    }

    /// The table of this name.
    pub fn table(&mut self, name: &str) -> TableMut<'_, 'a> {
        TableMut { tx: self, name: name.into() }
    }

    /// A counter.
    pub fn counter(&mut self, id: impl Into<ContainerId>) -> CounterMut<'_, 'a> {
        CounterMut { tx: self, id: id.into() }
    }

    /// A text.
    pub fn text(&mut self, id: impl Into<ContainerId>) -> TextMut<'_, 'a> {
        TextMut { tx: self, id: id.into() }
    }
}

/// Writes one register.
pub struct RegisterMut<'t, 'a> {
    tx: &'t mut Transaction<'a>,
    name: Arc<str>,
}

impl RegisterMut<'_, '_> {
    /// Replaces the value. Levels nested deeper than [`crate::MAX_NESTING`] are stored as null.
    pub fn set(&mut self, value: impl Into<Value>) {
        let previous = self.tx.doc.register(&self.name).cloned();
        let inverse = Inverse::Register { name: self.name.clone(), previous };
        self.tx.push(Op::RegisterSet { name: self.name.clone(), value: value.into().shallow() });
        self.tx.inverses.push(inverse);
    }
}

/// Writes the entries of one map.
pub struct MapMut<'t, 'a> {
    tx: &'t mut Transaction<'a>,
    name: Arc<str>,
}

impl MapMut<'_, '_> {
    /// Sets an entry. Levels nested deeper than [`crate::MAX_NESTING`] are stored as null.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.write(key, Some(value.into().shallow()));
    }

    /// Removes an entry; a key that is not set stays so.
    pub fn remove(&mut self, key: &str) {
        if self.tx.doc.map(&self.name).get(key).is_some() {
            self.write(key, None);
        }
    }

    pub(crate) fn write(&mut self, key: &str, value: Option<Value>) {
        let key: Arc<str> = key.into();
        let previous = self.tx.doc.map(&self.name).get(&key).cloned();
        self.tx.push(Op::MapSet { map: self.name.clone(), key: key.clone(), value });
        self.tx.inverses.push(Inverse::MapEntry { map: self.name.clone(), key, previous });
    }
}

/// Why a row was not written. The table is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RowError {
    /// The table never had this row.
    #[error("no such row")]
    Unknown,
}

/// Writes the rows of one table.
pub struct TableMut<'t, 'a> {
    tx: &'t mut Transaction<'a>,
    name: Arc<str>,
}

impl TableMut<'_, '_> {
    /// Adds a row with these fields and returns its id.
    pub fn insert<F, V>(&mut self, fields: impl IntoIterator<Item = (F, V)>) -> RowId
    where
        F: AsRef<str>,
        V: Into<Value>,
    {
        let fields = fields.into_iter().map(|(f, v)| (f.as_ref().into(), v.into().shallow()));
        let op = Op::RowInsert { table: self.name.clone(), fields: fields.collect() };
        let row = RowId(self.tx.push(op).0);
        self.tx.inverses.push(Inverse::RowAlive { table: self.name.clone(), row, before: false });
        row
    }

    /// Replaces the value in a field, also of a removed row (which stays removed). Levels nested
    /// deeper than [`crate::MAX_NESTING`] are stored as null.
    ///
    /// # Errors
    /// [`RowError::Unknown`] if the table never had the row.
    pub fn set(
        &mut self,
        row: RowId,
        field: &str,
        value: impl Into<Value>,
    ) -> Result<(), RowError> {
        self.known(row)?;
        let (table, field): (_, Arc<str>) = (self.name.clone(), field.into());
        let previous = self.tx.doc.table(&table).get(row, &field).cloned();
        let value = value.into().shallow();
        self.tx.push(Op::RowSet { table: table.clone(), row, field: field.clone(), value });
        self.tx.inverses.push(Inverse::Cell { table, row, field, previous });
        Ok(())
    }

    /// Removes a row; one that is already removed stays so.
    ///
    /// # Errors
    /// [`RowError::Unknown`] if the table never had the row.
    pub fn remove(&mut self, row: RowId) -> Result<(), RowError> {
        self.known(row)?;
        let table = self.name.clone();
        if self.tx.doc.table(&table).contains(row) {
            self.tx.push(Op::RowRemove { table: table.clone(), row });
            self.tx.inverses.push(Inverse::RowAlive { table, row, before: true });
        }
        Ok(())
    }

    /// Brings a removed row back, with every field as it stands here; one that is there stays so.
    ///
    /// # Errors
    /// [`RowError::Unknown`] if the table never had the row.
    pub fn restore(&mut self, row: RowId) -> Result<(), RowError> {
        self.known(row)?;
        let table = self.name.clone();
        if !self.tx.doc.table(&table).contains(row) {
            let fields = self.tx.doc.table(&table).fields(row);
            let fields = fields.map(|(field, value)| (field.into(), value.clone())).collect();
            self.tx.push(Op::RowRestore { table: table.clone(), row, fields });
            self.tx.inverses.push(Inverse::RowAlive { table, row, before: false });
        }
        Ok(())
    }

    /// Adds to the counter in a row's field.
    ///
    /// # Errors
    /// [`RowError::Unknown`] if the table never had the row.
    pub fn add(&mut self, row: RowId, field: &str, delta: i64) -> Result<(), RowError> {
        self.known(row)?;
        let id = ContainerId::Cell { table: self.name.clone(), row, field: field.into() };
        self.tx.counter(id).add(delta);
        Ok(())
    }

    fn known(&self, row: RowId) -> Result<(), RowError> {
        let known = self.tx.doc.table(&self.name).knows(row);
        known.then_some(()).ok_or(RowError::Unknown)
    }
}

/// Adds to one counter.
pub struct CounterMut<'t, 'a> {
    tx: &'t mut Transaction<'a>,
    id: ContainerId,
}

impl CounterMut<'_, '_> {
    /// Adds `delta`; the sum wraps around at the ends of `i64`. Adding 0 writes nothing.
    pub fn add(&mut self, delta: i64) {
        if delta != 0 {
            let counter = self.id.clone();
            self.tx.push(Op::CounterAdd { counter: counter.clone(), delta });
            self.tx.inverses.push(Inverse::Counter { id: counter, delta });
        }
    }
}

/// Edits one text. Positions count Unicode scalars.
pub struct TextMut<'t, 'a> {
    tx: &'t mut Transaction<'a>,
    id: ContainerId,
}

impl TextMut<'_, '_> {
    /// Inserts `content` before the character at `pos`, or at the end if `pos` is the length.
    ///
    /// # Errors
    /// [`TextError::OutOfRange`] past the end, [`TextError::TooLarge`] over
    /// [`INSERT_BYTES_MAX`].
    pub fn insert(&mut self, pos: usize, content: &str) -> Result<(), TextError> {
        let pos = self.check(pos)?;
        if content.len() > INSERT_BYTES_MAX {
            return Err(TextError::TooLarge);
        }
        if !content.is_empty() {
            let text = self.id.clone();
            let op = Op::TextInsert { text: text.clone(), pos, content: content.into() };
            let len = op.len();
            let (id, _) = self.tx.push(op);
            self.tx.inverses.push(Inverse::TextInserted { text, id, len });
        }
        Ok(())
    }

    /// Deletes `len` characters from `pos` on.
    ///
    /// # Errors
    /// [`TextError::OutOfRange`] if they reach past the end; nothing is deleted then.
    pub fn delete(&mut self, pos: usize, len: usize) -> Result<(), TextError> {
        let end = self.check(pos.saturating_add(len))?;
        if len > 0 {
            let (text, pos) = (self.id.clone(), pos as u32);
            let op = Op::TextDelete { text: text.clone(), pos, len: end - pos };
            let (_, hidden) = self.tx.push(op);
            self.tx.inverses.push(Inverse::TextHidden { text, hidden });
        }
        Ok(())
    }

    /// Replaces `deleted` characters at `pos` by `content`.
    ///
    /// # Errors
    /// As [`TextMut::insert`] and [`TextMut::delete`]; the text is as it was then.
    pub fn splice(&mut self, pos: usize, deleted: usize, content: &str) -> Result<(), TextError> {
        if content.len() > INSERT_BYTES_MAX {
            return Err(TextError::TooLarge);
        }
        self.delete(pos, deleted)?;
        self.insert(pos, content)
    }

    fn check(&self, end: usize) -> Result<u32, TextError> {
        let len = self.tx.doc.text(&self.id).len();
        if end > len {
            return Err(TextError::OutOfRange { end, len });
        }
        u32::try_from(end).map_err(|_| TextError::TooLarge)
    }
}
