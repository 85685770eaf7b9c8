//! `cargo xtask demo`: from a fresh clone to a document open in two windows.
//!
//! On Unix the server takes this process's place, so Ctrl-C and `kill` reach it directly and no
//! server outlives the command. Data stays in `--data` from one run to the next.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::build;
use crate::shell;
use crate::workspace::Workspace;

/// What `cargo xtask demo` takes.
#[derive(Args)]
pub(crate) struct DemoArgs {
    /// The port on this machine to serve on.
    #[arg(long, default_value_t = 8787)]
    port: u16,
    /// Where the server keeps the documents [default: leptos-sync-data in the repository].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Runs `cargo xtask demo`.
pub(crate) fn run(args: &DemoArgs) -> Result<()> {
    let workspace = Workspace::load()?;
    check_port(args.port)?;
    let data = match &args.data {
        Some(folder) => std::path::absolute(folder).context("--data is not a usable path")?,
        None => workspace.root.join("leptos-sync-data"),
    };
    std::fs::create_dir_all(&data)
        .with_context(|| format!("could not create the data folder {}", data.display()))?;
    build::notebook(&workspace)?;
    build::server(&workspace)?;
    check_port(args.port)?;

    println!();
    println!("  Open  http://localhost:{}/  in two windows and type.", args.port);
    println!("  Documents are kept in {}; Ctrl-C stops the server.", data.display());
    println!();
    let mut server = Command::new(workspace.server());
    shell::become_program(server.args(serve_args(args.port, &data, &workspace.dist())))
}

/// Fails early and plainly when somebody else has the port.
fn check_port(port: u16) -> Result<()> {
    TcpListener::bind(("127.0.0.1", port)).map(drop).with_context(|| {
        format!("port {port} cannot be used; choose another with `cargo xtask demo --port N`")
    })
}

fn serve_args(port: u16, data: &Path, assets: &Path) -> Vec<std::ffi::OsString> {
    vec![
        "serve".into(),
        "--listen".into(),
        format!("127.0.0.1:{port}").into(),
        "--data".into(),
        data.into(),
        "--assets".into(),
        assets.into(),
    ]
}
