//! A map from every integer to a value, stored as where the value changes.

use crate::search::Search;

/// Entries per chunk. Small in tests, so that short maps have several.
const CHUNK_LEN_MAX: usize = if cfg!(test) { 4 } else { 256 };

/// Which value holds from which key on. Keys below the first entry have none.
#[derive(Clone, Debug, Default)]
pub(crate) struct RangeMap {
    /// `(first key, value)`, ascending; no chunk is empty.
    chunks: Vec<Vec<(u32, u32)>>,
    /// The first key of each chunk, side by side for the search.
    firsts: Vec<u32>,
    /// The key after the greatest that was ever set.
    end: u32,
}

impl RangeMap {
    fn position(&self, key: u32) -> Option<(usize, usize)> {
        let chunk = self.firsts.count_while(|first| *first <= key).checked_sub(1)?;
        let entry = self.chunks[chunk].count_while(|(start, _)| *start <= key) - 1;
        Some((chunk, entry))
    }

    pub(crate) fn get(&self, key: u32) -> Option<u32> {
        let (chunk, entry) = self.position(key)?;
        Some(self.chunks[chunk][entry].1)
    }

    /// The range around a key that was set at once, as far as it holds, and its value.
    pub(crate) fn range_of(&self, key: u32) -> Option<(u32, u32, u32)> {
        let (chunk, entry) = self.position(key)?;
        let (start, value) = self.chunks[chunk][entry];
        let next = self.chunks[chunk].get(entry + 1);
        let next = next.or_else(|| self.chunks.get(chunk + 1)?.first());
        Some((start, next.map_or(u32::MAX, |(next, _)| *next), value))
    }

    /// Gives the keys from `start` to `end` (exclusive) this value.
    pub(crate) fn set(&mut self, start: u32, end: u32, value: u32) {
        let is_append = start >= self.end;
        self.end = self.end.max(end);
        // Mostly, keys are added at the end. What they hold further on is nobody's question.
        if is_append && let Some(last) = self.chunks.last_mut() {
            if last[last.len() - 1].1 != value {
                last.push((start, value));
                let chunk = self.chunks.len() - 1;
                self.split(chunk);
            }
            return;
        }
        self.cut_at(end);
        let (chunk, entry) = self.cut_at(start);
        self.chunks[chunk][entry].1 = value;
        self.remove_between(chunk, entry + 1, end);
        self.split(chunk);
    }

    /// Makes an entry start at `key`; returns its place.
    fn cut_at(&mut self, key: u32) -> (usize, usize) {
        let Some((chunk, entry)) = self.position(key) else {
            match self.chunks.first_mut() {
                Some(first) => {
                    first.insert(0, (key, u32::MAX));
                    self.firsts[0] = key;
                }
                None => {
                    self.chunks.push(vec![(key, u32::MAX)]);
                    self.firsts.push(key);
                }
            }
            return (0, 0);
        };
        let (start, value) = self.chunks[chunk][entry];
        if start == key {
            return (chunk, entry);
        }
        self.chunks[chunk].insert(entry + 1, (key, value));
        (chunk, entry + 1)
    }

    /// Removes the entries from a place on that start below `end`.
    fn remove_between(&mut self, chunk: usize, entry: usize, end: u32) {
        let here = &mut self.chunks[chunk];
        let upto = entry + here[entry..].count_while(|(start, _)| *start < end);
        let is_rest = upto == here.len();
        here.drain(entry..upto);
        if !is_rest {
            return;
        }
        let mut gone = chunk + 1;
        while self.chunks.get(gone).is_some_and(|chunk| chunk[chunk.len() - 1].0 < end) {
            gone += 1;
        }
        self.chunks.drain(chunk + 1..gone);
        self.firsts.drain(chunk + 1..gone);
        if let Some(next) = self.chunks.get_mut(chunk + 1) {
            let below = next.count_while(|(start, _)| *start < end);
            next.drain(..below);
            self.firsts[chunk + 1] = next[0].0;
        }
    }

    fn split(&mut self, chunk: usize) {
        if self.chunks[chunk].len() > CHUNK_LEN_MAX {
            let half = self.chunks[chunk].len() / 2;
            let tail = self.chunks[chunk].split_off(half);
            self.firsts.insert(chunk + 1, tail[0].0);
            self.chunks.insert(chunk + 1, tail);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_what_an_array_holds(
            sets in prop::collection::vec((0u32..60, 1u32..20, 0u32..5), 1..60),
        ) {
            let (mut map, mut array) = (RangeMap::default(), vec![None; 100]);
            for (start, len, value) in sets {
                map.set(start, start + len, value);
                array[start as usize..(start + len) as usize].fill(Some(value));
                for (key, value) in array.iter().enumerate().filter(|(_, value)| value.is_some()) {
                    let key = key as u32;
                    prop_assert_eq!(map.get(key), *value);
                    let (start, end, found) = map.range_of(key).unwrap();
                    prop_assert_eq!((Some(found), start <= key, key < end), (*value, true, true));
                    // Beyond what was ever set is nobody's question.
                    let range = &array[start as usize..array.len().min(end as usize)];
                    prop_assert!(range.iter().flatten().all(|value| *value == found));
                }
                prop_assert!(map.chunks.iter().all(|chunk| chunk.len() <= CHUNK_LEN_MAX + 2));
            }
        }
    }
}
