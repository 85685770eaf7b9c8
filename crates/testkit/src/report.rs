//! What `sim` says of the worlds that it played, to people, to programs, and to the documentation.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use leptos_sync_testkit::{Failure, Outcome};
use serde_json::{Value, json};

/// Where the figures are that the documentation quotes, from the package on.
const RECORD: &str = "../../docs/figures/sim.json";

/// What many worlds did together.
#[derive(Default)]
pub(crate) struct Sum {
    seeds: u64,
    steps: u64,
    sessions: u64,
    connections: u64,
    simulated_ms: u64,
    faults: BTreeMap<&'static str, u64>,
}

impl Sum {
    pub(crate) fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.steps += outcome.steps;
        self.sessions += outcome.sessions;
        self.connections += outcome.connections;
        self.simulated_ms += outcome.simulated_ms;
        for (fault, count) in &outcome.faults {
            *self.faults.entry(fault).or_default() += count;
        }
    }
}

/// How it went.
pub(crate) struct Figures {
    pub(crate) sum: Sum,
    pub(crate) failures: Vec<Failure>,
    pub(crate) time: Duration,
}

/// A known bug that was switched on, and after how many seeds it was found, and by what.
pub(crate) struct Planted {
    pub(crate) bug: String,
    pub(crate) about: &'static str,
    pub(crate) caught: Option<(u64, String)>,
}

/// How many failures are of which kind.
struct Kinds {
    lost: usize,
    diverged: usize,
    other: usize,
}

impl Figures {
    fn kinds(&self) -> Kinds {
        let mut kinds = Kinds { lost: 0, diverged: 0, other: 0 };
        for failure in &self.failures {
            let says = |what: &[&str]| what.iter().any(|what| failure.violation.contains(what));
            if says(&["lost", "was saved"]) {
                kinds.lost += 1;
            } else if says(&["diverged", "differs", "another version"]) {
                kinds.diverged += 1;
            } else {
                kinds.other += 1;
            }
        }
        kinds
    }

    fn rate(&self) -> f64 {
        self.sum.seeds as f64 / self.time.as_secs_f64()
    }

    fn faults(&self) -> u64 {
        self.sum.faults.values().sum()
    }

    pub(crate) fn json(&self) -> Value {
        let (sum, kinds) = (&self.sum, self.kinds());
        let failed: Vec<_> = self.failures.iter().map(failure_json).collect();
        json!({
            "seeds": sum.seeds, "steps": sum.steps, "sessions": sum.sessions,
            "connections": sum.connections, "simulated_s": sum.simulated_ms / 1_000,
            "faults": sum.faults, "faults_total": self.faults(),
            "lost_acknowledged_writes": kinds.lost, "divergences": kinds.diverged,
            "other_violations": kinds.other, "seeds_per_s": self.rate(), "failures": failed,
        })
    }

    pub(crate) fn print(&self) {
        let (sum, kinds) = (&self.sum, self.kinds());
        println!(
            "{} seeds, {} sessions of tabs, {} connections, {} steps, {} simulated minutes in \
             {:.1} s ({:.0} seeds/s)",
            sum.seeds,
            sum.sessions,
            sum.connections,
            sum.steps,
            sum.simulated_ms / 60_000,
            self.time.as_secs_f64(),
            self.rate(),
        );
        println!("{} faults:", self.faults());
        for (fault, count) in &sum.faults {
            println!("  {count:>7} {fault}");
        }
        println!(
            "{} lost acknowledged writes, {} divergences, {} other violations",
            kinds.lost, kinds.diverged, kinds.other
        );
        self.failures.iter().for_each(print_failure);
    }
}

fn print_failure(failure: &Failure) {
    let Failure { run, violation, steps, shrunk_violation } = failure;
    println!("\nseed {} FAILED: {violation}", run.seed);
    println!("{} steps are enough: {shrunk_violation}", steps.len());
    steps.iter().for_each(|step| println!("  {step:?}"));
    let keep: Vec<String> = run.keep.iter().flatten().map(usize::to_string).collect();
    let keep = keep.join(",");
    let set = |(name, chance)| format!(" --fault {name}={chance}");
    let set: String = run.chances.iter().map(set).collect();
    println!("again: cargo xtask sim --from {} --keep {keep}{set}", run.seed);
}

fn failure_json(failure: &Failure) -> Value {
    let steps: Vec<String> = failure.steps.iter().map(|step| format!("{step:?}")).collect();
    json!({
        "seed": failure.run.seed, "violation": failure.violation,
        "keep": failure.run.keep, "steps": steps,
        "shrunk_violation": failure.shrunk_violation,
    })
}

pub(crate) fn print_planted(planted: &[Planted], as_json: bool) {
    if as_json {
        return println!("{:#}", planted_json(planted));
    }
    for Planted { bug, about, caught } in planted {
        let (seeds, how) = caught.clone().unwrap_or((0, "NOT CAUGHT".to_owned()));
        let how: String = how.chars().take(110).collect();
        println!("{seeds:>6} seeds  {bug:<28} {about}\n              {how}");
    }
    let caught = planted.iter().filter(|bug| bug.caught.is_some()).count();
    println!("caught {caught}/{}", planted.len());
}

/// Writes the figures where the documentation quotes them from.
pub(crate) fn record(figures: &Figures, planted: &[Planted]) -> std::io::Result<()> {
    let mut record = figures.json();
    record["planted"] = planted_json(planted);
    // That of the run, not of the build: a target directory may be shared by several checkouts.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
    std::fs::write(Path::new(&here).join(RECORD), format!("{record:#}\n"))
}

fn planted_json(planted: &[Planted]) -> Value {
    let row = |bug: &Planted| {
        let seeds = bug.caught.as_ref().map(|(seeds, _)| seeds);
        json!({ "bug": bug.bug, "about": bug.about, "seeds": seeds })
    };
    let caught = planted.iter().filter(|bug| bug.caught.is_some()).count();
    let rows: Vec<_> = planted.iter().map(row).collect();
    json!({ "caught": caught, "planted": planted.len(), "bugs": rows })
}
