//! What each call does, inside its transaction.

use std::collections::BTreeMap;

use js_sys::{Array, JsString, Uint8Array};
use leptos_sync_crdt::{Block, DecodeError, DocId, OpId, PeerId, Reader, VersionVector, Writer};
use litemap::LiteMap;
use wasm_bindgen::JsValue;
use web_sys::{IdbDatabase, IdbKeyRange, IdbObjectStore};

use super::OpError;
use super::idb::{Mode, Request, Transaction};
use super::schema::{BLOCKS, DOCS, META, SNAPSHOTS};
use crate::error::{BackendError, Failure};
use crate::merge::{Conflict, Log, assemble, covers};
use crate::record::{Record, pack, unpack};
use crate::storage::{Snapshot, StoredDoc};

/// How many records one read asks for: a few megabytes at most.
const RECORDS_PER_READ: u32 = 64;

pub(super) async fn docs(db: &IdbDatabase) -> Result<Vec<DocId>, OpError> {
    let mut read = Transaction::begin(db, &[DOCS], Mode::Read)?;
    let request = Request::new(read.store(DOCS)?.get_all_keys()?);
    let keys = Array::from(&read.wait(request).await?);
    let mut docs: Vec<DocId> = keys.iter().map(|key| doc_id(&key)).collect::<Result<_, _>>()?;
    // The browser sorts by UTF-16 code units.
    docs.sort();
    Ok(docs)
}

pub(super) async fn versions(db: &IdbDatabase) -> Result<Vec<(DocId, VersionVector)>, OpError> {
    let mut read = Transaction::begin(db, &[DOCS, BLOCKS], Mode::Read)?;
    let names = Request::new(read.store(DOCS)?.get_all_keys()?);
    let snapshots = Request::new(read.store(DOCS)?.get_all()?);
    let records = Request::new(read.store(BLOCKS)?.get_all_keys()?);
    let names = Array::from(&read.wait(names).await?);
    let snapshots = Array::from(&read.wait(snapshots).await?);
    let mut found: LiteMap<DocId, VersionVector> = LiteMap::new();
    for (name, snapshot) in names.iter().zip(snapshots.iter()) {
        let doc = doc_id(&name)?;
        let version = decode_version(&bytes(&snapshot).unwrap_or_default());
        let version = version.map_err(|source| corrupt(&doc, source))?;
        found.insert(doc, version);
    }
    for key in Array::from(&read.wait(records).await?) {
        let key = Array::from(&key);
        let doc = doc_id(&key.get(0))?;
        let peer = u64::from_str_radix(&key.get(1).as_string().unwrap_or_default(), 16);
        let (Ok(peer), Some(end)) = (peer, key.get(2).as_f64()) else { continue };
        found.entry(doc).or_default().extend(PeerId(peer), end as u32);
    }
    Ok(found.into_iter().collect())
}

pub(super) async fn load(db: &IdbDatabase, doc: &DocId) -> Result<StoredDoc, OpError> {
    let mut read = Transaction::begin(db, &[SNAPSHOTS, BLOCKS], Mode::Read)?;
    let stored = Request::new(read.store(SNAPSHOTS)?.get(&doc_key(doc))?);
    let snapshot = match bytes(&read.wait(stored).await?) {
        Some(stored) => Some(decode_snapshot(&stored).map_err(|source| corrupt(doc, source))?),
        None => None,
    };
    let store = read.store(BLOCKS)?;
    let end = key(&[doc_key(doc), Array::new().into()]);
    let mut range = IdbKeyRange::bound(&key(&[doc_key(doc)]), &end)?;
    let mut blocks = Vec::new();
    loop {
        let request = store.get_all_with_key_and_limit(&range, RECORDS_PER_READ)?;
        let records = Array::from(&read.wait(Request::new(request)).await?);
        for record in records.iter() {
            blocks.extend(decode_record(doc, &record)?);
        }
        let last = records.length().checked_sub(1).map(|last| records.get(last));
        match last {
            Some(last) if records.length() == RECORDS_PER_READ => {
                let last = record_key(doc, &decode_record(doc, &last)?);
                range = IdbKeyRange::bound_with_lower_open(&last, &end, true)?;
            }
            _ => return Ok(assemble(snapshot, blocks)),
        }
    }
}

/// Adds the blocks of a batch that are new, or says which one is another author's.
pub(super) async fn append(
    db: &IdbDatabase,
    mode: Mode,
    batch: &[(DocId, Vec<Block>)],
) -> Result<Option<(DocId, Conflict)>, OpError> {
    if batch.iter().all(|(_, blocks)| blocks.is_empty()) {
        return Ok(None);
    }
    let mut write = Transaction::begin(db, &[BLOCKS, DOCS], mode)?;
    let mut stored = read_stored(&mut write, batch).await?;
    let mut additions: LiteMap<&DocId, Log> = LiteMap::new();
    for (doc, blocks) in batch.iter().filter(|(_, blocks)| !blocks.is_empty()) {
        let Some(known) = stored.get_mut(doc) else { continue };
        for block in blocks {
            if block.end() <= known.covered.get(block.peer()) {
                continue;
            }
            match known.log.is_new(block) {
                Ok(true) => {
                    known.log.add(block.clone());
                    additions.entry(doc).or_default().add(block.clone());
                }
                Ok(false) => {}
                Err(conflict) => {
                    write.abort();
                    return Ok(Some((doc.clone(), conflict)));
                }
            }
        }
    }
    let (blocks, docs) = (write.store(BLOCKS)?, write.store(DOCS)?);
    for (doc, added) in &additions {
        for record in pack(added.iter()) {
            put_record(&blocks, doc, &record)?;
        }
        if !stored.get(doc).is_some_and(|known| known.listed) {
            docs.put_with_key(&Uint8Array::new_with_length(0), &doc_key(doc))?;
        }
    }
    write.commit().await?;
    Ok(None)
}

/// What is stored already where a batch wants to write.
#[derive(Default)]
struct Known {
    listed: bool,
    covered: VersionVector,
    log: Log,
}

/// Reads it with all requests under way at once.
async fn read_stored(
    transaction: &mut Transaction,
    batch: &[(DocId, Vec<Block>)],
) -> Result<LiteMap<DocId, Known>, OpError> {
    let mut wanted: LiteMap<&DocId, BTreeMap<PeerId, u32>> = LiteMap::new();
    for (doc, blocks) in batch {
        for block in blocks {
            let first = wanted.entry(doc).or_default().entry(block.peer()).or_insert(u32::MAX);
            *first = block.seq().min(*first);
        }
    }
    let (blocks, docs) = (transaction.store(BLOCKS)?, transaction.store(DOCS)?);
    let mut requests = Vec::new();
    for (doc, peers) in wanted {
        let listed = Request::new(docs.get(&doc_key(doc))?);
        let mut records = Vec::new();
        for (peer, seq) in peers {
            // From the first record that ends after `seq`: empty, unless something overlaps.
            let from = key(&[doc_key(doc), peer_key(peer), (f64::from(seq) + 1.0).into()]);
            let to = key(&[doc_key(doc), peer_key(peer), Array::new().into()]);
            let range = IdbKeyRange::bound(&from, &to)?;
            records.push(Request::new(blocks.get_all_with_key(&range)?));
        }
        requests.push((doc, listed, records));
    }
    let mut stored = LiteMap::new();
    for (doc, listed, records) in requests {
        let mut known = Known::default();
        if let Some(version) = bytes(&transaction.wait(listed).await?) {
            known.listed = true;
            known.covered = decode_version(&version).map_err(|source| corrupt(doc, source))?;
        }
        for request in records {
            for record in Array::from(&transaction.wait(request).await?) {
                decode_record(doc, &record)?.into_iter().for_each(|block| known.log.add(block));
            }
        }
        stored.insert(doc.clone(), known);
    }
    Ok(stored)
}

/// Replaces the snapshot and what it covers or has under other names; false if it lacks what the
/// stored one has.
pub(super) async fn replace(
    db: &IdbDatabase,
    mode: Mode,
    doc: &DocId,
    snapshot: &Snapshot,
    moved: &[OpId],
) -> Result<bool, OpError> {
    let mut write = Transaction::begin(db, &[BLOCKS, SNAPSHOTS, DOCS], mode)?;
    let (blocks, docs) = (write.store(BLOCKS)?, write.store(DOCS)?);
    let stored = write.wait(Request::new(docs.get(&doc_key(doc))?)).await?;
    if let Some(stored) = bytes(&stored) {
        let stored = decode_version(&stored).map_err(|source| corrupt(doc, source))?;
        if !covers(&snapshot.version, &stored, moved) {
            write.abort();
            return Ok(false);
        }
    }
    for (peer, count) in snapshot.version.iter() {
        let from = key(&[doc_key(doc), peer_key(peer)]);
        let to = key(&[doc_key(doc), peer_key(peer), f64::from(count).into(), Array::new().into()]);
        blocks.delete(&IdbKeyRange::bound(&from, &to)?.into())?;
    }
    for from in moved {
        // The part before `from` of a record that has both is in the snapshot.
        let peer = peer_key(from.peer);
        let first = key(&[doc_key(doc), peer.clone(), (f64::from(from.seq) + 1.0).into()]);
        let last = key(&[doc_key(doc), peer, Array::new().into()]);
        blocks.delete(&IdbKeyRange::bound(&first, &last)?.into())?;
    }
    let mut out = Writer::new();
    snapshot.version.encode(&mut out);
    docs.put_with_key(&Uint8Array::from(out.as_slice()), &doc_key(doc))?;
    out.raw(&snapshot.bytes);
    write.store(SNAPSHOTS)?.put_with_key(&Uint8Array::from(out.as_slice()), &doc_key(doc))?;
    write.commit().await?;
    Ok(true)
}

pub(super) async fn remove(db: &IdbDatabase, mode: Mode, doc: &DocId) -> Result<(), OpError> {
    let write = Transaction::begin(db, &[BLOCKS, SNAPSHOTS, DOCS], mode)?;
    let end = key(&[doc_key(doc), Array::new().into()]);
    write.store(BLOCKS)?.delete(&IdbKeyRange::bound(&key(&[doc_key(doc)]), &end)?.into())?;
    write.store(SNAPSHOTS)?.delete(&doc_key(doc))?;
    write.store(DOCS)?.delete(&doc_key(doc))?;
    Ok(write.commit().await?)
}

pub(super) async fn get_meta(db: &IdbDatabase, name: &str) -> Result<Option<Vec<u8>>, OpError> {
    let mut read = Transaction::begin(db, &[META], Mode::Read)?;
    let request = Request::new(read.store(META)?.get(&name.into())?);
    Ok(bytes(&read.wait(request).await?))
}

pub(super) async fn put_meta(
    db: &IdbDatabase,
    mode: Mode,
    name: &str,
    value: &[u8],
) -> Result<(), OpError> {
    let write = Transaction::begin(db, &[META], mode)?;
    write.store(META)?.put_with_key(&Uint8Array::from(value), &name.into())?;
    Ok(write.commit().await?)
}

pub(super) async fn remove_meta(db: &IdbDatabase, mode: Mode, name: &str) -> Result<(), OpError> {
    let write = Transaction::begin(db, &[META], mode)?;
    write.store(META)?.delete(&name.into())?;
    Ok(write.commit().await?)
}

pub(super) async fn list_meta(
    db: &IdbDatabase,
    prefix: &str,
) -> Result<Vec<(String, Vec<u8>)>, OpError> {
    let mut read = Transaction::begin(db, &[META], Mode::Read)?;
    let store = read.store(META)?;
    // Names are few, and the last that starts with a prefix has no key to name it by.
    let range = IdbKeyRange::lower_bound(&prefix.into())?;
    let names = Request::new(store.get_all_keys_with_key(&range)?);
    let values = Request::new(store.get_all_with_key(&range)?);
    let names = Array::from(&read.wait(names).await?);
    let values = Array::from(&read.wait(values).await?);
    let entry = |(name, value): (JsValue, JsValue)| Some((name.as_string()?, bytes(&value)?));
    let mut found: Vec<(String, Vec<u8>)> = names
        .iter()
        .zip(values.iter())
        .filter_map(entry)
        .filter(|(name, _)| name.starts_with(prefix))
        .collect();
    found.sort();
    Ok(found)
}

fn key(parts: &[JsValue]) -> JsValue {
    parts.iter().collect::<Array>().into()
}

fn doc_id(key: &JsValue) -> Result<DocId, Failure> {
    DocId::new(key.as_string().unwrap_or_default())
        .map_err(|error| Failure::Backend(BackendError::new(error)))
}

fn doc_key(doc: &DocId) -> JsValue {
    JsString::from(doc.as_str()).into()
}

/// Sixteen hex digits: they sort as the number does, and a double could not hold it.
fn peer_key(peer: PeerId) -> JsValue {
    JsString::from(peer.to_string()).into()
}

/// The key under which these blocks were stored as one record.
fn record_key(doc: &DocId, blocks: &[Block]) -> JsValue {
    let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else {
        return key(&[doc_key(doc)]);
    };
    block_key(doc, first.peer(), last.end(), first.seq())
}

fn block_key(doc: &DocId, peer: PeerId, end: u32, seq: u32) -> JsValue {
    key(&[doc_key(doc), peer_key(peer), end.into(), seq.into()])
}

fn put_record(store: &IdbObjectStore, doc: &DocId, record: &Record) -> Result<(), OpError> {
    let key = block_key(doc, record.peer, record.end, record.seq);
    store.put_with_key(&Uint8Array::from(&record.bytes[..]), &key)?;
    Ok(())
}

/// The bytes of a stored value; `None` if nothing was found.
fn bytes(value: &JsValue) -> Option<Vec<u8>> {
    (!value.is_undefined()).then(|| Uint8Array::new(value).to_vec())
}

fn decode_record(doc: &DocId, record: &JsValue) -> Result<Vec<Block>, Failure> {
    unpack(&Uint8Array::new(record).to_vec()).map_err(|source| corrupt(doc, source))
}

fn decode_version(bytes: &[u8]) -> Result<VersionVector, DecodeError> {
    if bytes.is_empty() {
        return Ok(VersionVector::new());
    }
    VersionVector::decode(&mut Reader::new(bytes))
}

fn decode_snapshot(bytes: &[u8]) -> Result<Snapshot, DecodeError> {
    let mut input = Reader::new(bytes);
    let version = VersionVector::decode(&mut input)?;
    Ok(Snapshot { version, bytes: input.take(input.remaining())?.to_vec() })
}

fn corrupt(doc: &DocId, source: DecodeError) -> Failure {
    Failure::Corrupt { doc: doc.clone(), source }
}
