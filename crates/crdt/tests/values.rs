//! Values and versions: what is kept, and which bytes are refused.

use leptos_sync_crdt::{
    ContainerId, ContainerKind, DecodeError, Doc, MAX_NESTING, OpId, PeerId, Reader, Value,
    VersionVector, Writer,
};

fn in_lists(depth: usize, inner: Value) -> Value {
    (0..depth).fold(inner, |value, _| Value::List(vec![value]))
}

fn in_maps(depth: usize, inner: Value) -> Value {
    (0..depth).fold(inner, |value, _| Value::Map([("k".to_owned(), value)].into_iter().collect()))
}

#[test]
fn what_is_nested_too_deep_becomes_null_when_it_is_written() {
    let mut doc = Doc::new(PeerId(1));
    for nest in [in_lists, in_maps] {
        let mut written = |value: Value| {
            doc.transact(0, |tx| tx.register("r").set(value));
            doc.register("r").expect("it was written")
        };
        let deepest = nest(MAX_NESTING, true.into());
        assert_eq!(written(deepest.clone()), deepest);
        let cut = nest(MAX_NESTING, Value::Null);
        assert_eq!(written(nest(MAX_NESTING + 1, true.into())), cut);
        assert_eq!(written(nest(MAX_NESTING + 2, true.into())), cut);
        let copy = Doc::from_snapshot(PeerId(2), &doc.encode_snapshot()).unwrap();
        assert_eq!(copy.register("r"), Some(cut));
    }
}

#[test]
fn a_kind_that_cannot_be_becomes_null_when_it_is_written() {
    let mut doc = Doc::new(PeerId(1));
    let mut written = |value: Value| {
        doc.transact(0, |tx| tx.register("r").set(value));
        doc.register("r").expect("it was written")
    };
    for code in [0, 3, 15, 16, 255] {
        let value = Value::Container(ContainerKind::Unknown(code));
        let stored = if code < 16 { Value::Null } else { value.clone() };
        assert_eq!(written(value.clone()), stored);
        assert_eq!(written(Value::List(vec![value])), Value::List(vec![stored]));
    }
}

#[test]
fn bytes_of_what_is_nested_too_deep_are_refused() {
    for nest in [in_lists, in_maps] {
        let read = |depth| Value::from_bytes(&nest(depth, Value::Null).to_bytes());
        assert_eq!(read(MAX_NESTING), Ok(nest(MAX_NESTING, Value::Null)));
        assert_eq!(read(MAX_NESTING + 1), Err(DecodeError::TooDeep));
    }
    for head in [&[7, 1][..], &[8, 1, 0]] {
        assert_eq!(Value::from_bytes(&head.repeat(100_000)), Err(DecodeError::TooDeep));
    }
}

#[test]
fn there_is_one_number_that_is_none() {
    let mut doc = Doc::new(PeerId(1));
    let odd = f64::from_bits(f64::NAN.to_bits() | 1);
    doc.transact(0, |tx| tx.register("r").set(odd));
    let Some(Value::F64(kept)) = doc.register("r") else { panic!("a number") };
    assert_eq!(kept.to_bits(), f64::NAN.to_bits());
    let mut list = Doc::new(PeerId(1));
    list.transact(0, |tx| tx.list("l").push(Value::List(vec![odd.into(), 0.5.into()])));
    let Some(Value::List(kept)) = list.list("l").get(0) else { panic!("a list") };
    assert_eq!(kept[1], 0.5.into());
    let bytes = [vec![4], odd.to_bits().to_le_bytes().to_vec()].concat();
    assert_eq!(Value::from_bytes(&bytes), Err(DecodeError::Invalid("not a number")));
}

#[test]
fn a_field_is_found_after_fields_of_every_kind() {
    let map = [("k".to_owned(), Value::from(1)), ("l".to_owned(), "x".into())];
    let values = [
        Value::Null,
        true.into(),
        300.into(),
        0.5.into(),
        "text".into(),
        Value::Bytes(vec![1, 2]),
        Value::List(vec![1.into(), "two".into()]),
        Value::Map(map.into_iter().collect()),
        Value::Container(ContainerKind::Text),
        "last".into(),
    ];
    let mut doc = Doc::new(PeerId(1));
    let names: Vec<String> = (0..values.len()).map(|i| i.to_string()).collect();
    let fields: Vec<_> = names.iter().map(String::as_str).zip(values.clone()).collect();
    let row = doc.transact(0, |tx| tx.table("t").insert(fields)).0;
    for (name, value) in names.iter().zip(values) {
        assert_eq!(doc.table("t").get(row, name), Some(value));
    }
}

#[test]
fn a_version_includes_what_it_was_extended_by() {
    let mut version = VersionVector::new();
    version.extend(PeerId(2), 0);
    assert!(version.is_empty());
    version.extend(PeerId(2), 5);
    version.extend(PeerId(2), 3);
    version.extend(PeerId(1), 1);
    assert_eq!((version.is_empty(), version.peer_count()), (false, 2));
    assert_eq!(version.iter().collect::<Vec<_>>(), [(PeerId(1), 1), (PeerId(2), 5)]);
    assert!(version.contains(OpId::new(PeerId(2), 4)));
    assert!(!version.contains(OpId::new(PeerId(2), 5)));
    let mut other: VersionVector =
        [(PeerId(2), 7), (PeerId(3), 1), (PeerId(1), 0)].into_iter().collect();
    assert!(!version.covers(&other) && !other.covers(&version));
    other.merge(&version);
    let all = [(PeerId(1), 1), (PeerId(2), 7), (PeerId(3), 1)];
    assert_eq!(other.iter().collect::<Vec<_>>(), all);
    assert!(other.covers(&version));
}

#[test]
fn a_version_lists_each_peer_once_and_none_with_nothing() {
    let read = |counts: &[(u64, u32)]| {
        let mut out = Writer::new();
        out.len(counts.len());
        for (peer, count) in counts {
            out.u64_le(*peer);
            out.varint(u64::from(*count));
        }
        VersionVector::decode(&mut Reader::new(out.as_slice())).map(|version| version.peer_count())
    };
    assert_eq!(read(&[(1, 1), (2, 1)]), Ok(2));
    for counts in [&[(1, 0)][..], &[(1, 1), (1, 1)], &[(2, 1), (1, 1)], &[(1, 1), (2, 0)]] {
        assert_eq!(read(counts), Err(DecodeError::Invalid("version vector")));
    }
}

#[test]
fn a_container_is_nested_at_most_so_deep() {
    let mut doc = Doc::new(PeerId(1));
    let mut id = ContainerId::root("m");
    for _ in 0..MAX_NESTING {
        id = doc.transact(0, |tx| tx.map(&id).nest("k", ContainerKind::Map)).0;
    }
    doc.transact(0, |tx| tx.map(&id).set("end", 1));
    let mut copy = Doc::new(PeerId(2));
    copy.import(0, doc.blocks_since(&VersionVector::new())).unwrap();
    assert_eq!(copy.map(&id).get("end"), Some(1.into()));
}
