//! A browser profile on a machine: its disk, its clock, its tabs.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use leptos_sync_crdt::DocId;
use leptos_sync_engine::{
    DocEvent, DocHandle, EngineConfig, Env, Reason, StorageFault, StorageHealth, Subscription,
    SyncEngine,
};
use leptos_sync_transport::{PostError, TabLink};
use tokio::time::Instant;

use crate::disk::{Disk, DiskStorage};
use crate::ledger::{self, Token};
use crate::net::{Net, SimTransport, Wire};
use crate::planted::{Bug, planted};
use crate::rng::Rng;
use crate::strikes::Owner;
use crate::tasks::Tasks;

/// When the simulated world begins, in milliseconds since the Unix epoch.
pub(crate) const WALL_START_MS: u64 = 1_700_000_000_000;

/// A clock that shows the world's time plus an error.
#[derive(Clone)]
pub(crate) struct WallClock {
    pub(crate) start: Instant,
    pub(crate) error_ms: Rc<Cell<i64>>,
}

impl WallClock {
    pub(crate) fn new(start: Instant) -> Self {
        Self { start, error_ms: Rc::default() }
    }
}

/// One machine with one browser profile on it.
pub(crate) struct Device {
    pub(crate) number: usize,
    pub(crate) disk: Disk,
    pub(crate) clock: WallClock,
    pub(crate) user: String,
    bus: Bus,
    rng: Rng,
    /// How many tabs were ever started.
    pub(crate) starts: u64,
    pub(crate) tabs: Vec<Tab>,
    /// Tabs that were closed and may still be writing.
    closing: Vec<Tasks>,
    /// What was shown as saved on this device.
    pub(crate) promised: BTreeMap<DocId, BTreeSet<Token>>,
    backup: Option<Profile>,
}

/// A copy of what is on a device's disk, with what was shown as saved there.
#[derive(Clone)]
pub(crate) struct Profile {
    journal: Vec<u8>,
    promised: BTreeMap<DocId, BTreeSet<Token>>,
}

/// One tab.
pub(crate) struct Tab {
    /// Which start of its device it is.
    pub(crate) number: u64,
    pub(crate) engine: Option<SyncEngine>,
    pub(crate) docs: BTreeMap<DocId, OpenDoc>,
    pub(crate) tasks: Tasks,
    pub(crate) storage: DiskStorage,
    /// The tab's newest connection.
    pub(crate) wire: Rc<RefCell<Option<Arc<Wire>>>>,
}

/// A document in a tab, and what was last seen of it.
pub(crate) struct OpenDoc {
    pub(crate) handle: DocHandle,
    pub(crate) changed: Rc<Cell<bool>>,
    /// The tokens that it held when it was last looked at.
    pub(crate) tokens: Rc<BTreeSet<Token>>,
    pub(crate) dump: Option<Rc<str>>,
    /// Whether these are noted as shown to be saved here.
    pub(crate) kept: bool,
    /// In which life of the server they were found to be saved there.
    pub(crate) saved_in: Option<u64>,
    _subscription: Subscription,
}

impl OpenDoc {
    fn new(handle: DocHandle) -> Self {
        let changed = Rc::new(Cell::new(true));
        let flag = changed.clone();
        let subscription = handle.subscribe(move |event| {
            if matches!(event, DocEvent::Loaded | DocEvent::Changed { .. }) {
                flag.set(true);
            }
        });
        Self {
            handle,
            changed,
            tokens: Rc::default(),
            dump: None,
            kept: false,
            saved_in: None,
            _subscription: subscription,
        }
    }

    /// All that it shows.
    pub(crate) fn dump(&mut self) -> Rc<str> {
        self.dump.get_or_insert_with(|| self.handle.read(ledger::dump).into()).clone()
    }
}

impl Device {
    pub(crate) fn new(number: usize, user: String, start: Instant, rng: Rng) -> Self {
        Self {
            number,
            disk: Disk::new(Owner::Device, rng.split(1)),
            clock: WallClock::new(start),
            user,
            bus: Bus::default(),
            rng: rng.split(2),
            starts: 0,
            tabs: Vec::new(),
            closing: Vec::new(),
            promised: BTreeMap::new(),
            backup: None,
        }
    }

    /// A copy of the profile, as a copied folder or a backup has it.
    pub(crate) fn profile(&self) -> Profile {
        Profile { journal: self.disk.copy(), promised: self.promised.clone() }
    }

    /// Puts a copy in the place of what is on the disk. No tab is open.
    pub(crate) fn put(&mut self, profile: Profile) {
        self.disk.restore(profile.journal);
        self.promised = profile.promised;
    }

    pub(crate) fn back_up(&mut self) {
        self.backup = Some(self.profile());
    }

    /// The machine comes back from its backup, if there is one. What was saved here since is gone.
    pub(crate) fn restore(&mut self) -> bool {
        let Some(backup) = self.backup.clone() else { return false };
        self.lose_power();
        self.put(backup);
        true
    }

    /// The browser makes room: the site data goes, and the tabs stay. What only they have is
    /// promised no longer.
    pub(crate) fn evict(&mut self) {
        self.promised.clear();
        self.disk.evict();
    }

    /// Opens a tab, which dials the server.
    pub(crate) fn open_tab(&mut self, net: &Rc<Net>, config: EngineConfig) -> &mut Tab {
        self.starts += 1;
        let tasks = Tasks::default();
        let wire = Rc::new(RefCell::new(None));
        let env = SimEnv {
            clock: self.clock.clone(),
            rng: Rc::new(RefCell::new(match planted() {
                Some(Bug::AllDrawTheSameId) => Rng::new(1),
                Some(Bug::AProfileKeepsItsId) => self.rng.split(0),
                _ => self.rng.split(self.starts),
            })),
            tasks: tasks.clone(),
        };
        let transport =
            SimTransport { net: net.clone(), device: self.number, newest: wire.clone() };
        let port = self.bus.join(&tasks, self.rng.split(self.starts + (1 << 32)));
        let storage = self.disk.open();
        let engine = SyncEngine::start(config, storage.clone(), Some(transport), port, env);
        let (number, docs) = (self.starts, BTreeMap::new());
        self.tabs.push(Tab { number, engine: Some(engine), docs, tasks, storage, wire });
        self.tabs.last_mut().expect("just pushed")
    }

    /// The tab's process ends without a word. Its system closes its connections, unless the
    /// machine is gone with it.
    pub(crate) fn kill_tab(&mut self, tab: usize, machine_too: bool) {
        let tab = self.tabs.remove(tab);
        tab.kill(machine_too);
    }

    /// The page is left in good order; what is not stored yet is stored still.
    pub(crate) fn close_tab(&mut self, tab: usize) {
        let mut tab = self.tabs.remove(tab);
        tab.tasks.freeze(false);
        tab.docs.clear();
        if let Some(engine) = tab.engine.take() {
            engine.leave();
            engine.shutdown();
            self.closing.push(tab.tasks);
        }
    }

    /// Every process ends without a word, those of tabs that were closed too.
    pub(crate) fn kill(&mut self) {
        for tab in self.tabs.drain(..) {
            tab.kill(false);
        }
        self.closing.drain(..).for_each(|tasks| tasks.kill());
    }

    /// The power goes, with every tab. Returns whether the disk was caught writing.
    pub(crate) fn lose_power(&mut self) -> bool {
        for tab in self.tabs.drain(..) {
            tab.kill(true);
        }
        self.closing.drain(..).for_each(|tasks| tasks.kill());
        self.bus = Bus::default();
        self.disk.stall(false);
        self.disk.lose_power()
    }
}

impl Tab {
    pub(crate) fn open(&mut self, doc: &DocId) {
        let Some(engine) = &self.engine else { return };
        if !self.docs.contains_key(doc) {
            self.docs.insert(doc.clone(), OpenDoc::new(engine.open(doc)));
        }
    }

    /// The page is left, and the browser keeps it as it is. Returns whether it was there.
    pub(crate) fn leave(&self) -> bool {
        let Some(engine) = self.engine.as_ref().filter(|_| !self.tasks.is_frozen()) else {
            return false;
        };
        engine.leave();
        self.tasks.freeze(true)
    }

    /// The page is shown again.
    pub(crate) fn come_back(&self) {
        self.tasks.freeze(false);
        self.engine.iter().for_each(SyncEngine::nudge);
    }

    /// Whether only loading the page anew helps: its token has expired, or its store is gone.
    pub(crate) fn has_to_be_reloaded(&self) -> bool {
        let status = self.engine.as_ref().map(SyncEngine::status).unwrap_or_default();
        status.reason == Some(Reason::Unauthorized)
            || status.storage == StorageHealth::Failing(StorageFault::Closed)
    }

    fn kill(mut self, machine_too: bool) {
        // First nothing runs any more, then nothing can be said: what handles do when they are
        // dropped is not heard by anybody.
        self.tasks.kill();
        if let Some(wire) = self.wire.borrow().as_ref() {
            if machine_too {
                wire.mute();
            } else {
                wire.cut();
            }
        }
        self.docs.clear();
        drop(self.engine.take());
    }
}

/// The platform of one tab.
struct SimEnv {
    clock: WallClock,
    rng: Rc<RefCell<Rng>>,
    tasks: Tasks,
}

impl Env for SimEnv {
    fn wall_ms(&self) -> u64 {
        WALL_START_MS.saturating_add_signed(self.clock.error_ms.get()) + self.now_ms()
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.clock.start.elapsed().as_millis()).expect("a simulation is short")
    }

    fn random_u64(&self) -> u64 {
        self.rng.borrow_mut().next_u64()
    }

    fn sleep(&self, ms: u64) -> LocalBoxFuture<'static, ()> {
        tokio::time::sleep(Duration::from_millis(ms)).boxed_local()
    }

    fn spawn_local(&self, future: LocalBoxFuture<'static, ()>) {
        self.tasks.spawn(future);
    }
}

type Callback = Box<dyn FnMut(Bytes)>;

/// The channel between the tabs of a profile. Messages arrive late, in order, while the tab runs.
#[derive(Clone, Default)]
struct Bus {
    ports: Rc<RefCell<Vec<Weak<Port>>>>,
}

struct Port {
    queue: RefCell<VecDeque<(Instant, Bytes)>>,
    waker: RefCell<Option<Waker>>,
    callback: RefCell<Option<Callback>>,
    rng: RefCell<Rng>,
}

struct BusPort {
    bus: Bus,
    port: Rc<Port>,
    tasks: Tasks,
}

impl Bus {
    fn join(&self, tasks: &Tasks, rng: Rng) -> BusPort {
        let port = Rc::new(Port {
            queue: RefCell::default(),
            waker: RefCell::default(),
            callback: RefCell::default(),
            rng: RefCell::new(rng),
        });
        self.ports.borrow_mut().push(Rc::downgrade(&port));
        let listening = Rc::downgrade(&port);
        tasks.spawn(async move {
            while let Some((port, due)) = next_message(&listening).await {
                tokio::time::sleep_until(due).await;
                let message = port.queue.borrow_mut().pop_front();
                let callback = port.callback.borrow_mut().take();
                if let (Some((_, message)), Some(mut callback)) = (message, callback) {
                    callback(message);
                    port.callback.borrow_mut().get_or_insert(callback);
                }
            }
        });
        BusPort { bus: self.clone(), port, tasks: tasks.clone() }
    }
}

/// Waits for a message, and says when it arrives.
async fn next_message(port: &Weak<Port>) -> Option<(Rc<Port>, Instant)> {
    std::future::poll_fn(|context| {
        let Some(port) = port.upgrade() else { return Poll::Ready(None) };
        let front = port.queue.borrow().front().map(|(due, _)| *due);
        match front {
            Some(due) => Poll::Ready(Some((port, due))),
            None => {
                *port.waker.borrow_mut() = Some(context.waker().clone());
                Poll::Pending
            }
        }
    })
    .await
}

impl TabLink for BusPort {
    fn post(&self, message: &[u8]) -> Result<(), PostError> {
        // A process that is being killed says nothing.
        if self.tasks.is_killed() {
            return Ok(());
        }
        let message = Bytes::copy_from_slice(message);
        let mut ports = self.bus.ports.borrow_mut();
        ports.retain(|port| port.strong_count() > 0);
        for port in ports.iter().filter_map(Weak::upgrade) {
            if Rc::ptr_eq(&port, &self.port) {
                continue;
            }
            let delay = Duration::from_millis(port.rng.borrow_mut().below(4));
            let mut queue = port.queue.borrow_mut();
            let due = (Instant::now() + delay).max(queue.back().map_or(Instant::now(), |b| b.0));
            queue.push_back((due, message.clone()));
            port.waker.borrow_mut().take().into_iter().for_each(Waker::wake);
        }
        Ok(())
    }

    fn on_message(&self, callback: impl FnMut(Bytes) + 'static) {
        *self.port.callback.borrow_mut() = Some(Box::new(callback));
    }
}
