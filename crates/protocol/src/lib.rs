//! The `leptos-sync.v1` sync protocol: its wire format and both sides of a connection, sans-IO.
//!
//! ```
//! use leptos_sync_crdt::{DocId, VersionVector};
//! use leptos_sync_protocol::{
//!     ClientConfig, ClientInput, ClientOutput, ClientSession, Instant, Message, decode_frame,
//! };
//!
//! let mut session = ClientSession::new(ClientConfig::new(7));
//! let now = Instant::from_ms(0);
//! session.handle(now, ClientInput::Started { wall_ms: 1_700_000_000_000 });
//! let doc = DocId::new("board/42").expect("a valid id");
//! let have = VersionVector::new();
//! session.handle(now, ClientInput::Open { doc, have, me: None, since: None });
//!
//! // Hello leaves at once; Open waits for the server's Welcome.
//! let Some(ClientOutput::Send(frame)) = session.poll_output() else { panic!("no frame") };
//! assert!(matches!(decode_frame(&frame).unwrap()[..], [Message::Hello(_)]));
//! assert!(session.poll_output().is_none());
//! ```
//!
//! # Overview
//!
//! [`ClientSession`] and [`ServerSession`] each serve one connection, from the moment its socket
//! opens. They take facts in (`handle`), queue effects (`poll_output`) and say when they want to
//! be woken (`next_deadline`). They never read a clock, draw a random number or await anything.
//!
//! [`Message`] and the frame functions are the wire format itself; `docs/protocol.md` describes it
//! for those who write another client.
//!
//! # Where things are
//!
//! | module | what it holds |
//! |---|---|
//! | `frame` | envelope: length, type, body, extensions; the frame cap |
//! | `message` | every message and its fields |
//! | `code` | codes: close, nack, document error, ack level, permission |
//! | `pieces` | cutting blocks into frames and putting them together again |
//! | `client`, `server` | the two sessions |

mod client;
mod code;
mod frame;
mod heartbeat;
mod limits;
mod message;
mod pieces;
mod server;
mod time;

pub use client::{
    ClientConfig, ClientEvent, ClientInput, ClientOutput, ClientSession, PresencePeer,
};
pub use code::{AckLevel, CloseCode, DocErrCode, NackCode, Permission};
pub use frame::{FrameError, decode_frame, encode_frame};
pub use limits::{
    FRAME_BYTES_MAX, FRAME_BYTES_USUAL, FRAME_MESSAGES_MAX, Limits, PACK_BYTES_MAX,
    PRESENCE_BYTES_MAX, SUBPROTOCOL, VERSION, VERSION_PEERS_MAX,
};
pub use message::{
    Ack, CaughtUp, Changes, Close, Credit, DocErr, GoAway, Hello, LogMark, Message, Nack, Open,
    Opened, Pack, PeerMark, Piece, Ping, Pong, PresenceEntry, PresenceSet, PresenceState, Welcome,
};
pub use pieces::{Assembler, ChangesFrames, PieceError, changes_frames};
pub use server::{Admission, Rejection, ServerEvent, ServerInput, ServerOutput, ServerSession};
pub use time::Instant;
