//! Trimmed histories and late homecomers, by name.

use leptos_sync_crdt::{
    ContainerId, ContainerKind, DecodeError, Doc, ImportError, PastError, PeerId, ReauthorError,
    RebaseError, RowId, Side, Value, VersionVector,
};

/// Two replicas that have the same, of every kind.
fn pair() -> (Doc, Doc) {
    let mut ada = Doc::new(PeerId(1));
    ada.transact(0, |tx| tx.text("note").insert(0, "hello brave world")).0.unwrap();
    ada.transact(0, |tx| tx.text("note").delete(5, 6)).0.unwrap();
    ada.transact(0, |tx| tx.table("tasks").insert([("title", "milk"), ("shop", "corner")]));
    ada.transact(0, |tx| tx.list("steps").extend(["mix", "knead", "bake"]));
    ada.transact(0, |tx| tx.movable_list("todo").extend(["a", "b", "c"]));
    ada.transact(0, |tx| tx.movable_list("todo").move_to(0, 2)).0.unwrap();
    ada.transact(0, |tx| tx.counter("votes").add(3));
    ada.transact(0, |tx| tx.map("card").set("colour", "red"));
    ada.transact(0, |tx| tx.map("card").set("colour", "blue"));
    ada.transact(0, |tx| tx.tree("outline").create(None, 0)).0.unwrap();
    let ben = ada.fork(PeerId(2));
    (ada, ben)
}

fn trimmed(doc: &Doc, peer: PeerId) -> Doc {
    let bytes = doc.encode_shallow_snapshot(doc.version()).unwrap();
    Doc::from_shallow_snapshot(peer, &bytes).unwrap()
}

fn row(doc: &Doc) -> RowId {
    doc.table("tasks").rows().next().unwrap()
}

fn list(doc: &Doc, name: &str) -> Vec<String> {
    let list = if name == "todo" { doc.movable_list(name) } else { doc.list(name) };
    let text = |value| match value {
        Value::String(text) => text,
        other => format!("{other:?}"),
    };
    list.iter().map(text).collect()
}

#[test]
fn a_trimmed_document_shows_the_same_and_goes_on() {
    let (mut ada, _) = pair();
    let mut copy = trimmed(&ada, PeerId(3));
    assert_eq!(copy.version(), ada.version());
    assert_eq!(copy.history_start(), ada.version());
    assert_eq!(copy.text("note").to_string(), "hello world");
    assert_eq!(copy.text("note").authors(), ada.text("note").authors());
    assert_eq!(list(&copy, "todo"), ["b", "c", "a"]);
    assert_eq!(copy.counter("votes"), 3);
    assert_eq!(copy.map("card").get("colour"), Some("blue".into()));
    assert_eq!(copy.table("tasks").get(row(&ada), "title"), Some("milk".into()));
    assert_eq!(copy.tree("outline").roots(), ada.tree("outline").roots());

    copy.transact(0, |tx| tx.text("note").insert(5, ", dear")).0.unwrap();
    ada.transact(0, |tx| tx.text("note").insert(5, " small")).0.unwrap();
    ada.transact(0, |tx| tx.movable_list("todo").move_to(2, 0)).0.unwrap();
    copy.import(0, ada.blocks_since(copy.version())).unwrap();
    ada.import_update(0, &copy.encode_update(ada.version())).unwrap();
    assert_eq!(copy.text("note").to_string(), "hello small, dear world");
    assert_eq!(ada.text("note").to_string(), copy.text("note").to_string());
    assert_eq!(list(&copy, "todo"), ["a", "b", "c"]);
}

#[test]
fn a_shallow_snapshot_is_read_by_those_who_ask_for_it() {
    let (ada, _) = pair();
    let shallow = ada.encode_shallow_snapshot(ada.version()).unwrap();
    assert_eq!(Doc::from_snapshot(PeerId(3), &shallow).err(), Some(DecodeError::Shallow));
    let copy = Doc::from_shallow_snapshot(PeerId(3), &ada.encode_snapshot()).unwrap();
    assert!(copy.history_start().is_empty());
    // A trimmed document stays trimmed.
    let again = trimmed(&ada, PeerId(3)).encode_snapshot();
    assert_eq!(again, shallow);
}

#[test]
fn what_is_gone_is_refused_by_name() {
    let (ada, _) = pair();
    let start = VersionVector::new();
    let copy = trimmed(&ada, PeerId(3));
    assert_eq!(copy.checkout(PeerId(4), &start).err(), Some(PastError::Truncated));
    assert_eq!(copy.diff(&start, copy.version()), Err(PastError::Truncated));
    assert_eq!(copy.try_blocks_since(&start), Err(PastError::Truncated));
    assert_eq!(copy.try_encode_update(&start), Err(PastError::Truncated));
    assert_eq!(copy.encode_shallow_snapshot(&start), Err(PastError::Truncated));
    assert_eq!(copy.try_blocks_since(copy.version()), Ok(Vec::new()));
    assert_eq!(copy.checkout(PeerId(4), copy.version()).unwrap().counter("votes"), 3);
}

#[test]
#[should_panic(expected = "trimmed")]
fn a_part_is_never_taken_for_the_whole() {
    let (ada, _) = pair();
    let _ = trimmed(&ada, PeerId(3)).blocks_since(&VersionVector::new());
}

#[test]
fn known_blocks_are_skipped_and_old_work_is_told_that_it_is() {
    let (mut ada, mut ben) = pair();
    let known = ada.blocks_since(&VersionVector::new());
    ben.transact(0, |tx| tx.counter("votes").add(1));
    ada.transact(0, |tx| tx.counter("votes").add(1));
    let mut copy = trimmed(&ada, PeerId(3));
    assert!(copy.import(0, known).unwrap().applied.is_empty());
    let late = ben.blocks_since(ada.version());
    let truncated = ImportError::Truncated { peer: PeerId(2), seq: 0 };
    assert_eq!(copy.import(0, late).err(), Some(truncated.clone()));
    let update = ben.encode_update(ada.version());
    assert_eq!(copy.import_update(0, &update).err(), Some(truncated));
    // One that never saw anything has not seen the base either.
    let mut eve = Doc::new(PeerId(4));
    eve.transact(0, |tx| tx.counter("votes").add(1));
    let result = copy.import(0, eve.blocks_since(&VersionVector::new()));
    assert_eq!(result.err(), Some(ImportError::Truncated { peer: PeerId(4), seq: 0 }));
    assert_eq!(copy.counter("votes"), 4);
}

#[test]
fn trimming_waits_for_what_is_concurrent() {
    let (mut ada, mut ben) = pair();
    let base = ada.version().clone();
    ada.transact(0, |tx| tx.counter("votes").add(1));
    ben.transact(0, |tx| tx.counter("votes").add(1));
    ada.import(0, ben.blocks_since(ada.version())).unwrap();
    let all = ada.version().clone();
    assert_eq!(ada.trim_history(&all).unwrap(), base);
    ada.transact(0, |tx| tx.counter("votes").add(1));
    let all = ada.version().clone();
    assert_eq!(ada.trim_history(&all).unwrap(), all);
    assert_eq!(ada.counter("votes"), 6);
}

#[test]
fn text_that_was_deleted_takes_no_room() {
    let mut doc = Doc::new(PeerId(1));
    doc.transact(0, |tx| tx.text("note").insert(0, "kept")).0.unwrap();
    for i in 0..1_000 {
        let typed = format!("draft number {i} of something");
        doc.transact(0, |tx| tx.text("note").insert(2, &typed)).0.unwrap();
        doc.transact(0, |tx| tx.text("note").delete(2, typed.len())).0.unwrap();
    }
    let (whole, shallow) = (doc.encode_snapshot(), trimmed(&doc, PeerId(2)).encode_snapshot());
    assert!(whole.len() > 25_000 && shallow.len() < 120, "{} {}", whole.len(), shallow.len());
}

#[test]
fn what_was_replaced_in_a_list_is_gone() {
    let mut doc = Doc::new(PeerId(1));
    doc.transact(0, |tx| tx.movable_list("l").push("overruled"));
    doc.transact(0, |tx| tx.movable_list("l").set(0, "kept")).0.unwrap();
    let has = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
    let (whole, shallow) = (doc.encode_snapshot(), trimmed(&doc, PeerId(2)).encode_snapshot());
    assert!(has(&whole, "overruled") && has(&shallow, "kept"));
    assert!(!has(&shallow, "overruled"));
}

#[test]
fn chain_marks_survive() {
    let (mut ada, mut ben) = pair();
    ben.transact(0, |tx| tx.counter("votes").add(1));
    ada.import(0, ben.blocks_since(ada.version())).unwrap();
    let mut copy = trimmed(&ada, PeerId(3));
    let base = ada.version().clone();
    ada.transact(0, |tx| tx.counter("votes").add(1));
    copy.import(0, ada.blocks_since(copy.version())).unwrap();
    for (peer, seq) in base.iter() {
        assert_eq!(copy.chain_mark(peer), ada.chain_mark(peer));
        assert_eq!(copy.chain_hash_at(peer, seq), ada.chain_hash_at(peer, seq));
        assert_eq!(copy.chain_hash_at(peer, 0), Some(0));
    }
    assert_eq!(copy.chain_hash_at(PeerId(1), 17), None, "it ends there, but before the base");
}

#[test]
fn cursors_survive() {
    let (ada, _) = pair();
    let cursor = ada.text("note").cursor(7, Side::Before);
    // Made when "brave" was still there.
    let draft: VersionVector = [(PeerId(1), 17)].into_iter().collect();
    let gone = ada.checkout(PeerId(9), &draft).unwrap().text("note").cursor(9, Side::Before);
    assert_eq!(ada.text("note").resolve(&gone), 5);
    let mut copy = trimmed(&ada, PeerId(3));
    copy.transact(0, |tx| tx.text("note").insert(0, "oh, ")).0.unwrap();
    assert_eq!(copy.text("note").resolve(&cursor), 11);
    assert_eq!(copy.text("note").resolve(&gone), 9, "what was typed with it is near");
}

#[test]
fn undo_of_what_was_done_since_survives() {
    let (mut ada, _) = pair();
    let base = ada.version().clone();
    let task = row(&ada);
    ada.transact(9_000, |tx| {
        tx.text("note").delete(0, 6).unwrap();
        tx.map("card").set("colour", "green");
        tx.table("tasks").set(task, "title", "oats").unwrap();
        tx.list("steps").remove(1).unwrap();
        tx.counter("votes").add(5);
    });
    let after = ada.version().clone();
    ada.trim_history(&base).unwrap();
    assert_eq!(ada.history_start(), &base);
    ada.undo(9_000).unwrap();
    assert_eq!(ada.text("note").to_string(), "hello world");
    assert_eq!(ada.map("card").get("colour"), Some("blue".into()));
    assert_eq!(ada.table("tasks").get(task, "title"), Some("milk".into()));
    assert_eq!(list(&ada, "steps"), ["mix", "knead", "bake"]);
    assert_eq!(ada.counter("votes"), 3);
    ada.redo(9_000).unwrap();
    assert_eq!(ada.text("note").to_string(), "world");
    // What was done before is done for good.
    ada.undo(9_000).unwrap();
    assert_eq!(ada.undo(9_000), None);
    ada.trim_history(&after).unwrap();
    assert_eq!(ada.text("note").to_string(), "hello world");
}

#[test]
fn what_was_removed_can_still_be_brought_back_by_others() {
    let (mut ada, _) = pair();
    let task = row(&ada);
    let node = ada.tree("outline").roots()[0];
    ada.transact(0, |tx| tx.table("tasks").remove(task)).0.unwrap();
    ada.transact(9_000, |tx| tx.list("steps").remove(0)).0.unwrap();
    ada.transact(18_000, |tx| tx.tree("outline").remove(node)).0.unwrap();
    let mut copy = trimmed(&ada, PeerId(3));
    for _ in 0..3 {
        ada.undo(18_000).unwrap();
    }
    copy.import(18_000, ada.blocks_since(copy.version())).unwrap();
    assert_eq!(copy.table("tasks").get(task, "shop"), Some("corner".into()));
    assert!(copy.table("tasks").contains(task));
    assert_eq!(list(&copy, "steps"), ["mix", "knead", "bake"]);
    assert!(copy.tree("outline").contains(node));
}

#[test]
fn where_a_node_was_before_takes_no_room() {
    let mut doc = Doc::new(PeerId(1));
    let nodes = [0, 1].map(|at| doc.transact(0, |tx| tx.tree("o").create(None, at)).0.unwrap());
    for at in 0..200 {
        let parent = (at % 2 == 0).then_some(nodes[0]);
        doc.transact(0, |tx| tx.tree("o").move_to(nodes[1], parent, 0)).0.unwrap();
    }
    let (whole, shallow) = (doc.encode_snapshot(), trimmed(&doc, PeerId(2)).encode_snapshot());
    assert!(whole.len() > 300 && shallow.len() < 130, "{} {}", whole.len(), shallow.len());
}

#[test]
fn nodes_that_changed_places_stay_where_they_went() {
    let mut doc = Doc::new(PeerId(1));
    let (above, below) = doc
        .transact(0, |tx| {
            let above = tx.tree("o").create(None, 0).unwrap();
            (above, tx.tree("o").create(Some(above), 0).unwrap())
        })
        .0;
    // The two change places, and then the one that is above now moves on.
    let other = doc
        .transact(0, |tx| {
            tx.tree("o").move_to(below, None, 0).unwrap();
            tx.tree("o").move_to(above, Some(below), 0).unwrap();
            let other = tx.tree("o").create(None, 0).unwrap();
            tx.tree("o").move_to(below, Some(other), 0).unwrap();
            other
        })
        .0;
    let copy = trimmed(&doc, PeerId(2));
    let expected = [(0, other), (1, below), (2, above)];
    assert_eq!(copy.tree("o").walk().collect::<Vec<_>>(), expected);
}

#[test]
fn a_shared_peer_id_can_be_given_up_after_trimming() {
    let (mut ada, _) = pair();
    let all = ada.version().clone();
    ada.trim_history(&all).unwrap();
    let from = leptos_sync_crdt::OpId::new(PeerId(1), all.get(PeerId(1)));
    ada.transact(0, |tx| tx.text("note").insert(0, "oh, ")).0.unwrap();
    let again = ada.reauthor_all(from, &all).unwrap();
    assert_eq!(again.blocks.len(), 1);
    assert_eq!(ada.text("note").to_string(), "oh, hello world");
    let (_, to) = again.moved[0];
    assert_eq!((ada.version().get(to), ada.history_start()), (4, &all));
    let gone = leptos_sync_crdt::OpId::new(PeerId(1), 0);
    assert_eq!(ada.reauthor_all(gone, &all).unwrap_err(), ReauthorError::NoSuchChange(gone));
}

/// Ben goes offline and edits everything; meanwhile Ada edits on and trims.
fn apart() -> (Doc, Doc) {
    let (mut ada, mut ben) = pair();
    let task = row(&ben);
    ben.transact(0, |tx| tx.text("note").insert(5, ", my")).0.unwrap();
    ben.transact(0, |tx| tx.text("note").delete(9, 6)).0.unwrap();
    ben.transact(0, |tx| tx.text("note").insert(9, " friend")).0.unwrap();
    ben.transact(0, |tx| tx.table("tasks").set(task, "title", "oat milk")).0.unwrap();
    let (new, _) = ben.transact(0, |tx| tx.table("tasks").insert([("title", "eggs")]));
    ben.transact(0, |tx| tx.table("tasks").set(new, "shop", "market")).0.unwrap();
    ben.transact(0, |tx| tx.table("tasks").add(new, "wanted", 12)).0.unwrap();
    ben.transact(0, |tx| tx.counter("votes").add(2));
    ben.transact(0, |tx| tx.list("steps").insert(2, "rest")).0.unwrap();
    ben.transact(0, |tx| tx.movable_list("todo").move_to(2, 0)).0.unwrap();
    ben.transact(0, |tx| tx.movable_list("todo").set(1, "B")).0.unwrap();
    ben.transact(0, |tx| {
        let root = tx.doc().tree("outline").roots()[0];
        let node = tx.tree("outline").create(Some(root), 0).unwrap();
        let title = ContainerId::root("outline").element(node.0);
        tx.text(&title).insert(0, "chapter").unwrap();
    });
    let list = ben.transact(0, |tx| tx.list("steps").nest(0, ContainerKind::Text)).0.unwrap();
    ben.transact(0, |tx| tx.text(&list).insert(0, "nested")).0.unwrap();

    ada.transact(0, |tx| tx.text("note").insert(0, "oh, ")).0.unwrap();
    ada.transact(0, |tx| tx.list("steps").remove(1)).0.unwrap();
    ada.transact(0, |tx| tx.counter("votes").add(1));
    let all = ada.version().clone();
    ada.trim_history(&all).unwrap();
    (ada, ben)
}

#[test]
fn what_was_done_offline_arrives() {
    let (mut ada, ben) = apart();
    let late = ben.blocks_since(ada.version());
    assert!(matches!(ada.import(0, late), Err(ImportError::Truncated { .. })));
    let Ok(rebased) = ben.rebase(0, &ada.encode_snapshot(), PeerId(3)) else { panic!() };
    assert_eq!(rebased.blocks.len(), 14, "one change for one");
    ada.import(0, rebased.blocks).unwrap();
    for doc in [&ada, &rebased.doc] {
        assert_eq!(doc.text("note").to_string(), "oh, hello, my friend");
        assert_eq!(doc.table("tasks").get(row(&ben), "title"), Some("oat milk".into()));
        let eggs = doc.table("tasks").rows().nth(1).unwrap();
        assert_eq!(doc.table("tasks").get(eggs, "shop"), Some("market".into()));
        assert_eq!(doc.counter(ContainerId::cell("tasks", eggs, "wanted")), 12);
        assert_eq!(rebased.renamed[&ben.table("tasks").rows().nth(1).unwrap().0], eggs.0);
        assert_eq!(doc.counter("votes"), 6);
        assert_eq!(list(doc, "todo"), ["a", "B", "c"]);
        let (_, node) = doc.tree("outline").walk().nth(1).unwrap();
        let title = ContainerId::root("outline").element(node.0);
        assert_eq!(doc.text(&title).to_string(), "chapter");
        let (_, nested) = doc.list("steps").nested(0).unwrap();
        assert_eq!(doc.text(&nested).to_string(), "nested");
        let steps: Vec<_> = doc.list("steps").iter().skip(1).collect();
        assert_eq!(steps, ["mix".into(), "rest".into(), "bake".into()]);
    }
    assert_eq!(ada.version(), rebased.doc.version());
}

#[test]
fn what_had_seen_the_base_is_taken_over_as_it_is() {
    let (mut ada, mut ben) = pair();
    let all = ada.version().clone();
    ada.trim_history(&all).unwrap();
    ben.transact(0, |tx| tx.counter("votes").add(2));
    let rebased = ben.rebase(0, &ada.encode_snapshot(), PeerId(3)).unwrap();
    assert_eq!(rebased.doc.version(), ben.version());
    assert_eq!(rebased.blocks, ben.blocks_since(&all));
    assert!(rebased.renamed.is_empty());
}

#[test]
fn work_of_others_that_only_the_old_replica_has_comes_along() {
    let (mut ada, mut ben) = pair();
    let mut eve = ben.fork(PeerId(4));
    eve.transact(0, |tx| tx.text("note").insert(11, "!")).0.unwrap();
    ben.import(0, eve.blocks_since(ben.version())).unwrap();
    ada.transact(0, |tx| tx.counter("votes").add(1));
    let all = ada.version().clone();
    ada.trim_history(&all).unwrap();
    let rebased = ben.rebase(0, &ada.encode_snapshot(), PeerId(5)).unwrap();
    assert_eq!(rebased.doc.text("note").to_string(), "hello world!");
    assert_eq!(rebased.doc.text("note").authors().last().unwrap().id.peer, PeerId(5));
}

#[test]
fn a_rebase_that_cannot_be_is_refused_by_name() {
    let (ada, mut ben) = apart();
    let snapshot = ada.encode_snapshot();
    // One that the snapshot has, and one that only the old replica has.
    let mut eve = ben.fork(PeerId(4));
    eve.transact(0, |tx| tx.counter("votes").add(1));
    ben.import(0, eve.blocks_since(ben.version())).unwrap();
    for peer in [PeerId(1), PeerId(4)] {
        let used = ben.rebase(0, &snapshot, peer).err();
        assert_eq!(used, Some(RebaseError::PeerInUse(peer)));
    }
    let torn = ben.rebase(0, &snapshot[..9], PeerId(3)).err();
    assert!(matches!(torn, Some(RebaseError::Snapshot(_))));
    // What was to be brought along was trimmed away as well.
    let all = ben.version().clone();
    ben.trim_history(&all).unwrap();
    let past = ben.rebase(0, &snapshot, PeerId(3)).err();
    assert_eq!(past, Some(RebaseError::Past(PastError::Truncated)));
}

#[test]
fn a_deletion_made_offline_leaves_what_was_typed_inside_meanwhile() {
    let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
    ada.transact(0, |tx| tx.text("x").insert(0, "abcdefgh")).0.unwrap();
    ben.import(0, ada.blocks_since(ben.version())).unwrap();
    ben.transact(1_000, |tx| tx.text("x").delete(1, 5)).0.unwrap();
    ada.transact(1_000, |tx| tx.text("x").insert(5, "YZ")).0.unwrap();
    ada.transact(1_000, |tx| tx.text("x").insert(2, "X")).0.unwrap();
    ada.transact(1_000, |tx| tx.text("x").delete(4, 1)).0.unwrap();
    assert_eq!(ada.text("x").to_string(), "abXceYZfgh");
    let mut cy = ada.fork(PeerId(6));
    cy.transact(2_000, |tx| tx.counter("c").add(1));
    ada.import(2_000, cy.blocks_since(ada.version())).unwrap();
    let version = ada.version().clone();
    ada.trim_history(&version).unwrap();
    let rebased = ben.rebase(9_000, &ada.encode_snapshot(), PeerId(3)).unwrap();
    assert_eq!(rebased.doc.text("x").to_string(), "aXYZgh");
    for peer in [1, 2, 6] {
        let refused = ben.rebase(9_000, &ada.encode_snapshot(), PeerId(peer)).map(|_| ());
        assert_eq!(refused, Err(RebaseError::PeerInUse(PeerId(peer))));
    }
}
