//! Transfers: changes of both ledgers in one transaction, a token written into each.
//!
//! On the disk of the device that made one there are both halves or neither, whatever happens; a
//! tab of that device that has both ledgers open hears of both at once; and in the end both are
//! everywhere or neither is. Nothing is said of a transfer that was made, or waited to be stored,
//! while the device's storage failed: then each half goes by itself, through the server too.

use std::collections::BTreeMap;
use std::time::Duration;

use leptos_sync_crdt::{Doc, DocId, PeerId};
use leptos_sync_engine::{StorageHealth, TransactError};
use tokio::time::Instant;

use crate::check::{restore, tokens_of};
use crate::device::Tab;
use crate::ledger::{self, TOKENS_MAX, Token};
use crate::world::{Violation, World};

/// How long one half may be seen alone by a tab that got it before the message of both: longer
/// than that message takes.
const MESSAGE: Duration = Duration::from_millis(10);

/// A token that was written into both ledgers at once.
pub(crate) struct Transfer {
    token: Token,
    device: usize,
    /// Which tab made it.
    maker: u64,
    /// In each ledger, who wrote it and where it ends.
    names: [(PeerId, u32); 2],
    /// Whether the device's disk has had both halves.
    is_stored: bool,
    /// The device's tabs that have had both ledgers open since before, and since when each has
    /// shown half.
    witnesses: BTreeMap<u64, Option<Instant>>,
}

impl World {
    /// Writes a token into both ledgers, or gives up in the middle of it.
    pub(crate) fn transfer(&mut self, tab: u64, at: usize, refused: bool) -> Result<(), Violation> {
        let token = self.next_token;
        let Some((device, index)) = self.pick_tab(tab) else { return Ok(()) };
        let user = self.devices[device].user.clone();
        let ids = [self.docs[0].clone(), self.docs[1].clone()];
        let witnesses = self.devices[device].tabs.iter().filter(|tab| {
            let has = |id| tab.docs.get(id).is_some_and(|open| open.handle.is_loaded());
            !tab.tasks.is_frozen() && ids.iter().all(has)
        });
        let witnesses = witnesses.map(|tab| (tab.number, None)).collect();
        let is_failing = self.devices[device].disk.is_failing();
        let tab = &mut self.devices[device].tabs[index];
        if tab.tasks.is_frozen() || token >= TOKENS_MAX {
            return Ok(());
        }
        ids.iter().for_each(|id| tab.open(id));
        let Some(engine) = tab.engine.clone() else { return Ok(()) };
        let [from, to] = [0, 1].map(|doc| tab.docs[&ids[doc]].handle.clone());
        let made = engine.transact_all([&from, &to], |[from, to]| {
            ledger::write(from, token, at, None, 0);
            if refused {
                return Err("given up");
            }
            ledger::write(to, token, at, None, 0);
            Ok(())
        });
        match made {
            Ok(()) => {}
            Err(TransactError::Refused(_)) => return Ok(()),
            Err(error) => return Err(format!("a transfer was refused: {error}")),
        }
        let name = |doc: &Doc| (doc.peer(), doc.version().get(doc.peer()));
        let maker = tab.number;
        let is_sound = engine.status().storage == StorageHealth::Healthy
            && !is_failing
            && !tab.storage.is_closed();
        self.issue(&ids, token, user);
        if is_sound {
            let names = [from.read(name), to.read(name)];
            let is_stored = false;
            self.transfers.push(Transfer { token, device, maker, names, is_stored, witnesses });
        }
        Ok(())
    }

    /// Nothing is said any more of what a device made: its site data was cleared.
    pub(crate) fn forget_transfers(&mut self, device: usize) {
        self.transfers.retain(|transfer| transfer.device != device);
    }

    /// Looks at the disks and tabs that may have half of a transfer.
    pub(crate) fn check_transfers(&mut self) -> Result<(), Violation> {
        let devices = &self.devices;
        self.transfers.retain(|transfer| {
            let device = &devices[transfer.device];
            let maker = device.tabs.iter().find(|tab| tab.number == transfer.maker);
            let fails =
                maker.is_some_and(|tab| tab.storage.is_closed()) || device.disk.is_failing();
            transfer.is_stored || !fails
        });
        for device in 0..self.devices.len() {
            self.check_stored_transfers(device)?;
        }
        let mut transfers = std::mem::take(&mut self.transfers);
        for transfer in &mut transfers {
            if !transfer.is_stored {
                let versions = self.devices[transfer.device].disk.versions();
                transfer.is_stored = self.stored_halves(transfer, &versions) == [true, true];
            }
            self.check_witnesses(transfer)?;
        }
        self.transfers = transfers;
        Ok(())
    }

    fn stored_halves(
        &self,
        transfer: &Transfer,
        versions: &BTreeMap<DocId, leptos_sync_crdt::VersionVector>,
    ) -> [bool; 2] {
        [0, 1].map(|half| {
            let (peer, end) = transfer.names[half];
            versions.get(&self.docs[half]).is_some_and(|version| version.get(peer) >= end)
        })
    }

    /// On a device's disk there is no half of what was made there.
    pub(crate) fn check_stored_transfers(&self, device: usize) -> Result<(), Violation> {
        let made = || self.transfers.iter().filter(|transfer| transfer.device == device);
        if made().next().is_none() {
            return Ok(());
        }
        let disk = &self.devices[device].disk;
        let versions = disk.versions();
        for transfer in made() {
            let [from, to] = self.stored_halves(transfer, &versions);
            if from == to {
                continue;
            }
            // It may be there under another name.
            let mut stored = [false; 2];
            for (half, id) in stored.iter_mut().zip(&self.docs) {
                *half = tokens_of(id, &restore(disk.peek(id))?, &self.changes)?
                    .contains(&transfer.token);
            }
            if stored[0] != stored[1] {
                let token = transfer.token;
                return Err(format!("device {device} has stored half of the transfer {token}"));
            }
        }
        Ok(())
    }

    /// No tab that was there shows half of a transfer, but for the moment of a message.
    fn check_witnesses(&self, transfer: &mut Transfer) -> Result<(), Violation> {
        let Transfer { token, device, maker, witnesses, .. } = transfer;
        let tabs = &self.devices[*device].tabs;
        let is_over = !tabs.iter().any(|tab| tab.number == *maker);
        if witnesses.is_empty() || is_over || self.devices[*device].disk.is_failing() {
            witnesses.clear();
            return Ok(());
        }
        let mut seen = BTreeMap::new();
        // Who is frozen hears nothing, and who cannot read storage lacks what they would hear of.
        let hears = |tab: &&Tab| !tab.tasks.is_frozen() && !tab.storage.is_closed();
        for tab in tabs.iter().filter(hears) {
            let Some(since) = witnesses.get(&tab.number) else { continue };
            let shows = |id| tab.docs.get(id).map(|open| open.tokens.contains(token));
            let [Some(from), Some(to)] = [&self.docs[0], &self.docs[1]].map(shows) else {
                continue;
            };
            if from && to {
                continue;
            }
            if from == to {
                seen.insert(tab.number, None);
                continue;
            }
            let since = since.unwrap_or_else(Instant::now);
            if tab.number == *maker || since.elapsed() > MESSAGE {
                let number = tab.number;
                return Err(format!("tab {number} of device {device} shows half of {token}"));
            }
            seen.insert(tab.number, Some(since));
        }
        *witnesses = seen;
        Ok(())
    }

    /// The tokens that a device had stored in both ledgers at once.
    pub(crate) fn stored_transfers(&self, id: &DocId) -> impl Iterator<Item = Token> {
        let is_ledger = self.docs[..2].contains(id);
        let stored = self.transfers.iter().filter(move |transfer| is_ledger && transfer.is_stored);
        stored.map(|transfer| transfer.token)
    }

    /// The server has no half of a transfer.
    pub(crate) fn check_transfers_arrived(&mut self) -> Result<(), Violation> {
        let [from, to] = [self.docs[0].clone(), self.docs[1].clone()];
        let (from, to) = (self.stored_tokens(&from)?, self.stored_tokens(&to)?);
        let half =
            |transfer: &&Transfer| from.contains(&transfer.token) != to.contains(&transfer.token);
        match self.transfers.iter().find(half) {
            Some(Transfer { token, .. }) => {
                Err(format!("in the end the server has half of the transfer {token}"))
            }
            None => Ok(()),
        }
    }
}
