//! `sim`: plays worlds of the simulator and says what it found. `cargo xtask sim` runs it.
#![allow(clippy::print_stdout, reason = "a command line program talks on standard output")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use leptos_sync_testkit::planted::{ALL, plant};
use leptos_sync_testkit::{Failure, Outcome, Run};
use serde_json::json;

/// How long a failure is made smaller.
const SHRINK: Duration = Duration::from_secs(20);

/// Whole clients and the production server on a seeded clock, network and disk.
#[derive(Parser)]
#[command(name = "sim")]
struct Args {
    /// How many seeds to play.
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Go on for this long, whatever --seeds says.
    #[arg(long, conflicts_with = "seconds")]
    minutes: Option<u64>,
    /// Stop after this long, but not before --at-least seeds.
    #[arg(long)]
    seconds: Option<u64>,
    /// See --seconds.
    #[arg(long, default_value_t = 500)]
    at_least: u64,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
    /// Copy profiles too.
    #[arg(long)]
    copies: bool,
    /// Play one seed with these of its steps only, as a failure prints them.
    #[arg(long, value_delimiter = ',', requires = "from")]
    keep: Option<Vec<usize>>,
    /// Switch known bugs on, one at a time, and see whether each is found within --seeds.
    #[arg(long)]
    planted: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.planted {
        return find_planted(&args);
    }
    let start = Instant::now();
    let (sum, failures) = play_all(&args, start);
    report(&args, &sum, start.elapsed(), &failures);
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What many worlds did together.
#[derive(Default)]
struct Sum {
    seeds: u64,
    steps: u64,
    connections: u64,
    simulated_ms: u64,
    faults: BTreeMap<&'static str, u64>,
}

impl Sum {
    fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.steps += outcome.steps;
        self.connections += outcome.connections;
        self.simulated_ms += outcome.simulated_ms;
        for (fault, count) in &outcome.faults {
            *self.faults.entry(fault).or_default() += count;
        }
    }
}

/// Plays seeds on as many threads as there are processors. Stops at the first failure, which is
/// made small.
fn play_all(args: &Args, start: Instant) -> (Sum, Vec<Failure>) {
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (sum, failures) = (Mutex::new(Sum::default()), Mutex::new(Vec::new()));
    let is_over = |number: u64| {
        let spent = start.elapsed();
        if let Some(minutes) = args.minutes {
            return spent >= Duration::from_secs(minutes * 60);
        }
        let late = args.seconds.is_some_and(|seconds| spent >= Duration::from_secs(seconds));
        number >= args.seeds || (late && number >= args.at_least)
    };
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if is_over(number) || (args.keep.is_some() && number > 0) {
                return;
            }
            let seed = args.from + number;
            let run = Run { seed, copies: args.copies, keep: args.keep.clone() };
            let outcome = run.play();
            sum.lock().expect("no holder panics").add(&outcome);
            if let Some(violation) = outcome.violation
                && !stop.swap(true, Ordering::Relaxed)
            {
                failures.lock().expect("no holder panics").push(run.shrink(violation, SHRINK));
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    (sum.into_inner().expect("joined"), failures.into_inner().expect("joined"))
}

fn report(args: &Args, sum: &Sum, time: Duration, failures: &[Failure]) {
    let lost = failures.iter().filter(|f| !f.violation.contains("diverged")).count();
    let rate = sum.seeds as f64 / time.as_secs_f64();
    let faults: u64 = sum.faults.values().sum();
    if args.json {
        let failed: Vec<_> = failures.iter().map(failure_json).collect();
        let figures = json!({
            "seeds": sum.seeds, "steps": sum.steps, "connections": sum.connections,
            "simulated_s": sum.simulated_ms / 1_000, "faults": sum.faults, "faults_total": faults,
            "lost_or_wrong": lost, "divergences": failures.len() - lost,
            "seeds_per_s": rate, "failures": failed,
        });
        println!("{figures:#}");
        return;
    }
    println!(
        "{} seeds, {} steps, {} connections, {} simulated minutes in {:.1} s ({rate:.0} seeds/s)",
        sum.seeds,
        sum.steps,
        sum.connections,
        sum.simulated_ms / 60_000,
        time.as_secs_f64(),
    );
    println!("{faults} faults:");
    for (fault, count) in &sum.faults {
        println!("  {count:>7} {fault}");
    }
    println!("{lost} lost, doubled or early, {} divergences", failures.len() - lost);
    for failure in failures {
        let Failure { run, violation, steps, shrunk_violation } = failure;
        println!("\nseed {} FAILED: {violation}", run.seed);
        println!("{} steps are enough: {shrunk_violation}", steps.len());
        steps.iter().for_each(|step| println!("  {step:?}"));
        let keep: Vec<String> = run.keep.iter().flatten().map(usize::to_string).collect();
        let copies = if run.copies { " --copies" } else { "" };
        let keep = keep.join(",");
        println!("again: cargo xtask sim --from {} --keep {keep}{copies}", run.seed);
    }
}

fn failure_json(failure: &Failure) -> serde_json::Value {
    let steps: Vec<String> = failure.steps.iter().map(|step| format!("{step:?}")).collect();
    json!({
        "seed": failure.run.seed, "violation": failure.violation,
        "keep": failure.run.keep, "steps": steps,
        "shrunk_violation": failure.shrunk_violation,
    })
}

/// Plants every known bug in turn.
fn find_planted(args: &Args) -> ExitCode {
    let next = AtomicU64::new(0);
    let found: Mutex<BTreeMap<usize, Option<(u64, String)>>> = Mutex::default();
    let hunt = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed) as usize;
            let Some((bug, _)) = ALL.get(number) else { return };
            plant(Some(*bug));
            let caught = (0..args.seeds).find_map(|at| {
                let violation = Run::new(args.from + at).play().violation?;
                Some((at + 1, violation))
            });
            plant(None);
            found.lock().expect("no holder panics").insert(number, caught);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(hunt);
        }
    });
    let found = found.into_inner().expect("joined");
    let caught = found.values().flatten().count();
    let rows = ALL.iter().zip(found.values());
    if args.json {
        let rows: Vec<_> = rows
            .map(|((bug, about), caught)| {
                let seeds = caught.as_ref().map(|(seeds, _)| seeds);
                json!({ "bug": format!("{bug:?}"), "about": about, "seeds": seeds })
            })
            .collect();
        println!("{:#}", json!({ "caught": caught, "planted": ALL.len(), "bugs": rows }));
    } else {
        for ((bug, about), caught) in rows {
            let (seeds, how) = caught.clone().unwrap_or((0, "NOT CAUGHT".to_owned()));
            let how: String = how.chars().take(110).collect();
            println!("{seeds:>6} seeds  {:<28} {about}\n              {how}", format!("{bug:?}"));
        }
        println!("caught {caught}/{}", ALL.len());
    }
    if caught == ALL.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
