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
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
#[cfg(all(feature = "indexeddb", target_family = "wasm"))]
mod indexeddb;
mod memory;
mod merge;
mod planted;
#[cfg(any(test, feature = "conformance", all(feature = "indexeddb", target_family = "wasm")))]
pub mod record;
#[cfg(all(feature = "sqlite", not(target_family = "wasm")))]
mod sqlite;
mod storage;

pub use bounds::{MaybeSend, MaybeSync};
pub use error::{AppendError, BackendError, CompactError, Fault, OpenError, ReadError};
#[cfg(all(feature = "indexeddb", target_family = "wasm"))]
pub use indexeddb::{Durability, IndexedDbOptions, IndexedDbStorage, ask_to_persist};
pub use memory::MemoryStorage;
#[cfg(planted)]
#[doc(hidden)]
pub use planted::{is_planted_in_product, plant_in_product};
#[cfg(all(feature = "sqlite", not(target_family = "wasm")))]
pub use sqlite::{BackupError, SqliteOptions, SqliteStorage};
pub use storage::{Snapshot, Storage, StoredDoc};
