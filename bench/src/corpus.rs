//! What is edited: traces of real people from a folder, and sessions made up here, always the same.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

/// At a position, so many characters are deleted and this is inserted.
pub(crate) type Patch = (usize, usize, String);

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Txn {
    /// Those it follows, by number; of a sequential trace, the one before.
    #[serde(default)]
    pub(crate) parents: Vec<usize>,
    #[serde(default)]
    pub(crate) agent: usize,
    pub(crate) patches: Vec<Patch>,
}

/// An editing history. Positions count Unicode scalars.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Trace {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    pub(crate) start_content: String,
    pub(crate) end_content: String,
    pub(crate) txns: Vec<Txn>,
}

impl Trace {
    pub(crate) fn is_concurrent(&self) -> bool {
        self.kind == "concurrent"
    }

    /// All patches, of a sequential trace.
    pub(crate) fn patches(&self) -> impl Iterator<Item = &Patch> {
        self.txns.iter().flat_map(|txn| &txn.patches)
    }

    pub(crate) fn read(path: &Path) -> Result<Self> {
        let what = || format!("cannot read the trace {}", path.display());
        let bytes = std::fs::read(path).with_context(what)?;
        let mut text = String::new();
        if path.extension().is_some_and(|ending| ending == "gz") {
            flate2::read::GzDecoder::new(&bytes[..])
                .read_to_string(&mut text)
                .with_context(what)?;
        } else {
            text = String::from_utf8(bytes).with_context(what)?;
        }
        let trace: Self = serde_json::from_str(&text).with_context(what)?;
        for (index, txn) in trace.txns.iter().enumerate() {
            if txn.parents.iter().any(|parent| *parent >= index) {
                bail!("{}: transaction {index} follows one that comes later", path.display());
            }
        }
        Ok(trace)
    }
}

/// The traces in a folder and its subfolders, as `(name, file)`, by name.
pub(crate) fn traces(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder)
            .with_context(|| format!("cannot read the folder {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let name = file.strip_suffix(".gz").unwrap_or(&file).strip_suffix(".json");
            if path.is_dir() {
                folders.push(path);
            } else if let Some(name) = name {
                found.push((name.to_owned(), path));
            }
        }
    }
    found.sort();
    if found.is_empty() {
        bail!("there is no *.json or *.json.gz in {}", folder.display());
    }
    Ok(found)
}

/// Random numbers that are the same in every run (xorshift64*, Vigna 2016).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11;
        (high % end.max(1) as u64) as usize
    }
}

/// One person writing: words typed letter by letter, mostly where the last edit was, some of it
/// taken back, now and then elsewhere.
pub(crate) fn writing(edits: usize, seed: u64) -> Trace {
    let mut random = Random::new(seed);
    let (mut text, mut txns) = (Vec::<char>::new(), Vec::new());
    let mut caret = 0;
    while txns.len() < edits {
        if random.below(40) == 0 {
            caret = random.below(text.len() + 1);
        }
        let length = 1 + random.below(9);
        if random.below(5) == 0 {
            for _ in 0..length.min(caret) {
                caret -= 1;
                text.remove(caret);
                txns.push((caret, 1, String::new()));
            }
        } else {
            for i in 0..=length {
                let letter = match i {
                    _ if i == length => ' ',
                    _ => char::from(b'a' + random.below(26) as u8),
                };
                text.insert(caret, letter);
                txns.push((caret, 0, letter.to_string()));
                caret += 1;
            }
        }
    }
    let txn = |(index, patch): (usize, Patch)| Txn {
        parents: index.checked_sub(1).into_iter().collect(),
        agent: 0,
        patches: vec![patch],
    };
    Trace {
        kind: String::new(),
        start_content: String::new(),
        end_content: text.into_iter().collect(),
        txns: txns.into_iter().enumerate().map(txn).collect(),
    }
}
