//! Local-first Leptos apps in ten lines: saved here first, merged, synced in real time.
//!
//! ```
//! use leptos::prelude::*;
//! use leptos_sync::prelude::*;
//!
//! # #[derive(Clone, Debug, PartialEq, FieldValue)]
//! # struct Date { year: i32, month: u8, day: u8 }
//! #[derive(Clone, Debug, PartialEq, Record)]
//! struct Task {
//!     title: String,
//!     done: bool,
//!     #[record(counter)]
//!     votes: i64,
//!     #[record(text)]
//!     notes: String,      // edited together, character by character
//!     #[record(default)]
//!     due: Option<Date>,  // added later: old rows read the default
//! }
//!
//! #[component]
//! fn App() -> impl IntoView {
//!     provide_sync(SyncOptions::new("/sync")); // IndexedDB here, that server when reachable
//!     view! { <SyncStatusBadge/> <Tasks/> }
//! }
//!
//! #[component]
//! fn Tasks() -> impl IntoView {
//!     let board = use_doc("board/42");                // the unit of sync and of permission
//!     let tasks = board.collection::<Task>("tasks");  // LocalFirstCollection<Task>
//!     let open = tasks.query().filter(|t| !t.done).sort_by_key(|t| t.title.clone()).watch();
//!     view! {
//!         <For each=move || open.rows() key=|row| row.id() let:row>
//!             <input type="checkbox" bind:checked=row.done()/> // a field is a signal
//!             <input bind:value=row.title()/>
//!             <button on:click=move |_| row.votes().add(1)>{row.votes()}</button>
//!             <CollaborativeTextarea text=row.notes()/>
//!             <button on:click=move |_| row.remove()>"Remove"</button>
//!         </For>
//!         <button on:click=move |_| board.undo()>"Undo"</button>
//!     }
//! }
//! # let _ = App;
//! ```
//!
//! # Overview
//!
//! [`provide_sync`] starts the engine once, at the root. [`use_doc`] opens a document, the unit of
//! sync and of permission. Its [`LocalFirstCollection`]s hold records, its [`SyncText`]s are
//! edited together, its [`Presence`] says who else is here, and [`SyncStatusBadge`] says whether
//! everything is saved. All handles are `Copy`.
//!
//! A field is a signal: an effect that reads `row.title()` runs again when that title changes,
//! wherever it was changed, and for no other reason.
//!
//! # Rendering on the server
//!
//! With the feature `ssr` every hook and component works and renders its empty state; no document
//! is opened and no browser is touched. The first render in the browser is the same.
//!
//! # Crate features
//!
//! | feature | for |
//! |---|---|
//! | `csr` | an application rendered in the browser |
//! | `hydrate` | the browser's half of an application rendered on the server |
//! | `ssr` | the server's half |

mod badge;
#[cfg(all(target_family = "wasm", not(feature = "ssr")))]
mod broken;
#[cfg(all(target_family = "wasm", not(feature = "ssr")))]
mod browser;
mod collection;
mod context;
mod doc;
mod field;
mod local;
mod options;
mod presence;
mod pulse;
mod query;
mod render;
mod state;
mod text;
mod textarea;
mod together;

pub use badge::{SyncStatusBadge, status_text};
pub use collection::{LocalFirstCollection, Row};
pub use context::{SyncHandle, provide_engine, provide_sync, use_sync};
pub use doc::{IntoDocId, SyncDoc, Tx, try_use_doc, use_doc};
pub use field::{CounterField, Field, FieldGuard, RecordFields};
pub use leptos_sync_engine::{
    ContainerId, DocId, DocIdError, DocStatus, Entries, FieldKind, FieldSpec, FieldValue, Origin,
    Patch, Reason, Record, RecordError, RowChange, RowId, RowSink, RowSource, StorageFault,
    StorageHealth, SyncEngine, SyncState, SyncStatus, TextDelta, TextError, TransactError,
    Transaction, Value,
};
pub use leptos_sync_macros::{FieldValue, Record};
pub use options::{SyncOptions, User};
pub use presence::{Peer, Presence};
pub use query::{LiveQuery, Query};
pub use state::ChangeEvent;
pub use text::SyncText;
pub use textarea::CollaborativeTextarea;
pub use together::transact_all;

/// What an application imports.
pub mod prelude {
    pub use crate::{
        ChangeEvent, CollaborativeTextarea, DocId, FieldValue, LiveQuery, LocalFirstCollection,
        Origin, Peer, Presence, Record, Row, RowId, SyncDoc, SyncHandle, SyncOptions, SyncState,
        SyncStatus, SyncStatusBadge, SyncText, TransactError, provide_sync, transact_all,
        try_use_doc, use_doc, use_sync,
    };
}

/// For the code that the derive macros write.
#[doc(hidden)]
pub mod __private {
    pub use crate::field::{RowRef, counter_field, field, text_field};
    pub use leptos_sync_engine::read_field;

    /// A map from these entries.
    pub fn map_value<const N: usize>(entries: [(&str, crate::Value); N]) -> crate::Value {
        crate::Value::Map(entries.into())
    }
}

/// The examples of the README and of the guide, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
#[doc = include_str!("../../../docs/guide.md")]
struct Guide;
