//! What a panic leaves behind is not to be trusted: from then on no engine of the page does
//! anything, so that nothing wrong is stored or sent.
//!
//! A panic in WebAssembly ends the call that it happened in, and nothing else: memory stays as it
//! was in the middle of something, and the page could go on calling into it.

use std::cell::Cell;
use std::panic::{set_hook, take_hook};

use wasm_bindgen::throw_str;

thread_local! {
    static POISONED: Cell<bool> = const { Cell::new(false) };
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

/// Stops every engine of this page at the first panic, wherever it happens, and then calls `tell`
/// with the panic's message: the page has to be loaded again, which finds all that was stored.
///
/// The panic hook that was set before is called first. A later call changes nothing.
pub fn stop_at_panic(tell: impl Fn(&str) + Send + Sync + 'static) {
    if WATCHED.replace(true) {
        return;
    }
    let before = take_hook();
    set_hook(Box::new(move |panic| {
        before(panic);
        if !POISONED.replace(true) {
            tell(&panic.to_string());
        }
    }));
}

/// Goes no further in a page that panicked.
pub(crate) fn refuse_if_poisoned() {
    if POISONED.get() {
        throw_str("leptos-sync stopped when this page panicked; load the page again");
    }
}
