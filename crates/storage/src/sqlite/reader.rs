//! The reading threads, and the queries they run. Readers never wait for the writer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use leptos_sync_crdt::{Block, DocId, PeerId, Reader, VersionVector};
use rusqlite::{Connection, OptionalExtension};

use crate::error::{BackendError, Failure, OpenError};
use crate::merge::assemble;
use crate::storage::{Snapshot, StoredDoc};

/// One query, which answers its caller itself.
pub(super) type Read = Box<dyn FnOnce(&mut Connection) + Send>;

/// Starts a thread per connection. They end when nobody can send any more.
pub(super) fn start(connections: Vec<Connection>) -> Result<mpsc::Sender<Read>, OpenError> {
    let (reads_in, reads) = mpsc::channel::<Read>();
    let reads = Arc::new(Mutex::new(reads));
    for mut connection in connections {
        let reads = reads.clone();
        let next = move || reads.lock().unwrap_or_else(PoisonError::into_inner).recv();
        thread::Builder::new()
            .name("leptos-sync-read".to_owned())
            .spawn(move || {
                while let Ok(read) = next() {
                    read(&mut connection);
                }
            })
            .map_err(|error| OpenError::Backend(BackendError::new(error)))?;
    }
    Ok(reads_in)
}

pub(super) fn docs(connection: &Connection) -> Result<Vec<DocId>, Failure> {
    let mut query = connection.prepare_cached(
        "SELECT name FROM docs
         WHERE EXISTS (SELECT 1 FROM blocks WHERE doc = docs.id)
            OR EXISTS (SELECT 1 FROM snapshots WHERE doc = docs.id)
         ORDER BY name",
    )?;
    let names = query.query_map([], |row| row.get::<_, String>(0))?;
    names.map(|name| doc_id(&name?)).collect()
}

pub(super) fn versions(
    connection: &mut Connection,
) -> Result<Vec<(DocId, VersionVector)>, Failure> {
    // One transaction, so that a compaction between the queries cannot take blocks away.
    let now = connection.transaction()?;
    let mut found: BTreeMap<DocId, VersionVector> = BTreeMap::new();
    let mut query =
        now.prepare_cached("SELECT name, version FROM snapshots JOIN docs ON docs.id = doc")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let doc = doc_id(&row.get::<_, String>(0)?)?;
        let version = version(&doc, &row.get::<_, Vec<u8>>(1)?)?;
        found.insert(doc, version);
    }
    let mut query = now.prepare_cached(
        "SELECT name, peer, max(end) FROM blocks JOIN docs ON docs.id = doc GROUP BY doc, peer",
    )?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let doc = doc_id(&row.get::<_, String>(0)?)?;
        let peer = PeerId(row.get::<_, i64>(1)?.cast_unsigned());
        found.entry(doc).or_default().extend(peer, row.get(2)?);
    }
    Ok(found.into_iter().collect())
}

pub(super) fn load(connection: &mut Connection, doc: &DocId) -> Result<StoredDoc, Failure> {
    // One transaction, so that a compaction between the queries cannot take blocks away.
    let now = connection.transaction()?;
    let number: Option<i64> = now
        .prepare_cached("SELECT id FROM docs WHERE name = ?1")?
        .query_row([doc.as_str()], |row| row.get(0))
        .optional()?;
    let Some(number) = number else { return Ok(StoredDoc::default()) };
    let stored: Option<(Vec<u8>, Vec<u8>)> = now
        .prepare_cached("SELECT version, bytes FROM snapshots WHERE doc = ?1")?
        .query_row([number], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let snapshot = stored.map(|(version, bytes)| snapshot(doc, &version, bytes)).transpose()?;
    let mut query = now.prepare_cached("SELECT bytes FROM blocks WHERE doc = ?1")?;
    let blocks = query
        .query_map([number], |row| row.get::<_, Vec<u8>>(0))?
        .map(|bytes| block(doc, bytes?))
        .collect::<Result<_, _>>()?;
    Ok(assemble(snapshot, blocks))
}

fn snapshot(doc: &DocId, version: &[u8], bytes: Vec<u8>) -> Result<Snapshot, Failure> {
    Ok(Snapshot { version: self::version(doc, version)?, bytes })
}

fn version(doc: &DocId, bytes: &[u8]) -> Result<VersionVector, Failure> {
    VersionVector::decode(&mut Reader::new(bytes))
        .map_err(|source| Failure::Corrupt { doc: doc.clone(), source })
}

pub(super) fn block(doc: &DocId, bytes: Vec<u8>) -> Result<Block, Failure> {
    Block::parse(bytes).map_err(|source| Failure::Corrupt { doc: doc.clone(), source })
}

pub(super) fn doc_id(name: &str) -> Result<DocId, Failure> {
    DocId::new(name).map_err(|error| Failure::Backend(BackendError::new(error)))
}

pub(super) fn get_meta(connection: &Connection, key: &str) -> Result<Option<Vec<u8>>, Failure> {
    let mut query = connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
    Ok(query.query_row([key], |row| row.get(0)).optional()?)
}

pub(super) fn list_meta(
    connection: &Connection,
    prefix: &str,
) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let mut query =
        connection.prepare_cached("SELECT key, value FROM meta WHERE key >= ?1 ORDER BY key")?;
    let mut rows = query.query([prefix])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let key: String = row.get(0)?;
        if !key.starts_with(prefix) {
            break;
        }
        found.push((key, row.get(1)?));
    }
    Ok(found)
}
