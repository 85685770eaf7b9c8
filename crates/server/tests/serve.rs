//! The real server process and real sockets: exchange, refusals, and what survives a kill.

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{Client, PROTOCOL, Server, close_code_after, connect, doc_id, now_ms, run};
use leptos_sync_crdt::{Doc, FUTURE_MS_MAX, PeerId, VersionVector, Writer};
use leptos_sync_protocol::{
    Changes, ClientEvent, ClientInput, Hello, Message as Said, NackCode, Open, encode_frame,
};
use leptos_sync_storage::{SqliteStorage, Storage};
use tokio_tungstenite::tungstenite::{Error, Message};

fn hello(version: u32) -> Message {
    let (version_min, version_max) = (version, version);
    let hello =
        Hello { version_min, version_max, features: 0, client_id: 1, token: None, wall_ms: 0 };
    Message::Binary(encode_frame(&Said::Hello(hello)))
}

/// What one client saves, the other shows; a third that comes later gets everything.
#[tokio::test]
async fn clients_exchange_changes() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let mut ada = Client::open(&server, 1, "d").await;
    let mut bob = Client::open(&server, 2, "d").await;
    ada.save("hello ").await;
    bob.until_text("hello ").await;
    bob.save("world").await;
    ada.until_text("hello world").await;
    let late = Client::open(&server, 3, "d").await;
    assert_eq!(late.text(), "hello world");
    assert_eq!(late.version(), ada.version());
}

/// Many write to one document at once; all end with the same text, and nothing is refused.
#[tokio::test(flavor = "multi_thread")]
async fn many_writers_converge() {
    const WRITERS: u64 = 12;
    const CHANGES: usize = 15;
    let dir = tempfile::tempdir().unwrap();
    let server = std::sync::Arc::new(Server::start(dir.path(), &[]));
    let expected = WRITERS as usize * CHANGES * 4;
    let writers = (1..=WRITERS).map(|peer| {
        let server = server.clone();
        tokio::spawn(async move {
            let mut client = Client::open(&server, peer, "d").await;
            for _ in 0..CHANGES {
                client.save("word").await;
            }
            while client.doc.text("text").len() < expected {
                client.event().await.expect("the connection is open");
            }
            (client.text(), client.version())
        })
    });
    let ends = futures::future::join_all(writers.collect::<Vec<_>>()).await;
    let first = ends[0].as_ref().unwrap();
    assert!(ends.iter().all(|end| end.as_ref().unwrap() == first));
}

/// Megabytes cross in pieces while small changes of others still get through.
#[tokio::test]
async fn large_changes_cross_in_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let mut ada = Client::open(&server, 1, "d").await;
    let mut bob = Client::open(&server, 2, "d").await;
    let text = "é".repeat(1 << 20);
    ada.save(&text).await;
    bob.until_text(&text).await;
    let late = Client::open(&server, 3, "d").await;
    assert_eq!(late.text(), text);
}

/// A long history takes a byte or two for each change on disk and on its way to whoever is new, and
/// is the same after a kill.
#[tokio::test]
async fn a_long_history_is_packed() {
    const CHANGES: usize = 6_000;
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let mut ada = Client::open(&server, 1, "d").await;
    for _ in 0..CHANGES / 500 {
        ada.save_all(&["x"; 500]).await;
    }
    let new = Client::open(&server, 2, "d").await;
    assert_eq!((new.text(), new.version()), (ada.text(), ada.version()));
    assert!(new.heard_bytes < 2 * CHANGES, "{} bytes for {CHANGES} changes", new.heard_bytes);
    // Who has some of it gets the rest.
    let half = [(PeerId(1), CHANGES as u32 / 2)].into_iter().collect();
    let known = ada.doc.checkout(PeerId(3), &half).unwrap();
    drop((new, ada));
    server.kill();
    let server = Server::start(dir.path(), &[]);
    let mut late = Client::connect(&server, 3, "d", None).await;
    late.doc = known;
    late.open_doc().await;
    late.until(|event| matches!(event, ClientEvent::CaughtUp { .. })).await;
    assert_eq!(late.text(), "x".repeat(CHANGES));
    late.save("the end").await;
    let again = Client::open(&server, 4, "d").await;
    assert_eq!(again.version(), late.version());
    let store = SqliteStorage::open(dir.path().join("leptos-sync.sqlite")).unwrap();
    let stored = store.load(&doc_id("d")).await.unwrap();
    let snapshot = stored.snapshot.expect("it was packed").bytes.len();
    assert!(snapshot < CHANGES, "{snapshot} bytes for {CHANGES} changes");
    assert!(stored.blocks.len() < CHANGES / 2, "{} are not packed", stored.blocks.len());
}

/// What came into the store by another way, or from before there were packs, is packed when it is
/// opened.
#[tokio::test]
async fn what_is_stored_as_it_came_is_packed_when_it_is_opened() {
    const CHANGES: usize = 3_000;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("leptos-sync.sqlite");
    let mut doc = Doc::new(PeerId(7));
    for at in 0..CHANGES {
        doc.transact(now_ms(), |tx| tx.text("text").insert(at, "x")).0.unwrap();
    }
    let store = SqliteStorage::open(&path).unwrap();
    let blocks = doc.blocks_since(&VersionVector::new());
    store.append(vec![(doc_id("d"), blocks.clone())]).await.unwrap();
    store.close().await;
    let server = Server::start(dir.path(), &[]);
    let client = Client::open(&server, 1, "d").await;
    assert_eq!(client.text(), "x".repeat(CHANGES));
    client.close().await;
    assert!(server.terminate(), "it finishes what it does");
    let stored = SqliteStorage::open(&path).unwrap().load(&doc_id("d")).await.unwrap();
    assert!(stored.snapshot.is_some() && stored.blocks.len() < 2_048, "{}", stored.blocks.len());
    assert_eq!(leptos_sync_server::stored_blocks(stored), Ok(blocks));
}

/// Every kind of malformed frame closes its own socket with a typed code; others go on.
#[tokio::test]
async fn malformed_frames_close_their_own_socket() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let mut ada = Client::open(&server, 1, "d").await;
    let mut bob = Client::open(&server, 2, "d").await;

    let binary = |bytes: &[u8]| Message::Binary(Bytes::copy_from_slice(bytes));
    let cases = [
        ("noise", 4400, vec![binary(&[0xff; 40])]),
        ("empty", 4400, vec![binary(&[])]),
        ("text", 4400, vec![Message::Text("hello".into())]),
        ("unknown type", 4400, vec![hello(1), binary(&[1, 0x7f])]),
        ("cut short", 4400, vec![binary(&[9, 1, 1])]),
        ("hello twice", 4400, vec![hello(1), hello(1)]),
        ("before hello", 4400, vec![binary(&[2, 0x0d, 1])]),
        ("other version", 4406, vec![hello(99)]),
        ("too large", 4413, vec![hello(1), binary(&vec![0; 300 << 10])]),
        ("far too large", 4413, vec![hello(1), binary(&vec![0; 2 << 20])]),
    ];
    for (name, code, messages) in cases {
        assert_eq!(close_code_after(&server, messages).await, code, "{name}");
    }

    // A block with a wrong checksum, on an open document.
    let mut eve = Client::open(&server, 3, "d").await;
    let mut bytes = eve.write("x").bytes().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    let mut entries = Writer::new();
    entries.u8(0);
    entries.bytes(&bytes);
    let entries = entries.into_vec().into();
    eve.raw(encode_frame(&Said::Changes(Changes { ch: 0, entries }))).await;
    assert_eq!(eve.until_closed().await, 4400);

    ada.save("still here").await;
    bob.until_text("still here").await;
}

/// Changes that break a rule are refused by name and the connection goes on.
#[tokio::test]
async fn bad_changes_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let mut ada = Client::open(&server, 1, "d").await;
    ada.save("first").await;
    async fn refused(client: &mut Client) -> NackCode {
        let rejected = |event: &ClientEvent| matches!(event, ClientEvent::Rejected { .. });
        match client.until(rejected).await {
            ClientEvent::Rejected { code, .. } => code,
            _ => unreachable!("only rejections match"),
        }
    }

    let mut twin = Client::open(&server, 9, "d").await;
    twin.doc = Doc::new(PeerId(1));
    let other = twin.write("other");
    twin.send(vec![other]).await;
    assert_eq!(refused(&mut twin).await, NackCode::DuplicatePeer);

    twin.doc = Doc::new(PeerId(5));
    let (_, gap) = (twin.write("one"), twin.write("two"));
    twin.send(vec![gap]).await;
    assert_eq!(refused(&mut twin).await, NackCode::MissingDeps);

    let mut ahead = Doc::new(PeerId(6));
    let wall_ms = now_ms() + FUTURE_MS_MAX + 60_000;
    let ((), commit) = ahead.transact(wall_ms, |tx| tx.register("r").set("later"));
    twin.send(vec![ahead.block(&commit.unwrap())]).await;
    assert_eq!(refused(&mut twin).await, NackCode::ClockSkew);

    // The same block again is acknowledged again.
    let again = ada.doc.blocks_since(&VersionVector::new());
    ada.send(again).await;
    ada.until(|event| matches!(event, ClientEvent::Acked { .. })).await;
}

/// Pages of other origins and other subprotocols do not get a socket.
#[tokio::test]
async fn foreign_pages_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &["--allow-origin", "https://app.example"]);
    async fn status(server: &Server, headers: &[(&'static str, &str)]) -> u16 {
        match connect(server, headers).await {
            Ok(_) => 101,
            Err(Error::Http(response)) => response.status().as_u16(),
            Err(other) => panic!("{other}"),
        }
    }
    let own = format!("http://{}", server.address);
    assert_eq!(status(&server, &[PROTOCOL]).await, 101);
    assert_eq!(status(&server, &[PROTOCOL, ("origin", &own)]).await, 101);
    assert_eq!(status(&server, &[PROTOCOL, ("origin", "https://app.example")]).await, 101);
    assert_eq!(status(&server, &[PROTOCOL, ("origin", "https://evil.example")]).await, 403);
    let rebound = [PROTOCOL, ("origin", "http://evil.example"), ("host", "evil.example")];
    assert_eq!(status(&server, &rebound).await, 403);
    assert_eq!(status(&server, &[]).await, 400);
    assert_eq!(status(&server, &[("sec-websocket-protocol", "other")]).await, 400);
}

/// With a secret, a token decides who comes in and what may be read and written.
#[tokio::test]
async fn tokens_decide() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "a secret that nobody would guess, 32 bytes").unwrap();
    let secret = secret.to_str().unwrap();
    let server = Server::start(dir.path(), &["--token-secret", secret]);
    let token = |user: &str, args: &[&str]| {
        let output = run(&[&["token", "--secret", secret, "--user", user], args].concat());
        assert!(output.status.success());
        Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
    };

    let mut nobody = Client::connect(&server, 1, "d", None).await;
    assert_eq!(nobody.until_closed().await, 4401);
    let mut liar = Client::connect(&server, 1, "d", Some("x.y.z".into())).await;
    assert_eq!(liar.until_closed().await, 4401);

    let mut ada = Client::connect(&server, 1, "d", token("ada", &[])).await;
    let welcome = ada.event().await;
    assert!(
        matches!(welcome, Some(ClientEvent::Welcome { principal: Some(name), .. }) if name == "ada")
    );
    ada.open_doc().await;
    ada.save("by ada").await;

    let mut bob = Client::connect(&server, 2, "d", token("bob", &["--read", "d"])).await;
    bob.open_doc().await;
    bob.until_text("by ada").await;
    let block = bob.write("by bob");
    bob.send(vec![block]).await;
    let rejected = bob.until(|event| matches!(event, ClientEvent::Rejected { .. })).await;
    assert!(matches!(rejected, ClientEvent::Rejected { code: NackCode::Forbidden, .. }));
    let (doc, have) = (doc_id("other"), VersionVector::new());
    bob.input(ClientInput::Open { doc, have, me: None, since: None }).await;
    bob.until(|event| matches!(event, ClientEvent::DocError { .. })).await;

    // Eve writes as Ada's peer, continuing Ada's chain.
    let mut eve = Client::connect(&server, 3, "d", token("eve", &[])).await;
    eve.open_doc().await;
    eve.until_text("by ada").await;
    eve.doc.set_peer(PeerId(1));
    let forged = eve.write(" forged");
    eve.send(vec![forged]).await;
    let rejected = eve.until(|event| matches!(event, ClientEvent::Rejected { .. })).await;
    assert!(matches!(rejected, ClientEvent::Rejected { code: NackCode::DuplicatePeer, .. }));
}

/// Who is here is seen at once, and so is who left.
#[tokio::test]
async fn presence_comes_and_goes() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let mut ada = Client::open(&server, 1, "d").await;
    let mut bob = Client::open(&server, 2, "d").await;
    bob.show(b"bob is here").await;
    let seen = ada
        .until(|event| matches!(event, ClientEvent::Presence { peers, .. } if !peers.is_empty()))
        .await;
    let ClientEvent::Presence { peers, .. } = seen else { unreachable!("only presence matches") };
    assert_eq!((peers.len(), peers[0].payload.as_slice()), (1, &b"bob is here"[..]));
    // Somebody who comes later sees it too.
    let mut eve = Client::open(&server, 3, "d").await;
    eve.until(|event| matches!(event, ClientEvent::Presence { peers, .. } if peers.len() == 1))
        .await;
    drop(bob);
    ada.until(|event| matches!(event, ClientEvent::Presence { peers, .. } if peers.is_empty()))
        .await;
}

/// What the command line imports reaches open documents of a running server.
#[tokio::test]
async fn an_import_reaches_open_documents() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let mut ada = Client::open(&server, 1, "d").await;
    ada.save("old text").await;
    let file = dir.path().join("new.txt");
    std::fs::write(&file, "new text").unwrap();
    let data = dir.path().to_str().unwrap();
    let imported = run(&["doc", "import", "d", file.to_str().unwrap(), "--data", data]);
    assert!(imported.status.success());
    tokio::time::timeout(Duration::from_secs(3), ada.until_text("new text")).await.unwrap();
    ada.save(", edited").await;
    let late = Client::open(&server, 3, "d").await;
    assert_eq!(late.text(), "new text, edited");
}

/// A server that is asked to stop says so to its clients and ends cleanly.
#[tokio::test]
async fn stopping_is_announced() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let mut ada = Client::open(&server, 1, "d").await;
    ada.save("kept").await;
    let stopping = tokio::task::spawn_blocking(|| server.terminate());
    ada.until(|event| matches!(event, ClientEvent::GoAway { .. })).await;
    assert_eq!(ada.until_closed().await, 1001);
    drop(ada);
    assert!(stopping.await.unwrap());
    let server = Server::start(dir.path(), &[]);
    assert_eq!(Client::open(&server, 2, "d").await.text(), "kept");
}

/// Kill -9 in the middle of writing: all that was acknowledged is there afterwards, every time.
#[tokio::test]
async fn acknowledged_changes_survive_kills() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..6 {
        let server = Server::start(dir.path(), &[]);
        let mut client = Client::open(&server, 100 + round, "d").await;
        let survived = client.version();
        assert!(
            survived.iter().map(|(_, count)| count).sum::<u32>() >= acknowledged,
            "round {round}: {acknowledged} were acknowledged"
        );
        let peer = client.doc.peer();
        let mut through = 0;
        let blocks = (0..400).map(|_| client.write("abc")).collect();
        client.send(blocks).await;
        let enough = 60 * (u32::try_from(round).unwrap() + 1);
        while through < enough {
            match client.event().await {
                Some(ClientEvent::Acked { through: version, .. }) => through = version.get(peer),
                Some(_) => {}
                None => break,
            }
        }
        let more = client.write("in flight");
        client.send(vec![more]).await;
        server.kill();
        while let Some(event) = client.event().await {
            if let ClientEvent::Acked { through: version, .. } = event {
                through = version.get(peer);
            }
        }
        acknowledged = survived.iter().map(|(_, count)| count).sum::<u32>() + through;
    }
    assert!(acknowledged >= 6 * 60, "{acknowledged}");
}

/// Health, files with their types, and the app's page for its routes.
#[tokio::test]
async fn files_are_served_beside_the_socket() {
    let dir = tempfile::tempdir().unwrap();
    let assets = dir.path().join("app");
    std::fs::create_dir(&assets).unwrap();
    for (name, content) in [("index.html", "<p>app"), ("app_bg.wasm", "\0asm"), ("sw.js", "//")] {
        std::fs::write(assets.join(name), content).unwrap();
    }
    std::fs::write(dir.path().join("outside.txt"), "private").unwrap();
    let server = Server::start(dir.path(), &["--assets", assets.to_str().unwrap()]);
    assert!(server.get("/healthz").await.starts_with("HTTP/1.1 200"));
    for (path, status, has) in [
        ("/", "200", "content-type: text/html"),
        ("/d/some-document", "200", "<p>app"),
        ("/app_bg.wasm", "200", "content-type: application/wasm"),
        ("/sw.js", "200", "content-type: text/javascript"),
        ("/sw.js", "200", "cache-control: no-cache"),
        ("/d/some-document", "200", "cache-control: no-cache"),
        ("/missing.js", "404", ""),
        ("/../outside.txt", "404", ""),
        ("/%2e%2e/outside.txt", "404", ""),
    ] {
        let answer = server.get(path).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
        assert!(answer.contains(has), "{path}: {answer}");
    }
}

/// A document id with a slash and an open of it on a channel twice.
#[tokio::test]
async fn a_channel_number_may_be_used_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let open = |ch| {
        let open =
            Open { ch, doc: doc_id("a/b"), have: VersionVector::new(), me: None, since: None };
        Message::Binary(encode_frame(&Said::Open(open)))
    };
    let messages = vec![hello(1), open(4), open(5), open(4)];
    assert_eq!(close_code_after(&server, messages).await, 4400);
}

/// A backup of a running server has what it acknowledged until then; a server on it gets the rest
/// from whoever has it.
#[tokio::test]
async fn a_backup_of_a_running_server_has_all_that_was_saved() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let mut ada = Client::open(&server, 1, "d").await;
    ada.save("before ").await;
    let restored = tempfile::tempdir().unwrap();
    let copy = restored.path().join("leptos-sync.sqlite");
    let (data, file) = (dir.path().to_str().unwrap(), copy.to_str().unwrap());
    let made = run(&["backup", file, "--data", data]);
    let said = String::from_utf8_lossy(&made.stdout).into_owned();
    assert!(made.status.success() && said.starts_with(file), "{made:?}");
    ada.save("after").await;
    let again = run(&["backup", file, "--data", data]);
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(
        !again.status.success() && said.contains("name a file that is not there yet"),
        "{said}"
    );
    server.kill();
    let server = Server::start(restored.path(), &["--recovering"]);
    let new = Client::open(&server, 2, "d").await;
    assert_eq!(new.text(), "before ");
    let mut back = Client::connect(&server, 1, "d", None).await;
    back.doc = ada.doc;
    back.open_doc().await;
    let lacked = back.doc.blocks_since(&new.version());
    back.send(lacked).await;
    back.until(|event| matches!(event, ClientEvent::Acked { .. })).await;
    assert_eq!(Client::open(&server, 3, "d").await.text(), "before after");
}
