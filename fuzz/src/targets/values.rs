//! What is decoded on its own: values, and the names of things.

use leptos_sync_crdt::{ContainerId, Cursor, Doc, PeerId, Reader, Value, VersionVector, Writer};

use super::{Target, example_replicas};
use crate::budget::within;
use crate::show::shown;

pub(super) const VALUE: Target = Target {
    name: "value",
    about: "values: what decodes is the one encoding of what it decodes to",
    run: |bytes| {
        let decoded = within(bytes.len(), || Value::from_bytes(bytes));
        if let Ok(value) = decoded {
            assert_eq!(value.to_bytes(), bytes);
        }
    },
    examples: || {
        let list = Value::List(vec![
            Value::Null,
            true.into(),
            (-5).into(),
            0.5.into(),
            "text é".into(),
            Value::Bytes(vec![1, 2, 3]),
            Value::Container(leptos_sync_crdt::ContainerKind::Text),
        ]);
        let map = Value::Map([("a".to_owned(), list.clone()), ("b".to_owned(), 1.into())].into());
        let deep = (0..60).fold(map.clone(), |value, _| Value::List(vec![value]));
        [list, map, deep].iter().map(Value::to_bytes).collect()
    },
};

pub(super) const IDS: Target = Target {
    name: "ids",
    about: "container ids, cursors and version vectors: likewise, and used on a document",
    run: |bytes| {
        let Some((which, bytes)) = bytes.split_first() else { return };
        let mut doc = Doc::new(PeerId(1));
        doc.transact(0, |tx| tx.text("t").insert(0, "some text")).0.expect("0 is in range");
        match which % 3 {
            0 => {
                // Each step into a container is an allocation of its own, of two bytes or more.
                let decoded = within(bytes.len(), || ContainerId::from_bytes(bytes));
                if let Ok(id) = decoded {
                    assert_eq!(id.to_bytes(), bytes);
                    doc.transact(0, |tx| tx.text(&id).insert(0, "there")).0.expect("the start");
                    assert_eq!(doc.text(&id).to_string().as_str().get(..5), Some("there"));
                    let copy = Doc::from_snapshot(PeerId(2), &doc.encode_snapshot());
                    assert_eq!(shown(&copy.expect("its own snapshot")), shown(&doc));
                }
            }
            1 => {
                if let Ok(cursor) = Cursor::from_bytes(bytes) {
                    assert_eq!(cursor.to_bytes(), bytes);
                    assert!(doc.text("t").resolve(&cursor) <= 9);
                }
            }
            _ => {
                let mut input = Reader::new(bytes);
                let decoded = within(bytes.len(), || VersionVector::decode(&mut input));
                if let Ok(version) = decoded {
                    let mut out = Writer::new();
                    version.encode(&mut out);
                    assert_eq!(out.as_slice(), &bytes[..bytes.len() - input.remaining()]);
                    let _ = doc.blocks_since(&version);
                    let _ = doc.encode_update(&version);
                    let _ = doc.checkout(PeerId(3), &version).map(|past| shown(&past));
                    let _ = doc.trim_history(&version);
                }
            }
        }
    },
    examples: || {
        let mut inputs = Vec::new();
        for doc in example_replicas().iter().flatten().take(24) {
            for (id, text) in doc.texts() {
                inputs.push([&[0], &id.to_bytes()[..]].concat());
                let cursor = text.cursor(1, leptos_sync_crdt::Side::Before);
                inputs.push([&[1], &cursor.to_bytes()[..]].concat());
            }
            let mut out = Writer::new();
            doc.version().encode(&mut out);
            inputs.push([&[2], out.as_slice()].concat());
        }
        inputs
    },
};
