//! How much memory a decoder may take for its input.
//!
//! Decoded, a byte may become a value of 32 bytes or an operation of some more, in a list that is
//! doubled when it is full; so bounds are multiples of the input, and each caller says which.

use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// What is free on top of the multiple: tables of fixed size, and what is allocated only once.
const FREE_BYTES: usize = 1 << 20;

/// Does some work and checks that it never held more than `factor` times `input_bytes` and 1 MiB.
///
/// # Panics
/// If it did.
pub fn within<T>(input_bytes: usize, factor: usize, work: impl FnOnce() -> T) -> T {
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    let result = work();
    let held = HEAP.peak_usage().saturating_sub(before);
    let allowed = factor * input_bytes + FREE_BYTES;
    assert!(held <= allowed, "{held} bytes were held for an input of {input_bytes}");
    result
}
