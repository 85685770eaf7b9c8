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
