//! Taking in what others wrote: validate everything, then commit.

use std::collections::BTreeMap;

use crate::block::Block;
use crate::codec::DecodeError;
use crate::doc::Doc;
use crate::history::sort_causally;
use crate::id::{OpId, PeerId};
use crate::op::Op;
use crate::patch::Patch;
use crate::stamp::Stamp;
use crate::version::VersionVector;

/// How many blocks may wait for what they depend on.
pub const PENDING_BLOCKS_MAX: usize = 100_000;

/// What an import did.
#[derive(Clone, Debug, Default)]
pub struct Import {
    /// The blocks that are now in the document and were not before, in the order of application.
    pub applied: Vec<Block>,
    /// What changed, in order.
    pub patches: Vec<Patch>,
    /// How many blocks now wait inside the document for what they depend on.
    pub pending: usize,
    /// Blocks from earlier imports that waited and turned out invalid; they were dropped.
    pub rejected: Vec<OpId>,
}

/// Why an import was refused. The document is as it was: no block of the import was applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// A block's body does not decode.
    #[error("block {peer}.{seq} is malformed")]
    Decode {
        /// The block's author.
        peer: PeerId,
        /// The block's first seq.
        seq: u32,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// A different block with this name is already known: two authors share a peer id.
    #[error("two different blocks are called {peer}.{seq}")]
    DuplicatePeer {
        /// The shared peer id.
        peer: PeerId,
        /// The block's first seq.
        seq: u32,
    },
    /// A block's stamp is not above the stamps of what it depends on.
    #[error("block {peer}.{seq} is stamped before what it depends on")]
    Stamp {
        /// The block's author.
        peer: PeerId,
        /// The block's first seq.
        seq: u32,
    },
    /// More than [`PENDING_BLOCKS_MAX`] blocks would wait for what they depend on.
    #[error("too many blocks wait for missing dependencies")]
    TooManyPending,
}

/// Blocks by author and first seq.
type Waiting = BTreeMap<(PeerId, u32), Block>;

/// What an import will do, worked out before anything is changed.
struct Plan {
    ready: Vec<(Block, Vec<Op>)>,
    waiting: Waiting,
    rejected: Vec<OpId>,
}

impl Doc {
    /// Merges blocks in any order. Blocks that are already known are skipped; ones that depend on
    /// unknown blocks, or claim to be from more than [`crate::FUTURE_MS_MAX`] after `wall_ms`,
    /// wait inside the document for a later import.
    ///
    /// # Errors
    /// [`ImportError`]; nothing of this import was applied then.
    pub fn import(
        &mut self,
        wall_ms: u64,
        blocks: impl IntoIterator<Item = Block>,
    ) -> Result<Import, ImportError> {
        let mut incoming = Waiting::new();
        for block in blocks {
            self.admit(&mut incoming, block)?;
        }
        let plan = self.plan(wall_ms, incoming)?;
        let mut import = Import { rejected: plan.rejected, ..Import::default() };
        self.pending = plan.waiting.into_values().collect();
        import.pending = self.pending.len();
        for (block, ops) in plan.ready {
            self.apply_block(&block, &ops, &mut import.patches);
            import.applied.push(block);
        }
        Ok(import)
    }

    /// Checks one block against what is known and adds it to the incoming ones if it is new.
    fn admit(&self, incoming: &mut Waiting, block: Block) -> Result<(), ImportError> {
        let (peer, seq) = (block.peer(), block.seq());
        let duplicate = ImportError::DuplicatePeer { peer, seq };
        if seq < self.version().get(peer) {
            let known = self.history.block_of(OpId::new(peer, seq));
            return if known == Some(&block) { Ok(()) } else { Err(duplicate) };
        }
        block.validate().map_err(|source| ImportError::Decode { peer, seq, source })?;
        match incoming.insert((peer, seq), block.clone()) {
            Some(other) if other != block => Err(duplicate),
            _ => Ok(()),
        }
    }

    fn plan(&self, wall_ms: u64, incoming: Waiting) -> Result<Plan, ImportError> {
        let mut waiting = incoming.clone();
        for block in &self.pending {
            waiting.entry((block.peer(), block.seq())).or_insert_with(|| block.clone());
        }
        let mut order: Vec<Block> = waiting.values().cloned().collect();
        sort_causally(&mut order);
        let mut plan = Plan { ready: Vec::new(), waiting, rejected: Vec::new() };
        let mut version = self.version().clone();
        let mut stamps = BTreeMap::new();
        // Valid blocks are ready in one pass; invalid stamps can need another to come to light.
        loop {
            let before = order.len();
            let mut later = Vec::new();
            for block in order {
                if !is_ready(&block, &version, wall_ms) {
                    later.push(block);
                    continue;
                }
                let key = (block.peer(), block.seq());
                plan.waiting.remove(&key);
                match self.check(&block, &version, &stamps) {
                    Ok(ops) => {
                        version.extend(block.peer(), block.end());
                        stamps.insert(key, (block.end(), block.header().stamp));
                        plan.ready.push((block, ops));
                    }
                    Err(error) if incoming.contains_key(&key) => return Err(error),
                    Err(_) => plan.rejected.push(OpId::new(key.0, key.1)),
                }
            }
            if later.len() == before || later.is_empty() {
                break;
            }
            order = later;
        }
        if plan.waiting.len() > PENDING_BLOCKS_MAX {
            return Err(ImportError::TooManyPending);
        }
        Ok(plan)
    }

    /// The last check of a block whose dependencies are all at hand.
    fn check(
        &self,
        block: &Block,
        version: &VersionVector,
        stamps: &BTreeMap<(PeerId, u32), (u32, Stamp)>,
    ) -> Result<Vec<Op>, ImportError> {
        let (peer, seq) = (block.peer(), block.seq());
        if seq != version.get(peer) {
            return Err(ImportError::DuplicatePeer { peer, seq });
        }
        let previous = seq.checked_sub(1).map(|seq| OpId::new(peer, seq));
        for dep in block.header().deps.iter().copied().chain(previous) {
            let planned = stamps.range(..=(dep.peer, dep.seq)).next_back();
            let planned = planned.filter(|((of, _), (end, _))| *of == dep.peer && dep.seq < *end);
            let stamp = planned.map_or_else(
                || self.history.stamp_of(dep),
                |((_, first), (_, stamp))| Some(stamp.plus(dep.seq - first)),
            );
            if stamp.is_none_or(|stamp| block.header().stamp <= stamp) {
                return Err(ImportError::Stamp { peer, seq });
            }
        }
        block.ops().map_err(|source| ImportError::Decode { peer, seq, source })
    }

    fn apply_block(&mut self, block: &Block, ops: &[Op], patches: &mut Vec<Patch>) {
        let header = block.header();
        let view = self.history.graph().view_at(header.peer, &header.deps);
        let (mut id, mut stamp) = (OpId::new(header.peer, header.seq), header.stamp);
        for op in ops {
            self.apply_op(op, id, stamp, &view, patches);
            id = id.plus(op.len());
            stamp = stamp.plus(op.len());
        }
        self.history.push(block.clone());
    }
}

fn is_ready(block: &Block, version: &VersionVector, wall_ms: u64) -> bool {
    let header = block.header();
    header.seq <= version.get(header.peer)
        && header.deps.iter().all(|dep| version.contains(*dep))
        && !header.stamp.is_future(wall_ms)
}
