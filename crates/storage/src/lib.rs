//! Durable stores of document blocks: memory, IndexedDB, SQLite.
//!
//! A [`Storage`] keeps, per document, an append-only log of change blocks and at most one snapshot
//! that replaces a prefix of it, and beside the documents a few small named values. All backends
//! pass one conformance suite (feature `conformance`).
//!
//! | backend | where | feature |
//! |---|---|---|
//! | [`MemoryStorage`] | everywhere; nothing outlives the process | |
//! | `IndexedDbStorage` | browsers | `indexeddb` |
//! | `SqliteStorage` | native | `sqlite` |

mod bounds;
mod error;
mod memory;
mod merge;
mod storage;

pub use bounds::{MaybeSend, MaybeSync};
pub use error::{AppendError, BackendError, CompactError, Fault, OpenError, ReadError};
pub use memory::MemoryStorage;
pub use storage::{Snapshot, Storage, StoredDoc};
