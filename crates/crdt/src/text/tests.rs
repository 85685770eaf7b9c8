//! Marks among the random histories: steps, and what a view knows of them.

use proptest::prelude::*;

use crate::block::{Block, BlockHeader};
use crate::cells::{CellOp, RowRef};
use crate::codec::{Reader, Writer};
use crate::container::{ContainerKey, ContainerKind, Content};
use crate::graph::{Graph, Lv};
use crate::model::Model;
use crate::names::Names;
use crate::op::{Action, Body, Op};
use crate::text::counted;
use crate::text::holding::{Hold, Holding, painted};
use crate::text::marks::{Anchor, Lives, MARK_KEY_BYTES_MAX};
use crate::text::model::CharMarks;
use crate::text::tracker::{PRESENT, Tracker};
use crate::text::{Rebirths, Reborn};
use crate::{
    ContainerId, DecodeError, Doc, Expand, ImportError, OpId, Patch, PeerId, Stamp, TextDelta,
    Transaction, Value, VersionVector,
};

/// An edit of a text's marks.
#[derive(Clone, Debug)]
pub(crate) struct MarkEdit {
    at: prop::sample::Index,
    len: usize,
    pub(crate) key: u8,
    value: Option<u8>,
    expand: Expand,
}

impl MarkEdit {
    /// Whether it gives a value, to no more than there is.
    pub(crate) fn is_link(&self) -> bool {
        self.value.is_some_and(|value| value > 0) && self.expand == Expand::None
    }
}

pub(crate) fn mark_edit() -> impl Strategy<Value = MarkEdit> {
    let expand = prop_oneof![
        Just(Expand::None),
        Just(Expand::Before),
        Just(Expand::After),
        Just(Expand::Both)
    ];
    let value = prop::option::weighted(0.7, 0u8..3);
    (any::<prop::sample::Index>(), 1usize..6, 0u8..3, value, expand)
        .prop_map(|(at, len, key, value, expand)| MarkEdit { at, len, key, value, expand })
}

pub(crate) fn perform_mark(doc: &mut Doc, name: &str, edit: &MarkEdit, wall_ms: u64) {
    let len = doc.text(name).len();
    if len == 0 {
        return;
    }
    let start = edit.at.index(len);
    let range = start..(start + edit.len).min(len);
    let key = edit.key.to_string();
    let edited = doc.transact(wall_ms, |tx| match edit.value {
        Some(0) => tx.text(name).mark(range, &key, Value::Null, edit.expand),
        Some(value) => tx.text(name).mark(range, &key, i64::from(value), edit.expand),
        None => tx.text(name).unmark(range, &key),
    });
    edited.0.unwrap();
}

/// The marks of each character, as both ways of asking tell them.
pub(crate) fn marks_of<'k>(doc: &Doc, id: impl Into<ContainerKey<'k>>) -> Vec<CharMarks> {
    let text = doc.text(id);
    let spans = text.spans();
    assert!(spans.windows(2).all(|two| two[0].end == two[1].start && two[0].marks != two[1].marks));
    let whole: String = spans.iter().map(|span| &*span.text).collect();
    assert_eq!(whole, text.to_string());
    let of_span = |span: &crate::Span| {
        let marks: CharMarks = span.marks.iter().cloned().collect();
        vec![marks; span.end - span.start]
    };
    let marks: Vec<CharMarks> = spans.iter().flat_map(of_span).collect();
    for (pos, marks) in marks.iter().enumerate() {
        assert_eq!(text.marks_at(pos), marks.clone().into_iter().collect::<Vec<_>>());
    }
    assert_eq!(text.marks_at(marks.len()), []);
    marks
}

/// What a view knows of the marks of each character; nothing yet of what was just inserted.
#[derive(Debug, Default)]
pub(crate) struct MarkView(pub(crate) Vec<Option<CharMarks>>);

impl MarkView {
    /// Follows a patch; text that it inserts is marked so.
    pub(crate) fn follow(
        &mut self,
        text: &ContainerId,
        patch: &Patch,
        inserted: Option<&CharMarks>,
    ) {
        match patch {
            Patch::Text { id, delta } if id == text => {
                let mut at = 0;
                for step in delta {
                    match step {
                        TextDelta::Retain(len) => at += *len as usize,
                        TextDelta::Delete(len) => drop(self.0.drain(at..at + *len as usize)),
                        TextDelta::Insert(content) => {
                            let new = content.chars().map(|_| inserted.cloned());
                            self.0.splice(at..at, new);
                            at += content.chars().count();
                        }
                    }
                }
            }
            Patch::Marks { id, start, end, key, value } if id == text => {
                for marks in self.0[*start as usize..*end as usize].iter_mut().flatten() {
                    let old = if *value == Value::Null {
                        marks.remove(key)
                    } else {
                        marks.insert(key.clone(), value.clone())
                    };
                    assert_ne!(old.unwrap_or_default(), *value, "only changes are told");
                }
            }
            _ => {}
        }
    }

    /// Checks what is known, and learns the rest.
    pub(crate) fn check(&mut self, doc: &Doc, text: &ContainerId) {
        let now = marks_of(doc, text);
        assert_eq!(self.0.len(), now.len());
        for (known, now) in self.0.iter_mut().zip(now) {
            assert_eq!(known.get_or_insert_with(|| now.clone()), &now);
        }
    }
}

/// A block of peer 2, which has seen a text of three characters by peer 1, that marks this.
fn marking(key: &str, range: [Anchor; 2]) -> Block {
    let containers = vec![(ContainerKind::Text, ContainerId::root("x"))];
    let action = Action::Cell(CellOp::Mark { key: 0, range, value: 1i64.into() });
    let ops = vec![Op { container: 0, action }];
    let body = Body { containers, names: vec![key.into()], ops };
    let deps = vec![OpId::new(PeerId(1), 2)];
    let header = BlockHeader { peer: PeerId(2), seq: 0, len: 1, stamp: Stamp(1 << 20), deps };
    Block::encode(header, &body)
}

fn abc() -> Doc {
    let mut doc = Doc::new(PeerId(1));
    doc.transact(0, |tx| tx.text("x").insert(0, "abc")).0.unwrap();
    doc
}

fn char(seq: u32) -> RowRef {
    RowRef::Stray(OpId::new(PeerId(1), seq))
}

#[test]
fn a_mark_from_what_its_author_had_not_seen_is_void_everywhere() {
    let stray = RowRef::Stray(OpId::new(PeerId(9), 7));
    // The fourth character comes when peer 2 has written, or comes first: it is unseen either way.
    for at in [stray, char(3)] {
        for range in [[Anchor::Before(at), Anchor::Edge], [Anchor::Edge, Anchor::After(at)]] {
            let block = marking("k", range);
            let (mut early, mut late) = (abc(), abc());
            early.import(u64::MAX, [block.clone()]).unwrap();
            for doc in [&mut early, &mut late] {
                doc.transact(1, |tx| tx.text("x").insert(3, "d")).0.unwrap();
            }
            let blocks = late.blocks_since(&VersionVector::new());
            late.import(u64::MAX, [block.clone()]).unwrap();
            assert_eq!(late.blocks_since(&VersionVector::new())[blocks.len()..], [block]);
            for doc in [&early, &late] {
                assert_eq!(marks_of(doc, "x"), vec![CharMarks::new(); 4]);
                let model = Model::of(&doc.blocks_since(&VersionVector::new()));
                assert_eq!(model.marks(&ContainerId::root("x")), marks_of(doc, "x"));
                let update = doc.encode_update(&VersionVector::new());
                let mut copy = Doc::new(PeerId(5));
                copy.import_update(u64::MAX, &update).unwrap();
                assert_eq!(copy.version(), doc.version());
                assert_eq!(marks_of(&copy, "x"), marks_of(doc, "x"));
            }
        }
    }
}

#[test]
fn a_mark_that_ends_before_it_starts_is_of_nothing() {
    let ends = [Anchor::Before(char(0)), Anchor::After(char(0)), Anchor::Before(char(2))];
    for (start, end) in [(1, 0), (2, 0), (2, 1)] {
        let mut doc = abc();
        doc.import(u64::MAX, [marking("k", [ends[start], ends[end]])]).unwrap();
        doc.transact(0, |tx| tx.text("x").delete(0, 1)).0.unwrap();
        doc.transact(0, |tx| tx.text("x").insert(0, "z")).0.unwrap();
        let model = Model::of(&doc.blocks_since(&VersionVector::new()));
        assert_eq!(marks_of(&doc, "x"), model.marks(&ContainerId::root("x")));
        assert_eq!(marks_of(&doc, "x")[1..], [CharMarks::new(), CharMarks::new()]);
    }
}

#[test]
fn marks_that_hold_are_read_if_they_are_of_something_that_is_there() {
    let read = |holds: &[(u32, u32, u32)], len, below| {
        let mut out = Writer::new();
        out.len(1);
        out.varint(1);
        out.len(holds.len());
        let parts = holds.iter().flat_map(|(gap, size, lv)| [gap, size, lv]);
        parts.for_each(|part| out.varint(u64::from(*part)));
        let mut input = Reader::new(out.as_slice());
        input.read(|input| Holding::decode(input, 2, len, below)).map(|held| held.of(1).to_vec())
    };
    let holds = [(2, 1, 7), (0, 4, 8)];
    assert_eq!(read(&holds, 7, 9), Ok(vec![(2, 3, 7), (3, 7, 8)]));
    let refused = Err(DecodeError::Invalid("mark"));
    for (len, below) in [(6, 9), (7, 8)] {
        assert_eq!(read(&holds, len, below), refused);
    }
    assert_eq!(read(&[(2, 0, 7), (0, 4, 8)], 7, 9), refused);
}

#[test]
fn marks_of_an_update_have_keys_that_marks_can_have() {
    let long = "k".repeat(MARK_KEY_BYTES_MAX + 1);
    for (key, is_key) in [("", false), (&*long, false), (&long[1..], true)] {
        let mut doc = abc();
        let marked = doc.transact(0, |tx| tx.text("x").mark(0..1, "k", 1i64, Expand::None));
        marked.0.unwrap();
        let index = doc.containers.find(ContainerKind::Text, &"x".into()).expect("a text");
        if let Content::Text(_, state) = &mut doc.containers.get_mut(index).content {
            state.marks.keys = Names::default();
            state.marks.keys.intern(key);
        }
        let update = doc.encode_update(&VersionVector::new());
        let import = Doc::new(PeerId(9)).import_update(0, &update);
        assert_eq!(import.is_ok(), is_key, "{} bytes", key.len());
    }
}

#[test]
fn malformed_marks_are_refused() {
    let whole = [Anchor::Edge, Anchor::Edge];
    let long = "k".repeat(MARK_KEY_BYTES_MAX + 1);
    let here = [Anchor::Before(RowRef::Known(0)), Anchor::Edge];
    for block in [marking("", whole), marking(&long, whole), marking("k", here)] {
        let refused = abc().import(u64::MAX, [block]).unwrap_err();
        assert!(matches!(refused, ImportError::Decode { .. }), "{refused:?}");
    }
    abc().import(u64::MAX, [marking("k", whole)]).unwrap();
}

#[test]
fn receiving_marks_and_undoing_them_is_not_quadratic() {
    let steps = [50, 200].map(|count| {
        let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
        ada.transact(0, |tx| tx.text("t").insert(0, &"ab".repeat(count))).0.unwrap();
        ben.import(0, ada.blocks_since(ben.version())).unwrap();
        let start = counted::steps();
        ada.transact(9_000, |tx| {
            let mut mark = |at| tx.text("t").mark(at..at + 1, "bold", true, Expand::None).unwrap();
            (0..count).for_each(|at| mark(2 * at));
        });
        ada.undo(0).unwrap();
        assert_eq!(ada.text("t").spans().len(), 1);
        ada.redo(0).unwrap();
        assert_eq!(ada.text("t").spans().len(), 2 * count);
        for at in 0..count {
            let mark = ben.transact(0, |tx| tx.text("t").mark(at..at + 1, "n", 1, Expand::None)).1;
            ada.import(0, [ben.block(&mark.unwrap())]).unwrap();
        }
        counted::steps() - start
    });
    assert!(steps[1] < steps[0] * 6, "{steps:?}");
}

#[test]
fn marks_of_a_snapshot_are_shown_without_reading_its_history() {
    let mut doc = abc();
    doc.transact(0, |tx| tx.text("x").mark(0..2, "k", 1i64, Expand::None)).0.unwrap();
    let copy = Doc::from_snapshot(PeerId(9), &doc.encode_snapshot()).unwrap();
    assert_eq!(copy.text("x").spans(), doc.text("x").spans());
    assert!(copy.is_cold(), "it was read");
}

/// What is remembered of which marks hold is what their log says.
pub(crate) fn assert_knows_its_marks(doc: &Doc) {
    let history = doc.history();
    for (index, container) in doc.containers.iter() {
        let Content::Text(log, state) = &container.content else { continue };
        let runs = history.runs(index);
        let anew = state.known_by(log, &history.graph, runs, &|_| true).held;
        let known = state.held(log, &history.graph, runs);
        for key in 0..state.marks.keys.len() as u32 {
            assert_eq!(known.of(key), anew.of(key));
        }
    }
}

#[test]
fn characters_that_lived_side_by_side_in_all_their_lives_are_looked_at_together() {
    let (mut graph, mut whole) = (Graph::default(), Tracker::new(None));
    graph.push(OpId::new(PeerId(1), 0), 12, Stamp(0), &[]);
    whole.insert(&graph, PRESENT, 0, 12, 0);
    let lens = |reborn: &[(Lv, Lv, Lv)], chars: &[(u32, Lv)]| -> Vec<u32> {
        let mut births = Rebirths::default();
        for (old, new, deleted) in reborn {
            births.push(Reborn { old: *old, len: 1, new: *new, deleted: *deleted });
        }
        Lives::of(&whole, &births, chars).iter().map(|lives| lives.len).collect()
    };
    assert_eq!(lens(&[], &[(3, 4), (4, 5)]), [2]);
    assert_eq!(lens(&[], &[(3, 4), (5, 5)]), [1, 1], "something is between them");
    assert_eq!(lens(&[], &[(3, 4), (4, 6)]), [1, 1], "their ids do not follow each other");
    let chars = [(3, 4), (4, 5)];
    assert_eq!(lens(&[(0, 4, 20), (1, 5, 20)], &chars), [2]);
    assert_eq!(lens(&[(0, 4, 20), (1, 5, 21)], &chars), [1, 1], "deleted apart");
    assert_eq!(lens(&[(0, 4, 20), (2, 5, 20)], &chars), [1, 1], "they were apart");
    assert_eq!(lens(&[(0, 4, 20)], &chars), [1, 1], "one was there before");
}

/// A step of somebody who edits a text with two others.
#[derive(Clone, Debug)]
enum Step {
    Insert(prop::sample::Index, usize),
    Delete(prop::sample::Index, usize),
    Mark(MarkEdit),
    Undo,
    Redo,
    /// Reads what the next of them wrote, or the one after.
    Hear(usize),
    /// Looks at the marks.
    Look,
}

fn step() -> impl Strategy<Value = (usize, Step)> {
    let at = any::<prop::sample::Index>;
    let step = prop_oneof![
        4 => (at(), 1usize..4).prop_map(|(at, len)| Step::Insert(at, len)),
        3 => (at(), 1usize..5).prop_map(|(at, len)| Step::Delete(at, len)),
        3 => mark_edit().prop_map(Step::Mark),
        1 => Just(Step::Undo),
        1 => Just(Step::Redo),
        2 => (1usize..3).prop_map(Step::Hear),
        4 => Just(Step::Look),
    ];
    (prop_oneof![5 => Just(0usize), 2 => Just(1), 1 => Just(2)], step)
}

fn take_step(docs: &mut [Doc; 3], who: usize, step: &Step, now: u64) {
    let len = docs[who].text("t").len();
    match step {
        Step::Insert(at, count) => {
            let insert =
                |tx: &mut Transaction<'_>| tx.text("t").insert(at.index(len + 1), &"abc"[..*count]);
            docs[who].transact(now, insert).0.unwrap();
        }
        Step::Delete(at, count) if len > 0 => {
            let at = at.index(len);
            let delete = |tx: &mut Transaction<'_>| tx.text("t").delete(at, (*count).min(len - at));
            docs[who].transact(now, delete).0.unwrap();
        }
        Step::Mark(edit) => perform_mark(&mut docs[who], "t", edit, now),
        Step::Undo => drop(docs[who].undo(now)),
        Step::Redo => drop(docs[who].redo(now)),
        Step::Hear(next) => {
            let news = docs[(who + next) % 3].blocks_since(docs[who].version());
            docs[who].import(u64::MAX, news).unwrap();
        }
        Step::Look => assert_knows_its_marks(&docs[who]),
        Step::Delete(..) => {}
    }
}

#[test]
fn typing_and_marking_in_turn_works_out_few_marks_anew() {
    let steps = [50, 200].map(|count| {
        let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
        ada.transact(0, |tx| tx.text("t").insert(0, &"abcd".repeat(count))).0.unwrap();
        for at in 0..count {
            let mark = |tx: &mut Transaction<'_>| {
                tx.text("t").mark(4 * at..4 * at + 2, "bold", true, Expand::After)
            };
            ada.transact(0, mark).0.unwrap();
        }
        ben.import(0, ada.blocks_since(ben.version())).unwrap();
        assert_eq!([&ada, &ben].map(|doc| doc.text("t").spans().len()), [2 * count; 2]);
        let start = counted::steps();
        for turn in 0..20 {
            ada.transact(0, |tx| tx.text("t").insert(turn, "x")).0.unwrap();
            ada.transact(0, |tx| tx.text("t").delete(7 + turn, 1)).0.unwrap();
            let mark = |tx: &mut Transaction<'_>| tx.text("t").mark(9..11, "n", 1, Expand::None);
            ada.transact(0, mark).0.unwrap();
            ben.import(0, ada.blocks_since(ben.version())).unwrap();
            assert_eq!(ada.text("t").spans(), ben.text("t").spans());
        }
        counted::steps() - start
    });
    assert!(steps[0] == steps[1] && steps[0] < 400, "{steps:?}");
}

proptest! {
    #[test]
    fn marks_that_are_carried_along_are_those_worked_out_anew(
        steps in prop::collection::vec(step(), 0..50),
    ) {
        let mut docs = [1, 2, 3].map(|peer| Doc::new(PeerId(peer)));
        for (now, (who, step)) in (1..).zip(&steps) {
            take_step(&mut docs, *who, step, now);
        }
        docs.iter().for_each(assert_knows_its_marks);
    }

    #[test]
    fn marks_put_over_one_another_at_once_are_those_put_one_after_the_other(
        marks in prop::collection::vec((0u32..20, 0u32..8), 0..20),
    ) {
        let holds: Vec<Hold> = (0..).zip(marks).map(|(lv, (at, len))| (at, at + len, lv)).collect();
        let (mut held, mut graph) = (Holding::default(), Graph::default());
        for hold in &holds {
            graph.push(OpId::new(PeerId(1), hold.2), 1, Stamp(hold.2.into()), &[]);
            if hold.0 < hold.1 {
                held.lay(&graph, 0, *hold);
            }
        }
        prop_assert_eq!(painted(&holds), held.of(0));
    }
}
