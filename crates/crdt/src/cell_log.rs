//! The log of what one container holds: what was written, by local version.
//!
//! The log holds every value once; what a container shows are references into it. It is kept in
//! pages: all but the last are full and never change again, so each is packed once, and one that
//! was loaded is unpacked when something in it is first asked for.

use std::cell::OnceCell;

use crate::cells::{CellOp, RowRef};
use crate::codec::{DecodeError, Input, Writer};
use crate::columns::{Ints, encode_ints};
use crate::container::ContainerKind;
use crate::gather::Gather;
use crate::graph::Lv;
use crate::names::NameIx;
use crate::packing::{Packer, unpack};
use crate::search::Search;
use crate::value::Value;

/// A page with so many operations, or so many bytes of them, is full. Small in tests, so that short
/// histories fill several.
pub(crate) const PAGE_OPS_MAX: usize = if cfg!(test) { 4 } else { 1_024 };
const PAGE_BYTES_MAX: usize = 64 << 10;

/// What stands before a page's bytes in a file takes less.
const PAGE_HEAD_MAX: usize = 32;

/// Operations in local order, each encoded.
#[derive(Clone, Debug, Default)]
struct Ops {
    /// Each operation's local version and the offset of its bytes.
    starts: Vec<(Lv, u32)>,
    bytes: Writer,
}

impl Ops {
    fn push(&mut self, lv: Lv, op: &CellOp) {
        self.starts.push((lv, self.bytes.as_slice().len() as u32));
        op.encode(&mut self.bytes);
    }

    /// An empty page with room for about what is in this one, which is full and gives back the rest
    /// of its own.
    fn like(&mut self) -> Self {
        self.starts.shrink_to_fit();
        self.bytes.shrink_to_fit();
        let mut next = Self::default();
        next.starts.reserve_exact(self.starts.len());
        let len = self.bytes.as_slice().len();
        next.bytes.reserve((len + len / 16).min(PAGE_BYTES_MAX));
        next
    }

    fn is_full(&self) -> bool {
        self.starts.len() >= PAGE_OPS_MAX || self.bytes.as_slice().len() >= PAGE_BYTES_MAX
    }

    fn range(&self) -> Option<(Lv, Lv)> {
        Some((self.starts.first()?.0, self.starts.last()?.0))
    }

    fn reader(&self, index: usize) -> Input<'_> {
        Input::new(&self.bytes.as_slice()[self.starts[index].1 as usize..])
    }

    /// The operations from one on, before another, as they are encoded.
    fn bytes_of(&self, first: usize, last: usize) -> Input<'_> {
        let at = |index| {
            self.starts.get(index).map_or(self.bytes.as_slice().len(), |(_, at)| *at as usize)
        };
        Input::new(&self.bytes.as_slice()[at(first)..at(last)])
    }

    fn at(&self, index: usize) -> CellOp {
        CellOp::decode(&mut self.reader(index))
    }

    fn index_of(&self, lv: Lv) -> Option<usize> {
        // Mostly, each operation of a stretch is about the container.
        let first = self.starts.first()?.0;
        let guess = lv.checked_sub(first)? as usize;
        if self.starts.get(guess).is_some_and(|(at, _)| *at == lv) {
            return Some(guess);
        }
        self.starts.binary_search_by_key(&lv, |(lv, _)| *lv).ok()
    }

    /// Local versions as a column, then the operations.
    fn pack(&self, packer: &mut Packer) -> Box<[u8]> {
        let lvs = self.starts.iter().map(|(lv, _)| i64::from(*lv)).gather();
        let mut out = Writer::new();
        out.len(lvs.len());
        encode_ints(&lvs, &mut out);
        let mut ops = Input::new(self.bytes.as_slice());
        packer.add(&mut ops, usize::MAX, &mut |_, number| number);
        packer.finish(&mut out);
        out.into_vec().into()
    }

    fn unpack(packed: &[u8], (first, last): (Lv, Lv), may: May) -> Result<Self, DecodeError> {
        let mut input = Input::new(packed);
        let count = input.varint_usize();
        if count == 0 || count - 1 > (last - first) as usize || count > PAGE_OPS_MAX {
            return Err(DecodeError::CountExceedsInput);
        }
        let mut lvs = Ints::new(input.bytes());
        let bytes = unpack(&mut input, count);
        input.finish()?;
        let mut ops = Self::default();
        let mut rest = Input::new(&bytes);
        for _ in 0..count {
            let lv = lvs.next_as();
            let is_next = ops.starts.last().map_or(lv == first, |(before, _)| *before < lv);
            rest.ensure(is_next && lv <= last, "local version");
            ops.starts.push((lv, (bytes.len() - rest.remaining()) as u32));
            let op = CellOp::decode(&mut rest);
            rest.ensure(may.have(&op), "operation kind");
        }
        lvs.input().result()?;
        rest.finish()?;
        ops.bytes = Writer::from_vec(bytes);
        Ok(ops)
    }
}

/// What operations a loaded log may have.
#[derive(Clone, Copy, Debug)]
struct May {
    kind: ContainerKind,
    names: usize,
    end: Lv,
}

impl May {
    fn have(self, op: &CellOp) -> bool {
        let is_above = |row| matches!(row, RowRef::Known(row) if row >= self.end);
        op.fits(self.kind, self.names) && !op.has_row(&is_above)
    }
}

/// A full page: either form is made from the other when it is needed.
#[derive(Clone, Debug)]
struct Page {
    range: (Lv, Lv),
    ops: OnceCell<Ops>,
    packed: OnceCell<Box<[u8]>>,
    may: Option<May>,
}

impl Page {
    fn of(ops: Ops) -> Option<Self> {
        let range = ops.range()?;
        Some(Self { range, ops: ops.into(), packed: OnceCell::new(), may: None })
    }

    /// The operations. Their checksum was verified when the page was loaded; if they are not sound
    /// all the same, the page reads as empty.
    fn ops(&self) -> &Ops {
        self.ops.get_or_init(|| match (self.packed.get(), self.may) {
            (Some(packed), Some(may)) => Ops::unpack(packed, self.range, may).unwrap_or_default(),
            _ => Ops::default(),
        })
    }

    fn into_ops(self) -> Ops {
        self.ops();
        self.ops.into_inner().unwrap_or_default()
    }

    fn packed(&self, packer: &mut Packer) -> &[u8] {
        self.packed.get_or_init(|| self.ops().pack(packer))
    }
}

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub(crate) struct CellLog {
    pages: Vec<Page>,
    /// What came after the last full page.
    open: Ops,
}

impl CellLog {
    pub(crate) fn push(&mut self, lv: Lv, op: &CellOp) {
        // A loaded log's last page may have room.
        if self.open.starts.is_empty()
            && self.pages.last().is_some_and(|page| !page.ops().is_full())
            && let Some(page) = self.pages.pop()
        {
            self.open = page.into_ops();
        }
        self.open.push(lv, op);
        if self.open.is_full() {
            let next = self.open.like();
            self.pages.extend(Page::of(std::mem::replace(&mut self.open, next)));
        }
    }

    /// A number of operations that the log does not exceed.
    pub(crate) fn len_max(&self) -> usize {
        self.pages.len() * PAGE_OPS_MAX + self.open.starts.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pages.is_empty() && self.open.starts.is_empty()
    }

    /// The page that an operation would be in.
    fn page_of(&self, lv: Lv) -> &Ops {
        let at = self.pages.count_while(|page| page.range.1 < lv);
        self.pages.get(at).map_or(&self.open, Page::ops)
    }

    /// The operation with this local version.
    pub(crate) fn get(&self, lv: Lv) -> Option<CellOp> {
        let page = self.page_of(lv);
        Some(page.at(page.index_of(lv)?))
    }

    /// The value that an operation wrote: of a register or an entry, or in this field of its row.
    pub(crate) fn value(&self, lv: Lv, field: Option<NameIx>) -> Option<Value> {
        let page = self.page_of(lv);
        let mut input = page.reader(page.index_of(lv)?);
        CellOp::decode_value(&mut input, field)
    }

    /// Tells the fields of its row that an operation wrote, each with its value, which `told` has
    /// to read or to skip. One that is there twice is told twice, and the last holds.
    pub(crate) fn each_field(&self, lv: Lv, told: &mut dyn FnMut(NameIx, &mut Input<'_>)) {
        let page = self.page_of(lv);
        if let Some(index) = page.index_of(lv) {
            CellOp::decode_fields(&mut page.reader(index), told);
        }
    }

    /// The operations from `start` to `end` (exclusive): a page each, the first there and the last.
    fn stretches(&self, start: Lv, end: Lv) -> impl Iterator<Item = (&Ops, usize, usize)> {
        let first = self.pages.count_while(|page| page.range.1 < start);
        let pages = self.pages[first..].iter().take_while(move |page| page.range.0 < end);
        pages.map(Page::ops).chain([&self.open]).map(move |ops| {
            let first = ops.starts.count_while(|(lv, _)| *lv < start);
            let last = ops.starts.count_while(|(lv, _)| *lv < end);
            (ops, first, last.max(first))
        })
    }

    /// The operations from `start` to `end` (exclusive).
    pub(crate) fn ops(&self, start: Lv, end: Lv) -> impl Iterator<Item = (Lv, CellOp)> {
        self.stretches(start, end).flat_map(|(ops, first, last)| {
            (first..last).map(|index| (ops.starts[index].0, ops.at(index)))
        })
    }

    /// The same as they are encoded, one after the other: a stretch of each page.
    pub(crate) fn encoded(&self, start: Lv, end: Lv) -> impl Iterator<Item = Input<'_>> {
        self.stretches(start, end).map(|(ops, first, last)| ops.bytes_of(first, last))
    }

    /// How many bytes [`CellLog::encode`] adds at the most, and some to spare.
    pub(crate) fn encoded_len_max(&self) -> usize {
        let mut packer = Packer::default();
        let len = |page: &Page| PAGE_HEAD_MAX + page.packed(&mut packer).len();
        let full: usize = self.pages.iter().map(len).sum();
        full + 2 * PAGE_HEAD_MAX + 5 * self.open.starts.len() + self.open.bytes.as_slice().len()
    }

    /// Appends the log, page by page: the first local version as a difference, how far the last is
    /// from it, and the packed operations.
    pub(crate) fn encode(&self, out: &mut Writer) {
        let (mut packer, mut last) = (Packer::default(), 0);
        out.len(self.pages.len() + usize::from(!self.open.starts.is_empty()));
        let mut append = |(first, upto): (Lv, Lv), packed: &[u8]| {
            out.varint(u64::from(first - last));
            out.varint(u64::from(upto - first));
            out.bytes(packed);
            last = upto;
        };
        for page in &self.pages {
            append(page.range, page.packed(&mut packer));
        }
        if let Some(range) = self.open.range() {
            append(range, &self.open.pack(&mut packer));
        }
    }

    /// Reads what [`CellLog::encode`] wrote for a container of this kind; all local versions are
    /// below `end`. What the pages hold is checked when it is first asked for.
    pub(crate) fn decode(
        input: &mut Input<'_>,
        kind: ContainerKind,
        names: usize,
        end: Lv,
    ) -> Self {
        let may = Some(May { kind, names, end });
        let mut log = Self::default();
        for _ in 0..input.count(3) {
            let last = log.pages.last().map_or(0, |page| page.range.1);
            let (step, len) = (input.varint_u32(), input.varint_u32());
            let first = last.checked_add(step);
            let range = first.and_then(|first| Some((first, first.checked_add(len)?)));
            let is_next = step > 0 || log.pages.is_empty();
            let range = range.filter(|(_, upto)| *upto < end && is_next);
            let range = input.some(range, "local version");
            let packed = OnceCell::from(Box::from(input.bytes()));
            log.pages.push(Page { range, ops: OnceCell::new(), packed, may });
        }
        log
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (0.0f64..9.0).prop_map(Value::from),
            "[a-zé]{0,5}".prop_map(Value::from),
            prop::collection::vec(any::<u8>(), 0..4).prop_map(Value::Bytes),
        ];
        leaf.prop_recursive(2, 8, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::List),
                prop::collection::btree_map("[a-c]", inner, 0..3)
                    .prop_map(|map| Value::Map(map.into_iter().collect())),
            ]
        })
    }

    fn op() -> impl Strategy<Value = CellOp> {
        let fields = || prop::collection::vec((0u32..80, value()), 0..4);
        let row = || {
            prop_oneof![
                (0u32..50).prop_map(RowRef::Known),
                (any::<u64>(), 0u32..9).prop_map(|(peer, seq)| RowRef::Stray(
                    crate::id::OpId::new(crate::id::PeerId(peer), seq)
                )),
            ]
        };
        prop_oneof![
            fields().prop_map(|fields| CellOp::Insert { fields }),
            (row(), fields()).prop_map(|(row, fields)| CellOp::Restore { row, fields }),
            (row(), 0u32..80, value()).prop_map(|(row, field, value)| CellOp::Cell {
                row,
                field,
                value
            }),
            row().prop_map(|row| CellOp::Remove { row }),
        ]
    }

    /// What an operation wrote to a field of its row.
    fn value_of(op: &CellOp, field: NameIx) -> Option<&Value> {
        match op {
            CellOp::Cell { field: written, value, .. } => (*written == field).then_some(value),
            CellOp::Insert { fields } | CellOp::Restore { fields, .. } => {
                fields.iter().rev().find(|(written, _)| *written == field).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    #[test]
    fn a_page_is_full_with_so_many_operations_or_bytes() {
        let (mut log, add) = (CellLog::default(), CellOp::Add(1));
        (0..2 * PAGE_OPS_MAX as Lv).for_each(|lv| log.push(lv, &add));
        assert_eq!((log.pages.len(), log.open.starts.len()), (2, 0));
        log.push(100, &add);
        log.push(101, &CellOp::Set(Value::Bytes(vec![0; PAGE_BYTES_MAX])));
        assert_eq!((log.pages.len(), log.open.starts.len()), (3, 0));
        assert_eq!(log.len_max(), 3 * PAGE_OPS_MAX);
        log.push(102, &add);
        assert_eq!((log.pages.len(), log.open.starts.len()), (3, 1));
        assert_eq!(log.len_max(), 3 * PAGE_OPS_MAX + 1);
    }

    /// A page of additions at these local versions, as one of `range` reads it.
    fn unpacked(lvs: &[Lv], range: (Lv, Lv)) -> Result<usize, DecodeError> {
        let mut ops = Ops::default();
        lvs.iter().for_each(|lv| ops.push(*lv, &CellOp::Add(1)));
        let may = May { kind: ContainerKind::Counter, names: 0, end: 100 };
        Ops::unpack(&ops.pack(&mut Packer::default()), range, may).map(|ops| ops.starts.len())
    }

    #[test]
    fn a_page_holds_ascending_local_versions_within_its_range() {
        assert_eq!(unpacked(&[3, 5, 6], (3, 6)), Ok(3));
        assert_eq!(unpacked(&[3, 4, 5, 6], (3, 6)), Ok(PAGE_OPS_MAX));
        let (count, version) =
            (DecodeError::CountExceedsInput, DecodeError::Invalid("local version"));
        assert_eq!(unpacked(&[], (3, 6)), Err(count));
        assert_eq!(unpacked(&[3, 4, 5], (3, 4)), Err(count));
        assert_eq!(unpacked(&[3, 4, 5, 6, 7], (3, 7)), Err(count));
        assert_eq!(unpacked(&[4, 5], (3, 6)), Err(version));
        assert_eq!(unpacked(&[3, 3], (3, 6)), Err(version));
        assert_eq!(unpacked(&[3, 7], (3, 6)), Err(version));
    }

    #[test]
    fn pages_follow_one_another_below_the_end() {
        let read = |pages: &[(u32, u32)], end| {
            let mut out = Writer::new();
            out.len(pages.len());
            for (step, len) in pages {
                out.varint(u64::from(*step));
                out.varint(u64::from(*len));
                out.bytes(&[]);
            }
            let kind = ContainerKind::Counter;
            let log = crate::Reader::new(out.as_slice())
                .read(|input| CellLog::decode(input, kind, 0, end));
            log.map(|log| log.pages.iter().map(|page| page.range).collect::<Vec<_>>())
        };
        assert_eq!(read(&[(0, 3), (1, 0), (2, 5)], 12), Ok(vec![(0, 3), (4, 4), (6, 11)]));
        let refused = Err(DecodeError::Invalid("local version"));
        assert_eq!(read(&[(0, 3), (1, 0), (2, 5)], 11), refused);
        assert_eq!(read(&[(0, 3), (0, 4)], 12), refused);
        assert_eq!(read(&[(13, 0)], 12), refused);
        assert_eq!(read(&[(1, u32::MAX)], u32::MAX), refused);
    }

    #[test]
    fn a_loaded_operation_fits_its_container_and_refers_to_what_was_before() {
        let may = May { kind: ContainerKind::Table, names: 2, end: 7 };
        let cell = |row, field| CellOp::Cell { row: RowRef::Known(row), field, value: true.into() };
        assert!(may.have(&cell(6, 1)));
        for op in [cell(7, 1), cell(6, 2), CellOp::Add(1)] {
            assert!(!may.have(&op), "{op:?}");
        }
    }

    proptest! {
        #[test]
        fn a_log_reads_back_page_by_page(
            ops in prop::collection::vec((1u32..3, op()), 0..40),
            more in op(),
        ) {
            let (mut log, mut lv, mut all) = (CellLog::default(), 0, Vec::new());
            for (step, op) in ops {
                lv += step;
                log.push(lv, &op);
                all.push((lv, op));
            }
            let mut out = Writer::new();
            log.encode(&mut out);
            prop_assert!(out.as_slice().len() <= log.encoded_len_max());
            let mut input = Input::new(out.as_slice());
            let end = lv + 1;
            let kind = ContainerKind::Table;
            let mut read = CellLog::decode(&mut input, kind, 80, end.max(50));
            prop_assert_eq!(input.finish(), Ok(()));
            let mut again = Writer::new();
            read.encode(&mut again);
            prop_assert_eq!(again.as_slice(), out.as_slice());
            for log in [&log, &read] {
                prop_assert_eq!(log.ops(0, Lv::MAX).collect::<Vec<_>>(), all.clone());
                let middle: Vec<_> =
                    all.iter().filter(|(lv, _)| (5..20).contains(lv)).cloned().collect();
                let mut bytes = Writer::new();
                middle.iter().for_each(|(_, op)| op.encode(&mut bytes));
                let mut encoded = Writer::new();
                log.encoded(5, 20).for_each(|mut ops| encoded.raw(ops.take(ops.remaining())));
                prop_assert_eq!(encoded.as_slice(), bytes.as_slice());
                prop_assert_eq!(log.ops(5, 20).collect::<Vec<_>>(), middle);
                for (lv, op) in &all {
                    prop_assert_eq!(log.get(*lv), Some(op.clone()));
                    for field in [0, 7, 79] {
                        let value = value_of(op, field);
                        prop_assert_eq!(log.value(*lv, Some(field)), value.cloned());
                    }
                }
            }
            read.push(end, &more);
            prop_assert_eq!(read.get(end), Some(more));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let log = CellLog::decode(&mut Input::new(&bytes), ContainerKind::Table, 3, 1_000);
            log.ops(0, Lv::MAX).for_each(drop);
        }
    }
}
