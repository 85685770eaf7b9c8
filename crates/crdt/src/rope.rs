//! Plain text in chunks: the present state of a [`crate::Text`], with no trace of who wrote it.
//!
//! A chunk is a gap buffer, so typing at one place moves no bytes; a [`SumTree`] over the chunks
//! finds positions counted in Unicode scalars, UTF-16 code units or bytes.

use crate::pool::Pool;
use crate::sum_tree::{SumTree, Widths};

/// The largest chunk, in bytes. Small in tests, so that short texts have several.
const CHUNK_BYTES_MAX: usize = if cfg!(test) { 24 } else { 1024 };

const SCALARS: usize = 0;
const UTF16: usize = 1;
const BYTES: usize = 2;

/// Bytes with a gap: the text is what stands before and after it.
#[derive(Clone, Debug, Default)]
struct Chunk {
    bytes: Vec<u8>,
    gap_start: usize,
    gap_end: usize,
    /// Scalars before the gap, so that typing on finds its place at once.
    gap_scalars: u32,
    widths: Widths,
}

/// What a text measures: scalars, UTF-16 code units, bytes.
pub(crate) fn measure(text: &str) -> Widths {
    if text.is_ascii() {
        return [text.len() as u32; 3];
    }
    let mut widths = [0, 0, text.len() as u32];
    for byte in text.bytes() {
        // A scalar starts at each byte that is no continuation; from U+10000 on it takes two units.
        widths[SCALARS] += u32::from(byte & 0xc0 != 0x80);
        widths[UTF16] += u32::from(byte & 0xc0 != 0x80) + u32::from(byte >= 0xf0);
    }
    widths
}

/// The byte offset of the scalar `count` of `text`, or its length.
pub(crate) fn byte_of_scalar(text: &str, count: usize) -> usize {
    if text.is_ascii() {
        return count.min(text.len());
    }
    text.char_indices().nth(count).map_or(text.len(), |(at, _)| at)
}

/// Cuts a text in two at a byte that starts a scalar. Slicing would say more about where it went
/// wrong, in five kilobytes of WebAssembly.
pub(crate) fn cut(text: &str, at: usize) -> (&str, &str) {
    text.split_at_checked(at).expect("texts are cut between scalars")
}

/// Cuts a text in two before the scalar `count`.
pub(crate) fn cut_at_scalar(text: &str, count: usize) -> (&str, &str) {
    cut(text, byte_of_scalar(text, count))
}

fn as_text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_else(|_| unreachable!("chunks are cut at scalars"))
}

impl Chunk {
    fn of(text: &str, widths: Widths) -> Self {
        let bytes = text.as_bytes().to_vec();
        let len = bytes.len();
        Self { bytes, gap_start: len, gap_end: len, gap_scalars: widths[SCALARS], widths }
    }

    fn len(&self) -> usize {
        self.widths[BYTES] as usize
    }

    fn is_ascii(&self) -> bool {
        self.widths[SCALARS] == self.widths[BYTES]
    }

    fn parts(&self) -> [&str; 2] {
        [as_text(&self.bytes[..self.gap_start]), as_text(&self.bytes[self.gap_end..])]
    }

    /// The byte offset, gap not counted, of a scalar in this chunk.
    fn byte_of(&self, scalar: u32) -> usize {
        if self.is_ascii() {
            return scalar as usize;
        }
        if scalar == self.gap_scalars {
            return self.gap_start;
        }
        let [left, right] = self.parts();
        match scalar.checked_sub(self.gap_scalars) {
            None => byte_of_scalar(left, scalar as usize),
            Some(after) => self.gap_start + byte_of_scalar(right, after as usize),
        }
    }

    /// Moves the gap to a scalar and makes it at least `room` bytes long.
    #[inline]
    fn open_gap(&mut self, scalar: u32, room: usize) {
        // Who types on finds it there.
        if scalar != self.gap_scalars || self.gap_end - self.gap_start < room {
            self.move_gap(scalar, room);
        }
    }

    #[inline(never)]
    fn move_gap(&mut self, scalar: u32, room: usize) {
        let at = self.byte_of(scalar);
        let gap = self.gap_end - self.gap_start;
        if at < self.gap_start {
            self.bytes.copy_within(at..self.gap_start, at + gap);
        } else if at > self.gap_start {
            self.bytes.copy_within(self.gap_end..at + gap, self.gap_start);
        }
        (self.gap_start, self.gap_end, self.gap_scalars) = (at, at + gap, scalar);
        if gap < room {
            let wanted = (self.len() + room).max(2 * self.bytes.len()).min(CHUNK_BYTES_MAX);
            let tail = self.bytes.len() - self.gap_end;
            let old_end = self.gap_end;
            let wanted = wanted.max(self.len() + room);
            // Exactly: left to itself, the vector would double beyond what a chunk can hold.
            self.bytes.reserve_exact(wanted - self.bytes.len());
            self.bytes.resize(wanted, 0);
            self.gap_end = self.bytes.len() - tail;
            self.bytes.copy_within(old_end..old_end + tail, self.gap_end);
        }
    }

    /// Inserts at the gap, which has room for it.
    fn insert_at_gap(&mut self, text: &str, widths: Widths) {
        let end = self.gap_start + text.len();
        // Mostly it is one letter, which needs no call.
        match *text.as_bytes() {
            [byte] => self.bytes[self.gap_start] = byte,
            ref bytes => self.bytes[self.gap_start..end].copy_from_slice(bytes),
        }
        self.gap_start = end;
        self.gap_scalars += widths[SCALARS];
        for (sum, width) in self.widths.iter_mut().zip(widths) {
            *sum += width;
        }
    }

    /// Widens the gap to the right by `scalars`; appends what stood there to `gone` if it is given.
    fn delete_at_gap(&mut self, scalars: u32, gone: Option<&mut String>) {
        let is_ascii = self.is_ascii();
        let len = if is_ascii {
            scalars as usize
        } else {
            byte_of_scalar(as_text(&self.bytes[self.gap_end..]), scalars as usize)
        };
        let bytes = &self.bytes[self.gap_end..self.gap_end + len];
        self.gap_end += len;
        let widths = if is_ascii { [scalars; 3] } else { measure(as_text(bytes)) };
        for (sum, width) in self.widths.iter_mut().zip(widths) {
            *sum -= width;
        }
        if let Some(gone) = gone {
            gone.push_str(as_text(bytes));
        }
    }

    /// Gives back the gap, and whatever room there is besides.
    fn shrink_to_fit(&mut self) {
        self.open_gap(self.widths[SCALARS], 0);
        self.bytes.truncate(self.gap_start);
        self.gap_end = self.gap_start;
        self.bytes.shrink_to_fit();
    }

    /// Cuts everything from the gap on off.
    fn split_at_gap(&mut self) -> Self {
        let right = as_text(&self.bytes[self.gap_end..]);
        let left_scalars = self.gap_scalars;
        let mut widths = [self.widths[SCALARS] - left_scalars; 3];
        widths[BYTES] = right.len() as u32;
        if self.widths[UTF16] != self.widths[SCALARS] {
            widths[UTF16] = measure(right)[UTF16];
        }
        let tail = Self::of(right, widths);
        self.bytes.truncate(self.gap_start);
        self.gap_end = self.gap_start;
        for (sum, width) in self.widths.iter_mut().zip(widths) {
            *sum -= width;
        }
        tail
    }
}

/// The chunk of the last edit. What it grew by since it was found is not in the tree yet: most
/// edits are where the last one was.
#[derive(Clone, Debug, Default)]
struct Last {
    leaf: u32,
    /// The sums before it.
    before: Widths,
    /// What the tree takes it to measure.
    noted: Widths,
}

/// A text that is edited at positions. Positions count Unicode scalars and must be in range.
#[derive(Clone, Debug)]
pub(crate) struct Rope {
    tree: SumTree,
    chunks: Pool<Chunk>,
    last: Last,
}

impl Default for Rope {
    fn default() -> Self {
        let (tree, chunks) = (SumTree::default(), Pool(vec![Chunk::default()]));
        Self { tree, chunks, last: Last::default() }
    }
}

impl std::fmt::Display for Rope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.pieces_from(self.tree.first()).try_for_each(|piece| f.write_str(piece))
    }
}

impl Rope {
    pub(crate) fn from_text(text: &str) -> Self {
        let mut rope = Self::default();
        rope.insert(0, text, measure(text));
        rope
    }

    /// Scalars, UTF-16 code units, bytes.
    pub(crate) fn widths(&self) -> Widths {
        let (total, grown) = (self.tree.total(), self.grown());
        [0, 1, 2].map(|measure| total[measure].wrapping_add(grown[measure]))
    }

    /// The number of scalars.
    pub(crate) fn len(&self) -> usize {
        self.widths()[SCALARS] as usize
    }

    /// What the tree does not know of the last chunk; it wraps around if it became shorter.
    fn grown(&self) -> Widths {
        let (widths, noted) = (self.chunks[self.last.leaf].widths, self.last.noted);
        [0, 1, 2].map(|measure| widths[measure].wrapping_sub(noted[measure]))
    }

    /// As [`SumTree::find`].
    fn find(&self, measure: usize, pos: u32, touching: bool) -> (u32, Widths) {
        let Last { leaf, before, .. } = self.last;
        let start = before[measure];
        if pos < start || (touching && pos == start && start > 0) {
            return self.tree.find(measure, pos, touching);
        }
        let end = start + self.chunks[leaf].widths[measure];
        if pos < end || (touching && pos == end) {
            return (leaf, before);
        }
        let grown = self.grown();
        let pos = pos.wrapping_sub(grown[measure]);
        let (leaf, before) = self.tree.find(measure, pos, touching);
        if leaf == self.last.leaf {
            return (leaf, before);
        }
        (leaf, [0, 1, 2].map(|measure| before[measure].wrapping_add(grown[measure])))
    }

    /// Goes on in another chunk: the tree is told what the last one measures.
    fn move_to(&mut self, leaf: u32, before: Widths) {
        let grown = self.grown();
        if grown != [0; 3] {
            self.tree.change(self.last.leaf, grown);
        }
        self.last = Last { leaf, before, noted: self.chunks[leaf].widths };
    }

    pub(crate) fn text(&self) -> String {
        let mut out = String::with_capacity(self.widths()[BYTES] as usize);
        self.pieces_from(self.tree.first()).for_each(|piece| out.push_str(piece));
        out
    }

    fn pieces_from(&self, leaf: u32) -> impl Iterator<Item = &str> {
        let (mut leaf, mut later) = (Some(leaf), None);
        std::iter::from_fn(move || {
            later.take().or_else(|| {
                let [first, second] = self.chunks[leaf?].parts();
                (leaf, later) = (self.tree.next(leaf?), Some(second));
                Some(first)
            })
        })
    }

    /// Appends the scalars from `start` to `end` (exclusive) to `out`.
    pub(crate) fn slice(&self, start: usize, end: usize, out: &mut String) {
        let (start, end) = (start.min(self.len()) as u32, end.min(self.len()) as u32);
        if start >= end {
            return;
        }
        let (leaf, before) = self.find(SCALARS, start, false);
        let mut skip = (start - before[SCALARS]) as usize;
        let mut left = (end - start) as usize;
        for piece in self.pieces_from(leaf) {
            let (_, rest) = cut_at_scalar(piece, skip);
            if rest.is_empty() {
                skip -= measure(piece)[SCALARS] as usize;
                continue;
            }
            skip = 0;
            let (wanted, tail) = cut_at_scalar(rest, left);
            out.push_str(wanted);
            if !tail.is_empty() {
                return;
            }
            left -= measure(rest)[SCALARS] as usize;
            if left == 0 {
                return;
            }
        }
    }

    /// The scalar position of a UTF-16 offset; inside a surrogate pair counts as before it.
    pub(crate) fn utf16_to_scalar(&self, utf16: usize) -> usize {
        let [scalars, units, _] = self.widths();
        let unit = utf16.min(units as usize) as u32;
        if scalars == units {
            return unit as usize;
        }
        let (leaf, before) = self.find(UTF16, unit, true);
        let (mut unit, mut scalar) = (unit - before[UTF16], before[SCALARS] as usize);
        for c in self.chunks[leaf].parts().into_iter().flat_map(str::chars) {
            if unit < c.len_utf16() as u32 {
                break;
            }
            unit -= c.len_utf16() as u32;
            scalar += 1;
        }
        scalar
    }

    /// The UTF-16 offset of a scalar position.
    pub(crate) fn scalar_to_utf16(&self, scalar: usize) -> usize {
        let [scalars, units, _] = self.widths();
        let scalar = scalar.min(scalars as usize) as u32;
        if scalars == units {
            return scalar as usize;
        }
        let (leaf, before) = self.find(SCALARS, scalar, true);
        let chars = self.chunks[leaf].parts().into_iter().flat_map(str::chars);
        let head = chars.take((scalar - before[SCALARS]) as usize);
        before[UTF16] as usize + head.map(char::len_utf16).sum::<usize>()
    }

    /// The chunk where an edit at `pos` takes place, which is the last one then, and where in it.
    fn locate(&mut self, pos: u32) -> (u32, u32) {
        let Last { leaf, before, .. } = self.last;
        let start = before[SCALARS];
        // A position at a chunk's start belongs to the one before, except at the text's start.
        let is_here = (pos > start || (pos == 0 && start == 0))
            && pos <= start + self.chunks[leaf].widths[SCALARS];
        if is_here { (leaf, pos - start) } else { self.look_up(pos) }
    }

    #[inline(never)]
    fn look_up(&mut self, pos: u32) -> (u32, u32) {
        let (leaf, before) = self.find(SCALARS, pos, true);
        self.move_to(leaf, before);
        (leaf, pos - before[SCALARS])
    }

    /// Inserts a text that measures so much.
    pub(crate) fn insert(&mut self, pos: usize, text: &str, widths: Widths) {
        let (leaf, offset) = self.locate(pos as u32);
        let chunk = &mut self.chunks[leaf];
        if chunk.len() + text.len() <= CHUNK_BYTES_MAX {
            chunk.open_gap(offset, text.len());
            chunk.insert_at_gap(text, widths);
            return;
        }
        chunk.open_gap(offset, 0);
        let tail = chunk.split_at_gap();
        let last = self.append_after(leaf, text);
        if tail.len() > 0 {
            self.add_chunk(last, tail);
        }
    }

    /// Puts text after what the last chunk holds, into it as far as it fits, then into new ones.
    fn append_after(&mut self, leaf: u32, text: &str) -> u32 {
        let mut leaf = leaf;
        let chunk = &mut self.chunks[leaf];
        let (head, mut rest) = cut(text, text.floor_char_boundary(CHUNK_BYTES_MAX - chunk.len()));
        if !head.is_empty() {
            chunk.open_gap(chunk.widths[SCALARS], head.len());
            chunk.insert_at_gap(head, measure(head));
        }
        while !rest.is_empty() {
            // Not quite full, so that typing inside does not split at once.
            let take = rest.floor_char_boundary(CHUNK_BYTES_MAX * 7 / 8);
            let (head, tail) = cut(rest, take);
            leaf = self.add_chunk(leaf, Chunk::of(head, measure(head)));
            rest = tail;
        }
        leaf
    }

    fn add_chunk(&mut self, after: u32, chunk: Chunk) -> u32 {
        let leaf = self.tree.insert_after(after, chunk.widths);
        if leaf as usize == self.chunks.len() {
            self.chunks.push(chunk);
        } else {
            self.chunks[leaf] = chunk;
        }
        leaf
    }

    /// Gives back the room that editing left in the chunks.
    pub(crate) fn shrink_to_fit(&mut self) {
        self.chunks.iter_mut().for_each(Chunk::shrink_to_fit);
        self.chunks.shrink_to_fit();
    }

    /// Deletes `len` scalars; appends them to `gone` if it is given.
    pub(crate) fn delete(&mut self, pos: usize, len: usize, mut gone: Option<&mut String>) {
        let (pos, mut left) = (pos as u32, len as u32);
        while left > 0 {
            let (mut leaf, mut offset) = self.locate(pos);
            let widths = self.chunks[leaf].widths;
            if offset == widths[SCALARS] {
                // At a chunk's end: what is to be deleted starts with the next.
                let before = self.last.before;
                (leaf, offset) = (self.tree.next(leaf).expect("the range is in the text"), 0);
                self.move_to(leaf, [0, 1, 2].map(|measure| before[measure] + widths[measure]));
            }
            let chunk = &mut self.chunks[leaf];
            let here = left.min(chunk.widths[SCALARS] - offset);
            chunk.open_gap(offset, 0);
            chunk.delete_at_gap(here, gone.as_deref_mut());
            left -= here;
            if chunk.len() <= CHUNK_BYTES_MAX / 4 {
                self.shrink(leaf);
            }
        }
    }

    /// Removes the last chunk if it is empty, or joins it, which is small, with the next.
    fn shrink(&mut self, leaf: u32) {
        let len = self.chunks[leaf].len();
        if len == 0 && self.tree.first() != self.tree.last() {
            self.tree.remove(leaf);
            self.chunks[leaf] = Chunk::default();
            let first = self.tree.first();
            let noted = self.chunks[first].widths;
            self.last = Last { leaf: first, before: [0; 3], noted };
            return;
        }
        let Some(next) = self.tree.next(leaf) else { return };
        if len + self.chunks[next].len() > CHUNK_BYTES_MAX / 2 {
            return;
        }
        self.tree.remove(next);
        let right = std::mem::take(&mut self.chunks[next]);
        let chunk = &mut self.chunks[leaf];
        chunk.open_gap(chunk.widths[SCALARS], right.len());
        let [a, b] = right.parts();
        chunk.insert_at_gap(a, measure(a));
        chunk.insert_at_gap(b, measure(b));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A rope is a string, however it is cut into chunks.
        #[test]
        fn it_edits_as_a_string_does(
            steps in prop::collection::vec(
                (any::<prop::sample::Index>(), 0usize..40, "[a-zé😀]{0,60}"), 1..60),
        ) {
            let (mut rope, mut chars) = (Rope::default(), Vec::<char>::new());
            for (at, len, text) in steps {
                let pos = at.index(chars.len() + 1);
                let len = len.min(chars.len() - pos);
                let mut gone = String::new();
                rope.delete(pos, len, Some(&mut gone));
                let expected: String = chars.drain(pos..pos + len).collect();
                prop_assert_eq!(gone, expected);
                if len % 4 == 0 {
                    rope.shrink_to_fit();
                    prop_assert!(rope.chunks.iter().all(|chunk| chunk.bytes.len() == chunk.len()));
                }
                rope.insert(pos, &text, measure(&text));
                chars.splice(pos..pos, text.chars());
                let whole: String = chars.iter().collect();
                prop_assert_eq!(rope.text(), whole.clone());
                prop_assert_eq!(rope.to_string(), whole.clone());
                prop_assert_eq!(rope.widths(), measure(&whole));
                prop_assert!(rope.chunks.iter().all(|chunk| chunk.len() <= CHUNK_BYTES_MAX));
                let (mut out, end) = (String::new(), (pos + 7).min(chars.len()));
                rope.slice(pos, end, &mut out);
                prop_assert_eq!(out, chars[pos..end].iter().collect::<String>());
                let mut unit = 0;
                for (i, c) in chars.iter().enumerate() {
                    prop_assert_eq!(rope.scalar_to_utf16(i), unit);
                    prop_assert_eq!(rope.utf16_to_scalar(unit), i);
                    prop_assert_eq!(rope.utf16_to_scalar(unit + c.len_utf16() - 1), i);
                    unit += c.len_utf16();
                }
                prop_assert_eq!(rope.utf16_to_scalar(unit), chars.len());
            }
            prop_assert_eq!(Rope::from_text(&rope.text()).text(), rope.text());
        }
    }
}
