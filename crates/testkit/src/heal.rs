//! The end of a world: faults stop, and within bounded time all is quiet and the same everywhere.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use leptos_sync_crdt::DocId;
use leptos_sync_engine::SyncState;

use crate::check::restore;
use crate::device::Tab;
use crate::ledger::{self, Token};
use crate::tasks::lock;
use crate::world::{Violation, World};

/// How long all may take to be quiet: longer than any silence, backoff and retry.
const QUIET_MS_MAX: u64 = 5 * 60_000;
/// How long somebody may be shown after they died, and not be shown after they came.
const PRESENCE_MS_MAX: u64 = 35_000;
/// While stamps of a clock that was ahead have to wait for their time.
const QUIET_MS_MAX_SKEWED: u64 = 50 * 60_000;

impl World {
    /// Ends every fault, waits, and looks at the whole.
    pub(crate) async fn heal(&mut self) -> Result<(), Violation> {
        let jumped = ["clock jumped", "server clock jumped"];
        let skewed = jumped.iter().any(|fault| self.faults.contains_key(fault));
        let patience = if skewed { QUIET_MS_MAX_SKEWED } else { QUIET_MS_MAX };
        self.end_faults();
        if self.server.recovering {
            // It says itself that it came back from a backup, so that nothing has to be opened.
            let tabs = self.devices.iter_mut().flat_map(|device| &mut device.tabs);
            tabs.for_each(|tab| tab.docs.clear());
        } else if self.faults.contains_key("server restored") {
            // That is noticed by a document of which it lacks some.
            self.open_everything();
        }
        let wanted = self.wanted();
        let arrived = self.until(patience, "what was saved anywhere is on the server", |world| {
            world.server.start(&world.net.clone());
            for (id, tokens) in &wanted {
                let stored = world.stored_tokens(id)?;
                if let Some(token) = tokens.difference(&stored).next() {
                    return Ok(Some(format!("token {token} of {id} is not there")));
                }
            }
            Ok(None)
        });
        arrived.await?;
        self.open_everything();
        self.until(patience, "all is quiet and the same everywhere", Self::is_quiet).await?;
        self.check_server()?;
        for device in 0..self.devices.len() {
            self.check_device(device)?;
        }
        self.check_rebuilt()?;
        self.check_bytes()?;
        self.check_transfers_arrived()?;
        self.check_presence().await?;
        // What was said to be saved outlives that the power goes everywhere.
        for device in 0..self.devices.len() {
            self.devices[device].lose_power();
            self.check_device(device)?;
        }
        self.server.kill(&self.net, true);
        self.check_server()
    }

    fn open_everything(&mut self) {
        for device in &mut self.devices {
            for tab in &mut device.tabs {
                self.docs.iter().for_each(|doc| tab.open(doc));
                // A page that is looked at shows what a tab that died had stored.
                tab.engine.iter().for_each(leptos_sync_engine::SyncEngine::nudge);
            }
        }
    }

    fn end_faults(&mut self) {
        self.server.disk.fail_writes(None);
        self.server.disk.fail_reads(None);
        self.server.disk.stall(false);
        self.server.disk.panic_next(false);
        self.server.freeze(false);
        self.server.clock_error_ms.store(0, Ordering::Relaxed);
        lock(&self.server.users).read_only.clear();
        lock(&self.server.users).expires_ms.clear();
        self.forbidden.clear();
        for number in 0..self.devices.len() {
            self.net.set_weather(number, |weather| *weather = crate::net::Weather::default());
            let device = &mut self.devices[number];
            device.disk.fail_writes(None);
            device.disk.fail_reads(None);
            device.disk.stall(false);
            device.clock.error_ms.set(0);
            for tab in &device.tabs {
                tab.tasks.freeze(false);
                tab.engine.iter().for_each(|engine| engine.set_online(true));
            }
        }
        for number in 0..self.devices.len() {
            // What a tab stored and could not send, the next start sends.
            self.open_empty_tab(number);
        }
    }

    /// What must be everywhere in the end: what was shown as saved, here or there, and both halves
    /// of what was stored in two documents at once.
    fn wanted(&self) -> Vec<(DocId, BTreeSet<Token>)> {
        let all = |id: &DocId| {
            let here = self.devices.iter().filter_map(|device| device.promised.get(id));
            let promised = here.chain(self.promised.get(id)).flatten().copied();
            promised.chain(self.stored_transfers(id)).collect()
        };
        self.docs.iter().map(|id| (id.clone(), all(id))).collect()
    }

    /// Lets time pass until `done` has nothing to say any more.
    async fn until(
        &mut self,
        patience: u64,
        what: &str,
        mut done: impl FnMut(&mut Self) -> Result<Option<String>, Violation>,
    ) -> Result<(), Violation> {
        let mut waited = 0;
        let mut slice = 20;
        loop {
            self.reload_pages();
            let Some(missing) = done(self)? else { return Ok(()) };
            if waited > patience {
                return Err(format!(
                    "after {} s it does not hold that {what}: {missing}",
                    waited / 1_000
                ));
            }
            self.pass(slice).await?;
            waited += slice;
            slice = (slice * 5 / 4).min(10_000);
        }
    }

    /// Somebody loads the pages anew that say that only this helps.
    fn reload_pages(&mut self) {
        for device in 0..self.devices.len() {
            while let Some(number) = self.first_to_reload(device) {
                let docs: Vec<DocId> =
                    self.devices[device].tabs[number].docs.keys().cloned().collect();
                self.devices[device].close_tab(number);
                let tab = self.open_empty_tab(device);
                docs.iter().for_each(|doc| tab.open(doc));
            }
        }
    }

    fn first_to_reload(&self, device: usize) -> Option<usize> {
        self.devices[device].tabs.iter().position(Tab::has_to_be_reloaded)
    }

    /// What is not quiet, or not the same, if something is.
    fn is_quiet(&mut self) -> Result<Option<String>, Violation> {
        self.server.start(&self.net.clone());
        for id in self.docs.clone() {
            self.stored_tokens(&id)?;
            let stored = &self.stored[&id];
            let version = stored.version().clone();
            let mut expected = None;
            for device in &self.devices {
                for (number, tab) in device.tabs.iter().enumerate() {
                    let name = format!("{id} in tab {number} of device {}", device.number);
                    let Some(open) = tab.docs.get(&id) else { return Ok(Some(name)) };
                    let status = open.handle.status();
                    if status.state != SyncState::Saved || !status.saved_here {
                        return Ok(Some(format!("{name}: {status:?}")));
                    }
                    if open.handle.read(|doc| *doc.version() != version) {
                        return Ok(Some(format!("{name} has another version")));
                    }
                    let expected = expected.get_or_insert_with(|| ledger::dump(stored));
                    if open.handle.read(ledger::dump) != *expected {
                        return Ok(Some(format!("{name} differs from the server")));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Whoever is there is shown to the others, and no longer once they are dead.
    async fn check_presence(&mut self) -> Result<(), Violation> {
        const HERE: &[u8] = b"here";
        let id = self.docs[0].clone();
        let shown = |world: &Self| {
            let others = world.devices[1..].iter().flat_map(|device| &device.tabs);
            let mut docs = others.filter_map(|tab| tab.docs.get(&id));
            docs.any(|open| open.handle.peers().iter().any(|peer| peer.payload == HERE))
        };
        let missing = |is: bool, what: &str| Ok((!is).then(|| what.to_owned()));
        let what = "whoever is there is shown";
        let appears = |world: &mut Self| {
            // The page may have been loaded anew since: a token may end just now.
            if let Some(open) = world.devices[0].tabs.first().and_then(|tab| tab.docs.get(&id)) {
                open.handle.set_presence(Some(HERE.to_vec()));
            }
            missing(shown(world), "nobody sees them")
        };
        self.until(PRESENCE_MS_MAX, what, appears).await?;
        let machine_too = self.steps.is_multiple_of(2);
        self.devices[0].kill_tab(0, machine_too);
        let what = "the dead are not shown";
        let vanishes = |world: &mut Self| missing(!shown(world), "somebody sees them");
        self.until(PRESENCE_MS_MAX, what, vanishes).await?;
        Ok(())
    }

    /// What is stored on each device is what its tabs show.
    fn check_rebuilt(&mut self) -> Result<(), Violation> {
        for id in &self.docs {
            let dump = ledger::dump(&self.stored[id]);
            for device in &self.devices {
                let stored = restore(device.disk.peek(id))?;
                if ledger::dump(&stored) != dump {
                    let number = device.number;
                    return Err(format!("{id} as stored on device {number} differs"));
                }
            }
        }
        Ok(())
    }
}
