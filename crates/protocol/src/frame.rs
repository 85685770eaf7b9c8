//! Frames: one WebSocket binary message, holding one or more protocol messages.
//!
//! | field | size | meaning |
//! |---|---|---|
//! | len | varint | bytes that follow: type, body and extensions |
//! | type | 1 | which message; if the high bit is set, a receiver that does not know it skips it |
//! | body | by type | the fields, in order |
//! | extensions | to len | each tag (varint), length (varint), bytes; unknown tags are skipped |
//!
//! Guarantees: no bytes make the decoder panic, and it allocates no more than a small multiple of
//! what it is given.

use bytes::Bytes;
use leptos_sync_crdt::{DecodeError, Reader, Writer};

use crate::limits::{FRAME_BYTES_MAX, FRAME_MESSAGES_MAX};
use crate::message::{Message, is_ignorable};

/// Why a frame was refused. The connection it came on cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// It is longer than [`FRAME_BYTES_MAX`].
    #[error("frame of {0} bytes is above the cap")]
    TooLarge(usize),
    /// It holds no message at all, or more than [`FRAME_MESSAGES_MAX`].
    #[error("frame with too few or too many messages")]
    MessageCount,
    /// It holds a message that this version does not know and may not skip.
    #[error("unknown message type {0:#04x}")]
    UnknownType(u8),
    /// The envelope of a message is broken.
    #[error("broken envelope")]
    Envelope(#[source] DecodeError),
    /// A field of a message is broken.
    #[error("broken message of type {kind:#04x}")]
    Body {
        /// The message's type byte.
        kind: u8,
        /// What is wrong with it.
        source: DecodeError,
    },
}

/// Writes one message as a frame of its own.
#[must_use]
pub fn encode_frame(message: &Message) -> Bytes {
    let mut body = Writer::new();
    body.u8(message.kind());
    message.encode_body(&mut body);
    let body = body.into_vec();
    let mut out = Writer::new();
    out.bytes(&body);
    out.into_vec().into()
}

/// Reads all messages of a frame, leaving out those it may ignore. Blocks and pieces share the
/// frame's memory.
///
/// # Errors
/// A [`FrameError`] that names the first flaw; none of the messages should be acted upon.
pub fn decode_frame(frame: &Bytes) -> Result<Vec<Message>, FrameError> {
    if frame.len() > FRAME_BYTES_MAX {
        return Err(FrameError::TooLarge(frame.len()));
    }
    let mut input = Reader::new(frame);
    let mut messages = Vec::new();
    let mut count = 0;
    while !input.is_empty() {
        count += 1;
        if count > FRAME_MESSAGES_MAX {
            return Err(FrameError::MessageCount);
        }
        let mut envelope = Reader::new(input.bytes().map_err(FrameError::Envelope)?);
        let kind = envelope.u8().map_err(FrameError::Envelope)?;
        match Message::decode_body(kind, &mut envelope, frame) {
            Ok(Some(message)) => {
                skip_extensions(&mut envelope)
                    .map_err(|source| FrameError::Body { kind, source })?;
                messages.push(message);
            }
            Ok(None) if is_ignorable(kind) => {}
            Ok(None) => return Err(FrameError::UnknownType(kind)),
            Err(source) => return Err(FrameError::Body { kind, source }),
        }
    }
    if count == 0 { Err(FrameError::MessageCount) } else { Ok(messages) }
}

fn skip_extensions(input: &mut Reader<'_>) -> Result<(), DecodeError> {
    while !input.is_empty() {
        input.varint()?;
        input.bytes()?;
    }
    Ok(())
}
