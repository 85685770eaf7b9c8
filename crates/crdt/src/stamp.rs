//! The hybrid Lamport clock that orders writes.
//!
//! A stamp's upper 48 bits are milliseconds since the Unix epoch, its lower 16 a counter, after
//! Kulkarni et al., "Logical Physical Clocks" (OPODIS 2014). A write that has seen another always
//! gets the larger stamp; wall time decides only between writes that had not seen each other.

/// When a change was written: greater means later. Ties are broken by the greater peer id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(pub u64);

/// Stamps at or beyond this are invalid, so that a clock can always be advanced.
pub(crate) const STAMP_END: u64 = 1 << 62;

/// The wall clock is consulted only when it leads the stamps by more than this, which keeps runs
/// of one author's changes contiguous.
pub(crate) const WALL_LEAD_MS: u64 = 2_000;

/// A change stamped further in the receiver's future than this waits instead of being merged.
pub const FUTURE_MS_MAX: u64 = 5 * 60 * 1_000;

impl Stamp {
    /// The time shown to people, in milliseconds since the Unix epoch.
    #[must_use]
    pub const fn wall_ms(self) -> u64 {
        self.0 >> 16
    }

    pub(crate) fn plus(self, count: u32) -> Self {
        Self(self.0 + u64::from(count))
    }

    /// The stamp of a new change: after everything seen (`next_free`), and near the wall clock.
    pub(crate) fn next(next_free: u64, wall_ms: u64) -> Self {
        let wall = wall_ms.min((STAMP_END >> 16) - 1) << 16;
        if wall > next_free.saturating_add(WALL_LEAD_MS << 16) {
            Self(wall)
        } else {
            Self(next_free)
        }
    }

    /// Whether the stamp lies too far in the future of a clock that shows `wall_ms`.
    #[must_use]
    pub const fn is_future(self, wall_ms: u64) -> bool {
        self.wall_ms() > wall_ms.saturating_add(FUTURE_MS_MAX)
    }
}
