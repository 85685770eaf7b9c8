//! Blocks that no writer here makes: what they refer to was not there for their authors.

use std::sync::Arc;

use crate::block::{Block, BlockHeader};
use crate::cells::{CellOp, RowRef};
use crate::codec::{DecodeError, Reader, Writer};
use crate::container::{ContainerId, ContainerKind};
use crate::import::{ImportError, PENDING_BLOCKS_MAX};
use crate::op::{Action, Body, Op, POS_MAX};
use crate::stamp::Stamp;
use crate::text::{Anchor, RunKind};
use crate::value::{MAX_NESTING, Value};
use crate::{Doc, OpId, Patch, PeerId, RowId, VersionVector};

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

/// A mark by peer 9, which has seen peer 1's operations up to this one, from a character on.
fn mark_by(seen: u32, from: RowRef) -> Block {
    let deps = vec![OpId::new(PeerId(1), seen)];
    let header = BlockHeader { peer: PeerId(9), seq: 0, len: 1, stamp: Stamp(1 << 30), deps };
    let range = [Anchor::Before(from), Anchor::Edge];
    let action = Action::Cell(CellOp::Mark { key: 0, range, value: true.into() });
    let containers = vec![(ContainerKind::Text, ContainerId::root("c"))];
    let ops = vec![Op { container: 0, action }];
    Block::encode(header, &Body { containers, names: vec!["bold".into()], ops })
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
    assert_eq!(copy.blocks_since(doc.version()), std::slice::from_ref(block));
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
fn a_nested_table_of_somebody_else_is_kept_and_shows_nothing() {
    let map = ContainerId::root("c");
    let table = map.clone().entry("k");
    let row = RowRef::Stray(OpId::new(PeerId(9), 1));
    let nested = Some(Value::Container(ContainerKind::Table));
    let cells = [
        (0, CellOp::Put { key: 0, value: nested }),
        (1, CellOp::Insert { fields: vec![(1, 1.into())] }),
        (1, CellOp::Cell { row, field: 1, value: 2.into() }),
        (1, CellOp::Remove { row }),
        (1, CellOp::Restore { row, fields: vec![(1, 3.into())] }),
    ];
    let op = |(container, op)| Op { container, action: Action::Cell(op) };
    let header =
        BlockHeader { peer: PeerId(9), seq: 0, len: 5, stamp: Stamp(1 << 30), deps: Vec::new() };
    let body = Body {
        containers: vec![(ContainerKind::Map, map), (ContainerKind::Table, table.clone())],
        names: vec!["k".into(), "n".into()],
        ops: cells.map(op).into(),
    };
    let block = Block::encode(header, &body);

    let mut doc = Doc::new(PeerId(1));
    doc.transact(0, |tx| tx.map("c").set("other", 1));
    let patches = doc.import(1 << 40, [block.clone()]).unwrap().patches;
    let put = Patch::MapEntry { id: ContainerId::root("c"), key: "k".into() };
    assert_eq!(patches, [put], "of a table that nobody can ask for nothing is told");
    let everything = VersionVector::new();
    let mut copy = Doc::new(PeerId(2));
    copy.import_update(1 << 40, &doc.encode_update(&everything)).unwrap();
    let loaded = Doc::from_snapshot(PeerId(3), &doc.encode_snapshot()).unwrap();
    for doc in [&doc, &copy, &loaded, &doc.fork(PeerId(4))] {
        assert_eq!(doc.map("c").nested("k"), Some((ContainerKind::Table, table.clone())));
        assert_eq!(doc.roots().collect::<Vec<_>>(), [(ContainerKind::Map, "c")]);
        assert!(doc.blocks_since(&everything).contains(&block));
    }
    let shallow = doc.encode_shallow_snapshot(doc.version()).unwrap();
    let trimmed = Doc::from_shallow_snapshot(PeerId(5), &shallow).unwrap();
    assert_eq!(trimmed.map("c").nested("k"), Some((ContainerKind::Table, table)));
    assert_eq!(doc.diff(&everything, doc.version()).unwrap().len(), 2, "both of the map's keys");
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
fn a_mark_from_a_character_that_its_author_could_not_see_is_of_nothing() {
    let mut doc = Doc::new(PeerId(1));
    doc.transact(0, |tx| tx.text("c").insert(0, "abcd")).0.unwrap();
    (0..2).for_each(|_| doc.transact(0, |tx| tx.text("c").delete(1, 1)).0.unwrap());
    doc.transact(0, |tx| tx.text("c").insert(2, "e")).0.unwrap();
    let shown = |doc: &Doc| format!("{:?}", doc.text("c").spans());
    let char = |seq| RowRef::Stray(OpId::new(PeerId(1), seq));
    // It had seen that both were deleted, or only that the first was, or not the last letter.
    for (seen, from) in [(5, 1), (5, 2), (6, 1), (4, 1), (5, 6), (3, 7), (3, 4)] {
        assert_void(&doc, &mark_by(seen, char(from)), shown);
    }
    for (seen, from, text) in [(3, 1, "de"), (3, 2, "de"), (4, 2, "de"), (6, 6, "e"), (3, 0, "ade")]
    {
        let mut other = doc.fork(PeerId(7));
        other.import(1 << 40, [mark_by(seen, char(from))]).unwrap();
        let spans: Vec<_> = other.text("c").spans();
        let marked = spans.iter().filter(|span| !span.marks.is_empty());
        assert_eq!(marked.map(|span| &*span.text).collect::<String>(), text, "{seen} {from}");
    }
}

/// An addition by a peer, at this stamp, after these operations.
fn addition(peer: u64, stamp: u64, deps: &[(u64, u32)]) -> Block {
    let deps = deps.iter().map(|(peer, seq)| OpId::new(PeerId(*peer), *seq)).collect();
    let header = BlockHeader { peer: PeerId(peer), seq: 0, len: 1, stamp: Stamp(stamp), deps };
    let containers = vec![(ContainerKind::Counter, ContainerId::root("c"))];
    let ops = vec![Op { container: 0, action: Action::Cell(CellOp::Add(1)) }];
    Block::encode(header, &Body { containers, names: Vec::new(), ops })
}

#[test]
fn a_block_is_stamped_after_what_it_depends_on_wherever_that_is() {
    let (early, late) = (addition(3, 50, &[]), addition(9, 50, &[(3, 0)]));
    let refused = ImportError::Stamp { peer: PeerId(9), seq: 0 };
    let mut at_once = Doc::new(PeerId(1));
    assert_eq!(at_once.import(0, [late.clone(), early.clone()]).err(), Some(refused.clone()));
    assert!(at_once.version().is_empty());
    let mut known = Doc::new(PeerId(1));
    known.import(0, [early.clone()]).unwrap();
    assert_eq!(known.import(0, [late.clone()]).err(), Some(refused));
    // What waited and turns out unsound is left out, and the rest is taken in.
    let mut waited = Doc::new(PeerId(1));
    assert_eq!(waited.import(0, [late]).unwrap().pending, 1);
    let import = waited.import(0, [early]).unwrap();
    assert_eq!((import.pending, import.rejected), (0, vec![OpId::new(PeerId(9), 0)]));
    assert_eq!(waited.counter("c"), 1);
    let sound = addition(9, 51, &[(3, 0)]);
    assert!(Doc::new(PeerId(1)).import(0, [sound, addition(3, 50, &[])]).is_ok());
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
    let (key, none, value) = (Vec::new(), None, Value::Null);
    let fields = || vec![(1, Value::Null)];
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

/// What reading a body of these operations, about a container of this kind, says.
fn read_of(kind: ContainerKind, names: &[&str], ops: Vec<Action>) -> Result<(), DecodeError> {
    let names = names.iter().map(|name| Arc::from(*name)).collect();
    let ops: Vec<Op> = ops.into_iter().map(|action| Op { container: 0, action }).collect();
    read(Body { containers: vec![(kind, ContainerId::root("c"))], names, ops })
}

fn read(body: Body) -> Result<(), DecodeError> {
    let (peer, stamp) = (PeerId(9), Stamp(1));
    let len = body.ops.iter().map(Op::len).sum::<u32>().max(1);
    let header = BlockHeader { peer, seq: 0, len, stamp, deps: Vec::new() };
    Block::encode(header, &body).validate()
}

fn run(kind: RunKind, pos: u32, len: u32) -> Action {
    let content = if kind == RunKind::Insert { "x".repeat(len as usize) } else { String::new() };
    Action::Text { kind, pos, len, content: content.into() }
}

#[test]
fn runs_that_go_on_are_one_operation() {
    let text = |ops| read_of(ContainerKind::Text, &[], ops);
    let insert = |pos, len| run(RunKind::Insert, pos, len);
    let not_one = Err(DecodeError::Invalid("operation runs"));
    assert_eq!(text(vec![insert(0, 2)]), Ok(()));
    assert_eq!(text(vec![insert(0, 1), insert(5, 1)]), Ok(()));
    assert_eq!(text(vec![insert(0, 1), insert(1, 1)]), not_one);
    assert_eq!(text(vec![insert(0, 1), insert(5, 1), insert(6, 1)]), not_one);
    assert_eq!(text(vec![run(RunKind::Delete, 3, 1), run(RunKind::Delete, 3, 2)]), not_one);
}

#[test]
fn a_run_has_a_length_and_positions_that_there_can_be() {
    let text = |kind, pos, len| read_of(ContainerKind::Text, &[], vec![run(kind, pos, len)]);
    let nowhere = Err(DecodeError::Invalid("position"));
    for kind in [RunKind::Insert, RunKind::Delete] {
        assert_eq!(text(kind, 0, 1), Ok(()));
        assert_eq!(text(kind, POS_MAX - 2, 2), Ok(()));
        assert_eq!(text(kind, POS_MAX - 1, 2), nowhere);
    }
    assert_eq!(text(RunKind::Delete, POS_MAX, 2), nowhere);
    let empty = |kind| {
        let range = [Anchor::Edge, Anchor::Edge];
        let other = Action::Cell(CellOp::Mark { key: 0, range, value: true.into() });
        read_of(ContainerKind::Text, &["bold"], vec![other, run(kind, 0, 0)])
    };
    assert_eq!(empty(RunKind::Insert), nowhere);
    assert_eq!(empty(RunKind::Delete), nowhere);
    assert_eq!(text(RunKind::Backspace, 1, 2), Ok(()));
    assert_eq!(text(RunKind::Backspace, 5, 3), Ok(()));
    assert_eq!(text(RunKind::Backspace, 1, 3), nowhere);
    assert_eq!(text(RunKind::Backspace, 5, 1), nowhere);
}

#[test]
fn only_lists_have_moves_and_only_to_positions_that_there_can_be() {
    let element = RowRef::Stray(OpId::new(PeerId(1), 0));
    let moved = |kind, pos| read_of(kind, &[], vec![Action::Move { pos, element }]);
    let refused = Err(DecodeError::Invalid("operation kind"));
    assert_eq!(moved(ContainerKind::MovableList, POS_MAX - 1), Ok(()));
    assert_eq!(moved(ContainerKind::MovableList, POS_MAX), refused);
    assert_eq!(moved(ContainerKind::Text, 0), refused);
}

#[test]
fn operations_name_rows_by_id_and_fit_their_container() {
    let (id, known) = (RowRef::Stray(OpId::new(PeerId(1), 0)), RowRef::Known(0));
    let read = |kind, name: bool, op| {
        read_of(kind, if name { &["n"] } else { &[] }, vec![Action::Cell(op)])
    };
    let refused = Err(DecodeError::Invalid("operation kind"));
    let (table, list) = (ContainerKind::Table, ContainerKind::MovableList);
    type Make = fn(RowRef) -> CellOp;
    let cases: [(ContainerKind, bool, Make); 6] = [
        (list, false, |element| CellOp::Replace { element, value: true.into() }),
        (table, true, |row| CellOp::Restore { row, fields: vec![(0, true.into())] }),
        (table, true, |row| CellOp::Cell { row, field: 0, value: true.into() }),
        (table, false, |row| CellOp::Remove { row }),
        (ContainerKind::Tree, false, |row| CellOp::Remove { row }),
        (ContainerKind::Tree, false, |node| CellOp::Place { node, parent: None, key: vec![0x40] }),
    ];
    for (kind, name, make) in cases {
        assert_eq!(read(kind, name, make(id)), Ok(()));
        assert_eq!(read(kind, name, make(known)), refused);
        assert_eq!(read(ContainerKind::Map, name, make(id)), refused);
    }
    let mark = |start| {
        let range = [start, Anchor::Edge];
        CellOp::Mark { key: 0, range, value: true.into() }
    };
    let anchor = Anchor::Before;
    assert_eq!(read(ContainerKind::Text, true, mark(anchor(id))), Ok(()));
    assert_eq!(read(ContainerKind::Text, true, mark(anchor(known))), refused);
    assert_eq!(read(ContainerKind::Map, true, mark(anchor(id))), refused);
}

#[test]
fn containers_and_names_are_distinct_and_all_used() {
    let put = |key| CellOp::Put { key, value: None };
    let map = |name: &str| (ContainerKind::Map, ContainerId::root(name));
    let of = |containers: &[&str], names: &[&str], ops: &[(usize, u32)]| {
        let op = |(container, key): &(usize, u32)| Op {
            container: *container,
            action: Action::Cell(put(*key)),
        };
        read(Body {
            containers: containers.iter().map(|name| map(name)).collect(),
            names: names.iter().map(|name| Arc::from(*name)).collect(),
            ops: ops.iter().map(op).collect(),
        })
    };
    assert_eq!(of(&["a", "b"], &["k", "l"], &[(0, 0), (1, 1), (0, 1)]), Ok(()));
    let unsound = Err(DecodeError::Invalid("names or containers"));
    assert_eq!(of(&["a", "b"], &["k"], &[(0, 0)]), unsound);
    assert_eq!(of(&["a"], &["k", "l"], &[(0, 0)]), unsound);
    assert_eq!(of(&["a", "a"], &["k"], &[(0, 0), (1, 0)]), unsound);
    assert_eq!(of(&["a"], &["k", "k"], &[(0, 0), (0, 1)]), unsound);
    assert_eq!(
        of(&["a", "b"], &["k"], &[(1, 0), (0, 0)]),
        Err(DecodeError::Invalid("container order"))
    );
    assert_eq!(of(&["a"], &["k", "l"], &[(0, 1), (0, 0)]), Err(DecodeError::Invalid("name order")));
}

#[test]
fn a_container_is_named_at_most_so_deep_and_is_of_a_known_kind() {
    let read = |steps: usize| {
        let mut out = Writer::new();
        out.len(steps);
        out.u8(0);
        out.str("m");
        (0..steps).for_each(|_| out.raw(&[0, 1, b'k']));
        Reader::new(out.as_slice()).read(ContainerId::decode).map(drop)
    };
    assert_eq!(read(MAX_NESTING), Ok(()));
    assert_eq!(read(MAX_NESTING + 1), Err(DecodeError::TooDeep));
    let kind = |code: u8| Reader::new(&[code]).read(ContainerKind::decode);
    assert_eq!((0..8).filter(|code| kind(*code).is_ok()).count(), 8);
    for code in 8..16 {
        assert_eq!(kind(code), Err(DecodeError::Invalid("container kind")));
    }
    assert_eq!(kind(16), Ok(ContainerKind::Unknown(16)));
}
