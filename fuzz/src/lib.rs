//! What no honest replica, client or server would send, and a search for more of it.
//!
//! Each [`Target`] takes in any bytes and panics if something is not as it should be. The program
//! `fuzz` runs one under libFuzzer, which tries inputs and keeps those that reach new code:
//! `cargo xtask fuzz`, and `docs/fuzzing.md`.

pub mod budget;
pub mod choices;
pub mod files;
pub mod history;
pub mod show;
mod targets;

pub use targets::{TARGETS, Target};
