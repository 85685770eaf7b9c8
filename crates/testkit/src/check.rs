//! What must hold, looked at after every step and in between.

use std::collections::BTreeSet;
use std::rc::Rc;

use leptos_sync_crdt::{Block, Doc, DocId, PeerId, VersionVector};
use leptos_sync_engine::SyncState;
use leptos_sync_protocol::FRAME_BYTES_USUAL;
use leptos_sync_server::stored_blocks;
use leptos_sync_storage::StoredDoc;

use crate::changes::Changes;
use crate::device::{OpenDoc, WALL_START_MS};
use crate::ledger::{self, SKETCH, Token};
use crate::net::SOCKET_BYTES;
use crate::server::limits;
use crate::world::{Violation, World};

/// What a server may have written into a socket before it notices that it is full: a round of
/// changes of one document.
const SOCKET_BYTES_MAX: usize = SOCKET_BYTES + (64 << 10);

/// What a client sends beside changes before it gives up: openings, presence, pings.
const QUESTION_BYTES_MAX: usize = 16 << 10;

/// No block is smaller: it has a header of some twenty bytes, and a checksum.
const BLOCK_BYTES_LEAST: usize = 24;

const ANY_TIME: u64 = u64::MAX;

impl World {
    /// Looks at every tab, and at the server where a tab says that all is saved.
    pub(crate) fn check(&mut self) -> Result<(), Violation> {
        if let Some(panic) = crate::run::take_panic() {
            return Err(format!("panicked: {panic}"));
        }
        let mut saved: Vec<(DocId, Rc<BTreeSet<Token>>)> = Vec::new();
        let present = self.net.server_life.get();
        let up = self.server.is_up();
        let docs = self.docs.clone();
        let mut has_changed = false;
        for device in &mut self.devices {
            for tab in &mut device.tabs {
                let life = tab.wire.borrow().as_ref().map(|wire| wire.server_life);
                // Until then it may show as saved what is gone.
                let is_told = tab.storage.knows_of_evictions();
                for id in &docs {
                    let Some(open) = tab.docs.get_mut(id) else { continue };
                    if open.changed.replace(false) {
                        has_changed = true;
                        (open.dump, open.kept, open.saved_in) = (None, false, None);
                        let issued = self.issued.get(id);
                        open.tokens = Rc::new(look(id, &open.handle, issued, &self.changes)?);
                    }
                    let status = open.handle.status();
                    let is_kept = status.loaded && status.saved_here && is_told;
                    if is_kept && !open.kept {
                        let promised = device.promised.entry(id.clone()).or_default();
                        promised.extend(open.tokens.iter());
                    }
                    open.kept = is_kept;
                    let is_said = status.state == SyncState::Saved && up && life == Some(present);
                    if is_said && open.saved_in.replace(present) != Some(present) {
                        saved.push((id.clone(), open.tokens.clone()));
                    }
                }
            }
        }
        for (id, tokens) in saved {
            self.saved_on_server(&id, &tokens)?;
        }
        if has_changed {
            self.check_equal()?;
        }
        self.check_transfers()?;
        self.check_queues()
    }

    /// A tab says that these are saved on the server.
    fn saved_on_server(&mut self, id: &DocId, tokens: &BTreeSet<Token>) -> Result<(), Violation> {
        let known = self.promised.get(id).is_some_and(|promised| tokens.is_subset(promised));
        if known {
            return Ok(());
        }
        let stored = self.stored_tokens(id)?;
        if let Some(token) = tokens.difference(&stored).next() {
            return Err(format!(
                "token {token} of {id} is shown as saved, and the server lacks it"
            ));
        }
        self.promised.entry(id.clone()).or_default().extend(tokens);
        Ok(())
    }

    /// Tabs with equal versions show equal documents.
    fn check_equal(&mut self) -> Result<(), Violation> {
        for id in &self.docs {
            let mut seen: Vec<(VersionVector, &mut OpenDoc)> = Vec::new();
            let tabs = self.devices.iter_mut().flat_map(|device| &mut device.tabs);
            for open in tabs.filter_map(|tab| tab.docs.get_mut(id)) {
                let version = open.handle.read(|doc| doc.version().clone());
                let Some((_, other)) = seen.iter_mut().find(|(other, _)| *other == version) else {
                    seen.push((version, open));
                    continue;
                };
                let (one, other) = (open.dump(), other.dump());
                if one != other {
                    return Err(format!("{id} diverged at {version:?}: {other} and {one}"));
                }
            }
        }
        Ok(())
    }

    /// What waits on a connection, at either end and in the server, is bounded by what the protocol
    /// lets be under way.
    fn check_queues(&self) -> Result<(), Violation> {
        let limits = limits();
        let (window, block) = (limits.window_bytes as usize, limits.block_bytes_max as usize);
        for wire in self.net.wires(|_| true) {
            let [up, down] = wire.buffered();
            if down > SOCKET_BYTES_MAX {
                return Err(format!("the server queued {down} bytes for one client"));
            }
            if up > window + FRAME_BYTES_USUAL + QUESTION_BYTES_MAX {
                return Err(format!("a client sent {up} bytes that were not read"));
            }
        }
        let Some((requests, bytes)) = self.server.high_water() else { return Ok(()) };
        if bytes > 2 * window + block {
            return Err(format!("{bytes} bytes of one client's changes waited at the server"));
        }
        if requests > window / BLOCK_BYTES_LEAST + 1 + limits.docs_max as usize {
            return Err(format!("{requests} requests of one client waited at the server"));
        }
        Ok(())
    }

    /// When all is the same, every change has the same bytes in every tab, on every device's disk
    /// and on the server's.
    pub(crate) fn check_bytes(&self) -> Result<(), Violation> {
        for id in &self.docs {
            let stored = stored_blocks(self.server.disk.peek(id));
            let mut stored = stored.map_err(|error| format!("{id} on the server: {error}"))?;
            stored.sort_by_key(|block| (block.peer(), block.seq()));
            for device in &self.devices {
                let tabs = device.tabs.iter().filter_map(|tab| tab.docs.get(id));
                let shown = tabs.map(|open| open.handle.read(ledger::blocks));
                let on_disk = ledger::blocks(&restore(device.disk.peek(id))?);
                if let Some(other) = shown.chain([on_disk]).find(|blocks| *blocks != stored) {
                    let number = device.number;
                    let differs = differing(&stored, &other);
                    return Err(format!("{id} has other bytes on device {number}: {differs}"));
                }
            }
        }
        Ok(())
    }

    /// What a device has shown as saved is on its disk.
    pub(crate) fn check_device(&self, device: usize) -> Result<(), Violation> {
        let device = &self.devices[device];
        for (id, promised) in &device.promised {
            let stored = tokens_of(id, &restore(device.disk.peek(id))?, &self.changes)?;
            if let Some(token) = promised.difference(&stored).next() {
                let number = device.number;
                return Err(format!("token {token} of {id} was saved on device {number}: lost"));
            }
        }
        self.check_stored_transfers(device.number)
    }

    /// What was shown as saved on the server is on its disk.
    pub(crate) fn check_server(&mut self) -> Result<(), Violation> {
        self.stored.clear();
        for id in self.docs.clone() {
            let stored = self.stored_tokens(&id)?;
            let promised = self.promised.get(&id);
            let lost = promised.into_iter().flatten().find(|token| !stored.contains(token));
            if let Some(token) = lost {
                return Err(format!("token {token} of {id} was saved on the server: lost"));
            }
        }
        Ok(())
    }

    /// The tokens that the server's disk has of a document.
    pub(crate) fn stored_tokens(&mut self, id: &DocId) -> Result<BTreeSet<Token>, Violation> {
        let stored = stored_blocks(self.server.disk.peek(id));
        let stored = stored.map_err(|error| format!("{id} on the server: {error}"))?;
        let doc = self.stored.entry(id.clone()).or_insert_with(|| Doc::new(PeerId(1)));
        let version = doc.version();
        let new = stored.into_iter().filter(|b| b.end() > version.get(b.peer()));
        let new: Vec<_> = new.collect();
        let now_ms = WALL_START_MS + self.start.elapsed().as_millis() as u64;
        let now_ms = now_ms.saturating_add_signed(self.server_ahead_ms);
        if let Some(block) = new.iter().find(|block| block.header().stamp.is_future(now_ms)) {
            return Err(format!("the server took {:?}, which is from the future", block.header()));
        }
        doc.import(ANY_TIME, new).map_err(|error| format!("{id} on the server: {error}"))?;
        if doc.pending_count() > 0 {
            return Err(format!("{id} on the server lacks what its changes depend on"));
        }
        let tokens = tokens_of(id, doc, &self.changes);
        let tokens = tokens.map_err(|error| format!("on the server: {error}"))?;
        if let Some(token) = tokens.iter().find(|token| self.forbidden.contains_key(token)) {
            return Err(format!("token {token} of {id} was accepted without permission"));
        }
        Ok(tokens)
    }
}

/// The first of the changes, in the order of their names, that is not the same in both.
fn differing(one: &[Block], other: &[Block]) -> String {
    let at = one.iter().zip(other).take_while(|(one, other)| one == other).count();
    let header = |blocks: &[Block]| blocks.get(at).map(|block| block.header().clone());
    format!("{:?} and {:?}", header(one), header(other))
}

/// Reads a document in a tab, and says what of it cannot be.
fn look(
    id: &DocId,
    handle: &leptos_sync_engine::DocHandle,
    issued: Option<&BTreeSet<Token>>,
    changes: &Changes,
) -> Result<BTreeSet<Token>, Violation> {
    let tokens = handle.read(|doc| tokens_of(id, doc, changes))?;
    let foreign = tokens.iter().find(|token| !issued.is_some_and(|all| all.contains(token)));
    match foreign {
        Some(token) => Err(format!("nobody wrote token {token} into {id}")),
        None => Ok(tokens),
    }
}

/// The tokens that a document of either kind holds.
pub(crate) fn tokens_of(
    id: &DocId,
    doc: &Doc,
    changes: &Changes,
) -> Result<BTreeSet<Token>, Violation> {
    let tokens = if id.as_str() == SKETCH { changes.read(doc) } else { ledger::read(doc) };
    tokens.map_err(|error| format!("{id}: {error}"))
}

/// The document that is stored.
pub(crate) fn restore(stored: StoredDoc) -> Result<Doc, Violation> {
    let peer = PeerId(1);
    let mut doc = match &stored.snapshot {
        Some(snapshot) => {
            Doc::from_snapshot(peer, &snapshot.bytes).map_err(|error| error.to_string())?
        }
        None => Doc::new(peer),
    };
    doc.import(ANY_TIME, stored.blocks).map_err(|error| error.to_string())?;
    Ok(doc)
}
