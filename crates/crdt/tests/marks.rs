//! Marks, by name.

use std::sync::Arc;

use leptos_sync_crdt::{
    ContainerId, DecodeError, Doc, Expand, MARK_KEY_BYTES_MAX, OpId, Patch, PeerId, TextDelta,
    TextError, Value, VersionVector,
};

/// A stretch of text with its marks.
type Marked = (String, Vec<(Arc<str>, Value)>);

fn spans(doc: &Doc) -> Vec<Marked> {
    doc.text("t").spans().into_iter().map(|span| (span.text, span.marks)).collect()
}

fn plain(text: &str) -> Marked {
    (text.to_owned(), Vec::new())
}

fn marked(text: &str, key: &str, value: impl Into<Value>) -> Marked {
    (text.to_owned(), vec![(key.into(), value.into())])
}

fn bold(text: &str) -> Marked {
    marked(text, "bold", true)
}

fn insert(doc: &mut Doc, pos: usize, content: &str) {
    doc.transact(0, |tx| tx.text("t").insert(pos, content)).0.unwrap();
}

fn delete(doc: &mut Doc, pos: usize, len: usize) {
    doc.transact(0, |tx| tx.text("t").delete(pos, len)).0.unwrap();
}

fn mark(doc: &mut Doc, range: std::ops::Range<usize>, key: &str, value: impl Into<Value>) {
    let expand = if key == "bold" { Expand::After } else { Expand::None };
    doc.transact(0, |tx| tx.text("t").mark(range, key, value, expand)).0.unwrap();
}

fn unmark(doc: &mut Doc, range: std::ops::Range<usize>, key: &str) {
    doc.transact(0, |tx| tx.text("t").unmark(range, key)).0.unwrap();
}

fn with(peer: u64, text: &str) -> Doc {
    let mut doc = Doc::new(PeerId(peer));
    insert(&mut doc, 0, text);
    doc
}

/// Two replicas of one text.
fn pair(text: &str) -> (Doc, Doc) {
    let ada = with(1, text);
    let mut ben = Doc::new(PeerId(2));
    pull(&mut ben, &ada);
    (ada, ben)
}

fn pull(to: &mut Doc, from: &Doc) -> Vec<Patch> {
    to.import(0, from.blocks_since(to.version())).unwrap().patches
}

fn meet(ada: &mut Doc, ben: &mut Doc) {
    pull(ada, ben);
    pull(ben, ada);
    assert_eq!(spans(ada), spans(ben));
}

fn told(start: u32, end: u32, key: &str, value: impl Into<Value>) -> Patch {
    let (key, value) = (key.into(), value.into());
    Patch::Marks { id: ContainerId::root("t"), start, end, key, value }
}

#[test]
fn what_two_people_make_bold_and_overlaps_is_one_bold_stretch() {
    let (mut ada, mut ben) = pair("the quick fox");
    mark(&mut ada, 0..9, "bold", true);
    mark(&mut ben, 4..13, "bold", true);
    meet(&mut ada, &mut ben);
    assert_eq!(spans(&ada), [bold("the quick fox")]);
}

#[test]
fn of_bold_and_plain_made_at_once_the_later_stamp_holds() {
    let (mut ada, mut ben) = pair("abcdef");
    mark(&mut ada, 0..6, "bold", true);
    pull(&mut ben, &ada);
    insert(&mut ben, 6, "!"); // ahead of what ada does next
    unmark(&mut ben, 0..3, "bold");
    mark(&mut ada, 2..4, "bold", true);
    meet(&mut ada, &mut ben);
    assert_eq!(spans(&ada), [plain("abc"), bold("def!")]);
}

#[test]
fn of_values_given_at_once_the_greater_peer_holds_where_both_were_given() {
    let (mut ada, mut ben) = pair("abc");
    mark(&mut ada, 0..2, "colour", "red");
    mark(&mut ben, 1..3, "colour", "blue");
    meet(&mut ada, &mut ben);
    assert_eq!(spans(&ada), [marked("a", "colour", "red"), marked("bc", "colour", "blue")]);
}

#[test]
fn bold_goes_on_at_its_end_and_a_link_does_not() {
    let mut doc = with(1, "ab cd");
    mark(&mut doc, 0..2, "bold", true);
    mark(&mut doc, 3..5, "link", "x");
    insert(&mut doc, 5, "!");
    insert(&mut doc, 2, "!");
    insert(&mut doc, 0, "!");
    assert_eq!(
        spans(&doc),
        [plain("!"), bold("ab!"), plain(" "), marked("cd", "link", "x"), plain("!")]
    );
}

#[test]
fn a_mark_expands_as_it_says() {
    for (expand, expected) in
        [(Expand::None, "b"), (Expand::Before, "-b"), (Expand::After, "b+"), (Expand::Both, "-b+")]
    {
        let mut doc = with(1, "abc");
        doc.transact(0, |tx| tx.text("t").mark(1..2, "k", 1, expand)).0.unwrap();
        insert(&mut doc, 2, "+");
        insert(&mut doc, 1, "-");
        let spans = doc.text("t").spans();
        let of: Vec<&str> =
            spans.iter().filter(|span| !span.marks.is_empty()).map(|span| &*span.text).collect();
        assert_eq!(of, [expected], "{expand:?}");
    }
}

#[test]
fn comments_overlap() {
    let (mut ada, mut ben) = pair("abc");
    mark(&mut ada, 0..2, "comment:1", "ada's");
    mark(&mut ben, 1..3, "comment:2", "ben's");
    meet(&mut ada, &mut ben);
    let (one, two) = (("comment:1".into(), "ada's".into()), ("comment:2".into(), "ben's".into()));
    let expected = [
        ("a".to_owned(), vec![one.clone()]),
        ("b".to_owned(), vec![one, two.clone()]),
        ("c".to_owned(), vec![two]),
    ];
    assert_eq!(spans(&ada), expected);
}

#[test]
fn text_put_inside_by_somebody_who_had_not_seen_the_mark_has_it() {
    let (mut ada, mut ben) = pair("see docs");
    mark(&mut ada, 4..8, "link", "x");
    insert(&mut ben, 6, "----");
    meet(&mut ada, &mut ben);
    assert_eq!(spans(&ada), [plain("see "), marked("do----cs", "link", "x")]);
}

#[test]
fn a_mark_of_text_that_somebody_deleted_shows_nothing() {
    let (mut ada, mut ben) = pair("abc");
    mark(&mut ada, 1..2, "bold", true);
    delete(&mut ben, 1, 1);
    meet(&mut ada, &mut ben);
    assert_eq!(spans(&ada), [plain("ac")]);
    insert(&mut ben, 1, "x");
    meet(&mut ada, &mut ben);
    assert_eq!(spans(&ada), [plain("axc")]);
}

#[test]
fn a_link_whose_end_was_deleted_does_not_go_on() {
    let mut doc = with(1, "see the docs.");
    mark(&mut doc, 4..12, "link", "x");
    delete(&mut doc, 7, 5);
    insert(&mut doc, 7, "se");
    assert_eq!(spans(&doc), [plain("see "), marked("the", "link", "x"), plain("se.")]);
}

#[test]
fn bold_whose_end_was_deleted_goes_on() {
    let mut doc = with(1, "see the docs.");
    mark(&mut doc, 4..12, "bold", true);
    delete(&mut doc, 7, 6);
    insert(&mut doc, 7, "se");
    assert_eq!(spans(&doc), [plain("see "), bold("these")]);
}

#[test]
fn what_is_left_beside_a_removal_expands_as_before() {
    for (key, expected) in [("bold", "ab+"), ("link", "ab")] {
        let mut doc = with(1, "abcdef");
        mark(&mut doc, 0..6, key, true);
        unmark(&mut doc, 2..4, key);
        insert(&mut doc, 4, "-");
        insert(&mut doc, 2, "+");
        let spans = doc.text("t").spans();
        let marked: Vec<&str> =
            spans.iter().filter(|span| !span.marks.is_empty()).map(|span| &*span.text).collect();
        assert_eq!(marked, [expected, "ef"], "{key}");
    }
}

#[test]
fn a_removal_of_what_is_not_there_writes_nothing() {
    let mut doc = with(1, "abc");
    mark(&mut doc, 0..1, "bold", true);
    let version = doc.version().clone();
    unmark(&mut doc, 1..3, "bold");
    unmark(&mut doc, 0..3, "italic");
    assert_eq!(*doc.version(), version);
}

#[test]
fn marks_are_read_from_a_snapshot_and_go_on_from_there() {
    let mut ada = with(1, "abc");
    mark(&mut ada, 1..3, "bold", true);
    let mut ben = Doc::from_snapshot(PeerId(2), &ada.encode_snapshot()).unwrap();
    assert_eq!(spans(&ben), [plain("a"), bold("bc")]);
    assert_eq!(ben.text("t").marks_at(1), [("bold".into(), true.into())]);
    insert(&mut ben, 3, "d");
    unmark(&mut ben, 1..2, "bold");
    meet(&mut ada, &mut ben);
    assert_eq!(spans(&ada), [plain("ab"), bold("cd")]);
}

#[test]
fn marks_come_with_updates_in_any_order() {
    let mut ada = with(1, "abc");
    mark(&mut ada, 0..2, "bold", true);
    insert(&mut ada, 2, "x");
    mark(&mut ada, 3..4, "link", "y");
    let mut ben = Doc::new(PeerId(2));
    let patches = ben.import_update(0, &ada.encode_update(&VersionVector::new())).unwrap().patches;
    assert_eq!(patches[2..], [told(0, 3, "bold", true), told(3, 4, "link", "y")]);
    assert_eq!(spans(&ben), spans(&ada));
    let mut late = Doc::new(PeerId(3));
    for block in ada.blocks_since(&VersionVector::new()).into_iter().rev() {
        late.import(0, [block]).unwrap();
    }
    assert_eq!(spans(&late), spans(&ada));
}

#[test]
fn patches_name_what_changed_and_nothing_else() {
    let (mut ada, mut ben) = pair("abcdef");
    mark(&mut ada, 1..3, "bold", true);
    let edited = ada.transact(0, |tx| tx.text("t").mark(0..5, "bold", true, Expand::After));
    assert_eq!(
        ada.patches(&edited.1.unwrap()),
        [told(0, 1, "bold", true), told(3, 5, "bold", true)]
    );
    // Ben's is later, and ada's mark has no effect where it is.
    insert(&mut ben, 0, "--");
    mark(&mut ben, 3..5, "bold", false);
    assert_eq!(pull(&mut ben, &ada), [told(2, 3, "bold", true), told(5, 7, "bold", true)]);
    assert_eq!(pull(&mut ada, &ben)[1..], [told(3, 5, "bold", false)]);
    assert_eq!(pull(&mut ada, &ben), []);
}

#[test]
fn a_difference_tells_the_marks_of_both_sides() {
    let mut doc = with(1, "abc");
    mark(&mut doc, 0..3, "bold", true);
    let first = doc.version().clone();
    insert(&mut doc, 1, "x");
    unmark(&mut doc, 2..4, "bold");
    let inserted = vec![TextDelta::Retain(1), TextDelta::Insert("x".into())];
    let text = |delta| Patch::Text { id: ContainerId::root("t"), delta };
    let expected = [text(inserted), told(1, 2, "bold", true), told(2, 4, "bold", Value::Null)];
    assert_eq!(doc.diff(&first, doc.version()).unwrap(), expected);
    let deleted = vec![TextDelta::Retain(1), TextDelta::Delete(1)];
    assert_eq!(doc.diff(doc.version(), &first).unwrap(), [text(deleted), told(1, 3, "bold", true)]);
}

#[test]
fn undo_of_a_mark_leaves_what_others_marked() {
    let (mut ada, mut ben) = pair("abcdef");
    mark(&mut ada, 0..2, "colour", "red");
    mark(&mut ada, 0..6, "colour", "green");
    pull(&mut ben, &ada);
    mark(&mut ben, 4..6, "colour", "blue");
    meet(&mut ada, &mut ben);
    ada.undo(0).unwrap();
    let expected = [marked("ab", "colour", "red"), plain("cd"), marked("ef", "colour", "blue")];
    assert_eq!(spans(&ada), expected);
    meet(&mut ada, &mut ben);
    ada.redo(0).unwrap();
    let expected = [marked("abcd", "colour", "green"), marked("ef", "colour", "blue")];
    assert_eq!(spans(&ada), expected);
    ada.undo(0).unwrap();
    ada.undo(0).unwrap();
    assert_eq!(spans(&ada), [plain("abcd"), marked("ef", "colour", "blue")]);
}

#[test]
fn what_an_undo_of_a_mark_brings_back_grows_as_it_did() {
    let all = [Expand::None, Expand::Before, Expand::After, Expand::Both];
    for (first, second) in all.iter().flat_map(|first| all.map(|second| (*first, second))) {
        let mut doc = with(1, "abcdef");
        for (value, expand) in [(1, first), (2, second)] {
            doc.transact(0, |tx| tx.text("t").mark(2..4, "k", value, expand)).0.unwrap();
        }
        doc.undo(0).unwrap();
        assert_eq!(spans(&doc), [plain("ab"), marked("cd", "k", 1), plain("ef")]);
        insert(&mut doc, 4, ">");
        insert(&mut doc, 2, "<");
        let spans = doc.text("t").spans();
        let shown = spans.iter().find(|span| !span.marks.is_empty()).expect("a mark");
        let before = if matches!(first, Expand::Before | Expand::Both) { "<" } else { "" };
        let after = if matches!(first, Expand::After | Expand::Both) { ">" } else { "" };
        assert_eq!(shown.text, format!("{before}cd{after}"), "{first:?} under {second:?}");
    }
}

#[test]
fn undo_of_a_mark_shows_what_lost_against_it() {
    let (mut ada, mut ben) = pair("abc");
    mark(&mut ada, 0..2, "colour", "red");
    insert(&mut ben, 3, "!");
    mark(&mut ben, 0..3, "colour", "blue");
    meet(&mut ada, &mut ben);
    ben.undo(0).unwrap();
    assert_eq!(spans(&ben), [marked("ab", "colour", "red"), plain("c!")]);
}

#[test]
fn undo_of_a_mark_takes_it_from_text_that_others_put_inside() {
    let (mut ada, mut ben) = pair("abc");
    mark(&mut ada, 0..3, "bold", true);
    pull(&mut ben, &ada);
    insert(&mut ben, 1, "x");
    meet(&mut ada, &mut ben);
    ada.undo(0).unwrap();
    assert_eq!(spans(&ada), [plain("axbc")]);
}

#[test]
fn deleted_text_comes_back_with_its_marks() {
    let mut doc = with(1, "one two three");
    mark(&mut doc, 4..7, "bold", true);
    mark(&mut doc, 6..13, "link", "x");
    let before = spans(&doc);
    delete(&mut doc, 2, 8);
    doc.undo(0).unwrap();
    assert_eq!(spans(&doc), before);
    doc.redo(0).unwrap();
    doc.undo(0).unwrap();
    assert_eq!(spans(&doc), before);
    doc.undo(0).unwrap();
    doc.undo(0).unwrap();
    assert_eq!(spans(&doc), [plain("one two three")]);
}

#[test]
fn a_mark_that_is_written_again_by_another_peer_stays() {
    let mut doc = with(1, "abc");
    mark(&mut doc, 0..2, "bold", true);
    let nothing = VersionVector::new();
    let again = doc.reauthor_all(OpId::new(PeerId(1), 0), &nothing).unwrap();
    assert_eq!(spans(&doc), [bold("ab"), plain("c")]);
    let (_, to) = again.moved[0];
    doc.set_peer(to);
    mark(&mut doc, 2..3, "bold", true);
    doc.reauthor_all(OpId::new(to, 4), &nothing).unwrap();
    assert_eq!(spans(&doc), [bold("abc")]);
}

#[test]
fn marks_that_cannot_be_are_refused() {
    let mut doc = with(1, "abc");
    let mut try_mark = |range, key: &str| {
        doc.transact(0, |tx| tx.text("t").mark(range, key, true, Expand::None)).0
    };
    assert_eq!(try_mark(1..4, "k"), Err(TextError::OutOfRange { end: 4, len: 3 }));
    assert_eq!(try_mark(2..2, "k"), Err(TextError::NothingToMark));
    assert_eq!(try_mark(0..1, ""), Err(TextError::MarkKey));
    assert_eq!(try_mark(0..1, &"k".repeat(MARK_KEY_BYTES_MAX + 1)), Err(TextError::MarkKey));
    assert_eq!(try_mark(0..1, &"k".repeat(MARK_KEY_BYTES_MAX)), Ok(()));
    assert_eq!(doc.block_count(), 2);
}

#[test]
fn a_text_without_marks_takes_no_bytes_for_them() {
    let mut doc = with(1, "abc");
    let sizes =
        |doc: &Doc| (doc.encode_snapshot().len(), doc.encode_update(&VersionVector::new()).len());
    let plain = sizes(&doc);
    assert_eq!(plain, (78, 48));
    mark(&mut doc, 0..1, "k", true);
    assert!(sizes(&doc) > plain);
    let damaged = &doc.encode_snapshot()[..40];
    assert_eq!(Doc::from_snapshot(PeerId(2), damaged).unwrap_err(), DecodeError::CountExceedsInput);
}

#[test]
fn a_link_that_an_undo_closes_again_has_no_gaps() {
    for range in [0..1, 1..3, 3..4] {
        let mut doc = with(1, "abcd");
        mark(&mut doc, 0..4, "link", "x");
        unmark(&mut doc, range.clone(), "link");
        doc.undo(0).unwrap();
        for pos in (1..4).rev() {
            insert(&mut doc, pos, "-");
        }
        insert(&mut doc, 7, "!");
        assert_eq!(spans(&doc), [marked("a-b-c-d", "link", "x"), plain("!")], "{range:?}");
    }
}

#[test]
fn a_removal_between_marks_writes_nothing() {
    let mut doc = with(1, "abcdef");
    mark(&mut doc, 0..2, "bold", true);
    mark(&mut doc, 4..6, "bold", true);
    let version = doc.version().clone();
    unmark(&mut doc, 2..4, "bold");
    assert_eq!(*doc.version(), version);
}

#[test]
fn one_value_where_there_were_two_is_told_once() {
    let mut doc = with(1, "abcd");
    mark(&mut doc, 0..2, "colour", "red");
    mark(&mut doc, 2..3, "colour", "blue");
    let edited = doc.transact(0, |tx| tx.text("t").mark(0..4, "colour", "green", Expand::None));
    assert_eq!(doc.patches(&edited.1.unwrap()), [told(0, 4, "colour", "green")]);
}

#[test]
fn text_that_comes_back_beside_marks_that_grow_has_none_of_them() {
    let mut doc = with(1, "abc");
    for key in ["one", "two", "three"] {
        doc.transact(0, |tx| tx.text("t").mark(0..1, key, 1, Expand::After)).0.unwrap();
    }
    let before = spans(&doc);
    delete(&mut doc, 1, 1);
    doc.undo(0).unwrap();
    assert_eq!(spans(&doc), before);
}

#[test]
fn what_text_was_marked_with_after_it_came_back_comes_back_too() {
    let (_, mut doc) = pair("abc");
    for word in ["one", "two", "three"] {
        delete(&mut doc, 1, 1);
        doc.undo(0).unwrap();
        mark(&mut doc, 1..2, "word", word);
        assert_eq!(spans(&doc), [plain("a"), marked("b", "word", word), plain("c")]);
    }
    delete(&mut doc, 0, 3);
    doc.undo(0).unwrap();
    assert_eq!(spans(&doc), [plain("a"), marked("b", "word", "three"), plain("c")]);
}

#[test]
fn a_mark_that_somebody_gave_to_what_was_deleted_meanwhile_comes_back_with_it() {
    for expand in [Expand::None, Expand::Before, Expand::After, Expand::Both] {
        let (mut ada, mut ben) = pair("abcde");
        delete(&mut ben, 1, 3);
        ada.transact(0, |tx| tx.text("t").mark(2..3, "k", 1, expand)).0.unwrap();
        meet(&mut ada, &mut ben);
        assert_eq!(spans(&ada), [plain("ae")]);
        ben.undo(0).unwrap();
        assert_eq!(spans(&ben), [plain("ab"), marked("c", "k", 1), plain("de")], "{expand:?}");
    }
}

#[test]
fn a_mark_is_taken_back_from_text_that_came_back_at_different_times() {
    let mut doc = with(1, "abcdef");
    mark(&mut doc, 1..4, "colour", "red");
    mark(&mut doc, 4..5, "colour", "blue");
    for (pos, len) in [(2, 2), (3, 2), (1, 1), (0, 6)] {
        delete(&mut doc, pos, len);
        doc.undo(0).unwrap();
        let before = spans(&doc);
        mark(&mut doc, 0..6, "colour", "green");
        doc.undo(0).unwrap();
        assert_eq!(spans(&doc), before);
        doc.redo(0).unwrap();
        assert_eq!(spans(&doc), [marked("abcdef", "colour", "green")]);
        doc.undo(0).unwrap();
        let (red, blue) = (marked("bcd", "colour", "red"), marked("e", "colour", "blue"));
        assert_eq!(spans(&doc), [plain("a"), red, blue, plain("f")]);
    }
}

#[test]
fn a_link_that_comes_back_grows_at_neither_side() {
    let (_, mut doc) = pair("abcd");
    mark(&mut doc, 1..3, "link", "x");
    delete(&mut doc, 1, 2);
    doc.undo(0).unwrap();
    insert(&mut doc, 3, ">");
    insert(&mut doc, 1, "<");
    assert_eq!(spans(&doc), [plain("a<"), marked("bc", "link", "x"), plain(">d")]);
}

#[test]
fn undo_of_a_mark_over_one_value_writes_one_mark() {
    let mut doc = with(1, "abcdef");
    mark(&mut doc, 0..6, "colour", "red");
    mark(&mut doc, 1..5, "colour", "blue");
    let before = doc.version().get(PeerId(1));
    doc.undo(0).unwrap();
    assert_eq!(doc.version().get(PeerId(1)), before + 1);
    assert_eq!(spans(&doc), [marked("abcdef", "colour", "red")]);
}

#[test]
fn text_typed_in_front_of_what_was_still_there_is_in_the_link() {
    let (mut ada, mut ben) = pair("axc");
    mark(&mut ada, 0..3, "link", "y");
    delete(&mut ada, 2, 1);
    pull(&mut ben, &ada);
    delete(&mut ada, 1, 1);
    insert(&mut ben, 1, "-");
    meet(&mut ada, &mut ben);
    assert_eq!(spans(&ada), [marked("a-", "link", "y")]);
    insert(&mut ben, 2, "!");
    meet(&mut ada, &mut ben);
    assert_eq!(spans(&ada), [marked("a-", "link", "y"), plain("!")]);
}

#[test]
fn a_link_whose_end_was_deleted_before_the_history_does_not_go_on() {
    let (mut ada, mut ben) = pair("abcd");
    mark(&mut ada, 0..3, "link", "x");
    delete(&mut ada, 1, 2);
    pull(&mut ben, &ada);
    let all = ada.version().clone();
    for doc in [&mut ada, &mut ben] {
        doc.trim_history(&all).unwrap();
    }
    insert(&mut ada, 1, "!");
    insert(&mut ben, 1, "?");
    meet(&mut ada, &mut ben);
    assert_eq!(spans(&ada), [marked("a", "link", "x"), plain("!?d")]);
}

#[test]
fn undo_of_a_mark_writes_only_where_it_changes_something() {
    let mut doc = with(1, "abcdef");
    mark(&mut doc, 0..4, "bold", true);
    mark(&mut doc, 2..6, "bold", true);
    let written = |doc: &Doc| doc.version().get(doc.peer());
    let before = written(&doc);
    doc.undo(0).unwrap();
    assert_eq!((written(&doc), spans(&doc)), (before + 1, vec![bold("abcd"), plain("ef")]));
    let (_, mut doc) = pair("abc");
    mark(&mut doc, 0..2, "bold", Value::Null);
    let before = written(&doc);
    assert_eq!(doc.undo(0), None);
    assert_eq!((written(&doc), spans(&doc)), (before, vec![plain("abc")]));
}

#[test]
fn undo_of_a_mark_takes_it_from_what_an_undo_brought_back_before_and_leaves_other_marks_there() {
    let mut doc = with(1, "abcdef");
    mark(&mut doc, 2..4, "link", "x");
    delete(&mut doc, 2, 2);
    doc.undo(0).unwrap();
    let before = [plain("ab"), marked("cd", "link", "x"), plain("ef")];
    assert_eq!(spans(&doc), before);
    mark(&mut doc, 0..6, "bold", true);
    assert!(spans(&doc).iter().all(|(_, marks)| marks.iter().any(|(key, _)| &**key == "bold")));
    doc.undo(0).unwrap();
    assert_eq!(spans(&doc), before);
}

#[test]
fn what_is_typed_behind_a_mark_that_an_undo_put_in_the_place_of_a_growing_one_is_not_marked() {
    for (expand, marks) in [(Expand::None, 1), (Expand::After, 2)] {
        let mut doc = with(1, "abcd");
        for (value, expand) in [("x", Expand::None), ("y", expand)] {
            doc.transact(0, |tx| tx.text("t").mark(1..3, "k", value, expand)).0.unwrap();
        }
        let before = doc.version().get(doc.peer());
        doc.undo(0).unwrap();
        assert_eq!(doc.version().get(doc.peer()), before + marks);
        insert(&mut doc, 3, "!");
        assert_eq!(spans(&doc), [plain("a"), marked("bc", "k", "x"), plain("!d")]);
    }
}
