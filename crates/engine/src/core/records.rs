//! The small values that the engine keeps beside the documents, and their bytes.
//!
//! | key | value |
//! |---|---|
//! | `kept` | 8 random bytes, of whichever start found none: as long as they are the same, so is |
//! | | what is stored |
//! | `clock` | by how many milliseconds the device's clock was ahead of the server's (8), if so |
//! | `acked/<document>` | server id (8), epoch (8), then the version vector it has durably; and |
//! | | what any server ever had, if that is more |

use leptos_sync_crdt::{DecodeError, DocId, Reader, VersionVector, Writer};

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

/// What is known of servers' parts of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acked {
    pub(crate) life: ServerLife,
    /// What this life of the server has durably.
    pub(crate) acked: VersionVector,
    /// What any server ever had: others may know it by its names.
    pub(crate) ever: VersionVector,
}

impl Acked {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.u64_le(self.life.server);
        out.u64_le(self.life.epoch);
        self.acked.encode(&mut out);
        if self.ever != self.acked {
            self.ever.encode(&mut out);
        }
        out.into_vec()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Reader::new(bytes);
        let life = ServerLife { server: input.u64_le()?, epoch: input.u64_le()? };
        let acked = VersionVector::decode(&mut input)?;
        let more = !input.is_empty();
        let ever = if more { VersionVector::decode(&mut input)? } else { acked.clone() };
        input.finish()?;
        Ok(Self { life, acked, ever })
    }
}

#[cfg(test)]
mod tests {
    use leptos_sync_crdt::PeerId;

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
        let known = Acked { life, acked: acked.clone(), ever: acked.clone() };
        assert_eq!(Acked::decode(&known.encode()), Ok(known.clone()));
        let lost = Acked { acked: VersionVector::new(), ..known };
        assert_eq!(Acked::decode(&lost.encode()), Ok(lost));
    }
}
