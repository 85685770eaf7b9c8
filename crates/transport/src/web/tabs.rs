//! The browser's BroadcastChannel.

use std::cell::RefCell;

use bytes::Bytes;
use js_sys::Uint8Array;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{BroadcastChannel, MessageEvent};

use super::describe;
use crate::tabs::{PostError, TabLink};

type OnMessage = Closure<dyn FnMut(MessageEvent)>;

/// A named channel to every other tab and worker of this origin that opened the same name.
#[derive(Debug)]
pub struct TabChannel {
    channel: BroadcastChannel,
    on_message: RefCell<Option<OnMessage>>,
}

impl TabChannel {
    /// Joins the channel `name`.
    ///
    /// # Errors
    /// [`PostError`] where there is no BroadcastChannel.
    pub fn open(name: &str) -> Result<Self, PostError> {
        let channel = BroadcastChannel::new(name)
            .map_err(|thrown| PostError { detail: describe(&thrown) })?;
        Ok(Self { channel, on_message: RefCell::new(None) })
    }
}

impl TabLink for TabChannel {
    fn post(&self, message: &[u8]) -> Result<(), PostError> {
        // A copy on JavaScript's side: the browser would clone all of our memory with a view.
        let copy = Uint8Array::from(message);
        self.channel.post_message(&copy).map_err(|thrown| PostError { detail: describe(&thrown) })
    }

    fn on_message(&self, mut callback: impl FnMut(Bytes) + 'static) {
        let on_message = OnMessage::new(move |event: MessageEvent| {
            // Only our own code opens this name; anything else on it is not for us.
            if let Some(bytes) = event.data().dyn_ref::<Uint8Array>() {
                callback(Bytes::from(bytes.to_vec()));
            }
        });
        self.channel.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        *self.on_message.borrow_mut() = Some(on_message);
    }
}

impl Drop for TabChannel {
    fn drop(&mut self) {
        self.channel.set_onmessage(None);
        self.channel.close();
    }
}
