//! Running other programs, and saying so: one line when a step starts, one when it ends.
//!
//! A failed program becomes an error that names the program and its status; the program's own
//! output has then been seen already, so nothing is repeated.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How many tests ran, read off the lines that test harnesses print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

impl Tally {
    /// Adds what `line` reports, if it is the closing line of a test binary.
    pub(crate) fn read_line(&mut self, line: &str) {
        let Some((_, counts)) = line.split_once("test result: ") else { return };
        let number_before = |word: &str| {
            let (head, _) = counts.split_once(word)?;
            head.rsplit([' ', ';', '.']).find(|part| !part.is_empty())?.parse::<usize>().ok()
        };
        self.passed += number_before(" passed").unwrap_or(0);
        self.failed += number_before(" failed").unwrap_or(0);
    }
}

/// `cargo` as it was called for this xtask, so that the toolchain stays the same.
pub(crate) fn cargo<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args);
    command
}

/// Runs `command` to its end with its output shown as it comes.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    announce(command);
    let status = command.status().with_context(|| format!("could not run {}", line(command)))?;
    if !status.success() {
        bail!("{} failed ({status})", line(command));
    }
    Ok(())
}

/// Lets `command` take this process's place, so that Ctrl-C and `kill` reach it directly.
#[cfg(unix)]
pub(crate) fn become_program(command: &mut Command) -> Result<()> {
    use std::os::unix::process::CommandExt as _;
    let named = line(command);
    Err(command.exec()).with_context(|| format!("could not start {named}"))
}

/// Runs `command` to its end: nothing can take a process's place here.
#[cfg(not(unix))]
pub(crate) fn become_program(command: &mut Command) -> Result<()> {
    run(command)
}

/// Runs a test command to its end, shows its output, and counts the tests it reports.
///
/// The tally is filled in even when the command fails.
pub(crate) fn run_tests(command: &mut Command, tally: &mut Tally) -> Result<()> {
    announce(command);
    let named = line(command);
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("could not run {named}"))?;
    let mut output = BufReader::new(child.stdout.take().expect("stdout was piped"));
    let (mut text, mut screen) = (Vec::new(), std::io::stdout());
    while output.read_until(b'\n', &mut text).context("could not read a test's output")? > 0 {
        tally.read_line(&String::from_utf8_lossy(&text));
        screen.write_all(&text).and_then(|()| screen.flush()).context("could not print")?;
        text.clear();
    }
    let status = child.wait().with_context(|| format!("could not wait for {named}"))?;
    if !status.success() {
        bail!("{named} failed ({status})");
    }
    Ok(())
}

/// What a short program prints, or an error with its own words.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("could not run {}", line(command)))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed ({}): {}", line(command), output.status, words.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{} is not text", line(command)))
}

/// Does one named piece of work, with a line before and the time after it.
pub(crate) fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("» {name}");
    let start = Instant::now();
    let result = work().with_context(|| format!("{name} did not succeed"));
    if result.is_ok() {
        println!("  {name}: done in {}", seconds(start.elapsed()));
    }
    result
}

/// A duration as people read it.
pub(crate) fn seconds(time: Duration) -> String {
    let whole = time.as_secs();
    if whole >= 60 {
        format!("{} min {:02} s", whole / 60, whole % 60)
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

/// The first executable of `names` on PATH.
pub(crate) fn find_program(names: &[&str]) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|file| file.is_file())
}

/// The command's first words, enough to tell which one it was.
fn line(command: &Command) -> String {
    let mut words = words(command);
    if words.len() > 4 {
        words.truncate(3);
        words.push("…".to_owned());
    }
    format!("`{}`", words.join(" "))
}

/// Shows the whole command, so that it can be run again by hand.
fn announce(command: &Command) {
    eprintln!("  $ {}", words(command).join(" "));
}

/// The command as one would type it.
fn words(command: &Command) -> Vec<String> {
    let name = std::path::Path::new(command.get_program());
    let name = name.file_stem().unwrap_or(name.as_os_str());
    let all = std::iter::once(name).chain(command.get_args());
    all.map(|word| word.to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally_of(text: &str) -> Tally {
        let mut tally = Tally::default();
        text.lines().for_each(|line| tally.read_line(line));
        tally
    }

    #[test]
    fn tallies_add_up_over_several_test_binaries() {
        let text = "test a ... ok\n\
            test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n\
            \n\
            test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 filtered out; in 0.01s\n";
        assert_eq!(tally_of(text), Tally { passed: 15, failed: 2 });
    }

    #[test]
    fn lines_that_report_nothing_count_nothing() {
        assert_eq!(tally_of("5 passed; 1 failed\ntest result: \n"), Tally::default());
    }

    #[test]
    fn a_failed_command_is_named_with_its_arguments() {
        let error = run(Command::new("/bin/false").arg("--all")).expect_err("false fails");
        assert!(error.to_string().starts_with("`false --all` failed"), "{error}");
        let error = run(Command::new("/bin/false").args(["a", "b", "c", "d"])).expect_err("too");
        assert!(error.to_string().starts_with("`false a b …` failed"), "{error}");
    }
}
