//! Log marks against the real server process: whoever comes back says up to where it has read.

mod common;

use std::time::Duration;

use common::{Client, Server, doc_id, now_ms};
use leptos_sync_crdt::{Block, Doc, PeerId, VersionVector};
use leptos_sync_protocol::{ClientEvent, ClientInput, DocErrCode, LogMark, VERSION_PEERS_MAX};
use leptos_sync_storage::{SqliteStorage, Storage};

/// How often a client that is heard is told how far it has read, and a bit.
const MARK_INTERVAL: Duration = Duration::from_millis(15_100);

/// A change of each of so many authors, each of whom had seen the ones before.
fn changes_of(authors: u64) -> Vec<Block> {
    let mut doc = Doc::new(PeerId(0));
    let changes = (1_000..1_000 + authors).map(|peer| {
        doc.set_peer(PeerId(peer));
        let ((), commit) = doc.transact(now_ms(), |tx| tx.counter("starts").add(1));
        doc.block(&commit.expect("something was written"))
    });
    changes.collect()
}

async fn append(dir: &std::path::Path, blocks: Vec<Block>) {
    let store = SqliteStorage::open(dir.join("leptos-sync.sqlite")).unwrap();
    store.append(vec![(doc_id("d"), blocks)]).await.unwrap();
    store.close().await;
}

async fn caught_up(client: &mut Client) -> LogMark {
    match client.until(|event| matches!(event, ClientEvent::CaughtUp { .. })).await {
        ClientEvent::CaughtUp { at, .. } => at,
        _ => unreachable!("nothing else matches"),
    }
}

/// Connects as one who has `doc`, and opens it with a mark.
async fn come_back(server: &Server, peer: u64, doc: Doc, since: LogMark) -> Client {
    let mut client = Client::connect(server, peer, "d", None).await;
    client.until(|event| matches!(event, ClientEvent::Welcome { .. })).await;
    client.doc = doc;
    client.heard_bytes = 0;
    let (doc, have) = (client.id.clone(), VersionVector::new());
    let since = Some(since);
    client.input(ClientInput::Open { doc, have, me: None, since }).await;
    client
}

/// More starts have written than a message could name. Whoever was there hears of none of them, but
/// of what came since, also after a kill.
#[tokio::test]
async fn who_comes_back_to_a_document_of_many_authors_names_none_of_them() {
    const AUTHORS: u64 = VERSION_PEERS_MAX as u64 + 1_000;
    let dir = tempfile::tempdir().unwrap();
    append(dir.path(), changes_of(AUTHORS)).await;
    let server = Server::start(dir.path(), &[]);
    let mut ada = Client::connect(&server, 1, "d", None).await;
    ada.open_doc().await;
    let at = caught_up(&mut ada).await;
    assert_eq!(ada.doc.version().peer_count(), AUTHORS as usize);
    assert_eq!(at, LogMark { position: AUTHORS, digest: ada.doc.version().digest() });
    let known = ada.doc.fork(PeerId(1));
    server.kill();

    let server = Server::start(dir.path(), &[]);
    let mut bob = Client::connect(&server, 2, "d", None).await;
    bob.open_doc().await;
    caught_up(&mut bob).await;
    bob.save("news").await;
    let mut ada = come_back(&server, 1, known, at).await;
    let later = caught_up(&mut ada).await;
    assert_eq!((ada.text(), ada.version()), (bob.text(), bob.version()));
    assert_eq!(later, LogMark { position: AUTHORS + 1, digest: ada.doc.version().digest() });
    assert!(ada.heard_bytes < 300, "{} bytes", ada.heard_bytes);
}

/// Whoever stays is told from time to time how far that is by now.
#[tokio::test]
async fn the_mark_follows_what_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let mut ada = Client::connect(&server, 1, "d", None).await;
    ada.open_doc().await;
    let none = LogMark { position: 0, digest: 0 };
    assert_eq!(caught_up(&mut ada).await, none);
    let mut bob = Client::open(&server, 2, "d").await;
    bob.save("one").await;
    ada.until_text("one").await;
    ada.save("two").await;
    tokio::time::sleep(MARK_INTERVAL).await;
    ada.input(ClientInput::Nudge).await;
    let version = ada.doc.version().clone();
    let at = LogMark { position: 2, digest: version.digest() };
    assert_eq!(caught_up(&mut ada).await, at);
    // Nothing is new since: nothing is said.
    let doc = ada.doc.fork(PeerId(1));
    tokio::time::sleep(MARK_INTERVAL).await;
    ada.input(ClientInput::Nudge).await;
    bob.save("three").await;
    let is_news = |event: &ClientEvent| {
        matches!(event, ClientEvent::Blocks { .. } | ClientEvent::CaughtUp { .. })
    };
    let next = ada.until(is_news).await;
    assert!(matches!(next, ClientEvent::Blocks { .. }), "{next:?}");
    assert_eq!(caught_up(&mut ada).await.position, 3);
    let mut again = come_back(&server, 1, doc, at).await;
    assert_eq!(caught_up(&mut again).await.position, 3);
    assert_eq!(again.version(), bob.version());
}

/// Where another log is in the place of the one that was read, its mark is unknown, and all can be
/// asked for without one.
#[tokio::test]
async fn a_mark_of_another_log_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let changes = changes_of(3);
    append(dir.path(), changes.clone()).await;
    let server = Server::start(dir.path(), &[]);
    let mut ada = Client::connect(&server, 1, "d", None).await;
    ada.open_doc().await;
    let at = caught_up(&mut ada).await;
    server.kill();
    let other = tempfile::tempdir().unwrap();
    let mut others = Doc::new(PeerId(7));
    others.import(now_ms(), changes[..2].to_vec()).unwrap();
    others.transact(now_ms(), |tx| tx.counter("starts").add(1));
    append(other.path(), others.blocks_since(&VersionVector::new())).await;
    let server = Server::start(other.path(), &[]);
    let mut ada = come_back(&server, 1, ada.doc.fork(PeerId(1)), at).await;
    let error = ada.until(|event| matches!(event, ClientEvent::DocError { .. })).await;
    let (doc, code) = (ada.id.clone(), DocErrCode::UnknownMark);
    assert_eq!(error, ClientEvent::DocError { doc, code });
    ada.open_doc().await;
    assert_eq!(caught_up(&mut ada).await.position, 3);
    assert_eq!(ada.doc.version().peer_count(), 4, "what is here, and what is there");
}
