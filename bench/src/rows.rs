//! A table of records with four fields each.

use anyhow::{Result, ensure};

use crate::corpus::Random;
use crate::engines::Records;
use crate::run::Bench;
use crate::text::heap;

/// What an application keeps of a task.
pub(crate) struct Record {
    pub(crate) title: String,
    pub(crate) done: bool,
    pub(crate) priority: i64,
    /// Seconds since 1970.
    pub(crate) due: i64,
}

pub(crate) fn records(count: usize) -> Vec<Record> {
    const WORDS: [&str; 16] = [
        "water", "plants", "call", "mother", "write", "report", "pay", "rent", "fix", "bike",
        "read", "paper", "book", "train", "clean", "desk",
    ];
    let mut random = Random::new(10);
    let record = |index: usize| {
        let words = [(); 3].map(|()| WORDS[random.below(16)]);
        Record {
            title: format!("{} {index}", words.join(" ")),
            done: random.below(3) == 0,
            priority: random.below(5) as i64,
            due: 1_700_000_000 + random.below(30_000_000) as i64,
        }
    };
    (0..count).map(record).collect()
}

/// Everything that the table of records is asked for.
pub(crate) fn measure<E: Records>(bench: &mut Bench<'_>, count: usize) -> Result<()> {
    let records = records(count);
    let filled = || {
        let mut doc = E::new(1);
        doc.insert(&records);
        doc
    };
    let time = bench.time(|| (), |()| filled());
    bench.note("insert, one change", time, "ms");
    heap(bench, "insert", filled);

    let mut doc = filled();
    let bytes = doc.save();
    let time = bench.time(|| (), |()| doc.save());
    bench.note("encode", time, "ms");
    bench.note("bytes", bytes.len() as f64 / 1_000.0, "KB");
    bench.note("bytes, stored", doc.stored().len() as f64 / 1_000.0, "KB");
    let middle = count / 2;
    let expected: usize =
        records.iter().map(|r| format!("{}{}{}{}", r.title, r.done, r.priority, r.due).len()).sum();
    let loaded = E::load(2, &bytes);
    ensure!(loaded.get(middle, "title") == records[middle].title, "a record reads otherwise");
    ensure!(loaded.read_all() == expected, "the records read otherwise");
    drop(loaded);
    let time = bench.time(|| (), |()| E::load(2, &bytes).get(middle, "title"));
    bench.note("load and read one", time, "ms");
    heap(bench, "load and read one", || {
        let doc = E::load(2, &bytes);
        doc.get(middle, "title");
        doc
    });
    let time = bench.time(|| (), |()| E::load(2, &bytes).read_all());
    bench.note("load and read all", time, "ms");
    changes::<E>(bench, &bytes, count)?;
    let one_by_one = || {
        let mut doc = E::new(1);
        records.iter().for_each(|record| doc.insert(std::slice::from_ref(record)));
        doc
    };
    let time = bench.time(|| (), |()| one_by_one());
    bench.note("insert, a change each", time, "ms");
    Ok(())
}

/// A thousand changed fields, here and elsewhere.
fn changes<E: Records>(bench: &mut Bench<'_>, bytes: &[u8], count: usize) -> Result<()> {
    let mut random = Random::new(11);
    let changed: Vec<(usize, i64)> = (0..1_000).map(|i| (random.below(count), 100 + i)).collect();
    let loaded = || {
        let mut doc = E::load(1, bytes);
        doc.mark();
        doc.read_all();
        doc
    };
    let time = bench.time(loaded, |doc| doc.set_priority(&changed));
    bench.note("change 1,000 fields", time, "ms");
    let mut doc = loaded();
    doc.set_priority(&changed);
    let delta = doc.delta();
    let time = bench.time(|| (), |()| doc.delta());
    bench.note("encode the change", time, "ms");
    bench.note("the change", delta.len() as f64 / 1_000.0, "KB");
    let (last, value) = changed[999];
    let mut other = loaded();
    other.apply(&delta);
    ensure!(other.get(last, "priority") == value.to_string(), "the change did not arrive");
    let time = bench.time(loaded, |doc| doc.apply(&delta));
    bench.note("apply the change", time, "ms");
    Ok(())
}
