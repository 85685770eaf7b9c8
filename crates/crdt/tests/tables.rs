//! Tables and what a document lists.

use std::panic::{AssertUnwindSafe, catch_unwind};

use leptos_sync_crdt::{
    ChainMark, ContainerId, ContainerKind, Doc, DocId, DocIdError, INSERT_BYTES_MAX, LwwRegister,
    OpId, PeerId, RowId, Stamp, TextError, Transaction, VersionVector, is_update,
};

fn sync(a: &mut Doc, b: &mut Doc) {
    a.import(1 << 40, b.blocks_since(a.version())).unwrap();
    b.import(1 << 40, a.blocks_since(b.version())).unwrap();
}

#[test]
fn a_table_counts_the_rows_that_are_not_removed() {
    let mut doc = Doc::new(PeerId(1));
    assert!(doc.table("t").is_empty());
    doc.transact(0, |tx| tx.counter("c").add(1));
    let rows: Vec<RowId> =
        doc.transact(0, |tx| (0..5).map(|i| tx.table("t").insert([("n", i)])).collect()).0;
    doc.transact(0, |tx| tx.table("other").insert([("n", 9)]));
    assert_eq!((doc.table("t").len(), doc.table("t").is_empty()), (5, false));
    for (left, row) in (0..5).rev().zip(&rows) {
        doc.transact(0, |tx| tx.table("t").remove(*row)).0.unwrap();
        assert_eq!(doc.table("t").len(), left);
        assert_eq!(doc.table("t").is_empty(), left == 0);
    }
    doc.transact(0, |tx| tx.table("t").restore(rows[2])).0.unwrap();
    assert_eq!(doc.table("t").len(), 1);
    assert_eq!(doc.table("t").rows().collect::<Vec<_>>(), [rows[2]]);
}

#[test]
fn a_row_tells_its_fields_by_name_and_when_it_was_inserted() {
    let mut doc = Doc::new(PeerId(1));
    let fields = [("b", 1), ("c", 2), ("a", 3)];
    let row = doc.transact(7_000, |tx| tx.table("t").insert(fields)).0;
    doc.transact(9_000, |tx| tx.table("t").set(row, "b", 4)).0.unwrap();
    let told: Vec<_> = doc.table("t").fields(row).collect();
    assert_eq!(told, [("a", 3.into()), ("b", 4.into()), ("c", 2.into())]);
    assert_eq!(doc.table("t").created(row).map(Stamp::wall_ms), Some(7_000));
    assert!(doc.table("t").knows(row));
    doc.transact(9_000, |tx| tx.table("t").remove(row)).0.unwrap();
    assert!(doc.table("t").knows(row) && !doc.table("t").contains(row));
    assert!(!doc.table("t").knows(RowId(OpId::new(PeerId(1), 1))), "it is no insertion");
    let unknown = RowId(OpId::new(PeerId(2), 0));
    assert!(!doc.table("t").knows(unknown));
    assert_eq!(doc.table("t").created(unknown), None);
    assert_eq!(doc.table("t").fields(unknown).count(), 0);
}

#[test]
fn rows_inserted_at_once_lie_between_each_other_by_their_stamps() {
    let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
    let insert = |doc: &mut Doc, wall_ms, count| {
        doc.transact(wall_ms, |tx| {
            (0..count).for_each(|i| _ = tx.table("t").insert([("n", i)]));
        });
    };
    for doc in [&mut ada, &mut ben] {
        doc.transact(0, |tx| tx.counter("c").add(1));
    }
    insert(&mut ada, 5_000, 4);
    insert(&mut ben, 5_000, 3);
    sync(&mut ada, &mut ben);
    let third = RowId(OpId::new(PeerId(1), 3));
    ada.transact(9_000, |tx| tx.table("t").remove(third)).0.unwrap();
    sync(&mut ada, &mut ben);
    for doc in [&ada, &ben] {
        let table = doc.table("t");
        let rows: Vec<_> = table.rows().map(|row| (row.0.peer.0, row.0.seq)).collect();
        assert_eq!(rows, [(1, 1), (2, 1), (1, 2), (2, 2), (2, 3), (1, 4)]);
        assert_eq!(table.rows().rev().count(), 6);
    }
}

#[test]
fn a_document_lists_its_containers() {
    let mut doc = Doc::new(PeerId(1));
    doc.transact(0, |tx| {
        tx.register("same").set(1);
        tx.map("same").set("k", 2);
        tx.counter("same").add(3);
        tx.text("same").insert(0, "four").unwrap();
        let row = tx.table("same").insert([("n", 5)]);
        tx.table("same").add(row, "votes", 6).unwrap();
    });
    assert_eq!(doc.register("same"), Some(1.into()));
    assert_eq!(doc.map("same").get("k"), Some(2.into()));
    let kinds: Vec<_> = doc.roots().map(|(kind, name)| (kind, name.to_owned())).collect();
    let all = [
        ContainerKind::Register,
        ContainerKind::Map,
        ContainerKind::Table,
        ContainerKind::Counter,
        ContainerKind::Text,
    ];
    assert_eq!(kinds, all.map(|kind| (kind, "same".to_owned())));
    let row = doc.table("same").rows().next().expect("a row");
    let counters: Vec<_> = doc.counters().collect();
    let cell = ContainerId::cell("same", row, "votes");
    assert_eq!(counters, [(&ContainerId::root("same"), 3), (&cell, 6)]);
    let texts: Vec<_> = doc.texts().map(|(id, text)| (id.clone(), text.to_string())).collect();
    assert_eq!(texts, [(ContainerId::root("same"), "four".to_owned())]);
    assert!(!doc.text("same").is_empty() && doc.text("none").is_empty());
}

#[test]
fn nesting_what_is_nested_already_writes_nothing() {
    let mut doc = Doc::new(PeerId(1));
    let nest = |doc: &mut Doc, kind| doc.transact(0, |tx| tx.map("m").nest("k", kind));
    let (id, commit) = nest(&mut doc, ContainerKind::Text);
    assert!(commit.is_some());
    let (again, commit) = nest(&mut doc, ContainerKind::Text);
    assert_eq!((again, commit.is_some()), (id, false));
    assert!(nest(&mut doc, ContainerKind::List).1.is_some());
}

#[test]
fn a_table_or_an_unknown_kind_nests_nowhere() {
    let refused = "tables and unknown kinds do not nest in other containers";
    for kind in [ContainerKind::Table, ContainerKind::Unknown(16), ContainerKind::Unknown(3)] {
        let places: [fn(&mut Transaction<'_>, ContainerKind); 3] = [
            |tx, kind| drop(tx.map("m").nest("k", kind)),
            |tx, kind| drop(tx.list("l").nest(0, kind)),
            |tx, kind| drop(tx.movable_list("l").nest(0, kind)),
        ];
        for nest in places {
            let mut doc = Doc::new(PeerId(1));
            let edit = AssertUnwindSafe(|| doc.transact(0, |tx| nest(tx, kind)));
            let panic = catch_unwind(edit).expect_err("it does not nest");
            assert_eq!(panic.downcast_ref::<&str>(), Some(&refused));
            assert_eq!((doc.block_count(), doc.map("m").len(), doc.list("l").len()), (0, 0, 0));
        }
    }
}

#[test]
fn an_insertion_has_a_largest_size() {
    let mut doc = Doc::new(PeerId(1));
    let largest = "x".repeat(INSERT_BYTES_MAX);
    let larger = format!("{largest}x");
    doc.transact(0, |tx| {
        let mut text = tx.text("x");
        assert_eq!(text.insert(0, &larger), Err(TextError::TooLarge));
        assert_eq!(text.splice(0, 0, &larger), Err(TextError::TooLarge));
        assert_eq!(text.insert(0, &largest), Ok(()));
        assert_eq!(text.splice(0, INSERT_BYTES_MAX, &largest), Ok(()));
    });
    assert_eq!(doc.text("x").len(), INSERT_BYTES_MAX);
}

#[test]
fn blocks_of_several_operations_are_counted_and_made_one_by_one() {
    let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
    let mut versions = vec![VersionVector::new()];
    for i in 0..9 {
        let doc = if i % 4 == 3 { &mut ben } else { &mut ada };
        doc.transact(0, |tx| (0..=i / 3).for_each(|_| tx.counter("c").add(1)));
        sync(&mut ada, &mut ben);
        versions.push(ada.version().clone());
    }
    let all = ada.blocks_since(&versions[0]);
    for (have, version) in versions.iter().enumerate() {
        assert_eq!(ada.blocks_since(version), all[have..]);
        assert_eq!(ada.count_blocks_since(version), 9 - have);
    }
    let mut part = versions[5].clone();
    part.extend(PeerId(1), versions[6].get(PeerId(1)) - 1);
    assert_eq!(ada.count_blocks_since(&part), 9 - 5);
}

#[test]
fn blocks_that_wait_are_counted() {
    let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
    (0..4).for_each(|_| _ = ada.transact(0, |tx| tx.counter("c").add(1)));
    let blocks = ada.blocks_since(&VersionVector::new());
    ben.import(0, blocks[1..].iter().cloned()).unwrap();
    assert_eq!((ben.pending_count(), ben.counter("c")), (3, 0));
    ben.import(0, blocks[..1].iter().cloned()).unwrap();
    assert_eq!((ben.pending_count(), ben.counter("c")), (0, 4));
}

#[test]
fn a_map_tells_its_keys_in_order_with_their_values() {
    let mut doc = Doc::new(PeerId(1));
    doc.transact(0, |tx| [("b", 1), ("c", 2), ("a", 3)].map(|(key, n)| tx.map("m").set(key, n)));
    doc.transact(0, |tx| tx.map("m").remove("c"));
    let map = doc.map("m");
    assert_eq!(map.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(map.iter().collect::<Vec<_>>(), [("a", 3.into()), ("b", 1.into())]);
    assert_eq!(["a", "b", "c", "d"].map(|key| map.contains(key)), [true, true, false, false]);
    assert_eq!((map.len(), map.is_empty(), doc.map("none").is_empty()), (2, false, true));
}

#[test]
fn a_register_keeps_the_later_write_and_of_two_at_once_the_greater_peers() {
    let (stamp, peer) = (Stamp, PeerId);
    let mut register = LwwRegister::new("a", stamp(5), peer(2));
    assert!(!register.write("b", stamp(4), peer(9)));
    assert!(!register.write("b", stamp(5), peer(1)));
    assert!(!register.write("b", stamp(5), peer(2)), "the same write again");
    assert_eq!((*register.get(), register.stamp(), register.peer()), ("a", stamp(5), peer(2)));
    assert!(register.write("c", stamp(5), peer(3)));
    assert_eq!((*register.get(), register.stamp(), register.peer()), ("c", stamp(5), peer(3)));
    assert!(register.write("d", stamp(6), peer(0)));
    assert_eq!((*register.get(), register.stamp(), register.peer()), ("d", stamp(6), peer(0)));
}

#[test]
fn a_document_id_has_1_to_256_bytes_and_no_control_characters() {
    let id = DocId::new("board/42").unwrap();
    assert_eq!((id.as_str(), id.as_ref()), ("board/42", "board/42"));
    assert_eq!(DocId::new(""), Err(DocIdError::Empty));
    assert!(DocId::new("é".repeat(128)).is_ok());
    assert_eq!(DocId::new("x".repeat(257)), Err(DocIdError::TooLong));
    assert_eq!(DocId::new("a\n"), Err(DocIdError::ControlCharacter));
}

#[test]
fn a_change_is_stamped_by_the_wall_clock_where_that_leads_by_far() {
    let stamp = |doc: &mut Doc, wall_ms| {
        let commit = doc.transact(wall_ms, |tx| tx.counter("c").add(1)).1.expect("a change");
        doc.block(&commit).header().stamp
    };
    let mut doc = Doc::new(PeerId(1));
    assert_eq!(stamp(&mut doc, 2_000), Stamp(0));
    assert_eq!(stamp(&mut doc, 2_001), Stamp(2_001 << 16));
    assert_eq!(stamp(&mut doc, 4_001), Stamp((2_001 << 16) + 1));
    assert_eq!(stamp(&mut doc, 4_002), Stamp(4_002 << 16));
    assert_eq!(stamp(&mut doc, 0), Stamp((4_002 << 16) + 1));
    // However far it is ahead, there is room behind it, and others can read it.
    assert_eq!(stamp(&mut doc, u64::MAX).wall_ms(), 1 << 45);
    stamp(&mut doc, u64::MAX);
    let mut other = Doc::new(PeerId(2));
    other.import(u64::MAX, doc.blocks_since(&VersionVector::new())).unwrap();
    assert_eq!(other.counter("c"), 7);
}

#[test]
fn a_list_and_a_tree_say_whether_they_are_empty() {
    let mut doc = Doc::new(PeerId(1));
    assert!(doc.list("l").is_empty() && doc.tree("o").is_empty());
    doc.transact(0, |tx| tx.list("l").push(1));
    let node = doc.transact(0, |tx| tx.tree("o").create(None, 0)).0.unwrap();
    assert!(!doc.list("l").is_empty() && !doc.tree("o").is_empty());
    doc.transact(0, |tx| tx.tree("o").remove(node)).0.unwrap();
    assert!(doc.tree("o").is_empty());
}

#[test]
fn an_update_is_told_from_a_snapshot() {
    let mut doc = Doc::new(PeerId(1));
    doc.transact(0, |tx| tx.counter("c").add(1));
    assert!(is_update(&doc.encode_update(&VersionVector::new())));
    assert!(!is_update(&doc.encode_snapshot()) && !is_update(b""));
}

#[test]
fn a_chain_of_blocks_is_marked_where_there_is_one() {
    let mut doc = Doc::new(PeerId(1));
    assert_eq!(doc.chain_mark(PeerId(1)), None);
    let commit = doc.transact(0, |tx| tx.counter("c").add(1)).1.expect("a change");
    let hash = doc.block(&commit).chain_hash(0);
    assert_eq!(doc.chain_mark(PeerId(1)), Some(ChainMark { seq: 1, hash }));
    assert_eq!(doc.chain_hash_at(PeerId(1), 0), Some(0));
    assert_eq!(doc.chain_hash_at(PeerId(1), 2), None);
    assert_eq!(doc.chain_mark(PeerId(2)), None);
}

#[test]
fn elements_that_follow_one_another_take_no_room_of_their_own_in_a_snapshot() {
    let mut doc = Doc::new(PeerId(1));
    doc.transact(0, |tx| tx.list("l").extend((0..3_000).map(|_| 7)));
    assert!(doc.encode_snapshot().len() < 500, "{} bytes", doc.encode_snapshot().len());
}
