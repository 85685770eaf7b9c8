//! `cargo xtask test`: every check there is, one numbered step after the other.
//!
//! A failed step does not stop the following ones, so one run tells everything. The end is a
//! line per step and, last and by itself, `N passed, N failed`: tests where a step runs tests,
//! else one for the step.

mod steps;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;

use crate::shell::{Tally, seconds};
use crate::workspace::Workspace;
use steps::{BROWSERS, STEPS, Step};

/// What `cargo xtask test` takes.
#[derive(Args)]
pub(crate) struct TestArgs {
    /// Run only this step; may be given more than once.
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
    /// Leave this step out; may be given more than once.
    #[arg(long, value_name = "STEP")]
    skip: Vec<String>,
    /// Use Firefox and WebKitGTK too, installing them where that is possible.
    #[arg(long)]
    browsers: bool,
    /// Print the steps and what each checks, and run none.
    #[arg(long)]
    list: bool,
}

/// How a step ended.
struct Outcome {
    name: &'static str,
    tally: Tally,
    time: Duration,
    note: Option<String>,
    error: Option<String>,
}

/// Runs `cargo xtask test`.
pub(crate) fn run(args: &TestArgs) -> Result<()> {
    let mut chosen = choose(&args.only, &args.skip)?;
    if args.only.is_empty() && !args.browsers {
        chosen.retain(|step| step.name != BROWSERS);
    }
    if args.list {
        for (number, step) in chosen.iter().enumerate() {
            println!("{:>3}. {:<12} {}", number + 1, step.name, step.about);
        }
        return Ok(());
    }
    let workspace = Workspace::load()?;
    let start = Instant::now();
    let mut outcomes = Vec::new();
    for (number, step) in chosen.iter().enumerate() {
        println!("\n[{}/{}] {}: {}", number + 1, chosen.len(), step.name, step.about);
        outcomes.push(run_step(step, &workspace));
    }
    if args.only.is_empty() && !args.browsers {
        println!("\nFirefox and WebKitGTK are skipped; --browsers installs them and tests in them");
    }
    summarize(&outcomes, start.elapsed())
}

/// The steps to run, in their order.
fn choose(only: &[String], skip: &[String]) -> Result<Vec<&'static Step>> {
    for name in only.iter().chain(skip) {
        if !STEPS.iter().any(|step| step.name == name) {
            let names: Vec<_> = STEPS.iter().map(|step| step.name).collect();
            bail!("there is no step `{name}`; the steps are {}", names.join(", "));
        }
    }
    let named = |list: &[String], step: &Step| list.iter().any(|name| name == step.name);
    let chosen =
        STEPS.iter().filter(|step| (only.is_empty() || named(only, step)) && !named(skip, step));
    Ok(chosen.collect())
}

fn run_step(step: &Step, workspace: &Workspace) -> Outcome {
    let start = Instant::now();
    let mut tally = Tally::default();
    let result = (step.run)(workspace, &mut tally);
    let time = start.elapsed();
    let (note, error) = match result {
        Ok(note) => (note, None),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    // A step that counts no tests is one check, and a failure always counts.
    match &error {
        Some(_) => tally.failed = tally.failed.max(1),
        None if tally == Tally::default() => tally.passed = 1,
        None => {}
    }
    match &error {
        Some(error) => println!("  FAILED {} after {}: {error}", step.name, seconds(time)),
        None => println!("  ok {} in {}", step.name, seconds(time)),
    }
    Outcome { name: step.name, tally, time, note, error }
}

fn summarize(outcomes: &[Outcome], time: Duration) -> Result<()> {
    println!("\nSummary after {}:", seconds(time));
    let mut all = Tally::default();
    for outcome in outcomes {
        all.passed += outcome.tally.passed;
        all.failed += outcome.tally.failed;
        let word = if outcome.error.is_some() { "FAILED" } else { "ok" };
        let note = outcome.error.as_ref().or(outcome.note.as_ref());
        println!(
            "  {word:<6} {:<12} {:>12}  {:>4} passed {:>3} failed{}",
            outcome.name,
            seconds(outcome.time),
            outcome.tally.passed,
            outcome.tally.failed,
            note.map(|note| format!("  {note}")).unwrap_or_default(),
        );
    }
    println!("{} passed, {} failed", all.passed, all.failed);
    if all.failed > 0 {
        let failed = outcomes.iter().filter(|outcome| outcome.error.is_some());
        let names: Vec<_> = failed.map(|outcome| outcome.name).collect();
        bail!("failed: {}; run one again with `cargo xtask test --only STEP`", names.join(", "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(only: &[&str], skip: &[&str]) -> Result<Vec<&'static str>> {
        let list = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        Ok(choose(&list(only), &list(skip))?.iter().map(|step| step.name).collect())
    }

    #[test]
    fn only_and_skip_choose_steps_in_their_fixed_order() {
        assert_eq!(names(&["tidy", "format"], &[]).expect("steps"), ["format", "tidy"]);
        let most = names(&[], &["e2e"]).expect("steps");
        assert_eq!(most.len(), STEPS.len() - 1);
    }

    #[test]
    fn an_unknown_step_is_refused_with_the_names_of_all() {
        let error = names(&["tidi"], &[]).expect_err("no such step").to_string();
        assert!(error.contains("`tidi`") && error.contains("tidy"), "{error}");
    }
}
