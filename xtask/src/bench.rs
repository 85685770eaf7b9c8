//! `cargo xtask bench engine`: the engine measured, and with `--rivals` others beside it.
//!
//! The measuring program is a workspace of its own, `bench`, so that nobody who only builds the
//! library compiles what it is compared with. `--wasm` adds what the engine weighs in a browser
//! and how fast it is in headless Chromium.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::shell::{self, find_program, step};
use crate::size::{self, Size};
use crate::workspace::{WASM, Workspace};
use crate::{browser, build};

/// What `cargo xtask bench` takes.
#[derive(Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Measure the engine: text, live editing, concurrent histories, records, growth.
    Engine(EngineArgs),
}

#[derive(Args)]
pub(crate) struct EngineArgs {
    /// Measure loro, yrs, automerge, diamond-types and, under Node.js, Yjs too; compiling them
    /// takes minutes.
    #[arg(long)]
    rivals: bool,
    /// Write rows {workload, engine, metric, value, unit} here.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the table as Markdown here; with --rivals, docs/benchmarks.md if not said otherwise.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Measure only workloads whose name has this in it; may be given more than once.
    #[arg(long, value_name = "NAME")]
    workload: Vec<String>,
    /// Measure only this engine; may be given more than once.
    #[arg(long, value_name = "NAME")]
    engine: Vec<String>,
    /// A folder of editing traces (*.json or *.json.gz), searched with its subfolders.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// How often each measurement is taken; the median counts.
    #[arg(long, value_name = "N")]
    runs: Option<usize>,
    /// The longest that one engine may take for one workload, in seconds.
    #[arg(long, value_name = "SECONDS")]
    budget: Option<u64>,
    /// Add what the engine weighs as WebAssembly, and how fast it is in headless Chromium.
    #[arg(long)]
    wasm: bool,
    /// Print the names of workloads and engines, and measure nothing.
    #[arg(long)]
    list: bool,
}

/// Runs `cargo xtask bench`.
pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    let What::Engine(args) = &args.what;
    let workspace = Workspace::load()?;
    let mut elsewhere = Vec::new();
    if args.wasm && !args.list {
        elsewhere.push(measure_wasm(&workspace)?);
    }
    if args.rivals && args.engine.is_empty() && !args.list {
        elsewhere.extend(measure_yjs(&workspace, args)?);
    }
    let mut command = program(&workspace, args.rivals);
    choose(&mut command, args)?;
    for value in &args.engine {
        command.args(["--engine", value]);
    }
    for file in elsewhere {
        command.arg("--with").arg(file);
    }
    // Rows of one workload only, or with little of the data, are not the page.
    let is_all = args.workload.is_empty() && args.engine.is_empty() && args.data.is_some();
    let page = (args.rivals && is_all).then(|| workspace.root.join("docs/benchmarks.md"));
    let files = [("--json", args.json.clone()), ("--markdown", args.markdown.clone().or(page))];
    for (flag, file) in files {
        if let Some(file) = file {
            command.arg(flag).arg(std::path::absolute(file)?);
        }
    }
    if let Some(runs) = args.runs {
        command.args(["--runs", &runs.to_string()]);
    }
    if let Some(budget) = args.budget {
        command.args(["--budget", &budget.to_string()]);
    }
    if args.list {
        command.arg("--list");
    }
    shell::run(&mut command)
}

/// Which workloads, and where traces are.
fn choose(command: &mut Command, args: &EngineArgs) -> Result<()> {
    for value in &args.workload {
        command.args(["--workload", value]);
    }
    if let Some(data) = &args.data {
        command.arg("--data").arg(std::path::absolute(data)?);
    }
    Ok(())
}

/// Measures Yjs under Node.js; returns a file of rows, or none where there is no Node.js.
fn measure_yjs(workspace: &Workspace, args: &EngineArgs) -> Result<Option<PathBuf>> {
    let (Some(node), Some(npm)) = (find_program(&["node"]), find_program(&["npm"])) else {
        println!("{YJS} is not measured: there is no Node.js with npm here");
        return Ok(None);
    };
    let exported = workspace.target.join("bench/exported");
    if exported.exists() {
        std::fs::remove_dir_all(&exported).context("cannot clear what was exported before")?;
    }
    let mut export = program(workspace, args.rivals);
    choose(&mut export, args)?;
    shell::run(export.arg("--export").arg(&exported))?;
    // Outside of the sources, which stay as they are.
    let home = workspace.target.join("bench/yjs");
    std::fs::create_dir_all(&home).context("cannot make a folder for Yjs")?;
    for file in ["package.json", "package-lock.json", "bench.mjs"] {
        let from = workspace.root.join("bench/yjs").join(file);
        std::fs::copy(&from, home.join(file))
            .with_context(|| format!("cannot copy {}", from.display()))?;
    }
    shell::run(Command::new(npm).args(["ci", "--silent"]).current_dir(&home))?;
    let rows = workspace.target.join("bench/yjs.json");
    let mut measure = Command::new(node);
    measure.arg("bench.mjs").arg(&exported).arg(&rows).current_dir(&home);
    measure.args(args.runs.map(|runs| runs.to_string()));
    shell::run(&mut measure)?;
    Ok(Some(rows))
}

/// Runs the program's own tests, and measures one small workload with the engine alone: that the
/// program works, not how fast.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let mut tests = shell::cargo(["test", "--quiet", "--locked"]);
    tests.arg("--manifest-path").arg(workspace.root.join("bench/Cargo.toml"));
    shell::run(tests.arg("--target-dir").arg(workspace.target.join("bench")))?;
    let mut command = program(workspace, false);
    shell::run(command.args(["--workload", "text/generated-20k", "--runs", "1"]))
}

fn program(workspace: &Workspace, rivals: bool) -> Command {
    let mut command = shell::cargo(["run", "--quiet", "--release", "--locked"]);
    command.arg("--manifest-path").arg(workspace.root.join("bench/Cargo.toml"));
    command.arg("--target-dir").arg(workspace.target.join("bench"));
    if rivals {
        command.args(["--features", "rivals"]);
    }
    command.arg("--");
    command
}

const ENGINE: &str = "leptos-sync";

/// What the rows of Yjs call it.
const YJS: &str = "Yjs (node)";

/// Weighs the engine and times it in Chromium; returns a file of rows.
fn measure_wasm(workspace: &Workspace) -> Result<PathBuf> {
    build::ensure_wasm_target()?;
    let mut rows = Vec::new();
    let mut row = |workload: &str, metric: &str, value: f64, unit: &str| {
        rows.push(json!({
            "workload": workload, "engine": ENGINE, "metric": metric, "value": value, "unit": unit,
        }));
    };
    for (metric, size) in weigh_engine(workspace)? {
        for (form, bytes) in [("", size.raw), (", gzip", size.gzip), (", brotli", size.brotli)] {
            row("wasm/size", &format!("{metric}{form}"), bytes as f64 / 1_000.0, "KB");
        }
    }
    let module = compile(workspace, "speed")?;
    let timed = step("Timing the engine in Chromium", || time_in_chromium(workspace, &module))?;
    for (metric, time) in timed.as_object().context("the page printed no times")? {
        row("wasm/chromium", metric, time.as_f64().context("a time")?, "ms");
    }
    let file = workspace.target.join("bench/wasm.json");
    std::fs::write(&file, Value::from(rows).to_string())
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// What the engine adds to an app: with maps, tables, counters and texts, whose updates it makes
/// and merges, and with more.
pub(crate) fn weigh_engine(workspace: &Workspace) -> Result<Vec<(&'static str, Size)>> {
    if find_program(&["wasm-opt"]).is_none() {
        eprintln!("The engine is weighed as compiled: there is no wasm-opt (npm's binaryen) here");
    }
    let nothing = weigh(workspace, "")?;
    let modules = [
        ("the engine", "engine"),
        ("with blocks", "blocks"),
        ("with blocks, undo, snapshots", "blocks,undo,snapshots"),
        ("with every type", "every-type"),
        ("with everything", "every-type,blocks,undo,snapshots"),
    ];
    modules
        .into_iter()
        .map(|(name, features)| Ok((name, weigh(workspace, features)?.minus(nothing))))
        .collect()
}

/// Compiles the bare module with these features and returns the file.
fn compile(workspace: &Workspace, features: &str) -> Result<PathBuf> {
    let target = workspace.target.join("bench");
    let mut command = shell::cargo(["build", "--quiet", "--locked", "--target", WASM]);
    command.args(["--profile", "wasm-release", "--package", "leptos-sync-bench-wasm"]);
    command.arg("--manifest-path").arg(workspace.root.join("bench/Cargo.toml"));
    command.arg("--target-dir").arg(&target).args(["--features", features]);
    shell::run(&mut command)?;
    Ok(target.join(WASM).join("wasm-release/leptos_sync_bench_wasm.wasm"))
}

fn weigh(workspace: &Workspace, features: &str) -> Result<Size> {
    let module = compile(workspace, features)?;
    // Without a wasm-opt the figure is what the compiler made, which is larger.
    Ok(match size::optimize(&module)? {
        Some(optimized) => optimized,
        None => size::size_of(&module)?,
    })
}

/// The times that a page in headless Chromium takes, by name, in milliseconds.
fn time_in_chromium(workspace: &Workspace, module: &Path) -> Result<Value> {
    let chromium = browser::ensure()?.chromium;
    let bytes = std::fs::read(module)?;
    let list: Vec<String> = bytes.iter().map(u8::to_string).collect();
    let page = workspace.target.join("bench/speed.html");
    let html = include_str!("bench.html").replace("MODULE", &list.join(","));
    std::fs::write(&page, html).with_context(|| format!("cannot write {}", page.display()))?;
    let profile = tempfile::tempdir().context("no folder for a browser profile")?;
    let mut command = Command::new(chromium);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
    command.args(["--no-first-run", "--disable-background-networking", "--dump-dom"]);
    command.arg(format!("--user-data-dir={}", profile.path().display()));
    let shown = shell::read(command.arg(format!("file://{}", page.display())))?;
    let times = shown.split_once("<pre>").and_then(|(_, rest)| rest.split_once("</pre>"));
    match times {
        Some((times, _)) if times.starts_with('{') => Ok(serde_json::from_str(times)?),
        Some((error, _)) => bail!("the page failed: {error}"),
        None => bail!("the page printed nothing"),
    }
}
