//! `cargo xtask build`: the notebook as static files, and the server that serves them.
//!
//! WebAssembly goes through `wasm-bindgen-cli-support` as a library, at the version pinned beside
//! `wasm-bindgen` itself, so the two cannot drift apart and no global tool is needed.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use wasm_bindgen_cli_support::Bindgen;

use crate::dist;
use crate::shell::{self, step};
use crate::workspace::{WASM, Workspace};

/// The profile of everything a browser downloads: small first.
pub(crate) const WASM_PROFILE: &str = "wasm-release";

/// What `cargo xtask build` takes.
#[derive(Args)]
pub(crate) struct BuildArgs {
    /// Build only the static files, not the server.
    #[arg(long)]
    dist_only: bool,
}

/// Runs `cargo xtask build`.
pub(crate) fn run(args: &BuildArgs) -> Result<()> {
    let workspace = Workspace::load()?;
    notebook(&workspace)?;
    println!("The notebook's files are in {}", workspace.dist().display());
    if !args.dist_only {
        server(&workspace)?;
        println!("The server is {}", workspace.server().display());
    }
    Ok(())
}

/// Builds the notebook and puts its files into the dist folder.
pub(crate) fn notebook(workspace: &Workspace) -> Result<()> {
    ensure_wasm_target()?;
    let wasm = step("Compiling the notebook to WebAssembly", || {
        compile_wasm(workspace, &["--package", "notebook"], "notebook.wasm")
    })?;
    step("Assembling the notebook's files", || dist::assemble(workspace, &wasm))
}

/// Builds the server binary in release mode.
pub(crate) fn server(workspace: &Workspace) -> Result<()> {
    step("Compiling the server", || {
        let args = ["build", "--release", "--package", "leptos-sync-server"];
        shell::run(&mut workspace.cargo(args))
    })
}

/// Adds the wasm target through rustup when the toolchain lacks it.
pub(crate) fn ensure_wasm_target() -> Result<()> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut ask = std::process::Command::new(rustc);
    ask.args(["--print", "target-libdir", "--target", WASM]);
    if shell::read(&mut ask).is_ok_and(|folder| Path::new(folder.trim()).is_dir()) {
        return Ok(());
    }
    step("Adding the WebAssembly target with rustup", || {
        shell::run(std::process::Command::new("rustup").args(["target", "add", WASM]))
            .with_context(|| format!("run `rustup target add {WASM}` and try again"))
    })
}

/// Compiles one wasm artifact in [`WASM_PROFILE`] and returns where cargo put it.
pub(crate) fn compile_wasm(workspace: &Workspace, what: &[&str], file: &str) -> Result<PathBuf> {
    let args = ["build", "--target", WASM, "--profile", WASM_PROFILE];
    shell::run(workspace.cargo(args).args(what))?;
    let wasm = workspace.target.join(WASM).join(WASM_PROFILE).join(file);
    if !wasm.is_file() {
        bail!("cargo built no {}", wasm.display());
    }
    Ok(wasm)
}

/// Writes the JavaScript and the wasm that browsers load for `wasm` into `folder`.
pub(crate) fn bindgen(wasm: &Path, name: &str, folder: &Path) -> Result<()> {
    let mut bindgen = Bindgen::new();
    bindgen
        .web(true)
        .context("wasm-bindgen refuses the web target")?
        .input_path(wasm)
        .out_name(name)
        .typescript(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        // Without its default path the generated `init()` needs an argument or throws.
        .omit_default_module_path(false);
    bindgen.generate(folder).with_context(|| format!("wasm-bindgen failed on {}", wasm.display()))
}
