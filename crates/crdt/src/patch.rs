//! Patches: exactly what changed, for views that follow a document.

use std::sync::Arc;

use crate::container::{ContainerId, ContainerKind};
use crate::id::RowId;
use crate::tree::NodeId;
use crate::value::Value;

/// One thing that changed. Patches of a change are listed in the order in which they happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Patch {
    /// A register took a new value.
    Register {
        /// The register.
        id: ContainerId,
    },
    /// An entry of a map was set or removed.
    MapEntry {
        /// The map.
        id: ContainerId,
        /// The entry's key.
        key: Arc<str>,
    },
    /// A row of a table changed.
    Row {
        /// The table's name.
        table: Arc<str>,
        /// The row.
        row: RowId,
        /// What happened to it.
        change: RowChange,
    },
    /// A counter was added to.
    Counter {
        /// The counter.
        id: ContainerId,
    },
    /// A text changed.
    Text {
        /// The text.
        id: ContainerId,
        /// The edit, from the text's start; positions count Unicode scalars.
        delta: Vec<TextDelta>,
    },
    /// A stretch of a text is marked otherwise. Text inserted where marks reach has them from the
    /// start: ask [`crate::Text::spans_in`] for the marks of what a [`Patch::Text`] inserted.
    Marks {
        /// The text.
        id: ContainerId,
        /// Where the stretch starts, in Unicode scalars.
        start: u32,
        /// Where it ends (exclusive).
        end: u32,
        /// The marks' key.
        key: Arc<str>,
        /// The key's value there now; null if it is not marked.
        value: Value,
    },
    /// Elements of a list came, went or moved.
    List {
        /// The list.
        id: ContainerId,
        /// Whether it is a list or a movable list: one of each may have this id.
        kind: ContainerKind,
        /// The edit, from the list's start.
        delta: Vec<ListDelta>,
    },
    /// An element of a list holds something else.
    ListElement {
        /// The list.
        id: ContainerId,
        /// Where the element is.
        index: u32,
    },
    /// Nodes of a tree came, went or moved.
    Tree {
        /// The tree.
        id: ContainerId,
        /// What happened to them, one after the other.
        changes: Vec<TreeChange>,
    },
}

/// What happened to a row.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RowChange {
    /// It is new.
    Inserted,
    /// It was removed.
    Removed,
    /// It was removed and is back, with every field as it stands now.
    Restored,
    /// The field of this name took a new value.
    Field(Arc<str>),
}

/// What happened to a node of a tree. A view that does as these say, in order, shows the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeChange {
    /// It is new or was moved, with all that is below it.
    Placed {
        /// The node.
        node: NodeId,
        /// What it is right below now; nothing at the top.
        parent: Option<NodeId>,
        /// Where it is among its siblings then: take it from where it was first, if it was there.
        index: usize,
    },
    /// It was removed, with all that is below it then.
    Removed {
        /// The node.
        node: NodeId,
    },
}

/// One step of a list edit. Lengths count elements.
#[derive(Clone, Debug, PartialEq)]
pub enum ListDelta {
    /// Keep this many.
    Retain(u32),
    /// Insert elements that hold these.
    Insert(Vec<Value>),
    /// Delete this many.
    Delete(u32),
}

impl ListDelta {
    /// The steps of one edit at an index.
    pub(crate) fn at(index: u32, edit: Self) -> Vec<Self> {
        if index == 0 { vec![edit] } else { vec![Self::Retain(index), edit] }
    }
}

/// One step of a text edit. Lengths count Unicode scalars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextDelta {
    /// Keep this many.
    Retain(u32),
    /// Insert this here. A long text may come in several such steps, one right after the other.
    Insert(Arc<str>),
    /// Delete this many.
    Delete(u32),
}
