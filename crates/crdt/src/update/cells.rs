//! What was written to a container, in an update: everything but where texts and lists were edited.

use crate::cell_log::PAGE_OPS_MAX;
use crate::cells::{CellOp, RowRef};
use crate::codec::{Input, Writer};
use crate::columns::{Ints, encode_ints};
use crate::container::Content;
use crate::graph::Lv;
use crate::id::{OpId, PeerId};
use crate::names::{NameIx, Names};
use crate::numbers::{self, Numbers};
use crate::packing::{Packer, Renamed, unpack};
use crate::text::{RunKind, Runs, is_key};

use super::{Column, Peers, Update};

/// Names, rows that are written about (a column of peers and one of seqs), then operations, packed
/// page by page. Nothing at all of a text without marks.
pub(super) fn encode_cells(
    content: &Content,
    ranges: &[(Lv, Lv)],
    peers: &mut Peers<'_>,
    out: &mut Writer,
) {
    let (log, all) = (content.cells(), content.names());
    let (mut names, mut rows) = (Names::default(), [Vec::new(), Vec::new()]);
    let (mut pages, mut packer, mut count) = (Writer::new(), Packer::default(), 0);
    let mut places = Numbers::new();
    let mut rename = |which, number| match (which, number) {
        (Renamed::Name, name) => names.intern(all.get(name as NameIx)).into(),
        (Renamed::Row, 0) => 0,
        (Renamed::Row, row) => {
            let (place, is_new) = numbers::number(&mut places, row);
            if is_new {
                let stretch = peers.graph.stretch_at(row as Lv - 1);
                rows[0].push(peers.place(stretch.peer).cast_signed());
                rows[1].push(i64::from(stretch.seq));
            }
            place as u64 + 1
        }
    };
    for (start, end) in ranges {
        for mut ops in log.encoded(*start, *end) {
            while !ops.is_empty() {
                count += packer.add(&mut ops, PAGE_OPS_MAX - count % PAGE_OPS_MAX, &mut rename);
                if count.is_multiple_of(PAGE_OPS_MAX) {
                    packer.finish(&mut pages);
                }
            }
        }
    }
    if !count.is_multiple_of(PAGE_OPS_MAX) {
        packer.finish(&mut pages);
    }
    if count == 0 && matches!(content, Content::Text(..)) {
        return;
    }
    names.encode(out);
    out.len(rows[0].len());
    rows.iter().for_each(|column| encode_ints(column, out));
    out.len(count);
    out.raw(pages.as_slice());
}

impl Update {
    pub(super) fn read_cells<'a>(
        &self,
        input: &mut Input<'a>,
        place: usize,
        peers: &'a [PeerId],
        out: &mut Column,
    ) {
        let names = Names::decode(input);
        let mut rows = Rows::decode(input, peers);
        let kind = self.containers[place].0;
        let mut lvs = self.cell_places(place, &out.runs);
        let (mut ops, mut left) = (Vec::new(), input.varint());
        while left > 0 && input.is_sound() {
            let count = left.min(PAGE_OPS_MAX as u64);
            let page = unpack(input, count as usize);
            let mut page = Input::new(&page);
            for _ in 0..count {
                let Some((lv, is_slot)) = lvs.next() else {
                    return input.refuse("operation count");
                };
                let op = CellOp::decode(&mut page);
                let makes_slot = matches!(op, CellOp::Set(_) | CellOp::Move { .. });
                let is_placed = !kind.is_list() || makes_slot == is_slot;
                let is_sound = match op {
                    CellOp::Mark { key, .. } if (key as usize) < names.len() => {
                        is_key(names.get(key))
                    }
                    _ => true,
                };
                let fits = op.fits(kind, names.len()) && is_placed && is_sound;
                page.ensure(fits, "operation kind");
                ops.push((lv, op.map_rows(&mut |row| rows.by_id(row, &mut page))));
            }
            input.join_whole(page);
            rows.columns.iter().for_each(|column| input.join(column.input()));
            left -= count;
        }
        let is_all = lvs.next().is_none() && rows.list.len() as u64 == rows.count;
        input.ensure(is_all, "operation count");
        (out.names, out.ops) = (names, ops);
    }

    /// The operations of a container that wrote something, all but deletions in a list and in a
    /// text all but edits, and whether they made a slot there.
    fn cell_places(&self, place: usize, runs: &Runs) -> impl Iterator<Item = (Lv, bool)> + use<> {
        let kind = self.containers[place].0;
        let mut stretches = Vec::new();
        for (start, end) in &self.spans_of[place] {
            if !kind.is_sequence() {
                stretches.push((*start, *end, false));
            }
            for piece in runs.pieces(*start, *end) {
                let is_slot = piece.kind == RunKind::Insert;
                if piece.kind == RunKind::Aside || (is_slot && kind.is_list()) {
                    stretches.push((piece.start, piece.end(), is_slot));
                }
            }
        }
        let mut at = 0;
        std::iter::from_fn(move || {
            let (next, end, is_slot) = stretches.get_mut(at)?;
            let lv = *next;
            *next += 1;
            at += usize::from(*next == *end);
            Some((lv, *is_slot))
        })
    }
}

/// The rows that a column's operations name, in order of first use.
struct Rows<'a> {
    peers: &'a [PeerId],
    columns: [Ints<'a>; 2],
    count: u64,
    list: Vec<OpId>,
}

impl<'a> Rows<'a> {
    fn decode(input: &mut Input<'a>, peers: &'a [PeerId]) -> Self {
        let count = input.varint();
        let columns = [Ints::new(input.bytes()), Ints::new(input.bytes())];
        Self { peers, columns, count, list: Vec::new() }
    }

    /// The row by its id, which is read if the operation is the first to name it.
    fn by_id(&mut self, row: RowRef, page: &mut Input<'_>) -> RowRef {
        let RowRef::Known(place) = row else { return row };
        if place as usize == self.list.len() {
            let [peers, seqs] = &mut self.columns;
            let (peer, seq) = (peers.next_as::<u32>(), seqs.next_as());
            if let Some(peer) = self.peers.get(peer as usize) {
                self.list.push(OpId::new(*peer, seq));
            }
        }
        let id = self.list.get(place as usize);
        page.ensure(id.is_some(), "row");
        id.map_or(row, |id| RowRef::Stray(*id))
    }
}

#[cfg(test)]
mod tests {
    use crate::codec::checksum;
    use crate::{DecodeError, Doc, ImportError, PeerId, VersionVector};

    #[test]
    fn what_a_list_holds_is_written_where_a_slot_is_made() {
        let mut doc = Doc::new(PeerId(1));
        doc.transact(0, |tx| tx.movable_list("l").push(5));
        let mut file = doc.encode_update(&VersionVector::new());
        // One run, of one insertion, at 0: it becomes one that makes no slot, and a byte longer.
        let at = file.windows(8).position(|bytes| bytes == [1, 1, 1, 1, 0, 0, 0, 0]).unwrap();
        file.splice(at + 1..at + 3, [2, 0, 1 << 3 | 3]);
        [5, at - 1].into_iter().for_each(|length| file[length] += 1);
        let end = file.len() - 4;
        let checksum = checksum(&file[6..end]);
        file[end..].copy_from_slice(&checksum.to_le_bytes());
        let refused = Doc::new(PeerId(2)).import_update(0, &file).unwrap_err();
        assert_eq!(refused, ImportError::Update(DecodeError::Invalid("operation kind")));
    }
}
