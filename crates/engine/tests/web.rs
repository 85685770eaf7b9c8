//! The engine in a real browser: tabs that meet, and a page that reloads.
#![cfg(target_family = "wasm")]

use leptos_sync_crdt::DocId;
use leptos_sync_engine::{
    DocHandle, EngineConfig, Env, SyncState, WebEnv, hook_page, start_in_page,
};
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

fn env() -> WebEnv {
    WebEnv::new().expect("tests run in a window")
}

/// A name that no earlier test used.
fn fresh(name: &str) -> String {
    format!("{name}-{:x}", env().random_u64())
}

async fn until(mut done: impl FnMut() -> bool) {
    let start = env().now_ms();
    while !done() {
        assert!(env().now_ms() - start < 10_000, "waited in vain");
        env().sleep(5).await;
    }
}

fn board() -> DocId {
    DocId::new("board/42").expect("a valid id")
}

fn write(doc: &DocHandle, text: &str) {
    doc.transact(|tx| tx.text("note").insert(0, text)).expect("the position is in range");
}

fn text(doc: &DocHandle) -> String {
    doc.read(|doc| doc.text("note").to_string())
}

/// Two engines of one page see each other without a server, as different peers, and what they
/// wrote is in IndexedDB for the next one, which writes as somebody else again.
#[wasm_bindgen_test]
async fn tabs_meet_offline_and_a_reload_finds_everything() {
    let database = fresh("journey");
    let start =
        || start_in_page(EngineConfig::default(), &database, None).expect("tests run in a window");
    let (first, second) = (start(), start());
    let (ours, theirs) = (first.open(&board()), second.open(&board()));
    write(&ours, "milk ");
    until(|| ours.is_loaded() && theirs.is_loaded() && text(&theirs) == "milk ").await;
    write(&theirs, "eggs ");
    until(|| text(&ours).contains("eggs ")).await;
    assert_eq!(text(&ours), text(&theirs));
    let peer = |doc: &DocHandle| doc.read(leptos_sync_crdt::Doc::peer);
    assert_ne!(peer(&ours), peer(&theirs));

    until(|| ours.status().saved_here && theirs.status().saved_here).await;
    let (expected, peers) = (text(&ours), [peer(&ours), peer(&theirs)]);
    drop((ours, theirs));
    first.shutdown();
    second.shutdown();
    drop((first, second));

    let reloaded = start();
    let doc = reloaded.open(&board());
    until(|| doc.is_loaded()).await;
    assert_eq!(text(&doc), expected);
    assert_eq!(doc.status().pending, 2);
    assert!(!peers.contains(&peer(&doc)));
    assert_eq!(reloaded.docs().await.expect("storage works"), [board()]);
}

/// A page without a reachable server says so, and works.
#[wasm_bindgen_test]
async fn an_unreachable_server_is_named() {
    let nobody = "ws://127.0.0.1:2/sync";
    let engine = start_in_page(EngineConfig::default(), &fresh("offline"), Some(nobody))
        .expect("tests run in a window");
    let hooks = hook_page(&engine);
    assert!(hooks.listener_count() > 0);
    let doc = engine.open(&board());
    write(&doc, "milk");
    until(|| engine.status().state == SyncState::Offline && doc.status().saved_here).await;
    assert_eq!(engine.status().pending, 1);
    assert!(engine.status().reason.is_some());
}
