//! SyncEngine: documents kept on the device and synced through a server.

mod record;
mod typed;

pub use leptos_sync_crdt::Value;
pub use record::{
    FieldKind, FieldSpec, FieldValue, Record, RecordError, RowSink, RowSource, read_field,
};
pub use typed::{insert_record, read_record};
