//! Two authors under one peer id: ours takes a fresh one and writes what the server lacks again.
//!
//! It happens when a browser profile is copied or restored. What another author wrote under the
//! old id stays; what we wrote under it, and nobody acknowledged, is in the document under the new.

use leptos_sync_crdt::{Doc, DocId, OpId, PeerId, VersionVector};
use leptos_sync_protocol::NackCode;
use leptos_sync_storage::Snapshot;

use super::doc::{Load, Phase, Rejection, Unsaved};
use super::store::Job;
use super::tabs::TabMessage;
use super::{Core, Now, Output};
use crate::event::DocEvent;
use crate::status::{Reason, StorageFault, StorageHealth};

impl Core {
    /// Somebody else writes under an id of ours: later changes get a fresh one.
    pub(super) fn leave_peer(&mut self, peer: PeerId) -> PeerId {
        let fresh = self.fresh_peer();
        if self.peer == Some(peer) {
            self.peer = Some(fresh);
            if let Some(slot) = self.slot {
                self.jobs.rename_slot(slot, fresh);
                self.outputs.push_back(Output::Work);
            }
        }
        for doc in self.docs.values() {
            let mut content = doc.content.borrow_mut();
            if content.peer() == peer {
                content.set_peer(fresh);
            }
        }
        fresh
    }

    /// From `seq` on, `peer` names other changes at the server, or in storage, than here.
    pub(super) fn conflict(&mut self, now: Now, id: &DocId, peer: PeerId, seq: u32) {
        let Some(doc) = self.docs.get(id) else { return };
        let writing_as = doc.content.borrow().peer();
        if doc.content.borrow().version().get(peer) <= seq {
            return;
        }
        if let Some(doc) = self.docs.get_mut(id) {
            doc.remote.doubted.take_if(|doubted| *doubted == peer);
        }
        tracing::warn!(doc = %id, %peer, seq, "another author uses the same peer id");
        let ours = self.peer == Some(peer) || writing_as == peer;
        let fresh = self.leave_peer(peer);
        let moved = OpId::new(peer, seq);
        if ours && self.write_again(now, id, moved, fresh) {
            return;
        }
        // Another tab's, or built upon by others: kept here and named in the status.
        let reason = Reason::Rejected(NackCode::DuplicatePeer);
        self.reject(id, peer, Rejection { seq, reason, retry_at: None });
        self.upload(now, id);
    }

    /// Whether our changes from `moved` on are now in the document as `fresh`'s.
    fn write_again(&mut self, now: Now, id: &DocId, moved: OpId, fresh: PeerId) -> bool {
        let Some(doc) = self.docs.get_mut(id) else { return false };
        let mut content = doc.content.borrow_mut();
        let blocks = match content.reauthor(moved, fresh) {
            Ok(blocks) => blocks,
            Err(error) => {
                tracing::warn!(doc = %id, %error, "changes were not written again");
                return false;
            }
        };
        let unacked = content.blocks_since(&doc.remote.acked);
        drop(content);
        doc.remote.pending.reset(&unacked, &doc.remote.acked);
        doc.remote.rejected.remove(&moved.peer);
        let is_moved =
            |held: &Unsaved| held.block.peer() == moved.peer && held.block.seq() >= moved.seq;
        let unsaved = doc.store.queue.iter().filter(|held| is_moved(held)).count();
        doc.store.queue.retain(|held| !is_moved(held));
        doc.store.in_flight.iter_mut().filter(|held| is_moved(held)).for_each(|held| {
            held.announce = false;
        });
        if unsaved < blocks.len() {
            doc.store.moved = Some(moved);
        } else {
            // Nothing of ours was stored under the old name, but perhaps the other author's.
            self.outputs.push_back(Output::Reread(id.clone()));
        }
        for block in blocks {
            doc.keep(block, true);
        }
        doc.remote.phase = Phase::Closed;
        self.emit(id, DocEvent::Loaded);
        self.outputs.push_back(Output::Work);
        self.open_on_server(now, id);
        if self.jobs.health != StorageHealth::Healthy {
            self.announce_unstored(now);
        }
        true
    }

    /// Puts the document as it is now in the place of what is stored.
    pub(super) fn replace_job(&mut self) -> Option<Job> {
        let (id, doc) = self.docs.iter().find(|(_, doc)| doc.store.moved.is_some())?;
        let moved = doc.store.moved?;
        let content = doc.content.borrow();
        let snapshot =
            Snapshot { version: content.version().clone(), bytes: content.encode_snapshot() };
        Some(Job::Replace { doc: id.clone(), snapshot, moved })
    }

    pub(super) fn replaced(&mut self, now: Now, id: &DocId, result: Result<(), StorageFault>) {
        if let Err(fault) = result {
            return self.jobs.fail(now, fault);
        }
        if let Some(doc) = self.docs.get_mut(id) {
            doc.store.moved = None;
            doc.store.log_blocks = 0;
            doc.store.log_bytes = 0;
        }
        let message = TabMessage::Replaced { doc: id.clone() };
        self.outputs.push_back(Output::Post(message.encode()));
    }

    /// Another tab replaced what is stored: start again from that.
    pub(super) fn start_again(&mut self, now: Now, id: &DocId) {
        let provisional = self.fresh_peer();
        let Some(doc) = self.docs.get_mut(id) else { return };
        if doc.load == Load::Reading {
            return;
        }
        // What is in the queue is merged in again when the stored part is there.
        *doc.content.borrow_mut() = Doc::new(provisional);
        doc.load = Load::Reading;
        doc.remote.phase = Phase::Closed;
        doc.remote.pending.reset([], &VersionVector::new());
        self.close_on_server(now, id);
        self.outputs.push_back(Output::Load(id.clone()));
    }
}
