//! The history of a document as columns: the body of update files and of snapshots.
//!
//! Everything is in one causal order, and numbers in it are places in that order. A run of a
//! writer's operations is one entry, whatever number of transactions it was.
//!
//! | column | entries |
//! |---|---|
//! | peers | 8 bytes each, little-endian |
//! | containers | kind (1), id |
//! | stretches | see below |
//! | bounds | at most 4096 transactions of one length: length ≪ 1 \| are several, then how many |
//! | spans | container, length |
//! | operations | one chunk a container, length first |
//!
//! A stretch is peer ≪ 1 \| follows-the-one-before, length, seq in the peer's first stretch, stamp
//! after the end of the stretch before ([`Stamp::code_after`]); and its parents unless it follows.
//! A text's operations are its runs, and if there are marks among them, those.

mod cells;
#[cfg(test)]
mod tests;

use crate::cells::CellOp;
use crate::codec::{DecodeError, Input, Writer};
use crate::container::{Container, ContainerId, ContainerIx, ContainerKind, Containers};
use crate::gather::Gather;
use crate::graph::{Graph, Lv};
use crate::history::History;
use crate::id::{OpId, PeerId};
use crate::names::Names;
use crate::op::are_distinct;
use crate::repeats::{decode_text, encode_text};
use crate::search::Search;
use crate::stamp::{STAMP_END, Stamp};
use crate::text::{Piece, RunKind, Runs};

use self::cells::encode_cells;

/// What an operation of the file follows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Parent {
    /// Another of the file: the number of its stretch, and how many come before it there.
    Inside(u32, u32),
    /// One that the reader is expected to have.
    Outside(OpId),
}

#[derive(Clone, Debug)]
pub(crate) struct FileStretch {
    pub(crate) start: Lv,
    pub(crate) len: u32,
    pub(crate) id: OpId,
    pub(crate) stamp: Stamp,
    /// The number of the last stretch before it by the same author, or [`NONE`].
    pub(crate) previous: u32,
    /// Where its parents end among those of all stretches; they begin where the last one's do.
    parents_end: u32,
}

/// No stretch's number.
pub(crate) const NONE: u32 = u32::MAX;

/// The operations of one container, by their place in the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Column {
    /// Where things were put and deleted, of texts and lists.
    pub(crate) runs: Runs,
    pub(crate) names: Names,
    /// What was written: rows are by id, names by their place in the list.
    pub(crate) ops: Vec<(Lv, CellOp)>,
}

/// A decoded file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Update {
    pub(crate) containers: Vec<(ContainerKind, ContainerId)>,
    pub(crate) stretches: Vec<FileStretch>,
    pub(crate) parents: Vec<Parent>,
    /// Where transactions of another length begin: the first, and the length.
    pub(crate) bounds: Vec<(Lv, u32)>,
    pub(crate) spans: Vec<(Lv, Lv, usize)>,
    /// The same by container.
    spans_of: Vec<Vec<(Lv, Lv)>>,
    pub(crate) columns: Vec<Column>,
    pub(crate) len: u32,
}

/// An entry has so many transactions at the most, so that no few bytes claim to be very many: each
/// is a block of its own for those who ask for blocks. Small in tests, so that there are several.
const TRANSACTIONS_MAX: u32 = if cfg!(test) { 4 } else { 1 << 12 };

/// Numbers peers in order of first use.
pub(crate) struct Peers<'a> {
    graph: &'a Graph,
    places: Vec<u32>,
    pub(crate) list: Vec<PeerId>,
    /// By place: whether there was a stretch of the peer's operations.
    has_stretch: Vec<bool>,
}

impl<'a> Peers<'a> {
    pub(crate) fn new(graph: &'a Graph) -> Self {
        let places = vec![u32::MAX; graph.peers().len()];
        Self { graph, places, list: Vec::new(), has_stretch: Vec::new() }
    }

    fn place(&mut self, peer: u32) -> u64 {
        let place = &mut self.places[peer as usize];
        if *place == u32::MAX {
            *place = self.list.len() as u32;
            self.list.push(self.graph.peer(peer));
            self.has_stretch.push(false);
        }
        u64::from(*place)
    }

    /// The place of a peer with a stretch, and whether that is its first.
    fn stretch(&mut self, peer: u32) -> (u64, bool) {
        let place = self.place(peer);
        let is_first = !std::mem::replace(&mut self.has_stretch[place as usize], true);
        (place, is_first)
    }

    /// Appends the id of an operation.
    fn write_id(&mut self, lv: Lv, out: &mut Writer) {
        let stretch = self.graph.stretch_at(lv);
        out.varint(self.place(stretch.peer));
        out.varint(u64::from(stretch.seq));
    }
}

/// Appends the operations in `ranges` of local versions, which end and begin between transactions.
/// `with_cells` says whether those of registers, maps, tables and counters are in it.
pub(crate) fn encode(
    history: &History,
    containers: &Containers,
    ranges: &[(Lv, Lv)],
    with_cells: bool,
    out: &mut Writer,
) {
    let graph = &history.graph;
    let mut peers = Peers::new(graph);
    let stretches = encode_stretches(graph, ranges, &mut peers);
    let bounds = bounds_of(history, ranges);
    let (mut places, mut used) = (vec![usize::MAX; containers.len()], Vec::<ContainerIx>::new());
    let mut spans: Vec<(usize, u32)> = Vec::new();
    for (start, end) in ranges {
        for (from, upto, index) in history.spans(*start, *end) {
            let place = &mut places[index as usize];
            if *place == usize::MAX {
                *place = used.len();
                used.push(index);
            }
            match spans.last_mut() {
                Some(last) if last.0 == *place => last.1 += upto - from,
                _ => spans.push((*place, upto - from)),
            }
        }
    }
    let mut columns = Writer::new();
    for index in &used {
        let start = columns.as_slice().len();
        let Container { kind, content, .. } = containers.get(*index);
        if kind.is_sequence() {
            encode_runs(history.runs(*index), ranges, &mut columns);
        }
        if with_cells {
            encode_cells(content, ranges, &mut peers, &mut columns);
        }
        columns.prefix_len(start);
    }
    out.len(peers.list.len());
    for peer in &peers.list {
        out.u64_le(peer.0);
    }
    out.len(used.len());
    for index in used {
        let container = containers.get(index);
        out.u8(container.kind.code());
        container.id.encode(out);
    }
    out.raw(stretches.as_slice());
    out.len(bounds.iter().map(|(_, count)| count.div_ceil(TRANSACTIONS_MAX) as usize).sum());
    for (len, mut count) in bounds {
        while count > 0 {
            let some = count.min(TRANSACTIONS_MAX);
            out.varint(u64::from(len) << 1 | u64::from(some > 1));
            if some > 1 {
                out.varint(u64::from(some));
            }
            count -= some;
        }
    }
    out.len(spans.len());
    for (place, len) in spans {
        out.len(place);
        out.varint(u64::from(len));
    }
    out.raw(columns.as_slice());
}

/// The transactions: the length of each, and how many of that length.
fn bounds_of(history: &History, ranges: &[(Lv, Lv)]) -> Vec<(u32, u32)> {
    let mut bounds: Vec<(u32, u32)> = Vec::new();
    for (start, end) in ranges {
        for (_, len, count) in history.transactions(*start, *end) {
            match bounds.last_mut() {
                Some(last) if last.0 == len => last.1 += count,
                _ => bounds.push((len, count)),
            }
        }
    }
    bounds
}

pub(crate) fn encode_stretches(
    graph: &Graph,
    ranges: &[(Lv, Lv)],
    peers: &mut Peers<'_>,
) -> Writer {
    let mut out = Writer::new();
    let (mut count, mut place, mut stamp) = (0, 0, Stamp(0));
    // Where each range starts in the file.
    let mut starts: Vec<(Lv, Lv, Lv)> = Vec::new();
    for (start, end) in ranges {
        starts.push((*start, *end, place));
        let mut at = *start;
        while at < *end {
            let stretch = graph.stretch_at(at);
            let upto = stretch.end.min(*end);
            let parents = graph.parents_of(at);
            let inside = |parent: Lv| {
                let range = starts.iter().rev().find(|(start, _, _)| *start <= parent)?;
                (parent < range.1).then(|| parent - range.0 + range.2)
            };
            let follows = parents.len() == 1 && place > 0 && inside(parents[0]) == Some(place - 1);
            let (peer, is_first) = peers.stretch(stretch.peer);
            out.varint(peer << 1 | u64::from(follows));
            out.varint(u64::from(upto - at));
            if is_first {
                out.varint(u64::from(stretch.seq));
            }
            out.varint(stretch.stamp.code_after(stamp));
            stamp = stretch.stamp.plus(upto - at);
            if !follows {
                out.len(parents.len());
                for parent in parents.iter() {
                    match inside(*parent) {
                        Some(parent) => out.varint(u64::from(place - parent)),
                        None => {
                            out.u8(0);
                            peers.write_id(*parent, &mut out);
                        }
                    }
                }
            }
            place += upto - at;
            count += 1;
            at = upto;
        }
    }
    let mut whole = Writer::new();
    whole.len(count);
    whole.raw(out.as_slice());
    whole
}

/// A run's length and kind, mostly in one byte: 3 × length - 2 + kind. What stands aside or does
/// nothing is 0, and then length ≪ 3 | void ≪ 2 | kind.
fn write_head(piece: &Piece, out: &mut Writer) {
    let (len, kind) = (u64::from(piece.len), piece.kind as u64);
    if piece.is_void || piece.kind == RunKind::Aside {
        out.u8(0);
        out.varint(len << 3 | u64::from(piece.is_void) << 2 | kind);
    } else {
        out.varint(3 * len - 2 + kind);
    }
}

/// Runs: length and kind of each; then how far each reaches, which for a deletion is where the
/// caret was, mostly, as differences from where typing would have gone on; then what was inserted,
/// its repeats written once ([`crate::repeats`]).
fn encode_runs(runs: &Runs, ranges: &[(Lv, Lv)], out: &mut Writer) {
    let (mut count, mut pos) = (0, 0);
    let (mut heads, mut places, mut content) = (Writer::new(), Writer::new(), String::new());
    for (start, end) in ranges {
        for piece in runs.pieces(*start, *end) {
            count += 1;
            write_head(&piece, &mut heads);
            let place = i64::from(piece.pos) + i64::from(piece.kind.reach(piece.len));
            places.varint_i64(place - i64::from(pos));
            pos = piece.next_pos();
            content.push_str(runs.content(piece.content));
        }
    }
    out.len(count);
    out.bytes(heads.as_slice());
    out.bytes(places.as_slice());
    encode_text(&content, out);
}

impl Update {
    /// Reads a file. All numbers are checked against each other and against the input's length.
    pub(crate) fn decode(bytes: &[u8], with_cells: bool) -> Result<Self, DecodeError> {
        let mut input = Input::new(bytes);
        let mut update = Self::default();
        let peers = read_peers(&mut input);
        for _ in 0..input.count(3) {
            let kind = ContainerKind::decode(&mut input);
            update.containers.push((kind, ContainerId::decode(&mut input)));
        }
        input.ensure(are_distinct(&update.containers), "container");
        update.read_stretches(&mut input, &peers);
        update.read_bounds(&mut input);
        update.read_spans(&mut input);
        for place in 0..update.containers.len() {
            // What was read so far names nothing that is not there.
            input.result()?;
            let mut column = Input::new(input.bytes());
            let kind = update.containers[place].0;
            let mut read = Column::default();
            if kind.is_sequence() {
                read.runs = update.read_runs(&mut column, place, !with_cells);
            }
            let is_text = kind == ContainerKind::Text;
            if with_cells && (!is_text || read.runs.has_asides()) {
                update.read_cells(&mut column, place, &peers, &mut read);
            }
            input.join_whole(column);
            update.columns.push(read);
        }
        input.finish().map(|()| update)
    }

    pub(crate) fn read_stretches(&mut self, input: &mut Input<'_>, peers: &[PeerId]) {
        let mut authors: Vec<Option<(u32, u32)>> = vec![None; peers.len()];
        let (mut place, mut stamp) = (0u32, Stamp(0));
        for number in 0..input.count(3) as u32 {
            let head = input.varint();
            let (peer, follows) = ((head >> 1) as usize, head & 1 == 1);
            let (Some(id), Some(author)) = (peers.get(peer), authors.get_mut(peer)) else {
                return input.refuse("peer");
            };
            let len = input.varint_u32();
            let (previous, seq) = match *author {
                Some(before) => before,
                None => (NONE, input.varint_u32()),
            };
            *author = Some((number, input.some(seq.checked_add(len), "seq")));
            let first = Stamp::from_code(input.varint(), stamp);
            let last = first.0.checked_add(u64::from(len)).filter(|last| *last <= STAMP_END);
            stamp = Stamp(input.some(last, "stamp"));
            if follows {
                self.read_parent(input, place, 1);
            } else {
                self.read_parents(input, peers, place);
            }
            let start = place;
            let end = place.checked_add(len);
            let end = end.filter(|end| len > 0 && *end < crate::import::OPS_MAX);
            place = input.some(end, "length");
            let (id, stamp) = (OpId::new(*id, seq), first);
            let parents_end = self.parents.len() as u32;
            self.stretches.push(FileStretch { start, len, id, stamp, previous, parents_end });
        }
        self.len = place;
    }

    fn read_parents(&mut self, input: &mut Input<'_>, peers: &[PeerId], place: Lv) {
        for _ in 0..input.count(1) {
            match input.varint_u32() {
                0 => {
                    let peer = peers.get(input.varint_usize()).copied();
                    let Some(peer) = peer else { return input.refuse("peer") };
                    self.parents.push(Parent::Outside(OpId::new(peer, input.varint_u32())));
                }
                back => self.read_parent(input, place, back),
            }
        }
    }

    /// Notes a parent that comes so far before a place, which is after all stretches so far.
    fn read_parent(&mut self, input: &mut Input<'_>, place: Lv, back: u32) {
        let parent = place.checked_sub(back).and_then(|parent| {
            let number = match self.stretches.last() {
                Some(last) if last.start <= parent => self.stretches.len(),
                _ => self.stretches.count_while(|stretch| stretch.start <= parent),
            };
            let number = number.checked_sub(1)?;
            Some((number as u32, parent - self.stretches[number].start))
        });
        let (stretch, offset) = input.some(parent, "parent");
        self.parents.push(Parent::Inside(stretch, offset));
    }

    /// What the first operation of a stretch follows, by the number of the stretch.
    pub(crate) fn parents_of(&self, stretch: usize) -> &[Parent] {
        let before = stretch.checked_sub(1).map(|before| self.stretches[before].parents_end);
        let end = self.stretches[stretch].parents_end;
        &self.parents[before.unwrap_or(0) as usize..end as usize]
    }

    fn read_bounds(&mut self, input: &mut Input<'_>) {
        let mut total = 0u64;
        for _ in 0..input.count(1) {
            let head = input.varint();
            let len = u32::try_from(head >> 1).unwrap_or_else(|_| input.out_of_range());
            let count = if head & 1 == 1 { input.varint_u32() } else { 1 };
            let start = total as Lv;
            total = total.saturating_add(u64::from(len) * u64::from(count));
            let is_few = (1..=TRANSACTIONS_MAX).contains(&count);
            let is_sound = len > 0 && is_few && total <= u64::from(self.len);
            input.ensure(is_sound, "transaction length");
            self.bounds.push((start, len));
        }
        input.ensure(total == u64::from(self.len), "transactions");
        if input.is_sound() {
            let is_whole = self.stretches.iter().all(|stretch| self.is_bound(stretch.start));
            input.ensure(is_whole, "transaction across authors");
        }
    }

    /// Reports the transactions between two places, as `(first, length of each, count)`.
    pub(crate) fn transactions(&self, from: Lv, end: Lv, mut report: impl FnMut(Lv, u32, u32)) {
        let mut entry = self.bounds.count_while(|(start, _)| *start <= from);
        let mut at = from;
        while at < end {
            let upto = self.bounds.get(entry).map_or(end, |(start, _)| end.min(*start));
            let len = self.bounds[entry - 1].1;
            report(at, len, (upto - at) / len);
            at = upto;
            entry += 1;
        }
    }

    /// How many transactions there are.
    pub(crate) fn block_count(&self) -> usize {
        let ends = self.bounds.iter().skip(1).map(|(start, _)| *start).chain([self.len]);
        let counts = self.bounds.iter().zip(ends).map(|((start, len), end)| (end - start) / len);
        counts.map(|count| count as usize).sum()
    }

    /// Whether a transaction begins at a place.
    pub(crate) fn is_bound(&self, place: Lv) -> bool {
        let entry = self.bounds.count_while(|(start, _)| *start <= place) - 1;
        let (start, len) = self.bounds[entry];
        (place - start).is_multiple_of(len)
    }

    fn read_spans(&mut self, input: &mut Input<'_>) {
        let mut at: Lv = 0;
        self.spans_of = self.containers.iter().map(|_| Vec::new()).gather();
        for _ in 0..input.count(2) {
            let (place, len) = (input.varint_usize(), input.varint_u32());
            let end = at.checked_add(len).filter(|end| *end <= self.len && len > 0);
            let end = input.some(end, "span");
            let Some(of) = self.spans_of.get_mut(place) else { return input.refuse("container") };
            of.push((at, end));
            self.spans.push((at, end, place));
            at = end;
        }
        input.ensure(at == self.len, "spans");
    }

    /// The runs of a text or list. Which of them do nothing, only a snapshot is asked.
    fn read_runs(&self, input: &mut Input<'_>, place: usize, keeps_voids: bool) -> Runs {
        let is_text = self.containers[place].0 == ContainerKind::Text;
        let mut left = input.count(2);
        let mut heads = Input::new(input.bytes());
        let mut starts = Input::new(input.bytes());
        let content = decode_text(input);
        // A run takes two bytes at least.
        let mut runs = Runs::of_content(content, left);
        let mut upto = 0u32;
        let (mut pos, mut rest) = (0u32, 0u32);
        let mut piece = Piece::default();
        // Runs and spans are cut differently: both are walked side by side.
        for (start, end) in &self.spans_of[place] {
            let mut at = *start;
            while at < *end {
                if rest == 0 {
                    left = input.some(left.checked_sub(1), "run count");
                    piece = read_piece(&mut heads, &mut starts, pos);
                    input.join(&heads);
                    input.join(&starts);
                    pos = piece.next_pos();
                    rest = piece.len;
                }
                let len = rest.min(end - at);
                let done = piece.len - rest;
                let here = piece.pos_at(done);
                let inserted = upto;
                if is_text && piece.kind == RunKind::Insert {
                    let cut = byte_after(runs.content_from(upto), len as usize);
                    upto += input.some(cut, "inserted text") as u32;
                }
                if !input.is_sound() {
                    return runs;
                }
                runs.push_at(at, here, len, piece.kind, inserted, keeps_voids && piece.is_void);
                rest -= len;
                at += len;
            }
        }
        if left > 0 || rest > 0 || !runs.content_from(upto).is_empty() {
            input.fail(DecodeError::TrailingBytes);
        }
        input.join_whole(heads);
        input.join_whole(starts);
        runs
    }
}

/// Reads a list of peers.
pub(crate) fn read_peers(input: &mut Input<'_>) -> Vec<PeerId> {
    (0..input.count(8)).map(|_| PeerId(input.u64_le())).gather()
}

/// Where `len` scalars of a text end, if it has as many.
fn byte_after(text: &str, len: usize) -> Option<usize> {
    if text.as_bytes().get(..len)?.is_ascii() {
        return Some(len);
    }
    let mut starts = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    starts.nth(len)
}

/// What [`write_head`] wrote: the length, the kind, and whether the run does nothing.
fn read_head(heads: &mut Input<'_>) -> (u32, RunKind, bool) {
    let (len, kind, is_void) = match heads.varint().checked_sub(1) {
        Some(head) => (head / 3 + 1, head % 3, false),
        None => {
            let head = heads.varint();
            (head >> 3, head & 3, head & 4 != 0)
        }
    };
    let kind = match kind {
        0 => RunKind::Insert,
        1 => RunKind::Delete,
        2 => RunKind::Backspace,
        _ => RunKind::Aside,
    };
    let len = u32::try_from(len).unwrap_or_else(|_| heads.out_of_range());
    (len, kind, is_void)
}

fn read_piece(heads: &mut Input<'_>, places: &mut Input<'_>, last: u32) -> Piece {
    let (len, kind, is_void) = read_head(heads);
    let place = i64::from(last).checked_add(places.varint_i64());
    let pos = place.and_then(|place| place.checked_sub(i64::from(kind.reach(len))));
    let pos = pos.and_then(|pos| u32::try_from(pos).ok());
    let pos = pos.unwrap_or_else(|| places.out_of_range());
    let end = pos.checked_add(len).filter(|end| *end <= crate::op::POS_MAX);
    let reaches_back = kind == RunKind::Backspace && pos + 1 < len;
    if len == 0 || reaches_back || end.is_none() {
        return heads.refuse("text run");
    }
    Piece { start: 0, len, kind, pos, content: (0, 0), is_void }
}
