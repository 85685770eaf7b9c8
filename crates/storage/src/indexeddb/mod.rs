//! A store in the browser's IndexedDB, shared by all tabs of an origin.
//!
//! Each call is one transaction. A connection that the browser took away is opened again, once per
//! call; one that a newer version of the program asks for is given up for good. A browser that does
//! not answer for ten seconds counts as unavailable, and is asked again by the next call.

mod connection;
mod idb;
mod ops;
mod schema;

use leptos_sync_crdt::{Block, DocId, OpId, VersionVector};

pub use connection::{Durability, IndexedDbOptions, IndexedDbStorage, ask_to_persist};

use crate::error::{AppendError, CompactError, Failure, ReadError};
use crate::storage::{Snapshot, Storage, StoredDoc};

impl Storage for IndexedDbStorage {
    async fn docs(&self) -> Result<Vec<DocId>, ReadError> {
        Ok(self.run(async |db, _| ops::docs(db).await).await?)
    }

    async fn versions(&self) -> Result<Vec<(DocId, VersionVector)>, ReadError> {
        Ok(self.run(async |db, _| ops::versions(db).await).await?)
    }

    async fn load(&self, doc: &DocId) -> Result<StoredDoc, ReadError> {
        Ok(self.run(async |db, _| ops::load(db, doc).await).await?)
    }

    async fn append(&self, batch: Vec<(DocId, Vec<Block>)>) -> Result<(), AppendError> {
        let refused = self.run(async |db, mode| ops::append(db, mode, &batch).await).await?;
        refused.map_or(Ok(()), |(doc, conflict)| {
            let (peer, seq) = (conflict.peer, conflict.seq);
            Err(AppendError::DuplicatePeer { doc, peer, seq })
        })
    }

    async fn compact(&self, doc: &DocId, snapshot: Snapshot) -> Result<(), CompactError> {
        self.replace(doc, snapshot, Vec::new()).await
    }

    async fn replace(
        &self,
        doc: &DocId,
        snapshot: Snapshot,
        moved: Vec<OpId>,
    ) -> Result<(), CompactError> {
        let replace = async |db: &_, mode| ops::replace(db, mode, doc, &snapshot, &moved).await;
        let done = self.run(replace).await?;
        if done { Ok(()) } else { Err(CompactError::Stale { doc: doc.clone() }) }
    }

    async fn remove(&self, doc: &DocId) -> Result<(), AppendError> {
        Ok(self.run(async |db, mode| ops::remove(db, mode, doc).await).await?)
    }

    async fn get_meta(&self, key: &str) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self.run(async |db, _| ops::get_meta(db, key).await).await?)
    }

    async fn put_meta(&self, key: &str, value: &[u8]) -> Result<(), AppendError> {
        Ok(self.run(async |db, mode| ops::put_meta(db, mode, key, value).await).await?)
    }

    async fn remove_meta(&self, key: &str) -> Result<(), AppendError> {
        Ok(self.run(async |db, mode| ops::remove_meta(db, mode, key).await).await?)
    }

    async fn list_meta(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, ReadError> {
        Ok(self.run(async |db, _| ops::list_meta(db, prefix).await).await?)
    }

    async fn lost(&self) {
        self.next_loss().await;
    }
}

/// Why an operation failed, before it is known whether it is tried again.
enum OpError {
    Idb(idb::IdbError),
    Failed(Failure),
}

impl From<idb::IdbError> for OpError {
    fn from(error: idb::IdbError) -> Self {
        Self::Idb(error)
    }
}

impl From<wasm_bindgen::JsValue> for OpError {
    fn from(thrown: wasm_bindgen::JsValue) -> Self {
        Self::Idb(thrown.into())
    }
}

impl From<Failure> for OpError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}
