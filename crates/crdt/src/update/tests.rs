//! Files that no replica writes are refused, and those that are cut otherwise read alike.

use super::*;
use crate::cells::CellOp;
use crate::names::NameIx;
use crate::op::POS_MAX;
use crate::packing::Packer;
use crate::repeats::encode_text;
use crate::{Value, VersionVector};

/// A file about a text and a counter, by peers 1 and 2, without what the counter's operations say.
struct File {
    /// Of each stretch: the peer's place, and how many operations. None names parents.
    stretches: Vec<(u8, u32)>,
    bounds: Vec<(u32, u32)>,
    /// Of each span: whose, and how many operations.
    spans: Vec<(u8, u32)>,
    /// Of each run: length, kind, and how far it is from where the one before would go on.
    runs: Vec<(u64, u8, i64)>,
    content: &'static str,
    /// How many more runs it claims to have.
    lacks: usize,
    /// What is behind the runs, behind their lengths, and behind their positions.
    more: [&'static [u8]; 3],
}

const INSERT: u8 = 0;
const DELETE: u8 = 1;
const BACKSPACE: u8 = 2;
const ASIDE: u8 = 3;
/// With a kind: that the run does nothing.
const VOID: u8 = 4;

impl File {
    fn read(&self) -> Result<Update, DecodeError> {
        self.read_as(false)
    }

    /// With cells, as an update, or without, as a snapshot's history.
    fn read_as(&self, with_cells: bool) -> Result<Update, DecodeError> {
        let mut out = Writer::new();
        out.len(2);
        (1..=2).for_each(|peer| out.u64_le(peer));
        out.len(2);
        for (kind, name) in [(ContainerKind::Text, "t"), (ContainerKind::Counter, "c")] {
            out.u8(kind.code());
            ContainerId::root(name).encode(&mut out);
        }
        out.len(self.stretches.len());
        let mut begun = [false; 2];
        for (peer, len) in &self.stretches {
            out.u8(peer << 1);
            out.varint(u64::from(*len));
            if !std::mem::replace(&mut begun[*peer as usize], true) {
                out.u8(0);
            }
            out.raw(&[0, 0]);
        }
        out.len(self.bounds.len());
        for (len, count) in &self.bounds {
            out.varint(u64::from(*len) << 1 | u64::from(*count != 1));
            if *count != 1 {
                out.varint(u64::from(*count));
            }
        }
        out.len(self.spans.len());
        for (place, len) in &self.spans {
            out.u8(*place);
            out.varint(u64::from(*len));
        }
        let mut column = Writer::new();
        let (mut lens, mut positions) = (Writer::new(), Writer::new());
        for (len, kind, by) in &self.runs {
            // Some can be told in the long form only.
            let (is_long, code) = (*len == 0 || *kind >= ASIDE, u64::from(*kind));
            if is_long {
                lens.u8(0);
            }
            lens.varint(if is_long { len << 3 | code } else { 3 * len - 2 + code });
            positions.varint_i64(*by + [0, len.cast_signed(), 1, 0][usize::from(*kind & 3)]);
        }
        lens.raw(self.more[1]);
        positions.raw(self.more[2]);
        column.len(self.runs.len() + self.lacks);
        column.bytes(lens.as_slice());
        column.bytes(positions.as_slice());
        encode_text(self.content, &mut column);
        column.raw(self.more[0]);
        out.bytes(column.as_slice());
        out.bytes(if with_cells { &[0; 5] } else { &[] });
        Update::decode(out.as_slice(), with_cells)
    }

    fn error(&self) -> Option<DecodeError> {
        self.read().err()
    }
}

/// Four letters, typed around an addition.
fn file() -> File {
    File {
        stretches: vec![(0, 5)],
        bounds: vec![(1, 4), (1, 1)],
        spans: vec![(0, 2), (1, 1), (0, 2)],
        runs: vec![(4, INSERT, 3)],
        content: "äbcd",
        lacks: 0,
        more: [&[]; 3],
    }
}

/// One run of a text.
fn run(len: u32, kind: u8, pos: i64) -> File {
    File {
        stretches: vec![(0, len)],
        bounds: vec![(len, 1)],
        spans: vec![(0, len)],
        runs: vec![(u64::from(len), kind, pos)],
        content: "",
        ..file()
    }
}

#[test]
fn a_run_reaches_over_what_was_done_elsewhere() {
    let update = file().read().unwrap();
    let runs = &update.columns[0].runs;
    let pieces =
        runs.pieces(0, 5).map(|piece| (piece.start, piece.pos, runs.content(piece.content)));
    assert_eq!(pieces.collect::<Vec<_>>(), [(0, 3, "äb"), (3, 5, "cd")]);
    let back = File { runs: vec![(4, BACKSPACE, 9)], content: "", ..file() }.read().unwrap();
    let pieces = back.columns[0].runs.pieces(0, 5).map(|piece| (piece.start, piece.pos, piece.len));
    assert_eq!(pieces.collect::<Vec<_>>(), [(0, 9, 2), (3, 7, 2)]);
}

#[test]
fn what_is_left_over_is_refused() {
    let trailing = Some(DecodeError::TrailingBytes);
    assert_eq!(File { runs: vec![(5, INSERT, 3)], content: "äbcde", ..file() }.error(), trailing);
    assert_eq!(File { runs: vec![(4, INSERT, 3), (1, DELETE, 0)], ..file() }.error(), trailing);
    assert_eq!(File { content: "äbcde", ..file() }.error(), trailing);
    assert_eq!(File { lacks: 1, ..file() }.error(), trailing);
    assert_eq!(File { runs: vec![(5, DELETE, 3)], content: "", ..file() }.error(), trailing);
    for more in [[&[0][..], &[], &[]], [&[], &[0], &[]], [&[], &[], &[0]]] {
        assert_eq!(File { more, ..file() }.error(), trailing);
    }
    let text = Some(DecodeError::Invalid("inserted text"));
    assert_eq!(File { content: "äbc", ..file() }.error(), text);
    let count = Some(DecodeError::Invalid("run count"));
    assert_eq!(File { runs: vec![(3, DELETE, 3)], content: "", ..file() }.error(), count);
}

#[test]
fn a_run_has_a_length_and_a_place() {
    let refused = Some(DecodeError::Invalid("text run"));
    assert_eq!(run(2, DELETE, 5).error(), None);
    assert_eq!(run(2, DELETE, i64::from(POS_MAX) - 2).error(), None);
    assert_eq!(run(2, DELETE, i64::from(POS_MAX) - 1).error(), refused);
    assert_eq!(run(3, BACKSPACE, 2).error(), None);
    assert_eq!(run(3, BACKSPACE, 1).error(), refused);
    let none = File { runs: vec![(0, DELETE, 5), (2, DELETE, 0)], ..run(2, DELETE, 5) };
    assert_eq!(none.error(), refused);
}

#[test]
fn a_transaction_has_a_length() {
    let refused = Some(DecodeError::Invalid("transaction length"));
    let bounds = vec![(0, 1), (2, 1)];
    assert_eq!(File { bounds, ..run(2, DELETE, 5) }.error(), refused);
}

#[test]
fn stretches_and_spans_have_a_length_and_end_where_the_file_does() {
    let length = Some(DecodeError::Invalid("length"));
    assert_eq!(File { stretches: vec![(0, 5), (1, 0)], ..file() }.error(), length);
    assert_eq!(File { stretches: vec![(0, crate::import::OPS_MAX)], ..file() }.error(), length);
    let span = Some(DecodeError::Invalid("span"));
    let spans = |spans: &[(u8, u32)]| File { spans: spans.to_vec(), ..file() }.error();
    assert_eq!(spans(&[(0, 2), (1, 0), (1, 1), (0, 2)]), span);
    assert_eq!(spans(&[(0, 2), (1, 1), (0, 3)]), span);
    assert_eq!(spans(&[(0, 2), (1, 1), (0, 1)]), Some(DecodeError::Invalid("spans")));
}

#[test]
fn a_transaction_is_one_authors() {
    let of = |bounds: &[(u32, u32)]| {
        File { stretches: vec![(0, 3), (1, 2)], bounds: bounds.to_vec(), ..file() }.error()
    };
    let across = Some(DecodeError::Invalid("transaction across authors"));
    assert_eq!(of(&[(3, 1), (2, 1)]), None);
    assert_eq!(of(&[(1, 4), (1, 1)]), None);
    assert_eq!(of(&[(1, 3), (1, 2)]), None);
    assert_eq!(of(&[(5, 1)]), across);
    assert_eq!(of(&[(1, 1), (2, 2)]), None);
    assert_eq!(of(&[(2, 2), (1, 1)]), across);
    assert_eq!(of(&[(1, 2), (3, 1)]), across);
}

#[test]
fn transactions_of_one_length_are_told_together() {
    let mut doc = crate::Doc::new(PeerId(1));
    let mut sizes = Vec::new();
    for count in [10, 20] {
        for _ in 0..10 {
            doc.transact(0, |tx| tx.counter("c").add(1));
        }
        for _ in 0..count {
            doc.transact(0, |tx| tx.text("t").insert(0, "ab")).0.unwrap();
            doc.transact(0, |tx| tx.text("t").insert(2, "cd")).0.unwrap();
        }
        let update = crate::snapshot::read_update(&doc.encode_update(&VersionVector::new()));
        let update = update.unwrap();
        sizes.push((update.bounds.len(), update.spans.len()));
    }
    // Ten of one, then twenty of two each; the limit in tests is four of them at once.
    assert_eq!(sizes, [(3 + 5, 2), (3 + 5 + 3 + 10, 4)]);
}

#[test]
fn what_does_nothing_is_told_with_the_runs() {
    let mut runs = Runs::default();
    runs.push_run(0, 0, 5, RunKind::Delete, "", false);
    runs.void(1, 3);
    let mut out = Writer::new();
    encode_runs(&runs, &[(0, 5)], &mut out);
    let heads = [2, 0, 2 << 3 | 4 | 1, 5];
    assert_eq!(out.as_slice()[..6], [&[3, 4][..], &heads].concat());
    let mut input = Input::new(&out.as_slice()[1..]);
    let (mut lens, mut positions) = (Input::new(input.bytes()), Input::new(input.bytes()));
    let voids = [0; 3].map(|_| read_piece(&mut lens, &mut positions, 0).is_void);
    assert_eq!(voids, [false, true, false]);
}

#[test]
fn what_a_run_is_reads_back() {
    for kind in [RunKind::Insert, RunKind::Delete, RunKind::Backspace, RunKind::Aside] {
        for (len, is_void) in [1, 2, 1_000].into_iter().flat_map(|len| [(len, false), (len, true)])
        {
            let mut out = Writer::new();
            write_head(&Piece { len, kind, is_void, ..Piece::default() }, &mut out);
            let mut input = Input::new(out.as_slice());
            assert_eq!(read_head(&mut input), (len, kind, is_void));
            assert_eq!(input.finish(), Ok(()));
        }
    }
}

#[test]
fn whether_a_run_does_nothing_only_a_snapshot_is_asked() {
    let file = File { runs: vec![(2, DELETE | VOID, 5)], ..run(2, DELETE, 5) };
    for with_cells in [false, true] {
        let update = file.read_as(with_cells).unwrap();
        let voids = update.columns[0].runs.pieces(0, 2).map(|piece| piece.is_void);
        assert_eq!(voids.collect::<Vec<_>>(), [!with_cells]);
    }
}

/// What is read of a text with a mark's place, and these cells: names, marks by the key's number,
/// and how many rows they claim to name.
fn marked(names: &[&str], keys: &[NameIx], rows: u8) -> Option<DecodeError> {
    let (mut cells, mut ops, mut packer) = (Writer::new(), Writer::new(), Packer::default());
    cells.len(names.len());
    names.iter().for_each(|name| cells.str(name));
    cells.u8(rows);
    (0..2).for_each(|_| crate::columns::encode_ints(&[], &mut cells));
    cells.len(keys.len());
    for key in keys {
        let range = Default::default();
        CellOp::Mark { key: *key, range, value: Value::Null }.encode(&mut ops);
    }
    if !keys.is_empty() {
        let count = keys.len();
        packer.add(&mut Input::new(ops.as_slice()), count, &mut |_, number| number);
        packer.finish(&mut cells);
    }
    let more = [&*cells.into_vec().leak(), &[], &[]];
    File { runs: vec![(1, ASIDE, 0)], more, ..run(1, ASIDE, 0) }.read_as(true).err()
}

#[test]
fn there_is_one_mark_for_each_place_and_it_has_a_name() {
    assert_eq!(marked(&["bold"], &[0], 0), None);
    assert_eq!(marked(&["bold"], &[1], 0), Some(DecodeError::Invalid("operation kind")));
    let count = Some(DecodeError::Invalid("operation count"));
    for (keys, rows) in [(&[][..], 0), (&[0, 0], 0), (&[0], 1)] {
        assert_eq!(marked(&["bold"], keys, rows), count);
    }
}

#[test]
fn transactions_of_one_author_are_told_together_wherever_others_came_between() {
    let (mut ada, mut ben) = (crate::Doc::new(PeerId(1)), crate::Doc::new(PeerId(2)));
    for _ in 0..3 {
        ada.transact(0, |tx| tx.counter("c").add(1));
        ben.import(0, ada.blocks_since(ben.version())).unwrap();
        ben.transact(0, |tx| tx.counter("c").add(1));
        ada.import(0, ben.blocks_since(ada.version())).unwrap();
    }
    let bens: VersionVector = [(PeerId(2), 3)].into_iter().collect();
    let update = crate::snapshot::read_update(&ada.encode_update(&bens)).unwrap();
    assert_eq!((update.bounds, update.spans), (vec![(0, 1)], vec![(0, 3, 0)]));
}
