//! Bringing along the work of a replica that was away longer than history is kept.
//!
//! Its changes follow versions that the trimmed document no longer has, so they are written again
//! on top of it. An edit keeps its target by id; where text or a list element goes is found by
//! walking the old replica's own sequence, which still has every character, to the nearest
//! neighbour that the trimmed document has too.

#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;

use crate::block::Block;
use crate::cells::{CellOp, RowRef};
use crate::codec::DecodeError;
use crate::container::{ContainerIx, ContainerKey, Content};
use crate::doc::Doc;
use crate::graph::Lv;
use crate::id::{OpId, PeerId};
use crate::import::intern_name;
use crate::op::{Action, Body};
use crate::past::PastError;
use crate::search::Search;
use crate::text::{Anchor, MarkRange, RunKind};
use crate::transaction::Transaction;
use crate::undo::Undo;

/// A replica's work on top of a document that it had lost touch with: see [`Doc::rebase`].
#[derive(Debug)]
pub struct Rebased {
    /// The trimmed document with the work in it.
    pub doc: Doc,
    /// What the trimmed document lacked, to be stored and sent.
    pub blocks: Vec<Block>,
    /// The rows, list elements and tree nodes that were inserted anew: what they were called
    /// before, and what they are called now.
    pub renamed: BTreeMap<OpId, OpId>,
}

/// Why a replica could not be rebased. It is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RebaseError {
    /// The snapshot does not decode.
    #[error("the snapshot is malformed")]
    Snapshot(#[from] DecodeError),
    /// The peer id has already written something, here or there.
    #[error("peer {0} has already written to this document")]
    PeerInUse(PeerId),
    /// The old replica was trimmed itself, and what the snapshot lacks is from before its base.
    #[error(transparent)]
    Past(#[from] PastError),
}

/// Every item of a sequence in order, and their places by id.
struct Order {
    items: Vec<(Lv, u32)>,
    sorted: Vec<usize>,
}

impl Order {
    fn of(doc: &Doc, index: ContainerIx) -> Self {
        let items: Vec<(Lv, u32)> =
            doc.whole(index).all_items().map(|(id, len, _)| (id, len)).collect();
        let mut sorted: Vec<usize> = (0..items.len()).collect();
        sorted.sort_unstable_by_key(|place| items[*place].0);
        Self { items, sorted }
    }

    fn place_of(&self, id: Lv) -> Option<usize> {
        let at = self.sorted.count_while(|place| self.items[*place].0 <= id);
        let place = self.sorted[at.checked_sub(1)?];
        (id < self.items[place].0 + self.items[place].1).then_some(place)
    }

    /// What is left of an item's part, and what is right of it, nearest first.
    fn around(
        &self,
        id: Lv,
    ) -> Option<(impl Iterator<Item = Lv> + use<'_>, impl Iterator<Item = Lv> + use<'_>)> {
        let place = self.place_of(id)?;
        let (first, len) = self.items[place];
        let before = self.items[..place].iter().rev().flat_map(|(id, len)| (*id..id + len).rev());
        let after = self.items[place + 1..].iter().flat_map(|(id, len)| *id..id + len);
        Some(((first..id).rev().chain(before), (id + 1..first + len).chain(after)))
    }
}

/// A sequence in both documents.
#[derive(Clone, Copy)]
struct Places {
    old: ContainerIx,
    new: ContainerIx,
}

struct Rebasing<'a> {
    old: &'a Doc,
    /// What operations of the old document are called in the new one, by the first of each run.
    again: BTreeMap<Lv, (u32, Lv)>,
    renamed: BTreeMap<OpId, OpId>,
    orders: BTreeMap<ContainerIx, Order>,
}

impl Doc {
    /// Loads a trimmed document and writes what this replica has and the snapshot lacks on top of
    /// it, as `peer`, which must not have written anything yet. Changes that were made with all of
    /// the snapshot's base in view are taken over as they are; others become new changes, one for
    /// one. Undo starts anew.
    ///
    /// Text goes next to its nearest neighbour that is left; deletions delete what is still there;
    /// values are set again, later than all that the snapshot has; counters are added to again;
    /// rows, elements and nodes are inserted under new names. No edit is lost unless what it is
    /// about is.
    ///
    /// Changes of others that only this replica received are brought along too. If their author
    /// does the same, they are there twice. `wall_ms` is the current time in milliseconds since the
    /// Unix epoch: new changes are of that time.
    ///
    /// ```
    /// use leptos_sync_crdt::{Doc, ImportError, PeerId};
    /// let mut server = Doc::new(PeerId(1));
    /// server.transact(0, |tx| tx.text("note").insert(0, "milk eggs")).0?;
    /// let mut phone = server.fork(PeerId(2));
    /// phone.transact(0, |tx| tx.text("note").insert(4, ",")).0?; // offline, for weeks
    ///
    /// server.transact(0, |tx| tx.text("note").insert(9, " bread")).0?;
    /// server.trim_history(&server.version().clone())?;
    /// let offline = phone.blocks_since(server.version());
    /// assert!(matches!(server.import(0, offline), Err(ImportError::Truncated { .. })));
    ///
    /// let rebased = phone.rebase(0, &server.encode_snapshot(), PeerId(3))?;
    /// server.import(0, rebased.blocks)?;
    /// assert_eq!(server.text("note").to_string(), "milk, eggs bread");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`RebaseError::Snapshot`] if the snapshot does not decode, [`RebaseError::PeerInUse`] if
    /// `peer` wrote something here or there, [`RebaseError::Past`] if this replica was trimmed and
    /// no longer has what the snapshot lacks. This replica stays as it was, errors or not.
    pub fn rebase(
        &self,
        wall_ms: u64,
        snapshot: &[u8],
        peer: PeerId,
    ) -> Result<Rebased, RebaseError> {
        let mut doc = Self::from_shallow_snapshot(peer, snapshot)?;
        let have = doc.version().clone();
        if have.get(peer) > 0 || self.version().get(peer) > 0 {
            return Err(RebaseError::PeerInUse(peer));
        }
        let history = self.history();
        let missing = history.graph.missing_from(&have);
        if missing.first().is_some_and(|(start, _)| *start < history.graph.base()) {
            return Err(PastError::Truncated.into());
        }
        let (again, orders) = (BTreeMap::new(), BTreeMap::new());
        let mut rebasing = Rebasing { old: self, again, renamed: BTreeMap::new(), orders };
        for (start, end) in missing {
            for (first, len, count) in history.transactions(start, end) {
                for start in (0..count).map(|i| first + i * len) {
                    rebasing.bring(&mut doc, wall_ms, start, len)?;
                }
            }
        }
        for block in &self.pending {
            // One that is of no use there is of no use here.
            let _ = doc.import(wall_ms, [block.clone()]);
        }
        doc.undo = Undo::default();
        let blocks = doc.blocks_since(&have);
        Ok(Rebased { doc, blocks, renamed: rebasing.renamed })
    }
}

impl Rebasing<'_> {
    /// Brings a transaction along: as it is if that is possible.
    fn bring(&mut self, doc: &mut Doc, wall_ms: u64, start: Lv, len: u32) -> Result<(), PastError> {
        let block = self.old.block_from(start, len);
        let header = block.header();
        let is_next = doc.version().get(header.peer) == header.seq;
        if is_next
            && header.deps.iter().all(|dep| doc.version().contains(*dep))
            && doc.import(u64::MAX, [block.clone()]).is_ok()
        {
            return Ok(());
        }
        // An applied block decodes, unless the document was loaded with an unsound log.
        let body = block.body().map_err(|_| PastError::Truncated)?;
        doc.transact(wall_ms, |tx| {
            let mut lv = start;
            for op in &body.ops {
                self.write_again(tx, &body, op.container, &op.action, lv);
                lv += op.len();
            }
        });
        Ok(())
    }

    /// What an operation of the old document is called in the new one, if it is there.
    fn here(&self, doc: &Doc, lv: Lv) -> Option<Lv> {
        if let Some((first, (len, new))) = self.again.range(..=lv).next_back()
            && lv - first < *len
        {
            return Some(new + (lv - first));
        }
        doc.history().graph.lv_of(self.old.history().graph.id_of(lv))
    }

    fn rename(&self, doc: &Doc, id: OpId) -> OpId {
        let here = self.old.history().graph.lv_of(id).and_then(|lv| self.here(doc, lv));
        here.map_or(id, |lv| doc.history().graph.id_of(lv))
    }

    /// Notes that operations were written again, from the new document's end as it was before.
    fn note(&mut self, doc: &Doc, lv: Lv, len: u32, new: Lv) {
        self.again.insert(lv, (len, new));
        let (old, now) = (&self.old.history().graph, &doc.history().graph);
        for i in 0..len {
            self.renamed.insert(old.id_of(lv + i), now.id_of(new + i));
        }
    }

    fn write_again(
        &mut self,
        tx: &mut Transaction<'_>,
        body: &Body,
        container: usize,
        action: &Action,
        lv: Lv,
    ) {
        let (kind, id) = &body.containers[container];
        let old = self.old.containers.find(*kind, &ContainerKey::Id(id));
        let Some(old) = old else { return };
        let id = id.map_ids(&|id| self.rename(tx.doc(), id));
        let new = tx.doc_mut().containers.intern(*kind, &ContainerKey::Owned(id));
        let at = Places { old, new };
        let end = tx.doc().history().graph.end();
        match action {
            Action::Text { kind: RunKind::Insert, len, content, .. } => {
                let Some(pos) = self.gap(tx.doc(), at, lv) else { return };
                tx.text_at(new).put(pos as usize, content);
                self.again.insert(lv, (*len, end));
            }
            Action::Text { len, .. } => {
                for (pos, len) in self.targets(tx.doc(), at, lv, *len) {
                    let deleted = tx.text_at(new).delete(pos as usize, len as usize);
                    deleted.expect("what is deleted is shown");
                }
            }
            Action::List { kind: RunKind::Insert, len, values, .. } => {
                let Some(pos) = self.gap(tx.doc(), at, lv) else { return };
                tx.list_at(new).insert_slots(pos, values.clone());
                self.note(tx.doc(), lv, *len, end);
            }
            Action::List { len, .. } => {
                for (pos, len) in self.targets(tx.doc(), at, lv, *len) {
                    tx.list_at(new).remove_slots(pos, len);
                }
            }
            Action::Move { element, .. } => {
                let pos = self.gap(tx.doc(), at, lv);
                let element = self.find(tx.doc(), new, *element);
                if let (Some(pos), RowRef::Known(element)) = (pos, element) {
                    tx.list_at(new).place(pos, element);
                    self.again.insert(lv, (1, end));
                }
            }
            Action::Cell(CellOp::Mark { key, range, value }) => {
                let Some(range) = self.range(tx.doc(), at, *range) else { return };
                let content = &mut tx.doc_mut().containers.get_mut(new).content;
                let key = intern_name(content, &body.names[*key as usize]);
                tx.text_at(new).mark_again(&CellOp::Mark { key, range, value: value.clone() });
            }
            Action::Cell(op) => self.write_cell(tx, body, new, op, lv),
        }
    }

    fn write_cell(
        &mut self,
        tx: &mut Transaction<'_>,
        body: &Body,
        index: ContainerIx,
        op: &CellOp,
        lv: Lv,
    ) {
        let op = op.clone().map_rows(&mut |row| self.find(tx.doc(), index, row));
        let content = &mut tx.doc_mut().containers.get_mut(index).content;
        let op = op.map_names(&mut |name| intern_name(content, &body.names[name as usize]));
        let end = tx.doc().history().graph.end();
        match (&op, op.row()) {
            (_, Some(RowRef::Stray(_))) => return,
            (CellOp::Replace { value, .. }, Some(RowRef::Known(element))) => {
                tx.list_at(index).replace(element, value.clone());
            }
            (CellOp::Create { .. } | CellOp::Place { .. }, _) => tx.tree_at(index).write_again(&op),
            (CellOp::Remove { .. }, _) if tx.doc().tree_state(Some(index)).is_some() => {
                tx.tree_at(index).write_again(&op);
            }
            _ => drop(tx.write(index, &op)),
        }
        if matches!(op, CellOp::Insert { .. } | CellOp::Create { .. }) {
            self.note(tx.doc(), lv, 1, end);
        }
    }

    /// What a row, element or node that an operation names is in the new document.
    fn find(&self, doc: &Doc, index: ContainerIx, row: RowRef) -> RowRef {
        let RowRef::Stray(id) = row else { return row };
        let renamed = self.rename(doc, id);
        let is_there = |lv: &Lv| match &doc.containers.get(index).content {
            Content::Table(_, state) => state.has_row(*lv),
            Content::List(log, _) => matches!(log.get(*lv), Some(CellOp::Set(_))),
            Content::Tree(log, _) => matches!(log.get(*lv), Some(CellOp::Create { .. })),
            _ => false,
        };
        let known = doc.history().graph.lv_of(renamed).filter(is_there);
        known.map_or(RowRef::Stray(renamed), RowRef::Known)
    }

    /// Where something that was inserted into a sequence goes: next to its nearest neighbour there
    /// is, on the left if there is one. None if it never was anywhere.
    fn gap(&mut self, doc: &Doc, at: Places, lv: Lv) -> Option<u32> {
        self.orders.entry(at.old).or_insert_with(|| Order::of(self.old, at.old));
        let (mut left, mut right) = self.orders[&at.old].around(lv)?;
        let whole = doc.whole(at.new);
        let find = |lv: Lv| {
            let here = self.here(doc, lv).filter(|here| whole.tracks(*here))?;
            Some(whole.position_of(here))
        };
        let after = left.find_map(find).map(|(pos, is_shown)| pos + u32::from(is_shown));
        Some(after.or_else(|| right.find_map(find).map(|(pos, _)| pos)).unwrap_or(0))
    }

    /// The range of a mark, from the first of its characters that is shown there to the last; none
    /// if none is.
    fn range(&mut self, doc: &Doc, at: Places, [start, end]: MarkRange) -> Option<MarkRange> {
        let start = match start {
            Anchor::Edge => Anchor::Edge,
            Anchor::Before(char) => Anchor::Before(self.nearest(doc, at, char, false)?),
            Anchor::After(char) => {
                self.nearest(doc, at, char, true).map_or(Anchor::Edge, Anchor::After)
            }
        };
        let end = match end {
            Anchor::Edge => Anchor::Edge,
            Anchor::Before(char) => {
                self.nearest(doc, at, char, false).map_or(Anchor::Edge, Anchor::Before)
            }
            Anchor::After(char) => Anchor::After(self.nearest(doc, at, char, true)?),
        };
        Some([start, end])
    }

    /// A character if it is shown there, or else the nearest one on its left or right.
    fn nearest(&mut self, doc: &Doc, at: Places, char: RowRef, is_left: bool) -> Option<RowRef> {
        let RowRef::Stray(id) = char else { return None };
        let lv = self.old.history().graph.lv_of(id)?;
        self.orders.entry(at.old).or_insert_with(|| Order::of(self.old, at.old));
        let (mut left, mut right) = self.orders[&at.old].around(lv)?;
        let whole = doc.whole(at.new);
        let shown = |lv: Lv| {
            let here = self.here(doc, lv).filter(|here| whole.tracks(*here))?;
            whole.position_of(here).1.then_some(here)
        };
        let beside = || if is_left { left.find_map(shown) } else { right.find_map(shown) };
        shown(lv).or_else(beside).map(RowRef::Known)
    }

    /// Where what deletions hid is still shown, as runs from the last to the first.
    fn targets(&self, doc: &Doc, at: Places, lv: Lv, len: u32) -> Vec<(u32, u32)> {
        let hidden = self.old.whole(at.old).hidden_by(lv, lv + len);
        let whole = doc.whole(at.new);
        let lowest = |(_, target, len, is_down): (Lv, Lv, u32, bool)| {
            let first = if is_down { target + 1 - len } else { target };
            first..first + len
        };
        let here = hidden.into_iter().flat_map(lowest).filter_map(|lv| self.here(doc, lv));
        let there = here.filter(|here| whole.tracks(*here)).map(|lv| whole.position_of(lv));
        let shown = there.filter(|(_, is_shown)| *is_shown);
        let mut positions: Vec<u32> = shown.map(|(pos, _)| pos).collect();
        positions.sort_unstable();
        positions.dedup();
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for pos in positions {
            match runs.last_mut() {
                Some((first, len)) if *first + *len == pos => *len += 1,
                _ => runs.push((pos, 1)),
            }
        }
        runs.reverse();
        runs
    }
}
