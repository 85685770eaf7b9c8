//! What a disk held when the power went, by the log of what was changed on it.
//!
//! What was synced is there. Of what was not, each write is there, or not, or torn, and each file
//! was created and removed, or not: what of this holds is independent, but for changes of one name,
//! which keep their order. Beside a write that was torn nothing is damaged, as SQLite takes for
//! granted ("powersafe overwrite").

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::Path;

/// What is written and damaged as one.
const SECTOR: usize = 512;

/// SplitMix64 (Steele, Lea and Flood 2014, figure 16): it decides what is lost.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }

    fn noise(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.below(256) as u8).collect()
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// A call was about to be made: its number.
    Began(usize),
    /// It was answered: stored.
    Stored(usize),
    /// The file or folder of that path was changed; an empty one is the disk itself.
    Changed(String, Change),
}

#[derive(Clone, Debug)]
pub(crate) enum Change {
    Created,
    FolderCreated,
    Removed,
    Renamed(String),
    Written(usize, Vec<u8>),
    Resized(usize),
    Synced,
}

/// The log of a mark, as `failing_disk.c` writes its own.
pub(crate) fn mark(kind: u8, number: usize) -> Vec<u8> {
    let (name, number, length) = (0_u16, number as u64, 0_u32);
    [&[kind][..], &name.to_le_bytes(), &number.to_le_bytes(), &length.to_le_bytes()].concat()
}

/// Reads a log.
pub(crate) fn read_log(mut log: &[u8]) -> Vec<Entry> {
    let mut found = Vec::new();
    while let Some((&kind, rest)) = log.split_first() {
        let number = |range: Range<usize>| {
            rest[range].iter().rev().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte))
        };
        let (name, number, length) = (number(0..2), number(2..10), number(10..14));
        let (name, rest) = rest[14..].split_at(name);
        let (bytes, rest) = rest.split_at(length);
        log = rest;
        let text = |name: &[u8]| String::from_utf8(name.to_vec()).expect("names are text");
        let name = text(name);
        if name.ends_with("-shm") {
            // It is made anew by who comes first.
            continue;
        }
        let change = match kind {
            b'B' => {
                found.push(Entry::Began(number));
                continue;
            }
            b'S' => {
                found.push(Entry::Stored(number));
                continue;
            }
            b'c' => Change::Created,
            b'd' => Change::FolderCreated,
            b'u' => Change::Removed,
            b'r' => Change::Renamed(text(bytes)),
            b'w' => Change::Written(number, bytes.to_vec()),
            b't' => Change::Resized(number),
            b's' => Change::Synced,
            other => panic!("{other} is no change"),
        };
        found.push(Entry::Changed(name, change));
    }
    found
}

/// How much of what was not synced is there, in percent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept(pub(crate) usize);

/// All that was done to one file or folder, and how much of it was synced.
#[derive(Debug, Default)]
struct File<'a> {
    is_folder: bool,
    changes: Vec<&'a Change>,
    synced: usize,
}

/// Which file has a name: for sure, and after each change that was not synced.
#[derive(Debug, Default)]
struct Name {
    synced: Option<usize>,
    then: Vec<Option<usize>>,
}

impl Name {
    fn now(&self) -> Option<usize> {
        self.then.last().copied().unwrap_or(self.synced)
    }
}

/// A disk, as far as it was written.
#[derive(Debug, Default)]
pub(crate) struct Disk<'a> {
    files: Vec<File<'a>>,
    names: BTreeMap<&'a str, Name>,
}

impl<'a> Disk<'a> {
    /// What is there after these.
    pub(crate) fn after(entries: &'a [Entry]) -> Self {
        let mut disk = Self::default();
        for entry in entries {
            if let Entry::Changed(name, change) = entry {
                disk.change(name, change);
            }
        }
        disk
    }

    fn change(&mut self, path: &'a str, change: &'a Change) {
        match change {
            Change::Created | Change::FolderCreated => {
                let is_folder = matches!(change, Change::FolderCreated);
                self.files.push(File { is_folder, ..File::default() });
                self.names.entry(path).or_default().then.push(Some(self.files.len() - 1));
            }
            Change::Removed => self.names.entry(path).or_default().then.push(None),
            Change::Renamed(to) => {
                let name = self.names.entry(path).or_default();
                let number = name.now();
                name.then.push(None);
                self.names.entry(to).or_default().then.push(number);
            }
            _ => {
                if matches!(change, Change::Synced) {
                    self.sync_names_in(path);
                }
                // One without a name was removed, and is used until it is closed.
                if let Some(number) = self.names.get(path).and_then(Name::now) {
                    let file = &mut self.files[number];
                    match change {
                        Change::Synced => file.synced = file.changes.len(),
                        _ => file.changes.push(change),
                    }
                }
            }
        }
    }

    fn sync_names_in(&mut self, folder: &str) {
        for (_, name) in self.names.iter_mut().filter(|(path, _)| folder_of(path) == folder) {
            name.synced = name.now();
            name.then.clear();
        }
    }

    /// What is found when there is power again: files by their paths.
    pub(crate) fn lose_power(&self, kept: Kept, rng: &mut Rng) -> BTreeMap<&'a str, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut folders = BTreeSet::from([""]);
        // A folder comes before what is in it.
        for (path, known) in &self.names {
            let done = known.then.iter().take_while(|_| rng.below(100) < kept.0).last();
            let Some(number) = done.copied().unwrap_or(known.synced) else { continue };
            let file = &self.files[number];
            if !folders.contains(folder_of(path)) {
                continue;
            }
            if file.is_folder {
                folders.insert(path);
            } else {
                files.insert(*path, file.after_power_loss(kept, rng));
            }
        }
        files
    }
}

/// What a file or folder lies in.
fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl File<'_> {
    fn after_power_loss(&self, kept: Kept, rng: &mut Rng) -> Vec<u8> {
        let mut content = Vec::new();
        for (at, change) in self.changes.iter().enumerate() {
            let is_kept = at < self.synced || rng.below(100) < kept.0;
            match change {
                Change::Written(offset, bytes) if is_kept => write(&mut content, *offset, bytes),
                Change::Resized(length) if is_kept => content.resize(*length, 0),
                Change::Written(offset, bytes) => tear(&mut content, *offset, bytes, rng),
                _ => {}
            }
        }
        content
    }
}

fn write(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if content.len() < offset + bytes.len() {
        content.resize(offset + bytes.len(), 0);
    }
    content[offset..offset + bytes.len()].copy_from_slice(bytes);
}

/// Writes nothing, or one end, or some sectors, of which some hold anything.
fn tear(content: &mut Vec<u8>, offset: usize, bytes: &[u8], rng: &mut Rng) {
    let cut = rng.below(bytes.len() + 1);
    match rng.below(6) {
        0 => write(content, offset, &bytes[..cut]),
        1 => write(content, offset + cut, &bytes[cut..]),
        2 => {
            let mut from = 0;
            while from < bytes.len() {
                let to = bytes.len().min(from + SECTOR - (offset + from) % SECTOR);
                match rng.below(3) {
                    0 => write(content, offset + from, &bytes[from..to]),
                    1 => write(content, offset + from, &rng.noise(to - from)),
                    _ => {}
                }
                from = to;
            }
        }
        _ => {}
    }
}

/// Lays files out in a folder; the index of SQLite's log, which is never synced, may be anything.
pub(crate) fn lay_out(files: &BTreeMap<&str, Vec<u8>>, folder: &Path, rng: &mut Rng) {
    for (name, content) in files {
        fs::create_dir_all(folder.join(folder_of(name))).expect("the folder can be made");
        fs::write(folder.join(name), content).expect("the folder can be written");
        if let Some(store) = name.strip_suffix("-wal") {
            let length = [0, 3, 32 << 10][rng.below(3)];
            let noise = rng.noise(length);
            fs::write(folder.join(format!("{store}-shm")), noise).expect("can be written");
        }
    }
}
