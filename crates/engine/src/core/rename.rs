//! Two authors under one peer id: ours writes again, as somebody else, what the server lacks.
//!
//! No two starts of this program ever do, copied profiles included: it happens when somebody else
//! claimed an id first. What another author wrote under the old id stays; what was written here
//! under it and never left the device, and whatever builds on that, is in the document under other
//! ids. Those follow from the changes, so that all tabs, and all copies of a profile, come to the
//! same ones.

use std::collections::BTreeSet;

use leptos_sync_crdt::{Block, DocId, OpId, PeerId};
use leptos_sync_protocol::NackCode;

use super::doc::{Load, OpenDoc, Phase, Rejection, Unsaved, name};
use super::tabs::TabMessage;
use super::{Core, Now, Output, Told};
use crate::event::DocEvent;
use crate::status::Reason;

impl Core {
    /// Somebody else writes under an id of ours: later changes get a fresh one.
    pub(super) fn leave_peer(&mut self, peer: PeerId) -> PeerId {
        let fresh = self.fresh_peer();
        if self.peer == peer {
            self.peer = fresh;
            self.written.clear();
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
        let Some(doc) = self.docs.get_mut(id) else { return };
        if doc.content.borrow().version().get(peer) <= seq {
            return;
        }
        doc.remote.doubted.take_if(|doubted| *doubted == peer);
        tracing::warn!(doc = %id, %peer, seq, "another author uses the same peer id");
        self.leave_peer(peer);
        if self.write_again(now, id, OpId::new(peer, seq)) {
            return;
        }
        // Others know it by its name: kept here and named in the status.
        let reason = Reason::Rejected(NackCode::DuplicatePeer);
        self.reject(id, peer, Rejection { seq, reason, retry_at: None });
        self.upload(now, id);
    }

    /// Another tab wrote changes again that are here, too.
    pub(super) fn moved_elsewhere(&mut self, now: Now, id: &DocId, from: OpId, to: PeerId) {
        self.settle(now, id, &BTreeSet::from([to]));
        // If they were not here, they may still come under their old names.
        let Some(doc) = self.docs.get_mut(id) else { return };
        if doc.content.borrow().version().get(from.peer) <= from.seq {
            doc.renamed.insert(from.peer, (from.seq, to));
        }
    }

    /// Writes changes again that somebody else wrote again under an id that begins now, or that is
    /// in the document already: it would have two of each.
    pub(super) fn settle(&mut self, now: Now, id: &DocId, begun: &BTreeSet<PeerId>) {
        let doubled = |doc: &OpenDoc| {
            let content = doc.content.borrow();
            let known = content.version();
            let is_new = |peer: &PeerId| known.get(*peer) == 0;
            if doc.load == Load::Reading || !(begun.is_empty() || begun.iter().any(is_new)) {
                return None;
            }
            let unknown = content.blocks_since(&doc.remote.ever);
            let again = unknown.iter().find(|block| {
                let successor = block.successor();
                begun.contains(&successor) || known.get(successor) > 0
            })?;
            Some(name(again))
        };
        while let Some(from) = self.docs.get(id).and_then(doubled) {
            if !self.write_again(now, id, from) {
                return;
            }
        }
    }

    /// Whether our changes from `from` on, and what builds on them, are now in the document under
    /// other ids.
    fn write_again(&mut self, now: Now, id: &DocId, from: OpId) -> bool {
        let Some(were_stored) = self.rename(id, from) else { return false };
        let Some(doc) = self.docs.get_mut(id) else { return false };
        let renamed = doc.renamed.clone();
        for peer in renamed.keys() {
            doc.remote.rejected.remove(peer);
        }
        doc.remote.phase = Phase::Closed;
        if !were_stored {
            // Nothing of ours was stored under the old name, but perhaps the other author's.
            self.outputs.push_back(Output::Reread(vec![id.clone()], Told::default()));
        }
        for peer in renamed.keys() {
            self.leave_peer(*peer);
        }
        if let Some((_, to)) = renamed.get(&from.peer) {
            let message = TabMessage::Moved { doc: id.clone(), from, to: *to };
            self.outputs.push_back(Output::Post(message.encode()));
        }
        self.open_on_server(now, id);
        self.announce_unstored(now, id);
        true
    }

    /// Writes the changes from `from` on again, and what builds on them; whether some of them were
    /// stored, or are about to be. `None` if it cannot be done.
    fn rename(&mut self, id: &DocId, from: OpId) -> Option<bool> {
        let doc = self.docs.get_mut(id)?;
        let mut content = doc.content.borrow_mut();
        let again = match content.reauthor_all(from, &doc.remote.ever) {
            Ok(again) => again,
            Err(error) => {
                tracing::warn!(doc = %id, %error, "changes were not written again");
                return None;
            }
        };
        let unacked = content.blocks_since(&doc.remote.acked);
        drop(content);
        doc.remote.pending.reset(&unacked, &doc.remote.acked);
        doc.renamed.extend(again.moved.iter().map(|(from, to)| (from.peer, (from.seq, *to))));
        let is_moved = |held: &Unsaved| {
            let (peer, seq) = (held.block.peer(), held.block.seq());
            again.moved.iter().any(|(from, _)| from.peer == peer && from.seq <= seq)
        };
        // Of what others know of, they may have stored some; and what is stored anew may be there.
        let is_unsaved = |held: &&Unsaved| held.announce && is_moved(held);
        let unsaved = doc.store.queue.iter().filter(is_unsaved).count();
        doc.store.queue.retain(|held| !is_moved(held));
        // Should it not be stored after all, it is not to be tried again.
        let in_flight = doc.store.in_flight.extract_if(.., |held| is_moved(held));
        doc.store.in_flight_again.extend(in_flight.map(|held| again.name(name(&held.block))));
        let ties = std::mem::take(&mut doc.store.ties).into_iter();
        doc.store.ties = ties.map(|(name, tie)| (again.name(name), tie)).collect();
        // A replacement in progress stores what is unsaved, too.
        let were_stored = unsaved < again.blocks.len() || doc.store.replacing > 0;
        if were_stored {
            doc.store.moved.extend(again.moved.iter().map(|(from, _)| *from));
        }
        for block in again.blocks {
            doc.keep(block, true);
        }
        self.emit(id, DocEvent::Loaded);
        self.outputs.push_back(Output::Work);
        Some(were_stored)
    }
}

impl OpenDoc {
    /// Leaves out what is here under another name: a tab, or storage, may still have the old one.
    pub(super) fn drop_renamed(&self, blocks: &mut Vec<Block>) {
        for (peer, (from, to)) in &self.renamed {
            let first = blocks.iter().find(|block| block.peer() == *peer && block.seq() == *from);
            let is_ours = match first {
                Some(first) => first.successor() == *to,
                // Another author's changes come in order.
                None => self.content.borrow().version().get(*peer) <= *from,
            };
            blocks.retain(|block| !is_ours || block.peer() != *peer || block.seq() < *from);
        }
    }
}
