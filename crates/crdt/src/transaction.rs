//! Writing: several edits that become one change.

use crate::apply::apply_cell;
use crate::cells::{CellOp, Fields, RowRef};
use crate::container::{
    ContainerId, ContainerIx, ContainerKey, ContainerKind, Containers, Content,
};
use crate::doc::{Commit, Doc};
use crate::graph::Lv;
use crate::history::History;
use crate::id::RowId;
use crate::list::{ListMut, MovableListMut};
use crate::names::NameIx;
use crate::rope::measure;
use crate::stamp::Stamp;
use crate::text::TextError;
use crate::tree::TreeMut;
use crate::undo::{Inverse, Undo};
use crate::value::Value;

/// The largest text that one edit may insert, in bytes of UTF-8; insert more in several changes.
pub const INSERT_BYTES_MAX: usize = 4 << 20;

/// Edits in progress. Each is visible at once to reads through [`Transaction::doc`].
///
/// They are one change when [`Transaction::commit`] makes it one. A transaction that is dropped
/// without that, by an early return or a panic, leaves the document as it was before.
pub struct Transaction<'a> {
    doc: &'a mut Doc,
    wall_ms: u64,
    start: Lv,
    len: u32,
    /// How it is given up, where that can happen: an app that never begins one does without.
    roll_back: Option<fn(&mut Doc, Lv)>,
}

impl<'a> Transaction<'a> {
    /// One that ends by being finished, or by a panic, of which nothing is left where panics abort.
    pub(crate) fn new(doc: &'a mut Doc, wall_ms: u64) -> Self {
        doc.local_edits.clear();
        let roll_back = cfg!(panic = "unwind").then_some(Doc::roll_back as fn(&mut Doc, Lv));
        Self { doc, wall_ms, start: 0, len: 0, roll_back }
    }

    /// One that may be given up.
    pub(crate) fn revocable(doc: &'a mut Doc, wall_ms: u64) -> Self {
        let mut tx = Self::new(doc, wall_ms);
        tx.roll_back = Some(Doc::roll_back);
        tx
    }

    /// Makes the edits one change and one step of undo; no change if nothing was written.
    #[must_use = "a change is to be kept and sent"]
    pub fn commit(mut self) -> Option<Commit> {
        let commit = self.note_bounds();
        self.doc.undo.record(self.doc.peer(), self.wall_ms, commit);
        commit
    }

    /// Makes the edits one change, of which the caller notes how it is undone.
    pub(crate) fn finish(mut self) -> Option<Commit> {
        self.note_bounds()
    }

    /// Ends the change; nothing is left to be given up.
    fn note_bounds(&mut self) -> Option<Commit> {
        let (start, len) = (self.start, std::mem::take(&mut self.len));
        if len == 0 {
            return None;
        }
        self.doc.log_mut().0.note_bounds(start, len, 1);
        Some(Commit { start, len })
    }

    /// Takes the next `len` operations for a container.
    pub(crate) fn begin(&mut self, len: u32, container: ContainerIx) -> Lv {
        self.doc.history_mut();
        self.begin_in_log(len, container).0
    }

    /// The same where no more than the heads of what is before needs to be known; with the log.
    fn begin_in_log(
        &mut self,
        len: u32,
        container: ContainerIx,
    ) -> (Lv, &mut History, &mut Containers, &mut Undo) {
        let peer = self.doc.peer();
        let (history, containers, undo) = self.doc.log_mut();
        let free = history.graph.stamp_end();
        let stamp = if self.len == 0 { Stamp::next(free, self.wall_ms) } else { Stamp(free) };
        let lv = history.push_local(peer, len, stamp.for_some(len), container);
        if self.len == 0 {
            self.start = lv;
        }
        self.len += len;
        (lv, history, containers, undo)
    }

    pub(crate) fn write(&mut self, container: ContainerIx, op: &CellOp) -> Lv {
        let lv = self.begin(1, container);
        let (history, containers) = self.doc.parts_mut();
        apply_cell(containers, &history.graph, container, lv, op, None);
        lv
    }

    pub(crate) fn note(&mut self, inverse: Inverse) {
        self.doc.undo.note(inverse);
    }

    pub(crate) fn doc_mut(&mut self) -> &mut Doc {
        self.doc
    }

    /// The document with the edits made so far.
    #[must_use]
    pub fn doc(&self) -> &Doc {
        self.doc
    }

    /// A register.
    pub fn register<'k>(&mut self, id: impl Into<ContainerKey<'k>>) -> RegisterMut<'_, 'a> {
        let index = self.doc.containers.intern(ContainerKind::Register, &id.into());
        RegisterMut { tx: self, index }
    }

    /// A map.
    pub fn map<'k>(&mut self, id: impl Into<ContainerKey<'k>>) -> MapMut<'_, 'a> {
        let index = self.doc.containers.intern(ContainerKind::Map, &id.into());
        MapMut { tx: self, index }
    }

    /// A list.
    pub fn list<'k>(&mut self, id: impl Into<ContainerKey<'k>>) -> ListMut<'_, 'a> {
        let index = self.doc.containers.intern(ContainerKind::List, &id.into());
        ListMut { tx: self, index }
    }

    /// A movable list.
    pub fn movable_list<'k>(&mut self, id: impl Into<ContainerKey<'k>>) -> MovableListMut<'_, 'a> {
        let index = self.doc.containers.intern(ContainerKind::MovableList, &id.into());
        MovableListMut { list: ListMut { tx: self, index } }
    }

    /// A tree.
    pub fn tree<'k>(&mut self, id: impl Into<ContainerKey<'k>>) -> TreeMut<'_, 'a> {
        let index = self.doc.containers.intern(ContainerKind::Tree, &id.into());
        TreeMut { tx: self, index }
    }

    /// The table of this name.
    pub fn table<'t>(&'t mut self, name: &str) -> TableMut<'t, 'a> {
        let index = self.doc.containers.intern(ContainerKind::Table, &name.into());
        TableMut { tx: self, index }
    }

    /// A counter.
    pub fn counter<'k>(&mut self, id: impl Into<ContainerKey<'k>>) -> CounterMut<'_, 'a> {
        let index = self.doc.containers.intern(ContainerKind::Counter, &id.into());
        CounterMut { tx: self, index }
    }

    /// A text.
    pub fn text<'k>(&mut self, id: impl Into<ContainerKey<'k>>) -> TextMut<'_, 'a> {
        let index = self.doc.containers.intern(ContainerKind::Text, &id.into());
        TextMut { tx: self, index }
    }

    pub(crate) fn text_at(&mut self, index: ContainerIx) -> TextMut<'_, 'a> {
        TextMut { tx: self, index }
    }

    pub(crate) fn list_at(&mut self, index: ContainerIx) -> ListMut<'_, 'a> {
        ListMut { tx: self, index }
    }

    pub(crate) fn tree_at(&mut self, index: ContainerIx) -> TreeMut<'_, 'a> {
        TreeMut { tx: self, index }
    }

    pub(crate) fn map_at(&mut self, index: ContainerIx) -> MapMut<'_, 'a> {
        MapMut { tx: self, index }
    }

    pub(crate) fn table_at(&mut self, index: ContainerIx) -> TableMut<'_, 'a> {
        TableMut { tx: self, index }
    }

    pub(crate) fn register_at(&mut self, index: ContainerIx) -> RegisterMut<'_, 'a> {
        RegisterMut { tx: self, index }
    }

    pub(crate) fn counter_at(&mut self, index: ContainerIx) -> CounterMut<'_, 'a> {
        CounterMut { tx: self, index }
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.len > 0
            && let Some(roll_back) = self.roll_back
        {
            roll_back(self.doc, self.start);
        }
    }
}

/// Writes one register. For how writes made at once merge, see [`Doc::register`].
pub struct RegisterMut<'t, 'a> {
    tx: &'t mut Transaction<'a>,
    index: ContainerIx,
}

impl RegisterMut<'_, '_> {
    /// Replaces the value. Levels nested deeper than [`crate::MAX_NESTING`] are stored as null.
    pub fn set(&mut self, value: impl Into<Value>) {
        let Content::Register(_, state) = &self.tx.doc.containers.get(self.index).content else {
            return;
        };
        let previous = state.winner;
        self.tx.write(self.index, &CellOp::Set(value.into().shallow()));
        self.tx.note(Inverse::Register { index: self.index, previous });
    }
}

/// Writes the entries of one map. For how writes made at once merge, see [`crate::LwwMap`].
pub struct MapMut<'t, 'a> {
    tx: &'t mut Transaction<'a>,
    index: ContainerIx,
}

impl MapMut<'_, '_> {
    /// Sets an entry. Levels nested deeper than [`crate::MAX_NESTING`] are stored as null.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        if let Content::Map(_, state) = &mut self.tx.doc.containers.get_mut(self.index).content {
            let key = state.intern(key);
            self.write(key, Some(value.into().shallow()));
        }
    }

    /// Makes an entry hold a container of this kind, unless it does already, and returns the
    /// container's id. Two people who do so at once have made one container, and what both put
    /// into it merges. A later value for the entry hides the container; nesting again shows it.
    ///
    /// ```
    /// use leptos_sync_crdt::{ContainerKind, Doc, PeerId};
    /// let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
    /// for (doc, tag) in [(&mut ada, "red"), (&mut ben, "blue")] {
    ///     doc.transact(0, |tx| {
    ///         let tags = tx.map("card").nest("tags", ContainerKind::List);
    ///         tx.list(&tags).push(tag);
    ///     });
    /// }
    /// ada.import(0, ben.blocks_since(ada.version()))?;
    /// let (_, tags) = ada.map("card").nested("tags").expect("made above");
    /// assert_eq!(ada.list(&tags).len(), 2);
    /// # Ok::<(), leptos_sync_crdt::ImportError>(())
    /// ```
    ///
    /// # Panics
    /// If the container would lie in more than [`crate::MAX_NESTING`] others, or if the kind is
    /// [`ContainerKind::Table`] or one that this library does not know: those do not nest. What
    /// somebody else's program nested so all the same is kept and passed on, and cannot be read.
    pub fn nest(&mut self, key: &str, kind: ContainerKind) -> ContainerId {
        kind.check_nests();
        let container = self.tx.doc.containers.get(self.index);
        let id = container.id.clone().entry(key);
        let held = match &container.content {
            Content::Map(log, state) => state.held(key).and_then(|held| log.value(held.lv, None)),
            _ => None,
        };
        if held != Some(Value::Container(kind)) {
            self.set(key, Value::Container(kind));
        }
        id
    }

    /// Removes an entry; a key that is not set stays so.
    pub fn remove(&mut self, key: &str) {
        if let Content::Map(_, state) = &self.tx.doc.containers.get(self.index).content
            && let Some(key) = state.names.find(key)
            && state.held[key as usize].is_some_and(|held| held.is_set)
        {
            self.write(key, None);
        }
    }

    pub(crate) fn write(&mut self, key: NameIx, value: Option<Value>) {
        let Content::Map(_, state) = &self.tx.doc.containers.get(self.index).content else {
            return;
        };
        let previous = state.held[key as usize].filter(|held| held.is_set).map(|held| held.lv);
        self.tx.write(self.index, &CellOp::Put { key, value });
        self.tx.note(Inverse::MapEntry { index: self.index, key, previous });
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

/// Writes the rows of one table. For how edits made at once merge, see [`crate::Table`].
///
/// Of a removal and a return of a row at once the one with the greatest `(stamp, peer)` holds. A
/// return writes every field as its author saw it; what others wrote later holds all the same.
///
/// ```
/// use leptos_sync_crdt::{Doc, PeerId};
/// let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
/// let (task, _) = ada.transact(0, |tx| {
///     let task = tx.table("tasks").insert([("title", "milk"), ("shop", "market")]);
///     tx.table("tasks").remove(task).map(|()| task)
/// });
/// let task = task?;
/// ben.import(0, ada.blocks_since(ben.version()))?;
///
/// ben.transact(0, |tx| tx.table("tasks").set(task, "title", "oat milk")).0?;
/// ada.transact(60_000, |tx| tx.table("tasks").restore(task)).0?;
/// ben.transact(120_000, |tx| tx.table("tasks").set(task, "shop", "bakery")).0?;
///
/// ada.import(0, ben.blocks_since(ada.version()))?;
/// ben.import(0, ada.blocks_since(ben.version()))?;
/// for doc in [&ada, &ben] {
///     assert!(doc.table("tasks").contains(task));
///     assert_eq!(doc.table("tasks").get(task, "title"), Some("milk".into())); // as Ada saw it
///     assert_eq!(doc.table("tasks").get(task, "shop"), Some("bakery".into())); // written later
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TableMut<'t, 'a> {
    tx: &'t mut Transaction<'a>,
    index: ContainerIx,
}

impl TableMut<'_, '_> {
    fn intern(&mut self, field: &str) -> NameIx {
        match &mut self.tx.doc.containers.get_mut(self.index).content {
            Content::Table(_, state) => state.names.intern(field),
            _ => unreachable!("a table's number is that of a table"),
        }
    }

    fn find(&self, row: RowId) -> Result<Lv, RowError> {
        let lv = self.tx.doc.history().graph.lv_of(row.0);
        match &self.tx.doc.containers.get(self.index).content {
            Content::Table(_, state) => lv.filter(|lv| state.has_row(*lv)).ok_or(RowError::Unknown),
            _ => Err(RowError::Unknown),
        }
    }

    fn is_alive(&self, row: Lv) -> bool {
        match &self.tx.doc.containers.get(self.index).content {
            Content::Table(_, state) => state.is_alive(row),
            _ => false,
        }
    }

    /// Adds a row with these fields and returns its id.
    pub fn insert<F, V>(&mut self, fields: impl IntoIterator<Item = (F, V)>) -> RowId
    where
        F: AsRef<str>,
        V: Into<Value>,
    {
        let mut row = std::mem::take(&mut self.tx.doc.row);
        for (field, value) in fields {
            row.push((self.intern(field.as_ref()), value.into().shallow()));
        }
        self.insert_row(row)
    }

    fn insert_row(&mut self, fields: Fields) -> RowId {
        let op = CellOp::Insert { fields };
        let row = self.tx.write(self.index, &op);
        self.note_alive(row, false);
        if let CellOp::Insert { mut fields } = op {
            fields.clear();
            self.tx.doc.row = fields;
        }
        RowId(self.tx.doc.history().graph.id_of(row))
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
        let row = self.find(row)?;
        let field = self.intern(field);
        self.write(row, field, value.into().shallow());
        Ok(())
    }

    pub(crate) fn write(&mut self, row: Lv, field: NameIx, value: Value) {
        let Content::Table(_, state) = &self.tx.doc.containers.get(self.index).content else {
            return;
        };
        let previous = state.holder(row, field);
        self.tx.write(self.index, &CellOp::Cell { row: RowRef::Known(row), field, value });
        self.tx.note(Inverse::Cell { index: self.index, row, field, previous });
    }

    /// Removes a row; one that is already removed stays so.
    ///
    /// # Errors
    /// [`RowError::Unknown`] if the table never had the row.
    pub fn remove(&mut self, row: RowId) -> Result<(), RowError> {
        let row = self.find(row)?;
        self.remove_at(row);
        Ok(())
    }

    fn note_alive(&mut self, row: Lv, before: bool) {
        self.tx.note(Inverse::RowsAlive { index: self.index, start: row, len: 1, before });
    }

    pub(crate) fn remove_at(&mut self, row: Lv) {
        if self.is_alive(row) {
            self.tx.write(self.index, &CellOp::Remove { row: RowRef::Known(row) });
            self.note_alive(row, true);
        }
    }

    /// Brings a removed row back, with every field as it stands here; one that is there stays so.
    ///
    /// # Errors
    /// [`RowError::Unknown`] if the table never had the row.
    pub fn restore(&mut self, row: RowId) -> Result<(), RowError> {
        let row = self.find(row)?;
        self.restore_at(row);
        Ok(())
    }

    pub(crate) fn restore_at(&mut self, row: Lv) {
        if self.is_alive(row) {
            return;
        }
        let Content::Table(log, state) = &self.tx.doc.containers.get(self.index).content else {
            return;
        };
        let fields = state.fields(log, row);
        self.tx.write(self.index, &CellOp::Restore { row: RowRef::Known(row), fields });
        self.note_alive(row, false);
    }

    /// Adds to the counter in a row's field.
    ///
    /// # Errors
    /// [`RowError::Unknown`] if the table never had the row.
    pub fn add(&mut self, row: RowId, field: &str, delta: i64) -> Result<(), RowError> {
        self.find(row)?;
        let container = self.tx.doc.containers.get(self.index);
        let table = container.id.root_name().cloned().unwrap_or_default();
        self.tx.counter(ContainerId::cell(&table, row, field)).add(delta);
        Ok(())
    }
}

/// Adds to one counter. For how additions made at once merge, see [`Doc::counter`].
pub struct CounterMut<'t, 'a> {
    tx: &'t mut Transaction<'a>,
    index: ContainerIx,
}

impl CounterMut<'_, '_> {
    /// Adds `delta`; the sum wraps around at the ends of `i64`. Adding 0 writes nothing.
    pub fn add(&mut self, delta: i64) {
        if delta != 0 {
            self.tx.write(self.index, &CellOp::Add(delta));
            self.tx.note(Inverse::Counter { index: self.index, delta });
        }
    }
}

/// Edits one text. Positions count Unicode scalars. For how edits made at once merge, see
/// [`crate::Text`], and [`TextMut::mark`] for marks.
pub struct TextMut<'t, 'a> {
    pub(crate) tx: &'t mut Transaction<'a>,
    pub(crate) index: ContainerIx,
}

impl TextMut<'_, '_> {
    pub(crate) fn check(&self, end: usize) -> Result<(), TextError> {
        match &self.tx.doc.containers.get(self.index).content {
            Content::Text(_, state) if end > state.rope.len() => {
                Err(TextError::OutOfRange { end, len: state.rope.len() })
            }
            _ => Ok(()),
        }
    }

    /// Inserts `content` before the character at `pos`, or at the end if `pos` is the length.
    ///
    /// # Errors
    /// [`TextError::OutOfRange`] past the end, [`TextError::TooLarge`] over
    /// [`INSERT_BYTES_MAX`].
    pub fn insert(&mut self, pos: usize, content: &str) -> Result<(), TextError> {
        self.check(pos)?;
        if content.len() > INSERT_BYTES_MAX {
            return Err(TextError::TooLarge);
        }
        self.put(pos, content);
        Ok(())
    }

    /// Inserts what is not too large, at a position that is in range.
    pub(crate) fn put(&mut self, pos: usize, content: &str) {
        if content.is_empty() {
            return;
        }
        let widths = measure(content);
        let len = widths[0];
        let (lv, history, containers, undo) = self.tx.begin_in_log(len, self.index);
        history.runs_mut(self.index).push(lv, pos as u32, len, content);
        if let Content::Text(_, state) = &mut containers.get_mut(self.index).content {
            state.insert(pos, content, widths);
        }
        undo.note_inserted(self.index, lv, len);
    }

    /// Deletes `len` characters from `pos` on.
    ///
    /// # Errors
    /// [`TextError::OutOfRange`] if they reach past the end; nothing is deleted then.
    pub fn delete(&mut self, pos: usize, len: usize) -> Result<(), TextError> {
        self.check(pos.saturating_add(len))?;
        self.cut(pos, len);
        Ok(())
    }

    /// Deletes what is in range.
    fn cut(&mut self, pos: usize, len: usize) {
        if len == 0 {
            return;
        }
        let (lv, history, containers, undo) = self.tx.begin_in_log(len as u32, self.index);
        history.runs_mut(self.index).push(lv, pos as u32, len as u32, "");
        if let Content::Text(_, state) = &mut containers.get_mut(self.index).content {
            let gone = undo.note_deleted(self.index, lv, len as u32);
            state.delete(pos, len, gone);
        }
    }

    /// Replaces `deleted` characters at `pos` by `content`.
    ///
    /// # Errors
    /// As [`TextMut::insert`] and [`TextMut::delete`]; the text is as it was then.
    pub fn splice(&mut self, pos: usize, deleted: usize, content: &str) -> Result<(), TextError> {
        if content.len() > INSERT_BYTES_MAX {
            return Err(TextError::TooLarge);
        }
        self.check(pos.saturating_add(deleted))?;
        self.cut(pos, deleted);
        self.put(pos, content);
        Ok(())
    }
}
