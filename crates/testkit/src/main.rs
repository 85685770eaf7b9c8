//! `sim`: plays worlds of the simulator and says what it found. `cargo xtask sim` runs it.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line program talks on standard output"
)]

mod report;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use leptos_sync_testkit::faults::{self, Chances};
use leptos_sync_testkit::planted::{ALL, plant};
use leptos_sync_testkit::{Failure, Run};

use crate::report::{Figures, Planted, Sum};

/// How long a failure is made smaller.
const SHRINK: Duration = Duration::from_secs(20);

/// How many seeds a known bug may take when figures are recorded.
const PLANTED_SEEDS_MAX: u64 = 5_000;

/// Of so many seeds one is played twice, to see whether it decides everything.
const TWICE_OF: u64 = 50;

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
    #[arg(long)]
    minutes: Option<u64>,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
    /// Play one seed with these of its steps only, as a failure prints them.
    #[arg(long, value_delimiter = ',', requires = "from")]
    keep: Option<Vec<usize>>,
    /// Switch known bugs on, one at a time, and see whether each is found within --seeds.
    #[arg(long)]
    planted: bool,
    /// List the faults, and how likely a seed plays with each.
    #[arg(long)]
    faults: bool,
    /// How likely a seed plays with a fault, from 0 to 1; may be given more than once.
    #[arg(long, value_name = "NAME=P")]
    fault: Vec<String>,
    /// Then plant the known bugs, and write all figures to docs/figures/sim.json.
    #[arg(long, conflicts_with_all = ["planted", "keep", "fault"])]
    record: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if !cfg!(all(planted, tokio_unstable)) {
        // Without, a seed does not decide everything, and bugs of the product cannot be planted.
        eprintln!("error: run `cargo xtask sim`, which compiles this program as it has to be");
        return ExitCode::FAILURE;
    }
    if args.faults {
        faults::all().for_each(|fault| println!("{:>5} {}", fault.chance, fault.name));
        return ExitCode::SUCCESS;
    }
    let mut chances = Chances::default();
    for fault in &args.fault {
        if let Err(error) = chances.set(fault) {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    }
    if args.planted {
        let planted = find_planted(&args, &chances);
        report::print_planted(&planted, args.json);
        return exit(planted.iter().all(|bug| bug.caught.is_some()));
    }
    let start = Instant::now();
    let (sum, failures) = play_all(&args, &chances, start);
    let figures = Figures { sum, failures, time: start.elapsed() };
    if args.json {
        println!("{:#}", figures.json());
    } else {
        figures.print();
    }
    if !args.record || !figures.failures.is_empty() {
        return exit(figures.failures.is_empty());
    }
    let all = Args { from: 0, seeds: args.seeds.min(PLANTED_SEEDS_MAX), ..args };
    let planted = find_planted(&all, &chances);
    report::print_planted(&planted, all.json);
    let written = report::record(&figures, &planted);
    if let Err(error) = &written {
        eprintln!("the figures were not written: {error}");
    }
    exit(written.is_ok() && planted.iter().all(|bug| bug.caught.is_some()))
}

fn exit(well: bool) -> ExitCode {
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Plays seeds on as many threads as there are processors. Stops at the first failure, which is
/// made small.
fn play_all(args: &Args, chances: &Chances, start: Instant) -> (Sum, Vec<Failure>) {
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (sum, failures) = (Mutex::new(Sum::default()), Mutex::new(Vec::new()));
    let is_over = |number: u64| match args.minutes {
        Some(minutes) => start.elapsed() >= Duration::from_secs(minutes * 60),
        None => number >= args.seeds,
    };
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if is_over(number) || (args.keep.is_some() && number > 0) {
                return;
            }
            let seed = args.from + number;
            let keep = args.keep.clone();
            let run = Run { keep, chances: chances.clone(), ..Run::new(seed) };
            let twice = number.is_multiple_of(TWICE_OF);
            let outcome = if twice { run.play_twice() } else { run.play() };
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

/// Plants every known bug in turn; what each took.
fn find_planted(args: &Args, chances: &Chances) -> Vec<Planted> {
    let next = AtomicU64::new(0);
    let found: Mutex<BTreeMap<usize, Planted>> = Mutex::default();
    let hunt = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed) as usize;
            let Some((bug, about)) = ALL.get(number) else { return };
            plant(Some(*bug));
            let caught = (0..args.seeds).find_map(|at| {
                let run = Run { chances: chances.clone(), ..Run::new(args.from + at) };
                let violation = run.play().violation?;
                Some((at + 1, violation))
            });
            plant(None);
            let planted = Planted { bug: format!("{bug:?}"), about, caught };
            found.lock().expect("no holder panics").insert(number, planted);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(hunt);
        }
    });
    found.into_inner().expect("joined").into_values().collect()
}
