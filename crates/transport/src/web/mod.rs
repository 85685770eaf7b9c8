//! The browser's sockets: WebSocket and BroadcastChannel.
//!
//! What a browser object calls is freed with the object, and a socket that was dropped or closed is
//! detached first: a stale one cannot speak.

mod socket;
mod tabs;

pub use socket::{WebSocketReceiver, WebSocketSender, WebSocketTransport};
pub use tabs::TabChannel;

use wasm_bindgen::{JsCast, JsValue};

/// What a thrown value says.
fn describe(thrown: &JsValue) -> String {
    match thrown.dyn_ref::<js_sys::Error>() {
        Some(error) => String::from(error.to_string()),
        None => format!("{thrown:?}"),
    }
}
