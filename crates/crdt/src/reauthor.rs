//! Writing changes again under another peer id, when two authors turn out to share one.
//!
//! A copied browser profile or a restored backup can continue a peer's sequence twice. The side
//! whose changes were not acknowledged writes them again as somebody else; positions on the wire
//! are relative to a version, so only names have to change. But names decide in which order stands
//! what was inserted in one place at once, and that must not change, or positions meant something
//! else. So new ids are so little above the old ones that no other author's lies between.

use std::collections::BTreeMap;

use xxhash_rust::xxh64::xxh64;

use crate::block::{Block, BlockHeader};
use crate::cells::{CellOp, RowRef};
use crate::doc::Doc;
use crate::id::{OpId, PeerId};
use crate::op::{Action, Body};
use crate::sorting::sort;
use crate::tree::order;
use crate::version::VersionVector;

/// Keeps successors apart from other hashes of the same bytes.
const SUCCESSOR_SEED: u64 = 0x7265_6e61_6d65_6421;

/// Why changes could not be written again. The document is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReauthorError {
    /// A change that has to keep its name already builds on them.
    #[error("changes of peer {0} depend on the ones to be written again")]
    DependedOn(PeerId),
    /// No known block of the old peer starts at that seq, or it could not be read from a damaged
    /// snapshot.
    #[error("no change starts at {0}")]
    NoSuchChange(OpId),
}

/// What [`Doc::reauthor_all`] wrote again.
#[derive(Clone, Debug)]
pub struct Reauthored {
    /// From where on each author's changes have another name now, and whose they are.
    pub moved: Vec<(OpId, PeerId)>,
    /// Those changes as they are now, each after all it depends on.
    pub blocks: Vec<Block>,
}

impl Reauthored {
    /// What an operation is called now.
    #[must_use]
    pub fn name(&self, id: OpId) -> OpId {
        let moved = self.moved.iter();
        let mut moved = moved.filter(|(from, _)| from.peer == id.peer && from.seq <= id.seq);
        moved.next().map_or(id, |(from, to)| OpId::new(*to, id.seq - from.seq))
    }
}

/// From which seq on a peer's changes are whose.
#[derive(Default)]
struct Renaming {
    moved: BTreeMap<PeerId, (u32, PeerId)>,
}

impl Renaming {
    fn add(&mut self, from: OpId, to: PeerId) {
        self.moved.insert(from.peer, (from.seq, to));
    }

    fn has(&self, id: OpId) -> bool {
        self.moved.get(&id.peer).is_some_and(|(seq, _)| id.seq >= *seq)
    }

    fn id(&self, id: OpId) -> OpId {
        match self.moved.get(&id.peer) {
            Some((seq, to)) if id.seq >= *seq => OpId::new(*to, id.seq - seq),
            _ => id,
        }
    }

    fn body(&self, body: &mut Body) {
        for (_, id) in &mut body.containers {
            *id = id.map_ids(&|id| self.id(id));
        }
        for op in &mut body.ops {
            let renamed = |row: RowRef| match row {
                RowRef::Stray(id) => RowRef::Stray(self.id(id)),
                known => known,
            };
            match &mut op.action {
                Action::Cell(cell) => {
                    *cell = cell.clone().map_rows(&mut &renamed);
                    if let CellOp::Create { key, .. } | CellOp::Place { key, .. } = cell {
                        order::map_ids(key, &|id| self.id(id));
                    }
                }
                Action::Move { element, .. } => *element = renamed(*element),
                Action::Text { .. } | Action::List { .. } => {}
            }
        }
    }

    fn block(&self, block: &Block) -> Option<Block> {
        let header = block.header();
        let OpId { peer, seq } = self.id(OpId::new(header.peer, header.seq));
        let mut deps: Vec<OpId> = header.deps.iter().map(|dep| self.id(*dep)).collect();
        if seq == 0 && header.seq > 0 {
            // What was implied, the author's own previous change, is now somebody else's.
            deps.push(OpId::new(header.peer, header.seq - 1));
        }
        sort(&mut deps);
        let mut body = block.body().ok()?;
        self.body(&mut body);
        Some(Block::encode(BlockHeader { peer, seq, deps, ..header.clone() }, &body))
    }
}

impl Block {
    /// Who this block's author becomes where it is the first to be written again by
    /// [`Doc::reauthor_all`]: whoever does that comes to the same id, and to the same bytes. It is
    /// at most 2^32 above the author's own; among random ids, none lies between.
    #[must_use]
    pub fn successor(&self) -> PeerId {
        let above = 1 + (xxh64(self.bytes(), SUCCESSOR_SEED) >> 32);
        PeerId(self.peer().0.wrapping_add(above))
    }
}

impl Doc {
    /// Writes the changes of one author from `from` on again, and whatever builds on them, each
    /// author's under the id that is [`Block::successor`] of the first that moves. Who does that
    /// twice, or in two places, has the same changes in the end, and not two of each. Rows
    /// inserted by them have new ids; but for those, the document shows what it showed before.
    /// Undo history is forgotten.
    ///
    /// If this document's own peer is among those that move, it has to go on as another one.
    ///
    /// # Errors
    /// [`ReauthorError::DependedOn`] if something of `known` would have to move: others have that
    /// under its name. The document is as it was then, as with every error.
    pub fn reauthor_all(
        &mut self,
        from: OpId,
        known: &VersionVector,
    ) -> Result<Reauthored, ReauthorError> {
        self.starts_at(from)?;
        let mut renaming = Renaming::default();
        let blocks = self.blocks_since(self.history_start());
        for block in &blocks {
            let id = OpId::new(block.peer(), block.seq());
            let moves = id == from || block.header().deps.iter().any(|dep| renaming.has(*dep));
            if moves && !renaming.has(id) {
                renaming.add(id, block.successor());
            }
            if renaming.has(id) && block.end() <= known.get(block.peer()) {
                return Err(ReauthorError::DependedOn(block.peer()));
            }
        }
        let moved = renaming.moved.iter().map(|(peer, (seq, to))| (OpId::new(*peer, *seq), *to));
        let moved = moved.collect();
        let blocks = self.rename(&renaming, blocks);
        Ok(Reauthored { moved, blocks: blocks.ok_or(ReauthorError::NoSuchChange(from))? })
    }

    fn starts_at(&self, from: OpId) -> Result<(), ReauthorError> {
        let starts = self.block_of(from).is_some_and(|block| block.seq() == from.seq);
        if starts { Ok(()) } else { Err(ReauthorError::NoSuchChange(from)) }
    }

    /// Replaces the document by one of `blocks` in which some have another name; returns those.
    fn rename(&mut self, renaming: &Renaming, blocks: Vec<Block>) -> Option<Vec<Block>> {
        let (mut all, mut renamed) = (Vec::new(), Vec::new());
        for block in blocks {
            if renaming.has(OpId::new(block.peer(), block.seq())) {
                renamed.push(renaming.block(&block)?);
            } else {
                all.push(block);
            }
        }
        all.extend(renamed.iter().cloned());
        let mut again = self.at_base(self.peer());
        // Blocks that were applied once apply again, unless they came with an unsound log.
        again.import(u64::MAX, all).ok()?;
        // What waits for its time goes on waiting.
        again.import(0, self.pending.iter().cloned()).ok()?;
        again.unknown_chunks = std::mem::take(&mut self.unknown_chunks);
        *self = again;
        Some(renamed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::histories::{assert_is_model, run, step};
    use crate::model::Model;
    use crate::rebase::tests::shown;
    use crate::{ContainerId, tree};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(
            std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(300)
        ))]

        /// Whatever several people did, and from wherever on it is written again, it shows the
        /// same, and what others know of it and write again equals that.
        #[test]
        fn what_is_written_again_shows_the_same(
            steps in prop::collection::vec((any::<Index>(), step(), 0u64..9_000), 1..60),
            from in any::<Index>(),
        ) {
            let nothing = VersionVector::new();
            let peer = |number: u64| PeerId(((number * 7 + 3) % 11) << 40);
            let mut docs: Vec<Doc> = (0..4).map(|number| Doc::new(peer(number))).collect();
            for (who, step, wall_ms) in &steps {
                run(&mut docs, who.index(4), step, *wall_ms);
            }
            let mut other = docs[1].fork(PeerId(9));
            let doc = &mut docs[0];
            let blocks = doc.blocks_since(&nothing);
            prop_assume!(!blocks.is_empty());
            let from = from.get(&blocks);
            let from = OpId::new(from.peer(), from.seq());
            let (before, nodes) = (shown(doc), tree::shown(doc, "o"));
            let again = doc.reauthor_all(from, &nothing).unwrap();
            prop_assert_eq!(shown(doc), before);
            let mut renaming = Renaming::default();
            again.moved.iter().for_each(|(from, to)| renaming.add(*from, *to));
            let nodes: Vec<_> =
                nodes.into_iter().map(|(depth, node)| (depth, renaming.id(node))).collect();
            prop_assert_eq!(tree::shown(doc, "o"), nodes);
            assert_is_model(doc, &Model::of(&doc.blocks_since(&nothing)));

            let before = shown(&other);
            if other.reauthor_all(from, &nothing).is_ok() {
                prop_assert_eq!(shown(&other), before);
                let missing = doc.blocks_since(other.version());
                other.import(u64::MAX, missing).unwrap();
                doc.import(u64::MAX, other.blocks_since(doc.version())).unwrap();
                prop_assert_eq!(other.version(), doc.version());
                prop_assert_eq!(shown(&other), shown(doc));
            }
        }
    }

    #[test]
    fn what_comes_after_the_first_that_is_written_again_is_counted_from_that() {
        let moved = vec![(OpId::new(PeerId(5), 2), PeerId(50))];
        let again = Reauthored { moved, blocks: Vec::new() };
        let name = |peer, seq| again.name(OpId::new(PeerId(peer), seq));
        assert_eq!(name(5, 4), OpId::new(PeerId(50), 2));
        assert_eq!(name(5, 1), OpId::new(PeerId(5), 1));
        assert_eq!(name(6, 4), OpId::new(PeerId(6), 4));
    }

    /// Tabs that run two versions of a program have to agree.
    #[test]
    fn who_an_author_becomes_is_the_same_for_ever() {
        let mut doc = Doc::new(PeerId(5));
        doc.transact(0, |tx| tx.counter("n").add(1));
        let block = doc.blocks_since(&VersionVector::new()).remove(0);
        assert_eq!(block.successor(), PeerId(180_618_502));
    }

    #[test]
    fn a_cloned_peers_changes_survive_under_a_new_name() {
        let shared = "t";
        let mut original = Doc::new(PeerId(5));
        let (row, _) = original.transact(0, |tx| tx.table(shared).insert([("a", 1i64)]));
        let mut clone = Doc::new(PeerId(5));
        clone.import(0, original.blocks_since(&VersionVector::new())).unwrap();

        original.transact(0, |tx| tx.table(shared).set(row, "a", 2i64)).0.unwrap();
        let (own, _) = clone.transact(0, |tx| tx.table(shared).insert([("a", 3i64)]));
        clone.transact(0, |tx| tx.table(shared).add(own, "votes", 4)).0.unwrap();
        clone.transact(0, |tx| tx.text("x").insert(0, "kept")).0.unwrap();
        let theirs = original.blocks_since(&VersionVector::new());
        assert!(clone.import(0, theirs.clone()).is_err());

        let known = [(PeerId(5), 1)].into_iter().collect();
        let renamed = clone.reauthor_all(OpId::new(PeerId(5), 1), &known).unwrap().blocks;
        assert_eq!(renamed.len(), 3);
        clone.import(0, theirs).unwrap();
        original.import(0, renamed).unwrap();
        assert_eq!(original.version(), clone.version());
        for doc in [&original, &clone] {
            assert_eq!(doc.text("x").to_string(), "kept");
            assert_eq!(doc.table(shared).get(row, "a"), Some(2i64.into()));
            let moved = doc.table(shared).rows().find(|other| *other != row).unwrap();
            assert_eq!(doc.counter(ContainerId::cell(shared, moved, "votes")), 4);
        }
    }

    /// One author's changes, and another's that build on them.
    fn two_authors() -> (Doc, Doc) {
        let mut first = Doc::new(PeerId(5));
        first.transact(0, |tx| tx.text("x").insert(0, "kept ")).0.unwrap();
        let (row, _) = first.transact(0, |tx| tx.table("t").insert([("a", 1i64)]));
        let mut second = Doc::new(PeerId(6));
        second.transact(0, |tx| tx.counter("apart").add(1));
        second.import(0, first.blocks_since(&VersionVector::new())).unwrap();
        second.transact(0, |tx| tx.table("t").set(row, "a", 2i64)).0.unwrap();
        second.transact(0, |tx| tx.text("x").insert(5, "too")).0.unwrap();
        first.transact(0, |tx| tx.table("t").add(row, "votes", 3)).0.unwrap();
        (first, second)
    }

    #[test]
    fn what_builds_on_changes_is_written_again_with_them_and_the_same_everywhere() {
        let (first, second) = two_authors();
        let mut both = first.fork(PeerId(8));
        both.import(0, second.blocks_since(&VersionVector::new())).unwrap();
        let before = both.text("x").to_string();
        let known = [(PeerId(5), 1), (PeerId(6), 1)].into_iter().collect();
        let from = both.blocks_since(&known)[0].clone();
        let from = OpId::new(from.peer(), from.seq());
        let mut again = second.fork(PeerId(9));
        let one = both.reauthor_all(from, &known).unwrap();
        assert_eq!(both.text("x").to_string(), before);
        assert_eq!(both.version().get(PeerId(5)), from.seq);
        assert_eq!(both.version().get(PeerId(6)), 1, "what builds on nothing that moves stays");
        assert_eq!(one.moved.len(), 2);
        let now = one.name(OpId::new(from.peer, from.seq + 1));
        assert_eq!(now.seq, 1);
        assert!(one.moved.contains(&(from, now.peer)));
        let stays = OpId::new(PeerId(6), 0);
        assert_eq!(one.name(stays), stays);

        // Who has less of it has the same names for that.
        let two = again.reauthor_all(from, &known).unwrap();
        assert!(two.blocks.iter().all(|block| one.blocks.contains(block)));
        again.import(0, one.blocks).unwrap();
        assert_eq!(again.version(), both.version());
        assert_eq!(again.table("t").rows().count(), 1);
    }

    #[test]
    fn what_was_taken_out_of_insertions_at_once_is_the_same_when_written_again() {
        // Whatever the hash of the change is, and whose name comes first.
        for number in (0..10).chain(11..21) {
            let mut own = Doc::new(PeerId(number << 40));
            let mut other = Doc::new(PeerId(10 << 40));
            own.transact(0, |tx| tx.text("x").insert(0, "own")).0.unwrap();
            other.transact(0, |tx| tx.text("x").insert(0, "else")).0.unwrap();
            own.import(0, other.blocks_since(&VersionVector::new())).unwrap();
            own.transact(0, |tx| tx.text("x").delete(1, 3)).0.unwrap();
            let before = own.text("x").to_string();
            let from = OpId::new(own.peer(), 0);
            own.reauthor_all(from, other.version()).unwrap();
            assert_eq!(own.text("x").to_string(), before);
        }
    }

    #[test]
    fn what_others_know_keeps_its_name() {
        let (mut first, second) = two_authors();
        first.import(0, second.blocks_since(&VersionVector::new())).unwrap();
        let known = second.version().clone();
        let before = first.version().clone();
        let from = OpId::new(PeerId(5), 0);
        let refused = first.reauthor_all(from, &known).unwrap_err();
        assert!(matches!(refused, ReauthorError::DependedOn(_)));
        assert_eq!(*first.version(), before);
    }
}
