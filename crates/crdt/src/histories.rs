//! Random histories of several peers, checked against the naive model.

use proptest::prelude::*;

use crate::model::Model;
use crate::text::model::CharMarks;
use crate::text::tests::{MarkEdit, MarkView, mark_edit, marks_of, perform_mark};
use crate::tree;
use crate::{Block, ContainerId, Doc, Expand, PeerId, RowId, Value, VersionVector};

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Insert { pos: prop::sample::Index, content: String },
    Delete { pos: prop::sample::Index, len: usize },
    Set { key: u8, value: i64 },
    Unset { key: u8 },
    Register { value: i64 },
    Add { delta: i64 },
    NewRow { value: i64 },
    Cell { row: prop::sample::Index, field: u8, value: i64 },
    Vote { row: prop::sample::Index },
    Remove { row: prop::sample::Index },
    Restore { row: prop::sample::Index },
    Several { pos: prop::sample::Index, value: i64 },
    Put { at: prop::sample::Index, count: u8, value: i64 },
    Take { at: prop::sample::Index, len: usize },
    Move { from: prop::sample::Index, to: prop::sample::Index },
    Replace { at: prop::sample::Index, value: i64 },
    Tree(tree::Edit),
    Mark(MarkEdit),
    Undo,
    Redo,
    Pull { from: prop::sample::Index },
    Reload,
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        8 => (index(), "[a-zé😀]{1,4}").prop_map(|(pos, content)| Step::Insert { pos, content }),
        4 => (index(), 1usize..5).prop_map(|(pos, len)| Step::Delete { pos, len }),
        2 => (0u8..3, any::<i64>()).prop_map(|(key, value)| Step::Set { key, value }),
        1 => (0u8..3).prop_map(|key| Step::Unset { key }),
        1 => any::<i64>().prop_map(|value| Step::Register { value }),
        1 => (-9i64..9).prop_map(|delta| Step::Add { delta }),
        2 => any::<i64>().prop_map(|value| Step::NewRow { value }),
        2 => (index(), 0u8..3, any::<i64>())
            .prop_map(|(row, field, value)| Step::Cell { row, field, value }),
        1 => index().prop_map(|row| Step::Vote { row }),
        1 => index().prop_map(|row| Step::Remove { row }),
        1 => index().prop_map(|row| Step::Restore { row }),
        1 => (index(), any::<i64>()).prop_map(|(pos, value)| Step::Several { pos, value }),
        3 => (index(), 1u8..4, 0..100i64)
            .prop_map(|(at, count, value)| Step::Put { at, count, value }),
        2 => (index(), 1usize..4).prop_map(|(at, len)| Step::Take { at, len }),
        3 => (index(), index()).prop_map(|(from, to)| Step::Move { from, to }),
        1 => (index(), any::<i64>()).prop_map(|(at, value)| Step::Replace { at, value }),
        3 => tree::edit().prop_map(Step::Tree),
        5 => mark_edit().prop_map(Step::Mark),
        2 => Just(Step::Undo),
        1 => Just(Step::Redo),
        6 => index().prop_map(|from| Step::Pull { from }),
        1 => Just(Step::Reload),
    ]
}

/// Applies a step to one of the replicas; its wall clock moves by a step-dependent jitter.
pub(crate) fn run(docs: &mut [Doc], who: usize, step: &Step, wall_ms: u64) {
    let doc = &mut docs[who];
    let rows: Vec<RowId> = doc.table("t").known().collect();
    let row = |index: &prop::sample::Index| (!rows.is_empty()).then(|| *index.get(&rows));
    match step {
        Step::Insert { pos, content } => {
            let pos = pos.index(doc.text("x").len() + 1);
            doc.transact(wall_ms, |tx| tx.text("x").insert(pos, content)).0.unwrap();
        }
        Step::Delete { pos, len } => {
            let pos = pos.index(doc.text("x").len() + 1);
            let len = (*len).min(doc.text("x").len() - pos);
            doc.transact(wall_ms, |tx| tx.text("x").delete(pos, len)).0.unwrap();
        }
        Step::Set { key, value } => {
            doc.transact(wall_ms, |tx| tx.map("m").set(&key.to_string(), *value));
        }
        Step::Unset { key } => {
            doc.transact(wall_ms, |tx| tx.map("m").remove(&key.to_string()));
        }
        Step::Register { value } => {
            doc.transact(wall_ms, |tx| tx.register("r").set(*value));
        }
        Step::Add { delta } => {
            doc.transact(wall_ms, |tx| tx.counter("c").add(*delta));
        }
        Step::NewRow { value } => {
            doc.transact(wall_ms, |tx| tx.table("t").insert([("0", *value)]));
        }
        Step::Cell { row: index, field, value } => {
            let Some(row) = row(index) else { return };
            let field = field.to_string();
            doc.transact(wall_ms, |tx| tx.table("t").set(row, &field, *value)).0.unwrap();
        }
        Step::Vote { row: index } => {
            let Some(row) = row(index) else { return };
            doc.transact(wall_ms, |tx| tx.table("t").add(row, "votes", 1)).0.unwrap();
        }
        Step::Remove { row: index } => {
            let Some(row) = row(index) else { return };
            doc.transact(wall_ms, |tx| tx.table("t").remove(row)).0.unwrap();
        }
        Step::Restore { row: index } => {
            let Some(row) = row(index) else { return };
            doc.transact(wall_ms, |tx| tx.table("t").restore(row)).0.unwrap();
        }
        Step::Several { pos, value } => {
            let pos = pos.index(doc.text("x").len() + 1);
            let edited = doc.transact(wall_ms, |tx| {
                tx.text("x").insert(pos, "<>")?;
                tx.map("m").set("0", *value);
                tx.text("x").insert(pos + 1, "in")
            });
            edited.0.unwrap();
        }
        Step::Put { .. } | Step::Take { .. } | Step::Move { .. } | Step::Replace { .. } => {
            run_list(doc, step, wall_ms);
        }
        Step::Tree(edit) => tree::perform(doc, "o", edit, wall_ms),
        Step::Mark(edit) => perform_mark(doc, "x", edit, wall_ms),
        Step::Undo => drop(doc.undo(wall_ms)),
        Step::Redo => drop(doc.redo(wall_ms)),
        Step::Pull { from } => pull(docs, who, from.index(docs.len())),
        Step::Reload => {
            let peer = doc.peer();
            *doc = Doc::from_snapshot(peer, &doc.encode_snapshot()).unwrap();
        }
    }
}

/// Plain lists and movable ones: every step is taken in both, as far as each has it.
fn run_list(doc: &mut Doc, step: &Step, wall_ms: u64) {
    let len = doc.movable_list("l").len();
    let plain = doc.list("p").len();
    let edit = |tx: &mut crate::Transaction<'_>| match step {
        Step::Put { at, count, value } => {
            let values = (0..i64::from(*count)).map(|i| value + i);
            tx.movable_list("l").list.insert_all(at.index(len + 1), values.clone())?;
            tx.list("p").insert_all(at.index(plain + 1), values)
        }
        Step::Take { at, len: count } if len > 0 => {
            let from = at.index(len);
            tx.movable_list("l").remove_range(from, (*count).min(len - from))?;
            let from = at.index(plain + 1);
            tx.list("p").remove_range(from, (*count).min(plain - from))
        }
        Step::Move { from, to } if len > 0 => {
            tx.movable_list("l").move_to(from.index(len), to.index(len))
        }
        Step::Replace { at, value } if len > 0 => tx.movable_list("l").set(at.index(len), *value),
        _ => Ok(()),
    };
    doc.transact(wall_ms, edit).0.unwrap();
}

fn pull(docs: &mut [Doc], to: usize, from: usize) {
    let blocks = docs[from].blocks_since(docs[to].version());
    docs[to].import(u64::MAX >> 16, blocks).unwrap();
}

pub(crate) fn assert_is_model(doc: &Doc, model: &Model) {
    let text = ContainerId::root("x");
    assert_eq!(doc.text(&text).to_string(), model.text(&text));
    assert_eq!(doc.text(&text).len(), model.text(&text).chars().count());
    assert_eq!(doc.text(&text).len_utf16(), model.text(&text).encode_utf16().count());
    assert_eq!(marks_of(doc, "x"), model.marks(&text));
    assert_eq!(doc.register("r"), model.register("r").cloned());
    for (name, list) in [("p", doc.list("p")), ("l", doc.movable_list("l"))] {
        assert_eq!(list.iter().collect::<Vec<_>>(), model.list(&ContainerId::root(name)));
        assert_eq!(list.len(), list.iter().count());
    }
    for key in ["0", "1", "2"] {
        assert_eq!(doc.map("m").get(key), model.entry("m", key).cloned());
    }
    assert_eq!(tree::shown(doc, "o"), model.tree(&ContainerId::root("o")));
    for (id, value) in &model.counters {
        assert_eq!(doc.counter(id), *value);
    }
    let table = doc.table("t");
    for row in table.known() {
        assert_eq!(table.contains(row), model.is_alive("t", row));
        for field in ["0", "1", "2"] {
            assert_eq!(table.get(row, field), model.cell("t", row, field).cloned());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(400)
    ))]

    /// Whatever several peers do, apart and together, all replicas equal the model of the blocks
    /// that they have, in the middle and at the end.
    #[test]
    fn replicas_equal_the_model_of_their_blocks(
        peers in 2usize..6,
        steps in prop::collection::vec((any::<prop::sample::Index>(), step(), 0u64..9_000), 1..60),
    ) {
        // Peer ids are not in the order of the replicas, so that ties are broken both ways.
        let mut docs: Vec<Doc> =
            (0..peers).map(|i| Doc::new(PeerId((i as u64 * 7 + 3) % 11))).collect();
        for (who, step, wall_ms) in &steps {
            run(&mut docs, who.index(peers), step, *wall_ms);
        }
        for doc in &docs {
            assert_is_model(doc, &Model::of(&doc.blocks_since(&VersionVector::new())));
        }
        for round in 0..2 * peers {
            let (to, from) = (round % peers, (round + 1) % peers);
            pull(&mut docs, to, from);
            pull(&mut docs, to, (round + 2) % peers);
        }
        let all = docs[0].blocks_since(&VersionVector::new());
        let model = Model::of(&all);
        for doc in &docs {
            prop_assert_eq!(doc.version(), docs[0].version());
            assert_is_model(doc, &model);
        }
    }

    /// Blocks may arrive in any order, more than once, and one by one.
    #[test]
    fn delivery_order_and_duplicates_do_not_matter(
        steps in prop::collection::vec((any::<prop::sample::Index>(), step(), 0u64..9_000), 1..40),
        shuffled in any::<prop::sample::Index>(),
    ) {
        let mut docs: Vec<Doc> = (1..4).map(|i| Doc::new(PeerId(i))).collect();
        for (who, step, wall_ms) in &steps {
            run(&mut docs, who.index(3), step, *wall_ms);
        }
        let mut whole = Doc::new(PeerId(9));
        for doc in &docs {
            whole.import(u64::MAX >> 16, doc.blocks_since(&VersionVector::new())).unwrap();
        }
        let mut blocks: Vec<Block> = whole.blocks_since(&VersionVector::new());
        if blocks.is_empty() {
            return Ok(());
        }
        let by = shuffled.index(blocks.len());
        blocks.rotate_left(by);
        blocks.reverse();
        let mut one_by_one = Doc::new(PeerId(8));
        for block in blocks.iter().chain(&blocks[..by]) {
            one_by_one.import(u64::MAX >> 16, [block.clone()]).unwrap();
        }
        prop_assert_eq!(one_by_one.pending_count(), 0);
        prop_assert_eq!(one_by_one.version(), whole.version());
        assert_is_model(&one_by_one, &Model::of(&blocks));
        prop_assert_eq!(one_by_one.text("x").to_string(), whole.text("x").to_string());
    }

    /// Views that follow a text or list by its patches alone show it.
    #[test]
    fn patches_tell_exactly_what_changed(
        steps in prop::collection::vec((any::<prop::sample::Index>(), step(), 0u64..9_000), 1..40),
    ) {
        let mut docs: Vec<Doc> = (1..4).map(|i| Doc::new(PeerId(i))).collect();
        let mut view = Doc::new(PeerId(9));
        let (mut shown, mut list, mut marks) = (String::new(), Vec::new(), MarkView::default());
        for (who, step, wall_ms) in &steps {
            run(&mut docs, who.index(3), step, *wall_ms);
            let blocks = docs[who.index(3)].blocks_since(view.version());
            for patch in view.import(u64::MAX >> 16, blocks).unwrap().patches {
                follow(&patch, &mut shown, &mut list);
                marks.follow("x", &patch, None);
            }
            marks.check(&view, "x");
            let now: Vec<Value> = view.movable_list("l").iter().collect();
            prop_assert_eq!(list.len(), now.len());
            for (followed, value) in list.iter().zip(&now) {
                prop_assert!(followed.is_none() || followed.as_ref() == Some(value));
            }
            prop_assert_eq!(&shown, &view.text("x").to_string());
        }
    }

    /// So do the patches of what a replica does itself.
    #[test]
    fn local_patches_tell_exactly_what_changed(steps in prop::collection::vec(step(), 1..30)) {
        let mut doc = Doc::new(PeerId(1));
        let (mut shown, mut list, mut marks) = (String::new(), Vec::new(), MarkView::default());
        for step in &steps {
            let commit = match step {
                Step::Undo => doc.undo(0),
                Step::Redo => doc.redo(0),
                Step::Pull { .. } | Step::Reload => None,
                _ => {
                    let before = doc.history().graph.end();
                    run(std::slice::from_mut(&mut doc), 0, step, 0);
                    let end = doc.history().graph.end();
                    (before < end).then(|| crate::Commit { start: before, len: end - before })
                }
            };
            for patch in commit.map(|commit| doc.patches(&commit)).unwrap_or_default() {
                follow(&patch, &mut shown, &mut list);
                marks.follow("x", &patch, None);
            }
            marks.check(&doc, "x");
            prop_assert_eq!(&shown, &doc.text("x").to_string());
            prop_assert_eq!(list.len(), doc.movable_list("l").len());
        }
    }

    /// An earlier version reads as the model of its blocks, and the difference between any two
    /// turns the one into the other.
    #[test]
    fn earlier_versions_and_differences_are_those_of_the_model(
        steps in prop::collection::vec((any::<prop::sample::Index>(), step(), 0u64..9_000), 1..40),
        picks in any::<[prop::sample::Index; 2]>(),
    ) {
        let mut docs: Vec<Doc> = (1..4).map(|i| Doc::new(PeerId(i))).collect();
        let mut versions = vec![VersionVector::new()];
        for (who, step, wall_ms) in &steps {
            run(&mut docs, who.index(3), step, *wall_ms);
            versions.push(docs[who.index(3)].version().clone());
        }
        let mut whole = Doc::new(PeerId(9));
        for doc in &docs {
            whole.import(u64::MAX >> 16, doc.blocks_since(&VersionVector::new())).unwrap();
        }
        let [from, to] = picks.map(|pick| &versions[pick.index(versions.len())]);
        let [before, after] = [from, to].map(|version| {
            let doc = whole.checkout(PeerId(8), version).unwrap();
            assert_eq!(doc.version(), version);
            assert_is_model(&doc, &Model::of(&doc.blocks_since(&VersionVector::new())));
            let frontier = whole.frontier_of(version).unwrap();
            assert_eq!(frontier, doc.frontier());
            assert_eq!(&whole.version_at(&frontier).unwrap(), version);
            doc
        });
        let mut shown = before.text("x").to_string();
        let mut list: Vec<_> = before.movable_list("l").iter().map(Some).collect();
        let mut marks = MarkView(marks_of(&before, "x").into_iter().map(Some).collect());
        let patches = whole.diff(from, to).unwrap();
        for patch in &patches {
            follow(patch, &mut shown, &mut list);
            marks.follow("x", patch, Some(&CharMarks::new()));
        }
        marks.check(&after, "x");
        prop_assert_eq!(&shown, &after.text("x").to_string());
        let now: Vec<Value> = after.movable_list("l").iter().collect();
        prop_assert_eq!(list.len(), now.len());
        for (followed, value) in list.iter().zip(&now) {
            prop_assert!(followed.is_none() || followed.as_ref() == Some(value));
        }
        for key in ["0", "1", "2"] {
            let id = ContainerId::root("m");
            let told = patches.contains(&crate::Patch::MapEntry { id, key: key.into() });
            prop_assert_eq!(told, before.map("m").get(key) != after.map("m").get(key));
        }
        prop_assert_eq!(from == to, patches.is_empty() && from == to);
    }

    /// Undoing everything that one peer did, alone, brings the start back; redoing, the end.
    #[test]
    fn undo_and_redo_of_everything_come_back_to_the_ends(
        edits in prop::collection::vec(step(), 1..30),
    ) {
        let mut docs = [Doc::new(PeerId(1))];
        let is_edit = |step: &&Step| {
            !matches!(step, Step::Undo | Step::Redo | Step::Pull { .. } | Step::Reload)
        };
        for (i, step) in edits.iter().filter(is_edit).enumerate() {
            run(&mut docs, 0, step, i as u64 * 1_000);
        }
        let [mut doc] = docs;
        // What was never set before is null after undo.
        fn set<'a>(values: impl Iterator<Item = (&'a str, Value)>) -> Vec<(String, Value)> {
            let set = values.filter(|(_, value)| *value != Value::Null);
            set.map(|(name, value)| (name.to_owned(), value)).collect()
        }
        let shown = |doc: &Doc| {
            let table = doc.table("t");
            let votes = |row| doc.counter(ContainerId::cell("t", row, "votes"));
            let rows: Vec<_> = table.rows().map(|row| (row, set(table.fields(row)), votes(row)))
                .collect();
            let lists = [doc.list("p"), doc.movable_list("l")];
            let lists = lists.map(|list| list.iter().collect::<Vec<_>>());
            let tree = tree::shown(doc, "o");
            let text = (doc.text("x").to_string(), marks_of(doc, "x"));
            let cells = (doc.counter("c"), doc.register("r").unwrap_or_default());
            (text, cells, set(doc.map("m").iter()), rows, lists, tree)
        };
        let end = shown(&doc);
        while doc.undo(0).is_some() {}
        let nothing = (String::new(), Vec::new());
        let unset = (0, Value::Null);
        let start =
            (nothing, unset, Vec::new(), Vec::new(), [Vec::new(), Vec::new()], Vec::new());
        prop_assert_eq!(shown(&doc), start);
        while doc.redo(0).is_some() {}
        prop_assert_eq!(shown(&doc), end);
    }

    /// No bytes make a decoder panic, and what decodes as a block encodes to the same bytes.
    #[test]
    fn decoders_refuse_noise(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        flip in any::<prop::sample::Index>(),
    ) {
        let _ = Block::parse(&*bytes);
        let _ = Doc::new(PeerId(1)).import_update(0, &bytes);
        let _ = Doc::from_snapshot(PeerId(1), &bytes);
        let mut doc = Doc::new(PeerId(1));
        doc.transact(0, |tx| tx.text("x").insert(0, "hello")).0.unwrap();
        doc.transact(0, |tx| tx.text("x").mark(1..3, "k", 1i64, Expand::Before)).0.unwrap();
        doc.transact(0, |tx| tx.table("t").insert([("a", 1i64)]));
        let mut snapshot = doc.encode_snapshot();
        let at = flip.index(snapshot.len());
        snapshot[at] ^= 0x10;
        let _ = Doc::from_snapshot(PeerId(1), &snapshot);
    }
}

/// Follows the text and the movable list; what a patch does not tell is none.
fn follow(patch: &crate::Patch, shown: &mut String, list: &mut Vec<Option<Value>>) {
    match patch {
        crate::Patch::Text { delta, .. } => *shown = patched(shown, delta),
        crate::Patch::List { id, delta } if *id == ContainerId::root("l") => {
            let mut at = 0;
            for step in delta {
                match step {
                    crate::ListDelta::Retain(len) => at += *len as usize,
                    crate::ListDelta::Insert(values) => {
                        list.splice(at..at, values.iter().cloned().map(Some));
                        at += values.len();
                    }
                    crate::ListDelta::Delete(len) => drop(list.drain(at..at + *len as usize)),
                }
            }
        }
        crate::Patch::ListElement { id, index } if *id == ContainerId::root("l") => {
            list[*index as usize] = None;
        }
        _ => {}
    }
}

fn patched(text: &str, delta: &[crate::TextDelta]) -> String {
    let mut rest = text.chars();
    let mut out = String::new();
    for step in delta {
        match step {
            crate::TextDelta::Retain(n) => out.extend(rest.by_ref().take(*n as usize)),
            crate::TextDelta::Insert(content) => out.push_str(content),
            crate::TextDelta::Delete(n) => drop(rest.by_ref().take(*n as usize).count()),
        }
    }
    out.extend(rest);
    out
}
