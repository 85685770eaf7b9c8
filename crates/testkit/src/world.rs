//! One simulated world: the server, devices with tabs, the network, and what is done to them.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use leptos_sync_crdt::{Doc, DocId};
use leptos_sync_engine::{DocHandle, EngineConfig, Reason};
use leptos_sync_storage::Fault;
use tokio::time::Instant;

use crate::changes::Changes;
use crate::device::{Device, Tab, WALL_START_MS};
use crate::disk::Disk;
use crate::hostile;
use crate::ledger::{self, SKETCH, Token};
use crate::net::Net;
use crate::rng::Rng;
use crate::server::SimServer;
use crate::step::Step;
use crate::tasks::lock;
use crate::together::Transfer;

const DEVICES_MAX: usize = 5;
const TABS_MAX: usize = 3;

/// The number of the document that is a sketch; the others are ledgers.
const SKETCH_NUMBER: u64 = 2;

/// What went wrong: a sentence.
pub(crate) type Violation = String;

pub(crate) struct World {
    pub(crate) net: Rc<Net>,
    pub(crate) server: SimServer,
    pub(crate) devices: Vec<Device>,
    pub(crate) docs: Vec<DocId>,
    /// The tokens written so far, by document.
    pub(crate) issued: BTreeMap<DocId, BTreeSet<Token>>,
    pub(crate) next_token: Token,
    /// Which token each change of the sketch is.
    pub(crate) changes: Changes,
    /// What was shown as saved on the server, and has not been lost with a restored backup.
    pub(crate) promised: BTreeMap<DocId, BTreeSet<Token>>,
    /// The server's documents as its disk has them.
    pub(crate) stored: BTreeMap<DocId, Doc>,
    /// What users wrote while they were not allowed to, with who they are.
    pub(crate) forbidden: BTreeMap<Token, String>,
    /// What was written into both ledgers at once.
    pub(crate) transfers: Vec<Transfer>,
    backup: Option<Vec<u8>>,
    /// The most that the server's clock was ever ahead.
    pub(crate) server_ahead_ms: i64,
    pub(crate) faults: BTreeMap<&'static str, u64>,
    pub(crate) steps: u64,
    pub(crate) start: Instant,
    rng: Rng,
}

impl World {
    /// The world of `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed).split(8);
        let start = Instant::now();
        let asks_names = rng.one_in(2);
        let net = Rc::new(Net::new(rng.split(1)));
        let server = SimServer::new(start, asks_names, rng.split(2));
        let names = ["ledger/a", "ledger/b", SKETCH];
        let docs = names.iter().map(|name| DocId::new(name).expect("a valid id")).collect();
        let mut world = Self {
            net,
            server,
            devices: Vec::new(),
            docs,
            issued: BTreeMap::new(),
            changes: Changes::default(),
            next_token: 0,
            promised: BTreeMap::new(),
            stored: BTreeMap::new(),
            forbidden: BTreeMap::new(),
            transfers: Vec::new(),
            backup: None,
            server_ahead_ms: 0,
            faults: BTreeMap::new(),
            steps: 0,
            start,
            rng: rng.split(3),
        };
        world.server.start(&world.net);
        for _ in 0..2 + rng.below(2) {
            world.add_device();
        }
        for device in 0..world.devices.len() {
            for _ in 0..1 + rng.below(2) {
                world.open_tab(device);
            }
        }
        world
    }

    fn add_device(&mut self) {
        let number = self.devices.len();
        let rng = self.rng.split(number as u64);
        self.net.add_device();
        self.devices.push(Device::new(number, format!("user {number}"), self.start, rng));
    }

    /// Opens a tab with one or two documents in it.
    pub(crate) fn open_tab(&mut self, device: usize) {
        let first = self.rng.index(self.docs.len());
        let second = self.rng.index(self.docs.len());
        let docs = [self.docs[first].clone(), self.docs[second].clone()];
        let tab = self.open_empty_tab(device);
        docs.iter().for_each(|doc| tab.open(doc));
    }

    pub(crate) fn open_empty_tab(&mut self, device: usize) -> &mut Tab {
        let mut config = EngineConfig::default();
        let device = &mut self.devices[device];
        if self.server.asks_names {
            config.token = Some(device.user.clone());
        }
        config.compact_blocks = 8 + self.rng.index(24);
        device.open_tab(&self.net, config)
    }

    /// A hash of all that is on any disk.
    pub(crate) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let devices = self.devices.iter().map(|device| &device.disk);
        devices.chain([&self.server.disk]).for_each(|disk| disk.copy().hash(&mut hasher));
        hasher.finish()
    }

    /// Counts a fault.
    pub(crate) fn count(&mut self, fault: &'static str) {
        *self.faults.entry(fault).or_default() += 1;
    }

    /// The faults so far, those with which disks met what was asked of them included.
    pub(crate) fn all_faults(&self) -> BTreeMap<&'static str, u64> {
        let disks = self.devices.iter().map(|device| &device.disk).chain([&self.server.disk]);
        let mut all = self.faults.clone();
        for (fault, count) in disks.flat_map(Disk::strikes) {
            *all.entry(fault).or_default() += count;
        }
        all
    }

    pub(crate) fn pick_device(&self, number: u64) -> usize {
        (number % self.devices.len() as u64) as usize
    }

    /// A tab that can be acted upon, by a number.
    pub(crate) fn pick_tab(&self, number: u64) -> Option<(usize, usize)> {
        let all: Vec<(usize, usize)> = self
            .devices
            .iter()
            .flat_map(|device| (0..device.tabs.len()).map(|tab| (device.number, tab)))
            .collect();
        (!all.is_empty()).then(|| all[(number % all.len() as u64) as usize])
    }

    /// A tab whose page runs: a frozen one does nothing.
    fn pick_awake(&mut self, number: u64) -> Option<&mut Tab> {
        let (device, tab) = self.pick_tab(number)?;
        let tab = &mut self.devices[device].tabs[tab];
        (!tab.tasks.is_frozen()).then_some(tab)
    }

    /// Lets simulated time pass, looking at everything now and then.
    pub(crate) async fn pass(&mut self, ms: u64) -> Result<(), Violation> {
        let mut left = ms;
        while left > 0 {
            let slice = left.min(5 + self.rng.below(200));
            tokio::time::sleep(Duration::from_millis(slice)).await;
            left -= slice;
            self.check()?;
        }
        Ok(())
    }

    /// Does one thing, which counts as a fault if it is one and has changed something.
    pub(crate) async fn take(&mut self, step: Step) -> Result<(), Violation> {
        self.steps += 1;
        let strikes = match step {
            Step::Pass { ms } => return self.pass(ms).await,
            Step::ServerStop => self.server.stop(&self.net).await,
            Step::CrashAtStart { device, power_too, skip } => {
                self.crash_at_start(device, power_too, skip).await?;
                true
            }
            Step::CrashAfterEviction { device, ms } => {
                self.crash_after_eviction(device, ms).await?;
                true
            }
            Step::ServerCrashAtStart { power_too, skip } => {
                self.crash_server_at_start(power_too, skip).await?
            }
            Step::Hostile { kind, choice } => hostile::act(self, kind, choice).await,
            Step::OtherVersion { min, max } => hostile::greet(self, min, max).await?,
            _ => self.take_at_once(step)?,
        };
        if let Some(fault) = step.fault().filter(|_| strikes) {
            self.count(fault);
        }
        tokio::time::sleep(Duration::from_millis(self.rng.below(3))).await;
        self.check()
    }

    /// Whether it was a fault that has changed something.
    fn take_at_once(&mut self, step: Step) -> Result<bool, Violation> {
        match step {
            Step::Write { tab, doc, at, kind } => {
                self.write(tab, doc, at as usize, kind, false, None);
            }
            Step::WriteLarge { tab, doc, at, bytes } => {
                self.write(tab, doc, at as usize, 0, false, Some(bytes as usize));
            }
            Step::TakeOut { tab, doc, at } => self.write(tab, doc, at as usize, 0, true, None),
            Step::Transfer { tab, at, refused } => self.transfer(tab, at as usize, refused)?,
            Step::Mark { tab, at, kind } => self.draw(tab, |doc, token| {
                doc.transact(|tx| ledger::mark(tx, token, kind, at as usize));
            }),
            Step::Undo { tab } => self.draw(tab, |doc, _| {
                doc.undo();
            }),
            Step::Redo { tab } => self.draw(tab, |doc, _| {
                doc.redo();
            }),
            Step::OpenDoc { tab, doc } => {
                let doc = self.docs[doc as usize].clone();
                self.pick_awake(tab).into_iter().for_each(|tab| tab.open(&doc));
            }
            Step::CloseDoc { tab, doc } => {
                let doc = self.docs[doc as usize].clone();
                if let Some(tab) = self.pick_awake(tab) {
                    tab.docs.remove(&doc);
                }
            }
            Step::Nudge { tab } => {
                let engine = self.pick_awake(tab).and_then(|tab| tab.engine.clone());
                engine.into_iter().for_each(|engine| engine.nudge());
            }
            Step::Offline { tab, offline } => {
                let engine = self.pick_awake(tab).and_then(|tab| tab.engine.clone());
                let Some(engine) = engine else { return Ok(false) };
                let was_offline = engine.status().reason == Some(Reason::NoNetwork);
                engine.set_online(!offline);
                return Ok(was_offline != offline);
            }
            Step::SetPresence { tab, doc } => {
                let doc = self.docs[doc as usize].clone();
                let payload = self.rng.below(100).to_le_bytes().to_vec();
                let doc = self.pick_awake(tab).and_then(|tab| tab.docs.get(&doc));
                doc.into_iter().for_each(|doc| doc.handle.set_presence(Some(payload.clone())));
            }
            step => return self.take_fault(step),
        }
        Ok(false)
    }

    fn write(
        &mut self,
        tab: u64,
        doc: u64,
        at: usize,
        kind: u64,
        take_out: bool,
        bytes: Option<usize>,
    ) {
        let id = self.docs[doc as usize].clone();
        let padding = bytes.unwrap_or_else(|| if self.rng.one_in(30) { 2_000 } else { 0 });
        if doc == SKETCH_NUMBER {
            let scribble = |doc: &DocHandle, token| {
                doc.transact(|tx| ledger::scribble(tx, token, kind as u8, at));
            };
            return self.draw(tab, scribble);
        }
        let token = self.next_token;
        let Some((device, index)) = self.pick_tab(tab) else { return };
        let user = self.devices[device].user.clone();
        let tab = &self.devices[device].tabs[index];
        if tab.tasks.is_frozen() || token >= ledger::TOKENS_MAX {
            return;
        }
        let Some(open) = tab.docs.get(&id) else { return };
        let len = open.handle.read(|doc| doc.text("note").len());
        let gone = (take_out && len > 0).then(|| at % len);
        open.handle.transact(|tx| ledger::write(tx, token, at, gone, padding));
        self.issue(&[id], token, user);
    }

    /// Changes the sketch in a tab that has it open, and remembers the change by its block.
    fn draw(&mut self, tab: u64, change: impl FnOnce(&DocHandle, Token)) {
        let id = self.docs[SKETCH_NUMBER as usize].clone();
        let token = self.next_token;
        let Some((device, index)) = self.pick_tab(tab) else { return };
        let device = &self.devices[device];
        let tab = &device.tabs[index];
        if tab.tasks.is_frozen() || token >= ledger::TOKENS_MAX {
            return;
        }
        let Some(open) = tab.docs.get(&id) else { return };
        let (author, before) = open.handle.read(|doc| (doc.peer(), doc.version().clone()));
        change(&open.handle, token);
        let mut made = open.handle.read(|doc| doc.blocks_since(&before));
        made.retain(|block| block.peer() == author);
        // There may have been nothing to undo.
        let [made] = &made[..] else { return };
        self.changes.note(made, token);
        self.issue(&[id], token, device.user.clone());
    }

    /// Notes that a user has made the change `token`, in all of these documents.
    pub(crate) fn issue(&mut self, ids: &[DocId], token: Token, user: String) {
        self.next_token += 1;
        for id in ids {
            self.issued.entry(id.clone()).or_default().insert(token);
        }
        if lock(&self.server.users).read_only.contains(&user) {
            self.forbidden.insert(token, user);
        }
    }

    /// Whether it has changed something.
    fn take_fault(&mut self, step: Step) -> Result<bool, Violation> {
        Ok(match step {
            Step::OpenTab { device } => {
                let device = self.pick_device(device);
                if self.devices[device].tabs.len() < TABS_MAX {
                    self.open_tab(device);
                }
                false
            }
            Step::CloseTab { tab } => self.at_tab(tab, Device::close_tab).is_some(),
            Step::KillTab { tab } => {
                self.at_tab(tab, |device, tab| device.kill_tab(tab, false)).is_some()
            }
            Step::Freeze { tab } | Step::Thaw { tab } => {
                let frozen = matches!(step, Step::Freeze { .. });
                self.at_tab(tab, |device, tab| device.tabs[tab].tasks.freeze(frozen)) == Some(true)
            }
            Step::Leave { tab } => {
                self.at_tab(tab, |device, tab| device.tabs[tab].leave()) == Some(true)
            }
            Step::Return { tab } => {
                self.at_tab(tab, |device, tab| device.tabs[tab].come_back()).is_some()
            }
            Step::PowerLoss { device } => {
                let device = self.pick_device(device);
                if self.devices[device].lose_power() {
                    self.count("write torn");
                }
                self.check_device(device)?;
                self.open_tab(device);
                true
            }
            Step::StoreClosed { tab } => {
                self.at_tab(tab, |device, tab| device.tabs[tab].storage.close()) == Some(true)
            }
            Step::CopyProfile { device } => self.copy_profile(device),
            Step::ClearSiteData { device } => {
                let number = self.pick_device(device);
                let device = &mut self.devices[number];
                device.lose_power();
                device.disk.restore(Vec::new());
                device.promised.clear();
                self.forget_transfers(number);
                self.open_tab(number);
                true
            }
            Step::EvictSiteData { device } => {
                self.evict(self.pick_device(device))?;
                true
            }
            Step::BackupProfile { device } => {
                let number = self.pick_device(device);
                self.devices[number].back_up();
                false
            }
            Step::RestoreProfile { device } => {
                let number = self.pick_device(device);
                let is_restored = self.devices[number].restore();
                if is_restored {
                    self.forget_transfers(number);
                    self.open_tab(number);
                }
                is_restored
            }
            step => self.take_other_fault(step)?,
        })
    }

    /// Does something with a tab that can be acted upon, if there is one.
    fn at_tab<R>(&mut self, number: u64, act: impl FnOnce(&mut Device, usize) -> R) -> Option<R> {
        let (device, tab) = self.pick_tab(number)?;
        Some(act(&mut self.devices[device], tab))
    }

    fn take_other_fault(&mut self, step: Step) -> Result<bool, Violation> {
        Ok(match step {
            // The disk tells when it strikes.
            Step::DiskFull { device, full } => {
                let device = &self.devices[self.pick_device(device)];
                device.disk.fail_writes(full.then_some(Fault::QuotaExceeded));
                false
            }
            Step::DiskUnreadable { device, unreadable } => {
                let device = &self.devices[self.pick_device(device)];
                device.disk.fail_reads(unreadable.then_some(Fault::Unavailable));
                false
            }
            Step::DiskStall { device, stalled } => {
                self.devices[self.pick_device(device)].disk.stall(stalled);
                false
            }
            Step::Partition { device, partitioned } => {
                let device = self.pick_device(device);
                if partitioned {
                    for wire in self.net.wires(|of| of == device) {
                        wire.mute();
                    }
                }
                self.net.set_weather(device, |weather| weather.partitioned = partitioned)
            }
            Step::Cut { device } => {
                let device = self.pick_device(device);
                let wires = self.net.wires(|of| of == device);
                wires.iter().for_each(|wire| wire.cut());
                !wires.is_empty()
            }
            Step::HalfOpen { device } => {
                let device = self.pick_device(device);
                let wires = self.net.wires(|of| of == device);
                wires.iter().filter(|wire| wire.mute()).count() > 0
            }
            Step::Weather { device, delay_ms_max, breaks_within } => {
                self.net.set_weather(self.pick_device(device), |weather| {
                    weather.delay_ms_max = delay_ms_max;
                    weather.breaks_within = (breaks_within > 0).then_some(breaks_within);
                })
            }
            Step::ClockJump { device, error_ms } => {
                self.devices[self.pick_device(device)].clock.error_ms.replace(error_ms) != error_ms
            }
            step => self.take_server_fault(step)?,
        })
    }

    fn take_server_fault(&mut self, step: Step) -> Result<bool, Violation> {
        Ok(match step {
            Step::ServerClockJump { error_ms } => {
                self.server_ahead_ms = self.server_ahead_ms.max(error_ms);
                self.server.clock_error_ms.swap(error_ms, Ordering::Relaxed) != error_ms
            }
            Step::ServerKill { power_too } => self.end_server(power_too)?,
            Step::ServerStart => {
                self.server.start(&self.net);
                false
            }
            Step::ServerFreeze { frozen } => self.server.freeze(frozen),
            step => self.take_decision(step)?,
        })
    }

    /// What the server's disk or its operator does.
    fn take_decision(&mut self, step: Step) -> Result<bool, Violation> {
        match step {
            Step::ServerDiskFull { full } => {
                self.server.disk.fail_writes(full.then_some(Fault::QuotaExceeded));
            }
            Step::ServerDiskStall { stalled } => self.server.disk.stall(stalled),
            Step::ServerFsyncFails => self.server.disk.fail_next_fsync(),
            Step::ServerPanics => self.server.disk.panic_next(true),
            Step::ServerDiskUnreadable { unreadable } => {
                self.server.disk.fail_reads(unreadable.then_some(Fault::Unavailable));
            }
            Step::Backup => self.backup = Some(self.server.disk.copy()),
            Step::Restore => return self.restore(),
            Step::Revoke { device, revoked } => {
                let user = self.devices[self.pick_device(device)].user.clone();
                let is_new = !lock(&self.server.users).read_only.contains(&user);
                self.revoke(device, revoked);
                return Ok(self.server.asks_names && revoked && is_new);
            }
            Step::TokenExpires { device, in_ms } => {
                self.let_token_expire(device, in_ms);
                return Ok(self.server.asks_names);
            }
            step => unreachable!("{step:?} was done before"),
        }
        Ok(false)
    }

    /// A copy of a browser profile starts to live on another machine.
    fn copy_profile(&mut self, device: u64) -> bool {
        if self.devices.len() >= DEVICES_MAX {
            return false;
        }
        let from = self.pick_device(device);
        self.add_device();
        let original = &self.devices[from];
        let (profile, user) = (original.profile(), original.user.clone());
        let copy = self.devices.last_mut().expect("just added");
        copy.put(profile);
        copy.user = user;
        let number = copy.number;
        self.open_tab(number);
        true
    }

    /// The server comes back from a backup: what it had acknowledged since is lost there.
    fn restore(&mut self) -> Result<bool, Violation> {
        let Some(backup) = self.backup.clone() else { return Ok(false) };
        self.server.kill(&self.net, false);
        self.check_server()?;
        self.server.disk.restore(backup);
        // Who asks for no names needs to be told nothing: it may come back as if nothing happened.
        self.server.recovering = self.server.asks_names;
        self.stored.clear();
        for doc in self.docs.clone() {
            let kept = self.stored_tokens(&doc)?;
            self.promised.entry(doc).or_default().retain(|token| kept.contains(token));
        }
        self.server.start(&self.net);
        Ok(true)
    }

    /// The tokens of a user's open pages end soon.
    fn let_token_expire(&mut self, device: u64, in_ms: u64) {
        if !self.server.asks_names {
            return;
        }
        let user = self.devices[self.pick_device(device)].user.clone();
        let at = WALL_START_MS + self.start.elapsed().as_millis() as u64 + in_ms;
        lock(&self.server.users).expires_ms.insert(user, at);
    }

    fn revoke(&mut self, device: u64, revoked: bool) {
        if !self.server.asks_names {
            return;
        }
        let user = self.devices[self.pick_device(device)].user.clone();
        if revoked {
            lock(&self.server.users).read_only.insert(user);
        } else {
            lock(&self.server.users).read_only.remove(&user);
            self.forbidden.retain(|_, writer| *writer != user);
        }
    }
}
