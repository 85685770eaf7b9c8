//! Editing histories of real people: replayed, they end in the text that the trace says.
//!
//! Where several insert at one place, who comes first is for each implementation to say, by its
//! own order and author ids. Where that happened, the end that came with a trace is another's.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::{block_of, edits, numbers, read};
use crate::{Block, Doc, OpId, PeerId, Stamp, VersionVector};

const LATE: u64 = u64::MAX >> 16;

fn trace(name: &str) -> Option<Json> {
    let text = read(&format!("traces/{name}.json.gz"))?;
    Some(serde_json::from_str(&text).unwrap())
}

fn end_of(trace: &Json) -> &str {
    trace["endContent"].as_str().unwrap()
}

/// How many operations of each author somebody had seen.
type Version = BTreeMap<PeerId, u32>;

/// The transactions of a concurrent trace as blocks. An agent who goes on from an old version is
/// another author from there, since no author's operations branch.
fn blocks_of(trace: &Json) -> Vec<Block> {
    let mut blocks = Vec::new();
    // What each transaction had seen, itself included, and what whoever follows it follows.
    let mut txns: Vec<(Version, BTreeSet<OpId>)> = Vec::new();
    let (mut written, mut made_by) = (Version::new(), BTreeMap::<OpId, usize>::new());
    let mut stamp = 1;
    for (index, json) in trace["txns"].as_array().unwrap().iter().enumerate() {
        let (mut version, mut heads) = (Version::new(), BTreeSet::new());
        for parent in numbers(&json["parents"]) {
            for (peer, count) in &txns[parent].0 {
                let seen = version.entry(*peer).or_default();
                *seen = (*seen).max(*count);
            }
            heads.extend(&txns[parent].1);
        }
        let ops = edits(&json["patches"]);
        let len: usize = ops.iter().map(|(_, deleted, new)| deleted + new.chars().count()).sum();
        // One that does nothing stands for what it follows.
        if len > 0 {
            let of = |version: &Version, peer| version.get(&peer).copied().unwrap_or_default();
            let agent = (json["agent"].as_u64().unwrap() + 1) << 16;
            let mut chains = (agent..).map(PeerId);
            let peer = chains.find(|peer| of(&version, *peer) == of(&written, *peer)).unwrap();
            let first = OpId::new(peer, of(&written, peer));
            let sees =
                |by: &OpId, op: &OpId| by != op && of(&txns[made_by[by]].0, op.peer) > op.seq;
            let is_last = |op: &&OpId| !heads.iter().any(|other| sees(other, op));
            let deps = heads.iter().filter(is_last).filter(|op| op.peer != peer).copied();
            blocks.push(block_of(first, deps.collect(), Stamp(stamp), &ops));
            let last = first.plus(len as u32 - 1);
            made_by.insert(last, index);
            written.insert(peer, last.seq + 1);
            version.insert(peer, last.seq + 1);
            heads = BTreeSet::from([last]);
            stamp += len as u64;
        }
        txns.push((version, heads));
    }
    blocks
}

/// The texts that a concurrent trace ends in here, however it comes.
fn ends_of(trace: &Json) -> BTreeSet<String> {
    let blocks = blocks_of(trace);
    let mut whole = Doc::new(PeerId(0));
    let import = whole.import(LATE, blocks.clone()).unwrap();
    assert_eq!((import.pending, import.applied.len()), (0, blocks.len()));
    let mut parts = Doc::new(PeerId(0));
    for part in blocks.chunks(blocks.len() / 50) {
        parts.import(LATE, part.to_vec()).unwrap();
    }
    let mut from_file = Doc::new(PeerId(0));
    from_file.import_update(LATE, &whole.encode_update(&VersionVector::new())).unwrap();
    [whole, parts, from_file].map(|doc| doc.text("t").to_string()).into()
}

/// Edits a text as a sequential trace says, and reads it from an update as well.
fn assert_sequential_trace_ends_well(name: &str) {
    let Some(trace) = trace(&format!("sequential/{name}")) else { return };
    let mut doc = Doc::new(PeerId(1));
    let start = trace["startContent"].as_str().unwrap();
    doc.transact(0, |tx| tx.text("t").insert(0, start)).0.unwrap();
    for txn in trace["txns"].as_array().unwrap() {
        doc.transact(0, |tx| {
            for (pos, deleted, new) in edits(&txn["patches"]) {
                tx.text("t").splice(pos, deleted, new).unwrap();
            }
        });
    }
    assert!(doc.text("t").to_string() == end_of(&trace), "{name} ends otherwise");
    let mut other = Doc::new(PeerId(2));
    other.import_update(0, &doc.encode_update(&VersionVector::new())).unwrap();
    assert!(other.text("t").to_string() == end_of(&trace), "{name} ends otherwise elsewhere");
}

#[test]
fn the_trace_of_a_paper_ends_in_its_last_text() {
    assert_sequential_trace_ends_well("automerge-paper");
}

#[test]
fn the_traces_of_code_and_of_two_people_one_after_the_other_end_in_their_last_texts() {
    for name in ["rustcode", "sveltecomponent", "friendsforever_flat"] {
        assert_sequential_trace_ends_well(name);
    }
}

#[test]
fn concurrent_traces_end_in_their_last_texts_however_they_come() {
    for name in ["A1", "friendsforever"] {
        let Some(trace) = trace(&format!("concurrent/{name}")) else { return };
        assert!(ends_of(&trace) == BTreeSet::from([end_of(&trace).to_owned()]), "{name}");
    }
}

/// Many more of the same, all at once.
#[test]
fn the_trace_of_live_concurrency_at_scale_ends_in_its_last_text() {
    let Some(trace) = trace("concurrent/C1") else { return };
    let mut doc = Doc::new(PeerId(0));
    doc.import(LATE, blocks_of(&trace)).unwrap();
    assert!(doc.text("t").to_string() == end_of(&trace));
}

/// In the history of this file, many branches insert lines at one place. Four times the trace has
/// them in another order than ours, which its agents' numbers do not tell; merges were written
/// down as edits of what that order gave, so in ours these hit lines beside the ones they were for.
#[test]
fn a_trace_with_insertions_at_one_place_ends_in_one_text_which_is_nearly_its_last() {
    let Some(trace) = trace("concurrent/git-makefile") else { return };
    let ends = ends_of(&trace);
    let [end] = Vec::from_iter(&ends)[..] else { panic!("{} ends", ends.len()) };
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let other = lines(end).difference(&lines(end_of(&trace))).count();
    assert!((1..=10).contains(&other), "{other} lines that the trace has not");
    assert_eq!(end.chars().count(), end_of(&trace).chars().count());
}
