//! Earlier versions, by name.

use leptos_sync_crdt::{
    Cell, ContainerId, ContainerKind, Doc, ListDelta, OpId, PastError, Patch, PeerId, RowChange,
    TextDelta, TreeChange, VersionVector,
};

fn written() -> (Doc, VersionVector) {
    let mut doc = Doc::new(PeerId(1));
    doc.transact(0, |tx| tx.text("note").insert(0, "hello world")).0.unwrap();
    let first = doc.version().clone();
    doc.transact(0, |tx| tx.text("note").splice(6, 5, "there")).0.unwrap();
    (doc, first)
}

#[test]
fn a_difference_goes_forwards_and_backwards() {
    let (doc, first) = written();
    let change = |deleted: &str, inserted: &str| Patch::Text {
        id: ContainerId::root("note"),
        delta: vec![
            TextDelta::Retain(6),
            TextDelta::Delete(deleted.len() as u32),
            TextDelta::Insert(inserted.into()),
        ],
    };
    let sorted = |mut patches: Vec<Patch>| {
        // What is deleted and what is inserted at one place stand in the order of the log.
        if let [Patch::Text { delta, .. }] = &mut patches[..] {
            delta.sort_by_key(|step| match step {
                TextDelta::Retain(_) => 0,
                TextDelta::Delete(_) => 1,
                TextDelta::Insert(_) => 2,
            });
        }
        patches
    };
    assert_eq!(sorted(doc.diff(&first, doc.version()).unwrap()), [change("world", "there")]);
    assert_eq!(sorted(doc.diff(doc.version(), &first).unwrap()), [change("there", "world")]);
    assert_eq!(doc.diff(&first, &first).unwrap(), []);
}

#[test]
fn a_difference_of_rows_names_rows_and_fields() {
    let mut doc = Doc::new(PeerId(1));
    let (row, _) = doc.transact(0, |tx| tx.table("t").insert([("a", 1i64), ("b", 2i64)]));
    let first = doc.version().clone();
    doc.transact(0, |tx| tx.table("t").set(row, "b", 3i64)).0.unwrap();
    let second = doc.version().clone();
    doc.transact(0, |tx| tx.table("t").remove(row)).0.unwrap();
    let patch = |change| Patch::Row { table: "t".into(), row, change };
    let diff = |from, to| doc.diff(from, to).unwrap();
    let nothing = VersionVector::new();
    assert_eq!(diff(&nothing, &first), [patch(RowChange::Inserted)]);
    assert_eq!(diff(&first, &second), [patch(RowChange::Field("b".into()))]);
    assert_eq!(diff(&second, doc.version()), [patch(RowChange::Removed)]);
    assert_eq!(diff(doc.version(), &second), [patch(RowChange::Restored)]);
}

#[test]
fn an_earlier_version_goes_on_as_a_branch_and_merges_back() {
    let (mut doc, first) = written();
    let mut branch = doc.checkout(PeerId(2), &first).unwrap();
    branch.transact(0, |tx| tx.text("note").insert(0, "> ")).0.unwrap();
    doc.import(0, branch.blocks_since(doc.version())).unwrap();
    assert_eq!(doc.text("note").to_string(), "> hello there");
    let fork = doc.fork(PeerId(3));
    assert_eq!((fork.version(), fork.peer()), (doc.version(), PeerId(3)));
}

#[test]
fn what_was_never_a_version_is_refused_by_name() {
    let (mut doc, _) = written();
    let one = PeerId(1);
    let version = |counts: &[(u64, u32)]| {
        let mut version = VersionVector::new();
        counts.iter().for_each(|(peer, count)| version.extend(PeerId(*peer), *count));
        version
    };
    let checkout =
        |doc: &Doc, counts: &[(u64, u32)]| doc.checkout(PeerId(9), &version(counts)).map(drop);
    let unknown = |peer, seq| Err(PastError::Unknown(OpId::new(PeerId(peer), seq)));
    assert_eq!(checkout(&doc, &[(1, 99)]), unknown(1, 98));
    assert_eq!(checkout(&doc, &[(7, 1)]), unknown(7, 0));
    assert_eq!(checkout(&doc, &[(1, 3)]), Err(PastError::Torn(OpId::new(one, 2))));
    let mut other = doc.fork(PeerId(2));
    other.transact(0, |tx| tx.counter("c").add(1));
    doc.import(0, other.blocks_since(doc.version())).unwrap();
    assert_eq!(checkout(&doc, &[(2, 1)]), Err(PastError::Incomplete(OpId::new(PeerId(2), 0))));
    assert_eq!(doc.version_at(&[OpId::new(one, 99)]).map(drop), unknown(1, 99));
}

#[test]
fn a_difference_of_lists_names_the_elements_that_hold_something_else() {
    let mut doc = Doc::new(PeerId(1));
    doc.transact(0, |tx| tx.movable_list("l").extend(["a", "b", "c", "d", "e", "f"]));
    let first = doc.version().clone();
    doc.transact(0, |tx| {
        tx.movable_list("l").set(1, "B").unwrap();
        tx.movable_list("l").set(4, "E").unwrap();
        tx.movable_list("l").remove(3).unwrap();
        tx.movable_list("l").insert(1, "new").unwrap();
    });
    let id = || ContainerId::root("l");
    let delta = vec![
        ListDelta::Retain(1),
        ListDelta::Insert(vec!["new".into()]),
        ListDelta::Retain(2),
        ListDelta::Delete(1),
    ];
    let element = |index| Patch::ListElement { id: id(), index };
    let all =
        [Patch::List { id: id(), kind: ContainerKind::MovableList, delta }, element(2), element(4)];
    assert_eq!(doc.diff(&first, doc.version()).unwrap(), all);
}

#[test]
fn a_trimmed_document_knows_no_version_from_before_its_base() {
    let mut doc = Doc::new(PeerId(1));
    doc.transact(0, |tx| (0..3).for_each(|_| tx.counter("c").add(1)));
    let base = doc.version().clone();
    doc.transact(0, |tx| (0..3).for_each(|_| tx.counter("c").add(1)));
    doc.trim_history(&base).unwrap();
    let op = |seq| OpId::new(PeerId(1), seq);
    let version = |count| [(PeerId(1), count)].into_iter().collect::<VersionVector>();
    assert_eq!(doc.version_at(&[op(0)]), Err(PastError::Truncated));
    assert_eq!(doc.version_at(&[op(2)]), Ok(version(3)));
    assert_eq!(doc.version_at(&[op(5)]), Ok(version(6)));
    assert_eq!(doc.version_at(&[]), Ok(VersionVector::new()));
    let checkout = |count| doc.checkout(PeerId(9), &version(count)).map(|doc| doc.counter("c"));
    assert_eq!(checkout(3), Ok(3));
    assert_eq!(checkout(6), Ok(6));
    assert_eq!(checkout(4), Err(PastError::Torn(op(3))));
    assert_eq!(checkout(5), Err(PastError::Torn(op(4))));
    assert_eq!(checkout(2), Err(PastError::Truncated));
}

#[test]
fn a_difference_of_trees_names_what_was_moved_or_removed_and_nothing_else() {
    let mut doc = Doc::new(PeerId(1));
    let nodes = doc.transact(0, |tx| {
        let mut tree = tx.tree("t");
        (0..5).map(|index| tree.create(None, index).unwrap()).collect::<Vec<_>>()
    });
    let (nodes, start) = (nodes.0, doc.version().clone());
    doc.transact(0, |tx| tx.tree("t").remove(nodes[0])).0.unwrap();
    let removed = doc.version().clone();
    doc.transact(0, |tx| tx.tree("t").move_to(nodes[4], None, 0)).0.unwrap();
    let moved = doc.version().clone();
    let told = |from, to| match &doc.diff(from, to).unwrap()[..] {
        [Patch::Tree { changes, .. }] => changes.clone(),
        patches => panic!("{patches:?}"),
    };
    let placed = |at: usize, index| TreeChange::Placed { node: nodes[at], parent: None, index };
    assert_eq!(told(&start, &removed), [TreeChange::Removed { node: nodes[0] }]);
    assert_eq!(told(&removed, &moved), [placed(4, 0)]);
    assert_eq!(told(&moved, &removed), [placed(4, 3)]);
    assert_eq!(told(&removed, &start), [placed(0, 0)]);
    // What is removed is there until the end.
    assert_eq!(told(&start, &moved), [placed(4, 0), TreeChange::Removed { node: nodes[0] }]);
}

#[test]
fn each_cell_tells_who_wrote_it_and_when() {
    let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
    let row = ada.transact(60_000, |tx| {
        tx.register("r").set(1);
        tx.map("m").set("key", 1);
        tx.map("m").set("gone", 1);
        tx.list("l").extend([1, 2]);
        tx.movable_list("ml").extend([1, 2]);
        tx.table("t").insert([("a", 1i64), ("b", 2i64)])
    });
    let row = row.0;
    ben.import(0, ada.blocks_since(ben.version())).unwrap();
    ben.transact(120_000, |tx| {
        tx.map("m").set("key", 2);
        tx.map("m").remove("gone");
        tx.list("l").insert(0, 0).unwrap();
        tx.movable_list("ml").move_to(0, 1).unwrap();
        tx.movable_list("ml").set(0, 3).unwrap();
        tx.table("t").set(row, "b", 3i64).unwrap();
    });
    let copy = Doc::from_snapshot(PeerId(3), &ben.encode_snapshot()).unwrap();
    for doc in [&ben, &copy] {
        let by = |cell| {
            let written = doc.written_by(&cell).unwrap();
            written.map(|by| (by.id.peer.0, by.stamp.wall_ms()))
        };
        assert_eq!(by(Cell::Register("r".into())), Some((1, 60_000)));
        assert_eq!(by(Cell::Register("other".into())), None);
        assert_eq!(by(Cell::MapEntry("m".into(), "key")), Some((2, 120_000)));
        assert_eq!(by(Cell::MapEntry("m".into(), "gone")), None);
        assert_eq!(by(Cell::MapEntry("m".into(), "other")), None);
        assert_eq!(by(Cell::Field("t", row, "a")), Some((1, 60_000)));
        assert_eq!(by(Cell::Field("t", row, "b")), Some((2, 120_000)));
        assert_eq!(by(Cell::Field("t", row, "c")), None);
        let list = [0, 1, 3].map(|at| by(Cell::ListElement("l".into(), at)));
        assert_eq!(list, [Some((2, 120_000)), Some((1, 60_000)), None]);
        let list = [0, 1, 2].map(|at| by(Cell::MovableListElement("ml".into(), at)));
        assert_eq!(list, [Some((2, 120_000)), Some((1, 60_000)), None], "moving is not writing");
    }
    let trimmed = ben.encode_shallow_snapshot(ben.version()).unwrap();
    let mut trimmed = Doc::from_shallow_snapshot(PeerId(4), &trimmed).unwrap();
    let b = Cell::Field("t", row, "b");
    assert_eq!(trimmed.written_by(&b), Err(PastError::Truncated));
    assert_eq!(trimmed.written_by(&Cell::Field("t", row, "c")), Ok(None));
    trimmed.transact(180_000, |tx| tx.table("t").set(row, "b", 4i64)).0.unwrap();
    assert_eq!(trimmed.written_by(&b).unwrap().map(|by| by.id.peer), Some(PeerId(4)));
}
