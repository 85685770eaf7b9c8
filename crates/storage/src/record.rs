//! Several contiguous blocks of one peer as one record: what IndexedDB is fast at.
//!
//! | field | size | meaning |
//! |---|---|---|
//! | format | 1 | 1 |
//! | blocks, to the end | varint length, then bytes, each | in the order of their seqs |
//!
//! Each block carries its own checksum.

use leptos_sync_crdt::{Block, DecodeError, PeerId, Reader, Writer};

const FORMAT: u8 = 1;
/// A record takes no further block beyond this, so that a log can be read in bounded chunks.
const RECORD_BYTES_MAX: usize = 64 << 10;

/// Blocks that follow each other, encoded, and the operations they hold.
#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    /// The author.
    pub peer: PeerId,
    /// The first operation.
    pub seq: u32,
    /// The operation after the last.
    pub end: u32,
    /// The record.
    pub bytes: Vec<u8>,
}

/// Packs blocks, which come by peer and then by seq, into as few records as their size allows.
#[must_use]
pub fn pack<'a>(blocks: impl IntoIterator<Item = &'a Block>) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    for block in blocks {
        let mut out = Writer::new();
        match records.last_mut() {
            Some(last)
                if last.peer == block.peer()
                    && last.end == block.seq()
                    && last.bytes.len() + block.bytes().len() <= RECORD_BYTES_MAX =>
            {
                out.bytes(block.bytes());
                last.bytes.extend(out.into_vec());
                last.end = block.end();
            }
            _ => {
                out.u8(FORMAT);
                out.bytes(block.bytes());
                let (peer, seq, end) = (block.peer(), block.seq(), block.end());
                records.push(Record { peer, seq, end, bytes: out.into_vec() });
            }
        }
    }
    records
}

/// Reads what [`pack`] wrote; at least one block.
///
/// # Errors
/// A [`DecodeError`] that names the first flaw; nothing of the record is returned then.
pub fn unpack(bytes: &[u8]) -> Result<Vec<Block>, DecodeError> {
    let mut input = Reader::new(bytes);
    match input.u8()? {
        FORMAT => {}
        other => return Err(DecodeError::UnsupportedVersion(other)),
    }
    let mut blocks = vec![Block::parse(input.bytes()?)?];
    while !input.is_empty() {
        blocks.push(Block::parse(input.bytes()?)?);
    }
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use leptos_sync_crdt::Doc;

    use super::*;

    fn blocks(peer: u64, count: usize, text: &str) -> Vec<Block> {
        let mut author = Doc::new(PeerId(peer));
        let write = |_| {
            let commit = author.transact(0, |tx| tx.register("r").set(text)).1?;
            Some(author.block(&commit))
        };
        (0..count).filter_map(write).collect()
    }

    fn spans(blocks: &[Block]) -> Vec<(u64, u32, u32)> {
        let records = pack(blocks);
        let unpacked: Vec<Block> =
            records.iter().flat_map(|record| unpack(&record.bytes).unwrap()).collect();
        assert_eq!(unpacked, blocks);
        records.iter().map(|record| (record.peer.0, record.seq, record.end)).collect()
    }

    #[test]
    fn contiguous_blocks_share_a_record_up_to_its_size() {
        assert_eq!(spans(&blocks(1, 500, "a")), [(1, 0, 500)]);
        let large = blocks(1, 5, &"x".repeat(30_000));
        assert_eq!(spans(&large), [(1, 0, 2), (1, 2, 4), (1, 4, 5)]);
        let huge = blocks(1, 2, &"x".repeat(100_000));
        assert_eq!(spans(&huge), [(1, 0, 1), (1, 1, 2)], "a large block has its own");
    }

    #[test]
    fn gaps_and_peers_begin_new_records() {
        let (a, b) = (blocks(1, 4, "a"), blocks(2, 2, "b"));
        let apart = [&a[..2], &a[3..], &b[..]].concat();
        assert_eq!(spans(&apart), [(1, 0, 2), (1, 3, 4), (2, 0, 2)]);
        assert_eq!(spans(&[]), []);
    }

    #[test]
    fn damaged_records_are_refused() {
        let record = pack(&blocks(1, 3, "a")).remove(0).bytes;
        assert_eq!(unpack(&[]), Err(DecodeError::UnexpectedEnd));
        assert_eq!(unpack(&[FORMAT]), Err(DecodeError::UnexpectedEnd));
        assert_eq!(unpack(&[9]), Err(DecodeError::UnsupportedVersion(9)));
        for at in 0..record.len() {
            let mut damaged = record.clone();
            damaged[at] ^= 0x10;
            assert!(unpack(&damaged).is_err(), "byte {at}");
            assert!(unpack(&record[..at]).is_err() || at > 0, "cut at {at}");
        }
    }
}
