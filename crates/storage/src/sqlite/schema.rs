//! The tables, how they came to be, and how a connection is set up.
//!
//! `user_version` counts the steps that were applied; each step is one transaction.

use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::SqliteOptions;
use crate::error::{BackendError, OpenError};

/// "LSyn": marks the file as ours.
const APPLICATION_ID: u32 = 0x4c53_796e;

/// What turns schema version `i` into `i + 1`. Steps that were released are never edited.
pub(super) const STEPS: [&str; 2] = [
    // Documents by number, blocks in the order of their arrival. A block's end is in the key so
    // that all that may overlap a range of operations is found by one seek.
    "CREATE TABLE docs (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
     CREATE TABLE blocks (
         id INTEGER PRIMARY KEY AUTOINCREMENT,
         doc INTEGER NOT NULL REFERENCES docs (id),
         peer INTEGER NOT NULL,
         seq INTEGER NOT NULL,
         end INTEGER NOT NULL,
         bytes BLOB NOT NULL,
         UNIQUE (doc, peer, end)
     );
     CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;",
    // Compaction.
    "CREATE TABLE snapshots (
         doc INTEGER PRIMARY KEY REFERENCES docs (id),
         version BLOB NOT NULL,
         bytes BLOB NOT NULL
     );",
];

pub(super) fn open_writer(path: &Path, options: &SqliteOptions) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let mut connection = Connection::open_with_flags(path, flags).map_err(open_error)?;
    // SQLite opens what it cannot write for reading, and says so only when something is written.
    if connection.is_readonly("main").map_err(open_error)? {
        return Err(OpenError::Unavailable);
    }
    connection.busy_timeout(options.busy_timeout).map_err(open_error)?;
    check_ours(&connection)?;
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))
        .map_err(open_error)?;
    if mode != "wal" {
        let refused = BackendError::new(format!("journal mode {mode} in place of wal"));
        return Err(OpenError::Backend(refused));
    }
    // FULL: a commit has returned only after the log was synced to the disk.
    connection.pragma_update(None, "synchronous", "full").map_err(open_error)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(open_error)?;
    if let Some(bytes_max) = options.bytes_max {
        limit_size(&connection, bytes_max).map_err(open_error)?;
    }
    migrate(&mut connection)?;
    Ok(connection)
}

pub(super) fn open_reader(path: &Path, options: &SqliteOptions) -> Result<Connection, OpenError> {
    // Not read-only: the last to leave may have to clean up the log's index.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let connection = Connection::open_with_flags(path, flags).map_err(open_error)?;
    connection.busy_timeout(options.busy_timeout).map_err(open_error)?;
    connection.pragma_update(None, "query_only", true).map_err(open_error)?;
    Ok(connection)
}

fn limit_size(connection: &Connection, bytes_max: u64) -> rusqlite::Result<()> {
    let page: u32 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let pages = u32::try_from(bytes_max / u64::from(page.max(1))).unwrap_or(u32::MAX).max(1);
    connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
}

/// Refuses a file that something else made, before anything is written to it.
pub(super) fn check_ours(connection: &Connection) -> Result<(), OpenError> {
    let id: u32 = pragma(connection, "application_id")?;
    let tables: u32 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(open_error)?;
    if id == APPLICATION_ID || (id == 0 && tables == 0) {
        return Ok(());
    }
    Err(OpenError::Corrupt(BackendError::new("the file belongs to another program")))
}

fn migrate(connection: &mut Connection) -> Result<(), OpenError> {
    loop {
        // The version is read inside the transaction: another process may migrate as well.
        let step = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(open_error)?;
        let found: u32 = pragma(&step, "user_version")?;
        let known = u32::try_from(STEPS.len()).expect("there are few steps");
        if found > known {
            return Err(OpenError::NewerSchema { found, known });
        }
        let Some(sql) = STEPS.get(found as usize) else { return Ok(()) };
        step.execute_batch(sql).map_err(open_error)?;
        step.pragma_update(None, "application_id", APPLICATION_ID).map_err(open_error)?;
        step.pragma_update(None, "user_version", found + 1).map_err(open_error)?;
        step.commit().map_err(open_error)?;
    }
}

fn pragma(connection: &Connection, name: &str) -> Result<u32, OpenError> {
    connection.pragma_query_value(None, name, |row| row.get(0)).map_err(open_error)
}

fn open_error(error: rusqlite::Error) -> OpenError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::Blocked,
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            OpenError::Corrupt(BackendError::new(error))
        }
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            OpenError::Unavailable
        }
        _ => OpenError::Backend(BackendError::new(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a store as the program of schema version 1 left it, with one row in each table.
    fn version_one(path: &Path) {
        let old = Connection::open(path).unwrap();
        old.execute_batch(STEPS[0]).unwrap();
        old.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        old.execute_batch(
            "INSERT INTO docs VALUES (7, 'kept');
             INSERT INTO blocks VALUES (1, 7, -1, 0, 2, x'0102');
             INSERT INTO meta VALUES ('epoch', x'05');",
        )
        .unwrap();
    }

    #[test]
    fn an_older_schema_is_migrated_with_all_its_data() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("old.db");
        version_one(&path);
        let now = open_writer(&path, &SqliteOptions::default()).unwrap();
        assert_eq!(pragma(&now, "user_version").unwrap(), 2);
        let kept: (String, i64, Vec<u8>, Vec<u8>) = now
            .query_row(
                "SELECT name, peer, bytes, value FROM docs JOIN blocks ON doc = docs.id, meta",
                [],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
            )
            .unwrap();
        assert_eq!(kept, ("kept".to_owned(), -1, vec![1, 2], vec![5]));
        let snapshots: u32 =
            now.query_row("SELECT count(*) FROM snapshots", [], |row| row.get(0)).unwrap();
        assert_eq!(snapshots, 0);
    }

    #[test]
    fn a_newer_schema_is_refused_untouched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new.db");
        drop(open_writer(&path, &SqliteOptions::default()).unwrap());
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 9).unwrap();
        let refused = open_writer(&path, &SqliteOptions::default()).unwrap_err();
        assert!(matches!(refused, OpenError::NewerSchema { found: 9, known: 2 }), "{refused:?}");
        let still = Connection::open(&path).unwrap();
        assert_eq!(pragma(&still, "user_version").unwrap(), 9);
    }

    #[test]
    fn a_file_of_another_program_is_refused_untouched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("theirs.db");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
        let before = std::fs::read(&path).unwrap();
        let refused = open_writer(&path, &SqliteOptions::default()).unwrap_err();
        assert!(matches!(refused, OpenError::Corrupt(_)), "{refused:?}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
        let text = dir.path().join("text");
        std::fs::write(&text, "not a database, however long this sentence may become".repeat(99))
            .unwrap();
        let refused = open_writer(&text, &SqliteOptions::default()).unwrap_err();
        assert!(matches!(refused, OpenError::Corrupt(_)), "{refused:?}");
    }

    #[test]
    fn a_directory_that_is_not_there_is_unavailable() {
        let dir = tempfile::tempdir().unwrap();
        let refused = open_writer(&dir.path().join("no/such.db"), &SqliteOptions::default());
        assert!(matches!(refused, Err(OpenError::Unavailable)), "{refused:?}");
    }

    #[test]
    fn commits_are_synced() {
        let dir = tempfile::tempdir().unwrap();
        let now = open_writer(&dir.path().join("a.db"), &SqliteOptions::default()).unwrap();
        assert_eq!(pragma(&now, "synchronous").unwrap(), 2, "2 is FULL");
        let version = rusqlite::version_number();
        assert!(version >= 3_051_003, "SQLite {version} has the log-reset bug");
    }
}
