//! Who wrote what a cell holds, and when. For texts it is [`crate::Text::authors`].

use crate::container::{ContainerKey, ContainerKind, Content};
use crate::doc::Doc;
use crate::graph::Lv;
use crate::id::{OpId, RowId};
use crate::past::PastError;
use crate::stamp::Stamp;

/// A place of a document that holds one value.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Cell<'k> {
    /// A register.
    Register(ContainerKey<'k>),
    /// The entry of a map with this key.
    MapEntry(ContainerKey<'k>, &'k str),
    /// The field of a table's row with this name. Fields that were written with the row are of the
    /// row's insertion.
    Field(&'k str, RowId, &'k str),
    /// The element at this index of a list.
    ListElement(ContainerKey<'k>, usize),
    /// The element at this index of a movable list. Moving it is not writing it.
    MovableListElement(ContainerKey<'k>, usize),
}

/// Who wrote a value, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The operation that wrote it; its peer is the author.
    pub id: OpId,
    /// When, to about two seconds.
    pub stamp: Stamp,
}

impl Doc {
    /// Who wrote the value that a cell holds, and when (blame); `None` if nothing is there.
    ///
    /// ```
    /// use leptos_sync_crdt::{Cell, Doc, PeerId};
    /// let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
    /// let (task, _) = ada.transact(0, |tx| tx.table("tasks").insert([("title", "milk")]));
    /// ben.import(0, ada.blocks_since(ben.version()))?;
    /// ben.transact(60_000, |tx| tx.table("tasks").set(task, "title", "oat milk")).0?;
    ///
    /// let title = Cell::Field("tasks", task, "title");
    /// let written = ben.written_by(&title)?.expect("it was written");
    /// assert_eq!((written.id.peer, written.stamp.wall_ms()), (PeerId(2), 60_000));
    /// assert_eq!(ada.written_by(&title)?.map(|by| by.id.peer), Some(PeerId(1)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`PastError::Truncated`] if it was written before [`Doc::history_start`].
    pub fn written_by(&self, cell: &Cell<'_>) -> Result<Option<Written>, PastError> {
        let Some(lv) = self.holder_of(cell) else { return Ok(None) };
        let graph = &self.history().graph;
        if lv < graph.base() {
            return Err(PastError::Truncated);
        }
        Ok(Some(Written { id: graph.id_of(lv), stamp: graph.stamp_of(lv) }))
    }

    /// The operation that wrote what a cell holds.
    fn holder_of(&self, cell: &Cell<'_>) -> Option<Lv> {
        let content = |kind, key| {
            let index = self.containers.find(kind, key)?;
            Some(&self.containers.get(index).content)
        };
        match cell {
            Cell::Register(key) => match content(ContainerKind::Register, key)? {
                Content::Register(_, state) => state.winner,
                _ => None,
            },
            Cell::MapEntry(key, name) => match content(ContainerKind::Map, key)? {
                Content::Map(log, state) => {
                    let lv = state.held(name)?.lv;
                    log.value(lv, None).map(|_| lv)
                }
                _ => None,
            },
            Cell::Field(table, row, name) => {
                let table = self.table(table);
                table.get(*row, name)?;
                let (_, state) = table.content?;
                Some(state.holder(table.find(*row)?, state.names.find(name)?))
            }
            Cell::ListElement(key, index) => self.holder_at(ContainerKind::List, key, *index),
            Cell::MovableListElement(key, index) => {
                self.holder_at(ContainerKind::MovableList, key, *index)
            }
        }
    }

    fn holder_at(&self, kind: ContainerKind, key: &ContainerKey<'_>, index: usize) -> Option<Lv> {
        let (_, _, state) = self.list_of(self.containers.find(kind, key)).content?;
        let (_, slot) = state.slots.find_shown(u32::try_from(index).ok()?)?;
        Some(state.holder(state.element_of(slot)?))
    }
}
