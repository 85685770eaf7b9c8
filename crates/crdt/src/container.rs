//! Containers: what a document is made of, by kind and name.

use std::cmp::Ordering;
use std::sync::{Arc, OnceLock};

use crate::cell_log::CellLog;
use crate::codec::{DecodeError, Input, Writer};
use crate::counter::CounterState;
use crate::id::{OpId, RowId};
use crate::import::ImportBlocks;
use crate::list::ListState;
use crate::lww::{MapState, RegisterState};
use crate::names::Names;
use crate::sorted::{Place, Sorted};
use crate::table::TableState;
use crate::text::{FollowMarks, TextState};
use crate::tree::{FollowTree, LazyTree};
use crate::value::MAX_NESTING;

/// Where a container lives in its document.
///
/// The id is the place, so two people who make a container in one place at the same time have made
/// one container, and what both put into it merges.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
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
    /// In an entry of a map.
    Entry {
        /// The map.
        map: Arc<ContainerId>,
        /// The entry's key.
        key: Arc<str>,
    },
    /// In an element of a list or a node of a tree.
    Element {
        /// The list or tree.
        within: Arc<ContainerId>,
        /// The element or node.
        element: OpId,
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

    /// The container in the entry `key` of this map.
    ///
    /// # Panics
    /// If it would lie in more than [`crate::MAX_NESTING`] containers.
    #[must_use]
    pub fn entry(self, key: &str) -> Self {
        self.check_depth();
        Self::Entry { map: Arc::new(self), key: key.into() }
    }

    /// The container in an element of this list, or in a node of this tree.
    ///
    /// # Panics
    /// If it would lie in more than [`crate::MAX_NESTING`] containers.
    #[must_use]
    pub fn element(self, element: OpId) -> Self {
        self.check_depth();
        Self::Element { within: Arc::new(self), element }
    }

    fn check_depth(&self) {
        let depth = std::iter::successors(self.parent(), |id| id.parent()).count();
        assert!(depth < MAX_NESTING, "containers nest at most {MAX_NESTING} deep");
    }

    /// The id as bytes, for a message of the application's own.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new();
        self.encode(&mut out);
        out.into_vec()
    }

    /// Reads what [`ContainerId::to_bytes`] wrote.
    ///
    /// # Errors
    /// A [`DecodeError`] if the bytes are not exactly one id.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Input::new(bytes);
        let id = Self::decode(&mut input);
        input.finish().map(|()| id)
    }

    /// The container that this one lies in, if it is nested.
    #[must_use]
    pub fn parent(&self) -> Option<&Self> {
        match self {
            Self::Root(_) | Self::Cell { .. } => None,
            Self::Entry { map: parent, .. } | Self::Element { within: parent, .. } => Some(parent),
        }
    }

    pub(crate) fn root_name(&self) -> Option<&Arc<str>> {
        match self {
            Self::Root(name) => Some(name),
            _ => None,
        }
    }

    /// The same place where the operations in it have other names.
    pub(crate) fn map_ids(&self, rename: &impl Fn(OpId) -> OpId) -> Self {
        match self {
            Self::Root(_) => self.clone(),
            Self::Cell { table, row, field } => {
                Self::Cell { table: table.clone(), row: RowId(rename(row.0)), field: field.clone() }
            }
            Self::Entry { map, key } => {
                Self::Entry { map: Arc::new(map.map_ids(rename)), key: key.clone() }
            }
            Self::Element { within, element } => Self::Element {
                within: Arc::new(within.map_ids(rename)),
                element: rename(*element),
            },
        }
    }

    pub(crate) fn encode(&self, out: &mut Writer) {
        let mut path = Vec::new();
        let mut base = self;
        while let Some(parent) = base.parent() {
            path.push(base);
            base = parent;
        }
        // The count of steps inside, then what it starts from.
        out.len(path.len());
        match base {
            Self::Cell { table, row, field } => {
                out.u8(1);
                out.str(table);
                row.0.encode(out);
                out.str(field);
            }
            Self::Root(name) => {
                out.u8(0);
                out.str(name);
            }
            _ => unreachable!("a path starts outside of all containers"),
        }
        for step in path.iter().rev() {
            match step {
                Self::Entry { key, .. } => {
                    out.u8(0);
                    out.str(key);
                }
                Self::Element { element, .. } => {
                    out.u8(1);
                    element.encode(out);
                }
                _ => unreachable!("a step goes into a container"),
            }
        }
    }

    pub(crate) fn decode(input: &mut Input<'_>) -> Self {
        let steps = input.count(2);
        if steps > MAX_NESTING {
            input.fail(DecodeError::TooDeep);
        }
        let mut id = match input.u8() {
            0 => Self::Root(Arc::from(input.str())),
            1 => Self::Cell {
                table: Arc::from(input.str()),
                row: RowId(OpId::decode(input)),
                field: Arc::from(input.str()),
            },
            _ => Self::Root(input.refuse("container place")),
        };
        for _ in 0..steps.min(MAX_NESTING) {
            id = match input.u8() {
                0 => id.entry(input.str()),
                1 => id.element(OpId::decode(input)),
                _ => Self::Root(input.refuse("container place")),
            };
        }
        id
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

    fn is(&self, id: &ContainerId) -> bool {
        match (self, id) {
            (Self::Root(name), ContainerId::Root(other)) => **name == **other,
            _ => self.compare(id) == Ordering::Equal,
        }
    }

    fn compare(&self, id: &ContainerId) -> Ordering {
        match (self, id) {
            (Self::Root(name), ContainerId::Root(other)) => (*name).cmp(other),
            (Self::Root(_), _) => Ordering::Less,
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
    /// A table of rows. One is at the top of a document; it does not nest in other containers.
    Table,
    /// A counter.
    Counter,
    /// A collaborative text.
    Text,
    /// A list of values.
    List,
    /// A list whose elements can be moved and replaced.
    MovableList,
    /// A tree whose nodes can be moved.
    Tree,
    /// A kind that a later version of this library has: kept and passed on as it is. Their numbers
    /// start at 16; what has a lower one is stored as null.
    Unknown(u8),
}

/// Kinds from here on wrap each of their operations, so that a reader can pass on what it does not
/// know.
const WRAPPED: u8 = 16;

impl ContainerKind {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Register => 0,
            Self::Map => 1,
            Self::Table => 2,
            Self::Counter => 3,
            Self::Text => 4,
            Self::List => 5,
            Self::MovableList => 6,
            Self::Tree => 7,
            Self::Unknown(code) => code,
        }
    }

    pub(crate) fn decode(input: &mut Input<'_>) -> Self {
        match input.u8() {
            0 => Self::Register,
            1 => Self::Map,
            2 => Self::Table,
            3 => Self::Counter,
            4 => Self::Text,
            5 => Self::List,
            6 => Self::MovableList,
            7 => Self::Tree,
            code if code >= WRAPPED => Self::Unknown(code),
            _ => Self::Unknown(input.refuse("container kind")),
        }
    }

    /// Whether there can be such a kind.
    pub(crate) fn can_be(self) -> bool {
        !matches!(self, Self::Unknown(code) if code < WRAPPED)
    }

    /// Checks that a container of this kind can be read and written where it is nested.
    pub(crate) fn check_nests(self) {
        let nests = !matches!(self, Self::Table | Self::Unknown(_));
        assert!(nests, "tables and unknown kinds do not nest in other containers");
    }

    /// Whether operations of this kind name positions: they are kept as runs.
    pub(crate) fn is_sequence(self) -> bool {
        matches!(self, Self::Text | Self::List | Self::MovableList)
    }

    /// Whether a patch about it names positions of the moment: it is noted when that is made.
    pub(crate) fn notes_edits(self) -> bool {
        self.is_list() || self == Self::Tree
    }

    pub(crate) fn is_list(self) -> bool {
        matches!(self, Self::List | Self::MovableList)
    }
}

static NO_NAMES: Names = Names::new();

/// The log of what was written to a container, and what it shows. What was put in and deleted
/// where in texts and lists is logged with the history.
#[derive(Debug)]
pub(crate) enum Content {
    Register(CellLog, RegisterState),
    Map(CellLog, MapState),
    Table(CellLog, TableState),
    Counter(CellLog, CounterState),
    Text(CellLog, TextState),
    List(CellLog, ListState),
    Tree(CellLog, LazyTree),
    Unknown(CellLog),
}

impl Content {
    pub(crate) fn new(kind: ContainerKind) -> Self {
        match kind {
            ContainerKind::Register => Self::Register(CellLog::default(), RegisterState::default()),
            ContainerKind::Map => Self::Map(CellLog::default(), MapState::default()),
            ContainerKind::Table => Self::Table(CellLog::default(), TableState::default()),
            ContainerKind::Counter => Self::Counter(CellLog::default(), CounterState::default()),
            ContainerKind::Text => Self::Text(CellLog::default(), TextState::default()),
            ContainerKind::List | ContainerKind::MovableList => {
                Self::List(CellLog::default(), ListState::default())
            }
            ContainerKind::Tree => Self::Tree(CellLog::default(), LazyTree::default()),
            ContainerKind::Unknown(_) => Self::Unknown(CellLog::default()),
        }
    }

    /// The names of its keys or fields, or of its marks' keys, by number.
    pub(crate) fn names(&self) -> &Names {
        match self {
            Self::Map(_, state) => &state.names,
            Self::Table(_, state) => &state.names,
            Self::Text(_, state) => &state.marks.keys,
            _ => &NO_NAMES,
        }
    }

    /// The log of what it holds; where it stands in texts and lists is kept with the history.
    pub(crate) fn cells(&self) -> &CellLog {
        match self {
            Self::Register(log, _)
            | Self::Map(log, _)
            | Self::Table(log, _)
            | Self::Counter(log, _)
            | Self::Text(log, _)
            | Self::List(log, _)
            | Self::Tree(log, _)
            | Self::Unknown(log) => log,
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

/// What this program has asked some document for, and so has to be told of from now on. One that
/// never asks for trees or marks does without the code for them: imports and undo reach it through
/// here alone, and what imports take into the log is all that a later question needs. One that
/// merges updates only does without that for blocks: none of them waits. One that never undoes does
/// without what undoes trees and marks, which asks whether it does ([`crate::undo::undoes`]).
pub(crate) struct Followed {
    pub(crate) blocks: OnceLock<ImportBlocks>,
    pub(crate) trees: OnceLock<&'static dyn FollowTree>,
    pub(crate) marks: OnceLock<&'static dyn FollowMarks>,
}

pub(crate) static FOLLOWED: Followed =
    Followed { blocks: OnceLock::new(), trees: OnceLock::new(), marks: OnceLock::new() };

#[derive(Debug, Default)]
pub(crate) struct Containers {
    list: Vec<Container>,
    /// The numbers, by kind and id.
    sorted: Sorted,
    /// The last one that was written to.
    last: ContainerIx,
}

impl Containers {
    fn position(&self, kind: ContainerKind, key: &ContainerKey<'_>) -> Result<ContainerIx, Place> {
        self.sorted.find(&|index| {
            let container = &self.list[index as usize];
            container.kind.cmp(&kind).then_with(|| key.compare(&container.id).reverse())
        })
    }

    pub(crate) fn find(&self, kind: ContainerKind, key: &ContainerKey<'_>) -> Option<ContainerIx> {
        self.position(kind, key).ok()
    }

    /// The container's number; it is made if it is new.
    pub(crate) fn intern(&mut self, kind: ContainerKind, key: &ContainerKey<'_>) -> ContainerIx {
        if let Some(last) = self.list.get(self.last as usize)
            && last.kind == kind
            && key.is(&last.id)
        {
            return self.last;
        }
        self.last = match self.position(kind, key) {
            Ok(index) => index,
            Err(place) => {
                let index = self.list.len() as ContainerIx;
                let (id, content) = (key.to_id(), Content::new(kind));
                self.list.push(Container { kind, id, content });
                self.sorted.insert(place, index);
                index
            }
        };
        self.last
    }

    /// The number here of a container that others have under a number of theirs.
    pub(crate) fn intern_as(&mut self, others: &Self, index: ContainerIx) -> ContainerIx {
        let container = others.get(index);
        self.intern(container.kind, &ContainerKey::Id(&container.id))
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
