//! Documents that merge: registers, maps, tables, counters and text for leptos-sync.

mod block;
mod codec;
mod id;
mod op;
mod stamp;
mod value;
mod version;

pub use block::{BLOCK_BYTES_MAX, Block, BlockHeader};
pub use codec::{DecodeError, Reader, Writer};
pub use id::{DocId, DocIdError, OpId, PeerId, RowId};
pub use op::ContainerId;
pub use stamp::{FUTURE_MS_MAX, Stamp};
pub use value::{MAX_NESTING, Value};
pub use version::VersionVector;
