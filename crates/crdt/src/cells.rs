//! What is written to registers, maps, tables, counters, lists and trees, one operation at a time.

use crate::codec::{Input, Writer};
use crate::container::ContainerKind;
use crate::graph::{Graph, Lv};
use crate::id::OpId;
use crate::names::NameIx;
use crate::text::{Anchor, MarkRange, decode_range, encode_range};
use crate::value::Value;

/// The row, list element or tree node that a write is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowRef {
    /// The one that this operation inserted.
    Known(Lv),
    /// One that the author cannot have seen: the write has no effect, on every replica alike.
    Stray(OpId),
}

pub(crate) type Fields = Vec<(NameIx, Value)>;

/// An operation of a container whose writes overrule one another.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum CellOp {
    /// A register's new value.
    Set(Value),
    /// A map's entry; no value removes it.
    Put { key: NameIx, value: Option<Value> },
    /// A table's new row.
    Insert { fields: Fields },
    /// A field of a row.
    Cell { row: RowRef, field: NameIx, value: Value },
    /// The removal of a row, or of a tree's node.
    Remove { row: RowRef },
    /// A row's return, with its fields.
    Restore { row: RowRef, fields: Fields },
    /// An addition to a counter.
    Add(i64),
    /// A list element's new slot.
    Move { element: RowRef },
    /// What a list element holds from now on.
    Replace { element: RowRef, value: Value },
    /// A tree's new node, and where it goes: below what, or at the top, and its key.
    Create { parent: Option<RowRef>, key: Vec<u8> },
    /// Where a tree's node goes.
    Place { node: RowRef, parent: Option<RowRef>, key: Vec<u8> },
    /// What is said about a stretch of a text: null takes back what was.
    Mark { key: NameIx, range: MarkRange, value: Value },
    /// An operation of a kind that is not known here.
    Opaque(Vec<u8>),
}

impl Default for CellOp {
    fn default() -> Self {
        Self::Add(0)
    }
}

impl RowRef {
    /// The same reference by id, as blocks have it.
    pub(crate) fn by_id(self, graph: &Graph) -> Self {
        match self {
            Self::Known(row) => Self::Stray(graph.id_of(row)),
            stray => stray,
        }
    }

    pub(crate) fn encode(self, out: &mut Writer) {
        match self {
            Self::Known(row) => out.varint(u64::from(row) + 1),
            Self::Stray(id) => {
                out.u8(0);
                id.encode(out);
            }
        }
    }

    pub(crate) fn decode(input: &mut Input<'_>) -> Self {
        match input.varint_u32() {
            0 => Self::Stray(OpId::decode(input)),
            row => Self::Known(row - 1),
        }
    }
}

fn encode_place(parent: Option<RowRef>, key: &[u8], out: &mut Writer) {
    out.bytes(key);
    out.u8(u8::from(parent.is_some()));
    if let Some(parent) = parent {
        parent.encode(out);
    }
}

fn decode_place(input: &mut Input<'_>) -> (Option<RowRef>, Vec<u8>) {
    let key = input.bytes();
    input.ensure(crate::tree::order::is_key(key), "sibling key");
    let parent = match input.u8() {
        0 => None,
        1 => Some(RowRef::decode(input)),
        _ => input.refuse("parent"),
    };
    (parent, key.to_vec())
}

fn encode_fields(fields: &[(NameIx, Value)], out: &mut Writer) {
    out.len(fields.len());
    for (field, value) in fields {
        out.varint(u64::from(*field));
        value.encode(out);
    }
}

fn decode_fields(input: &mut Input<'_>, name: NameCheck<'_>) -> Fields {
    let count = input.count(2);
    let mut fields = Vec::with_capacity(if input.keeps() { count } else { 0 });
    for _ in 0..count {
        let field = (decode_name(input, name), Value::decode(input));
        if input.keeps() {
            fields.push(field);
        }
    }
    fields
}

/// Whether a name may be used where it is.
pub(crate) type NameCheck<'a> = &'a mut dyn FnMut(NameIx) -> bool;

fn decode_name(input: &mut Input<'_>, may_be: NameCheck<'_>) -> NameIx {
    let name = input.varint_u32();
    input.ensure(may_be(name), "name order");
    name
}

impl CellOp {
    pub(crate) fn encode(&self, out: &mut Writer) {
        match self {
            Self::Set(value) => {
                out.u8(0);
                value.encode(out);
            }
            Self::Put { key, value } => {
                out.u8(if value.is_some() { 1 } else { 2 });
                out.varint(u64::from(*key));
                if let Some(value) = value {
                    value.encode(out);
                }
            }
            Self::Insert { fields } => {
                out.u8(3);
                encode_fields(fields, out);
            }
            Self::Cell { row, field, value } => {
                out.u8(4);
                row.encode(out);
                out.varint(u64::from(*field));
                value.encode(out);
            }
            Self::Remove { row } => {
                out.u8(5);
                row.encode(out);
            }
            Self::Restore { row, fields } => {
                out.u8(6);
                row.encode(out);
                encode_fields(fields, out);
            }
            Self::Add(delta) => {
                out.u8(7);
                out.varint_i64(*delta);
            }
            Self::Move { element } => {
                out.u8(8);
                element.encode(out);
            }
            Self::Replace { element, value } => {
                out.u8(9);
                element.encode(out);
                value.encode(out);
            }
            Self::Opaque(bytes) => {
                out.u8(10);
                out.bytes(bytes);
            }
            Self::Create { parent, key } => {
                out.u8(11);
                encode_place(*parent, key, out);
            }
            Self::Place { node, parent, key } => {
                out.u8(12);
                node.encode(out);
                encode_place(*parent, key, out);
            }
            Self::Mark { key, range, value } => {
                out.u8(13);
                out.varint(u64::from(*key));
                encode_range(range, out);
                value.encode(out);
            }
        }
    }

    /// Reads what [`CellOp::encode`] wrote, with any names.
    pub(crate) fn decode(input: &mut Input<'_>) -> Self {
        Self::decode_with(input, &mut |_| true)
    }

    /// The same with those names only that pass a check, in the order in which they are used.
    pub(crate) fn decode_with(input: &mut Input<'_>, name: NameCheck<'_>) -> Self {
        match input.u8() {
            0 => Self::Set(Value::decode(input)),
            1 => Self::Put { key: decode_name(input, name), value: Some(Value::decode(input)) },
            2 => Self::Put { key: decode_name(input, name), value: None },
            3 => Self::Insert { fields: decode_fields(input, name) },
            4 => Self::Cell {
                row: RowRef::decode(input),
                field: decode_name(input, name),
                value: Value::decode(input),
            },
            5 => Self::Remove { row: RowRef::decode(input) },
            6 => Self::Restore { row: RowRef::decode(input), fields: decode_fields(input, name) },
            7 => Self::Add(input.varint_i64()),
            8 => Self::Move { element: RowRef::decode(input) },
            9 => Self::Replace { element: RowRef::decode(input), value: Value::decode(input) },
            10 => Self::Opaque(input.bytes().to_vec()),
            11 => {
                let (parent, key) = decode_place(input);
                Self::Create { parent, key }
            }
            12 => {
                let node = RowRef::decode(input);
                let (parent, key) = decode_place(input);
                Self::Place { node, parent, key }
            }
            13 => Self::Mark {
                key: decode_name(input, name),
                range: decode_range(input),
                value: Value::decode(input),
            },
            _ => input.refuse("operation kind"),
        }
    }

    /// The same operation with other numbers for its names.
    pub(crate) fn map_names(mut self, name: &mut dyn FnMut(NameIx) -> NameIx) -> Self {
        match &mut self {
            Self::Put { key: field, .. }
            | Self::Cell { field, .. }
            | Self::Mark { key: field, .. } => *field = name(*field),
            Self::Insert { fields } | Self::Restore { fields, .. } => {
                fields.iter_mut().for_each(|(field, _)| *field = name(*field));
            }
            _ => {}
        }
        self
    }

    /// The same operation with other references to what it names.
    pub(crate) fn map_rows(mut self, row_of: &mut dyn FnMut(RowRef) -> RowRef) -> Self {
        if let Self::Cell { row, .. }
        | Self::Remove { row }
        | Self::Restore { row, .. }
        | Self::Move { element: row }
        | Self::Replace { element: row, .. }
        | Self::Place { node: row, .. } = &mut self
        {
            *row = row_of(*row);
        }
        if let Self::Mark { range, .. } = &mut self {
            *range = range.map(|anchor| anchor.map_row(row_of));
        }
        if let Self::Create { parent, .. } | Self::Place { parent, .. } = &mut self {
            *parent = parent.map(row_of);
        }
        self
    }

    /// Whether something that the operation names is so.
    pub(crate) fn has_row(&self, is_so: &dyn Fn(RowRef) -> bool) -> bool {
        let parent = match self {
            Self::Create { parent, .. } | Self::Place { parent, .. } => *parent,
            _ => None,
        };
        let [start, end] = match self {
            Self::Mark { range, .. } => range.map(Anchor::row),
            _ => [None; 2],
        };
        [self.row(), parent, start, end].iter().any(|row| row.is_some_and(is_so))
    }

    /// The row, element or node that the operation is about, but for an insertion.
    pub(crate) fn row(&self) -> Option<RowRef> {
        match self {
            Self::Cell { row, .. }
            | Self::Remove { row }
            | Self::Restore { row, .. }
            | Self::Move { element: row }
            | Self::Replace { element: row, .. }
            | Self::Place { node: row, .. } => Some(*row),
            _ => None,
        }
    }

    /// Whether a container of this kind that knows `names` names can have the operation.
    pub(crate) fn fits(&self, kind: ContainerKind, names: usize) -> bool {
        let knows = |name: &NameIx| (*name as usize) < names;
        match self {
            Self::Set(_) => kind == ContainerKind::Register || kind.is_list(),
            Self::Move { .. } | Self::Replace { .. } => kind.is_list(),
            Self::Opaque(_) => matches!(kind, ContainerKind::Unknown(_)),
            Self::Add(_) => kind == ContainerKind::Counter,
            Self::Mark { key, .. } => kind == ContainerKind::Text && knows(key),
            Self::Put { key, .. } => kind == ContainerKind::Map && knows(key),
            Self::Remove { .. } => matches!(kind, ContainerKind::Table | ContainerKind::Tree),
            Self::Create { .. } | Self::Place { .. } => kind == ContainerKind::Tree,
            Self::Cell { field, .. } => kind == ContainerKind::Table && knows(field),
            Self::Insert { fields } | Self::Restore { fields, .. } => {
                kind == ContainerKind::Table && fields.iter().all(|(field, _)| knows(field))
            }
        }
    }

    /// The value that an encoded operation wrote: of a register or an entry, or in this field of
    /// its row. Everything else of the operation is passed over.
    pub(crate) fn decode_value(input: &mut Input<'_>, field: Option<NameIx>) -> Option<Value> {
        match input.u8() {
            0 => {}
            1 => drop(input.varint()),
            3 => return Self::decode_field(input, field),
            4 => {
                RowRef::decode(input);
                if Some(input.varint_u32()) != field {
                    return None;
                }
            }
            6 => {
                RowRef::decode(input);
                return Self::decode_field(input, field);
            }
            9 => drop(RowRef::decode(input)),
            13 => {
                input.varint();
                decode_range(input);
            }
            _ => return None,
        }
        Some(Value::decode(input))
    }

    /// Tells each field of its row that an encoded operation wrote, with its value, which `told`
    /// has to read or to skip.
    pub(crate) fn decode_fields(
        input: &mut Input<'_>,
        told: &mut dyn FnMut(NameIx, &mut Input<'_>),
    ) {
        let kind = input.u8();
        if matches!(kind, 4 | 6) {
            RowRef::decode(input);
        }
        let count = match kind {
            3 | 6 => input.count(2),
            kind => usize::from(kind == 4),
        };
        for _ in 0..count {
            count_field();
            told(input.varint_u32(), input);
        }
    }

    /// The value of one of a row's fields, the last if it is there twice.
    fn decode_field(input: &mut Input<'_>, field: Option<NameIx>) -> Option<Value> {
        let mut found = None;
        for _ in 0..input.count(2) {
            count_field();
            let is_it = Some(input.varint_u32()) == field;
            let start = input.clone();
            Value::skip(input);
            if is_it {
                found = Some(start);
            }
        }
        found.map(|mut start| Value::decode(&mut start))
    }
}

#[cfg(not(test))]
fn count_field() {}

#[cfg(test)]
use self::counted::count_field;

/// How many fields of rows were read or passed over by this thread, so that tests can tell how that
/// grows.
#[cfg(test)]
pub(crate) mod counted {
    use std::cell::Cell;

    thread_local! {
        static FIELDS: Cell<u64> = const { Cell::new(0) };
    }

    pub(super) fn count_field() {
        FIELDS.set(fields() + 1);
    }

    pub(crate) fn fields() -> u64 {
        FIELDS.get()
    }
}
