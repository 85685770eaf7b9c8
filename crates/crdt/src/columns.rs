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

fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// The bits that the values above `least` take each.
fn width_above(values: &[i64], least: i64) -> u32 {
    let above = values.iter().map(|value| value.wrapping_sub(least).cast_unsigned());
    64 - above.max().unwrap_or(0).leading_zeros()
}

fn least(values: &[i64]) -> i64 {
    values.iter().copied().min().unwrap_or(0)
}

/// The form in which these values are shortest, and how long they are in it.
fn shortest(values: &[i64]) -> (u8, usize) {
    let runs: usize = values
        .chunk_by(|a, b| a == b)
        .map(|run| varint_len(zigzag(run[0])) + varint_len(run.len() as u64))
        .sum();
    let varints = values.iter().map(|value| varint_len(zigzag(*value))).sum();
    let least = least(values);
    let bits = values.len() * width_above(values, least) as usize;
    let packed = varint_len(zigzag(least)) + 1 + bits.div_ceil(8);
    let mut shortest = (RUNS, runs);
    for form in [(VARINTS, varints), (PACKED, packed)] {
        if form.1 < shortest.1 {
            shortest = form;
        }
    }
    shortest
}

/// Appends a column.
pub(crate) fn encode_ints(values: &[i64], out: &mut Writer) {
    let mut before = 0;
    let since_before = |value: &i64| value.wrapping_sub(std::mem::replace(&mut before, *value));
    let deltas: Vec<i64> = values.iter().map(since_before).collect();
    let (plain, delta) = (shortest(values), shortest(&deltas));
    let is_delta = delta.1 < plain.1;
    let (form, values) = if is_delta { (delta.0, &deltas[..]) } else { (plain.0, values) };
    out.u8(form + if is_delta { DELTAS } else { 0 });
    match form {
        RUNS => {
            for run in values.chunk_by(|a, b| a == b) {
                out.varint_i64(run[0]);
                out.len(run.len());
            }
        }
        VARINTS => values.iter().for_each(|value| out.varint_i64(*value)),
        _ => pack(values, out),
    }
}

fn pack(values: &[i64], out: &mut Writer) {
    let least = least(values);
    let width = width_above(values, least);
    out.varint_i64(least);
    out.u8(width as u8);
    let (mut bits, mut held) = (0u128, 0);
    for value in values {
        bits |= u128::from(value.wrapping_sub(least).cast_unsigned()) << held;
        held += width;
        while held >= 8 {
            out.u8(bits as u8);
            bits >>= 8;
            held -= 8;
        }
    }
    if held > 0 {
        out.u8(bits as u8);
    }
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
    /// A reader of what [`encode_ints`] wrote; `bytes` is just that.
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
        out.into_vec()
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
        assert_eq!(shortest(&values), (PACKED, 2 + 1 + 8));
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

    fn value() -> impl Strategy<Value = i64> {
        prop_oneof![any::<i64>(), -3i64..3, 1_000_000i64..1_000_100]
    }

    proptest! {
        #[test]
        fn a_column_is_as_long_as_its_shortest_form(
            values in prop::collection::vec(value(), 0..80),
        ) {
            let mut deltas = values.clone();
            (1..values.len()).for_each(|i| deltas[i] = values[i].wrapping_sub(values[i - 1]));
            let (plain, delta) = (shortest(&values).1, shortest(&deltas).1);
            prop_assert_eq!(encoded(&values).len(), 1 + plain.min(delta));
        }

        #[test]
        fn columns_read_back(values in prop::collection::vec(value(), 0..80)) {
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
