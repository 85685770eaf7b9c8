//! How often each fault of a disk has met somebody: one that nobody notices is none.

use std::collections::{BTreeMap, BTreeSet};

/// Whose disk it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Device,
    Server,
}

/// A fault that has met what was asked of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Strike {
    Full,
    Unreadable,
    Stalled,
    FsyncFailed,
    Panicked,
}

impl Strike {
    fn name(self, owner: Owner) -> &'static str {
        match (self, owner) {
            (Self::Full, Owner::Device) => "disk full",
            (Self::Full, Owner::Server) => "server disk full",
            (Self::Unreadable, Owner::Device) => "disk unreadable",
            (Self::Unreadable, Owner::Server) => "server disk unreadable",
            (Self::Stalled, Owner::Device) => "disk stalled",
            (Self::Stalled, Owner::Server) => "server disk stalled",
            (Self::FsyncFailed, _) => "server fsync failed",
            (Self::Panicked, _) => "server's document panicked",
        }
    }
}

/// The faults of one disk that have met somebody, each once for each time that it was set.
#[derive(Debug)]
pub(crate) struct Strikes {
    owner: Owner,
    counts: BTreeMap<Strike, u64>,
    present: BTreeSet<Strike>,
}

impl Strikes {
    pub(crate) fn new(owner: Owner) -> Self {
        Self { owner, counts: BTreeMap::new(), present: BTreeSet::new() }
    }

    /// The fault is set, or ends.
    pub(crate) fn set(&mut self, strike: Strike) {
        self.present.remove(&strike);
    }

    /// The fault has met somebody.
    pub(crate) fn note(&mut self, strike: Strike) {
        if self.present.insert(strike) {
            *self.counts.entry(strike).or_default() += 1;
        }
    }

    /// How often, by name.
    pub(crate) fn named(&self) -> Vec<(&'static str, u64)> {
        let counts = self.counts.iter();
        counts.map(|(strike, count)| (strike.name(self.owner), *count)).collect()
    }
}
