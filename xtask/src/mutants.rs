//! `cargo xtask mutants`: the code changed in one place at a time, to see whether a test notices.
//!
//! cargo-mutants makes the changes and cargo-nextest runs each crate's own tests on each of them.
//! All of them take more than a day on two cores, so what is run by default is an even sample.
//! `--sample` says how large, and `--from` which: samples of other numbers share no mutant, so an
//! hour on one and an hour on the next are two hours' worth. A mutant takes half a minute or so.
//!
//! A mutant that no test can notice, because it changes nothing that anybody could see, is
//! explained in `xtask/src/mutants.txt` and counts neither way; every other survivor makes the
//! command fail, and so does a crate of which fewer are caught than is aimed at.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::shell::{self, find_program, step};
use crate::workspace::Workspace;

/// The survivors that are explained: a mutant's name without its line and column, a tab, and why.
const EXPLAINED: &str = include_str!("mutants.txt");

/// What `cargo xtask mutants` takes.
#[derive(Args)]
pub(crate) struct MutantsArgs {
    /// Only this crate, by its name without `leptos-sync-`; may be given more than once.
    #[arg(long = "crate", value_name = "NAME")]
    crates: Vec<String>,
    /// About how many mutants of each crate to run.
    #[arg(long, value_name = "N", default_value_t = 100)]
    sample: usize,
    /// Which of the samples: the next number is another one, without any mutant of this.
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: usize,
    /// Run every mutant; this takes more than a day on two cores.
    #[arg(long, conflicts_with_all = ["sample", "from"])]
    all: bool,
    /// How many mutants to build and test at once.
    #[arg(long, value_name = "N", default_value_t = 1)]
    jobs: usize,
    /// Write what came of each crate to docs/figures/mutants.json.
    #[arg(long)]
    record: bool,
}

/// A crate whose tests are tried, and what they must at least catch, in percent.
struct Subject {
    name: &'static str,
    target: usize,
    features: &'static str,
}

const SUBJECTS: &[Subject] = &[
    Subject { name: "crdt", target: 97, features: "" },
    Subject { name: "protocol", target: 97, features: "" },
    Subject { name: "storage", target: 90, features: "sqlite,conformance" },
    Subject { name: "engine", target: 90, features: "" },
];

/// Runs `cargo xtask mutants`.
pub(crate) fn run(args: &MutantsArgs) -> Result<()> {
    for tool in ["cargo-mutants", "cargo-nextest"] {
        ensure!(find_program(&[tool]).is_some(), "run `cargo install --locked {tool}` first");
    }
    let known = |name: &String| SUBJECTS.iter().any(|subject| subject.name == name.as_str());
    if let Some(unknown) = args.crates.iter().find(|name| !known(name)) {
        let names: Vec<_> = SUBJECTS.iter().map(|subject| subject.name).collect();
        bail!("no mutants are made of `{unknown}`, only of {}", names.join(", "));
    }
    let workspace = Workspace::load()?;
    let explained = explained(EXPLAINED)?;
    let wanted = |subject: &&Subject| {
        args.crates.is_empty() || args.crates.iter().any(|c| c == subject.name)
    };
    let mut reports = Vec::new();
    for subject in SUBJECTS.iter().filter(wanted) {
        let report = step(&format!("Changing {}", subject.name), || {
            try_mutants(&workspace, subject, args, &explained)
        })?;
        reports.push(report);
    }
    println!(
        "{:<10}{:>8}{:>8}{:>8}{:>10}{:>8}{:>8}",
        "crate", "mutants", "run", "caught", "explained", "%", "target"
    );
    reports.iter().for_each(|report| println!("{report}"));
    if args.record {
        let figures = reports.iter().map(|report| (report.name, report.figures(args)));
        workspace.record("mutants.json", figures)?;
    }
    judge(&reports)
}

/// Makes one crate's sample of mutants and runs its tests on each.
fn try_mutants(
    workspace: &Workspace,
    subject: &Subject,
    args: &MutantsArgs,
    explained: &BTreeMap<&str, &str>,
) -> Result<Report> {
    let package = format!("--package=leptos-sync-{}", subject.name);
    let list = shell::read(workspace.cargo(["mutants", "--list"]).arg(&package))?;
    let all = list.lines().count();
    check_explained(subject, &list, explained)?;
    let output = workspace.target.join("mutants").join(subject.name);
    std::fs::create_dir_all(&output)?;
    let mut command = workspace.cargo(["mutants", "--test-tool=nextest", "--no-shuffle"]);
    command.arg(&package).arg("--output").arg(&output).arg(format!("--jobs={}", args.jobs));
    // Each job has a copy of the sources, and builds it beside it: in one place for all, one would
    // test what another has changed.
    command.env_remove("CARGO_TARGET_DIR");
    if !subject.features.is_empty() {
        command.arg(format!("--features={}", subject.features));
    }
    if !args.all {
        let shards = (all / args.sample.max(1)).max(1);
        command.args(["--sharding=round-robin", "--shard"]);
        command.arg(format!("{}/{shards}", args.from % shards));
    }
    // It fails when a mutant survives; what came of each is in its file.
    command.stdin(Stdio::null()).status().context("cannot run cargo-mutants")?;
    let outcomes = output.join("mutants.out/outcomes.json");
    Report::read(subject, all, &outcomes, explained)
}

/// A line of the list is a mutant that is still made.
fn check_explained(subject: &Subject, list: &str, explained: &BTreeMap<&str, &str>) -> Result<()> {
    let names: Vec<String> = list.lines().map(place_less).collect();
    let folder = format!("crates/{}/", subject.name);
    let stale = |name: &&&str| name.starts_with(&folder) && !names.iter().any(|n| n == **name);
    match explained.keys().find(stale) {
        Some(name) => bail!("xtask/src/mutants.txt explains what is not made any more: {name}"),
        None => Ok(()),
    }
}

fn explained(text: &str) -> Result<BTreeMap<&str, &str>> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| line.split_once('\t').with_context(|| format!("`{line}` has no reason")))
        .collect()
}

/// A mutant's name without line and column: those change with every edit.
fn place_less(name: &str) -> String {
    let mut parts = name.splitn(4, ':');
    let file = parts.next().unwrap_or_default();
    format!("{file}:{}", parts.nth(2).unwrap_or_default())
}

/// What came of one crate's mutants.
struct Report {
    name: &'static str,
    target: usize,
    all: usize,
    caught: usize,
    /// Those of the caught that ran for too long.
    late: usize,
    /// Survivors without an explanation.
    missed: Vec<String>,
    /// Survivors with one.
    excused: usize,
}

impl Report {
    fn read(
        subject: &Subject,
        all: usize,
        file: &Path,
        explained: &BTreeMap<&str, &str>,
    ) -> Result<Self> {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cargo-mutants wrote no {}", file.display()))?;
        let read: Value = serde_json::from_str(&text).context("the outcomes are not JSON")?;
        let (mut caught, mut late, mut missed, mut excused) = (0, 0, Vec::new(), 0);
        for outcome in read["outcomes"].as_array().context("the outcomes are no list")? {
            let mutant = &outcome["scenario"]["Mutant"]["name"];
            match (outcome["summary"].as_str(), mutant.as_str()) {
                (Some("CaughtMutant"), _) => caught += 1,
                (Some("Timeout"), _) => (caught, late) = (caught + 1, late + 1),
                (Some("MissedMutant"), Some(name)) => {
                    if explained.contains_key(place_less(name).as_str()) {
                        excused += 1;
                    } else {
                        missed.push(name.to_owned());
                    }
                }
                (Some("Failure"), None) => bail!("the tests fail without any mutant"),
                _ => {}
            }
        }
        let Subject { name, target, .. } = *subject;
        Ok(Self { name, target, all, caught, late, missed, excused })
    }

    fn figures(&self, args: &MutantsArgs) -> Value {
        let sample = (!args.all).then_some((args.sample, args.from));
        json!({
            "all": self.all,
            "run": self.run(),
            "caught": self.caught,
            "of those too slow": self.late,
            "explained": self.excused,
            "survived": self.missed,
            "sample": sample.map(|(size, from)| json!({ "size": size, "number": from })),
        })
    }

    fn run(&self) -> usize {
        self.caught + self.missed.len() + self.excused
    }

    /// How many of those that could be noticed were, in tenths of a percent.
    fn permille(&self) -> usize {
        let noticeable = self.caught + self.missed.len();
        (self.caught * 1_000).checked_div(noticeable).unwrap_or(1_000)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, target, all, caught, excused, .. } = self;
        let (run, permille) = (self.run(), self.permille());
        let percent = format!("{}.{}", permille / 10, permille % 10);
        write!(f, "{name:<10}{all:>8}{run:>8}{caught:>8}{excused:>10}{percent:>8}{target:>8}")?;
        self.missed.iter().try_for_each(|name| write!(f, "\n  survived: {name}"))
    }
}

fn judge(reports: &[Report]) -> Result<()> {
    let below = |report: &&Report| report.permille() < report.target * 10;
    let names = |reports: Vec<&Report>| {
        reports.iter().map(|report| report.name).collect::<Vec<_>>().join(", ")
    };
    let below: Vec<_> = reports.iter().filter(below).collect();
    ensure!(below.is_empty(), "fewer than wanted are caught in {}", names(below));
    let open: Vec<_> = reports.iter().filter(|report| !report.missed.is_empty()).collect();
    ensure!(open.is_empty(), "survivors are not explained in {}", names(open));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBJECT: Subject = Subject { name: "crdt", target: 50, features: "" };
    const LOOP: &str = "crates/crdt/src/a.rs:12:9: replace f -> bool with true";

    fn report(outcomes: &str, explained: &BTreeMap<&str, &str>) -> Result<Report> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("outcomes.json");
        std::fs::write(&file, outcomes)?;
        Report::read(&SUBJECT, 7, &file, explained)
    }

    fn outcomes(summaries: &[&str]) -> String {
        let one = |summary: &&str| {
            format!(r#"{{"scenario": {{"Mutant": {{"name": "{LOOP}"}}}}, "summary": "{summary}"}}"#)
        };
        format!(r#"{{"outcomes": [{}]}}"#, summaries.iter().map(one).collect::<Vec<_>>().join(","))
    }

    #[test]
    fn survivors_fail_unless_they_are_explained() {
        let survived = outcomes(&["CaughtMutant", "Timeout", "MissedMutant", "Unviable"]);
        let open = report(&survived, &BTreeMap::new()).unwrap();
        assert_eq!((open.run(), open.permille()), (3, 666));
        assert!(open.to_string().contains(LOOP));
        assert!(judge(&[open]).unwrap_err().to_string().contains("not explained in crdt"));
        let list = explained("# why\ncrates/crdt/src/a.rs: replace f -> bool with true\tnot seen");
        let told = report(&survived, &list.unwrap()).unwrap();
        assert_eq!((told.run(), told.permille()), (3, 1_000));
        assert!(judge(&[told]).is_ok());
        let few =
            report(&outcomes(&["CaughtMutant", "MissedMutant", "MissedMutant"]), &BTreeMap::new());
        assert!(judge(&[few.unwrap()]).unwrap_err().to_string().contains("fewer than wanted"));
    }

    #[test]
    fn an_explanation_of_nothing_is_refused() {
        assert!(explained("crates/crdt/src/a.rs: without a reason").is_err());
        let list = BTreeMap::from([("crates/crdt/src/a.rs: replace f -> bool with true", "why")]);
        assert!(check_explained(&SUBJECT, LOOP, &list).is_ok());
        let stale = check_explained(&SUBJECT, "crates/crdt/src/a.rs:1:1: delete !", &list);
        assert!(stale.unwrap_err().to_string().contains("not made any more"));
    }
}
