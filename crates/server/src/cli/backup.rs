//! `leptos-sync backup`: a copy of the store, while a server is running or not.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use leptos_sync_storage::{BackupError, SqliteStorage};

use super::{DataDir, print};

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// The file to make; there must be none of that name.
    file: PathBuf,
    #[command(flatten)]
    data: DataDir,
}

pub(crate) fn run(args: &BackupArgs) -> Result<()> {
    let BackupArgs { file, data } = args;
    SqliteStorage::back_up(data.existing_store()?, file).map_err(|error| {
        let advice = advice(&error);
        anyhow::Error::new(error).context(format!("there is no backup{advice}"))
    })?;
    let bytes = file.metadata().context("cannot look at the backup")?.len();
    print(&format!("{}: {bytes} bytes", file.display()))
}

/// What can be done about a backup that was not made.
fn advice(error: &BackupError) -> &'static str {
    match error {
        BackupError::Exists(_) => " (name a file that is not there yet)",
        BackupError::Open(error) => super::advice(error),
        BackupError::Damaged(_) => " (the store may be damaged: keep the backups that you have)",
        _ => " (look whether its directory is there, can be written and has room)",
    }
}
