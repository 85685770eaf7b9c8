//! What a person asks: saved here? saved on the server? how many changes wait? why not?

use std::fmt;

use leptos_sync_protocol::NackCode;

/// Where the device stands with the server, over all open documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SyncState {
    /// There is no server to talk to at the moment. Work goes on here.
    #[default]
    Offline,
    /// A connection is being made.
    Connecting,
    /// Connected, and changes are on their way in one direction or the other.
    Syncing,
    /// Connected, and the server has durably all that is here and the other way round.
    Saved,
}

impl SyncState {
    /// `offline`, `connecting`, `syncing` or `saved`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Connecting => "connecting",
            Self::Syncing => "syncing",
            Self::Saved => "saved",
        }
    }
}

impl fmt::Display for SyncState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether changes reach the device's storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StorageHealth {
    /// They do.
    #[default]
    Healthy,
    /// They are in memory only, still sent to the server, and writing is tried again by itself.
    Failing(StorageFault),
}

/// What keeps changes from being stored here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum StorageFault {
    /// There is no room. Free some, and writing resumes.
    #[error("there is no room")]
    QuotaExceeded,
    /// A newer version of the program took the store over, or somebody deleted it. Reload the page.
    #[error("storage was taken over, load the page again")]
    Closed,
    /// Another tab keeps an older version of the store open.
    #[error("another tab with an older version keeps it closed")]
    Blocked,
    /// What is stored cannot be read. It is left as it is; the server's copy is used.
    #[error("stored data is damaged")]
    Corrupt,
    /// There is no store here, as in some private windows, or it does not answer.
    #[error("storage is unavailable")]
    Unavailable,
    /// The store failed in a way of its own.
    #[error("storage failed")]
    Failed,
}

/// Why the state is not [`SyncState::Saved`], when there is a reason to name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// No server is configured.
    #[error("no server is configured")]
    NoServer,
    /// The browser says that there is no network.
    #[error("no network")]
    NoNetwork,
    /// The server does not answer. It is tried again by itself.
    #[error("server unreachable")]
    ServerUnreachable,
    /// The server asked for a pause. It is tried again by itself.
    #[error("server asked for a pause")]
    ServerBusy,
    /// The server wants a valid token. Sign in again.
    #[error("not signed in")]
    Unauthorized,
    /// The account may not read or change the document. Changes are kept here.
    #[error("no permission")]
    Forbidden,
    /// The server speaks a newer protocol. Reload the page to get the newer program.
    #[error("a newer version is needed")]
    NewerVersion,
    /// The server refused a change; it is kept here and its followers wait.
    #[error("a change was refused")]
    Rejected(NackCode),
    /// The device's clock is too far ahead, so that the server holds changes back.
    #[error("the clock of this device is wrong")]
    ClockSkew,
    /// Changes cannot be stored on this device.
    #[error("not saved on this device: {0}")]
    Storage(StorageFault),
}

/// The engine's state in a form to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncStatus {
    /// Where the device stands with the server.
    pub state: SyncState,
    /// How many changes in open documents have no durable acknowledgement of the server.
    pub pending: usize,
    /// Whether all changes in open documents are in the device's storage: a page that is left now
    /// loses nothing.
    pub saved_here: bool,
    /// Whether changes reach the device's storage.
    pub storage: StorageHealth,
    /// Why it is not all saved, if that has a name.
    pub reason: Option<Reason>,
}

impl Default for SyncStatus {
    /// Offline, with nothing written.
    fn default() -> Self {
        Self {
            state: SyncState::default(),
            pending: 0,
            saved_here: true,
            storage: StorageHealth::default(),
            reason: None,
        }
    }
}

/// One document's state in a form to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocStatus {
    /// Whether what was stored here has been read.
    pub loaded: bool,
    /// Where the document stands with the server.
    pub state: SyncState,
    /// How many of its changes have no durable acknowledgement of the server.
    pub pending: usize,
    /// Whether all its changes are in the device's storage.
    pub saved_here: bool,
    /// Why it is not all saved, if that has a name.
    pub reason: Option<Reason>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_named_and_ordered_from_bad_to_good() {
        use SyncState::{Connecting, Offline, Saved, Syncing};
        let states = [Offline, Connecting, Syncing, Saved];
        assert!(states.is_sorted());
        let names = states.map(|state| state.to_string());
        assert_eq!(names, ["offline", "connecting", "syncing", "saved"]);
    }
}
