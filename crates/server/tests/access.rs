//! Who may do what, against the real server process: tokens stay out of URLs and logs, what may not
//! be read cannot be told from what is not there, and what was revoked is refused.

mod common;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Client, PATIENCE, PROTOCOL, Server, connect, doc_id, log_of, now_ms};
use futures::StreamExt as _;
use leptos_sync_crdt::VersionVector;
use leptos_sync_protocol::{ClientEvent, ClientInput, DocErrCode, NackCode, Permission};
use leptos_sync_server::{
    AuthError, Authenticator, Claims, Grant, JwtAuth, RevokedUsers, Standing, SyncServer,
};
use leptos_sync_storage::{Fault, MemoryStorage, Storage as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

const SECRET: &str = "a secret that nobody would guess, 32 bytes";

/// How long a connection may stay whose permission was taken away: a second, and what a machine
/// that does much else at once may add.
const REVOKED_WITHIN: Duration = Duration::from_secs(5);

/// A token for `user` that ends in so many seconds; `documents` may be written.
fn token(secret: &str, user: &str, seconds: u64, documents: &[&str]) -> String {
    let write = documents.iter().map(|&id| id.to_owned()).collect();
    let exp = now_ms() / 1_000 + seconds;
    let claims = Claims { sub: user.to_owned(), exp, read: None, write: Some(write) };
    JwtAuth::new(secret.as_bytes()).expect("long enough").sign(&claims).expect("it is signed")
}

/// A server that wants tokens signed with `secret`, and says all it can.
fn start(data: &Path, secret: &str) -> Server {
    start_with(data, secret, &[])
}

fn start_with(data: &Path, secret: &str, args: &[&str]) -> Server {
    let file = data.join("secret");
    std::fs::write(&file, secret).expect("the secret can be written");
    let mut command = common::command(data);
    command.arg("--token-secret").arg(file).args(args).env("RUST_LOG", "trace");
    Server::launch(&mut command).unwrap_or_else(|_| panic!("{}", log_of(data)))
}

async fn enter(server: &Server, token: &str, id: &str) -> Client {
    Client::connect(server, 1, id, Some(token.to_owned())).await
}

/// A token in the address would be kept by proxies and histories, so no address with one works; the
/// server keeps neither that one nor the one in the greeting.
#[tokio::test]
async fn tokens_are_refused_in_addresses_and_kept_out_of_logs() {
    let data = tempfile::tempdir().expect("a folder");
    let server = start(data.path(), SECRET);
    let (in_address, in_greeting) =
        (token(SECRET, "eve", 600, &["*"]), token(SECRET, "ada", 600, &["*"]));
    for name in ["token", "access_token", "anything"] {
        let mut stream = TcpStream::connect(&server.address).await.expect("the server listens");
        let request = format!(
            "GET /sync?{name}={in_address} HTTP/1.1\r\nhost: {}\r\nupgrade: websocket\r\n\
             connection: upgrade\r\nsec-websocket-version: 13\r\n\
             sec-websocket-protocol: leptos-sync.v1\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            server.address
        );
        stream.write_all(request.as_bytes()).await.expect("the server reads");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.expect("the server answers");
        assert_eq!(&answer, b"HTTP/1.1 400", "{name}");
    }
    let mut ada = enter(&server, &in_greeting, "d").await;
    ada.open_doc().await;
    ada.save("hello").await;
    let mut liar = enter(&server, &format!("{in_greeting}x"), "d").await;
    assert_eq!(liar.until_closed().await, 4401);
    assert!(server.terminate());
    let log = log_of(data.path());
    assert!(log.contains("welcome"), "everything is logged: {log}");
    for token in [in_address, in_greeting] {
        let (_, signature) = token.rsplit_once('.').expect("a signed token");
        assert!(!log.contains(signature), "a token is in the log");
    }
    assert!(!log.contains(SECRET));
}

/// What somebody is told who asks for a document.
async fn told(client: &mut Client, id: &str) -> String {
    let doc = doc_id(id);
    client
        .input(ClientInput::Open { doc, have: VersionVector::new(), me: None, since: None })
        .await;
    let opened = |event: &ClientEvent| {
        matches!(event, ClientEvent::DocError { .. } | ClientEvent::Opened { .. })
    };
    format!("{:?}", client.until(opened).await).replace(id, "it")
}

#[tokio::test]
async fn a_forbidden_document_looks_like_one_that_is_not_there() {
    let data = tempfile::tempdir().expect("a folder");
    let server = start(data.path(), SECRET);
    let mut ada = enter(&server, &token(SECRET, "ada", 600, &["*"]), "private/1").await;
    ada.open_doc().await;
    ada.save("secret").await;
    let mut eve = enter(&server, &token(SECRET, "eve", 600, &["public/*"]), "public/1").await;
    let answers = [told(&mut eve, "private/1").await, told(&mut eve, "private/2").await];
    assert_eq!(answers[0], answers[1]);
    assert!(answers[0].contains("Forbidden"), "{}", answers[0]);
    // What the application's patterns look like is no answer either.
    assert_eq!(told(&mut eve, "publi").await, answers[0]);
}

/// The answer is given before anything is looked up, so its time says nothing: it comes while the
/// store does not answer at all.
#[tokio::test]
async fn what_is_forbidden_is_never_looked_up() {
    struct Public;
    impl Authenticator for Public {
        fn authenticate(&self, _: Option<&str>) -> Result<Grant, AuthError> {
            Ok(Grant::all("eve", None).only(vec!["public/*".into()], Vec::new()))
        }
    }
    let storage = MemoryStorage::new();
    let server = SyncServer::builder(storage.clone()).auth(Public).start().await.unwrap();
    let place = Server::inside(server.router()).await;
    storage.fail_reads(Some(Fault::Unavailable));
    let mut eve = Client::connect(&place, 1, "public/1", None).await;
    assert!(told(&mut eve, "private/1").await.contains("Forbidden"));
    let unavailable = format!("{:?}", DocErrCode::Unavailable);
    assert!(told(&mut eve, "public/1").await.contains(&unavailable));
}

/// A session ends with its token, and a token with its secret.
#[tokio::test]
async fn what_is_revoked_is_refused() {
    let data = tempfile::tempdir().expect("a folder");
    let server = start(data.path(), SECRET);
    let brief = token(SECRET, "ada", 6, &["*"]);
    let mut ada = enter(&server, &brief, "d").await;
    ada.open_doc().await;
    ada.save("in time").await;
    let closed = timeout(PATIENCE, ada.until_closed()).await;
    assert_eq!(closed.expect("the token ends"), 4401);
    assert_eq!(enter(&server, &brief, "d").await.until_closed().await, 4401);
    let long = token(SECRET, "ada", 600, &["*"]);
    let mut bob = enter(&server, &long, "d").await;
    bob.open_doc().await;
    bob.until_text("in time").await;
    assert!(server.terminate());
    let server = start(data.path(), "another secret that nobody would guess");
    assert_eq!(enter(&server, &long, "d").await.until_closed().await, 4401);
}

/// Without a greeting or without an allowed token nothing but the refusal is said.
#[tokio::test]
async fn nothing_is_said_before_the_token_was_checked() {
    let data = tempfile::tempdir().expect("a folder");
    let server = start(data.path(), SECRET);
    let mut socket = connect(&server, &[PROTOCOL]).await.expect("the server accepts");
    let said = timeout(Duration::from_millis(300), socket.next()).await;
    assert!(said.is_err(), "{said:?}");
    let mut nobody = Client::connect(&server, 1, "d", None).await;
    nobody.open_doc().await;
    while let Some(event) = nobody.event().await {
        let is_end = matches!(event, ClientEvent::GoAway { .. } | ClientEvent::Fatal { .. });
        assert!(is_end, "{event:?}");
    }
    assert_eq!(nobody.closed, Some(4401));
}

/// A token for `user` that allows everything.
fn everything(user: &str) -> String {
    token(SECRET, user, 600, &["*"])
}

/// Connects for the document `d`, as author `peer`.
async fn enter_as(server: &Server, peer: u64, token: &str) -> Client {
    Client::connect(server, peer, "d", Some(token.to_owned())).await
}

/// Writes without a pause until the server closes; the code.
async fn write_until_closed(client: &mut Client) -> u16 {
    while client.closed.is_none() {
        let block = client.write("x");
        client.send(vec![block]).await;
        if let Ok(message) = timeout(Duration::from_millis(20), client.message()).await {
            client.take(message).await;
        }
    }
    client.closed.expect("it is closed")
}

/// Who is named in the file of revoked users is sent away from open connections within a second,
/// and stays away until the name is taken out again; nobody else notices.
#[tokio::test]
async fn who_is_revoked_while_connected_is_sent_away_and_may_come_back_when_allowed() {
    let data = tempfile::tempdir().expect("a folder");
    let list = data.path().join("revoked");
    let revoke = |names: &str| std::fs::write(&list, names).expect("the list can be written");
    revoke("# who has left\nmallory\n");
    let server = start_with(data.path(), SECRET, &["--revoked", list.to_str().expect("utf-8")]);
    let [ada_s, bob_s, mallory_s] = ["ada", "bob", "mallory"].map(everything);
    assert_eq!(enter_as(&server, 3, &mallory_s).await.until_closed().await, 4401);
    let mut ada = enter_as(&server, 1, &ada_s).await;
    ada.open_doc().await;
    ada.save("in time").await;
    let mut bob = enter_as(&server, 2, &bob_s).await;
    bob.open_doc().await;

    revoke("# who has left\nmallory\nada\n");
    let revoked_at = Instant::now();
    assert_eq!(write_until_closed(&mut ada).await, 4401);
    assert!(revoked_at.elapsed() < REVOKED_WITHIN, "{:?}", revoked_at.elapsed());
    assert_eq!(enter_as(&server, 1, &ada_s).await.until_closed().await, 4401);
    bob.save("b").await;
    let seen = bob.text();

    // A list that cannot be read is as good as the last one.
    std::fs::remove_file(&list).expect("it was there");
    while !log_of(data.path()).contains("cannot read the revoked users") {
        assert!(revoked_at.elapsed() < PATIENCE, "it is logged");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(enter_as(&server, 1, &ada_s).await.until_closed().await, 4401);
    assert_eq!(bob.closed, None);

    revoke("mallory\n");
    let mut back = enter_as(&server, 4, &ada_s).await;
    while !matches!(back.event().await, Some(ClientEvent::Welcome { .. })) {
        assert!(revoked_at.elapsed() < PATIENCE, "she may come back");
        back = enter_as(&server, 4, &ada_s).await;
    }
    back.open_doc().await;
    back.until_text(&seen).await;
    back.save(", and back").await;
    bob.until_text(&back.text()).await;
}

/// Names are tokens; what each may do can be changed.
#[derive(Clone, Default)]
struct Readers(Arc<Mutex<Vec<String>>>);

impl Readers {
    fn set(&self, names: &[&str]) {
        *self.0.lock().expect("no holder panics") = names.iter().map(|&n| n.to_owned()).collect();
    }
}

impl Authenticator for Readers {
    fn authenticate(&self, token: Option<&str>) -> Result<Grant, AuthError> {
        let user = token.ok_or(AuthError::Missing)?;
        let grant = Grant::all(user, None);
        if self.0.lock().expect("no holder panics").iter().any(|name| name == user) {
            return Ok(grant.only(vec!["*".to_owned()], Vec::new()));
        }
        Ok(grant)
    }

    fn review(&self, grant: &Grant) -> Standing {
        match self.authenticate(grant.principal()) {
            Ok(present) if present == *grant => Standing::Stands,
            _ => Standing::Changed,
        }
    }
}

async fn opened(client: &mut Client) -> Permission {
    client.open_doc().await;
    match client.until(|event| matches!(event, ClientEvent::Opened { .. })).await {
        ClientEvent::Opened { permission, .. } => permission,
        _ => unreachable!("only Opened matches"),
    }
}

/// A permission that has become another one sends its user away for a moment, who is told the new
/// one then.
#[tokio::test]
async fn a_permission_that_changed_is_told_to_who_comes_back() {
    let readers = Readers::default();
    let server = SyncServer::builder(MemoryStorage::new()).auth(readers.clone());
    let server = server.start().await.unwrap();
    let place = Server::inside(server.router()).await;
    let mut bob = enter_as(&place, 2, "bob").await;
    assert_eq!(opened(&mut bob).await, Permission::Write);
    for (names, permission) in [(&["ada"][..], Permission::Read), (&[], Permission::Write)] {
        let mut ada = enter_as(&place, 1, "ada").await;
        assert_ne!(opened(&mut ada).await, permission);
        readers.set(names);
        let sent_away = |event: &ClientEvent| matches!(event, ClientEvent::GoAway { .. });
        timeout(REVOKED_WITHIN, ada.until(sent_away)).await.expect("she is sent away soon");
        assert_eq!(ada.until_closed().await, 1001);
        let mut ada = enter_as(&place, 1, "ada").await;
        assert_eq!(opened(&mut ada).await, permission);
        bob.save("b").await;
    }
    readers.set(&["ada"]);
    let mut ada = enter_as(&place, 1, "ada").await;
    assert_eq!(opened(&mut ada).await, Permission::Read);
    let block = ada.write("x");
    ada.send(vec![block]).await;
    let refused = ada.until(|event| matches!(event, ClientEvent::Rejected { .. })).await;
    assert!(matches!(refused, ClientEvent::Rejected { code: NackCode::Forbidden, .. }));
    bob.save("b").await;
    assert_eq!(bob.text(), "bbb");
}

/// What arrives after the permission was taken away is not stored, though the connection is still
/// there; nor is what had arrived and waited.
#[tokio::test]
async fn nothing_is_stored_once_the_permission_is_gone() {
    let (storage, revoked) = (MemoryStorage::new(), RevokedUsers::default());
    let auth = JwtAuth::new(SECRET.as_bytes()).unwrap().without(revoked.clone());
    let server = SyncServer::builder(storage.clone()).auth(auth).start().await.unwrap();
    let place = Server::inside(server.router()).await;
    let mut ada = enter_as(&place, 1, &everything("ada")).await;
    ada.open_doc().await;
    ada.save("in time").await;
    let stored = storage.load(&ada.id).await.expect("memory is readable").blocks.len();
    assert_eq!(stored, 1);
    revoked.set(["ada".to_owned()]);
    let late = ada.write("too late");
    ada.send(vec![late]).await;
    while let Some(event) = ada.event().await {
        assert!(!matches!(event, ClientEvent::Acked { .. }), "{event:?}");
    }
    assert_eq!(ada.closed, Some(4401));
    let after = storage.load(&ada.id).await.expect("memory is readable").blocks.len();
    assert_eq!(after, stored);
}

/// Somebody who does not read what is sent to them cannot stay by that.
#[tokio::test]
async fn who_is_revoked_is_gone_though_they_do_not_read() {
    let revoked = RevokedUsers::default();
    let auth = JwtAuth::new(SECRET.as_bytes()).unwrap().without(revoked.clone());
    let server = SyncServer::builder(MemoryStorage::new()).auth(auth).start().await.unwrap();
    let place = Server::inside(server.router()).await;
    let mut deaf = enter_as(&place, 1, &everything("eve")).await;
    deaf.open_doc().await;
    deaf.until(|event| matches!(event, ClientEvent::CaughtUp { .. })).await;
    deaf.show(b"eve").await;
    let mut bob = enter_as(&place, 2, &everything("bob")).await;
    bob.open_doc().await;
    let shows = |event: &ClientEvent, count: usize| match event {
        ClientEvent::Presence { peers, .. } => peers.len() == count,
        _ => false,
    };
    bob.until(|event| shows(event, 1)).await;
    // More than sockets hold.
    let line = "0123456789".repeat(100_000);
    for _ in 0..12 {
        bob.save(&line).await;
    }
    revoked.set(["eve".to_owned()]);
    let gone = timeout(2 * REVOKED_WITHIN, bob.until(|event| shows(event, 0))).await;
    gone.expect("she is gone before she would be for not reading");
    drop(deaf);
}
