//! SyncEngine: documents kept on the device and synced through a server.
//!
//! A [`SyncEngine`] joins the rooms below it: documents that merge, a store on the device, a
//! session with the server, a channel between tabs. An open document is a [`DocHandle`]; it is
//! changed in memory at once, stored, told to other tabs, and sent to the server until that
//! acknowledges it durably, across reloads and crashes. [`SyncStatus`] says how far that is.
//!
//! # Where things are
//!
//! | module | what it holds |
//! |---|---|
//! | `core` | every decision, without I/O, clock or entropy |
//! | `engine`, `handle` | the driver and its face |
//! | `together` | changes of several documents at once |
//! | `env` | what the platform provides: [`Env`] |
//! | `record`, `typed` | records in a document's tables |
//! | `web` | the browser's side of it, and page events |

mod config;
mod core;
mod engine;
mod env;
mod erased;
mod event;
mod handle;
mod record;
mod status;
mod together;
mod typed;
#[cfg(target_family = "wasm")]
mod web;

pub use config::EngineConfig;
pub use engine::{RemoveError, SyncEngine};
pub use env::Env;
#[cfg(not(target_family = "wasm"))]
pub use env::NativeEnv;
pub use event::{DocEvent, Origin, Subscription};
pub use handle::DocHandle;
pub use leptos_sync_crdt::{
    ContainerId, Cursor, Doc, DocId, DocIdError, Entries, OpId, Patch, PeerId, RowChange, RowError,
    RowId, Side, Stamp, TextDelta, TextError, Transaction, Value,
};
pub use leptos_sync_protocol::{NackCode, PresencePeer};
pub use leptos_sync_storage::{AppendError, ReadError, Storage};
pub use leptos_sync_transport::{NoTabs, TabLink, Transport};
pub use record::{
    FieldKind, FieldSpec, FieldValue, Record, RecordError, RowSink, RowSource, read_field,
};
pub use status::{DocStatus, Reason, StorageFault, StorageHealth, SyncState, SyncStatus};
pub use together::TransactError;
pub use typed::{insert_record, read_record};
#[cfg(target_family = "wasm")]
pub use web::{PageHooks, WebEnv, hook_page, start_in_page, stop_at_panic};
