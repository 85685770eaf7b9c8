//! A device, a server and a network in one thread, on a clock that jumps when all are idle.
#![allow(dead_code, reason = "each test file uses a part of it")]

mod server;

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use leptos_sync_crdt::DocId;
use leptos_sync_engine::{DocHandle, EngineConfig, Env, StorageHealth, SyncEngine, SyncState};
use leptos_sync_storage::MemoryStorage;
use leptos_sync_transport::{MemoryTransport, TabBus, Transport};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::Instant;

pub(crate) use self::server::TestServer;

pub(crate) const WALL_START_MS: u64 = 1_700_000_000_000;
/// Simulated time after which a test gives up waiting.
const PATIENCE: Duration = Duration::from_secs(300);

/// Runs a test on a paused clock.
pub(crate) fn simulate(test: impl Future<Output = ()> + 'static) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime starts");
    LocalSet::new().block_on(&runtime, test);
}

/// Waits until `done` holds.
#[track_caller]
pub(crate) fn until(mut done: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let start = Instant::now();
        while !done() {
            assert!(start.elapsed() < PATIENCE, "waited in vain at {caller}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Lets simulated time pass.
pub(crate) async fn pass(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

pub(crate) fn board() -> DocId {
    DocId::new("board/42").expect("a valid id")
}

/// One browser profile: its storage, its tabs.
#[derive(Clone)]
pub(crate) struct Device {
    pub(crate) storage: MemoryStorage,
    pub(crate) config: EngineConfig,
    bus: TabBus,
    env: TestEnv,
}

impl Device {
    /// `seed` makes its random numbers differ from other devices'.
    pub(crate) fn new(seed: u64) -> Self {
        let bus = TabBus::new();
        let run = bus.clone();
        spawn_local(async move { run.run().await });
        Self {
            storage: MemoryStorage::new(),
            config: EngineConfig::default(),
            bus,
            env: TestEnv::new(seed),
        }
    }

    /// A new tab, which dials `server`.
    pub(crate) fn tab(&self, server: &TestServer) -> SyncEngine {
        self.start(Some(server.transport()))
    }

    /// A new tab of an app without a server.
    pub(crate) fn lonely_tab(&self) -> SyncEngine {
        self.start(None::<MemoryTransport>)
    }

    /// Puts the wall clock ahead.
    pub(crate) fn turn_clock(&self, ahead_ms: u64) {
        self.env.ahead_ms.set(ahead_ms);
    }

    /// A new tab that dials in some way.
    pub(crate) fn start(&self, transport: Option<impl Transport>) -> SyncEngine {
        SyncEngine::start(
            self.config.clone(),
            self.storage.reopen(),
            transport,
            self.bus.join(),
            self.env.clone(),
        )
    }
}

fn ms_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).expect("a test is short")
}

/// What a clock that is right shows, where everything started at `start`.
fn wall_ms(start: Instant) -> u64 {
    WALL_START_MS + ms_since(start)
}

#[derive(Clone)]
struct TestEnv {
    start: Instant,
    seed: Rc<Cell<u64>>,
    /// By how many milliseconds the wall clock is ahead.
    ahead_ms: Rc<Cell<u64>>,
}

impl TestEnv {
    fn new(seed: u64) -> Self {
        Self { start: Instant::now(), seed: Rc::new(Cell::new(seed)), ahead_ms: Rc::default() }
    }
}

impl Env for TestEnv {
    fn wall_ms(&self) -> u64 {
        wall_ms(self.start) + self.ahead_ms.get()
    }

    fn now_ms(&self) -> u64 {
        ms_since(self.start)
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

/// What tests do with a document's root text.
pub(crate) trait Writing {
    fn write(&self, at: usize, text: &str);
    fn text(&self) -> String;
    fn pending(&self) -> usize;
    fn is_saved(&self) -> bool;
}

impl Writing for DocHandle {
    fn write(&self, at: usize, text: &str) {
        self.transact(|tx| tx.text("note").insert(at, text)).expect("the position is in range");
    }

    fn text(&self) -> String {
        self.read(|doc| doc.text("note").to_string())
    }

    fn pending(&self) -> usize {
        self.status().pending
    }

    fn is_saved(&self) -> bool {
        self.status().state == SyncState::Saved
    }
}

/// Closes a tab after it has stored what it has.
pub(crate) async fn close(engine: SyncEngine, docs: Vec<DocHandle>) {
    let handle = docs.clone();
    until(move || handle.iter().all(|doc| doc.status().saved_here)).await;
    // What is acknowledged is noted a moment later.
    pass(1_000).await;
    assert_eq!(engine.status().storage, StorageHealth::Healthy);
    drop(docs);
    engine.shutdown();
    drop(engine);
    pass(1).await;
}
