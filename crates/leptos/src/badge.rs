//! The sync badge: one line that says whether everything is saved, and if not, why.

// The component macro repeats the function's `pub` in a private module of its own.
#![allow(unreachable_pub)]

use leptos::prelude::*;
use leptos_sync_engine::{Reason, SyncState, SyncStatus};

use crate::context::use_sync;

/// Shows where this device stands: a `role="status"` line that screen readers announce politely.
///
/// `data-state` is `offline`, `connecting`, `syncing` or `saved`; `data-pending` is the number of
/// changes that wait for the server's durable acknowledgement; `data-stored` says whether all of
/// them are in this device's storage.
///
/// # Panics
/// If no component above called [`provide_sync`](crate::provide_sync).
#[component]
pub fn SyncStatusBadge() -> impl IntoView {
    let sync = use_sync();
    let status = Memo::new(move |_| sync.status());
    view! {
        <span
            class="sync-status"
            role="status"
            data-testid="sync-status"
            data-state=move || status.with(|status| status.state.as_str())
            data-pending=move || status.with(|status| status.pending.to_string())
            data-stored=move || status.with(|status| status.saved_here.to_string())
        >
            {move || status.with(status_text)}
        </span>
    }
}

/// The status in words.
#[must_use]
pub fn status_text(status: &SyncStatus) -> String {
    let waiting = match status.pending {
        0 => String::new(),
        1 => "1 change waits for the server".to_owned(),
        many => format!("{many} changes wait for the server"),
    };
    let head = match status.state {
        SyncState::Saved => "Saved",
        SyncState::Syncing => "Syncing…",
        SyncState::Connecting => "Connecting…",
        SyncState::Offline => match status.reason {
            Some(Reason::NoServer) if status.saved_here => "Saved on this device",
            Some(Reason::NoServer) => "Saving on this device…",
            _ => "Offline",
        },
    };
    let mut parts = vec![head.to_owned()];
    if !waiting.is_empty() && status.reason != Some(Reason::NoServer) {
        parts.push(waiting);
    }
    match status.reason {
        None | Some(Reason::NoServer | Reason::ServerUnreachable | Reason::NoNetwork) => {}
        Some(reason) => parts.push(reason.to_string()),
    }
    parts.join(" · ")
}

#[cfg(test)]
mod tests {
    use leptos_sync_engine::StorageFault;

    use super::*;

    fn check(state: SyncState, pending: usize, reason: Option<Reason>, expected: &str) {
        let status = SyncStatus { state, pending, reason, ..SyncStatus::default() };
        assert_eq!(status_text(&status), expected);
    }

    #[test]
    fn the_badge_speaks_plainly() {
        check(SyncState::Saved, 0, None, "Saved");
        check(SyncState::Syncing, 1, None, "Syncing… · 1 change waits for the server");
        let unreachable = Some(Reason::ServerUnreachable);
        check(SyncState::Offline, 3, unreachable, "Offline · 3 changes wait for the server");
        check(SyncState::Offline, 3, Some(Reason::NoServer), "Saved on this device");
        let status = SyncStatus {
            saved_here: false,
            reason: Some(Reason::NoServer),
            ..SyncStatus::default()
        };
        assert_eq!(status_text(&status), "Saving on this device…");
        let full = Some(Reason::Storage(StorageFault::QuotaExceeded));
        check(SyncState::Saved, 0, full, "Saved · not saved on this device: there is no room");
    }
}
