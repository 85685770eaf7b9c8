//! `cargo xtask fuzz`: decoders and sessions fed with what nobody would send.
//!
//! The targets are a workspace of its own, `fuzz`, around libFuzzer. Coverage is a pass of LLVM
//! that the stable compiler has too, so neither a nightly toolchain nor cargo-fuzz is needed, only
//! a C++ compiler for libFuzzer itself. One program has all targets: it is linked once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::json;

use crate::debian;
use crate::shell::{self, find_program, step};
use crate::workspace::Workspace;

/// What `cargo xtask fuzz` takes.
#[derive(Args)]
pub(crate) struct FuzzArgs {
    /// How long each target searches after it has replayed its corpus.
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
    /// Run only this target; may be given more than once.
    #[arg(long, value_name = "NAME")]
    target: Vec<String>,
    /// Run one target on this input alone, and show what it says.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Print the names of the targets, and run none.
    #[arg(long)]
    list: bool,
    /// Write what came of each target to docs/figures/fuzz.json.
    #[arg(long)]
    record: bool,
    /// Add valid examples to the corpus in the repository, as far as they reach new code.
    #[arg(long)]
    seed: bool,
}

/// What one input may take. Usual ones take milliseconds, and some ten MB.
const LIMITS: &[&str] = &["-timeout=5", "-rss_limit_mb=1024", "-detect_leaks=0"];

/// What makes the compiler count which code runs, and show libFuzzer what it compares.
const INSTRUMENTATION: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
];

/// Runs `cargo xtask fuzz`.
pub(crate) fn run(args: &FuzzArgs) -> Result<()> {
    let workspace = Workspace::load()?;
    let fuzzer = Fuzzer::build(&workspace)?;
    if args.list {
        return shell::run(&mut Command::new(&fuzzer.program));
    }
    let targets = fuzzer.targets(&args.target)?;
    if args.seed {
        return fuzzer.seed(&targets);
    }
    if let Some(input) = &args.input {
        let [target] = &targets[..] else { bail!("say which target with --target") };
        return shell::run(fuzzer.command(target).args(LIMITS).arg(input));
    }
    let found = fuzzer.folder.join("found");
    let reports = fuzzer.search(&targets, &found, args.seconds, Start::Random)?;
    if args.record {
        let figures = reports.iter().map(|(target, report)| {
            let Report { runs, edges, .. } = report;
            (&**target, json!({ "seconds": args.seconds, "inputs": runs, "edges": edges }))
        });
        workspace.record("fuzz.json", figures)?;
    }
    Ok(())
}

/// Replays the corpus, and searches on from it for a moment, from the same start each time.
/// Returns a note of how many inputs that were.
pub(crate) fn check(workspace: &Workspace) -> Result<String> {
    let fuzzer = Fuzzer::build(workspace)?;
    let found = fuzzer.folder.join("checked");
    if found.exists() {
        fs::remove_dir_all(&found)?;
    }
    let targets = fuzzer.targets(&[])?;
    let reports = fuzzer.search(&targets, &found, CHECK_SECONDS, Start::Same)?;
    let runs: u64 = reports.iter().map(|(_, report)| report.runs).sum();
    Ok(format!("{runs} inputs to {} targets", targets.len()))
}

/// How long the tests let each target search.
const CHECK_SECONDS: u32 = 2;

/// Where a search starts from, apart from the corpus.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    Random,
    Same,
}

/// The program, and where things are.
struct Fuzzer {
    program: PathBuf,
    /// The corpus in the repository, a folder for each target.
    corpus: PathBuf,
    /// For all that a search leaves.
    folder: PathBuf,
}

impl Fuzzer {
    fn build(workspace: &Workspace) -> Result<Self> {
        ensure_compiler()?;
        let folder = workspace.target.join("fuzz");
        let about = shell::read(Command::new("rustc").arg("-vV"))?;
        let host = about.lines().find_map(|line| line.strip_prefix("host: "));
        let host = host.context("rustc does not tell its host")?;
        // With a target, the flags are not for build scripts and macros.
        let mut command = shell::cargo(["build", "--quiet", "--release", "--locked"]);
        command.args(["--target", host]).arg("--target-dir").arg(&folder);
        command.arg("--manifest-path").arg(workspace.root.join("fuzz/Cargo.toml"));
        command.env("CARGO_ENCODED_RUSTFLAGS", INSTRUMENTATION.join("\x1f"));
        step("Building the fuzzer", || shell::run(&mut command))?;
        let program = folder.join(host).join("release/fuzz");
        Ok(Self { program, corpus: workspace.root.join("fuzz/corpus"), folder })
    }

    /// The names of all targets, or these if they are targets.
    fn targets(&self, wanted: &[String]) -> Result<Vec<String>> {
        let list = shell::read(&mut Command::new(&self.program))?;
        let name = |line: &str| line.split_once(": ").map(|(name, _)| name.to_owned());
        let all: Vec<String> = list.lines().filter_map(name).collect();
        if let Some(unknown) = wanted.iter().find(|name| !all.contains(name)) {
            bail!("there is no target `{unknown}`; there are {}", all.join(", "));
        }
        Ok(if wanted.is_empty() { all } else { wanted.to_vec() })
    }

    fn command(&self, target: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.env("LEPTOS_SYNC_FUZZ", target);
        command
    }

    /// Replays the corpus of each target and searches on from there; returns what libFuzzer says of
    /// each. What reaches new code is kept in `found`.
    fn search(
        &self,
        targets: &[String],
        found: &Path,
        seconds: u32,
        start: Start,
    ) -> Result<Vec<(String, Report)>> {
        let crashes = self.folder.join("crashes");
        let logs = self.folder.join("logs");
        [&crashes, &logs].into_iter().try_for_each(fs::create_dir_all)?;
        let (mut reports, mut failed) = (Vec::new(), Vec::new());
        println!("{:<18}{:>12}{:>10}{:>8}{:>8}", "target", "inputs", "a second", "edges", "new");
        for target in targets {
            let (found, known) = (found.join(target), self.corpus.join(target));
            [&found, &known].into_iter().try_for_each(fs::create_dir_all)?;
            let log = logs.join(target);
            let mut command = self.command(target);
            command.args(LIMITS).arg(format!("-max_total_time={seconds}"));
            if start == Start::Same {
                command.arg("-seed=1");
            }
            command.args(["-print_final_stats=1", "-entropic=0"]);
            command.arg(format!("-artifact_prefix={}/{target}-", crashes.display()));
            command.arg(&found).arg(&known).stdin(Stdio::null()).stdout(Stdio::null());
            command.stderr(File::create(&log).context("cannot write a log")?);
            let status = command.status().context("cannot run the fuzzer")?;
            let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
            let report = Report::read(&text);
            println!("{target:<18}{report}");
            reports.push((target.clone(), report));
            if !status.success() {
                failed.push(target.as_str());
                report_crash(target, &text, &log);
            }
        }
        if failed.is_empty() { Ok(reports) } else { bail!("{} failed", failed.join(", ")) }
    }

    /// Adds examples to the corpus.
    fn seed(&self, targets: &[String]) -> Result<()> {
        let examples = self.folder.join("examples");
        if examples.exists() {
            fs::remove_dir_all(&examples)?;
        }
        let mut write = Command::new(&self.program);
        shell::read(write.env("LEPTOS_SYNC_EXAMPLES", &examples))?;
        for target in targets {
            let known = self.corpus.join(target);
            fs::create_dir_all(&known)?;
            let mut merge = self.command(target);
            merge.arg("-merge=1").arg(&known).arg(examples.join(target));
            shell::read(&mut merge)?;
            println!("{target}: {} inputs", fs::read_dir(&known)?.count());
        }
        Ok(())
    }
}

/// Finds a C++ compiler, or installs one where that is possible.
fn ensure_compiler() -> Result<()> {
    let is_here =
        || std::env::var_os("CXX").is_some() || find_program(&["c++", "g++", "clang++"]).is_some();
    if is_here() || debian::install("a C++ compiler", &["g++"])? && is_here() {
        return Ok(());
    }
    bail!("libFuzzer needs a C++ compiler; on Debian run `sudo apt-get install g++`")
}

/// Says what went wrong, and how to see it again.
fn report_crash(target: &str, log: &str, file: &Path) {
    let from = log.lines().skip_while(|line| !line.contains("panicked at") && !is_error(line));
    from.take(4).for_each(|line| println!("  {line}"));
    println!("  the whole log: {}", file.display());
    if let Some((_, input)) = log.split_once("Test unit written to ") {
        let input = input.lines().next().unwrap_or_default();
        println!("  again: cargo xtask fuzz --target {target} --input {input}");
    }
}

fn is_error(line: &str) -> bool {
    line.contains("ERROR: libFuzzer")
}

/// What libFuzzer says at the end.
#[derive(Debug, PartialEq, Eq)]
struct Report {
    runs: u64,
    speed: u64,
    edges: u64,
    new: u64,
}

impl Report {
    fn read(log: &str) -> Self {
        let after = |line: &str, word: &str| {
            let number = line.split_once(word)?.1.split_whitespace().next()?;
            number.parse().ok()
        };
        let last = |word: &str| log.lines().rev().find_map(|line| after(line, word)).unwrap_or(0);
        Self {
            runs: last("stat::number_of_executed_units:"),
            speed: last("stat::average_exec_per_sec:"),
            edges: last(" cov: "),
            new: last("stat::new_units_added:"),
        }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { runs, speed, edges, new } = self;
        write!(f, "{runs:>12}{speed:>10}{edges:>8}{new:>8}")
    }
}

#[cfg(test)]
mod tests {
    use super::Report;

    #[test]
    fn reports_are_read_off_the_log() {
        let log = "#4\tINITED cov: 150 ft: 209 corp: 3/229b exec/s: 0 rss: 29Mb\n\
            #510786\tDONE   cov: 324 ft: 1425 corp: 375/34Kb lim: 1676 exec/s: 102157 rss: 30Mb\n\
            Done 510786 runs in 5 second(s)\n\
            stat::number_of_executed_units: 510786\n\
            stat::average_exec_per_sec:     102157\n\
            stat::new_units_added:          1747\n";
        let report = Report { runs: 510_786, speed: 102_157, edges: 324, new: 1_747 };
        assert_eq!(Report::read(log), report);
        assert_eq!(Report::read("").to_string().trim_start(), "0         0       0       0");
    }
}
