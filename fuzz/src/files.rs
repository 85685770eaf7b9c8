//! Files and blocks made from their parts, with checksums that are right: what is in them is what
//! is to be tested, and no mutation guesses a checksum.

use leptos_sync_crdt::{Reader, Writer};
use xxhash_rust::xxh32::xxh32;
use xxhash_rust::xxh64::xxh64;

use crate::choices::Choices;

/// The chunk kinds of an update, of a snapshot, and of one that was trimmed.
pub const UPDATE: (&[u8; 4], &[u8]) = (b"LSU2", &[1]);
/// See [`UPDATE`].
pub const SNAPSHOT: (&[u8; 4], &[u8]) = (b"LSS2", &[2, 1]);
/// See [`UPDATE`].
pub const SHALLOW: (&[u8; 4], &[u8]) = (b"LSS2", &[2, 0x83, 1]);

/// A block of this content.
#[must_use]
pub fn block(content: &[u8]) -> Vec<u8> {
    let mut bytes = content.to_vec();
    bytes.extend(xxh32(content, 0).to_le_bytes());
    bytes
}

/// A file of chunks.
fn file(magic: &[u8; 4], chunks: impl IntoIterator<Item = (u8, Vec<u8>)>) -> Vec<u8> {
    let mut out = Writer::new();
    out.raw(magic);
    for (kind, bytes) in chunks {
        out.u8(kind);
        out.bytes(&bytes);
        out.u32_le(xxh64(&bytes, 0) as u32);
    }
    out.into_vec()
}

/// The chunks of a sound file.
fn chunks(file: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut input = Reader::new(file.get(4..).unwrap_or_default());
    let mut chunks = Vec::new();
    while let (Ok(kind), Ok(bytes), Ok(_)) = (input.u8(), input.bytes(), input.u32_le()) {
        chunks.push((kind, bytes.to_vec()));
    }
    chunks
}

/// A file whose chunks have what the input has: all but the last after their length in two bytes.
#[must_use]
pub fn from_input((magic, kinds): (&[u8; 4], &[u8]), input: &[u8]) -> Vec<u8> {
    let mut choices = Choices::new(input);
    let last = kinds.len() - 1;
    let part = |(at, kind): (usize, &u8)| {
        let bytes = if at == last {
            choices.rest()
        } else {
            let len = u16::from_le_bytes([choices.byte(), choices.byte()]);
            choices.take(usize::from(len))
        };
        (*kind, bytes.to_vec())
    };
    file(magic, kinds.iter().enumerate().map(part).collect::<Vec<_>>())
}

/// The input for [`from_input`] that makes this file.
#[must_use]
pub fn to_input(file: &[u8]) -> Vec<u8> {
    let mut input = Vec::new();
    let mut chunks = chunks(file).into_iter().peekable();
    while let Some((_, bytes)) = chunks.next() {
        if chunks.peek().is_some() {
            input.extend((bytes.len() as u16).to_le_bytes());
        }
        input.extend(bytes);
    }
    input
}

/// Damages some chunk of a file and makes its checksum right again.
#[must_use]
pub fn damaged(whole: &[u8], choices: &mut Choices<'_>) -> Vec<u8> {
    let mut chunks = chunks(whole);
    let chosen = choices.below(chunks.len());
    if let Some((_, bytes)) = chunks.get_mut(chosen) {
        damage(bytes, choices);
    }
    let mut magic = [0; 4];
    magic.copy_from_slice(&whole[..4]);
    file(&magic, chunks)
}

/// Damages a block and makes its checksum right again.
#[must_use]
pub fn damaged_block(whole: &[u8], choices: &mut Choices<'_>) -> Vec<u8> {
    let mut content = whole[..whole.len() - 4].to_vec();
    damage(&mut content, choices);
    block(&content)
}

/// Changes some bytes at chosen places.
fn damage(bytes: &mut Vec<u8>, choices: &mut Choices<'_>) {
    for _ in 0..=choices.below(4) {
        let at = choices.below(bytes.len());
        if bytes.is_empty() {
            return;
        }
        match choices.below(6) {
            0 => bytes[at] = choices.byte(),
            1 => bytes[at] ^= 1 << choices.below(8),
            2 => bytes.truncate(at),
            3 => {
                // A large number.
                let len = choices.below(10);
                bytes.splice(at..=at, std::iter::repeat_n(0xff, len).chain([choices.byte()]));
            }
            4 => {
                let len = choices.below(16);
                let copied = bytes[at..bytes.len().min(at + len)].to_vec();
                let to = choices.below(bytes.len());
                bytes.splice(to..to, copied);
            }
            _ => {
                let new = choices.some(8).to_vec();
                bytes.splice(at..at, new);
            }
        }
    }
}
