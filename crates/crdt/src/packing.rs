//! Operations packed for storage: split into columns by what their parts are, and joined again.
//!
//! A stretch of a container's operations, each encoded as [`CellOp::encode`] does, becomes one
//! column for all their kinds, one for the rows they name, and for each field one for the kinds of
//! its values, one for its numbers and one for its texts. Like stands beside like, so that columns
//! are short ([`crate::columns`]) and what compresses them finds more.
//!
//! | field | size | meaning |
//! |---|---|---|
//! | form | 1 | 0 plain: the operations follow as they are; 1 columns |
//! | length | varint | of the operations when joined |
//! | columns | varint count, then each | number (varint), integers, bytes (each after its length) |
//!
//! The columns are numbered: 0 kinds, 1 rows, 2 names, 3 counts, 4 additions, 5 strays, 6 keys,
//! then for field `n` (the 63 first have some of their own, and 0 also serves what has no field)
//! 7 + 3n kinds of values, 8 + 3n integers, 9 + 3n lengths and bytes.

use crate::codec::{DecodeError, Input, Writer};
use crate::columns::{Ints, encode_ints, varint_len};
use crate::value::MAX_NESTING;

#[cfg(doc)]
use crate::cells::CellOp;

const PLAIN: u8 = 0;
const COLUMNS: u8 = 1;

const KINDS: usize = 0;
const ROWS: usize = 1;
const NAMES: usize = 2;
const COUNTS: usize = 3;
const ADDITIONS: usize = 4;
const STRAYS: usize = 5;
const KEYS: usize = 6;
const FIELDS: usize = 7;
const FIELDS_APART_MAX: u64 = 63;
const COLUMNS_MAX: usize = FIELDS + 3 * (FIELDS_APART_MAX as usize + 1);

/// Joined operations take at most so many times the bytes of their columns, and this much more.
/// What would be packed tighter is stored plain: no few bytes can claim to be very many.
const EXPANSION_MAX: usize = 1_024;
const EXPANSION_FREE: usize = 1_024;

fn may_expand(packed: usize, joined: usize) -> bool {
    joined <= packed.saturating_mul(EXPANSION_MAX).saturating_add(EXPANSION_FREE)
}

/// How an integer stands among operations that are not packed.
#[derive(Clone, Copy)]
enum Shape {
    Byte,
    Varint,
    Zigzag,
}

/// Carries the parts of operations over, into columns or out of them.
trait Port {
    fn int(&mut self, column: usize, shape: Shape) -> u64;

    fn raw(&mut self, column: usize, len: u64);

    /// Keeps that something is wrong with the operations.
    fn fail(&mut self, error: DecodeError);

    /// Whether it makes sense to go on.
    fn is_sound(&self) -> bool;
}

/// Carries one operation over: the grammar of [`CellOp::encode`].
fn carry_op(port: &mut dyn Port) {
    match port.int(KINDS, Shape::Byte) {
        0 => carry_value(port, 0, 0),
        1 => {
            port.int(NAMES, Shape::Varint);
            carry_value(port, 0, 0);
        }
        2 => drop(port.int(NAMES, Shape::Varint)),
        3 => carry_fields(port),
        4 => {
            carry_row(port);
            let field = port.int(NAMES, Shape::Varint);
            carry_value(port, field, 0);
        }
        5 | 8 => carry_row(port),
        6 => {
            carry_row(port);
            carry_fields(port);
        }
        7 => drop(port.int(ADDITIONS, Shape::Zigzag)),
        9 => {
            carry_row(port);
            carry_value(port, 0, 0);
        }
        10 => carry_bytes(port, KEYS),
        11 => carry_place(port),
        12 => {
            carry_row(port);
            carry_place(port);
        }
        13 => {
            port.int(NAMES, Shape::Varint);
            let anchors = port.int(COUNTS, Shape::Byte);
            for _ in [anchors & 3, anchors >> 2].into_iter().filter(|anchor| *anchor > 0) {
                carry_row(port);
            }
            carry_value(port, 0, 0);
        }
        _ => port.fail(DecodeError::Invalid("operation kind")),
    }
}

fn carry_row(port: &mut dyn Port) {
    if port.int(ROWS, Shape::Varint) == 0 {
        port.raw(STRAYS, 8);
        port.int(STRAYS, Shape::Varint);
    }
}

fn carry_bytes(port: &mut dyn Port, column: usize) {
    let len = port.int(column, Shape::Varint);
    port.raw(column, len);
}

fn carry_place(port: &mut dyn Port) {
    carry_bytes(port, KEYS);
    if port.int(COUNTS, Shape::Byte) != 0 {
        carry_row(port);
    }
}

fn carry_fields(port: &mut dyn Port) {
    let mut left = port.int(COUNTS, Shape::Varint);
    while left > 0 && port.is_sound() {
        let field = port.int(NAMES, Shape::Varint);
        carry_value(port, field, 0);
        left -= 1;
    }
}

// Recursion is safe here: the depth is checked before each step down.
fn carry_value(port: &mut dyn Port, field: u64, depth: usize) {
    if depth > MAX_NESTING {
        return port.fail(DecodeError::TooDeep);
    }
    let kinds = FIELDS + 3 * field.min(FIELDS_APART_MAX) as usize;
    let (ints, texts) = (kinds + 1, kinds + 2);
    match port.int(kinds, Shape::Byte) {
        3 => drop(port.int(ints, Shape::Zigzag)),
        4 => port.raw(texts, 8),
        5 | 6 => carry_bytes(port, texts),
        kind @ (7 | 8) => {
            let mut left = port.int(ints, Shape::Varint);
            while left > 0 && port.is_sound() {
                if kind == 8 {
                    carry_bytes(port, texts);
                }
                carry_value(port, field, depth + 1);
                left -= 1;
            }
        }
        9 => drop(port.int(ints, Shape::Byte)),
        _ => {}
    }
}

#[derive(Default)]
struct Column {
    ints: Vec<i64>,
    bytes: Vec<u8>,
}

impl Column {
    fn is_used(&self) -> bool {
        !self.ints.is_empty() || !self.bytes.is_empty()
    }
}

/// Which numbers of an operation may be others where it is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renamed {
    Name,
    /// A known row's number is one less than its place, as [`crate::cells::RowRef`] is encoded; 0
    /// is a stray.
    Row,
}

/// Takes encoded operations apart.
struct Splitter<'a, 'p> {
    input: Input<'a>,
    packer: &'p mut Packer,
    rename: &'p mut dyn FnMut(Renamed, u64) -> u64,
}

impl Port for Splitter<'_, '_> {
    fn int(&mut self, column: usize, shape: Shape) -> u64 {
        let mut value = match shape {
            Shape::Byte => i64::from(self.input.u8()),
            Shape::Varint => self.input.varint().cast_signed(),
            Shape::Zigzag => self.input.varint_i64(),
        };
        if column == NAMES || column == ROWS {
            value = self.renamed(column, value.cast_unsigned()).cast_signed();
        }
        self.packer.column(column).ints.push(value);
        value.cast_unsigned()
    }

    fn raw(&mut self, column: usize, len: u64) {
        let bytes = self.input.take(usize::try_from(len).unwrap_or(usize::MAX));
        self.packer.column(column).bytes.extend_from_slice(bytes);
    }

    fn fail(&mut self, error: DecodeError) {
        self.input.fail(error);
    }

    fn is_sound(&self) -> bool {
        self.input.is_sound()
    }
}

impl Splitter<'_, '_> {
    #[inline(never)]
    fn renamed(&mut self, column: usize, number: u64) -> u64 {
        let which = if column == NAMES { Renamed::Name } else { Renamed::Row };
        let new = (self.rename)(which, number);
        // It may be longer or shorter.
        self.packer.len = self.packer.len + varint_len(new) - varint_len(number);
        new
    }
}

/// Packs operations, page after page.
#[derive(Default)]
pub(crate) struct Packer {
    columns: Vec<Column>,
    /// How many operations are in the page, and how many bytes of them.
    count: usize,
    len: usize,
}

impl Packer {
    #[inline]
    fn column(&mut self, column: usize) -> &mut Column {
        while self.columns.len() <= column {
            self.add_column();
        }
        &mut self.columns[column]
    }

    #[cold]
    #[inline(never)]
    fn add_column(&mut self) {
        self.columns.push(Column::default());
    }

    /// Adds encoded operations, at most `max` of them, with other numbers for what they name; says
    /// how many.
    pub(crate) fn add(
        &mut self,
        ops: &mut Input<'_>,
        max: usize,
        rename: &mut dyn FnMut(Renamed, u64) -> u64,
    ) -> usize {
        let input = std::mem::replace(ops, Input::new(&[]));
        self.len += input.remaining();
        let mut splitter = Splitter { input, packer: self, rename };
        let mut count = 0;
        while count < max && !splitter.input.is_empty() {
            carry_op(&mut splitter);
            count += 1;
        }
        *ops = splitter.input;
        self.len -= ops.remaining();
        self.count += count;
        count
    }

    /// Appends the page in the shorter form; the next one is empty.
    pub(crate) fn finish(&mut self, out: &mut Writer) {
        let start = out.as_slice().len();
        out.u8(COLUMNS);
        out.len(self.len);
        let columns_start = out.as_slice().len();
        out.len(self.columns.iter().filter(|column| column.is_used()).count());
        let all = self.columns.iter().enumerate();
        for (number, column) in all.filter(|(_, column)| column.is_used()) {
            out.len(number);
            encode_ints(&column.ints, out);
            out.bytes(&column.bytes);
        }
        let packed = out.as_slice().len() - columns_start;
        if self.len <= packed || !may_expand(packed, self.len) {
            let mut columns = Input::new(&out.as_slice()[columns_start..]);
            let ops = join(&mut columns, self.count, self.len);
            out.truncate(start);
            out.u8(PLAIN);
            out.bytes(&ops);
        }
        for column in &mut self.columns {
            column.ints.clear();
            column.bytes.clear();
        }
        (self.count, self.len) = (0, 0);
    }
}

/// Puts operations together, at most `len` bytes of them.
struct Joiner<'a> {
    columns: Vec<Option<(Ints<'a>, Input<'a>)>>,
    out: Writer,
    len: usize,
    error: Result<(), DecodeError>,
}

impl<'a> Joiner<'a> {
    fn column(&mut self, column: usize) -> Option<&mut (Ints<'a>, Input<'a>)> {
        let found = self.columns.get_mut(column).and_then(Option::as_mut);
        if found.is_none() {
            self.error = self.error.and(Err(DecodeError::UnexpectedEnd));
        }
        found
    }
}

impl Port for Joiner<'_> {
    fn int(&mut self, column: usize, shape: Shape) -> u64 {
        let Some((ints, _)) = self.column(column) else { return 0 };
        let value = match shape {
            Shape::Byte => ints.next_as::<u8>().into(),
            Shape::Varint | Shape::Zigzag => ints.next(),
        };
        match shape {
            Shape::Byte => self.out.u8(value as u8),
            Shape::Varint => self.out.varint(value.cast_unsigned()),
            Shape::Zigzag => self.out.varint_i64(value),
        }
        value.cast_unsigned()
    }

    fn raw(&mut self, column: usize, len: u64) {
        let Some((_, bytes)) = self.column(column) else { return };
        let bytes = bytes.take(usize::try_from(len).unwrap_or(usize::MAX));
        self.out.raw(bytes);
    }

    fn fail(&mut self, error: DecodeError) {
        self.error = self.error.and(Err(error));
    }

    fn is_sound(&self) -> bool {
        self.error.is_ok() && self.out.as_slice().len() <= self.len
    }
}

/// Reads a page that a [`Packer`] wrote of so many operations. What they say is not checked.
pub(crate) fn unpack(input: &mut Input<'_>, count: usize) -> Vec<u8> {
    let (form, len) = (input.u8(), input.varint_usize());
    if form == PLAIN {
        return input.take(len).to_vec();
    }
    input.ensure(form == COLUMNS, "packing");
    if !may_expand(input.remaining(), len) {
        input.fail(DecodeError::CountExceedsInput);
    }
    join(input, count, len)
}

/// Reads the columns of so many operations, which take so many bytes.
fn join(input: &mut Input<'_>, count: usize, len: usize) -> Vec<u8> {
    let mut joiner = Joiner { columns: Vec::new(), out: Writer::new(), len, error: Ok(()) };
    for _ in 0..input.count(3) {
        let number = input.varint_usize();
        if number < joiner.columns.len() || number >= COLUMNS_MAX {
            return input.refuse("column number");
        }
        joiner.columns.resize_with(number, || None);
        joiner.columns.push(Some((Ints::new(input.bytes()), Input::new(input.bytes()))));
    }
    let mut left = count;
    while left > 0 && joiner.is_sound() {
        carry_op(&mut joiner);
        left -= 1;
    }
    for (ints, bytes) in joiner.columns.iter().flatten() {
        input.join(ints.input());
        input.join(bytes);
    }
    if let Err(error) = joiner.error {
        input.fail(error);
    }
    let out = joiner.out.into_vec();
    input.ensure(out.len() == len, "packed length");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::{CellOp, RowRef};
    use crate::codec::Reader;
    use crate::value::Value;
    use crate::{OpId, PeerId};

    fn encoded(ops: &[CellOp]) -> Vec<u8> {
        let mut out = Writer::new();
        ops.iter().for_each(|op| op.encode(&mut out));
        out.into_vec()
    }

    fn packed(ops: &[CellOp]) -> Vec<u8> {
        let (mut packer, mut out) = (Packer::default(), Writer::new());
        packer.add(&mut Input::new(&encoded(ops)), usize::MAX, &mut |_, number| number);
        packer.finish(&mut out);
        out.into_vec()
    }

    fn unpacked(bytes: &[u8], count: usize) -> Result<Vec<u8>, DecodeError> {
        Reader::new(bytes).read(|input| unpack(input, count))
    }

    /// Packed columns that claim to be `len` bytes of operations.
    fn columns(len: usize, columns: &[(usize, &[i64], &[u8])]) -> Vec<u8> {
        let mut out = Writer::new();
        out.u8(COLUMNS);
        out.len(len);
        out.len(columns.len());
        for (number, ints, bytes) in columns {
            out.len(*number);
            encode_ints(ints, &mut out);
            out.bytes(bytes);
        }
        out.into_vec()
    }

    /// The numbers of the columns.
    fn numbers(packed: &[u8]) -> Vec<usize> {
        let mut input = Reader::new(packed);
        assert_eq!(input.u8(), Ok(COLUMNS));
        input.varint().expect("the length");
        let count = input.varint().expect("a count");
        let column = |_| {
            let number = input.varint().expect("a number");
            input.bytes().expect("integers");
            input.bytes().expect("bytes");
            number as usize
        };
        (0..count).map(column).collect()
    }

    #[test]
    fn each_field_has_columns_of_its_own_up_to_the_63rd() {
        let row = RowRef::Known(0);
        let cell = |field, value: Value| CellOp::Cell { row, field, value };
        let of = |field| {
            let ops: Vec<_> = (0..40)
                .flat_map(|i| {
                    [cell(field, i.into()), cell(field, format!("text {}", i % 2).into())]
                })
                .collect();
            let packed = packed(&ops);
            assert_eq!(unpacked(&packed, ops.len()), Ok(encoded(&ops)));
            numbers(&packed)
        };
        assert_eq!(of(0), [0, 1, 2, 7, 8, 9]);
        assert_eq!(of(1), [0, 1, 2, 10, 11, 12]);
        assert_eq!(of(63), [0, 1, 2, 196, 197, 198]);
        assert_eq!(of(64), [0, 1, 2, 196, 197, 198]);
        let strays: Vec<_> = (0..40)
            .map(|seq| CellOp::Remove { row: RowRef::Stray(OpId::new(PeerId(3), seq)) })
            .collect();
        assert_eq!(numbers(&packed(&strays)), [0, 1, 5]);
        assert_eq!(unpacked(&packed(&strays), 40), Ok(encoded(&strays)));
    }

    #[test]
    fn operations_are_packed_with_other_names_and_rows_as_if_they_had_been_written_so() {
        let value = |i: u32| Value::from(format!("{i} {i}"));
        let cell = |i: u32, row: u32, field| {
            [
                CellOp::Insert { fields: vec![(field, value(i)), (0, Value::Null)] },
                CellOp::Cell { row: RowRef::Known(row), field, value: value(i) },
                CellOp::Remove { row: RowRef::Stray(OpId::new(PeerId(1), i)) },
            ]
        };
        // Both lengths of numbers, either way, in pages of either form.
        for count in [1, 90] {
            let ops: Vec<_> = (0..count).flat_map(|i| cell(i, 126 + i % 2, 70 + i % 60)).collect();
            let as_written = (0..count)
                .flat_map(|i| cell(i, 127 - i % 2, if i % 60 == 59 { 200 } else { 70 + i % 60 }))
                .collect::<Vec<_>>();
            let (mut packer, mut out) = (Packer::default(), Writer::new());
            let bytes = encoded(&ops);
            let mut input = Input::new(&bytes);
            let mut rename = |which, number| match (which, number) {
                (Renamed::Name, 129) => 200,
                (Renamed::Row, 127) => 128,
                (Renamed::Row, 128) => 127,
                (_, other) => other,
            };
            assert_eq!(packer.add(&mut input, 2, &mut rename), 2);
            assert_eq!(packer.add(&mut input, usize::MAX, &mut rename), ops.len() - 2);
            packer.finish(&mut out);
            assert_eq!(out.as_slice(), packed(&as_written));
            assert_eq!(unpacked(out.as_slice(), ops.len()), Ok(encoded(&as_written)));
            // Nothing of it is in the next page.
            let mut next = Writer::new();
            packer.add(&mut Input::new(&bytes), usize::MAX, &mut |_, number| number);
            packer.finish(&mut next);
            assert_eq!(next.as_slice(), packed(&ops));
        }
    }

    #[test]
    fn what_would_be_packed_very_tight_is_kept_plain() {
        let adds = |count| vec![CellOp::Add(1); count];
        assert_eq!(packed(&adds(1_000))[0], COLUMNS);
        assert_eq!(packed(&adds(40_000))[0], PLAIN);
        assert_eq!(packed(&adds(2))[0], PLAIN);
        for count in [2, 1_000, 40_000] {
            let ops = adds(count);
            assert_eq!(unpacked(&packed(&ops), count), Ok(encoded(&ops)));
        }
        let claim = columns(1 << 20, &[(0, &[7; 9], &[]), (4, &[1; 9], &[])]);
        assert_eq!(unpacked(&claim, 9), Err(DecodeError::CountExceedsInput));
    }

    #[test]
    fn what_is_joined_has_the_length_that_was_claimed_and_never_more() {
        let adds = |len, count: usize| {
            let (kinds, sums) = (vec![7; count], vec![1; count]);
            unpacked(&columns(len, &[(0, &kinds, &[]), (4, &sums, &[])]), count)
                .map(|ops| ops.len())
        };
        assert_eq!(adds(18, 9), Ok(18));
        for len in [17, 19] {
            assert_eq!(adds(len, 9), Err(DecodeError::Invalid("packed length")));
        }
        // Two runs of few bytes, which would go on for ever.
        let endless = |value: i64| {
            let mut run = Writer::new();
            run.u8(0);
            run.varint_i64(value);
            run.varint(u64::MAX);
            run.into_vec()
        };
        let mut out = Writer::new();
        out.raw(&[COLUMNS, 100, 2]);
        for (number, value) in [(0, 7), (4, 1)] {
            out.u8(number);
            out.bytes(&endless(value));
            out.bytes(&[]);
        }
        let refused = unpacked(out.as_slice(), usize::MAX);
        assert_eq!(refused, Err(DecodeError::Invalid("packed length")));
    }

    #[test]
    fn columns_are_numbered_upwards() {
        let of = |numbers: &[usize]| {
            let all: Vec<(usize, &[i64], &[u8])> =
                numbers.iter().map(|number| (*number, &[][..], &[][..])).collect();
            unpacked(&columns(0, &all), 0)
        };
        assert_eq!(of(&[0, 4, 198]), Ok(Vec::new()));
        for numbers in [&[4, 4][..], &[4, 1], &[COLUMNS_MAX], &[0, COLUMNS_MAX + 9]] {
            assert_eq!(of(numbers), Err(DecodeError::Invalid("column number")));
        }
    }

    #[test]
    fn values_are_nested_at_most_so_deep() {
        let nested = |depth: usize| {
            let kinds = [vec![7; depth], vec![0]].concat();
            let len = 1 + 2 * depth + 1;
            unpacked(
                &columns(len, &[(0, &[0], &[]), (7, &kinds, &[]), (8, &vec![1; depth], &[])]),
                1,
            )
        };
        assert!(nested(MAX_NESTING).is_ok());
        assert_eq!(nested(MAX_NESTING + 1), Err(DecodeError::TooDeep));
        let maps = |depth: usize| {
            let kinds = [vec![8; depth], vec![0]].concat();
            let (ints, keys) = (vec![1; depth], vec![0; depth]);
            let columns = columns(
                2 + 3 * depth,
                &[(0, &[0], &[]), (7, &kinds, &[]), (8, &ints, &[]), (9, &keys, &[])],
            );
            unpacked(&columns, 1)
        };
        assert!(maps(MAX_NESTING).is_ok());
        assert_eq!(maps(MAX_NESTING + 1), Err(DecodeError::TooDeep));
        assert_eq!(maps(1_000), Err(DecodeError::TooDeep));
        let deep = (0..MAX_NESTING).fold(Value::Null, |value, _| Value::List(vec![value]));
        let ops = vec![CellOp::Set(deep); 3];
        assert_eq!(unpacked(&packed(&ops), 3), Ok(encoded(&ops)));
    }
}
