//! What every backend must decide alike: which blocks of a batch are new, and in which order a
//! document's blocks are handed back.

use leptos_sync_crdt::{Block, PeerId};

use crate::storage::{Snapshot, StoredDoc};

/// A block that claims operations which another block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub(crate) peer: PeerId,
    pub(crate) seq: u32,
}

/// Whether `block` is new beside the `stored` blocks of the same peer that might overlap it.
pub(crate) fn is_new<'a>(
    block: &Block,
    stored: impl IntoIterator<Item = &'a Block>,
) -> Result<bool, Conflict> {
    for other in stored {
        if other.peer() != block.peer() || other.end() <= block.seq() || block.end() <= other.seq()
        {
            continue;
        }
        if other.bytes() == block.bytes() {
            return Ok(false);
        }
        return Err(Conflict { peer: block.peer(), seq: block.seq() });
    }
    Ok(true)
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
