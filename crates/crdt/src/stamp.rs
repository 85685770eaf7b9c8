//! The hybrid Lamport clock that orders writes.
//!
//! A stamp's upper 48 bits are milliseconds since the Unix epoch, its lower 16 a counter, after
//! Kulkarni et al., "Logical Physical Clocks" (OPODIS 2014). A write that has seen another always
//! gets the larger stamp; wall time decides only between writes that had not seen each other.

/// When a change was written: greater means later. Ties are broken by the greater peer id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(pub u64);

/// Stamps at or beyond this are invalid.
pub(crate) const STAMP_END: u64 = 1 << 62;

/// No clock counts as later than this, in the year 3084. What is stamped later waits for ever, and
/// so the stamps between here and [`STAMP_END`] are enough for all that can follow.
const WALL_MS_MAX: u64 = STAMP_END >> 17;

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
        let wall = wall_ms.min(WALL_MS_MAX) << 16;
        if wall > next_free.saturating_add(WALL_LEAD_MS << 16) {
            Self(wall)
        } else {
            Self(next_free)
        }
    }

    /// The same for so many operations, if there are stamps left: a snapshot of damaged storage may
    /// have used up all of them. Such a document can be read, changed and saved, and no more.
    pub(crate) fn for_some(self, len: u32) -> Self {
        Self(self.0.min(STAMP_END - u64::from(len)))
    }

    /// Whether the stamp lies too far in the future of a clock that shows `wall_ms`.
    #[must_use]
    pub const fn is_future(self, wall_ms: u64) -> bool {
        let now = if wall_ms < WALL_MS_MAX { wall_ms } else { WALL_MS_MAX };
        self.wall_ms() > now + FUTURE_MS_MAX
    }
}
