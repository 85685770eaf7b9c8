//! What decoding takes. Of a block that is checked, which a server does with whatever comes, most
//! bytes are looked at and forgotten.

use leptos_sync_crdt::{Block, BlockReader, BlockWriter, Doc, PeerId, Reader, Value, Writer};
use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// What checking a block may hold beside it, as a multiple of it.
const FACTOR: usize = 4;

/// What decoding may hold of what it keeps, as a multiple of the bytes.
const KEPT_FACTOR: usize = 200;

/// What some work held at most.
fn held_by<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    let done = work();
    (done, HEAP.peak_usage().saturating_sub(before))
}

/// The block of one transaction.
fn block_of(fill: impl FnOnce(&mut leptos_sync_crdt::Transaction<'_>)) -> Block {
    let mut doc = Doc::new(PeerId(1));
    let ((), commit) = doc.transact(0, fill);
    doc.block(&commit.expect("something was written"))
}

/// Blocks of nothing but small parts.
fn blocks() -> [Block; 6] {
    let many = 300_000;
    [
        block_of(|tx| (0..many).for_each(|_| tx.counter("n").add(1))),
        block_of(|tx| (0..many).for_each(|at| tx.list("l").insert(at, Value::Null).unwrap())),
        block_of(|tx| tx.register("r").set(Value::List(vec![Value::Bool(true); many]))),
        block_of(|tx| (0..many / 10).for_each(|n| tx.map("m").set(&n.to_string(), 0))),
        block_of(|tx| (0..many / 10).for_each(|n| tx.counter(&n.to_string()).add(1))),
        block_of(|tx| {
            tx.text("t").insert(0, &"x".repeat(2 * many)).unwrap();
            (0..many).for_each(|at| tx.text("t").delete(at, 1).unwrap());
        }),
    ]
}

// One test: what is held is that of the whole process.
#[test]
fn decoding_holds_a_multiple_of_its_input_and_checking_a_block_a_small_one() {
    for (number, block) in blocks().iter().enumerate() {
        let bytes = block.bytes().len();
        let (checked, held) = held_by(|| block.validate());
        checked.unwrap();
        assert!(held <= FACTOR * bytes, "{held} bytes were held to check {bytes} of {number}");
        let mut doc = Doc::new(PeerId(2));
        let (taken, held) = held_by(|| doc.import(0, [block.clone()]).map(drop));
        taken.unwrap();
        assert!(
            held <= KEPT_FACTOR * bytes,
            "{held} bytes were held to take in {bytes} of {number}"
        );
    }

    let map = (0..100_000).map(|n| (n.to_string(), Value::Null)).collect();
    for value in [Value::List(vec![Value::Null; 1_000_000]), Value::Map(map)] {
        let bytes = value.to_bytes();
        let (read, held) = held_by(|| Value::from_bytes(&bytes));
        assert_eq!(read.as_ref(), Ok(&value));
        assert!(held <= KEPT_FACTOR * bytes.len(), "{held} bytes were held for {}", bytes.len());
    }

    // Each like the one before, so that an entry is a few bytes.
    let mut doc = Doc::new(PeerId(1));
    let (mut writer, mut entries) = (BlockWriter::default(), Writer::new());
    for at in 0..50_000 {
        let (_, commit) = doc.transact(0, |tx| tx.text("t").insert(at, "x"));
        writer.write(&doc.block(&commit.unwrap()), &mut entries);
    }
    let entries = entries.into_vec();
    let read = || {
        let (mut reader, mut input) = (BlockReader::default(), Reader::new(&entries));
        std::iter::from_fn(|| reader.read(&mut input).ok()).collect::<Vec<_>>()
    };
    let (read, held) = held_by(read);
    assert_eq!(read.len(), 50_000);
    assert!(held <= KEPT_FACTOR * entries.len(), "{held} bytes were held for {}", entries.len());
}
