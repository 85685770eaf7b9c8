//! The bytes that `docs/format.md` prints are the bytes that are written, and they read back.

use std::fmt::Write as _;

use leptos_sync_crdt::{
    Block, ContainerId, ContainerKind, Doc, Expand, OpId, PeerId, Transaction, Value, VersionVector,
};

const DOCUMENTATION: &str = include_str!("../../../docs/format.md");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").expect("a string takes all");
        out
    })
}

fn values() -> Vec<(&'static str, Value)> {
    let map = [("a".to_owned(), Value::from(1)), ("b".to_owned(), Value::Null)];
    vec![
        ("value null", Value::Null),
        ("value true", true.into()),
        ("value -2", (-2).into()),
        ("value 0.5", 0.5.into()),
        ("value NaN", f64::NAN.into()),
        ("value \"hé\"", "hé".into()),
        ("value bytes", Value::Bytes(vec![0, 255])),
        ("value [1, \"\"]", Value::List(vec![1.into(), "".into()])),
        ("value {a: 1, b: null}", Value::Map(map.into())),
        ("value a text", Value::Container(ContainerKind::Text)),
    ]
}

fn containers() -> Vec<(&'static str, ContainerId)> {
    let row = leptos_sync_crdt::RowId(OpId::new(PeerId(1), 2));
    vec![
        ("container notes", ContainerId::root("notes")),
        ("container tasks/1.2/votes", ContainerId::cell("tasks", row, "votes")),
        ("container card/tags", ContainerId::root("card").entry("tags")),
        ("container list/1.2", ContainerId::root("list").element(OpId::new(PeerId(1), 2))),
    ]
}

fn block(edit: impl FnOnce(&mut Transaction<'_>)) -> Block {
    let mut doc = Doc::new(PeerId(1));
    let ((), commit) = doc.transact(0, edit);
    doc.block(&commit.expect("something was written"))
}

fn blocks() -> Vec<(&'static str, Block)> {
    vec![
        ("block set", block(|tx| tx.register("r").set(true))),
        ("block put, remove", {
            block(|tx| {
                tx.map("m").set("k", 1);
                tx.map("m").remove("k");
            })
        }),
        ("block rows", {
            block(|tx| {
                let row = tx.table("t").insert([("f", 1)]);
                tx.table("t").set(row, "f", 2).expect("it was just inserted");
                tx.table("t").remove(row).expect("it was just inserted");
                tx.table("t").restore(row).expect("it was just inserted");
            })
        }),
        ("block add", block(|tx| tx.counter("c").add(-3))),
        ("block text", {
            block(|tx| {
                tx.text("t").insert(0, "hé").expect("in range");
                tx.text("t").delete(0, 1).expect("in range");
            })
        }),
        ("block mark", {
            block(|tx| {
                tx.text("t").insert(0, "hi").expect("in range");
                tx.text("t").mark(0..1, "bold", true, Expand::After).expect("in range");
            })
        }),
        ("block movable list", {
            block(|tx| {
                tx.movable_list("l").push(1);
                tx.movable_list("l").push(2);
                tx.movable_list("l").move_to(0, 1).expect("in range");
                tx.movable_list("l").set(0, 3).expect("in range");
            })
        }),
        ("block tree", {
            block(|tx| {
                let parent = tx.tree("t").create(None, 0).expect("the top is there");
                tx.tree("t").create(Some(parent), 0).expect("it was just made");
            })
        }),
    ]
}

/// Two authors, one of whom had seen the other's text.
fn document() -> Doc {
    let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
    ada.transact(0, |tx| tx.text("t").insert(0, "hello")).0.expect("in range");
    ben.import(0, ada.blocks_since(&VersionVector::new())).expect("blocks");
    ben.transact(0, |tx| {
        tx.text("t").insert(5, "!").expect("in range");
        tx.map("m").set("k", "v");
    });
    ada.import(0, ben.blocks_since(ada.version())).expect("blocks");
    ada
}

fn vectors() -> Vec<(&'static str, Vec<u8>)> {
    let mut all: Vec<(&'static str, Vec<u8>)> = Vec::new();
    all.extend(values().into_iter().map(|(name, value)| (name, value.to_bytes())));
    all.extend(containers().into_iter().map(|(name, id)| (name, id.to_bytes())));
    all.extend(blocks().into_iter().map(|(name, block)| (name, block.bytes().to_vec())));
    let doc = document();
    all.push(("update, authors 1 and 2", doc.encode_update(&VersionVector::new())));
    all.push(("snapshot, authors 1 and 2", doc.encode_snapshot()));
    let shallow = doc.encode_shallow_snapshot(doc.version()).expect("the version is known");
    all.push(("shallow snapshot of the same", shallow));
    all
}

#[test]
fn the_documented_bytes_are_what_is_written() {
    let mut listing = String::new();
    for (name, bytes) in vectors() {
        writeln!(listing, "{name:<28} {}", hex(&bytes)).expect("a string takes all");
    }
    assert!(DOCUMENTATION.contains(&listing), "docs/format.md should print:\n{listing}");
}

#[test]
fn the_documented_bytes_read_back() {
    for (name, value) in values() {
        let read = Value::from_bytes(&value.to_bytes()).expect(name);
        assert_eq!(hex(&read.to_bytes()), hex(&value.to_bytes()), "{name}");
    }
    for (name, id) in containers() {
        assert_eq!(ContainerId::from_bytes(&id.to_bytes()).as_ref(), Ok(&id), "{name}");
    }
    for (name, block) in blocks() {
        let read = Block::parse(block.bytes().to_vec()).expect(name);
        assert_eq!((read.validate(), &read), (Ok(()), &block), "{name}");
    }
    let doc = document();
    let mut from_update = Doc::new(PeerId(3));
    from_update.import_update(0, &doc.encode_update(&VersionVector::new())).expect("an update");
    let whole = Doc::from_snapshot(PeerId(3), &doc.encode_snapshot()).expect("a snapshot");
    let shallow = doc.encode_shallow_snapshot(doc.version()).expect("the version is known");
    let shallow = Doc::from_shallow_snapshot(PeerId(3), &shallow).expect("a shallow snapshot");
    for read in [from_update, whole, shallow] {
        assert_eq!(read.text("t").to_string(), "hello!");
        assert_eq!(read.map("m").get("k"), Some("v".into()));
        assert_eq!(read.version(), doc.version());
    }
}
