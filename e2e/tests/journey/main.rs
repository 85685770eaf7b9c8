//! The whole journey in real headless Chromium against the real server process.
//!
//! Each test is one scene with its own server, data folder and browser profiles, and its name is
//! the sentence that it proves. Run them with `cargo xtask test --only e2e`.
#![allow(clippy::print_stdout, reason = "tests report what they measure")]

mod crashes;
mod failures;
mod hostile;
mod keyboard;
mod large;
mod offline;
mod others;
mod presence;
mod tabs;
mod together;
mod typing;
