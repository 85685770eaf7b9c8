//! What we set out to reach, and how far these rows are from it.

use crate::engines::{FLOOR, OURS};
use crate::report::{Row, best_other, figure};

/// What one of our figures is held against.
enum To {
    /// The best of the others that was measured.
    Best,
    /// The best of those others that keep the history, as we do: yrs keeps no deleted text.
    Keeping,
    /// This engine.
    Engine(&'static str),
    /// Nothing: the figure itself counts.
    Itself,
}

struct Aim {
    workload: &'static str,
    metric: &'static str,
    to: To,
    most: f64,
}

const fn aim(workload: &'static str, metric: &'static str, to: To, most: f64) -> Aim {
    Aim { workload, metric, to, most }
}

/// The engines that can show any version that there was.
const KEEPING: [&str; 3] = ["diamond-types", "loro", "automerge"];

const AIMS: &[Aim] = &[
    aim("text/automerge-paper", "local edits", To::Engine(FLOOR), 2.0),
    aim("text/rustcode", "local edits", To::Engine(FLOOR), 2.0),
    aim("text/sveltecomponent", "local edits", To::Engine(FLOOR), 2.0),
    aim("text/automerge-paper", "load history", To::Best, 0.6),
    aim("text/rustcode", "load history", To::Best, 0.6),
    aim("text/sveltecomponent", "load history", To::Best, 0.6),
    aim("text/automerge-paper", "load snapshot", To::Engine("loro"), 0.7),
    aim("text/rustcode", "load snapshot", To::Engine("loro"), 0.7),
    aim("text/sveltecomponent", "load snapshot", To::Engine("loro"), 0.7),
    aim("text/automerge-paper", "load snapshot and edit", To::Engine("loro"), 0.05),
    aim("text/rustcode", "load snapshot and edit", To::Engine("loro"), 0.05),
    aim("text/sveltecomponent", "load snapshot and edit", To::Engine("loro"), 0.05),
    aim("live/stream", "receive an update", To::Engine("yrs"), 0.7),
    aim("concurrent/friendsforever", "receive a transaction", To::Engine("yrs"), 0.7),
    aim("live/offline2", "receive one by one", To::Engine("yrs"), 1.0),
    aim("live/offline2", "merge at once", To::Best, 1.0),
    aim("concurrent/friendsforever", "merge at once", To::Best, 1.0),
    aim("concurrent/git-makefile", "merge at once", To::Best, 1.0),
    aim("concurrent/A1", "merge at once", To::Best, 1.0),
    aim("concurrent/C1", "merge at once", To::Best, 1.0),
    aim("text/automerge-paper", "history, stored", To::Itself, 80.0),
    aim("text/rustcode", "history, stored", To::Itself, 95.0),
    aim("text/sveltecomponent", "history, stored", To::Itself, 32.0),
    aim("live/stream", "an update", To::Itself, 10.0),
    aim("text/automerge-paper", "heap after load history", To::Best, 0.5),
    aim("text/rustcode", "heap after load history", To::Best, 0.5),
    aim("text/sveltecomponent", "heap after load history", To::Best, 0.5),
    aim("text/automerge-paper", "peak in load history", To::Best, 0.5),
    aim("text/rustcode", "peak in load history", To::Best, 0.5),
    aim("text/sveltecomponent", "peak in load history", To::Best, 0.5),
    aim("text/automerge-paper", "state, stored", To::Engine("loro"), 1.2),
    aim("text/rustcode", "state, stored", To::Engine("loro"), 1.2),
    aim("text/sveltecomponent", "state, stored", To::Engine("loro"), 1.2),
    aim("live/offline2", "heap after merge", To::Keeping, 0.5),
    aim("live/offline2", "peak in merge", To::Keeping, 0.5),
    aim("concurrent/friendsforever", "heap after merge", To::Keeping, 0.5),
    aim("concurrent/friendsforever", "peak in merge", To::Keeping, 0.5),
    aim("concurrent/git-makefile", "heap after merge", To::Keeping, 0.5),
    aim("concurrent/git-makefile", "peak in merge", To::Keeping, 0.5),
    aim("concurrent/A1", "heap after merge", To::Keeping, 0.5),
    aim("concurrent/A1", "peak in merge", To::Keeping, 0.5),
    aim("concurrent/C1", "heap after merge", To::Keeping, 0.5),
    aim("concurrent/C1", "peak in merge", To::Keeping, 0.5),
    aim("rows/100k", "insert, one change", To::Best, 0.2),
    aim("rows/100k", "encode", To::Best, 0.2),
    aim("rows/100k", "bytes, stored", To::Engine("automerge"), 0.7),
    aim("rows/100k", "load and read one", To::Itself, 2.0),
    aim("rows/100k", "load and read all", To::Best, 0.2),
    aim("rows/100k", "change 1,000 fields", To::Best, 0.2),
    aim("rows/100k", "the change", To::Itself, 9.0),
    aim("rows/100k", "apply the change", To::Best, 0.2),
    aim("rows/100k", "heap after insert", To::Itself, 17.0),
    aim("wasm/size", "the engine, gzip", To::Itself, 60.0),
    aim("wasm/size", "with blocks, gzip", To::Itself, 60.0),
    aim("wasm/size", "with every type, gzip", To::Itself, 80.0),
    aim("wasm/size", "with everything, gzip", To::Itself, 80.0),
];

impl Aim {
    /// A line of the table, if we were measured.
    fn line(&self, rows: &[Row]) -> Option<String> {
        let Self { workload, metric, to, most } = self;
        let of = |engine: &str| rows.iter().find(|row| row.is(workload, metric, engine));
        let ours = of(OURS)?;
        let value = ours.value()?;
        let other = match to {
            To::Itself => None,
            To::Engine(engine) => Some((of(engine).and_then(Row::value), *engine)),
            To::Best | To::Keeping => {
                let counts = |row: &&Row| matches!(to, To::Best) || KEEPING.contains(&row.engine());
                let best = best_other(rows.iter().filter(counts), workload, metric);
                Some(best.map_or((None, "the best"), |(best, engine)| (Some(best), engine)))
            }
        };
        let (reached, unit) = match other {
            None => (value, format!(" {}", ours.unit())),
            Some((Some(other), engine)) => (value / other, format!(" × {engine}")),
            Some((None, engine)) => {
                let verdict = "not measured: no figure of others in time";
                return Some(format!(
                    "| {workload}, {metric} | {most} × {engine} | | {verdict} |\n"
                ));
            }
        };
        let verdict = if reached <= *most { "reached" } else { "**missed**" };
        let reached = figure(reached);
        Some(format!("| {workload}, {metric} | {most}{unit} | {reached} | {verdict} |\n"))
    }
}

/// The aims that these rows tell of, as a section of the page.
pub(crate) fn section(rows: &[Row]) -> String {
    let lines: String = AIMS.iter().filter_map(|aim| aim.line(rows)).collect();
    if lines.is_empty() {
        return lines;
    }
    format!("\n## What we aim at\n\n| figure | at most | now | |\n|---|---:|---:|---|\n{lines}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aim_is_missed_when_the_ratio_is_above_it() {
        let row = |engine, value| Row::new("text/rustcode", engine, "load history", value, "ms");
        let told = section(&[row(OURS, 3.0), row("yrs", 10.0), row("loro", 9.0), row(FLOOR, 1.0)]);
        assert!(told.contains("| 0.6 × loro | 0.333 | reached |"), "{told}");
        let told = section(&[row(OURS, 8.1), row("yrs", 10.0), row("loro", 9.0)]);
        assert!(told.contains("| 0.6 × loro | 0.900 | **missed** |"), "{told}");
        let told = section(&[row(OURS, 8.1)]);
        assert!(told.contains("| 0.6 × the best | | not measured"), "{told}");
        assert_eq!(section(&[row("yrs", 8.1)]), "", "nothing to hold against it");
    }

    #[test]
    fn memory_is_held_against_those_that_keep_the_history() {
        let row =
            |engine, value| Row::new("concurrent/C1", engine, "heap after merge", value, "MB");
        let told = section(&[row(OURS, 1.0), row("yrs", 1.0), row("loro", 4.0)]);
        assert!(told.contains("| 0.5 × loro | 0.250 | reached |"), "{told}");
    }

    #[test]
    fn an_aim_for_the_figure_itself_needs_no_other_engine() {
        let told = section(&[Row::new("live/stream", OURS, "an update", 6.25, "B")]);
        assert!(told.contains("| live/stream, an update | 10 B | 6.25 | reached |"), "{told}");
    }
}
