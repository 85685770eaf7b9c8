//! The real server process under attack, and what a well-behaved client beside the attacker feels:
//! its changes are saved all the same. `cargo xtask hostile` measures one attack after the other.
#![cfg(target_os = "linux")]
#![allow(clippy::print_stdout, reason = "the figures are printed")]

#[path = "hostile/bombs.rs"]
mod bombs;
mod common;
#[path = "common/neighbour.rs"]
mod neighbour;
#[path = "hostile/refused.rs"]
mod refused;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{Client, PATIENCE, PROTOCOL, Server, close_code, connect_to, doc_id, now_ms};
use futures::SinkExt as _;
use leptos_sync_crdt::{BlockWriter, Doc, PeerId, VersionVector};
use leptos_sync_protocol::{
    Changes, ClientEvent, ClientInput, Hello, Message as Said, Open, Ping, PresenceSet,
    encode_frame,
};
use neighbour::beside;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;

/// How long an attack goes on that is over at once.
const ATTACK: Duration = Duration::from_secs(2);

/// What the server may grow by under any of these attacks.
const GROWTH_MAX: usize = 256 << 20;

fn start(args: &[&str]) -> (tempfile::TempDir, Server) {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path(), args);
    (data, server)
}

fn hello() -> Bytes {
    let hello = Hello {
        version_min: 1,
        version_max: 1,
        features: 0,
        client_id: 9,
        token: None,
        wall_ms: now_ms(),
    };
    encode_frame(&Said::Hello(hello))
}

fn open(ch: u32, id: &str) -> Bytes {
    let open = Open { ch, doc: doc_id(id), have: VersionVector::new(), me: None, since: None };
    encode_frame(&Said::Open(open))
}

/// The close code after these frames.
async fn code_after(address: &str, frames: &[Bytes]) -> u16 {
    let mut socket = connect_to(address, &[PROTOCOL]).await.expect("the server accepts");
    for frame in frames {
        // The server may close before it has read everything.
        if socket.send(Message::Binary(frame.clone())).await.is_err() {
            break;
        }
    }
    close_code(&mut socket).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_malformed_frames_harms_nobody_else() {
    let (_data, server) = start(&[]);
    let address = server.address.clone();
    beside(&server, "malformed_frames", async move {
        let started = Instant::now();
        for round in (0..=u8::MAX).cycle().take_while(|_| started.elapsed() < ATTACK) {
            let noise = Bytes::from(vec![round.wrapping_mul(37) | 1; 1 + usize::from(round)]);
            let ping = encode_frame(&Said::Ping(Ping { id: 1 }));
            let cut = ping.slice(..ping.len() - 1);
            let many = Bytes::from([&ping[..]; 2_000].concat());
            for frames in [vec![noise], vec![hello(), cut], vec![hello(), many], vec![ping]] {
                let code = code_after(&address, &frames).await;
                assert!([4400, 4413].contains(&code), "{code}");
            }
        }
    })
    .await;
}

/// Blocks that take long to look through, many at once, on several connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_that_are_dear_to_validate_leave_room_for_others() {
    let (_data, server) = start(&[]);
    let mut doc = Doc::new(PeerId(77));
    let ((), commit) = doc.transact(now_ms(), |tx| {
        for index in 0..40_000u32 {
            tx.map("m").set(&format!("{index:x}"), i64::from(index));
        }
    });
    let bomb = doc.block(&commit.expect("something was written"));
    let address = server.address.clone();
    beside(&server, "merge_bombs", async move {
        let senders = (0..6u64).map(|number| {
            let (address, bomb) = (address.clone(), bomb.clone());
            tokio::spawn(async move {
                let socket = connect_to(&address, &[PROTOCOL]).await.expect("the server accepts");
                let mut eve = Client::greet(socket, 100, &format!("bomb/{number}"), None).await;
                eve.open_doc().await;
                eve.send(vec![bomb]).await;
                eve.until(|event| matches!(event, ClientEvent::Acked { .. })).await;
            })
        });
        for sender in senders.collect::<Vec<_>>() {
            sender.await.expect("the bomb is taken, for it is valid");
        }
    })
    .await;
}

/// Heads that never end, heads of a megabyte, sockets that say nothing, or nothing more, and
/// WebSockets without a greeting: all are gone after ten seconds, and nobody else waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_handshakes_and_large_heads_are_cut_off() {
    let (_data, server) = start(&[]);
    let address = server.address.clone();
    beside(&server, "slow_handshakes", async move {
        let mut ends = Vec::new();
        for number in 0..120 {
            let address = address.clone();
            ends.push(tokio::spawn(async move {
                match number % 5 {
                    0 => drip(&address).await,
                    1 => silent(&address, b"").await,
                    2 => silent(&address, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await,
                    3 => large_head(&address).await,
                    _ => {
                        let code = code_after(&address, &[]).await;
                        assert_eq!(code, 4408);
                    }
                }
            }));
        }
        for end in ends {
            let ended = tokio::time::timeout(PATIENCE, end).await;
            ended.expect("the server hangs up in time").expect("as it should");
        }
    })
    .await;
}

/// A head, byte by byte and for ever, until the server hangs up.
async fn drip(address: &str) {
    let mut stream = TcpStream::connect(address).await.expect("the server listens");
    let (mut reader, mut writer) = stream.split();
    let drip = async {
        let mut next = writer.write_all(b"GET /sync HTTP/1.1\r\nx-slow: ").await;
        while next.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
            next = writer.write_all(b"a").await;
        }
    };
    let mut answer = Vec::new();
    tokio::select! {
        () = drip => {}
        _ = reader.read_to_end(&mut answer) => {}
    }
}

/// A socket that says no more than this, until the server hangs up.
async fn silent(address: &str, words: &[u8]) {
    let mut stream = TcpStream::connect(address).await.expect("the server listens");
    stream.write_all(words).await.expect("the server reads");
    let mut answer = Vec::new();
    // A reset is an end as well.
    let _ = stream.read_to_end(&mut answer).await;
}

/// A head of a megabyte, in one header or in thousands.
async fn large_head(address: &str) {
    for header in ["x-large: 0123456789\r\n".repeat(50_000), format!("x: {}", "a".repeat(1 << 20))]
    {
        let mut stream = TcpStream::connect(address).await.expect("the server listens");
        let request = format!("GET /sync HTTP/1.1\r\nhost: x\r\n{header}\r\n\r\n");
        let (mut reader, mut writer) = stream.split();
        let mut answer = Vec::new();
        let (_, _) =
            tokio::join!(writer.write_all(request.as_bytes()), reader.read_to_end(&mut answer));
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
}

/// A socket from another address of this machine.
async fn from_elsewhere(server: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind("127.0.0.2:0".parse().expect("an address"))?;
    socket.connect(server).await
}

/// The status of the answer to a request that says it came from somebody else.
async fn forwarded_request(server: SocketAddr, number: usize) -> (u16, TcpStream) {
    let mut stream = from_elsewhere(server).await.expect("the system accepts");
    let request = format!(
        "GET /healthz HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 198.51.100.{number}\r\n\
         forwarded: for=198.51.100.{number}\r\nx-real-ip: 198.51.100.{number}\r\n\r\n"
    );
    // Who is refused may have been hung up on already.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut head = [0; 12];
    let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut head)).await;
    let status = match read.expect("an answer or an end in time") {
        Ok(_) => String::from_utf8_lossy(&head[9..]).parse().expect("a status"),
        Err(_) => 503,
    };
    (status, stream)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_connections_takes_the_places_of_its_own_address_only() {
    let (_data, server) = start(&["--connections-per-address", "20"]);
    let address: SocketAddr = server.address.parse().expect("an address");
    beside(&server, "connection_flood", async move {
        let mut held = Vec::new();
        for number in 0..20 {
            let (status, stream) = forwarded_request(address, number).await;
            assert_eq!(status, 200, "the first 20 are let in");
            held.push(stream);
        }
        let started = Instant::now();
        for number in (0..250).cycle().take_while(|_| started.elapsed() < ATTACK) {
            // Whom a header names makes no difference.
            assert_eq!(forwarded_request(address, number).await.0, 503);
        }
        drop(held);
        let started = Instant::now();
        while forwarded_request(address, 1).await.0 != 200 {
            assert!(started.elapsed() < PATIENCE, "places are given back");
        }
    })
    .await;
}

/// A client that asks and asks is read as fast as its budget allows, others as ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_requests_waits_for_itself() {
    let (_data, server) = start(&[]);
    let address = server.address.clone();
    let took = beside(&server, "request_flood", async move {
        let socket = connect_to(&address, &[PROTOCOL]).await.expect("the server accepts");
        let mut eve = Client::greet(socket, 9, "flood", None).await;
        let started = Instant::now();
        for id in 0..12_000 {
            eve.raw(encode_frame(&Said::Ping(Ping { id }))).await;
        }
        eve.open_doc().await;
        eve.until(|event| matches!(event, ClientEvent::CaughtUp { .. })).await;
        started.elapsed()
    })
    .await;
    assert!(took > Duration::from_secs(2), "{took:?}");
}

/// Presence that changes all the time: others see the newest now and then, as themselves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_presence_is_thinned_and_signed_by_the_server() {
    let (_data, server) = start(&[]);
    let mut bob = Client::open(&server, 5, "room").await;
    let address = server.address.clone();
    beside(&server, "presence_flood", async move {
        let socket = connect_to(&address, &[PROTOCOL]).await.expect("the server accepts");
        let mut eve = Client::greet(socket, 9, "room", None).await;
        eve.open_doc().await;
        eve.until(|event| matches!(event, ClientEvent::CaughtUp { .. })).await;
        let started = Instant::now();
        for number in 0..1_300u32 {
            let payload = Some(Bytes::from(number.to_string()));
            eve.raw(encode_frame(&Said::PresenceSet(PresenceSet { ch: 0, payload }))).await;
        }
        let mut seen = 0;
        loop {
            match bob.event().await.expect("the connection is open") {
                ClientEvent::Presence { peers, .. } if !peers.is_empty() => {
                    seen += 1;
                    assert_eq!(peers.len(), 1, "one connection is one presence");
                    if peers[0].payload == b"1299" {
                        break;
                    }
                }
                _ => {}
            }
        }
        assert!(seen <= 1_300 && started.elapsed() > Duration::from_secs(2));
    })
    .await;
}

/// How many files and sockets a process has open.
fn open_files(process: u32) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd")).expect("the server is running").count()
}

/// Clients that ask for much and read nothing cost no memory and nobody's time, and are let go
/// after half a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_consumers_cost_no_memory_and_are_let_go() {
    const DEAF: u32 = 40;
    let (_data, server) = start(&[]);
    let mut author = Client::open(&server, 5, "long").await;
    for _ in 0..12 {
        author.save(&"0123456789".repeat(100_000)).await;
    }
    let (memory, id, address) = (server.memory(), server.id(), server.address.clone());
    let most = beside(&server, "slow_consumers", async move {
        let files = open_files(id);
        let mut deaf = Vec::new();
        for number in 0..DEAF {
            let mut socket = connect_to(&address, &[PROTOCOL]).await.expect("accepts");
            for frame in [hello(), open(number, "long")] {
                socket.send(Message::Binary(frame)).await.expect("the server reads");
            }
            deaf.push(socket);
        }
        let (started, mut most) = (Instant::now(), 0);
        // They are connected until the server lets them go: nobody here does.
        while open_files(id) >= files + DEAF as usize / 2 {
            assert!(started.elapsed() < Duration::from_secs(60), "they are let go");
            author.save("still here").await;
            most = most.max(common::memory_of(id));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(started.elapsed() > Duration::from_secs(20), "they had time to read");
        most
    })
    .await;
    let growth = most.saturating_sub(memory);
    assert!(growth < GROWTH_MAX, "{growth} bytes for {DEAF} clients");
}

/// The same changes again and again are acknowledged, and are there once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replayed_changes_are_there_once() {
    let (_data, server) = start(&[]);
    let mut bob = Client::open(&server, 5, "d").await;
    let block = bob.write("once");
    let again = Changes::write(&mut BlockWriter::default(), 0, &vec![block; 200]);
    let frame = encode_frame(&Said::Changes(again));
    let address = server.address.clone();
    beside(&server, "replays", async move {
        let started = Instant::now();
        for peer in (10..).take_while(|_| started.elapsed() < ATTACK) {
            let socket = connect_to(&address, &[PROTOCOL]).await.expect("the server accepts");
            let mut eve = Client::greet(socket, peer, "d", None).await;
            eve.open_doc().await;
            eve.until(|event| matches!(event, ClientEvent::CaughtUp { .. })).await;
            for _ in 0..10 {
                eve.raw(frame.clone()).await;
            }
            eve.input(ClientInput::Nudge).await;
            eve.until(|event| matches!(event, ClientEvent::Acked { .. })).await;
        }
    })
    .await;
    assert_eq!(Client::open(&server, 40, "d").await.text(), "once");
}
