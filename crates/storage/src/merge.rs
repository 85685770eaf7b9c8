//! What every backend must decide alike: which blocks of a batch are new, and in which order a
//! document's blocks are handed back.

use std::collections::BTreeMap;

use leptos_sync_crdt::{Block, OpId, PeerId, VersionVector};

use crate::storage::{Snapshot, StoredDoc};

/// A block that claims operations which another block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub(crate) peer: PeerId,
    pub(crate) seq: u32,
}

/// Blocks that do not overlap, by author and first seq.
#[derive(Debug, Default)]
pub(crate) struct Log {
    blocks: BTreeMap<(PeerId, u32), Block>,
}

impl Log {
    /// Whether `block` is new here. A different block for some of its operations is a conflict.
    pub(crate) fn is_new(&self, block: &Block) -> Result<bool, Conflict> {
        let key = (block.peer(), block.seq());
        let before = self.blocks.range(..key).next_back();
        let within = self.blocks.range(key..(block.peer(), block.end()));
        is_new(block, before.into_iter().chain(within).map(|(_, stored)| stored))
    }

    /// Adds a block that is new here.
    pub(crate) fn add(&mut self, block: Block) {
        self.blocks.insert((block.peer(), block.seq()), block);
    }

    pub(crate) fn remove(&mut self, peer: PeerId, seq: u32) {
        self.blocks.remove(&(peer, seq));
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&Block) -> bool) {
        self.blocks.retain(|_, block| keep(block));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// The blocks, each author's in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Block> {
        self.blocks.values()
    }
}

/// Whether `block` is new beside `stored` ones, which need not be of the same peer or near.
pub(crate) fn is_new<'a>(
    block: &Block,
    stored: impl IntoIterator<Item = &'a Block>,
) -> Result<bool, Conflict> {
    for other in stored {
        let apart = other.end() <= block.seq() || block.end() <= other.seq();
        if other.peer() != block.peer() || apart {
            continue;
        }
        if other.bytes() == block.bytes() {
            return Ok(false);
        }
        return Err(Conflict { peer: block.peer(), seq: block.seq() });
    }
    Ok(true)
}

/// Whether a peer's operations from `seq` on were given other names.
pub(crate) fn is_moved(moved: &[OpId], peer: PeerId, seq: u32) -> bool {
    moved.iter().any(|from| from.peer == peer && from.seq <= seq)
}

/// Whether `new` has all operations of `old` that were not given other names.
pub(crate) fn covers(new: &VersionVector, old: &VersionVector, moved: &[OpId]) -> bool {
    let kept = |(peer, count): (PeerId, u32)| {
        let from = moved.iter().filter(|from| from.peer == peer).map(|from| from.seq);
        (peer, count.min(from.min().unwrap_or(count)))
    };
    old.iter().map(kept).all(|(peer, count)| count <= new.get(peer))
}

/// Sorts and dedupes loaded blocks and drops those that the snapshot covers.
pub(crate) fn assemble(snapshot: Option<Snapshot>, mut blocks: Vec<Block>) -> StoredDoc {
    if let Some(snapshot) = &snapshot {
        blocks.retain(|block| block.end() > snapshot.version.get(block.peer()));
    }
    // A change's stamp is above those of all it depends on, so this order is causal.
    blocks.sort_by_key(|block| (block.header().stamp, block.peer(), block.seq()));
    blocks.dedup_by(|a, b| a.peer() == b.peer() && a.seq() == b.seq());
    StoredDoc { snapshot, blocks }
}

#[cfg(test)]
mod tests {
    use leptos_sync_crdt::Doc;

    use super::*;

    fn version(counts: &[(u64, u32)]) -> VersionVector {
        counts.iter().map(|&(peer, count)| (PeerId(peer), count)).collect()
    }

    /// Three blocks of two operations each.
    fn blocks(peer: u64) -> Vec<Block> {
        let mut author = Doc::new(PeerId(peer));
        let write = |_| {
            let commit = author.transact(0, |tx| {
                tx.counter("votes").add(1);
                tx.counter("votes").add(2);
            });
            commit.1.map(|commit| author.block(&commit))
        };
        (0..3).filter_map(write).collect()
    }

    #[test]
    fn blocks_that_a_snapshot_covers_or_that_were_read_twice_are_handed_back_once_at_most() {
        let (ours, theirs) = (blocks(1), blocks(2));
        let snapshot = Snapshot { version: version(&[(1, 4)]), bytes: vec![] };
        let found = [&theirs[..], &ours[..], &theirs[1..]].concat();
        let stored = assemble(Some(snapshot), found);
        let names: Vec<_> =
            stored.blocks.iter().map(|block| (block.peer().0, block.seq())).collect();
        assert_eq!(names, [(2, 0), (2, 2), (1, 4), (2, 4)]);
    }

    #[test]
    fn what_another_peer_wrote_is_no_conflict() {
        let (ours, theirs) = (blocks(1), blocks(2));
        assert_eq!(is_new(&ours[1], &theirs), Ok(true));
        assert_eq!(is_new(&ours[1], theirs.iter().chain(&ours)), Ok(false));
        assert_eq!(is_new(&ours[1], [&ours[0], &ours[2]]), Ok(true), "neighbours share nothing");
    }

    #[test]
    fn what_was_moved_need_not_be_covered() {
        let (from, later) = (OpId::new(PeerId(1), 3), OpId::new(PeerId(1), 5));
        assert!(is_moved(&[from], PeerId(1), 3) && is_moved(&[from], PeerId(1), 4));
        assert!(!is_moved(&[from], PeerId(1), 2) && !is_moved(&[from], PeerId(2), 3));
        let old = version(&[(1, 6), (2, 1)]);
        assert!(covers(&version(&[(1, 3), (2, 1)]), &old, &[later, from]));
        assert!(!covers(&version(&[(1, 2), (2, 1)]), &old, &[later, from]));
        assert!(!covers(&version(&[(1, 3)]), &old, &[from]), "the other peer's is missing");
        assert!(!covers(&version(&[(1, 5), (2, 1)]), &old, &[]));
    }
}
