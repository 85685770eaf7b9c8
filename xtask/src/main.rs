//! `cargo xtask`: the commands of this repository, with nothing to install first.
//!
//! [`build`] turns `examples/notebook` into static files and builds the server, [`demo`] starts
//! both, [`mod@test`] runs every check there is, [`size`] counts what a browser downloads,
//! [`mod@bench`] measures the engine, [`sim`] plays seeds of the simulator, [`real`] kills and
//! attacks the real server, [`fuzz`] gives decoders what nobody would send, [`mutants`] looks for
//! what no test notices, and [`tidy`] holds the source to the project's limits. Each prints what it
//! does and how long it took, and fails with a sentence that says what to do next.
#![allow(clippy::print_stdout, reason = "a command line program talks on standard output")]

mod bench;
mod browser;
mod build;
mod debian;
mod demo;
mod dist;
mod fuzz;
mod mutants;
mod real;
mod shell;
mod sim;
mod size;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The commands of the leptos-sync repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the notebook and the server, start them, and print the address to open.
    Demo(demo::DemoArgs),
    /// Build the notebook's files and the server without starting anything.
    Build(build::BuildArgs),
    /// Run every check: format, lints, tests, docs, browser tests, sizes, end to end.
    Test(test::TestArgs),
    /// Print the bytes a browser downloads, and how many of them are leptos-sync.
    Size(size::SizeArgs),
    /// Measure the engine, and with --rivals others beside it.
    Bench(bench::BenchArgs),
    /// Give decoders and sessions what nobody would send, and look for what they do not survive.
    Fuzz(fuzz::FuzzArgs),
    /// Change the code in one place at a time, and see whether a test notices.
    Mutants(mutants::MutantsArgs),
    /// Play seeds of the simulator: clients and server on a simulated clock, network and disk.
    Sim(sim::SimArgs),
    /// Kill the real server again and again under load, and look for what it acknowledged.
    Chaos(real::ChaosArgs),
    /// Attack the real server, and measure what a client beside the attacker feels.
    Hostile(real::HostileArgs),
    /// Check file and function limits, module docs and forbidden dependencies.
    Tidy,
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Demo(args) => demo::run(&args),
        Task::Build(args) => build::run(&args),
        Task::Test(args) => test::run(&args),
        Task::Size(args) => size::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Fuzz(args) => fuzz::run(&args),
        Task::Mutants(args) => mutants::run(&args),
        Task::Sim(args) => sim::run(&args),
        Task::Chaos(args) => real::chaos(&args),
        Task::Hostile(args) => real::hostile(&args),
        Task::Tidy => tidy::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
