//! Which workloads there are, and running one of them with one engine.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::corpus::{self, Trace};
use crate::engines::{self, Merging, Records, TextDoc};
use crate::report::Row;
use crate::{growth, live, rows, text};

/// The names of all workloads. Where no folder is given, there are generated traces only.
pub(crate) fn names(data: Option<&Path>) -> Result<Vec<String>> {
    let mut names = vec!["text/generated-20k".to_owned(), "text/generated-200k".to_owned()];
    if let Some(folder) = data {
        for (name, path) in corpus::traces(folder)? {
            match Trace::read(&path) {
                Ok(trace) if trace.is_concurrent() => names.push(format!("concurrent/{name}")),
                Ok(_) => names.push(format!("text/{name}")),
                Err(error) => eprintln!("{error:#}; left out"),
            }
        }
    }
    let rest = ["live/stream", "live/offline2", "rows/100k", "growth/text", "growth/merge"];
    names.extend(rest.map(str::to_owned));
    Ok(names)
}

pub(crate) fn trace(name: &str, data: Option<&Path>) -> Result<Trace> {
    match (name, data) {
        ("generated-20k", _) => Ok(corpus::writing(20_000, 1)),
        ("generated-200k", _) => Ok(corpus::writing(200_000, 2)),
        (_, Some(folder)) => {
            let found = corpus::traces(folder)?.into_iter().find(|(known, _)| known == name);
            let Some((_, path)) = found else { bail!("there is no trace {name}") };
            Trace::read(&path)
        }
        _ => bail!("there is no trace {name} without --data"),
    }
}

/// What a measurement is of.
pub(crate) struct Bench<'a> {
    workload: &'a str,
    engine: &'a str,
    runs: usize,
    /// Takes each figure as soon as it is there, so that a run that is cut off leaves some.
    report: fn(&Row),
}

impl Bench<'_> {
    /// Takes the median time of what `work` does to what `prepare` made, in milliseconds.
    pub(crate) fn time<P, R>(
        &mut self,
        mut prepare: impl FnMut() -> P,
        mut work: impl FnMut(&mut P) -> R,
    ) -> f64 {
        self.median(|| {
            let mut prepared = prepare();
            let start = Instant::now();
            let result = std::hint::black_box(work(&mut prepared));
            let time = start.elapsed().as_secs_f64() * 1_000.0;
            drop(result);
            time
        })
    }

    /// The median of what `measure` returns in each run.
    pub(crate) fn median(&self, mut measure: impl FnMut() -> f64) -> f64 {
        let mut figures: Vec<f64> = (0..self.runs).map(|_| measure()).collect();
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    }

    pub(crate) fn note(&mut self, metric: &str, value: f64, unit: &str) {
        (self.report)(&Row::new(self.workload, self.engine, metric, value, unit));
    }
}

/// Measures one engine at one workload.
pub(crate) fn run(
    workload: &str,
    engine: &str,
    data: Option<&Path>,
    runs: usize,
    report: fn(&Row),
) -> Result<()> {
    let mut bench = Bench { workload, engine, runs: runs.max(1), report };
    match engine {
        engines::OURS => everything::<engines::Ours>(&mut bench, workload, data)?,
        engines::FLOOR => floor::<engines::Rope>(&mut bench, workload, data)?,
        #[cfg(feature = "rivals")]
        "diamond-types" => texts::<engines::Diamond>(&mut bench, workload, data)?,
        #[cfg(feature = "rivals")]
        "loro" => everything::<engines::Loro>(&mut bench, workload, data)?,
        #[cfg(feature = "rivals")]
        "yrs" => everything::<engines::Yrs>(&mut bench, workload, data)?,
        #[cfg(feature = "rivals")]
        "automerge" => everything::<engines::Automerge>(&mut bench, workload, data)?,
        _ => bail!("there is no engine {engine}"),
    }
    Ok(())
}

fn everything<E: Merging + Records>(
    bench: &mut Bench<'_>,
    workload: &str,
    data: Option<&Path>,
) -> Result<()> {
    if workload == "rows/100k" {
        return rows::measure::<E>(bench, 100_000);
    }
    texts::<E>(bench, workload, data)
}

fn texts<E: Merging>(bench: &mut Bench<'_>, workload: &str, data: Option<&Path>) -> Result<()> {
    match workload.split_once('/') {
        Some(("text", name)) => {
            let trace = trace(name, data)?;
            text::local::<E>(bench, &trace)?;
            text::stored::<E>(bench, &trace)
        }
        Some(("concurrent", name)) => live::concurrent::<E>(bench, &trace(name, data)?),
        Some(("live", "stream")) => live::stream::<E>(bench),
        Some(("live", "offline2")) => live::offline2::<E>(bench),
        Some(("growth", "text")) => growth::text::<E>(bench),
        Some(("growth", "merge")) => growth::merge::<E>(bench),
        _ => Ok(()),
    }
}

/// What can be measured of something that merges nothing.
fn floor<E: TextDoc>(bench: &mut Bench<'_>, workload: &str, data: Option<&Path>) -> Result<()> {
    match workload.split_once('/') {
        Some(("text", name)) => text::local::<E>(bench, &trace(name, data)?),
        Some(("growth", "text")) => growth::text::<E>(bench),
        _ => Ok(()),
    }
}
