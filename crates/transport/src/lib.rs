//! Sockets for leptos-sync: in memory, WebSocket in the browser and native, BroadcastChannel.
//!
//! A [`Transport`] dials; what it gives carries whole binary frames, in order, until it closes.
//! Nothing here knows what a frame means, and nothing here decides when to dial again: that is the
//! engine's, with [`Backoff`] to say how long to wait.
//!
//! | transport | where | feature |
//! |---|---|---|
//! | [`MemoryTransport`] | everywhere, for tests | |
//! | `WebSocketTransport` | browsers | `web` |
//! | `WebSocketTransport` | native, over tokio | `native` |
//!
//! Tabs of one browser talk through a [`TabLink`]: `TabChannel` there, [`TabPort`] in tests.

mod backoff;
mod memory;
#[cfg(all(feature = "native", not(target_family = "wasm")))]
mod native;
mod tabs;
mod transport;
mod url;
#[cfg(all(feature = "web", target_family = "wasm"))]
mod web;

pub use backoff::Backoff;
pub use memory::{MemoryAcceptor, MemoryReceiver, MemorySender, MemoryTransport, pair};
#[cfg(all(feature = "native", not(target_family = "wasm")))]
pub use native::{WebSocketReceiver, WebSocketSender, WebSocketTransport};
pub use tabs::{NoTabs, PostError, TabBus, TabLink, TabPort};
pub use transport::{Closed, ConnectError, FrameReceiver, FrameSender, SendError, Transport};
pub use url::socket_url;
#[cfg(all(feature = "web", target_family = "wasm"))]
pub use web::{TabChannel, WebSocketReceiver, WebSocketSender, WebSocketTransport};

/// The WebSocket subprotocol that both ends ask for.
pub const SUBPROTOCOL: &str = "leptos-sync.v1";
