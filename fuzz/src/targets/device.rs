//! An engine on simulated time, as one tab of a device.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use leptos_sync_engine::{DocHandle, Env, StorageFault, StorageHealth, SyncEngine};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::Instant;

/// The wall clock when an engine starts.
const WALL_START_MS: u64 = 1_700_000_000_000;
/// Simulated time in which an engine must have decided what it makes of its storage.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs something on simulated time until it ends.
pub(super) fn play(what: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime starts");
    LocalSet::new().block_on(&runtime, what);
}

/// Waits until all is stored, or the status says why not.
pub(super) async fn settle(engine: &SyncEngine, handle: &DocHandle) {
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

/// A platform without entropy, on the runtime's clock.
pub(super) struct FuzzEnv {
    start: Instant,
    seed: Rc<Cell<u64>>,
}

impl FuzzEnv {
    pub(super) fn new(seed: u64) -> Self {
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
