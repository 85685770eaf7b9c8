//! Is the other side still there? Pings when it is time, and gives up on a silent socket.
//!
//! A browser may delay timers of a hidden page by a minute, so silence alone proves nothing: the
//! socket is dead only if a ping of ours has gone unanswered too.

use crate::time::Instant;

/// How long an answer to a ping may take once the socket has been silent for the whole heartbeat.
const ANSWER_MS_MAX: u64 = 5_000;

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    Nothing,
    Ping,
    Dead,
}

#[derive(Clone, Debug)]
pub(crate) struct Heartbeat {
    interval_ms: u64,
    heard_at: Instant,
    pinged_at: Instant,
    /// Since when a ping waits for any sign of life.
    waiting_since: Option<Instant>,
}

impl Heartbeat {
    pub(crate) fn new(now: Instant, interval_ms: u64) -> Self {
        Self { interval_ms, heard_at: now, pinged_at: now, waiting_since: None }
    }

    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard_at = now;
        self.waiting_since = None;
    }

    /// A ping goes out now.
    pub(crate) fn pinged(&mut self, now: Instant) {
        self.pinged_at = now;
        self.waiting_since.get_or_insert(now);
    }

    pub(crate) fn check(&self, now: Instant) -> Beat {
        if self.dead_at().is_some_and(|at| now >= at) {
            Beat::Dead
        } else if now >= self.ping_at() {
            Beat::Ping
        } else {
            Beat::Nothing
        }
    }

    pub(crate) fn next_deadline(&self) -> Instant {
        self.dead_at().map_or(self.ping_at(), |dead| dead.min(self.ping_at()))
    }

    fn ping_at(&self) -> Instant {
        self.pinged_at.plus_ms(self.interval_ms)
    }

    fn dead_at(&self) -> Option<Instant> {
        let answer_due = self.waiting_since?.plus_ms(ANSWER_MS_MAX);
        Some(answer_due.max(self.heard_at.plus_ms(self.interval_ms + ANSWER_MS_MAX)))
    }
}
