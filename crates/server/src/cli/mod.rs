//! The command line: what can be asked for, and where the store is.

mod backup;
mod doc;
mod json;
mod revoked;
mod serve;
mod token;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use leptos_sync_storage::{OpenError, SqliteStorage};

/// Sync server for leptos-sync documents.
#[derive(Debug, Parser)]
#[command(name = "leptos-sync", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve documents, and a web app beside them if --assets is given.
    Serve(serve::ServeArgs),
    /// List, show, export and import documents; also while a server is running.
    Doc {
        #[command(subcommand)]
        command: doc::DocCommand,
    },
    /// Copy the store into a file, also while a server is running.
    Backup(backup::BackupArgs),
    /// Print a token that a server with the same secret accepts.
    Token(token::TokenArgs),
}

/// Where the documents are.
#[derive(Debug, Args)]
struct DataDir {
    /// The directory that holds the store.
    #[arg(long = "data", value_name = "DIR", default_value = "./leptos-sync-data")]
    dir: PathBuf,
}

impl DataDir {
    fn store(&self) -> PathBuf {
        self.dir.join("leptos-sync.sqlite")
    }

    /// Opens the store, making it if it is missing.
    fn open_or_create(&self) -> Result<SqliteStorage> {
        make_dir(&self.dir)
            .with_context(|| format!("cannot make the directory {}", self.dir.display()))?;
        open(&self.store())
    }

    /// Opens a store that must be there.
    fn open(&self) -> Result<SqliteStorage> {
        open(&self.existing_store()?)
    }

    /// A store that must be there.
    fn existing_store(&self) -> Result<PathBuf> {
        let store = self.store();
        let found = store.try_exists().unwrap_or(false);
        anyhow::ensure!(
            found,
            "there is no store in {}; name its directory with --data",
            self.dir.display()
        );
        Ok(store)
    }
}

/// Makes a directory and those above it, as far as they are missing, and flushes their names:
/// SQLite flushes the names of its files only. Elsewhere than on Unix a name cannot be flushed.
fn make_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    make_dir(parent)?;
    match fs::create_dir(dir) {
        // Somebody else was faster.
        Err(_) if dir.is_dir() => {}
        made => made?,
    }
    if cfg!(unix) { File::open(parent)?.sync_all() } else { Ok(()) }
}

fn open(store: &Path) -> Result<SqliteStorage> {
    SqliteStorage::open(store).map_err(|error| {
        let advice = advice(&error);
        let what = format!("cannot open {}{advice}", store.display());
        anyhow::Error::new(error).context(what)
    })
}

/// What can be done about a store that does not open.
fn advice(error: &OpenError) -> &'static str {
    match error {
        OpenError::Blocked => " (another program holds it: let that finish, then try again)",
        OpenError::Unavailable => {
            " (it cannot be written: is the disk mounted read-only, or the file or its directory \
             somebody else's?)"
        }
        OpenError::NewerSchema { .. } => " (a newer leptos-sync wrote it: use that)",
        OpenError::Corrupt(_) => " (name another directory with --data, or restore a backup)",
        _ => " (look whether the disk is full or failing; nothing that was stored is lost)",
    }
}

/// Does what was asked for.
pub(crate) fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Doc { command } => doc::run(command),
        Command::Backup(args) => backup::run(&args),
        Command::Token(args) => token::run(&args),
    }
}

/// Writes to standard output; a reader that has gone away is no error.
fn print(text: &str) -> Result<()> {
    use std::io::Write as _;
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to standard output"),
    }
}
