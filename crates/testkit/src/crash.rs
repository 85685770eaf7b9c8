//! Ends that come while something starts again after an end: what was half done is half done anew.

use std::time::Duration;

use crate::disk::{Disk, Writing};
use crate::world::{Violation, World};

/// How long a start is watched for a write.
const WATCH_MS: u64 = 300;

impl World {
    /// Ends a device's tabs, and the power if `power_too`, and again at a write of the tab that
    /// starts then, of which the first `skip` are let pass.
    pub(crate) async fn crash_at_start(
        &mut self,
        device: u64,
        power_too: bool,
        skip: u64,
    ) -> Result<(), Violation> {
        let number = self.pick_device(device);
        self.end_device(number, power_too)?;
        self.open_tab(number);
        let caught = writing(&self.devices[number].disk.clone(), skip).await;
        let kind = caught.map(|kind| match kind {
            Writing::Blocks => "start cut off at changes",
            Writing::Snapshot => "start cut off at a snapshot",
            Writing::Note => "start cut off at a note",
        });
        kind.into_iter().for_each(|kind| self.count(kind));
        self.end_device(number, power_too)?;
        self.open_tab(number);
        Ok(())
    }

    /// Takes what a device has stored away under its tabs.
    pub(crate) fn evict(&mut self, device: usize) -> Result<(), Violation> {
        self.check()?;
        self.devices[device].evict();
        self.forget_transfers(device);
        Ok(())
    }

    /// The same, and the power so much later: a tab that has started meanwhile has heard from
    /// others that may not know yet.
    pub(crate) async fn crash_after_eviction(
        &mut self,
        device: u64,
        ms: u64,
    ) -> Result<(), Violation> {
        let number = self.pick_device(device);
        self.evict(number)?;
        self.open_tab(number);
        tokio::time::sleep(Duration::from_millis(ms)).await;
        self.check()?;
        self.end_device(number, true)?;
        self.open_tab(number);
        Ok(())
    }

    fn end_device(&mut self, number: usize, power_too: bool) -> Result<(), Violation> {
        let device = &mut self.devices[number];
        if !power_too {
            device.kill();
        } else if device.lose_power() {
            self.count("write torn");
        }
        self.check_device(number)
    }

    /// Ends the server, and again at a write of the one that starts then. Returns whether that had
    /// not given up by itself.
    pub(crate) async fn crash_server_at_start(
        &mut self,
        power_too: bool,
        skip: u64,
    ) -> Result<bool, Violation> {
        self.end_server(power_too)?;
        self.server.start(&self.net);
        let caught = writing(&self.server.disk.clone(), skip).await;
        let kind = caught.map(|kind| match kind {
            Writing::Blocks | Writing::Snapshot => "server start cut off at changes",
            Writing::Note => "server start cut off at a note",
        });
        kind.into_iter().for_each(|kind| self.count(kind));
        let was_up = self.end_server(power_too)?;
        self.server.start(&self.net);
        Ok(was_up)
    }

    /// Returns whether it ran.
    pub(crate) fn end_server(&mut self, power_too: bool) -> Result<bool, Violation> {
        let was_up = self.server.is_up();
        if self.server.kill(&self.net, power_too) {
            self.count("server write torn");
        }
        self.check_server()?;
        Ok(was_up)
    }
}

/// Waits until something is being written to the disk; what it is, if that happened.
async fn writing(disk: &Disk, mut skip: u64) -> Option<Writing> {
    for _ in 0..WATCH_MS {
        tokio::time::sleep(Duration::from_millis(1)).await;
        if let Some(kind) = disk.writing() {
            if skip == 0 {
                return Some(kind);
            }
            skip -= 1;
        }
    }
    None
}
