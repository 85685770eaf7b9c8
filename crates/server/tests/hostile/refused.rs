//! Attacks that are refused at once, carried out again and again.

use std::time::Instant;

use leptos_sync_crdt::{Block, ContainerKind, Doc, FUTURE_MS_MAX, MAX_NESTING, PeerId};
use leptos_sync_protocol::{ClientEvent, ClientInput, DocErrCode, NackCode};
use leptos_sync_server::{Claims, JwtAuth};
use tokio::io::AsyncWriteExt as _;
use tokio_tungstenite::tungstenite::Error;

use super::common::{
    self, Client, PROTOCOL, Server, close_code, connect_to, doc_id, log_of, now_ms,
};
use super::neighbour::{beside, beside_with};
use super::{ATTACK, start};

/// Each of these is refused, on a connection of its own. The masks are zeros.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_framing_harms_nobody_else() {
    const BROKEN: [(&[u8], u16); 6] = [
        (b"\xf2\x80\0\0\0\0", 1002),
        (b"\x83\x80\0\0\0\0", 1002),
        (b"\x80\x80\0\0\0\0", 1002),
        (b"\x09\x80\0\0\0\0", 1002),
        (b"\x82\x01x", 1002),
        (b"\x81\x82\0\0\0\0\xc0\xaf", 1007),
    ];
    let (_data, server) = start(&[]);
    let address = server.address.clone();
    beside(&server, "broken_framing", async move {
        let started = Instant::now();
        while started.elapsed() < ATTACK {
            for (bytes, code) in BROKEN {
                let mut socket = connect_to(&address, &[PROTOCOL]).await.expect("accepts");
                socket.get_mut().write_all(bytes).await.expect("the server reads");
                assert_eq!(close_code(&mut socket).await, code, "{bytes:x?}");
            }
        }
    })
    .await;
}

/// A block whose containers are as deep as they may be.
fn deepest() -> Block {
    let mut doc = Doc::new(PeerId(77));
    let ((), commit) = doc.transact(now_ms(), |tx| {
        let mut map = tx.map("root").nest("m", ContainerKind::Map);
        for _ in 1..MAX_NESTING {
            map = tx.map(&map).nest("m", ContainerKind::Map);
        }
    });
    doc.block(&commit.expect("something was written"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_deepest_nesting_is_stored_and_shown() {
    let (data, server) = start(&[]);
    let address = server.address.clone();
    beside(&server, "deep_nesting", async move {
        let (block, started) = (deepest(), Instant::now());
        for number in (0..).take_while(|_| started.elapsed() < ATTACK) {
            let socket = connect_to(&address, &[PROTOCOL]).await.expect("the server accepts");
            let mut eve = Client::greet(socket, 9, &format!("deep/{number}"), None).await;
            eve.open_doc().await;
            eve.send(vec![block.clone()]).await;
            eve.until(|event| matches!(event, ClientEvent::Acked { .. })).await;
        }
    })
    .await;
    let bob = Client::open(&server, 2, "deep/0").await;
    assert_eq!(bob.version().get(PeerId(77)), deepest().end());
    let shown = common::run(&["doc", "show", "deep/0", "--data", data.path().to_str().unwrap()]);
    assert!(shown.status.success());
}

/// Sends the same block again and again, which is refused with `code` each time.
async fn insist(address: String, id: &'static str, block: Block, code: NackCode) {
    let socket = connect_to(&address, &[PROTOCOL]).await.expect("the server accepts");
    let mut eve = Client::greet(socket, 9, id, None).await;
    eve.open_doc().await;
    let started = Instant::now();
    while started.elapsed() < ATTACK {
        eve.send(vec![block.clone()]).await;
        let refused = eve.until(|event| matches!(event, ClientEvent::Rejected { .. })).await;
        let ClientEvent::Rejected { code: told, .. } = refused else { unreachable!("as asked") };
        assert_eq!(told, code);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_insists_on_anothers_author_id_is_refused_each_time() {
    let (_data, server) = start(&[]);
    let mut bob = Client::open(&server, 5, "d").await;
    bob.save("by bob").await;
    let mut twin = Doc::new(PeerId(5));
    let ((), commit) = twin.transact(now_ms(), |tx| tx.register("r").set("forged"));
    let forged = twin.block(&commit.expect("something was written"));
    let attack = insist(server.address.clone(), "d", forged, NackCode::DuplicatePeer);
    beside(&server, "forged_authors", attack).await;
    assert_eq!(Client::open(&server, 6, "d").await.version(), bob.version());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_insists_on_the_future_is_refused_each_time() {
    let (_data, server) = start(&[]);
    let mut ahead = Doc::new(PeerId(77));
    let at = now_ms() + FUTURE_MS_MAX + 600_000;
    let ((), commit) = ahead.transact(at, |tx| tx.register("r").set("later"));
    let later = ahead.block(&commit.expect("something was written"));
    let attack = insist(server.address.clone(), "d", later, NackCode::ClockSkew);
    beside(&server, "clocks_ahead", attack).await;
    assert!(Client::open(&server, 6, "d").await.version().is_empty());
}

/// Somebody who asks for one document after the other is told the same of all that they may not
/// read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looking_for_documents_finds_none_and_keeps_nobody_waiting() {
    let secret = "a secret that nobody would guess, 32 bytes";
    let auth = JwtAuth::new(secret.as_bytes()).expect("long enough");
    let token = |user: &str, document: &str| {
        let (sub, exp) = (user.to_owned(), now_ms() / 1_000 + 600);
        let claims = Claims { sub, exp, read: None, write: Some(vec![document.to_owned()]) };
        auth.sign(&claims).expect("it is signed")
    };
    let data = tempfile::tempdir().expect("a folder");
    let file = data.path().join("secret");
    std::fs::write(&file, secret).expect("the secret can be written");
    let mut command = common::command(data.path());
    command.arg("--token-secret").arg(file);
    let server = Server::launch(&mut command).unwrap_or_else(|_| panic!("{}", log_of(data.path())));
    let (address, eve) = (server.address.clone(), token("eve", "public/*"));
    beside_with(&server, Some(token("ada", "*")), "looking_for_documents", async move {
        let started = Instant::now();
        while started.elapsed() < ATTACK {
            let socket = connect_to(&address, &[PROTOCOL]).await.expect("the server accepts");
            let mut eve = Client::greet(socket, 9, "public/1", Some(eve.clone())).await;
            // One of them is there.
            for id in (0..500).map(|n| format!("private/{n}")).chain(["neighbour".to_owned()]) {
                let (doc, have) = (doc_id(&id), Default::default());
                eve.input(ClientInput::Open { doc, have, me: None, since: None }).await;
                let told = eve
                    .until(|event| {
                        matches!(event, ClientEvent::DocError { .. } | ClientEvent::Opened { .. })
                    })
                    .await;
                let code = DocErrCode::Forbidden;
                assert_eq!(told, ClientEvent::DocError { doc: doc_id(&id), code });
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_other_origins_are_refused_each_time() {
    let (_data, server) = start(&[]);
    let address = server.address.clone();
    beside(&server, "foreign_origins", async move {
        let started = Instant::now();
        while started.elapsed() < ATTACK {
            for headers in [
                &[PROTOCOL, ("origin", "https://evil.example")][..],
                &[PROTOCOL, ("origin", "http://evil.example"), ("host", "evil.example")],
            ] {
                let Err(Error::Http(answer)) = connect_to(&address, headers).await else {
                    panic!("a page of another origin was let in");
                };
                assert_eq!(answer.status().as_u16(), 403);
            }
        }
    })
    .await;
}
