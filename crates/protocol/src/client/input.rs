//! What goes into a client's session and what comes out of it.

use bytes::Bytes;
use leptos_sync_crdt::{Block, DocId, PeerId, VersionVector};

use super::presence::PresencePeer;
use crate::code::{CloseCode, DocErrCode, NackCode, Permission};
use crate::message::{LogMark, PeerMark};

/// What a client says of itself.
#[derive(Clone)]
pub struct ClientConfig {
    /// A random number that stays with one engine instance, for the server's log.
    pub client_id: u64,
    /// What proves to the server who the user is.
    pub token: Option<String>,
}

impl ClientConfig {
    /// A client without a token.
    #[must_use]
    pub const fn new(client_id: u64) -> Self {
        Self { client_id, token: None }
    }
}

impl std::fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientConfig")
            .field("client_id", &self.client_id)
            .field("token", &self.token.as_ref().map(|_| "[hidden]"))
            .finish()
    }
}

/// One fact for a [`ClientSession`](super::ClientSession).
#[derive(Clone, Debug)]
pub enum ClientInput {
    /// The socket is open.
    Started {
        /// The wall clock, in milliseconds since the Unix epoch.
        wall_ms: u64,
    },
    /// A binary message arrived.
    Frame(Bytes),
    /// Subscribe to a document. If it is open already, it is closed and opened anew.
    Open {
        /// The document.
        doc: DocId,
        /// What is here of it.
        have: VersionVector,
        /// How far this device's own chain goes in it.
        me: Option<PeerMark>,
        /// Up to where in the server's log everything is here besides.
        since: Option<LogMark>,
    },
    /// Leave a document; what was queued for it is dropped.
    Close {
        /// The document.
        doc: DocId,
    },
    /// Send blocks, in causal order, as soon as the document is open and the window allows.
    /// Ignored if the document was not opened.
    Changes {
        /// The document.
        doc: DocId,
        /// The blocks.
        blocks: Vec<Block>,
    },
    /// Show this to others in the document from now on, or leave with `None`.
    Presence {
        /// The document.
        doc: DocId,
        /// At most [`crate::PRESENCE_BYTES_MAX`] bytes.
        payload: Option<Vec<u8>>,
    },
    /// [`ClientSession::next_deadline`](super::ClientSession::next_deadline) has passed.
    Tick,
    /// Find out now whether the socket still lives: the page became visible, or went online.
    Nudge,
}

/// One effect of a [`ClientSession`](super::ClientSession).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientOutput {
    /// Send this as one binary message.
    Send(Bytes),
    /// Something the engine should know.
    Event(ClientEvent),
    /// Close the socket; the session is over.
    CloseSocket {
        /// The close code.
        code: u16,
        /// A few words for a log.
        reason: String,
    },
}

/// What happened, for the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientEvent {
    /// The server accepted the connection.
    Welcome {
        /// Names the server's store.
        server_id: u64,
        /// If it differs from the last one known, forget what this server acknowledged.
        epoch: u64,
        /// The server's wall clock.
        server_ms: u64,
        /// Who the server takes the user for.
        principal: Option<String>,
        /// This connection's number in presence; it is never listed to itself.
        session: u64,
        /// The largest block the server takes, in bytes.
        block_bytes_max: u32,
    },
    /// A document is open. Send what `server_version` lacks.
    Opened {
        /// The document.
        doc: DocId,
        /// What the user may do.
        permission: Permission,
        /// What the server has, durably. If a mark was named when it was opened, only the peers of
        /// which there is more above it.
        server_version: VersionVector,
        /// The server's view of this device's own chain; `None` if it knows nothing of the peer.
        my_mark: Option<PeerMark>,
    },
    /// Blocks from the server, in causal order, some of them perhaps known.
    Blocks {
        /// The document.
        doc: DocId,
        /// At least one.
        blocks: Vec<Block>,
    },
    /// Packs of blocks from the server, in causal order, some of them perhaps known: those that
    /// came in one frame.
    Packs {
        /// The document.
        doc: DocId,
        /// At least one update, which [`leptos_sync_crdt::unpack_blocks`] reads; not looked at yet.
        updates: Vec<Bytes>,
    },
    /// All that the server had when the document was opened has arrived; or, said again, all that
    /// is below a later mark.
    CaughtUp {
        /// The document.
        doc: DocId,
        /// Up to where in the server's log all has arrived, but for what was sent from here.
        at: LogMark,
    },
    /// The server keeps these changes durably.
    Acked {
        /// The document.
        doc: DocId,
        /// Per peer, how many operations; only the peers that this acknowledgement concerns.
        through: VersionVector,
    },
    /// The server refused one block.
    Rejected {
        /// The document.
        doc: DocId,
        /// The block's author.
        peer: PeerId,
        /// The block's first seq.
        seq: u32,
        /// Why.
        code: NackCode,
        /// When sending it again can help; 0 if never.
        retry_after_ms: u32,
    },
    /// Who else is in the document now: the whole list, by session.
    Presence {
        /// The document.
        doc: DocId,
        /// Everybody but this connection.
        peers: Vec<PresencePeer>,
    },
    /// The document is closed on this connection.
    DocError {
        /// The document.
        doc: DocId,
        /// Why.
        code: DocErrCode,
    },
    /// The server is about to close the connection.
    GoAway {
        /// How long to wait before connecting again.
        retry_after_ms: u32,
    },
    /// The session is over; a [`ClientOutput::CloseSocket`] follows.
    Fatal {
        /// The kind of trouble.
        code: CloseCode,
        /// A few words for a log.
        detail: String,
    },
}
