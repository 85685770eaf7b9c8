//! The small values that the engine keeps beside the documents, and their bytes.
//!
//! | key | value |
//! |---|---|
//! | `kept` | 8 random bytes, of whichever start found none: as long as they are the same, so is |
//! | | what is stored |
//! | `clock` | by how many milliseconds the device's clock was ahead of the server's (8), if so |
//! | `acked/<document>` | server id (8), epoch (8), then the version vector it has durably; what |
//! | | any server ever had, as far as that is more, if something follows; and up to where its log |
//! | | was read, if that is known: position (varint), digest (8), then the version vector of what |
//! | | was acknowledged later |

use leptos_sync_crdt::{DecodeError, DocId, PeerId, Reader, VersionVector, Writer};
use leptos_sync_protocol::LogMark;

/// Which server, and which life of it: a server restored from a backup has another epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServerLife {
    pub(crate) server: u64,
    pub(crate) epoch: u64,
}

/// Under which key it says that nothing was erased.
pub(crate) const KEPT: &str = "kept";

/// Under which key it says how wrong the clock was.
pub(crate) const CLOCK: &str = "clock";

/// What the keys of documents that a server acknowledged start with.
pub(crate) const ACKED: &str = "acked/";

pub(crate) fn acked_key(doc: &DocId) -> String {
    format!("{ACKED}{doc}")
}

/// Up to where a server's log of a document was read: everything below is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) mark: LogMark,
    /// What was acknowledged since. What is below the mark, and this, is all that was.
    pub(crate) later: VersionVector,
}

/// What is known of servers' parts of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acked {
    pub(crate) life: ServerLife,
    /// What this life of the server has durably.
    pub(crate) acked: VersionVector,
    /// What any server ever had: others may know it by its names.
    pub(crate) ever: VersionVector,
    /// How far its log was read, if that is known.
    pub(crate) read: Option<Read>,
}

impl Acked {
    /// What is left when nothing that was acknowledged counts any more.
    pub(crate) fn forgotten(self) -> Self {
        Self { acked: VersionVector::new(), read: None, ..self }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.u64_le(self.life.server);
        out.u64_le(self.life.epoch);
        self.acked.encode(&mut out);
        if self.ever != self.acked || self.read.is_some() {
            let is_more = |(peer, count): &(PeerId, u32)| *count > self.acked.get(*peer);
            self.ever.iter().filter(is_more).collect::<VersionVector>().encode(&mut out);
        }
        if let Some(Read { mark, later }) = &self.read {
            out.varint(mark.position);
            out.u64_le(mark.digest);
            later.encode(&mut out);
        }
        out.into_vec()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Reader::new(bytes);
        let life = ServerLife { server: input.u64_le()?, epoch: input.u64_le()? };
        let acked = VersionVector::decode(&mut input)?;
        let mut ever = acked.clone();
        if !input.is_empty() {
            ever.merge(&VersionVector::decode(&mut input)?);
        }
        let read = if input.is_empty() {
            None
        } else {
            let mark = LogMark { position: input.varint()?, digest: input.u64_le()? };
            Some(Read { mark, later: VersionVector::decode(&mut input)? })
        };
        input.finish()?;
        Ok(Self { life, acked, ever, read })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_what_they_were() {
        // Stored by earlier starts, and read by later ones.
        let doc = DocId::new("board/42").expect("a valid id");
        assert_eq!(acked_key(&doc), "acked/board/42");
        assert_eq!((KEPT, CLOCK), ("kept", "clock"));
    }

    #[test]
    fn records_read_back() {
        let life = ServerLife { server: 7, epoch: u64::MAX };
        let acked: VersionVector = [(PeerId(1), 3), (PeerId(9), 1)].into_iter().collect();
        let known = Acked { life, acked: acked.clone(), ever: acked.clone(), read: None };
        assert_eq!(Acked::decode(&known.encode()), Ok(known.clone()));
        let known_len = known.encode().len();
        let mark = LogMark { position: 300, digest: u64::MAX };
        let later = VersionVector::new();
        let read = Acked { read: Some(Read { mark, later }), ..known };
        assert_eq!(Acked::decode(&read.encode()), Ok(read.clone()));
        assert_eq!(read.encode().len(), known_len + 12, "what is the same is written once");
        let lost = read.forgotten();
        assert!(lost.acked.is_empty() && !lost.ever.is_empty() && lost.read.is_none());
        assert_eq!(Acked::decode(&lost.encode()), Ok(lost));
    }
}
