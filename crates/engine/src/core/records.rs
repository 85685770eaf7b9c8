//! The small values that the engine keeps beside the documents, and their bytes.
//!
//! | key | value |
//! |---|---|
//! | `peer/<slot>` | the slot's peer id, 8 bytes little-endian |
//! | `acked/<document>` | server id (8), epoch (8), then the version vector it has durably |
//! | `unsent/<document>` | empty; present while changes wait for the server |
//! | `rescue/<document>` | version vector, snapshot: present while it replaces what is stored |

use leptos_sync_crdt::{DecodeError, DocId, PeerId, Reader, VersionVector, Writer};
use leptos_sync_storage::Snapshot;

/// Which server, and which life of it: a server restored from a backup has another epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServerLife {
    pub(crate) server: u64,
    pub(crate) epoch: u64,
}

/// What the keys of documents with unsent changes start with.
pub(crate) const UNSENT: &str = "unsent/";

pub(crate) fn peer_key(slot: u32) -> String {
    format!("peer/{slot}")
}

/// What the keys of documents that a server acknowledged start with.
pub(crate) const ACKED: &str = "acked/";

pub(crate) fn acked_key(doc: &DocId) -> String {
    format!("{ACKED}{doc}")
}

pub(crate) fn unsent_key(doc: &DocId) -> String {
    format!("{UNSENT}{doc}")
}

pub(crate) fn rescue_key(doc: &DocId) -> String {
    format!("rescue/{doc}")
}

pub(crate) fn encode_peer(peer: PeerId) -> Vec<u8> {
    peer.0.to_le_bytes().to_vec()
}

pub(crate) fn decode_peer(bytes: &[u8]) -> Option<PeerId> {
    bytes.try_into().ok().map(|bytes| PeerId(u64::from_le_bytes(bytes)))
}

pub(crate) fn encode_acked(life: ServerLife, acked: &VersionVector) -> Vec<u8> {
    let mut out = Writer::new();
    out.u64_le(life.server);
    out.u64_le(life.epoch);
    acked.encode(&mut out);
    out.into_vec()
}

pub(crate) fn decode_acked(bytes: &[u8]) -> Result<(ServerLife, VersionVector), DecodeError> {
    let mut input = Reader::new(bytes);
    let life = ServerLife { server: input.u64_le()?, epoch: input.u64_le()? };
    let acked = VersionVector::decode(&mut input)?;
    input.finish()?;
    Ok((life, acked))
}

pub(crate) fn encode_rescue(snapshot: &Snapshot) -> Vec<u8> {
    let mut out = Writer::new();
    snapshot.version.encode(&mut out);
    out.bytes(&snapshot.bytes);
    out.into_vec()
}

pub(crate) fn decode_rescue(bytes: &[u8]) -> Result<Snapshot, DecodeError> {
    let mut input = Reader::new(bytes);
    let version = VersionVector::decode(&mut input)?;
    let snapshot = Snapshot { version, bytes: input.bytes()?.to_vec() };
    input.finish()?;
    Ok(snapshot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_read_back() {
        let life = ServerLife { server: 7, epoch: u64::MAX };
        let acked: VersionVector = [(PeerId(1), 3), (PeerId(9), 1)].into_iter().collect();
        assert_eq!(decode_acked(&encode_acked(life, &acked)), Ok((life, acked.clone())));
        assert_eq!(decode_peer(&encode_peer(PeerId(5))), Some(PeerId(5)));
        assert_eq!(decode_peer(b"short"), None);
        let snapshot = Snapshot { version: acked, bytes: vec![1, 2, 3] };
        assert_eq!(decode_rescue(&encode_rescue(&snapshot)), Ok(snapshot));
    }
}
