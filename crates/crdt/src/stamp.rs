//! The hybrid Lamport clock that orders writes.
//!
//! A stamp's upper 48 bits are milliseconds since the Unix epoch, its lower 16 a counter, after
//! Kulkarni et al., "Logical Physical Clocks" (OPODIS 2014). A write that has seen another always
//! gets the larger stamp; wall time decides only between writes that had not seen each other.

use crate::codec::{unzigzag, zigzag};

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

/// A stamp that jumps to the wall clock has a counter below this, unless it was long unseen.
const JUMP_COUNTERS: u64 = 8;

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

    /// The stamp as a number, small where another was expected and this one follows it closely, or
    /// jumps to the wall clock. An even number is 16 × the milliseconds to go on, less 2,000, and
    /// 2 × the counter, which is below 8; an odd number is 2 × the zigzag difference, and 1.
    pub(crate) fn code_after(self, expected: Self) -> u64 {
        let jump = self.wall_ms().checked_sub(expected.wall_ms() + WALL_LEAD_MS);
        let counter = self.0 & 0xffff;
        match jump {
            Some(ms) if counter < JUMP_COUNTERS => (ms * JUMP_COUNTERS + counter) << 1,
            _ => zigzag(self.0.cast_signed() - expected.0.cast_signed()) << 1 | 1,
        }
    }

    /// What [`Stamp::code_after`] wrote; of any other number a stamp that may be out of range.
    pub(crate) fn from_code(code: u64, expected: Self) -> Self {
        let number = code >> 1;
        Self(if code & 1 == 0 {
            let ms = expected.wall_ms() + WALL_LEAD_MS + number / JUMP_COUNTERS;
            (ms << 16) + number % JUMP_COUNTERS
        } else {
            expected.0.wrapping_add_signed(unzigzag(number))
        })
    }

    /// Whether the stamp lies too far in the future of a clock that shows `wall_ms`.
    #[must_use]
    pub const fn is_future(self, wall_ms: u64) -> bool {
        let now = if wall_ms < WALL_MS_MAX { wall_ms } else { WALL_MS_MAX };
        self.wall_ms() > now + FUTURE_MS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written_after_whatever_was_expected() {
        let expected = Stamp((5_000 << 16) + 3);
        let walls = [0, 4_999, 5_000, 6_999, 7_000, 7_001, 90_000];
        for wall_ms in walls {
            for counter in (0..20).chain([0xfffe, 0xffff]) {
                let stamp = Stamp((wall_ms << 16) + counter);
                assert_eq!(Stamp::from_code(stamp.code_after(expected), expected), stamp);
            }
        }
        let ends = [Stamp(0), Stamp(STAMP_END)];
        for (stamp, expected) in ends.into_iter().flat_map(|end| ends.map(|other| (end, other))) {
            assert_eq!(Stamp::from_code(stamp.code_after(expected), expected), stamp);
        }
        assert_eq!(Stamp((7_001 << 16) + 1).code_after(expected), 18);
        assert_eq!(expected.code_after(expected), 1);
    }
}
