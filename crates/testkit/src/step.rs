//! What can happen, and how a seed chooses what does.

use crate::faults::{self, Chances};
use crate::rng::Rng;

/// One thing that happens. Numbers name tabs, devices and documents modulo how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it, and the fields number what they concern")]
pub enum Step {
    Write { tab: u64, doc: u64, at: u64, kind: u64 },
    WriteLarge { tab: u64, doc: u64, at: u64, bytes: u64 },
    TakeOut { tab: u64, doc: u64, at: u64 },
    Transfer { tab: u64, at: u64, refused: bool },
    Mark { tab: u64, at: u64, kind: u64 },
    Undo { tab: u64 },
    Redo { tab: u64 },
    OpenDoc { tab: u64, doc: u64 },
    CloseDoc { tab: u64, doc: u64 },
    OpenTab { device: u64 },
    CloseTab { tab: u64 },
    KillTab { tab: u64 },
    Freeze { tab: u64 },
    Thaw { tab: u64 },
    Leave { tab: u64 },
    Return { tab: u64 },
    Nudge { tab: u64 },
    SetPresence { tab: u64, doc: u64 },
    PowerLoss { device: u64 },
    CrashAtStart { device: u64, power_too: bool, skip: u64 },
    DiskFull { device: u64, full: bool },
    DiskUnreadable { device: u64, unreadable: bool },
    DiskStall { device: u64, stalled: bool },
    StoreClosed { tab: u64 },
    CopyProfile { device: u64 },
    ClearSiteData { device: u64 },
    EvictSiteData { device: u64 },
    CrashAfterEviction { device: u64, ms: u64 },
    BackupProfile { device: u64 },
    RestoreProfile { device: u64 },
    Partition { device: u64, partitioned: bool },
    Cut { device: u64 },
    HalfOpen { device: u64 },
    Weather { device: u64, delay_ms_max: u64, breaks_within: u64 },
    Offline { tab: u64, offline: bool },
    ClockJump { device: u64, error_ms: i64 },
    ServerClockJump { error_ms: i64 },
    ServerKill { power_too: bool },
    ServerCrashAtStart { power_too: bool, skip: u64 },
    ServerStop,
    ServerStart,
    ServerFreeze { frozen: bool },
    ServerDiskFull { full: bool },
    ServerDiskStall { stalled: bool },
    ServerFsyncFails,
    ServerPanics,
    ServerDiskUnreadable { unreadable: bool },
    Backup,
    Restore,
    Revoke { device: u64, revoked: bool },
    TokenExpires { device: u64, in_ms: u64 },
    Hostile { kind: u64, choice: u64 },
    OtherVersion { min: u32, max: u32 },
    Pass { ms: u64 },
}

/// How a step of some kind is drawn.
pub(crate) type Make = fn(&mut Rng) -> Step;

const WORK: &[(u64, Make)] = &[
    (24, |r| Step::Write { tab: r.next_u64(), doc: doc(r), at: r.below(64), kind: r.below(8) }),
    (6, |r| Step::TakeOut { tab: r.next_u64(), doc: r.below(2), at: r.below(64) }),
    (2, |r| Step::Undo { tab: r.next_u64() }),
    (1, |r| Step::Redo { tab: r.next_u64() }),
    (2, |r| Step::OpenDoc { tab: r.next_u64(), doc: doc(r) }),
    (1, |r| Step::CloseDoc { tab: r.next_u64(), doc: doc(r) }),
    (2, |r| Step::OpenTab { device: r.next_u64() }),
    (1, |r| Step::CloseTab { tab: r.next_u64() }),
    (1, |r| Step::Nudge { tab: r.next_u64() }),
    (2, |r| Step::SetPresence { tab: r.next_u64(), doc: doc(r) }),
    (10, |r| Step::Pass { ms: r.below(60) }),
    (4, |r| Step::Pass { ms: r.below(3_000) }),
];

fn doc(rng: &mut Rng) -> u64 {
    rng.below(3)
}

fn transfer(rng: &mut Rng) -> Step {
    Step::Transfer { tab: rng.next_u64(), at: rng.below(64), refused: rng.one_in(6) }
}

fn mark(rng: &mut Rng) -> Step {
    Step::Mark { tab: rng.next_u64(), at: rng.below(64), kind: rng.below(6) }
}

/// What happens under `seed`, with or without what was added later.
pub(crate) fn plan(seed: u64, later: bool, chances: &Chances) -> Vec<Step> {
    let mut rng = Rng::new(seed).split(7);
    let kinds = faults::draw(seed, &mut rng, later, chances);
    let count = 20 + rng.below(50);
    let work: u64 = WORK.iter().map(|(weight, _)| weight).sum();
    let faults = if kinds.is_empty() { 0 } else { 6 + rng.below(20) };
    let mut steps = Vec::new();
    for _ in 0..count {
        let mut choice = rng.below(work + faults);
        if choice >= work {
            let make = kinds[rng.index(kinds.len())];
            steps.push(make(&mut rng));
            continue;
        }
        for (weight, make) in WORK {
            if choice < *weight {
                steps.push(make(&mut rng));
                break;
            }
            choice -= weight;
        }
    }
    if later {
        insert(&mut steps, Rng::new(seed).split(10), transfer);
        insert(&mut steps, Rng::new(seed).split(11), mark);
    }
    steps
}

/// Puts steps of a kind that was added later between the others of half of all seeds.
fn insert(steps: &mut Vec<Step>, mut rng: Rng, make: Make) {
    if !rng.one_in(2) {
        return;
    }
    for _ in 0..1 + rng.below(10) {
        let place = rng.index(steps.len() + 1);
        steps.insert(place, make(&mut rng));
    }
}

impl Step {
    /// What it is counted as, if it is a fault and not one of a disk: that counts by itself.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        Some(match self {
            Self::KillTab { .. } => "tab killed",
            Self::Freeze { .. } => "tab frozen",
            Self::Leave { .. } => "page left, and kept",
            Self::PowerLoss { .. } => "power lost",
            Self::CrashAtStart { power_too: false, .. } => "killed while starting",
            Self::CrashAtStart { power_too: true, .. } => "power lost while starting",
            Self::StoreClosed { .. } => "store closed under a tab",
            Self::CopyProfile { .. } => "profile copied",
            Self::ClearSiteData { .. } => "site data cleared",
            Self::EvictSiteData { .. } => "site data evicted under open tabs",
            Self::CrashAfterEviction { .. } => {
                "site data evicted, and power lost at a start after it"
            }
            Self::RestoreProfile { .. } => "profile restored",
            Self::Partition { partitioned: true, .. } => "partitioned",
            Self::Cut { .. } => "connection cut",
            Self::HalfOpen { .. } => "half-open",
            Self::Weather { .. } => "bad network",
            Self::Offline { offline: true, .. } => "offline",
            Self::ClockJump { .. } => "clock jumped",
            Self::ServerClockJump { .. } => "server clock jumped",
            Self::ServerKill { power_too: false } => "server killed",
            Self::ServerKill { power_too: true } => "server power lost",
            Self::ServerCrashAtStart { power_too: false, .. } => "server killed while starting",
            Self::ServerCrashAtStart { power_too: true, .. } => "server power lost while starting",
            Self::ServerStop => "server stopped",
            Self::ServerFreeze { frozen: true } => "server frozen",
            Self::Restore => "server restored",
            Self::Revoke { revoked: true, .. } => "permission revoked",
            Self::TokenExpires { .. } => "token expired",
            Self::Hostile { .. } => "hostile client",
            Self::OtherVersion { .. } => "client of another version",
            _ => return None,
        })
    }
}
