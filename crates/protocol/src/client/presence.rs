//! Presence on the client: when to show oneself again, and who else is known.

use bytes::Bytes;
use litemap::LiteMap;

use crate::message::PresenceState;
use crate::time::Instant;

/// Presence of one document is sent at most this often, so that a moving caret costs little.
const SPACING_MS: u64 = 40;

/// Somebody else who has the document open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresencePeer {
    /// The connection; one person with two devices has two.
    pub session: u64,
    /// Who the server says it is; `None` if the server asks nobody.
    pub principal: Option<String>,
    /// What that client shows of itself.
    pub payload: Vec<u8>,
}

/// What this connection shows of itself in one document.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnPresence {
    payload: Option<Bytes>,
    changed: bool,
    sent_at: Option<Instant>,
}

impl OwnPresence {
    pub(super) fn set(&mut self, payload: Option<Bytes>) {
        // Setting the same again is no news; the refresh keeps it alive.
        if self.payload != payload {
            self.payload = payload;
            self.changed = true;
        }
    }

    /// The same presence for a channel that is opened anew.
    pub(super) fn again(&self) -> Self {
        let changed = self.payload.is_some();
        Self { payload: self.payload.clone(), changed, sent_at: None }
    }

    /// When it must be sent next.
    pub(super) fn due(&self, refresh_ms: u64) -> Option<Instant> {
        match self.sent_at {
            _ if !self.changed && self.payload.is_none() => None,
            None => Some(Instant::default()),
            Some(sent_at) if self.changed => Some(sent_at.plus_ms(SPACING_MS)),
            Some(sent_at) => Some(sent_at.plus_ms(refresh_ms)),
        }
    }

    /// What to send, if it is time.
    pub(super) fn take_due(&mut self, now: Instant, refresh_ms: u64) -> Option<Option<Bytes>> {
        if self.due(refresh_ms).is_none_or(|due| now < due) {
            return None;
        }
        self.changed = false;
        self.sent_at = Some(now);
        Some(self.payload.clone())
    }
}

/// Brings the list of others up to date.
pub(super) fn merge(peers: &mut LiteMap<u64, PresencePeer>, state: PresenceState) {
    if state.full {
        peers.clear();
    }
    for entry in state.entries {
        let session = entry.session;
        match entry.payload {
            None => drop(peers.remove(&session)),
            Some(payload) => {
                let peer =
                    PresencePeer { session, principal: entry.principal, payload: payload.to_vec() };
                peers.insert(session, peer);
            }
        }
    }
}
