//! `cargo xtask chaos` and `cargo xtask hostile`: the real server process, killed and attacked.
//!
//! Both are tests of `leptos-sync-server`, compiled here and then run with other settings. What
//! they found is written to docs/figures with `--record`, so that no page quotes a figure that
//! somebody typed.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use crate::shell;
use crate::workspace::Workspace;

/// What `cargo xtask chaos` takes.
#[derive(Args)]
pub(crate) struct ChaosArgs {
    /// How often the server is killed.
    #[arg(long, value_name = "N", default_value_t = 200)]
    kills: u32,
    /// Decides when it is killed; what happens then is up to the machine.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Write the figures to docs/figures/chaos.json too.
    #[arg(long)]
    record: bool,
}

/// What `cargo xtask hostile` takes.
#[derive(Args)]
pub(crate) struct HostileArgs {
    /// Write the figures to docs/figures/hostile.json.
    #[arg(long)]
    record: bool,
}

/// Runs `cargo xtask chaos`. Ctrl-C ends it after a last comparison.
pub(crate) fn chaos(args: &ChaosArgs) -> Result<()> {
    let workspace = Workspace::load()?;
    let mut command = Command::new(compile(&workspace, "chaos", &[])?);
    command.env("LEPTOS_SYNC_CHAOS_KILLS", args.kills.to_string());
    if let Some(seed) = args.seed {
        command.env("LEPTOS_SYNC_CHAOS_SEED", seed.to_string());
    }
    if args.json {
        command.env("LEPTOS_SYNC_CHAOS_JSON", "1");
    }
    if args.record {
        command.env("LEPTOS_SYNC_CHAOS_RECORD", figures(&workspace, "chaos.json")?);
    }
    shell::become_program(&mut command)
}

/// Runs `cargo xtask hostile`: one attack after the other, so that each is measured by itself, on
/// the server as its users have it.
pub(crate) fn hostile(args: &HostileArgs) -> Result<()> {
    let workspace = Workspace::load()?;
    let rows = tempfile::tempdir().context("no folder for figures")?;
    let mut command = Command::new(compile(&workspace, "hostile", &["--release"])?);
    command.args(["--test-threads=1", "--nocapture"]);
    shell::run(command.env("LEPTOS_SYNC_HOSTILE_RECORD", rows.path()))?;
    if !args.record {
        return Ok(());
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(rows.path())?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()
        .context("could not read the figures")?;
    files.sort();
    let all: Vec<Value> = files
        .iter()
        .map(|file| Ok(serde_json::from_str(&std::fs::read_to_string(file)?)?))
        .collect::<Result<_>>()?;
    let file = figures(&workspace, "hostile.json")?;
    std::fs::write(&file, format!("{:#}\n", Value::from(all)))
        .with_context(|| format!("could not write {}", file.display()))?;
    println!("The figures are in {}", file.display());
    Ok(())
}

/// The file of that name among the figures that the documentation refers to.
fn figures(workspace: &Workspace, name: &str) -> Result<PathBuf> {
    let folder = workspace.root.join("docs/figures");
    std::fs::create_dir_all(&folder).context("could not make docs/figures")?;
    Ok(folder.join(name))
}

/// Compiles a test of the server, and the server with it; returns the program.
fn compile(workspace: &Workspace, test: &str, profile: &[&str]) -> Result<PathBuf> {
    let args = ["test", "--no-run", "--message-format=json-render-diagnostics"];
    let mut command = workspace.cargo(args);
    command.args(["--package", "leptos-sync-server", "--test", test]).args(profile);
    let output = command.stderr(Stdio::inherit()).output().context("could not run cargo")?;
    if !output.status.success() {
        bail!("the test `{test}` of leptos-sync-server does not compile");
    }
    let told = String::from_utf8(output.stdout).context("cargo printed no text")?;
    let is_it = |message: &Value| message["target"]["name"] == test;
    let messages = told.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let program =
        messages.filter(is_it).find_map(|message| Some(message["executable"].as_str()?.into()));
    program.with_context(|| format!("cargo did not say where it put the test `{test}`"))
}
