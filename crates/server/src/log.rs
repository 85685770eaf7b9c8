//! One open document as the server sees it: its blocks in causal order and every author's chain.
//!
//! Guarantees: a block is taken only if its author's previous one and all it depends on are here,
//! and its stamp is after theirs; what is staged is invisible until it is committed, and can be
//! taken back. Bodies are not interpreted.

use std::collections::BTreeMap;

use leptos_sync_crdt::{Block, FUTURE_MS_MAX, OpId, PeerId, VersionVector};
use leptos_sync_protocol::{NackCode, PeerMark};

/// How many bytes of blocks one read returns at most, unless a single block is larger.
const READ_BYTES: usize = 60 << 10;

/// When a block that waits for another may be tried again.
const MISSING_RETRY_MS: u32 = 500;

/// One block in its author's chain.
#[derive(Debug)]
struct Link {
    seq: u32,
    /// Where it is in the log.
    index: usize,
    /// The chain hash up to and including it.
    hash: u64,
}

/// What to do with a block that was offered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// It is here already, byte for byte.
    Known,
    /// It may be staged.
    New,
    /// It is refused; the number is when to try again, 0 for never.
    Refused(NackCode, u32),
}

/// The blocks of one document.
#[derive(Debug, Default)]
pub(crate) struct DocLog {
    blocks: Vec<Block>,
    /// How many of `blocks` are durable; those after are staged.
    committed: usize,
    chains: BTreeMap<PeerId, Vec<Link>>,
}

impl DocLog {
    /// How many blocks are durable.
    pub(crate) fn committed(&self) -> usize {
        self.committed
    }

    /// What is here, staged blocks included.
    pub(crate) fn version(&self) -> VersionVector {
        self.chains.keys().map(|&peer| (peer, self.count(peer))).collect()
    }

    /// How many operations of `peer` are here.
    pub(crate) fn count(&self, peer: PeerId) -> u32 {
        let last = self.chains.get(&peer).and_then(|chain| chain.last());
        last.map_or(0, |link| self.blocks[link.index].end())
    }

    /// How far the chain of `peer` goes.
    pub(crate) fn mark(&self, peer: PeerId) -> Option<PeerMark> {
        let link = self.chains.get(&peer)?.last()?;
        Some(PeerMark { peer, seq: self.blocks[link.index].end(), hash: link.hash })
    }

    /// The block that holds the operation.
    fn block_of(&self, op: OpId) -> Option<&Block> {
        let chain = self.chains.get(&op.peer)?;
        let after = chain.partition_point(|link| link.seq <= op.seq);
        let block = &self.blocks[chain[after.checked_sub(1)?].index];
        (op.seq < block.end()).then_some(block)
    }

    /// The stamp of an operation that is here.
    fn stamp_of(&self, op: OpId) -> Option<u64> {
        let block = self.block_of(op)?;
        Some(block.header().stamp.0 + u64::from(op.seq - block.seq()))
    }

    /// What to do with `block`, at `wall_ms`. The body is not looked at.
    pub(crate) fn check(&self, block: &Block, wall_ms: u64) -> Check {
        let header = block.header();
        let count = self.count(header.peer);
        if header.seq < count {
            return match self.block_of(OpId::new(header.peer, header.seq)) {
                Some(known) if known == block => Check::Known,
                _ => Check::Refused(NackCode::DuplicatePeer, 0),
            };
        }
        if header.seq > count {
            return Check::Refused(NackCode::MissingDeps, MISSING_RETRY_MS);
        }
        let previous = header.seq.checked_sub(1).map(|seq| OpId::new(header.peer, seq));
        for op in header.deps.iter().copied().chain(previous) {
            match self.stamp_of(op) {
                None => return Check::Refused(NackCode::MissingDeps, MISSING_RETRY_MS),
                Some(stamp) if stamp >= header.stamp.0 => {
                    return Check::Refused(NackCode::Invalid, 0);
                }
                Some(_) => {}
            }
        }
        if header.stamp.is_future(wall_ms) {
            let early_ms = header.stamp.wall_ms().saturating_sub(wall_ms + FUTURE_MS_MAX);
            let retry_ms = u32::try_from(early_ms).unwrap_or(u32::MAX).max(1_000);
            return Check::Refused(NackCode::ClockSkew, retry_ms);
        }
        Check::New
    }

    /// Adds a block that was checked, invisibly.
    pub(crate) fn stage(&mut self, block: Block) {
        let chain = self.chains.entry(block.peer()).or_default();
        let hash = block.chain_hash(chain.last().map_or(0, |link| link.hash));
        chain.push(Link { seq: block.seq(), index: self.blocks.len(), hash });
        self.blocks.push(block);
    }

    /// The staged blocks.
    pub(crate) fn staged(&self) -> &[Block] {
        &self.blocks[self.committed..]
    }

    /// Makes the staged blocks visible: they are durable.
    pub(crate) fn commit(&mut self) {
        self.committed = self.blocks.len();
    }

    /// Takes the staged blocks back: they are not stored.
    pub(crate) fn unstage(&mut self) {
        for block in self.blocks.drain(self.committed..).rev() {
            if let Some(chain) = self.chains.get_mut(&block.peer()) {
                chain.pop();
                if chain.is_empty() {
                    self.chains.remove(&block.peer());
                }
            }
        }
    }

    /// Adds stored blocks, in causal order, that are not here yet; returns how many were new.
    pub(crate) fn absorb(&mut self, blocks: impl IntoIterator<Item = Block>) -> usize {
        let before = self.blocks.len();
        for block in blocks {
            if block.seq() == self.count(block.peer()) {
                self.stage(block);
            }
        }
        self.commit();
        self.blocks.len() - before
    }

    /// The next blocks for a subscriber that has read up to `cursor`, leaving out what `have`
    /// covers, and where to read on. No blocks means that nothing is left.
    pub(crate) fn read(&self, cursor: usize, have: &VersionVector) -> (usize, Vec<Block>) {
        let mut end = cursor;
        let mut bytes = 0;
        let mut wanted = Vec::new();
        for block in &self.blocks[cursor..self.committed] {
            if block.end() > have.get(block.peer()) {
                let len = block.bytes().len();
                if !wanted.is_empty() && bytes + len > READ_BYTES {
                    break;
                }
                bytes += len;
                wanted.push(block.clone());
            }
            end += 1;
        }
        (end, wanted)
    }
}

#[cfg(test)]
mod tests {
    use leptos_sync_crdt::Doc;

    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    /// Writes `text` on top of `after` as `peer`.
    fn write(peer: u64, after: &[Block], text: &str) -> Block {
        let mut doc = Doc::new(PeerId(peer));
        doc.import(NOW, after.iter().cloned()).expect("valid blocks");
        let ((), commit) = doc.transact(NOW, |tx| tx.register("r").set(text));
        doc.block(&commit.expect("something was written"))
    }

    fn log_of(blocks: &[Block]) -> DocLog {
        let mut log = DocLog::default();
        log.absorb(blocks.iter().cloned());
        log
    }

    #[test]
    fn the_same_block_again_is_known_and_another_one_is_a_duplicate() {
        let first = write(1, &[], "a");
        let log = log_of(std::slice::from_ref(&first));
        assert_eq!(log.check(&first, NOW), Check::Known);
        let other = write(1, &[], "b");
        assert_eq!(log.check(&other, NOW), Check::Refused(NackCode::DuplicatePeer, 0));
    }

    #[test]
    fn a_gap_and_an_unknown_dependency_wait() {
        let first = write(1, &[], "a");
        let second = write(1, std::slice::from_ref(&first), "b");
        let other = write(2, std::slice::from_ref(&first), "c");
        let log = DocLog::default();
        let wait = Check::Refused(NackCode::MissingDeps, MISSING_RETRY_MS);
        assert_eq!(log.check(&second, NOW), wait);
        assert_eq!(log.check(&other, NOW), wait);
        let log = log_of(&[first]);
        assert_eq!(log.check(&second, NOW), Check::New);
        assert_eq!(log.check(&other, NOW), Check::New);
    }

    #[test]
    fn a_clock_far_ahead_is_told_when_to_come_back() {
        let block = write(1, &[], "a");
        let early = NOW - FUTURE_MS_MAX - 60_000;
        let log = DocLog::default();
        assert_eq!(log.check(&block, early), Check::Refused(NackCode::ClockSkew, 60_000));
        assert_eq!(log.check(&block, NOW - FUTURE_MS_MAX), Check::New);
    }

    #[test]
    fn what_is_taken_back_was_never_there() {
        let first = write(1, &[], "a");
        let second = write(1, std::slice::from_ref(&first), "b");
        let third = write(2, &[], "c");
        let mut log = log_of(std::slice::from_ref(&first));
        let (version, mark) = (log.version(), log.mark(PeerId(1)));
        log.stage(second.clone());
        log.stage(third);
        assert_eq!(log.read(0, &version), (1, Vec::new()));
        log.unstage();
        assert_eq!((log.version(), log.mark(PeerId(1))), (version, mark));
        assert_eq!(log.mark(PeerId(2)), None);
        assert_eq!(log.check(&second, NOW), Check::New);
    }

    #[test]
    fn what_a_subscriber_has_is_left_out() {
        let blocks = [write(1, &[], "a"), write(2, &[], "b")];
        let log = log_of(&blocks);
        assert_eq!(log.read(0, &VersionVector::new()), (2, blocks.to_vec()));
        assert_eq!(log.read(1, &VersionVector::new()), (2, blocks[1..].to_vec()));
        let have = [(PeerId(1), 1)].into_iter().collect();
        assert_eq!(log.read(0, &have), (2, blocks[1..].to_vec()));
        assert_eq!(log.read(2, &have), (2, Vec::new()));
    }
}
