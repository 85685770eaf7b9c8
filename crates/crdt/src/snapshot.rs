//! Documents and updates as files: a magic number, then chunks with checksums.
//!
//! | field | size | meaning |
//! |---|---|---|
//! | magic | 4 | `LSU1` update, `LSS1` snapshot |
//! | chunks | to the end | kind (1), length (varint), bytes, xxHash32 of them (4, little-endian) |
//!
//! An update has one chunk, `blocks` (1). A snapshot has `state` (2), then `blocks` (1): the state
//! is read as it is and the blocks are only indexed, so that loading does not replay history.
//! Chunks of other kinds are skipped, unless the kind's high bit says that they must be understood.

use xxhash_rust::xxh32::xxh32;

use crate::block::Block;
use crate::codec::{DecodeError, Reader, Writer};
use crate::doc::Doc;
use crate::id::PeerId;
use crate::state::State;
use crate::version::VersionVector;

const UPDATE_MAGIC: &[u8; 4] = b"LSU1";
const SNAPSHOT_MAGIC: &[u8; 4] = b"LSS1";
const CHUNK_BLOCKS: u8 = 1;
const CHUNK_STATE: u8 = 2;
const CHUNK_CRITICAL: u8 = 0x80;

fn write_chunk(out: &mut Writer, kind: u8, bytes: &[u8]) {
    out.u8(kind);
    out.bytes(bytes);
    out.u32_le(xxh32(bytes, 0));
}

fn write_blocks(out: &mut Writer, blocks: &[Block]) {
    let mut chunk = Writer::new();
    chunk.len(blocks.len());
    for block in blocks {
        chunk.bytes(block.bytes());
    }
    write_chunk(out, CHUNK_BLOCKS, chunk.as_slice());
}

fn read_blocks(bytes: &[u8]) -> Result<Vec<Block>, DecodeError> {
    let mut input = Reader::new(bytes);
    let mut blocks = Vec::new();
    for _ in 0..input.count(2)? {
        blocks.push(Block::parse(input.bytes()?)?);
    }
    input.finish()?;
    Ok(blocks)
}

/// The chunks of a file that are understood, by kind.
fn read_chunks<'a>(bytes: &'a [u8], magic: &[u8; 4]) -> Result<[Option<&'a [u8]>; 2], DecodeError> {
    let mut input = Reader::new(bytes);
    if input.take(4).ok() != Some(magic) {
        return Err(DecodeError::Magic);
    }
    let mut chunks = [None, None];
    while !input.is_empty() {
        let kind = input.u8()?;
        let chunk = input.bytes()?;
        if input.u32_le()? != xxh32(chunk, 0) {
            return Err(DecodeError::Checksum);
        }
        match kind {
            CHUNK_BLOCKS => chunks[0] = Some(chunk),
            CHUNK_STATE => chunks[1] = Some(chunk),
            other if other & CHUNK_CRITICAL != 0 => {
                return Err(DecodeError::UnsupportedVersion(other));
            }
            _ => {}
        }
    }
    Ok(chunks)
}

/// Whether the bytes begin as an update file does.
#[must_use]
pub fn is_update(bytes: &[u8]) -> bool {
    bytes.starts_with(UPDATE_MAGIC)
}

/// Blocks as an update file, which [`decode_update`] reads.
#[must_use]
pub fn encode_update(blocks: &[Block]) -> Vec<u8> {
    let mut out = Writer::new();
    out.raw(UPDATE_MAGIC);
    write_blocks(&mut out, blocks);
    out.into_vec()
}

/// Reads an update file. The blocks' bodies are checked when they are imported.
///
/// # Errors
/// A [`DecodeError`] if the bytes are not one whole update.
pub fn decode_update(bytes: &[u8]) -> Result<Vec<Block>, DecodeError> {
    let [blocks, _] = read_chunks(bytes, UPDATE_MAGIC)?;
    read_blocks(blocks.ok_or(DecodeError::UnexpectedEnd)?)
}

impl Doc {
    /// What `version` lacks, as an update file.
    #[must_use]
    pub fn encode_update(&self, version: &VersionVector) -> Vec<u8> {
        encode_update(&self.blocks_since(version))
    }

    /// The whole document, history included. Blocks that wait for others are not in it.
    ///
    /// ```
    /// use leptos_sync_crdt::{Doc, PeerId};
    /// let mut doc = Doc::new(PeerId(1));
    /// doc.transact(0, |tx| tx.register("title").set("Plan"));
    /// let copy = Doc::from_snapshot(PeerId(2), &doc.encode_snapshot())?;
    /// assert_eq!(copy.register("title"), Some(&"Plan".into()));
    /// # Ok::<(), leptos_sync_crdt::DecodeError>(())
    /// ```
    #[must_use]
    pub fn encode_snapshot(&self) -> Vec<u8> {
        let mut state = Writer::new();
        self.state.encode(&mut state);
        let mut out = Writer::new();
        out.raw(SNAPSHOT_MAGIC);
        write_chunk(&mut out, CHUNK_STATE, state.as_slice());
        write_blocks(&mut out, &self.blocks_since(&VersionVector::new()));
        out.into_vec()
    }

    /// Reads what [`Doc::encode_snapshot`] wrote; local changes will be written as `peer`.
    ///
    /// The snapshot must come from a source that is trusted as much as this program's own storage:
    /// its checksums are verified, but not that its state follows from its history.
    ///
    /// # Errors
    /// A [`DecodeError`] if the bytes are not one whole snapshot.
    pub fn from_snapshot(peer: PeerId, bytes: &[u8]) -> Result<Self, DecodeError> {
        let [blocks, state] = read_chunks(bytes, SNAPSHOT_MAGIC)?;
        let mut input = Reader::new(state.ok_or(DecodeError::UnexpectedEnd)?);
        let mut doc = Self::new(peer);
        doc.state = State::decode(&mut input)?;
        input.finish()?;
        for block in read_blocks(blocks.ok_or(DecodeError::UnexpectedEnd)?)? {
            let header = block.header();
            let follows = header.seq == doc.version().get(header.peer)
                && header.deps.iter().all(|dep| doc.version().contains(*dep));
            if !follows {
                return Err(DecodeError::Invalid("block order"));
            }
            doc.history.push(block);
        }
        Ok(doc)
    }
}
