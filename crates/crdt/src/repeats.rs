//! Texts in which long repeats are written once: what people cut, paste and undo comes back often,
//! and further back than the 32 KiB that a browser's own compression looks.
//!
//! | field | size | meaning |
//! |---|---|---|
//! | length | varint | bytes of the whole text |
//! | copies | varint | how many |
//! | three columns | bytes each | literals before each copy; its length; how far back it starts |
//! | literals | bytes | what is not a copy, in order |
//!
//! Repeats are found as in rsync (Tridgell and Mackerras, "The rsync algorithm", 1996, section 3):
//! blocks at fixed places are known by a hash that can be rolled over the text byte by byte.

use crate::codec::{DecodeError, Input, Writer};
use crate::columns::{Ints, encode_ints};

/// Shorter repeats stay: close ones compress as well, and others would take as much room.
const COPY_BYTES_MIN: usize = 32;

/// Any repeat of the least length has a whole block in it.
const BLOCK_BYTES: usize = COPY_BYTES_MIN / 2;

/// A text is at most so many times its encoding, and this much more: what repeats more is not
/// written as copies, so that no few bytes can claim to be very many.
const EXPANSION_MAX: usize = 1_024;
const EXPANSION_FREE: usize = 1 << 16;

const HASH_BASE: u32 = 0x0100_0193;

#[derive(Clone, Copy, Debug)]
struct Copy {
    at: usize,
    from: usize,
    len: usize,
}

fn hash(block: &[u8]) -> u32 {
    let add = |hash: u32, byte: &u8| hash.wrapping_mul(HASH_BASE).wrapping_add(u32::from(*byte));
    block.iter().fold(0, add)
}

/// The blocks at fixed places that were passed, by hash; of equal hashes, the last, and the first
/// of all where there is none.
struct Blocks {
    places: Vec<u32>,
    shift: u32,
}

impl Blocks {
    fn for_bytes(len: usize) -> Self {
        let slots = (len / BLOCK_BYTES * 2).next_power_of_two().max(2);
        Self { places: vec![0; slots], shift: 32 - slots.trailing_zeros() }
    }

    fn slot(&mut self, hash: u32) -> &mut u32 {
        let slot = hash.wrapping_mul(0x9e37_79b1) >> self.shift;
        &mut self.places[slot as usize]
    }
}

/// How many bytes two stretches have in common from their starts.
fn common(a: &[u8], b: &[u8]) -> usize {
    let words = a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0);
    let words = 8 * words.take_while(|(a, b)| a == b).count();
    words + a[words..].iter().zip(&b[words..]).take_while(|(a, b)| a == b).count()
}

fn find_copies(text: &[u8]) -> Vec<Copy> {
    let mut copies = Vec::new();
    if text.len() < COPY_BYTES_MIN {
        return copies;
    }
    let mut blocks = Blocks::for_bytes(text.len());
    let leaving = (1..BLOCK_BYTES).fold(1u32, |power, _| power.wrapping_mul(HASH_BASE));
    let (mut at, mut literal, mut rolled) = (0, 0, hash(&text[..BLOCK_BYTES]));
    loop {
        let known = *blocks.slot(rolled) as usize;
        // Whether the slot is in use cannot be foreseen, that what it says is not equal can: no
        // branch is taken on the former.
        let head = |place: usize| text[place..].first_chunk::<8>();
        let may_be = (known < at) & (head(known) == head(at));
        let found = may_be.then(|| extended(text, literal, known, at)).flatten();
        let mut next = at + 1;
        if let Some(copy) = found {
            copies.push(copy);
            next = copy.at + copy.len;
            literal = next;
        }
        if at.is_multiple_of(BLOCK_BYTES) {
            *blocks.slot(rolled) = at as u32;
        }
        let mut passed = (at + 1).next_multiple_of(BLOCK_BYTES);
        while passed < next {
            let Some(block) = text.get(passed..passed + BLOCK_BYTES) else { break };
            *blocks.slot(hash(block)) = passed as u32;
            passed += BLOCK_BYTES;
        }
        let Some(block) = text.get(next..next + BLOCK_BYTES) else { return copies };
        rolled = if next == at + 1 {
            let gone = u32::from(text[at]).wrapping_mul(leaving);
            let new = u32::from(block[BLOCK_BYTES - 1]);
            rolled.wrapping_sub(gone).wrapping_mul(HASH_BASE).wrapping_add(new)
        } else {
            hash(block)
        };
        at = next;
    }
}

/// The whole repeat around two equal blocks, back to `literal` at the most, if it is long enough.
fn extended(text: &[u8], literal: usize, known: usize, at: usize) -> Option<Copy> {
    let ahead = common(&text[known..], &text[at..]);
    if ahead < BLOCK_BYTES {
        return None;
    }
    let before = text[..known].iter().rev().zip(text[literal..at].iter().rev());
    let back = before.take_while(|(a, b)| a == b).count();
    let copy = Copy { at: at - back, from: known - back, len: ahead + back };
    (copy.len >= COPY_BYTES_MIN).then_some(copy)
}

/// Appends a text of less than 4 GiB.
pub(crate) fn encode_text(text: &str, out: &mut Writer) {
    let bytes = text.as_bytes();
    let mut copies = find_copies(bytes);
    let copied: usize = copies.iter().map(|copy| copy.len).sum();
    if !may_expand(bytes.len() - copied, bytes.len()) {
        copies.clear();
    }
    let (mut literals, mut upto) = (Vec::new(), 0);
    let mut columns = [Vec::new(), Vec::new(), Vec::new()];
    for copy in &copies {
        literals.extend_from_slice(&bytes[upto..copy.at]);
        let parts = [copy.at - upto, copy.len, copy.at - copy.from];
        columns.iter_mut().zip(parts).for_each(|(column, part)| column.push(part as i64));
        upto = copy.at + copy.len;
    }
    literals.extend_from_slice(&bytes[upto..]);
    out.len(bytes.len());
    out.len(copies.len());
    if !copies.is_empty() {
        columns.iter().for_each(|column| encode_ints(column, out));
    }
    out.bytes(&literals);
}

fn may_expand(encoded: usize, whole: usize) -> bool {
    whole <= encoded.saturating_mul(EXPANSION_MAX).saturating_add(EXPANSION_FREE)
}

/// Reads what [`encode_text`] wrote.
pub(crate) fn decode_text(input: &mut Input<'_>) -> String {
    let len = input.varint_usize();
    let mut copies = input.varint();
    let mut read_column = || Ints::new(if copies > 0 { input.bytes() } else { &[] });
    let mut columns = [(); 3].map(|()| read_column());
    let mut literals = Input::new(input.bytes());
    if !may_expand(literals.remaining(), len) {
        input.fail(DecodeError::CountExceedsInput);
    }
    if !input.is_sound() {
        return String::new();
    }
    let mut text = Vec::with_capacity(len);
    if copies > 0 {
        while copies > 0 && input.is_sound() {
            let [gap, left, back] = columns.each_mut().map(Ints::next_as::<u32>);
            text.extend_from_slice(literals.take(gap as usize));
            input.ensure(copy(&mut text, len, left as usize, back as usize), "copied text");
            copies -= 1;
        }
        columns.iter().for_each(|column| input.join(column.input()));
    }
    text.extend_from_slice(literals.take(literals.remaining()));
    input.join(&literals);
    input.ensure(text.len() == len, "copied text");
    String::from_utf8(text).unwrap_or_else(|_| {
        input.fail(DecodeError::Utf8);
        String::new()
    })
}

/// Appends `left` bytes from so far back to a text that will have `len`, if it can have them.
fn copy(text: &mut Vec<u8>, len: usize, mut left: usize, back: usize) -> bool {
    let is_in = left > 0 && left <= len.saturating_sub(text.len());
    if !is_in || !(1..=text.len()).contains(&back) {
        return false;
    }
    let mut from = text.len() - back;
    // A copy may reach into itself.
    while left > 0 {
        let upto = text.len().min(from + left);
        text.extend_from_within(from..upto);
        left -= upto - from;
        from = upto;
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::Reader;

    fn encoded(text: &str) -> Vec<u8> {
        let mut out = Writer::new();
        encode_text(text, &mut out);
        out.into_vec()
    }

    #[test]
    fn a_page_that_is_pasted_again_is_a_few_bytes() {
        let words = (0..500).map(|i| format!("wörd{} ", i * 7_919 % 1_000));
        let page: String = words.collect();
        let twice = format!("{page}between{page}");
        assert!(encoded(&twice).len() < encoded(&page).len() + 30);
        assert_eq!(Reader::new(&encoded(&twice)).read(decode_text), Ok(twice));
    }

    #[test]
    fn a_repeat_is_copied_whole_wherever_it_stands() {
        let letter = |i: usize| (b'a' + (i * i * 7 + i / 3) as u8 % 26) as char;
        let words = |from: usize, len: usize| (from..from + len).map(letter).collect::<String>();
        for (before, len, between) in
            [(0, 200, 0), (5, 200, 1), (17, 150, 9), (100, 150, 50), (31, 200, 3), (64, 128, 64)]
        {
            let part = words(1_000, len);
            let text = words(0, before) + &part + &words(5_000, between) + &part;
            let copies = find_copies(text.as_bytes());
            let copied: usize = copies.iter().map(|copy| copy.len).sum();
            assert!(copied >= len, "{before} {len} {between}: {copies:?}");
            for Copy { at, from, len } in copies {
                assert_eq!(text[at..at + len], text[from..from + len]);
            }
        }
        let short = words(0, 40) + &words(1_000, 31) + "-" + &words(1_000, 31);
        assert!(find_copies(short.as_bytes()).is_empty());
    }

    #[test]
    fn a_single_repeat_is_nearly_always_found_and_then_whole() {
        let words = |from: u32, len: usize| -> String {
            let letter = |i: u32| {
                let hash = (i + 1).wrapping_mul(0x9e37_79b1);
                char::from(b'!' + ((hash ^ hash >> 15).wrapping_mul(0x2c1b_3c6d) >> 24) as u8 % 90)
            };
            (from..from + len as u32).map(letter).collect()
        };
        let (mut all, mut found) = (0, 0);
        for (before, between) in (0..18).flat_map(|before| (0..18).map(move |it| (before, it))) {
            for len in [32, 33, 47, 48, 61] {
                let part = words(100, len);
                let first = words(1_000, before) + "(" + &part + "\n";
                let text = first + &words(2_000, between) + ")" + &part + "\t" + &words(3_000, 20);
                let copies = find_copies(text.as_bytes()).into_iter();
                let copies: Vec<_> = copies.map(|copy| (copy.at, copy.from, copy.len)).collect();
                all += 1;
                found += copies.len();
                // Of two blocks with one place in the table, the first is not known any more.
                if !copies.is_empty() {
                    assert_eq!(copies, [(before + len + between + 3, before + 1, len)], "{text}");
                }
            }
        }
        assert!(found * 5 > all * 4, "{found} of {all}");
    }

    #[test]
    fn what_is_pasted_again_and_again_is_a_copy_each_time() {
        let page: String = (0..300).map(|i| format!("{} ", i * 7_919 % 1_009)).collect();
        let text: String = (0..9).map(|i| format!("{page}{i:->40}")).collect();
        let copies = find_copies(text.as_bytes());
        let copied: usize = copies.iter().map(|copy| copy.len).sum();
        assert!(copies.len() < 24 && text.len() - copied < page.len() + 200, "{copies:?}");
    }

    #[test]
    fn stretches_have_in_common_what_comes_before_the_first_difference() {
        let text: Vec<u8> = (0..40).collect();
        for len in 0..=text.len() {
            let mut other = text.clone();
            other.get_mut(len).into_iter().for_each(|byte| *byte = 99);
            assert_eq!((common(&text, &other), common(&text[..len], &text)), (len, len));
        }
    }

    #[test]
    fn a_copy_of_nothing_or_of_more_than_there_may_be_is_none() {
        let copied = |left, back| {
            let mut text = b"ab".to_vec();
            copy(&mut text, 5, left, back).then_some(text)
        };
        assert_eq!(copied(3, 2), Some(b"ababa".to_vec()));
        assert_eq!(copied(3, 1), Some(b"abbbb".to_vec()));
        for (left, back) in [(0, 1), (4, 1), (3, 0), (3, 3)] {
            assert_eq!(copied(left, back), None, "{left} from {back}");
        }
    }

    #[test]
    fn few_bytes_do_not_claim_to_be_very_many() {
        let long = "a".repeat(1 << 20);
        assert!(encoded(&long).len() > (1 << 20) / EXPANSION_MAX);
        let mut claim = Writer::new();
        claim.len(1 << 30);
        claim.len(0);
        claim.bytes(b"aaaa");
        let claim = claim.into_vec();
        let refused = Reader::new(&claim).read(decode_text);
        assert_eq!(refused, Err(DecodeError::CountExceedsInput));
    }

    #[test]
    fn a_copy_after_more_text_than_was_told_is_refused() {
        let mut out = Writer::new();
        out.len(1);
        out.len(1);
        for part in [2, 9, 1] {
            encode_ints(&[part], &mut out);
        }
        out.bytes(b"abc");
        let refused = Reader::new(out.as_slice()).read(decode_text);
        assert_eq!(refused, Err(DecodeError::Invalid("copied text")));
    }

    proptest! {
        #[test]
        fn texts_read_back(parts in prop::collection::vec((0usize..4, "[a-cé]{0,40}"), 0..30)) {
            let mut text = String::new();
            for (kind, part) in parts {
                match kind {
                    0 => text.push_str(&text.clone()),
                    1 => text.push_str(&part.repeat(5)),
                    _ => text.push_str(&part),
                }
                text.truncate(text.floor_char_boundary(5_000));
            }
            prop_assert_eq!(Reader::new(&encoded(&text)).read(decode_text), Ok(text));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(text) = Reader::new(&bytes).read(decode_text) {
                prop_assert!(text.len() <= bytes.len() * EXPANSION_MAX + EXPANSION_FREE);
            }
        }
    }
}
