//! A WebSocket over tokio, for command-line tools, servers and tests.
//!
//! One task per connection writes; reading happens where [`FrameReceiver::recv`] is awaited, so a
//! slow reader slows the other end down and fills no queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::{ProtocolError, UrlError};
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::SUBPROTOCOL;
use crate::transport::{
    CONNECT_MS_MAX, Closed, ConnectError, FrameReceiver, FrameSender, SendError, Transport,
    close_reason,
};
use crate::url::socket_url;

/// A message beyond this ends the connection. Frames are a quarter of it at most.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// How long what is queued may take to leave after the close.
const CLOSE_GRACE: Duration = Duration::from_secs(5);

type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Dials a sync server from a native program. `wss:` is not supported: put a proxy between.
#[derive(Clone, Debug)]
pub struct WebSocketTransport {
    address: String,
}

impl WebSocketTransport {
    /// Dials `address`, a whole URL.
    #[must_use]
    pub fn new(address: impl Into<String>) -> Self {
        Self { address: address.into() }
    }

    fn request(&self) -> Result<Request, ConnectError> {
        let url = socket_url(&self.address, None)?;
        let refuse = |detail| ConnectError::Address { url: url.clone(), detail };
        if url.starts_with("wss:") {
            return Err(refuse("wss is not supported natively".to_owned()));
        }
        let request = url.as_str().into_client_request();
        let mut request = request.map_err(|error| refuse(error.to_string()))?;
        let protocol = HeaderValue::from_static(SUBPROTOCOL);
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
        Ok(request)
    }
}

/// The sending half of a native WebSocket.
#[derive(Debug)]
pub struct WebSocketSender {
    frames: mpsc::UnboundedSender<Bytes>,
    queued_bytes: Arc<AtomicUsize>,
    closed: Arc<watch::Sender<Option<Closed>>>,
}

/// The receiving half of a native WebSocket.
#[derive(Debug)]
pub struct WebSocketReceiver {
    /// Gone once the connection is over, so that the peer sees it end.
    stream: Option<SplitStream<Stream>>,
    closed: Arc<watch::Sender<Option<Closed>>>,
}

impl Transport for WebSocketTransport {
    type Sender = WebSocketSender;
    type Receiver = WebSocketReceiver;

    async fn connect(&self) -> Result<(WebSocketSender, WebSocketReceiver), ConnectError> {
        let request = self.request()?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let dial = connect_async_with_config(request, Some(config), true);
        let (stream, _response) = timeout(Duration::from_millis(CONNECT_MS_MAX.into()), dial)
            .await
            .map_err(|_| ConnectError::TimedOut { after_ms: CONNECT_MS_MAX })?
            .map_err(|error| self.connect_error(&error))?;
        let (sink, stream) = stream.split();
        let (frames, queue) = mpsc::unbounded_channel();
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let closed = Arc::new(watch::Sender::new(None));
        tokio::spawn(write(sink, queue, queued_bytes.clone(), closed.clone()));
        let sender = WebSocketSender { frames, queued_bytes, closed: closed.clone() };
        Ok((sender, WebSocketReceiver { stream: Some(stream), closed }))
    }
}

impl WebSocketTransport {
    fn connect_error(&self, error: &Error) -> ConnectError {
        match error {
            Error::Url(UrlError::UnableToConnect(_)) => {
                ConnectError::Unreachable { detail: "connection refused".to_owned() }
            }
            Error::Url(error) => {
                ConnectError::Address { url: self.address.clone(), detail: error.to_string() }
            }
            Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(_)) => {
                ConnectError::Subprotocol
            }
            error => ConnectError::Unreachable { detail: error.to_string() },
        }
    }
}

/// Writes what is queued until the connection is closed, and then for a little longer.
async fn write(
    mut sink: SplitSink<Stream, Message>,
    mut queue: mpsc::UnboundedReceiver<Bytes>,
    queued_bytes: Arc<AtomicUsize>,
    closed: Arc<watch::Sender<Option<Closed>>>,
) {
    let (mut closing, mut expiring) = (closed.subscribe(), closed.subscribe());
    let drain = async {
        loop {
            let frame = tokio::select! {
                biased;
                frame = queue.recv() => frame,
                _ = closing.wait_for(Option::is_some) => None,
            };
            let Some(frame) = frame else { break };
            let len = frame.len();
            if let Err(error) = sink.send(Message::Binary(frame)).await {
                finish(&closed, || Closed::lost(error.to_string()));
                return;
            }
            queued_bytes.fetch_sub(len, Ordering::AcqRel);
        }
        let reason = closed.borrow().as_ref().and_then(close_frame);
        // The other end may be gone; nobody awaits the handshake.
        let _ = sink.send(Message::Close(reason)).await;
        let _ = sink.close().await;
    };
    let expire = async {
        // Fails only without senders, and `closed` above is one.
        let _ = expiring.wait_for(Option::is_some).await;
        sleep(CLOSE_GRACE).await;
    };
    tokio::select! {
        () = drain => {}
        () = expire => {}
    }
}

fn close_frame(closed: &Closed) -> Option<CloseFrame> {
    let code = CloseCode::from(closed.code);
    code.is_allowed().then(|| CloseFrame { code, reason: close_reason(&closed.reason).into() })
}

/// Records how the connection ended, unless that is known already.
fn finish(closed: &watch::Sender<Option<Closed>>, how: impl FnOnce() -> Closed) {
    closed.send_if_modified(|known| {
        let first = known.is_none();
        known.get_or_insert_with(how);
        first
    });
}

impl FrameSender for WebSocketSender {
    fn send(&self, frame: Bytes) -> Result<(), SendError> {
        if self.closed.borrow().is_some() {
            return Err(SendError::Closed);
        }
        self.queued_bytes.fetch_add(frame.len(), Ordering::AcqRel);
        self.frames.send(frame).map_err(|_| SendError::Closed)
    }

    fn buffered_bytes(&self) -> usize {
        self.queued_bytes.load(Ordering::Acquire)
    }

    fn close(&self, code: u16, reason: &str) {
        finish(&self.closed, || Closed { code, reason: reason.to_owned() });
    }
}

impl Drop for WebSocketSender {
    fn drop(&mut self) {
        self.close(1000, "");
    }
}

impl FrameReceiver for WebSocketReceiver {
    async fn recv(&mut self) -> Result<Bytes, Closed> {
        if let Some(stream) = &mut self.stream {
            match receive(stream, &self.closed).await {
                Ok(frame) => return Ok(frame),
                Err(how) => {
                    finish(&self.closed, || how);
                    self.stream = None;
                }
            }
        }
        let closed = self.closed.borrow().clone();
        Err(closed.unwrap_or_else(|| Closed::lost("stream ended")))
    }
}

/// Waits for a frame, or for the end that the peer, the network or our own sender made.
async fn receive(
    stream: &mut SplitStream<Stream>,
    closed: &watch::Sender<Option<Closed>>,
) -> Result<Bytes, Closed> {
    let mut closing = closed.subscribe();
    loop {
        let message = tokio::select! {
            biased;
            _ = closing.wait_for(Option::is_some) => None,
            message = stream.next() => message,
        };
        return Err(match message {
            Some(Ok(Message::Binary(frame))) => return Ok(frame),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
            Some(Ok(Message::Text(_))) => {
                Closed { code: 1003, reason: "text in a binary protocol".to_owned() }
            }
            Some(Ok(Message::Close(Some(frame)))) => {
                Closed { code: frame.code.into(), reason: frame.reason.to_string() }
            }
            Some(Ok(Message::Close(None))) => Closed { code: 1005, reason: String::new() },
            Some(Err(error)) => Closed::lost(error.to_string()),
            None => Closed::lost("stream ended"),
        });
    }
}
