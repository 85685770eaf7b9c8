//! The numbers that name outcomes: why a socket closed, why a change was refused, what an
//! acknowledgement promises, what a user may do.
//!
//! A code this crate does not know is kept as `Other`, so that an older client can pass on what a
//! newer server said.

use leptos_sync_crdt::{DecodeError, Reader};

/// Why a connection ends: WebSocket close codes, in the range that applications may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseCode {
    /// 1001: the server stops or restarts, or the permission has changed; come back later.
    GoingAway,
    /// 4400: a frame could not be decoded, or came when it was not allowed.
    Malformed,
    /// 4401: no token, a false one, or one that has expired.
    Unauthorized,
    /// 4403: the token is good, but not for this.
    Forbidden,
    /// 4406: the two sides share no protocol version.
    UnsupportedVersion,
    /// 4408: the other side was silent for too long.
    TimedOut,
    /// 4413: a frame or block is above the limit.
    TooLarge,
    /// 4429: more was sent than credit allowed, or too much was asked at once.
    FlowControl,
    /// 4430: the other side did not read what was sent to it.
    TooSlow,
    /// 4500: the server failed; nothing that it acknowledged is lost.
    Internal,
    /// Any other code.
    Other(u16),
}

impl CloseCode {
    /// The number on the wire.
    #[must_use]
    pub const fn as_u16(self) -> u16 {
        match self {
            Self::GoingAway => 1001,
            Self::Malformed => 4400,
            Self::Unauthorized => 4401,
            Self::Forbidden => 4403,
            Self::UnsupportedVersion => 4406,
            Self::TimedOut => 4408,
            Self::TooLarge => 4413,
            Self::FlowControl => 4429,
            Self::TooSlow => 4430,
            Self::Internal => 4500,
            Self::Other(code) => code,
        }
    }

    /// The code that `number` names.
    #[must_use]
    pub const fn from_u16(number: u16) -> Self {
        match number {
            1001 => Self::GoingAway,
            4400 => Self::Malformed,
            4401 => Self::Unauthorized,
            4403 => Self::Forbidden,
            4406 => Self::UnsupportedVersion,
            4408 => Self::TimedOut,
            4413 => Self::TooLarge,
            4429 => Self::FlowControl,
            4430 => Self::TooSlow,
            4500 => Self::Internal,
            other => Self::Other(other),
        }
    }

    /// Whether connecting again in the same way cannot help: a person or a new version must act.
    #[must_use]
    pub const fn is_permanent(self) -> bool {
        matches!(self, Self::Unauthorized | Self::Forbidden | Self::UnsupportedVersion)
    }
}

/// Declares a one-byte code enum with an `Other` variant for numbers from the future.
macro_rules! byte_codes {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $number:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$doc])* $variant,)*
            /// A code this version does not know.
            Other(u8),
        }

        impl $name {
            /// The number on the wire.
            #[must_use]
            pub const fn as_u8(self) -> u8 {
                match self {
                    $(Self::$variant => $number,)*
                    Self::Other(number) => number,
                }
            }

            /// The code that `number` names.
            #[must_use]
            pub const fn from_u8(number: u8) -> Self {
                match number {
                    $($number => Self::$variant,)*
                    other => Self::Other(other),
                }
            }
        }
    };
}

byte_codes! {
    /// Why the server refused one block. It stays with its author, who decides what to do.
    NackCode {
        /// The user may not write this document.
        Forbidden = 1,
        /// The block does not decode, or its stamp is not after what it depends on.
        Invalid = 2,
        /// The block is stamped more than five minutes in the server's future.
        ClockSkew = 3,
        /// The server has other bytes for this peer and seq, or the peer id is another user's: two
        /// authors share it.
        DuplicatePeer = 4,
        /// The block is above the server's limit.
        TooLarge = 5,
        /// An earlier block, of this peer or another, has not arrived. Send that first.
        MissingDeps = 6,
        /// The server no longer keeps the history this block builds on.
        Truncated = 7,
        /// The server's disk or the user's quota is full. Keep the block and try again later.
        Quota = 8,
        /// The server could not store it now. Keep the block and try again later.
        Unavailable = 9,
    }
}

impl NackCode {
    /// Whether the same bytes may be accepted later.
    #[must_use]
    pub const fn is_temporary(self) -> bool {
        matches!(self, Self::ClockSkew | Self::MissingDeps | Self::Quota | Self::Unavailable)
    }
}

byte_codes! {
    /// Why a document could not be opened, or is closed again.
    DocErrCode {
        /// The user may not read it, or it does not exist: the answer is the same.
        Forbidden = 1,
        /// More documents are open on this connection than the server allows.
        TooMany = 2,
        /// The server could not load it now; try again later.
        Unavailable = 3,
        /// It holds a block in a format that the receiver is too old to read.
        Unsupported = 4,
        /// The mark in the client's open is not one of the server's log: it opens without one.
        UnknownMark = 5,
    }
}

/// How safe an acknowledged change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AckLevel {
    /// 0: the server holds it in memory.
    Received,
    /// 1: it is on the server's disk, flushed.
    Durable,
    /// 2: it is durable on more than one machine.
    Replicated,
}

impl AckLevel {
    pub(crate) const fn as_u8(self) -> u8 {
        match self {
            Self::Received => 0,
            Self::Durable => 1,
            Self::Replicated => 2,
        }
    }

    pub(crate) fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => Ok(Self::Received),
            1 => Ok(Self::Durable),
            2 => Ok(Self::Replicated),
            _ => Err(DecodeError::Invalid("ack level")),
        }
    }
}

/// What the user may do with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// 1: read it and be present in it.
    Read,
    /// 2: write it too.
    Write,
}

impl Permission {
    pub(crate) const fn as_u8(self) -> u8 {
        match self {
            Self::Read => 1,
            Self::Write => 2,
        }
    }

    pub(crate) fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match input.u8()? {
            1 => Ok(Self::Read),
            2 => Ok(Self::Write),
            _ => Err(DecodeError::Invalid("permission")),
        }
    }
}
