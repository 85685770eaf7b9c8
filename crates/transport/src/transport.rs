//! What a socket is to the engine: something that dials, sends whole frames and says when it ends.

use std::future::Future;

use bytes::Bytes;

/// A dial that takes longer is given up: something answers, and not as a WebSocket.
#[cfg(any(feature = "web", feature = "native"))]
pub(crate) const CONNECT_MS_MAX: u32 = 15_000;

/// Dials one endpoint. Each connection is independent of those before it.
pub trait Transport: 'static {
    /// The sending half of a connection.
    type Sender: FrameSender;
    /// The receiving half of a connection.
    type Receiver: FrameReceiver;

    /// Opens a connection. Dropping the future abandons the attempt.
    fn connect(&self)
    -> impl Future<Output = Result<(Self::Sender, Self::Receiver), ConnectError>>;
}

/// Sends whole frames. Dropping it closes the connection.
pub trait FrameSender: 'static {
    /// Queues a frame; frames leave in order.
    ///
    /// # Errors
    /// [`SendError::Closed`] once the connection is over; the frame is not sent.
    fn send(&self, frame: Bytes) -> Result<(), SendError>;

    /// How many bytes are queued and not yet handed to the network.
    fn buffered_bytes(&self) -> usize;

    /// Starts the closing handshake. Frames that are queued go first; nothing may be sent after.
    fn close(&self, code: u16, reason: &str);
}

/// Receives whole frames. Dropping it stops reading.
pub trait FrameReceiver: 'static {
    /// Waits for the next frame. After [`Closed`] it answers the same for ever.
    fn recv(&mut self) -> impl Future<Output = Result<Bytes, Closed>>;
}

/// Why a connection could not be opened. Nothing was sent; try again after a while.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address is not a WebSocket URL, or one that this build cannot dial. Retrying is useless.
    #[error("{url:?} is not a usable WebSocket address: {detail}")]
    Address {
        /// What was given.
        url: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Nobody answered as a sync server: the network is down, nothing listens there, or something
    /// else does. Browsers do not say which.
    #[error("sync server cannot be reached: {detail}")]
    Unreachable {
        /// What is known of the cause.
        detail: String,
    },
    /// The server answered, and not with our subprotocol: it is too old, too new or something else.
    #[error("server does not speak leptos-sync.v1")]
    Subprotocol,
    /// No answer came in time.
    #[error("connecting took longer than {after_ms} ms")]
    TimedOut {
        /// How long was waited.
        after_ms: u32,
    },
}

/// Why a frame was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The connection is over. Whatever was not acknowledged has to be sent on the next one.
    #[error("connection is closed")]
    Closed,
}

/// A connection is over, for the reason that the other end or the network gave.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("connection closed with code {code}: {reason}")]
pub struct Closed {
    /// The WebSocket close code.
    pub code: u16,
    /// The text that came with it; may be empty.
    pub reason: String,
}

impl Closed {
    /// The code of a connection that was lost without a closing handshake.
    pub const ABNORMAL: u16 = 1006;

    /// A connection that was lost without a closing handshake.
    #[must_use]
    pub fn lost(reason: impl Into<String>) -> Self {
        Self { code: Self::ABNORMAL, reason: reason.into() }
    }
}

/// As much of `reason` as fits into a close frame.
#[cfg(any(feature = "web", feature = "native"))]
pub(crate) fn close_reason(reason: &str) -> &str {
    const REASON_BYTES_MAX: usize = 123;
    &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)]
}
