//! What is fuzzed: each target takes an input in, and its examples are where the search starts.

mod damage;
mod device;
mod entries;
mod files;
mod sessions;
mod stored;
mod tabs;
mod token;
mod values;

use crate::choices::Choices;
use crate::history::replicas;
use leptos_sync_crdt::Doc;

/// Something that any bytes may be given to.
pub struct Target {
    /// Its name on the command line, and of its folder in the corpus.
    pub name: &'static str,
    /// What it checks, in a few words.
    pub about: &'static str,
    /// Takes in an input; panics if anything is not as it should be.
    pub run: fn(&[u8]),
    /// Inputs that go deep.
    pub examples: fn() -> Vec<Vec<u8>>,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    values::VALUE,
    values::IDS,
    files::BLOCK,
    files::UPDATE,
    files::SNAPSHOT,
    files::SHALLOW,
    damage::BLOCKS,
    damage::UPDATES,
    damage::SNAPSHOTS,
    damage::MERGES,
    entries::ENTRIES,
    sessions::FRAME,
    sessions::SERVER,
    sessions::CLIENT,
    sessions::PIECES,
    stored::RECORD,
    stored::STORED,
    tabs::TABS,
    token::TOKEN,
];

/// Runs of choices that are long enough for a history, the same ones each time.
fn choice_examples() -> Vec<Vec<u8>> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // Small numbers choose more often.
        (state >> 32) as u8 & if state & 3 == 0 { 0xff } else { 0x1f }
    };
    (0..24).map(|len| (0..40 + len * 9).map(|_| byte()).collect()).collect()
}

/// Replicas of the histories that the examples drive.
fn example_replicas() -> Vec<Vec<Doc>> {
    choice_examples().iter().map(|bytes| replicas(&mut Choices::new(bytes))).collect()
}
