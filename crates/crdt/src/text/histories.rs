//! Random histories of one short text, where nearly every step meets another: several people type,
//! delete, mark and undo at nearly the same places.

use proptest::prelude::*;
use proptest::sample::Index;

use crate::histories::{Step, assert_is_model, run};
use crate::model::Model;
use crate::text::model::CharMarks;
use crate::text::tests::{assert_knows_its_marks, mark_edit, marks_of, perform_mark};
use crate::{Doc, PeerId, VersionVector};

const LATE: u64 = u64::MAX >> 16;

fn cases(default: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig::with_cases(asked.unwrap_or(default))
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    prop_oneof![
        5 => (index(), "[a-c]{1,3}").prop_map(|(pos, content)| Step::Insert { pos, content }),
        5 => (index(), 1usize..5).prop_map(|(pos, len)| Step::Delete { pos, len }),
        5 => mark_edit().prop_map(Step::Mark),
        3 => Just(Step::Undo),
        1 => Just(Step::Redo),
        6 => index().prop_map(|from| Step::Pull { from }),
    ]
}

type Steps = Vec<(Index, Step)>;

fn steps(most: usize) -> impl Strategy<Value = Steps> {
    prop::collection::vec((any::<Index>(), step()), 1..most)
}

/// The steps that type and delete, and those that mark as a link what no other one does.
fn with_links_apart(steps: Steps) -> Steps {
    let mut keys = Vec::new();
    let stays = |(_, step): &(Index, Step)| match step {
        Step::Mark(mark) => {
            let is_first = !keys.contains(&mark.key);
            keys.push(mark.key);
            is_first && mark.is_link()
        }
        step => !matches!(step, Step::Undo | Step::Redo),
    };
    steps.into_iter().filter(stays).collect()
}

fn pull(to: &mut Doc, from: &Doc) {
    to.import(LATE, from.blocks_since(to.version())).unwrap();
}

/// Three replicas of a word after some steps of each. Their ids are not in their order.
fn replicas(steps: &Steps) -> Vec<Doc> {
    let mut docs: Vec<Doc> = [3, 1, 2].map(|peer| Doc::new(PeerId(peer))).into();
    docs[0].transact(0, |tx| tx.text("x").insert(0, "abcdef")).0.unwrap();
    let [first, others @ ..] = &mut docs[..] else { unreachable!("there are three") };
    others.iter_mut().for_each(|doc| pull(doc, first));
    for (at, (who, step)) in steps.iter().enumerate() {
        run(&mut docs, who.index(3), step, at as u64 * 400);
    }
    docs
}

/// All that anyone did, at a peer of its own.
fn meet(docs: &[Doc]) -> Doc {
    let mut whole = Doc::new(PeerId(9));
    docs.iter().for_each(|doc| pull(&mut whole, doc));
    whole
}

fn shown(doc: &Doc) -> (String, Vec<CharMarks>) {
    (doc.text("x").to_string(), marks_of(doc, "x"))
}

/// Whether what is typed is of a link only between two characters that are. It is also where the
/// next one was typed behind a link whose end was deleted, while somebody else typed inside it.
fn is_of_links_only_within(typed: &[(String, Vec<CharMarks>)]) -> bool {
    (0..).zip(typed).all(|(at, (_, marks)): (usize, _)| {
        let beside = [at.checked_sub(1), Some(at + 1)];
        let beside = beside.map(|at| marks.get(at?));
        let has = |key| beside.iter().all(|marks| marks.is_some_and(|m| m.contains_key(key)));
        marks[at].keys().all(has)
    })
}

/// What is shown if somebody types there, or anywhere else.
fn shown_when_typed_in(doc: &Doc) -> Vec<(String, Vec<CharMarks>)> {
    let typed = |at: usize| {
        let mut doc = doc.fork(PeerId(8));
        doc.transact(LATE, |tx| tx.text("x").insert(at, "-")).0.unwrap();
        shown(&doc)
    };
    (0..=doc.text("x").len()).map(typed).collect()
}

proptest! {
    #![proptest_config(cases(300))]

    /// Whatever is done to a text at once, what it shows is what the model says, on the way and
    /// in the end.
    #[test]
    fn texts_equal_the_model_of_their_blocks(steps in steps(30)) {
        let docs = replicas(&steps);
        let mut one_by_one = Doc::new(PeerId(8));
        for block in meet(&docs).blocks_since(&VersionVector::new()) {
            one_by_one.import(LATE, [block]).unwrap();
            assert_knows_its_marks(&one_by_one);
        }
        for doc in docs.iter().chain([&meet(&docs), &one_by_one]) {
            assert_is_model(doc, &Model::of(&doc.blocks_since(&VersionVector::new())));
            assert_knows_its_marks(doc);
        }
    }

    /// Where links are apart, a mark that is taken back leaves nothing behind. That holds for what
    /// is typed later, too, unless that is of a link beside a character that is not.
    #[test]
    fn a_mark_that_is_taken_back_leaves_nothing_behind(
        steps in steps(20), mark in mark_edit(),
    ) {
        let before = meet(&replicas(&with_links_apart(steps)));
        let mut doc = before.fork(PeerId(9));
        perform_mark(&mut doc, "x", &mark, LATE);
        doc.undo(LATE);
        prop_assert_eq!(shown(&doc), shown(&before));
        let typed = shown_when_typed_in(&before);
        if is_of_links_only_within(&typed) {
            prop_assert_eq!(shown_when_typed_in(&doc), typed);
        }
    }

    /// Text that is deleted and brought back has the marks that it had.
    #[test]
    fn text_that_is_brought_back_has_its_marks(
        steps in steps(20), at in any::<Index>(), len in 1usize..5,
    ) {
        let mut doc = meet(&replicas(&steps));
        let before = shown(&doc);
        run(std::slice::from_mut(&mut doc), 0, &Step::Delete { pos: at, len }, LATE);
        let deleted = shown(&doc);
        doc.undo(LATE);
        prop_assert_eq!(shown(&doc), before.clone());
        doc.redo(LATE);
        prop_assert_eq!(shown(&doc), deleted);
        doc.undo(LATE);
        prop_assert_eq!(shown(&doc), before);
    }
}

proptest! {
    #![proptest_config(cases(100))]

    /// A text that was trimmed shows what it did, and goes on as if it had not been.
    #[test]
    fn trimmed_texts_go_on_as_untrimmed_ones(
        steps in steps(24), later in steps(12), at in any::<Index>(),
    ) {
        let mut docs = replicas(&steps);
        let mut whole = meet(&docs);
        docs.iter_mut().for_each(|doc| pull(doc, &whole));
        let mut trimmed = whole.fork(PeerId(7));
        trimmed.trim_history(&whole.version().clone()).unwrap();
        prop_assert_eq!(shown(&trimmed), shown(&whole));
        prop_assert_eq!(shown_when_typed_in(&trimmed), shown_when_typed_in(&whole));
        for (at, (who, step)) in later.iter().enumerate() {
            run(&mut docs, who.index(3), step, LATE + at as u64 * 400);
        }
        pull(&mut trimmed, &docs[at.index(3)]);
        for doc in &docs {
            pull(&mut trimmed, doc);
            pull(&mut whole, doc);
        }
        prop_assert_eq!(shown(&trimmed), shown(&whole));
        prop_assert_eq!(shown_when_typed_in(&trimmed), shown_when_typed_in(&whole));
    }
}
