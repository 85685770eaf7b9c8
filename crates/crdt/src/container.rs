//! Containers: what a document is made of, by kind and name.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::cells::CellLog;
use crate::codec::{DecodeError, Reader, Writer};
use crate::counter::CounterState;
use crate::id::{OpId, RowId};
use crate::lww::{MapState, RegisterState};
use crate::names::Names;
use crate::table::TableState;
use crate::text::TextState;

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

    pub(crate) fn root_name(&self) -> Option<&Arc<str>> {
        match self {
            Self::Root(name) => Some(name),
            Self::Cell { .. } => None,
        }
    }

    pub(crate) fn encode(&self, out: &mut Writer) {
        match self {
            Self::Root(name) => {
                out.u8(0);
                out.str(name);
            }
            Self::Cell { table, row, field } => {
                out.u8(1);
                out.str(table);
                row.0.encode(out);
                out.str(field);
            }
        }
    }

    pub(crate) fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match input.u8()? {
            0 => Self::Root(Arc::from(input.str()?)),
            1 => Self::Cell {
                table: Arc::from(input.str()?),
                row: RowId(OpId::decode(input)?),
                field: Arc::from(input.str()?),
            },
            _ => return Err(DecodeError::Invalid("container place")),
        })
    }
}

/// A container's id, borrowed where possible: what containers are looked up by.
#[derive(Clone, Debug)]
pub enum ContainerKey<'a> {
    /// At the top of the document, under this name.
    Root(&'a str),
    /// The container of this id.
    Id(&'a ContainerId),
    /// The container of this id.
    Owned(ContainerId),
}

impl ContainerKey<'_> {
    pub(crate) fn to_id(&self) -> ContainerId {
        match self {
            Self::Root(name) => ContainerId::root(name),
            Self::Id(id) => (*id).clone(),
            Self::Owned(id) => id.clone(),
        }
    }

    fn compare(&self, id: &ContainerId) -> Ordering {
        match (self, id) {
            (Self::Root(name), ContainerId::Root(other)) => (*name).cmp(other),
            (Self::Root(_), ContainerId::Cell { .. }) => Ordering::Less,
            (Self::Id(key), id) => (*key).cmp(id),
            (Self::Owned(key), id) => key.cmp(id),
        }
    }
}

impl<'a> From<&'a str> for ContainerKey<'a> {
    fn from(name: &'a str) -> Self {
        Self::Root(name)
    }
}

impl<'a> From<&'a String> for ContainerKey<'a> {
    fn from(name: &'a String) -> Self {
        Self::Root(name)
    }
}

impl<'a> From<&'a ContainerId> for ContainerKey<'a> {
    fn from(id: &'a ContainerId) -> Self {
        Self::Id(id)
    }
}

impl From<ContainerId> for ContainerKey<'_> {
    fn from(id: ContainerId) -> Self {
        Self::Owned(id)
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

/// What kind of container a name stands for. Each kind has its own names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ContainerKind {
    /// A single value.
    Register,
    /// A map of values.
    Map,
    /// A table of rows.
    Table,
    /// A counter.
    Counter,
    /// A collaborative text.
    Text,
}

impl ContainerKind {
    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    pub(crate) fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match input.u8()? {
            0 => Self::Register,
            1 => Self::Map,
            2 => Self::Table,
            3 => Self::Counter,
            4 => Self::Text,
            _ => return Err(DecodeError::Invalid("container kind")),
        })
    }
}

static NO_NAMES: Names = Names::new();

/// What a container shows, and the log of it that is not a text's.
#[derive(Debug)]
pub(crate) enum Content {
    Register(CellLog, RegisterState),
    Map(CellLog, MapState),
    Table(CellLog, TableState),
    Counter(CellLog, CounterState),
    Text(TextState),
}

impl Content {
    pub(crate) fn new(kind: ContainerKind) -> Self {
        match kind {
            ContainerKind::Register => Self::Register(CellLog::default(), RegisterState::default()),
            ContainerKind::Map => Self::Map(CellLog::default(), MapState::default()),
            ContainerKind::Table => Self::Table(CellLog::default(), TableState::default()),
            ContainerKind::Counter => Self::Counter(CellLog::default(), CounterState::default()),
            ContainerKind::Text => Self::Text(TextState::default()),
        }
    }

    /// The names of its keys or fields, by number.
    pub(crate) fn names(&self) -> &Names {
        match self {
            Self::Map(_, state) => &state.names,
            Self::Table(_, state) => &state.names,
            _ => &NO_NAMES,
        }
    }

    /// The log of its operations; texts keep theirs with the history.
    pub(crate) fn cells(&self) -> Option<&CellLog> {
        match self {
            Self::Register(log, _)
            | Self::Map(log, _)
            | Self::Table(log, _)
            | Self::Counter(log, _) => Some(log),
            Self::Text(_) => None,
        }
    }
}

/// A container's number in its document, in order of first use.
pub(crate) type ContainerIx = u32;

#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) kind: ContainerKind,
    pub(crate) id: ContainerId,
    pub(crate) content: Content,
}

#[derive(Debug, Default)]
pub(crate) struct Containers {
    list: Vec<Container>,
    /// The numbers, by kind and id.
    sorted: Vec<ContainerIx>,
    /// The last one that was written to.
    last: ContainerIx,
}

impl Containers {
    fn position(&self, kind: ContainerKind, key: &ContainerKey<'_>) -> Result<usize, usize> {
        self.sorted.binary_search_by(|index| {
            let container = &self.list[*index as usize];
            container.kind.cmp(&kind).then_with(|| key.compare(&container.id).reverse())
        })
    }

    pub(crate) fn find(&self, kind: ContainerKind, key: &ContainerKey<'_>) -> Option<ContainerIx> {
        self.position(kind, key).ok().map(|at| self.sorted[at])
    }

    /// The container's number; it is made if it is new.
    pub(crate) fn intern(&mut self, kind: ContainerKind, key: &ContainerKey<'_>) -> ContainerIx {
        if let Some(last) = self.list.get(self.last as usize)
            && last.kind == kind
            && key.compare(&last.id) == Ordering::Equal
        {
            return self.last;
        }
        self.last = match self.position(kind, key) {
            Ok(at) => self.sorted[at],
            Err(at) => {
                let index = self.list.len() as ContainerIx;
                let (id, content) = (key.to_id(), Content::new(kind));
                self.list.push(Container { kind, id, content });
                self.sorted.insert(at, index);
                index
            }
        };
        self.last
    }

    pub(crate) fn get(&self, index: ContainerIx) -> &Container {
        &self.list[index as usize]
    }

    pub(crate) fn get_mut(&mut self, index: ContainerIx) -> &mut Container {
        &mut self.list[index as usize]
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// All of them with their numbers, by kind and id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ContainerIx, &Container)> {
        self.sorted.iter().map(|index| (*index, self.get(*index)))
    }
}
