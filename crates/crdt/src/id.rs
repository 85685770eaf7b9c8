//! Names of things: peers, operations, rows and documents.

use std::fmt;
use std::sync::Arc;

use crate::codec::{Input, Writer};

/// One author of changes: a browser tab, a command-line call, a server-side writer.
///
/// Two live authors must never share one; a random 64-bit number is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The name of one operation: its author and its place in that author's sequence, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId {
    /// Who wrote it.
    pub peer: PeerId,
    /// How many operations that peer wrote before it.
    pub seq: u32,
}

impl OpId {
    /// The operation `seq` of `peer`.
    #[must_use]
    pub const fn new(peer: PeerId, seq: u32) -> Self {
        Self { peer, seq }
    }

    pub(crate) fn plus(self, count: u32) -> Self {
        Self { peer: self.peer, seq: self.seq + count }
    }

    pub(crate) fn encode(self, out: &mut Writer) {
        out.u64_le(self.peer.0);
        out.varint(u64::from(self.seq));
    }

    pub(crate) fn decode(input: &mut Input<'_>) -> Self {
        Self { peer: PeerId(input.u64_le()), seq: input.varint_u32() }
    }
}

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.peer, self.seq)
    }
}

/// A row of a table, named by the operation that inserted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId(pub OpId);

impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A document: the unit of sync, of storage and of permission.
///
/// 1 to 256 bytes of UTF-8 without control characters, chosen by the application: `board/42`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocId(Arc<str>);

/// Why a text is not a document id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocIdError {
    /// It is empty.
    #[error("a document id may not be empty")]
    Empty,
    /// It has more than [`DocId::BYTES_MAX`] bytes.
    #[error("a document id may have at most 256 bytes")]
    TooLong,
    /// It has a control character, such as a line break.
    #[error("a document id may not have control characters")]
    ControlCharacter,
}

impl DocId {
    /// The longest id, in bytes of UTF-8.
    pub const BYTES_MAX: usize = 256;

    /// Checks `text` and makes it an id.
    ///
    /// # Errors
    /// [`DocIdError`] says which rule it breaks.
    pub fn new(text: impl AsRef<str>) -> Result<Self, DocIdError> {
        let text = text.as_ref();
        if text.is_empty() {
            return Err(DocIdError::Empty);
        }
        if text.len() > Self::BYTES_MAX {
            return Err(DocIdError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(DocIdError::ControlCharacter);
        }
        Ok(Self(text.into()))
    }

    /// The id as the application wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DocId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for DocId {
    type Err = DocIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl AsRef<str> for DocId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}
