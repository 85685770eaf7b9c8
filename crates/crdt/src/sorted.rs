//! Numbers in the order of what they stand for: names and containers, looked up by what they are.

use std::cmp::Ordering;

use crate::search::Search;

/// How many numbers lie together at the most.
const CHUNK_MAX: usize = if cfg!(test) { 8 } else { 256 };

/// Numbers lie in sorted chunks, so that an insertion anywhere moves few of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sorted {
    /// None is empty.
    chunks: Vec<Vec<u32>>,
}

/// Where a number belongs: the chunk, and its place there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place(usize, usize);

impl Sorted {
    pub(crate) const fn new() -> Self {
        Self { chunks: Vec::new() }
    }

    /// The number of what is looked for, or where it belongs. `compare` tells how what a number
    /// stands for compares with that.
    pub(crate) fn find(&self, compare: &dyn Fn(u32) -> Ordering) -> Result<u32, Place> {
        let after = self.chunks.count_while(|chunk| compare(chunk[0]).is_le());
        let at = after.saturating_sub(1);
        let Some(chunk) = self.chunks.get(at) else { return Err(Place(0, 0)) };
        match chunk.binary_search_by(|number| compare(*number)) {
            Ok(found) => Ok(chunk[found]),
            Err(place) => Err(Place(at, place)),
        }
    }

    /// Puts a number where [`Sorted::find`] said that it belongs.
    pub(crate) fn insert(&mut self, Place(at, place): Place, number: u32) {
        let Some(chunk) = self.chunks.get_mut(at) else { return self.chunks.push(vec![number]) };
        if place == CHUNK_MAX {
            return self.chunks.insert(at + 1, vec![number]);
        }
        chunk.insert(place, number);
        if chunk.len() > CHUNK_MAX {
            let right = chunk.split_off(CHUNK_MAX / 2);
            self.chunks.insert(at + 1, right);
        }
    }

    /// All of them, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &u32> {
        self.chunks.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_are_found_and_told_in_the_order_of_what_they_stand_for(
            words in prop::collection::vec(0u32..300, 0..200),
            ascends in any::<bool>(),
        ) {
            let words = if ascends { (0..words.len() as u32).collect() } else { words };
            let (mut sorted, mut list) = (Sorted::new(), Vec::<u32>::new());
            for word in &words {
                let found = sorted.find(&|number| list[number as usize].cmp(word));
                let known = list.iter().position(|other| other == word);
                prop_assert_eq!(found.ok(), known.map(|at| at as u32));
                if let Err(place) = found {
                    sorted.insert(place, list.len() as u32);
                    list.push(*word);
                }
            }
            prop_assert!(sorted.chunks.iter().all(|chunk| (1..=CHUNK_MAX).contains(&chunk.len())));
            let told: Vec<u32> = sorted.iter().map(|number| list[*number as usize]).collect();
            list.sort_unstable();
            prop_assert_eq!(told, list);
        }
    }
}
