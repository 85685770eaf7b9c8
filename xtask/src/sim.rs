//! `cargo xtask sim`: whole clients and the production server on a seeded clock, network and disk.
//!
//! The program is `crates/testkit`, compiled in a profile of its own: optimized, with every check.

use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::shell;
use crate::workspace::Workspace;

/// What `cargo xtask sim` takes: what the program takes.
#[derive(Args)]
pub(crate) struct SimArgs {
    /// --seeds N, --from S, --minutes M, --json, --planted, --record, --keep LIST, --faults,
    /// --fault NAME=P; see --help after `--`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    args: Vec<String>,
}

/// Runs `cargo xtask sim`.
pub(crate) fn run(args: &SimArgs) -> Result<()> {
    shell::run(program(&Workspace::load()?).args(&args.args))
}

/// Plays 2,000 seeds, and looks whether each planted bug is found.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    shell::run(program(workspace).args(["--seeds", "2000"]))?;
    shell::run(program(workspace).args(["--planted", "--seeds", "5000"]))
}

fn program(workspace: &Workspace) -> Command {
    let run = ["run", "--quiet", "--locked", "--profile", "sim", "--package"];
    let mut command = workspace.cargo(run);
    command.args(["leptos-sync-testkit", "--bin", "sim", "--"]);
    // With the bugs that can be planted in the product's own code, each of them switched off; and
    // with what lets the seed decide in which order tokio wakes those that wait for the same.
    let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    command.env("RUSTFLAGS", format!("{flags} --cfg planted --cfg tokio_unstable"));
    command
}
