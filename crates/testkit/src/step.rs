//! What can happen, and how a seed chooses what does.

use crate::rng::Rng;

/// One thing that happens. Numbers name tabs, devices and documents modulo how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it, and the fields number what they concern")]
pub enum Step {
    Write { tab: u64, doc: u64, at: u64, kind: u64 },
    WriteLarge { tab: u64, doc: u64, at: u64, bytes: u64 },
    TakeOut { tab: u64, doc: u64, at: u64 },
    Transfer { tab: u64, at: u64, refused: bool },
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

/// A kind of fault; each seed plays with some of them.
type Make = fn(&mut Rng) -> Step;

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

const FAULTS: &[Make] = &[
    |r| Step::KillTab { tab: r.next_u64() },
    |r| {
        let tab = r.next_u64();
        if r.one_in(2) { Step::Freeze { tab } } else { Step::Thaw { tab } }
    },
    |r| Step::PowerLoss { device: r.next_u64() },
    |r| Step::DiskFull { device: r.next_u64(), full: r.one_in(2) },
    |r| Step::DiskUnreadable { device: r.next_u64(), unreadable: r.one_in(2) },
    |r| Step::DiskStall { device: r.next_u64(), stalled: r.one_in(2) },
    |r| Step::ClearSiteData { device: r.next_u64() },
    |r| Step::Partition { device: r.next_u64(), partitioned: r.one_in(2) },
    |r| Step::Cut { device: r.next_u64() },
    |r| Step::HalfOpen { device: r.next_u64() },
    |r| {
        let delay_ms_max = r.below(400);
        Step::Weather { device: r.next_u64(), delay_ms_max, breaks_within: r.below(30) }
    },
    |r| Step::Offline { tab: r.next_u64(), offline: r.one_in(2) },
    |r| Step::ClockJump { device: r.next_u64(), error_ms: jump(r) },
    |r| Step::ServerClockJump { error_ms: jump(r) },
    |r| if r.one_in(2) { Step::ServerKill { power_too: false } } else { Step::ServerStart },
    |r| if r.one_in(2) { Step::ServerKill { power_too: true } } else { Step::ServerStart },
    |r| if r.one_in(2) { Step::ServerStop } else { Step::ServerStart },
    |r| Step::ServerFreeze { frozen: r.one_in(2) },
    |r| Step::ServerDiskFull { full: r.one_in(2) },
    |r| if r.one_in(2) { Step::ServerFsyncFails } else { Step::ServerStart },
    |r| Step::ServerDiskUnreadable { unreadable: r.one_in(2) },
    |r| if r.one_in(2) { Step::Backup } else { Step::Restore },
    |r| Step::Revoke { device: r.next_u64(), revoked: r.one_in(2) },
    |r| Step::Hostile { kind: r.next_u64(), choice: r.next_u64() },
];

/// What was added since: seeds that have found something go on to find it without.
const LATER: &[Make] = &[
    |r| {
        let (tab, doc) = (r.next_u64(), r.below(2));
        Step::WriteLarge { tab, doc, at: r.below(64), bytes: 60_000 + r.below(90_000) }
    },
    |r| Step::StoreClosed { tab: r.next_u64() },
    |r| Step::TokenExpires { device: r.next_u64(), in_ms: r.below(2_000) },
    |r| {
        let min = 1 + r.below(3) as u32;
        Step::OtherVersion { min, max: min + r.below(3) as u32 }
    },
    |r| Step::CopyProfile { device: r.next_u64() },
    |r| {
        let (device, power_too) = (r.next_u64(), r.one_in(2));
        Step::CrashAtStart { device, power_too, skip: r.below(4) }
    },
    |r| Step::ServerCrashAtStart { power_too: r.one_in(2), skip: r.below(4) },
    |_| Step::ServerPanics,
    |r| {
        let tab = r.next_u64();
        if r.one_in(2) { Step::Leave { tab } } else { Step::Return { tab } }
    },
];

fn doc(rng: &mut Rng) -> u64 {
    rng.below(3)
}

fn transfer(rng: &mut Rng) -> Step {
    Step::Transfer { tab: rng.next_u64(), at: rng.below(64), refused: rng.one_in(6) }
}

/// Up to twenty minutes to either side, or right again.
fn jump(rng: &mut Rng) -> i64 {
    match rng.below(4) {
        0 => 0,
        1 => rng.below(20 * 60_000).cast_signed(),
        2 => -rng.below(20 * 60_000).cast_signed(),
        _ => rng.below(60_000).cast_signed() - 30_000,
    }
}

/// What happens under `seed`, with or without what was added later.
pub(crate) fn plan(seed: u64, later: bool) -> Vec<Step> {
    let mut rng = Rng::new(seed).split(7);
    // Few kinds at a time get deeper than all at once.
    let mut kinds: Vec<Make> = FAULTS.iter().copied().filter(|_| rng.one_in(4)).collect();
    let mut choice = Rng::new(seed).split(9);
    if later && choice.one_in(2) {
        kinds.extend(LATER.iter().copied().filter(|_| choice.one_in(2)));
    }
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
    let mut choice = Rng::new(seed).split(10);
    if later && choice.one_in(2) {
        for _ in 0..1 + choice.below(10) {
            let place = choice.index(steps.len() + 1);
            steps.insert(place, transfer(&mut choice));
        }
    }
    steps
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
