//! One open document as the server sees it: its blocks in the order in which they came, the older
//! ones in packs, and of each the little that decides about others.
//!
//! Guarantees: a block is taken only if its author's previous one and all it depends on are here,
//! and its stamp is after theirs; what is staged is invisible until it is committed, and can be
//! taken back. Bodies are not interpreted.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use leptos_sync_crdt::{Block, DecodeError, FUTURE_MS_MAX, OpId, PeerId, VersionVector};
use leptos_sync_protocol::{FRAME_MESSAGES_MAX, NackCode, PeerMark};
use leptos_sync_storage::{Snapshot, StoredDoc, planted};

use self::marks::gain;
use crate::packs::{Content, PACK_BLOCK_BYTES, Pack, SMALL_BYTES_MAX, read_packs, snapshot_of};

mod marks;

/// How many bytes of blocks one read returns at most, unless a single block is larger.
const READ_BYTES: usize = 60 << 10;

/// How many packs: a frame has room for so many messages.
const READ_PACKS: usize = FRAME_MESSAGES_MAX / 2;

/// When a block that waits for another may be tried again.
const MISSING_RETRY_MS: u32 = 500;

/// A larger snapshot is not written: its blocks stay as they are.
const SNAPSHOT_BYTES_MAX: usize = 256 << 20;

/// One block in its author's chain: what is left of it when it is in a pack.
#[derive(Debug)]
struct Link {
    stamp: u64,
    seq: u32,
    checksum: u32,
}

/// The blocks of one author.
#[derive(Debug, Default)]
struct Chain {
    links: Vec<Link>,
    /// The seq after the last.
    end: u32,
    /// The chain hash over all of them.
    hash: u64,
}

impl Chain {
    /// The block that holds an operation: where it ends, and what is known of it.
    fn link_of(&self, seq: u32) -> Option<(&Link, u32)> {
        let after = self.links.partition_point(|link| link.seq <= seq);
        let end = self.links.get(after).map_or(self.end, |next| next.seq);
        (seq < end).then_some((&self.links[after.checked_sub(1)?], end))
    }
}

/// A block that is staged, and how far its author's chain went before.
#[derive(Debug)]
struct Staged {
    block: Block,
    end: u32,
    hash: u64,
}

/// What to do with a block that was offered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// It is here already, by its header and checksum.
    Known,
    /// It may be staged.
    New,
    /// It is refused; the number is when to try again, 0 for never.
    Refused(NackCode, u32),
}

/// What comes next for a subscriber.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Blocks; none if nothing is left, or nothing that it lacks.
    Blocks(Vec<Block>),
    /// Update files, of each of which it lacks at least half.
    Packs(Vec<Bytes>),
}

/// The blocks of one document.
#[derive(Debug, Default)]
pub(crate) struct DocLog {
    /// The older blocks, and how many there are up to the end of each pack.
    packs: Vec<Pack>,
    ends: Vec<usize>,
    /// The durable blocks after those.
    blocks: VecDeque<Block>,
    staged: Vec<Staged>,
    chains: BTreeMap<PeerId, Chain>,
    /// The digest of the version that the durable blocks make.
    digest: u64,
    /// How many blocks the store has in its snapshot, or was asked to.
    stored: usize,
}

impl DocLog {
    /// What a store has of the document. Batches of `batch` blocks are packed.
    ///
    /// # Errors
    /// What is wrong with the stored snapshot.
    pub(crate) fn from_stored(stored: StoredDoc, batch: usize) -> Result<Self, DecodeError> {
        let mut log = Self::default();
        if let Some(snapshot) = stored.snapshot {
            read_packs(&snapshot.bytes, |pack, blocks| {
                for block in blocks {
                    log.link(&block);
                    log.count_in(&block);
                }
                log.push_pack(pack);
            })?;
        }
        log.stored = log.packed();
        log.add(stored.blocks);
        while let Some(blocks) = log.next_batch(batch) {
            log.put(Pack::of(blocks));
        }
        Ok(log)
    }

    fn push_pack(&mut self, pack: Pack) {
        self.ends.push(self.packed() + pack.count);
        self.packs.push(pack);
    }

    /// How many blocks are in packs.
    fn packed(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// How many blocks are durable.
    pub(crate) fn committed(&self) -> usize {
        self.packed() + self.blocks.len()
    }

    /// What is here, staged blocks included.
    pub(crate) fn version(&self) -> VersionVector {
        self.chains.iter().map(|(peer, chain)| (*peer, chain.end)).collect()
    }

    /// How many operations of `peer` are here.
    fn count(&self, peer: PeerId) -> u32 {
        self.chains.get(&peer).map_or(0, |chain| chain.end)
    }

    /// How far the chain of `peer` goes.
    pub(crate) fn mark(&self, peer: PeerId) -> Option<PeerMark> {
        let chain = self.chains.get(&peer)?;
        Some(PeerMark { peer, seq: chain.end, hash: chain.hash })
    }

    /// The stamp of an operation that is here.
    fn stamp_of(&self, op: OpId) -> Option<u64> {
        let (link, _) = self.chains.get(&op.peer)?.link_of(op.seq)?;
        Some(link.stamp + u64::from(op.seq - link.seq))
    }

    /// Whether the block of this name is this one.
    fn is_known(&self, block: &Block) -> bool {
        let chain = self.chains.get(&block.peer());
        chain.and_then(|chain| chain.link_of(block.seq())).is_some_and(|(link, end)| {
            let name = (link.seq, end, link.stamp, link.checksum);
            name == (block.seq(), block.end(), block.header().stamp.0, checksum_of(block))
        })
    }

    /// What to do with `block`, at `wall_ms`. The body is not looked at.
    pub(crate) fn check(&self, block: &Block, wall_ms: u64) -> Check {
        let header = block.header();
        let count = self.count(header.peer);
        if header.seq < count && !planted!(StoresWhatIsSentAgain) {
            let duplicate = Check::Refused(NackCode::DuplicatePeer, 0);
            return if self.is_known(block) { Check::Known } else { duplicate };
        }
        if header.seq > count {
            return Check::Refused(NackCode::MissingDeps, MISSING_RETRY_MS);
        }
        for op in block.builds_on() {
            match self.stamp_of(op) {
                None if planted!(ForgetsADependency) => {}
                None => return Check::Refused(NackCode::MissingDeps, MISSING_RETRY_MS),
                Some(stamp) if stamp >= header.stamp.0 => {
                    return Check::Refused(NackCode::Invalid, 0);
                }
                Some(_) => {}
            }
        }
        if header.stamp.is_future(wall_ms) && !planted!(TakesAnyStamp) {
            let early_ms = header.stamp.wall_ms().saturating_sub(wall_ms + FUTURE_MS_MAX);
            let retry_ms = u32::try_from(early_ms).unwrap_or(u32::MAX).max(1_000);
            return Check::Refused(NackCode::ClockSkew, retry_ms);
        }
        Check::New
    }

    /// Adds a block to its author's chain; returns how far that went before.
    fn link(&mut self, block: &Block) -> (u32, u64) {
        let chain = self.chains.entry(block.peer()).or_default();
        let before = (chain.end, chain.hash);
        let (stamp, seq) = (block.header().stamp.0, block.seq());
        chain.links.push(Link { stamp, seq, checksum: checksum_of(block) });
        (chain.end, chain.hash) = (block.end(), block.chain_hash(chain.hash));
        before
    }

    /// Takes a durable block into the digest.
    fn count_in(&mut self, block: &Block) {
        let gain = gain(block.peer(), block.seq(), block.end());
        self.digest = self.digest.wrapping_add(gain);
    }

    /// Adds a block that was checked, invisibly.
    pub(crate) fn stage(&mut self, block: Block) {
        let (end, hash) = self.link(&block);
        self.staged.push(Staged { block, end, hash });
    }

    /// The staged blocks.
    pub(crate) fn staged(&self) -> Vec<Block> {
        self.staged.iter().map(|staged| staged.block.clone()).collect()
    }

    /// Makes the staged blocks visible: they are durable.
    pub(crate) fn commit(&mut self) {
        for Staged { block, .. } in std::mem::take(&mut self.staged) {
            self.count_in(&block);
            self.blocks.push_back(block);
        }
    }

    /// Takes the staged blocks back: they are not stored.
    pub(crate) fn unstage(&mut self) {
        for Staged { block, end, hash } in self.staged.drain(..).rev() {
            let Some(chain) = self.chains.get_mut(&block.peer()) else { continue };
            chain.links.pop();
            (chain.end, chain.hash) = (end, hash);
            if end == 0 {
                self.chains.remove(&block.peer());
            }
        }
    }

    /// Adds what another log of the document has and this one lacks; returns how much that was.
    pub(crate) fn absorb(&mut self, other: Self) -> usize {
        if self.committed() == 0 && self.staged.is_empty() {
            *self = other;
            return self.committed();
        }
        let version = self.version();
        let packs = other.packs.iter().filter(|pack| pack.lacking(&version).0 > 0);
        let added: usize = packs.map(|pack| self.add(pack.blocks())).sum();
        added + self.add(other.blocks)
    }

    /// Adds durable blocks, in causal order, that are not here yet; returns how many were new.
    fn add(&mut self, blocks: impl IntoIterator<Item = Block>) -> usize {
        let before = self.blocks.len();
        for block in blocks {
            if block.seq() == self.count(block.peer()) {
                self.link(&block);
                self.count_in(&block);
                self.blocks.push_back(block);
            }
        }
        self.blocks.len() - before
    }

    /// The oldest blocks that are not packed, if there are twice as many as make a pack: the latest
    /// are read most.
    pub(crate) fn next_batch(&self, batch: usize) -> Option<Vec<Block>> {
        if self.blocks.len() < 2 * batch {
            return None;
        }
        let mut bytes = 0;
        let fits = |block: &&Block| {
            bytes += block.bytes().len();
            block.bytes().len() <= SMALL_BYTES_MAX && bytes <= PACK_BLOCK_BYTES
        };
        let count = self.blocks.range(..batch).take_while(fits).count().max(1);
        Some(self.blocks.range(..count).cloned().collect())
    }

    /// Puts a pack of what [`DocLog::next_batch`] gave in its place.
    pub(crate) fn put(&mut self, pack: Pack) {
        self.blocks.drain(..pack.count);
        self.push_pack(pack);
    }

    /// The snapshot that the store should have, if it is time: when as many blocks are packed anew
    /// as make one in four of all, and at least `batch`. Counts as stored.
    pub(crate) fn due_snapshot(&mut self, batch: usize) -> Option<Snapshot> {
        let packed = self.packed();
        if packed - self.stored < batch.max(packed / 4) {
            return None;
        }
        self.stored = packed;
        let bytes: usize = self.packs.iter().map(Pack::bytes).sum();
        (bytes <= SNAPSHOT_BYTES_MAX).then(|| snapshot_of(&self.packs))
    }

    /// What comes next for a subscriber that has read up to `cursor` and has `have`, and where to
    /// read on.
    pub(crate) fn read(&self, mut cursor: usize, have: &VersionVector) -> (usize, News) {
        let first = self.ends.partition_point(|end| *end <= cursor);
        let (mut updates, mut bytes) = (Vec::new(), 0);
        for (pack, end) in self.packs[first..].iter().zip(&self.ends[first..]) {
            let (lacking, all) = pack.lacking(have);
            let skip = cursor - (end - pack.count);
            match &pack.content {
                _ if lacking == 0 => {}
                Content::Update(update) if skip == 0 && 2 * lacking >= all => {
                    bytes += update.len();
                    let is_full = bytes > READ_BYTES || updates.len() == READ_PACKS;
                    if !updates.is_empty() && is_full {
                        break;
                    }
                    updates.push(update.clone());
                }
                _ if !updates.is_empty() => break,
                _ => {
                    let lacks = |block: &Block| block.end() > have.get(block.peer());
                    let blocks = pack.blocks().into_iter().skip(skip).filter(lacks);
                    return (*end, News::Blocks(blocks.collect()));
                }
            }
            cursor = *end;
        }
        if !updates.is_empty() {
            return (cursor, News::Packs(updates));
        }
        let mut bytes = 0;
        let mut wanted = Vec::new();
        for block in self.blocks.range(cursor - self.packed()..) {
            if block.end() > have.get(block.peer()) {
                let len = block.bytes().len();
                if !wanted.is_empty() && bytes + len > READ_BYTES {
                    break;
                }
                bytes += len;
                wanted.push(block.clone());
            }
            cursor += 1;
        }
        (cursor, News::Blocks(wanted))
    }
}

/// The last four bytes of a block.
fn checksum_of(block: &Block) -> u32 {
    u32::from_le_bytes(*block.bytes().last_chunk().expect("a block has a checksum"))
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

    pub(super) fn log_of(blocks: &[Block]) -> DocLog {
        DocLog::from_stored(StoredDoc { snapshot: None, blocks: blocks.to_vec() }, 2)
            .expect("nothing is packed")
    }

    /// A letter for each of so many changes of `peer`.
    pub(super) fn type_letters(peer: u64, after: &[Block], count: usize) -> Vec<Block> {
        let mut doc = Doc::new(PeerId(peer));
        doc.import(NOW, after.iter().cloned()).expect("valid blocks");
        let before = doc.version().clone();
        for at in 0..count {
            doc.transact(NOW, |tx| tx.text("t").insert(at, "x")).0.expect("it is in the text");
        }
        doc.blocks_since(&before)
    }

    /// All that a subscriber with `have` gets, from `cursor` on, and how many packs are among it.
    pub(super) fn read_all(
        log: &DocLog,
        mut cursor: usize,
        have: &VersionVector,
    ) -> (Vec<Block>, usize) {
        let (mut all, mut packs) = (Vec::new(), 0);
        loop {
            let (next, news) = log.read(cursor, have);
            match news {
                News::Blocks(blocks) => all.extend(blocks),
                News::Packs(updates) => {
                    packs += updates.len();
                    let unpack = |update: &Bytes| leptos_sync_crdt::unpack_blocks(update);
                    all.extend(updates.iter().flat_map(|update| unpack(update).expect("a pack")));
                }
            }
            if next == cursor {
                return (all, packs);
            }
            cursor = next;
        }
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
        assert_eq!(log.read(0, &version), (1, News::Blocks(Vec::new())));
        log.unstage();
        assert_eq!((log.version(), log.mark(PeerId(1))), (version, mark));
        assert_eq!(log.mark(PeerId(2)), None);
        assert_eq!(log.check(&second, NOW), Check::New);
    }

    #[test]
    fn what_a_subscriber_has_is_left_out() {
        let blocks = [write(1, &[], "a"), write(2, &[], "b")];
        let log = log_of(&blocks);
        let none = VersionVector::new();
        assert_eq!(log.read(0, &none), (2, News::Blocks(blocks.to_vec())));
        assert_eq!(log.read(1, &none), (2, News::Blocks(blocks[1..].to_vec())));
        let have = [(PeerId(1), 1)].into_iter().collect();
        assert_eq!(log.read(0, &have), (2, News::Blocks(blocks[1..].to_vec())));
        assert_eq!(log.read(2, &have), (2, News::Blocks(Vec::new())));
    }

    #[test]
    fn older_blocks_are_packed_and_read_as_they_were() {
        let blocks = type_letters(1, &[], 9);
        let log = log_of(&blocks);
        assert_eq!(log.packs.iter().map(|pack| pack.count).collect::<Vec<_>>(), [2, 2, 2]);
        let (version, mark) = (log.version(), log.mark(PeerId(1)));
        assert_eq!((version.get(PeerId(1)), log.committed()), (9, 9));
        let hash = blocks.iter().fold(0, |hash, block| block.chain_hash(hash));
        assert_eq!(mark, Some(PeerMark { peer: PeerId(1), seq: 9, hash }));
        for have in 0..=9 {
            let version = [(PeerId(1), have)].into_iter().filter(|(_, n)| *n > 0).collect();
            let (read, _) = read_all(&log, 0, &version);
            let lacked: Vec<_> = read.iter().filter(|block| block.end() > have).cloned().collect();
            assert_eq!(lacked, blocks[have as usize..], "to one who has {have}");
            assert!(read.len() <= lacked.len() + 1, "half of a pack at most is sent again");
            let (rest, _) = read_all(&log, have as usize, &VersionVector::new());
            assert_eq!(rest, blocks[have as usize..], "to one who read {have}");
        }
        assert_eq!(read_all(&log, 0, &VersionVector::new()).1, 3);
    }

    #[test]
    fn blocks_in_packs_are_known_and_others_of_their_names_are_not() {
        let blocks = type_letters(1, &[], 9);
        let log = log_of(&blocks);
        let other = type_letters(1, &[], 1).remove(0);
        assert_eq!(log.check(&other, NOW), Check::Known, "the same bytes");
        for block in &blocks {
            assert_eq!(log.check(block, NOW), Check::Known);
        }
        let other = write(1, &[], "other");
        assert_eq!(log.check(&other, NOW), Check::Refused(NackCode::DuplicatePeer, 0));
        let late = write(2, &blocks[..3], "after the third");
        assert_eq!(log.check(&late, NOW), Check::New);
    }

    #[test]
    fn sixteen_bytes_stay_of_a_block_in_a_pack() {
        assert_eq!(size_of::<Link>(), 16);
    }

    #[test]
    fn a_large_block_stays_as_it_is() {
        let large = "x".repeat(SMALL_BYTES_MAX);
        let mut blocks = type_letters(1, &[], 3);
        blocks.push(write(2, &[], &large));
        blocks.extend(type_letters(3, &[], 6));
        let log = log_of(&blocks);
        let is_update = |pack: &Pack| matches!(pack.content, Content::Update(_));
        let packs: Vec<_> = log.packs.iter().map(|pack| (pack.count, is_update(pack))).collect();
        assert_eq!(packs, [(2, true), (1, false), (1, false), (2, true), (2, true)]);
        assert_eq!(read_all(&log, 0, &VersionVector::new()).0, blocks);
    }

    #[test]
    fn a_snapshot_is_due_when_a_fourth_is_packed_anew_and_is_read_again() {
        let blocks = type_letters(1, &[], 40);
        let mut log = log_of(&blocks[..9]);
        let first = log.due_snapshot(2).expect("nothing is stored yet");
        assert_eq!((first.version.get(PeerId(1)), log.due_snapshot(2)), (6, None));
        let mut due = Vec::new();
        for block in &blocks[9..] {
            log.stage(block.clone());
            log.commit();
            while let Some(batch) = log.next_batch(2) {
                log.put(Pack::of(batch));
            }
            due.extend(log.due_snapshot(2).map(|snapshot| snapshot.version.get(PeerId(1))));
        }
        assert_eq!(due, [8, 10, 14, 18, 24, 32]);
        let snapshot = snapshot_of(&log.packs);
        let rest = blocks[snapshot.version.get(PeerId(1)) as usize..].to_vec();
        let stored = StoredDoc { snapshot: Some(snapshot), blocks: rest };
        assert_eq!(crate::stored_blocks(stored.clone()), Ok(blocks.clone()));
        let again = DocLog::from_stored(stored, 2).expect("a snapshot");
        assert_eq!(read_all(&again, 0, &VersionVector::new()).0, blocks);
        assert_eq!((again.version(), again.mark(PeerId(1))), (log.version(), log.mark(PeerId(1))));
        let damaged = Snapshot { version: log.version(), bytes: b"LSP1\x02\x00".to_vec() };
        let damaged = StoredDoc { snapshot: Some(damaged), blocks: Vec::new() };
        let unknown = DecodeError::UnsupportedVersion(2);
        assert_eq!(DocLog::from_stored(damaged, 2).map(drop), Err(unknown));
    }

    #[test]
    fn what_another_process_stored_is_added() {
        let blocks = type_letters(1, &[], 9);
        let theirs = type_letters(2, &blocks[..2], 9);
        let mut log = log_of(&blocks[..5]);
        let all = [&blocks[..], &theirs[..]].concat();
        assert_eq!(log.absorb(log_of(&all)), 13);
        assert_eq!(log.version().get(PeerId(2)), 9);
        let (read, _) = read_all(&log, 0, &VersionVector::new());
        assert_eq!(read.len(), 18);
        assert_eq!(log.absorb(log_of(&all)), 0);
    }
}
