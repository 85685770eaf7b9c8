//! The faults that a seed may play with, by name, and how likely it does so.

use std::collections::BTreeMap;

use crate::rng::Rng;
use crate::step::{Make, Step};

/// How likely a seed plays with a fault. Few at a time get deeper than all at once.
const CHANCE: f64 = 0.25;

/// A fault by name.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// What it is called.
    pub name: &'static str,
    /// How likely a seed plays with it, from 0 to 1: then it strikes every now and then, beside
    /// the others that the seed plays with.
    pub chance: f64,
    make: Make,
}

const fn fault(name: &'static str, make: Make) -> Fault {
    Fault { name, chance: CHANCE, make }
}

/// All faults of the first version, in the order in which they are drawn.
const FIRST: &[Fault] = &[
    fault("tab-killed", |r| Step::KillTab { tab: r.next_u64() }),
    fault("tab-frozen", |r| {
        let tab = r.next_u64();
        if r.one_in(2) { Step::Freeze { tab } } else { Step::Thaw { tab } }
    }),
    fault("power-lost", |r| Step::PowerLoss { device: r.next_u64() }),
    fault("disk-full", |r| Step::DiskFull { device: r.next_u64(), full: r.one_in(2) }),
    fault("disk-unreadable", |r| Step::DiskUnreadable {
        device: r.next_u64(),
        unreadable: r.one_in(2),
    }),
    fault("disk-stalled", |r| Step::DiskStall { device: r.next_u64(), stalled: r.one_in(2) }),
    fault("site-data-cleared", |r| Step::ClearSiteData { device: r.next_u64() }),
    fault("partitioned", |r| Step::Partition { device: r.next_u64(), partitioned: r.one_in(2) }),
    fault("connection-cut", |r| Step::Cut { device: r.next_u64() }),
    fault("half-open", |r| Step::HalfOpen { device: r.next_u64() }),
    fault("bad-network", |r| {
        let delay_ms_max = r.below(400);
        Step::Weather { device: r.next_u64(), delay_ms_max, breaks_within: r.below(30) }
    }),
    fault("offline", |r| Step::Offline { tab: r.next_u64(), offline: r.one_in(2) }),
    fault("clock-jumped", |r| Step::ClockJump { device: r.next_u64(), error_ms: jump(r) }),
    fault("server-clock-jumped", |r| Step::ServerClockJump { error_ms: jump(r) }),
    fault("server-killed", |r| {
        if r.one_in(2) { Step::ServerKill { power_too: false } } else { Step::ServerStart }
    }),
    fault("server-power-lost", |r| {
        if r.one_in(2) { Step::ServerKill { power_too: true } } else { Step::ServerStart }
    }),
    fault("server-stopped", |r| if r.one_in(2) { Step::ServerStop } else { Step::ServerStart }),
    fault("server-frozen", |r| Step::ServerFreeze { frozen: r.one_in(2) }),
    fault("server-disk-full", |r| Step::ServerDiskFull { full: r.one_in(2) }),
    fault("server-fsync-failed", |r| {
        if r.one_in(2) { Step::ServerFsyncFails } else { Step::ServerStart }
    }),
    fault("server-disk-unreadable", |r| Step::ServerDiskUnreadable { unreadable: r.one_in(2) }),
    fault("server-restored", |r| if r.one_in(2) { Step::Backup } else { Step::Restore }),
    fault("permission-revoked", |r| Step::Revoke { device: r.next_u64(), revoked: r.one_in(2) }),
    fault("hostile-client", |r| Step::Hostile { kind: r.next_u64(), choice: r.next_u64() }),
];

/// What was added since: seeds that have found something go on to find it without. Half of all
/// seeds play with none of these.
const LATER: &[Fault] = &[
    fault("large-change", |r| {
        let (tab, doc) = (r.next_u64(), r.below(2));
        Step::WriteLarge { tab, doc, at: r.below(64), bytes: 60_000 + r.below(90_000) }
    }),
    fault("store-closed", |r| Step::StoreClosed { tab: r.next_u64() }),
    fault("token-expired", |r| Step::TokenExpires { device: r.next_u64(), in_ms: r.below(2_000) }),
    fault("other-version", |r| {
        let min = 1 + r.below(3) as u32;
        Step::OtherVersion { min, max: min + r.below(3) as u32 }
    }),
    fault("profile-copied", |r| Step::CopyProfile { device: r.next_u64() }),
    fault("killed-while-starting", |r| {
        let (device, power_too) = (r.next_u64(), r.one_in(2));
        Step::CrashAtStart { device, power_too, skip: r.below(4) }
    }),
    fault("server-killed-while-starting", |r| Step::ServerCrashAtStart {
        power_too: r.one_in(2),
        skip: r.below(4),
    }),
    fault("server-document-panicked", |_| Step::ServerPanics),
    fault("page-left", |r| {
        let tab = r.next_u64();
        if r.one_in(2) { Step::Leave { tab } } else { Step::Return { tab } }
    }),
    fault("site-data-evicted", |r| Step::EvictSiteData { device: r.next_u64() }),
    fault("profile-restored", |r| {
        // Most devices have a backup by then.
        let device = r.next_u64();
        if r.one_in(2) { Step::BackupProfile { device } } else { Step::RestoreProfile { device } }
    }),
    fault("power-lost-after-eviction", |r| {
        let (device, ms) = (r.next_u64(), r.below(100));
        Step::CrashAfterEviction { device, ms }
    }),
    fault("server-disk-stalled", |r| Step::ServerDiskStall { stalled: r.one_in(2) }),
];

/// Up to twenty minutes to either side, or right again.
fn jump(rng: &mut Rng) -> i64 {
    match rng.below(4) {
        0 => 0,
        1 => rng.below(20 * 60_000).cast_signed(),
        2 => -rng.below(20 * 60_000).cast_signed(),
        _ => rng.below(60_000).cast_signed() - 30_000,
    }
}

/// Every fault.
pub fn all() -> impl Iterator<Item = &'static Fault> {
    FIRST.iter().chain(LATER)
}

/// Other probabilities than those of the table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chances(BTreeMap<&'static str, f64>);

impl Chances {
    /// Sets one, given as `NAME=P`.
    ///
    /// # Errors
    /// A sentence that says what is wrong, and which names there are if it is the name.
    pub fn set(&mut self, text: &str) -> Result<(), String> {
        let (name, chance) = text.split_once('=').ok_or("a fault is set with NAME=P")?;
        let Some(fault) = all().find(|fault| fault.name == name) else {
            let names: Vec<_> = all().map(|fault| fault.name).collect();
            return Err(format!("there is no fault `{name}`; there are {}", names.join(", ")));
        };
        match chance.parse() {
            Ok(chance) if (0.0..=1.0).contains(&chance) => self.0.insert(fault.name, chance),
            _ => return Err(format!("`{chance}` is no probability from 0 to 1")),
        };
        Ok(())
    }

    /// What was set, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, f64)> {
        self.0.iter().map(|(name, chance)| (*name, *chance))
    }
}

/// The faults that `seed` plays with. One that was set is drawn by itself, so that the others stay.
pub(crate) fn draw(seed: u64, rng: &mut Rng, later: bool, chances: &Chances) -> Vec<Make> {
    let first: Vec<bool> = FIRST.iter().map(|fault| rng.chance(fault.chance)).collect();
    let mut rng = Rng::new(seed).split(9);
    let half = later && rng.one_in(2);
    let drawn = LATER.iter().map(|fault| half && rng.chance(2.0 * fault.chance));
    let drawn = first.into_iter().chain(drawn);
    let plays = |(number, (fault, drawn)): (usize, (&Fault, bool))| {
        let is_set = chances.0.get(fault.name);
        let own = |chance: &f64| Rng::new(seed).split(100 + number as u64).chance(*chance);
        is_set.map_or(drawn, own).then_some(fault.make)
    };
    all().zip(drawn).enumerate().filter_map(plays).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::plan;

    #[test]
    fn a_fault_that_is_turned_off_never_strikes_and_one_turned_up_does() {
        let mut chances = Chances::default();
        chances.set("power-lost=0").expect("a fault");
        chances.set("offline=1").expect("a fault");
        let plans = (0..50).map(|seed| plan(seed, true, &chances));
        let steps: Vec<Step> = plans.flatten().collect();
        assert!(!steps.iter().any(|step| matches!(step, Step::PowerLoss { .. })));
        let offline = steps.iter().filter(|step| matches!(step, Step::Offline { .. })).count();
        assert!(offline > 50, "{offline}");
    }

    #[test]
    fn a_fault_that_there_is_not_is_refused_with_the_names_of_all() {
        let mut chances = Chances::default();
        let error = chances.set("power-lots=0.5").expect_err("no such fault");
        assert!(error.contains("`power-lots`") && error.contains("power-lost"), "{error}");
        assert!(chances.set("power-lost=1.5").is_err());
        assert!(chances.set("power-lost").is_err());
        assert_eq!(chances, Chances::default());
    }
}
