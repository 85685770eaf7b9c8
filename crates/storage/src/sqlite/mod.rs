//! A store in one SQLite file, for servers and command-line tools.
//!
//! One thread owns the writing connection and commits in groups: all that is queued goes into one
//! transaction, and each call is answered when the commit, fsync included, has returned. Two more
//! threads read. Several processes may have the file open.

mod backup;
mod reader;
mod schema;
mod writer;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use leptos_sync_crdt::{Block, DocId, OpId, VersionVector};
use rusqlite::{Connection, ErrorCode};
use tokio::sync::oneshot;

use crate::error::{AppendError, BackendError, CompactError, Failure, Fault, OpenError, ReadError};
use crate::storage::{Snapshot, Storage, StoredDoc};
pub use backup::BackupError;
use reader::Read;
use writer::{Command, Refusal, Task};

const READER_COUNT: usize = 2;

/// How a SQLite file is opened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SqliteOptions {
    /// How long to wait for a lock that another process holds, before failing as blocked.
    pub busy_timeout: Duration,
    /// How large the file may grow, its log apart; beyond it writes fail as out of quota.
    pub bytes_max: Option<u64>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { busy_timeout: Duration::from_secs(5), bytes_max: None }
    }
}

/// Keeps documents in a SQLite file. Clones share its threads.
#[derive(Clone, Debug)]
pub struct SqliteStorage {
    writes: mpsc::Sender<Command>,
    reads: mpsc::Sender<Read>,
    closed: Arc<AtomicBool>,
}

impl SqliteStorage {
    /// Opens the file, or makes it. Blocks the thread while it does.
    ///
    /// # Errors
    /// [`OpenError`] says why; the file is as it was.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_with(path, SqliteOptions::default())
    }

    /// Opens the file with other options than the usual.
    ///
    /// # Errors
    /// As [`SqliteStorage::open`].
    pub fn open_with(path: impl AsRef<Path>, options: SqliteOptions) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let writer = schema::open_writer(path, &options)?;
        let mut readers = Vec::new();
        for _ in 0..READER_COUNT {
            readers.push(schema::open_reader(path, &options)?);
        }
        let writes = writer::start(writer)?;
        let reads = reader::start(readers)?;
        Ok(Self { writes, reads, closed: Arc::default() })
    }

    /// Finishes what is queued, moves the log into the file and lets go of it. Every later call on
    /// any clone fails as closed. Without it nothing is lost: the next opening reads the log.
    pub async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let (answer, closed) = oneshot::channel();
        if self.writes.send(Command::Close(answer)).is_ok() {
            // A writer that ended without an answer has closed as well.
            let _ = closed.await;
        }
    }

    /// The documents to which another process, or another opening of the file, may have added
    /// blocks since the last call, or since this store was opened.
    ///
    /// It is cheap when nobody else wrote. Documents of our own writes may be among those listed.
    ///
    /// # Errors
    /// [`ReadError`]; what changed is then listed by the next call.
    pub async fn external_changes(&self) -> Result<Vec<DocId>, ReadError> {
        let (answer, changes) = oneshot::channel();
        let sent = self.writes.send(Command::ExternalChanges(answer));
        sent.map_err(|_| ReadError::Closed)?;
        changes.await.map_err(|_| ReadError::Closed)?
    }

    async fn write<E: From<Failure> + Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<(), Refusal<E>> + Send + 'static,
    ) -> Result<(), E> {
        let closed = || E::from(Failure::Fault(Fault::Closed));
        if self.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        let (task, answer) = Task::new(work);
        self.writes.send(Command::Write(Box::new(task))).map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    async fn read<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<R, Failure> + Send + 'static,
    ) -> Result<R, ReadError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(ReadError::Closed);
        }
        let (answer, result) = oneshot::channel();
        let read: Read = Box::new(move |connection| {
            // Nobody waits any more if this fails.
            let _ = answer.send(work(connection));
        });
        self.reads.send(read).map_err(|_| ReadError::Closed)?;
        Ok(result.await.map_err(|_| ReadError::Closed)??)
    }
}

impl Storage for SqliteStorage {
    async fn docs(&self) -> Result<Vec<DocId>, ReadError> {
        self.read(|connection| reader::docs(connection)).await
    }

    async fn versions(&self) -> Result<Vec<(DocId, VersionVector)>, ReadError> {
        self.read(reader::versions).await
    }

    async fn load(&self, doc: &DocId) -> Result<StoredDoc, ReadError> {
        let doc = doc.clone();
        self.read(move |connection| reader::load(connection, &doc)).await
    }

    async fn append(&self, batch: Vec<(DocId, Vec<Block>)>) -> Result<(), AppendError> {
        self.write(move |connection| writer::append(connection, &batch)).await
    }

    async fn compact(&self, doc: &DocId, snapshot: Snapshot) -> Result<(), CompactError> {
        let doc = doc.clone();
        self.write(move |connection| writer::replace(connection, &doc, &snapshot, &[])).await
    }

    async fn replace(
        &self,
        doc: &DocId,
        snapshot: Snapshot,
        moved: Vec<OpId>,
    ) -> Result<(), CompactError> {
        let doc = doc.clone();
        self.write(move |connection| writer::replace(connection, &doc, &snapshot, &moved)).await
    }

    async fn remove(&self, doc: &DocId) -> Result<(), AppendError> {
        let doc = doc.clone();
        self.write(move |connection| writer::remove(connection, &doc)).await
    }

    async fn get_meta(&self, key: &str) -> Result<Option<Vec<u8>>, ReadError> {
        let key = key.to_owned();
        self.read(move |connection| reader::get_meta(connection, &key)).await
    }

    async fn put_meta(&self, key: &str, value: &[u8]) -> Result<(), AppendError> {
        let (key, value) = (key.to_owned(), value.to_vec());
        self.write(move |connection| writer::put_meta(connection, &key, &value)).await
    }

    async fn remove_meta(&self, key: &str) -> Result<(), AppendError> {
        let key = key.to_owned();
        self.write(move |connection| writer::remove_meta(connection, &key)).await
    }

    async fn list_meta(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, ReadError> {
        let prefix = prefix.to_owned();
        self.read(move |connection| reader::list_meta(connection, &prefix)).await
    }
}

/// Names what SQLite reports. An error of the disk while writing leaves the file in doubt.
impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Fault(Fault::QuotaExceeded),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Self::Fault(Fault::Blocked)
            }
            Some(ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt) => {
                Self::Broken { detail: error.to_string() }
            }
            _ => Self::Backend(BackendError::new(error)),
        }
    }
}
