//! Blocks on an ordered channel, each by what it adds to its author's previous one.
//!
//! A channel carries blocks of one document one way; both ends remember the same few things about
//! what passed. An entry is a block whole, or its difference from what its author was expected to
//! write next. The receiver makes the same bytes of it.
//!
//! | field | size | meaning |
//! |---|---|---|
//! | head | varint | 0: whole; else 16 × the author's number, and flags |
//! | *whole* | bytes | the block, its length as a varint first; nothing follows |
//! | deps | if head & 8 | varints, see below; without them the block depends on nobody else |
//! | stamp | if head & 4 | varint, see below; without it the stamp is the expected one |
//! | moved | if head & 1 | zigzag varint added to the expected position |
//! | len | if head & 3 = 3 | varint; without it as the author's previous block has |
//! | tail | if head & 2 | varint: (expected body's length + 1) × added + dropped; else both are 1 |
//! | added | bytes | take the place of the last `dropped` bytes of the expected body |
//! | checksum | 4 | the block's |
//!
//! Authors are numbered from 1 in the order in which blocks name them, first as dependencies, then
//! as author. Before number 128 would be given, all is forgotten. Blocks of more than 256 bytes
//! leave no trace, so they may as well travel by another way.
//!
//! - The seq is the end of the author's previous block. If it is not, the block travels whole.
//! - A dependency is 2 × (zigzag(seq − end) × authors + number − 1), plus 1 if another follows:
//!   `end` is the seq after the last operation of that author that was named, `authors` how many
//!   there are.
//! - The expected stamp follows the author's previous one and those of what it depends on. An even
//!   number is 16 × the milliseconds to go on, less 2,000, and 2 × the counter, which is below 8;
//!   an odd number is 2 × the zigzag difference, and 1.
//! - The expected body is that of the author's previous block. If that ended in an edit of a text
//!   or list, the position goes on: past an insertion, before a deletion.
//!
//! `docs/protocol.md` says the same with all that another implementation needs, and has examples.

use crate::block::{Block, BlockHeader};
use crate::codec::{DecodeError, Reader, Writer, unzigzag, zigzag};
use crate::id::{OpId, PeerId};
use crate::stamp::Stamp;

mod body;
#[cfg(test)]
mod tests;

/// Larger blocks travel whole and are not remembered.
const REFERENCE_BYTES_MAX: usize = 256;

/// How many authors are remembered.
const AUTHORS_MAX: usize = 127;

const WHOLE: u64 = 0;
const MOVED: u64 = 1;
const TAIL: u64 = 2;
const LEN: u64 = MOVED | TAIL;
const STAMP: u64 = 4;
const DEPS: u64 = 8;
const FLAG_BITS: u32 = 4;

/// The sending end of a channel of blocks.
///
/// ```
/// use leptos_sync_crdt::{BlockReader, BlockWriter, Doc, PeerId, Reader, VersionVector, Writer};
///
/// let mut doc = Doc::new(PeerId(1));
/// for (at, letter) in ["h", "i", "!"].into_iter().enumerate() {
///     doc.transact(0, |tx| tx.text("note").insert(at, letter)).0?;
/// }
/// let blocks = doc.blocks_since(&VersionVector::new());
///
/// let (mut writer, mut entries) = (BlockWriter::default(), Writer::new());
/// blocks.iter().for_each(|block| writer.write(block, &mut entries));
/// // The first travels whole, the others as a letter and its envelope.
/// assert_eq!(entries.as_slice().len(), 2 + blocks[0].bytes().len() + 2 * 6);
///
/// let (mut reader, mut input) = (BlockReader::default(), Reader::new(entries.as_slice()));
/// for block in &blocks {
///     assert_eq!(reader.read(&mut input)?, *block);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct BlockWriter {
    seen: Seen,
}

impl BlockWriter {
    /// Appends one entry. Entries must arrive in the order in which they were written, and all.
    pub fn write(&mut self, block: &Block, out: &mut Writer) {
        match self.seen.shorten(block) {
            Some(entry) if entry.len() <= block.bytes().len() => out.raw(&entry),
            _ => {
                out.varint(WHOLE);
                out.bytes(block.bytes());
            }
        }
        self.seen.note(block);
    }
}

/// The receiving end of a channel of blocks.
///
/// It holds at most 127 blocks of at most 256 bytes, and what an entry makes has at most 256 bytes
/// more than 13 times its own.
#[derive(Clone, Debug, Default)]
pub struct BlockReader {
    seen: Seen,
    room: Room,
}

/// Where a block and its body are put together, so that each is not allocated while it grows.
#[derive(Clone, Debug, Default)]
struct Room {
    body: Vec<u8>,
    block: Vec<u8>,
}

/// What is larger is not kept for the next block.
const ROOM_BYTES_MAX: usize = 4_096;

impl BlockReader {
    /// Reads one entry. The block is parsed, not validated.
    ///
    /// # Errors
    /// A [`DecodeError`] if it is no entry, or not one for this channel at this place:
    /// [`DecodeError::Checksum`] if all that is wrong with it is what comes out. The channel cannot
    /// go on then.
    pub fn read(&mut self, input: &mut Reader<'_>) -> Result<Block, DecodeError> {
        let block = match input.varint()? {
            WHOLE => Block::parse(input.bytes()?)?,
            head => self.seen.restore(head, input, &mut self.room)?,
        };
        if self.room.block.capacity() > ROOM_BYTES_MAX {
            self.room = Room::default();
        }
        self.seen.note(&block);
        Ok(block)
    }
}

fn is_large(block: &Block) -> bool {
    block.bytes().len() > REFERENCE_BYTES_MAX
}

/// What passed of one author.
#[derive(Clone, Debug)]
struct Author {
    peer: PeerId,
    /// The seq after its last known operation.
    end: u32,
    /// The stamp after that of its last block.
    stamp_end: Stamp,
    last: Option<Block>,
}

/// What passed: the same at both ends.
#[derive(Clone, Debug, Default)]
struct Seen {
    authors: Vec<Author>,
}

impl Seen {
    fn place(&self, peer: PeerId) -> Option<usize> {
        self.authors.iter().position(|author| author.peer == peer)
    }

    fn learn(&mut self, peer: PeerId, end: u32) -> &mut Author {
        let at = self.place(peer).unwrap_or_else(|| {
            if self.authors.len() == AUTHORS_MAX {
                self.authors.clear();
            }
            self.authors.push(Author { peer, end, stamp_end: Stamp(0), last: None });
            self.authors.len() - 1
        });
        let author = &mut self.authors[at];
        author.end = author.end.max(end);
        author
    }

    fn note(&mut self, block: &Block) {
        if is_large(block) {
            return;
        }
        let header = block.header();
        for dep in &header.deps {
            self.learn(dep.peer, dep.seq + 1);
        }
        let author = self.learn(header.peer, block.end());
        author.stamp_end = header.stamp.plus(header.len);
        author.last = Some(block.clone());
    }

    /// The entry of a block that its author was about to write.
    fn shorten(&self, block: &Block) -> Option<Vec<u8>> {
        let header = block.header();
        let at = self.place(header.peer).filter(|_| !is_large(block))?;
        let author = &self.authors[at];
        let last = author.last.as_ref().filter(|last| last.end() == header.seq)?;
        let mut fields = Writer::new();
        let mut flags = 0;
        if !header.deps.is_empty() {
            flags |= DEPS;
            self.put_deps(&header.deps, &mut fields)?;
        }
        let expected = self.expected_stamp(author, &header.deps);
        if header.stamp != expected {
            flags |= STAMP;
            fields.varint(header.stamp.code_after(expected));
        }
        let (form, body) = body::shorten(last, block)?;
        let mut out = Writer::new();
        out.varint((at as u64 + 1) << FLAG_BITS | flags | form);
        out.raw(fields.as_slice());
        out.raw(&body);
        out.raw(block.checksum());
        Some(out.into_vec())
    }

    fn restore(
        &self,
        head: u64,
        input: &mut Reader<'_>,
        room: &mut Room,
    ) -> Result<Block, DecodeError> {
        let number = usize::try_from(head >> FLAG_BITS).unwrap_or(0);
        let author = number.checked_sub(1).and_then(|at| self.authors.get(at));
        let known = author.and_then(|author| Some((author, author.last.as_ref()?)));
        let (author, last) = known.ok_or(DecodeError::Invalid("author number"))?;
        let deps = if head & DEPS == 0 { Vec::new() } else { self.get_deps(input)? };
        let mut stamp = self.expected_stamp(author, &deps);
        if head & STAMP != 0 {
            stamp = Stamp::from_code(input.varint()?, stamp);
        }
        let len = body::restore(last, head, input, &mut room.body)?;
        let header = BlockHeader { peer: author.peer, seq: last.end(), len, stamp, deps };
        let block = Block::with_body(header, &room.body, &mut room.block)?;
        if block.checksum() == input.take(block.checksum().len())? {
            Ok(block)
        } else {
            Err(DecodeError::Checksum)
        }
    }

    /// The stamp after the author's previous one and those of what it depends on, as far as known.
    fn expected_stamp(&self, author: &Author, deps: &[OpId]) -> Stamp {
        let after = |dep: &OpId| {
            let known = &self.authors[self.place(dep.peer)?];
            let further = i64::from(dep.seq) + 1 - i64::from(known.end);
            let later = known.stamp_end.max(author.stamp_end);
            Some(Stamp(later.0.saturating_add_signed(further)))
        };
        deps.iter().filter_map(after).fold(author.stamp_end, Stamp::max)
    }

    fn put_deps(&self, deps: &[OpId], out: &mut Writer) -> Option<()> {
        for (left, dep) in (0..deps.len()).rev().zip(deps) {
            let at = self.place(dep.peer)?;
            let further = zigzag(i64::from(dep.seq) - i64::from(self.authors[at].end));
            let code = further * self.authors.len() as u64 + at as u64;
            out.varint(code << 1 | u64::from(left > 0));
        }
        Some(())
    }

    fn get_deps(&self, input: &mut Reader<'_>) -> Result<Vec<OpId>, DecodeError> {
        let count = self.authors.len() as u64;
        let (mut deps, mut more) = (Vec::new(), true);
        while more {
            let code = input.varint()?;
            more = code & 1 != 0;
            let author = &self.authors[((code >> 1) % count) as usize];
            let seq = i64::from(author.end).checked_add(unzigzag((code >> 1) / count));
            let seq = seq.and_then(|seq| u32::try_from(seq).ok());
            deps.push(OpId::new(author.peer, seq.ok_or(DecodeError::IntegerRange)?));
        }
        Ok(deps)
    }
}
