//! What a person may rely on: nothing written is lost, and the status tells the truth.
#![cfg(not(target_family = "wasm"))]

mod support;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use leptos_sync_crdt::VersionVector;
use leptos_sync_engine::{
    DocEvent, NackCode, Origin, Reason, StorageFault, StorageHealth, SyncState,
};
use leptos_sync_storage::Fault;

use support::{Device, TestServer, Writing, board, close, pass, simulate, until};

/// Work done without a server reaches it, and others, later.
#[test]
fn offline_edits_are_synced_when_the_server_is_back() {
    simulate(async {
        let server = TestServer::start();
        server.set_reachable(false).await;
        let (ada, ben) = (Device::new(1), Device::new(2));
        let (ada_tab, ben_tab) = (ada.tab(&server), ben.tab(&server));
        let (ada_doc, ben_doc) = (ada_tab.open(&board()), ben_tab.open(&board()));
        ada_doc.write(0, "milk ");
        ben_doc.write(0, "eggs ");
        let status = ada_tab.clone();
        until(move || status.status().state == SyncState::Offline).await;
        assert_eq!(ada_tab.status().pending, 1);
        assert_eq!(ada_tab.status().reason, Some(Reason::ServerUnreachable));

        server.set_reachable(true).await;
        let docs = (ada_doc.clone(), ben_doc.clone());
        until(move || docs.0.is_saved() && docs.1.is_saved()).await;
        assert_eq!(ada_doc.text(), ben_doc.text());
        assert_eq!(server.text(&board()), ada_doc.text());
        assert!(ada_doc.text().contains("milk ") && ada_doc.text().contains("eggs "));
        assert_eq!(ada_tab.status().pending, 0);
    });
}

/// Unacknowledged changes survive a reload, are counted, and are sent.
#[test]
fn a_reload_keeps_what_waits_for_the_server() {
    simulate(async {
        let server = TestServer::start();
        server.set_reachable(false).await;
        let device = Device::new(1);
        let tab = device.tab(&server);
        let doc = tab.open(&board());
        doc.write(0, "milk");
        doc.write(4, ", eggs");
        close(tab, vec![doc]).await;

        let tab = device.tab(&server);
        let doc = tab.open(&board());
        let loaded = doc.clone();
        until(move || loaded.is_loaded()).await;
        assert_eq!(doc.text(), "milk, eggs");
        assert_eq!(doc.pending(), 2);
        server.set_reachable(true).await;
        let saved = doc.clone();
        until(move || saved.is_saved()).await;
        assert_eq!(server.text(&board()), "milk, eggs");
        close(tab, vec![doc]).await;

        server.set_reachable(false).await;
        let doc = device.tab(&server).open(&board());
        let loaded = doc.clone();
        until(move || loaded.is_loaded()).await;
        assert_eq!(doc.pending(), 0, "the acknowledgement was kept");
    });
}

/// A document that nobody opens after a restart is uploaded all the same.
#[test]
fn the_next_start_uploads_documents_that_stay_closed() {
    simulate(async {
        let server = TestServer::start();
        server.set_reachable(false).await;
        let device = Device::new(1);
        let tab = device.tab(&server);
        let doc = tab.open(&board());
        doc.write(0, "milk");
        close(tab, vec![doc]).await;

        server.set_reachable(true).await;
        let tab = device.tab(&server);
        let seen = server.clone();
        until(move || seen.text(&board()) == "milk").await;
        let status = tab.clone();
        until(move || status.status().pending == 0).await;
    });
}

/// A page that is left right after an edit needs no note beside it: what is stored tells.
#[test]
fn what_is_stored_and_not_acknowledged_is_sent_by_the_next_start() {
    simulate(async {
        let server = TestServer::start();
        server.set_reachable(false).await;
        let device = Device::new(1);
        let tab = device.tab(&server);
        let doc = tab.open(&board());
        let loaded = doc.clone();
        until(move || loaded.is_loaded()).await;
        doc.write(0, "milk");
        let stored = doc.clone();
        until(move || stored.status().saved_here).await;
        let noted = leptos_sync_storage::Storage::list_meta(&device.storage, "").await;
        let keys: Vec<String> = noted.expect("storage works").into_iter().map(|(k, _)| k).collect();
        assert_eq!(keys, ["kept"]);
        close(tab, vec![doc]).await;

        server.set_reachable(true).await;
        let _tab = device.tab(&server);
        let seen = server.clone();
        until(move || seen.text(&board()) == "milk").await;
    });
}

/// What was typed before storage answered is not lost to what storage had.
#[test]
fn edits_before_loading_merge_with_what_was_stored() {
    simulate(async {
        let device = Device::new(1);
        let tab = device.lonely_tab();
        let doc = tab.open(&board());
        doc.write(0, "stored");
        close(tab, vec![doc]).await;

        let tab = device.lonely_tab();
        let doc = tab.open(&board());
        assert!(!doc.is_loaded());
        doc.write(0, "early ");
        let events = Rc::new(RefCell::new(Vec::new()));
        let log = events.clone();
        let _subscription = doc.subscribe(move |event| {
            if matches!(event, DocEvent::Loaded) {
                log.borrow_mut().push("loaded");
            }
        });
        let saved = doc.clone();
        until(move || saved.status().saved_here).await;
        assert_eq!(*events.borrow(), ["loaded"]);
        assert!(doc.text() == "early stored" || doc.text() == "storedearly ");
        let before = doc.text();
        close(tab, vec![doc]).await;
        let doc = device.lonely_tab().open(&board());
        let loaded = doc.clone();
        until(move || loaded.is_loaded()).await;
        assert_eq!(doc.text(), before);
    });
}

/// The acknowledgement is lost, the change is not: sent again, it counts once.
#[test]
fn changes_are_sent_again_after_a_lost_acknowledgement() {
    simulate(async {
        let server = TestServer::start();
        let device = Device::new(1);
        let tab = device.tab(&server);
        let doc = tab.open(&board());
        let saved = doc.clone();
        until(move || saved.is_saved()).await;
        server.cut_before_ack(true);
        doc.write(0, "milk");
        let seen = server.clone();
        until(move || seen.text(&board()) == "milk").await;
        assert_eq!(doc.pending(), 1);
        server.cut_before_ack(false);
        let saved = doc.clone();
        until(move || saved.is_saved() && saved.pending() == 0).await;
        assert_eq!(server.text(&board()), "milk");
    });
}

/// What is not stored here yet is not sent, neither at once nor by a new connection.
#[test]
fn nothing_is_sent_before_it_is_stored() {
    simulate(async {
        let server = TestServer::start();
        let device = Device::new(1);
        let tab = device.tab(&server);
        let doc = tab.open(&board());
        let saved = doc.clone();
        until(move || saved.is_saved()).await;
        device.storage.stall_writes(true);
        doc.write(0, "milk");
        pass(5_000).await;
        server.set_reachable(false).await;
        server.set_reachable(true).await;
        let syncing = tab.clone();
        until(move || syncing.status().state == SyncState::Syncing).await;
        pass(5_000).await;
        assert_eq!(server.text(&board()), "");
        assert!(!doc.status().saved_here);
        assert!(!tab.status().saved_here, "leaving now would lose something");
        device.storage.stall_writes(false);
        let saved = doc.clone();
        until(move || saved.is_saved() && saved.status().saved_here).await;
        assert!(tab.status().saved_here);
        assert_eq!(server.text(&board()), "milk");
    });
}

/// A full disk does not stop anybody, and is named until there is room.
#[test]
fn without_room_changes_live_in_memory_and_at_the_server_until_there_is() {
    simulate(async {
        let server = TestServer::start();
        let device = Device::new(1);
        let (tab, other) = (device.tab(&server), device.tab(&server));
        let (doc, seen) = (tab.open(&board()), other.open(&board()));
        let (saved, also) = (doc.clone(), seen.clone());
        until(move || saved.is_saved() && also.is_saved()).await;
        device.storage.fail_writes(Some(Fault::QuotaExceeded));
        doc.write(0, "milk");
        let reached = (server.clone(), seen.clone());
        until(move || reached.0.text(&board()) == "milk" && reached.1.text() == "milk").await;
        let full = StorageHealth::Failing(StorageFault::QuotaExceeded);
        assert_eq!(tab.status().storage, full);
        assert_eq!(tab.status().reason, Some(Reason::Storage(StorageFault::QuotaExceeded)));
        assert!(!doc.status().saved_here);
        doc.write(4, ", eggs");

        device.storage.fail_writes(None);
        let stored = doc.clone();
        until(move || stored.status().saved_here).await;
        assert_eq!(tab.status().storage, StorageHealth::Healthy);
        assert_eq!(tab.status().reason, None);
        close(tab, vec![doc]).await;
        close(other, vec![seen]).await;
        let doc = device.lonely_tab().open(&board());
        let loaded = doc.clone();
        until(move || loaded.is_loaded()).await;
        assert_eq!(doc.text(), "milk, eggs");
    });
}

/// Tabs of one device need no server to see each other, and write as different peers.
#[test]
fn tabs_see_each_other_offline_and_never_share_a_peer() {
    simulate(async {
        let server = TestServer::start();
        server.set_reachable(false).await;
        let device = Device::new(1);
        let tabs: Vec<_> = (0..5).map(|_| device.tab(&server)).collect();
        let docs: Vec<_> = tabs.iter().map(|tab| tab.open(&board())).collect();
        let loading = docs.clone();
        until(move || loading.iter().all(leptos_sync_engine::DocHandle::is_loaded)).await;
        for doc in &docs {
            doc.write(0, "x");
        }
        let all = docs.clone();
        until(move || all.iter().all(|doc| doc.text() == "xxxxx")).await;
        let peers: BTreeSet<_> =
            docs.iter().map(|doc| doc.read(leptos_sync_crdt::Doc::peer)).collect();
        assert_eq!(peers.len(), 5);
        assert!(docs.iter().all(|doc| doc.pending() == 5), "each knows what waits");

        server.set_reachable(true).await;
        let all = docs.clone();
        until(move || all.iter().all(support::Writing::is_saved)).await;
        assert_eq!(server.text(&board()), "xxxxx");
    });
}

/// A tab that dies with unsent changes is survived by the others, which send them.
#[test]
fn a_dead_tabs_changes_are_sent_by_another() {
    simulate(async {
        let server = TestServer::start();
        let device = Device::new(1);
        let (dying, living) = (device.lonely_tab(), device.tab(&server));
        let (doc, seen) = (dying.open(&board()), living.open(&board()));
        let (loaded, saved) = (doc.clone(), seen.clone());
        until(move || loaded.is_loaded() && saved.is_saved()).await;
        doc.write(0, "milk");
        let told = seen.clone();
        until(move || told.text() == "milk").await;
        close(dying, vec![doc]).await;
        let saved = seen.clone();
        until(move || saved.is_saved()).await;
        assert_eq!(server.text(&board()), "milk");
    });
}

/// A server restored from a backup is given what it lost.
#[test]
fn a_new_epoch_gets_everything_again() {
    simulate(async {
        let server = TestServer::start();
        let device = Device::new(1);
        let tab = device.tab(&server);
        let doc = tab.open(&board());
        doc.write(0, "milk");
        let saved = doc.clone();
        until(move || saved.is_saved()).await;
        server.set_reachable(false).await;
        server.restore_empty();
        assert_eq!(server.text(&board()), "");
        server.set_reachable(true).await;
        let seen = server.clone();
        until(move || seen.text(&board()) == "milk").await;
        let saved = doc.clone();
        until(move || saved.is_saved()).await;
        assert_eq!(doc.text(), "milk");
    });
}

/// A server that was set up anew gets documents that nobody has open, too.
#[test]
fn a_new_epoch_gets_closed_documents_again() {
    simulate(async {
        let server = TestServer::start();
        let device = Device::new(1);
        let tab = device.tab(&server);
        let doc = tab.open(&board());
        doc.write(0, "milk");
        let saved = doc.clone();
        until(move || saved.is_saved()).await;
        close(tab, vec![doc]).await;

        server.set_reachable(false).await;
        server.restore_empty();
        server.set_reachable(true).await;
        let tab = device.tab(&server);
        let seen = server.clone();
        until(move || seen.text(&board()) == "milk").await;
        let status = tab.clone();
        until(move || status.status().pending == 0).await;
    });
}

/// A long log becomes a snapshot, and loads as the same document.
#[test]
fn a_long_log_is_compacted_and_loads_again() {
    simulate(async {
        let mut device = Device::new(1);
        device.config.compact_blocks = 20;
        let tab = device.lonely_tab();
        let doc = tab.open(&board());
        let loaded = doc.clone();
        until(move || loaded.is_loaded()).await;
        for at in 0..50 {
            doc.write(at, "x");
            pass(2).await;
        }
        close(tab, vec![doc]).await;
        let storage = device.storage.reopen();
        let stored = leptos_sync_storage::Storage::load(&storage, &board()).await;
        let stored = stored.expect("storage works");
        assert!(stored.snapshot.is_some());
        assert!(stored.blocks.len() < 20, "{} blocks left", stored.blocks.len());

        let doc = device.lonely_tab().open(&board());
        let loaded = doc.clone();
        until(move || loaded.is_loaded()).await;
        assert_eq!(doc.text(), "x".repeat(50));
        assert_eq!(doc.pending(), 50);
    });
}

/// Others see who is there through the server, and without it through the tabs of the device.
#[test]
fn presence_comes_from_the_server_and_without_it_from_tabs() {
    simulate(async {
        let server = TestServer::start();
        let (ada, ben) = (Device::new(1), Device::new(2));
        let (ada_tab, second_tab, ben_tab) = (ada.tab(&server), ada.tab(&server), ben.tab(&server));
        let docs = [ada_tab.open(&board()), second_tab.open(&board()), ben_tab.open(&board())];
        docs[0].set_presence(Some(b"Ada".to_vec()));
        let names = |doc: &leptos_sync_engine::DocHandle| -> Vec<Vec<u8>> {
            doc.peers().into_iter().map(|peer| peer.payload).collect()
        };
        let all = docs.clone();
        until(move || names(&all[1]) == [b"Ada"] && names(&all[2]) == [b"Ada"]).await;
        assert!(names(&docs[0]).is_empty(), "nobody is listed to itself");

        server.set_reachable(false).await;
        let all = docs.clone();
        until(move || names(&all[1]) == [b"Ada"] && names(&all[2]).is_empty()).await;
        pass(60_000).await;
        assert_eq!(names(&docs[1]), [b"Ada"], "kept alive by repetition");
        docs[0].set_presence(None);
        let all = docs.clone();
        until(move || names(&all[1]).is_empty()).await;

        server.set_reachable(true).await;
        docs[2].set_presence(Some(b"Ben".to_vec()));
        let all = docs.clone();
        until(move || names(&all[0]) == [b"Ben"]).await;
        drop(docs);
        drop(ben_tab);
    });
}

/// The status moves through the states a person understands, and not back and forth.
#[test]
fn the_status_goes_from_connecting_to_saved_and_does_not_flicker() {
    simulate(async {
        let server = TestServer::start();
        let device = Device::new(1);
        let tab = device.tab(&server);
        let states = Rc::new(RefCell::new(vec![tab.status().state]));
        let log = states.clone();
        let _subscription = tab.subscribe(move |status| {
            let mut log = log.borrow_mut();
            if log.last() != Some(&status.state) {
                log.push(status.state);
            }
        });
        let doc = tab.open(&board());
        doc.write(0, "milk");
        let saved = doc.clone();
        until(move || saved.is_saved()).await;
        use SyncState::{Connecting, Offline, Saved, Syncing};
        assert_eq!(*states.borrow(), [Connecting, Syncing, Saved]);

        states.borrow_mut().clear();
        server.set_reachable(false).await;
        pass(120_000).await;
        assert_eq!(*states.borrow(), [Offline], "failing attempts are not shown");
        server.set_reachable(true).await;
        let saved = doc.clone();
        until(move || saved.is_saved()).await;
        assert_eq!(states.borrow().last(), Some(&Saved));
        tab.set_online(false);
        assert_eq!(tab.status().state, Offline);
        assert_eq!(tab.status().reason, Some(Reason::NoNetwork));
        tab.set_online(true);
        let saved = doc.clone();
        until(move || saved.is_saved()).await;
    });
}

/// A socket that carries nothing any more is given up, and nothing is lost with it.
#[test]
fn a_half_open_socket_is_replaced() {
    simulate(async {
        let server = TestServer::start();
        let device = Device::new(1);
        let tab = device.tab(&server);
        let doc = tab.open(&board());
        let saved = doc.clone();
        until(move || saved.is_saved()).await;
        server.set_muted(true).await;
        doc.write(0, "milk");
        pass(30_000).await;
        assert_eq!(tab.status().state, SyncState::Offline);
        assert_eq!(doc.pending(), 1);
        server.set_muted(false).await;
        let saved = doc.clone();
        until(move || saved.is_saved()).await;
        assert_eq!(server.text(&board()), "milk");
    });
}

/// A refused change is kept, counted and named, and not sent for ever.
#[test]
fn a_refused_change_is_kept_and_named() {
    simulate(async {
        let server = TestServer::start();
        let device = Device::new(1);
        let tab = device.tab(&server);
        let doc = tab.open(&board());
        let saved = doc.clone();
        until(move || saved.is_saved()).await;
        server.refuse(Some(NackCode::Forbidden));
        doc.write(0, "milk");
        let named = doc.clone();
        until(move || named.status().reason == Some(Reason::Forbidden)).await;
        pass(60_000).await;
        assert_eq!((doc.text().as_str(), doc.pending()), ("milk", 1));
        assert_eq!(tab.status().state, SyncState::Syncing);

        server.refuse(Some(NackCode::Quota));
        server.set_reachable(false).await;
        server.set_reachable(true).await;
        let named = doc.clone();
        until(move || named.status().reason == Some(Reason::Rejected(NackCode::Quota))).await;
        server.refuse(None);
        let saved = doc.clone();
        until(move || saved.is_saved()).await;
        assert_eq!(server.text(&board()), "milk");
    });
}

/// Subscribers learn where a change came from.
#[test]
fn changes_name_their_origin() {
    simulate(async {
        let server = TestServer::start();
        let (ada, ben) = (Device::new(1), Device::new(2));
        let (tab, second, other) = (ada.tab(&server), ada.tab(&server), ben.tab(&server));
        let docs = [tab.open(&board()), second.open(&board()), other.open(&board())];
        let all = docs.clone();
        until(move || all.iter().all(support::Writing::is_saved)).await;
        let origins = Rc::new(RefCell::new(Vec::new()));
        let log = origins.clone();
        let _subscription = docs[0].subscribe(move |event| {
            if let DocEvent::Changed { origin, patches } = event {
                assert!(!patches.is_empty());
                log.borrow_mut().push(*origin);
            }
        });
        for (count, doc) in docs.iter().enumerate() {
            doc.write(0, "x");
            let all = docs.clone();
            until(move || all.iter().all(|doc| doc.text().len() == count + 1)).await;
        }
        assert_eq!(*origins.borrow(), [Origin::Local, Origin::OtherTab, Origin::Remote]);
        assert!(docs[0].undo());
        assert_eq!(docs[0].text(), "xx");
        assert!(docs[0].redo());
        assert_eq!(docs[0].text(), "xxx");
    });
}

/// Closing a document gives its memory back once its changes are safe.
#[test]
fn a_closed_document_is_forgotten_when_it_is_safe() {
    simulate(async {
        let server = TestServer::start();
        let device = Device::new(1);
        let tab = device.tab(&server);
        let doc = tab.open(&board());
        doc.write(0, "milk");
        drop(doc);
        let seen = server.clone();
        until(move || seen.text(&board()) == "milk").await;
        let storage = tab.clone();
        pass(1_000).await;
        assert_eq!(storage.docs().await.expect("storage works"), [board()]);
        tab.remove(&board()).await.expect("nobody has it open");
        assert!(tab.docs().await.expect("storage works").is_empty());
        assert_eq!(server.connections(), 1);
        let doc = tab.open(&board());
        let back = doc.clone();
        until(move || back.text() == "milk").await;
        assert!(!doc.read(|doc| doc.version() == &VersionVector::new()));
    });
}

/// A server that forgot changes without saying so is found out by the first document that is
/// opened there, and gets the others, too.
#[test]
fn a_server_that_lost_changes_gets_them_again_in_every_document() {
    simulate(async {
        let other = leptos_sync_crdt::DocId::new("board/43").expect("a valid id");
        let server = TestServer::start();
        let device = Device::new(1);
        let tab = device.tab(&server);
        let docs = vec![tab.open(&board()), tab.open(&other)];
        docs[0].write(0, "milk");
        docs[1].write(0, "eggs");
        let all = docs.clone();
        until(move || all.iter().all(support::Writing::is_saved)).await;
        close(tab, docs).await;
        server.forget();
        let tab = device.tab(&server);
        pass(5_000).await;
        assert_eq!(server.text(&board()), "", "nobody has noticed");
        let doc = tab.open(&board());
        let (seen, id) = (server.clone(), other.clone());
        until(move || seen.text(&board()) == "milk" && seen.text(&id) == "eggs").await;
        let saved = doc.clone();
        until(move || saved.is_saved()).await;
    });
}
