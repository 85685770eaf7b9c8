//! The one map of numbers to numbers: whatever it is from and to, it is compiled once.

use crate::codec::Writer;
use crate::search::Search;

/// How many entries lie together at the most.
const CHUNK_MAX: usize = 128;

/// A map in order of its keys. Entries lie in sorted chunks, so that an insertion anywhere moves
/// few of them; nothing is ever taken out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Numbers {
    /// None is empty.
    chunks: Vec<Vec<(u64, u64)>>,
    len: usize,
}

impl Numbers {
    pub(crate) const fn new() -> Self {
        Self { chunks: Vec::new(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The chunk that has a key, and where in it the key is or belongs.
    fn find(&self, key: u64) -> Option<(usize, Result<usize, usize>)> {
        let after = self.chunks.count_while(|chunk| chunk[0].0 <= key);
        let at = after.saturating_sub(1);
        Some((at, self.chunks.get(at)?.binary_search_by(|(other, _)| other.cmp(&key))))
    }

    pub(crate) fn get(&self, key: u64) -> Option<u64> {
        match self.find(key) {
            Some((chunk, Ok(at))) => Some(self.chunks[chunk][at].1),
            _ => None,
        }
    }

    /// Puts a number under a key; says whether there was none.
    pub(crate) fn insert(&mut self, key: u64, number: u64) -> bool {
        let held = self.hold(key, number);
        let is_new = held.is_none();
        if let Some(held) = held {
            *held = number;
        }
        is_new
    }

    /// The number under a key; if there is none, `number` is put there and nothing returned.
    fn hold(&mut self, key: u64, number: u64) -> Option<&mut u64> {
        let Some((index, place)) = self.find(key) else {
            self.chunks.push(vec![(key, number)]);
            self.len = 1;
            return None;
        };
        let chunk = &mut self.chunks[index];
        match place {
            Ok(at) => return Some(&mut self.chunks[index][at].1),
            Err(CHUNK_MAX) => self.chunks.insert(index + 1, vec![(key, number)]),
            Err(at) => {
                chunk.insert(at, (key, number));
                if chunk.len() > CHUNK_MAX {
                    let right = chunk.split_off(CHUNK_MAX / 2);
                    self.chunks.insert(index + 1, right);
                }
            }
        }
        self.len += 1;
        None
    }

    /// The entries from a key on.
    pub(crate) fn from(&self, key: u64) -> impl Iterator<Item = (u64, u64)> {
        let (mut chunk, place) = self.find(key).unwrap_or((0, Ok(0)));
        let (Ok(mut at) | Err(mut at)) = place;
        std::iter::from_fn(move || {
            if at == self.chunks.get(chunk)?.len() {
                (chunk, at) = (chunk + 1, 0);
            }
            at += 1;
            self.chunks.get(chunk)?.get(at - 1).copied()
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.from(0)
    }
}

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
    numbers.get(key).map(|number| number as u32)
}

/// The number under a key, and whether it is new: keys are numbered in order of first use.
pub(crate) fn number(numbers: &mut Numbers, key: u64) -> (usize, bool) {
    let new = numbers.len();
    match numbers.hold(key, new as u64) {
        Some(number) => (*number as usize, false),
        None => (new, true),
    }
}

/// Appends how many there are, and each key with its number.
pub(crate) fn encode_numbers(numbers: &Numbers, out: &mut Writer) {
    out.len(numbers.len());
    for (key, number) in numbers.iter() {
        out.varint(key);
        out.varint(number);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_added_at_the_end_fills_chunks_and_what_is_added_between_halves_them() {
        let mut numbers = Numbers::new();
        let lens = |numbers: &Numbers| numbers.chunks.iter().map(Vec::len).collect::<Vec<_>>();
        (0..300).for_each(|key| _ = numbers.insert(2 * key, 0));
        assert_eq!(lens(&numbers), [128, 128, 44]);
        numbers.insert(1, 0);
        assert_eq!(lens(&numbers), [64, 65, 128, 44]);
    }

    proptest! {
        #[test]
        fn it_holds_what_a_map_holds(
            runs in prop::collection::vec((0u64..2_000, 1u64..200, any::<bool>()), 1..12),
        ) {
            let (mut numbers, mut expected) = (Numbers::new(), BTreeMap::new());
            for (start, len, ascends) in runs {
                for i in 0..len {
                    let key = if ascends { start + i } else { start + len - i };
                    let was_new = expected.insert(key, start).is_none();
                    prop_assert_eq!(numbers.insert(key, start), was_new);
                }
            }
            prop_assert_eq!(numbers.len(), expected.len());
            for key in 0..2_300 {
                prop_assert_eq!(numbers.get(key), expected.get(&key).copied());
            }
            prop_assert!(numbers.iter().eq(expected));
        }
    }
}
