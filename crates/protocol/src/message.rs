//! Every message of the protocol and the order of its fields on the wire.
//!
//! `u64` is eight bytes little-endian, `varint` unsigned LEB128, `bytes` and `text` a varint length
//! and the content, `option` one byte 0 or 1 and then the value. Version vectors are as in
//! `leptos-sync-crdt`: a count, then peer (`u64`) and count (varint), peers ascending.

use bytes::Bytes;
use leptos_sync_crdt::{
    Block, BlockReader, BlockWriter, DecodeError, DocId, PeerId, Reader, VersionVector, Writer,
};

use crate::code::{AckLevel, DocErrCode, NackCode, Permission};
use crate::limits::Limits;

mod wire;

/// Declares the message enum, its type bytes and the dispatch between them.
macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident = $kind:literal,)*) => {
        /// One message. Which side sends it, and what it means, is said at each body.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Message {
            $($(#[$doc])* $name($name),)*
        }

        impl Message {
            /// The type byte.
            #[must_use]
            pub const fn kind(&self) -> u8 {
                match self { $(Self::$name(_) => $kind,)* }
            }

            pub(crate) fn encode_body(&self, out: &mut Writer) {
                match self { $(Self::$name(body) => body.encode(out),)* }
            }

            /// `None` if the type is unknown.
            pub(crate) fn decode_body(
                kind: u8,
                input: &mut Reader<'_>,
                frame: &Bytes,
            ) -> Result<Option<Self>, DecodeError> {
                Ok(Some(match kind {
                    $($kind => Self::$name($name::decode(input, frame)?),)*
                    _ => return Ok(None),
                }))
            }
        }
    };
}

messages! {
    /// Client: the first message of a connection.
    Hello = 0x01,
    /// Server: the answer to it.
    Welcome = 0x02,
    /// Client: subscribe to a document.
    Open = 0x03,
    /// Server: the answer to it.
    Opened = 0x04,
    /// Both: change blocks.
    Changes = 0x05,
    /// Both: a part of a block that is too large for a frame.
    Piece = 0x06,
    /// Server: all that it had when the document was opened has been sent.
    CaughtUp = 0x07,
    /// Server: changes are safe.
    Ack = 0x08,
    /// Server: one block was refused.
    Nack = 0x09,
    /// Server: more bytes of blocks may be sent.
    Credit = 0x0a,
    /// Client: done with a document.
    Close = 0x0b,
    /// Server: a document cannot be used on this connection.
    DocErr = 0x0c,
    /// Both: answer this.
    Ping = 0x0d,
    /// Both: the answer.
    Pong = 0x0e,
    /// Server: it will close the connection.
    GoAway = 0x0f,
    /// Server: change blocks that others wrote, as one update.
    Pack = 0x10,
    /// Client: what others should know of it now.
    PresenceSet = 0x90,
    /// Server: who else is here.
    PresenceState = 0x91,
}

/// Whether a receiver that does not know the type must skip the message.
pub(crate) fn is_ignorable(kind: u8) -> bool {
    kind & 0x80 != 0
}

/// Client: who it is and what it can speak.
#[derive(Clone, PartialEq, Eq)]
pub struct Hello {
    /// The lowest protocol version it speaks.
    pub version_min: u32,
    /// The highest.
    pub version_max: u32,
    /// Optional abilities, one bit each; none is defined in version 1.
    pub features: u64,
    /// A random number that stays with one engine instance, for logs.
    pub client_id: u64,
    /// What proves who the user is; the server decides what it must be.
    pub token: Option<String>,
    /// The client's wall clock, in milliseconds since the Unix epoch.
    pub wall_ms: u64,
}

impl std::fmt::Debug for Hello {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hello")
            .field("version_min", &self.version_min)
            .field("version_max", &self.version_max)
            .field("features", &self.features)
            .field("client_id", &self.client_id)
            .field("token", &self.token.as_ref().map(|_| "[hidden]"))
            .field("wall_ms", &self.wall_ms)
            .finish()
    }
}

/// Server: the connection is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The protocol version both will speak.
    pub version: u32,
    /// The client's features that the server has too.
    pub features: u64,
    /// Names the server's store for its whole life.
    pub server_id: u64,
    /// Changes whenever the store may have lost what it acknowledged: it is new, or restored.
    pub epoch: u64,
    /// Names this connection in presence.
    pub session: u64,
    /// The server's wall clock, in milliseconds since the Unix epoch.
    pub server_ms: u64,
    /// Who the server takes the user for.
    pub principal: Option<String>,
    /// When the token ends, in milliseconds since the Unix epoch.
    pub auth_expires_ms: Option<u64>,
    /// How often the client is to ping, in milliseconds.
    pub heartbeat_ms: u32,
    /// How long presence lasts without being set again, in milliseconds.
    pub presence_ttl_ms: u32,
    /// What the server allows.
    pub limits: Limits,
}

/// How far one peer's chain of blocks goes, and the hash of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerMark {
    /// The author.
    pub peer: PeerId,
    /// The seq after its last block.
    pub seq: u32,
    /// The chain hash over all its blocks before `seq`.
    pub hash: u64,
}

/// How far the log of a document at a server was read: a position, and what is below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogMark {
    /// How many blocks are below.
    pub position: u64,
    /// The [digest](VersionVector::digest) of the version that they make.
    pub digest: u64,
}

/// Client: subscribe to a document under a channel number that it has not used before on this
/// connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The client's number for the document.
    pub ch: u32,
    /// The document.
    pub doc: DocId,
    /// What the client has of it; it may claim less than it has.
    pub have: VersionVector,
    /// The client's own chain.
    pub me: Option<PeerMark>,
    /// What the client has besides: all that is below in the server's log, as a [`CaughtUp`] said.
    pub since: Option<LogMark>,
}

/// Server: the document is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The client's number for the document.
    pub ch: u32,
    /// The server's number for it: presence that the server sends bears this.
    pub feed: u32,
    /// What the user may do.
    pub permission: Permission,
    /// What the server has, durably; it may claim less than it has. If the client named a mark,
    /// only the peers of which there is more above it.
    pub have: VersionVector,
    /// The server's view of the chain of the peer that the client named in its open.
    pub mark: Option<PeerMark>,
}

/// Both: blocks in causal order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The client's channel.
    pub ch: u32,
    /// At least one entry, written by a [`BlockWriter`] that lasts as long as the channel; each
    /// direction has its own.
    pub entries: Bytes,
}

impl Changes {
    /// The message that carries these blocks, at least one, after what `writer` wrote already.
    #[must_use]
    pub fn write(writer: &mut BlockWriter, ch: u32, blocks: &[Block]) -> Self {
        let mut entries = Writer::new();
        blocks.iter().for_each(|block| writer.write(block, &mut entries));
        Self { ch, entries: entries.into_vec().into() }
    }

    /// The blocks, after what `reader` read already.
    ///
    /// # Errors
    /// As [`BlockReader::read`]; `reader` is of no more use then.
    pub fn read(&self, reader: &mut BlockReader) -> Result<Vec<Block>, DecodeError> {
        let mut input = Reader::new(&self.entries);
        let mut blocks = Vec::new();
        while !input.is_empty() {
            blocks.push(reader.read(&mut input)?);
        }
        Ok(blocks)
    }
}

/// Both: consecutive bytes of one block. The pieces of a block come in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The client's channel.
    pub ch: u32,
    /// The block's author.
    pub peer: PeerId,
    /// The block's first seq.
    pub seq: u32,
    /// The block's size in bytes.
    pub total: u32,
    /// Where `data` starts in the block.
    pub offset: u32,
    /// The bytes, at least one.
    pub data: Bytes,
}

/// Server: blocks in causal order, packed. They leave no trace in what entries refer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pack {
    /// The client's channel.
    pub ch: u32,
    /// An update as [`leptos_sync_crdt::pack_blocks`] writes it, at most
    /// [`PACK_BYTES_MAX`](crate::PACK_BYTES_MAX) bytes.
    pub update: Bytes,
}

/// Server: everything listed in [`Opened::have`] that the client lacked has been sent. It is said
/// again from time to time with a later mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaughtUp {
    /// The client's channel.
    pub ch: u32,
    /// Up to where all has been sent, but for what the client sent itself.
    pub at: LogMark,
}

/// Server: the blocks of these peers up to these seqs are as safe as `level` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The client's channel.
    pub ch: u32,
    /// How safe.
    pub level: AckLevel,
    /// Per peer, the seq after the last acknowledged operation.
    pub through: VersionVector,
}

/// Server: the block of `peer` at `seq` was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nack {
    /// The client's channel.
    pub ch: u32,
    /// The block's author.
    pub peer: PeerId,
    /// The block's first seq.
    pub seq: u32,
    /// Why.
    pub code: NackCode,
    /// When to try again, if that can help; 0 if it cannot.
    pub retry_after_ms: u32,
}

/// Server: so many bytes of blocks and pieces have been dealt with and may be sent anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    /// Bytes of block data, envelopes not counted.
    pub bytes: u32,
}

/// Client: it no longer wants the document. There is no answer; what was under way may still come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close {
    /// The client's channel.
    pub ch: u32,
}

/// Server: the channel is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocErr {
    /// The client's channel.
    pub ch: u32,
    /// Why.
    pub code: DocErrCode,
    /// For a log; not for users.
    pub detail: String,
}

/// Both: asks for a pong with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping {
    /// Any number.
    pub id: u64,
}

/// Both: answers a ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pong {
    /// The ping's number.
    pub id: u64,
}

/// Server: it is about to close; connect again after a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoAway {
    /// The close code that will follow.
    pub code: u16,
    /// How long to wait before connecting again, in milliseconds.
    pub retry_after_ms: u32,
    /// For a log; not for users.
    pub detail: String,
}

/// Client: replaces what others see of this connection in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresenceSet {
    /// The client's channel.
    pub ch: u32,
    /// What to show; `None` to leave.
    pub payload: Option<Bytes>,
}

/// What one connection shows of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresenceEntry {
    /// The connection.
    pub session: u64,
    /// Who the server takes its user for.
    pub principal: Option<String>,
    /// What it shows; `None` if it left.
    pub payload: Option<Bytes>,
}

/// Server: who else is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresenceState {
    /// The server's number for the document.
    pub feed: u32,
    /// Whether this replaces all that is known, or changes the listed entries only.
    pub full: bool,
    /// The connections.
    pub entries: Vec<PresenceEntry>,
}
