//! What a device finds in its own storage, when the storage is not what was written there.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use leptos_sync_crdt::{Block, DocId, PeerId, Writer};
use leptos_sync_engine::{
    DocHandle, EngineConfig, Env, NoTabs, StorageFault, StorageHealth, SyncEngine,
};
use leptos_sync_storage::record::{pack, unpack};
use leptos_sync_storage::{MemoryStorage, Snapshot, Storage as _};
use leptos_sync_transport::MemoryTransport;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::Instant;

use super::{Target, choice_examples, example_replicas};
use crate::budget::within;
use crate::choices::Choices;
use crate::files::{SNAPSHOT, block, from_input};
use crate::history::{blocks, merged, replicas};

/// The wall clock when an engine starts.
const WALL_START_MS: u64 = 1_700_000_000_000;
/// Simulated time in which an engine must have decided what it makes of its storage.
const PATIENCE: Duration = Duration::from_secs(30);

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
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime starts");
        LocalSet::new().block_on(&runtime, start_twice(bytes));
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

/// Waits until all is stored, or the status says why not.
async fn settle(engine: &SyncEngine, handle: &DocHandle) {
    let start = Instant::now();
    loop {
        let status = engine.status();
        let is_told = status.storage == StorageHealth::Failing(StorageFault::Corrupt);
        if is_told || handle.is_loaded() && handle.status().saved_here {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "neither stored nor told: {status:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Puts something into the store: sound blocks, or a value or snapshot that may be anything.
async fn damage(storage: &MemoryStorage, doc: &DocId, choices: &mut Choices<'_>) {
    let key = match choices.below(6) {
        0 => "acked/d".to_owned(),
        1 => "unsent/d".to_owned(),
        2 => "rescue/d".to_owned(),
        3 => format!("peer/{}", choices.below(3)),
        4 => {
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
    let value = match choices.below(3) {
        0 => choices.some(64).to_vec(),
        1 => PeerId(choices.number()).0.to_le_bytes().to_vec(),
        _ => {
            let whole = merged(&replicas(choices));
            let mut out = Writer::new();
            whole.version().encode(&mut out);
            out.bytes(&from_input(SNAPSHOT, choices.some(500)));
            out.into_vec()
        }
    };
    storage.put_meta(&key, &value).await.expect("memory takes it");
}

/// A platform without entropy, on the runtime's clock.
struct FuzzEnv {
    start: Instant,
    seed: Rc<Cell<u64>>,
}

impl FuzzEnv {
    fn new(seed: u64) -> Self {
        Self { start: Instant::now(), seed: Rc::new(Cell::new(seed)) }
    }
}

impl Env for FuzzEnv {
    fn wall_ms(&self) -> u64 {
        WALL_START_MS + self.now_ms()
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn random_u64(&self) -> u64 {
        self.seed.set(self.seed.get().wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1));
        self.seed.get().rotate_left(29)
    }

    fn sleep(&self, ms: u64) -> LocalBoxFuture<'static, ()> {
        tokio::time::sleep(Duration::from_millis(ms)).boxed_local()
    }

    fn spawn_local(&self, future: LocalBoxFuture<'static, ()>) {
        spawn_local(future);
    }
}
