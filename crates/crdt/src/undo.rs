//! Undo and redo of this replica's own edits, over every type.
//!
//! Each transaction leaves the inverses of its edits. Undoing applies them as a new change, so
//! others merge it like any edit; redo is the undo of that change. Work of others is never undone:
//! a cell is put back only while its value is still ours, a mark where it still holds, and text
//! that someone else deleted too stays deleted.

use std::cell::RefMut;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::container::{ContainerIx, Containers, Content, FOLLOWED};
use crate::doc::{Commit, Doc};
use crate::graph::Lv;
use crate::id::PeerId;
use crate::import::intern_name;
use crate::names::NameIx;
use crate::rope::{cut, cut_at_scalar};
use crate::search::Search;
use crate::sorting::sort;
use crate::text::{Hidden, HiddenByOthers, Rebirths, Reborn, Tracker};
use crate::transaction::Transaction;
use crate::value::Value;

/// Typing in one text with pauses shorter than this is one step.
const GROUP_MS: u64 = 500;

/// A step with this many edits apart is full; further typing starts another.
const STEP_EDITS_MAX: usize = 1_000;

/// Older steps than this many are forgotten.
const STEPS_MAX: usize = 1_000;

/// Whether this program has undone something. An app without undo has no code that sets it, so a
/// compiler that sees the whole app knows what it is, and leaves out what asks for it.
static UNDOES: AtomicBool = AtomicBool::new(false);

/// Whether this program undoes. What only undo needs, of types that not every app has, asks first:
/// see [`crate::container::Followed`].
pub(crate) fn undoes() -> bool {
    UNDOES.load(Ordering::Relaxed)
}

/// How to undo an edit. Values that were overwritten are named by the operation that wrote them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Inverse {
    Register {
        index: ContainerIx,
        previous: Option<Lv>,
    },
    MapEntry {
        index: ContainerIx,
        key: NameIx,
        previous: Option<Lv>,
    },
    Cell {
        index: ContainerIx,
        row: Lv,
        field: NameIx,
        previous: Lv,
    },
    /// Whether rows that were inserted one after the other were alive.
    RowsAlive {
        index: ContainerIx,
        start: Lv,
        len: u32,
        before: bool,
    },
    Counter {
        index: ContainerIx,
        delta: i64,
    },
    /// What was inserted or deleted. What was deleted stands in the step's content from that byte
    /// on.
    Text {
        index: ContainerIx,
        start: Lv,
        len: u32,
        is_deleted: bool,
        content: usize,
    },
    ListInserted {
        index: ContainerIx,
        start: Lv,
        len: u32,
    },
    ListDeleted {
        index: ContainerIx,
        start: Lv,
        len: u32,
    },
    Element {
        index: ContainerIx,
        element: Lv,
        previous: Lv,
    },
    Node {
        index: ContainerIx,
        node: Lv,
        previous: Option<Lv>,
    },
    /// The operation that marked.
    Marked {
        index: ContainerIx,
        lv: Lv,
    },
}

#[derive(Debug, Default)]
struct Step {
    wall_ms: u64,
    /// The first operation.
    start: Lv,
    inverses: Vec<Inverse>,
    content: String,
    /// Nothing but edits of one text: more typing may join.
    typing_in: Option<ContainerIx>,
}

impl Step {
    fn push(&mut self, new: Inverse) {
        match (self.inverses.last_mut(), new) {
            (
                Some(Inverse::RowsAlive { index: i, start, len, before: were }),
                Inverse::RowsAlive { index, start: next, len: more, before },
            ) if *i == index && *were == before && *start + *len == next => *len += more,
            (
                Some(Inverse::Text { index: i, start, len, is_deleted: was, .. }),
                Inverse::Text { index, start: next, len: more, is_deleted, .. },
            ) if *i == index && *was == is_deleted && *start + *len == next => *len += more,
            (
                Some(Inverse::ListInserted { index: i, start, len }),
                Inverse::ListInserted { index, start: next, len: more },
            )
            | (
                Some(Inverse::ListDeleted { index: i, start, len }),
                Inverse::ListDeleted { index, start: next, len: more },
            ) if *i == index && *start + *len == next => *len += more,
            _ => self.inverses.push(new),
        }
    }

    /// Adds the edits of another step, which is empty then.
    #[inline]
    fn append(&mut self, other: &mut Self) {
        for inverse in &mut other.inverses {
            if let Inverse::Text { content, .. } = inverse {
                *content += self.content.len();
            }
            self.push(*inverse);
        }
        other.inverses.clear();
        if !other.content.is_empty() {
            self.content.push_str(&other.content);
            other.content.clear();
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Undo {
    /// Every peer that this replica has written as.
    peers: Vec<PeerId>,
    done: VecDeque<Step>,
    undone: Vec<Step>,
    pub(crate) reborn: Rebirths,
    /// The edits of the transaction in progress.
    open: Step,
    /// What others deleted in texts and lists that the step in progress brings something back to,
    /// by container.
    others: Vec<(ContainerIx, HiddenByOthers)>,
}

impl Undo {
    pub(crate) fn note(&mut self, inverse: Inverse) {
        self.open.typing_in = None;
        self.open.push(inverse);
    }

    pub(crate) fn note_inserted(&mut self, index: ContainerIx, start: Lv, len: u32) {
        self.note_text(index, Inverse::Text { index, start, len, is_deleted: false, content: 0 });
    }

    /// Notes a deletion; what it deletes is to be appended to the result.
    pub(crate) fn note_deleted(&mut self, index: ContainerIx, start: Lv, len: u32) -> &mut String {
        let content = self.open.content.len();
        self.note_text(index, Inverse::Text { index, start, len, is_deleted: true, content });
        &mut self.open.content
    }

    fn note_text(&mut self, index: ContainerIx, inverse: Inverse) {
        let is_same = self.open.inverses.is_empty() || self.open.typing_in == Some(index);
        self.open.typing_in = is_same.then_some(index);
        self.open.push(inverse);
    }

    fn others_at(&self, at: usize) -> &HiddenByOthers {
        &self.others[at].1
    }

    pub(crate) fn is_ours(&self, peer: PeerId) -> bool {
        self.peers.contains(&peer)
    }

    fn note_peer(&mut self, peer: PeerId) {
        if !self.is_ours(peer) {
            self.peers.push(peer);
        }
    }

    /// Forgets the transaction in progress. None that undoes something is ever given up, so nothing
    /// was brought back in it.
    pub(crate) fn forget_open(&mut self) {
        self.open = Step::default();
    }

    /// Makes the transaction's edits a step, or part of the last one.
    pub(crate) fn record(&mut self, peer: PeerId, wall_ms: u64, commit: Option<Commit>) {
        let Some(commit) = commit.filter(|_| !self.open.inverses.is_empty()) else { return };
        self.open.start = commit.start;
        self.note_peer(peer);
        let may_group = self.undone.is_empty();
        self.undone.clear();
        match self.done.back_mut() {
            Some(last)
                if may_group
                    && self.open.typing_in.is_some()
                    && last.typing_in == self.open.typing_in
                    && last.inverses.len() < STEP_EDITS_MAX
                    && wall_ms.saturating_sub(last.wall_ms) < GROUP_MS =>
            {
                last.wall_ms = wall_ms;
                last.append(&mut self.open);
            }
            _ => {
                let step = std::mem::take(&mut self.open);
                self.done.push_back(Step { wall_ms, ..step });
                if self.done.len() > STEPS_MAX {
                    self.done.pop_front();
                }
            }
        }
    }
}

impl Doc {
    /// Undoes this replica's last step that still has an effect, as a new change; `None` if there
    /// is none. `wall_ms` is the current time in milliseconds since the Unix epoch.
    ///
    /// Text that comes back has the marks that it had, unless this program has never written or
    /// asked for marks: then it comes back without those that others put on it. A register or a
    /// row's field that had never been set before holds [`Value::Null`] then, since nothing can
    /// unset it; an entry of a map is removed.
    ///
    /// ```
    /// use leptos_sync_crdt::{Doc, PeerId};
    /// let mut doc = Doc::new(PeerId(1));
    /// doc.transact(0, |tx| tx.map("m").set("colour", "red"));
    /// doc.transact(0, |tx| tx.map("m").set("colour", "blue"));
    /// doc.undo(0);
    /// assert_eq!(doc.map("m").get("colour"), Some("red".into()));
    /// doc.redo(0);
    /// assert_eq!(doc.map("m").get("colour"), Some("blue".into()));
    /// ```
    pub fn undo(&mut self, wall_ms: u64) -> Option<Commit> {
        while let Some(step) = self.undo.done.pop_back() {
            let (commit, inverse) = self.apply_step(wall_ms, step);
            if commit.is_some() {
                self.undo.undone.push(inverse);
                return commit;
            }
        }
        None
    }

    /// Redoes what was undone last, as a new change; `None` if there is nothing. A new local edit
    /// forgets what was undone. `wall_ms` is the current time in milliseconds since the Unix epoch.
    pub fn redo(&mut self, wall_ms: u64) -> Option<Commit> {
        while let Some(step) = self.undo.undone.pop() {
            let (commit, inverse) = self.apply_step(wall_ms, step);
            if commit.is_some() {
                self.undo.done.push_back(inverse);
                return commit;
            }
        }
        None
    }

    /// Whether there is a step to undo.
    #[must_use]
    pub fn can_undo(&self) -> bool {
        !self.undo.done.is_empty()
    }

    /// Whether there is a step to redo.
    #[must_use]
    pub fn can_redo(&self) -> bool {
        !self.undo.undone.is_empty()
    }

    fn apply_step(&mut self, wall_ms: u64, step: Step) -> (Option<Commit>, Step) {
        UNDOES.store(true, Ordering::Relaxed);
        self.undo.note_peer(self.peer());
        let mut tx = Transaction::new(self, wall_ms);
        let mut inverses = step.inverses.iter().rev().peekable();
        while let Some(inverse) = inverses.next() {
            let Inverse::Marked { index, lv } = *inverse else {
                inverse.apply(&step.content, &mut tx);
                continue;
            };
            let mut marks = vec![lv];
            while let Some(Inverse::Marked { lv, .. }) = inverses
                .next_if(|next| matches!(next, Inverse::Marked { index: i, .. } if *i == index))
            {
                marks.push(*lv);
            }
            if let Some(followed) = FOLLOWED.marks.get() {
                followed.take_back(&mut tx, index, &marks);
            }
        }
        let commit = tx.finish();
        self.undo.others.clear();
        let start = commit.map_or(0, |commit| commit.start);
        (commit, Step { start, typing_in: None, ..std::mem::take(&mut self.undo.open) })
    }

    /// Makes undo work that was recorded before the document was trimmed, or read anew, when its
    /// containers were `old`. Steps from before the base are forgotten.
    pub(crate) fn carry_undo(&mut self, old: &Containers) {
        let base = self.history().graph.base();
        let Self { undo, containers, .. } = self;
        undo.done.retain(|step| step.start >= base);
        undo.undone.retain(|step| step.start >= base);
        for step in undo.done.iter_mut().chain(&mut undo.undone) {
            step.typing_in = step.typing_in.map(|index| containers.intern_as(old, index));
            step.inverses.iter_mut().for_each(|inverse| inverse.carry(old, containers));
        }
        undo.reborn.trim(base);
    }

    pub(crate) fn is_ours(&self, lv: Option<Lv>) -> bool {
        lv.is_some_and(|lv| self.undo.is_ours(self.history().graph.peer_of(lv)))
    }

    fn written(&self, index: ContainerIx, lv: Lv, field: Option<NameIx>) -> Option<Value> {
        self.containers.get(index).content.cells().value(lv, field)
    }
}

impl Inverse {
    /// Finds the container and the name again, by their numbers in others.
    fn carry(&mut self, old: &Containers, containers: &mut Containers) {
        let (Self::Register { index, .. }
        | Self::MapEntry { index, .. }
        | Self::Cell { index, .. }
        | Self::RowsAlive { index, .. }
        | Self::Counter { index, .. }
        | Self::Text { index, .. }
        | Self::ListInserted { index, .. }
        | Self::ListDeleted { index, .. }
        | Self::Element { index, .. }
        | Self::Node { index, .. }
        | Self::Marked { index, .. }) = self;
        let names = old.get(*index).content.names();
        *index = containers.intern_as(old, *index);
        let content = &mut containers.get_mut(*index).content;
        if let Self::MapEntry { key: name, .. } | Self::Cell { field: name, .. } = self {
            *name = intern_name(content, names.get(*name));
        }
    }

    fn apply(self, content: &str, tx: &mut Transaction<'_>) {
        match self {
            Self::Counter { index, delta } => tx.counter_at(index).add(delta.wrapping_neg()),
            Self::Text { index, start, len, is_deleted: false, .. } => {
                hide(tx, index, start, start + len);
            }
            Self::RowsAlive { index, start, len, before } => {
                (start..start + len).rev().for_each(|row| set_alive(tx, index, row, before));
            }
            Self::ListInserted { index, start, len } => remove(tx, index, start, start + len),
            Self::ListDeleted { index, start, len } => put_back(tx, index, start, start + len),
            Self::Text { index, start, len, content: from, .. } => {
                let (_, text) = cut(content, from);
                let (text, _) = cut_at_scalar(text, len as usize);
                let mut back = Vec::new();
                let others = tx.doc_mut().hidden_by_others(index);
                let doc = tx.doc();
                let others = doc.undo.others_at(others);
                let hidden = doc.whole(index).hidden_by_us(start, text, others);
                for hidden in hidden {
                    back.push(bring_back(tx, index, start, hidden));
                }
                if let Some(marks) = FOLLOWED.marks.get() {
                    marks.bring_back(tx, index, &back);
                }
            }
            _ => self.apply_to_cell(tx),
        }
    }

    fn apply_to_cell(self, tx: &mut Transaction<'_>) {
        match (self, self.content(tx.doc())) {
            (Self::Register { index, previous }, Some(Content::Register(_, state)))
                if tx.doc().is_ours(state.winner) =>
            {
                let value = previous.and_then(|lv| tx.doc().written(index, lv, None));
                tx.register_at(index).set(value.unwrap_or_default());
            }
            (Self::MapEntry { index, key, previous }, Some(Content::Map(_, state)))
                if tx.doc().is_ours(state.held[key as usize].map(|held| held.lv)) =>
            {
                let value = previous.and_then(|lv| tx.doc().written(index, lv, None));
                tx.map_at(index).write(key, value);
            }
            (Self::Cell { index, row, field, previous }, Some(Content::Table(_, state)))
                if state.is_alive(row) && tx.doc().is_ours(Some(state.holder(row, field))) =>
            {
                let value = tx.doc().written(index, previous, Some(field));
                tx.table_at(index).write(row, field, value.unwrap_or_default());
            }
            (Self::Element { index, element, previous }, Some(Content::List(log, state)))
                if tx.doc().is_ours(Some(state.holder(element))) =>
            {
                let value = log.value(previous, None).unwrap_or_default();
                tx.list_at(index).replace(element, value);
            }
            (Self::Node { index, node, previous }, Some(Content::Tree(..))) => {
                if let Some(trees) = FOLLOWED.trees.get() {
                    trees.put_back(tx.tree_at(index), node, previous);
                }
            }
            _ => {}
        }
    }

    fn content(self, doc: &Doc) -> Option<&Content> {
        let (Self::Register { index, .. }
        | Self::MapEntry { index, .. }
        | Self::Element { index, .. }
        | Self::Node { index, .. }
        | Self::Cell { index, .. }) = self
        else {
            return None;
        };
        Some(&doc.containers.get(index).content)
    }
}

/// Removes a row or brings it back, unless someone else did so since.
fn set_alive(tx: &mut Transaction<'_>, index: ContainerIx, row: Lv, alive: bool) {
    match &tx.doc().containers.get(index).content {
        Content::Table(_, state) if tx.doc().is_ours(Some(state.decided(row))) => {}
        _ => return,
    }
    if alive {
        tx.table_at(index).restore_at(row);
    } else {
        tx.table_at(index).remove_at(row);
    }
}

/// Deletes what is shown of a run of characters, under every id it has had.
fn hide(tx: &mut Transaction<'_>, index: ContainerIx, start: Lv, end: Lv) {
    for (start, end) in tx.doc().undo.reborn.lives_of(start, end) {
        let mut shown = tx.doc().whole(index).shown(start, end);
        // From the right, so that the positions of the others stay true.
        sort(&mut shown);
        for (pos, len) in shown.into_iter().rev() {
            let deleted = tx.text_at(index).delete(pos as usize, len as usize);
            debug_assert!(deleted.is_ok(), "the range is shown");
        }
    }
}

/// Removes what is in a run of slots, under every name they have had.
fn remove(tx: &mut Transaction<'_>, index: ContainerIx, start: Lv, end: Lv) {
    for (start, end) in tx.doc().undo.reborn.lives_of(start, end) {
        let mut there = tx.doc().whole(index).shown(start, end);
        // From the right, so that the positions of the others stay true.
        sort(&mut there);
        for (pos, len) in there.into_iter().rev() {
            tx.list_at(index).remove_slots(pos, len);
        }
    }
}

/// Puts back the elements whose slots our deletions took out, unless someone else moved them on.
fn put_back(tx: &mut Transaction<'_>, index: ContainerIx, start: Lv, end: Lv) {
    let others = tx.doc_mut().hidden_by_others(index);
    let doc = tx.doc();
    let slots = doc.whole(index).slots_hidden_by_us(start, end, doc.undo.others_at(others));
    for slot in slots {
        let Content::List(_, state) = &tx.doc().containers.get(index).content else { return };
        let Some(element) = state.element_of(slot) else { continue };
        let holding = state.slot_of(element);
        if holding != slot && !tx.doc().is_ours(Some(holding)) {
            continue;
        }
        let pos = tx.doc().return_position(index, slot);
        let new = tx.list_at(index).place(pos, element);
        tx.doc_mut().undo.reborn.push(Reborn { old: slot, len: 1, new, deleted: start });
    }
}

/// Inserts characters that were deleted again; returns their new ids, as the first and how many.
fn bring_back(tx: &mut Transaction<'_>, index: ContainerIx, deleted: Lv, run: Hidden) -> (Lv, u32) {
    let pos = tx.doc().return_position(index, run.id);
    let new = tx.doc().history().graph.end();
    let inserted = tx.text_at(index).insert(pos as usize, &run.content);
    debug_assert!(inserted.is_ok(), "tombstones are in range");
    let len = run.content.chars().count() as u32;
    tx.doc_mut().undo.reborn.push(Reborn { old: run.id, len, new, deleted });
    (new, len)
}

impl Doc {
    /// The tracker of a whole text or list.
    pub(crate) fn whole(&self, index: ContainerIx) -> RefMut<'_, Tracker> {
        let (graph, runs) = (&self.history().graph, self.history().runs(index));
        match &self.containers.get(index).content {
            Content::Text(_, state) => state.whole(graph, runs),
            Content::List(_, state) => state.merger.whole(graph, runs, state.slots.len()),
            _ => unreachable!("only texts and lists have trackers"),
        }
    }

    /// Where a character or slot comes back.
    fn return_position(&self, index: ContainerIx, id: Lv) -> u32 {
        let reborn = &self.undo.reborn;
        let earlier = |id: &Lv| Some(reborn.earlier_life(*id)?.0);
        let whole = self.whole(index);
        // What was trimmed away is no place to come back to.
        let lives = std::iter::successors(Some(id), earlier).filter(|id| whole.tracks(*id));
        whole.return_position(lives.last().unwrap_or(id), reborn)
    }

    /// Finds out what others deleted in a text or list, once in a step; returns its place in the
    /// list.
    fn hidden_by_others(&mut self, index: ContainerIx) -> usize {
        let at = self.undo.others.count_while(|(other, _)| *other < index);
        if self.undo.others.get(at).is_none_or(|(other, _)| *other != index) {
            let ours = |peer| self.undo.is_ours(peer);
            let others = self.whole(index).hidden_by_others(&self.history().graph, &ours);
            self.undo.others.insert(at, (index, others));
        }
        at
    }
}
