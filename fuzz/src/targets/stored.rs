//! What a device finds in its own storage, when the storage is not what was written there.

use leptos_sync_crdt::{Block, DocId, Writer};
use leptos_sync_engine::{EngineConfig, NoTabs, SyncEngine};
use leptos_sync_storage::record::{pack, unpack};
use leptos_sync_storage::{MemoryStorage, Snapshot, Storage as _};
use leptos_sync_transport::MemoryTransport;

use super::device::{FuzzEnv, play, settle};
use super::{Target, choice_examples, example_replicas};
use crate::budget::within;
use crate::choices::Choices;
use crate::files::{SNAPSHOT, block, from_input};
use crate::history::{blocks, merged, replicas};

pub(super) const RECORD: Target = Target {
    name: "record",
    about: "packed records of IndexedDB: what decodes packs into the same blocks again",
    run: |bytes| {
        let bytes = &record(bytes)[..];
        if let Ok(blocks) = within(bytes.len(), || unpack(bytes)) {
            let again = pack(&blocks);
            let read = again.iter().flat_map(|record| unpack(&record.bytes).expect("just packed"));
            assert_eq!(read.collect::<Vec<_>>(), blocks);
        }
    },
    examples: || {
        let docs = example_replicas();
        docs.iter().flatten().map(|doc| input(&blocks(doc))).take(24).collect()
    },
};

/// A record of blocks with these contents, and then what is left of the input as it is.
fn record(input: &[u8]) -> Vec<u8> {
    let mut choices = Choices::new(input);
    let mut out = Writer::new();
    out.u8(choices.byte());
    for _ in 0..choices.byte() {
        let len = u16::from_le_bytes([choices.byte(), choices.byte()]);
        out.bytes(&block(choices.take(usize::from(len))));
    }
    out.raw(choices.rest());
    out.into_vec()
}

/// What [`record`] makes a record of these blocks from.
fn input(blocks: &[Block]) -> Vec<u8> {
    let blocks = &blocks[..blocks.len().min(255)];
    let mut out = vec![1, blocks.len() as u8];
    for block in blocks {
        let content = &block.bytes()[..block.bytes().len() - 4];
        out.extend((content.len() as u16).to_le_bytes());
        out.extend(content);
    }
    out
}

pub(super) const STORED: Target = Target {
    name: "stored",
    about: "an engine that starts on a damaged store: it says so or works, and writes no worse",
    run: |bytes| {
        play(start_twice(bytes));
    },
    examples: || {
        let examples = choice_examples();
        let prefixed = |(at, bytes): (usize, Vec<u8>)| [&[3, at as u8, 7][..], &bytes].concat();
        examples.into_iter().enumerate().map(prefixed).collect()
    },
};

/// Fills a store, starts an engine on it, edits, and starts again on what that left.
async fn start_twice(bytes: &[u8]) {
    let doc = DocId::new("d").expect("a valid id");
    let storage = MemoryStorage::new();
    let mut choices = Choices::new(bytes);
    for _ in 0..=choices.below(4) {
        damage(&storage, &doc, &mut choices).await;
    }
    for life in 1..=2 {
        let engine = SyncEngine::start(
            EngineConfig::default(),
            storage.reopen(),
            None::<MemoryTransport>,
            NoTabs,
            FuzzEnv::new(life),
        );
        let handle = engine.open(&doc);
        handle.transact(|tx| tx.counter("edits").add(1));
        settle(&engine, &handle).await;
        engine.shutdown();
    }
}

/// Puts something into the store: sound blocks, or a value or snapshot that may be anything.
async fn damage(storage: &MemoryStorage, doc: &DocId, choices: &mut Choices<'_>) {
    let key = match choices.below(5) {
        0 => "acked/d",
        1 => "clock",
        2 => "kept",
        3 => {
            let whole = merged(&replicas(choices));
            // A second history under the same authors is refused, as a copied profile's is.
            drop(storage.append(vec![(doc.clone(), blocks(&whole))]).await);
            return;
        }
        _ => {
            let whole = merged(&replicas(choices));
            let bytes = match choices.below(2) {
                0 => whole.encode_snapshot(),
                _ => from_input(SNAPSHOT, choices.some(2_000)),
            };
            let snapshot = Snapshot { version: whole.version().clone(), bytes };
            drop(storage.compact(doc, snapshot).await);
            return;
        }
    };
    let value = match choices.below(4) {
        0 => choices.some(64).to_vec(),
        1 => choices.number().to_le_bytes().to_vec(),
        _ => acked(choices),
    };
    storage.put_meta(key, &value).await.expect("memory takes it");
}

/// What is said to be acknowledged of a history, which may not be the one that is stored: of this
/// life of this server, of any, and up to where its log was read.
fn acked(choices: &mut Choices<'_>) -> Vec<u8> {
    let docs = replicas(choices);
    let version = |choices: &mut Choices<'_>, out: &mut Writer| {
        choices.pick(&docs).expect("there are some").version().encode(out);
    };
    let mut out = Writer::new();
    out.u64_le(choices.number());
    out.u64_le(choices.number());
    version(choices, &mut out);
    let more = choices.below(3);
    if more > 0 {
        version(choices, &mut out);
    }
    if more > 1 {
        out.varint(choices.number());
        out.u64_le(choices.number());
        version(choices, &mut out);
    }
    out.into_vec()
}
