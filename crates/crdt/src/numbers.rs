//! The one map of numbers to numbers: whatever it is from and to, it is compiled once.

use std::collections::BTreeMap;

use crate::codec::Writer;

/// In order of the keys.
pub(crate) type Numbers = BTreeMap<u64, u64>;

/// Two numbers as one key, in the order of pairs.
pub(crate) fn pair(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// What [`pair`] made one of.
pub(crate) fn parts(pair: u64) -> (u32, u32) {
    ((pair >> 32) as u32, pair as u32)
}

/// The number under a key, which fits in 32 bits like all that this crate counts.
pub(crate) fn get(numbers: &Numbers, key: u64) -> Option<u32> {
    numbers.get(&key).map(|number| *number as u32)
}

/// The number under a key, and whether it is new: keys are numbered in order of first use.
pub(crate) fn number(numbers: &mut Numbers, key: u64) -> (usize, bool) {
    let new = numbers.len() as u64;
    match numbers.get(&key) {
        Some(number) => (*number as usize, false),
        None => {
            numbers.insert(key, new);
            (new as usize, true)
        }
    }
}

/// Appends how many there are, and each key with its number.
pub(crate) fn encode_numbers(numbers: &Numbers, out: &mut Writer) {
    out.len(numbers.len());
    for (key, number) in numbers {
        out.varint(*key);
        out.varint(*number);
    }
}
