//! Patches of what a replica writes itself, and of what it takes in, are the same.

use leptos_sync_crdt::{
    ContainerId, ContainerKind, Doc, ListDelta, Patch, PeerId, RowChange, RowId, TextDelta,
    Transaction, VersionVector,
};

/// Performs an edit here, takes it in elsewhere, and says what changed, which both must agree on.
fn told(ada: &mut Doc, ben: &mut Doc, edit: impl FnOnce(&mut Transaction<'_>)) -> Vec<Patch> {
    let commit = ada.transact(0, edit).1.expect("an edit");
    let import = ben.import(0, [ada.block(&commit)]).unwrap();
    assert_eq!(ada.patches(&commit), import.patches);
    import.patches
}

#[test]
fn every_write_is_told_alike_where_it_was_made_and_where_it_came_in() {
    let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
    let (ada, ben) = (&mut ada, &mut ben);
    let id = |name: &str| ContainerId::root(name);
    let patches = told(ada, ben, |tx| tx.register("r").set(1));
    assert_eq!(patches, [Patch::Register { id: id("r") }]);
    let entry = [Patch::MapEntry { id: id("m"), key: "k".into() }];
    assert_eq!(told(ada, ben, |tx| tx.map("m").set("k", 1)), entry);
    assert_eq!(told(ada, ben, |tx| tx.map("m").remove("k")), entry);
    let patches = told(ada, ben, |tx| tx.counter("c").add(2));
    assert_eq!(patches, [Patch::Counter { id: id("c") }]);
    let patches = told(ada, ben, |tx| tx.text("x").insert(0, "ab").unwrap());
    assert_eq!(patches, [Patch::Text { id: id("x"), delta: vec![TextDelta::Insert("ab".into())] }]);
    let patches = told(ada, ben, |tx| tx.text("x").delete(1, 1).unwrap());
    let delta = vec![TextDelta::Retain(1), TextDelta::Delete(1)];
    assert_eq!(patches, [Patch::Text { id: id("x"), delta }]);
    let list = |delta| [Patch::List { id: id("l"), kind: ContainerKind::List, delta }];
    let patches = told(ada, ben, |tx| tx.list("l").extend([1, 2]));
    assert_eq!(patches, list(vec![ListDelta::Insert(vec![1.into(), 2.into()])]));
    let patches = told(ada, ben, |tx| tx.list("l").remove(1).unwrap());
    assert_eq!(patches, list(vec![ListDelta::Retain(1), ListDelta::Delete(1)]));
    let patches = told(ada, ben, |tx| tx.list("l").remove(0).unwrap());
    assert_eq!(patches, list(vec![ListDelta::Delete(1)]));
    let patches = told(ada, ben, |tx| _ = tx.table("t").insert([("a", 1)]));
    let row = ada.table("t").rows().next().expect("a row");
    let of = |change| [Patch::Row { table: "t".into(), row, change }];
    assert_eq!(patches, of(RowChange::Inserted));
    let patches = told(ada, ben, |tx| tx.table("t").set(row, "a", 2).unwrap());
    assert_eq!(patches, of(RowChange::Field("a".into())));
    assert_eq!(told(ada, ben, |tx| tx.table("t").remove(row).unwrap()), of(RowChange::Removed));
    assert_eq!(told(ada, ben, |tx| tx.table("t").restore(row).unwrap()), of(RowChange::Restored));
}

#[test]
fn nothing_is_told_of_a_slot_that_showed_nothing_any_more() {
    let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
    ada.transact(0, |tx| tx.movable_list("l").extend(["a", "b", "c"]));
    ben.import(0, ada.blocks_since(&VersionVector::new())).unwrap();
    ada.transact(0, |tx| tx.movable_list("l").move_to(0, 2)).0.unwrap();
    ben.transact(0, |tx| tx.movable_list("l").remove(0)).0.unwrap();
    assert_eq!(ada.import(0, ben.blocks_since(ada.version())).unwrap().patches, []);
}

#[test]
fn an_element_taken_from_the_front_is_told_without_an_empty_stretch() {
    let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
    ada.transact(0, |tx| tx.movable_list("l").extend(["a", "b", "c"]));
    ben.import(0, ada.blocks_since(&VersionVector::new())).unwrap();
    let id = ContainerId::root("l");
    // The slot that does not hold any more goes, wherever the other move put its element.
    ada.transact(9_000, |tx| tx.movable_list("l").move_to(1, 2)).0.unwrap();
    ben.transact(0, |tx| tx.movable_list("l").move_to(1, 0)).0.unwrap();
    let patches = ben.import(9_000, ada.blocks_since(ben.version())).unwrap().patches;
    let (kind, delta) = (ContainerKind::MovableList, vec![ListDelta::Delete(1)]);
    assert!(patches.contains(&Patch::List { id, kind, delta }), "{patches:?}");
}

#[test]
fn a_list_and_a_movable_list_of_one_name_are_told_apart() {
    let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
    let empty = ada.version().clone();
    let (_, commit) = ada.transact(0, |tx| {
        tx.list("l").extend(["a"]);
        tx.movable_list("l").extend(["b"]);
    });
    let patch = |kind, element: &str| {
        let delta = vec![ListDelta::Insert(vec![element.into()])];
        Patch::List { id: ContainerId::root("l"), kind, delta }
    };
    let both = [patch(ContainerKind::List, "a"), patch(ContainerKind::MovableList, "b")];
    assert_eq!(ada.patches(&commit.unwrap()), both);
    assert_eq!(ben.import(0, ada.blocks_since(&empty)).unwrap().patches, both);
    assert_eq!(ada.diff(&empty, ada.version()).unwrap(), both);
}

/// A row that both know, with two fields.
fn row_of(ada: &mut Doc, ben: &mut Doc) -> RowId {
    let row = ada.transact(0, |tx| tx.table("t").insert([("a", 1), ("b", 2)])).0;
    ben.import(0, ada.blocks_since(ben.version())).unwrap();
    row
}

#[test]
fn a_row_that_two_people_remove_goes_once() {
    let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
    let row = row_of(&mut ada, &mut ben);
    ada.transact(0, |tx| tx.table("t").remove(row)).0.unwrap();
    ben.transact(0, |tx| tx.table("t").remove(row)).0.unwrap();
    let (of_ada, of_ben) = (ada.blocks_since(ben.version()), ben.blocks_since(ada.version()));
    assert_eq!(ada.import(0, of_ben).unwrap().patches, []);
    assert_eq!(ben.import(0, of_ada).unwrap().patches, []);
}

#[test]
fn a_row_that_two_people_bring_back_takes_the_later_ones_fields() {
    let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
    let row = row_of(&mut ada, &mut ben);
    ada.transact(0, |tx| tx.table("t").remove(row)).0.unwrap();
    ben.import(0, ada.blocks_since(ben.version())).unwrap();
    ada.transact(0, |tx| tx.table("t").restore(row)).0.unwrap();
    ben.transact(0, |tx| tx.table("t").restore(row)).0.unwrap();
    let field = |name: &str| {
        let change = RowChange::Field(name.into());
        Patch::Row { table: "t".into(), row, change }
    };
    let earlier = ben.import(0, ada.blocks_since(ben.version())).unwrap();
    assert_eq!(earlier.patches, []);
    let later = ada.import(0, ben.blocks_since(ada.version())).unwrap();
    assert_eq!(later.patches, [field("a"), field("b")]);
}

/// Follows a text by its patches.
fn follow(shown: &mut Vec<char>, patches: &[Patch]) {
    for patch in patches {
        let Patch::Text { delta, .. } = patch else { continue };
        let mut at = 0;
        for edit in delta {
            match edit {
                TextDelta::Retain(len) => at += *len as usize,
                TextDelta::Delete(len) => drop(shown.drain(at..at + *len as usize)),
                TextDelta::Insert(content) => {
                    shown.splice(at..at, content.chars());
                    at += content.chars().count();
                }
            }
        }
    }
}

/// Many edits of a text that starts as ten letters: each at a position, a deletion or an insertion.
fn edit_often(doc: &mut Doc, edits: impl Iterator<Item = (usize, bool)>) {
    for (pos, deletes) in edits {
        let edit = |tx: &mut Transaction<'_>| match deletes {
            true => tx.text("x").delete(pos, 1),
            false => tx.text("x").insert(pos, "é"),
        };
        doc.transact(0, edit).0.unwrap();
    }
}

#[test]
fn very_many_edits_of_a_text_are_told_as_one_of_the_stretch_that_they_are_in() {
    let cases: [&dyn Fn(usize) -> (usize, bool); 6] = [
        &|_| (5, false),
        // Back and forth in the middle, ending shorter or longer than it was.
        &|i| (3 + i % 2, i % 2 == 1),
        &|i| (2 + i % 3, i % 2 == 0),
        &|i| if i < 10 { (0, true) } else { (0, i % 2 == 1) },
        &|i| if i < 5 { (5, true) } else { (4 + i % 2, i % 2 == 0) },
        &|i| (9 - i % 2, i % 2 == 0),
    ];
    for (number, case) in cases.iter().enumerate() {
        for count in [255, 256, 257, 300, 601] {
            let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
            ada.transact(0, |tx| tx.text("x").insert(0, "0123456789")).0.unwrap();
            ben.import(0, ada.blocks_since(ben.version())).unwrap();
            // Something at once, so that each edit is merged by itself.
            ben.transact(0, |tx| tx.text("x").insert(10, "!")).0.unwrap();
            let mut shown: Vec<char> = ben.text("x").to_string().chars().collect();
            edit_often(&mut ada, (0..count).map(case));
            let patches = ben.import(0, ada.blocks_since(ben.version())).unwrap().patches;
            follow(&mut shown, &patches);
            let text = ben.text("x").to_string();
            assert_eq!(shown.iter().collect::<String>(), text, "case {number}, {count} edits");
            // Deletions in a row are one edit.
            if count >= 300 {
                assert!(patches.len() <= 1, "case {number}, {count} edits: {}", patches.len());
                let kept = patches.iter().any(|patch| match patch {
                    Patch::Text { delta, .. } => matches!(delta[0], TextDelta::Retain(1..)),
                    _ => false,
                });
                assert_eq!(kept, number != 3, "case {number}");
            }
        }
    }
}

#[test]
fn of_very_many_edits_what_lies_before_and_behind_all_of_them_is_kept() {
    let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
    ada.transact(0, |tx| tx.text("x").insert(0, "0123456789")).0.unwrap();
    ben.import(0, ada.blocks_since(ben.version())).unwrap();
    // The second of them is the one that is furthest behind.
    let at = |i: usize| if i == 1 { 9 } else { 2 + i % 2 * 2 };
    edit_often(&mut ada, (0..300).map(|i| (at(i), false)));
    let patches = ben.import(0, ada.blocks_since(ben.version())).unwrap().patches;
    let content = ben.text("x").slice(2, 308);
    let delta = vec![
        TextDelta::Retain(2),
        TextDelta::Delete(6),
        TextDelta::Insert(content.as_str().into()),
    ];
    assert_eq!(patches, [Patch::Text { id: ContainerId::root("x"), delta }]);
    assert_eq!(ben.text("x").slice(308, 310), "89");
}

#[test]
fn what_is_deleted_from_one_place_is_told_as_one() {
    let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
    // From the outside in, so that it is several runs.
    for (pos, content) in [(0, "af"), (1, "be"), (2, "cd")] {
        ada.transact(0, |tx| tx.text("x").insert(pos, content)).0.unwrap();
    }
    ben.import(0, ada.blocks_since(&VersionVector::new())).unwrap();
    ada.transact(0, |tx| tx.text("x").insert(0, "-")).0.unwrap();
    ben.transact(0, |tx| tx.text("x").delete(1, 4)).0.unwrap();
    let delta = vec![TextDelta::Retain(2), TextDelta::Delete(4)];
    let patches = ada.import(0, ben.blocks_since(ada.version())).unwrap().patches;
    assert_eq!(patches, [Patch::Text { id: ContainerId::root("x"), delta }]);
}

#[test]
fn very_many_edits_of_one_text_are_told_as_one() {
    for (before, kept, deleted) in [("", 0, 0), ("abc", 0, 0), ("abc", 1, 2)] {
        let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
        ben.transact(0, |tx| tx.text("x").insert(0, before)).0.unwrap();
        ada.import(0, ben.blocks_since(&VersionVector::new())).unwrap();
        let edited = ben.transact(0, |tx| {
            tx.text("x").delete(kept, deleted)?;
            // At both ends of what is inserted, so that it is as many runs.
            (0..300).try_for_each(|at| tx.text("x").insert(kept + at % 2 * at, "-"))
        });
        edited.0.unwrap();
        let mut delta = Vec::new();
        if kept > 0 {
            delta.push(TextDelta::Retain(kept as u32));
        }
        if deleted > 0 {
            delta.push(TextDelta::Delete(deleted as u32));
        }
        delta.push(TextDelta::Insert("-".repeat(300).into()));
        let told = ada.import(0, ben.blocks_since(ada.version())).unwrap().patches;
        assert_eq!(told, [Patch::Text { id: ContainerId::root("x"), delta }], "{before}");
        assert_eq!(ada.text("x").to_string(), ben.text("x").to_string());
    }
}

#[test]
fn a_long_text_that_is_loaded_is_told_in_steps_that_make_it_up() {
    let mut ada = Doc::new(PeerId(1));
    // Always at the start, so that it is as many runs.
    for at in 0..400 {
        let edited = ada.transact(0, |tx| tx.text("x").insert(0, &format!("{at}é😀").repeat(20)));
        edited.0.unwrap();
    }
    let mut ben = Doc::new(PeerId(2));
    let patches = ben.import_update(0, &ada.encode_update(&VersionVector::new())).unwrap().patches;
    let [Patch::Text { delta, .. }] = &patches[..] else { panic!("one patch: {patches:?}") };
    let told: Vec<&str> = delta
        .iter()
        .map(|step| match step {
            TextDelta::Insert(content) => &**content,
            _ => panic!("nothing but insertions: {step:?}"),
        })
        .collect();
    assert!(told.len() > 1, "{} steps", told.len());
    assert_eq!(told.concat(), ada.text("x").to_string());
    assert_eq!(ben.text("x").to_string(), ada.text("x").to_string());
}
