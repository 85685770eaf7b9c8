//! What the server has of a document when it is opened there, compared with what is here: what it
//! acknowledges, what it has lost, and whether somebody else writes under an id of ours.

use std::collections::BTreeSet;

use leptos_sync_crdt::{DocId, PeerId, VersionVector};
use leptos_sync_protocol::{LogMark, NackCode, PeerMark, VERSION_PEERS_MAX};
use leptos_sync_storage::planted;

use super::doc::{Phase, Rejection, Remote};
use super::records::{Read, ServerLife};
use super::{Core, Now, OpenDoc, Output};
use crate::status::Reason;

/// How long the acknowledged version waits for further ones before it is written, and a millisecond
/// for each author beside: it is written whole, and those of old documents are long.
const ACKED_DELAY_MS: u64 = 300;
const ACKED_DELAY_MS_MAX: u64 = 15_000;

impl Core {
    pub(super) fn opened(
        &mut self,
        now: Now,
        id: &DocId,
        said: VersionVector,
        mark: Option<PeerMark>,
    ) {
        let Some(doc) = self.docs.get_mut(id) else { return };
        // A message has room for so many authors; of one that it does not name, nothing is known.
        let is_whole = said.peer_count() < VERSION_PEERS_MAX;
        let server = doc.server_version(said);
        let Remote { acked, pending, .. } = &doc.remote;
        let is_news = |(peer, n): (PeerId, u32)| pending.has(peer) && n > acked.get(peer);
        let contested: BTreeSet<PeerId> =
            server.iter().filter(|part| is_news(*part)).map(|(peer, _)| peer).collect();
        let chain = mark.map_or(Chain::Same, |mark| doc.compare_chain(mark));
        let differs = mark.filter(|_| chain == Chain::Differs).map(|mark| mark.peer);
        // Under a doubted name the server has other changes than ours.
        let doubted = differs.or(doc.remote.doubted);
        let is_sure = |peer: PeerId| Some(peer) != doubted && !contested.contains(&peer);
        let sure: VersionVector = server.iter().filter(|(peer, _)| is_sure(*peer)).collect();
        let is_new_doubt = differs.is_some() && differs != doc.remote.doubted;
        let lacks =
            |(peer, through)| is_whole && Some(peer) != doubted && server.get(peer) < through;
        doc.remote.phase = Phase::Open {
            sent: server.clone(),
            caught_up: false,
            contested: !contested.is_empty(),
        };
        if doc.remote.acked.iter().any(lacks) {
            self.forget_lost(now, id);
        }
        if let Some(doc) = self.docs.get_mut(id) {
            doc.acknowledge(now, &sure);
        }
        match (chain, mark) {
            (Chain::Differs, Some(mark)) if is_new_doubt => {
                return self.doubt(now, id, mark.peer);
            }
            // Somebody goes on under our name, whoever that is.
            (Chain::Longer, Some(mark)) => {
                self.leave_peer(mark.peer);
            }
            _ => {}
        }
        if !planted!(SendsNothingAfterAReconnect) {
            self.upload(now, id);
        }
    }

    /// The server lacks what it had acknowledged, as after its restore from a backup: nothing that
    /// it acknowledged counts any more, in no document.
    fn forget_lost(&mut self, now: Now, id: &DocId) {
        let Some(life) = self.link.life() else { return };
        tracing::warn!(doc = %id, "the server lost changes that it had acknowledged");
        let Some(doc) = self.docs.get_mut(id) else { return };
        doc.forget_acknowledgements(now, life);
        self.outputs.push_back(Output::FindUnsent(None));
    }

    /// The server has other changes than we under an id of ours. Asks for them, and sends none
    /// under that id until it is known from where on they differ.
    fn doubt(&mut self, now: Now, id: &DocId, peer: PeerId) {
        let Some(doc) = self.docs.get_mut(id) else { return };
        doc.remote.doubted = Some(peer);
        doc.remote.phase = Phase::Closed;
        let seq = doc.remote.acked.get(peer);
        let reason = Reason::Rejected(NackCode::DuplicatePeer);
        self.reject(id, peer, Rejection { seq, reason, retry_at: None });
        self.open_on_server(now, id);
    }
}

/// How the server's chain of our own peer compares with ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chain {
    /// The server's is ours, or a part of it.
    Same,
    /// The server's continues ours.
    Longer,
    /// They are different changes under the same name.
    Differs,
}

impl OpenDoc {
    /// How much the server is told that we have of `peer`: not what it did not acknowledge. If it
    /// has something there it sends it, and that is seen to be ours or somebody else's.
    pub(super) fn claim(&self, peer: PeerId, count: u32) -> u32 {
        let remote = &self.remote;
        match remote.pending.has(peer) {
            _ if remote.doubted == Some(peer) => 0,
            true => count.min(remote.acked.get(peer)),
            false => count,
        }
    }

    /// Up to where the server need not be told what is here: all that it acknowledged is. What is
    /// stored may have lost something that was.
    pub(super) fn read_up_to(&mut self) -> Option<&Read> {
        let is_here = self.content.borrow().version().covers(&self.remote.acked);
        self.remote.read.take_if(|_| !is_here || self.remote.doubted.is_some());
        self.remote.read.as_ref()
    }

    /// Everything below this mark of the server's log has arrived: kept, if that is what the server
    /// is known to have, and it is here.
    pub(super) fn note_read(&mut self, now: Now, mark: LogMark) {
        let Remote { acked, doubted, read: known, .. } = &self.remote;
        let read = Read { mark, later: VersionVector::new() };
        let is_news = known.as_ref() != Some(&read) && doubted.is_none();
        if is_news && acked.digest() == mark.digest && self.content.borrow().version().covers(acked)
        {
            self.remote.read = Some(read);
            self.note_acknowledged(now);
        }
    }

    /// What the server has, by what it said when the document was opened.
    fn server_version(&self, said: VersionVector) -> VersionVector {
        let Phase::Opening { read_on: true } = self.remote.phase else { return said };
        let Some(Read { later, .. }) = &self.remote.read else { return said };
        // Of whom there is something above the mark, the server has just said it.
        let below = self.remote.acked.iter().filter(|(peer, _)| later.get(*peer) == 0);
        below.chain(said.iter()).collect()
    }

    fn compare_chain(&self, mark: PeerMark) -> Chain {
        let content = self.content.borrow();
        let ours = content.version().get(mark.peer);
        if mark.seq > ours {
            // What is stored here is sent in order, so a server that has more, and did not
            // acknowledge all of ours, has it from somebody else.
            let all_acked = ours <= self.remote.acked.get(mark.peer);
            return if all_acked { Chain::Longer } else { Chain::Differs };
        }
        match content.chain_hash_at(mark.peer, mark.seq) {
            Some(hash) if hash == mark.hash => Chain::Same,
            _ => Chain::Differs,
        }
    }

    /// Another server, or another life of it: what an earlier one acknowledged does not count.
    pub(super) fn forget_acknowledgements(&mut self, now: Now, life: ServerLife) {
        self.remote.life = Some(life);
        self.remote.acked = VersionVector::new();
        self.remote.read = None;
        self.note_acknowledged(now);
        let blocks = self.content.borrow().blocks_since(&VersionVector::new());
        self.remote.pending.reset(&blocks, &self.remote.acked);
    }

    pub(super) fn acknowledge(&mut self, now: Now, version: &VersionVector) {
        if self.remote.acknowledge(version) {
            self.note_acknowledged(now);
        }
    }

    /// Has the acknowledged version written soon.
    fn note_acknowledged(&mut self, now: Now) {
        let delay = ACKED_DELAY_MS + self.remote.acked.peer_count() as u64;
        self.store.acked_at.get_or_insert(now.ms + delay.min(ACKED_DELAY_MS_MAX));
    }
}
