//! Blocks into frames, and pieces back into blocks.
//!
//! Small blocks share a frame; a block above [`FRAME_BLOCK_BYTES`] travels as a run of pieces, so
//! that a ping or another document's change can pass between them. On one connection and direction
//! at most one block is under way in pieces.

use bytes::Bytes;
use leptos_sync_crdt::{Block, BlockWriter, DecodeError, PeerId};

use crate::frame::encode_frame;
use crate::limits::FRAME_BLOCK_BYTES;
use crate::message::{Changes, Message, Piece};

/// Why a piece was refused. The connection it came on cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PieceError {
    /// It does not continue the block that is under way.
    #[error("piece out of order")]
    OutOfOrder,
    /// Its block is above the limit.
    #[error("block of {0} bytes is above the limit")]
    TooLarge(u32),
    /// The whole block does not parse.
    #[error("broken block")]
    Block(#[source] DecodeError),
    /// The whole block is not the one that its pieces announced.
    #[error("pieces of another block than announced")]
    Mismatch,
}

struct Partial {
    ch: u32,
    peer: PeerId,
    seq: u32,
    total: u32,
    bytes: Vec<u8>,
}

/// Puts the pieces of one block at a time together.
pub struct Assembler {
    block_bytes_max: u32,
    partial: Option<Partial>,
}

impl std::fmt::Debug for Assembler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let held = self.partial.as_ref().map_or(0, |partial| partial.bytes.len());
        f.debug_struct("Assembler").field("held_bytes", &held).finish()
    }
}

impl Assembler {
    /// An assembler that refuses blocks above `block_bytes_max`.
    #[must_use]
    pub fn new(block_bytes_max: u32) -> Self {
        Self { block_bytes_max, partial: None }
    }

    /// Takes the next piece; returns the block once it is whole. A piece at offset 0 starts a new
    /// block and drops an unfinished one.
    ///
    /// # Errors
    /// A [`PieceError`]; the unfinished block is dropped.
    pub fn take(&mut self, piece: &Piece) -> Result<Option<Block>, PieceError> {
        let mut partial = if piece.offset == 0 {
            if piece.total > self.block_bytes_max {
                self.partial = None;
                return Err(PieceError::TooLarge(piece.total));
            }
            let Piece { ch, peer, seq, total, .. } = *piece;
            Partial { ch, peer, seq, total, bytes: Vec::new() }
        } else {
            self.partial.take().ok_or(PieceError::OutOfOrder)?
        };
        let continues = partial.ch == piece.ch
            && (partial.peer, partial.seq) == (piece.peer, piece.seq)
            && partial.total == piece.total
            && partial.bytes.len() == piece.offset as usize;
        let held = partial.bytes.len() + piece.data.len();
        if !continues || piece.data.is_empty() || held > partial.total as usize {
            self.partial = None;
            return Err(PieceError::OutOfOrder);
        }
        partial.bytes.extend_from_slice(&piece.data);
        if held < partial.total as usize {
            self.partial = Some(partial);
            return Ok(None);
        }
        self.partial = None;
        let block = Block::parse(partial.bytes).map_err(PieceError::Block)?;
        if (block.peer(), block.seq()) != (partial.peer, partial.seq) {
            return Err(PieceError::Mismatch);
        }
        Ok(Some(block))
    }

    /// Forgets an unfinished block of channel `ch`.
    pub fn forget(&mut self, ch: u32) {
        self.partial.take_if(|partial| partial.ch == ch);
    }
}

/// The piece of `block` that starts at `offset`, as large as usual frames allow.
pub(crate) fn piece_at(ch: u32, block: &Block, offset: usize) -> Piece {
    let bytes = block.bytes();
    let end = bytes.len().min(offset + FRAME_BLOCK_BYTES);
    Piece {
        ch,
        peer: block.peer(),
        seq: block.seq(),
        total: bytes.len() as u32,
        offset: offset as u32,
        data: Bytes::copy_from_slice(&bytes[offset..end]),
    }
}

/// Whether a block must travel in pieces.
pub(crate) fn needs_pieces(block: &Block) -> bool {
    block.bytes().len() > FRAME_BLOCK_BYTES
}

/// How many bytes a block takes inside a changes message, at most.
fn framed_len(block: &Block) -> usize {
    block.bytes().len() + 4
}

/// How many of `blocks` are for the next frame. One that needs pieces never fits.
pub(crate) fn count_for_frame<'a>(blocks: impl Iterator<Item = &'a Block>) -> usize {
    let mut room = FRAME_BLOCK_BYTES + 4;
    let fits = |block: &&Block| {
        let len = framed_len(block);
        let fits = len <= room;
        room = room.saturating_sub(len);
        fits
    };
    blocks.take_while(fits).count()
}

/// Frames that carry blocks on a channel, in order, each of the usual size or less. Each is made
/// when it is asked for, and must be sent then: what follows refers to it.
#[derive(Debug)]
pub struct ChangesFrames<'a> {
    writer: &'a mut BlockWriter,
    ch: u32,
    blocks: &'a [Block],
    /// How much of the first block has gone in pieces.
    offset: usize,
}

/// The frames that carry `blocks` on channel `ch`, after what `writer` wrote there already.
pub fn changes_frames<'a>(
    writer: &'a mut BlockWriter,
    ch: u32,
    blocks: &'a [Block],
) -> ChangesFrames<'a> {
    ChangesFrames { writer, ch, blocks, offset: 0 }
}

impl Iterator for ChangesFrames<'_> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let first = self.blocks.first()?;
        if needs_pieces(first) {
            let piece = piece_at(self.ch, first, self.offset);
            self.offset += piece.data.len();
            if self.offset == first.bytes().len() {
                self.blocks = &self.blocks[1..];
                self.offset = 0;
            }
            return Some(encode_frame(&Message::Piece(piece)));
        }
        let (batch, rest) = self.blocks.split_at(count_for_frame(self.blocks.iter()));
        self.blocks = rest;
        Some(encode_frame(&Message::Changes(Changes::write(self.writer, self.ch, batch))))
    }
}
