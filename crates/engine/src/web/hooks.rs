//! Page events that matter to sync: the network comes and goes, the page is shown, frozen, closed.

use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;

use crate::SyncEngine;

/// The event listeners of [`hook_page`]; they are removed when this is dropped.
#[derive(Debug)]
pub struct PageHooks {
    listeners: Vec<Listener>,
}

impl PageHooks {
    /// How many page events are listened to.
    #[must_use]
    pub fn listener_count(&self) -> usize {
        self.listeners.len()
    }
}

/// Tells `engine` about `online`, `offline`, `visibilitychange`, `resume`, `pageshow` and
/// `pagehide`.
///
/// Does nothing outside a window.
#[must_use]
pub fn hook_page(engine: &SyncEngine) -> PageHooks {
    let mut hooks = PageHooks { listeners: Vec::new() };
    let Some(window) = web_sys::window() else { return hooks };
    let Some(document) = window.document() else { return hooks };
    if !window.navigator().on_line() {
        engine.set_online(false);
    }
    let mut on = |target: &web_sys::EventTarget, name, act: fn(&SyncEngine)| {
        let engine = engine.clone();
        hooks.listeners.extend(Listener::new(target, name, move || act(&engine)));
    };
    on(&window, "online", |engine| engine.set_online(true));
    on(&window, "offline", |engine| engine.set_online(false));
    on(&window, "pageshow", SyncEngine::nudge);
    on(&window, "pagehide", SyncEngine::leave);
    // A page that was frozen is not shown anew when it goes on.
    on(&document, "resume", SyncEngine::nudge);
    on(&document, "visibilitychange", |engine| {
        let document = web_sys::window().and_then(|window| window.document());
        if document.is_some_and(|page| page.visibility_state() == web_sys::VisibilityState::Visible)
        {
            engine.nudge();
        }
    });
    hooks
}

#[derive(Debug)]
struct Listener {
    target: web_sys::EventTarget,
    name: &'static str,
    callback: Closure<dyn FnMut()>,
}

impl Listener {
    fn new(
        target: &web_sys::EventTarget,
        name: &'static str,
        act: impl FnMut() + 'static,
    ) -> Option<Self> {
        let callback = Closure::<dyn FnMut()>::new(act);
        target.add_event_listener_with_callback(name, callback.as_ref().unchecked_ref()).ok()?;
        Some(Self { target: target.clone(), name, callback })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Removing a listener that is gone is harmless.
        let _ = self
            .target
            .remove_event_listener_with_callback(self.name, self.callback.as_ref().unchecked_ref());
    }
}
