//! The browser's WebSocket.

use std::rc::Rc;

use bytes::Bytes;
use futures::StreamExt;
use futures::channel::mpsc;
use futures::future::{Either, select};
use gloo_timers::future::TimeoutFuture;
use js_sys::{ArrayBuffer, Reflect, Uint8Array};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{BinaryType, CloseEvent, Event, MessageEvent, WebSocket};

use super::describe;
use crate::SUBPROTOCOL;
use crate::transport::{
    CONNECT_MS_MAX, Closed, ConnectError, FrameReceiver, FrameSender, SendError, Transport,
    close_reason,
};
use crate::url::socket_url;

/// Dials a sync server from a page or a worker.
#[derive(Clone, Debug)]
pub struct WebSocketTransport {
    address: String,
}

impl WebSocketTransport {
    /// Dials `address`, as [`socket_url`] reads it on this page.
    #[must_use]
    pub fn new(address: impl Into<String>) -> Self {
        Self { address: address.into() }
    }
}

/// The sending half of a browser's WebSocket.
#[derive(Debug)]
pub struct WebSocketSender {
    socket: Rc<Socket>,
}

/// The receiving half of a browser's WebSocket.
#[derive(Debug)]
pub struct WebSocketReceiver {
    socket: Rc<Socket>,
    signals: mpsc::UnboundedReceiver<Signal>,
    closed: Option<Closed>,
}

#[derive(Debug)]
enum Signal {
    Opened,
    Frame(Bytes),
    Closed(Closed),
}

/// A WebSocket with the closures that it calls.
#[derive(Debug)]
struct Socket {
    socket: WebSocket,
    signals: mpsc::UnboundedSender<Signal>,
    _on_open: Closure<dyn FnMut(Event)>,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_close: Closure<dyn FnMut(CloseEvent)>,
}

impl Socket {
    fn dial(url: &str) -> Result<(Self, mpsc::UnboundedReceiver<Signal>), JsValue> {
        let socket = WebSocket::new_with_str(url, SUBPROTOCOL)?;
        socket.set_binary_type(BinaryType::Arraybuffer);
        let (signals, received) = mpsc::unbounded();
        // The receiver may be gone already; then nobody is left to tell.
        let emit = |signals: &mpsc::UnboundedSender<Signal>, signal| {
            let _ = signals.unbounded_send(signal);
        };
        let to = signals.clone();
        let on_open = Closure::<dyn FnMut(Event)>::new(move |_| emit(&to, Signal::Opened));
        let to = signals.clone();
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
            emit(&to, frame(&event.data()));
        });
        let to = signals.clone();
        let on_close = Closure::<dyn FnMut(CloseEvent)>::new(move |event: CloseEvent| {
            let closed = Closed { code: event.code(), reason: event.reason() };
            emit(&to, Signal::Closed(closed));
        });
        // An error event says nothing, and a close event always follows it.
        socket.set_onopen(Some(on_open.as_ref().unchecked_ref()));
        socket.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        socket.set_onclose(Some(on_close.as_ref().unchecked_ref()));
        let socket = Self {
            socket,
            signals,
            _on_open: on_open,
            _on_message: on_message,
            _on_close: on_close,
        };
        Ok((socket, received))
    }

    /// Stops listening and starts the closing handshake, which nobody awaits.
    fn close(&self, code: u16, reason: &str) {
        let socket = &self.socket;
        socket.set_onopen(None);
        socket.set_onmessage(None);
        socket.set_onclose(None);
        if socket.ready_state() < WebSocket::CLOSING {
            let reason = close_reason(reason);
            // Scripts may send 1000 and the application's codes only; others go without a code.
            let _ = match code {
                1000 | 3000..=4999 => socket.close_with_code_and_reason(code, reason),
                _ => socket.close(),
            };
        }
        let closed = Closed { code, reason: reason.to_owned() };
        let _ = self.signals.unbounded_send(Signal::Closed(closed));
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.close(1000, "");
    }
}

fn frame(data: &JsValue) -> Signal {
    match data.dyn_ref::<ArrayBuffer>() {
        Some(buffer) => Signal::Frame(Bytes::from(Uint8Array::new(buffer).to_vec())),
        None => Signal::Closed(Closed { code: 1003, reason: "text in a binary protocol".into() }),
    }
}

impl Transport for WebSocketTransport {
    type Sender = WebSocketSender;
    type Receiver = WebSocketReceiver;

    async fn connect(&self) -> Result<(WebSocketSender, WebSocketReceiver), ConnectError> {
        let url = socket_url(&self.address, page_url().as_deref())?;
        let (socket, mut signals) = Socket::dial(&url)
            .map_err(|thrown| ConnectError::Address { url, detail: describe(&thrown) })?;
        let opened = match select(signals.next(), TimeoutFuture::new(CONNECT_MS_MAX)).await {
            Either::Left((signal, _)) => signal,
            Either::Right(_) => return Err(ConnectError::TimedOut { after_ms: CONNECT_MS_MAX }),
        };
        match opened {
            Some(Signal::Opened) if socket.socket.protocol() == SUBPROTOCOL => {}
            Some(Signal::Opened) => return Err(ConnectError::Subprotocol),
            Some(Signal::Closed(closed)) => {
                return Err(ConnectError::Unreachable { detail: closed.to_string() });
            }
            Some(Signal::Frame(_)) | None => {
                return Err(ConnectError::Unreachable { detail: "no handshake".to_owned() });
            }
        }
        let socket = Rc::new(socket);
        let sender = WebSocketSender { socket: socket.clone() };
        Ok((sender, WebSocketReceiver { socket, signals, closed: None }))
    }
}

/// The URL of the page, or of the worker's script.
fn page_url() -> Option<String> {
    let location = Reflect::get(&js_sys::global(), &JsValue::from_str("location")).ok()?;
    Reflect::get(&location, &JsValue::from_str("href")).ok()?.as_string()
}

impl FrameSender for WebSocketSender {
    fn send(&self, frame: Bytes) -> Result<(), SendError> {
        // A browser swallows what is sent on a socket that is closing.
        if self.socket.socket.ready_state() != WebSocket::OPEN {
            return Err(SendError::Closed);
        }
        self.socket.socket.send_with_u8_array(&frame).map_err(|_| SendError::Closed)
    }

    fn buffered_bytes(&self) -> usize {
        self.socket.socket.buffered_amount() as usize
    }

    fn close(&self, code: u16, reason: &str) {
        self.socket.close(code, reason);
    }
}

impl Drop for WebSocketSender {
    fn drop(&mut self) {
        self.socket.close(1000, "");
    }
}

impl FrameReceiver for WebSocketReceiver {
    async fn recv(&mut self) -> Result<Bytes, Closed> {
        if let Some(closed) = &self.closed {
            return Err(closed.clone());
        }
        let closed = loop {
            match self.signals.next().await {
                Some(Signal::Frame(frame)) => return Ok(frame),
                Some(Signal::Closed(closed)) => break closed,
                Some(Signal::Opened) => {}
                None => break Closed::lost("dropped"),
            }
        };
        self.socket.close(closed.code, &closed.reason);
        Err(self.closed.insert(closed).clone())
    }
}
