//! Starting an engine in a page, with all that a browser offers.

use bytes::Bytes;
use leptos_sync_storage::MemoryStorage;
use leptos_sync_transport::{PostError, TabChannel, TabLink, WebSocketTransport};

use super::{WebEnv, WebLeases};
use crate::{EngineConfig, SyncEngine};

/// Starts an engine in this page: it keeps documents in the database of that name, talks to the
/// other tabs that use it, and syncs with `server` if there is one. `None` outside a window.
#[must_use]
pub fn start_in_page(
    config: EngineConfig,
    database: &str,
    server: Option<&str>,
) -> Option<SyncEngine> {
    let env = WebEnv::new()?;
    let transport = server.map(WebSocketTransport::new);
    let tabs = PageTabs::open(&format!("leptos-sync/{database}"));
    let leases = WebLeases::new(database);
    Some(SyncEngine::start(config, MemoryStorage::new(), transport, tabs, leases, env))
}

/// The channel to the other tabs, where the browser has one. Without it they find each other's
/// changes in storage and on the server.
struct PageTabs(Option<TabChannel>);

impl PageTabs {
    fn open(name: &str) -> Self {
        match TabChannel::open(name) {
            Ok(channel) => Self(Some(channel)),
            Err(error) => {
                tracing::warn!(%error, "other tabs cannot be told of changes");
                Self(None)
            }
        }
    }
}

impl TabLink for PageTabs {
    fn post(&self, message: &[u8]) -> Result<(), PostError> {
        self.0.as_ref().map_or(Ok(()), |channel| channel.post(message))
    }

    fn on_message(&self, callback: impl FnMut(Bytes) + 'static) {
        if let Some(channel) = &self.0 {
            channel.on_message(callback);
        }
    }
}
