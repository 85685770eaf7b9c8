//! The bytes of a simulated disk: records, each with its length and a checksum.

use leptos_sync_crdt::{Block, DecodeError, DocId, OpId, PeerId, Reader, VersionVector, Writer};
use leptos_sync_storage::Snapshot;
use xxhash_rust::xxh64::xxh64;

const RECORD_HEAD_BYTES: usize = 12;

/// One change of what is stored.
#[derive(Clone, Debug)]
pub(crate) enum Record {
    Append(Vec<(DocId, Vec<Block>)>),
    Replace(DocId, Snapshot, Vec<OpId>),
    Remove(DocId),
    PutMeta(String, Vec<u8>),
    RemoveMeta(String),
}

/// The record with its length and checksum.
pub(crate) fn encode_record(record: &Record) -> Vec<u8> {
    let mut out = Writer::new();
    match record {
        Record::Append(batch) => {
            out.u8(1);
            out.len(batch.len());
            for (doc, blocks) in batch {
                out.str(doc.as_str());
                out.len(blocks.len());
                blocks.iter().for_each(|block| out.bytes(block.bytes()));
            }
        }
        Record::Replace(doc, snapshot, moved) => {
            out.u8(2);
            out.str(doc.as_str());
            snapshot.version.encode(&mut out);
            out.bytes(&snapshot.bytes);
            out.len(moved.len());
            for from in moved {
                out.u64_le(from.peer.0);
                out.u32_le(from.seq);
            }
        }
        Record::Remove(doc) => {
            out.u8(3);
            out.str(doc.as_str());
        }
        Record::PutMeta(key, value) => {
            out.u8(4);
            out.str(key);
            out.bytes(value);
        }
        Record::RemoveMeta(key) => {
            out.u8(5);
            out.str(key);
        }
    }
    let payload = out.into_vec();
    let mut framed = Writer::new();
    framed.u32_le(payload.len() as u32);
    framed.u64_le(xxh64(&payload, 0));
    framed.raw(&payload);
    framed.into_vec()
}

/// The record at `at` and where it ends, if it is whole.
pub(crate) fn read_record(journal: &[u8], at: usize) -> Option<(Record, usize)> {
    let mut input = Reader::new(&journal[at..]);
    let len = input.u32_le().ok()? as usize;
    let sum = input.u64_le().ok()?;
    let payload = input.take(len).ok()?;
    if xxh64(payload, 0) != sum {
        return None;
    }
    let mut input = Reader::new(payload);
    let record = decode_record(&mut input).expect("its checksum is right");
    Some((record, at + RECORD_HEAD_BYTES + len))
}

fn decode_record(input: &mut Reader<'_>) -> Result<Record, DecodeError> {
    let doc_id = |input: &mut Reader<'_>| {
        DocId::new(input.str()?).map_err(|_| DecodeError::Invalid("document id"))
    };
    Ok(match input.u8()? {
        1 => {
            let mut batch = Vec::new();
            for _ in 0..input.varint()? {
                let doc = doc_id(input)?;
                let mut blocks = Vec::new();
                for _ in 0..input.varint()? {
                    blocks.push(Block::parse(input.bytes()?)?);
                }
                batch.push((doc, blocks));
            }
            Record::Append(batch)
        }
        2 => {
            let doc = doc_id(input)?;
            let version = VersionVector::decode(input)?;
            let snapshot = Snapshot { version, bytes: input.bytes()?.to_vec() };
            let mut moved = Vec::new();
            for _ in 0..input.varint()? {
                moved.push(OpId::new(PeerId(input.u64_le()?), input.u32_le()?));
            }
            Record::Replace(doc, snapshot, moved)
        }
        3 => Record::Remove(doc_id(input)?),
        4 => Record::PutMeta(input.str()?.to_owned(), input.bytes()?.to_vec()),
        5 => Record::RemoveMeta(input.str()?.to_owned()),
        _ => return Err(DecodeError::Invalid("record")),
    })
}
