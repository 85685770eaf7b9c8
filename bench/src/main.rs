//! Measures the engine, and with `--features rivals` others beside it: same process rules, same
//! allocator, same profile, same inputs, and every result checked before its time counts.
//!
//! `cargo xtask bench engine` is the way to run it.

mod aims;
mod corpus;
mod engines;
mod export;
mod growth;
mod live;
mod report;
mod rows;
mod run;
mod text;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use clap::Parser;

use report::Row;

/// Everything that is allocated is counted, alike for all engines.
#[global_allocator]
static HEAP: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;

/// Measures the engine against a rope that merges nothing, and against other engines.
#[derive(Parser)]
struct Args {
    /// Measure only workloads whose name has this in it; may be given more than once.
    #[arg(long, value_name = "NAME")]
    workload: Vec<String>,
    /// Measure only this engine; may be given more than once.
    #[arg(long, value_name = "NAME")]
    engine: Vec<String>,
    /// A folder of editing traces (`*.json` or `*.json.gz`), searched with its subfolders.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Write rows `{workload, engine, metric, value, unit}` here.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the table as Markdown here.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Rows measured elsewhere, to be shown in the same table; may be given more than once.
    #[arg(long, value_name = "FILE")]
    with: Vec<PathBuf>,
    /// How often each measurement is taken; the median counts.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// The longest that one engine may take for one workload, in seconds.
    #[arg(long, default_value_t = 300)]
    budget: u64,
    /// Print the names of workloads and engines, and measure nothing.
    #[arg(long)]
    list: bool,
    /// Write the workloads of one person or two and the records here, for programs that are not
    /// Rust, and measure nothing.
    #[arg(long, value_name = "FOLDER")]
    export: Option<PathBuf>,
    /// Measure in this process: one workload, one engine.
    #[arg(long, hide = true)]
    child: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if args.child {
        return child(&args);
    }
    let workloads = chosen(&args)?;
    let engines: Vec<&str> = engines::NAMES
        .iter()
        .copied()
        .filter(|name| args.engine.is_empty() || args.engine.iter().any(|one| one == name))
        .collect();
    if engines.is_empty() {
        bail!("there is no such engine here; there are {}", engines::NAMES.join(", "));
    }
    if args.list {
        workloads.iter().for_each(|name| println!("workload {name}"));
        engines.iter().for_each(|name| println!("engine   {name}"));
        return Ok(());
    }
    if let Some(folder) = &args.export {
        return export::write(folder, &workloads, args.data.as_deref());
    }
    let mut rows = Vec::new();
    for workload in &workloads {
        for engine in &engines {
            eprint!("{workload} {engine} … ");
            let (measured, failure) = measure(&args, workload, engine)?;
            eprint!("{} figures", measured.len());
            rows.extend(measured);
            if let Some(failure) = failure {
                eprint!(", then it {failure}");
                rows.push(Row::failed(workload, engine, &failure));
            }
            eprintln!();
        }
    }
    for path in &args.with {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let more: Vec<Row> = serde_json::from_str(&text)
            .with_context(|| format!("{} has no rows", path.display()))?;
        rows.extend(more);
    }
    println!("{}", report::table(&rows, report::Style::Terminal));
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(&rows)?;
        std::fs::write(path, json + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(path) = &args.markdown {
        std::fs::write(path, report::document(&rows, args.runs))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let failed = rows.iter().filter(|row| row.is_failure_of(engines::OURS)).count();
    if failed > 0 {
        bail!("{failed} of our own measurements failed");
    }
    Ok(())
}

/// The workloads to measure, by name.
fn chosen(args: &Args) -> Result<Vec<String>> {
    let all = run::names(args.data.as_deref())?;
    let wanted = |name: &String| {
        args.workload.is_empty() || args.workload.iter().any(|part| name.contains(part.as_str()))
    };
    let chosen: Vec<String> = all.iter().filter(|name| wanted(name)).cloned().collect();
    if chosen.is_empty() {
        bail!("there is no such workload; there are {}", all.join(", "));
    }
    Ok(chosen)
}

/// Measures one engine at one workload in a process of its own, so that heaps do not mix. Returns
/// the figures that there are, and how the process failed if it did.
fn measure(args: &Args, workload: &str, engine: &str) -> Result<(Vec<Row>, Option<String>)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--child", "--workload", workload, "--engine", engine]);
    command.args(["--runs", &args.runs.to_string()]);
    if let Some(data) = &args.data {
        command.arg("--data").arg(data);
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let mut output = child.stdout.take().context("no output")?;
    let mut errors = child.stderr.take().context("no errors")?;
    let reader = std::thread::spawn(move || {
        let (mut out, mut err) = (String::new(), String::new());
        let read = std::io::Read::read_to_string(&mut output, &mut out);
        let _ = std::io::Read::read_to_string(&mut errors, &mut err);
        drop(sender);
        read.map(|_| (out, err))
    });
    let limit = std::time::Duration::from_secs(args.budget);
    let is_late = receiver.recv_timeout(limit) == Err(std::sync::mpsc::RecvTimeoutError::Timeout);
    if is_late {
        child.kill().with_context(|| format!("cannot stop process {}", child.id()))?;
    }
    let status = child.wait()?;
    let (out, err) = reader.join().expect("the reader does not panic")?;
    let rows = out.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let failure = if is_late {
        Some(format!("took longer than {} s", args.budget))
    } else if !status.success() {
        let reason = err.lines().find(|line| !line.trim().is_empty()).unwrap_or("gave no reason");
        Some(format!("failed: {}", reason.trim_start_matches("Error: ")))
    } else {
        None
    };
    Ok((rows, failure))
}

fn child(args: &Args) -> Result<()> {
    let ([workload], [engine]) = (args.workload.as_slice(), args.engine.as_slice()) else {
        bail!("a child measures one engine at one workload");
    };
    let report = |row: &Row| println!("{}", serde_json::to_string(row).expect("rows are plain"));
    run::run(workload, engine, args.data.as_deref(), args.runs, report)
}
