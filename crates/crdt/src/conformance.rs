//! Orders that other implementations agree on, where their data is at hand.
//!
//! `conformance.json.gz` (eg-walker-reference) orders by Fugue's right parent, which differs from
//! FugueMax in case 621; `gen-ascii-300x60-seed1.jsonl.gz` (diamond-types) is FugueMax throughout.
//! The files are looked for in `$LEPTOS_SYNC_DATA` or `../shared/data` and are not part of the
//! project. Who names the folder has it: then a file that is missing is an error. Otherwise the
//! tests say so and check nothing.

mod traces;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use serde_json::Value as Json;

use crate::block::{Block, BlockHeader};
use crate::container::ContainerKind;
use crate::op::{Body, Op};
use crate::text::{Piece, RunKind, Runs};
use crate::{ContainerId, Doc, OpId, PeerId, Stamp};

/// A file's text, if there is data.
fn read(name: &str) -> Option<String> {
    let named = std::env::var_os("LEPTOS_SYNC_DATA").map(PathBuf::from);
    // Tests run in their package.
    let beside = || PathBuf::from("../../../shared/data");
    let file = match (std::fs::File::open(named.clone().unwrap_or_else(beside).join(name)), named) {
        (Ok(file), _) => file,
        (Err(error), Some(folder)) => panic!("no {name} in {}: {error}", folder.display()),
        (Err(_), None) => {
            eprintln!("skipped: no {name} in LEPTOS_SYNC_DATA");
            return None;
        }
    };
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    Some(text)
}

fn number(json: &Json) -> usize {
    json.as_u64().unwrap() as usize
}

fn numbers(json: &Json) -> Vec<usize> {
    json.as_array().unwrap().iter().map(number).collect()
}

/// Edits as position, how many characters are deleted there, and what is inserted.
fn edits(json: &Json) -> Vec<(usize, usize, &str)> {
    let edits = json.as_array().unwrap().iter();
    edits.map(|edit| (number(&edit[0]), number(&edit[1]), edit[2].as_str().unwrap())).collect()
}

/// A block of edits of one text, as its author saw it.
fn block_of(first: OpId, deps: Vec<OpId>, stamp: Stamp, edits: &[(usize, usize, &str)]) -> Block {
    let (mut log, mut lv) = (Runs::new(), 0);
    for (pos, deleted, content) in edits {
        let (pos, deleted) = (*pos as u32, *deleted as u32);
        if deleted > 0 {
            log.push_run(lv, pos, deleted, RunKind::Delete, "", false);
            lv += deleted;
        }
        if !content.is_empty() {
            let len = content.chars().count() as u32;
            log.push_run(lv, pos, len, RunKind::Insert, content, false);
            lv += len;
        }
    }
    let mut body = Body::default();
    body.containers.push((ContainerKind::Text, ContainerId::root("t")));
    let pieces: Vec<Piece> = log.pieces(0, lv).collect();
    body.push(0, &pieces, &log, &mut |_| None);
    let len = body.ops.iter().map(Op::len).sum();
    Block::encode(BlockHeader { peer: first.peer, seq: first.seq, len, stamp, deps }, &body)
}

/// One author's unbroken chain: the agent and the seq at which the chain starts. An agent that
/// goes on from an old version starts another chain, since ours never branch.
type Chain = (String, usize);

struct Txn {
    chain: Chain,
    seq: usize,
    span: (usize, usize),
}

fn chains(txns: &[Json]) -> Vec<Txn> {
    // Ancestors of each txn as a set of LVs.
    let mut pasts: Vec<Vec<bool>> = Vec::new();
    let mut out: Vec<Txn> = Vec::new();
    for txn in txns {
        let span = numbers(&txn["span"]);
        let mut past = vec![false; span[1]];
        for parent in numbers(&txn["parents"]) {
            let at = out.iter().position(|txn| (txn.span.0..txn.span.1).contains(&parent)).unwrap();
            past.iter_mut().zip(&pasts[at]).for_each(|(seen, known)| *seen |= known);
            past[out[at].span.0..=parent].fill(true);
        }
        let (agent, seq) = (txn["agent"].as_str().unwrap(), number(&txn["seqStart"]));
        let previous = out.iter().rfind(|txn| txn.chain.0 == agent);
        let follows = previous.filter(|txn| past[txn.span.1 - 1]);
        let chain = follows.map_or((agent.to_owned(), seq), |txn| txn.chain.clone());
        out.push(Txn { chain, seq, span: (span[0], span[1]) });
        pasts.push(past);
    }
    out
}

fn text_of(case: &Json) -> String {
    let txns = case["txns"].as_array().unwrap();
    let chained = chains(txns);
    let mut peers: BTreeMap<Chain, u64> = BTreeMap::new();
    for txn in &chained {
        peers.insert(txn.chain.clone(), 0);
    }
    for (rank, peer) in peers.values_mut().enumerate() {
        *peer = rank as u64 + 1;
    }
    let name = |lv: usize| {
        let txn = chained.iter().find(|txn| (txn.span.0..txn.span.1).contains(&lv)).unwrap();
        let seq = txn.seq - txn.chain.1 + lv - txn.span.0;
        OpId::new(PeerId(peers[&txn.chain]), seq as u32)
    };
    let mut doc = Doc::new(PeerId(0));
    for (txn, json) in chained.iter().zip(txns) {
        let first = name(txn.span.0);
        let parents = numbers(&json["parents"]).into_iter().map(name);
        let mut deps: Vec<OpId> = parents.filter(|dep| dep.peer != first.peer).collect();
        deps.sort();
        // Of two parents in one chain, the later says it all.
        deps.reverse();
        deps.dedup_by_key(|dep| dep.peer);
        deps.reverse();
        let block = block_of(first, deps, Stamp(txn.span.0 as u64 + 1), &edits(&json["ops"]));
        let import = doc.import(u64::MAX >> 16, [block]).unwrap();
        assert_eq!(import.pending, 0);
    }
    doc.text("t").to_string()
}

#[test]
fn concurrent_insertions_are_ordered_as_by_diamond_types() {
    let Some(text) = read("conformance/gen-ascii-300x60-seed1.jsonl.gz") else { return };
    for (index, line) in text.lines().enumerate() {
        let case: Json = serde_json::from_str(line).unwrap();
        assert_eq!(text_of(&case), case["endContent"].as_str().unwrap(), "case {index}");
    }
}

#[test]
fn concurrent_insertions_are_ordered_as_by_the_eg_walker_reference() {
    let Some(text) = read("conformance/conformance.json.gz") else { return };
    let cases: Vec<Json> = serde_json::from_str(&text).unwrap();
    let differs =
        |(_, case): &(usize, &Json)| text_of(case) != case["endContent"].as_str().unwrap();
    let different: Vec<usize> =
        cases.iter().enumerate().filter(differs).map(|(index, _)| index).collect();
    assert_eq!(different, [621], "FugueMax and Fugue differ in exactly this case");
}
