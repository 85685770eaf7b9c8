//! Writing a list.

use crate::cells::{CellOp, RowRef};
use crate::container::{Container, ContainerId, ContainerIx, ContainerKind, Content};
use crate::gather::Gather;
use crate::graph::Lv;
use crate::list::ListState;
use crate::patch::{ListDelta, Patch};
use crate::text::RunKind;
use crate::transaction::Transaction;
use crate::undo::Inverse;
use crate::value::Value;

/// Why an edit of a list was refused. The list is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// The edit reaches past the end of the list.
    #[error("index {index} is past the end of a list of {len} elements")]
    OutOfRange {
        /// The index that the edit reaches.
        index: usize,
        /// How many elements the list has.
        len: usize,
    },
}

/// Writes one list. For how edits made at once merge, see [`crate::List`].
pub struct ListMut<'t, 'a> {
    pub(crate) tx: &'t mut Transaction<'a>,
    pub(crate) index: ContainerIx,
}

impl ListMut<'_, '_> {
    fn state(&self) -> &ListState {
        match &self.tx.doc().containers.get(self.index).content {
            Content::List(_, state) => state,
            _ => unreachable!("a list's number is that of a list"),
        }
    }

    /// How many elements the list has now.
    fn len(&self) -> usize {
        self.state().slots.shown() as usize
    }

    /// The slot position where an element inserted at `index` goes.
    fn gap(&self, index: usize) -> Result<u32, ListError> {
        let (state, len) = (self.state(), self.len());
        if index > len {
            return Err(ListError::OutOfRange { index, len });
        }
        let left = index.checked_sub(1).and_then(|left| state.slots.find_shown(left as u32));
        Ok(left.map_or(0, |(pos, _)| pos + 1))
    }

    fn find(&self, index: usize) -> Result<(u32, Lv), ListError> {
        let out_of_range = ListError::OutOfRange { index, len: self.len() };
        let shown = u32::try_from(index).ok().and_then(|at| self.state().slots.find_shown(at));
        shown.ok_or(out_of_range)
    }

    /// Inserts a value before the element at `index`, or at the end if `index` is the length.
    ///
    /// # Errors
    /// [`ListError::OutOfRange`] past the end.
    pub fn insert(&mut self, index: usize, value: impl Into<Value>) -> Result<(), ListError> {
        self.insert_all(index, [value])
    }

    /// Inserts values before the element at `index`, or at the end if `index` is the length.
    /// Levels nested deeper than [`crate::MAX_NESTING`] are stored as null.
    ///
    /// # Errors
    /// [`ListError::OutOfRange`] past the end.
    pub fn insert_all<V: Into<Value>>(
        &mut self,
        index: usize,
        values: impl IntoIterator<Item = V>,
    ) -> Result<(), ListError> {
        let pos = self.gap(index)?;
        let values: Vec<Value> = values.into_iter().map(|value| value.into().shallow()).gather();
        self.insert_slots(pos, values);
        Ok(())
    }

    /// Inserts elements that are next to each other at a slot position.
    pub(crate) fn insert_slots(&mut self, pos: u32, values: Vec<Value>) {
        if values.is_empty() {
            return;
        }
        let len = values.len() as u32;
        let lv = self.tx.begin(len, self.index);
        self.log(RunKind::Insert, lv, pos, len);
        let ops: Vec<CellOp> = values.into_iter().map(CellOp::Set).gather();
        self.write(lv, &ops);
        self.show(lv, pos, len);
        self.tx.note(Inverse::ListInserted { index: self.index, start: lv, len });
    }

    /// Inserts an element that holds a container of this kind, and returns the container's id. It
    /// goes with its element, wherever that is moved.
    ///
    /// # Errors
    /// [`ListError::OutOfRange`] past the end.
    ///
    /// # Panics
    /// As [`crate::MapMut::nest`].
    pub fn nest(&mut self, index: usize, kind: ContainerKind) -> Result<ContainerId, ListError> {
        kind.check_nests();
        self.insert(index, Value::Container(kind))?;
        let doc = self.tx.doc();
        let list = doc.list_of(Some(self.index));
        let element = list.element(index).expect("it was just inserted");
        Ok(doc.containers.get(self.index).id.clone().element(element.0))
    }

    /// Adds a value at the end.
    pub fn push(&mut self, value: impl Into<Value>) {
        self.extend([value]);
    }

    /// Adds values at the end.
    pub fn extend<V: Into<Value>>(&mut self, values: impl IntoIterator<Item = V>) {
        let len = self.len();
        let inserted = self.insert_all(len, values);
        debug_assert!(inserted.is_ok(), "the end is in range");
    }

    /// Removes the element at `index`.
    ///
    /// # Errors
    /// [`ListError::OutOfRange`] if there is none.
    pub fn remove(&mut self, index: usize) -> Result<(), ListError> {
        let (pos, _) = self.find(index)?;
        self.remove_slots(pos, 1);
        Ok(())
    }

    /// Removes `len` elements from `index` on.
    ///
    /// # Errors
    /// [`ListError::OutOfRange`] if they reach past the end; nothing is removed then.
    pub fn remove_range(&mut self, index: usize, len: usize) -> Result<(), ListError> {
        let Some(last) = len.checked_sub(1).map(|last| index.saturating_add(last)) else {
            return self.gap(index).map(drop);
        };
        let (end, _) = self.find(last)?;
        let (start, _) = self.find(index)?;
        self.remove_slots(start, end + 1 - start);
        Ok(())
    }

    /// Takes out slots that are next to each other.
    pub(crate) fn remove_slots(&mut self, pos: u32, len: u32) {
        let lv = self.tx.begin(len, self.index);
        self.log(RunKind::Delete, lv, pos, len);
        let Content::List(_, state) = &mut self.tx.doc_mut().containers.get_mut(self.index).content
        else {
            return;
        };
        let at = state.slots.shown_before(pos);
        let gone = state.slots.delete(pos, len);
        self.note(lv, at, (gone > 0).then_some(ListDelta::Delete(gone)));
        self.tx.note(Inverse::ListDeleted { index: self.index, start: lv, len });
    }

    /// Gives an element a new slot.
    pub(crate) fn place(&mut self, pos: u32, element: Lv) -> Lv {
        let lv = self.tx.begin(1, self.index);
        self.log(RunKind::Insert, lv, pos, 1);
        self.write(lv, &[CellOp::Move { element: RowRef::Known(element) }]);
        self.show(lv, pos, 1);
        self.tx.note(Inverse::ListInserted { index: self.index, start: lv, len: 1 });
        lv
    }

    /// Replaces what an element holds.
    pub(crate) fn replace(&mut self, element: Lv, value: Value) {
        let previous = self.state().holder(element);
        let lv = self.tx.begin(1, self.index);
        self.log(RunKind::Aside, lv, 0, 1);
        self.write(lv, &[CellOp::Replace { element: RowRef::Known(element), value }]);
        let state = self.state();
        let shown = state.slots.index_of(state.slot_of(element));
        if let Some(at) = shown {
            let id = self.tx.doc().containers.get(self.index).id.clone();
            self.tx.doc_mut().local_edits.push((lv, Patch::ListElement { id, index: at }));
        }
        self.tx.note(Inverse::Element { index: self.index, element, previous });
    }

    fn log(&mut self, kind: RunKind, lv: Lv, pos: u32, len: u32) {
        let runs = self.tx.doc_mut().history_mut().runs_mut(self.index);
        runs.push_run(lv, pos, len, kind, "", false);
    }

    /// Takes writes into the log and the state.
    fn write(&mut self, lv: Lv, ops: &[CellOp]) {
        let (history, containers) = self.tx.doc_mut().parts_mut();
        if let Content::List(log, state) = &mut containers.get_mut(self.index).content {
            for (lv, op) in (lv..).zip(ops) {
                log.push(lv, op);
                state.write(&history.graph, lv, op);
            }
        }
    }

    fn show(&mut self, lv: Lv, pos: u32, len: u32) {
        let Content::List(log, state) =
            &mut self.tx.doc_mut().containers.get_mut(self.index).content
        else {
            return;
        };
        let (at, values) = state.put(log, pos, lv, len);
        self.note(lv, at, (!values.is_empty()).then_some(ListDelta::Insert(values)));
    }

    fn note(&mut self, lv: Lv, at: u32, edit: Option<ListDelta>) {
        let Some(edit) = edit else { return };
        let Container { id, kind, .. } = self.tx.doc().containers.get(self.index);
        let (id, kind, delta) = (id.clone(), *kind, ListDelta::at(at, edit));
        self.tx.doc_mut().local_edits.push((lv, Patch::List { id, kind, delta }));
    }
}

/// Writes one movable list.
///
/// Merge rules: of several moves of an element at once the one with the greatest `(stamp, peer)`
/// holds, and likewise for what it holds; an element that was moved while someone removed it stays.
///
/// ```
/// use leptos_sync_crdt::{Doc, PeerId};
/// let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
/// ada.transact(0, |tx| tx.movable_list("todo").extend(["a", "b", "c"]));
/// ben.import(0, ada.blocks_since(ben.version()))?;
/// ada.transact(0, |tx| tx.movable_list("todo").move_to(0, 2)).0?;
/// ben.transact(0, |tx| tx.movable_list("todo").move_to(0, 1)).0?; // later by its peer id
/// ada.import(0, ben.blocks_since(ada.version()))?;
/// let todo: Vec<_> = ada.movable_list("todo").iter().collect();
/// assert_eq!(todo, ["b".into(), "a".into(), "c".into()]); // once, never twice
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct MovableListMut<'t, 'a> {
    pub(crate) list: ListMut<'t, 'a>,
}

impl MovableListMut<'_, '_> {
    /// As [`ListMut::insert`].
    ///
    /// # Errors
    /// [`ListError::OutOfRange`] past the end.
    pub fn insert(&mut self, index: usize, value: impl Into<Value>) -> Result<(), ListError> {
        self.list.insert(index, value)
    }

    /// As [`ListMut::nest`].
    ///
    /// # Errors
    /// [`ListError::OutOfRange`] past the end.
    ///
    /// # Panics
    /// As [`crate::MapMut::nest`].
    pub fn nest(&mut self, index: usize, kind: ContainerKind) -> Result<ContainerId, ListError> {
        self.list.nest(index, kind)
    }

    /// As [`ListMut::push`].
    pub fn push(&mut self, value: impl Into<Value>) {
        self.list.push(value);
    }

    /// As [`ListMut::extend`].
    pub fn extend<V: Into<Value>>(&mut self, values: impl IntoIterator<Item = V>) {
        self.list.extend(values);
    }

    /// As [`ListMut::remove`].
    ///
    /// # Errors
    /// [`ListError::OutOfRange`] if there is none.
    pub fn remove(&mut self, index: usize) -> Result<(), ListError> {
        self.list.remove(index)
    }

    /// As [`ListMut::remove_range`].
    ///
    /// # Errors
    /// [`ListError::OutOfRange`] if they reach past the end; nothing is removed then.
    pub fn remove_range(&mut self, index: usize, len: usize) -> Result<(), ListError> {
        self.list.remove_range(index, len)
    }

    /// Moves the element at `from` so that it is at `to` afterwards.
    ///
    /// # Errors
    /// [`ListError::OutOfRange`] if either is past the last element.
    pub fn move_to(&mut self, from: usize, to: usize) -> Result<(), ListError> {
        self.list.find(to)?;
        let (pos, slot) = self.list.find(from)?;
        if from == to {
            return Ok(());
        }
        let element = self.list.state().element_of(slot).expect("what is shown has an element");
        self.list.remove_slots(pos, 1);
        let pos = self.list.gap(to)?;
        self.list.place(pos, element);
        Ok(())
    }

    /// Replaces what the element at `index` holds. Levels nested deeper than
    /// [`crate::MAX_NESTING`] are stored as null.
    ///
    /// # Errors
    /// [`ListError::OutOfRange`] if there is none.
    pub fn set(&mut self, index: usize, value: impl Into<Value>) -> Result<(), ListError> {
        let (_, slot) = self.list.find(index)?;
        let element = self.list.state().element_of(slot).expect("what is shown has an element");
        self.list.replace(element, value.into().shallow());
        Ok(())
    }
}
