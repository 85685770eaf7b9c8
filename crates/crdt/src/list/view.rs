//! Reading a list.

use std::fmt;

use crate::cell_log::CellLog;
use crate::container::{ContainerId, ContainerIx, ContainerKind};
use crate::doc::Doc;
use crate::id::OpId;
use crate::list::ListState;
use crate::value::Value;

/// An element of a list, named by the operation that inserted it. It stays the same wherever the
/// element is moved and whatever it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ElementId(pub OpId);

impl fmt::Display for ElementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A list of a document, plain or movable, as it is now.
///
/// Merge rule in one sentence: an insertion stays next to the elements it was made between, an
/// element that anyone removed is gone, and whole runs of concurrent insertions stand side by side.
///
/// ```
/// use leptos_sync_crdt::{Doc, PeerId};
/// let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
/// ada.transact(0, |tx| tx.list("steps").extend(["mix", "bake"]));
/// ben.import(0, ada.blocks_since(ben.version()))?;
/// ada.transact(0, |tx| tx.list("steps").insert(1, "knead")).0?;
/// ben.transact(0, |tx| tx.list("steps").remove(0)).0?;
/// ada.import(0, ben.blocks_since(ada.version()))?;
/// let steps: Vec<_> = ada.list("steps").iter().collect();
/// assert_eq!(steps, ["knead".into(), "bake".into()]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct List<'a> {
    pub(crate) doc: &'a Doc,
    /// Nobody wrote to it if there is none.
    pub(crate) content: Option<(ContainerIx, &'a CellLog, &'a ListState)>,
}

impl fmt::Debug for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> List<'a> {
    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.content.map_or(0, |(_, _, state)| state.slots.shown() as usize)
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the element at `index` holds.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Value> {
        let (_, log, state) = self.content?;
        let (_, slot) = state.slots.find_shown(u32::try_from(index).ok()?)?;
        Some(state.value(log, state.element_of(slot)?))
    }

    /// The container in the element at `index`, if there is one: see [`crate::ListMut::nest`].
    #[must_use]
    pub fn nested(&self, index: usize) -> Option<(ContainerKind, ContainerId)> {
        match self.get(index)? {
            Value::Container(kind) => {
                let list = self.doc.containers.get(self.content?.0).id.clone();
                Some((kind, list.element(self.element(index)?.0)))
            }
            _ => None,
        }
    }

    /// What the elements hold, in order.
    pub fn iter(&self) -> impl Iterator<Item = Value> + use<'a> {
        self.content.into_iter().flat_map(|(_, log, state)| {
            let shown = state.slots.iter().filter(|(_, is_shown)| *is_shown);
            let elements = shown.filter_map(|(slot, _)| state.element_of(slot));
            elements.map(|element| state.value(log, element))
        })
    }

    /// The element at `index`.
    #[must_use]
    pub fn element(&self, index: usize) -> Option<ElementId> {
        let (_, _, state) = self.content?;
        let (_, slot) = state.slots.find_shown(u32::try_from(index).ok()?)?;
        Some(ElementId(self.doc.history().graph.id_of(state.element_of(slot)?)))
    }

    /// What the slot that an operation made shows, if it does.
    pub(crate) fn shown_at(&self, slot: OpId) -> Option<Value> {
        let (_, log, state) = self.content?;
        let slot = self.doc.history().graph.lv_of(slot)?;
        state.slots.index_of(slot)?;
        Some(state.value(log, state.element_of(slot)?))
    }

    /// Where an element is, if it is in the list.
    #[must_use]
    pub fn index_of(&self, element: ElementId) -> Option<usize> {
        let (_, _, state) = self.content?;
        let element = self.doc.history().graph.lv_of(element.0)?;
        state.slots.index_of(state.slot_of(element)).map(|index| index as usize)
    }
}
