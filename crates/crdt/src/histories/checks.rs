//! What a document shows: compared with the model, and followed by patches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::Model;
use crate::text::model::CharMarks;
use crate::text::tests::{MarkView, marks_of};
use crate::tree::{self, Follower};
use crate::{
    ContainerId, ContainerKind, Doc, ListDelta, Patch, RowChange, RowId, TextDelta, Value,
};

/// Every container of a document, nested ones too, shows what the model says.
pub(crate) fn assert_is_model(doc: &Doc, model: &Model) {
    let here = doc.containers.iter().map(|(_, container)| (container.kind, container.id.clone()));
    let all: BTreeSet<_> = model.places.iter().cloned().chain(here).collect();
    for (kind, id) in &all {
        match kind {
            ContainerKind::Register => assert_eq!(doc.register(id), model.register(id), "{id:?}"),
            ContainerKind::Counter => assert_eq!(doc.counter(id), model.counter(id), "{id:?}"),
            ContainerKind::Map => {
                let map = doc.map(id);
                assert_eq!(owned(map.iter()), model.map(id), "{id:?}");
                assert_eq!((map.len(), map.keys().count()), (map.iter().count(), map.len()));
            }
            ContainerKind::Table => assert_is_table_of(doc, id, model),
            ContainerKind::Text => {
                let (text, expected) = (doc.text(id), model.text(id));
                assert_eq!(text.to_string(), expected, "{id:?}");
                assert_eq!(text.len(), expected.chars().count());
                assert_eq!(text.len_utf16(), expected.encode_utf16().count());
                assert_eq!(marks_of(doc, id), model.marks(id), "{id:?}");
            }
            ContainerKind::List | ContainerKind::MovableList => {
                let is_plain = *kind == ContainerKind::List;
                let list = if is_plain { doc.list(id) } else { doc.movable_list(id) };
                assert_eq!(list.iter().collect::<Vec<_>>(), model.list(*kind, id), "{id:?}");
                assert_eq!(list.len(), list.iter().count());
            }
            ContainerKind::Tree => assert_eq!(tree::shown(doc, id), model.tree(id), "{id:?}"),
            ContainerKind::Unknown(_) => unreachable!("no step writes to what is unknown"),
        }
    }
}

fn assert_is_table_of(doc: &Doc, id: &ContainerId, model: &Model) {
    let table = doc.table(id.root_name().expect("tables do not nest"));
    let rows = model.rows(id);
    assert!(table.known().eq(rows.iter().map(|(row, _)| *row)), "the order of insertion");
    let there = rows.iter().filter(|(_, is_alive)| *is_alive);
    assert!(table.rows().eq(there.map(|(row, _)| *row)), "what is not removed");
    assert_eq!(table.len(), table.rows().count());
    for (row, is_alive) in rows {
        assert_eq!(table.contains(row), is_alive);
        assert_eq!(owned(table.fields(row)), model.fields(id, row));
    }
}

pub(crate) fn owned<'a>(values: impl Iterator<Item = (&'a str, Value)>) -> Vec<(String, Value)> {
    values.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// What each container shows, if anything. What was never set before is null after undo, and shows
/// nothing.
pub(crate) fn shown(doc: &Doc) -> BTreeMap<(ContainerKind, ContainerId), String> {
    let is_set = |value: &Value| *value != Value::Null;
    let mut shown = BTreeMap::new();
    for (_, container) in doc.containers.iter() {
        let (kind, id) = (container.kind, &container.id);
        let text = match kind {
            ContainerKind::Register => doc.register(id).filter(is_set).map(|v| format!("{v:?}")),
            ContainerKind::Map => Some(format!("{:?}", owned(doc.map(id).iter()))),
            ContainerKind::Counter => {
                Some(doc.counter(id)).filter(|sum| *sum != 0).map(|sum| sum.to_string())
            }
            ContainerKind::Text => {
                let text = doc.text(id).to_string();
                (!text.is_empty()).then(|| format!("{text} {:?}", marks_of(doc, id)))
            }
            ContainerKind::List => Some(format!("{:?}", doc.list(id))),
            ContainerKind::MovableList => Some(format!("{:?}", doc.movable_list(id))),
            ContainerKind::Tree => Some(format!("{:?}", tree::shown(doc, id))),
            ContainerKind::Table => {
                let table = doc.table(id.root_name().expect("tables do not nest"));
                let fields = |row| owned(table.fields(row).filter(|(_, value)| is_set(value)));
                let rows: Vec<_> = table.rows().map(|row| (row, fields(row))).collect();
                Some(format!("{rows:?}"))
            }
            ContainerKind::Unknown(_) => None,
        };
        let text = text.filter(|text| text != "[]");
        shown.extend(text.map(|text| ((kind, id.clone()), text)));
    }
    shown
}

/// What a patch says has a new value, and leaves to be asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cell {
    Register(ContainerId),
    Entry(ContainerId, Arc<str>),
    Counter(ContainerId),
    Field(RowId, Arc<str>),
}

/// The cells of a document that hold something, in rows that are there.
pub(crate) fn cells(doc: &Doc) -> BTreeMap<Cell, Value> {
    let mut cells = BTreeMap::new();
    for (_, container) in doc.containers.iter() {
        let id = &container.id;
        match container.kind {
            ContainerKind::Register => {
                cells.extend(doc.register(id).map(|value| (Cell::Register(id.clone()), value)));
            }
            ContainerKind::Counter if doc.counter(id) != 0 => {
                cells.insert(Cell::Counter(id.clone()), doc.counter(id).into());
            }
            ContainerKind::Map => {
                let entry = |(key, value): (&str, _)| (Cell::Entry(id.clone(), key.into()), value);
                cells.extend(doc.map(id).iter().map(entry));
            }
            ContainerKind::Table => {
                let table = doc.table(id.root_name().expect("tables do not nest"));
                for row in table.rows() {
                    let field = |(name, value): (&str, _)| (Cell::Field(row, name.into()), value);
                    cells.extend(table.fields(row).map(field));
                }
            }
            _ => {}
        }
    }
    cells
}

/// A view that knows a document from its patches, and asks it for no more than these say.
#[derive(Debug, Default)]
pub(crate) struct View {
    texts: BTreeMap<ContainerId, String>,
    marks: BTreeMap<ContainerId, MarkView>,
    /// What a patch does not tell is none.
    lists: BTreeMap<ContainerId, Vec<Option<Value>>>,
    trees: BTreeMap<ContainerId, Follower>,
    /// The rows of the one table.
    rows: BTreeSet<RowId>,
    cells: BTreeMap<Cell, Value>,
}

impl View {
    /// One that shows all of a document.
    pub(crate) fn of(doc: &Doc) -> Self {
        let mut view =
            Self { cells: cells(doc), rows: doc.table("t").rows().collect(), ..Self::default() };
        for (_, container) in doc.containers.iter() {
            let id = || container.id.clone();
            match container.kind {
                ContainerKind::Text => {
                    view.texts.insert(id(), doc.text(id()).to_string());
                    let marks = marks_of(doc, id()).into_iter().map(Some).collect();
                    view.marks.insert(id(), MarkView(marks));
                }
                ContainerKind::List => {
                    view.lists.insert(id(), doc.list(id()).iter().map(Some).collect());
                }
                ContainerKind::MovableList => {
                    view.lists.insert(id(), doc.movable_list(id()).iter().map(Some).collect());
                }
                ContainerKind::Tree => drop(view.trees.insert(id(), Follower::of(doc, id()))),
                _ => {}
            }
        }
        view
    }

    /// Follows what made the document as it is now. Text that is inserted is marked so.
    pub(crate) fn follow(&mut self, doc: &Doc, patches: &[Patch], inserted: Option<&CharMarks>) {
        let (now, mut told) = (cells(doc), BTreeSet::new());
        for patch in patches {
            match patch {
                Patch::Text { id, delta } => {
                    let text = self.texts.entry(id.clone()).or_default();
                    *text = patched(text, delta);
                    self.marks.entry(id.clone()).or_default().follow(id, patch, inserted);
                }
                Patch::Marks { id, .. } => {
                    self.marks.entry(id.clone()).or_default().follow(id, patch, inserted);
                }
                Patch::List { id, delta, .. } => {
                    patch_list(self.lists.entry(id.clone()).or_default(), delta);
                }
                Patch::ListElement { id, index } => {
                    self.lists.get_mut(id).expect("a list that is shown")[*index as usize] = None;
                }
                Patch::Tree { id, .. } => {
                    self.trees.entry(id.clone()).or_default().follow(patch, id);
                }
                Patch::Row { row, change, .. } => match change {
                    RowChange::Inserted | RowChange::Restored => {
                        assert!(self.rows.insert(*row));
                        let is_of = |cell: &&Cell| matches!(cell, Cell::Field(of, _) if of == row);
                        told.extend(now.keys().filter(is_of).cloned());
                    }
                    RowChange::Removed => assert!(self.rows.remove(row)),
                    RowChange::Field(name) => {
                        told.insert(Cell::Field(*row, name.clone()));
                    }
                },
                Patch::Register { id } => drop(told.insert(Cell::Register(id.clone()))),
                Patch::Counter { id } => drop(told.insert(Cell::Counter(id.clone()))),
                Patch::MapEntry { id, key } => {
                    told.insert(Cell::Entry(id.clone(), key.clone()));
                }
            }
        }
        for cell in told {
            match now.get(&cell) {
                Some(value) => self.cells.insert(cell, value.clone()),
                None => self.cells.remove(&cell),
            };
        }
        let rows = &self.rows;
        self.cells.retain(|cell, _| !matches!(cell, Cell::Field(row, _) if !rows.contains(row)));
    }

    /// Checks that it shows the document, and learns what it was not told of its lists and marks.
    pub(crate) fn check(&mut self, doc: &Doc) {
        assert_eq!(self.cells, cells(doc));
        assert!(doc.table("t").rows().collect::<BTreeSet<_>>() == self.rows);
        for (_, container) in doc.containers.iter() {
            let id = &container.id;
            match container.kind {
                ContainerKind::Text => {
                    let shown = self.texts.get(id).map(String::as_str).unwrap_or_default();
                    assert_eq!(shown, doc.text(id).to_string());
                    self.marks.entry(id.clone()).or_default().check(doc, id);
                }
                ContainerKind::List => self.check_list(id, doc.list(id).iter().collect()),
                ContainerKind::MovableList => {
                    self.check_list(id, doc.movable_list(id).iter().collect());
                }
                ContainerKind::Tree => {
                    let view = self.trees.entry(id.clone()).or_default();
                    assert_eq!(view.shown(), tree::shown(doc, id));
                }
                _ => {}
            }
        }
    }

    fn check_list(&mut self, id: &ContainerId, now: Vec<Value>) {
        let shown = self.lists.entry(id.clone()).or_default();
        assert_eq!(shown.len(), now.len(), "{id:?}");
        for (shown, now) in shown.iter_mut().zip(now) {
            assert_eq!(shown.get_or_insert_with(|| now.clone()), &now, "{id:?}");
        }
    }
}

fn patch_list(list: &mut Vec<Option<Value>>, delta: &[ListDelta]) {
    let mut at = 0;
    for step in delta {
        match step {
            ListDelta::Retain(len) => at += *len as usize,
            ListDelta::Insert(values) => {
                list.splice(at..at, values.iter().cloned().map(Some));
                at += values.len();
            }
            ListDelta::Delete(len) => drop(list.drain(at..at + *len as usize)),
        }
    }
}

fn patched(text: &str, delta: &[TextDelta]) -> String {
    let mut rest = text.chars();
    let mut out = String::new();
    for step in delta {
        match step {
            TextDelta::Retain(n) => out.extend(rest.by_ref().take(*n as usize)),
            TextDelta::Insert(content) => out.push_str(content),
            TextDelta::Delete(n) => drop(rest.by_ref().take(*n as usize).count()),
        }
    }
    out.extend(rest);
    out
}
