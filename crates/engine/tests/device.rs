//! A device on its own: who its tabs write as, and what they take back.
#![cfg(not(target_family = "wasm"))]

mod support;

use std::rc::Rc;

use leptos_sync_crdt::VersionVector;
use leptos_sync_engine::{DocHandle, Reason, SyncEngine, SyncState};
use leptos_sync_storage::{Fault, Storage};
use leptos_sync_transport::{ConnectError, MemoryReceiver, MemorySender, Transport};
use support::{Device, TestServer, WALL_START_MS, Writing, board, pass, simulate, until};

/// Each start writes under an id of its own, so that nothing that is lost, stored late or copied
/// can be taken for something else.
#[test]
fn no_two_starts_write_under_one_id() {
    simulate(async {
        let device = Device::new(1);
        let tab = device.lonely_tab();
        let doc = tab.open(&board());
        let loaded = doc.clone();
        until(move || loaded.is_loaded()).await;
        let first = doc.read(leptos_sync_crdt::Doc::peer);
        let second = peer_of_new_tab(&device).await;
        tab.shutdown();
        let third = peer_of_new_tab(&device).await;
        assert!(first != second && first != third && second != third);
    });
}

async fn peer_of_new_tab(device: &Device) -> leptos_sync_crdt::PeerId {
    let doc = device.lonely_tab().open(&board());
    let loaded = doc.clone();
    until(move || loaded.is_loaded()).await;
    doc.read(leptos_sync_crdt::Doc::peer)
}

/// What can be undone is what this tab did, step by step.
#[test]
fn a_tab_undoes_and_redoes_its_own_changes() {
    simulate(async {
        let tab = Device::new(1).lonely_tab();
        let (doc, second) = (tab.open(&board()), tab.open(&board()));
        let same = doc.clone();
        assert!(doc == same && doc != second, "two holds on one document");
        assert!(!doc.can_undo() && !doc.can_redo());
        assert!(!doc.undo() && !doc.redo());
        doc.write(0, "milk");
        assert!(doc.can_undo() && !doc.can_redo());
        assert!(doc.undo());
        assert_eq!(second.text(), "");
        assert!(!doc.can_undo() && doc.can_redo());
        assert!(!doc.undo(), "there is nothing more");
        assert!(doc.redo());
        assert_eq!(second.text(), "milk");
    });
}

/// What an earlier tab left unsent is sent as soon as storage can be read, though nobody opens it.
#[test]
fn what_is_unsent_is_found_when_storage_works_again() {
    simulate(async {
        let (server, device) = (TestServer::start(), Device::new(1));
        let tab = device.lonely_tab();
        let doc = tab.open(&board());
        doc.write(0, "milk");
        let stored = doc.clone();
        until(move || stored.status().saved_here).await;
        tab.shutdown();
        drop((tab, doc));

        let _tab = device.tab(&server);
        device.storage.fail_reads(Some(Fault::Unavailable));
        pass(10_000).await;
        assert_eq!(server.text(&board()), "", "nobody knows of it yet");
        device.storage.fail_reads(None);
        let seen = server.clone();
        until(move || seen.text(&board()) == "milk").await;
    });
}

/// A device whose clock is wrong was told so by the server once, and writes nothing from the future
/// ever after, though it starts without one.
#[test]
fn a_clock_that_was_found_to_be_ahead_counts_right_without_a_server_too() {
    simulate(async {
        let (server, device) = (TestServer::start(), Device::new(1));
        device.turn_clock(24 * 3_600_000);
        let tab = device.tab(&server);
        let doc = tab.open(&board());
        let saved = doc.clone();
        until(move || saved.is_saved()).await;
        doc.write(0, "milk");
        let saved = doc.clone();
        until(move || saved.is_saved()).await;
        support::close(tab, vec![doc]).await;

        let doc = device.lonely_tab().open(&board());
        let loaded = doc.clone();
        until(move || loaded.is_loaded()).await;
        let before = doc.read(|content| content.version().clone());
        doc.write(0, "more ");
        let written = doc.read(|content| content.blocks_since(&before));
        let minutes = (written[0].header().stamp.wall_ms() - WALL_START_MS) / 60_000;
        assert_eq!((written.len(), minutes), (1, 0));
        let nothing = VersionVector::new();
        assert_eq!(doc.read(|content| content.blocks_since(&nothing).len()), 2);
    });
}

/// A page that may come back is not connected meanwhile, and is at once when it does; one that is
/// closed stays so.
#[test]
fn a_page_that_is_left_is_connected_again_when_it_is_shown_and_not_after_the_end() {
    simulate(async {
        let (server, device) = (TestServer::start(), Device::new(1));
        let tab = device.tab(&server);
        let doc = tab.open(&board());
        let saved = || {
            let doc = doc.clone();
            until(move || doc.is_saved())
        };
        saved().await;
        tab.leave();
        pass(60_000).await;
        assert_eq!(tab.status().state, SyncState::Offline);
        doc.write(0, "milk");
        tab.nudge();
        saved().await;
        assert_eq!(server.text(&board()), "milk");
        tab.shutdown();
        pass(60_000).await;
        tab.nudge();
        pass(60_000).await;
        assert_eq!(tab.status().state, SyncState::Offline);
        assert_eq!(tab.status().reason, Some(Reason::NoServer));
    });
}

/// A frozen page hears nothing of other tabs; what they stored is there when it is shown again.
#[test]
fn a_page_that_is_shown_again_finds_what_others_stored() {
    simulate(async {
        let (device, mut unheard) = (Device::new(1), Device::new(2));
        unheard.storage = device.storage.clone();
        let (frozen, tab) = (device.lonely_tab(), unheard.lonely_tab());
        let (seen, doc) = (frozen.open(&board()), tab.open(&board()));
        let loaded = seen.clone();
        until(move || loaded.is_loaded()).await;
        doc.write(0, "milk");
        until(move || doc.status().saved_here).await;
        pass(60_000).await;
        assert_eq!(seen.text(), "");
        frozen.nudge();
        until(move || seen.text() == "milk").await;
    });
}

/// A device, and its one tab with a document that is stored.
async fn with_stored_milk() -> (Device, SyncEngine, DocHandle) {
    let device = Device::new(1);
    let tab = device.lonely_tab();
    let doc = tab.open(&board());
    doc.write(0, "milk");
    let stored = doc.clone();
    until(move || stored.status().saved_here).await;
    (device, tab, doc)
}

/// What a person cleared under an open page is stored anew, and what was only out of reach for a
/// moment is not.
#[test]
fn what_is_erased_under_an_open_page_is_stored_anew() {
    simulate(async {
        let (device, _tab, doc) = with_stored_milk().await;
        device.storage.fail_writes(Some(Fault::QuotaExceeded));
        device.storage.take_away(false);
        pass(1_000).await;
        assert!(doc.status().saved_here, "there is nothing to store");
        device.storage.fail_writes(None);
        device.storage.take_away(true);
        pass(1_000).await;
        let found = device.storage.load(&board()).await.expect("it can be read");
        assert_eq!(found.blocks, doc.read(|content| content.blocks_since(&VersionVector::new())));
    });
}

/// A change that is stored later is worth nothing without what it builds on.
#[test]
fn what_is_erased_while_storage_cannot_be_read_is_stored_anew_before_more_counts_as_saved() {
    simulate(async {
        let (device, _tab, doc) = with_stored_milk().await;
        device.storage.fail_reads(Some(Fault::Unavailable));
        device.storage.take_away(true);
        pass(1).await;
        doc.write(0, "oat ");
        let stored = doc.clone();
        until(move || stored.status().saved_here).await;
        device.storage.fail_reads(None);
        let found = device.storage.load(&board()).await.expect("it can be read");
        assert_eq!(found.blocks, doc.read(|content| content.blocks_since(&VersionVector::new())));
    });
}

/// Else nobody could tell the next time whether anything was erased.
#[test]
fn what_was_stored_anew_is_marked_as_soon_as_storage_answers() {
    simulate(async {
        let (device, _tab, _doc) = with_stored_milk().await;
        device.storage.fail_reads(Some(Fault::Unavailable));
        device.storage.take_away(true);
        pass(1).await;
        device.storage.fail_reads(None);
        assert_eq!(device.storage.get_meta("kept").await.expect("it can be read"), None);
        pass(10_000).await;
        assert!(device.storage.get_meta("kept").await.expect("it can be read").is_some());
    });
}

/// A network in which no attempt to connect ever ends; what is being tried holds on to it.
struct Nowhere(Rc<()>);

impl Transport for Nowhere {
    type Sender = MemorySender;
    type Receiver = MemoryReceiver;

    async fn connect(&self) -> Result<(MemorySender, MemoryReceiver), ConnectError> {
        let _attempt = self.0.clone();
        std::future::pending().await
    }
}

#[test]
fn an_attempt_that_is_given_up_ends() {
    simulate(async {
        let network = Rc::new(());
        let tab = Device::new(1).start(Some(Nowhere(network.clone())));
        pass(1_000).await;
        assert_eq!(Rc::strong_count(&network), 3, "it is trying");
        tab.set_online(false);
        pass(1).await;
        assert_eq!(Rc::strong_count(&network), 2);
    });
}
