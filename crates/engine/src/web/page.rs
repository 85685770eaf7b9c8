//! An engine in a page, with what a browser offers.

use leptos_sync_storage::IndexedDbStorage;
use leptos_sync_transport::{PostError, TabChannel, TabLink, WebSocketTransport};

use super::late::LateStorage;
use crate::{EngineConfig, SyncEngine, WebEnv};

/// Starts an engine in this page: documents in the IndexedDB database of that name, other tabs
/// through a BroadcastChannel, and, if given, the server at `server`: a path on the
/// page's own server such as `/sync`, or a whole `ws:` or `wss:` address.
///
/// What the browser lacks or refuses is named in the engine's status. Add [`super::hook_page`] to
/// have it follow the page's events. `None` outside a window.
#[must_use]
pub fn start_in_page(
    config: EngineConfig,
    database: &str,
    server: Option<&str>,
) -> Option<SyncEngine> {
    let env = WebEnv::new()?;
    let name = database.to_owned();
    let storage = LateStorage::new(move || {
        let name = name.clone();
        async move { IndexedDbStorage::open(&name).await }
    });
    let tabs = PageTabs(
        TabChannel::open(&format!("leptos-sync/{database}"))
            .inspect_err(|error| tracing::warn!(%error, "no word from other tabs"))
            .ok(),
    );
    let transport = server.map(WebSocketTransport::new);
    Some(SyncEngine::start(config, storage, transport, tabs, env))
}

/// The channel to other tabs, where there is one.
struct PageTabs(Option<TabChannel>);

impl TabLink for PageTabs {
    fn post(&self, message: &[u8]) -> Result<(), PostError> {
        self.0.as_ref().map_or(Ok(()), |channel| channel.post(message))
    }

    fn on_message(&self, callback: impl FnMut(bytes::Bytes) + 'static) {
        if let Some(channel) = &self.0 {
            channel.on_message(callback);
        }
    }
}
