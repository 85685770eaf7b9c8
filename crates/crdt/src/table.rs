//! Tables: rows of field-level registers, the ground under typed collections.
//!
//! Merge rule: each field of a row is its own [`LwwRegister`], and so is whether the row is alive;
//! editing a field of a removed row does not bring the row back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::codec::{DecodeError, Reader, Writer};
use crate::id::{OpId, PeerId, RowId};
use crate::lww::{LwwMap, LwwRegister};
use crate::stamp::Stamp;
use crate::value::Value;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) alive: LwwRegister<bool>,
    pub(crate) cells: LwwMap,
    created: Stamp,
}

/// Rows, in the order in which they were inserted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    rows: BTreeMap<RowId, Row>,
    alive: BTreeSet<(Stamp, RowId)>,
}

impl Table {
    pub(crate) const fn new() -> Self {
        Self { rows: BTreeMap::new(), alive: BTreeSet::new() }
    }

    /// The rows that are not removed, oldest first.
    pub fn rows(&self) -> impl DoubleEndedIterator<Item = RowId> {
        self.alive.iter().map(|(_, row)| *row)
    }

    /// How many rows are not removed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.alive.len()
    }

    /// Whether no row is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.alive.is_empty()
    }

    /// Whether the row exists and is not removed.
    #[must_use]
    pub fn contains(&self, row: RowId) -> bool {
        self.rows.get(&row).is_some_and(|row| *row.alive.get())
    }

    /// The value in a field, also of a removed row; `None` where it was never written.
    #[must_use]
    pub fn get(&self, row: RowId, field: &str) -> Option<&Value> {
        self.rows.get(&row)?.cells.get(field)
    }

    /// The fields of a row that hold a value, by name; also of a removed row.
    pub fn fields(&self, row: RowId) -> impl Iterator<Item = (&str, &Value)> {
        self.rows.get(&row).into_iter().flat_map(|row| row.cells.iter())
    }

    /// When the row was inserted; `None` for an unknown row.
    #[must_use]
    pub fn created(&self, row: RowId) -> Option<Stamp> {
        self.rows.get(&row).map(|row| row.created)
    }

    /// Whether the row was ever inserted, removed since or not.
    pub(crate) fn knows(&self, row: RowId) -> bool {
        self.rows.contains_key(&row)
    }

    #[cfg(test)]
    pub(crate) fn known(&self) -> impl Iterator<Item = RowId> {
        self.rows.keys().copied()
    }

    pub(crate) fn row(&self, row: RowId) -> Option<&Row> {
        self.rows.get(&row)
    }

    pub(crate) fn insert(&mut self, row: RowId, stamp: Stamp, fields: &[(Arc<str>, Value)]) {
        let peer = row.0.peer;
        let mut cells = LwwMap::new();
        for (field, value) in fields {
            cells.write(field.clone(), Some(value.clone()), stamp, peer);
        }
        let alive = LwwRegister::new(true, stamp, peer);
        self.rows.insert(row, Row { alive, cells, created: stamp });
        self.alive.insert((stamp, row));
    }

    /// Writes a cell of a known row and says whether the write won.
    pub(crate) fn set(
        &mut self,
        row: RowId,
        field: &Arc<str>,
        value: &Value,
        stamp: Stamp,
        peer: PeerId,
    ) -> bool {
        let Some(row) = self.rows.get_mut(&row) else { return false };
        row.cells.write(field.clone(), Some(value.clone()), stamp, peer)
    }

    /// Writes whether a known row is alive and says whether that changed.
    pub(crate) fn set_alive(&mut self, id: RowId, alive: bool, stamp: Stamp, peer: PeerId) -> bool {
        let Some(row) = self.rows.get_mut(&id) else { return false };
        let before = *row.alive.get();
        row.alive.write(alive, stamp, peer);
        let after = *row.alive.get();
        if after {
            self.alive.insert((row.created, id));
        } else {
            self.alive.remove(&(row.created, id));
        }
        before != after
    }

    pub(crate) fn encode(&self, out: &mut Writer) {
        out.len(self.rows.len());
        for (id, row) in &self.rows {
            id.0.encode(out);
            out.varint(row.created.0);
            row.alive.encode(out);
            row.cells.encode(out);
        }
    }

    pub(crate) fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut table = Self::default();
        for _ in 0..input.count(21)? {
            let id = RowId(OpId::decode(input)?);
            let created = Stamp(input.varint()?);
            let alive = LwwRegister::<bool>::decode(input)?;
            if *alive.get() {
                table.alive.insert((created, id));
            }
            table.rows.insert(id, Row { alive, cells: LwwMap::decode(input)?, created });
        }
        Ok(table)
    }
}
