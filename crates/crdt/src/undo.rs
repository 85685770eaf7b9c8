//! Undo and redo of this replica's own edits, over every type.
//!
//! Each transaction leaves the inverses of its edits. Undoing applies them as a new change, so
//! others merge it like any edit; redo is the undo of that change. Work of others is never undone:
//! a cell is put back only while its value is still ours, and text that someone else deleted too
//! stays deleted.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::doc::{Commit, Doc};
use crate::id::{OpId, PeerId, RowId};
use crate::op::ContainerId;
use crate::text::Hidden;
use crate::transaction::Transaction;
use crate::value::Value;

/// Typing in one text with pauses shorter than this is one step.
const GROUP_MS: u64 = 500;

/// A step with this many edits is full; further typing starts another.
const STEP_EDITS_MAX: usize = 1_000;

/// Older steps than this many are forgotten.
const STEPS_MAX: usize = 1_000;

#[derive(Clone, Debug)]
pub(crate) enum Inverse {
    Register { name: Arc<str>, previous: Option<Value> },
    MapEntry { map: Arc<str>, key: Arc<str>, previous: Option<Value> },
    Cell { table: Arc<str>, row: RowId, field: Arc<str>, previous: Option<Value> },
    RowAlive { table: Arc<str>, row: RowId, before: bool },
    Counter { id: ContainerId, delta: i64 },
    TextInserted { text: ContainerId, id: OpId, len: u32 },
    TextHidden { text: ContainerId, hidden: Vec<Hidden> },
}

#[derive(Debug)]
struct Step {
    wall_ms: u64,
    inverses: Vec<Inverse>,
    /// Nothing but edits of one text: more typing may join.
    is_typing: bool,
}

/// Characters that an undo brought back under new ids.
#[derive(Clone, Copy, Debug)]
struct Reborn {
    old: OpId,
    len: u32,
    new: OpId,
}

#[derive(Debug, Default)]
pub(crate) struct Undo {
    /// Every peer that this replica has written as.
    peers: BTreeSet<PeerId>,
    done: Vec<Step>,
    undone: Vec<Step>,
    reborn: Vec<Reborn>,
}

impl Undo {
    pub(crate) fn record(&mut self, peer: PeerId, wall_ms: u64, inverses: Vec<Inverse>) {
        if inverses.is_empty() {
            return;
        }
        self.peers.insert(peer);
        let may_group = self.undone.is_empty();
        self.undone.clear();
        if let Some(last) = self.done.last_mut()
            && may_group
            && last.inverses.len() < STEP_EDITS_MAX
            && wall_ms.saturating_sub(last.wall_ms) < GROUP_MS
            && last.is_typing
            && is_typing_in_one_text(last.inverses.last().into_iter().chain(&inverses))
        {
            last.wall_ms = wall_ms;
            last.inverses.extend(inverses);
            return;
        }
        let is_typing = is_typing_in_one_text(inverses.iter());
        self.done.push(Step { wall_ms, inverses, is_typing });
        if self.done.len() > STEPS_MAX {
            self.done.remove(0);
        }
    }

    /// The id that a character brought back by an undo had before.
    fn earlier_life(&self, id: OpId) -> Option<OpId> {
        self.reborn.iter().find_map(|reborn| {
            let offset = id.seq.checked_sub(reborn.new.seq)?;
            let inside = id.peer == reborn.new.peer && offset < reborn.len;
            inside.then(|| reborn.old.plus(offset))
        })
    }

    /// A run of characters under every id it has had.
    fn lives_of(&self, id: OpId, len: u32) -> Vec<(OpId, u32)> {
        let mut lives = vec![(id, len)];
        // A rebirth is recorded after the life it follows, so one pass in order finds them all.
        for reborn in &self.reborn {
            for life in 0..lives.len() {
                let (id, len) = lives[life];
                let start = id.seq.max(reborn.old.seq);
                let end = (id.seq + len).min(reborn.old.seq + reborn.len);
                if id.peer == reborn.old.peer && start < end {
                    lives.push((reborn.new.plus(start - reborn.old.seq), end - start));
                }
            }
        }
        lives
    }
}

fn is_typing_in_one_text<'a>(inverses: impl Iterator<Item = &'a Inverse>) -> bool {
    let mut text = None;
    for inverse in inverses {
        let (Inverse::TextInserted { text: id, .. } | Inverse::TextHidden { text: id, .. }) =
            inverse
        else {
            return false;
        };
        if *text.get_or_insert(id) != id {
            return false;
        }
    }
    true
}

impl Doc {
    /// Undoes this replica's last step that still has an effect, as a new change; `None` if there
    /// is none. `wall_ms` is the current time in milliseconds since the Unix epoch.
    ///
    /// ```
    /// use leptos_sync_crdt::{Doc, PeerId};
    /// let mut doc = Doc::new(PeerId(1));
    /// doc.transact(0, |tx| tx.map("m").set("colour", "red"));
    /// doc.transact(0, |tx| tx.map("m").set("colour", "blue"));
    /// doc.undo(0);
    /// assert_eq!(doc.map("m").get("colour"), Some(&"red".into()));
    /// doc.redo(0);
    /// assert_eq!(doc.map("m").get("colour"), Some(&"blue".into()));
    /// ```
    pub fn undo(&mut self, wall_ms: u64) -> Option<Commit> {
        while let Some(step) = self.undo.done.pop() {
            let (commit, inverses) = self.apply_step(wall_ms, step);
            if commit.is_some() {
                self.undo.undone.push(Step { wall_ms: 0, inverses, is_typing: false });
                return commit;
            }
        }
        None
    }

    /// Redoes what was undone last, as a new change; `None` if there is nothing. A new local edit
    /// forgets what was undone.
    pub fn redo(&mut self, wall_ms: u64) -> Option<Commit> {
        while let Some(step) = self.undo.undone.pop() {
            let (commit, inverses) = self.apply_step(wall_ms, step);
            if commit.is_some() {
                self.undo.done.push(Step { wall_ms: 0, inverses, is_typing: false });
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

    fn apply_step(&mut self, wall_ms: u64, step: Step) -> (Option<Commit>, Vec<Inverse>) {
        let mut undo = std::mem::take(&mut self.undo);
        undo.peers.insert(self.peer());
        let mut tx = Transaction::new(self, wall_ms);
        for inverse in step.inverses.into_iter().rev() {
            inverse.apply(&mut tx, &mut undo);
        }
        let result = tx.finish();
        self.undo = undo;
        result
    }
}

impl Inverse {
    fn apply(self, tx: &mut Transaction<'_>, undo: &mut Undo) {
        match self {
            Self::Register { name, previous } => {
                let register = tx.doc().state.registers.get(&name);
                if register.is_some_and(|register| undo.peers.contains(&register.peer())) {
                    tx.register(&name).set(previous.unwrap_or_default());
                }
            }
            Self::MapEntry { map, key, previous } => {
                let register = tx.doc().map(&map).register(&key);
                if register.is_some_and(|register| undo.peers.contains(&register.peer())) {
                    tx.map(&map).write(&key, previous);
                }
            }
            Self::Cell { table, row, field, previous } => {
                let cell =
                    tx.doc().table(&table).row(row).and_then(|row| row.cells.register(&field));
                let ours = cell.is_some_and(|cell| undo.peers.contains(&cell.peer()));
                if ours && tx.doc().table(&table).contains(row) {
                    let previous = previous.unwrap_or_default();
                    tx.table(&table).set(row, &field, previous).expect("the row is known");
                }
            }
            Self::RowAlive { table, row, before } => {
                let known = tx.doc().table(&table).row(row);
                if known.is_some_and(|row| undo.peers.contains(&row.alive.peer())) {
                    let mut rows = tx.table(&table);
                    let written = if before { rows.restore(row) } else { rows.remove(row) };
                    written.expect("the row is known");
                }
            }
            Self::Counter { id, delta } => tx.counter(id).add(delta.wrapping_neg()),
            Self::TextInserted { text, id, len } => {
                for (id, len) in undo.lives_of(id, len) {
                    for (pos, len) in tx.doc().text(&text).shown_ranges(id, len) {
                        let deleted = tx.text(&text).delete(pos as usize, len as usize);
                        deleted.expect("the range is shown");
                    }
                }
            }
            Self::TextHidden { text, hidden } => {
                for hidden in hidden {
                    for run in tx.doc().text(&text).hidden_only_by(&hidden, &undo.peers) {
                        bring_back(tx, undo, &text, &run);
                    }
                }
            }
        }
    }
}

fn bring_back(tx: &mut Transaction<'_>, undo: &mut Undo, text: &ContainerId, run: &Hidden) {
    let later_lives = |id, len| undo.lives_of(id, len).split_off(1);
    let is_later_life = |id| undo.earlier_life(id).is_some();
    let mut first = run.id;
    while let Some(earlier) = undo.earlier_life(first) {
        first = earlier;
    }
    let pos = tx.doc().text(text).return_position(first, later_lives, is_later_life);
    let new = tx.next_id();
    tx.text(text).insert(pos, &run.content).expect("a tombstone's position is in range");
    let len = run.content.chars().count() as u32;
    undo.reborn.push(Reborn { old: run.id, len, new });
}
