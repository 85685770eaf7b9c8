//! The steps of `cargo xtask test`, in the order that finds mistakes soonest.
//!
//! Compiling is what costs time, so steps share what they can: lints, docs and feature checks
//! read the same metadata of the dependencies, native tests and the end-to-end tests one feature
//! set, and the end-to-end tests drive the very files and server that `cargo xtask demo` starts.

use std::process::Command;

use anyhow::{Context, Result};

use crate::bench;
use crate::browser::{self, Browser, Other};
use crate::build;
use crate::fuzz;
use crate::shell::{self, Tally, find_program};
use crate::sim;
use crate::size;
use crate::tidy;
use crate::workspace::{WASM, Workspace};

/// One step; it may return a note for the summary.
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) run: fn(&Workspace, &mut Tally) -> Result<Option<String>>,
}

/// All steps.
pub(super) const STEPS: &[Step] = &[
    Step { name: "tools", about: "the wasm target, Chromium and chromedriver", run: tools },
    Step { name: "format", about: "cargo fmt", run: format },
    Step { name: "tidy", about: "limits, module docs, forbidden dependencies", run: tidy },
    Step { name: "clippy", about: "lints of the native code", run: clippy },
    Step { name: "native", about: "unit, integration and documentation tests", run: native },
    Step {
        name: "sim",
        about: "seeds of a simulated world, and bugs planted there",
        run: simulate,
    },
    Step { name: "fuzz", about: "decoders and sessions, with what nobody would send", run: fuzz },
    Step { name: "docs", about: "documentation without warnings", run: docs },
    Step { name: "clippy-wasm", about: "lints of the code that browsers run", run: clippy_wasm },
    Step { name: "features", about: "leptos-sync as csr, hydrate and ssr", run: features },
    Step { name: "browser", about: "wasm tests in headless Chromium", run: browser_tests },
    Step { name: "build", about: "the notebook and the server, as users get them", run: build },
    Step { name: "size", about: "bytes that a browser downloads", run: sizes },
    Step { name: "bench", about: "that the measuring program works", run: bench },
    Step { name: "deny", about: "licences, bans and sources of dependencies", run: deny },
    Step { name: "e2e", about: "the whole journey, in Chromium, on the real server", run: e2e },
    Step { name: BROWSERS, about: "storage and the journey in Firefox and WebKitGTK", run: others },
];

/// The step that runs only when it is asked for.
pub(super) const BROWSERS: &str = "browsers";

/// Everything that runs natively, in one selection so that features unify the same way each time.
/// The commands stand apart, as `cargo xtask` itself builds them alone.
const NATIVE: &[&str] = &[
    "--workspace",
    "--exclude=notebook",
    "--exclude=baseline",
    "--exclude=xtask",
    "--exclude=wasm-test-runner",
    "--features=leptos-sync/ssr,leptos-sync-storage/sqlite,leptos-sync-storage/conformance,\
     leptos-sync-transport/native",
];

/// Everything with tests that run in a browser.
const IN_BROWSER: &[&str] = &[
    "--target=wasm32-unknown-unknown",
    "--package=leptos-sync-storage",
    "--package=leptos-sync-transport",
    "--package=leptos-sync-engine",
    "--package=leptos-sync",
    "--features=leptos-sync/csr,leptos-sync-storage/indexeddb,leptos-sync-storage/conformance,\
     leptos-sync-transport/web",
];

/// The tests for browsers, by name: what lies beside them is for native targets only.
const BROWSER_TESTS: &[&str] =
    &["--test=indexeddb", "--test=reactive", "--test=textarea", "--test=web"];

/// Those of them that other browsers run too: what differs between them is storage and sockets.
const STORAGE_TESTS: &[&str] = &["--no-fail-fast", "--test=indexeddb", "--test=web"];

const DENY_WARNINGS: &[&str] = &["--", "--deny=warnings"];

fn tools(_: &Workspace, _: &mut Tally) -> Result<Option<String>> {
    build::ensure_wasm_target()?;
    let browser = browser::ensure()?;
    let version = shell::read(Command::new(&browser.chromium).arg("--version"))?;
    Ok(Some(version.trim().to_owned()))
}

fn format(workspace: &Workspace, _: &mut Tally) -> Result<Option<String>> {
    shell::run(&mut workspace.cargo(["fmt", "--all", "--check"]))
        .context("run `cargo fmt --all` and look at what it changed")?;
    Ok(None)
}

fn tidy(workspace: &Workspace, _: &mut Tally) -> Result<Option<String>> {
    tidy::check(workspace)?;
    Ok(None)
}

fn clippy(workspace: &Workspace, _: &mut Tally) -> Result<Option<String>> {
    // The end-to-end tests are no default target and have to be named.
    for targets in ["--all-targets", "--test=journey"] {
        shell::run(workspace.cargo(["clippy", targets]).args(NATIVE).args(DENY_WARNINGS))?;
    }
    let commands = ["clippy", "--all-targets", "--package=xtask", "--package=wasm-test-runner"];
    shell::run(workspace.cargo(commands).args(DENY_WARNINGS))?;
    Ok(None)
}

fn native(workspace: &Workspace, tally: &mut Tally) -> Result<Option<String>> {
    let ours = shell::run_tests(workspace.cargo(["test", "--no-fail-fast"]).args(NATIVE), tally);
    shell::run_tests(&mut workspace.cargo(["test", "--package=xtask"]), tally)?;
    ours.map(|()| None)
}

fn bench(workspace: &Workspace, _: &mut Tally) -> Result<Option<String>> {
    let manifest = workspace.root.join("bench/Cargo.toml");
    let mut format = workspace.cargo(["fmt", "--all", "--check", "--manifest-path"]);
    shell::run(format.arg(&manifest))?;
    bench::check(workspace)?;
    Ok(None)
}

fn simulate(workspace: &Workspace, _: &mut Tally) -> Result<Option<String>> {
    sim::check(workspace)?;
    Ok(None)
}

fn fuzz(workspace: &Workspace, _: &mut Tally) -> Result<Option<String>> {
    let manifest = workspace.root.join("fuzz/Cargo.toml");
    let mut format = workspace.cargo(["fmt", "--all", "--check", "--manifest-path"]);
    shell::run(format.arg(&manifest))?;
    fuzz::check(workspace).map(Some)
}

fn docs(workspace: &Workspace, _: &mut Tally) -> Result<Option<String>> {
    let mut command = workspace.cargo(["doc", "--no-deps"]);
    shell::run(command.args(NATIVE).env("RUSTDOCFLAGS", "--deny=warnings"))?;
    let mut tools = workspace.cargo(["doc", "--no-deps", "--package=xtask"]);
    shell::run(tools.env("RUSTDOCFLAGS", "--deny=warnings"))?;
    Ok(None)
}

fn clippy_wasm(workspace: &Workspace, _: &mut Tally) -> Result<Option<String>> {
    build::ensure_wasm_target()?;
    let mut ours = workspace.cargo(["clippy", "--lib"]);
    shell::run(ours.args(BROWSER_TESTS).args(IN_BROWSER).args(DENY_WARNINGS))?;
    let apps = ["clippy", "--target", WASM, "--package=notebook", "--package=baseline"];
    shell::run(workspace.cargo(apps).args(DENY_WARNINGS))?;
    Ok(None)
}

/// The other steps compile `csr` and `ssr`; left are `hydrate`, and none of the three.
fn features(workspace: &Workspace, _: &mut Tally) -> Result<Option<String>> {
    build::ensure_wasm_target()?;
    let check = ["check", "--package=leptos-sync"];
    shell::run(workspace.cargo(check).args(["--target", WASM, "--features=hydrate"]))?;
    shell::run(&mut workspace.cargo(check))?;
    Ok(None)
}

fn browser_tests(workspace: &Workspace, tally: &mut Tally) -> Result<Option<String>> {
    build::ensure_wasm_target()?;
    let browser = browser::ensure()?;
    let mut tests = wasm_tests(workspace, workspace.cargo(["test", "--no-fail-fast"]))?;
    tests.args(BROWSER_TESTS).env("CHROMEDRIVER", browser.chromedriver);
    shell::run_tests(&mut tests, tally)?;
    Ok(None)
}

/// `cargo`, a test command, for wasm and with our runner; the browser is still to be named.
fn wasm_tests(workspace: &Workspace, mut cargo: Command) -> Result<Command> {
    let runner = "wasm-test-runner";
    shell::run(&mut workspace.cargo(["build", "--package", runner]))?;
    let runner = workspace.target.join("debug").join(runner);
    cargo
        .args(IN_BROWSER)
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", runner)
        .env("WASM_BINDGEN_TEST_TIMEOUT", "300")
        .env("WASM_BINDGEN_TEST_DRIVER_TIMEOUT", "60");
    Ok(cargo)
}

fn build(workspace: &Workspace, _: &mut Tally) -> Result<Option<String>> {
    build::notebook(workspace)?;
    build::server(workspace)?;
    Ok(None)
}

fn sizes(workspace: &Workspace, _: &mut Tally) -> Result<Option<String>> {
    build::ensure_wasm_target()?;
    size::report(workspace).map(Some)
}

/// Advisories need a clone of their database from the net, so they are not part of this.
fn deny(workspace: &Workspace, _: &mut Tally) -> Result<Option<String>> {
    if find_program(&["cargo-deny"]).is_none() {
        let note = "skipped: not installed, run `cargo install --locked cargo-deny`";
        println!("  cargo deny {note}");
        return Ok(Some(note.to_owned()));
    }
    let args = ["deny", "--all-features", "check", "licenses", "bans", "sources"];
    shell::run(&mut workspace.cargo(args))?;
    Ok(None)
}

fn e2e(workspace: &Workspace, tally: &mut Tally) -> Result<Option<String>> {
    let browser = browser::ensure()?;
    build::notebook(workspace)?;
    build::server(workspace)?;
    // Scenes that measure go one by one; those of failures, of which some wait long, side by side.
    let scenes = ["--test-threads=1", "--skip=failures::", "--skip=others::"];
    let failures = ["--test-threads=3", "failures::"];
    let mut result = Ok(());
    for chosen in [&scenes[..], &failures] {
        let mut tests = journey(workspace, &browser);
        result = shell::run_tests(tests.args(chosen), tally).and(result);
    }
    result.map(|()| None)
}

/// The scenes, of which some are still to be chosen.
fn journey(workspace: &Workspace, browser: &Browser) -> Command {
    // The engine has a test of this name, which needs no browser.
    let mut tests = workspace.cargo(["test", "--test=journey", "--exclude=leptos-sync-engine"]);
    tests
        .args(NATIVE)
        .args(["--", "--nocapture"])
        .env("LEPTOS_SYNC_SERVER", workspace.server())
        .env("LEPTOS_SYNC_DIST", workspace.dist())
        .env("LEPTOS_SYNC_SHOTS", workspace.target.join("e2e"))
        .env("CHROMIUM", &browser.chromium)
        .env("RUST_BACKTRACE", "0");
    tests
}

fn others(workspace: &Workspace, tally: &mut Tally) -> Result<Option<String>> {
    build::ensure_wasm_target()?;
    let chromium = browser::ensure()?;
    build::notebook(workspace)?;
    build::server(workspace)?;
    let (mut skipped, mut result) = (Vec::new(), Ok(()));
    for Other { name, driver } in browser::others(workspace)? {
        let Some(driver) = driver else {
            println!("  {name} is skipped: it, or its driver, is not installed");
            skipped.push(format!("{name} skipped: not installed"));
            continue;
        };
        // The runner takes the first driver that it is told of, and the browser's settings from a
        // file. WebKitWebDriver counts as Safari's.
        let (cargo, variable, scene) = match name {
            "Firefox" => (workspace.cargo(["test"]), "GECKODRIVER", "others::firefox::"),
            _ => (on_a_screen(workspace), "SAFARIDRIVER", "others::webkit::"),
        };
        let mut tests = wasm_tests(workspace, cargo)?;
        tests.args(STORAGE_TESTS).env(variable, &driver);
        let settings = workspace.root.join("xtask/test-runner/firefox.json");
        tests.env("WASM_BINDGEN_TEST_WEBDRIVER_JSON", settings);
        result = shell::run_tests(&mut tests, tally).and(result);
        let mut tests = journey(workspace, &chromium);
        tests.env("GECKODRIVER", &driver).env("WEBKITDRIVER", &driver).arg(scene);
        result = shell::run_tests(&mut tests, tally).and(result);
    }
    result.map(|()| (!skipped.is_empty()).then(|| skipped.join("; ")))
}

/// `cargo test`, with a screen for a browser that has to draw on one.
fn on_a_screen(workspace: &Workspace) -> Command {
    let cargo = workspace.cargo(["test"]);
    let mut screen = Command::new("xvfb-run");
    screen.arg("-a").arg(cargo.get_program()).args(cargo.get_args()).current_dir(&workspace.root);
    screen
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::BROWSER_TESTS;
    use crate::dist::files_below;

    /// A test file for browsers that nobody names would never run.
    #[test]
    fn every_test_for_browsers_is_named() {
        let crates = Path::new("../crates");
        for file in files_below(crates).expect("the crates are there") {
            let is_test = file.iter().nth(1).is_some_and(|folder| folder == "tests");
            if !is_test || file.iter().count() != 3 || file.extension().is_none_or(|e| e != "rs") {
                continue;
            }
            let text = std::fs::read_to_string(crates.join(&file)).expect("a source file");
            let gates = ["#![cfg(target_family = \"wasm\")]", "#![cfg(all(target_family"];
            if gates.iter().any(|gate| text.contains(gate)) {
                let name = file.file_stem().unwrap_or_default().to_string_lossy();
                let named = format!("--test={name}");
                assert!(BROWSER_TESTS.contains(&named.as_str()), "{} is not run", file.display());
            }
        }
    }
}
