//! Histories of several replicas that choices drive: each edits, undoes, and takes in what others
//! have.

use leptos_sync_crdt::{
    Block, ContainerId, ContainerKind, Doc, Expand, PeerId, Value, VersionVector,
};

use crate::choices::Choices;
use crate::show::LATE_MS;

/// So many steps at most, so that an input takes a millisecond and not a second.
const STEPS_MAX: usize = 24;

const WORDS: [&str; 8] = ["a", "word", "é", "😀😀", "line\n", "some more text", "aaaa", ""];
const KEYS: [&str; 4] = ["a", "b", "title", "done"];
const EXPANDS: [Expand; 4] = [Expand::None, Expand::Before, Expand::After, Expand::Both];
const KINDS: [ContainerKind; 6] = [
    ContainerKind::Text,
    ContainerKind::Map,
    ContainerKind::List,
    ContainerKind::MovableList,
    ContainerKind::Counter,
    ContainerKind::Tree,
];

/// Replicas after a history. Their peer ids are not in the order of the replicas, so that ties are
/// broken both ways.
#[must_use]
pub fn replicas(choices: &mut Choices<'_>) -> Vec<Doc> {
    let count = 2 + choices.below(3);
    let mut docs: Vec<Doc> =
        (0..count).map(|i| Doc::new(PeerId((i as u64 * 7 + 3) % 11))).collect();
    for _ in 0..STEPS_MAX {
        if choices.is_empty() {
            break;
        }
        let who = choices.below(count);
        step(&mut docs, who, choices);
    }
    docs
}

/// A replica with all that the others have.
#[must_use]
pub fn merged(docs: &[Doc]) -> Doc {
    let mut whole = Doc::new(PeerId(90));
    for doc in docs {
        let blocks = doc.blocks_since(whole.version());
        whole.import(LATE_MS, blocks).expect("replicas take in what others wrote");
    }
    whole
}

/// All blocks of a replica.
#[must_use]
pub fn blocks(doc: &Doc) -> Vec<Block> {
    doc.blocks_since(&VersionVector::new())
}

fn step(docs: &mut [Doc], who: usize, choices: &mut Choices<'_>) {
    let wall_ms = choices.number() % 9_000;
    let from = choices.below(docs.len());
    match choices.below(16) {
        0..=2 => {
            let blocks = docs[from].blocks_since(docs[who].version());
            docs[who].import(LATE_MS, blocks).expect("replicas take in what others wrote");
        }
        3 => {
            let update = docs[from].encode_update(docs[who].version());
            docs[who].import_update(LATE_MS, &update).expect("and their updates");
        }
        4 => drop(docs[who].undo(wall_ms)),
        5 => drop(docs[who].redo(wall_ms)),
        6 => {
            let snapshot = docs[who].encode_snapshot();
            docs[who] = Doc::from_snapshot(docs[who].peer(), &snapshot).expect("its own snapshot");
        }
        _ => {
            let mut edits = Vec::new();
            for _ in 0..=choices.below(3) {
                edits.push(choices.below(16));
            }
            for edit in &edits {
                write(&mut docs[who], wall_ms, *edit, choices);
            }
        }
    }
}

/// A container of this kind: the one at the top, or one that lies in an entry or an element.
fn place(doc: &Doc, kind: ContainerKind, choices: &mut Choices<'_>) -> ContainerId {
    let root = ContainerId::root(["x", "y"][choices.below(2)]);
    let nested = match choices.below(4) {
        0 => doc.map("x").nested(KEYS[choices.below(4)]),
        1 => doc.list("x").nested(choices.below(doc.list("x").len())),
        2 => doc.movable_list("x").nested(choices.below(doc.movable_list("x").len())),
        _ => None,
    };
    nested.filter(|(found, _)| *found == kind).map_or(root, |(_, id)| id)
}

fn value(choices: &mut Choices<'_>) -> Value {
    match choices.below(8) {
        0 => Value::Null,
        1 => true.into(),
        2 => choices.number().cast_signed().into(),
        3 => (choices.number() as f64 / 3.0).into(),
        4 => Value::Bytes(choices.some(40).to_vec()),
        5 => Value::List(vec![1.into(), WORDS[choices.below(8)].into()]),
        6 => Value::Map([("k".to_owned(), choices.number().cast_signed().into())].into()),
        _ => WORDS[choices.below(8)].into(),
    }
}

fn write(doc: &mut Doc, wall_ms: u64, edit: usize, choices: &mut Choices<'_>) {
    const SOUND: &str = "the edit is in range";
    match edit {
        0..=2 => {
            let id = place(doc, ContainerKind::Text, choices);
            let len = doc.text(&id).len();
            let pos = choices.below(len + 1);
            let deleted = if edit == 2 { choices.below(9).min(len - pos) } else { 0 };
            let word = WORDS[choices.below(8)];
            doc.transact(wall_ms, |tx| tx.text(&id).splice(pos, deleted, word)).0.expect(SOUND);
        }
        3 => {
            let (key, value) = (KEYS[choices.below(4)], value(choices));
            let id = place(doc, ContainerKind::Map, choices);
            let kind = choices.pick(&KINDS).copied().filter(|_| choices.clone().byte() & 1 == 0);
            doc.transact(wall_ms, |tx| match (kind, value) {
                (Some(kind), _) => drop(tx.map(&id).nest(key, kind)),
                (_, Value::Null) => tx.map(&id).remove(key),
                (_, value) => tx.map(&id).set(key, value),
            });
        }
        4 => {
            let value = value(choices);
            doc.transact(wall_ms, |tx| tx.register("x").set(value));
        }
        5 => {
            let id = place(doc, ContainerKind::Counter, choices);
            let delta = choices.number().cast_signed();
            doc.transact(wall_ms, |tx| tx.counter(&id).add(delta));
        }
        6 | 7 => write_list(doc, wall_ms, choices),
        8 | 9 => write_movable(doc, wall_ms, choices),
        10 | 11 => write_tree(doc, wall_ms, choices),
        12 | 13 => write_table(doc, wall_ms, choices),
        _ => write_mark(doc, wall_ms, choices),
    }
}

fn write_list(doc: &mut Doc, wall_ms: u64, choices: &mut Choices<'_>) {
    let id = place(doc, ContainerKind::List, choices);
    let len = doc.list(&id).len();
    let (at, value) = (choices.below(len + 1), value(choices));
    let (what, count) = (choices.below(4), choices.below(4));
    let edited = doc.transact(wall_ms, |tx| match what {
        0 => tx.list(&id).remove_range(at, count.min(len - at)),
        1 => tx.list(&id).nest(at, KINDS[count]).map(drop),
        _ => tx.list(&id).insert_all(at, vec![value; count]),
    });
    edited.0.expect("the edit is in range");
}

fn write_movable(doc: &mut Doc, wall_ms: u64, choices: &mut Choices<'_>) {
    let id = place(doc, ContainerKind::MovableList, choices);
    let len = doc.movable_list(&id).len();
    let (at, to, value) = (choices.below(len), choices.below(len), value(choices));
    let what = choices.below(6);
    let edited = doc.transact(wall_ms, |tx| match what {
        0 if len > 0 => tx.movable_list(&id).remove(at),
        1 | 2 if len > 0 => tx.movable_list(&id).move_to(at, to),
        3 if len > 0 => tx.movable_list(&id).set(at, value),
        4 => tx.movable_list(&id).nest(at, KINDS[to % 6]).map(drop),
        _ => tx.movable_list(&id).insert(at, value),
    });
    edited.0.expect("the edit is in range");
}

fn write_tree(doc: &mut Doc, wall_ms: u64, choices: &mut Choices<'_>) {
    let id = place(doc, ContainerKind::Tree, choices);
    let nodes: Vec<_> = doc.tree(&id).walk().map(|(_, node)| node).collect();
    let (node, parent) = (choices.pick(&nodes).copied(), choices.pick(&nodes).copied());
    let index = choices.below(doc.tree(&id).children(parent).len() + 1);
    let what = choices.below(5);
    doc.transact(wall_ms, |tx| match (what, node) {
        (0, Some(node)) => drop(tx.tree(&id).remove(node)),
        // A move below itself is refused.
        (1 | 2, Some(node)) => drop(tx.tree(&id).move_to(node, parent, index)),
        _ => drop(tx.tree(&id).create(parent, index).expect("the index is in range")),
    });
}

fn write_table(doc: &mut Doc, wall_ms: u64, choices: &mut Choices<'_>) {
    let rows: Vec<_> = doc.table("x").rows().collect();
    let (row, key, value) = (choices.pick(&rows).copied(), KEYS[choices.below(4)], value(choices));
    let what = choices.below(6);
    let edited = doc.transact(wall_ms, |tx| match (what, row) {
        (0, Some(row)) => tx.table("x").remove(row),
        (1, Some(row)) => tx.table("x").remove(row).and_then(|()| tx.table("x").restore(row)),
        (2, Some(row)) => tx.table("x").add(row, "votes", 1),
        (3, Some(row)) => {
            let text = ContainerId::cell("x", row, key);
            tx.text(&text).insert(0, "cell").expect("the start is in range");
            Ok(())
        }
        (4, Some(row)) => tx.table("x").set(row, key, value),
        _ => {
            tx.table("x").insert([(key, value)]);
            Ok(())
        }
    });
    edited.0.expect("the row is known");
}

fn write_mark(doc: &mut Doc, wall_ms: u64, choices: &mut Choices<'_>) {
    let id = place(doc, ContainerKind::Text, choices);
    let len = doc.text(&id).len();
    let start = choices.below(len + 1);
    let range = start..start + choices.below(len - start + 1);
    let expand = EXPANDS[choices.below(4)];
    let (key, value, what) = (KEYS[choices.below(4)], value(choices), choices.below(4));
    // One of nothing is refused.
    doc.transact(wall_ms, |tx| match what {
        0 => drop(tx.text(&id).unmark(range, key)),
        _ => drop(tx.text(&id).mark(range, key, value, expand)),
    });
}
