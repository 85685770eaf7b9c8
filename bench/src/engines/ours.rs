//! leptos-sync.

use leptos_sync_crdt::{
    Block, BlockReader, BlockWriter, Doc, PeerId, Reader, RowId, Value, VersionVector, Writer,
};

use super::{Merging, Records, TextDoc};
use crate::corpus::Patch;
use crate::rows::Record;

pub(crate) struct Ours {
    doc: Doc,
    rows: Vec<RowId>,
    mark: VersionVector,
    said: BlockWriter,
    heard: BlockReader,
}

impl Ours {
    fn of(doc: Doc, rows: Vec<RowId>) -> Self {
        let (said, heard) = (BlockWriter::default(), BlockReader::default());
        Self { doc, rows, mark: VersionVector::new(), said, heard }
    }
}

impl TextDoc for Ours {
    fn new(peer: u64) -> Self {
        Self::of(Doc::new(PeerId(peer)), Vec::new())
    }

    fn edit(&mut self, patches: &[Patch]) {
        let (result, _) = self.doc.transact(0, |tx| {
            patches.iter().try_for_each(|(pos, deleted, inserted)| {
                tx.text("text").splice(*pos, *deleted, inserted)
            })
        });
        result.expect("the trace fits");
    }

    fn text(&mut self) -> String {
        self.doc.text("text").to_string()
    }

    fn len(&mut self) -> usize {
        self.doc.text("text").len()
    }
}

impl Merging for Ours {
    fn produce(&mut self, patches: &[Patch]) -> Vec<u8> {
        let (result, commit) = self.doc.transact(0, |tx| {
            patches.iter().try_for_each(|(pos, deleted, inserted)| {
                tx.text("text").splice(*pos, *deleted, inserted)
            })
        });
        result.expect("the trace fits");
        commit.map(|commit| self.doc.block(&commit).bytes().to_vec()).unwrap_or_default()
    }

    fn say(&mut self, patches: &[Patch]) -> Vec<u8> {
        let update = self.produce(patches);
        let mut entry = Writer::new();
        if !update.is_empty() {
            self.said.write(&Block::parse(update).expect("an update"), &mut entry);
        }
        entry.into_vec()
    }

    fn hear(&mut self, update: &[u8]) {
        let mut input = Reader::new(update);
        while !input.is_empty() {
            let block = self.heard.read(&mut input).expect("what was said");
            self.doc.import(0, [block]).expect("an update that fits");
        }
    }

    fn receive(&mut self, update: &[u8]) {
        if !update.is_empty() {
            let block = Block::parse(update).expect("an update");
            self.doc.import(0, [block]).expect("an update that fits");
        }
    }

    fn history(&mut self) -> Vec<u8> {
        self.doc.encode_update(&VersionVector::new())
    }

    fn from_history(peer: u64, bytes: &[u8]) -> Self {
        let mut doc = Doc::new(PeerId(peer));
        doc.import_update(0, bytes).expect("a history");
        Self::of(doc, Vec::new())
    }

    fn snapshot(&mut self) -> Option<Vec<u8>> {
        Some(self.doc.encode_snapshot())
    }

    fn state(&mut self) -> Option<Vec<u8>> {
        let seen = self.doc.version().clone();
        self.doc.encode_shallow_snapshot(&seen).ok()
    }

    fn from_snapshot(peer: u64, bytes: &[u8]) -> Self {
        let doc = Doc::from_snapshot(PeerId(peer), bytes).expect("a snapshot");
        Self::of(doc, Vec::new())
    }
}

impl Records for Ours {
    fn new(peer: u64) -> Self {
        TextDoc::new(peer)
    }

    fn insert(&mut self, records: &[Record]) {
        let rows = &mut self.rows;
        self.doc.transact(0, |tx| {
            let mut table = tx.table("rows");
            for record in records {
                rows.push(table.insert([
                    ("title", Value::from(record.title.as_str())),
                    ("done", record.done.into()),
                    ("priority", record.priority.into()),
                    ("due", record.due.into()),
                ]));
            }
        });
    }

    fn get(&self, record: usize, field: &str) -> String {
        let row = self.rows.get(record).copied();
        let row = row.or_else(|| self.doc.table("rows").rows().nth(record)).expect("a row");
        shown(&self.doc.table("rows").get(row, field).expect("a field"))
    }

    fn read_all(&self) -> usize {
        let table = self.doc.table("rows");
        let cells = |row| ["title", "done", "priority", "due"].map(|field| table.get(row, field));
        table.rows().flat_map(cells).map(|value| shown(&value.expect("a field")).len()).sum()
    }

    fn set_priority(&mut self, records: &[(usize, i64)]) {
        let rows = &self.rows;
        let (result, _) = self.doc.transact(0, |tx| {
            let mut table = tx.table("rows");
            records.iter().try_for_each(|(row, value)| table.set(rows[*row], "priority", *value))
        });
        result.expect("known rows");
    }

    fn save(&mut self) -> Vec<u8> {
        self.doc.encode_snapshot()
    }

    fn load(peer: u64, bytes: &[u8]) -> Self {
        let doc = Doc::from_snapshot(PeerId(peer), bytes).expect("a snapshot");
        Self::of(doc, Vec::new())
    }

    fn mark(&mut self) {
        if self.rows.is_empty() {
            let doc = std::mem::replace(&mut self.doc, Doc::new(PeerId(0)));
            let rows = doc.table("rows").rows().collect();
            *self = Self::of(doc, rows);
        }
        self.mark = self.doc.version().clone();
    }

    fn delta(&mut self) -> Vec<u8> {
        self.doc.encode_update(&self.mark)
    }

    fn apply(&mut self, delta: &[u8]) {
        self.doc.import_update(0, delta).expect("a delta that fits");
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(flag) => flag.to_string(),
        Value::I64(number) => number.to_string(),
        other => format!("{other:?}"),
    }
}
