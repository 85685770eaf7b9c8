//! Which leaf of a tracker each character is in, by the character's id.
//!
//! Ids are operations' numbers, so they lie close together: pages of an array answer at once.

/// Ids per page. Small in tests, so that short histories have several.
const PAGE_LEN: u32 = if cfg!(test) { 4 } else { 512 };

const NONE: u32 = u32::MAX;

#[derive(Clone, Debug, Default)]
pub(super) struct LeafMap {
    /// The number of the first page.
    first: u32,
    /// Pages of leaves; one in which nothing was set is empty.
    pages: Vec<Vec<u32>>,
}

impl LeafMap {
    pub(super) fn get(&self, id: u32) -> Option<u32> {
        let page = self.pages.get((id / PAGE_LEN).wrapping_sub(self.first) as usize)?;
        page.get((id % PAGE_LEN) as usize).copied().filter(|leaf| *leaf != NONE)
    }

    /// Puts the ids from `start` to `end` (exclusive) into a leaf.
    pub(super) fn set(&mut self, start: u32, end: u32, leaf: u32) {
        if self.pages.is_empty() {
            self.first = start / PAGE_LEN;
        }
        let before = self.first.saturating_sub(start / PAGE_LEN);
        if before > 0 {
            let later = std::mem::take(&mut self.pages);
            self.pages.resize_with(before as usize, Vec::new);
            self.pages.extend(later);
            self.first -= before;
        }
        let mut at = start;
        while at < end {
            let page = (at / PAGE_LEN - self.first) as usize;
            if self.pages.len() <= page {
                self.pages.resize_with(page + 1, Vec::new);
            }
            let page = &mut self.pages[page];
            if page.is_empty() {
                page.resize(PAGE_LEN as usize, NONE);
            }
            let (from, upto) = (at % PAGE_LEN, PAGE_LEN.min(at % PAGE_LEN + (end - at)));
            page[from as usize..upto as usize].fill(leaf);
            at += upto - from;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pages_begin_where_the_first_character_is() {
        let mut map = LeafMap::default();
        map.set(90 * PAGE_LEN + 1, 90 * PAGE_LEN + 3, 7);
        assert_eq!((map.first, map.pages.len()), (90, 1));
        map.set(88 * PAGE_LEN, 88 * PAGE_LEN + 1, 8);
        assert_eq!((map.first, map.pages.len()), (88, 3));
        assert!(map.pages[1].is_empty());
        assert_eq!((map.get(90 * PAGE_LEN + 2), map.get(88 * PAGE_LEN)), (Some(7), Some(8)));
    }

    proptest! {
        #[test]
        fn it_holds_what_an_array_holds(
            sets in prop::collection::vec((0u32..60, 1u32..20, 0u32..5), 1..40),
        ) {
            let (mut map, mut array) = (LeafMap::default(), vec![None; 100]);
            for (start, len, leaf) in sets {
                map.set(start, start + len, leaf);
                array[start as usize..(start + len) as usize].fill(Some(leaf));
                for (id, leaf) in (0..).zip(&array) {
                    prop_assert_eq!(map.get(id), *leaf);
                }
            }
        }
    }
}
