//! Snapshots that are not what they claim to be: whatever the bytes say, nothing panics or hangs.

use proptest::prelude::*;
use proptest::sample::Index;

use crate::codec::{DecodeError, Reader, Writer, checksum};
use crate::container::Containers;
use crate::histories::{run, step};
use crate::{Doc, Expand, OpId, PeerId, Side};

const LATE: u64 = u64::MAX >> 16;

#[derive(Clone, Debug)]
enum Damage {
    /// A large number in place of a byte.
    Huge {
        at: Index,
        len: usize,
    },
    Flip {
        at: Index,
        bit: u8,
    },
    Set {
        at: Index,
        byte: u8,
    },
    Cut {
        at: Index,
    },
    Copy {
        from: Index,
        to: Index,
        len: usize,
    },
}

fn damage() -> impl Strategy<Value = Damage> {
    let index = any::<Index>;
    prop_oneof![
        4 => (index(), 0u8..8).prop_map(|(at, bit)| Damage::Flip { at, bit }),
        4 => (index(), 0u8..9).prop_map(|(at, byte)| Damage::Set { at, byte }),
        1 => index().prop_map(|at| Damage::Cut { at }),
        1 => (index(), index(), 1usize..9)
            .prop_map(|(from, to, len)| Damage::Copy { from, to, len }),
        2 => (index(), 2usize..5).prop_map(|(at, len)| Damage::Huge { at, len }),
    ]
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let len_now = bytes.len();
        match self {
            Self::Flip { at, bit } => bytes[at.index(len_now)] ^= 1 << bit,
            Self::Set { at, byte } => bytes[at.index(len_now)] = *byte,
            Self::Huge { at, len } => {
                let at = at.index(len_now);
                bytes.splice(at..=at, std::iter::repeat_n(0xff, *len).chain([7]));
            }
            Self::Cut { at } => bytes.truncate(at.index(len_now)),
            Self::Copy { from, to, len } => {
                let from = from.index(len_now);
                let piece = bytes[from..len_now.min(from + len)].to_vec();
                let to = to.index(len_now);
                bytes.splice(to..to, piece);
            }
        }
    }
}

/// Damages a chunk of a snapshot and makes its checksum right again.
fn damaged(snapshot: &[u8], chunk: Index, damage: &[Damage]) -> Vec<u8> {
    changed(snapshot, |chunks| {
        let chosen = chunk.index(chunks.len());
        damage.iter().for_each(|damage| damage.apply(&mut chunks[chosen].1));
    })
}

/// A snapshot of other chunks.
fn changed(snapshot: &[u8], change: impl FnOnce(&mut Vec<(u8, Vec<u8>)>)) -> Vec<u8> {
    let mut input = Reader::new(&snapshot[4..]);
    let mut chunks = Vec::new();
    while !input.is_empty() {
        let kind = input.u8().unwrap();
        let bytes = input.bytes().unwrap().to_vec();
        input.u32_le().unwrap();
        chunks.push((kind, bytes));
    }
    change(&mut chunks);
    let mut out = Writer::new();
    out.raw(&snapshot[..4]);
    for (kind, bytes) in chunks {
        out.u8(kind);
        out.bytes(&bytes);
        out.u32_le(checksum(&bytes));
    }
    out.into_vec()
}

#[test]
fn an_undo_in_a_list_of_unknown_history_leaves_a_document_that_can_be_saved() {
    let mut whole = Doc::new(PeerId(1));
    whole.transact(0, |tx| tx.movable_list("l").extend([1, 2, 3]));
    let bytes = changed(&whole.encode_snapshot(), |chunks| chunks[1].1.clear());
    let mut doc = Doc::from_snapshot(PeerId(2), &bytes).unwrap();
    for _ in 0..2 {
        doc.transact(0, |tx| tx.movable_list("l").remove(0)).0.unwrap();
        doc.undo(0);
    }
    assert_eq!(doc.fork(PeerId(3)).movable_list("l").len(), doc.movable_list("l").len());
}

#[test]
fn a_slot_that_is_shown_and_has_no_element_is_refused() {
    let mut doc = Doc::new(PeerId(1));
    doc.transact(0, |tx| tx.movable_list("l").extend([7, 8]));
    doc.transact(0, |tx| tx.movable_list("l").move_to(0, 1)).0.unwrap();
    let bytes = changed(&doc.encode_snapshot(), |chunks| {
        // Slot 3 holds element 0, which was moved by operation 3; nothing was replaced.
        let known = [1, 3, 1, 1, 0, 3, 0];
        let at = chunks[0].1.windows(7).position(|bytes| bytes == known).unwrap();
        chunks[0].1[at + 2] = 0;
    });
    let refused = Doc::from_snapshot(PeerId(2), &bytes).err();
    assert_eq!(refused, Some(DecodeError::Invalid("element")));
}

#[test]
fn a_history_that_lacks_what_its_authors_did_first_is_as_good_as_none() {
    let mut whole = Doc::new(PeerId(1));
    for _ in 0..2 {
        whole.transact(0, |tx| tx.counter("c").add(1));
    }
    let bytes = changed(&whole.encode_snapshot(), |chunks| {
        let history = &mut chunks[1].1;
        // A stretch of two from the first on; two transactions of one; one span of two.
        let at = history.windows(4).position(|bytes| bytes == [1, 0, 2, 0]).unwrap();
        history[at + 2..at + 4].copy_from_slice(&[1, 1]);
        assert!(history.ends_with(&[1, 3, 2, 1, 0, 2, 0]));
        history.truncate(history.len() - 7);
        history.extend([1, 2, 1, 0, 1, 0]);
    });
    let doc = Doc::from_snapshot(PeerId(2), &bytes).unwrap();
    assert_eq!(doc.counter("c"), 2);
    let all = doc.blocks_since(&crate::VersionVector::new());
    assert_eq!((all.len(), all[0].seq(), all[0].end()), (1, 0, 2), "and says nothing of it");
}

#[test]
fn a_base_whose_changes_do_not_follow_one_another_is_refused() {
    let refused = |stretches: &[u8]| {
        let mut out = Writer::new();
        out.len(2);
        [1, 2].into_iter().for_each(|peer| out.u64_le(peer));
        out.raw(stretches);
        // No hashes to speak of, and no containers.
        out.raw(&[0; 17]);
        super::decode_base(out.as_slice(), &Containers::default()).err()
    };
    // Author and whether it follows, length, seq, stamp, parents.
    let (first, second) = ([0, 1, 0, 0, 0], [3, 1, 0, 0]);
    assert_eq!(refused(&[&[2][..], &first, &second].concat()), None);
    let (late, apart) = ([0, 1, 1, 0, 0], [2, 1, 0, 0, 0]);
    let invalid = Some(DecodeError::Invalid("base"));
    assert_eq!(refused(&[&[2][..], &late, &second].concat()), invalid);
    assert_eq!(refused(&[&[2][..], &first, &apart].concat()), invalid);
}

/// Does what an application does with a document that it loaded.
fn use_it(mut doc: Doc, others: &Doc) {
    read(&doc);
    let start = doc.history_start().clone();
    let _ = doc.checkout(PeerId(80), &start).map(|doc| read(&doc));
    let _ = doc.diff(&start, doc.version());
    let _ = doc.try_blocks_since(&start);
    let _ = Doc::from_shallow_snapshot(PeerId(81), &doc.encode_snapshot());
    let len = doc.text("x").len();
    let _ = doc.transact(LATE, |tx| {
        let _ = tx.text("x").splice(len / 2, len.div_ceil(2).min(1), "new");
        let _ = tx.text("x").mark(0..len.div_ceil(2), "1", 2i64, Expand::Both);
        let _ = tx.text("x").unmark(0..1, "0");
        tx.register("r").set(1i64);
        tx.map("m").set("0", 1i64);
        tx.counter("c").add(1);
        tx.list("p").push(1i64);
        tx.movable_list("l").push(1i64);
        let _ = tx.movable_list("l").move_to(0, 1);
        let _ = tx.movable_list("l").set(0, 2i64);
        let _ = tx.list("p").remove(0);
        let rows: Vec<_> = tx.doc().table("t").rows().collect();
        for row in rows {
            let _ = tx.table("t").set(row, "0", 2i64);
            let _ = tx.table("t").remove(row);
            let _ = tx.table("t").restore(row);
        }
        let nodes: Vec<_> = tx.doc().tree("o").walk().map(|(_, node)| node).collect();
        for node in nodes {
            let _ = tx.tree("o").create(Some(node), 0);
            let _ = tx.tree("o").move_to(node, None, 0);
            let _ = tx.tree("o").remove(node);
        }
    });
    doc.undo(LATE);
    doc.redo(LATE);
    for block in others.blocks_since(&crate::VersionVector::new()) {
        let _ = doc.import(LATE, [block]);
    }
    if let Ok(update) = others.try_encode_update(doc.version()) {
        let _ = doc.import_update(LATE, &update);
    }
    read(&doc);
    let _ = others.rebase(LATE, &doc.encode_snapshot(), PeerId(90));
    let _ = doc.rebase(LATE, &others.encode_snapshot(), PeerId(91));
    let own = OpId::new(PeerId(70), 0);
    let _ = doc.reauthor_all(own, &crate::VersionVector::new());
    let version = doc.version().clone();
    let _ = doc.trim_history(&version);
    read(&doc);
}

fn read(doc: &Doc) {
    for (_, text) in doc.texts() {
        let _ = (text.to_string(), text.len_utf16(), text.authors(), text.spans());
        for pos in 0..text.len().min(9) {
            for side in [Side::Before, Side::After] {
                let _ = text.resolve(&text.cursor(pos, side));
            }
        }
    }
    let _ = (doc.register("r"), doc.map("m").iter().count(), doc.counters().count());
    for list in [doc.list("p"), doc.movable_list("l")] {
        let _ = list.iter().count();
        for index in 0..list.len() {
            let _ = list.element(index).map(|element| list.index_of(element));
        }
    }
    for row in doc.table("t").rows() {
        let _ = doc.table("t").fields(row).count();
    }
    for (_, node) in doc.tree("o").walk() {
        let _ = (doc.tree("o").parent(node), doc.tree("o").index_of(node));
    }
    let _ = doc.frontier();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(300)
    ))]

    #[test]
    fn a_damaged_snapshot_is_refused_or_harmless(
        steps in prop::collection::vec((any::<Index>(), step(), 0u64..9_000), 1..50),
        later in prop::collection::vec((any::<Index>(), step(), 0u64..9_000), 1..10),
        at in any::<Index>(),
        chunk in any::<Index>(),
        damages in prop::collection::vec(damage(), 1..4),
    ) {
        let mut docs: Vec<Doc> = (1..4).map(|i| Doc::new(PeerId(i))).collect();
        let mut versions = Vec::new();
        for (who, step, wall_ms) in &steps {
            run(&mut docs, who.index(3), step, *wall_ms);
            versions.push(docs[0].version().clone());
        }
        let snapshot = docs[0].encode_shallow_snapshot(at.get(&versions)).unwrap();
        for (who, step, wall_ms) in &later {
            run(&mut docs, who.index(3), step, *wall_ms);
        }
        for from in 1..3 {
            let blocks = docs[from].blocks_since(docs[0].version());
            docs[0].import(LATE, blocks).unwrap();
        }
        let bytes = damaged(&snapshot, chunk, &damages);
        if let Ok(doc) = Doc::from_shallow_snapshot(PeerId(70), &bytes) {
            use_it(doc, &docs[0]);
        }
    }
}
