//! Copied browser profiles: two engines continue one peer's sequence, and nobody's words are lost.
#![cfg(not(target_family = "wasm"))]

mod support;

use std::collections::BTreeSet;

use support::{Device, TestServer, Writing, board, close, simulate, until};

/// A copied profile writes under an id of its own as soon as the server knows better.
#[test]
fn a_copied_profile_gets_a_fresh_peer() {
    simulate(async {
        let server = TestServer::start();
        let device = Device::new(1);
        let tab = device.tab(&server);
        let doc = tab.open(&board());
        let loaded = doc.clone();
        until(move || loaded.is_loaded()).await;
        doc.write(0, "one ");
        let saved = doc.clone();
        until(move || saved.is_saved()).await;
        close(tab, vec![doc]).await;

        // The copy does not have what the original writes next under the same id.
        let copy = Device::new(2);
        let original = device.storage.reopen();
        copy_meta(&original, &copy.storage).await;
        let tab = copy.tab(&server);
        let doc = tab.open(&board());
        let caught_up = doc.clone();
        until(move || caught_up.text() == "one " && caught_up.is_saved()).await;
        let known = doc.read(|doc| doc.version().clone());
        doc.write(4, "two ");
        let saved = doc.clone();
        until(move || saved.is_saved()).await;
        assert_eq!(
            known.get(doc.read(leptos_sync_crdt::Doc::peer)),
            0,
            "an id that nobody has used"
        );
        assert_eq!(server.text(&board()), "one two ");
    });
}

/// Two copies of a profile write under one id: each keeps its words, and the server has all.
#[test]
fn what_a_copied_profile_wrote_offline_is_written_again_as_somebody_else() {
    simulate(async {
        let server = TestServer::start();
        let device = Device::new(1);
        let tab = device.tab(&server);
        let doc = tab.open(&board());
        doc.write(0, "shared ");
        let saved = doc.clone();
        until(move || saved.is_saved()).await;
        close(tab, vec![doc]).await;
        let copy = Device::new(2);
        copy_all(&device.storage.reopen(), &copy.storage).await;

        server.set_reachable(false).await;
        let (ours, theirs) = (device.tab(&server), copy.tab(&server));
        let docs = [ours.open(&board()), theirs.open(&board())];
        let loaded = docs.clone();
        until(move || loaded.iter().all(leptos_sync_engine::DocHandle::is_loaded)).await;
        let peer = docs[0].read(leptos_sync_crdt::Doc::peer);
        assert_eq!(peer, docs[1].read(leptos_sync_crdt::Doc::peer), "the copy is complete");
        docs[0].write(7, "one ");
        docs[0].write(11, "more ");
        docs[1].write(7, "two ");
        docs[1].transact(|tx| tx.table("tasks").insert([("title", "buy milk")]));
        let stored = docs.clone();
        until(move || stored.iter().all(|doc| doc.status().saved_here)).await;
        let second = theirs.open(&board());

        server.set_reachable(true).await;
        let all = docs.clone();
        until(move || {
            let same = all[0].text() == all[1].text();
            same && all.iter().all(|doc| doc.is_saved() && doc.status().saved_here)
        })
        .await;
        let text = docs[0].text();
        for word in ["shared ", "one more ", "two "] {
            assert_eq!(text.matches(word).count(), 1, "{word:?} in {text:?}");
        }
        assert_eq!(server.text(&board()), text);
        assert_eq!(docs[0].read(|doc| doc.table("tasks").len()), 1);
        let peers: BTreeSet<_> =
            docs.iter().map(|doc| doc.read(leptos_sync_crdt::Doc::peer)).collect();
        assert_eq!(peers.len(), 2);
        drop(second);

        // What each has stored is what it shows.
        let [first, second] = docs;
        close(ours, vec![first]).await;
        close(theirs, vec![second]).await;
        for device in [device, copy] {
            let doc = device.lonely_tab().open(&board());
            let loaded = doc.clone();
            until(move || loaded.is_loaded()).await;
            assert_eq!(doc.text(), text);
            assert_eq!(doc.pending(), 0);
        }
    });
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

async fn copy_meta(
    from: &leptos_sync_storage::MemoryStorage,
    to: &leptos_sync_storage::MemoryStorage,
) {
    use leptos_sync_storage::Storage;
    for (key, value) in from.list_meta("peer/").await.expect("storage works") {
        to.put_meta(&key, &value).await.expect("storage works");
    }
}
