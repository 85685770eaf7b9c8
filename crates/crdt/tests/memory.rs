//! What checking a block takes, which a server does with whatever comes: most of its bytes are
//! looked at and forgotten.

use leptos_sync_crdt::{Block, Doc, PeerId, Value};
use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// What checking a block may hold beside it, as a multiple of it.
const FACTOR: usize = 4;

/// The block of one transaction.
fn block_of(fill: impl FnOnce(&mut leptos_sync_crdt::Transaction<'_>)) -> Block {
    let mut doc = Doc::new(PeerId(1));
    let ((), commit) = doc.transact(0, fill);
    doc.block(&commit.expect("something was written"))
}

#[test]
fn checking_a_block_holds_little_whatever_its_bytes_are() {
    let many = 300_000;
    let blocks = [
        block_of(|tx| (0..many).for_each(|_| tx.counter("n").add(1))),
        block_of(|tx| (0..many).for_each(|at| tx.list("l").insert(at, Value::Null).unwrap())),
        block_of(|tx| tx.register("r").set(Value::List(vec![Value::Bool(true); many]))),
        block_of(|tx| (0..many / 10).for_each(|n| tx.map("m").set(&n.to_string(), 0))),
        block_of(|tx| (0..many / 10).for_each(|n| tx.counter(&n.to_string()).add(1))),
        block_of(|tx| {
            tx.text("t").insert(0, &"x".repeat(2 * many)).unwrap();
            (0..many).for_each(|at| tx.text("t").delete(at, 1).unwrap());
        }),
    ];
    for (number, block) in blocks.iter().enumerate() {
        let before = HEAP.current_usage();
        HEAP.reset_peak_usage();
        block.validate().unwrap();
        let held = HEAP.peak_usage().saturating_sub(before);
        let bytes = block.bytes().len();
        assert!(held <= FACTOR * bytes, "{held} bytes were held for {bytes} of block {number}");
    }
}
