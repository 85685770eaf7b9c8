//! Bombs: messages that claim more than they hold, or make more than they are.

use std::time::Instant;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use leptos_sync_crdt::{
    Block, BlockWriter, Doc, PeerId, Transaction, VersionVector, Writer, pack_blocks,
};
use leptos_sync_protocol::{
    ClientEvent, Message as Said, PACK_BYTES_MAX, Pack, changes_frames, decode_frame, encode_frame,
};
use tokio_tungstenite::tungstenite::Message;

use super::common::{Client, PROTOCOL, connect_to, now_ms};
use super::neighbour::beside;
use super::{ATTACK, hello, open, start};

const HUGE: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
const LARGE: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0x0f];

/// What the server may have more than before while bombs go off one after the other, in bytes.
const BOMBS_GROWTH_MAX: usize = 32 << 20;

/// One message: its type and the start of its body.
fn message(kind: u8, body: &[u8]) -> Bytes {
    let mut out = Writer::new();
    out.len(body.len() + 1);
    out.u8(kind);
    out.raw(body);
    out.into_vec().into()
}

/// Frames that claim more than they hold, in every place of the envelopes where a number says how
/// much follows.
fn length_bombs() -> Vec<(&'static str, Bytes)> {
    let mut bombs = vec![("a message", Bytes::from_static(HUGE))];
    for count in [HUGE, LARGE] {
        bombs.push(("a document's name", message(0x03, &[&[0], count].concat())));
        bombs.push(("a version", message(0x03, &[&[0, 1, b'd'], count].concat())));
        bombs.push(("entries", message(0x05, &[&[0], count].concat())));
        bombs.push(("presence", message(0x90, &[&[0, 1], count].concat())));
        bombs.push(("a piece", message(0x06, &[&[0; 10], count, &[0], count].concat())));
        bombs.push(("an extension", message(0x0d, &[&[1, 9], count].concat())));
    }
    bombs
}

/// Entries that claim more than they hold, each after a block that it can refer to.
fn entry_bombs() -> Vec<(&'static str, Bytes)> {
    let mut doc = Doc::new(PeerId(77));
    let ((), commit) = doc.transact(now_ms(), |tx| {
        tx.text("text").insert(0, "h").expect("the start is a valid position");
    });
    let block = doc.block(&commit.expect("something was written"));
    let after_block = |entry: &[u8]| {
        let mut entries = Writer::new();
        BlockWriter::default().write(&block, &mut entries);
        entries.raw(entry);
        let mut body = Writer::new();
        body.varint(0);
        body.bytes(entries.as_slice());
        message(0x05, body.as_slice())
    };
    let mut bombs =
        vec![("dependencies without end", after_block(&[&[16 | 8][..], &[1; 200_000]].concat()))];
    for count in [HUGE, LARGE] {
        bombs.push(("a whole block", after_block(&[&[0], count].concat())));
        bombs.push(("an author", after_block(count)));
        for (what, flags) in [("a dependency", 8), ("a stamp", 4), ("a position", 1), ("a tail", 2)]
        {
            bombs.push((what, after_block(&[&[16 | flags], count].concat())));
        }
        bombs.push(("a length", after_block(&[&[16 | 3, 0], count].concat())));
    }
    bombs
}

/// What the server says when it ends a connection that sends this about an open document.
async fn farewell(address: &str, bomb: &Bytes) -> (u16, String) {
    let mut socket = connect_to(address, &[PROTOCOL]).await.expect("the server accepts");
    for frame in [hello(), open(0, "bombs")] {
        socket.send(Message::Binary(frame)).await.expect("the server reads");
    }
    while let Some(Ok(heard)) = socket.next().await {
        match heard {
            Message::Binary(frame) => {
                let said = decode_frame(&frame).expect("a frame");
                if said.iter().any(|said| matches!(said, Said::Opened(_))) {
                    socket.send(Message::Binary(bomb.clone())).await.expect("the server reads");
                }
            }
            Message::Close(Some(frame)) => return (frame.code.into(), frame.reason.to_string()),
            _ => {}
        }
    }
    panic!("the server ended the connection without a word");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn length_bombs_end_their_own_connection_and_cost_no_memory() {
    let (_data, server) = start(&[]);
    let before = server.reset_memory_peak();
    let address = server.address.clone();
    beside(&server, "length_bombs", async move {
        let started = Instant::now();
        while started.elapsed() < ATTACK {
            for (what, bomb) in length_bombs() {
                let (code, reason) = farewell(&address, &bomb).await;
                assert!([4400, 4413].contains(&code), "{what}: {code} {reason}");
            }
            for (what, bomb) in entry_bombs() {
                let (code, reason) = farewell(&address, &bomb).await;
                assert!(code == 4400 && reason.starts_with("block: "), "{what}: {code} {reason}");
            }
        }
    })
    .await;
    let growth = server.memory_peak().saturating_sub(before);
    assert!(growth < BOMBS_GROWTH_MAX, "{growth} bytes");
}

/// So many blocks that each say the same as the one before.
fn repeats(count: usize, write: impl Fn(&mut Transaction<'_>)) -> Vec<Block> {
    let mut doc = Doc::new(PeerId(77));
    for _ in 0..count {
        doc.transact(now_ms(), |tx| write(tx));
    }
    doc.blocks_since(&VersionVector::new())
}

/// Has these blocks stored in a document of its own, without waiting for credit.
async fn explode(address: String, id: String, frames: Vec<Bytes>, end: u32) {
    let socket = connect_to(&address, &[PROTOCOL]).await.expect("the server accepts");
    let mut eve = Client::greet(socket, 100, &id, None).await;
    eve.open_doc().await;
    eve.until(|event| matches!(event, ClientEvent::CaughtUp { .. })).await;
    for frame in frames {
        eve.raw(frame).await;
    }
    eve.until(|event| match event {
        ClientEvent::Acked { through, .. } => through.get(PeerId(77)) == end,
        _ => false,
    })
    .await;
}

/// Entries of some six bytes make blocks of two hundred, or of forty. They cost a few times what
/// the blocks are while they are stored, for each connection that sends them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_that_repeat_themselves_cost_a_few_times_what_they_are() {
    const SENDERS: usize = 3;
    let same = "0123456789".repeat(18);
    let long = repeats(40_000, |tx| tx.register("r").set(same.as_str()));
    let short = repeats(40_000, |tx| tx.counter("n").add(1));
    for (name, blocks) in [("long_repeats", long), ("short_repeats", short)] {
        let (_data, server) = start(&[]);
        let end = blocks.last().expect("there are some").end();
        let bytes: usize = blocks.iter().map(|block| block.bytes().len()).sum();
        let frames: Vec<Bytes> = changes_frames(&mut BlockWriter::default(), 0, &blocks).collect();
        let sent: usize = frames.iter().map(Bytes::len).sum();
        assert!(bytes > 5 * sent, "{bytes} bytes of blocks in {sent}");
        let before = server.reset_memory_peak();
        let address = server.address.clone();
        beside(&server, name, async move {
            let senders = (0..SENDERS).map(|number| {
                let id = format!("bomb/{number}");
                tokio::spawn(explode(address.clone(), id, frames.clone(), end))
            });
            for sender in senders.collect::<Vec<_>>() {
                sender.await.expect("the bomb is taken, for it is valid");
            }
        })
        .await;
        let growth = server.memory_peak().saturating_sub(before);
        let most = SENDERS * (6 * bytes + 400 * blocks.len());
        assert!(growth < most, "{name}: {growth} bytes for {SENDERS} times {bytes}");
    }
}

/// A pack of some kilobytes that would unpack to megabytes: only servers send any, so it is not
/// looked into.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pack_from_a_client_is_not_unpacked() {
    let (_data, server) = start(&[]);
    let mut doc = Doc::new(PeerId(77));
    // A page that repeats nothing, and then repeats of it.
    let letter = |n: u32| char::from(b'!' + (n.wrapping_mul(0x9e37_79b1) >> 16) as u8 % 90);
    let page: String = (0..45_000).map(|n| letter(n * n)).collect();
    let text = page.repeat(22);
    for _ in 0..40 {
        let (done, _) = doc.transact(now_ms(), |tx| tx.text("text").insert(0, &text));
        done.expect("the start is a valid position");
    }
    let blocks = doc.blocks_since(&VersionVector::new());
    let bytes: usize = blocks.iter().map(|block| block.bytes().len()).sum();
    let update = pack_blocks(&blocks).expect("they are sound");
    assert!(update.len() <= PACK_BYTES_MAX, "{} bytes", update.len());
    assert!(bytes > 500 * update.len(), "{bytes} bytes in {}", update.len());
    let bomb = encode_frame(&Said::Pack(Pack { ch: 0, update: update.into() }));
    let before = server.reset_memory_peak();
    let address = server.address.clone();
    beside(&server, "pack_bombs", async move {
        let started = Instant::now();
        while started.elapsed() < ATTACK {
            let (code, reason) = farewell(&address, &bomb).await;
            assert_eq!((code, &*reason), (4400, "a server's message from the client"));
        }
    })
    .await;
    let growth = server.memory_peak().saturating_sub(before);
    assert!(growth < BOMBS_GROWTH_MAX && BOMBS_GROWTH_MAX < bytes, "{growth} bytes");
}

/// Blocks of nothing but the smallest operations, each of which a program that has them decoded
/// keeps in dozens of bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_of_a_million_operations_cost_little_memory() {
    let (_data, server) = start(&[]);
    let before = server.reset_memory_peak();
    let mut doc = Doc::new(PeerId(78));
    let add = |n: u32| {
        let ((), commit) = doc.transact(now_ms(), |tx| {
            (0..n).for_each(|_| tx.counter("n").add(1));
        });
        doc.block(&commit.expect("something was written"))
    };
    let bombs: Vec<_> = [1_000_000; 3].map(add).into();
    let bytes = bombs[0].bytes().len();
    let address = server.address.clone();
    beside(&server, "operation_bombs", async move {
        let socket = connect_to(&address, &[PROTOCOL]).await.expect("the server accepts");
        let mut eve = Client::greet(socket, 100, "bombs", None).await;
        eve.open_doc().await;
        for bomb in bombs {
            eve.send(vec![bomb]).await;
            eve.until(|event| matches!(event, ClientEvent::Acked { .. })).await;
        }
    })
    .await;
    let growth = server.memory_peak().saturating_sub(before);
    assert!(growth < 16 * bytes, "{growth} bytes for three blocks of {bytes}");
}
