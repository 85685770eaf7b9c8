//! Random histories of several peers, checked against the naive model.

mod checks;
mod steps;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::model::Model;
use crate::text::model::CharMarks;
use crate::{Block, Doc, Expand, Patch, PeerId, RowChange, VersionVector};

pub(crate) use checks::assert_is_model;
use checks::{Cell, View, cells, shown};
use steps::pull;
pub(crate) use steps::{Step, run, step};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(400)
    ))]

    /// Whatever several peers do, apart and together, all replicas equal the model of the blocks
    /// that they have, in the middle and at the end.
    #[test]
    fn replicas_equal_the_model_of_their_blocks(
        peers in 2usize..9,
        steps in prop::collection::vec((any::<prop::sample::Index>(), step(), 0u64..9_000), 1..60),
    ) {
        // Peer ids are not in the order of the replicas, so that ties are broken both ways.
        let mut docs: Vec<Doc> =
            (0..peers).map(|i| Doc::new(PeerId((i as u64 * 7 + 3) % 11))).collect();
        for (who, step, wall_ms) in &steps {
            run(&mut docs, who.index(peers), step, *wall_ms);
        }
        for doc in &docs {
            assert_is_model(doc, &Model::of(&doc.blocks_since(&VersionVector::new())));
        }
        while docs.iter().any(|doc| doc.version() != docs[0].version()) {
            for to in 0..peers {
                pull(&mut docs, to, (to + 1) % peers);
                pull(&mut docs, to, (to + 2) % peers);
            }
        }
        let all = docs[0].blocks_since(&VersionVector::new());
        let model = Model::of(&all);
        for doc in &docs {
            assert_is_model(doc, &model);
        }
    }

    /// Blocks may arrive in any order, more than once, and one by one.
    #[test]
    fn delivery_order_and_duplicates_do_not_matter(
        steps in prop::collection::vec((any::<prop::sample::Index>(), step(), 0u64..9_000), 1..40),
        order in Just([0..40, 0..40].into_iter().flatten().collect::<Vec<usize>>()).prop_shuffle(),
    ) {
        let mut docs: Vec<Doc> = (1..4).map(|i| Doc::new(PeerId(i))).collect();
        for (who, step, wall_ms) in &steps {
            run(&mut docs, who.index(3), step, *wall_ms);
        }
        let mut whole = Doc::new(PeerId(9));
        for doc in &docs {
            whole.import(u64::MAX >> 16, doc.blocks_since(&VersionVector::new())).unwrap();
        }
        let blocks: Vec<Block> = whole.blocks_since(&VersionVector::new());
        // A step makes one block at most, so all of them come, and each of them twice.
        let mut one_by_one = Doc::new(PeerId(8));
        for block in order.into_iter().filter_map(|at| blocks.get(at)) {
            one_by_one.import(u64::MAX >> 16, [block.clone()]).unwrap();
        }
        prop_assert_eq!(one_by_one.pending_count(), 0);
        prop_assert_eq!(one_by_one.version(), whole.version());
        let model = Model::of(&blocks);
        assert_is_model(&one_by_one, &model);
        assert_is_model(&whole, &model);
    }

    /// Views that follow a document by its patches alone show it.
    #[test]
    fn patches_tell_exactly_what_changed(
        steps in prop::collection::vec((any::<prop::sample::Index>(), step(), 0u64..9_000), 1..40),
    ) {
        let mut docs: Vec<Doc> = (1..4).map(|i| Doc::new(PeerId(i))).collect();
        let (mut doc, mut view) = (Doc::new(PeerId(9)), View::default());
        for (who, step, wall_ms) in &steps {
            run(&mut docs, who.index(3), step, *wall_ms);
            let blocks = docs[who.index(3)].blocks_since(doc.version());
            let patches = doc.import(u64::MAX >> 16, blocks).unwrap().patches;
            view.follow(&doc, &patches, None);
            view.check(&doc);
        }
    }

    /// So do the patches of what a replica does itself.
    #[test]
    fn local_patches_tell_exactly_what_changed(steps in prop::collection::vec(step(), 1..30)) {
        let (mut doc, mut view) = (Doc::new(PeerId(1)), View::default());
        for step in &steps {
            let commit = match step {
                Step::Undo => doc.undo(0),
                Step::Redo => doc.redo(0),
                Step::Pull { .. } | Step::Reload => None,
                _ => {
                    let before = doc.history().graph.end();
                    run(std::slice::from_mut(&mut doc), 0, step, 0);
                    let end = doc.history().graph.end();
                    (before < end).then(|| crate::Commit { start: before, len: end - before })
                }
            };
            let patches = commit.map(|commit| doc.patches(&commit)).unwrap_or_default();
            view.follow(&doc, &patches, None);
            view.check(&doc);
        }
    }

    /// An earlier version reads as the model of its blocks, and the difference between any two
    /// turns the one into the other.
    #[test]
    fn earlier_versions_and_differences_are_those_of_the_model(
        steps in prop::collection::vec((any::<prop::sample::Index>(), step(), 0u64..9_000), 1..40),
        picks in any::<[prop::sample::Index; 2]>(),
    ) {
        let mut docs: Vec<Doc> = (1..4).map(|i| Doc::new(PeerId(i))).collect();
        let mut versions = vec![VersionVector::new()];
        for (who, step, wall_ms) in &steps {
            run(&mut docs, who.index(3), step, *wall_ms);
            versions.push(docs[who.index(3)].version().clone());
        }
        let mut whole = Doc::new(PeerId(9));
        for doc in &docs {
            whole.import(u64::MAX >> 16, doc.blocks_since(&VersionVector::new())).unwrap();
        }
        let [from, to] = picks.map(|pick| &versions[pick.index(versions.len())]);
        let [before, after] = [from, to].map(|version| {
            let doc = whole.checkout(PeerId(8), version).unwrap();
            assert_eq!(doc.version(), version);
            assert_is_model(&doc, &Model::of(&doc.blocks_since(&VersionVector::new())));
            let frontier = whole.frontier_of(version).unwrap();
            assert_eq!(frontier, doc.frontier());
            assert_eq!(&whole.version_at(&frontier).unwrap(), version);
            doc
        });
        let patches = whole.diff(from, to).unwrap();
        let mut view = View::of(&before);
        view.follow(&after, &patches, Some(&CharMarks::new()));
        view.check(&after);
        prop_assert_eq!(told_cells(&patches), changed_cells(&before, &after));
        prop_assert!(from != to || patches.is_empty());
    }

    /// Undoing everything that one peer did, alone, brings the start back; redoing, the end.
    #[test]
    fn undo_and_redo_of_everything_come_back_to_the_ends(
        edits in prop::collection::vec(step(), 1..30),
    ) {
        let mut docs = [Doc::new(PeerId(1))];
        let is_edit = |step: &&Step| {
            !matches!(step, Step::Undo | Step::Redo | Step::Pull { .. } | Step::Reload)
        };
        for (i, step) in edits.iter().filter(is_edit).enumerate() {
            run(&mut docs, 0, step, i as u64 * 1_000);
        }
        let [mut doc] = docs;
        let end = shown(&doc);
        while doc.undo(0).is_some() {}
        prop_assert_eq!(shown(&doc), BTreeMap::new());
        while doc.redo(0).is_some() {}
        prop_assert_eq!(shown(&doc), end);
    }

    /// No bytes make a decoder panic, and what decodes as a block encodes to the same bytes.
    #[test]
    fn decoders_refuse_noise(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        flip in any::<prop::sample::Index>(),
    ) {
        let _ = Block::parse(&*bytes);
        let _ = Doc::new(PeerId(1)).import_update(0, &bytes);
        let _ = Doc::from_snapshot(PeerId(1), &bytes);
        let mut doc = Doc::new(PeerId(1));
        doc.transact(0, |tx| tx.text("x").insert(0, "hello")).0.unwrap();
        doc.transact(0, |tx| tx.text("x").mark(1..3, "k", 1i64, Expand::Before)).0.unwrap();
        doc.transact(0, |tx| tx.table("t").insert([("a", 1i64)]));
        let mut snapshot = doc.encode_snapshot();
        let at = flip.index(snapshot.len());
        snapshot[at] ^= 0x10;
        let _ = Doc::from_snapshot(PeerId(1), &snapshot);
    }
}

/// The registers, entries, counters and fields that patches tell of.
fn told_cells(patches: &[Patch]) -> Vec<Cell> {
    let cell = |patch: &Patch| match patch.clone() {
        Patch::Register { id } => Some(Cell::Register(id)),
        Patch::Counter { id } => Some(Cell::Counter(id)),
        Patch::MapEntry { id, key } => Some(Cell::Entry(id, key)),
        Patch::Row { row, change: RowChange::Field(name), .. } => Some(Cell::Field(row, name)),
        _ => None,
    };
    let mut told: Vec<Cell> = patches.iter().filter_map(cell).collect();
    told.sort();
    told
}

/// Those that differ, of rows that are in both.
fn changed_cells(before: &Doc, after: &Doc) -> Vec<Cell> {
    let (old, new) = (cells(before), cells(after));
    let in_both = |cell: &&Cell| match cell {
        Cell::Field(row, _) => [before, after].iter().all(|doc| doc.table("t").contains(*row)),
        _ => true,
    };
    let all: BTreeSet<&Cell> = old.keys().chain(new.keys()).filter(in_both).collect();
    all.into_iter().filter(|cell| old.get(*cell) != new.get(*cell)).cloned().collect()
}
