//! Sorting in one copy: the standard library's is compiled anew for every type it sorts, at some
//! five kilobytes of WebAssembly each, and what is sorted here is short or nearly in order.

/// Compares the items at two places, or swaps them.
enum Step {
    IsLess,
    Swap,
}

/// Sorts; equal items may change places.
pub(crate) fn sort<T: Ord>(items: &mut [T]) {
    sort_by(items, |a, b| a < b);
}

/// Sorts numbers and leaves each once.
pub(crate) fn sort_set(numbers: &mut Vec<u32>) {
    sort(numbers);
    numbers.dedup();
}

/// Sorts by an order of one's own; equal items may change places.
pub(crate) fn sort_by<T>(items: &mut [T], is_less: impl Fn(&T, &T) -> bool) {
    heap_sort(items.len(), &mut |step, a, b| {
        let (first, second) = (&items[a], &items[b]);
        match step {
            Step::IsLess => is_less(first, second),
            Step::Swap => {
                items.swap(a, b);
                true
            }
        }
    });
}

fn heap_sort(len: usize, items: &mut dyn FnMut(Step, usize, usize) -> bool) {
    if (1..len).all(|at| !items(Step::IsLess, at, at - 1)) {
        return;
    }
    for root in (0..len / 2).rev() {
        sift_down(root, len, items);
    }
    for end in (1..len).rev() {
        items(Step::Swap, 0, end);
        sift_down(0, end, items);
    }
}

fn sift_down(mut root: usize, len: usize, items: &mut dyn FnMut(Step, usize, usize) -> bool) {
    loop {
        let mut child = 2 * root + 1;
        if child >= len {
            return;
        }
        if child + 1 < len && items(Step::IsLess, child, child + 1) {
            child += 1;
        }
        if !items(Step::IsLess, root, child) {
            return;
        }
        items(Step::Swap, root, child);
        root = child;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_sorts(mut items in prop::collection::vec(0u32..50, 0..60)) {
            let mut expected = items.clone();
            expected.sort_unstable();
            super::sort(&mut items);
            prop_assert_eq!(items, expected);
        }
    }
}
