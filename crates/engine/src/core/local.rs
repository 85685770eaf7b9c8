//! The other tabs of this device, who is where, and the passing of time.

use std::collections::{BTreeMap, BTreeSet};

use leptos_sync_crdt::{Block, DocId, OpId, PeerId, VersionVector};
use leptos_sync_protocol::ClientInput;
use leptos_sync_storage::planted;

use super::doc::{Load, Phase, name};
use super::tabs::TabMessage;
use super::{ANY_TIME, Core, Now, Output, Told};
use crate::event::{DocEvent, Origin};

/// How often a tab tells the others who is in it.
const PRESENCE_REPEAT_MS: u64 = 10_000;
/// A tab that is silent for longer is considered gone.
const PRESENCE_TTL_MS: u64 = 30_000;
/// How long the tab that made a change has to get it acknowledged before others send it too.
pub(super) const ADOPT_AFTER_MS: u64 = 3_000;

impl Core {
    /// Another tab posted something.
    pub(crate) fn tab_message(&mut self, now: Now, bytes: &[u8]) {
        match TabMessage::decode(bytes) {
            Ok(TabMessage::Changes { stored, mark, parts }) => {
                // What bears another mark is in a store that is gone, or not this tab's yet.
                let is_here =
                    (mark.is_some() && mark == self.jobs.kept) || planted!(BelievesAnyTab);
                self.told_by_tab(now, stored, Told { parts, is_here: stored && is_here });
            }
            Ok(TabMessage::Want { doc, have }) => self.answer_tab(&doc, &have),
            Ok(TabMessage::Presence { doc, session, payload }) => {
                self.tab_presence(now, &doc, session, payload);
            }
            Ok(TabMessage::Moved { doc, from, to }) => self.moved_elsewhere(now, &doc, from, to),
            // A tab with another version of the program; storage and server carry its changes.
            Err(error) => tracing::debug!(%error, "message of another tab not understood"),
        }
    }

    /// Another tab stored changes in one write, or could not store them for now. Whether they are
    /// in what this tab's store is now is another question.
    fn told_by_tab(&mut self, now: Now, stored: bool, told: Told) {
        let parts = &told.parts;
        if stored && parts.len() > 1 && parts.iter().any(|(id, new)| self.lacks_for(id, new)) {
            // What they build on is stored, too; until it is here, none of them is shown.
            let ids = parts.iter().map(|(id, _)| id).filter(|id| self.is_loaded(id));
            let ids = ids.cloned().collect();
            return self.outputs.push_back(Output::Reread(ids, told));
        }
        self.take_told(now, told);
    }

    /// Takes in what another tab told; what is not here is stored in one write.
    pub(super) fn take_told(&mut self, now: Now, Told { parts, is_here }: Told) {
        if is_here {
            self.untie_stored(&parts);
        } else if parts.len() > 1 && parts.iter().any(|(id, _)| self.is_open(id)) {
            // Who stores some of them stores all, whether or not anybody here uses the documents.
            parts.iter().for_each(|(id, _)| self.ensure(id));
            self.tie(&parts);
        }
        for (id, blocks) in parts {
            self.import_from_tab(now, &id, blocks, is_here, Origin::OtherTab);
        }
    }

    /// Whether these blocks would have to wait in a document for something that is not here.
    fn lacks_for(&self, id: &DocId, blocks: &[Block]) -> bool {
        let Some(doc) = self.docs.get(id).filter(|doc| doc.load == Load::Done) else {
            return false;
        };
        let content = doc.content.borrow();
        let mut ends: BTreeMap<PeerId, u32> = BTreeMap::new();
        blocks.iter().any(|block| {
            let comes = |dep: &OpId| ends.get(&dep.peer).is_some_and(|end| dep.seq < *end);
            let has = |dep: &OpId| content.version().contains(*dep) || comes(dep);
            let lacks = !block.builds_on().all(|dep| has(&dep));
            ends.insert(block.peer(), block.end());
            lacks
        })
    }

    pub(super) fn import_from_tab(
        &mut self,
        now: Now,
        id: &DocId,
        blocks: Vec<Block>,
        stored: bool,
        origin: Origin,
    ) {
        let told: BTreeSet<OpId> = blocks.iter().map(name).collect();
        let imported = self.import(now, ANY_TIME, id, blocks.clone(), origin);
        let Some(doc) = self.docs.get_mut(id) else { return };
        if doc.content.borrow().pending_count() > 0 {
            doc.note_waiting(blocks);
        }
        let known = |peer: PeerId| doc.content.borrow().version().get(peer) > 0;
        let is_doubled = imported.applied.iter().any(|block| known(block.successor()));
        for block in imported.applied {
            // One that waited here for another came from elsewhere and may not be stored.
            if !stored || !told.contains(&name(&block)) {
                doc.keep(block, false);
            }
        }
        if !doc.remote.pending.is_empty() {
            doc.remote.adopt_at.get_or_insert(now.ms + ADOPT_AFTER_MS);
        }
        self.outputs.push_back(Output::Work);
        if is_doubled {
            self.settle(now, id, &BTreeSet::new());
        }
        for (peer, seq) in imported.conflicts {
            self.conflict(now, id, peer, seq);
        }
    }

    /// Tells a tab that opened a document what it cannot have read from storage.
    fn answer_tab(&mut self, id: &DocId, have: &VersionVector) {
        let Some(doc) = self.docs.get(id) else { return };
        let mut blocks = doc.content.borrow().blocks_since(have);
        // What nobody has heard of yet may still have to be written again under another id.
        let held = doc.store.held_back(false);
        blocks.retain(|block| !held.contains(&name(block)));
        if !blocks.is_empty() {
            let stored = doc.store.is_idle() && !self.jobs.in_doubt;
            let tied = self.tied_with(id).into_iter().filter(|other| other != id);
            let told = |id: DocId| Some((self.docs.get(&id)?.store.told(), id));
            let tied = tied.filter_map(told).filter(|(told, _)| !told.is_empty());
            let mut parts: Vec<_> = tied.map(|(told, id)| (id, told)).collect();
            parts.push((id.clone(), blocks));
            let message = TabMessage::Changes { stored, mark: self.jobs.kept, parts };
            self.outputs.push_back(Output::Post(message.encode()));
        }
        self.post_presence(id);
    }

    fn post_presence(&mut self, id: &DocId) {
        let Some(payload) = self.docs.get(id).and_then(|doc| doc.presence.own.clone()) else {
            return;
        };
        let message = TabMessage::Presence {
            doc: id.clone(),
            session: self.client_id,
            payload: Some(payload),
        };
        self.outputs.push_back(Output::Post(message.encode()));
    }

    /// What others should see of this tab's user in the document; `None` to be gone.
    pub(crate) fn set_presence(&mut self, now: Now, id: &DocId, payload: Option<Vec<u8>>) {
        let Some(doc) = self.docs.get_mut(id) else { return };
        if doc.presence.own == payload {
            return;
        }
        doc.presence.own.clone_from(&payload);
        doc.presence.left = None;
        doc.presence.repeat_at = payload.is_some().then_some(now.ms + PRESENCE_REPEAT_MS);
        let open = !matches!(doc.remote.phase, Phase::Closed | Phase::Refused { .. });
        let message = TabMessage::Presence { doc: id.clone(), session: self.client_id, payload };
        self.outputs.push_back(Output::Post(message.encode()));
        if open {
            let TabMessage::Presence { payload, .. } = message else { return };
            self.session_input(now, ClientInput::Presence { doc: id.clone(), payload });
        }
    }

    /// Takes leave of the others in every document, maybe for a while.
    pub(super) fn leave_presence(&mut self, now: Now) {
        let ids: Vec<DocId> = self.docs.keys().cloned().collect();
        for id in ids {
            let own = self.docs.get(&id).and_then(|doc| doc.presence.own.clone());
            self.set_presence(now, &id, None);
            if let Some(doc) = self.docs.get_mut(&id) {
                doc.presence.left = own;
            }
        }
    }

    /// The page was shown, or somebody does not want to wait.
    pub(crate) fn nudge(&mut self, now: Now) {
        self.session_input(now, ClientInput::Nudge);
        self.dial(now);
        let ids: Vec<DocId> = self.docs.keys().cloned().collect();
        let read = self.docs.iter().filter(|(_, doc)| doc.load == Load::Done);
        let read: Vec<DocId> = read.map(|(id, _)| id.clone()).collect();
        if !read.is_empty() {
            self.outputs.push_back(Output::Reread(read, Told::default()));
        }
        for id in ids {
            let Some(doc) = self.docs.get_mut(&id) else { continue };
            if let Some(payload) = doc.presence.left.take() {
                self.set_presence(now, &id, Some(payload));
            }
        }
    }

    fn tab_presence(&mut self, now: Now, id: &DocId, session: u64, payload: Option<Vec<u8>>) {
        let Some(doc) = self.docs.get_mut(id) else { return };
        let tabs = &mut doc.presence.from_tabs;
        let changed = match payload {
            None => tabs.remove(&session).is_some(),
            Some(payload) => {
                let before = tabs.insert(session, (payload, now.ms + PRESENCE_TTL_MS));
                before.is_none_or(|(before, _)| before != tabs[&session].0)
            }
        };
        if changed {
            self.emit(id, DocEvent::Presence);
        }
    }

    /// When [`Core::tick`] is next due.
    pub(crate) fn deadline(&self) -> Option<u64> {
        let presence = self.docs.values().flat_map(|doc| {
            let gone = doc.presence.from_tabs.values().map(|(_, until)| *until);
            gone.chain(doc.presence.repeat_at)
        });
        presence.chain(self.store_deadline()).chain(self.link_deadline()).min()
    }

    /// Does what has become due.
    pub(crate) fn tick(&mut self, now: Now) {
        self.link_tick(now);
        self.store_tick(now);
        let ids: Vec<DocId> = self.docs.keys().cloned().collect();
        for id in ids {
            let Some(doc) = self.docs.get_mut(&id) else { continue };
            let before = doc.presence.from_tabs.len();
            doc.presence.from_tabs.retain(|_, (_, until)| *until > now.ms);
            let lost = doc.presence.from_tabs.len() != before;
            let repeat = doc.presence.repeat_at.is_some_and(|at| at <= now.ms);
            if repeat {
                doc.presence.repeat_at = Some(now.ms + PRESENCE_REPEAT_MS);
                self.post_presence(&id);
            }
            if lost {
                self.emit(&id, DocEvent::Presence);
            }
        }
    }
}
