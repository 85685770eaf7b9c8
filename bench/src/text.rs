//! One person's text: writing it, storing it, loading it.

use anyhow::{Result, ensure};

use crate::HEAP;
use crate::corpus::{Patch, Trace};
use crate::engines::{Merging, TextDoc, deflated};
use crate::run::Bench;

/// All edits, each a change of its own.
pub(crate) fn written<E: TextDoc>(trace: &Trace) -> E {
    let mut doc = E::new(1);
    if !trace.start_content.is_empty() {
        doc.edit(&[(0, 0, trace.start_content.clone())]);
    }
    for patch in trace.patches() {
        doc.edit(std::slice::from_ref(patch));
    }
    doc
}

/// Local edits, one by one.
pub(crate) fn local<E: TextDoc>(bench: &mut Bench<'_>, trace: &Trace) -> Result<()> {
    let edits = trace.patches().count();
    let mut doc = written::<E>(trace);
    ensure!(doc.text() == trace.end_content, "the text written is not the trace's");
    drop(doc);
    let time = bench.time(|| (), |()| written::<E>(trace));
    bench.note("local edits", time, "ms");
    bench.note("local edit", time * 1e6 / edits as f64, "ns");
    Ok(())
}

/// The bytes of the history and of a snapshot, and loading both.
pub(crate) fn stored<E: Merging>(bench: &mut Bench<'_>, trace: &Trace) -> Result<()> {
    let len = trace.end_content.chars().count();
    let mut doc = written::<E>(trace);
    let history = doc.history();
    let time = bench.time(|| (), |()| doc.history());
    bench.note("encode history", time, "ms");
    bench.note("history", history.len() as f64 / 1_000.0, "KB");
    bench.note("history, stored", doc.stored().len() as f64 / 1_000.0, "KB");
    let mut loaded = E::from_history(2, &history);
    ensure!(loaded.text() == trace.end_content, "the text loaded is not the trace's");
    drop(loaded);
    let read = |bytes: &[u8]| {
        let mut doc = E::from_history(2, bytes);
        assert_eq!(doc.len(), len);
        doc
    };
    let time = bench.time(|| (), |()| read(&history));
    bench.note("load history", time, "ms");
    heap(bench, "load history", || read(&history));

    if let Some(snapshot) = doc.snapshot() {
        bench.note("snapshot", snapshot.len() as f64 / 1_000.0, "KB");
        bench.note("snapshot, stored", deflated(&snapshot).len() as f64 / 1_000.0, "KB");
        if let Some(state) = doc.state() {
            bench.note("state, stored", deflated(&state).len() as f64 / 1_000.0, "KB");
        }
        let read = || {
            let mut doc = E::from_snapshot(2, &snapshot);
            assert_eq!(doc.len(), len);
            doc
        };
        ensure!(read().text() == trace.end_content, "the text loaded is not the trace's");
        let time = bench.time(|| (), |()| read());
        bench.note("load snapshot", time, "ms");
        let edit: [Patch; 1] = [(len / 2, 0, "x".to_owned())];
        let time = bench.time(
            || (),
            |()| {
                let mut doc = E::from_snapshot(2, &snapshot);
                doc.edit(&edit);
                assert_eq!(doc.len(), len + 1);
                doc
            },
        );
        bench.note("load snapshot and edit", time, "ms");
        heap(bench, "load snapshot", read);
    }
    Ok(())
}

/// What is in use after making something, and the most that was while making it.
pub(crate) fn heap<T>(bench: &mut Bench<'_>, what: &str, make: impl FnOnce() -> T) {
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    let made = make();
    let (after, peak) = (HEAP.current_usage(), HEAP.peak_usage());
    drop(made);
    bench.note(&format!("heap after {what}"), (after - before) as f64 / 1e6, "MB");
    bench.note(&format!("peak in {what}"), (peak - before) as f64 / 1e6, "MB");
}
