//! Edits of a text before the history that was loaded is read.

use proptest::prelude::*;

use super::*;
use crate::doc::Commit;
use crate::histories::{run, step};

#[derive(Clone, Debug)]
enum Edit {
    Insert { text: u8, pos: prop::sample::Index, content: String },
    Delete { text: u8, pos: prop::sample::Index, len: usize },
    Set { value: i64 },
    Mark,
}

fn edit() -> impl Strategy<Value = Edit> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        9 => (0u8..2, index(), "[a-zé]{1,4}")
            .prop_map(|(text, pos, content)| Edit::Insert { text, pos, content }),
        5 => (0u8..2, index(), 1usize..5)
            .prop_map(|(text, pos, len)| Edit::Delete { text, pos, len }),
        1 => any::<i64>().prop_map(|value| Edit::Set { value }),
        1 => Just(Edit::Mark),
    ]
}

fn perform(doc: &mut Doc, wall_ms: u64, edits: &[Edit]) -> Option<Commit> {
    let name = |text: u8| if text == 0 { "x" } else { "new" };
    let each = |tx: &mut crate::Transaction<'_>, edit: &Edit| match edit {
        Edit::Insert { text, pos, content } => {
            let pos = pos.index(tx.doc().text(name(*text)).len() + 1);
            tx.text(name(*text)).insert(pos, content).unwrap();
        }
        Edit::Delete { text, pos, len } => {
            let all = tx.doc().text(name(*text)).len();
            let pos = pos.index(all + 1);
            tx.text(name(*text)).delete(pos, (*len).min(all - pos)).unwrap();
        }
        Edit::Set { value } => tx.map("m").set("0", *value),
        Edit::Mark => {
            let len = tx.doc().text("x").len();
            if len > 0 {
                tx.text("x").mark(0..len, "bold", true, crate::Expand::After).unwrap();
            }
        }
    };
    doc.transact(wall_ms, |tx| edits.iter().for_each(|edit| each(tx, edit))).1
}

/// What several replicas wrote, in one document.
fn together(steps: &[(prop::sample::Index, crate::histories::Step, u64)]) -> Doc {
    let mut docs: Vec<Doc> = (1..4).map(|peer| Doc::new(PeerId(peer))).collect();
    for (who, step, wall_ms) in steps {
        let who = who.index(docs.len());
        run(&mut docs, who, step, *wall_ms);
    }
    let mut all = Doc::new(PeerId(9));
    for doc in &docs {
        all.import(u64::MAX >> 16, doc.blocks_since(all.version())).unwrap();
    }
    all
}

proptest! {
    /// Whether the history was read before the edits or not shows nowhere.
    #[test]
    fn edits_before_the_history_is_read_are_those_after_it(
        steps in prop::collection::vec((any::<prop::sample::Index>(), step(), 0u64..9_000), 0..25),
        is_shallow in any::<bool>(),
        edits in prop::collection::vec(
            (prop::collection::vec(edit(), 1..4), 1u64..6, 0u64..9_000), 1..8),
        undone in 0usize..3,
    ) {
        let source = together(&steps);
        let bytes = if is_shallow {
            source.encode_shallow_snapshot(source.version()).unwrap()
        } else {
            source.encode_snapshot()
        };
        let load = || Doc::from_shallow_snapshot(PeerId(1), &bytes).unwrap();
        let (mut cold, mut warm) = (load(), load());
        prop_assert_eq!(warm.history().graph.end(), source.history().graph.end());
        for (edits, peer, wall_ms) in &edits {
            let made = [&mut cold, &mut warm].map(|doc| {
                doc.set_peer(PeerId(*peer));
                perform(doc, *wall_ms, edits)
            });
            prop_assert_eq!(made[0], made[1]);
            prop_assert_eq!(cold.version(), warm.version());
            prop_assert_eq!(cold.history_start(), warm.history_start());
            for text in ["x", "new"] {
                prop_assert_eq!(cold.text(text).to_string(), warm.text(text).to_string());
            }
            if let Some(commit) = &made[0] {
                prop_assert_eq!(cold.block(commit), warm.block(commit));
                prop_assert_eq!(cold.patches(commit), warm.patches(commit));
            }
        }
        for _ in 0..undone {
            let undone = [&mut cold, &mut warm].map(|doc| doc.undo(0));
            prop_assert_eq!(undone[0], undone[1]);
        }
        prop_assert_eq!(cold.encode_snapshot(), warm.encode_snapshot());
        let since = source.version();
        prop_assert_eq!(cold.blocks_since(since), warm.blocks_since(since));
        prop_assert_eq!(cold.block_count(), warm.block_count());
        for peer in (1..6).map(PeerId) {
            prop_assert_eq!(cold.chain_mark(peer), warm.chain_mark(peer));
        }
    }
}

#[test]
fn typing_after_a_load_does_not_read_the_history() {
    let mut doc = Doc::new(PeerId(1));
    doc.transact(0, |tx| tx.text("t").insert(0, "ab")).0.unwrap();
    let mut copy = Doc::from_snapshot(PeerId(2), &doc.encode_snapshot()).unwrap();
    let (_, commit) = copy.transact(0, |tx| tx.text("t").splice(1, 1, "x"));
    let commit = commit.unwrap();
    let (block, _) = (copy.block(&commit), copy.patches(&commit));
    assert!(copy.is_cold());
    doc.import(0, [block]).unwrap();
    assert_eq!(doc.text("t").to_string(), "ax");
    assert_eq!(copy.block_count(), 2);
    assert!(!copy.is_cold());
}

#[test]
fn heads_that_are_none_are_refused() {
    let mut doc = Doc::new(PeerId(1));
    doc.transact(0, |tx| tx.text("t").insert(0, "ab")).0.unwrap();
    let refused = |heads: &[u8]| {
        let mut input = Input::new(heads);
        decode_heads(doc.version(), 2, &mut input);
        input.finish()
    };
    let invalid = Err(DecodeError::Invalid("heads"));
    assert_eq!(refused(&[1, 1, 0, 2]), Ok(()));
    // None, too low, of nobody, one peer twice, not ascending.
    for heads in [&[0, 2, 0, 0][..], &[1, 0, 0, 2], &[1, 1, 1, 2], &[2, 0, 0, 1, 0, 2]] {
        assert_eq!(refused(heads), invalid);
    }
    // One peer twice, and two with one operation, where all else is right.
    let refused_of_two = |heads: &[u8]| {
        let version = [(PeerId(1), 1), (PeerId(2), 1)].into_iter().collect();
        let mut input = Input::new(heads);
        decode_heads(&version, 2, &mut input);
        input.finish()
    };
    assert_eq!(refused_of_two(&[2, 0, 0, 1, 1, 2]), Ok(()));
    assert_eq!(refused_of_two(&[2, 1, 0, 2, 0, 2]), invalid);
    assert_eq!(refused_of_two(&[2, 1, 0, 1, 1, 2]), invalid);
    let mut late = Writer::new();
    late.raw(&[1, 1, 0]);
    late.varint(STAMP_END + 1);
    assert_eq!(refused(late.as_slice()), invalid);
}

#[test]
fn a_transaction_is_told_by_what_was_read_from_a_snapshot_of_it_too() {
    let mut doc = Doc::new(PeerId(1));
    doc.transact(0, |tx| tx.text("t").insert(0, "ab")).0.unwrap();
    let commit = doc.transact(0, |tx| tx.text("t").splice(1, 1, "x")).1.unwrap();
    let copy = Doc::from_snapshot(PeerId(2), &doc.encode_snapshot()).unwrap();
    assert_eq!(copy.block(&commit), doc.block(&commit));
}

#[test]
fn transactions_are_counted_however_they_came() {
    let write = |doc: &mut Doc, texts: &[&str]| {
        texts.iter().for_each(|text| {
            doc.transact(0, |tx| tx.text("t").insert(0, text)).0.unwrap();
        });
    };
    let mut doc = Doc::new(PeerId(1));
    write(&mut doc, &["a", "b", "cde", "fgh", "ij"]);
    let snapshot = doc.encode_snapshot();
    let mut merged = Doc::new(PeerId(2));
    merged.import_update(0, &doc.encode_update(&VersionVector::new())).unwrap();
    let read = || Doc::from_snapshot(PeerId(2), &snapshot).unwrap();
    let (mut warm, mut cold) = (read(), read());
    assert_eq!([&doc, &merged, &warm].map(Doc::block_count), [5; 3]);
    for copy in [&mut merged, &mut warm, &mut cold] {
        write(copy, &["kl", "m", "nop"]);
        assert_eq!(copy.block_count(), 8);
    }
}

#[test]
fn rows_and_cells_that_a_table_cannot_have_are_refused() {
    let refused = |rows: &[u8], cells: &[u8]| {
        let mut out = Writer::new();
        out.len(1);
        out.str("field");
        out.raw(rows);
        out.raw(cells);
        out.len(0);
        let mut input = Input::new(out.as_slice());
        decode_table(&mut input, 10);
        input.finish()
    };
    // Where rows begin after those before, and how many they are; a row, its field, and a write.
    let (rows, cells) = ([1, 0, 2], [1, 1, 0, 3]);
    assert_eq!(refused(&rows, &cells), Ok(()));
    assert_eq!(refused(&[2, 0, 2, 3, 0], &cells), Err(DecodeError::Invalid("rows")));
    for cells in [[1, 1, 1, 3], [1, 2, 0, 3]] {
        assert_eq!(refused(&rows, &cells), Err(DecodeError::Invalid("cell")));
    }
}
