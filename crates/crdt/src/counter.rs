//! Counters: sums that nobody's addition is lost from.

/// A sum of everything that was added, by whomever and in whatever order; it wraps around at the
/// ends of `i64`.
///
/// Each addition is an operation that is applied exactly once, so adding is all that merging needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CounterState {
    sum: i64,
}

impl CounterState {
    pub(crate) const fn new(sum: i64) -> Self {
        Self { sum }
    }

    pub(crate) fn add(&mut self, delta: i64) {
        self.sum = self.sum.wrapping_add(delta);
    }

    pub(crate) const fn value(self) -> i64 {
        self.sum
    }
}
