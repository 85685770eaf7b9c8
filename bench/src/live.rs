//! Several people: updates one by one, branches apart, and whole concurrent histories.

use anyhow::{Result, ensure};

use crate::corpus::{self, Patch, Random, Trace};
use crate::engines::Merging;
use crate::run::Bench;
use crate::text::heap;

/// One person types, another one gets every update as it is made.
///
/// An update is what goes to somebody who is connected and has got all before it. Ours refers to
/// what went before, as the entries of our protocol do; that of the others is the smallest message
/// that they have for one change. Envelopes of protocols are not counted for any.
pub(crate) fn stream<E: Merging>(bench: &mut Bench<'_>) -> Result<()> {
    let trace = corpus::writing(20_000, 3);
    let produce = || {
        let mut doc = E::new(1);
        let updates: Vec<Vec<u8>> =
            trace.patches().map(|patch| doc.say(std::slice::from_ref(patch))).collect();
        (doc, updates)
    };
    let time = bench.time(|| (), |()| produce());
    let (_, updates) = produce();
    let count = updates.len() as f64;
    bench.note("produce an update", time * 1e3 / count, "µs");
    let bytes: usize = updates.iter().map(Vec::len).sum();
    bench.note("an update", bytes as f64 / count, "B");
    let mut doc = E::new(1);
    let alone = trace.patches().map(|patch| doc.produce(std::slice::from_ref(patch)).len());
    bench.note("an update on its own", alone.sum::<usize>() as f64 / count, "B");
    let mut reader = E::new(2);
    updates.iter().for_each(|update| reader.hear(update));
    ensure!(reader.text() == trace.end_content, "the reader has another text");
    let time = bench.time(|| E::new(2), |doc| updates.iter().for_each(|update| doc.hear(update)));
    bench.note("receive an update", time * 1e3 / count, "µs");
    Ok(())
}

/// How many edits each of two people makes apart.
const APART: usize = 10_000;

/// A text, and what two people do to it without seeing each other.
pub(crate) fn apart() -> (String, [Vec<Patch>; 2]) {
    let mut random = Random::new(4);
    let start: String = (0..5_000).map(|_| char::from(b'a' + random.below(26) as u8)).collect();
    let (mut lens, mut branches) = ([start.len(); 2], [Vec::new(), Vec::new()]);
    for _ in 0..APART {
        for (len, branch) in lens.iter_mut().zip(&mut branches) {
            let pos = random.below(*len);
            branch.push(match random.below(4) {
                0 => {
                    *len -= 1;
                    (pos, 1, String::new())
                }
                _ => {
                    *len += 1;
                    (pos, 0, char::from(b'a' + random.below(26) as u8).to_string())
                }
            });
        }
    }
    (start, branches)
}

/// Two people write 10,000 edits each, apart; then they meet.
pub(crate) fn offline2<E: Merging>(bench: &mut Bench<'_>) -> Result<()> {
    let (start, branches) = apart();
    let mut ada = E::new(1);
    let first = ada.produce(&[(0, 0, start)]);
    let mut ben = E::new(2);
    ben.receive(&first);
    let produce = |doc: &mut E, patches: &[Patch]| -> Vec<Vec<u8>> {
        patches.iter().map(|patch| doc.produce(std::slice::from_ref(patch))).collect()
    };
    let (hers, his) = (produce(&mut ada, &branches[0]), produce(&mut ben, &branches[1]));
    let alone = || {
        let mut doc = E::new(3);
        doc.receive(&first);
        hers.iter().for_each(|update| doc.receive(update));
        doc
    };
    let mut both = alone();
    his.iter().for_each(|update| both.receive(update));
    let mut other = E::new(4);
    other.receive(&first);
    his.iter().chain(&hers).for_each(|update| other.receive(update));
    ensure!(both.text() == other.text(), "the order of arrival shows in the text");
    let history = both.history();
    let text = both.text();
    bench.note("history, stored", both.stored().len() as f64 / 1_000.0, "KB");
    ensure!(E::from_history(5, &history).text() == text, "merging at once gives another text");
    let time = bench.time(|| (), |()| E::from_history(5, &history).len());
    bench.note("merge at once", time, "ms");
    heap(bench, "merge", || E::from_history(5, &history));
    let time = bench.time(alone, |doc| his.iter().for_each(|update| doc.receive(update)));
    bench.note("receive one by one", time * 1e3 / APART as f64, "µs");
    Ok(())
}

/// A replica that replays what one agent did.
struct Replica<E> {
    agent: usize,
    doc: E,
    /// The transactions made here, by number.
    made: Vec<usize>,
    /// How many of each replica's transactions it has.
    has: Vec<usize>,
}

/// The updates of a history of several people, made by replicas that saw what their authors saw,
/// and a replica that has them all.
fn replay<E: Merging>(trace: &Trace) -> (Vec<Vec<u8>>, E) {
    let mut replicas: Vec<Replica<E>> = Vec::new();
    let mut updates: Vec<Vec<u8>> = Vec::with_capacity(trace.txns.len());
    let mut versions: Vec<Vec<usize>> = Vec::with_capacity(trace.txns.len());
    for (index, txn) in trace.txns.iter().enumerate() {
        let past =
            txn.parents.iter().fold(Vec::new(), |past, parent| union(past, &versions[*parent]));
        let is_before = |replica: &Replica<E>| {
            let count = |at: usize| past.get(at).copied().unwrap_or(0);
            replica.agent == txn.agent
                && replica.has.iter().enumerate().all(|(at, has)| *has <= count(at))
        };
        let at = replicas.iter().position(is_before).unwrap_or_else(|| {
            let doc = E::new(replicas.len() as u64 + 1);
            replicas.push(Replica { agent: txn.agent, doc, made: Vec::new(), has: Vec::new() });
            replicas.len() - 1
        });
        let mut missing: Vec<usize> = Vec::new();
        for (of, count) in past.iter().enumerate() {
            let has = replicas[at].has.get(of).copied().unwrap_or(0);
            missing.extend(&replicas[of].made[has..*count]);
        }
        missing.sort_unstable();
        let replica = &mut replicas[at];
        missing.into_iter().for_each(|txn| replica.doc.receive(&updates[txn]));
        let patches = fitted(&txn.patches, replica.doc.len());
        updates.push(replica.doc.produce(&patches));
        replica.made.push(index);
        let mut version = past;
        version.resize(version.len().max(at + 1), 0);
        version[at] = replica.made.len();
        replica.has.clone_from(&version);
        versions.push(version);
    }
    let mut whole = E::new(0);
    updates.iter().for_each(|update| whole.receive(update));
    (updates, whole)
}

/// The patches, cut to a text of `len` characters. Where several people inserted at one place, each
/// engine has its own order; what later edits there hit, and so how long the text is, differs too.
fn fitted(patches: &[Patch], mut len: usize) -> Vec<Patch> {
    let fit = |(pos, deleted, inserted): &Patch| {
        let pos = (*pos).min(len);
        let deleted = (*deleted).min(len - pos);
        len = len + inserted.chars().count() - deleted;
        (pos, deleted, inserted.clone())
    };
    patches.iter().map(fit).collect()
}

fn union(mut a: Vec<usize>, b: &[usize]) -> Vec<usize> {
    a.resize(a.len().max(b.len()), 0);
    a.iter_mut().zip(b).for_each(|(a, b)| *a = (*a).max(*b));
    a
}

/// A history of several people: merged whole, and one transaction after the other.
pub(crate) fn concurrent<E: Merging>(bench: &mut Bench<'_>, trace: &Trace) -> Result<()> {
    let (updates, mut whole) = replay::<E>(trace);
    let text = whole.text();
    // Who comes first at one place differs between engines, so only some texts are the trace's.
    bench.note("the trace's end", f64::from(u8::from(text == trace.end_content)), "1 if reached");
    let history = whole.history();
    bench.note("history, stored", whole.stored().len() as f64 / 1_000.0, "KB");
    ensure!(E::from_history(9_999, &history).text() == text, "merging at once gives another text");
    let time = bench.time(|| (), |()| E::from_history(9_999, &history).len());
    bench.note("merge at once", time, "ms");
    heap(bench, "merge", || E::from_history(9_999, &history));
    let time =
        bench.time(|| E::new(9_999), |doc| updates.iter().for_each(|update| doc.receive(update)));
    bench.note("receive a transaction", time * 1e3 / updates.len() as f64, "µs");
    Ok(())
}

/// An edit of `len` characters' text that is far from where the last one was.
pub(crate) fn anywhere(random: &mut Random, len: usize) -> Patch {
    let letter = char::from(b'a' + random.below(26) as u8);
    (random.below(len + 1), 0, letter.to_string())
}
