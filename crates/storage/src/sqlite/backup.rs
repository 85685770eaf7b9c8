//! A copy of a store that is in use.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::schema::{self, check_ours};
use super::{SqliteOptions, SqliteStorage};
use crate::error::{BackendError, OpenError};

/// Why no backup was made. The store is as it was, and there is no file of the backup's name that
/// was not there before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// There is a file of that name. Name another.
    #[error("{} exists", .0.display())]
    Exists(PathBuf),
    /// The store could not be opened.
    #[error("failed to open the store")]
    Open(#[from] OpenError),
    /// The store could not be read, or the copy not be written.
    #[error("failed to copy the store")]
    Copy(#[source] BackendError),
    /// The copy could not be flushed to the disk, or not be given its name.
    #[error("failed to keep the copy")]
    Keep(#[source] std::io::Error),
    /// The copy is damaged, and so, most likely, is the store.
    #[error("the copy is damaged: {0}")]
    Damaged(String),
}

impl SqliteStorage {
    /// Copies the store in the file `from`, as it is at one moment, to the new file `to`; also
    /// while it is in use, which goes on meanwhile. The copy is checked and flushed to the disk
    /// before it has its name; it takes no more room than what is stored needs. Blocks the thread.
    ///
    /// # Errors
    /// [`BackupError`] says why there is no copy.
    pub fn back_up(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<(), BackupError> {
        let to = to.as_ref();
        if to.try_exists().unwrap_or(true) {
            return Err(BackupError::Exists(to.to_owned()));
        }
        let store = schema::open_reader(from.as_ref(), &SqliteOptions::default())?;
        check_ours(&store)?;
        let part = part_of(to);
        let kept = copy(&store, &part).and_then(|()| keep(&part, to));
        if kept.is_err() {
            // It may not be there; what is left of it is overwritten by the next try.
            let _ = fs::remove_file(&part);
        }
        kept
    }
}

/// What the copy is called until it is whole.
fn part_of(to: &Path) -> PathBuf {
    let mut name = OsString::from(to);
    name.push(".part");
    name.into()
}

fn copy(store: &Connection, part: &Path) -> Result<(), BackupError> {
    let failed = |error: rusqlite::Error| BackupError::Copy(BackendError::new(error));
    // Of a try that was killed. SQLite says so itself if it cannot be removed.
    let _ = fs::remove_file(part);
    let name = part.to_str().ok_or_else(|| {
        BackupError::Copy(BackendError::new("the name of the copy has to be UTF-8"))
    })?;
    store.pragma_update(None, "query_only", false).map_err(failed)?;
    store.execute("VACUUM INTO ?1", [name]).map_err(failed)?;
    let copied = Connection::open(part).map_err(failed)?;
    let check = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
    let found = copied.query_row("PRAGMA integrity_check(1)", [], check).map_err(failed)?;
    if found == "ok" { Ok(()) } else { Err(BackupError::Damaged(found)) }
}

fn keep(part: &Path, to: &Path) -> Result<(), BackupError> {
    let kept = || {
        File::open(part)?.sync_all()?;
        fs::rename(part, to)?;
        sync_name(to).inspect_err(|_| {
            // It could be gone after a power loss: that is no backup.
            let _ = fs::remove_file(to);
        })
    };
    kept().map_err(BackupError::Keep)
}

/// Flushes a file's name; elsewhere than on Unix a directory cannot be flushed.
fn sync_name(file: &Path) -> std::io::Result<()> {
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty());
    if cfg!(unix) { File::open(dir.unwrap_or(Path::new(".")))?.sync_all() } else { Ok(()) }
}
