//! Writing changes again under another peer id, when two authors turn out to share one.
//!
//! A copied browser profile or a restored backup can continue a peer's sequence twice. The side
//! whose changes were not acknowledged writes them again as somebody else; positions on the wire
//! are relative to a version, so only names have to change.

use crate::block::{Block, BlockHeader};
use crate::cells::RowRef;
use crate::doc::Doc;
use crate::id::{OpId, PeerId};
use crate::op::{Action, Body};
use crate::sorting::sort;

/// Why changes could not be written again. The document is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReauthorError {
    /// Another peer's change already builds on them.
    #[error("changes of peer {0} depend on the ones to be written again")]
    DependedOn(PeerId),
    /// The new peer id has already written something here.
    #[error("peer {0} has already written to this document")]
    PeerInUse(PeerId),
    /// No known block of the old peer starts at that seq, or it could not be read from a damaged
    /// snapshot.
    #[error("no change starts at {0}")]
    NoSuchChange(OpId),
}

struct Renaming {
    from: OpId,
    to: PeerId,
}

impl Renaming {
    fn id(&self, id: OpId) -> OpId {
        if id.peer == self.from.peer && id.seq >= self.from.seq {
            OpId::new(self.to, id.seq - self.from.seq)
        } else {
            id
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
        let mut deps: Vec<OpId> = header.deps.iter().map(|dep| self.id(*dep)).collect();
        if header.seq == self.from.seq && header.seq > 0 {
            // What was implied, the author's own previous change, is now somebody else's.
            deps.push(OpId::new(header.peer, header.seq - 1));
        }
        sort(&mut deps);
        let mut body = block.body().ok()?;
        self.body(&mut body);
        let seq = header.seq - self.from.seq;
        Some(Block::encode(BlockHeader { peer: self.to, seq, deps, ..header.clone() }, &body))
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
        if self.block_of(from).is_none_or(|block| block.seq() != from.seq) {
            return Err(ReauthorError::NoSuchChange(from));
        }
        let renaming = Renaming { from, to };
        let is_moved = |id: &OpId| id.peer == from.peer && id.seq >= from.seq;
        let (mut all, mut renamed) = (Vec::new(), Vec::new());
        for block in self.blocks_since(self.history_start()) {
            if is_moved(&OpId::new(block.peer(), block.seq())) {
                let unsound = ReauthorError::NoSuchChange(OpId::new(block.peer(), block.seq()));
                renamed.push(renaming.block(&block).ok_or(unsound)?);
            } else if block.header().deps.iter().any(is_moved) {
                return Err(ReauthorError::DependedOn(block.peer()));
            } else {
                all.push(block);
            }
        }
        all.extend(renamed.iter().cloned());
        all.extend(self.pending.iter().cloned());
        let mut again = self.at_base(to);
        // Blocks that were applied once apply again, unless they came with an unsound log.
        again.import(u64::MAX, all).map_err(|_| ReauthorError::NoSuchChange(from))?;
        again.unknown_chunks = std::mem::take(&mut self.unknown_chunks);
        *self = again;
        Ok(renamed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ContainerId, VersionVector};

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
}
