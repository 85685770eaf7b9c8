//! What peers do in random histories.

use proptest::prelude::*;

use crate::text::tests::{MarkEdit, mark_edit, perform_mark};
use crate::tree;
use crate::{ContainerId, ContainerKind, Doc, RowId};

/// The kinds that nest. In a map each has an entry by its number modulo 3, which single values are
/// put into as well: no two kinds of list have one place, which patches could not tell apart.
const KINDS: [ContainerKind; 7] = [
    ContainerKind::Register,
    ContainerKind::Map,
    ContainerKind::Counter,
    ContainerKind::Text,
    ContainerKind::List,
    ContainerKind::MovableList,
    ContainerKind::Tree,
];

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Insert {
        pos: prop::sample::Index,
        content: String,
    },
    Delete {
        pos: prop::sample::Index,
        len: usize,
    },
    Set {
        key: u8,
        value: i64,
    },
    Unset {
        key: u8,
    },
    Register {
        value: i64,
    },
    Add {
        delta: i64,
    },
    NewRow {
        value: i64,
    },
    Cell {
        row: prop::sample::Index,
        field: u8,
        value: i64,
    },
    Vote {
        row: prop::sample::Index,
    },
    Remove {
        row: prop::sample::Index,
    },
    Restore {
        row: prop::sample::Index,
    },
    Several {
        pos: prop::sample::Index,
        value: i64,
    },
    Put {
        at: prop::sample::Index,
        count: u8,
        value: i64,
    },
    Take {
        at: prop::sample::Index,
        len: usize,
    },
    Move {
        from: prop::sample::Index,
        to: prop::sample::Index,
    },
    Replace {
        at: prop::sample::Index,
        value: i64,
    },
    /// Makes a container in an entry of a map or an element of a list.
    Nest {
        within: prop::sample::Index,
        kind: usize,
        at: prop::sample::Index,
    },
    /// Edits one that is nested.
    Inside {
        place: prop::sample::Index,
        at: [prop::sample::Index; 2],
        value: i64,
    },
    Tree(tree::Edit),
    Mark(MarkEdit),
    Undo,
    Redo,
    Pull {
        from: prop::sample::Index,
    },
    Reload,
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        8 => (index(), "[a-zé😀]{1,4}").prop_map(|(pos, content)| Step::Insert { pos, content }),
        4 => (index(), 1usize..5).prop_map(|(pos, len)| Step::Delete { pos, len }),
        2 => (0u8..3, any::<i64>()).prop_map(|(key, value)| Step::Set { key, value }),
        1 => (0u8..3).prop_map(|key| Step::Unset { key }),
        1 => any::<i64>().prop_map(|value| Step::Register { value }),
        1 => (-9i64..9).prop_map(|delta| Step::Add { delta }),
        2 => any::<i64>().prop_map(|value| Step::NewRow { value }),
        2 => (index(), 0u8..3, any::<i64>())
            .prop_map(|(row, field, value)| Step::Cell { row, field, value }),
        1 => index().prop_map(|row| Step::Vote { row }),
        1 => index().prop_map(|row| Step::Remove { row }),
        1 => index().prop_map(|row| Step::Restore { row }),
        1 => (index(), any::<i64>()).prop_map(|(pos, value)| Step::Several { pos, value }),
        3 => (index(), 1u8..4, 0..100i64)
            .prop_map(|(at, count, value)| Step::Put { at, count, value }),
        2 => (index(), 1usize..4).prop_map(|(at, len)| Step::Take { at, len }),
        3 => (index(), index()).prop_map(|(from, to)| Step::Move { from, to }),
        1 => (index(), any::<i64>()).prop_map(|(at, value)| Step::Replace { at, value }),
        3 => (index(), 0..KINDS.len(), index())
            .prop_map(|(within, kind, at)| Step::Nest { within, kind, at }),
        5 => (index(), [index(), index()], any::<i64>())
            .prop_map(|(place, at, value)| Step::Inside { place, at, value }),
        3 => tree::edit().prop_map(Step::Tree),
        5 => mark_edit().prop_map(Step::Mark),
        2 => Just(Step::Undo),
        1 => Just(Step::Redo),
        6 => index().prop_map(|from| Step::Pull { from }),
        1 => Just(Step::Reload),
    ]
}

/// Applies a step to one of the replicas; its wall clock moves by a step-dependent jitter.
pub(crate) fn run(docs: &mut [Doc], who: usize, step: &Step, wall_ms: u64) {
    let doc = &mut docs[who];
    match step {
        Step::Insert { pos, content } => {
            let pos = pos.index(doc.text("x").len() + 1);
            doc.transact(wall_ms, |tx| tx.text("x").insert(pos, content)).0.unwrap();
        }
        Step::Delete { pos, len } => {
            let pos = pos.index(doc.text("x").len() + 1);
            let len = (*len).min(doc.text("x").len() - pos);
            doc.transact(wall_ms, |tx| tx.text("x").delete(pos, len)).0.unwrap();
        }
        Step::Set { key, value } => {
            doc.transact(wall_ms, |tx| tx.map("m").set(&key.to_string(), *value));
        }
        Step::Unset { key } => {
            doc.transact(wall_ms, |tx| tx.map("m").remove(&key.to_string()));
        }
        Step::Register { value } => {
            doc.transact(wall_ms, |tx| tx.register("r").set(*value));
        }
        Step::Add { delta } => {
            doc.transact(wall_ms, |tx| tx.counter("c").add(*delta));
        }
        Step::NewRow { value } => {
            doc.transact(wall_ms, |tx| tx.table("t").insert([("0", *value)]));
        }
        Step::Cell { row, .. }
        | Step::Vote { row }
        | Step::Remove { row }
        | Step::Restore { row } => {
            run_row(doc, row, step, wall_ms);
        }
        Step::Several { pos, value } => {
            let pos = pos.index(doc.text("x").len() + 1);
            let edited = doc.transact(wall_ms, |tx| {
                tx.text("x").insert(pos, "<>")?;
                tx.map("m").set("0", *value);
                tx.text("x").insert(pos + 1, "in")
            });
            edited.0.unwrap();
        }
        Step::Put { .. } | Step::Take { .. } | Step::Move { .. } | Step::Replace { .. } => {
            run_list(doc, step, wall_ms);
        }
        Step::Nest { within, kind, at } => nest(doc, within, *kind, at, wall_ms),
        Step::Inside { place, at, value } => edit_inside(doc, place, *at, *value, wall_ms),
        Step::Tree(edit) => tree::perform(doc, "o", edit, wall_ms),
        Step::Mark(edit) => perform_mark(doc, "x", edit, wall_ms),
        Step::Undo => drop(doc.undo(wall_ms)),
        Step::Redo => drop(doc.redo(wall_ms)),
        Step::Pull { from } => pull(docs, who, from.index(docs.len())),
        Step::Reload => {
            let peer = doc.peer();
            *doc = Doc::from_snapshot(peer, &doc.encode_snapshot()).unwrap();
        }
    }
}

/// What is done to one of the rows that there ever were, if there was one.
fn run_row(doc: &mut Doc, row: &prop::sample::Index, step: &Step, wall_ms: u64) {
    let rows: Vec<RowId> = doc.table("t").known().collect();
    if rows.is_empty() {
        return;
    }
    let row = *row.get(&rows);
    let edit = |tx: &mut crate::Transaction<'_>| match step {
        Step::Cell { field, value, .. } => tx.table("t").set(row, &field.to_string(), *value),
        Step::Vote { .. } => tx.table("t").add(row, "votes", 1),
        Step::Remove { .. } => tx.table("t").remove(row),
        _ => tx.table("t").restore(row),
    };
    doc.transact(wall_ms, edit).0.unwrap();
}

/// Plain lists and movable ones: every step is taken in both, as far as each has it.
fn run_list(doc: &mut Doc, step: &Step, wall_ms: u64) {
    let len = doc.movable_list("l").len();
    let plain = doc.list("p").len();
    let edit = |tx: &mut crate::Transaction<'_>| match step {
        Step::Put { at, count, value } => {
            let values = (0..i64::from(*count)).map(|i| value + i);
            tx.movable_list("l").list.insert_all(at.index(len + 1), values.clone())?;
            tx.list("p").insert_all(at.index(plain + 1), values)
        }
        Step::Take { at, len: count } if len > 0 => {
            let from = at.index(len);
            tx.movable_list("l").remove_range(from, (*count).min(len - from))?;
            let from = at.index(plain + 1);
            tx.list("p").remove_range(from, (*count).min(plain - from))
        }
        Step::Move { from, to } if len > 0 => {
            tx.movable_list("l").move_to(from.index(len), to.index(len))
        }
        Step::Replace { at, value } if len > 0 => tx.movable_list("l").set(at.index(len), *value),
        _ => Ok(()),
    };
    doc.transact(wall_ms, edit).0.unwrap();
}

pub(crate) fn pull(docs: &mut [Doc], to: usize, from: usize) {
    let blocks = docs[from].blocks_since(docs[to].version());
    docs[to].import(u64::MAX >> 16, blocks).unwrap();
}

/// The containers at the top that others nest in, and all that is nested and can be reached.
fn places(doc: &Doc) -> Vec<(ContainerKind, ContainerId)> {
    let roots = [
        (ContainerKind::Map, "m"),
        (ContainerKind::List, "p"),
        (ContainerKind::MovableList, "l"),
        (ContainerKind::Tree, "o"),
    ];
    let mut all: Vec<_> = roots.map(|(kind, name)| (kind, ContainerId::root(name))).into();
    let mut at = 0;
    while let Some((kind, id)) = all.get(at).cloned() {
        let lists = [doc.list(&id), doc.movable_list(&id)];
        match kind {
            ContainerKind::Map => {
                let map = doc.map(&id);
                all.extend(map.keys().filter_map(|key| map.nested(key)));
            }
            ContainerKind::List => {
                all.extend((0..lists[0].len()).filter_map(|i| lists[0].nested(i)));
            }
            ContainerKind::MovableList => {
                all.extend((0..lists[1].len()).filter_map(|i| lists[1].nested(i)));
            }
            ContainerKind::Tree => {
                let nodes = doc.tree(&id).walk().map(|(_, node)| id.clone().element(node.0));
                all.extend(nodes.map(|fields| (ContainerKind::Map, fields)));
            }
            _ => {}
        }
        at += 1;
    }
    all
}

fn nest(
    doc: &mut Doc,
    within: &prop::sample::Index,
    kind: usize,
    at: &prop::sample::Index,
    wall_ms: u64,
) {
    let mut places = places(doc);
    let holds = |kind: &ContainerKind| *kind == ContainerKind::Map || kind.is_list();
    places.retain(|(kind, _)| holds(kind));
    let (within, id) = within.get(&places);
    let (lens, key) = ([doc.list(id).len(), doc.movable_list(id).len()], (kind % 3).to_string());
    let edit = |tx: &mut crate::Transaction<'_>| match within {
        ContainerKind::Map => Ok(tx.map(id).nest(&key, KINDS[kind])),
        ContainerKind::List => tx.list(id).nest(at.index(lens[0] + 1), KINDS[kind]),
        _ => tx.movable_list(id).nest(at.index(lens[1] + 1), KINDS[kind]),
    };
    let (nested, _) = doc.transact(wall_ms, edit);
    let nested = nested.unwrap();
    assert!(self::places(doc).contains(&(KINDS[kind], nested.clone())));
    assert_eq!(nested.parent(), Some(id));
}

/// Edits a nested container, if there is one, as its kind is edited.
fn edit_inside(
    doc: &mut Doc,
    place: &prop::sample::Index,
    at: [prop::sample::Index; 2],
    value: i64,
    wall_ms: u64,
) {
    let mut places = places(doc);
    places.retain(|(_, id)| id.parent().is_some());
    if places.is_empty() {
        return;
    }
    let (kind, id) = place.get(&places);
    let removes = value % 4 == 0;
    let (key, more) = (at[0].index(3).to_string(), at[1].index(3) + 1);
    let edited = match kind {
        ContainerKind::Text => {
            let len = doc.text(id).len();
            let pos = at[0].index(len + 1);
            let gone = if removes { more.min(len - pos) } else { 0 };
            let content = ["a", "bc", "é😀"][more - 1];
            let content = if removes { "" } else { content };
            doc.transact(wall_ms, |tx| tx.text(id).splice(pos, gone, content)).0.unwrap();
            return;
        }
        ContainerKind::Tree => {
            let [parent, to] = at;
            let edit = match value % 4 {
                0 => tree::Edit::Remove { node: parent },
                1 => tree::Edit::Move { node: to, parent, at: to },
                _ => tree::Edit::Create { parent, at: to },
            };
            return tree::perform(doc, id, &edit, wall_ms);
        }
        ContainerKind::List => {
            let len = doc.list(id).len();
            let from = at[0].index(len + 1);
            doc.transact(wall_ms, |tx| match removes {
                true => tx.list(id).remove_range(from, more.min(len - from)),
                false => tx.list(id).insert_all(from, vec![value; more]),
            })
        }
        ContainerKind::MovableList => {
            let len = doc.movable_list(id).len();
            let [from, to] = at.map(|at| at.index(len.max(1)));
            doc.transact(wall_ms, |tx| match value % 4 {
                _ if len == 0 => tx.movable_list(id).insert(0, value),
                0 => tx.movable_list(id).remove_range(from, more.min(len - from)),
                1 => tx.movable_list(id).move_to(from, to),
                2 => tx.movable_list(id).set(from, value),
                _ => tx.movable_list(id).insert(to, value),
            })
        }
        _ => doc.transact(wall_ms, |tx| {
            match kind {
                ContainerKind::Register => tx.register(id).set(value),
                ContainerKind::Counter => tx.counter(id).add(value),
                _ if removes => tx.map(id).remove(&key),
                _ => tx.map(id).set(&key, value),
            }
            Ok(())
        }),
    };
    edited.0.unwrap();
}
