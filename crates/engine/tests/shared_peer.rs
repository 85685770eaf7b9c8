//! Copied browser profiles, and engines under one id all the same: nobody's words are lost.
#![cfg(not(target_family = "wasm"))]

mod support;

use std::collections::BTreeSet;

use leptos_sync_engine::DocHandle;
use support::{Device, TestServer, Writing, board, close, simulate, until};

/// Copies of a profile write under ids of their own from the first change on, offline too.
#[test]
fn what_copies_of_a_profile_write_offline_is_there_once() {
    simulate(async {
        let server = TestServer::start();
        let device = Device::new(1);
        let tab = device.tab(&server);
        let doc = tab.open(&board());
        let loaded = doc.clone();
        until(move || loaded.is_loaded()).await;
        doc.write(0, "shared ");
        let saved = doc.clone();
        until(move || saved.is_saved()).await;
        server.set_reachable(false).await;
        doc.write(7, "unsent ");
        close(tab, vec![doc]).await;
        let copy = Device::new(2);
        copy_all(&device.storage.reopen(), &copy.storage).await;

        let (ours, theirs) = (device.tab(&server), copy.tab(&server));
        let docs = [ours.open(&board()), theirs.open(&board())];
        let loaded = docs.clone();
        until(move || loaded.iter().all(DocHandle::is_loaded)).await;
        let known = docs[0].read(|doc| doc.version().clone());
        docs[0].write(14, "one ");
        docs[0].write(18, "more ");
        docs[1].write(14, "two ");
        docs[1].transact(|tx| tx.table("tasks").insert([("title", "buy milk")]));
        let peers = docs.clone().map(|doc| doc.read(leptos_sync_crdt::Doc::peer));
        assert_ne!(peers[0], peers[1]);
        assert_eq!(peers.map(|peer| known.get(peer)), [0, 0], "ids that nobody has used");

        server.set_reachable(true).await;
        let text = same_text(&server, &docs).await;
        for word in ["shared ", "unsent ", "one more ", "two "] {
            assert_eq!(text.matches(word).count(), 1, "{word:?} in {text:?}");
        }
        assert_eq!(docs.clone().map(|doc| doc.read(leptos_sync_crdt::Doc::peer)), peers);
        assert_eq!(docs[0].read(|doc| doc.version().iter().count()), 3);
    });
}

/// Two that drew one id, which should not happen, write under it: each keeps its words, and the
/// server has all.
#[test]
fn what_was_written_under_somebody_elses_id_is_written_again_as_another() {
    simulate(async {
        let server = TestServer::start();
        let (device, twin) = (Device::new(1), Device::new(1));
        let (ours, theirs) = (device.tab(&server), twin.tab(&server));
        let docs = [ours.open(&board()), theirs.open(&board())];
        let third = Device::new(2).tab(&server).open(&board());
        third.write(0, "shared ");
        same_text(&server, &docs).await;
        server.set_reachable(false).await;
        let peer = docs[0].read(leptos_sync_crdt::Doc::peer);
        assert_eq!(peer, docs[1].read(leptos_sync_crdt::Doc::peer), "they are twins");
        docs[0].write(7, "one ");
        docs[0].write(11, "more ");
        docs[1].write(7, "two ");
        docs[1].transact(|tx| tx.table("tasks").insert([("title", "buy milk")]));
        let stored = docs.clone();
        until(move || stored.iter().all(|doc| doc.status().saved_here)).await;

        server.set_reachable(true).await;
        let text = same_text(&server, &docs).await;
        for word in ["shared ", "one more ", "two "] {
            assert_eq!(text.matches(word).count(), 1, "{word:?} in {text:?}");
        }
        assert_eq!(docs[0].read(|doc| doc.table("tasks").len()), 1);
        let peers: BTreeSet<_> =
            docs.iter().map(|doc| doc.read(leptos_sync_crdt::Doc::peer)).collect();
        assert_eq!(peers.len(), 2);

        // What each has stored is what it shows.
        let [first, second] = docs;
        close(ours, vec![first]).await;
        close(theirs, vec![second]).await;
        for device in [device, twin] {
            let doc = device.lonely_tab().open(&board());
            let loaded = doc.clone();
            until(move || loaded.is_loaded()).await;
            assert_eq!(doc.text(), text);
            assert_eq!(doc.pending(), 0);
        }
    });
}

/// Waits until both have all that the server has, and show the same.
async fn same_text(server: &TestServer, docs: &[DocHandle; 2]) -> String {
    let (all, at_server) = (docs.clone(), server.clone());
    until(move || {
        let text = at_server.text(&board());
        let done = |doc: &DocHandle| doc.is_saved() && doc.status().saved_here;
        !text.is_empty() && all.iter().all(|doc| done(doc) && doc.text() == text)
    })
    .await;
    docs[0].text()
}

async fn copy_all(
    from: &leptos_sync_storage::MemoryStorage,
    to: &leptos_sync_storage::MemoryStorage,
) {
    use leptos_sync_storage::Storage;
    for (key, value) in from.list_meta("").await.expect("storage works") {
        to.put_meta(&key, &value).await.expect("storage works");
    }
    let stored = from.load(&board()).await.expect("storage works");
    to.append(vec![(board(), stored.blocks)]).await.expect("storage works");
}
