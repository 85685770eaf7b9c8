//! The browser's sockets in a real browser. The WebSocket's happy path is driven through a stand-in
//! for the browser's class; against the real server it runs in the end-to-end tests.
#![cfg(target_family = "wasm")]

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use futures::StreamExt;
use futures::channel::mpsc;
use js_sys::Function;
use leptos_sync_transport::{
    Closed, ConnectError, FrameReceiver, FrameSender, SendError, TabChannel, TabLink, Transport,
    WebSocketTransport,
};
use wasm_bindgen::JsValue;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

fn script(code: &str) -> JsValue {
    Function::new_no_args(code).call0(&JsValue::NULL).expect("the script runs")
}

fn listen(tab: &TabChannel) -> mpsc::UnboundedReceiver<Bytes> {
    let (to, heard) = mpsc::unbounded();
    tab.on_message(move |message| to.unbounded_send(message).expect("the test listens"));
    heard
}

#[wasm_bindgen_test]
async fn every_other_tab_hears_a_post_and_the_sender_does_not() {
    let [a, b, c] = ["bus"; 3].map(|name| TabChannel::open(name).unwrap());
    let elsewhere = TabChannel::open("another bus").unwrap();
    let (mut at_a, mut at_b, mut at_c) = (listen(&a), listen(&b), listen(&c));
    let mut at_elsewhere = listen(&elsewhere);
    a.post(b"one").unwrap();
    a.post(&[0, 255, 128]).unwrap();
    b.post(b"").unwrap();
    for heard in [&mut at_b, &mut at_c] {
        assert_eq!(heard.next().await.unwrap(), "one");
        assert_eq!(heard.next().await.unwrap(), [0, 255, 128][..]);
    }
    assert_eq!(at_a.next().await.unwrap(), "");
    assert_eq!(at_c.next().await.unwrap(), "");
    assert!(at_b.try_recv().is_err() && at_elsewhere.try_recv().is_err());
}

#[wasm_bindgen_test]
async fn a_callback_is_replaced_and_a_dropped_tab_hears_nothing() {
    let [speaking, listening, leaving] = ["drop"; 3].map(|name| TabChannel::open(name).unwrap());
    let old = listen(&listening);
    let mut new = listen(&listening);
    let mut left = listen(&leaving);
    speaking.post(b"hi").unwrap();
    drop(leaving);
    assert_eq!(new.next().await.unwrap(), "hi");
    assert_eq!(left.next().await, None, "its callback was freed, and with it the channel");
    drop(old);
    drop(speaking);
    let again = TabChannel::open("drop").unwrap();
    again.post(b"again").unwrap();
    assert_eq!(new.next().await.unwrap(), "again");
}

/// A class in place of the browser's, which the test drives.
const STAND_IN: &str = "
    globalThis.RealWebSocket ??= WebSocket;
    const Stand = class {
        constructor(url, protocol) {
            Object.assign(this, { url, protocol, readyState: 0, bufferedAmount: 0, sent: [] });
            globalThis.socket = this;
            setTimeout(() => this.script?.());
        }
        send(bytes) { this.sent.push(new Uint8Array(bytes)); this.bufferedAmount += bytes.length; }
        close(code, reason) { this.readyState = 2; this.closedWith = `${code} ${reason}`; }
    };
    Stand.prototype.script = function () { this.readyState = 1; this.onopen?.({}); };
    globalThis.WebSocket = Stand;";

fn restore() {
    script("globalThis.WebSocket = RealWebSocket;");
}

#[wasm_bindgen_test]
async fn frames_pass_and_a_closed_socket_cannot_speak() {
    script(STAND_IN);
    let (sender, mut receiver) = WebSocketTransport::new("/sync").connect().await.unwrap();
    let asked = script("return `${socket.url} ${socket.protocol} ${socket.binaryType}`;");
    let host = script("return location.host;").as_string().unwrap();
    let expected = format!("ws://{host}/sync leptos-sync.v1 arraybuffer");
    assert_eq!(asked.as_string(), Some(expected));
    sender.send(Bytes::from_static(b"hello")).unwrap();
    assert_eq!(sender.buffered_bytes(), 5);
    let sent = script("return new TextDecoder().decode(socket.sent[0]);");
    assert_eq!(sent.as_string().as_deref(), Some("hello"));
    script("socket.onmessage({ data: new Uint8Array([1, 2]).buffer });");
    assert_eq!(receiver.recv().await.unwrap(), [1, 2][..]);
    script("socket.stale = socket.onmessage;");
    sender.close(4001, "done");
    let state = script("return `${socket.closedWith} ${socket.onmessage ?? socket.onclose}`;");
    assert_eq!(state.as_string().as_deref(), Some("4001 done undefined"));
    assert_eq!(sender.send(Bytes::new()), Err(SendError::Closed));
    let closed = Closed { code: 4001, reason: "done".to_owned() };
    assert_eq!(receiver.recv().await, Err(closed.clone()));
    assert_eq!(receiver.recv().await, Err(closed));
    restore();
}

#[wasm_bindgen_test]
async fn the_servers_close_and_text_end_the_connection() {
    script(STAND_IN);
    let transport = WebSocketTransport::new("wss://a.example/sync");
    let (_sender, mut receiver) = transport.connect().await.unwrap();
    script("socket.readyState = 3; socket.onclose({ code: 4003, reason: 'go away' });");
    let closed = Closed { code: 4003, reason: "go away".to_owned() };
    assert_eq!(receiver.recv().await, Err(closed));
    let (sender, mut receiver) = transport.connect().await.unwrap();
    script("socket.onmessage({ data: 'text' });");
    assert_eq!(receiver.recv().await.unwrap_err().code, 1003);
    assert_eq!(sender.send(Bytes::new()), Err(SendError::Closed));
    // A code that scripts may not send goes without one.
    let (sender, _receiver) = transport.connect().await.unwrap();
    sender.close(1011, "x");
    let closed = script("return socket.closedWith;").as_string();
    assert_eq!(closed.as_deref(), Some("undefined undefined"));
    restore();
}

#[wasm_bindgen_test]
async fn dropping_either_the_attempt_or_the_sender_closes() {
    script(STAND_IN);
    let transport = WebSocketTransport::new("/sync");
    let polled = Rc::new(RefCell::new(Box::pin(transport.connect())));
    {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(polled.borrow_mut().as_mut().poll(&mut context).is_pending());
    }
    drop(polled);
    let state = "return `${socket.onopen ?? socket.onclose} ${socket.closedWith}`;";
    assert_eq!(script(state).as_string().as_deref(), Some("undefined 1000 "));
    let (sender, mut receiver) = transport.connect().await.unwrap();
    drop(sender);
    assert_eq!(script(state).as_string().as_deref(), Some("undefined 1000 "));
    assert_eq!(receiver.recv().await.unwrap_err().code, 1000);
    restore();
}

#[wasm_bindgen_test]
async fn failures_to_connect_have_their_names() {
    restore_if_stood_in();
    for address in ["sync", "ftp://a/", "ws://"] {
        let refused = WebSocketTransport::new(address).connect().await.err();
        assert!(matches!(refused, Some(ConnectError::Address { .. })), "{address}: {refused:?}");
    }
    // The page's own server speaks HTTP only, and nothing listens on port 2, which is none of those
    // that browsers refuse to dial.
    for address in ["/sync", "ws://127.0.0.1:2/"] {
        let refused = WebSocketTransport::new(address).connect().await.err();
        assert!(matches!(refused, Some(ConnectError::Unreachable { .. })), "{refused:?}");
    }
    script(STAND_IN);
    script("WebSocket.prototype.script = function () { this.protocol = ''; this.onopen({}); };");
    let refused = WebSocketTransport::new("/sync").connect().await.err();
    restore();
    assert_eq!(refused, Some(ConnectError::Subprotocol));
}

fn restore_if_stood_in() {
    script("globalThis.WebSocket = globalThis.RealWebSocket ?? WebSocket;");
}
