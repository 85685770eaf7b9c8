//! Blocks that no writer here makes: what they refer to was not there for their authors.

use crate::block::{Block, BlockHeader};
use crate::cells::{CellOp, RowRef};
use crate::container::{ContainerId, ContainerKind};
use crate::import::{ImportError, PENDING_BLOCKS_MAX};
use crate::op::{Action, Body, Op};
use crate::stamp::Stamp;
use crate::{Doc, OpId, PeerId, RowId};

/// A block of one operation, by peer 9, which has seen nothing.
fn unseeing(kind: ContainerKind, action: Action) -> Block {
    let (peer, stamp) = (PeerId(9), Stamp(1 << 30));
    let header = BlockHeader { peer, seq: 0, len: 1, stamp, deps: Vec::new() };
    let containers = vec![(kind, ContainerId::root("c"))];
    let names = match &action {
        Action::Cell(CellOp::Cell { .. }) => vec!["n".into()],
        _ => Vec::new(),
    };
    Block::encode(header, &Body { containers, names, ops: vec![Op { container: 0, action }] })
}

/// Takes the block in, both as one and in an update, and checks that nothing comes of it.
fn assert_void(doc: &Doc, block: &Block, shown: impl Fn(&Doc) -> String) {
    let mut other = doc.fork(PeerId(7));
    other.import(1 << 40, [block.clone()]).unwrap();
    assert_eq!(shown(&other), shown(doc));
    let mut later = doc.fork(PeerId(8));
    let update = other.encode_update(doc.version());
    later.import_update(1 << 40, &update).unwrap();
    assert_eq!(shown(&later), shown(doc));
    let copy = Doc::from_snapshot(PeerId(8), &other.encode_snapshot()).unwrap();
    assert_eq!(shown(&copy), shown(doc));
    assert_eq!(copy.blocks_since(doc.version()), [block.clone()]);
}

#[test]
fn a_row_that_its_author_had_not_seen_is_left_alone() {
    let mut doc = Doc::new(PeerId(1));
    let row = doc.transact(0, |tx| tx.table("c").insert([("n", 1)])).0;
    let shown = |doc: &Doc| {
        format!("{:?}", doc.table("c").get(row, "n")) + &doc.table("c").len().to_string()
    };
    let row = RowRef::Stray(row.0);
    let value = 2.into();
    for op in [CellOp::Remove { row }, CellOp::Cell { row, field: 0, value }] {
        assert_void(&doc, &unseeing(ContainerKind::Table, Action::Cell(op)), shown);
    }
}

#[test]
fn an_element_that_its_author_had_not_seen_is_left_alone() {
    let mut doc = Doc::new(PeerId(1));
    doc.transact(0, |tx| tx.movable_list("c").extend(["a", "b", "c"]));
    let shown = |doc: &Doc| format!("{:?}", doc.movable_list("c").iter().collect::<Vec<_>>());
    let element = RowRef::Stray(OpId::new(PeerId(1), 1));
    let replace = CellOp::Replace { element, value: "X".into() };
    for action in [Action::Cell(replace), Action::Move { pos: 0, element }] {
        assert_void(&doc, &unseeing(ContainerKind::MovableList, action), shown);
    }
}

#[test]
fn a_node_that_its_author_had_not_seen_is_left_alone() {
    let mut doc = Doc::new(PeerId(1));
    doc.transact(0, |tx| {
        let top = tx.tree("c").create(None, 0).unwrap();
        tx.tree("c").create(Some(top), 0).unwrap();
    });
    let shown = |doc: &Doc| format!("{:?}", crate::tree::shown(doc, "c"));
    let node = RowRef::Stray(OpId::new(PeerId(1), 1));
    let place = CellOp::Place { node, parent: None, key: vec![0x40] };
    for op in [CellOp::Remove { row: node }, place] {
        assert_void(&doc, &unseeing(ContainerKind::Tree, Action::Cell(op)), shown);
    }
}

#[test]
fn only_so_many_blocks_wait() {
    let waiting = |count: usize| {
        let header = |seq| {
            let (peer, stamp) = (PeerId(9), Stamp(u64::from(seq)));
            BlockHeader { peer, seq, len: 1, stamp, deps: Vec::new() }
        };
        let containers = vec![(ContainerKind::Counter, ContainerId::root("c"))];
        let ops = vec![Op { container: 0, action: Action::Cell(CellOp::Add(1)) }];
        let body = Body { containers, names: Vec::new(), ops };
        let blocks = (1..=count as u32).map(|seq| Block::encode(header(seq), &body));
        Doc::new(PeerId(1)).import(0, blocks).map(|import| import.pending)
    };
    assert_eq!(waiting(PENDING_BLOCKS_MAX), Ok(PENDING_BLOCKS_MAX));
    assert_eq!(waiting(PENDING_BLOCKS_MAX + 1), Err(ImportError::TooManyPending));
}

#[test]
fn an_operation_fits_the_kind_of_its_container_and_the_names_there() {
    let kinds = [
        ContainerKind::Register,
        ContainerKind::Map,
        ContainerKind::Table,
        ContainerKind::Counter,
        ContainerKind::Text,
        ContainerKind::List,
        ContainerKind::MovableList,
        ContainerKind::Tree,
        ContainerKind::Unknown(77),
    ];
    let row = RowRef::Stray(OpId::new(PeerId(1), 0));
    let (key, none, value) = (Vec::new(), None, crate::Value::Null);
    let fields = || vec![(1, crate::Value::Null)];
    let ops: [(CellOp, &[usize], bool); 11] = [
        (CellOp::Set(value.clone()), &[0, 5, 6], false),
        (CellOp::Put { key: 1, value: None }, &[1], true),
        (CellOp::Insert { fields: fields() }, &[2], true),
        (CellOp::Restore { row, fields: fields() }, &[2], true),
        (CellOp::Cell { row, field: 1, value: value.clone() }, &[2], true),
        (CellOp::Remove { row }, &[2, 7], false),
        (CellOp::Add(1), &[3], false),
        (CellOp::Move { element: row }, &[5, 6], false),
        (CellOp::Replace { element: row, value }, &[5, 6], false),
        (CellOp::Create { parent: none, key: key.clone() }, &[7], false),
        (CellOp::Place { node: row, parent: none, key }, &[7], false),
    ];
    for (op, fitting, has_name) in ops {
        for (number, kind) in kinds.into_iter().enumerate() {
            assert_eq!(op.fits(kind, 2), fitting.contains(&number), "{op:?} in {kind:?}");
            assert_eq!(op.fits(kind, 1), fitting.contains(&number) && !has_name, "{op:?}");
        }
    }
}

#[test]
fn a_row_is_named_by_its_insertion_and_nothing_else() {
    let mut doc = Doc::new(PeerId(1));
    doc.transact(0, |tx| tx.counter("c").add(1));
    let row = RowId(OpId::new(PeerId(1), 0));
    assert!(!doc.table("c").knows(row));
    assert!(doc.transact(0, |tx| tx.table("c").remove(row)).0.is_err());
}
