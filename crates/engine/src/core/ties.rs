//! What is stored in one write or not at all: the changes of a transaction over several documents.
//!
//! A document may not be writable yet, because it is still being read. What is tied to its changes
//! waits for it, and so does what follows that in its own document.

use std::collections::BTreeSet;

use leptos_sync_crdt::{Block, Doc, DocId, VersionVector};
use leptos_sync_storage::StoredDoc;
use litemap::LiteMap;

use super::doc::{Load, OpenDoc, Unsaved, name};
use super::{ANY_TIME, Core};

/// Names changes that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tie(u64);

impl Core {
    /// Ties changes of several documents, and what each of them is tied to already. None waits for
    /// a document that cannot be stored.
    pub(super) fn tie(&mut self, parts: &[(DocId, Vec<Block>)]) {
        self.ties += 1;
        let tie = Tie(self.ties);
        let mut earlier = BTreeSet::new();
        for (id, blocks) in parts {
            let doc = self.docs.get_mut(id).filter(|doc| !doc.store.refused);
            let Some(doc) = doc else { continue };
            doc.unpack();
            earlier.extend(blocks.iter().filter_map(|b| doc.store.ties.insert(name(b), tie)));
        }
        let all = self.docs.iter_mut().flat_map(|(_, doc)| doc.store.ties.iter_mut());
        all.filter(|(_, known)| earlier.contains(known)).for_each(|(_, known)| *known = tie);
    }

    /// Unties changes that somebody has stored.
    pub(super) fn untie_stored(&mut self, parts: &[(DocId, Vec<Block>)]) {
        for (id, blocks) in parts {
            let Some(doc) = self.docs.get_mut(id) else { continue };
            doc.store.untie(blocks);
        }
    }

    /// The document, and those in which something is tied to what is unsaved in it.
    pub(super) fn tied_with(&self, id: &DocId) -> BTreeSet<DocId> {
        let mut found = BTreeSet::from([id.clone()]);
        loop {
            let known = found.iter().filter_map(|id| self.docs.get(id));
            let ties: BTreeSet<Tie> =
                known.flat_map(|doc| doc.store.ties.values()).copied().collect();
            let count = found.len();
            let is_tied = |doc: &OpenDoc| doc.store.ties.values().any(|tie| ties.contains(tie));
            found.extend(self.docs.iter().filter(|(_, d)| is_tied(d)).map(|(id, _)| id.clone()));
            if found.len() == count {
                return found;
            }
        }
    }

    /// Whether something can be appended.
    pub(super) fn can_append(&self) -> bool {
        let is_free = || self.docs.values().all(|doc| doc.store.ties.is_empty());
        self.docs.values().any(OpenDoc::can_append) && (is_free() || !self.storable().is_empty())
    }

    /// Of which documents how many unsaved blocks can be appended now.
    pub(super) fn storable(&self) -> LiteMap<DocId, usize> {
        let all = |doc: &OpenDoc| if doc.can_append() { doc.store.queue.len() } else { 0 };
        let mut counts: LiteMap<DocId, usize> =
            self.docs.iter().map(|(id, doc)| (id.clone(), all(doc))).collect();
        loop {
            let left = |(id, count): (&DocId, &usize)| self.docs[id].ties_from(*count);
            let left: BTreeSet<Tie> = counts.iter().flat_map(left).collect();
            let mut is_settled = true;
            for (id, count) in &mut counts {
                let store = &self.docs[id].store;
                let is_left = |unsaved: &Unsaved| {
                    store.ties.get(&name(&unsaved.block)).is_some_and(|tie| left.contains(tie))
                };
                if let Some(first) = store.queue[..*count].iter().position(is_left) {
                    *count = first;
                    is_settled = false;
                }
            }
            if is_settled {
                counts.retain(|_, count| *count > 0);
                return counts;
            }
        }
    }
}

impl OpenDoc {
    /// Unties what was found to be stored, be it under the name that it had before.
    pub(super) fn untie_found(&mut self, stored: &StoredDoc) {
        if self.store.ties.is_empty() {
            return;
        }
        let mut found =
            stored.snapshot.as_ref().map(|kept| kept.version.clone()).unwrap_or_default();
        stored.blocks.iter().for_each(|block| found.extend(block.peer(), block.end()));
        for (peer, (from, to)) in &self.renamed {
            found.extend(*to, found.get(*peer).saturating_sub(*from));
        }
        self.store.ties.retain(|name, _| !found.contains(*name));
    }

    /// The document without what is tied to other documents, and what builds on that. `None` if it
    /// cannot be taken apart.
    pub(super) fn untied(&self) -> Option<Doc> {
        let content = self.content.borrow();
        let mut free = VersionVector::new();
        let mut blocks = content.blocks_since(&free);
        blocks.retain(|block| {
            let is_tied = self.store.ties.contains_key(&name(block));
            let is_free = !is_tied && block.builds_on().all(|dep| free.contains(dep));
            if is_free {
                free.extend(block.peer(), block.end());
            }
            is_free
        });
        let mut part = Doc::new(content.peer());
        part.import(ANY_TIME, blocks).ok()?;
        Some(part)
    }

    /// How the unsaved blocks from there on are tied. Before the stored part is known, that counts
    /// blocks that may still be waiting for it.
    fn ties_from(&self, count: usize) -> BTreeSet<Tie> {
        let ties = &self.store.ties;
        if self.load == Load::Reading || ties.is_empty() {
            return ties.values().copied().collect();
        }
        let later = self.store.queue[count..].iter();
        later.filter_map(|unsaved| ties.get(&name(&unsaved.block))).copied().collect()
    }
}
