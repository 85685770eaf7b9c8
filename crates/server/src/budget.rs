//! How much one connection may ask for: a bucket of work that fills again with time.
//!
//! Nobody is refused for using it up. The connection is read later, so whoever floods waits for
//! themselves, and others do not notice.

use std::time::Duration;

use tokio::time::Instant;

/// What a frame costs.
pub(crate) const FRAME: u32 = 1;
/// What opening a document costs, beside one for each [`BLOCKS_PER_UNIT`] that are loaded.
pub(crate) const OPEN: u32 = 4;
/// What presence costs: everybody else in the document is told.
pub(crate) const PRESENCE: u32 = 8;

/// How many blocks of a document are loaded for what a frame costs.
const BLOCKS_PER_UNIT: usize = 256;

/// One unit comes back after this time.
const REFILL: Duration = Duration::from_millis(1);
/// How many units there are after a while of silence: enough to open 1,024 documents at once.
const BURST: u32 = 8_192;

/// The budget of one connection.
#[derive(Debug)]
pub(crate) struct Budget {
    /// When nothing will have been spent any more.
    full_at: Instant,
}

impl Budget {
    pub(crate) fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Takes `cost` out, into debt if need be.
    pub(crate) fn spend(&mut self, now: Instant, cost: u32) {
        self.full_at = self.full_at.max(now) + REFILL * cost;
    }

    /// Takes out what loading a document of `blocks` costs.
    pub(crate) fn spend_load(&mut self, now: Instant, blocks: usize) {
        let cost = u32::try_from(blocks / BLOCKS_PER_UNIT).unwrap_or(u32::MAX).min(BURST);
        self.spend(now, cost);
    }

    /// How long it takes until there is something left; zero if there is.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        self.full_at.saturating_duration_since(now + REFILL * BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_what_follows_waits() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        for _ in 0..BURST {
            assert!(budget.wait(now).is_zero());
            budget.spend(now, FRAME);
        }
        budget.spend(now, PRESENCE);
        assert_eq!(budget.wait(now), REFILL * PRESENCE);
        let later = now + REFILL * 3 * BURST;
        budget.spend(later, BURST);
        assert!(budget.wait(later).is_zero(), "it was full again");
        budget.spend(later, FRAME);
        assert_eq!(budget.wait(later), REFILL, "and no fuller");
    }

    #[test]
    fn a_huge_document_makes_nobody_wait_for_ever() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        budget.spend_load(now, usize::MAX);
        assert!(budget.wait(now).is_zero());
    }
}
