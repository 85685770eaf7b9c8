//! The way to all that is about marks from code that every program has.

use crate::cell_log::CellLog;
use crate::container::{ContainerId, ContainerIx};
use crate::gather::Gather;
use crate::graph::{Graph, Lv};
use crate::names::NameIx;
use crate::patch::Patch;
use crate::sorting::sort_set;
use crate::text::marking::{bring_back, take_back};
use crate::text::marks::{changes, marks_from, patches_of, values_of};
use crate::text::{Runs, TextState};
use crate::transaction::Transaction;
use crate::undo::undoes;

/// What knows about marks, for who asks: see [`crate::container::Followed`].
pub(crate) trait FollowMarks: Sync {
    /// What marks from `start` on changed.
    fn changes(
        &self,
        id: &ContainerId,
        state: &TextState,
        log: &CellLog,
        graph: &Graph,
        runs: &Runs,
        start: Lv,
    ) -> Vec<Patch>;

    /// Takes back a mark that we made.
    fn take_back(&self, tx: &mut Transaction<'_>, index: ContainerIx, lv: Lv);

    /// Gives characters that are back, as runs of ids, the marks that they had.
    fn bring_back(&self, tx: &mut Transaction<'_>, index: ContainerIx, back: &[(Lv, u32)]);
}

pub(crate) struct AllMarks;

impl FollowMarks for AllMarks {
    fn changes(
        &self,
        id: &ContainerId,
        state: &TextState,
        log: &CellLog,
        graph: &Graph,
        runs: &Runs,
        start: Lv,
    ) -> Vec<Patch> {
        let mut keys: Vec<NameIx> =
            marks_from(log, start).into_iter().map(|(_, key, _)| key).gather();
        sort_set(&mut keys);
        let mut patches = Vec::new();
        if keys.is_empty() {
            return patches;
        }
        let before = state.held_by(log, graph, runs, &|lv| lv < start);
        let after = state.held(log, graph, runs);
        for key in keys {
            let [before, after] = [&before, after].map(|held| values_of(log, held.of(key)));
            let told = changes(&before, &after);
            patches.append(&mut patches_of(id, state.marks.keys.get(key), told));
        }
        patches
    }

    fn take_back(&self, tx: &mut Transaction<'_>, index: ContainerIx, lv: Lv) {
        if undoes() {
            take_back(tx, index, lv);
        }
    }

    fn bring_back(&self, tx: &mut Transaction<'_>, index: ContainerIx, back: &[(Lv, u32)]) {
        if undoes() {
            bring_back(tx, index, back);
        }
    }
}
