//! Starting the engine in a page: its store, its socket, its tabs.

use std::any::Any;

use leptos_sync_engine::{EngineConfig, SyncEngine};

use crate::options::SyncOptions;

/// Starts an engine for `options`; the second value must live as long as it. `None` outside a
/// window, where there is no page to sync for.
pub(crate) fn start(options: &SyncOptions) -> Option<(SyncEngine, Box<dyn Any>)> {
    let mut config = EngineConfig::default();
    config.token.clone_from(&options.token);
    let server = options.server.as_deref();
    leptos_sync_engine::stop_at_panic(crate::broken::show);
    let engine = leptos_sync_engine::start_in_page(config, &options.database, server)?;
    let hooks = leptos_sync_engine::hook_page(&engine);
    Some((engine, Box::new(hooks)))
}
