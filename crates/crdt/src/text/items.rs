//! The sequence of items, in chunks that know how much text they show.
//!
//! Finding a position skips whole chunks, so an edit costs in proportion to the number of chunks
//! plus the size of one, not to the number of items.

use super::item::Item;
use crate::graph::View;
use crate::id::OpId;

/// Chunks are cut when they hold more items. Small in tests, so that short histories cut some.
const CHUNK_ITEMS_MAX: usize = if cfg!(test) { 4 } else { 128 };

#[derive(Clone, Debug, Default, PartialEq)]
struct Chunk {
    items: Vec<Item>,
    /// What the items show: scalars, and UTF-16 code units.
    len: u32,
    utf16_len: u32,
}

impl Chunk {
    fn of(items: Vec<Item>) -> Self {
        let len = items.iter().map(Item::visible_len).sum();
        let utf16_len = items.iter().map(Item::visible_utf16_len).sum();
        Self { items, len, utf16_len }
    }
}

/// A place in the sequence: places compare as they stand. Splitting and inserting moves later ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    chunk: usize,
    item: usize,
}

/// All items of a text, deleted ones included, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Items {
    chunks: Vec<Chunk>,
}

impl Items {
    pub(super) const fn new() -> Self {
        Self { chunks: Vec::new() }
    }

    pub(super) fn from_items(items: Vec<Item>) -> Self {
        let mut rest = items.into_iter();
        let mut chunks = Vec::new();
        loop {
            let items: Vec<Item> = rest.by_ref().take(CHUNK_ITEMS_MAX / 2).collect();
            if items.is_empty() {
                return Self { chunks };
            }
            chunks.push(Chunk::of(items));
        }
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Item> {
        self.chunks.iter().flat_map(|chunk| &chunk.items)
    }

    /// The items from a place on, each with its place.
    pub(super) fn iter_from(&self, at: At) -> impl Iterator<Item = (At, &Item)> {
        let chunks = self.chunks.iter().enumerate().skip(at.chunk);
        chunks.flat_map(move |(chunk, found)| {
            let first = if chunk == at.chunk { at.item } else { 0 };
            let items = found.items.iter().enumerate().skip(first);
            items.map(move |(item, found)| (At { chunk, item }, found))
        })
    }

    /// The items before a place, from the right.
    pub(super) fn iter_back_from(&self, at: At) -> impl Iterator<Item = &Item> {
        let own = self.chunks.get(at.chunk).map_or(&[][..], |chunk| &chunk.items[..at.item]);
        let earlier = self.chunks[..at.chunk.min(self.chunks.len())].iter().rev();
        own.iter().rev().chain(earlier.flat_map(|chunk| chunk.items.iter().rev()))
    }

    pub(super) fn get(&self, at: At) -> Option<&Item> {
        self.iter_from(at).next().map(|(_, item)| item)
    }

    /// The item left of a place.
    pub(super) fn before(&self, at: At) -> Option<&Item> {
        self.iter_back_from(at).next()
    }

    /// How many scalars are shown before a place.
    pub(super) fn shown_before(&self, at: At) -> u32 {
        let chunks = self.chunks.iter().take(at.chunk).map(|chunk| chunk.len);
        let own = self.chunks.get(at.chunk).map_or(&[][..], |chunk| &chunk.items[..at.item]);
        chunks.sum::<u32>() + own.iter().map(Item::visible_len).sum::<u32>()
    }

    /// The first item that can hold what `measure` counts to `target`, with the count before it.
    /// `measure` gives what a chunk or an item shows.
    fn seek(&self, target: u32, of: impl Fn(u32, u32) -> u32) -> Option<(At, u32)> {
        let mut before = 0;
        for (chunk, found) in self.chunks.iter().enumerate() {
            let whole = of(found.len, found.utf16_len);
            if before + whole <= target {
                before += whole;
                continue;
            }
            for (item, found) in found.items.iter().enumerate() {
                let len = of(found.visible_len(), found.visible_utf16_len());
                if before + len > target {
                    return Some((At { chunk, item }, before));
                }
                before += len;
            }
        }
        None
    }

    /// The item that shows the scalar at `pos`, and how many are shown before the item.
    pub(super) fn at_scalar(&self, pos: u32) -> Option<(At, u32)> {
        self.seek(pos, |len, _| len)
    }

    /// The item that shows the UTF-16 unit at `unit`, and how many units are shown before it.
    pub(super) fn at_utf16(&self, unit: u32) -> Option<(At, u32)> {
        self.seek(unit, |_, utf16_len| utf16_len)
    }

    /// How many UTF-16 units are shown before a place.
    pub(super) fn utf16_before(&self, at: At) -> u32 {
        let chunks = self.chunks.iter().take(at.chunk).map(|chunk| chunk.utf16_len);
        let own = self.chunks.get(at.chunk).map_or(&[][..], |chunk| &chunk.items[..at.item]);
        chunks.sum::<u32>() + own.iter().map(Item::visible_utf16_len).sum::<u32>()
    }

    /// The place right after the first `pos` characters of the text in `view`; cuts an item there.
    /// `None` if that text is shorter.
    pub(super) fn after(&mut self, pos: u32, view: &View) -> Option<At> {
        let mut remaining = pos;
        let mut at = At::default();
        while remaining > 0 {
            let chunk = self.chunks.get(at.chunk)?;
            if view.is_present() && at.item == 0 && chunk.len < remaining {
                remaining -= chunk.len;
                at = At { chunk: at.chunk + 1, item: 0 };
                continue;
            }
            let Some(item) = chunk.items.get(at.item) else {
                at = At { chunk: at.chunk + 1, item: 0 };
                continue;
            };
            if item.is_visible_in(view) {
                let taken = remaining.min(item.len);
                self.split(at, taken);
                remaining -= taken;
            }
            at.item += 1;
        }
        Some(at)
    }

    /// Steps over the end of a chunk to the start of the next.
    pub(super) fn normal(&self, at: At) -> At {
        match self.chunks.get(at.chunk) {
            Some(chunk) if at.item >= chunk.items.len() && at.chunk + 1 < self.chunks.len() => {
                At { chunk: at.chunk + 1, item: 0 }
            }
            _ => at,
        }
    }

    /// The place after the item at a place.
    pub(super) fn next(&self, at: At) -> At {
        self.normal(At { chunk: at.chunk, item: at.item + 1 })
    }

    /// Makes the item at a place end after `len` characters, if it is longer.
    pub(super) fn split(&mut self, at: At, len: u32) {
        let items = &mut self.chunks[at.chunk].items;
        if len < items[at.item].len {
            let tail = items[at.item].split_off(len);
            items.insert(at.item + 1, tail);
        }
    }

    /// Cuts every item that straddles the boundary of a version.
    pub(super) fn split_at_cuts(&mut self, view: &View) {
        if view.is_present() {
            return;
        }
        for chunk in 0..self.chunks.len() {
            let mut item = 0;
            while let Some(found) = self.chunks[chunk].items.get(item) {
                if let Some(len) = found.cut_by(view) {
                    self.split(At { chunk, item }, len);
                }
                item += 1;
            }
        }
    }

    /// Changes the item at a place, keeping the sums true.
    pub(super) fn update(&mut self, at: At, change: impl FnOnce(&mut Item)) {
        let chunk = &mut self.chunks[at.chunk];
        let item = &mut chunk.items[at.item];
        chunk.len -= item.visible_len();
        chunk.utf16_len -= item.visible_utf16_len();
        change(item);
        chunk.len += item.visible_len();
        chunk.utf16_len += item.visible_utf16_len();
    }

    /// Inserts items at a place; a single one that continues its left neighbour joins it.
    pub(super) fn insert(&mut self, at: At, new: Vec<Item>) {
        if self.chunks.is_empty() {
            self.chunks.push(Chunk::default());
        }
        // The end of a chunk and the start of the next are one place; the left one can join.
        let at = match at.chunk.checked_sub(1) {
            Some(chunk) if at.item == 0 => At { chunk, item: self.chunks[chunk].items.len() },
            _ => at,
        };
        let left = At { chunk: at.chunk, item: at.item.wrapping_sub(1) };
        let chunk = &mut self.chunks[at.chunk];
        match (chunk.items.get(left.item), new.as_slice()) {
            (Some(last), [only]) if last.is_continued_by(only) => self.update(left, |last| {
                last.len += only.len;
                last.content.push_str(only.content.as_str());
            }),
            _ => {
                chunk.len += new.iter().map(Item::visible_len).sum::<u32>();
                chunk.utf16_len += new.iter().map(Item::visible_utf16_len).sum::<u32>();
                chunk.items.splice(at.item..at.item, new);
            }
        }
    }

    /// Cuts chunks that have grown too large. Places do not survive this.
    pub(super) fn balance(&mut self) {
        for chunk in (0..self.chunks.len()).rev() {
            if self.chunks[chunk].items.len() > CHUNK_ITEMS_MAX {
                let whole = std::mem::take(&mut self.chunks[chunk].items);
                let parts = Self::from_items(whole).chunks;
                self.chunks.splice(chunk..=chunk, parts);
            }
        }
    }

    /// Where a character is: its item's place, and its offset in the item.
    pub(super) fn find(&self, id: OpId) -> Option<(At, u32)> {
        let mut items = self.iter_from(At::default());
        items.find_map(|(at, item)| Some((at, item.offset_of(id)?)))
    }
}
