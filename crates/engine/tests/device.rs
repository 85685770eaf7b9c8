//! A device on its own: who its tabs write as, and what they take back.
#![cfg(not(target_family = "wasm"))]

mod support;

use leptos_sync_crdt::VersionVector;
use leptos_sync_storage::Fault;
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
