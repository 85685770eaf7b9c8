//! Documents that merge: edited here first, equal everywhere in the end.
//!
//! A [`Doc`] holds registers, maps, tables, counters, texts, lists and trees. [`Doc::transact`]
//! edits it and yields a [`Block`] to keep and send; [`Doc::import`] takes in the blocks of others,
//! in any order and any number of times. Replicas with the same blocks show the same document.
//!
//! ```
//! use leptos_sync_crdt::{Doc, PeerId};
//!
//! let (mut laptop, mut phone) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
//! let (task, _) = laptop.transact(0, |tx| tx.table("tasks").insert([("title", "Buy milk")]));
//! phone.import(0, laptop.blocks_since(phone.version()))?;
//!
//! // Both go offline and edit different fields of the same row.
//! laptop.transact(0, |tx| tx.table("tasks").set(task, "title", "Buy oat milk")).0?;
//! phone.transact(0, |tx| tx.table("tasks").set(task, "done", true)).0?;
//!
//! laptop.import(0, phone.blocks_since(laptop.version()))?;
//! phone.import(0, laptop.blocks_since(phone.version()))?;
//! for doc in [&laptop, &phone] {
//!     assert_eq!(doc.table("tasks").get(task, "title"), Some("Buy oat milk".into()));
//!     assert_eq!(doc.table("tasks").get(task, "done"), Some(true.into()));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! This crate does no I/O and knows no clock, randomness, thread or `async`.

mod apply;
mod blame;
mod block;
mod bulk;
mod cell_log;
mod cells;
mod codec;
mod columns;
mod compact;
#[cfg(test)]
mod conformance;
mod container;
mod counter;
mod doc;
mod edit;
mod entries;
#[cfg(test)]
mod forged;
mod gather;
mod graph;
#[cfg(test)]
mod histories;
mod history;
mod id;
mod import;
mod list;
mod lww;
#[cfg(test)]
mod model;
mod names;
mod numbers;
mod op;
mod pack;
mod packing;
mod past;
mod patch;
mod pool;
mod queue;
mod range_map;
mod ranges;
mod reauthor;
mod rebase;
mod repeats;
mod rollback;
mod rope;
mod search;
mod shallow;
mod snapshot;
mod sorted;
mod sorting;
mod stamp;
mod sum_tree;
mod table;
mod text;
mod transaction;
mod tree;
mod undo;
mod update;
mod value;
mod version;

pub use blame::{Cell, Written};
pub use block::{BLOCK_BYTES_MAX, Block, BlockHeader};
pub use codec::{DecodeError, Reader, Writer};
pub use compact::{BlockReader, BlockWriter};
pub use container::{ContainerId, ContainerKey, ContainerKind};
pub use doc::{Commit, Doc};
pub use entries::Entries;
pub use history::ChainMark;
pub use id::{DocId, DocIdError, OpId, PeerId, RowId};
pub use import::{Import, ImportError, PENDING_BLOCKS_MAX};
pub use list::{ElementId, List, ListError, ListMut, MovableListMut};
pub use lww::{LwwMap, LwwRegister};
pub use pack::{PACK_BLOCKS_MAX, pack_blocks, unpack_blocks};
pub use past::PastError;
pub use patch::{ListDelta, Patch, RowChange, TextDelta, TreeChange};
pub use reauthor::{ReauthorError, Reauthored};
pub use rebase::{RebaseError, Rebased};
pub use snapshot::is_update;
pub use stamp::{FUTURE_MS_MAX, Stamp};
pub use table::Table;
pub use text::{Authorship, Cursor, Expand, MARK_KEY_BYTES_MAX, Side, Span, Text, TextError};
pub use transaction::{
    CounterMut, INSERT_BYTES_MAX, MapMut, RegisterMut, RowError, TableMut, TextMut, Transaction,
};
pub use tree::{NodeId, Tree, TreeError, TreeMut};
pub use value::{MAX_NESTING, Value};
pub use version::VersionVector;
