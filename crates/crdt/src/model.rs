//! The oracle: what a set of blocks means, computed naively, and histories that compare it with
//! the engine.
//!
//! The model shares no algorithm with the engine: versions are sets of ids, text is a tree of
//! single characters walked as in Weidner and Kleppmann, "The Art of the Fugue", section 5
//! (FugueMax), and registers are a plain maximum over all writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::block::Block;
use crate::cells::{CellOp, RowRef};
use crate::container::{ContainerId, ContainerKind};
use crate::id::{OpId, PeerId, RowId};
use crate::op::{Action, Body, Op};
use crate::stamp::Stamp;
use crate::text::RunKind;
use crate::text::model::{CharMarks, MarkModel};
use crate::tree::model::TreeModel;
use crate::value::Value;

/// A container, at the top or nested: each kind has its own names.
type Place = (ContainerKind, ContainerId);

/// What is written to there: the kind of register, the row or element, and the key or field.
type Key = (u8, Place, Option<RowId>, Arc<str>);

#[derive(Default)]
struct Char {
    id: Option<OpId>,
    content: char,
    deleted_by: Vec<OpId>,
    right_origin: Option<OpId>,
    /// What its author had seen.
    version: BTreeSet<OpId>,
    left: Vec<OpId>,
    right: Vec<OpId>,
}

/// A tree of characters under an invisible root.
#[derive(Default)]
struct Tree {
    chars: BTreeMap<Option<OpId>, Char>,
}

impl Tree {
    /// Every character in order, deleted ones included, that `seen` contains.
    fn walk(&self, node: Option<OpId>, seen: &dyn Fn(OpId) -> bool, out: &mut Vec<OpId>) {
        let Some(char) = self.chars.get(&node) else { return };
        for child in &char.left {
            self.walk(Some(*child), seen, out);
        }
        out.extend(char.id.filter(|id| seen(*id)));
        for child in &char.right {
            self.walk(Some(*child), seen, out);
        }
    }

    fn all(&self) -> Vec<OpId> {
        let mut out = Vec::new();
        self.walk(None, &|_| true, &mut out);
        out
    }

    fn insert(&mut self, id: OpId, content: char, pos: usize, version: &BTreeSet<OpId>) {
        self.chars.entry(None).or_default();
        let mut known = Vec::new();
        self.walk(None, &|id| version.contains(&id), &mut known);
        let shown: Vec<OpId> =
            known.iter().copied().filter(|id| self.shown(*id, version)).collect();
        let left_origin = pos.checked_sub(1).map(|left| shown[left]);
        let after =
            left_origin.map_or(0, |left| 1 + known.iter().position(|k| *k == left).unwrap());
        let right_origin = known.get(after).copied();
        let order = self.all();
        let rank = |id: Option<OpId>| {
            id.map_or(usize::MAX, |id| order.iter().position(|other| *other == id).unwrap())
        };
        let has_right_child =
            self.chars[&left_origin].right.iter().any(|child| version.contains(child));
        let seen = version.clone();
        let mut char =
            Char { id: Some(id), content, right_origin, version: seen, ..Char::default() };
        if has_right_child {
            char.right_origin = None;
            let siblings = &self.chars[&right_origin].left;
            let at = siblings.partition_point(|other| *other < id);
            self.chars.get_mut(&right_origin).unwrap().left.insert(at, id);
        } else {
            // Right children: the one whose right origin lies further right comes first.
            let siblings = &self.chars[&left_origin].right;
            let key = |right: Option<OpId>, id: OpId| (usize::MAX - rank(right), id);
            let new = key(right_origin, id);
            let before = |other: &OpId| key(self.chars[&Some(*other)].right_origin, *other) < new;
            let at = siblings.iter().filter(|other| before(other)).count();
            self.chars.get_mut(&left_origin).unwrap().right.insert(at, id);
        }
        self.chars.insert(Some(id), char);
    }

    fn delete(&mut self, id: OpId, pos: usize, version: &BTreeSet<OpId>) {
        let mut known = Vec::new();
        self.walk(None, &|id| version.contains(&id), &mut known);
        known.retain(|id| self.shown(*id, version));
        self.chars.get_mut(&Some(known[pos])).unwrap().deleted_by.push(id);
    }

    /// Those in front of a character that were typed when it and all in between was deleted.
    fn typed_past(&self, char: OpId, all: &[OpId]) -> BTreeSet<OpId> {
        let at = all.iter().position(|other| *other == char).unwrap();
        let (mut past, mut passed) = (BTreeSet::new(), vec![char]);
        for id in all[..at].iter().rev() {
            let version = &self.chars[&Some(*id)].version;
            let saw = |other: &OpId| version.contains(other) && self.shown(*other, version);
            if version.contains(&char) && !passed.iter().any(saw) {
                past.insert(*id);
            } else {
                passed.push(*id);
            }
        }
        past
    }

    fn shown(&self, id: OpId, version: &BTreeSet<OpId>) -> bool {
        !self.chars[&Some(id)].deleted_by.iter().any(|delete| version.contains(delete))
    }

    fn shown_ids(&self) -> Vec<OpId> {
        let mut all = self.all();
        all.retain(|id| self.chars[&Some(*id)].deleted_by.is_empty());
        all
    }

    fn text(&self) -> String {
        let chars = self.all().into_iter().map(|id| &self.chars[&Some(id)]);
        chars.filter(|char| char.deleted_by.is_empty()).map(|char| char.content).collect()
    }
}

/// A change's stamp is above those of all it depends on, so stamp order is a causal order.
fn sort_causally(blocks: &mut [Block]) {
    blocks.sort_by_key(|block| (block.header().stamp, block.peer(), block.seq()));
}

/// What a set of blocks means.
#[derive(Default)]
pub(crate) struct Model {
    writes: BTreeMap<Key, (Stamp, PeerId, Option<Value>)>,
    /// Every container that was written to.
    pub(crate) places: BTreeSet<Place>,
    counters: BTreeMap<ContainerId, i64>,
    /// The insertions of each table.
    rows: BTreeMap<ContainerId, BTreeSet<(Stamp, OpId)>>,
    texts: BTreeMap<Place, Tree>,
    /// The element of each slot of a list.
    slots: BTreeMap<OpId, OpId>,
    trees: BTreeMap<ContainerId, TreeModel>,
    marks: BTreeMap<ContainerId, MarkModel>,
}

fn element_key(kind: u8, list: &Place, element: OpId) -> Key {
    (kind, list.clone(), Some(RowId(element)), "".into())
}

fn slot_value(slot: OpId) -> Value {
    slot.to_string().into()
}

impl Model {
    pub(crate) fn of(blocks: &[Block]) -> Self {
        let mut blocks = blocks.to_vec();
        sort_causally(&mut blocks);
        let mut model = Self::default();
        // Each operation's own history, by the last operation of each block.
        let mut pasts = BTreeMap::<OpId, BTreeSet<OpId>>::new();
        for block in &blocks {
            let first = OpId::new(block.peer(), block.seq());
            let previous = first.seq.checked_sub(1).map(|seq| OpId::new(first.peer, seq));
            let mut version = BTreeSet::new();
            for dep in block.header().deps.iter().copied().chain(previous) {
                version.extend(&pasts[&dep]);
            }
            let mut seq = first.seq;
            let body = block.body().unwrap();
            for op in &body.ops {
                let stamp = block.header().stamp.plus(seq - first.seq);
                model.apply(&body, op, OpId::new(first.peer, seq), stamp, &version);
                version.extend((seq..seq + op.len()).map(|seq| OpId::new(first.peer, seq)));
                seq += op.len();
            }
            pasts.insert(OpId::new(first.peer, block.end() - 1), version);
        }
        model
    }

    fn write(&mut self, key: Key, stamp: Stamp, peer: PeerId, value: Option<Value>) {
        let new = (stamp, peer, value);
        let old = self.writes.entry(key).or_insert_with(|| new.clone());
        if (new.0, new.1) > (old.0, old.1) {
            *old = new;
        }
    }

    fn apply(&mut self, body: &Body, op: &Op, id: OpId, stamp: Stamp, version: &BTreeSet<OpId>) {
        let place = &body.containers[op.container];
        let (kind, container) = place;
        self.places.insert(place.clone());
        match &op.action {
            Action::Cell(op) if *kind == ContainerKind::Tree => {
                let tree = self.trees.entry(container.clone()).or_default();
                tree.apply(id, stamp, op, &|node| version.contains(&node));
            }
            Action::Cell(CellOp::Mark { key, range, value }) => {
                let tree = self.texts.get(place);
                let saw = |id| {
                    let is_char = |tree: &&Tree| tree.chars.contains_key(&Some(id));
                    let tree = tree.filter(is_char);
                    version.contains(&id) && tree.is_some_and(|tree| tree.shown(id, version))
                };
                let (rank, key) = ((stamp, id.peer), body.names[*key as usize].clone());
                let marks = self.marks.entry(container.clone()).or_default();
                marks.apply(rank, key, *range, value.clone(), &saw);
            }
            Action::Cell(CellOp::Add(delta)) => {
                let sum = self.counters.entry(container.clone()).or_default();
                *sum = sum.wrapping_add(*delta);
            }
            Action::Cell(CellOp::Replace { element: RowRef::Stray(element), value }) => {
                let key = element_key(4, place, *element);
                self.write(key, stamp, id.peer, Some(value.clone()));
            }
            Action::Cell(op) => self.apply_cell(body, place, op, id, stamp),
            Action::Text { kind, pos, len, content } => {
                let chars: Vec<char> = content.chars().collect();
                self.run(place, *kind, *pos, *len, &chars, id, version);
            }
            Action::List { kind, pos, len, values } => {
                self.run(place, *kind, *pos, *len, &[' '; 64], id, version);
                for (i, value) in (0..).zip(values) {
                    let element = id.plus(i);
                    self.slots.insert(element, element);
                    let (held, peer) = (element_key(4, place, element), id.peer);
                    self.write(held, stamp.plus(i), peer, Some(value.clone()));
                    let slot = Some(slot_value(element));
                    self.write(element_key(5, place, element), stamp.plus(i), peer, slot);
                }
            }
            Action::Move { pos, element: RowRef::Stray(element) } => {
                self.run(place, RunKind::Insert, *pos, 1, &[' '], id, version);
                self.slots.insert(id, *element);
                let slot = Some(slot_value(id));
                self.write(element_key(5, place, *element), stamp, id.peer, slot);
            }
            Action::Move { .. } => unreachable!("blocks name elements by id"),
        }
    }

    /// Operations on the characters of a text or the slots of a list.
    #[allow(clippy::too_many_arguments, reason = "a run has as many parts")]
    fn run(
        &mut self,
        place: &Place,
        kind: RunKind,
        pos: u32,
        len: u32,
        chars: &[char],
        id: OpId,
        version: &BTreeSet<OpId>,
    ) {
        let tree = self.texts.entry(place.clone()).or_default();
        let mut version = version.clone();
        for i in 0..len {
            let id = id.plus(i);
            match kind {
                RunKind::Insert => {
                    tree.insert(id, chars[i as usize], (pos + i) as usize, &version);
                }
                RunKind::Delete => tree.delete(id, pos as usize, &version),
                RunKind::Backspace => tree.delete(id, (pos - i) as usize, &version),
                RunKind::Aside => {}
            }
            version.insert(id);
        }
    }

    /// What a list shows: the slots that hold for their elements.
    pub(crate) fn list(&self, kind: ContainerKind, id: &ContainerId) -> Vec<Value> {
        let place = (kind, id.clone());
        let mut shown = Vec::new();
        for slot in self.texts.get(&place).map(Tree::shown_ids).unwrap_or_default() {
            let element = self.slots[&slot];
            let held = |kind| self.writes[&element_key(kind, &place, element)].2.clone();
            if held(5) == Some(slot_value(slot)) {
                shown.extend(held(4));
            }
        }
        shown
    }

    /// A tree as `(depth, node)`, each before what is below it.
    pub(crate) fn tree(&self, id: &ContainerId) -> Vec<(usize, OpId)> {
        self.trees.get(id).map(TreeModel::walk).unwrap_or_default()
    }

    fn apply_cell(&mut self, body: &Body, place: &Place, op: &CellOp, id: OpId, stamp: Stamp) {
        let (name, peer, none): (_, _, Arc<str>) = (place.clone(), id.peer, "".into());
        let field = |field: &u32| body.names[*field as usize].clone();
        let row = match op.row() {
            Some(RowRef::Stray(row)) => RowId(row),
            _ => RowId(id),
        };
        match op {
            CellOp::Set(value) => {
                self.write((0, name, None, none), stamp, peer, Some(value.clone()));
            }
            CellOp::Put { key, value } => {
                self.write((1, name, None, field(key)), stamp, peer, value.clone());
            }
            CellOp::Insert { fields } | CellOp::Restore { fields, .. } => {
                if op.row().is_none() {
                    self.rows.entry(place.1.clone()).or_default().insert((stamp, id));
                }
                for (f, value) in fields {
                    let key = (2, name.clone(), Some(row), field(f));
                    self.write(key, stamp, peer, Some(value.clone()));
                }
                self.write((3, name, Some(row), none), stamp, peer, Some(true.into()));
            }
            CellOp::Cell { field: f, value, .. } => {
                self.write((2, name, Some(row), field(f)), stamp, peer, Some(value.clone()));
            }
            CellOp::Remove { .. } => {
                self.write((3, name, Some(row), none), stamp, peer, Some(false.into()));
            }
            _ => {}
        }
    }

    pub(crate) fn text(&self, id: &ContainerId) -> String {
        self.texts.get(&(ContainerKind::Text, id.clone())).map(Tree::text).unwrap_or_default()
    }

    /// The marks of each character of a text.
    pub(crate) fn marks(&self, id: &ContainerId) -> Vec<CharMarks> {
        let tree = self.texts.get(&(ContainerKind::Text, id.clone()));
        let Some(tree) = tree else { return Vec::new() };
        let none = MarkModel::default();
        let all = tree.all();
        let past = |char| tree.typed_past(char, &all);
        self.marks.get(id).unwrap_or(&none).of(&tree.shown_ids(), &all, &past)
    }

    pub(crate) fn register(&self, id: &ContainerId) -> Option<Value> {
        let key = (0, (ContainerKind::Register, id.clone()), None, "".into());
        self.writes.get(&key)?.2.clone()
    }

    pub(crate) fn counter(&self, id: &ContainerId) -> i64 {
        self.counters.get(id).copied().unwrap_or_default()
    }

    /// The entries of a map, by key.
    pub(crate) fn map(&self, id: &ContainerId) -> Vec<(String, Value)> {
        self.values(1, (ContainerKind::Map, id.clone()), None)
    }

    /// The rows of a table that were ever inserted, oldest first, and whether they are there.
    pub(crate) fn rows(&self, id: &ContainerId) -> Vec<(RowId, bool)> {
        let is_alive = |row: RowId| {
            let key = (3, (ContainerKind::Table, id.clone()), Some(row), "".into());
            self.writes[&key].2 == Some(true.into())
        };
        let rows = self.rows.get(id).into_iter().flatten().map(|(_, row)| RowId(*row));
        rows.map(|row| (row, is_alive(row))).collect()
    }

    /// The fields of a row that hold a value, by name.
    pub(crate) fn fields(&self, table: &ContainerId, row: RowId) -> Vec<(String, Value)> {
        self.values(2, (ContainerKind::Table, table.clone()), Some(row))
    }

    fn values(&self, kind: u8, place: Place, row: Option<RowId>) -> Vec<(String, Value)> {
        let first = (kind, place, row, "".into());
        let is_there = |key: &Key| (key.0, &key.1, key.2) == (first.0, &first.1, first.2);
        let written = self.writes.range(first.clone()..).take_while(|(key, _)| is_there(key));
        written.filter_map(|(key, write)| Some((key.3.to_string(), write.2.clone()?))).collect()
    }
}
