//! How far the device's clock is wrong: told by each welcome of the server, and noted for the next
//! start, which may write before it is welcomed, or without a server.
//!
//! Only a clock that was ahead is noted. Where it was put right since, what is written until the
//! next welcome counts as somewhat older than it is; were a clock that was behind taken for one
//! still, what is written would be from the future, and had to wait for its time.

use super::records::CLOCK;
use super::{Core, Job, Now, Output};

/// A clock that differs by more from the server's is set right.
const ERROR_MS_MAX: u64 = 30_000;

#[derive(Debug, Default)]
pub(super) struct Clock {
    /// How far the server's wall clock is ahead of ours, when it matters.
    offset_ms: i64,
    /// What the server last said the time is, and when by the monotonic clock; in this start.
    told: Option<(u64, u64)>,
    /// What the next start is to know is not written yet.
    pub(super) is_due: bool,
    /// It is being written.
    pub(super) is_writing: bool,
}

impl Clock {
    fn is_ahead(&self) -> bool {
        self.offset_ms < 0
    }

    /// What time it is by the server and the monotonic clock, which may stand still while the
    /// device sleeps, but never goes fast.
    fn server_ms(&self, now: Now) -> Option<u64> {
        let (server_ms, at) = self.told?;
        Some(server_ms.saturating_add(now.ms.saturating_sub(at)))
    }
}

impl Core {
    /// The wall clock, set right by the server's when it was clearly wrong. Where it is put back
    /// after that, the time goes on: it may have been put right.
    pub(crate) fn wall_ms(&self, now: Now) -> u64 {
        let by_wall = now.wall_ms.saturating_add_signed(self.clock.offset_ms);
        let by_server = self.clock.server_ms(now).unwrap_or(0);
        if by_wall.saturating_add(ERROR_MS_MAX) < by_server { by_server } else { by_wall }
    }

    /// The server said what the time is.
    pub(super) fn tell_time(&mut self, now: Now, server_ms: u64) {
        let is_wrong = server_ms.abs_diff(now.wall_ms) > ERROR_MS_MAX;
        let ahead = server_ms.cast_signed().wrapping_sub(now.wall_ms.cast_signed());
        let clock = &mut self.clock;
        let was_noted = clock.is_ahead();
        clock.offset_ms = if is_wrong { ahead } else { 0 };
        clock.told = Some((server_ms, now.ms));
        clock.is_due |= was_noted || clock.is_ahead();
    }

    /// The server, which is there, finds that a change is from the future. Where the clock was put
    /// forward since it said what the time is, that is why: the device cannot have been asleep.
    pub(super) fn mind_the_time(&mut self, now: Now) {
        let Some(server_ms) = self.clock.server_ms(now) else { return };
        if self.wall_ms(now) > server_ms.saturating_add(ERROR_MS_MAX) {
            self.tell_time(now, server_ms);
            self.outputs.push_back(Output::Work);
        }
    }

    /// What an earlier start noted of the clock was read.
    pub(crate) fn clock_found(&mut self, noted: &[u8]) {
        let Ok(ahead) = <[u8; 8]>::try_from(noted).map(u64::from_le_bytes) else { return };
        if self.clock.told.is_some() {
            // The server was faster: what is noted is replaced, or taken back.
            self.clock.is_due = true;
            self.outputs.push_back(Output::Work);
        } else {
            self.clock.offset_ms = 0i64.saturating_sub_unsigned(ahead);
        }
    }

    pub(super) fn clock_job(&mut self) -> Option<Job> {
        self.clock.is_writing = std::mem::take(&mut self.clock.is_due);
        self.clock.is_writing.then(|| {
            let ahead = self.clock.is_ahead().then(|| self.clock.offset_ms.unsigned_abs());
            let value = ahead.map(|ahead| ahead.to_le_bytes().to_vec());
            Job::Meta { key: CLOCK.to_owned(), value }
        })
    }
}

#[cfg(test)]
mod tests {
    use leptos_sync_crdt::VersionVector;
    use leptos_sync_protocol::NackCode;

    use super::super::JobResult;
    use super::super::link_tests::{Wire, written_and_sent};
    use super::super::tests::{at, loaded};
    use super::*;

    const HOUR_MS: u64 = 3_600_000;

    /// What is written down of the clock; `None` if nothing is.
    fn noted(core: &mut Core, now: Now) -> Option<Option<Vec<u8>>> {
        let job = core.next_job(now)?;
        core.job_finished(now, JobResult::Meta(Ok(())));
        match job {
            Job::Meta { key, value } if key == CLOCK => Some(value),
            other => panic!("another job: {other:?}"),
        }
    }

    #[test]
    fn a_clock_that_was_ahead_is_set_right_from_the_next_start_on() {
        let now = at(0);
        let mut core = loaded(true);
        core.tell_time(now, now.wall_ms - HOUR_MS);
        assert_eq!(core.wall_ms(now), now.wall_ms - HOUR_MS);
        let note = noted(&mut core, now).flatten().expect("it is written down");
        assert_eq!(noted(&mut core, now), None, "once");

        let mut next = loaded(true);
        next.clock_found(&note);
        assert_eq!(next.wall_ms(now), now.wall_ms - HOUR_MS);
        // It was put right: that is noted, too.
        next.tell_time(now, now.wall_ms);
        assert_eq!(next.wall_ms(now), now.wall_ms);
        assert_eq!(noted(&mut next, now), Some(None));
        next.tell_time(now, now.wall_ms);
        assert_eq!(noted(&mut next, now), None, "there is nothing to take back");
    }

    #[test]
    fn a_clock_that_is_put_forward_later_is_set_right_when_the_server_finds_that() {
        let mut core = loaded(true);
        let first = at(0);
        core.mind_the_time(first);
        assert_eq!(core.wall_ms(first), first.wall_ms, "nobody said what the time is");
        core.tell_time(first, first.wall_ms);
        let later = Now { ms: 5_000, wall_ms: at(5_000).wall_ms + HOUR_MS };
        assert_eq!(core.wall_ms(later), later.wall_ms, "nobody can know");
        core.mind_the_time(later);
        assert_eq!(core.wall_ms(later), at(5_000).wall_ms);
        assert_eq!(noted(&mut core, later), Some(Some(HOUR_MS.to_le_bytes().to_vec())));
        core.mind_the_time(later);
        assert_eq!(noted(&mut core, later), None, "each change that was refused says the same");
        // Put right again, it is not taken for one that is an hour slow.
        assert_eq!(core.wall_ms(at(9_000)), at(9_000).wall_ms);
        let slow = Now { ms: 9_000, wall_ms: later.wall_ms + 4_000 - ERROR_MS_MAX };
        assert_eq!(core.wall_ms(slow), at(9_000).wall_ms - ERROR_MS_MAX, "or by a little");
        // While it sleeps, the other clock may stand still.
        let woken = Now { ms: 9_000, wall_ms: later.wall_ms + HOUR_MS };
        assert_eq!(core.wall_ms(woken), at(5_000).wall_ms + HOUR_MS);
    }

    #[test]
    fn what_is_written_after_a_change_was_from_the_future_is_of_now() {
        let (mut wire, _) = Wire::opened(at(0), loaded(true), VersionVector::new());
        let later = Now { ms: 5, wall_ms: at(5).wall_ms + HOUR_MS };
        let block = written_and_sent(&mut wire, later);
        assert_eq!(wire.core.wall_ms(later), later.wall_ms);
        wire.refuse(later, &block, NackCode::ClockSkew, 0);
        assert_eq!(wire.core.wall_ms(later), at(5).wall_ms);
    }

    #[test]
    fn a_clock_that_was_behind_is_not_noted() {
        let now = at(0);
        let mut core = loaded(true);
        core.tell_time(now, now.wall_ms + HOUR_MS);
        assert_eq!(core.wall_ms(now), now.wall_ms + HOUR_MS);
        assert_eq!(noted(&mut core, now), None);
    }

    #[test]
    fn what_the_server_said_counts_more_than_what_was_noted() {
        let now = at(0);
        let mut core = loaded(true);
        core.tell_time(now, now.wall_ms);
        core.clock_found(&HOUR_MS.to_le_bytes());
        assert_eq!(core.wall_ms(now), now.wall_ms);
        assert_eq!(noted(&mut core, now), Some(None), "it is taken back");
        let mut core = loaded(true);
        core.clock_found(b"damaged");
        assert_eq!(core.wall_ms(now), now.wall_ms);
        core.clock_found(&u64::MAX.to_le_bytes());
        assert_eq!(core.wall_ms(now), 0);
    }

    #[test]
    fn a_note_that_was_not_stored_is_stored_later() {
        let now = at(0);
        let mut core = loaded(true);
        core.tell_time(now, now.wall_ms - HOUR_MS);
        assert!(matches!(core.next_job(now), Some(Job::Meta { .. })));
        let full = leptos_sync_storage::AppendError::QuotaExceeded;
        core.job_finished(now, JobResult::Meta(Err(full)));
        let due = core.deadline().expect("it is tried again");
        assert_eq!(noted(&mut core, at(due - 1)), None);
        assert!(noted(&mut core, at(due)).flatten().is_some());
        assert_eq!(core.deadline(), None);

        // It is put right, and that cannot be stored either before the server says so again.
        core.tell_time(now, now.wall_ms);
        assert!(matches!(core.next_job(now), Some(Job::Meta { value: None, .. })));
        let full = leptos_sync_storage::AppendError::QuotaExceeded;
        core.job_finished(now, JobResult::Meta(Err(full)));
        core.tell_time(now, now.wall_ms);
        let due = core.deadline().expect("it is tried again");
        assert_eq!(noted(&mut core, at(due)), Some(None));
        assert_eq!(core.deadline(), None);
    }
}
