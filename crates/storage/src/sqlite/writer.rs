//! The writing thread: group commit, and what each kind of write does inside the transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc;
use std::thread;

use leptos_sync_crdt::{Block, DocId, OpId, Reader, VersionVector, Writer};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use tokio::sync::oneshot;

use crate::error::{AppendError, BackendError, CompactError, Failure, OpenError, ReadError};
use crate::merge::{Conflict, Log, covers, is_new};
use crate::storage::Snapshot;

/// The most calls that share one transaction, so that the first is not kept waiting for ever.
const GROUP_MAX: usize = 1_024;

pub(super) enum Command {
    Write(Box<dyn Job>),
    ExternalChanges(oneshot::Sender<Result<Vec<DocId>, ReadError>>),
    Close(oneshot::Sender<()>),
}

/// Why one call writes nothing, or why its whole group does.
pub(super) enum Refusal<E> {
    /// It had written nothing yet, and the others of its group do not mind.
    Call(E),
    /// The transaction cannot go on.
    Group(Failure),
}

impl<E> From<Failure> for Refusal<E> {
    fn from(failure: Failure) -> Self {
        Self::Group(failure)
    }
}

impl<E> From<rusqlite::Error> for Refusal<E> {
    fn from(error: rusqlite::Error) -> Self {
        Self::Group(error.into())
    }
}

/// A write that is answered once, when its fate is known.
pub(super) trait Job: Send {
    /// Runs inside the group's transaction.
    fn run(&mut self, connection: &Connection) -> Result<(), Failure>;
    /// Tells the caller how the transaction ended.
    fn answer(self: Box<Self>, committed: Result<(), Failure>);
}

pub(super) struct Task<W, E> {
    work: Option<W>,
    refused: Option<E>,
    answer: oneshot::Sender<Result<(), E>>,
}

impl<W, E> Task<W, E> {
    pub(super) fn new(work: W) -> (Self, oneshot::Receiver<Result<(), E>>) {
        let (answer, answered) = oneshot::channel();
        (Self { work: Some(work), refused: None, answer }, answered)
    }
}

impl<W, E> Job for Task<W, E>
where
    W: FnOnce(&Connection) -> Result<(), Refusal<E>> + Send,
    E: From<Failure> + Send,
{
    fn run(&mut self, connection: &Connection) -> Result<(), Failure> {
        let Some(work) = self.work.take() else { return Ok(()) };
        match work(connection) {
            Ok(()) => Ok(()),
            Err(Refusal::Call(error)) => {
                self.refused = Some(error);
                Ok(())
            }
            Err(Refusal::Group(failure)) => Err(failure),
        }
    }

    fn answer(self: Box<Self>, committed: Result<(), Failure>) {
        let result = match (self.refused, committed) {
            (Some(error), _) => Err(error),
            (None, committed) => committed.map_err(E::from),
        };
        // A caller that went away does not want to know.
        let _ = self.answer.send(result);
    }
}

/// Starts the thread. It ends when it is told to close or when nobody can send any more.
pub(super) fn start(connection: Connection) -> Result<mpsc::Sender<Command>, OpenError> {
    let (commands_in, commands) = mpsc::channel();
    let mut state = State::new(connection)?;
    thread::Builder::new()
        .name("leptos-sync-write".to_owned())
        .spawn(move || state.run(&commands))
        .map_err(|error| OpenError::Backend(BackendError::new(error)))?;
    Ok(commands_in)
}

struct State {
    connection: Connection,
    /// What the disk said when it failed. From then on nothing is written.
    broken: Option<String>,
    /// Changes when another connection has committed.
    data_version: i64,
    /// The last block that was reported or is our own.
    seen_id: i64,
    /// How long each document's snapshot was when that was looked at. A snapshot that another
    /// process wrote has blocks that were in no list.
    seen_snapshots: BTreeMap<String, i64>,
}

impl State {
    fn new(connection: Connection) -> Result<Self, OpenError> {
        let failed = |error| OpenError::Backend(BackendError::new(error));
        // In this order: a block that comes between is reported rather than missed.
        let data_version = data_version(&connection).map_err(failed)?;
        let seen_id = last_id(&connection).map_err(failed)?;
        let seen_snapshots = snapshot_sizes(&connection).map_err(failed)?;
        Ok(Self { connection, broken: None, data_version, seen_id, seen_snapshots })
    }

    fn run(&mut self, commands: &mpsc::Receiver<Command>) {
        while let Ok(first) = commands.recv() {
            let mut next = Some(first);
            let mut group = Vec::new();
            while let Some(Command::Write(job)) = next {
                group.push(job);
                next = if group.len() < GROUP_MAX { commands.try_recv().ok() } else { None };
            }
            if !group.is_empty() {
                self.commit_group(group);
            }
            match next {
                Some(Command::ExternalChanges(answer)) => {
                    // A caller that went away loses the list; the next open or call catches up.
                    let _ = answer.send(self.external_changes().map_err(ReadError::from));
                }
                Some(Command::Close(answer)) => {
                    self.checkpoint();
                    let _ = answer.send(());
                    return;
                }
                Some(Command::Write(_)) | None => {}
            }
        }
    }

    fn commit_group(&mut self, mut group: Vec<Box<dyn Job>>) {
        let committed = match &self.broken {
            Some(detail) => Err(Failure::Broken { detail: detail.clone() }),
            None => self.transact(&mut group),
        };
        if let Err(Failure::Broken { detail }) = &committed {
            self.broken.get_or_insert_with(|| detail.clone());
        }
        for job in group {
            job.answer(committed.clone());
        }
    }

    fn transact(&mut self, group: &mut [Box<dyn Job>]) -> Result<(), Failure> {
        // Dropped before its commit, a transaction is rolled back.
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for job in group {
            job.run(&transaction)?;
        }
        transaction.commit()?;
        Ok(())
    }

    fn external_changes(&mut self) -> Result<Vec<DocId>, Failure> {
        let data_version = data_version(&self.connection)?;
        let last = last_id(&self.connection)?;
        let mut changed = Vec::new();
        if data_version != self.data_version {
            let mut query = self.connection.prepare_cached(
                "SELECT DISTINCT name FROM blocks JOIN docs ON docs.id = doc
                 WHERE blocks.id > ?1",
            )?;
            let names = query.query_map([self.seen_id], |row| row.get::<_, String>(0))?;
            let mut found = names.collect::<Result<BTreeSet<_>, _>>()?;
            let sizes = snapshot_sizes(&self.connection)?;
            let is_new =
                |(name, size): &(&String, &i64)| self.seen_snapshots.get(*name) != Some(*size);
            found.extend(sizes.iter().filter(is_new).map(|(name, _)| name.clone()));
            self.seen_snapshots = sizes;
            for name in found {
                changed.push(super::reader::doc_id(&name)?);
            }
        }
        self.data_version = data_version;
        self.seen_id = last;
        Ok(changed)
    }

    /// Best effort: what stays in the log is read from there by the next opening.
    fn checkpoint(&self) {
        let _ = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    }
}

fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "data_version", |row| row.get(0))
}

/// How many bytes each document's snapshot has. None is read for that.
fn snapshot_sizes(connection: &Connection) -> rusqlite::Result<BTreeMap<String, i64>> {
    let mut query = connection
        .prepare_cached("SELECT name, length(bytes) FROM snapshots JOIN docs ON docs.id = doc")?;
    query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

fn last_id(connection: &Connection) -> rusqlite::Result<i64> {
    let mut query =
        connection.prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'blocks'")?;
    Ok(query.query_row([], |row| row.get(0)).optional()?.unwrap_or(0))
}

/// Adds the blocks of a batch that are new. Looks at all of them before it writes the first.
pub(super) fn append(
    connection: &Connection,
    batch: &[(DocId, Vec<Block>)],
) -> Result<(), Refusal<AppendError>> {
    let mut additions: BTreeMap<&DocId, Log> = BTreeMap::new();
    for (doc, blocks) in batch {
        let number = doc_number(connection, doc)?;
        let covered = match number {
            Some(number) => snapshot_version(connection, doc, number)?.unwrap_or_default(),
            None => VersionVector::default(),
        };
        let added = additions.entry(doc).or_default();
        for block in blocks.iter().filter(|block| block.end() > covered.get(block.peer())) {
            let stored = match number {
                Some(number) => overlapping(connection, doc, number, block)?,
                None => Vec::new(),
            };
            let duplicate = |conflict: Conflict| {
                let (peer, seq) = (conflict.peer, conflict.seq);
                Refusal::Call(AppendError::DuplicatePeer { doc: doc.clone(), peer, seq })
            };
            if is_new(block, &stored).map_err(duplicate)?
                && added.is_new(block).map_err(duplicate)?
            {
                added.add(block.clone());
            }
        }
    }
    for (doc, added) in additions.iter().filter(|(_, added)| !added.is_empty()) {
        let number = doc_number_or_new(connection, doc)?;
        insert(connection, number, added)?;
    }
    Ok(())
}

fn insert(connection: &Connection, number: i64, added: &Log) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO blocks (doc, peer, seq, end, bytes) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for block in added.iter() {
        let peer = block.peer().0.cast_signed();
        insert.execute(params![number, peer, block.seq(), block.end(), block.bytes()])?;
    }
    Ok(())
}

/// The stored blocks of the same peer that share operations with `block`.
fn overlapping(
    connection: &Connection,
    doc: &DocId,
    number: i64,
    block: &Block,
) -> Result<Vec<Block>, Failure> {
    let mut query = connection.prepare_cached(
        "SELECT seq, bytes FROM blocks WHERE doc = ?1 AND peer = ?2 AND end > ?3 ORDER BY end",
    )?;
    let mut rows = query.query(params![number, block.peer().0.cast_signed(), block.seq()])?;
    let mut found = Vec::new();
    // Stored blocks do not overlap each other, so the first that starts beyond is the end.
    while let Some(row) = rows.next()? {
        if row.get::<_, u32>(0)? >= block.end() {
            break;
        }
        found.push(super::reader::block(doc, row.get(1)?)?);
    }
    Ok(found)
}

fn doc_number(connection: &Connection, doc: &DocId) -> rusqlite::Result<Option<i64>> {
    let mut query = connection.prepare_cached("SELECT id FROM docs WHERE name = ?1")?;
    query.query_row([doc.as_str()], |row| row.get(0)).optional()
}

fn doc_number_or_new(connection: &Connection, doc: &DocId) -> rusqlite::Result<i64> {
    if let Some(number) = doc_number(connection, doc)? {
        return Ok(number);
    }
    connection.prepare_cached("INSERT INTO docs (name) VALUES (?1)")?.execute([doc.as_str()])?;
    Ok(connection.last_insert_rowid())
}

fn snapshot_version(
    connection: &Connection,
    doc: &DocId,
    number: i64,
) -> Result<Option<VersionVector>, Failure> {
    let mut query = connection.prepare_cached("SELECT version FROM snapshots WHERE doc = ?1")?;
    let bytes: Option<Vec<u8>> = query.query_row([number], |row| row.get(0)).optional()?;
    let decoded = bytes.map(|bytes| VersionVector::decode(&mut Reader::new(&bytes))).transpose();
    decoded.map_err(|source| Failure::Corrupt { doc: doc.clone(), source })
}

/// Replaces the snapshot and deletes the blocks that it covers, or has under other names.
pub(super) fn replace(
    connection: &Connection,
    doc: &DocId,
    snapshot: &Snapshot,
    moved: &[OpId],
) -> Result<(), Refusal<CompactError>> {
    if let Some(number) = doc_number(connection, doc)?
        && let Some(stored) = snapshot_version(connection, doc, number)?
        && !covers(&snapshot.version, &stored, moved)
    {
        return Err(Refusal::Call(CompactError::Stale { doc: doc.clone() }));
    }
    let number = doc_number_or_new(connection, doc)?;
    let mut version = Writer::new();
    snapshot.version.encode(&mut version);
    connection
        .prepare_cached("INSERT OR REPLACE INTO snapshots (doc, version, bytes) VALUES (?, ?, ?)")?
        .execute(params![number, version.as_slice(), snapshot.bytes])?;
    let mut delete = connection
        .prepare_cached("DELETE FROM blocks WHERE doc = ?1 AND peer = ?2 AND end <= ?3")?;
    for (peer, count) in snapshot.version.iter() {
        delete.execute(params![number, peer.0.cast_signed(), count])?;
    }
    let mut delete = connection
        .prepare_cached("DELETE FROM blocks WHERE doc = ?1 AND peer = ?2 AND seq >= ?3")?;
    for from in moved {
        delete.execute(params![number, from.peer.0.cast_signed(), from.seq])?;
    }
    Ok(())
}

pub(super) fn remove(connection: &Connection, doc: &DocId) -> Result<(), Refusal<AppendError>> {
    if let Some(number) = doc_number(connection, doc)? {
        for sql in [
            "DELETE FROM blocks WHERE doc = ?1",
            "DELETE FROM snapshots WHERE doc = ?1",
            "DELETE FROM docs WHERE id = ?1",
        ] {
            connection.prepare_cached(sql)?.execute([number])?;
        }
    }
    Ok(())
}

pub(super) fn put_meta(
    connection: &Connection,
    key: &str,
    value: &[u8],
) -> Result<(), Refusal<AppendError>> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")?
        .execute(params![key, value])?;
    Ok(())
}

pub(super) fn remove_meta(connection: &Connection, key: &str) -> Result<(), Refusal<AppendError>> {
    connection.prepare_cached("DELETE FROM meta WHERE key = ?1")?.execute([key])?;
    Ok(())
}
