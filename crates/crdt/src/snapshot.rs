//! Documents and updates as files: a magic number, then chunks with checksums.
//!
//! | field | size | meaning |
//! |---|---|---|
//! | magic | 4 | `LSU2` update, `LSS2` snapshot |
//! | chunks | to the end | kind (1), length (varint), bytes, checksum of them (4, little-endian) |
//!
//! An update has one chunk, `history` (1); see [`crate::update`]. A snapshot has `state` (2), then
//! `history` without what the state holds: the state is read as it is, and the history only when
//! something asks for it, which edits of texts do not. A shallow snapshot has `base` (0x83) between
//! them, and its `history` goes on from there; see [`crate::shallow`]. Chunks of other kinds in a
//! snapshot are kept and written again, in an update skipped, unless the kind's high bit says that
//! they must be understood.

use crate::cell_log::CellLog;
use crate::codec::{DecodeError, Input, Reader, Writer, checksum};
use crate::container::{
    ContainerId, ContainerIx, ContainerKey, ContainerKind, Containers, Content,
};
use crate::counter::CounterState;
use crate::doc::Doc;
use crate::gather::Gather;
use crate::graph::{Graph, Lv};
use crate::history::History;
use crate::id::PeerId;
use crate::list::ListState;
use crate::lww::{Held, MapState, RegisterState};
use crate::names::Names;
use crate::numbers::{encode_numbers, pair, parts};
use crate::past::PastError;
use crate::shallow::{TRUNCATED, decode_base, encode_base};
use crate::sorting::sort;
use crate::stamp::STAMP_END;
use crate::table::TableState;
use crate::text::{Holding, Runs, TextState};
use crate::tree::LazyTree;
use crate::update::{Parent, Update, encode};
use crate::version::VersionVector;

#[cfg(test)]
mod tests;

const UPDATE_MAGIC: &[u8; 4] = b"LSU2";
const SNAPSHOT_MAGIC: &[u8; 4] = b"LSS2";
const CHUNK_HISTORY: u8 = 1;
const CHUNK_STATE: u8 = 2;
const CHUNK_BASE: u8 = 3 | CHUNK_CRITICAL;
const CHUNK_CRITICAL: u8 = 0x80;

fn write_chunk(out: &mut Writer, kind: u8, write: &mut dyn FnMut(&mut Writer)) {
    out.u8(kind);
    let start = out.as_slice().len();
    write(out);
    let len = out.as_slice().len() - start;
    out.prefix_len(start);
    let content = out.as_slice().len() - len;
    out.u32_le(checksum(&out.as_slice()[content..]));
}

/// The chunks of a file that are understood, and the others.
#[derive(Default)]
struct Chunks<'a> {
    history: Option<&'a [u8]>,
    state: Option<&'a [u8]>,
    base: Option<&'a [u8]>,
    others: Vec<(u8, Box<[u8]>)>,
}

fn read_chunks<'a>(bytes: &'a [u8], magic: &[u8; 4]) -> Result<Chunks<'a>, DecodeError> {
    let mut input = Input::new(bytes);
    if input.take(4) != magic {
        return Err(DecodeError::Magic);
    }
    let mut chunks = Chunks::default();
    while !input.is_empty() {
        let kind = input.u8();
        let chunk = input.bytes();
        if input.u32_le() != checksum(chunk) {
            input.fail(DecodeError::Checksum);
        }
        match kind {
            CHUNK_HISTORY => chunks.history = Some(chunk),
            CHUNK_STATE => chunks.state = Some(chunk),
            CHUNK_BASE => chunks.base = Some(chunk),
            other if other & CHUNK_CRITICAL != 0 => {
                input.fail(DecodeError::UnsupportedVersion(other));
            }
            other => chunks.others.push((other, chunk.into())),
        }
    }
    input.result().map(|()| chunks)
}

/// Whether the bytes begin as an update file does.
#[must_use]
pub fn is_update(bytes: &[u8]) -> bool {
    bytes.starts_with(UPDATE_MAGIC)
}

pub(crate) fn read_update(bytes: &[u8]) -> Result<Update, DecodeError> {
    let chunks = read_chunks(bytes, UPDATE_MAGIC)?;
    Update::decode(chunks.history.ok_or(DecodeError::UnexpectedEnd)?, true)
}

impl Doc {
    /// What `version` lacks, as an update file, which [`Doc::import_update`] reads.
    ///
    /// # Panics
    /// If the document was trimmed and `version` lacks something from before
    /// [`Doc::history_start`]: see [`Doc::try_encode_update`].
    #[must_use]
    pub fn encode_update(&self, version: &VersionVector) -> Vec<u8> {
        self.try_encode_update(version).unwrap_or_else(|_| panic!("{TRUNCATED}"))
    }

    /// As [`Doc::encode_update`], of a document that may have been trimmed.
    ///
    /// # Errors
    /// [`PastError::Truncated`] if `version` lacks something that was trimmed away.
    pub fn try_encode_update(&self, version: &VersionVector) -> Result<Vec<u8>, PastError> {
        self.check_start(version)?;
        let history = self.history();
        let missing = history.graph.missing_from(version).into_iter();
        let ranges = missing.map(|(start, end)| (history.transaction_at(start).0, end)).gather();
        Ok(self.encode_ranges(&ranges))
    }

    /// Whole transactions as an update file.
    pub(crate) fn encode_ranges(&self, ranges: &[(Lv, Lv)]) -> Vec<u8> {
        let mut out = Writer::new();
        out.raw(UPDATE_MAGIC);
        write_chunk(&mut out, CHUNK_HISTORY, &mut |out| {
            encode(self.history(), &self.containers, ranges, true, out);
        });
        out.into_vec()
    }

    /// The whole document, history included; a trimmed one stays trimmed. Blocks that wait for
    /// others are not in it. What a later version of this library added to the snapshot that the
    /// document was loaded from is, as far as it allowed that.
    ///
    /// ```
    /// use leptos_sync_crdt::{Doc, PeerId};
    /// let mut doc = Doc::new(PeerId(1));
    /// doc.transact(0, |tx| tx.register("title").set("Plan"));
    /// let copy = Doc::from_snapshot(PeerId(2), &doc.encode_snapshot())?;
    /// assert_eq!(copy.register("title"), Some("Plan".into()));
    /// # Ok::<(), leptos_sync_crdt::DecodeError>(())
    /// ```
    #[must_use]
    pub fn encode_snapshot(&self) -> Vec<u8> {
        let history = self.history();
        let whole = (history.graph.base(), history.graph.end());
        let ranges = if whole.0 < whole.1 { vec![whole] } else { Vec::new() };
        let mut out = Writer::new();
        out.raw(SNAPSHOT_MAGIC);
        write_chunk(&mut out, CHUNK_STATE, &mut |out| self.encode_state(history, out));
        if whole.0 > 0 {
            write_chunk(&mut out, CHUNK_BASE, &mut |out| {
                encode_base(history, &self.containers, out);
            });
        }
        write_chunk(&mut out, CHUNK_HISTORY, &mut |out| {
            encode(history, &self.containers, &ranges, false, out);
        });
        for (kind, bytes) in &self.unknown_chunks {
            write_chunk(&mut out, *kind, &mut |out| out.raw(bytes));
        }
        out.into_vec()
    }

    fn encode_state(&self, history: &History, out: &mut Writer) {
        let used = history.used();
        // Logs are most of what is large: the file is to be written once, and not grown.
        let log = |index: &ContainerIx| self.containers.get(*index).content.cells();
        out.reserve(used.iter().map(|index| log(index).encoded_len_max()).sum());
        self.version().encode(out);
        encode_heads(&history.graph, out);
        out.len(used.len());
        for index in used {
            let container = self.containers.get(index);
            out.u8(container.kind.code());
            container.id.encode(out);
            encode_content(history, index, &container.content, out);
        }
    }

    /// Reads what [`Doc::encode_snapshot`] wrote; local changes will be written as `peer`.
    ///
    /// The snapshot must come from a source that is trusted as much as this program's own storage:
    /// its checksums are verified, but not that its state follows from its history.
    ///
    /// # Errors
    /// A [`DecodeError`] if the bytes are not one whole snapshot; [`DecodeError::Shallow`] if its
    /// history was trimmed, which [`Doc::from_shallow_snapshot`] reads.
    pub fn from_snapshot(peer: PeerId, bytes: &[u8]) -> Result<Self, DecodeError> {
        let chunks = read_chunks(bytes, SNAPSHOT_MAGIC)?;
        if chunks.base.is_some() {
            return Err(DecodeError::Shallow);
        }
        Self::from_chunks(peer, chunks)
    }

    /// Reads a snapshot, whether its history was trimmed or not: as [`Doc::from_snapshot`], for a
    /// program that is prepared for [`PastError::Truncated`].
    ///
    /// # Errors
    /// A [`DecodeError`] if the bytes are not one whole snapshot.
    pub fn from_shallow_snapshot(peer: PeerId, bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::from_chunks(peer, read_chunks(bytes, SNAPSHOT_MAGIC)?)
    }

    fn from_chunks(peer: PeerId, chunks: Chunks<'_>) -> Result<Self, DecodeError> {
        let mut state = Reader::new(chunks.state.ok_or(DecodeError::UnexpectedEnd)?);
        let version = VersionVector::decode(&mut state)?;
        let total: u64 = version.iter().map(|(_, count)| u64::from(count)).sum();
        let end = u32::try_from(total).ok().filter(|end| *end < crate::import::OPS_MAX);
        let end = end.ok_or(DecodeError::Invalid("version"))?;
        let input = state.input();
        let graph = decode_heads(&version, end, input);
        let containers = decode_containers(input, end);
        input.finish()?;
        let base = match chunks.base {
            Some(bytes) => decode_base(bytes, &containers)?,
            None => History::new(),
        };
        if !version.covers(base.graph.version()) {
            return Err(DecodeError::Invalid("version"));
        }
        let bytes = chunks.history.ok_or(DecodeError::UnexpectedEnd)?.into();
        let since = History::after(graph);
        let cold = ColdHistory { version, base, bytes, end, since, thaw };
        let mut doc = Self::from_parts(peer, containers, cold);
        doc.unknown_chunks = chunks.others;
        Ok(doc)
    }
}

/// What whoever goes on from here needs to know of what was before: the heads, each by its local
/// version and its peer's place in the version, and the stamp after all.
fn encode_heads(graph: &Graph, out: &mut Writer) {
    out.len(graph.heads().len());
    for head in graph.heads() {
        let peer = graph.peer_of(*head);
        out.varint(u64::from(*head));
        out.len(graph.version().place_of(peer));
    }
    out.varint(graph.stamp_end());
}

fn decode_heads(version: &VersionVector, end: Lv, input: &mut Input<'_>) -> Graph {
    let mut peers = version.iter().map(|(peer, _)| Some(peer)).gather();
    let mut heads: Vec<(Lv, PeerId)> = Vec::new();
    for _ in 0..input.count(2) {
        let (lv, place) = (input.varint_u32(), input.varint_usize());
        let peer = peers.get_mut(place).and_then(Option::take);
        let is_next = heads.last().is_none_or(|(last, _)| *last < lv);
        heads.extend(peer.map(|peer| (lv, peer)));
        input.ensure(peer.is_some() && is_next, "heads");
    }
    // Nothing follows the last operation.
    let last = heads.last().map_or(0, |(lv, _)| u64::from(*lv) + 1);
    let stamp_end = input.varint();
    input.ensure(last == u64::from(end) && stamp_end <= STAMP_END, "heads");
    Graph::after(&heads, end, version.clone(), stamp_end)
}

/// A document's history as it was stored, until something asks for it.
pub(crate) struct ColdHistory {
    /// What was stored.
    version: VersionVector,
    /// What is left from below the base.
    base: History,
    bytes: Box<[u8]>,
    /// How many operations were stored.
    pub(crate) end: Lv,
    /// What was written to texts here since.
    pub(crate) since: History,
    /// [`thaw`], which whoever never loads a snapshot does without.
    thaw: fn(&Self, &Containers) -> History,
}

impl ColdHistory {
    pub(crate) fn version(&self) -> &VersionVector {
        self.since.graph.version()
    }

    /// The version at the base.
    pub(crate) fn start(&self) -> &VersionVector {
        self.base.graph.version()
    }

    /// Reads the history. Its checksum was verified when the document was loaded; if it is not
    /// sound all the same, the document goes on without it, knowing its version only.
    pub(crate) fn thaw(&self, containers: &Containers) -> History {
        (self.thaw)(self, containers)
    }
}

fn thaw(cold: &ColdHistory, containers: &Containers) -> History {
    let update = Update::decode(&cold.bytes, false);
    let base = cold.base.clone();
    let history = update.ok().and_then(|update| restore(base, update, containers));
    let mut history = history
        .filter(|history| *history.graph.version() == cold.version)
        .unwrap_or_else(|| History::unknown(&cold.base, &cold.version));
    history.go_on(&cold.since);
    history
}

/// The history that an update of all above the base tells, for containers that already have their
/// state.
fn restore(mut history: History, update: Update, containers: &Containers) -> Option<History> {
    let base = history.graph.end();
    for (number, stretch) in update.stretches.iter().enumerate() {
        let mut parents: Vec<Lv> = Vec::new();
        for parent in update.parents_of(number) {
            parents.push(match parent {
                Parent::Inside(before, offset) => {
                    base + update.stretches[*before as usize].start + offset
                }
                Parent::Outside(id) => history.graph.lv_of(*id)?,
            });
        }
        sort(&mut parents);
        let goes_on = stretch.id.seq == history.graph.version().get(stretch.id.peer);
        if !goes_on || !history.graph.sees_base(&parents) {
            return None;
        }
        history.graph.push(stretch.id, stretch.len, stretch.stamp, &parents);
    }
    update.transactions(0, update.len, |place, len, count| {
        history.note_bounds(base + place, len, count);
    });
    let mut places: Vec<ContainerIx> = Vec::new();
    for (kind, id) in &update.containers {
        places.push(containers.find(*kind, &ContainerKey::Id(id))?);
    }
    for (start, _, place) in &update.spans {
        history.note_span(base + start, places[*place]);
    }
    for (column, index) in update.columns.into_iter().zip(&places) {
        if containers.get(*index).kind.is_sequence() {
            history.runs_mut(*index).take_over(column.runs, base);
        }
    }
    Some(history)
}

fn decode_containers(input: &mut Input<'_>, end: Lv) -> Containers {
    let mut containers = Containers::default();
    for expected in 0..input.count(3) {
        let kind = ContainerKind::decode(input);
        let id = ContainerId::decode(input);
        let index = containers.intern(kind, &ContainerKey::Owned(id));
        input.ensure(index as usize == expected, "container");
        containers.get_mut(index).content = decode_content(kind, input, end);
    }
    containers
}

fn encode_content(history: &History, index: ContainerIx, content: &Content, out: &mut Writer) {
    match content {
        Content::Register(_, state) => out.varint(state.winner.map_or(0, |lv| u64::from(lv) + 1)),
        Content::Map(_, state) => {
            state.names.encode(out);
            for held in &state.held {
                let code = |held: &Held| (u64::from(held.lv) + 1) << 1 | u64::from(held.is_set);
                out.varint(held.as_ref().map_or(0, code));
            }
        }
        Content::Table(_, state) => {
            state.names.encode(out);
            encode_table(state, out);
        }
        Content::Counter(_, state) => out.varint_i64(state.value()),
        Content::Text(log, state) => {
            return encode_text(log, state, &history.graph, history.runs(index), out);
        }
        Content::List(_, state) => state.encode(out),
        // All of a tree follows from its log.
        Content::Tree(..) | Content::Unknown(_) => {}
    }
    content.cells().encode(out);
}

/// A text: its length in bytes ≪ 1 | whether it was ever marked; and if so, its marks' keys, their
/// log, and which of them hold where.
fn encode_text(log: &CellLog, state: &TextState, graph: &Graph, runs: &Runs, out: &mut Writer) {
    let text = state.rope.text();
    out.varint((text.len() as u64) << 1 | u64::from(!log.is_empty()));
    out.raw(text.as_bytes());
    if !log.is_empty() {
        state.marks.keys.encode(out);
        log.encode(out);
        state.held(log, graph, runs).encode(out);
    }
}

fn decode_text(input: &mut Input<'_>, end: Lv) -> Content {
    let head = input.varint();
    let text = input.take(usize::try_from(head >> 1).unwrap_or(usize::MAX));
    let text = std::str::from_utf8(text).unwrap_or_else(|_| {
        input.fail(DecodeError::Utf8);
        ""
    });
    let (mut state, mut log) = (TextState::from_text(text), CellLog::default());
    if head & 1 == 1 {
        state.marks.keys = Names::decode(input);
        let (keys, len) = (state.marks.keys.len(), state.rope.len() as u32);
        log = CellLog::decode(input, ContainerKind::Text, keys, end);
        state.marks.set_held(Holding::decode(input, keys, len, end));
    }
    Content::Text(log, state)
}

fn encode_table(state: &TableState, out: &mut Writer) {
    out.len(state.rows.len());
    let mut last = 0;
    for (start, end) in &state.rows {
        out.varint(u64::from(start - last));
        out.varint(u64::from(end - start));
        last = *end;
    }
    out.len(state.written.len());
    for (cell, lv) in state.written.iter() {
        let (row, field) = parts(cell);
        out.varint(row.into());
        out.varint(field.into());
        out.varint(lv);
    }
    encode_numbers(&state.fates, out);
}

fn decode_content(kind: ContainerKind, input: &mut Input<'_>, end: Lv) -> Content {
    match kind {
        ContainerKind::Register => {
            let winner = input.varint().checked_sub(1).map(|lv| input.below(end, lv));
            Content::Register(CellLog::decode(input, kind, 0, end), RegisterState { winner })
        }
        ContainerKind::Map => {
            let names = Names::decode(input);
            let mut held = Vec::new();
            for _ in 0..names.len() {
                let code = input.varint();
                let lv = (code >> 1).checked_sub(1).map(|lv| input.below(end, lv));
                held.push(lv.map(|lv| Held { lv, is_set: code & 1 == 1 }));
            }
            let log = CellLog::decode(input, kind, names.len(), end);
            Content::Map(log, MapState { names, held })
        }
        ContainerKind::Table => {
            let state = decode_table(input, end);
            let log = CellLog::decode(input, kind, state.names.len(), end);
            let rows: u64 = state.rows.iter().map(|(from, upto)| u64::from(upto - from)).sum();
            input.ensure(rows <= log.len_max() as u64, "rows");
            Content::Table(log, state)
        }
        ContainerKind::Counter => {
            let state = CounterState::new(input.varint_i64());
            Content::Counter(CellLog::decode(input, kind, 0, end), state)
        }
        ContainerKind::Text => decode_text(input, end),
        ContainerKind::List | ContainerKind::MovableList => {
            let state = ListState::decode(input, end);
            Content::List(CellLog::decode(input, kind, 0, end), state)
        }
        ContainerKind::Tree => {
            Content::Tree(CellLog::decode(input, kind, 0, end), LazyTree::default())
        }
        ContainerKind::Unknown(_) => Content::Unknown(CellLog::decode(input, kind, 0, end)),
    }
}

fn decode_table(input: &mut Input<'_>, end: Lv) -> TableState {
    let mut state = TableState { names: Names::decode(input), ..TableState::default() };
    let mut last = 0u64;
    for _ in 0..input.count(2) {
        let start = last + u64::from(input.varint_u32());
        let len = u64::from(input.varint_u32());
        input.ensure(len > 0, "rows");
        let from = input.below(end, start);
        let upto = input.below(end, (start + len).saturating_sub(1));
        if !input.is_sound() {
            break;
        }
        state.rows.push((from, upto + 1));
        last = start + len;
    }
    for _ in 0..input.count(3) {
        let (row, field) = (input.varint_below(end), input.varint_u32());
        let lv = input.varint_below(end);
        let is_known = (field as usize) < state.names.len() && state.has_row(row);
        input.ensure(is_known, "cell");
        state.written.insert(pair(row, field), lv.into());
    }
    for _ in 0..input.count(2) {
        let row = input.varint_below(end);
        let code = input.varint();
        input.ensure(state.has_row(row), "row");
        input.below(end, code >> 1);
        state.fates.insert(row.into(), code);
    }
    state
}
