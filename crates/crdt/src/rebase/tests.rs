//! Random histories whose last part is written again on a trimmed document.

use proptest::prelude::*;
use proptest::sample::Index;

use super::Order;
use crate::histories::{Step, run, step};
use crate::text::tests::marks_of;
use crate::{ContainerId, ContainerKind, Doc, PeerId, Value};

const LATE: u64 = u64::MAX >> 16;

/// What a document shows, but for the names of things.
pub(crate) fn shown(doc: &Doc) -> impl PartialEq + std::fmt::Debug + use<> {
    let table = doc.table("t");
    let mut rows: Vec<_> = table
        .rows()
        .map(|row| {
            let fields: Vec<(String, Value)> =
                table.fields(row).map(|(name, value)| (name.to_owned(), value)).collect();
            (fields, doc.counter(ContainerId::cell("t", row, "votes")))
        })
        .collect();
    rows.sort_by_key(|row| format!("{row:?}"));
    let entries: Vec<(String, Value)> =
        doc.map("m").iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let lists = [doc.list("p"), doc.movable_list("l")].map(|list| list.iter().collect::<Vec<_>>());
    let tree: Vec<usize> = doc.tree("o").walk().map(|(depth, _)| depth).collect();
    let cells = (doc.register("r"), entries, doc.counter("c"));
    let text = (doc.text("x").to_string(), marks_of(doc, "x"));
    (text, lists, rows, tree, cells, nested(doc))
}

/// What each nested container shows, if anything, without where it is.
fn nested(doc: &Doc) -> Vec<String> {
    let shown = |kind: ContainerKind, id: &ContainerId| match kind {
        ContainerKind::Register => doc.register(id).map(|value| format!("{value:?}")),
        ContainerKind::Counter => Some(doc.counter(id).to_string()),
        ContainerKind::Map => Some(format!("{:?}", doc.map(id).iter().collect::<Vec<_>>())),
        ContainerKind::Text => Some(format!("{} {:?}", doc.text(id), marks_of(doc, id))),
        ContainerKind::List => Some(format!("{:?}", doc.list(id))),
        ContainerKind::MovableList => Some(format!("{:?}", doc.movable_list(id))),
        _ => Some(format!("{:?}", doc.tree(id).walk().map(|(depth, _)| depth).collect::<Vec<_>>())),
    };
    let all = doc.containers.iter().map(|(_, container)| (container.kind, &container.id));
    let nested = all.filter(|(_, id)| id.parent().is_some());
    let mut nested: Vec<String> = nested.filter_map(|(kind, id)| shown(kind, id)).collect();
    nested.retain(|shown| !["0", "[]", " []"].contains(&&**shown));
    nested.sort();
    nested
}

/// The document as somebody else has it who has written a little more and forgotten the rest.
fn trimmed(doc: &Doc) -> Vec<u8> {
    let mut doc = doc.fork(PeerId(50));
    doc.transact(LATE, |tx| tx.register("other").set(1i64));
    doc.encode_shallow_snapshot(doc.version()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(300)
    ))]

    /// What one person did offline arrives exactly as it was done, if nobody else did anything to
    /// the same things.
    #[test]
    fn offline_work_arrives_whole(
        before in prop::collection::vec((any::<Index>(), step(), 0u64..9_000), 0..30),
        offline in prop::collection::vec(step(), 1..30),
    ) {
        let mut docs: Vec<Doc> = (1..4).map(|i| Doc::new(PeerId(i))).collect();
        for (who, step, wall_ms) in &before {
            run(&mut docs, who.index(3), step, *wall_ms);
        }
        for from in 1..3 {
            let blocks = docs[from].blocks_since(docs[0].version());
            docs[0].import(LATE, blocks).unwrap();
        }
        let mut doc = docs.swap_remove(0);
        let snapshot = trimmed(&doc);
        for step in offline.iter().filter(|step| !matches!(step, Step::Pull { .. })) {
            run(std::slice::from_mut(&mut doc), 0, step, LATE);
        }
        let rebased = doc.rebase(LATE, &snapshot, PeerId(60)).unwrap();
        prop_assert_eq!(shown(&rebased.doc), shown(&doc));
        for (old, new) in &rebased.renamed {
            prop_assert!(doc.version().contains(*old));
            prop_assert!(rebased.doc.version().contains(*new));
        }
        // Whoever has the snapshot gets there by the blocks.
        let mut other = Doc::from_shallow_snapshot(PeerId(70), &snapshot).unwrap();
        prop_assert_eq!(other.import(LATE, rebased.blocks).unwrap().pending, 0);
        prop_assert_eq!(shown(&other), shown(&rebased.doc));
        prop_assert_eq!(other.version(), rebased.doc.version());
    }

    /// Whatever several people did, on both sides, everything that is shown of what only the old
    /// replica had arrives, and no addition is lost.
    #[test]
    fn nothing_is_lost_among_concurrent_work(
        steps in prop::collection::vec((any::<Index>(), step(), 0u64..9_000), 1..60),
    ) {
        let mut docs: Vec<Doc> = (1..5).map(|i| Doc::new(PeerId(i))).collect();
        for (who, step, wall_ms) in &steps {
            // The last one is apart from the others after a while.
            run(&mut docs, who.index(4), step, *wall_ms);
        }
        let [old, rest @ ..] = &mut docs[..] else { unreachable!() };
        for other in &rest[..1] {
            old.import(LATE, other.blocks_since(old.version())).unwrap();
        }
        let mut server = rest[1].fork(PeerId(9));
        server.import(LATE, rest[2].blocks_since(server.version())).unwrap();
        let mut merged = server.fork(PeerId(9));
        merged.import(LATE, old.blocks_since(server.version())).unwrap();

        let snapshot = server.encode_shallow_snapshot(server.version()).unwrap();
        let rebased = old.rebase(LATE, &snapshot, PeerId(60)).unwrap();
        prop_assert_eq!(rebased.doc.counter("c"), merged.counter("c"));
        let count = |doc: &Doc| {
            let mut chars: Vec<char> = doc.text("x").to_string().chars().collect();
            chars.sort_unstable();
            chars
        };
        prop_assert_eq!(count(&rebased.doc), count(&merged));
        prop_assert_eq!(rebased.doc.table("t").known().count(), merged.table("t").known().count());
    }
}

#[test]
fn what_never_was_in_a_sequence_has_no_place_in_it() {
    let order = Order { items: vec![(5, 2), (1, 3)], sorted: vec![1, 0] };
    assert_eq!([5, 6, 3].map(|id| order.place_of(id)), [Some(0), Some(0), Some(1)]);
    assert_eq!([0, 4, 7].map(|id| order.place_of(id)), [None; 3]);
}
