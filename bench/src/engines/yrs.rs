//! yrs, the Rust port of Yjs. It counts UTF-16 code units, which for these texts are scalars; a
//! trace with characters outside the Basic Multilingual Plane fails its check.

use yrs::updates::decoder::Decode as _;
use yrs::{
    Any, ClientID, Doc, GetString as _, Map as _, MapPrelim, MapRef, Number, OffsetKind, Options,
    Out, ReadTxn as _, StateVector, Text as _, TextRef, Transact as _, Update,
};

use super::{Merging, Records, TextDoc};
use crate::corpus::Patch;
use crate::rows::Record;

pub(crate) struct Yrs {
    doc: Doc,
    text: TextRef,
    rows: MapRef,
    mark: StateVector,
}

impl Yrs {
    fn apply_update(&self, bytes: &[u8]) {
        let update = Update::decode_v1(bytes).expect("an update");
        self.doc.transact_mut().apply_update(update).expect("an update that fits");
    }

    fn record(&self, txn: &impl yrs::ReadTxn, index: usize) -> MapRef {
        match self.rows.get(txn, &index.to_string()) {
            Some(Out::YMap(map)) => map,
            _ => unreachable!("every record is a map"),
        }
    }
}

fn splice(text: &TextRef, txn: &mut yrs::TransactionMut<'_>, patches: &[Patch]) {
    for (pos, deleted, inserted) in patches {
        if *deleted > 0 {
            text.remove_range(txn, *pos as u32, *deleted as u32);
        }
        if !inserted.is_empty() {
            text.insert(txn, *pos as u32, inserted);
        }
    }
}

impl TextDoc for Yrs {
    fn new(peer: u64) -> Self {
        let options = Options {
            offset_kind: OffsetKind::Utf16,
            // Deleted text is kept: the others keep it too.
            skip_gc: true,
            ..Options::with_client_id(ClientID::new(peer))
        };
        let doc = Doc::with_options(options);
        let (text, rows) = (doc.get_or_insert_text("text"), doc.get_or_insert_map("rows"));
        Self { doc, text, rows, mark: StateVector::default() }
    }

    fn edit(&mut self, patches: &[Patch]) {
        splice(&self.text, &mut self.doc.transact_mut(), patches);
    }

    fn text(&mut self) -> String {
        self.text.get_string(&self.doc.transact())
    }

    fn len(&mut self) -> usize {
        self.text.len(&self.doc.transact()) as usize
    }
}

impl Merging for Yrs {
    fn produce(&mut self, patches: &[Patch]) -> Vec<u8> {
        let mut txn = self.doc.transact_mut();
        splice(&self.text, &mut txn, patches);
        txn.commit();
        txn.encode_update_v1()
    }

    fn receive(&mut self, update: &[u8]) {
        self.apply_update(update);
    }

    fn history(&mut self) -> Vec<u8> {
        self.doc.transact().encode_state_as_update_v1(&StateVector::default())
    }

    fn stored(&mut self) -> Vec<u8> {
        let bytes = self.doc.transact().encode_state_as_update_v2(&StateVector::default());
        super::deflated(&bytes)
    }

    fn from_history(peer: u64, bytes: &[u8]) -> Self {
        let doc: Self = TextDoc::new(peer);
        doc.apply_update(bytes);
        doc
    }
}

impl Records for Yrs {
    fn new(peer: u64) -> Self {
        TextDoc::new(peer)
    }

    fn insert(&mut self, records: &[Record]) {
        let mut txn = self.doc.transact_mut();
        let first = self.rows.len(&txn) as usize;
        for (index, record) in records.iter().enumerate() {
            let fields = MapPrelim::from([
                ("title", Any::from(record.title.as_str())),
                ("done", Any::from(record.done)),
                ("priority", Any::from(record.priority)),
                ("due", Any::from(record.due)),
            ]);
            self.rows.insert(&mut txn, (first + index).to_string(), fields);
        }
    }

    fn get(&self, record: usize, field: &str) -> String {
        let txn = self.doc.transact();
        shown(&self.record(&txn, record).get(&txn, field).expect("a field"))
    }

    fn read_all(&self) -> usize {
        let txn = self.doc.transact();
        let mut bytes = 0;
        for (_, record) in self.rows.iter(&txn) {
            if let Out::YMap(map) = record {
                bytes += map.iter(&txn).map(|(_, value)| shown(&value).len()).sum::<usize>();
            }
        }
        bytes
    }

    fn set_priority(&mut self, records: &[(usize, i64)]) {
        let mut txn = self.doc.transact_mut();
        for (record, priority) in records {
            let map = self.record(&txn, *record);
            map.insert(&mut txn, "priority", Any::from(*priority));
        }
    }

    fn save(&mut self) -> Vec<u8> {
        Merging::history(self)
    }

    fn stored(&mut self) -> Vec<u8> {
        Merging::stored(self)
    }

    fn load(peer: u64, bytes: &[u8]) -> Self {
        Merging::from_history(peer, bytes)
    }

    fn mark(&mut self) {
        self.mark = self.doc.transact().state_vector();
    }

    fn delta(&mut self) -> Vec<u8> {
        self.doc.transact().encode_diff_v1(&self.mark)
    }

    fn apply(&mut self, delta: &[u8]) {
        self.apply_update(delta);
    }
}

fn shown(value: &Out) -> String {
    match value {
        Out::Any(Any::String(text)) => text.to_string(),
        Out::Any(Any::Bool(flag)) => flag.to_string(),
        Out::Any(Any::Number(Number::Int(number))) => number.to_string(),
        other => format!("{other:?}"),
    }
}
