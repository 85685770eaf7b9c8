//! Log marks: how far a client read a log, in the place of everything it has.
//!
//! A version vector has an entry for each author there ever was, and grows with the years. A
//! position in the log says as much, as long as the log is the one that was read: after a restore,
//! or where another process wrote at the same time, what is below it may be something else. So a
//! mark has the digest of the version below it, too.

use std::collections::BTreeMap;

use leptos_sync_crdt::{PeerId, VersionVector};
use leptos_sync_protocol::LogMark;

use super::DocLog;

/// What the digest of a version gains where a peer's count goes from one number to another.
pub(super) fn gain(peer: PeerId, from: u32, end: u32) -> u64 {
    VersionVector::digest_of(peer, end).wrapping_sub(VersionVector::digest_of(peer, from))
}

impl DocLog {
    /// The mark at a position, which is not above the end.
    pub(crate) fn mark_at(&self, position: usize) -> LogMark {
        let mut digest = self.digest;
        self.spans_above(position, |peer, from, end| {
            digest = digest.wrapping_sub(gain(peer, from, end));
        });
        LogMark { position: position as u64, digest }
    }

    /// Where to read on from a mark, and how much there is of each peer of which there is more
    /// above it; `None` if it is not a mark of this log.
    pub(crate) fn since(&self, mark: LogMark) -> Option<(usize, VersionVector)> {
        let position = usize::try_from(mark.position).ok().filter(|at| *at <= self.committed())?;
        let (mut digest, mut above) = (self.digest, BTreeMap::new());
        self.spans_above(position, |peer, from, end| {
            digest = digest.wrapping_sub(gain(peer, from, end));
            above.entry(peer).or_insert(end);
        });
        (digest == mark.digest).then(|| (position, above.into_iter().collect()))
    }

    /// Reports whose operations are above a position, the latest first: each peer's first seq of
    /// some of them, and the seq after the last.
    fn spans_above(&self, position: usize, mut report: impl FnMut(PeerId, u32, u32)) {
        let after = position.saturating_sub(self.packed()).min(self.blocks.len());
        for block in self.blocks.range(after..).rev() {
            report(block.peer(), block.seq(), block.end());
        }
        for (pack, end) in self.packs.iter().zip(&self.ends).rev() {
            let start = end - pack.count;
            if position >= *end {
                return;
            }
            if position <= start {
                pack.spans.iter().for_each(|(peer, from, end)| report(*peer, *from, *end));
            } else {
                for block in pack.blocks().iter().skip(position - start) {
                    report(block.peer(), block.seq(), block.end());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use leptos_sync_crdt::Block;

    use super::super::tests::{log_of, read_all, type_letters};
    use super::*;

    /// Letters of three authors by turns, some of them twice in a pack.
    fn blocks() -> Vec<Block> {
        let mut blocks = Vec::new();
        for round in 0..4 {
            let peer = [1, 2, 1, 3][round];
            let before = blocks.clone();
            blocks.extend(type_letters(peer, &before, 3));
        }
        blocks
    }

    fn version_of(blocks: &[Block]) -> VersionVector {
        blocks.iter().map(|block| (block.peer(), block.end())).collect()
    }

    #[test]
    fn a_mark_has_the_digest_of_what_is_below_it() {
        let blocks = blocks();
        let log = log_of(&blocks);
        assert!(log.packs.len() > 3 && !log.blocks.is_empty());
        for position in 0..=blocks.len() {
            let digest = version_of(&blocks[..position]).digest();
            assert_eq!(log.mark_at(position), LogMark { position: position as u64, digest });
        }
    }

    #[test]
    fn from_a_mark_on_the_rest_is_read_and_its_authors_are_named() {
        let blocks = blocks();
        let (log, all) = (log_of(&blocks), version_of(&blocks));
        for position in 0..=blocks.len() {
            let above = version_of(&blocks[position..]);
            let above = above.iter().map(|(peer, _)| (peer, all.get(peer))).collect();
            assert_eq!(log.since(log.mark_at(position)), Some((position, above)));
            let (read, _) = read_all(&log, position, &VersionVector::new());
            assert_eq!(read, blocks[position..]);
        }
    }

    #[test]
    fn a_mark_of_another_log_is_unknown() {
        let blocks = blocks();
        let log = log_of(&blocks);
        let shorter = log_of(&blocks[..7]);
        assert_eq!(shorter.since(log.mark_at(7)), Some((7, VersionVector::new())));
        assert_eq!(shorter.since(log.mark_at(8)), None);
        let other = log_of(&[&blocks[..6], &type_letters(9, &blocks[..6], 6)].concat());
        assert!(other.since(log.mark_at(6)).is_some());
        assert_eq!(other.since(log.mark_at(7)), None);
        assert_eq!(log.since(LogMark { position: u64::MAX, digest: 0 }), None);
        let moved = LogMark { position: 5, ..log.mark_at(6) };
        assert_eq!(log.since(moved), None);
    }

    #[test]
    fn what_is_staged_is_below_no_mark() {
        let blocks = blocks();
        let mut log = log_of(&blocks[..8]);
        let before = log.mark_at(8);
        log.stage(blocks[8].clone());
        assert_eq!(log.mark_at(8), before);
        log.unstage();
        assert_eq!(log.mark_at(8), before);
        log.stage(blocks[8].clone());
        log.commit();
        assert_eq!(log.mark_at(8), before);
        assert_eq!(log.mark_at(9).digest, version_of(&blocks[..9]).digest());
    }
}
