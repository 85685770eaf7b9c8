//! Lists and nested containers: what merges into what, by name.

use leptos_sync_crdt::{
    ContainerId, ContainerKind, Doc, ListDelta, ListError, Patch, PeerId, Value,
};

fn pair() -> (Doc, Doc) {
    (Doc::new(PeerId(1)), Doc::new(PeerId(2)))
}

fn sync(a: &mut Doc, b: &mut Doc) {
    a.import(1 << 40, b.blocks_since(a.version())).unwrap();
    b.import(1 << 40, a.blocks_since(b.version())).unwrap();
    assert_eq!(a.version(), b.version());
}

fn todo(doc: &Doc) -> String {
    let shown = doc.movable_list("todo").iter().map(|value| match value {
        Value::String(text) => text,
        other => format!("{other:?}"),
    });
    shown.collect::<Vec<_>>().join(" ")
}

fn abc() -> (Doc, Doc) {
    let (mut ada, mut ben) = pair();
    ada.transact(0, |tx| tx.movable_list("todo").extend(["a", "b", "c"]));
    sync(&mut ada, &mut ben);
    (ada, ben)
}

#[test]
fn an_element_moved_by_two_people_at_once_is_there_once() {
    let (mut ada, mut ben) = abc();
    ada.transact(9_000, |tx| tx.movable_list("todo").move_to(0, 2)).0.unwrap();
    ben.transact(1_000, |tx| tx.movable_list("todo").move_to(0, 1)).0.unwrap();
    sync(&mut ada, &mut ben);
    assert_eq!((todo(&ada), todo(&ben)), ("b c a".into(), "b c a".into())); // the later move holds
}

#[test]
fn an_element_moved_while_someone_removes_it_stays() {
    let (mut ada, mut ben) = abc();
    ada.transact(0, |tx| tx.movable_list("todo").remove(0)).0.unwrap();
    ben.transact(0, |tx| tx.movable_list("todo").move_to(0, 2)).0.unwrap();
    sync(&mut ada, &mut ben);
    assert_eq!((todo(&ada), todo(&ben)), ("b c a".into(), "b c a".into()));
}

#[test]
fn what_is_removed_where_it_is_not_any_more_is_not_told() {
    let (mut ada, mut ben) = abc();
    ben.transact(0, |tx| tx.movable_list("todo").move_to(0, 2)).0.unwrap();
    let mut cem = ben.fork(PeerId(3));
    cem.transact(0, |tx| tx.movable_list("todo").remove(2)).0.unwrap();
    ada.transact(9_000, |tx| tx.movable_list("todo").move_to(0, 1)).0.unwrap();
    sync(&mut ada, &mut ben);
    assert_eq!(todo(&ada), "b a c");
    let import = ada.import(9_000, cem.blocks_since(ada.version())).unwrap();
    assert_eq!((import.patches, todo(&ada)), (vec![], "b a c".into()));
    let undone = ben.undo(9_000).unwrap();
    assert_eq!((ben.patches(&undone), todo(&ben)), (vec![], "b a c".into()));
}

#[test]
fn a_replaced_value_goes_with_its_element() {
    let (mut ada, mut ben) = abc();
    ada.transact(0, |tx| tx.movable_list("todo").move_to(0, 2)).0.unwrap();
    ben.transact(0, |tx| tx.movable_list("todo").set(0, "A")).0.unwrap();
    sync(&mut ada, &mut ben);
    assert_eq!((todo(&ada), todo(&ben)), ("b c A".into(), "b c A".into()));
}

#[test]
fn undoing_a_move_leaves_a_later_move_of_somebody_else_alone() {
    let (mut ben, mut ada) = abc();
    ada.transact(0, |tx| tx.movable_list("todo").move_to(0, 2)).0.unwrap();
    sync(&mut ada, &mut ben);
    ben.transact(0, |tx| tx.movable_list("todo").move_to(2, 1)).0.unwrap();
    sync(&mut ada, &mut ben);
    ada.undo(0);
    assert_eq!(todo(&ada), "b a c");
}

#[test]
fn undo_puts_a_removed_element_back_as_the_same_element() {
    let (mut ada, mut ben) = abc();
    let element = ada.movable_list("todo").element(1).unwrap();
    ada.transact(0, |tx| tx.movable_list("todo").remove(1)).0.unwrap();
    assert_eq!(ada.movable_list("todo").index_of(element), None);
    ada.undo(0).unwrap();
    sync(&mut ada, &mut ben);
    for doc in [&ada, &ben] {
        assert_eq!(todo(doc), "a b c");
        assert_eq!(doc.movable_list("todo").index_of(element), Some(1));
    }
}

#[test]
fn an_edit_past_the_end_is_refused_and_changes_nothing() {
    let (mut ada, _) = abc();
    let past = |index| Err(ListError::OutOfRange { index, len: 3 });
    let (edits, commit) = ada.transact(0, |tx| {
        let mut list = tx.movable_list("todo");
        [list.insert(4, "x"), list.remove(3), list.move_to(0, 3), list.set(9, "x")]
    });
    assert_eq!(edits, [past(4), past(3), past(3), past(9)]);
    assert!(commit.is_none());
    let (edit, _) = ada.transact(0, |tx| tx.movable_list("todo").remove_range(1, 3));
    assert_eq!(edit, past(3));
    assert_eq!(todo(&ada), "a b c");
}

#[test]
fn patches_say_which_element_holds_something_else() {
    let (mut ada, mut ben) = abc();
    ada.transact(0, |tx| tx.movable_list("todo").set(1, "B")).0.unwrap();
    let import = ben.import(0, ada.blocks_since(ben.version())).unwrap();
    let id = ContainerId::root("todo");
    assert_eq!(import.patches, [Patch::ListElement { id: id.clone(), index: 1 }]);
    let (_, commit) = ada.transact(0, |tx| tx.movable_list("todo").push("d"));
    let delta = vec![ListDelta::Retain(3), ListDelta::Insert(vec!["d".into()])];
    assert_eq!(
        ada.patches(&commit.unwrap()),
        [Patch::List { id, kind: ContainerKind::MovableList, delta }]
    );
}

#[test]
fn what_is_nested_in_an_element_goes_with_it_through_updates_and_snapshots() {
    let (mut ada, mut ben) = abc();
    let (card, _) = ada.transact(0, |tx| {
        let card = tx.movable_list("todo").nest(0, ContainerKind::Map).unwrap();
        let body = tx.map(&card).nest("body", ContainerKind::Text);
        tx.map(&card).set("colour", "red");
        tx.text(&body).insert(0, "deep").unwrap();
        card
    });
    ben.import_update(1 << 40, &ada.encode_update(ben.version())).unwrap();
    ben.transact(0, |tx| tx.movable_list("todo").move_to(0, 3)).0.unwrap();
    let reloaded = Doc::from_snapshot(PeerId(3), &ben.encode_snapshot()).unwrap();
    sync(&mut ada, &mut ben);
    for doc in [&ada, &ben, &reloaded] {
        assert_eq!(doc.movable_list("todo").nested(3), Some((ContainerKind::Map, card.clone())));
        let (kind, body) = doc.map(&card).nested("body").unwrap();
        assert_eq!((kind, doc.text(&body).to_string()), (ContainerKind::Text, "deep".to_owned()));
        assert_eq!(body.parent(), Some(&card));
    }
}

#[test]
#[should_panic(expected = "containers nest at most 64 deep")]
fn containers_do_not_nest_without_end() {
    let deep = (0..64).fold(ContainerId::root("m"), |id, _| id.entry("k"));
    let _ = deep.entry("k");
}

#[test]
fn a_kind_of_a_later_version_is_kept_and_passed_on() {
    // One operation of kind 200 on the root container `new`, as a later version would write it:
    // containers, names, operations; what is inside the operation is its own business.
    let body = [1, 200, 0, 0, 3, b'n', b'e', b'w', 0, 1, 0, 4, 9, 8, 7, 6];
    let mut bytes = vec![1, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 5, 0];
    bytes.extend(body);
    let checksum = xxhash_rust::xxh32::xxh32(&bytes, 0);
    bytes.extend(checksum.to_le_bytes());
    let block = leptos_sync_crdt::Block::parse(bytes).unwrap();

    let mut doc = Doc::new(PeerId(1));
    doc.import(0, [block.clone()]).unwrap();
    doc.transact(0, |tx| tx.text("x").insert(0, "mine")).0.unwrap();
    let doc = Doc::from_snapshot(PeerId(1), &doc.encode_snapshot()).unwrap();
    let mut other = Doc::new(PeerId(2));
    other.import_update(1 << 40, &doc.encode_update(other.version())).unwrap();
    for doc in [&doc, &other] {
        assert_eq!(doc.text("x").to_string(), "mine");
        let roots: Vec<_> = doc.roots().collect();
        assert!(roots.contains(&(ContainerKind::Unknown(200), "new")), "{roots:?}");
        assert_eq!(doc.blocks_since(&Default::default())[0], block);
    }
}
