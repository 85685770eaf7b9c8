//! How times grow: with the size of a text, with its history, with what is concurrent.

use std::time::Instant;

use anyhow::{Result, ensure};

use crate::corpus::{self, Random};
use crate::engines::{Merging, TextDoc};
use crate::live::anywhere;
use crate::run::Bench;

/// The time of a local edit in a document that had so many before: a thousand of them at a time.
pub(crate) fn text<E: TextDoc>(bench: &mut Bench<'_>) -> Result<()> {
    let mut doc = E::new(1);
    let mut done = 0;
    let session = corpus::writing(100_000, 5);
    let patches: Vec<_> = session.patches().cloned().collect();
    let mut random = Random::new(6);
    // The same session again and again, at another place each time.
    let mut edit = |doc: &mut E, count: usize| {
        let base = random.below(doc.len() + 1);
        let start = Instant::now();
        for (pos, deleted, inserted) in &patches[..count] {
            let patch = (base + pos, *deleted, inserted.clone());
            doc.edit(std::slice::from_ref(&patch));
        }
        start.elapsed().as_secs_f64() * 1e9 / count as f64
    };
    for power in 3..=7u32 {
        let upto = 10usize.pow(power);
        while done < upto {
            let count = patches.len().min(upto - done);
            edit(&mut doc, count);
            done += count;
        }
        let time = bench.median(|| edit(&mut doc, 1_000));
        bench.note(&format!("local edit after 10^{power}"), time, "ns");
    }
    Ok(())
}

/// Merging a branch of 1,000 edits into histories of different lengths, and loading snapshots of
/// one text with different histories.
pub(crate) fn merge<E: Merging>(bench: &mut Bench<'_>) -> Result<()> {
    for history in [1_000, 10_000, 100_000] {
        let trace = corpus::writing(history, 7);
        let mut ada = E::new(1);
        trace.patches().for_each(|patch| ada.edit(std::slice::from_ref(patch)));
        let base = ada.history();
        let mut ben = E::from_history(2, &base);
        let mut random = Random::new(8);
        let branch: Vec<Vec<u8>> = (0..1_000)
            .map(|_| {
                let len = ben.len();
                ben.produce(&[anywhere(&mut random, len)])
            })
            .collect();
        let apart = || {
            let mut doc = E::from_history(3, &base);
            let mut random = Random::new(9);
            for _ in 0..1_000 {
                let len = doc.len();
                doc.edit(&[anywhere(&mut random, len)]);
            }
            doc
        };
        let mut merged = apart();
        branch.iter().for_each(|update| merged.receive(update));
        ensure!(merged.len() == apart().len() + 1_000, "the branch was not merged");
        let time = bench.time(apart, |doc| branch.iter().for_each(|update| doc.receive(update)));
        bench.note(&format!("merge 1,000 edits into {history}"), time, "ms");
    }
    for history in [1_000usize, 10_000, 100_000] {
        let mut doc = E::new(1);
        doc.edit(&[(0, 0, "0123456789".repeat(1_000))]);
        for i in 0..history {
            let patch = if i % 2 == 0 {
                (i % 5_000, 0, "x".to_owned())
            } else {
                (i % 5_000, 1, String::new())
            };
            doc.edit(&[patch]);
        }
        let Some(snapshot) = doc.snapshot() else { return Ok(()) };
        let time = bench.time(|| (), |()| E::from_snapshot(2, &snapshot).len());
        bench.note(&format!("load 10,000 characters after {history} edits"), time, "ms");
    }
    Ok(())
}
