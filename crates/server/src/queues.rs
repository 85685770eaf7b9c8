//! How much waits at a server for its documents: what the simulator looks at.
//!
//! It is there with the feature `testkit` only.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The most that any connection ever had waiting.
#[derive(Debug, Default)]
pub struct HighWater {
    requests: AtomicUsize,
    bytes: AtomicUsize,
}

impl HighWater {
    /// How many openings and messages of changes waited for an answer.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// How many bytes of changes waited for an answer.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// What one connection has waiting: in a document's queue, or answered there and not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    requests: usize,
    bytes: usize,
}

impl Waiting {
    /// Something was asked of a document, with so many bytes of changes.
    pub(crate) fn asked(&mut self, bytes: usize, most: &HighWater) {
        self.requests += 1;
        self.bytes += bytes;
        most.requests.fetch_max(self.requests, Ordering::Relaxed);
        most.bytes.fetch_max(self.bytes, Ordering::Relaxed);
    }

    /// It was answered.
    pub(crate) fn answered(&mut self, bytes: usize) {
        self.requests -= 1;
        self.bytes -= bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_that_waited_at_once_stays_known() {
        let most = HighWater::default();
        let (mut one, mut other) = (Waiting::default(), Waiting::default());
        one.asked(5, &most);
        one.asked(0, &most);
        other.asked(3, &most);
        assert_eq!((most.requests(), most.bytes()), (2, 5));
        one.answered(5);
        one.asked(4, &most);
        assert_eq!((most.requests(), most.bytes()), (2, 5), "not that of all together");
        other.asked(3, &most);
        assert_eq!((most.requests(), most.bytes()), (2, 6));
    }
}
