//! The engines, behind one face.

#[cfg(feature = "rivals")]
mod automerge;
#[cfg(feature = "rivals")]
mod diamond;
#[cfg(feature = "rivals")]
mod loro;
mod ours;
mod rope;
#[cfg(feature = "rivals")]
mod yrs;

use crate::corpus::Patch;

#[cfg(feature = "rivals")]
pub(crate) use {automerge::Automerge, diamond::Diamond, loro::Loro, yrs::Yrs};
pub(crate) use {ours::Ours, rope::Rope};

/// What our own engine is called in the tables.
pub(crate) const OURS: &str = "leptos-sync";

/// The floor: what the same edits cost without any merging.
pub(crate) const FLOOR: &str = "rope only";

#[cfg(feature = "rivals")]
pub(crate) const NAMES: &[&str] = &[OURS, FLOOR, "diamond-types", "loro", "yrs", "automerge"];
#[cfg(not(feature = "rivals"))]
pub(crate) const NAMES: &[&str] = &[OURS, FLOOR];

/// A document with one text.
pub(crate) trait TextDoc: Sized {
    fn new(peer: u64) -> Self;

    /// Makes one change of these edits.
    fn edit(&mut self, patches: &[Patch]);

    fn text(&mut self) -> String;

    /// Whether its text is readable, which for a lazy engine is not what loading alone gives.
    fn len(&mut self) -> usize {
        self.text().chars().count()
    }
}

/// A document that merges.
pub(crate) trait Merging: TextDoc {
    /// Makes one change of these edits and encodes it for the others.
    fn produce(&mut self, patches: &[Patch]) -> Vec<u8>;

    /// Merges what another one produced.
    fn receive(&mut self, update: &[u8]);

    /// Makes one change and encodes it for somebody who is connected and has got all before it.
    fn say(&mut self, patches: &[Patch]) -> Vec<u8> {
        self.produce(patches)
    }

    /// Merges what another one said, in order.
    fn hear(&mut self, update: &[u8]) {
        self.receive(update);
    }

    /// The whole history, uncompressed where there is a choice.
    fn history(&mut self) -> Vec<u8>;

    /// The whole history as it is stored: with the engine's own compression where it has one.
    fn stored(&mut self) -> Vec<u8> {
        deflated(&self.history())
    }

    fn from_history(peer: u64, bytes: &[u8]) -> Self;

    /// The state with its history beside it, if the engine has such a thing.
    fn snapshot(&mut self) -> Option<Vec<u8>> {
        None
    }

    /// The state alone, without the history that is behind it, if the engine has such a thing.
    fn state(&mut self) -> Option<Vec<u8>> {
        None
    }

    fn from_snapshot(_peer: u64, _bytes: &[u8]) -> Self {
        unreachable!("only an engine that makes snapshots loads them")
    }
}

/// A document with a table of records.
pub(crate) trait Records: Sized {
    fn new(peer: u64) -> Self;

    /// Adds these records, in one change.
    fn insert(&mut self, records: &[crate::rows::Record]);

    /// What is in a field of a record, as text.
    fn get(&self, record: usize, field: &str) -> String;

    /// Reads every field of every record; returns how many bytes of text that was.
    fn read_all(&self) -> usize;

    /// Sets the priority of these records, in one change.
    fn set_priority(&mut self, records: &[(usize, i64)]);

    /// All that this one has.
    fn save(&mut self) -> Vec<u8>;

    /// As it is stored: with the engine's own compression where it has one.
    fn stored(&mut self) -> Vec<u8> {
        deflated(&self.save())
    }

    fn load(peer: u64, bytes: &[u8]) -> Self;

    /// Remembers the present version; [`Records::delta`] is what came after.
    fn mark(&mut self);

    fn delta(&mut self) -> Vec<u8>;

    fn apply(&mut self, delta: &[u8]);
}

/// As the platform compresses what is stored and sent.
pub(crate) fn deflated(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}
