//! Columns of integers, each in the shortest of several forms.
//!
//! | form | after the form's byte |
//! |---|---|
//! | runs (0) | value (zigzag varint), count (varint), and so on |
//! | varints (1) | the values, zigzag |
//! | packed (2) | the least (zigzag varint), bits each (1), then what each is above that, packed |
//! | plus 4 | the same of differences from the value before, from 0 at first |
//!
//! How many values there are is for others to say: a column is read until its reader has enough.

use crate::codec::{Input, Writer, zigzag};

const RUNS: u8 = 0;
const VARINTS: u8 = 1;
const PACKED: u8 = 2;
const DELTAS: u8 = 4;

/// How long a number is as a varint: its bits by seven, rounded up.
pub(crate) fn varint_len(value: u64) -> usize {
    ((64 - (value | 1).leading_zeros() as usize) * 9 + 64) / 64
}

fn runs(values: &[i64]) -> impl Iterator<Item = &[i64]> {
    values.chunk_by(|a, b| a == b)
}

fn runs_len(values: &[i64]) -> usize {
    let len = |run: &[i64]| varint_len(zigzag(run[0])) + varint_len(run.len() as u64);
    runs(values).map(len).sum()
}

fn varints_len(values: &[i64]) -> usize {
    values.iter().map(|value| varint_len(zigzag(*value))).sum()
}

/// What one look at a column's values tells: how long they are when packed, and how long they are
/// in the other forms at least.
struct Extent {
    count: usize,
    least: i64,
    most: i64,
    runs: usize,
}

impl Extent {
    /// Of values, of which there are some.
    fn of(values: &[i64]) -> Self {
        let (mut least, mut most, mut changes, mut last) = (values[0], values[0], 0, values[0]);
        for value in values {
            least = least.min(*value);
            most = most.max(*value);
            changes += usize::from(*value != last);
            last = *value;
        }
        Self { count: values.len(), least, most, runs: changes + 1 }
    }

    /// The bits that the values take each above the least.
    fn width(&self) -> u32 {
        64 - self.most.wrapping_sub(self.least).leading_zeros()
    }

    fn packed_len(&self) -> usize {
        varint_len(zigzag(self.least)) + 1 + (self.count * self.width() as usize).div_ceil(8)
    }

    fn varint_len_min(&self) -> usize {
        varint_len(zigzag(self.least.max(self.most.min(0))))
    }
}

/// The form in which these values are shortest, and how long they are in it; no matter which if
/// that is longer than `limit`.
fn shortest(values: &[i64], extent: &Extent, limit: usize) -> (u8, usize) {
    let (mut shortest, limit) = ((PACKED, extent.packed_len()), limit.min(extent.packed_len()));
    if extent.count * extent.varint_len_min() <= limit {
        let len = varints_len(values);
        if len <= shortest.1 {
            shortest = (VARINTS, len);
        }
    }
    if extent.runs * (extent.varint_len_min() + 1) <= limit {
        let len = runs_len(values);
        if len <= shortest.1 {
            shortest = (RUNS, len);
        }
    }
    shortest
}

/// Appends a column, after its length.
pub(crate) fn encode_ints(values: &[i64], out: &mut Writer) {
    if values.is_empty() {
        return out.bytes(&[RUNS]);
    }
    let mut before = 0;
    let mut deltas = Vec::with_capacity(values.len());
    for value in values {
        deltas.push(value.wrapping_sub(std::mem::replace(&mut before, *value)));
    }
    let (extent, delta_extent) = (Extent::of(values), Extent::of(&deltas));
    let (form, len) = shortest(values, &extent, delta_extent.packed_len());
    let (delta_form, delta_len) = shortest(&deltas, &delta_extent, len - 1);
    out.len(1 + len.min(delta_len));
    if delta_len < len {
        out.u8(delta_form + DELTAS);
        encode_form(delta_form, &deltas, &delta_extent, out);
    } else {
        out.u8(form);
        encode_form(form, values, &extent, out);
    }
}

fn encode_form(form: u8, values: &[i64], extent: &Extent, out: &mut Writer) {
    match form {
        RUNS => {
            for run in runs(values) {
                out.varint_i64(run[0]);
                out.len(run.len());
            }
        }
        VARINTS => values.iter().for_each(|value| out.varint_i64(*value)),
        _ => pack(values, extent, out),
    }
}

fn pack(values: &[i64], extent: &Extent, out: &mut Writer) {
    let width = extent.width();
    out.varint_i64(extent.least);
    out.u8(width as u8);
    let (mut bits, mut held) = (0u64, 0);
    for value in values {
        let above = value.wrapping_sub(extent.least).cast_unsigned();
        bits |= above << held;
        held += width;
        if held >= 64 {
            out.u64_le(bits);
            held -= 64;
            bits = above.checked_shr(width - held).unwrap_or(0);
        }
    }
    out.raw(&bits.to_le_bytes()[..held.div_ceil(8) as usize]);
}

/// Reads a column value by value and keeps the first error: values mean nothing after that.
#[derive(Clone, Debug)]
pub(crate) struct Ints<'a> {
    form: u8,
    is_delta: bool,
    input: Input<'a>,
    last: i64,
    /// The value of a run, or the least of what is packed.
    value: i64,
    /// What is left of a run.
    left: u64,
    width: u32,
    bits: u128,
    held: u32,
}

impl<'a> Ints<'a> {
    /// A reader of what [`encode_ints`] wrote, without its length.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let mut input = Input::new(bytes);
        let code = input.u8();
        let (form, is_delta) = (code & !DELTAS, code & DELTAS != 0);
        let (mut value, mut width) = (0, 0);
        input.ensure(form <= PACKED, "column form");
        if form == PACKED {
            value = input.varint_i64();
            width = u32::from(input.u8());
            if width > 64 {
                width = input.refuse("column width");
            }
        }
        Self { form, is_delta, input, last: 0, value, left: 0, width, bits: 0, held: 0 }
    }

    /// The next value.
    pub(crate) fn next(&mut self) -> i64 {
        let value = match self.form {
            RUNS => {
                if self.left == 0 {
                    self.value = self.input.varint_i64();
                    self.left = self.input.varint();
                }
                self.left = self.input.some(self.left.checked_sub(1), "empty run");
                self.value
            }
            VARINTS => self.input.varint_i64(),
            _ => self.unpack(),
        };
        self.last = if self.is_delta { self.last.wrapping_add(value) } else { value };
        self.last
    }

    /// The next value, or 0 if it is not a number of this type; an error then.
    pub(crate) fn next_as<T: TryFrom<i64> + Default>(&mut self) -> T {
        T::try_from(self.next()).unwrap_or_else(|_| self.input.out_of_range())
    }

    fn unpack(&mut self) -> i64 {
        while self.held < self.width {
            self.bits |= u128::from(self.input.u8()) << self.held;
            self.held += 8;
        }
        let mask = (1u128 << self.width) - 1;
        let above = (self.bits & mask) as u64;
        self.bits >>= self.width;
        self.held -= self.width;
        self.value.wrapping_add(above.cast_signed())
    }

    /// What it reads from, which has the first error.
    pub(crate) fn input(&self) -> &Input<'a> {
        &self.input
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::DecodeError;

    fn encoded(values: &[i64]) -> Vec<u8> {
        let mut out = Writer::new();
        encode_ints(values, &mut out);
        let mut input = Input::new(out.as_slice());
        let column = input.bytes().to_vec();
        assert_eq!(input.finish(), Ok(()));
        column
    }

    #[test]
    fn what_repeats_or_counts_takes_a_few_bytes() {
        assert!(encoded(&[7; 1_000]).len() <= 5);
        assert!(encoded(&(100..1_100).collect::<Vec<_>>()).len() <= 7);
        let bools: Vec<i64> = (0..1_000).map(|i| i64::from(i % 3 == 0)).collect();
        assert!(encoded(&bools).len() <= 130);
    }

    #[test]
    fn packed_values_are_as_wide_as_they_are_apart() {
        let values: Vec<i64> = (0..16).map(|i| -1_000 - i * 7 % 16).collect();
        assert_eq!(encoded(&values).len(), 1 + 2 + 1 + 8);
        assert_eq!(encoded(&values)[0], PACKED);
    }

    #[test]
    fn one_large_value_does_not_widen_the_others() {
        let mut values: Vec<i64> = (0..100).map(|i| i * 7 % 31).collect();
        values[50] = 1 << 40;
        assert!(encoded(&values).len() <= 110);
    }

    #[test]
    fn a_column_of_no_known_form_is_refused() {
        assert_eq!(Ints::new(&[3]).input().result(), Err(DecodeError::Invalid("column form")));
        let too_wide = Ints::new(&[PACKED, 0, 65]);
        assert_eq!(too_wide.input().result(), Err(DecodeError::Invalid("column width")));
        let mut empty_run = Ints::new(&[RUNS, 2, 0]);
        assert_eq!(empty_run.input().result(), Ok(()));
        empty_run.next();
        assert_eq!(empty_run.input().result(), Err(DecodeError::Invalid("empty run")));
    }

    /// How long the values are in each form, by its definition.
    fn lens(values: &[i64]) -> [usize; 3] {
        let varint = |value: u64| (64 - value.leading_zeros() as usize).div_ceil(7).max(1);
        let run = |run: &[i64]| varint(zigzag(run[0])) + varint(run.len() as u64);
        let least = values.iter().copied().min().unwrap_or(0);
        let above = values.iter().map(|value| value.wrapping_sub(least).cast_unsigned());
        let width = 64 - above.max().unwrap_or(0).leading_zeros() as usize;
        [
            values.chunk_by(|a, b| a == b).map(run).sum(),
            values.iter().map(|value| varint(zigzag(*value))).sum(),
            varint(zigzag(least)) + 1 + (values.len() * width).div_ceil(8),
        ]
    }

    /// The first of the forms in which values are shortest.
    fn expected(values: &[i64]) -> (u8, usize) {
        let mut deltas = values.to_vec();
        (1..values.len()).for_each(|i| deltas[i] = values[i].wrapping_sub(values[i - 1]));
        let all = (0..).zip(lens(values)).chain((DELTAS..).zip(lens(&deltas)));
        let (form, len) = all.min_by_key(|(_, len)| *len).expect("six forms");
        (form, 1 + len)
    }

    fn value() -> impl Strategy<Value = i64> {
        prop_oneof![any::<i64>(), -3i64..3, 1_000_000i64..1_000_100]
    }

    /// Values of all sorts, of a few bits, in runs, or in steps.
    fn column() -> impl Strategy<Value = Vec<i64>> {
        let runs = prop::collection::vec((value(), 1usize..40), 0..9);
        let repeated = |runs: Vec<(i64, usize)>| {
            runs.into_iter().flat_map(|(value, count)| vec![value; count]).collect()
        };
        let spread = (any::<i64>(), 0u32..65, prop::collection::vec(any::<u64>(), 0..80));
        let of_width = |(least, width, values): (i64, u32, Vec<u64>)| {
            let above = |value: u64| value.checked_shr(64 - width).unwrap_or(0).cast_signed();
            values.into_iter().map(|value| least.wrapping_add(above(value))).collect()
        };
        let steps = (value(), -9i64..9, 0i64..80);
        let counted = |(from, step, count): (i64, i64, i64)| {
            (0..count).map(|i| from.wrapping_add(i * step)).collect()
        };
        prop_oneof![
            prop::collection::vec(value(), 0..80),
            runs.prop_map(repeated),
            spread.prop_map(of_width),
            steps.prop_map(counted),
        ]
    }

    proptest! {
        #[test]
        fn a_column_is_in_its_shortest_form(values in column()) {
            let bytes = encoded(&values);
            prop_assert_eq!((bytes[0], bytes.len()), expected(&values));
        }

        #[test]
        fn columns_read_back(values in column()) {
            let bytes = encoded(&values);
            let mut read = Ints::new(&bytes);
            for value in values {
                prop_assert_eq!(read.next(), value);
            }
            prop_assert_eq!(read.input().result(), Ok(()));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut read = Ints::new(&bytes);
            for _ in 0..100 {
                read.next();
            }
        }
    }
}
