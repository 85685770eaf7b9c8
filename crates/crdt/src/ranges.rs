//! Ranges of local versions, ascending and apart from each other.

use crate::graph::Lv;

/// What of some ranges is in none of others.
pub(crate) fn without(ranges: &[(Lv, Lv)], others: &[(Lv, Lv)]) -> Vec<(Lv, Lv)> {
    let (mut left, mut others) = (Vec::new(), others.iter().peekable());
    for (mut start, end) in ranges.iter().copied() {
        while let Some((from, upto)) = others.peek() {
            if *from >= end {
                break;
            }
            if start < *from {
                left.push((start, *from));
            }
            start = start.max(*upto);
            if *upto > end {
                break;
            }
            others.next();
        }
        if start < end {
            left.push((start, end));
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Lv, without};

    proptest! {
        #[test]
        fn ranges_without_others_have_what_only_they_had(
            sets in prop::array::uniform2(prop::collection::btree_set(0u32..40, 0..30)),
        ) {
            let ranges = sets.each_ref().map(|set| {
                let mut ranges = Vec::<(Lv, Lv)>::new();
                for lv in set {
                    match ranges.last_mut() {
                        Some(last) if last.1 == *lv => last.1 += 1,
                        _ => ranges.push((*lv, lv + 1)),
                    }
                }
                ranges
            });
            let left = without(&ranges[0], &ranges[1]);
            prop_assert!(left.iter().all(|(start, end)| start < end));
            let left = left.into_iter().flat_map(|(start, end)| start..end);
            prop_assert!(left.eq(sets[0].difference(&sets[1]).copied()));
        }
    }
}
