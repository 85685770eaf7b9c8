//! Reading and using all of a document, as an application might.

use std::collections::BTreeMap;

use leptos_sync_crdt::{ContainerId, ContainerKind, Doc, PeerId, Side, Value, VersionVector};

/// A clock that no stamp is ahead of.
pub const LATE_MS: u64 = u64::MAX >> 16;

/// What a document shows, by container. Those that show nothing are left out: whether they were
/// ever asked for differs between replicas.
pub type Shown = BTreeMap<String, String>;

/// Reads a whole document.
#[must_use]
pub fn shown(doc: &Doc) -> Shown {
    let mut shown = Shown::new();
    let mut open: Vec<(ContainerKind, ContainerId)> =
        doc.roots().map(|(kind, name)| (kind, ContainerId::root(name))).collect();
    while let Some((kind, id)) = open.pop() {
        let text = match kind {
            ContainerKind::Register => doc.register(&id).map(|value| format!("{value:?}")),
            ContainerKind::Map => {
                let map = doc.map(&id);
                open.extend(map.keys().filter_map(|key| map.nested(key)));
                list(map.iter())
            }
            ContainerKind::Table => id_name(&id).and_then(|name| show_table(doc, name)),
            ContainerKind::List | ContainerKind::MovableList => {
                let list_of =
                    if kind == ContainerKind::List { doc.list(&id) } else { doc.movable_list(&id) };
                open.extend((0..list_of.len()).filter_map(|index| list_of.nested(index)));
                list((0..list_of.len()).map(|at| (list_of.element(at), list_of.get(at))))
            }
            ContainerKind::Tree => list(doc.tree(&id).walk()),
            _ => None,
        };
        if let Some(text) = text {
            shown.insert(format!("{kind:?} {id:?}"), text);
        }
    }
    let counters = doc.counters().filter(|(_, value)| *value != 0);
    shown.extend(counters.map(|(id, value)| (format!("Counter {id:?}"), value.to_string())));
    let texts = doc.texts().filter(|(_, text)| !text.is_empty());
    shown.extend(texts.map(|(id, text)| (format!("Text {id:?}"), format!("{:?}", text.spans()))));
    shown
}

fn id_name(id: &ContainerId) -> Option<&str> {
    match id {
        ContainerId::Root(name) => Some(name),
        _ => None,
    }
}

fn show_table(doc: &Doc, name: &str) -> Option<String> {
    let table = doc.table(name);
    list(table.rows().map(|row| {
        let fields: BTreeMap<&str, Value> = table.fields(row).collect();
        (row, table.created(row), fields)
    }))
}

fn list(items: impl Iterator<Item = impl std::fmt::Debug>) -> Option<String> {
    let items: Vec<String> = items.map(|item| format!("{item:?}")).collect();
    (!items.is_empty()).then(|| items.join(", "))
}

/// Edits what there is, in every way that a user would.
pub fn edit(doc: &mut Doc) {
    let roots: Vec<(ContainerKind, String)> =
        doc.roots().map(|(kind, name)| (kind, name.to_owned())).collect();
    for (kind, name) in roots.into_iter().take(8) {
        doc.transact(LATE_MS, |tx| {
            let doc = tx.doc();
            let rows: Vec<_> = doc.table(&name).rows().take(3).collect();
            let (text, nodes) = (doc.text(&name).len(), doc.tree(&name).roots());
            let (plain, movable) = (doc.list(&name).len(), doc.movable_list(&name).len());
            match kind {
                ContainerKind::Register => tx.register(&name).set(1),
                ContainerKind::Map => tx.map(&name).set("key", 1),
                ContainerKind::Counter => tx.counter(&name).add(1),
                ContainerKind::Text => {
                    let _ = tx.text(&name).splice(text / 2, text - text / 2, "new");
                    let _ = tx.text(&name).insert(0, "first");
                }
                ContainerKind::Table => {
                    for row in rows {
                        let _ = tx.table(&name).set(row, "field", 1);
                        let _ = tx.table(&name).remove(row);
                    }
                }
                ContainerKind::List => {
                    let _ = tx.list(&name).remove_range(plain / 2, plain - plain / 2);
                    tx.list(&name).push(1);
                }
                ContainerKind::MovableList => {
                    if movable > 1 {
                        let _ = tx.movable_list(&name).move_to(0, movable - 1);
                        let _ = tx.movable_list(&name).set(0, 1);
                    }
                    tx.movable_list(&name).push(1);
                }
                ContainerKind::Tree => {
                    let _ = tx.tree(&name).create(nodes.first().copied(), 0);
                    if let [first, .., last] = nodes[..] {
                        let _ = tx.tree(&name).move_to(first, Some(last), 0);
                        let _ = tx.tree(&name).remove(last);
                    }
                }
                _ => {}
            }
        });
    }
    while doc.undo(LATE_MS).is_some() {}
    doc.redo(LATE_MS);
}

/// Checks what holds of every document but one whose snapshot contradicts itself.
pub fn check(doc: &Doc) {
    for (_, text) in doc.texts() {
        let middle = text.cursor(text.len() / 2, Side::Before);
        assert_eq!(text.resolve(&middle), text.len() / 2);
    }
    for (kind, name) in doc.roots() {
        let (plain, movable) = (doc.list(name), doc.movable_list(name));
        let list = if kind == ContainerKind::List { plain } else { movable };
        for index in 0..list.len() {
            let element = list.element(index);
            assert_eq!(element.and_then(|id| list.index_of(id)), Some(index));
        }
        let tree = doc.tree(name);
        for (_, node) in tree.walk() {
            assert!(tree.contains(node) && tree.index_of(node).is_some());
        }
    }
    let start = doc.history_start();
    assert_eq!(doc.count_blocks_since(start), doc.blocks_since(start).len());
}

/// Does with a document whatever can be done with one, however it was made. What `others` has is
/// taken in too, if it can be.
pub fn use_all(mut doc: Doc, others: &Doc) {
    let _ = shown(&doc);
    for (_, text) in doc.texts() {
        let _ = text.resolve(&text.cursor(text.len() / 2, Side::Before));
        let _ = (text.authors(), text.len_utf16());
    }
    let start = doc.history_start().clone();
    let _ = (doc.frontier(), doc.try_blocks_since(&start), doc.try_encode_update(&start));
    for (peer, _) in doc.version().iter() {
        let _ = doc.chain_mark(peer);
    }
    let _ = doc.checkout(PeerId(80), &start);
    let _ = doc.diff(&start, doc.version());
    let _ = doc.import(LATE_MS, others.try_blocks_since(&VersionVector::new()).unwrap_or_default());
    doc.set_peer(PeerId(81));
    edit(&mut doc);
    let _ = shown(&doc.fork(PeerId(82)));
    let version = doc.version().clone();
    let _ = doc.trim_history(&version);
    let _ = shown(&doc);
}
