//! Trees: what merges into what, by name.

use leptos_sync_crdt::{
    Block, ContainerId, ContainerKind, DecodeError, Doc, ImportError, NodeId, OpId, Patch, PeerId,
    TreeChange, TreeError,
};

const TREE: &str = "outline";

fn sync(a: &mut Doc, b: &mut Doc) {
    a.import(1 << 40, b.blocks_since(a.version())).unwrap();
    b.import(1 << 40, a.blocks_since(b.version())).unwrap();
    assert_eq!(a.version(), b.version());
}

fn create(doc: &mut Doc, parent: Option<NodeId>, index: usize) -> NodeId {
    doc.transact(0, |tx| tx.tree(TREE).create(parent, index)).0.unwrap()
}

fn move_to(doc: &mut Doc, wall_ms: u64, node: NodeId, parent: Option<NodeId>, index: usize) {
    doc.transact(wall_ms, |tx| tx.tree(TREE).move_to(node, parent, index)).0.unwrap();
}

fn remove(doc: &mut Doc, wall_ms: u64, node: NodeId) {
    doc.transact(wall_ms, |tx| tx.tree(TREE).remove(node)).0.unwrap();
}

fn shown(doc: &Doc) -> Vec<(usize, NodeId)> {
    doc.tree(TREE).walk().collect()
}

/// Two replicas with three nodes at the top.
fn three() -> (Doc, Doc, [NodeId; 3]) {
    let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
    let nodes = [0, 1, 2].map(|index| create(&mut ada, None, index));
    sync(&mut ada, &mut ben);
    (ada, ben, nodes)
}

#[test]
fn of_concurrent_moves_that_would_form_a_cycle_the_earlier_one_holds() {
    let (mut ada, mut ben, [a, b, c]) = three();
    move_to(&mut ada, 90_000, a, Some(b), 0);
    move_to(&mut ben, 10_000, b, Some(a), 0);
    sync(&mut ada, &mut ben);
    for doc in [&ada, &ben] {
        assert_eq!(shown(doc), [(0, a), (1, b), (0, c)]);
    }
}

#[test]
fn a_cycle_of_three_moves_is_broken_where_it_would_close() {
    let (mut ada, mut ben, [a, b, c]) = three();
    let mut cy = Doc::new(PeerId(3));
    sync(&mut ben, &mut cy);
    move_to(&mut ada, 10_000, a, Some(b), 0);
    move_to(&mut ben, 20_000, b, Some(c), 0);
    move_to(&mut cy, 30_000, c, Some(a), 0);
    for _ in 0..2 {
        sync(&mut ada, &mut ben);
        sync(&mut ben, &mut cy);
    }
    for doc in [&ada, &ben, &cy] {
        assert_eq!(shown(doc), [(0, c), (1, b), (2, a)]);
    }
}

#[test]
fn a_node_moved_by_two_people_at_once_is_where_the_later_one_put_it() {
    let (mut ada, mut ben, [a, b, c]) = three();
    move_to(&mut ada, 90_000, a, Some(b), 0);
    move_to(&mut ben, 10_000, a, Some(c), 0);
    sync(&mut ada, &mut ben);
    for doc in [&ada, &ben] {
        assert_eq!(shown(doc), [(0, b), (1, a), (0, c)]);
    }
}

#[test]
fn a_move_that_is_overruled_already_changes_nothing() {
    let (mut ada, mut ben, [a, b, c]) = three();
    move_to(&mut ada, 9_000, c, Some(a), 0);
    move_to(&mut ben, 0, c, Some(b), 0);
    let before = shown(&ada);
    let import = ada.import(1 << 40, ben.blocks_since(ada.version())).unwrap();
    assert_eq!((import.patches, shown(&ada)), (vec![], before));
}

#[test]
fn of_a_removal_and_a_move_at_once_the_later_one_holds() {
    for (removal, moved, expected) in [(10_000, 90_000, true), (90_000, 10_000, false)] {
        let (mut ada, mut ben, [a, b, _]) = three();
        remove(&mut ada, removal, a);
        move_to(&mut ben, moved, a, Some(b), 0);
        sync(&mut ada, &mut ben);
        for doc in [&ada, &ben] {
            assert_eq!(doc.tree(TREE).contains(a), expected);
        }
    }
}

#[test]
fn what_is_put_below_a_node_while_it_is_removed_goes_and_comes_back_with_it() {
    let (mut ada, mut ben, [a, b, c]) = three();
    remove(&mut ada, 0, a);
    move_to(&mut ben, 0, b, Some(a), 0);
    sync(&mut ada, &mut ben);
    assert_eq!(shown(&ben), [(0, c)]);
    ada.undo(0).unwrap();
    sync(&mut ada, &mut ben);
    for doc in [&ada, &ben] {
        assert_eq!(shown(doc), [(0, a), (1, b), (0, c)]);
    }
}

#[test]
fn nodes_put_in_one_place_at_once_are_ordered_by_node_and_have_room_between_them() {
    let (mut ada, mut ben, [a, b, c]) = three();
    let first = create(&mut ada, None, 1);
    let second = create(&mut ben, None, 1);
    sync(&mut ada, &mut ben);
    let between = create(&mut ben, None, 2);
    let again = create(&mut ben, None, 2);
    sync(&mut ada, &mut ben);
    for doc in [&ada, &ben] {
        assert_eq!(doc.tree(TREE).roots(), [a, first, again, between, second, b, c]);
    }
}

#[test]
fn undoing_a_move_leaves_a_later_move_of_somebody_else_alone() {
    let (mut ben, mut ada, [a, b, c]) = three();
    move_to(&mut ada, 0, a, Some(b), 0);
    sync(&mut ada, &mut ben);
    move_to(&mut ben, 0, a, Some(c), 0);
    sync(&mut ada, &mut ben);
    ada.undo(0);
    assert_eq!(ada.tree(TREE).parent(a), Some(c));
}

#[test]
fn undo_makes_no_cycle_with_what_somebody_else_moved_meanwhile() {
    let (mut ben, mut ada, [a, b, c]) = three();
    move_to(&mut ben, 0, a, Some(b), 0);
    sync(&mut ada, &mut ben);
    move_to(&mut ada, 0, a, None, 0);
    sync(&mut ada, &mut ben);
    move_to(&mut ben, 0, b, Some(a), 0);
    sync(&mut ada, &mut ben);
    // It cannot go back below b, which is below it now.
    assert_eq!(ada.undo(0), None);
    assert_eq!(shown(&ada), [(0, a), (1, b), (0, c)]);
}

#[test]
fn undo_and_redo_put_a_removed_branch_back_and_take_it_out_again() {
    let (mut ada, _, [a, b, c]) = three();
    move_to(&mut ada, 0, b, Some(a), 0);
    remove(&mut ada, 0, a);
    assert_eq!((shown(&ada), ada.tree(TREE).len()), (vec![(0, c)], 1));
    ada.undo(0).unwrap();
    assert_eq!(shown(&ada), [(0, a), (1, b), (0, c)]);
    ada.redo(0).unwrap();
    assert_eq!(shown(&ada), [(0, c)]);
}

#[test]
fn an_edit_that_cannot_be_is_refused_and_changes_nothing() {
    let (mut ada, _, [a, b, c]) = three();
    move_to(&mut ada, 0, b, Some(a), 0);
    let before = shown(&ada);
    let nobody = NodeId(OpId::new(PeerId(9), 0));
    let (refused, commit) = ada.transact(0, |tx| {
        let mut tree = tx.tree(TREE);
        [
            tree.move_to(a, Some(b), 0),
            tree.move_to(a, Some(a), 0),
            tree.move_to(c, None, 2),
            tree.move_to(nobody, None, 0),
            tree.remove(nobody),
            tree.create(Some(nobody), 0).map(drop),
            tree.create(Some(a), 2).map(drop),
        ]
    });
    let out_of_range = |index, len| Err(TreeError::OutOfRange { index, len });
    let unknown = Err(TreeError::Unknown(nobody));
    let cycle = Err(TreeError::Cycle);
    let expected =
        [cycle, cycle, out_of_range(2, 1), unknown, unknown, unknown, out_of_range(2, 1)];
    assert_eq!((refused, commit), (expected, None));
    remove(&mut ada, 0, a);
    let (below_removed, _) = ada.transact(0, |tx| tx.tree(TREE).create(Some(a), 0));
    assert_eq!(below_removed, Err(TreeError::Unknown(a)));
    ada.undo(0);
    assert_eq!(shown(&ada), before);
}

#[test]
fn patches_name_the_node_its_new_parent_and_its_place() {
    let (mut ada, mut ben, [a, b, c]) = three();
    let (_, commit) = ada.transact(0, |tx| tx.tree(TREE).move_to(a, Some(c), 0));
    let id = ContainerId::root(TREE);
    let changes = vec![TreeChange::Placed { node: a, parent: Some(c), index: 0 }];
    let expected = Patch::Tree { id: id.clone(), changes };
    assert_eq!(ada.patches(&commit.unwrap()), std::slice::from_ref(&expected));
    let import = ben.import(0, ada.blocks_since(ben.version())).unwrap();
    assert_eq!(import.patches, [expected]);

    remove(&mut ada, 0, c);
    let import = ben.import(0, ada.blocks_since(ben.version())).unwrap();
    let changes = vec![TreeChange::Removed { node: c }];
    assert_eq!(import.patches, [Patch::Tree { id: id.clone(), changes }]);

    ada.undo(0);
    let import = ben.import(0, ada.blocks_since(ben.version())).unwrap();
    let changes = vec![
        TreeChange::Placed { node: c, parent: None, index: 1 },
        TreeChange::Placed { node: a, parent: Some(c), index: 0 },
    ];
    assert_eq!(import.patches, [Patch::Tree { id, changes }]);
    assert_eq!(shown(&ben), [(0, b), (0, c), (1, a)]);
}

#[test]
fn a_tree_goes_through_updates_and_snapshots_with_what_its_nodes_hold() {
    let (mut ada, mut ben, [a, b, c]) = three();
    let fields = ContainerId::root(TREE).element(a.0);
    let (typed, _) = ada.transact(0, |tx| {
        let body = tx.map(&fields).nest("body", ContainerKind::Text);
        tx.text(&body).insert(0, "deep")
    });
    typed.unwrap();
    move_to(&mut ada, 0, a, Some(c), 0);
    ben.import_update(1 << 40, &ada.encode_update(ben.version())).unwrap();
    let mut reloaded = Doc::from_snapshot(PeerId(3), &ben.encode_snapshot()).unwrap();
    assert_eq!(shown(&reloaded), [(0, b), (0, c), (1, a)]);

    // It goes on merging: an earlier move arrives after the snapshot was taken.
    move_to(&mut ada, 1_000, b, Some(a), 0);
    let later = ada.blocks_since(reloaded.version());
    move_to(&mut reloaded, 60_000, c, Some(b), 0);
    reloaded.import(1 << 40, later).unwrap();
    sync(&mut ada, &mut reloaded);
    for doc in [&ada, &reloaded] {
        assert_eq!(shown(doc), [(0, c), (1, a), (2, b)]);
        let (_, body) = doc.map(&fields).nested("body").unwrap();
        assert_eq!(doc.text(&body).to_string(), "deep");
        assert_eq!(doc.roots().collect::<Vec<_>>(), [(ContainerKind::Tree, TREE)]);
    }
    assert_eq!(ada.blocks_since(&Default::default()).len(), 7);
}

/// A block of peer 7 without dependencies, with these operations on the tree.
fn block(count: u8, operations: &[u8]) -> Result<Block, DecodeError> {
    let mut bytes = vec![1, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, count, 5, 0];
    // One container: a tree at the top called `outline`; no names; then the operations.
    bytes.extend([1, 7, 0, 0, 7]);
    bytes.extend(TREE.as_bytes());
    bytes.extend([0, count]);
    bytes.extend(operations);
    let checksum = xxhash_rust::xxh32::xxh32(&bytes, 0);
    bytes.extend(checksum.to_le_bytes());
    Block::parse(bytes)
}

const CREATE: u8 = 11;
const PLACE: u8 = 12;
const REMOVE: u8 = 5;

/// A node of peer 7, as operations name it.
fn named(seq: u8) -> [u8; 10] {
    [0, 7, 0, 0, 0, 0, 0, 0, 0, seq]
}

#[test]
fn moves_below_or_of_what_their_author_cannot_know_have_no_effect() {
    let at_top = [0, CREATE, 1, 128, 0];
    let below = |seq| [&[0, CREATE, 1, 128, 1], &named(seq)[..]].concat();
    let to = |node, parent| [&[0, PLACE], &named(node)[..], &[1, 128, 1], &named(parent)].concat();
    let removal = |node| [&[0, REMOVE], &named(node)[..]].concat();
    let operations = [
        at_top.to_vec(),
        below(99),
        below(2),
        to(0, 0),
        to(0, 99),
        to(99, 0),
        to(0, 7),
        removal(8),
    ];
    let block = block(8, &operations.concat()).unwrap();
    let mut doc = Doc::new(PeerId(1));
    doc.import(0, [block.clone()]).unwrap();
    let node = |seq| NodeId(OpId::new(PeerId(7), seq));
    assert_eq!(shown(&doc), [(0, node(0))]);
    // What was created below nothing is there to be moved, and all of it is passed on as it came.
    move_to(&mut doc, 0, node(1), Some(node(0)), 0);
    let doc = Doc::from_snapshot(PeerId(1), &doc.encode_snapshot()).unwrap();
    assert_eq!(shown(&doc), [(0, node(0)), (1, node(1))]);
    assert_eq!(doc.blocks_since(&Default::default())[0], block);
    let mut other = Doc::new(PeerId(2));
    other.import_update(1 << 40, &doc.encode_update(other.version())).unwrap();
    assert_eq!(shown(&other), shown(&doc));
}

#[test]
fn keys_and_operations_that_no_replica_writes_are_refused() {
    let refused = |operation: &[u8]| {
        let result = block(1, operation).map(|block| Doc::new(PeerId(1)).import(0, [block]));
        matches!(result, Err(_) | Ok(Err(ImportError::Decode { .. })))
    };
    assert!(!refused(&[0, CREATE, 1, 128, 0]));
    for key in [&[0][..], &[1, 0], &[1, 1], &[2, 128, 0], &[2, 128, 1], &[3, 128, 0, 9]] {
        assert!(refused(&[&[0, CREATE], key, &[0]].concat()), "{key:?}");
    }
    // A parent by place instead of by id, a flag that is none, an operation of tables and lists.
    assert!(refused(&[0, CREATE, 1, 128, 1, 1]));
    assert!(refused(&[0, CREATE, 1, 128, 2]));
    assert!(refused(&[0, 3, 0]));
    assert!(refused(&[[0, 8].as_slice(), &named(0)].concat()));
}

#[test]
fn a_deep_tree_is_moved_walked_and_dropped_without_recursion() {
    let mut doc = Doc::new(PeerId(1));
    let (nodes, _) = doc.transact(0, |tx| {
        let mut tree = tx.tree(TREE);
        let mut nodes = vec![tree.create(None, 0).unwrap()];
        for _ in 1..3_000 {
            nodes.push(tree.create(nodes.last().copied(), 0).unwrap());
        }
        nodes
    });
    let (first, last) = (nodes[0], nodes[2_999]);
    let (cycle, _) = doc.transact(0, |tx| tx.tree(TREE).move_to(first, Some(last), 0));
    assert_eq!(cycle, Err(TreeError::Cycle));
    let mut other = Doc::new(PeerId(2));
    let import = other.import(1 << 40, doc.blocks_since(other.version())).unwrap();
    assert!(matches!(&import.patches[..], [Patch::Tree { changes, .. }] if changes.len() == 3_000));
    assert_eq!(shown(&other).last(), Some(&(2_999, last)));
}

#[test]
fn undo_puts_a_node_back_below_what_others_made_but_not_below_what_they_removed() {
    let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
    let top = create(&mut ben, None, 0);
    let other = create(&mut ben, None, 1);
    let below = create(&mut ben, Some(top), 0);
    let node = create(&mut ben, Some(below), 0);
    sync(&mut ada, &mut ben);
    let parent = |doc: &Doc| doc.tree(TREE).parent(node);
    move_to(&mut ada, 1_000, node, Some(other), 0);
    ada.undo(1_000).unwrap();
    assert_eq!(parent(&ada), Some(below));
    ada.redo(1_000).unwrap();
    assert_eq!(parent(&ada), Some(other));
    sync(&mut ada, &mut ben);
    // With what is above it, it would be gone.
    remove(&mut ben, 2_000, top);
    sync(&mut ada, &mut ben);
    assert_eq!(ada.undo(3_000), None);
    assert_eq!(parent(&ada), Some(other));
    assert_eq!(shown(&ada), [(0, other), (1, node)]);
}

#[test]
fn undo_of_a_move_back_to_where_a_node_is_already_writes_nothing() {
    let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
    let [one, two] = [0, 1].map(|index| create(&mut ben, None, index));
    sync(&mut ada, &mut ben);
    move_to(&mut ada, 1_000, two, Some(one), 0);
    ada.undo(2_000).unwrap();
    let before = ada.version().clone();
    assert_eq!(ada.undo(3_000), None);
    assert_eq!(ada.version(), &before);
    assert_eq!(shown(&ada), [(0, one), (0, two)]);
}

#[test]
fn a_node_that_two_people_remove_goes_once() {
    let (mut ada, mut ben, [a, _, c]) = three();
    remove(&mut ada, 1_000, a);
    remove(&mut ben, 2_000, a);
    remove(&mut ben, 2_000, c);
    let patches = ada.import(1 << 40, ben.blocks_since(ada.version())).unwrap().patches;
    let changes = vec![TreeChange::Removed { node: c }];
    assert_eq!(patches, [Patch::Tree { id: ContainerId::root(TREE), changes }]);
    assert_eq!(ben.import(1 << 40, ada.blocks_since(ben.version())).unwrap().patches, []);
}

#[test]
fn undo_of_a_move_among_siblings_puts_the_node_back() {
    let (mut ada, _, [a, b, c]) = three();
    for (node, index) in [(c, 0), (a, 2), (b, 0), (b, 2)] {
        move_to(&mut ada, 9_000, node, None, index);
        assert_eq!(ada.tree(TREE).index_of(node), Some(index));
        ada.undo(9_000).unwrap();
        assert_eq!(shown(&ada), [(0, a), (0, b), (0, c)]);
    }
}

#[test]
fn moves_are_written_again_on_a_trimmed_document_as_far_as_they_have_an_effect() {
    let (mut ada, mut ben, [a, b, c]) = three();
    move_to(&mut ada, 0, b, Some(a), 0);
    let all = ada.version().clone();
    ada.trim_history(&all).unwrap();
    for (node, parent) in [(c, Some(a)), (c, None), (c, Some(b)), (a, Some(b)), (a, Some(c))] {
        move_to(&mut ben, 9_000, node, parent, 0);
    }
    remove(&mut ben, 9_000, b);
    let before = ben.blocks_since(&all).len();
    let rebased = ben.rebase(9_000, &ada.encode_snapshot(), PeerId(3)).unwrap();
    // Of the moves, those of a node that is here below what is below it now are left out.
    assert_eq!((before, rebased.blocks.len()), (6, 4));
    assert_eq!(shown(&rebased.doc), [(0, a)]);
    ada.import(9_000, rebased.blocks).unwrap();
    assert_eq!(shown(&ada), [(0, a)]);
}

#[test]
fn what_names_nothing_is_not_written_again_on_a_trimmed_document() {
    let (mut ada, mut ben, _) = three();
    let removal = [&[0, REMOVE], &named(8)[..]].concat();
    ben.import(0, [block(1, &removal).unwrap()]).unwrap();
    let all = ada.version().clone();
    ada.trim_history(&all).unwrap();
    let rebased = ben.rebase(0, &ada.encode_snapshot(), PeerId(3)).unwrap();
    assert_eq!((rebased.blocks, shown(&rebased.doc)), (vec![], shown(&ada)));
}
