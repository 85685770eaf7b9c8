//! Writing changes again under another peer id, when two authors turn out to share one.
//!
//! A copied browser profile or a restored backup can continue a peer's sequence twice. The side
//! whose changes were not acknowledged writes them again as somebody else; positions on the wire
//! are relative to a version, so only names have to change.

use std::collections::BTreeMap;

use xxhash_rust::xxh64::xxh64;

use crate::block::{Block, BlockHeader};
use crate::cells::RowRef;
use crate::doc::Doc;
use crate::id::{OpId, PeerId};
use crate::op::{Action, Body};
use crate::sorting::sort;
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
    /// The new peer id has already written something else here.
    #[error("peer {0} has already written to this document")]
    PeerInUse(PeerId),
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
                Action::Cell(cell) => *cell = cell.clone().map_rows(&mut &renamed),
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
    /// [`Doc::reauthor_all`]: whoever does that comes to the same id, and to the same bytes.
    #[must_use]
    pub fn successor(&self) -> PeerId {
        PeerId(xxh64(self.bytes(), SUCCESSOR_SEED))
    }
}

impl Doc {
    /// Writes this replica's changes from `from` on again as peer `to`, and goes on as `to`.
    /// Returns the new blocks; rows inserted by them have new ids. Undo history is forgotten.
    ///
    /// # Errors
    /// [`ReauthorError`]; the document is as it was then.
    pub fn reauthor(&mut self, from: OpId, to: PeerId) -> Result<Vec<Block>, ReauthorError> {
        if self.version().get(to) > 0 {
            return Err(ReauthorError::PeerInUse(to));
        }
        self.starts_at(from)?;
        let mut renaming = Renaming::default();
        renaming.add(from, to);
        let blocks = self.blocks_since(self.history_start());
        let depends = |block: &&Block| {
            block.peer() != from.peer && block.header().deps.iter().any(|dep| renaming.has(*dep))
        };
        if let Some(block) = blocks.iter().find(depends) {
            return Err(ReauthorError::DependedOn(block.peer()));
        }
        self.rename(&renaming, blocks, to).ok_or(ReauthorError::NoSuchChange(from))
    }

    /// Writes the changes of one author from `from` on again, and whatever builds on them, each
    /// author's under the id that is [`Block::successor`] of the first that moves. Who does that
    /// twice, or in two places, has the same changes in the end, and not two of each. Rows
    /// inserted by them have new ids. Undo history is forgotten.
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
        let blocks = self.rename(&renaming, blocks, self.peer());
        Ok(Reauthored { moved, blocks: blocks.ok_or(ReauthorError::NoSuchChange(from))? })
    }

    fn starts_at(&self, from: OpId) -> Result<(), ReauthorError> {
        let starts = self.block_of(from).is_some_and(|block| block.seq() == from.seq);
        if starts { Ok(()) } else { Err(ReauthorError::NoSuchChange(from)) }
    }

    /// Replaces the document by one of `blocks` in which some have another name; returns those.
    fn rename(
        &mut self,
        renaming: &Renaming,
        blocks: Vec<Block>,
        peer: PeerId,
    ) -> Option<Vec<Block>> {
        let (mut all, mut renamed) = (Vec::new(), Vec::new());
        for block in blocks {
            if renaming.has(OpId::new(block.peer(), block.seq())) {
                renamed.push(renaming.block(&block)?);
            } else {
                all.push(block);
            }
        }
        all.extend(renamed.iter().cloned());
        let mut again = self.at_base(peer);
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
    use super::*;
    use crate::ContainerId;

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

        let renamed = clone.reauthor(OpId::new(PeerId(5), 1), PeerId(6)).unwrap();
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

        // Who has less of it has the same names for that.
        let two = again.reauthor_all(from, &known).unwrap();
        assert!(two.blocks.iter().all(|block| one.blocks.contains(block)));
        again.import(0, one.blocks).unwrap();
        assert_eq!(again.version(), both.version());
        assert_eq!(again.table("t").rows().count(), 1);
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
