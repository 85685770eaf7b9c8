//! Why an operation on a store failed: one enum per operation, each saying what remains.

use std::sync::Arc;

use leptos_sync_crdt::{DecodeError, DocId, PeerId};

/// A failure of the backend that has no name of its own; the text is the backend's.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
pub struct BackendError(Arc<dyn std::error::Error + Send + Sync + 'static>);

impl BackendError {
    /// Wraps the backend's own error, or its text.
    pub fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync + 'static>>) -> Self {
        Self(Arc::from(error.into()))
    }
}

/// Why a store could not be opened. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another tab or process holds an older version open and did not let go in time. Ask the user
    /// to close it, then retry.
    #[error("another tab or process keeps the store from opening")]
    Blocked,
    /// The store was written by a newer program. Update this one.
    #[error("store has schema version {found}, this program knows {known}")]
    NewerSchema {
        /// The version of the store.
        found: u32,
        /// The newest version this program knows.
        known: u32,
    },
    /// This place has no such storage or forbids it, as some private modes do, or it does not
    /// answer. Run from memory.
    #[error("storage is not available here")]
    Unavailable,
    /// The store exists and is not one of ours, or is damaged beyond its schema.
    #[error("store is damaged or not a leptos-sync store")]
    Corrupt(#[source] BackendError),
    /// The backend failed otherwise.
    #[error("failed to open the store")]
    Backend(#[source] BackendError),
}

/// Why stored data could not be read. What is stored is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The store was closed, by this program or because a newer version of it took over. Reload.
    #[error("storage is closed")]
    Closed,
    /// Another process kept the store locked for too long. Retry.
    #[error("storage is locked by another process")]
    Blocked,
    /// The store was lost and could not be opened again, or does not answer. Run from memory, and
    /// retry later.
    #[error("storage is not available")]
    Unavailable,
    /// A stored record of the document does not decode. Fetch the document from a peer.
    #[error("stored data of document {doc} is corrupt")]
    Corrupt {
        /// The document.
        doc: DocId,
        /// What is wrong with the record.
        source: DecodeError,
    },
    /// The backend failed otherwise.
    #[error("failed to read from storage")]
    Backend(#[source] BackendError),
}

/// Why nothing was written. All of the batch is absent, and what was stored before is intact.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The quota or the disk is full. Free space and retry.
    #[error("storage quota exceeded")]
    QuotaExceeded,
    /// Another block is stored for operations of this peer: two authors share the peer id. Author
    /// the changes again under a fresh one.
    #[error("document {doc} already has other changes of peer {peer} at {seq}")]
    DuplicatePeer {
        /// The document.
        doc: DocId,
        /// The shared peer.
        peer: PeerId,
        /// Where the refused block starts.
        seq: u32,
    },
    /// The store was closed, by this program or because a newer version of it took over. Reload.
    #[error("storage is closed")]
    Closed,
    /// Another process kept the store locked for too long. Retry.
    #[error("storage is locked by another process")]
    Blocked,
    /// A write reached the disk in doubt (a failed fsync), now or earlier. Nothing more is written
    /// through this handle; stop, and open the store anew to see what it holds.
    #[error("storage failed while writing and refuses further writes: {detail}")]
    Broken {
        /// What the backend said when it failed.
        detail: String,
    },
    /// The store was lost and could not be opened again, or does not answer: what was written may
    /// be stored all the same. Run from memory, and retry later.
    #[error("storage is not available")]
    Unavailable,
    /// A stored record that had to be compared does not decode.
    #[error("stored data of document {doc} is corrupt")]
    Corrupt {
        /// The document.
        doc: DocId,
        /// What is wrong with the record.
        source: DecodeError,
    },
    /// The backend failed otherwise.
    #[error("failed to write to storage")]
    Backend(#[source] BackendError),
}

/// Why a document was not compacted. Its blocks and its older snapshot are as they were.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompactError {
    /// The stored snapshot has operations that the new one lacks. Load and merge first.
    #[error("stored snapshot of document {doc} is not covered by the new one")]
    Stale {
        /// The document.
        doc: DocId,
    },
    /// The quota or the disk is full. Free space and retry.
    #[error("storage quota exceeded")]
    QuotaExceeded,
    /// The store was closed, by this program or because a newer version of it took over. Reload.
    #[error("storage is closed")]
    Closed,
    /// Another process kept the store locked for too long. Retry.
    #[error("storage is locked by another process")]
    Blocked,
    /// A write reached the disk in doubt; see [`AppendError::Broken`].
    #[error("storage failed while writing and refuses further writes: {detail}")]
    Broken {
        /// What the backend said when it failed.
        detail: String,
    },
    /// The store was lost and could not be opened again. Run from memory, or reload.
    #[error("storage is not available")]
    Unavailable,
    /// The stored snapshot's version does not decode.
    #[error("stored data of document {doc} is corrupt")]
    Corrupt {
        /// The document.
        doc: DocId,
        /// What is wrong with the record.
        source: DecodeError,
    },
    /// The backend failed otherwise.
    #[error("failed to compact a document")]
    Backend(#[source] BackendError),
}

/// A named failure without details, as [`crate::MemoryStorage`] can be told to play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// See [`AppendError::QuotaExceeded`].
    QuotaExceeded,
    /// See [`AppendError::Closed`].
    Closed,
    /// See [`AppendError::Blocked`].
    Blocked,
    /// See [`AppendError::Broken`].
    Broken,
    /// See [`AppendError::Unavailable`].
    Unavailable,
}

/// A cause on its way to the error of whichever operation it struck.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    Fault(Fault),
    #[cfg_attr(not(feature = "sqlite"), expect(dead_code, reason = "only a disk breaks this way"))]
    Broken {
        detail: String,
    },
    #[cfg_attr(
        not(any(feature = "sqlite", all(feature = "indexeddb", target_family = "wasm"))),
        expect(dead_code, reason = "memory does not fail this way")
    )]
    Corrupt {
        doc: DocId,
        source: DecodeError,
    },
    #[cfg_attr(
        not(any(feature = "sqlite", all(feature = "indexeddb", target_family = "wasm"))),
        expect(dead_code, reason = "memory does not fail this way")
    )]
    Backend(BackendError),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Failure> for AppendError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Fault(Fault::QuotaExceeded) => Self::QuotaExceeded,
            Failure::Fault(Fault::Closed) => Self::Closed,
            Failure::Fault(Fault::Blocked) => Self::Blocked,
            Failure::Fault(Fault::Broken) => Self::Broken { detail: String::from("played") },
            Failure::Broken { detail } => Self::Broken { detail },
            Failure::Fault(Fault::Unavailable) => Self::Unavailable,
            Failure::Corrupt { doc, source } => Self::Corrupt { doc, source },
            Failure::Backend(error) => Self::Backend(error),
        }
    }
}

impl From<Failure> for CompactError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Fault(Fault::QuotaExceeded) => Self::QuotaExceeded,
            Failure::Fault(Fault::Closed) => Self::Closed,
            Failure::Fault(Fault::Blocked) => Self::Blocked,
            Failure::Fault(Fault::Broken) => Self::Broken { detail: String::from("played") },
            Failure::Broken { detail } => Self::Broken { detail },
            Failure::Fault(Fault::Unavailable) => Self::Unavailable,
            Failure::Corrupt { doc, source } => Self::Corrupt { doc, source },
            Failure::Backend(error) => Self::Backend(error),
        }
    }
}

impl From<Failure> for ReadError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Fault(Fault::Closed) => Self::Closed,
            Failure::Fault(Fault::Blocked) => Self::Blocked,
            Failure::Fault(Fault::Unavailable) => Self::Unavailable,
            // Reading takes no space and is not forbidden by a failed write; a backend that says
            // otherwise is quoted.
            Failure::Fault(fault @ (Fault::QuotaExceeded | Fault::Broken)) => {
                Self::Backend(BackendError::new(format!("{fault:?} while reading")))
            }
            Failure::Broken { detail } => Self::Backend(BackendError::new(detail)),
            Failure::Corrupt { doc, source } => Self::Corrupt { doc, source },
            Failure::Backend(error) => Self::Backend(error),
        }
    }
}
