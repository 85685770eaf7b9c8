//! Patches: exactly what changed, for views that follow a document.

use std::sync::Arc;

use crate::container::ContainerId;
use crate::id::RowId;

/// One thing that changed. Patches of a change are listed in the order in which they happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Patch {
    /// A register took a new value.
    Register {
        /// The register's name.
        name: Arc<str>,
    },
    /// An entry of a map was set or removed.
    MapEntry {
        /// The map's name.
        map: Arc<str>,
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

/// One step of a text edit. Lengths count Unicode scalars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextDelta {
    /// Keep this many.
    Retain(u32),
    /// Insert this here.
    Insert(Arc<str>),
    /// Delete this many.
    Delete(u32),
}
