//! The bytes that `docs/format.md` prints are the bytes that are written, and they read back.

use std::fmt::Write as _;

use leptos_sync_crdt::{
    Block, ContainerId, ContainerKind, Doc, Expand, OpId, PeerId, Transaction, Value,
    VersionVector, Writer,
};
use xxhash_rust::{xxh32::xxh32, xxh64::xxh64};

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

/// A document of one author, edited by turns.
fn edited(edits: &[&dyn Fn(&mut Transaction<'_>)]) -> Doc {
    let mut doc = Doc::new(PeerId(1));
    for edit in edits {
        doc.transact(0, edit);
    }
    doc
}

/// A document for each kind of container.
fn documents() -> Vec<(&'static str, Doc)> {
    let row = leptos_sync_crdt::RowId(OpId::new(PeerId(1), 0));
    let node = leptos_sync_crdt::NodeId(OpId::new(PeerId(1), 0));
    vec![
        ("register", edited(&[&|tx| tx.register("r").set(1), &|tx| tx.register("r").set(2)])),
        ("counter", edited(&[&|tx| tx.counter("c").add(3), &|tx| tx.counter("c").add(-5)])),
        ("table", {
            edited(&[
                &|tx| {
                    tx.table("t").insert([("f", 1)]);
                    tx.table("t").insert([("f", 2)]);
                },
                &|tx| tx.table("t").set(row, "g", true).expect("a row"),
                &|tx| tx.table("t").remove(row).expect("a row"),
            ])
        }),
        ("list", {
            edited(&[&|tx| tx.list("l").extend([1, 2, 3]), &|tx| {
                tx.list("l").remove(1).expect("in range");
            }])
        }),
        ("movable list", {
            edited(&[
                &|tx| tx.movable_list("l").extend([1, 2]),
                &|tx| tx.movable_list("l").move_to(0, 1).expect("in range"),
                &|tx| tx.movable_list("l").set(0, 3).expect("in range"),
            ])
        }),
        ("tree", {
            edited(&[
                &|tx| _ = tx.tree("o").create(None, 0),
                &|tx| _ = tx.tree("o").create(Some(node), 0),
                &|tx| _ = tx.tree("o").create(None, 0),
                &|tx| tx.tree("o").move_to(node, None, 0).expect("nodes"),
            ])
        }),
        ("marked text", {
            edited(&[&|tx| tx.text("t").insert(0, "hey").expect("in range"), &|tx| {
                tx.text("t").mark(0..2, "bold", true, Expand::After).expect("in range");
            }])
        }),
        ("nested text", {
            edited(&[&|tx| {
                let body = tx.map("m").nest("k", ContainerKind::Text);
                tx.text(&body).insert(0, "hi").expect("in range");
            }])
        }),
    ]
}

/// Enough operations of one kind that they are stored by column.
fn columns() -> Doc {
    edited(&[&|tx| {
        for (number, name) in (0..).zip(["ada", "ben", "cem", "dot", "eve", "fay"]) {
            tx.table("t").insert([("name", Value::from(name)), ("n", Value::from(number))]);
        }
    }])
}

/// A text in which something comes twice.
fn repeats() -> Doc {
    let line = "what is written twice is stored once\n";
    edited(&[&|tx| tx.text("t").insert(0, line).expect("in range"), &|tx| {
        tx.text("t").insert(0, line).expect("in range");
    }])
}

/// A snapshot with a chunk of a kind that a later version may have.
fn with_unknown_chunk() -> Vec<u8> {
    let mut out = Writer::new();
    out.raw(&edited(&[&|tx| tx.counter("c").add(1)]).encode_snapshot());
    out.u8(0x11);
    out.bytes(b"new");
    out.u32_le(xxh64(b"new", 0) as u32);
    out.into_vec()
}

/// A block with an operation of a container of kind 200, as a later version may write it.
fn of_unknown_kind() -> Block {
    let mut out = Writer::new();
    out.raw(&[1, 0]);
    out.u64_le(1);
    // Seq, length, stamp and what it depends on.
    out.raw(&[0, 1, 0, 0]);
    // One container, `c` at the top; no names; one operation, of four bytes.
    out.raw(&[1, 200, 0, 0, 1, b'c', 0, 1, 0, 4, 9, 8, 7, 6]);
    let checksum = xxh32(out.as_slice(), 0);
    out.u32_le(checksum);
    Block::parse(out.into_vec()).expect("a block")
}

fn holding(block: &Block) -> Doc {
    let mut doc = Doc::new(PeerId(2));
    doc.import(0, [block.clone()]).expect("a block");
    doc
}

fn trimmed(doc: &Doc) -> Vec<u8> {
    doc.encode_shallow_snapshot(doc.version()).expect("the version is known")
}

fn vectors() -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    all.extend(values().into_iter().map(|(name, value)| (name.into(), value.to_bytes())));
    all.extend(containers().into_iter().map(|(name, id)| (name.into(), id.to_bytes())));
    all.extend(blocks().into_iter().map(|(name, block)| (name.into(), block.bytes().to_vec())));
    let doc = document();
    all.push(("update, authors 1 and 2".into(), doc.encode_update(&VersionVector::new())));
    all.push(("snapshot, authors 1 and 2".into(), doc.encode_snapshot()));
    all.push(("shallow snapshot of the same".into(), trimmed(&doc)));
    let seen = VersionVector::from_iter([(PeerId(1), 5)]);
    all.push(("update, what 2 did since".into(), doc.encode_update(&seen)));
    let mut named = |what: &str, name: &str, bytes| {
        all.push((format!("{what}, {name}"), bytes));
    };
    for (name, doc) in documents() {
        named("shallow", name, trimmed(&doc));
    }
    for (name, doc) in documents() {
        named("update", name, doc.encode_update(&VersionVector::new()));
    }
    named("update", "columns", columns().encode_update(&VersionVector::new()));
    named("update", "text with a repeat", repeats().encode_update(&VersionVector::new()));
    named("snapshot", "unknown chunk", with_unknown_chunk());
    let unknown = of_unknown_kind();
    named("block", "unknown kind", unknown.bytes().to_vec());
    named("snapshot", "unknown kind", holding(&unknown).encode_snapshot());
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
    let shallow = Doc::from_shallow_snapshot(PeerId(3), &trimmed(&doc)).expect("a snapshot");
    for read in [from_update, whole, shallow] {
        assert_eq!(read.text("t").to_string(), "hello!");
        assert_eq!(read.map("m").get("k"), Some("v".into()));
        assert_eq!(read.version(), doc.version());
    }
}

/// What the containers of a document show.
fn shown(doc: &Doc) -> Vec<String> {
    let containers = doc.roots().map(|(kind, name)| match kind {
        ContainerKind::Register => format!("{:?}", doc.register(name)),
        ContainerKind::Counter => format!("{}", doc.counter(name)),
        ContainerKind::Map => format!("{:?}", doc.map(name).iter().collect::<Vec<_>>()),
        ContainerKind::Table => {
            let table = doc.table(name);
            let fields = |row| table.fields(row).collect::<Vec<_>>();
            format!("{:?}", table.rows().map(|row| (row, fields(row))).collect::<Vec<_>>())
        }
        ContainerKind::List => format!("{:?}", doc.list(name)),
        ContainerKind::MovableList => format!("{:?}", doc.movable_list(name)),
        ContainerKind::Tree => format!("{:?}", doc.tree(name)),
        _ => String::new(),
    });
    let texts = doc.texts().map(|(id, text)| format!("{id:?} {:?}", text.spans()));
    containers.chain(texts).collect()
}

#[test]
fn the_documented_bytes_of_each_kind_show_the_same_however_they_are_read() {
    let others = [("columns", columns()), ("repeats", repeats())];
    for (name, doc) in documents().into_iter().chain(others) {
        let update = doc.encode_update(&VersionVector::new());
        let mut from_update = Doc::new(PeerId(3));
        from_update.import_update(0, &update).expect(name);
        let shallow = Doc::from_shallow_snapshot(PeerId(3), &trimmed(&doc)).expect(name);
        let whole = Doc::from_snapshot(PeerId(3), &doc.encode_snapshot()).expect(name);
        for read in [&from_update, &shallow, &whole] {
            assert_eq!(shown(read), shown(&doc), "{name}");
            assert_eq!(read.version(), doc.version(), "{name}");
        }
        assert_eq!(hex(&from_update.encode_update(&VersionVector::new())), hex(&update), "{name}");
    }
}

#[test]
fn an_unknown_chunk_is_in_the_next_snapshot_as_it_was() {
    let bytes = with_unknown_chunk();
    let doc = Doc::from_snapshot(PeerId(1), &bytes).expect("a snapshot");
    assert_eq!(doc.counter("c"), 1);
    assert_eq!(hex(&doc.encode_snapshot()), hex(&bytes));
    // One that says that nobody may read on without knowing it is refused.
    let at = bytes.len() - (1 + 1 + 3 + 4);
    let mut critical = bytes;
    critical[at] |= 0x80;
    assert!(Doc::from_snapshot(PeerId(1), &critical).is_err());
}

#[test]
fn a_container_of_an_unknown_kind_comes_out_as_it_went_in() {
    let block = of_unknown_kind();
    let doc = holding(&block);
    let snapshot = doc.encode_snapshot();
    let mut from_update = Doc::new(PeerId(3));
    from_update.import_update(0, &doc.encode_update(&VersionVector::new())).expect("an update");
    let loaded = Doc::from_snapshot(PeerId(3), &snapshot).expect("a snapshot");
    for read in [&doc, &from_update, &loaded] {
        assert_eq!(read.roots().collect::<Vec<_>>(), [(ContainerKind::Unknown(200), "c")]);
        assert_eq!(read.blocks_since(&VersionVector::new()), std::slice::from_ref(&block));
        assert_eq!(hex(&read.encode_snapshot()), hex(&snapshot));
    }
}
