//! Who may do what, against the real server process: tokens stay out of URLs and logs, what may not
//! be read cannot be told from what is not there, and what was revoked is refused.

mod common;

use std::path::Path;
use std::time::Duration;

use common::{Client, PATIENCE, PROTOCOL, Server, connect, doc_id, log_of, now_ms};
use futures::StreamExt as _;
use leptos_sync_crdt::VersionVector;
use leptos_sync_protocol::{ClientEvent, ClientInput, DocErrCode};
use leptos_sync_server::{Authenticator, Claims, Grant, JwtAuth, SyncServer};
use leptos_sync_storage::{Fault, MemoryStorage};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const SECRET: &str = "a secret that nobody would guess, 32 bytes";

/// A token for `user` that ends in so many seconds; `documents` may be written.
fn token(secret: &str, user: &str, seconds: u64, documents: &[&str]) -> String {
    let write = documents.iter().map(|&id| id.to_owned()).collect();
    let exp = now_ms() / 1_000 + seconds;
    let claims = Claims { sub: user.to_owned(), exp, read: None, write: Some(write) };
    JwtAuth::new(secret.as_bytes()).expect("long enough").sign(&claims).expect("it is signed")
}

/// A server that wants tokens signed with `secret`, and says all it can.
fn start(data: &Path, secret: &str) -> Server {
    let file = data.join("secret");
    std::fs::write(&file, secret).expect("the secret can be written");
    let mut command = common::command(data);
    command.arg("--token-secret").arg(file).env("RUST_LOG", "trace");
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
        fn authenticate(&self, _: Option<&str>) -> Result<Grant, leptos_sync_server::AuthError> {
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
    let closed = tokio::time::timeout(PATIENCE, ada.until_closed()).await;
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
    let said = tokio::time::timeout(Duration::from_millis(300), socket.next()).await;
    assert!(said.is_err(), "{said:?}");
    let mut nobody = Client::connect(&server, 1, "d", None).await;
    nobody.open_doc().await;
    while let Some(event) = nobody.event().await {
        let is_end = matches!(event, ClientEvent::GoAway { .. } | ClientEvent::Fatal { .. });
        assert!(is_end, "{event:?}");
    }
    assert_eq!(nobody.closed, Some(4401));
}
