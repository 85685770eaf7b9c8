//! The `leptos-sync` command.

fn main() {}
