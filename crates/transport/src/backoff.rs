//! How long to wait before dialing again: full jitter, growing with each failure in a row.
//!
//! After failure `n` (from 0) the delay is uniform in `0..=min(30 s, 0.25 s * 2^n)`, so that many
//! clients of one restarted server come back spread out. Entropy and the clock come from outside.

const DELAY_BASE_MS: u64 = 250;
const DELAY_MAX_MS: u64 = 30_000;
const STABLE_MS: u64 = 60_000;
/// At this many failures the delay has long reached its maximum.
const FAILURES_MAX: u32 = 16;

/// The reconnection policy of one endpoint.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    failures: u32,
    connected_at_ms: Option<u64>,
}

impl Backoff {
    /// A policy with no failures behind it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A connection was opened.
    pub fn connected(&mut self, now_ms: u64) {
        self.connected_at_ms = Some(now_ms);
    }

    /// The connection ended. If it had lasted for 60 s, earlier failures are forgotten.
    pub fn disconnected(&mut self, now_ms: u64) {
        if let Some(since) = self.connected_at_ms.take()
            && now_ms.saturating_sub(since) >= STABLE_MS
        {
            self.failures = 0;
        }
    }

    /// The longest that the next delay may be.
    #[must_use]
    pub fn ceiling_ms(&self) -> u64 {
        (DELAY_BASE_MS << self.failures).min(DELAY_MAX_MS)
    }

    /// How long to wait before the next attempt, and counts it. `random` is any uniform number.
    pub fn next_delay_ms(&mut self, random: u64) -> u64 {
        let choices = self.ceiling_ms() + 1;
        self.failures = (self.failures + 1).min(FAILURES_MAX);
        // The upper half of the product is uniform in 0..choices, without a modulo's bias.
        ((u128::from(random) * u128::from(choices)) >> 64) as u64
    }

    /// Forgets the failures: the network is known to be back.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn delays_double_up_to_thirty_seconds() {
        let mut backoff = Backoff::new();
        let longest: Vec<u64> = (0..9).map(|_| backoff.next_delay_ms(u64::MAX)).collect();
        assert_eq!(longest, [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    }

    #[test]
    fn a_minute_of_connection_forgets_failures() {
        let mut backoff = Backoff::new();
        for _ in 0..5 {
            backoff.next_delay_ms(0);
        }
        backoff.connected(1_000);
        backoff.disconnected(60_999);
        assert_eq!(backoff.ceiling_ms(), 8_000, "59.999 s is not a minute");
        backoff.connected(100_000);
        backoff.disconnected(160_000);
        assert_eq!(backoff.ceiling_ms(), 250);
    }

    #[test]
    fn a_disconnect_without_a_connection_changes_nothing() {
        let mut backoff = Backoff::new();
        backoff.next_delay_ms(0);
        backoff.disconnected(u64::MAX);
        assert_eq!(backoff.ceiling_ms(), 500);
    }

    proptest! {
        #[test]
        fn a_delay_never_exceeds_its_ceiling(
            randoms in prop::collection::vec(any::<u64>(), 1..200),
        ) {
            let mut backoff = Backoff::new();
            let mut ceiling_before = 0;
            for random in randoms {
                let ceiling = backoff.ceiling_ms();
                prop_assert!((ceiling_before..=DELAY_MAX_MS).contains(&ceiling));
                prop_assert!(backoff.next_delay_ms(random) <= ceiling);
                ceiling_before = ceiling;
            }
        }

        #[test]
        fn every_delay_can_happen(failures in 0u32..40, part in 0u64..=1_000) {
            let mut backoff = Backoff::new();
            for _ in 0..failures {
                backoff.next_delay_ms(0);
            }
            let wanted = backoff.ceiling_ms() * part / 1_000;
            let choices = u128::from(backoff.ceiling_ms()) + 1;
            let random = (u128::from(wanted) << 64).div_ceil(choices);
            prop_assert_eq!(backoff.next_delay_ms(random as u64), wanted);
        }

        #[test]
        fn short_connections_do_not_hide_failures(lasted in 0u64..STABLE_MS, failures in 1u32..10) {
            let mut backoff = Backoff::new();
            for _ in 0..failures {
                backoff.next_delay_ms(0);
                backoff.connected(5);
                backoff.disconnected(5 + lasted);
            }
            prop_assert_eq!(backoff.ceiling_ms(), (DELAY_BASE_MS << failures).min(DELAY_MAX_MS));
        }
    }
}
