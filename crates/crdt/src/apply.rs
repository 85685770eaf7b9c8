//! Applying one operation to its container.

use crate::cells::{CellOp, RowRef};
use crate::container::{ContainerId, ContainerIx, Containers, Content, FOLLOWED};
use crate::graph::{Graph, Lv};
use crate::id::RowId;
use crate::names::NameIx;
use crate::patch::{ListDelta, Patch, RowChange};
use crate::tree::LazyTree;

/// Takes a write into its container's log and state, and says what changed, if there is a list for
/// that: what a local write changed is worked out when it is asked for.
pub(crate) fn apply_cell(
    containers: &mut Containers,
    graph: &Graph,
    index: ContainerIx,
    lv: Lv,
    op: &CellOp,
    mut patches: Option<&mut Vec<Patch>>,
) {
    let container = containers.get_mut(index);
    let (id, kind) = (&container.id, container.kind);
    let mut changed = |patch: &dyn Fn() -> Patch| {
        if let Some(patches) = &mut patches {
            patches.push(patch());
        }
    };
    match (&mut container.content, op) {
        (Content::Register(log, state), CellOp::Set(_)) => {
            log.push(lv, op);
            if state.write(graph, lv) {
                changed(&|| Patch::Register { id: id.clone() });
            }
        }
        (Content::Map(log, state), CellOp::Put { key, value }) => {
            log.push(lv, op);
            if state.write(graph, *key, lv, value.is_some()) {
                let key = state.names.get(*key);
                changed(&|| Patch::MapEntry { id: id.clone(), key: key.clone() });
            }
        }
        (Content::Counter(log, state), CellOp::Add(delta)) => {
            log.push(lv, op);
            state.add(*delta);
            changed(&|| Patch::Counter { id: id.clone() });
        }
        (Content::Table(log, _), _) => {
            log.push(lv, op);
            apply_row(containers, graph, index, lv, op, patches);
        }
        (Content::List(log, state), _) => {
            log.push(lv, op);
            let (taken, replaced) = state.write(graph, lv, op);
            if let Some(at) = taken {
                let delta = || ListDelta::at(at, ListDelta::Delete(1));
                changed(&|| Patch::List { id: id.clone(), kind, delta: delta() });
            }
            let shown = op.row().filter(|_| replaced).and_then(|element| state.index_of(element));
            if let Some(index) = shown {
                changed(&|| Patch::ListElement { id: id.clone(), index });
            }
        }
        // What it changes is known when its batch is merged.
        (Content::Text(log, _), CellOp::Mark { .. }) => log.push(lv, op),
        (Content::Tree(log, state), _) => {
            // It takes effect with the rest of its batch.
            match FOLLOWED.trees.get() {
                Some(trees) => trees.note(state, log, graph, lv, op),
                None => {
                    *state = LazyTree::default();
                    log.push(lv, op);
                }
            }
        }
        (Content::Unknown(log), _) => log.push(lv, op),
        _ => unreachable!("operations are checked against their container's kind"),
    }
}

fn apply_row(
    containers: &mut Containers,
    graph: &Graph,
    index: ContainerIx,
    lv: Lv,
    op: &CellOp,
    mut patches: Option<&mut Vec<Patch>>,
) {
    let container = containers.get_mut(index);
    let (ContainerId::Root(table), Content::Table(_, state)) =
        (&container.id, &mut container.content)
    else {
        return;
    };
    let mut changed = |row: Lv, change| {
        if let Some(patches) = &mut patches {
            let row = RowId(graph.id_of(row));
            patches.push(Patch::Row { table: table.clone(), row, change });
        }
    };
    match op {
        CellOp::Insert { .. } => {
            state.insert(lv);
            changed(lv, RowChange::Inserted);
        }
        CellOp::Cell { row: RowRef::Known(row), field, .. }
            if state.write(graph, *row, *field, lv) =>
        {
            changed(*row, RowChange::Field(state.names.get(*field).clone()));
        }
        CellOp::Remove { row: RowRef::Known(row) } if state.decide(graph, *row, lv, false) => {
            changed(*row, RowChange::Removed);
        }
        CellOp::Restore { row: RowRef::Known(row), fields } => {
            let is_back = state.decide(graph, *row, lv, true);
            let won: Vec<NameIx> = state.write_all(graph, *row, fields, lv);
            if is_back {
                changed(*row, RowChange::Restored);
            } else {
                for field in won {
                    changed(*row, RowChange::Field(state.names.get(field).clone()));
                }
            }
        }
        _ => {}
    }
}

/// What a local write changed; it overruled everything.
pub(crate) fn patch_of(
    containers: &Containers,
    graph: &Graph,
    index: ContainerIx,
    lv: Lv,
    op: &CellOp,
) -> Option<Patch> {
    let container = containers.get(index);
    let id = || container.id.clone();
    let (row, change) = match (&container.content, op) {
        (Content::Register(..), _) => return Some(Patch::Register { id: id() }),
        (Content::Map(_, state), CellOp::Put { key, .. }) => {
            return Some(Patch::MapEntry { id: id(), key: state.names.get(*key).clone() });
        }
        (Content::Counter(..), _) => return Some(Patch::Counter { id: id() }),
        (Content::Table(..), CellOp::Insert { .. }) => (lv, RowChange::Inserted),
        (Content::Table(_, state), CellOp::Cell { row: RowRef::Known(row), field, .. }) => {
            (*row, RowChange::Field(state.names.get(*field).clone()))
        }
        (_, CellOp::Remove { row: RowRef::Known(row) }) => (*row, RowChange::Removed),
        (_, CellOp::Restore { row: RowRef::Known(row), .. }) => (*row, RowChange::Restored),
        _ => return None,
    };
    let table = container.id.root_name().cloned().unwrap_or_default();
    Some(Patch::Row { table, row: RowId(graph.id_of(row)), change })
}
