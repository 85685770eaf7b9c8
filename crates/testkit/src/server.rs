//! The production server as a process that can be killed: its disk, its clock, its users.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use leptos_sync_protocol::Limits;
use leptos_sync_server::{AuthError, Authenticator, Env, Grant, Standing, SyncServer};
use tokio::time::Instant;

use crate::device::WALL_START_MS;
use crate::disk::{Disk, DiskStorage};
use crate::hostile::STRANGER;
use crate::net::{Acceptor, Net};
use crate::planted::{Bug, is_planted};
use crate::rng::Rng;
use crate::strikes::Owner;
use crate::tasks::{Tasks, lock};

/// The server's machine.
pub(crate) struct SimServer {
    pub(crate) disk: Disk,
    pub(crate) clock_error_ms: Arc<AtomicI64>,
    pub(crate) users: Arc<Mutex<Users>>,
    /// Whether clients have to say who they are.
    pub(crate) asks_names: bool,
    /// Whether it was restored from a backup and takes back what it lost.
    pub(crate) recovering: bool,
    start: Instant,
    rng: Rng,
    starts: u64,
    process: Option<Process>,
}

/// What the server's operator has decided about users.
#[derive(Debug, Default)]
pub(crate) struct Users {
    /// They may read and not write.
    pub(crate) read_only: BTreeSet<String>,
    /// When their tokens expire, by the server's clock.
    pub(crate) expires_ms: BTreeMap<String, u64>,
}

struct Process {
    tasks: Tasks,
    server: Arc<Mutex<Option<Arc<SyncServer<DiskStorage>>>>>,
    /// It had to stop by itself, or did not come up.
    failed: Arc<AtomicBool>,
}

impl SimServer {
    pub(crate) fn new(start: Instant, asks_names: bool, rng: Rng) -> Self {
        Self {
            disk: Disk::new(Owner::Server, rng.split(1)),
            clock_error_ms: Arc::default(),
            users: Arc::default(),
            asks_names,
            recovering: false,
            start,
            rng: rng.split(2),
            starts: 0,
            process: None,
        }
    }

    /// Whether a process runs that has not failed.
    pub(crate) fn is_up(&self) -> bool {
        self.process.as_ref().is_some_and(|process| !process.failed.load(Ordering::Relaxed))
    }

    /// Starts a process, in the place of one that failed.
    pub(crate) fn start(&mut self, net: &Rc<Net>) {
        if self.is_up() {
            return;
        }
        self.kill(net, false);
        self.starts += 1;
        let tasks = Tasks::default();
        let env = ServerEnv {
            start: self.start,
            clock_error_ms: self.clock_error_ms.clone(),
            rng: Mutex::new(self.rng.split(self.starts)),
            tasks: tasks.clone(),
        };
        let auth = SimAuth {
            users: self.users.clone(),
            asks_names: self.asks_names,
            start: self.start,
            clock_error_ms: self.clock_error_ms.clone(),
        };
        let (storage, recovering) = (self.disk.open(), self.recovering);
        // So few that most documents have packs, of which clients lack all or a part.
        let pack_blocks = 2 + self.rng.split(self.starts).index(8);
        let (server, failed) = (Arc::new(Mutex::new(None)), Arc::new(AtomicBool::new(false)));
        let process =
            Process { tasks: tasks.clone(), server: server.clone(), failed: failed.clone() };
        self.process = Some(process);
        let (net, own_tasks) = (net.clone(), tasks.clone());
        tasks.spawn(async move {
            let builder = SyncServer::builder(storage).auth(auth).limits(limits()).env(env);
            let builder = builder.recovering(recovering).pack_blocks(pack_blocks);
            let started = builder.start().await;
            let Ok(started) = started else { return failed.store(true, Ordering::Relaxed) };
            let started = Arc::new(started);
            *lock(&server) = Some(started.clone());
            let (serving, tasks) = (started.clone(), own_tasks);
            let acceptor: Acceptor = Box::new(move |socket| {
                let server = serving.clone();
                tasks.spawn(async move { server.serve(socket).await });
                true
            });
            net.listen(Some(acceptor));
            started.failure().await;
            failed.store(true, Ordering::Relaxed);
        });
    }

    /// The most that any connection of this process had waiting: requests, and bytes of changes.
    pub(crate) fn high_water(&self) -> Option<(usize, usize)> {
        let server = lock(&self.process.as_ref()?.server).clone()?;
        let most = server.high_water();
        Some((most.requests(), most.bytes()))
    }

    /// SIGKILL, or the power goes. Returns whether the disk was caught writing.
    pub(crate) fn kill(&mut self, net: &Net, power_too: bool) -> bool {
        net.listen(None);
        let Some(process) = self.process.take() else { return false };
        process.tasks.kill();
        for wire in net.wires(|_| true) {
            if power_too {
                wire.mute();
            }
        }
        if power_too {
            return self.disk.lose_power();
        }
        self.disk.lose_process();
        false
    }

    /// SIGTERM: the server says goodbye, and has ended when this resolves. Returns whether it ran.
    pub(crate) async fn stop(&mut self, net: &Net) -> bool {
        let was_up = self.is_up();
        net.listen(None);
        let server = self.process.as_ref().and_then(|process| lock(&process.server).clone());
        if let Some(server) = server {
            server.stop(std::time::Duration::from_secs(5)).await;
        }
        self.kill(net, false);
        was_up
    }

    /// Holds the process still, as a machine does that swaps. Returns whether that is new.
    pub(crate) fn freeze(&self, frozen: bool) -> bool {
        self.process.as_ref().is_some_and(|process| process.tasks.freeze(frozen))
    }
}

/// A window that is soon full, so that credit matters, and little more than is ever used.
pub(crate) fn limits() -> Limits {
    let (window_bytes, block_bytes_max) = (4 << 10, 160 << 10);
    Limits { window_bytes, block_bytes_max, docs_max: 16, ..Limits::default() }
}

struct ServerEnv {
    start: Instant,
    clock_error_ms: Arc<AtomicI64>,
    rng: Mutex<Rng>,
    tasks: Tasks,
}

impl Env for ServerEnv {
    fn wall_ms(&self) -> u64 {
        if is_planted(Bug::AdoptsAFutureClock) {
            return wall_ms(self.start, &self.clock_error_ms) + 3_600_000;
        }
        wall_ms(self.start, &self.clock_error_ms)
    }

    fn random_u64(&self) -> Option<u64> {
        Some(lock(&self.rng).next_u64())
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.tasks.spawn(task);
    }

    fn aside(&self, work: Box<dyn FnOnce() + Send>) {
        let ms = lock(&self.rng).below(4);
        self.tasks.spawn(async move {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            work();
        });
    }
}

fn wall_ms(start: Instant, error_ms: &AtomicI64) -> u64 {
    let since = u64::try_from(start.elapsed().as_millis()).expect("not long");
    (WALL_START_MS + since).saturating_add_signed(error_ms.load(Ordering::Relaxed))
}

struct SimAuth {
    users: Arc<Mutex<Users>>,
    asks_names: bool,
    start: Instant,
    clock_error_ms: Arc<AtomicI64>,
}

impl Authenticator for SimAuth {
    fn authenticate(&self, token: Option<&str>) -> Result<Grant, AuthError> {
        if !self.asks_names {
            return Ok(Grant::open());
        }
        let user = token.ok_or(AuthError::Missing)?;
        let users = lock(&self.users);
        let expires_ms = users.expires_ms.get(user).copied();
        if expires_ms.is_some_and(|at| at <= wall_ms(self.start, &self.clock_error_ms)) {
            return Err(AuthError::Expired);
        }
        let grant = Grant::all(user, expires_ms);
        let read_only = &users.read_only;
        // Whoever may write could bring what somebody wrote who may not.
        let is_reader = read_only.contains(user) || (user == STRANGER && !read_only.is_empty());
        if is_reader && !is_planted(Bug::PermissionIsIgnored) {
            return Ok(grant.only(vec!["*".to_owned()], Vec::new()));
        }
        Ok(grant)
    }

    fn review(&self, grant: &Grant) -> Standing {
        if is_planted(Bug::GrantsAreKept) {
            return Standing::Stands;
        }
        match self.authenticate(grant.principal()) {
            Ok(present) if present == *grant => Standing::Stands,
            Ok(_) => Standing::Changed,
            Err(_) => Standing::Ended,
        }
    }
}
