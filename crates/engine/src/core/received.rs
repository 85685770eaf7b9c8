//! What the server sends of a document: changes that others made, one by one or in packs.

use std::collections::BTreeSet;

use bytes::Bytes;
use leptos_sync_crdt::{Block, DocId, PeerId, VersionVector, unpack_blocks};
use leptos_sync_protocol::{ClientInput, DocErrCode};
use leptos_sync_storage::planted;

use super::doc::Phase;
use super::{Core, Imported, Now, Output};
use crate::event::{DocEvent, Origin};

/// How long changes wait inside a document before they are looked at again.
const RECHECK_MS: u64 = 30_000;

impl Core {
    pub(super) fn received(&mut self, now: Now, id: &DocId, blocks: Vec<Block>) {
        let theirs = blocks.iter().map(|block| (block.peer(), block.end())).collect();
        let imported = self.import(now, self.wall_ms(now), id, blocks, Origin::Remote);
        self.take_in(now, id, theirs, imported);
    }

    /// Takes in packs as they are as far as all of them is new here. Of another the blocks are
    /// taken in, and those that are known have to be the same.
    pub(super) fn received_packs(&mut self, now: Now, id: &DocId, mut updates: &[Bytes]) {
        while !updates.is_empty() {
            updates = &updates[self.take_packs(now, id, updates)..];
            let Some((update, others)) = updates.split_first() else { return };
            match unpack_blocks(update) {
                Ok(blocks) => self.received(now, id, blocks),
                Err(error) => {
                    // Reading on would leave a gap, so the document stays closed until an update.
                    tracing::warn!(doc = %id, %error, "what the server sent is not understood");
                    self.session_input(now, ClientInput::Close { doc: id.clone() });
                    return self.refused(now, id, DocErrCode::Unsupported);
                }
            }
            updates = others;
        }
    }

    /// Takes in packs up to one of which something is here already, or has to wait; returns how
    /// many. Many blocks are stored as a snapshot of the document.
    fn take_packs(&mut self, now: Now, id: &DocId, updates: &[Bytes]) -> usize {
        let wall_ms = self.wall_ms(now);
        let Some(doc) = self.docs.get_mut(id) else { return updates.len() };
        let mut content = doc.content.borrow_mut();
        let before = content.version().clone();
        let (mut patches, mut waited, mut count) = (Vec::new(), Vec::new(), 0);
        for update in updates {
            let Ok(import) = content.import_pack(wall_ms, update) else { break };
            patches.extend(import.patches);
            // What had waited here for some of it is not from the server.
            waited.extend(import.applied);
            count += 1;
        }
        if count == 0 {
            return 0;
        }
        waited.iter().for_each(|block| doc.remote.pending.add(block, &doc.remote.acked));
        let theirs = |(peer, count): (PeerId, u32)| {
            let first = waited.iter().find(|block| block.peer() == peer);
            (peer, first.map_or(count, |first| count.min(first.seq())))
        };
        let theirs = content.version().iter().map(theirs);
        let theirs = theirs.filter(|(peer, count)| *count > before.get(*peer)).collect();
        let is_large = content.count_blocks_since(&before) >= self.config.compact_blocks / 4;
        let as_snapshot = is_large && doc.store.ties.is_empty();
        doc.store.packed |= as_snapshot;
        let applied = if as_snapshot { waited } else { content.blocks_since(&before) };
        drop(content);
        self.emit(id, DocEvent::Changed { origin: Origin::Remote, patches: patches.into() });
        self.take_in(now, id, theirs, Imported { applied, ..Imported::default() });
        // Of what was written again here, they may have brought what others wrote again.
        self.settle(now, id, &BTreeSet::new());
        count
    }

    /// Notes what came from the server, which has `theirs`, and has it stored.
    fn take_in(&mut self, now: Now, id: &DocId, theirs: VersionVector, imported: Imported) {
        let Some(doc) = self.docs.get_mut(id) else { return };
        if let Phase::Open { sent, .. } = &mut doc.remote.phase {
            sent.merge(&theirs);
        }
        let theirs = theirs.iter().filter(|(peer, _)| !imported.split.contains_key(peer)).collect();
        doc.acknowledge(now, &theirs);
        for block in imported.applied {
            doc.keep(block, false);
        }
        self.outputs.push_back(Output::Work);
        if doc.content.borrow().pending_count() > 0 && !planted!(ForgetsWhatWaits) {
            doc.remote.recheck_at.get_or_insert(now.ms + RECHECK_MS);
        }
        let waiting = std::mem::take(&mut doc.waiting);
        for (peer, seq) in imported.conflicts {
            self.conflict(now, id, peer, seq);
        }
        if !waiting.is_empty() {
            let waiting = waiting.into_iter().map(|(_, block)| block).collect();
            self.import_from_tab(now, id, waiting, false, Origin::OtherTab);
        }
        self.announce_unstored(now, id);
    }
}
