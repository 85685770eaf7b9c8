//! How much memory a decoder may take for its input.
//!
//! Decoded, a byte may become a value of 32 bytes or an operation of some more, in a list that is
//! doubled when it is full. Inputs here are a few thousand bytes long, so what is free covers that;
//! how large ones grow is for `crates/crdt/tests/memory.rs`.

use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// How many times the input a decoder may hold.
const FACTOR: usize = 4;

/// What is free on top of the multiple: tables of fixed size, what is allocated only once, and what
/// short inputs become.
const FREE_BYTES: usize = 1 << 20;

/// Does some work and checks that it never held more than four times `input_bytes` and 1 MiB.
///
/// # Panics
/// If it did.
pub fn within<T>(input_bytes: usize, work: impl FnOnce() -> T) -> T {
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    let result = work();
    let held = HEAP.peak_usage().saturating_sub(before);
    let allowed = FACTOR * input_bytes + FREE_BYTES;
    assert!(held <= allowed, "{held} bytes were held for an input of {input_bytes}");
    result
}
