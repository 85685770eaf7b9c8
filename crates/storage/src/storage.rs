//! The contract of a store, which each backend keeps and the conformance suite checks.

use std::future::Future;

use leptos_sync_crdt::{Block, DocId, OpId, VersionVector};

use crate::bounds::{MaybeSend, MaybeSync};
use crate::error::{AppendError, CompactError, ReadError};

/// A document's whole state at a version, which replaces the blocks that the version covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The operations it contains.
    pub version: VersionVector,
    /// The encoded document; a store does not look inside.
    pub bytes: Vec<u8>,
}

/// What a store holds of one document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredDoc {
    /// The newest snapshot, if the document was ever compacted.
    pub snapshot: Option<Snapshot>,
    /// The blocks that the snapshot does not cover, by (stamp, peer, seq): what a block depends on
    /// comes before it.
    pub blocks: Vec<Block>,
}

impl StoredDoc {
    /// Whether nothing is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.snapshot.is_none() && self.blocks.is_empty()
    }
}

/// Keeps documents: per document a log of blocks, and a snapshot that replaces a prefix of it.
///
/// Writes of one handle take effect in the order in which their futures are first polled. A write
/// whose future was dropped before it resolved may or may not happen, as a whole.
pub trait Storage: MaybeSend + MaybeSync + 'static {
    /// Every document of which something is stored, by id.
    fn docs(&self) -> impl Future<Output = Result<Vec<DocId>, ReadError>> + MaybeSend;

    /// Every document of which something is stored, by id, with what is stored: per author, where
    /// its last stored block ends. Reads no blocks.
    fn versions(
        &self,
    ) -> impl Future<Output = Result<Vec<(DocId, VersionVector)>, ReadError>> + MaybeSend;

    /// All that is stored of `doc`; empty if it is unknown.
    fn load(&self, doc: &DocId) -> impl Future<Output = Result<StoredDoc, ReadError>> + MaybeSend;

    /// Adds blocks to several documents, all or none; resolves when they are durable.
    ///
    /// Blocks that are stored already are skipped, so a batch may be repeated. A different block
    /// for the same operations is [`AppendError::DuplicatePeer`].
    fn append(
        &self,
        batch: Vec<(DocId, Vec<Block>)>,
    ) -> impl Future<Output = Result<(), AppendError>> + MaybeSend;

    /// Replaces the stored snapshot, and the blocks that the new one covers, in one step.
    fn compact(
        &self,
        doc: &DocId,
        snapshot: Snapshot,
    ) -> impl Future<Output = Result<(), CompactError>> + MaybeSend;

    /// As [`Storage::compact`], and forgets the blocks of each peer in `moved` from that seq on:
    /// the snapshot has them under other names. What a stored snapshot has of those counts as
    /// covered.
    fn replace(
        &self,
        doc: &DocId,
        snapshot: Snapshot,
        moved: Vec<OpId>,
    ) -> impl Future<Output = Result<(), CompactError>> + MaybeSend;

    /// Forgets all that is stored of `doc`.
    fn remove(&self, doc: &DocId) -> impl Future<Output = Result<(), AppendError>> + MaybeSend;

    /// The small value stored under `key`.
    fn get_meta(
        &self,
        key: &str,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, ReadError>> + MaybeSend;

    /// Stores a small value; resolves when it is durable.
    fn put_meta(
        &self,
        key: &str,
        value: &[u8],
    ) -> impl Future<Output = Result<(), AppendError>> + MaybeSend;

    /// Forgets the value under `key`, if there is one.
    fn remove_meta(&self, key: &str) -> impl Future<Output = Result<(), AppendError>> + MaybeSend;

    /// The keys that start with `prefix`, and their values, by key.
    fn list_meta(
        &self,
        prefix: &str,
    ) -> impl Future<Output = Result<Vec<(String, Vec<u8>)>, ReadError>> + MaybeSend;

    /// Resolves when the platform took the store away, once for each time: what was stored may be
    /// gone, as when a person clears a site's data. Calls go on to work, on what there is then.
    ///
    /// Only one caller at a time is told. A store that nobody takes away never resolves, which is
    /// the default.
    fn lost(&self) -> impl Future<Output = ()> + MaybeSend {
        std::future::pending()
    }
}
