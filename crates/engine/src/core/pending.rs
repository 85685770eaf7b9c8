//! The changes that the server has not acknowledged: counted as they come and go.

use std::collections::{BTreeMap, VecDeque};

use leptos_sync_crdt::{Block, PeerId, VersionVector};

/// Blocks without a durable acknowledgement, by author.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pending {
    /// Per author, where each block starts and ends, in order.
    spans: BTreeMap<PeerId, VecDeque<(u32, u32)>>,
    count: usize,
}

impl Pending {
    /// How many blocks wait.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether something of `peer` waits.
    pub(crate) fn has(&self, peer: PeerId) -> bool {
        self.spans.contains_key(&peer)
    }

    /// Counts a block, once, unless it is acknowledged.
    pub(crate) fn add(&mut self, block: &Block, acked: &VersionVector) {
        if block.end() <= acked.get(block.peer()) {
            return;
        }
        let spans = self.spans.entry(block.peer()).or_default();
        let at = spans.partition_point(|(start, _)| *start < block.seq());
        if spans.get(at).is_none_or(|(start, _)| *start != block.seq()) {
            spans.insert(at, (block.seq(), block.end()));
            self.count += 1;
        }
    }

    /// Forgets the blocks of `peer` that end at or before `through`.
    pub(crate) fn acked(&mut self, peer: PeerId, through: u32) {
        let Some(spans) = self.spans.get_mut(&peer) else { return };
        self.count -= spans.drain(..spans.partition_point(|(_, end)| *end <= through)).count();
        if spans.is_empty() {
            self.spans.remove(&peer);
        }
    }

    /// Starts again from `blocks`, of which those that `acked` covers do not count.
    pub(crate) fn reset<'a>(
        &mut self,
        blocks: impl IntoIterator<Item = &'a Block>,
        acked: &VersionVector,
    ) {
        *self = Self::default();
        for block in blocks {
            self.add(block, acked);
        }
    }
}

#[cfg(test)]
mod tests {
    use leptos_sync_crdt::Doc;

    use super::*;

    #[test]
    fn counts_each_block_once_until_it_is_acknowledged() {
        let peer = PeerId(1);
        let mut doc = Doc::new(peer);
        for value in 1..=3 {
            doc.transact(0, |tx| tx.counter("votes").add(value));
        }
        let blocks = doc.blocks_since(&VersionVector::new());
        let mut acked = VersionVector::new();
        acked.extend(peer, blocks[0].end());
        let mut pending = Pending::default();
        pending.reset(&blocks, &acked);
        pending.add(&blocks[1], &acked);
        assert_eq!(pending.len(), 2);
        assert!(pending.has(peer) && !pending.has(PeerId(2)) && !pending.is_empty());
        pending.acked(peer, blocks[1].end());
        assert_eq!(pending.len(), 1);
        pending.acked(peer, blocks[2].end());
        assert!(pending.is_empty() && !pending.has(peer));
        // They may come in any order, as when storage is read at a later try.
        for block in [&blocks[2], &blocks[0], &blocks[1], &blocks[0]] {
            pending.add(block, &VersionVector::new());
        }
        assert_eq!(pending.len(), 3);
        pending.acked(peer, blocks[1].end());
        assert_eq!(pending.len(), 1);
    }
}
