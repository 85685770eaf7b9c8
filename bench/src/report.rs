//! Figures as rows, as a table for the terminal and as a page for the documentation.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::aims;
use crate::engines::{FLOOR, OURS};

/// One figure. Smaller is better, whatever the unit.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Row {
    workload: String,
    engine: String,
    metric: String,
    /// None where the measurement failed; `unit` is the reason then.
    value: Option<f64>,
    unit: String,
}

impl Row {
    pub(crate) fn new(workload: &str, engine: &str, metric: &str, value: f64, unit: &str) -> Self {
        let text = str::to_owned;
        Self {
            workload: text(workload),
            engine: text(engine),
            metric: text(metric),
            value: Some(value),
            unit: text(unit),
        }
    }

    pub(crate) fn failed(workload: &str, engine: &str, reason: &str) -> Self {
        Self { value: None, ..Self::new(workload, engine, "failed", 0.0, reason) }
    }

    pub(crate) fn is(&self, workload: &str, metric: &str, engine: &str) -> bool {
        self.workload == workload && self.metric == metric && self.engine == engine
    }

    pub(crate) fn value(&self) -> Option<f64> {
        self.value
    }

    pub(crate) fn engine(&self) -> &str {
        &self.engine
    }

    pub(crate) fn unit(&self) -> &str {
        &self.unit
    }

    pub(crate) fn is_failure_of(&self, engine: &str) -> bool {
        self.value.is_none() && self.engine == engine
    }
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Style {
    Terminal,
    Markdown,
}

/// How we stand against the best of the others.
fn verdict(ratio: f64, style: Style) -> String {
    let (word, colour) = match ratio {
        ratio if ratio <= 0.95 => ("ahead", 32),
        ratio if ratio <= 1.05 => ("level", 33),
        _ => ("**behind**", 31),
    };
    let has_colour = style == Style::Terminal
        && std::io::IsTerminal::is_terminal(&std::io::stdout())
        && std::env::var_os("NO_COLOR").is_none();
    match style {
        Style::Terminal if has_colour => {
            format!("{ratio:.2} \x1b[{colour}m{}\x1b[0m", word.trim_matches('*'))
        }
        Style::Terminal => format!("{ratio:.2} {}", word.trim_matches('*')),
        Style::Markdown => format!("{ratio:.2} {word}"),
    }
}

pub(crate) fn figure(value: f64) -> String {
    match value {
        value if value >= 1_000.0 => format!("{value:.0}"),
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value if value >= 1.0 => format!("{value:.2}"),
        value => format!("{value:.3}"),
    }
}

/// The names in these rows, in order of first use.
fn distinct<'a>(rows: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names = Vec::new();
    for name in rows {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// One table a workload: a line for each metric, a column for each engine.
pub(crate) fn table(rows: &[Row], style: Style) -> String {
    let mut out = String::new();
    let engines = distinct(rows.iter().map(|row| row.engine.as_str()));
    for workload in distinct(rows.iter().map(|row| row.workload.as_str())) {
        let here: Vec<&Row> = rows.iter().filter(|row| row.workload == workload).collect();
        let title = if style == Style::Markdown { "## " } else { "" };
        let _ = writeln!(out, "\n{title}{workload}\n");
        let present: Vec<&str> = engines
            .iter()
            .copied()
            .filter(|engine| here.iter().any(|row| row.engine == *engine && row.value.is_some()))
            .collect();
        let mut lines = vec![
            ["", "unit"]
                .into_iter()
                .chain(present.iter().copied())
                .chain(["of the best other"])
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        ];
        let measured = here.iter().filter(|row| row.value.is_some());
        for metric in distinct(measured.map(|row| row.metric.as_str())) {
            lines.push(line(&here, metric, &present, style));
        }
        out.push_str(&aligned(&lines, style));
        for row in here.iter().filter(|row| row.value.is_none()) {
            let has_some = here.iter().any(|one| one.engine == row.engine && one.value.is_some());
            let what = if has_some { "The rest of" } else { "All of" };
            let _ = writeln!(out, "\n{what} {} is missing: it {}.", row.engine, row.unit);
        }
    }
    out
}

fn line(rows: &[&Row], metric: &str, engines: &[&str], style: Style) -> Vec<String> {
    let of = |engine: &str| rows.iter().find(|row| row.engine == engine && row.metric == metric);
    let value = |engine: &str| of(engine).and_then(|row| row.value);
    let unit = engines.iter().find_map(|engine| of(engine)).map(|row| row.unit.clone());
    let mut line = vec![metric.to_owned(), unit.unwrap_or_default()];
    line.extend(engines.iter().map(|engine| value(engine).map(figure).unwrap_or_default()));
    let best = rows.first().and_then(|row| best_other(rows.iter().copied(), &row.workload, metric));
    line.push(match (value(OURS), best) {
        (Some(ours), Some((best, _))) => verdict(ours / best, style),
        _ => String::new(),
    });
    line
}

/// The least figure of the other engines above zero, and whose it is.
pub(crate) fn best_other<'a>(
    rows: impl IntoIterator<Item = &'a Row>,
    workload: &str,
    metric: &str,
) -> Option<(f64, &'a str)> {
    let others = rows.into_iter().filter(|row| {
        let is_other = ![OURS, FLOOR].contains(&row.engine.as_str());
        is_other && row.workload == workload && row.metric == metric
    });
    let best = others.filter_map(|row| Some((row.value?, row.engine.as_str())));
    best.min_by(|a, b| a.0.total_cmp(&b.0)).filter(|(best, _)| *best > 0.0)
}

fn aligned(lines: &[Vec<String>], style: Style) -> String {
    let mut out = String::new();
    if style == Style::Markdown {
        for (index, line) in lines.iter().enumerate() {
            let _ = writeln!(out, "| {} |", line.join(" | "));
            if index == 0 {
                let _ = writeln!(out, "|---|---|{}", "---:|".repeat(line.len() - 2));
            }
        }
        return out;
    }
    let columns = lines.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|at| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0))
        .collect();
    for line in lines {
        for (at, cell) in line.iter().enumerate() {
            let pad = " ".repeat(widths[at].saturating_sub(cell.chars().count()));
            let _ = match at {
                0 | 1 => write!(out, "{cell}{pad}  "),
                _ => write!(out, "{pad}{cell}  "),
            };
        }
        out.push('\n');
    }
    out
}

/// The page for the documentation.
pub(crate) fn document(rows: &[Row], runs: usize) -> String {
    let behind: Vec<String> = losses(rows);
    let mut out = format!(
        "# Benchmarks\n\n\
        Written by `cargo xtask bench engine --rivals`; do not edit. Every time is the median of \
        {runs} runs; smaller is better everywhere. Each engine ran in a process of its own, with \
        the same allocator and profile (fat LTO, one codegen unit), and every result was checked \
        before its time counted. \"{FLOOR}\" makes the same edits in a rope that merges nothing. \
        \"Stored\" is with the engine's own compression where it has one, else with deflate, \
        which every browser has. \"An update\" goes to somebody who has got all before it: ours \
        refers to that, as our protocol does; the others' is their smallest message for one \
        change, which is also what it is on its own. Who comes first of those who inserted at one \
        place at once is for each engine to say: \"the trace's end\" is 1 where its text is the \
        trace's. Read ratios, and trust those far from 1: the machine has \
        {} cores and other work.\n\n",
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    );
    if behind.is_empty() {
        out.push_str("We are behind nowhere.\n");
    } else {
        let _ = writeln!(out, "We are behind the best of the others in:\n");
        for line in behind {
            let _ = writeln!(out, "- {line}");
        }
    }
    out.push_str(&aims::section(rows));
    out.push_str(&table(rows, Style::Markdown));
    out
}

fn losses(rows: &[Row]) -> Vec<String> {
    let ours = rows.iter().filter(|row| row.engine == OURS);
    ours.filter_map(|ours| {
        let (best, engine) = best_other(rows, &ours.workload, &ours.metric)?;
        let ratio = ours.value? / best;
        let is_behind = ratio > 1.05;
        is_behind.then(|| format!("{}, {}: {ratio:.2} × {engine}", ours.workload, ours.metric))
    })
    .collect()
}
