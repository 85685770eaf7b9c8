//! Loro 1.

use std::borrow::Cow;

use loro::{ExportMode, LoroDoc, LoroMap, LoroText, ValueOrContainer, VersionVector};

use super::{Merging, Records, TextDoc};
use crate::corpus::Patch;
use crate::rows::Record;

pub(crate) struct Loro {
    doc: LoroDoc,
    text: LoroText,
    rows: LoroMap,
    mark: VersionVector,
}

impl Loro {
    fn of(doc: LoroDoc, peer: u64) -> Self {
        doc.set_peer_id(peer).expect("a peer id");
        let (text, rows) = (doc.get_text("text"), doc.get_map("rows"));
        Self { doc, text, rows, mark: VersionVector::default() }
    }

    fn loaded(peer: u64, bytes: &[u8]) -> Self {
        let doc = LoroDoc::new();
        doc.import(bytes).expect("what was exported");
        Self::of(doc, peer)
    }

    fn export(&self, mode: ExportMode<'_>) -> Vec<u8> {
        self.doc.export(mode).expect("an export")
    }

    fn record(&self, index: usize) -> LoroMap {
        match self.rows.get(&index.to_string()) {
            Some(ValueOrContainer::Container(container)) => container.into_map().expect("a map"),
            _ => unreachable!("every record is a map"),
        }
    }
}

impl TextDoc for Loro {
    fn new(peer: u64) -> Self {
        Self::of(LoroDoc::new(), peer)
    }

    fn edit(&mut self, patches: &[Patch]) {
        for (pos, deleted, inserted) in patches {
            if *deleted > 0 {
                self.text.delete(*pos, *deleted).expect("the trace fits");
            }
            if !inserted.is_empty() {
                self.text.insert(*pos, inserted).expect("the trace fits");
            }
        }
        self.doc.commit();
    }

    fn text(&mut self) -> String {
        self.text.to_string()
    }

    fn len(&mut self) -> usize {
        self.text.len_unicode()
    }
}

impl Merging for Loro {
    fn produce(&mut self, patches: &[Patch]) -> Vec<u8> {
        let before = self.doc.oplog_vv();
        self.edit(patches);
        self.export(ExportMode::Updates { from: Cow::Borrowed(&before) })
    }

    fn receive(&mut self, update: &[u8]) {
        self.doc.import(update).expect("an update that fits");
    }

    fn history(&mut self) -> Vec<u8> {
        self.export(ExportMode::all_updates())
    }

    fn from_history(peer: u64, bytes: &[u8]) -> Self {
        Self::loaded(peer, bytes)
    }

    fn snapshot(&mut self) -> Option<Vec<u8>> {
        Some(self.export(ExportMode::Snapshot))
    }

    fn state(&mut self) -> Option<Vec<u8>> {
        Some(self.export(ExportMode::StateOnly(None)))
    }

    fn from_snapshot(peer: u64, bytes: &[u8]) -> Self {
        Self::loaded(peer, bytes)
    }
}

impl Records for Loro {
    fn new(peer: u64) -> Self {
        TextDoc::new(peer)
    }

    fn insert(&mut self, records: &[Record]) {
        let first = self.rows.len();
        for (index, record) in records.iter().enumerate() {
            let key = (first + index).to_string();
            let map = self.rows.insert_container(&key, LoroMap::new()).expect("a new record");
            map.insert("title", record.title.as_str()).expect("a field");
            map.insert("done", record.done).expect("a field");
            map.insert("priority", record.priority).expect("a field");
            map.insert("due", record.due).expect("a field");
        }
        self.doc.commit();
    }

    fn get(&self, record: usize, field: &str) -> String {
        shown(&self.record(record).get(field).expect("a field"))
    }

    fn read_all(&self) -> usize {
        let mut bytes = 0;
        self.rows.for_each(|_, record| {
            if let ValueOrContainer::Container(container) = record {
                let map = container.into_map().expect("a map");
                map.for_each(|_, value| bytes += shown(&value).len());
            }
        });
        bytes
    }

    fn set_priority(&mut self, records: &[(usize, i64)]) {
        for (record, priority) in records {
            self.record(*record).insert("priority", *priority).expect("a field");
        }
        self.doc.commit();
    }

    fn save(&mut self) -> Vec<u8> {
        self.export(ExportMode::Snapshot)
    }

    fn load(peer: u64, bytes: &[u8]) -> Self {
        Self::loaded(peer, bytes)
    }

    fn mark(&mut self) {
        self.mark = self.doc.oplog_vv();
    }

    fn delta(&mut self) -> Vec<u8> {
        self.export(ExportMode::Updates { from: Cow::Borrowed(&self.mark) })
    }

    fn apply(&mut self, delta: &[u8]) {
        self.doc.import(delta).expect("a delta that fits");
    }
}

fn shown(value: &ValueOrContainer) -> String {
    match value.as_value() {
        Some(loro::LoroValue::String(text)) => text.to_string(),
        Some(loro::LoroValue::Bool(flag)) => flag.to_string(),
        Some(loro::LoroValue::I64(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}
