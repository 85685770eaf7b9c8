//! Undo: what is one step, and that nobody else's work is touched.

use leptos_sync_crdt::{Doc, PeerId, RowId, Value};

fn pair() -> (Doc, Doc) {
    (Doc::new(PeerId(1)), Doc::new(PeerId(2)))
}

fn sync(a: &mut Doc, b: &mut Doc) {
    a.import(1 << 40, b.blocks_since(a.version())).unwrap();
    b.import(1 << 40, a.blocks_since(b.version())).unwrap();
}

fn splice(doc: &mut Doc, wall_ms: u64, pos: usize, deleted: usize, content: &str) {
    doc.transact(wall_ms, |tx| tx.text("x").splice(pos, deleted, content)).0.unwrap();
}

fn text(doc: &Doc) -> String {
    doc.text("x").to_string()
}

#[test]
fn a_document_says_whether_there_is_something_to_undo_or_redo() {
    let mut doc = Doc::new(PeerId(1));
    assert!(!doc.can_undo() && !doc.can_redo());
    splice(&mut doc, 0, 0, 0, "a");
    assert!(doc.can_undo() && !doc.can_redo());
    doc.undo(0).unwrap();
    assert!(!doc.can_undo() && doc.can_redo());
    doc.redo(0).unwrap();
    assert!(doc.can_undo() && !doc.can_redo());
    doc.undo(0).unwrap();
    splice(&mut doc, 0, 0, 0, "b");
    assert!(!doc.can_redo(), "a new edit forgets what was undone");
}

#[test]
fn typing_on_and_on_is_one_step_and_edits_apart_are_at_most_a_thousand() {
    let mut doc = Doc::new(PeerId(1));
    splice(&mut doc, 0, 0, 0, "!");
    for i in 0..1_100 {
        splice(&mut doc, 9_000, i, 0, "a");
    }
    doc.undo(9_000).unwrap();
    assert_eq!(text(&doc), "!");
    // What others do comes in between, so that no two edits are next to each other.
    let mut ben = Doc::new(PeerId(2));
    let mut doc = Doc::new(PeerId(1));
    for i in 0..1_003 {
        splice(&mut doc, 0, i, 0, "b");
        ben.transact(0, |tx| tx.counter("c").add(1));
        doc.import(0, ben.blocks_since(doc.version())).unwrap();
    }
    doc.undo(0).unwrap();
    assert_eq!(text(&doc), "b".repeat(1_000));
    doc.undo(0).unwrap();
    assert_eq!(text(&doc), "");
}

#[test]
fn what_had_no_value_before_is_null_after_undo_and_an_entry_is_gone() {
    let mut doc = Doc::new(PeerId(1));
    let row = doc.transact(0, |tx| tx.table("t").insert([("n", 1)])).0;
    doc.transact(0, |tx| {
        tx.register("r").set(1);
        tx.map("m").set("k", 1);
        tx.table("t").set(row, "new", 1)
    })
    .0
    .unwrap();
    let shown = |doc: &Doc| {
        let values = [doc.register("r"), doc.map("m").get("k"), doc.table("t").get(row, "new")];
        (values, doc.map("m").contains("k"))
    };
    doc.undo(0).unwrap();
    assert_eq!(shown(&doc), ([Some(Value::Null), None, Some(Value::Null)], false));
    doc.redo(0).unwrap();
    let one = || Some(1.into());
    assert_eq!(shown(&doc), ([one(), one(), one()], true));
}

#[test]
fn a_pause_of_half_a_second_begins_another_step() {
    for (pause, left) in [(499, ""), (500, "a")] {
        let mut doc = Doc::new(PeerId(1));
        splice(&mut doc, 1_000, 0, 0, "a");
        splice(&mut doc, 1_000 + pause, 1, 0, "b");
        doc.undo(9_000).unwrap();
        assert_eq!(text(&doc), left);
    }
}

#[test]
fn typing_is_one_step_with_typing_in_the_same_text_and_with_nothing_else() {
    let mut doc = Doc::new(PeerId(1));
    let steps: [&[&str]; 9] = [
        &["t"],
        &["t", "u"],
        &["t"],
        &["t"],
        &["t", "#"],
        &["t"],
        &["#", "t"],
        &["u"],
        &["u", "u"],
    ];
    for step in steps {
        doc.transact(0, |tx| {
            for name in step {
                match *name {
                    "#" => tx.counter("c").add(1),
                    name => tx.text(name).insert(0, "x").unwrap(),
                }
            }
        });
    }
    let lens = |doc: &Doc| (doc.text("t").len(), doc.text("u").len(), doc.counter("c"));
    let mut seen = vec![lens(&doc)];
    while doc.undo(0).is_some() {
        seen.push(lens(&doc));
    }
    let undone =
        [(7, 4, 2), (7, 1, 2), (6, 1, 1), (5, 1, 1), (4, 1, 0), (2, 1, 0), (1, 0, 0), (0, 0, 0)];
    assert_eq!(seen, undone);
    // What was redone stays apart from what is typed then.
    while doc.redo(0).is_some() {}
    doc.transact(0, |tx| tx.text("u").insert(0, "x")).0.unwrap();
    doc.undo(0);
    assert_eq!(lens(&doc), (7, 4, 2));
}

#[test]
fn the_last_thousand_steps_are_remembered() {
    let mut doc = Doc::new(PeerId(1));
    (0..1_002).for_each(|_| _ = doc.transact(0, |tx| tx.counter("c").add(1)));
    let undone = std::iter::from_fn(|| doc.undo(0)).count();
    assert_eq!((undone, doc.counter("c")), (1_000, 2));
}

#[test]
fn one_step_in_two_texts_and_around_the_typing_of_others_is_undone_in_each() {
    let (mut ada, mut ben) = pair();
    ada.transact(0, |tx| {
        tx.text("x").insert(0, "one").unwrap();
        tx.text("y").insert(0, "another").unwrap();
    });
    ada.undo(0).unwrap();
    assert_eq!((text(&ada), ada.text("y").to_string()), (String::new(), String::new()));
    ada.redo(0).unwrap();
    assert_eq!((text(&ada), ada.text("y").to_string()), ("one".into(), "another".into()));
    ada.transact(0, |tx| {
        tx.text("x").delete(0, 2).unwrap();
        tx.text("y").delete(0, 5).unwrap();
    });
    ada.undo(0).unwrap();
    assert_eq!((text(&ada), ada.text("y").to_string()), ("one".into(), "another".into()));
    // Typing that somebody else's typing comes between.
    sync(&mut ada, &mut ben);
    splice(&mut ada, 50_000, 3, 0, "12");
    splice(&mut ben, 50_000, 0, 0, "<>");
    sync(&mut ada, &mut ben);
    splice(&mut ada, 50_100, 7, 0, "34");
    assert_eq!(text(&ada), "<>one1234");
    ada.undo(60_000).unwrap();
    assert_eq!(text(&ada), "<>one");
}

#[test]
fn deletions_between_typing_come_back_with_what_each_deleted() {
    let mut doc = Doc::new(PeerId(1));
    splice(&mut doc, 0, 0, 0, "abcdefgh");
    for (pos, deleted, content) in [(1, 2, ""), (3, 0, "X"), (5, 1, ""), (2, 1, "YZ"), (0, 1, "")] {
        splice(&mut doc, 90_000, pos, deleted, content);
    }
    doc.undo(91_000).unwrap();
    assert_eq!(text(&doc), "abcdefgh");
}

#[test]
fn undo_does_not_overrule_what_somebody_else_wrote_later() {
    let (mut ada, mut ben) = pair();
    let rows: [RowId; 3] = ben.transact(0, |tx| [0; 3].map(|n| tx.table("t").insert([("n", n)]))).0;
    ben.transact(0, |tx| {
        tx.register("r").set("old");
        tx.movable_list("l").extend(["old"]);
    });
    sync(&mut ada, &mut ben);
    let edit = |doc: &mut Doc, word: &str| {
        doc.transact(50_000, |tx| tx.register("r").set(word));
        doc.transact(50_000, |tx| tx.table("t").set(rows[0], "n", word)).0.unwrap();
        doc.transact(50_000, |tx| tx.movable_list("l").set(0, word)).0.unwrap();
        doc.transact(50_000, |tx| tx.table("t").remove(rows[1])).0.unwrap();
    };
    edit(&mut ada, "mine");
    let shown = |doc: &Doc| {
        let table = doc.table("t");
        let value = table.get(rows[0], "n").unwrap();
        let (held, list) = (doc.register("r").unwrap(), doc.movable_list("l").get(0).unwrap());
        (held, value, list, table.contains(rows[1]))
    };
    (0..4).for_each(|_| _ = ada.undo(50_000).unwrap());
    assert_eq!(shown(&ada), ("old".into(), 0.into(), "old".into(), true));
    (0..4).for_each(|_| _ = ada.redo(50_000).unwrap());
    assert_eq!(shown(&ada), ("mine".into(), "mine".into(), "mine".into(), false));
    // A field of a row that is removed stays, too.
    ada.transact(50_000, |tx| tx.table("t").set(rows[2], "n", 5)).0.unwrap();
    sync(&mut ada, &mut ben);
    edit(&mut ben, "theirs");
    ben.transact(50_000, |tx| tx.table("t").restore(rows[1])).0.unwrap();
    ben.transact(50_000, |tx| tx.table("t").remove(rows[1])).0.unwrap();
    ben.transact(50_000, |tx| tx.table("t").remove(rows[2])).0.unwrap();
    sync(&mut ada, &mut ben);
    let theirs = ("theirs".into(), "theirs".into(), "theirs".into(), false);
    assert_eq!(shown(&ada), theirs);
    assert_eq!(ada.undo(90_000), None);
    assert_eq!(shown(&ada), theirs);
    assert_eq!(ada.table("t").get(rows[2], "n"), Some(5.into()));
}

#[test]
fn rows_that_were_inserted_or_removed_together_are_undone_but_for_what_others_did_since() {
    let (mut ada, mut ben) = pair();
    let insert = |tx: &mut leptos_sync_crdt::Transaction<'_>| {
        [0, 1, 2, 3].map(|i| tx.table("t").insert([("n", i)]))
    };
    let (rows, _) = ada.transact(0, insert);
    ben.import(0, ada.blocks_since(ben.version())).unwrap();
    let rows_of = |doc: &Doc| doc.table("t").rows().collect::<Vec<_>>();
    ada.transact(0, |tx| rows[..3].iter().for_each(|row| tx.table("t").remove(*row).unwrap()));
    sync(&mut ada, &mut ben);
    // The middle one of those that were removed is brought back by somebody else, and goes again.
    ben.transact(5, |tx| tx.table("t").restore(rows[1]).unwrap());
    ben.transact(5, |tx| tx.table("t").remove(rows[1]).unwrap());
    sync(&mut ada, &mut ben);
    ada.undo(9);
    assert_eq!(rows_of(&ada), [rows[0], rows[2], rows[3]]);
    ada.undo(9);
    assert_eq!(rows_of(&ada), []);
    ada.redo(9);
    assert_eq!(rows_of(&ada), [rows[0], rows[2], rows[3]]);
    sync(&mut ada, &mut ben);
    assert_eq!(rows_of(&ben), rows_of(&ada));
}

#[test]
fn a_removed_element_that_somebody_else_moved_on_is_not_put_back() {
    let (mut ada, mut ben) = pair();
    ben.transact(0, |tx| tx.movable_list("l").extend(["a", "b", "c"]));
    sync(&mut ada, &mut ben);
    ada.transact(50_000, |tx| tx.movable_list("l").remove(0)).0.unwrap();
    ben.transact(50_000, |tx| tx.movable_list("l").move_to(0, 2)).0.unwrap();
    sync(&mut ada, &mut ben);
    let list = |doc: &Doc| doc.movable_list("l").iter().collect::<Vec<_>>();
    assert_eq!(list(&ada), ["b".into(), "c".into(), "a".into()]);
    assert_eq!(ada.undo(90_000), None);
    // One that nobody moved is, whoever put it in.
    ada.transact(60_000, |tx| tx.movable_list("l").remove(1)).0.unwrap();
    ada.undo(60_000).unwrap();
    assert_eq!(list(&ada), ["b".into(), "c".into(), "a".into()]);
    // So is one that we moved ourselves before.
    ada.transact(90_000, |tx| tx.movable_list("l").move_to(0, 2)).0.unwrap();
    ada.transact(99_000, |tx| tx.movable_list("l").remove(2)).0.unwrap();
    ada.undo(99_000).unwrap();
    assert_eq!(list(&ada), ["c".into(), "a".into(), "b".into()]);
}

#[test]
fn a_trimmed_document_undoes_and_redoes_what_was_done_since() {
    let mut doc = Doc::new(PeerId(1));
    // What is trimmed has containers and names in another order than what stays.
    doc.transact(0, |tx| _ = tx.map("only asked for"));
    doc.transact(0, |tx| tx.counter("gone").add(1));
    doc.transact(0, |tx| tx.map("b").set("z", 1));
    doc.transact(0, |tx| tx.map("a").set("y", 1));
    doc.transact(0, |tx| tx.map("a").set("x", 1));
    doc.undo(0).unwrap();
    doc.redo(0).unwrap();
    let base = doc.version().clone();
    doc.transact(9_000, |tx| tx.map("a").set("x", 2));
    doc.transact(9_000, |tx| tx.map("b").set("z", 2));
    doc.undo(9_000).unwrap();
    doc.trim_history(&base).unwrap();
    let shown = |doc: &Doc| {
        let (x, z) = (doc.map("a").get("x"), doc.map("b").get("z"));
        [x, z, doc.map("a").get("y")].map(|value| value.expect("a number"))
    };
    assert_eq!(shown(&doc), [2.into(), 1.into(), 1.into()]);
    doc.redo(9_000).unwrap();
    assert_eq!(shown(&doc), [2.into(), 2.into(), 1.into()]);
    doc.undo(9_000).unwrap();
    doc.undo(9_000).unwrap();
    assert_eq!(shown(&doc), [1.into(), 1.into(), 1.into()]);
    assert!(!doc.can_undo(), "what was before is done for good");
    doc.redo(9_000).unwrap();
    doc.redo(9_000).unwrap();
    assert_eq!(shown(&doc), [2.into(), 2.into(), 1.into()]);
    let copy = Doc::from_shallow_snapshot(PeerId(2), &doc.encode_snapshot()).unwrap();
    assert_eq!(shown(&copy), shown(&doc));
    assert_eq!(copy.history_start(), &base);
}

#[test]
fn what_somebody_else_deleted_too_does_not_come_back() {
    // Ben deletes forwards, backwards, or one character of them.
    let bens = [(vec![(1, 2)], "ad"), (vec![(2, 1), (1, 1)], "ad"), (vec![(1, 1)], "acd")];
    for ((deletions, expected), is_back) in bens.iter().flat_map(|ben| [(ben, false), (ben, true)])
    {
        let (mut ada, mut ben) = pair();
        splice(&mut ben, 0, 0, 0, "abcd");
        sync(&mut ada, &mut ben);
        for pos in if is_back { [2, 1, 0] } else { [0; 3] } {
            splice(&mut ada, 0, pos, 1, "");
        }
        for (pos, len) in deletions {
            splice(&mut ben, 0, *pos, *len, "");
        }
        sync(&mut ada, &mut ben);
        ada.undo(0).unwrap();
        assert_eq!(text(&ada), *expected);
    }
    // What is in front of theirs does, and what is behind.
    for (ours, theirs, expected) in [(0, 2, "abef"), (4, 2, "abef"), (1, 2, "abef"), (3, 2, "abef")]
    {
        let (mut ada, mut ben) = pair();
        splice(&mut ben, 0, 0, 0, "abcdef");
        sync(&mut ada, &mut ben);
        splice(&mut ada, 0, ours, 2, "");
        for pos in [theirs + 1, theirs] {
            splice(&mut ben, 0, pos, 1, "");
        }
        sync(&mut ada, &mut ben);
        ada.undo(0).unwrap();
        assert_eq!(text(&ada), expected, "{ours} {theirs}");
    }
}

/// Rows that are next to each other in the history, and in other ways not.
#[test]
fn what_was_done_to_many_rows_at_once_is_undone_for_each() {
    let mut doc = Doc::new(PeerId(1));
    let insert =
        |doc: &mut Doc, table: &str| doc.transact(0, |tx| tx.table(table).insert([("n", 1i64)])).0;
    let rows = [(); 4].map(|()| insert(&mut doc, "t"));
    doc.transact(0, |tx| tx.table("t").remove(rows[3])).0.unwrap();
    let shown = |doc: &Doc| -> [Vec<RowId>; 2] {
        ["t", "u"].map(|table| doc.table(table).rows().collect())
    };
    let before = shown(&doc);
    assert_eq!(before, [rows[..3].to_vec(), vec![]]);
    doc.transact(0, |tx| {
        tx.table("t").remove(rows[0]).unwrap();
        tx.table("t").remove(rows[2]).unwrap();
        tx.table("t").restore(rows[3]).unwrap();
        tx.table("t").insert([("n", 2i64)]);
        tx.table("u").insert([("n", 3i64)]);
    });
    let after = shown(&doc);
    assert_eq!(after.each_ref().map(Vec::len), [3, 1]);
    doc.undo(0).unwrap();
    assert_eq!(shown(&doc), before);
    doc.redo(0).unwrap();
    assert_eq!(shown(&doc), after);
}

#[test]
fn the_very_first_character_does_not_come_back_either_if_somebody_else_deleted_it() {
    let (mut ada, mut ben) = pair();
    splice(&mut ada, 0, 0, 0, "abc");
    sync(&mut ada, &mut ben);
    splice(&mut ben, 0, 0, 2, "");
    splice(&mut ada, 9_000, 0, 3, "");
    sync(&mut ada, &mut ben);
    ada.undo(9_000).unwrap();
    assert_eq!(text(&ada), "c");
}
