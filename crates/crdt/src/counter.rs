//! Counters: sums that nobody's addition is lost from.

/// A sum of everything that was added, by whomever and in whatever order; it wraps around at the
/// ends of `i64`.
///
/// Each addition is an operation that is applied exactly once, so adding is all that merging needs.
///
/// ```
/// use leptos_sync_crdt::{Doc, PeerId};
/// let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
/// ada.transact(0, |tx| tx.counter("votes").add(2));
/// ben.transact(0, |tx| tx.counter("votes").add(3));
/// ada.import(0, ben.blocks_since(ada.version()))?;
/// assert_eq!(ada.counter("votes"), 5);
/// # Ok::<(), leptos_sync_crdt::ImportError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    sum: i64,
}

impl Counter {
    /// A counter that stands at `sum`.
    #[must_use]
    pub const fn new(sum: i64) -> Self {
        Self { sum }
    }

    /// Adds `delta`, wrapping around.
    pub fn add(&mut self, delta: i64) {
        self.sum = self.sum.wrapping_add(delta);
    }

    /// The sum.
    #[must_use]
    pub const fn value(self) -> i64 {
        self.sum
    }
}
