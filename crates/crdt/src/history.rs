//! The blocks that a document was built from, by author, for sending to others.

use std::collections::BTreeMap;

use crate::block::Block;
use crate::graph::Graph;
use crate::id::{OpId, PeerId};
use crate::stamp::Stamp;
use crate::version::VersionVector;

/// How far an author's chain of blocks is known, and a hash of all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainMark {
    /// The seq after the last known operation.
    pub seq: u32,
    /// The hash over the author's blocks up to there; see [`Block::chain_hash`].
    pub hash: u64,
}

struct Link {
    block: Block,
    hash: u64,
}

#[derive(Default)]
pub(crate) struct History {
    chains: BTreeMap<PeerId, Vec<Link>>,
    version: VersionVector,
    graph: Graph,
    block_count: usize,
    bytes: usize,
    stamp_next: u64,
}

impl History {
    pub(crate) fn version(&self) -> &VersionVector {
        &self.version
    }

    pub(crate) fn graph(&self) -> &Graph {
        &self.graph
    }

    pub(crate) fn block_count(&self) -> usize {
        self.block_count
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The lowest stamp greater than all known ones.
    pub(crate) fn stamp_next(&self) -> u64 {
        self.stamp_next
    }

    /// Adds the next block of its author, all of whose dependencies are known.
    pub(crate) fn push(&mut self, block: Block) {
        let header = block.header();
        self.version.extend(header.peer, block.end());
        self.graph.add(OpId::new(header.peer, header.seq), header.len, &header.deps);
        self.stamp_next = self.stamp_next.max(header.stamp.plus(header.len).0);
        self.block_count += 1;
        self.bytes += block.bytes().len();
        let chain = self.chains.entry(header.peer).or_default();
        let hash = block.chain_hash(chain.last().map_or(0, |link| link.hash));
        chain.push(Link { block, hash });
    }

    /// The block that holds an operation.
    pub(crate) fn block_of(&self, op: OpId) -> Option<&Block> {
        let chain = self.chains.get(&op.peer)?;
        let at = chain.partition_point(|link| link.block.end() <= op.seq);
        chain.get(at).map(|link| &link.block)
    }

    pub(crate) fn stamp_of(&self, op: OpId) -> Option<Stamp> {
        let block = self.block_of(op)?;
        Some(block.header().stamp.plus(op.seq - block.seq()))
    }

    pub(crate) fn mark(&self, peer: PeerId) -> Option<ChainMark> {
        let last = self.chains.get(&peer)?.last()?;
        Some(ChainMark { seq: last.block.end(), hash: last.hash })
    }

    pub(crate) fn hash_at(&self, peer: PeerId, seq: u32) -> Option<u64> {
        if seq == 0 {
            return Some(0);
        }
        let chain = self.chains.get(&peer)?;
        let at = chain.binary_search_by_key(&seq, |link| link.block.end()).ok()?;
        Some(chain[at].hash)
    }

    pub(crate) fn count_since(&self, version: &VersionVector) -> usize {
        let missing = |(peer, chain): (&PeerId, &Vec<Link>)| {
            let known = version.get(*peer);
            chain.len() - chain.partition_point(|link| link.block.end() <= known)
        };
        self.chains.iter().map(missing).sum()
    }

    /// Blocks with operations outside `version`, causally ordered.
    pub(crate) fn since(&self, version: &VersionVector) -> Vec<Block> {
        let mut blocks = Vec::new();
        for (peer, chain) in &self.chains {
            let known = version.get(*peer);
            let from = chain.partition_point(|link| link.block.end() <= known);
            blocks.extend(chain[from..].iter().map(|link| link.block.clone()));
        }
        sort_causally(&mut blocks);
        blocks
    }
}

/// A change's stamp is above those of all it depends on, so stamp order is a causal order.
pub(crate) fn sort_causally(blocks: &mut [Block]) {
    blocks.sort_by_key(|block| (block.header().stamp, block.peer(), block.seq()));
}
