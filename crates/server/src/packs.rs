//! The past of a document as a server keeps it: blocks in the order in which they came, many of
//! them in one update file, in which a keystroke takes a byte or two and not forty.
//!
//! On disk all packs of a document are its snapshot:
//!
//! | field | size | meaning |
//! |---|---|---|
//! | magic | 4 | `LSP1` |
//! | then until the end | | |
//! | kind | 1 | 0: an update file, 1: a block as it is |
//! | bytes | varint length, and the bytes | both have checksums of their own |

use std::collections::BTreeMap;

use bytes::Bytes;
use leptos_sync_crdt::{
    Block, DecodeError, PeerId, Reader, VersionVector, Writer, pack_blocks, unpack_blocks,
};
use leptos_sync_protocol::PACK_BYTES_MAX;
use leptos_sync_storage::{Snapshot, StoredDoc};

const MAGIC: &[u8; 4] = b"LSP1";
const KIND_UPDATE: u8 = 0;
const KIND_BLOCK: u8 = 1;

/// A block of more bytes than this stays as it is: little would be gained, and whoever reads a part
/// of a pack has to take it apart.
pub(crate) const SMALL_BYTES_MAX: usize = 16 << 10;

/// How many bytes of blocks go into one pack.
pub(crate) const PACK_BLOCK_BYTES: usize = 48 << 10;

#[derive(Debug)]
pub(crate) enum Content {
    Update(Bytes),
    Blocks(Vec<Block>),
}

/// Blocks that follow one another in a document's log.
#[derive(Debug)]
pub(crate) struct Pack {
    pub(crate) content: Content,
    /// How many blocks there are.
    pub(crate) count: usize,
    /// Whose they are: each author's first seq here, and the seq after the last.
    pub(crate) spans: Vec<(PeerId, u32, u32)>,
}

impl Pack {
    /// Packs blocks, each of which comes after what it depends on; or keeps them as they are, where
    /// that is smaller, or would not give the same bytes back. One alone stays as it is.
    pub(crate) fn of(blocks: Vec<Block>) -> Self {
        let (count, spans) = (blocks.len(), spans_of(&blocks));
        let plain: usize = blocks.iter().map(|block| block.bytes().len()).sum();
        let update = (count > 1).then(|| pack_blocks(&blocks).ok()).flatten();
        let update = update.filter(|update| {
            update.len() < plain.min(PACK_BYTES_MAX)
                && unpack_blocks(update).is_ok_and(|again| again == blocks)
        });
        let content =
            update.map_or(Content::Blocks(blocks), |update| Content::Update(update.into()));
        Self { content, count, spans }
    }

    /// How many of its operations `have` lacks, and how many there are.
    pub(crate) fn lacking(&self, have: &VersionVector) -> (u64, u64) {
        self.spans.iter().fold((0, 0), |(lacking, all), (peer, from, end)| {
            let known = have.get(*peer).clamp(*from, *end);
            (lacking + u64::from(end - known), all + u64::from(end - from))
        })
    }

    /// Adds its operations to what is known of each author.
    pub(crate) fn extend(&self, version: &mut VersionVector) {
        self.spans.iter().for_each(|(peer, _, end)| version.extend(*peer, *end));
    }

    pub(crate) fn blocks(&self) -> Vec<Block> {
        match &self.content {
            Content::Blocks(blocks) => blocks.clone(),
            Content::Update(update) => {
                unpack_blocks(update).expect("it was taken apart when it was made or read")
            }
        }
    }

    /// How many bytes it takes, about.
    pub(crate) fn bytes(&self) -> usize {
        match &self.content {
            Content::Update(update) => update.len(),
            Content::Blocks(blocks) => blocks.iter().map(|block| block.bytes().len()).sum(),
        }
    }

    fn encode(&self, out: &mut Writer) {
        match &self.content {
            Content::Update(update) => {
                out.u8(KIND_UPDATE);
                out.bytes(update);
            }
            Content::Blocks(blocks) => blocks.iter().for_each(|block| {
                out.u8(KIND_BLOCK);
                out.bytes(block.bytes());
            }),
        }
    }
}

fn spans_of(blocks: &[Block]) -> Vec<(PeerId, u32, u32)> {
    let mut spans: BTreeMap<PeerId, (u32, u32)> = BTreeMap::new();
    for block in blocks {
        spans.entry(block.peer()).or_insert((block.seq(), 0)).1 = block.end();
    }
    spans.into_iter().map(|(peer, (from, end))| (peer, from, end)).collect()
}

/// The snapshot that has all of these, which are a document's first.
pub(crate) fn snapshot_of(packs: &[Pack]) -> Snapshot {
    let (mut version, mut out) = (VersionVector::new(), Writer::new());
    out.raw(MAGIC);
    for pack in packs {
        pack.extend(&mut version);
        pack.encode(&mut out);
    }
    Snapshot { version, bytes: out.into_vec() }
}

/// Reads what [`snapshot_of`] wrote; reports each pack and its blocks.
pub(crate) fn read_packs(
    bytes: &[u8],
    mut report: impl FnMut(Pack, Vec<Block>),
) -> Result<(), DecodeError> {
    let mut input = Reader::new(bytes);
    if input.take(MAGIC.len())? != MAGIC {
        return Err(DecodeError::Magic);
    }
    while !input.is_empty() {
        let kind = input.u8()?;
        let bytes = input.bytes()?;
        let (content, blocks) = match kind {
            KIND_UPDATE => (Content::Update(Bytes::copy_from_slice(bytes)), unpack_blocks(bytes)?),
            KIND_BLOCK => {
                let blocks = vec![Block::parse(bytes)?];
                (Content::Blocks(blocks.clone()), blocks)
            }
            other => return Err(DecodeError::UnsupportedVersion(other)),
        };
        let (count, spans) = (blocks.len(), spans_of(&blocks));
        report(Pack { content, count, spans }, blocks);
    }
    Ok(())
}

/// All blocks of a document of a server's store, each after what it depends on.
///
/// # Errors
/// What is wrong with the stored snapshot.
pub fn stored_blocks(stored: StoredDoc) -> Result<Vec<Block>, DecodeError> {
    let mut all = Vec::new();
    if let Some(snapshot) = stored.snapshot {
        read_packs(&snapshot.bytes, |_, blocks| all.extend(blocks))?;
    }
    all.extend(stored.blocks);
    Ok(all)
}
