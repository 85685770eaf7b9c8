//! Automerge.

use automerge::transaction::Transactable as _;
use automerge::{ActorId, AutoCommit, ChangeHash, ObjId, ObjType, ROOT, ReadDoc as _, Value};

use super::{Merging, Records, TextDoc};
use crate::corpus::Patch;
use crate::rows::Record;

pub(crate) struct Automerge {
    doc: AutoCommit,
    mark: Vec<ChangeHash>,
}

/// All replicas start from one change that makes the two containers: else each would have its own.
fn origin() -> AutoCommit {
    let mut doc = AutoCommit::new().with_actor(ActorId::from([0u8; 8]));
    doc.put_object(ROOT, "text", ObjType::Text).expect("a text");
    doc.put_object(ROOT, "rows", ObjType::Map).expect("a map");
    doc.commit();
    doc
}

impl Automerge {
    fn of(doc: AutoCommit, peer: u64) -> Self {
        let doc = doc.with_actor(ActorId::from((peer + 1).to_be_bytes()));
        Self { doc, mark: Vec::new() }
    }

    fn object(&self, name: &str) -> ObjId {
        self.doc.get(ROOT, name).expect("a document").expect("it is there").1
    }

    fn record(&self, rows: &ObjId, index: usize) -> ObjId {
        self.doc.get(rows, index.to_string()).expect("a map").expect("a record").1
    }
}

impl TextDoc for Automerge {
    fn new(peer: u64) -> Self {
        Self::of(origin(), peer)
    }

    fn edit(&mut self, patches: &[Patch]) {
        let text = self.object("text");
        for (pos, deleted, inserted) in patches {
            let result = self.doc.splice_text(&text, *pos, *deleted as isize, inserted);
            result.expect("the trace fits");
        }
        self.doc.commit();
    }

    fn text(&mut self) -> String {
        self.doc.text(self.object("text")).expect("a text")
    }

    fn len(&mut self) -> usize {
        self.doc.length(self.object("text"))
    }
}

impl Merging for Automerge {
    fn produce(&mut self, patches: &[Patch]) -> Vec<u8> {
        let before = self.doc.get_heads();
        self.edit(patches);
        self.doc.save_after(&before)
    }

    fn receive(&mut self, update: &[u8]) {
        self.doc.load_incremental(update).expect("an update that fits");
    }

    fn history(&mut self) -> Vec<u8> {
        self.doc.save_nocompress()
    }

    fn stored(&mut self) -> Vec<u8> {
        self.doc.save()
    }

    fn from_history(peer: u64, bytes: &[u8]) -> Self {
        Self::of(AutoCommit::load(bytes).expect("a history"), peer)
    }
}

impl Records for Automerge {
    fn new(peer: u64) -> Self {
        TextDoc::new(peer)
    }

    fn insert(&mut self, records: &[Record]) {
        let rows = self.object("rows");
        let first = self.doc.length(&rows);
        for (index, record) in records.iter().enumerate() {
            let key = (first + index).to_string();
            let map = self.doc.put_object(&rows, key, ObjType::Map).expect("a new record");
            self.doc.put(&map, "title", record.title.as_str()).expect("a field");
            self.doc.put(&map, "done", record.done).expect("a field");
            self.doc.put(&map, "priority", record.priority).expect("a field");
            self.doc.put(&map, "due", record.due).expect("a field");
        }
        self.doc.commit();
    }

    fn get(&self, record: usize, field: &str) -> String {
        let map = self.record(&self.object("rows"), record);
        shown(&self.doc.get(map, field).expect("a map").expect("a field").0)
    }

    fn read_all(&self) -> usize {
        let rows = self.object("rows");
        let mut bytes = 0;
        for row in self.doc.map_range(&rows, ..) {
            let fields = self.doc.map_range(row.id(), ..);
            bytes += fields.map(|field| shown(&field.value.into_value()).len()).sum::<usize>();
        }
        bytes
    }

    fn set_priority(&mut self, records: &[(usize, i64)]) {
        let rows = self.object("rows");
        for (record, priority) in records {
            let map = self.record(&rows, *record);
            self.doc.put(&map, "priority", *priority).expect("a field");
        }
        self.doc.commit();
    }

    fn save(&mut self) -> Vec<u8> {
        self.doc.save_nocompress()
    }

    fn stored(&mut self) -> Vec<u8> {
        self.doc.save()
    }

    fn load(peer: u64, bytes: &[u8]) -> Self {
        Merging::from_history(peer, bytes)
    }

    fn mark(&mut self) {
        self.mark = self.doc.get_heads();
    }

    fn delta(&mut self) -> Vec<u8> {
        self.doc.save_after(&self.mark)
    }

    fn apply(&mut self, delta: &[u8]) {
        self.doc.load_incremental(delta).expect("a delta that fits");
    }
}

fn shown(value: &Value<'_>) -> String {
    match value.as_scalar() {
        Some(automerge::ScalarValue::Str(text)) => text.to_string(),
        Some(automerge::ScalarValue::Boolean(flag)) => flag.to_string(),
        Some(automerge::ScalarValue::Int(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}
