//! What clients are told when the store fails, and that one client's trouble stays its own.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{Client, PATIENCE, PROTOCOL, Server, Socket, connect};
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use leptos_sync_crdt::{Block, DocId, OpId, PeerId, VersionVector};
use leptos_sync_protocol::{
    ClientEvent, ClientInput, Close, DocErr, DocErrCode, Hello, Limits, Message as Said, NackCode,
    Open, decode_frame, encode_frame,
};
use leptos_sync_server::{AuthError, Authenticator, DoorLimits, Grant, Store, SyncServer};
use leptos_sync_storage::{
    AppendError, CompactError, Fault, MemoryStorage, ReadError, Snapshot, Storage, StoredDoc,
};
use tokio_tungstenite::tungstenite::Message;

fn message(said: &Said) -> Message {
    Message::Binary(encode_frame(said))
}

fn hello(client_id: u64) -> Message {
    let (version_min, version_max, features, wall_ms) = (1, 1, 0, 0);
    let token = None;
    message(&Said::Hello(Hello { version_min, version_max, features, client_id, token, wall_ms }))
}

fn open(ch: u32, doc: &DocId) -> Message {
    let have = VersionVector::new();
    message(&Said::Open(Open { ch, doc: doc.clone(), have, me: None, since: None }))
}

async fn until_a_write_waits(storage: &MemoryStorage) {
    let waits = async {
        while !storage.is_write_waiting() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waits).await.expect("it is written");
}

async fn rejected(client: &mut Client) -> (NackCode, u32) {
    match client.until(|event| matches!(event, ClientEvent::Rejected { .. })).await {
        ClientEvent::Rejected { code, retry_after_ms, .. } => (code, retry_after_ms),
        _ => unreachable!("only rejections match"),
    }
}

/// A full disk refuses by name; once there is room, the same change is accepted, and nobody saw it
/// in between.
#[tokio::test]
async fn a_full_disk_refuses_by_name() {
    let storage = MemoryStorage::new();
    let server = SyncServer::builder(storage.clone()).start().await.unwrap();
    let place = Server::inside(server.router()).await;
    let mut ada = Client::open(&place, 1, "d").await;
    let mut bob = Client::open(&place, 2, "d").await;
    storage.fail_writes(Some(Fault::QuotaExceeded));
    let block = ada.write("kept by its author");
    ada.send(vec![block.clone()]).await;
    assert_eq!(rejected(&mut ada).await, (NackCode::Quota, 30_000));
    assert!(Client::open(&place, 3, "d").await.text().is_empty());
    storage.fail_writes(Some(Fault::Unavailable));
    ada.send(vec![block.clone()]).await;
    assert_eq!(rejected(&mut ada).await, (NackCode::Unavailable, 5_000));
    storage.fail_writes(None);
    ada.send(vec![block]).await;
    ada.until(|event| matches!(event, ClientEvent::Acked { .. })).await;
    bob.until_text("kept by its author").await;
}

/// A write in doubt (a failed fsync) is neither acknowledged nor refused: the server stops.
#[tokio::test]
async fn a_write_in_doubt_stops_the_server() {
    let storage = MemoryStorage::new();
    let server = SyncServer::builder(storage.clone()).start().await.unwrap();
    let place = Server::inside(server.router()).await;
    let mut ada = Client::open(&place, 1, "d").await;
    assert!(server.failure().now_or_never().is_none());
    storage.fail_writes(Some(Fault::Broken));
    let block = ada.write("in doubt");
    ada.send(vec![block]).await;
    while let Some(event) = ada.event().await {
        assert!(
            !matches!(event, ClientEvent::Acked { .. } | ClientEvent::Rejected { .. }),
            "{event:?}"
        );
    }
    assert!(server.failure().await.contains("disk"));
}

/// Where the first write in doubt is the note whom a peer id belongs to, the server stops as well.
#[tokio::test]
async fn a_name_in_doubt_stops_the_server() {
    struct Named;
    impl Authenticator for Named {
        fn authenticate(&self, _: Option<&str>) -> Result<Grant, AuthError> {
            Ok(Grant::all("ada", None))
        }
    }
    let storage = MemoryStorage::new();
    let server = SyncServer::builder(storage.clone()).auth(Named).start().await.unwrap();
    let place = Server::inside(server.router()).await;
    let mut ada = Client::open(&place, 1, "d").await;
    storage.fail_writes(Some(Fault::Broken));
    let block = ada.write("in doubt");
    ada.send(vec![block]).await;
    assert!(server.failure().await.contains("disk"));
}

/// A change that two clients bring at once, and that is not stored, is acknowledged to neither.
#[tokio::test]
async fn a_change_brought_twice_is_acknowledged_to_neither_if_it_is_not_stored() {
    let storage = MemoryStorage::new();
    let server = SyncServer::builder(storage.clone()).start().await.unwrap();
    let place = Server::inside(server.router()).await;
    let mut ada = Client::open(&place, 1, "d").await;
    let mut bob = Client::open(&place, 2, "d").await;
    let mut eve = Client::open(&place, 3, "d").await;
    storage.stall_writes(true);
    let first = ada.write("keeps the room busy");
    ada.send(vec![first]).await;
    until_a_write_waits(&storage).await;
    let twice = bob.write("brought by two");
    bob.send(vec![twice.clone()]).await;
    eve.send(vec![twice]).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    storage.fail_writes(Some(Fault::QuotaExceeded));
    storage.stall_writes(false);
    for client in [&mut ada, &mut bob, &mut eve] {
        let told = |event: &ClientEvent| {
            matches!(event, ClientEvent::Acked { .. } | ClientEvent::Rejected { .. })
        };
        let answer = client.until(told).await;
        assert!(matches!(answer, ClientEvent::Rejected { .. }), "{answer:?}");
    }
}

/// A document that cannot be read is refused by name; others work, and so does it later.
#[tokio::test]
async fn an_unreadable_document_is_an_error_of_its_own() {
    let storage = MemoryStorage::new();
    let server = SyncServer::builder(storage.clone()).start().await.unwrap();
    let place = Server::inside(server.router()).await;
    let mut ada = Client::open(&place, 1, "d").await;
    storage.fail_reads(Some(Fault::Unavailable));
    let mut bob = Client::connect(&place, 2, "other", None).await;
    bob.open_doc().await;
    bob.until(|event| matches!(event, ClientEvent::DocError { .. })).await;
    ada.save("unharmed").await;
    storage.fail_reads(None);
    bob.open_doc().await;
    bob.until(|event| matches!(event, ClientEvent::CaughtUp { .. })).await;
}

/// Who asks for a document again before those who were refused it have left gets it.
#[tokio::test]
async fn a_document_that_could_not_be_read_is_read_again_though_others_still_wait_for_it() {
    let storage = MemoryStorage::new();
    let server = SyncServer::builder(storage.clone()).start().await.unwrap();
    let place = Server::inside(server.router()).await;
    let mut ada = Client::connect(&place, 1, "d", None).await;
    for _ in 0..20 {
        storage.fail_reads(Some(Fault::Unavailable));
        ada.open_doc().await;
        ada.until(|event| matches!(event, ClientEvent::DocError { .. })).await;
        storage.fail_reads(None);
        ada.open_doc().await;
        ada.until(|event| matches!(event, ClientEvent::CaughtUp { .. })).await;
        let doc = ada.id.clone();
        ada.input(ClientInput::Close { doc }).await;
    }
}

/// Somebody who subscribes and never reads neither holds up the others nor costs memory: what it
/// has not read stays in the document's log.
#[tokio::test]
async fn a_client_that_does_not_read_holds_up_nobody() {
    let server = SyncServer::builder(MemoryStorage::new()).start().await.unwrap();
    let place = Server::inside(server.router()).await;
    let mut ada = Client::open(&place, 1, "d").await;
    let mut bob = Client::open(&place, 2, "d").await;
    let mut deaf = connect(&place, &[PROTOCOL]).await.unwrap();
    for said in [hello(3), open(0, &ada.id)] {
        deaf.send(said).await.unwrap();
    }
    let line = "0123456789".repeat(20_000);
    for _ in 0..60 {
        ada.save(&line).await;
    }
    let all = ada.text();
    bob.until_text(&all).await;
    drop(deaf);
}

/// A token that ends while the connection is open ends the connection.
#[tokio::test]
async fn an_expired_token_ends_the_connection() {
    struct Brief;
    impl Authenticator for Brief {
        fn authenticate(&self, _: Option<&str>) -> Result<Grant, AuthError> {
            Ok(Grant::all("ada", Some(common::now_ms() + 700)))
        }
    }
    let server = SyncServer::builder(MemoryStorage::new()).auth(Brief).start().await.unwrap();
    let place = Server::inside(server.router()).await;
    let mut ada = Client::open(&place, 1, "d").await;
    ada.save("in time").await;
    assert_eq!(ada.until_closed().await, 4401);
}

/// Lets everybody in under the name that their token is.
struct ByName;

impl Authenticator for ByName {
    fn authenticate(&self, token: Option<&str>) -> Result<Grant, AuthError> {
        Ok(Grant::all(token.ok_or(AuthError::Missing)?, None))
    }
}

/// While a server takes back what it lost, anybody brings it, whoever wrote it; before and after,
/// an author id belongs to whoever first used it.
#[tokio::test]
async fn a_server_that_recovers_takes_others_changes_from_whoever_has_them() {
    let storage = MemoryStorage::new();
    let start = async |recovering: bool| {
        let builder = SyncServer::builder(storage.reopen()).auth(ByName).recovering(recovering);
        let server = builder.start().await.unwrap();
        Server::inside(server.router()).await
    };
    let place = start(false).await;
    let mut ada = Client::connect(&place, 1, "other", Some("ada".into())).await;
    ada.open_doc().await;
    ada.save("by ada").await;

    // Of this one the server lost all that it had.
    let mut ada = Client::connect(&place, 1, "d", Some("ada".into())).await;
    let lost = ada.write("lost");
    let mut bob = Client::connect(&place, 2, "d", Some("bob".into())).await;
    bob.open_doc().await;
    bob.send(vec![lost.clone()]).await;
    assert_eq!(rejected(&mut bob).await, (NackCode::DuplicatePeer, 0));
    let place = start(true).await;
    let mut bob = Client::connect(&place, 2, "d", Some("bob".into())).await;
    bob.open_doc().await;
    bob.send(vec![lost]).await;
    bob.until(|event| matches!(event, ClientEvent::Acked { .. })).await;

    let place = start(false).await;
    ada = Client::connect(&place, 1, "d", Some("ada".into())).await;
    ada.open_doc().await;
    ada.until_text("lost").await;
    ada.save(" and found").await;
    let mut bob = Client::connect(&place, 2, "d", Some("bob".into())).await;
    bob.open_doc().await;
    bob.until_text("lost and found").await;
    bob.doc.set_peer(PeerId(1));
    let forged = bob.write(" forged");
    bob.send(vec![forged]).await;
    assert_eq!(rejected(&mut bob).await, (NackCode::DuplicatePeer, 0));
}

/// A store that panics when it is told to.
#[derive(Clone, Debug)]
struct Panicking {
    content: MemoryStorage,
    panics: Arc<AtomicBool>,
}

impl Panicking {
    fn may_panic(&self) {
        assert!(!self.panics.swap(false, Ordering::SeqCst), "the store was told to");
    }
}

impl Storage for Panicking {
    async fn docs(&self) -> Result<Vec<DocId>, ReadError> {
        self.content.docs().await
    }

    async fn versions(&self) -> Result<Vec<(DocId, VersionVector)>, ReadError> {
        self.content.versions().await
    }

    async fn load(&self, doc: &DocId) -> Result<StoredDoc, ReadError> {
        self.may_panic();
        self.content.load(doc).await
    }

    async fn append(&self, batch: Vec<(DocId, Vec<Block>)>) -> Result<(), AppendError> {
        self.may_panic();
        self.content.append(batch).await
    }

    async fn replace(
        &self,
        doc: &DocId,
        snapshot: Snapshot,
        moved: Vec<OpId>,
    ) -> Result<(), CompactError> {
        self.content.replace(doc, snapshot, moved).await
    }

    async fn compact(&self, doc: &DocId, snapshot: Snapshot) -> Result<(), CompactError> {
        self.content.compact(doc, snapshot).await
    }

    async fn remove(&self, doc: &DocId) -> Result<(), AppendError> {
        self.content.remove(doc).await
    }

    async fn get_meta(&self, key: &str) -> Result<Option<Vec<u8>>, ReadError> {
        self.content.get_meta(key).await
    }

    async fn put_meta(&self, key: &str, value: &[u8]) -> Result<(), AppendError> {
        self.content.put_meta(key, value).await
    }

    async fn remove_meta(&self, key: &str) -> Result<(), AppendError> {
        self.content.remove_meta(key).await
    }

    async fn list_meta(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, ReadError> {
        self.content.list_meta(prefix).await
    }
}

impl Store for Panicking {}

/// A document whose task panics, with a change or while it is opened, leaves nobody waiting: its
/// connections end with a code that means to come back, and then it is there.
#[tokio::test]
async fn a_document_that_panics_ends_its_connections_and_is_loaded_anew() {
    let panics = Arc::new(AtomicBool::new(false));
    let store = Panicking { content: MemoryStorage::new(), panics: panics.clone() };
    let server = SyncServer::builder(store).start().await.unwrap();
    let place = Server::inside(server.router()).await;
    let mut ada = Client::open(&place, 1, "d").await;
    let mut bob = Client::open(&place, 2, "d").await;
    let mut eve = Client::open(&place, 3, "elsewhere").await;
    ada.save("kept").await;
    bob.until_text("kept").await;
    panics.store(true, Ordering::SeqCst);
    let doubtful = ada.write(", perhaps");
    ada.send(vec![doubtful.clone()]).await;
    assert_eq!((ada.until_closed().await, bob.until_closed().await), (4500, 4500));
    eve.save("as if nothing had happened").await;

    panics.store(true, Ordering::SeqCst);
    let mut early = Client::connect(&place, 4, "d", None).await;
    early.open_doc().await;
    assert_eq!(early.until_closed().await, 4500);
    let mut bob = Client::open(&place, 2, "d").await;
    bob.until_text("kept").await;
    let mut ada = Client::open(&place, 5, "d").await;
    ada.send(vec![doubtful]).await;
    bob.until_text("kept, perhaps").await;
    server.stop(Duration::from_secs(5)).await;
    assert_eq!(bob.until_closed().await, 1001);
}

/// Who opens a document and closes it, again and again while the disk hangs, is refused in the end:
/// what waits there is as much as may be open.
#[tokio::test]
async fn openings_that_are_closed_count_until_the_disk_has_answered() {
    let storage = MemoryStorage::new();
    let server = SyncServer::builder(storage.clone()).start().await.unwrap();
    let place = Server::inside(server.router()).await;
    let mut ada = Client::open(&place, 1, "d").await;
    storage.stall_writes(true);
    let block = ada.write("keeps the document busy");
    ada.send(vec![block]).await;
    until_a_write_waits(&storage).await;
    let mut eve = connect(&place, &[PROTOCOL]).await.unwrap();
    eve.send(hello(2)).await.unwrap();
    let max = Limits::default().docs_max;
    for ch in 0..=max {
        eve.feed(open(ch, &ada.id)).await.unwrap();
        eve.feed(message(&Said::Close(Close { ch }))).await.unwrap();
    }
    eve.flush().await.unwrap();
    let next = async |eve: &mut Socket| {
        let heard = tokio::time::timeout(PATIENCE, eve.next()).await.expect("it is answered");
        decode_frame(&heard.unwrap().unwrap().into_data()).unwrap()
    };
    assert!(matches!(next(&mut eve).await[..], [Said::Welcome(_)]));
    let refused = next(&mut eve).await;
    let [Said::DocErr(DocErr { ch, code: DocErrCode::TooMany, .. })] = &refused[..] else {
        panic!("{refused:?}")
    };
    assert_eq!(*ch, max, "those before wait, and are closed");
    storage.stall_writes(false);
    ada.until(|event| matches!(event, ClientEvent::Acked { .. })).await;
    eve.send(open(max + 1, &ada.id)).await.unwrap();
    assert!(matches!(next(&mut eve).await[..], [Said::Opened(_), ..]));
}

/// Who connects, asks for something and leaves, again and again while the disk hangs, is kept out
/// in the end: a place is free when all that was asked for there is answered.
#[tokio::test]
async fn who_left_keeps_a_place_until_the_disk_has_answered() {
    let storage = MemoryStorage::new();
    let server = SyncServer::builder(storage.clone()).start().await.unwrap();
    let limits = DoorLimits { connections_per_address_max: Some(1), ..DoorLimits::default() };
    let place = Server::with_limits(server, limits).await;
    let mut ada = Client::open(&place, 1, "d").await;
    storage.stall_writes(true);
    let block = ada.write("on its way");
    ada.send(vec![block]).await;
    until_a_write_waits(&storage).await;
    drop(ada);
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(connect(&place, &[PROTOCOL]).await.is_err(), "it asked for something");
    }
    storage.stall_writes(false);
    let again = async {
        while connect(&place, &[PROTOCOL]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("it was answered");
}

/// Stopping waits for what is under way and closes every connection.
#[tokio::test]
async fn stopping_keeps_what_was_sent() {
    let storage = MemoryStorage::new();
    let server = SyncServer::builder(storage.clone()).start().await.unwrap();
    let place = Server::inside(server.router()).await;
    let mut ada = Client::open(&place, 1, "d").await;
    ada.save("kept").await;
    let (code, ()) = tokio::join!(ada.until_closed(), server.stop(Duration::from_secs(5)));
    assert_eq!(code, 1001);
    let stored = storage.reopen().load(&ada.id).await.unwrap();
    assert_eq!(stored.blocks.len(), 1);
}
