//! What entries cost, and that blocks come out of them as they went in.

use proptest::prelude::*;

use super::*;
use crate::histories::{run, step};
use crate::{Doc, Value, VersionVector};

/// Both ends of a channel.
#[derive(Default)]
struct Channel {
    writer: BlockWriter,
    reader: BlockReader,
}

impl Channel {
    /// Sends a block; returns how many bytes that took.
    fn send(&mut self, block: &Block) -> usize {
        let mut out = Writer::new();
        self.writer.write(block, &mut out);
        let mut input = Reader::new(out.as_slice());
        let restored = self.reader.read(&mut input).expect("the two ends agree");
        assert_eq!(restored.bytes(), block.bytes());
        assert_eq!(restored.header(), block.header());
        assert!(input.is_empty());
        out.as_slice().len()
    }
}

/// What the document's own peer wrote last.
fn last_block(doc: &Doc, since: &VersionVector) -> Block {
    doc.blocks_since(since).pop().expect("something was written")
}

fn edit(doc: &mut Doc, wall_ms: u64, pos: usize, deleted: usize, text: &str) -> Block {
    let before = doc.version().clone();
    doc.transact(wall_ms, |tx| tx.text("note").splice(pos, deleted, text)).0.expect("it fits");
    last_block(doc, &before)
}

const PROSE: &str = "Two people write one text, and neither waits for the other: what they see is \
                     their own, at once, and soon after what the other one wrote. ";

#[test]
fn a_typed_character_costs_at_most_eight_bytes() {
    let (mut doc, mut channel) = (Doc::new(PeerId(0x1234_5678_9abc_def0)), Channel::default());
    let mut wall_ms = 1_700_000_000_000;
    channel.send(&edit(&mut doc, wall_ms, 0, 0, "."));
    let mut total = 0;
    let typed = PROSE.repeat(20);
    for (at, letter) in typed.chars().enumerate() {
        wall_ms += 173;
        let cost = channel.send(&edit(&mut doc, wall_ms, at, 0, letter.encode_utf8(&mut [0; 4])));
        assert!(cost <= 8, "{cost} bytes for character {at}");
        total += cost;
    }
    assert!(total * 10 <= typed.len() * 62, "{total} bytes for {} characters", typed.len());
}

#[test]
fn a_character_deleted_with_backspace_costs_six_bytes() {
    let (mut doc, mut channel) = (Doc::new(PeerId(1)), Channel::default());
    channel.send(&edit(&mut doc, 0, 0, 0, &PROSE.repeat(2)[..200]));
    channel.send(&edit(&mut doc, 0, 199, 1, ""));
    for at in (0..199).rev() {
        assert_eq!(channel.send(&edit(&mut doc, 0, at, 1, "")), 6);
    }
}

/// Two people who write one text, each at a place of their own, and what sends their changes to a
/// third one, or to the server that each is connected to.
fn alternate(lag: usize) -> [Vec<usize>; 3] {
    let mut docs = [Doc::new(PeerId(u64::MAX)), Doc::new(PeerId(77))];
    let start = edit(&mut docs[0], 1_700_000_000_000, 0, 0, &PROSE.repeat(10));
    docs[1].import(u64::MAX >> 16, [start.clone()]).unwrap();
    let (mut down, mut up) = (Channel::default(), [Channel::default(), Channel::default()]);
    down.send(&start);
    let mut costs = [const { Vec::new() }; 3];
    let mut sent: Vec<Block> = Vec::new();
    for (at, letter) in PROSE.repeat(4).chars().enumerate() {
        let who = at % 2;
        let wall_ms = 1_700_000_000_000 + at as u64 * 90;
        let seen = sent[..sent.len().saturating_sub(lag)].to_vec();
        docs[who].import(u64::MAX >> 16, seen).unwrap();
        // One writes before the other, so that the other's place moves all the time.
        let shift = docs[who].text("note").len() - PROSE.len() * 10 - at / 2;
        let pos = if who == 0 { 300 + at / 2 } else { 700 + at / 2 + shift };
        let block = edit(&mut docs[who], wall_ms, pos, 0, letter.encode_utf8(&mut [0; 4]));
        costs[2].push(down.send(&block));
        costs[who].push(up[who].send(&block));
        sent.push(block);
    }
    costs
}

/// The most and the mean, once the first ones have made the authors known.
fn most_and_mean(costs: &[usize]) -> (usize, f64) {
    let costs = &costs[6..];
    let mean = costs.iter().sum::<usize>() as f64 / costs.len() as f64;
    (*costs.iter().max().expect("characters"), mean)
}

#[test]
fn a_character_costs_at_most_ten_bytes_while_two_people_write() {
    for costs in alternate(0) {
        let (most, mean) = most_and_mean(&costs);
        assert!(most <= 10 && mean < 8.5, "{most} at most, {mean} in the mean");
    }
}

/// Only when both clocks move on unseen by the other does a stamp need more.
#[test]
fn a_character_costs_some_ten_bytes_while_two_people_write_at_once() {
    for costs in [1, 2, 5].into_iter().flat_map(alternate) {
        let (most, mean) = most_and_mean(&costs);
        assert!(most <= 12 && mean < 9.5, "{most} at most, {mean} in the mean");
    }
}

#[test]
fn other_small_changes_cost_little_more_than_what_is_new_in_them() {
    let (mut doc, mut channel) = (Doc::new(PeerId(1)), Channel::default());
    let row = doc.transact(0, |tx| tx.table("tasks").insert([("title", "Buy milk")])).0;
    channel.send(&doc.blocks_since(&VersionVector::new())[0]);
    let mut cost = |change: &dyn Fn(&mut crate::Transaction<'_>)| {
        let before = doc.version().clone();
        doc.transact(0, |tx| change(tx));
        channel.send(&last_block(&doc, &before))
    };
    let set = |at: i64| {
        move |tx: &mut crate::Transaction<'_>| {
            tx.table("tasks").set(row, "done", Value::from(at)).unwrap();
        }
    };
    let add = |by: i64| move |tx: &mut crate::Transaction<'_>| tx.counter("likes").add(by);
    let push = |at: usize| {
        move |tx: &mut crate::Transaction<'_>| {
            tx.list("log").insert(at, at as i64).unwrap();
        }
    };
    let costs = [
        cost(&set(1)),
        cost(&set(2)),
        cost(&set(500)),
        cost(&add(1)),
        cost(&add(1)),
        cost(&add(9)),
        cost(&push(0)),
        cost(&push(1)),
        cost(&push(2)),
    ];
    assert_eq!(costs, [28, 6, 8, 21, 6, 6, 22, 6, 6]);
}

#[test]
fn what_does_not_follow_its_authors_last_block_travels_whole() {
    let mut doc = Doc::new(PeerId(1));
    let blocks: Vec<Block> = (0..4).map(|at| edit(&mut doc, 0, at, 0, "x")).collect();
    let mut channel = Channel::default();
    let whole = blocks[0].bytes().len() + 2;
    let costs = [0, 1, 1, 3, 2, 3].map(|at| channel.send(&blocks[at]));
    assert_eq!(costs, [whole, 6, whole, whole, whole, 6]);
}

#[test]
fn a_large_block_leaves_no_trace() {
    let mut doc = Doc::new(PeerId(1));
    let first = edit(&mut doc, 0, 0, 0, "x");
    let large = edit(&mut doc, 0, 1, 0, &"y".repeat(REFERENCE_BYTES_MAX));
    let after = [edit(&mut doc, 0, 257, 0, "z"), edit(&mut doc, 0, 258, 0, "z")];
    let mut channel = Channel::default();
    channel.send(&first);
    channel.writer.write(&large, &mut Writer::new());
    assert_eq!(after.map(|block| channel.send(&block)), [39, 6]);
    assert_eq!(channel.writer.seen.authors.len(), 1);
}

#[test]
fn many_authors_are_forgotten_together_at_both_ends() {
    let mut channel = Channel::default();
    let mut docs: Vec<Doc> = (1..=200).map(|peer| Doc::new(PeerId(peer))).collect();
    for round in 0..3 {
        for doc in &mut docs {
            let before = doc.version().clone();
            doc.transact(0, |tx| tx.counter("c").add(1 + round));
            channel.send(&last_block(doc, &before));
            assert!(channel.reader.seen.authors.len() <= AUTHORS_MAX);
        }
    }
}

#[test]
fn an_entry_for_another_place_is_an_error_with_a_name() {
    let mut doc = Doc::new(PeerId(1));
    let blocks: Vec<Block> = ["a", "b", "c"].map(|text| edit(&mut doc, 0, 0, 0, text)).into();
    let mut writer = BlockWriter::default();
    let entries = blocks.iter().map(|block| {
        let mut out = Writer::new();
        writer.write(block, &mut out);
        out.into_vec()
    });
    let entries: Vec<Vec<u8>> = entries.collect();
    let read = |places: &[usize]| {
        let mut reader = BlockReader::default();
        let read = places.iter().map(|at| reader.read(&mut Reader::new(&entries[*at])));
        read.last().expect("an entry").map(|block| block.seq())
    };
    assert_eq!(read(&[0, 1, 2]), Ok(2));
    assert_eq!(read(&[1]), Err(DecodeError::Invalid("author number")));
    assert_eq!(read(&[0, 2]), Err(DecodeError::Checksum));
    assert_eq!(read(&[0, 1, 1]), Err(DecodeError::Checksum));
}

/// Every block of a history of several replicas, in an order that it may be sent in.
fn history(steps: &[(prop::sample::Index, crate::histories::Step, u64)]) -> Vec<Block> {
    let mut docs: Vec<Doc> = (1..4).map(|peer| Doc::new(PeerId(peer << 40))).collect();
    let mut all = Doc::new(PeerId(9));
    let mut blocks = Vec::new();
    for (who, step, wall_ms) in steps {
        let who = who.index(docs.len());
        run(&mut docs, who, step, *wall_ms);
        let new = docs[who].blocks_since(all.version());
        all.import(u64::MAX >> 16, new.clone()).unwrap();
        blocks.extend(new);
    }
    blocks
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(400)
    ))]

    /// Whatever is written, in whatever order and however often it is sent, comes out as it was.
    #[test]
    fn every_block_comes_out_as_it_went_in(
        steps in prop::collection::vec((any::<prop::sample::Index>(), step(), 0u64..9_000), 1..60),
        again in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let blocks = history(&steps);
        let mut channel = Channel::default();
        for block in &blocks {
            prop_assert!(channel.send(block) <= block.bytes().len() + 4);
        }
        for at in again.iter().filter(|_| !blocks.is_empty()) {
            channel.send(at.get(&blocks));
        }
    }

    /// Damaged entries give errors or other blocks, none of them one that would not parse.
    #[test]
    fn damaged_entries_are_refused_or_give_blocks(
        steps in prop::collection::vec((any::<prop::sample::Index>(), step(), 0u64..9_000), 1..30),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let (mut writer, mut entries) = (BlockWriter::default(), Writer::new());
        history(&steps).iter().for_each(|block| writer.write(block, &mut entries));
        let mut entries = entries.into_vec();
        for (at, byte) in &damage {
            let place = at.index(entries.len().max(1));
            entries.iter_mut().skip(place).take(1).for_each(|at| *at = *byte);
        }
        entries.truncate(cut.index(entries.len() + 1).max(entries.len() / 2));
        let (mut reader, mut input) = (BlockReader::default(), Reader::new(&entries));
        while let Ok(block) = reader.read(&mut input) {
            prop_assert_eq!(Block::parse(block.bytes()), Ok(block.clone()));
        }
    }
}

#[test]
fn a_block_of_256_bytes_is_built_on_and_a_larger_one_is_not() {
    let cost_after = |size: usize| {
        let (mut doc, mut channel) = (Doc::new(PeerId(7)), Channel::default());
        channel.send(&edit(&mut doc, 0, 0, 0, "."));
        let small = doc.transact(0, |tx| tx.text("note").insert(0, "x")).1.expect("a change");
        let small = doc.block(&small);
        channel.send(&small);
        // The lengths of the block and of the text are a byte longer, too.
        let text = "x".repeat(size - small.bytes().len() - 1);
        let block = edit(&mut doc, 0, 0, 0, &text);
        assert_eq!(block.bytes().len(), size);
        channel.send(&block);
        channel.send(&edit(&mut doc, 0, text.len(), 0, "y"))
    };
    assert!(cost_after(256) < 12, "{}", cost_after(256));
    assert!(cost_after(257) > 20, "{}", cost_after(257));
}
