//! Change blocks: one committed transaction as bytes, the unit that is stored, sent and merged.
//!
//! | field | size | meaning |
//! |---|---|---|
//! | version | 1 | 1 |
//! | kind | 1 | 0: plain |
//! | peer | 8, little-endian | author |
//! | seq | varint | the author's operations before this block |
//! | len | varint | seqs that the block takes, at least 1 |
//! | stamp | varint | hybrid clock of the first operation |
//! | deps | varint count, then ids (peer 8, seq varint) | last operations seen of other peers |
//! | body | to the checksum | containers, names, then operations |
//! | checksum | 4, little-endian | xxHash32 (seed 0) of all before it |
//!
//! The header alone says who wrote the block and what it depends on; a server needs no more, so a
//! body can be encrypted later.

use std::sync::Arc;

use xxhash_rust::xxh32::xxh32;
use xxhash_rust::xxh64::xxh64;

use crate::codec::{DecodeError, Input, Writer};
use crate::gather::Gather;
use crate::id::{OpId, PeerId};
use crate::op::Body;
use crate::stamp::{STAMP_END, Stamp};

/// The largest block, in bytes. A larger transaction is refused when it is made.
pub const BLOCK_BYTES_MAX: usize = 16 << 20;

const FORMAT_VERSION: u8 = 1;
const KIND_PLAIN: u8 = 0;
const CHECKSUM_BYTES: usize = 4;

/// Who wrote a block, when, and after what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// The author.
    pub peer: PeerId,
    /// The author's seq of the first operation.
    pub seq: u32,
    /// How many seqs the block takes; at least 1.
    pub len: u32,
    /// The stamp of the first operation; operation `i` has this plus `i`.
    pub stamp: Stamp,
    /// The last operations the author had seen of other peers; the author's own previous one is
    /// implied. By peer, ascending.
    pub deps: Vec<OpId>,
}

impl BlockHeader {
    pub(crate) fn encode(&self, out: &mut Writer) {
        out.u8(FORMAT_VERSION);
        out.u8(KIND_PLAIN);
        out.u64_le(self.peer.0);
        out.varint(u64::from(self.seq));
        out.varint(u64::from(self.len));
        out.varint(self.stamp.0);
        out.len(self.deps.len());
        for dep in &self.deps {
            dep.encode(out);
        }
    }

    fn check(&self) -> Result<(), DecodeError> {
        if self.len == 0 || self.seq.checked_add(self.len).is_none() {
            return Err(DecodeError::Invalid("block length"));
        }
        if self.stamp.0.saturating_add(u64::from(self.len)) > STAMP_END {
            return Err(DecodeError::Invalid("stamp"));
        }
        let is_other = |dep: &OpId| dep.peer != self.peer && dep.seq < u32::MAX;
        let is_sound = self.deps.is_sorted_by(|a, b| a.peer < b.peer);
        if is_sound && self.deps.iter().all(is_other) {
            Ok(())
        } else {
            Err(DecodeError::Invalid("dependency"))
        }
    }
}

/// One committed transaction, encoded. Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    header: Arc<BlockHeader>,
    bytes: Arc<[u8]>,
    body_start: usize,
}

impl Block {
    pub(crate) fn encode(header: BlockHeader, body: &Body) -> Self {
        let mut out = Writer::new();
        header.encode(&mut out);
        let body_start = out.as_slice().len();
        body.encode(&mut out);
        out.u32_le(xxh32(out.as_slice(), 0));
        Self { header: Arc::new(header), bytes: out.into_vec().into(), body_start }
    }

    /// The block of this header and these bytes of a body. `room` is where it is written first.
    pub(crate) fn with_body(
        header: BlockHeader,
        body: &[u8],
        room: &mut Vec<u8>,
    ) -> Result<Self, DecodeError> {
        header.check()?;
        room.clear();
        let mut out = Writer::from_vec(std::mem::take(room));
        header.encode(&mut out);
        let body_start = out.as_slice().len();
        out.raw(body);
        out.u32_le(xxh32(out.as_slice(), 0));
        let bytes: Arc<[u8]> = out.as_slice().into();
        *room = out.into_vec();
        if bytes.len() > BLOCK_BYTES_MAX {
            return Err(DecodeError::Invalid("block size"));
        }
        Ok(Self { header: Arc::new(header), bytes, body_start })
    }

    /// Checks the checksum and reads the header. The body is read by [`Block::validate`].
    ///
    /// # Errors
    /// A [`DecodeError`] if the bytes are not one whole block.
    pub fn parse(bytes: impl Into<Arc<[u8]>>) -> Result<Self, DecodeError> {
        let bytes: Arc<[u8]> = bytes.into();
        if bytes.len() > BLOCK_BYTES_MAX {
            return Err(DecodeError::Invalid("block size"));
        }
        let content_len =
            bytes.len().checked_sub(CHECKSUM_BYTES).ok_or(DecodeError::UnexpectedEnd)?;
        let (content, checksum) = bytes.split_at(content_len);
        if *checksum != xxh32(content, 0).to_le_bytes() {
            return Err(DecodeError::Checksum);
        }
        let mut input = Input::new(content);
        let header = Arc::new(decode_header(&mut input));
        input.result()?;
        let body_start = content_len - input.remaining();
        Ok(Self { header, bytes, body_start })
    }

    /// Checks that the body decodes and takes as many seqs as the header says.
    ///
    /// # Errors
    /// A [`DecodeError`] that names the first flaw.
    pub fn validate(&self) -> Result<(), DecodeError> {
        Body::check(self.body_bytes(), self.header.len)
    }

    /// What is between the header and the checksum.
    pub(crate) fn body_bytes(&self) -> &[u8] {
        &self.bytes[self.body_start..self.bytes.len() - CHECKSUM_BYTES]
    }

    pub(crate) fn checksum(&self) -> &[u8] {
        &self.bytes[self.bytes.len() - CHECKSUM_BYTES..]
    }

    pub(crate) fn body(&self) -> Result<Body, DecodeError> {
        Body::decode(self.body_bytes(), self.header.len)
    }

    /// Who wrote the block, when, and after what.
    #[must_use]
    pub fn header(&self) -> &BlockHeader {
        &self.header
    }

    /// The author.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.header.peer
    }

    /// The author's seq of the first operation.
    #[must_use]
    pub fn seq(&self) -> u32 {
        self.header.seq
    }

    /// The seq after the last operation.
    #[must_use]
    pub fn end(&self) -> u32 {
        self.header.seq + self.header.len
    }

    /// The operations right before it: others' that its author had seen, and the author's own.
    pub fn builds_on(&self) -> impl Iterator<Item = OpId> + '_ {
        let BlockHeader { peer, seq, deps, .. } = &*self.header;
        let own = seq.checked_sub(1).map(|seq| OpId::new(*peer, seq));
        deps.iter().copied().chain(own)
    }

    /// The encoded block, checksum included.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The encoded block as a shared buffer.
    #[must_use]
    pub fn shared_bytes(&self) -> Arc<[u8]> {
        self.bytes.clone()
    }

    /// Extends the chain hash of the author's earlier blocks by this one. A peer's chain starts at
    /// 0; two authors that share a peer id get different chains as soon as they differ.
    #[must_use]
    pub fn chain_hash(&self, previous: u64) -> u64 {
        xxh64(&self.bytes, previous)
    }
}

fn decode_header(input: &mut Input<'_>) -> BlockHeader {
    match input.u8() {
        FORMAT_VERSION => {}
        other => input.fail(DecodeError::UnsupportedVersion(other)),
    }
    let kind = input.u8();
    input.ensure(kind == KIND_PLAIN, "block kind");
    let peer = PeerId(input.u64_le());
    let (seq, len) = (input.varint_u32(), input.varint_u32());
    let stamp = Stamp(input.varint());
    let deps = (0..input.count(9)).map(|_| OpId::decode(input)).gather();
    let header = BlockHeader { peer, seq, len, stamp, deps };
    if let Err(error) = header.check() {
        input.fail(error);
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> BlockHeader {
        let deps = vec![OpId::new(PeerId(3), 1), OpId::new(PeerId(8), u32::MAX - 1)];
        BlockHeader { peer: PeerId(5), seq: 7, len: 2, stamp: Stamp(9), deps }
    }

    fn make(header: BlockHeader, body: &[u8]) -> Result<Block, DecodeError> {
        Block::with_body(header, body, &mut Vec::new())
    }

    /// What reading a block with this header says, and making one.
    fn read(header: BlockHeader) -> Result<BlockHeader, DecodeError> {
        let mut out = Writer::new();
        header.encode(&mut out);
        out.u32_le(xxh32(out.as_slice(), 0));
        let read = Block::parse(out.into_vec());
        assert_eq!(read, make(header, b""));
        read.map(|block| block.header().clone())
    }

    #[test]
    fn a_block_can_be_as_large_as_one_that_is_read() {
        let room = BLOCK_BYTES_MAX - make(header(), b"").unwrap().bytes().len();
        assert_eq!(make(header(), &vec![0; room]).unwrap().bytes().len(), BLOCK_BYTES_MAX);
        let refused = make(header(), &vec![0; room + 1]);
        assert_eq!(refused, Err(DecodeError::Invalid("block size")));
    }

    #[test]
    fn a_header_reads_back() {
        assert_eq!(read(header()), Ok(header()));
    }

    #[test]
    fn a_block_takes_at_least_one_seq_and_none_past_the_last() {
        let invalid = Err(DecodeError::Invalid("block length"));
        assert_eq!(read(BlockHeader { len: 0, ..header() }), invalid);
        let last = BlockHeader { seq: u32::MAX - 2, ..header() };
        assert_eq!(read(last.clone()), Ok(last));
        assert_eq!(read(BlockHeader { seq: u32::MAX - 1, ..header() }), invalid);
    }

    #[test]
    fn a_stamp_leaves_room_for_the_block() {
        let last = BlockHeader { stamp: Stamp(STAMP_END - 2), ..header() };
        assert_eq!(read(last.clone()), Ok(last));
        for stamp in [STAMP_END - 1, STAMP_END, u64::MAX] {
            let beyond = BlockHeader { stamp: Stamp(stamp), ..header() };
            assert_eq!(read(beyond), Err(DecodeError::Invalid("stamp")));
        }
    }

    #[test]
    fn dependencies_ascend_and_are_of_others() {
        let with = |deps: &[(u64, u32)]| {
            let deps = deps.iter().map(|(peer, seq)| OpId::new(PeerId(*peer), *seq)).collect();
            read(BlockHeader { deps, ..header() }).map(drop)
        };
        assert_eq!(with(&[(3, 0), (4, 0), (6, 0)]), Ok(()));
        let invalid = Err(DecodeError::Invalid("dependency"));
        assert_eq!(with(&[(3, 0), (3, 1)]), invalid);
        assert_eq!(with(&[(4, 0), (3, 0)]), invalid);
        assert_eq!(with(&[(3, 0), (5, 0)]), invalid);
        assert_eq!(with(&[(3, u32::MAX)]), invalid);
    }

    #[test]
    fn a_block_has_a_largest_size() {
        let parse = |len| Block::parse(vec![0; len]).map(drop);
        assert_eq!(parse(BLOCK_BYTES_MAX + 1), Err(DecodeError::Invalid("block size")));
        assert_eq!(parse(BLOCK_BYTES_MAX), Err(DecodeError::Checksum));
    }

    #[test]
    fn a_body_is_read_when_it_is_validated() {
        assert!(make(header(), &[0xff; 3]).expect("a header").validate().is_err());
    }
}
