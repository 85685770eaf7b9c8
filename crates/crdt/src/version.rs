//! How much of a document somebody has: version vectors and frontiers.
//!
//! A peer's previous operation is always an ancestor of its next (the chain rule), so a count per
//! peer names an exact set of operations.

use xxhash_rust::xxh64::xxh64;

use crate::codec::{DecodeError, Reader, Writer};
use crate::id::{OpId, PeerId};

/// For each peer, how many of its operations are included. Absent means none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct VersionVector {
    /// By peer, ascending; no count is 0.
    counts: Vec<(PeerId, u32)>,
}

impl VersionVector {
    /// The version before everything.
    #[must_use]
    pub const fn new() -> Self {
        Self { counts: Vec::new() }
    }

    fn find(&self, peer: PeerId) -> Result<usize, usize> {
        self.counts.binary_search_by_key(&peer, |(peer, _)| *peer)
    }

    /// How many peers of those that are included come before this one.
    pub(crate) fn place_of(&self, peer: PeerId) -> usize {
        self.find(peer).unwrap_or_else(|place| place)
    }

    /// How many operations of `peer` are included: also the seq of its next one.
    #[must_use]
    pub fn get(&self, peer: PeerId) -> u32 {
        self.find(peer).map_or(0, |at| self.counts[at].1)
    }

    /// Whether the operation is included.
    #[must_use]
    pub fn contains(&self, op: OpId) -> bool {
        op.seq < self.get(op.peer)
    }

    /// Includes the first `count` operations of `peer`; never forgets any.
    #[inline]
    pub fn extend(&mut self, peer: PeerId, count: u32) {
        match self.find(peer) {
            Ok(at) => self.counts[at].1 = self.counts[at].1.max(count),
            Err(at) => self.include(at, peer, count),
        }
    }

    #[inline(never)]
    fn include(&mut self, at: usize, peer: PeerId, count: u32) {
        if count > 0 {
            self.counts.insert(at, (peer, count));
        }
    }

    /// Includes all that `other` includes.
    pub fn merge(&mut self, other: &Self) {
        for (peer, count) in other.iter() {
            self.extend(peer, count);
        }
    }

    /// Whether everything in `other` is included here.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.iter().all(|(peer, count)| self.get(peer) >= count)
    }

    /// The peers and their counts, by peer.
    pub fn iter(&self) -> impl Iterator<Item = (PeerId, u32)> + '_ {
        self.counts.iter().copied()
    }

    /// Whether nothing is included.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// How many peers have at least one operation included.
    #[must_use]
    pub fn peer_count(&self) -> usize {
        self.counts.len()
    }

    /// A number that tells versions apart: the sum of [`VersionVector::digest_of`] over all peers,
    /// modulo 2⁶⁴. It can be kept up to date as operations come, and proves nothing to somebody who
    /// chooses peer ids in order to deceive.
    ///
    /// ```
    /// use leptos_sync_crdt::{PeerId, VersionVector};
    /// let mut version = VersionVector::new();
    /// version.extend(PeerId(1), 3);
    /// let before = version.digest();
    /// version.extend(PeerId(2), 1);
    /// assert_eq!(version.digest(), before.wrapping_add(VersionVector::digest_of(PeerId(2), 1)));
    /// ```
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.iter().fold(0, |sum, (peer, count)| sum.wrapping_add(Self::digest_of(peer, count)))
    }

    /// What one peer adds to [`VersionVector::digest`]: xxHash64, seed 0, of the peer (8 bytes) and
    /// its count (4 bytes), little-endian; and 0 if the count is.
    #[must_use]
    pub fn digest_of(peer: PeerId, count: u32) -> u64 {
        if count == 0 {
            return 0;
        }
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&peer.0.to_le_bytes());
        bytes[8..].copy_from_slice(&count.to_le_bytes());
        xxh64(&bytes, 0)
    }

    /// Appends the vector: a count, then peer (8 bytes) and varint count for each.
    pub fn encode(&self, out: &mut Writer) {
        out.len(self.counts.len());
        for (peer, count) in self.iter() {
            out.u64_le(peer.0);
            out.varint(u64::from(count));
        }
    }

    /// Reads what [`VersionVector::encode`] wrote.
    ///
    /// # Errors
    /// A [`DecodeError`]; peers must be strictly ascending and counts above zero.
    pub fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.read(|input| {
            let count = input.count(9);
            let mut counts = Vec::<(PeerId, u32)>::with_capacity(count);
            for _ in 0..count {
                let OpId { peer, seq: count } = OpId::decode(input);
                let is_next = counts.last().is_none_or(|(last, _)| *last < peer);
                input.ensure(is_next && count > 0, "version vector");
                counts.push((peer, count));
            }
            Self { counts }
        })
    }
}

impl FromIterator<(PeerId, u32)> for VersionVector {
    fn from_iter<I: IntoIterator<Item = (PeerId, u32)>>(counts: I) -> Self {
        let mut version = Self::new();
        for (peer, count) in counts {
            version.extend(peer, count);
        }
        version
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_tells_versions_apart_and_is_the_sum_of_its_parts() {
        let one: VersionVector = [(PeerId(1), 3)].into_iter().collect();
        let two: VersionVector = [(PeerId(1), 3), (PeerId(2), 1)].into_iter().collect();
        let sum = |parts: &[(u64, u32)]| {
            let digest_of =
                |(peer, count): &(u64, u32)| VersionVector::digest_of(PeerId(*peer), *count);
            parts.iter().map(digest_of).fold(0, u64::wrapping_add)
        };
        assert_eq!((VersionVector::new().digest(), sum(&[(7, 0)])), (0, 0));
        assert_eq!((one.digest(), two.digest()), (sum(&[(1, 3)]), sum(&[(2, 1), (1, 3)])));
        let digests = [(1, 3), (3, 1), (1, 1), (2, 3)].map(|part| sum(&[part]));
        for (at, digest) in digests.iter().enumerate() {
            assert!(*digest != 0 && !digests[..at].contains(digest));
        }
    }
}
