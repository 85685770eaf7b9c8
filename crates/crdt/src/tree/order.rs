//! The order of siblings: each node carries a short key, and a key between any two can be made.
//!
//! The scheme is fractional indexing (Wallace, "Realtime Editing of Ordered Sequences", Figma,
//! 2017) with an integer part of variable length, so that keys grow with the logarithm of how often
//! something is put first, last, or always on the same side of one gap (Greenspan, "Implementing
//! Fractional Indexing", 2020). Only insertions that halve a gap again and again cost bits each.
//!
//! A key is a segment of digits from 1 to 255 whose last is at least 2, so that there is room below
//! it. Siblings are ordered by the bytes of key, 0, node id: where two people made the same key at
//! once, node ids decide. What is put between such two takes the left one's whole bytes and a
//! further segment, as a position in Logoot does (Weiss, Urso and Molli, ICDCS 2009), and nobody
//! else's node has to be given another key.

use std::cmp::Ordering;

use crate::id::{OpId, PeerId};

/// Where the first node goes.
const MIDDLE: u8 = 128;
const LOW: u8 = 1;
const HIGH: u8 = 255;
/// There is a digit between one below this and the last.
const HIGH_HALF: u8 = 253;
const ID_LEN: usize = 12;

fn id_bytes(id: OpId) -> [u8; ID_LEN] {
    let mut bytes = [0; ID_LEN];
    bytes[..8].copy_from_slice(&id.peer.0.to_be_bytes());
    bytes[8..].copy_from_slice(&id.seq.to_be_bytes());
    bytes
}

fn id_of(bytes: [u8; ID_LEN]) -> OpId {
    let both = bytes.iter().fold(0, |bits, byte| bits << 8 | u128::from(*byte));
    OpId::new(PeerId((both >> 32) as u64), both as u32)
}

/// Whether the bytes are a key: segments, with a zero and a node id between two.
pub(crate) fn is_key(mut bytes: &[u8]) -> bool {
    loop {
        let end = segment(bytes, 0).len();
        if bytes[..end].last().is_none_or(|last| *last == LOW) {
            return false;
        }
        match bytes.get(end..) {
            Some([]) | None => return true,
            Some(rest) if rest.len() > ID_LEN => bytes = &rest[1 + ID_LEN..],
            Some(_) => return false,
        }
    }
}

/// Gives the nodes that a key names other ids.
pub(crate) fn map_ids(key: &mut [u8], rename: &impl Fn(OpId) -> OpId) {
    let mut at = 0;
    loop {
        at += segment(key, at).len() + 1;
        let Some(id) = key.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<ID_LEN>) else {
            return;
        };
        *id = id_bytes(rename(id_of(*id)));
        at += ID_LEN;
    }
}

/// The order of two siblings with these keys; their ids are asked for only if they are needed.
pub(crate) fn compare(
    a: &[u8],
    b: &[u8],
    a_id: impl FnOnce() -> OpId,
    b_id: impl FnOnce() -> OpId,
) -> Ordering {
    let shared = a.len().min(b.len());
    a[..shared].cmp(&b[..shared]).then_with(|| {
        // One key is the start of the other.
        let next = a.get(shared).or(b.get(shared)).copied();
        match next {
            Some(1..) => a.len().cmp(&b.len()),
            _ => whole(a, a_id()).cmp(&whole(b, b_id())),
        }
    })
}

fn whole(key: &[u8], id: OpId) -> Vec<u8> {
    [key, &[0], &id_bytes(id)].concat()
}

/// The digits from `at` on.
fn segment(bytes: &[u8], at: usize) -> &[u8] {
    let rest = bytes.get(at..).unwrap_or_default();
    &rest[..rest.iter().position(|digit| *digit == 0).unwrap_or(rest.len())]
}

/// How long the integer part is of a segment that begins like this. The digits from 2 to 254 are
/// integers of their own; a 255 has two more digits behind it, and if those are full, four more,
/// and so on; likewise downwards from 1.
fn integer_len(digits: &[u8]) -> usize {
    let (mut end, edge) = (1, digits.first().copied().unwrap_or(MIDDLE));
    if edge != LOW && edge != HIGH {
        return end;
    }
    loop {
        let upto = 2 * end + 1;
        match digits.get(end..upto) {
            Some(group) if group.iter().all(|digit| *digit == edge) => end = upto,
            _ => return upto,
        }
    }
}

/// A short segment above every one that begins with these digits.
fn above(digits: &[u8]) -> Vec<u8> {
    if digits.is_empty() {
        return vec![MIDDLE];
    }
    let mut next = digits.to_vec();
    next.resize(integer_len(digits), LOW);
    for digit in next.iter_mut().rev() {
        *digit = digit.checked_add(1).unwrap_or(LOW);
        if *digit != LOW {
            break;
        }
    }
    let len = integer_len(&next);
    next.resize(len, LOW);
    next[len - 1] = next[len - 1].max(LOW + 1);
    next
}

/// A short segment below this one, which ends as segments do.
fn below(digits: &[u8]) -> Vec<u8> {
    let len = integer_len(digits).min(digits.len());
    let mut next = digits[..len].to_vec();
    if len < digits.len() && next[len - 1] > LOW {
        return next;
    }
    let mut least = LOW + 1;
    for at in (0..len).rev() {
        if next[at] > least {
            next[at] -= 1;
            next.truncate(integer_len(&next));
            return next;
        }
        (next[at], least) = (HIGH, LOW);
    }
    // It was the lowest of its length.
    next.fill(LOW);
    next.resize(2 * len + 1, HIGH);
    next
}

/// A key for a node between two siblings, or at an end.
pub(crate) fn between(left: Option<(&[u8], OpId)>, right: Option<(&[u8], OpId)>) -> Vec<u8> {
    let (left, right) = match (left, right) {
        (None, None) => return vec![MIDDLE],
        (Some((left, _)), None) => return above(segment(left, 0)),
        (None, Some((right, _))) => return below(segment(right, 0)),
        (Some((left, left_id)), Some((right, right_id))) => {
            (whole(left, left_id), whole(right, right_id))
        }
    };
    // Level by level: a segment, then a zero and an id.
    let mut at = 0;
    loop {
        let (low, high) = (segment(&left, at), segment(&right, at));
        if low != high || at >= left.len() {
            return [&left[..at], &inside(low, high)].concat();
        }
        let end = at + low.len() + 1 + ID_LEN;
        if left.get(..end) != right.get(..end) {
            // Same digits, other ids: right after the left one, on a level of its own.
            return [left.get(..end).unwrap_or(&left), &above(segment(&left, end))].concat();
        }
        at = end;
    }
}

/// A segment between two, the lower of which may be empty.
fn inside(low: &[u8], high: &[u8]) -> Vec<u8> {
    let shared = low.iter().zip(high).take_while(|(a, b)| a == b).count();
    let mut key = low[..shared].to_vec();
    match (low.get(shared), high.get(shared)) {
        // Halves are taken while they last, since more may come on either side.
        (None, Some(4..)) => key.push(high[shared] / 2),
        (None, Some(_)) => key.extend(below(&high[shared..])),
        (Some(a), Some(b)) if b.saturating_sub(*a) > 1 => key.push(a + (b - a) / 2),
        (Some(a), _) => {
            key.push(*a);
            match &low[shared + 1..] {
                [digit @ ..HIGH_HALF, ..] => key.push(digit + (HIGH - digit).div_ceil(2)),
                rest => key.extend(above(rest)),
            }
        }
        (None, None) => key.push(MIDDLE),
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Item = (Vec<u8>, OpId);

    fn order(a: &Item, b: &Item) -> Ordering {
        compare(&a.0, &b.0, || a.1, || b.1)
    }

    fn put(items: &mut Vec<Item>, at: usize, id: OpId) -> usize {
        let side = |item: &Item| (item.0.clone(), item.1);
        let left = at.checked_sub(1).map(|left| side(&items[left]));
        let right = items.get(at).map(side);
        let key = between(
            left.as_ref().map(|(key, id)| (&**key, *id)),
            right.as_ref().map(|(key, id)| (&**key, *id)),
        );
        assert!(is_key(&key), "{key:?}");
        let len = key.len();
        items.insert(at, (key, id));
        len
    }

    fn id(peer: u64, seq: u32) -> OpId {
        OpId::new(PeerId(peer), seq)
    }

    /// The longest key after many insertions, each at the place that `at` says.
    fn longest(count: u32, at: impl Fn(usize, u32) -> usize) -> usize {
        let mut items = Vec::new();
        let lens = (0..count).map(|i| {
            let place = at(items.len(), i);
            put(&mut items, place, id(1, i))
        });
        let longest = lens.max().unwrap();
        assert!(items.is_sorted_by(|a, b| order(a, b) == Ordering::Less));
        longest
    }

    #[test]
    fn keys_grow_with_the_logarithm_of_one_sided_insertions() {
        assert_eq!(longest(100, |len, _| len), 1);
        assert_eq!(longest(20_000, |len, _| len), 3);
        assert_eq!(longest(20_000, |_, _| 0), 3);
        // Always before the last one, and always after the first one.
        assert!(longest(20_000, |len, _| len.saturating_sub(1)) <= 8);
        assert!(longest(20_000, |len, _| len.min(1)) <= 8);
    }

    #[test]
    fn halving_one_gap_costs_few_bits_an_insertion() {
        assert!(longest(2_000, |len, _| len / 2) <= 300);
    }

    #[test]
    fn same_keys_are_ordered_by_node_and_leave_room_between_them() {
        let mut items = vec![(vec![128], id(1, 0)), (vec![128], id(2, 0)), (vec![129], id(0, 0))];
        for seq in 0..300 {
            put(&mut items, 1, id(9, seq));
            put(&mut items, seq as usize + 2, id(3, seq));
        }
        assert!(items.is_sorted_by(|a, b| order(a, b) == Ordering::Less));
    }

    #[test]
    fn the_nodes_that_a_key_names_can_be_given_other_ids() {
        let ids = [id(0x0102_0304_0506_0708, 0x090a_0b0c), id(u64::MAX, 3), id(0, 0)];
        for id in ids {
            assert_eq!(id_of(id_bytes(id)), id);
        }
        let named = |ids: &[OpId]| {
            let key = ids.iter().fold(vec![128, 7], |key, id| [whole(&key, *id), vec![9]].concat());
            assert!(is_key(&key));
            key
        };
        for count in 0..=ids.len() {
            let mut key = named(&ids[..count]);
            map_ids(&mut key, &|id| OpId::new(PeerId(id.peer.0 ^ 1), id.seq + 1));
            let other = ids.map(|id| OpId::new(PeerId(id.peer.0 ^ 1), id.seq + 1));
            assert_eq!(key, named(&other[..count]));
        }
    }

    #[test]
    fn a_key_that_another_begins_with_is_before_it_or_ordered_by_its_node() {
        let below = whole(&[128], id(5, 0));
        let nested = [&*below, &[9]].concat();
        assert_eq!(order(&(vec![128], id(4, 0)), &(nested.clone(), id(0, 0))), Ordering::Less);
        assert_eq!(order(&(vec![128], id(6, 0)), &(nested, id(0, 0))), Ordering::Greater);
        let unasked = || unreachable!("the keys alone decide");
        assert_eq!(compare(&[128], &[128, 9], unasked, unasked), Ordering::Less);
        assert_eq!(compare(&[128, 9], &[128], unasked, unasked), Ordering::Greater);
    }

    #[test]
    fn a_key_below_another_is_short() {
        let cases: [(&[u8], &[u8]); 8] = [
            (&[128], &[127]),
            (&[128, 9], &[128]),
            (&[3], &[2]),
            (&[2, 9], &[2]),
            (&[2], &[1, 255, 255]),
            (&[1, 255, 255], &[1, 255, 254]),
            (&[1, 255, 1, 9], &[1, 254, 255]),
            (&[1, 1, 2], &[1, 1, 1, 255, 255, 255, 255]),
        ];
        for (key, expected) in cases {
            assert_eq!(below(key), expected, "below {key:?}");
        }
        assert_eq!(inside(&[5, 1], &[6]), [5, 128]);
        assert_eq!(inside(&[5, 200], &[6]), [5, 228]);
    }

    fn key() -> impl Strategy<Value = Vec<u8>> {
        let digits = || {
            let digit = prop_oneof![3 => Just(1u8), 3 => Just(255u8), 2 => 1u8..5, 1 => 1u8..=255];
            (prop::collection::vec(digit, 0..9), 2u8..=255).prop_map(|(mut digits, last)| {
                digits.push(last);
                digits
            })
        };
        (digits(), prop::collection::vec((0u64..2, digits()), 0..3)).prop_map(|(first, more)| {
            more.into_iter()
                .fold(first, |key, (peer, digits)| [&*whole(&key, id(peer, 0)), &*digits].concat())
        })
    }

    proptest! {
        /// Whatever valid keys others made, one between any two can be made.
        #[test]
        fn there_is_always_a_key_between_two(
            keys in prop::collection::vec((key(), 0u64..3), 1..8),
            places in prop::collection::vec(any::<prop::sample::Index>(), 1..60),
        ) {
            let mut items: Vec<Item> = Vec::new();
            for (key, peer) in keys {
                prop_assert!(is_key(&key));
                items.push((key, id(peer, items.len() as u32)));
            }
            items.sort_by(order);
            for (seq, place) in (100..).zip(places) {
                let at = place.index(items.len() + 1);
                put(&mut items, at, id(u64::from(seq) % 3, seq));
                prop_assert!(items.is_sorted_by(|a, b| order(a, b) == Ordering::Less));
            }
        }

        #[test]
        fn noise_is_no_key_or_a_sound_one(bytes in prop::collection::vec(0u8..4, 0..40)) {
            if is_key(&bytes) {
                let mut items = vec![(bytes, id(1, 0))];
                put(&mut items, 0, id(1, 1));
                put(&mut items, 2, id(1, 2));
                prop_assert!(items.is_sorted_by(|a, b| order(a, b) == Ordering::Less));
            }
        }
    }
}
