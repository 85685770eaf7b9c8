//! A device on its own: who its tabs write as, and what they take back.
#![cfg(not(target_family = "wasm"))]

mod support;

use leptos_sync_storage::Fault;
use support::{Device, TestServer, Writing, board, pass, simulate, until};

/// A tab that was shut down keeps its id until what waits for storage is written.
#[test]
fn an_id_is_given_back_when_all_is_written() {
    simulate(async {
        let device = Device::new(1);
        let tab = device.lonely_tab();
        let doc = tab.open(&board());
        let loaded = doc.clone();
        until(move || loaded.is_loaded()).await;
        let peer = doc.read(leptos_sync_crdt::Doc::peer);
        // There was a second tab, whose name is known.
        assert_ne!(peer_of_new_tab(&device).await, peer);
        device.storage.stall_writes(true);
        doc.write(0, "milk");
        pass(10).await;
        tab.shutdown();
        assert_ne!(peer_of_new_tab(&device).await, peer, "it may still be written under");
        device.storage.stall_writes(false);
        pass(10).await;
        assert_eq!(peer_of_new_tab(&device).await, peer);
        let idle = device.lonely_tab();
        pass(10).await;
        idle.shutdown();
        assert_eq!(peer_of_new_tab(&device).await, peer, "nothing waited");
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
