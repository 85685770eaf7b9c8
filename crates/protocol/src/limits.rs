//! The numbers both sides agree on: protocol version, frame caps, and what a server announces.

use leptos_sync_crdt::{BLOCK_BYTES_MAX, DecodeError, Reader, VersionVector, Writer};

/// The WebSocket subprotocol that both sides must name.
pub const SUBPROTOCOL: &str = "leptos-sync.v1";

/// The protocol version this crate speaks.
pub const VERSION: u32 = 1;

/// The largest frame, in bytes. A larger one ends the connection.
pub const FRAME_BYTES_MAX: usize = 256 << 10;

/// What a sender keeps frames below, in bytes, so that a small message never waits long.
pub const FRAME_BYTES_USUAL: usize = 64 << 10;

/// How many messages one frame may hold.
pub const FRAME_MESSAGES_MAX: usize = 1_024;

/// The largest presence payload, in bytes.
pub const PRESENCE_BYTES_MAX: usize = 4 << 10;

/// How many bytes of blocks a sender puts in one frame; the rest of [`FRAME_BYTES_USUAL`] is for
/// the envelope.
pub(crate) const FRAME_BLOCK_BYTES: usize = 60 << 10;

/// A little less than a block has that says as little as one can, in bytes.
pub(crate) const BLOCK_BYTES_LEAST: usize = 24;

/// The largest update in which a server packs blocks, in bytes.
pub const PACK_BYTES_MAX: usize = FRAME_BLOCK_BYTES;

/// How many peers a version vector in a message may name. A sender with more leaves out the rest:
/// claiming to have less is always safe, it only costs bytes.
pub const VERSION_PEERS_MAX: usize = 16_384;

/// What a server allows on one connection; it says so in its welcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest frame it takes, in bytes; never above [`FRAME_BYTES_MAX`].
    pub frame_bytes_max: u32,
    /// How many bytes of blocks may be under way to it without credit.
    pub window_bytes: u32,
    /// The largest block it takes, in bytes.
    pub block_bytes_max: u32,
    /// The largest presence payload it takes, in bytes.
    pub presence_bytes_max: u32,
    /// How many documents may be open at once.
    pub docs_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes_max: FRAME_BYTES_MAX as u32,
            window_bytes: 1 << 20,
            block_bytes_max: BLOCK_BYTES_MAX as u32,
            presence_bytes_max: PRESENCE_BYTES_MAX as u32,
            docs_max: 1_024,
        }
    }
}

impl Limits {
    pub(crate) fn encode(&self, out: &mut Writer) {
        for value in [
            self.frame_bytes_max,
            self.window_bytes,
            self.block_bytes_max,
            self.presence_bytes_max,
            self.docs_max,
        ] {
            out.varint(u64::from(value));
        }
    }

    pub(crate) fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let limits = Self {
            frame_bytes_max: input.varint_u32()?,
            window_bytes: input.varint_u32()?,
            block_bytes_max: input.varint_u32()?,
            presence_bytes_max: input.varint_u32()?,
            docs_max: input.varint_u32()?,
        };
        if limits.frame_bytes_max == 0 || limits.window_bytes == 0 {
            return Err(DecodeError::Invalid("limits"));
        }
        Ok(limits)
    }
}

/// Writes as much of `version` as one message may carry.
pub(crate) fn encode_version(version: &VersionVector, out: &mut Writer) {
    if version.peer_count() <= VERSION_PEERS_MAX {
        version.encode(out);
    } else {
        version.iter().take(VERSION_PEERS_MAX).collect::<VersionVector>().encode(out);
    }
}
