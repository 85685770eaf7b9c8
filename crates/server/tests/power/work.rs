//! What is done to the store whose power is lost, and what it holds after each call.

use std::collections::BTreeMap;

use leptos_sync_crdt::{Block, Doc, DocId, OpId, PeerId, VersionVector, pack_blocks};
use leptos_sync_storage::{MemoryStorage, ReadError, Snapshot, Storage, StoredDoc};

use super::disk::Rng;

/// One call to the store.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Append(Vec<(DocId, Vec<Block>)>),
    Replace(DocId, Snapshot, Vec<OpId>),
    Remove(DocId),
    Put(String, Vec<u8>),
    RemoveMeta(String),
}

impl Call {
    /// Makes it, until it is stored.
    pub(crate) async fn make(self, store: &impl Storage) -> Result<(), String> {
        let told = |error: &dyn std::error::Error| error.to_string();
        match self {
            Self::Append(batch) => store.append(batch).await.map_err(|error| told(&error)),
            Self::Replace(doc, snapshot, moved) => {
                let replaced = if moved.is_empty() {
                    store.compact(&doc, snapshot).await
                } else {
                    store.replace(&doc, snapshot, moved).await
                };
                replaced.map_err(|error| told(&error))
            }
            Self::Remove(doc) => store.remove(&doc).await.map_err(|error| told(&error)),
            Self::Put(key, value) => {
                store.put_meta(&key, &value).await.map_err(|error| told(&error))
            }
            Self::RemoveMeta(key) => store.remove_meta(&key).await.map_err(|error| told(&error)),
        }
    }
}

/// What is done at once, one thing after the other.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// These calls are made before any is answered, and share commits.
    Calls(Vec<Call>),
    /// The log is moved into the file, as far as nobody reads it, and begun anew by the next write.
    Checkpoint,
    /// The store is closed and opened again.
    Reopen,
}

/// All that a store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) docs: BTreeMap<DocId, StoredDoc>,
    /// The small values, where it matters what they are.
    pub(crate) meta: Option<Vec<(String, Vec<u8>)>>,
}

impl Contents {
    pub(crate) async fn of(store: &impl Storage) -> Result<Self, ReadError> {
        let mut docs = BTreeMap::new();
        for doc in store.docs().await? {
            docs.insert(doc.clone(), store.load(&doc).await?);
        }
        Ok(Self { docs, meta: Some(store.list_meta("").await?) })
    }

    /// What there is after each number of the calls, from none to all.
    pub(crate) async fn after_each(calls: &[Call]) -> Vec<Self> {
        let store = MemoryStorage::new();
        let mut all = vec![Self { docs: BTreeMap::new(), meta: Some(Vec::new()) }];
        for call in calls {
            call.clone().make(&store).await.expect("the calls can be made");
            all.push(Self::of(&store).await.expect("memory can be read"));
        }
        all
    }

    /// Whether a store that holds `found` is as it should be.
    pub(crate) fn allows(&self, found: &Self) -> bool {
        self.docs == found.docs && (self.meta.is_none() || self.meta == found.meta)
    }

    /// Its documents and how much there is of each.
    pub(crate) fn summary(&self) -> String {
        let size = |(doc, stored): (&DocId, &StoredDoc)| {
            format!(
                "{}: {} {} blocks",
                doc.as_str(),
                stored.snapshot.is_some(),
                stored.blocks.len()
            )
        };
        let docs: Vec<String> = self.docs.iter().map(size).collect();
        format!("{docs:?}, {} values", self.meta.iter().flatten().count())
    }
}

/// The documents as their authors have them, each with all its blocks.
struct Authors {
    docs: BTreeMap<&'static str, (Doc, Vec<Block>)>,
    next: u64,
}

impl Authors {
    fn next(&mut self) -> Doc {
        self.next += 1;
        Doc::new(PeerId(self.next))
    }

    /// Some blocks of a document, each of some more bytes than `bytes`.
    fn write(&mut self, id: &'static str, count: usize, bytes: usize) -> (DocId, Vec<Block>) {
        let author = self.next();
        let (doc, log) = self.docs.entry(id).or_insert_with(|| (author, Vec::new()));
        let from = log.len();
        for number in from..from + count {
            let text = format!("{number} ").repeat(bytes / 2);
            let commit = doc.transact(1_000, |tx| tx.register("r").set(text)).1;
            log.push(doc.block(&commit.expect("something was written")));
        }
        (doc_id(id), log[from..].to_vec())
    }

    /// All that there is of a document, packed, as the server keeps it.
    fn pack(&self, id: &'static str) -> Call {
        Call::Replace(doc_id(id), packed(&self.docs[id].1), Vec::new())
    }

    /// The same without the last block, which is forgotten; somebody else writes on.
    fn pack_without_last(&mut self, id: &'static str) -> Call {
        let mut doc = self.next();
        let (_, mut log) = self.docs.remove(id).expect("it was written to");
        let last = log.pop().expect("it was written to");
        doc.import(1_000, log.clone()).expect("they are valid");
        let call =
            Call::Replace(doc_id(id), packed(&log), vec![OpId::new(last.peer(), last.seq())]);
        self.docs.insert(id, (doc, log));
        call
    }
}

pub(crate) fn doc_id(id: &str) -> DocId {
    DocId::new(id).expect("test ids are valid")
}

fn packed(blocks: &[Block]) -> Snapshot {
    let mut version = VersionVector::new();
    blocks.iter().for_each(|block| version.extend(block.peer(), block.end()));
    Snapshot { version, bytes: pack_blocks(blocks).expect("they follow each other") }
}

/// A store's life: small writes and large ones, of one document and of several, packs, values,
/// checkpoints that somebody else makes and those that SQLite makes itself, and new starts.
pub(crate) fn steps() -> Vec<Step> {
    let mut authors = Authors { docs: BTreeMap::new(), next: 0 };
    let mut rng = Rng(1);
    let several = Call::Append(["a", "b", "packed"].map(|id| authors.write(id, 2, 10)).to_vec());
    let mut steps = vec![Step::Calls(vec![several])];
    for round in 0..60 {
        let calls = 1 + rng.below(3);
        let calls = (0..calls).map(|_| some_call(&mut authors, &mut rng, round)).collect();
        steps.push(Step::Calls(calls));
        match round {
            5 | 14 | 15 | 35 => steps.push(Step::Checkpoint),
            10 | 20 | 40 => steps.push(Step::Reopen),
            // More than the thousand pages after which SQLite moves its log by itself.
            45..50 => {
                let large = authors.write("large", 5, 180_000);
                steps.push(Step::Calls(vec![Call::Append(vec![large])]));
            }
            52 => steps.push(Step::Calls(vec![Call::Remove(doc_id("large"))])),
            _ => {}
        }
    }
    steps
}

/// All calls of [`steps`].
pub(crate) fn calls() -> Vec<Call> {
    let calls = steps().into_iter().filter_map(|step| match step {
        Step::Calls(calls) => Some(calls),
        Step::Checkpoint | Step::Reopen => None,
    });
    calls.flatten().collect()
}

fn some_call(authors: &mut Authors, rng: &mut Rng, round: usize) -> Call {
    let bytes = [10, 100, 5_000][rng.below(3)];
    match rng.below(10) {
        0 => Call::Put(format!("key {}", rng.below(4)), vec![round as u8; bytes]),
        1 => Call::RemoveMeta(format!("key {}", rng.below(4))),
        2 => authors.pack("packed"),
        3 => authors.pack_without_last("packed"),
        4..7 => {
            let batch = ["a", "b", "packed"].map(|id| authors.write(id, 1 + rng.below(2), bytes));
            Call::Append(batch.to_vec())
        }
        _ => Call::Append(vec![authors.write(["a", "b"][rng.below(2)], 1, bytes)]),
    }
}
