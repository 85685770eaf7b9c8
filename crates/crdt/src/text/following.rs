//! The way to all that is about marks from code that every program has.

use crate::cell_log::CellLog;
use crate::container::{ContainerId, ContainerIx};
use crate::graph::{Graph, Lv};
use crate::patch::Patch;
use crate::sorting::sort_by;
use crate::text::holding::Holding;
use crate::text::marking::{bring_back, take_back};
use crate::text::marks::{Values, changes, marks_from, patches_of, values_in};
use crate::text::places::{Edit, Marks};
use crate::text::{Runs, TextState};
use crate::transaction::Transaction;
use crate::undo::undoes;

/// What knows about marks, for who asks: see [`crate::container::Followed`].
pub(crate) trait FollowMarks: Sync {
    /// Has what is known of marks go with an edit.
    fn follow(&self, marks: &mut Marks, edit: Edit);

    /// What marks from `start` on changed.
    fn changes(
        &self,
        id: &ContainerId,
        state: &mut TextState,
        log: &CellLog,
        graph: &Graph,
        runs: &Runs,
        start: Lv,
    ) -> Vec<Patch>;

    /// Takes back marks that we made one after the other, the last one first.
    fn take_back(&self, tx: &mut Transaction<'_>, index: ContainerIx, marks: &[Lv]);

    /// Gives characters that are back, as runs of ids, the marks that they had.
    fn bring_back(&self, tx: &mut Transaction<'_>, index: ContainerIx, back: &[(Lv, u32)]);
}

pub(crate) struct AllMarks;

impl FollowMarks for AllMarks {
    fn follow(&self, marks: &mut Marks, edit: Edit) {
        marks.go_with(edit);
    }

    fn changes(
        &self,
        id: &ContainerId,
        state: &mut TextState,
        log: &CellLog,
        graph: &Graph,
        runs: &Runs,
        start: Lv,
    ) -> Vec<Patch> {
        let new = marks_from(log, start);
        let mut patches = Vec::new();
        if new.is_empty() {
            return patches;
        }
        let known = state.marks.take();
        let mut known = known.unwrap_or_else(|| state.known_of(log, graph, runs, start));
        let mut places = state.places_of(&new, graph, runs);
        sort_by(&mut places, |(a, hold), (b, other)| (a, hold) < (b, other));
        for of_key in places.chunk_by(|(a, _), (b, _)| a == b) {
            let key = of_key[0].0;
            let mut touched: Vec<(u32, u32)> = Vec::new();
            for (_, (start, end, _)) in of_key {
                match touched.last_mut() {
                    _ if start >= end => {}
                    Some(last) if *start <= last.1 => last.1 = last.1.max(*end),
                    _ => touched.push((*start, *end)),
                }
            }
            let values = |held: &Holding| {
                let mut values = Values::new();
                for range in &touched {
                    values.append(&mut values_in(log, held.of(key), *range));
                }
                values
            };
            let before = values(&known.held);
            of_key.iter().for_each(|place| known.lay(graph, *place));
            let told = changes(&before, &values(&known.held));
            if !told.is_empty() {
                patches.append(&mut patches_of(id, state.marks.keys.get(key), told));
            }
        }
        state.marks.put_back(known);
        patches
    }

    fn take_back(&self, tx: &mut Transaction<'_>, index: ContainerIx, marks: &[Lv]) {
        if undoes() {
            take_back(tx, index, marks);
        }
    }

    fn bring_back(&self, tx: &mut Transaction<'_>, index: ContainerIx, back: &[(Lv, u32)]) {
        if undoes() {
            bring_back(tx, index, back);
        }
    }
}
