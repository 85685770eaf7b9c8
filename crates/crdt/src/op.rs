//! Operations: what a change block's body is made of.
//!
//! Text operations name positions, counted in Unicode scalars, in the text as its author saw it.
//! Each inserted or deleted scalar takes one seq; every other operation takes one.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::codec::{DecodeError, Reader, Writer};
use crate::id::{OpId, RowId};
use crate::value::Value;

/// Where a text or a counter lives in its document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContainerId {
    /// At the top of the document, under a name.
    Root(Arc<str>),
    /// In a field of a table's row.
    Cell {
        /// The table's name.
        table: Arc<str>,
        /// The row.
        row: RowId,
        /// The field's name.
        field: Arc<str>,
    },
}

impl ContainerId {
    /// The container called `name` at the top of the document.
    #[must_use]
    pub fn root(name: &str) -> Self {
        Self::Root(name.into())
    }

    /// The container in `field` of a row.
    #[must_use]
    pub fn cell(table: &str, row: RowId, field: &str) -> Self {
        Self::Cell { table: table.into(), row, field: field.into() }
    }
}

impl From<&str> for ContainerId {
    fn from(name: &str) -> Self {
        Self::root(name)
    }
}

impl From<&ContainerId> for ContainerId {
    fn from(id: &ContainerId) -> Self {
        id.clone()
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Op {
    RegisterSet { name: Arc<str>, value: Value },
    MapSet { map: Arc<str>, key: Arc<str>, value: Option<Value> },
    RowInsert { table: Arc<str>, fields: Vec<(Arc<str>, Value)> },
    RowSet { table: Arc<str>, row: RowId, field: Arc<str>, value: Value },
    RowRemove { table: Arc<str>, row: RowId },
    RowRestore { table: Arc<str>, row: RowId, fields: Vec<(Arc<str>, Value)> },
    CounterAdd { counter: ContainerId, delta: i64 },
    TextInsert { text: ContainerId, pos: u32, content: Arc<str> },
    TextDelete { text: ContainerId, pos: u32, len: u32 },
}

impl Op {
    /// How many seqs the operation takes.
    pub(crate) fn len(&self) -> u32 {
        match self {
            Self::TextInsert { content, .. } => content.chars().count() as u32,
            Self::TextDelete { len, .. } => *len,
            _ => 1,
        }
    }
}

/// Names are written once per block; operations refer to them by index.
#[derive(Default)]
struct Names {
    index: BTreeMap<Arc<str>, usize>,
    list: Vec<Arc<str>>,
}

impl Names {
    fn intern(&mut self, name: &Arc<str>) -> usize {
        *self.index.entry(name.clone()).or_insert_with(|| {
            self.list.push(name.clone());
            self.list.len() - 1
        })
    }
}

/// Writes a block's body: names, then operations.
pub(crate) fn encode_ops(ops: &[Op], out: &mut Writer) {
    let mut names = Names::default();
    let mut body = Writer::new();
    for op in ops {
        encode_op(op, &mut names, &mut body);
    }
    out.len(names.list.len());
    for name in &names.list {
        out.str(name);
    }
    out.len(ops.len());
    out.raw(body.as_slice());
}

fn encode_op(op: &Op, names: &mut Names, out: &mut Writer) {
    match op {
        Op::RegisterSet { name, value } => {
            out.u8(0);
            out.len(names.intern(name));
            value.encode(out);
        }
        Op::MapSet { map, key, value } => {
            out.u8(if value.is_some() { 1 } else { 2 });
            out.len(names.intern(map));
            out.str(key);
            if let Some(value) = value {
                value.encode(out);
            }
        }
        Op::RowInsert { table, fields } => {
            out.u8(3);
            out.len(names.intern(table));
            encode_fields(fields, names, out);
        }
        Op::RowSet { table, row, field, value } => {
            out.u8(4);
            out.len(names.intern(table));
            row.0.encode(out);
            out.len(names.intern(field));
            value.encode(out);
        }
        Op::RowRemove { table, row } => {
            out.u8(5);
            out.len(names.intern(table));
            row.0.encode(out);
        }
        Op::RowRestore { table, row, fields } => {
            out.u8(6);
            out.len(names.intern(table));
            row.0.encode(out);
            encode_fields(fields, names, out);
        }
        Op::CounterAdd { counter, delta } => {
            encode_target(7, counter, names, out);
            out.varint_i64(*delta);
        }
        Op::TextInsert { text, pos, content } => {
            encode_target(9, text, names, out);
            out.varint(u64::from(*pos));
            out.str(content);
        }
        Op::TextDelete { text, pos, len } => {
            encode_target(11, text, names, out);
            out.varint(u64::from(*pos));
            out.varint(u64::from(*len));
        }
    }
}

// The operation code is `base` for a root container and `base + 1` for one in a cell.
fn encode_target(base: u8, id: &ContainerId, names: &mut Names, out: &mut Writer) {
    match id {
        ContainerId::Root(name) => {
            out.u8(base);
            out.len(names.intern(name));
        }
        ContainerId::Cell { table, row, field } => {
            out.u8(base + 1);
            out.len(names.intern(table));
            row.0.encode(out);
            out.len(names.intern(field));
        }
    }
}

fn encode_fields(fields: &[(Arc<str>, Value)], names: &mut Names, out: &mut Writer) {
    out.len(fields.len());
    for (field, value) in fields {
        out.len(names.intern(field));
        value.encode(out);
    }
}

/// Reads a block's body, which must take exactly `len` seqs.
pub(crate) fn decode_ops(input: &mut Reader<'_>, len: u32) -> Result<Vec<Op>, DecodeError> {
    let name_count = input.count(1)?;
    let mut names = Vec::new();
    for _ in 0..name_count {
        names.push(Arc::from(input.str()?));
    }
    let op_count = input.count(2)?;
    let mut ops = Vec::new();
    let mut total = 0u64;
    for _ in 0..op_count {
        let op = decode_op(input, &names)?;
        if op.len() == 0 {
            return Err(DecodeError::Invalid("empty operation"));
        }
        total += u64::from(op.len());
        ops.push(op);
    }
    if total != u64::from(len) {
        return Err(DecodeError::Invalid("block length"));
    }
    Ok(ops)
}

fn decode_op(input: &mut Reader<'_>, names: &[Arc<str>]) -> Result<Op, DecodeError> {
    let code = input.u8()?;
    Ok(match code {
        0 => Op::RegisterSet { name: name(input, names)?, value: Value::decode(input)? },
        1 | 2 => {
            let map = name(input, names)?;
            let key = Arc::from(input.str()?);
            let value = if code == 1 { Some(Value::decode(input)?) } else { None };
            Op::MapSet { map, key, value }
        }
        3 => Op::RowInsert { table: name(input, names)?, fields: decode_fields(input, names)? },
        4 => Op::RowSet {
            table: name(input, names)?,
            row: RowId(OpId::decode(input)?),
            field: name(input, names)?,
            value: Value::decode(input)?,
        },
        5 => Op::RowRemove { table: name(input, names)?, row: RowId(OpId::decode(input)?) },
        6 => Op::RowRestore {
            table: name(input, names)?,
            row: RowId(OpId::decode(input)?),
            fields: decode_fields(input, names)?,
        },
        7 | 8 => {
            Op::CounterAdd { counter: target(input, names, code == 8)?, delta: input.varint_i64()? }
        }
        9 | 10 => Op::TextInsert {
            text: target(input, names, code == 10)?,
            pos: input.varint_u32()?,
            content: Arc::from(input.str()?),
        },
        11 | 12 => Op::TextDelete {
            text: target(input, names, code == 12)?,
            pos: input.varint_u32()?,
            len: input.varint_u32()?,
        },
        _ => return Err(DecodeError::Invalid("operation code")),
    })
}

fn name(input: &mut Reader<'_>, names: &[Arc<str>]) -> Result<Arc<str>, DecodeError> {
    let index = usize::try_from(input.varint()?).map_err(|_| DecodeError::IntegerRange)?;
    names.get(index).cloned().ok_or(DecodeError::Invalid("name index"))
}

fn target(
    input: &mut Reader<'_>,
    names: &[Arc<str>],
    in_cell: bool,
) -> Result<ContainerId, DecodeError> {
    let first = name(input, names)?;
    if !in_cell {
        return Ok(ContainerId::Root(first));
    }
    let row = RowId(OpId::decode(input)?);
    Ok(ContainerId::Cell { table: first, row, field: name(input, names)? })
}

fn decode_fields(
    input: &mut Reader<'_>,
    names: &[Arc<str>],
) -> Result<Vec<(Arc<str>, Value)>, DecodeError> {
    let len = input.count(2)?;
    let mut fields = Vec::new();
    for _ in 0..len {
        fields.push((name(input, names)?, Value::decode(input)?));
    }
    Ok(fields)
}
