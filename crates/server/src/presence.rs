//! Who is in a document now: the newest of each connection, readable as "what changed since".
//!
//! Guarantees: a reader that was away gets the newest only, so nothing is queued per reader; an
//! entry that was not refreshed for its time to live is gone.

use std::collections::BTreeMap;

use bytes::Bytes;
use leptos_sync_protocol::{Message, PresenceEntry, PresenceState, encode_frame};
use tokio::time::{Duration, Instant};

/// How long an entry lasts without a refresh.
pub(crate) const TTL: Duration = Duration::from_secs(30);

/// How many departures are remembered; a reader that missed more gets the whole list.
const GONE_MAX: usize = 256;

#[derive(Debug)]
struct Present {
    principal: Option<String>,
    payload: Bytes,
    expires: Instant,
    /// The revision at which it last changed.
    changed: u64,
}

/// The presence of one document.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    revision: u64,
    present: BTreeMap<u64, Present>,
    /// Departures by revision.
    gone: BTreeMap<u64, u64>,
    /// Readers at or before this revision need the whole list.
    forgotten: u64,
    /// The last encoding, for readers between these revisions.
    encoded: Option<(u64, u64, Bytes)>,
}

impl Presence {
    /// Shows `payload` for a connection; returns whether others see a difference.
    pub(crate) fn set(
        &mut self,
        session: u64,
        principal: Option<&str>,
        payload: Option<Bytes>,
        now: Instant,
    ) -> bool {
        let Some(payload) = payload else { return self.remove(session) };
        let expires = now + TTL;
        if let Some(present) = self.present.get_mut(&session) {
            present.expires = expires;
            if present.payload == payload {
                return false;
            }
        }
        // A copy, since the payload shares the memory of the frame it came in.
        let payload = Bytes::copy_from_slice(&payload);
        self.revision += 1;
        let principal = principal.map(str::to_owned);
        let changed = self.revision;
        self.present.insert(session, Present { principal, payload, expires, changed });
        true
    }

    /// The connection left; returns whether others see a difference.
    pub(crate) fn remove(&mut self, session: u64) -> bool {
        if self.present.remove(&session).is_none() {
            return false;
        }
        self.revision += 1;
        self.gone.insert(self.revision, session);
        while self.gone.len() > GONE_MAX {
            if let Some((revision, _)) = self.gone.pop_first() {
                self.forgotten = revision;
            }
        }
        true
    }

    /// Drops what was not refreshed in time; returns whether others see a difference.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        let stale: Vec<u64> = self
            .present
            .iter()
            .filter(|(_, present)| present.expires <= now)
            .map(|(&session, _)| session)
            .collect();
        for &session in &stale {
            self.remove(session);
        }
        !stale.is_empty()
    }

    /// What connection `reader`, which has seen revision `seen`, must be told: the frame, if there
    /// is anything, and the revision it will have seen. A new reader passes `None`.
    pub(crate) fn read(
        &mut self,
        seen: Option<u64>,
        reader: u64,
        feed: u32,
    ) -> (u64, Option<Bytes>) {
        let from = seen.unwrap_or(0);
        if seen == Some(self.revision) {
            return (from, None);
        }
        let full = seen.is_none() || from < self.forgotten;
        let mut entries: Vec<PresenceEntry> = Vec::new();
        let mut about_reader = false;
        for (&session, present) in &self.present {
            if session == reader {
                about_reader |= present.changed > from;
            } else if full || present.changed > from {
                let principal = present.principal.clone();
                let payload = Some(present.payload.clone());
                entries.push(PresenceEntry { session, principal, payload });
            }
        }
        if !full {
            let gone = self.gone.range(from + 1..).map(|(_, &session)| session);
            for session in gone.filter(|session| !self.present.contains_key(session)) {
                about_reader |= session == reader;
                entries.push(PresenceEntry { session, principal: None, payload: None });
            }
        }
        if entries.is_empty() && !(full && seen.is_some()) {
            return (self.revision, None);
        }
        if !full
            && !about_reader
            && let Some((start, end, frame)) = &self.encoded
            && (*start, *end) == (from, self.revision)
        {
            return (self.revision, Some(frame.clone()));
        }
        let frame = encode_frame(&Message::PresenceState(PresenceState { feed, full, entries }));
        if !full && !about_reader {
            self.encoded = Some((from, self.revision, frame.clone()));
        }
        (self.revision, Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use leptos_sync_protocol::decode_frame;

    use super::*;

    fn told(presence: &mut Presence, seen: Option<u64>, reader: u64) -> (u64, String) {
        let (revision, frame) = presence.read(seen, reader, 7);
        let text = frame.map_or_else(String::new, |frame| {
            let messages = decode_frame(&frame).expect("a valid frame");
            let [Message::PresenceState(state)] = &messages[..] else {
                panic!("not one presence message");
            };
            let entry = |entry: &PresenceEntry| match &entry.payload {
                Some(payload) => format!("{}={}", entry.session, String::from_utf8_lossy(payload)),
                None => format!("{} left", entry.session),
            };
            let entries: Vec<String> = state.entries.iter().map(entry).collect();
            format!("{}{}", if state.full { "all: " } else { "" }, entries.join(", "))
        });
        (revision, text)
    }

    #[test]
    fn readers_learn_what_changed_and_never_of_themselves() {
        let now = Instant::now();
        let mut presence = Presence::default();
        assert!(presence.set(1, None, Some(Bytes::from_static(b"a")), now));
        assert!(presence.set(2, None, Some(Bytes::from_static(b"b")), now));
        let (seen, text) = told(&mut presence, None, 2);
        assert_eq!(text, "all: 1=a");
        assert!(!presence.set(1, None, Some(Bytes::from_static(b"a")), now));
        assert!(presence.set(1, None, Some(Bytes::from_static(b"c")), now));
        let (seen, text) = told(&mut presence, Some(seen), 2);
        assert_eq!(text, "1=c");
        assert!(presence.remove(1));
        assert_eq!(told(&mut presence, Some(seen), 2).1, "1 left");
        assert_eq!(told(&mut presence, Some(seen), 1).1, "1 left");
    }

    #[test]
    fn what_is_not_refreshed_is_gone() {
        let now = Instant::now();
        let mut presence = Presence::default();
        presence.set(1, None, Some(Bytes::from_static(b"a")), now);
        presence.set(2, None, Some(Bytes::from_static(b"b")), now);
        let (seen, _) = told(&mut presence, None, 3);
        presence.set(2, None, Some(Bytes::from_static(b"b")), now + TTL / 2);
        assert!(!presence.expire(now + TTL - Duration::from_millis(1)));
        assert!(presence.expire(now + TTL));
        assert_eq!(told(&mut presence, Some(seen), 3).1, "1 left");
    }

    #[test]
    fn who_missed_too_much_gets_the_whole_list() {
        let now = Instant::now();
        let mut presence = Presence::default();
        presence.set(9, None, Some(Bytes::from_static(b"stays")), now);
        let (seen, _) = told(&mut presence, None, 8);
        for session in 100..100 + GONE_MAX as u64 + 1 {
            presence.set(session, None, Some(Bytes::from_static(b"x")), now);
            presence.remove(session);
        }
        assert_eq!(told(&mut presence, Some(seen), 8).1, "all: 9=stays");
    }
}
