//! What a document shows: its containers, and how each operation changes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::codec::{DecodeError, Reader, Writer};
use crate::counter::Counter;
use crate::graph::View;
use crate::id::{OpId, RowId};
use crate::lww::{LwwMap, LwwRegister};
use crate::op::{ContainerId, Op};
use crate::patch::{Patch, RowChange};
use crate::stamp::Stamp;
use crate::table::Table;
use crate::text::{Hidden, Text};
use crate::value::Value;

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct State {
    pub(crate) registers: BTreeMap<Arc<str>, LwwRegister<Value>>,
    pub(crate) maps: BTreeMap<Arc<str>, LwwMap>,
    pub(crate) tables: BTreeMap<Arc<str>, Table>,
    pub(crate) counters: BTreeMap<ContainerId, Counter>,
    pub(crate) texts: BTreeMap<ContainerId, Text>,
}

/// Where and when an operation happens: its id, its stamp, and the version its author saw.
pub(crate) struct Moment<'a> {
    pub(crate) id: OpId,
    pub(crate) stamp: Stamp,
    pub(crate) view: &'a View,
}

impl State {
    /// Applies one operation, lists what changed, and returns the text it hid.
    ///
    /// An operation that names a row or a position its author could not have seen changes nothing,
    /// on every replica alike.
    pub(crate) fn apply(
        &mut self,
        op: &Op,
        at: &Moment<'_>,
        patches: &mut Vec<Patch>,
    ) -> Vec<Hidden> {
        let (stamp, peer) = (at.stamp, at.id.peer);
        match op {
            Op::RegisterSet { name, value } => {
                let won = match self.registers.get_mut(name) {
                    Some(register) => register.write(value.clone(), stamp, peer),
                    None => {
                        let first = LwwRegister::new(value.clone(), stamp, peer);
                        self.registers.insert(name.clone(), first);
                        true
                    }
                };
                if won {
                    patches.push(Patch::Register { name: name.clone() });
                }
            }
            Op::MapSet { map, key, value } => {
                let entries = self.maps.entry(map.clone()).or_default();
                if entries.write(key.clone(), value.clone(), stamp, peer) {
                    patches.push(Patch::MapEntry { map: map.clone(), key: key.clone() });
                }
            }
            Op::CounterAdd { counter, delta } => {
                self.counters.entry(counter.clone()).or_default().add(*delta);
                patches.push(Patch::Counter { id: counter.clone() });
            }
            Op::TextInsert { text: id, pos, content } => {
                let text = self.texts.entry(id.clone()).or_default();
                if let Some(delta) = text.insert(at.id, *pos, content, at.view) {
                    patches.push(Patch::Text { id: id.clone(), delta });
                }
            }
            Op::TextDelete { text: id, pos, len } => {
                let text = self.texts.entry(id.clone()).or_default();
                if let Some((delta, hidden)) = text.delete(at.id, *pos, *len, at.view) {
                    patches.push(Patch::Text { id: id.clone(), delta });
                    return hidden;
                }
            }
            Op::RowInsert { .. }
            | Op::RowSet { .. }
            | Op::RowRemove { .. }
            | Op::RowRestore { .. } => self.apply_row(op, at, patches),
        }
        Vec::new()
    }

    fn apply_row(&mut self, op: &Op, at: &Moment<'_>, patches: &mut Vec<Patch>) {
        let (stamp, peer) = (at.stamp, at.id.peer);
        let mut changed = |table: &Arc<str>, row: RowId, change: RowChange| {
            patches.push(Patch::Row { table: table.clone(), row, change });
        };
        match op {
            Op::RowInsert { table, fields } => {
                let row = RowId(at.id);
                self.tables.entry(table.clone()).or_default().insert(row, stamp, fields);
                changed(table, row, RowChange::Inserted);
            }
            Op::RowSet { table, row, field, value } => {
                let Some(rows) = self.seen_row(table, *row, at.view) else { return };
                if rows.set(*row, field, value, stamp, peer) {
                    changed(table, *row, RowChange::Field(field.clone()));
                }
            }
            Op::RowRemove { table, row } => {
                let Some(rows) = self.seen_row(table, *row, at.view) else { return };
                if rows.set_alive(*row, false, stamp, peer) {
                    changed(table, *row, RowChange::Removed);
                }
            }
            Op::RowRestore { table, row, fields } => {
                let Some(rows) = self.seen_row(table, *row, at.view) else { return };
                let is_back = rows.set_alive(*row, true, stamp, peer);
                let mut won = Vec::new();
                for (field, value) in fields {
                    if rows.set(*row, field, value, stamp, peer) {
                        won.push(field.clone());
                    }
                }
                if is_back {
                    changed(table, *row, RowChange::Restored);
                } else {
                    for field in won {
                        changed(table, *row, RowChange::Field(field));
                    }
                }
            }
            _ => unreachable!("only row operations are passed here"),
        }
    }

    fn seen_row(&mut self, table: &str, row: RowId, view: &View) -> Option<&mut Table> {
        let table = self.tables.get_mut(table)?;
        (view.sees(row.0) && table.knows(row)).then_some(table)
    }

    pub(crate) fn encode(&self, out: &mut Writer) {
        out.len(self.registers.len());
        for (name, register) in &self.registers {
            out.str(name);
            register.encode(out);
        }
        out.len(self.maps.len());
        for (name, map) in &self.maps {
            out.str(name);
            map.encode(out);
        }
        out.len(self.tables.len());
        for (name, table) in &self.tables {
            out.str(name);
            table.encode(out);
        }
        out.len(self.counters.len());
        for (id, counter) in &self.counters {
            encode_container(id, out);
            out.varint_i64(counter.value());
        }
        out.len(self.texts.len());
        for (id, text) in &self.texts {
            encode_container(id, out);
            text.encode(out);
        }
    }

    pub(crate) fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut state = Self::default();
        for _ in 0..input.count(11)? {
            let name = Arc::from(input.str()?);
            state.registers.insert(name, LwwRegister::<Value>::decode(input)?);
        }
        for _ in 0..input.count(2)? {
            state.maps.insert(Arc::from(input.str()?), LwwMap::decode(input)?);
        }
        for _ in 0..input.count(2)? {
            state.tables.insert(Arc::from(input.str()?), Table::decode(input)?);
        }
        for _ in 0..input.count(3)? {
            let id = decode_container(input)?;
            state.counters.insert(id, Counter::new(input.varint_i64()?));
        }
        for _ in 0..input.count(3)? {
            state.texts.insert(decode_container(input)?, Text::decode(input)?);
        }
        Ok(state)
    }
}

fn encode_container(id: &ContainerId, out: &mut Writer) {
    match id {
        ContainerId::Root(name) => {
            out.u8(0);
            out.str(name);
        }
        ContainerId::Cell { table, row, field } => {
            out.u8(1);
            out.str(table);
            row.0.encode(out);
            out.str(field);
        }
    }
}

fn decode_container(input: &mut Reader<'_>) -> Result<ContainerId, DecodeError> {
    Ok(match input.u8()? {
        0 => ContainerId::Root(Arc::from(input.str()?)),
        1 => ContainerId::Cell {
            table: Arc::from(input.str()?),
            row: RowId(OpId::decode(input)?),
            field: Arc::from(input.str()?),
        },
        _ => return Err(DecodeError::Invalid("container kind")),
    })
}
