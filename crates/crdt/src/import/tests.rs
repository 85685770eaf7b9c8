//! Blocks of one edit are taken in as others are.

use proptest::prelude::*;

use super::*;
use crate::block::BlockHeader;
use crate::container::ContainerId;
use crate::op::Op;
use crate::stamp::{STAMP_END, Stamp};

/// What a peer does to the text: whether it has seen all, where, how many it deletes back or on, or
/// what it inserts.
type Step = (u64, bool, u32, u32, u32, String);

/// A block of one edit, which may be past the end of the text.
fn block(doc: &Doc, step: &Step, stamp: u64) -> Block {
    let (peer, sees_all, kind, pos, len, text) = step;
    let (kind, len, content) = match kind {
        0 => (RunKind::Delete, *len, ""),
        1 => (RunKind::Backspace, (len + 1).min(pos + 1).max(2), ""),
        _ => (RunKind::Insert, text.chars().count() as u32, text.as_str()),
    };
    let pos = (*pos).max(1);
    let action = Action::Text { kind, pos, len, content: content.into() };
    let containers = vec![(ContainerKind::Text, ContainerId::root("t"))];
    let body = Body { containers, names: Vec::new(), ops: vec![Op { container: 0, action }] };
    let (peer, graph) = (PeerId(*peer), &doc.history().graph);
    let heads = graph.heads().iter().filter(|_| *sees_all).map(|head| graph.id_of(*head));
    let mut deps: Vec<OpId> = heads.filter(|head| head.peer != peer).collect();
    sort(&mut deps);
    let seq = doc.version().get(peer);
    Block::encode(BlockHeader { peer, seq, len, stamp: Stamp(stamp), deps }, &body)
}

#[test]
fn what_comes_at_once_is_stamped_above_what_it_depends_on_however_far_back_that_is() {
    let mut source = Doc::new(PeerId(1));
    for wall_ms in [10, 20, 30] {
        source.transact(wall_ms, |tx| {
            tx.register("r").set(1);
            tx.register("r").set(2);
        });
    }
    let blocks = source.blocks_since(&VersionVector::new());
    for (seq, dep) in (0..6).map(|seq| (seq, OpId::new(PeerId(1), seq))) {
        let depended_on = blocks[seq as usize / 2].header().stamp.plus(seq % 2);
        for above in [0, 1] {
            let header = BlockHeader {
                peer: PeerId(2),
                seq: 0,
                len: 1,
                stamp: depended_on.plus(above),
                deps: vec![dep],
            };
            let action = Action::Cell(CellOp::Set(3.into()));
            let containers = vec![(ContainerKind::Register, ContainerId::root("r"))];
            let body =
                Body { containers, names: Vec::new(), ops: vec![Op { container: 0, action }] };
            let last = Block::encode(header, &body);
            let all = blocks.iter().cloned().chain([last]);
            let result =
                Doc::new(PeerId(3)).import(1 << 40, all).map(|import| import.applied.len());
            let early = ImportError::Stamp { peer: PeerId(2), seq: 0 };
            assert_eq!(result, if above == 1 { Ok(4) } else { Err(early) }, "after {seq}");
        }
    }
}

proptest! {
    #[test]
    fn a_block_of_one_edit_is_taken_in_as_others_are(
        steps in prop::collection::vec(
            (1u64..4, any::<bool>(), 0u32..5, 0u32..12, 1u32..4, "[a-zé]{1,4}"), 1..40),
    ) {
        let (mut fast, mut slow) = (Doc::new(PeerId(8)), Doc::new(PeerId(8)));
        for (at, step) in steps.iter().enumerate() {
            let block = block(&fast, step, at as u64 * 10);
            prop_assert!(Edit::read(block.body_bytes(), block.header().len).is_some());
            let taken = fast.import(0, [block.clone()]).unwrap();
            let body = slow.check(&block, slow.version(), None).unwrap();
            let mut import = Import::default();
            slow.commit(vec![(block, body)], &mut import);
            prop_assert_eq!(taken.patches, import.patches);
            prop_assert_eq!(taken.applied, import.applied);
            prop_assert_eq!(fast.text("t").to_string(), slow.text("t").to_string());
        }
        let none = VersionVector::new();
        prop_assert_eq!(fast.encode_update(&none), slow.encode_update(&none));
        prop_assert_eq!(fast.encode_snapshot(), slow.encode_snapshot());
        prop_assert_eq!(fast.text("t").authors(), slow.text("t").authors());
    }

    /// A block that is refused leaves nothing behind.
    #[test]
    fn a_block_of_one_edit_that_is_stamped_too_early_is_refused(
        steps in prop::collection::vec(
            (1u64..4, any::<bool>(), 0u32..5, 0u32..12, 1u32..4, "[a-zé]{1,4}"), 2..10),
    ) {
        let mut doc = Doc::new(PeerId(8));
        for (at, step) in steps.iter().enumerate() {
            let block = block(&doc, step, at as u64 * 10 + 100);
            doc.import(0, [block]).unwrap();
        }
        let before = doc.encode_snapshot();
        let (_, _, kind, pos, len, text) = steps[0].clone();
        let early = block(&doc, &(steps[1].0, true, kind, pos, len, text), 0);
        let refused = doc.import(0, [early]);
        let is_early = matches!(refused, Err(ImportError::Stamp { .. }));
        prop_assert!(is_early);
        prop_assert_eq!(doc.encode_snapshot(), before);
    }
}

/// A block of one addition, stamped by the last stamp there is.
fn last_of_all() -> Block {
    let mut doc = Doc::new(PeerId(1));
    let commit = doc.transact(0, |tx| tx.counter("c").add(1)).1.expect("a change");
    let block = doc.block(&commit);
    let header = BlockHeader { stamp: Stamp(STAMP_END - 1), ..block.header().clone() };
    Block::encode(header, &block.body().unwrap())
}

#[test]
fn what_is_stamped_at_the_end_of_time_is_never_taken_in() {
    let mut doc = Doc::new(PeerId(2));
    assert!(doc.import(u64::MAX, [last_of_all()]).unwrap().applied.is_empty());
    assert_eq!(doc.pending_count(), 1);
    doc.transact(u64::MAX, |tx| tx.counter("c").add(2));
    assert_eq!(doc.fork(PeerId(3)).counter("c"), 2);
}

#[test]
fn a_document_whose_stamps_are_used_up_can_be_changed_and_saved() {
    let mut doc = Doc::new(PeerId(2));
    let block = last_of_all();
    let body = block.body().unwrap();
    doc.commit(vec![(block, body)], &mut Import::default());
    for _ in 0..3 {
        doc.transact(u64::MAX, |tx| tx.counter("c").add(2));
        assert_eq!(doc.fork(PeerId(3)).counter("c"), doc.counter("c"));
    }
    assert_eq!(doc.counter("c"), 7);
}
