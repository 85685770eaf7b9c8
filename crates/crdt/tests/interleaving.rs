//! What several people type at one place at the same time stands side by side, each run whole.

use leptos_sync_crdt::{Doc, PeerId, Value};
use proptest::prelude::*;
use proptest::sample::Index;

/// In which direction a run is typed.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Each character after the one before.
    Forward,
    /// Each in front of the one before, as a list that grows at its start.
    Backward,
    /// Anywhere in what was typed so far.
    Within,
}

/// A run that two people type together, by turns: which way, and for each change whose it is, where
/// it goes and how many characters it inserts.
type Run = (Way, Vec<(bool, Index, usize)>);

/// What happens before all meet: where the runs are typed, the runs, and what somebody else inserts
/// and deletes anywhere.
type Round = (Index, Vec<Run>, Vec<(Index, bool)>);

fn round() -> impl Strategy<Value = Round> {
    let way = prop_oneof![Just(Way::Forward), Just(Way::Backward), Just(Way::Within)];
    let run = (way, prop::collection::vec((any::<bool>(), any::<Index>(), 1usize..3), 1..6));
    let others = prop::collection::vec(any::<(Index, bool)>(), 0..6);
    (any::<Index>(), prop::collection::vec(run, 2..5), others)
}

/// Inserts text, and values in a list and a movable list that are as long.
fn insert(doc: &mut Doc, at: usize, content: &str) {
    let values = || content.chars().map(|char| i64::from(u32::from(char)));
    doc.transact(0, |tx| {
        tx.text("x").insert(at, content).expect("in range");
        tx.list("x").insert_all(at, values()).expect("in range");
        for (at, value) in (at..).zip(values()) {
            tx.movable_list("x").insert(at, value).expect("in range");
        }
    });
}

/// Two people type a run of characters from `first` on, and see what the other types. Returns what
/// it reads in the end.
fn type_run(pair: &mut [Doc], place: usize, first: u32, (way, changes): &Run) -> String {
    let mut len = 0;
    for (who, at, count) in changes {
        let offset = match way {
            Way::Forward => len,
            Way::Backward => 0,
            Way::Within => at.index(len + 1),
        };
        let chars = (len..len + count).map(|i| char::from_u32(first + i as u32));
        let content: String = chars.map(|char| char.expect("a letter")).collect();
        insert(&mut pair[usize::from(*who)], place + offset, &content);
        meet(pair);
        len += count;
    }
    pair[0].text("x").slice(place, place + len)
}

fn edit_around(doc: &mut Doc, (at, is_deletion): (Index, bool)) {
    let at = at.index(doc.text("x").len() + 1);
    if !is_deletion {
        insert(doc, at, ".");
    } else if at < doc.text("x").len() {
        doc.transact(0, |tx| {
            tx.text("x").delete(at, 1).expect("in range");
            tx.list("x").remove(at).expect("in range");
            tx.movable_list("x").remove(at).expect("in range");
        });
    }
}

/// Everyone gets what everyone did; the orders in which it comes are not the same.
fn meet(docs: &mut [Doc]) {
    let count = docs.len();
    for (to, step) in (0..count).flat_map(|to| (1..count).map(move |step| (to, step))) {
        let blocks = docs[(to + step) % count].blocks_since(docs[to].version());
        docs[to].import(0, blocks).expect("sound blocks");
    }
}

/// The elements of both lists, as text.
fn lists(doc: &Doc) -> [String; 2] {
    let char = |value| match value {
        Value::I64(char) => char::from_u32(char as u32).expect("a letter"),
        other => panic!("{other:?}"),
    };
    [doc.list("x"), doc.movable_list("x")].map(|list| list.iter().map(char).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(200)
    ))]

    /// Runs that are typed at one place at the same time, forward or backward, by one person or by
    /// two together, are each in one piece when all meet, whatever else is inserted and deleted
    /// around them. What is typed later may go into them, and is in one piece there.
    #[test]
    fn runs_that_are_typed_at_one_place_at_once_do_not_interleave(
        rounds in prop::collection::vec(round(), 1..4),
        shift in 0u64..11,
    ) {
        // The ids are in another order in each case; the last one is of who edits around.
        let peer = |i: u64| PeerId((i * 7 + shift) % 11);
        let mut docs: Vec<Doc> = (0..9).map(|i| Doc::new(peer(i))).collect();
        insert(&mut docs[8], 0, "ends");
        meet(&mut docs);
        let mut first = 0x4e00;
        for (place, runs, others) in rounds {
            let place = place.index(docs[0].text("x").len() + 1);
            let mut typed = Vec::new();
            for (pair, run) in docs.chunks_mut(2).zip(&runs) {
                typed.push(type_run(pair, place, first, run));
                first += 0x10;
            }
            others.into_iter().for_each(|edit| edit_around(&mut docs[8], edit));
            meet(&mut docs);
            let text = docs[0].text("x").to_string();
            for run in &typed {
                prop_assert!(text.contains(run), "{run} is not whole in {text}");
            }
            for doc in &docs {
                prop_assert_eq!(doc.text("x").to_string(), text.clone());
                prop_assert_eq!(lists(doc), [text.clone(), text.clone()]);
            }
        }
    }
}

/// The same by example, of three people who write forward, and then backward.
#[test]
fn the_run_of_the_lower_peer_comes_first() {
    let mut docs: Vec<Doc> = (1..4).map(|peer| Doc::new(PeerId(peer))).collect();
    insert(&mut docs[0], 0, "()");
    meet(&mut docs);
    for (doc, word) in docs.iter_mut().zip(["one ", "two ", "three "]) {
        for (at, char) in word.char_indices() {
            insert(doc, 1 + at, &char.to_string());
        }
    }
    meet(&mut docs);
    assert_eq!(docs[1].text("x").to_string(), "(one two three )");

    for (doc, word) in docs.iter_mut().zip(["four ", "five ", "six "]) {
        for char in word.chars().rev() {
            insert(doc, 1, &char.to_string());
        }
    }
    meet(&mut docs);
    assert_eq!(docs[1].text("x").to_string(), "(four five six one two three )");
    assert!(lists(&docs[2]).iter().all(|list| list == "(four five six one two three )"));
}
